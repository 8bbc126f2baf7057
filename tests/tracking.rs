//! Client side caching: who is told that which key has changed, when, and in which form.

#[path = "support/ask.rs"]
mod ask;
mod support;

use ask::*;
use support::*;

/// A client that speaks RESP3, with the words of `line` sent after CLIENT TRACKING.
fn tracker(server: &TestServer, line: &str) -> Conn {
    let mut c = server.conn();
    c.ask("HELLO 3");
    assert_eq!(c.ask(&format!("CLIENT TRACKING {line}")), "OK");
    c
}

/// Everything that came until now: the server has sent it all when it has answered a PING.
fn pushes(c: &mut Conn) -> Vec<String> {
    c.send(&["PING", "that is all"]);
    let mut got = vec![];
    loop {
        let reply = c.reply();
        match flat(&reply) {
            end if end == "that is all" || end == "[pong that is all]" => return got,
            other => got.push(other),
        }
    }
}

/// Lets a client set a key that soon expires, and read it before that: within a transaction time
/// stands still.
#[track_caller]
fn read_in_time(c: &mut Conn) {
    c.raw(&batch(&["MULTI", "SET k v PX 10", "GET k", "EXEC"])).unwrap();
    for expected in ["OK", "QUEUED", "QUEUED", "[OK v]"] {
        assert_eq!(next(c), expected);
    }
}

fn id(c: &mut Conn) -> String {
    c.ask("CLIENT ID")
}

fn field(c: &mut Conn, name: &str) -> String {
    let info = c.ask("CLIENT INFO");
    let found = info.split_whitespace().find_map(|f| f.strip_prefix(&format!("{name}=")[..]));
    found.unwrap_or_default().to_string()
}

/// A key is invalidated once, for those who have read it, by whatever changes it; then it is to be
/// read again. INFO counts keys and readers.
#[test]
fn a_key_that_was_read_is_invalidated_once() {
    let server = TestServer::start(&[]);
    let (mut a, mut b) = (tracker(&server, "on"), tracker(&server, "on"));
    let mut w = server.conn();
    w.ask("MSET k 1 l 2");
    a.ask("GET k");
    a.ask("GET k");
    b.ask("MGET k l nosuch");
    let counts = || {
        ["tracking_clients", "tracking_total_keys", "tracking_total_items"].map(|f| server.info(f))
    };
    assert_eq!(counts(), ["2", "3", "4"]);
    w.ask("SET k 2");
    w.ask("SET k 3");
    assert_eq!(pushes(&mut a), [">[invalidate [k]]"]);
    assert_eq!(pushes(&mut b), [">[invalidate [k]]"]);
    w.ask("SET nosuch 1");
    assert_eq!(pushes(&mut b), [">[invalidate [nosuch]]"], "that it was not there changed too");
    assert_eq!(counts(), ["2", "1", "1"]);
    // What writes does not track, though it reads.
    a.ask("GETSET k 4");
    w.ask("SET k 5");
    assert_eq!(pushes(&mut a), Vec::<String>::new());

    for write in ["RENAME l m", "DEL m", "HSET h f v", "EXPIRE h 100", "MOVE h 1", "COPY k h"] {
        a.ask("EXISTS l m h");
        assert_ne!(w.ask(write), "0", "{write}");
        assert!(!pushes(&mut a).is_empty(), "{write}");
    }
    assert_eq!(a.ask("CLIENT TRACKING off"), "OK");
    b.ask("CLIENT TRACKING off");
    assert_eq!(server.info("tracking_clients"), "0");
    w.ask("SET h 1");
    assert_eq!(pushes(&mut a), Vec::<String>::new());
}

/// More clients than are kept in a row have read a key.
#[test]
fn a_key_that_many_have_read() {
    let server = TestServer::start(&[]);
    let mut all: Vec<Conn> = (0..70).map(|_| tracker(&server, "on")).collect();
    let mut count = 0;
    for c in &mut all {
        c.ask("GET k");
        c.ask("GET k");
        count += 1;
        assert_eq!(server.info_i64("tracking_total_items"), count);
    }
    server.cmd(&["SET", "k", "v"]);
    for c in &mut all {
        assert_eq!(pushes(c), [">[invalidate [k]]"]);
    }
    assert_eq!(server.info("tracking_total_items"), "0");
}

/// The reply of a command comes first, then the invalidation that it has caused for its own client;
/// so for a pipeline, a transaction, a script, and a client that is served while it waits.
#[test]
fn own_changes_come_behind_the_reply() {
    let server = TestServer::start(&[]);
    let mut a = tracker(&server, "on");
    a.raw(&batch(&["GET k", "SET k 1", "GET k", "SET k 2", "PING"])).unwrap();
    let got: Vec<String> = (0..7).map(|_| next(&mut a)).collect();
    assert_eq!(got, ["(nil)", "OK", ">[invalidate [k]]", "1", "OK", ">[invalidate [k]]", "PONG"]);
    a.raw(&batch(&["MULTI", "GET k", "SET k 3", "GET l", "INCR l", "EXEC"])).unwrap();
    for expected in ["OK", "QUEUED", "QUEUED", "QUEUED", "QUEUED", "[2 OK (nil) 1]"] {
        assert_eq!(next(&mut a), expected);
    }
    assert_eq!(pushes(&mut a), [">[invalidate [k]]", ">[invalidate [l]]"]);

    let script =
        "redis.call('get',KEYS[1]);redis.call('set',KEYS[1],'x');return redis.call('get',KEYS[1])";
    assert_eq!(a.cmd(&["EVAL", script, "1", "k"]).text(), "x");
    assert_eq!(pushes(&mut a), [">[invalidate [k]]"]);
    // It was read again after the write.
    server.cmd(&["SET", "k", "y"]);
    assert_eq!(pushes(&mut a), [">[invalidate [k]]"]);
    // A script tracks the keys that its caller has named, if it reads anything.
    a.cmd(&["EVAL", "return redis.call('get','other')", "1", "named"]);
    a.cmd(&["EVAL", "return 1", "1", "unread"]);
    for key in ["other", "unread", "named"] {
        server.cmd(&["SET", key, "v"]);
    }
    assert_eq!(pushes(&mut a), [">[invalidate [named]]"]);

    // BLMOVE is served by another client's push, and changes a key that its own client has read.
    a.ask("LRANGE target 0 -1");
    a.send(&["BLMOVE", "list", "target", "LEFT", "LEFT", "0"]);
    wait_for("it waits", || server.info("blocked_clients") == "1");
    server.cmd(&["RPUSH", "list", "e"]);
    assert_eq!([next(&mut a), next(&mut a)], ["e", ">[invalidate [target]]"]);
}

/// Expiration, seen by a look at the key or found by the cron, and eviction.
#[test]
fn keys_that_go_by_themselves() {
    let server = TestServer::start(&[]);
    let mut a = tracker(&server, "on");
    read_in_time(&mut a);
    // PING does not look at the key: it is the cron that finds it.
    let mut got = vec![];
    wait_for("the key expires", || {
        got.extend(pushes(&mut a));
        !got.is_empty()
    });
    assert_eq!(got, [">[invalidate [k]]"]);

    server.cmd(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    read_in_time(&mut a);
    wait_for("a look finds it", || server.cmd(&["EXISTS", "k"]).int() == 0);
    assert_eq!(pushes(&mut a), [">[invalidate [k]]"]);
    // Its own look: behind the reply.
    read_in_time(&mut a);
    let mut said = vec![];
    wait_for("its own look finds it", || {
        said.push(a.ask("EXISTS k"));
        said.last().is_some_and(|s| s == "0")
    });
    assert_eq!(pushes(&mut a), [">[invalidate [k]]"]);

    server.cmd(&["FLUSHALL"]);
    pushes(&mut a);
    server.cmd(&["SET", "k", "v"]);
    a.ask("GET k");
    server.cmd(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]);
    server.cmd(&["CONFIG", "SET", "maxmemory", "1"]);
    wait_for("it is evicted", || server.cmd(&["DBSIZE"]).int() == 0);
    assert_eq!(pushes(&mut a), [">[invalidate [k]]"]);
}

/// A flush of any db is one null for each client that tracks, whatever it has read; for the one that
/// has asked for it, behind the reply. The table is empty then.
#[test]
fn flushes() {
    let server = TestServer::start(&[]);
    let (mut a, mut b) = (tracker(&server, "on"), tracker(&server, "on bcast"));
    for (n, flush) in
        ["FLUSHALL", "FLUSHDB", "FLUSHALL SYNC", "FLUSHALL ASYNC", "FLUSHDB ASYNC", "DEBUG RELOAD"]
            .iter()
            .enumerate()
    {
        a.ask("GET k");
        assert_eq!(server.info("tracking_total_keys"), "1");
        let asks = if n % 2 == 0 { &mut a } else { &mut b };
        assert_eq!(asks.ask(flush), "OK", "{flush}");
        assert_eq!(pushes(&mut a), [">[invalidate (nil)]"], "{flush}");
        assert_eq!(pushes(&mut b), [">[invalidate (nil)]"], "{flush}");
        assert_eq!(server.info("tracking_total_keys"), "0", "{flush}");
    }
    // A swap tells nobody, as in the C: keys are tracked without their db.
    a.ask("GET k");
    a.ask("SWAPDB 0 1");
    assert_eq!(pushes(&mut a), Vec::<String>::new());
}

/// A replica that loads what its master sent tells its clients.
#[test]
fn a_full_sync_flushes() {
    let (master, replica) = (TestServer::start(&[]), TestServer::start(&[]));
    let mut a = tracker(&replica, "on");
    a.ask("GET k");
    let replica = replica.replica_of(&master);
    assert_eq!(pushes(&mut a)[0], ">[invalidate (nil)]");
    a.ask("GET k");
    master.cmd(&["SET", "k", "v"]);
    wait_for_offset(&master, &replica);
    assert_eq!(pushes(&mut a), [">[invalidate [k]]"]);
}

/// With REDIRECT another client is told: in RESP3 by a push, in RESP2 by a message if it is in
/// Pub/Sub mode. If it goes, the client itself is told so, and shows it.
#[test]
fn redirection() {
    let server = TestServer::start(&[]);
    let mut w = server.conn();
    let (mut r3, mut r2) = (server.conn(), server.conn());
    r3.ask("HELLO 3");
    let (id3, id2) = (id(&mut r3), id(&mut r2));
    let mut a = tracker(&server, &format!("on redirect {id3}"));
    let mut b = server.conn();
    assert_eq!(b.ask(&format!("CLIENT TRACKING on REDIRECT {id2}")), "OK");
    assert_eq!([a.ask("CLIENT GETREDIR"), b.ask("CLIENT GETREDIR")], [&id3[..], &id2[..]]);
    assert_eq!([field(&mut a, "redir"), field(&mut a, "flags")], [&id3[..], "t"]);
    for c in [&mut a, &mut b] {
        c.ask("GET k");
    }
    w.ask("SET k 1");
    assert_eq!(pushes(&mut r3), [">[invalidate [k]]"]);
    assert_eq!(pushes(&mut r2), Vec::<String>::new(), "RESP2, and not in Pub/Sub mode");
    assert!(pushes(&mut a).is_empty() && pushes(&mut b).is_empty());

    r2.ask("SUBSCRIBE __redis__:invalidate");
    b.ask("GET k");
    w.ask("SET k 2");
    assert_eq!(pushes(&mut r2), ["[message __redis__:invalidate [k]]"]);
    w.ask("FLUSHALL");
    assert_eq!(pushes(&mut r2), ["[message __redis__:invalidate (nil)]"]);
    assert_eq!(pushes(&mut r3), [">[invalidate (nil)]"]);

    // Both receivers go.
    r3.ask("QUIT");
    r2.ask("QUIT");
    wait_for("they are gone", || w.ask(&format!("CLIENT LIST ID {id3} {id2}")).is_empty());
    for c in [&mut a, &mut b] {
        c.ask("GET k");
    }
    assert_eq!(field(&mut a, "flags"), "t", "it is not known yet");
    w.ask("SET k 3");
    assert_eq!(pushes(&mut a), [format!(">[tracking-redir-broken {id3}]")]);
    assert_eq!(pushes(&mut b), Vec::<String>::new());
    assert_eq!([field(&mut a, "flags"), field(&mut b, "flags")], ["tR", "tR"]);
    assert_eq!(
        a.ask("CLIENT TRACKINGINFO"),
        format!("{{flags=[on broken_redirect] redirect={id3} prefixes=[]}}")
    );
    // Another CLIENT TRACKING mends it.
    a.ask("CLIENT TRACKING on");
    assert_eq!([field(&mut a, "flags"), field(&mut a, "redir")], ["t", "0"]);
    a.ask("CLIENT TRACKING off");
    assert_eq!([field(&mut a, "flags"), field(&mut a, "redir")], ["N", "-1"]);
}

/// BCAST: all keys, or those that begin with a prefix, whoever has read them; collected, and sent
/// once for a turn of the event loop, in order, prefix by prefix.
#[test]
fn broadcast() {
    let server = TestServer::start(&[]);
    let mut w = server.conn();
    let mut all = tracker(&server, "on bcast");
    let mut some = tracker(&server, "on bcast prefix b: prefix a:");
    assert_eq!(server.info("tracking_total_prefixes"), "3");
    assert_eq!(field(&mut some, "flags"), "tB");
    assert_eq!(some.ask("CLIENT TRACKINGINFO"), "{flags=[on bcast] redirect=0 prefixes=[a: b:]}");
    w.raw(&batch(&[
        "MULTI",
        "SET b:2 v",
        "SET b:1 v",
        "SET a:1 v",
        "SET a v",
        "SET b:2 w",
        "EXEC",
    ]))
    .unwrap();
    for _ in 0..7 {
        w.reply();
    }
    assert_eq!(pushes(&mut all), [">[invalidate [a a:1 b:1 b:2]]"]);
    assert_eq!(pushes(&mut some), [">[invalidate [a:1]]", ">[invalidate [b:1 b:2]]"]);

    // Prefixes can be added; not such as would send a key twice.
    assert_eq!(some.ask("CLIENT TRACKING on BCAST PREFIX c:"), "OK");
    let overlap = |with: &str, what: &str| {
        format!(
            "-ERR Prefix '{with}' overlaps with {what}. Prefixes for a single client must not overlap."
        )
    };
    assert_eq!(
        some.ask("CLIENT TRACKING on BCAST PREFIX a:b"),
        overlap("a:b", "an existing prefix 'a:'")
    );
    assert_eq!(
        some.ask("CLIENT TRACKING on BCAST PREFIX x: PREFIX xy PREFIX x"),
        overlap("x:", "another provided prefix 'x'")
    );
    // One error and nothing else, wherever the two stand.
    assert_eq!(
        some.ask("CLIENT TRACKING on BCAST PREFIX d: PREFIX e PREFIX ee"),
        overlap("e", "another provided prefix 'ee'")
    );
    assert_eq!(some.ask("PING"), "PONG");
    assert_eq!(server.info("tracking_total_prefixes"), "4");
    some.ask("CLIENT TRACKING off");
    assert_eq!(server.info("tracking_total_prefixes"), "1");
    assert_eq!(some.ask("CLIENT TRACKINGINFO"), "{flags=[off] redirect=-1 prefixes=[]}");
    // A client that goes leaves its prefixes.
    all.ask("QUIT");
    wait_for("it is gone", || server.info("tracking_total_prefixes") == "0");
    assert_eq!(server.info("tracking_clients"), "0");
}

/// NOLOOP: nothing about changes of its own, of either kind.
#[test]
fn noloop() {
    let server = TestServer::start(&[]);
    let mut w = server.conn();
    let (mut a, mut b) = (tracker(&server, "on noloop"), tracker(&server, "on bcast noloop"));
    assert_eq!(b.ask("CLIENT TRACKINGINFO"), "{flags=[on bcast noloop] redirect=0 prefixes=[]}");
    a.ask("GET k");
    a.ask("SET k 1");
    assert_eq!(pushes(&mut b), [">[invalidate [k]]"], "what the other has set");
    b.raw(&batch(&["SET k 2", "SET l 2"])).unwrap();
    assert_eq!([next(&mut b), next(&mut b)], ["OK", "OK"]);
    assert_eq!(pushes(&mut a), Vec::<String>::new());
    assert_eq!(pushes(&mut b), Vec::<String>::new());
    a.ask("GET k");
    w.ask("SET k 3");
    assert_eq!(pushes(&mut a), [">[invalidate [k]]"]);
    assert_eq!(pushes(&mut b), [">[invalidate [k]]"]);
    b.raw(&batch(&["MULTI", "SET k 4", "SET l 4", "EXEC"])).unwrap();
    for _ in 0..4 {
        b.reply();
    }
    assert_eq!(pushes(&mut b), Vec::<String>::new());
}

/// OPTIN tracks what follows CLIENT CACHING YES, a command or a transaction; OPTOUT all but what
/// follows CLIENT CACHING NO.
#[test]
fn optin_and_optout() {
    let server = TestServer::start(&[]);
    let mut w = server.conn();
    let (mut i, mut o) = (tracker(&server, "on optin"), tracker(&server, "on optout"));
    let mut said = |c: &mut Conn, keys: &[&str]| {
        for key in keys {
            w.ask(&format!("SET {key} v"));
        }
        pushes(c).concat().replace(">[invalidate ", "").replace("]]", "]")
    };
    i.ask("GET a");
    assert_eq!(i.ask("CLIENT CACHING yes"), "OK");
    assert_eq!(
        i.ask("CLIENT TRACKINGINFO"),
        "{flags=[on optin caching-yes] redirect=0 prefixes=[]}",
        "it outlives other commands about the client"
    );
    i.ask("GET b");
    i.ask("GET c");
    assert_eq!(said(&mut i, &["a", "b", "c"]), "[b]");
    i.raw(&batch(&["CLIENT CACHING yes", "MULTI", "GET a", "GET b", "EXEC", "GET c"])).unwrap();
    for _ in 0..6 {
        i.reply();
    }
    assert_eq!(said(&mut i, &["a", "b", "c"]), "[a][b]");

    o.ask("GET a");
    o.ask("CLIENT CACHING no");
    o.ask("GET b");
    o.ask("GET c");
    assert_eq!(said(&mut o, &["a", "b", "c"]), "[a][c]");

    assert_eq!(
        i.ask("CLIENT CACHING no"),
        "-ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode."
    );
    assert_eq!(
        o.ask("CLIENT CACHING yes"),
        "-ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode."
    );
    assert_eq!(o.ask("CLIENT CACHING maybe"), "-ERR syntax error");
    assert_eq!(
        server.conn().ask("CLIENT CACHING yes"),
        "-ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled"
    );
}

/// What CLIENT TRACKING refuses.
#[test]
fn refused_options() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let own = id(&mut c);
    let switch = |what: &str| {
        format!(
            "-ERR You can't switch {what} mode{} before disabling tracking for this client, and then re-enabling it with a different mode.",
            if what == "BCAST" { " on/off" } else { "" }
        )
    };
    for (line, error) in [
        ("on maybe", "-ERR syntax error"),
        ("perhaps", "-ERR syntax error"),
        ("on redirect", "-ERR syntax error"),
        ("on prefix", "-ERR syntax error"),
        ("on redirect x", "-ERR value is not an integer or out of range"),
        ("on redirect 0", "-ERR The client ID you want redirect to does not exist"),
        ("on redirect -1", "-ERR The client ID you want redirect to does not exist"),
        (
            &format!("on redirect {own} redirect {own}"),
            "-ERR A client can only redirect to a single other client",
        ),
        ("on prefix p", "-ERR PREFIX option requires BCAST mode to be enabled"),
        ("on bcast optin", "-ERR OPTIN and OPTOUT are not compatible with BCAST"),
        ("on optin optout", "-ERR You can't specify both OPTIN mode and OPTOUT mode"),
    ] {
        assert_eq!(c.ask(&format!("CLIENT TRACKING {line}")), error, "{line}");
    }
    assert_eq!(server.info("tracking_clients"), "0");
    c.ask("CLIENT TRACKING on OPTIN");
    assert_eq!(c.ask("CLIENT TRACKING on BCAST"), switch("BCAST"));
    assert_eq!(c.ask("CLIENT TRACKING on OPTOUT"), switch("OPTIN/OPTOUT"));
    c.ask("CLIENT TRACKING off");
    c.ask("CLIENT TRACKING on BCAST");
    assert_eq!(c.ask("CLIENT TRACKING on"), switch("BCAST"));
    // RESET ends it.
    c.ask("RESET");
    assert_eq!(
        [server.info("tracking_clients"), server.info("tracking_total_prefixes")],
        ["0", "0"]
    );
    assert_eq!(c.ask("CLIENT TRACKINGINFO"), "[flags [off] redirect -1 prefixes []]");
    assert_eq!(c.ask("CLIENT GETREDIR"), "-1");
}

/// A client that asks for no replies gets pushes all the same.
#[test]
fn a_client_without_replies() {
    let server = TestServer::start(&[]);
    let mut c = tracker(&server, "on");
    c.ask("GET k");
    c.send(&["CLIENT", "REPLY", "OFF"]);
    c.send(&["SET", "k", "v"]);
    c.send(&["GET", "k"]);
    c.send(&["SET", "k", "w"]);
    c.send(&["CLIENT", "REPLY", "ON"]);
    let got = [next(&mut c), next(&mut c), next(&mut c)];
    assert_eq!(got, [">[invalidate [k]]", ">[invalidate [k]]", "OK"]);
}

/// Beyond `tracking-table-max-keys` random keys are given up, and their readers told, at the next
/// command or by the cron. BCAST clients hear nothing: the keys have not changed.
#[test]
fn the_table_has_a_limit() {
    let server = TestServer::start(&["--tracking-table-max-keys", "10"]);
    let (mut a, mut b) = (tracker(&server, "on"), tracker(&server, "on bcast"));
    for n in 0..50 {
        a.send(&["GET", &format!("key:{n}")]);
    }
    let mut given_up = 0;
    for _ in 0..50 {
        while flat(&a.reply()).starts_with(">[invalidate [key:") {
            given_up += 1;
        }
    }
    given_up += pushes(&mut a).len();
    assert_eq!(given_up, 40);
    assert_eq!(server.info("tracking_total_keys"), "10");
    // A limit that is lowered is kept without another command.
    assert_eq!(server.cmd(&["CONFIG", "SET", "tracking-table-max-keys", "3"]).text(), "OK");
    for _ in 0..7 {
        assert!(next(&mut a).starts_with(">[invalidate [key:"));
    }
    assert_eq!(server.info("tracking_total_items"), "3");
    assert_eq!(pushes(&mut b), Vec::<String>::new());
    // 0 is no limit. All of many keys go at once when the limit comes back.
    server.cmd(&["CONFIG", "SET", "tracking-table-max-keys", "0"]);
    let commands: Vec<String> = (0..5000).map(|n| format!("EXISTS more:{n}")).collect();
    a.raw(&batch(&commands.iter().map(|c| &c[..]).collect::<Vec<_>>())).unwrap();
    for _ in 0..5000 {
        a.reply();
    }
    assert_eq!(server.info("tracking_total_keys"), "5003");
    server.cmd(&["CONFIG", "SET", "tracking-table-max-keys", "1"]);
    wait_for("the cron has given up all but one", || server.info("tracking_total_keys") == "1");
    assert_eq!(pushes(&mut a).len(), 5002);
}

/// The messages about evicted keys take memory themselves. They do not lead to more evictions.
#[test]
fn evictions_do_not_feed_on_their_own_messages() {
    let server = TestServer::start(&["--maxmemory-policy", "allkeys-lru"]);
    let mut clients: Vec<Conn> = (0..10).map(|_| tracker(&server, "on")).collect();
    let mut receiver = server.conn();
    receiver.ask("HELLO 3");
    let mut redirecting = server.conn();
    redirecting.ask(&format!("CLIENT TRACKING on REDIRECT {}", id(&mut receiver)));
    clients.push(redirecting);
    let keys: Vec<String> = (0..300).map(|n| format!("{n}{}", "x".repeat(1000))).collect();
    for key in &keys {
        server.cmd(&["SET", key, "x"]);
        for c in &mut clients {
            c.cmd(&["GET", key]);
        }
    }
    let limit = server.info_i64("used_memory") - 40_000;
    server.cmd(&["CONFIG", "SET", "maxmemory", &limit.to_string()]);
    assert!(pushes(&mut receiver)[0].starts_with(">[invalidate ["));
    for c in &mut clients[..10] {
        assert!(pushes(c)[0].starts_with(">[invalidate ["));
    }
    let left = server.cmd(&["DBSIZE"]).int();
    assert!((200..300).contains(&left), "{left} keys are left");
}
