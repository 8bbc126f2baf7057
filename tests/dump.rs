//! Values from outside, as DUMP and RESTORE carry them: damaged ones, and the published defects of
//! Redis about them.
//!
//! A seed is printed by each random test; FIDELIS_SEED=n repeats one, FIDELIS_LONG=1 lets them run
//! for minutes.

#[path = "support/ask.rs"]
mod ask;
#[path = "support/random.rs"]
mod random;
mod support;
#[path = "support/traffic.rs"]
mod traffic;

use ask::*;
use random::*;
use support::*;

/// What RESTORE answers.
const BAD: &str = "-ERR Bad data format";

/// A payload with this version, and no checksum: servers here are told not to look.
fn payload(type_: u8, value: &[u8], version: u8) -> Vec<u8> {
    [&[type_][..], value, &[version, 0, 0, 0, 0, 0, 0, 0, 0, 0]].concat()
}

/// A server that takes payloads without a checksum.
fn server(args: &[&str]) -> TestServer {
    let server = TestServer::start(args);
    assert_eq!(server.conn().ask("DEBUG SET-SKIP-CHECKSUM-VALIDATION 1"), "OK");
    server
}

fn restore(c: &mut Conn, key: &str, payload: &[u8]) -> String {
    flat(&c.cmd(&[b"RESTORE", key.as_bytes(), b"0", payload, b"REPLACE"]))
}

/// A ziplist of strings of up to 63 bytes each.
fn ziplist(elements: &[&[u8]]) -> Vec<u8> {
    let mut entries = Vec::new();
    let (mut tail, mut before) = (10, 0);
    for ele in elements {
        tail = 10 + entries.len();
        entries.extend([before, ele.len() as u8]);
        entries.extend_from_slice(ele);
        before = ele.len() as u8 + 2;
    }
    let mut zl = ((entries.len() + 11) as u32).to_le_bytes().to_vec();
    zl.extend((tail as u32).to_le_bytes());
    zl.extend((elements.len() as u16).to_le_bytes());
    zl.extend(entries);
    zl.push(0xff);
    zl
}

/// Bytes as a string in a payload.
fn string(bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 1 << 14);
    let len = bytes.len() as u16 | 1 << 14;
    [&len.to_be_bytes()[..], bytes].concat()
}

// -----------------------------------------------------------------------------
// Damaged values
// -----------------------------------------------------------------------------

/// Values of every type in every encoding.
fn fill(c: &mut Conn) {
    for line in traffic::making() {
        let reply = c.ask(&line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }
}

/// DUMP of every key, without compression, and with it.
fn dumps(c: &mut Conn) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for compression in ["no", "yes"] {
        c.ask(&format!("CONFIG SET rdbcompression {compression}"));
        for key in c.cmd(&["KEYS", "*"]).array() {
            all.push(c.cmd(&[b"DUMP", key.bytes()]).bytes().to_vec());
        }
    }
    all
}

/// Values of all types that we read: ours, those of a newer server, and those that only old ones
/// wrote.
fn samples() -> Vec<Vec<u8>> {
    let args = ["--hash-max-ziplist-entries", "16", "--zset-max-ziplist-entries", "16"];
    let small = ["--list-max-ziplist-size", "5", "--stream-node-max-entries", "5"];
    let ours = TestServer::start(&[&args[..], &small].concat());
    let debian = TestServer::start_debian(&[&args[..], &small].concat());
    let mut samples = Vec::new();
    for server in [&ours, &debian] {
        let mut c = server.conn();
        fill(&mut c);
        samples.extend(dumps(&mut c));
    }
    let types = |samples: &[Vec<u8>], t: u8| samples.iter().any(|s| s[0] == t);
    for t in [0, 2, 4, 5, 11, 12, 13, 14, 15, 16, 17, 18] {
        assert!(types(&samples, t), "no sample of type {t}");
    }
    samples.push(payload(1, b"\x03\x01a\xc0\x07\x01b", 9));
    samples.push(payload(3, b"\x03\x01a\x032.5\x01b\xfe\x01c\xff", 9));
    samples.push(payload(9, &string(b"\x02\x01f\x01\x00v\x00\x02\x0112?\xff"), 9));
    samples.push(payload(10, &string(&ziplist(&[b"a", b"bc", b"", b"d"])), 9));
    samples
}

/// Damages one of the payloads, not its footer, at one to three places.
fn mutate(random: &mut Random, samples: &[Vec<u8>]) -> Vec<u8> {
    let sample = &samples[random.below(samples.len())];
    let (value, footer) = sample.split_at(sample.len() - 10);
    let mut value = value.to_vec();
    for _ in 0..1 + random.below(3) {
        let at = random.below(value.len());
        match random.below(12) {
            0 | 1 => value[at] = random.next() as u8,
            2 | 3 => value[at] ^= 1 << random.below(8),
            4 => value[at] = value[at].wrapping_add(1),
            5 => value[at] = value[at].wrapping_sub(1),
            6 | 7 => {
                let edges =
                    [0, 1, 2, 5, 9, 0x3f, 0x7f, 0x80, 0x81, 0xc0, 0xc3, 0xf1, 0xfd, 0xfe, 0xff];
                value[at] = edges[random.below(edges.len())];
            }
            8 => value.insert(at, random.next() as u8),
            9 => {
                let end = (at + 1 + random.below(4)).min(value.len());
                if end - at < value.len() {
                    value.drain(at..end);
                }
            }
            10 => {
                let end = (at + 1 + random.below(20)).min(value.len());
                let part = value[at..end].to_vec();
                let to = random.below(value.len() + 1);
                value.splice(to..to, part);
            }
            _ if random.below(4) == 0 => value[0] = random.below(26) as u8,
            _ => value.truncate(at.max(1)),
        }
    }
    // The checksum is not looked at.
    [&value, &footer[..2], &[0; 8]].concat()
}

/// The commands for a value of a type, as they are sent.
fn commands(type_: &str, key: &str) -> Vec<Vec<u8>> {
    traffic::using(type_, key).iter().map(|words| Conn::encode(words)).collect()
}

/// Payloads that were tried, and what became of them.
#[derive(Default)]
struct Tried {
    accepted: usize,
    refused: usize,
}

/// Restores payloads and uses those that are accepted. `Err`: the connection ended.
fn try_payloads(c: &mut Conn, payloads: &[Vec<u8>], tried: &mut Tried) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    for (i, payload) in payloads.iter().enumerate() {
        let key = format!("key{i}");
        bytes.extend(Conn::encode(&[b"RESTORE", key.as_bytes(), b"0", payload, b"REPLACE"]));
        bytes.extend(Conn::encode(&["TYPE", &key]));
    }
    c.raw(&bytes)?;
    let mut accepted = Vec::new();
    for (i, payload) in payloads.iter().enumerate() {
        let reply = c.try_reply()?;
        let type_ = c.try_reply()?.text();
        match flat(&reply).as_str() {
            "OK" => accepted.push((i, type_)),
            BAD | "-ERR DUMP payload version or checksum are wrong" => tried.refused += 1,
            other => panic!("{other} to {}", hex(payload)),
        }
    }
    tried.accepted += accepted.len();
    for (i, type_) in accepted {
        let commands = commands(&type_, &format!("key{i}"));
        c.raw(&commands.concat())?;
        for _ in &commands {
            c.try_reply()?;
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Limits under which values change their encoding now, and now not.
fn change_limits(random: &mut Random, c: &mut Conn) {
    for (name, values) in [
        ("hash-max-ziplist-entries", [1, 16, 512]),
        ("zset-max-ziplist-entries", [1, 16, 128]),
        ("set-max-intset-entries", [1, 16, 512]),
        ("list-max-ziplist-size", [2, 5, -2]),
        ("list-compress-depth", [0, 1, 2]),
        ("stream-node-max-entries", [1, 5, 100]),
        ("hll-sparse-max-bytes", [0, 100, 3000]),
    ] {
        let value = values[random.below(3)];
        assert_eq!(c.ask(&format!("CONFIG SET {name} {value}")), "OK");
    }
}

/// With `sanitize-dump-payload yes` a damaged value is refused, or is good for every command.
#[test]
fn mutated_payloads_are_refused_or_usable() {
    let mut random = Random::seeded();
    let samples = samples();
    let mut server = server(&["--sanitize-dump-payload", "yes", "--maxmemory", "1gb"]);
    let mut c = server.conn();
    let mut tried = Tried::default();
    for sample in &samples {
        try_payloads(&mut c, std::slice::from_ref(sample), &mut tried).unwrap();
    }
    assert_eq!((tried.accepted, tried.refused), (samples.len(), 0), "undamaged values");

    let rounds = if long() { 2000 } else { 100 };
    let mut tried = Tried::default();
    for _ in 0..rounds {
        change_limits(&mut random, &mut c);
        let payloads: Vec<Vec<u8>> = (0..50).map(|_| mutate(&mut random, &samples)).collect();
        if let Err(e) = try_payloads(&mut c, &payloads, &mut tried) {
            // One by one, to name the one.
            if server.is_alive() {
                panic!("{e}: it hangs");
            }
            for payload in &payloads {
                server.start_again();
                c = server.conn();
                c.ask("DEBUG SET-SKIP-CHECKSUM-VALIDATION 1");
                if try_payloads(&mut c, std::slice::from_ref(payload), &mut tried).is_err() {
                    panic!("it ended on {}", hex(payload));
                }
                server.kill();
            }
            panic!("it ended on one of {:?}", payloads.iter().map(|p| hex(p)).collect::<Vec<_>>());
        }
    }
    println!("{} accepted, {} refused", tried.accepted, tried.refused);
    assert!(tried.accepted > rounds && tried.refused > rounds);
    let log = server.log();
    assert!(!log.contains("ASSERTION FAILED") && !log.contains("Guru Meditation"), "{log}");
}

/// With `no` it may end the process, by an assertion: never by a signal, and it never hangs.
#[test]
fn unsanitized_payloads_end_by_an_assertion_at_worst() {
    let mut random = Random::seeded();
    let samples = samples();
    let mut server = server(&["--sanitize-dump-payload", "no", "--use-exit-on-panic", "yes"]);
    let mut c = server.conn();
    let (mut tried, mut ended) = (Tried::default(), 0);
    // About one payload in sixty ends it. It goes on until there was one.
    let rounds = if long() { 5000 } else { 150 };
    let mut round = 0;
    while round < rounds || ended == 0 {
        round += 1;
        assert!(round < 100 * rounds, "none of {round} payloads ended it");
        change_limits(&mut random, &mut c);
        let payload = mutate(&mut random, &samples);
        if let Err(e) = try_payloads(&mut c, std::slice::from_ref(&payload), &mut tried) {
            if e.kind() == std::io::ErrorKind::WouldBlock {
                panic!("it hangs on {}", hex(&payload));
            }
            let code = server.wait_exit();
            let log = server.log();
            assert_eq!(code, 1, "{}\n{log}", hex(&payload));
            assert!(!log.contains("crashed by signal"), "{}\n{log}", hex(&payload));
            let assertions = log.matches("=== ASSERTION FAILED ===").count();
            let panics = log.matches("Ziplist corruption detected").count()
                + log.matches("Corrupt stream, length is").count();
            assert_eq!(assertions + panics, ended + 1, "{}\n{log}", hex(&payload));
            ended += 1;
            server.start_again();
            c = server.conn();
            c.ask("DEBUG SET-SKIP-CHECKSUM-VALIDATION 1");
        }
    }
    println!("{} accepted, {} refused, {ended} ended", tried.accepted, tried.refused);
}

/// The report of such an end names the condition, as the C's does, and where it is.
#[test]
fn assertion_report() {
    let args = ["--sanitize-dump-payload", "no", "--use-exit-on-panic", "yes"];
    let ends = |payload: &[u8], line: &str, says: &[&str]| {
        let mut server = server(&args);
        let mut c = server.conn();
        assert_eq!(restore(&mut c, "k", payload), "OK");
        let words: Vec<&str> = line.split(' ').collect();
        c.send(&words);
        assert!(c.try_reply().is_err(), "{line}");
        assert_eq!(server.wait_exit(), 1);
        let log = server.log();
        for text in says {
            assert!(log.contains(text), "no {text:?} in {log}");
        }
        assert_eq!(log.matches("REDIS BUG REPORT START").count(), 1);
        assert!(!log.contains("crashed by signal"), "{log}");
    };
    // An entry that reaches beyond the end.
    let mut zl = ziplist(&[b"a", b"b", b"c", b"d"]);
    zl[17] = 20;
    let hash = payload(13, &string(&zl), 9);
    let assertion = ["=== ASSERTION FAILED ===", "zipEntrySafe", "is not true", "ziplist.rs:"];
    ends(&hash, "HGETALL k", &assertion);
    ends(&hash, "HSET k x y", &assertion);
    // A field that is there twice, which matters when the hash becomes a table.
    let twice = payload(13, &string(&ziplist(&[b"a", b"1", b"a", b"2"])), 9);
    let long = format!("HSET k x {}", "y".repeat(100));
    ends(&twice, &long, &["ziplist with dup elements dump", "Guru Meditation: Ziplist corruption"]);
}

/// `clients`: RESTORE by ordinary clients is checked in depth, loading is not.
#[test]
fn sanitize_dump_payload_clients() {
    let twice = payload(13, &string(&ziplist(&[b"a", b"1", b"a", b"2"])), 9);
    let server = server(&[]);
    let mut c = server.conn();
    assert_eq!(c.ask("CONFIG GET sanitize-dump-payload"), "[sanitize-dump-payload yes]");
    assert_eq!(restore(&mut c, "k", &twice), BAD);
    let sanitized = |server: &TestServer| server.info_i64("dump_payload_sanitizations");
    assert_eq!(sanitized(&server), 1);
    c.ask("CONFIG SET sanitize-dump-payload clients");
    assert_eq!(restore(&mut c, "k", &twice), BAD);
    assert_eq!(sanitized(&server), 2);
    c.ask("CONFIG SET sanitize-dump-payload no");
    assert_eq!(restore(&mut c, "k", &twice), "OK");
    assert_eq!(sanitized(&server), 2);
    c.ask("CONFIG SET sanitize-dump-payload clients");
    assert_eq!(c.ask("DEBUG RELOAD"), "OK");
    assert_eq!((c.ask("HGETALL k"), sanitized(&server)), ("[a 1 a 2]".to_string(), 2));
}

// -----------------------------------------------------------------------------
// The published defects
// -----------------------------------------------------------------------------

/// CVE-2026-25243: a zipmap with five bytes for a short length, sizes beyond the payload, a
/// consumer's entry twice.
#[test]
fn cve_2026_25243_zipmap_and_claimed_sizes() {
    let server = server(&[]);
    let mut c = server.conn();
    let zipmap = |bytes: &[u8]| payload(9, &string(bytes), 9);
    assert_eq!(restore(&mut c, "k", &zipmap(b"\x01\x03abc\x01\x00v\xff")), "OK");
    for bad in [
        &b"\x01\xfe\x03\x00\x00\x00abc\x01\x00v\xff"[..],
        b"\x01\x03abc\xfe\x01\x00\x00\x00\x00v\xff",
        b"\x01\x03abc\x20\x00v\xff",
        b"\x01\xfe\xff\xff\xff\xffabc\x01\x00v\xff",
        b"\x01\x03abc\x01\xffv\xff",
    ] {
        assert_eq!(restore(&mut c, "k", &zipmap(bad)), BAD, "{bad:?}");
    }
    for (type_, value) in [
        (0, &b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff"[..]),
        (10, b"\x80\xff\xff\xff\xff\x0b\x00\x00\x00"),
        (0, b"\xc3\x05\x81\x7f\xff\xff\xff\xff\xff\xff\xff\x04hello"),
        (2, b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\x01a"),
        (4, b"\x80\xff\xff\xff\xff\x01a\x01b"),
        (5, b"\x81\xff\xff\xff\xff\xff\xff\xff\xf0\x01a"),
        (14, b"\x80\x7f\xff\xff\xff"),
        (15, b"\x81\xff\xff\xff\xff\xff\xff\xff\xff"),
    ] {
        assert_eq!(restore(&mut c, "k", &payload(type_, value, 9)), BAD, "type {type_}: {value:?}");
    }
    assert_eq!(c.ask("PING"), "PONG");
}

/// A payload of a stream with two consumers, who have the message `a` and `b` pending; each once,
/// or `times` times.
fn stream_with_pending(a: u8, b: u8, times: usize) -> Vec<u8> {
    let server = TestServer::start(&["--rdbcompression", "no"]);
    let mut c = server.conn();
    for line in [
        "XADD s 1-1 f v",
        "XADD s 2-2 f v",
        "XGROUP CREATE s g 0",
        "XREADGROUP GROUP g alice COUNT 1 STREAMS s >",
        "XREADGROUP GROUP g bobby COUNT 1 STREAMS s >",
    ] {
        assert!(!c.ask(line).starts_with('-'), "{line}");
    }
    let mut dump = c.cmd(&["DUMP", "s"]).bytes().to_vec();
    // Behind a consumer's name are 8 bytes of time, the number of entries, and the ids.
    for (name, id) in [(b"alice", a), (b"bobby", b)] {
        let at = dump.windows(5).position(|w| w == name).unwrap() + 5 + 8;
        assert_eq!(dump[at], 1);
        dump[at + 8] = id;
        dump[at + 16] = id;
        if times == 2 {
            let id = dump[at + 1..at + 17].to_vec();
            dump[at] = 2;
            dump.splice(at + 17..at + 17, id);
        }
    }
    dump
}

/// CVE-2026-63639: a message that is pending with two consumers is freed twice.
#[test]
fn cve_2026_63639_shared_pending_entry() {
    let server = server(&[]);
    let mut c = server.conn();
    for sanitize in ["yes", "no"] {
        c.ask(&format!("CONFIG SET sanitize-dump-payload {sanitize}"));
        assert_eq!(restore(&mut c, "s", &stream_with_pending(1, 2, 1)), "OK");
        for (a, b, times) in [(1, 1, 1), (2, 2, 1), (1, 2, 2), (1, 3, 1)] {
            let bad = restore(&mut c, "s", &stream_with_pending(a, b, times));
            assert_eq!(bad, BAD, "{a} {b} {times}");
        }
        assert_eq!(c.ask("XGROUP DELCONSUMER s g alice"), "1");
        assert_eq!(c.ask("XPENDING s g"), "[1 2-2 2-2 [[bobby 1]]]");
    }
}

/// What is put right in a file is refused from a client: a stream's length, a field that is there
/// twice.
#[test]
fn what_a_file_may_hold_is_refused_from_a_client() {
    let server = server(&[]);
    let mut c = server.conn();
    c.ask("XADD s 1-1 f v");
    let mut dump = c.cmd(&["DUMP", "s"]).bytes().to_vec();
    // Length, last id, groups, and the 10 bytes of version and checksum.
    let at = dump.len() - 14;
    assert_eq!(dump[at..at + 4], [1, 1, 1, 0]);
    dump[at] = 2;
    assert_eq!(restore(&mut c, "t", &dump), BAD);
    let twice = string(&ziplist(&[b"a", b"1", b"a", b"2"]));
    for type_ in [12, 13] {
        assert_eq!(restore(&mut c, "t", &payload(type_, &twice, 9)), BAD);
    }
    // A master that takes it hands it on, and its replica does not refuse what its master has.
    let mut replica = TestServer::start(&[]).replica_of(&server);
    replica.ask("DEBUG SET-SKIP-CHECKSUM-VALIDATION 1");
    c.ask("CONFIG SET sanitize-dump-payload no");
    assert_eq!(restore(&mut c, "t", &dump), "OK");
    assert_eq!(c.ask("XLEN t"), "2");
    wait_for_offset(&server, &replica);
    assert_eq!(replica.ask("XRANGE t - +"), "[[1-1 [f v]]]");
    assert_eq!(replica.ask("XLEN t"), "1");
}

/// redis #15414: a score that is no number in a ziplist, which the skip list does not take.
#[test]
fn redis_15414_nan_score() {
    let server = server(&[]);
    let mut c = server.conn();
    let zset = |score: &[u8]| payload(12, &string(&ziplist(&[b"a", score, b"b", b"2.5"])), 9);
    assert_eq!(restore(&mut c, "z", &zset(b"1.5")), "OK");
    for nan in [&b"nan"[..], b"-nan", b"NaN", b"nan(1)"] {
        assert_eq!(restore(&mut c, "z", &zset(nan)), BAD, "{nan:?}");
    }
    let long = "x".repeat(65);
    assert_eq!(c.ask(&format!("ZADD z 2 {long}")), "1");
    assert_eq!(c.ask("ZRANGE z 0 -1"), format!("[a {long} b]"));
    let binary = payload(5, &[&b"\x01\x01a"[..], &f64::NAN.to_le_bytes()].concat(), 9);
    assert_eq!(restore(&mut c, "z", &binary), BAD);
    assert_eq!(restore(&mut c, "z", &payload(3, b"\x01\x01a\xfd", 9)), BAD);
}

/// dragonfly #8182: pairs of which one half is missing.
#[test]
fn dragonfly_8182_odd_number_of_entries() {
    let server = server(&[]);
    let mut c = server.conn();
    let zl = string(&ziplist(&[b"a", b"1", b"b"]));
    let lp = b"\x11\x00\x00\x00\x03\x00\x81a\x02\x01\x01\x81b\x02\x00\xff";
    // The size of the listpack is what it is.
    let mut lp = lp[..lp.len() - 2].to_vec();
    lp.push(0xff);
    lp[0] = lp.len() as u8;
    for (type_, value) in [(13, &zl), (12, &zl), (16, &string(&lp)), (17, &string(&lp))] {
        assert_eq!(restore(&mut c, "k", &payload(type_, value, 11)), BAD, "type {type_}");
    }
    // The same listpack is a good set.
    assert_eq!(restore(&mut c, "k", &payload(20, &string(&lp), 11)), "OK");
    assert_eq!(c.ask("SCARD k"), "3");
}

/// CVE-2019-10192, CVE-2019-10193, CVE-2025-32023: HyperLogLogs with a wrong length, runs beyond
/// the last register.
#[test]
fn cve_2019_10192_2025_32023_hyperloglog() {
    let server = server(&[]);
    let mut c = server.conn();
    let head = |encoding: u8| [&b"HYLL"[..], &[encoding, 0, 0, 0], &[0; 8]].concat();
    let xzeros = [0x7f, 0xff].repeat(131_073);
    let cases = [
        ("a run around the numbers", [head(1), xzeros.clone(), vec![0x80]].concat()),
        ("runs of zeros alone", [head(1), xzeros].concat()),
        ("a run of values past the end", [head(1), vec![0x7f, 0xff, 0x80]].concat()),
        ("too few registers", [head(1), vec![0x7f, 0xf0]].concat()),
        ("a dense one cut short", [head(0), vec![0; 12_000]].concat()),
        ("a dense one too long", [head(0), vec![0; 12_289]].concat()),
    ];
    for (what, hll) in cases {
        assert_eq!(flat(&c.cmd(&[b"SET", &b"h"[..], &hll])), "OK");
        for line in
            ["PFCOUNT h other", "PFMERGE dest h", "PFDEBUG GETREG h", "PFCOUNT h", "PFADD h x"]
        {
            let reply = c.ask(line);
            let refused = reply.starts_with("-INVALIDOBJ Corrupted HLL object detected")
                || reply.starts_with("-WRONGTYPE Key is not a valid HyperLogLog string value.");
            // A cached count is told without a look at the registers; a register before the damage
            // may be set.
            let unseen = ["PFCOUNT h", "PFADD h x"].contains(&line);
            assert!(refused || unseen, "{what}, {line}: {reply}");
        }
    }
    assert_eq!(c.ask("PING"), "PONG");
}
