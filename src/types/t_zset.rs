//! `t_zset.c`: sorted sets.
//!
//! Read first: [`Zset`], `zsetAdd`, [`ZsetWalk`], `zrangeGenericCommand`. The skip list itself is
//! `ds/skiplist.rs`. Differs: the table of a sorted set holds the indices of elements, and an element
//! keeps its index as long as it lives, so that a changed score is no business of the table. Both
//! encodings are walked by one iterator. ZUNION, ZINTER and ZDIFF collect borrowed members and sort
//! them; a sorted set is made of them only if it is stored. A range whose members are few is
//! counted before it is sent, so that its length need not be left open.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::ops::Deref;

use crate::addReplyErrorFormat;
use crate::args::Args;
use crate::blocked::{blockForKeys, first_waiting, unblockClient, updateStatsOnUnblock};
use crate::clients::Clients;
use crate::db::*;
use crate::ds::adlist::*;
use crate::ds::dict::{DICT_BATCH, Dict, RawDict, SdsEntry, dictFind, dictResizeEnable, dictSize};
use crate::ds::intset::{intsetFind, intsetGet, intsetLen};
use crate::ds::redisassert::assert_some;
use crate::ds::siphash::{HashSeed, siphash};
use crate::ds::skiplist::*;
use crate::ds::slab::NIL;
use crate::ds::strset::*;
use crate::ds::ziplist::*;
use crate::expire::expire_command_name;
use crate::keyspace::*;
use crate::networking::*;
use crate::notify::notifyKeyspaceEvent;
use crate::object::*;
use crate::server::{CommandSpec, afterCommand, command, lookupCommandOrOriginal, propagate};
use crate::server_h::*;
use crate::sys::bytes::Packed;
use crate::sys::clock::{elapsedStart, elapsedUs};
use crate::sys::mem::size_class;
use crate::sys::random::{getRandomBytes, random_u64};
use crate::timeout::getTimeoutFromObjectOrReply;
use crate::types::t_set::{SetRef, value_resize_policy};
use crate::util::{Num, c_str, d2string, eq_ignore_case, ll2string, short_eq, string2ll, strtod};

const FIRST: (i32, i32, i32) = (1, 1, 1);
const NOKEYS: (i32, i32, i32) = (0, 0, 0);

/// The commands on sorted sets.
#[rustfmt::skip]
pub const COMMANDS: &[CommandSpec] = &[
    command("zadd", zaddCommand, -4, "write use-memory fast @sortedset", FIRST),
    command("zincrby", zincrbyCommand, 4, "write use-memory fast @sortedset", FIRST),
    command("zrem", zremCommand, -3, "write fast @sortedset", FIRST),
    command("zremrangebyscore", zremrangebyscoreCommand, 4, "write @sortedset", FIRST),
    command("zremrangebyrank", zremrangebyrankCommand, 4, "write @sortedset", FIRST),
    command("zremrangebylex", zremrangebylexCommand, 4, "write @sortedset", FIRST),
    command("zunionstore", zunionstoreCommand, -4, "write use-memory @sortedset", FIRST).getkeys(zunionInterDiffStoreGetKeys),
    command("zinterstore", zinterstoreCommand, -4, "write use-memory @sortedset", FIRST).getkeys(zunionInterDiffStoreGetKeys),
    command("zdiffstore", zdiffstoreCommand, -4, "write use-memory @sortedset", FIRST).getkeys(zunionInterDiffStoreGetKeys),
    command("zunion", zunionCommand, -3, "read-only @sortedset", NOKEYS).getkeys(zunionInterDiffGetKeys),
    command("zinter", zinterCommand, -3, "read-only @sortedset", NOKEYS).getkeys(zunionInterDiffGetKeys),
    command("zdiff", zdiffCommand, -3, "read-only @sortedset", NOKEYS).getkeys(zunionInterDiffGetKeys),
    command("zrange", zrangeCommand, -4, "read-only @sortedset", FIRST),
    command("zrangestore", zrangestoreCommand, -5, "write use-memory @sortedset", (1, 2, 1)),
    command("zrangebyscore", zrangebyscoreCommand, -4, "read-only @sortedset", FIRST),
    command("zrevrangebyscore", zrevrangebyscoreCommand, -4, "read-only @sortedset", FIRST),
    command("zrangebylex", zrangebylexCommand, -4, "read-only @sortedset", FIRST),
    command("zrevrangebylex", zrevrangebylexCommand, -4, "read-only @sortedset", FIRST),
    command("zcount", zcountCommand, 4, "read-only fast @sortedset", FIRST),
    command("zlexcount", zlexcountCommand, 4, "read-only fast @sortedset", FIRST),
    command("zrevrange", zrevrangeCommand, -4, "read-only @sortedset", FIRST),
    command("zcard", zcardCommand, 2, "read-only fast @sortedset", FIRST),
    command("zscore", zscoreCommand, 3, "read-only fast @sortedset", FIRST),
    command("zmscore", zmscoreCommand, -3, "read-only fast @sortedset", FIRST),
    command("zrank", zrankCommand, 3, "read-only fast @sortedset", FIRST),
    command("zrevrank", zrevrankCommand, 3, "read-only fast @sortedset", FIRST),
    command("zscan", zscanCommand, -3, "read-only random @sortedset", FIRST),
    command("zpopmin", zpopminCommand, -2, "write fast @sortedset", FIRST),
    command("zpopmax", zpopmaxCommand, -2, "write fast @sortedset", FIRST),
    command("bzpopmin", bzpopminCommand, -3, "write no-script fast @sortedset @blocking", (1, -2, 1)),
    command("bzpopmax", bzpopmaxCommand, -3, "write no-script fast @sortedset @blocking", (1, -2, 1)),
    command("zrandmember", zrandmemberCommand, -2, "read-only random @sortedset", FIRST),
];

// -----------------------------------------------------------------------------
// The value
// -----------------------------------------------------------------------------

/// A sorted set: a ziplist of members and scores while it is small, then a skip list with a table.
pub enum Zset {
    /// Members and scores in turn, in order.
    Ziplist(Ziplist),
    /// Anything larger.
    Skiplist(Box<zset>),
}

/// `zset`: the members in order, and a table that finds a member's element by its name. The table
/// holds element indices; the names are in the skip list.
pub struct zset {
    /// Members in order of their scores.
    pub zsl: Zskiplist,
    /// Elements by the hashes of their members.
    pub dict: RawDict,
    /// The secret of these hashes.
    pub seed: HashSeed,
}

/// Returns the function by which the table learns the hash of an element that it moves.
#[inline(always)]
fn rehash<'a>(zsl: &'a Zskiplist, seed: &'a HashSeed) -> impl Fn(u64) -> u64 + 'a {
    move |element| siphash(zsl.member(element as u32), seed)
}

impl zset {
    /// Returns an empty sorted set.
    pub fn new() -> zset {
        let mut seed = [0; 16];
        getRandomBytes(&mut seed);
        zset { zsl: zslCreate(), dict: RawDict::new(), seed: HashSeed::new(seed) }
    }

    /// Returns the element of a member.
    #[inline]
    pub fn find(&self, ele: &[u8]) -> Option<u32> {
        self.find_hashed(siphash(ele, &self.seed), NIL, ele)
    }

    /// Returns the element of a member that has this hash. `likely` is the element that may be it, or
    /// NIL.
    #[inline(always)]
    fn find_hashed(&self, hash: u64, likely: u32, ele: &[u8]) -> Option<u32> {
        // No two elements have the same member: one that has it is the one that a search would find.
        if self.zsl.has_member(likely, ele) { Some(likely) } else { self.find_in_table(hash, ele) }
    }

    #[inline(never)]
    fn find_in_table(&self, hash: u64, ele: &[u8]) -> Option<u32> {
        self.dict
            .find(hash, |element| short_eq(self.zsl.member(element as u32), ele))
            .map(|e| e as u32)
    }

    /// Returns the hash of argument `i`, a member, and its likely element, as `find_hashed` takes
    /// them.
    #[inline]
    fn hash_argument(&self, argv: &Args, i: usize) -> (u64, u32) {
        match argv.member(i, &self.seed) {
            Some(known) => (known.hash, known.element),
            None => (siphash(argv.get(i), &self.seed), NIL),
        }
    }

    /// Returns the element of the member that is argument `i`.
    #[inline]
    fn find_argument(&self, argv: &Args, i: usize) -> Option<u32> {
        let (hash, likely) = self.hash_argument(argv, i);
        self.find_hashed(hash, likely, argv.get(i))
    }

    /// Prefetches the elements that may be a member's own, when the member's bucket, which holds their
    /// numbers, has come (`dict.prefetch_bucket`). Returns the one that is so most likely.
    #[inline]
    pub fn prefetch_element(&self, hash: u64) -> u32 {
        let mut first = NIL;
        self.dict.candidates(hash, |element| {
            self.zsl.prefetch(element as u32);
            if first == NIL {
                first = element as u32;
            }
        });
        first
    }

    /// Adds a member that is not there, and returns its element. Panics if the score is NaN.
    pub fn insert(&mut self, score: f64, ele: &[u8]) -> u32 {
        self.insert_hashed(siphash(ele, &self.seed), score, ele)
    }

    /// Adds a member unless it is there. Panics if the score is NaN.
    pub fn add(&mut self, score: f64, ele: &[u8]) -> bool {
        let hash = siphash(ele, &self.seed);
        let is_new = self.find_hashed(hash, NIL, ele).is_none();
        if is_new {
            self.insert_hashed(hash, score, ele);
        }
        is_new
    }

    /// Adds a member as [`add`](Self::add) does, but finds out a little later whether it is there,
    /// when its bucket has come from memory: in the end the caller calls
    /// [`add_batch`](Self::add_batch). `waiting` has the members that are not in the table yet.
    /// `false`: one was there twice, and this set is of no use any more.
    pub fn add_later(&mut self, waiting: &mut Vec<(u64, u32)>, score: f64, ele: &[u8]) -> bool {
        let hash = siphash(ele, &self.seed);
        self.dict.prefetch_bucket(hash);
        waiting.push((hash, zslInsert(&mut self.zsl, score, ele)));
        waiting.len() < DICT_BATCH || self.add_batch(waiting)
    }

    /// Puts the members that wait into the table. `false`: as [`add_later`](Self::add_later) says.
    pub fn add_batch(&mut self, waiting: &mut Vec<(u64, u32)>) -> bool {
        waiting.drain(..).all(|(hash, element)| {
            let is_new = self.find_hashed(hash, NIL, self.zsl.member(element)).is_none();
            if is_new {
                self.dict.insert(hash, u64::from(element), rehash(&self.zsl, &self.seed));
            }
            is_new
        })
    }

    #[inline]
    fn insert_hashed(&mut self, hash: u64, score: f64, ele: &[u8]) -> u32 {
        let element = zslInsert(&mut self.zsl, score, ele);
        self.dict.insert(hash, u64::from(element), rehash(&self.zsl, &self.seed));
        // A set may stop growing right after its table did, and would keep both tables. Small ones
        // are moved soon.
        if self.dict.is_rehashing() {
            let steps = if self.dict.slots() < 8192 { 8 } else { 1 };
            self.dict.rehash_steps(steps, rehash(&self.zsl, &self.seed));
        }
        element
    }

    /// Takes an element that is about to be deleted from the list out of the table.
    fn forget(dict: &mut RawDict, seed: &HashSeed, zsl: &Zskiplist, element: u32) {
        let hash = siphash(zsl.member(element), seed);
        let forgotten = dict.remove(hash, |e| e == u64::from(element), rehash(zsl, seed));
        debug_assert!(forgotten.is_some(), "an element of the list is in the table");
    }

    /// Gives memory back after deletions: the table if it is nearly empty and may move now, the
    /// list's arena in `steps` small steps.
    fn shrink(&mut self, resize: dictResizeEnable, steps: usize) {
        let zset { zsl, dict, seed } = self;
        dict.set_resize_enabled(resize);
        if dict.needs_resize() {
            dict.resize();
        }
        if zsl_needs_shrink(zsl) {
            zsl_shrink(zsl, steps, |zsl, from, to| {
                let hash = siphash(zsl.member(from), seed);
                let moved = dict.replace(hash, |element| element == u64::from(from), u64::from(to));
                debug_assert!(moved.is_some(), "an element of the list is in the table");
            });
        }
    }

    /// Gives as much memory back as possible, after many deletions.
    fn shrink_all(&mut self, resize: dictResizeEnable) {
        self.shrink(resize, 64);
        while zsl_needs_shrink(&self.zsl) {
            self.shrink(resize, 64);
        }
    }
}

impl Default for zset {
    fn default() -> Self {
        zset::new()
    }
}

/// A sorted set, to look at.
#[derive(Clone, Copy)]
pub enum ZsetRef<'a> {
    Ziplist(&'a [u8]),
    Skiplist(&'a zset),
}

impl Zset {
    /// Returns the sorted set, to look at.
    #[inline(always)]
    pub fn as_ref(&self) -> ZsetRef<'_> {
        match self {
            Zset::Ziplist(zl) => ZsetRef::Ziplist(zl),
            Zset::Skiplist(zs) => ZsetRef::Skiplist(zs),
        }
    }
}

impl ZsetRef<'_> {
    /// Tells whether `self` and `other` are the same sorted set, not just equal ones.
    fn is(self, other: ZsetRef) -> bool {
        match (self, other) {
            (ZsetRef::Ziplist(a), ZsetRef::Ziplist(b)) => std::ptr::eq(a, b),
            (ZsetRef::Skiplist(a), ZsetRef::Skiplist(b)) => std::ptr::eq(a, b),
            _ => false,
        }
    }

    /// Returns about how many allocations the sorted set takes, for lazy freeing
    /// (`lazyfreeGetFreeEffort`).
    pub fn free_effort(self) -> usize {
        match self {
            ZsetRef::Ziplist(_) => 1,
            ZsetRef::Skiplist(zs) => zs.zsl.len(),
        }
    }

    /// Returns the bytes that a skip list takes up; what long members take beside their elements is
    /// estimated from the first `sample_size` (`objectComputeSize`).
    pub fn mem_usage(self, sample_size: usize) -> usize {
        match self {
            ZsetRef::Ziplist(_) => 0,
            ZsetRef::Skiplist(zs) => {
                let zsl = &zs.zsl;
                let places = std::iter::successors(zsl.first(), |&at| zsl.next(at));
                let (mut samples, mut elesize) = (0, 0);
                for at in places.take(sample_size) {
                    elesize += match zsl.member_mem_usage(zsl.element(at)) {
                        0 => 0,
                        bytes => size_class(bytes),
                    };
                    samples += 1;
                }
                let fixed = size_class(size_of::<zset>() - size_of::<Zskiplist>())
                    + zsl.mem_usage()
                    + zs.dict.mem_usage();
                fixed + (elesize * zsl.len()).checked_div(samples).unwrap_or(0)
            }
        }
    }

    /// Returns a copy, in the same encoding (`zsetDup`).
    pub fn dup(self) -> Zset {
        match self {
            ZsetRef::Ziplist(zl) => Zset::Ziplist(Ziplist::of_packed(zl.into())),
            ZsetRef::Skiplist(zs) => {
                let mut new_zs = zset::new();
                new_zs.dict.try_expand(zs.dict.len());
                // From the greatest to the smallest: each goes to the head, which takes no search.
                let mut ln = zs.zsl.last();
                while let Some(at) = ln {
                    let (ele, score) = zs.zsl.pair(at);
                    new_zs.insert(score, ele);
                    ln = zs.zsl.prev(at);
                }
                Zset::Skiplist(Box::new(new_zs))
            }
        }
    }
}

/// Returns an empty sorted set with a skip list.
pub fn createZsetObject() -> Zset {
    Zset::Skiplist(Box::default())
}

/// Returns an empty sorted set in a ziplist.
pub fn createZsetZiplistObject() -> Zset {
    Zset::Ziplist(ziplistNew())
}

/// The limits that decide the encoding of a sorted set, and whether its table may be resized now.
/// It is a copy, so that the keyspace can be borrowed beside it.
#[derive(Copy, Clone)]
pub struct ZsetLimits {
    /// `zset-max-ziplist-entries`
    pub entries: usize,
    /// `zset-max-ziplist-value`
    pub value: usize,
    /// The resize policy of tables: as for the keyspace, not while a child lives.
    pub resize: dictResizeEnable,
}

impl ZsetLimits {
    /// Returns the limits that are configured now.
    #[inline]
    pub fn of(server: &Server) -> ZsetLimits {
        ZsetLimits {
            entries: server.zset_max_ziplist_entries,
            value: server.zset_max_ziplist_value,
            resize: value_resize_policy(server),
        }
    }
}

/// Returns a generator of random numbers that starts at a random place: good for sampling, and
/// cheap.
fn random_numbers() -> impl FnMut() -> u64 {
    let mut x = random_u64() | 1;
    move || {
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        x.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Returns a generator of random numbers of 31 bits, the range that ziplists ask for.
fn random_numbers_31bit() -> impl FnMut() -> u32 {
    let mut random = random_numbers();
    move || (random() >> 33) as u32
}

/// Parses a range of scores from two arguments, each a float, behind `(` if the border is
/// left out. Anything that `strtod` reads but NaN is one, also nothing at all, which is 0.
pub fn zslParseRange(min: &[u8], max: &[u8]) -> Result<zrangespec, ()> {
    fn border(item: &[u8]) -> Result<(f64, bool), ()> {
        let item = c_str(item);
        let (text, exclusive) = match item {
            [b'(', text @ ..] => (text, true),
            text => (text, false),
        };
        let number = strtod(text);
        if number.len != text.len() || number.value.is_nan() {
            return Err(());
        }
        Ok((number.value, exclusive))
    }
    let (min, minex) = border(min)?;
    let (max, maxex) = border(max)?;
    Ok(zrangespec { min, max, minex, maxex })
}

// -----------------------------------------------------------------------------
// Ziplist-backed sorted set API
// -----------------------------------------------------------------------------

/// The text of an element: borrowed, or made of a number.
pub enum ElementText<'a> {
    /// Bytes as they are kept.
    Str(&'a [u8]),
    /// A number that a ziplist or intset keeps as such.
    Num(Num),
}

impl Deref for ElementText<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            ElementText::Str(s) => s,
            ElementText::Num(n) => n,
        }
    }
}

/// Returns the bytes of an element (`ziplistGetObject`).
#[inline]
pub fn element_text(ele: ZiplistEntry<'_>) -> ElementText<'_> {
    match ele {
        ZiplistEntry::Str(s) => ElementText::Str(s),
        ZiplistEntry::Int(n) => ElementText::Num(ll2string(n)),
    }
}

/// Queues an element as a bulk (`zsetReplyFromZiplistEntry`).
#[inline]
pub fn add_reply_element(clients: &mut Clients, c: ClientId, ele: ZiplistEntry<'_>) {
    match ele {
        ZiplistEntry::Str(s) => addReplyBulkCBuffer(clients, c, s),
        ZiplistEntry::Int(n) => addReplyBulkLongLong(clients, c, n),
    }
}

fn zzlStrtod(vstr: &[u8]) -> f64 {
    strtod(&vstr[..vstr.len().min(127)]).value
}

/// Returns the score that an entry holds.
#[inline]
pub fn zzl_score(entry: ZiplistEntry<'_>) -> f64 {
    match entry {
        ZiplistEntry::Str(s) => zzlStrtod(s),
        ZiplistEntry::Int(n) => n as f64,
    }
}

/// Returns the score at `sptr`.
pub fn zzlGetScore(zl: &[u8], sptr: usize) -> f64 {
    zzl_score(assert_some!(ziplistGet(zl, sptr)))
}

/// Compares the element at `eptr` with another one.
fn zzlCompareElements(zl: &[u8], eptr: usize, ele: &[u8]) -> Ordering {
    element_text(assert_some!(ziplistGet(zl, eptr))).as_ref().cmp(ele)
}

impl AsRef<[u8]> for ElementText<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Returns the number of elements.
#[inline]
pub fn zzlLength(zl: &[u8]) -> usize {
    ziplistLen(zl) / 2
}

/// Returns the element behind the one at `eptr` and its score.
// C: moves two pointers, the other one to the score.
#[inline]
fn zzlNext(zl: &[u8], eptr: usize) -> Option<usize> {
    let sptr = assert_some!(ziplistNext(zl, eptr));
    ziplistNext(zl, sptr)
}

/// Returns the element before the one at `eptr`.
#[inline]
fn zzlPrev(zl: &[u8], eptr: usize) -> Option<usize> {
    let sptr = ziplistPrev(zl, eptr)?;
    Some(assert_some!(ziplistPrev(zl, sptr)))
}

/// Tells whether some element could be in the range, judging by the first and the last one.
fn zzlIsInRange(zl: &[u8], range: &zrangespec) -> bool {
    // Ranges that hold nothing, whatever the list.
    if range.min > range.max || (range.min == range.max && (range.minex || range.maxex)) {
        return false;
    }
    let Some(last) = ziplistIndex(zl, -1) else { return false };
    if !zslValueGteMin(zzlGetScore(zl, last), range) {
        return false;
    }
    let first = assert_some!(ziplistIndex(zl, 1));
    zslValueLteMax(zzlGetScore(zl, first), range)
}

/// Returns the first element in the range.
pub fn zzlFirstInRange(zl: &[u8], range: &zrangespec) -> Option<usize> {
    if !zzlIsInRange(zl, range) {
        return None;
    }
    let mut eptr = ziplistIndex(zl, 0);
    while let Some(e) = eptr {
        let sptr = assert_some!(ziplistNext(zl, e));
        let score = zzlGetScore(zl, sptr);
        if zslValueGteMin(score, range) {
            return zslValueLteMax(score, range).then_some(e);
        }
        eptr = ziplistNext(zl, sptr);
    }
    None
}

/// Returns the last element in the range.
pub fn zzlLastInRange(zl: &[u8], range: &zrangespec) -> Option<usize> {
    if !zzlIsInRange(zl, range) {
        return None;
    }
    let mut eptr = ziplistIndex(zl, -2);
    while let Some(e) = eptr {
        let sptr = assert_some!(ziplistNext(zl, e));
        let score = zzlGetScore(zl, sptr);
        if zslValueLteMax(score, range) {
            return zslValueGteMin(score, range).then_some(e);
        }
        eptr = zzlPrev(zl, e);
    }
    None
}

#[inline]
fn lex_gte_min(ele: ZiplistEntry<'_>, spec: &zlexrangespec) -> bool {
    zslLexValueGteMin(&element_text(ele), spec)
}

#[inline]
fn lex_lte_max(ele: ZiplistEntry<'_>, spec: &zlexrangespec) -> bool {
    zslLexValueLteMax(&element_text(ele), spec)
}

fn zzlLexValueGteMin(zl: &[u8], p: usize, spec: &zlexrangespec) -> bool {
    lex_gte_min(assert_some!(ziplistGet(zl, p)), spec)
}

fn zzlLexValueLteMax(zl: &[u8], p: usize, spec: &zlexrangespec) -> bool {
    lex_lte_max(assert_some!(ziplistGet(zl, p)), spec)
}

/// Tells whether some element could be in the range, judging by the first and the last one.
fn zzlIsInLexRange(zl: &[u8], range: &zlexrangespec) -> bool {
    // Ranges that hold nothing, whatever the list.
    let cmp = sdscmplex(range.min, range.max);
    if cmp.is_gt() || (cmp.is_eq() && (range.minex || range.maxex)) {
        return false;
    }
    let Some(last) = ziplistIndex(zl, -2) else { return false };
    if !zzlLexValueGteMin(zl, last, range) {
        return false;
    }
    let first = assert_some!(ziplistIndex(zl, 0));
    zzlLexValueLteMax(zl, first, range)
}

/// Returns the first element in the range.
pub fn zzlFirstInLexRange(zl: &[u8], range: &zlexrangespec) -> Option<usize> {
    if !zzlIsInLexRange(zl, range) {
        return None;
    }
    let mut eptr = ziplistIndex(zl, 0);
    while let Some(e) = eptr {
        if zzlLexValueGteMin(zl, e, range) {
            return zzlLexValueLteMax(zl, e, range).then_some(e);
        }
        eptr = zzlNext(zl, e);
    }
    None
}

/// Returns the last element in the range.
pub fn zzlLastInLexRange(zl: &[u8], range: &zlexrangespec) -> Option<usize> {
    if !zzlIsInLexRange(zl, range) {
        return None;
    }
    let mut eptr = ziplistIndex(zl, -2);
    while let Some(e) = eptr {
        if zzlLexValueLteMax(zl, e, range) {
            return zzlLexValueGteMin(zl, e, range).then_some(e);
        }
        eptr = zzlPrev(zl, e);
    }
    None
}

/// Returns where an element is, and its score.
pub fn zzlFind(zl: &[u8], ele: &[u8]) -> Option<(usize, f64)> {
    let eptr = ziplistFind(zl, ziplistIndex(zl, 0)?, ele, 1)?;
    let sptr = assert_some!(ziplistNext(zl, eptr));
    Some((eptr, zzlGetScore(zl, sptr)))
}

/// Deletes the element at `eptr` and its score.
fn zzlDelete(zl: &mut Ziplist, eptr: usize) {
    ziplistDelete(zl, eptr);
    ziplistDelete(zl, eptr);
}

/// Inserts an element and its score before the one at `eptr`, or at the end.
fn zzlInsertAt(zl: &mut Ziplist, eptr: Option<usize>, ele: &[u8], score: f64) {
    let score = d2string(score);
    match eptr {
        None => {
            ziplistPush(zl, ele, ZIPLIST_TAIL);
            ziplistPush(zl, &score, ZIPLIST_TAIL);
        }
        Some(eptr) => {
            ziplistInsert(zl, eptr, ele);
            let sptr = assert_some!(ziplistNext(zl, eptr));
            ziplistInsert(zl, sptr, &score);
        }
    }
}

/// Inserts an element, which is not there, at its place.
pub fn zzlInsert(zl: &mut Ziplist, ele: &[u8], score: f64) {
    let mut eptr = ziplistIndex(zl, 0);
    while let Some(e) = eptr {
        let sptr = assert_some!(ziplistNext(zl, e));
        let s = zzlGetScore(zl, sptr);
        // Equal scores are in the order of their elements.
        if s > score || (s == score && zzlCompareElements(zl, e, ele).is_gt()) {
            break;
        }
        eptr = ziplistNext(zl, sptr);
    }
    zzlInsertAt(zl, eptr, ele, score);
}

/// Deletes the elements from number `start`, counted from 1, to number `end`; returns
/// how many.
fn zzlDeleteRangeByRank(zl: &mut Ziplist, start: usize, end: usize) -> usize {
    let num = end - start + 1;
    ziplistDeleteRange(zl, 2 * (start as i64 - 1), 2 * num);
    num
}

/// Deletes the elements from `first` on for which `inside` returns true, and returns how many.
fn zzl_delete_while(
    zl: &mut Ziplist,
    first: Option<usize>,
    inside: impl Fn((ZiplistEntry<'_>, f64)) -> bool,
) -> usize {
    let Some(first) = first else { return 0 };
    let walk = ZsetWalk { place: Place::Ziplist(zl, Some(first)), reverse: false, scores: true };
    let num = walk.take_while(|item| inside(*item)).count();
    let before = std::iter::successors(ziplistPrev(zl, first), |&p| ziplistPrev(zl, p)).count();
    ziplistDeleteRange(zl, before as i64, 2 * num);
    num
}

// -----------------------------------------------------------------------------
// Common sorted set API
// -----------------------------------------------------------------------------

/// The position of a walk.
#[derive(Copy, Clone)]
enum Place<'a> {
    Ziplist(&'a [u8], Option<usize>),
    Skiplist(&'a Zskiplist, Option<Position>),
}

/// A walk through a sorted set, up or down: elements and their scores. Cheap to copy.
#[derive(Copy, Clone)]
pub struct ZsetWalk<'a> {
    place: Place<'a>,
    reverse: bool,
    /// False: scores are not read from a ziplist, and are 0.
    scores: bool,
}

impl<'a> ZsetWalk<'a> {
    /// Starts a walk from the first element up, or from the last one down.
    pub fn all(zobj: ZsetRef<'a>, reverse: bool) -> ZsetWalk<'a> {
        let place = match zobj {
            ZsetRef::Ziplist(zl) => {
                Place::Ziplist(zl, ziplistIndex(zl, if reverse { -2 } else { 0 }))
            }
            ZsetRef::Skiplist(zs) => {
                Place::Skiplist(&zs.zsl, if reverse { zs.zsl.last() } else { zs.zsl.first() })
            }
        };
        ZsetWalk { place, reverse, scores: true }
    }

    /// Starts a walk at the element of a rank, counted from 0 in the direction of the walk.
    fn from_rank(zobj: ZsetRef<'a>, start: usize, reverse: bool) -> ZsetWalk<'a> {
        if start == 0 {
            return ZsetWalk::all(zobj, reverse);
        }
        let place = match zobj {
            ZsetRef::Ziplist(zl) => {
                let at = 2 * start as i64;
                Place::Ziplist(zl, ziplistIndex(zl, if reverse { -2 - at } else { at }))
            }
            ZsetRef::Skiplist(zs) => {
                let rank = if reverse { zs.zsl.len().saturating_sub(start) } else { start + 1 };
                Place::Skiplist(&zs.zsl, zslGetElementByRank(&zs.zsl, rank))
            }
        };
        ZsetWalk { place, reverse, scores: true }
    }

    /// Starts a walk at the first element of a range of scores, or at the last one. It does not end
    /// where the range does.
    pub fn in_range(zobj: ZsetRef<'a>, range: &zrangespec, reverse: bool) -> ZsetWalk<'a> {
        let place = match zobj {
            ZsetRef::Ziplist(zl) => Place::Ziplist(
                zl,
                if reverse { zzlLastInRange(zl, range) } else { zzlFirstInRange(zl, range) },
            ),
            ZsetRef::Skiplist(zs) => {
                let zsl = &zs.zsl;
                Place::Skiplist(
                    zsl,
                    if reverse { zslLastInRange(zsl, range) } else { zslFirstInRange(zsl, range) },
                )
            }
        };
        ZsetWalk { place, reverse, scores: true }
    }

    /// Starts a walk at the first element of a range of members, or at the last one.
    fn in_lex_range(zobj: ZsetRef<'a>, range: &zlexrangespec, reverse: bool) -> ZsetWalk<'a> {
        let place = match zobj {
            ZsetRef::Ziplist(zl) => Place::Ziplist(
                zl,
                if reverse { zzlLastInLexRange(zl, range) } else { zzlFirstInLexRange(zl, range) },
            ),
            ZsetRef::Skiplist(zs) => {
                let zsl = &zs.zsl;
                let at = if reverse {
                    zslLastInLexRange(zsl, range)
                } else {
                    zslFirstInLexRange(zsl, range)
                };
                Place::Skiplist(zsl, at)
            }
        };
        ZsetWalk { place, reverse, scores: true }
    }

    fn with_scores(self, scores: bool) -> ZsetWalk<'a> {
        ZsetWalk { scores, ..self }
    }
}

impl<'a> Iterator for ZsetWalk<'a> {
    type Item = (ZiplistEntry<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.place {
            Place::Skiplist(zsl, at) => {
                let place = (*at)?;
                *at = if self.reverse { zsl.prev(place) } else { zsl.next(place) };
                let (ele, score) = zsl.pair(place);
                Some((ZiplistEntry::Str(ele), score))
            }
            Place::Ziplist(zl, at) => {
                let eptr = (*at)?;
                let sptr = assert_some!(ziplistNext(zl, eptr));
                let score = if self.scores { zzlGetScore(zl, sptr) } else { 0.0 };
                *at = if self.reverse { zzlPrev(zl, eptr) } else { ziplistNext(zl, sptr) };
                Some((assert_some!(ziplistGet(zl, eptr)), score))
            }
        }
    }
}

/// Returns the number of elements.
#[inline]
pub fn zsetLength(zobj: ZsetRef) -> usize {
    match zobj {
        ZsetRef::Ziplist(zl) => zzlLength(zl),
        ZsetRef::Skiplist(zs) => zs.zsl.len(),
    }
}

/// Changes the encoding to OBJ_ENCODING_ZIPLIST or OBJ_ENCODING_SKIPLIST, if it is another one.
pub fn zsetConvert(zobj: &mut Zset, encoding: u8) {
    match (&*zobj, encoding) {
        (Zset::Ziplist(zl), OBJ_ENCODING_SKIPLIST) => {
            let mut zs = zset::new();
            zs.dict.try_expand(zzlLength(zl));
            for (ele, score) in ZsetWalk::all(zobj.as_ref(), true) {
                assert!(zs.add(score, &element_text(ele)));
            }
            *zobj = Zset::Skiplist(Box::new(zs));
        }
        (Zset::Skiplist(_), OBJ_ENCODING_ZIPLIST) => {
            let mut zl = ziplistNew();
            for (ele, score) in ZsetWalk::all(zobj.as_ref(), false) {
                zzlInsertAt(&mut zl, None, &element_text(ele), score);
            }
            *zobj = Zset::Ziplist(zl);
        }
        (Zset::Ziplist(_), OBJ_ENCODING_ZIPLIST) | (Zset::Skiplist(_), OBJ_ENCODING_SKIPLIST) => {}
        _ => panic!("Unknown target encoding"),
    }
}

/// Changes the encoding to a ziplist if the set is small enough for one: `maxelelen` is the length
/// of its longest member, `totelelen` that of all together.
pub fn zsetConvertToZiplistIfNeeded(
    zobj: &mut Zset,
    maxelelen: usize,
    totelelen: usize,
    limits: &ZsetLimits,
) {
    if let Zset::Skiplist(zs) = zobj
        && fits_ziplist(zs.zsl.len(), maxelelen, totelelen, limits)
    {
        zsetConvert(zobj, OBJ_ENCODING_ZIPLIST);
    }
}

fn fits_ziplist(len: usize, maxelelen: usize, totelelen: usize, limits: &ZsetLimits) -> bool {
    len <= limits.entries && maxelelen <= limits.value && ziplistSafeToAdd(None, totelelen)
}

/// Makes a sorted set of different members, which are in order, in the encoding that fits.
pub fn zset_from_sorted(sorted: &[(ZiplistEntry<'_>, f64)], limits: &ZsetLimits) -> Zset {
    let (mut maxelelen, mut totelelen) = (0, 0);
    for (ele, _) in sorted {
        let len = element_text(*ele).len();
        maxelelen = len.max(maxelelen);
        totelelen += len;
    }
    if fits_ziplist(sorted.len(), maxelelen, totelelen, limits) {
        let mut zl = ziplistNew();
        for (ele, score) in sorted {
            zzlInsertAt(&mut zl, None, &element_text(*ele), *score);
        }
        return Zset::Ziplist(zl);
    }
    let mut zs = zset::new();
    zs.dict.try_expand(sorted.len());
    // From the greatest to the smallest: each goes to the head, which takes no search.
    for (ele, score) in sorted.iter().rev() {
        zs.insert(*score, &element_text(*ele));
    }
    Zset::Skiplist(Box::new(zs))
}

/// Compares two elements in the order of a sorted set: by score, then by member.
pub fn zset_order(a: &(ZiplistEntry<'_>, f64), b: &(ZiplistEntry<'_>, f64)) -> Ordering {
    let by_score = a.1.partial_cmp(&b.1).unwrap_or(Ordering::Equal);
    by_score.then_with(|| element_text(a.0).cmp(&element_text(b.0)))
}

/// Returns the score of a member, `None` if it is not there.
#[inline]
pub fn zsetScore(zobj: ZsetRef, member: &[u8]) -> Option<f64> {
    match zobj {
        ZsetRef::Ziplist(zl) => zzlFind(zl, member).map(|(_, score)| score),
        ZsetRef::Skiplist(zs) => zs.find(member).map(|element| zs.zsl.score(element)),
    }
}

// Options of zsetAdd.
/// Nothing special.
pub const ZADD_IN_NONE: i32 = 0;
/// Add to the score instead of setting it.
pub const ZADD_IN_INCR: i32 = 1 << 0;
/// Only if the member is not there.
pub const ZADD_IN_NX: i32 = 1 << 1;
/// Only if the member is there.
pub const ZADD_IN_XX: i32 = 1 << 2;
/// Change a score only to a greater one.
pub const ZADD_IN_GT: i32 = 1 << 3;
/// Change a score only to a smaller one.
pub const ZADD_IN_LT: i32 = 1 << 4;

// Results of zsetAdd.
/// Nothing, because of a condition.
pub const ZADD_OUT_NOP: i32 = 1 << 0;
/// The member is new.
pub const ZADD_OUT_ADDED: i32 = 1 << 2;
/// The member has another score now.
pub const ZADD_OUT_UPDATED: i32 = 1 << 3;

/// Returns the score that a member which has `curscore` is to get. `Ok(None)`: the conditions say
/// that it stays. `Err`: it would be no number.
#[inline]
fn zadd_new_score(curscore: f64, mut score: f64, in_flags: i32) -> Result<Option<f64>, ()> {
    if in_flags & ZADD_IN_NX != 0 {
        return Ok(None);
    }
    if in_flags & ZADD_IN_INCR != 0 {
        score += curscore;
        if score.is_nan() {
            return Err(());
        }
    }
    if (in_flags & ZADD_IN_LT != 0 && score >= curscore)
        || (in_flags & ZADD_IN_GT != 0 && score <= curscore)
    {
        return Ok(None);
    }
    Ok(Some(score))
}

/// Adds a member, or changes its score, as `in_flags` say (`ZADD_IN_*`). Returns what it did
/// (`ZADD_OUT_*`; none of them if the member had that score) and the score that the member has now,
/// which means nothing with ZADD_OUT_NOP. `Err`: the score is NaN, or would be. The encoding may
/// change.
pub fn zsetAdd(
    zobj: &mut Zset,
    score: f64,
    ele: &[u8],
    in_flags: i32,
    limits: &ZsetLimits,
) -> Result<(i32, f64), ()> {
    if score.is_nan() {
        return Err(());
    }

    if let Zset::Ziplist(zl) = zobj {
        if let Some((eptr, curscore)) = zzlFind(zl, ele) {
            let Some(score) = zadd_new_score(curscore, score, in_flags)? else {
                return Ok((ZADD_OUT_NOP, 0.0));
            };
            if score == curscore {
                return Ok((0, score));
            }
            zzlDelete(zl, eptr);
            zzlInsert(zl, ele, score);
            return Ok((ZADD_OUT_UPDATED, score));
        }
        if in_flags & ZADD_IN_XX != 0 {
            return Ok((ZADD_OUT_NOP, 0.0));
        }
        // Too long, or too many: that is known before it is inserted.
        let fits = zzlLength(zl) < limits.entries
            && ele.len() <= limits.value
            && ziplistSafeToAdd(Some(zl), ele.len());
        if fits {
            zzlInsert(zl, ele, score);
            return Ok((ZADD_OUT_ADDED, score));
        }
        zsetConvert(zobj, OBJ_ENCODING_SKIPLIST);
    }

    let Zset::Skiplist(zs) = zobj else {
        unreachable!("a sorted set that is no ziplist is a skip list")
    };
    let hash = siphash(ele, &zs.seed);
    zs.add_hashed(score, ele, (hash, NIL), in_flags, limits.resize)
}

impl zset {
    /// Does what `zsetAdd` does in a skip list, for a member whose hash is known, and its likely
    /// element or NIL.
    #[inline]
    fn add_hashed(
        &mut self,
        score: f64,
        ele: &[u8],
        (hash, likely): (u64, u32),
        in_flags: i32,
        resize: dictResizeEnable,
    ) -> Result<(i32, f64), ()> {
        if score.is_nan() {
            return Err(());
        }
        if let Some(element) = self.find_hashed(hash, likely, ele) {
            let curscore = self.zsl.score(element);
            let Some(score) = zadd_new_score(curscore, score, in_flags)? else {
                return Ok((ZADD_OUT_NOP, 0.0));
            };
            if score == curscore {
                return Ok((0, score));
            }
            zslUpdateScore(&mut self.zsl, element, score);
            return Ok((ZADD_OUT_UPDATED, score));
        }
        if in_flags & ZADD_IN_XX != 0 {
            return Ok((ZADD_OUT_NOP, 0.0));
        }
        self.dict.set_resize_enabled(resize);
        self.insert_hashed(hash, score, ele);
        Ok((ZADD_OUT_ADDED, score))
    }

    /// Removes a member, without shrinking anything; false if it is not there.
    fn zsetRemoveFromSkiplist(&mut self, ele: &[u8]) -> bool {
        let zset { zsl, dict, seed } = self;
        let hash = siphash(ele, seed);
        match dict.remove(hash, |element| zsl.member(element as u32) == ele, rehash(zsl, seed)) {
            Some(element) => {
                zsl_delete_index(zsl, element as u32);
                true
            }
            None => false,
        }
    }
}

/// Deletes a member; false if it is not there.
pub fn zsetDel(zobj: &mut Zset, ele: &[u8], limits: &ZsetLimits) -> bool {
    match zobj {
        Zset::Ziplist(zl) => match zzlFind(zl, ele) {
            Some((eptr, _)) => {
                zzlDelete(zl, eptr);
                true
            }
            None => false,
        },
        Zset::Skiplist(zs) => {
            let deleted = zs.zsetRemoveFromSkiplist(ele);
            if deleted {
                zs.shrink(limits.resize, 4);
            }
            deleted
        }
    }
}

/// Returns the rank of a member, counted from 0, from the greatest one on if `reverse`.
pub fn zsetRank(zobj: ZsetRef, ele: &[u8], reverse: bool) -> Option<usize> {
    let rank = match zobj {
        ZsetRef::Ziplist(zl) => {
            let mut eptr = ziplistIndex(zl, 0);
            let mut rank = 1;
            loop {
                let e = eptr?;
                if ziplistCompare(zl, e, ele) {
                    break rank;
                }
                rank += 1;
                eptr = zzlNext(zl, e);
            }
        }
        ZsetRef::Skiplist(zs) => zslGetRank(&zs.zsl, zs.zsl.score(zs.find(ele)?), ele),
    };
    Some(if reverse { zsetLength(zobj) - rank } else { rank - 1 })
}

/// Tells whether these bytes are the ziplist of a sorted set. Only the `deep` check makes the set
/// safe to use: every entry can be read, there is a score for each member, none of them is NaN, and
/// no member is there twice.
// C: takes a NaN, which ends the process when the set gets a skip list.
pub fn zsetZiplistValidateIntegrity(zl: &[u8], deep: bool) -> bool {
    if !deep {
        return ziplistValidateIntegrity(zl, false, None);
    }
    let (mut count, mut members) = (0usize, Vec::with_capacity(16));
    let mut check = |p: usize| {
        let Some(entry) = ziplistGet(zl, p) else { return false };
        count += 1;
        if count % 2 == 1 {
            members.push(entry);
            true
        } else {
            !zzl_score(entry).is_nan()
        }
    };
    ziplistValidateIntegrity(zl, true, Some(&mut check))
        && count % 2 == 0
        && ziplist_all_distinct(&mut members)
}

/// Returns a random element of a set that has `zsetsize` of them, at least one.
fn zsetTypeRandomElement<'a>(
    zobj: ZsetRef<'a>,
    zsetsize: usize,
    random: &mut impl FnMut() -> u64,
) -> (ZiplistEntry<'a>, f64) {
    match zobj {
        ZsetRef::Skiplist(zs) => {
            let element = zs.dict.fair_random(random).expect("a sorted set is never empty") as u32;
            (ZiplistEntry::Str(zs.zsl.member(element)), zs.zsl.score(element))
        }
        ZsetRef::Ziplist(zl) => {
            let pair = ziplistRandomPair(zl, zsetsize, &mut || (random() >> 33) as u32);
            (pair.0, zzl_score(pair.1))
        }
    }
}

// -----------------------------------------------------------------------------
// Sorted set commands
// -----------------------------------------------------------------------------

/// Returns the error of options of ZADD that exclude each other, if these do. XX goes with either GT
/// or LT.
#[inline(never)]
fn zadd_options_error(flags: i32, elements: usize) -> Option<&'static [u8]> {
    let has = |flag: i32| flags & flag != 0;
    let (nx, gt, lt) = (has(ZADD_IN_NX), has(ZADD_IN_GT), has(ZADD_IN_LT));
    if nx && has(ZADD_IN_XX) {
        return Some(b"XX and NX options at the same time are not compatible");
    }
    if ((gt || lt) && nx) || (gt && lt) {
        return Some(b"GT, LT, and/or NX options at the same time are not compatible");
    }
    (has(ZADD_IN_INCR) && elements > 1)
        .then_some(b"INCR option supports a single increment-element pair")
}

/// Implements ZADD and ZINCRBY.
fn zaddGenericCommand(server: &mut Server, c: ClientId, argv: &Args, mut flags: i32) {
    let (db, key) = (server[c].db, argv.get(1));

    // Options come before the first score.
    let mut ch = false;
    let mut scoreidx = 2;
    while scoreidx < argv.len() {
        let opt = argv.get(scoreidx);
        // A score is no option, and most often comes first.
        if matches!(opt.first(), Some(b'0'..=b'9' | b'-' | b'.')) {
            break;
        }
        if eq_ignore_case(opt, b"nx") {
            flags |= ZADD_IN_NX;
        } else if eq_ignore_case(opt, b"xx") {
            flags |= ZADD_IN_XX;
        } else if eq_ignore_case(opt, b"ch") {
            ch = true;
        } else if eq_ignore_case(opt, b"incr") {
            flags |= ZADD_IN_INCR;
        } else if eq_ignore_case(opt, b"gt") {
            flags |= ZADD_IN_GT;
        } else if eq_ignore_case(opt, b"lt") {
            flags |= ZADD_IN_LT;
        } else {
            break;
        }
        scoreidx += 1;
    }
    let incr = flags & ZADD_IN_INCR != 0;

    // Behind them there are pairs of scores and members.
    let rest = argv.len() - scoreidx;
    if !rest.is_multiple_of(2) || rest == 0 {
        addReplyErrorObject(server, c, shared::syntaxerr);
        return;
    }
    let elements = rest / 2;

    if flags != ZADD_IN_NONE
        && let Some(error) = zadd_options_error(flags, elements)
    {
        addReplyError(server, c, error);
        return;
    }

    // All the scores first: the command is executed as a whole or not at all.
    let (mut few, mut many) = ([0.0; 8], Vec::new());
    let scores = if elements <= few.len() {
        &mut few[..elements]
    } else {
        many.resize(elements, 0.0);
        &mut many[..]
    };
    for (j, score) in scores.iter_mut().enumerate() {
        match getDoubleFromObjectOrReply(server, c, &argv[scoreidx + j * 2], None) {
            Ok(value) => *score = value,
            Err(()) => return,
        }
    }

    // The key, which may be new.
    let zobj = match lookupKeyWrite(server, db, key) {
        Some(o) if checkType(server, c, o, OBJ_ZSET) => return,
        Some(o) => Some(o),
        // No key and XX: nothing to do.
        None if flags & ZADD_IN_XX != 0 => None,
        None => {
            let limits = ZsetLimits::of(server);
            let small = limits.entries != 0 && limits.value >= argv[scoreidx + 1].len();
            let zobj = if small { createZsetZiplistObject() } else { createZsetObject() };
            Some(dbAdd(server, db, key, zobj))
        }
    };

    let (mut added, mut updated, mut processed) = (0, 0, 0);
    let mut score = 0.0;
    let mut nan = false;
    if let Some(o) = zobj {
        let mut note = |result| match result {
            Ok((retflags, newscore)) => {
                added += i64::from(retflags & ZADD_OUT_ADDED != 0);
                updated += i64::from(retflags & ZADD_OUT_UPDATED != 0);
                processed += i64::from(retflags & ZADD_OUT_NOP == 0);
                score = newscore;
            }
            Err(()) => nan = true,
        };
        let mut i = scoreidx + 1;
        let resize = value_resize_policy(server);
        if let Some(zs) = server.db[db].dict.skiplist_mut(o) {
            for given in &*scores {
                let ele = argv.get(i);
                let hash = zs.hash_argument(argv, i);
                note(zs.add_hashed(*given, ele, hash, flags, resize));
                i += 2;
            }
        } else {
            let limits = ZsetLimits::of(server);
            let mut zobj = server.db[db].dict.zset_mut(o);
            for given in &*scores {
                note(zsetAdd(&mut zobj, *given, argv.get(i), flags, &limits));
                i += 2;
            }
        }
    }

    if nan {
        // Only an increment can be to blame, and that is the only pair.
        addReplyError(server, c, b"resulting score is not a number (NaN)");
        return;
    }
    server.dirty += added + updated;
    if !incr {
        addReplyLongLong(server, c, if ch { added + updated } else { added });
    } else if processed > 0 {
        addReplyDouble(server, c, score);
    } else {
        addReplyNull(server, c);
    }
    if added > 0 || updated > 0 {
        signalModifiedKey(server, Some(c), db, key);
        notifyKeyspaceEvent(server, NOTIFY_ZSET, if incr { "zincr" } else { "zadd" }, key, db);
    }
}

/// ZADD key [NX|XX] [GT|LT] [CH] [INCR] score member [score member ...]
pub fn zaddCommand(server: &mut Server, c: ClientId, argv: &Args) {
    zaddGenericCommand(server, c, argv, ZADD_IN_NONE);
}

/// ZINCRBY key increment member
pub fn zincrbyCommand(server: &mut Server, c: ClientId, argv: &Args) {
    zaddGenericCommand(server, c, argv, ZADD_IN_INCR);
}

/// ZREM key member [member ...]
pub fn zremCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (db, key) = (server[c].db, argv.get(1));
    let Some(o) = lookupKeyWriteOrReply(server, c, key, shared::czero) else { return };
    if checkType(server, c, o, OBJ_ZSET) {
        return;
    }
    let limits = ZsetLimits::of(server);
    let mut zobj = server.db[db].dict.zset_mut(o);
    let (mut deleted, mut keyremoved) = (0, false);
    for ele in argv.iter().skip(2) {
        deleted += i64::from(zsetDel(&mut zobj, ele, &limits));
        if zsetLength(zobj.as_ref()) == 0 {
            keyremoved = true;
            break;
        }
    }
    drop(zobj);
    if keyremoved {
        dbDelete(server, db, key);
    }

    if deleted > 0 {
        notifyKeyspaceEvent(server, NOTIFY_ZSET, "zrem", key, db);
        if keyremoved {
            notifyKeyspaceEvent(server, NOTIFY_GENERIC, "del", key, db);
        }
        signalModifiedKey(server, Some(c), db, key);
        server.dirty += deleted;
    }
    addReplyLongLong(server, c, deleted);
}

/// The kind of a range: what its borders are.
#[derive(Copy, Clone, PartialEq, Eq)]
enum zrange_type {
    ZRANGE_AUTO,
    ZRANGE_RANK,
    ZRANGE_SCORE,
    ZRANGE_LEX,
}
use zrange_type::*;

/// A range, parsed.
enum Range<'a> {
    Rank(i64, i64),
    Score(zrangespec),
    Lex(zlexrangespec<'a>),
}

/// Parses a range. On an error the reply was sent.
fn parse_range_or_reply<'a>(
    server: &mut Server,
    c: ClientId,
    min: &'a [u8],
    max: &'a [u8],
    rangetype: zrange_type,
) -> Result<Range<'a>, ()> {
    match rangetype {
        ZRANGE_AUTO | ZRANGE_RANK => {
            let start = getLongFromObjectOrReply(server, c, min, None)?;
            let end = getLongFromObjectOrReply(server, c, max, None)?;
            Ok(Range::Rank(start, end))
        }
        ZRANGE_SCORE => zslParseRange(min, max)
            .map(Range::Score)
            .map_err(|()| addReplyError(server, c, b"min or max is not a float")),
        ZRANGE_LEX => zslParseLexRange(min, max)
            .map(Range::Lex)
            .map_err(|()| addReplyError(server, c, b"min or max not valid string range item")),
    }
}

/// Converts ranks as they are given, where negative ones count from the end, to ranks of a set of
/// `llen` elements. `None`: the range is empty.
fn sanitize_indexes(mut start: i64, mut end: i64, llen: usize) -> Option<(usize, usize)> {
    let llen = llen as i64;
    if start < 0 {
        start = start.saturating_add(llen);
    }
    if end < 0 {
        end = end.saturating_add(llen);
    }
    start = start.max(0);
    // The start is not negative by now, so a negative end makes this true as well.
    if start > end || start >= llen {
        return None;
    }
    Some((start as usize, end.min(llen - 1) as usize))
}

/// Implements ZREMRANGEBYRANK, ZREMRANGEBYSCORE and ZREMRANGEBYLEX.
fn zremrangeGenericCommand(server: &mut Server, c: ClientId, argv: &Args, rangetype: zrange_type) {
    let (db, key) = (server[c].db, argv.get(1));

    // Step 1: Parse the range.
    let notify_type = match rangetype {
        ZRANGE_AUTO | ZRANGE_RANK => "zremrangebyrank",
        ZRANGE_SCORE => "zremrangebyscore",
        ZRANGE_LEX => "zremrangebylex",
    };
    let Ok(range) = parse_range_or_reply(server, c, argv.get(2), argv.get(3), rangetype) else {
        return;
    };

    // Step 2: Lookup.
    let Some(o) = lookupKeyWriteOrReply(server, c, key, shared::czero) else { return };
    if checkType(server, c, o, OBJ_ZSET) {
        return;
    }

    // Step 3: Perform the range deletion operation.
    let resize = ZsetLimits::of(server).resize;
    let mut zobj = server.db[db].dict.zset_mut(o);
    let ranks = match range {
        Range::Rank(start, end) => match sanitize_indexes(start, end, zsetLength(zobj.as_ref())) {
            Some(ranks) => ranks,
            None => {
                drop(zobj);
                addReply(server, c, shared::czero);
                return;
            }
        },
        _ => (0, 0),
    };
    let deleted = match &mut *zobj {
        Zset::Ziplist(zl) => match &range {
            Range::Rank(..) => zzlDeleteRangeByRank(zl, ranks.0 + 1, ranks.1 + 1),
            Range::Score(range) => {
                let first = zzlFirstInRange(zl, range);
                zzl_delete_while(zl, first, |(_, score)| zslValueLteMax(score, range))
            }
            Range::Lex(range) => {
                let first = zzlFirstInLexRange(zl, range);
                zzl_delete_while(zl, first, |(ele, _)| lex_lte_max(ele, range))
            }
        },
        Zset::Skiplist(zs) => {
            let zset { zsl, dict, seed } = &mut **zs;
            dict.set_resize_enabled(resize);
            let removed = |zsl: &Zskiplist, element: u32| zset::forget(dict, seed, zsl, element);
            let deleted = match &range {
                Range::Rank(..) => zslDeleteRangeByRank(zsl, ranks.0 + 1, ranks.1 + 1, removed),
                Range::Score(range) => zslDeleteRangeByScore(zsl, range, removed),
                Range::Lex(range) => zslDeleteRangeByLex(zsl, range, removed),
            };
            if zsl.len() > 0 {
                zs.shrink_all(resize);
            }
            deleted
        }
    };
    let keyremoved = zsetLength(zobj.as_ref()) == 0;
    drop(zobj);
    if keyremoved {
        dbDelete(server, db, key);
    }

    // Step 4: Notifications and reply.
    if deleted > 0 {
        signalModifiedKey(server, Some(c), db, key);
        notifyKeyspaceEvent(server, NOTIFY_ZSET, notify_type, key, db);
        if keyremoved {
            notifyKeyspaceEvent(server, NOTIFY_GENERIC, "del", key, db);
        }
    }
    server.dirty += deleted as i64;
    addReplyLongLong(server, c, deleted as i64);
}

/// ZREMRANGEBYRANK key start stop
pub fn zremrangebyrankCommand(server: &mut Server, c: ClientId, argv: &Args) {
    zremrangeGenericCommand(server, c, argv, ZRANGE_RANK);
}

/// ZREMRANGEBYSCORE key min max
pub fn zremrangebyscoreCommand(server: &mut Server, c: ClientId, argv: &Args) {
    zremrangeGenericCommand(server, c, argv, ZRANGE_SCORE);
}

/// ZREMRANGEBYLEX key min max
pub fn zremrangebylexCommand(server: &mut Server, c: ClientId, argv: &Args) {
    zremrangeGenericCommand(server, c, argv, ZRANGE_LEX);
}

/// A source of ZUNION and its like: a set or a sorted set, or no key.
#[derive(Copy, Clone)]
enum Subject<'a> {
    Missing,
    Intset(&'a [u8]),
    Strings(&'a [u8]),
    Set(&'a Dict<SdsEntry>),
    Zset(ZsetRef<'a>),
}

/// A source and its weight.
#[derive(Copy, Clone)]
struct zsetopsrc<'a> {
    subject: Subject<'a>,
    weight: f64,
}

/// Elements with their scores.
type Elements<'a> = Vec<(ZiplistEntry<'a>, f64)>;

impl<'a> zsetopsrc<'a> {
    fn zuiLength(&self) -> usize {
        match self.subject {
            Subject::Missing => 0,
            Subject::Intset(is) => intsetLen(is) as usize,
            Subject::Strings(set) => strset_len(set),
            Subject::Set(ht) => dictSize(ht),
            Subject::Zset(zobj) => zsetLength(zobj),
        }
    }

    /// Returns all elements and their scores, which are 1 for those of a set.
    fn elements(&self) -> Box<dyn Iterator<Item = (ZiplistEntry<'a>, f64)> + 'a> {
        match self.subject {
            Subject::Missing => Box::new(std::iter::empty()),
            Subject::Intset(is) => Box::new(
                (0..intsetLen(is))
                    .filter_map(|pos| Some((ZiplistEntry::Int(intsetGet(is, pos)?), 1.0))),
            ),
            Subject::Strings(set) => {
                Box::new(strset_iter(set).map(|member| (ZiplistEntry::Str(member), 1.0)))
            }
            Subject::Set(ht) => {
                Box::new(ht.iter().map(|member| (ZiplistEntry::Str(member.as_slice()), 1.0)))
            }
            Subject::Zset(zobj) => Box::new(ZsetWalk::all(zobj, true)),
        }
    }

    /// Returns the score of an element.
    fn zuiFind(&self, ele: ZiplistEntry<'_>) -> Option<f64> {
        match (self.subject, ele) {
            (Subject::Missing, _) => None,
            (Subject::Intset(is), ZiplistEntry::Int(n)) => intsetFind(is, n).then_some(1.0),
            (Subject::Intset(is), ZiplistEntry::Str(s)) => {
                string2ll(s).filter(|n| intsetFind(is, *n)).map(|_| 1.0)
            }
            (Subject::Strings(set), ele) => strset_find(set, &element_text(ele)).then_some(1.0),
            (Subject::Set(ht), ele) => dictFind(ht, &element_text(ele)).map(|_| 1.0),
            (Subject::Zset(zobj), ele) => zsetScore(zobj, &element_text(ele)),
        }
    }

    /// Tells whether both are the same key's value.
    fn same(&self, other: &zsetopsrc<'_>) -> bool {
        match (self.subject, other.subject) {
            (Subject::Missing, Subject::Missing) => true,
            (Subject::Intset(a), Subject::Intset(b)) => std::ptr::eq(a, b),
            (Subject::Strings(a), Subject::Strings(b)) => std::ptr::eq(a, b),
            (Subject::Set(a), Subject::Set(b)) => std::ptr::addr_eq(a, b),
            (Subject::Zset(a), Subject::Zset(b)) => a.is(b),
            _ => false,
        }
    }
}

/// AGGREGATE: how the scores of a member are combined that is in several sources.
#[derive(Copy, Clone)]
enum Aggregation {
    Sum,
    Min,
    Max,
}

#[inline]
fn zunionInterAggregate(target: &mut f64, val: f64, aggregate: Aggregation) {
    match aggregate {
        Aggregation::Sum => {
            *target += val;
            // The sum of both infinities is 0 by convention.
            if target.is_nan() {
                *target = 0.0;
            }
        }
        Aggregation::Min => {
            if val < *target {
                *target = val;
            }
        }
        Aggregation::Max => {
            if val > *target {
                *target = val;
            }
        }
    }
}

/// Returns a score times a weight; infinity times 0 is 0 by convention.
#[inline]
fn weighted(weight: f64, score: f64) -> f64 {
    let score = weight * score;
    if score.is_nan() { 0.0 } else { score }
}

/// A table over elements that are kept in a vector: it finds an element's place there.
struct ElementTable {
    dict: RawDict,
    seed: HashSeed,
}

impl ElementTable {
    fn new(size: usize) -> ElementTable {
        let mut dict = RawDict::new();
        dict.try_expand(size);
        ElementTable { dict, seed: HashSeed::random() }
    }

    fn hash(&self, ele: ZiplistEntry<'_>) -> u64 {
        siphash(&element_text(ele), &self.seed)
    }

    fn same(a: ZiplistEntry<'_>, b: ZiplistEntry<'_>) -> bool {
        match (a, b) {
            (ZiplistEntry::Str(a), ZiplistEntry::Str(b)) => a == b,
            (ZiplistEntry::Int(a), ZiplistEntry::Int(b)) => a == b,
            _ => *element_text(a) == *element_text(b),
        }
    }

    fn find(&self, hash: u64, ele: ZiplistEntry<'_>, elements: &Elements<'_>) -> Option<usize> {
        self.dict.find(hash, |i| Self::same(elements[i as usize].0, ele)).map(|i| i as usize)
    }

    /// Adds the last element of the vector to the table.
    fn insert_last(&mut self, hash: u64, elements: &Elements<'_>) {
        let seed = self.seed;
        self.dict.insert(hash, elements.len() as u64 - 1, |i| {
            siphash(&element_text(elements[i as usize].0), &seed)
        });
    }

    fn remove(&mut self, ele: ZiplistEntry<'_>, elements: &Elements<'_>) -> bool {
        let (hash, seed) = (self.hash(ele), self.seed);
        let same = |i: u64| Self::same(elements[i as usize].0, ele);
        self.dict
            .remove(hash, same, |i| siphash(&element_text(elements[i as usize].0), &seed))
            .is_some()
    }
}

/// Returns the elements of the first source that are in no other. Each of the first one's is looked
/// up in the others, at most N*M lookups for N elements and M sources.
fn zdiffAlgorithm1<'a>(src: &mut [zsetopsrc<'a>]) -> Elements<'a> {
    // An element is most likely to be in the largest of the others, which ends its search.
    src[1..].sort_by_key(|src| std::cmp::Reverse(src.zuiLength()));
    let (first, others) = src.split_first().expect("there is at least one source");
    first
        .elements()
        .filter(|(ele, _)| !others.iter().any(|src| src.zuiFind(*ele).is_some()))
        .collect()
}

/// Returns the elements of the first source that are in no other, by removing those of all others
/// from the first one's, as many lookups as there are elements in all.
fn zdiffAlgorithm2<'a>(src: &[zsetopsrc<'a>]) -> Elements<'a> {
    let (first, others) = src.split_first().expect("there is at least one source");
    let mut elements: Elements = Vec::with_capacity(first.zuiLength());
    let mut table = ElementTable::new(first.zuiLength());
    for item in first.elements() {
        elements.push(item);
        table.insert_last(table.hash(item.0), &elements);
    }
    'src: for src in others {
        for (ele, _) in src.elements() {
            // When nothing is left, nothing can be removed.
            if table.dict.len() == 0 {
                break 'src;
            }
            table.remove(ele, &elements);
        }
    }
    table.dict.iter().map(|i| elements[i as usize]).collect()
}

/// Computes ZDIFF by the algorithm that takes fewer lookups.
fn zdiff<'a>(src: &mut [zsetopsrc<'a>]) -> Elements<'a> {
    let first = src[0];
    // If the first source is subtracted from itself nothing is left.
    if first.zuiLength() == 0 || src[1..].iter().any(|src| src.same(&first)) {
        return Vec::new();
    }
    // The first algorithm does less work per lookup, so it is given half price.
    let algo_one_work = (first.zuiLength() as u128 * src.len() as u128) / 2;
    let algo_two_work: u128 = src.iter().map(|src| src.zuiLength() as u128).sum();
    if algo_one_work <= algo_two_work { zdiffAlgorithm1(src) } else { zdiffAlgorithm2(src) }
}

/// Computes ZINTER. The sources go from the smallest to the largest.
fn zinter<'a>(src: &[zsetopsrc<'a>], aggregate: Aggregation) -> Elements<'a> {
    let (first, others) = src.split_first().expect("there is at least one source");
    let mut elements: Elements = Vec::new();
    'element: for (ele, zscore) in first.elements() {
        let mut score = weighted(first.weight, zscore);
        for src in others {
            match src.zuiFind(ele) {
                Some(value) => zunionInterAggregate(&mut score, value * src.weight, aggregate),
                None => continue 'element,
            }
        }
        elements.push((ele, score));
    }
    elements
}

/// Computes ZUNION. The sources go from the smallest to the largest.
fn zunion<'a>(src: &[zsetopsrc<'a>], aggregate: Aggregation) -> Elements<'a> {
    // The union is at least as large as the largest source.
    let largest = src.last().map_or(0, |src| src.zuiLength());
    let mut elements: Elements = Vec::with_capacity(largest);
    let mut table = ElementTable::new(largest);
    for src in src {
        for (ele, score) in src.elements() {
            let score = weighted(src.weight, score);
            let hash = table.hash(ele);
            match table.find(hash, ele, &elements) {
                Some(i) => zunionInterAggregate(&mut elements[i].1, score, aggregate),
                None => {
                    elements.push((ele, score));
                    table.insert_last(hash, &elements);
                }
            }
        }
    }
    elements
}

/// Which of ZUNION, ZINTER and ZDIFF.
#[derive(Copy, Clone, PartialEq, Eq)]
enum SetOp {
    Union,
    Inter,
    Diff,
}

/// Implements ZUNION, ZINTER, ZDIFF and, with a `dstkey`, ZUNIONSTORE, ZINTERSTORE, ZDIFFSTORE.
/// `numkeysIndex` is the place of the number of keys.
fn zunionInterDiffGenericCommand(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    dstkey: Option<&[u8]>,
    numkeysIndex: usize,
    op: SetOp,
) {
    let db = server[c].db;
    let Ok(setnum) = getLongFromObjectOrReply(server, c, &argv[numkeysIndex], None) else { return };
    if setnum < 1 {
        addReplyErrorFormat!(
            server,
            c,
            "at least 1 input key is needed for {}",
            expire_command_name(server, c)
        );
        return;
    }
    // More keys than arguments.
    let room = argv.len() - (numkeysIndex + 1);
    if setnum > room as i64 {
        addReplyErrorObject(server, c, shared::syntaxerr);
        return;
    }
    let setnum = setnum as usize;

    // Look up the sources.
    let mut sources: Vec<(Option<KeyRef>, f64)> = Vec::with_capacity(setnum);
    let mut j = numkeysIndex + 1;
    for key in argv.iter().skip(j).take(setnum) {
        let o = if dstkey.is_some() {
            lookupKeyWrite(server, db, key)
        } else {
            lookupKeyRead(server, db, key)
        };
        if o.is_some_and(|o| !matches!(server.db[db].dict.type_of(o), OBJ_ZSET | OBJ_SET)) {
            addReplyErrorObject(server, c, shared::wrongtypeerr);
            return;
        }
        sources.push((o, 1.0));
    }
    j += setnum;

    // Parse optional extra arguments.
    let mut aggregate = Aggregation::Sum;
    let mut withscores = false;
    while j < argv.len() {
        let (opt, remaining) = (argv.get(j), argv.len() - j);
        if op != SetOp::Diff && remaining > setnum && eq_ignore_case(opt, b"weights") {
            j += 1;
            for source in &mut sources {
                match getDoubleFromObjectOrReply(
                    server,
                    c,
                    &argv[j],
                    Some("weight value is not a float"),
                ) {
                    Ok(weight) => source.1 = weight,
                    Err(()) => return,
                }
                j += 1;
            }
        } else if op != SetOp::Diff && remaining >= 2 && eq_ignore_case(opt, b"aggregate") {
            let name = argv.get(j + 1);
            aggregate = if eq_ignore_case(name, b"sum") {
                Aggregation::Sum
            } else if eq_ignore_case(name, b"min") {
                Aggregation::Min
            } else if eq_ignore_case(name, b"max") {
                Aggregation::Max
            } else {
                addReplyErrorObject(server, c, shared::syntaxerr);
                return;
            };
            j += 2;
        } else if dstkey.is_none() && eq_ignore_case(opt, b"withscores") {
            withscores = true;
            j += 1;
        } else {
            addReplyErrorObject(server, c, shared::syntaxerr);
            return;
        }
    }

    // Collect the elements, which are borrowed from their keys.
    let limits = ZsetLimits::of(server);
    let Server { clients, db: dbs, .. } = server;
    let dict = &dbs[db].dict;
    let subject = |o: KeyRef| match dict.get(o) {
        ValueRef::Aggregate(AggregateRef::Zset(zobj)) => Subject::Zset(zobj),
        ValueRef::Aggregate(AggregateRef::Set(SetRef::Intset(is))) => Subject::Intset(is),
        ValueRef::Aggregate(AggregateRef::Set(SetRef::Strings(set))) => Subject::Strings(set),
        ValueRef::Aggregate(AggregateRef::Set(SetRef::Ht(ht))) => Subject::Set(ht),
        _ => unreachable!("the types of the sources were checked"),
    };
    let mut src: Vec<zsetopsrc> = sources
        .into_iter()
        .map(|(o, weight)| zsetopsrc { subject: o.map_or(Subject::Missing, subject), weight })
        .collect();
    // From the smallest to the largest takes the least work. It also is the order in which scores
    // are added up.
    if op != SetOp::Diff {
        src.sort_by_key(|src| src.zuiLength());
    }
    let mut elements = match op {
        SetOp::Union => zunion(&src, aggregate),
        SetOp::Inter => zinter(&src, aggregate),
        SetOp::Diff => zdiff(&mut src),
    };
    elements.sort_unstable_by(zset_order);

    let Some(dstkey) = dstkey else {
        add_reply_elements(clients, c, elements.iter().copied(), elements.len(), withscores);
        return;
    };
    let dstobj = (!elements.is_empty()).then(|| zset_from_sorted(&elements, &limits));
    let event = match op {
        SetOp::Union => "zunionstore",
        SetOp::Inter => "zinterstore",
        SetOp::Diff => "zdiffstore",
    };
    store_zset_and_reply(server, c, dstkey, dstobj, event);
}

/// Ends a command that stores a sorted set: sets the key to it, or deletes the key if it is
/// empty, and replies with its length.
fn store_zset_and_reply(
    server: &mut Server,
    c: ClientId,
    dstkey: &[u8],
    dstobj: Option<Zset>,
    event: &str,
) {
    let db = server[c].db;
    match dstobj {
        Some(zobj) => {
            let len = zsetLength(zobj.as_ref());
            setKey(server, Some(c), db, dstkey, zobj);
            addReplyLongLong(server, c, len as i64);
            notifyKeyspaceEvent(server, NOTIFY_ZSET, event, dstkey, db);
            server.dirty += 1;
        }
        None => {
            addReply(server, c, shared::czero);
            if dbDelete(server, db, dstkey) {
                signalModifiedKey(server, Some(c), db, dstkey);
                notifyKeyspaceEvent(server, NOTIFY_GENERIC, "del", dstkey, db);
                server.dirty += 1;
            }
        }
    }
}

/// ZUNIONSTORE destination numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM|MIN|MAX]
pub fn zunionstoreCommand(server: &mut Server, c: ClientId, argv: &Args) {
    zunionInterDiffGenericCommand(server, c, argv, Some(argv.get(1)), 2, SetOp::Union);
}

/// ZINTERSTORE destination numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM|MIN|MAX]
pub fn zinterstoreCommand(server: &mut Server, c: ClientId, argv: &Args) {
    zunionInterDiffGenericCommand(server, c, argv, Some(argv.get(1)), 2, SetOp::Inter);
}

/// ZDIFFSTORE destination numkeys key [key ...]
pub fn zdiffstoreCommand(server: &mut Server, c: ClientId, argv: &Args) {
    zunionInterDiffGenericCommand(server, c, argv, Some(argv.get(1)), 2, SetOp::Diff);
}

/// ZUNION numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]
pub fn zunionCommand(server: &mut Server, c: ClientId, argv: &Args) {
    zunionInterDiffGenericCommand(server, c, argv, None, 1, SetOp::Union);
}

/// ZINTER numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]
pub fn zinterCommand(server: &mut Server, c: ClientId, argv: &Args) {
    zunionInterDiffGenericCommand(server, c, argv, None, 1, SetOp::Inter);
}

/// ZDIFF numkeys key [key ...] [WITHSCORES]
pub fn zdiffCommand(server: &mut Server, c: ClientId, argv: &Args) {
    zunionInterDiffGenericCommand(server, c, argv, None, 1, SetOp::Diff);
}

/// Queues the header of an array of `len` elements. With scores it is flat in RESP2 and an array of
/// pairs in RESP3: a map would not tell the order.
fn add_reply_elements_len(clients: &mut Clients, c: ClientId, len: usize, withscores: bool) {
    let flat = withscores && clients[c].resp == 2;
    addReplyArrayLen(clients, c, if flat { len * 2 } else { len });
}

/// Queues one element of the array whose header `add_reply_elements_len` queued.
#[inline]
fn add_reply_element_and_score(
    clients: &mut Clients,
    c: ClientId,
    item: (ZiplistEntry<'_>, f64),
    withscores: bool,
) {
    if withscores && clients[c].resp > 2 {
        addReplyArrayLen(clients, c, 2);
    }
    add_reply_element(clients, c, item.0);
    if withscores {
        addReplyDouble(clients, c, item.1);
    }
}

/// Queues an array of elements whose number is known.
fn add_reply_elements<'a>(
    clients: &mut Clients,
    c: ClientId,
    elements: impl Iterator<Item = (ZiplistEntry<'a>, f64)>,
    len: usize,
    withscores: bool,
) {
    add_reply_elements_len(clients, c, len, withscores);
    let mut count = 0;
    for item in elements {
        add_reply_element_and_score(clients, c, item, withscores);
        count += 1;
    }
    // A damaged ziplist need not have as many as it says.
    assert!(count == len);
}

/// Queues an array of elements whose number is not known.
fn add_reply_elements_uncounted<'a>(
    clients: &mut Clients,
    c: ClientId,
    mut elements: impl Iterator<Item = (ZiplistEntry<'a>, f64)>,
    withscores: bool,
) {
    // Mostly there are few elements: then they are counted first. An array whose length is left
    // open costs an allocation.
    const FEW: usize = 32;
    let mut head = [(ZiplistEntry::Int(0), 0.0); FEW];
    let mut count = 0;
    while count < FEW {
        let Some(item) = elements.next() else { break };
        head[count] = item;
        count += 1;
    }
    let more = if count == FEW { elements.next() } else { None };
    let head = head[..count].iter().copied();
    let Some(more) = more else {
        add_reply_elements(clients, c, head, count, withscores);
        return;
    };

    let replylen = addReplyDeferredLen(clients, c);
    for item in head.chain([more]) {
        add_reply_element_and_score(clients, c, item, withscores);
        count += 1;
    }
    count -= FEW;
    for item in elements {
        add_reply_element_and_score(clients, c, item, withscores);
        count += 1;
    }
    let flat = withscores && clients[c].resp == 2;
    setDeferredArrayLen(clients, c, replylen, if flat { count * 2 } else { count });
}

/// The target of the elements of a range: the reply, or a key.
enum zrange_result_handler {
    Client { withscores: bool },
    Store { limits: ZsetLimits, dstobj: Option<Zset> },
}

impl zrange_result_handler {
    /// Tells whether the scores matter.
    fn scores(&self) -> bool {
        match self {
            zrange_result_handler::Client { withscores } => *withscores,
            zrange_result_handler::Store { .. } => true,
        }
    }

    /// Takes the elements of a range, in the order of the range. `rangelen` is their number, if it
    /// is known.
    fn emit<'a>(
        &mut self,
        clients: &mut Clients,
        c: ClientId,
        elements: impl Iterator<Item = (ZiplistEntry<'a>, f64)>,
        rangelen: Option<usize>,
        reverse: bool,
    ) {
        match self {
            zrange_result_handler::Client { withscores } => match rangelen {
                Some(len) => add_reply_elements(clients, c, elements, len, *withscores),
                None => add_reply_elements_uncounted(clients, c, elements, *withscores),
            },
            zrange_result_handler::Store { limits, dstobj } => {
                let mut sorted: Elements = elements.collect();
                if reverse {
                    sorted.reverse();
                }
                *dstobj = (!sorted.is_empty()).then(|| zset_from_sorted(&sorted, limits));
            }
        }
    }
}

/// Emits the elements of a range of ranks.
fn genericZrangebyrankCommand(
    handler: &mut zrange_result_handler,
    clients: &mut Clients,
    c: ClientId,
    zobj: ZsetRef,
    (start, end): (i64, i64),
    reverse: bool,
) {
    let Some((start, end)) = sanitize_indexes(start, end, zsetLength(zobj)) else {
        handler.emit(clients, c, std::iter::empty(), Some(0), reverse);
        return;
    };
    let rangelen = end - start + 1;
    let walk = ZsetWalk::from_rank(zobj, start, reverse).with_scores(handler.scores());
    handler.emit(clients, c, walk.take(rangelen), Some(rangelen), reverse);
}

/// Applies LIMIT to a walk: skips `offset` elements, all of them if it is negative, and takes
/// `limit`, all of them if that is.
fn limited<'a>(
    walk: ZsetWalk<'a>,
    zobj: ZsetRef<'a>,
    offset: i64,
    limit: i64,
) -> std::iter::Take<ZsetWalk<'a>> {
    let len = zsetLength(zobj);
    let all = |n: i64| usize::try_from(n).unwrap_or(usize::MAX);
    // A far offset is reached by rank, in logarithmic time.
    let mut walk = walk;
    if offset != 0 {
        let offset = all(offset);
        if offset >= len {
            return walk.take(0);
        }
        let rank = match walk.place {
            Place::Skiplist(zsl, Some(at)) if offset > 64 => {
                let (ele, score) = zsl.pair(at);
                Some(zslGetRank(zsl, score, ele))
            }
            _ => None,
        };
        match rank {
            Some(rank) => {
                let from = if walk.reverse { len - rank } else { rank - 1 };
                if from + offset >= len {
                    return walk.take(0);
                }
                walk =
                    ZsetWalk::from_rank(zobj, from + offset, walk.reverse).with_scores(walk.scores);
            }
            None => {
                walk.nth(offset - 1);
            }
        }
    }
    walk.take(all(limit))
}

/// The direction of a range.
#[derive(Copy, Clone, PartialEq, Eq)]
enum zrange_direction {
    ZRANGE_DIRECTION_AUTO,
    ZRANGE_DIRECTION_FORWARD,
    ZRANGE_DIRECTION_REVERSE,
}
use zrange_direction::*;

/// ZRANGESTORE dst src min max [BYSCORE|BYLEX] [REV] [LIMIT offset count]
pub fn zrangestoreCommand(server: &mut Server, c: ClientId, argv: &Args) {
    zrangeGenericCommand(server, c, argv, 2, true, ZRANGE_AUTO, ZRANGE_DIRECTION_AUTO);
}

/// ZRANGE key min max [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES]
pub fn zrangeCommand(server: &mut Server, c: ClientId, argv: &Args) {
    zrangeGenericCommand(server, c, argv, 1, false, ZRANGE_AUTO, ZRANGE_DIRECTION_AUTO);
}

/// ZREVRANGE key start stop [WITHSCORES]
pub fn zrevrangeCommand(server: &mut Server, c: ClientId, argv: &Args) {
    zrangeGenericCommand(server, c, argv, 1, false, ZRANGE_RANK, ZRANGE_DIRECTION_REVERSE);
}

/// Emits the elements of a range of scores.
fn genericZrangebyscoreCommand(
    handler: &mut zrange_result_handler,
    clients: &mut Clients,
    c: ClientId,
    zobj: ZsetRef,
    range: &zrangespec,
    (offset, limit): (i64, i64),
    reverse: bool,
) {
    let walk = limited(ZsetWalk::in_range(zobj, range, reverse), zobj, offset, limit);
    let inside = move |item: &(ZiplistEntry<'_>, f64)| {
        if reverse { zslValueGteMin(item.1, range) } else { zslValueLteMax(item.1, range) }
    };
    handler.emit(clients, c, walk.take_while(inside), None, reverse);
}

/// ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]
pub fn zrangebyscoreCommand(server: &mut Server, c: ClientId, argv: &Args) {
    zrangeGenericCommand(server, c, argv, 1, false, ZRANGE_SCORE, ZRANGE_DIRECTION_FORWARD);
}

/// ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]
pub fn zrevrangebyscoreCommand(server: &mut Server, c: ClientId, argv: &Args) {
    zrangeGenericCommand(server, c, argv, 1, false, ZRANGE_SCORE, ZRANGE_DIRECTION_REVERSE);
}

/// ZCOUNT key min max
pub fn zcountCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(Range::Score(range)) =
        parse_range_or_reply(server, c, argv.get(2), argv.get(3), ZRANGE_SCORE)
    else {
        return;
    };
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::czero) else { return };
    if checkType(server, c, o, OBJ_ZSET) {
        return;
    }
    let zobj = server.db[server[c].db].dict.zset(o);
    let count = match zobj {
        ZsetRef::Ziplist(_) => ZsetWalk::in_range(zobj, &range, false)
            .take_while(|item| zslValueLteMax(item.1, &range))
            .count() as i64,
        ZsetRef::Skiplist(zs) => count_between(&zs.zsl, zslFirstInRange(&zs.zsl, &range), || {
            zslLastInRange(&zs.zsl, &range)
        }),
    };
    addReplyLongLong(server, c, count);
}

/// Returns the number of elements from the first one of a range to its last one, by their ranks. A
/// range of members where scores differ means nothing, and may come out below 0.
fn count_between(
    zsl: &Zskiplist,
    first: Option<Position>,
    last: impl FnOnce() -> Option<Position>,
) -> i64 {
    let rank = |at: Position| {
        let (ele, score) = zsl.pair(at);
        zslGetRank(zsl, score, ele) as i64
    };
    match first {
        None => 0,
        Some(first) => last().map_or(zsl.len() as i64, rank) + 1 - rank(first),
    }
}

/// ZLEXCOUNT key min max
pub fn zlexcountCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(Range::Lex(range)) =
        parse_range_or_reply(server, c, argv.get(2), argv.get(3), ZRANGE_LEX)
    else {
        return;
    };
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::czero) else { return };
    if checkType(server, c, o, OBJ_ZSET) {
        return;
    }
    let zobj = server.db[server[c].db].dict.zset(o);
    let count = match zobj {
        ZsetRef::Ziplist(_) => {
            let walk = ZsetWalk::in_lex_range(zobj, &range, false).with_scores(false);
            walk.take_while(|item| lex_lte_max(item.0, &range)).count() as i64
        }
        ZsetRef::Skiplist(zs) => {
            count_between(&zs.zsl, zslFirstInLexRange(&zs.zsl, &range), || {
                zslLastInLexRange(&zs.zsl, &range)
            })
        }
    };
    addReplyLongLong(server, c, count);
}

/// Emits the elements of a range of members.
fn genericZrangebylexCommand(
    handler: &mut zrange_result_handler,
    clients: &mut Clients,
    c: ClientId,
    zobj: ZsetRef,
    range: &zlexrangespec,
    (offset, limit): (i64, i64),
    reverse: bool,
) {
    let walk = ZsetWalk::in_lex_range(zobj, range, reverse).with_scores(handler.scores());
    let walk = limited(walk, zobj, offset, limit);
    let inside = move |item: &(ZiplistEntry<'_>, f64)| {
        if reverse { lex_gte_min(item.0, range) } else { lex_lte_max(item.0, range) }
    };
    handler.emit(clients, c, walk.take_while(inside), None, reverse);
}

/// ZRANGEBYLEX key min max [LIMIT offset count]
pub fn zrangebylexCommand(server: &mut Server, c: ClientId, argv: &Args) {
    zrangeGenericCommand(server, c, argv, 1, false, ZRANGE_LEX, ZRANGE_DIRECTION_FORWARD);
}

/// ZREVRANGEBYLEX key max min [LIMIT offset count]
pub fn zrevrangebylexCommand(server: &mut Server, c: ClientId, argv: &Args) {
    zrangeGenericCommand(server, c, argv, 1, false, ZRANGE_LEX, ZRANGE_DIRECTION_REVERSE);
}

/// Implements ZRANGE, ZRANGESTORE and the older commands, which say by their name what ZRANGE says
/// by options. `argc_start` is the place of the source key; minimum and maximum follow it, then the
/// options.
fn zrangeGenericCommand(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    argc_start: usize,
    store: bool,
    mut rangetype: zrange_type,
    mut direction: zrange_direction,
) {
    let (db, key) = (server[c].db, argv.get(argc_start));
    let (mut minidx, mut maxidx) = (argc_start + 1, argc_start + 2);
    let mut opt_withscores = false;
    let (mut opt_offset, mut opt_limit) = (0, -1);

    // Step 1: Skip the <src> <min> <max> args and parse remaining optional arguments.
    let mut j = argc_start + 3;
    while j < argv.len() {
        let (opt, leftargs) = (argv.get(j), argv.len() - j - 1);
        if !store && eq_ignore_case(opt, b"withscores") {
            opt_withscores = true;
        } else if eq_ignore_case(opt, b"limit") && leftargs >= 2 {
            let Ok(offset) = getLongFromObjectOrReply(server, c, &argv[j + 1], None) else {
                return;
            };
            let Ok(limit) = getLongFromObjectOrReply(server, c, &argv[j + 2], None) else { return };
            (opt_offset, opt_limit) = (offset, limit);
            j += 2;
        } else if direction == ZRANGE_DIRECTION_AUTO && eq_ignore_case(opt, b"rev") {
            direction = ZRANGE_DIRECTION_REVERSE;
        } else if rangetype == ZRANGE_AUTO && eq_ignore_case(opt, b"bylex") {
            rangetype = ZRANGE_LEX;
        } else if rangetype == ZRANGE_AUTO && eq_ignore_case(opt, b"byscore") {
            rangetype = ZRANGE_SCORE;
        } else {
            addReplyErrorObject(server, c, shared::syntaxerr);
            return;
        }
        j += 1;
    }

    // Use defaults if not overridden by arguments.
    let reverse = direction == ZRANGE_DIRECTION_REVERSE;
    if rangetype == ZRANGE_AUTO {
        rangetype = ZRANGE_RANK;
    }

    // Check for conflicting arguments.
    if opt_limit != -1 && rangetype == ZRANGE_RANK {
        let err =
            b"syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX";
        addReplyError(server, c, err);
        return;
    }
    if opt_withscores && rangetype == ZRANGE_LEX {
        addReplyError(
            server,
            c,
            b"syntax error, WITHSCORES not supported in combination with BYLEX",
        );
        return;
    }

    // A range that goes down is given as [max,min].
    if reverse && rangetype != ZRANGE_RANK {
        (minidx, maxidx) = (maxidx, minidx);
    }

    // Step 2: Parse the range.
    let Ok(range) = parse_range_or_reply(server, c, argv.get(minidx), argv.get(maxidx), rangetype)
    else {
        return;
    };

    // Step 3: Lookup the key.
    let o = if store { lookupKeyWrite(server, db, key) } else { lookupKeyRead(server, db, key) };
    if let Some(o) = o
        && checkType(server, c, o, OBJ_ZSET)
    {
        return;
    }

    // Step 4: Get the range.
    let mut handler = if store {
        zrange_result_handler::Store { limits: ZsetLimits::of(server), dstobj: None }
    } else {
        zrange_result_handler::Client { withscores: opt_withscores }
    };
    match o {
        None if !store => addReply(server, c, shared::emptyarray),
        None => {}
        Some(o) => {
            let Server { clients, db: dbs, .. } = server;
            let zobj = dbs[db].dict.zset(o);
            let limit = (opt_offset, opt_limit);
            match &range {
                Range::Rank(start, end) => {
                    genericZrangebyrankCommand(
                        &mut handler,
                        clients,
                        c,
                        zobj,
                        (*start, *end),
                        reverse,
                    );
                }
                Range::Score(range) => {
                    genericZrangebyscoreCommand(
                        &mut handler,
                        clients,
                        c,
                        zobj,
                        range,
                        limit,
                        reverse,
                    );
                }
                Range::Lex(range) => {
                    genericZrangebylexCommand(
                        &mut handler,
                        clients,
                        c,
                        zobj,
                        range,
                        limit,
                        reverse,
                    );
                }
            }
        }
    }
    if let zrange_result_handler::Store { dstobj, .. } = handler {
        store_zset_and_reply(server, c, argv.get(1), dstobj, "zrangestore");
    }
}

/// ZCARD key
pub fn zcardCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::czero) else { return };
    if checkType(server, c, o, OBJ_ZSET) {
        return;
    }
    let len = zsetLength(server.db[server[c].db].dict.zset(o));
    addReplyLongLong(server, c, len as i64);
}

/// Queues a score, or a null if there is none.
fn add_reply_score(server: &mut Server, c: ClientId, score: Option<f64>) {
    match score {
        Some(score) => addReplyDouble(server, c, score),
        None => addReplyNull(server, c),
    }
}

/// ZSCORE key member
pub fn zscoreCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::null) else { return };
    if checkType(server, c, o, OBJ_ZSET) {
        return;
    }
    let score = match server.db[server[c].db].dict.zset(o) {
        ZsetRef::Skiplist(zs) => zs.find_argument(argv, 2).map(|element| zs.zsl.score(element)),
        zobj => zsetScore(zobj, &argv[2]),
    };
    add_reply_score(server, c, score);
}

/// ZMSCORE key member [member ...]
pub fn zmscoreCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let db = server[c].db;
    let o = lookupKeyRead(server, db, &argv[1]);
    if let Some(o) = o
        && checkType(server, c, o, OBJ_ZSET)
    {
        return;
    }
    addReplyArrayLen(server, c, argv.len() - 2);
    for member in argv.iter().skip(2) {
        // A missing set is an empty one.
        let score = o.and_then(|o| zsetScore(server.db[db].dict.zset(o), member));
        add_reply_score(server, c, score);
    }
}

/// Implements ZRANK and ZREVRANK.
fn zrankGenericCommand(server: &mut Server, c: ClientId, argv: &Args, reverse: bool) {
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::null) else { return };
    if checkType(server, c, o, OBJ_ZSET) {
        return;
    }
    match zsetRank(server.db[server[c].db].dict.zset(o), &argv[2], reverse) {
        Some(rank) => addReplyLongLong(server, c, rank as i64),
        None => addReplyNull(server, c),
    }
}

/// ZRANK key member
pub fn zrankCommand(server: &mut Server, c: ClientId, argv: &Args) {
    zrankGenericCommand(server, c, argv, false);
}

/// ZREVRANK key member
pub fn zrevrankCommand(server: &mut Server, c: ClientId, argv: &Args) {
    zrankGenericCommand(server, c, argv, true);
}

/// ZSCAN key cursor [MATCH pattern] [COUNT count]
pub fn zscanCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(cursor) = parseScanCursorOrReply(server, c, &argv[2]) else { return };
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::emptyscan) else { return };
    if checkType(server, c, o, OBJ_ZSET) {
        return;
    }
    scanGenericCommand(server, c, argv, Some(o), cursor);
}

/// Implements ZPOPMIN, ZPOPMAX, BZPOPMIN and BZPOPMAX; also serves a client that was blocked by one
/// of the latter.
///
/// Pops from the first of the keys that exists. With `emitkey` its name is sent too: a client that
/// waits for several needs it. `countarg` is the count of a command that does not block. `end` is
/// ZSET_MIN or ZSET_MAX.
pub fn genericZpopCommand(
    server: &mut Server,
    c: ClientId,
    keys: &[&[u8]],
    end: i32,
    emitkey: bool,
    countarg: Option<&[u8]>,
) {
    let db = server[c].db;
    let mut count = 1;
    if let Some(countarg) = countarg {
        match getLongFromObjectOrReply(server, c, countarg, None) {
            Err(()) => return,
            Ok(..=0) => {
                addReply(server, c, shared::emptyarray);
                return;
            }
            Ok(n) => count = n,
        }
    }

    // The first key there is. If that is of another type it is an error.
    let mut found = None;
    for &key in keys {
        if let Some(o) = lookupKeyWrite(server, db, key) {
            if checkType(server, c, o, OBJ_ZSET) {
                return;
            }
            found = Some((key, o));
            break;
        }
    }
    let Some((key, o)) = found else {
        addReply(server, c, shared::emptyarray);
        return;
    };

    // One flat array, but in RESP3 an array of pairs if there is a count.
    let limits = ZsetLimits::of(server);
    let llen = zsetLength(server.db[db].dict.zset(o));
    let popped = llen.min(count as usize);
    let use_nested_array = server[c].resp > 2 && countarg.is_some();
    let arraylen = if use_nested_array { popped } else { popped * 2 };
    addReplyArrayLen(server, c, arraylen + usize::from(emitkey));
    if emitkey {
        addReplyBulkCBuffer(server, c, key);
    }

    let mut ele = Vec::new();
    for result_count in 0..popped {
        let mut zobj = server.db[db].dict.zset_mut(o);
        let (first, score) = assert_some!(ZsetWalk::all(zobj.as_ref(), end == ZSET_MAX).next());
        ele.clear();
        ele.extend_from_slice(&element_text(first));
        assert!(zsetDel(&mut zobj, &ele, &limits));
        drop(zobj);
        server.dirty += 1;

        if result_count == 0 {
            let event = if end == ZSET_MIN { "zpopmin" } else { "zpopmax" };
            notifyKeyspaceEvent(server, NOTIFY_ZSET, event, key, db);
            signalModifiedKey(server, Some(c), db, key);
        }
        if use_nested_array {
            addReplyArrayLen(server, c, 2);
        }
        addReplyBulkCBuffer(server, c, &ele);
        addReplyDouble(server, c, score);
    }

    if popped == llen {
        dbDelete(server, db, key);
        notifyKeyspaceEvent(server, NOTIFY_GENERIC, "del", key, db);
    }
}

/// Implements ZPOPMIN and ZPOPMAX.
fn zpop_command(server: &mut Server, c: ClientId, argv: &Args, end: i32) {
    if argv.len() > 3 {
        addReplyErrorObject(server, c, shared::syntaxerr);
        return;
    }
    let countarg = (argv.len() == 3).then(|| argv.get(2));
    genericZpopCommand(server, c, &[argv.get(1)], end, false, countarg);
}

/// ZPOPMIN key [count]
pub fn zpopminCommand(server: &mut Server, c: ClientId, argv: &Args) {
    zpop_command(server, c, argv, ZSET_MIN);
}

/// ZPOPMAX key [count]
pub fn zpopmaxCommand(server: &mut Server, c: ClientId, argv: &Args) {
    zpop_command(server, c, argv, ZSET_MAX);
}

/// Implements BZPOPMIN and BZPOPMAX.
fn blockingGenericZpopCommand(server: &mut Server, c: ClientId, argv: &Args, end: i32) {
    let db = server[c].db;
    let last = argv.len() - 1;
    let Ok(timeout) = getTimeoutFromObjectOrReply(server, c, &argv[last], UNIT_SECONDS) else {
        return;
    };

    for key in argv.iter().take(last).skip(1) {
        if let Some(o) = lookupKeyWrite(server, db, key) {
            if checkType(server, c, o, OBJ_ZSET) {
                return;
            }
            // There is an element: the command is executed, and propagated, as a ZPOPMIN or
            // ZPOPMAX.
            genericZpopCommand(server, c, &[key], end, true, None);
            let name: &[u8] = if end == ZSET_MAX { b"ZPOPMAX" } else { b"ZPOPMIN" };
            rewriteClientCommandVector(server, c, &[name, key]);
            return;
        }
    }

    // A client that must not block times out at once, even if the timeout is 0.
    if server[c].flags & CLIENT_DENY_BLOCKING != 0 {
        addReplyNullArray(server, c);
        return;
    }
    let keys: Vec<&[u8]> = argv.iter().take(last).skip(1).collect();
    blockForKeys(server, c, BLOCKED_ZSET, &keys, timeout, None, None, None);
}

/// BZPOPMIN key [key ...] timeout
pub fn bzpopminCommand(server: &mut Server, c: ClientId, argv: &Args) {
    blockingGenericZpopCommand(server, c, argv, ZSET_MIN);
}

/// BZPOPMAX key [key ...] timeout
pub fn bzpopmaxCommand(server: &mut Server, c: ClientId, argv: &Args) {
    blockingGenericZpopCommand(server, c, argv, ZSET_MAX);
}

/// Serves the clients that wait for the sorted set `o` (`blocked.c`), in the order in which they
/// began to wait, as long as it has elements.
pub fn serveClientsBlockedOnSortedSetKey(server: &mut Server, rl: &readyList, o: KeyRef) {
    let mut numclients = server.db[rl.db].blocking_keys.get(&rl.key).map_or(0, listLength);
    let mut zcard = zsetLength(server.db[rl.db].dict.zset(o));
    while numclients > 0 && zcard > 0 {
        numclients -= 1;
        let Some(receiver) = first_waiting(server, rl, BLOCKED_ZSET) else { continue };

        let lastcmd = server[receiver].lastcmd.map(|cmd| server.commands[cmd].name);
        let (end, name) =
            if lastcmd == Some("bzpopmin") { (ZSET_MIN, "zpopmin") } else { (ZSET_MAX, "zpopmax") };
        let dbid = server[receiver].db as i32;
        let old_client = server.current_client.replace(receiver);
        let reply_timer = elapsedStart();
        genericZpopCommand(server, receiver, &[&rl.key], end, true, None);
        updateStatsOnUnblock(server, receiver, 0, elapsedUs(reply_timer) as i64);
        unblockClient(server, receiver);
        afterCommand(server);
        server.current_client = old_client;
        zcard -= 1;

        // Replicate the command.
        let cmd = lookupCommandOrOriginal(server, name.as_bytes()).expect("the command exists");
        let argv = crate::args::Argv::new(&[name.as_bytes(), &rl.key]);
        propagate(server, cmd, dbid, &argv.as_args(), PROPAGATE_AOF | PROPAGATE_REPL);
    }
}

/// The factor that decides between two ways: of a set at most so many times as large as the count,
/// elements are taken away from a copy of it until enough are left. With a larger one they are
/// picked until there are enough.
const ZRANDMEMBER_SUB_STRATEGY_MUL: usize = 3;

/// The number of elements of a ziplist that are picked at once: a count can be anything.
const ZRANDMEMBER_RANDOM_SAMPLE_LIMIT: usize = 1000;

/// Implements ZRANDMEMBER with a count.
fn zrandmemberWithCountCommand(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    l: i64,
    withscores: bool,
) {
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::emptyarray) else { return };
    if checkType(server, c, o, OBJ_ZSET) {
        return;
    }
    let (mut count, uniq) = (l.unsigned_abs() as usize, l >= 0);
    if count == 0 {
        addReply(server, c, shared::emptyarray);
        return;
    }
    let Server { clients, db, .. } = server;
    let zobj = db[clients[c].db].dict.zset(o);
    let size = zsetLength(zobj);
    let mut random = random_numbers();

    // CASE 1: The count was negative: so many random elements, the same one perhaps more than once.
    // This is the one case in which the elements are in random order.
    if !uniq || count == 1 {
        add_reply_elements_len(clients, c, count, withscores);
        match zobj {
            ZsetRef::Skiplist(_) => {
                while count > 0 && !gets_no_replies(clients, c) {
                    let item = zsetTypeRandomElement(zobj, size, &mut random);
                    add_reply_element_and_score(clients, c, item, withscores);
                    count -= 1;
                }
            }
            ZsetRef::Ziplist(zl) => {
                let mut random = random_numbers_31bit();
                while count > 0 && !gets_no_replies(clients, c) {
                    let sample_count = count.min(ZRANDMEMBER_RANDOM_SAMPLE_LIMIT);
                    count -= sample_count;
                    for (ele, score) in ziplistRandomPairs(zl, sample_count, &mut random) {
                        add_reply_element_and_score(
                            clients,
                            c,
                            (ele, zzl_score(score)),
                            withscores,
                        );
                    }
                }
            }
        }
        return;
    }

    // CASE 2: As many as there are, or more: the whole set.
    if count >= size {
        add_reply_elements(clients, c, ZsetWalk::all(zobj, true), size, withscores);
        return;
    }

    // CASE 3: Most of them: a copy of all, from which a random one goes to the front until there
    // are enough in front.
    if count.saturating_mul(ZRANDMEMBER_SUB_STRATEGY_MUL) > size {
        let mut elements: Elements = ZsetWalk::all(zobj, true).collect();
        assert!(elements.len() == size);
        for i in 0..count {
            let other = i + (random() % (elements.len() - i) as u64) as usize;
            elements.swap(i, other);
        }
        add_reply_elements(clients, c, elements.into_iter().take(count), count, withscores);
        return;
    }

    // CASE 4: A few of them. Of a ziplist they are picked in one walk.
    match zobj {
        ZsetRef::Ziplist(zl) => {
            let pairs = ziplistRandomPairsUnique(zl, count, &mut random_numbers_31bit());
            let elements = pairs.iter().map(|(ele, score)| (*ele, zzl_score(*score)));
            add_reply_elements(clients, c, elements, count, withscores);
        }
        ZsetRef::Skiplist(zs) => {
            add_reply_elements_len(clients, c, count, withscores);
            let mut picked = HashSet::with_capacity(count);
            while picked.len() < count {
                let element =
                    zs.dict.fair_random(&mut random).expect("a sorted set is never empty") as u32;
                if picked.insert(element) {
                    let item = (ZiplistEntry::Str(zs.zsl.member(element)), zs.zsl.score(element));
                    add_reply_element_and_score(clients, c, item, withscores);
                }
            }
        }
    }
}

/// ZRANDMEMBER key [count [WITHSCORES]]
pub fn zrandmemberCommand(server: &mut Server, c: ClientId, argv: &Args) {
    if argv.len() >= 3 {
        let (min, max) = (-i64::MAX, i64::MAX);
        let Ok(l) = getRangeLongFromObjectOrReply(server, c, &argv[2], min, max, None) else {
            return;
        };
        let withscores = argv.len() == 4 && eq_ignore_case(&argv[3], b"withscores");
        if argv.len() > 4 || (argv.len() == 4 && !withscores) {
            addReplyErrorObject(server, c, shared::syntaxerr);
            return;
        }
        // The length of a flat reply is twice as much.
        if withscores && !(-i64::MAX / 2..=i64::MAX / 2).contains(&l) {
            addReplyError(server, c, b"value is out of range");
            return;
        }
        zrandmemberWithCountCommand(server, c, argv, l, withscores);
        return;
    }

    // Without a count: one element, which is not an array.
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::null) else { return };
    if checkType(server, c, o, OBJ_ZSET) {
        return;
    }
    let Server { clients, db, .. } = server;
    let zobj = db[clients[c].db].dict.zset(o);
    let (ele, _) = zsetTypeRandomElement(zobj, zsetLength(zobj), &mut random_numbers());
    add_reply_element(clients, c, ele);
}

#[cfg(test)]
mod tests;
