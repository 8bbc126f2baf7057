//! How the server is started, configured, watched and stopped.

#[path = "support/ask.rs"]
mod ask;
mod support;

use ask::*;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use support::*;

/// Runs the binary until it ends by itself.
fn run(dir: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(OURS)
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// A server that is not started by the harness: with its own arguments and input, and stopped when
/// dropped.
struct Bare {
    child: std::process::Child,
    port: u16,
    dir: Folder,
}

impl Bare {
    /// `PORT` in the arguments and in the input stands for a free port.
    fn start(dir: Folder, args: &[&str], input: &str) -> Bare {
        Bare::start_binary(OURS, dir, args, input)
    }

    fn start_binary(binary: &str, dir: Folder, args: &[&str], input: &str) -> Bare {
        let port = free_port();
        let fill = |s: &str| s.replace("PORT", &port.to_string());
        let mut child = Command::new(binary)
            .args(args.iter().map(|a| fill(a)))
            .current_dir(&dir.0)
            .stdin(Stdio::piped())
            .stdout(std::fs::File::create(dir.path("out")).unwrap())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(fill(input).as_bytes()).unwrap();
        let mut bare = Bare { child, port, dir };
        wait_for("it answers", || {
            assert!(bare.child.try_wait().unwrap().is_none(), "it ended: {}", bare.out());
            Conn::try_open(port)
                .is_ok_and(|mut c| c.raw(b"PING\r\n").is_ok() && c.try_reply().is_ok())
        });
        bare
    }

    fn conn(&self) -> Conn {
        Conn::open(self.port)
    }

    fn out(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.path("out")).unwrap()).into_owned()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// --version, --help and their short forms.
#[test]
fn version_and_help() {
    let dir = Folder::new();
    for arg in ["--version", "-v"] {
        let out = run(&dir.0, &[arg], "");
        assert_eq!(out.status.code(), Some(0));
        let said = String::from_utf8(out.stdout).unwrap();
        assert!(
            said.starts_with("Redis server v=6.2.16 sha=")
                && said.contains(" bits=64 build=")
                && said.ends_with('\n'),
            "{said}"
        );
    }
    for arg in ["--help", "-h"] {
        let out = run(&dir.0, &[arg], "");
        assert_eq!(out.status.code(), Some(1));
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(
            said.starts_with("Usage: ./redis-server [/path/to/redis.conf] [options]")
                && said
                    .contains("\n       ./redis-server --test-memory <megabytes>\n\nExamples:\n"),
            "{said}"
        );
    }
}

/// --test-memory: all of a run's passes, or what is missing.
#[test]
fn test_memory() {
    let dir = Folder::new();
    let out = run(&dir.0, &["--test-memory", "1"], "");
    assert_eq!((out.status.code(), out.stderr.as_slice()), (Some(0), &b""[..]));
    let said = String::from_utf8(out.stdout).unwrap();
    // No terminal counts as one of 80 columns and 20 rows.
    let start = |title: &str, pass: i32| {
        format!(
            "\x1b[H\x1b[2J{}Please keep the test running several minutes per GB of memory.\nAlso check http://www.memtest86.com/ and http://pyropus.ca/software/memtester/\x1b[H\x1b[2K{title} [{pass}]\n",
            ".".repeat(80 * 18)
        )
    };
    for pass in [1, 50] {
        for (title, times) in [
            ("Addressing test", 1),
            ("Random fill", 1),
            ("Solid fill", 1),
            ("Checkerboard fill", 1),
            ("Compare", 12),
        ] {
            assert_eq!(said.matches(&start(title, pass)).count(), times, "{title}");
        }
    }
    assert!(!said.contains("[51]"));
    assert!(said.ends_with("\nYour memory passed this test.\nPlease if you are still in doubt use the following two tools:\n1) memtest86: http://www.memtest86.com/\n2) memtester: http://pyropus.ca/software/memtester/\n"), "{said}");

    for args in [&["--test-memory"][..], &["--test-memory", "1", "2"]] {
        let out = run(&dir.0, args, "");
        assert_eq!(out.status.code(), Some(1));
        assert_eq!(
            String::from_utf8(out.stderr).unwrap(),
            "Please specify the amount of memory to test in megabytes.\nExample: ./redis-server --test-memory 4096\n\n"
        );
    }
    let out = run(&dir.0, &["--test-memory", "-1"], "");
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(out.stderr).unwrap(),
        "Unable to allocate 18446744073709551615 megabytes: Cannot allocate memory"
    );
}

/// File, then standard input, then arguments: the last one counts.
#[test]
fn file_input_and_arguments() {
    let dir = Folder::new();
    std::fs::write(
        dir.path("my.conf"),
        "# a comment\n\nbind 127.0.0.1\nport 1\nMaxMemory 100mb\nhz 20\r\nsave 900 1\nsave 300 \"10\"\n  loglevel   verbose  \ninclude more.conf\nmaxmemory-policy 'allkeys-lru'\n",
    )
    .unwrap();
    std::fs::write(dir.path("more.conf"), "timeout 77\nslowlog-max-len 5\n").unwrap();
    let server = Bare::start(
        dir,
        &["my.conf", "--port", "PORT", "--slowlog-max-len", "6", "-"],
        "hz 30\ntcp-keepalive 99\nslowlog-max-len 4\n",
    );
    let mut c = server.conn();
    for (name, want) in [
        ("maxmemory", "104857600"),
        ("hz", "30"),
        ("save", "900 1 300 10"),
        ("loglevel", "verbose"),
        ("timeout", "77"),
        ("tcp-keepalive", "99"),
        ("slowlog-max-len", "6"),
        ("maxmemory-policy", "allkeys-lru"),
        ("bind", "127.0.0.1"),
    ] {
        assert_eq!(c.ask(&format!("CONFIG GET {name}")), format!("[{name} {want}]"));
    }
    let info = c.ask("INFO server");
    assert!(
        info.contains(&format!(
            "config_file:{}\r\n",
            std::fs::canonicalize(server.dir.path("my.conf")).unwrap().display()
        )),
        "{info}"
    );
}

/// A configuration that is wrong ends the start with its line, its text and exit code 1.
#[test]
fn configuration_errors() {
    let dir = Folder::new();
    for (conf, line, text, why) in [
        ("port 0\nnosuch 1\n", 2, "nosuch 1", "Bad directive or wrong number of arguments"),
        ("port\n", 1, "port", "wrong number of arguments"),
        ("\n\nport abc\n", 3, "port abc", "argument couldn't be parsed into an integer"),
        ("port 70000\n", 1, "port 70000", "argument must be between 0 and 65535 inclusive"),
        ("maxmemory 1zb\n", 1, "maxmemory 1zb", "argument must be a memory value"),
        (
            "maxmemory-policy foo\n",
            1,
            "maxmemory-policy foo",
            "argument must be one of the following",
        ),
        ("daemonize maybe\n", 1, "daemonize maybe", "argument must be 'yes' or 'no'"),
        ("port \"1\n", 1, "port \"1", "Unbalanced quotes in configuration line"),
        ("save 0 1\n", 1, "save 0 1", "Invalid save parameters"),
        (
            "rename-command NOSUCH x\n",
            1,
            "rename-command NOSUCH x",
            "No such command in rename-command",
        ),
        (
            "rename-command GET SET\n",
            1,
            "rename-command GET SET",
            "Target command name already exists",
        ),
        (
            "client-output-buffer-limit foo 0 0 0\n",
            1,
            "client-output-buffer-limit foo 0 0 0",
            "Unrecognized client limit class",
        ),
        (
            "replicaof 127.0.0.1\n",
            1,
            "replicaof 127.0.0.1",
            "Bad directive or wrong number of arguments",
        ),
        ("databases 0\n", 1, "databases 0", "argument must be between 1 and 2147483647 inclusive"),
        (
            "notify-keyspace-events Kq\n",
            1,
            "notify-keyspace-events Kq",
            "Invalid event class character. Use 'g$lshzxeA'.",
        ),
        (
            "user alice on nopass +@all (+get ~k)\n",
            1,
            "user alice on nopass +@all (+get ~k)",
            "Error in user declaration '(+get': Syntax error (selectors, as in '(+get ~key)', need Redis 7.0)",
        ),
        (
            "user alice on nopass %R~k\n",
            1,
            "user alice on nopass %R~k",
            "Error in user declaration '%R~k': Syntax error (permissions to read or write keys, as in '%R~key', need Redis 7.0)",
        ),
        (
            "user default on #12 ~* &* +@all\n",
            1,
            "user default on #12 ~* &* +@all",
            "Error in user declaration '#12': The password hash must be exactly 64 characters",
        ),
        ("user\n", 1, "user", "Bad directive or wrong number of arguments"),
        // What is not here says so.
        ("loadmodule m.so x\n", 1, "loadmodule m.so x", "Modules are not supported by this server"),
        (
            "sentinel monitor m 127.0.0.1 1 2\n",
            1,
            "sentinel monitor m 127.0.0.1 1 2",
            "sentinel directive while not in sentinel mode",
        ),
        (
            "tls-port 6380\n",
            1,
            "tls-port 6380",
            "this is not supported: the only value of 'tls-port' is '0'",
        ),
        (
            "tls-replication yes\n",
            1,
            "tls-replication yes",
            "this is not supported: the only value of 'tls-replication' is 'no'",
        ),
        (
            "cluster-enabled yes\n",
            1,
            "cluster-enabled yes",
            "this is not supported: the only value of 'cluster-enabled' is 'no'",
        ),
    ] {
        std::fs::write(dir.path("bad.conf"), conf).unwrap();
        let out = run(&dir.0, &["bad.conf"], "");
        assert_eq!(out.status.code(), Some(1), "{conf:?}");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        let head = "\n*** FATAL CONFIG FILE ERROR (Redis 6.2.16) ***\n";
        assert!(
            said.starts_with(&format!(
                "{head}Reading the configuration file, at line {line}\n>>> '{text}'\n"
            )),
            "{conf:?}: {said}"
        );
        assert!(said.contains(why), "{conf:?}: {said}");
    }
    let out = run(&dir.0, &["nosuch.conf"], "");
    assert_eq!(out.status.code(), Some(1));
    let out = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        out.contains("Fatal error, can't open config file '")
            && out.contains("nosuch.conf': No such file or directory"),
        "{out}"
    );
    // A folder is a file without lines, as the empty name is.
    for name in ["", "/"] {
        let out = run(&dir.0, &[name, "--port", "abc"], "");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(said.contains("at line 2\n>>> 'port \"abc\"'"), "{said}");
    }
    let out = run(&dir.0, &["--port", "0", "--nosuch", "1"], "");
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("at line 3\n>>> 'nosuch \"1\"'"));
    let out = run(&dir.0, &["-"], "port abc");
    assert_eq!(out.status.code(), Some(1));
}

/// rename-command gives a command another name, or none.
#[test]
fn rename_command() {
    let dir = Folder::new();
    std::fs::write(
        dir.path("c"),
        "rename-command GET fetch\nrename-command FLUSHALL \"\"\nport PORT\n",
    )
    .unwrap();
    let server = TestServer::start_in(dir, OURS, &["--rename-command", "SET", "store"]);
    let mut c = server.conn();
    assert_eq!(c.ask("store a 1"), "OK");
    assert_eq!(
        c.ask("SET a 1"),
        "-ERR unknown command `SET`, with args beginning with: `a`, `1`, "
    );
    assert_eq!(c.ask("MULTI"), "OK");
    assert_eq!([c.ask("STORE a 2"), c.ask("EXEC")], ["QUEUED", "[OK]"]);
    let dir = Folder::new();
    std::fs::write(
        dir.path("c"),
        "rename-command GET fetch\nrename-command FLUSHALL \"\"\nbind 127.0.0.1\nsave \"\"\n",
    )
    .unwrap();
    let server = Bare::start(dir, &["c", "--port", "PORT"], "");
    let mut c = server.conn();
    assert_eq!([c.ask("SET a 1"), c.ask("fetch a"), c.ask("FETCH a")], ["OK", "1", "1"]);
    assert!(c.ask("GET a").starts_with("-ERR unknown command `GET`"));
    assert!(c.ask("FLUSHALL").starts_with("-ERR unknown command `FLUSHALL`"));
    assert_eq!(c.ask("CONFIG REWRITE"), "OK");
    let conf = std::fs::read_to_string(server.dir.path("c")).unwrap();
    assert!(
        conf.contains("rename-command GET fetch\n")
            && conf.contains("rename-command FLUSHALL \"\"\n"),
        "{conf}"
    );
}

/// CONFIG GET with patterns, CONFIG SET with every kind of value, RESETSTAT.
#[test]
fn config_get_and_set() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let all = c.cmd(&["CONFIG", "GET", "*"]);
    assert!(all.array().len() > 150, "{} parameters", all.array().len() / 2);
    assert_eq!(c.ask("CONFIG GET nosuch"), "[]");
    assert_eq!(c.ask("CONFIG GET MAXMEM?RY"), "[maxmemory 0]");
    // The letters count for one directive.
    assert_eq!(c.ask("CONFIG GET oom-score-adj-VALUES"), "[]");
    let reply = c.cmd(&[b"CONFIG" as &[u8], b"GET", b"MAXclients\0x"]);
    assert_eq!(reply.array()[0].text(), "maxclients", "a NUL ends a pattern");
    assert_eq!(c.ask("CONFIG GET oom-score-adj-val*"), "[oom-score-adj-values 0 200 800]");
    for (set, name, want) in [
        ("maxmemory 1gb", "maxmemory", "1073741824"),
        ("maxmemory 1000kb", "maxmemory", "1024000"),
        ("maxmemory 1000k", "maxmemory", "1000000"),
        ("maxmemory 0", "maxmemory", "0"),
        ("hz 500", "hz", "500"),
        ("hz 10000", "hz", "500"),
        ("hz 0", "hz", "1"),
        ("activerehashing no", "activerehashing", "no"),
        ("maxmemory-policy VOLATILE-TTL", "maxmemory-policy", "volatile-ttl"),
        ("loglevel DEBUG", "loglevel", "debug"),
        ("slave-priority 5", "replica-priority", "5"),
        ("repl-backlog-size 32768", "repl-backlog-size", "32768"),
        ("oom-score-adj-values 0", "oom-score-adj", "no"),
        ("latency-monitor-threshold 10", "latency-monitor-threshold", "10"),
        ("slowlog-log-slower-than -1", "slowlog-log-slower-than", "-1"),
        ("notify-keyspace-events AKE", "notify-keyspace-events", "AKE"),
    ] {
        let reply = c.ask(&format!("CONFIG SET {set}"));
        assert!(reply == "OK" || set.starts_with("oom"), "{set}: {reply}");
        assert_eq!(c.ask(&format!("CONFIG GET {name}")), format!("[{name} {want}]"), "{set}");
    }
    // Line ends at the end of an error go, as in the C.
    assert_eq!(
        c.cmd(&["CONFIG", "SET", "no\r\nsuch\r\n", "1"]).text(),
        "-ERR Unsupported CONFIG parameter: no  such"
    );
    for (set, want) in [
        ("nosuch 1", "-ERR Unsupported CONFIG parameter: nosuch"),
        ("databases 5", "-ERR Unsupported CONFIG parameter: databases"),
        ("no\0such 1", "-ERR Unsupported CONFIG parameter: no"),
        (
            "hash-max-ziplist-entries a\0b",
            "-ERR Invalid argument 'a' for CONFIG SET 'hash-max-ziplist-entries' - argument couldn't be parsed into an \
             integer",
        ),
        (
            "maxmemory foo",
            "-ERR Invalid argument 'foo' for CONFIG SET 'maxmemory' - argument must be a memory value",
        ),
        (
            "timeout -1",
            "-ERR Invalid argument '-1' for CONFIG SET 'timeout' - argument must be between 0 and 2147483647 inclusive",
        ),
        (
            "timeout x",
            "-ERR Invalid argument 'x' for CONFIG SET 'timeout' - argument couldn't be parsed into an integer",
        ),
        (
            "activerehashing maybe",
            "-ERR Invalid argument 'maybe' for CONFIG SET 'activerehashing' - argument must be 'yes' or 'no'",
        ),
        ("dir /nosuch", "-ERR Changing directory: No such file or directory"),
        (
            "dbfilename a/b",
            "-ERR Invalid argument 'a/b' for CONFIG SET 'dbfilename' - dbfilename can't be a path, just a filename",
        ),
    ] {
        assert_eq!(c.ask(&format!("CONFIG SET {set}")), want);
    }
    assert!(c.ask("CONFIG SET loglevel foo").starts_with("-ERR Invalid argument 'foo' for CONFIG SET 'loglevel' - argument must be one of the following: debug, verbose, notice, warning"));
    c.ask("GET miss");
    assert!(
        server.info_i64("keyspace_misses") >= 1 && server.info_i64("total_commands_processed") > 10
    );
    assert_eq!(c.ask("CONFIG RESETSTAT"), "OK");
    assert_eq!(server.info("keyspace_misses"), "0");
    assert!(server.info_i64("total_commands_processed") < 5);
    assert_eq!(server.info("cmdstat_get"), "");
    assert_eq!(c.ask("CONFIG REWRITE"), "-ERR The server is running without a config file");
    assert!(c.ask("CONFIG HELP").starts_with("[CONFIG <subcommand>"));
}

/// CONFIG REWRITE keeps empty lines, and makes one of many.
#[test]
fn config_rewrite_of_empty_lines() {
    for (conf, kept) in [("", ""), ("\n", "\n"), ("\n\n", "\n"), ("\n\n\n# x", "\n# x\n")] {
        let dir = Folder::new();
        std::fs::write(dir.path("my.conf"), conf).unwrap();
        let server = Bare::start(dir, &["my.conf", "--port", "PORT"], "");
        assert_eq!(server.conn().ask("CONFIG REWRITE"), "OK");
        let got = std::fs::read_to_string(server.dir.path("my.conf")).unwrap();
        let head = format!("{kept}# Generated by CONFIG REWRITE\n");
        assert!(got.starts_with(&head), "{conf:?}: {got}");
    }
}

/// CONFIG REWRITE changes what changed and keeps the rest: comments, order, includes' results.
#[test]
fn config_rewrite() {
    let dir = Folder::new();
    let conf = "# first comment\nbind 127.0.0.1\n\n# about memory\nmaxmemory 100mb\nmaxmemory-samples 7\n# unchanged\nhz 15\nsave 900 1\nsave 60 5\n# last comment\n";
    std::fs::write(dir.path("my.conf"), conf).unwrap();
    let server = Bare::start(dir, &["my.conf", "--port", "PORT"], "");
    let mut c = server.conn();
    for line in [
        "CONFIG SET maxmemory 200mb",
        "CONFIG SET maxmemory-samples 5",
        "CONFIG SET timeout 33",
        "CONFIG REWRITE",
    ] {
        assert_eq!(c.ask(line), "OK", "{line}");
    }
    let got = std::fs::read_to_string(server.dir.path("my.conf")).unwrap();
    let lines: Vec<&str> = got.lines().collect();
    assert_eq!(
        &lines[..11],
        [
            "# first comment",
            "bind 127.0.0.1",
            "",
            "# about memory",
            "maxmemory 200mb",
            "maxmemory-samples 5",
            "# unchanged",
            "hz 15",
            "save 900 1",
            "save 60 5",
            "# last comment"
        ],
        "{got}"
    );
    assert!(lines[11..].contains(&"# Generated by CONFIG REWRITE"), "{got}");
    assert!(
        lines[11..].contains(&"timeout 33")
            && lines[11..].contains(&format!("port {}", server.port).as_str()),
        "{got}"
    );
    // A second one changes nothing; what is default again goes away only where we wrote it.
    assert_eq!(c.ask("CONFIG REWRITE"), "OK");
    assert_eq!(std::fs::read_to_string(server.dir.path("my.conf")).unwrap(), got);
    assert_eq!(flat(&c.cmd(&["CONFIG", "SET", "save", ""])), "OK");
    assert_eq!(c.ask("CONFIG REWRITE"), "OK");
    let got = std::fs::read_to_string(server.dir.path("my.conf")).unwrap();
    assert!(!got.contains("save 900") && got.contains("save \"\""), "{got}");
    // The server that starts from it is configured the same.
    let port = server.port;
    let before = c.ask("CONFIG GET *");
    let mut server = server;
    c.send(&["SHUTDOWN", "NOSAVE"]);
    assert!(server.child.wait().unwrap().success());
    let mut child = Command::new(OURS)
        .arg("my.conf")
        .current_dir(&server.dir.0)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("it is back", || Conn::try_open(port).is_ok());
    let mut c = Conn::open(port);
    let after = c.ask("CONFIG GET *");
    c.send(&["SHUTDOWN", "NOSAVE"]);
    child.wait().unwrap();
    assert_eq!(before, after);
}

/// INFO: the sections, and that what they say is so.
#[test]
fn info_sections() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    c.ask("SET a 1 EX 1000");
    c.ask("GET a");
    c.ask("GET nosuch");
    c.ask("NOSUCH");
    c.ask("INCR a b");
    let titles = |c: &mut Conn, section: &str| -> Vec<String> {
        c.ask(&format!("INFO {section}"))
            .lines()
            .filter_map(|l| l.strip_prefix("# ").map(|t| t.trim().to_string()))
            .collect()
    };
    assert_eq!(titles(&mut c, "server"), ["Server"]);
    assert_eq!(titles(&mut c, "KEYSPACE"), ["Keyspace"]);
    assert_eq!(titles(&mut c, "commandstats"), ["Commandstats"]);
    assert_eq!(titles(&mut c, "nosuch"), Vec::<String>::new());
    let default = titles(&mut c, "");
    for t in [
        "Server",
        "Clients",
        "Memory",
        "Persistence",
        "Stats",
        "Replication",
        "CPU",
        "Errorstats",
        "Keyspace",
    ] {
        assert!(default.contains(&t.to_string()), "{t} in {default:?}");
    }
    assert!(!default.contains(&"Commandstats".to_string()));
    assert!(titles(&mut c, "all").contains(&"Commandstats".to_string()));
    for (field, want) in [
        ("redis_version", "6.2.16"),
        ("fidelis_version", env!("CARGO_PKG_VERSION")),
        ("redis_mode", "standalone"),
        ("arch_bits", "64"),
        ("process_id", &server.pid().to_string()),
        ("tcp_port", &server.port.to_string()),
        ("hz", "10"),
        ("configured_hz", "10"),
        ("config_file", ""),
        ("connected_clients", "2"),
        ("blocked_clients", "0"),
        ("maxmemory_policy", "noeviction"),
        ("loading", "0"),
        ("rdb_bgsave_in_progress", "0"),
        ("keyspace_hits", "1"),
        ("keyspace_misses", "1"),
        ("role", "master"),
        ("connected_slaves", "0"),
        ("repl_backlog_active", "0"),
        ("repl_backlog_first_byte_offset", "0"),
        ("mem_allocator", &server.info("mem_allocator")),
        ("multiplexing_api", "epoll"),
        ("run_id", &server.info("run_id")),
        ("errorstat_ERR", "count=2"),
        ("total_error_replies", "2"),
        ("unexpected_error_replies", "0"),
        ("cluster_enabled", &server.info("cluster_enabled")),
        ("process_supervised", "no"),
        ("evicted_keys", "0"),
    ] {
        assert_eq!(server.info(field), want, "{field}");
    }
    // The average is whatever the expire cycle has seen so far.
    assert!(server.info("db0").starts_with("keys=1,expires=1,avg_ttl="), "{}", server.info("db0"));
    assert_eq!(server.info("run_id").len(), 40);
    assert!(server.info("mem_allocator").starts_with("jemalloc"));
    assert!(
        server.info("cmdstat_get").starts_with("calls=2,usec="),
        "{}",
        server.info("cmdstat_get")
    );
    assert!(
        server.info("cmdstat_incr").ends_with(",rejected_calls=1,failed_calls=0"),
        "{}",
        server.info("cmdstat_incr")
    );
    wait_for("what the kernel says", || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
        let kb: i64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        (server.info_i64("used_memory_rss") - kb * 1024).abs() < 8_000_000
    });
    assert!(
        server.info_i64("used_memory") > 100_000
            && server.info_i64("used_memory_peak") >= server.info_i64("used_memory")
    );
    wait_for("the clock to go on", || server.info_i64("uptime_in_seconds") >= 1);
}

/// daemonize: the parent leaves, the pid is in the file, the log in its own, and both are right.
#[test]
fn daemonize_with_pidfile() {
    let dir = Folder::new();
    let (port, pidfile, log) = (free_port(), dir.path("pid"), dir.path("server.log"));
    let out = run(
        &dir.0,
        &[
            "--daemonize",
            "yes",
            "--bind",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--pidfile",
            pidfile.to_str().unwrap(),
            "--logfile",
            log.to_str().unwrap(),
            "--save",
            "",
        ],
        "",
    );
    assert_eq!(out.status.code(), Some(0));
    wait_for("the daemon", || Conn::try_open(port).is_ok());
    let mut c = Conn::open(port);
    let info = c.ask("INFO server");
    let pid = std::fs::read_to_string(&pidfile).unwrap().trim().to_string();
    assert!(info.contains(&format!("process_id:{pid}\r\n")), "{pid} {info}");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session = stat.rsplit(')').next().unwrap().split_whitespace().nth(3).unwrap().to_string();
    assert_eq!(session, pid, "a session of its own");
    let log_text = std::fs::read_to_string(&log).unwrap();
    assert!(
        log_text.contains("Ready to accept connections") && log_text.contains(&format!("{pid}:M ")),
        "{log_text}"
    );
    c.send(&["SHUTDOWN"]);
    assert!(c.is_closed());
    wait_for("its end", || !pidfile.exists());
    wait_for("the last line", || {
        std::fs::read_to_string(&log).unwrap().contains("Redis is now ready to exit, bye bye...")
    });
    assert!(std::fs::read_to_string(&log).unwrap().contains("Removing the pid file."));
}

/// The process's title, by its template; a child has its own.
#[test]
fn process_title() {
    let server = TestServer::start(&["--rdb-key-save-delay", "20000"]);
    let title = |pid: &str| -> String {
        String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default())
            .trim_end_matches(['\0', ' '])
            .to_string()
    };
    let pid = server.pid().to_string();
    assert!(title(&pid).ends_with(&format!(" 127.0.0.1:{}", server.port)), "{}", title(&pid));
    assert_eq!(
        server.cmd(&["CONFIG", "SET", "proc-title-template", "hello {port} {title}"]).text(),
        "OK"
    );
    wait_for("the new title", || title(&pid).starts_with(&format!("hello {} ", server.port)));
    assert!(server.cmd(&["CONFIG", "SET", "proc-title-template", "{nosuch}"]).is_error());
    server.cmd(&["CONFIG", "SET", "proc-title-template", "{title} {listen-addr} {server-mode}"]);
    server.cmd(&["DEBUG", "POPULATE", "1000"]);
    server.cmd(&["BGSAVE"]);
    let log = server.log();
    let child = log
        .rsplit("Background saving started by pid ")
        .next()
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .to_string();
    wait_for("the child's title", || title(&child).starts_with("redis-rdb-bgsave"));
    let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert!(comm.starts_with("redis-server"), "{comm}");
}

/// Under valgrind the kernel speaks of valgrind's arguments, which are not ours to write a title
/// over: it needs them when it forks with us.
#[test]
fn no_title_over_the_arguments_of_valgrind() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("skipped: there is no valgrind");
        return;
    }
    let dir = Folder::new();
    let script = dir.path("under-valgrind");
    let run = "exec valgrind --tool=callgrind --callgrind-out-file=callgrind.%p";
    std::fs::write(&script, format!("#!/bin/sh\n{run} {OURS} \"$@\"\n")).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let server = TestServer::start_in(dir, &script, &[]);
    let args = std::fs::read(format!("/proc/{}/cmdline", server.pid())).unwrap();
    let args = String::from_utf8_lossy(&args).replace('\0', " ");
    assert!(args.contains("--tool=callgrind"), "{args}");
    server.cmd(&["SET", "key", "value"]);
    server.cmd(&["BGSAVE"]);
    wait_for("the child's end", || server.info("rdb_bgsave_in_progress") == "0");
    assert_eq!(server.info("rdb_last_bgsave_status"), "ok", "{}", server.log());
}

/// The log's time follows daylight saving while the server runs.
#[test]
fn daylight_saving_begins() {
    let utc = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_secs()
    };
    // It begins two seconds from now, by seconds since the start of this day, and lasts.
    let days = |day: &str| format!("date -u +{day} | sed 's/^0*//'");
    let script = format!(
        "#!/bin/sh\n[ -n \"$TZ\" ] || export TZ=AAA0BBB,J$({})/{}:{}:{},J365/23\nexec {OURS} \"$@\"\n",
        days("%j"),
        (utc() + 2) % 86400 / 3600,
        (utc() + 2) % 3600 / 60,
        (utc() + 2) % 60,
    );
    let dir = Folder::new();
    let path = dir.path("server");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let server = TestServer::start_in(dir, &path, &[]);
    wait_for("a line that is an hour ahead", || {
        server.cmd(&["DEBUG", "LOG", "hello"]);
        let ahead = format!(" {:02}:", (utc() / 3600 + 1) % 24);
        let log = server.log();
        log.lines().last().unwrap().contains(&ahead)
    });
}

/// Each kind of thread and child runs on the processors that its list names, and the server on
/// those of its own, which its children share.
#[test]
fn cpu_lists() {
    let allowed = |task: &str| -> String {
        let status = std::fs::read_to_string(format!("/proc/{task}/status")).unwrap_or_default();
        let list = status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:"));
        list.unwrap_or_default().trim().to_string()
    };
    // The last one that we may use ourselves: where there are several, a list of one is none that
    // is inherited.
    let all = allowed("self");
    let last = all.rsplit([',', '-']).next().unwrap().to_string();
    for directive in ["server_cpulist", "bio_cpulist", "bgsave_cpulist", "aof_rewrite_cpulist"] {
        let slow = ["--rdb-key-save-delay", "20000"];
        let server = TestServer::start(&[&slow[..], &[&format!("--{directive}"), &last]].concat());
        server.cmd(&["DEBUG", "POPULATE", "1000"]);
        let expected = |kinds: &[&str]| if kinds.contains(&directive) { &last } else { &all };
        let pid = server.pid();
        assert_eq!(&allowed(&pid.to_string()), expected(&["server_cpulist"]), "{directive}");

        // A thread gives itself its name, after the server has begun to answer perhaps.
        let threads = || -> Vec<String> {
            let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
            let tasks = tasks.map(|task| task.unwrap().file_name().into_string().unwrap());
            let tasks = tasks.map(|task| format!("{pid}/task/{task}"));
            let name = |task: &String| {
                std::fs::read_to_string(format!("/proc/{task}/comm")).unwrap_or_default()
            };
            tasks.filter(|task| name(task).starts_with("bio_")).collect()
        };
        wait_for("three threads", || threads().len() == 3);
        for task in threads() {
            let expected = expected(&["bio_cpulist"]);
            wait_for("the thread's processors", || &allowed(&task) == expected);
        }

        for (command, own) in
            [("BGSAVE", "bgsave_cpulist"), ("BGREWRITEAOF", "aof_rewrite_cpulist")]
        {
            assert!(!server.cmd(&[command]).is_error());
            let children = format!("/proc/{pid}/task/{pid}/children");
            let child = || std::fs::read_to_string(&children).unwrap().trim().to_string();
            wait_for("a child", || !child().is_empty());
            let expected = expected(&[own, "server_cpulist"]);
            wait_for("the child's processors", || &allowed(&child()) == expected);
            signal("KILL", &child());
            wait_for("its end", || {
                server.info("rdb_bgsave_in_progress") == "0"
                    && server.info("aof_rewrite_in_progress") == "0"
            });
        }
    }
}

/// SIGTERM and SIGINT save where save points ask for it; SHUTDOWN as it is told.
#[test]
fn ways_to_stop() {
    for (save, how, saved, message) in [
        (&["3600", "1"][..], "TERM", true, "Received SIGTERM scheduling shutdown..."),
        (&["3600", "1"], "INT", true, "Received SIGINT scheduling shutdown..."),
        (&[""], "TERM", false, "User requested shutdown..."),
        (&["3600", "1"], "SHUTDOWN NOSAVE", false, "User requested shutdown..."),
        (&["3600", "1"], "SHUTDOWN", true, "Saving the final RDB snapshot before exiting."),
        (&[""], "SHUTDOWN SAVE", true, "Saving the final RDB snapshot before exiting."),
        (&[""], "SHUTDOWN", false, "Redis is now ready to exit, bye bye..."),
    ] {
        let mut server = TestServer::start(&[&["--save"], save].concat());
        let mut c = server.conn();
        assert_eq!(c.ask("SHUTDOWN foo"), "-ERR syntax error");
        c.ask("SET a 1");
        if how.starts_with("SHUTDOWN") {
            c.send(&how.split(' ').collect::<Vec<_>>());
            assert_eq!(c.read_to_end(), b"", "it does not answer");
        } else {
            server.signal(how);
        }
        assert_eq!(server.wait_exit(), 0, "{how}");
        assert_eq!(server.dir.path("dump.rdb").exists(), saved, "{how} with save {save:?}");
        assert!(server.log().contains(message), "{how}: {}", server.log());
        assert!(server.log().contains("Redis is now ready to exit, bye bye..."), "{how}");
    }
    // It does not go when it cannot save what it should.
    let mut server = TestServer::start(&["--save", "3600", "1"]);
    let mut c = server.conn();
    let gone = server.dir.path("gone");
    std::fs::create_dir(&gone).unwrap();
    c.ask(&format!("CONFIG SET dir {}", gone.display()));
    std::fs::remove_dir(&gone).unwrap();
    c.ask("SET a 1");
    assert_eq!(c.ask("SHUTDOWN"), "-ERR Errors trying to SHUTDOWN. Check logs.");
    server.signal("TERM");
    server.wait_for_log("SIGTERM received but errors trying to shut down the server, check the logs for more information");
    assert!(server.is_alive());
    assert_eq!(c.ask("GET a"), "1");
    // A child that saves is stopped first.
    c.ask(&format!("CONFIG SET dir {}", server.dir.0.display()));
    c.ask("DEBUG POPULATE 1000");
    c.ask("CONFIG SET rdb-key-save-delay 20000");
    c.ask("BGSAVE");
    let dir = server.dir.0.clone();
    let temporary = || {
        let mut files = std::fs::read_dir(&dir).unwrap();
        files.any(|e| e.unwrap().file_name().to_string_lossy().starts_with("temp-"))
    };
    wait_for("the child's file", temporary);
    c.send(&["SHUTDOWN", "NOSAVE"]);
    assert_eq!(server.wait_exit(), 0);
    assert!(server.log().contains("There is a child saving an .rdb. Killing it!"));
    assert!(!temporary());
}

/// A crash says where and why in the log, and ends by the signal; with crash-log-enabled no it ends
/// without a report.
#[test]
fn crash_reports() {
    for (command, signal, words) in [
        (
            &["DEBUG", "SEGFAULT"][..],
            -11,
            &[
                "REDIS BUG REPORT START",
                "Redis 6.2.16 crashed by signal: 11",
                "STACK TRACE",
                "(fidelis::debug::debugCommand+0x",
                "REDIS BUG REPORT END",
            ][..],
        ),
        (
            &["DEBUG", "PANIC"],
            -6,
            &["REDIS BUG REPORT START", "DEBUG PANIC called at Unix time", "REDIS BUG REPORT END"],
        ),
        (
            &["DEBUG", "OOM"],
            -6,
            &[
                "# Out Of Memory allocating 18446744073709551615 bytes!",
                "Guru Meditation: Redis aborting for OUT OF MEMORY. Allocating 18446744073709551615 bytes! #",
                "(fidelis::debug::debugCommand+0x",
                "REDIS BUG REPORT END",
            ],
        ),
    ] {
        let mut server = TestServer::start(&[]);
        let mut c = server.conn();
        c.send(command);
        assert_eq!(server.wait_exit(), signal, "{command:?}: {}", server.log());
        let log = server.log();
        words.iter().for_each(|w| assert!(log.contains(w), "{command:?}: no {w:?} in\n{log}"));
        assert_eq!(c.read_to_end(), b"");
    }
    let mut server = TestServer::start(&["--crash-log-enabled", "no"]);
    server.conn().send(&["DEBUG", "SEGFAULT"]);
    assert_eq!(server.wait_exit(), -11);
    assert!(!server.log().contains("BUG REPORT"));
    // A signal from outside is reported as such.
    let mut server = TestServer::start(&[]);
    server.signal("SEGV");
    assert_eq!(server.wait_exit(), -11);
    assert!(server.log().contains("Killed by PID: "), "{}", server.log());
}

/// An allocation that fails says so in the log before the process ends, whoever asked for it.
#[test]
fn out_of_memory() {
    for (commands, function) in [
        (&["SETRANGE k 400000000 x"][..], "setrangeCommand"),
        (&["DEBUG POPULATE 1 k 400000000"], "debug_populate_command"),
        (&["SETBIT k 3200000000 1"], "setbitCommand"),
    ] {
        let dir = Folder::new();
        let limited = dir.path("limited");
        let script = format!("#!/bin/sh\nulimit -v 420000\nexec {OURS} \"$@\"\n");
        std::fs::write(&limited, script).unwrap();
        std::fs::set_permissions(&limited, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut server = TestServer::start_in(dir, &limited, &[]);
        let mut c = server.conn();
        for command in commands {
            c.send(&command.split(' ').collect::<Vec<_>>());
        }
        assert_eq!(server.wait_exit(), -6, "{}", server.log());
        let log = server.log();
        for words in
            ["# Out Of Memory allocating 40", "STACK TRACE", function, "REDIS BUG REPORT END"]
        {
            assert!(log.contains(words), "{commands:?}: no {words:?} in\n{log}");
        }
    }
}

/// The watchdog names the command that takes so long.
#[test]
fn watchdog() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    assert_eq!(c.ask("CONFIG SET watchdog-period 200"), "OK");
    let mut other = server.conn();
    other.send(&["DEBUG", "SLEEP", "1000000"]);
    server.wait_for_log("(fidelis::debug::debugCommand+0x");
    assert!(server.log().contains("--- WATCHDOG TIMER EXPIRED ---"));
}

/// Under systemd the service manager is told when the server is ready.
#[test]
fn systemd() {
    for supervised in ["systemd", "auto"] {
        let dir = Folder::new();
        let path = dir.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let port = free_port().to_string();
        let mut child = Command::new(OURS)
            .args([
                "--supervised",
                supervised,
                "--bind",
                "127.0.0.1",
                "--port",
                &port,
                "--save",
                "",
            ])
            .current_dir(&dir.0)
            .env("NOTIFY_SOCKET", &path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut told = String::new();
        let mut buf = [0; 512];
        while !told.contains("READY=1") {
            let n = socket.recv(&mut buf).expect("a word to systemd");
            told.push_str(&String::from_utf8_lossy(&buf[..n]));
            told.push('\n');
        }
        assert!(told.contains("STATUS=Ready to accept connections"), "{told}");
        let mut c = Conn::open(port.parse().unwrap());
        assert!(c.ask("INFO server").contains("process_supervised:systemd\r\n"));
        c.send(&["SHUTDOWN"]);
        assert!(child.wait().unwrap().success());
        let n = socket.recv(&mut buf).expect("a last word");
        assert!(String::from_utf8_lossy(&buf[..n]).contains("STOPPING=1"));
    }
    // Without the socket it says so and goes on.
    let server = TestServer::start(&["--supervised", "systemd"]);
    assert_eq!(server.cmd(&["PING"]).text(), "PONG");
}

/// Each level of the log holds what it should; the form of its lines; the log file can be moved
/// away.
#[test]
fn logs() {
    let server = TestServer::start(&["--loglevel", "warning"]);
    server.cmd(&["DEBUG", "LOG", "by hand"]);
    server.wait_for_log("DEBUG LOG: by hand");
    assert!(!server.log().contains("Ready to accept connections"), "that is a notice");
    let log = server.log();
    let line = log.lines().find(|l| l.contains("DEBUG LOG: by hand")).unwrap();
    // pid:role day month year time mark text
    let (head, _) = line.split_once(" # ").unwrap();
    let words: Vec<&str> = head.split(' ').collect();
    assert_eq!(words.len(), 5, "{line}");
    assert_eq!(words[0], format!("{}:M", server.pid()));
    assert!(words[4].len() == 12 && words[4].as_bytes()[8] == b'.', "{line}");
    server.cmd(&["CONFIG", "SET", "loglevel", "verbose"]);
    drop(server.conn());
    server.wait_for_log(" - Accepted 127.0.0.1:");
    server.wait_for_log(" - Client closed connection");
    server.cmd(&["CONFIG", "SET", "loglevel", "debug"]);
    server.wait_for_log(" . ");
    drop(server);

    let dir = Folder::new();
    let file = dir.path("server.log");
    let server = TestServer::start(&["--logfile", file.to_str().unwrap()]);
    assert!(std::fs::read_to_string(&file).unwrap().contains("Ready to accept connections"));
    std::fs::rename(&file, dir.path("old.log")).unwrap();
    server.cmd(&["DEBUG", "LOG", "after"]);
    wait_for("a new file", || {
        std::fs::read_to_string(&file).is_ok_and(|s| s.contains("DEBUG LOG: after"))
    });
    assert_eq!(server.log(), "");
    // One that cannot be written ends the start.
    let out = run(&dir.0, &["--port", "0", "--logfile", "/nosuch/dir/log"], "");
    assert_eq!(out.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&out.stderr)
            .contains("Can't open the log file: No such file or directory")
    );
}

/// SIGUSR1 and SIGHUP do no harm to the server itself; SIGPIPE neither.
#[test]
fn other_signals() {
    let mut server = TestServer::start(&[]);
    for signal in ["HUP", "PIPE"] {
        server.signal(signal);
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(server.ask("PING"), "PONG", "{signal}");
    }
}

/// The line that says who `default` is, as CONFIG REWRITE of 6.2 and later ends a file: each
/// password gets in, also after a rewrite and a restart, and `requirepass` beside it does not
/// count.
#[test]
fn the_users_of_a_rewritten_configuration() {
    // SHA-256 of "one" and of "two".
    let one = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
    let two = "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3";
    for (line, passwords, rewritten) in [
        ("user default on nopass ~* &* +@all", &[][..], "on nopass sanitize-payload".to_string()),
        (
            "user default on nopass sanitize-payload ~* &* +@all",
            &[],
            "on nopass sanitize-payload".to_string(),
        ),
        (
            &format!("user default on #{one} ~* &* +@all"),
            &["one"],
            format!("on sanitize-payload #{one}"),
        ),
        (
            &format!("user default on sanitize-payload #{one} #{two} ~* &* +@all"),
            &["one", "two"],
            format!("on sanitize-payload #{one} #{two}"),
        ),
        (
            &format!(
                "USER default allcommands allchannels allkeys >two skip-sanitize-payload #{one} ON"
            ),
            &["one", "two"],
            format!("on skip-sanitize-payload #{two} #{one}"),
        ),
    ] {
        let dir = Folder::new();
        let conf = format!("bind 127.0.0.1\nsave \"\"\nrequirepass \"three\"\n{line}\n");
        std::fs::write(dir.path("c"), conf).unwrap();
        // Once as it came, once as it was rewritten.
        let mut dir = Some(dir);
        for _ in 0..2 {
            let server = Bare::start(dir.take().unwrap(), &["c", "--port", "PORT"], "");
            let mut c = server.conn();
            if !passwords.is_empty() {
                assert_eq!(c.ask("PING"), "-NOAUTH Authentication required.", "{line}");
                for wrong in ["three", one, ""] {
                    assert_eq!(
                        c.cmd(&["AUTH", wrong]).text(),
                        "-WRONGPASS invalid username-password pair or user is disabled.",
                        "{line}"
                    );
                }
            }
            for password in passwords {
                assert_eq!(server.conn().cmd(&["AUTH", password]).text(), "OK", "{line}");
                assert_eq!(c.cmd(&["AUTH", "default", password]).text(), "OK", "{line}");
            }
            assert_eq!(c.ask("SET a 1"), "OK", "{line}");
            assert_eq!(c.ask("CONFIG REWRITE"), "OK");
            let conf = std::fs::read_to_string(server.dir.path("c")).unwrap();
            let users: Vec<&str> = conf.lines().filter(|l| l.contains("user ")).collect();
            assert_eq!(users, [format!("user default {rewritten} ~* &* +@all")], "{line}");
            let next = Folder::new();
            std::fs::write(next.path("c"), conf.replace(&format!("dir {:?}\n", server.dir.0), ""))
                .unwrap();
            dir = Some(next);
        }
    }

    // CONFIG SET requirepass gives one password, and the rewrite keeps it.
    let dir = Folder::new();
    std::fs::write(dir.path("c"), format!("save \"\"\nuser default on #{one} ~* &* +@all\n"))
        .unwrap();
    let server = Bare::start(dir, &["c", "--port", "PORT"], "");
    let mut c = server.conn();
    assert_eq!([c.ask("AUTH one"), c.ask("CONFIG SET requirepass two")], ["OK", "OK"]);
    assert_eq!(c.ask("CONFIG REWRITE"), "OK");
    assert_eq!(c.cmd(&["CONFIG", "SET", "requirepass", ""]).text(), "OK");
    let conf = std::fs::read_to_string(server.dir.path("c")).unwrap();
    assert!(
        conf.contains("requirepass \"two\"\n")
            && conf.contains(&format!("user default on sanitize-payload #{two} ~* &* +@all\n")),
        "{conf}"
    );
    assert_eq!([server.conn().ask("PING"), c.ask("CONFIG REWRITE")], ["PONG", "OK"]);
    let conf = std::fs::read_to_string(server.dir.path("c")).unwrap();
    assert!(conf.contains("user default on nopass sanitize-payload ~* &* +@all\n"), "{conf}");
}

/// A file that Debian's server rewrote, with a password and a master, is one to start with.
#[test]
fn a_configuration_that_a_7_0_wrote() {
    let dir = Folder::new();
    std::fs::write(dir.path("c"), "bind 127.0.0.1\nsave \"\"\n").unwrap();
    let theirs = Bare::start_binary(DEBIAN, dir, &["c", "--port", "PORT"], "");
    let mut c = theirs.conn();
    for line in [
        "CONFIG SET requirepass one",
        "AUTH one",
        "ACL SETUSER default >two",
        "REPLICAOF 127.0.0.1 1",
        "CONFIG SET replica-read-only no",
        "CONFIG REWRITE",
    ] {
        assert_eq!(c.ask(line), "OK", "{line}");
    }
    let conf = std::fs::read_to_string(theirs.dir.path("c")).unwrap();
    drop(theirs);

    let dir = Folder::new();
    std::fs::write(
        dir.path("c"),
        conf.lines()
            .filter(|l| !l.starts_with("dir "))
            .fold(String::new(), |all, l| all + l + "\n"),
    )
    .unwrap();
    let server = Bare::start(dir, &["c", "--port", "PORT"], "");
    let mut c = server.conn();
    assert_eq!(
        [c.ask("AUTH three"), c.ask("AUTH one"), c.ask("AUTH two")],
        ["-WRONGPASS invalid username-password pair or user is disabled.", "OK", "OK"]
    );
    assert!(c.ask("ROLE").starts_with("[slave 127.0.0.1 1 "));
    assert_eq!(c.ask("CONFIG GET replica-read-only"), "[replica-read-only no]");
}

/// What CONFIG REWRITE of a 6.2.16 writes for each directive that does not have its default: it is
/// taken, shown, and written again. Speed that is not to be had here is a warning.
#[test]
fn every_line_a_rewrite_writes() {
    let lines = [
        ("rdbchecksum", "no"),
        ("io-threads-do-reads", "yes"),
        ("lua-replicate-commands", "no"),
        ("always-show-logo", "yes"),
        ("protected-mode", "no"),
        ("rdbcompression", "no"),
        ("rdb-del-sync-files", "yes"),
        ("activerehashing", "no"),
        ("stop-writes-on-bgsave-error", "no"),
        ("set-proc-title", "no"),
        ("dynamic-hz", "no"),
        ("lazyfree-lazy-eviction", "yes"),
        ("lazyfree-lazy-expire", "yes"),
        ("lazyfree-lazy-server-del", "yes"),
        ("lazyfree-lazy-user-del", "yes"),
        ("lazyfree-lazy-user-flush", "yes"),
        ("repl-disable-tcp-nodelay", "yes"),
        ("repl-diskless-sync", "yes"),
        ("aof-rewrite-incremental-fsync", "no"),
        ("no-appendfsync-on-rewrite", "yes"),
        ("cluster-require-full-coverage", "no"),
        ("rdb-save-incremental-fsync", "no"),
        ("aof-load-truncated", "no"),
        ("aof-use-rdb-preamble", "no"),
        ("cluster-replica-no-failover", "yes"),
        ("replica-lazy-flush", "yes"),
        ("replica-serve-stale-data", "no"),
        ("replica-read-only", "no"),
        ("replica-ignore-maxmemory", "no"),
        ("jemalloc-bg-thread", "no"),
        ("activedefrag", "yes"),
        ("syslog-enabled", "no"),
        ("appendonly", "yes"),
        ("cluster-allow-reads-when-down", "yes"),
        ("crash-log-enabled", "no"),
        ("crash-memcheck-enabled", "no"),
        ("use-exit-on-panic", "yes"),
        ("disable-thp", "no"),
        ("cluster-allow-replica-migration", "no"),
        ("replica-announced", "no"),
        ("unixsocket", "the socket"),
        ("pidfile", "the pid"),
        ("replica-announce-ip", "1.2.3.4"),
        ("masteruser", "u"),
        ("cluster-announce-ip", "1.2.3.4"),
        ("syslog-ident", "y"),
        ("dbfilename", "other.rdb"),
        ("appendfilename", "other.aof"),
        ("server_cpulist", "0"),
        ("bio_cpulist", "0"),
        ("aof_rewrite_cpulist", "0"),
        ("bgsave_cpulist", "0"),
        ("ignore-warnings", "ARM64-COW-BUG"),
        ("proc-title-template", "{title} x"),
        ("masterauth", "a \" b"),
        ("supervised", "auto"),
        ("syslog-facility", "local3"),
        ("repl-diskless-load", "swapdb"),
        ("loglevel", "verbose"),
        ("maxmemory-policy", "volatile-ttl"),
        ("appendfsync", "always"),
        ("oom-score-adj", "no"),
        ("acl-pubsub-default", "resetchannels"),
        ("sanitize-dump-payload", "clients"),
        ("databases", "17"),
        ("io-threads", "4"),
        ("auto-aof-rewrite-percentage", "101"),
        ("cluster-replica-validity-factor", "11"),
        ("list-max-ziplist-size", "-3"),
        ("tcp-keepalive", "301"),
        ("cluster-migration-barrier", "2"),
        ("active-defrag-cycle-min", "2"),
        ("active-defrag-cycle-max", "26"),
        ("active-defrag-threshold-lower", "11"),
        ("active-defrag-threshold-upper", "101"),
        ("lfu-log-factor", "11"),
        ("lfu-decay-time", "2"),
        ("replica-priority", "101"),
        ("repl-diskless-sync-delay", "6"),
        ("maxmemory-samples", "6"),
        ("maxmemory-eviction-tenacity", "11"),
        ("timeout", "1000"),
        ("replica-announce-port", "1"),
        ("tcp-backlog", "100"),
        ("cluster-announce-bus-port", "1"),
        ("cluster-announce-port", "1"),
        ("cluster-announce-tls-port", "1"),
        ("repl-timeout", "61"),
        ("repl-ping-replica-period", "11"),
        ("list-compress-depth", "1"),
        ("rdb-key-save-delay", "1"),
        ("key-load-delay", "1"),
        ("active-expire-effort", "2"),
        ("hz", "11"),
        ("min-replicas-max-lag", "11"),
        ("maxclients", "100"),
        ("active-defrag-max-scan-fields", "1001"),
        ("slowlog-max-len", "129"),
        ("acllog-max-len", "129"),
        ("lua-time-limit", "5001"),
        ("lua-memory-limit", "1048577"),
        ("cluster-node-timeout", "15001"),
        ("slowlog-log-slower-than", "10001"),
        ("latency-monitor-threshold", "1"),
        ("proto-max-bulk-len", "536870913"),
        ("stream-node-max-entries", "101"),
        ("repl-backlog-size", "1048577"),
        ("maxmemory", "1073741825"),
        ("hash-max-ziplist-entries", "513"),
        ("set-max-intset-entries", "513"),
        ("zset-max-ziplist-entries", "129"),
        ("active-defrag-ignore-bytes", "104857601"),
        ("hash-max-ziplist-value", "65"),
        ("stream-node-max-bytes", "4097"),
        ("zset-max-ziplist-value", "65"),
        ("hll-sparse-max-bytes", "3001"),
        ("tracking-table-max-keys", "1000001"),
        ("client-query-buffer-limit", "1073741825"),
        ("repl-backlog-ttl", "3601"),
        ("auto-aof-rewrite-min-size", "67108865"),
    ];
    let quoted = |value: &str| format!("\"{}\"", value.replace('"', "\\\""));
    let mut conf: String =
        lines.iter().map(|(name, value)| format!("{name} {}\n", quoted(value))).collect();
    let others = [
        "bind 127.0.0.1",
        "unixsocketperm 700",
        "logfile \"\"",
        "save 900 1",
        "user default on nopass ~* resetchannels &* +@all",
        "replicaof 127.0.0.1 1",
        "cluster-config-file \"mine.conf\"",
        "notify-keyspace-events \"AKE\"",
        "client-output-buffer-limit replica 1gb 64mb 60",
        "oom-score-adj-values 0 100 200",
        // These are no lines of a rewrite, but those people wrote, and so they stay.
        "tls-port 0",
        "tls-cert-file /nosuch.crt",
        "tls-protocols \"TLSv1.2 TLSv1.3\"",
        "tls-session-cache-size 5000",
        "rename-command EVAL \"\"",
        "rename-command MODULE hidden",
        "rename-command KEYS k",
        "list-max-ziplist-entries 512",
        "latency-tracking-info-percentiles 50 99 99.9",
    ];
    others.iter().for_each(|line| conf += &format!("{line}\n"));
    let dir = Folder::new();
    std::fs::write(dir.path("c"), &conf).unwrap();
    let server = Bare::start(dir, &["c", "--port", "PORT"], "");
    let mut c = server.conn();
    for (name, value) in lines {
        assert_eq!(c.ask(&format!("CONFIG GET {name}")), format!("[{name} {value}]"));
    }
    let shown = c.cmd(&["CONFIG", "GET", "*"]);
    let (names, values) =
        (shown.array().iter().step_by(2), shown.array().iter().skip(1).step_by(2));
    for (name, value) in names.zip(values) {
        assert!(!name.text().starts_with("tls-") && !value.is_error(), "{name:?}");
    }
    for name in ["io-threads", "latency-tracking-info-percentiles"] {
        let warnings = server
            .out()
            .matches(&format!("WARNING: '{name}' has no effect in this server"))
            .count();
        assert_eq!(warnings, 1, "{name}: {}", server.out());
    }
    assert_eq!(c.ask("CONFIG REWRITE"), "OK");
    let new = std::fs::read_to_string(server.dir.path("c")).unwrap();
    for line in conf.lines() {
        let plain = line
            .replace('"', "")
            .replace("on nopass ~* resetchannels &*", "on nopass sanitize-payload ~* &*");
        assert!(new.lines().any(|l| l.replace('"', "") == plain), "{line}: {new}");
    }

    // What is asked for by hand, and would be believed to work, is refused.
    for immutable in [
        "io-threads 2",
        "io-threads-do-reads yes",
        "aclfile x",
        "cluster-enabled no",
        "tls-port 0",
        "cluster-config-file x",
    ] {
        let name = immutable.split(' ').next().unwrap();
        assert_eq!(
            c.ask(&format!("CONFIG SET {immutable}")),
            format!("-ERR Unsupported CONFIG parameter: {name}")
        );
    }
}

/// Numbers keep the bounds that they have in the C, whether what they are for is here or not.
#[test]
fn bounds_of_numbers() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    const INT_MAX: i128 = i32::MAX as i128;
    const LONG_MAX: i128 = i64::MAX as i128;
    for (name, lower, upper, is_memory) in [
        ("lua-time-limit", 0, LONG_MAX, false),
        ("acllog-max-len", 0, LONG_MAX, false),
        ("tracking-table-max-keys", 0, LONG_MAX, false),
        ("repl-diskless-sync-delay", 0, INT_MAX, false),
        ("active-defrag-cycle-min", 1, 99, false),
        ("active-defrag-cycle-max", 1, 99, false),
        ("active-defrag-threshold-lower", 0, 1000, false),
        ("active-defrag-threshold-upper", 0, 1000, false),
        ("active-defrag-max-scan-fields", 1, LONG_MAX, false),
        ("active-defrag-ignore-bytes", 1, LONG_MAX, true),
        ("cluster-node-timeout", 0, LONG_MAX, false),
        ("cluster-migration-barrier", 0, INT_MAX, false),
        ("cluster-slave-validity-factor", 0, INT_MAX, false),
        ("cluster-announce-port", 0, 65535, false),
        ("timeout", 0, INT_MAX, false),
        ("list-max-ziplist-size", -INT_MAX - 1, INT_MAX, false),
        ("proto-max-bulk-len", 1 << 20, LONG_MAX, true),
        ("maxmemory-eviction-tenacity", 0, 100, false),
        ("slowlog-log-slower-than", -1, LONG_MAX, false),
        ("hash-max-ziplist-entries", 0, LONG_MAX, false),
    ] {
        for inside in [lower, upper] {
            assert_eq!(c.ask(&format!("CONFIG SET {name} {inside}")), "OK", "{name}");
            assert_eq!(c.ask(&format!("CONFIG GET {name}")), format!("[{name} {inside}]"));
        }
        let no_number = match is_memory {
            true => "argument must be a memory value",
            false => "argument couldn't be parsed into an integer",
        };
        // A memory value has no upper end: what is too large for a number counts as the largest.
        let above = (!is_memory).then_some(upper + 1);
        for outside in [Some(lower - 1), above].into_iter().flatten() {
            let why = match i64::try_from(outside) {
                Ok(_) => format!("argument must be between {lower} and {upper} inclusive"),
                Err(_) => no_number.to_string(),
            };
            assert_eq!(
                c.ask(&format!("CONFIG SET {name} {outside}")),
                format!("-ERR Invalid argument '{outside}' for CONFIG SET '{name}' - {why}")
            );
        }
        assert_eq!(
            c.ask(&format!("CONFIG SET {name} 1x")),
            format!("-ERR Invalid argument '1x' for CONFIG SET '{name}' - {no_number}")
        );
    }
    assert_eq!(c.ask("CONFIG SET active-defrag-ignore-bytes 2mb"), "OK");
    assert_eq!(
        c.ask("CONFIG GET active-defrag-ignore-bytes"),
        "[active-defrag-ignore-bytes 2097152]"
    );
}

/// Who we are, where programs look for who a Redis is: at the end of what they parse.
#[test]
fn our_own_version() {
    let own = env!("CARGO_PKG_VERSION");
    let out = Command::new(OURS).arg("--version").output().unwrap();
    let out = String::from_utf8(out.stdout).unwrap();
    assert!(out.starts_with("Redis server v=6.2.16 sha=00000000:0 malloc=jemalloc-"), "{out}");
    assert!(out.ends_with(&format!(" fidelis={own}\n")), "{out}");
    let server = TestServer::start(&[]);
    for line in ["LOLWUT", "LOLWUT VERSION 5", "LOLWUT VERSION 99"] {
        let text = server.conn().ask(line);
        assert!(text.ends_with(&format!("Redis ver. 6.2.16, fidelis {own}\n")), "{line}: {text}");
    }
    let info = server.conn().ask("INFO server");
    assert!(info.ends_with(&format!("\r\nfidelis_version:{own}\r\n")), "{info}");
}

/// Gopher: one line in, a text out, and the end; keys that begin with a slash. It can be had without
/// a password, as in the C.
#[test]
fn gopher() {
    let server = TestServer::start(&["--gopher-enabled", "yes"]);
    let mut c = server.conn();
    for line in ["SET / welcome", "SET /n 12", "RPUSH /list x"] {
        c.ask(line);
    }
    let item = |text: &str| format!("i{text}\t(NULL)\t(NULL)\t0\r\n");
    let error = |text: &str| item(text) + &item("Redis Gopher server");
    let nothing = error("Error: no content at the specified key");
    for (line, answer) in [
        ("\r\n", "welcome"),
        ("/\r\n/n\r\n", "welcome"),
        ("/n\n", "12"),
        ("/nosuch\r\n", &nothing),
        ("/list\r\n", &error("Error: selected key type is invalid for Gopher output")),
        // Anything else is an inline command.
        ("GET /n\r\nPING\r\nQUIT\r\n", "$2\r\n12\r\n+PONG\r\n+OK\r\n"),
    ] {
        assert_eq!(to_the_end(server.port, line.as_bytes()), answer, "{line:?}");
    }
    assert_eq!(c.cmd(&["/n"]).text(), "-ERR unknown command `/n`, with args beginning with: ");
    c.ask("CONFIG SET requirepass secret");
    assert_eq!(to_the_end(server.port, b"/n\r\n"), "12");
    c.ask("CONFIG SET gopher-enabled no");
    assert_eq!(
        to_the_end(server.port, b"/n\r\nQUIT\r\n"),
        "-ERR unknown command `/n`, with args beginning with: \r\n+OK\r\n"
    );
}

/// With Gopher, an empty line of a replica is a sign of life, as without.
#[test]
fn gopher_and_replicas() {
    let args = ["--gopher-enabled", "yes"];
    let master = TestServer::start(&args);
    let replica = TestServer::start(&args).replica_of(&master);
    let mut link = master.conn();
    link.ask("REPLCONF listening-port 1");
    link.send(&["SYNC"]);
    wait_for("it is a replica", || master.info("connected_slaves") == "2");
    link.raw(b"\n").unwrap();
    master.cmd(&["SET", "k", "v"]);
    assert_same_data(&master, &replica);
    assert_eq!(master.info("connected_slaves"), "2");
    assert_eq!(master.info("sync_full"), "2");
}

/// DEBUG MALLCTL and MALLCTL-STR: what jemalloc tells, what it can be set to, and what would end the
/// process.
#[test]
fn the_allocator_can_be_asked() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let page: i64 = c.ask("DEBUG MALLCTL arenas.page").parse().unwrap();
    assert!(page >= 4096);
    assert!(c.ask("DEBUG MALLCTL-STR version").starts_with("5."));
    assert_eq!(c.ask("DEBUG MALLCTL background_thread 1"), "1");
    assert_eq!(c.ask("DEBUG MALLCTL arenas.dirty_decay_ms 9999"), "10000");
    assert_eq!(c.ask("DEBUG MALLCTL arenas.dirty_decay_ms"), "9999");
    assert_eq!(c.ask("DEBUG MALLCTL-STR thread.tcache.flush VOID"), "OK");
    assert_eq!(c.ask("DEBUG MALLCTL-STR arena.0.purge VOID"), "OK");
    for (line, error) in [
        ("MALLCTL nosuch", "No such file or directory"),
        ("MALLCTL-STR nosuch", "No such file or directory"),
        ("MALLCTL arenas.page x", "value is not an integer or out of range"),
        ("MALLCTL arena.0.extent_hooks 1", "Operation not permitted"),
        ("MALLCTL tcache.flush 1000000", "Operation not permitted"),
        ("MALLCTL-STR stats.allocated", "Invalid argument"),
        ("MALLCTL-STR arena.0.reset VOID", "Operation not permitted"),
        ("MALLCTL-STR arena.0.destroy VOID", "Operation not permitted"),
        ("MALLCTL-STR arena.0.dss primary", "Operation not permitted"),
    ] {
        assert_eq!(c.ask(&format!("DEBUG {line}")), format!("-ERR {error}"), "{line}");
    }
    assert_eq!(c.ask("PING"), "PONG");
}
