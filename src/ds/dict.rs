//! `dict.c`: hash tables that grow and shrink a bucket at a time, and can be scanned while they do.
//!
//! Names and promises are the C's: two tables while rehashing, the reverse-binary SCAN cursor,
//! `dict_can_resize` and its force ratio, paused rehashing. The table under them is another one. A
//! bucket is one cache line:
//!
//! ```text
//!   byte 0    1 .. 7      8 .. 63
//!   [meta]  [7 tags]  [7 slots of 8 bytes]
//! ```
//!
//! The low seven bits of `meta` say which slots are in use; the top bit says that the seventh slot
//! is no entry but the address of another bucket, where the chain goes on. A tag is the top byte of
//! an entry's hash, so that a lookup compares seven tags at once and almost never looks at an entry
//! that isn't the one: two cache misses, bucket and entry.
//!
//! Read first: [`RawDict`], the table of 8-byte payloads, for callers who keep their keys
//! elsewhere; then [`Dict`], which owns entries that know their own key, and the functions with the
//! C's names.
//!
//! Differs: a lookup takes `&self` and moves nothing, so that reading writes to no memory that a
//! forked child shares; the C does a rehashing step there. The resize policy is a field of each
//! table instead of a global. Random functions are given their source of randomness. Large arrays
//! are mapped and given back piecewise, see `sys::mem`.
#![allow(unsafe_code)] // buckets are raw memory, and a bucket's last slot is sometimes a pointer to the next one

use super::siphash::{HashSeed, siphash};
use crate::sys::alloc::zmalloc_oom;
use crate::sys::defrag::Defrag;
use crate::sys::huge::array_is_filled;
use crate::sys::mem;
use crate::util::short_eq;
use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::io::Write;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::{NonNull, copy_nonoverlapping, null_mut};

#[cfg(not(target_pointer_width = "64"))]
compile_error!("slots hold 64-bit pointers");

/// Entries to a bucket at which a table is full and doubles. With seven slots a quarter of the
/// buckets then chain.
pub const DICT_BUCKET_FILL: usize = 6;
/// Slots of the smallest table; anything above it may be worth shrinking.
pub const DICT_HT_INITIAL_SIZE: usize = DICT_BUCKET_FILL;
/// Below this percentage of used slots a table is worth shrinking.
pub const HASHTABLE_MIN_FILL: usize = 10;
/// While resizing is to be avoided, a table must be this many times too small (or too large) to be
/// resized.
const dict_force_resize_ratio: usize = 5;

/// The policy of resizing (`dict_can_resize`). While a child saves the data, each page that
/// we write to is copied, and moving entries to another table would write to all of them. Growth is
/// not ruled out then: a table with far more entries than it was made for would make each lookup
/// walk a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum dictResizeEnable {
    /// Whenever it is useful.
    DICT_RESIZE_ENABLE,
    /// Only when it is badly needed: a child shares our pages, and moving entries would copy them.
    DICT_RESIZE_AVOID,
    /// Never: we are the child.
    DICT_RESIZE_FORBID,
}

pub use dictResizeEnable::*;

const SLOTS: usize = 7;
const CHAINED: u8 = 0x80;
const PRESENT: u8 = 0x7f;
/// How many buckets a random choice draws until it takes what comes next.
const MAX_DRAWS: usize = 4096;
const NOT_REHASHING: usize = usize::MAX;
const BUCKET: usize = size_of::<Bucket>();

#[repr(C, align(64))]
struct Bucket {
    /// Bits 0 to 6: the slot holds a payload. Bit 7: slot 6 holds the address of the next bucket
    /// (then bit 6 is 0). In a chain every bucket but the last is full, and the last one is never
    /// empty.
    meta: u8,
    tags: [u8; SLOTS],
    /// Pointers, to the compiler, so that those who store pointers get them back as good as they
    /// came.
    slots: [*mut u8; SLOTS],
}

/// The address of a slot in use.
type Slot = *const *mut u8;

/// # Safety
/// `b` is a live bucket, and `i` below [`SLOTS`].
#[inline(always)]
unsafe fn slot(b: *const Bucket, i: usize) -> Slot {
    // SAFETY: the caller says that the bucket is live and that `i` is below SLOTS, so the place is
    // one of its slots. Only its address is taken: no reference is made that others could be
    // beside.
    unsafe { &raw const (*b).slots[i] }
}

/// Returns the payload in a slot.
///
/// # Safety
/// `s` is a slot of a live bucket.
#[inline(always)]
unsafe fn load(s: Slot) -> u64 {
    // SAFETY: the caller says that the bucket is live. A bucket is made of zeros, so each of its
    // slots holds a value, in use or not.
    expose(unsafe { *s })
}

#[inline(always)]
fn tag_of(hash: u64) -> u8 {
    (hash >> 56) as u8
}

/// Makes a number below `n` of a random one of 64 bits, without a division.
#[inline(always)]
fn below(random: u64, n: usize) -> usize {
    ((u128::from(random) * n as u128) >> 64) as usize
}

/// Returns what [`below`] does, and a random number that tells nothing of it.
#[inline(always)]
fn below_and_rest(random: u64, n: usize) -> (usize, u64) {
    // The fraction: as long as `n` is far from 64 bits, it is as random as the number.
    let product = u128::from(random) * n as u128;
    ((product >> 64) as usize, product as u64)
}

/// Returns a mask in which bit i tells that slot i is in use and its tag is `tag`. `word` is a
/// bucket's first eight bytes.
#[inline(always)]
fn match_tag(word: u64, tag: u8) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::*;
        // SAFETY: SSE2 is part of x86-64, and these instructions touch registers alone.
        let equal = unsafe {
            _mm_movemask_epi8(_mm_cmpeq_epi8(
                _mm_cvtsi64_si128(word as i64),
                _mm_set1_epi8(tag as i8),
            ))
        };
        (equal as u32 >> 1) & word as u32 & PRESENT as u32
    }

    #[cfg(not(target_arch = "x86_64"))]
    match_tag_portable(word, tag)
}

/// Does what [`match_tag`] does, in plain arithmetic.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn match_tag_portable(word: u64, tag: u8) -> u32 {
    const LOW7: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    // A byte of `x` is 0 where the tag is equal; `zero` has the top bit of just those bytes.
    let x = word ^ (tag as u64 * 0x0101_0101_0101_0101);
    let zero = !(((x & LOW7) + LOW7) | x | LOW7);
    // The multiplication gathers one bit per byte in the top byte.
    let bits = (zero >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    (bits as u32 >> 1) & word as u32 & PRESENT as u32
}

/// # Safety
/// `b` is a live bucket.
#[inline(always)]
unsafe fn word(b: *const Bucket) -> u64 {
    // SAFETY: the first eight bytes of a bucket are `meta` and `tags`, initialised, and aligned to
    // eight.
    u64::from_le(unsafe { b.cast::<u64>().read() })
}

/// Returns the bucket that follows `b` in its chain, or null.
///
/// # Safety
/// `b` is a live bucket of a well-formed table.
#[inline(always)]
unsafe fn next_in_chain(b: *const Bucket) -> *mut Bucket {
    // SAFETY: `b` is live; when it is chained, slot 6 is the address of a live bucket.
    unsafe { if (*b).meta & CHAINED != 0 { (*b).slots[SLOTS - 1].cast() } else { null_mut() } }
}

/// Calls `f` for each slot of a chain that is in use.
///
/// # Safety
/// `b` is null or a live bucket of a well-formed table, which `f` can't change.
#[inline(always)]
unsafe fn each(mut b: *const Bucket, mut f: impl FnMut(Slot)) {
    while !b.is_null() {
        // SAFETY: `b` is live, and present slots are initialised.
        unsafe {
            let mut m = (*b).meta & PRESENT;
            while m != 0 {
                f(slot(b, m.trailing_zeros() as usize));
                m &= m - 1;
            }
            b = next_in_chain(b);
        }
    }
}

/// Returns the number of payloads of a chain.
///
/// # Safety
/// As for [`each`].
#[inline(always)]
unsafe fn count(mut b: *const Bucket) -> usize {
    let mut n = 0;
    // SAFETY: the caller says of `b` what `each` asks for.
    unsafe {
        while !b.is_null() {
            n += ((*b).meta & PRESENT).count_ones() as usize;
            b = next_in_chain(b);
        }
    }
    n
}

/// A slot in use: its table, the first bucket of its chain, its bucket, and its index there.
struct Place {
    table: usize,
    head: *mut Bucket,
    bucket: *mut Bucket,
    index: usize,
}

impl Place {
    /// Returns the slot.
    ///
    /// # Safety
    /// The table has not changed since the place was found.
    #[inline(always)]
    unsafe fn slot(&self) -> Slot {
        // SAFETY: the caller says that the bucket is live still.
        unsafe { slot(self.bucket, self.index) }
    }
}

/// Returns the place of payload number `n` of a chain in this table.
///
/// # Safety
/// `head` is a live bucket of a well-formed table, which nobody changes, and the chain has more
/// payloads.
#[inline(always)]
unsafe fn nth(table: usize, head: *mut Bucket, mut n: usize) -> Place {
    // SAFETY: by contract the chain goes on until the payload is found.
    unsafe {
        let mut bucket = head;
        loop {
            let mut present = (*bucket).meta & PRESENT;
            let here = present.count_ones() as usize;
            if n < here {
                for _ in 0..n {
                    present &= present - 1;
                }
                return Place { table, head, bucket, index: present.trailing_zeros() as usize };
            }
            n -= here;
            bucket = next_in_chain(bucket);
        }
    }
}

/// Prefetches the cache lines that a bucket's payloads point to, taken as addresses.
///
/// # Safety
/// `b` is a live bucket.
#[inline(always)]
unsafe fn prefetch_slots(b: *const Bucket) {
    // SAFETY: `b` is live; a prefetch takes any address, so unused slots need no care beyond being
    // initialised, which they are: buckets are born zeroed.
    for p in unsafe { (*b).slots } {
        mem::prefetch(p.addr());
    }
}

#[inline(always)]
fn expose(p: *mut u8) -> u64 {
    p.expose_provenance() as u64
}

#[inline(always)]
fn pointer(payload: u64) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(payload as usize)
}

/// The position of an iteration that may be left and taken up again, see [`RawDict::next`].
#[derive(Clone, Debug)]
pub struct DictCursor {
    table: usize,
    index: usize,
    /// Position in the bucket's chain, and the slot above the next one to look at: a chain is
    /// walked from its end, so that removing the payload just returned moves none that is still to
    /// come.
    bucket: usize,
    slot: u32,
}

impl DictCursor {
    /// The start of an iteration.
    pub const START: DictCursor =
        DictCursor { table: 0, index: 0, bucket: usize::MAX, slot: SLOTS as u32 };
}

impl Default for DictCursor {
    fn default() -> Self {
        Self::START
    }
}

/// A hash table of 8-byte payloads. It knows neither keys nor hashes: each call brings the hash, a
/// test for equality, or a way to hash a payload again, in the manner of hashbrown's `HashTable`.
///
/// Payloads are plain numbers to this type, so all its methods are safe. It frees its buckets and
/// nothing else.
pub struct RawDict {
    table: [*mut Bucket; 2],
    /// Buckets less one; 0 for a table that isn't there.
    mask: [usize; 2],
    used: [usize; 2],
    chains: [usize; 2],
    /// The first bucket of table 0 that is not moved yet, or NOT_REHASHING. Those before it are
    /// empty.
    rehashidx: usize,
    pauserehash: u32,
    can_resize: dictResizeEnable,
    expand_allowed: bool,
}

// SAFETY: a RawDict owns its buckets alone, and nothing in them belongs to a thread. Payloads are
// numbers.
unsafe impl Send for RawDict {}
// SAFETY: through a shared reference buckets are only read; there is no hidden mutability.
unsafe impl Sync for RawDict {}

impl Default for RawDict {
    fn default() -> Self {
        Self::new()
    }
}

impl RawDict {
    /// Returns an empty table, without any memory yet.
    pub const fn new() -> RawDict {
        RawDict {
            table: [null_mut(); 2],
            mask: [0; 2],
            used: [0; 2],
            chains: [0; 2],
            rehashidx: NOT_REHASHING,
            pauserehash: 0,
            can_resize: DICT_RESIZE_ENABLE,
            expand_allowed: true,
        }
    }

    /// Returns the number of payloads (`dictSize`).
    #[inline]
    pub fn len(&self) -> usize {
        self.used[0] + self.used[1]
    }

    fn buckets(&self, t: usize) -> usize {
        if self.table[t].is_null() { 0 } else { self.mask[t] + 1 }
    }

    /// Returns the number of payloads that both tables are made for (`dictSlots`): six to a bucket.
    pub fn slots(&self) -> usize {
        (self.buckets(0) + self.buckets(1)) * DICT_BUCKET_FILL
    }

    /// Returns the bytes of buckets and chains.
    pub fn mem_usage(&self) -> usize {
        (self.buckets(0) + self.buckets(1) + self.chains[0] + self.chains[1]) * BUCKET
    }

    /// Tells whether there are two tables, and buckets are still to be moved from one to the other.
    #[inline]
    pub fn is_rehashing(&self) -> bool {
        self.rehashidx != NOT_REHASHING
    }

    /// Stops rehashing until [`resume_rehashing`](Self::resume_rehashing) was called as often.
    pub fn pause_rehashing(&mut self) {
        self.pauserehash += 1;
    }

    /// Takes one [`pause_rehashing`](Self::pause_rehashing) back.
    pub fn resume_rehashing(&mut self) {
        self.pauserehash = self.pauserehash.checked_sub(1).expect("rehashing was not paused");
    }

    /// Sets the resize policy (`dictSetResizeEnabled`, but for this table alone).
    pub fn set_resize_enabled(&mut self, enable: dictResizeEnable) {
        self.can_resize = enable;
    }

    /// Allows or forbids growth in [`insert`](Self::insert) (the answer of the C's
    /// `expandAllowed`).
    pub fn set_expand_allowed(&mut self, allowed: bool) {
        self.expand_allowed = allowed;
    }

    /// Returns the bytes that the next insert would ask for at once because the table is full (what
    /// `expandAllowed` is asked).
    pub fn growth_pending(&self) -> Option<usize> {
        self.should_grow().then(|| (Self::buckets_for(self.used[0] + 1)) * BUCKET)
    }

    /// Copies the settings of another table.
    pub fn inherit(&mut self, from: &RawDict) {
        (self.can_resize, self.expand_allowed) = (from.can_resize, from.expand_allowed);
    }

    // ------------------------------------------------------------------------------------------------ resizing

    /// Returns the number of buckets of a table for `n` payloads.
    fn buckets_for(n: usize) -> usize {
        n.div_ceil(DICT_BUCKET_FILL).max(1).checked_next_power_of_two().unwrap_or(usize::MAX)
    }

    /// Makes a table for `n` payloads (`dictExpand`, `dictTryExpand`): the first one, or the second
    /// one, to which rehashing then moves. `false`: nothing was done, because we are rehashing, it
    /// would be too small or of the same size, or there is no memory.
    pub fn try_expand(&mut self, n: usize) -> bool {
        if self.is_rehashing() || self.used[0] > n {
            return false;
        }
        let buckets = Self::buckets_for(n);
        if buckets > isize::MAX as usize / (2 * BUCKET) || buckets == self.buckets(0) {
            return false;
        }
        let Some(p) = mem::alloc_array(buckets * BUCKET) else { return false };
        let t = if self.table[0].is_null() { 0 } else { 1 };
        self.table[t] = p.as_ptr().cast();
        self.mask[t] = buckets - 1;
        if t == 1 {
            self.rehashidx = 0;
        } else {
            // It will be, at once: who asks for a size beforehand has the payloads.
            array_is_filled(p, buckets * BUCKET);
        }
        true
    }

    /// Shrinks the table to what its payloads need (`dictResize`). `false`: not allowed now, or
    /// nothing to gain.
    pub fn resize(&mut self) -> bool {
        if self.can_resize != DICT_RESIZE_ENABLE || self.is_rehashing() {
            return false;
        }
        self.try_expand(self.used[0].max(1))
    }

    /// Tells whether the table is worth shrinking (`htNeedsResize`).
    pub fn needs_resize(&self) -> bool {
        let slots = self.slots();
        slots > DICT_HT_INITIAL_SIZE && self.len() * 100 < slots * HASHTABLE_MIN_FILL
    }

    #[inline]
    fn should_grow(&self) -> bool {
        let fit = self.buckets(0) * DICT_BUCKET_FILL;
        !self.is_rehashing()
            && self.used[0] >= fit
            && match self.can_resize {
                DICT_RESIZE_ENABLE => true,
                DICT_RESIZE_AVOID => fit == 0 || self.used[0] / fit > dict_force_resize_ratio,
                DICT_RESIZE_FORBID => fit == 0,
            }
    }

    /// Makes a larger table when this one is full and may grow (`_dictExpandIfNeeded`).
    #[inline]
    fn expand_if_needed(&mut self) {
        // A table without buckets gets its first one, whatever the policy.
        if self.should_grow() && (self.expand_allowed || self.table[0].is_null()) {
            let grown = self.try_expand(self.used[0] + 1);
            // Without memory a full table chains on; the first bucket is another matter.
            if !grown && self.table[0].is_null() {
                zmalloc_oom(size_of::<Bucket>());
            }
        }
    }

    /// Moves up to `n` buckets to the second table (`dictRehash`). `hash` tells the hash of a
    /// payload. `true`: there is more to move.
    ///
    /// A step moves a bucket with its whole chain. But a large part of a table may be empty, and to
    /// look for the next payload through all of it would block the server; so at most ten empty
    /// buckets are visited for each one asked for, and a call may end without having moved any.
    pub fn rehash_steps(&mut self, n: usize, hash: impl Fn(u64) -> u64) -> bool {
        // SAFETY: slots come from buckets that are being moved.
        self.rehash_slots(n, |s| hash(unsafe { load(s) }))
    }

    fn rehash_slots(&mut self, mut n: usize, hash: impl Fn(Slot) -> u64) -> bool {
        if !self.may_rehash() {
            return false;
        }
        let mut empty_visits = n * 10;
        while n > 0 && self.used[0] > 0 {
            n -= 1;
            // Payloads are left, so there is a bucket with some at or after rehashidx.
            while self.bucket_is_empty(self.rehashidx) {
                self.rehashidx += 1;
                self.release_moved();
                empty_visits -= 1;
                if empty_visits == 0 {
                    return true;
                }
            }
            self.move_bucket(self.rehashidx, &hash);
            self.rehashidx += 1;
            self.release_moved();
        }
        if self.used[0] > 0 {
            return true;
        }
        // All is moved. What remains of a large array goes back a chunk at a time too.
        let bytes = self.buckets(0) * BUCKET;
        if mem::is_mapped(bytes) {
            let chunk = mem::RELEASE_CHUNK / BUCKET;
            let next = (self.rehashidx / chunk + 1) * chunk;
            if next < self.buckets(0) {
                self.rehashidx = next;
                self.release_moved();
                return true;
            }
        }
        self.free_table(0);
        for t in 0..2 {
            let other = if t == 0 {
                (self.table[1], self.mask[1], self.used[1], self.chains[1])
            } else {
                (null_mut(), 0, 0, 0)
            };
            (self.table[t], self.mask[t], self.used[t], self.chains[t]) = other;
        }
        self.rehashidx = NOT_REHASHING;
        if let Some(array) = NonNull::new(self.table[0]) {
            array_is_filled(array.cast(), self.buckets(0) * BUCKET);
        }
        false
    }

    /// Rehashes in batches of 100 buckets until `ms` milliseconds of `clock` (in milliseconds) are
    /// over or all is moved (`dictRehashMilliseconds`). Returns the number of buckets.
    pub fn rehash_milliseconds(
        &mut self,
        ms: u64,
        clock: impl FnMut() -> u64,
        hash: impl Fn(u64) -> u64,
    ) -> usize {
        // SAFETY: slots come from buckets that are being moved.
        self.rehash_ms_slots(ms, clock, |s| hash(unsafe { load(s) }))
    }

    fn rehash_ms_slots(
        &mut self,
        ms: u64,
        mut clock: impl FnMut() -> u64,
        hash: impl Fn(Slot) -> u64,
    ) -> usize {
        let start = clock();
        let mut rehashes = 0;
        while self.rehash_slots(100, &hash) {
            rehashes += 100;
            if clock().saturating_sub(start) > ms {
                break;
            }
        }
        rehashes
    }

    /// Tells whether there are two tables, and neither a pause nor the resize policy is against
    /// moving a bucket. While resizing is to be avoided, a table goes on moving only if the two
    /// differ so much in size that it is badly needed.
    fn may_rehash(&self) -> bool {
        if !self.is_rehashing() || self.pauserehash > 0 {
            return false;
        }
        let (s0, s1) = (self.buckets(0), self.buckets(1));
        match self.can_resize {
            DICT_RESIZE_ENABLE => true,
            DICT_RESIZE_AVOID => s0.max(s1) / s0.min(s1) >= dict_force_resize_ratio,
            DICT_RESIZE_FORBID => false,
        }
    }

    /// Moves one bucket, if we are rehashing and may (`_dictRehashStep`). Additions and removals
    /// call this, so that the table moves on while it is used. Not while it is paused: an iteration
    /// in its middle would miss what moves behind it, or return it twice.
    // C: lookups do a step, too.
    #[inline(always)]
    fn rehash_step(&mut self, hash: impl Fn(Slot) -> u64) {
        if self.is_rehashing() {
            self.rehash_slots(1, hash);
        }
    }

    fn bucket_is_empty(&self, i: usize) -> bool {
        assert!(i <= self.mask[0]);
        // SAFETY: table 0 has `mask + 1` live buckets.
        unsafe { (*self.table[0].add(i)).meta == 0 }
    }

    /// Moves one bucket and its chain to table 1.
    fn move_bucket(&mut self, i: usize, hash: impl Fn(Slot) -> u64) {
        assert!(i <= self.mask[0] && !self.table[1].is_null());
        // SAFETY: `i` is within table 0, table 1 is there, and `put` touches table 1 alone. A
        // payload's bit is cleared after it was put, and `hash` is called before, so that a panic
        // in `hash` leaves each payload in one place. Chain buckets are freed when they are empty
        // and unlinked: the head's meta is zeroed at the end, which is also what makes it an empty
        // bucket.
        unsafe {
            let head = self.table[0].add(i);
            // What the next step will need: its payloads, which get hashed, and the bucket after
            // it.
            if i < self.mask[0] {
                prefetch_slots(head.add(1));
                mem::prefetch(head.addr() + 2 * BUCKET);
            }
            let mut b = head;
            while !b.is_null() {
                let mut m = (*b).meta & PRESENT;
                while m != 0 {
                    let s = slot(b, m.trailing_zeros() as usize);
                    let h = hash(s);
                    self.put(1, *s, h);
                    m &= m - 1;
                    (*b).meta = ((*b).meta & CHAINED) | m;
                    self.used[0] -= 1;
                }
                b = next_in_chain(b);
            }
            let mut b = next_in_chain(head);
            (*head).meta = 0;
            while !b.is_null() {
                let next = next_in_chain(b);
                self.free_chain(0, b);
                b = next;
            }
        }
    }

    /// Gives the memory of moved buckets back, each time another chunk is complete.
    #[inline]
    fn release_moved(&mut self) {
        let (done, bytes) = (self.rehashidx * BUCKET, self.buckets(0) * BUCKET);
        if done % mem::RELEASE_CHUNK == 0 && done > 0 && done < bytes {
            let p = NonNull::new(self.table[0]).expect("rehashing").cast();
            // SAFETY: an array larger than a chunk is mapped. All buckets before rehashidx are
            // empty, for good; as zeros they stay empty. rehashidx only grows, so each chunk goes
            // once.
            unsafe { mem::release(p, bytes, done - mem::RELEASE_CHUNK) };
        }
    }

    /// Frees the array of table `t`, whose chains are freed or moved already, and resets its
    /// fields.
    fn free_table(&mut self, t: usize) {
        let Some(p) = NonNull::new(self.table[t]) else { return };
        let bytes = self.buckets(t) * BUCKET;
        // Chunks before rehashidx were released, unless it ran to the very end.
        let mut released = 0;
        if t == 0 && self.is_rehashing() && mem::is_mapped(bytes) {
            let done = (self.rehashidx * BUCKET).min(bytes - 1);
            released = done / mem::RELEASE_CHUNK * mem::RELEASE_CHUNK;
        }
        // SAFETY: the array came from alloc_array with this size, and is forgotten on the next
        // lines.
        unsafe { mem::free_array(p.cast(), bytes, released) };
        self.table[t] = null_mut();
        (self.mask[t], self.used[t], self.chains[t]) = (0, 0, 0);
    }

    /// # Safety
    /// `b` is a chain bucket of table `t` that nothing refers to any more.
    unsafe fn free_chain(&mut self, t: usize, b: *mut Bucket) {
        // SAFETY: chain buckets come from `alloc_zeroed` with this layout.
        unsafe { dealloc(b.cast(), Layout::new::<Bucket>()) };
        self.chains[t] -= 1;
    }

    // ------------------------------------------------------------------------------------------- slots and buckets

    /// Returns the bucket of table `t` for this hash; null if there is none, or it is empty because
    /// it was moved.
    #[inline(always)]
    fn head(&self, t: usize, hash: u64) -> *mut Bucket {
        let i = hash as usize & self.mask[t];
        if self.table[t].is_null() || (t == 0 && self.is_rehashing() && i < self.rehashidx) {
            return null_mut();
        }
        // SAFETY: the table has `mask + 1` buckets.
        unsafe { self.table[t].add(i) }
    }

    /// Finds (table, bucket, slot) of the payload with this hash for which `eq` says yes.
    #[inline(always)]
    fn locate(
        &self,
        hash: u64,
        mut eq: impl FnMut(Slot) -> bool,
    ) -> Option<(usize, *mut Bucket, usize)> {
        let tag = tag_of(hash);
        for t in 0..2 {
            let mut b = self.head(t, hash);
            while !b.is_null() {
                // SAFETY: `b` is live: a head, or the next of a live chained one. Matched slots are
                // in use.
                unsafe {
                    let mut m = match_tag(word(b), tag);
                    while m != 0 {
                        let i = m.trailing_zeros() as usize;
                        if eq(slot(b, i)) {
                            return Some((t, b, i));
                        }
                        m &= m - 1;
                    }
                    b = next_in_chain(b);
                }
            }
        }
        None
    }

    /// Finds a payload as [`locate`](Self::locate) does, and returns the address of its slot, valid
    /// until the table changes.
    #[inline(always)]
    fn find_slot(&self, hash: u64, eq: impl FnMut(Slot) -> bool) -> Option<NonNull<*mut u8>> {
        let (_, b, i) = self.locate(hash, eq)?;
        // SAFETY: locate returns a live bucket and a slot of it.
        NonNull::new(unsafe { &raw mut (*b).slots[i] })
    }

    /// Stores a payload in table `t`, which is there. Returns its slot.
    fn put(&mut self, t: usize, p: *mut u8, hash: u64) -> NonNull<*mut u8> {
        assert!(!self.table[t].is_null());
        // SAFETY: the index is within the table, so `b` is live, and so is each next one of a
        // chain. A free slot of a chained bucket is one of the first six: bit 6 is 0 there, but the
        // seventh slot is the chain's.
        unsafe {
            let mut b = self.table[t].add(hash as usize & self.mask[t]);
            loop {
                let m = (*b).meta;
                let free = if m & CHAINED != 0 { !m & 0x3f } else { !m & PRESENT };
                if free != 0 {
                    let i = free.trailing_zeros() as usize;
                    (*b).slots[i] = p;
                    (*b).tags[i] = tag_of(hash);
                    (*b).meta = m | 1 << i;
                    self.used[t] += 1;
                    return NonNull::new_unchecked(&raw mut (*b).slots[i]);
                }
                if m & CHAINED != 0 {
                    b = next_in_chain(b);
                    continue;
                }
                // Full. The last payload makes room for the address of another bucket, and is its
                // first.
                let c = alloc_zeroed(Layout::new::<Bucket>()).cast::<Bucket>();
                if c.is_null() {
                    handle_alloc_error(Layout::new::<Bucket>());
                }
                self.chains[t] += 1;
                (*c).slots[0] = (*b).slots[SLOTS - 1];
                (*c).tags[0] = (*b).tags[SLOTS - 1];
                (*c).meta = 1;
                (*b).slots[SLOTS - 1] = c.cast();
                (*b).meta = (m & 0x3f) | CHAINED;
                b = c;
            }
        }
    }

    /// Takes slot `i` of bucket `b`, in the chain that starts with `head`, out of table `t`.
    ///
    /// # Safety
    /// The three are live and belong together, and the slot is in use.
    unsafe fn take_out(
        &mut self,
        t: usize,
        head: *mut Bucket,
        b: *mut Bucket,
        i: usize,
    ) -> *mut u8 {
        self.used[t] -= 1;
        // SAFETY: the caller says that head, bucket and slot are live and of one chain, and a
        // chain's next is live until it is freed here, after it was unlinked.
        unsafe {
            let p = (*b).slots[i];
            // The chain's last payload fills the gap, so that only its last bucket has gaps.
            let (mut parent, mut last) = (null_mut::<Bucket>(), head);
            while (*last).meta & CHAINED != 0 {
                parent = last;
                last = next_in_chain(last);
            }
            if parent.is_null() {
                (*b).meta &= !(1 << i);
                return p;
            }
            let j = ((*last).meta & PRESENT).ilog2() as usize;
            (*b).slots[i] = (*last).slots[j];
            (*b).tags[i] = (*last).tags[j];
            (*last).meta &= !(1 << j);
            if (*last).meta == 0 {
                (*parent).meta &= !CHAINED;
                self.free_chain(t, last);
            }
            p
        }
    }

    fn insert_pointer(
        &mut self,
        hash: u64,
        p: *mut u8,
        rehash: impl Fn(Slot) -> u64,
    ) -> NonNull<*mut u8> {
        self.rehash_step(rehash);
        self.expand_if_needed();
        self.put(self.is_rehashing() as usize, p, hash)
    }

    fn remove_pointer(
        &mut self,
        hash: u64,
        eq: impl FnMut(Slot) -> bool,
        rehash: impl Fn(Slot) -> u64,
    ) -> Option<*mut u8> {
        if self.len() == 0 {
            return None;
        }
        self.rehash_step(rehash);
        let (t, b, i) = self.locate(hash, eq)?;
        // SAFETY: locate found a used slot in the chain of this hash in table `t`.
        Some(unsafe { self.take_out(t, self.head(t, hash), b, i) })
    }

    // ------------------------------------------------------------------------------------------------- the table

    /// Returns the payload with this hash for which `eq` says yes.
    #[inline(always)]
    pub fn find(&self, hash: u64, mut eq: impl FnMut(u64) -> bool) -> Option<u64> {
        // SAFETY: find_slot passes used slots, and returns one.
        unsafe { Some(load(self.find_slot(hash, |s| eq(load(s)))?.as_ptr())) }
    }

    /// Adds a payload, whether or not an equal one is there: that's the caller's to know. Grows the
    /// table when it is full and that is allowed, and moves a bucket when rehashing; `rehash` tells
    /// the hash of a payload.
    #[inline]
    pub fn insert(&mut self, hash: u64, payload: u64, rehash: impl Fn(u64) -> u64) {
        // SAFETY: slots come from buckets that are being moved.
        self.insert_pointer(hash, pointer(payload), |s| rehash(unsafe { load(s) }));
    }

    /// Removes and returns the payload with this hash for which `eq` says yes; moves a bucket when
    /// rehashing.
    #[inline]
    pub fn remove(
        &mut self,
        hash: u64,
        mut eq: impl FnMut(u64) -> bool,
        rehash: impl Fn(u64) -> u64,
    ) -> Option<u64> {
        // SAFETY: slots come from buckets that are searched or moved.
        unsafe { self.remove_pointer(hash, |s| eq(load(s)), |s| rehash(load(s))).map(expose) }
    }

    /// Puts `payload` in the place of the one with this hash for which `eq` says yes, and returns
    /// that one. The new payload must have the same hash.
    #[inline]
    pub fn replace(
        &mut self,
        hash: u64,
        mut eq: impl FnMut(u64) -> bool,
        payload: u64,
    ) -> Option<u64> {
        // SAFETY: find_slot passes used slots, and returns one; we hold the table exclusively.
        unsafe {
            Some(expose(self.find_slot(hash, |s| eq(load(s)))?.as_ptr().replace(pointer(payload))))
        }
    }

    /// Forgets all payloads and frees all memory (`dictEmpty`). `callback` is called once every
    /// 65536 buckets.
    pub fn clear(&mut self, mut callback: impl FnMut()) {
        for t in 0..2 {
            // Chains have to be looked for only if there are any.
            let mut i = 0;
            while i < self.buckets(t) && self.chains[t] > 0 {
                if i & 65535 == 0 {
                    callback();
                }
                // SAFETY: `i` is within the table; the chain is unlinked before its buckets are
                // freed.
                unsafe {
                    let head = self.table[t].add(i);
                    let mut b = next_in_chain(head);
                    (*head).meta = 0;
                    while !b.is_null() {
                        let next = next_in_chain(b);
                        self.free_chain(t, b);
                        b = next;
                    }
                }
                i += 1;
            }
            self.free_table(t);
        }
        self.rehashidx = NOT_REHASHING;
        self.pauserehash = 0;
    }

    /// Prefetches the buckets of a hash: the first of three stages that hide the memory's
    /// latency.
    #[inline(always)]
    pub fn prefetch_bucket(&self, hash: u64) {
        mem::prefetch(self.table[0].addr() + (hash as usize & self.mask[0]) * BUCKET);
        if self.is_rehashing() {
            mem::prefetch(self.table[1].addr() + (hash as usize & self.mask[1]) * BUCKET);
        }
    }

    /// Prefetches what the payloads that match a hash point to, taken as addresses: the second
    /// stage.
    #[inline(always)]
    pub fn prefetch_payload(&self, hash: u64) {
        self.candidates(hash, |p| {
            mem::prefetch(p as usize);
            mem::prefetch(p as usize + 32);
        });
    }

    /// Returns the first payload whose tag fits the hash in the first bucket of either table, and
    /// asks for what the second one points to, taken as an address. Where there is none it asks for
    /// the next bucket of the chain.
    #[inline(always)]
    pub fn candidate(&self, hash: u64) -> Option<u64> {
        for t in 0..2 {
            let b = self.head(t, hash);
            if !b.is_null() {
                // SAFETY: a head is a live bucket, and matched slots are in use.
                unsafe {
                    let m = match_tag(word(b), tag_of(hash));
                    if m != 0 {
                        let others = m & (m - 1);
                        if others != 0 {
                            mem::prefetch(load(slot(b, others.trailing_zeros() as usize)) as usize);
                        }
                        return Some(load(slot(b, m.trailing_zeros() as usize)));
                    }
                    mem::prefetch(next_in_chain(b).addr());
                }
            }
        }
        None
    }

    /// Returns the first payload whose tag fits the hash in the second bucket of a chain, for which
    /// [`candidate`](Self::candidate) has asked.
    #[inline]
    pub fn chained_candidate(&self, hash: u64) -> Option<u64> {
        for t in 0..2 {
            let b = self.head(t, hash);
            if !b.is_null() {
                // SAFETY: a head is a live bucket, and so is the next one of a chain; matched slots
                // are in use.
                unsafe {
                    let b = next_in_chain(b);
                    if !b.is_null() {
                        let m = match_tag(word(b), tag_of(hash));
                        if m != 0 {
                            return Some(load(slot(b, m.trailing_zeros() as usize)));
                        }
                    }
                }
            }
        }
        None
    }

    /// Calls `f` for the first two payloads whose tag fits the hash, in the first bucket of each
    /// table, and asks for the next bucket of the chain if there is one.
    #[inline(always)]
    pub fn candidates(&self, hash: u64, mut f: impl FnMut(u64)) {
        for t in 0..2 {
            let b = self.head(t, hash);
            if b.is_null() {
                continue;
            }
            // SAFETY: a head is a live bucket, and matched slots are in use.
            unsafe {
                let mut m = match_tag(word(b), tag_of(hash));
                for _ in 0..2 {
                    if m != 0 {
                        f(load(slot(b, m.trailing_zeros() as usize)));
                        m &= m - 1;
                    }
                }
                mem::prefetch(next_in_chain(b).addr());
            }
        }
    }

    // ------------------------------------------------------------------------------- scanning, iterating, sampling

    /// Calls `f` for the payloads of the buckets at cursor `v`, and returns the next cursor; 0 is
    /// the first and the last one (`dictScan`).
    ///
    /// A payload that is in the table from the first call to the last is returned at least once,
    /// whatever the table does in between. Some may be returned more than once, and a call returns
    /// several: all of a bucket. No state is kept between calls.
    ///
    /// # Why nothing is missed
    ///
    /// A payload's bucket is the low bits of its hash, as many as the table's size has. The cursor
    /// counts with its bits reversed: the carry goes from the highest bit of the mask downwards.
    /// With 8 buckets it is 000, 100, 010, 110, 001, 101, 011, 111.
    ///
    /// *The table grows*, from 8 to 32 buckets say, when the cursor is 110. What was in bucket 110
    /// can only go to the buckets 00110, 01110, 10110 and 11110. Read backwards, these four numbers
    /// are neighbours: they start with 011. So the four parts of a bucket that was visited are all
    /// behind the cursor, and those of a bucket that was not are all before it. The scan goes on in
    /// the larger table as if it had been there from the start.
    ///
    /// *The table shrinks*, from 8 to 4 buckets. Buckets 010 and 110 become 10, and again are
    /// neighbours in the reversed order. If both were visited, 10 is behind the cursor. If only 010
    /// was, the cursor 110 means bucket 10 now, which is visited whole: what was in 010 is returned
    /// a second time, and nothing is missed.
    ///
    /// *There are two tables*, while rehashing. The bucket of the smaller one is visited, and with
    /// it all buckets of the larger one that end in the same bits. A payload is in one or the other
    /// of these, wherever rehashing has come, so that the pair is as good as the smaller table
    /// alone.
    ///
    /// An ordinary counter would have no such order: after a growth, the parts of visited buckets
    /// lie all over the table, and the scan would have to start again.
    pub fn scan(&self, v: u64, mut f: impl FnMut(u64)) -> u64 {
        // SAFETY: scan_slots passes used slots.
        self.scan_slots(v, |s| f(unsafe { load(s) }))
    }

    #[inline(always)]
    fn scan_slots(&self, v: u64, mut f: impl FnMut(Slot)) -> u64 {
        // SAFETY: buckets of a table are live, and `f` can't reach the table: it is borrowed.
        self.scan_buckets(v, |b| unsafe { each(b, &mut f) })
    }

    /// Calls `f` for the first buckets of the chains at cursor `v`, as [`scan`](Self::scan) does for
    /// their payloads.
    fn scan_buckets(&self, mut v: u64, mut f: impl FnMut(*mut Bucket)) -> u64 {
        if self.len() == 0 {
            return 0;
        }
        // ANCHOR: advance
        /// Adds 1 to the cursor read backwards. The bits above the mask are set first, so that the
        /// carry passes them and comes to the highest bit of the mask; when all are set it
        /// overflows to 0, the end.
        fn advance(v: u64, mask: u64) -> u64 {
            (v | !mask).reverse_bits().wrapping_add(1).reverse_bits()
        }
        // ANCHOR_END: advance
        let mut emit = |t: usize, v: u64| {
            // SAFETY: the index is within the table.
            f(unsafe { self.table[t].add(v as usize & self.mask[t]) })
        };
        if !self.is_rehashing() {
            emit(0, v);
            return advance(v, self.mask[0] as u64);
        }
        // The bucket of the smaller table, then all those of the larger one that it expands to.
        let (small, large) = if self.mask[0] <= self.mask[1] { (0, 1) } else { (1, 0) };
        let (m0, m1) = (self.mask[small] as u64, self.mask[large] as u64);
        emit(small, v);
        loop {
            emit(large, v);
            v = advance(v, m1);
            if v & (m0 ^ m1) == 0 {
                return v;
            }
        }
    }

    /// Moves the arrays of the tables where that is worth it (`dictDefragTables`). Mapped ones stay:
    /// they share their pages with nobody.
    pub fn defrag_tables(&mut self, moves: &mut Defrag) {
        for t in 0..2 {
            let layout = mem::array_layout(self.buckets(t) * BUCKET);
            if let (Some(p), Some(layout)) = (NonNull::new(self.table[t]), layout) {
                // SAFETY: an array that is not mapped was allocated with this layout, and the only
                // pointer to it is replaced.
                if let Some(p) = unsafe { moves.activeDefragAlloc(p.cast(), layout) } {
                    self.table[t] = p.cast().as_ptr();
                }
            }
        }
    }

    /// Moves the buckets that are chained at cursor `v` where that is worth it, then calls `f` for
    /// the payloads there, and returns the next cursor: as [`scan`](Self::scan).
    pub fn defrag_scan(
        &mut self,
        v: u64,
        moves: &mut Defrag,
        mut f: impl FnMut(u64, &mut Defrag),
    ) -> u64 {
        // SAFETY: defrag_slots passes used slots.
        self.defrag_slots(v, moves, |s, moves| f(unsafe { load(s) }, moves))
    }

    /// Does what [`defrag_scan`](Self::defrag_scan) does, with slots, in which `f` may put another
    /// payload of the same hash.
    fn defrag_slots(
        &mut self,
        v: u64,
        moves: &mut Defrag,
        mut f: impl FnMut(*mut *mut u8, &mut Defrag),
    ) -> u64 {
        self.scan_buckets(v, |head| {
            // SAFETY: the bucket is live, and the table is borrowed exclusively; `f` can't reach it,
            // and gets slots in use. `each` has read which slots these are before it calls `f`.
            unsafe {
                defragDictBucketCallback(head, moves);
                each(head, |s| f(s.cast_mut(), moves));
            }
        })
    }

    /// Moves the buckets that are chained at cursor `v` where that is worth it.
    pub fn defrag_buckets(&mut self, v: u64, moves: &mut Defrag) {
        // SAFETY: the buckets are live, and the table is borrowed exclusively.
        self.scan_buckets(v, |head| unsafe { defragDictBucketCallback(head, moves) });
    }

    /// Tells whether a scan of a larger table is, at its cursor `v`, where it comes by a bucket of
    /// this one for the first time. (The cursor counts its highest bits first.)
    pub fn is_first_visit(&self, v: u64) -> bool {
        let both = if self.is_rehashing() { self.mask[0].min(self.mask[1]) } else { self.mask[0] };
        v & !(both as u64) == 0
    }

    /// Returns all payloads, in the order of memory, prefetching ahead.
    pub fn iter(&self) -> RawIter<'_> {
        RawIter {
            dict: self,
            table: 0,
            index: if self.is_rehashing() { self.rehashidx } else { 0 },
            bucket: null_mut(),
            present: 0,
        }
    }

    /// Returns the next payload of an iteration that may be interrupted by changes; `None` at its
    /// end.
    ///
    /// If rehashing is paused from its start to its end, then all that is there throughout is
    /// returned once, as long as the only payload removed in between is the one returned last
    /// (`dictGetSafeIterator`). Added payloads may or may not be returned. Where these conditions
    /// aren't kept some may be missed or repeated; nothing worse.
    ///
    /// C: an unsafe iterator takes a fingerprint of the table at its start, and compares it at its
    /// end, to find out that somebody changed the table meanwhile. Here [`iter`](Self::iter)
    /// borrows the table, and such a change does not compile.
    pub fn next(&self, c: &mut DictCursor) -> Option<u64> {
        // SAFETY: next_slot returns a used slot.
        self.next_slot(c).map(|s| unsafe { load(s) })
    }

    fn next_slot(&self, c: &mut DictCursor) -> Option<Slot> {
        loop {
            if c.table == 0 && self.is_rehashing() {
                c.index = c.index.max(self.rehashidx);
            }
            if c.index >= self.buckets(c.table) {
                if c.table == 0 && self.is_rehashing() {
                    *c = DictCursor { table: 1, ..DictCursor::START };
                    continue;
                }
                return None;
            }
            // SAFETY: the index is within the table; a next of a live chained bucket is live.
            unsafe {
                let mut b = self.table[c.table].add(c.index);
                let mut k = 0;
                while k < c.bucket && (*b).meta & CHAINED != 0 {
                    b = next_in_chain(b);
                    k += 1;
                }
                // A fresh bucket, or the chain has lost its end: go on at what is its end now.
                if k < c.bucket {
                    (c.bucket, c.slot) = (k, SLOTS as u32);
                }
                let m = (*b).meta & PRESENT & ((1u32 << c.slot) - 1) as u8;
                if m != 0 {
                    c.slot = m.ilog2();
                    return Some(slot(b, c.slot as usize));
                }
            }
            if c.bucket > 0 {
                (c.bucket, c.slot) = (c.bucket - 1, SLOTS as u32);
            } else {
                *c = DictCursor { table: c.table, index: c.index + 1, ..DictCursor::START };
            }
        }
    }

    /// Returns a random bucket that may have payloads, any with the same chance, its table, and
    /// another random number.
    fn random_head(&self, rng: &mut impl FnMut() -> u64) -> (usize, *mut Bucket, u64) {
        let first = if self.is_rehashing() { self.rehashidx.min(self.mask[0]) } else { 0 };
        let n = self.buckets(0) + self.buckets(1) - first;
        let (i, rest) = below_and_rest(rng(), n);
        let (t, head) = self.bucket_at(first + i);
        (t, head, rest)
    }

    /// Returns bucket `i` of both tables, counted through table 0 and then table 1, and its table.
    #[inline(always)]
    fn bucket_at(&self, i: usize) -> (usize, *mut Bucket) {
        assert!(i < self.buckets(0) + self.buckets(1));
        // SAFETY: `i` is within table 0, or within table 1.
        unsafe {
            if i <= self.mask[0] {
                (0, self.table[0].add(i))
            } else {
                (1, self.table[1].add(i - self.mask[0] - 1))
            }
        }
    }

    /// Draws random buckets, `AT_ONCE` of them before it looks at the first, and accepts each with a
    /// probability of its number of payloads to `limit`. Payloads of buckets with at most `limit` of
    /// them have exactly the same chance.
    ///
    /// To take a random bucket and a random payload of it would not be fair: who is alone in a
    /// bucket would come up more often than who shares one. C: `dictGetFairRandomKey` makes that
    /// better by choosing among the payloads of some neighbouring buckets.
    #[inline(always)]
    fn random_of<const AT_ONCE: usize>(
        &self,
        limit: usize,
        rng: &mut impl FnMut() -> u64,
    ) -> Option<Place> {
        if self.len() == 0 {
            return None;
        }
        for _ in 0..MAX_DRAWS / AT_ONCE {
            let heads = [(); AT_ONCE].map(|()| {
                let (t, head, rest) = self.random_head(rng);
                mem::prefetch(head.addr());
                (t, head, rest)
            });
            for (t, head, rest) in heads {
                // SAFETY: heads are live buckets, and `count` looks at a chain that nobody changes.
                let n = unsafe { count(head) };
                let r = below(rest, n.max(limit));
                if r < n {
                    // SAFETY: the chain has more than `r` payloads.
                    return Some(unsafe { nth(t, head, r) });
                }
            }
        }
        self.next_of_any(rng)
    }

    /// Does what [`random_of`](Self::random_of) does in a table that is nearly empty, as after a
    /// mass deletion while a child keeps us from shrinking: takes what comes next.
    #[cold]
    fn next_of_any(&self, rng: &mut impl FnMut() -> u64) -> Option<Place> {
        let start = below(rng(), self.buckets(0) + self.buckets(1));
        let at = |i: usize| self.bucket_at(i % (self.buckets(0) + self.buckets(1)));
        // SAFETY: heads are live buckets, one of which is not empty, and nobody changes them.
        unsafe {
            let (t, head) = (start..).map(at).find(|&(_, head)| (*head).meta != 0)?;
            let n = count(head);
            Some(nth(t, head, below(rng(), n)))
        }
    }

    /// Returns a random payload's place, each with the same chance but for those in the longest of
    /// chains. The limit is what hardly any bucket has: with `m` payloads on average, which are
    /// spread as by Poisson, not one bucket in a hundred thousand has more than `7 + 2 m`.
    #[inline(always)]
    fn fair_random_place(&self, rng: &mut impl FnMut() -> u64) -> Option<Place> {
        let buckets = self.buckets(0) + self.buckets(1);
        let mut limit = 4 * SLOTS;
        if !self.is_rehashing() {
            // `buckets` is a power of two.
            limit = SLOTS + ((self.len() * 2) >> buckets.max(1).ilog2());
        }
        // From every third to every tenth is accepted, so some are asked for at once.
        self.random_of::<6>(limit, rng)
    }

    /// Returns a random payload (`dictGetRandomKey`), `None` if there is none. Payloads in chained
    /// buckets come up a little less often.
    pub fn random(&self, mut rng: impl FnMut() -> u64) -> Option<u64> {
        // Most buckets are accepted. SAFETY: random_of returns a used slot.
        self.random_of::<2>(SLOTS, &mut rng).map(|place| unsafe { load(place.slot()) })
    }

    /// Returns a random payload, each with the same chance (`dictGetFairRandomKey`).
    pub fn fair_random(&self, mut rng: impl FnMut() -> u64) -> Option<u64> {
        // SAFETY: fair_random_place returns a used slot.
        self.fair_random_place(&mut rng).map(|place| unsafe { load(place.slot()) })
    }

    /// Calls `f` for up to `count` payloads that lie together somewhere at random
    /// (`dictGetSomeKeys`), and returns how many.
    ///
    /// It may find fewer: the table has fewer, or too few are found in ten steps for each that was
    /// asked for. It may repeat some. It is meant for samples, as eviction and active expiration
    /// take them, where neighbours are as good as any; for these it is much faster than as many
    /// random payloads. It is not meant for a fair choice.
    pub fn get_some(
        &self,
        count: usize,
        rng: impl FnMut() -> u64,
        mut f: impl FnMut(u64),
    ) -> usize {
        // SAFETY: get_some_slots passes used slots.
        self.get_some_slots(count, rng, |s| f(unsafe { load(s) }))
    }

    fn get_some_slots(
        &self,
        count: usize,
        mut rng: impl FnMut() -> u64,
        mut f: impl FnMut(Slot),
    ) -> usize {
        let count = count.min(self.len());
        let mut maxsteps = count * 10;
        let tables = 1 + self.is_rehashing() as usize;
        let maxsizemask = self.mask[0].max(self.mask[1]);
        let mut i = rng() as usize & maxsizemask;
        let mut emptylen = 0;
        let mut stored = 0;
        while stored < count && maxsteps > 0 {
            maxsteps -= 1;
            for t in 0..tables {
                // Table 0 is empty up to rehashidx. When we shrink, there may be nothing in table 1
                // there either.
                if tables == 2 && t == 0 && i < self.rehashidx {
                    if i < self.buckets(1) {
                        continue;
                    }
                    i = self.rehashidx;
                }
                if i >= self.buckets(t) {
                    continue;
                }
                // SAFETY: `i` is within table `t`, which `f` can't reach.
                unsafe {
                    let b = self.table[t].add(i);
                    if (*b).meta == 0 {
                        // Don't walk through many empty buckets: after a while, look elsewhere.
                        emptylen += 1;
                        if emptylen >= 5 && emptylen > count {
                            i = rng() as usize & maxsizemask;
                            emptylen = 0;
                        }
                        continue;
                    }
                    emptylen = 0;
                    each(b, |s| {
                        if stored < count {
                            f(s);
                            stored += 1;
                        }
                    });
                }
                if stored == count {
                    return stored;
                }
            }
            i = (i + 1) & maxsizemask;
        }
        stored
    }

    /// Returns the text of DEBUG HTSTATS (`dictGetStats`): what the C calls a slot is a bucket
    /// here, and a chain all that is in it.
    pub fn stats(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.stats_of(0, &mut out);
        if self.is_rehashing() {
            self.stats_of(1, &mut out);
        }
        out
    }

    fn stats_of(&self, t: usize, out: &mut Vec<u8>) {
        const VECTLEN: usize = 50;
        let name = if t == 0 { "main hash table" } else { "rehashing target" };
        // Writing to a Vec can't fail.
        let mut put = |a: fmt::Arguments| _ = out.write_fmt(a);
        put(format_args!("Hash table {t} stats ({name}):\n"));
        if self.used[t] == 0 {
            return put(format_args!("No stats available for empty dictionaries\n"));
        }
        let mut clvector = [0usize; VECTLEN];
        let (mut slots, mut maxchainlen, mut totchainlen) = (0, 0, 0);
        for i in 0..self.buckets(t) {
            // SAFETY: `i` is within the table.
            let n = unsafe { count(self.table[t].add(i)) };
            clvector[n.min(VECTLEN - 1)] += 1;
            slots += (n > 0) as usize;
            maxchainlen = maxchainlen.max(n);
            totchainlen += n;
        }
        put(format_args!(
            " table size: {}\n number of elements: {}\n",
            self.buckets(t),
            self.used[t]
        ));
        put(format_args!(" different slots: {slots}\n max chain length: {maxchainlen}\n"));
        put(format_args!(
            " avg chain length (counted): {:.2}\n",
            totchainlen as f32 / slots as f32
        ));
        put(format_args!(
            " avg chain length (computed): {:.2}\n",
            self.used[t] as f32 / slots as f32
        ));
        put(format_args!(" Chain length distribution:\n"));
        // As in the C, the last element, which would be ">= 49", is never shown.
        for (i, n) in clvector.iter().enumerate().take(VECTLEN - 1).filter(|(_, n)| **n != 0) {
            put(format_args!("   {i}: {n} ({:.2}%)\n", *n as f32 / self.buckets(t) as f32 * 100.0));
        }
    }
}

impl Drop for RawDict {
    fn drop(&mut self) {
        self.clear(|| ());
    }
}

/// The iterator of [`RawDict::iter`].
pub struct RawIter<'a> {
    dict: &'a RawDict,
    table: usize,
    /// The bucket after the one we are in.
    index: usize,
    bucket: *const Bucket,
    present: u8,
}

impl RawIter<'_> {
    /// Returns the bucket that comes up after `ahead` others, or null.
    #[inline(always)]
    fn upcoming(&self, ahead: usize) -> *const Bucket {
        let i = self.index + ahead;
        if i >= self.dict.buckets(self.table) {
            return null_mut();
        }
        // SAFETY: `i` is within the table.
        unsafe { self.dict.table[self.table].add(i) }
    }

    /// Returns the next payload, with `near` called for payloads that come up soon and were
    /// prefetched already.
    #[inline(always)]
    pub fn next_near(&mut self, near: impl FnMut(u64)) -> Option<u64> {
        // SAFETY: next_slot returns a used slot.
        self.next_slot(near).map(|s| unsafe { load(s) })
    }

    #[inline(always)]
    fn next_slot(&mut self, mut near: impl FnMut(u64)) -> Option<Slot> {
        loop {
            if self.present != 0 {
                let i = self.present.trailing_zeros() as usize;
                self.present &= self.present - 1;
                // SAFETY: `bucket` is live, and bits of `present` are used slots of it.
                return Some(unsafe { slot(self.bucket, i) });
            }
            // SAFETY: `bucket` is null or live; so is what `upcoming` returns.
            unsafe {
                if !self.bucket.is_null() {
                    self.bucket = next_in_chain(self.bucket);
                }
                if self.bucket.is_null() {
                    if self.index >= self.dict.buckets(self.table) {
                        if self.table == 1 || !self.dict.is_rehashing() {
                            return None;
                        }
                        (self.table, self.index) = (1, 0);
                        continue;
                    }
                    self.bucket = self.dict.table[self.table].add(self.index);
                    let ahead = self.upcoming(2);
                    if !ahead.is_null() {
                        prefetch_slots(ahead);
                        mem::prefetch(next_in_chain(ahead).addr());
                    }
                    let ahead = self.upcoming(1);
                    if !ahead.is_null() {
                        let mut m = (*ahead).meta & PRESENT;
                        while m != 0 {
                            near(load(slot(ahead, m.trailing_zeros() as usize)));
                            m &= m - 1;
                        }
                    }
                    self.index += 1;
                }
                self.present = (*self.bucket).meta & PRESENT;
            }
        }
    }
}

impl Iterator for RawIter<'_> {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        self.next_near(|_| ())
    }
}

// =====================================================================================================
// typed tables

/// An entry of a [`Dict`]: an owning thin pointer to something that has its key in it.
///
/// # Safety
/// The type is as large and aligned as a pointer, and `key` returns the same bytes for as long as
/// nobody gets an exclusive reference to the entry; what changes through one leaves the key alone.
pub unsafe trait DictEntry: Sized {
    /// Returns the key.
    fn key(&self) -> &[u8];

    /// Returns the bytes that the entry takes up beside its slot.
    fn alloc_size(&self) -> usize;
}

/// A boxed thing with a key is an entry, for tables whose values are structures.
pub trait Keyed {
    /// Returns the key. It must stay the same while the thing is in a table.
    fn key(&self) -> &[u8];
}

// SAFETY: a Box of a sized type is one pointer, and `Keyed` asks for a steady key. Should an
// implementation break that, lookups fail; nothing here relies on it for memory.
unsafe impl<T: Keyed> DictEntry for Box<T> {
    fn key(&self) -> &[u8] {
        Keyed::key(&**self)
    }

    fn alloc_size(&self) -> usize {
        mem::size_class(size_of::<T>())
    }
}

/// A hash table that owns entries which know their own key (`dict`).
pub struct Dict<E: DictEntry> {
    raw: RawDict,
    seed: HashSeed,
    entries: PhantomData<E>,
}

#[inline(always)]
fn into_slot<E: DictEntry>(e: E) -> *mut u8 {
    const { assert!(size_of::<E>() == size_of::<*mut u8>() && align_of::<E>() == align_of::<*mut u8>()) };
    let e = ManuallyDrop::new(e);
    // SAFETY: an entry is as large as a pointer, as the assertion says, and is one, as the trait
    // asks; `e` is not dropped, so that ownership goes with the pointer.
    unsafe { std::mem::transmute_copy::<ManuallyDrop<E>, *mut u8>(&e) }
}

/// # Safety
/// `p` came from `into_slot::<E>`, and this is the one time that it is turned back.
#[inline(always)]
unsafe fn from_slot<E: DictEntry>(p: *mut u8) -> E {
    // SAFETY: `p` has all the bits of an entry that `into_slot` took apart and did not drop, and
    // the caller says that nobody makes a second entry of it.
    unsafe { std::mem::transmute_copy::<*mut u8, E>(&p) }
}

impl<E: DictEntry> Dict<E> {
    /// Returns an empty table whose keys are hashed with `seed`.
    pub const fn with_seed(seed: HashSeed) -> Dict<E> {
        Dict { raw: RawDict::new(), seed, entries: PhantomData }
    }

    /// Returns the table underneath, to read, or to be told how to resize.
    pub fn raw(&self) -> &RawDict {
        &self.raw
    }

    /// Sets the resize policy of this table.
    pub fn set_resize_enabled(&mut self, enable: dictResizeEnable) {
        self.raw.set_resize_enabled(enable);
    }

    /// Returns the entry in a slot.
    ///
    /// # Safety
    /// The slot is in use in a table of this type, and that stays so for `'a`.
    #[inline(always)]
    unsafe fn at<'a>(s: Slot) -> &'a E {
        // SAFETY: slots in use hold entries, stored by into_slot, and an entry is as large and
        // aligned as a slot.
        unsafe { &*s.cast::<E>() }
    }

    /// Returns the function by which RawDict learns the hash of an entry that it moves.
    #[inline(always)]
    fn rehash(seed: HashSeed) -> impl Fn(Slot) -> u64 {
        // SAFETY: RawDict calls it with used slots of our table.
        move |s| siphash(unsafe { Self::at(s) }.key(), &seed)
    }

    #[inline(always)]
    fn slot_of(&self, key: &[u8], hash: u64) -> Option<NonNull<*mut u8>> {
        // SAFETY: RawDict calls with used slots of our table.
        self.raw.find_slot(hash, |s| short_eq(unsafe { Self::at(s) }.key(), key))
    }

    /// Returns all entries.
    pub fn iter(&self) -> DictIter<'_, E> {
        DictIter { raw: self.raw.iter(), entries: PhantomData }
    }
}

impl<E: DictEntry> Default for Dict<E> {
    /// Returns an empty table with a seed of its own.
    fn default() -> Self {
        Dict::with_seed(HashSeed::random())
    }
}

impl<E: DictEntry> Drop for Dict<E> {
    fn drop(&mut self) {
        dictEmpty(self, || ());
    }
}

// SAFETY: a Dict owns its entries and buckets alone, so it may go where its entries may go.
unsafe impl<E: DictEntry + Send> Send for Dict<E> {}
// SAFETY: shared references to a Dict give out shared references to entries, and nothing else.
unsafe impl<E: DictEntry + Sync> Sync for Dict<E> {}

/// The iterator of [`Dict::iter`], which lends each entry in turn.
pub struct DictIter<'a, E: DictEntry> {
    raw: RawIter<'a>,
    entries: PhantomData<&'a E>,
}

impl<'a, E: DictEntry> Iterator for DictIter<'a, E> {
    type Item = &'a E;

    #[inline]
    fn next(&mut self) -> Option<&'a E> {
        // SAFETY: the slot is in use in a table of this type that is borrowed for 'a.
        self.raw.next_slot(|_| ()).map(|s| unsafe { Dict::at(s) })
    }
}

/// Returns the number of entries.
#[inline]
pub fn dictSize<E: DictEntry>(d: &Dict<E>) -> usize {
    d.raw.len()
}

/// Returns the number of entries that the table is made for.
pub fn dictSlots<E: DictEntry>(d: &Dict<E>) -> usize {
    d.raw.slots()
}

/// Tells whether the table is rehashing, between two tables.
pub fn dictIsRehashing<E: DictEntry>(d: &Dict<E>) -> bool {
    d.raw.is_rehashing()
}

/// Stops rehashing until resumed as often.
pub fn dictPauseRehashing<E: DictEntry>(d: &mut Dict<E>) {
    d.raw.pause_rehashing();
}

/// Takes one pause back.
pub fn dictResumeRehashing<E: DictEntry>(d: &mut Dict<E>) {
    d.raw.resume_rehashing();
}

/// Shrinks the table to what its entries need. `false`: not allowed now, or nothing to gain.
pub fn dictResize<E: DictEntry>(d: &mut Dict<E>) -> bool {
    d.raw.resize()
}

/// Tells whether the table is so empty that it is worth shrinking.
pub fn htNeedsResize<E: DictEntry>(d: &Dict<E>) -> bool {
    d.raw.needs_resize()
}

/// Makes room for `size` entries. `false`: nothing was done, see [`RawDict::try_expand`].
pub fn dictExpand<E: DictEntry>(d: &mut Dict<E>, size: usize) -> bool {
    d.raw.try_expand(size)
}

/// Moves `n` buckets. `true`: there is more to move.
pub fn dictRehash<E: DictEntry>(d: &mut Dict<E>, n: usize) -> bool {
    d.raw.rehash_slots(n, Dict::<E>::rehash(d.seed))
}

/// Rehashes for `ms` milliseconds of `clock`; returns the number of buckets.
pub fn dictRehashMilliseconds<E: DictEntry>(
    d: &mut Dict<E>,
    ms: u64,
    clock: impl FnMut() -> u64,
) -> usize {
    d.raw.rehash_ms_slots(ms, clock, Dict::<E>::rehash(d.seed))
}

/// Adds an entry; gives it back if there is one with its key.
pub fn dictAdd<E: DictEntry>(d: &mut Dict<E>, e: E) -> Result<(), E> {
    let hash = dictGetHash(d, e.key());
    if d.slot_of(e.key(), hash).is_some() {
        return Err(e);
    }
    d.raw.insert_pointer(hash, into_slot(e), Dict::<E>::rehash(d.seed));
    Ok(())
}

/// Entries on their way into a table, with their hashes. To add one is to wait for its bucket to
/// come from memory; while some wait here their buckets come together.
// C: there is no such thing.
#[derive(Debug)]
pub struct DictBatch<E>(Vec<(u64, E)>);

/// The number of buckets that are prefetched at a time: about as many as a core fetches side by
/// side.
pub const DICT_BATCH: usize = 16;

impl<E> Default for DictBatch<E> {
    fn default() -> Self {
        DictBatch(Vec::new())
    }
}

/// Adds an entry, now or a little later: in the end the caller calls [`dict_add_batch`]. `false`:
/// one of those that were added just now was there, or was given twice; the table has the first.
pub fn dict_add_later<E: DictEntry>(d: &mut Dict<E>, batch: &mut DictBatch<E>, e: E) -> bool {
    let hash = dictGetHash(d, e.key());
    d.raw.prefetch_bucket(hash);
    batch.0.push((hash, e));
    batch.0.len() < DICT_BATCH || dict_add_batch(d, batch)
}

/// Adds the entries that wait. `false`: as [`dict_add_later`] says.
pub fn dict_add_batch<E: DictEntry>(d: &mut Dict<E>, batch: &mut DictBatch<E>) -> bool {
    let mut all_new = true;
    for (hash, e) in batch.0.drain(..) {
        if d.slot_of(e.key(), hash).is_some() {
            all_new = false;
        } else {
            d.raw.insert_pointer(hash, into_slot(e), Dict::<E>::rehash(d.seed));
        }
    }
    all_new
}

/// Adds an entry, or puts it in the place of the one with its key, which is returned.
pub fn dictReplace<E: DictEntry>(d: &mut Dict<E>, e: E) -> Option<E> {
    let hash = dictGetHash(d, e.key());
    match d.slot_of(e.key(), hash) {
        // SAFETY: the slot holds an E, whose place the new one takes.
        Some(slot) => Some(unsafe { slot.cast::<E>().replace(e) }),
        None => {
            d.raw.insert_pointer(hash, into_slot(e), Dict::<E>::rehash(d.seed));
            None
        }
    }
}

/// Finds the entry of a key, or adds the one that `make` makes, which must have this key. `true`:
/// it was added.
pub fn dictAddOrFind<'a, E: DictEntry>(
    d: &'a mut Dict<E>,
    key: &[u8],
    make: impl FnOnce() -> E,
) -> (&'a mut E, bool) {
    let hash = dictGetHash(d, key);
    dict_add_or_find_hashed(d, key, hash, make)
}

/// Does what [`dictAddOrFind`] does for a key whose hash is known.
#[inline]
pub fn dict_add_or_find_hashed<'a, E: DictEntry>(
    d: &'a mut Dict<E>,
    key: &[u8],
    hash: u64,
    make: impl FnOnce() -> E,
) -> (&'a mut E, bool) {
    let (slot, added) = match d.slot_of(key, hash) {
        Some(slot) => (slot, false),
        None => {
            let e = make();
            assert!(short_eq(e.key(), key), "an entry of another key");
            (d.raw.insert_pointer(hash, into_slot(e), Dict::<E>::rehash(d.seed)), true)
        }
    };
    // SAFETY: the slot is in use and holds an E; nothing has changed the table since, and it is
    // borrowed for 'a.
    (unsafe { slot.cast::<E>().as_mut() }, added)
}

/// Removes and frees the entry of a key. `false`: there is none.
pub fn dictDelete<E: DictEntry>(d: &mut Dict<E>, key: &[u8]) -> bool {
    dictUnlink(d, key).is_some()
}

/// Takes the entry of a key out of the table, and gives it to the caller: for who needs it once
/// more before it is freed, without a lookup and then a deletion that looks it up again.
pub fn dictUnlink<E: DictEntry>(d: &mut Dict<E>, key: &[u8]) -> Option<E> {
    let hash = dictGetHash(d, key);
    // SAFETY: RawDict calls with payloads of our table; what it returns is no longer in it, and is
    // turned back once.
    unsafe {
        let p = d.raw.remove_pointer(
            hash,
            |s| short_eq(Dict::<E>::at(s).key(), key),
            Dict::<E>::rehash(d.seed),
        )?;
        Some(from_slot(p))
    }
}

/// Returns the entry of a key.
#[inline]
pub fn dictFind<'a, E: DictEntry>(d: &'a Dict<E>, key: &[u8]) -> Option<&'a E> {
    dict_find_hashed(d, key, dictGetHash(d, key))
}

/// Returns the entry of a key whose hash is known.
#[inline]
pub fn dict_find_hashed<'a, E: DictEntry>(d: &'a Dict<E>, key: &[u8], hash: u64) -> Option<&'a E> {
    let slot = d.slot_of(key, hash)?;
    // SAFETY: the slot is in use, and the table is borrowed for 'a.
    Some(unsafe { Dict::at(slot.as_ptr()) })
}

/// Returns the next entry of an iteration that allows the entry returned last to be deleted,
/// between [`dictPauseRehashing`] and [`dictResumeRehashing`] (`dictGetSafeIterator`, `dictNext`).
pub fn dictNext<'a, E: DictEntry>(d: &'a Dict<E>, c: &mut DictCursor) -> Option<&'a E> {
    // SAFETY: the slot is in use, and the table is borrowed for 'a.
    d.raw.next_slot(c).map(|s| unsafe { Dict::at(s) })
}

/// Returns a random entry; see [`RawDict::random`].
pub fn dictGetRandomKey<E: DictEntry>(d: &Dict<E>, mut rng: impl FnMut() -> u64) -> Option<&E> {
    // SAFETY: the slot is in use, and the table is borrowed as long as the result.
    d.raw.random_of::<2>(SLOTS, &mut rng).map(|place| unsafe { Dict::at(place.slot()) })
}

/// Calls `f` for up to `count` entries from somewhere at random; see [`RawDict::get_some`].
pub fn dictGetSomeKeys<'a, E: DictEntry>(
    d: &'a Dict<E>,
    count: usize,
    rng: impl FnMut() -> u64,
    mut f: impl FnMut(&'a E),
) -> usize {
    // SAFETY: the slots are in use, and the table is borrowed for 'a.
    d.raw.get_some_slots(count, rng, |s| f(unsafe { Dict::at(s) }))
}

/// Returns a random entry, each with the same chance.
pub fn dictGetFairRandomKey<E: DictEntry>(d: &Dict<E>, mut rng: impl FnMut() -> u64) -> Option<&E> {
    // SAFETY: the slot is in use, and the table is borrowed as long as the result.
    d.raw.fair_random_place(&mut rng).map(|place| unsafe { Dict::at(place.slot()) })
}

/// Takes a random entry out of the table, each with the same chance, and gives it to the caller.
/// `None`: there is none.
// C: `dictGetFairRandomKey`, then `dictDelete`, which looks for the entry once more.
pub fn dict_unlink_fair_random<E: DictEntry>(
    d: &mut Dict<E>,
    mut rng: impl FnMut() -> u64,
) -> Option<E> {
    d.raw.rehash_step(Dict::<E>::rehash(d.seed));
    let Place { table, head, bucket, index } = d.raw.fair_random_place(&mut rng)?;
    // SAFETY: the place was just found; what is taken out is no longer in the table, and is turned
    // back once.
    unsafe { Some(from_slot(d.raw.take_out(table, head, bucket, index))) }
}

/// Calls `f` for the entries at cursor `v`, and returns the next one; see [`RawDict::scan`].
pub fn dictScan<'a, E: DictEntry>(d: &'a Dict<E>, v: u64, mut f: impl FnMut(&'a E)) -> u64 {
    // SAFETY: the slots are in use, and the table is borrowed for 'a.
    d.raw.scan_slots(v, |s| f(unsafe { Dict::at(s) }))
}

/// Moves the arrays of a table where that is worth it; see [`RawDict::defrag_tables`].
pub fn dictDefragTables<E: DictEntry>(d: &mut Dict<E>, moves: &mut Defrag) {
    d.raw.defrag_tables(moves);
}

/// Calls `f` for the entries at cursor `v`, to be moved, and returns the next one; see
/// [`RawDict::defrag_scan`].
pub fn dict_defrag_scan<E: DictEntry>(
    d: &mut Dict<E>,
    v: u64,
    moves: &mut Defrag,
    mut f: impl FnMut(&mut E, &mut Defrag),
) -> u64 {
    // SAFETY: the slot is in use and holds an E, and the table is borrowed exclusively. The key stays
    // as it is, and with it the hash.
    d.raw.defrag_slots(v, moves, |s, moves| f(unsafe { &mut *s.cast::<E>() }, moves))
}

/// Moves the buckets that are chained behind `head` where that is worth it.
///
/// # Safety
/// `head` is a live bucket of a well-formed table, which nobody else has a pointer into.
// C: an entry is chained by itself; here a bucket is.
unsafe fn defragDictBucketCallback(head: *mut Bucket, moves: &mut Defrag) {
    let mut b = head;
    // SAFETY: while a bucket is chained, its last slot is the address of a live bucket, which was
    // allocated with this layout, and which only this slot knows.
    unsafe {
        while let Some(next) = NonNull::new(next_in_chain(b)) {
            let moved = moves.activeDefragAlloc(next.cast(), Layout::new::<Bucket>());
            if let Some(p) = moved {
                (*b).slots[SLOTS - 1] = p.as_ptr();
            }
            b = next_in_chain(b);
        }
    }
}

/// Frees all entries. `callback` is called once every 65536 entries.
pub fn dictEmpty<E: DictEntry>(d: &mut Dict<E>, mut callback: impl FnMut()) {
    // The table is emptied first, and its payloads freed from what was it: should a destructor
    // panic, nothing is freed twice.
    let raw = std::mem::take(&mut d.raw);
    d.raw.inherit(&raw);
    if std::mem::needs_drop::<E>() {
        for (i, p) in raw.iter().enumerate() {
            if i & 65535 == 0 {
                callback();
            }
            // SAFETY: each payload is an entry, and comes up once; the table that held it is only
            // freed from now on.
            drop(unsafe { from_slot::<E>(pointer(p)) });
        }
    }
}

/// Returns the hash of a key in this table.
#[inline]
pub fn dictGetHash<E: DictEntry>(d: &Dict<E>, key: &[u8]) -> u64 {
    siphash(key, &d.seed)
}

/// Returns the seed with which the keys are hashed.
#[inline]
pub fn dict_seed<E: DictEntry>(d: &Dict<E>) -> &HashSeed {
    &d.seed
}

/// Returns the text of DEBUG HTSTATS.
pub fn dictGetStats<E: DictEntry>(d: &Dict<E>) -> Vec<u8> {
    d.raw.stats()
}

// ==================================================================================== entries of
// hashes and sets

/// Returns the layout of an entry of `size` bytes.
fn bytes_layout(size: usize) -> Layout {
    Layout::from_size_align(size, 1).expect("an entry's size fits")
}

/// Allocates `size` bytes, which is not 0.
fn alloc_bytes(size: usize) -> NonNull<u8> {
    let layout = bytes_layout(size);
    // SAFETY: the size of the layout is not 0: callers ask for at least the length before the
    // bytes.
    NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

/// # Safety
/// `p` came from `alloc_bytes(size)` and is not used any more.
unsafe fn free_bytes(p: NonNull<u8>, size: usize) {
    // SAFETY: the caller says that `p` came from `alloc_bytes` with this size, so this is the
    // layout it was allocated with, and that one was valid.
    unsafe { dealloc(p.as_ptr(), Layout::from_size_align_unchecked(size, 1)) };
}

/// Returns a length as it stands before its bytes: one byte below 255, else 255 and eight bytes.
#[inline(always)]
fn len_size(n: usize) -> usize {
    if n < 255 { 1 } else { 9 }
}

/// # Safety
/// `len_size(n)` bytes can be written at `p`.
unsafe fn write_len(p: *mut u8, n: usize) {
    // SAFETY: one byte is written below 255, and nine otherwise: as many as `len_size` says, for
    // which the caller has room. The number behind the first byte is not aligned, and not written
    // as if.
    unsafe {
        if n < 255 {
            *p = n as u8;
        } else {
            *p = 255;
            p.add(1).cast::<u64>().write_unaligned(n as u64);
        }
    }
}

/// # Safety
/// `write_len` has written at `p`.
#[inline(always)]
unsafe fn read_len(p: *const u8) -> usize {
    // SAFETY: `write_len` has written one byte at `p`, and eight behind it if that byte is 255.
    unsafe { if *p < 255 { *p as usize } else { p.add(1).cast::<u64>().read_unaligned() as usize } }
}

/// The member of a set: its length and its bytes in one allocation.
#[repr(transparent)]
pub struct SdsEntry(NonNull<u8>);

// SAFETY: the entry owns its bytes alone.
unsafe impl Send for SdsEntry {}
// SAFETY: they never change.
unsafe impl Sync for SdsEntry {}

impl SdsEntry {
    /// Returns a copy of these bytes.
    pub fn new(member: &[u8]) -> SdsEntry {
        let n = len_size(member.len());
        let p = alloc_bytes(n + member.len());
        // SAFETY: the block is as long as the length and the bytes, and doesn't overlap what is
        // borrowed.
        unsafe {
            write_len(p.as_ptr(), member.len());
            copy_nonoverlapping(member.as_ptr(), p.as_ptr().add(n), member.len());
        }
        SdsEntry(p)
    }

    /// Returns the bytes.
    #[inline(always)]
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `new` wrote the length and as many bytes.
        unsafe {
            let n = read_len(self.0.as_ptr());
            std::slice::from_raw_parts(self.0.as_ptr().add(len_size(n)), n)
        }
    }

    /// Moves the member where that is worth it.
    pub fn defrag(&mut self, moves: &mut Defrag) {
        let n = self.as_slice().len();
        // SAFETY: this is the size that `new` asked for, and the pointer is the only one.
        let moved = unsafe { moves.activeDefragAlloc(self.0, bytes_layout(len_size(n) + n)) };
        self.0 = moved.unwrap_or(self.0);
    }
}

impl Drop for SdsEntry {
    fn drop(&mut self) {
        let n = self.as_slice().len();
        // SAFETY: this is the size that `new` asked for.
        unsafe { free_bytes(self.0, len_size(n) + n) };
    }
}

// SAFETY: a transparent pointer; the bytes never change.
unsafe impl DictEntry for SdsEntry {
    #[inline(always)]
    fn key(&self) -> &[u8] {
        self.as_slice()
    }

    fn alloc_size(&self) -> usize {
        let n = self.as_slice().len();
        mem::size_class(len_size(n) + n)
    }
}

/// Values up to this length lie beside their field.
const PAIR_INLINE_MAX: usize = 64;
/// The value length of a pair that stands for a value in a block of its own.
const PAIR_OUTSIDE: u8 = 255;

/// A field of a hash and its value: one allocation if the value is short, `[value length][field
/// length][field][value]`; else the value's place is taken by its address and length.
#[repr(transparent)]
pub struct PairEntry(NonNull<u8>);

// SAFETY: the entry owns its bytes alone.
unsafe impl Send for PairEntry {}
// SAFETY: through a shared reference they are only read.
unsafe impl Sync for PairEntry {}

impl PairEntry {
    /// Returns a copy of a field and its value.
    pub fn new(field: &[u8], value: &[u8]) -> PairEntry {
        let (inside, outside) =
            if value.len() <= PAIR_INLINE_MAX { (value.len(), false) } else { (16, true) };
        let at = 1 + len_size(field.len()) + field.len();
        let p = alloc_bytes(mem::size_class(at + inside));
        // SAFETY: the block holds both lengths, the field, and the value or 16 bytes about it. The
        // value's block is owned by the entry from here on.
        unsafe {
            write_len(p.as_ptr().add(1), field.len());
            copy_nonoverlapping(field.as_ptr(), p.as_ptr().add(at - field.len()), field.len());
            if outside {
                *p.as_ptr() = PAIR_OUTSIDE;
                Self::write_outside(p.as_ptr().add(at), value.into());
            } else {
                *p.as_ptr() = value.len() as u8;
                copy_nonoverlapping(value.as_ptr(), p.as_ptr().add(at), value.len());
            }
        }
        PairEntry(p)
    }

    /// # Safety
    /// 16 bytes can be written at `p`.
    unsafe fn write_outside(p: *mut u8, value: Box<[u8]>) {
        let len = value.len();
        // SAFETY: an address and a length are 16 bytes, for which the caller has room. They are not
        // aligned, and not written as if.
        unsafe {
            p.cast::<*mut u8>().write_unaligned(Box::into_raw(value).cast());
            p.add(8).cast::<usize>().write_unaligned(len);
        }
    }

    /// Returns the value's block, if it has one.
    #[inline(always)]
    fn outside(&self) -> Option<*mut [u8]> {
        // SAFETY: PAIR_OUTSIDE says that write_outside has written there.
        unsafe {
            if *self.0.as_ptr() != PAIR_OUTSIDE {
                return None;
            }
            let p = self.0.as_ptr().add(self.value_at());
            let (data, len) =
                (p.cast::<*mut u8>().read_unaligned(), p.add(8).cast::<usize>().read_unaligned());
            Some(std::ptr::slice_from_raw_parts_mut(data, len))
        }
    }

    /// Returns the field.
    #[inline(always)]
    pub fn field(&self) -> &[u8] {
        // SAFETY: `new` wrote the length and as many bytes.
        unsafe {
            let n = read_len(self.0.as_ptr().add(1));
            std::slice::from_raw_parts(self.0.as_ptr().add(1 + len_size(n)), n)
        }
    }

    #[inline(always)]
    fn value_at(&self) -> usize {
        let n = self.field().len();
        1 + len_size(n) + n
    }

    /// Returns the value.
    #[inline(always)]
    pub fn value(&self) -> &[u8] {
        // SAFETY: the value's block is ours and lives as long as the entry; an inline value has the
        // length of the first byte.
        unsafe {
            match self.outside() {
                Some(v) => &*v,
                None => {
                    let n = *self.0.as_ptr() as usize;
                    std::slice::from_raw_parts(self.0.as_ptr().add(self.value_at()), n)
                }
            }
        }
    }

    /// Puts a copy of `value` in the place of the value: in the same block if it fits.
    pub fn set_value(&mut self, value: &[u8]) {
        let at = self.value_at();
        if let Some(old) = self.outside() {
            if value.len() > PAIR_INLINE_MAX {
                // SAFETY: the old block is ours, and forgotten: its place is taken by the new one.
                unsafe {
                    drop(Box::from_raw(old));
                    Self::write_outside(self.0.as_ptr().add(at), value.into());
                }
                return;
            }
        } else if value.len() == self.inline_len()
            || (value.len() <= PAIR_INLINE_MAX && mem::size_class(at + value.len()) == self.size())
        {
            // SAFETY: the block has room for it, and nothing borrowed can lie in a block that we
            // hold exclusively.
            unsafe {
                copy_nonoverlapping(value.as_ptr(), self.0.as_ptr().add(at), value.len());
                *self.0.as_ptr() = value.len() as u8;
            }
            return;
        }
        *self = PairEntry::new(self.field(), value);
    }

    /// Moves field and value where that is worth it.
    pub fn defrag(&mut self, moves: &mut Defrag) {
        // SAFETY: this is the size that the block was allocated with, and the pointer is the only
        // one. A value outside came from a Box, and its place is written again with what it is now.
        unsafe {
            let moved = moves.activeDefragAlloc(self.0, bytes_layout(self.size()));
            self.0 = moved.unwrap_or(self.0);
            if let Some(value) = self.outside() {
                let mut value = Box::from_raw(value);
                moves.activeDefragSds(&mut value);
                Self::write_outside(self.0.as_ptr().add(self.value_at()), value);
            }
        }
    }

    /// Returns the bytes of the entry's own block.
    fn size(&self) -> usize {
        mem::size_class(self.value_at() + self.inline_len())
    }

    /// Returns the bytes behind the field: those of the value, or of its place.
    #[inline(always)]
    fn inline_len(&self) -> usize {
        // SAFETY: the first byte is always there.
        match unsafe { *self.0.as_ptr() } {
            PAIR_OUTSIDE => 16,
            n => usize::from(n),
        }
    }
}

impl Drop for PairEntry {
    fn drop(&mut self) {
        // SAFETY: a value's block came from a Box and is ours; the entry's own has the size that
        // its contents tell.
        unsafe {
            if let Some(v) = self.outside() {
                drop(Box::from_raw(v));
            }
            free_bytes(self.0, self.size());
        }
    }
}

// SAFETY: a transparent pointer; `set_value` keeps the field.
unsafe impl DictEntry for PairEntry {
    #[inline(always)]
    fn key(&self) -> &[u8] {
        self.field()
    }

    fn alloc_size(&self) -> usize {
        self.size() + self.outside().map_or(0, |v| mem::size_class(v.len()))
    }
}

/// Checks all that must hold of a table: counts, chains that are full but for their end, nothing
/// before rehashidx.
#[cfg(test)]
fn check(d: &RawDict) {
    for t in 0..2 {
        let (mut used, mut chains) = (0, 0);
        for i in 0..d.buckets(t) {
            // SAFETY: `i` is within the table, and a next of a chained bucket is live.
            unsafe {
                let mut b = d.table[t].add(i);
                assert!(t == 1 || !d.is_rehashing() || i >= d.rehashidx || (*b).meta == 0);
                loop {
                    let m = (*b).meta;
                    used += (m & PRESENT).count_ones() as usize;
                    if m & CHAINED == 0 {
                        break;
                    }
                    assert_eq!(m & PRESENT, 0x3f, "a full bucket but for the chain's slot");
                    b = next_in_chain(b);
                    assert!((*b).meta & PRESENT != 0, "no chain ends empty");
                    chains += 1;
                }
            }
        }
        assert_eq!((used, chains), (d.used[t], d.chains[t]));
    }
}

#[cfg(test)]
mod tests;
