//! `t_list.c`: lists.
//!
//! Read first: `pushGenericCommand`, `popGenericCommand`, then `blockingPopGenericCommand` with
//! `serveClientBlockedOnList`, which finishes what it began. Differs: a value goes from the list
//! into the reply, without an object in between. Who only reads (LRANGE, LINDEX, LPOS) leaves
//! compressed nodes as they are. An iterator is that of the quicklist; a copy of a list is
//! `quicklistDup`.

use crate::addReplyErrorFormat;
use crate::args::{Args, Argv};
use crate::blocked::blockForKeys;
use crate::db::*;
use crate::ds::quicklist::*;
use crate::ds::redisassert::assert_some;
use crate::ds::ziplist::ZiplistEntry;
use crate::keyspace::*;
use crate::networking::*;
use crate::notify::notifyKeyspaceEvent;
use crate::object::*;
use crate::server::{CommandSpec, command, propagate};
use crate::server_h::*;
use crate::sys::mem::Spare;
use crate::timeout::getTimeoutFromObjectOrReply;
use crate::util::{eq_ignore_case, string2ll};

/// The commands on lists.
#[rustfmt::skip]
pub const COMMANDS: &[CommandSpec] = {
    const FIRST: (i32, i32, i32) = (1, 1, 1);
    const BUT_LAST: (i32, i32, i32) = (1, -2, 1);
    const BOTH: (i32, i32, i32) = (1, 2, 1);
    &[
        command("rpush", rpushCommand, -3, "write use-memory fast @list", FIRST),
        command("lpush", lpushCommand, -3, "write use-memory fast @list", FIRST),
        command("rpushx", rpushxCommand, -3, "write use-memory fast @list", FIRST),
        command("lpushx", lpushxCommand, -3, "write use-memory fast @list", FIRST),
        command("linsert", linsertCommand, 5, "write use-memory @list", FIRST),
        command("rpop", rpopCommand, -2, "write fast @list", FIRST),
        command("lpop", lpopCommand, -2, "write fast @list", FIRST),
        command("brpop", brpopCommand, -3, "write no-script @list @blocking", BUT_LAST),
        command("brpoplpush", brpoplpushCommand, 4, "write use-memory no-script @list @blocking", BOTH),
        command("blmove", blmoveCommand, 6, "write use-memory no-script @list @blocking", BOTH),
        command("blpop", blpopCommand, -3, "write no-script @list @blocking", BUT_LAST),
        command("llen", llenCommand, 2, "read-only fast @list", FIRST),
        command("lindex", lindexCommand, 3, "read-only @list", FIRST),
        command("lset", lsetCommand, 4, "write use-memory @list", FIRST),
        command("lrange", lrangeCommand, 4, "read-only @list", FIRST),
        command("ltrim", ltrimCommand, 4, "write @list", FIRST),
        command("lpos", lposCommand, -3, "read-only @list", FIRST),
        command("lrem", lremCommand, 4, "write @list", FIRST),
        command("rpoplpush", rpoplpushCommand, 3, "write use-memory @list", BOTH),
        command("lmove", lmoveCommand, 5, "write use-memory @list", BOTH),
    ]
};

/// Longer values do not fit into a ziplist, whose lengths have 32 bits.
const LIST_MAX_ITEM_SIZE: usize = (1 << 32) - 1024;

// -----------------------------------------------------------------------------
// List API
// -----------------------------------------------------------------------------

fn quicklist_end(where_: i32) -> i32 {
    if where_ == LIST_HEAD { QUICKLIST_HEAD } else { QUICKLIST_TAIL }
}

/// Pushes a value at an end (`LIST_HEAD`, `LIST_TAIL`).
#[inline]
pub fn listTypePush(subject: &mut Quicklist, value: &[u8], where_: i32) {
    quicklistPush(subject, value, quicklist_end(where_));
}

/// Pops the value at an end; `None` if the list is empty.
pub fn listTypePop(subject: &mut Quicklist, where_: i32) -> Option<Vec<u8>> {
    quicklistPop(subject, quicklist_end(where_))
}

/// Returns the number of values.
#[inline]
pub fn listTypeLength(subject: &Quicklist) -> usize {
    quicklistCount(subject)
}

/// Returns a value of a list as a value of the keyspace.
#[inline]
fn value_of_entry(entry: ZiplistEntry) -> ValueRef {
    match entry {
        ZiplistEntry::Str(s) => ValueRef::Str(s),
        ZiplistEntry::Int(n) => ValueRef::Int(n),
    }
}

// -----------------------------------------------------------------------------
// List Commands
// -----------------------------------------------------------------------------

/// Refuses a value that is too large for a list; true if the error was sent.
#[inline]
fn reject_large_element(server: &mut Server, c: ClientId, value: &[u8]) -> bool {
    let too_large = value.len() > LIST_MAX_ITEM_SIZE;
    if too_large {
        addReplyError(server, c, b"Element too large");
    }
    too_large
}

/// Returns the client's list with this name, to change; the reply for a missing key is `reply`.
/// `None`: there is none, and a reply was sent.
fn lookup_list_write_or_reply(
    server: &mut Server,
    c: ClientId,
    key: &[u8],
    reply: Shared,
) -> Option<KeyRef> {
    let o = lookupKeyWriteOrReply(server, c, key, reply)?;
    (!checkType(server, c, o, OBJ_LIST)).then_some(o)
}

/// Returns the client's list with this name, to read; the reply for a missing key is `reply`.
/// `None`: there is none, and a reply was sent.
fn lookup_list_read_or_reply(
    server: &mut Server,
    c: ClientId,
    key: &[u8],
    reply: Shared,
) -> Option<KeyRef> {
    let o = lookupKeyReadOrReply(server, c, key, reply)?;
    (!checkType(server, c, o, OBJ_LIST)).then_some(o)
}

/// Returns a new key with an empty list, with the options of the configuration.
fn create_list_key(server: &mut Server, db: usize, key: &[u8]) -> KeyRef {
    let list = quicklistNew(server.list_max_ziplist_size, server.list_compress_depth);
    dbAdd(server, db, key, list)
}

/// Implements LPUSH, RPUSH, LPUSHX and RPUSHX. `xx`: only if the key exists.
#[inline(always)]
fn pushGenericCommand(server: &mut Server, c: ClientId, argv: &Args, where_: i32, xx: bool) {
    // No argument is longer than the buffer that they lie in.
    if argv.buffer_len() > LIST_MAX_ITEM_SIZE
        && argv.iter().skip(2).any(|value| reject_large_element(server, c, value))
    {
        return;
    }

    let (db, key) = (server[c].db, argv.get(1));
    let lobj = match lookupKeyWrite(server, db, key) {
        Some(o) if checkType(server, c, o, OBJ_LIST) => return,
        Some(o) => o,
        None if xx => {
            addReply(server, c, shared::czero);
            return;
        }
        None => create_list_key(server, db, key),
    };

    let list = server.db[db].dict.list_mut(lobj);
    for j in 2..argv.len() {
        listTypePush(list, argv.get(j), where_);
    }
    let len = listTypeLength(list);
    server.dirty += argv.len() as i64 - 2;
    addReplyLongLong(server, c, len as i64);

    let event = if where_ == LIST_HEAD { "lpush" } else { "rpush" };
    signalModifiedKey(server, Some(c), db, key);
    notifyKeyspaceEvent(server, NOTIFY_LIST, event, key, db);
}

/// LPUSH key element [element ...]
pub fn lpushCommand(server: &mut Server, c: ClientId, argv: &Args) {
    pushGenericCommand(server, c, argv, LIST_HEAD, false);
}

/// RPUSH key element [element ...]
pub fn rpushCommand(server: &mut Server, c: ClientId, argv: &Args) {
    pushGenericCommand(server, c, argv, LIST_TAIL, false);
}

/// LPUSHX key element [element ...]
pub fn lpushxCommand(server: &mut Server, c: ClientId, argv: &Args) {
    pushGenericCommand(server, c, argv, LIST_HEAD, true);
}

/// RPUSHX key element [element ...]
pub fn rpushxCommand(server: &mut Server, c: ClientId, argv: &Args) {
    pushGenericCommand(server, c, argv, LIST_TAIL, true);
}

/// LINSERT key BEFORE|AFTER pivot element
pub fn linsertCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let where_ = if eq_ignore_case(&argv[2], b"after") {
        LIST_TAIL
    } else if eq_ignore_case(&argv[2], b"before") {
        LIST_HEAD
    } else {
        addReplyErrorObject(server, c, shared::syntaxerr);
        return;
    };
    let (db, key, pivot, value) = (server[c].db, argv.get(1), argv.get(3), argv.get(4));
    if reject_large_element(server, c, value) {
        return;
    }
    let Some(subject) = lookup_list_write_or_reply(server, c, key, shared::czero) else { return };

    // Seek pivot from head to tail
    let list = server.db[db].dict.list_mut(subject);
    let mut iter = quicklistGetIterator(list, AL_START_HEAD);
    let found = loop {
        match quicklistNext(&mut iter, list) {
            Some(entry) if quicklistCompare(list, &entry, pivot) => break Some(entry),
            Some(_) => {}
            None => break None,
        }
    };
    let Some(entry) = found else {
        addReplyLongLong(server, c, -1);
        return;
    };
    // The iterator is not released: the insertion packs the node again, or splits it.
    if where_ == LIST_TAIL {
        quicklistInsertAfter(list, &entry, value);
    } else {
        quicklistInsertBefore(list, &entry, value);
    }
    let len = listTypeLength(list);
    signalModifiedKey(server, Some(c), db, key);
    notifyKeyspaceEvent(server, NOTIFY_LIST, "linsert", key, db);
    server.dirty += 1;
    addReplyLongLong(server, c, len as i64);
}

/// LLEN key
pub fn llenCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Some(o) = lookup_list_read_or_reply(server, c, &argv[1], shared::czero) else { return };
    let db = server[c].db;
    let len = listTypeLength(server.db[db].dict.list(o));
    addReplyLongLong(server, c, len as i64);
}

/// LINDEX key index
pub fn lindexCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Some(o) = lookup_list_read_or_reply(server, c, &argv[1], shared::null) else { return };
    let Ok(index) = getLongFromObjectOrReply(server, c, &argv[2], None) else { return };
    let db = server[c].db;
    let Server { clients, db: dbs, .. } = server;
    match quicklist_read(dbs[db].dict.list(o), AL_START_HEAD, index).read() {
        Some(value) => addReplyBulk(clients, c, value_of_entry(value)),
        None => addReplyNull(clients, c),
    }
}

/// LSET key index element
pub fn lsetCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (db, key, value) = (server[c].db, argv.get(1), argv.get(3));
    let Some(o) = lookup_list_write_or_reply(server, c, key, shared::nokeyerr) else { return };
    if reject_large_element(server, c, value) {
        return;
    }
    let Ok(index) = getLongFromObjectOrReply(server, c, &argv[2], None) else { return };
    if !quicklistReplaceAtIndex(server.db[db].dict.list_mut(o), index, value) {
        addReplyErrorObject(server, c, shared::outofrangeerr);
        return;
    }
    addReply(server, c, shared::ok);
    signalModifiedKey(server, Some(c), db, key);
    notifyKeyspaceEvent(server, NOTIFY_LIST, "lset", key, db);
    server.dirty += 1;
}

/// Returns a range with both ends included and negative numbers counted from the end, as places in
/// a list of `llen` values: first and last. `None`: it is empty.
fn clamp_range(mut start: i64, mut end: i64, llen: i64) -> Option<(i64, i64)> {
    if start < 0 {
        start = (start + llen).max(0);
    }
    if end < 0 {
        end += llen;
    }
    // Invariant: start >= 0, so this test is true when end < 0.
    if start > end || start >= llen { None } else { Some((start, end.min(llen - 1))) }
}

/// Replies with the values of a list of the client's db from `start` to `end`, both included and
/// negative ones counted from the end; `reverse` starts with the last of them.
pub fn addListRangeReply(
    server: &mut Server,
    c: ClientId,
    o: KeyRef,
    start: i64,
    end: i64,
    reverse: bool,
) {
    let db = server[c].db;
    let Server { clients, db: dbs, .. } = server;
    let list = dbs[db].dict.list(o);
    let Some((start, end)) = clamp_range(start, end, listTypeLength(list) as i64) else {
        addReply(clients, c, shared::emptyarray);
        return;
    };
    let rangelen = end - start + 1;
    addReplyArrayLen(clients, c, rangelen);
    if reverse {
        let mut values = quicklist_read(list, AL_START_TAIL, end);
        for _ in 0..rangelen {
            addReplyBulk(clients, c, value_of_entry(assert_some!(values.read())));
        }
        return;
    }
    let mut values = quicklist_read(list, AL_START_HEAD, start);
    let mut left = rangelen as usize;
    while left > 0 {
        // Small values are queued many at a time.
        left -=
            add_reply_pieces(clients, c, REPLY_GATHER, |out| append_values(out, &mut values, left));
        // The next one is large, or comes after the last for which there is room.
        if left > 0 {
            addReplyBulk(clients, c, value_of_entry(assert_some!(values.read())));
            left -= 1;
        }
    }
}

/// Appends values as bulks, up to `n`, as far as they are small and there is room for them in
/// `REPLY_GATHER` bytes, and returns how many.
fn append_values(out: &mut Vec<u8>, values: &mut QuicklistReader, n: usize) -> usize {
    let mut room = Spare::new(out, REPLY_GATHER);
    let mut taken = 0;
    loop {
        let before = taken;
        taken += values.read_short_while(n - taken, |s, len| append_small_bulk(&mut room, s, len));
        taken += values.read_integers_while(n - taken, |n| append_number_bulk(&mut room, n));
        if taken == n {
            return taken;
        }
        if taken > before {
            continue;
        }
        // What comes next is a longer string, or there is no room for it.
        let one_more = values.read_while(1, |value| match value {
            ZiplistEntry::Str(s) => append_small_bulk(&mut room, s, s.len()),
            ZiplistEntry::Int(n) => append_number_bulk(&mut room, n),
        });
        if one_more == 0 {
            return taken;
        }
        taken += one_more;
    }
}

/// The bytes of replies that are queued at once.
const REPLY_GATHER: usize = 2048;

/// Sends the events after `count` values were popped, and deletes the key if that has `emptied` its
/// list.
// C: takes the list, and looks whether it is empty.
#[inline(always)]
fn listElementsRemoved(
    server: &mut Server,
    c: ClientId,
    key: &[u8],
    where_: i32,
    emptied: bool,
    count: i64,
) {
    let db = server[c].db;
    let event = if where_ == LIST_HEAD { "lpop" } else { "rpop" };
    notifyKeyspaceEvent(server, NOTIFY_LIST, event, key, db);
    if emptied {
        notifyKeyspaceEvent(server, NOTIFY_GENERIC, "del", key, db);
        dbDelete(server, db, key);
    }
    signalModifiedKey(server, Some(c), db, key);
    server.dirty += count;
}

/// Pops a value of a list of the client's db into the reply. Returns whether it was the last.
#[inline(always)]
fn pop_into_reply(server: &mut Server, c: ClientId, o: KeyRef, where_: i32) -> bool {
    let Server { clients, db: dbs, .. } = server;
    let list = dbs[clients[c].db].dict.list_mut(o);
    let popped = quicklistPopCustom(list, quicklist_end(where_), |value| {
        addReplyBulk(clients, c, value_of_entry(value));
    });
    assert_some!(popped);
    listTypeLength(list) == 0
}

/// Implements LPOP and RPOP.
#[inline(always)]
fn popGenericCommand(server: &mut Server, c: ClientId, argv: &Args, where_: i32) {
    let (db, key) = (server[c].db, argv.get(1));
    if argv.len() != 2 {
        return pop_range(server, c, argv, where_);
    }
    match lookupKeyWrite(server, db, key) {
        None => addReply(server, c, shared::null),
        Some(o) if checkType(server, c, o, OBJ_LIST) => {}
        Some(o) => {
            let emptied = pop_into_reply(server, c, o, where_);
            listElementsRemoved(server, c, key, where_, emptied, 1);
        }
    }
}

/// Implements LPOP and RPOP with a count.
// C: a part of `popGenericCommand`.
#[inline(never)]
fn pop_range(server: &mut Server, c: ClientId, argv: &Args, where_: i32) {
    let (db, key) = (server[c].db, argv.get(1));
    if argv.len() > 3 {
        let name = server[c].cmd.map_or("", |cmd| server.commands[cmd].name);
        addReplyErrorFormat!(server, c, "wrong number of arguments for '{}' command", name);
        return;
    }
    let Ok(count) = getPositiveLongFromObjectOrReply(server, c, &argv[2], None) else { return };
    let Some(o) = lookup_list_write_or_reply(server, c, key, shared::nullarray) else { return };
    if count == 0 {
        addReply(server, c, shared::emptyarray);
        return;
    }
    let rangelen = count.min(listTypeLength(server.db[db].dict.list(o)) as i64);
    let head = where_ == LIST_HEAD;
    let (rangestart, rangeend) = if head { (0, rangelen - 1) } else { (-rangelen, -1) };
    addListRangeReply(server, c, o, rangestart, rangeend, !head);
    let list = server.db[db].dict.list_mut(o);
    quicklistDelRange(list, rangestart, rangelen);
    let emptied = listTypeLength(list) == 0;
    listElementsRemoved(server, c, key, where_, emptied, rangelen);
}

/// LPOP key [count]
pub fn lpopCommand(server: &mut Server, c: ClientId, argv: &Args) {
    popGenericCommand(server, c, argv, LIST_HEAD);
}

/// RPOP key [count]
pub fn rpopCommand(server: &mut Server, c: ClientId, argv: &Args) {
    popGenericCommand(server, c, argv, LIST_TAIL);
}

/// LRANGE key start stop
pub fn lrangeCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(start) = getLongFromObjectOrReply(server, c, &argv[2], None) else { return };
    let Ok(end) = getLongFromObjectOrReply(server, c, &argv[3], None) else { return };
    let Some(o) = lookup_list_read_or_reply(server, c, &argv[1], shared::emptyarray) else {
        return;
    };
    addListRangeReply(server, c, o, start, end, false);
}

/// LTRIM key start stop
pub fn ltrimCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(start) = getLongFromObjectOrReply(server, c, &argv[2], None) else { return };
    let Ok(end) = getLongFromObjectOrReply(server, c, &argv[3], None) else { return };
    let (db, key) = (server[c].db, argv.get(1));
    let Some(o) = lookup_list_write_or_reply(server, c, key, shared::ok) else { return };

    let list = server.db[db].dict.list_mut(o);
    let llen = listTypeLength(list) as i64;
    // An empty range leaves nothing.
    let (ltrim, rtrim) = match clamp_range(start, end, llen) {
        Some((start, end)) => (start, llen - end - 1),
        None => (llen, 0),
    };
    quicklistDelRange(list, 0, ltrim);
    quicklistDelRange(list, -rtrim, rtrim);
    let empty = listTypeLength(list) == 0;

    notifyKeyspaceEvent(server, NOTIFY_LIST, "ltrim", key, db);
    if empty {
        dbDelete(server, db, key);
        notifyKeyspaceEvent(server, NOTIFY_GENERIC, "del", key, db);
    }
    signalModifiedKey(server, Some(c), db, key);
    server.dirty += ltrim + rtrim;
    addReply(server, c, shared::ok);
}

/// LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len]
///
/// Replies with the place of the `rank`th match; a negative rank counts matches from the end. With
/// COUNT an array of that many matches from there on, or of all with 0. No more than `len` values
/// are compared, if that is not 0. Places are counted from the head in any case.
pub fn lposCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (db, ele) = (server[c].db, argv.get(2));
    if reject_large_element(server, c, ele) {
        return;
    }

    let (mut rank, mut count, mut maxlen) = (1, None, 0);
    let mut j = 3;
    while j < argv.len() {
        let is = |name: &[u8]| eq_ignore_case(argv.get(j), name) && j + 1 < argv.len();
        if is(b"RANK") {
            let Ok(n) = getLongFromObjectOrReply(server, c, &argv[j + 1], None) else { return };
            if n == 0 {
                addReplyError(
                    server,
                    c,
                    b"RANK can't be zero: use 1 to start from the first match, 2 from the second, ...",
                );
                return;
            }
            rank = n;
        } else if is(b"COUNT") {
            let msg = Some("COUNT can't be negative");
            let Ok(n) = getPositiveLongFromObjectOrReply(server, c, &argv[j + 1], msg) else {
                return;
            };
            count = Some(n);
        } else if is(b"MAXLEN") {
            let msg = Some("MAXLEN can't be negative");
            let Ok(n) = getPositiveLongFromObjectOrReply(server, c, &argv[j + 1], msg) else {
                return;
            };
            maxlen = n;
        } else {
            addReplyErrorObject(server, c, shared::syntaxerr);
            return;
        }
        j += 2;
    }
    let forward = rank > 0;
    // C: the smallest rank of all has no opposite, and stands for 1 by accident. Here no match has
    // that rank.
    let rank = rank.checked_abs().unwrap_or(i64::MAX);

    let Some(o) = lookupKeyRead(server, db, &argv[1]) else {
        addReply(server, c, if count.is_some() { shared::emptyarray } else { shared::null });
        return;
    };
    if checkType(server, c, o, OBJ_LIST) {
        return;
    }

    let Server { clients, db: dbs, .. } = server;
    let list = dbs[db].dict.list(o);
    let llen = listTypeLength(list) as i64;
    let arraylen_place = count.is_some().then(|| addReplyDeferredLen(clients, c));
    let (direction, from) = if forward { (AL_START_HEAD, 0) } else { (AL_START_TAIL, -1) };
    let mut values = quicklist_read(list, direction, from);
    let number = string2ll(ele);
    let (mut index, mut matches, mut arraylen, mut matchindex) = (0, 0, 0i64, None);
    while maxlen == 0 || index < maxlen {
        let equal = match values.read() {
            Some(ZiplistEntry::Str(s)) => s == ele,
            Some(ZiplistEntry::Int(n)) => number == Some(n),
            None => break,
        };
        if equal {
            matches += 1;
            if matches >= rank {
                let place = if forward { index } else { llen - index - 1 };
                let Some(count) = count else {
                    matchindex = Some(place);
                    break;
                };
                arraylen += 1;
                addReplyLongLong(clients, c, place);
                if count != 0 && matches - rank + 1 >= count {
                    break;
                }
            }
        }
        index += 1;
    }

    match (arraylen_place, matchindex) {
        (Some(place), _) => setDeferredArrayLen(clients, c, place, arraylen),
        (None, Some(place)) => addReplyLongLong(clients, c, place),
        (None, None) => addReply(clients, c, shared::null),
    }
}

/// LREM key count element
pub fn lremCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (db, key, obj) = (server[c].db, argv.get(1), argv.get(3));
    if reject_large_element(server, c, obj) {
        return;
    }
    let Ok(toremove) = getLongFromObjectOrReply(server, c, &argv[2], None) else { return };
    let Some(subject) = lookup_list_write_or_reply(server, c, key, shared::czero) else { return };

    let list = server.db[db].dict.list_mut(subject);
    let direction = if toremove < 0 { AL_START_TAIL } else { AL_START_HEAD };
    let toremove = toremove.unsigned_abs();
    let mut removed = 0;
    let mut iter = quicklistGetIterator(list, direction);
    while let Some(entry) = quicklistNext(&mut iter, list) {
        if quicklistCompare(list, &entry, obj) {
            quicklistDelEntry(&mut iter, list, &entry);
            removed += 1;
            if removed == toremove {
                break;
            }
        }
    }
    quicklistReleaseIterator(iter, list);
    let empty = listTypeLength(list) == 0;
    server.dirty += removed as i64;

    if removed > 0 {
        signalModifiedKey(server, Some(c), db, key);
        notifyKeyspaceEvent(server, NOTIFY_LIST, "lrem", key, db);
    }
    if empty {
        dbDelete(server, db, key);
        notifyKeyspaceEvent(server, NOTIFY_GENERIC, "del", key, db);
    }
    addReplyLongLong(server, c, removed as i64);
}

/// Does the second half of LMOVE: pushes `value` to the list `dstobj`, which is made if there is
/// none, and replies with it.
fn lmoveHandlePush(
    server: &mut Server,
    c: ClientId,
    dstkey: &[u8],
    dstobj: Option<KeyRef>,
    value: &[u8],
    where_: i32,
) {
    let db = server[c].db;
    let dstobj = dstobj.unwrap_or_else(|| create_list_key(server, db, dstkey));
    signalModifiedKey(server, Some(c), db, dstkey);
    listTypePush(server.db[db].dict.list_mut(dstobj), value, where_);
    let event = if where_ == LIST_HEAD { "lpush" } else { "rpush" };
    notifyKeyspaceEvent(server, NOTIFY_LIST, event, dstkey, db);
    addReplyBulkCBuffer(server, c, value);
}

/// Parses LEFT or RIGHT, and returns `LIST_HEAD` or `LIST_TAIL`. On an error the reply was sent.
pub fn getListPositionFromObjectOrReply(
    server: &mut Server,
    c: ClientId,
    arg: &[u8],
) -> Result<i32, ()> {
    if eq_ignore_case(arg, b"right") {
        Ok(LIST_TAIL)
    } else if eq_ignore_case(arg, b"left") {
        Ok(LIST_HEAD)
    } else {
        addReplyErrorObject(server, c, shared::syntaxerr);
        Err(())
    }
}

/// Returns the word for `LIST_HEAD` or `LIST_TAIL`, for a command that is propagated.
fn getStringObjectFromListPosition(position: i32) -> &'static [u8] {
    if position == LIST_HEAD { b"left" } else { b"right" }
}

/// Implements LMOVE, RPOPLPUSH, and their blocking forms where they need not block.
fn lmoveGenericCommand(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    wherefrom: i32,
    whereto: i32,
) {
    let (db, srckey, dstkey) = (server[c].db, argv.get(1), argv.get(2));
    let Some(sobj) = lookup_list_write_or_reply(server, c, srckey, shared::null) else { return };
    let dobj = lookupKeyWrite(server, db, dstkey);
    if let Some(dobj) = dobj
        && checkType(server, c, dobj, OBJ_LIST)
    {
        return;
    }
    let value = assert_some!(listTypePop(server.db[db].dict.list_mut(sobj), wherefrom));
    lmoveHandlePush(server, c, dstkey, dobj, &value, whereto);

    let event = if wherefrom == LIST_HEAD { "lpop" } else { "rpop" };
    notifyKeyspaceEvent(server, NOTIFY_LIST, event, srckey, db);
    if listTypeLength(server.db[db].dict.list(sobj)) == 0 {
        dbDelete(server, db, srckey);
        notifyKeyspaceEvent(server, NOTIFY_GENERIC, "del", srckey, db);
    }
    signalModifiedKey(server, Some(c), db, srckey);
    server.dirty += 1;
    let cmd = server[c].cmd;
    if cmd == Some(server.commands.blmoveCommand) {
        rewriteClientCommandVector(server, c, &[b"LMOVE", srckey, dstkey, &argv[3], &argv[4]]);
    } else if cmd == Some(server.commands.brpoplpushCommand) {
        rewriteClientCommandVector(server, c, &[b"RPOPLPUSH", srckey, dstkey]);
    }
}

/// LMOVE source destination LEFT|RIGHT LEFT|RIGHT
pub fn lmoveCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(wherefrom) = getListPositionFromObjectOrReply(server, c, &argv[3]) else { return };
    let Ok(whereto) = getListPositionFromObjectOrReply(server, c, &argv[4]) else { return };
    lmoveGenericCommand(server, c, argv, wherefrom, whereto);
}

/// RPOPLPUSH source destination: the last value of one list becomes the first of another, so that
/// it is always in one of them.
pub fn rpoplpushCommand(server: &mut Server, c: ClientId, argv: &Args) {
    lmoveGenericCommand(server, c, argv, LIST_TAIL, LIST_HEAD);
}

// -----------------------------------------------------------------------------
// Blocking POP operations
// -----------------------------------------------------------------------------

/// Serves a client that waits for the list `key`: gives it `value`, which was just popped there,
/// pushes that to `dstkey` if there is one (BLMOVE), and propagates what happened as the command
/// that does not block. `ends`: where it was popped, and where it is pushed.
///
/// `C_ERR`: the destination is no list. The client has the error, and the caller puts the value
/// back.
pub fn serveClientBlockedOnList(
    server: &mut Server,
    receiver: ClientId,
    key: &[u8],
    dstkey: Option<&[u8]>,
    db: usize,
    value: &[u8],
    (wherefrom, whereto): (i32, i32),
) -> CResult {
    let everywhere = PROPAGATE_AOF | PROPAGATE_REPL;
    let head = wherefrom == LIST_HEAD;
    let event = if head { "lpop" } else { "rpop" };
    let Some(dstkey) = dstkey else {
        // BLPOP, BRPOP
        let argv = Argv::new(&[if head { b"LPOP" as &[u8] } else { b"RPOP" }, key]);
        let cmd = if head { server.commands.lpopCommand } else { server.commands.rpopCommand };
        propagate(server, cmd, db as i32, &argv.as_args(), everywhere);

        addReplyArrayLen(server, receiver, 2);
        addReplyBulkCBuffer(server, receiver, key);
        addReplyBulkCBuffer(server, receiver, value);
        notifyKeyspaceEvent(server, NOTIFY_LIST, event, key, db);
        return C_OK;
    };

    // BLMOVE, BRPOPLPUSH
    let dstobj = lookupKeyWrite(server, db, dstkey);
    if let Some(dstobj) = dstobj
        && checkType(server, receiver, dstobj, OBJ_LIST)
    {
        return C_ERR;
    }
    lmoveHandlePush(server, receiver, dstkey, dstobj, value, whereto);
    let isbrpoplpush = server[receiver].lastcmd == Some(server.commands.brpoplpushCommand);
    let (cmd, argv) = if isbrpoplpush {
        (server.commands.rpoplpushCommand, Argv::new(&[b"RPOPLPUSH", key, dstkey]))
    } else {
        let (from, to) =
            (getStringObjectFromListPosition(wherefrom), getStringObjectFromListPosition(whereto));
        (server.commands.lmoveCommand, Argv::new(&[b"LMOVE", key, dstkey, from, to]))
    };
    propagate(server, cmd, db as i32, &argv.as_args(), everywhere);
    // lmoveHandlePush has sent the event of the push.
    notifyKeyspaceEvent(server, NOTIFY_LIST, event, key, db);
    C_OK
}

/// Implements BLPOP and BRPOP: pops from the first list that exists, or blocks the client.
fn blockingPopGenericCommand(server: &mut Server, c: ClientId, argv: &Args, where_: i32) {
    let last = argv.len() - 1;
    let Ok(timeout) = getTimeoutFromObjectOrReply(server, c, &argv[last], UNIT_SECONDS) else {
        return;
    };

    let db = server[c].db;
    for j in 1..last {
        let key = argv.get(j);
        let Some(o) = lookupKeyWrite(server, db, key) else { continue };
        if checkType(server, c, o, OBJ_LIST) {
            return;
        }
        if listTypeLength(server.db[db].dict.list(o)) == 0 {
            continue;
        }
        // There is an element: the command does what LPOP or RPOP does, and is propagated as that.
        addReplyArrayLen(server, c, 2);
        addReplyBulkCBuffer(server, c, key);
        let emptied = pop_into_reply(server, c, o, where_);
        listElementsRemoved(server, c, key, where_, emptied, 1);
        rewriteClientCommandVector(
            server,
            c,
            &[if where_ == LIST_HEAD { b"LPOP" } else { b"RPOP" }, key],
        );
        return;
    }

    // A client that must not block times out at once, even if the timeout is 0.
    if server[c].flags & CLIENT_DENY_BLOCKING != 0 {
        addReplyNullArray(server, c);
        return;
    }

    let keys: Vec<&[u8]> = argv.iter().take(last).skip(1).collect();
    // Only BLMOVE uses the second position.
    blockForKeys(server, c, BLOCKED_LIST, &keys, timeout, None, Some((where_, 0)), None);
}

/// BLPOP key [key ...] timeout
pub fn blpopCommand(server: &mut Server, c: ClientId, argv: &Args) {
    blockingPopGenericCommand(server, c, argv, LIST_HEAD);
}

/// BRPOP key [key ...] timeout
pub fn brpopCommand(server: &mut Server, c: ClientId, argv: &Args) {
    blockingPopGenericCommand(server, c, argv, LIST_TAIL);
}

/// Implements BLMOVE and BRPOPLPUSH: moves a value if there is one, or blocks the client.
fn blmoveGenericCommand(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    wherefrom: i32,
    whereto: i32,
    timeout: mstime_t,
) {
    let db = server[c].db;
    match lookupKeyWrite(server, db, &argv[1]) {
        Some(key) if checkType(server, c, key, OBJ_LIST) => {}
        Some(_) => lmoveGenericCommand(server, c, argv, wherefrom, whereto),
        None if server[c].flags & CLIENT_DENY_BLOCKING != 0 => addReplyNull(server, c),
        None => {
            let ends = Some((wherefrom, whereto));
            blockForKeys(server, c, BLOCKED_LIST, &[&argv[1]], timeout, Some(&argv[2]), ends, None);
        }
    }
}

/// BLMOVE source destination LEFT|RIGHT LEFT|RIGHT timeout
pub fn blmoveCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(wherefrom) = getListPositionFromObjectOrReply(server, c, &argv[3]) else { return };
    let Ok(whereto) = getListPositionFromObjectOrReply(server, c, &argv[4]) else { return };
    let Ok(timeout) = getTimeoutFromObjectOrReply(server, c, &argv[5], UNIT_SECONDS) else {
        return;
    };
    blmoveGenericCommand(server, c, argv, wherefrom, whereto, timeout);
}

/// BRPOPLPUSH source destination timeout
pub fn brpoplpushCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(timeout) = getTimeoutFromObjectOrReply(server, c, &argv[3], UNIT_SECONDS) else {
        return;
    };
    blmoveGenericCommand(server, c, argv, LIST_TAIL, LIST_HEAD, timeout);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(clamp_range(0, -1, 3), Some((0, 2)));
        assert_eq!(clamp_range(-2, 100, 3), Some((1, 2)));
        assert_eq!(clamp_range(-100, 0, 3), Some((0, 0)));
        assert_eq!(clamp_range(2, 1, 3), None);
        assert_eq!(clamp_range(3, 5, 3), None);
        assert_eq!(clamp_range(0, -4, 3), None);
        assert_eq!(clamp_range(0, -1, 0), None);
        assert_eq!(clamp_range(i64::MIN, i64::MAX, 3), Some((0, 2)));
        assert_eq!(clamp_range(i64::MIN, i64::MIN, 3), None);
    }

    #[test]
    fn both_ends() {
        let mut list = quicklistCreate();
        for (value, end) in [(b"b", LIST_TAIL), (b"c", LIST_TAIL), (b"1", LIST_HEAD)] {
            listTypePush(&mut list, value, end);
        }
        assert_eq!(listTypeLength(&list), 3);
        assert_eq!(listTypePop(&mut list, LIST_HEAD).unwrap(), b"1");
        assert_eq!(listTypePop(&mut list, LIST_TAIL).unwrap(), b"c");
        assert_eq!(listTypePop(&mut list, LIST_TAIL).unwrap(), b"b");
        assert_eq!(listTypePop(&mut list, LIST_HEAD), None);
    }
}
