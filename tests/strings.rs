//! Strings and bits as clients, replicas and the file see them.

#[path = "support/ask.rs"]
mod ask;
mod support;

use ask::*;
use support::*;

/// The commands in the append only file, each as one line.
fn propagated(server: &TestServer) -> Vec<String> {
    let file = std::fs::read(server.dir.path("appendonly.aof")).unwrap();
    let text = String::from_utf8(file).unwrap();
    let commands = text.split("\r\n").fold(Vec::new(), |mut commands: Vec<Vec<String>>, line| {
        if line.starts_with('*') {
            commands.push(Vec::new());
        } else if !line.starts_with('$') && !line.is_empty() {
            commands.last_mut().unwrap().push(line.to_string());
        }
        commands
    });
    commands.into_iter().map(|words| words.join(" ")).collect()
}

/// What depends on the time, on the old value or on floating point is propagated as its result, so
/// that a replica and a later start come to the same.
#[test]
fn what_is_propagated_is_the_result() {
    let server = TestServer::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut c = server.conn();
    let mut seen = 0;
    let mut check = |line: &str, expected: &[&str]| {
        c.ask(line);
        let all = propagated(&server);
        let mut new = all[seen..].iter().filter(|l| !l.starts_with("SELECT"));
        for e in expected {
            let got = new.next().unwrap_or_else(|| panic!("{line}: {e} was not propagated"));
            match e.strip_suffix("<ms>") {
                // An absolute time in milliseconds.
                Some(start) => {
                    let ms = got.strip_prefix(start).unwrap_or_else(|| panic!("{line}: {got}"));
                    assert!(ms.len() == 13 && ms.parse::<u64>().is_ok(), "{line}: {got}");
                }
                None => assert_eq!(got, e, "{line}"),
            }
        }
        assert_eq!(new.next(), None, "{line}");
        seen = all.len();
    };
    check("SET k v EX 100", &["SET k v PXAT <ms>"]);
    check("SET k v PXAT 4000000000000", &["SET k v PXAT <ms>"]);
    check("SETEX k 100 v", &["SET k v PXAT <ms>"]);
    check("PSETEX k 100000 v", &["SET k v PXAT <ms>"]);
    check("GETEX k EX 100", &["PEXPIREAT k <ms>"]);
    check("GETEX k PERSIST", &["PERSIST k"]);
    check("GETEX k", &[]);
    check("EXPIRE k 100", &["PEXPIREAT k <ms>"]);
    check("SET k w KEEPTTL", &["SET k w KEEPTTL"]);
    check("GETSET k x", &["SET k x"]);
    check("SET k y NX", &[]);
    check("SET k y XX GET", &["SET k y XX"]);
    check("SETNX k z", &[]);
    check("SETNX n 1", &["SETNX n 1"]);
    check("INCRBY n 2", &["INCRBY n 2"]);
    check("INCRBYFLOAT n 0.25", &["SET n 3.25 KEEPTTL"]);
    check("INCRBYFLOAT n nan", &[]);
    check("APPEND k z", &["APPEND k z"]);
    check("SETRANGE k 1 !", &["SETRANGE k 1 !"]);
    check("SETRANGE nosuch 0 ", &[]);
    check("GETDEL k", &["DEL k"]);
    check("GETDEL k", &[]);
    check("BITFIELD b INCRBY u8 0 3 GET u8 0", &["BITFIELD b INCRBY u8 0 3 GET u8 0"]);
    check("BITFIELD b GET u8 0", &[]);
    check("MSETNX n 1 m 1", &[]);
}

/// What changes a value keeps its time to live; what replaces it does not.
#[test]
fn time_to_live_of_a_changed_value() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    for (line, kept) in [
        ("INCR k", true),
        ("INCRBYFLOAT k 1", true),
        ("APPEND k 0", true),
        ("SETRANGE k 0 1", true),
        ("SETBIT k 7 0", true),
        ("BITFIELD k SET u8 0 49", true),
        ("SET k 1 KEEPTTL", true),
        ("SET k 1", false),
        ("GETSET k 1", false),
        ("MSET k 1", false),
        ("BITOP NOT k k", false),
    ] {
        c.ask("SET k 1 EX 1000");
        c.ask(line);
        assert_eq!(c.ask("TTL k") != "-1", kept, "{line}");
    }
}

/// Neither an offset nor a sum makes a string longer than it may be, and nothing is made of a
/// refused command.
#[test]
fn lengths_and_numbers_at_the_edge() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let too_long = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    assert_eq!(c.ask("SETRANGE k 536870912 x"), too_long);
    assert_eq!(c.ask("SETRANGE k 9223372036854775807 x"), too_long);
    assert_eq!(c.ask("SETRANGE k -1 x"), "-ERR offset is out of range");
    let offset = "-ERR bit offset is not an integer or out of range";
    assert_eq!(c.ask("SETBIT k 4294967296 1"), offset);
    assert_eq!(c.ask("SETBIT k -1 1"), offset);
    assert_eq!(c.ask("BITFIELD k SET u8 4294967296 1"), offset);
    assert_eq!(c.ask("EXISTS k"), "0");
    for (value, line, error) in [
        ("9223372036854775807", "INCR k", "-ERR increment or decrement would overflow"),
        ("-9223372036854775808", "DECR k", "-ERR increment or decrement would overflow"),
        ("01", "INCR k", "-ERR value is not an integer or out of range"),
        (" 1", "INCR k", "-ERR value is not an integer or out of range"),
        ("x", "INCRBYFLOAT k 1", "-ERR value is not a valid float"),
        ("1", "INCRBYFLOAT k inf", "-ERR increment would produce NaN or Infinity"),
    ] {
        c.cmd(&["SET", "k", value]);
        assert_eq!(c.ask(line), error, "{value}: {line}");
        assert_eq!(c.cmd(&["GET", "k"]).text(), value, "{line}");
    }
}

/// A field of bits that would not fit: wrapped, at its limit, or left alone.
#[test]
fn bitfield_overflow() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    assert_eq!(c.ask("BITFIELD k SET u2 0 3 SET i5 2 -16"), "[0 0]");
    assert_eq!(c.ask("BITFIELD k OVERFLOW FAIL INCRBY u2 0 1 INCRBY i5 2 -1"), "[(nil) (nil)]");
    assert_eq!(c.ask("BITFIELD k OVERFLOW SAT INCRBY u2 0 1 INCRBY i5 2 -1"), "[3 -16]");
    assert_eq!(c.ask("BITFIELD k OVERFLOW WRAP INCRBY u2 0 1 INCRBY i5 2 -1"), "[0 15]");
    assert_eq!(c.ask("BITFIELD_RO k GET u2 0 GET i5 2 GET u63 64"), "[0 15 0]");
    assert_eq!(c.ask("BITFIELD k SET i64 0 -9223372036854775808"), "[2161727821137838080]");
    assert_eq!(c.ask("BITFIELD k OVERFLOW FAIL INCRBY i64 0 -1"), "[(nil)]");
    assert_eq!(c.ask("BITFIELD k INCRBY i64 0 -1"), "[9223372036854775807]");
}

/// INCRBYFLOAT computes and prints as the C's long double does.
#[test]
fn incrbyfloat_digits() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    for (start, by, want) in [
        ("10.50", "0.1", "10.6"),
        ("5.0e3", "2.0e2", "5200"),
        ("0", "0.1", "0.1"),
        ("0.1", "0.2", "0.3"),
        ("3", "1.1", "4.1"),
        ("1", "-1", "0"),
        ("-0.5", "0.25", "-0.25"),
        ("1e17", "0.5", "100000000000000000.5"),
        ("123456789012345678", "0.25", "123456789012345678.25"),
        ("9007199254740993", "1", "9007199254740994"),
        ("1", "1e-17", "1.00000000000000001"),
        ("1", "1e-18", "1"),
        ("0", "1e-20", "0"),
        ("0", "1.23456789012345678", "1.23456789012345678"),
        ("99999999999999999999", "1", "100000000000000000000"),
        (
            "1.79769313486231570e308",
            "0",
            "179769313486231569995921046774104434048386446944329178485314420765176628523124396354701868608387085564428793419425520689308708363451136055357897278026477617073498977686288394835618163294045594434929537447290627480669417384648879122776218333598953852832103282504751611691208117720159985926376802466863339536384",
        ),
        ("0x10", "1", "17"),
    ] {
        c.cmd(&["SET", "k", start]);
        let got = c.cmd(&["INCRBYFLOAT", "k", by]).text();
        assert_eq!(got, want, "{start} + {by}");
        assert_eq!(c.ask("GET k"), got);
    }
    // A hundred tenths are ten.
    c.ask("DEL k");
    for _ in 0..99 {
        c.ask("INCRBYFLOAT k 0.1");
    }
    assert_eq!(c.ask("INCRBYFLOAT k 0.1"), "10");
    for (start, by, want) in [
        ("abc", "1", "-ERR value is not a valid float"),
        ("1", "abc", "-ERR value is not a valid float"),
        ("1", " 1", "-ERR value is not a valid float"),
        ("1 ", "1", "-ERR value is not a valid float"),
        ("1", "1e5000", "-ERR value is not a valid float"),
        ("1", "+inf", "-ERR increment would produce NaN or Infinity"),
    ] {
        c.cmd(&["SET", "k", start]);
        assert_eq!(c.cmd(&["INCRBYFLOAT", "k", by]).text(), want, "{start:?} + {by:?}");
        assert_eq!(c.ask("GET k"), start.trim_end_matches('\0'));
    }
}

/// A command of many keys sees what it has done to the earlier ones: named twice, deleted, changed,
/// expired, in chunks of those that are looked for side by side, and wherever its arguments lie.
#[test]
fn many_keys_of_one_command() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let names = |n: usize| (0..n).map(|i| format!("k{i}")).collect::<Vec<_>>().join(" ");
    for n in [2, 15, 16, 17, 50] {
        for wrapped in [false, true] {
            let pairs: Vec<_> = (0..n).map(|i| format!("k{i} {i}x k{i} {i}")).collect();
            let mset = format!("MSET {}", pairs.join(" "));
            let get = format!("MGET {} none k0", names(n));
            let exists = format!("EXISTS {} none k0", names(n));
            let del = format!("DEL k0 {} k1 none", names(n));
            let msetnx = format!("MSETNX {}", pairs.join(" "));
            let others: String = (0..n).map(|i| format!("n{i} v ")).collect();
            let commands = [
                mset,
                get.clone(),
                exists.clone(),
                del,
                get,
                exists,
                msetnx,
                format!("MSETNX {others}k0 v"),
                "EXISTS n0 n1".to_string(),
                format!("UNLINK {}", names(n)),
            ];
            let values = (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
            let nulls = format!("[{}]", vec!["(nil)"; n + 2].join(" "));
            let expected = [
                "OK".to_string(),
                format!("[{} (nil) 0]", values.join(" ")),
                (n + 1).to_string(),
                n.to_string(),
                nulls,
                "0".to_string(),
                "1".to_string(),
                "0".to_string(),
                "0".to_string(),
                n.to_string(),
            ];
            if wrapped {
                c.ask("MULTI");
                commands.iter().for_each(|command| assert_eq!(c.ask(command), "QUEUED"));
                assert_eq!(c.ask("EXEC"), format!("[{}]", expected.join(" ")), "{n}");
            } else {
                for (command, expected) in commands.iter().zip(&expected) {
                    assert_eq!(c.ask(command), *expected, "{n}");
                }
            }
        }
    }

    // Keys that are gone by the time they are looked at, and values that are no strings.
    c.ask("DEBUG SET-ACTIVE-EXPIRE 0");
    c.ask(&format!("MSET {}", names(40).replace(' ', " v ") + " v"));
    c.ask("PEXPIRE k20 1");
    c.ask("DEL k30");
    c.ask("RPUSH k30 a");
    wait_for("the time of a key", || c.ask("PTTL k20") == "-2");
    let mut values = vec!["v"; 40];
    (values[20], values[30]) = ("(nil)", "(nil)");
    assert_eq!(c.ask(&format!("MGET {}", names(40))), format!("[{}]", values.join(" ")));
    assert_eq!(c.ask(&format!("TOUCH {}", names(40))), "39");
    let many = "redis.call('MSET', 'a', 1, 'b', 2, 'a', 3) return redis.call('MGET', 'b', 'a')";
    let reply = c.cmd(&["EVAL", many, "0"]);
    let texts: Vec<_> = reply.array().iter().map(Reply::text).collect();
    assert_eq!(texts, ["2", "3"]);
    assert_eq!(c.ask(&format!("UNLINK {}", names(41))), "39");
}

/// SETRANGE and GETRANGE at their limits; APPEND and SETRANGE stop at proto-max-bulk-len.
#[test]
fn ranges() {
    let server = TestServer::start(&["--proto-max-bulk-len", "1mb"]);
    let mut c = server.conn();
    let too_big = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    for (line, want) in [
        ("SETRANGE k 0 ", "-ERR wrong number of arguments for 'setrange' command"),
        ("SETRANGE k 3 abc", "6"),
        ("GET k", "\0\0\0abc"),
        ("SETRANGE k -1 x", "-ERR offset is out of range"),
        ("SETRANGE k 1048575 x", "1048576"),
        ("STRLEN k", "1048576"),
        ("SETRANGE k 1048576 x", too_big),
        ("APPEND k x", too_big),
        ("SET n 12345", "OK"),
        ("SETRANGE n 2 xx", "5"),
        ("GET n", "12xx5"),
        ("SET n 12345", "OK"),
        ("GETRANGE n 1 3", "234"),
        ("GETRANGE n -3 -1", "345"),
        ("GETRANGE n -100 100", "12345"),
        ("GETRANGE n 3 1", ""),
        ("GETRANGE n -1 -3", ""),
        ("GETRANGE n 5 10", ""),
        ("GETRANGE nosuch 0 -1", ""),
        ("SUBSTR n 0 1", "12"),
        ("GETRANGE n a 1", "-ERR value is not an integer or out of range"),
        ("STRLEN nosuch", "0"),
    ] {
        assert_eq!(c.ask(line), want, "{line}");
    }
    assert_eq!(c.cmd(&["SETRANGE", "nosuch", "5", ""]).int(), 0);
    assert_eq!(c.ask("EXISTS nosuch"), "0");
    assert_eq!(c.cmd(&["SETRANGE", "n", "100", ""]).int(), 5);
}
