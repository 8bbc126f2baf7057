//! Active defragmentation: pages that are nearly empty are cleared and go back, and nobody sees it
//! in the data. That each allocation can move is tested beside the code, where all of them do.

#[path = "support/ask.rs"]
mod ask;
mod support;

use ask::*;
use support::*;

/// Options with which a scan starts whenever there is anything to gain, and takes its time.
const EAGER: [&str; 14] = [
    "--hz",
    "100",
    "--active-defrag-ignore-bytes",
    "1mb",
    "--active-defrag-threshold-lower",
    "5",
    "--active-defrag-cycle-min",
    "65",
    "--active-defrag-cycle-max",
    "75",
    "--list-max-ziplist-size",
    "5",
    "--stream-node-max-entries",
    "5",
];

/// Executes commands, a thousand at a time.
fn all(server: &TestServer, commands: impl Iterator<Item = String>) {
    let mut c = server.conn();
    let mut waiting = 0;
    let mut bytes = Vec::new();
    let mut flush = |bytes: &mut Vec<u8>, waiting: &mut i32| {
        c.raw(bytes).unwrap();
        for _ in 0..std::mem::take(waiting) {
            let reply = c.reply();
            assert!(!reply.is_error(), "{}", reply.text());
        }
        bytes.clear();
    };
    for line in commands {
        bytes.extend(Conn::encode(&line.split(' ').collect::<Vec<_>>()));
        waiting += 1;
        if waiting == 1000 {
            flush(&mut bytes, &mut waiting);
        }
    }
    flush(&mut bytes, &mut waiting);
}

/// Keys of all types, large and small, between others that are deleted then: most of what the
/// allocator has is no longer in use.
fn fragment(server: &TestServer) {
    let commands = (0..20_000).flat_map(|i| {
        let long = "x".repeat(i % 200);
        let key = i / 10;
        [
            format!("SETRANGE string:{i} 150 {i}"),
            format!("SETRANGE gone:{i} 150 {i}"),
            format!("SET short:{i} {i}:value EX 100000"),
            format!("SET gone:short:{i} {i}:value EX 100000"),
            format!("HSET bighash {i} {long}"),
            format!("HSET gone:hash {i} {long}"),
            format!("SADD bigset {i}:member"),
            format!("SADD gone:set {i}:member"),
            format!("ZADD bigzset {i} {i}:a-member-that-is-long-enough"),
            format!("ZADD gone:zset {i} {i}:a-member-that-is-long-enough"),
            format!("RPUSH biglist {long}"),
            format!("RPUSH gone:list {long}"),
            format!("XADD bigstream {}-1 item {long}", i + 1),
            format!("XADD gone:stream {}-1 item {long}", i + 1),
            format!("RPUSH list:{key} {i}"),
            format!("RPUSH gone:list:{key} {i}"),
            format!("SADD set:{key} {i}"),
            format!("SADD gone:set:{key} {i}"),
            format!("HSET hash:{key} {i} {long}"),
            format!("HSET gone:hash:{key} {i} {long}"),
            format!("ZADD zset:{key} {i} {i}"),
            format!("ZADD gone:zset:{key} {i} {i}"),
        ]
    });
    all(server, commands);
    let mut c = server.conn();
    c.ask("XGROUP CREATE bigstream group 0");
    c.ask("XREADGROUP GROUP group alice COUNT 3000 STREAMS bigstream >");
    c.ask("XREADGROUP GROUP group bob COUNT 300 STREAMS bigstream >");
    let gone = (0..20_000).flat_map(|i| [format!("DEL gone:{i}"), format!("DEL gone:short:{i}")]);
    let types = ["hash", "set", "zset", "list"];
    let small = (0..2000).flat_map(|i| types.map(|t| format!("DEL gone:{t}:{i}")));
    let large = ["hash", "set", "zset", "list", "stream"].map(|t| format!("DEL gone:{t}"));
    // Of what stays, every fourth string, so that no slab is left in order.
    let strings = (0..20_000).filter(|i| i % 4 != 0).map(|i| format!("DEL string:{i}"));
    all(server, gone.chain(small).chain(large).chain(strings));
}

fn frag_ratio(server: &TestServer) -> f64 {
    server.info("allocator_frag_ratio").parse().unwrap()
}

#[test]
fn memory_comes_back() {
    let server = TestServer::start(&[&EAGER[..], &["--latency-monitor-threshold", "1"]].concat());
    let mut c = server.conn();
    fragment(&server);
    wait_for("the figures to be taken", || frag_ratio(&server) > 1.25);
    let [active, digest] = [server.info("allocator_active"), server.digest()];
    let group = c.cmd(&["XINFO", "STREAM", "bigstream", "FULL"]);
    assert_eq!(server.info("active_defrag_running"), "0");

    assert_eq!(c.ask("CONFIG SET activedefrag yes"), "OK");
    wait_for("a scan to begin", || server.info_i64("active_defrag_hits") > 0);
    // A tenth is what a scan leaves at most, mostly a few per cent.
    wait_for("memory to come back", || frag_ratio(&server) < 1.15);
    assert_eq!(server.digest(), digest);
    assert!(c.cmd(&["XINFO", "STREAM", "bigstream", "FULL"]) == group);
    let active: i64 = active.parse().unwrap();
    let now = server.info_i64("allocator_active");
    assert!(now < active * 9 / 10, "{active} bytes of pages before, {now} now");
    for field in ["hits", "misses", "key_hits", "key_misses"] {
        assert!(server.info_i64(&format!("active_defrag_{field}")) > 0, "{field}");
    }
    assert!(c.ask("LATENCY LATEST").contains("active-defrag-cycle"));
    assert!(c.ask("MEMORY DOCTOR").len() > 10);

    // Whatever is done with keys that have moved: all of it is read, and then all is gone.
    assert_eq!(c.ask("CONFIG SET activedefrag no"), "OK");
    wait_for("the scan to stop", || server.info("active_defrag_running") == "0");
    assert_eq!(c.ask("SAVE"), "OK");
    assert_eq!(c.ask("CONFIG RESETSTAT"), "OK");
    assert_eq!(server.info("active_defrag_key_hits"), "0");
    assert_eq!(c.ask("FLUSHALL"), "OK");
    assert_eq!(c.ask("MEMORY PURGE"), "OK");
}

/// A replica that moves nothing has the same as its master that moves all the time, while keys come
/// and go.
#[test]
fn a_replica_without_it_has_the_same() {
    let master = TestServer::start(
        &[&EAGER[..], &["--active-defrag-ignore-bytes", "1", "--activedefrag", "yes"]].concat(),
    );
    let replica = TestServer::start(&[]).replica_of(&master);
    let mut round = 0;
    wait_for("much to be moved", || {
        round += 1;
        let commands = (0..4000).flat_map(|i| {
            let n = (i * 7919 + round * 31) % 3000;
            let long = "y".repeat((i * 13 + round) % 300);
            [
                format!("SET key:{n} {long}"),
                format!("DEL key:{}", (n * 7) % 3000),
                format!("HSET hash:{} {n} {long}", n % 3),
                format!("HDEL hash:{} {}", n % 3, (n * 3) % 3000),
                format!("ZADD zset {n} {n}:{long}"),
                format!("RPUSH list:{} {long}", n % 5),
                format!("LTRIM list:{} -2000 -2", n % 5),
                format!("SADD set {n}:{long}"),
                format!("XADD stream MAXLEN 1000 * item {long}"),
                format!("EXPIRE key:{} 100000", (n * 11) % 3000),
            ]
        });
        all(&master, commands);
        if round % 4 == 0 {
            all(&master, ["DEL zset set hash:1".to_string()].into_iter());
        }
        master.info_i64("active_defrag_hits") > 20_000
    });
    assert_same_data(&master, &replica);
    assert_eq!(replica.info("active_defrag_hits"), "0");
    // Switched off, it stops in the middle.
    let mut c = master.conn();
    assert_eq!(c.ask("CONFIG SET activedefrag no"), "OK");
    wait_for("the scan to stop", || master.info("active_defrag_running") == "0");
    assert_same_data(&master, &replica);
}
