//! DEBUG STEP: what the server says on its terminal, who is served meanwhile, and how it ends.

mod support;

use std::io::Write;
use std::process::{Command, Stdio};

use support::*;

/// Says NEXT until the server has printed `text`.
#[track_caller]
fn step_until(c: &mut Conn, server: &TestServer, text: &str) {
    wait_for(&format!("{text:?} on the terminal"), || {
        let there = server.log().contains(text);
        if !there {
            assert_eq!(c.cmd(&["DEBUG", "STEP", "NEXT"]).text(), "OK");
        }
        there
    });
}

/// The connection that steps is served while the loop waits; another one is seen as ready, and
/// served in its turn. OFF ends it.
#[test]
fn one_turn_after_the_other() {
    let server = TestServer::start(&[]);
    let (mut c, mut other) = (server.conn(), server.conn());
    let id = other.cmd(&["CLIENT", "ID"]).int();
    assert!(c.cmd(&["DEBUG", "STEP", "NEXT"]).text().starts_with("-ERR step mode is off"));
    assert_eq!(c.cmd(&["DEBUG", "STEP", "ON"]).text(), "OK");
    server.wait_for_log("Step mode: each turn of the loop waits for DEBUG STEP NEXT (client");
    // It is answered though the loop waits, with any command.
    assert_eq!(c.cmd(&["SET", "a", "b"]).text(), "OK");

    other.send(&["GET", "a"]);
    step_until(&mut c, &server, &format!("ready: client {id} is readable (fd "));
    // It was not read: the command has not run.
    let stats = c.cmd(&["INFO", "commandstats"]).text();
    assert!(!stats.contains("cmdstat_get:"), "{stats}");
    assert_eq!(c.cmd(&["DEBUG", "STEP", "NEXT"]).text(), "OK");
    assert_eq!(other.reply().text(), "b");
    step_until(&mut c, &server, "  serverCron: ");
    let log = server.log();
    for expected in
        ["--- turn 1 (the poll took ", "due: serverCron", "  beforeSleep: ", "commands +"]
    {
        assert!(log.contains(expected), "{expected}\n{log}");
    }
    // The cron of replication runs once a second.
    step_until(&mut c, &server, "  replicationCron: ");

    // It is answered when the loop waits again.
    assert_eq!(c.cmd(&["PING"]).text(), "PONG");
    let turns = server.log_count("--- turn ");
    assert_eq!(c.cmd(&["DEBUG", "STEP", "NEXT", "3"]).text(), "OK");
    wait_for("three turns", || server.log_count("--- turn ") == turns + 3);
    assert!(c.cmd(&["DEBUG", "STEP", "NEXT", "0"]).is_error());
    assert!(c.cmd(&["DEBUG", "STEP", "SIDEWAYS"]).is_error());
    assert_eq!(c.cmd(&["DEBUG", "STEP", "OFF"]).text(), "OK");
    assert_eq!(server.cmd(&["PING"]).text(), "PONG");
    assert_eq!(server.log_count("Step mode is off."), 1);
}

/// A replica and the child's pipe are called by their names, and so is the link to a master.
#[test]
fn who_is_ready() {
    let args = ["--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"];
    let master = TestServer::start(&args);
    let mut c = master.conn();
    c.cmd(&["DEBUG", "POPULATE", "1000"]);
    assert_eq!(c.cmd(&["DEBUG", "STEP", "ON"]).text(), "OK");
    let replica = TestServer::start(&[]);
    replica.replicaof_port(master.port);
    step_until(&mut c, &master, "ready: the listening socket of port ");
    step_until(&mut c, &master, "ready: the pipe of the child that streams an RDB is readable");
    let name = format!("ready: replica 127.0.0.1:{}, client ", replica.port);
    step_until(&mut c, &master, &name);
    drop(c);
    master.wait_for_log("(nobody is left who could say NEXT)");
    replica.wait_for_link();

    let mut c = replica.conn();
    assert_eq!(c.cmd(&["DEBUG", "STEP", "ON"]).text(), "OK");
    master.cmd(&["SET", "a", "b"]);
    step_until(&mut c, &replica, "ready: our master, client ");
}

/// The client that steps may be blocked: then the loop goes on until it is not.
#[test]
fn a_client_that_blocks() {
    let server = TestServer::start(&[]);
    let (mut c, mut other) = (server.conn(), server.conn());
    assert_eq!(c.cmd(&["DEBUG", "STEP", "ON"]).text(), "OK");
    c.send(&["BLPOP", "list", "0"]);
    server.wait_for_log("the client that steps is blocked: the loop goes on");
    assert_eq!(other.cmd(&["RPUSH", "list", "x"]).int(), 1);
    assert_eq!(c.reply().array()[1].text(), "x");
    assert_eq!(c.cmd(&["DEBUG", "STEP", "OFF"]).text(), "OK");
}

/// Return on the terminal is a NEXT; SIGTERM ends a server that waits.
#[test]
fn on_a_terminal() {
    let folder = Folder::new();
    let port = free_port();
    let command = format!("exec '{OURS}' --port {port} --bind 127.0.0.1 --save ''");
    let mut script = Command::new("script")
        .args(["-qfec", &command, "typed"])
        .current_dir(&folder.0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("script, of Debian's bsdutils");
    let terminal = || {
        let bytes = std::fs::read(folder.path("typed")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    wait_for("the server", || Conn::try_open(port).is_ok());
    let mut c = Conn::open(port);
    let info = c.cmd(&["INFO", "server"]).text();
    let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap().to_string();
    assert_eq!(c.cmd(&["DEBUG", "STEP", "ON"]).text(), "OK");
    wait_for("step mode", || terminal().contains("waits for DEBUG STEP NEXT or Return"));
    wait_for("the first turn", || terminal().contains("--- turn 1 "));
    let mut stdin = script.stdin.take().unwrap();
    stdin.write_all(b"\n").unwrap();
    wait_for("the second turn", || terminal().contains("--- turn 2 "));
    // With the connection gone, the terminal is enough.
    drop(c);
    stdin.write_all(b"\n\n\n").unwrap();
    wait_for("three more", || terminal().contains("--- turn 5 "));
    signal("TERM", &pid);
    wait_for("the end", || script.try_wait().unwrap().is_some());
    assert!(terminal().contains("bye bye"), "{}", terminal());
}

/// In the background there is no terminal.
#[test]
fn in_the_background() {
    let server = TestServer::start(&[]);
    let help: Vec<String> =
        server.cmd(&["DEBUG", "HELP"]).array().iter().map(|line| line.text()).collect();
    assert!(help.iter().any(|line| line == "STEP <ON|OFF|NEXT [<count>]>"));
    // The test is told by the directive, which can't be set later.
    let folder = Folder::new();
    let port = free_port().to_string();
    let status = Command::new(OURS)
        .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--daemonize", "yes"])
        .args(["--dir", folder.0.to_str().unwrap(), "--pidfile", "pid"])
        .status()
        .unwrap();
    assert!(status.success());
    let port = port.parse().unwrap();
    wait_for("the server", || Conn::try_open(port).is_ok());
    let mut c = Conn::open(port);
    let reply = c.cmd(&["DEBUG", "STEP", "ON"]).text();
    let _ = c.raw(&Conn::encode(&["SHUTDOWN", "NOSAVE"]));
    assert!(c.is_closed());
    assert!(reply.starts_with("-ERR step mode needs a terminal"), "{reply}");
}
