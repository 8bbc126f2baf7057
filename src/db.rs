//! `db.c`: looking keys up, and the commands that work on keys of any type.
//!
//! Read first: `lookupKey` and its callers, then `expireIfNeeded`.
//! Differs: a db is its number, a value in the keyspace is a `KeyRef`. Key, value and time of expiry are one entry, so a
//! lookup that also looks at the expire is one search. A key's hash that the parser computed ahead is used again
//! (`keyHash`). There are no backups of the whole keyspace (they belong to diskless loading), no cluster slots, no modules
//! to tell, and no client side caching.

use crate::args::{Args, Argv};
use crate::blocked::signalKeyAsReady;
use crate::ds::dict::dictScan;
use crate::ds::glob::stringmatchlen;
use crate::ds::intset::{intsetGet, intsetLen};
use crate::ds::redisassert::assertSome;
use crate::ds::ziplist::{ZiplistEntry, ziplistGet, ziplistIndex, ziplistNext};
use crate::evict::{LFUDecrAndReturn, LFUGetTimeInMinutes, LFULogIncr, newObjectLru};
use crate::expire::{flushSlaveKeysWithExpireList, rememberSlaveKeyWithExpire};
use crate::latency::{latencyAddSampleIfNeeded, latencyEndMonitor, latencyStartMonitor};
use crate::lazyfree::{dbAsyncDelete, emptyDbAsync, freeObjAsync};
use crate::multi::{touchAllWatchedKeysInDb, touchWatchedKey};
use crate::networking::*;
use crate::notify::notifyKeyspaceEvent;
use crate::object::*;
use crate::rdb::{killRDBChild, rdbPopulateSaveInfo, rdbSave};
use crate::server::{hasActiveChildProcess, prepareForShutdown, propagate};
use crate::server_h::*;
use crate::sys::alloc::jemalloc_purge;
use crate::sys::clock::mstime;
use crate::sys::random::randomU64;
use crate::types::t_hash::HashRef;
use crate::types::t_set::SetRef;
use crate::types::t_zset::ZsetRef;
use crate::util::{atoi, eq_ignore_case, format_17g, ll2string, ull2string};

// -----------------------------------------------------------------------------
// C-level DB API
// -----------------------------------------------------------------------------

/// A key whose hash is known: where it lies in the arguments of the running command, and the hash. The parser leaves it
/// here for the first key of a command, and takes it away after the command.
#[derive(Copy, Clone, Default)]
pub struct KeyHashHint {
    address: usize,
    len: usize,
    hash: u64,
}

impl KeyHashHint {
    /// Of a key in the arguments of the command that is about to run.
    #[inline]
    pub fn new(key: &[u8], hash: u64) -> KeyHashHint {
        KeyHashHint { address: key.as_ptr().addr(), len: key.len(), hash }
    }
}

/// The hash of a key in any db. The slice that the parser hashed is not hashed again.
#[inline]
pub fn keyHash(server: &Server, db: usize, key: &[u8]) -> u64 {
    let hint = &server.key_hash_hint;
    if hint.address == key.as_ptr().addr() && hint.len == key.len() {
        return hint.hash;
    }
    server.db[db].dict.hash(key)
}

/// Finds a key's entry, whether it is expired or not, and touches nothing.
#[inline]
pub fn dbFind(server: &Server, db: usize, key: &[u8]) -> Option<KeyRef> {
    server.db[db].dict.find_hashed(key, keyHash(server, db, key))
}

/// The LFU field of a value that is accessed now: the counter first decays for the time it was not, then goes up by one in
/// the logarithmic way.
fn updateLFU(server: &Server, lru: u32) -> u32 {
    let counter = LFULogIncr(server, LFUDecrAndReturn(server, lru));
    LFUGetTimeInMinutes(server) << 8 | counter
}

/// Touches a value that was found: its LRU or LFU field, unless a child lives. A child shares our memory page by page, and
/// every page written is a page copied.
#[inline]
fn touchKey(server: &mut Server, db: usize, o: KeyRef, flags: i32) {
    if flags & LOOKUP_NOTOUCH != 0 || hasActiveChildProcess(server) {
        return;
    }
    let old = server.db[db].dict.lru(o);
    let new = if server.maxmemory_policy & MAXMEMORY_FLAG_LFU != 0 {
        updateLFU(server, old)
    } else {
        server.lruclock
    };
    if new != old {
        server.db[db].dict.set_lru(o, new);
    }
}

/// Low level lookup. Commands use `lookupKeyRead`, `lookupKeyWrite` and `lookupKeyReadWithFlags`.
#[inline]
pub fn lookupKey(server: &mut Server, db: usize, key: &[u8], flags: i32) -> Option<KeyRef> {
    let o = dbFind(server, db, key)?;
    touchKey(server, db, o, flags);
    Some(o)
}

/// Looks a key up in order to read it. As a side effect
///
/// 1. the key is gone if its time has come,
/// 2. its last access time is updated (but for `LOOKUP_NOTOUCH`),
/// 3. hits and misses are counted,
/// 4. a "keymiss" event is told if it is missing (but for `LOOKUP_NONOTIFY`).
///
/// On a replica a key that is logically expired is not there for a read, even though it is the master who will delete it.
#[inline]
pub fn lookupKeyReadWithFlags(
    server: &mut Server,
    db: usize,
    key: &[u8],
    flags: i32,
) -> Option<KeyRef> {
    if let Some(o) = dbFind(server, db, key)
        && !(server.db[db].dict.expire(o).is_some() && isMissingForRead(server, db, key))
    {
        touchKey(server, db, o, flags);
        server.stat_keyspace_hits += 1;
        return Some(o);
    }
    if flags & LOOKUP_NONOTIFY == 0 {
        notifyKeyspaceEvent(server, NOTIFY_KEY_MISS, "keymiss", key, db);
    }
    server.stat_keyspace_misses += 1;
    None
}

/// Whether a key with a time of expiry is to be treated as missing by a read; if we are a master it is then gone.
fn isMissingForRead(server: &mut Server, db: usize, key: &[u8]) -> bool {
    if !expireIfNeeded(server, db, key) {
        return false;
    }
    // On a master an expired key is no more.
    if server.masterhost.is_none() {
        return true;
    }
    // On a replica it is still there, and the master's commands must see it. Clients who just read are told the truth: it
    // is expired. Anybody else works with what there is.
    match server.current_client {
        Some(c) if server.current_client != server.master => {
            server[c].cmd.is_some_and(|cmd| server.commands[cmd].flags & CMD_READONLY != 0)
        }
        _ => false,
    }
}

/// The common case of it.
#[inline]
pub fn lookupKeyRead(server: &mut Server, db: usize, key: &[u8]) -> Option<KeyRef> {
    lookupKeyReadWithFlags(server, db, key, LOOKUP_NONE)
}

/// Looks a key up in order to change it; one whose time has come is gone first.
#[inline]
pub fn lookupKeyWriteWithFlags(
    server: &mut Server,
    db: usize,
    key: &[u8],
    flags: i32,
) -> Option<KeyRef> {
    let mut o = dbFind(server, db, key)?;
    if server.db[db].dict.expire(o).is_some() {
        expireIfNeeded(server, db, key);
        o = dbFind(server, db, key)?;
    }
    touchKey(server, db, o, flags);
    Some(o)
}

/// The common case of it.
#[inline]
pub fn lookupKeyWrite(server: &mut Server, db: usize, key: &[u8]) -> Option<KeyRef> {
    lookupKeyWriteWithFlags(server, db, key, LOOKUP_NONE)
}

/// The reply for a missing key: an error counts as one.
fn SentReplyOnKeyMiss(server: &mut Server, c: ClientId, reply: Shared) {
    if reply.is_error() {
        addReplyErrorObject(server, c, reply);
    } else {
        addReply(server, c, reply);
    }
}

/// `lookupKeyRead` in the client's db; a missing key gets `reply`.
#[inline]
pub fn lookupKeyReadOrReply(
    server: &mut Server,
    c: ClientId,
    key: &[u8],
    reply: Shared,
) -> Option<KeyRef> {
    let db = server[c].db;
    let o = lookupKeyRead(server, db, key);
    if o.is_none() {
        SentReplyOnKeyMiss(server, c, reply);
    }
    o
}

/// `lookupKeyWrite` in the client's db; a missing key gets `reply`.
pub fn lookupKeyWriteOrReply(
    server: &mut Server,
    c: ClientId,
    key: &[u8],
    reply: Shared,
) -> Option<KeyRef> {
    let db = server[c].db;
    let o = lookupKeyWrite(server, db, key);
    if o.is_none() {
        SentReplyOnKeyMiss(server, c, reply);
    }
    o
}

/// Adds a key, which must not be there, and signals it to who waits for it.
pub fn dbAdd<'a>(server: &mut Server, db: usize, key: &[u8], val: impl Into<Value<'a>>) -> KeyRef {
    let (hash, lru) = (keyHash(server, db, key), newObjectLru(server));
    let o = server.db[db].dict.add_full(key, hash, val.into(), None, lru);
    let type_ = server.db[db].dict.type_of(o);
    if type_ != OBJ_STRING {
        signalKeyAsReady(server, db, key, type_);
    }
    o
}

/// Adds a key while an RDB is loaded: nobody waits, and a key that is there already is no fault of ours. `None`: it was
/// there, and was left alone.
pub fn dbAddRDBLoad<'a>(
    server: &mut Server,
    db: usize,
    key: &[u8],
    val: impl Into<Value<'a>>,
    expire: Option<i64>,
) -> Option<KeyRef> {
    let hash = server.db[db].dict.hash(key);
    if server.db[db].dict.find_hashed(key, hash).is_some() {
        return None;
    }
    let lru = newObjectLru(server);
    Some(server.db[db].dict.add_full(key, hash, val.into(), expire, lru))
}

/// Replaces the value of a key, which must be there. Its time of expiry stays.
pub fn dbOverwrite<'a>(
    server: &mut Server,
    db: usize,
    key: &[u8],
    val: impl Into<Value<'a>>,
) -> KeyRef {
    let o = dbFind(server, db, key).expect("only a key that exists is overwritten");
    dbOverwriteRef(server, db, o, val)
}

/// The same for a key that was found already.
pub fn dbOverwriteRef<'a>(
    server: &mut Server,
    db: usize,
    o: KeyRef,
    val: impl Into<Value<'a>>,
) -> KeyRef {
    // A new value is as old as now; with LFU, it is as popular as the one before.
    let lfu = server.maxmemory_policy & MAXMEMORY_FLAG_LFU != 0;
    let lru = if lfu { server.db[db].dict.lru(o) } else { newObjectLru(server) };
    if server.lazyfree_lazy_server_del {
        let (o, old) = server.db[db].dict.replace_value(o, val);
        server.db[db].dict.set_lru(o, lru);
        freeObjAsync(server, old);
        return o;
    }
    let dict = &mut server.db[db].dict;
    let o = dict.set_value(o, val);
    dict.set_lru(o, lru);
    o
}

/// Sets a key, new or not: the way every new value gets into the keyspace. Who WATCHes it is told (`signal`), and it loses
/// its time of expiry, unless `keepttl`.
pub fn genericSetKey<'a>(
    server: &mut Server,
    c: Option<ClientId>,
    db: usize,
    key: &[u8],
    val: impl Into<Value<'a>>,
    keepttl: bool,
    signal: bool,
) {
    match lookupKeyWrite(server, db, key) {
        None => {
            dbAdd(server, db, key, val);
        }
        Some(o) => {
            let o = dbOverwriteRef(server, db, o, val);
            if !keepttl {
                server.db[db].dict.remove_expire(o);
            }
        }
    }
    if signal {
        signalModifiedKey(server, c, db, key);
    }
}

/// The common case of it.
pub fn setKey<'a>(
    server: &mut Server,
    c: Option<ClientId>,
    db: usize,
    key: &[u8],
    val: impl Into<Value<'a>>,
) {
    genericSetKey(server, c, db, key, val, false, true);
}

/// A random key of a db that is not expired, `None` if there is none.
pub fn dbRandomKey(server: &mut Server, db: usize) -> Option<Vec<u8>> {
    let mut maxtries = 100;
    let dict = &server.db[db].dict;
    let allvolatile = dict.len() == dict.expires_len();
    loop {
        let dict = &server.db[db].dict;
        let o = dict.random_key(randomU64)?;
        let key = dict.key(o).to_vec();
        if dict.expire(o).is_some() {
            // On a replica where every key is expired this would go on for ever: nothing is deleted here. After some tries
            // an expired key it is.
            if allvolatile && server.masterhost.is_some() {
                maxtries -= 1;
                if maxtries == 0 {
                    return Some(key);
                }
            }
            if expireIfNeeded(server, db, &key) {
                continue;
            }
        }
        return Some(key);
    }
}

/// Deletes a key and frees its value at once; false if it was not there.
pub fn dbSyncDelete(server: &mut Server, db: usize, key: &[u8]) -> bool {
    match dbFind(server, db, key) {
        Some(o) => {
            drop(server.db[db].dict.remove(o));
            true
        }
        None => false,
    }
}

/// Deletes a key on the server's own account: `lazyfree-lazy-server-del` says how.
pub fn dbDelete(server: &mut Server, db: usize, key: &[u8]) -> bool {
    if server.lazyfree_lazy_server_del {
        dbAsyncDelete(server, db, key)
    } else {
        dbSyncDelete(server, db, key)
    }
}

/// Removes all keys of a db, or of all with `dbnum` -1; how many they were. `callback` is called now and then while the
/// memory is freed.
fn emptyDbStructure(
    server: &mut Server,
    dbnum: i32,
    async_: bool,
    callback: Option<fn(&mut Server)>,
) -> i64 {
    let dbs = if dbnum == -1 { 0..server.db.len() } else { dbnum as usize..dbnum as usize + 1 };
    let mut removed = 0;
    for j in dbs {
        removed += server.db[j].dict.len() as i64;
        if async_ {
            emptyDbAsync(server, j);
        } else {
            // Out of the server while it is emptied: the callback gets a server with an empty db.
            let mut old = server.db[j].dict.take();
            old.empty(|| {
                if let Some(callback) = callback {
                    callback(server);
                }
            });
        }
        server.db[j].avg_ttl = 0;
        server.db[j].expires_cursor = 0;
    }
    removed
}

/// Removes all keys of a db, or of all with `dbnum` -1, in the background with `EMPTYDB_ASYNC`. `callback` is called now
/// and then to say that work is in progress. Returns how many keys they were, -1 if there is no such db.
pub fn emptyDb(
    server: &mut Server,
    dbnum: i32,
    flags: i32,
    callback: Option<fn(&mut Server)>,
) -> i64 {
    let async_ = flags & EMPTYDB_ASYNC != 0;
    if dbnum < -1 || dbnum >= server.db.len() as i32 {
        return -1;
    }

    // While the keys are still there: only who watches one of them is touched.
    signalFlushedDb(server, dbnum, async_);
    let removed = emptyDbStructure(server, dbnum, async_, callback);
    if dbnum == -1 {
        flushSlaveKeysWithExpireList(server);
    }
    removed
}

/// Selects a db for a client; `C_ERR` if there is no such db.
pub fn selectDb(server: &mut Server, c: ClientId, id: i32) -> CResult {
    if id < 0 || id >= server.db.len() as i32 {
        return C_ERR;
    }
    server[c].db = id as usize;
    C_OK
}

/// The number of keys in all dbs.
pub fn dbTotalServerKeyCount(server: &Server) -> usize {
    server.db.iter().map(|db| db.dict.len()).sum()
}

// -----------------------------------------------------------------------------
// Hooks for key space changes.
//
// Every change of a key ends in signalModifiedKey(), every flush of a db in signalFlushedDb().
// -----------------------------------------------------------------------------

/// A key was changed, by `c` or by the server itself.
#[inline]
pub fn signalModifiedKey(server: &mut Server, _c: Option<ClientId>, db: usize, key: &[u8]) {
    touchWatchedKey(server, db, key);
}

/// A db is about to be flushed, or all with -1.
pub fn signalFlushedDb(server: &mut Server, dbid: i32, _async: bool) {
    let dbs = if dbid == -1 { 0..server.db.len() } else { dbid as usize..dbid as usize + 1 };
    for j in dbs {
        touchAllWatchedKeysInDb(server, j, None);
    }
}

// -----------------------------------------------------------------------------
// Type agnostic commands operating on the key space
// -----------------------------------------------------------------------------

/// The flags for `emptyDb` that FLUSHALL and FLUSHDB ask for: SYNC, ASYNC, or what `lazyfree-lazy-user-flush` says. On an
/// error the reply was sent.
fn getFlushCommandFlags(server: &mut Server, c: ClientId, argv: &Args) -> Result<i32, ()> {
    let option = (argv.len() == 2).then(|| argv.get(1));
    match option {
        Some(o) if o.eq_ignore_ascii_case(b"sync") => Ok(EMPTYDB_NO_FLAGS),
        Some(o) if o.eq_ignore_ascii_case(b"async") => Ok(EMPTYDB_ASYNC),
        None if argv.len() == 1 => {
            Ok(if server.lazyfree_lazy_user_flush { EMPTYDB_ASYNC } else { EMPTYDB_NO_FLAGS })
        }
        _ => {
            addReplyErrorObject(server, c, shared::syntaxerr);
            Err(())
        }
    }
}

/// After a flush that waited, memory goes back to the system at once too: with no traffic to come, jemalloc would keep it.
fn purgeAfterFlush(flags: i32) {
    if flags & EMPTYDB_ASYNC == 0 {
        // Nothing depends on it.
        let _ = jemalloc_purge();
    }
}

/// Empties all dbs, stops a save that is no longer wanted, and leaves an RDB of the empty data set if save points are set.
pub fn flushAllDataAndResetRDB(server: &mut Server, flags: i32) {
    server.dirty += emptyDb(server, -1, flags, None);
    if server.child_type == CHILD_TYPE_RDB {
        killRDBChild(server);
    }
    if !server.saveparams.is_empty() {
        // `rdbSave` resets the counter of changes, and a FLUSHALL without changes would not be propagated.
        let saved_dirty = server.dirty;
        let rsi = rdbPopulateSaveInfo(server);
        let filename = server.rdb_filename.clone();
        // A save that fails has logged why, and the data set is empty all the same.
        let _ = rdbSave(server, &filename, rsi.as_ref());
        server.dirty = saved_dirty;
    }

    // A FLUSHALL of empty dbs is propagated too.
    server.dirty += 1;
    purgeAfterFlush(flags);
}

/// FLUSHDB [ASYNC|SYNC]
pub fn flushdbCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(flags) = getFlushCommandFlags(server, c, argv) else { return };
    let db = server[c].db as i32;
    server.dirty += emptyDb(server, db, flags, None);
    addReply(server, c, shared::ok);
    purgeAfterFlush(flags);
}

/// FLUSHALL [ASYNC|SYNC]
pub fn flushallCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(flags) = getFlushCommandFlags(server, c, argv) else { return };
    flushAllDataAndResetRDB(server, flags);
    addReply(server, c, shared::ok);
}

/// DEL and UNLINK.
fn delGenericCommand(server: &mut Server, c: ClientId, argv: &Args, lazy: bool) {
    let db = server[c].db;
    let mut numdel = 0;
    for key in argv.iter().skip(1) {
        expireIfNeeded(server, db, key);
        let deleted =
            if lazy { dbAsyncDelete(server, db, key) } else { dbSyncDelete(server, db, key) };
        if deleted {
            signalModifiedKey(server, Some(c), db, key);
            notifyKeyspaceEvent(server, NOTIFY_GENERIC, "del", key, db);
            server.dirty += 1;
            numdel += 1;
        }
    }
    addReplyLongLong(server, c, numdel);
}

/// DEL key [key ...]
pub fn delCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let lazy = server.lazyfree_lazy_user_del;
    delGenericCommand(server, c, argv, lazy);
}

/// UNLINK key [key ...]
pub fn unlinkCommand(server: &mut Server, c: ClientId, argv: &Args) {
    delGenericCommand(server, c, argv, true);
}

/// EXISTS key [key ...]: how many of them there are; one named twice counts twice.
pub fn existsCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let db = server[c].db;
    let mut count = 0;
    for key in argv.iter().skip(1) {
        if lookupKeyReadWithFlags(server, db, key, LOOKUP_NOTOUCH).is_some() {
            count += 1;
        }
    }
    addReplyLongLong(server, c, count);
}

/// SELECT index
pub fn selectCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(id) = getIntFromObjectOrReply(server, c, &argv[1], None) else { return };
    if selectDb(server, c, id).is_err() {
        addReplyError(server, c, b"DB index is out of range");
    } else {
        addReply(server, c, shared::ok);
    }
}

/// RANDOMKEY
pub fn randomkeyCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    let db = server[c].db;
    match dbRandomKey(server, db) {
        Some(key) => addReplyBulkCBuffer(server, c, &key),
        None => addReplyNull(server, c),
    }
}

/// KEYS pattern
pub fn keysCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let pattern = argv.get(1);
    let allkeys = pattern == b"*";
    let now = expireClock(server);
    let replylen = addReplyDeferredLen(server, c);
    let mut numkeys = 0;
    let Server { clients, db, .. } = server;
    let db = &db[clients[c].db];
    for entry in db.dict.iter() {
        if (allkeys || stringmatchlen(pattern, entry.key(), false))
            && entry.expire().is_none_or(|when| now.is_none_or(|now| now <= when))
        {
            addReplyBulkCBuffer(clients, c, entry.key());
            numkeys += 1;
        }
    }
    setDeferredArrayLen(server, c, replylen, numkeys);
}

/// A SCAN cursor: an unsigned decimal number. On an error the reply was sent.
pub fn parseScanCursorOrReply(server: &mut Server, c: ClientId, o: &[u8]) -> Result<u64, ()> {
    // strtoul(3) takes a sign, and "-1" is the largest cursor; white space at the start is refused.
    let (negative, digits) = match o.first() {
        Some(b'-') => (true, &o[1..]),
        Some(b'+') => (false, &o[1..]),
        _ => (false, o),
    };
    let cursor = digits.iter().try_fold(0u64, |n, d| {
        let d = d.is_ascii_digit().then(|| u64::from(d - b'0'))?;
        n.checked_mul(10)?.checked_add(d)
    });
    match cursor {
        // The empty string is 0 to strtoul, a sign alone is an error.
        Some(n) if o.is_empty() || !digits.is_empty() => {
            Ok(if negative { n.wrapping_neg() } else { n })
        }
        _ => {
            addReplyError(server, c, b"invalid cursor");
            Err(())
        }
    }
}

/// SCAN from `cursor`, with COUNT, MATCH and TYPE: of the keyspace, or of the elements of `o`, a set, hash or sorted set
/// (SSCAN, HSCAN, ZSCAN).
pub fn scanGenericCommand(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    o: Option<KeyRef>,
    mut cursor: u64,
) {
    let db = server[c].db;
    let mut count = 10i64;
    let mut pat = None;
    let mut typename = None;

    // Step 1: Parse options. They follow the cursor, before which the key is, if there is one.
    let mut i = if o.is_some() { 3 } else { 2 };
    while i < argv.len() {
        let (option, more) = (argv.get(i), argv.len() - i >= 2);
        if eq_ignore_case(option, b"count") && more {
            match getLongFromObjectOrReply(server, c, &argv[i + 1], None) {
                Ok(n) => count = n,
                Err(()) => return,
            }
            if count < 1 {
                addReplyErrorObject(server, c, shared::syntaxerr);
                return;
            }
        } else if eq_ignore_case(option, b"match") && more {
            pat = Some(argv.get(i + 1)).filter(|pat| *pat != b"*");
        } else if eq_ignore_case(option, b"type") && o.is_none() && more {
            typename = Some(argv.get(i + 1));
        } else {
            addReplyErrorObject(server, c, shared::syntaxerr);
            return;
        }
        i += 2;
    }

    // Step 2: Iterate. What is no table has few elements: they all come at once, and the cursor is 0.
    let mut keys: Vec<Vec<u8>> = Vec::new();
    let dict = &server.db[db].dict;
    let mut pairs = false;
    match o.map(|o| dict.get(o)) {
        None => scanTable(&mut cursor, count, &mut keys, |cursor, keys| {
            dict.scan(cursor, |o| keys.push(dict.key(o).to_vec()))
        }),
        Some(ValueRef::Aggregate(AggregateRef::Set(SetRef::Ht(ht)))) => {
            scanTable(&mut cursor, count, &mut keys, |cursor, keys| {
                dictScan(ht, cursor, |member| keys.push(member.as_slice().to_vec()))
            });
        }
        Some(ValueRef::Aggregate(AggregateRef::Set(SetRef::Intset(is)))) => {
            keys.extend(
                (0..intsetLen(is))
                    .map_while(|pos| intsetGet(is, pos))
                    .map(|n| ll2string(n).to_vec()),
            );
            cursor = 0;
        }
        Some(ValueRef::Aggregate(AggregateRef::Hash(HashRef::Ht(ht)))) => {
            pairs = true;
            scanTable(&mut cursor, count.saturating_mul(2), &mut keys, |cursor, keys| {
                dictScan(ht, cursor, |pair| {
                    keys.extend([pair.field().to_vec(), pair.value().to_vec()])
                })
            });
        }
        Some(ValueRef::Aggregate(AggregateRef::Zset(ZsetRef::Skiplist(zs)))) => {
            pairs = true;
            scanTable(&mut cursor, count.saturating_mul(2), &mut keys, |cursor, keys| {
                zs.dict.scan(cursor, |node| {
                    let (ele, score) = (zs.zsl.member(node as u32), zs.zsl.score(node as u32));
                    keys.extend([ele.to_vec(), format_17g(score).to_vec()]);
                })
            });
        }
        Some(ValueRef::Aggregate(
            AggregateRef::Hash(HashRef::Ziplist(zl)) | AggregateRef::Zset(ZsetRef::Ziplist(zl)),
        )) => {
            pairs = true;
            let mut p = ziplistIndex(zl, 0);
            while let Some(at) = p {
                match assertSome!(ziplistGet(zl, at)) {
                    ZiplistEntry::Str(s) => keys.push(s.to_vec()),
                    ZiplistEntry::Int(n) => keys.push(ll2string(n).to_vec()),
                }
                p = ziplistNext(zl, at);
            }
            // For each field its value, for each member its score.
            assert!(keys.len().is_multiple_of(2));
            cursor = 0;
        }
        Some(_) => panic!("Not handled encoding in SCAN."),
    }

    // Step 3: Filter: the pattern, and for keys the type, and those that are expired. Of pairs only the first is matched.
    if let Some(pat) = pat.filter(|_| pairs) {
        let matches: Vec<bool> =
            keys.chunks(2).map(|pair| stringmatchlen(pat, &pair[0], false)).collect();
        let mut at = 0;
        keys.retain(|_| {
            at += 1;
            matches[(at - 1) / 2]
        });
    } else if o.is_some() {
        keys.retain(|key| pat.is_none_or(|pat| stringmatchlen(pat, key, false)));
    } else {
        keys.retain(|key| {
            if pat.is_some_and(|pat| !stringmatchlen(pat, key, false)) {
                return false;
            }
            if let Some(typename) = typename {
                let o = lookupKeyReadWithFlags(server, db, key, LOOKUP_NOTOUCH);
                let name = getObjectTypeName(o.map(|o| server.db[db].dict.type_of(o)));
                if !eq_ignore_case(typename, name.as_bytes()) {
                    return false;
                }
            }
            !expireIfNeeded(server, db, key)
        });
    }

    // Step 4: Reply to the client.
    addReplyArrayLen(server, c, 2);
    addReplyBulkCBuffer(server, c, &ull2string(cursor));
    addReplyArrayLen(server, c, keys.len());
    for key in &keys {
        addReplyBulkCBuffer(server, c, key);
    }
}

/// Scans a table until there are `count` strings or the cursor is 0 again. A table that is nearly empty has many empty
/// buckets: at ten times the count it is enough for now.
fn scanTable(
    cursor: &mut u64,
    count: i64,
    keys: &mut Vec<Vec<u8>>,
    mut scan: impl FnMut(u64, &mut Vec<Vec<u8>>) -> u64,
) {
    let mut maxiterations = count.saturating_mul(10);
    loop {
        *cursor = scan(*cursor, keys);
        if *cursor == 0 || maxiterations == 0 || keys.len() as i64 >= count {
            return;
        }
        maxiterations -= 1;
    }
}

/// SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]
pub fn scanCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(cursor) = parseScanCursorOrReply(server, c, &argv[1]) else { return };
    scanGenericCommand(server, c, argv, None, cursor);
}

/// DBSIZE
pub fn dbsizeCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    let size = server.db[server[c].db].dict.len();
    addReplyLongLong(server, c, size as i64);
}

/// LASTSAVE
pub fn lastsaveCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    let lastsave = server.lastsave;
    addReplyLongLong(server, c, lastsave);
}

/// The name of a type as TYPE shows it; "none" for no key.
pub fn getObjectTypeName(type_: Option<u8>) -> &'static str {
    match type_ {
        None => "none",
        Some(OBJ_STRING) => "string",
        Some(OBJ_LIST) => "list",
        Some(OBJ_SET) => "set",
        Some(OBJ_ZSET) => "zset",
        Some(OBJ_HASH) => "hash",
        Some(OBJ_STREAM) => "stream",
        Some(_) => "unknown",
    }
}

/// TYPE key
pub fn typeCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let db = server[c].db;
    let o = lookupKeyReadWithFlags(server, db, &argv[1], LOOKUP_NOTOUCH);
    let name = getObjectTypeName(o.map(|o| server.db[db].dict.type_of(o)));
    addReplyStatus(server, c, name.as_bytes());
}

/// SHUTDOWN [NOSAVE|SAVE]
pub fn shutdownCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let flags = match argv.len() {
        1 => SHUTDOWN_NOFLAGS,
        2 if argv[1].eq_ignore_ascii_case(b"nosave") => SHUTDOWN_NOSAVE,
        2 if argv[1].eq_ignore_ascii_case(b"save") => SHUTDOWN_SAVE,
        _ => {
            addReplyErrorObject(server, c, shared::syntaxerr);
            return;
        }
    };
    if prepareForShutdown(server, flags).is_ok() {
        std::process::exit(0);
    }
    addReplyError(server, c, b"Errors trying to SHUTDOWN. Check logs.");
}

/// RENAME and RENAMENX.
fn renameGenericCommand(server: &mut Server, c: ClientId, argv: &Args, nx: bool) {
    let (db, from, to) = (server[c].db, argv.get(1), argv.get(2));

    // A key may be renamed to itself, but it has to be there.
    let Some(_) = lookupKeyWriteOrReply(server, c, from, shared::nokeyerr) else { return };
    if from == to {
        addReply(server, c, if nx { shared::czero } else { shared::ok });
        return;
    }
    if lookupKeyWrite(server, db, to).is_some() {
        if nx {
            addReply(server, c, shared::czero);
            return;
        }
        dbDelete(server, db, to);
    }

    // C: adds the value under the new name, then deletes the old one. Here the value is moved: there is one of it.
    moveKey(server, c, (db, from), (db, to));
    signalModifiedKey(server, Some(c), db, from);
    signalModifiedKey(server, Some(c), db, to);
    notifyKeyspaceEvent(server, NOTIFY_GENERIC, "rename_from", from, db);
    notifyKeyspaceEvent(server, NOTIFY_GENERIC, "rename_to", to, db);
    server.dirty += 1;
    addReply(server, c, if nx { shared::cone } else { shared::ok });
}

/// Takes a key, which is there, out of a db, and adds its value with its time of expiry and access time as a key that is
/// not there yet, in the same db or another.
fn moveKey(
    server: &mut Server,
    c: ClientId,
    (db, from): (usize, &[u8]),
    (dst, to): (usize, &[u8]),
) {
    let o = dbFind(server, db, from).expect("the key was looked up");
    let entry = server.db[db].dict.remove(o);
    let (expire, lru) = (entry.expire(), entry.lru());
    let o = dbAdd(server, dst, to, entry.into_object());
    server.db[dst].dict.set_lru(o, lru);
    if let Some(when) = expire {
        setExpire(server, Some(c), dst, to, when);
    }
}

/// RENAME key newkey
pub fn renameCommand(server: &mut Server, c: ClientId, argv: &Args) {
    renameGenericCommand(server, c, argv, false);
}

/// RENAMENX key newkey
pub fn renamenxCommand(server: &mut Server, c: ClientId, argv: &Args) {
    renameGenericCommand(server, c, argv, true);
}

/// The number of a db from an argument. On an error the reply was sent.
fn getDbFromArgument(server: &mut Server, c: ClientId, arg: &[u8]) -> Result<usize, ()> {
    let id = getIntFromObjectOrReply(server, c, arg, None)?;
    if id < 0 || id >= server.db.len() as i32 {
        addReplyError(server, c, b"DB index is out of range");
        return Err(());
    }
    Ok(id as usize)
}

/// MOVE key db
pub fn moveCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (src, key) = (server[c].db, argv.get(1));
    let Ok(dst) = getDbFromArgument(server, c, &argv[2]) else { return };

    // Moving a key to where it is is probably a mistake.
    if src == dst {
        addReplyErrorObject(server, c, shared::sameobjecterr);
        return;
    }
    if lookupKeyWrite(server, src, key).is_none() || lookupKeyWrite(server, dst, key).is_some() {
        addReply(server, c, shared::czero);
        return;
    }
    moveKey(server, c, (src, key), (dst, key));
    signalModifiedKey(server, Some(c), src, key);
    signalModifiedKey(server, Some(c), dst, key);
    notifyKeyspaceEvent(server, NOTIFY_GENERIC, "move_from", key, src);
    notifyKeyspaceEvent(server, NOTIFY_GENERIC, "move_to", key, dst);
    server.dirty += 1;
    addReply(server, c, shared::cone);
}

/// COPY source destination [DB destination-db] [REPLACE]
pub fn copyCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let src = server[c].db;
    let (mut dst, mut replace) = (src, false);
    let mut j = 3;
    while j < argv.len() {
        if argv[j].eq_ignore_ascii_case(b"replace") {
            replace = true;
        } else if argv[j].eq_ignore_ascii_case(b"db") && j + 1 < argv.len() {
            match getDbFromArgument(server, c, &argv[j + 1]) {
                Ok(id) => dst = id,
                Err(()) => return,
            }
            j += 1;
        } else {
            addReplyErrorObject(server, c, shared::syntaxerr);
            return;
        }
        j += 1;
    }

    let (key, newkey) = (argv.get(1), argv.get(2));
    if src == dst && key == newkey {
        addReplyErrorObject(server, c, shared::sameobjecterr);
        return;
    }
    let Some(_) = lookupKeyWrite(server, src, key) else {
        addReply(server, c, shared::czero);
        return;
    };
    let expire = getExpire(server, src, key);
    if lookupKeyWrite(server, dst, newkey).is_some() {
        if !replace {
            addReply(server, c, shared::czero);
            return;
        }
        dbDelete(server, dst, newkey);
    }
    let o = dbFind(server, src, key).expect("the key was looked up");
    let newobj = server.db[src].get(o).to_object(server.db[src].dict.encoding(o));
    dbAdd(server, dst, newkey, newobj);
    if expire != -1 {
        setExpire(server, Some(c), dst, newkey, expire);
    }
    signalModifiedKey(server, Some(c), dst, newkey);
    notifyKeyspaceEvent(server, NOTIFY_GENERIC, "copy_to", newkey, dst);
    server.dirty += 1;
    addReply(server, c, shared::cone);
}

/// Signals the keys of a db that clients wait for and that are there now, after the db was exchanged for another.
fn scanDatabaseForReadyLists(server: &mut Server, db: usize) {
    let keys: Vec<Vec<u8>> = server.db[db].blocking_keys.keys().cloned().collect();
    for key in keys {
        if let Some(o) = lookupKey(server, db, &key, LOOKUP_NOTOUCH) {
            let type_ = server.db[db].dict.type_of(o);
            signalKeyAsReady(server, db, &key, type_);
        }
    }
}

/// Exchanges the keys of two dbs, so that clients who have one selected see the other at once. Who waits and who watches
/// stays with the number. `C_ERR`: there is no such db.
pub fn dbSwapDatabases(server: &mut Server, id1: i32, id2: i32) -> CResult {
    let dbs = server.db.len() as i32;
    if id1 < 0 || id1 >= dbs || id2 < 0 || id2 >= dbs {
        return C_ERR;
    }
    if id1 == id2 {
        return C_OK;
    }
    let (id1, id2) = (id1 as usize, id2 as usize);
    let [db1, db2] = server.db.get_disjoint_mut([id1, id2]).expect("two dbs that exist");
    std::mem::swap(&mut db1.dict, &mut db2.dict);
    std::mem::swap(&mut db1.avg_ttl, &mut db2.avg_ttl);
    std::mem::swap(&mut db1.expires_cursor, &mut db2.expires_cursor);

    // A client that waits for a key may have found it. Usually `dbAdd` looks, but nothing was added. And who watches a key
    // that was there, or is there now, sees a change.
    scanDatabaseForReadyLists(server, id1);
    touchAllWatchedKeysInDb(server, id1, Some(id2));
    scanDatabaseForReadyLists(server, id2);
    touchAllWatchedKeysInDb(server, id2, Some(id1));
    C_OK
}

/// SWAPDB index1 index2
pub fn swapdbCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(id1) = getIntFromObjectOrReply(server, c, &argv[1], Some("invalid first DB index"))
    else {
        return;
    };
    let Ok(id2) = getIntFromObjectOrReply(server, c, &argv[2], Some("invalid second DB index"))
    else {
        return;
    };
    if dbSwapDatabases(server, id1, id2).is_err() {
        addReplyError(server, c, b"DB index is out of range");
        return;
    }
    server.dirty += 1;
    addReply(server, c, shared::ok);
}

// -----------------------------------------------------------------------------
// Expires API
// -----------------------------------------------------------------------------

/// Makes a key, which must be there, persistent; false if it was.
pub fn removeExpire(server: &mut Server, db: usize, key: &[u8]) -> bool {
    let o = dbFind(server, db, key).expect("only a key that exists has an expire");
    let had = server.db[db].dict.expire(o).is_some();
    server.db[db].dict.remove_expire(o);
    had
}

/// Sets when a key, which must be there, expires: milliseconds since the epoch. `c` is the client whose command does it, if
/// it is one.
pub fn setExpire(server: &mut Server, c: Option<ClientId>, db: usize, key: &[u8], when: i64) {
    let o = dbFind(server, db, key).expect("only a key that exists can expire");
    server.db[db].dict.set_expire(o, when);

    // The master knows nothing of keys that are made on a writable replica, and will not expire them for us.
    let writable_slave = server.masterhost.is_some() && !server.repl_slave_ro;
    if writable_slave && c.is_some_and(|c| server[c].flags & CLIENT_MASTER == 0) {
        rememberSlaveKeyWithExpire(server, db, key);
    }
}

/// When a key expires, in milliseconds since the epoch; -1 if it does not, or is not there.
pub fn getExpire(server: &Server, db: usize, key: &[u8]) -> i64 {
    if server.db[db].dict.expires_len() == 0 {
        return -1;
    }
    dbFind(server, db, key).and_then(|o| server.db[db].dict.expire(o)).unwrap_or(-1)
}

/// Deletes an expired key and tells the replicas.
pub fn deleteExpiredKeyAndPropagate(server: &mut Server, db: usize, key: &[u8]) {
    let mut expire_latency = latencyStartMonitor(server);
    let lazy = server.lazyfree_lazy_expire;
    if lazy {
        dbAsyncDelete(server, db, key);
    } else {
        dbSyncDelete(server, db, key);
    }
    latencyEndMonitor(server, &mut expire_latency);
    latencyAddSampleIfNeeded(server, "expire-del", expire_latency);
    notifyKeyspaceEvent(server, NOTIFY_EXPIRED, "expired", key, db);
    signalModifiedKey(server, None, db, key);
    propagateExpire(server, db, key, lazy);
    server.stat_expiredkeys += 1;
}

/// Sends the DEL or UNLINK of an expired key to the replicas.
///
/// Expiry happens in one place, the master, and the stream keeps the order: so every replica sees a key expire at the same
/// point of the history, even one that is written to while it expires.
pub fn propagateExpire(server: &mut Server, db: usize, key: &[u8], lazy: bool) {
    let argv = Argv::new(&[if lazy { b"UNLINK" as &[u8] } else { b"DEL" }, key]);

    // It has to be propagated, whatever the command that found it is allowed.
    let prev_replication_allowed = server.replication_allowed;
    server.replication_allowed = true;
    let del = server.commands.delCommand;
    propagate(server, del, db as i32, &argv.as_args(), PROPAGATE_AOF | PROPAGATE_REPL);
    server.replication_allowed = prev_replication_allowed;
}

/// The time against which keys expire, in milliseconds; `None` while nothing expires.
///
/// Nothing expires while we load. Within a command time stands still: a key that was there when the command looked first is
/// there when it looks again.
fn expireClock(server: &Server) -> Option<i64> {
    if server.loading {
        None
    } else if server.fixed_time_expire > 0 {
        Some(server.mstime)
    } else {
        Some(mstime())
    }
}

/// Whether a key's time has come.
pub fn keyIsExpired(server: &Server, db: usize, key: &[u8]) -> bool {
    let when = getExpire(server, db, key);
    when >= 0 && expireClock(server).is_some_and(|now| now > when)
}

/// Looks whether a key is expired, and if so, deletes it, and tells the replicas; true if it is expired.
///
/// A replica deletes nothing: it waits for its master's DEL, so that both have the same data at the same offset. It still
/// says the truth to the caller. The same goes for a server whose clients are paused: its data must not change.
pub fn expireIfNeeded(server: &mut Server, db: usize, key: &[u8]) -> bool {
    if !keyIsExpired(server, db, key) {
        return false;
    }
    if server.masterhost.is_some() {
        return true;
    }
    if checkClientPauseTimeoutAndReturnIfPaused(server) {
        return true;
    }
    deleteExpiredKeyAndPropagate(server, db, key);
    true
}

// -----------------------------------------------------------------------------
// API to get key arguments from commands
// -----------------------------------------------------------------------------

/// The keys of a command whose places are in the command table. Places beyond the arguments: no keys, the command will
/// report the error itself.
pub fn getKeysUsingCommandTable(cmd: &redisCommand, argv: &Args, result: &mut Vec<usize>) -> usize {
    result.clear();
    if cmd.firstkey == 0 {
        return 0;
    }
    let argc = argv.len() as i32;
    let last = if cmd.lastkey < 0 { argc + cmd.lastkey } else { cmd.lastkey };
    let mut j = cmd.firstkey;
    while j <= last {
        if j >= argc {
            assert!(cmd.arity < 0, "a command's keys lie beyond its arity");
            result.clear();
            return 0;
        }
        result.push(j as usize);
        j += cmd.keystep;
    }
    result.len()
}

/// The places of all the keys among the arguments; returns how many.
pub fn getKeysFromCommand(cmd: &redisCommand, argv: &Args, result: &mut Vec<usize>) -> usize {
    match cmd.getkeys_proc {
        Some(getkeys_proc) => getkeys_proc(cmd, argv, result),
        None => getKeysUsingCommandTable(cmd, argv, result),
    }
}

/// The keys of a command that says how many there are: `COMMAND [destkey] numkeys key [key ...] ...`. `storeKeyOfs` is the
/// place of the destination (0: none), `keyCountOfs` that of the number, `firstKeyOfs` that of the first key.
pub fn genericGetKeys(
    storeKeyOfs: usize,
    keyCountOfs: usize,
    firstKeyOfs: usize,
    keyStep: usize,
    argv: &Args,
    result: &mut Vec<usize>,
) -> usize {
    result.clear();
    let num = atoi(&argv[keyCountOfs]);
    // A number that cannot be right: the command will answer with a syntax error.
    let room = argv.len().saturating_sub(firstKeyOfs) / keyStep;
    if num < 1 || num as usize > room {
        return 0;
    }
    result.extend((0..num as usize).map(|i| firstKeyOfs + i * keyStep));
    if storeKeyOfs != 0 {
        result.push(storeKeyOfs);
    }
    result.len()
}

/// ZUNIONSTORE and its like: `COMMAND destkey numkeys key [key ...]`
pub fn zunionInterDiffStoreGetKeys(
    _cmd: &redisCommand,
    argv: &Args,
    result: &mut Vec<usize>,
) -> usize {
    genericGetKeys(1, 2, 3, 1, argv, result)
}

/// ZUNION and its like: `COMMAND numkeys key [key ...]`
pub fn zunionInterDiffGetKeys(_cmd: &redisCommand, argv: &Args, result: &mut Vec<usize>) -> usize {
    genericGetKeys(0, 1, 2, 1, argv, result)
}

/// MIGRATE: the third argument, or if that is empty, what follows KEYS.
pub fn migrateGetKeys(_cmd: &redisCommand, argv: &Args, result: &mut Vec<usize>) -> usize {
    result.clear();
    let keys = |i: &usize| eq_ignore_case(&argv[*i], b"keys") && argv[3].is_empty();
    match (6..argv.len()).find(keys) {
        Some(i) => result.extend(i + 1..argv.len()),
        None => result.push(3),
    }
    result.len()
}

/// GEORADIUS and GEORADIUSBYMEMBER: the key, and that of STORE or STOREDIST. If there are several of these the last one
/// counts, as it does for the command.
pub fn georadiusGetKeys(_cmd: &redisCommand, argv: &Args, result: &mut Vec<usize>) -> usize {
    result.clear();
    let mut stored_key = None;
    let mut i = 5;
    while i < argv.len() {
        let store = eq_ignore_case(&argv[i], b"store") || eq_ignore_case(&argv[i], b"storedist");
        if store && i + 1 < argv.len() {
            stored_key = Some(i + 1);
            i += 1;
        }
        i += 1;
    }
    result.push(1);
    result.extend(stored_key);
    result.len()
}

/// SORT key ... [STORE destination]. Of several STOREs the last one counts, as it does for SORT.
// C: 6.2.16 takes the destination of a STORE for the next option, so that `STORE by STORE secret` hides a key from the ACL.
pub fn sortGetKeys(_cmd: &redisCommand, argv: &Args, result: &mut Vec<usize>) -> usize {
    result.clear();
    result.push(1);
    let mut i = 2;
    while i < argv.len() {
        // An option this does not know has no arguments.
        if argv[i].eq_ignore_ascii_case(b"limit") {
            i += 2;
        } else if argv[i].eq_ignore_ascii_case(b"get") || argv[i].eq_ignore_ascii_case(b"by") {
            i += 1;
        } else if argv[i].eq_ignore_ascii_case(b"store") && i + 1 < argv.len() {
            i += 1;
            result.truncate(1);
            result.push(i);
        }
        i += 1;
    }
    result.len()
}

/// STRALGO LCS ... KEYS a b
pub fn lcsGetKeys(_cmd: &redisCommand, argv: &Args, result: &mut Vec<usize>) -> usize {
    result.clear();
    let mut i = 1;
    while i < argv.len() {
        let moreargs = argv.len() - 1 - i;
        if argv[i].eq_ignore_ascii_case(b"strings") {
            return 0;
        }
        if argv[i].eq_ignore_ascii_case(b"keys") && moreargs >= 2 {
            result.extend([i + 1, i + 2]);
            break;
        }
        i += 1;
    }
    result.len()
}

/// MEMORY USAGE key
pub fn memoryGetKeys(_cmd: &redisCommand, argv: &Args, result: &mut Vec<usize>) -> usize {
    result.clear();
    if argv.len() >= 3 && argv[1].eq_ignore_ascii_case(b"usage") {
        result.push(2);
    }
    result.len()
}

/// XREAD and XREADGROUP: the first half of what stands behind STREAMS, which may also be the name of a group or a consumer.
pub fn xreadGetKeys(_cmd: &redisCommand, argv: &Args, result: &mut Vec<usize>) -> usize {
    result.clear();
    let is = |i: usize, name: &[u8]| eq_ignore_case(&argv[i], name);
    let mut i = 1;
    while i < argv.len() {
        if is(i, b"block") || is(i, b"count") {
            i += 1;
        } else if is(i, b"group") {
            i += 2;
        } else if is(i, b"streams") {
            let num = argv.len() - i - 1;
            if num.is_multiple_of(2) {
                result.extend(i + 1..i + 1 + num / 2);
            }
            break;
        } else if !is(i, b"noack") {
            break;
        }
        i += 1;
    }
    result.len()
}
