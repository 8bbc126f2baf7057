//! Streams and consumer groups as clients and replicas see them.

#[path = "support/ask.rs"]
mod ask;
mod support;

use ask::*;
use support::*;

/// Waits until so many clients are blocked.
fn wait_blocked(server: &TestServer, count: i64) {
    wait_for("clients to block", || server.info_i64("blocked_clients") == count);
}

/// What is pending in a group, without the times: id, consumer and number of deliveries.
fn pending(c: &mut Conn, key: &str, group: &str) -> Vec<String> {
    let reply = c.cmd(&["XPENDING", key, group, "-", "+", "1000"]);
    let entry = |e: &Reply| {
        let e = e.array();
        format!("{} {} {}", e[0].text(), e[1].text(), e[3].text())
    };
    reply.array().iter().map(entry).collect()
}

/// Ids grow, whatever was deleted, and the largest possible one is the last.
#[test]
fn ids_grow() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let smaller =
        "-ERR The ID specified in XADD is equal or smaller than the target stream top item";
    assert_eq!(c.ask("XADD s 0-0 a 1"), "-ERR The ID specified in XADD must be greater than 0-0");
    assert_eq!(c.ask("EXISTS s"), "0");
    assert_eq!(c.ask("XADD s 5-5 a 1"), "5-5");
    for id in ["5-5", "5-4", "4-9", "5"] {
        assert_eq!(c.ask(&format!("XADD s {id} a 1")), smaller, "{id}");
    }
    assert_eq!(c.ask("XDEL s 5-5"), "1");
    assert_eq!(c.ask("XADD s 5-5 a 1"), smaller, "its ids are used up");
    assert_eq!(c.ask("XADD nosuch NOMKSTREAM * a 1"), "(nil)");
    // A clock that is behind does not matter.
    assert_eq!(c.ask("XADD s 99999999999999-1 a 1"), "99999999999999-1");
    assert_eq!(c.ask("XADD s * a 1"), "99999999999999-2");
    assert_eq!(
        c.ask("XADD s 18446744073709551615-18446744073709551615 a 1"),
        "18446744073709551615-18446744073709551615"
    );
    let last = "-ERR The stream has exhausted the last possible ID, unable to add more items";
    assert_eq!(c.ask("XADD s * a 1"), last);
    assert_eq!(c.ask("XLEN s"), "3");
    assert_eq!(
        c.ask("XRANGE s (5-5 (99999999999999-2"),
        "[[99999999999999-1 [a 1]]]",
        "both ends excluded"
    );
}

/// A blocked reader gets what is added after it asked, and only what it asked for.
#[test]
fn blocked_readers() {
    let server = TestServer::start(&[]);
    let (mut a, mut b, mut c) = (server.conn(), server.conn(), server.conn());
    c.ask("XADD s 1-1 n 1");
    a.send(&["XREAD", "BLOCK", "0", "STREAMS", "other", "s", "$", "$"]);
    wait_blocked(&server, 1);
    b.send(&["XREAD", "BLOCK", "0", "COUNT", "1", "STREAMS", "s", "1-2"]);
    wait_blocked(&server, 2);
    c.raw(&batch(&["MULTI", "XADD s 1-2 n 2", "XADD s 1-3 n 3", "XADD s 1-4 n 4", "EXEC"]))
        .unwrap();
    let replies: Vec<String> = (0..5).map(|_| next(&mut c)).collect();
    assert_eq!(replies[4], "[1-2 1-3 1-4]");
    assert_eq!(next(&mut a), "[[s [[1-2 [n 2]] [1-3 [n 3]] [1-4 [n 4]]]]]");
    assert_eq!(next(&mut b), "[[s [[1-3 [n 3]]]]]");
    // There already: no wait. A wait that ends in vain: nil.
    assert_eq!(b.ask("XREAD BLOCK 0 STREAMS s 1-3"), "[[s [[1-4 [n 4]]]]]");
    assert_eq!(b.ask("XREAD BLOCK 1 STREAMS s $"), "(nil)");
    // Another type under the key wakes nobody.
    a.send(&["XREAD", "BLOCK", "0", "STREAMS", "later", "$"]);
    wait_blocked(&server, 1);
    c.ask("SET later x");
    c.ask("DEL later");
    c.ask("XADD later 7-7 n 7");
    assert_eq!(next(&mut a), "[[later [[7-7 [n 7]]]]]");
}

/// Consumers of a group that wait: each entry goes to one of them, the one who waits longest; and
/// who waits for a group that is destroyed is told.
#[test]
fn blocked_consumers() {
    let server = TestServer::start(&[]);
    let (mut alice, mut bob, mut c) = (server.conn(), server.conn(), server.conn());
    assert_eq!(c.ask("XGROUP CREATE s g $ MKSTREAM"), "OK");
    let read =
        |name: &'static str| ["XREADGROUP", "GROUP", "g", name, "BLOCK", "0", "STREAMS", "s", ">"];
    alice.send(&read("alice"));
    wait_blocked(&server, 1);
    bob.send(&read("bob"));
    wait_blocked(&server, 2);
    c.ask("XADD s 1-1 n 1");
    assert_eq!(next(&mut alice), "[[s [[1-1 [n 1]]]]]");
    wait_blocked(&server, 1);
    c.ask("XADD s 1-2 n 2");
    assert_eq!(next(&mut bob), "[[s [[1-2 [n 2]]]]]");
    assert_eq!(pending(&mut c, "s", "g"), ["1-1 alice 1", "1-2 bob 1"]);
    alice.send(&read("alice"));
    wait_blocked(&server, 1);
    c.ask("XGROUP DESTROY s g");
    let gone = "-NOGROUP the consumer group this client was blocked on no longer exists";
    assert_eq!(next(&mut alice), gone);
    wait_blocked(&server, 0);
}

/// The life of a message in a group: delivered, delivered again, claimed, acknowledged, deleted
/// while it is pending.
#[test]
fn pending_messages() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    for n in 1..=5 {
        c.ask(&format!("XADD s {n}-1 n {n}"));
    }
    c.ask("XGROUP CREATE s g 0");
    assert_eq!(
        c.ask("XREADGROUP GROUP g alice COUNT 2 STREAMS s >"),
        "[[s [[1-1 [n 1]] [2-1 [n 2]]]]]"
    );
    assert_eq!(c.ask("XREADGROUP GROUP g bob COUNT 1 STREAMS s >"), "[[s [[3-1 [n 3]]]]]");
    // Its own history, with nothing new.
    assert_eq!(c.ask("XREADGROUP GROUP g alice STREAMS s 1-1"), "[[s [[2-1 [n 2]]]]]");
    assert_eq!(pending(&mut c, "s", "g"), ["1-1 alice 1", "2-1 alice 2", "3-1 bob 1"]);
    assert_eq!(c.ask("XPENDING s g"), "[3 1-1 3-1 [[alice 2] [bob 1]]]");
    // Not idle long enough; then with no such condition.
    assert_eq!(c.ask("XCLAIM s g bob 3600000 1-1"), "[]");
    assert_eq!(
        c.ask("XCLAIM s g bob 0 1-1 4-1"),
        "[[1-1 [n 1]]]",
        "what is not pending is not claimed"
    );
    assert_eq!(c.ask("XCLAIM s g bob 0 2-1 JUSTID"), "[2-1]");
    assert_eq!(pending(&mut c, "s", "g"), ["1-1 bob 2", "2-1 bob 2", "3-1 bob 1"]);
    assert_eq!(c.ask("XAUTOCLAIM s g alice 0 2-1 COUNT 1 JUSTID"), "[3-1 [2-1]]");
    assert_eq!(c.ask("XACK s g 1-1 2-1 4-1"), "2");
    assert_eq!(c.ask("XACK s g 1-1"), "0");
    // A deleted message stays pending, without its fields.
    c.ask("XDEL s 3-1");
    assert_eq!(c.ask("XREADGROUP GROUP g bob STREAMS s 0"), "[[s [[3-1 (nil)]]]]");
    assert_eq!(c.ask("XGROUP DELCONSUMER s g bob"), "1");
    assert_eq!(c.ask("XPENDING s g"), "[0 (nil) (nil) (nil)]");
    assert!(c.ask("XREADGROUP GROUP nosuch bob STREAMS s >").starts_with("-NOGROUP "));
}

/// Trimming that may leave more, reads in a group and claims are propagated as what they did.
#[test]
fn a_replica_has_the_same_streams() {
    let master = TestServer::start(&["--stream-node-max-entries", "10"]);
    // Its nodes are of another size: what "about" leaves would be another number.
    let replica = TestServer::start(&["--stream-node-max-entries", "7"]).replica_of(&master);
    let mut c = master.conn();
    c.ask("XGROUP CREATE s g $ MKSTREAM");
    for n in 1..=200 {
        c.ask(&format!("XADD s MAXLEN ~ 50 {n}-1 n {n}"));
        match n % 10 {
            0 => drop(c.ask("XREADGROUP GROUP g alice COUNT 7 STREAMS s >")),
            3 => drop(c.ask("XREADGROUP GROUP g bob COUNT 2 NOACK STREAMS s >")),
            5 => drop(c.ask(&format!("XCLAIM s g bob 0 {}-1 RETRYCOUNT 9", n - 9))),
            7 => drop(c.ask(&format!("XACK s g {}-1 {}-1", n - 7, n - 8))),
            8 => drop(c.ask(&format!("XDEL s {}-1", n - 4))),
            _ => {}
        }
    }
    c.ask("XTRIM s MINID ~ 160");
    c.ask("XAUTOCLAIM s g carol 0 0 COUNT 3");
    assert_same_data(&master, &replica);
    let mut r = replica.conn();
    assert!(pending(&mut c, "s", "g").len() > 10);
    assert_eq!(pending(&mut c, "s", "g"), pending(&mut r, "s", "g"));
    let groups = c.ask("XINFO GROUPS s");
    assert!(groups.contains("last-delivered-id"), "{groups}");
    assert_eq!(groups, r.ask("XINFO GROUPS s"));
    // It can take over.
    assert_eq!(r.ask("REPLICAOF NO ONE"), "OK");
    assert_eq!(
        r.ask("XREADGROUP GROUP g alice COUNT 1 STREAMS s >"),
        c.ask("XREADGROUP GROUP g alice COUNT 1 STREAMS s >")
    );
}
