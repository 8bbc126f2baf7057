//! The same with Debian's redis-server (7.0) on the other side, in both roles.

mod support;

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
