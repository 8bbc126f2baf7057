//! The append only file: what was answered is in it, a rewrite loses nothing, and a damaged one is
//! cut or refused.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)] // damaged files are tried in parallel

#[path = "support/ask.rs"]
mod ask;
mod support;

use ask::*;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use support::*;

/// The arguments of a server that has it on. With `everysec` a write may wait for an fsync, and the
/// file may be behind the replies; so that is for the tests that mean it.
const ON: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "no"];

fn aof_path(server: &TestServer) -> PathBuf {
    server.dir.path("appendonly.aof")
}

/// The bytes of the server's file.
fn aof(server: &TestServer) -> Vec<u8> {
    fs::read(aof_path(server)).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The commands of a file without an RDB, each as a line of words.
fn commands(mut bytes: &[u8]) -> Vec<String> {
    fn line<'a>(bytes: &mut &'a [u8]) -> &'a str {
        let end = bytes.windows(2).position(|w| w == b"\r\n").expect("a line ends");
        let line = std::str::from_utf8(&bytes[..end]).unwrap();
        *bytes = &bytes[end + 2..];
        line
    }
    let mut commands = Vec::new();
    while !bytes.is_empty() {
        let argc: usize = line(&mut bytes)[1..].parse().unwrap();
        let words = (0..argc).map(|_| {
            let len: usize = line(&mut bytes)[1..].parse().unwrap();
            let word = text(&bytes[..len]);
            bytes = &bytes[len + 2..];
            word
        });
        commands.push(words.collect::<Vec<_>>().join(" "));
    }
    commands
}

fn wait_loaded(server: &TestServer) {
    wait_for("the end of loading", || server.info("loading") == "0");
}

/// Waits until nothing waits for an fsync any more.
fn wait_written(server: &TestServer) {
    wait_for("the write", || server.info("aof_buffer_length") == "0");
}

fn wait_rewritten(server: &TestServer) {
    wait_for("the end of the rewrite", || server.rewrites_nothing());
}

#[track_caller]
fn rewrite(server: &TestServer) {
    let reply = server.cmd(&["BGREWRITEAOF"]).text();
    assert_eq!(reply, "Background append only file rewriting started");
    wait_rewritten(server);
    assert_eq!(server.info("aof_last_bgrewrite_status"), "ok");
}

/// The files of a folder that are a child's unfinished work.
fn temp_files(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap();
    let names = names.map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|n| n.starts_with("temp-")).collect()
}

/// What the log says of the last child of this kind: its process id.
fn last_child(server: &TestServer, started: &str) -> String {
    let log = server.log();
    let mut lines = log.lines().rev();
    lines.find_map(|l| l.split_once(started)).expect("a child in the log").1.trim().to_string()
}

/// The process id of the running rewrite.
fn child_pid(server: &TestServer) -> String {
    last_child(server, "Background append only file rewriting started by pid ")
}

/// Every type and encoding, several dbs, times of expiry, values longer than any buffer.
fn fill(server: &TestServer) {
    let mut c = server.conn();
    let mut ask = |line: &str| {
        let reply = c.ask(line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    };
    for line in [
        "FLUSHALL",
        "SET text hello",
        "SET number -12345",
        "APPEND number 6",
        "SET gone x PX 1",
        "SET later x EX 10000",
        "SETEX setex 10000 x",
        "PSETEX psetex 10000000 x",
        "GETEX text EX 9000",
        "INCRBYFLOAT float 1.5",
        "SET plain x",
        "EXPIRE plain 10000",
        "EXPIREAT later 99999999999",
        "SETRANGE range 5 x",
        "SADD ints 1 2 300000 -7",
        "SADD words a b c 1",
        "SPOP words",
        "RPUSH list a 1 -2 bb",
        "LPOP list",
        "ZADD zset 1 a 2.5 b -inf c 3 17",
        "HSET hash f v 1 2",
        "HINCRBYFLOAT hash x 0.1",
        "XADD stream 1-1 a 1 b text",
        "XADD stream 2-1 a 1 b text",
        "XADD stream 3-1 c 1",
        "XDEL stream 3-1",
        "XGROUP CREATE stream g1 0",
        "XGROUP CREATE stream g2 1-1",
        "XGROUP CREATECONSUMER stream g2 idle",
        "XREADGROUP GROUP g1 me COUNT 1 STREAMS stream >",
        "XREADGROUP GROUP g1 you STREAMS stream >",
        "XADD empty 5-5 a 1",
        "XTRIM empty MAXLEN 0",
        "PFADD hll a b c d",
        "GEOADD geo 13.361389 38.115556 Palermo",
        "SETBIT bits 100 1",
        "SELECT 3",
        "SET other db",
        "MULTI",
        "SET t1 a",
        "SPOP none",
        "INCR t2",
        "EXEC",
        "SELECT 12",
        "SET far db",
        "SELECT 0",
    ] {
        ask(line);
    }
    for i in 0..300 {
        ask(&format!("RPUSH longlist {i} element{i}"));
        ask(&format!("HSET longhash field{i} {i}"));
        ask(&format!("SADD longset member{i}"));
        ask(&format!("SADD longints {}", i * 1_000_003));
        ask(&format!("ZADD longzset {}.125 member{i}", i % 7));
        ask(&format!("XADD longstream {}-1 f v{i}", i + 1));
    }
    c.cmd(&[&b"SET"[..], b"binary", &(0..=255).collect::<Vec<u8>>()]);
    c.cmd(&["SET", "big", &"0123456789".repeat(60_000)]);
    c.cmd(&["SET", "", ""]);
    wait_for("the key to expire", || server.cmd(&["GET", "gone"]).text() == "(nil)");
}

/// What a rewrite has to keep and DIGEST does not tell: groups, consumers, what is pending, times.
fn details(server: &TestServer) -> String {
    let mut c = server.conn();
    let mut out = Vec::new();
    for line in [
        "XINFO GROUPS stream",
        "XPENDING stream g1 - + 10 me",
        "XPENDING stream g1 - + 10 you",
        "XRANGE stream - +",
        "XINFO GROUPS longstream",
        "OBJECT ENCODING ints",
    ] {
        let reply = c.ask(line);
        // How long ago something was is another number each time.
        out.push(if line.starts_with("XPENDING") {
            reply.split(' ').filter(|w| w.parse::<u64>().is_err()).collect::<Vec<_>>().join(" ")
        } else {
            reply
        });
    }
    let info = c.cmd(&["XINFO", "STREAM", "stream", "FULL"]);
    let last = info.array().windows(2).find(|w| w[0].text() == "last-generated-id").unwrap();
    out.push(last[1].text());
    for key in ["later", "setex", "psetex", "text", "plain"] {
        let ttl = c.cmd(&["TTL", key]).int();
        assert!(ttl > 8000, "{key} lives for {ttl} s");
    }
    out.join("\n")
}

/// Killed at any time, a server comes back with all that it has answered, whatever the policy.
#[test]
fn a_killed_server_comes_back_with_everything() {
    for policy in ["always", "everysec", "no"] {
        let args = ["--appendonly", "yes", "--appendfsync", policy];
        let mut server = TestServer::start(&args);
        fill(&server);
        let (digest, before) = (server.digest(), details(&server));
        wait_written(&server);
        server.restart();
        wait_loaded(&server);
        assert_eq!(server.digest(), digest, "{policy}");
        assert_eq!(details(&server), before, "{policy}");
        assert!(server.log().contains("DB loaded from append only file"));
        assert!(!server.log().contains("CRITICAL"), "{}", server.log());
    }
}

/// A rewritten file, with an RDB at its head or without, says the same as the long one.
#[test]
fn a_rewritten_file_says_the_same() {
    for preamble in ["yes", "no"] {
        let mut server =
            TestServer::start(&[&ON[..], &["--aof-use-rdb-preamble", preamble]].concat());
        fill(&server);
        // Many writes of one key come to one.
        for _ in 0..2000 {
            server.cmd(&["SET", "text", "hello", "KEEPTTL"]);
        }
        let (digest, before) = (server.digest(), details(&server));
        let size = aof(&server).len();
        rewrite(&server);
        let rewritten = aof(&server);
        assert!(rewritten.len() < size);
        assert_eq!(rewritten.starts_with(b"REDIS0009"), preamble == "yes");
        assert_eq!(server.info_i64("aof_base_size"), rewritten.len() as i64);
        assert_eq!(server.info_i64("aof_current_size"), rewritten.len() as i64);
        if preamble == "no" {
            let items =
                commands(&rewritten).into_iter().filter(|c| c.starts_with("RPUSH longlist"));
            let most = items.map(|c| c.split(' ').count() - 2).max();
            assert_eq!(most, Some(64), "elements in a command");
        }

        // What comes after goes behind it.
        assert_eq!(server.cmd(&["SET", "after", "the rewrite"]).text(), "OK");
        assert!(text(&aof(&server)).ends_with(
            "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$5\r\nafter\r\n$11\r\nthe rewrite\r\n"
        ));
        server.cmd(&["DEL", "after"]);
        assert_eq!(server.cmd(&["DEBUG", "LOADAOF"]).text(), "OK");
        assert_eq!((server.digest(), details(&server)), (digest.clone(), before.clone()));
        server.restart();
        wait_loaded(&server);
        assert_eq!((server.digest(), details(&server)), (digest, before), "preamble {preamble}");
    }
}

/// While a child rewrites, writes go on: most reach it through the pipe, the parent adds the rest.
#[test]
fn a_rewrite_under_load_loses_nothing() {
    for preamble in ["yes", "no"] {
        let mut server =
            TestServer::start(&[&ON[..], &["--aof-use-rdb-preamble", preamble]].concat());
        server.cmd(&["DEBUG", "POPULATE", "20000", "key", "100"]);
        // So long that some of it has to be sent.
        server.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "20"]);
        let loads = [WriteLoad::start(server.port), WriteLoad::start(server.port)];
        for _ in 0..2 {
            // The keys of DEBUG POPULATE are in no file before this.
            rewrite(&server);
            let writes = loads[0].writes();
            wait_for("some more writes", || loads[0].writes() > writes + 500);
        }
        for load in loads {
            load.stop();
        }
        let digest = server.digest();
        let log = server.log();
        assert!(log.contains("AOF rewrite child asks to stop sending diffs."), "{log}");
        assert!(log.contains("Parent agreed to stop sending diffs. Finalizing AOF..."), "{log}");
        assert!(log.contains("MB of AOF diff received from parent."), "{log}");
        assert!(
            log.contains("Residual parent diff successfully flushed to the rewritten AOF"),
            "{log}"
        );
        assert_eq!(server.info("aof_rewrite_buffer_length"), "0");
        assert_eq!(server.cmd(&["DEBUG", "LOADAOF"]).text(), "OK");
        assert_eq!(server.digest(), digest, "preamble {preamble}");
        server.restart();
        wait_loaded(&server);
        assert_eq!(server.digest(), digest, "preamble {preamble}");
        assert_eq!(temp_files(&server.dir.0), [""; 0]);
    }
}

/// Times to live are points in time in the file, and commands are what they came to.
#[test]
fn what_a_command_is_in_the_file() {
    let server = TestServer::start(&ON);
    let mut c = server.conn();
    for line in [
        "SET k v EX 100",
        "SETEX k 100 v",
        "EXPIRE k 200",
        "PEXPIRE k 200000",
        "GETEX k EX 300",
        "EXPIREAT k 99999999999",
        "INCRBYFLOAT f 1.5",
        "SADD s a",
        "SPOP s",
        "XADD x MAXLEN ~ 1000 5-1 a 1",
        "DEL nothing",
        "GET k",
        "SELECT 1",
        "MULTI",
        "SET m 1",
        "GET m",
        "EXEC",
        "MULTI",
        "GET m",
        "EXEC",
        "SET past x",
        "EXPIRE past -1",
    ] {
        c.ask(line);
    }
    // An inline command is written like any other.
    c.raw(b"set  inline 'a b'\r\n").unwrap();
    assert_eq!(c.reply().text(), "OK");
    // Another connection is still in db 0.
    server.cmd(&["SET", "zero", "0"]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = now.as_millis() as i64;
    let lines: Vec<String> = commands(&aof(&server))
        .into_iter()
        .map(|line| {
            let words = line.split(' ').map(|word| match word.parse::<i64>() {
                Ok(at) if (now..now + 400_000).contains(&at) => {
                    // Seconds from now, as long as the test does not take that long.
                    format!("+{}", (at - now + 50_000) / 100_000 * 100)
                }
                _ => word.to_string(),
            });
            words.collect::<Vec<_>>().join(" ")
        })
        .collect();
    let expected = [
        "SELECT 0",
        "SET k v PXAT +100",
        "SET k v PXAT +100",
        "PEXPIREAT k +200",
        "PEXPIREAT k +200",
        "PEXPIREAT k +300",
        "PEXPIREAT k 99999999999000",
        "SET f 1.5 KEEPTTL",
        "SADD s a",
        "SREM s a",
        "XADD x MAXLEN = 1 5-1 a 1",
        "SELECT 1",
        "MULTI",
        "SET m 1",
        "EXEC",
        "SET past x",
        "DEL past",
        "set inline a b",
        "SELECT 0",
        "SET zero 0",
    ];
    assert_eq!(lines, expected);
}

/// Keys that expire or are evicted leave the file as well.
#[test]
fn keys_that_go_by_themselves_are_deleted_in_the_file() {
    let server = TestServer::start(&ON);
    server.cmd(&["SET", "short", "x", "PX", "1"]);
    wait_for("the key to expire", || server.cmd(&["DBSIZE"]).int() == 0);
    assert!(commands(&aof(&server)).ends_with(&["DEL short".to_string()]));

    let value = "x".repeat(10_000);
    server.cmd(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]);
    for i in 0..200 {
        server.cmd(&["SET", &format!("key:{i}"), &value]);
    }
    let used = server.info_i64("used_memory");
    server.cmd(&["CONFIG", "SET", "maxmemory", &(used - 500_000).to_string()]);
    wait_for("some evictions", || server.info_i64("evicted_keys") > 10);
    server.cmd(&["CONFIG", "SET", "maxmemory", "0"]);
    let digest = server.digest();
    server.cmd(&["DEBUG", "LOADAOF"]);
    assert_eq!(server.digest(), digest);
}

/// A reply says that the write is in the file, and with `always` that is so even for many replies
/// at once.
#[test]
fn a_reply_comes_after_the_write() {
    for policy in ["always", "everysec", "no"] {
        let server = TestServer::start(&["--appendonly", "yes", "--appendfsync", policy]);
        let mut c = server.conn();
        let value = "x".repeat(1000);
        for i in 0..200 {
            let key = format!("key:{i}:");
            assert_eq!(c.cmd(&["SET", &key, &value]).text(), "OK");
            let written = || text(&aof(&server)).contains(&key);
            if policy == "everysec" {
                // Only here a write may wait, for an fsync that takes long.
                wait_for("the write", written);
            } else {
                assert!(written(), "{policy}: {key}");
            }
        }
        // A client whose replies do not fit into the socket gets the rest by the write handler.
        let mut bytes = Conn::encode(&["SET", "last", "1"]);
        for i in 0..2000 {
            bytes.extend(Conn::encode(&["GET", "key:0:"]));
            bytes.extend(Conn::encode(&["SET", "n", &i.to_string()]));
        }
        let mut writer = server.conn();
        let mut sock = writer.sock.try_clone().unwrap();
        let sender = std::thread::spawn(move || sock.write_all(&bytes));
        writer.reply();
        for i in 0..2000 {
            assert_eq!(writer.reply().text(), value);
            assert_eq!(writer.reply().text(), "OK");
            if i % 400 == 0 && policy == "always" {
                let number = i.to_string();
                let set = text(&Conn::encode(&["SET", "n", &number]));
                assert!(text(&aof(&server)).contains(&set), "{i}");
            }
        }
        sender.join().unwrap().unwrap();
    }
}

/// Turned on at run time, it is complete when the first rewrite is done; turned off, it stays
/// behind.
#[test]
fn on_and_off_at_run_time() {
    let mut server = TestServer::start(&[]);
    fill(&server);
    assert_eq!(server.info("aof_enabled"), "0");
    assert_eq!(server.info("aof_current_size"), "");
    let load = WriteLoad::start(server.port);
    wait_for("some writes", || load.writes() > 500);
    assert_eq!(server.ask("CONFIG SET appendonly yes"), "OK");
    assert_eq!(server.info("aof_enabled"), "1");
    wait_rewritten(&server);
    let before = load.writes();
    wait_for("more writes", || load.writes() > before + 500);
    load.stop();
    wait_written(&server);
    let digest = server.digest();
    let size = aof(&server).len();
    assert_eq!(server.info_i64("aof_current_size"), size as i64);

    assert_eq!(server.ask("CONFIG SET appendonly no"), "OK");
    assert_eq!(server.info("aof_enabled"), "0");
    server.cmd(&["SET", "not", "written"]);
    assert_eq!(aof(&server).len(), size);

    // On again, with a rewrite that was asked for still running: it is started anew.
    server.cmd(&["DEL", "not"]);
    server.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "10000"]);
    assert!(server.ask("BGREWRITEAOF").ends_with("started"));
    assert_eq!(server.ask("CONFIG SET appendonly yes"), "OK");
    server.wait_for_log("Stopping background AOF and starting a rewrite now.");
    server.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
    signal("KILL", &child_pid(&server));
    // The next one is scheduled at once, for there is no file to write to yet.
    server.wait_for_log("Background AOF rewrite terminated by signal 9");
    wait_rewritten(&server);
    wait_for("a good rewrite", || server.info("aof_last_bgrewrite_status") == "ok");

    // It starts with the RDB if it is not told to have a file, so tell it.
    let port = server.port.to_string();
    server.kill();
    let again = Command::new(OURS)
        .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"])
        .current_dir(&server.dir.0)
        .stdout(Stdio::null())
        .spawn();
    let mut again = again.unwrap();
    wait_for("the server", || server.info("loading") == "0");
    assert_eq!(server.digest(), digest);
    again.kill().unwrap();
    again.wait().unwrap();
}

/// A rewrite and a save do not run side by side: one waits.
#[test]
fn a_rewrite_waits_for_a_save() {
    // Children that are not done before they are told to go.
    let mut server = TestServer::start(&["--rdb-key-save-delay", "1000000"]);
    server.cmd(&["DEBUG", "POPULATE", "1000"]);
    assert_eq!(server.ask("BGSAVE"), "Background saving started");
    assert_eq!(server.ask("BGREWRITEAOF"), "Background append only file rewriting scheduled");
    assert_eq!(server.info("aof_rewrite_scheduled"), "1");
    assert_eq!(server.ask("CONFIG SET appendonly yes"), "OK");
    server.wait_for_log("AOF was enabled but there is already another background operation.");
    assert_eq!(server.info("aof_rewrite_in_progress"), "0");
    signal("USR1", &last_child(&server, "Background saving started by pid "));
    wait_for("the rewrite", || server.info("aof_rewrite_in_progress") == "1");
    assert_eq!(
        server.ask("BGREWRITEAOF"),
        "-ERR Background append only file rewriting already in progress"
    );
    assert!(server.ask("BGSAVE").starts_with("-ERR Another child process is active (AOF?)"));
    assert_eq!(server.ask("BGSAVE SCHEDULE"), "Background saving scheduled");
    // What there is of the new file is not all the data yet: no shutdown now.
    let mut c = server.conn();
    assert_eq!(c.ask("SHUTDOWN"), "-ERR Errors trying to SHUTDOWN. Check logs.");
    server.wait_for_log("Writing initial AOF, can't exit.");
    server.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
    // There is no file to write to yet, so that another one follows.
    signal("USR1", &child_pid(&server));
    server.wait_for_log("Background AOF rewrite terminated by signal 10");
    wait_rewritten(&server);
    assert_eq!(server.log_count("Background append only file rewriting started by pid "), 2);
    wait_for("the save", || server.info("rdb_bgsave_in_progress") == "0");
    wait_for("the rewritten file", || aof(&server).starts_with(b"REDIS"));
}

/// The child is killed: by the server, which is no failure, or by somebody else. Either way nothing
/// is left of it.
#[test]
fn a_killed_rewrite_leaves_nothing_behind() {
    let mut server = TestServer::start(&ON);
    server.cmd(&["DEBUG", "POPULATE", "10000"]);
    rewrite(&server);
    server.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "10000"]);
    let digest = server.digest();
    for (name, number, status) in [("KILL", 9, "err"), ("USR1", 10, "err")] {
        assert!(server.ask("BGREWRITEAOF").ends_with("started"));
        wait_for("its file", || !temp_files(&server.dir.0).is_empty());
        signal(name, &child_pid(&server));
        server.wait_for_log(&format!("Background AOF rewrite terminated by signal {number}"));
        wait_rewritten(&server);
        // SIGUSR1 leaves the status alone.
        assert_eq!(server.info("aof_last_bgrewrite_status"), status);
        wait_for("its file to go", || temp_files(&server.dir.0).is_empty());
    }
    assert_eq!(server.info("aof_enabled"), "1");

    // The server is shut down: it kills the child, since the file that it has is as good.
    assert!(server.ask("BGREWRITEAOF").ends_with("started"));
    wait_for("its file", || !temp_files(&server.dir.0).is_empty());
    server.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
    server.signal("TERM");
    assert_eq!(server.wait_exit(), 0);
    let log = server.log();
    assert!(log.contains("There is a child rewriting the AOF. Killing it!"), "{log}");
    assert!(log.contains("Calling fsync() on the AOF file."), "{log}");
    assert_eq!(temp_files(&server.dir.0), [""; 0]);
    server.start_again();
    wait_loaded(&server);
    assert_eq!(server.digest(), digest);
}

/// The file is rewritten when it has grown by so much, and not for being small.
#[test]
fn it_is_rewritten_by_itself() {
    let server = TestServer::start(
        &[&ON[..], &["--auto-aof-rewrite-min-size", "50kb", "--auto-aof-rewrite-percentage", "50"]]
            .concat(),
    );
    let mut c = server.conn();
    let value = "x".repeat(1000);
    while aof(&server).len() < 45_000 {
        c.cmd(&["SET", "k", &value]);
    }
    assert!(!server.log().contains("Starting automatic rewriting"));
    for _ in 0..20 {
        c.cmd(&["SET", "k", &value]);
    }
    server.wait_for_log("Starting automatic rewriting of AOF on ");
    // Some of what was written last may come behind it.
    wait_for("the new file", || aof(&server).len() < 30_000);
    wait_rewritten(&server);
    assert_eq!(c.cmd(&["GET", "k"]).text(), value);
}

/// A disk without room: writes are refused until there is some; with `always`, the server ends.
#[test]
fn a_full_disk_stops_the_writes() {
    let dir = Folder::new();
    symlink("/dev/full", dir.path("appendonly.aof")).unwrap();
    let server = TestServer::start_in(dir, OURS, &["--appendonly", "yes", "--appendfsync", "no"]);
    let mut c = server.conn();
    // The first one is answered: when its write fails, its reply is under way.
    assert_eq!(c.ask("SET k v"), "OK");
    server.wait_for_log("Error writing to the AOF file: No space left on device");
    let refused = "-MISCONF Errors writing to the AOF file: No space left on device";
    assert_eq!(c.ask("SET k w"), refused);
    assert_eq!(c.ask("PING"), refused);
    assert_eq!(c.ask("GET k"), "v");
    assert_eq!(server.info("aof_last_write_status"), "err");
    assert_eq!(server.info("aof_buffer_length"), "50");
    assert_eq!(c.ask("MULTI"), "OK");
    assert_eq!(c.ask("SET k w"), refused);
    assert_eq!(c.ask("EXEC"), "-EXECABORT Transaction discarded because of previous errors.");

    // Off and on again, with another file.
    fs::remove_file(aof_path(&server)).unwrap();
    assert_eq!(c.ask("CONFIG SET appendonly no"), "OK");
    assert_eq!(c.ask("SET k w"), "OK");
    assert_eq!(c.ask("CONFIG SET appendonly yes"), "OK");
    server.wait_for_log("AOF reopen, just ignore the last error.");
    assert_eq!(server.info("aof_last_write_status"), "ok");
    wait_rewritten(&server);
    assert_eq!(c.ask("SET k x"), "OK");
    assert!(commands(&aof(&server)[aof(&server).len() - 50..]).contains(&"SET k x".to_string()));
}

/// With `always` a reply says that the write is on the disk: it may not be sent before that.
#[test]
fn what_is_not_on_the_disk_is_not_answered() {
    let dir = Folder::new();
    symlink("/dev/full", dir.path("appendonly.aof")).unwrap();
    let mut server =
        TestServer::start_in(dir, OURS, &["--appendonly", "yes", "--appendfsync", "always"]);
    let mut c = server.conn();
    c.send(&["SET", "k", "v"]);
    let answered = c.try_reply().map(|reply| reply.text()).ok();
    assert_eq!(answered, None, "the disk is full, and the key is not in the file");
    assert_eq!(server.wait_exit(), 1);
    assert!(server.log().contains(
        "Can't recover from AOF write error when the AOF fsync policy is 'always'. Exiting..."
    ));
}

/// A write that comes short is taken back, and tried again as a whole.
#[test]
fn a_short_write_is_taken_back() {
    let dir = Folder::new();
    // Files of this server may not be larger than this; the signal that goes with it is ignored.
    let script = "trap '' XFSZ; ulimit -f 40; exec \"$0\" \"$@\"";
    let port = free_port().to_string();
    let args = ["--port", &port, "--save", "", "--appendonly", "yes", "--appendfsync", "no"];
    let log = fs::File::create(dir.path("log")).unwrap();
    let mut child = Command::new("bash")
        .args(["-c", script, OURS])
        .args(args)
        .current_dir(&dir.0)
        .stdout(log)
        .process_group(0)
        .spawn()
        .unwrap();
    let port: u16 = port.parse().unwrap();
    wait_for("the server", || Conn::try_open(port).is_ok());
    let mut c = Conn::open(port);
    let value = "x".repeat(1500);
    let mut n = 0;
    let refused = loop {
        let reply = c.cmd(&["SET", &format!("k{n}"), &value]).text();
        if reply != "OK" {
            break reply;
        }
        n += 1;
        assert!(n < 100);
    };
    assert_eq!(refused, "-MISCONF Errors writing to the AOF file: No space left on device");
    let log = fs::read_to_string(dir.path("log")).unwrap();
    assert!(log.contains("Short write while writing to the AOF file: (nwritten="), "{log}");
    // The file ends with the last command that fits, and holds no part of the next.
    let file = fs::read(dir.path("appendonly.aof")).unwrap();
    assert_eq!(commands(&file).len(), n, "SELECT, and all but the last SET that was answered");

    child.kill().unwrap();
    child.wait().unwrap();
}

/// Starts a server on a file, and tells how that went: None if it is up, else its exit code and
/// log.
fn start_on(file: &[u8], args: &[&str]) -> (Folder, Option<(i32, String)>) {
    let dir = Folder::new();
    fs::write(dir.path("appendonly.aof"), file).unwrap();
    let socket = dir.path("s");
    let mut child = Command::new(OURS)
        .args(["--port", "0", "--unixsocket", "s", "--save", "", "--appendonly", "yes"])
        .args(args)
        .current_dir(&dir.0)
        .stdin(Stdio::null())
        .stdout(fs::File::create(dir.path("log")).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let log = || String::from_utf8_lossy(&fs::read(dir.path("log")).unwrap()).into_owned();
    let start = Instant::now();
    let ended = loop {
        if let Some(status) = child.try_wait().unwrap() {
            use std::os::unix::process::ExitStatusExt;
            break Some((status.code().unwrap_or(-status.signal().unwrap_or(0)), log()));
        }
        if log().contains("The server is now ready to accept connections at") {
            break None;
        }
        assert!(start.elapsed() < PATIENCE, "{}", log());
        std::thread::sleep(std::time::Duration::from_millis(2));
    };
    if ended.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let _ = fs::remove_file(socket);
    (dir, ended)
}

/// The end of the file is missing: it is cut behind the last whole command or transaction, or the
/// server does not start.
#[test]
fn a_truncated_file_is_cut_or_refused() {
    let whole = batch(&["SELECT 0", "SET a 1", "SET b 2"]);
    let last = whole.len();
    let cases = [
        ("in a command", [&whole[..], b"*3\r\n$3\r\nSET\r\n$1\r\nc\r\n$5\r\nab"].concat(), last),
        ("in a header", [&whole[..], b"*"].concat(), last),
        ("in the count", [&whole[..], b"*3"].concat(), last),
        ("behind the count", [&whole[..], b"*3\r\n"].concat(), last),
        ("before the newline", [&whole[..], b"*2\r\n$3\r\nGET\r\n$1\r\na"].concat(), last),
        (
            "a length that is too large",
            [&whole[..], b"*1\r\n$99999999999\r\nGET\r\n"].concat(),
            last,
        ),
        ("a transaction", [whole.clone(), batch(&["MULTI", "SET c 3"])].concat(), last),
        (
            "a transaction that is cut",
            [&whole[..], &batch(&["MULTI", "SET c 3"]), b"*3\r\n$3\r\nSE"].concat(),
            // As in the C, what was in order of the transaction stays; the next start undoes it.
            last + batch(&["MULTI", "SET c 3"]).len(),
        ),
        ("all of it", b"*3\r\n$3\r\nSE".to_vec(), 0),
    ];
    for (name, file, valid) in cases {
        let (dir, ended) = start_on(&file, &[]);
        assert_eq!(ended, None, "{name}");
        let log = fs::read_to_string(dir.path("log")).unwrap();
        assert!(log.contains("!!! Warning: short read while loading the AOF file !!!"), "{log}");
        assert!(
            log.contains(&format!("!!! Truncating the AOF at offset {valid} !!!")),
            "{name}: {log}"
        );
        assert!(log.contains("AOF loaded anyway because aof-load-truncated is enabled"), "{log}");
        assert_eq!(fs::read(dir.path("appendonly.aof")).unwrap(), &file[..valid], "{name}");

        let (dir, ended) = start_on(&file, &["--aof-load-truncated", "no"]);
        let (code, log) = ended.expect(name);
        assert_eq!(code, 1);
        assert!(
            log.contains("Unexpected end of file reading the append only file. You can:"),
            "{log}"
        );
        assert_eq!(fs::read(dir.path("appendonly.aof")).unwrap(), file, "{name}");
    }
}

/// An RDB preamble whose tail is cut off stays; the C throws it away with the tail.
#[test]
fn a_truncated_tail_does_not_take_the_preamble_along() {
    let server = TestServer::start(&ON);
    fill(&server);
    let digest = server.digest();
    rewrite(&server);
    let preamble = aof(&server);
    let dir = Folder::new();
    fs::write(dir.path("appendonly.aof"), [&preamble[..], b"*3\r\n$3\r\nSE"].concat()).unwrap();
    let mut server = TestServer::start_in(dir, OURS, &ON);
    for _ in 0..2 {
        wait_loaded(&server);
        assert_eq!(server.digest(), digest);
        assert_eq!(aof(&server), preamble);
        server.restart();
    }
}

/// What is no command, or none for a file, ends the start, and the log says why.
#[test]
fn a_damaged_file_is_refused() {
    let head = batch(&["SELECT 0", "SET a 1"]);
    let format = "Bad file format reading the append only file: make a backup of your AOF file";
    let cases: [(&[u8], &str); 17] = [
        (b"!!!", format),
        (b"*0\r\n", format),
        (b"*-5\r\n", format),
        (b"*x\r\n", format),
        (b"*1\r\n+PING\r\n", format),
        (b"*1\r\n$-1\r\n", format),
        (b"\r\n", format),
        (b"*\0\r\n", "Unrecoverable error reading the append only file: Success"),
        (b"*1\r\n$5\r\nNOSUC\r\n", "Unknown command 'NOSUC' reading the append only file"),
        (b"*1\r\n$0\r\n\r\n", "Unknown command '' reading the append only file"),
        (b"*1\r\n$3\r\nSET\r\n", "Too few arguments for 'set' reading"),
        (b"*1\r\n$7\r\nMONITOR\r\n", "Command 'monitor' has no business in the append only file"),
        (b"*1\r\n$4\r\nSYNC\r\n", "Command 'sync' has no business in the append only file"),
        (b"*1\r\n$4\r\nPOST\r\n", "Command 'post' has no business in the append only file"),
        (b"*1\r\n$5\r\nHost:\r\n", "Command 'host:' has no business in the append only file"),
        (
            b"*6\r\n$7\r\nMIGRATE\r\n$1\r\nh\r\n$1\r\n1\r\n$1\r\nk\r\n$1\r\n0\r\n$1\r\n1\r\n",
            "Command 'migrate' has no business in the append only file",
        ),
        (
            b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n",
            "Command 'subscribe' has no business in the append only file",
        ),
    ];
    for (bad, message) in cases {
        for tail in [&b""[..], &batch(&["SET b 2"])] {
            let file = [&head[..], bad, tail].concat();
            let (dir, ended) = start_on(&file, &[]);
            let (code, log) = ended.unwrap_or_else(|| panic!("{}: it is up", text(bad)));
            assert_eq!(code, 1, "{log}");
            assert!(log.contains(message), "{}: {log}", text(bad));
            assert_eq!(fs::read(dir.path("appendonly.aof")).unwrap(), file);
        }
    }
    // A transaction is checked as it is read.
    let file = batch(&["MULTI", "SET", "EXEC"]);
    assert_eq!(start_on(&file, &[]).1.expect("refused").0, 1);
    // An error is logged and the load goes on, as in the C.
    let (dir, ended) = start_on(&batch(&["SET a 1", "LPUSH a x", "EXEC", "SET b 2"]), &[]);
    assert_eq!(ended, None);
    let log = fs::read_to_string(dir.path("log")).unwrap();
    assert!(
        log.contains(
            "== CRITICAL == This server is sending an error to its AOF-loading-client: '-WRONGTYPE Operation against a key holding the wrong kind of value' after processing the command 'lpush'"
        ),
        "{log}"
    );
    // A command that would wait does not.
    let (_, ended) =
        start_on(&batch(&["BLPOP none 0", "MULTI", "BLPOP none 0", "EXEC", "WATCH a"]), &[]);
    assert_eq!(ended, None);
}

/// Whatever is in the file: the server starts, or ends with 1. It never crashes.
#[test]
fn no_file_crashes_the_server() {
    let server = TestServer::start(&[&ON[..], &["--aof-use-rdb-preamble", "no"]].concat());
    fill(&server);
    server.cmd(&["DEL", "big"]);
    let long = aof(&server);
    let long = long[..long.len().min(8000)].to_vec();
    rewrite(&server);
    let plain = aof(&server);
    server.cmd(&["CONFIG", "SET", "aof-use-rdb-preamble", "yes"]);
    rewrite(&server);
    server.cmd(&["SET", "tail", "x"]);
    let preamble = aof(&server);
    drop(server);

    let files = [long, plain, preamble];
    let failures = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    let seed = 20_210_601u64;
    println!("seed {seed}");
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= 150 {
                        return;
                    }
                    let mut file = files[n % 3].clone();
                    let mut x = (seed + n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    for _ in 0..1 + n % 5 {
                        x ^= x << 13;
                        x ^= x >> 7;
                        x ^= x << 17;
                        let at = (x >> 16) as usize % file.len();
                        match x % 4 {
                            0 => file[at] = (x >> 8) as u8,
                            1 => file[at] = b"*$0123456789-\r\n"[(x >> 9) as usize % 15],
                            2 => drop(
                                file.drain(at..(at + 1 + (x >> 50) as usize % 20).min(file.len())),
                            ),
                            _ => file.truncate(at),
                        }
                        if file.is_empty() {
                            break;
                        }
                    }
                    let (_, ended) = start_on(&file, &[]);
                    if let Some((code, log)) = ended
                        && (code != 1 || log.contains("REDIS BUG REPORT"))
                    {
                        failures.lock().unwrap().push(format!("{n}: {code}\n{log}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// While a file is loaded, clients are told so, and INFO shows how far it is.
#[test]
fn clients_are_served_while_it_loads() {
    let dir = Folder::new();
    let mut file = Vec::new();
    for i in 0..20_000 {
        file.extend(Conn::encode(&["SET", &format!("key:{i}"), "value"]));
    }
    fs::write(dir.path("appendonly.aof"), &file).unwrap();
    // So long that it is loading for sure.
    let slow = ["--appendonly", "yes", "--key-load-delay", "1000"];
    let mut server = TestServer::start_in(dir, OURS, &slow);
    let mut c = server.conn();
    assert_eq!(c.ask("GET key:1"), "-LOADING Redis is loading the dataset in memory");
    assert_eq!(server.info("loading"), "1");
    assert_eq!(server.info_i64("loading_total_bytes"), file.len() as i64);
    wait_for("some progress", || server.info_i64("loading_loaded_bytes") > 1000);
    assert_eq!(c.ask("CONFIG SET appendonly no"), "-ERR Only CONFIG GET is allowed during loading");
    // A shutdown while loading does not wait for the end.
    server.signal("TERM");
    assert_eq!(server.wait_exit(), 0);
    let log = server.log();
    assert!(log.ends_with("Received shutdown signal during loading, exiting now.\n"), "{log}");
    assert_eq!(aof(&server), file);
    drop(server);

    let dir = Folder::new();
    fs::write(dir.path("appendonly.aof"), &file).unwrap();
    let mut server = TestServer::start_in(dir, OURS, &["--appendonly", "yes"]);
    wait_loaded(&server);
    assert_eq!(server.ask("DBSIZE"), "20000");
    assert_eq!(server.info_i64("aof_current_size"), file.len() as i64);
}

/// A replica with a file: a full sync stops it, and a rewrite starts it with the new data; the
/// stream goes on into it.
#[test]
fn a_replica_has_a_file_of_its_own() {
    let master = TestServer::start(&[]);
    fill(&master);
    let mut replica = TestServer::start(&ON);
    replica.cmd(&["SET", "old", "data"]);
    replica.replicaof_port(master.port);
    replica.wait_for_link();
    let load = WriteLoad::start(master.port);
    wait_for("some writes", || load.writes() > 1000);
    wait_rewritten(&replica);
    load.stop();
    assert_same_data(&master, &replica);
    assert_eq!(replica.info("aof_enabled"), "1");
    let digest = replica.digest();
    assert!(!text(&aof(&replica)).contains("old"));
    // It was not told on its command line whose replica it is.
    replica.restart();
    wait_loaded(&replica);
    assert_eq!(replica.info("role"), "master");
    assert_eq!(replica.digest(), digest);
}

/// A sync that is given up leaves the file on.
#[test]
fn a_sync_that_is_given_up_leaves_the_file_on() {
    // The sync is not done before it is given up.
    let master = TestServer::start(&["--rdb-key-save-delay", "1000000"]);
    master.cmd(&["DEBUG", "POPULATE", "10000"]);
    let mut replica = TestServer::start(&ON);
    replica.cmd(&["SET", "mine", "1"]);
    replica.replicaof_port(master.port);
    wait_for("the sync", || replica.info("master_sync_in_progress") == "1");
    assert_eq!(replica.ask("REPLICAOF NO ONE"), "OK");
    assert_eq!(replica.info("aof_enabled"), "1");
    wait_rewritten(&replica);
    assert_eq!(replica.ask("SET mine 2"), "OK");
    replica.restart();
    wait_loaded(&replica);
    assert_eq!(replica.ask("GET mine"), "2");
}

/// Debian's server (7.0) takes our file over, and its checker finds it in order.
#[test]
fn debian_reads_our_file() {
    for preamble in ["yes", "no"] {
        let mut server =
            TestServer::start(&[&ON[..], &["--aof-use-rdb-preamble", preamble]].concat());
        fill(&server);
        rewrite(&server);
        fill(&server);
        let digest = server.digest();
        server.kill();
        let path = aof_path(&server);
        let checked = tool("redis-check-aof", &[path.to_str().unwrap()]);
        assert!(checked.contains("is valid"), "{checked}");

        let dir = Folder::new();
        fs::copy(&path, dir.path("appendonly.aof")).unwrap();
        let args = [&ON[..], &["--enable-debug-command", "yes"]].concat();
        let debian = TestServer::start_in(dir, DEBIAN, &args);
        wait_loaded(&debian);
        assert_eq!(debian.digest(), digest, "preamble {preamble}");
    }
}

/// And we read what it writes: its base and its increment, one behind the other, are a file of the
/// old kind.
#[test]
fn we_read_debians_file() {
    for preamble in ["yes", "no"] {
        let args = ["--enable-debug-command", "yes", "--aof-use-rdb-preamble", preamble];
        let debian = TestServer::start_debian(&[&ON[..], &args].concat());
        fill(&debian);
        debian.cmd(&["BGREWRITEAOF"]);
        wait_for("the rewrite", || debian.info("aof_rewrites") == "1");
        wait_rewritten(&debian);
        fill(&debian);
        let digest = debian.digest();
        let names = fs::read_dir(debian.dir.path("appendonlydir")).unwrap();
        let names: Vec<PathBuf> = names.map(|e| e.unwrap().path()).collect();
        let part = |kind: &str| {
            let name = names.iter().find(|n| n.to_str().unwrap().contains(kind)).unwrap();
            fs::read(name).unwrap()
        };
        let dir = Folder::new();
        let file = [part(".base."), part(".incr.")].concat();
        fs::write(dir.path("appendonly.aof"), file).unwrap();
        let server = TestServer::start_in(dir, OURS, &ON);
        wait_loaded(&server);
        assert_eq!(server.digest(), digest, "preamble {preamble}");
    }
}

/// Our binary under the name `redis-check-aof`: what it printed, and its exit code.
fn check_aof(args: &[&str], answer: &str) -> (String, i32) {
    let mut child = Command::new(OURS)
        .arg0("redis-check-aof")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(answer.as_bytes());
    let out = child.wait_with_output().unwrap();
    (text(&out.stdout), out.status.code().unwrap())
}

#[test]
fn redis_check_aof_tells_and_cuts() {
    let dir = Folder::new();
    let path = dir.path("file.aof");
    let name = path.to_str().unwrap();
    assert_eq!(check_aof(&[], "").0, "Usage: redis-check-aof [--fix] <file.aof>\n");
    assert_eq!(check_aof(&["--fax", name], ""), ("Invalid argument: --fax\n".into(), 1));
    assert_eq!(check_aof(&["a", "b", "c"], ""), ("Invalid arguments\n".into(), 1));
    assert_eq!(check_aof(&[name], ""), (format!("Cannot open file: {name}\n"), 1));
    // CVE-2025-27151: a name longer than any path.
    let long = "a".repeat(5000);
    assert_eq!(check_aof(&[&long], ""), (format!("Cannot open file: {long}\n"), 1));
    fs::write(&path, "").unwrap();
    assert_eq!(check_aof(&[name], ""), (format!("Empty file: {name}\n"), 1));

    let good = batch(&["SET a 1", "MULTI", "SET b 2", "EXEC"]);
    let len = good.len();
    fs::write(&path, &good).unwrap();
    let valid = format!(
        "AOF analyzed: size={len}, ok_up_to={len}, ok_up_to_line=21, diff=0\nAOF is valid\n"
    );
    assert_eq!(check_aof(&[name], ""), (valid.clone(), 0));
    assert_eq!(check_aof(&["--fix", name], ""), (valid, 0));

    // What is wrong, with where, and how far it is good.
    for (tail, error, diff) in [
        (&b"!!"[..], format!("0x{len:16x}: Expected prefix '*', got: '!'\n"), 2),
        (b"*1\n", format!("0x{len:16x}: Expected \\r\\n, got: 0a00\n"), 3),
        (b"*1\0\r\n", format!("0x{len:16x}: Expected \\r\\n, got: 000d\n"), 5),
        (b"*1x\xff", format!("0x{len:16x}: Expected \\r\\n, got: 78ffffffff\n"), 4),
        (
            b"*1\r\n$3\r\nGE",
            format!("0x{:16x}: Expected to read 5 bytes, got 2 bytes\n", len + 8),
            10,
        ),
        (b"*1\r\n$3\r\nGETxx", format!("0x{:16x}: Expected \\r\\n, got: 7878\n", len + 8), 13),
        (&batch(&["MULTI", "MULTI"]), format!("0x{:16x}: Unexpected MULTI\n", len + 23), 30),
        (&batch(&["EXEC"]), format!("0x{:16x}: Unexpected EXEC\n", len + 8), 14),
        (
            &batch(&["MULTI", "SET c 3"]),
            format!("0x{:16x}: Reached EOF before reading EXEC for MULTI\n", len + 42),
            42,
        ),
    ] {
        fs::write(&path, [&good[..], tail].concat()).unwrap();
        let (out, code) = check_aof(&[name], "");
        assert_eq!(code, 1, "{out}");
        assert!(out.starts_with(&error), "{out} instead of {error}");
        assert!(out.contains(&format!("ok_up_to={len}, ")), "{out}");
        assert!(out.ends_with(&format!(
            "diff={diff}\nAOF is not valid. Use the --fix option to try fixing it.\n"
        )));

        // Only a yes cuts.
        let (out, code) = check_aof(&["--fix", name], "n\n");
        assert!(out.ends_with("Continue? [y/N]: Aborting...\n"), "{out}");
        assert_eq!((code, fs::read(&path).unwrap().len()), (1, len + diff));
        let (out, code) = check_aof(&["--fix", name], "y\n");
        assert!(out.ends_with("Continue? [y/N]: Successfully truncated AOF\n"), "{out}");
        assert_eq!((code, fs::read(&path).unwrap()), (0, good.clone()));
    }

    // An RDB at the head is checked like one.
    let server = TestServer::start(&ON);
    fill(&server);
    rewrite(&server);
    server.cmd(&["SET", "tail", "x"]);
    let file = aof(&server);
    fs::write(&path, &file).unwrap();
    let (out, code) = check_aof(&[name], "");
    assert_eq!(code, 0, "{out}");
    assert!(out.starts_with(
        "The AOF appears to start with an RDB preamble.\nChecking the RDB preamble to start:\n"
    ));
    // Both lines are of the place where it ends.
    let place = |line: &str| out.lines().find_map(|l| l.strip_suffix(line)).unwrap().to_string();
    assert_eq!(place("Checksum OK"), place("\\o/ RDB looks OK! \\o/"));
    assert!(out.contains("RDB preamble is OK, proceeding with AOF tail...\n"), "{out}");
    assert!(out.ends_with("diff=0\nAOF is valid\n"), "{out}");
    fs::write(&path, [&file[..], b"*3\r\n"].concat()).unwrap();
    assert_eq!(check_aof(&["--fix", name], "y").1, 0);
    assert_eq!(fs::read(&path).unwrap(), file);
    // Within its third field: what is behind the fields comes in any order, and the loader has
    // other last words for what is cut within a value.
    fs::write(&path, &file[..60]).unwrap();
    let (out, code) = check_aof(&[name], "");
    assert!(out.ends_with("RDB preamble of AOF file is not sane, aborting.\n"), "{out}");
    assert_eq!(code, 1);
    // What the loader finds wrong is the last that is said: a set whose length is no length.
    fs::write(&path, b"REDIS0009\x02\x01k\x85\x01a").unwrap();
    let (out, code) = check_aof(&[name], "");
    assert!(
        out.ends_with("# Terminating server after rdb file reading failure.\n") && code == 1,
        "{out}"
    );
}

/// The directives, and what INFO and LATENCY tell.
#[test]
fn configuration_and_info() {
    let dir = Folder::new();
    let conf = dir.path("redis.conf");
    fs::write(&conf, "appendonly yes\nappendfilename other.aof\nappendfsync always\n").unwrap();
    // One that knows where it is, for its questions; the server itself is started by hand, as its
    // file comes first among the arguments.
    let mut server = TestServer::start_in(dir, OURS, &[]);
    server.kill();
    let port = server.port.to_string();
    let child = Command::new(OURS)
        .args([conf.to_str().unwrap(), "--port", &port, "--bind", "127.0.0.1", "--save", ""])
        .current_dir(&server.dir.0)
        .stdout(Stdio::null())
        .spawn();
    let mut child = child.unwrap();
    wait_for("the server", || server.info("loading") == "0");
    let mut c = server.conn();
    assert_eq!(c.ask("CONFIG GET append*").matches("other.aof").count(), 1);
    for line in [
        "CONFIG SET appendfsync everysec",
        "CONFIG SET no-appendfsync-on-rewrite yes",
        "CONFIG SET auto-aof-rewrite-percentage 33",
        "CONFIG SET auto-aof-rewrite-min-size 1mb",
        "CONFIG SET aof-load-truncated no",
        "CONFIG SET aof-use-rdb-preamble no",
        "CONFIG SET aof-rewrite-incremental-fsync no",
        "CONFIG SET latency-monitor-threshold 1",
        "DEBUG AOF-FLUSH-SLEEP 30000",
        "SET k v",
        "DEBUG AOF-FLUSH-SLEEP 0",
        "CONFIG REWRITE",
    ] {
        assert_eq!(c.ask(line), "OK", "{line}");
    }
    assert!(c.ask("CONFIG SET appendfilename x").starts_with("-ERR"));
    assert_eq!(
        c.ask("CONFIG SET appendfsync sometimes"),
        "-ERR Invalid argument 'sometimes' for CONFIG SET 'appendfsync' - argument must be one of the following: everysec, always, no"
    );
    let written = fs::read_to_string(&conf).unwrap();
    for line in [
        "appendonly yes",
        "appendfilename \"other.aof\"",
        "no-appendfsync-on-rewrite yes",
        "auto-aof-rewrite-percentage 33",
        "auto-aof-rewrite-min-size 1mb",
        "aof-load-truncated no",
        "aof-use-rdb-preamble no",
        "aof-rewrite-incremental-fsync no",
    ] {
        assert!(written.lines().any(|l| l == line), "{line} in {written}");
    }
    assert!(!written.contains("appendfsync always"), "{written}");
    wait_for("the write", || server.info("aof_current_size") == "50");
    assert!(server.info_i64("aof_delayed_fsync") >= 0);
    assert_eq!(server.info("aof_pending_rewrite"), "0");
    assert_eq!(server.info("aof_last_rewrite_time_sec"), "-1");
    assert!(c.ask("BGREWRITEAOF").ends_with("started"));
    wait_rewritten(&server);
    assert!(server.info_i64("aof_last_rewrite_time_sec") >= 0);
    assert!(server.info_i64("aof_last_cow_size") > 0);
    assert!(
        c.ask("COMMAND INFO bgrewriteaof").starts_with("[[bgrewriteaof 1 [admin noscript] 0 0 0")
    );
    child.kill().unwrap();
    child.wait().unwrap();

    // A name is a name, not a path.
    let refused = Command::new(OURS).args(["--appendfilename", "a/b"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("appendfilename can't be a path, just a filename"));
    // A file that cannot be opened ends the start.
    let dir = Folder::new();
    fs::create_dir(dir.path("appendonly.aof")).unwrap();
    let port = free_port().to_string();
    let out = Command::new(OURS)
        .args(["--port", &port, "--appendonly", "yes"])
        .current_dir(&dir.0)
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stdout).contains("Can't open the append-only file: Is a directory"));
}
