//! WAIT: a client waits until replicas have acknowledged its writes, and every way that ends.

#[path = "support/ask.rs"]
mod ask;
#[path = "support/link.rs"]
mod link;
mod support;

use ask::{Ask, next};
use link::Recorder;
use support::*;

const GETACK: &[u8] = b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n";

/// A master whose cron does not write to its stream.
fn quiet_master() -> TestServer {
    TestServer::start(&["--repl-ping-replica-period", "3600", "--repl-timeout", "3600"])
}

/// Lets `c` write, and wait for `numreplicas` without an end; returns the offset of the write.
#[track_caller]
fn write_and_wait(master: &TestServer, c: &mut Conn, numreplicas: u32) -> i64 {
    let before = master.info_i64("blocked_clients");
    c.cmd(&["INCR", "n"]);
    let offset = master.info_i64("master_repl_offset");
    c.send(&["WAIT", &numreplicas.to_string(), "0"]);
    wait_for("it to block", || master.info_i64("blocked_clients") == before + 1);
    offset
}

/// A real replica: its acknowledgement is asked for, and need not be waited for a second.
#[test]
fn a_replica_acknowledges() {
    let master = quiet_master();
    let mut c = master.conn();
    assert_eq!(c.ask("WAIT 0 0"), "0", "nobody is asked for");
    assert_eq!(c.ask("WAIT 1 20"), "0", "there is nobody");
    let replica = TestServer::start(&[]).replica_of(&master);
    for round in 1..=20 {
        c.ask("INCR n");
        assert_eq!(c.ask("WAIT 1 0"), "1");
        assert_eq!(replica.cmd(&["GET", "n"]).text(), round.to_string());
    }
    assert_eq!(c.ask("WAIT 2 50"), "1", "fewer than asked for, when the time is over");
    // A replica that stands still acknowledges nothing, and what was written before is still good.
    replica.signal("STOP");
    assert_eq!(c.ask("WAIT 1 50"), "1");
    c.ask("INCR n");
    assert_eq!(c.ask("WAIT 1 50"), "0");
    assert_eq!(master.conn().ask("WAIT 1 50"), "1", "a client that wrote nothing");
    replica.signal("CONT");
    assert_eq!(c.ask("WAIT 1 0"), "1");
}

/// Which acknowledgement ends which wait; one question for all that wait in a turn.
#[test]
fn offsets_and_numbers() {
    let master = quiet_master();
    let mut recorders = [Recorder::attach(master.port), Recorder::attach(master.port)];
    wait_for("both to be online", || {
        (0..2).all(|i| master.info(&format!("slave{i}")).contains("state=online"))
    });
    let (mut a, mut b, mut both) = (master.conn(), master.conn(), master.conn());
    let of_a = write_and_wait(&master, &mut a, 1);
    let of_b = write_and_wait(&master, &mut b, 1);
    let of_both = write_and_wait(&master, &mut both, 2);
    assert!(of_a < of_b && of_b < of_both);
    for r in &mut recorders {
        for _ in 0..3 {
            r.read_up_to(GETACK);
        }
    }
    let [first, second] = &mut recorders;
    first.acknowledge(of_a - 1);
    first.acknowledge(of_a);
    assert_eq!(next(&mut a), "1");
    assert_eq!(master.info("blocked_clients"), "2");
    // An acknowledgement of less does not take one back.
    first.acknowledge(of_b);
    first.acknowledge(0);
    assert_eq!(next(&mut b), "1");
    second.acknowledge(of_both);
    wait_for("the acknowledgement", || {
        (0..2).any(|i| master.info(&format!("slave{i}")).contains(&format!("offset={of_both},")))
    });
    assert_eq!(master.info("blocked_clients"), "1");
    first.acknowledge(of_both + 1000);
    assert_eq!(next(&mut both), "2");
    assert_eq!(a.ask("WAIT 2 0"), "2", "its write is older than all that was acknowledged");

    // Several pipelined: each blocks anew, and asks anew.
    a.raw(&ask::batch(&["INCR n", "WAIT 2 0", "INCR n", "WAIT 2 0", "PING"])).unwrap();
    for n in ["4", "5"] {
        second.read_up_to(GETACK);
        second.acknowledge(master.info_i64("master_repl_offset"));
        assert_eq!((next(&mut a), next(&mut a)), (n.into(), "2".into()));
    }
    assert_eq!(next(&mut a), "PONG");
}

/// CLIENT UNBLOCK, a client that goes, a replica that goes, a master that becomes a replica.
#[test]
fn ends_otherwise() {
    let mut master = quiet_master();
    let mut recorder = Recorder::attach(master.port);
    let mut c = master.conn();
    let id = c.cmd(&["CLIENT", "ID"]).int();

    let offset = write_and_wait(&master, &mut c, 2);
    recorder.acknowledge(offset);
    wait_for("one acknowledgement", || {
        master.info("slave0").contains(&format!("offset={offset},"))
    });
    assert_eq!(master.ask(&format!("CLIENT UNBLOCK {id}")), "1");
    assert_eq!(next(&mut c), "1", "as when the time is over: what there is");
    write_and_wait(&master, &mut c, 1);
    assert_eq!(master.ask(&format!("CLIENT UNBLOCK {id} ERROR")), "1");
    assert_eq!(next(&mut c), "-UNBLOCKED client unblocked via CLIENT UNBLOCK");
    assert_eq!(master.info("blocked_clients"), "0");

    let mut leaves = master.conn();
    write_and_wait(&master, &mut leaves, 1);
    drop(leaves);
    wait_for("the client to be gone", || master.info("blocked_clients") == "0");

    write_and_wait(&master, &mut c, 1);
    drop(recorder);
    wait_for("the replica to be gone", || master.info("connected_slaves") == "0");
    assert_eq!(master.info("blocked_clients"), "1", "another replica may come");
    let replica = TestServer::start(&[]).replica_of(&master);
    assert_eq!(next(&mut c), "1");
    drop(replica);

    write_and_wait(&master, &mut c, 1);
    assert_eq!(master.ask("REPLICAOF 127.0.0.1 1"), "OK");
    assert_eq!(
        next(&mut c),
        "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
    );
    assert!(c.is_closed());
    assert_eq!(master.info("blocked_clients"), "0");
    assert_eq!(
        master.ask("WAIT 1 0"),
        "-ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be writable (which is not the default) writes to replicas are just local and are not propagated."
    );
}

/// CLIENT KILL, a failover, and the end of the server.
#[test]
fn ends_with_the_connection() {
    let mut master = quiet_master();
    let silent = Recorder::attach(master.port);
    let mut killed = master.conn();
    let id = killed.cmd(&["CLIENT", "ID"]).int();
    write_and_wait(&master, &mut killed, 1);
    assert_eq!(master.ask(&format!("CLIENT KILL ID {id}")), "1");
    assert!(killed.is_closed());
    assert_eq!(master.info("blocked_clients"), "0");

    drop(silent);

    // The master becomes a replica of the one that has all of its stream, while the client waits for
    // two of them.
    let replica = TestServer::start(&[]).replica_of(&master);
    let mut c = master.conn();
    write_and_wait(&master, &mut c, 2);
    assert_eq!(master.ask(&format!("FAILOVER TO 127.0.0.1 {}", replica.port)), "OK");
    assert_eq!(
        next(&mut c),
        "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
    );
    assert!(c.is_closed());
    wait_for("the other role", || replica.info("role") == "master");
    assert_eq!(replica.cmd(&["GET", "n"]).text(), "2");
    wait_for("the end of the failover", || master.info("master_failover_state") == "no-failover");

    // One that was confirmed before is not asked again, whoever goes.
    let mut recorder = Recorder::attach(replica.port);
    let mut c = replica.conn();
    let offset = write_and_wait(&replica, &mut c, 2);
    recorder.acknowledge(offset);
    assert_eq!(next(&mut c), "2");
    drop(recorder);
    wait_for("it to be gone", || replica.info("connected_slaves") == "1");
    assert_eq!(c.ask("WAIT 1 0"), "1");

    master.signal("STOP");
    write_and_wait(&replica, &mut c, 1);
    replica.conn().send(&["SHUTDOWN", "NOSAVE"]);
    assert!(c.is_closed());
    master.signal("CONT");
}

/// In a transaction it does not block; nor with arguments that are none.
#[test]
fn does_not_block() {
    let mut master = quiet_master();
    let _silent = Recorder::attach(master.port);
    let mut c = master.conn();
    c.ask("INCR n");
    c.ask("MULTI");
    c.ask("INCR n");
    assert_eq!(c.ask("WAIT 1 0"), "QUEUED");
    assert_eq!(c.ask("EXEC"), "[2 0]");
    assert_eq!(c.ask("WAIT x 0"), "-ERR value is not an integer or out of range");
    assert_eq!(c.ask("WAIT 1 x"), "-ERR timeout is not an integer or out of range");
    assert_eq!(c.ask("WAIT 1 -1"), "-ERR timeout is negative");
    assert_eq!(c.ask("WAIT 1"), "-ERR wrong number of arguments for 'wait' command");
    assert_eq!(c.ask("WAIT -1 0"), "0");
    // The last moment there is: no overflow.
    let id = c.cmd(&["CLIENT", "ID"]).int();
    c.send(&["WAIT", "1", &i64::MAX.to_string()]);
    wait_for("it to block", || master.info("blocked_clients") == "1");
    assert_eq!(master.ask(&format!("CLIENT UNBLOCK {id}")), "1");
    assert_eq!(next(&mut c), "0");
}

/// During CLIENT PAUSE the offset stands still, so nobody is asked until it is over.
#[test]
fn no_question_during_a_pause() {
    let mut master = quiet_master();
    let mut recorder = Recorder::attach(master.port);
    let mut c = master.conn();
    c.ask("INCR n");
    assert_eq!(master.ask("CLIENT PAUSE 100000 WRITE"), "OK");
    let offset = master.info_i64("master_repl_offset");
    assert_eq!(c.ask("WAIT 1 20"), "0");
    c.send(&["WAIT", "1", "0"]);
    wait_for("it to block", || master.info("blocked_clients") == "1");
    assert_eq!(master.info_i64("master_repl_offset"), offset);
    assert_eq!(master.ask("CLIENT UNPAUSE"), "OK");
    recorder.read_up_to(GETACK);
    recorder.acknowledge(offset);
    assert_eq!(next(&mut c), "1");
}
