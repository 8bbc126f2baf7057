//! What a value is: by itself, to look at, to change, and on its way into the keyspace.

use crate::ds::intset::Intset;
use crate::ds::quicklist::{Quicklist, quicklistDup};
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

/// Above this size a string that grows gets 1 MB more than it needs instead of twice as much (`SDS_MAX_PREALLOC`).
pub(super) const MAX_PREALLOC: usize = 1024 * 1024;

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
    pub(super) fn type_encoding(&self) -> u8 {
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
    pub(super) fn packed_size(self) -> usize {
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

pub(super) fn string_encoding(len: usize) -> u8 {
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

/// A string that can grow, as the sds that APPEND, SETRANGE and SETBIT work on: it takes up more than it needs, so that
/// growing it little by little costs little.
pub struct StringBuf<'a>(pub(super) &'a mut Vec<u8>);

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
