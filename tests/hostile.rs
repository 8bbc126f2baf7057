//! Input that means harm: garbage, huge headers, extreme numbers, bombs, and the published defects
//! of Redis.
//!
//! A seed is printed by each random test; FIDELIS_SEED=n repeats one, FIDELIS_LONG=1 lets them run
//! for a minute.

#[path = "support/ask.rs"]
mod ask;
#[path = "support/random.rs"]
mod random;
mod support;

use ask::*;
use random::*;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};
use support::*;

/// How long the random tests run.
fn how_long() -> Duration {
    Duration::from_secs(if long() { 60 } else { 4 })
}

/// The names of all commands but those that end the server, its link or the connection, or change
/// what it is.
fn command_names(c: &mut Conn) -> Vec<String> {
    let not = [
        "shutdown",
        "debug",
        "replicaof",
        "slaveof",
        "sync",
        "psync",
        "replconf",
        "monitor",
        "quit",
        "config",
        "client",
        "failover",
        "restore-asking",
        "subscribe",
        "psubscribe",
        "unsubscribe",
        "punsubscribe",
        "reset",
        "auth",
        "hello",
        "post",
        "host:",
        "save",
        "bgsave",
        "multi",
        "exec",
        "cluster",
        "acl",
        "eval",
        "evalsha",
        "script",
        "module",
        "migrate",
    ];
    let names: Vec<String> =
        c.cmd(&["COMMAND"]).array().iter().map(|e| e.array()[0].text()).collect();
    assert!(names.len() > 60, "{}", names.len());
    names.into_iter().filter(|n| !not.contains(&n.as_str())).collect()
}

/// A key of each type there is. (Where a type's commands are missing, so is its key.)
fn fill(c: &mut Conn) {
    for line in [
        "SET k 12",
        "SET text hello",
        "RPUSH list 1 2 3",
        "SADD set a b c 1",
        "HSET hash f 1 g 2",
        "ZADD zset 1 a 2 b",
        "XADD stream 1-1 f v",
    ] {
        c.ask(line);
    }
}

/// Sends one command and reads its replies up to a mark; panics if they are not well-formed.
fn probe(c: &mut Conn, args: &[Vec<u8>], mark: u64) -> Vec<Reply> {
    probe_all(c, &[args.to_vec()], mark)
}

/// Sends several commands at once and reads their replies up to a mark, as `probe` does.
fn probe_all(c: &mut Conn, commands: &[Vec<Vec<u8>>], mark: u64) -> Vec<Reply> {
    let mark = format!("mark{mark}");
    let mut bytes: Vec<u8> = commands.iter().flat_map(|args| Conn::encode(args)).collect();
    bytes.extend(Conn::encode(&["ECHO", &mark]));
    let shown = || String::from_utf8_lossy(&bytes).into_owned();
    c.raw(&bytes).unwrap_or_else(|e| panic!("{e} at {:?}", shown()));
    let mut replies = Vec::new();
    loop {
        let r = c.try_reply().unwrap_or_else(|e| panic!("{e} at {:?}", shown()));
        if matches!(&r, Reply::Bulk(b) if *b == mark.as_bytes()) {
            return replies;
        }
        replies.push(r);
    }
}

/// Random bytes, commands with flipped, missing, doubled and added bytes, and connections that end
/// anywhere.
#[test]
fn random_bytes() {
    let mut random = Random::seeded();
    let mut server = TestServer::start(&[
        "--proto-max-bulk-len",
        "1mb",
        "--maxmemory",
        "200mb",
        "--maxmemory-policy",
        "allkeys-random",
    ]);
    let names = command_names(&mut server.conn());
    let words = [
        "k",
        "k2",
        "text",
        "0",
        "-1",
        "1",
        "9223372036854775807",
        "",
        "*",
        "GET",
        "EX",
        "PX",
        "NX",
        "KEEPTTL",
        "MATCH",
        "COUNT",
        "WITHSCORES",
        "\r\n",
        "$5",
        "{x}",
        "1.5",
        "abc def",
        "\"",
        "\\",
    ];
    let end = Instant::now() + how_long();
    let mut rounds = 0;
    while Instant::now() < end || rounds <= 100 {
        let mut bytes = Vec::new();
        if random.below(4) == 0 {
            let alphabet: &[u8] =
                if random.below(2) == 0 { b"*$\r\n0123456789-+ab \"'\\x\0" } else { &[] };
            for _ in 0..random.below(600) {
                let r = random.next();
                bytes.push(if alphabet.is_empty() {
                    r as u8
                } else {
                    alphabet[(r >> 8) as usize % alphabet.len()]
                });
            }
        } else {
            for _ in 0..1 + random.below(30) {
                let mut args = vec![names[random.below(names.len())].clone()];
                args.extend((0..random.below(5)).map(|_| random.pick(&words).to_string()));
                if args[0].starts_with('b') || args[0] == "wait" {
                    continue; // it may wait for ever, as it should
                }
                bytes.extend(Conn::encode(&args));
            }
            for _ in 0..random.below(4) {
                if bytes.is_empty() {
                    break;
                }
                let at = random.below(bytes.len());
                match random.below(5) {
                    0 => bytes[at] ^= 1 << random.below(8),
                    1 => bytes.truncate(at),
                    2 => drop(bytes.remove(at)),
                    3 => bytes.insert(at, random.next() as u8),
                    _ => {
                        let part = bytes[at..].to_vec();
                        bytes.extend(part);
                    }
                }
            }
        }
        let mut s = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        s.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        s.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        let cut = random.below(bytes.len() + 1);
        let _ = s.write_all(&bytes[..cut]);
        let _ = s.write_all(&bytes[cut..]);
        if random.below(3) > 0 {
            let _ = s.shutdown(Shutdown::Write);
            let mut sink = Vec::new();
            let _ = s.read_to_end(&mut sink);
        }
        rounds += 1;
        if rounds % 100 == 0 {
            assert!(server.is_alive(), "it died");
        }
    }
    assert!(server.is_alive(), "it died");
    let mut c = server.conn();
    assert_eq!(c.ask("PING"), "PONG");
    wait_for("all connections are gone", || server.info("connected_clients") == "2");
    assert!(!server.log().contains("BUG REPORT"));
}

/// Before AUTH a client may not make the server keep much (CVE-2021-32675).
#[test]
fn unauthenticated_headers() {
    let server = TestServer::start(&["--requirepass", "secret"]);
    for (bytes, want) in [
        (&b"*100\r\n"[..], "-ERR Protocol error: unauthenticated multibulk length\r\n"),
        (b"*11\r\n", "-ERR Protocol error: unauthenticated multibulk length\r\n"),
        (b"*1048576\r\n", "-ERR Protocol error: unauthenticated multibulk length\r\n"),
        (b"*1\r\n$100000000\r\n", "-ERR Protocol error: unauthenticated bulk length\r\n"),
        (b"*2\r\n$4\r\nAUTH\r\n$16385\r\n", "-ERR Protocol error: unauthenticated bulk length\r\n"),
    ] {
        assert_eq!(to_the_end(server.port, bytes), want, "{:?}", String::from_utf8_lossy(bytes));
    }
    // What is allowed, unfinished, from many clients.
    let mut own = server.conn();
    assert_eq!(own.ask("AUTH secret"), "OK");
    let used = |own: &mut Conn| -> i64 {
        let info = own.ask("INFO memory");
        info.lines().find_map(|l| l.strip_prefix("used_memory:")).unwrap().trim().parse().unwrap()
    };
    let before = used(&mut own);
    let held: Vec<Conn> = (0..100)
        .map(|_| {
            let mut c = server.conn();
            let mut bytes = b"*10\r\n".to_vec();
            for _ in 0..9 {
                bytes.extend(b"$16384\r\n");
                bytes.extend([b'x'; 16384]);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"$16384\r\nxxx");
            c.raw(&bytes).unwrap();
            c
        })
        .collect();
    wait_for("they are all there", || {
        own.ask("INFO clients").contains("connected_clients:101\r\n")
    });
    assert_eq!(own.ask("PING"), "PONG");
    let after = used(&mut own);
    assert!(after - before < 100 * 600_000, "{before} -> {after}");
    drop(held);
    wait_for("their memory is given back", || used(&mut own) < before + 2_000_000);
    // After AUTH the header alone takes no memory either.
    let mut big: Vec<Conn> = (0..50).map(|_| server.conn()).collect();
    for c in &mut big {
        assert_eq!(c.ask("AUTH secret"), "OK");
    }
    let before = used(&mut own);
    for c in &mut big {
        c.raw(b"*1048576\r\n$400\r\nabc").unwrap();
    }
    std::thread::sleep(Duration::from_millis(200));
    let after = used(&mut own);
    assert!(after - before < 60_000_000, "50 headers of a million arguments: {before} -> {after}");
}

/// A client that is not authenticated and never reads is closed at once, before replies pile up
/// (CVE-2025-21605).
#[test]
fn unauthenticated_output() {
    let server = TestServer::start(&["--requirepass", "secret"]);
    let mut s = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    s.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let pings = b"PING\r\n".repeat(10_000);
    let mut sent = 0;
    while sent < 60_000_000 && s.write_all(&pings).is_ok() {
        sent += pings.len();
    }
    assert!(sent < 60_000_000, "it took {sent} bytes and kept listening");
    server.wait_for_log("overcoming of output buffer limits.");
    let mut own = server.conn();
    own.ask("AUTH secret");
    assert!(own.ask("INFO clients").contains("connected_clients:1\r\n"));
    // One that reads is served, wrong as it is.
    let mut c = server.conn();
    for _ in 0..2000 {
        assert_eq!(c.ask("PING"), "-NOAUTH Authentication required.");
    }
}

/// A browser that was lured into sending requests is cut off without a reply (CVE-2016-10517).
#[test]
fn cross_protocol() {
    let mut server = TestServer::start(&[]);
    for bytes in [
        &b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET a 1\r\n"[..],
        b"Host: x\r\nSET a 1\r\n",
        b"post\r\nSET a 1\r\n",
    ] {
        assert_eq!(to_the_end(server.port, bytes), "");
    }
    server.wait_for_log("Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: commands to Redis.");
    assert_eq!(server.ask("EXISTS a"), "0");
}

/// Patterns that would take for ever if they were tried in every way (CVE-2022-36021,
/// CVE-2024-31228).
#[test]
fn glob_bombs() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let key = "a".repeat(40);
    c.cmd(&["SET", &key, "1"]);
    let stars = "a*".repeat(20) + "b";
    assert_eq!(flat(&c.cmd(&["KEYS", &stars])), "[]");
    assert_eq!(flat(&c.cmd(&["SCAN", "0", "MATCH", &stars, "COUNT", "100"])), "[0 []]");
    let mut s = server.conn();
    s.cmd(&["PSUBSCRIBE", &stars]);
    assert_eq!(flat(&c.cmd(&["PUBLISH", &key, "x"])), "0");
    assert_eq!(flat(&c.cmd(&["PUBSUB", "CHANNELS", &stars])), "[]");
    let long = "a".repeat(50_000);
    c.cmd(&["SET", &long, "1"]);
    let deep = "*?".repeat(50_000);
    assert_eq!(flat(&c.cmd(&["KEYS", &deep])), "[]");
    assert_eq!(flat(&c.cmd(&["SCAN", "0", "MATCH", &deep])), "[0 []]");
    // The patterns of users, of keys and of channels.
    let mut c_of_user = server.conn();
    for pattern in [&stars, &deep] {
        let rules = [format!("~{pattern}"), format!("&{pattern}")];
        c.cmd(&["ACL", "SETUSER", "u", "reset", "on", "nopass", "resetchannels", "+@all"]);
        assert_eq!(c.cmd(&["ACL", "SETUSER", "u", &rules[0], &rules[1]]).text(), "OK");
        assert_eq!(c_of_user.ask("AUTH u x"), "OK");
        for command in [&["GET", &key][..], &["PUBLISH", &key, "x"], &["GET", &long]] {
            assert!(flat(&c_of_user.cmd(command)).starts_with("-NOPERM"), "{}", command[0]);
        }
    }
    for odd in ["[", "[^", "[a-", "\\", "[\\", "[]", "[a-\\", "*[", "a[^]*\\"] {
        c.cmd(&["KEYS", odd]);
        c.cmd(&["CONFIG", "GET", odd]);
    }
    // Tried in every way, they would not have been answered within anybody's patience.
    assert_eq!(c.ask("PING"), "PONG");
}

/// Subscriptions take memory: they are refused when there is none (RED-167788).
#[test]
fn subscribe_over_maxmemory() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    assert_eq!(c.ask("CONFIG SET maxmemory 1"), "OK");
    let oom = "-OOM command not allowed when used memory > 'maxmemory'.";
    assert_eq!([c.ask("SUBSCRIBE ch"), c.ask("PSUBSCRIBE ch*"), c.ask("SET a b")], [oom, oom, oom]);
    assert_eq!(
        [c.ask("PUBSUB NUMPAT"), c.ask("PUBSUB CHANNELS"), c.ask("UNSUBSCRIBE")],
        ["0", "[]", "[unsubscribe (nil) 0]"]
    );
    c.ask("CONFIG SET maxmemory 0");
    assert_eq!(c.ask("SUBSCRIBE ch"), "[subscribe ch 1]");
}

/// The least, the greatest and the oddest numbers in every argument of every command: a well-formed
/// reply.
#[test]
fn extreme_numbers_everywhere() {
    let mut random = Random::seeded();
    let mut server = TestServer::start(&["--proto-max-bulk-len", "1mb"]);
    let mut c = server.conn();
    let names = command_names(&mut c);
    let extremes = [
        "-9223372036854775808",
        "9223372036854775807",
        "-0",
        "18446744073709551616",
        "1e400",
        "nan",
        "-inf",
        "9223372036854775808",
    ];
    let keys = ["k", "text", "list", "set", "hash", "zset", "stream", "nosuch"];
    // Options that take a number after them.
    let options = [
        "EX",
        "PX",
        "EXAT",
        "PXAT",
        "COUNT",
        "LIMIT",
        "MAXLEN",
        "RANK",
        "IDLE",
        "FREQ",
        "MINMATCHLEN",
        "WITHSCORES",
        "WITHVALUES",
        "REPLACE",
        "DB",
        "GET",
        "SET",
        "u8",
        "INCRBY",
        "STORE",
        "MATCH",
        "IDX",
        "STRINGS",
        "LEFT",
        "RIGHT",
        "BYLEX",
        "REV",
        "SAMPLES",
        "USAGE",
    ];
    let mut mark = 0;
    for name in &names {
        fill(&mut c);
        let blocks = name.starts_with('b') || name == "wait" || name.starts_with("xread");
        for count in 1..6 {
            for round in 0..8 {
                let mut args: Vec<Vec<u8>> = vec![name.clone().into_bytes()];
                for position in 1..=count {
                    let word = if position == 1 && round > 0 {
                        random.pick(&keys)
                    } else if position == 1 + round % count.max(1) || random.below(3) > 0 {
                        random.pick(&extremes)
                    } else if random.below(2) == 0 {
                        random.pick(&options)
                    } else {
                        random.pick(&keys)
                    };
                    args.push(word.as_bytes().to_vec());
                }
                mark += 1;
                // Within a transaction nothing waits.
                let one = |name: &str| vec![name.as_bytes().to_vec()];
                let commands =
                    if blocks { vec![one("MULTI"), args, one("EXEC")] } else { vec![args] };
                probe_all(&mut c, &commands, mark);
                if name == "select" || name == "swapdb" {
                    c.ask("SELECT 0");
                }
            }
        }
    }
    // The ones left out above, where a number goes.
    for line in [
        "CLIENT KILL ID #",
        "CLIENT UNBLOCK #",
        "CLIENT LIST ID #",
        "HELLO #",
        "REPLCONF listening-port #",
        "CLIENT PAUSE #",
        "SLOWLOG GET #",
        "LATENCY GRAPH #",
        "MEMORY USAGE k SAMPLES #",
        "LOLWUT VERSION #",
        "LOLWUT VERSION 5 # # #",
        "DEBUG SLEEP -#",
        "DEBUG POPULATE 1 k -#",
        "CLIENT KILL SKIPME #",
        "OBJECT FREQ #",
        "SCAN #",
        "SCAN 0 COUNT #",
        "SELECT #",
        "MOVE k #",
        "SWAPDB # #",
        "COPY k l DB #",
        "GETRANGE text # #",
        "SETRANGE text # x",
        "INCRBY k #",
        "DECRBY k #",
        "INCRBYFLOAT k #",
        "EXPIRE k #",
        "PEXPIRE k #",
        "EXPIREAT k #",
        "PEXPIREAT k #",
        "SET k 1 EX #",
        "SET k 1 PX #",
        "SET k 1 EXAT #",
        "SET k 1 PXAT #",
        "SETEX k # 1",
        "PSETEX k # 1",
        "GETEX k EX #",
        "GETEX k PXAT #",
        "STRALGO LCS STRINGS a b IDX MINMATCHLEN #",
        "RESTORE r # x",
        "RESTORE r 0 x FREQ #",
    ] {
        for n in extremes {
            c.ask("SET k 12");
            mark += 1;
            let line = line.replace('#', n);
            if line == "CLIENT KILL ID -0" || line.starts_with("CLIENT PAUSE 92") {
                continue;
            }
            probe(
                &mut c,
                &line.split(' ').map(|w| w.as_bytes().to_vec()).collect::<Vec<_>>(),
                mark,
            );
            c.ask("SELECT 0");
        }
    }
    assert!(server.is_alive());
    assert!(!server.log().contains("BUG REPORT"));
}

/// The documented answers of some of them.
#[test]
fn extreme_numbers_answers() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let range = "-ERR value is not an integer or out of range";
    let too_big = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    let int_range = "-ERR value is out of range, value must between -2147483648 and 2147483647";
    for (line, want) in [
        ("SET k 5", "OK"),
        ("INCRBY k 9223372036854775807", "-ERR increment or decrement would overflow"),
        ("DECRBY k -9223372036854775808", "-9223372036854775803"), // the smallest number has no counterpart
        ("SET k 5", "OK"),
        ("DECRBY k 9223372036854775807", "-9223372036854775802"),
        ("DECRBY k 9223372036854775807", "-ERR increment or decrement would overflow"),
        ("INCRBY k -0", range),
        ("INCRBY k 9223372036854775808", range),
        ("INCRBYFLOAT k inf", "-ERR increment would produce NaN or Infinity"),
        ("INCRBYFLOAT k nan", "-ERR value is not a valid float"),
        ("SET t hello", "OK"),
        ("SETRANGE t 9223372036854775807 A", too_big),
        ("SETRANGE t 536870912 A", too_big),
        ("SETRANGE t -9223372036854775808 A", "-ERR offset is out of range"),
        ("GETRANGE t -9223372036854775808 9223372036854775807", "hello"),
        ("GETRANGE t 9223372036854775807 -9223372036854775808", ""),
        ("EXPIRE t 9223372036854775807", "-ERR invalid expire time in expire"),
        ("EXPIRE t -9223372036854775808", "-ERR invalid expire time in expire"),
        ("PEXPIRE t 9223372036854775807", "-ERR invalid expire time in pexpire"),
        ("SET t v EX 9223372036854775807", "-ERR invalid expire time in set"),
        ("SETEX t 9223372036854775807 v", "-ERR invalid expire time in setex"),
        ("SET t v PX -9223372036854775808", "-ERR invalid expire time in set"),
        ("GETEX t EX 9223372036854775807", "-ERR invalid expire time in getex"),
        ("TTL t", "-1"),
        ("SCAN 18446744073709551615 COUNT 1", "[0 []]"),
        ("SCAN 18446744073709551616", "-ERR invalid cursor"),
        ("SCAN 0 COUNT 0", "-ERR syntax error"),
        ("SCAN 0 COUNT -9223372036854775808", "-ERR syntax error"),
        ("SELECT 9223372036854775807", int_range),
        ("MOVE t 9223372036854775807", int_range),
        ("PEXPIREAT t -9223372036854775808", "1"),
        ("EXISTS t", "0"),
    ] {
        let got = c.ask(line);
        if line.starts_with("SCAN 18446744073709551615") {
            assert!(got.starts_with('['), "{line}: {got}");
        } else {
            assert_eq!(got, want, "{line}");
        }
    }
}

/// No argument that comes back in an error or a status breaks the framing (the class of
/// CVE-2025-67733).
#[test]
fn nothing_echoed_breaks_the_framing() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let names = command_names(&mut c);
    let evil = b"x\r\n+INJECTED\r\n\0$5\r\n".to_vec();
    let mut mark = 0;
    let mut check = |c: &mut Conn, args: Vec<Vec<u8>>| {
        mark += 1;
        for r in probe(c, &args, mark) {
            assert!(
                !matches!(&r, Reply::Status(s) if s == b"INJECTED"),
                "{:?}",
                args.iter().map(|a| String::from_utf8_lossy(a)).collect::<Vec<_>>()
            );
        }
    };
    for proto in ["2", "3"] {
        c.cmd(&["HELLO", proto]);
        for name in &names {
            if name.starts_with('b') || name == "wait" || name == "echo" || name == "ping" {
                continue;
            }
            for n in 1..5 {
                let mut args = vec![name.clone().into_bytes()];
                args.extend((0..n).map(|_| evil.clone()));
                check(&mut c, args);
            }
        }
        for line in [
            "#",
            "CLIENT #",
            "CLIENT KILL #",
            "CLIENT KILL TYPE #",
            "CLIENT KILL USER #",
            "CLIENT SETNAME #",
            "CLIENT LIST TYPE #",
            "CONFIG #",
            "CONFIG GET #",
            "CONFIG SET # #",
            "CONFIG SET maxmemory #",
            "CONFIG SET maxmemory-policy #",
            "CONFIG SET save #",
            "CONFIG SET dir #",
            "CONFIG SET notify-keyspace-events #",
            "DEBUG #",
            "DEBUG ERROR #",
            "DEBUG OBJECT #",
            "DEBUG PROTOCOL #",
            "DEBUG LOG #",
            "HELLO 2 #",
            "HELLO 2 SETNAME #",
            "AUTH #",
            "AUTH # #",
            "OBJECT #",
            "OBJECT ENCODING #",
            "MEMORY #",
            "PUBSUB #",
            "LATENCY #",
            "LATENCY GRAPH #",
            "SLOWLOG #",
            "COMMAND #",
            "COMMAND INFO #",
            "COMMAND GETKEYS #",
            "REPLICAOF # #",
            "INFO #",
            "SET k v #",
            "STRALGO # #",
        ] {
            let args = line
                .split(' ')
                .map(|w| if w == "#" { evil.clone() } else { w.as_bytes().to_vec() })
                .collect();
            check(&mut c, args);
        }
        c.cmd(&["HELLO", proto]);
    }
    // One that shows it: what would end the line became spaces.
    let r = c.cmd(&[b"DEBUG".to_vec(), b"ERROR".to_vec(), b"My Err\r\n+INJECT".to_vec()]);
    assert_eq!(r, Reply::Error(b"My Err  +INJECT".to_vec()));
    assert_eq!(c.ask("PING"), "PONG");
}

/// CONFIG SET of every parameter there is with every extreme: an answer, and alive.
#[test]
fn extreme_configuration() {
    let mut server = TestServer::start(&[]);
    let mut c = server.conn();
    let all = c.cmd(&["CONFIG", "GET", "*"]);
    let values = [
        "",
        "-9223372036854775808",
        "9223372036854775807",
        "18446744073709551616",
        "-1",
        "nan",
        "\0",
        "99999999999999999999gb",
        "9999999999999gb",
        "\r\n",
        "yes no",
        "normal -1 -1 -1",
        "master 0 0 0",
    ];
    for pair in all.array().chunks(2) {
        let name = pair[0].text();
        // These would cut the branch we sit on, or write where a test should not.
        if [
            "port",
            "bind",
            "dir",
            "dbfilename",
            "logfile",
            "requirepass",
            "maxclients",
            "maxmemory",
            "timeout",
            "replicaof",
            "slaveof",
            "oom-score-adj",
        ]
        .contains(&name.as_str())
            || name.contains("delay")
            || name.starts_with("min-")
        {
            continue;
        }
        for value in values {
            c.cmd(&["CONFIG", "SET", &name, value]);
            if name == "client-query-buffer-limit" || name == "proto-max-bulk-len" {
                c.cmd(&["CONFIG", "SET", &name, "1gb"]);
            }
        }
        assert!(server.is_alive(), "it died of {name}");
    }
    // The class of a limit is one of three, by name (CVE-2016-8339).
    assert!(
        flat(&c.cmd(&["CONFIG", "SET", "client-output-buffer-limit", "master 0 0 0"]))
            .starts_with("-ERR Invalid argument")
    );
    assert!(
        flat(&c.cmd(&["CONFIG", "SET", "client-output-buffer-limit", "normal 0 0"]))
            .starts_with("-ERR Invalid argument")
    );
    assert_eq!(c.ask("PING"), "PONG");
    assert_eq!(server.ask("PING"), "PONG");
}

/// CVE-2025-46686: the arguments of a command that never ends are counted like the query that they
/// came in.
#[test]
fn cve_2025_46686_arguments_of_an_unfinished_command() {
    let mut server = TestServer::start(&["--client-query-buffer-limit", "1mb"]);
    let mut c = server.conn();
    let mut bytes = b"*1048576\r\n".to_vec();
    for _ in 0..300_000 {
        bytes.extend_from_slice(b"$1\r\nx\r\n");
    }
    let _ = c.raw(&bytes);
    assert!(c.is_closed());
    server.wait_for_log("Closing client that reached max query buffer length: id=");
    assert_eq!(server.ask("PING"), "PONG");
}

/// CVE-2021-31294: who asked to be a replica, and then sends commands like a client.
#[test]
fn cve_2021_31294_a_replica_that_writes() {
    let mut server = TestServer::start(&[]);
    let mut replica = server.conn();
    replica.send(&["PSYNC", "?", "-1"]);
    assert!(replica.line().unwrap().starts_with(b"+FULLRESYNC"));
    let len = loop {
        // Empty lines keep the link alive while the child saves.
        let line = replica.line().unwrap();
        if let Some(len) = line.strip_prefix(b"$") {
            break String::from_utf8_lossy(len).parse::<usize>().unwrap();
        }
    };
    replica.take(len).unwrap();
    replica.send(&["REPLCONF", "ACK", "0"]);
    replica.send(&["SET", "k", "v"]);
    replica.send(&["GET", "k"]);
    let refusal = b"-ERR Replica can't interract with the keyspace";
    wait_for("the refusal", || replica.line().unwrap() == refusal);
    let mut c = server.conn();
    assert_eq!([c.ask("GET k"), c.ask("SET k 1"), c.ask("GET k")], ["(nil)", "OK", "1"]);
    assert!(server.is_alive());
}

/// CVE-2018-12453: a group for a key that is no stream.
#[test]
fn cve_2018_12453_a_group_of_a_string() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    c.ask("SET k v");
    for line in ["XGROUP CREATE k g $", "XGROUP CREATE k g $ MKSTREAM", "XGROUP SETID k g 0"] {
        assert!(c.ask(line).starts_with("-WRONGTYPE "), "{line}");
    }
    assert!(c.ask("XGROUP CREATE none g $").starts_with("-ERR The XGROUP subcommand requires"));
    assert_eq!(c.ask("XGROUP CREATE none g $ MKSTREAM"), "OK");
}

/// CVE-2021-29477, CVE-2021-32625: the table of the longest common subsequence of two long strings
/// has no size to compute with 32 bits, nor memory.
#[test]
fn cve_2021_32625_lcs_of_long_strings() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let long = |letter: &str| letter.repeat(8_000_000);
    assert_eq!(c.cmd(&["MSET", "a", &long("x"), "b", &long("y")]).text(), "OK");
    assert_eq!(c.ask("STRALGO LCS KEYS a b"), "-ERR Insufficient memory");
    assert_eq!(c.ask("STRALGO LCS LEN STRINGS ohmytext mynewtext"), "6");
}

/// CVE-2021-21309, CVE-2021-32761: bits beyond what a string may have.
#[test]
fn cve_2021_32761_bits_at_the_edge() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let refused = "-ERR bit offset is not an integer or out of range";
    for offset in ["4294967296", "-1", "9223372036854775807", "18446744073709551616"] {
        for line in [format!("SETBIT k {offset} 1"), format!("GETBIT k {offset}")] {
            assert_eq!(c.ask(&line), refused, "{line}");
        }
        assert_eq!(c.ask(&format!("BITFIELD k SET u8 {offset} 1")), refused);
    }
    assert_eq!(c.ask("BITFIELD k SET u8 #536870912 1"), refused);
    assert_eq!(c.ask("BITFIELD k GET u8 #9223372036854775807"), refused);
    assert_eq!(c.ask("EXISTS k"), "0");
}

/// CVE-2021-41099: where any size is allowed, sums of sizes do not wrap, and a size that is only
/// announced takes no memory.
#[test]
fn cve_2021_41099_sizes_near_the_largest() {
    let huge = "9223372036854775807";
    let server = TestServer::start(&["--proto-max-bulk-len", huge]);
    let mut c = server.conn();
    let too_big = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    assert_eq!(c.ask(&format!("SETRANGE k {huge} A")), too_big);
    assert_eq!(c.ask("SET k abc"), "OK");
    assert_eq!(c.ask(&format!("SETRANGE k {huge} A")), too_big);
    assert_eq!(c.ask(&format!("GETRANGE k 1 {huge}")), "bc");
    assert!(c.ask(&format!("SETBIT k {huge}9 1")).starts_with("-ERR bit offset is not an integer"));
    for command in ["*2\r\n$3\r\nGET\r\n", "*3\r\n$6\r\nAPPEND\r\n$1\r\nk\r\n"] {
        let mut waiting = server.conn();
        waiting.raw(format!("{command}${huge}\r\nabc").as_bytes()).unwrap();
        waiting.raw(b"def").unwrap();
        assert_eq!(c.ask("GET k"), "abc");
    }
    let mut c = server.conn();
    c.raw(b"*2\r\n$3\r\nGET\r\n$9223372036854775808\r\n").unwrap();
    assert_eq!(flat(&c.reply()), "-ERR Protocol error: invalid bulk length");
    assert!(server.info_i64("used_memory") < 20_000_000);
}

/// What 31 and 32 bits cannot count: a HyperLogLog of more than two gigabytes (fixed in 6.2.21),
/// and elements of more than one and of four (CVE-2021-32627, CVE-2021-32628). It wants ten
/// gigabytes of memory, so only the long form does it.
#[test]
fn cve_2021_32627_gigabytes() {
    if !long() {
        return;
    }
    let huge = "9223372036854775807";
    let sizes = ["--proto-max-bulk-len", "8gb", "--client-query-buffer-limit", "8gb"];
    let limits = ["--hash-max-ziplist-value", huge, "--zset-max-ziplist-value", huge];
    let server = TestServer::start(&[sizes, limits].concat());
    let mut c = server.conn();

    // The sum that it keeps is marked as outdated, so that its registers are looked at.
    for encoding in ["\0", "\x01"] {
        c.cmd(&["SET", "h", &format!("HYLL{encoding}")]);
        c.cmd(&[&b"SETRANGE"[..], b"h", b"15", b"\x80"]);
        assert_eq!(c.ask("SETRANGE h 2200000000 x"), "2200000001");
        for line in ["PFCOUNT h", "PFCOUNT h h", "PFADD h a", "PFMERGE h2 h", "PFDEBUG GETREG h"] {
            let reply = c.ask(line);
            let refused =
                ["-INVALIDOBJ Corrupted HLL", "-WRONGTYPE Key is not a valid HyperLogLog"];
            // A register before the damage may be set.
            let set = line.starts_with("PFADD") && reply == "1";
            assert!(set || refused.iter().any(|r| reply.starts_with(r)), "{line}: {reply}");
        }
    }
    assert_eq!(c.ask("DEL h"), "1");

    // Sends a command with one more argument of so many bytes.
    let mut send = |line: &str, size: usize| {
        let words: Vec<&str> = line.split(' ').collect();
        let command = Conn::encode(&words);
        let end = command.iter().position(|&b| b == b'\n').unwrap() + 1;
        c.raw(format!("*{}\r\n", words.len() + 1).as_bytes()).unwrap();
        c.raw(&command[end..]).unwrap();
        c.raw(format!("${size}\r\n").as_bytes()).unwrap();
        let chunk = vec![b'x'; 1 << 20];
        for at in (0..size).step_by(chunk.len()) {
            c.raw(&chunk[..chunk.len().min(size - at)]).unwrap();
        }
        c.raw(b"\r\n").unwrap();
        flat(&c.reply())
    };
    let size = 1_100_000_000;
    assert_eq!(send("XADD s 1-1 f", size), "-ERR Elements are too large to be stored");
    assert_eq!(send("HSET hash f", size), "1");
    assert_eq!(send("ZADD zset 1", size), "1");
    assert_eq!(send("RPUSH list", size), "1");
    assert_eq!(send("LINSERT list BEFORE none", (1 << 32) - 1023), "-ERR Element too large");
    for (line, want) in [
        ("XLEN s", "0"),
        ("OBJECT ENCODING hash", "hashtable"),
        ("HSTRLEN hash f", "1100000000"),
        ("OBJECT ENCODING zset", "skiplist"),
        ("ZADD zset 2 a", "1"),
        ("ZRANGE zset 1 1", "[a]"),
        ("RPUSH list a", "2"),
        ("LINSERT list BEFORE a b", "3"),
        ("LRANGE list 1 -1", "[b a]"),
        ("DEL hash zset list", "3"),
    ] {
        assert_eq!(server.conn().ask(line), want, "{line}");
    }
}
