//! Full or partial: what a planned restart keeps, what a replica does whose link does not last, and
//! what the doctor says about it.

#[path = "support/link.rs"]
mod link;
mod support;

use link::*;
use support::*;

/// Sends SHUTDOWN with these arguments, and waits for the end.
#[track_caller]
fn shut_down(server: &mut TestServer, how: &str) {
    server.conn().send(&["SHUTDOWN", how]);
    assert_eq!(server.wait_exit(), 0);
}

/// Starts Debian's, with DEBUG DIGEST.
fn debian() -> TestServer {
    TestServer::start_debian(&["--enable-debug-command", "yes"])
}

/// A master that saves before it ends goes on with its history: its replicas, ours and a genuine
/// one, resync partially. Keys that expired meanwhile are deleted in the stream.
#[test]
fn a_master_that_saved_goes_on() {
    // A replica that a busy machine holds up is waited for.
    let patient = ["--shutdown-timeout", "100"];
    let mut master = TestServer::start(&[&["--repl-backlog-size", "100mb"][..], &patient].concat());
    let ours = TestServer::start(&[]).replica_of(&master);
    let theirs = debian().replica_of(&master);
    let below = TestServer::start(&[]).replica_of(&ours);
    let load = WriteLoad::start(master.port);
    wait_for("some writes", || load.writes() > 1000);
    // The time comes while the key is there: nothing looks at it before the restart.
    master.cmd(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    master.cmd(&["SET", "gone", "v", "PX", "1"]);
    master.cmd(&["SET", "stays", "v"]);
    let old = master.info("master_replid");
    shut_down(&mut master, "SAVE");
    load.stop();

    master.start_again();
    assert_eq!(master.info("master_replid2"), old);
    wait_for("the replicas", || master.info("connected_slaves") == "2");
    master.cmd(&["SET", "after", "v"]);
    for replica in [&ours, &theirs, &below] {
        replica.wait_for_link();
        wait_for_offset(&master, replica);
        assert_eq!(replica.cmd(&["EXISTS", "gone", "stays", "after"]).int(), 2);
        assert_eq!(replica.digest(), master.digest());
    }
    assert_eq!(master.info("sync_full"), "0");
    assert_eq!(master.info("sync_partial_ok"), "2");
    assert_eq!(ours.info("sync_full"), "1", "the replica below was not disturbed either");
}

/// What was written after the file was made is lost in a crash. A replica that has it is too far
/// for the master, and gets a full resync.
#[test]
fn a_master_that_crashed_does_not_pretend() {
    let mut master = TestServer::start(&["--repl-backlog-size", "10mb"]);
    let replica = TestServer::start(&[]).replica_of(&master);
    master.cmd(&["SET", "k", "saved"]);
    assert_eq!(master.cmd(&["SAVE"]).text(), "OK");
    master.cmd(&["SET", "k", "lost"]);
    wait_for_offset(&master, &replica);
    master.restart();
    wait_for("the replica", || master.info("connected_slaves") == "1");
    replica.wait_for_link();
    assert_same_data(&master, &replica);
    assert_eq!(replica.cmd(&["GET", "k"]).text(), "saved");
    assert_eq!(master.info("sync_full"), "1");
    assert_eq!(master.info("sync_partial_err"), "1");
}

/// A file without an id has no history: the master that loads it has no backlog.
#[test]
fn a_file_without_an_id_is_no_history() {
    let mut master = TestServer::start(&[]);
    // One that has expired when the file is loaded, so that its deletion would be in the backlog.
    master.cmd(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    master.cmd(&["SET", "gone", "v", "PX", "1"]);
    master.cmd(&["SET", "k", "v"]);
    shut_down(&mut master, "SAVE");
    master.start_again();
    assert_eq!(master.cmd(&["GET", "k"]).text(), "v");
    assert_eq!(master.cmd(&["DBSIZE"]).int(), 1);
    for field in ["active", "first_byte_offset", "histlen"] {
        assert_eq!(master.info(&format!("repl_backlog_{field}")), "0", "{field}");
    }
    assert_eq!(master.info("second_repl_offset"), "-1");
}

/// A shutdown waits for a replica that is behind, so that it can go on later.
#[test]
fn a_shutdown_waits_for_replicas() {
    let patient = ["--shutdown-timeout", "100"];
    let mut master = TestServer::start(&[&["--repl-backlog-size", "100mb"][..], &patient].concat());
    let replica = TestServer::start(&[]).replica_of(&master);
    replica.signal("STOP");
    // More than the buffers of two sockets hold.
    let value = vec![b'x'; 1 << 20];
    let mut m = master.conn();
    for i in 0..32 {
        m.cmd(&[b"SET", format!("k{i}").as_bytes(), &value]);
    }
    m.send(&["SHUTDOWN", "SAVE"]);
    master.wait_for_log("Waiting for replicas before shutting down.");
    assert!(master.is_alive());
    replica.signal("CONT");
    assert_eq!(master.wait_exit(), 0);
    master.start_again();
    wait_for("the replica", || master.info("connected_slaves") == "1");
    replica.wait_for_link();
    assert_same_data(&master, &replica);
    assert_eq!(master.info("sync_full"), "0");
}

/// A shutdown does not wait for ever, and not at all with `shutdown-timeout 0`.
#[test]
fn a_shutdown_waits_as_long_as_configured() {
    for seconds in ["1", "0"] {
        let mut master = TestServer::start(&["--shutdown-timeout", seconds]);
        let replica = TestServer::start(&[]).replica_of(&master);
        replica.signal("STOP");
        let value = vec![b'x'; 1 << 20];
        let mut m = master.conn();
        for i in 0..32 {
            m.cmd(&[b"SET", format!("k{i}").as_bytes(), &value]);
        }
        m.send(&["SHUTDOWN", "NOSAVE"]);
        assert_eq!(master.wait_exit(), 0);
        assert!(master.log().contains("has not taken all of the stream"));
        replica.signal("CONT");
    }
}

/// The value of a field of an entry of REPLICATION HISTORY.
fn field(entry: &Reply, name: &str) -> String {
    let items = entry.array();
    let at = items.iter().step_by(2).position(|item| item.text() == name);
    items[2 * at.unwrap_or_else(|| panic!("no {name} in {entry:?}")) + 1].text()
}

/// REPLICATION HISTORY, the newest first.
fn history(server: &TestServer) -> Vec<Reply> {
    server.cmd(&["REPLICATION", "HISTORY"]).array().to_vec()
}

fn doctor(server: &TestServer) -> String {
    server.cmd(&["REPLICATION", "DOCTOR"]).text()
}

/// A link that breaks as soon as it is established is tried again at once, and then after a delay as
/// long as the attempts take, and the log says so once. What the operator does ends the row.
#[test]
fn a_link_that_does_not_last() {
    let fake = FakeMaster::start();
    let replica = TestServer::start(&["--repl-backoff-max", "3600"]);
    replica.replicaof_port(fake.port);
    for _ in 0..4 {
        fake.full_sync(EMPTY_RDB).acknowledged().unwrap();
    }
    wait_for("the failures", || replica.info("master_link_failures") == "4");
    assert_ne!(replica.info("master_link_failure_reason"), "");
    assert_eq!(replica.log_count("The link to the master does not last"), 1);
    assert!(doctor(&replica).contains("A link that does not last: 4 attempts in a row"));
    // REPLICAOF of the same master is no change, but a new beginning.
    let port = fake.port.to_string();
    let again = replica.cmd(&["REPLICAOF", "127.0.0.1", &port]).text();
    assert_eq!(again, "OK Already connected to specified master");
    assert_eq!(replica.info("master_link_failures"), "");
    fake.full_sync(EMPTY_RDB).acknowledged().unwrap();
    fake.full_sync(EMPTY_RDB).acknowledged().unwrap();
    wait_for("the failures", || replica.info("master_link_failures") == "2");
    replica.cmd(&["CONFIG", "SET", "repl-backoff-max", "0"]);
    for _ in 0..4 {
        fake.full_sync(EMPTY_RDB).acknowledged().unwrap();
    }
    fake.full_sync(EMPTY_RDB).acknowledged().unwrap();
}

/// A payload that arrives while DEBUG RELOAD loads is loaded after that, and takes the place of all
/// of it.
#[test]
fn a_payload_waits_for_a_reload() {
    let fake = FakeMaster::start();
    let replica = TestServer::start(&["--rdbcompression", "no"]);
    // Events are processed each time 2 MB were loaded: five times, in three seconds.
    replica.cmd(&["CONFIG", "SET", "key-load-delay", "30000"]);
    for (how, saves) in [("disabled", 1), ("swapdb", 2)] {
        replica.cmd(&["CONFIG", "SET", "repl-diskless-load", how]);
        for i in 0..100 {
            replica.cmd(&["SETRANGE", &format!("big:{i}"), "100000", "x"]);
        }
        replica.replicaof_port(fake.port);
        let asking = fake.handshake().unwrap();
        let mut reloading = replica.conn();
        reloading.send(&["DEBUG", "RELOAD"]);
        wait_for("the load", || replica.log_count("DB saved on disk") == saves);
        let _link = asking.full_sync(EMPTY_RDB, 0).unwrap();
        assert_eq!(reloading.reply().text(), "OK");
        replica.wait_for_link();
        assert_eq!(replica.cmd(&["DBSIZE"]).int(), 0, "{how}");
        assert_eq!(replica.cmd(&["REPLICAOF", "NO", "ONE"]).text(), "OK");
    }
}

/// What a master sends and we can't load, or an error instead of an answer, is a failure as well.
#[test]
fn reasons_to_wait() {
    let fake = FakeMaster::start();
    let replica = TestServer::start(&[]);
    replica.replicaof_port(fake.port);
    for _ in 0..2 {
        let _ = fake.handshake().unwrap().full_sync(b"REDIS0099\xff00000000", 0);
    }
    replica.wait_for_log(
        "does not last: 2 attempts in a row have failed, the last one: the RDB could not be loaded",
    );

    let full = TestServer::start(&["--maxclients", "1"]);
    // The one by which it was seen to be up may not have let go of its place yet.
    let mut only = full.conn();
    wait_for("the only place", || {
        let pong = only.raw(b"PING\r\n").and_then(|()| only.try_reply());
        let has_it = pong.is_ok_and(|reply| reply.text() == "PONG");
        if !has_it {
            only = full.conn();
        }
        has_it
    });
    replica.replicaof_port(full.port);
    wait_for("two refusals", || replica.info_i64("master_link_failures") >= 2);
    assert!(replica.info("master_link_failure_reason").contains("max number of clients reached"));
    only.cmd(&["CONFIG", "SET", "maxclients", "100"]);
    replica.wait_for_link();
    // A master that is only loading is asked every second.
    drop(only);
}

/// CLIENT KILL of our own link, time and again, is no failure.
#[test]
fn a_link_that_we_kill_comes_back_at_once() {
    let master = TestServer::start(&["--repl-backlog-size", "10mb"]);
    let replica = TestServer::start(&["--repl-backoff-max", "3600"]).replica_of(&master);
    for round in 1..=6 {
        assert_eq!(replica.cmd(&["CLIENT", "KILL", "TYPE", "master"]).int(), 1);
        wait_for("the link", || master.info_i64("sync_partial_ok") == round);
        replica.wait_for_link();
    }
    assert_eq!(replica.info("master_link_failures"), "");
}

/// A limit below the backlog closes the replica that gets the backlog. The start warns of it, the
/// doctor says which limit it was, and with a larger one the replica is back.
#[test]
fn a_limit_below_the_backlog() {
    let limit = ["--client-output-buffer-limit", "replica", "100kb", "0", "0"];
    let master = TestServer::start(&[&limit[..], &["--repl-backlog-size", "10mb"]].concat());
    let warning = "is below repl-backlog-size, 10485760 bytes";
    assert_eq!(master.log_count(warning), 1);
    let port = master.port.to_string();
    let mut replica =
        TestServer::start(&["--replicaof", "127.0.0.1", &port, "--repl-backoff-max", "1"]);
    replica.wait_for_link();
    master.cmd(&["SET", "k", "v"]);
    wait_for_offset(&master, &replica);
    assert_eq!(replica.cmd(&["SAVE"]).text(), "OK");
    replica.kill();
    wait_for("the end of the link", || master.info("connected_slaves") == "0");
    let value = vec![b'x'; 100_000];
    for i in 0..50 {
        master.cmd(&[b"SET", format!("k{i}").as_bytes(), &value]);
    }
    replica.start_again();
    wait_for("failures", || replica.info_i64("master_link_failures") >= 3);
    assert_eq!(replica.log_count("The link to the master does not last"), 1);
    let closed = history(&master).into_iter().find(|e| field(e, "event") == "closed").unwrap();
    assert_eq!(field(&closed, "reason"), "the output buffer limit of replicas");
    assert!(
        field(&closed, "remedy")
            .contains("client-output-buffer-limit replica with a hard limit above")
    );
    let report = doctor(&master);
    assert!(report.contains("* Output buffers: "), "{report}");
    assert!(report.contains("* Limit below the backlog: "), "{report}");
    master.cmd(&["CONFIG", "SET", "client-output-buffer-limit", "replica 5mb 0 0"]);
    assert_eq!(master.log_count(warning), 2);
    master.cmd(&["CONFIG", "SET", "client-output-buffer-limit", "replica 20mb 0 0"]);
    assert_eq!(master.log_count(warning), 2);
    wait_for("the link to last", || {
        replica.info("master_link_status") == "up" && {
            master.info("master_repl_offset") == replica.info("master_repl_offset")
        }
    });
    assert_same_data(&master, &replica);
    master.cmd(&["CONFIG", "SET", "repl-backlog-size", "30mb"]);
    assert_eq!(master.log_count("is below repl-backlog-size, 31457280 bytes"), 1);
}

/// The lines of an event in a server's trace.
fn traced(server: &TestServer, event: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(server.dir.path("trace")).unwrap_or_default();
    let whole = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    whole.filter(|line: &serde_json::Value| line["ev"] == event).collect()
}

/// A link that is cut while nothing but PINGs was sent goes on: they are bytes of the stream, and
/// both sides count them.
#[test]
fn pings_are_bytes_of_the_stream() {
    let master = TestServer::start(&["--trace-file", "trace", "--repl-ping-replica-period", "1"]);
    let replica = TestServer::start(&[]).replica_of(&master);
    let before = replica.info_i64("slave_repl_offset");
    wait_for("two PINGs", || replica.info_i64("slave_repl_offset") >= before + 28);
    let decided = traced(&master, "decision").len();
    assert_eq!(master.cmd(&["CLIENT", "KILL", "TYPE", "replica"]).int(), 1);
    wait_for("a decision", || traced(&master, "decision").len() > decided);
    let decision = &traced(&master, "decision")[decided];
    assert_eq!(decision["event"], "partial", "the replica is ahead of the master: {decision}");
    replica.wait_for_link();
}

/// What waits in the stream for a replica counts against its limit, though it is stored once for
/// all of them. One that does not read is let go, and the trace says why.
#[test]
fn a_replica_that_does_not_read_is_let_go() {
    let limit = ["--client-output-buffer-limit", "replica", "8mb", "0", "0"];
    let master = TestServer::start(&[&limit[..], &["--trace-file", "trace"]].concat());
    let replica = TestServer::start(&[]).replica_of(&master);
    replica.signal("STOP");
    // The sockets of both sides take some of it.
    let value = vec![b'x'; 1 << 20];
    let sent = (1..=40).find(|_| {
        master.cmd(&[b"SET", b"k".as_slice(), &value]);
        master.info("connected_slaves") == "0"
    });
    assert!(sent.is_some(), "40 MB wait for a replica whose limit is 8 MB");
    let closed = traced(&master, "link_closed");
    assert_eq!(closed[0]["reason"], "the output buffer limit of replicas", "{}", closed[0]);
    replica.signal("CONT");
}

/// The prescription works: with the size that the history names, the same absence costs a partial
/// resync.
#[test]
fn the_size_that_would_have_done() {
    let quiet = ["--repl-ping-replica-period", "3600", "--repl-timeout", "3600"];
    let master = TestServer::start(&[&quiet[..], &["--repl-backlog-size", "16kb"]].concat());
    assert!(doctor(&master).starts_with("Hi Sam, nobody has synchronized"));
    assert_eq!(history(&master).len(), 0);
    assert_eq!(master.info("repl_backlog_seconds"), "-1");
    let replica = TestServer::start(&quiet).replica_of(&master);
    let first = &history(&master)[0];
    assert_eq!([field(first, "event"), field(first, "state")], ["full", "done"]);
    assert_eq!(field(first, "reason"), "the replica had no history to go on from");
    assert!(field(first, "bytes").parse::<i64>().unwrap() > 0);
    assert!(doctor(&master).starts_with("Hi Sam, I have examined the last 0 partial and 1 full"));

    let absence = || {
        replica.signal("STOP");
        assert_eq!(master.cmd(&["CLIENT", "KILL", "TYPE", "replica"]).int(), 1);
        let value = vec![b'x'; 1000];
        let mut m = master.conn();
        for i in 0..100 {
            m.cmd(&[b"SET", format!("k{}", i % 10).as_bytes(), &value]);
        }
        replica.signal("CONT");
        wait_for("the replica", || master.info("connected_slaves") == "1");
        replica.wait_for_link();
        assert_same_data(&master, &replica);
    };
    absence();
    // The first attempt, by the replica's own id, counts as well.
    assert_eq!(master.info("sync_partial_err"), "2");
    wait_for("the end of the sync", || field(&history(&master)[0], "state") == "done");
    let full = &history(&master)[0];
    assert_eq!(field(full, "reason"), "the backlog does not reach back so far");
    assert!(field(full, "missed-bytes").parse::<i64>().unwrap() > 80_000);
    assert!(field(full, "outage-seconds").parse::<i64>().unwrap() >= 0);
    assert!(field(full, "duration-ms").parse::<i64>().unwrap() >= 0);
    let remedy = field(full, "remedy");
    let size = remedy.strip_prefix("repl-backlog-size >= ").unwrap();
    let (size, rest) = size.split_once(' ').unwrap();
    assert!(
        rest.starts_with("at the present write rate covers the ") && rest.ends_with(" s outage"),
        "{rest}"
    );
    assert!(master.log().contains(&remedy), "the arithmetic is in the log");
    assert!(doctor(&master).contains("* Lack of backlog: 1 of the last 2 full resyncs"));
    assert!(doctor(&master).contains(&remedy));

    master.cmd(&["CONFIG", "SET", "repl-backlog-size", size]);
    absence();
    assert_eq!(master.info("sync_partial_err"), "2");
    assert_eq!(master.info("sync_partial_ok"), "1");
    let partial = &history(&master)[0];
    assert_eq!([field(partial, "event"), field(partial, "side")], ["partial", "master"]);
    assert!(field(partial, "bytes").parse::<i64>().unwrap() > 100_000);
    // The other side has seen the same.
    let seen: Vec<[String; 2]> =
        history(&replica).iter().map(|e| [field(e, "side"), field(e, "event")]).collect();
    assert_eq!(seen, [["replica", "partial"], ["replica", "full"], ["replica", "full"]]);
    wait_for("a rate", || master.info_i64("repl_backlog_seconds") >= 0);
}

/// Silence on the link is noted, with the timeout that would have kept it.
#[test]
fn silence_is_noted() {
    let master = TestServer::start(&["--repl-timeout", "1"]);
    let _replica = Recorder::attach(master.port);
    let is_closed = |e: &Reply| field(e, "event") == "closed";
    wait_for("the timeout", || history(&master).iter().any(is_closed));
    let closed = history(&master).into_iter().find(is_closed).unwrap();
    assert_eq!(field(&closed, "reason"), "silence for longer than repl-timeout");
    assert!(field(&closed, "remedy").starts_with("repl-timeout > "));
    assert!(doctor(&master).contains("* Silence: 1 links were given up"));
}

/// The master freed its backlog, or was started without its history: the replica that comes back is
/// told so.
#[test]
fn histories_that_are_lost() {
    let mut master = TestServer::start(&["--repl-backlog-ttl", "1"]);
    let replica = TestServer::start(&[]).replica_of(&master);
    master.cmd(&["SET", "k", "v"]);
    wait_for_offset(&master, &replica);
    replica.signal("STOP");
    assert_eq!(master.cmd(&["CLIENT", "KILL", "TYPE", "replica"]).int(), 1);
    master.wait_for_log("Replication backlog freed");
    replica.signal("CONT");
    wait_for("the replica", || master.info("connected_slaves") == "1");
    replica.wait_for_link();
    assert!(master.log().contains("repl-backlog-ttl 0, or a larger one, keeps it"));
    assert!(doctor(&master).contains("* Lost histories: 1 replicas"));

    master.cmd(&["SET", "k", "v2"]);
    wait_for_offset(&master, &replica);
    master.kill();
    let _ = std::fs::remove_file(master.dir.path("dump.rdb"));
    master.start_again();
    wait_for("the replica", || master.info("connected_slaves") == "1");
    replica.wait_for_link();
    assert!(doctor(&master).contains("SHUTDOWN SAVE"));
}

/// Without a backlog the offset does not tell of writes. So a master that freed its backlog may not
/// ask for a partial resync by its old id: the new master would take it for one that has just its
/// data.
#[test]
fn a_master_without_a_backlog_has_no_history() {
    let old = TestServer::start(&["--repl-backlog-ttl", "1"]);
    let new = TestServer::start(&[]).replica_of(&old);
    old.cmd(&["SET", "k", "v"]);
    wait_for_offset(&old, &new);
    new.cmd(&["REPLICAOF", "NO", "ONE"]);
    old.wait_for_log("Replication backlog freed");
    old.cmd(&["SET", "only here", "v"]);
    old.replicaof_port(new.port);
    old.wait_for_link();
    assert_same_data(&new, &old);
    assert_eq!(new.cmd(&["DBSIZE"]).int(), 1);
}

/// The forms of the command.
#[test]
fn replication_subcommands() {
    let server = TestServer::start(&[]);
    let help = server.cmd(&["replication", "help"]);
    assert!(help.array()[0].text().starts_with("REPLICATION <subcommand>"));
    let unknown = server.cmd(&["REPLICATION", "nurse"]).text();
    assert_eq!(
        unknown,
        "-ERR Unknown subcommand or wrong number of arguments for 'nurse'. Try REPLICATION HELP."
    );
    assert!(server.cmd(&["REPLICATION", "HISTORY", "-1"]).is_error());
    assert!(server.cmd(&["REPLICATION"]).text().contains("wrong number of arguments"));
    let replica = TestServer::start(&[]).replica_of(&server);
    assert_eq!(server.cmd(&["REPLICATION", "HISTORY", "5"]).array().len(), 1);
    assert_eq!(server.cmd(&["REPLICATION", "HISTORY", "0"]).array().len(), 0);
    assert_eq!(replica.cmd(&["REPLICATION", "HISTORY", "1"]).array().len(), 1);
    let mut c = server.conn();
    c.cmd(&["HELLO", "3"]);
    assert!(!c.cmd(&["REPLICATION", "DOCTOR"]).is_error());
    assert_eq!(c.cmd(&["REPLICATION", "HISTORY"]).array().len(), 1);
}

/// The guard, in every mode: an empty master of an unknown history is refused, and taken when
/// REPLICAOF is given again. (Without the guard the key is gone.)
#[test]
fn an_empty_master_is_refused() {
    for (diskless, load) in
        [("no", "disabled"), ("yes", "disabled"), ("no", "swapdb"), ("yes", "swapdb")]
    {
        let mut master = TestServer::start(&[
            "--repl-diskless-sync",
            diskless,
            "--repl-diskless-sync-delay",
            "0",
        ]);
        master.cmd(&["SET", "k", "v"]);
        let guard = ["--replica-empty-master-guard", "yes", "--repl-diskless-load", load];
        let replica = TestServer::start(&guard).replica_of(&master);
        master.kill();
        let _ = std::fs::remove_file(master.dir.path("dump.rdb"));
        master.start_again();
        assert_eq!(master.cmd(&["DBSIZE"]).int(), 0);
        replica.wait_for_log("The MASTER has no keys, and its history");
        assert_eq!(replica.cmd(&["GET", "k"]).text(), "v");
        assert_eq!(replica.info("master_link_status"), "down");
        assert_eq!(replica.info("master_refused_as_empty"), "1");
        assert!(doctor(&replica).contains("* An empty master: "));
        replica.cmd(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
        assert!(replica.cmd(&["GET", "k"]).text().starts_with("-MASTERDOWN"));

        replica.replicaof_port(master.port);
        replica.wait_for_link();
        assert_eq!(replica.cmd(&["DBSIZE"]).int(), 0, "{diskless} {load}");
        assert_eq!(replica.info("master_refused_as_empty"), "");
        master.cmd(&["SET", "new", "v"]);
        assert_same_data(&master, &replica);
    }
}

/// The guard lets pass what loses nothing: a replica without keys, and a master of the known
/// history that was emptied.
#[test]
fn an_empty_master_of_our_history_is_taken() {
    let master = TestServer::start(&["--repl-backlog-size", "16kb"]);
    let guard = ["--replica-empty-master-guard", "yes"];
    let replica = TestServer::start(&guard).replica_of(&master);
    master.cmd(&["SET", "k", "v"]);
    wait_for_offset(&master, &replica);
    replica.signal("STOP");
    assert_eq!(master.cmd(&["CLIENT", "KILL", "TYPE", "replica"]).int(), 1);
    master.cmd(&[b"SET".to_vec(), b"long".to_vec(), vec![b'x'; 100_000]]);
    master.cmd(&["FLUSHALL"]);
    replica.signal("CONT");
    wait_for("a full resync", || master.info("sync_full") == "2");
    replica.wait_for_link();
    assert_same_data(&master, &replica);
    assert_eq!(replica.cmd(&["DBSIZE"]).int(), 0);
}

/// A replica that has refused its master still knows where it was: another one that is promoted
/// continues with it partially.
#[test]
fn the_guard_keeps_the_history() {
    let mut master = TestServer::start(&["--repl-backlog-size", "1mb"]);
    let guard = ["--replica-empty-master-guard", "yes"];
    let [one, two] = [(); 2].map(|()| TestServer::start(&guard).replica_of(&master));
    let mut m = master.conn();
    m.cmd(&["SELECT", "5"]);
    m.cmd(&["SET", "k", "v"]);
    for replica in [&one, &two] {
        wait_for_offset(&master, replica);
    }
    master.kill();
    let _ = std::fs::remove_file(master.dir.path("dump.rdb"));
    master.start_again();
    for replica in [&one, &two] {
        replica.wait_for_log("The MASTER has no keys, and its history");
    }
    two.cmd(&["REPLICAOF", "NO", "ONE"]);
    // Its first replica makes the backlog, from which the other one can go on later.
    let third = TestServer::start(&[]).replica_of(&two);
    one.replicaof_port(two.port);
    one.wait_for_link();
    two.cmd(&["SET", "after", "v"]);
    assert_same_data(&two, &one);
    assert_same_data(&two, &third);
    assert_eq!(one.cmd(&["DBSIZE"]).int(), 1);
}

/// A master with the directory for lost writes, and its replica that has acknowledged one write in
/// db 3 and is promoted.
fn split(args: &[&str]) -> (TestServer, TestServer) {
    let old = TestServer::start(&[&["--repl-lost-writes-dir", "lost"], args].concat());
    let new = TestServer::start(&[]).replica_of(&old);
    let mut c = old.conn();
    c.cmd(&["SELECT", "3"]);
    c.cmd(&["SET", "shared", "1"]);
    assert_eq!(c.cmd(&["WAIT", "1", "0"]).int(), 1);
    new.cmd(&["REPLICAOF", "NO", "ONE"]);
    new.cmd(&["SET", "new", "1"]);
    wait_for("the end of the link", || old.info("connected_slaves") == "0");
    (old, new)
}

/// The files of lost writes: their names, and what is in them.
fn lost_files(server: &TestServer) -> Vec<(String, std::path::PathBuf)> {
    let Ok(files) = std::fs::read_dir(server.dir.path("lost")) else { return Vec::new() };
    files.map(|f| f.unwrap()).map(|f| (f.file_name().into_string().unwrap(), f.path())).collect()
}

/// Feeds a file to a server by redis-cli --pipe. The number of replies; there must be no error.
#[track_caller]
fn pipe(file: &std::path::Path, to: &TestServer) -> String {
    let out = std::process::Command::new("redis-cli")
        .args(["-p", &to.port.to_string(), "--pipe"])
        .stdin(std::fs::File::open(file).unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(said.contains("errors: 0"), "{said}");
    said
}

/// What the new master never had is saved before it is thrown away, in the right dbs, and can be fed
/// to the new master.
#[test]
fn lost_writes_are_saved() {
    let (old, new) = split(&[]);
    std::fs::create_dir(old.dir.path("lost")).unwrap();
    let (before, id) = (old.info_i64("master_repl_offset"), old.info("master_replid"));
    let mut c = old.conn();
    for (db, key) in [("3", "a"), ("0", "b"), ("12", "c")] {
        c.cmd(&["SELECT", db]);
        c.cmd(&["SET", key, "lost"]);
    }
    for word in ["MULTI", "INCR n", "INCR n", "EXEC"] {
        c.cmd(&word.split(' ').collect::<Vec<_>>());
    }
    let last = old.info_i64("master_repl_offset");
    old.replicaof_port(new.port);
    old.wait_for_link();
    assert_same_data(&new, &old);
    assert_eq!(old.cmd(&["EXISTS", "b"]).int(), 0, "it is thrown away");

    let files = lost_files(&old);
    assert_eq!(files.len(), 1);
    let name = &files[0].0;
    let offsets = name.strip_prefix(&format!("lost-writes-{id}-")).expect(name);
    let (from, to) = offsets.strip_suffix(".aof").expect(name).split_once('-').expect(name);
    // What asks for acknowledgements may come in between.
    let from: i64 = from.parse().expect(name);
    assert!((1..=before + 1).contains(&from) && to == last.to_string(), "{name}");
    assert_eq!(old.info("lost_writes_file"), format!("lost/{name}"));
    let text = std::fs::read(&files[0].1).unwrap();
    assert!(text.starts_with(b"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"), "{}", text.escape_ascii());
    pipe(&files[0].1, &new);
    let mut c = new.conn();
    for (db, key) in [("3", "a"), ("0", "b"), ("12", "c")] {
        c.cmd(&["SELECT", db]);
        assert_eq!(c.cmd(&["GET", key]).text(), "lost", "db {db}");
    }
    assert_eq!(c.cmd(&["GET", "n"]).text(), "2");
    assert_same_data(&new, &old);
}

/// If they can't be saved they are not thrown away: the log and INFO say why, and when there is a
/// folder, the synchronization goes on.
#[test]
fn lost_writes_that_can_not_be_saved_are_kept() {
    let (old, new) = split(&["--repl-backoff-max", "1"]);
    assert_eq!(
        old.log_count("WARNING: repl-lost-writes-dir 'lost' can't be written to: No such file"),
        1
    );
    let refused = old.cmd(&["CONFIG", "SET", "repl-lost-writes-dir", "nowhere"]).text();
    assert!(
        refused.contains("The folder for lost writes can't be written to: No such file"),
        "{refused}"
    );
    assert_eq!(old.cmd(&["CONFIG", "GET", "repl-lost-writes-dir"]).array()[1].text(), "lost");
    old.cmd(&["SET", "b", "lost"]);
    old.replicaof_port(new.port);
    wait_for("attempts", || old.info_i64("master_link_failures") >= 2);
    assert!(old.info("master_link_failure_reason").contains("the lost writes could not be saved"));
    old.wait_for_log("writes that the MASTER lacks can't be saved to lost/lost-writes-");
    assert_eq!(old.cmd(&["GET", "b"]).text(), "lost");
    assert_eq!(old.info("master_link_status"), "down");

    std::fs::create_dir(old.dir.path("lost")).unwrap();
    old.wait_for_link();
    assert_same_data(&new, &old);
    pipe(&lost_files(&old)[0].1, &new);
    assert_eq!(new.cmd(&["GET", "b"]).text(), "lost");
}

/// Where the backlog does not reach back to the first lost write, the file begins with the first
/// whole command that is there, and the log says how much is missing.
#[test]
fn lost_writes_beyond_the_backlog() {
    let (old, new) = split(&["--repl-backlog-size", "16kb"]);
    std::fs::create_dir(old.dir.path("lost")).unwrap();
    let mut c = old.conn();
    for i in 0..100 {
        c.cmd(&["SET", &format!("k{i}"), &"*1\r\n$4\r\nPING\r\n".repeat(60)]);
    }
    old.replicaof_port(new.port);
    old.wait_for_link();
    old.wait_for_log("can't be saved: the backlog does not reach back so far");
    let files = lost_files(&old);
    assert_eq!(files.len(), 1);
    pipe(&files[0].1, &new);
    assert_eq!(new.cmd(&["EXISTS", "k99", "k0"]).int(), 1);
    let kept = new.cmd(&["DBSIZE"]).int();
    assert!((10..20).contains(&kept), "{kept} keys");
}

/// Where nothing is lost there is no file.
#[test]
fn no_lost_writes_no_file() {
    let old = TestServer::start(&["--repl-lost-writes-dir", "."]);
    let new = TestServer::start(&[]).replica_of(&old);
    let mut c = old.conn();
    c.cmd(&["SET", "k", "v"]);
    assert_eq!(c.cmd(&["WAIT", "1", "0"]).int(), 1);
    assert_eq!(old.cmd(&["FAILOVER"]).text(), "OK");
    old.wait_for_link();
    assert_same_data(&new, &old);
    let files = std::fs::read_dir(&old.dir.0).unwrap().map(|f| f.unwrap().file_name());
    let files: Vec<_> = files.filter(|f| f.to_string_lossy().contains("lost")).collect();
    assert!(files.is_empty(), "{files:?}");
    assert_eq!(old.info("lost_writes_file"), "");
}
