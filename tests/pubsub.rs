//! Channels, patterns and keyspace events: who gets what, and in which order.

#[path = "support/ask.rs"]
mod ask;
mod support;

use ask::*;
use support::*;

/// Channels and patterns, their counts and their forms.
#[test]
fn pubsub() {
    let server = TestServer::start(&[]);
    let (mut s, mut p) = (server.conn(), server.conn());
    s.send(&["SUBSCRIBE", "a", "b", "a"]);
    assert_eq!(
        [next(&mut s), next(&mut s), next(&mut s)],
        ["[subscribe a 1]", "[subscribe b 2]", "[subscribe a 2]"]
    );
    assert_eq!(s.ask("PSUBSCRIBE [ab]*"), "[psubscribe [ab]* 3]");
    assert_eq!(p.ask("PUBLISH a hello"), "2");
    assert_eq!([next(&mut s), next(&mut s)], ["[message a hello]", "[pmessage [ab]* a hello]"]);
    assert_eq!(p.ask("PUBLISH c hello"), "0");
    assert_eq!(s.ask("PING"), "[pong ]");
    assert_eq!(s.ask("PING x"), "[pong x]");
    let refused = |name: &str| {
        format!(
            "-ERR Can't execute '{name}': only (P)SUBSCRIBE / (P)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
        )
    };
    assert_eq!(s.ask("GET x"), refused("get"));
    assert_eq!(s.ask("PUBLISH a x"), refused("publish"));
    assert_eq!(p.ask("PUBSUB NUMSUB a b c"), "[a 1 b 1 c 0]");
    assert_eq!(p.ask("PUBSUB NUMPAT"), "1");
    assert_eq!(p.ask("PUBSUB CHANNELS a*"), "[a]");
    let mut channels: Vec<String> =
        p.cmd(&["PUBSUB", "CHANNELS"]).array().iter().map(flat).collect();
    channels.sort();
    assert_eq!(channels, ["a", "b"]);
    assert_eq!(
        p.ask("PUBSUB NOSUCH"),
        "-ERR Unknown subcommand or wrong number of arguments for 'NOSUCH'. Try PUBSUB HELP."
    );
    assert_eq!(s.ask("UNSUBSCRIBE nosuch"), "[unsubscribe nosuch 3]");
    assert_eq!(s.ask("UNSUBSCRIBE a"), "[unsubscribe a 2]");
    assert_eq!(s.ask("PUNSUBSCRIBE"), "[punsubscribe [ab]* 1]");
    assert_eq!(s.ask("PUNSUBSCRIBE"), "[punsubscribe (nil) 1]");
    assert_eq!(s.ask("UNSUBSCRIBE"), "[unsubscribe b 0]");
    assert_eq!(s.ask("UNSUBSCRIBE"), "[unsubscribe (nil) 0]");
    assert_eq!(s.ask("PING"), "PONG", "an ordinary client again");
    // A subscriber that goes is forgotten.
    s.ask("SUBSCRIBE a");
    drop(s);
    wait_for("it is forgotten", || p.ask("PUBLISH a x") == "0");
    assert_eq!(p.ask("PUBSUB CHANNELS"), "[]");
    assert_eq!(
        p.cmd(&["SUBSCRIBE"]).text(),
        "-ERR wrong number of arguments for 'subscribe' command"
    );
}

/// With RESP3 a subscriber goes on as an ordinary client, gets pushes, and may publish to itself:
/// the push comes before the reply of PUBLISH.
#[test]
fn resp3_client_publishes_to_itself() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    c.ask("HELLO 3");
    assert_eq!(c.ask("SUBSCRIBE ch"), ">[subscribe ch 1]");
    assert_eq!(c.ask("PSUBSCRIBE c*"), ">[psubscribe c* 2]");
    assert_eq!(c.ask("SET a b"), "OK");
    assert_eq!(c.ask("PING"), "PONG");
    c.send(&["PUBLISH", "ch", "self"]);
    assert_eq!(
        [next(&mut c), next(&mut c), next(&mut c)],
        [">[message ch self]", ">[pmessage c* ch self]", "2"]
    );
    // In a batch and in a transaction too.
    c.raw(&batch(&["PING", "PUBLISH ch 1", "GET a", "MULTI", "PUBLISH ch 2", "EXEC", "PING"]))
        .unwrap();
    let mut got: Vec<String> = (0..6).map(|_| next(&mut c)).collect();
    assert_eq!(got, ["PONG", ">[message ch 1]", ">[pmessage c* ch 1]", "2", "b", "OK"]);
    let mut rest = String::new();
    while !rest.ends_with("+PONG\r\n") {
        rest.push_str(&String::from_utf8_lossy(&c.take(1).unwrap()));
    }
    assert_eq!(
        rest,
        "+QUEUED\r\n*1\r\n>3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$1\r\n2\r\n>4\r\n$8\r\npmessage\r\n$2\r\nc*\r\n$2\r\nch\r\n$1\r\n2\r\n:2\r\n+PONG\r\n"
    );
    got.clear();
    // A client that is written to by another within the same turn.
    let mut p = server.conn();
    for i in 0..100 {
        p.send(&["PUBLISH", "ch", &i.to_string()]);
        c.send(&["ECHO", &i.to_string()]);
        let mut three = [next(&mut c), next(&mut c), next(&mut c)];
        three.sort();
        assert_eq!(
            three,
            [i.to_string(), format!(">[message ch {i}]"), format!(">[pmessage c* ch {i}]")]
        );
        assert_eq!(next(&mut p), "2");
    }
}

/// Keyspace and keyevent messages of every command that changes a string key.
#[test]
fn keyspace_events() {
    let server = TestServer::start(&["--notify-keyspace-events", "KEA"]);
    let mut s = server.conn();
    assert_eq!(s.ask("PSUBSCRIBE __key*"), "[psubscribe __key* 1]");
    let mut c = server.conn();
    let mut check = |line: &str, events: &[(&str, &str, u8)]| {
        c.ask(line);
        for (event, key, db) in events {
            assert_eq!(
                next(&mut s),
                format!("[pmessage __key* __keyspace@{db}__:{key} {event}]"),
                "{line}"
            );
            assert_eq!(
                next(&mut s),
                format!("[pmessage __key* __keyevent@{db}__:{event} {key}]"),
                "{line}"
            );
        }
    };
    check("SET a 1", &[("set", "a", 0)]);
    check("SET a 1 EX 100", &[("set", "a", 0), ("expire", "a", 0)]);
    check("INCR a", &[("incrby", "a", 0)]);
    check("DECRBY a 2", &[("incrby", "a", 0)]);
    check("INCRBYFLOAT a 1.5", &[("incrbyfloat", "a", 0)]);
    check("APPEND a x", &[("append", "a", 0)]);
    check("SETRANGE a 0 y", &[("setrange", "a", 0)]);
    check("GETSET a z", &[("set", "a", 0)]);
    check("EXPIRE a 100", &[("expire", "a", 0)]);
    check("PERSIST a", &[("persist", "a", 0)]);
    check("GETEX a EX 100", &[("expire", "a", 0)]);
    check("GETEX a PERSIST", &[("persist", "a", 0)]);
    check("RENAME a b", &[("rename_from", "a", 0), ("rename_to", "b", 0)]);
    check("COPY b c", &[("copy_to", "c", 0)]);
    check("MOVE b 3", &[("move_from", "b", 0), ("move_to", "b", 3)]);
    check("GETDEL c", &[("del", "c", 0)]);
    check("MSET x 1 y 2", &[("set", "x", 0), ("set", "y", 0)]);
    check("SETNX z 1", &[("set", "z", 0)]);
    check("DEL x nosuch y", &[("del", "x", 0), ("del", "y", 0)]);
    check("UNLINK z", &[("del", "z", 0)]);
    check("SETEX e 100 v", &[("set", "e", 0), ("expire", "e", 0)]);
    check("PEXPIREAT e 1", &[("del", "e", 0)]);
    check("SET t v PX 30", &[("set", "t", 0), ("expire", "t", 0), ("expired", "t", 0)]);
    // Only the classes that were asked for; misses are a class that A does not hold.
    c.ask("CONFIG SET notify-keyspace-events Kg$");
    assert_eq!(c.ask("CONFIG GET notify-keyspace-events"), "[notify-keyspace-events g$K]");
    c.ask("SET a 1");
    c.ask("GET nosuch");
    c.ask("DEL a");
    assert_eq!(
        [next(&mut s), next(&mut s)],
        ["[pmessage __key* __keyspace@0__:a set]", "[pmessage __key* __keyspace@0__:a del]"]
    );
    c.ask("CONFIG SET notify-keyspace-events Em");
    c.ask("GET nosuch");
    assert_eq!(next(&mut s), "[pmessage __key* __keyevent@0__:keymiss nosuch]");
    // The only key: of several, one in another db may be evicted first.
    c.ask("FLUSHALL");
    c.ask("CONFIG SET notify-keyspace-events Ee");
    c.ask("SET a 1");
    c.ask("CONFIG SET maxmemory-policy allkeys-lru");
    c.ask("CONFIG SET maxmemory 1");
    assert_eq!(next(&mut s), "[pmessage __key* __keyevent@0__:evicted a]");
    assert!(
        c.ask("CONFIG SET notify-keyspace-events KEq")
            .starts_with("-ERR Invalid argument 'KEq' for CONFIG SET 'notify-keyspace-events'")
    );
}

/// What is published at a master reaches the subscribers of its replicas, between the writes before
/// and behind it.
#[test]
fn a_replica_passes_messages_on() {
    let master = TestServer::start(&[]);
    let replica = TestServer::start(&[]).replica_of(&master);
    let last = TestServer::start(&[]).replica_of(&replica);
    let mut subscribers = [master.conn(), replica.conn(), last.conn()];
    for s in &mut subscribers {
        assert_eq!(s.ask("SUBSCRIBE ch"), "[subscribe ch 1]");
    }
    let mut c = master.conn();
    // The count is that of the master's own subscribers.
    assert_eq!(c.ask("PUBLISH ch one"), "1");
    c.raw(&batch(&["MULTI", "SET k 1", "PUBLISH ch two", "SET k 2", "EXEC"])).unwrap();
    let replies: Vec<String> = (0..5).map(|_| next(&mut c)).collect();
    assert_eq!(replies, ["OK", "QUEUED", "QUEUED", "QUEUED", "[OK 1 OK]"]);
    for s in &mut subscribers {
        assert_eq!([next(s), next(s)], ["[message ch one]", "[message ch two]"]);
    }
    assert_same_data(&master, &last);
    // A replica's own messages go to its own subscribers and to nobody else.
    assert_eq!(replica.conn().ask("PUBLISH ch three"), "1");
    assert_eq!(c.ask("PUBLISH ch four"), "1");
    assert_eq!(next(&mut subscribers[0]), "[message ch four]");
    assert_eq!(
        [next(&mut subscribers[1]), next(&mut subscribers[1])],
        ["[message ch three]", "[message ch four]"]
    );
    assert_eq!(next(&mut subscribers[2]), "[message ch four]");
}

/// The end of a key by time is told when the key goes, whether a command meets it or the cron does.
#[test]
fn the_end_of_a_key_is_told_once() {
    let server = TestServer::start(&["--notify-keyspace-events", "Ex"]);
    let mut s = server.conn();
    assert_eq!(s.ask("PSUBSCRIBE *"), "[psubscribe * 1]");
    let mut c = server.conn();
    c.ask("DEBUG SET-ACTIVE-EXPIRE 0");
    c.ask("SET met v PX 1");
    wait_for("it is expired", || c.ask("GET met") == "(nil)");
    assert_eq!(c.ask("GET met"), "(nil)");
    c.ask("SET found v PX 1");
    c.ask("DEBUG SET-ACTIVE-EXPIRE 1");
    let told = |key: &str| format!("[pmessage * __keyevent@0__:expired {key}]");
    assert_eq!([next(&mut s), next(&mut s)], [told("met"), told("found")]);
    assert_eq!(s.ask("PING"), "[pong ]", "and nothing else");
}
