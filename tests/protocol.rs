//! What goes over a connection: framing and its errors, HELLO, pipelines, CLIENT, AUTH, limits,
//! transactions.
#![allow(clippy::disallowed_methods)] // what runs beside the test

#[path = "support/ask.rs"]
mod ask;
mod support;

use ask::*;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use support::*;

/// An exchange over any stream: sends, and reads until `until` came.
fn exchange(stream: &mut (impl Read + Write), bytes: &[u8], until: &str) -> String {
    stream.write_all(bytes).unwrap();
    let mut got = String::new();
    let mut chunk = [0; 4096];
    while !got.contains(until) {
        match incoming::read_some(stream, &mut chunk).expect("an answer in time") {
            0 => break,
            n => got.push_str(&String::from_utf8_lossy(&chunk[..n])),
        }
    }
    got
}

/// A socket with a small receive window: what its owner does not read stays with the server.
fn narrow(port: u16) -> TcpStream {
    use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn, sockopt};
    let fd = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
        .unwrap();
    socket::setsockopt(&fd, sockopt::RcvBuf, &4096).unwrap();
    let sock = TcpStream::from(fd);
    use std::os::fd::AsRawFd;
    socket::connect(sock.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port)).unwrap();
    sock.set_read_timeout(Some(PATIENCE)).unwrap();
    sock.set_write_timeout(Some(PATIENCE)).unwrap();
    sock
}

// Framing.

/// Every protocol error has its text, and ends the connection.
#[test]
fn protocol_errors() {
    let server = TestServer::start(&["--loglevel", "verbose"]);
    let long = "a".repeat(70_000);
    let cases: Vec<(String, &str)> = vec![
        ("*1048577\r\n".into(), "invalid multibulk length"),
        ("*abc\r\n".into(), "invalid multibulk length"),
        ("*-99999999999999999999\r\n".into(), "invalid multibulk length"),
        ("*+1\r\n$4\r\nPING\r\n".into(), "invalid multibulk length"),
        ("*\r\n".into(), "invalid multibulk length"),
        ("*1 \r\n".into(), "invalid multibulk length"),
        ("*1\r\nfoo\r\n".into(), "expected '$', got 'f'"),
        ("*1\r\n\r\n".into(), "expected '$', got ' '"),
        ("*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n".into(), "expected '$', got 'f'"),
        ("*1\r\n$-1\r\n".into(), "invalid bulk length"),
        ("*1\r\n$abc\r\n".into(), "invalid bulk length"),
        ("*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$2000000000\r\n".into(), "invalid bulk length"),
        ("*1\r\n$9223372036854775808\r\n".into(), "invalid bulk length"),
        ("*1\r\n$536870913\r\n".into(), "invalid bulk length"),
        ("SET k \"unbalanced\r\n".into(), "unbalanced quotes in request"),
        ("SET k 'a'b\r\n".into(), "unbalanced quotes in request"),
        (long.clone(), "too big inline request"),
        (format!("*{long}"), "too big mbulk count string"),
        (format!("*1\r\n${long}"), "too big bulk count string"),
    ];
    for (bytes, want) in &cases {
        let got = to_the_end(server.port, bytes.as_bytes());
        let head: String = bytes.chars().take(40).collect();
        assert_eq!(got, format!("-ERR Protocol error: {want}\r\n"), "for {head:?}");
    }
    // One that follows good commands: those are answered first.
    assert_eq!(
        to_the_end(server.port, b"*1\r\n$4\r\nPING\r\nPING\r\n*1\r\n!4\r\nPING\r\nPING\r\n"),
        "+PONG\r\n+PONG\r\n-ERR Protocol error: expected '$', got '!'\r\n"
    );
    server.wait_for_log("Protocol error (expected $ but got something else) from client: id=");
    wait_for("all are closed", || server.info("connected_clients") == "1");
}

/// Requests without a word are passed over, and leave the parser as it was (CVE-2026-27623).
#[test]
fn empty_requests() {
    let server = TestServer::start(&[]);
    for bytes in [
        &b"*0\r\n*-1\r\n\r\n*1\r\n$4\r\nPING\r\n"[..],
        b"\r\n\n\r\nPING\r\n",
        b"*-1\r\nPING\n",
        b"   \r\nPING\r\n",
    ] {
        let mut c = server.conn();
        c.raw(bytes).unwrap();
        assert_eq!(next(&mut c), "PONG");
        assert_eq!(c.ask("ECHO x"), "x");
    }
}

/// The inline form: spaces, both kinds of quotes, escapes, and lines that end with LF alone.
#[test]
fn inline_requests() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    for (line, want) in [
        (&b"ECHO  hello\r\n"[..], &b"hello"[..]),
        (b"  ECHO hello  \n", b"hello"),
        (b"ECHO \"a b\"\r\n", b"a b"),
        (b"ECHO \"\\x41\\xff\\n\\r\\t\\a\\b\\\"\\\\\\q\"\r\n", b"A\xff\n\r\t\x07\x08\"\\q"),
        (b"ECHO 'it\\'s \\n'\r\n", b"it's \\n"),
        (b"ECHO \"\"\r\n", b""),
        (b"echo\thello\r\n", b"hello"),
    ] {
        c.raw(line).unwrap();
        assert_eq!(c.reply().bytes(), want, "{:?}", String::from_utf8_lossy(line));
    }
    // Half a line, then the rest.
    c.raw(b"PI").unwrap();
    c.raw(b"NG\r").unwrap();
    c.raw(b"\n").unwrap();
    assert_eq!(next(&mut c), "PONG");
}

/// A request may arrive in any pieces.
#[test]
fn requests_cut_anywhere() {
    let server = TestServer::start(&[]);
    let mut bytes = Conn::encode(&["SET", "k", "va\r\nlue"]);
    bytes.extend(b"GET k\r\n");
    bytes.extend(Conn::encode(&["ECHO", "$1\r\n*1\r\n"]));
    for cut in 0..bytes.len() {
        let mut c = server.conn();
        c.raw(&bytes[..cut]).unwrap();
        // An answer to another client: the server has read the first piece by then, or reads it
        // with the second, and both are to work.
        if cut % 3 == 0 {
            server.cmd(&["PING"]);
        }
        c.raw(&bytes[cut..]).unwrap();
        assert_eq!(
            [next(&mut c), next(&mut c), next(&mut c)],
            ["OK", "va\r\nlue", "$1\r\n*1\r\n"],
            "cut at {cut}"
        );
    }
    let mut c = server.conn();
    for b in &bytes {
        c.raw(&[*b]).unwrap();
    }
    assert_eq!([next(&mut c), next(&mut c), next(&mut c)], ["OK", "va\r\nlue", "$1\r\n*1\r\n"]);
}

/// Unknown commands and wrong numbers of arguments.
#[test]
fn refused_commands() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    for (line, want) in [
        ("foo", "-ERR unknown command `foo`, with args beginning with: "),
        ("foo bar baz", "-ERR unknown command `foo`, with args beginning with: `bar`, `baz`, "),
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        ("gEt a b", "-ERR wrong number of arguments for 'get' command"),
        (
            "CLIENT nosuch",
            "-ERR Unknown subcommand or wrong number of arguments for 'nosuch'. Try CLIENT HELP.",
        ),
        (
            "CONFIG nosuch",
            "-ERR Unknown subcommand or wrong number of arguments for 'nosuch'. Try CONFIG HELP.",
        ),
        ("SELECT 16", "-ERR DB index is out of range"),
        ("SELECT x", "-ERR value is not an integer or out of range"),
        ("SELECT -1", "-ERR DB index is out of range"),
        ("SET a b EX 0", "-ERR invalid expire time in set"),
        ("SET a b XX NX", "-ERR syntax error"),
        ("OBJECT FREQ nosuch", "(nil)"),
        ("PING a b", "-ERR wrong number of arguments for 'ping' command"),
        ("HELLO 4", "-NOPROTO unsupported protocol version"),
        ("HELLO 1", "-NOPROTO unsupported protocol version"),
        ("HELLO x", "-ERR Protocol version is not an integer or out of range"),
        ("HELLO 3 foo", "-ERR Syntax error in HELLO option 'foo'"),
        ("HELLO 3 AUTH default", "-ERR Syntax error in HELLO option 'AUTH'"),
        ("PING", "PONG"),
    ] {
        assert_eq!(c.ask(line), want, "{line}");
    }
    // What is echoed is cut short and cannot break the framing.
    let reply = c.cmd(&["no\r\n+such".to_string(), "x".repeat(300)]).text();
    assert!(
        reply.starts_with("-ERR unknown command `no  +such`, with args beginning with: `xxx"),
        "{reply}"
    );
    assert!(reply.len() < 300, "{reply}");
    assert_eq!(c.ask("PING"), "PONG");
}

/// HELLO switches between the two protocols; each type has its form in each.
#[test]
fn hello_and_resp3() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let id = c.cmd(&["CLIENT", "ID"]).int();
    let fields = |proto| {
        format!(
            "server redis version 6.2.16 proto {proto} id {id} mode standalone role master modules []"
        )
    };
    assert_eq!(c.ask("HELLO"), format!("[{}]", fields(2)));
    assert_eq!(c.ask("HELLO 2"), format!("[{}]", fields(2)));
    let three = c.cmd(&["HELLO", "3", "SETNAME", "me"]);
    assert!(matches!(three, Reply::Map(_)), "{three:?}");
    assert_eq!(
        flat(&three),
        format!(
            "{{server=redis version=6.2.16 proto=3 id={id} mode=standalone role=master modules=[]}}"
        )
    );
    assert_eq!(c.ask("CLIENT GETNAME"), "me");

    let mut raw = |line: &str, want: &[u8]| {
        let words: Vec<&str> = line.split_whitespace().collect();
        c.send(&words);
        let got = c.take(want.len()).unwrap();
        assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(want), "{line}");
    };
    raw("GET nosuch", b"_\r\n");
    raw("CONFIG GET maxclients", b"%1\r\n$10\r\nmaxclients\r\n$5\r\n10000\r\n");
    raw("DEBUG PROTOCOL string", b"$11\r\nHello World\r\n");
    raw("DEBUG PROTOCOL integer", b":12345\r\n");
    raw("DEBUG PROTOCOL double", b",3.1415926535900001\r\n");
    raw("DEBUG PROTOCOL null", b"_\r\n");
    raw("DEBUG PROTOCOL array", b"*3\r\n:0\r\n:1\r\n:2\r\n");
    raw("DEBUG PROTOCOL set", b"~3\r\n:0\r\n:1\r\n:2\r\n");
    raw("DEBUG PROTOCOL map", b"%3\r\n:0\r\n#f\r\n:1\r\n#t\r\n:2\r\n#f\r\n");
    raw("DEBUG PROTOCOL attrib", b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n");
    raw("PING", b"$39\r\nSome real reply following the attribute\r\n+PONG\r\n");
    raw("DEBUG PROTOCOL push", b">2\r\n$14\r\nserver-cpu-usage\r\n".split_at(4).0);
    raw("PING", b"$16\r\nserver-cpu-usage\r\n:42\r\n$40\r\nSome real reply following the push reply\r\n+PONG\r\n");
    raw("DEBUG PROTOCOL verbatim", b"=29\r\ntxt:This is a verbatim\nstring\r\n");
    raw("DEBUG PROTOCOL true", b"#t\r\n");
    raw("DEBUG PROTOCOL false", b"#f\r\n");
    raw("DEBUG PROTOCOL bignum", b"(1234567999999999999999999999999999999\r\n");
    raw("MULTI", b"+OK\r\n");
    raw("GET nosuch", b"+QUEUED\r\n");
    raw("EXEC", b"*1\r\n_\r\n");
    assert_eq!(c.ask("HELLO 2"), format!("[{}]", fields(2)));
    let mut raw = |line: &str, want: &[u8]| {
        let words: Vec<&str> = line.split_whitespace().collect();
        c.send(&words);
        let got = c.take(want.len()).unwrap();
        assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(want), "{line}");
    };
    raw("GET nosuch", b"$-1\r\n");
    raw("DEBUG PROTOCOL double", b"$18\r\n3.1415926535900001\r\n");
    raw("DEBUG PROTOCOL null", b"$-1\r\n");
    raw("DEBUG PROTOCOL set", b"*3\r\n:0\r\n:1\r\n:2\r\n");
    raw("DEBUG PROTOCOL map", b"*6\r\n:0\r\n:0\r\n:1\r\n:1\r\n:2\r\n:0\r\n");
    raw("DEBUG PROTOCOL verbatim", b"$25\r\nThis is a verbatim\nstring\r\n");
    raw("DEBUG PROTOCOL true", b":1\r\n");
    raw("DEBUG PROTOCOL bignum", b"$37\r\n1234567999999999999999999999999999999\r\n");
}

// Pipelines: parsing ahead commits nothing.

/// SELECT in mid-batch counts for what follows it.
#[test]
fn pipeline_with_select() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    c.raw(&batch(&[
        "SET k zero",
        "SELECT 5",
        "GET k",
        "SET k five",
        "SELECT 0",
        "GET k",
        "SELECT 5",
        "GET k",
        "DBSIZE",
        "SELECT 99",
        "GET k",
    ]))
    .unwrap();
    for want in [
        "OK",
        "OK",
        "(nil)",
        "OK",
        "OK",
        "zero",
        "OK",
        "five",
        "1",
        "-ERR DB index is out of range",
        "five",
    ] {
        assert_eq!(next(&mut c), want);
    }
    // Longer than any look-ahead, alternating.
    let lines: Vec<String> = (0..500)
        .flat_map(|i| [format!("SELECT {}", i % 7), format!("SET key{i} {i}"), "DBSIZE".into()])
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    c.ask("FLUSHALL");
    c.raw(&batch(&lines)).unwrap();
    for i in 0..500 {
        assert_eq!(
            [next(&mut c), next(&mut c), next(&mut c)],
            ["OK", "OK", &(i / 7 + 1).to_string()],
            "round {i}"
        );
    }
}

/// Clients that send at the same time, one command or many, whole or in two pieces, get the answers
/// to their own commands, in order.
#[test]
fn pipelines_of_many_clients() {
    let server = TestServer::start(&[]);
    let mut clients: Vec<_> = (0..24).map(|_| server.conn()).collect();
    let mut counts = vec![0; clients.len()];
    for round in 0..30 {
        let len = |i: usize| [1, 2, 5, 20, 40][(i * 7 + round) % 5];
        let batches: Vec<_> = (0..clients.len())
            .map(|i| batch(&[format!("INCR n{i}").as_str(), "SADD set m", "PING"].repeat(len(i))))
            .collect();
        // Every third round, some of each comes first.
        let cut = |i: usize| if round % 3 == 0 { batches[i].len() * i / 24 } else { 0 };
        for (i, c) in clients.iter_mut().enumerate() {
            c.raw(&batches[i][..cut(i)]).unwrap();
        }
        for (i, c) in clients.iter_mut().enumerate() {
            c.raw(&batches[i][cut(i)..]).unwrap();
        }
        for (i, c) in clients.iter_mut().enumerate() {
            for n in 0..len(i) {
                counts[i] += 1;
                assert_eq!(next(c), counts[i].to_string(), "client {i}, command {n}");
                // Who comes first adds the member.
                assert!(["0", "1"].contains(&next(c).as_str()), "client {i}, command {n}");
                assert_eq!(next(c), "PONG");
            }
        }
    }
}

/// Keys that come, change and go within a batch are seen as they are at each command.
#[test]
fn pipeline_on_one_key() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    c.raw(&batch(&[
        "SET k a",
        "GET k",
        "DEL k",
        "GET k",
        "SET k b PX 100000",
        "GETDEL k",
        "EXISTS k",
        "INCR k",
        "INCR k",
        "RENAME k l",
        "GET k",
        "GET l",
        "SWAPDB 0 1",
        "GET l",
        "FLUSHALL",
        "SELECT 1",
        "GET l",
        "SET k x",
        "FLUSHDB",
        "GET k",
    ]))
    .unwrap();
    for want in [
        "OK", "a", "1", "(nil)", "OK", "b", "0", "1", "2", "OK", "(nil)", "2", "OK", "(nil)", "OK",
        "OK", "(nil)", "OK", "OK", "(nil)",
    ] {
        assert_eq!(next(&mut c), want);
    }
}

/// MULTI in mid-batch queues what follows it; errors there abort.
#[test]
fn pipeline_with_multi() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    c.raw(&batch(&[
        "SET a 1", "MULTI", "INCR a", "GET a", "EXEC", "GET a", "MULTI", "NOSUCH", "GET a", "EXEC",
        "GET a", "MULTI", "GET a", "DISCARD", "EXEC",
    ]))
    .unwrap();
    for want in [
        "OK",
        "OK",
        "QUEUED",
        "QUEUED",
        "[2 2]",
        "2",
        "OK",
        "-ERR unknown command `NOSUCH`, with args beginning with: ",
        "QUEUED",
        "-EXECABORT Transaction discarded because of previous errors.",
        "2",
        "OK",
        "QUEUED",
        "OK",
        "-ERR EXEC without MULTI",
    ] {
        assert_eq!(next(&mut c), want);
    }
}

/// A client that kills itself in mid-batch gets the answers up to that one, and nothing after it
/// runs.
#[test]
fn pipeline_with_client_kill() {
    let mut server = TestServer::start(&[]);
    let mut c = server.conn();
    let id = c.cmd(&["CLIENT", "ID"]).int();
    c.raw(&batch(&["SET a 1", &format!("CLIENT KILL ID {id} SKIPME no"), "SET a 2", "SET b 2"]))
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&c.read_to_end()), "+OK\r\n:1\r\n");
    assert_eq!(server.ask("MGET a b"), "[1 (nil)]");

    // Another client, whose batch of its own may be waiting in the same turn of the loop.
    for _ in 0..20 {
        let (mut killer, mut victim) = (server.conn(), server.conn());
        let id = victim.cmd(&["CLIENT", "ID"]).int();
        victim.raw(&batch(&["PING"; 40])).unwrap();
        killer.raw(&batch(&["PING", &format!("CLIENT KILL ID {id}"), "PING"])).unwrap();
        assert_eq!(
            [next(&mut killer), next(&mut killer), next(&mut killer)],
            ["PONG", "1", "PONG"]
        );
        assert!(victim.is_closed());
    }
    // The same within a transaction.
    let mut c = server.conn();
    let id = c.cmd(&["CLIENT", "ID"]).int();
    c.raw(&batch(&[
        "MULTI",
        "SET a 5",
        &format!("CLIENT KILL ID {id} SKIPME no"),
        "SET a 6",
        "EXEC",
        "SET a 7",
    ]))
    .unwrap();
    let got = String::from_utf8_lossy(&c.read_to_end()).into_owned();
    assert!(got.ends_with("*3\r\n+OK\r\n:1\r\n"), "{got}");
    assert_eq!(server.ask("GET a"), "6");
}

/// What a command in mid-batch changes of the server counts for the next one: limits, users, roles,
/// watchers.
#[test]
fn pipeline_with_a_changing_server() {
    let server = TestServer::start(&["--save", ""]);
    let mut c = server.conn();
    c.raw(&batch(&[
        "SET k 1",
        "CONFIG SET maxmemory 1",
        "SET k 2",
        "GET k",
        "CONFIG SET maxmemory 0",
        "SET k 3",
        "CONFIG SET min-replicas-to-write 1",
        "SET k 4",
        "GET k",
        "CONFIG SET min-replicas-to-write 0",
        "INCR k",
        "REPLICAOF 127.0.0.1 1",
        "SET k 5",
        "GET k",
        "CONFIG SET replica-serve-stale-data no",
        "GET k",
        "CONFIG SET replica-serve-stale-data yes",
        "REPLICAOF no one",
        "INCR k",
        "ACL SETUSER default -incr",
        "INCR k",
        "GET k",
        "ACL SETUSER default +incr resetkeys ~other",
        "GET k",
        "ACL SETUSER default allkeys",
        "INCR k",
        "CONFIG SET slowlog-log-slower-than 0",
        "GET k",
        "CONFIG SET slowlog-log-slower-than 1000000000",
        "GET k",
        "SLOWLOG LEN",
        "CONFIG SET slowlog-max-len 1",
        "GET k",
        "SLOWLOG LEN",
        "MULTI",
        "CONFIG SET maxmemory 1",
        "GET k",
        "EXEC",
        "SET k 9",
        "CONFIG SET maxmemory 0",
        "HELLO 3",
        "CLIENT TRACKING on",
        "GET k",
        "SET k 7",
    ]))
    .unwrap();
    let oom = "-OOM command not allowed when used memory > 'maxmemory'.";
    let lacks = "-NOREPLICAS Not enough good replicas to write.";
    let read_only = "-READONLY You can't write against a read only replica.";
    let stale = "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
    let no_command =
        "-NOPERM this user has no permissions to run the 'incr' command or its subcommand";
    let no_key = "-NOPERM this user has no permissions to access one of the keys used as arguments";
    for (i, want) in [
        "OK", "OK", oom, "1", "OK", "OK", "OK", lacks, "3", "OK", "4", "OK", read_only, "4", "OK",
        stale, "OK", "OK", "5", "OK", no_command, "5", "OK", no_key, "OK", "6", "OK", "6", "OK",
        "6", "2", "OK", "6", "1", "OK", "QUEUED", "QUEUED", "[OK 6]", oom, "OK",
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(next(&mut c), want, "reply {i}");
    }
    assert!(next(&mut c).contains("proto=3"));
    assert_eq!([next(&mut c), next(&mut c), next(&mut c)], ["OK", "6", "OK"]);
    assert_eq!(next(&mut c), ">[invalidate [k]]");

    // What another client changes, too: here it is the watcher.
    let mut watcher = server.conn();
    for round in 0..3 {
        let writes = batch(&["SET k 8", "GET k", "SET k 9"]);
        c.raw(&writes).unwrap();
        for _ in 0..3 {
            next(&mut c);
        }
        assert_eq!(next(&mut c), ">[invalidate [k]]", "round {round}");
        if round == 1 {
            assert_eq!(watcher.ask("MONITOR"), "OK");
        }
    }
    let seen = (0..3).map(|_| next(&mut watcher)).collect::<String>();
    assert!(seen.contains(r#""SET" "k" "8""#) && seen.contains(r#""SET" "k" "9""#), "{seen}");
}

/// CLIENT REPLY in mid-batch.
#[test]
fn pipeline_with_client_reply() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    c.raw(&batch(&[
        "PING 1",
        "CLIENT REPLY SKIP",
        "PING 2",
        "PING 3",
        "CLIENT REPLY OFF",
        "PING 4",
        "NOSUCH",
        "CLIENT REPLY SKIP",
        "SET a 1",
        "CLIENT REPLY ON",
        "GET a",
        "CLIENT REPLY foo",
    ]))
    .unwrap();
    for want in ["1", "3", "OK", "1", "-ERR syntax error"] {
        assert_eq!(next(&mut c), want);
    }
    // A subscriber with replies off gets its messages all the same? No: they are off until they are
    // on.
    assert_eq!(c.ask("PING end"), "end");
}

/// QUIT in mid-batch is the last that is answered.
#[test]
fn pipeline_with_quit() {
    let mut server = TestServer::start(&[]);
    assert_eq!(
        to_the_end(server.port, &batch(&["SET a 1", "QUIT", "SET a 2", "PING"])),
        "+OK\r\n+OK\r\n"
    );
    assert_eq!(server.ask("GET a"), "1");
    assert_eq!(to_the_end(server.port, b"QUIT\r\n"), "+OK\r\n");
    assert_eq!(to_the_end(server.port, b"quit now\r\nPING\r\n"), "+OK\r\n");
    assert_eq!(
        to_the_end(server.port, b"MULTI\r\nSET a 2\r\nQUIT\r\nEXEC\r\n"),
        "+OK\r\n+QUEUED\r\n+OK\r\n"
    );
    assert_eq!(server.ask("GET a"), "1");
}

/// A batch of 100000 commands is answered in order, whatever its reads and writes are cut into.
#[test]
fn long_pipeline() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let mut writer = c.sock.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        let bytes: Vec<u8> =
            (0..100_000).flat_map(|i| Conn::encode(&["ECHO".to_string(), i.to_string()])).collect();
        writer.write_all(&bytes).unwrap();
    });
    for i in 0..100_000 {
        assert_eq!(c.reply().text(), i.to_string());
    }
    sender.join().unwrap();
}

/// Big arguments, alone and with neighbours in the same write.
#[test]
fn big_arguments() {
    let mut server = TestServer::start(&[]);
    let mut c = server.conn();
    for size in [16_383, 16_384, 32_767, 32_768, 32_769, 40_000, 65_536, 1_000_000, 20_000_000] {
        let value: String = (0..size).map(|i| char::from(b'a' + (i % 23) as u8)).collect();
        let mut bytes = Conn::encode(&["SET", "k", &value]);
        bytes.extend(batch(&["STRLEN k", "PING"]));
        bytes.extend(Conn::encode(&["ECHO", &value]));
        bytes.extend(batch(&["GET k", "PING"]));
        let mut writer = c.sock.try_clone().unwrap();
        let sender = std::thread::spawn(move || writer.write_all(&bytes).unwrap());
        assert_eq!([next(&mut c), next(&mut c), next(&mut c)], ["OK", &size.to_string(), "PONG"]);
        assert!(c.reply().bytes() == value.as_bytes(), "ECHO of {size}");
        assert!(c.reply().bytes() == value.as_bytes(), "GET of {size}");
        assert_eq!(next(&mut c), "PONG");
        sender.join().unwrap();
    }
    assert_eq!(server.ask("CONFIG SET proto-max-bulk-len 1mb"), "OK");
    assert_eq!(
        to_the_end(server.port, b"*2\r\n$4\r\nECHO\r\n$1048577\r\n"),
        "-ERR Protocol error: invalid bulk length\r\n"
    );
    assert!(server.conn().cmd(&["ECHO".to_string(), "x".repeat(1 << 20)]).bytes().len() == 1 << 20);
}

// CLIENT.

/// ID, INFO, LIST with its filters, GETNAME and SETNAME.
#[test]
fn client_list_and_names() {
    let server = TestServer::start(&[]);
    let (mut a, mut b) = (server.conn(), server.conn());
    let (ida, idb) = (a.cmd(&["CLIENT", "ID"]).int(), b.cmd(&["CLIENT", "ID"]).int());
    assert!(idb > ida);
    assert_eq!(a.ask("CLIENT GETNAME"), "(nil)");
    assert_eq!(a.ask("CLIENT SETNAME alice"), "OK");
    assert_eq!(a.ask("CLIENT GETNAME"), "alice");
    assert_eq!(
        flat(&a.cmd(&["CLIENT", "SETNAME", "a b"])),
        "-ERR Client names cannot contain spaces, newlines or special characters."
    );
    assert_eq!(a.ask("CLIENT GETNAME"), "alice");
    let port = a.sock.local_addr().unwrap().port();
    // Now and then a second begins between a request and its answer.
    let mut info = String::new();
    wait_for("an answer in the second of its request", || {
        info = a.ask("CLIENT INFO");
        info.contains(" idle=0 ")
    });
    let start = format!("id={ida} addr=127.0.0.1:{port} laddr=127.0.0.1:{} fd=", server.port);
    assert!(info.starts_with(&start), "{info}");
    for field in [
        " name=alice ",
        " age=",
        " flags=N ",
        " db=0 ",
        " sub=0 ",
        " psub=0 ",
        " multi=-1 ",
        " qbuf=26 ",
        " qbuf-free=",
        " argv-mem=10 ",
        " obl=0 ",
        " oll=0 ",
        " omem=0 ",
        " tot-mem=",
        " events=r ",
        " cmd=client ",
        " user=default ",
        " redir=-1",
    ] {
        assert!(info.contains(field), "{field:?} in {info}");
    }
    b.ask("SELECT 3");
    b.ask("MULTI");
    b.ask("PING");
    let list = a.ask("CLIENT LIST");
    assert_eq!(list.lines().count(), 2, "{list}");
    let line = list.lines().find(|l| l.starts_with(&format!("id={idb} "))).unwrap();
    assert!(
        line.contains(" flags=x db=3 ")
            && line.contains(" multi=1 ")
            && line.contains(" cmd=ping "),
        "{line}"
    );
    assert_eq!(b.ask("DISCARD"), "OK");

    assert_eq!(a.ask("CLIENT LIST TYPE normal").lines().count(), 2);
    assert_eq!(a.ask("CLIENT LIST TYPE replica"), "");
    assert_eq!(a.ask("CLIENT LIST TYPE pubsub"), "");
    assert_eq!(b.ask("SUBSCRIBE ch"), "[subscribe ch 1]");
    let pubsub = a.ask("CLIENT LIST TYPE PubSub");
    assert!(
        pubsub.starts_with(&format!("id={idb} "))
            && pubsub.contains(" flags=P ")
            && pubsub.contains(" sub=1 "),
        "{pubsub}"
    );
    assert_eq!(a.ask("CLIENT LIST TYPE foo"), "-ERR Unknown client type 'foo'");
    let both = a.ask(&format!("CLIENT LIST ID {idb} {ida} 99999"));
    assert_eq!(
        both.lines().map(|l| l.split(' ').next().unwrap()).collect::<Vec<_>>(),
        [format!("id={idb}"), format!("id={ida}")]
    );
    assert_eq!(a.ask("CLIENT LIST ID x"), "-ERR Invalid client ID");
    assert_eq!(a.ask("CLIENT LIST ID"), "-ERR syntax error");
    assert_eq!(a.ask("CLIENT LIST foo"), "-ERR syntax error");
    assert!(
        a.ask("CLIENT HELP")
            .starts_with("[CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")
    );
    assert_eq!(a.ask("CLIENT GETREDIR"), "-1");
    assert_eq!(
        a.ask("CLIENT ID x"),
        "-ERR Unknown subcommand or wrong number of arguments for 'ID'. Try CLIENT HELP."
    );
}

/// CLIENT KILL, old form and each filter.
#[test]
fn client_kill_filters() {
    let server = TestServer::start(&[]);
    let mut a = server.conn();
    let addr = |c: &Conn| c.sock.local_addr().unwrap().to_string();
    let victim = || {
        let mut c = server.conn();
        let id = c.cmd(&["CLIENT", "ID"]).int();
        (c, id)
    };
    let (mut v, id) = victim();
    assert_eq!(a.ask(&format!("CLIENT KILL ID {id}")), "1");
    assert!(v.is_closed());
    assert_eq!(a.ask(&format!("CLIENT KILL ID {id}")), "0");
    let (mut v, _) = victim();
    assert_eq!(a.ask(&format!("CLIENT KILL {}", addr(&v))), "OK");
    assert!(v.is_closed());
    assert_eq!(a.ask("CLIENT KILL 127.0.0.1:1"), "-ERR No such client");
    let (mut v, _) = victim();
    assert_eq!(a.ask(&format!("CLIENT KILL ADDR {}", addr(&v))), "1");
    assert!(v.is_closed());
    let ((mut v, _), (mut w, _)) = (victim(), victim());
    assert_eq!(
        a.ask(&format!("CLIENT KILL LADDR 127.0.0.1:{}", server.port)),
        "2",
        "all but the asker"
    );
    assert!(v.is_closed() && w.is_closed());
    let ((mut v, _), (mut w, _)) = (victim(), victim());
    w.ask("PSUBSCRIBE x*");
    assert_eq!(a.ask("CLIENT KILL TYPE pubsub"), "1");
    assert!(w.is_closed());
    assert_eq!(v.ask("PING"), "PONG");
    assert_eq!(a.ask("CLIENT KILL TYPE replica"), "0");
    assert_eq!(a.ask("CLIENT KILL TYPE master"), "0");
    let (mut w, id) = victim();
    assert_eq!(
        a.ask(&format!("CLIENT KILL TYPE normal ID {id} ADDR {}", addr(&w))),
        "1",
        "all filters must hold"
    );
    assert!(w.is_closed());
    assert_eq!(a.ask(&format!("CLIENT KILL ID {id} ADDR {}", addr(&v))), "0");
    assert_eq!(a.ask("CLIENT KILL USER default"), "1");
    assert!(v.is_closed());
    for (line, want) in [
        ("CLIENT KILL USER nosuch", "-ERR No such user 'nosuch'"),
        ("CLIENT KILL TYPE foo", "-ERR Unknown client type 'foo'"),
        ("CLIENT KILL ID x", "-ERR value is not an integer or out of range"),
        ("CLIENT KILL ID 0", "0"),
        ("CLIENT KILL SKIPME maybe", "-ERR syntax error"),
        ("CLIENT KILL ID 1 ADDR", "-ERR syntax error"),
        ("CLIENT KILL foo bar", "-ERR syntax error"),
    ] {
        assert_eq!(a.ask(line), want, "{line}");
    }
    let (mut v, _) = victim();
    a.send(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"]);
    assert_eq!(String::from_utf8_lossy(&a.read_to_end()), ":2\r\n");
    assert!(v.is_closed());
}

/// CLIENT PAUSE holds writes or everything back, until the time is over or UNPAUSE.
#[test]
fn client_pause() {
    let server = TestServer::start(&[]);
    let (mut a, mut b) = (server.conn(), server.conn());
    a.ask("SET k 0");
    assert_eq!(a.ask("CLIENT PAUSE 100000 WRITE"), "OK");
    assert_eq!(b.ask("GET k"), "0", "reads go on");
    b.send(&["INCR", "k"]);
    wait_for("the write is held", || server.info("blocked_clients") == "1");
    assert_eq!(a.ask("GET k"), "0");
    assert_eq!(a.ask("CLIENT UNPAUSE"), "OK");
    assert_eq!(next(&mut b), "1");
    // A transaction with a write is held at its EXEC.
    assert_eq!([b.ask("MULTI"), b.ask("INCR k")], ["OK", "QUEUED"]);
    a.ask("CLIENT PAUSE 100000 WRITE");
    b.send(&["EXEC"]);
    wait_for("EXEC is held", || server.info("blocked_clients") == "1");
    a.ask("CLIENT UNPAUSE");
    assert_eq!(next(&mut b), "[2]");
    // All: even PING waits, for this long.
    let start = Instant::now();
    assert_eq!(a.ask("CLIENT PAUSE 300"), "OK");
    assert_eq!(b.ask("PING"), "PONG");
    assert!(start.elapsed() >= Duration::from_millis(290), "{:?}", start.elapsed());
    for (line, want) in [
        ("CLIENT PAUSE abc", "-ERR timeout is not an integer or out of range"),
        ("CLIENT PAUSE -1", "-ERR timeout is negative"),
        ("CLIENT PAUSE 100 foo", "-ERR CLIENT PAUSE mode must be WRITE or ALL"),
        ("CLIENT UNBLOCK abc", "-ERR value is not an integer or out of range"),
        ("CLIENT UNBLOCK 99999", "0"),
        ("CLIENT UNBLOCK 1 foo", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
    ] {
        assert_eq!(a.ask(line), want, "{line}");
    }
    // Keys do not expire by the cycle while writes are paused, but read as gone.
    // In one go: no cycle comes between.
    a.raw(&batch(&["SET e x PX 50", "CLIENT PAUSE 100000 WRITE"])).unwrap();
    assert_eq!([next(&mut a), next(&mut a)], ["OK", "OK"]);
    wait_for("its end", || a.ask("GET e") == "(nil)");
    // Time for the cycle to take it, if it would.
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(a.ask("DBSIZE"), "2");
    assert_eq!(a.ask("CLIENT UNPAUSE"), "OK");
    wait_for("it goes after the pause", || a.ask("DBSIZE") == "1");
}

/// Where all keys are expired and none may be deleted, RANDOMKEY ends all the same, and answers
/// with one of them.
#[test]
fn randomkey_where_nothing_expires() {
    let server = TestServer::start(&[]);
    let (mut a, mut b) = (server.conn(), server.conn());
    // In one go: no cycle comes between.
    a.raw(&batch(&["SET e x PX 50", "CLIENT PAUSE 100000 WRITE"])).unwrap();
    assert_eq!([next(&mut a), next(&mut a)], ["OK", "OK"]);
    wait_for("its end", || a.ask("GET e") == "(nil)");
    assert_eq!(b.ask("RANDOMKEY"), "e", "while clients are paused");
    assert_eq!(b.ask("SCAN 0"), "[0 []]");
    // On a replica, whose master would send the DEL.
    b.raw(&batch(&["CLIENT UNPAUSE", "SET e x PX 50", "REPLICAOF 127.0.0.1 1"])).unwrap();
    assert_eq!([next(&mut b), next(&mut b), next(&mut b)], ["OK"; 3]);
    wait_for("its end", || a.ask("GET e") == "(nil)");
    assert_eq!(b.ask("RANDOMKEY"), "e", "on a replica");
}

/// CLIENT UNBLOCK ends the wait of a blocked client, as a timeout or with an error.
#[test]
fn client_unblock() {
    let server = TestServer::start(&[]);
    let (mut a, mut b) = (server.conn(), server.conn());
    if a.ask("COMMAND INFO blpop") == "[(nil)]" {
        return; // no command that blocks yet
    }
    let id = b.cmd(&["CLIENT", "ID"]).int();
    for (how, want) in [
        ("", "(nil)"),
        (" TIMEOUT", "(nil)"),
        (" ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK"),
    ] {
        b.send(&["BLPOP", "nokey", "0"]);
        wait_for("it blocks", || server.info("blocked_clients") == "1");
        assert_eq!(a.ask(&format!("CLIENT UNBLOCK {id}{how}")), "1");
        assert_eq!(next(&mut b), want);
    }
    assert_eq!(a.ask(&format!("CLIENT UNBLOCK {id}")), "0");
}

// Who may speak.

/// AUTH, in its forms and failures; nothing but AUTH, HELLO, QUIT and RESET before it.
#[test]
fn auth() {
    let mut server = TestServer::start(&[]);
    assert_eq!(
        server.ask("AUTH foo"),
        "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?"
    );
    let mut before = server.conn();
    assert_eq!(server.ask("CONFIG SET requirepass s3cret"), "OK");
    assert_eq!(before.ask("PING"), "PONG", "a client that was there keeps its right");
    let mut c = server.conn();
    let noauth = "-NOAUTH Authentication required.";
    for line in [
        "PING",
        "GET a",
        "SET a b",
        "MULTI",
        "SUBSCRIBE x",
        "SHUTDOWN",
        "REPLICAOF NO ONE",
        "PSYNC ? -1",
    ] {
        assert_eq!(c.ask(line), noauth, "{line}");
    }
    assert_eq!(
        c.ask("EXEC"),
        "-EXECABORT Transaction discarded because of: NOAUTH Authentication required."
    );
    assert_eq!(c.ask("NOSUCH"), "-ERR unknown command `NOSUCH`, with args beginning with: ");
    assert!(c.ask("HELLO 3").starts_with(
        "-NOAUTH HELLO must be called with the client already authenticated, otherwise"
    ));
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.";
    assert_eq!(c.ask("AUTH wrong"), wrong);
    assert_eq!(c.ask("AUTH nosuch s3cret"), wrong);
    assert_eq!(c.ask("HELLO 3 AUTH default wrong"), wrong);
    assert_eq!(c.ask("AUTH a b c"), "-ERR syntax error");
    assert_eq!(c.ask("GET a"), noauth);
    assert_eq!(c.ask("AUTH s3cret"), "OK");
    assert_eq!(c.ask("SET a b"), "OK");
    let mut d = server.conn();
    assert!(d.ask("HELLO 3 AUTH default s3cret").starts_with("{server=redis"));
    assert_eq!(d.ask("RESET"), "RESET");
    assert_eq!(d.ask("GET a"), noauth, "RESET takes the right away");
    assert_eq!(d.ask("AUTH default s3cret"), "OK");
    assert_eq!(
        d.ask("CONFIG SET requirepass "),
        "-ERR Unknown subcommand or wrong number of arguments for 'SET'. Try CONFIG HELP."
    );
    assert_eq!(flat(&d.cmd(&["CONFIG", "SET", "requirepass", ""])), "OK");
    let mut e = server.conn();
    assert_eq!(e.ask("GET a"), "b");
}

/// RESET puts a connection back as it was at the start.
#[test]
fn reset() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let mut other = server.conn();
    c.ask("HELLO 3 SETNAME bob");
    c.ask("SELECT 7");
    c.ask("WATCH k");
    c.ask("MULTI");
    c.ask("SET k 1");
    assert_eq!(c.ask("RESET"), "RESET");
    assert_eq!(c.ask("EXEC"), "-ERR EXEC without MULTI");
    assert_eq!(c.ask("CLIENT GETNAME"), "(nil)");
    assert!(c.ask("CLIENT INFO").contains(" db=0 "));
    c.send(&["GET", "k"]);
    assert_eq!(c.line().unwrap(), b"$-1", "RESP2 again");
    // The watch is gone.
    c.ask("WATCH k");
    other.ask("SET k 2");
    c.ask("RESET");
    c.ask("MULTI");
    assert_eq!(c.ask("EXEC"), "[]");
    c.ask("SUBSCRIBE ch");
    assert_eq!(c.ask("RESET"), "RESET");
    assert_eq!(other.ask("PUBLISH ch x"), "0");
    assert_eq!(c.ask("GET k"), "2");
    assert_eq!(c.ask("MONITOR"), "OK");
    c.send(&["RESET"]);
    while next(&mut c) != "RESET" {}
    other.ask("SET k 3");
    assert_eq!(c.ask("GET k"), "3", "no line of a monitor comes before this");
}

/// maxclients: one more is told so and closed; when one leaves there is room.
#[test]
fn maxclients() {
    let server = TestServer::start(&["--maxclients", "4"]);
    // The one by which it was seen to be up may not have let go of its place yet.
    let mut first = server.conn();
    wait_for("nobody else", || first.ask("INFO clients").contains("connected_clients:1\r\n"));
    let mut held = vec![first, server.conn(), server.conn()];
    held.iter_mut().for_each(|c| assert_eq!(c.ask("PING"), "PONG"));
    let mut info = server.conn();
    info.ask("PING");
    let mut extra = server.conn();
    assert_eq!(
        String::from_utf8_lossy(&extra.read_to_end()),
        "-ERR max number of clients reached\r\n"
    );
    assert!(info.ask("INFO stats").contains("rejected_connections:1\r\n"));
    assert!(info.ask("INFO clients").contains("connected_clients:4\r\n"));
    held.pop();
    wait_for("room again", || {
        let mut c = server.conn();
        let _ = c.raw(b"PING\r\n");
        c.try_reply().is_ok_and(|r| r.text() == "PONG")
    });
    assert_eq!(info.ask("CONFIG SET maxclients 100"), "OK");
    let more: Vec<Conn> = (0..50).map(|_| server.conn()).collect();
    for mut c in more {
        assert_eq!(c.ask("PING"), "PONG");
    }
    // More than any kernel has: the bound is not searched for step by step, which would take
    // minutes.
    let refused = info.ask("CONFIG SET maxclients 4294967295");
    assert!(refused.contains("The operating system is not able to handle"), "{refused}");
    assert_eq!(info.ask("CONFIG GET maxclients"), "[maxclients 100]");
    let possible = refused.split("try with ").nth(1).unwrap().trim_end_matches('\'').to_owned();
    assert_eq!(info.ask(&format!("CONFIG SET maxclients {possible}")), "OK", "{refused}");
}

/// timeout closes idle clients, not subscribers.
#[test]
fn idle_timeout() {
    let server = TestServer::start(&["--timeout", "1"]);
    let (mut idle, mut sub, mut busy) = (server.conn(), server.conn(), server.conn());
    sub.ask("SUBSCRIBE ch");
    let start = Instant::now();
    idle.ask("PING");
    idle.ask("PING");
    std::thread::scope(|s| {
        let waiting = s.spawn(|| {
            assert!(idle.is_closed());
            let took = start.elapsed();
            assert!(took > Duration::from_millis(900), "{took:?}");
        });
        let mut last = Instant::now();
        while !waiting.is_finished() || start.elapsed() < Duration::from_millis(2500) {
            busy.send(&["PING"]);
            match busy.try_reply() {
                Ok(reply) => assert_eq!(reply.text(), "PONG"),
                Err(e) => {
                    // On a machine that is busier than this client it may have been idle, too.
                    assert!(last.elapsed() > Duration::from_millis(300), "it was closed: {e}");
                    busy = server.conn();
                }
            }
            last = Instant::now();
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let mut busy = server.conn();
    assert_eq!(busy.ask("PUBLISH ch hello"), "1");
    assert_eq!(next(&mut sub), "[message ch hello]");
}

// Where it listens.

/// Several addresses, IPv6, and errors at the start.
#[test]
fn binds() {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("no IPv6 on this machine: only IPv4 is tested");
        let server = TestServer::start(&["--bind", "127.0.0.1", "127.0.0.2"]);
        let mut s = TcpStream::connect(("127.0.0.2", server.port)).unwrap();
        assert_eq!(exchange(&mut s, b"PING\r\n", "\n"), "+PONG\r\n");
        return;
    }
    let server = TestServer::start(&["--bind", "127.0.0.1", "127.0.0.2", "::1"]);
    for ip in ["127.0.0.1", "127.0.0.2", "::1"] {
        let mut s = TcpStream::connect((ip, server.port)).unwrap();
        s.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(exchange(&mut s, b"PING\r\n", "\n"), "+PONG\r\n", "{ip}");
        let info = exchange(&mut s, b"CLIENT INFO\r\n", "redir");
        let local = s.local_addr().unwrap();
        assert!(
            info.contains(&format!(" addr={local} laddr={} ", s.peer_addr().unwrap())),
            "{info}"
        );
    }
    assert!(TcpStream::connect(("127.0.0.3", server.port)).is_err());
    drop(server);

    // An address that starts with '-' may be absent; one without it may not.
    let server = TestServer::start(&["--bind", "127.0.0.1", "-192.0.2.1"]);
    assert_eq!(server.cmd(&["PING"]).text(), "PONG");
    let out = std::process::Command::new(OURS)
        .args(["--port", &free_port().to_string(), "--bind", "127.0.0.1", "192.0.2.1"])
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(1));
    let log = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(log.contains("Could not create server TCP listening socket 192.0.2.1:"), "{log}");
    assert!(log.contains("Failed listening on port "), "{log}");
    // A port that is taken.
    let out = std::process::Command::new(OURS)
        .args(["--port", &server.port.to_string(), "--bind", "127.0.0.1"])
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stdout).contains("bind: Address already in use"));
}

/// The unix socket: works, has its mode, and had it before anyone could connect (CVE-2023-45145).
#[test]
fn unix_socket() {
    for mode in [0o700u32, 0o666] {
        let dir = Folder::new();
        let path = dir.path("s");
        let (watch, stop) =
            (path.clone(), std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)));
        let stopped = stop.clone();
        // From the moment the file is there: whoever gets in, gets in with the right mode.
        let watcher = std::thread::spawn(move || {
            let mut early = Vec::new();
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                if UnixStream::connect(&watch).is_ok() {
                    let m = std::fs::metadata(&watch).unwrap().permissions().mode() & 0o777;
                    if m != mode {
                        early.push(m);
                    }
                }
            }
            early
        });
        let perm = format!("{mode:o}");
        let server =
            TestServer::start(&["--unixsocket", path.to_str().unwrap(), "--unixsocketperm", &perm]);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(
            watcher.join().unwrap(),
            Vec::<u32>::new(),
            "modes seen by a client that was let in"
        );
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        let mut s = UnixStream::connect(&path).unwrap();
        s.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(exchange(&mut s, b"SET a b\r\nGET a\r\n", "b\r\n"), "+OK\r\n$1\r\nb\r\n");
        let info = exchange(&mut s, b"CLIENT INFO\r\n", "redir");
        assert!(
            info.contains(&format!(" addr={}:0 laddr={}:0 ", path.display(), path.display())),
            "{info}"
        );
        assert!(info.contains(" flags=U "), "{info}");
        assert_eq!(server.info("tcp_port"), server.port.to_string());
        server.cmd(&["CONFIG", "SET", "save", ""]);
        let mut server = server;
        server.signal("TERM");
        assert_eq!(server.wait_exit(), 0);
        assert!(!path.exists(), "removed at the end");
    }
    // Without TCP at all.
    let dir = Folder::new();
    let path = dir.path("only");
    let mut child = std::process::Command::new(OURS)
        .args(["--port", "0", "--save", "", "--unixsocket", path.to_str().unwrap()])
        .current_dir(&dir.0)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the socket", || UnixStream::connect(&path).is_ok());
    let mut s = UnixStream::connect(&path).unwrap();
    assert_eq!(exchange(&mut s, b"PING\r\n", "\n"), "+PONG\r\n");
    s.write_all(b"SHUTDOWN NOSAVE\r\n").unwrap();
    assert!(child.wait().unwrap().success());
}

/// Protected mode: without a password and without addresses to listen on, only this machine's own
/// addresses may speak.
#[test]
fn protected_mode() {
    use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn};
    use std::os::fd::AsRawFd;
    // 127.0.0.2 is not one of the two addresses that protected mode lets in.
    let from = |port| {
        let fd =
            socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
                .unwrap();
        socket::bind(fd.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 2, 0)).unwrap();
        socket::connect(fd.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port)).unwrap();
        let s = TcpStream::from(fd);
        s.set_read_timeout(Some(PATIENCE)).unwrap();
        s
    };
    // With an address of its own choice a server is not protected.
    let server = TestServer::start(&[]);
    assert_eq!(exchange(&mut from(server.port), b"PING\r\n", "\n"), "+PONG\r\n");
    drop(server);

    let (dir, port) = (Folder::new(), free_port());
    let mut child = std::process::Command::new(OURS)
        .args(["--port", &port.to_string(), "--save", ""])
        .current_dir(&dir.0)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_for("it listens", || Conn::try_open(port).is_ok());
    let mut c = Conn::open(port);
    let said = exchange(&mut from(port), b"", "\n");
    assert!(
        said.starts_with(
            "-DENIED Redis is running in protected mode because protected mode is enabled"
        ),
        "{said:?}"
    );
    assert!(said.ends_with("\r\n") && said.matches('\n').count() == 1, "{said:?}");
    assert!(c.ask("INFO stats").contains("rejected_connections:1\r\n"));
    assert_eq!(c.ask("CONFIG SET requirepass x"), "OK");
    assert_eq!(exchange(&mut from(port), b"AUTH x\r\n", "\n"), "+OK\r\n");
    c.send(&["SHUTDOWN", "NOSAVE"]);
    assert!(child.wait().unwrap().success());
}

// Limits.

/// A client that does not read is closed when its class's hard limit is passed, and its memory is
/// given back.
#[test]
fn output_buffer_hard_limit() {
    let mut server = TestServer::start(&[
        "--client-output-buffer-limit",
        "normal",
        "1mb",
        "0",
        "0",
        "--client-output-buffer-limit",
        "pubsub",
        "1mb",
        "0",
        "0",
    ]);
    server.conn().cmd(&["SET".to_string(), "k".to_string(), "x".repeat(500_000)]);
    let before = server.info_i64("used_memory");
    let mut deaf = narrow(server.port);
    deaf.write_all(&batch(&["CLIENT SETNAME deaf"])).unwrap();
    for _ in 0..400 {
        if deaf.write_all(&batch(&["GET k"; 10])).is_err() {
            break;
        }
    }
    server.wait_for_log("scheduled to be closed ASAP for overcoming of output buffer limits.");
    assert!(server.log().contains("name=deaf "));
    wait_for("it is gone", || !server.ask("CLIENT LIST").contains("name=deaf"));
    wait_for("its memory too", || server.info_i64("used_memory") < before + 1_000_000);

    // The limit is the class's: a subscriber has its own.
    let mut sub = narrow(server.port);
    assert!(exchange(&mut sub, b"SUBSCRIBE ch\r\n", ":1\r\n").contains("subscribe"));
    let mut c = server.conn();
    let message = "m".repeat(100_000);
    let mut heard = 1;
    for _ in 0..2000 {
        heard = c.cmd(&["PUBLISH", "ch", &message]).int();
        if heard == 0 {
            break;
        }
    }
    assert_eq!(heard, 0, "the deaf subscriber was dropped");
    assert!(c.ask("INFO clients").contains("connected_clients:"));
    assert_eq!(
        c.ask("CONFIG GET client-output-buffer-limit"),
        "[client-output-buffer-limit normal 1048576 0 0 slave 268435456 67108864 60 pubsub 1048576 0 0]"
    );
}

/// The soft limit closes only who stays above it for that long.
#[test]
fn output_buffer_soft_limit() {
    let mut server =
        TestServer::start(&["--client-output-buffer-limit", "normal", "0", "200kb", "2"]);
    server.conn().cmd(&["SET".to_string(), "k".to_string(), "x".repeat(5_000_000)]);
    let mut deaf = narrow(server.port);
    let start = Instant::now();
    // Much more than the kernel takes off the server.
    deaf.write_all(&batch(&[&["CLIENT SETNAME deaf"], &["GET k"; 8][..]].concat())).unwrap();
    server.wait_for_log("overcoming of output buffer limits");
    assert!(start.elapsed() > Duration::from_millis(900), "not at once: {:?}", start.elapsed());
    assert!(server.log().contains(" name=deaf "));
    wait_for("it is closed", || !server.ask("CLIENT LIST").contains("name=deaf"));

    // One that reads in time stays.
    wait_for("a read in time", || {
        let mut slow = server.conn();
        let start = Instant::now();
        slow.send(&["GET", "k"]);
        std::thread::sleep(Duration::from_millis(500));
        let read = slow.try_reply();
        if start.elapsed() > Duration::from_millis(1500) {
            return false; // too late: the machine is busy
        }
        assert_eq!(read.unwrap().bytes().len(), 5_000_000);
        std::thread::sleep(Duration::from_millis(2500));
        assert_eq!(slow.ask("PING"), "PONG");
        true
    });
}

/// A query that grows past client-query-buffer-limit ends the connection.
#[test]
fn query_buffer_limit() {
    let mut server = TestServer::start(&["--client-query-buffer-limit", "1mb"]);
    let mut c = server.conn();
    let mut bytes = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000000\r\n".to_vec();
    bytes.resize(4_000_000, b'x');
    let _ = c.raw(&bytes);
    assert!(c.is_closed());
    server.wait_for_log("Closing client that reached max query buffer length: id=");
    assert_eq!(server.ask("EXISTS k"), "0");
    // Many queries in a row are not one big one.
    let mut c = server.conn();
    for _ in 0..100 {
        assert_eq!(c.cmd(&["SET".to_string(), "k".to_string(), "x".repeat(100_000)]).text(), "OK");
    }
}

// Who listens.

/// MONITOR sees what others do, quoted, but neither administration nor secrets.
#[test]
fn monitor() {
    let mut server = TestServer::start(&[]);
    let mut m = server.conn();
    assert_eq!(m.ask("MONITOR"), "OK");
    let mut c = server.conn();
    let addr = c.sock.local_addr().unwrap();
    c.cmd(&[&b"SET"[..], b"a\r\n\"\\", b"\xff\x00 x"]);
    c.ask("SELECT 3");
    c.ask("AUTH secret1");
    c.ask("CONFIG SET requirepass secret2");
    c.ask("HELLO 3 AUTH default secret3");
    c.ask("MULTI");
    c.ask("get a");
    c.ask("EXEC");
    c.ask("NOSUCH");
    c.ask("PING end");
    let mut lines = Vec::new();
    loop {
        let line = next(&mut m);
        let (time, rest) = line.split_once(' ').unwrap();
        let (seconds, micros) = time.split_once('.').unwrap();
        assert!(seconds.parse::<u64>().unwrap() > 1_700_000_000 && micros.len() == 6, "{line}");
        lines.push(rest.to_string());
        if rest.contains("end") {
            break;
        }
    }
    let want = [
        format!(r#"[0 {addr}] "SET" "a\r\n\"\\" "\xff\x00 x""#),
        format!(r#"[3 {addr}] "SELECT" "3""#),
        format!(r#"[3 {addr}] "AUTH" "(redacted)""#),
        format!(r#"[3 {addr}] "HELLO" "3" "AUTH" "(redacted)" "(redacted)""#),
        format!(r#"[3 {addr}] "MULTI""#),
        format!(r#"[3 {addr}] "get" "a""#),
        format!(r#"[3 {addr}] "EXEC""#),
        format!(r#"[3 {addr}] "PING" "end""#),
    ];
    assert_eq!(lines, want);
    assert_eq!(server.ask("AUTH secret2"), "OK");
}

// Transactions.

/// WATCH: whatever touches a watched key makes EXEC answer nil.
#[test]
fn watch() {
    let server = TestServer::start(&[]);
    let (mut a, mut b) = (server.conn(), server.conn());
    for (setup, touch, spoiled) in [
        ("SET k 1", "SET k 1", true),
        ("SET k 1", "INCR k", true),
        ("SET k 1", "GET k", false),
        ("SET k 1", "SET other 1", false),
        ("SET k 1", "DEL k", true),
        ("DEL k", "SET k 1", true),
        ("DEL k", "DEL k", false),
        ("SET k 1", "EXPIRE k 100", true),
        ("SET k 1", "RENAME k l", true),
        ("SET l 1", "RENAME l k", true),
        ("SET k 1", "FLUSHALL", true),
        ("SET k 1", "FLUSHDB", true),
        ("FLUSHALL", "FLUSHALL", false),
        ("SET k 1", "SWAPDB 0 1", true),
        ("SET k 1", "MOVE k 5", true),
        ("SET k 1", "APPEND k x", true),
        ("SET k 1", "OBJECT FREQ k", false),
        ("SET k 1", "TOUCH k", false),
    ] {
        b.ask("FLUSHALL");
        b.ask(setup);
        assert_eq!(a.ask("WATCH k nosuch"), "OK");
        b.ask(touch);
        assert_eq!([a.ask("MULTI"), a.ask("PING")], ["OK", "QUEUED"]);
        assert_eq!(
            a.ask("EXEC"),
            if spoiled { "(nil)" } else { "[PONG]" },
            "{setup}, watch, {touch}"
        );
        // It is over with the EXEC.
        b.ask("SET k again");
        a.ask("MULTI");
        assert_eq!(a.ask("EXEC"), "[]");
    }
    b.ask("FLUSHALL");
    // UNWATCH and DISCARD forget.
    for forget in [&["UNWATCH"][..], &["MULTI", "DISCARD"]] {
        a.ask("WATCH k");
        b.ask("SET k 2");
        forget.iter().for_each(|l| assert_eq!(a.ask(l), "OK"));
        a.ask("MULTI");
        assert_eq!(a.ask("EXEC"), "[]");
    }
    // A key in another db is another key.
    a.ask("WATCH k");
    b.ask("SELECT 9");
    b.ask("SET k 1");
    a.ask("MULTI");
    assert_eq!(a.ask("EXEC"), "[]");
    b.ask("SELECT 0");
    // A watched key that expires counts as changed, even one that was past its time when it was
    // watched.
    a.raw(&batch(&["SET k 1 PX 50", "WATCH k"])).unwrap();
    assert_eq!([next(&mut a), next(&mut a)], ["OK", "OK"]);
    std::thread::sleep(Duration::from_millis(120));
    a.ask("MULTI");
    a.ask("PING");
    assert_eq!(a.ask("EXEC"), "(nil)");
    b.ask("DEBUG SET-ACTIVE-EXPIRE 0");
    b.ask("SET k 1 PX 1");
    std::thread::sleep(Duration::from_millis(20));
    a.ask("WATCH k");
    a.ask("MULTI");
    a.ask("PING");
    assert_eq!(a.ask("EXEC"), "(nil)");
}

/// Errors of transactions: while queueing they abort, while running they do not.
#[test]
fn transaction_errors() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    assert_eq!(c.ask("EXEC"), "-ERR EXEC without MULTI");
    assert_eq!(c.ask("DISCARD"), "-ERR DISCARD without MULTI");
    assert_eq!(c.ask("MULTI"), "OK");
    assert_eq!(c.ask("MULTI"), "-ERR MULTI calls can not be nested");
    assert_eq!(c.ask("WATCH k"), "-ERR WATCH inside MULTI is not allowed");
    assert_eq!(c.ask("SET a"), "-ERR wrong number of arguments for 'set' command");
    assert_eq!(c.ask("SET a 1"), "QUEUED");
    assert_eq!(c.ask("EXEC"), "-EXECABORT Transaction discarded because of previous errors.");
    assert_eq!(c.ask("EXISTS a"), "0");
    // RESP2 and subscriptions or MONITOR inside.
    assert_eq!(
        [c.ask("MULTI"), c.ask("SET a x"), c.ask("INCR a"), c.ask("SET b y")],
        ["OK", "QUEUED", "QUEUED", "QUEUED"]
    );
    assert_eq!(c.ask("EXEC"), "[OK -ERR value is not an integer or out of range OK]");
    assert_eq!(c.ask("GET b"), "y");
    // EXEC over maxmemory.
    c.ask("MULTI");
    assert_eq!(c.ask("SET c 1"), "QUEUED");
    server.cmd(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(c.ask("SET d 1"), "-OOM command not allowed when used memory > 'maxmemory'.");
    assert_eq!(
        c.ask("EXEC"),
        "-EXECABORT Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'."
    );
    server.cmd(&["CONFIG", "SET", "maxmemory", "0"]);
    // A client that goes with a transaction open leaves nothing behind.
    let mut d = server.conn();
    d.ask("WATCH a");
    d.ask("MULTI");
    d.ask("SET a gone");
    drop(d);
    assert_eq!(c.ask("SET a 2"), "OK");
    assert_eq!(c.ask("GET a"), "2");
}

/// Output buffer limits count what lies in the reply list, as the C counts it: a reply whose length
/// is left open, and the whole allocation of a block, which is larger than the 16 KB that it is
/// made for.
#[test]
fn small_output_buffer_limits() {
    let server = TestServer::start(&[]);
    let big = "x".repeat(40_000);
    server.cmd(&["SET", "big", &big]);
    let closed = |limit: &str, args: &[&str]| {
        let mut c = server.conn();
        server.cmd(&[
            "CONFIG",
            "SET",
            "client-output-buffer-limit",
            &format!("normal {limit} 0 0"),
        ]);
        c.send(args);
        let reply = c.try_reply();
        server.cmd(&["CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0"]);
        reply.is_err()
    };
    assert!(!closed("1", &["PING"]), "the reply buffer counts in no limit");
    assert!(closed("1", &["CONFIG", "GET", "port"]));
    assert!(closed("1", &["CONFIG", "HELP"]));
    // 40,000 bytes and the end of their line are in one block of 40,944 bytes.
    assert!(!closed("50000", &["GET", "big"]));
    assert!(closed("40984", &["GET", "big"]));
    assert!(!closed("40985", &["GET", "big"]));
}

/// Commands about a cluster and about modules answer as in a C that has neither.
#[test]
fn commands_of_parts_that_are_off() {
    let mut s = TestServer::start(&[]);
    for (line, reply) in [
        ("CLUSTER INFO", "-ERR This instance has cluster support disabled"),
        ("CLUSTER HELP", "-ERR This instance has cluster support disabled"),
        ("ASKING", "-ERR This instance has cluster support disabled"),
        ("READONLY", "-ERR This instance has cluster support disabled"),
        ("READWRITE", "OK"),
        ("MODULE LIST", "[]"),
        ("MODULE LOAD x.so y", "-ERR Modules are not supported by this server"),
        ("MODULE UNLOAD x", "-ERR Error unloading module: no such module with that name"),
        (
            "MODULE X",
            "-ERR Unknown subcommand or wrong number of arguments for 'X'. Try MODULE HELP.",
        ),
    ] {
        assert_eq!(s.ask(line), reply, "{line}");
    }
    assert!(s.ask("MODULE HELP").starts_with("[MODULE <subcommand>"));
}
