//! Full or partial: what a planned restart keeps, what a replica does whose link does not last, and
//! what the doctor says about it.

mod support;

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
    let mut master = TestServer::start(&["--repl-backlog-size", "10mb"]);
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
    master.cmd(&["SET", "k", "v"]);
    shut_down(&mut master, "SAVE");
    master.start_again();
    assert_eq!(master.cmd(&["GET", "k"]).text(), "v");
    assert_eq!(master.info("repl_backlog_active"), "0");
    assert_eq!(master.info("second_repl_offset"), "-1");
}

/// A shutdown waits for a replica that is behind, so that it can go on later.
#[test]
fn a_shutdown_waits_for_replicas() {
    let mut master = TestServer::start(&["--repl-backlog-size", "100mb"]);
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

/// It does not wait for ever, nor with `shutdown-timeout 0`.
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
