//! Lists, blocking and SORT as clients and replicas see them: who is served first, what is
//! propagated, and arguments at the edge.

#[path = "support/ask.rs"]
mod ask;
mod support;

use ask::flat;
use support::*;

/// Waits until so many clients are blocked.
fn wait_blocked(server: &TestServer, count: i64) {
    wait_for("clients to block", || server.info_i64("blocked_clients") == count);
}

#[test]
fn clients_are_served_in_order_of_arrival() {
    let server = TestServer::start(&[]);
    let mut waiting: Vec<Conn> = (0..5).map(|_| server.conn()).collect();
    for (i, c) in waiting.iter_mut().enumerate() {
        // A key named twice is waited for once.
        c.send(&["BLPOP", "other", "k", "k", "0"]);
        wait_blocked(&server, i as i64 + 1);
    }
    assert_eq!(server.cmd(&["RPUSH", "k", "a", "b", "c"]).int(), 3);
    assert_eq!(server.cmd(&["RPUSH", "k", "d", "e", "f"]).int(), 3);
    for (c, value) in waiting.iter_mut().zip(["a", "b", "c", "d", "e"]) {
        let reply = c.reply();
        assert_eq!((reply.array()[0].text(), reply.array()[1].text()), ("k".into(), value.into()));
    }
    assert_eq!(server.cmd(&["LPOP", "k"]).text(), "f");
    assert_eq!(server.cmd(&["EXISTS", "k"]).int(), 0);
    wait_blocked(&server, 0);
}

/// Of clients that wait for one key some are closed by the transaction that serves them, and one
/// because its element is more than it may be sent: those behind them are served.
#[test]
fn clients_that_go_are_passed_over() {
    let server = TestServer::start(&["--client-output-buffer-limit", "normal", "100000", "0", "0"]);
    let big = "x".repeat(200_000);
    for (wait, give, served) in [
        ("BLPOP k 0", vec!["RPUSH", "k", &big, "b", "c"], ["[k b]", "[k c]"]),
        ("BZPOPMIN k 0", vec!["ZADD", "k", "1", &big, "2", "b", "3", "c"], ["[k b 2]", "[k c 3]"]),
    ] {
        let mut waiting: Vec<(Conn, String)> = Vec::new();
        for i in 0..6 {
            let mut c = server.conn();
            let id = c.cmd(&["CLIENT", "ID"]).int().to_string();
            c.send(&wait.split(' ').collect::<Vec<_>>());
            wait_blocked(&server, i + 1);
            waiting.push((c, id));
        }
        let mut c = server.conn();
        c.cmd(&["MULTI"]);
        for line in [
            vec!["CLIENT", "KILL", "ID", &waiting[0].1],
            give,
            vec!["CLIENT", "KILL", "ID", &waiting[2].1],
            vec!["CLIENT", "UNBLOCK", &waiting[3].1],
        ] {
            assert_eq!(c.cmd(&line).text(), "QUEUED");
        }
        let done = c.cmd(&["EXEC"]);
        assert_eq!(done.array().iter().map(Reply::int).collect::<Vec<_>>(), [1, 3, 1, 1]);
        let mut waiting: Vec<Conn> = waiting.into_iter().map(|(c, _)| c).collect();
        for i in [0, 1, 2] {
            assert!(waiting[i].is_closed(), "{wait}: {i}");
        }
        assert_eq!(flat(&waiting[3].reply()), "(nil)");
        assert_eq!([4, 5].map(|i| flat(&waiting[i].reply())), served);
        assert_eq!(server.cmd(&["EXISTS", "k"]).int(), 0);
    }
}

#[test]
fn a_moved_value_serves_the_next_one() {
    let server = TestServer::start(&[]);
    let (mut a, mut b) = (server.conn(), server.conn());
    a.send(&["BRPOPLPUSH", "s", "t", "0"]);
    wait_blocked(&server, 1);
    b.send(&["BLMOVE", "t", "u", "left", "right", "0"]);
    wait_blocked(&server, 2);
    server.cmd(&["RPUSH", "s", "v"]);
    assert_eq!((a.reply().text(), b.reply().text()), ("v".into(), "v".into()));
    assert_eq!(server.cmd(&["LRANGE", "u", "0", "-1"]).array().len(), 1);
    assert_eq!(server.cmd(&["EXISTS", "s", "t"]).int(), 0);
}

/// The client has an error, and the value goes to the next one.
#[test]
fn a_value_that_cannot_be_moved_stays() {
    let server = TestServer::start(&[]);
    server.cmd(&["SET", "str", "x"]);
    let (mut a, mut b) = (server.conn(), server.conn());
    a.send(&["BLMOVE", "s", "str", "left", "right", "0"]);
    wait_blocked(&server, 1);
    b.send(&["BRPOP", "s", "0"]);
    wait_blocked(&server, 2);
    server.cmd(&["RPUSH", "s", "v"]);
    assert!(a.reply().text().contains("WRONGTYPE"));
    assert_eq!(b.reply().array()[1].text(), "v");
}

#[test]
fn nobody_blocks_in_a_transaction() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    c.cmd(&["MULTI"]);
    c.cmd(&["BLPOP", "none", "0"]);
    c.cmd(&["BRPOPLPUSH", "none", "x", "0"]);
    c.cmd(&["RPUSH", "k", "v"]);
    c.cmd(&["BLPOP", "none", "k", "0"]);
    let replies = c.cmd(&["EXEC"]);
    assert_eq!(replies.array().len(), 4);
    assert_eq!(replies.array()[3].array()[1].text(), "v");
}

#[test]
fn a_wait_ends_in_time() {
    // One cron a second: waits that ended with a cron would take a second each.
    let server = TestServer::start(&["--hz", "1", "--dynamic-hz", "no"]);
    let mut c = server.conn();
    let waits = (0..20).map(|_| {
        let start = std::time::Instant::now();
        assert_eq!(c.cmd(&["BLPOP", "none", "0.03"]), Reply::Nil);
        assert_eq!(c.cmd(&["BLPOP", "none", "0.0004"]), Reply::Nil, "this is not for ever");
        start.elapsed().as_millis()
    });
    // A busy machine may hold up some of them, but not all. The first would begin anywhere between
    // two crons.
    let shortest = waits.skip(1).min().unwrap();
    assert!((30..900).contains(&shortest), "{shortest} ms");
    assert!(c.cmd(&["BLPOP", "none", "-1"]).text().ends_with("ERR timeout is negative"));
    let reply = c.cmd(&["BLPOP", "none", "x"]);
    assert!(reply.text().ends_with("ERR timeout is not a float or out of range"));
    assert_eq!(server.info_i64("blocked_clients"), 0);
}

/// A replica gets the commands that do not block.
#[test]
fn a_replica_has_the_same_lists() {
    let master = TestServer::start(&[]);
    let replica = TestServer::start(&[]).replica_of(&master);
    let mut c = master.conn();
    let (mut a, mut b) = (master.conn(), master.conn());
    a.send(&["BLMOVE", "s", "d", "left", "left", "0"]);
    wait_blocked(&master, 1);
    b.send(&["BRPOP", "s", "0"]);
    wait_blocked(&master, 2);
    c.cmd(&["RPUSH", "s", "1", "2", "3", "4"]);
    a.reply();
    b.reply();
    c.cmd(&["BRPOPLPUSH", "s", "d", "0"]);
    c.cmd(&["SORT", "d", "DESC", "STORE", "sorted"]);
    for (key, values) in [("s", 1), ("d", 2), ("sorted", 2)] {
        assert_eq!(c.cmd(&["LLEN", key]).int(), values);
        let text = format!("{:?}", c.cmd(&["LRANGE", key, "0", "-1"]));
        let same = || format!("{:?}", replica.cmd(&["LRANGE", key, "0", "-1"])) == text;
        wait_for("the replica to have the list", same);
    }
}

/// CVE-2022-35977: a count at the edge of the numbers.
#[test]
fn sort_limit_does_not_overflow() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    c.cmd(&["RPUSH", "l", "3", "1", "2"]);
    for (offset, count, len) in [
        ("2", "9223372036854775807", 1),
        ("-9223372036854775808", "9223372036854775807", 3),
        ("9223372036854775807", "9223372036854775807", 0),
        ("0", "-9223372036854775808", 3),
        ("1", "0", 0),
    ] {
        for by in ["w_*", "nosort"] {
            let reply = c.cmd(&["SORT", "l", "BY", by, "LIMIT", offset, count]);
            assert_eq!(reply.array().len(), len, "{offset} {count} {by}");
        }
    }
}

/// The destination of a STORE is not the next option.
#[test]
fn the_last_store_of_sort_is_its_key() {
    let server = TestServer::start(&[]);
    let args = ["COMMAND", "GETKEYS", "SORT", "ok:src", "STORE", "by", "STORE", "secret"];
    let keys = server.cmd(&args);
    let keys: Vec<String> = keys.array().iter().map(Reply::text).collect();
    assert_eq!(keys, ["ok:src", "secret"]);
}

#[test]
fn numbers_at_the_edge() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let min = "-9223372036854775808";
    c.cmd(&["RPUSH", "l", "a", "b", "a"]);
    assert_eq!(c.cmd(&["LPOS", "l", "a", "RANK", min, "COUNT", "0"]).array().len(), 0);
    assert_eq!(c.cmd(&["LPOS", "l", "a", "RANK", "-1"]).int(), 2);
    assert!(c.cmd(&["LPOS", "l", "a", "RANK", "0"]).is_error());
    assert_eq!(c.cmd(&["LRANGE", "l", min, min]).array().len(), 0);
    assert_eq!(c.cmd(&["LRANGE", "l", min, "9223372036854775807"]).array().len(), 3);
    assert!(c.cmd(&["LSET", "l", min, "x"]).is_error());
    assert_eq!(c.cmd(&["LREM", "l", min, "a"]).int(), 2);
    assert_eq!(c.cmd(&["LTRIM", "l", min, min]).text(), "OK");
    assert_eq!(c.cmd(&["EXISTS", "l"]).int(), 0);
}
