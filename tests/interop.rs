//! The same with Debian's redis-server (7.0) on the other side, in both roles.

#[path = "support/ask.rs"]
mod ask;
mod support;

use ask::*;
use support::*;

/// Its replica follows us: RDB version 9, our stream, our offsets.
#[test]
fn debian_follows_us() {
    let master = TestServer::start(&["--repl-backlog-size", "10mb"]);
    let load = WriteLoad::start(master.port);
    wait_for("some writes", || load.writes() > 1000);
    let replica = TestServer::start_debian(&["--enable-debug-command", "yes"]).replica_of(&master);
    let before = load.writes();
    wait_for("more writes", || load.writes() > before + 500);
    master.cmd(&["CLIENT", "KILL", "TYPE", "replica"]);
    replica.wait_for_link();
    load.stop();
    assert_same_data(&master, &replica);
    assert_eq!(master.info("sync_full"), "1");
    assert!(master.info_i64("sync_partial_ok") >= 1);
}

/// We follow it: RDB version 10 (sent without a disk, with an EOF mark), its stream.
#[test]
fn we_follow_debian() {
    for diskless in ["yes", "no"] {
        let args = [
            "--enable-debug-command",
            "yes",
            "--repl-diskless-sync",
            diskless,
            "--repl-diskless-sync-delay",
            "0",
        ];
        let master = TestServer::start_debian(&args);
        master.cmd(&[
            "FUNCTION",
            "LOAD",
            "#!lua name=mylib\nredis.register_function('f', function() return 1 end)",
        ]);
        let load = WriteLoad::start(master.port);
        wait_for("some writes", || load.writes() > 1000);
        let replica = TestServer::start(&[]).replica_of(&master);
        assert_eq!(master.cmd(&["CLIENT", "KILL", "TYPE", "replica"]).int(), 1);
        replica.wait_for_log("Connection with master lost");
        replica.wait_for_link();
        load.stop();
        assert_same_data(&master, &replica);
        assert_eq!(master.info("sync_full"), "1", "diskless {diskless}");
        assert!(replica.log().contains("mylib"), "the function library was skipped with a warning");
    }
}

/// A chain of a genuine master, ours, and a genuine replica.
#[test]
fn we_stand_between_two_of_them() {
    let a = TestServer::start_debian(&["--enable-debug-command", "yes"]);
    let b = TestServer::start(&[]).replica_of(&a);
    let c = TestServer::start_debian(&["--enable-debug-command", "yes"]).replica_of(&b);
    let load = WriteLoad::start(a.port);
    wait_for("some writes", || load.writes() > 1000);
    load.stop();
    assert_same_data(&a, &b);
    assert_same_data(&a, &c);
}

/// redis-cli and redis-benchmark find nothing strange.
#[test]
fn debians_tools() {
    let server = TestServer::start(&[]);
    let port = server.port.to_string();
    assert_eq!(tool("redis-cli", &["-p", &port, "SET", "k", "v"]), "OK\n");
    assert_eq!(tool("redis-cli", &["-p", &port, "GET", "k"]), "v\n");
    assert_eq!(tool("redis-cli", &["-3", "-p", &port, "GET", "k"]), "v\n");
    assert!(tool("redis-cli", &["-p", &port, "INFO"]).contains("redis_version:6.2.16"));
    assert!(tool("redis-cli", &["-p", &port, "--scan"]).contains('k'));
    let out =
        tool("redis-benchmark", &["-p", &port, "-t", "ping,set,get,incr,mset", "-n", "2000", "-q"]);
    assert!(out.contains("GET:") && !out.to_lowercase().contains("error"), "{out}");
    let rdb = server.dir.path("copy.rdb");
    tool("redis-cli", &["-p", &port, "--rdb", rdb.to_str().unwrap()]);
    assert!(std::fs::read(&rdb).unwrap().starts_with(b"REDIS0009"));
}

/// MIGRATE there and back: AUTH, AUTH2, KEYS, COPY, REPLACE, and every way to be refused.
#[test]
fn keys_migrate_there_and_back() {
    let (ours, mut debian) =
        (TestServer::start(&[]), TestServer::start_debian(&["--enable-debug-command", "yes"]));
    let (mut c, mut d) = (ours.conn(), debian.conn());
    d.ask("ACL SETUSER mover on >word ~* &* +@all");
    d.ask("CONFIG SET requirepass secret");
    let port = debian.port;
    let to = |key: &str, options: &str| format!("MIGRATE 127.0.0.1 {port} {key} 0 5000 {options}");
    let refused = "-ERR Target instance replied with error: ";

    c.ask("SET a 1 PX 1000000");
    assert_eq!(c.ask(&to("missing", "")), "NOKEY");
    assert!(c.ask(&to("a", "")).starts_with(&format!("{refused}NOAUTH ")));
    assert!(c.ask(&to("a", "AUTH wrong")).starts_with(&format!("{refused}WRONGPASS ")));
    assert!(c.ask(&to("a", "AUTH2 mover wrong")).starts_with(&format!("{refused}WRONGPASS ")));
    assert_eq!(c.ask("EXISTS a"), "1", "what was refused stays");
    for (options, error) in [
        ("AUTH", "-ERR syntax error"),
        ("AUTH2 mover", "-ERR syntax error"),
        ("FAST", "-ERR syntax error"),
        (
            "KEYS a b",
            "-ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
        ),
    ] {
        assert_eq!(c.ask(&to("a", options)), error);
    }

    assert_eq!(c.ask(&to("a", "COPY AUTH2 mover word")), "OK");
    assert_eq!([c.ask("GET a"), d.ask("GET a")], ["1", "1"]);
    let ttl = d.cmd(&["PTTL", "a"]).int();
    assert!((900_000..=1_000_000).contains(&ttl), "{ttl}");
    c.ask("SET a 2");
    let busy = format!("{refused}BUSYKEY Target key name already exists.");
    assert_eq!(c.ask(&to("a", "AUTH secret")), busy);
    assert_eq!(c.ask(&to("a", "REPLACE AUTH secret")), "OK");
    assert_eq!([c.ask("EXISTS a"), d.ask("GET a"), d.ask("PTTL a")], ["0", "2", "-1"]);

    // One of every type at once, into another db, by a replica's eyes a DEL.
    let replica = TestServer::start(&[]).replica_of(&ours);
    for line in [
        "RPUSH list 1 two 3",
        "SADD intset 1 2 3",
        "SADD set a b",
        "HSET hash f v 1 2",
        "ZADD zset 1 a 2.5 b",
        "XADD stream 1-1 f v",
        "SETRANGE string 5000 x",
    ] {
        c.ask(line);
    }
    let keys = ["list", "intset", "set", "hash", "zset", "stream", "string"];
    let digests = |c: &mut Conn| flat(&c.cmd(&[&["DEBUG", "DIGEST-VALUE"], &keys[..]].concat()));
    let before = digests(&mut c);
    let migrate = |port: u16, options: &[&str]| {
        let port = port.to_string();
        let head = ["MIGRATE", "127.0.0.1", &port, "", "3", "5000"];
        [&head[..], options, &["KEYS", "missing"], &keys]
            .concat()
            .iter()
            .map(|w| w.to_string())
            .collect()
    };
    let words: Vec<String> = migrate(debian.port, &["AUTH", "secret"]);
    assert_eq!(flat(&c.cmd(&words)), "OK");
    assert_eq!((c.ask("DBSIZE"), d.ask("SELECT 3")), ("0".to_string(), "OK".to_string()));
    assert_eq!(digests(&mut d), before);
    assert_same_data(&ours, &replica);
    // Its payloads are of version 10.
    let words: Vec<String> = migrate(ours.port, &[]);
    assert_eq!(flat(&d.cmd(&words)), "OK");
    assert_eq!((c.ask("SELECT 3"), d.ask("DBSIZE")), ("OK".to_string(), "0".to_string()));
    assert_eq!(digests(&mut c), before);

    // Nobody is there any more: not over the connection that was kept, and not over a new one.
    let gone = to("string", "AUTH secret");
    debian.kill();
    let reply = c.ask(&gone);
    assert!(reply.starts_with("-IOERR error or timeout "), "{reply}");
    assert_eq!(c.ask("EXISTS string"), "1");
}
