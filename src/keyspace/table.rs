//! The keys of one database: two tables over blocks, and what may be done to a key.
#![allow(unsafe_code)] // payloads of the tables are addresses of blocks, and blocks are changed in place

use super::block::*;
use super::value::*;
use crate::ds::dict::{Dict, DictCursor, PairEntry, RawDict, RawIter, SdsEntry, dictResizeEnable};
use crate::ds::quicklist::Quicklist;
use crate::ds::siphash::{HashSeed, siphash};
use crate::sys::defrag::Defrag;
use crate::sys::mem::{copy_short, prefetch, prefetch_bytes};
use crate::types::t_hash::{Hash, HashRef};
use crate::types::t_set::{Set, SetRef};
use crate::types::t_stream::Stream;
use crate::types::t_zset::{Zset, ZsetRef, zset};
use crate::util::short_eq;
use std::hash::{BuildHasher, RandomState};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::num::NonZeroU64;
use std::ops::{Deref, DerefMut};
use std::ptr::{NonNull, copy, copy_nonoverlapping};

// ANCHOR: KeyRef
/// A key of a [`Keyspace`], found before: what a `robj *` from a lookup is in the C, but checked.
///
/// It stays good as long as its entry is there and stays where it is. Methods that may move an
/// entry return its new reference. Using one whose entry is gone, or in another keyspace, panics
/// with the place that did.
#[derive(Clone, Copy, Debug)]
pub struct KeyRef {
    pub(super) payload: u64,
    hash: u64,
    /// The keyspace's count of removals and moves when this was made. While they are equal nothing
    /// is to be checked.
    epoch: u64,
}
// ANCHOR_END: KeyRef

/// What is known of a key before it is looked up: its hash, and, behind the second stage of
/// prefetching, the entry that may be its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyGuess {
    hash: u64,
    /// The entry; 0 for none.
    payload: u64,
    /// The keyspace's count of removals and moves when the entry was found.
    epoch: u64,
}

impl KeyGuess {
    /// Makes the guess of which no more than the key's hash is known.
    #[inline]
    pub fn new(hash: u64) -> KeyGuess {
        KeyGuess { hash, payload: 0, epoch: 0 }
    }

    /// Returns the key's hash.
    #[inline]
    pub fn hash(&self) -> u64 {
        self.hash
    }
}

/// The keys of one database: `db->dict` and `db->expires`.
///
/// `expires` is a second table over the same entries: those that have a time of expiry.
pub struct Keyspace {
    dict: RawDict,
    expires: RawDict,
    seed: HashSeed,
    /// Payloads and hashes of packed values that left their blocks, and may come back.
    pub(super) pending_repack: Vec<(u64, u64)>,
    /// Counts removals and moves. It starts at random, so that a reference to a key of one keyspace
    /// is not taken for one of another.
    epoch: u64,
}

#[inline(always)]
fn to_payload(e: ManuallyDrop<KeyEntry>) -> u64 {
    e.p.as_ptr().expose_provenance() as u64
}

// ANCHOR: entry_at
/// Returns the entry that a payload stands for, not to be dropped.
///
/// # Safety
/// `payload` is in a table of a keyspace, or was just taken out of it, and `'a` ends before the
/// entry does.
#[inline(always)]
unsafe fn entry_at<'a>(payload: u64) -> Entry<'a> {
    let p = std::ptr::with_exposed_provenance_mut(payload as usize);
    // SAFETY: payloads are addresses of blocks, never null.
    Entry { p: unsafe { NonNull::new_unchecked(p) }, life: PhantomData }
}
// ANCHOR_END: entry_at

/// Returns the function by which a table learns the hash of an entry that it moves.
#[inline(always)]
fn rehash(seed: HashSeed) -> impl Fn(u64) -> u64 {
    // SAFETY: tables call it with payloads that they hold, which are live entries.
    move |p| siphash(unsafe { entry_at(p) }.key(), &seed)
}

impl Default for Keyspace {
    /// Returns an empty keyspace with a seed of its own.
    fn default() -> Self {
        Keyspace::new(HashSeed::random())
    }
}

impl Keyspace {
    /// Returns an empty keyspace whose keys are hashed with `seed`. Give all databases the same
    /// one, so that a key's hash is known before its database is.
    pub fn new(seed: HashSeed) -> Keyspace {
        Keyspace {
            dict: RawDict::new(),
            expires: RawDict::new(),
            seed,
            pending_repack: Vec::new(),
            epoch: RandomState::new().hash_one(0u8),
        }
    }

    /// Returns the number of keys.
    #[inline]
    pub fn len(&self) -> usize {
        self.dict.len()
    }

    /// Returns the number of keys with a time of expiry.
    #[inline]
    pub fn expires_len(&self) -> usize {
        self.expires.len()
    }

    /// Returns the hash of a key.
    #[inline(always)]
    pub fn hash(&self, key: &[u8]) -> u64 {
        siphash(key, &self.seed)
    }

    // --------------------------------------------------------------------------------------- references and lookups

    /// Returns the entry of a reference; panics when it is stale.
    #[inline(always)]
    #[track_caller]
    pub fn entry(&self, k: KeyRef) -> Entry<'_> {
        // Something was removed or moved since. Is it still there?
        if k.epoch != self.epoch && !self.is_there(k.payload, k.hash) {
            stale();
        }
        // SAFETY: the payload is in our table: it was when the reference was made and nothing has
        // left the table since, or it was found there right now. The entry can't leave while `self`
        // is borrowed.
        unsafe { entry_at(k.payload) }
    }

    /// Tells whether the entry of a reference is still there, at the same place.
    pub fn contains(&self, k: KeyRef) -> bool {
        self.is_there(k.payload, k.hash)
    }

    // It is given words, since a reference would have to be in memory for the call, and would be
    // stored even where none is made.
    #[cold]
    fn is_there(&self, payload: u64, hash: u64) -> bool {
        self.dict.find(hash, |p| p == payload).is_some()
    }

    #[inline(always)]
    fn make_ref(&self, payload: u64, hash: u64) -> KeyRef {
        KeyRef { payload, hash, epoch: self.epoch }
    }

    /// Returns the reference of a payload that came from one of the tables just now.
    fn ref_of(&self, payload: u64) -> KeyRef {
        // SAFETY: by the caller, the payload is in a table.
        let key = unsafe { entry_at(payload) }.key();
        self.make_ref(payload, self.hash(key))
    }

    /// Finds a key.
    #[inline]
    pub fn find(&self, key: &[u8]) -> Option<KeyRef> {
        self.find_hashed(key, self.hash(key))
    }

    /// Finds a key whose hash is known.
    #[inline(always)]
    pub fn find_hashed(&self, key: &[u8], hash: u64) -> Option<KeyRef> {
        // SAFETY: the table calls with payloads that it holds.
        let payload = self.dict.find(hash, |p| short_eq(unsafe { entry_at(p) }.key(), key))?;
        Some(self.make_ref(payload, hash))
    }

    /// Prefetches the bucket of a key: the first stage of a lookup to come.
    #[inline(always)]
    pub fn prefetch_bucket(&self, hash: u64) {
        self.dict.prefetch_bucket(hash);
    }

    /// Prefetches the entry that may be the key's, and notes it in the guess: the second stage, when
    /// the bucket has come. The third is [`Entry::prefetch_value`]. It notes none if there is no such
    /// key, or one whose bucket has not been looked at.
    #[inline(always)]
    pub fn prefetch_entry(&self, guess: &mut KeyGuess) {
        let Some(payload) = self.dict.candidate(guess.hash) else { return };
        self.prefetch_guess(guess, payload);
    }

    /// Does what [`prefetch_entry`](Self::prefetch_entry) does, for a key of which it has noted
    /// none: its entry may be in the second bucket of a chain, which has come meanwhile.
    #[inline]
    pub fn prefetch_chained_entry(&self, guess: &mut KeyGuess) {
        let Some(payload) = self.dict.chained_candidate(guess.hash) else { return };
        self.prefetch_guess(guess, payload);
    }

    #[inline(always)]
    fn prefetch_guess(&self, guess: &mut KeyGuess, payload: u64) {
        prefetch(payload as usize);
        prefetch(payload as usize + 32);
        (guess.payload, guess.epoch) = (payload, self.epoch);
    }

    /// Returns the entry that may be the key's, if one was noted, and nothing was removed or moved
    /// since.
    #[inline(always)]
    pub fn guessed(&self, guess: &KeyGuess) -> Option<Entry<'_>> {
        if guess.epoch != self.epoch || guess.payload == 0 {
            return None;
        }
        // SAFETY: the payload was in our table when the guess noted it, and nothing has left the
        // table since. The entry can't leave while `self` is borrowed.
        Some(unsafe { entry_at(guess.payload) })
    }

    /// Finds a key of which something is known. A right guess saves the search.
    #[inline(always)]
    pub fn find_guessed(&self, key: &[u8], guess: &KeyGuess) -> Option<KeyRef> {
        let payload = match self.guessed(guess) {
            Some(entry) if short_eq(entry.key(), key) => guess.payload,
            _ => self.search(key, guess.hash)?.get(),
        };
        Some(self.make_ref(payload, guess.hash))
    }

    /// Does what [`find`](Self::find) does, for callers that mostly need no search.
    #[inline(always)]
    pub fn find_apart(&self, key: &[u8]) -> Option<KeyRef> {
        let hash = self.hash(key);
        Some(self.make_ref(self.search(key, hash)?.get(), hash))
    }

    /// Does what [`find_hashed`](Self::find_hashed) does, for callers that mostly need no search.
    #[inline(never)]
    fn search(&self, key: &[u8], hash: u64) -> Option<NonZeroU64> {
        NonZeroU64::new(self.find_hashed(key, hash)?.payload)
    }

    /// Returns the key.
    #[inline]
    #[track_caller]
    pub fn key(&self, k: KeyRef) -> &[u8] {
        self.entry(k).key()
    }

    /// Returns the value.
    #[inline(always)]
    #[track_caller]
    pub fn get(&self, k: KeyRef) -> ValueRef<'_> {
        self.entry(k).value()
    }

    /// Returns the string, to change in place. Panics if it is none.
    #[inline]
    #[track_caller]
    pub fn get_mut(&mut self, k: KeyRef) -> ValueMut<'_> {
        let e = self.entry(k);
        // SAFETY: the place says what is there. The keyspace is borrowed exclusively, and so are
        // its entries.
        unsafe {
            match e.location() {
                ValueLocation::Inline => ValueMut::Str(std::slice::from_raw_parts_mut(
                    e.inline_ptr(),
                    e.header().vlen as usize,
                )),
                ValueLocation::Int => ValueMut::Int(&mut *e.value_ptr().cast::<i64>()),
                ValueLocation::Outside => ValueMut::Str(&mut *e.value_ptr().cast::<Vec<u8>>()),
                ValueLocation::Packed | ValueLocation::Pointer | ValueLocation::List => {
                    panic!("a string is expected")
                }
            }
        }
    }

    /// Returns the aggregate, to change where it is. Panics if it is of another type.
    #[inline]
    #[track_caller]
    fn boxed_mut<T>(&mut self, k: KeyRef) -> &mut T
    where
        Box<T>: AggregateType,
    {
        let e = self.entry(k);
        assert!(e.type_of() == Box::<T>::TYPE, "the key's value is of another type");
        // SAFETY: a value of a type that is a box is always one behind a pointer, whatever its
        // size; we hold it exclusively.
        unsafe { &mut *e.value_ptr().cast::<Box<T>>() }
    }

    /// Returns the list, to change where it is. Panics if it is of another type.
    #[inline]
    #[track_caller]
    fn list_in_block(&mut self, k: KeyRef) -> &mut Quicklist {
        let e = self.entry(k);
        assert!(e.type_of() == OBJ_LIST, "the key's value is of another type");
        // SAFETY: a value of this type is always a Quicklist before the key; we hold it
        // exclusively.
        unsafe { &mut *e.value_ptr().cast::<Quicklist>() }
    }

    /// Returns the aggregate, to look at, if it has this form now.
    #[inline(always)]
    #[track_caller]
    fn form<T: BoxedForm>(&self, k: KeyRef) -> Option<&T> {
        let e = self.entry(k);
        if e.header().type_encoding != T::TYPE_ENCODING {
            return None;
        }
        // SAFETY: the header says that there is such a pointer. The entry can't leave, nor the block
        // be changed, while `self` is borrowed.
        Some(unsafe { &*e.value_ptr().cast::<T>() })
    }

    /// Returns the aggregate, to change where it is, if it has this form now.
    // No guard is needed, as `change` makes one: this form is not left by a change.
    #[inline(always)]
    #[track_caller]
    fn form_mut<T: BoxedForm>(&mut self, k: KeyRef) -> Option<&mut T> {
        let e = self.entry(k);
        if e.header().type_encoding != T::TYPE_ENCODING {
            return None;
        }
        // SAFETY: the header says that there is such a pointer; we hold the block exclusively.
        Some(unsafe { &mut *e.value_ptr().cast::<T>() })
    }

    /// Returns the aggregate, to change and perhaps to pack in another way. Panics if it is of
    /// another type.
    #[inline]
    #[track_caller]
    fn change<T: AggregateType>(&mut self, k: KeyRef) -> AggregateGuard<'_, T> {
        let e = self.entry(k);
        assert!(e.type_of() == T::TYPE, "the key's value is of another type");
        // SAFETY: the value is taken out, and the header says so until it is back; what is packed
        // is copied, and stays.
        let value = unsafe {
            let value = e.take_aggregate();
            if e.location() == ValueLocation::Pointer {
                e.p.write(T::TYPE | CHECKED_OUT << 4);
            }
            value
        };
        let Some(value) = T::of(value) else {
            // The header's type is `T::TYPE`, and values are read by their header.
            unreachable!("a value of type {} is of another type", T::TYPE)
        };
        AggregateGuard { keyspace: self, k, value: ManuallyDrop::new(value) }
    }

    /// Puts a value back that was taken out by [`change`](Self::change). The entry stays where it
    /// is.
    #[inline]
    fn put_back(&mut self, k: KeyRef, a: Aggregate) {
        let e = self.entry(k);
        let type_encoding = a.type_encoding();
        // SAFETY: we hold the block exclusively, and it has no value but perhaps packed bytes,
        // which need no drop. What is taken out to be changed is never a list, so it is a pointer,
        // and that finds room in any block that has packed bytes; the key may overlap its new
        // place, which `copy` allows.
        unsafe {
            let p = e.p.as_ptr();
            if e.location() == ValueLocation::Pointer {
                let is_small = pack(&a, e.key().len()).is_some();
                p.write(type_encoding);
                write_unpacked(e.value_ptr(), a);
                if !is_small {
                    return;
                }
            } else {
                let old = e.layout();
                if let Some(bytes) = pack(&a, old.klen)
                    && (BlockLayout { tail: bytes.len(), ..old }).size() == old.size()
                {
                    copy_nonoverlapping(bytes.as_ptr(), e.inline_ptr(), bytes.len());
                    // A set may have gone from one packed form to another.
                    p.write(type_encoding);
                    return;
                }
                let (new, lru) = (old.with_pointer(), e.header().lru);
                copy(p.add(old.key_at()), p.add(new.key_at()), old.klen);
                new.write_header(p, type_encoding, lru);
                write_unpacked(p.add(new.body_at()), a);
            }
        }
        self.pending_repack.push((k.payload, k.hash));
    }

    /// Packs values that were changed and are small into their keys' blocks, and takes the room
    /// from those that have outgrown theirs. Blocks may move: to be called when a command is done,
    /// and no [`KeyRef`] is in use any more.
    #[inline(always)]
    pub fn repack_small(&mut self) {
        if !self.pending_repack.is_empty() {
            self.repack_all();
        }
    }

    fn repack_all(&mut self) {
        while let Some((payload, hash)) = self.pending_repack.pop() {
            // The key was deleted after its value was changed. (Should another block have its
            // address and its hash by now, packing that one does no harm.)
            if self.dict.find(hash, |p| p == payload).is_none() {
                continue;
            }
            let k = self.make_ref(payload, hash);
            let e = self.owned(k);
            if e.view().location() == ValueLocation::Pointer {
                // SAFETY: the value is taken out, and `put` writes it again at once.
                unsafe {
                    let value = e.take_object();
                    self.put(k, e, PreparedValue::prepare(Value::Own(value)));
                }
            }
        }
    }

    /// Returns the type of the value: `OBJ_STRING` and so on.
    #[inline]
    #[track_caller]
    pub fn type_of(&self, k: KeyRef) -> u8 {
        self.entry(k).type_of()
    }

    /// Returns the encoding of the value: `OBJ_ENCODING_RAW` and so on.
    #[track_caller]
    pub fn encoding(&self, k: KeyRef) -> u8 {
        self.entry(k).encoding()
    }

    /// Returns the access clock or frequency, 24 bits.
    #[inline]
    #[track_caller]
    pub fn lru(&self, k: KeyRef) -> u32 {
        self.entry(k).lru()
    }

    /// Sets the access clock or frequency to the low 24 bits of `lru`.
    #[inline]
    #[track_caller]
    pub fn set_lru(&mut self, k: KeyRef, lru: u32) {
        let e = self.entry(k);
        // SAFETY: the block is live, aligned to eight bytes, and starts with a header of eight; we
        // hold it exclusively. What is written differs in the bytes of `lru` alone.
        unsafe {
            let p = e.p.cast::<u64>().as_ptr();
            let header = p.read();
            let new = with_lru(header, lru);
            // Memory that is not written need not be written back: mostly the clock is the same.
            if new != header {
                p.write(new);
            }
        }
    }

    /// Returns the bytes that a key takes up: its block and a string outside of it; not an
    /// aggregate, nor its places in the tables.
    #[track_caller]
    pub fn alloc_size(&self, k: KeyRef) -> usize {
        self.entry(k).alloc_size()
    }

    // ------------------------------------------------------------------------------------------------------ changes

    /// Adds a key, which must not be there.
    pub fn add<'a>(&mut self, key: &[u8], value: impl Into<Value<'a>>) -> KeyRef {
        let hash = self.hash(key);
        self.add_full(key, hash, value.into(), None, 0)
    }

    /// Adds a key, which must not be there, with its hash, its time of expiry and its access clock.
    #[inline]
    pub fn add_full(
        &mut self,
        key: &[u8],
        hash: u64,
        value: Value,
        expire: Option<i64>,
        lru: u32,
    ) -> KeyRef {
        // Asserted in debug builds only: looking again would cost a search for each insert, and the
        // callers have looked the key up before.
        debug_assert!(self.find_hashed(key, hash).is_none(), "the key is there already");
        let payload = to_payload(ManuallyDrop::new(KeyEntry::new(key, expire, lru, value)));
        self.dict.insert(hash, payload, rehash(self.seed));
        if expire.is_some() {
            self.expires.insert(hash, payload, rehash(self.seed));
        }
        self.make_ref(payload, hash)
    }

    /// Takes a key out of both tables. Dropping the result frees it.
    #[track_caller]
    pub fn remove(&mut self, k: KeyRef) -> KeyEntry {
        let e = self.entry(k);
        let (p, expires) = (e.p, e.header().flags & HAS_EXPIRE != 0);
        // The two tables are searched by address, not by key: no key has to be compared.
        let removed = self.dict.remove(k.hash, |p| p == k.payload, rehash(self.seed));
        assert!(removed.is_some(), "an entry is in the table");
        if expires {
            self.expires.remove(k.hash, |p| p == k.payload, rehash(self.seed));
        }
        self.epoch = self.epoch.wrapping_add(1);
        KeyEntry { p }
    }

    /// Puts a string in the place of one that is as long, and lies in the key's block, and sets the
    /// access clock. False, and nothing is changed: the key's value is no such string.
    #[inline(always)]
    #[track_caller]
    pub fn set_in_place(&mut self, k: KeyRef, v: &[u8], lru: u32) -> bool {
        let e = self.entry(k);
        if e.location() != ValueLocation::Inline || e.header().vlen as usize != v.len() {
            return false;
        }
        // SAFETY: the value lies behind the key, in a block that is ours exclusively, and has just
        // this length; the header stands at the start of the block, aligned to eight bytes. The
        // bytes of `v` are no part of the keyspace, which is borrowed exclusively.
        unsafe {
            copy_short(v, e.inline_ptr());
            e.p.write(inline_string_type(v.len()));
            let p = e.p.cast::<u64>().as_ptr();
            p.write(with_lru(p.read(), lru));
        }
        true
    }

    /// Puts a value in the place of a key's value, which is freed. Time of expiry and access clock
    /// stay.
    #[inline]
    #[track_caller]
    pub fn set_value<'a>(&mut self, k: KeyRef, value: impl Into<Value<'a>>) -> KeyRef {
        let e = self.owned(k);
        let put = PreparedValue::prepare(value.into());
        if matches!(e.view().location(), ValueLocation::Inline | ValueLocation::Int) {
            // SAFETY: there is nothing to drop in what was there.
            return unsafe { self.put(k, e, put) };
        }
        // SAFETY: the value is taken out, and `put` writes another one at once. The old one is
        // dropped last, when all is well again.
        unsafe {
            let _old = e.take_object();
            self.put(k, e, put)
        }
    }

    /// Puts a value in the place of a key's value, which is returned: for lazy freeing, or GETSET.
    #[track_caller]
    pub fn replace_value<'a>(
        &mut self,
        k: KeyRef,
        value: impl Into<Value<'a>>,
    ) -> (KeyRef, Object) {
        let e = self.owned(k);
        let put = PreparedValue::prepare(value.into());
        // SAFETY: the value is taken out, and `put` writes another one at once.
        unsafe {
            let old = e.take_object();
            (self.put(k, e, put), old)
        }
    }

    /// Makes a key's value a number, in place if it is one.
    #[inline]
    #[track_caller]
    pub fn set_int(&mut self, k: KeyRef, n: i64) -> KeyRef {
        if let ValueMut::Int(old) = self.get_mut(k) {
            *old = n;
            return k;
        }
        self.set_value(k, n)
    }

    /// Calls `f` with the string of a key, to change it and its length. It becomes raw, and leaves
    /// the key's block for an allocation of its own that has room to grow (`dbUnshareStringValue`).
    /// Panics if it is no string.
    #[track_caller]
    pub fn string_mut<R>(
        &mut self,
        mut k: KeyRef,
        f: impl FnOnce(&mut StringBuf) -> R,
    ) -> (KeyRef, R) {
        const RAW: u8 = OBJ_STRING | OBJ_ENCODING_RAW << 4;
        let e = self.owned(k);
        let string = match e.value() {
            ValueRef::Int(n) => Some(itoa::Buffer::new().format(n).as_bytes().to_vec()),
            ValueRef::Str(v) => (e.view().location() == ValueLocation::Inline).then(|| v.to_vec()),
            ValueRef::Aggregate(_) => panic!("a string is expected"),
        };
        if let Some(string) = string {
            // SAFETY: what was there is a number or inline, so there is nothing to drop.
            k = unsafe { self.put(k, e, (PreparedValue::Outside(string), RAW)) };
        }
        let e = self.entry(k);
        // SAFETY: now the block has a Vec; the keyspace is borrowed exclusively, and `f` gets no
        // hold of it.
        let string = unsafe {
            (*e.p.cast::<Header>().as_ptr()).type_encoding = RAW;
            &mut *e.value_ptr().cast::<Vec<u8>>()
        };
        (k, f(&mut StringBuf(string)))
    }

    /// Returns the time of expiry in milliseconds since 1970, if there is one.
    #[inline]
    #[track_caller]
    pub fn expire(&self, k: KeyRef) -> Option<i64> {
        self.entry(k).expire()
    }

    /// Sets the time of expiry to `at` milliseconds since 1970.
    #[track_caller]
    pub fn set_expire(&mut self, k: KeyRef, at: i64) -> KeyRef {
        let mut k = k;
        let has = self.entry(k).expire().is_some();
        if !has {
            k = self.resize_for_expire(k, true);
            self.expires.insert(k.hash, k.payload, rehash(self.seed));
        }
        let e = self.entry(k);
        // SAFETY: the block has room for it behind its header, and we hold it exclusively.
        unsafe { e.p.as_ptr().add(HEADER).cast::<i64>().write(at) };
        k
    }

    /// Removes the time of expiry, if there is one.
    #[inline(always)]
    #[track_caller]
    pub fn remove_expire(&mut self, k: KeyRef) -> KeyRef {
        if self.entry(k).expire().is_none() { k } else { self.make_persistent(k) }
    }

    /// Removes the time of expiry of a key that has one.
    #[inline(never)]
    fn make_persistent(&mut self, k: KeyRef) -> KeyRef {
        self.expires.remove(k.hash, |p| p == k.payload, rehash(self.seed));
        self.resize_for_expire(k, false)
    }

    /// Returns the entry of a reference as if we owned it: it is still in the tables, and must not
    /// be dropped.
    #[inline(always)]
    #[track_caller]
    fn owned(&mut self, k: KeyRef) -> ManuallyDrop<KeyEntry> {
        ManuallyDrop::new(KeyEntry { p: self.entry(k).p })
    }

    /// Writes a value to an entry, in place or in a new block.
    ///
    /// # Safety
    /// `e` is the entry of `k`, and its value was taken out or dropped.
    #[inline]
    unsafe fn put(
        &mut self,
        k: KeyRef,
        e: ManuallyDrop<KeyEntry>,
        (put, type_encoding): (PreparedValue, u8),
    ) -> KeyRef {
        let old = e.view().layout();
        let lru = e.view().header().lru;
        if let PreparedValue::Inline(v) = put
            && old.location == ValueLocation::Inline
            && old.tail == v.len()
        {
            // As long as before: nothing moves, and the header but for the encoding is as it was.
            // SAFETY: the value lies behind the key, in a block that is ours exclusively and has
            // room for it.
            unsafe {
                e.p.cast::<u8>().write(type_encoding);
                copy_nonoverlapping(v.as_ptr(), e.view().inline_ptr(), v.len());
            }
            return k;
        }
        let new = put.layout(old.expire, old.klen);
        // The key moves with its length, if that is written before it.
        let prefix = if old.long_key() { 8 } else { 0 };
        let (from, to, len) = (old.key_at() - prefix, new.key_at() - prefix, old.klen + prefix);
        // SAFETY: both shapes have the same key and expire. Within a block the key may overlap its
        // new place, which `copy` allows; between blocks it can't. A new block is filled whole
        // before the tables know it, and the old one is freed when they have forgotten it.
        unsafe {
            if old.size() == new.size() {
                let p = e.p.as_ptr();
                if from != to {
                    copy(p.add(from), p.add(to), len);
                }
                new.write_header(p, type_encoding, lru);
                put.write(e.p, &new);
                return k;
            }
            let n = KeyEntry::alloc(&new);
            let (p, q) = (e.p.as_ptr(), n.p.as_ptr());
            new.write_header(q, type_encoding, lru);
            if new.expire {
                copy_nonoverlapping(p.add(HEADER), q.add(HEADER), 8);
            }
            copy_nonoverlapping(p.add(from), q.add(to), len);
            put.write(n.p, &new);
            let k = self.moved(k, n, new.expire);
            ManuallyDrop::into_inner(e).free(&old);
            k
        }
    }

    /// Gives an entry room for a time of expiry, or takes it away. The table `expires` is the
    /// caller's to change.
    #[inline(never)]
    fn resize_for_expire(&mut self, k: KeyRef, expire: bool) -> KeyRef {
        let e = self.owned(k);
        let old = e.view().layout();
        let new = BlockLayout { expire, ..old };
        let (from, to) = (old.body_at(), new.body_at());
        let len = old.key_at() + old.klen + old.tail - from;
        let Header { type_encoding, lru, .. } = e.view().header();
        // SAFETY: all behind the expire is the same in both shapes, at another distance; value and
        // key move as one. Values may be moved by copying their bytes, as long as the old ones are
        // forgotten. The rest as in `put`. The expire itself is written by the caller before anyone
        // reads it; zero until then.
        unsafe {
            let p = e.p.as_ptr();
            if old.size() == new.size() {
                copy(p.add(from), p.add(to), len);
                new.write_header(p, type_encoding, lru);
                if expire {
                    p.add(HEADER).cast::<i64>().write(0);
                }
                return k;
            }
            let n = KeyEntry::alloc(&new);
            let q = n.p.as_ptr();
            new.write_header(q, type_encoding, lru);
            if expire {
                q.add(HEADER).cast::<i64>().write(0);
            }
            copy_nonoverlapping(p.add(from), q.add(to), len);
            let k = self.moved(k, n, false);
            ManuallyDrop::into_inner(e).free(&old);
            k
        }
    }

    /// Puts a new block in the place of an old one in the tables.
    fn moved(&mut self, k: KeyRef, n: ManuallyDrop<KeyEntry>, expires: bool) -> KeyRef {
        let payload = to_payload(n);
        let replaced = self.dict.replace(k.hash, |p| p == k.payload, payload);
        assert!(replaced.is_some(), "an entry is in the table");
        if expires {
            let replaced = self.expires.replace(k.hash, |p| p == k.payload, payload);
            assert!(replaced.is_some(), "an entry with an expire is in both tables");
        }
        for (pending, _) in &mut self.pending_repack {
            if *pending == k.payload {
                *pending = payload;
            }
        }
        self.epoch = self.epoch.wrapping_add(1);
        self.make_ref(payload, k.hash)
    }

    // ------------------------------------------------------------------------------------------- active defragmentation

    /// Moves a key's block, and a string outside of it, where that is worth it
    /// (`activeDefragStringOb`, and what moves the key). An aggregate stays where it is.
    #[track_caller]
    pub fn activeDefragStringOb(&mut self, k: KeyRef, moves: &mut Defrag) -> KeyRef {
        let e = self.entry(k);
        let layout = e.layout();
        // SAFETY: the block was allocated with the layout of its shape. Whoever has its address, the
        // two tables and the list of those to be packed, gets the new one; references find out.
        let k = match unsafe { moves.activeDefragAlloc(e.p, layout.alloc_layout()) } {
            Some(p) => self.moved(k, ManuallyDrop::new(KeyEntry { p }), layout.expire),
            None => k,
        };
        if layout.location == ValueLocation::Outside {
            // SAFETY: the place says that there is a Vec; the keyspace is borrowed exclusively.
            moves.vec(unsafe { &mut *self.entry(k).value_ptr().cast::<Vec<u8>>() });
        }
        k
    }

    /// Returns an aggregate that is outside of its key's block, to be moved; `None` if it lies in
    /// it. Panics if it is of another type.
    #[track_caller]
    pub fn outside_mut<T: AggregateType>(&mut self, k: KeyRef) -> Option<AggregateGuard<'_, T>> {
        (self.entry(k).location() == ValueLocation::Pointer).then(|| self.change(k))
    }

    /// Moves what both tables have chained at a cursor of [`scan`](Self::scan), where that is worth
    /// it.
    pub fn defrag_buckets(&mut self, cursor: u64, moves: &mut Defrag) {
        self.dict.defrag_buckets(cursor, moves);
        if self.expires.is_first_visit(cursor) {
            self.expires.defrag_buckets(cursor, moves);
        }
    }

    /// Moves the arrays of both tables where that is worth it.
    pub fn defrag_tables(&mut self, moves: &mut Defrag) {
        self.dict.defrag_tables(moves);
        self.expires.defrag_tables(moves);
    }

    // --------------------------------------------------------------------------------------- walking and sampling

    /// Returns a random key.
    pub fn random_key(&self, rng: impl FnMut() -> u64) -> Option<KeyRef> {
        self.dict.random(rng).map(|p| self.ref_of(p))
    }

    /// Returns a random key among those with a time of expiry.
    pub fn random_expire(&self, rng: impl FnMut() -> u64) -> Option<KeyRef> {
        self.expires.random(rng).map(|p| self.ref_of(p))
    }

    /// Calls `f` for up to `count` keys from somewhere at random; see [`RawDict::get_some`].
    pub fn get_some_keys(
        &self,
        count: usize,
        rng: impl FnMut() -> u64,
        mut f: impl FnMut(KeyRef),
    ) -> usize {
        self.dict.get_some(count, rng, |p| f(self.ref_of(p)))
    }

    /// Calls `f` for up to `count` keys with a time of expiry, from somewhere at random, as
    /// [`get_some_keys`](Self::get_some_keys) does for all.
    pub fn get_some_expires(
        &self,
        count: usize,
        rng: impl FnMut() -> u64,
        mut f: impl FnMut(KeyRef),
    ) -> usize {
        self.expires.get_some(count, rng, |p| f(self.ref_of(p)))
    }

    /// Calls `f` for the keys at a cursor, and returns the next one; see [`RawDict::scan`].
    pub fn scan(&self, cursor: u64, mut f: impl FnMut(KeyRef)) -> u64 {
        self.dict.scan(cursor, |p| f(self.ref_of(p)))
    }

    /// Calls `f` for the keys with a time of expiry at a cursor, which is not one of
    /// [`scan`](Self::scan), and returns the next one.
    pub fn scan_expires(&self, cursor: u64, mut f: impl FnMut(KeyRef)) -> u64 {
        self.expires.scan(cursor, |p| f(self.ref_of(p)))
    }

    /// Returns all keys, prefetching ahead.
    pub fn iter(&self) -> KeyspaceIter<'_> {
        KeyspaceIter { raw: self.dict.iter() }
    }

    /// Returns the next key of an iteration during which the key returned last may be removed,
    /// between [`pause_rehashing`](Self::pause_rehashing) and
    /// [`resume_rehashing`](Self::resume_rehashing).
    pub fn next(&self, c: &mut DictCursor) -> Option<KeyRef> {
        self.dict.next(c).map(|p| self.ref_of(p))
    }

    /// Stops rehashing of both tables until resumed as often.
    pub fn pause_rehashing(&mut self) {
        self.dict.pause_rehashing();
        self.expires.pause_rehashing();
    }

    /// Takes one pause back.
    pub fn resume_rehashing(&mut self) {
        self.dict.resume_rehashing();
        self.expires.resume_rehashing();
    }

    // ------------------------------------------------------------------------------------------------------ tables

    /// Makes room for so many keys, and so many with a time of expiry, as far as there is memory.
    pub fn expand(&mut self, keys: usize, expires: usize) {
        self.dict.try_expand(keys);
        self.expires.try_expand(expires);
    }

    /// Shrinks tables that are nearly empty (`tryResizeHashTables`).
    pub fn resize_if_needed(&mut self) {
        for d in [&mut self.dict, &mut self.expires] {
            if d.needs_resize() {
                d.resize();
            }
        }
    }

    /// Moves one bucket of each table that is rehashing.
    #[inline]
    pub fn rehash_step(&mut self) {
        for d in [&mut self.dict, &mut self.expires] {
            if d.is_rehashing() {
                d.rehash_steps(1, rehash(self.seed));
            }
        }
    }

    /// Rehashes one of the tables, if any needs it, for `ms` milliseconds of `clock`
    /// (`incrementallyRehash`). `true`: there was something to do.
    pub fn rehash_ms(&mut self, ms: u64, clock: impl FnMut() -> u64) -> bool {
        for d in [&mut self.dict, &mut self.expires] {
            if d.is_rehashing() {
                d.rehash_milliseconds(ms, clock, rehash(self.seed));
                return true;
            }
        }
        false
    }

    /// Tells whether one of the tables is being rehashed, between two sizes.
    pub fn is_rehashing(&self) -> bool {
        self.dict.is_rehashing() || self.expires.is_rehashing()
    }

    /// Sets the resize policy of both tables (`updateDictResizePolicy`).
    pub fn set_resize_enabled(&mut self, enable: dictResizeEnable) {
        self.dict.set_resize_enabled(enable);
        self.expires.set_resize_enabled(enable);
    }

    /// Allows or forbids both tables to grow (`dictExpandAllowed`).
    pub fn set_expand_allowed(&mut self, allowed: bool) {
        self.dict.set_expand_allowed(allowed);
        self.expires.set_expand_allowed(allowed);
    }

    /// Returns the table of all keys, to ask for its size and so on.
    pub fn dict(&self) -> &RawDict {
        &self.dict
    }

    /// Returns the table of keys with a time of expiry, to ask for its size and so on.
    pub fn expires(&self) -> &RawDict {
        &self.expires
    }

    /// Returns the text of DEBUG HTSTATS: of the keys, and of those with a time of expiry.
    pub fn stats(&self) -> (Vec<u8>, Vec<u8>) {
        (self.dict.stats(), self.expires.stats())
    }

    /// Returns the bytes of both tables, without the entries.
    pub fn mem_usage(&self) -> usize {
        self.dict.mem_usage() + self.expires.mem_usage()
    }

    /// Frees all keys. `callback` is called once every 65536 keys.
    pub fn empty(&mut self, mut callback: impl FnMut()) {
        // First the tables let go of the entries; then they are freed, each once.
        self.pending_repack = Vec::new();
        let old = ManuallyDrop::new(self.take());
        // SAFETY: `old` is never dropped, so its tables may be moved out of it.
        let (dict, _expires) = unsafe { (std::ptr::read(&old.dict), std::ptr::read(&old.expires)) };
        for (i, p) in dict.iter().enumerate() {
            if i & 65535 == 0 {
                callback();
            }
            // SAFETY: each payload is an entry, and comes up once; the tables are only freed from
            // now on.
            drop(KeyEntry { p: unsafe { entry_at(p) }.p });
        }
    }

    /// Takes all keys out, and leaves an empty keyspace with the same settings. What is returned
    /// may be dropped by another thread: it owns its entries and tables alone.
    pub fn take(&mut self) -> Keyspace {
        // The same seed: a hash that the parser computed before a FLUSHALL is still the key's.
        let mut new = Keyspace::new(self.seed);
        new.dict.inherit(&self.dict);
        new.expires.inherit(&self.expires);
        std::mem::replace(self, new)
    }
}

impl Drop for Keyspace {
    fn drop(&mut self) {
        if self.len() > 0 {
            self.empty(|| ());
        }
    }
}

#[cold]
#[track_caller]
fn stale() -> ! {
    panic!("stale KeyRef: its entry was removed or has moved");
}

impl Entry<'_> {
    /// Prefetches what of a value is not in the cache lines that a lookup has touched: its block's
    /// end, or what is outside of the block, up to 1 KB of it.
    #[inline(always)]
    pub fn prefetch_value(&self) {
        match self.location() {
            ValueLocation::Inline => {
                prefetch(self.inline_ptr().addr() + self.header().vlen as usize)
            }
            ValueLocation::Packed => {
                prefetch(self.inline_ptr().addr() + 64);
                prefetch(self.inline_ptr().addr() + 128);
            }
            ValueLocation::Int => {}
            ValueLocation::Outside => {
                // SAFETY: the place says that there is a Vec.
                prefetch_bytes(unsafe { &*self.value_ptr().cast::<Vec<u8>>() });
            }
            // SAFETY: the place says that there is a list.
            ValueLocation::List => unsafe { &*self.value_ptr().cast::<Quicklist>() }.prefetch(),
            // SAFETY: the place says that there is a pointer, which is only looked at.
            ValueLocation::Pointer => prefetch(unsafe { self.value_ptr().cast::<usize>().read() }),
        }
    }
}

/// The iterator of [`Keyspace::iter`].
pub struct KeyspaceIter<'a> {
    raw: RawIter<'a>,
}

impl<'a> Iterator for KeyspaceIter<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        // SAFETY: the table passes payloads that it holds.
        let p = self.raw.next_near(|p| unsafe { entry_at(p) }.prefetch_value())?;
        // SAFETY: the payload is in a table that is borrowed for 'a.
        Some(unsafe { entry_at(p) })
    }
}

/// Defines the accessors of a value whose type was checked before. They panic if it is of another
/// type.
macro_rules! aggregate_accessors {
    ($($variant:ident, $get:ident -> $ref:ty, $get_mut:ident -> $mut:ty, $change:ident;)*) => {
        impl Keyspace {
            $(
                #[inline]
                #[track_caller]
                pub fn $get(&self, k: KeyRef) -> $ref {
                    match self.get(k) {
                        ValueRef::Aggregate(AggregateRef::$variant(v)) => v,
                        _ => panic!("the key's value is of another type"),
                    }
                }

                #[inline]
                #[track_caller]
                pub fn $get_mut(&mut self, k: KeyRef) -> $mut {
                    self.$change(k)
                }
            )*
        }
    };
}

aggregate_accessors! {
    List, list -> &Quicklist, list_mut -> &mut Quicklist, list_in_block;
    Set, set -> SetRef<'_>, set_mut -> AggregateGuard<'_, Set>, change;
    Zset, zset -> ZsetRef<'_>, zset_mut -> AggregateGuard<'_, Zset>, change;
    Hash, hash_value -> HashRef<'_>, hash_value_mut -> AggregateGuard<'_, Hash>, change;
    Stream, stream -> &Stream, stream_mut -> &mut Stream, boxed_mut;
}

impl Keyspace {
    /// Returns the table of a set, to change; `None` if the key's value is none.
    #[inline(always)]
    #[track_caller]
    pub fn set_table_mut(&mut self, k: KeyRef) -> Option<&mut Dict<SdsEntry>> {
        self.form_mut::<Box<Dict<SdsEntry>>>(k).map(|ht| &mut **ht)
    }

    /// Returns the table of a set, to look at; `None` if the key's value is none.
    #[inline(always)]
    #[track_caller]
    pub fn set_table(&self, k: KeyRef) -> Option<&Dict<SdsEntry>> {
        self.form::<Box<Dict<SdsEntry>>>(k).map(|ht| &**ht)
    }

    /// Returns the table of a hash, to look at; `None` if the key's value is none.
    #[inline(always)]
    #[track_caller]
    pub fn hash_table(&self, k: KeyRef) -> Option<&Dict<PairEntry>> {
        self.form::<Box<Dict<PairEntry>>>(k).map(|ht| &**ht)
    }

    /// Returns the table of a hash, to change; `None` if the key's value is none.
    #[inline(always)]
    #[track_caller]
    pub fn hash_table_mut(&mut self, k: KeyRef) -> Option<&mut Dict<PairEntry>> {
        self.form_mut::<Box<Dict<PairEntry>>>(k).map(|ht| &mut **ht)
    }

    /// Returns the skip list of a sorted set, with its table, to change; `None` if the key's value
    /// is none.
    #[inline(always)]
    #[track_caller]
    pub fn skiplist_mut(&mut self, k: KeyRef) -> Option<&mut zset> {
        self.form_mut::<Box<zset>>(k).map(|zs| &mut **zs)
    }
}

/// An aggregate that is taken out of a keyspace to be changed. Dropping the guard puts the value
/// back; its entry stays where it is.
// C: hashes, sets and sorted sets are behind a pointer, always.
pub struct AggregateGuard<'a, T: AggregateType> {
    keyspace: &'a mut Keyspace,
    k: KeyRef,
    value: ManuallyDrop<T>,
}

impl<T: AggregateType> Deref for AggregateGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: AggregateType> DerefMut for AggregateGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

#[cfg(test)]
impl<T: AggregateType> AggregateGuard<'_, T> {
    /// Drops the value and forgets the loan, so that the keyspace never gets it back.
    pub(super) fn lose(self) {
        let mut lost = ManuallyDrop::new(self);
        // SAFETY: the loan is never dropped, so that this is the only time the value is.
        unsafe { ManuallyDrop::drop(&mut lost.value) };
    }
}

impl<T: AggregateType> Drop for AggregateGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the value is taken once, here at its end.
        let value = unsafe { ManuallyDrop::take(&mut self.value) };
        self.keyspace.put_back(self.k, value.into_aggregate());
    }
}
