//! `t_set.c`: sets.
//!
//! Read first: [`Set`], `setTypeAdd`, `sinterGenericCommand`; then `spopWithCountCommand`, which
//! chooses among three ways. Differs: the type functions take the set, not its key, with a copy of
//! the limits, so that the keyspace is borrowed beside the clients. An element is a [`SetElement`]:
//! borrowed bytes or a number. What the C collects in a temporary table is collected as such
//! elements, without a copy of their bytes.

use std::collections::HashSet;

use crate::args::{Args, Argv};
use crate::clients::Clients;
use crate::db::*;
use crate::ds::dict::*;
use crate::ds::intset::*;
use crate::ds::strset::*;
use crate::keyspace::*;
use crate::lazyfree::freeObjAsync;
use crate::networking::*;
use crate::notify::notifyKeyspaceEvent;
use crate::object::*;
use crate::server::{
    CommandSpec, alsoPropagate, command, hasActiveChildProcess, lookupCommandOrOriginal,
    preventCommandPropagation,
};
use crate::server_h::*;
use crate::sys::mem::size_class;
use crate::sys::random::random_u64;
use crate::util::{ll2string, string2ll};

const FIRST: (i32, i32, i32) = (1, 1, 1);
const ALL: (i32, i32, i32) = (1, -1, 1);

/// The commands on sets.
#[rustfmt::skip]
pub const COMMANDS: &[CommandSpec] = &[
    command("sadd", saddCommand, -3, "write use-memory fast @set", FIRST),
    command("srem", sremCommand, -3, "write fast @set", FIRST),
    command("smove", smoveCommand, 4, "write fast @set", (1, 2, 1)),
    command("sismember", sismemberCommand, 3, "read-only fast @set", FIRST),
    command("smismember", smismemberCommand, -3, "read-only fast @set", FIRST),
    command("scard", scardCommand, 2, "read-only fast @set", FIRST),
    command("spop", spopCommand, -2, "write random fast @set", FIRST),
    command("srandmember", srandmemberCommand, -2, "read-only random @set", FIRST),
    command("sinter", sinterCommand, -2, "read-only to-sort @set", ALL),
    command("sinterstore", sinterstoreCommand, -3, "write use-memory @set", ALL),
    command("sunion", sunionCommand, -2, "read-only to-sort @set", ALL),
    command("sunionstore", sunionstoreCommand, -3, "write use-memory @set", ALL),
    command("sdiff", sdiffCommand, -2, "read-only to-sort @set", ALL),
    command("sdiffstore", sdiffstoreCommand, -3, "write use-memory @set", ALL),
    command("smembers", sinterCommand, 2, "read-only to-sort @set", FIRST),
    command("sscan", sscanCommand, -3, "read-only random @set", FIRST),
];

// -----------------------------------------------------------------------------
// Set type API
// -----------------------------------------------------------------------------

/// A set: an intset while it is small and all numbers, then a table; or what stands in for a table
/// of a few short members, and is shown as one.
pub enum Set {
    Intset(Intset),
    Strings(StrSet),
    // In a box, so that a small value of any type takes no room for a table.
    Ht(Box<Dict<SdsEntry>>),
}

/// A set, to look at.
#[derive(Clone, Copy)]
pub enum SetRef<'a> {
    Intset(&'a [u8]),
    Strings(&'a [u8]),
    Ht(&'a Dict<SdsEntry>),
}

impl Set {
    /// Returns the set, to look at.
    #[inline(always)]
    pub fn as_ref(&self) -> SetRef<'_> {
        match self {
            Set::Intset(is) => SetRef::Intset(is),
            Set::Strings(set) => SetRef::Strings(set),
            Set::Ht(ht) => SetRef::Ht(ht),
        }
    }
}

impl SetRef<'_> {
    /// Tells whether `self` and `other` are the same set, not just equal ones.
    fn is(self, other: SetRef) -> bool {
        match (self, other) {
            (SetRef::Intset(a), SetRef::Intset(b)) => std::ptr::eq(a, b),
            (SetRef::Strings(a), SetRef::Strings(b)) => std::ptr::eq(a, b),
            (SetRef::Ht(a), SetRef::Ht(b)) => std::ptr::eq(a, b),
            _ => false,
        }
    }

    /// Returns about how many allocations the set takes, for lazy freeing
    /// (`lazyfreeGetFreeEffort`).
    pub fn free_effort(self) -> usize {
        match self {
            SetRef::Intset(_) | SetRef::Strings(_) => 1,
            SetRef::Ht(ht) => dictSize(ht),
        }
    }

    /// Returns the bytes that a table takes up, with its members estimated by the first
    /// `sample_size` (`objectComputeSize`).
    pub fn mem_usage(self, sample_size: usize) -> usize {
        match self {
            SetRef::Intset(_) | SetRef::Strings(_) => 0,
            SetRef::Ht(ht) => table_mem_usage(ht, sample_size),
        }
    }

    /// Returns a copy in the same encoding.
    pub fn dup(self) -> Set {
        setTypeDup(self)
    }
}

/// Returns the bytes of a table and its entries, which are estimated by the first `sample_size`.
pub fn table_mem_usage<E: DictEntry>(ht: &Dict<E>, sample_size: usize) -> usize {
    let (mut samples, mut elesize) = (0, 0);
    for entry in ht.iter().take(sample_size) {
        elesize += entry.alloc_size();
        samples += 1;
    }
    let table = size_class(size_of::<Dict<E>>()) + ht.raw().mem_usage();
    table + (elesize as u128 * dictSize(ht) as u128).checked_div(samples).unwrap_or(0) as usize
}

/// Tells whether tables inside of values may be resized now, as `updateDictResizePolicy` decides
/// for the keyspace.
#[inline]
pub fn value_resize_policy(server: &Server) -> dictResizeEnable {
    if server.in_fork_child != CHILD_TYPE_NONE {
        DICT_RESIZE_FORBID
    } else if hasActiveChildProcess(server) {
        DICT_RESIZE_AVOID
    } else {
        DICT_RESIZE_ENABLE
    }
}

/// The limits that decide the encoding of a set, and whether its table may be resized: a copy of
/// what the server says now.
#[derive(Copy, Clone)]
pub struct SetLimits {
    /// `set-max-intset-entries`
    pub entries: usize,
    /// The resize policy of tables: as for the keyspace, not while a child lives.
    pub resize: dictResizeEnable,
}

impl SetLimits {
    /// Returns the limits that are configured now.
    #[inline]
    pub fn of(server: &Server) -> SetLimits {
        // C: an intset may have 32 GB; here 4 GB are the most.
        let entries = server.set_max_intset_entries.min(1 << 28);
        SetLimits { entries, resize: value_resize_policy(server) }
    }
}

/// A generator of random numbers for sampling: SplitMix64. The server keeps the state, each command
/// starts a sequence of its own.
pub struct Random(pub(crate) u64);

impl Random {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    /// Returns a sequence of its own. The first one asks the kernel where to start.
    pub fn new(server: &mut Server) -> Random {
        if server.random_state == 0 {
            server.random_state = random_u64() | 1;
        }
        let mut state = Random(server.random_state);
        let start = state.next64();
        server.random_state = state.0;
        Random(start)
    }

    /// Returns the next number, of 64 bits.
    #[inline]
    pub fn next64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(Random::STEP);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `n`, which is not 0.
    #[inline]
    pub fn below(&mut self, n: usize) -> usize {
        (self.next64() % n as u64) as usize
    }

    /// Returns the next number, of 31 bits, as `rand(3)` gives it.
    #[inline]
    pub fn next31(&mut self) -> u32 {
        (self.next64() >> 33) as u32
    }
}

/// An element of a set, where it lies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SetElement<'a> {
    /// A member that is no number, or in a table.
    Str(&'a [u8]),
    /// A number of an intset.
    Int(i64),
}

impl SetElement<'_> {
    /// Calls `f` with its bytes; those of a number are its digits.
    #[inline]
    pub fn with_bytes<R>(self, f: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            SetElement::Str(s) => f(s),
            SetElement::Int(n) => f(&ll2string(n)),
        }
    }
}

/// Replies with an element.
#[inline]
fn add_reply_set_element(clients: &mut Clients, c: ClientId, ele: SetElement) {
    match ele {
        SetElement::Str(s) => addReplyBulkCBuffer(clients, c, s),
        SetElement::Int(n) => addReplyBulkLongLong(clients, c, n),
    }
}

/// Returns an empty set that is no intset.
pub fn createSetObject() -> Set {
    Set::Strings(StrSet::new())
}

/// Returns an empty set in an intset.
pub fn createIntsetObject() -> Set {
    Set::Intset(intsetNew())
}

/// Returns an empty set that can hold `value`: an intset if it is a number, else another one.
pub fn setTypeCreate(value: &[u8]) -> Set {
    if string2ll(value).is_some() { createIntsetObject() } else { createSetObject() }
}

/// Adds a member; true if it was not there.
#[inline]
pub fn setTypeAdd(subject: &mut Set, value: &[u8], limits: SetLimits) -> bool {
    if let Set::Intset(_) = subject {
        match string2ll(value) {
            Some(llval) => return set_type_add_integer(subject, llval, limits),
            // Not a number: from here on it is a table, or stands for one.
            None => setTypeConvert(subject),
        }
    }
    if let Set::Strings(set) = subject {
        if strset_find(set, value) {
            return false;
        }
        if strset_fits(set, value) {
            strset_add(set, value);
            return true;
        }
        *subject = Set::Ht(Box::new(table_of_strings(set)));
    }
    let Set::Ht(ht) = subject else { unreachable!("it is a table now") };
    let hash = dictGetHash(ht, value);
    set_table_add(ht, value, hash, limits.resize)
}

/// Returns a table of the members of a small set.
pub fn table_of_strings(set: &[u8]) -> Dict<SdsEntry> {
    let mut d = Dict::default();
    dictExpand(&mut d, strset_len(set));
    for member in strset_iter(set) {
        let _ = dictAdd(&mut d, SdsEntry::new(member));
    }
    d
}

/// Adds a member, whose hash is known, to a table; false if it was there (`setTypeAdd`).
#[inline]
fn set_table_add(
    ht: &mut Dict<SdsEntry>,
    value: &[u8],
    hash: u64,
    resize: dictResizeEnable,
) -> bool {
    ht.set_resize_enabled(resize);
    dict_add_or_find_hashed(ht, value, hash, || SdsEntry::new(value)).1
}

/// Adds a number (`setTypeAdd`).
fn set_type_add_integer(subject: &mut Set, llval: i64, limits: SetLimits) -> bool {
    match subject {
        Set::Ht(_) | Set::Strings(_) => setTypeAdd(subject, &ll2string(llval), limits),
        Set::Intset(is) => {
            let added = intsetAdd(is, llval);
            // Whatever the limit: lengths of an intset are 32 bits, so 2^30 numbers are enough.
            if added && intsetLen(is) as usize > limits.entries.min(1 << 30) {
                setTypeConvert(subject);
            }
            added
        }
    }
}

/// Adds an element of another set (`setTypeAdd`).
fn set_type_add_element(subject: &mut Set, ele: SetElement, limits: SetLimits) -> bool {
    match ele {
        SetElement::Str(s) => setTypeAdd(subject, s, limits),
        SetElement::Int(n) => set_type_add_integer(subject, n, limits),
    }
}

/// Removes a member; true if it was there.
pub fn setTypeRemove(setobj: &mut Set, value: &[u8], limits: SetLimits) -> bool {
    match setobj {
        Set::Ht(ht) => {
            ht.set_resize_enabled(limits.resize);
            let removed = dictDelete(ht, value);
            if removed && htNeedsResize(ht) {
                dictResize(ht);
            }
            removed
        }
        Set::Strings(set) => strset_remove(set, value),
        Set::Intset(is) => string2ll(value).is_some_and(|llval| intsetRemove(is, llval)),
    }
}

/// Tells whether `value` is a member.
#[inline]
pub fn setTypeIsMember(subject: SetRef, value: &[u8]) -> bool {
    match subject {
        SetRef::Ht(ht) => dictFind(ht, value).is_some(),
        SetRef::Strings(set) => strset_find(set, value),
        SetRef::Intset(is) => string2ll(value).is_some_and(|llval| intsetFind(is, llval)),
    }
}

/// Tells whether an element of another set is a member.
#[inline]
fn set_type_is_member_element(subject: SetRef, ele: SetElement) -> bool {
    match (subject, ele) {
        (SetRef::Intset(is), SetElement::Int(n)) => intsetFind(is, n),
        _ => ele.with_bytes(|value| setTypeIsMember(subject, value)),
    }
}

/// Moves the rehashing of a table forward by `steps` buckets, if it may be resized now. Lookups
/// borrow the table and move nothing, so commands that read call this: a table that is only read
/// shall not stay in two halves for ever.
#[inline]
pub fn rehash_table_step<E: DictEntry>(ht: &mut Dict<E>, steps: usize, resize: dictResizeEnable) {
    if dictIsRehashing(ht) {
        ht.set_resize_enabled(resize);
        dictRehash(ht, steps);
    }
}

/// Returns the hash of argument `i` in a table, which may have been computed ahead.
#[inline]
pub fn hash_of_arg<E: DictEntry>(argv: &Args, i: usize, ht: &Dict<E>) -> u64 {
    argv.member_hash(i, dict_seed(ht)).unwrap_or_else(|| dictGetHash(ht, &argv[i]))
}

/// Calls `rehash_table_step` for a set in the client's db.
#[inline(never)]
fn set_type_rehash(server: &mut Server, c: ClientId, o: KeyRef, steps: usize) {
    let (db, resize) = (server[c].db, value_resize_policy(server));
    if let Some(ht) = server.db[db].dict.set_table_mut(o)
        && dictIsRehashing(ht)
    {
        rehash_table_step(ht, steps, resize);
    }
}

/// A walk over the elements of a set, which it borrows. Whoever changes the set on the way takes
/// the elements one by one: `setTypeRandomElement`.
pub enum setTypeIterator<'a> {
    Ht(DictIter<'a, SdsEntry>),
    Strings(StrSetIter<'a>),
    /// The intset, and the position of its next number.
    Intset(&'a [u8], u32),
}

/// Starts a walk; `setTypeNext` is the iterator's `next`.
pub fn setTypeInitIterator(subject: SetRef<'_>) -> setTypeIterator<'_> {
    match subject {
        SetRef::Ht(ht) => setTypeIterator::Ht(ht.iter()),
        SetRef::Strings(set) => setTypeIterator::Strings(strset_iter(set)),
        SetRef::Intset(is) => setTypeIterator::Intset(is, 0),
    }
}

impl<'a> Iterator for setTypeIterator<'a> {
    type Item = SetElement<'a>;

    #[inline]
    fn next(&mut self) -> Option<SetElement<'a>> {
        match self {
            setTypeIterator::Ht(di) => di.next().map(|entry| SetElement::Str(entry.as_slice())),
            setTypeIterator::Strings(members) => members.next().map(SetElement::Str),
            setTypeIterator::Intset(is, ii) => {
                let llele = intsetGet(is, *ii)?;
                *ii += 1;
                Some(SetElement::Int(llele))
            }
        }
    }
}

/// Returns a random element of a set that has some, each with the same chance.
pub fn setTypeRandomElement<'a>(setobj: SetRef<'a>, random: &mut Random) -> SetElement<'a> {
    let ele = match setobj {
        SetRef::Ht(ht) => dictGetFairRandomKey(ht, || random.next64())
            .map(|entry| SetElement::Str(entry.as_slice())),
        SetRef::Strings(set) => {
            strset_iter(set).nth(random.below(strset_len(set).max(1))).map(SetElement::Str)
        }
        SetRef::Intset(is) => intsetRandom(is, &mut || random.next31()).map(SetElement::Int),
    };
    ele.expect("a set in the keyspace is never empty")
}

/// Returns the number of members.
#[inline]
pub fn setTypeSize(subject: SetRef) -> usize {
    match subject {
        SetRef::Ht(ht) => dictSize(ht),
        SetRef::Strings(set) => strset_len(set),
        SetRef::Intset(is) => intsetLen(is) as usize,
    }
}

/// Makes an intset a table, with room for just the elements it has, or what stands for one.
// C: takes the encoding to convert to, of which there is one.
pub fn setTypeConvert(setobj: &mut Set) {
    let Set::Intset(is) = setobj else { panic!("Unsupported set conversion") };
    if let Some(set) = strings_of_numbers(is) {
        *setobj = Set::Strings(set);
        return;
    }
    let mut d: Box<Dict<SdsEntry>> = Box::default();
    dictExpand(&mut d, intsetLen(is) as usize);
    for pos in 0..intsetLen(is) {
        if let Some(intele) = intsetGet(is, pos) {
            assert!(dictAdd(&mut d, SdsEntry::new(&ll2string(intele))).is_ok());
        }
    }
    *setobj = Set::Ht(d);
}

/// Returns the numbers of an intset as strings; `None` if they don't fit.
fn strings_of_numbers(is: &[u8]) -> Option<StrSet> {
    let mut set = StrSet::new();
    for intele in (0..intsetLen(is)).filter_map(|pos| intsetGet(is, pos)) {
        let member = ll2string(intele);
        if !strset_fits(&set, &member) {
            return None;
        }
        assert!(!strset_find(&set, &member));
        strset_add(&mut set, &member);
    }
    Some(set)
}

/// Returns a copy in the same encoding, for COPY.
pub fn setTypeDup(o: SetRef) -> Set {
    match o {
        SetRef::Strings(set) => Set::Strings(StrSet::of(set)),
        SetRef::Intset(is) => Set::Intset(Intset::of(is)),
        SetRef::Ht(ht) => {
            let mut d: Box<Dict<SdsEntry>> = Box::default();
            dictExpand(&mut d, dictSize(ht));
            for entry in ht.iter() {
                let _ = dictAdd(&mut d, SdsEntry::new(entry.as_slice()));
            }
            Set::Ht(d)
        }
    }
}

// -----------------------------------------------------------------------------
// Set Commands
// -----------------------------------------------------------------------------

/// SADD key member [member ...]
pub fn saddCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (db, key) = (server[c].db, argv.get(1));
    let o = match lookupKeyWrite(server, db, key) {
        Some(o) if check_type_in(server, c, db, o, OBJ_SET) => return,
        Some(o) => o,
        None => dbAdd(server, db, key, setTypeCreate(&argv[2])),
    };
    let mut added = 0;
    let resize = value_resize_policy(server);
    if let Some(ht) = server.db[db].dict.set_table_mut(o) {
        for i in 2..argv.len() {
            let hash = hash_of_arg(argv, i, ht);
            added += i64::from(set_table_add(ht, argv.get(i), hash, resize));
        }
    } else if argv.iter().skip(2).any(|ele| !setTypeIsMember(server.db[db].dict.set(o), ele)) {
        // Only now, because it takes more to change a small set than to look at it.
        let limits = SetLimits::of(server);
        let mut set = server.db[db].dict.set_mut(o);
        for value in argv.iter().skip(2) {
            added += i64::from(setTypeAdd(&mut set, value, limits));
        }
    }
    if added > 0 {
        signalModifiedKey(server, Some(c), db, key);
        notifyKeyspaceEvent(server, NOTIFY_SET, "sadd", key, db);
    }
    server.dirty += added;
    addReplyLongLong(server, c, added);
}

/// SREM key member [member ...]
pub fn sremCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (db, key) = (server[c].db, argv.get(1));
    let Some(o) = lookupKeyWriteOrReply(server, c, key, shared::czero) else { return };
    if checkType(server, c, o, OBJ_SET) {
        return;
    }
    let limits = SetLimits::of(server);
    let mut set = server.db[db].dict.set_mut(o);
    let (mut deleted, mut keyremoved) = (0, false);
    for value in argv.iter().skip(2) {
        if setTypeRemove(&mut set, value, limits) {
            deleted += 1;
            if setTypeSize(set.as_ref()) == 0 {
                keyremoved = true;
                break;
            }
        }
    }
    drop(set);
    if keyremoved {
        dbDelete(server, db, key);
    }
    if deleted > 0 {
        signalModifiedKey(server, Some(c), db, key);
        notifyKeyspaceEvent(server, NOTIFY_SET, "srem", key, db);
        if keyremoved {
            notifyKeyspaceEvent(server, NOTIFY_GENERIC, "del", key, db);
        }
        server.dirty += deleted;
    }
    addReplyLongLong(server, c, deleted);
}

/// SMOVE source destination member
pub fn smoveCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let db = server[c].db;
    let (src, dst, ele) = (argv.get(1), argv.get(2), argv.get(3));
    let srcset = lookupKeyWrite(server, db, src);
    let dstset = lookupKeyWrite(server, db, dst);

    // No source, nothing to move.
    let Some(srcset) = srcset else {
        addReply(server, c, shared::czero);
        return;
    };
    if checkType(server, c, srcset, OBJ_SET) {
        return;
    }
    if let Some(dstset) = dstset
        && checkType(server, c, dstset, OBJ_SET)
    {
        return;
    }

    // From a set to itself it stays where it is.
    if src == dst {
        let is_member = setTypeIsMember(server.db[db].dict.set(srcset), ele);
        addReply(server, c, if is_member { shared::cone } else { shared::czero });
        return;
    }

    let limits = SetLimits::of(server);
    let mut set = server.db[db].dict.set_mut(srcset);
    if !setTypeRemove(&mut set, ele, limits) {
        drop(set);
        addReply(server, c, shared::czero);
        return;
    }
    let emptied = setTypeSize(set.as_ref()) == 0;
    drop(set);
    notifyKeyspaceEvent(server, NOTIFY_SET, "srem", src, db);
    if emptied {
        dbDelete(server, db, src);
        notifyKeyspaceEvent(server, NOTIFY_GENERIC, "del", src, db);
    }

    let dstset = match dstset {
        Some(dstset) => dstset,
        None => dbAdd(server, db, dst, setTypeCreate(ele)),
    };
    signalModifiedKey(server, Some(c), db, src);
    server.dirty += 1;

    // A second key has changed if the member is new to it.
    if setTypeAdd(&mut server.db[db].dict.set_mut(dstset), ele, limits) {
        server.dirty += 1;
        signalModifiedKey(server, Some(c), db, dst);
        notifyKeyspaceEvent(server, NOTIFY_SET, "sadd", dst, db);
    }
    addReply(server, c, shared::cone);
}

/// SISMEMBER key member
pub fn sismemberCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::czero) else { return };
    let db = server[c].db;
    if check_type_in(server, c, db, o, OBJ_SET) {
        return;
    }
    let dict = &server.db[db].dict;
    let (is_member, is_rehashing) = match dict.set_table(o) {
        Some(ht) => {
            let found = dict_find_hashed(ht, &argv[2], hash_of_arg(argv, 2, ht));
            (found.is_some(), dictIsRehashing(ht))
        }
        None => (setTypeIsMember(dict.set(o), &argv[2]), false),
    };
    addReply(server, c, if is_member { shared::cone } else { shared::czero });
    if is_rehashing {
        set_type_rehash(server, c, o, 1);
    }
}

/// SMISMEMBER key member [member ...]
pub fn smismemberCommand(server: &mut Server, c: ClientId, argv: &Args) {
    // A key that is not there is an empty set.
    let db = server[c].db;
    let o = lookupKeyRead(server, db, &argv[1]);
    if let Some(o) = o
        && checkType(server, c, o, OBJ_SET)
    {
        return;
    }
    if let Some(o) = o {
        set_type_rehash(server, c, o, argv.len() - 2);
    }
    let Server { clients, db: dbs, .. } = server;
    let set = o.map(|o| dbs[db].dict.set(o));
    addReplyArrayLen(clients, c, argv.len() - 2);
    for value in argv.iter().skip(2) {
        let is_member = set.is_some_and(|set| setTypeIsMember(set, value));
        addReply(clients, c, if is_member { shared::cone } else { shared::czero });
    }
}

/// SCARD key
pub fn scardCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::czero) else { return };
    if checkType(server, c, o, OBJ_SET) {
        return;
    }
    let size = setTypeSize(server.db[server[c].db].dict.set(o));
    addReplyLongLong(server, c, size as i64);
}

/// The factor that decides how SPOP takes members out: where the members that remain, times this,
/// outnumber those that go, these are taken out one by one.
const SPOP_MOVE_STRATEGY_MUL: usize = 5;

/// SPOP key count
fn spopWithCountCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(count) = getPositiveLongFromObjectOrReply(server, c, &argv[2], None) else { return };
    let (db, key, count) = (server[c].db, argv.get(1), count as usize);
    let Some(o) = lookupKeyWriteOrReply(server, c, key, shared::emptyset) else { return };
    if checkType(server, c, o, OBJ_SET) {
        return;
    }
    if count == 0 {
        addReply(server, c, shared::emptyset);
        return;
    }
    let size = setTypeSize(server.db[db].dict.set(o));

    notifyKeyspaceEvent(server, NOTIFY_SET, "spop", key, db);
    server.dirty += count.min(size) as i64;

    // Case 1: all of them. That is a SUNION of one, and to the replicas a DEL.
    if count >= size {
        sunionDiffGenericCommand(server, c, std::iter::once(key), None, SET_OP_UNION);
        dbDelete(server, db, key);
        notifyKeyspaceEvent(server, NOTIFY_GENERIC, "del", key, db);
        rewriteClientCommandVector(server, c, &[b"DEL", key]);
        signalModifiedKey(server, Some(c), db, key);
        return;
    }

    // In the other cases the replicas get one SREM for each member.
    let srem = lookupCommandOrOriginal(server, b"srem").expect("SREM is in the table");
    let (limits, mut random) = (SetLimits::of(server), Random::new(server));
    let sremOf = |ele: SetElement| ele.with_bytes(|ele| Argv::new(&[b"SREM", key, ele]));
    addReplySetLen(server, c, count);
    let remaining = size - count;

    if remaining * SPOP_MOVE_STRATEGY_MUL > count {
        // Case 2: few go. They are drawn and taken out one by one.
        for _ in 0..count {
            let mut set = server.db[db].dict.set_mut(o);
            let propargv = sremOf(setTypeRandomElement(set.as_ref(), &mut random));
            setTypeRemove(&mut set, &propargv[2], limits);
            drop(set);
            addReplyBulkCBuffer(server, c, &propargv[2]);
            alsoPropagate(server, srem, db as i32, propargv, PROPAGATE_AOF | PROPAGATE_REPL);
        }
    } else {
        // Case 3: nearly all go, and to draw them would take long. Those that remain are drawn
        // instead, to be the new set, and what is left of the old one goes to the client.
        let mut set = std::mem::replace(&mut *server.db[db].dict.set_mut(o), createIntsetObject());
        let mut newset = None;
        for _ in 0..remaining {
            let ele = setTypeRandomElement(set.as_ref(), &mut random).with_bytes(<[u8]>::to_vec);
            setTypeAdd(newset.get_or_insert_with(|| setTypeCreate(&ele)), &ele, limits);
            setTypeRemove(&mut set, &ele, limits);
        }
        for ele in setTypeInitIterator(set.as_ref()) {
            add_reply_set_element(&mut server.clients, c, ele);
            alsoPropagate(server, srem, db as i32, sremOf(ele), PROPAGATE_AOF | PROPAGATE_REPL);
        }
        *server.db[db].dict.set_mut(o) = set;
        overwrite_value(server, db, o, newset.expect("not all go"));
    }

    // The SREMs tell the replicas everything; the command itself, which would draw other members
    // there, is not.
    preventCommandPropagation(server, c);
    signalModifiedKey(server, Some(c), db, key);
}

/// SPOP key [count]
pub fn spopCommand(server: &mut Server, c: ClientId, argv: &Args) {
    if argv.len() == 3 {
        spopWithCountCommand(server, c, argv);
        return;
    } else if argv.len() > 3 {
        addReplyErrorObject(server, c, shared::syntaxerr);
        return;
    }
    let (db, key) = (server[c].db, argv.get(1));
    let o = match lookupKeyWrite(server, db, key) {
        None => return addReply(server, c, shared::null),
        Some(o) if checkType(server, c, o, OBJ_SET) => return,
        Some(o) => o,
    };

    let mut random = Random::new(server);
    let resize = value_resize_policy(server);
    let emptied = if let Some(ht) = server.db[db].dict.set_table_mut(o) {
        ht.set_resize_enabled(resize);
        let ele = dict_unlink_fair_random(ht, || random.next64());
        let ele = ele.expect("a set in the keyspace is never empty");
        if htNeedsResize(ht) {
            dictResize(ht);
        }
        let emptied = dictSize(ht) == 0;
        reply_popped(server, c, key, ele.as_slice());
        emptied
    } else {
        let limits = SetLimits::of(server);
        let mut set = server.db[db].dict.set_mut(o);
        let ele = setTypeRandomElement(set.as_ref(), &mut random).with_bytes(<[u8]>::to_vec);
        setTypeRemove(&mut set, &ele, limits);
        let emptied = setTypeSize(set.as_ref()) == 0;
        drop(set);
        reply_popped(server, c, key, &ele);
        emptied
    };

    if emptied {
        dbDelete(server, db, key);
        notifyKeyspaceEvent(server, NOTIFY_GENERIC, "del", key, db);
    }
    signalModifiedKey(server, Some(c), db, key);
    server.dirty += 1;
}

/// Tells of a member that SPOP has removed.
fn reply_popped(server: &mut Server, c: ClientId, key: &[u8], ele: &[u8]) {
    let db = server[c].db;
    notifyKeyspaceEvent(server, NOTIFY_SET, "spop", key, db);
    // To the replicas it is a SREM.
    rewriteClientCommandVector(server, c, &[b"SREM", key, ele]);
    addReplyBulkCBuffer(server, c, ele);
}

/// The steps of rehashing for each random draw.
pub const DRAW_STEPS: usize = 15;

/// The factor by which the set has to be larger than the count, for members to be drawn until
/// enough different ones are found.
const SRANDMEMBER_SUB_STRATEGY_MUL: usize = 3;

/// SRANDMEMBER key count
fn srandmemberWithCountCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(l) = getRangeLongFromObjectOrReply(server, c, &argv[2], -i64::MAX, i64::MAX, None)
    else {
        return;
    };
    // A negative count: as many draws, and the same member may come again.
    let (count, uniq) = (l.unsigned_abs() as usize, l >= 0);
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::emptyarray) else { return };
    if checkType(server, c, o, OBJ_SET) {
        return;
    }
    if count == 0 {
        addReply(server, c, shared::emptyarray);
        return;
    }
    set_type_rehash(server, c, o, DRAW_STEPS * count.min(100));
    let mut random = Random::new(server);
    let Server { clients, db: dbs, .. } = server;
    let set = dbs[clients[c].db].dict.set(o);
    let size = setTypeSize(set);

    // Case 1: draw as many. This is the one case where the order has to be random too.
    if !uniq || count == 1 {
        addReplyArrayLen(clients, c, count);
        for _ in 0..count {
            add_reply_set_element(clients, c, setTypeRandomElement(set, &mut random));
            // C: only if it is about to be closed; the count of a client with CLIENT REPLY OFF is
            // counted to its end.
            if gets_no_replies(clients, c) {
                break;
            }
        }
        return;
    }

    // Case 2: all of them.
    if count >= size {
        addReplyArrayLen(clients, c, size);
        for ele in setTypeInitIterator(set) {
            add_reply_set_element(clients, c, ele);
        }
        return;
    }

    addReplyArrayLen(clients, c, count);
    if count.saturating_mul(SRANDMEMBER_SUB_STRATEGY_MUL) > size {
        // Case 3: a good part of them. From a list of all, random ones are left out until the count
        // is right: so many different ones would take long to draw.
        let mut all: Vec<SetElement> = setTypeInitIterator(set).collect();
        while all.len() > count {
            all.swap_remove(random.below(all.len()));
        }
        for ele in all {
            add_reply_set_element(clients, c, ele);
        }
    } else {
        // Case 4: few of many. They are drawn until there are enough different ones.
        let mut drawn = HashSet::with_capacity(count);
        while drawn.len() < count {
            let ele = setTypeRandomElement(set, &mut random);
            if drawn.insert(ele) {
                add_reply_set_element(clients, c, ele);
            }
        }
    }
}

/// SRANDMEMBER key [count]
pub fn srandmemberCommand(server: &mut Server, c: ClientId, argv: &Args) {
    if argv.len() == 3 {
        srandmemberWithCountCommand(server, c, argv);
        return;
    } else if argv.len() > 3 {
        addReplyErrorObject(server, c, shared::syntaxerr);
        return;
    }
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::null) else { return };
    if checkType(server, c, o, OBJ_SET) {
        return;
    }
    set_type_rehash(server, c, o, DRAW_STEPS);
    let mut random = Random::new(server);
    let Server { clients, db: dbs, .. } = server;
    let ele = setTypeRandomElement(dbs[clients[c].db].dict.set(o), &mut random);
    add_reply_set_element(clients, c, ele);
}

/// Returns the sets of these keys in order, `None` for a key that is not there; looked up for a
/// write if the result is stored. `Err`: one is of another type, and the reply was that.
fn lookup_sets<'a>(
    server: &mut Server,
    c: ClientId,
    setkeys: impl Iterator<Item = &'a [u8]>,
    store: bool,
) -> Result<Vec<Option<KeyRef>>, ()> {
    let db = server[c].db;
    let mut sets = Vec::with_capacity(setkeys.size_hint().0);
    for key in setkeys {
        let setobj =
            if store { lookupKeyWrite(server, db, key) } else { lookupKeyRead(server, db, key) };
        if let Some(o) = setobj
            && checkType(server, c, o, OBJ_SET)
        {
            return Err(());
        }
        sets.push(setobj);
    }
    Ok(sets)
}

/// Stores the result of a SINTERSTORE, SUNIONSTORE or SDIFFSTORE, and replies with its size. An
/// empty result deletes the key.
fn store_set(server: &mut Server, c: ClientId, dstkey: &[u8], dstset: Set, event: &str) {
    let (db, size) = (server[c].db, setTypeSize(dstset.as_ref()));
    if size > 0 {
        setKey(server, Some(c), db, dstkey, dstset);
        addReplyLongLong(server, c, size as i64);
        notifyKeyspaceEvent(server, NOTIFY_SET, event, dstkey, db);
        server.dirty += 1;
    } else {
        addReply(server, c, shared::czero);
        delete_destination(server, c, dstkey);
    }
}

/// Deletes the key of an empty result, if it is there.
fn delete_destination(server: &mut Server, c: ClientId, dstkey: &[u8]) {
    let db = server[c].db;
    if dbDelete(server, db, dstkey) {
        server.dirty += 1;
        signalModifiedKey(server, Some(c), db, dstkey);
        notifyKeyspaceEvent(server, NOTIFY_GENERIC, "del", dstkey, db);
    }
}

/// Implements SINTER, SINTERSTORE and SMEMBERS.
fn sinterGenericCommand<'a>(
    server: &mut Server,
    c: ClientId,
    setkeys: impl Iterator<Item = &'a [u8]>,
    dstkey: Option<&[u8]>,
) {
    let Ok(sets) = lookup_sets(server, c, setkeys, dstkey.is_some()) else { return };

    // With an empty set the intersection is empty.
    if sets.iter().any(Option::is_none) {
        match dstkey {
            Some(dstkey) => {
                delete_destination(server, c, dstkey);
                addReply(server, c, shared::czero);
            }
            None => addReply(server, c, shared::emptyset),
        }
        return;
    }

    let limits = SetLimits::of(server);
    let Server { clients, db: dbs, .. } = &mut *server;
    let dict = &dbs[clients[c].db].dict;

    // The smallest set first: it has the fewest elements to look for in the others.
    let mut sets: Vec<SetRef> = sets.into_iter().flatten().map(|o| dict.set(o)).collect();
    sets.sort_by_key(|set| setTypeSize(*set));
    let first = sets[0];
    // Each with the place that its search has come to: the numbers of an intset are asked for in
    // order.
    let mut others: Vec<(SetRef, usize)> =
        sets[1..].iter().filter(|set| !set.is(first)).map(|set| (*set, 0)).collect();
    let inter = setTypeInitIterator(first).filter(|ele| {
        others.iter_mut().all(|(set, at)| match (first, set, ele) {
            (SetRef::Intset(_), SetRef::Intset(is), SetElement::Int(n)) => {
                intset_find_next(is, *n, at)
            }
            (_, set, ele) => set_type_is_member_element(*set, *ele),
        })
    });

    match dstkey {
        None => {
            let replylen = addReplyDeferredLen(clients, c);
            let mut cardinality = 0;
            for ele in inter {
                add_reply_set_element(clients, c, ele);
                cardinality += 1;
            }
            setDeferredSetLen(clients, c, replylen, cardinality);
        }
        Some(dstkey) => {
            let mut dstset = createIntsetObject();
            for ele in inter {
                set_type_add_element(&mut dstset, ele, limits);
            }
            store_set(server, c, dstkey, dstset, "sinterstore");
        }
    }
}

/// SINTER key [key ...], and SMEMBERS key
pub fn sinterCommand(server: &mut Server, c: ClientId, argv: &Args) {
    sinterGenericCommand(server, c, argv.iter().skip(1), None);
}

/// SINTERSTORE destination key [key ...]
pub fn sinterstoreCommand(server: &mut Server, c: ClientId, argv: &Args) {
    sinterGenericCommand(server, c, argv.iter().skip(2), Some(argv.get(1)));
}

/// Implements SUNION, SDIFF, SUNIONSTORE and SDIFFSTORE; `op` is `SET_OP_UNION` or `SET_OP_DIFF`.
fn sunionDiffGenericCommand<'a>(
    server: &mut Server,
    c: ClientId,
    setkeys: impl Iterator<Item = &'a [u8]>,
    dstkey: Option<&[u8]>,
    op: i32,
) {
    let Ok(sets) = lookup_sets(server, c, setkeys, dstkey.is_some()) else { return };
    let limits = SetLimits::of(server);
    let dict = &server.db[server[c].db].dict;
    let mut sets: Vec<Option<SetRef>> = sets.into_iter().map(|o| o.map(|o| dict.set(o))).collect();
    let size = |set: &Option<SetRef>| set.map_or(0, setTypeSize);
    let mut dstset = createIntsetObject();

    if op == SET_OP_UNION {
        for ele in sets.iter().flatten().flat_map(|set| setTypeInitIterator(*set)) {
            set_type_add_element(&mut dstset, ele, limits);
        }
    } else if let Some(first) = sets[0] {
        // Which way is less work? The first looks each element of the first set up in the others;
        // the second walks over all the sets. The first has the lower costs, and ends early if the
        // sets have much in common: it is given half price.
        let algo_one_work = sets.iter().flatten().count() * setTypeSize(first) / 2;
        let algo_two_work: usize = sets.iter().map(size).sum();
        if algo_one_work <= algo_two_work {
            // A large set is more likely to have an element: the largest first.
            sets[1..].sort_by_key(|set| std::cmp::Reverse(size(set)));
            for ele in setTypeInitIterator(first) {
                let elsewhere =
                    |set: &SetRef| set.is(first) || set_type_is_member_element(*set, ele);
                if !sets[1..].iter().flatten().any(elsewhere) {
                    set_type_add_element(&mut dstset, ele, limits);
                }
            }
        } else {
            // All elements of the first, less those of the others, until nothing is left.
            for ele in setTypeInitIterator(first) {
                set_type_add_element(&mut dstset, ele, limits);
            }
            for set in sets[1..].iter().flatten() {
                for ele in setTypeInitIterator(*set) {
                    ele.with_bytes(|ele| setTypeRemove(&mut dstset, ele, limits));
                }
                if setTypeSize(dstset.as_ref()) == 0 {
                    break;
                }
            }
        }
    }

    match dstkey {
        None => {
            addReplySetLen(server, c, setTypeSize(dstset.as_ref()));
            for ele in setTypeInitIterator(dstset.as_ref()) {
                add_reply_set_element(&mut server.clients, c, ele);
            }
            if server.lazyfree_lazy_server_del {
                freeObjAsync(server, Object::Aggregate(Aggregate::Set(dstset)));
            }
        }
        Some(dstkey) => {
            let event = if op == SET_OP_UNION { "sunionstore" } else { "sdiffstore" };
            store_set(server, c, dstkey, dstset, event);
        }
    }
}

/// SUNION key [key ...]
pub fn sunionCommand(server: &mut Server, c: ClientId, argv: &Args) {
    sunionDiffGenericCommand(server, c, argv.iter().skip(1), None, SET_OP_UNION);
}

/// SUNIONSTORE destination key [key ...]
pub fn sunionstoreCommand(server: &mut Server, c: ClientId, argv: &Args) {
    sunionDiffGenericCommand(server, c, argv.iter().skip(2), Some(argv.get(1)), SET_OP_UNION);
}

/// SDIFF key [key ...]
pub fn sdiffCommand(server: &mut Server, c: ClientId, argv: &Args) {
    sunionDiffGenericCommand(server, c, argv.iter().skip(1), None, SET_OP_DIFF);
}

/// SDIFFSTORE destination key [key ...]
pub fn sdiffstoreCommand(server: &mut Server, c: ClientId, argv: &Args) {
    sunionDiffGenericCommand(server, c, argv.iter().skip(2), Some(argv.get(1)), SET_OP_DIFF);
}

/// SSCAN key cursor [MATCH pattern] [COUNT count]
pub fn sscanCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(cursor) = parseScanCursorOrReply(server, c, &argv[2]) else { return };
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::emptyscan) else { return };
    if checkType(server, c, o, OBJ_SET) {
        return;
    }
    scanGenericCommand(server, c, argv, Some(o), cursor);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const LIMITS: SetLimits = SetLimits { entries: 16, resize: DICT_RESIZE_ENABLE };

    fn elements(set: &Set) -> BTreeSet<Vec<u8>> {
        let mut seen = 0;
        let all = setTypeInitIterator(set.as_ref())
            .inspect(|_| seen += 1)
            .map(|ele| ele.with_bytes(<[u8]>::to_vec))
            .collect();
        assert_eq!(seen, setTypeSize(set.as_ref()), "each element comes once");
        all
    }

    fn is_intset(set: &Set) -> bool {
        matches!(set, Set::Intset(_))
    }

    #[test]
    fn sets_are_the_model() {
        for seed in 0..40 {
            println!("seed {seed}");
            let mut r = Random(seed);
            // Numbers alone in some rounds, so that intsets live long.
            let words = r.below(3) == 0;
            let mut member = move || match r.below(if words { 8 } else { 6 }) {
                0..4 => r.below(40).to_string().into_bytes(),
                4 => (r.next64() as i64).to_string().into_bytes(),
                5 => (-(r.below(70000) as i64)).to_string().into_bytes(),
                6 => format!("0{}", r.below(9)).into_bytes(),
                _ => vec![b'x'; r.below(300)],
            };
            let mut r = Random(!seed);
            let first = member();
            let (mut set, mut model) = (setTypeCreate(&first), BTreeSet::new());
            assert_eq!(is_intset(&set), string2ll(&first).is_some());
            for step in 0..2000 {
                let value = member();
                match r.below(if step % 400 < 200 { 3 } else { 6 }) {
                    0 | 1 => {
                        let stays = is_intset(&set) && string2ll(&value).is_some();
                        assert_eq!(setTypeAdd(&mut set, &value, LIMITS), model.insert(value));
                        assert_eq!(is_intset(&set), stays && model.len() <= LIMITS.entries);
                    }
                    2 => assert_eq!(setTypeIsMember(set.as_ref(), &value), model.contains(&value)),
                    _ => assert_eq!(setTypeRemove(&mut set, &value, LIMITS), model.remove(&value)),
                }
                if !model.is_empty() {
                    let ele = setTypeRandomElement(set.as_ref(), &mut r).with_bytes(<[u8]>::to_vec);
                    assert!(model.contains(&ele));
                    assert!(set_type_is_member_element(set.as_ref(), SetElement::Str(&ele)));
                }
                if step % 100 == 0 {
                    assert_eq!(elements(&set), model);
                    let copy = set.as_ref().dup();
                    assert_eq!(
                        (elements(&copy), is_intset(&copy)),
                        (elements(&set), is_intset(&set))
                    );
                    let least = if matches!(copy, Set::Ht(_)) { model.len() } else { 0 };
                    assert!(copy.as_ref().mem_usage(5) >= least);
                }
            }
        }
    }

    /// Every element is as likely as any other, in both encodings.
    #[test]
    fn random_elements_are_fair() {
        for limit in [100, 10] {
            let limits = SetLimits { entries: limit, ..LIMITS };
            let mut set = createIntsetObject();
            for n in 0..50 {
                assert!(set_type_add_integer(&mut set, n, limits));
            }
            assert_eq!(is_intset(&set), limit == 100);
            let (mut random, mut drawn) = (Random(7), [0; 50]);
            for _ in 0..50_000 {
                let n = setTypeRandomElement(set.as_ref(), &mut random)
                    .with_bytes(|s| string2ll(s).unwrap());
                drawn[n as usize] += 1;
            }
            assert!(drawn.iter().all(|n| (800..1200).contains(n)), "{drawn:?}");
        }
    }

    /// While a child lives a table inside of a value does not grow, until it is much too small.
    #[test]
    fn tables_obey_the_resize_policy() {
        let avoid = SetLimits { resize: DICT_RESIZE_AVOID, ..LIMITS };
        let mut set = Set::Ht(Box::default());
        let slots = |set: &Set| match set {
            Set::Ht(ht) => dictSlots(ht),
            Set::Intset(_) | Set::Strings(_) => 0,
        };
        for n in 0..30 {
            setTypeAdd(&mut set, format!("m{n}").as_bytes(), avoid);
        }
        let small = slots(&set);
        assert!(small < 30, "{small} slots");
        setTypeAdd(&mut set, b"one more", LIMITS);
        assert!(slots(&set) > small);
        for n in 30..1000 {
            setTypeAdd(&mut set, format!("m{n}").as_bytes(), LIMITS);
        }
        let large = slots(&set);
        for n in 0..990 {
            setTypeRemove(&mut set, format!("m{n}").as_bytes(), avoid);
        }
        assert!(slots(&set) >= large / 2);
        for n in 990..1000 {
            setTypeRemove(&mut set, format!("m{n}").as_bytes(), LIMITS);
        }
        let Set::Ht(ht) = &set else { panic!("it became a table") };
        assert!(
            dictIsRehashing(ht) || dictSlots(ht) < large / 2,
            "it is on its way to a smaller table"
        );
    }

    /// CVE-2021-32687: no setting lets an intset grow past what its length can say.
    #[test]
    fn a_huge_limit_is_cut() {
        let limits = SetLimits { entries: usize::MAX, ..LIMITS };
        let mut set = createIntsetObject();
        for n in 0..5000 {
            set_type_add_integer(&mut set, n, limits);
        }
        assert!(is_intset(&set));
    }

    /// No file gets a number into a set twice: what does is found where it matters.
    #[test]
    #[should_panic(expected = "assertion failed: !strset_find")]
    fn a_number_that_is_there_twice() {
        let is = Intset::from_slice(b"\x02\0\0\0\x03\0\0\0\x05\0\x05\0\x01\0").unwrap();
        let mut set = Set::Intset(is);
        setTypeAdd(&mut set, b"word", LIMITS);
    }
}
