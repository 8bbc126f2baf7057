//! Large values: keys of many elements from their first element to their end, and tables of many
//! keys.
//!
//! In the short form, keys have 20000 elements and time is not looked at. `FIDELIS_LONG=1 cargo
//! test --release --test large` takes a million of them, and ten million where one key is enough,
//! and asks for flat latency: what is not O(N) by contract takes 5 ms at most.
//!
//! Time is what the CPU clock of the server's main thread says of a command, or of a hundred
//! commands in a row. SLOWLOG goes by the wall clock, in which every other process of the machine
//! has its share: growing a table to ten million keys beside a build shows hundreds of commands
//! above a millisecond, in the C as here, in which the thread did not run. It is shown where a load
//! fails. As a virtual machine's CPU clock counts what its host takes away, a load that seems to
//! have stalled is run again: what our code does happens every time, at the same place.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)] // one test at a time; a client beside the test

#[path = "support/ask.rs"]
mod ask;
mod support;

use ask::*;
use std::io::Read;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use support::*;

/// The slow form?
fn long() -> bool {
    std::env::var_os("FIDELIS_LONG").is_some()
}

/// Is time looked at? A debug build has no times worth looking at.
fn timed() -> bool {
    long() && !cfg!(debug_assertions)
}

/// Elements of a large key.
fn large() -> usize {
    if long() { 1_000_000 } else { 20_000 }
}

/// Elements of the largest keys, and keys of the largest table.
fn huge() -> usize {
    if long() { 10_000_000 } else { 50_000 }
}

/// One test at a time, so that they do not slow each other down.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The CPU time of a server's main thread.
fn main_thread_cpu(server: &TestServer) -> Duration {
    let path = format!("/proc/{0}/task/{0}/schedstat", server.pid());
    let text = std::fs::read_to_string(path).unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0))
}

/// Commands on their way to a server, a hundred at a time.
struct Batch<'a> {
    server: &'a TestServer,
    c: Conn,
    bytes: Vec<u8>,
    waiting: usize,
    /// The CPU time of each hundred.
    took: Vec<Duration>,
}

impl Batch<'_> {
    /// Puts a command in, given as words.
    fn add(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        self.bytes.extend(Conn::encode(&words));
        self.waiting += 1;
        if self.waiting == 100 {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let before = main_thread_cpu(self.server);
        self.c.raw(&self.bytes).unwrap();
        for _ in 0..self.waiting {
            let reply = self.c.reply();
            assert!(!reply.is_error(), "{}", reply.text());
        }
        self.took.push(main_thread_cpu(self.server) - before);
        self.bytes.clear();
        self.waiting = 0;
    }
}

/// A connection that waits longer than others: what is O(N) takes its time on a busy machine.
fn patient(server: &TestServer) -> Conn {
    let c = server.conn();
    c.sock.set_read_timeout(Some(10 * PATIENCE)).unwrap();
    c
}

/// Sends what `f` puts in, waits for the last reply, and tells the CPU time of each hundred
/// commands.
fn batch(server: &TestServer, f: impl FnOnce(&mut Batch)) -> Vec<Duration> {
    let mut batch =
        Batch { server, c: patient(server), bytes: Vec::new(), waiting: 0, took: Vec::new() };
    f(&mut batch);
    batch.flush();
    batch.took
}

/// What is not O(N) takes less than this.
const FLAT: Duration = Duration::from_millis(5);

/// Runs `load`, which returns what its parts took, one after the other, and asks that each is below
/// [`FLAT`]; runs it again where one is not. Of each hundredth of the load the best attempt counts.
fn flat_latency(server: &TestServer, mut load: impl FnMut() -> Vec<Duration>) {
    let mut c = patient(server);
    c.ask(&format!("CONFIG SET slowlog-log-slower-than {}", FLAT.as_micros()));
    let mut best = [Duration::MAX; 100];
    for _ in 0..8 {
        c.ask("SLOWLOG RESET");
        let took = load();
        let mut longest = [Duration::ZERO; 100];
        for (i, &part) in took.iter().enumerate() {
            let place = &mut longest[i * 100 / took.len()];
            *place = part.max(*place);
        }
        for (best, longest) in best.iter_mut().zip(longest) {
            *best = longest.min(*best);
        }
        if !timed() || best.iter().all(|&took| took < FLAT) {
            return;
        }
    }
    let mut log = String::new();
    for entry in c.cmd(&["SLOWLOG", "GET", "20"]).array() {
        let (us, words) = (entry.array()[2].int(), flat(&entry.array()[3]));
        log.push_str(&format!("{us} us: {words:.100}\n"));
    }
    panic!("{FLAT:?} of CPU at the same place each time: {best:?}; the last slow log:\n{log}");
}

/// Runs one command, again and again after `prepare`, and asks that it takes less than 5 ms.
fn quick(server: &TestServer, line: &str, reply: &str, mut prepare: impl FnMut(&mut Conn)) {
    let mut c = patient(server);
    flat_latency(server, || {
        prepare(&mut c);
        let before = main_thread_cpu(server);
        assert_eq!(c.ask(line), reply, "{line}");
        // What it left to be done before the next command is part of it.
        c.ask("PING");
        vec![main_thread_cpu(server) - before]
    });
}

/// Commands that make a key of `n` elements, many elements each.
fn build(server: &TestServer, kind: &str, key: &str, n: usize) {
    batch(server, |b| {
        if kind == "stream" {
            for i in 0..n {
                b.add(&format!("XADD {key} {}-1 field value:{i}", i + 1));
            }
            return;
        }
        for from in (0..n).step_by(500) {
            let mut line = match kind {
                "list" => format!("RPUSH {key}"),
                "set" => format!("SADD {key}"),
                "hash" => format!("HSET {key}"),
                "zset" => format!("ZADD {key}"),
                _ => panic!("{kind}"),
            };
            for i in from..(from + 500).min(n) {
                match kind {
                    "hash" => line.push_str(&format!(" field:{i} value:{i}")),
                    "zset" => line.push_str(&format!(" {} member:{i}", scattered(i, n))),
                    _ => line.push_str(&format!(" element:{i}")),
                }
            }
            b.add(&line);
        }
    });
}

/// The number `i` of a list of the numbers below `n` in an order that looks random.
fn scattered(i: usize, n: usize) -> usize {
    (i * 982_451_653 + 12_345) % n
}

/// A key saved, loaded, replicated, copied and dumped: the same data each time.
fn travels(server: &mut TestServer, key: &str) {
    let mut c = patient(server);
    let digest = server.digest();
    let of_key = |c: &mut Conn, key: &str| c.cmd(&["DEBUG", "DIGEST-VALUE", key]).text();
    let value = of_key(&mut c, key);
    assert_eq!(c.ask(&format!("COPY {key} a-copy")), "1");
    assert_eq!(of_key(&mut c, "a-copy"), value);
    assert_eq!(c.ask("UNLINK a-copy"), "1");

    let replica = TestServer::start(&[]).replica_of(server);
    assert_same_data(server, &replica);
    assert_eq!(replica.digest(), digest);
    // Small changes reach it too.
    let mut own = patient(&replica);
    c.ask("SET afterwards 1");
    wait_for("the change", || own.ask("GET afterwards") == "1");
    c.ask("DEL afterwards");
    drop(replica);

    assert_eq!(c.ask("BGSAVE"), "Background saving started");
    wait_for("the child", || server.info("rdb_bgsave_in_progress") == "0");
    assert_eq!(server.info("rdb_last_bgsave_status"), "ok");
    drop(c);
    server.restart();
    wait_for("the file", || server.info("loading") == "0");
    assert_eq!(server.digest(), digest);
}

#[test]
fn list() {
    let _alone = alone();
    let mut server = TestServer::start(&[]);
    let n = large();
    flat_latency(&server, || {
        let mut c = patient(&server);
        c.ask("UNLINK key");
        batch(&server, |b| {
            for i in 0..n {
                let push = ["RPUSH", "LPUSH"][i % 2];
                b.add(&format!("{push} key element:{i}"));
            }
            for i in 0..n / 1000 {
                let at = scattered(i, n - 100) as i64;
                b.add(&format!("LINDEX key {}", at % 1000 - 500));
                b.add(&format!("LRANGE key {} {}", -at % 1000 - 100, -at % 1000));
                b.add(&format!("LSET key {at} set:{i}"));
                b.add("LMOVE key key LEFT RIGHT");
            }
            b.add("LLEN key");
        })
    });
    let mut c = patient(&server);
    assert_eq!(c.ask("LLEN key"), n.to_string());
    assert_eq!(c.cmd(&["LRANGE", "key", "0", "-1"]).array().len(), n);
    let middle = (n / 2).to_string();
    assert_eq!(c.ask("LINSERT key BEFORE absent x"), "-1");
    assert_eq!(c.ask(&format!("LINDEX key {middle}")), c.ask(&format!("LINDEX key -{middle}")));
    travels(&mut server, "key");

    // Popped and trimmed: a little at a time, then half of it, then the rest.
    flat_latency(&server, || {
        let mut c = patient(&server);
        c.ask("UNLINK popped");
        assert_eq!(c.ask("COPY key popped"), "1");
        batch(&server, |b| {
            for i in 0..n / 4 {
                b.add(["LPOP popped", "RPOP popped"][i % 2]);
                if i % 100 == 0 {
                    b.add("LTRIM popped 5 -5");
                }
            }
        })
    });
    let mut c = patient(&server);
    let left: usize = c.ask("LLEN popped").parse().unwrap();
    assert_eq!(left, n - n / 4 - (n / 4).div_ceil(100) * 9);
    assert_eq!(c.ask(&format!("LTRIM popped {} -1", left / 2)), "OK");
    assert_eq!(c.ask("LLEN popped"), (left - left / 2).to_string());
    assert_eq!(c.ask("LTRIM popped 1 0"), "OK");
    assert_eq!(c.ask("EXISTS popped"), "0");
    quick(&server, "UNLINK other", "1", |c| drop(c.ask("COPY key other")));
}

/// A set or a hash, whose commands differ by name only.
fn table(kind: &str) {
    let _alone = alone();
    let mut server = TestServer::start(&[]);
    let n = large();
    let (add, has, len, remove) = match kind {
        "set" => ("SADD", "SISMEMBER", "SCARD", "SREM"),
        _ => ("HSET", "HGET", "HLEN", "HDEL"),
    };
    let value = |i: usize| if kind == "set" { String::new() } else { format!(" value:{i}") };
    flat_latency(&server, || {
        let mut c = patient(&server);
        c.ask("UNLINK key");
        batch(&server, |b| {
            for i in 0..n {
                b.add(&format!("{add} key element:{i}{}", value(i)));
            }
            for i in 0..n / 100 {
                b.add(&format!("{has} key element:{}", scattered(i, n)));
                b.add(if kind == "set" { "SRANDMEMBER key 20" } else { "HRANDFIELD key 20" });
            }
        })
    });
    let mut c = patient(&server);
    assert_eq!(c.ask(&format!("{len} key")), n.to_string());
    let all = c.cmd(&[if kind == "set" { "SMEMBERS" } else { "HKEYS" }, "key"]);
    assert_eq!(all.array().len(), n);
    // A whole SCAN, each step of which is short.
    let scan = if kind == "set" { "SSCAN" } else { "HSCAN" };
    let mut found = 0;
    flat_latency(&server, || {
        let mut c = patient(&server);
        let (mut cursor, mut took) = (String::from("0"), Vec::new());
        found = 0;
        loop {
            let before = main_thread_cpu(&server);
            let reply = c.cmd(&[scan, "key", &cursor, "COUNT", "1000"]);
            took.push(main_thread_cpu(&server) - before);
            cursor = reply.array()[0].text();
            found += reply.array()[1].array().len();
            if cursor == "0" {
                return took;
            }
        }
    });
    assert_eq!(found, if kind == "set" { n } else { 2 * n });
    travels(&mut server, "key");

    flat_latency(&server, || {
        let mut c = patient(&server);
        c.ask("UNLINK removed");
        assert_eq!(c.ask("COPY key removed"), "1");
        batch(&server, |b| {
            for i in 0..n - 10 {
                b.add(&format!("{remove} removed element:{i}"));
            }
        })
    });
    let mut c = patient(&server);
    assert_eq!(c.ask(&format!("{len} removed")), "10");
    let usage: usize = c.ask("MEMORY USAGE removed").parse().unwrap();
    assert!(usage < 20_000, "{usage} bytes for 10 elements");
    if kind == "set" {
        assert_eq!(c.cmd(&["SPOP", "key", &(n / 2).to_string()]).array().len(), n / 2);
        assert_eq!(c.ask("SCARD key"), (n - n / 2).to_string());
    }
    quick(&server, "UNLINK other", "1", |c| drop(c.ask("COPY key other")));
}

#[test]
fn set() {
    table("set");
}

#[test]
fn hash() {
    table("hash");
}

#[test]
fn zset() {
    let _alone = alone();
    let mut server = TestServer::start(&[]);
    let n = large();
    flat_latency(&server, || {
        let mut c = patient(&server);
        c.ask("UNLINK key");
        batch(&server, |b| {
            for i in 0..n {
                b.add(&format!("ZADD key {} member:{i}", scattered(i, n)));
            }
            for i in 0..n / 100 {
                let at = scattered(i, n);
                b.add(&format!("ZSCORE key member:{at}"));
                b.add(&format!("ZRANK key member:{at}"));
                b.add(&format!("ZRANGEBYSCORE key {at} +inf LIMIT 0 10"));
                b.add(&format!("ZREVRANGE key {at} {}", at + 10));
                b.add(&format!("ZCOUNT key {} {at}", at / 2));
                b.add(&format!("ZINCRBY key 1.5 member:{at}"));
                b.add("ZRANDMEMBER key 20");
            }
        })
    });
    let mut c = patient(&server);
    assert_eq!(c.ask("ZCARD key"), n.to_string());
    assert_eq!(c.cmd(&["ZRANGE", "key", "0", "-1"]).array().len(), n);
    travels(&mut server, "key");

    flat_latency(&server, || {
        let mut c = patient(&server);
        c.ask("UNLINK removed");
        assert_eq!(c.ask("COPY key removed"), "1");
        batch(&server, |b| {
            for i in 0..n / 2 {
                b.add(&format!("ZREM removed member:{i}"));
                if i % 10 == 0 {
                    b.add("ZPOPMIN removed");
                    b.add("ZPOPMAX removed");
                    b.add("ZREMRANGEBYRANK removed 10 12");
                }
            }
        })
    });
    let mut c = patient(&server);
    let left: usize = c.ask("ZCARD removed").parse().unwrap();
    assert!(left > 0 && left < n / 2, "{left}");
    assert_eq!(c.ask("ZREMRANGEBYRANK removed 10 -1"), (left - 10).to_string());
    assert_eq!(c.ask("ZCARD removed"), "10");
    quick(&server, "UNLINK other", "1", |c| drop(c.ask("COPY key other")));
}

#[test]
fn stream() {
    let _alone = alone();
    let mut server = TestServer::start(&[]);
    let n = large();
    flat_latency(&server, || {
        let mut c = patient(&server);
        c.ask("UNLINK key");
        c.ask("XGROUP CREATE key group $ MKSTREAM");
        batch(&server, |b| {
            for i in 0..n {
                b.add(&format!("XADD key {}-1 field value:{i}", i + 1));
                if i % 100 == 99 {
                    b.add("XREADGROUP GROUP group one COUNT 50 STREAMS key >");
                    b.add("XPENDING key group - + 10");
                }
            }
            for i in 0..n / 100 {
                let at = scattered(i, n);
                b.add(&format!("XRANGE key {at} + COUNT 10"));
                b.add(&format!("XREVRANGE key {at} - COUNT 10"));
                b.add(&format!("XDEL key {}-1", at + 1));
                b.add(&format!("XACK key group {}-1", at / 4 + 1));
            }
        })
    });
    let mut c = patient(&server);
    let left: usize = c.ask("XLEN key").parse().unwrap();
    assert_eq!(left, n - n / 100);
    assert_eq!(c.cmd(&["XRANGE", "key", "-", "+"]).array().len(), left);
    travels(&mut server, "key");

    flat_latency(&server, || {
        let mut c = patient(&server);
        c.ask("UNLINK trimmed");
        assert_eq!(c.ask("COPY key trimmed"), "1");
        batch(&server, |b| {
            for i in (0..n / 2).step_by(100) {
                b.add(&format!("XTRIM trimmed MINID {}", i + 1));
                b.add(&format!("XADD trimmed MAXLEN ~ {left} * field value"));
            }
        })
    });
    let mut c = patient(&server);
    assert_eq!(c.ask("XTRIM key MAXLEN 10"), (left - 10).to_string());
    assert_eq!(c.ask("XLEN key"), "10");
    quick(&server, "UNLINK other", "1", |c| drop(c.ask("COPY trimmed other")));
}

/// Whatever the way by which a huge key goes, the thread of `bio.rs` frees it.
#[test]
fn huge_keys_are_freed_elsewhere() {
    let _alone = alone();
    let server = TestServer::start(&[
        "--lazyfree-lazy-eviction",
        "yes",
        "--lazyfree-lazy-expire",
        "yes",
        "--lazyfree-lazy-server-del",
        "yes",
        "--lazyfree-lazy-user-del",
        "yes",
        "--lazyfree-lazy-user-flush",
        "yes",
    ]);
    let mut total = 0;
    let mut freed = |objects: i64| {
        total += objects;
        wait_for_long("the thread", || server.info_i64("lazyfreed_objects") == total);
        assert_eq!(server.info("lazyfree_pending_objects"), "0");
    };
    // Every type by UNLINK at the largest size, and by DEL.
    for kind in ["list", "set", "hash", "zset", "stream"] {
        // A stream of ten million takes long to send, and its tree is no other than that of a
        // million.
        let n = if kind == "stream" { large() } else { huge() };
        build(&server, kind, kind, n);
        let mut objects = 0;
        quick(&server, "UNLINK victim", "1", |c| {
            assert_eq!(c.ask(&format!("COPY {kind} victim")), "1");
            objects += 1;
        });
        quick(&server, "DEL victim", "1", |c| {
            assert_eq!(c.ask(&format!("COPY {kind} victim")), "1");
            objects += 1;
        });
        assert_eq!(patient(&server).ask(&format!("DEL {kind}")), "1");
        objects += 1;
        freed(objects);
    }

    // By being overwritten, renamed over, stored over, expired, evicted and flushed.
    let n = large();
    build(&server, "set", "set", n);
    let mut objects = 0;
    let mut copy = |c: &mut Conn| {
        assert_eq!(c.ask("COPY set victim REPLACE"), "1");
        c.ask("SET other 1");
        c.ask("SADD small 1");
        objects += 1;
    };
    quick(&server, "SET victim 1", "OK", &mut copy);
    quick(&server, "RENAME other victim", "OK", &mut copy);
    quick(&server, "SUNIONSTORE victim small", "1", &mut copy);
    quick(&server, "EXPIRE victim -1", "1", &mut copy);
    quick(&server, "GET victim", "(nil)", |c| {
        c.ask("DEBUG SET-ACTIVE-EXPIRE 0");
        copy(c);
        c.ask("PEXPIRE victim 1");
        std::thread::sleep(Duration::from_millis(5));
    });
    freed(objects);
    let mut c = patient(&server);
    let keys = |c: &mut Conn| c.cmd(&["DBSIZE"]).int();
    let mut objects = 0;
    for flush in ["FLUSHDB ASYNC", "FLUSHALL"] {
        quick(&server, flush, "OK", |c| {
            build(&server, "hash", "hash", n);
            objects += keys(c);
        });
    }
    freed(objects);
    // The one key goes before the next command that takes memory.
    build(&server, "set", "set", n);
    c.ask("CONFIG SET maxmemory-policy allkeys-random");
    c.ask("CONFIG SET maxmemory 1");
    wait_for("eviction", || server.info("evicted_keys") == "1");
    freed(1);
}

/// A table of many keys is given to the thread by FLUSHALL ASYNC, and by a replica before a full
/// synchronisation.
#[test]
fn huge_tables_are_freed_elsewhere() {
    let _alone = alone();
    let master = TestServer::start(&[]);
    let server = TestServer::start(&["--replica-lazy-flush", "yes"]);
    let populate = |c: &mut Conn| {
        assert_eq!(c.ask(&format!("DEBUG POPULATE {} key 16", huge())), "OK");
    };
    quick(&server, "FLUSHALL ASYNC", "OK", populate);
    wait_for_long("the thread", || server.info("lazyfree_pending_objects") == "0");

    let mut c = patient(&server);
    populate(&mut c);
    let before = main_thread_cpu(&server);
    server.replicaof_port(master.port);
    server.wait_for_link();
    let took = main_thread_cpu(&server) - before;
    assert_eq!(c.ask("DBSIZE"), "0");
    assert!(!timed() || took < Duration::from_millis(200), "{took:?} to follow an empty master");
    wait_for_long("the thread", || server.info("lazyfree_pending_objects") == "0");
    assert_eq!(server.info_i64("lazyfreed_objects"), 2 * huge() as i64);
}

/// `wait_for` with the patience that huge data needs.
#[track_caller]
fn wait_for_long(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < 10 * PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// While one huge key is loaded, clients are told so, again and again, and a replica answers its
/// master's clients.
#[test]
fn loading_a_huge_key_serves_clients() {
    let _alone = alone();
    let mut server = TestServer::start(&[]);
    let n = large();
    build(&server, "zset", "key", n);
    assert_eq!(server.ask("SAVE"), "OK");
    let size = std::fs::metadata(server.dir.path("dump.rdb")).unwrap().len();
    server.signal("KILL");
    server.wait_exit();
    server.start_again();
    let mut c = patient(&server);
    let (mut answers, mut longest) = (0, Duration::ZERO);
    loop {
        let start = Instant::now();
        if !c.ask("GET key").starts_with("-LOADING") {
            break;
        }
        longest = longest.max(start.elapsed());
        answers += 1;
    }
    assert_eq!(c.ask("ZCARD key"), n.to_string());
    // The loop turns once in 2 MB. Another process may hold the test back, so a part of the turns
    // is enough.
    assert!(!long() || answers >= size / 2_000_000 / 4, "{answers} answers in {size} bytes");
    assert!(!timed() || longest < Duration::from_secs(1), "an answer took {longest:?}");
}

/// A reply that is larger than the client may have waiting ends the connection, not the server's
/// memory.
#[test]
fn huge_replies_are_limited() {
    let _alone = alone();
    let limit = if long() { 10_000_000 } else { 500_000 };
    let server = TestServer::start(&[
        "--client-output-buffer-limit",
        "normal",
        &limit.to_string(),
        "0",
        "0",
    ]);
    let mut c = patient(&server);
    for kind in ["list", "hash", "set", "zset", "stream"] {
        build(&server, kind, kind, large() * 2);
    }
    let used = |c: &mut Conn, field: &str| -> i64 {
        let info = c.ask("INFO memory");
        let line = info.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap().parse().unwrap()
    };
    for line in [
        "LRANGE list 0 -1",
        "HGETALL hash",
        "SMEMBERS set",
        "ZRANGE zset 0 -1 WITHSCORES",
        "XRANGE stream - +",
        "SORT list ALPHA",
    ] {
        let closed = server.log().matches("overcoming of output buffer limits").count();
        c.ask("CONFIG RESETSTAT");
        let before = used(&mut c, "used_memory");
        let mut greedy = patient(&server);
        greedy.send(&line.split(' ').collect::<Vec<_>>());
        wait_for(line, || {
            server.log().matches("overcoming of output buffer limits").count() > closed
        });
        let peak = used(&mut c, "used_memory_peak") - before;
        // SORT needs its vector of elements besides.
        let room = if line.starts_with("SORT") { 100 * large() as i64 * 2 } else { 0 };
        assert!(peak < 2 * limit + 1_000_000 + room, "{line}: {peak} bytes for {limit}");
        let mut rest = Vec::new();
        let _ = greedy.sock.read_to_end(&mut rest);
        assert!(rest.len() < 2 * limit as usize + 10_000_000, "{line}: {} bytes", rest.len());
        wait_for("the client's memory", || used(&mut c, "used_memory") < before + limit / 2);
    }
    // Without a limit all of it arrives, whatever its size.
    c.cmd(&["CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0"]);
    assert_eq!(c.cmd(&["LRANGE", "list", "0", "-1"]).array().len(), large() * 2);
    assert_eq!(c.cmd(&["HGETALL", "hash"]).array().len(), large() * 4);
}

/// While a table grows to its largest size, and while it is emptied, no hundred commands take 5 ms,
/// with what the cron does between them.
#[test]
fn a_growing_table() {
    let _alone = alone();
    let server = TestServer::start(&[]);
    let n = huge();
    flat_latency(&server, || {
        assert_eq!(patient(&server).ask("FLUSHALL ASYNC"), "OK");
        wait_for_long("the thread", || server.info("lazyfree_pending_objects") == "0");
        let mut took = batch(&server, |b| {
            for i in 0..n {
                b.add(&format!("SET key:{i} value:{i}"));
            }
        });
        assert_eq!(patient(&server).ask("DBSIZE"), n.to_string());
        took.extend(batch(&server, |b| {
            for i in 0..n / 2 {
                b.add(&format!("DEL key:{i}"));
            }
        }));
        took
    });
    assert_eq!(patient(&server).ask("DBSIZE"), (n - n / 2).to_string());
}
