//! Master and replica of ours: full and partial resynchronisation, promotion, chains, restarts, and
//! a master that misbehaves.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use support::*;

/// A replica that joins under a write load, with redis-benchmark as a second writer, ends up equal.
#[test]
fn full_sync_under_load() {
    let master = TestServer::start(&["--repl-backlog-size", "10mb"]);
    let load = WriteLoad::start(master.port);
    wait_for("some writes", || load.writes() > 2000);
    let replica = TestServer::start(&[]).replica_of(&master);
    let port = master.port.to_string();
    tool(
        "redis-benchmark",
        &["-p", &port, "-t", "set,incr", "-n", "20000", "-r", "5000", "-P", "8", "-q"],
    );
    load.stop();
    assert_same_data(&master, &replica);
    assert_eq!(master.info("sync_full"), "1");
    assert_eq!(master.info("connected_slaves"), "1");
    assert_eq!(replica.info("role"), "slave");
    assert!(replica.cmd(&["SET", "a", "b"]).text().starts_with("-READONLY"));
}

/// Several replicas that ask at once share one save; one that comes while it runs joins it.
#[test]
fn replicas_share_a_save() {
    let master = TestServer::start(&["--rdb-key-save-delay", "1000"]);
    master.cmd(&["DEBUG", "POPULATE", "3000"]);
    let replicas: Vec<TestServer> = (0..3).map(|_| TestServer::start(&[])).collect();
    // The child of the first stands still until all have asked. On a busy machine it may be done
    // before it is told to.
    let started = "Background saving started by pid ";
    let mut child = String::new();
    wait_for("a save that stands still", || {
        let before = master.log_count(started);
        replicas[0].cmd(&["REPLICAOF", "NO", "ONE"]);
        replicas[0].replicaof_port(master.port);
        wait_for("a save", || master.log_count(started) > before);
        let log = master.log();
        child = log.rsplit_once(started).unwrap().1.lines().next().unwrap().to_string();
        let state = || {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
        };
        try_signal("STOP", &child);
        wait_for("it to stop, or to end", || !matches!(state(), Some('R' | 'S' | 'D')));
        state() == Some('T')
    });
    let (saves, syncs) = (master.log_count(started), master.info_i64("sync_full"));
    replicas[1].replicaof_port(master.port);
    replicas[2].replicaof_port(master.port);
    wait_for("all three to ask", || {
        (0..3).all(|i| master.info(&format!("slave{i}")).contains("state=wait_bgsave"))
    });
    signal("CONT", &child);
    for r in &replicas {
        r.wait_for_link();
        assert_same_data(&master, r);
    }
    assert_eq!(master.log_count(started), saves, "three replicas, one save");
    assert_eq!(master.info_i64("sync_full"), syncs + 2);
}

/// A link that is cut asks for what it missed, and gets just that.
#[test]
fn cut_link_is_continued_from_the_backlog() {
    let master = TestServer::start(&LONG_BACKLOG);
    let replica = TestServer::start(&[]).replica_of(&master);
    let load = WriteLoad::start(master.port);
    for round in 1..=3 {
        let before = load.writes();
        wait_for("some writes", || load.writes() > before + 200);
        assert_eq!(master.cmd(&["CLIENT", "KILL", "TYPE", "replica"]).int(), 1);
        wait_for("the replica to ask again", || master.info_i64("sync_partial_ok") == round);
        replica.wait_for_link();
    }
    load.stop();
    assert_same_data(&master, &replica);
    assert_eq!(master.info("sync_full"), "1", "only the first sync was full");
}

/// When the backlog no longer reaches back far enough, the sync is full again, and counted as a
/// refused partial one.
#[test]
fn too_small_a_backlog_means_a_full_sync() {
    let master = TestServer::start(&["--repl-backlog-size", "16kb"]);
    let replica = TestServer::start(&[]).replica_of(&master);
    // A server that becomes a replica asks to go on in its own history, which the master does not
    // know.
    assert_eq!(master.info("sync_partial_err"), "1");
    // It stands still while it is cut off and misses too much.
    replica.signal("STOP");
    assert_eq!(master.cmd(&["CLIENT", "KILL", "TYPE", "replica"]).int(), 1);
    let mut c = master.conn();
    for i in 0..200 {
        c.cmd(&["SET".to_string(), format!("k{i}"), "x".repeat(1000)]);
    }
    replica.signal("CONT");
    wait_for("a second full sync", || master.info("sync_full") == "2");
    replica.wait_for_link();
    assert_same_data(&master, &replica);
    assert_eq!(master.info("sync_partial_err"), "2");
}

/// A link cut at each byte of the handshake and of the transfer is tried again, and nothing is
/// lost.
#[test]
fn handshake_cut_at_every_byte() {
    let master = TestServer::start(&[]);
    master.cmd(&["SET", "key", "value"]);
    let proxy = Proxy::start(master.port);
    // Handshake, +FULLRESYNC, the bulk's header and the RDB: about 400 bytes. Every byte of the
    // handshake, then steps.
    for limit in (0..80).chain((80..420).step_by(17)) {
        proxy.limit.store(limit, std::sync::atomic::Ordering::Relaxed);
        let replica = TestServer::start(&[]);
        let before = proxy.connections.load(std::sync::atomic::Ordering::Relaxed);
        replica.replicaof_port(proxy.port);
        wait_for("an attempt", || {
            proxy.connections.load(std::sync::atomic::Ordering::Relaxed) > before
        });
        proxy.limit.store(u64::MAX, std::sync::atomic::Ordering::Relaxed);
        replica.wait_for_link();
        assert_eq!(replica.cmd(&["GET", "key"]).text(), "value", "after a cut at byte {limit}");
    }
}

/// A replica that is promoted is followed by its sibling and by its old master, partially (PSYNC2).
#[test]
fn promotion_keeps_the_history() {
    // Without pings, which might reach but one of them before the promotion.
    let quiet = ["--repl-ping-replica-period", "3600", "--repl-timeout", "3600"];
    let a = TestServer::start(&quiet);
    let b = TestServer::start(&quiet).replica_of(&a);
    let c = TestServer::start(&quiet).replica_of(&a);
    a.cmd(&["SET", "x", "1"]);
    wait_for_offset(&a, &b);
    wait_for_offset(&a, &c);
    let old_id = a.info("master_replid");

    assert_eq!(b.cmd(&["REPLICAOF", "NO", "ONE"]).text(), "OK");
    assert_eq!(b.info("master_replid2"), old_id);
    assert_ne!(b.info("master_replid"), old_id);
    b.cmd(&["SET", "x", "2"]);
    c.replicaof_port(b.port);
    a.replicaof_port(b.port);
    for s in [&a, &c] {
        s.wait_for_link();
        assert_same_data(&b, s);
        assert_eq!(s.info("master_replid"), b.info("master_replid"));
    }
    assert_eq!(b.info("sync_full"), "0", "both went on where they were");
    assert_eq!(b.info("sync_partial_ok"), "2");
}

/// In a chain of three the stream is passed on byte for byte, and a cut in the middle is healed
/// partially.
#[test]
fn chain_of_three() {
    let a = TestServer::start(&LONG_BACKLOG);
    let b = TestServer::start(&LONG_BACKLOG).replica_of(&a);
    let c = TestServer::start(&[]).replica_of(&b);
    let load = WriteLoad::start(a.port);
    wait_for("some writes", || load.writes() > 500);
    b.cmd(&["CLIENT", "KILL", "TYPE", "master"]);
    b.wait_for_link();
    wait_for("more writes", || load.writes() > 2000);
    load.stop();
    c.wait_for_link();
    assert_same_data(&a, &b);
    assert_same_data(&a, &c);
    assert_eq!(a.info("sync_full"), "1");
    assert_eq!(b.info("sync_full"), "1");
    wait_for_offset(&a, &c);
}

/// A chain of four under load, of which the second becomes the master, then the third: all go on where
/// they were, the old masters too, and the streams are the same byte for byte.
#[test]
fn chain_of_four() {
    // Without pings, which an old master might send to nobody but itself before the promotion.
    let quiet = ["--repl-ping-replica-period", "3600", "--repl-timeout", "3600"];
    let args = [&LONG_BACKLOG[..], &quiet].concat();
    let a = TestServer::start(&args);
    let b = TestServer::start(&args).replica_of(&a);
    let c = TestServer::start(&args).replica_of(&b);
    let d = TestServer::start(&args).replica_of(&c);
    let full = |s: &TestServer| s.info_i64("sync_full");
    for (old, new, others) in [(&a, &b, [&c, &d]), (&b, &c, [&d, &a])] {
        let load = WriteLoad::start(old.port);
        wait_for("some writes", || load.writes() > 1000);
        load.stop();
        // What the last one has all have.
        for s in [new, others[0], others[1]] {
            wait_for_offset(old, s);
        }
        assert_eq!(new.cmd(&["REPLICAOF", "NO", "ONE"]).text(), "OK");
        let load = WriteLoad::start(new.port);
        wait_for("writes to the new master", || load.writes() > 500);
        old.replicaof_port(new.port);
        old.wait_for_link();
        let before = load.writes();
        wait_for("more writes", || load.writes() > before + 500);
        load.stop();
        for s in [old, others[0], others[1]] {
            s.wait_for_link();
            assert_same_data(new, s);
            assert_eq!(s.info("master_replid"), new.info("master_replid"));
        }
    }
    assert_eq!(
        [&a, &b, &c, &d].map(full),
        [1, 1, 1, 0],
        "but for the first ones, all were partial"
    );
}

/// A replica that reloads its data by DEBUG serves its clients meanwhile, but takes what its master
/// sends only when it is done. Another reload has to wait for the end of the first.
#[test]
fn reload_of_a_replica_loses_nothing() {
    let master = TestServer::start(&[]);
    let mut c = master.conn();
    for i in 0..200 {
        c.cmd(&["SETRANGE", &format!("big:{i}"), "100000", "x"]);
    }
    // Events are processed each time 2 MB were loaded: ten times, in six seconds.
    let args = ["--appendonly", "yes", "--rdbcompression", "no"];
    let replica = TestServer::start(&args).replica_of(&master);
    for how in ["RELOAD", "LOADAOF"] {
        wait_for("the end of the rewrite", || replica.rewrites_nothing());
        replica.cmd(&["CONFIG", "SET", "key-load-delay", "30000"]);
        let mut reloading = replica.conn();
        reloading.send(&["DEBUG", how]);
        let mut other = replica.conn();
        wait_for("the load", || other.cmd(&["GET", "a"]).text().starts_with("-LOADING"));
        for _ in 0..50 {
            c.cmd(&["INCR", "n"]);
        }
        // Who is answered now comes behind what the master has sent.
        other.send(&["DEBUG", "RELOAD"]);
        other.send(&["DEBUG", "LOADAOF"]);
        assert!(other.reply().text().starts_with("-LOADING"));
        assert!(other.reply().text().starts_with("-LOADING"));
        assert_eq!(reloading.reply().text(), "OK");
        assert_same_data(&master, &replica);
    }
    assert_eq!(replica.cmd(&["GET", "n"]).text(), "100");
    assert_eq!(replica.log_count("is sending an error to its master"), 0);
}

/// A replica that is restarted goes on from the offset in its RDB file.
#[test]
fn restart_with_partial_resync() {
    let master = TestServer::start(&["--repl-backlog-size", "10mb"]);
    // Only a server that starts as a replica believes the offset in its file.
    let mut replica = TestServer::start(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    replica.wait_for_link();
    master.cmd(&["SET", "before", "1"]);
    wait_for_offset(&master, &replica);
    assert_eq!(replica.cmd(&["SAVE"]).text(), "OK");
    replica.kill();
    master.cmd(&["SET", "meanwhile", "1"]);
    replica.start_again();
    replica.wait_for_link();
    assert_same_data(&master, &replica);
    assert_eq!(master.info("sync_full"), "1");
    assert_eq!(master.info("sync_partial_ok"), "1");
}

/// AUTH: the right password, a wrong one, none.
#[test]
fn master_with_a_password() {
    let master = TestServer::start(&["--requirepass", "secret"]);
    let mut m = master.conn();
    assert_eq!(m.cmd(&["AUTH", "secret"]).text(), "OK");
    m.cmd(&["SET", "k", "v"]);

    let good = TestServer::start(&["--masterauth", "secret"]);
    good.replicaof_port(master.port);
    good.wait_for_link();
    assert_eq!(good.cmd(&["GET", "k"]).text(), "v");

    let wrong = TestServer::start(&["--masterauth", "wrong"]);
    wrong.replicaof_port(master.port);
    wrong.wait_for_log("Unable to AUTH to MASTER: -WRONGPASS");
    assert_eq!(wrong.info("master_link_status"), "down");

    let none = TestServer::start(&[]);
    none.replicaof_port(master.port);
    none.wait_for_log("MASTER aborted replication with an error: NOAUTH");
    // It recovers as soon as it is told the password.
    assert_eq!(none.cmd(&["CONFIG", "SET", "masterauth", "secret"]).text(), "OK");
    none.wait_for_link();
    assert_eq!(none.cmd(&["GET", "k"]).text(), "v");
}

/// A master that is down, then up; a replica says that it is stale, and can be told to refuse.
#[test]
fn master_down() {
    let mut master = TestServer::start(&[]);
    let replica = TestServer::start(&["--replica-serve-stale-data", "no"]).replica_of(&master);
    master.cmd(&["SET", "k", "v"]);
    wait_for_offset(&master, &replica);
    master.kill();
    wait_for("the link is down", || {
        replica.cmd(&["GET", "k"]).text()
            == "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
    });
    master.start_again();
    replica.wait_for_link();
    assert_eq!(replica.cmd(&["GET", "k"]).text(), "(nil)", "the master came back empty");
}

/// A replica that connects while its master loads waits until it is done.
#[test]
fn master_that_loads() {
    // Clients are served every 2 MB of the file, so it has to be larger than that.
    let mut master = TestServer::start(&["--rdbcompression", "no", "--key-load-delay", "200"]);
    master.cmd(&["DEBUG", "POPULATE", "15000", "key", "500"]);
    assert_eq!(master.cmd(&["SAVE"]).text(), "OK");
    let replica = TestServer::start(&[]);
    let refused = "LOADING Redis is loading the dataset in memory";
    wait_for("the replica to ask while the master loads", || {
        replica.cmd(&["REPLICAOF", "NO", "ONE"]);
        replica.replicaof_port(master.port);
        master.restart();
        replica.wait_for_link();
        assert_same_data(&master, &replica);
        replica.log().contains(refused)
    });
}

/// What a foreign master may answer that is no answer. The replica logs it, and goes on trying and
/// serving.
#[test]
fn garbage_from_the_master() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    // Answers a PING, and a PSYNC if there is an answer to it; then hangs up, as soon as the
    // replica has heard all of it.
    let play = |to_ping: &[u8], to_psync: Option<&[u8]>| {
        let mut link = None;
        wait_for("the replica", || {
            link = listener.accept().ok();
            link.is_some()
        });
        let (mut sock, _) = link.unwrap();
        sock.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut asked = Vec::new();
        let mut hear = |sock: &mut TcpStream, word: &[u8]| {
            while !asked.windows(word.len()).any(|w| w == word) {
                let mut chunk = [0; 1024];
                let n = incoming::read_some(sock, &mut chunk).unwrap();
                assert!(n > 0, "the replica hung up: {:?}", String::from_utf8_lossy(&asked));
                asked.extend_from_slice(&chunk[..n]);
            }
        };
        hear(&mut sock, b"PING\r\n");
        let _ = sock.write_all(to_ping);
        if let Some(answer) = to_psync {
            hear(&mut sock, b"psync2\r\n");
            sock.write_all(b"+OK\r\n+OK\r\n").unwrap();
            hear(&mut sock, b"PSYNC\r\n");
            let _ = sock.write_all(answer);
        }
        let _ = sock.shutdown(Shutdown::Write);
        let _ = sock.read_to_end(&mut Vec::new());
    };
    let mut replica = TestServer::start(&["--save", "900 1", "--repl-backoff-max", "0"]);
    replica.cmd(&["SET", "mine", "1"]);
    assert_eq!(replica.cmd(&["SAVE"]).text(), "OK");
    let own_file = std::fs::read(replica.dir.path("dump.rdb")).unwrap();
    let files = |replica: &TestServer| {
        let names = std::fs::read_dir(&replica.dir.0).unwrap();
        let mut names: Vec<_> = names.map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    replica.replicaof_port(port);
    for answer in [&b""[..], b"\r\n", b"nonsense\r\n", b"-ERR no\r\n", b"*-1\r\n", &[0xff; 300]] {
        play(answer, None);
        assert!(replica.is_alive(), "after {answer:?}");
        assert_eq!(replica.cmd(&["PING"]).text(), "PONG", "after {answer:?}");
    }
    let resync = b"+FULLRESYNC 0123456789012345678901234567890123456789 1\r\n";
    for answer in [
        b"+FULLRESYNC\r\n".to_vec(),
        b"+FULLRESYNC x y\r\n$10\r\n0123456789".to_vec(),
        [&resync[..], b"$-5\r\n"].concat(),
        [&resync[..], b"$99999999999999999999\r\n"].concat(),
        [&resync[..], b"$9\r\nREDIS00"].concat(),
        [&resync[..], b"$EOF:short\r\n"].concat(),
        b"+CONTINUE\r\n*3\r\n$3\r\nSET\r\n".to_vec(),
        b"*-1\r\n".to_vec(),
        vec![0xff; 300],
    ] {
        let shown = String::from_utf8_lossy(&answer).into_owned();
        play(b"+PONG\r\n", Some(&answer));
        assert!(replica.is_alive(), "after {shown:?}");
        assert_eq!(replica.cmd(&["PING"]).text(), "PONG", "after {shown:?}");
    }
    // One that is no RDB, or of a version that nobody knows, costs the replica nothing.
    for (file, why) in [
        (&b"$18\r\nRADIS0009\xff00000000"[..], "Wrong signature trying to load DB from file"),
        (b"$18\r\nREDIS0099\xff00000000", "Can't handle RDB format version 99"),
    ] {
        play(b"+PONG\r\n", Some(&[&resync[..], file].concat()));
        replica.wait_for_log(why);
        assert_eq!(replica.cmd(&["GET", "mine"]).text(), "1");
    }
    // A file that arrives as announced and is damaged ends a replica, as it does in the C: its old
    // data are gone from memory. But its old file is there, and nothing else.
    for (file, why) in [
        (&b"$9\r\nREDIS0009"[..], "Unexpected EOF reading RDB file"),
        (b"$18\r\nREDIS0009\xff00000000garbage", "RDB CRC error"),
        (b"$18\r\nREDIS0009\xfe\x7f0000000garbage", "FATAL: Data file was created with"),
    ] {
        play(b"+PONG\r\n", Some(&[&resync[..], file].concat()));
        assert_eq!(replica.wait_exit(), 1);
        assert!(replica.log().contains(why), "no {why:?} in {}", replica.log());
        assert!(std::fs::read(replica.dir.path("dump.rdb")).unwrap() == own_file, "{why}");
        assert_eq!(files(&replica), ["dump.rdb", "log"]);
        replica.start_again();
        assert_eq!(replica.cmd(&["GET", "mine"]).text(), "1");
        replica.replicaof_port(port);
    }
}

/// A replica that is stopped while it loads what its master sent ends at once, and comes back with
/// the data that it had.
#[test]
fn stopped_while_it_loads_a_full_sync() {
    let master = TestServer::start(&["--rdbcompression", "no"]);
    master.cmd(&["DEBUG", "POPULATE", "20000", "key", "1000"]);
    for signal in ["TERM", "INT", "SHUTDOWN"] {
        let mut replica = TestServer::start(&["--save", "900 1"]);
        replica.cmd(&["SET", "mine", "1"]);
        assert_eq!(replica.cmd(&["SAVE"]).text(), "OK");
        let own_file = std::fs::read(replica.dir.path("dump.rdb")).unwrap();
        replica.cmd(&["CONFIG", "SET", "key-load-delay", "3000"]);
        replica.replicaof_port(master.port);
        wait_for("it loads", || replica.info("loading") == "1");
        if signal == "SHUTDOWN" {
            replica.conn().send(&["SHUTDOWN"]);
        } else {
            replica.signal(signal);
        }
        assert_eq!(replica.wait_exit(), 0);
        let log = replica.log();
        if signal != "SHUTDOWN" {
            let last = "Received shutdown signal during loading, exiting now.\n";
            assert!(log.ends_with(last), "{log}");
        }
        assert!(std::fs::read(replica.dir.path("dump.rdb")).unwrap() == own_file, "{signal}");
        let names = std::fs::read_dir(&replica.dir.0).unwrap();
        assert_eq!(names.count(), 2, "the file and the log");
        replica.start_again();
        assert_eq!(replica.cmd(&["GET", "mine"]).text(), "1");
        // It takes the file of its master when it has loaded it.
        if signal == "INT" {
            replica.replicaof_port(master.port);
            replica.wait_for_link();
            let file = std::fs::read(replica.dir.path("dump.rdb")).unwrap();
            assert!(file != own_file);
            replica.restart();
            wait_for("its own load", || replica.info("loading") == "0");
            assert_eq!(replica.cmd(&["DBSIZE"]).int(), 20000);
        }
    }
}

/// A replica stops following a master that went silent, and a master drops a replica that did.
#[test]
fn silence_on_either_side() {
    let master = TestServer::start(&["--repl-timeout", "2", "--repl-ping-replica-period", "1"]);
    let replica = TestServer::start(&["--repl-timeout", "2"]).replica_of(&master);
    replica.signal("STOP");
    master.wait_for_log("Disconnecting timedout replica (streaming sync)");
    replica.signal("CONT");
    // On a busy machine more than one attempt may be too slow for so short a time.
    wait_for("the replica is back", || {
        master.info_i64("sync_partial_ok") + master.info_i64("sync_full") >= 2
            && master.info("slave0").contains("state=online")
    });
    // There the link may have gone down before the master stood still.
    wait_for("the master's silence to be noticed", || {
        replica.wait_for_link();
        master.signal("STOP");
        wait_for("the end of the link", || replica.info("master_link_status") == "down");
        master.signal("CONT");
        replica.log().contains("MASTER timeout: no data nor PING received...")
    });
    for server in [&master, &replica] {
        assert_eq!(server.cmd(&["CONFIG", "SET", "repl-timeout", "600"]).text(), "OK");
    }
    replica.wait_for_link();
    master.cmd(&["SET", "k", "v"]);
    assert_same_data(&master, &replica);
}

/// Expired keys leave the replica by the master's DEL; until then it answers as if they were gone.
#[test]
fn expired_keys_are_deleted_by_the_master() {
    let master = TestServer::start(&[]);
    let replica = TestServer::start(&[]).replica_of(&master);
    master.cmd(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    master.cmd(&["SET", "k", "v", "PX", "50"]);
    wait_for_offset(&master, &replica);
    wait_for("the key is gone for readers", || replica.cmd(&["GET", "k"]).text() == "(nil)");
    assert_eq!(replica.cmd(&["DBSIZE"]).int(), 1, "but it is still there");
    assert_eq!(master.cmd(&["GET", "k"]).text(), "(nil)");
    wait_for_offset(&master, &replica);
    assert_eq!(replica.cmd(&["DBSIZE"]).int(), 0);
}

/// min-replicas-to-write: without good replicas there are no writes.
#[test]
fn min_replicas() {
    let master = TestServer::start(&[
        "--min-replicas-to-write",
        "1",
        "--min-replicas-max-lag",
        "2",
        "--repl-ping-replica-period",
        "1",
    ]);
    assert!(master.cmd(&["SET", "k", "v"]).text().starts_with("-NOREPLICAS"));
    let replica = TestServer::start(&[]).replica_of(&master);
    wait_for("a good replica", || master.cmd(&["SET", "k", "v"]).text() == "OK");
    wait_for("its count", || master.info("min_slaves_good_slaves") == "1");
    replica.signal("STOP");
    wait_for("no good replica", || {
        master.cmd(&["SET", "k", "v"]).text().starts_with("-NOREPLICAS")
    });
    replica.signal("CONT");
}

/// What the master and the replica tell about each other.
#[test]
fn role_and_info() {
    let master = TestServer::start(&[]);
    let replica = TestServer::start(&[
        "--replica-announce-ip",
        "10.1.2.3",
        "--replica-announce-port",
        "1234",
        "--replica-priority",
        "42",
    ])
    .replica_of(&master);
    wait_for_offset(&master, &replica);
    wait_for("an ACK", || {
        let line = master.info("slave0");
        line.contains("state=online") && (line.ends_with("lag=0") || line.ends_with("lag=1"))
    });
    let line = master.info("slave0");
    assert!(line.starts_with("ip=10.1.2.3,port=1234,state=online,offset="), "{line}");
    let role = master.cmd(&["ROLE"]);
    assert_eq!(role.array()[0].text(), "master");
    assert_eq!(role.array()[2].array()[0].array()[0].text(), "10.1.2.3");
    let role = replica.cmd(&["ROLE"]);
    assert_eq!(role.array()[0].text(), "slave");
    assert_eq!(role.array()[2].int(), i64::from(master.port));
    assert_eq!(role.array()[3].text(), "connected");
    assert_eq!(replica.info("slave_priority"), "42");
    assert_eq!(replica.info("slave_read_only"), "1");
}

/// A replica whose disk is full while it receives gives up, keeps its data, and tries again.
#[test]
fn disk_full_while_receiving() {
    let master = TestServer::start(&[]);
    master.cmd(&["DEBUG", "POPULATE", "20000", "key", "100"]);
    // The limit on file size stands for the full disk: a write beyond it fails (SIGXFSZ is ignored
    // in the subshell).
    let dir = Folder::new();
    let script = dir.path("limited");
    std::fs::write(
        &script,
        format!("#!/bin/bash\ntrap '' XFSZ\nulimit -f 100\nexec {OURS} \"$@\"\n"),
    )
    .unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut replica = TestServer::start_binary(&script, &[]);
    replica.cmd(&["SET", "mine", "1"]);
    replica.replicaof_port(master.port);
    replica.wait_for_log("Write error or short write writing to the DB dump file needed for MASTER <-> REPLICA synchronization");
    assert!(replica.is_alive());
    assert_eq!(replica.cmd(&["GET", "mine"]).text(), "1", "its data is still there");
    let files: Vec<_> =
        std::fs::read_dir(&replica.dir.0).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(
        files.iter().filter(|f| f.to_string_lossy().starts_with("temp")).count() <= 1,
        "{files:?}"
    );
}

/// The replica's output buffer limit: one that does not read is dropped, and the master's memory is
/// not.
#[test]
fn replica_output_buffer_limit() {
    let master = TestServer::start(&[
        "--client-output-buffer-limit",
        "replica",
        "1mb",
        "0",
        "0",
        "--repl-timeout",
        "60",
    ]);
    let replica = TestServer::start(&[]).replica_of(&master);
    replica.signal("STOP");
    let mut c = master.conn();
    let value = "x".repeat(100_000);
    let dropped = "scheduled to be closed ASAP for overcoming of output buffer limits.";
    // How much the kernel takes off the master differs from machine to machine.
    wait_for("the replica to be too much behind", || {
        for i in 0..50 {
            c.cmd(&["SET", &format!("k{}", i % 10), &value]);
        }
        master.log().contains(dropped)
    });
    wait_for("the replica is dropped", || master.info("connected_slaves") == "0");
    replica.signal("CONT");
    replica.wait_for_link();
    assert_same_data(&master, &replica);
}

/// A transaction arrives as one: the replica shows all of it or nothing, and SELECTs are right
/// after a cut.
#[test]
fn transactions_and_dbs() {
    let master = TestServer::start(&[]);
    let replica = TestServer::start(&[]).replica_of(&master);
    let mut c = master.conn();
    for round in 0..5 {
        c.cmd(&["SELECT", &(round % 3).to_string()]);
        c.cmd(&["MULTI"]);
        c.cmd(&["INCR", "a"]);
        c.cmd(&["INCR", "b"]);
        c.cmd(&["PEXPIRE", "b", "1000000"]);
        c.cmd(&["EXEC"]);
        assert_eq!(master.cmd(&["CLIENT", "KILL", "TYPE", "replica"]).int(), 1);
        wait_for("the replica to ask again", || master.info_i64("sync_partial_ok") == round + 1);
        replica.wait_for_link();
    }
    assert_same_data(&master, &replica);
    assert_eq!(master.info("sync_full"), "1");
}

/// DEBUG CHANGE-REPL-ID makes the next attempt a full resynchronisation.
#[test]
fn changed_id_means_full_sync() {
    let master = TestServer::start(&[]);
    let replica = TestServer::start(&[]).replica_of(&master);
    master.cmd(&["DEBUG", "CHANGE-REPL-ID"]);
    master.cmd(&["CLIENT", "KILL", "TYPE", "replica"]);
    wait_for("a full sync", || master.info("sync_full") == "2");
    replica.wait_for_link();
    assert_same_data(&master, &replica);
}

/// Each reason for which a PSYNC does not go on where the replica stopped has its line in the log,
/// and the replica gets a full resync.
#[test]
fn refused_psyncs_say_why() {
    let former_master = TestServer::start(&[]);
    let master = TestServer::start(&[]).replica_of(&former_master);
    former_master.cmd(&["SET", "k", "v"]);
    wait_for_offset(&former_master, &master);
    master.cmd(&["REPLICAOF", "NO", "ONE"]);
    let (own, second) = (master.info("master_replid"), master.info("master_replid2"));
    let beyond = master.info_i64("second_repl_offset") + 1;
    let other = "c".repeat(40);

    let reasons = [
        ("?", -1, "Full resync requested by replica".to_string()),
        (
            &other,
            1,
            format!(
                "Partial resynchronization not accepted: Replication ID mismatch (Replica asked for '{other}', my replication IDs are '{own}' and '{second}')"
            ),
        ),
        (
            &second,
            beyond,
            format!(
                "Partial resynchronization not accepted: Requested offset for second ID was {beyond}, but I can reply up to {}",
                beyond - 1
            ),
        ),
        (&own, 1_000_000, "for lack of backlog (Replica request was: 1000000).".to_string()),
        (
            &own,
            2_000_000,
            "tried to PSYNC with an offset that is greater than the master replication offset."
                .to_string(),
        ),
    ];
    for (replid, offset, line) in reasons {
        let mut replica = master.conn();
        replica.send(&["PSYNC", replid, &offset.to_string()]);
        let answer = replica.line().unwrap();
        assert!(answer.starts_with(b"+FULLRESYNC "), "{}", String::from_utf8_lossy(&answer));
        master.wait_for_log(&line);
    }
}

/// Replicas that are slow share what they were not sent: ten of them take little more memory than
/// one, and each has all of it in its output buffer. What comes in between has its place: a replica
/// that asks for something gets the answer behind the stream.
#[test]
fn slow_replicas_share_the_stream() {
    let limit = ["--client-output-buffer-limit", "replica", "0", "0", "0"];
    let quiet = ["--repl-ping-replica-period", "3600", "--repl-timeout", "3600"];
    let master = TestServer::start(&[&limit[..], &quiet].concat());
    let attach = || {
        let mut c = master.conn();
        c.send(&["PSYNC", "?", "-1"]);
        c
    };
    let mut replicas: Vec<Conn> = (0..10).map(|_| attach()).collect();
    wait_for("all to be online", || {
        (0..10).all(|i| master.info(&format!("slave{i}")).contains("state=online"))
    });
    let before = master.info_i64("used_memory");
    let value = vec![b'x'; 1 << 20];
    let mut m = master.conn();
    for _ in 0..40 {
        m.cmd(&[&b"SET"[..], b"k", &value]);
    }
    let used = master.info_i64("used_memory") - before;
    assert!((20 << 20..60 << 20).contains(&used), "{used} bytes for 40 MB to ten replicas");
    let shared = master.info_i64("mem_clients_slaves");
    assert!((20 << 20..60 << 20).contains(&shared), "{shared} bytes in mem_clients_slaves");
    assert!(master.info_i64("mem_not_counted_for_evict") > 20 << 20);
    let list = master.cmd(&["CLIENT", "LIST", "TYPE", "replica"]).text();
    let omem = list.lines().map(|line| {
        let omem = line.split_once(" omem=").unwrap().1;
        omem.split(' ').next().unwrap().parse::<i64>().unwrap()
    });
    assert!(omem.clone().all(|omem| omem > 20 << 20) && omem.count() == 10, "{list}");

    // One goes: nothing changes. All others get each byte.
    drop(replicas.pop());
    wait_for("one less", || master.info("connected_slaves") == "9");
    replicas[0].send(&["PING"]);
    wait_for("the PING", || {
        let list = master.cmd(&["CLIENT", "LIST", "TYPE", "replica"]).text();
        list.lines().any(|line| line.contains("cmd=ping"))
    });
    m.cmd(&["SET", "last", "1"]);
    for (i, c) in replicas.iter_mut().enumerate() {
        assert!(c.line().unwrap().starts_with(b"+FULLRESYNC"));
        // Newlines keep the link alive until the file is there.
        let header = loop {
            let line = String::from_utf8(c.line().unwrap()).unwrap();
            if let Some(len) = line.trim().strip_prefix('$') {
                break len.to_string();
            }
        };
        let len: usize = header.parse().expect(&header);
        c.take(len).unwrap();
        assert_eq!(c.reply().array()[0].text(), "SELECT");
        for _ in 0..40 {
            assert!(c.reply().array()[2].bytes() == value);
        }
        if i == 0 {
            assert_eq!(c.reply().text(), "PONG");
        }
        assert_eq!(c.reply().array()[1].text(), "last");
    }
    wait_for("the memory to be free", || master.info_i64("mem_clients_slaves") < 2 << 20);
}
