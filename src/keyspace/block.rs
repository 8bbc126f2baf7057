//! One allocation per key: its layout, and what is written to it and read from it.
#![allow(unsafe_code)] // a key's block is laid out by hand: header, expire, value and bytes of varying length

use super::Keyspace;
use super::value::*;
use crate::ds::dict::{Dict, PairEntry, SdsEntry};
use crate::ds::intset::Intset;
use crate::ds::quicklist::Quicklist;
use crate::ds::ziplist::Ziplist;
use crate::sys::bytes::SelfSized;
use crate::sys::mem::size_class;
use crate::types::t_hash::{Hash, HashRef};
use crate::types::t_set::{Set, SetRef};
use crate::types::t_stream::Stream;
use crate::types::t_zset::{Zset, ZsetRef, zset};
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::{NonNull, copy_nonoverlapping};

/// Strings up to this length lie in their key's block.
pub(super) const INLINE_MAX: usize = 64;
/// Packed values up to this size lie in their key's block.
pub(super) const INLINE_PACKED_MAX: usize = 256;
/// Behind keys of up to this length; so the room that one leaves is no more than a header can say.
pub(super) const INLINE_PACKED_KEY_MAX: usize = 1024;

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

/// The first eight bytes of a key's block.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Header {
    /// Low four bits: the type. High four bits: the encoding.
    pub(super) type_encoding: u8,
    /// Below, and from bit 4 on: offset of the key in units of eight bytes, rounded up.
    pub(super) flags: u8,
    /// Length of the key, unless LONG_KEY.
    pub(super) klen: u16,
    /// 24 bits of access clock or frequency.
    pub(super) lru: [u8; 3],
    /// Length of an inline string; behind a key whose value is at a pointer, room in units of eight bytes. The first byte of
    /// the key, if SHORT_HEADER.
    pub(super) vlen: u8,
}

/// The block has a time of expiry.
pub(super) const HAS_EXPIRE: u8 = 1;
/// The key's length is the eight bytes before the key.
pub(super) const LONG_KEY: u8 = 2;
/// The string or aggregate is in an allocation of its own.
pub(super) const OUTSIDE: u8 = 4;
/// The key starts in the header's last byte. A packed value tells its length itself, and small ones are so many that a
/// byte counts.
pub(super) const SHORT_HEADER: u8 = 8;
pub(super) const HEADER: usize = size_of::<Header>();
/// What stands for the encoding while a value is being changed outside of the keyspace.
pub(super) const LENT: u8 = 15;

/// Where a block holds its value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
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
    pub(super) fn size(self) -> usize {
        match self {
            Place::Inline | Place::Packed => 0,
            Place::Int => size_of::<i64>(),
            Place::Outside => size_of::<Vec<u8>>(),
            Place::Pointer => POINTER,
        }
    }
}

/// Bytes of any pointer to an aggregate.
pub(super) const POINTER: usize = 8;

/// Writes the pointer that an aggregate is.
///
/// # Safety
/// `at` is aligned to eight bytes, with room for a pointer.
#[inline(always)]
pub(super) unsafe fn write_pointer(at: *mut u8, a: Aggregate) {
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
pub(super) unsafe fn read_pointer(at: *const u8, type_of: u8, encoding: u8) -> Aggregate {
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
pub(super) unsafe fn at_pointer<'a>(at: *const u8, type_of: u8, encoding: u8) -> AggregateRef<'a> {
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
pub(super) fn lent() -> ! {
    panic!("a value that was lent to be changed, and never came back");
}

/// A packed aggregate made from the bytes that [`Place::Packed`] has.
#[inline(always)]
pub(super) fn unpack(bytes: &[u8], type_of: u8) -> Aggregate {
    let bytes = SelfSized::from(bytes);
    match type_of {
        OBJ_SET => Aggregate::Set(Set::Intset(Intset::ofPacked(bytes))),
        OBJ_ZSET => Aggregate::Zset(Zset::Ziplist(Ziplist::ofPacked(bytes))),
        _ => Aggregate::Hash(Hash::Ziplist(Ziplist::ofPacked(bytes))),
    }
}

/// The bytes that [`Place::Packed`] has of an aggregate; `None` for what belongs behind a pointer.
#[inline(always)]
pub(super) fn pack(a: &Aggregate, klen: usize) -> Option<&SelfSized> {
    let bytes = match a {
        Aggregate::Set(Set::Intset(is)) => is.packed(),
        Aggregate::Zset(Zset::Ziplist(zl)) | Aggregate::Hash(Hash::Ziplist(zl)) => zl.packed(),
        _ => return None,
    };
    (bytes.len() <= INLINE_PACKED_MAX && klen <= INLINE_PACKED_KEY_MAX).then_some(bytes)
}

/// All that decides a block's layout.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) expire: bool,
    pub(super) place: Place,
    pub(super) klen: usize,
    /// Bytes behind the key: an inline string, a packed aggregate, or room.
    pub(super) tail: usize,
}

impl Shape {
    pub(super) fn long_key(&self) -> bool {
        self.klen > u16::MAX as usize
    }

    pub(super) fn short_header(&self) -> bool {
        self.place == Place::Packed && !self.expire
    }

    /// Offset of what comes behind header and expire: the value that is before the key, or the key.
    pub(super) fn body_at(&self) -> usize {
        match (self.short_header(), self.expire) {
            (true, _) => HEADER - 1,
            (_, false) => HEADER,
            (_, true) => HEADER + 8,
        }
    }

    pub(super) fn key_at(&self) -> usize {
        self.body_at() + self.place.size() + if self.long_key() { 8 } else { 0 }
    }

    pub(super) fn size(&self) -> usize {
        let mut size = self.key_at() + self.klen + self.tail;
        if self.place == Place::Packed {
            // At any time its pointer shall find room there.
            size = size.max(Shape { place: Place::Pointer, tail: 0, ..*self }.size());
        }
        size_class(size)
    }

    pub(super) fn layout(&self) -> Layout {
        Layout::from_size_align(self.size(), 8).expect("a key's length fits")
    }

    /// The shape that a block of this one, with a packed value, takes on when the value leaves for a place of its own: as large
    /// as before.
    pub(super) fn with_pointer(&self) -> Shape {
        let bare = Shape { place: Place::Pointer, tail: 0, ..*self };
        Shape { tail: (self.size() - bare.key_at() - bare.klen) & !7, ..bare }
    }

    /// Writes a header, but for the byte that is the key's.
    ///
    /// # Safety
    /// `p` is a block of our own of this shape.
    #[inline(always)]
    pub(super) unsafe fn write_header(&self, p: *mut u8, type_encoding: u8, lru: [u8; 3]) {
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
pub(super) enum Put<'a> {
    Int(i64),
    Inline(&'a [u8]),
    InlineOwned(Vec<u8>),
    Outside(Vec<u8>),
    Aggregate(Aggregate),
}

impl<'a> Put<'a> {
    /// The value ready to be written, with its type and encoding.
    #[inline]
    pub(super) fn prepare(v: Value<'a>) -> (Put<'a>, u8) {
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
    pub(super) fn shape(&self, expire: bool, klen: usize) -> Shape {
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
    pub(super) unsafe fn write(self, p: NonNull<u8>, shape: &Shape) {
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
    pub(super) p: NonNull<u8>,
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
    pub(super) fn new(key: &[u8], expire: Option<i64>, lru: u32, value: Value) -> KeyEntry {
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
    pub(super) fn alloc(shape: &Shape) -> ManuallyDrop<KeyEntry> {
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
    pub(super) unsafe fn free(self, shape: &Shape) {
        let e = ManuallyDrop::new(self);
        // SAFETY: by contract; blocks are allocated with the layout of their shape.
        unsafe { dealloc(e.p.as_ptr(), shape.layout()) };
    }

    #[inline(always)]
    pub(super) fn view(&self) -> Entry<'_> {
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
    pub(super) unsafe fn take_object(&self) -> Object {
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
    pub(super) unsafe fn drop_value(&self) {
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

pub(super) fn lru_bytes(lru: u32) -> [u8; 3] {
    let [a, b, c, _] = lru.to_le_bytes();
    [a, b, c]
}

/// A key with all that belongs to it, to look at, as the iterator of a keyspace lends it.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub(super) p: NonNull<u8>,
    pub(super) life: PhantomData<&'a KeyEntry>,
}

impl<'a> Entry<'a> {
    #[inline(always)]
    pub(super) fn header(self) -> Header {
        // SAFETY: an Entry stands for a live block, which starts with a header and is aligned to eight bytes.
        unsafe { self.p.cast::<Header>().read() }
    }

    #[inline(always)]
    pub(super) fn place(self) -> Place {
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

    pub(super) fn shape(self) -> Shape {
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
    pub(super) fn value_ptr(self) -> *mut u8 {
        let expire = (self.header().flags & HAS_EXPIRE) as usize * 8;
        // SAFETY: within the block.
        unsafe { self.p.as_ptr().add(HEADER + expire) }
    }

    /// Address of the key.
    #[inline(always)]
    pub(super) fn key_ptr(self) -> *mut u8 {
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
    pub(super) fn inline_ptr(self) -> *mut u8 {
        // SAFETY: the key ends within the block, or at its end.
        unsafe { self.key_ptr().add(self.key().len()) }
    }

    /// The bytes of a packed aggregate behind the key.
    #[inline(always)]
    pub(super) fn packed(self) -> &'a [u8] {
        let p = self.inline_ptr();
        // SAFETY: what is there was copied from a `SelfSized`, which starts with its length; the block lives for 'a.
        unsafe { std::slice::from_raw_parts(p, SelfSized::len_at(p)) }
    }

    #[inline(always)]
    pub(super) fn inline(self) -> &'a [u8] {
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
    pub(super) fn aggregate(self) -> AggregateRef<'a> {
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
    pub(super) unsafe fn take_aggregate(self) -> Aggregate {
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
