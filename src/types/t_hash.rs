//! `t_hash.c`: hashes.
//!
//! Read first: [`Hash`], `hashTypeSet`, `hashTypeGetValue`; then the commands, of which
//! `hrandfieldWithCountCommand` alone is long. Differs: the type functions take the hash, not its
//! key, with a copy of the limits, so that the keyspace is borrowed beside the clients. A field or
//! value is a [`ZiplistEntry`], borrowed bytes or a number, in both encodings. What the C collects
//! in a temporary table is collected as such entries, without a copy of their bytes.

use std::collections::HashSet;

use crate::addReplyErrorFormat;
use crate::args::Args;
use crate::clients::Clients;
use crate::db::*;
use crate::debug::serverLogHexDump;
use crate::ds::dict::*;
use crate::ds::longdouble::{LongDouble, ld2string, ld2string_mode, string2ld};
use crate::ds::redisassert::assert_some;
use crate::ds::ziplist::*;
use crate::expire::expire_command_name;
use crate::keyspace::*;
use crate::networking::*;
use crate::notify::notifyKeyspaceEvent;
use crate::object::*;
use crate::server::{CommandSpec, command};
use crate::server_h::*;
use crate::sys::bytes::Packed;
use crate::types::t_set::{
    DRAW_STEPS, Random, hash_of_arg, rehash_table_step, table_mem_usage, value_resize_policy,
};
use crate::util::{ll2string, sdigits10, string2ll};

const FIRST: (i32, i32, i32) = (1, 1, 1);

/// The commands on hashes.
#[rustfmt::skip]
pub const COMMANDS: &[CommandSpec] = &[
    command("hset", hsetCommand, -4, "write use-memory fast @hash", FIRST),
    command("hsetnx", hsetnxCommand, 4, "write use-memory fast @hash", FIRST),
    command("hget", hgetCommand, 3, "read-only fast @hash", FIRST),
    command("hmset", hsetCommand, -4, "write use-memory fast @hash", FIRST),
    command("hmget", hmgetCommand, -3, "read-only fast @hash", FIRST),
    command("hincrby", hincrbyCommand, 4, "write use-memory fast @hash", FIRST),
    command("hincrbyfloat", hincrbyfloatCommand, 4, "write use-memory fast @hash", FIRST),
    command("hdel", hdelCommand, -3, "write fast @hash", FIRST),
    command("hlen", hlenCommand, 2, "read-only fast @hash", FIRST),
    command("hstrlen", hstrlenCommand, 3, "read-only fast @hash", FIRST),
    command("hkeys", hkeysCommand, 2, "read-only to-sort @hash", FIRST),
    command("hvals", hvalsCommand, 2, "read-only to-sort @hash", FIRST),
    command("hgetall", hgetallCommand, 2, "read-only random @hash", FIRST),
    command("hexists", hexistsCommand, 3, "read-only fast @hash", FIRST),
    command("hrandfield", hrandfieldCommand, -2, "read-only random @hash", FIRST),
    command("hscan", hscanCommand, -3, "read-only random @hash", FIRST),
];

// -----------------------------------------------------------------------------
// Hash type API
// -----------------------------------------------------------------------------

/// A hash: a ziplist of fields and values while it is small, then a table.
pub enum Hash {
    Ziplist(Ziplist),
    // In a box, so that a small value of any type takes no room for a table.
    Ht(Box<Dict<PairEntry>>),
}

/// A hash, to look at.
#[derive(Clone, Copy)]
pub enum HashRef<'a> {
    Ziplist(&'a [u8]),
    Ht(&'a Dict<PairEntry>),
}

impl Hash {
    /// Returns the hash, to look at.
    #[inline(always)]
    pub fn as_ref(&self) -> HashRef<'_> {
        match self {
            Hash::Ziplist(zl) => HashRef::Ziplist(zl),
            Hash::Ht(ht) => HashRef::Ht(ht),
        }
    }
}

impl HashRef<'_> {
    /// Returns about how many allocations the hash takes, for lazy freeing
    /// (`lazyfreeGetFreeEffort`).
    pub fn free_effort(self) -> usize {
        match self {
            HashRef::Ziplist(_) => 1,
            HashRef::Ht(ht) => dictSize(ht),
        }
    }

    /// Returns the bytes that a table takes up, with its pairs estimated by the first `sample_size`
    /// (`objectComputeSize`).
    pub fn mem_usage(self, sample_size: usize) -> usize {
        match self {
            HashRef::Ziplist(_) => 0,
            HashRef::Ht(ht) => table_mem_usage(ht, sample_size),
        }
    }

    /// Returns a copy in the same encoding.
    pub fn dup(self) -> Hash {
        hashTypeDup(self)
    }
}

/// The limits that decide the encoding of a hash, and whether its table may be resized: a copy of
/// what the server says now.
#[derive(Copy, Clone)]
pub struct HashLimits {
    /// `hash-max-ziplist-entries`
    pub entries: usize,
    /// `hash-max-ziplist-value`
    pub value: usize,
    /// The resize policy of tables: as for the keyspace, not while a child lives.
    pub resize: dictResizeEnable,
}

impl HashLimits {
    /// Returns the limits that are configured now.
    #[inline]
    pub fn of(server: &Server) -> HashLimits {
        HashLimits {
            entries: server.hash_max_ziplist_entries,
            value: server.hash_max_ziplist_value,
            resize: value_resize_policy(server),
        }
    }
}

/// A field and its value.
pub type HashPair<'a> = (ZiplistEntry<'a>, ZiplistEntry<'a>);

/// Calls `f` with the bytes of an entry, such as a field or a value; those of a number are its
/// digits.
#[inline]
pub fn with_entry_bytes<R>(e: ZiplistEntry, f: impl FnOnce(&[u8]) -> R) -> R {
    match e {
        ZiplistEntry::Str(s) => f(s),
        ZiplistEntry::Int(n) => f(&ll2string(n)),
    }
}

/// Returns an empty hash, in a ziplist.
pub fn createHashObject() -> Hash {
    Hash::Ziplist(ziplistNew())
}

// ANCHOR: hashTypeTryConversion
/// Makes the hash a table if one of these arguments, fields and values that will be set, is too
/// long for a ziplist, or all together are too much for one.
pub fn hashTypeTryConversion<'a>(
    o: &mut Hash,
    args: impl Iterator<Item = &'a [u8]>,
    limits: HashLimits,
) {
    let Hash::Ziplist(zl) = o else { return };
    let mut sum = 0usize;
    for arg in args {
        if arg.len() > limits.value {
            return hashTypeConvert(o);
        }
        sum = sum.saturating_add(arg.len());
    }
    if !ziplistSafeToAdd(Some(zl), sum) {
        hashTypeConvert(o);
    }
}
// ANCHOR_END: hashTypeTryConversion

/// Returns where a field is in a ziplist.
#[inline]
fn hash_ziplist_find(zl: &[u8], field: &[u8]) -> Option<usize> {
    ziplistFind(zl, ziplistIndex(zl, 0)?, field, 1)
}

/// Returns the value of a field in a ziplist.
#[inline]
pub fn hashTypeGetFromZiplist<'a>(zl: &'a [u8], field: &[u8]) -> Option<ZiplistEntry<'a>> {
    let fptr = hash_ziplist_find(zl, field)?;
    // Grab the value that follows the field.
    let vptr = assert_some!(ziplistNext(zl, fptr));
    Some(assert_some!(ziplistGet(zl, vptr)))
}

/// Returns the value of a field in a table.
#[inline]
pub fn hashTypeGetFromHashTable<'a>(ht: &'a Dict<PairEntry>, field: &[u8]) -> Option<&'a [u8]> {
    dictFind(ht, field).map(PairEntry::value)
}

/// Returns the value of a field.
#[inline]
pub fn hashTypeGetValue<'a>(o: HashRef<'a>, field: &[u8]) -> Option<ZiplistEntry<'a>> {
    match o {
        HashRef::Ziplist(zl) => hashTypeGetFromZiplist(zl, field),
        HashRef::Ht(ht) => hashTypeGetFromHashTable(ht, field).map(ZiplistEntry::Str),
    }
}

/// Returns the value of a field as a value by itself.
pub fn hashTypeGetValueObject(o: HashRef, field: &[u8]) -> Option<Object> {
    hashTypeGetValue(o, field).map(|value| match value {
        ZiplistEntry::Str(s) => Object::Str(s.to_vec()),
        ZiplistEntry::Int(n) => Object::Int(n),
    })
}

/// Returns the length of a field's value in bytes, 0 if there is no such field.
pub fn hashTypeGetValueLength(o: HashRef, field: &[u8]) -> usize {
    match hashTypeGetValue(o, field) {
        Some(ZiplistEntry::Str(s)) => s.len(),
        Some(ZiplistEntry::Int(n)) => sdigits10(n) as usize,
        None => 0,
    }
}

/// Tells whether there is such a field.
pub fn hashTypeExists(o: HashRef, field: &[u8]) -> bool {
    match o {
        HashRef::Ziplist(zl) => hash_ziplist_find(zl, field).is_some(),
        HashRef::Ht(ht) => dictFind(ht, field).is_some(),
    }
}

/// Sets a field, new or not; true if it was there. A ziplist that has too many fields then becomes
/// a table.
#[inline]
pub fn hashTypeSet(o: &mut Hash, field: &[u8], value: &[u8], limits: HashLimits) -> bool {
    match o {
        Hash::Ziplist(zl) => {
            let place = hash_ziplist_find(zl, field).map(|p| assert_some!(ziplistNext(zl, p)));
            match place {
                Some(p) => ziplistReplace(zl, p, value),
                None => {
                    ziplistPush(zl, field, ZIPLIST_TAIL);
                    ziplistPush(zl, value, ZIPLIST_TAIL);
                }
            }
            if hashTypeLength(o.as_ref()) > limits.entries {
                hashTypeConvert(o);
            }
            place.is_some()
        }
        Hash::Ht(ht) => {
            let hash = dictGetHash(ht, field);
            hash_table_set(ht, field, value, hash, limits.resize)
        }
    }
}

/// Sets a field of a table, whose hash there is known; true if it was there (`hashTypeSet`).
#[inline]
fn hash_table_set(
    ht: &mut Dict<PairEntry>,
    field: &[u8],
    value: &[u8],
    hash: u64,
    resize: dictResizeEnable,
) -> bool {
    ht.set_resize_enabled(resize);
    let make = || PairEntry::new(field, value);
    let (pair, added) = dict_add_or_find_hashed(ht, field, hash, make);
    if !added {
        pair.set_value(value);
    }
    !added
}

/// Deletes a field; true if it was there.
pub fn hashTypeDelete(o: &mut Hash, field: &[u8], limits: HashLimits) -> bool {
    match o {
        Hash::Ziplist(zl) => match hash_ziplist_find(zl, field) {
            Some(p) => {
                // The field, and then the value, which is where the field was.
                ziplistDelete(zl, p);
                ziplistDelete(zl, p);
                true
            }
            None => false,
        },
        Hash::Ht(ht) => {
            ht.set_resize_enabled(limits.resize);
            let deleted = dictDelete(ht, field);
            if deleted && htNeedsResize(ht) {
                dictResize(ht);
            }
            deleted
        }
    }
}

/// Returns the number of fields.
#[inline]
pub fn hashTypeLength(o: HashRef) -> usize {
    match o {
        HashRef::Ziplist(zl) => ziplistLen(zl) / 2,
        HashRef::Ht(ht) => dictSize(ht),
    }
}

/// Calls `rehash_table_step` for a hash in the client's db.
#[inline(never)]
fn hash_type_rehash(server: &mut Server, c: ClientId, o: KeyRef, steps: usize) {
    let (db, resize) = (server[c].db, value_resize_policy(server));
    if let Some(ht) = server.db[db].dict.hash_table_mut(o)
        && dictIsRehashing(ht)
    {
        rehash_table_step(ht, steps, resize);
    }
}

/// A walk over the pairs of a hash, which it borrows.
// C: `hashTypeCurrent*` give the field or the value where the iterator is; here both are what it
// returns.
pub enum hashTypeIterator<'a> {
    /// The ziplist, and where the next pair starts.
    Ziplist(&'a [u8], Option<usize>),
    Ht(DictIter<'a, PairEntry>),
}

/// Starts a walk; `hashTypeNext` is the iterator's `next`.
pub fn hashTypeInitIterator(subject: HashRef<'_>) -> hashTypeIterator<'_> {
    match subject {
        HashRef::Ziplist(zl) => hashTypeIterator::Ziplist(zl, ziplistIndex(zl, 0)),
        HashRef::Ht(ht) => hashTypeIterator::Ht(ht.iter()),
    }
}

impl<'a> Iterator for hashTypeIterator<'a> {
    type Item = HashPair<'a>;

    #[inline]
    fn next(&mut self) -> Option<HashPair<'a>> {
        match self {
            hashTypeIterator::Ziplist(zl, next) => {
                let fptr = (*next)?;
                let vptr = assert_some!(ziplistNext(zl, fptr));
                *next = ziplistNext(zl, vptr);
                Some((assert_some!(ziplistGet(zl, fptr)), assert_some!(ziplistGet(zl, vptr))))
            }
            hashTypeIterator::Ht(di) => di
                .next()
                .map(|pair| (ZiplistEntry::Str(pair.field()), ZiplistEntry::Str(pair.value()))),
        }
    }
}

/// Looks up a hash to change it, and makes an empty one if the key is not there. `None`: the key is
/// of another type, and the reply was that.
#[inline(always)]
fn hashTypeLookupWriteOrCreate(server: &mut Server, c: ClientId, key: &[u8]) -> Option<KeyRef> {
    let db = server[c].db;
    match lookupKeyWrite(server, db, key) {
        Some(o) if check_type_in(server, c, db, o, OBJ_HASH) => None,
        Some(o) => Some(o),
        None => Some(dbAdd(server, db, key, createHashObject())),
    }
}

/// Makes a ziplist a table.
// C: takes the encoding to convert to, of which there is one.
pub fn hashTypeConvert(o: &mut Hash) {
    let Hash::Ziplist(zl) = &*o else { panic!("Not implemented") };
    let mut dict: Box<Dict<PairEntry>> = Box::default();
    dictExpand(&mut dict, hashTypeLength(o.as_ref()));
    for (field, value) in hashTypeInitIterator(o.as_ref()) {
        let pair = with_entry_bytes(field, |field| {
            with_entry_bytes(value, |value| PairEntry::new(field, value))
        });
        if dictAdd(&mut dict, pair).is_err() {
            serverLogHexDump("ziplist with dup elements dump", zl);
            panic!("Ziplist corruption detected");
        }
    }
    *o = Hash::Ht(dict);
}

/// Returns a copy in the same encoding, for COPY.
pub fn hashTypeDup(o: HashRef) -> Hash {
    match o {
        HashRef::Ziplist(zl) => Hash::Ziplist(Ziplist::of_packed(zl.into())),
        HashRef::Ht(ht) => {
            let mut d: Box<Dict<PairEntry>> = Box::default();
            dictExpand(&mut d, dictSize(ht));
            for pair in ht.iter() {
                let _ = dictAdd(&mut d, PairEntry::new(pair.field(), pair.value()));
            }
            Hash::Ht(d)
        }
    }
}

/// Tells whether these bytes are the ziplist of a hash. Without `deep` just its header is checked,
/// with it every entry, that no field is there twice, and that each has a value.
pub fn hashZiplistValidateIntegrity(zl: &[u8], deep: bool) -> bool {
    if !deep {
        return ziplistValidateIntegrity(zl, false, None);
    }
    let (mut count, mut fields) = (0usize, Vec::with_capacity(16));
    let mut entry_validation = |p: usize| {
        let Some(entry) = ziplistGet(zl, p) else { return false };
        count += 1;
        if count % 2 == 1 {
            fields.push(entry);
        }
        true
    };
    ziplistValidateIntegrity(zl, true, Some(&mut entry_validation))
        && count % 2 == 0
        && ziplist_all_distinct(&mut fields)
}

/// Replies with a field or value.
#[inline]
fn hashReplyFromZiplistEntry(clients: &mut Clients, c: ClientId, e: ZiplistEntry) {
    match e {
        ZiplistEntry::Str(s) => addReplyBulkCBuffer(clients, c, s),
        ZiplistEntry::Int(n) => addReplyBulkLongLong(clients, c, n),
    }
}

/// Returns a random pair of a hash that has `hashsize`, at least one.
fn hashTypeRandomElement<'a>(
    hashobj: HashRef<'a>,
    hashsize: usize,
    random: &mut Random,
) -> HashPair<'a> {
    let pair = match hashobj {
        HashRef::Ht(ht) => dictGetFairRandomKey(ht, || random.next64())
            .map(|pair| (ZiplistEntry::Str(pair.field()), ZiplistEntry::Str(pair.value()))),
        HashRef::Ziplist(zl) => return ziplistRandomPair(zl, hashsize, &mut || random.next31()),
    };
    pair.expect("a hash in the keyspace is never empty")
}

// -----------------------------------------------------------------------------
// Hash type commands
// -----------------------------------------------------------------------------

/// HSETNX key field value
pub fn hsetnxCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (db, key) = (server[c].db, argv.get(1));
    let Some(o) = hashTypeLookupWriteOrCreate(server, c, key) else { return };
    let limits = HashLimits::of(server);
    let mut hash = server.db[db].dict.hash_value_mut(o);
    hashTypeTryConversion(&mut hash, argv.iter().skip(2), limits);
    if hashTypeExists(hash.as_ref(), &argv[2]) {
        drop(hash);
        addReply(server, c, shared::czero);
        return;
    }
    hashTypeSet(&mut hash, &argv[2], &argv[3], limits);
    drop(hash);
    addReply(server, c, shared::cone);
    signalModifiedKey(server, Some(c), db, key);
    notifyKeyspaceEvent(server, NOTIFY_HASH, "hset", key, db);
    server.dirty += 1;
}

/// HSET key field value [field value ...], and HMSET, which replies with OK.
pub fn hsetCommand(server: &mut Server, c: ClientId, argv: &Args) {
    if argv.len() % 2 == 1 {
        addReplyErrorFormat!(
            server,
            c,
            "wrong number of arguments for '{}' command",
            expire_command_name(server, c)
        );
        return;
    }
    let (db, key) = (server[c].db, argv.get(1));
    let Some(o) = hashTypeLookupWriteOrCreate(server, c, key) else { return };
    let (mut created, mut i) = (0, 2);
    let resize = value_resize_policy(server);
    if let Some(ht) = server.db[db].dict.hash_table_mut(o) {
        while i < argv.len() {
            let hash = hash_of_arg(argv, i, ht);
            let existed = hash_table_set(ht, argv.get(i), argv.get(i + 1), hash, resize);
            created += i64::from(!existed);
            i += 2;
        }
    } else {
        let limits = HashLimits::of(server);
        let mut hash = server.db[db].dict.hash_value_mut(o);
        hashTypeTryConversion(&mut hash, argv.iter().skip(2), limits);
        while i < argv.len() {
            let existed = hashTypeSet(&mut hash, argv.get(i), argv.get(i + 1), limits);
            created += i64::from(!existed);
            i += 2;
        }
    }

    // HSET and HMSET are told apart by the name they were called by.
    if matches!(argv[0].get(1), Some(b's' | b'S')) {
        addReplyLongLong(server, c, created);
    } else {
        addReply(server, c, shared::ok);
    }
    signalModifiedKey(server, Some(c), db, key);
    notifyKeyspaceEvent(server, NOTIFY_HASH, "hset", key, db);
    server.dirty += (argv.len() as i64 - 2) / 2;
}

/// HINCRBY key field increment
pub fn hincrbyCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (db, key, field) = (server[c].db, argv.get(1), argv.get(2));
    let Ok(incr) = getLongLongFromObjectOrReply(server, c, &argv[3], None) else { return };
    let Some(o) = hashTypeLookupWriteOrCreate(server, c, key) else { return };
    let limits = HashLimits::of(server);
    let mut hash = server.db[db].dict.hash_value_mut(o);
    let oldvalue = match hashTypeGetValue(hash.as_ref(), field) {
        Some(ZiplistEntry::Str(s)) => string2ll(s),
        Some(ZiplistEntry::Int(n)) => Some(n),
        None => Some(0),
    };
    let Some(oldvalue) = oldvalue else {
        drop(hash);
        addReplyError(server, c, b"hash value is not an integer");
        return;
    };
    let Some(value) = oldvalue.checked_add(incr) else {
        drop(hash);
        addReplyError(server, c, b"increment or decrement would overflow");
        return;
    };
    hashTypeSet(&mut hash, field, &ll2string(value), limits);
    drop(hash);
    addReplyLongLong(server, c, value);
    signalModifiedKey(server, Some(c), db, key);
    notifyKeyspaceEvent(server, NOTIFY_HASH, "hincrby", key, db);
    server.dirty += 1;
}

/// HINCRBYFLOAT key field increment, in the 80 bits of the C's long double.
pub fn hincrbyfloatCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (db, key, field) = (server[c].db, argv.get(1), argv.get(2));
    let Ok(incr) = getLongDoubleFromObjectOrReply(server, c, &argv[3], None) else { return };
    // Checked before the key is created, which an error would leave empty.
    if incr.is_nan() || incr.is_infinite() {
        addReplyError(server, c, b"value is NaN or Infinity");
        return;
    }
    let Some(o) = hashTypeLookupWriteOrCreate(server, c, key) else { return };
    let limits = HashLimits::of(server);
    let mut hash = server.db[db].dict.hash_value_mut(o);
    let oldvalue = match hashTypeGetValue(hash.as_ref(), field) {
        Some(ZiplistEntry::Str(s)) => string2ld(s),
        Some(ZiplistEntry::Int(n)) => Some(LongDouble::from_i64(n)),
        None => Some(LongDouble::from_i64(0)),
    };
    let Some(oldvalue) = oldvalue else {
        drop(hash);
        addReplyError(server, c, b"hash value is not a float");
        return;
    };
    let value = oldvalue + incr;
    if value.is_nan() || value.is_infinite() {
        drop(hash);
        addReplyError(server, c, b"increment would produce NaN or Infinity");
        return;
    }
    let new = ld2string(value, ld2string_mode::LD_STR_HUMAN);
    hashTypeSet(&mut hash, field, &new, limits);
    drop(hash);
    addReplyBulkCBuffer(server, c, &new);
    signalModifiedKey(server, Some(c), db, key);
    notifyKeyspaceEvent(server, NOTIFY_HASH, "hincrbyfloat", key, db);
    server.dirty += 1;

    // Propagated as an HSET of the result, so that a difference in floating point can't make
    // replicas differ.
    rewriteClientCommandVector(server, c, &[b"HSET", key, field, &new]);
}

/// Replies with the value of a field, null if there is none.
#[inline]
fn addHashFieldToReply(clients: &mut Clients, c: ClientId, o: Option<HashRef>, field: &[u8]) {
    match o.and_then(|o| hashTypeGetValue(o, field)) {
        Some(value) => hashReplyFromZiplistEntry(clients, c, value),
        None => addReplyNull(clients, c),
    }
}

/// HGET key field
pub fn hgetCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::null) else { return };
    let db = server[c].db;
    if check_type_in(server, c, db, o, OBJ_HASH) {
        return;
    }
    let Server { clients, db: dbs, .. } = server;
    let dict = &dbs[db].dict;
    let Some(ht) = dict.hash_table(o) else {
        return addHashFieldToReply(clients, c, Some(dict.hash_value(o)), &argv[2]);
    };
    match dict_find_hashed(ht, &argv[2], hash_of_arg(argv, 2, ht)) {
        Some(pair) => addReplyBulkCBuffer(clients, c, pair.value()),
        None => addReplyNull(clients, c),
    }
    if dictIsRehashing(ht) {
        hash_type_rehash(server, c, o, 1);
    }
}

/// HMGET key field [field ...]
pub fn hmgetCommand(server: &mut Server, c: ClientId, argv: &Args) {
    // A key that is not there is an empty hash.
    let db = server[c].db;
    let o = lookupKeyRead(server, db, &argv[1]);
    if let Some(o) = o
        && checkType(server, c, o, OBJ_HASH)
    {
        return;
    }
    if let Some(o) = o {
        hash_type_rehash(server, c, o, argv.len() - 2);
    }
    let Server { clients, db: dbs, .. } = server;
    let hash = o.map(|o| dbs[db].dict.hash_value(o));
    addReplyArrayLen(clients, c, argv.len() - 2);
    for field in argv.iter().skip(2) {
        addHashFieldToReply(clients, c, hash, field);
    }
}

/// HDEL key field [field ...]
pub fn hdelCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (db, key) = (server[c].db, argv.get(1));
    let Some(o) = lookupKeyWriteOrReply(server, c, key, shared::czero) else { return };
    if checkType(server, c, o, OBJ_HASH) {
        return;
    }
    let limits = HashLimits::of(server);
    let mut hash = server.db[db].dict.hash_value_mut(o);
    let (mut deleted, mut keyremoved) = (0, false);
    for field in argv.iter().skip(2) {
        if hashTypeDelete(&mut hash, field, limits) {
            deleted += 1;
            if hashTypeLength(hash.as_ref()) == 0 {
                keyremoved = true;
                break;
            }
        }
    }
    drop(hash);
    if keyremoved {
        dbDelete(server, db, key);
    }
    if deleted > 0 {
        signalModifiedKey(server, Some(c), db, key);
        notifyKeyspaceEvent(server, NOTIFY_HASH, "hdel", key, db);
        if keyremoved {
            notifyKeyspaceEvent(server, NOTIFY_GENERIC, "del", key, db);
        }
        server.dirty += deleted;
    }
    addReplyLongLong(server, c, deleted);
}

/// HLEN key
pub fn hlenCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::czero) else { return };
    if checkType(server, c, o, OBJ_HASH) {
        return;
    }
    let length = hashTypeLength(server.db[server[c].db].dict.hash_value(o));
    addReplyLongLong(server, c, length as i64);
}

/// HSTRLEN key field
pub fn hstrlenCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::czero) else { return };
    if checkType(server, c, o, OBJ_HASH) {
        return;
    }
    hash_type_rehash(server, c, o, 1);
    let length = hashTypeGetValueLength(server.db[server[c].db].dict.hash_value(o), &argv[2]);
    addReplyLongLong(server, c, length as i64);
}

/// Flag of `genericHgetallCommand`: reply with the fields.
const OBJ_HASH_KEY: i32 = 1;
/// Flag of `genericHgetallCommand`: reply with the values.
const OBJ_HASH_VALUE: i32 = 2;

/// Implements HKEYS, HVALS and HGETALL.
fn genericHgetallCommand(server: &mut Server, c: ClientId, argv: &Args, flags: i32) {
    let (keys, values) = (flags & OBJ_HASH_KEY != 0, flags & OBJ_HASH_VALUE != 0);
    let emptyResp = if keys && values { shared::emptymap } else { shared::emptyarray };
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], emptyResp) else { return };
    if checkType(server, c, o, OBJ_HASH) {
        return;
    }
    let Server { clients, db: dbs, .. } = server;
    let hash = dbs[clients[c].db].dict.hash_value(o);

    // Both together are a map, else it is a flat array.
    let length = hashTypeLength(hash);
    if keys && values {
        addReplyMapLen(clients, c, length);
    } else {
        addReplyArrayLen(clients, c, length);
    }
    let mut count = 0;
    for (field, value) in hashTypeInitIterator(hash) {
        if keys {
            hashReplyFromZiplistEntry(clients, c, field);
        }
        if values {
            hashReplyFromZiplistEntry(clients, c, value);
        }
        count += 1;
    }
    // A damaged ziplist need not have as many as it says.
    assert!(count == length);
}

/// HKEYS key
pub fn hkeysCommand(server: &mut Server, c: ClientId, argv: &Args) {
    genericHgetallCommand(server, c, argv, OBJ_HASH_KEY);
}

/// HVALS key
pub fn hvalsCommand(server: &mut Server, c: ClientId, argv: &Args) {
    genericHgetallCommand(server, c, argv, OBJ_HASH_VALUE);
}

/// HGETALL key
pub fn hgetallCommand(server: &mut Server, c: ClientId, argv: &Args) {
    genericHgetallCommand(server, c, argv, OBJ_HASH_KEY | OBJ_HASH_VALUE);
}

/// HEXISTS key field
pub fn hexistsCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::czero) else { return };
    if checkType(server, c, o, OBJ_HASH) {
        return;
    }
    hash_type_rehash(server, c, o, 1);
    let exists = hashTypeExists(server.db[server[c].db].dict.hash_value(o), &argv[2]);
    addReply(server, c, if exists { shared::cone } else { shared::czero });
}

/// HSCAN key cursor [MATCH pattern] [COUNT count]
pub fn hscanCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(cursor) = parseScanCursorOrReply(server, c, &argv[2]) else { return };
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::emptyscan) else { return };
    if checkType(server, c, o, OBJ_HASH) {
        return;
    }
    scanGenericCommand(server, c, argv, Some(o), cursor);
}

/// Replies with a field, and with its value if that was asked for: RESP3 has an array of both then.
fn hrandfield_reply_with_pair(
    clients: &mut Clients,
    c: ClientId,
    (field, value): HashPair,
    withvalues: bool,
) {
    if withvalues && clients[c].resp > 2 {
        addReplyArrayLen(clients, c, 2);
    }
    hashReplyFromZiplistEntry(clients, c, field);
    if withvalues {
        hashReplyFromZiplistEntry(clients, c, value);
    }
}

/// How many times larger than the count the hash has to be, for fields to be drawn until enough
/// different ones are found.
const HRANDFIELD_SUB_STRATEGY_MUL: usize = 3;

/// A ziplist is walked once for so many random fields. More at a time would take memory without
/// bounds.
const HRANDFIELD_RANDOM_SAMPLE_LIMIT: usize = 1000;

/// HRANDFIELD key count [WITHVALUES]
fn hrandfieldWithCountCommand(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    l: i64,
    withvalues: bool,
) {
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::emptyarray) else { return };
    if checkType(server, c, o, OBJ_HASH) {
        return;
    }
    // A negative count: as many draws, and the same field may come again.
    let (mut count, uniq) = (l.unsigned_abs() as usize, l >= 0);
    if count == 0 {
        addReply(server, c, shared::emptyarray);
        return;
    }
    hash_type_rehash(server, c, o, DRAW_STEPS * count.min(100));
    let mut random = Random::new(server);
    let Server { clients, db: dbs, .. } = server;
    let hash = dbs[clients[c].db].dict.hash_value(o);
    let size = hashTypeLength(hash);
    let reply_length = |clients: &mut Clients, count: usize| {
        let flat = withvalues && clients[c].resp == 2;
        addReplyArrayLen(clients, c, if flat { count * 2 } else { count });
    };

    // Case 1: draw as many. This is the one case where the order has to be random too.
    if !uniq || count == 1 {
        reply_length(clients, count);
        match hash {
            HashRef::Ht(_) => {
                for _ in 0..count {
                    let pair = hashTypeRandomElement(hash, size, &mut random);
                    hrandfield_reply_with_pair(clients, c, pair, withvalues);
                    if gets_no_replies(clients, c) {
                        break;
                    }
                }
            }
            HashRef::Ziplist(zl) => {
                while count > 0 {
                    let sample_count = count.min(HRANDFIELD_RANDOM_SAMPLE_LIMIT);
                    count -= sample_count;
                    for pair in ziplistRandomPairs(zl, sample_count, &mut || random.next31()) {
                        hrandfield_reply_with_pair(clients, c, pair, withvalues);
                    }
                    if gets_no_replies(clients, c) {
                        break;
                    }
                }
            }
        }
        return;
    }

    reply_length(clients, count.min(size));
    if count >= size {
        // Case 2: all of them.
        let mut replied = 0;
        for pair in hashTypeInitIterator(hash) {
            hrandfield_reply_with_pair(clients, c, pair, withvalues);
            replied += 1;
        }
        assert!(replied == size);
    } else if count.saturating_mul(HRANDFIELD_SUB_STRATEGY_MUL) > size {
        // Case 3: a good part of them. From a list of all, random ones are left out until the count
        // is right: so many different ones would take long to draw.
        let mut all: Vec<HashPair> = hashTypeInitIterator(hash).collect();
        assert!(all.len() == size);
        while all.len() > count {
            all.swap_remove(random.below(all.len()));
        }
        for pair in all {
            hrandfield_reply_with_pair(clients, c, pair, withvalues);
        }
    } else if let HashRef::Ziplist(zl) = hash {
        // Case 4: few of many. In a ziplist one walk draws them.
        let pairs = ziplistRandomPairsUnique(zl, count, &mut || random.next31());
        assert!(pairs.len() == count);
        for pair in pairs {
            hrandfield_reply_with_pair(clients, c, pair, withvalues);
        }
    } else {
        // In a table, they are drawn until there are enough different ones.
        let mut drawn = HashSet::with_capacity(count);
        while drawn.len() < count {
            let pair = hashTypeRandomElement(hash, size, &mut random);
            if let ZiplistEntry::Str(field) = pair.0
                && drawn.insert(field)
            {
                hrandfield_reply_with_pair(clients, c, pair, withvalues);
            }
        }
    }
}

/// HRANDFIELD key [count [WITHVALUES]]
pub fn hrandfieldCommand(server: &mut Server, c: ClientId, argv: &Args) {
    if argv.len() >= 3 {
        let Ok(l) = getRangeLongFromObjectOrReply(server, c, &argv[2], -i64::MAX, i64::MAX, None)
        else {
            return;
        };
        let withvalues = argv.len() == 4;
        if argv.len() > 4 || (withvalues && !argv[3].eq_ignore_ascii_case(b"withvalues")) {
            addReplyErrorObject(server, c, shared::syntaxerr);
            return;
        }
        // Twice as many bulk strings have to fit the length of the reply.
        if withvalues && !(-i64::MAX / 2..=i64::MAX / 2).contains(&l) {
            addReplyError(server, c, b"value is out of range");
            return;
        }
        hrandfieldWithCountCommand(server, c, argv, l, withvalues);
        return;
    }
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::null) else { return };
    if checkType(server, c, o, OBJ_HASH) {
        return;
    }
    hash_type_rehash(server, c, o, DRAW_STEPS);
    let mut random = Random::new(server);
    let Server { clients, db: dbs, .. } = server;
    let hash = dbs[clients[c].db].dict.hash_value(o);
    let (field, _) = hashTypeRandomElement(hash, hashTypeLength(hash), &mut random);
    hashReplyFromZiplistEntry(clients, c, field);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const LIMITS: HashLimits = HashLimits { entries: 16, value: 64, resize: DICT_RESIZE_ENABLE };

    fn bytes(e: ZiplistEntry) -> Vec<u8> {
        with_entry_bytes(e, <[u8]>::to_vec)
    }

    fn pairs(hash: &Hash) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let all: Vec<_> = hashTypeInitIterator(hash.as_ref()).collect();
        assert_eq!(all.len(), hashTypeLength(hash.as_ref()));
        all.into_iter().map(|(field, value)| (bytes(field), bytes(value))).collect()
    }

    fn is_ziplist(hash: &Hash) -> bool {
        matches!(hash, Hash::Ziplist(_))
    }

    /// Returns a random field or value: numbers, words, and now and then something long.
    fn word(r: &mut Random, long: bool) -> Vec<u8> {
        match r.below(10) {
            0..4 => r.below(30).to_string().into_bytes(),
            4 => (r.next64() as i64).to_string().into_bytes(),
            5 => format!("-{}", r.below(3)).into_bytes(),
            6 if long => vec![b'y'; r.below(1000)],
            _ => vec![b'a' + r.below(26) as u8; r.below(64)],
        }
    }

    #[test]
    fn hashes_are_the_model() {
        for seed in 0..40 {
            println!("seed {seed}");
            let mut r = Random(seed);
            let long = r.below(2) == 0;
            let (mut hash, mut model) = (createHashObject(), BTreeMap::new());
            for step in 0..2000 {
                let field = word(&mut r, false);
                match r.below(if step % 400 < 200 { 3 } else { 6 }) {
                    0 | 1 => {
                        let value = word(&mut r, long);
                        let stays = is_ziplist(&hash) && value.len() <= LIMITS.value;
                        hashTypeTryConversion(&mut hash, [&field[..], &value].into_iter(), LIMITS);
                        assert_eq!(
                            hashTypeExists(hash.as_ref(), &field),
                            model.contains_key(&field)
                        );
                        let update = hashTypeSet(&mut hash, &field, &value, LIMITS);
                        assert_eq!(update, model.insert(field, value).is_some());
                        assert_eq!(is_ziplist(&hash), stays && model.len() <= LIMITS.entries);
                    }
                    2 => {
                        assert_eq!(
                            hashTypeGetValue(hash.as_ref(), &field).map(bytes).as_ref(),
                            model.get(&field)
                        );
                        let length = model.get(&field).map_or(0, Vec::len);
                        assert_eq!(hashTypeGetValueLength(hash.as_ref(), &field), length);
                    }
                    _ => assert_eq!(
                        hashTypeDelete(&mut hash, &field, LIMITS),
                        model.remove(&field).is_some()
                    ),
                }
                if !model.is_empty() {
                    let (field, value) = hashTypeRandomElement(hash.as_ref(), model.len(), &mut r);
                    assert_eq!(model.get(&bytes(field)), Some(&bytes(value)));
                }
                if step % 100 == 0 {
                    assert_eq!(pairs(&hash), model);
                    let copy = hash.as_ref().dup();
                    assert_eq!(
                        (pairs(&copy), is_ziplist(&copy)),
                        (pairs(&hash), is_ziplist(&hash))
                    );
                    let least = if is_ziplist(&copy) { 0 } else { 2 * model.len() };
                    assert!(copy.as_ref().mem_usage(5) >= least);
                    if let Hash::Ziplist(zl) = &hash {
                        assert!(hashZiplistValidateIntegrity(zl, true));
                    }
                }
            }
        }
    }

    fn ziplist(values: &[&str]) -> Ziplist {
        let mut zl = ziplistNew();
        values.iter().for_each(|v| ziplistPush(&mut zl, v.as_bytes(), ZIPLIST_TAIL));
        zl
    }

    #[test]
    fn validator_wants_pairs_and_different_fields() {
        for (values, good) in [
            (&["a", "1", "b", "1"][..], true),
            (&["a", "1", "b"], false),
            (&["a", "1", "a", "2"], false),
            (&["12", "a", "12", "b"], false),
            (&["a", "b", "b", "a"], true),
        ] {
            let zl = ziplist(values);
            assert_eq!(hashZiplistValidateIntegrity(&zl, true), good, "{values:?}");
            assert!(hashZiplistValidateIntegrity(&zl, false));
        }
    }

    /// What slipped through without a deep check is found where it matters.
    #[test]
    #[should_panic(expected = "assertion failed: ziplistNext(zl, fptr)")]
    fn a_field_without_a_value() {
        let hash = Hash::Ziplist(ziplist(&["a", "1", "b", "3", "alone"]));
        assert_eq!(hashTypeGetValue(hash.as_ref(), b"a").map(bytes), Some(b"1".to_vec()));
        assert_eq!(hashTypeGetValue(hash.as_ref(), b"other"), None);
        hashTypeGetValue(hash.as_ref(), b"alone");
    }

    #[test]
    #[should_panic(expected = "Ziplist corruption detected")]
    fn a_field_that_is_there_twice() {
        let mut hash = Hash::Ziplist(ziplist(&["a", "1", "a", "2"]));
        assert_eq!(hashTypeGetValue(hash.as_ref(), b"a").map(bytes), Some(b"1".to_vec()));
        hashTypeConvert(&mut hash);
    }

    /// CVE-2021-32628: what is too much for a ziplist never gets into one, whatever the settings.
    #[test]
    fn a_gigabyte_is_too_much_for_a_ziplist() {
        let limits = HashLimits { entries: usize::MAX, value: usize::MAX, ..LIMITS };
        let value = vec![0; 1 << 20];
        let args = |n| std::iter::repeat_n(&value[..], n);
        let mut hash = createHashObject();
        hashTypeTryConversion(&mut hash, args(1000), limits);
        assert!(is_ziplist(&hash));
        hashTypeTryConversion(&mut hash, args(1024), limits);
        assert!(!is_ziplist(&hash));
    }

    #[test]
    fn a_value_by_itself_is_a_number_or_a_string() {
        let mut hash = createHashObject();
        hashTypeSet(&mut hash, b"n", b"42", LIMITS);
        hashTypeSet(&mut hash, b"s", b"042", LIMITS);
        assert!(matches!(hashTypeGetValueObject(hash.as_ref(), b"n"), Some(Object::Int(42))));
        assert!(
            matches!(hashTypeGetValueObject(hash.as_ref(), b"s"), Some(Object::Str(s)) if s == b"042")
        );
        assert!(hashTypeGetValueObject(hash.as_ref(), b"x").is_none());
    }
}
