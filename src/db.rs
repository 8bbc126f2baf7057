//! `db.c`: looking keys up, and the commands that work on keys of any type.
//!
//! Read first: `lookupKey` and its callers, then `expireIfNeeded`. Differs: a db is its number, a
//! value in the keyspace is a `KeyRef`. Key, value and time of expiry are one entry, so a lookup
//! that also looks at the expire is one search. A key's hash that the parser computed ahead is used
//! again (`hash_key`). There are no backups of the whole keyspace (they belong to diskless
//! loading), no cluster slots, no modules to tell, and no client side caching.

use crate::args::{Args, Argv};
use crate::blocked::signalKeyAsReady;
use crate::ds::dict::dictScan;
use crate::ds::glob::stringmatchlen;
use crate::ds::intset::{intsetGet, intsetLen};
use crate::ds::redisassert::assert_some;
use crate::ds::strset::strset_iter;
use crate::ds::ziplist::{ZiplistEntry, ziplistGet, ziplistIndex, ziplistNext};
use crate::evict::{LFUDecrAndReturn, LFUGetTimeInMinutes, LFULogIncr, initial_lru};
use crate::expire::{flushSlaveKeysWithExpireList, rememberSlaveKeyWithExpire};
use crate::keyspace::*;
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
use crate::sys::random::random_u64;
use crate::tracking::{trackingInvalidateKey, trackingInvalidateKeysOnFlush};
use crate::types::t_hash::HashRef;
use crate::types::t_set::SetRef;
use crate::types::t_zset::ZsetRef;
use crate::util::{atoi, c_str, eq_ignore_case, format_17g, ll2string, ull2string};

// -----------------------------------------------------------------------------
// C-level DB API
// -----------------------------------------------------------------------------

/// A key of which something is known: where it lies in the arguments of the running command, its
/// hash, and perhaps its entry. The parser leaves it here for the first key of a command, and takes
/// it away after the command.
#[derive(Copy, Clone, Default)]
pub struct KeyHashHint {
    address: usize,
    len: usize,
    guess: KeyGuess,
}

impl KeyHashHint {
    /// Makes the hint for a key in the arguments of the command that is about to run.
    #[inline]
    pub fn new(address: usize, len: usize, guess: KeyGuess) -> KeyHashHint {
        KeyHashHint { address, len, guess }
    }

    /// Makes it be about another key.
    #[inline(always)]
    pub fn set(&mut self, address: usize, len: usize, guess: &KeyGuess) {
        (self.address, self.len, self.guess) = (address, len, *guess);
    }

    /// Makes it be about nothing: no key is at address 0.
    #[inline]
    pub fn forget(&mut self) {
        self.address = 0;
    }

    /// Tells whether it is about these very bytes.
    #[inline(always)]
    fn is_about(&self, key: &[u8]) -> bool {
        self.address == key.as_ptr().addr() && self.len == key.len()
    }
}

/// Returns the hash of a key in any db. The slice that the parser hashed is not hashed again.
#[inline(always)]
pub fn hash_key(server: &Server, db: usize, key: &[u8]) -> u64 {
    let hint = &server.key_hash_hint;
    if hint.is_about(key) { hint.guess.hash() } else { server.db[db].dict.hash(key) }
}

/// Finds a key's entry, whether it is expired or not, and touches nothing.
#[inline(always)]
pub fn find_key(server: &Server, db: usize, key: &[u8]) -> Option<KeyRef> {
    let (hint, dict) = (&server.key_hash_hint, &server.db[db].dict);
    if hint.is_about(key) {
        return dict.find_guessed(key, &hint.guess);
    }
    dict.find_apart(key)
}

/// How many keys of one command are looked for side by side.
const KEYS_AT_ONCE: usize = 16;

/// What a command looks at of its keys.
#[derive(Copy, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Whether they are there, and what their header has.
    Entry,
    /// Their values, too, if only to free them.
    Value,
}

/// Calls `each` with the place of every argument that is a key: the first one, and each `step`th
/// from there on, in order. While it is called, the key's hash is known, and what is `wanted` of it
/// is on its way from memory.
///
/// Ours. A lookup waits for memory three times: for the bucket, the entry, and the value. A command
/// of many keys, one after the other, would wait for each of them; so what the look-ahead does for
/// the keys of a pipeline is done for the keys of a command.
pub fn for_each_key(
    server: &mut Server,
    db: usize,
    argv: &Args,
    (step, wanted): (usize, Wanted),
    mut each: impl FnMut(&mut Server, usize),
) {
    if argv.len() <= 1 + step {
        // The look-ahead has done it.
        return each(server, 1);
    }
    let hint = server.key_hash_hint;
    let mut guesses = [KeyGuess::default(); KEYS_AT_ONCE];
    let mut first = 1;
    while first < argv.len() {
        let keys = || (first..argv.len()).step_by(step).take(KEYS_AT_ONCE);
        for (guess, j) in guesses.iter_mut().zip(keys()) {
            *guess = KeyGuess::new(hash_key(server, db, &argv[j]));
        }
        let found = &mut guesses[..keys().len()];
        let dict = &server.db[db].dict;
        // Apart from the hashing: see `ASK_AT_ONCE` in lookahead.rs.
        found.iter().for_each(|guess| dict.prefetch_bucket(guess.hash()));
        found.iter_mut().for_each(|guess| dict.prefetch_entry(guess));
        if wanted == Wanted::Value {
            found.iter().filter_map(|guess| dict.guessed(guess)).for_each(|e| e.prefetch_value());
        }
        for (guess, j) in found.iter().zip(keys()) {
            let key = &argv[j];
            server.key_hash_hint = KeyHashHint::new(key.as_ptr().addr(), key.len(), *guess);
            each(server, j);
        }
        first += KEYS_AT_ONCE * step;
    }
    // There may be other bytes where the last key is, as soon as the command has ended.
    server.key_hash_hint = hint;
}

/// Returns the LFU field of a value that is accessed now: the counter first decays for the time it
/// was not, then goes up by one in the logarithmic way.
fn updateLFU(server: &Server, lru: u32) -> u32 {
    let counter = LFULogIncr(server, LFUDecrAndReturn(server, lru));
    LFUGetTimeInMinutes(server) << 8 | counter
}

/// Counts an access in the LFU field of a value.
#[inline(never)]
fn touch_lfu(server: &mut Server, db: usize, o: KeyRef) {
    let lfu = updateLFU(server, server.db[db].dict.lru(o));
    server.db[db].dict.set_lru(o, lfu);
}

/// Touches a value that was found: its LRU or LFU field, unless a child lives. A child shares our
/// memory page by page, and every page written is a page copied.
#[inline(always)]
fn update_access_time(server: &mut Server, db: usize, o: KeyRef, flags: i32) {
    if flags & LOOKUP_NOTOUCH != 0 || hasActiveChildProcess(server) {
        return;
    }
    if server.maxmemory_policy & MAXMEMORY_FLAG_LFU != 0 {
        touch_lfu(server, db, o);
    } else {
        server.db[db].dict.set_lru(o, server.lruclock);
    }
}

/// Looks a key up at the lowest level, and touches it as `flags` say. Commands use `lookupKeyRead`,
/// `lookupKeyWrite` and `lookupKeyReadWithFlags`.
#[inline]
pub fn lookupKey(server: &mut Server, db: usize, key: &[u8], flags: i32) -> Option<KeyRef> {
    let o = find_key(server, db, key)?;
    update_access_time(server, db, o, flags);
    Some(o)
}

/// Looks a key up for a command that only reads it; `None` if it is missing. As side effects
///
/// 1. an expired key is deleted,
/// 2. the key's last access time is updated, unless `flags` has `LOOKUP_NOTOUCH`,
/// 3. `keyspace_hits` or `keyspace_misses`, which INFO reports, goes up by one,
/// 4. a "keymiss" event is sent for a missing key, unless `flags` has `LOOKUP_NONOTIFY`.
///
/// A command that changes the value uses `lookupKeyWrite`: it counts no hit or miss, and on a
/// replica it has to see keys that a reader is told are gone.
///
/// On a replica a key that is logically expired counts as missing, although it still exists:
/// deleting it is up to the master, and a reader should not depend on how far the master's DEL is
/// behind.
#[inline(always)]
pub fn lookupKeyReadWithFlags(
    server: &mut Server,
    db: usize,
    key: &[u8],
    flags: i32,
) -> Option<KeyRef> {
    if let Some(o) = find_key(server, db, key)
        && !(server.db[db].dict.expire(o).is_some() && expired_for_read(server, db, key))
    {
        update_access_time(server, db, o, flags);
        server.stat_keyspace_hits += 1;
        return Some(o);
    }
    missed(server, db, key, flags);
    None
}

/// Counts a lookup that found nothing, and tells of it.
#[inline(never)]
fn missed(server: &mut Server, db: usize, key: &[u8], flags: i32) {
    if flags & LOOKUP_NONOTIFY == 0 {
        notifyKeyspaceEvent(server, NOTIFY_KEY_MISS, "keymiss", key, db);
    }
    server.stat_keyspace_misses += 1;
}

/// Tells whether a key with a time of expiry is to be treated as missing by a read; if we are a
/// master it is then gone.
#[inline(never)]
fn expired_for_read(server: &mut Server, db: usize, key: &[u8]) -> bool {
    if !expireIfNeeded(server, db, key) {
        return false;
    }
    // On a master `expireIfNeeded` deletes what it finds expired, so the key is missing in every
    // sense. (It deletes nothing while clients are paused, and then, too, the key counts as
    // missing.)
    if server.masterhost.is_none() {
        return true;
    }
    // On a replica `expireIfNeeded` only tells the key's logical state. The key still exists, and
    // the commands of the master must see it, for on the master it still existed when they ran:
    // that keeps both data sets the same.
    //
    // A client that is not the master, and whose command is flagged read-only, can be told the
    // truth. This is what makes GETs on replicas consistent where replicas are used to scale reads.
    // The check of the flag is a safety measure: a write on a writable replica works with the value
    // that exists.
    match server.current_client {
        Some(c) if server.current_client != server.master => {
            server[c].cmd.is_some_and(|cmd| server.commands[cmd].flags & CMD_READONLY != 0)
        }
        _ => false,
    }
}

/// Looks a key up for a command that only reads it, with all side effects of
/// `lookupKeyReadWithFlags`.
#[inline(always)]
pub fn lookupKeyRead(server: &mut Server, db: usize, key: &[u8]) -> Option<KeyRef> {
    lookupKeyReadWithFlags(server, db, key, LOOKUP_NONE)
}

/// Looks a key up for a command that may change it; `None` if it is missing. An expired key is
/// deleted first, on a master; on a replica it is returned, since the master has not deleted it yet
/// and what it sends refers to it.
#[inline(always)]
pub fn lookupKeyWriteWithFlags(
    server: &mut Server,
    db: usize,
    key: &[u8],
    flags: i32,
) -> Option<KeyRef> {
    let mut o = find_key(server, db, key)?;
    if server.db[db].dict.expire(o).is_some() {
        o = find_unexpired(server, db, key)?;
    }
    update_access_time(server, db, o, flags);
    Some(o)
}

/// Finds a key once more, behind `expireIfNeeded`, which may have deleted it.
#[inline(never)]
fn find_unexpired(server: &mut Server, db: usize, key: &[u8]) -> Option<KeyRef> {
    expireIfNeeded(server, db, key);
    find_key(server, db, key)
}

/// Looks a key up for a command that may change it, and updates its last access time.
#[inline(always)]
pub fn lookupKeyWrite(server: &mut Server, db: usize, key: &[u8]) -> Option<KeyRef> {
    lookupKeyWriteWithFlags(server, db, key, LOOKUP_NONE)
}

/// Sends the reply for a missing key. One that is an error goes through the function for errors, so
/// that it is counted in the error statistics.
fn SentReplyOnKeyMiss(server: &mut Server, c: ClientId, reply: Shared) {
    if reply.is_error() {
        addReplyErrorObject(server, c, reply);
    } else {
        addReply(server, c, reply);
    }
}

/// Looks a key of the client's db up as `lookupKeyRead` does; for a missing key `reply` is sent.
#[inline(always)]
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

/// Looks a key of the client's db up as `lookupKeyWrite` does; for a missing key `reply` is sent.
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

/// Adds a key and wakes up the clients that block on it. The caller has made sure that the key does
/// not exist. Returns the new entry.
pub fn dbAdd<'a>(server: &mut Server, db: usize, key: &[u8], val: impl Into<Value<'a>>) -> KeyRef {
    let (hash, lru) = (hash_key(server, db, key), initial_lru(server));
    let o = server.db[db].dict.add_full(key, hash, val.into(), None, lru);
    let type_ = server.db[db].dict.type_of(o);
    if type_ != OBJ_STRING {
        signalKeyAsReady(server, db, key, type_);
    }
    o
}

/// Adds a key while an RDB is loaded. Unlike `dbAdd` it leaves the decision about a key that exists
/// already to the caller (`None`, and the old value stays): a duplicate is then a fault of the
/// file, not of the program. It signals no key as ready, since no client can be blocked on it at
/// this time.
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
    let lru = initial_lru(server);
    Some(server.db[db].dict.add_full(key, hash, val.into(), expire, lru))
}

/// Replaces the value of a key that exists. The key keeps its expire. Returns the entry, which may
/// have moved.
pub fn dbOverwrite<'a>(
    server: &mut Server,
    db: usize,
    key: &[u8],
    val: impl Into<Value<'a>>,
) -> KeyRef {
    let o = find_key(server, db, key).expect("only a key that exists is overwritten");
    overwrite_value(server, db, o, val)
}

/// Replaces the value of an entry that was looked up already: `dbOverwrite` without the search.
#[inline(always)]
pub fn overwrite_value<'a>(
    server: &mut Server,
    db: usize,
    o: KeyRef,
    val: impl Into<Value<'a>>,
) -> KeyRef {
    let val = val.into();
    // The common case: a short string that was as long before.
    if let Value::Str(v) = val
        && server.maxmemory_policy & MAXMEMORY_FLAG_LFU == 0
        && server.db[db].dict.set_in_place(o, v, server.lruclock)
    {
        return o;
    }
    overwrite_any_value(server, db, o, val)
}

/// Does what [`overwrite_value`] does, for any value.
#[inline(never)]
fn overwrite_any_value(server: &mut Server, db: usize, o: KeyRef, val: Value) -> KeyRef {
    // The new value counts as accessed now. With an LFU policy it inherits the old value's
    // frequency: it is the key that is popular, and a counter set back by each SET would make the
    // most written keys the first to be evicted.
    let lfu = server.maxmemory_policy & MAXMEMORY_FLAG_LFU != 0;
    let lru = if lfu { server.db[db].dict.lru(o) } else { initial_lru(server) };
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

/// Sets a key to a value, whether it existed or not: the high level operation by which commands put
/// values into the keyspace.
///
/// 1. Clients that WATCH the key are told, if `signal`.
/// 2. The key becomes persistent, unless `keepttl`.
///
/// `c` is the client whose command sets the key, `None` if it is not a client's command.
#[inline(always)]
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
            let o = overwrite_value(server, db, o, val);
            if !keepttl {
                server.db[db].dict.remove_expire(o);
            }
        }
    }
    if signal {
        signalModifiedKey(server, c, db, key);
    }
}

/// Sets a key to a value, removes its expire, and tells the clients that WATCH it.
pub fn setKey<'a>(
    server: &mut Server,
    c: Option<ClientId>,
    db: usize,
    key: &[u8],
    val: impl Into<Value<'a>>,
) {
    genericSetKey(server, c, db, key, val, false, true);
}

/// Returns a random key of a db that is not expired, `None` if there is none.
pub fn dbRandomKey(server: &mut Server, db: usize) -> Option<Vec<u8>> {
    let mut maxtries = 100;
    let dict = &server.db[db].dict;
    let allvolatile = dict.len() == dict.expires_len();
    loop {
        let dict = &server.db[db].dict;
        let o = dict.random_key(random_u64)?;
        let key = dict.key(o).to_vec();
        if dict.expire(o).is_some() {
            // On a replica where every key is expired this would go on for ever: nothing is deleted
            // here. After some tries an expired key is returned. C: goes on for ever while clients
            // are paused, for nothing is deleted then either.
            if allvolatile && (server.masterhost.is_some() || areClientsPaused(server)) {
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
    match find_key(server, db, key) {
        Some(o) => {
            drop(server.db[db].dict.remove(o));
            true
        }
        None => false,
    }
}

/// Deletes a key as a side effect of another command, such as RENAME onto it.
/// `lazyfree-lazy-server-del` decides whether the value is freed at once or by the lazy free
/// thread. False if the key does not exist.
pub fn dbDelete(server: &mut Server, db: usize, key: &[u8]) -> bool {
    if server.lazyfree_lazy_server_del {
        dbAsyncDelete(server, db, key)
    } else {
        dbSyncDelete(server, db, key)
    }
}

/// Removes all keys of the db with this number, or of all dbs for -1, and returns how many they
/// were. With `async_` the lazy free thread frees them; otherwise `callback`, if given, is called
/// from time to time while the memory is freed.
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

/// Removes all keys of the db with this number, or of all dbs for -1. Returns how many keys were
/// removed, or -1 if there is no such db.
///
/// With `EMPTYDB_ASYNC` in `flags` the memory is freed in the lazy free thread and the function
/// returns at once. `callback`, if given, is called from time to time while memory is freed: a
/// replica that throws away gigabytes before it loads uses it to tell its master that it is still
/// there.
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

    // WATCH first, while the keys still exist: a transaction that watches a key which did not exist
    // has seen no change.
    signalFlushedDb(server, dbnum, async_);
    let removed = emptyDbStructure(server, dbnum, async_, callback);
    if dbnum == -1 {
        flushSlaveKeysWithExpireList(server);
    }
    removed
}

/// The data sets of all dbs, put aside while another one is loaded.
pub struct dbBackup {
    dbarray: Vec<BackedUpDb>,
}

/// What of a db belongs to its data, and not to those who use it.
struct BackedUpDb {
    dict: Keyspace,
    avg_ttl: i64,
    expires_cursor: u64,
}

/// Puts the data of all dbs aside, and leaves empty ones.
pub fn backupDb(server: &mut Server) -> dbBackup {
    let dbarray = server.db.iter_mut().map(|db| BackedUpDb {
        dict: db.dict.take(),
        avg_ttl: db.avg_ttl,
        expires_cursor: db.expires_cursor,
    });
    dbBackup { dbarray: dbarray.collect() }
}

/// Frees what [`backupDb`] has put aside, which may take as long as FLUSHALL: `flags` and `callback`
/// are those of [`emptyDb`].
pub fn discardDbBackup(
    server: &mut Server,
    backup: dbBackup,
    flags: i32,
    callback: fn(&mut Server),
) {
    for mut db in backup.dbarray {
        if flags & EMPTYDB_ASYNC != 0 {
            let objects = db.dict.len();
            server.bio.bioCreateLazyFreeJob(Box::new(db.dict), objects);
        } else {
            db.dict.empty(|| callback(server));
        }
    }
}

/// Puts what [`backupDb`] has put aside in the place of the dbs, which must be empty.
pub fn restoreDbBackup(server: &mut Server, backup: dbBackup) {
    for (db, old) in server.db.iter_mut().zip(backup.dbarray) {
        assert_eq!(db.dict.len(), 0);
        db.dict = old.dict;
        db.avg_ttl = old.avg_ttl;
        db.expires_cursor = old.expires_cursor;
    }
}

/// Selects a db for a client; `C_ERR` if there is no such db.
pub fn selectDb(server: &mut Server, c: ClientId, id: i32) -> CResult {
    if id < 0 || id >= server.db.len() as i32 {
        return C_ERR;
    }
    server[c].db = id as usize;
    C_OK
}

/// Returns the number of keys in all dbs.
pub fn dbTotalServerKeyCount(server: &Server) -> usize {
    server.db.iter().map(|db| db.dict.len()).sum()
}

// -----------------------------------------------------------------------------
// Hooks for key space changes.
//
// Every command that changes a key calls signalModifiedKey(); every flush of a db calls
// signalFlushedDb(). Whatever needs to hear of changes (WATCH, client side caching) hangs on these
// two, and not on the commands.
// -----------------------------------------------------------------------------

/// Tells those who follow a key that it was changed. `c` is the client that changed it, `None` if
/// it was the server itself (expiration, eviction).
#[inline]
pub fn signalModifiedKey(server: &mut Server, c: Option<ClientId>, db: usize, key: &[u8]) {
    touchWatchedKey(server, db, key);
    if server.tracking.is_some() {
        trackingInvalidateKey(server, c, key, true);
    }
}

/// Tells those who follow keys of a db, or of all dbs for -1, that it is about to be flushed.
pub fn signalFlushedDb(server: &mut Server, dbid: i32, async_: bool) {
    let dbs = if dbid == -1 { 0..server.db.len() } else { dbid as usize..dbid as usize + 1 };
    for j in dbs {
        touchAllWatchedKeysInDb(server, j, None);
    }
    trackingInvalidateKeysOnFlush(server, async_);
}

// -----------------------------------------------------------------------------
// Type agnostic commands operating on the key space
// -----------------------------------------------------------------------------

/// Reads the argument of FLUSHALL and FLUSHDB and returns the flags for `emptyDb`: SYNC frees the
/// memory before the reply, ASYNC in the lazy free thread, and without an argument
/// `lazyfree-lazy-user-flush` decides. `Err`: an error was sent to the client.
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

/// Gives memory back to the system after a synchronous flush. jemalloc returns unused pages bit by
/// bit as a side effect of later allocations; after a flush there may be none, and the pages would
/// stay.
fn purge_after_flush(flags: i32) {
    if flags & EMPTYDB_ASYNC == 0 {
        // If it fails the pages stay a while longer, as they would have without it.
        let _ = jemalloc_purge();
    }
}

/// Empties all dbs, kills an RDB child that is saving what no longer exists, and writes an RDB of
/// the empty data set if save points are configured: otherwise a restart would bring the flushed
/// keys back.
pub fn flushAllDataAndResetRDB(server: &mut Server, flags: i32) {
    server.dirty += emptyDb(server, -1, flags, None);
    // C: a debugged script that empties its copy of the data set overwrites the RDB file with it.
    // The file is the server's, and so is the child that saves.
    let ours = server.in_fork_child == CHILD_TYPE_NONE;
    if ours && server.child_type == CHILD_TYPE_RDB {
        killRDBChild(server);
    }
    if ours && !server.saveparams.is_empty() {
        // `rdbSave` sets the counter of changes to zero, but `call` compares it with its value
        // before the command to see whether FLUSHALL has to be propagated.
        let saved_dirty = server.dirty;
        let rsi = rdbPopulateSaveInfo(server);
        let filename = server.rdb_filename.clone();
        // A save that fails has logged why, and the data set is empty all the same.
        let _ = rdbSave(server, &filename, rsi.as_ref());
        server.dirty = saved_dirty;
    }

    // FLUSHALL is propagated even if there was no key: a replica may have keys where we have none,
    // and this is the last chance to make both equal.
    server.dirty += 1;
    purge_after_flush(flags);
}

/// FLUSHDB [ASYNC|SYNC]: removes all keys of the client's db.
pub fn flushdbCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(flags) = getFlushCommandFlags(server, c, argv) else { return };
    let db = server[c].db as i32;
    server.dirty += emptyDb(server, db, flags, None);
    addReply(server, c, shared::ok);
    purge_after_flush(flags);
}

/// FLUSHALL [ASYNC|SYNC]: removes all keys of all dbs.
pub fn flushallCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(flags) = getFlushCommandFlags(server, c, argv) else { return };
    flushAllDataAndResetRDB(server, flags);
    addReply(server, c, shared::ok);
}

/// Implements DEL and UNLINK, which differ in who frees the values: this thread, or with `lazy` the
/// lazy free thread. An expired key is deleted as expired first, so it does not count in the reply.
fn delGenericCommand(server: &mut Server, c: ClientId, argv: &Args, lazy: bool) {
    let db = server[c].db;
    let mut numdel = 0;
    for_each_key(server, db, argv, (1, Wanted::Value), |server, j| {
        let key = &argv[j];
        expireIfNeeded(server, db, key);
        let deleted =
            if lazy { dbAsyncDelete(server, db, key) } else { dbSyncDelete(server, db, key) };
        if deleted {
            signalModifiedKey(server, Some(c), db, key);
            notifyKeyspaceEvent(server, NOTIFY_GENERIC, "del", key, db);
            server.dirty += 1;
            numdel += 1;
        }
    });
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
    for_each_key(server, db, argv, (1, Wanted::Entry), |server, j| {
        if lookupKeyReadWithFlags(server, db, &argv[j], LOOKUP_NOTOUCH).is_some() {
            count += 1;
        }
    });
    addReplyLongLong(server, c, count);
}

/// SELECT index: makes it the client's db.
pub fn selectCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(id) = getIntFromObjectOrReply(server, c, &argv[1], None) else { return };
    if selectDb(server, c, id).is_err() {
        addReplyError(server, c, b"DB index is out of range");
    } else {
        addReply(server, c, shared::ok);
    }
}

/// RANDOMKEY: the name of a random key of the client's db, or a null.
pub fn randomkeyCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    let db = server[c].db;
    match dbRandomKey(server, db) {
        Some(key) => addReplyBulkCBuffer(server, c, &key),
        None => addReplyNull(server, c),
    }
}

/// KEYS pattern: all keys of the client's db that match. Expired ones are left out but not deleted,
/// as they are found while the table is iterated.
pub fn keysCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let pattern = argv.get(1);
    let allkeys = pattern == b"*";
    let now = expire_clock(server);
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

/// Parses a SCAN cursor, an unsigned decimal number. `Err`: "invalid cursor" was sent to the
/// client.
pub fn parseScanCursorOrReply(server: &mut Server, c: ClientId, o: &[u8]) -> Result<u64, ()> {
    // strtoul(3) ends at a NUL, and takes a sign, so that "-1" is the largest cursor; white space
    // at the start is refused.
    let o = c_str(o);
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

/// Implements SCAN, SSCAN, HSCAN and ZSCAN: one step of an iteration that begins with `cursor` 0
/// and is over when the reply has cursor 0 again.
///
/// Without `o` it iterates over the keys of the client's db. With `o`, a set, hash or sorted set,
/// over its elements; the key is then an argument before the cursor, and is skipped to get to the
/// options. For a hash each field comes with its value, for a sorted set each member with its
/// score.
///
/// The server keeps no state between the steps: all that it has to know is in the cursor. What
/// makes this possible, and what is promised about keys that come and go meanwhile, is explained at
/// `dictScan`.
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

    // Step 1: Parse options.
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

    // Step 2: Iterate the collection. A value in another form than a hash table is sure to have few
    // elements, so all of them are returned in a single call, with cursor 0, which ends the
    // iteration: no state is needed for it.
    let mut keys: Vec<Vec<u8>> = Vec::new();
    let dict = &server.db[db].dict;
    let mut pairs = false;
    match o.map(|o| dict.get(o)) {
        None => scan_table(&mut cursor, count, &mut keys, |cursor, keys| {
            dict.scan(cursor, |o| keys.push(dict.key(o).to_vec()))
        }),
        Some(ValueRef::Aggregate(AggregateRef::Set(SetRef::Ht(ht)))) => {
            scan_table(&mut cursor, count, &mut keys, |cursor, keys| {
                dictScan(ht, cursor, |member| keys.push(member.as_slice().to_vec()))
            });
        }
        Some(ValueRef::Aggregate(AggregateRef::Set(SetRef::Strings(set)))) => {
            keys.extend(strset_iter(set).map(<[u8]>::to_vec));
            cursor = 0;
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
            scan_table(&mut cursor, count.saturating_mul(2), &mut keys, |cursor, keys| {
                dictScan(ht, cursor, |pair| {
                    keys.extend([pair.field().to_vec(), pair.value().to_vec()])
                })
            });
        }
        Some(ValueRef::Aggregate(AggregateRef::Zset(ZsetRef::Skiplist(zs)))) => {
            pairs = true;
            scan_table(&mut cursor, count.saturating_mul(2), &mut keys, |cursor, keys| {
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
                match assert_some!(ziplistGet(zl, at)) {
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

    // Step 3: Filter elements. Each has to match the pattern; of a field and its value, or a member
    // and its score, the first has to. Of keys the type is looked at too, and expired ones are left
    // out, which may delete them: this is why the names were collected first and are filtered now,
    // when the table is no longer iterated.
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

/// Scans a table until there are `count` strings or the cursor is 0 again, but for at most ten
/// times `count` buckets: in a table that is nearly empty (its keys were deleted, and it has not
/// shrunk yet) finding `count` elements could block the server for long, and a step may return few
/// elements or none.
fn scan_table(
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

/// SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]: one step of an iteration over the keys of
/// the client's db.
pub fn scanCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(cursor) = parseScanCursorOrReply(server, c, &argv[1]) else { return };
    scanGenericCommand(server, c, argv, None, cursor);
}

/// DBSIZE: the number of keys in the client's db, those included that are expired and not deleted
/// yet.
pub fn dbsizeCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    let size = server.db[server[c].db].dict.len();
    addReplyLongLong(server, c, size as i64);
}

/// LASTSAVE: the time of the last successful save, in seconds since the epoch.
pub fn lastsaveCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    let lastsave = server.lastsave;
    addReplyLongLong(server, c, lastsave);
}

/// Returns the name of a type as TYPE shows it, "none" for a missing key.
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

/// TYPE key: the name of the type of its value.
pub fn typeCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let db = server[c].db;
    let o = lookupKeyReadWithFlags(server, db, &argv[1], LOOKUP_NOTOUCH);
    let name = getObjectTypeName(o.map(|o| server.db[db].dict.type_of(o)));
    addReplyStatus(server, c, name.as_bytes());
}

/// SHUTDOWN [NOSAVE|SAVE]: ends the process, after a save if one is asked for or save points are
/// configured. There is a reply only if it can't be done.
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

/// Implements RENAME and RENAMENX; with `nx` a destination that exists is left alone and the reply
/// is 0.
fn renameGenericCommand(server: &mut Server, c: ClientId, argv: &Args, nx: bool) {
    let (db, from, to) = (server[c].db, argv.get(1), argv.get(2));

    // Renaming a key to itself changes nothing, but it is an error if the key does not exist. So
    // the lookup comes first.
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

    // C: adds the value under the new name with one more reference, then deletes the old name. Here
    // a value has one owner, so it is taken out and put in again.
    move_value(server, c, (db, from), (db, to));
    signalModifiedKey(server, Some(c), db, from);
    signalModifiedKey(server, Some(c), db, to);
    notifyKeyspaceEvent(server, NOTIFY_GENERIC, "rename_from", from, db);
    notifyKeyspaceEvent(server, NOTIFY_GENERIC, "rename_to", to, db);
    server.dirty += 1;
    addReply(server, c, if nx { shared::cone } else { shared::ok });
}

/// Moves the value of `from` in `db`, which exists, to `to` in `dst`, which does not. The expire
/// and the access time move along.
fn move_value(
    server: &mut Server,
    c: ClientId,
    (db, from): (usize, &[u8]),
    (dst, to): (usize, &[u8]),
) {
    let o = find_key(server, db, from).expect("the key was looked up");
    let entry = server.db[db].dict.remove(o);
    let (expire, lru) = (entry.expire(), entry.lru());
    let o = dbAdd(server, dst, to, entry.into_object());
    server.db[dst].dict.set_lru(o, lru);
    if let Some(when) = expire {
        setExpire(server, Some(c), dst, to, when);
    }
}

/// RENAME key newkey: a value that `newkey` had is deleted.
pub fn renameCommand(server: &mut Server, c: ClientId, argv: &Args) {
    renameGenericCommand(server, c, argv, false);
}

/// RENAMENX key newkey: 1 if the key was renamed, 0 if `newkey` exists.
pub fn renamenxCommand(server: &mut Server, c: ClientId, argv: &Args) {
    renameGenericCommand(server, c, argv, true);
}

/// Reads the number of a db from an argument. `Err`: an error was sent to the client.
fn parse_db_or_reply(server: &mut Server, c: ClientId, arg: &[u8]) -> Result<usize, ()> {
    let id = getIntFromObjectOrReply(server, c, arg, None)?;
    if id < 0 || id >= server.db.len() as i32 {
        addReplyError(server, c, b"DB index is out of range");
        return Err(());
    }
    Ok(id as usize)
}

/// MOVE key db: 1 if the key was moved to the other db, 0 if it is missing here or exists there.
pub fn moveCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (src, key) = (server[c].db, argv.get(1));
    let Ok(dst) = parse_db_or_reply(server, c, &argv[2]) else { return };

    // A client that moves a key to the db it is in has most likely made a mistake, so it gets an
    // error.
    if src == dst {
        addReplyErrorObject(server, c, shared::sameobjecterr);
        return;
    }
    if lookupKeyWrite(server, src, key).is_none() || lookupKeyWrite(server, dst, key).is_some() {
        addReply(server, c, shared::czero);
        return;
    }
    move_value(server, c, (src, key), (dst, key));
    signalModifiedKey(server, Some(c), src, key);
    signalModifiedKey(server, Some(c), dst, key);
    notifyKeyspaceEvent(server, NOTIFY_GENERIC, "move_from", key, src);
    notifyKeyspaceEvent(server, NOTIFY_GENERIC, "move_to", key, dst);
    server.dirty += 1;
    addReply(server, c, shared::cone);
}

/// COPY source destination [DB destination-db] [REPLACE]: 1 if the value and its expire were
/// copied, 0 if the source is missing, or the destination exists and REPLACE is not given.
pub fn copyCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let src = server[c].db;
    let (mut dst, mut replace) = (src, false);
    let mut j = 3;
    while j < argv.len() {
        if argv[j].eq_ignore_ascii_case(b"replace") {
            replace = true;
        } else if argv[j].eq_ignore_ascii_case(b"db") && j + 1 < argv.len() {
            match parse_db_or_reply(server, c, &argv[j + 1]) {
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
    // The lookup is that of a write, although the source is only read: on a replica, where the
    // master sent the COPY, a source that is logically expired still exists, as it did on the
    // master.
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
    let o = find_key(server, src, key).expect("the key was looked up");
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

/// Signals as ready the keys of a db on which clients block and which exist: a helper of
/// `dbSwapDatabases`, which says why.
fn scanDatabaseForReadyLists(server: &mut Server, db: usize) {
    let keys: Vec<Vec<u8>> = server.db[db].blocking_keys.keys().cloned().collect();
    for key in keys {
        if let Some(o) = lookupKey(server, db, &key, LOOKUP_NOTOUCH) {
            let type_ = server.db[db].dict.type_of(o);
            signalKeyAsReady(server, db, &key, type_);
        }
    }
}

/// Swaps two dbs, so that clients connected to one see the data of the other at once. `C_ERR`: one
/// of the numbers is out of range.
///
/// A client refers to its db by number, so it is the contents of the two that change places: the
/// keys with their expires, and the state of the expire cycle that belongs to them. The clients
/// that block on keys and those that WATCH them stay with the number, since they belong to
/// connections and not to data.
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

    // A client that blocks on a key may find that it exists after the swap. Usually `dbAdd` is the
    // one place that looks for this, when a key is created; here keys appear without being created,
    // so all keys that clients block on are looked up.
    //
    // A transaction fails if it watches a key that existed before the swap or exists after it.
    scanDatabaseForReadyLists(server, id1);
    touchAllWatchedKeysInDb(server, id1, Some(id2));
    scanDatabaseForReadyLists(server, id2);
    touchAllWatchedKeysInDb(server, id2, Some(id1));
    C_OK
}

/// SWAPDB index1 index2: swaps the data of two dbs.
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

/// Makes a key that exists persistent. False if it had no expire.
pub fn removeExpire(server: &mut Server, db: usize, key: &[u8]) -> bool {
    let o = find_key(server, db, key).expect("only a key that exists has an expire");
    let had = server.db[db].dict.expire(o).is_some();
    server.db[db].dict.remove_expire(o);
    had
}

/// Sets the expire of a key that exists: `when` is in milliseconds since the epoch; after it the
/// key is no longer valid. `c` is the client whose command sets it, `None` if there is no such
/// client (an RDB is loaded).
pub fn setExpire(server: &mut Server, c: Option<ClientId>, db: usize, key: &[u8], when: i64) {
    let o = find_key(server, db, key).expect("only a key that exists can expire");
    server.db[db].dict.set_expire(o, when);

    // On a writable replica clients create keys that the master does not know, so it will never
    // send a DEL for them. The replica remembers these and expires them itself.
    let writable_slave = server.masterhost.is_some() && !server.repl_slave_ro;
    if writable_slave && c.is_some_and(|c| server[c].flags & CLIENT_MASTER == 0) {
        rememberSlaveKeyWithExpire(server, db, key);
    }
}

/// Returns the expire of a key in milliseconds since the epoch, -1 if it has none or does not
/// exist.
pub fn getExpire(server: &Server, db: usize, key: &[u8]) -> i64 {
    if server.db[db].dict.expires_len() == 0 {
        return -1;
    }
    find_key(server, db, key).and_then(|o| server.db[db].dict.expire(o)).unwrap_or(-1)
}

/// Deletes an expired key, sends the events of it, and propagates the deletion to the replicas and
/// the AOF.
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

/// Propagates the expiration of a key to the replicas and the AOF, as a DEL, or as an UNLINK with
/// `lazy`.
///
/// Expiration is decided in one place, the master, and the order of operations is that of the
/// stream and of the file. So every replica deletes the key at the same point of the history, and
/// stays consistent even if there are writes to a key at the time it expires.
pub fn propagateExpire(server: &mut Server, db: usize, key: &[u8], lazy: bool) {
    let argv = Argv::new(&[if lazy { b"UNLINK" as &[u8] } else { b"DEL" }, key]);
    let del = server.commands.delCommand;
    propagate(server, del, db as i32, &argv.as_args(), PROPAGATE_AOF | PROPAGATE_REPL);
}

/// Returns the time against which expires are compared, in milliseconds since the epoch; `None`
/// while nothing expires.
///
/// Nothing expires while data is loaded: an AOF has its own DELs at the right places, and an RDB's
/// expired keys are handled by `rdbLoadRio`.
///
/// While a command runs, the time is that of its start, which `call` keeps. A command that looks a
/// key up twice, such as RPOPLPUSH with the same list as source and destination, would otherwise
/// find the value that it holds from the first lookup deleted by the second.
fn expire_clock(server: &Server) -> Option<i64> {
    if server.loading {
        None
    } else if server.lua_caller.is_some() {
        // For a script time stands still when it begins: a key does not vanish between two of its
        // commands, which would be another place on each replica.
        Some(server.lua_time_snapshot)
    } else if server.fixed_time_expire > 0 {
        Some(server.mstime)
    } else {
        Some(mstime())
    }
}

/// Tells whether a key exists and is logically expired. Deletes nothing.
pub fn keyIsExpired(server: &Server, db: usize, key: &[u8]) -> bool {
    let when = getExpire(server, db, key);
    when >= 0 && expire_clock(server).is_some_and(|now| now > when)
}

/// Tells whether a key is logically expired, and as a side effect deletes it on a master. Called
/// before any operation on a key, mostly by the `lookupKey` family.
///
/// The effect depends on the role. A master deletes an expired key, and propagates a DEL or
/// UNLINK to its replicas and the AOF. A replica deletes nothing: it waits for the master's DEL, so
/// that both have the same data at the same offset. It still returns the truth, so that a reader
/// can be told that the key is gone although the DEL is yet to come.
pub fn expireIfNeeded(server: &mut Server, db: usize, key: &[u8]) -> bool {
    if !keyIsExpired(server, db, key) {
        return false;
    }
    if server.masterhost.is_some() {
        return true;
    }

    // While clients are paused the data set stays as it is, and the caller is told the logical
    // state, as on a replica. After the pause the key will be deleted here, or there was a failover
    // and the new master will send the DEL.
    if checkClientPauseTimeoutAndReturnIfPaused(server) {
        return true;
    }
    deleteExpiredKeyAndPropagate(server, db, key);
    true
}

// -----------------------------------------------------------------------------
// API to get key arguments from commands
// -----------------------------------------------------------------------------

/// Collects the positions of a command's keys as the command table describes them: first key, last
/// key (negative: counted from the end), step. Returns how many they are.
pub fn getKeysUsingCommandTable(cmd: &redisCommand, argv: &Args, result: &mut Vec<usize>) -> usize {
    result.clear();
    result.extend(keys_in_command_table(cmd, argv.len()));
    result.len()
}

/// Iterates over the positions of a command's keys as the command table describes them, if it has
/// `argc` arguments.
#[inline]
pub fn keys_in_command_table(cmd: &redisCommand, argc: usize) -> impl Iterator<Item = usize> {
    let argc = argc as i32;
    let last = if cmd.lastkey < 0 { argc + cmd.lastkey } else { cmd.lastkey };
    let mut keys = cmd.firstkey..last + 1;
    if cmd.firstkey == 0 {
        keys = 0..0;
    } else if last >= argc && !keys.is_empty() {
        // A command with a variable number of arguments was not checked for having all of them when
        // it was dispatched. A position beyond the end then means that the user passed too few: no
        // keys, and the command itself reports the error of arity or syntax.
        assert!(cmd.arity < 0, "a command's keys lie beyond its arity");
        keys = 0..0;
    }
    keys.step_by(cmd.keystep.max(1) as usize).map(|j| j as usize)
}

/// Collects the positions of all keys among the arguments of a command, and returns how many they
/// are. `argv` has the name of the command first, `cmd` is its row in the command table. The row's
/// own function is used where there is one, since the positions may depend on options.
pub fn getKeysFromCommand(cmd: &redisCommand, argv: &Args, result: &mut Vec<usize>) -> usize {
    match cmd.getkeys_proc {
        Some(getkeys_proc) => getkeys_proc(cmd, argv, result),
        None => getKeysUsingCommandTable(cmd, argv, result),
    }
}

/// Collects the key positions of a command that says how many keys there are: `COMMAND [destkey]
/// numkeys key [key ...] ... options`, such as `ZUNION numkeys key [key ...]` and `ZUNIONSTORE
/// destkey numkeys key [key ...]`.
///
/// - `storeKeyOfs`: the position of the destination, 0 if there is none
/// - `keyCountOfs`: the position of the number
/// - `firstKeyOfs`: the position of the first key
/// - `keyStep`: the distance from one key to the next, usually 1
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
    // A number that is larger than the arguments allow, or not positive, is for the command to
    // report: no keys.
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

/// Collects the key positions of ZUNIONSTORE, ZINTERSTORE and ZDIFFSTORE: `COMMAND destkey numkeys
/// key [key ...]`.
pub fn zunionInterDiffStoreGetKeys(
    _cmd: &redisCommand,
    argv: &Args,
    result: &mut Vec<usize>,
) -> usize {
    genericGetKeys(1, 2, 3, 1, argv, result)
}

/// Collects the key positions of ZUNION, ZINTER and ZDIFF: `COMMAND numkeys key [key ...]`.
pub fn zunionInterDiffGetKeys(_cmd: &redisCommand, argv: &Args, result: &mut Vec<usize>) -> usize {
    genericGetKeys(0, 1, 2, 1, argv, result)
}

/// Collects the key positions of EVAL and EVALSHA: `EVAL script numkeys key [key ...] arg [arg
/// ...]`.
pub fn evalGetKeys(_cmd: &redisCommand, argv: &Args, result: &mut Vec<usize>) -> usize {
    genericGetKeys(0, 2, 3, 1, argv, result)
}

/// Collects the key positions of SORT: `SORT key ... [STORE destination]`.
///
/// The options are parsed only as far as is needed to find STORE: those with arguments are skipped
/// with them, so that an argument that reads "store" is not taken for the option, and any other
/// word is taken to have none. Of several STOREs the last one counts, as it does in `sortCommand`.
// C: 6.2.16 takes the destination of a STORE for the next option, so that `STORE by STORE secret`
// hides a key from the ACL.
pub fn sortGetKeys(_cmd: &redisCommand, argv: &Args, result: &mut Vec<usize>) -> usize {
    result.clear();
    result.push(1);
    let mut i = 2;
    while i < argv.len() {
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

/// Collects the key positions of MIGRATE: the third argument, or, if that is empty, all that
/// follows the word KEYS.
// C: a name or a password that reads "keys" is taken for the word.
pub fn migrateGetKeys(_cmd: &redisCommand, argv: &Args, result: &mut Vec<usize>) -> usize {
    result.clear();
    result.push(3);
    let is = |i: usize, name: &[u8]| eq_ignore_case(&argv[i], name);
    let mut i = 6;
    while i < argv.len() {
        if is(i, b"auth") {
            i += 1;
        } else if is(i, b"auth2") {
            i += 2;
        } else if is(i, b"keys") && argv[3].is_empty() {
            result.clear();
            result.extend(i + 1..argv.len());
            break;
        }
        i += 1;
    }
    result.len()
}

/// Collects the key positions of GEORADIUS and GEORADIUSBYMEMBER: the first argument, and the
/// argument of STORE or STOREDIST. If both are given, the later one counts, as it does in
/// `georadiusGeneric`: an ACL has to check the key that is written.
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

/// Collects the key positions of STRALGO: the two arguments of KEYS. With STRINGS there are no
/// keys.
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

/// Collects the key position of MEMORY, which has one only in the form MEMORY USAGE key.
pub fn memoryGetKeys(_cmd: &redisCommand, argv: &Args, result: &mut Vec<usize>) -> usize {
    result.clear();
    if argv.len() >= 3 && argv[1].eq_ignore_ascii_case(b"usage") {
        result.push(2);
    }
    result.len()
}

/// Collects the key positions of XREAD and XREADGROUP: the first half of what follows the word
/// STREAMS.
///
/// The options before it have to be parsed to find it, since "STREAMS" may also be the name of a
/// consumer group, of a consumer, or of a stream.
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
