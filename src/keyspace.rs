//! `object.c`, the part that is the keyspace: values, the one allocation that holds a key with its value, and the two
//! tables over these.
//!
//! Read first: [`Object`], a value by itself; [`Keyspace`], the keys of one database; then [`KeyEntry`] for the layout.
//! Not here yet: the commands OBJECT and MEMORY, and the encodings that `tryObjectEncoding` chooses.
//!
//! Differs: where the C has a dictEntry, a key, a robj and a value, each allocated, and a second dictEntry for the time of
//! expiry, there is one block per key; `expires` is a table over the same blocks. There are no reference counts: a value
//! has one owner, and what a command remembers of a key is a checked [`KeyRef`]. A lookup writes nothing at all, so that
//! reading under a forked child copies no page; the access clock is set by [`Keyspace::set_lru`] alone.
#![allow(unsafe_code)] // a key's block is laid out by hand: header, expire, value and bytes of varying length

use crate::ds::dict::{Dict, DictCursor, PairEntry, RawDict, RawIter, SdsEntry, dictResizeEnable};
use crate::ds::intset::Intset;
use crate::ds::quicklist::{Quicklist, quicklistDup};
use crate::ds::siphash::{HashSeed, siphash};
use crate::ds::ziplist::Ziplist;
use crate::sys::bytes::SelfSized;
use crate::sys::mem::{prefetch, size_class};
use crate::types::t_hash::{Hash, HashRef};
use crate::types::t_set::{Set, SetRef};
use crate::types::t_stream::Stream;
use crate::types::t_zset::{Zset, ZsetRef, zset};
use crate::util::short_eq;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::hash::{BuildHasher, RandomState};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::{NonNull, copy, copy_nonoverlapping};

/// The type of a string.
pub const OBJ_STRING: u8 = 0;
/// The type of a list.
pub const OBJ_LIST: u8 = 1;
/// The type of a set.
pub const OBJ_SET: u8 = 2;
/// The type of a sorted set.
pub const OBJ_ZSET: u8 = 3;
/// The type of a hash.
pub const OBJ_HASH: u8 = 4;
/// The type of a module's value, of which there are none here.
pub const OBJ_MODULE: u8 = 5;
/// The type of a stream.
pub const OBJ_STREAM: u8 = 6;

/// A string in an allocation of its own, or one that would be.
pub const OBJ_ENCODING_RAW: u8 = 0;
/// A string that is a number.
pub const OBJ_ENCODING_INT: u8 = 1;
/// A hash table.
pub const OBJ_ENCODING_HT: u8 = 2;
/// Zipmaps are converted when they are loaded.
pub const OBJ_ENCODING_ZIPMAP: u8 = 3;
/// No longer used: the old encoding of lists.
pub const OBJ_ENCODING_LINKEDLIST: u8 = 4;
/// A ziplist.
pub const OBJ_ENCODING_ZIPLIST: u8 = 5;
/// A sorted array of integers.
pub const OBJ_ENCODING_INTSET: u8 = 6;
/// A skiplist with a hash table beside it.
pub const OBJ_ENCODING_SKIPLIST: u8 = 7;
/// A short string.
pub const OBJ_ENCODING_EMBSTR: u8 = 8;
/// A linked list of ziplists.
pub const OBJ_ENCODING_QUICKLIST: u8 = 9;
/// A radix tree of listpacks.
pub const OBJ_ENCODING_STREAM: u8 = 10;

/// Strings up to this length are embstr, unless they were changed in place.
pub const OBJ_ENCODING_EMBSTR_SIZE_LIMIT: usize = 44;

/// Strings up to this length lie in their key's block.
const INLINE_MAX: usize = 64;
/// Packed values up to this size lie in their key's block.
const INLINE_PACKED_MAX: usize = 256;
/// Behind keys of up to this length; so the room that one leaves is no more than a header can say.
const INLINE_PACKED_KEY_MAX: usize = 1024;
/// Above this size a string that grows gets 1 MB more than it needs instead of twice as much (`SDS_MAX_PREALLOC`).
const MAX_PREALLOC: usize = 1024 * 1024;

// ========================================================================================================== values

/// A value made of many: what is behind a key that is no string. Each is an enum or a structure of its own, in the file of its
/// type, and two words at most, which lie in the key's block.
pub enum Aggregate {
    List(Box<Quicklist>),
    Set(Set),
    Zset(Zset),
    Hash(Hash),
    Stream(Box<Stream>),
}

/// A value made of many, to look at.
#[derive(Clone, Copy)]
pub enum AggregateRef<'a> {
    List(&'a Quicklist),
    Set(SetRef<'a>),
    Zset(ZsetRef<'a>),
    Hash(HashRef<'a>),
    Stream(&'a Stream),
}

impl Aggregate {
    /// The value, to look at.
    pub fn as_ref(&self) -> AggregateRef<'_> {
        match self {
            Aggregate::List(ql) => AggregateRef::List(ql),
            Aggregate::Set(s) => AggregateRef::Set(s.as_ref()),
            Aggregate::Zset(z) => AggregateRef::Zset(z.as_ref()),
            Aggregate::Hash(h) => AggregateRef::Hash(h.as_ref()),
            Aggregate::Stream(s) => AggregateRef::Stream(s),
        }
    }
}

impl Aggregate {
    /// A header's type and encoding.
    #[inline(always)]
    fn type_encoding(&self) -> u8 {
        let a = self.as_ref();
        a.type_of() | a.encoding() << 4
    }
}

impl<'a> AggregateRef<'a> {
    /// `OBJ_LIST` and so on.
    pub fn type_of(self) -> u8 {
        match self {
            AggregateRef::List(_) => OBJ_LIST,
            AggregateRef::Set(_) => OBJ_SET,
            AggregateRef::Zset(_) => OBJ_ZSET,
            AggregateRef::Hash(_) => OBJ_HASH,
            AggregateRef::Stream(_) => OBJ_STREAM,
        }
    }

    /// `OBJ_ENCODING_QUICKLIST` and so on: what it is right now.
    pub fn encoding(self) -> u8 {
        match self {
            AggregateRef::List(_) => OBJ_ENCODING_QUICKLIST,
            AggregateRef::Set(SetRef::Intset(_)) => OBJ_ENCODING_INTSET,
            AggregateRef::Set(SetRef::Ht(_)) | AggregateRef::Hash(HashRef::Ht(_)) => {
                OBJ_ENCODING_HT
            }
            AggregateRef::Zset(ZsetRef::Ziplist(_)) | AggregateRef::Hash(HashRef::Ziplist(_)) => {
                OBJ_ENCODING_ZIPLIST
            }
            AggregateRef::Zset(ZsetRef::Skiplist(_)) => OBJ_ENCODING_SKIPLIST,
            AggregateRef::Stream(_) => OBJ_ENCODING_STREAM,
        }
    }

    /// How many allocations it takes, about, for lazy freeing.
    pub fn free_effort(self) -> usize {
        match self {
            AggregateRef::List(ql) => ql.len(),
            AggregateRef::Set(s) => s.free_effort(),
            AggregateRef::Zset(z) => z.free_effort(),
            AggregateRef::Hash(h) => h.free_effort(),
            AggregateRef::Stream(s) => s.free_effort(),
        }
    }

    /// Bytes of a packed value; 0 for all others.
    fn packed_size(self) -> usize {
        match self {
            AggregateRef::Set(SetRef::Intset(is)) => Intset::packed_size(is),
            AggregateRef::Zset(ZsetRef::Ziplist(zl)) | AggregateRef::Hash(HashRef::Ziplist(zl)) => {
                zl.len()
            }
            _ => 0,
        }
    }

    /// Bytes that what it points to takes up, from a sample of its elements. The bytes of a packed value are its key's: see
    /// [`Entry::alloc_size`].
    pub fn mem_usage(self, sample_size: usize) -> usize {
        match self {
            AggregateRef::List(ql) => ql.mem_usage(sample_size),
            AggregateRef::Set(s) => s.mem_usage(sample_size),
            AggregateRef::Zset(z) => z.mem_usage(sample_size),
            AggregateRef::Hash(h) => h.mem_usage(sample_size),
            AggregateRef::Stream(s) => s.mem_usage(sample_size),
        }
    }

    /// A copy of it (`listTypeDup`, `setTypeDup`, ...).
    pub fn dup(self) -> Aggregate {
        match self {
            AggregateRef::List(ql) => Aggregate::List(Box::new(quicklistDup(ql))),
            AggregateRef::Set(s) => Aggregate::Set(s.dup()),
            AggregateRef::Zset(z) => Aggregate::Zset(z.dup()),
            AggregateRef::Hash(h) => Aggregate::Hash(h.dup()),
            AggregateRef::Stream(s) => Aggregate::Stream(Box::new(s.dup())),
        }
    }
}

/// Ways to a value whose type was checked. They panic if it is of another type.
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
    List, list -> &Quicklist, list_mut -> &mut Quicklist, pointed;
    Set, set -> SetRef<'_>, set_mut -> Changing<'_, Set>, change;
    Zset, zset -> ZsetRef<'_>, zset_mut -> Changing<'_, Zset>, change;
    Hash, hash_value -> HashRef<'_>, hash_value_mut -> Changing<'_, Hash>, change;
    Stream, stream -> &Stream, stream_mut -> &mut Stream, pointed;
}

/// A value of a type of its own, as the commands on that type have it.
///
/// # Safety
/// `TYPE` is the type of what [`into_aggregate`](Self::into_aggregate) gives, and of nothing else that implements this.
pub unsafe trait AggregateType: Sized {
    /// `OBJ_LIST` and so on.
    const TYPE: u8;
    fn into_aggregate(self) -> Aggregate;
    /// The value; what is of another type is none.
    fn of(a: Aggregate) -> Option<Self>;
}

macro_rules! aggregate_types {
    ($($variant:ident, $type:ty, $constant:ident;)*) => {
        $(
            // SAFETY: each variant, with its constant, is listed once.
            unsafe impl AggregateType for $type {
                const TYPE: u8 = $constant;

                #[inline(always)]
                fn into_aggregate(self) -> Aggregate {
                    Aggregate::$variant(self)
                }

                #[inline(always)]
                fn of(a: Aggregate) -> Option<Self> {
                    match a {
                        Aggregate::$variant(v) => Some(v),
                        _ => None,
                    }
                }
            }

            impl From<$type> for Value<'_> {
                fn from(v: $type) -> Self {
                    Value::Own(Object::Aggregate(Aggregate::$variant(v)))
                }
            }
        )*
    };
}

aggregate_types! {
    List, Box<Quicklist>, OBJ_LIST;
    Set, Set, OBJ_SET;
    Zset, Zset, OBJ_ZSET;
    Hash, Hash, OBJ_HASH;
    Stream, Box<Stream>, OBJ_STREAM;
}

impl From<Quicklist> for Value<'_> {
    fn from(v: Quicklist) -> Self {
        Box::new(v).into()
    }
}

impl From<Stream> for Value<'_> {
    fn from(v: Stream) -> Self {
        Box::new(v).into()
    }
}

/// A value by itself, outside of the keyspace: what a `robj` is there.
pub enum Object {
    /// A string that is a number.
    Int(i64),
    /// A string: embstr if it is short, else raw.
    Str(Vec<u8>),
    /// A string that is raw even if it is short, because it was changed in place.
    Raw(Vec<u8>),
    /// Anything else.
    Aggregate(Aggregate),
}

impl Object {
    /// `OBJ_STRING` and so on.
    pub fn type_of(&self) -> u8 {
        self.as_ref().type_of()
    }

    /// `OBJ_ENCODING_RAW` and so on.
    pub fn encoding(&self) -> u8 {
        match self {
            Object::Int(_) => OBJ_ENCODING_INT,
            Object::Str(v) => string_encoding(v.len()),
            Object::Raw(_) => OBJ_ENCODING_RAW,
            Object::Aggregate(a) => a.as_ref().encoding(),
        }
    }

    /// The value, to look at.
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Object::Int(n) => ValueRef::Int(*n),
            Object::Str(v) | Object::Raw(v) => ValueRef::Str(v),
            Object::Aggregate(a) => ValueRef::Aggregate(a.as_ref()),
        }
    }
}

fn string_encoding(len: usize) -> u8 {
    if len <= OBJ_ENCODING_EMBSTR_SIZE_LIMIT { OBJ_ENCODING_EMBSTR } else { OBJ_ENCODING_RAW }
}

/// A value to look at.
#[derive(Clone, Copy)]
pub enum ValueRef<'a> {
    /// A string that is a number.
    Int(i64),
    /// A string.
    Str(&'a [u8]),
    /// Anything else.
    Aggregate(AggregateRef<'a>),
}

impl ValueRef<'_> {
    /// `OBJ_STRING` and so on.
    pub fn type_of(self) -> u8 {
        match self {
            ValueRef::Int(_) | ValueRef::Str(_) => OBJ_STRING,
            ValueRef::Aggregate(a) => a.type_of(),
        }
    }
}

/// A string to change in place, as far as its length stays.
pub enum ValueMut<'a> {
    /// A string that is a number.
    Int(&'a mut i64),
    /// A string. To make it longer, see [`Keyspace::string_mut`].
    Str(&'a mut [u8]),
}

/// A value on its way into the keyspace: borrowed bytes go straight into the key's block, without a copy between.
pub enum Value<'a> {
    /// A string that is a number.
    Int(i64),
    /// A string: embstr if it is short, else raw.
    Str(&'a [u8]),
    /// A string that is raw even if it is short.
    Raw(&'a [u8]),
    /// A value that is moved in.
    Own(Object),
}

impl From<Object> for Value<'_> {
    fn from(o: Object) -> Self {
        Value::Own(o)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(v: &'a [u8]) -> Self {
        Value::Str(v)
    }
}

impl From<i64> for Value<'_> {
    fn from(n: i64) -> Self {
        Value::Int(n)
    }
}

/// An aggregate on loan from a keyspace, to be changed. When it is dropped the value is back; its entry stays where it is.
// C: hashes, sets and sorted sets are behind a pointer, always.
pub struct Changing<'a, T: AggregateType> {
    keyspace: &'a mut Keyspace,
    k: KeyRef,
    value: ManuallyDrop<T>,
}

impl<T: AggregateType> Deref for Changing<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: AggregateType> DerefMut for Changing<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: AggregateType> Drop for Changing<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the value is taken once, here at its end.
        let value = unsafe { ManuallyDrop::take(&mut self.value) };
        self.keyspace.put_back(self.k, value.into_aggregate());
    }
}

/// A string that can grow, as the sds that APPEND, SETRANGE and SETBIT work on: it takes up more than it needs, so that
/// growing it little by little costs little.
pub struct StringBuf<'a>(&'a mut Vec<u8>);

impl StringBuf<'_> {
    /// Makes room for `add` bytes more (`sdsMakeRoomFor`): up to 1 MB twice as much as needed, then 1 MB more.
    pub fn reserve(&mut self, add: usize) {
        reserve(self.0, add);
    }

    /// Appends bytes (`sdscatlen`).
    pub fn append(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    /// Makes the string at least `len` bytes long, with zeros (`sdsgrowzero`).
    pub fn grow_zero(&mut self, len: usize) {
        if len > self.0.len() {
            self.reserve(len - self.0.len());
            self.0.resize(len, 0);
        }
    }

    /// Writes bytes at `offset`, after growing the string with zeros if it is too short for them.
    pub fn set_range(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset.checked_add(bytes.len()).expect("a string's length fits");
        self.grow_zero(end);
        self.0[offset..end].copy_from_slice(bytes);
    }
}

impl Deref for StringBuf<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0
    }
}

impl DerefMut for StringBuf<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.0
    }
}

fn reserve(v: &mut Vec<u8>, add: usize) {
    if v.capacity() - v.len() >= add {
        return;
    }
    let len = v.len().checked_add(add).expect("a string's length fits");
    let want = if len < MAX_PREALLOC { len * 2 } else { len + MAX_PREALLOC };
    v.reserve_exact(want - v.len());
}

// ========================================================================================================= entries

/// The first eight bytes of a key's block.
#[derive(Clone, Copy)]
#[repr(C)]
struct Header {
    /// Low four bits: the type. High four bits: the encoding.
    type_encoding: u8,
    /// Below, and from bit 4 on: offset of the key in units of eight bytes, rounded up.
    flags: u8,
    /// Length of the key, unless LONG_KEY.
    klen: u16,
    /// 24 bits of access clock or frequency.
    lru: [u8; 3],
    /// Length of an inline string; behind a key whose value is at a pointer, room in units of eight bytes. The first byte of
    /// the key, if SHORT_HEADER.
    vlen: u8,
}

/// The block has a time of expiry.
const HAS_EXPIRE: u8 = 1;
/// The key's length is the eight bytes before the key.
const LONG_KEY: u8 = 2;
/// The string or aggregate is in an allocation of its own.
const OUTSIDE: u8 = 4;
/// The key starts in the header's last byte. A packed value tells its length itself, and small ones are so many that a
/// byte counts.
const SHORT_HEADER: u8 = 8;
const HEADER: usize = size_of::<Header>();
/// What stands for the encoding while a value is being changed outside of the keyspace.
const LENT: u8 = 15;

/// Where a block holds its value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A string behind the key.
    Inline,
    /// A packed aggregate behind the key: a [`SelfSized`] as it is.
    Packed,
    /// An i64 before the key.
    Int,
    /// A `Vec<u8>` before the key.
    Outside,
    /// Before the key, a pointer to an aggregate: one of those of [`write_pointer`]. Behind the key, room in units of eight
    /// bytes, from when the value was packed there.
    Pointer,
}

impl Place {
    /// Bytes before the key.
    #[inline(always)]
    fn size(self) -> usize {
        match self {
            Place::Inline | Place::Packed => 0,
            Place::Int => size_of::<i64>(),
            Place::Outside => size_of::<Vec<u8>>(),
            Place::Pointer => POINTER,
        }
    }
}

/// Bytes of any pointer to an aggregate.
const POINTER: usize = 8;

/// Writes the pointer that an aggregate is.
///
/// # Safety
/// `at` is aligned to eight bytes, with room for a pointer.
#[inline(always)]
unsafe fn write_pointer(at: *mut u8, a: Aggregate) {
    // SAFETY: by contract; each of these is a pointer, as the assertions below have it.
    unsafe {
        match a {
            Aggregate::List(v) => at.cast::<Box<Quicklist>>().write(v),
            Aggregate::Set(Set::Intset(v)) => at.cast::<Intset>().write(v),
            Aggregate::Set(Set::Ht(v)) => at.cast::<Box<Dict<SdsEntry>>>().write(v),
            Aggregate::Zset(Zset::Ziplist(v)) => at.cast::<Ziplist>().write(v),
            Aggregate::Zset(Zset::Skiplist(v)) => at.cast::<Box<zset>>().write(v),
            Aggregate::Hash(Hash::Ziplist(v)) => at.cast::<Ziplist>().write(v),
            Aggregate::Hash(Hash::Ht(v)) => at.cast::<Box<Dict<PairEntry>>>().write(v),
            Aggregate::Stream(v) => at.cast::<Box<Stream>>().write(v),
        }
    }
}

/// Moves an aggregate out of the pointer that it is.
///
/// # Safety
/// `write_pointer` wrote one of this type and encoding to `at`, and it is not used there again.
#[inline(always)]
unsafe fn read_pointer(at: *const u8, type_of: u8, encoding: u8) -> Aggregate {
    // SAFETY: by contract.
    unsafe {
        match (type_of, encoding) {
            (OBJ_LIST, OBJ_ENCODING_QUICKLIST) => {
                Aggregate::List(at.cast::<Box<Quicklist>>().read())
            }
            (OBJ_SET, OBJ_ENCODING_INTSET) => {
                Aggregate::Set(Set::Intset(at.cast::<Intset>().read()))
            }
            (OBJ_SET, OBJ_ENCODING_HT) => {
                Aggregate::Set(Set::Ht(at.cast::<Box<Dict<SdsEntry>>>().read()))
            }
            (OBJ_ZSET, OBJ_ENCODING_ZIPLIST) => {
                Aggregate::Zset(Zset::Ziplist(at.cast::<Ziplist>().read()))
            }
            (OBJ_ZSET, OBJ_ENCODING_SKIPLIST) => {
                Aggregate::Zset(Zset::Skiplist(at.cast::<Box<zset>>().read()))
            }
            (OBJ_HASH, OBJ_ENCODING_ZIPLIST) => {
                Aggregate::Hash(Hash::Ziplist(at.cast::<Ziplist>().read()))
            }
            (OBJ_HASH, OBJ_ENCODING_HT) => {
                Aggregate::Hash(Hash::Ht(at.cast::<Box<Dict<PairEntry>>>().read()))
            }
            (OBJ_STREAM, OBJ_ENCODING_STREAM) => Aggregate::Stream(at.cast::<Box<Stream>>().read()),
            _ => lent(),
        }
    }
}

/// An aggregate, to look at, behind the pointer that it is.
///
/// # Safety
/// `write_pointer` wrote one of this type and encoding to `at`, and it stays as it is for 'a.
#[inline(always)]
unsafe fn at_pointer<'a>(at: *const u8, type_of: u8, encoding: u8) -> AggregateRef<'a> {
    // SAFETY: by contract.
    unsafe {
        match (type_of, encoding) {
            (OBJ_LIST, OBJ_ENCODING_QUICKLIST) => AggregateRef::List(&*at.cast::<Box<Quicklist>>()),
            (OBJ_SET, OBJ_ENCODING_INTSET) => {
                AggregateRef::Set(SetRef::Intset(&*at.cast::<Intset>()))
            }
            (OBJ_SET, OBJ_ENCODING_HT) => {
                AggregateRef::Set(SetRef::Ht(&*at.cast::<Box<Dict<SdsEntry>>>()))
            }
            (OBJ_ZSET, OBJ_ENCODING_ZIPLIST) => {
                AggregateRef::Zset(ZsetRef::Ziplist(&*at.cast::<Ziplist>()))
            }
            (OBJ_ZSET, OBJ_ENCODING_SKIPLIST) => {
                AggregateRef::Zset(ZsetRef::Skiplist(&*at.cast::<Box<zset>>()))
            }
            (OBJ_HASH, OBJ_ENCODING_ZIPLIST) => {
                AggregateRef::Hash(HashRef::Ziplist(&*at.cast::<Ziplist>()))
            }
            (OBJ_HASH, OBJ_ENCODING_HT) => {
                AggregateRef::Hash(HashRef::Ht(&*at.cast::<Box<Dict<PairEntry>>>()))
            }
            (OBJ_STREAM, OBJ_ENCODING_STREAM) => AggregateRef::Stream(&*at.cast::<Box<Stream>>()),
            _ => lent(),
        }
    }
}

const _: () = {
    assert!(size_of::<Intset>() == POINTER && size_of::<Ziplist>() == POINTER);
    assert!(size_of::<Box<Quicklist>>() == POINTER);
};

#[cold]
fn lent() -> ! {
    panic!("a value that was lent to be changed, and never came back");
}

/// A packed aggregate made from the bytes that [`Place::Packed`] has.
#[inline(always)]
fn unpack(bytes: &[u8], type_of: u8) -> Aggregate {
    let bytes = SelfSized::from(bytes);
    match type_of {
        OBJ_SET => Aggregate::Set(Set::Intset(Intset::ofPacked(bytes))),
        OBJ_ZSET => Aggregate::Zset(Zset::Ziplist(Ziplist::ofPacked(bytes))),
        _ => Aggregate::Hash(Hash::Ziplist(Ziplist::ofPacked(bytes))),
    }
}

/// The bytes that [`Place::Packed`] has of an aggregate; `None` for what belongs behind a pointer.
#[inline(always)]
fn pack(a: &Aggregate, klen: usize) -> Option<&SelfSized> {
    let bytes = match a {
        Aggregate::Set(Set::Intset(is)) => is.packed(),
        Aggregate::Zset(Zset::Ziplist(zl)) | Aggregate::Hash(Hash::Ziplist(zl)) => zl.packed(),
        _ => return None,
    };
    (bytes.len() <= INLINE_PACKED_MAX && klen <= INLINE_PACKED_KEY_MAX).then_some(bytes)
}

/// All that decides a block's layout.
#[derive(Clone, Copy)]
struct Shape {
    expire: bool,
    place: Place,
    klen: usize,
    /// Bytes behind the key: an inline string, a packed aggregate, or room.
    tail: usize,
}

impl Shape {
    fn long_key(&self) -> bool {
        self.klen > u16::MAX as usize
    }

    fn short_header(&self) -> bool {
        self.place == Place::Packed && !self.expire
    }

    /// Offset of what comes behind header and expire: the value that is before the key, or the key.
    fn body_at(&self) -> usize {
        match (self.short_header(), self.expire) {
            (true, _) => HEADER - 1,
            (_, false) => HEADER,
            (_, true) => HEADER + 8,
        }
    }

    fn key_at(&self) -> usize {
        self.body_at() + self.place.size() + if self.long_key() { 8 } else { 0 }
    }

    fn size(&self) -> usize {
        let mut size = self.key_at() + self.klen + self.tail;
        if self.place == Place::Packed {
            // At any time its pointer shall find room there.
            size = size.max(Shape { place: Place::Pointer, tail: 0, ..*self }.size());
        }
        size_class(size)
    }

    fn layout(&self) -> Layout {
        Layout::from_size_align(self.size(), 8).expect("a key's length fits")
    }

    /// The shape that a block of this one, with a packed value, takes on when the value leaves for a place of its own: as large
    /// as before.
    fn with_pointer(&self) -> Shape {
        let bare = Shape { place: Place::Pointer, tail: 0, ..*self };
        Shape { tail: (self.size() - bare.key_at() - bare.klen) & !7, ..bare }
    }

    /// Writes a header, but for the byte that is the key's.
    ///
    /// # Safety
    /// `p` is a block of our own of this shape.
    #[inline(always)]
    unsafe fn write_header(&self, p: *mut u8, type_encoding: u8, lru: [u8; 3]) {
        let mut flags = (self.key_at().div_ceil(8) as u8) << 4;
        flags |= if self.expire { HAS_EXPIRE } else { 0 };
        flags |= if self.long_key() { LONG_KEY } else { 0 };
        flags |= if matches!(self.place, Place::Outside | Place::Pointer) { OUTSIDE } else { 0 };
        flags |= if self.short_header() { SHORT_HEADER } else { 0 };
        let klen = if self.long_key() { 0 } else { self.klen as u16 };
        let vlen = match self.place {
            Place::Inline => self.tail as u8,
            Place::Pointer => (self.tail / 8) as u8,
            _ => 0,
        };
        let header = Header { type_encoding, flags, klen, lru, vlen };
        // SAFETY: a block starts with a header, and is aligned to eight bytes.
        unsafe {
            if self.short_header() {
                copy_nonoverlapping((&raw const header).cast::<u8>(), p, HEADER - 1);
            } else {
                p.cast::<Header>().write(header);
            }
        }
    }
}

/// A value made ready to be written to a block.
enum Put<'a> {
    Int(i64),
    Inline(&'a [u8]),
    InlineOwned(Vec<u8>),
    Outside(Vec<u8>),
    Aggregate(Aggregate),
}

impl<'a> Put<'a> {
    /// The value ready to be written, with its type and encoding.
    #[inline]
    fn prepare(v: Value<'a>) -> (Put<'a>, u8) {
        let string = |encoding: u8| OBJ_STRING | encoding << 4;
        let owned = |mut v: Vec<u8>| {
            if v.len() <= INLINE_MAX {
                return Put::InlineOwned(v);
            }
            // A value that stays shall not hold more than a tenth too much.
            if v.capacity() - v.len() > v.len() / 10 {
                v.shrink_to_fit();
            }
            Put::Outside(v)
        };
        let borrowed = |v: &'a [u8]| {
            if v.len() <= INLINE_MAX { Put::Inline(v) } else { Put::Outside(v.to_vec()) }
        };
        match v {
            Value::Int(n) | Value::Own(Object::Int(n)) => (Put::Int(n), string(OBJ_ENCODING_INT)),
            Value::Str(v) => (borrowed(v), string(string_encoding(v.len()))),
            Value::Raw(v) => (borrowed(v), string(OBJ_ENCODING_RAW)),
            Value::Own(Object::Str(v)) => {
                let encoding = string_encoding(v.len());
                (owned(v), string(encoding))
            }
            Value::Own(Object::Raw(v)) => (owned(v), string(OBJ_ENCODING_RAW)),
            Value::Own(Object::Aggregate(a)) => {
                let type_encoding = a.type_encoding();
                (Put::Aggregate(a), type_encoding)
            }
        }
    }

    /// The shape of a block with this value.
    #[inline(always)]
    fn shape(&self, expire: bool, klen: usize) -> Shape {
        let (place, tail) = match self {
            Put::Int(_) => (Place::Int, 0),
            Put::Inline(v) => (Place::Inline, v.len()),
            Put::InlineOwned(v) => (Place::Inline, v.len()),
            Put::Outside(_) => (Place::Outside, 0),
            Put::Aggregate(a) => match pack(a, klen) {
                Some(bytes) => (Place::Packed, bytes.len()),
                None => (Place::Pointer, 0),
            },
        };
        Shape { expire, place, klen, tail }
    }

    /// Writes the value to a block.
    ///
    /// # Safety
    /// `p` is a block of our own of this shape, which is the shape for this value, and holds no other value.
    unsafe fn write(self, p: NonNull<u8>, shape: &Shape) {
        // SAFETY: by contract the block has room for the value where its shape says. Offsets before the key are multiples
        // of eight, as the block's address is. Borrowed bytes can't lie in a block that is ours exclusively.
        unsafe {
            let at = p.as_ptr().add(shape.body_at());
            let end = p.as_ptr().add(shape.key_at() + shape.klen);
            match self {
                Put::Int(n) => at.cast::<i64>().write(n),
                Put::Inline(v) => copy_nonoverlapping(v.as_ptr(), end, v.len()),
                Put::InlineOwned(v) => copy_nonoverlapping(v.as_ptr(), end, v.len()),
                Put::Outside(v) => at.cast::<Vec<u8>>().write(v),
                Put::Aggregate(a) => match pack(&a, shape.klen) {
                    Some(bytes) => copy_nonoverlapping(bytes.as_ptr(), end, bytes.len()),
                    None => write_pointer(at, a),
                },
            }
        }
    }
}

/// A key with all that belongs to it, in one block of its own:
///
/// ```text
///   [header 8] [expire 8, if any] [i64, Vec or pointer, unless inline] [length 8, if long] [key] [inline string or packed]
/// ```
///
/// A 16-byte key with a 16-byte value is 40 bytes. The block's size is a size class, told from its contents; what
/// fits in the same class is changed in place. A packed value (ziplist, intset) that outgrows its block leaves for a place of
/// its own, and comes back with [`Keyspace::settle`].
///
/// As an owned value it is what [`Keyspace::remove`] returns: dropping it frees key and value.
pub struct KeyEntry {
    p: NonNull<u8>,
}

// SAFETY: an entry owns its block and its value alone, and values are made of bytes, numbers and aggregates, which may
// change threads as the assertion below has it.
unsafe impl Send for KeyEntry {}
const _: () = {
    const fn send<T: Send>() {}
    send::<Object>();
    send::<Keyspace>();
};

impl KeyEntry {
    fn new(key: &[u8], expire: Option<i64>, lru: u32, value: Value) -> KeyEntry {
        let (put, type_encoding) = Put::prepare(value);
        let shape = put.shape(expire.is_some(), key.len());
        let e = KeyEntry::alloc(&shape);
        // SAFETY: the block is new and has this shape; offsets before the key are multiples of eight.
        unsafe {
            let p = e.p.as_ptr();
            shape.write_header(p, type_encoding, lru_bytes(lru));
            if let Some(at) = expire {
                p.add(HEADER).cast::<i64>().write(at);
            }
            if shape.long_key() {
                p.add(shape.key_at() - 8).cast::<usize>().write(key.len());
            }
            copy_nonoverlapping(key.as_ptr(), p.add(shape.key_at()), key.len());
            put.write(e.p, &shape);
        }
        ManuallyDrop::into_inner(e)
    }

    /// A block of this shape with nothing in it yet, not even a header.
    fn alloc(shape: &Shape) -> ManuallyDrop<KeyEntry> {
        let layout = shape.layout();
        // SAFETY: a block has at least a header.
        let p =
            NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
        ManuallyDrop::new(KeyEntry { p })
    }

    /// Frees the block alone.
    ///
    /// # Safety
    /// `shape` is the block's, its value was taken out, and it is not used any more.
    unsafe fn free(self, shape: &Shape) {
        let e = ManuallyDrop::new(self);
        // SAFETY: by contract; blocks are allocated with the layout of their shape.
        unsafe { dealloc(e.p.as_ptr(), shape.layout()) };
    }

    #[inline(always)]
    fn view(&self) -> Entry<'_> {
        Entry { p: self.p, life: PhantomData }
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        self.view().key()
    }

    /// The value.
    pub fn value(&self) -> ValueRef<'_> {
        self.view().value()
    }

    /// The time of expiry in milliseconds since 1970, if there is one.
    pub fn expire(&self) -> Option<i64> {
        self.view().expire()
    }

    /// The access clock or frequency.
    pub fn lru(&self) -> u32 {
        self.view().lru()
    }

    /// `OBJ_STRING` and so on.
    pub fn type_of(&self) -> u8 {
        self.view().type_of()
    }

    /// `OBJ_ENCODING_RAW` and so on.
    pub fn encoding(&self) -> u8 {
        self.view().encoding()
    }

    /// The value by itself.
    pub fn into_object(self) -> Object {
        let shape = self.view().shape();
        // SAFETY: the value is taken once, and the block freed without it.
        unsafe {
            let o = self.take_object();
            self.free(&shape);
            o
        }
    }

    /// Moves the value out of the block.
    ///
    /// # Safety
    /// The value is not used again through the block; what follows is another value or the block's end.
    unsafe fn take_object(&self) -> Object {
        let v = self.view();
        let encoding = v.header().type_encoding >> 4;
        let string = |v: Vec<u8>| {
            // Embstr is what a short string is by itself; a long one can only be raw.
            if encoding == OBJ_ENCODING_RAW && v.len() <= OBJ_ENCODING_EMBSTR_SIZE_LIMIT {
                Object::Raw(v)
            } else {
                Object::Str(v)
            }
        };
        // SAFETY: the place says what is there; by contract it is moved, not copied.
        unsafe {
            match v.place() {
                Place::Int => Object::Int(v.value_ptr().cast::<i64>().read()),
                Place::Inline => string(v.inline().to_vec()),
                Place::Outside => string(v.value_ptr().cast::<Vec<u8>>().read()),
                Place::Packed | Place::Pointer => Object::Aggregate(v.take_aggregate()),
            }
        }
    }

    /// Drops the value in the block.
    ///
    /// # Safety
    /// As for [`take_object`](Self::take_object).
    unsafe fn drop_value(&self) {
        let v = self.view();
        let encoding = v.encoding();
        // SAFETY: the place says what is there, and it is dropped once.
        unsafe {
            match v.place() {
                Place::Int | Place::Inline | Place::Packed => {}
                Place::Outside => v.value_ptr().cast::<Vec<u8>>().drop_in_place(),
                // A value that was lent, and never came back, is somewhere else.
                Place::Pointer if encoding == LENT => {}
                Place::Pointer => drop(v.take_aggregate()),
            }
        }
    }
}

impl Drop for KeyEntry {
    fn drop(&mut self) {
        let shape = self.view().shape();
        // SAFETY: the entry is at its end: its value is dropped, then its block.
        unsafe {
            self.drop_value();
            dealloc(self.p.as_ptr(), shape.layout());
        }
    }
}

fn lru_bytes(lru: u32) -> [u8; 3] {
    let [a, b, c, _] = lru.to_le_bytes();
    [a, b, c]
}

/// A key with all that belongs to it, to look at, as the iterator of a keyspace lends it.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    p: NonNull<u8>,
    life: PhantomData<&'a KeyEntry>,
}

impl<'a> Entry<'a> {
    #[inline(always)]
    fn header(self) -> Header {
        // SAFETY: an Entry stands for a live block, which starts with a header and is aligned to eight bytes.
        unsafe { self.p.cast::<Header>().read() }
    }

    #[inline(always)]
    fn place(self) -> Place {
        let h = self.header();
        let string = h.type_encoding & 15 == OBJ_STRING;
        match (string, h.flags & OUTSIDE != 0) {
            (true, false) if h.type_encoding >> 4 == OBJ_ENCODING_INT => Place::Int,
            (true, false) => Place::Inline,
            (true, true) => Place::Outside,
            (false, false) => Place::Packed,
            (false, true) => Place::Pointer,
        }
    }

    fn shape(self) -> Shape {
        let h = self.header();
        let (place, klen) = (self.place(), self.key().len());
        let tail = match place {
            Place::Inline => h.vlen as usize,
            Place::Pointer => h.vlen as usize * 8,
            Place::Packed => self.packed().len(),
            Place::Int | Place::Outside => 0,
        };
        Shape { expire: h.flags & HAS_EXPIRE != 0, place, klen, tail }
    }

    /// Address of a value that is not inline.
    #[inline(always)]
    fn value_ptr(self) -> *mut u8 {
        let expire = (self.header().flags & HAS_EXPIRE) as usize * 8;
        // SAFETY: within the block.
        unsafe { self.p.as_ptr().add(HEADER + expire) }
    }

    /// Address of the key.
    #[inline(always)]
    fn key_ptr(self) -> *mut u8 {
        let flags = self.header().flags;
        let short = (flags & SHORT_HEADER) as usize / SHORT_HEADER as usize;
        // SAFETY: the header tells where the key is, in the same block.
        unsafe { self.p.as_ptr().add((flags >> 4) as usize * 8 - short) }
    }

    /// The key.
    #[inline(always)]
    pub fn key(self) -> &'a [u8] {
        let h = self.header();
        // SAFETY: the header tells how long the key is, or where its length is; the block lives for 'a.
        unsafe {
            let key = self.key_ptr();
            let klen = if h.flags & LONG_KEY != 0 {
                key.sub(8).cast::<usize>().read()
            } else {
                h.klen as usize
            };
            std::slice::from_raw_parts(key, klen)
        }
    }

    /// Address of what is right behind the key.
    #[inline(always)]
    fn inline_ptr(self) -> *mut u8 {
        // SAFETY: the key ends within the block, or at its end.
        unsafe { self.key_ptr().add(self.key().len()) }
    }

    /// The bytes of a packed aggregate behind the key.
    #[inline(always)]
    fn packed(self) -> &'a [u8] {
        let p = self.inline_ptr();
        // SAFETY: what is there was copied from a `SelfSized`, which starts with its length; the block lives for 'a.
        unsafe { std::slice::from_raw_parts(p, SelfSized::len_at(p)) }
    }

    #[inline(always)]
    fn inline(self) -> &'a [u8] {
        // SAFETY: the header tells the length of the bytes behind the key; the block lives for 'a.
        unsafe { std::slice::from_raw_parts(self.inline_ptr(), self.header().vlen as usize) }
    }

    /// The value.
    #[inline(always)]
    pub fn value(self) -> ValueRef<'a> {
        // SAFETY: the place says what is there; the block lives for 'a, and is not changed meanwhile.
        unsafe {
            match self.place() {
                Place::Inline => ValueRef::Str(self.inline()),
                Place::Int => ValueRef::Int(self.value_ptr().cast::<i64>().read()),
                Place::Outside => ValueRef::Str(&*self.value_ptr().cast::<Vec<u8>>()),
                Place::Packed | Place::Pointer => ValueRef::Aggregate(self.aggregate()),
            }
        }
    }

    /// The value, which is no string.
    #[inline(always)]
    fn aggregate(self) -> AggregateRef<'a> {
        let type_of = self.type_of();
        if self.place() == Place::Packed {
            let bytes = self.packed();
            return match type_of {
                OBJ_SET => AggregateRef::Set(SetRef::Intset(Intset::bytesOfPacked(bytes))),
                OBJ_ZSET => AggregateRef::Zset(ZsetRef::Ziplist(bytes)),
                _ => AggregateRef::Hash(HashRef::Ziplist(bytes)),
            };
        }
        // SAFETY: type and encoding say what is there; the block lives for 'a, and is not changed meanwhile.
        unsafe { at_pointer(self.value_ptr(), type_of, self.encoding()) }
    }

    /// Moves the value, which is no string, out of the block.
    ///
    /// # Safety
    /// The value is not used again through the block.
    #[inline(always)]
    unsafe fn take_aggregate(self) -> Aggregate {
        if self.place() == Place::Packed {
            return unpack(self.packed(), self.type_of());
        }
        // SAFETY: type and encoding say what is there; by contract it is moved, not copied.
        unsafe { read_pointer(self.value_ptr(), self.type_of(), self.encoding()) }
    }

    /// The time of expiry in milliseconds since 1970, if there is one.
    #[inline]
    pub fn expire(self) -> Option<i64> {
        let has = self.header().flags & HAS_EXPIRE != 0;
        // SAFETY: the flag says that it is there, behind the header.
        has.then(|| unsafe { self.p.as_ptr().add(HEADER).cast::<i64>().read() })
    }

    /// The access clock or frequency, 24 bits.
    #[inline]
    pub fn lru(self) -> u32 {
        let [a, b, c] = self.header().lru;
        u32::from_le_bytes([a, b, c, 0])
    }

    /// `OBJ_STRING` and so on.
    #[inline]
    pub fn type_of(self) -> u8 {
        self.header().type_encoding & 15
    }

    /// `OBJ_ENCODING_RAW` and so on.
    #[inline]
    pub fn encoding(self) -> u8 {
        self.header().type_encoding >> 4
    }

    /// Bytes of the block, and of a string or packed value outside of it; not of any other aggregate.
    pub fn alloc_size(self) -> usize {
        let outside = match self.place() {
            // SAFETY: the place says that there is a Vec.
            Place::Outside => unsafe { (*self.value_ptr().cast::<Vec<u8>>()).capacity() },
            Place::Pointer => self.aggregate().packed_size(),
            _ => 0,
        };
        self.shape().size() + if outside > 0 { size_class(outside) } else { 0 }
    }
}

// ======================================================================================================== keyspace

/// A key of a [`Keyspace`], found before: what a `robj *` from a lookup is in the C, but checked.
///
/// It stays good as long as its entry is there and stays where it is. Methods that may move an entry return its new
/// reference. Using one whose entry is gone, or in another keyspace, panics with the place that did.
#[derive(Clone, Copy, Debug)]
pub struct KeyRef {
    payload: u64,
    hash: u64,
    /// The keyspace's count of removals and moves when this was made. While they are equal nothing is to be checked.
    epoch: u64,
}

/// The keys of one database: `db->dict` and `db->expires`.
///
/// `expires` is a second table over the same entries: those that have a time of expiry.
pub struct Keyspace {
    dict: RawDict,
    expires: RawDict,
    seed: HashSeed,
    /// Payloads and hashes of packed values that left their blocks, and may come back.
    unsettled: Vec<(u64, u64)>,
    /// Counts removals and moves. It starts at random, so that a reference to a key of one keyspace is not
    /// taken for one of another.
    epoch: u64,
}

#[inline(always)]
fn to_payload(e: ManuallyDrop<KeyEntry>) -> u64 {
    e.p.as_ptr().expose_provenance() as u64
}

/// The entry that a payload stands for, not to be dropped.
///
/// # Safety
/// `payload` is in a table of a keyspace, or was just taken out of it, and `'a` ends before the entry does.
#[inline(always)]
unsafe fn entry_at<'a>(payload: u64) -> Entry<'a> {
    let p = std::ptr::with_exposed_provenance_mut(payload as usize);
    // SAFETY: payloads are addresses of blocks, never null.
    Entry { p: unsafe { NonNull::new_unchecked(p) }, life: PhantomData }
}

/// What tells a table the hash of an entry that it moves.
#[inline(always)]
fn rehash(seed: HashSeed) -> impl Fn(u64) -> u64 {
    // SAFETY: tables call it with payloads that they hold, which are live entries.
    move |p| siphash(unsafe { entry_at(p) }.key(), &seed)
}

impl Default for Keyspace {
    /// An empty keyspace with a seed of its own.
    fn default() -> Self {
        Keyspace::new(HashSeed::random())
    }
}

impl Keyspace {
    /// An empty keyspace whose keys are hashed with `seed`. Give all databases the same one, so that a key's hash
    /// is known before its database is.
    pub fn new(seed: HashSeed) -> Keyspace {
        Keyspace {
            dict: RawDict::new(),
            expires: RawDict::new(),
            seed,
            unsettled: Vec::new(),
            epoch: RandomState::new().hash_one(0u8),
        }
    }

    /// Number of keys.
    #[inline]
    pub fn len(&self) -> usize {
        self.dict.len()
    }

    /// Number of keys with a time of expiry.
    #[inline]
    pub fn expires_len(&self) -> usize {
        self.expires.len()
    }

    /// The hash of a key.
    #[inline(always)]
    pub fn hash(&self, key: &[u8]) -> u64 {
        siphash(key, &self.seed)
    }

    // --------------------------------------------------------------------------------------- references and lookups

    /// The entry of a reference; panics when it is stale.
    #[inline(always)]
    #[track_caller]
    pub fn entry(&self, k: KeyRef) -> Entry<'_> {
        // Something was removed or moved since. Is it still there?
        if k.epoch != self.epoch && !self.contains(k) {
            stale();
        }
        // SAFETY: the payload is in our table: it was when the reference was made and nothing has left the table since,
        // or it was found there right now. The entry can't leave while `self` is borrowed.
        unsafe { entry_at(k.payload) }
    }

    /// Is the entry of a reference still there, at the same place?
    #[cold]
    pub fn contains(&self, k: KeyRef) -> bool {
        self.dict.find(k.hash, |p| p == k.payload).is_some()
    }

    #[inline(always)]
    fn make_ref(&self, payload: u64, hash: u64) -> KeyRef {
        KeyRef { payload, hash, epoch: self.epoch }
    }

    /// The reference of a payload that came from one of the tables just now.
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

    /// First stage of a lookup to come: asks for the bucket.
    #[inline(always)]
    pub fn prefetch_bucket(&self, hash: u64) {
        self.dict.prefetch_bucket(hash);
    }

    /// Second stage, when the bucket has come: asks for the entries that may be the one.
    #[inline(always)]
    pub fn prefetch_entry(&self, hash: u64) {
        self.dict.prefetch_payload(hash);
    }

    /// Third stage, when the entry has come: asks for the value that hangs off it, up to 1 KB of a string.
    #[inline(always)]
    pub fn prefetch_value(&self, hash: u64) {
        self.dict.candidates(hash, prefetch_outside);
    }

    /// The key.
    #[inline]
    #[track_caller]
    pub fn key(&self, k: KeyRef) -> &[u8] {
        self.entry(k).key()
    }

    /// The value.
    #[inline]
    #[track_caller]
    pub fn get(&self, k: KeyRef) -> ValueRef<'_> {
        self.entry(k).value()
    }

    /// The string, to change in place. Panics if it is none.
    #[inline]
    #[track_caller]
    pub fn get_mut(&mut self, k: KeyRef) -> ValueMut<'_> {
        let e = self.entry(k);
        // SAFETY: the place says what is there. The keyspace is borrowed exclusively, and so are its entries.
        unsafe {
            match e.place() {
                Place::Inline => ValueMut::Str(std::slice::from_raw_parts_mut(
                    e.inline_ptr(),
                    e.header().vlen as usize,
                )),
                Place::Int => ValueMut::Int(&mut *e.value_ptr().cast::<i64>()),
                Place::Outside => ValueMut::Str(&mut *e.value_ptr().cast::<Vec<u8>>()),
                Place::Packed | Place::Pointer => panic!("a string is expected"),
            }
        }
    }

    /// The aggregate, to change where it is. Panics if it is of another type.
    #[inline]
    #[track_caller]
    fn pointed<T>(&mut self, k: KeyRef) -> &mut T
    where
        Box<T>: AggregateType,
    {
        let e = self.entry(k);
        assert!(e.type_of() == Box::<T>::TYPE, "the key's value is of another type");
        // SAFETY: a value of a type that is a box is always one behind a pointer, whatever its size; we hold it exclusively.
        unsafe { &mut *e.value_ptr().cast::<Box<T>>() }
    }

    /// The aggregate, to change and perhaps to pack in another way. Panics if it is of another type.
    #[inline]
    #[track_caller]
    fn change<T: AggregateType>(&mut self, k: KeyRef) -> Changing<'_, T> {
        let e = self.entry(k);
        assert!(e.type_of() == T::TYPE, "the key's value is of another type");
        // SAFETY: the value is taken out, and the header says so until it is back; what is packed is copied, and stays.
        let value = unsafe {
            let value = e.take_aggregate();
            if e.place() == Place::Pointer {
                e.p.write(T::TYPE | LENT << 4);
            }
            value
        };
        let Some(value) = T::of(value) else { lent() };
        Changing { keyspace: self, k, value: ManuallyDrop::new(value) }
    }

    /// Puts a value back that was taken out by [`change`](Self::change). The entry stays where it is.
    #[inline]
    fn put_back(&mut self, k: KeyRef, a: Aggregate) {
        let e = self.entry(k);
        let type_encoding = a.type_encoding();
        // SAFETY: we hold the block exclusively, and it has no value but perhaps packed bytes, which need no drop. A pointer
        // finds room in any block that has packed bytes; the key may overlap its new place, which `copy` allows.
        unsafe {
            let p = e.p.as_ptr();
            if e.place() == Place::Pointer {
                let is_small = pack(&a, e.key().len()).is_some();
                p.write(type_encoding);
                write_pointer(e.value_ptr(), a);
                if !is_small {
                    return;
                }
            } else {
                let old = e.shape();
                if let Some(bytes) = pack(&a, old.klen)
                    && (Shape { tail: bytes.len(), ..old }).size() == old.size()
                {
                    copy_nonoverlapping(bytes.as_ptr(), e.inline_ptr(), bytes.len());
                    return;
                }
                let (new, lru) = (old.with_pointer(), e.header().lru);
                copy(p.add(old.key_at()), p.add(new.key_at()), old.klen);
                new.write_header(p, type_encoding, lru);
                write_pointer(p.add(new.body_at()), a);
            }
        }
        self.unsettled.push((k.payload, k.hash));
    }

    /// Packs values that were changed and are small into their keys' blocks, and takes the room from those that have outgrown
    /// theirs. Blocks may move: to be called when a command is done, and no [`KeyRef`] is in use any more.
    #[inline(always)]
    pub fn settle(&mut self) {
        if !self.unsettled.is_empty() {
            self.settle_all();
        }
    }

    fn settle_all(&mut self) {
        while let Some((payload, hash)) = self.unsettled.pop() {
            if self.dict.find(hash, |p| p == payload).is_none() {
                continue;
            }
            let k = self.make_ref(payload, hash);
            let e = self.owned(k);
            if e.view().place() == Place::Pointer {
                // SAFETY: the value is taken out, and `put` writes it again at once.
                unsafe {
                    let value = e.take_object();
                    self.put(k, e, Put::prepare(Value::Own(value)));
                }
            }
        }
    }

    /// `OBJ_STRING` and so on.
    #[inline]
    #[track_caller]
    pub fn type_of(&self, k: KeyRef) -> u8 {
        self.entry(k).type_of()
    }

    /// `OBJ_ENCODING_RAW` and so on.
    #[track_caller]
    pub fn encoding(&self, k: KeyRef) -> u8 {
        self.entry(k).encoding()
    }

    /// The access clock or frequency, 24 bits.
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
        // SAFETY: the block is live and starts with a header; we hold it exclusively.
        unsafe { (*e.p.cast::<Header>().as_ptr()).lru = lru_bytes(lru) };
    }

    /// Bytes that a key takes up: its block and a string outside of it; not an aggregate, nor its places in the tables.
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
        let removed = self.dict.remove(k.hash, |p| p == k.payload, rehash(self.seed));
        assert!(removed.is_some(), "an entry is in the table");
        if expires {
            self.expires.remove(k.hash, |p| p == k.payload, rehash(self.seed));
        }
        self.epoch = self.epoch.wrapping_add(1);
        KeyEntry { p }
    }

    /// Puts a value in the place of a key's value, which is freed. Time of expiry and access clock stay.
    #[inline]
    #[track_caller]
    pub fn set_value<'a>(&mut self, k: KeyRef, value: impl Into<Value<'a>>) -> KeyRef {
        let e = self.owned(k);
        let put = Put::prepare(value.into());
        if matches!(e.view().place(), Place::Inline | Place::Int) {
            // SAFETY: there is nothing to drop in what was there.
            return unsafe { self.put(k, e, put) };
        }
        // SAFETY: the value is taken out, and `put` writes another one at once. The old one is dropped last, when
        // all is well again.
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
        let put = Put::prepare(value.into());
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

    /// Calls `f` with the string of a key, to change it and its length. It becomes raw, and leaves the key's block for an
    /// allocation of its own that has room to grow (`dbUnshareStringValue`). Panics if it is no string.
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
            ValueRef::Str(v) => (e.view().place() == Place::Inline).then(|| v.to_vec()),
            ValueRef::Aggregate(_) => panic!("a string is expected"),
        };
        if let Some(string) = string {
            // SAFETY: what was there is a number or inline, so there is nothing to drop.
            k = unsafe { self.put(k, e, (Put::Outside(string), RAW)) };
        }
        let e = self.entry(k);
        // SAFETY: now the block has a Vec; the keyspace is borrowed exclusively, and `f` gets no hold of it.
        let string = unsafe {
            (*e.p.cast::<Header>().as_ptr()).type_encoding = RAW;
            &mut *e.value_ptr().cast::<Vec<u8>>()
        };
        (k, f(&mut StringBuf(string)))
    }

    /// The time of expiry in milliseconds since 1970, if there is one.
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
            k = self.reshape_expire(k, true);
            self.expires.insert(k.hash, k.payload, rehash(self.seed));
        }
        let e = self.entry(k);
        // SAFETY: the block has room for it behind its header, and we hold it exclusively.
        unsafe { e.p.as_ptr().add(HEADER).cast::<i64>().write(at) };
        k
    }

    /// Removes the time of expiry, if there is one.
    #[inline]
    #[track_caller]
    pub fn remove_expire(&mut self, k: KeyRef) -> KeyRef {
        if self.entry(k).expire().is_none() {
            return k;
        }
        self.expires.remove(k.hash, |p| p == k.payload, rehash(self.seed));
        self.reshape_expire(k, false)
    }

    /// The entry of a reference as if we owned it: it is still in the tables, and must not be dropped.
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
        (put, type_encoding): (Put, u8),
    ) -> KeyRef {
        let old = e.view().shape();
        let lru = e.view().header().lru;
        if let Put::Inline(v) = put
            && old.place == Place::Inline
            && old.tail == v.len()
        {
            // As long as before: nothing moves, and the header but for the encoding is as it was.
            // SAFETY: the value lies behind the key, in a block that is ours exclusively and has room for it.
            unsafe {
                e.p.cast::<u8>().write(type_encoding);
                copy_nonoverlapping(v.as_ptr(), e.view().inline_ptr(), v.len());
            }
            return k;
        }
        let new = put.shape(old.expire, old.klen);
        // The key moves with its length, if that is written before it.
        let prefix = if old.long_key() { 8 } else { 0 };
        let (from, to, len) = (old.key_at() - prefix, new.key_at() - prefix, old.klen + prefix);
        // SAFETY: both shapes have the same key and expire. Within a block the key may overlap its new place, which
        // `copy` allows; between blocks it can't. A new block is filled whole before the tables know it, and the old one
        // is freed when they have forgotten it.
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

    /// Gives an entry room for a time of expiry, or takes it away. The table `expires` is the caller's to change.
    #[inline(never)]
    fn reshape_expire(&mut self, k: KeyRef, expire: bool) -> KeyRef {
        let e = self.owned(k);
        let old = e.view().shape();
        let new = Shape { expire, ..old };
        let (from, to) = (old.body_at(), new.body_at());
        let len = old.key_at() + old.klen + old.tail - from;
        let Header { type_encoding, lru, .. } = e.view().header();
        // SAFETY: all behind the expire is the same in both shapes, at another distance; value and key move as one.
        // Values may be moved by copying their bytes, as long as the old ones are forgotten. The rest as in `put`. The
        // expire itself is written by the caller before anyone reads it; zero until then.
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
        for (unsettled, _) in &mut self.unsettled {
            if *unsettled == k.payload {
                *unsettled = payload;
            }
        }
        self.epoch = self.epoch.wrapping_add(1);
        self.make_ref(payload, k.hash)
    }

    // --------------------------------------------------------------------------------------- walking and sampling

    /// A random key.
    pub fn random_key(&self, rng: impl FnMut() -> u64) -> Option<KeyRef> {
        self.dict.random(rng).map(|p| self.ref_of(p))
    }

    /// A random key among those with a time of expiry.
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

    /// [`get_some_keys`](Self::get_some_keys) among those with a time of expiry.
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

    /// [`scan`](Self::scan) of the keys with a time of expiry, with a cursor of its own.
    pub fn scan_expires(&self, cursor: u64, mut f: impl FnMut(KeyRef)) -> u64 {
        self.expires.scan(cursor, |p| f(self.ref_of(p)))
    }

    /// All keys, prefetching ahead.
    pub fn iter(&self) -> KeyspaceIter<'_> {
        KeyspaceIter { raw: self.dict.iter() }
    }

    /// The next key of an iteration during which the key returned last may be removed, between
    /// [`pause_rehashing`](Self::pause_rehashing) and [`resume_rehashing`](Self::resume_rehashing).
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

    /// Rehashes one of the tables, if any needs it, for `ms` milliseconds of `clock` (`incrementallyRehash`).
    /// `true`: there was something to do.
    pub fn rehash_ms(&mut self, ms: u64, clock: impl FnMut() -> u64) -> bool {
        for d in [&mut self.dict, &mut self.expires] {
            if d.is_rehashing() {
                d.rehash_milliseconds(ms, clock, rehash(self.seed));
                return true;
            }
        }
        false
    }

    /// Is one of the tables between two sizes?
    pub fn is_rehashing(&self) -> bool {
        self.dict.is_rehashing() || self.expires.is_rehashing()
    }

    /// Lets both tables resize freely, or only when it is badly needed, as while a child lives.
    pub fn set_resize_allowed(&mut self, allowed: bool) {
        use dictResizeEnable::*;
        self.set_resize_enabled(if allowed { DICT_RESIZE_ENABLE } else { DICT_RESIZE_AVOID });
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

    /// The table of all keys, to ask for its size and so on.
    pub fn dict(&self) -> &RawDict {
        &self.dict
    }

    /// The table of keys with a time of expiry, to ask for its size and so on.
    pub fn expires(&self) -> &RawDict {
        &self.expires
    }

    /// The text of DEBUG HTSTATS: of the keys, and of those with a time of expiry.
    pub fn stats(&self) -> (Vec<u8>, Vec<u8>) {
        (self.dict.stats(), self.expires.stats())
    }

    /// Bytes of both tables, without the entries.
    pub fn mem_usage(&self) -> usize {
        self.dict.mem_usage() + self.expires.mem_usage()
    }

    /// Frees all keys. `callback` is called once every 65536 keys.
    pub fn empty(&mut self, mut callback: impl FnMut()) {
        // First the tables let go of the entries; then they are freed, each once.
        self.unsettled = Vec::new();
        let old = ManuallyDrop::new(self.take());
        // SAFETY: `old` is never dropped, so its tables may be moved out of it.
        let (dict, _expires) = unsafe { (std::ptr::read(&old.dict), std::ptr::read(&old.expires)) };
        for (i, p) in dict.iter().enumerate() {
            if i & 65535 == 0 {
                callback();
            }
            // SAFETY: each payload is an entry, and comes up once; the tables are only freed from now on.
            drop(KeyEntry { p: unsafe { entry_at(p) }.p });
        }
    }

    /// Takes all keys out, and leaves an empty keyspace with the same settings. What is returned may be dropped by another
    /// thread: it owns its entries and tables alone.
    pub fn take(&mut self) -> Keyspace {
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

/// Asks for a value that is not in its key's block.
#[inline(always)]
fn prefetch_outside(payload: u64) {
    // SAFETY: tables pass payloads that they hold.
    let e = unsafe { entry_at(payload) };
    match e.place() {
        Place::Inline => prefetch(e.inline_ptr().addr() + e.header().vlen as usize),
        Place::Packed => {
            prefetch(e.inline_ptr().addr() + 64);
            prefetch(e.inline_ptr().addr() + 128);
        }
        Place::Int => {}
        Place::Outside => {
            // SAFETY: the place says that there is a Vec.
            let v = unsafe { &*e.value_ptr().cast::<Vec<u8>>() };
            let mut at = 0;
            while at < v.len().min(1024) {
                prefetch(v.as_ptr().addr() + at);
                at += 64;
            }
        }
        // SAFETY: the place says that there is a pointer, which is only looked at.
        Place::Pointer => prefetch(unsafe { e.value_ptr().cast::<usize>().read() }),
    }
}

/// [`Keyspace::iter`]
pub struct KeyspaceIter<'a> {
    raw: RawIter<'a>,
}

impl<'a> Iterator for KeyspaceIter<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        let p = self.raw.next_near(prefetch_outside)?;
        // SAFETY: the payload is in a table that is borrowed for 'a.
        Some(unsafe { entry_at(p) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;
    use crate::types::t_hash::{
        HashLimits, createHashObject, hashTypeDelete, hashTypeInitIterator, hashTypeLength,
        hashTypeSet, withEntryBytes,
    };
    use crate::types::t_set::{SetLimits, createIntsetObject, createSetObject, setTypeAdd};
    use crate::types::t_zset::{ZADD_IN_NONE, ZsetLimits, createZsetZiplistObject, zsetAdd};
    use std::collections::BTreeMap;

    fn keyspace() -> Keyspace {
        Keyspace::new(HashSeed::new(*b"0123456789abcdef"))
    }

    #[derive(Clone, PartialEq, Debug)]
    enum Model {
        Int(i64),
        Str(Vec<u8>, u8),
    }

    fn check(e: Entry, m: &(Model, Option<i64>, u32)) {
        match (&m.0, e.value()) {
            (Model::Int(n), ValueRef::Int(v)) => {
                assert_eq!((*n, e.encoding()), (v, OBJ_ENCODING_INT))
            }
            (Model::Str(s, encoding), ValueRef::Str(v)) => {
                assert_eq!((&s[..], *encoding), (v, e.encoding()))
            }
            _ => panic!("another kind of value"),
        }
        assert_eq!((e.expire(), e.lru(), e.type_of()), (m.1, m.2, OBJ_STRING));
    }

    fn check_all(ks: &Keyspace, model: &BTreeMap<Vec<u8>, (Model, Option<i64>, u32)>) {
        assert_eq!(ks.len(), model.len());
        assert_eq!(ks.expires_len(), model.values().filter(|m| m.1.is_some()).count());
        assert_eq!(ks.iter().count(), model.len());
        ks.iter().for_each(|e| check(e, &model[e.key()]));
        for (k, m) in model {
            check(ks.entry(ks.find(k).expect("there")), m);
        }
        let (mut v, mut n) = (0, 0);
        loop {
            v = ks.scan_expires(v, |k| n += ks.expire(k).is_some() as usize);
            if v == 0 {
                break;
            }
        }
        assert!(n >= ks.expires_len());
    }

    #[test]
    fn keyspace_is_the_model() {
        for seed in 0..4 {
            let mut r = Rng::seeded(seed);
            let mut ks = keyspace();
            let mut model: BTreeMap<Vec<u8>, (Model, Option<i64>, u32)> = BTreeMap::new();
            for step in 0..20000u32 {
                // Keys of all lengths, a few of them longer than the short length can say.
                let id = r.below(2000);
                let len = if id == 0 { 70000 } else { id as usize % 50 };
                let mut key = format!("k{id}").into_bytes();
                key.resize(key.len() + len, b'x');
                let bytes = |r: &mut Rng| {
                    let n = [10, 50, 70, 300, 70000][r.below(5) as usize];
                    vec![r.next() as u8; r.below(n) as usize]
                };
                let value = |r: &mut Rng| match r.below(3) {
                    0 => {
                        let n = r.next() as i64;
                        (Object::Int(n), Model::Int(n))
                    }
                    1 => {
                        let b = bytes(r);
                        (Object::Raw(b.clone()), Model::Str(b, OBJ_ENCODING_RAW))
                    }
                    _ => {
                        let b = bytes(r);
                        (Object::Str(b.clone()), Model::Str(b.clone(), string_encoding(b.len())))
                    }
                };
                let found = ks.find(&key);
                assert_eq!(found.is_some(), model.contains_key(&key));
                let Some(k) = found else {
                    if r.below(2) == 0 && step < 15000 || r.below(8) == 0 {
                        let (o, m) = value(&mut r);
                        let k = ks.add(&key, o);
                        assert_eq!(ks.key(k), &key[..]);
                        model.insert(key, (m, None, 0));
                    }
                    continue;
                };
                let m = model.get_mut(&key).unwrap();
                let k = match r.below(8) {
                    0 | 1 => {
                        let (o, new) = value(&mut r);
                        m.0 = new;
                        ks.set_value(k, o)
                    }
                    2 => {
                        let (o, new) = value(&mut r);
                        let (k, old) = ks.replace_value(k, o);
                        match (old, std::mem::replace(&mut m.0, new)) {
                            (Object::Int(a), Model::Int(b)) => assert_eq!(a, b),
                            (Object::Str(a) | Object::Raw(a), Model::Str(b, _)) => assert_eq!(a, b),
                            _ => panic!("another kind of value"),
                        }
                        k
                    }
                    3 => {
                        m.1 = Some(step as i64);
                        ks.set_expire(k, step as i64)
                    }
                    4 => {
                        m.1 = None;
                        ks.remove_expire(k)
                    }
                    5 => {
                        let add = bytes(&mut r);
                        let (k, len) = ks.string_mut(k, |s| {
                            s.append(&add);
                            s.set_range(3, b"abc");
                            s.len()
                        });
                        let mut s = match &m.0 {
                            Model::Int(n) => n.to_string().into_bytes(),
                            Model::Str(s, _) => s.clone(),
                        };
                        s.extend_from_slice(&add);
                        s.resize(s.len().max(6), 0);
                        s[3..6].copy_from_slice(b"abc");
                        assert_eq!(len, s.len());
                        m.0 = Model::Str(s, OBJ_ENCODING_RAW);
                        k
                    }
                    6 => {
                        m.2 = r.next() as u32 & 0xffffff;
                        ks.set_lru(k, m.2);
                        m.0 = Model::Int(7);
                        ks.set_int(k, 7)
                    }
                    _ => {
                        let e = ks.remove(k);
                        check(e.view(), m);
                        let encoding = e.encoding();
                        assert_eq!(e.into_object().encoding(), encoding);
                        model.remove(&key);
                        assert!(!ks.contains(k));
                        continue;
                    }
                };
                check(ks.entry(k), &model[&key]);
                if step % 1000 == 0 {
                    ks.resize_if_needed();
                }
                if step % 5000 == 0 {
                    check_all(&ks, &model);
                }
            }
            check_all(&ks, &model);
            let taken = ks.take();
            assert_eq!((ks.len(), ks.expires_len(), ks.mem_usage()), (0, 0, 0));
            check_all(&taken, &model);
            std::thread::scope(|s| s.spawn(move || drop(taken)).join()).unwrap();
        }
    }

    #[test]
    fn small_keys_take_40_bytes() {
        let mut ks = keyspace();
        let k = ks.add(b"0123456789abcdef", &b"0123456789abcdef"[..]);
        assert_eq!((ks.alloc_size(k), ks.encoding(k)), (40, OBJ_ENCODING_EMBSTR));
        let k = ks.set_expire(k, 1);
        assert_eq!(ks.alloc_size(k), 48);
        let k = ks.add(b"12345678", 5);
        assert_eq!(ks.alloc_size(k), 24);
        for n in 0..300000u32 {
            ks.add(&n.to_be_bytes(), n as i64);
        }
        assert!(
            ks.mem_usage() / ks.len() < 32,
            "{} bytes of table a key",
            ks.mem_usage() / ks.len()
        );
    }

    const HASH_LIMITS: HashLimits =
        HashLimits { entries: 40, value: 64, resize: dictResizeEnable::DICT_RESIZE_ENABLE };

    fn fields(hash: HashRef) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let bytes = |e| withEntryBytes(e, <[u8]>::to_vec);
        hashTypeInitIterator(hash).map(|(field, value)| (bytes(field), bytes(value))).collect()
    }

    /// Hashes that grow, shrink, become tables, get and lose an expire, and are packed again at some time or other.
    #[test]
    fn packed_values_are_the_model() {
        for seed in 0..8 {
            let mut r = Rng::seeded(seed);
            let mut ks = keyspace();
            type Fields = BTreeMap<Vec<u8>, Vec<u8>>;
            let mut model: BTreeMap<Vec<u8>, (Fields, Option<i64>)> = BTreeMap::new();
            for step in 0..20000i64 {
                let id = r.below(60);
                let mut key = format!("k{id}").into_bytes();
                // Beyond the longest key that may have its value inline, and beyond the longest of a short length.
                let long = [0, 0, 0, 7, 1022, 1023, 70000][id % 7];
                key.resize(key.len() + long, b'x');
                let Some(k) = ks.find(&key) else {
                    ks.add(&key, createHashObject());
                    model.insert(key, Default::default());
                    continue;
                };
                let (m, expire) = model.get_mut(&key).unwrap();
                match r.below(16) {
                    0 => {
                        *expire = Some(step);
                        ks.set_expire(k, step);
                    }
                    1 => {
                        *expire = None;
                        ks.remove_expire(k);
                    }
                    2 => {
                        let e = ks.remove(k);
                        let Object::Aggregate(Aggregate::Hash(hash)) = e.into_object() else {
                            panic!("a hash")
                        };
                        assert_eq!(&fields(hash.as_ref()), m);
                        model.remove(&key);
                    }
                    3 => {
                        let (_, old) = ks.replace_value(k, createHashObject());
                        let Object::Aggregate(old) = old else { panic!("a hash") };
                        let AggregateRef::Hash(hash) = old.as_ref() else { panic!("a hash") };
                        assert_eq!(&fields(hash), m);
                        m.clear();
                    }
                    4 => {
                        // From a hash to a string and back.
                        let k = ks.set_value(k, &b"string"[..]);
                        ks.set_value(k, createHashObject());
                        m.clear();
                    }
                    5..=7 => {
                        let mut hash = ks.hash_value_mut(k);
                        for n in 0..r.below(60) {
                            let field = n.to_string().into_bytes();
                            let deleted = hashTypeDelete(&mut hash, &field, HASH_LIMITS);
                            assert_eq!(deleted, m.remove(&field).is_some());
                        }
                    }
                    8 => ks.settle(),
                    _ => {
                        for _ in 0..r.below(3) {
                            let mut hash = ks.hash_value_mut(k);
                            let field = r.below(60).to_string().into_bytes();
                            let value = vec![b'v'; r.below(20)];
                            hashTypeSet(&mut hash, &field, &value, HASH_LIMITS);
                            m.insert(field, value);
                        }
                    }
                }
                if let (Some(k), Some((m, expire))) = (ks.find(&key), model.get(&key)) {
                    assert_eq!((&fields(ks.hash_value(k)), &ks.expire(k)), (m, expire));
                    assert_eq!(ks.key(k), &key[..]);
                    assert!(ks.alloc_size(k) > key.len());
                }
            }
            ks.settle();
            for e in ks.iter() {
                let ValueRef::Aggregate(AggregateRef::Hash(hash)) = e.value() else {
                    panic!("a hash")
                };
                assert_eq!((&fields(hash), &e.expire()), {
                    let (m, expire) = &model[e.key()];
                    (m, expire)
                });
                assert_eq!(e.place() == Place::Packed, {
                    let small = AggregateRef::Hash(hash).packed_size() <= INLINE_PACKED_MAX;
                    matches!(hash, HashRef::Ziplist(_))
                        && small
                        && e.key().len() <= INLINE_PACKED_KEY_MAX
                });
            }
            let taken = ks.take();
            std::thread::scope(|s| s.spawn(move || drop(taken)).join()).unwrap();
        }
    }

    #[test]
    fn small_values_lie_with_their_keys() {
        let mut ks = keyspace();
        let (mut hash, mut zset, mut set) =
            (createHashObject(), createZsetZiplistObject(), createIntsetObject());
        for n in 0..10 {
            let (field, value) = (format!("f{n}"), format!("v{n}"));
            hashTypeSet(&mut hash, field.as_bytes(), value.as_bytes(), HASH_LIMITS);
            let limits = ZsetLimits { entries: 128, value: 64, resize: HASH_LIMITS.resize };
            zsetAdd(&mut zset, n as f64, field.as_bytes(), ZADD_IN_NONE, &limits).unwrap();
            let limits = SetLimits { entries: 128, resize: HASH_LIMITS.resize };
            setTypeAdd(&mut set, n.to_string().as_bytes(), limits);
        }
        // C: 14 bytes of key are 16, and with a dictEntry, an object and the packed bytes it is 152, 136 and 88.
        let k = ks.add(b"h:000000000000", hash);
        assert_eq!(ks.alloc_size(k), 112);
        let k = ks.add(b"z:000000000000", zset);
        assert_eq!(ks.alloc_size(k), 96);
        let k = ks.add(b"s:000000000000", set);
        assert_eq!(ks.alloc_size(k), 56);
    }

    /// A value that is being changed stays where it is, and so do the references to its key.
    #[test]
    fn a_changed_value_moves_when_it_is_settled() {
        let mut ks = keyspace();
        let k = ks.add(b"key", createHashObject());
        let before = ks.alloc_size(k);
        for n in 0..10 {
            let field = n.to_string().into_bytes();
            hashTypeSet(&mut ks.hash_value_mut(k), &field, b"value", HASH_LIMITS);
            assert_eq!(hashTypeLength(ks.hash_value(k)), n + 1);
        }
        assert!(ks.entry(k).place() == Place::Pointer && ks.alloc_size(k) > before);
        ks.settle();
        assert!(!ks.contains(k));
        let k = ks.find(b"key").unwrap();
        assert!(ks.entry(k).place() == Place::Packed && ks.unsettled.is_empty());
        // A table takes no more than its pointer.
        for n in 10..50 {
            let field = n.to_string().into_bytes();
            hashTypeSet(&mut ks.hash_value_mut(k), &field, b"value", HASH_LIMITS);
        }
        ks.settle();
        let k = ks.find(b"key").unwrap();
        assert_eq!((ks.encoding(k), ks.alloc_size(k)), (OBJ_ENCODING_HT, 24));
    }

    #[test]
    #[should_panic(expected = "never came back")]
    fn a_value_that_was_lent_and_forgotten_is_missed() {
        let mut ks = keyspace();
        let k = ks.add(b"key", createSetObject());
        let mut lent = ManuallyDrop::new(ks.set_mut(k));
        // SAFETY: nobody uses the value any more, least of all the loan, which is never dropped.
        unsafe { ManuallyDrop::drop(&mut lent.value) };
        ks.get(k);
    }

    #[test]
    fn what_fits_stays_in_place() {
        let mut ks = keyspace();
        let k = ks.add(b"key", &b"0123456789"[..]);
        // 21 bytes are 24 in fact, so there is room for a value of 13.
        let same = ks.set_value(k, &b"abcdefghijklm"[..]);
        assert_eq!(same.payload, k.payload);
        assert!(matches!(ks.get(k), ValueRef::Str(b"abcdefghijklm")));
        let n = ks.add(b"n", 1);
        assert_eq!(ks.set_int(n, 2).payload, n.payload);
        assert!(matches!(ks.get(n), ValueRef::Int(2)));
        assert!(ks.find(b"nothing").is_none());
        if let ValueMut::Str(s) = ks.get_mut(k) {
            s[0] = b'X';
        }
        assert!(matches!(ks.get(k), ValueRef::Str(b"Xbcdefghijklm")));
    }

    #[test]
    fn growing_strings_are_not_copied_each_time() {
        let mut ks = keyspace();
        let mut k = ks.add(b"key", &b""[..]);
        let mut places = std::collections::BTreeSet::new();
        for _ in 0..100000 {
            (k, _) = ks.string_mut(k, |s| {
                s.append(b"x");
                places.insert(s.as_ptr().addr());
            });
        }
        assert!(places.len() < 30, "{} places", places.len());
        let (_, cap) = ks.string_mut(k, |s| {
            s.grow_zero(3 * MAX_PREALLOC);
            s.0.capacity()
        });
        assert_eq!(cap, 4 * MAX_PREALLOC);
    }

    #[test]
    fn references_survive_what_happens_to_others() {
        let mut ks = keyspace();
        let a = ks.add(b"a", &b"one"[..]);
        let b = ks.add(b"b", &b"two"[..]);
        drop(ks.remove(b));
        assert_eq!(ks.key(a), b"a");
        assert!(ks.contains(a) && !ks.contains(b));
    }

    #[test]
    #[should_panic(expected = "stale KeyRef")]
    fn removed_key_is_stale() {
        let mut ks = keyspace();
        let k = ks.add(b"key", 1);
        drop(ks.remove(k));
        ks.get(k);
    }

    #[test]
    #[should_panic(expected = "stale KeyRef")]
    fn moved_key_is_stale() {
        let mut ks = keyspace();
        let k = ks.add(b"key", 1);
        let moved = ks.set_value(k, &[1u8; 60][..]);
        assert_eq!(ks.key(moved), b"key");
        ks.get(k);
    }

    #[test]
    #[should_panic(expected = "stale KeyRef")]
    fn key_of_another_keyspace_is_stale() {
        let mut ks = keyspace();
        let other = keyspace();
        let k = ks.add(b"key", 1);
        other.get(k);
    }

    #[test]
    #[should_panic(expected = "stale KeyRef")]
    fn taken_key_is_stale() {
        let mut ks = keyspace();
        let k = ks.add(b"key", 1);
        let _taken = ks.take();
        ks.get(k);
    }

    #[test]
    fn iteration_allows_removal() {
        let mut ks = keyspace();
        for n in 0..5000u32 {
            let k = ks.add(&n.to_be_bytes(), n as i64);
            if n % 3 == 0 {
                ks.set_expire(k, 1);
            }
        }
        ks.pause_rehashing();
        let (mut c, mut seen) = (DictCursor::START, 0);
        while let Some(k) = ks.next(&mut c) {
            seen += 1;
            if ks.expire(k).is_some() {
                drop(ks.remove(k));
            }
        }
        ks.resume_rehashing();
        assert_eq!((seen, ks.expires_len(), ks.len()), (5000, 0, 5000 - 1667));
        let mut calls = 0;
        ks.empty(|| calls += 1);
        assert_eq!((calls, ks.len()), (1, 0));
        assert!(ks.random_key(|| 0).is_none());
    }

    #[test]
    fn samples_are_keys() {
        let mut ks = keyspace();
        let mut r = Rng::seeded(9);
        for n in 0..1000u32 {
            let key = n.to_be_bytes();
            ks.add_full(&key, ks.hash(&key), Value::Int(n as i64), (n < 10).then_some(5), 3);
        }
        for _ in 0..100 {
            let k = ks.random_expire(|| r.next()).unwrap();
            assert_eq!((ks.expire(k), ks.lru(k)), (Some(5), 3));
            assert!(ks.random_key(|| r.next()).is_some_and(|k| ks.contains(k)));
        }
        assert_eq!(
            ks.get_some_expires(100, || r.next(), |k| assert_eq!(ks.expire(k), Some(5))),
            10
        );
        assert_eq!(ks.get_some_keys(16, || r.next(), |k| assert_eq!(ks.lru(k), 3)), 16);
        for n in 0..1200u32 {
            let h = ks.hash(&n.to_be_bytes());
            ks.prefetch_bucket(h);
            ks.prefetch_entry(h);
            ks.prefetch_value(h);
        }
    }
}
