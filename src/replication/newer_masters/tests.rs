use super::*;
use crate::testing::Rng;

/// A server with the string `s`, the string `timed` that expires, and the list-like rest absent.
fn new_server() -> Server {
    let mut server = Server {
        db: (0..2).map(|id| RedisDb { id, ..Default::default() }).collect(),
        dbnum: 2,
        repl_stream_version: 80,
        ..Default::default()
    };
    server.db[0].dict.add(b"s", &b"text"[..]);
    server.db[0].dict.add(b"n", 12);
    let o = server.db[0].dict.add(b"timed", &b"v"[..]);
    server.db[0].dict.set_expire(o, 1_000_000);
    server
}

fn words(line: &str) -> Argv {
    line.split_whitespace().map(str::as_bytes).collect()
}

/// What a line becomes: `=` for the same, `-` for what can't be said, else its commands.
fn becomes(server: &mut Server, line: &str) -> String {
    let argv = words(line);
    let args = argv.as_args();
    let Some(translate) = translator(args.get(0)) else { return "?".into() };
    match translate(server, 0, &args) {
        Same => "=".into(),
        Impossible(_) => "-".into(),
        Commands(commands) => {
            let text = |argv: &Argv| {
                let words: Vec<_> = argv.as_args().iter().map(String::from_utf8_lossy).collect();
                words.join(" ")
            };
            commands.iter().map(text).collect::<Vec<_>>().join(", ")
        }
    }
}

#[test]
fn forms() {
    for (line, expected) in [
        ("SET s v", "="),
        ("SET s v KEEPTTL", "="),
        ("SET s v PXAT 1", "="),
        ("SET s v GET", "="),
        ("SET s v NX GET", "SET s v NX"),
        ("set s v get nx px 100", "set s v nx px 100"),
        ("SET s get NX GET PXAT 5", "SET s get NX PXAT 5"),
        ("SET s v IFEQ text", "SET s v"),
        ("SET s v IFEQ other", ""),
        ("SET n 13 IFEQ 12 PXAT 77", "SET n 13 PXAT 77"),
        ("SET none v IFEQ text", ""),
        ("SET s v PX IFEQ", "="),
        ("PEXPIREAT s 5", "="),
        ("PEXPIREAT s 5 NX", "PEXPIREAT s 5"),
        ("PEXPIREAT timed 5 NX", ""),
        ("PEXPIREAT s 5 XX", ""),
        ("pexpireat timed 5 xx", "PEXPIREAT timed 5"),
        ("PEXPIREAT timed 1000001 GT", "PEXPIREAT timed 1000001"),
        ("PEXPIREAT timed 1000000 GT", ""),
        ("PEXPIREAT s 5 GT", ""),
        ("PEXPIREAT timed 999999 LT", "PEXPIREAT timed 999999"),
        ("PEXPIREAT timed 1000000 LT", ""),
        ("PEXPIREAT s 5 LT", "PEXPIREAT s 5"),
        ("PEXPIREAT timed 1000001 XX GT", "PEXPIREAT timed 1000001"),
        ("EXPIREAT timed 1001 GT", "PEXPIREAT timed 1001000"),
        ("PEXPIREAT none 5 NX", ""),
        ("PEXPIREAT s x NX", "-"),
        ("PEXPIREAT s 5 QX", "-"),
        ("XGROUP CREATE k g $ MKSTREAM", "="),
        ("XGROUP CREATE k g $ MKSTREAM ENTRIESREAD 7", "XGROUP CREATE k g $ MKSTREAM"),
        ("XGROUP CREATE k g 1-1 ENTRIESREAD -1 MKSTREAM", "XGROUP CREATE k g 1-1 MKSTREAM"),
        ("XGROUP SETID k g 1-1 entriesread 3", "XGROUP SETID k g 1-1"),
        ("XGROUP CREATECONSUMER k entriesread c", "="),
        ("XSETID k 1-1", "="),
        ("XSETID k 1-1 ENTRIESADDED 5 MAXDELETEDID 0-0", "XSETID k 1-1"),
        ("XSETID k 1-1 OTHER 5", "-"),
        ("XADD k NOMKSTREAM MAXLEN = 5 KEEPREF 1-1 f v", "XADD k NOMKSTREAM MAXLEN = 5 1-1 f v"),
        ("XADD k KEEPREF MAXLEN = 5 1-1 keepref delref", "XADD k MAXLEN = 5 1-1 keepref delref"),
        ("XADD k MAXLEN = 5 DELREF 1-1 f v", "-"),
        ("XADD k 1-1 delref v", "="),
        ("XTRIM k MINID = 1-1 ACKED", "-"),
        ("XTRIM k MAXLEN = 5", "="),
        ("GEORADIUS k 1 2 3 km STORE d", "="),
        ("GEORADIUS k 1 2 3 KM STORE d", "GEORADIUS k 1 2 3 km STORE d"),
        ("GEORADIUSBYMEMBER k KM 3 Mi STORE d", "GEORADIUSBYMEMBER k KM 3 mi STORE d"),
        (
            "GEOSEARCHSTORE d k FROMMEMBER BYBOX BYRADIUS 5 M",
            "GEOSEARCHSTORE d k FROMMEMBER BYBOX BYRADIUS 5 m",
        ),
        (
            "GEOSEARCHSTORE D K FROMLONLAT 1 2 BYBOX 5 6 FT ASC",
            "GEOSEARCHSTORE D K FROMLONLAT 1 2 BYBOX 5 6 ft ASC",
        ),
        ("GEOSEARCHSTORE D K FROMLONLAT 1 2 BYBOX 5 6 ft", "="),
        ("GEOSEARCHSTORE d k BYPOLYGON 3 1 2 3 4 5 6", "-"),
        ("BITOP xor d a b", "="),
        ("BITOP DIFF d a b", "-"),
        ("LMPOP 2 none s LEFT", "LPOP s 1"),
        ("LMPOP 1 s RIGHT COUNT 5", "RPOP s 5"),
        ("LMPOP 1 none LEFT", ""),
        ("LMPOP 2 none LEFT", "-"),
        ("LMPOP 99999999999999999999 none LEFT", "-"),
        ("BLMPOP 0 1 s left count 2", "LPOP s 2"),
        ("ZMPOP 1 s MIN", "ZPOPMIN s 1"),
        ("BZMPOP 0 2 none s MAX COUNT 3", "ZPOPMAX s 3"),
        ("MSETEX 2 a 1 b 2", "MSET a 1 b 2"),
        ("MSETEX 2 a 1 b 2 NX PXAT 77", "SET a 1 PXAT 77, SET b 2 PXAT 77"),
        ("MSETEX 2 a 1 s 2 NX", ""),
        ("MSETEX 2 a 1 s 2 XX", ""),
        ("MSETEX 2 n 1 s 2 XX KEEPTTL", "SET n 1 KEEPTTL, SET s 2 KEEPTTL"),
        ("MSETEX 2 nx xx xx nx", "MSET nx xx xx nx"),
        ("MSETEX 2 a 1 b", "-"),
        ("MSETEX 9223372036854775807 a 1 b", "-"),
        ("DELIFEQ s text", "DEL s"),
        ("DELIFEQ n 12", "DEL n"),
        ("DELIFEQ s other", ""),
        ("DELIFEQ none x", ""),
        ("DELEX s", "DEL s"),
        ("DELEX s IFEQ text", "DEL s"),
        ("DELEX s IFNE text", ""),
        ("DELEX s IFNE x", "DEL s"),
        ("DELEX none IFNE x", ""),
        ("DELEX s IFDEQ 0123456789abcdef", "-"),
        ("HSETEX h KEEPTTL FIELDS 1 f v", "HSET h f v"),
        ("HSETEX h FNX FIELDS 2 f v g w", "HSET h f v g w"),
        ("HSETEX h FXX FIELDS 1 f v", ""),
        ("HSETEX s NX FIELDS 1 f v", ""),
        ("HSETEX h XX FIELDS 1 f v", ""),
        ("HSETEX h NX FIELDS 1 fields 1", "HSET h fields 1"),
        ("HSETEX h PXAT 77 FIELDS 1 f v", "-"),
        ("HSETEX h FIELDS 2 f v", "-"),
        ("HSETEX h FIELDS 0", "-"),
        ("HGETDEL h FIELDS 2 f g", "HDEL h f g"),
        ("HGETDEL h FIELDS 3 f g", "-"),
        ("HGETEX h PERSIST FIELDS 1 f", ""),
        ("HGETEX h FIELDS 1 f", ""),
        ("HGETEX h EX 100 FIELDS 1 f", "-"),
        ("HPERSIST h FIELDS 1 f", ""),
        ("HPEXPIREAT h 77 FIELDS 1 f", "-"),
        ("HEXPIRE h 77 FIELDS 1 f", "-"),
        ("XDELEX k KEEPREF IDS 1 1-1", ""),
        ("XDELEX k IDS 1 1-1 ACKED", "-"),
        ("XDELEX k IDS 1 1-1", "-"),
        ("XDELEX k", "-"),
        ("XACKDEL k g DELREF IDS 1 1-1", ""),
        ("SPUBLISH channel message", ""),
        ("FUNCTION LOAD REPLACE code", ""),
        ("FUNCTION FLUSH", ""),
        ("CLUSTER SETSLOT 5 NODE x", ""),
        ("CLUSTER FLUSHSLOT 5", "-"),
        ("CLUSTER", "-"),
        ("SFLUSH 0 16383", "-"),
        ("RESTORE k 0 x", "="),
        ("GET s", "?"),
        ("ACOMMANDOFALONGNAMEINDEED s", "?"),
    ] {
        assert_eq!(becomes(&mut new_server(), line), expected, "{line}");
    }
}

/// What a translation gives is not translated again; and no arguments are such that it panics.
#[test]
fn any_arguments() {
    const WORDS: &[&str] = &[
        "s",
        "n",
        "timed",
        "none",
        "k",
        "1",
        "2",
        "0",
        "-1",
        "99999999999999999999",
        "1-1",
        "=",
        "~",
        "NX",
        "XX",
        "GT",
        "LT",
        "GET",
        "IFEQ",
        "IFNE",
        "KEEPTTL",
        "PX",
        "PXAT",
        "EX",
        "FIELDS",
        "f",
        "FNX",
        "FXX",
        "IDS",
        "KEEPREF",
        "DELREF",
        "ACKED",
        "LEFT",
        "MIN",
        "COUNT",
        "ENTRIESREAD",
        "ENTRIESADDED",
        "MAXDELETEDID",
        "LASTID",
        "MAXLEN",
        "LIMIT",
        "BYRADIUS",
        "BYBOX",
        "KM",
        "FROMMEMBER",
        "SETSLOT",
        "text",
        "CREATE",
        "MKSTREAM",
        "PERSIST",
    ];
    const NAMES: &[&str] = &[
        "SET",
        "EXPIRE",
        "EXPIREAT",
        "PEXPIRE",
        "PEXPIREAT",
        "XGROUP",
        "XSETID",
        "XCLAIM",
        "XADD",
        "XTRIM",
        "GEORADIUS",
        "GEORADIUSBYMEMBER",
        "GEOSEARCHSTORE",
        "BITOP",
        "RESTORE",
        "LMPOP",
        "BLMPOP",
        "ZMPOP",
        "BZMPOP",
        "MSETEX",
        "DELIFEQ",
        "DELEX",
        "HSETEX",
        "HGETDEL",
        "HGETEX",
        "HPERSIST",
        "HPEXPIREAT",
        "XDELEX",
        "XACKDEL",
        "SPUBLISH",
        "FUNCTION",
        "CLUSTER",
        "SFLUSH",
    ];
    let mut rng = Rng::new();
    let mut server = new_server();
    for _ in 0..20_000 {
        let n = rng.below(9);
        let mut args = vec![NAMES[rng.below(NAMES.len())]];
        args.extend((0..n).map(|_| WORDS[rng.below(WORDS.len())]));
        let argv = Argv::new(&args);
        let args = argv.as_args();
        let translate = translator(args.get(0)).unwrap();
        if let Commands(commands) = translate(&mut server, 0, &args) {
            for command in &commands {
                let args = command.as_args();
                if let Some(translate) = translator(args.get(0)) {
                    let again = translate(&mut server, 0, &args);
                    assert!(matches!(again, Same), "{args:?} {again:?}", args = command);
                }
            }
        }
    }
}
