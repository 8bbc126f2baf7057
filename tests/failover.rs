//! FAILOVER: a master changes places with a replica, and no acknowledged write is lost.
#![allow(clippy::disallowed_methods)] // a writer runs beside the test

#[path = "support/ask.rs"]
mod ask;
#[path = "support/link.rs"]
mod link;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use ask::{Ask, next};
use link::{FakeMaster, Recorder};
use support::*;

/// Three servers, the first is the master of the others.
fn trio() -> [TestServer; 3] {
    let args = ["--repl-backlog-size", "10mb"];
    let a = TestServer::start(&args);
    let b = TestServer::start(&args).replica_of(&a);
    let c = TestServer::start(&args).replica_of(&a);
    [a, b, c]
}

#[track_caller]
fn wait_for_the_end(s: &TestServer) {
    wait_for("the end of the failover", || s.info("master_failover_state") == "no-failover");
}

/// What is refused, with which words.
#[test]
fn refusals() {
    let mut a = TestServer::start(&[]);
    assert_eq!(a.ask("FAILOVER ABORT"), "-ERR No failover in progress.");
    assert_eq!(a.ask("FAILOVER"), "-ERR FAILOVER requires connected replicas.");
    let mut b = TestServer::start(&[]).replica_of(&a);
    let port = b.port;
    for (line, reply) in [
        ("FAILOVER TO 127.0.0.1 1", "-ERR FAILOVER target HOST and PORT is not a replica."),
        ("FAILOVER TO 127.0.0.1 x", "-ERR value is not an integer or out of range"),
        ("FAILOVER TIMEOUT 0", "-ERR FAILOVER timeout must be greater than 0"),
        ("FAILOVER TIMEOUT x", "-ERR value is not an integer or out of range"),
        ("FAILOVER TIMEOUT 1 TIMEOUT 2", "-ERR syntax error"),
        ("FAILOVER TO 127.0.0.1", "-ERR syntax error"),
        ("FAILOVER ABORT TIMEOUT 1", "-ERR syntax error"),
        (
            "FAILOVER FORCE TIMEOUT 100",
            "-ERR FAILOVER with force option requires both a timeout and target HOST and IP.",
        ),
    ] {
        assert_eq!(a.ask(line), reply, "{line}");
    }
    assert_eq!(
        a.ask(&format!("FAILOVER TO 127.0.0.1 {port} FORCE")),
        "-ERR FAILOVER with force option requires both a timeout and target HOST and IP."
    );
    assert_eq!(b.ask("FAILOVER"), "-ERR FAILOVER is not valid when server is a replica.");
    assert_eq!(a.info("master_failover_state"), "no-failover");
}

/// Under writes of a client that follows the master: each that was acknowledged is there, and
/// nobody syncs anew.
#[test]
fn no_acknowledged_write_is_lost() {
    let [a, b, c] = trio();
    let stop = Arc::new(AtomicBool::new(false));
    let ports = [a.port, b.port];
    let (s, mut written) = (stop.clone(), 0);
    let writer = std::thread::spawn(move || {
        let mut at = 0;
        let mut conn = Conn::open(ports[at]);
        while !s.load(Relaxed) {
            match conn.cmd(&["RPUSH", "list", &written.to_string()]) {
                Reply::Int(_) => written += 1,
                // It was held back by the pause, and is refused after it.
                Reply::Error(e) if e.starts_with(b"READONLY") => {
                    at = 1 - at;
                    conn = Conn::open(ports[at]);
                }
                other => panic!("{other:?}"),
            }
        }
        written
    });
    wait_for("some writes", || a.cmd(&["LLEN", "list"]).int() > 500);
    let mut old = &a;
    let mut new = &b;
    for _ in 0..4 {
        let to = new.port.to_string();
        wait_for("the replica to be online", || {
            let reply = old.cmd(&["FAILOVER", "TO", "127.0.0.1", &to]).text();
            reply == "OK" || !panic_unless_not_online(&reply)
        });
        wait_for("the other role", || new.info("role") == "master");
        wait_for_the_end(old);
        old.wait_for_link();
        // A replica that misses a history has to sync in full.
        wait_for("the third one to know the new history", || {
            c.info("master_link_status") == "up"
                && c.info("master_replid") == new.info("master_replid")
        });
        let before = new.cmd(&["LLEN", "list"]).int();
        wait_for("writes at the new master", || new.cmd(&["LLEN", "list"]).int() > before);
        std::mem::swap(&mut old, &mut new);
    }
    stop.store(true, Relaxed);
    let written: i64 = writer.join().unwrap();
    // `old` is the master now: the roles have changed an even number of times.
    assert_eq!(old.port, a.port);
    assert_eq!(a.cmd(&["LLEN", "list"]).int(), written);
    assert_eq!(a.cmd(&["LINDEX", "list", "-1"]).text(), (written - 1).to_string());
    assert_same_data(&a, &b);
    assert_eq!((a.info("sync_full"), b.info("sync_full")), ("2".into(), "0".into()));
    // The third one has stayed with the first, whatever that was.
    c.wait_for_link();
    assert_same_data(&a, &c);
}

/// Clients that wait for one replica after each write, on a tree whose master changes again and again,
/// to a replica that is named and to any: what WAIT has confirmed is there at the end.
#[test]
fn what_wait_has_confirmed_is_kept() {
    let servers = trio();
    let stop = Arc::new(AtomicBool::new(false));
    let confirmed = Arc::new(AtomicU64::new(0));
    let ports = [0, 1, 2].map(|n| servers[n].port);
    let writers: Vec<_> = (0..3)
        .map(|who| {
            let (stop, confirmed) = (stop.clone(), confirmed.clone());
            std::thread::spawn(move || {
                let mut kept = Vec::new();
                let mut n = 0;
                while !stop.load(Relaxed) {
                    // One after the other, until one is a master.
                    let mut conn = Conn::open(ports[n % 3]);
                    n += 1;
                    let key = |n: usize| format!("w:{who}:{n}");
                    while !stop.load(Relaxed) {
                        let set = Conn::encode(&["SET", &key(n), &n.to_string()]);
                        let wait = Conn::encode(&["WAIT", "1", "0"]);
                        // Blocked clients are disconnected when the roles change.
                        if conn.raw(&[set, wait].concat()).is_err() {
                            break;
                        }
                        let Ok(set) = conn.try_reply() else { break };
                        let Ok(wait) = conn.try_reply() else { break };
                        match (set, wait) {
                            (Reply::Status(_), Reply::Int(replicas)) => {
                                assert!(replicas >= 1);
                                kept.push(n);
                                confirmed.fetch_add(1, Relaxed);
                                n += 3;
                            }
                            (Reply::Status(_), Reply::Error(e)) => {
                                assert!(e.starts_with(b"UNBLOCKED") || e.starts_with(b"ERR WAIT"));
                                break;
                            }
                            (Reply::Error(e), _) => {
                                assert!(e.starts_with(b"READONLY"), "{}", e.escape_ascii());
                                break;
                            }
                            other => panic!("{other:?}"),
                        }
                    }
                }
                kept
            })
        })
        .collect();
    let mut at = 0;
    for round in 0..6 {
        let before = confirmed.load(Relaxed);
        wait_for("writes that are confirmed", || confirmed.load(Relaxed) > before + 50);
        let old = &servers[at];
        let to = servers[(at + 1) % 3].port.to_string();
        let line: &[&str] = match round % 2 {
            0 => &["FAILOVER", "TO", "127.0.0.1", &to],
            _ => &["FAILOVER"],
        };
        wait_for("the replica to be online", || {
            let reply = old.cmd(line).text();
            reply == "OK" || !panic_unless_not_online(&reply)
        });
        wait_for_the_end(old);
        assert_eq!(old.info("role"), "slave");
        let new = old.info("master_port");
        at = (0..3).find(|&n| servers[n].port.to_string() == new).expect("one of them");
        wait_for("the other role", || servers[at].info("role") == "master");
        for n in (0..3).filter(|&n| n != at) {
            if servers[n].info("master_port") != new {
                servers[n].replicaof_port(servers[at].port);
            }
        }
        for n in (0..3).filter(|&n| n != at) {
            servers[n].wait_for_link();
        }
    }
    stop.store(true, Relaxed);
    let kept: Vec<Vec<usize>> = writers.into_iter().map(|w| w.join().unwrap()).collect();
    let mut c = servers[at].conn();
    for (who, kept) in kept.iter().enumerate() {
        for n in kept {
            let value = c.cmd(&["GET", &format!("w:{who}:{n}")]).text();
            assert_eq!(value, n.to_string(), "w:{who}:{n} was confirmed, and is lost");
        }
    }
    for n in (0..3).filter(|&n| n != at) {
        assert_same_data(&servers[at], &servers[n]);
    }
    let full: i64 = servers.iter().map(|s| s.info_i64("sync_full")).sum();
    assert_eq!(full, 2, "but for the first two, all went on where they were");
}

/// Right after a change of roles the other one may not be connected yet.
fn panic_unless_not_online(reply: &str) -> bool {
    let expected = ["is not a replica", "requires connected replicas", "is not online"];
    assert!(expected.iter().any(|e| reply.contains(e)), "{reply}");
    true
}

/// Any replica: the one that has all of the stream, here the only one that does not stand still.
#[test]
fn to_any_replica() {
    let [mut a, mut b, c] = trio();
    b.signal("STOP");
    a.ask("SET key value");
    assert_eq!(a.ask("FAILOVER"), "OK");
    wait_for("the other role", || c.info("role") == "master");
    wait_for_the_end(&a);
    a.wait_for_link();
    b.signal("CONT");
    assert_eq!(b.ask(&format!("REPLICAOF 127.0.0.1 {}", c.port)), "OK");
    b.wait_for_link();
    assert_same_data(&c, &a);
    assert_same_data(&c, &b);
    assert_eq!((c.info("sync_full"), c.info("sync_partial_ok")), ("0".into(), "2".into()));
}

/// While it waits: writes are held back, reads are not, nobody syncs, REPLICAOF is refused. ABORT
/// ends it, and the held back write is executed.
#[test]
fn aborted_while_it_waits() {
    let mut a = TestServer::start(&["--repl-timeout", "3600"]);
    let _silent = Recorder::attach(a.port);
    a.ask("SET key value");
    assert_eq!(a.ask("FAILOVER TIMEOUT 9223372036854775807"), "OK");
    assert_eq!(a.info("master_failover_state"), "waiting-for-sync");
    assert_eq!(a.ask("FAILOVER"), "-ERR FAILOVER already in progress.");
    assert_eq!(a.ask("REPLICAOF NO ONE"), "-ERR REPLICAOF not allowed while failing over.");
    assert_eq!(a.ask("PSYNC ? -1"), "-NOMASTERLINK Can't SYNC while failing over");
    assert_eq!(a.ask("GET key"), "value");
    let mut writer = a.conn();
    writer.send(&["SET", "key", "later"]);
    wait_for("the write to be held back", || a.info("blocked_clients") == "1");
    assert_eq!(a.ask("FAILOVER ABORT"), "OK");
    assert_eq!(next(&mut writer), "OK");
    assert_eq!(a.info("master_failover_state"), "no-failover");
    assert_eq!(a.info("role"), "master");
    assert!(a.log().contains("FAILOVER to any replica aborted: Failover manually aborted"));
}

/// The time is over: it is given up, and with FORCE it takes place all the same.
#[test]
fn timeouts() {
    let [mut a, b, c] = trio();
    b.signal("STOP");
    a.ask("SET key value");
    let to = format!("FAILOVER TO 127.0.0.1 {} TIMEOUT 100", b.port);
    assert_eq!(a.ask(&to), "OK");
    wait_for_the_end(&a);
    a.wait_for_log("aborted: Replica never caught up before timeout");
    assert_eq!(a.info("role"), "master");
    assert_eq!(a.ask("SET key again"), "OK");

    assert_eq!(a.ask(&format!("{to} FORCE")), "OK");
    wait_for("its turn", || a.info("master_failover_state") == "failover-in-progress");
    a.wait_for_log("time out exceeded, failing over.");
    assert_eq!(a.info("role"), "slave");
    // Given up in this state, it is a master again, and its replicas go on with it.
    assert_eq!(a.ask("FAILOVER ABORT"), "OK");
    assert_eq!(a.info("role"), "master");
    assert_eq!(a.ask("SET key yet"), "OK");
    b.signal("CONT");
    for r in [&b, &c] {
        r.wait_for_link();
        assert_same_data(&a, r);
    }

    // And once more, with a target that goes on after a while: it catches up, and takes over.
    wait_for("the replica to be online", || {
        (0..2).all(|i| a.info(&format!("slave{i}")).contains("state=online"))
    });
    b.signal("STOP");
    a.ask("SET key last");
    assert_eq!(a.ask(&format!("{to} FORCE")), "OK");
    wait_for("its turn", || a.info("master_failover_state") == "failover-in-progress");
    b.signal("CONT");
    wait_for("the other role", || b.info("role") == "master");
    wait_for_the_end(&a);
    a.wait_for_link();
    assert_same_data(&b, &a);
}

/// The target refuses: the master stays what it was.
#[test]
fn the_target_refuses() {
    // Without PINGs, which would come behind the offset that is acknowledged.
    let a = TestServer::start(&["--repl-ping-replica-period", "3600"]);
    let other = TestServer::start(&[]);
    other.cmd(&["SET", "of", "another history"]);
    // A replica by its words, which listens where a master of another history does.
    let mut fake = a.conn();
    fake.cmd(&["REPLCONF", "listening-port", &other.port.to_string()]);
    fake.send(&["PSYNC", "?", "-1"]);
    wait_for("it to be online", || a.info("slave0").contains("state=online"));
    a.cmd(&["SET", "key", "value"]);
    let offset = a.info("master_repl_offset");
    a.cmd(&["FAILOVER", "TIMEOUT", "100000"]);
    fake.send(&["REPLCONF", "ACK", &offset]);
    a.wait_for_log("aborted: Failover target rejected psync request");
    assert_eq!(a.info("master_failover_state"), "no-failover");
    assert_eq!(a.info("role"), "master");
    assert_eq!(a.cmd(&["SET", "key", "again"]).text(), "OK");
    assert_eq!(other.info("role"), "master");
}

/// Given up at each step of the handshake with the target: the master is one again, with the history
/// that it had, and a target that says yes later is not heard.
#[test]
fn aborted_at_each_step() {
    let a = TestServer::start(&["--repl-timeout", "3600"]);
    let other = TestServer::start(&[]).replica_of(&a);
    let id = a.info("master_replid");
    // The words of the handshake that the target still answers.
    let all = ["PING", "REPLCONF", "REPLCONF", "PSYNC"];
    for answered in 0..all.len() {
        let target = FakeMaster::start();
        // A replica by its words, which listens where the test does.
        let mut fake = a.conn();
        fake.cmd(&["REPLCONF", "listening-port", &target.port.to_string()]);
        fake.send(&["PSYNC", "?", "-1"]);
        let port = target.port.to_string();
        wait_for("it to be online", || {
            (0..2).any(|i| {
                let replica = a.info(&format!("slave{i}"));
                replica.contains(&format!("port={port},")) && replica.contains("state=online")
            })
        });
        assert_eq!(a.cmd(&["FAILOVER", "TO", "127.0.0.1", &port]).text(), "OK");
        // It may be known to have all.
        let offset = a.info("master_repl_offset");
        let _ = fake.raw(&Conn::encode(&["REPLCONF", "ACK", &offset]));
        let mut asking = target.accept();
        for word in &all[..answered] {
            let request = asking.try_reply().unwrap();
            assert_eq!(request.array()[0].text(), *word);
            let pong = if *word == "PING" { &b"+PONG\r\n"[..] } else { b"+OK\r\n" };
            asking.raw(pong).unwrap();
        }
        // This one is not answered.
        let request = asking.try_reply().unwrap();
        assert_eq!(request.array()[0].text(), all[answered]);
        if all[answered] == "PSYNC" {
            assert_eq!(request.array()[3].text(), "FAILOVER");
        }
        assert_eq!(a.info("master_failover_state"), "failover-in-progress");
        assert_eq!(a.info("role"), "slave");
        assert_eq!(a.cmd(&["FAILOVER", "ABORT"]).text(), "OK");
        assert_eq!(a.info("master_failover_state"), "no-failover");
        assert_eq!(a.info("role"), "master");
        let _ = asking.raw(b"+CONTINUE\r\n");
        assert!(asking.is_closed());
        assert_eq!(a.cmd(&["SET", "key", &answered.to_string()]).text(), "OK");
        assert_eq!(a.info("role"), "master");
        other.wait_for_link();
        assert_same_data(&a, &other);
        assert_ne!(a.info("master_replid"), id, "a new history, which goes on with the old one");
    }
    let full = 1 + all.len();
    assert_eq!(a.info_i64("sync_full"), full as i64, "the replica resynced partially");
}
