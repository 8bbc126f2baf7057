//! Keys: iteration that misses nothing, the end of keys, moves between dbs, what OBJECT tells,
//! eviction.

#[path = "support/ask.rs"]
mod ask;
mod support;

use ask::*;
use std::collections::BTreeSet;
use std::time::Duration;
use support::*;

/// One whole SCAN; what it returned, in order.
fn scan(c: &mut Conn, count: &str, mut between: impl FnMut()) -> Vec<String> {
    let (mut cursor, mut found) = ("0".to_string(), Vec::new());
    loop {
        let reply = c.cmd(&["SCAN", &cursor, "COUNT", count]);
        cursor = reply.array()[0].text();
        found.extend(reply.array()[1].array().iter().map(Reply::text));
        if cursor == "0" {
            return found;
        }
        between();
    }
}

/// Keys that are there from the first to the last call of a SCAN are returned, while the table
/// grows and shrinks under it.
#[test]
fn scan_guarantee() {
    let server = TestServer::start(&[]);
    let (mut c, mut other) = (server.conn(), server.conn());
    c.ask("DEBUG POPULATE 1000 stay 8");
    let stay: BTreeSet<String> = (0..1000).map(|i| format!("stay:{i}")).collect();
    for (count, grow, shrink) in
        [("10", 300, 0), ("1", 40, 0), ("7", 0, 400), ("10", 900, 900), ("100", 20_000, 20_000)]
    {
        let mut next = 0u64;
        let mut alive = std::collections::VecDeque::new();
        if shrink > grow {
            let lines: Vec<String> = (0..50_000).map(|i| format!("SET pre:{i} x")).collect();
            other.raw(&batch(&lines.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
            (0..50_000).for_each(|_| assert_eq!(ask::next(&mut other), "OK"));
            alive.extend((0..50_000).map(|i| format!("pre:{i}")));
        }
        let (mut calls, mut turn) = (0, 0);
        let found = scan(&mut c, count, || {
            calls += 1;
            turn += 1;
            let mut lines = Vec::new();
            if turn % 6 < 3 || shrink == 0 {
                for _ in 0..grow.min(if next > 60_000 { 0 } else { grow }) {
                    lines.push(format!("SET go:{next} x"));
                    alive.push_back(format!("go:{next}"));
                    next += 1;
                }
            } else {
                for _ in 0..shrink {
                    let Some(k) = alive.pop_front() else { break };
                    lines.push(format!("DEL {k}"));
                }
            }
            other.raw(&batch(&lines.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
            lines.iter().for_each(|_| drop(other.reply()));
        });
        assert!(calls > 3, "it took {calls} calls");
        let found: BTreeSet<String> =
            found.into_iter().filter(|k| k.starts_with("stay:")).collect();
        let missed: Vec<_> = stay.difference(&found).take(5).collect();
        assert!(missed.is_empty(), "COUNT {count}, +{grow} -{shrink}: missed {missed:?} and more");
        for chunk in alive.make_contiguous().chunks(1000) {
            other.cmd(&[&["DEL".to_string()], chunk].concat());
        }
    }
    // Nothing twice while nothing changes; and at rest all of it. The cron may still have to shrink
    // the table, or be at it.
    let mut found = Vec::new();
    wait_for("a scan of a table at rest", || {
        let before = c.ask("DEBUG HTSTATS 0");
        found = scan(&mut c, "10", || {});
        before == c.ask("DEBUG HTSTATS 0") && !before.contains("rehashing target")
    });
    assert_eq!(found.len(), 1000);
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), stay);
}

/// MATCH, TYPE, and the errors of SCAN.
#[test]
fn scan_options() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    for k in ["a1", "a2", "b1", "c[x]", "c?"] {
        c.cmd(&["SET", k, "v"]);
    }
    let mut all = |line: &str| -> Vec<String> {
        let mut v: Vec<String> = c.cmd(&line.split(' ').collect::<Vec<_>>()).array()[1]
            .array()
            .iter()
            .map(Reply::text)
            .collect();
        v.sort();
        v
    };
    assert_eq!(all("SCAN 0 MATCH a* COUNT 100"), ["a1", "a2"]);
    assert_eq!(all("SCAN 0 MATCH ?1 COUNT 100"), ["a1", "b1"]);
    assert_eq!(all("SCAN 0 MATCH [^a]1 COUNT 100"), ["b1"]);
    assert_eq!(all("SCAN 0 MATCH c\\[x] COUNT 100"), ["c[x]"]);
    assert_eq!(all("SCAN 0 TYPE string COUNT 100").len(), 5);
    assert_eq!(all("SCAN 0 TYPE list COUNT 100").len(), 0);
    assert_eq!(all("SCAN 0 COUNT 100 MATCH * TYPE string").len(), 5);
    // A cursor ends at a NUL, and the empty one is 0.
    for cursor in ["0\0junk", "\0", "\0\0", "", "-0\0"] {
        assert_eq!(all(&format!("SCAN {cursor} COUNT 100")).len(), 5, "{cursor:?}");
    }
    for (line, want) in [
        ("SCAN abc", "-ERR invalid cursor"),
        ("SCAN -", "-ERR invalid cursor"),
        ("SCAN 1x\0", "-ERR invalid cursor"),
        ("HSCAN nokey x\0", "-ERR invalid cursor"),
        ("SCAN 0 COUNT x", "-ERR value is not an integer or out of range"),
        ("SCAN 0 COUNT", "-ERR syntax error"),
        ("SCAN 0 FOO x", "-ERR syntax error"),
    ] {
        assert_eq!(c.ask(line), want, "{line}");
    }
    let mut keys: Vec<String> = c.cmd(&["KEYS", "a?"]).array().iter().map(Reply::text).collect();
    keys.sort();
    assert_eq!(keys, ["a1", "a2"]);
    assert!(["a1", "a2", "b1", "c[x]", "c?"].contains(&c.ask("RANDOMKEY").as_str()));
    c.ask("FLUSHDB");
    assert_eq!(c.ask("RANDOMKEY"), "(nil)");
}

/// A key past its time is gone for who asks, even when nobody has swept it out.
#[test]
fn lazy_expiry() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    c.ask("DEBUG SET-ACTIVE-EXPIRE 0");
    for k in [
        "get", "exists", "ttl", "incr", "rename", "type", "append", "setnx", "del", "touch",
        "persist", "copy", "object", "expire", "getrange",
    ] {
        c.cmd(&["SET", k, "1", "PX", "30"]);
    }
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(c.ask("DBSIZE"), "15");
    assert_eq!(server.info("expired_keys"), "0");
    for (line, want) in [
        ("GET get", "(nil)"),
        ("EXISTS exists", "0"),
        ("TTL ttl", "-2"),
        ("INCR incr", "1"),
        ("TTL incr", "-1"),
        ("RENAME rename x", "-ERR no such key"),
        ("TYPE type", "none"),
        ("APPEND append xy", "2"),
        ("SETNX setnx v", "1"),
        ("DEL del", "0"),
        ("TOUCH touch", "0"),
        ("PERSIST persist", "0"),
        ("COPY copy y", "0"),
        ("OBJECT ENCODING object", "(nil)"),
        ("EXPIRE expire 10", "0"),
        ("GETRANGE getrange 0 -1", ""),
    ] {
        assert_eq!(c.ask(line), want, "{line}");
    }
    assert!(server.info_i64("expired_keys") >= 13, "{}", server.info("expired_keys"));
    let mut keys: Vec<String> = c.cmd(&["KEYS", "*"]).array().iter().map(Reply::text).collect();
    keys.sort();
    assert_eq!(keys, ["append", "incr", "setnx"]);
}

/// The cycle sweeps out what nobody asks for, and counts it.
#[test]
fn active_expiry() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let lines: Vec<String> = (0..5000).map(|i| format!("SET k{i} v PX {}", 1 + i % 300)).collect();
    c.raw(&batch(&lines.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
    (0..5000).for_each(|_| assert_eq!(next(&mut c), "OK"));
    c.ask("SET stays v");
    c.ask("SET stays-long v EX 10000");
    wait_for("all are swept out", || server.cmd(&["DBSIZE"]).int() == 2);
    assert_eq!(server.info("expired_keys"), "5000");
    let db0 = server.info("db0");
    assert!(db0.starts_with("keys=2,expires=1,avg_ttl="), "{db0}");
    assert!(server.info("expired_stale_perc").parse::<f64>().unwrap() <= 100.0);
}

/// EXPIRE and its kin: what they answer, and what keeps or drops an expire.
#[test]
fn expire_commands() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let near = |c: &mut Conn, key: &str, ms: i64| {
        let got = c.cmd(&["PTTL", key]).int();
        assert!((ms / 2..=ms).contains(&got), "PTTL {key} is {got}, not {ms}");
    };
    for (line, want) in [
        ("EXPIRE nosuch 10", "0"),
        ("TTL nosuch", "-2"),
        ("PTTL nosuch", "-2"),
        ("SET k v", "OK"),
        ("TTL k", "-1"),
        ("EXPIRE k 100", "1"),
    ] {
        assert_eq!(c.ask(line), want, "{line}");
    }
    near(&mut c, "k", 100_000);
    assert_eq!(c.ask("SET k v KEEPTTL"), "OK");
    near(&mut c, "k", 100_000);
    assert_eq!(c.ask("APPEND k w"), "2");
    near(&mut c, "k", 100_000);
    assert_eq!([c.ask("RENAME k l"), c.ask("PEXPIRE l 200000")], ["OK", "1"]);
    near(&mut c, "l", 200_000);
    assert_eq!(
        [c.ask("COPY l m"), c.ask("COPY l m"), c.ask("COPY l m REPLACE"), c.ask("COPY l l DB 5")],
        ["1", "0", "1", "1"]
    );
    near(&mut c, "m", 200_000);
    assert_eq!(c.ask("MOVE m 5"), "1");
    c.ask("SELECT 5");
    near(&mut c, "m", 200_000);
    near(&mut c, "l", 200_000);
    c.ask("SELECT 0");
    assert_eq!(c.ask("SET l x"), "OK");
    assert_eq!(c.ask("TTL l"), "-1", "SET forgets it");
    assert_eq!(
        [c.ask("EXPIREAT l 4102444800"), c.ask("PERSIST l"), c.ask("PERSIST l")],
        ["1", "1", "0"]
    );
    assert_eq!(
        [c.ask("EXPIRE l -1"), c.ask("EXISTS l")],
        ["1", "0"],
        "in the past: deleted at once"
    );
    assert_eq!([c.ask("SET g v EX 100"), c.ask("GETSET g w"), c.ask("TTL g")], ["OK", "v", "-1"]);
    assert_eq!(
        [c.ask("SET g v EX 100 GET"), c.ask("GETEX g PERSIST"), c.ask("TTL g")],
        ["w", "v", "-1"]
    );
    assert_eq!([c.ask("INCR n"), c.ask("EXPIRE n 100"), c.ask("INCR n")], ["1", "1", "2"]);
    near(&mut c, "n", 100_000);
    assert_eq!(c.ask("SET a b EX 10 PX 10"), "-ERR syntax error");
    assert_eq!(c.ask("SET a b EX 10 KEEPTTL"), "-ERR syntax error");
    // Whatever happens to a key, its expire goes with it.
    assert_eq!(
        [c.ask("SET r 1 EX 100"), c.ask("SET s 2"), c.ask("RENAME s r"), c.ask("TTL r")],
        ["OK", "OK", "OK", "-1"]
    );
    assert_eq!(
        [c.ask("SET d 1 EX 100"), c.ask("DEL d"), c.ask("SET d 2"), c.ask("TTL d")],
        ["OK", "1", "OK", "-1"]
    );
    assert!(server.info("db0").contains(",expires=1,"), "{}", server.info("db0"));
}

/// SWAPDB, MOVE, RENAME, COPY.
#[test]
fn between_dbs() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    c.ask("SET a zero EX 1000");
    c.ask("SELECT 1");
    c.ask("SET b one");
    let mut other = server.conn(); // in db 0
    for (line, want) in [
        ("SWAPDB 0 1", "OK"),
        ("GET b", "(nil)"),
        ("GET a", "zero"),
        ("SWAPDB 0 16", "-ERR DB index is out of range"),
        ("SWAPDB 0 x", "-ERR invalid second DB index"),
        ("SWAPDB x 0", "-ERR invalid first DB index"),
        ("SWAPDB 1 1", "OK"),
        ("MOVE a 1", "-ERR source and destination objects are the same"),
        ("MOVE a 2", "1"),
        ("MOVE a 2", "0"),
        ("SELECT 2", "OK"),
        ("GET a", "zero"),
        ("RENAME a a", "OK"),
        ("RENAMENX a a", "0"),
        ("RENAME nosuch a", "-ERR no such key"),
        ("SET b x", "OK"),
        ("RENAMENX a b", "0"),
        ("RENAMENX a c", "1"),
        ("COPY c c", "-ERR source and destination objects are the same"),
        ("COPY c d DB 99", "-ERR DB index is out of range"),
        ("COPY c d FOO", "-ERR syntax error"),
        ("COPY nosuch d", "0"),
        ("COPY c d DB 0", "1"),
        // A copy keeps the encoding, also where the string alone would get another.
        ("APPEND raw a", "1"),
        ("APPEND raw b", "2"),
        ("COPY raw copy", "1"),
        ("OBJECT ENCODING copy", "raw"),
        ("DEL raw copy", "2"),
    ] {
        assert_eq!(c.ask(line), want, "{line}");
    }
    assert_eq!([other.ask("GET b"), other.ask("GET d")], ["one", "zero"]);
    assert!((1..=1000).contains(&other.cmd(&["TTL", "d"]).int()));
    // The average is whatever the expire cycle has seen so far.
    assert!(server.info("db0").starts_with("keys=2,expires=1,avg_ttl="), "{}", server.info("db0"));
    assert_eq!(server.info("db1"), "");
    assert_eq!(
        [other.ask("FLUSHDB"), other.ask("FLUSHDB ASYNC"), other.ask("FLUSHALL SYNC")],
        ["OK"; 3]
    );
    assert_eq!(other.ask("FLUSHALL FOO"), "-ERR syntax error");
    assert_eq!(c.ask("DBSIZE"), "0");
}

/// The table of many keys moves to huge pages when it has grown, keys and all; and LATENCY DOCTOR
/// does not take them for those it warns of.
#[test]
fn huge_pages_of_a_large_table() {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut version = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    let version: (u32, u32) = (version.next().unwrap_or(0), version.next().unwrap_or(0));
    let on_request = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled")
        .is_ok_and(|text| text.contains("[madvise]"));
    let denied = std::fs::read_to_string("/proc/self/status")
        .is_ok_and(|text| text.lines().any(|line| line == "THP_enabled:\t0"));
    if version < (6, 1) || !on_request || denied {
        eprintln!("skipped: no huge pages on request here (Linux {})", release.trim());
        return;
    }
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    // Two megabytes of buckets.
    assert_eq!(c.ask("DEBUG POPULATE 120000"), "OK");
    let digest = server.digest();
    // A mapping has the flag "hg" where huge pages were asked for, be they there or not.
    let smaps = format!("/proc/{}/smaps", server.pid());
    wait_for("the table to move to huge pages", || {
        let smaps = std::fs::read_to_string(&smaps).unwrap_or_default();
        let mut flags = smaps.lines().filter_map(|line| line.strip_prefix("VmFlags: "));
        flags.any(|flags| flags.split(' ').any(|flag| flag == "hg"))
    });
    assert_eq!(server.digest(), digest);
    assert!(!c.ask("LATENCY DOCTOR").contains("huge pages"));
}

/// OBJECT: encodings, idle times and frequencies; MEMORY USAGE.
#[test]
fn object_and_memory() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let long44 = "x".repeat(44);
    let long45 = "x".repeat(45);
    for (value, encoding) in [
        ("0", "int"),
        ("-1", "int"),
        ("9223372036854775807", "int"),
        ("-9223372036854775808", "int"),
        ("9223372036854775808", "embstr"),
        ("01", "embstr"),
        ("+1", "embstr"),
        ("-0", "embstr"),
        (" 1", "embstr"),
        ("1.0", "embstr"),
        ("", "embstr"),
        (&long44, "embstr"),
        (&long45, "raw"),
    ] {
        c.cmd(&["SET", "k", value]);
        assert_eq!(c.ask("OBJECT ENCODING k"), encoding, "{value:?}");
        assert_eq!(c.ask("GET k"), value);
    }
    c.ask("SET k ab");
    c.ask("APPEND k c");
    assert_eq!(c.ask("OBJECT ENCODING k"), "raw", "a changed string");
    c.ask("SET k 10");
    c.ask("INCRBYFLOAT k 1");
    assert_eq!(c.ask("OBJECT ENCODING k"), "embstr");
    c.ask("SETRANGE k 0 9");
    assert_eq!(c.ask("OBJECT ENCODING k"), "raw");
    assert_eq!(
        [
            c.ask("OBJECT ENCODING nosuch"),
            c.ask("OBJECT REFCOUNT k"),
            c.ask("OBJECT IDLETIME nosuch")
        ],
        ["(nil)", "1", "(nil)"]
    );
    assert!(
        c.ask("OBJECT HELP")
            .starts_with("[OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")
    );
    assert_eq!(
        c.ask("OBJECT FREQ k"),
        "-ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust."
    );
    // Idle time grows when nobody looks, and OBJECT does not count as looking.
    std::thread::sleep(Duration::from_millis(2100));
    assert!(c.cmd(&["OBJECT", "IDLETIME", "k"]).int() >= 1);
    assert!(c.cmd(&["OBJECT", "IDLETIME", "k"]).int() >= 1);
    // In one go: no second begins between the two.
    c.raw(&batch(&["TOUCH k", "OBJECT IDLETIME k"])).unwrap();
    assert_eq!([next(&mut c), next(&mut c)], ["1", "0"]);
    // Frequencies grow with use.
    c.ask("CONFIG SET maxmemory-policy allkeys-lfu");
    assert!(
        c.ask("OBJECT IDLETIME k")
            .starts_with("-ERR An LFU maxmemory policy is selected, idle time not tracked.")
    );
    c.ask("SET f v");
    // One less if a minute has just begun.
    assert!(["5", "4"].contains(&c.ask("OBJECT FREQ f").as_str()));
    for _ in 0..3000 {
        c.ask("GET f");
    }
    let freq = c.cmd(&["OBJECT", "FREQ", "f"]).int();
    assert!((8..=40).contains(&freq), "{freq}");
    assert!(
        c.cmd(&["DEBUG", "OBJECT", "f"])
            .text()
            .contains(" refcount:1 encoding:embstr serializedlength:2 ")
    );

    assert_eq!(c.ask("MEMORY USAGE nosuch"), "(nil)");
    let small = c.cmd(&["MEMORY", "USAGE", "f"]).int();
    c.cmd(&["SET".to_string(), "big".to_string(), "x".repeat(100_000)]);
    let big = c.cmd(&["MEMORY", "USAGE", "big"]).int();
    assert!((16..200).contains(&small) && (100_000..140_000).contains(&big), "{small}, {big}");
    assert_eq!(c.ask("MEMORY USAGE big SAMPLES 0"), big.to_string());
    assert_eq!(c.ask("MEMORY USAGE big SAMPLES -1"), "-ERR syntax error");
    // A value made of many takes up what its elements do, packed or not.
    for add in ["RPUSH", "SADD", "HSET", "ZADD"] {
        for (count, low, high) in [(3, 3 * 20, 400), (2000, 2000 * 20, 2000 * 150)] {
            let key = format!("{add}:{count}");
            for i in 0..count {
                let element = format!("element:{i:012}");
                let score = i.to_string();
                match add {
                    "HSET" => c.cmd(&[add, &key, &element, &score]),
                    "ZADD" => c.cmd(&[add, &key, &score, &element]),
                    _ => c.cmd(&[add, &key, &element]),
                };
            }
            let usage = c.cmd(&["MEMORY", "USAGE", &key]).int();
            assert!((low..high).contains(&usage), "{key}: {usage}");
        }
    }
    assert!(c.ask("MEMORY DOCTOR").len() > 50);
    assert!(c.ask("MEMORY STATS").starts_with("[peak.allocated "));
    assert_eq!(c.ask("MEMORY PURGE"), "OK");
}

/// Over maxmemory each policy evicts what it says, or nothing.
#[test]
fn eviction_policies() {
    for policy in [
        "noeviction",
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
    ] {
        let server = TestServer::start(&["--maxmemory-policy", policy]);
        let mut c = server.conn();
        let limit = server.info_i64("used_memory") + 2_000_000;
        c.ask(&format!("CONFIG SET maxmemory {limit}"));
        // Half of the keys may go; the others are for ever.
        let value = "x".repeat(1000);
        let mut refused = 0;
        for i in 0..4000 {
            let (key, seconds) = (format!("key:{i}"), format!("{}", 10_000 + i));
            let args = if i % 2 == 0 {
                vec!["SET", &key, &value, "EX", &seconds]
            } else {
                vec!["SET", &key, &value]
            };
            match c.cmd(&args).text().as_str() {
                "OK" => {}
                "-OOM command not allowed when used memory > 'maxmemory'." => refused += 1,
                other => panic!("{policy}: {other}"),
            }
        }
        let evicted = server.info_i64("evicted_keys");
        let lasting: i64 = (0..4000)
            .step_by(2)
            .map(|i| c.cmd(&["EXISTS".to_string(), format!("key:{}", i + 1)]).int())
            .sum();
        let (size, used) = (c.cmd(&["DBSIZE"]).int(), server.info_i64("used_memory"));
        assert!(used < limit + 300_000, "{policy}: {used} of {limit}");
        // Each command on the way from one figure to the other may have evicted some more.
        let left = 4000 - refused - evicted;
        assert!(size <= left && size > left - 200, "{policy}: {size} of {left}");
        match policy {
            "noeviction" => {
                assert!(refused > 1000 && evicted == 0, "{policy}: {refused} {evicted}")
            }
            p if p.starts_with("allkeys") => {
                assert!(refused == 0 && evicted > 1000, "{policy}: {refused} {evicted}");
                assert!(lasting < 2000, "{policy} takes any key");
            }
            _ => {
                assert!(refused > 0 && evicted > 500, "{policy}: {refused} {evicted}");
                // Only writes that were refused are missing among those without an expire. Of the
                // others a few may have found room at the very end, when a table or a buffer was
                // given back.
                let db0 = server.info("db0");
                let expires = db0.split_once("expires=").and_then(|(_, n)| n.split_once(','));
                let expires = expires.and_then(|(n, _)| n.parse::<i64>().ok());
                assert!(expires.is_some_and(|n| n < 100), "{policy}: {db0}");
            }
        }
        assert_eq!(c.ask("GET nosuch"), "(nil)", "reads go on");
    }
}

/// The approximations are good enough to prefer the idle, the rare and the soon to end.
#[test]
fn eviction_prefers() {
    // LRU: keys read during the last second outlive those that were not.
    let server =
        TestServer::start(&["--maxmemory-policy", "allkeys-lru", "--maxmemory-samples", "10"]);
    let mut c = server.conn();
    let value = "x".repeat(1000);
    for i in 0..1000 {
        c.cmd(&["SET", &format!("key:{i}"), &value]);
    }
    std::thread::sleep(Duration::from_millis(2200));
    for i in 0..500 {
        c.cmd(&["GET", &format!("key:{i}")]);
    }
    let used = server.info_i64("used_memory");
    c.ask(&format!("CONFIG SET maxmemory {}", used - 400_000));
    wait_for("it shrinks", || {
        c.ask("PING");
        server.info_i64("used_memory") <= used - 390_000
    });
    let count = |c: &mut Conn, from: usize, to: usize| -> i64 {
        (from..to).map(|i| c.cmd(&["EXISTS".to_string(), format!("key:{i}")]).int()).sum()
    };
    let (fresh, idle) = (count(&mut c, 0, 500), count(&mut c, 500, 1000));
    assert!(idle + 200 < fresh && fresh > 450, "{fresh} fresh ones are left and {idle} idle ones");

    // TTL: what ends soon goes first.
    let server =
        TestServer::start(&["--maxmemory-policy", "volatile-ttl", "--maxmemory-samples", "10"]);
    let mut c = server.conn();
    for i in 0..1000 {
        c.cmd(&["SET", &format!("key:{i}"), &value, "EX", if i < 500 { "100000" } else { "1000" }]);
    }
    let used = server.info_i64("used_memory");
    c.ask(&format!("CONFIG SET maxmemory {}", used - 400_000));
    wait_for("it shrinks", || {
        c.ask("PING");
        server.info_i64("used_memory") <= used - 390_000
    });
    let (late, soon) = (count(&mut c, 0, 500), count(&mut c, 500, 1000));
    assert!(soon + 200 < late && late > 450, "{late} late ones are left and {soon} of the others");
}
