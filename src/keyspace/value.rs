//! What a value is: by itself ([`Object`]), borrowed to look at ([`ValueRef`]) or to change
//! ([`ValueMut`], [`StringBuf`]), and on its way into the keyspace ([`Value`]).
//!
//! The C has a `robj` for all of these. Its type and encoding are the variants of enums here, and
//! its `ptr` is what they hold. The numbers of types and encodings are the C's: RDB files, DEBUG
//! OBJECT and the crash report show them.

use crate::ds::intset::Intset;
use crate::ds::quicklist::{Quicklist, quicklistDup};
use crate::ds::strset::StrSet;
use crate::ds::ziplist::Ziplist;
use crate::sys::bytes::Packed;
use crate::types::t_hash::{Hash, HashRef};
use crate::types::t_set::{Set, SetRef};
use crate::types::t_stream::Stream;
use crate::types::t_zset::{Zset, ZsetRef};
use std::ops::{Deref, DerefMut};

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

/// A string in an allocation of its own, or what is to be shown as one: a long string, or one that
/// was changed in place.
pub const OBJ_ENCODING_RAW: u8 = 0;
/// A string that is a number.
pub const OBJ_ENCODING_INT: u8 = 1;
/// A hash table: of a set or a hash.
pub const OBJ_ENCODING_HT: u8 = 2;
/// Zipmaps are converted when they are loaded.
pub const OBJ_ENCODING_ZIPMAP: u8 = 3;
/// No longer used: the old encoding of lists.
pub const OBJ_ENCODING_LINKEDLIST: u8 = 4;
/// A ziplist: of a hash or a sorted set.
pub const OBJ_ENCODING_ZIPLIST: u8 = 5;
/// A sorted array of integers: of a set.
pub const OBJ_ENCODING_INTSET: u8 = 6;
/// A skiplist with a hash table beside it.
pub const OBJ_ENCODING_SKIPLIST: u8 = 7;
/// A short string, which the C has in one allocation with its object.
pub const OBJ_ENCODING_EMBSTR: u8 = 8;
/// A linked list of ziplists.
pub const OBJ_ENCODING_QUICKLIST: u8 = 9;
/// A radix tree of listpacks.
pub const OBJ_ENCODING_STREAM: u8 = 10;

/// Ours: a few strings in one block, which stand in for the hash table of a set. Only headers have
/// it; whoever asks for the encoding is told [`OBJ_ENCODING_HT`].
pub(super) const OBJ_ENCODING_STRSET: u8 = 11;

/// Returns the encoding that is shown for one that is in a header.
#[inline(always)]
pub(super) fn shown_encoding(encoding: u8) -> u8 {
    if encoding == OBJ_ENCODING_STRSET { OBJ_ENCODING_HT } else { encoding }
}

/// Strings up to this length are embstr, unless they were changed in place.
pub const OBJ_ENCODING_EMBSTR_SIZE_LIMIT: usize = 44;

/// Above this size a string that grows gets 1 MB more than it needs instead of twice as much
/// (`SDS_MAX_PREALLOC`).
pub(super) const MAX_PREALLOC: usize = 1024 * 1024;

/// The forms that an aggregate has in memory, one a line: the list from which all matches over
/// forms are generated, here and in block.rs. A form that its type's enum has and that is missing
/// here is a match that is not exhaustive, and does not compile.
///
/// `boxed` is what hangs off the key's block behind a pointer, whatever its size; `packed` is bytes
/// that lie in the key's block as long as they are few; `list` lies in the block itself. Then: the
/// variant of `Aggregate`, and where that is an enum of forms (owned, borrowed, variant) which of
/// them; type and encoding as OBJECT ENCODING and the RDB know them, or one of ours that stands for
/// one of those (`shown_encoding`); and what the pointer is.
macro_rules! for_all_aggregates {
    ($generate:ident) => {
        $generate! {
            list List: OBJ_LIST, OBJ_ENCODING_QUICKLIST, Quicklist;
            packed Set(Set, SetRef, Intset): OBJ_SET, OBJ_ENCODING_INTSET, Intset;
            packed Set(Set, SetRef, Strings): OBJ_SET, OBJ_ENCODING_STRSET, StrSet;
            boxed Set(Set, SetRef, Ht): OBJ_SET, OBJ_ENCODING_HT, Box<Dict<SdsEntry>>;
            packed Zset(Zset, ZsetRef, Ziplist): OBJ_ZSET, OBJ_ENCODING_ZIPLIST, Ziplist;
            boxed Zset(Zset, ZsetRef, Skiplist): OBJ_ZSET, OBJ_ENCODING_SKIPLIST, Box<zset>;
            packed Hash(Hash, HashRef, Ziplist): OBJ_HASH, OBJ_ENCODING_ZIPLIST, Ziplist;
            boxed Hash(Hash, HashRef, Ht): OBJ_HASH, OBJ_ENCODING_HT, Box<Dict<PairEntry>>;
            boxed Stream: OBJ_STREAM, OBJ_ENCODING_STREAM, Box<Stream>;
        }
    };
}
pub(super) use for_all_aggregates;

/// A variable, or the variant of an enum of forms around it: as a pattern or as an expression.
macro_rules! within {
    ($v:ident) => {
        $v
    };
    ($v:ident, $of:ident :: $form:ident) => {
        $of::$form($v)
    };
}
pub(super) use within;

/// The first expression for a packed form, the second for any other.
macro_rules! if_packed {
    (packed, $packed:expr, $boxed:expr) => {
        $packed
    };
    ($boxed_or_list:ident, $packed:expr, $boxed:expr) => {
        $boxed
    };
}
pub(super) use if_packed;

/// An aggregate value, one that is made of elements: what is behind a key that is no string. Each
/// variant is an enum of forms or a structure of its own, in the file of its type. A form is one
/// pointer, or a list, which is two words; and this is what a key's block holds.
pub enum Aggregate {
    List(Quicklist),
    Set(Set),
    Zset(Zset),
    Hash(Hash),
    Stream(Box<Stream>),
}

/// An aggregate value, borrowed: as the keyspace lends it to look at.
#[derive(Clone, Copy)]
pub enum AggregateRef<'a> {
    List(&'a Quicklist),
    Set(SetRef<'a>),
    Zset(ZsetRef<'a>),
    Hash(HashRef<'a>),
    Stream(&'a Stream),
}

impl Aggregate {
    /// Borrows the aggregate.
    pub fn as_ref(&self) -> AggregateRef<'_> {
        match self {
            Aggregate::List(ql) => AggregateRef::List(ql),
            Aggregate::Set(s) => AggregateRef::Set(s.as_ref()),
            Aggregate::Zset(z) => AggregateRef::Zset(z.as_ref()),
            Aggregate::Hash(h) => AggregateRef::Hash(h.as_ref()),
            Aggregate::Stream(s) => AggregateRef::Stream(s),
        }
    }

    /// Returns type and encoding of the aggregate as in a header: the type, and the encoding in the
    /// high four bits.
    #[inline(always)]
    pub(super) fn type_encoding(&self) -> u8 {
        let a = self.as_ref();
        a.type_of() | a.form() << 4
    }
}

// Generated from the list of forms, so that what OBJECT ENCODING shows and what a header says can't
// differ.

macro_rules! aggregate_matches {
    ($($kind:ident $type:ident $(($own:ident, $borrowed:ident, $form:ident))? : $obj:ident, $encoding:ident, $pointer:ty;)*) => {
        impl AggregateRef<'_> {
            /// Returns the aggregate's type: `OBJ_LIST` and so on.
            pub fn type_of(self) -> u8 {
                match self {
                    $(AggregateRef::$type(within!(_v $(, $borrowed::$form)?)) => $obj,)*
                }
            }

            /// Returns the encoding that a header has for the form that the aggregate has now.
            fn form(self) -> u8 {
                match self {
                    $(AggregateRef::$type(within!(_v $(, $borrowed::$form)?)) => $encoding,)*
                }
            }

            /// Returns the bytes that a packed form takes up in its key's block or at its pointer;
            /// 0 for a boxed one.
            pub(super) fn packed_size(self) -> usize {
                match self {
                    $(AggregateRef::$type(within!(_v $(, $borrowed::$form)?)) => {
                        if_packed!($kind, <$pointer>::packed_size(_v), 0)
                    })*
                }
            }
        }
    };
}

for_all_aggregates!(aggregate_matches);

impl AggregateRef<'_> {
    /// Returns the aggregate's encoding, `OBJ_ENCODING_QUICKLIST` and so on.
    pub fn encoding(self) -> u8 {
        shown_encoding(self.form())
    }

    /// Returns about how many allocations the aggregate takes. Lazy freeing hands what takes many
    /// to another thread.
    pub fn free_effort(self) -> usize {
        match self {
            AggregateRef::List(ql) => ql.len(),
            AggregateRef::Set(s) => s.free_effort(),
            AggregateRef::Zset(z) => z.free_effort(),
            AggregateRef::Hash(h) => h.free_effort(),
            AggregateRef::Stream(s) => s.free_effort(),
        }
    }

    /// Returns the bytes that the aggregate's elements take up, from a sample of its elements. The
    /// bytes of a packed value are its key's: see [`Entry::alloc_size`].
    pub fn mem_usage(self, sample_size: usize) -> usize {
        match self {
            AggregateRef::List(ql) => ql.mem_usage(sample_size),
            AggregateRef::Set(s) => s.mem_usage(sample_size),
            AggregateRef::Zset(z) => z.mem_usage(sample_size),
            AggregateRef::Hash(h) => h.mem_usage(sample_size),
            AggregateRef::Stream(s) => s.mem_usage(sample_size),
        }
    }

    /// Returns a copy of the aggregate (`listTypeDup`, `setTypeDup`, ...).
    pub fn dup(self) -> Aggregate {
        match self {
            AggregateRef::List(ql) => Aggregate::List(quicklistDup(ql)),
            AggregateRef::Set(s) => Aggregate::Set(s.dup()),
            AggregateRef::Zset(z) => Aggregate::Zset(z.dup()),
            AggregateRef::Hash(h) => Aggregate::Hash(h.dup()),
            AggregateRef::Stream(s) => Aggregate::Stream(Box::new(s.dup())),
        }
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
    /// A list, set, sorted set, hash or stream.
    Aggregate(Aggregate),
}

impl Object {
    /// Returns the value's type: `OBJ_STRING` and so on.
    pub fn type_of(&self) -> u8 {
        self.as_ref().type_of()
    }

    /// Returns the value's encoding: `OBJ_ENCODING_RAW` and so on.
    pub fn encoding(&self) -> u8 {
        match self {
            Object::Int(_) => OBJ_ENCODING_INT,
            Object::Str(v) => string_encoding(v.len()),
            Object::Raw(_) => OBJ_ENCODING_RAW,
            Object::Aggregate(a) => a.as_ref().encoding(),
        }
    }

    /// Borrows the value.
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Object::Int(n) => ValueRef::Int(*n),
            Object::Str(v) | Object::Raw(v) => ValueRef::Str(v),
            Object::Aggregate(a) => ValueRef::Aggregate(a.as_ref()),
        }
    }
}

pub(super) fn string_encoding(len: usize) -> u8 {
    if len <= OBJ_ENCODING_EMBSTR_SIZE_LIMIT { OBJ_ENCODING_EMBSTR } else { OBJ_ENCODING_RAW }
}

/// A value, borrowed: as the keyspace lends it to look at.
#[derive(Clone, Copy)]
pub enum ValueRef<'a> {
    /// A string that is a number.
    Int(i64),
    /// A string.
    Str(&'a [u8]),
    /// A list, set, sorted set, hash or stream.
    Aggregate(AggregateRef<'a>),
}

impl ValueRef<'_> {
    /// Returns the value's type: `OBJ_STRING` and so on.
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

/// A value on its way into the keyspace: borrowed bytes go straight into the key's block, without a
/// copy between.
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

/// A string that can grow, as the sds that APPEND, SETRANGE and SETBIT work on: it takes up more
/// than it needs, so that growing it little by little costs little.
pub struct StringBuf<'a>(pub(super) &'a mut Vec<u8>);

impl StringBuf<'_> {
    /// Makes room for `add` bytes more (`sdsMakeRoomFor`): up to 1 MB twice as much as needed, then
    /// 1 MB more.
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
