//! The snapshot file: written by the server or its child, read at start, and never trusted.
#![allow(clippy::disallowed_types)] // damaged files are tried in parallel

#[path = "support/ask.rs"]
mod ask;
#[path = "support/content.rs"]
mod content;
mod support;
#[path = "support/traffic.rs"]
mod traffic;

use ask::*;
use content::*;
use fidelis::crc64::crc64;
use fidelis::rdb::{RDB_OPCODE_EOF, RDB_OPCODE_SELECTDB};
use serde_json::Value as Json;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::*;

/// A dump.rdb as redis 6.2.16 writes it, with maxmemory-policy allkeys-lfu: every form of a string,
/// an expire, two dbs.
const FROM_6_2_16: &str = "524544495330303039fa0972656469732d76657206362e322e3136fa0a72656469732d62697473c040fa05637469\
6d65c2f981016bfa08757365642d6d656dc2305a0d00fa0c616f662d707265616d626c65c000fe00fb0901f9050003693332c2006cca88f905000369\
36341339303030303030303030303030303030303030f90500046e756d3003303037f90500026938c0fbf9050004746578740568656c6c6ff9050004\
6c6f6e67c313414008616263646566676861e0ff07e12407016768f9050005656d707479022727f9050003693136c13075fc7bd8c32cbb030000f906\
0001650176fe09fb0100f90500056f74686572c001ff4b4d77410376b486";

fn sample() -> Vec<u8> {
    (0..FROM_6_2_16.len() / 2)
        .map(|i| u8::from_str_radix(&FROM_6_2_16[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

/// A small file with a value of every type and encoding that is read: those of 6.2, older and newer
/// ones.
fn every_type() -> Vec<u8> {
    let limits = ["--hash-max-ziplist-entries", "16", "--zset-max-ziplist-entries", "16"];
    let policy = ["--maxmemory-policy", "allkeys-lfu"];
    let server = TestServer::start(&[&limits[..], &policy].concat());
    let mut c = server.conn();
    for line in traffic::making().iter().filter(|line| !line.contains(" big")) {
        assert!(!c.ask(line).starts_with('-'), "{line}");
    }
    c.ask("SET text hello PXAT 4102444800123");
    c.ask("SELECT 9");
    c.ask("SET other 1");
    assert_eq!(c.ask("SAVE"), "OK");

    // Before the end mark and the checksum.
    let mut file = std::fs::read(server.dir.path("dump.rdb")).unwrap();
    file.truncate(file.len() - 9);
    file[5..9].copy_from_slice(b"0012");
    file.extend([RDB_OPCODE_SELECTDB, 0]);
    let zl = b"\x14\x14\0\0\0\x10\0\0\0\x03\0\0\x01a\x03\xfe\x07\x03\x01c\xff";
    let lp = b"\x11\x11\0\0\0\x04\0\x81a\x02\x01\x01\x81b\x02\x02\x01\xff";
    let zipmap = b"\x0d\x02\x01f\x01\0v\0\x02\x0112?\xff";
    for (type_, value) in [
        (1, &b"\x03\x01a\xc0\x07\x01b"[..]),
        (3, b"\x03\x01a\x032.5\x01b\xfe\x01c\xff"),
        (9, &zipmap[..]),
        (10, &zl[..]),
        (16, &lp[..]),
        (17, &lp[..]),
        (18, &[&b"\x02\x02"[..], lp, b"\x01\x05plain"].concat()),
        (20, &lp[..]),
    ] {
        file.extend([&[type_, 2, b'k', b'a' + type_], value].concat());
    }
    file.push(RDB_OPCODE_EOF);
    let checksum = crc64(0, &file);
    file.extend(checksum.to_le_bytes());
    file
}

/// The files of a folder that are a child's unfinished work.
fn temp_files(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|n| n.starts_with("temp-")).collect()
}

/// The process id of the running save.
fn child_pid(server: &TestServer) -> String {
    let log = server.log();
    log.lines()
        .rev()
        .find_map(|l| l.split_once("Background saving started by pid "))
        .expect("a child in the log")
        .1
        .trim()
        .to_string()
}

fn kill(signal: &str, pid: &str) {
    assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
}

/// What happened to a server that was started on a file.
enum Start {
    /// It loaded the file, and answered this to `GET text` and DBSIZE.
    Up(String),
    Exit(i32, String),
}

/// Starts a server on `rdb`, without a TCP port, uses what it has loaded, and stops it again.
fn start_on(dir: &Path, rdb: &[u8]) -> Start {
    std::fs::write(dir.join("dump.rdb"), rdb).unwrap();
    let log = std::fs::File::create(dir.join("out")).unwrap();
    let socket = dir.join("s");
    let _ = std::fs::remove_file(&socket);
    let mut child = Command::new(OURS)
        .args(["--port", "0", "--save", "", "--unixsocket", socket.to_str().unwrap()])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            let said =
                String::from_utf8_lossy(&std::fs::read(dir.join("out")).unwrap()).into_owned();
            return Start::Exit(status.code().unwrap_or(-1), said);
        }
        // It listens before it loads: when the load fails, the connection ends without a word.
        let said = say(&socket, b"DBSIZE\r\nGET text\r\nQUIT\r\n");
        if !said.is_empty() && !said.starts_with("-LOADING") {
            use_up(&socket, &said);
            child.kill().unwrap();
            child.wait().unwrap();
            return Start::Up(said);
        }
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("a server hangs on a file of {} bytes: {}", rdb.len(), dir.display());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Sends bytes to a socket and reads until the other side closes. Empty: there is none.
fn say(socket: &Path, bytes: &[u8]) -> String {
    let mut said = Vec::new();
    if let Ok(mut s) = UnixStream::connect(socket) {
        s.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = s.write_all(bytes).and_then(|()| s.read_to_end(&mut said));
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// Uses every key of a server as its type allows, to the last one.
fn use_up(socket: &Path, said: &str) {
    let keys = say(socket, b"KEYS *\r\nQUIT\r\n");
    // Names that damage has made unreadable are left.
    let names = || keys.split("\r\n").skip(2).step_by(2).filter(|k| !k.is_empty() && k.is_ascii());
    let types = names().map(|k| Conn::encode(&["TYPE", k])).collect::<Vec<_>>().concat();
    let types = say(socket, &[&types[..], b"QUIT\r\n"].concat());
    let mut commands = Vec::new();
    for (name, type_) in names().zip(types.split("\r\n")) {
        for words in traffic::using(type_.trim_start_matches('+'), name) {
            commands.extend(Conn::encode(&words));
        }
    }
    commands.extend(b"QUIT\r\n");
    let answers = say(socket, &commands);
    assert!(answers.ends_with("+OK\r\n"), "it ended after {said}, while {types} were used");
}

/// Runs `check` on each of `n` cases in as many threads as there are processors.
fn in_parallel(n: usize, check: impl Fn(usize, &Path) + Sync) {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|s| {
        for _ in 0..std::thread::available_parallelism().map_or(2, |n| n.get()) {
            s.spawn(|| {
                let dir = Folder::new();
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= n {
                        break;
                    }
                    let result =
                        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(i, &dir.0)));
                    if result.is_err() {
                        failures.lock().unwrap().push(i);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "failed cases: {failures:?}");
}

/// What a file that is not good must lead to: a message, exit code 1, no signal and no panic.
#[track_caller]
fn assert_refused(start: Start, what: &str) {
    match start {
        Start::Up(said) => panic!("{what}: it was loaded: {said:?}"),
        Start::Exit(code, said) => {
            assert_eq!(code, 1, "{what}:\n{said}");
            assert!(
                !said.contains("REDIS BUG REPORT") && !said.contains("panicked"),
                "{what}:\n{said}"
            );
            let clear = [
                "Internal error in RDB reading",
                "Fatal error loading the DB",
                "RDB CRC error",
                "Wrong signature",
                "FATAL: Data file was created",
                "RDB has duplicated key",
            ];
            assert!(clear.iter().any(|c| said.contains(c)), "{what} has no clear message:\n{said}");
        }
    }
}

/// The whole sample loads, with all of its values.
#[test]
fn file_of_6_2_16() {
    let dir = Folder::new();
    std::fs::write(dir.path("dump.rdb"), sample()).unwrap();
    let server = TestServer::start_in(dir, OURS, &["--maxmemory-policy", "allkeys-lfu"]);
    let mut c = server.conn();
    assert_eq!(c.ask("DBSIZE"), "9");
    assert_eq!(c.ask("OBJECT FREQ e"), "6", "the counter came with the file");
    assert_eq!(
        c.ask("MGET i8 i16 i32 i64 num0 text empty e"),
        "[-5 30000 -2000000000 9000000000000000000 007 hello '' v]"
    );
    assert_eq!(c.ask("GET long"), "abcdefgh".repeat(40));
    assert_eq!(
        [c.ask("OBJECT ENCODING i8"), c.ask("OBJECT ENCODING num0"), c.ask("OBJECT ENCODING long")],
        ["int", "embstr", "raw"]
    );
    let ttl = c.cmd(&["PTTL", "e"]).int();
    let now = c.cmd(&["TIME"]).array()[0].text().parse::<i64>().unwrap() * 1000;
    assert!((ttl + now - 4_102_444_800_123).abs() < 2000, "{ttl}");
    assert_eq!([c.ask("SELECT 9"), c.ask("GET other"), c.ask("DBSIZE")], ["OK", "1", "1"]);
    assert!(server.log().contains("RDB age "));
    assert!(server.log().contains("DB loaded from disk: "));
}

/// Every prefix of a file is refused.
#[test]
fn every_prefix_is_refused() {
    let file = every_type();
    in_parallel(file.len(), |n, dir| {
        assert_refused(start_on(dir, &file[..n]), &format!("the first {n} bytes"))
    });
}

/// Every byte of it flipped is refused, by the checksum if by nothing else.
#[test]
fn every_flipped_byte_is_refused() {
    let file = every_type();
    in_parallel(file.len(), |n, dir| {
        let mut file = file.clone();
        file[n] ^= [0x01, 0x80, 0xff][n % 3];
        assert_refused(start_on(dir, &file), &format!("byte {n} flipped"));
    });
}

/// With the checksum switched off (eight zero bytes) flipped bytes reach the parser: it loads
/// something that can be used, or refuses.
#[test]
fn flipped_bytes_without_checksum() {
    let mut file = every_type();
    let end = file.len() - 8;
    file[end..].fill(0);
    let Start::Up(said) = start_on(&Folder::new().0, &file) else { panic!("it is good") };
    assert!(said.starts_with(":26\r\n$5\r\nhello\r\n"), "{said}");
    let (loaded, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    in_parallel(end, |n, dir| {
        let mut file = file.clone();
        file[n] ^= [0xff, 0x01, 0x40, 0x80][n % 4];
        match start_on(dir, &file) {
            Start::Up(said) => {
                assert!(said.starts_with(':'), "byte {n}: {said:?}");
                loaded.fetch_add(1, Ordering::Relaxed);
            }
            refusal => {
                assert_refused(refusal, &format!("byte {n} flipped, no checksum"));
                refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let (loaded, refused) = (loaded.into_inner(), refused.into_inner());
    assert!(loaded > 20 && refused > 20, "{loaded} loaded, {refused} refused");
}

/// Files that are whole but not for us: another signature, a newer version, unknown types,
/// encodings and lengths.
#[test]
fn foreign_files_are_refused() {
    let tail = [0xff, 0, 0, 0, 0, 0, 0, 0, 0];
    let with = |head: &[u8], body: &[u8]| [head, body, &tail].concat();
    let v9 = b"REDIS0009";
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("signature", with(b"RADIS0009", b""), "Wrong signature trying to load DB from file"),
        ("version 0", with(b"REDIS0000", b""), "Can't handle RDB format version 0"),
        ("version 99", with(b"REDIS0099", b""), "Can't handle RDB format version 99"),
        ("no version", with(b"REDISabcd", b""), "Can't handle RDB format version 0"),
        ("type 200", with(v9, b"\xc8\x01k\x01v"), "Unknown RDB encoding type 200"),
        (
            "db number",
            with(v9, b"\xfe\x40\x64"),
            "Data file was created with a Redis server configured to handle more than ",
        ),
        ("integer encoding", with(v9, b"\x00\x01k\xc4abcd"), "Unknown RDB string encoding type 4"),
        ("encoded key", with(v9, b"\x00\xc9k"), "Unknown RDB string encoding type 9"),
        (
            "LZF garbage",
            with(v9, b"\x00\x01k\xc3\x03\x05\xe0\xff\xff"),
            "Invalid LZF compressed string",
        ),
        (
            "huge string",
            with(v9, b"\x00\x01k\x81\x7f\xff\xff\xff\xff\xff\xff\xff"),
            "Internal error in RDB reading",
        ),
        (
            "huge LZF",
            with(v9, b"\x00\x01k\xc3\x81\x7f\xff\xff\xff\xff\xff\xff\xff\x03abc"),
            "Internal error in RDB reading",
        ),
        ("length form", with(v9, b"\x00\x01k\x82abc"), "Internal error in RDB reading"),
        (
            "the same key twice",
            with(v9, b"\x00\x01k\x01v\x00\x01k\x01w"),
            "RDB has duplicated key 'k' in DB 0",
        ),
    ];
    in_parallel(cases.len(), |n, dir| {
        let (what, file, message) = &cases[n];
        let start = start_on(dir, file);
        if let Start::Exit(_, said) = &start {
            assert!(said.contains(message), "{what}: no {message:?} in\n{said}");
        }
        assert_refused(start, what);
    });
    // Sizes that are only a hint are not believed.
    let dir = Folder::new();
    match start_on(&dir.0, &with(v9, b"\xfe\x00\xfb\x81\x7f\xff\xff\xff\xff\xff\xff\xff\x81\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x04text\x05hello")) {
        Start::Up(said) => assert!(said.starts_with(":1\r\n$5\r\nhello\r\n"), "{said}"),
        Start::Exit(code, said) => panic!("exit {code}: {said}"),
    }
    // Old versions are read; a file of version 1 has neither AUX fields nor a checksum.
    match start_on(&dir.0, b"REDIS0001\xfe\x00\x00\x04text\x05hello\xff") {
        Start::Up(said) => assert!(said.starts_with(":1\r\n$5\r\nhello\r\n"), "{said}"),
        Start::Exit(code, said) => panic!("exit {code}: {said}"),
    }
    // A checksum of zero means none was computed; expired keys are not loaded; unknown AUX fields
    // are passed over.
    match start_on(&dir.0, &with(v9, b"\xfa\x03foo\x03bar\xfe\x00\xfc\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01k\x01v\xfd\x01\x00\x00\x00\x00\x01l\x01v\x00\x04text\x05hello")) {
        Start::Up(said) => assert!(said.starts_with(":1\r\n$5\r\nhello\r\n"), "{said}"),
        Start::Exit(code, said) => panic!("exit {code}: {said}"),
    }
}

/// A file of Debian's server loads, and ours loads there.
#[test]
fn files_of_debian() {
    let fill = |c: &mut Conn| {
        for (k, v) in [("i", "-123"), ("n", "0012"), ("t", "text"), ("z", "")] {
            c.cmd(&["SET", k, v]);
        }
        c.cmd(&[b"SET".to_vec(), b"bin\x00\xff".to_vec(), (0..=255).collect()]);
        c.cmd(&["SET".to_string(), "long".to_string(), "xyz".repeat(10_000)]);
        c.ask("SET e v PXAT 4102444800123");
        c.ask("SELECT 5");
        c.ask("SET five 5");
        assert_eq!(c.ask("SAVE"), "OK");
    };
    let (debian, ours) =
        (TestServer::start_debian(&["--enable-debug-command", "yes"]), TestServer::start(&[]));
    fill(&mut debian.conn());
    fill(&mut ours.conn());
    assert_eq!(debian.digest(), ours.digest());
    let copy = |from: &TestServer| {
        let dir = Folder::new();
        std::fs::copy(from.dir.path("dump.rdb"), dir.path("dump.rdb")).unwrap();
        dir
    };
    let loaded = TestServer::start_in(copy(&debian), OURS, &[]);
    assert_eq!(loaded.digest(), debian.digest());
    let loaded = TestServer::start_in(copy(&ours), DEBIAN, &["--enable-debug-command", "yes"]);
    assert_eq!(loaded.digest(), ours.digest());
    let out = tool("redis-check-rdb", &[ours.dir.path("dump.rdb").to_str().unwrap()]);
    assert!(out.contains("RDB looks OK!"), "{out}");
}

/// SAVE and LASTSAVE; what was saved is there after a restart.
#[test]
fn save_and_restart() {
    let mut server = TestServer::start(&[]);
    let mut c = server.conn();
    let before = c.cmd(&["LASTSAVE"]).int();
    for i in 0..1000 {
        c.cmd(&["SET".to_string(), format!("key:{i}"), format!("{}", i * 7919)]);
    }
    c.ask("PEXPIRE key:1 100000");
    assert_eq!(server.info("rdb_changes_since_last_save"), "1001");
    wait_for("the clock to go on", || {
        c.cmd(&["TIME"]).array()[0].text().parse::<i64>().unwrap() > before
    });
    assert_eq!(c.ask("SAVE"), "OK");
    assert!(c.cmd(&["LASTSAVE"]).int() > before);
    assert_eq!(server.info("rdb_changes_since_last_save"), "0");
    assert_eq!(server.info("rdb_last_bgsave_status"), "ok");
    assert!(server.log().contains("DB saved on disk"));
    let digest = server.digest();
    c.ask("SET lost 1");
    server.restart();
    assert_eq!(server.digest(), digest);
    let mut c = server.conn();
    assert_eq!(c.ask("EXISTS lost"), "0");
    assert!((1..100_000).contains(&c.cmd(&["PTTL", "key:1"]).int()));
    assert_eq!(temp_files(&server.dir.0), Vec::<String>::new());
}

/// BGSAVE: its child saves what was there at the fork; INFO follows it; a second save has to wait.
#[test]
fn bgsave_reports_progress() {
    // It takes six seconds, and tells of its progress after the first.
    let mut server = TestServer::start(&["--rdb-key-save-delay", "1000"]);
    let mut c = server.conn();
    c.ask("DEBUG POPULATE 6000");
    let digest = server.digest();
    let before = server.info_i64("rdb_last_save_time");
    assert_eq!(c.ask("BGSAVE"), "Background saving started");
    assert_eq!(server.info("rdb_bgsave_in_progress"), "1");
    assert_eq!(c.ask("BGSAVE"), "-ERR Background save already in progress");
    assert_eq!(c.ask("BGSAVE SCHEDULE"), "-ERR Background save already in progress");
    assert_eq!(c.ask("SAVE"), "-ERR Background save already in progress");
    assert_eq!(c.ask("BGSAVE foo"), "-ERR syntax error");
    assert_eq!(server.info("current_save_keys_total"), "6000");
    c.ask("SET after the-fork");
    wait_for("progress", || server.info_i64("current_save_keys_processed") > 0);
    // It stands still until all was looked at.
    kill("-STOP", &child_pid(&server));
    let processed = server.info_i64("current_save_keys_processed");
    assert!((1..=6000).contains(&processed), "{processed}");
    assert!(server.info_i64("current_fork_perc").max(0) <= 100);
    assert!(server.info("current_fork_perc").parse::<f64>().unwrap() > 0.0);
    assert!(server.info_i64("rdb_current_bgsave_time_sec") >= 0);
    assert_eq!(temp_files(&server.dir.0), [format!("temp-{}.rdb", child_pid(&server))]);
    kill("-CONT", &child_pid(&server));
    wait_for("the end", || server.info("rdb_bgsave_in_progress") == "0");
    assert_eq!(server.info("rdb_last_bgsave_status"), "ok");
    assert!(server.info_i64("rdb_last_save_time") >= before);
    assert!(server.info_i64("rdb_last_bgsave_time_sec") >= 1);
    assert!(server.info_i64("rdb_last_cow_size") > 0);
    assert_eq!(server.info("current_save_keys_total"), "0");
    assert_eq!(server.info("rdb_changes_since_last_save"), "1", "the one after the fork");
    assert!(server.log().contains("Background saving terminated with success"));
    assert!(
        server.log().contains("RDB: ")
            && server.log().contains(" MB of memory used by copy-on-write")
    );
    assert!(server.info_i64("total_forks") == 1);
    assert_eq!(temp_files(&server.dir.0), Vec::<String>::new());
    c.ask("CONFIG SET rdb-key-save-delay 0");
    server.restart();
    assert_eq!(server.digest(), digest);
}

/// A child that is killed: a true status, no temp file; by SIGUSR1 it is no error.
#[test]
fn killed_child() {
    let server = TestServer::start(&["--rdb-key-save-delay", "10000", "--save", "3600", "1"]);
    let mut c = server.conn();
    c.ask("DEBUG POPULATE 5000");
    for (signal, status, log) in [
        ("-USR1", "ok", "Background saving terminated by signal 10"),
        ("-KILL", "err", "Background saving terminated by signal 9"),
        ("-USR1", "err", "Background saving terminated by signal 10"),
    ] {
        assert_eq!(c.ask("BGSAVE"), "Background saving started");
        wait_for("its file", || !temp_files(&server.dir.0).is_empty());
        kill(signal, &child_pid(&server));
        wait_for("its end is noticed", || server.info("rdb_bgsave_in_progress") == "0");
        assert_eq!(server.info("rdb_last_bgsave_status"), status, "after {signal}");
        assert!(server.log().contains(log), "{log}");
        assert_eq!(temp_files(&server.dir.0), Vec::<String>::new(), "after {signal}");
        assert!(!server.dir.path("dump.rdb").exists());
    }
    // Now writes are stopped, until a save works.
    assert!(c.ask("SET a b").starts_with(
        "-MISCONF Redis is configured to save RDB snapshots, but it is currently not able to persist on disk. Commands that may modify the data set are disabled"
    ));
    assert_eq!(c.ask("CONFIG SET rdb-key-save-delay 0"), "OK");
    assert_eq!(c.ask("BGSAVE"), "Background saving started");
    wait_for("the end", || server.info("rdb_bgsave_in_progress") == "0");
    assert_eq!(c.ask("SET a b"), "OK");
    // FLUSHALL stops a save that runs.
    c.ask("CONFIG SET rdb-key-save-delay 10000");
    c.ask("BGSAVE");
    let pid = child_pid(&server);
    assert_eq!(c.ask("FLUSHALL"), "OK");
    wait_for("the child is gone", || server.info("rdb_bgsave_in_progress") == "0");
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(temp_files(&server.dir.0), Vec::<String>::new());
}

/// A save that fails stops writes if it is told to, and only then.
#[test]
fn stop_writes_on_bgsave_error() {
    let server = TestServer::start(&["--save", "3600", "1000000"]);
    let mut c = server.conn();
    c.ask("SET a 1");
    let gone = server.dir.path("gone");
    std::fs::create_dir(&gone).unwrap();
    assert_eq!(c.ask(&format!("CONFIG SET dir {}", gone.display())), "OK");
    std::fs::remove_dir(&gone).unwrap();
    assert_eq!(c.ask("SAVE"), "-ERR");
    assert_eq!(c.ask("BGSAVE"), "Background saving started");
    wait_for("it fails", || server.info("rdb_last_bgsave_status") == "err");
    server.wait_for_log("Background saving error");
    assert!(server.log().contains("Failed opening the RDB file dump.rdb (in server root dir unknown) for saving: No such file or directory"), "{}", server.log());
    let misconf = "-MISCONF Redis is configured to save RDB snapshots, but it is currently not able to persist on disk. \
                   Commands that may modify the data set are disabled, because this instance is configured to report \
                   errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). \
                   Please check the Redis logs for details about the RDB error.";
    assert_eq!(c.ask("SET a 2"), misconf);
    assert_eq!(c.ask("GET a"), "1");
    assert_eq!(c.ask("PING"), misconf, "so that a health check notices");
    c.ask("MULTI");
    assert_eq!(c.ask("SET a 2"), misconf);
    assert_eq!(c.ask("EXEC"), "-EXECABORT Transaction discarded because of previous errors.");
    assert_eq!(c.ask("CONFIG SET stop-writes-on-bgsave-error no"), "OK");
    assert_eq!(c.ask("SET a 3"), "OK");
    assert_eq!(c.ask("CONFIG SET stop-writes-on-bgsave-error yes"), "OK");
    assert_eq!(c.ask("SET a 4"), misconf);
    assert_eq!(flat(&c.cmd(&["CONFIG", "SET", "save", ""])), "OK");
    assert_eq!(c.ask("SET a 5"), "OK", "without save points nobody relies on the file");
    c.ask("CONFIG SET save 3600");
    assert_eq!(c.ask(&format!("CONFIG SET dir {}", server.dir.0.display())), "OK");
    assert_eq!(c.ask("SAVE"), "OK");
    assert_eq!(server.info("rdb_last_bgsave_status"), "ok");
}

/// Save points: so many changes in so many seconds.
#[test]
fn save_points() {
    let server = TestServer::start(&["--save", "1", "5"]);
    let mut c = server.conn();
    for i in 0..4 {
        c.ask(&format!("SET k{i} v"));
    }
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!server.dir.path("dump.rdb").exists(), "four changes are not five");
    c.ask("SET k4 v");
    server.wait_for_log("5 changes in 1 seconds. Saving...");
    wait_for("the file", || server.dir.path("dump.rdb").exists());
    wait_for("the counter", || server.info("rdb_changes_since_last_save") == "0");
    assert_eq!(c.ask("CONFIG GET save"), "[save 1 5]");
    assert_eq!(flat(&c.cmd(&["CONFIG", "SET", "save", "900 1 300 10"])), "OK");
    assert_eq!(c.ask("CONFIG GET save"), "[save 900 1 300 10]");
    assert!(
        flat(&c.cmd(&["CONFIG", "SET", "save", "900"]))
            .starts_with("-ERR Invalid argument '900' for CONFIG SET 'save'")
    );
    assert!(flat(&c.cmd(&["CONFIG", "SET", "save", "0 1"])).starts_with("-ERR Invalid argument"));
    assert_eq!(c.ask("CONFIG GET save"), "[save 900 1 300 10]");
}

/// While it loads, a server answers -LOADING, and INFO says how far it is.
#[test]
fn loading_answers() {
    let mut server = TestServer::start(&["--rdbcompression", "no"]);
    let mut c = server.conn();
    // Clients are served every two megabytes.
    c.ask("DEBUG POPULATE 16000 key 1000");
    assert_eq!(c.ask("SAVE"), "OK");
    let digest = server.digest();
    let size = std::fs::metadata(server.dir.path("dump.rdb")).unwrap().len();
    server.kill();
    let dir = std::mem::replace(&mut server.dir, Folder::new());
    let mut server = TestServer::start_in(dir, OURS, &["--key-load-delay", "100"]);
    let questions = batch(&[
        "GET key:1",
        "SET a b",
        "PING",
        "DBSIZE",
        "BGSAVE",
        "INFO persistence",
        "SELECT 1",
        "CONFIG GET port",
        "CLIENT LIST",
        "CONFIG SET key-load-delay 0",
    ]);
    let (mut c, mut first) = (server.conn(), String::new());
    wait_for("an answer while it loads", || {
        c.raw(&questions).unwrap();
        first = next(&mut c);
        let loads = first.starts_with("-LOADING");
        if !loads {
            // On a busy machine it may be done before it is asked.
            server.restart();
            c = server.conn();
        }
        loads
    });
    assert_eq!(first, "-LOADING Redis is loading the dataset in memory");
    for _ in 0..4 {
        assert_eq!(next(&mut c), "-LOADING Redis is loading the dataset in memory");
    }
    let info = next(&mut c);
    let field = |name: &str| -> f64 {
        let line = info.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {name} in {info}")).trim_end_matches('%').parse().unwrap()
    };
    assert_eq!(field("loading"), 1.0);
    assert_eq!(field("loading_total_bytes"), size as f64);
    assert!(
        field("loading_loaded_bytes") >= 2_000_000.0
            && field("loading_loaded_bytes") <= size as f64
    );
    assert!(field("loading_loaded_perc") > 10.0 && field("loading_loaded_perc") <= 100.0);
    assert!(field("loading_eta_seconds") >= 0.0);
    assert!(field("loading_start_time") > 1_700_000_000.0);
    assert_eq!([next(&mut c), next(&mut c)], ["OK".to_string(), format!("[port {}]", server.port)]);
    assert!(next(&mut c).contains("cmd=client"));
    assert_eq!(next(&mut c), "-ERR Only CONFIG GET is allowed during loading");
    wait_for("the end", || server.info("loading") == "0");
    assert_eq!(server.digest(), digest);
}

/// SIGTERM and SIGINT end a server that loads at once: it neither loads to the end nor saves.
#[test]
fn signals_while_loading() {
    let mut server = TestServer::start(&["--rdbcompression", "no"]);
    server.ask("DEBUG POPULATE 20000 key 1000");
    assert_eq!(server.ask("SAVE"), "OK");
    let file = std::fs::read(server.dir.path("dump.rdb")).unwrap();
    for signal in ["TERM", "INT"] {
        let dir = Folder::new();
        std::fs::write(dir.path("dump.rdb"), &file).unwrap();
        // A minute, and what was loaded would be saved.
        let slow = ["--key-load-delay", "3000", "--save", "1 1"];
        let mut server = TestServer::start_in(dir, OURS, &slow);
        assert_eq!(server.ask("GET a"), "-LOADING Redis is loading the dataset in memory");
        server.signal(signal);
        assert_eq!(server.wait_exit(), 0);
        let log = server.log();
        assert!(log.ends_with("Received shutdown signal during loading, exiting now.\n"), "{log}");
        assert!(!log.contains("DB loaded from disk"), "{log}");
        assert!(std::fs::read(server.dir.path("dump.rdb")).unwrap() == file, "it is as it was");
    }
}

/// What genuine servers have written by mistake is put right when it comes from a file, with a word
/// in the log.
#[test]
fn what_genuine_servers_wrote_by_mistake_is_mended() {
    // One entry, and a length of 2.
    let stream = b"\x0f\x01x\x01\x10\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\
        \x1d\x1d\0\0\0\x0a\0\x01\x01\0\x01\x01\x01\x81a\x02\0\x01\x02\x01\0\x01\0\x01\x81b\x02\x04\x01\xff\
        \x02\x01\x01\0";
    let load = |body: &[u8], args: &[&str]| {
        let dir = Folder::new();
        let file = [&b"REDIS0009\xfe\0"[..], body, b"\xff\0\0\0\0\0\0\0\0"].concat();
        std::fs::write(dir.path("dump.rdb"), file).unwrap();
        TestServer::start_in(dir, OURS, args)
    };
    for args in [&[][..], &["--sanitize-dump-payload", "no"]] {
        let mut server = load(stream, args);
        assert_eq!(server.ask("XLEN x"), "1");
        assert_eq!(server.ask("XRANGE x - +"), "[[1-1 [a b]]]");
        let said = "Key 'x': the stream has 1 entries, not 2 as is said of it";
        assert_eq!(server.log_count(said), 1, "{}", server.log());
        // It is right from then on.
        assert_eq!(server.ask("DEBUG RELOAD"), "OK");
        assert_eq!(server.ask("XADD x 2-1 a c"), "2-1");
        assert_eq!(server.ask("XLEN x"), "2");
        assert_eq!(server.log_count(said), 1);
        // And is so for a replica of a master that has it wrong.
        let replica = TestServer::start(&[]).replica_of(&server);
        assert_same_data(&server, &replica);
    }

    // The one entry that there is was deleted, which its node has not counted.
    let mut uncounted = stream.to_vec();
    uncounted[39] |= 1;
    let mut server = load(&uncounted, &[]);
    assert_eq!(server.ask("XLEN x"), "0");
    assert_eq!(server.ask("XRANGE x - +"), "[]");
    assert_eq!(server.log_count("Key 'x': the deleted entries of a stream's node"), 1);
    assert_eq!(server.ask("XSETID x 5-5"), "OK");
    assert_eq!(server.ask("XADD x 6-6 a c"), "6-6");
    assert_eq!(server.ask("XLEN x"), "1");

    // A message that is pending with two consumers, and then one with none; and a consumer that is
    // there twice.
    let mut server = TestServer::start(&["--rdbcompression", "no", "--rdbchecksum", "no"]);
    for line in [
        "XADD s 1-1 f v",
        "XADD s 2-2 f v",
        "XGROUP CREATE s g 0",
        "XREADGROUP GROUP g alice COUNT 1 STREAMS s >",
        "XREADGROUP GROUP g bobby COUNT 1 STREAMS s >",
        "SAVE",
    ] {
        assert!(!server.ask(line).starts_with('-'), "{line}");
    }
    let file = std::fs::read(server.dir.path("dump.rdb")).unwrap();
    let bobby = file.windows(5).position(|w| w == b"bobby").unwrap();
    let mut shared = file.clone();
    // Behind the name are 8 bytes of time, and the number of ids.
    shared[bobby + 14..bobby + 30].copy_from_slice(b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01");
    let mut twice = file.clone();
    twice[bobby..bobby + 5].copy_from_slice(b"alice");
    for (file, pending, said) in [
        (
            shared,
            "[1 1-1 1-1 [[alice 1]]]",
            &[
                "a message that is pending with two consumers stays with the first",
                "1 pending messages without a consumer are dropped",
            ][..],
        ),
        (twice, "[2 1-1 2-2 [[alice 2]]]", &[]),
    ] {
        let dir = Folder::new();
        std::fs::write(dir.path("dump.rdb"), file).unwrap();
        let mut server = TestServer::start_in(dir, OURS, &[]);
        assert_eq!(server.ask("XPENDING s g"), pending);
        for said in said {
            assert_eq!(server.log_count(&format!("Key 's': {said}")), 1, "{}", server.log());
        }
        assert_eq!(server.ask("XGROUP DELCONSUMER s g bobby"), "0");
        assert_eq!(server.ask("DEBUG RELOAD"), "OK");
        assert_eq!(server.ask("XPENDING s g"), pending);
    }

    // A field, and a member, that is there twice: the first is what was seen of it.
    let mut zl = b"\x17\0\0\0\x12\0\0\0\x04\0\0\x01a\x03\xf2\x02\x01a\x03\xf3\xff".to_vec();
    zl[0] = zl.len() as u8;
    zl[4] = zl.len() as u8 - 3;
    let packed = |type_: u8| [&[type_, 1, b'k', zl.len() as u8], &zl[..]].concat();
    let mut server = load(&packed(13), &[]);
    assert_eq!(server.ask("HGETALL k"), "[a 1]");
    assert_eq!(server.log_count("Key 'k': 1 pairs that were there before are left out"), 1);
    let mut server = load(&packed(12), &[]);
    assert_eq!(server.ask("ZRANGE k 0 -1 WITHSCORES"), "[a 1]");
}

/// The log of a load that was refused names the way to load the file all the same, where there is
/// one.
#[test]
fn a_refused_load_names_the_way_out() {
    // The second element's length reaches beyond the end.
    let mut zl = b"\0\0\0\0\0\0\0\0\x02\0\0\x01a\x03\x3fb\xff".to_vec();
    zl[0] = zl.len() as u8;
    zl[4] = 13;
    let way_out = "'sanitize-dump-payload no'";
    let node = [&[1, zl.len() as u8], &zl[..]].concat();
    let single = [&[zl.len() as u8], &zl[..]].concat();
    let mut headless = single.clone();
    headless[1] += 1;
    for (type_, value, loadable) in
        [(14u8, &node, true), (13, &single, true), (12, &single, true), (13, &headless, false)]
    {
        let body = [&b"REDIS0009\xfe\0"[..], &[type_, 1, b'k'], value, b"\xff\0\0\0\0\0\0\0\0"];
        let file = body.concat();
        let dir = Folder::new();
        let Start::Exit(code, said) = start_on(&dir.0, &file) else {
            panic!("type {type_} was loaded");
        };
        assert_eq!((code, said.contains(way_out)), (1, loadable), "{type_}: {said}");
        if loadable {
            std::fs::write(dir.path("dump.rdb"), &file).unwrap();
            let mut server = TestServer::start_in(dir, OURS, &["--sanitize-dump-payload", "no"]);
            assert_eq!(server.ask("DBSIZE"), "1");
        }
    }
}

/// DEBUG RELOAD writes and reads back all there is.
#[test]
fn debug_reload() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    c.ask("DEBUG POPULATE 5000 k 40");
    c.ask("SET e v PX 1000000");
    for (k, v) in [
        ("i8", "127"),
        ("i16", "-32768"),
        ("i32", "2147483647"),
        ("i64", "9223372036854775807"),
        ("plus", "+1"),
        ("neg0", "-0"),
    ] {
        c.cmd(&["SET", k, v]);
    }
    c.cmd(&[b"SET".to_vec(), vec![0, 255, 13, 10], (0..=255u8).cycle().take(100_000).collect()]);
    c.cmd(&["SET", "", ""]);
    c.ask("SELECT 15");
    c.ask("SET last db");
    let digest = server.digest();
    assert_eq!(c.ask("DEBUG RELOAD"), "OK");
    assert_eq!(server.digest(), digest);
    assert!((900_000..=1_000_000).contains(&server.cmd(&["PTTL", "e"]).int()));
    assert_eq!(server.cmd(&["OBJECT", "ENCODING", "i64"]).text(), "int");
    assert_eq!(c.ask("SET last changed"), "OK");
    assert_eq!(c.ask("DEBUG RELOAD NOSAVE"), "OK");
    assert_eq!(server.digest(), digest, "the file, not the memory");
    assert_eq!(c.ask("DEBUG RELOAD NOSAVE NOFLUSH MERGE"), "OK");
    assert_eq!(server.digest(), digest);
    assert!(
        c.ask("DEBUG RELOAD FOO")
            .starts_with("-ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.")
    );
    // Without compression and checksum too.
    c.ask("CONFIG SET rdbcompression no");
    let small = std::fs::metadata(server.dir.path("dump.rdb")).unwrap().len();
    assert_eq!(c.ask("DEBUG RELOAD"), "OK");
    assert_eq!(server.digest(), digest);
    assert!(std::fs::metadata(server.dir.path("dump.rdb")).unwrap().len() > small);
}

/// What is saved twice at a time counts once: DEBUG RELOAD beside a BGSAVE leaves no debt of
/// changes, by which the next one would be taken for a write, and get into the append only file.
#[test]
fn debug_reload_beside_a_bgsave() {
    let server = TestServer::start(&["--appendonly", "yes", "--rdb-key-save-delay", "100000"]);
    let mut c = server.conn();
    for i in 0..5 {
        c.ask(&format!("SET k{i} v"));
    }
    assert_eq!(c.ask("BGSAVE"), "Background saving started");
    c.ask("CONFIG SET rdb-key-save-delay 0");
    assert_eq!(c.ask("DEBUG RELOAD"), "OK");
    wait_for("the BGSAVE to end", || server.info("rdb_bgsave_in_progress") == "0");
    assert_eq!(server.info("rdb_changes_since_last_save"), "0");
    assert_eq!(c.ask("DEBUG RELOAD"), "OK");
    assert_eq!(c.ask("SET last v"), "OK");
    // A write waits while the fsync of every second runs.
    let file = || std::fs::read(server.dir.path("appendonly.aof")).unwrap();
    wait_for("the write", || file().ends_with(b"last\r\n$1\r\nv\r\n"));
    assert!(!file().windows(6).any(|w| w == b"RELOAD"));
}

/// redis-check-rdb, by its flag and by its name: what it tells, the place of the first damage, and
/// exit codes.
#[test]
fn check_rdb_mode() {
    let dir = Folder::new();
    let run = |command: &Path, args: &[&str]| {
        let out = Command::new(command).args(args).current_dir(&dir.0).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (out.status.code(), text(out.stdout), text(out.stderr))
    };
    let check = |file: &[u8]| {
        std::fs::write(dir.path("f.rdb"), file).unwrap();
        let (code, said, _) = run(Path::new(OURS), &["--check-rdb", "f.rdb"]);
        assert!(said.starts_with("[offset 0] Checking RDB file f.rdb\n"), "{said}");
        (code, said)
    };

    // A file that can be loaded.
    let file = sample();
    let (code, said) = check(&file);
    assert_eq!(code, Some(0), "{said}");
    for line in [
        "[offset 27] AUX FIELD redis-ver = '6.2.16'",
        "[offset 86] Selecting DB ID 0",
        "[offset 233] Selecting DB ID 9",
        "[offset 256] Checksum OK",
        "[offset 256] \\o/ RDB looks OK! \\o/",
        "[info] 10 keys read\n[info] 1 expires\n[info] 0 already expired\n",
    ] {
        assert!(said.contains(line), "no {line:?} in\n{said}");
    }
    let named = dir.path("redis-check-rdb");
    std::os::unix::fs::symlink(OURS, &named).unwrap();
    assert_eq!(run(&named, &["f.rdb"]), (code, said, String::new()));

    // Damaged ones.
    let damage = |what: &dyn Fn(&mut Vec<u8>), says: &[&str]| {
        let mut file = file.clone();
        what(&mut file);
        let (code, said) = check(&file);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("--- RDB ERROR DETECTED ---\n"), "{said}");
        for text in says {
            assert!(said.contains(text), "no {text:?} in\n{said}");
        }
    };
    damage(&|f| f[0] = b'X', &["Wrong signature trying to load DB from file"]);
    damage(&|f| f.truncate(7), &["[offset 0] Unexpected EOF", "While doing: start"]);
    damage(
        &|f| f.truncate(100),
        &["Unexpected EOF reading RDB file", "[additional info] Reading key '"],
    );
    damage(&|f| f.truncate(252), &["[offset 248] Unexpected EOF", "While doing: check-sum"]);
    damage(&|f| f[255] ^= 1, &["RDB CRC error", "While doing: check-sum", "10 keys read"]);
    damage(
        &|f| f[42] ^= 0xff,
        &["[offset 43] ", "-> Unknown RDB string encoding type 58", "While doing: read-aux"],
    );

    // No file, or too many.
    for args in [&["--check-rdb"][..], &["--check-rdb", "a", "b"]] {
        let usage = "Usage: redis-check-rdb <rdb-file-name>\n";
        assert_eq!(run(Path::new(OURS), args), (Some(1), String::new(), usage.to_string()));
    }
    for name in ["--help", "/nonexistent/dump.rdb"] {
        let said = format!("[offset 0] Checking RDB file {name}\n");
        let (code, out, _) = run(Path::new(OURS), &["--check-rdb", name]);
        assert_eq!((code, out), (Some(1), said));
    }
}

// -----------------------------------------------------------------------------
// Files of other servers: see tests/data/rdb/README.md
// -----------------------------------------------------------------------------

fn data(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rdb").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Each is loaded with the content its JSON tells, in encodings of 6.2, and written and read back
/// the same.
#[test]
fn files_of_other_servers() {
    for (file, told_by) in [
        ("redis-2.6.17.rdb", "all-types-2.6.json"),
        ("redis-2.8.24.rdb", "all-types-2.8.json"),
        ("redis-3.2.13.rdb", "all-types-3.2.json"),
        ("redis-4.0.14.rdb", "all-types-3.2.json"),
        ("redis-5.0.14.rdb", "all-types.json"),
        ("redis-6.2.16.rdb", "all-types.json"),
        ("redis-7.0.15.rdb", "all-types.json"),
        ("redis-7.2.6.rdb", "all-types.json"),
        ("redis-7.4.1.rdb", "all-types.json"),
        ("valkey-8.0.1.rdb", "all-types.json"),
    ] {
        let json = serde_json::from_slice(&data(told_by)).unwrap();
        let dir = Folder::new();
        std::fs::write(dir.path("dump.rdb"), data(file)).unwrap();
        let server = TestServer::start_in(dir, OURS, &[]);
        let mut c = server.conn();
        wait_for("the end of loading", || !c.ask("DBSIZE").starts_with("-LOADING"));
        assert_holds(&mut c, &json, file);
        let digest = server.digest();
        assert_eq!(c.ask("DEBUG RELOAD"), "OK");
        assert_holds(&mut c, &json, &format!("{file}, read back"));
        assert_eq!(server.digest(), digest, "{file}");
        let rdb = server.dir.path("dump.rdb");
        for (rdb, version) in [(&data(file), "their file"), (&std::fs::read(&rdb).unwrap(), "ours")]
        {
            std::fs::write(server.dir.path("copy.rdb"), rdb).unwrap();
            let copy = server.dir.path("copy.rdb");
            let out = Command::new(OURS).arg("--check-rdb").arg(copy).output().unwrap();
            let said = String::from_utf8_lossy(&out.stdout).into_owned();
            assert_eq!(out.status.code(), Some(0), "{file}, {version}: {said}");
            assert!(said.contains("\\o/ RDB looks OK! \\o/"), "{file}, {version}: {said}");
        }
    }
}

/// Compares all that a server holds with what a JSON file tells.
#[track_caller]
fn assert_holds(c: &mut Conn, json: &Json, what: &str) {
    let content = content(c);
    let mut told = 0;
    for (db, keys) in json.as_object().unwrap() {
        for (name, key) in keys.as_object().unwrap() {
            told += 1;
            let what = format!("{what}: {name} in db {db}");
            let Some(found) = content.get(&(db.parse().unwrap(), bytes(name))) else {
                panic!("{what} is missing");
            };
            assert!(found.has_encoding_of_6_2(), "{what} is a {}", found.encoding);
            match (key.get("pexpireat"), found.expires_at) {
                (None, None) => {}
                (Some(at), Some((earliest, latest))) => {
                    let at = at.as_i64().unwrap();
                    assert!((earliest..=latest).contains(&at), "{what}: expires at {earliest}");
                }
                (at, found) => panic!("{what}: expires at {found:?}, not {at:?}"),
            }
            assert_eq!(as_json(&found.value), key["value"], "{what}");
            let type_ = match found.value {
                Value::String(_) => "string",
                Value::List(_) => "list",
                Value::Set(_) => "set",
                Value::Hash(_) => "hash",
                Value::SortedSet(_) => "zset",
                Value::Stream(_) => "stream",
            };
            assert_eq!(key["type"], type_, "{what}");
        }
    }
    assert_eq!(content.len(), told, "{what}: keys that nobody told of");
}

/// The bytes that a text in JSON stands for.
fn bytes(latin1: &str) -> Vec<u8> {
    latin1.chars().map(|c| u8::try_from(c).unwrap()).collect()
}

/// A value in the form of the JSON files.
fn as_json(value: &Value) -> Json {
    let text = |b: &[u8]| Json::from(b.iter().map(|&b| b as char).collect::<String>());
    let list = |v: &[Vec<u8>]| v.iter().map(|b| text(b)).collect::<Json>();
    match value {
        Value::String(s) => text(s),
        Value::List(v) => list(v),
        Value::Set(v) => v.iter().map(|b| text(b)).collect(),
        Value::Hash(v) => v.iter().map(|(f, v)| Json::from_iter([text(f), text(v)])).collect(),
        Value::SortedSet(v) => {
            let score = |s: &str| match s.parse::<f64>().unwrap() {
                n if n.is_finite() => Json::from(n),
                _ => Json::from(s),
            };
            v.iter().map(|(m, s)| Json::from_iter([text(m), score(s)])).collect()
        }
        Value::Stream(s) => {
            let entries: Json = s
                .entries
                .iter()
                .map(|(id, fields)| Json::from_iter([Json::from(&id[..]), list(fields)]))
                .collect();
            let pending: Vec<Json> = s
                .groups
                .values()
                .flat_map(|g| &g.pending)
                .map(|p| {
                    let count = Json::from(p.delivery_count);
                    Json::from_iter([Json::from(&p.id[..]), text(&p.consumer), count])
                })
                .collect();
            let pending = if pending.is_empty() { Json::Null } else { Json::from(pending) };
            serde_json::json!({ "entries": entries, "pending": pending })
        }
    }
}

/// What 6.2 has no form for: a hash whose fields expire ends the load by name, functions are
/// skipped with a warning.
#[test]
fn files_with_what_6_2_has_not() {
    let dir = Folder::new();
    match start_on(&dir.0, &data("redis-7.4.1-hash-field-ttl.rdb")) {
        Start::Up(said) => panic!("it was loaded: {said:?}"),
        Start::Exit(code, said) => {
            assert_eq!(code, 1, "{said}");
            let named =
                "The key 'h' has a value of type 25 (hash-listpack-md), from RDB version 12";
            assert!(said.contains(named), "{said}");
            assert!(said.contains("Terminating server after rdb file reading failure."), "{said}");
        }
    }
    std::fs::write(dir.path("dump.rdb"), data("redis-7.2.6-function.rdb")).unwrap();
    let server = TestServer::start_in(dir, OURS, &[]);
    server.wait_for_log(
        "RDB has the function library 'mylib', which this version can't use: skipped.",
    );
    let mut c = server.conn();
    wait_for("the end of loading", || !c.ask("DBSIZE").starts_with("-LOADING"));
    assert_eq!([c.ask("DBSIZE"), c.ask("GET a")], ["1", "1"]);
}
