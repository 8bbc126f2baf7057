//! One allocation per key: its layout, and what is written to it and read from it.
#![allow(unsafe_code)] // a key's block is laid out by hand: header, expire, value and bytes of varying length

use super::Keyspace;
use super::value::*;
use crate::ds::dict::{Dict, PairEntry, SdsEntry};
use crate::ds::intset::Intset;
use crate::ds::quicklist::Quicklist;
use crate::ds::strset::StrSet;
use crate::ds::ziplist::Ziplist;
use crate::sys::bytes::{Packed, SelfSized};
use crate::sys::mem::size_class;
use crate::types::t_hash::{Hash, HashRef};
use crate::types::t_set::{Set, SetRef};
use crate::types::t_stream::Stream;
use crate::types::t_zset::{Zset, ZsetRef, zset};
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, offset_of};
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
/// `TYPE` is the type of what [`into_aggregate`](Self::into_aggregate) gives, and of nothing else
/// that implements this.
pub unsafe trait AggregateType: Sized {
    /// `OBJ_LIST` and so on.
    const TYPE: u8;
    fn into_aggregate(self) -> Aggregate;
    /// Returns the value as this type; `None` if it is of another type.
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
    List, Quicklist, OBJ_LIST;
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
    /// Length of an inline string; behind a key whose value is at a pointer, room in units of eight
    /// bytes. The first byte of the key, if SHORT_HEADER.
    pub(super) vlen: u8,
}

/// The block has a time of expiry.
pub(super) const HAS_EXPIRE: u8 = 1;
/// The key's length is the eight bytes before the key.
pub(super) const LONG_KEY: u8 = 2;
/// The string or aggregate is in an allocation of its own, or its parts are, as those of a list.
pub(super) const OUTSIDE: u8 = 4;
/// The key starts in the header's last byte. A packed value tells its length itself, and small ones
/// are so many that a byte counts.
pub(super) const SHORT_HEADER: u8 = 8;
pub(super) const HEADER: usize = size_of::<Header>();
/// The encoding in a header while the value is being changed outside of the keyspace.
pub(super) const CHECKED_OUT: u8 = 15;

/// Where a block holds its value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueLocation {
    /// A string behind the key.
    Inline,
    /// A packed aggregate behind the key: a [`SelfSized`] as it is.
    Packed,
    /// An i64 before the key.
    Int,
    /// A `Vec<u8>` before the key.
    Outside,
    /// Before the key, a pointer to an aggregate. Behind the key, room in units of eight bytes, from
    /// when the value was packed there.
    Pointer,
    /// A [`Quicklist`] before the key.
    List,
}

impl ValueLocation {
    /// Returns the bytes before the key.
    #[inline(always)]
    pub(super) const fn size(self) -> usize {
        match self {
            ValueLocation::Inline | ValueLocation::Packed => 0,
            ValueLocation::Int => size_of::<i64>(),
            ValueLocation::Outside => size_of::<Vec<u8>>(),
            ValueLocation::Pointer => POINTER,
            ValueLocation::List => size_of::<Quicklist>(),
        }
    }

    /// Returns where an aggregate of this type is if it is not packed. A list is no pointer, but two
    /// words itself: an allocation for them would take as much again.
    #[inline(always)]
    const fn of_unpacked(obj_type: u8) -> ValueLocation {
        if obj_type == OBJ_LIST { ValueLocation::List } else { ValueLocation::Pointer }
    }
}

/// Bytes of any pointer to an aggregate.
pub(super) const POINTER: usize = 8;

// Each is generated from the one list of forms in value.rs, so that a header's type and encoding
// mean the same to all of them.
macro_rules! form_matches {
    ($($kind:ident $type:ident $(($own:ident, $borrowed:ident, $form:ident))? : $obj:ident, $encoding:ident, $pointer:ty;)*) => {
        /// Writes what a block has of an aggregate that is not packed: the pointer that it is, or a
        /// list.
        ///
        /// # Safety
        /// `at` is aligned to eight bytes, and has the room of the place that
        /// [`ValueLocation::of_unpacked`] tells.
        #[inline(always)]
        pub(super) unsafe fn write_unpacked(at: *mut u8, a: Aggregate) {
            match a {
                $(Aggregate::$type(within!(v $(, $own::$form)?)) => {
                    // SAFETY: the caller has room for what is at the place of this type, and this is
                    // as large and no more aligned, as the assertions below have it.
                    unsafe { at.cast::<$pointer>().write(v) }
                })*
            }
        }

        /// Moves an aggregate out of the place where `write_unpacked` has written it.
        ///
        /// # Safety
        /// `type_encoding` is of a header, and if that is of an aggregate that is not checked out,
        /// `write_unpacked` wrote this aggregate to `at`. It is not used there again.
        #[inline(always)]
        pub(super) unsafe fn read_unpacked(at: *const u8, type_encoding: u8) -> Aggregate {
            match type_encoding {
                $(header if header == $obj | $encoding << 4 => {
                    // SAFETY: type and encoding are those of this line, under which `write_unpacked`
                    // wrote this very type. The caller says that it is not used there again, so it
                    // is moved, not copied.
                    let v = unsafe { at.cast::<$pointer>().read() };
                    Aggregate::$type(within!(v $(, $own::$form)?))
                })*
                header => no_aggregate(header),
            }
        }

        /// Returns an aggregate, to look at, where `write_unpacked` has written it.
        ///
        /// # Safety
        /// As for [`read_unpacked`], but that it stays where and as it is for 'a.
        #[inline(always)]
        pub(super) unsafe fn at_unpacked<'a>(at: *const u8, type_encoding: u8) -> AggregateRef<'a> {
            match type_encoding {
                $(header if header == $obj | $encoding << 4 => {
                    // SAFETY: type and encoding are those of this line, under which `write_unpacked`
                    // wrote this very type. The caller says that nobody changes it for 'a.
                    let v = unsafe { &*at.cast::<$pointer>() };
                    AggregateRef::$type(within!(v $(, $borrowed::$form)?))
                })*
                header => no_aggregate(header),
            }
        }

        /// Returns a packed aggregate made from the bytes that [`ValueLocation::Packed`] has.
        #[inline(always)]
        fn unpack(bytes: &[u8], type_encoding: u8) -> Aggregate {
            match type_encoding {
                $(header if header == $obj | $encoding << 4 => if_packed!(
                    $kind,
                    {
                        let v = <$pointer>::of_packed(SelfSized::from(bytes));
                        Aggregate::$type(within!(v $(, $own::$form)?))
                    },
                    no_aggregate(header)
                ),)*
                header => no_aggregate(header),
            }
        }

        /// Returns a packed aggregate, to look at, in the bytes that [`ValueLocation::Packed`] has.
        #[inline(always)]
        fn at_packed(bytes: &[u8], type_encoding: u8) -> AggregateRef<'_> {
            match type_encoding {
                $(header if header == $obj | $encoding << 4 => if_packed!(
                    $kind,
                    {
                        let v = <$pointer>::bytes_of_packed(bytes);
                        AggregateRef::$type(within!(v $(, $borrowed::$form)?))
                    },
                    no_aggregate(header)
                ),)*
                header => no_aggregate(header),
            }
        }

        /// Returns the bytes that [`ValueLocation::Packed`] has of an aggregate; `None` for what
        /// belongs behind a pointer.
        #[inline(always)]
        pub(super) fn pack(a: &Aggregate, klen: usize) -> Option<&SelfSized> {
            let bytes = match a {
                $(Aggregate::$type(within!(_v $(, $own::$form)?)) => {
                    if_packed!($kind, _v.packed(), return None)
                })*
            };
            (bytes.len() <= INLINE_PACKED_MAX && klen <= INLINE_PACKED_KEY_MAX).then_some(bytes)
        }

        const _: () = {
            $(assert!(size_of::<$pointer>() == ValueLocation::of_unpacked($obj).size());)*
            $(assert!(align_of::<$pointer>() <= POINTER);)*
        };
    };
}

for_all_aggregates!(form_matches);

/// A form that an aggregate keeps once it has it, behind a pointer: it can be changed where it is.
///
/// # Safety
/// Wherever a header has this type and encoding, the block's pointer is a `Self`.
pub(super) unsafe trait BoxedForm {
    /// Type and encoding as in a header.
    const TYPE_ENCODING: u8;
}

macro_rules! boxed_form {
    (packed, $obj:ident, $encoding:ident, $pointer:ty) => {};
    (list, $obj:ident, $encoding:ident, $pointer:ty) => {};
    (boxed, $obj:ident, $encoding:ident, $pointer:ty) => {
        // SAFETY: this is a line of the list from which `write_unpacked` is generated, and what is
        // boxed is nowhere but at a block's pointer.
        unsafe impl BoxedForm for $pointer {
            const TYPE_ENCODING: u8 = $obj | $encoding << 4;
        }
    };
}

macro_rules! boxed_forms {
    ($($kind:ident $type:ident $(($own:ident, $borrowed:ident, $form:ident))? : $obj:ident, $encoding:ident, $pointer:ty;)*) => {
        $(boxed_form!($kind, $obj, $encoding, $pointer);)*
    };
}

for_all_aggregates!(boxed_forms);

/// Ends the server for a header in which no aggregate can be: there is no value to go on with.
#[cold]
fn no_aggregate(type_encoding: u8) -> ! {
    match type_encoding >> 4 {
        // An `AggregateGuard` that was forgotten instead of dropped: the value is somewhere else,
        // or leaked.
        CHECKED_OUT => panic!("a value that was checked out to be changed never came back"),
        // Headers are written from the same list of forms, and a block is `Packed` only with a
        // packed one.
        _ => unreachable!("a header of an aggregate with type and encoding {type_encoding:#x}"),
    }
}

/// All that decides a block's layout.
#[derive(Clone, Copy)]
pub(super) struct BlockLayout {
    pub(super) expire: bool,
    pub(super) location: ValueLocation,
    pub(super) klen: usize,
    /// Bytes behind the key: an inline string, a packed aggregate, or room.
    pub(super) tail: usize,
}

impl BlockLayout {
    pub(super) fn long_key(&self) -> bool {
        self.klen > u16::MAX as usize
    }

    pub(super) fn short_header(&self) -> bool {
        self.location == ValueLocation::Packed && !self.expire
    }

    /// Returns the offset of what comes behind header and expire: the value that is before the key,
    /// or the key.
    pub(super) fn body_at(&self) -> usize {
        match (self.short_header(), self.expire) {
            (true, _) => HEADER - 1,
            (_, false) => HEADER,
            (_, true) => HEADER + 8,
        }
    }

    pub(super) fn key_at(&self) -> usize {
        self.body_at() + self.location.size() + if self.long_key() { 8 } else { 0 }
    }

    pub(super) fn size(&self) -> usize {
        let mut size = self.key_at() + self.klen + self.tail;
        if self.location == ValueLocation::Packed {
            // At any time its pointer shall find room there.
            size =
                size.max(BlockLayout { location: ValueLocation::Pointer, tail: 0, ..*self }.size());
        }
        size_class(size)
    }

    pub(super) fn alloc_layout(&self) -> Layout {
        Layout::from_size_align(self.size(), 8).expect("a key's length fits")
    }

    /// Returns the shape that a block of this one, with a packed value, takes on when the value
    /// leaves for a place of its own: as large as before.
    pub(super) fn with_pointer(&self) -> BlockLayout {
        let bare = BlockLayout { location: ValueLocation::Pointer, tail: 0, ..*self };
        BlockLayout { tail: (self.size() - bare.key_at() - bare.klen) & !7, ..bare }
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
        flags |= match self.location {
            ValueLocation::Outside | ValueLocation::Pointer | ValueLocation::List => OUTSIDE,
            ValueLocation::Inline | ValueLocation::Int | ValueLocation::Packed => 0,
        };
        flags |= if self.short_header() { SHORT_HEADER } else { 0 };
        let klen = if self.long_key() { 0 } else { self.klen as u16 };
        let vlen = match self.location {
            ValueLocation::Inline => self.tail as u8,
            ValueLocation::Pointer => (self.tail / 8) as u8,
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
pub(super) enum PreparedValue<'a> {
    Int(i64),
    Inline(&'a [u8]),
    InlineOwned(Vec<u8>),
    Outside(Vec<u8>),
    Aggregate(Aggregate),
}

impl<'a> PreparedValue<'a> {
    /// Returns the value ready to be written, with its type and encoding.
    #[inline]
    pub(super) fn prepare(v: Value<'a>) -> (PreparedValue<'a>, u8) {
        let string = |encoding: u8| OBJ_STRING | encoding << 4;
        let owned = |mut v: Vec<u8>| {
            if v.len() <= INLINE_MAX {
                return PreparedValue::InlineOwned(v);
            }
            // A value that stays shall not hold more than a tenth too much.
            if v.capacity() - v.len() > v.len() / 10 {
                v.shrink_to_fit();
            }
            PreparedValue::Outside(v)
        };
        let borrowed = |v: &'a [u8]| {
            if v.len() <= INLINE_MAX {
                PreparedValue::Inline(v)
            } else {
                PreparedValue::Outside(v.to_vec())
            }
        };
        match v {
            Value::Int(n) | Value::Own(Object::Int(n)) => {
                (PreparedValue::Int(n), string(OBJ_ENCODING_INT))
            }
            Value::Str(v) => (borrowed(v), string(string_encoding(v.len()))),
            Value::Raw(v) => (borrowed(v), string(OBJ_ENCODING_RAW)),
            Value::Own(Object::Str(v)) => {
                let encoding = string_encoding(v.len());
                (owned(v), string(encoding))
            }
            Value::Own(Object::Raw(v)) => (owned(v), string(OBJ_ENCODING_RAW)),
            Value::Own(Object::Aggregate(a)) => {
                let type_encoding = a.type_encoding();
                (PreparedValue::Aggregate(a), type_encoding)
            }
        }
    }

    /// Returns the shape of a block with this value.
    #[inline(always)]
    pub(super) fn layout(&self, expire: bool, klen: usize) -> BlockLayout {
        let (location, tail) = match self {
            PreparedValue::Int(_) => (ValueLocation::Int, 0),
            PreparedValue::Inline(v) => (ValueLocation::Inline, v.len()),
            PreparedValue::InlineOwned(v) => (ValueLocation::Inline, v.len()),
            PreparedValue::Outside(_) => (ValueLocation::Outside, 0),
            PreparedValue::Aggregate(a) => match pack(a, klen) {
                Some(bytes) => (ValueLocation::Packed, bytes.len()),
                None => (ValueLocation::of_unpacked(a.as_ref().type_of()), 0),
            },
        };
        BlockLayout { expire, location, klen, tail }
    }

    /// Writes the value to a block.
    ///
    /// # Safety
    /// `p` is a block of our own of this shape, which is the shape for this value, and holds no
    /// other value.
    pub(super) unsafe fn write(self, p: NonNull<u8>, layout: &BlockLayout) {
        // SAFETY: by contract the block has room for the value where its shape says. Offsets before
        // the key are multiples of eight, as the block's address is. Borrowed bytes can't lie in a
        // block that is ours exclusively.
        unsafe {
            let at = p.as_ptr().add(layout.body_at());
            let end = p.as_ptr().add(layout.key_at() + layout.klen);
            match self {
                PreparedValue::Int(n) => at.cast::<i64>().write(n),
                PreparedValue::Inline(v) => copy_nonoverlapping(v.as_ptr(), end, v.len()),
                PreparedValue::InlineOwned(v) => copy_nonoverlapping(v.as_ptr(), end, v.len()),
                PreparedValue::Outside(v) => at.cast::<Vec<u8>>().write(v),
                PreparedValue::Aggregate(a) => match pack(&a, layout.klen) {
                    Some(bytes) => copy_nonoverlapping(bytes.as_ptr(), end, bytes.len()),
                    None => write_unpacked(at, a),
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
/// A 16-byte key with a 16-byte value is 40 bytes. The block's size is a size class, told from its
/// contents; what fits in the same class is changed in place. A packed value (ziplist, intset) that
/// outgrows its block leaves for a place of its own, and comes back with
/// [`Keyspace::repack_small`].
///
/// As an owned value it is what [`Keyspace::remove`] returns: dropping it frees key and value.
pub struct KeyEntry {
    pub(super) p: NonNull<u8>,
}

// SAFETY: an entry owns its block and its value alone, and values are made of bytes, numbers and
// aggregates, which may change threads as the assertion below has it.
unsafe impl Send for KeyEntry {}
const _: () = {
    const fn send<T: Send>() {}
    send::<Object>();
    send::<Keyspace>();
};

impl KeyEntry {
    pub(super) fn new(key: &[u8], expire: Option<i64>, lru: u32, value: Value) -> KeyEntry {
        let (put, type_encoding) = PreparedValue::prepare(value);
        let layout = put.layout(expire.is_some(), key.len());
        let e = KeyEntry::alloc(&layout);
        // SAFETY: the block is new and has this shape; offsets before the key are multiples of
        // eight.
        unsafe {
            let p = e.p.as_ptr();
            layout.write_header(p, type_encoding, lru_bytes(lru));
            if let Some(at) = expire {
                p.add(HEADER).cast::<i64>().write(at);
            }
            if layout.long_key() {
                p.add(layout.key_at() - 8).cast::<usize>().write(key.len());
            }
            copy_nonoverlapping(key.as_ptr(), p.add(layout.key_at()), key.len());
            put.write(e.p, &layout);
        }
        ManuallyDrop::into_inner(e)
    }

    /// Returns a block of this shape with nothing in it yet, not even a header.
    pub(super) fn alloc(layout: &BlockLayout) -> ManuallyDrop<KeyEntry> {
        let layout = layout.alloc_layout();
        // SAFETY: a block has at least a header.
        let p =
            NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
        ManuallyDrop::new(KeyEntry { p })
    }

    /// Frees the block alone.
    ///
    /// # Safety
    /// `shape` is the block's, its value was taken out, and it is not used any more.
    pub(super) unsafe fn free(self, layout: &BlockLayout) {
        let e = ManuallyDrop::new(self);
        // SAFETY: a block is allocated with the layout of its shape, and the caller says that this
        // is its shape, and that nobody uses it any more.
        unsafe { dealloc(e.p.as_ptr(), layout.alloc_layout()) };
    }

    #[inline(always)]
    pub(super) fn view(&self) -> Entry<'_> {
        Entry { p: self.p, life: PhantomData }
    }

    /// Returns the key.
    pub fn key(&self) -> &[u8] {
        self.view().key()
    }

    /// Returns the value.
    pub fn value(&self) -> ValueRef<'_> {
        self.view().value()
    }

    /// Returns the time of expiry in milliseconds since 1970, if there is one.
    pub fn expire(&self) -> Option<i64> {
        self.view().expire()
    }

    /// Returns the access clock or frequency.
    pub fn lru(&self) -> u32 {
        self.view().lru()
    }

    /// Returns the type of the value: `OBJ_STRING` and so on.
    pub fn type_of(&self) -> u8 {
        self.view().type_of()
    }

    /// Returns the encoding of the value: `OBJ_ENCODING_RAW` and so on.
    pub fn encoding(&self) -> u8 {
        self.view().encoding()
    }

    /// Returns the value by itself.
    pub fn into_object(self) -> Object {
        let layout = self.view().layout();
        // SAFETY: the value is taken once, and the block freed without it.
        unsafe {
            let o = self.take_object();
            self.free(&layout);
            o
        }
    }

    /// Moves the value out of the block.
    ///
    /// # Safety
    /// The value is not used again through the block; what follows is another value or the block's
    /// end.
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
            match v.location() {
                ValueLocation::Int => Object::Int(v.value_ptr().cast::<i64>().read()),
                ValueLocation::Inline => string(v.inline().to_vec()),
                ValueLocation::Outside => string(v.value_ptr().cast::<Vec<u8>>().read()),
                ValueLocation::Packed | ValueLocation::Pointer | ValueLocation::List => {
                    Object::Aggregate(v.take_aggregate())
                }
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
            match v.location() {
                ValueLocation::Int | ValueLocation::Inline | ValueLocation::Packed => {}
                ValueLocation::Outside => v.value_ptr().cast::<Vec<u8>>().drop_in_place(),
                // A value that was lent, and never came back, is somewhere else.
                ValueLocation::Pointer if encoding == CHECKED_OUT => {}
                ValueLocation::Pointer | ValueLocation::List => drop(v.take_aggregate()),
            }
        }
    }
}

impl Drop for KeyEntry {
    fn drop(&mut self) {
        let layout = self.view().layout();
        // SAFETY: the entry is at its end: its value is dropped, then its block.
        unsafe {
            self.drop_value();
            dealloc(self.p.as_ptr(), layout.alloc_layout());
        }
    }
}

pub(super) fn lru_bytes(lru: u32) -> [u8; 3] {
    let [a, b, c, _] = lru.to_le_bytes();
    [a, b, c]
}

/// Returns the first byte of the header of a string of this length that lies in its key's block.
#[inline(always)]
pub(super) fn inline_string_type(len: usize) -> u8 {
    OBJ_STRING | string_encoding(len) << 4
}

/// Returns a header, as a word, with another access clock or frequency.
#[inline(always)]
pub(super) fn with_lru(header: u64, lru: u32) -> u64 {
    const SHIFT: u32 = 8 * offset_of!(Header, lru) as u32;
    const MASK: u64 = 0xff_ffff << SHIFT;
    (u64::from_le(header) & !MASK | u64::from(lru) << SHIFT & MASK).to_le()
}

/// A key with all that belongs to it, to look at, as the iterator of a keyspace lends it.
#[derive(Clone, Copy, PartialEq)]
pub struct Entry<'a> {
    pub(super) p: NonNull<u8>,
    pub(super) life: PhantomData<&'a KeyEntry>,
}

impl<'a> Entry<'a> {
    #[inline(always)]
    pub(super) fn header(self) -> Header {
        // SAFETY: an Entry stands for a live block, which starts with a header and is aligned to
        // eight bytes.
        unsafe { self.p.cast::<Header>().read() }
    }

    #[inline(always)]
    pub(super) fn location(self) -> ValueLocation {
        let h = self.header();
        let string = h.type_encoding & 15 == OBJ_STRING;
        match (string, h.flags & OUTSIDE != 0) {
            (true, false) if h.type_encoding >> 4 == OBJ_ENCODING_INT => ValueLocation::Int,
            (true, false) => ValueLocation::Inline,
            (true, true) => ValueLocation::Outside,
            (false, false) => ValueLocation::Packed,
            (false, true) => ValueLocation::of_unpacked(h.type_encoding & 15),
        }
    }

    pub(super) fn layout(self) -> BlockLayout {
        let h = self.header();
        let (location, klen) = (self.location(), self.key().len());
        let tail = match location {
            ValueLocation::Inline => h.vlen as usize,
            ValueLocation::Pointer => h.vlen as usize * 8,
            ValueLocation::Packed => self.packed().len(),
            ValueLocation::Int | ValueLocation::Outside | ValueLocation::List => 0,
        };
        BlockLayout { expire: h.flags & HAS_EXPIRE != 0, location, klen, tail }
    }

    /// Returns the address of a value that is not inline.
    #[inline(always)]
    pub(super) fn value_ptr(self) -> *mut u8 {
        let expire = (self.header().flags & HAS_EXPIRE) as usize * 8;
        // SAFETY: within the block.
        unsafe { self.p.as_ptr().add(HEADER + expire) }
    }

    /// Returns the address of the key.
    #[inline(always)]
    pub(super) fn key_ptr(self) -> *mut u8 {
        let flags = self.header().flags;
        let short = (flags & SHORT_HEADER) as usize / SHORT_HEADER as usize;
        // SAFETY: the header tells where the key is, in the same block.
        unsafe { self.p.as_ptr().add((flags >> 4) as usize * 8 - short) }
    }

    /// Returns the key.
    #[inline(always)]
    pub fn key(self) -> &'a [u8] {
        let h = self.header();
        // SAFETY: the header tells how long the key is, or where its length is; the block lives for
        // 'a.
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

    /// Returns the address of what is right behind the key.
    #[inline(always)]
    pub(super) fn inline_ptr(self) -> *mut u8 {
        // SAFETY: the key ends within the block, or at its end.
        unsafe { self.key_ptr().add(self.key().len()) }
    }

    /// Returns the bytes of a packed aggregate behind the key.
    #[inline(always)]
    pub(super) fn packed(self) -> &'a [u8] {
        let p = self.inline_ptr();
        // SAFETY: what is there was copied from a `SelfSized`, which starts with its length; the
        // block lives for 'a.
        unsafe { std::slice::from_raw_parts(p, SelfSized::len_at(p)) }
    }

    #[inline(always)]
    pub(super) fn inline(self) -> &'a [u8] {
        // SAFETY: the header tells the length of the bytes behind the key; the block lives for 'a.
        unsafe { std::slice::from_raw_parts(self.inline_ptr(), self.header().vlen as usize) }
    }

    /// Returns the value.
    #[inline(always)]
    pub fn value(self) -> ValueRef<'a> {
        // SAFETY: the place says what is there; the block lives for 'a, and is not changed
        // meanwhile.
        unsafe {
            match self.location() {
                ValueLocation::Inline => ValueRef::Str(self.inline()),
                ValueLocation::Int => ValueRef::Int(self.value_ptr().cast::<i64>().read()),
                ValueLocation::Outside => ValueRef::Str(&*self.value_ptr().cast::<Vec<u8>>()),
                ValueLocation::Packed | ValueLocation::Pointer | ValueLocation::List => {
                    ValueRef::Aggregate(self.aggregate())
                }
            }
        }
    }

    /// Returns the value, which is an aggregate, to look at.
    #[inline(always)]
    fn aggregate(self) -> AggregateRef<'a> {
        let type_encoding = self.header().type_encoding;
        if self.location() == ValueLocation::Packed {
            return at_packed(self.packed(), type_encoding);
        }
        // SAFETY: a block without packed bytes has an aggregate at its pointer, of the type and
        // encoding that its header tells; it lives for 'a, and is not changed meanwhile.
        unsafe { at_unpacked(self.value_ptr(), type_encoding) }
    }

    /// Moves the value, which is an aggregate, out of the block.
    ///
    /// # Safety
    /// The value is not used again through the block.
    #[inline(always)]
    pub(super) unsafe fn take_aggregate(self) -> Aggregate {
        let type_encoding = self.header().type_encoding;
        if self.location() == ValueLocation::Packed {
            return unpack(self.packed(), type_encoding);
        }
        // SAFETY: as for `aggregate`. The caller says that nobody uses the value through the block
        // any more, so what the pointer owns is moved, not copied.
        unsafe { read_unpacked(self.value_ptr(), type_encoding) }
    }

    /// Returns the time of expiry in milliseconds since 1970, if there is one.
    #[inline]
    pub fn expire(self) -> Option<i64> {
        let has = self.header().flags & HAS_EXPIRE != 0;
        // SAFETY: the flag says that it is there, behind the header.
        has.then(|| unsafe { self.p.as_ptr().add(HEADER).cast::<i64>().read() })
    }

    /// Returns the access clock or frequency, 24 bits.
    #[inline]
    pub fn lru(self) -> u32 {
        let [a, b, c] = self.header().lru;
        u32::from_le_bytes([a, b, c, 0])
    }

    /// Returns the type of the value: `OBJ_STRING` and so on.
    #[inline]
    pub fn type_of(self) -> u8 {
        self.header().type_encoding & 15
    }

    /// Returns the encoding of the value: `OBJ_ENCODING_RAW` and so on.
    #[inline]
    pub fn encoding(self) -> u8 {
        shown_encoding(self.header().type_encoding >> 4)
    }

    /// Returns the bytes of the block, and of a string or packed value outside of it; not of any
    /// other aggregate.
    pub fn alloc_size(self) -> usize {
        let outside = match self.location() {
            // SAFETY: the place says that there is a Vec.
            ValueLocation::Outside => unsafe { (*self.value_ptr().cast::<Vec<u8>>()).capacity() },
            ValueLocation::Pointer => self.aggregate().packed_size(),
            _ => 0,
        };
        self.layout().size() + if outside > 0 { size_class(outside) } else { 0 }
    }
}
