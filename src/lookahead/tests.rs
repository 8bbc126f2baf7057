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
        parse_command(&qb, 0, &limits, &mut ranges).unwrap();
        let (commands, dict) = (&server.commands, &server.db[0].dict);
        let mut command = NamedCommand::default();
        let mut last = LastLookup { command: &mut command, key: b"", hash: 0 };
        let found = prefetch_command(commands, dict, &qb, &ranges, &mut last);
        let entry = dict.prefetch_entry(found.key_hash?)?;
        let value = aggregate_of(commands, entry, &qb, &ranges, found.cmd)?;
        let (_, hash) = prefetch_member_bucket(value, &qb, &ranges)?;
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
    let mut lookahead = Lookahead::begin(server, c);
    let mut found = 0;
    while server[c].input.qb_pos < qb.len() && lookahead.has_next(server, c, &qb) {
        lookahead.take_next(server, c, &qb);
        found += 1;
    }
    assert_eq!((found, server[c].input.qb_pos), (6, qb.len()));
}

/// A command's name is not taken for another one where the buffer ends soon behind it.
#[test]
fn names_near_the_end_of_the_buffer() {
    let mut f = Fixture::new();
    let (server, c) = (&mut f.server, f.c);
    crate::server::populateCommandTable(&mut server.commands);
    server.commands.rename(b"set", b"s").unwrap();
    server.commands.rename(b"get", b"g").unwrap();
    let mut last = NamedCommand::default();
    for name in ["s", "g"] {
        let qb = format!("*2\r\n$1\r\n{name}\r\n$0\r\n");
        let found = prefetch_first_command(server, c, qb.as_bytes(), &mut last).cmd;
        let named = server.commands.lookup(name.as_bytes());
        assert!(found.is_none() || found == named, "{name}");
    }
}
