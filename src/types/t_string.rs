//! `t_string.c`: the commands on strings.
//!
//! Read first: `setGenericCommand`, `incrDecrCommand`. Differs: an argument goes straight into the
//! keyspace, as a number if it looks like one (`tryObjectEncoding`), without an object in between.

use crate::addReplyErrorFormat;
use crate::args::{Args, Argv};
use crate::db::*;
use crate::ds::longdouble::{LongDouble, ld2string, ld2string_mode};
use crate::expire::{checkAlreadyExpired, expire_command_name};
use crate::keyspace::*;
use crate::lazyfree::dbAsyncDelete;
use crate::networking::*;
use crate::notify::notifyKeyspaceEvent;
use crate::object::*;
use crate::server_h::*;
use crate::sys::alloc::fallibly;
use crate::sys::clock::mstime;
use crate::util::{eq_ignore_case, ll2string};

// -----------------------------------------------------------------------------
// String Commands
// -----------------------------------------------------------------------------

/// Refuses a string that would get longer than `proto-max-bulk-len`: `C_ERR`, and the reply was
/// sent. The master's limit may be another one, and what it sends has to be executed, as far as
/// there is memory in this machine.
///
/// C: for a master there is no limit, and a length that no memory has ends the process.
fn checkStringLength(server: &mut Server, c: ClientId, size: i64, append: i64) -> CResult {
    let mut limit = server.proto_max_bulk_len;
    if server[c].flags & CLIENT_MASTER != 0 {
        limit = limit.max(server.system_memory_size as i64);
    }
    if size.checked_add(append).is_none_or(|total| total > limit) {
        addReplyError(server, c, b"string exceeds maximum allowed size (proto-max-bulk-len)");
        return C_ERR;
    }
    C_OK
}

// Flags for the options of SET and GETEX.
pub const OBJ_NO_FLAGS: i32 = 0;
pub const OBJ_SET_NX: i32 = 1 << 0;
pub const OBJ_SET_XX: i32 = 1 << 1;
pub const OBJ_EX: i32 = 1 << 2;
pub const OBJ_PX: i32 = 1 << 3;
pub const OBJ_KEEPTTL: i32 = 1 << 4;
pub const OBJ_SET_GET: i32 = 1 << 5;
pub const OBJ_EXAT: i32 = 1 << 6;
pub const OBJ_PXAT: i32 = 1 << 7;
pub const OBJ_PERSIST: i32 = 1 << 8;

/// Returns a time of expiry from an argument in `unit`: as it was given, in milliseconds, and as a
/// point in time. On an error the reply was sent.
fn get_expire_milliseconds_or_reply(
    server: &mut Server,
    c: ClientId,
    expire: &[u8],
    flags: i32,
    unit: i32,
) -> Result<(i64, i64), ()> {
    let given = getLongLongFromObjectOrReply(server, c, expire, None)?;
    let milliseconds = if unit == UNIT_SECONDS { given.checked_mul(1000) } else { Some(given) };
    let base = if flags & (OBJ_PX | OBJ_EX) != 0 { mstime() } else { 0 };
    let when = milliseconds.filter(|ms| *ms > 0).and_then(|ms| Some((ms, ms.checked_add(base)?)));
    when.ok_or_else(|| {
        addReplyErrorFormat!(
            server,
            c,
            "invalid expire time in {}",
            expire_command_name(server, c)
        );
    })
}

/// Implements SET, SETEX, PSETEX and SETNX: sets `key` to `val` as `flags` say, with the time of
/// expiry `expire` in `unit`. The replies are `ok_reply`, or `abort_reply` where NX or XX prevent
/// it.
#[inline(always)]
fn setGenericCommand(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    flags: i32,
    (key, val): (&[u8], &[u8]),
    (expire, unit): (Option<&[u8]>, i32),
    (ok_reply, abort_reply): (Shared, Shared),
) {
    let db = server[c].db;
    let mut times = None;
    if let Some(expire) = expire {
        match get_expire_milliseconds_or_reply(server, c, expire, flags, unit) {
            Ok(t) => times = Some(t),
            Err(()) => return,
        }
    }

    if (flags & OBJ_SET_NX != 0 && lookupKeyWrite(server, db, key).is_some())
        || (flags & OBJ_SET_XX != 0 && lookupKeyWrite(server, db, key).is_none())
    {
        addReply(server, c, abort_reply);
        return;
    }

    if flags & OBJ_SET_GET != 0 && getGenericCommand(server, c, argv).is_err() {
        return;
    }

    genericSetKey(server, Some(c), db, key, tryObjectEncoding(val), flags & OBJ_KEEPTTL != 0, true);
    server.dirty += 1;
    notifyKeyspaceEvent(server, NOTIFY_STRING, "set", key, db);

    if let Some((milliseconds, when)) = times {
        setExpire(server, Some(c), db, key, when);
        notifyKeyspaceEvent(server, NOTIFY_GENERIC, "expire", key, db);
        // As it is propagated, a point in time stays one, and a span becomes a span in
        // milliseconds.
        let exp: &[u8] = if flags & (OBJ_PXAT | OBJ_EXAT) != 0 { b"PXAT" } else { b"PX" };
        rewriteClientCommandVector(server, c, &[b"SET", key, val, exp, &ll2string(milliseconds)]);
    }
    if flags & OBJ_SET_GET == 0 {
        addReply(server, c, ok_reply);
    } else if times.is_none() {
        // Replicas have nobody to reply to: propagate without GET, which may be there several
        // times.
        let without_get: Argv = argv
            .iter()
            .enumerate()
            .filter(|(j, a)| *j < 3 || !eq_ignore_case(a, b"get"))
            .map(|(_, a)| a)
            .collect();
        replaceClientCommandVector(server, c, without_get);
    }
}

/// The command whose options are parsed, which decides which are allowed.
#[derive(Copy, Clone, PartialEq)]
enum CommandType {
    Get,
    Set,
}

/// Returns the options of SET and GETEX: flags, the unit of the expire, and the expire. Options
/// that exclude each other are an error, for which the reply was sent.
fn parseExtendedStringArgumentsOrReply<'a>(
    server: &mut Server,
    c: ClientId,
    argv: &Args<'a>,
    command_type: CommandType,
) -> Result<(i32, i32, Option<&'a [u8]>), ()> {
    // What must not stand beside an option that sets an expire: anything else that says something
    // about it.
    const EXPIRES: i32 = OBJ_EX | OBJ_PX | OBJ_EXAT | OBJ_PXAT | OBJ_KEEPTTL | OBJ_PERSIST;
    let set = command_type == CommandType::Set;
    let (mut flags, mut unit, mut expire) = (OBJ_NO_FLAGS, UNIT_SECONDS, None);

    let mut j = if set { 3 } else { 2 };
    while j < argv.len() {
        let opt = argv.get(j);
        let is = |name: &[u8]| eq_ignore_case(opt, name);
        let next = (j + 1 < argv.len()).then(|| argv.get(j + 1));
        let free = |excluded: i32| flags & excluded == 0;
        if is(b"nx") && free(OBJ_SET_XX | OBJ_SET_GET) && set {
            flags |= OBJ_SET_NX;
        } else if is(b"xx") && free(OBJ_SET_NX) && set {
            flags |= OBJ_SET_XX;
        } else if is(b"get") && free(OBJ_SET_NX) && set {
            flags |= OBJ_SET_GET;
        } else if is(b"keepttl") && free(EXPIRES & !OBJ_KEEPTTL) && set {
            flags |= OBJ_KEEPTTL;
        } else if is(b"persist") && free(EXPIRES & !OBJ_PERSIST) && !set {
            flags |= OBJ_PERSIST;
        } else {
            let flag = match () {
                () if is(b"ex") => OBJ_EX,
                () if is(b"px") => OBJ_PX,
                () if is(b"exat") => OBJ_EXAT,
                () if is(b"pxat") => OBJ_PXAT,
                () => 0,
            };
            if flag == 0 || !free(EXPIRES & !flag) || next.is_none() {
                addReplyErrorObject(server, c, shared::syntaxerr);
                return Err(());
            }
            flags |= flag;
            if flag & (OBJ_PX | OBJ_PXAT) != 0 {
                unit = UNIT_MILLISECONDS;
            }
            expire = next;
            j += 1;
        }
        j += 1;
    }
    Ok((flags, unit, expire))
}

/// SET key value [NX|XX] [GET] [KEEPTTL|EX seconds|PX milliseconds|EXAT seconds|PXAT milliseconds]
pub fn setCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (key, val, replies) = (argv.get(1), argv.get(2), (shared::ok, shared::null));
    // The common case has no options to look at.
    if argv.len() == 3 {
        setGenericCommand(server, c, argv, OBJ_NO_FLAGS, (key, val), (None, UNIT_SECONDS), replies);
        return;
    }
    let parsed = parseExtendedStringArgumentsOrReply(server, c, argv, CommandType::Set);
    if let Ok((flags, unit, expire)) = parsed {
        setGenericCommand(server, c, argv, flags, (key, val), (expire, unit), replies);
    }
}

/// SETNX key value
pub fn setnxCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let replies = (shared::cone, shared::czero);
    setGenericCommand(server, c, argv, OBJ_SET_NX, (argv.get(1), argv.get(2)), (None, 0), replies);
}

/// SETEX key seconds value
pub fn setexCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let expire = (Some(argv.get(2)), UNIT_SECONDS);
    setGenericCommand(
        server,
        c,
        argv,
        OBJ_EX,
        (argv.get(1), argv.get(3)),
        expire,
        (shared::ok, shared::null),
    );
}

/// PSETEX key milliseconds value
pub fn psetexCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let expire = (Some(argv.get(2)), UNIT_MILLISECONDS);
    setGenericCommand(
        server,
        c,
        argv,
        OBJ_PX,
        (argv.get(1), argv.get(3)),
        expire,
        (shared::ok, shared::null),
    );
}

// ANCHOR: getGenericCommand
/// Replies with the value of the first argument. `C_ERR`: it is no string, and the reply was that.
fn getGenericCommand(server: &mut Server, c: ClientId, argv: &Args) -> CResult {
    let db = server[c].db;
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::null) else { return C_OK };
    if check_type_in(server, c, db, o, OBJ_STRING) {
        return C_ERR;
    }
    addReplyBulk(&mut server.clients, c, server.db[db].get(o));
    C_OK
}
// ANCHOR_END: getGenericCommand

/// GET key
pub fn getCommand(server: &mut Server, c: ClientId, argv: &Args) {
    // Its result is the reply.
    let _ = getGenericCommand(server, c, argv);
}

/// GETEX key [PERSIST|EX seconds|PX milliseconds|EXAT seconds|PXAT milliseconds]: GET, and what is
/// to become of its time to live. Without an option that stays.
pub fn getexCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok((flags, unit, expire)) =
        parseExtendedStringArgumentsOrReply(server, c, argv, CommandType::Get)
    else {
        return;
    };
    let (db, key) = (server[c].db, argv.get(1));
    let Some(o) = lookupKeyReadOrReply(server, c, key, shared::null) else { return };
    if checkType(server, c, o, OBJ_STRING) {
        return;
    }
    let mut times = None;
    if let Some(expire) = expire {
        match get_expire_milliseconds_or_reply(server, c, expire, flags, unit) {
            Ok(t) => times = Some(t),
            Err(()) => return,
        }
    }

    // The value, before it may be gone.
    addReplyBulk(&mut server.clients, c, server.db[db].get(o));

    // It is propagated as what it does to the key: DEL, PEXPIRE, PEXPIREAT or PERSIST.
    match times {
        Some((milliseconds, _))
            if flags & (OBJ_PXAT | OBJ_EXAT) != 0 && checkAlreadyExpired(server, milliseconds) =>
        {
            let lazy = server.lazyfree_lazy_expire;
            let deleted =
                if lazy { dbAsyncDelete(server, db, key) } else { dbSyncDelete(server, db, key) };
            assert!(deleted);
            rewriteClientCommandVector(
                server,
                c,
                &[if lazy { b"UNLINK" as &[u8] } else { b"DEL" }, key],
            );
            signalModifiedKey(server, Some(c), db, key);
            notifyKeyspaceEvent(server, NOTIFY_GENERIC, "del", key, db);
            server.dirty += 1;
        }
        Some((milliseconds, when)) => {
            setExpire(server, Some(c), db, key, when);
            let exp: &[u8] =
                if flags & (OBJ_PXAT | OBJ_EXAT) != 0 { b"PEXPIREAT" } else { b"PEXPIRE" };
            rewriteClientCommandVector(server, c, &[exp, key, &ll2string(milliseconds)]);
            signalModifiedKey(server, Some(c), db, key);
            notifyKeyspaceEvent(server, NOTIFY_GENERIC, "expire", key, db);
            server.dirty += 1;
        }
        None if flags & OBJ_PERSIST != 0 && removeExpire(server, db, key) => {
            signalModifiedKey(server, Some(c), db, key);
            rewriteClientCommandVector(server, c, &[b"PERSIST", key]);
            notifyKeyspaceEvent(server, NOTIFY_GENERIC, "persist", key, db);
            server.dirty += 1;
        }
        None => {}
    }
}

/// GETDEL key
pub fn getdelCommand(server: &mut Server, c: ClientId, argv: &Args) {
    if getGenericCommand(server, c, argv).is_err() {
        return;
    }
    let (db, key, lazy) = (server[c].db, argv.get(1), server.lazyfree_lazy_user_del);
    let deleted = if lazy { dbAsyncDelete(server, db, key) } else { dbSyncDelete(server, db, key) };
    if deleted {
        rewriteClientCommandVector(
            server,
            c,
            &[if lazy { b"UNLINK" as &[u8] } else { b"DEL" }, key],
        );
        signalModifiedKey(server, Some(c), db, key);
        notifyKeyspaceEvent(server, NOTIFY_GENERIC, "del", key, db);
        server.dirty += 1;
    }
}

/// GETSET key value
pub fn getsetCommand(server: &mut Server, c: ClientId, argv: &Args) {
    if getGenericCommand(server, c, argv).is_err() {
        return;
    }
    let (db, key) = (server[c].db, argv.get(1));
    setKey(server, Some(c), db, key, tryObjectEncoding(&argv[2]));
    notifyKeyspaceEvent(server, NOTIFY_STRING, "set", key, db);
    server.dirty += 1;
    rewriteClientCommandArgument(server, c, argv, 0, b"SET");
}

/// SETRANGE key offset value
pub fn setrangeCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (db, key, value) = (server[c].db, argv.get(1), argv.get(3));
    let Ok(offset) = getLongFromObjectOrReply(server, c, &argv[2], None) else { return };
    if offset < 0 {
        addReplyError(server, c, b"offset is out of range");
        return;
    }

    let o = lookupKeyWrite(server, db, key);
    if let Some(o) = o
        && checkType(server, c, o, OBJ_STRING)
    {
        return;
    }
    let olen = o.map_or(0, |o| stringObjectLen(server.db[db].get(o)));
    // Nothing to set: the length it has, and no key if there was none.
    if value.is_empty() {
        addReplyLongLong(server, c, olen as i64);
        return;
    }
    if checkStringLength(server, c, offset, value.len() as i64).is_err() {
        return;
    }
    let o = match o {
        Some(o) => o,
        None => dbAdd(server, db, key, Value::Raw(b"")),
    };
    let (_, len) = server.db[db].dict.string_mut(o, |s| {
        s.set_range(offset as usize, value);
        s.len()
    });
    signalModifiedKey(server, Some(c), db, key);
    notifyKeyspaceEvent(server, NOTIFY_STRING, "setrange", key, db);
    server.dirty += 1;
    addReplyLongLong(server, c, len as i64);
}

/// GETRANGE key start end
pub fn getrangeCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(mut start) = getLongLongFromObjectOrReply(server, c, &argv[2], None) else { return };
    let Ok(mut end) = getLongLongFromObjectOrReply(server, c, &argv[3], None) else { return };
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::emptybulk) else { return };
    if checkType(server, c, o, OBJ_STRING) {
        return;
    }
    let db = server[c].db;
    let digits;
    let s: &[u8] = match server.db[db].get(o) {
        ValueRef::Int(n) => {
            digits = ll2string(n);
            &digits
        }
        ValueRef::Str(s) => s,
        ValueRef::Aggregate(_) => unreachable!("its type was checked"),
    };
    let strlen = s.len() as i64;

    // Convert negative indexes
    if start < 0 && end < 0 && start > end {
        addReply(&mut server.clients, c, shared::emptybulk);
        return;
    }
    if start < 0 {
        start = (strlen + start).max(0);
    }
    if end < 0 {
        end = (strlen + end).max(0);
    }
    end = end.min(strlen - 1);

    if start > end || strlen == 0 {
        addReply(&mut server.clients, c, shared::emptybulk);
    } else {
        addReplyBulkCBuffer(&mut server.clients, c, &s[start as usize..=end as usize]);
    }
}

/// MGET key [key ...]: a value that is no string is null, like one that is not there.
pub fn mgetCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let db = server[c].db;
    addReplyArrayLen(server, c, argv.len() - 1);
    for_each_key(server, db, argv, (1, Wanted::Value), |server, j| {
        match lookupKeyRead(server, db, &argv[j]) {
            Some(o) if server.db[db].dict.type_of(o) == OBJ_STRING => {
                addReplyBulk(&mut server.clients, c, server.db[db].get(o));
            }
            _ => addReplyNull(server, c),
        }
    });
}

/// Implements MSET and MSETNX; the latter sets nothing if one of the keys exists.
fn msetGenericCommand(server: &mut Server, c: ClientId, argv: &Args, nx: bool) {
    if argv.len().is_multiple_of(2) {
        addReplyError(server, c, b"wrong number of arguments for MSET");
        return;
    }
    let db = server[c].db;
    if nx {
        let mut exists = false;
        for_each_key(server, db, argv, (2, Wanted::Entry), |server, j| {
            exists = exists || lookupKeyWrite(server, db, &argv[j]).is_some();
        });
        if exists {
            addReply(server, c, shared::czero);
            return;
        }
    }
    for_each_key(server, db, argv, (2, Wanted::Value), |server, j| {
        setKey(server, Some(c), db, &argv[j], tryObjectEncoding(&argv[j + 1]));
        notifyKeyspaceEvent(server, NOTIFY_STRING, "set", &argv[j], db);
    });
    server.dirty += (argv.len() as i64 - 1) / 2;
    addReply(server, c, if nx { shared::cone } else { shared::ok });
}

/// MSET key value [key value ...]
pub fn msetCommand(server: &mut Server, c: ClientId, argv: &Args) {
    msetGenericCommand(server, c, argv, false);
}

/// MSETNX key value [key value ...]
pub fn msetnxCommand(server: &mut Server, c: ClientId, argv: &Args) {
    msetGenericCommand(server, c, argv, true);
}

/// Implements INCR and its relatives: adds `incr` to a number, in place.
fn incrDecrCommand(server: &mut Server, c: ClientId, argv: &Args, incr: i64) {
    let (db, key) = (server[c].db, argv.get(1));
    let o = lookupKeyWrite(server, db, key);
    let mut oldvalue = 0;
    if let Some(o) = o {
        if check_type_in(server, c, db, o, OBJ_STRING) {
            return;
        }
        match get_long_long_from_value(server.db[db].get(o)) {
            Some(n) => oldvalue = n,
            None => {
                addReplyError(server, c, b"value is not an integer or out of range");
                return;
            }
        }
    }
    let Some(value) = oldvalue.checked_add(incr) else {
        addReplyError(server, c, b"increment or decrement would overflow");
        return;
    };

    match o {
        // The entry does not move, and its time of access was just set by the lookup.
        Some(o) if server.db[db].dict.encoding(o) == OBJ_ENCODING_INT => {
            server.db[db].dict.set_int(o, value);
        }
        Some(o) => {
            overwrite_value(server, db, o, value);
        }
        None => {
            dbAdd(server, db, key, value);
        }
    }
    signalModifiedKey(server, Some(c), db, key);
    notifyKeyspaceEvent(server, NOTIFY_STRING, "incrby", key, db);
    server.dirty += 1;
    addReplyLongLong(server, c, value);
}

/// INCR key
pub fn incrCommand(server: &mut Server, c: ClientId, argv: &Args) {
    incrDecrCommand(server, c, argv, 1);
}

/// DECR key
pub fn decrCommand(server: &mut Server, c: ClientId, argv: &Args) {
    incrDecrCommand(server, c, argv, -1);
}

/// INCRBY key increment
pub fn incrbyCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(incr) = getLongLongFromObjectOrReply(server, c, &argv[2], None) else { return };
    incrDecrCommand(server, c, argv, incr);
}

/// DECRBY key decrement
pub fn decrbyCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(incr) = getLongLongFromObjectOrReply(server, c, &argv[2], None) else { return };
    // The smallest number has no counterpart and stays itself, as in the C.
    incrDecrCommand(server, c, argv, incr.wrapping_neg());
}

/// INCRBYFLOAT key increment, in the 80 bits of the C's long double.
pub fn incrbyfloatCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (db, key) = (server[c].db, argv.get(1));
    let o = lookupKeyWrite(server, db, key);
    if let Some(o) = o
        && checkType(server, c, o, OBJ_STRING)
    {
        return;
    }
    let old = match o {
        Some(o) => get_long_double_from_value(server.db[db].get(o)),
        None => Some(LongDouble::from_i64(0)),
    };
    let Some(old) = old else {
        addReplyError(server, c, b"value is not a valid float");
        return;
    };
    let Ok(incr) = getLongDoubleFromObjectOrReply(server, c, &argv[2], None) else { return };
    let value = old + incr;
    if value.is_nan() || value.is_infinite() {
        addReplyError(server, c, b"increment would produce NaN or Infinity");
        return;
    }
    let new = ld2string(value, ld2string_mode::LD_STR_HUMAN);
    match o {
        Some(o) => overwrite_value(server, db, o, Value::Str(&new)),
        None => dbAdd(server, db, key, Value::Str(&new)),
    };
    signalModifiedKey(server, Some(c), db, key);
    notifyKeyspaceEvent(server, NOTIFY_STRING, "incrbyfloat", key, db);
    server.dirty += 1;
    addReplyBulkCBuffer(server, c, &new);

    // Propagated as a SET of the result, so that a difference in floating point can't make replicas
    // differ.
    rewriteClientCommandVector(server, c, &[b"SET", key, &new, b"KEEPTTL"]);
}

/// APPEND key value
pub fn appendCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (db, key, append) = (server[c].db, argv.get(1), argv.get(2));
    let totlen = match lookupKeyWrite(server, db, key) {
        None => {
            dbAdd(server, db, key, tryObjectEncoding(append));
            append.len()
        }
        Some(o) => {
            if checkType(server, c, o, OBJ_STRING) {
                return;
            }
            let len = stringObjectLen(server.db[db].get(o));
            if checkStringLength(server, c, len as i64, append.len() as i64).is_err() {
                return;
            }
            let (_, len) = server.db[db].dict.string_mut(o, |s| {
                s.append(append);
                s.len()
            });
            len
        }
    };
    signalModifiedKey(server, Some(c), db, key);
    notifyKeyspaceEvent(server, NOTIFY_STRING, "append", key, db);
    server.dirty += 1;
    addReplyLongLong(server, c, totlen as i64);
}

/// STRLEN key
pub fn strlenCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::czero) else { return };
    if checkType(server, c, o, OBJ_STRING) {
        return;
    }
    let len = stringObjectLen(server.db[server[c].db].get(o));
    addReplyLongLong(server, c, len as i64);
}

/// STRALGO algorithm ...: algorithms on strings, of which there is one.
pub fn stralgoCommand(server: &mut Server, c: ClientId, argv: &Args) {
    if argv[1].eq_ignore_ascii_case(b"lcs") {
        stralgoLCS(server, c, argv);
    } else {
        addReplyErrorObject(server, c, shared::syntaxerr);
    }
}

/// Computes the longest common subsequence of two strings:
/// STRALGO LCS [IDX] [LEN] [MINMATCHLEN len] [WITHMATCHLEN] STRINGS string string | KEYS key key
fn stralgoLCS(server: &mut Server, c: ClientId, argv: &Args) {
    let db = server[c].db;
    let (mut minmatchlen, mut getlen, mut getidx, mut withmatchlen) = (0i64, false, false, false);
    let mut strings: Option<(Vec<u8>, Vec<u8>)> = None;

    let mut j = 2;
    while j < argv.len() {
        let opt = argv.get(j);
        let is = |name: &str| opt.eq_ignore_ascii_case(name.as_bytes());
        let moreargs = argv.len() - 1 - j;
        if is("IDX") {
            getidx = true;
        } else if is("LEN") {
            getlen = true;
        } else if is("WITHMATCHLEN") {
            withmatchlen = true;
        } else if is("MINMATCHLEN") && moreargs > 0 {
            match getLongLongFromObjectOrReply(server, c, &argv[j + 1], None) {
                Ok(n) => minmatchlen = n.max(0),
                Err(()) => return,
            }
            j += 1;
        } else if (is("STRINGS") || is("KEYS")) && moreargs > 1 {
            if strings.is_some() {
                addReplyError(server, c, b"Either use STRINGS or KEYS");
                return;
            }
            if is("STRINGS") {
                strings = Some((argv[j + 1].to_vec(), argv[j + 2].to_vec()));
            } else {
                // A key that is not there is an empty string.
                let mut read = |key: &[u8]| match lookupKeyRead(server, db, key) {
                    None => Some(Vec::new()),
                    Some(o) => getDecodedObject(server.db[db].get(o)),
                };
                let (Some(a), Some(b)) = (read(&argv[j + 1]), read(&argv[j + 2])) else {
                    addReplyError(server, c, b"The specified keys must contain string values");
                    return;
                };
                strings = Some((a, b));
            }
            j += 2;
        } else {
            addReplyErrorObject(server, c, shared::syntaxerr);
            return;
        }
        j += 1;
    }

    // Complain if the user passed ambiguous parameters.
    let Some((a, b)) = strings else {
        addReplyError(
            server,
            c,
            b"Please specify two strings: STRINGS or KEYS options are mandatory",
        );
        return;
    };
    if getlen && getidx {
        addReplyError(server, c, b"If you want both the length and indexes, please just use IDX.");
        return;
    }
    if a.len() >= u32::MAX as usize - 1 || b.len() >= u32::MAX as usize - 1 {
        addReplyError(server, c, b"String too long for LCS");
        return;
    }

    // The table of LCS(i, j), the length of the LCS of the first i bytes of `a` and the first j of
    // `b`. It may not fit into memory, which is the user's fault and no reason to die.
    let (alen, blen) = (a.len(), b.len());
    let mut lcs: Vec<u32> = Vec::new();
    let cells = (alen + 1).checked_mul(blen + 1);
    if cells.is_none_or(|cells| fallibly(|| lcs.try_reserve_exact(cells)).is_err()) {
        addReplyError(server, c, b"Insufficient memory");
        return;
    }
    lcs.resize((alen + 1) * (blen + 1), 0);
    let at = |i: usize, j: usize| i * (blen + 1) + j;
    for i in 1..=alen {
        for j in 1..=blen {
            lcs[at(i, j)] = if a[i - 1] == b[j - 1] {
                // A common last byte adds one to the LCS of what is before it.
                lcs[at(i - 1, j - 1)] + 1
            } else {
                lcs[at(i - 1, j)].max(lcs[at(i, j - 1)])
            };
        }
    }

    // Walk back from the end, collecting the LCS and the ranges that match in both strings.
    let length = lcs[at(alen, blen)];
    let mut result = vec![0; length as usize];
    let mut idx = length as usize;
    let mut replylen = None;
    let mut arraylen = 0;
    if getidx {
        addReplyMapLen(server, c, 2);
        addReplyBulkCString(server, c, b"matches");
        replylen = Some(addReplyDeferredLen(server, c));
    }
    // `arange_start == alen` says that there is no current range.
    let (mut arange_start, mut arange_end, mut brange_start, mut brange_end) = (alen, 0, 0, 0);
    let (mut i, mut j) = (alen, blen);
    while (getidx || !getlen) && i > 0 && j > 0 {
        let mut emit_range = false;
        if a[i - 1] == b[j - 1] {
            result[idx - 1] = a[i - 1];
            if arange_start == alen {
                (arange_start, arange_end, brange_start, brange_end) = (i - 1, i - 1, j - 1, j - 1);
            } else if arange_start == i && brange_start == j {
                // The range grows to the front.
                arange_start -= 1;
                brange_start -= 1;
            } else {
                emit_range = true;
            }
            // At the first byte of a string the walk is over.
            if arange_start == 0 || brange_start == 0 {
                emit_range = true;
            }
            idx -= 1;
            i -= 1;
            j -= 1;
        } else {
            // Go where the longer LCS is.
            if lcs[at(i - 1, j)] > lcs[at(i, j - 1)] {
                i -= 1;
            } else {
                j -= 1;
            }
            if arange_start != alen {
                emit_range = true;
            }
        }

        if emit_range {
            let match_len = (arange_end + 1).wrapping_sub(arange_start) as u32;
            if replylen.is_some() && (minmatchlen == 0 || i64::from(match_len) >= minmatchlen) {
                addReplyArrayLen(server, c, 2 + usize::from(withmatchlen));
                for (start, end) in [(arange_start, arange_end), (brange_start, brange_end)] {
                    addReplyArrayLen(server, c, 2);
                    addReplyLongLong(server, c, start as i64);
                    addReplyLongLong(server, c, end as i64);
                }
                if withmatchlen {
                    addReplyLongLong(server, c, i64::from(match_len));
                }
                arraylen += 1;
            }
            arange_start = alen;
        }
    }

    // Reply depending on the given options.
    if let Some(replylen) = replylen {
        addReplyBulkCString(server, c, b"len");
        addReplyLongLong(server, c, i64::from(length));
        setDeferredArrayLen(server, c, replylen, arraylen);
    } else if getlen {
        addReplyLongLong(server, c, i64::from(length));
    } else {
        addReplyBulkCBuffer(server, c, &result);
    }
}
