//! Diskless synchronization: the master streams the RDB to its replicas, without a file; a replica
//! loads the RDB from the socket, without a file.

#[path = "support/link.rs"]
mod link;
#[path = "support/random.rs"]
mod random;
mod support;
#[path = "support/traffic.rs"]
mod traffic;

use std::sync::atomic::Ordering::Relaxed;

use support::*;

const STARTED: &str = "Background RDB transfer started by pid ";
const WAITS_FOR_ACK: &str = "Waiting for REPLCONF ACK from slave to enable streaming";

/// A master that streams, at once, with this much of data that does not compress.
fn master(bytes: usize, args: &[&str]) -> TestServer {
    let mut all = vec!["--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"];
    all.extend(args);
    let master = TestServer::start(&all);
    let mut c = master.conn();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for i in 0..bytes / 10_000 {
        let value: Vec<u8> = (0..10_000)
            .map(|_| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random as u8
            })
            .collect();
        c.cmd(&[b"SET", format!("k{i}").as_bytes(), &value]);
    }
    master
}

/// Whether the master has a replica in this state.
fn has_replica(master: &TestServer, i: usize, state: &str) -> bool {
    master.info(&format!("slave{i}")).contains(&format!("state={state}"))
}

/// The id of the child that streams.
#[track_caller]
fn child(master: &TestServer) -> String {
    master.wait_for_log(STARTED);
    let log = master.log();
    log.rsplit_once(STARTED).unwrap().1.lines().next().unwrap().to_string()
}

/// All types and sizes arrive, what is written meanwhile too, and there is no file.
#[test]
fn streams_under_load() {
    let master = master(2_000_000, &["--repl-backlog-size", "10mb"]);
    let load = WriteLoad::start(master.port);
    wait_for("some writes", || load.writes() > 500);
    let replica = TestServer::start(&[]).replica_of(&master);
    let before = load.writes();
    wait_for("more writes", || load.writes() > before + 500);
    load.stop();
    assert_same_data(&master, &replica);
    assert!(master.log().contains("Starting BGSAVE for SYNC with target: replicas sockets"));
    assert!(master.log().contains("Background RDB transfer terminated with success"));
    assert!(!master.dir.path("dump.rdb").exists());
    assert_eq!(master.info("rdb_bgsave_in_progress"), "0");
    // A cut link goes on where it was, and its write handler is there from the start.
    assert_eq!(master.cmd(&["CLIENT", "KILL", "TYPE", "replica"]).int(), 1);
    wait_for("the replica to ask again", || master.info_i64("sync_partial_ok") == 1);
    replica.wait_for_link();
    master.cmd(&["SET", "after", "the cut"]);
    assert_same_data(&master, &replica);
}

/// Lets replicas ask a master that waits for more of them.
#[track_caller]
fn ask_all(master: &TestServer, replicas: &[TestServer]) {
    for (i, r) in replicas.iter().enumerate() {
        r.replicaof_port(master.port);
        wait_for("it to ask", || has_replica(master, i, "wait_bgsave"));
    }
}

/// Three replicas get one stream, one of them by a slow network. One stands still, and the others
/// wait for it; one is killed, and they go on. One that comes meanwhile gets the next.
#[test]
fn the_slowest_sets_the_pace() {
    let master =
        master(20_000_000, &["--repl-diskless-sync-delay", "3600", "--repl-timeout", "3600"]);
    let mut replicas: Vec<TestServer> =
        (0..3).map(|_| TestServer::start(&["--repl-timeout", "3600"])).collect();
    let network = Proxy::start(master.port);
    network.slow.store(true, Relaxed);
    for (i, port) in [network.port, master.port, master.port].into_iter().enumerate() {
        replicas[i].replicaof_port(port);
        wait_for("it to ask", || has_replica(&master, i, "wait_bgsave"));
    }
    // From here on it takes what the sockets hold, and no more.
    replicas[2].signal("STOP");
    master.cmd(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
    child(&master);
    let late = TestServer::start(&["--repl-timeout", "3600"]);
    late.replicaof_port(master.port);
    master.wait_for_log("Current BGSAVE has socket target. Waiting for next BGSAVE for SYNC");
    replicas[1].kill();
    wait_for("the killed one to be missed", || master.info("connected_slaves") == "3");
    assert_eq!(master.log_count("done reading from pipe"), 0);
    assert_eq!(replicas[0].info("master_sync_in_progress"), "1");

    replicas[2].signal("CONT");
    for r in [&replicas[0], &replicas[2], &late] {
        r.wait_for_link();
    }
    master.cmd(&["SET", "after", "it"]);
    for r in [&replicas[0], &replicas[2], &late] {
        assert_same_data(&master, r);
    }
    assert_eq!(master.log_count(STARTED), 2, "one for the three, and one for the late one");
    assert_eq!(master.log_count("done reading from pipe, 2 replicas still up"), 1);
}

/// A replica that takes nothing is cut off after `repl-timeout`, and the others go on.
#[test]
fn a_replica_that_takes_nothing_times_out() {
    let master =
        master(20_000_000, &["--repl-diskless-sync-delay", "3600", "--repl-timeout", "3600"]);
    let replicas = [(); 2].map(|()| TestServer::start(&["--repl-timeout", "3600"]));
    ask_all(&master, &replicas);
    let [stands, goes] = &replicas;
    stands.signal("STOP");
    master.cmd(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
    child(&master);
    master.cmd(&["CONFIG", "SET", "repl-timeout", "2"]);
    // On a busy machine it may happen to the other one, too, which then comes again.
    let name = format!("127.0.0.1:{}", stands.port);
    master.wait_for_log(&format!("Disconnecting timedout replica (full sync): {name}"));
    master.cmd(&["CONFIG", "SET", "repl-timeout", "3600"]);
    goes.wait_for_link();
    stands.signal("CONT");
    stands.wait_for_link();
    assert_same_data(&master, goes);
    assert_same_data(&master, stands);
}

/// The last replica goes: the child is killed. Nothing is left, and the next replica gets all.
#[test]
fn the_last_replica_goes() {
    let master = master(20_000_000, &["--repl-timeout", "3600"]);
    // The handshake of a replica, played by the test; it reads nothing.
    let mut c = master.conn();
    c.cmd(&["REPLCONF", "capa", "eof", "capa", "psync2"]);
    c.send(&["PSYNC", "?", "-1"]);
    child(&master);
    drop(c);
    master.wait_for_log("last replica dropped, killing fork child");
    wait_for("the child to be gone", || master.info("rdb_bgsave_in_progress") == "0");
    assert_eq!(master.info("connected_slaves"), "0");
    let replica = TestServer::start(&[]).replica_of(&master);
    assert_same_data(&master, &replica);
}

/// The child fails: the replicas are cut off, and come again.
#[test]
fn the_child_is_killed() {
    let master = master(3_000_000, &["--rdb-key-save-delay", "100000"]);
    let replica = TestServer::start(&[]);
    replica.replicaof_port(master.port);
    signal("KILL", &child(&master));
    master.wait_for_log("Background transfer terminated by signal 9");
    master.wait_for_log("SYNC failed. BGSAVE child returned an error");
    master.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
    // A save that fails is no reason to refuse writes: nothing was to be on the disk.
    assert_eq!(master.cmd(&["SET", "a", "b"]).text(), "OK");
    replica.wait_for_link();
    assert_same_data(&master, &replica);
}

/// A link that is cut anywhere in the payload leads to another synchronization, in every mode, and
/// the data are whole after it. With `FIDELIS_LONG` at every 1000th byte.
#[test]
fn cut_anywhere_in_the_payload() {
    let master = master(60_000, &[]);
    let mut c = master.conn();
    for line in traffic::making() {
        c.cmd(&line.split(' ').collect::<Vec<_>>());
    }
    let step = if random::long() { 1000 } else { 17_000 };
    let proxy = Proxy::start(master.port);
    for (sync, load) in [
        ("yes", "disabled"),
        ("yes", "on-empty-db"),
        ("yes", "swapdb"),
        ("no", "disabled"),
        ("no", "on-empty-db"),
        ("no", "swapdb"),
    ] {
        master.cmd(&["CONFIG", "SET", "repl-diskless-sync", sync]);
        let replica = TestServer::start(&["--repl-diskless-load", load]);
        // The answers of the handshake are about 100 bytes, the mark or the length included.
        let mut cut = 150;
        loop {
            // A history of its own, so that it can't go on with the master's.
            replica.cmd(&["REPLICAOF", "NO", "ONE"]);
            if load == "on-empty-db" {
                replica.cmd(&["FLUSHALL"]);
            }
            let before = proxy.connections.load(Relaxed);
            let syncs = master.info_i64("sync_full");
            proxy.cut_next(cut);
            replica.replicaof_port(proxy.port);
            // The link may seem to be up before a cut behind the payload.
            wait_for("it to get all", || {
                replica.info("master_link_status") == "up"
                    && replica.info("master_repl_offset") == master.info("master_repl_offset")
            });
            assert_same_data(&master, &replica);
            if proxy.connections.load(Relaxed) == before + 1 {
                break;
            }
            assert_eq!(master.info_i64("sync_full"), syncs + 2, "{sync}, {load}, cut at {cut}");
            cut += step;
        }
        assert!(cut > 60_000, "{sync}, {load}: the last cut was before byte {cut}");
        let no_file = load != "disabled";
        assert_eq!(replica.log_count("to parser") > 0, no_file);
        assert_eq!(replica.log_count("to disk") == 0, no_file);
    }
}

/// Nothing follows the mark before the replica has acknowledged it; then all that was written does.
#[test]
fn online_by_the_first_ack() {
    let master = master(100_000, &[]);
    let mut c = master.conn();
    c.cmd(&["REPLCONF", "capa", "eof"]);
    c.send(&["PSYNC", "?", "-1"]);
    assert!(c.line().unwrap().starts_with(b"+FULLRESYNC"));
    let mut header = c.line().unwrap();
    while header.trim_ascii().is_empty() {
        header = c.line().unwrap();
    }
    let mark = header.strip_prefix(b"$EOF:").expect("a mark").trim_ascii().to_vec();
    assert_eq!(mark.len(), 40);
    let mut payload = Vec::new();
    while !payload.ends_with(&mark) {
        payload.extend(c.take(1).unwrap());
    }
    assert!(payload.starts_with(b"REDIS0009"));
    master.wait_for_log(WAITS_FOR_ACK);
    assert!(has_replica(&master, 0, "online"));
    master.cmd(&["SET", "key", "value"]);
    c.sock.set_nonblocking(true).unwrap();
    let e = std::io::Read::read(&mut &c.sock, &mut [0]).unwrap_err();
    assert_eq!(e.kind(), std::io::ErrorKind::WouldBlock);
    c.sock.set_nonblocking(false).unwrap();
    c.send(&["REPLCONF", "ACK", "0"]);
    assert_eq!(c.reply().array()[0].text(), "SELECT");
    assert_eq!(c.reply().array()[1].text(), "key");

    // The payload is an RDB that loads: its checksum does not include the header.
    let dir = Folder::new();
    std::fs::write(dir.path("dump.rdb"), &payload[..payload.len() - 40]).unwrap();
    let loads = TestServer::start_in(dir, OURS, &[]);
    master.cmd(&["DEL", "key"]);
    assert_eq!(loads.digest(), master.digest());
}

/// Who does not know marks gets a file; so do both if one of two does not. Who comes within the
/// delay shares the stream.
#[test]
fn targets_and_delay() {
    let master = master(10_000, &["--repl-diskless-sync-delay", "3600"]);
    let old = link::Recorder::attach(master.port);
    assert_eq!(master.log_count("with target: disk"), 1);
    drop(old);
    let (a, b) = (TestServer::start(&[]), TestServer::start(&[]));
    a.replicaof_port(master.port);
    b.replicaof_port(master.port);
    wait_for("both to be told to wait", || {
        master.log_count("Delay next BGSAVE for diskless SYNC") == 2
    });
    assert_eq!(master.cmd(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]).text(), "OK");
    a.wait_for_link();
    b.wait_for_link();
    assert_eq!(master.log_count(STARTED), 1);
    assert_same_data(&master, &a);
    assert_same_data(&master, &b);
    // Switched off, it is a file again.
    assert_eq!(master.cmd(&["CONFIG", "SET", "repl-diskless-sync", "no"]).text(), "OK");
    let c = TestServer::start(&[]).replica_of(&master);
    assert_same_data(&master, &c);
    assert_eq!(master.log_count("with target: disk"), 2);
}

/// A replica loads straight from the socket, from both kinds of masters and in both modes, and
/// writes no file.
#[test]
fn loads_from_the_socket() {
    let master = master(1_000_000, &["--repl-backlog-size", "10mb"]);
    let load = WriteLoad::start(master.port);
    wait_for("some writes", || load.writes() > 500);
    for (diskless, mode) in
        [("yes", "on-empty-db"), ("yes", "swapdb"), ("no", "on-empty-db"), ("no", "swapdb")]
    {
        master.cmd(&["CONFIG", "SET", "repl-diskless-sync", diskless]);
        let replica = TestServer::start(&["--repl-diskless-load", mode]).replica_of(&master);
        assert_eq!(replica.log_count("from master to parser"), usize::from(diskless == "no"));
        assert_eq!(replica.log_count("with EOF to parser"), usize::from(diskless == "yes"));
        assert!(!replica.dir.path("dump.rdb").exists());
        let before = load.writes();
        wait_for("more writes", || load.writes() > before + 500);
    }
    load.stop();
    let last = TestServer::start(&["--repl-diskless-load", "swapdb"]);
    last.cmd(&["SET", "mine", "old"]);
    let last = last.replica_of(&master);
    assert_same_data(&master, &last);
    assert_eq!(last.cmd(&["EXISTS", "mine"]).int(), 0);
    // With data, `on-empty-db` is a file.
    last.cmd(&["CONFIG", "SET", "repl-diskless-load", "on-empty-db"]);
    last.cmd(&["REPLICAOF", "NO", "ONE"]);
    last.cmd(&["SET", "mine", "new"]);
    last.replicaof_port(master.port);
    last.wait_for_link();
    assert_eq!(last.log_count("from master to disk"), 1);
    assert_same_data(&master, &last);
}

/// A load that is cut leaves the old data with `swapdb`, and none otherwise; another attempt gets
/// all.
#[test]
fn a_load_that_is_cut() {
    let master = master(300_000, &[]);
    let proxy = Proxy::start(master.port);
    for (diskless, mode) in
        [("yes", "on-empty-db"), ("yes", "swapdb"), ("no", "on-empty-db"), ("no", "swapdb")]
    {
        master.cmd(&["CONFIG", "SET", "repl-diskless-sync", diskless]);
        for limit in (1_000..301_000).step_by(60_013) {
            let replica = TestServer::start(&["--repl-diskless-load", mode]);
            let kept = mode == "swapdb";
            if kept {
                replica.cmd(&["SET", "old", "value", "EX", "10000"]);
                replica.cmd(&["SADD", "set", "1", "2"]);
            }
            let old = replica.digest();
            proxy.limit.store(limit, Relaxed);
            replica.replicaof_port(proxy.port);
            let failed = "Failed trying to load the MASTER synchronization DB from socket";
            replica.wait_for_log(failed);
            // It tries again and again, and each time is the same.
            let log = replica.log();
            assert!(log.contains("assuming connection error, resuming operation."), "{log}");
            assert_eq!(replica.cmd(&["REPLICAOF", "NO", "ONE"]).text(), "OK");
            assert_eq!(replica.digest(), old, "{mode}, cut at {limit}");
            assert_eq!(replica.cmd(&["DBSIZE"]).int(), if kept { 2 } else { 0 });
            assert_eq!(replica.info("db0").contains("expires=1"), kept);
            proxy.limit.store(u64::MAX, Relaxed);
            replica.replicaof_port(proxy.port);
            replica.wait_for_link();
            assert_same_data(&master, &replica);
        }
    }
}

/// While it loads it says so, and answers; its master hears of it, however long it takes.
#[test]
fn answers_while_it_loads() {
    // Events are processed each time 2 MB were loaded.
    let master = master(10_000_000, &["--repl-timeout", "3600"]);
    let replica =
        TestServer::start(&["--repl-diskless-load", "swapdb", "--key-load-delay", "10000"]);
    replica.cmd(&["SET", "old", "value"]);
    replica.replicaof_port(master.port);
    wait_for("the load", || replica.info("loading") == "1");
    assert!(replica.cmd(&["GET", "old"]).text().starts_with("-LOADING"));
    assert_eq!(replica.info("master_link_status"), "down");
    replica.wait_for_link();
    assert_same_data(&master, &replica);
}

/// The mark at the end is another one: the replica starts over.
#[test]
fn a_broken_mark() {
    let fake = link::FakeMaster::start();
    let replica = TestServer::start(&["--repl-diskless-load", "swapdb"]);
    replica.replicaof_port(fake.port);
    let mut asking = fake.handshake().unwrap();
    let stream = |mark: &str, end: &str| {
        let mut stream = format!("+FULLRESYNC {} 0\r\n$EOF:{mark}\r\n", link::REPLID).into_bytes();
        stream.extend(link::EMPTY_RDB);
        stream.extend(end.as_bytes());
        stream
    };
    let mark = "0123456789abcdef0123456789abcdef01234567";
    let other = "x123456789abcdef0123456789abcdef01234567";
    asking.conn.raw(&stream(mark, other)).unwrap();
    replica.wait_for_log("Replication stream EOF marker is broken");
    let mut asking = fake.handshake().unwrap();
    asking.conn.raw(&stream(mark, mark)).unwrap();
    replica.wait_for_link();
}
