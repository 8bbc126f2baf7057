use super::*;
use crate::args::Argv;
use crate::db::dbAdd;
use crate::ds::quicklist::{quicklistNew, quicklistPushTail};
use crate::networking::tests::Fixture;
use crate::types::t_hash::{Hash, HashLimits, createHashObject, hashTypeSet};
use crate::types::t_set::{Set, SetLimits, createIntsetObject, setTypeAdd};
use crate::types::t_zset::{ZADD_IN_NONE, ZsetLimits, createZsetObject, zsetAdd};

#[test]
fn members_are_looked_for_ahead_in_tables_only() {
    let mut f = Fixture::new();
    let (server, c) = (&mut f.server, f.c);
    crate::server::populateCommandTable(&mut server.commands);
    let mut set = Set::Ht(Box::default());
    setTypeAdd(&mut set, b"m", SetLimits::of(server));
    dbAdd(server, 0, b"set", set);
    dbAdd(server, 0, b"intset", createIntsetObject());
    let mut hash = Hash::Ht(Box::default());
    hashTypeSet(&mut hash, b"m", b"value", HashLimits::of(server));
    dbAdd(server, 0, b"hash", hash);
    dbAdd(server, 0, b"small hash", createHashObject());
    let mut zs = createZsetObject();
    zsetAdd(&mut zs, 1.0, b"m", ZADD_IN_NONE, &ZsetLimits::of(server)).unwrap();
    dbAdd(server, 0, b"zset", zs);
    dbAdd(server, 0, b"string", &b"value"[..]);

    // Whether the member that is looked for is the one that is there.
    let look = |command: &[&str]| {
        let argv = Argv::new(command);
        let qb = argv.as_args().raw().unwrap().to_vec();
        let (mut ranges, limits) = (Vec::new(), ParseLimits::of(server, &server[c]));
        let mut command = NamedCommand::default();
        let (args, ..) = parse_command(&qb, 0, &limits, &mut ranges, 0, &command).unwrap();
        let argc = args.len();
        ranges.truncate(argc);
        let (commands, dict) = (&server.commands, &server.db[0].dict);
        command.become_command(commands, &qb, &ranges);
        let mut last = LastLookup { command: &mut command, key: b"", hash: 0 };
        let mut found = hash_key_of_command(dict, &qb, &ranges, &mut last);
        dict.prefetch_entry(&mut found.key);
        let entry = dict.guessed(&found.key)?;
        let value = aggregate_of(commands, entry, &qb, &ranges, found.cmd)?;
        let (members, mut place) = (members_of(value)?, Within::Nothing);
        hash_member(&members, &mut found, Args::new(&qb, &ranges, None), &mut place);
        let hash = found.member?.hash;
        let mut candidates = 0;
        let count = |_| candidates += 1;
        match value {
            AggregateRef::Set(SetRef::Ht(ht)) => ht.raw().candidates(hash, count),
            AggregateRef::Hash(HashRef::Ht(ht)) => ht.raw().candidates(hash, count),
            AggregateRef::Zset(ZsetRef::Skiplist(zs)) => zs.dict.candidates(hash, count),
            _ => panic!("no table"),
        }
        Some(candidates == 1)
    };
    let lookups: [&[&str]; 6] = [
        &["SADD", "set", "m"],
        &["SREM", "set", "m", "n"],
        &["HGET", "hash", "m"],
        &["HSET", "hash", "m", "x", "n", "x"],
        &["ZSCORE", "zset", "m"],
        &["ZADD", "zset", "NX", "1", "m"],
    ];
    for command in lookups {
        assert_eq!(look(command), Some(true), "{command:?}");
    }
    assert_eq!(look(&["SISMEMBER", "set", "another one"]), Some(false));
    for command in [
        &["SADD", "intset", "1"][..],
        &["HGET", "small hash", "m"],
        &["HGET", "string", "m"],
        &["HGET", "missing", "m"],
        &["HGETALL", "hash"],
        &["APPEND", "set", "m"],
        &["NOSUCH", "set", "m"],
    ] {
        assert_eq!(look(command), None, "{command:?}");
    }

    // A batch about values of all kinds.
    dbAdd(server, 0, b"list", quicklistNew(-2, 0));
    let mut list = quicklistNew(-2, 0);
    quicklistPushTail(&mut list, b"value");
    dbAdd(server, 0, b"long list", list);
    let mut qb = Vec::new();
    for command in [["LPUSH", "list", "x"], ["RPUSH", "long list", "x"], ["SADD", "set", "m"]]
        .into_iter()
        .chain([["ZADD", "zset", "m"], ["HGET", "small hash", "m"], ["LPOP", "missing", "1"]])
    {
        qb.extend_from_slice(Argv::new(&command).as_args().raw().unwrap());
    }
    let mut lookahead = Lookahead::begin(&mut server.clients[c], &mut server.input_scratch);
    let mut found = 0;
    assert!(lookahead.search(server, c, &qb));
    while lookahead.next(server, c, &qb).is_some() {
        found += 1;
    }
    assert_eq!((found, server[c].input.qb_pos), (6, qb.len()));
}

/// A command's name is not taken for another one where the buffer ends soon behind it, and neither
/// is an empty or a long one.
#[test]
fn names_near_the_end_of_the_buffer() {
    let mut f = Fixture::new();
    let (server, c) = (&mut f.server, f.c);
    crate::server::populateCommandTable(&mut server.commands);
    server.commands.rename(b"set", b"s").unwrap();
    server.commands.rename(b"get", b"g").unwrap();
    let short = ["s", "g", "", "ping", "PING", "pin", "zrangebyscore", "", "zrangebylex", "x"];
    let long = ["sismember", "sismembes", "sismembe", "expireat", "pexpireat", "georadius_ro"];
    let longer = ["zrevrangebyscore", "zrevrangebyscorf", "georadiusbymember", "georadiusbymembes"];
    let names = short.into_iter().chain(long).chain(longer);
    for (name, key) in names.flat_map(|name| [(name, ""), (name, "$0\r\n\r\n")]) {
        let argc = if key.is_empty() { 1 } else { 2 };
        let qb = format!("*{argc}\r\n${}\r\n{name}\r\n{key}", name.len());
        server[c].querybuf = qb.into_bytes();
        look_ahead_of_clients(server, c);
        let lookahead = server[c].input.lookahead.take().unwrap();
        let [found] = &lookahead.batch[..] else { panic!("{name} is a whole command") };
        assert_eq!(found.known.cmd, server.commands.lookup(name.as_bytes()), "{name}");
    }
}

/// Clients that were read ahead are looked at together with the one that has its turn, until there are
/// enough commands; but not one that is gone, has had its turn, or is in the middle of something.
#[test]
fn clients_are_looked_at_together() {
    let mut f = Fixture::new();
    let (server, c) = (&mut f.server, f.c);
    crate::server::populateCommandTable(&mut server.commands);
    for key in ["a", "b"] {
        let mut set = Set::Ht(Box::default());
        setTypeAdd(&mut set, b"m", SetLimits::of(server));
        dbAdd(server, 0, key.as_bytes(), set);
    }
    let command = b"*3\r\n$4\r\nsadd\r\n$1\r\na\r\n$1\r\nm\r\n";
    let mut clients = vec![c];
    server.input_scratch.waiting.push(c);
    for commands in [1, 3, 2, 2, 2, 20, 1] {
        let other = createClient(server, None);
        server[other].querybuf = command.repeat(commands);
        server[other].input.read_ahead = command.len() * commands;
        server.input_scratch.waiting.push(other);
        clients.push(other);
    }
    server[c].querybuf = command.repeat(9);
    freeClient(server, clients[1]);
    server[clients[3]].input.read_ahead = 0;
    server[clients[4]].reqtype = PROTO_REQ_MULTIBULK;
    look_ahead_of_clients(server, c);
    for (i, found) in
        [(0, Some(9)), (2, Some(3)), (3, None), (4, None), (5, Some(2)), (6, Some(20))]
    {
        let client = &server[clients[i]];
        let batch = client.input.lookahead.as_ref().map(|x| &x.batch);
        assert_eq!(batch.map(Vec::len), found, "client {i}");
        assert!(batch.is_none_or(|x| x.iter().all(|x| x.known.member.is_some())), "client {i}");
        assert_eq!(client.querybuf.len() % command.len(), 0);
        assert!(!client.querybuf.is_empty());
    }
    assert!(server[clients[7]].input.lookahead.is_none());
    assert!(server.input_scratch.others_wait());
}

/// A command that begins as the last one did is taken for the same, and one that differs in any
/// byte, in its number of arguments, or in what stands before or behind its name is not.
#[test]
fn commands_that_begin_alike() {
    let mut f = Fixture::new();
    let (server, c) = (&mut f.server, f.c);
    crate::server::populateCommandTable(&mut server.commands);
    let limits = ParseLimits::of(server, &server[c]);
    let names = [
        "get",
        "GET",
        "set",
        "ge",
        "g",
        "append",
        "expire",
        "zincrby",
        "unwatch",
        "quit",
        "sismember",
    ];
    let mut forms: Vec<Vec<u8>> = Vec::new();
    for (name, argc) in names.iter().flat_map(|name| (1..12).map(move |argc| (name, argc))) {
        let args: Vec<&str> = std::iter::once(*name).chain(["x"; 11]).take(argc).collect();
        forms.push(Argv::new(&args).as_args().raw().unwrap().to_vec());
    }
    // What is no command: other bytes before the name, behind it, and in the place of all.
    let get = b"*2\r\n$3\r\nget\r\n$1\r\nk\r\n";
    for i in 0..get.len() {
        let mut bytes = get.to_vec();
        bytes[i] ^= 1;
        forms.push(bytes);
    }
    forms.push(vec![0; 32]);
    forms.push([&[0; 8][..], b"zincrby\r\n$1\r\nk\r\n"].concat());
    for first in &forms {
        for second in &forms {
            let find = |qb: &[u8]| {
                let mut lookahead = Lookahead { limits, ..Lookahead::default() };
                let mut last = NamedCommand::default();
                let dict = &server.db[0].dict;
                lookahead.find_commands(&server.commands, dict, &mut last, qb, 0);
                let found = lookahead.batch.iter();
                let args = |x: &ParsedCommand| lookahead.args[x.first..][..x.argc].to_vec();
                found.map(|x| (x.end, x.known.cmd, x.argv_len_sum, args(x))).collect::<Vec<_>>()
            };
            let (alone, both) = (find(second), find(&[&first[..], second].concat()));
            let Some(behind) = both.get(1..) else { continue };
            let moved = alone.into_iter().map(|(end, cmd, sum, args)| {
                let at = first.len();
                let moved = |r: ArgRange| ArgRange { start: r.start + at, ..r };
                (end + at, cmd, sum, args.into_iter().map(moved).collect())
            });
            assert_eq!(behind, moved.collect::<Vec<_>>(), "{first:?}, then {second:?}");
        }
    }
}

/// What is no plain and whole command is left to the C's parsers, wherever it is cut.
#[test]
fn headers_that_are_not_as_we_would_write_them() {
    for (line, n) in [
        ("$0\r\n", Some(0)),
        ("$9\r\n", Some(9)),
        ("$10\r\n", Some(10)),
        ("$99\r\nx", Some(99)),
        ("$100\r\n", Some(100)),
        ("$16384\r\nxxxxx", Some(16384)),
        ("$123456789\r\n", Some(123_456_789)),
        ("$1234567890\r\n", None),
        ("*1\r\n", None),
        ("$00\r\nxx", None),
        ("$01\r\nxx", None),
        ("$-1\r\nxx", None),
        ("$:\r\nxxx", None),
        ("$1:\r\nxx", None),
        ("$:1\r\nxx", None),
        ("$/\r\nxxx", None),
        ("$1\n\nxxx", None),
        ("$1\r\rxxx", None),
        ("$10\n\nxx", None),
        ("$10\r\rxx", None),
        ("$\r\nxxxx", None),
        ("$12345678901\r\n", None),
    ] {
        let parsed = parse_header(line.as_bytes(), b'$');
        let end_of_line = line.rfind('\n').unwrap_or(line.len() - 1);
        let behind = &line[end_of_line + 1..];
        assert_eq!(parsed, n.map(|n| (n, behind.as_bytes())), "{line:?}");
        for end in 0..end_of_line {
            assert_eq!(parse_header(&line.as_bytes()[..end], b'$'), None, "{line:?} up to {end}");
        }
    }
    // Lines with all bytes in the place of the digits, with little behind them, and much.
    for (tens, ones, rest) in (0..=u16::MAX).flat_map(|digits| {
        let [tens, ones] = digits.to_le_bytes();
        [(tens, ones, &b"x"[..]), (tens, ones, &b"xxxx"[..])]
    }) {
        let line = [&[b'$', tens, ones], &b"\r\n"[..], rest].concat();
        let digits = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
        let n = match digits {
            (1..=9, 0..=9) => Some(u32::from(digits.0) * 10 + u32::from(digits.1)),
            _ => None,
        };
        assert_eq!(parse_header(&line, b'$'), n.map(|n| (n, rest)), "{line:?}");
        let line = [&[b'$', ones], &b"\r\n"[..], rest].concat();
        let n = (digits.1 <= 9).then_some(u32::from(digits.1));
        assert_eq!(parse_header(&line, b'$'), n.map(|n| (n, rest)), "{line:?}");
    }
}
