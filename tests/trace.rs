//! `trace-file`: what the trace has of a synchronization, a cut link, a failover, saves and rewrites.

mod support;

use std::path::Path;

use serde_json::Value;
use support::*;

/// A server with a trace, in the file `trace` of its folder.
fn traced(args: &[&str]) -> TestServer {
    TestServer::start(&[&["--trace-file", "trace"], args].concat())
}

/// The whole lines of a server's trace. Each is an object of JSON with the common fields, and the
/// time of the server's own lines does not go back.
fn trace(server: &TestServer) -> Vec<Value> {
    let text = std::fs::read_to_string(server.dir.path("trace")).unwrap_or_default();
    let mut last = 0;
    let mut lines = Vec::new();
    // The last one may be just being written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for line in whole.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let t = line["t"].as_u64().expect("a time");
        for field in ["ev", "fn", "at"] {
            assert!(line[field].is_string(), "{line}");
        }
        if line["ev"] == "start" || line["pid"].is_null() {
            assert!(t >= last, "{line}");
            last = t;
        }
        lines.push(line);
    }
    lines
}

fn events<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["ev"] == event).collect()
}

/// The values of a field in the lines of an event.
fn values(lines: &[Value], event: &str, field: &str) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
    events(lines, event).iter().map(|line| text(&line[field])).collect()
}

/// Whether `expected` occurs in this order, with or without others between.
#[track_caller]
fn in_order(found: &[String], expected: &[&str]) {
    let mut left = found.iter();
    for state in expected {
        assert!(left.any(|found| found == state), "{state} is missing, or out of order: {found:?}");
    }
}

const HANDSHAKE: [&str; 11] = [
    "REPL_STATE_CONNECT",
    "REPL_STATE_CONNECTING",
    "REPL_STATE_RECEIVE_PING_REPLY",
    "REPL_STATE_SEND_HANDSHAKE",
    "REPL_STATE_RECEIVE_AUTH_REPLY",
    "REPL_STATE_RECEIVE_PORT_REPLY",
    "REPL_STATE_RECEIVE_IP_REPLY",
    "REPL_STATE_RECEIVE_CAPA_REPLY",
    "REPL_STATE_SEND_PSYNC",
    "REPL_STATE_RECEIVE_PSYNC_REPLY",
    "REPL_STATE_TRANSFER",
];

/// A full resync by a file, then a link that is cut, and goes on from the backlog.
#[test]
fn full_resync_and_cut_link() {
    let master = traced(&[]);
    master.cmd(&["SET", "a", "b"]);
    let replica = traced(&[]).replica_of(&master);
    wait_for("the replica to be online", || {
        values(&trace(&master), "replstate", "to").iter().any(|to| to == "SLAVE_STATE_ONLINE")
    });

    let lines = trace(&replica);
    let start = &lines[0];
    assert_eq!(start["ev"], "start");
    assert_eq!(start["port"].as_u64(), Some(u64::from(replica.port)));
    assert_eq!(start["pid"].as_u64(), Some(u64::from(replica.pid())));
    assert!(start["wall"].as_u64() > Some(1 << 50), "it is in microseconds");
    let states = values(&lines, "repl_state", "to");
    in_order(&states, &HANDSHAKE);
    assert_eq!(states.last().unwrap(), "REPL_STATE_CONNECTED");
    for (line, next) in events(&lines, "repl_state").iter().zip(&events(&lines, "repl_state")[1..])
    {
        assert_eq!(line["to"], next["from"], "no change is missing");
    }
    let connected = events(&lines, "repl_state").pop().unwrap();
    assert_eq!(connected["fn"], "replication::load_sync_bulk_payload");
    // It names its own history, of no byte.
    assert_eq!(values(&lines, "psync", "offset"), ["1"]);
    assert_eq!(values(&lines, "answer", "event"), ["full"]);
    in_order(&values(&lines, "load", "what"), &["begin", "done"]);
    assert_eq!(events(&lines, "synchronized").len(), 1);

    let lines = trace(&master);
    let decision = events(&lines, "decision")[0];
    assert_eq!(decision["event"], "full");
    assert_eq!(decision["reason"], "the replica had no history to go on from");
    assert_eq!(decision["fn"], "replication::masterTryPartialResynchronization");
    in_order(
        &values(&lines, "replstate", "to"),
        &[
            "SLAVE_STATE_WAIT_BGSAVE_START",
            "SLAVE_STATE_WAIT_BGSAVE_END",
            "SLAVE_STATE_SEND_BULK",
            "SLAVE_STATE_ONLINE",
        ],
    );
    assert_eq!(values(&lines, "bgsave_for_sync", "target"), ["disk"]);
    let child = events(&lines, "fork")[0]["child"].as_u64().unwrap();
    let end = events(&lines, "child_end")[0];
    assert_eq!((end["child"].as_u64(), end["exit"].as_i64()), (Some(child), Some(0)));
    // What the child writes has its number.
    let saves = events(&lines, "save");
    assert!(saves.iter().all(|line| line["pid"].as_u64() == Some(child)));
    in_order(&values(&lines, "save", "what"), &["begin", "done"]);
    assert_eq!(values(&lines, "backlog", "what").last().unwrap(), "created");

    // The link is cut.
    replica.cmd(&["CLIENT", "KILL", "TYPE", "master"]);
    wait_for("a partial resync", || master.info("sync_partial_ok") == "1");
    replica.wait_for_link();
    let lines = trace(&replica);
    assert_eq!(events(&lines, "master_gone").len(), 1);
    in_order(&values(&lines, "cached_master", "what"), &["cached", "resurrected"]);
    assert_eq!(values(&lines, "answer", "event"), ["full", "partial"]);
    let lines = trace(&master);
    assert_eq!(values(&lines, "replica_gone", "from"), ["SLAVE_STATE_ONLINE"]);
    let decision = events(&lines, "decision")[1];
    assert_eq!(decision["event"], "partial");
    assert_eq!(decision["reason"], "the backlog has all that was missed");
    assert!(decision["backlog_last"].is_i64());
}

/// A diskless sync shows the pipe; a failover, its states, the roles and the ids on both sides.
#[test]
fn diskless_sync_and_failover() {
    let master = traced(&["--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"]);
    let replica = traced(&[]).replica_of(&master);
    // The replica has all before the child has closed the pipe; it is online after that.
    wait_for("the replica to be online", || master.info("slave0").contains("state=online"));
    let lines = trace(&master);
    in_order(&values(&lines, "rdb_pipe", "what"), &["open", "end"]);
    assert_eq!(values(&lines, "bgsave_for_sync", "target"), ["sockets"]);

    assert_eq!(master.cmd(&["FAILOVER"]).text(), "OK");
    wait_for("the failover", || master.info("master_failover_state") == "no-failover");
    master.wait_for_link();
    let lines = trace(&master);
    in_order(
        &values(&lines, "failover", "to"),
        &["FAILOVER_WAIT_FOR_SYNC", "FAILOVER_IN_PROGRESS", "NO_FAILOVER"],
    );
    assert_eq!(values(&lines, "role", "to"), ["replica"]);
    assert_eq!(values(&lines, "cached_master", "what")[0], "made of ourselves");
    assert_eq!(values(&lines, "answer", "event"), ["partial"]);
    let lines = trace(&replica);
    assert_eq!(values(&lines, "role", "to"), ["replica", "master"]);
    let ids = events(&lines, "ids").pop().unwrap();
    assert_eq!(ids["replid2"].as_str().map(str::len), Some(40), "the history of the old master");
    assert!(ids["fn"].as_str().unwrap().starts_with("replication::"));
}

/// A rewrite of the append only file: the child, the pipes, the states.
#[test]
fn rewrite() {
    let server = traced(&[]);
    assert_eq!(server.cmd(&["CONFIG", "SET", "appendonly", "yes"]).text(), "OK");
    wait_for("the rewrite", || {
        values(&trace(&server), "aof_state", "to").iter().any(|to| to == "AOF_ON")
    });
    let lines = trace(&server);
    in_order(&values(&lines, "aof_state", "to"), &["AOF_WAIT_REWRITE", "AOF_ON"]);
    in_order(&values(&lines, "rewrite", "what"), &["begin", "done"]);
    in_order(
        &values(&lines, "aof_pipe", "what"),
        &["open", "the child asks for no more", "closed"],
    );
    assert_eq!(values(&lines, "fork", "type"), ["AOF"]);
}

/// CONFIG SET begins, reopens and ends the trace. A file that can't be opened is an error there, and
/// a line of the log at the start.
#[test]
fn the_directive() {
    let server = TestServer::start(&["--trace-file", "/nonexistent/trace"]);
    assert_eq!(server.log_count("There is no trace, as '/nonexistent/trace'"), 1);
    let file = server.dir.path("trace");
    let set = |value: &str| server.cmd(&["CONFIG", "SET", "trace-file", value]).text();
    assert_eq!(set("trace"), "OK");
    assert_eq!(server.cmd(&["CONFIG", "GET", "trace-file"]).array()[1].text(), "trace");
    assert_eq!(values(&trace(&server), "ids", "offset"), ["0"]);
    std::fs::rename(&file, server.dir.path("trace.old")).unwrap();
    assert_eq!(set("trace"), "OK");
    assert_eq!(trace(&server)[0]["ev"], "start");
    assert!(set("/nonexistent/trace").starts_with("-ERR"));
    assert_eq!(server.cmd(&["CONFIG", "GET", "trace-file"]).array()[1].text(), "trace");
    assert_eq!(set(""), "OK");
    assert_eq!(trace(&server).last().unwrap()["ev"], "end");
    let before = trace(&server).len();
    server.cmd(&["DEBUG", "CHANGE-REPL-ID"]);
    assert_eq!(trace(&server).len(), before);
    // A device that is full ends the trace, and nothing else.
    assert_eq!(set("/dev/full"), "OK");
    assert_eq!(server.log_count("The trace ends here, as '/dev/full' can't be written to"), 1);
    assert_eq!(server.cmd(&["DEBUG", "CHANGE-REPL-ID"]).text(), "OK");
    assert_eq!(server.log_count("The trace ends here"), 1);
}

/// Each line that sets a state of replication has its line of the trace next to it.
#[test]
fn no_setter_without_its_line() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = 0;
    for name in ["replication.rs", "rdb.rs", "networking.rs", "aof.rs", "replication/guard.rs"] {
        let text = std::fs::read_to_string(src.join(name)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let code = line.trim_start();
            let sets = ["repl_state = REPL_STATE_", ".replstate = ", "failover_state = FAILOVER_"];
            if code.starts_with("//") || !sets.iter().any(|set| code.contains(set)) {
                continue;
            }
            found += 1;
            let near = &lines[at + 1..(at + 10).min(lines.len())];
            let traced = near.iter().any(|line| line.contains("trace_"));
            assert!(traced, "{name}:{}: {code}", at + 1);
        }
    }
    assert!(found > 25, "{found}");
}
