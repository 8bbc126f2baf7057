//! Ours: commands are found in the query buffer, and the memory that they will want is asked for, before their turn comes.

use crate::args::ArgRange;
use crate::connection::*;
use crate::ds::dict::dictGetHash;
use crate::ds::siphash::siphash;
use crate::keyspace::{AggregateRef, ValueRef};
use crate::networking::*;
use crate::server::lookupCommand;
use crate::server_h::*;
use crate::sys::mem::prefetch_bytes;
use crate::types::t_hash::HashRef;
use crate::types::t_set::SetRef;
use crate::types::t_zset::ZsetRef;
use crate::util::short_eq;

/// How many commands of a client are parsed before the first of them runs: enough for memory to come meanwhile, few enough for
/// all of it to be in the cache still. A pipeline of 100 is four times as many.
pub(crate) const PARSE_AHEAD: usize = 25;
/// How many clients are read before the first has its turn.
pub(crate) const READ_AHEAD: usize = 16;
/// The work space of the parser, kept between calls.
#[derive(Default)]
pub(crate) struct InputScratch {
    /// Where the arguments lie in the query buffer, those of one command after those of another.
    pub ranges: Vec<ArgRange>,
    /// The commands that were found.
    pub batch: Vec<ParsedCommand>,
}

// ANCHOR: ParsedCommand
/// A command found by `parseAhead`.
#[derive(Copy, Clone)]
pub(crate) struct ParsedCommand {
    /// Where it lies in the query buffer.
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Its first argument in the list of places, their number, and the sum of their lengths.
    pub(crate) first: usize,
    pub(crate) argc: usize,
    pub(crate) argv_len_sum: usize,
    pub(crate) found: FoundAhead,
}
// ANCHOR_END: ParsedCommand

/// What a look at a command's name and first argument tells before it runs. Nothing that a command does can make it untrue:
/// names are only given at startup, and all dbs share one seed.
#[derive(Copy, Clone, Default)]
pub struct FoundAhead {
    pub(crate) cmd: Option<CommandId>,
    /// The keyspace hash of `argv[1]`, if that is a key.
    pub(crate) key_hash: Option<u64>,
}

/// The limits under which commands were parsed ahead. When they are others, so may be the result.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(crate) struct ParseLimits {
    multibulklen: i64,
    bulklen: i64,
}

impl ParseLimits {
    #[inline(always)]
    pub(crate) fn of(server: &Server, client: &Client) -> ParseLimits {
        let mut limits =
            ParseLimits { multibulklen: MAX_MULTIBULK_LEN, bulklen: server.proto_max_bulk_len };
        if client.flags & CLIENT_MASTER != 0 {
            limits.bulklen = i64::MAX;
        }
        if !client.authenticated && !defaultUserIsOpen(server) {
            limits.multibulklen = UNAUTHENTICATED_MULTIBULK_LEN;
            limits.bulklen = limits.bulklen.min(UNAUTHENTICATED_BULK_LEN);
        }
        limits
    }
}

/// The number in a header line at `pos`, and where the next line begins. `None`: the line is not complete, or not exactly as we
/// would write it.
#[inline(always)]
pub(crate) fn parseHeader(qb: &[u8], pos: usize, prefix: u8) -> Option<(i64, usize)> {
    let rest = qb.get(pos..)?;
    // Nearly every number here has one digit or two, the first of two being no zero.
    if let Some(&[first, a, b, c, d]) = rest.first_chunk::<5>()
        && first == prefix
    {
        let (tens, ones) = (a.wrapping_sub(b'0'), b.wrapping_sub(b'0'));
        if [b, c] == *b"\r\n" && tens <= 9 {
            return Some((i64::from(tens), pos + 4));
        }
        if [c, d] == *b"\r\n" && (1..=9).contains(&tens) && ones <= 9 {
            return Some((i64::from(tens) * 10 + i64::from(ones), pos + 5));
        }
    }
    let mut digits = rest.iter();
    if *digits.next()? != prefix {
        return None;
    }
    let mut n = i64::from(digits.next()?.wrapping_sub(b'0'));
    if n > 9 {
        return None;
    }
    loop {
        let byte = *digits.next()?;
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            if byte != b'\r' || *digits.next()? != b'\n' {
                return None;
            }
            return Some((n, qb.len() - digits.len()));
        }
        // No zero in front, and nothing near an overflow.
        if n == 0 || n > 999_999_999 {
            return None;
        }
        n = n * 10 + i64::from(digit);
    }
}

/// Parses one plain and complete multibulk command at `pos`, and adds its arguments to `args`. Returns where it ends and the sum
/// of the lengths of its arguments. `None`: there is no such thing here; `args` is as before.
#[inline(always)]
pub(crate) fn parseCommand(
    qb: &[u8],
    pos: usize,
    limits: &ParseLimits,
    args: &mut Vec<ArgRange>,
) -> Option<(usize, usize)> {
    let before = args.len();
    let parsed = (|| {
        let (argc, mut pos) = parseHeader(qb, pos, b'*')?;
        if argc == 0 || argc > limits.multibulklen {
            return None;
        }
        let mut argv_len_sum = 0;
        for _ in 0..argc {
            let (len, start) = parseHeader(qb, pos, b'$')?;
            if len > limits.bulklen {
                return None;
            }
            let len = len as usize;
            pos = start + len + 2;
            if qb.get(start + len..pos)? != b"\r\n" {
                return None;
            }
            args.push(ArgRange { start, len });
            argv_len_sum += len;
        }
        Some((pos, argv_len_sum))
    })();
    if parsed.is_none() {
        args.truncate(before);
    }
    parsed
}

/// What was looked up last for a batch, of which commands are mostly of one kind, and often about one key.
#[derive(Default)]
pub(crate) struct FoundLast<'a> {
    name: &'a [u8],
    pub(crate) cmd: Option<CommandId>,
    key: Option<(&'a [u8], u64)>,
}

/// Looks up a command, and hashes its first argument if that is a key.
#[inline]
pub(crate) fn findAhead<'a>(
    server: &Server,
    db: usize,
    qb: &'a [u8],
    args: &[ArgRange],
    last: &mut FoundLast<'a>,
) -> FoundAhead {
    let [name, key, ..] = args else { return FoundAhead::default() };
    let name = &qb[name.start..name.start + name.len];
    if !short_eq(last.name, name) {
        (last.name, last.cmd) = (name, lookupCommand(server, name));
    }
    let cmd = last.cmd;
    let key_hash = match cmd {
        Some(cmd) if server.commands[cmd].firstkey == 1 => {
            let key = &qb[key.start..key.start + key.len];
            match last.key {
                Some((k, hash)) if short_eq(k, key) => Some(hash),
                _ => {
                    let hash = server.db[db].dict.hash(key);
                    last.key = Some((key, hash));
                    Some(hash)
                }
            }
        }
        _ => None,
    };
    FoundAhead { cmd, key_hash }
}

/// Finds the next commands in `qb`, up to `PARSE_AHEAD`, and asks for the memory they will want. Returns where it stopped. Nothing
/// is decided by this, and nothing changes but `scratch`. `known` is what is known already of one at the
/// start of the buffer.
pub(crate) fn parseAhead(
    server: &Server,
    c: ClientId,
    qb: &[u8],
    limits: &ParseLimits,
    known: FoundAhead,
    scratch: &mut InputScratch,
) -> usize {
    let InputScratch { ranges, batch } = scratch;
    ranges.clear();
    batch.clear();
    let db = server[c].db;
    let mut last = FoundLast::default();
    let mut pos = server[c].qb_pos;
    while batch.len() < PARSE_AHEAD {
        let first = ranges.len();
        let Some((end, argv_len_sum)) = parseCommand(qb, pos, limits, ranges) else { break };
        let args = &ranges[first..];
        let found = if pos == 0 && known.cmd.is_some() {
            known
        } else {
            findAhead(server, db, qb, args, &mut last)
        };
        let argc = args.len();
        batch.push(ParsedCommand { start: pos, end, first, argc, argv_len_sum, found });
        pos = end;
    }

    // Each stage needs what the one before has asked for, so they go over all commands in turn.
    if batch.len() > 1 {
        let mut last = None;
        let keys = batch.iter().filter_map(move |x| {
            let hash = x.found.key_hash?;
            (last.replace(hash) != Some(hash)).then_some((db, hash))
        });
        prefetchKeys(server, keys);
        prefetchMembers(server, db, qb, ranges, batch);
    }
    pos
}

/// Asks for what looking up these keys (db, hash) will touch.
pub(crate) fn prefetchKeys(server: &Server, keys: impl Iterator<Item = (usize, u64)> + Clone) {
    for (db, hash) in keys.clone() {
        server.db[db].dict.prefetch_bucket(hash);
    }
    for (db, hash) in keys.clone() {
        server.db[db].dict.prefetch_entry(hash);
    }
    for (db, hash) in keys {
        server.db[db].dict.prefetch_value(hash);
    }
}

/// Asks for what the commands will touch within lists, sets, hashes and sorted sets. Large ones but for lists are tables themselves:
/// the bucket of the member each command names, then the member. Of lists it is the ends, and of others all that a search
/// passes.
pub(crate) fn prefetchMembers(
    server: &Server,
    db: usize,
    qb: &[u8],
    ranges: &[ArgRange],
    batch: &[ParsedCommand],
) {
    let mut members = [None; PARSE_AHEAD];
    // Commands of a batch are often about one value.
    let (mut last_key, mut value) = (None, None);
    for (member, x) in members.iter_mut().zip(batch) {
        let args = &ranges[x.first..x.first + x.argc];
        if x.found.key_hash != last_key {
            last_key = x.found.key_hash;
            value = findAggregate(server, db, qb, args, x.found);
            match value {
                Some(AggregateRef::Hash(HashRef::Ziplist(zl))) => prefetch_bytes(zl),
                Some(AggregateRef::Zset(ZsetRef::Ziplist(zl))) => prefetch_bytes(zl),
                Some(AggregateRef::List(ql)) => {
                    ql.prefetch();
                    *member = value.map(|value| (value, 0));
                    continue;
                }
                _ => {}
            }
        }
        *member = value.and_then(|value| prefetchMemberBucket(value, qb, args));
    }
    for (value, hash) in members.into_iter().flatten() {
        match value {
            AggregateRef::Set(SetRef::Ht(ht)) => ht.raw().prefetch_payload(hash),
            AggregateRef::Hash(HashRef::Ht(ht)) => ht.raw().prefetch_payload(hash),
            AggregateRef::Zset(ZsetRef::Skiplist(zs)) => zs.prefetch_node(hash),
            AggregateRef::List(ql) => ql.prefetch_ends(),
            _ => {}
        }
    }
}

/// The value that a command is about, if it is a command on values with members and there is such a value.
pub(crate) fn findAggregate<'a>(
    server: &'a Server,
    db: usize,
    qb: &[u8],
    args: &[ArgRange],
    found: FoundAhead,
) -> Option<AggregateRef<'a>> {
    const HAVE_MEMBERS: u64 =
        CMD_CATEGORY_LIST | CMD_CATEGORY_SET | CMD_CATEGORY_HASH | CMD_CATEGORY_SORTEDSET;
    let key = args.get(1)?;
    if server.commands[found.cmd?].flags & HAVE_MEMBERS == 0 {
        return None;
    }
    let dict = &server.db[db].dict;
    let o = dict.find_hashed(&qb[key.start..key.start + key.len], found.key_hash?)?;
    match dict.get(o) {
        ValueRef::Aggregate(value) => Some(value),
        _ => None,
    }
}

/// Asks for the bucket of the member that a command names; returns the value with the member's hash. `None`: the value is
/// no table, or no member is named.
pub(crate) fn prefetchMemberBucket<'a>(
    value: AggregateRef<'a>,
    qb: &[u8],
    args: &[ArgRange],
) -> Option<(AggregateRef<'a>, u64)> {
    let ([_, _, first, ..], Some(last)) = (args, args.last()) else { return None };
    let arg = |r: &ArgRange| &qb[r.start..r.start + r.len];
    let (table, hash) = match value {
        AggregateRef::Set(SetRef::Ht(ht)) => (ht.raw(), dictGetHash(ht, arg(first))),
        AggregateRef::Hash(HashRef::Ht(ht)) => (ht.raw(), dictGetHash(ht, arg(first))),
        // Its score stands before the member.
        AggregateRef::Zset(ZsetRef::Skiplist(zs)) => (&zs.dict, siphash(arg(last), &zs.seed)),
        _ => return None,
    };
    table.prefetch_bucket(hash);
    Some((value, hash))
}

/// Reads other clients that have their turn after this one's, and asks for the memory that the first command of each will want, and
/// that of client `c`. Their turn comes as it would have, and finds the bytes in the buffer.
pub(crate) fn readAheadOfTurn(server: &mut Server, c: ClientId) {
    let mut keys = [(0, 0); READ_AHEAD];
    let mut nkeys = 0;
    let mut nread = 0;
    let mut at = 0;
    while nread < READ_AHEAD - 1 {
        let Some((fd, word)) = server.net.el.aeNextFired(&mut at, connSocketEventHandler) else {
            break;
        };
        let conn = ConnId::from_u64(word);
        if !connReadHandlerIs(&server.net, conn, readQueryFromClient)
            || connGetState(&server.net, conn) != CONN_STATE_CONNECTED
        {
            continue;
        }
        // Only those in the middle of nothing.
        let other = ClientId::from_u64(connGetPrivateData(&server.net, conn));
        let Some(client) = server.clients.get(other) else { continue };
        if client.flags & (CLIENT_MASTER | CLIENT_SLAVE | NOT_NOW) != 0
            || client.querybuf.capacity() != 0
            || client.qb_out != 0
            || client.reqtype != 0
        {
            continue;
        }
        let mut querybuf = lendReadBuffer(server);
        match connReadAppend(&mut server.net, conn, &mut querybuf, PROTO_IOBUF_LEN) {
            Ok(n) if n > 0 => {
                server.stat_total_reads_processed += 1;
                server.net.el.aeHoldFired(fd);
                let found = firstKey(server, other, &querybuf);
                let client = &mut server.clients[other];
                if let Some(hash) = found.key_hash {
                    keys[nkeys] = (client.db, hash);
                    nkeys += 1;
                }
                client.querybuf = querybuf;
                client.read_ahead = n;
                client.read_ahead_found = found;
                nread += 1;
            }
            // The end, or an error: it will be found again when its turn comes.
            _ => releaseReadBuffer(server, querybuf),
        }
    }
    if nkeys > 0 {
        let client = &server.clients[c];
        if client.reqtype == 0 && client.flags & CLIENT_MASTER == 0 {
            let found = firstKey(server, c, &client.querybuf);
            if let Some(hash) = found.key_hash {
                keys[nkeys] = (client.db, hash);
                nkeys += 1;
            }
            server[c].read_ahead_found = found;
        }
        prefetchKeys(server, keys[..nkeys].iter().copied());
    }
}

/// What can be known of the first command in `qb`, the client's query buffer, if it is a plain command with a key.
pub(crate) fn firstKey(server: &Server, c: ClientId, qb: &[u8]) -> FoundAhead {
    let arg = |pos| {
        let (len, start) = parseHeader(qb, pos, b'$')?;
        let range = ArgRange { start, len: len as usize };
        qb.get(start..start + range.len)?;
        Some(range)
    };
    // Name and key are enough.
    let args = || {
        let (_, pos) = parseHeader(qb, 0, b'*').filter(|(argc, _)| *argc >= 2)?;
        let name = arg(pos)?;
        Some([name, arg(name.start + name.len + 2)?])
    };
    match args() {
        Some(args) => findAhead(server, server[c].db, qb, &args, &mut FoundLast::default()),
        None => FoundAhead::default(),
    }
}
