//! `ziplist.c`: a list of strings and integers in one block of bytes, walked in both directions.
//!
//! ```text
//! zlbytes u32 | zltail u32 | zllen u16 | entry ... entry | 0xff
//! entry:   prevlen | encoding | data
//! prevlen: 1 byte below 254, else 0xfe and a u32: the size of the entry before, to walk backwards
//! encoding 00llllll           string of up to 63 bytes
//!          01llllll l         up to 16383, big endian
//!          10000000 l l l l   longer, big endian
//!          c0 d0 e0 f0 fe     integer of 16, 32, 64, 24, 8 bits
//!          f1..=fd            the integers 0 to 12, no data
//! ```
//!
//! All other numbers are little endian. These bytes are what RDB files hold, and what DUMP
//! compares.
//!
//! Read first: `zipEntry` (an entry is taken apart), `__ziplistInsert`, and
//! `__ziplistCascadeUpdate`, which is why the bytes of a list tell something of its past: a prevlen
//! field grows from 1 byte to 5 when it must, and never shrinks.
//!
//! Differs: a position is an offset into the bytes, not a pointer, so whatever takes one takes the
//! list as well. That an entry lies within the list is asserted whenever one is looked at, where
//! the C trusts positions it was given: see `redisassert.rs`.
#![forbid(unsafe_code)]

use super::listpack::lpStringToInt64;
use super::redisassert::assert_some;
use crate::sys::bytes::{Packed, SelfSized, packed};
use crate::sys::defrag::Defrag;
use crate::sys::mem::copy_short_slice;
use std::io::Write;
use std::ops::Deref;

/// `ziplistPush` puts the value before the first entry.
pub const ZIPLIST_HEAD: i32 = 0;
/// `ziplistPush` puts the value after the last entry.
pub const ZIPLIST_TAIL: i32 = 1;

/// The byte after the last entry; no entry starts with it.
const ZIP_END: u8 = 255;
/// The smallest entry size that needs a prevlen of five bytes, and the byte that announces it.
const ZIP_BIG_PREVLEN: u8 = 254;

const ZIP_STR_MASK: u8 = 0xc0;
const ZIP_STR_06B: u8 = 0 << 6;
const ZIP_STR_14B: u8 = 1 << 6;
const ZIP_STR_32B: u8 = 2 << 6;
const ZIP_INT_16B: u8 = 0xc0;
const ZIP_INT_32B: u8 = 0xc0 | 1 << 4;
const ZIP_INT_64B: u8 = 0xc0 | 2 << 4;
const ZIP_INT_24B: u8 = 0xc0 | 3 << 4;
const ZIP_INT_8B: u8 = 0xfe;

const ZIP_INT_IMM_MASK: u8 = 0x0f;
const ZIP_INT_IMM_MIN: u8 = 0xf1;
const ZIP_INT_IMM_MAX: u8 = 0xfd;

const INT24_MAX: i64 = 0x7f_ffff;
const INT24_MIN: i64 = -INT24_MAX - 1;

const ZIPLIST_HEADER_SIZE: usize = 10;
const ZIPLIST_END_SIZE: usize = 1;

/// A ziplist never grows past a gigabyte: its size has to fit 32 bits with room to spare.
const ZIPLIST_MAX_SAFETY_SIZE: usize = 1 << 30;

/// The largest number the `rand` that callers hand in may give, as `rand(3)` has it.
pub const RAND_MAX: u32 = 0x7fff_ffff;

/// A ziplist that owns its bytes. Reading functions take the bytes (`&zl`), so they read borrowed
/// ones as well.
///
/// The header always tells the true size, and the bytes end in the end mark; whether the entries
/// are valid depends on where the bytes came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ziplist(SelfSized);

impl Ziplist {
    /// Returns a ziplist of these bytes, or `None` if they fail `ziplistValidateIntegrity` without
    /// `deep`.
    pub fn from_slice(bytes: &[u8]) -> Option<Ziplist> {
        ziplistValidateIntegrity(bytes, false, None).then(|| Ziplist(bytes.into()))
    }

    /// Returns the placeholder for no ziplist: without header, entries and allocation.
    pub fn none() -> Ziplist {
        Ziplist(SelfSized::new())
    }

    /// Tells whether it is [`Ziplist::none`].
    #[inline]
    pub fn is_none(&self) -> bool {
        self.0.len() < ZIPLIST_HEADER_SIZE
    }

    /// Returns the bytes, as they are saved.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.to_vec()
    }

    /// Prefetches the memory where the allocation starts, which tells where the list does.
    #[inline(always)]
    pub fn prefetch(&self) {
        self.0.prefetch();
    }

    /// Prefetches the memory where the list starts.
    #[inline(always)]
    pub fn prefetch_list(&self) {
        self.0.prefetch_bytes();
    }
}

packed!(Ziplist(SelfSized));

impl Deref for Ziplist {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// The value of an entry; a string is borrowed from the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ZiplistEntry<'a> {
    /// The bytes of a string.
    Str(&'a [u8]),
    /// An integer, which was stored as such.
    Int(i64),
}

/// Tells whether the encoding is one of the string encodings.
#[inline]
fn ZIP_IS_STR(encoding: u8) -> bool {
    encoding < ZIP_STR_MASK
}

/// Returns the byte at `p`, and the end mark for what lies outside.
#[inline]
fn byte_at(zl: &[u8], p: usize) -> u8 {
    zl.get(p).copied().unwrap_or(ZIP_END)
}

/// Returns the little endian u32 at `at`, or 0 if the bytes end before it does.
#[inline]
fn read_u32_le(zl: &[u8], at: usize) -> usize {
    match zl.get(at..).and_then(|b| b.first_chunk::<4>()) {
        Some(b) => u32::from_le_bytes(*b) as usize,
        None => 0,
    }
}

/// Returns `zltail`: where the last entry starts; in an empty list, where the end mark is.
#[inline]
fn ZIPLIST_TAIL_OFFSET(zl: &[u8]) -> usize {
    read_u32_le(zl, 4)
}

/// Returns `zllen`: the number of entries, or `u16::MAX` when only counting them can tell.
#[inline]
fn ZIPLIST_LENGTH(zl: &[u8]) -> u16 {
    match zl.get(8..10) {
        Some(b) => u16::from_le_bytes([b[0], b[1]]),
        None => 0,
    }
}

/// Writes `zltail`. `header` are the bytes behind `zlbytes`. A damaged list may ask for more than
/// 32 bits hold; readers check what they find here.
#[inline]
fn ziplist_set_tail_offset(header: &mut [u8], offset: usize) {
    header[..4].copy_from_slice(&(offset as u32).to_le_bytes());
}

/// Writes `zllen`.
#[inline]
fn ziplist_set_length(header: &mut [u8], len: u16) {
    header[4..6].copy_from_slice(&len.to_le_bytes());
}

/// Adds to `zllen`, unless it says that it lost count. One entry is added at a time, so it stops at
/// `u16::MAX`.
#[inline(always)]
fn ZIPLIST_INCR_LENGTH(header: &mut [u8], incr: isize) {
    let len = u16::from_le_bytes([header[4], header[5]]);
    if len < u16::MAX {
        ziplist_set_length(header, len.wrapping_add(incr as u16));
    }
}

impl Ziplist {
    /// Returns the bytes behind `zlbytes`.
    #[inline]
    fn header(&mut self) -> &mut [u8] {
        self.0.tail_mut(4)
    }
}

/// Tells whether `add` more bytes leave a ziplist within the gigabyte it may have. `zl` is `None`
/// for a list not made yet.
pub fn ziplistSafeToAdd(zl: Option<&[u8]>, add: usize) -> bool {
    zl.map_or(0, ziplistBlobLen).saturating_add(add) <= ZIPLIST_MAX_SAFETY_SIZE
}

/// An entry taken apart; sizes in bytes.
#[derive(Clone, Copy)]
struct ZlEntry {
    /// Size of the prevlen field: 1 or 5.
    prevrawlensize: usize,
    /// Size of the entry before.
    prevrawlen: usize,
    /// Size of the encoding and length: 1, 2 or 5.
    lensize: usize,
    /// Size of the data.
    len: usize,
    /// `prevrawlensize + lensize`: where the data starts.
    headersize: usize,
    /// One of the `ZIP_*` encodings; of a string only the two high bits.
    encoding: u8,
}

impl ZlEntry {
    /// Returns the size of the whole entry.
    #[inline]
    fn rawlen(&self) -> usize {
        self.headersize + self.len
    }
}

/// Returns the size of the data of an integer encoding, or `None` if there is no such encoding.
#[inline]
fn zipIntSize(encoding: u8) -> Option<usize> {
    // A table, as entries of all sizes lie side by side: a branch would often be guessed wrong.
    static SIZES: [Option<u8>; 64] = {
        let mut sizes = [None; 64];
        sizes[(ZIP_INT_8B & !ZIP_STR_MASK) as usize] = Some(1);
        sizes[(ZIP_INT_16B & !ZIP_STR_MASK) as usize] = Some(2);
        sizes[(ZIP_INT_24B & !ZIP_STR_MASK) as usize] = Some(3);
        sizes[(ZIP_INT_32B & !ZIP_STR_MASK) as usize] = Some(4);
        sizes[(ZIP_INT_64B & !ZIP_STR_MASK) as usize] = Some(8);
        let mut immediate = ZIP_INT_IMM_MIN;
        while immediate <= ZIP_INT_IMM_MAX {
            sizes[(immediate & !ZIP_STR_MASK) as usize] = Some(0);
            immediate += 1;
        }
        sizes
    };
    SIZES[(encoding & !ZIP_STR_MASK) as usize].map(usize::from)
}

/// Returns the size of the encoding and length of an entry whose data is `rawlen` bytes long.
#[inline]
fn zip_entry_encoding_size(encoding: u8, rawlen: usize) -> usize {
    if !ZIP_IS_STR(encoding) || rawlen <= 0x3f {
        1
    } else if rawlen <= 0x3fff {
        2
    } else {
        5
    }
}

/// Writes encoding and length at the head of `p`, and returns their size. Any string encoding will
/// do: the one to write follows from `rawlen`, which counts for strings alone.
#[inline]
fn zipStoreEntryEncoding(p: &mut [u8], encoding: u8, rawlen: usize) -> usize {
    if !ZIP_IS_STR(encoding) {
        p[0] = encoding;
        1
    } else if rawlen <= 0x3f {
        p[0] = ZIP_STR_06B | rawlen as u8;
        1
    } else if rawlen <= 0x3fff {
        p[..2].copy_from_slice(&(((ZIP_STR_14B as u16) << 8) | rawlen as u16).to_be_bytes());
        2
    } else {
        p[0] = ZIP_STR_32B;
        p[1..5].copy_from_slice(&(rawlen as u32).to_be_bytes());
        5
    }
}

/// Writes a prevlen of five bytes, even if one byte could hold it.
#[inline]
fn zipStorePrevEntryLengthLarge(p: &mut [u8], len: usize) -> usize {
    p[0] = ZIP_BIG_PREVLEN;
    p[1..5].copy_from_slice(&(len as u32).to_le_bytes());
    5
}

/// Returns the size of the prevlen field that `len` needs.
#[inline]
fn zip_prev_entry_length_size(len: usize) -> usize {
    if len < ZIP_BIG_PREVLEN as usize { 1 } else { 5 }
}

/// Writes a prevlen at the head of `p`, and returns its size.
#[inline]
fn zipStorePrevEntryLength(p: &mut [u8], len: usize) -> usize {
    if len < ZIP_BIG_PREVLEN as usize {
        p[0] = len as u8;
        return 1;
    }
    zipStorePrevEntryLengthLarge(p, len)
}

/// Returns how many bytes the prevlen field of an entry, `size` bytes now, grows by when the entry
/// before becomes `len` bytes long: -4, 0 or 4.
#[inline]
fn zipPrevLenByteDiff(size: usize, len: usize) -> isize {
    zip_prev_entry_length_size(len) as isize - size as isize
}

/// Tells most strings from numbers, by how they begin.
#[inline(always)]
fn may_be_number(s: &[u8]) -> bool {
    matches!(s.first(), Some(b'-' | b'0'..=b'9'))
}

/// Returns the integer that `entry` spells, and the narrowest encoding that holds it. `None`: it is
/// stored as a string.
#[inline]
fn zipTryEncoding(entry: &[u8]) -> Option<(i64, u8)> {
    if entry.len() >= 32 || !may_be_number(entry) {
        return None;
    }
    let value = lpStringToInt64(entry)?;
    let encoding = if (0..=12).contains(&value) {
        ZIP_INT_IMM_MIN + value as u8
    } else if i8::try_from(value).is_ok() {
        ZIP_INT_8B
    } else if i16::try_from(value).is_ok() {
        ZIP_INT_16B
    } else if (INT24_MIN..=INT24_MAX).contains(&value) {
        ZIP_INT_24B
    } else if i32::try_from(value).is_ok() {
        ZIP_INT_32B
    } else {
        ZIP_INT_64B
    };
    Some((value, encoding))
}

/// Writes the data of an integer, all of `p`; the encoding says how long `p` is.
#[inline]
fn zipSaveInteger(p: &mut [u8], value: i64) {
    p.copy_from_slice(&value.to_le_bytes()[..p.len()]);
}

/// Reads the integer whose data is `p`.
#[inline]
fn zipLoadInteger(p: &[u8], encoding: u8) -> i64 {
    match *p {
        [a] => a as i8 as i64,
        [a, b] => i16::from_le_bytes([a, b]) as i64,
        [a, b, c] => (i32::from_le_bytes([0, a, b, c]) >> 8) as i64,
        [a, b, c, d] => i32::from_le_bytes([a, b, c, d]) as i64,
        [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => (encoding & ZIP_INT_IMM_MASK) as i64 - 1,
    }
}

/// Takes apart the entry at `p`, of which is known that there is one.
#[inline]
#[track_caller]
fn zipEntry(zl: &[u8], p: usize) -> ZlEntry {
    assert_some!(zipEntrySafe(zl, p, false))
}

/// Takes apart the entry at `p`. `None`: this is the end mark, or no entry that lies within the
/// list, or, with `validate_prevlen`, the entry before it would not start within the list.
#[inline(always)]
fn zipEntrySafe(zl: &[u8], p: usize, validate_prevlen: bool) -> Option<ZlEntry> {
    // Most entries: a short string behind a short entry.
    if let Some([prevlen, len @ ..ZIP_STR_14B, behind @ ..]) = zl.get(p..)
        && *prevlen < ZIP_BIG_PREVLEN
        && usize::from(*len) < behind.len()
        && p >= ZIPLIST_HEADER_SIZE
        && !(validate_prevlen && usize::from(*prevlen) > p - ZIPLIST_HEADER_SIZE)
    {
        return Some(ZlEntry {
            prevrawlensize: 1,
            prevrawlen: usize::from(*prevlen),
            lensize: 1,
            len: usize::from(*len),
            headersize: 2,
            encoding: ZIP_STR_06B,
        });
    }
    any_entry(zl, p, validate_prevlen)
}

/// Does what [`zipEntrySafe`] does, for any entry.
#[inline(never)]
fn any_entry(zl: &[u8], p: usize, validate_prevlen: bool) -> Option<ZlEntry> {
    // The entry may take all bytes up to the end mark.
    let room = zl.len().checked_sub(p + ZIPLIST_END_SIZE)?;
    if p < ZIPLIST_HEADER_SIZE {
        return None;
    }

    // Most other entries: an integer behind a short entry.
    let rest = &zl[p..];
    if let [prevlen, byte, ..] = *rest
        && prevlen < ZIP_BIG_PREVLEN
        && !(ZIP_STR_14B..ZIP_STR_MASK).contains(&byte)
    {
        let (encoding, len) = match byte {
            0..ZIP_STR_14B => (ZIP_STR_06B, byte as usize),
            _ => (byte, zipIntSize(byte)?),
        };
        let prevrawlen = prevlen as usize;
        if validate_prevlen && prevrawlen > p - ZIPLIST_HEADER_SIZE {
            return None;
        }
        let e = ZlEntry { prevrawlensize: 1, prevrawlen, lensize: 1, len, headersize: 2, encoding };
        return (2 + len <= room).then_some(e);
    }

    // Ten bytes hold the longest header. Near the end, zeros stand in for what is missing, and the
    // sizes tell below.
    let mut padded = [0; 10];
    let h = match rest.first_chunk::<10>() {
        Some(h) => h,
        None => {
            padded[..rest.len()].copy_from_slice(rest);
            &padded
        }
    };

    let (prevrawlensize, prevrawlen) = match h[0] {
        ZIP_END => return None,
        ZIP_BIG_PREVLEN => (5, u32::from_le_bytes([h[1], h[2], h[3], h[4]]) as usize),
        len => (1, len as usize),
    };
    let e = if prevrawlensize == 1 { &h[1..6] } else { &h[5..10] };
    let (encoding, lensize, len) = match e[0] & ZIP_STR_MASK {
        ZIP_STR_06B => (ZIP_STR_06B, 1, (e[0] & 0x3f) as usize),
        ZIP_STR_14B => (ZIP_STR_14B, 2, ((e[0] & 0x3f) as usize) << 8 | e[1] as usize),
        ZIP_STR_32B => (ZIP_STR_32B, 5, u32::from_be_bytes([e[1], e[2], e[3], e[4]]) as usize),
        _ => (e[0], 1, zipIntSize(e[0])?),
    };

    let headersize = prevrawlensize + lensize;
    if len > room.checked_sub(headersize)?
        || validate_prevlen && prevrawlen > p - ZIPLIST_HEADER_SIZE
    {
        return None;
    }
    Some(ZlEntry { prevrawlensize, prevrawlen, lensize, len, headersize, encoding })
}

/// Returns the size of the whole entry at `p`.
#[inline]
#[track_caller]
fn zipRawEntryLengthSafe(zl: &[u8], p: usize) -> usize {
    zipEntry(zl, p).rawlen()
}

/// Asserts that an entry lies at `p`, and one before it, if it has one, and returns `p`.
#[inline]
#[track_caller]
fn zipAssertValidEntry(zl: &[u8], p: usize) -> usize {
    assert_some!(zipEntrySafe(zl, p, true));
    p
}

/// Returns an empty ziplist: 11 bytes.
pub fn ziplistNew() -> Ziplist {
    let empty = [11, 0, 0, 0, ZIPLIST_HEADER_SIZE as u8, 0, 0, 0, 0, 0, ZIP_END];
    Ziplist(empty[..].into())
}

/// Returns a ziplist of one value.
// C: `ziplistNew`, then `ziplistPush`, which allocates again.
pub fn ziplist_of_value(s: &[u8]) -> Ziplist {
    let (value, encoding, datalen) = zip_encode(s);
    let reqlen = 1 + zip_entry_encoding_size(encoding, s.len()) + datalen;
    let mut zl = Ziplist::none();
    let len = ZIPLIST_HEADER_SIZE + reqlen + ZIPLIST_END_SIZE;
    let at = zl.0.len();
    let (_, bytes) = zl.0.open(at, len - at);
    ziplist_set_tail_offset(bytes, ZIPLIST_HEADER_SIZE);
    ziplist_set_length(bytes, 1);
    let entry = &mut bytes[ZIPLIST_HEADER_SIZE - at..];
    let mut at = zipStorePrevEntryLength(entry, 0);
    at += zipStoreEntryEncoding(&mut entry[at..], encoding, s.len());
    zip_store_data(&mut entry[at..reqlen], s, value, encoding);
    entry[reqlen] = ZIP_END;
    zl
}

/// Makes room for `n` bytes at `p`, which lie before the end mark, and writes the new size. Returns
/// the header behind it with the entries before `p`, and the room with what is behind.
///
/// # Panics
///
/// When the size does not fit 32 bits; callers ask `ziplistSafeToAdd` first.
// C: `ziplistResize` makes room at the end, and what is behind `p` is moved there. Here the bytes
// before `p` may move instead.
#[inline(always)]
fn ziplist_make_room(zl: &mut Ziplist, p: usize, n: usize) -> (&mut [u8], &mut [u8]) {
    if zl.len().saturating_add(n) >= u32::MAX as usize {
        too_long();
    }
    zl.0.open(p, n)
}

/// Panics about a ziplist that gets too long.
#[cold]
fn too_long() -> ! {
    panic!("a ziplist of 4 GB");
}

/// Passes on that the entry at `p` has a new size: the prevlen of the next entry is set, and where
/// it has to grow from 1 byte to 5, that entry has a new size as well, and so on.
///
/// A prevlen never shrinks: between an insert and a delete near the border, a chain of entries
/// would grow and shrink again and again. A list with a long prevlen holds long entries anyhow.
fn __ziplistCascadeUpdate(zl: &mut Ziplist, p: usize) {
    /// The bytes by which a prevlen grows.
    const delta: usize = 4;
    let tail = ZIPLIST_TAIL_OFFSET(zl);

    if byte_at(zl, p) == ZIP_END {
        return;
    }
    // The entry changed last: its new size, the prevlen this needs, and where it starts.
    let firstentrylen = zipRawEntryLengthSafe(zl, p);
    let mut prevlen = firstentrylen;
    let mut prevlensize = zip_prev_entry_length_size(prevlen);
    let mut prevoffset = p;
    let mut p = p + prevlen;
    let mut extra = 0;
    let mut cnt = 0;

    // Find out how many entries grow.
    while zl[p] != ZIP_END {
        let cur = zipEntry(zl, p);

        if cur.prevrawlen == prevlen {
            break;
        }
        if cur.prevrawlensize >= prevlensize {
            if cur.prevrawlensize == prevlensize {
                zipStorePrevEntryLength(zl.0.tail_mut(p), prevlen);
            } else {
                zipStorePrevEntryLengthLarge(zl.0.tail_mut(p), prevlen);
            }
            break;
        }

        // A prevlen of 0 belongs to what was the head of a list before a merge. Any other is the
        // old size of the entry before, which the second loop walks back by.
        assert!(cnt == 0 && cur.prevrawlen == 0 || cur.prevrawlen + delta == prevlen);

        prevlen = cur.rawlen() + delta;
        prevlensize = zip_prev_entry_length_size(prevlen);
        prevoffset = p;
        p += cur.rawlen();
        extra += delta;
        cnt += 1;
    }
    if extra == 0 {
        return;
    }

    // The tail moves by what the entries before it grow; what it grows by itself does not move it.
    let moved = if tail == prevoffset { extra - delta } else { extra };
    ziplist_set_tail_offset(zl.header(), tail + moved);

    // Make room behind the last entry that grows, and then move these entries, the last one first.
    ziplist_make_room(zl, p, extra);
    p += extra;

    while cnt > 0 {
        let cur = zipEntry(zl, prevoffset);
        let body = cur.rawlen() - cur.prevrawlensize;
        let from = prevoffset + cur.prevrawlensize;
        zl.0.copy_within(from..from + body, p - body);
        p -= cur.rawlen() + delta;
        let len = if cur.prevrawlen == 0 { firstentrylen } else { cur.prevrawlen + delta };
        zipStorePrevEntryLength(zl.0.tail_mut(p), len);
        prevoffset -= cur.prevrawlen;
        cnt -= 1;
    }
}

/// Deletes up to `num` entries, from the one at `first_p` on.
fn __ziplistDelete(zl: &mut Ziplist, first_p: usize, num: usize) {
    if byte_at(zl, first_p) == ZIP_END {
        return;
    }
    let first = assert_some!(zipEntrySafe(zl, first_p, true));

    // Find the first entry that stays.
    let mut p = first_p;
    let mut deleted = 0;
    while deleted < num && zl[p] != ZIP_END {
        p += zipRawEntryLengthSafe(zl, p);
        deleted += 1;
    }
    let totlen = p - first_p;
    if totlen == 0 {
        return;
    }

    let mut nextdiff = 0;
    let set_tail;
    if zl[p] != ZIP_END {
        // Its prevlen becomes that of the first deleted one, and may change its size. There is
        // room: the deleted entries had a field of this size.
        let next = zipEntry(zl, p);
        nextdiff = zipPrevLenByteDiff(next.prevrawlensize, first.prevrawlen);
        let start = p.wrapping_add_signed(-nextdiff);
        assert!(start >= first_p && start < zl.len() - ZIPLIST_END_SIZE);

        // Unless the entry that stays is the tail itself, the tail moves by the change of its size
        // as well.
        let moved = if zl[p + next.rawlen()] != ZIP_END { nextdiff } else { 0 };
        set_tail = ZIPLIST_TAIL_OFFSET(zl).wrapping_sub(totlen).wrapping_add_signed(moved);

        zipStorePrevEntryLength(zl.0.tail_mut(start), first.prevrawlen);
        zl.0.close(first_p, start - first_p);
    } else {
        set_tail = first_p - first.prevrawlen;
        zl.0.close(first_p, totlen);
    }

    assert!(set_tail <= zl.len() - ZIPLIST_END_SIZE);
    let header = zl.header();
    ZIPLIST_INCR_LENGTH(header, -(deleted as isize));
    ziplist_set_tail_offset(header, set_tail);
    if nextdiff != 0 {
        __ziplistCascadeUpdate(zl, first_p);
    }
}

/// Inserts `s` before the entry at `p`, or at the end if `p` is the end mark.
fn __ziplistInsert(zl: &mut Ziplist, p: usize, s: &[u8]) {
    let bytes = &zl[..];
    let tail = ZIPLIST_TAIL_OFFSET(bytes);

    // The size of the entry before: the next entry knows it, and at the end, the tail is asked for
    // its own.
    let has_next = bytes[p] != ZIP_END;
    let (mut prevlen, mut next_prevlensize) = (0, 0);
    if has_next {
        prevlen = zip_prev_len(bytes, p);
        next_prevlensize = if bytes[p] == ZIP_BIG_PREVLEN { 5 } else { 1 };
    } else if byte_at(bytes, tail) != ZIP_END {
        prevlen = zipRawEntryLengthSafe(bytes, tail);
    }

    // Most often it is a short string among short entries, and no field changes its size.
    let reqlen = 2 + s.len();
    if s.len() < 64
        && prevlen < ZIP_BIG_PREVLEN as usize
        && next_prevlensize < 5
        && !may_be_number(s)
    {
        let (header, entries) = ziplist_make_room(zl, p, reqlen);
        ziplist_set_tail_offset(header, if has_next { tail + reqlen } else { p });
        ZIPLIST_INCR_LENGTH(header, 1);
        if has_next {
            entries[reqlen] = reqlen as u8;
        }
        let entry = &mut entries[..reqlen];
        entry[0] = prevlen as u8;
        entry[1] = ZIP_STR_06B | s.len() as u8;
        copy_short_slice(&mut entry[2..], s);
        return;
    }

    let (value, encoding, datalen) = zip_encode(s);
    let reqlen =
        zip_prev_entry_length_size(prevlen) + zip_entry_encoding_size(encoding, s.len()) + datalen;

    // The next entry's prevlen may have to grow, or could shrink. When the new entry is shorter
    // than what shrinking saves, the list would end up smaller than it was: then it keeps its size.
    let mut nextdiff = if has_next { zipPrevLenByteDiff(next_prevlensize, reqlen) } else { 0 };
    let forcelarge = nextdiff == -4 && reqlen < 4;
    if forcelarge {
        nextdiff = 0;
    }

    // The tail moves by the new entry, and by the change of the next one unless that is the tail
    // itself.
    let new_tail = if !has_next {
        p
    } else if nextdiff != 0 && bytes[p + zipRawEntryLengthSafe(bytes, p)] != ZIP_END {
        (tail + reqlen).saturating_add_signed(nextdiff)
    } else {
        tail + reqlen
    };

    // Write the entry, and its size where the next one has it.
    let (header, entries) = ziplist_make_room(zl, p, reqlen.saturating_add_signed(nextdiff));
    ziplist_set_tail_offset(header, new_tail);
    ZIPLIST_INCR_LENGTH(header, 1);
    if has_next {
        if forcelarge {
            zipStorePrevEntryLengthLarge(&mut entries[reqlen..], reqlen);
        } else {
            zipStorePrevEntryLength(&mut entries[reqlen..], reqlen);
        }
    }
    let mut at = zipStorePrevEntryLength(entries, prevlen);
    at += zipStoreEntryEncoding(&mut entries[at..], encoding, s.len());
    zip_store_data(&mut entries[at..at + datalen], s, value, encoding);

    if nextdiff != 0 {
        __ziplistCascadeUpdate(zl, p + reqlen);
    }
}

/// Returns how `s` is stored: its value if it is an integer, its encoding (any string encoding for
/// a string), its size as data.
#[inline]
fn zip_encode(s: &[u8]) -> (i64, u8, usize) {
    match zipTryEncoding(s) {
        Some((value, encoding)) => (value, encoding, zipIntSize(encoding).unwrap_or(0)),
        None => (0, ZIP_STR_06B, s.len()),
    }
}

/// Writes the data of an entry: the string itself or the integer it spells.
#[inline]
fn zip_store_data(p: &mut [u8], s: &[u8], value: i64, encoding: u8) {
    if ZIP_IS_STR(encoding) {
        copy_short_slice(p, s);
    } else {
        zipSaveInteger(p, value);
    }
}

/// Joins two lists: `first` followed by `second`. The one with more entries keeps its place and is
/// grown; the other one is emptied.
///
/// Returns whether the result is in `first`.
///
/// # Panics
///
/// When the result does not fit 32 bits.
// C: takes the address of two pointers, and tells by setting one of them to NULL; it refuses to
// merge a list with itself, which exclusive references cannot ask for.
pub fn ziplistMerge(first: &mut Ziplist, second: &mut Ziplist) -> bool {
    let (first_bytes, second_bytes) = (first.len(), second.len());
    let (first_len, second_len) = (ZIPLIST_LENGTH(first), ZIPLIST_LENGTH(second));
    let first_offset = ZIPLIST_TAIL_OFFSET(first);
    let second_offset = ZIPLIST_TAIL_OFFSET(second);
    let append = first_len >= second_len;

    let seam = first_bytes - ZIPLIST_END_SIZE;
    let target = if append {
        let entries = &second[ZIPLIST_HEADER_SIZE..second_bytes - ZIPLIST_END_SIZE];
        ziplist_make_room(first, seam, entries.len()).1[..entries.len()].copy_from_slice(entries);
        *second = ziplistNew();
        first
    } else {
        let entries = &first[ZIPLIST_HEADER_SIZE..seam];
        let (_, room) = ziplist_make_room(second, ZIPLIST_HEADER_SIZE, entries.len());
        room[..entries.len()].copy_from_slice(entries);
        *first = ziplistNew();
        second
    };

    ziplist_set_length(target.header(), first_len.saturating_add(second_len));
    ziplist_set_tail_offset(
        target.header(),
        (seam + second_offset).saturating_sub(ZIPLIST_HEADER_SIZE),
    );

    // The first entry of the second list has now one before it.
    __ziplistCascadeUpdate(target, first_offset);
    append
}

/// Adds `s` at one end: `ZIPLIST_HEAD` or `ZIPLIST_TAIL`. A value that spells an integer is stored
/// as one.
///
/// # Panics
///
/// When the list would outgrow 32 bits; callers ask `ziplistSafeToAdd` first.
#[inline]
pub fn ziplistPush(zl: &mut Ziplist, s: &[u8], place: i32) {
    if !ziplist_push_short(zl, s, place) {
        let p =
            if place == ZIPLIST_HEAD { ZIPLIST_HEADER_SIZE } else { zl.len() - ZIPLIST_END_SIZE };
        __ziplistInsert(zl, p, s);
    }
}

/// Does what [`ziplistPush`] does where that is what it is most often: a short string comes before
/// the first of short entries, or behind the last, and no field changes its size. `false`: it is
/// something else, and nothing was done.
// C: `__ziplistInsert` alone, for any value at any place.
#[inline(always)]
pub fn ziplist_push_short(zl: &mut Ziplist, s: &[u8], place: i32) -> bool {
    let (len, tail) = (zl.len(), ZIPLIST_TAIL_OFFSET(zl));
    if s.len() >= usize::from(ZIP_STR_14B) || may_be_number(s) {
        return false;
    }
    let reqlen = 2 + s.len();
    let (p, prevlen, new_tail);
    if place == ZIPLIST_HEAD {
        // The first entry, not the end mark, which is a larger byte.
        match zl.get(ZIPLIST_HEADER_SIZE) {
            Some(&first) if first < ZIP_BIG_PREVLEN => prevlen = first,
            _ => return false,
        }
        (p, new_tail) = (ZIPLIST_HEADER_SIZE, tail + reqlen);
    } else {
        // The tail has all the bytes up to the end mark, and so tells its own size.
        match zl.get(tail..) {
            Some([ZIP_END, ..]) | None => return false,
            Some(last) if last.len() <= usize::from(ZIP_BIG_PREVLEN) => {
                let rawlen = last.len() - ZIPLIST_END_SIZE;
                match *last {
                    [0..ZIP_BIG_PREVLEN, n @ 0..ZIP_STR_14B, ..]
                        if 2 + usize::from(n) == rawlen && tail >= ZIPLIST_HEADER_SIZE =>
                    {
                        prevlen = rawlen as u8;
                    }
                    _ => return false,
                }
            }
            Some(_) => return false,
        }
        (p, new_tail) = (len - ZIPLIST_END_SIZE, len - ZIPLIST_END_SIZE);
    }
    let (header, entries) = ziplist_make_room(zl, p, reqlen);
    ziplist_set_tail_offset(header, new_tail);
    ZIPLIST_INCR_LENGTH(header, 1);
    if place == ZIPLIST_HEAD {
        entries[reqlen] = reqlen as u8;
    }
    let entry = &mut entries[..reqlen];
    entry[0] = prevlen;
    entry[1] = ZIP_STR_06B | s.len() as u8;
    copy_short_slice(&mut entry[2..], s);
    true
}

/// Returns where the entry number `index` starts, counted from 0, or from -1 at the tail backwards.
/// `None`: there is none.
pub fn ziplistIndex(zl: &[u8], index: i64) -> Option<usize> {
    let mut p;
    if index < 0 {
        let mut left = -(index + 1);
        p = ZIPLIST_TAIL_OFFSET(zl);
        if byte_at(zl, p) == ZIP_END {
            return None;
        }
        let mut prevlen = zip_prev_len(zl, p);
        while prevlen > 0 && left > 0 {
            p = assert_some!(p.checked_sub(prevlen));
            prevlen = zip_prev_len(zl, p);
            left -= 1;
        }
        if left > 0 {
            return None;
        }
    } else {
        p = ZIPLIST_HEADER_SIZE;
        for _ in 0..index {
            if byte_at(zl, p) == ZIP_END {
                return None;
            }
            p += zipRawEntryLengthSafe(zl, p);
        }
        if byte_at(zl, p) == ZIP_END {
            return None;
        }
    }
    Some(zipAssertValidEntry(zl, p))
}

/// Returns the prevlen of the entry at `p`, without a look at the rest of it.
#[inline]
#[track_caller]
fn zip_prev_len(zl: &[u8], p: usize) -> usize {
    assert!(p >= ZIPLIST_HEADER_SIZE && p < zl.len() - ZIPLIST_END_SIZE);
    match zl[p] {
        ZIP_BIG_PREVLEN => u32::from_le_bytes(*assert_some!(zl[p + 1..].first_chunk())) as usize,
        len => len as usize,
    }
}

/// Returns the entry after the one at `p`. `None`: there is none, or `p` is the end mark already,
/// as it may be after a delete.
#[inline]
pub fn ziplistNext(zl: &[u8], p: usize) -> Option<usize> {
    if byte_at(zl, p) == ZIP_END {
        return None;
    }
    let next = p + zipRawEntryLengthSafe(zl, p);
    (zl[next] != ZIP_END).then(|| zipAssertValidEntry(zl, next))
}

/// Returns the entry before the one at `p`; before the end mark, the tail. `None` at the head.
#[inline]
pub fn ziplistPrev(zl: &[u8], p: usize) -> Option<usize> {
    let prev = if byte_at(zl, p) == ZIP_END {
        let tail = ZIPLIST_TAIL_OFFSET(zl);
        if byte_at(zl, tail) == ZIP_END {
            return None;
        }
        tail
    } else if p == ZIPLIST_HEADER_SIZE {
        return None;
    } else {
        let prevlen = zip_prev_len(zl, p);
        assert!(prevlen > 0);
        assert_some!(p.checked_sub(prevlen))
    };
    Some(zipAssertValidEntry(zl, prev))
}

/// Returns the value of the entry at `p`. `None`: `p` is the end mark.
#[inline]
pub fn ziplistGet(zl: &[u8], p: usize) -> Option<ZiplistEntry<'_>> {
    if byte_at(zl, p) == ZIP_END {
        return None;
    }
    let e = zipEntry(zl, p);
    Some(zip_value(&zl[p + e.headersize..p + e.rawlen()], e.encoding))
}

/// Returns the value whose data are these bytes.
#[inline(always)]
fn zip_value(data: &[u8], encoding: u8) -> ZiplistEntry<'_> {
    if ZIP_IS_STR(encoding) {
        ZiplistEntry::Str(data)
    } else {
        ZiplistEntry::Int(zipLoadInteger(data, encoding))
    }
}

/// Returns the value of the entry at `p`, and where the next one starts, or the end mark is. `None`:
/// `p` is the end mark.
// C: `ziplistGet`, then `ziplistNext`, which take the entry apart once each.
#[inline]
pub fn ziplist_get_next(zl: &[u8], p: usize) -> Option<(ZiplistEntry<'_>, usize)> {
    if byte_at(zl, p) == ZIP_END {
        return None;
    }
    let e = zipEntry(zl, p);
    let next = p + e.rawlen();
    Some((zip_value(&zl[p + e.headersize..next], e.encoding), next))
}

/// Calls `f` with the values from the entry at `p` on, up to `n` of them, and until it returns
/// false, which says that it has not taken the value. Returns how many it has taken, and where the
/// next entry is, or the end mark.
#[inline(always)]
pub fn ziplist_read_while(
    zl: &[u8],
    mut p: usize,
    n: usize,
    mut f: impl FnMut(ZiplistEntry) -> bool,
) -> (usize, usize) {
    let mut taken = 0;
    while taken < n
        && let Some((value, next)) = ziplist_get_next(zl, p)
        && f(value)
    {
        p = next;
        taken += 1;
    }
    (taken, p)
}

/// Does what [`ziplist_read_while`] does as long as the values are what they mostly are: short
/// strings behind short entries. `f` is given all bytes from a value on, and its length.
#[inline(always)]
pub fn ziplist_read_short_while(
    zl: &[u8],
    p: usize,
    n: usize,
    mut f: impl FnMut(&[u8], usize) -> bool,
) -> (usize, usize) {
    let mut taken = 0;
    let mut rest = zl.get(p..).unwrap_or_default();
    while taken < n
        && let [0..ZIP_BIG_PREVLEN, len @ 0..ZIP_STR_14B, behind @ ..] = rest
        && let Some(next) = behind.get(usize::from(*len)..)
        && !next.is_empty()
        && f(behind, usize::from(*len))
    {
        rest = next;
        taken += 1;
    }
    (taken, zl.len() - rest.len())
}

/// Does what [`ziplist_read_while`] does as long as the values are integers behind short entries.
#[inline(always)]
pub fn ziplist_read_integers_while(
    zl: &[u8],
    p: usize,
    n: usize,
    mut f: impl FnMut(i64) -> bool,
) -> (usize, usize) {
    let mut taken = 0;
    let mut rest = zl.get(p..).unwrap_or_default();
    while taken < n
        && let [0..ZIP_BIG_PREVLEN, encoding, behind @ ..] = rest
        && !ZIP_IS_STR(*encoding)
        && let Some(len) = zipIntSize(*encoding)
        && let Some(next) = behind.get(len..)
        && !next.is_empty()
        && f(zip_load_near(behind, len, *encoding))
    {
        rest = next;
        taken += 1;
    }
    (taken, zl.len() - rest.len())
}

/// Reads the integer whose data are the first `len` of these bytes. Where there are eight they are
/// read as a word, and the others are shifted out, so that nothing depends on `len`.
#[inline(always)]
fn zip_load_near(bytes: &[u8], len: usize, encoding: u8) -> i64 {
    match bytes.first_chunk::<8>() {
        Some(word) if len > 0 => {
            let others = 64 - 8 * len as u32;
            (i64::from_le_bytes(*word) << others) >> others
        }
        _ => zipLoadInteger(&bytes[..len], encoding),
    }
}

/// Tells whether the end mark is at `p`.
#[inline]
pub fn ziplist_is_end(zl: &[u8], p: usize) -> bool {
    byte_at(zl, p) == ZIP_END
}

/// Inserts `s` before the entry at `p`, or at the end if `p` is the end mark. After it, `p` is
/// where `s` is.
///
/// # Panics
///
/// When the list would outgrow 32 bits; callers ask `ziplistSafeToAdd` first.
pub fn ziplistInsert(zl: &mut Ziplist, p: usize, s: &[u8]) {
    __ziplistInsert(zl, p, s);
}

/// Deletes the entry at `p`. After it, `p` is the entry that followed, or the end mark.
pub fn ziplistDelete(zl: &mut Ziplist, p: usize) {
    __ziplistDelete(zl, p, 1);
}

/// Takes the value at the tail: calls `f` with it, and deletes it. `None`: the list is empty.
// C: `ziplistIndex`, `ziplistGet`, `ziplistDelete`, of which each takes the entry apart.
#[inline(always)]
pub fn ziplist_pop_tail<T>(zl: &mut Ziplist, f: impl FnOnce(ZiplistEntry) -> T) -> Option<T> {
    let bytes = &zl[..];
    let p = ZIPLIST_TAIL_OFFSET(bytes);
    // Most often it is a short string behind a short entry, and nothing is behind it.
    if let Some([prevlen @ 0..ZIP_BIG_PREVLEN, len @ 0..ZIP_STR_14B, rest @ ..]) = bytes.get(p..)
        && let [value @ .., ZIP_END] = rest
        && value.len() == usize::from(*len)
        && let Some(new_tail) = p.checked_sub(usize::from(*prevlen))
        && new_tail >= ZIPLIST_HEADER_SIZE
    {
        let rawlen = 2 + value.len();
        let result = f(ZiplistEntry::Str(value));
        let header = zl.0.shorten(rawlen);
        if let Some(end) = header.last_mut() {
            *end = ZIP_END;
        }
        ZIPLIST_INCR_LENGTH(header, -1);
        ziplist_set_tail_offset(header, new_tail);
        return Some(result);
    }
    pop_any_tail(zl, f)
}

/// Does what [`ziplist_pop_tail`] does, for any value.
#[inline(never)]
fn pop_any_tail<T>(zl: &mut Ziplist, f: impl FnOnce(ZiplistEntry) -> T) -> Option<T> {
    let p = ZIPLIST_TAIL_OFFSET(zl);
    if byte_at(zl, p) == ZIP_END {
        return None;
    }
    let e = assert_some!(zipEntrySafe(zl, p, true));
    let end = p + e.rawlen();
    let result = f(zip_value(&zl[p + e.headersize..end], e.encoding));
    if zl[end] != ZIP_END {
        // A damaged list has more entries than its tail says.
        __ziplistDelete(zl, p, 1);
        return Some(result);
    }
    let (header, _) = zl.0.close(p, e.rawlen());
    ZIPLIST_INCR_LENGTH(header, -1);
    ziplist_set_tail_offset(header, p - e.prevrawlen);
    Some(result)
}

/// Takes the value at the head: calls `f` with it, and deletes it. `None`: the list is empty.
#[inline]
pub fn ziplist_pop_head<T>(zl: &mut Ziplist, f: impl FnOnce(ZiplistEntry) -> T) -> Option<T> {
    const P: usize = ZIPLIST_HEADER_SIZE;
    if byte_at(zl, P) == ZIP_END {
        return None;
    }
    let e = assert_some!(zipEntrySafe(zl, P, true));
    let next = P + e.rawlen();
    let result = f(zip_value(&zl[P + e.headersize..next], e.encoding));
    let tail = ZIPLIST_TAIL_OFFSET(zl);
    // Most often there is another entry, which is short, and becomes the first: its prevlen is that
    // of the one deleted, and of one byte.
    if e.prevrawlensize != 1
        || zl[next] >= ZIP_BIG_PREVLEN
        || !(next..zl.len()).contains(&tail)
        || zipEntrySafe(zl, next, false).is_none()
    {
        __ziplistDelete(zl, P, 1);
        return Some(result);
    }
    let (header, entries) = zl.0.close(P, e.rawlen());
    entries[0] = e.prevrawlen as u8;
    ZIPLIST_INCR_LENGTH(header, -1);
    ziplist_set_tail_offset(header, tail - e.rawlen());
    Some(result)
}

/// Deletes up to `num` entries from entry number `index` on, counted as in `ziplistIndex`.
pub fn ziplistDeleteRange(zl: &mut Ziplist, index: i64, num: usize) {
    if let Some(p) = ziplistIndex(zl, index) {
        __ziplistDelete(zl, p, num);
    }
}

/// Replaces the value of the entry at `p` by `s`: in place if the sizes agree, else by a delete and
/// an insert.
///
/// # Panics
///
/// When the list would outgrow 32 bits; callers ask `ziplistSafeToAdd` first.
pub fn ziplistReplace(zl: &mut Ziplist, p: usize, s: &[u8]) {
    let e = zipEntry(zl, p);
    let (value, encoding, datalen) = zip_encode(s);
    if zip_entry_encoding_size(encoding, s.len()) + datalen == e.lensize + e.len {
        let mut p = p + e.prevrawlensize;
        p += zipStoreEntryEncoding(zl.0.tail_mut(p), encoding, s.len());
        zip_store_data(&mut zl.0.tail_mut(p)[..datalen], s, value, encoding);
    } else {
        ziplistDelete(zl, p);
        ziplistInsert(zl, p, s);
    }
}

/// Tells whether the entry at `p` holds the value `s`; false at the end mark.
pub fn ziplistCompare(zl: &[u8], p: usize, s: &[u8]) -> bool {
    match ziplistGet(zl, p) {
        Some(ZiplistEntry::Str(data)) => data == s,
        Some(ZiplistEntry::Int(value)) => zipTryEncoding(s).is_some_and(|(v, _)| v == value),
        None => false,
    }
}

/// Returns the first entry from `p` on that holds the value `vstr`. After each one it looks at, it
/// leaves out `skip` entries: a hash is searched for a field with a skip of 1.
pub fn ziplistFind(zl: &[u8], p: usize, vstr: &[u8], skip: u32) -> Option<usize> {
    let mut p = p;
    let mut skipcnt = 0;
    // What integer `vstr` spells, found out when the first integer is met.
    let mut vll: Option<Option<i64>> = None;

    while zl[p] != ZIP_END {
        let e = assert_some!(zipEntrySafe(zl, p, true));
        let q = p + e.headersize;
        if skipcnt == 0 {
            if ZIP_IS_STR(e.encoding) {
                if e.len == vstr.len() && zl[q..q + e.len] == *vstr {
                    return Some(p);
                }
            } else {
                let vll = *vll.get_or_insert_with(|| zipTryEncoding(vstr).map(|(v, _)| v));
                if vll.is_some_and(|v| v == zipLoadInteger(&zl[q..q + e.len], e.encoding)) {
                    return Some(p);
                }
            }
            skipcnt = skip;
        } else {
            skipcnt -= 1;
        }
        p = q + e.len;
    }
    None
}

/// Returns the number of entries; from 65535 on they are counted one by one.
// C: counting them also writes the number to the header if it fits again. Here that is
// `ziplist_len_store`, as most who ask only read.
pub fn ziplistLen(zl: &[u8]) -> usize {
    let len = ZIPLIST_LENGTH(zl);
    if len < u16::MAX {
        return len as usize;
    }
    let mut count = 0;
    let mut p = ZIPLIST_HEADER_SIZE;
    while zl[p] != ZIP_END {
        p += zipRawEntryLengthSafe(zl, p);
        count += 1;
    }
    count
}

/// Returns the number of entries, and writes it to a header that does not have it, if it fits 16
/// bits again.
pub fn ziplist_len_store(zl: &mut Ziplist) -> usize {
    let len = ziplistLen(zl);
    if ZIPLIST_LENGTH(zl) == u16::MAX && len < u16::MAX as usize {
        ziplist_set_length(zl.header(), len as u16);
    }
    len
}

/// Returns the size of the list in bytes, as its header tells.
#[inline]
pub fn ziplistBlobLen(zl: &[u8]) -> usize {
    read_u32_le(zl, 0)
}

/// Appends to `out` what DEBUG ZIPLIST shows: header and entries with their sizes and bytes.
// C: prints to stdout.
pub fn ziplistRepr(zl: &[u8], out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = write!(
        out,
        "{{total bytes {}}} {{num entries {}}}\n{{tail offset {}}}\n",
        ziplistBlobLen(zl),
        ZIPLIST_LENGTH(zl),
        ZIPLIST_TAIL_OFFSET(zl)
    );
    let mut p = ZIPLIST_HEADER_SIZE;
    let mut index = 0;
    while zl[p] != ZIP_END {
        let e = assert_some!(zipEntrySafe(zl, p, true));
        let _ = write!(
            out,
            "{{\n\taddr 0x{:08x},\n\tindex {:2},\n\toffset {:5},\n\thdr+entry len: {:5},\n\thdr len{:2},\n\
             \tprevrawlen: {:5},\n\tprevrawlensize: {:2},\n\tpayload {:5}\n\tbytes: ",
            zl.as_ptr() as usize + p,
            index,
            p,
            e.rawlen(),
            e.headersize,
            e.prevrawlen,
            e.prevrawlensize,
            e.len
        );
        for b in &zl[p..p + e.rawlen()] {
            let _ = write!(out, "{b:02x}|");
        }
        out.push(b'\n');
        let data = &zl[p + e.headersize..p + e.rawlen()];
        if ZIP_IS_STR(e.encoding) {
            out.extend_from_slice(b"\t[str]");
            out.extend_from_slice(&data[..data.len().min(40)]);
            if data.len() > 40 {
                out.extend_from_slice(b"...");
            }
        } else {
            let _ = write!(out, "\t[int]{}", zipLoadInteger(data, e.encoding));
        }
        out.extend_from_slice(b"\n}\n");
        p += e.rawlen();
        index += 1;
    }
    out.extend_from_slice(b"{end}\n\n");
}

/// Tells whether these bytes are a ziplist. Without `deep` the header and the end mark are checked,
/// with it every entry too, and then `entry_cb` is asked about each: it is given the entry's
/// position, and false ends the check.
pub fn ziplistValidateIntegrity(
    zl: &[u8],
    deep: bool,
    mut entry_cb: Option<&mut dyn FnMut(usize) -> bool>,
) -> bool {
    let size = zl.len();
    if size < ZIPLIST_HEADER_SIZE + ZIPLIST_END_SIZE
        || ziplistBlobLen(zl) != size
        || zl[size - ZIPLIST_END_SIZE] != ZIP_END
        || ZIPLIST_TAIL_OFFSET(zl) > size - ZIPLIST_END_SIZE
    {
        return false;
    }
    if !deep {
        return true;
    }

    let mut count = 0;
    let mut p = ZIPLIST_HEADER_SIZE;
    let mut prev = None;
    let mut prev_raw_size = 0;
    while zl[p] != ZIP_END {
        let Some(e) = zipEntrySafe(zl, p, true) else { return false };
        if e.prevrawlen != prev_raw_size {
            return false;
        }
        if let Some(cb) = &mut entry_cb
            && !cb(p)
        {
            return false;
        }
        prev_raw_size = e.rawlen();
        prev = Some(p);
        p += prev_raw_size;
        count += 1;
    }

    // The walk ends at the end, the header knows the last entry, and unless it lost count, their
    // number.
    p == size - ZIPLIST_END_SIZE
        && prev.is_none_or(|prev| prev == ZIPLIST_TAIL_OFFSET(zl))
        && (ZIPLIST_LENGTH(zl) == u16::MAX || ZIPLIST_LENGTH(zl) as usize == count)
}

/// Tells whether no two of these values read the same. They may come from a list that another
/// program wrote: the string `12` reads as the integer does.
// C: the callers put copies of the values into a table.
pub fn ziplist_all_distinct(values: &mut [ZiplistEntry]) -> bool {
    for value in values.iter_mut() {
        if let ZiplistEntry::Str(s) = *value
            && let Some(n) = lpStringToInt64(s)
        {
            *value = ZiplistEntry::Int(n);
        }
    }
    values.sort_unstable();
    values.windows(2).all(|pair| pair[0] != pair[1])
}

/// Returns the two values, field and value or member and score, of the pair whose first entry is at
/// `p`, and where the next pair starts.
#[inline]
fn zip_pair(zl: &[u8], p: usize) -> ((ZiplistEntry<'_>, ZiplistEntry<'_>), Option<usize>) {
    let value = assert_some!(ziplistNext(zl, p));
    let pair = (assert_some!(ziplistGet(zl, p)), assert_some!(ziplistGet(zl, value)));
    (pair, ziplistNext(zl, value))
}

/// Returns a random pair of `total_count`, which is half the length of the list and not 0. `rand`
/// gives numbers from 0 to `RAND_MAX`.
pub fn ziplistRandomPair<'a>(
    zl: &'a [u8],
    total_count: usize,
    rand: &mut impl FnMut() -> u32,
) -> (ZiplistEntry<'a>, ZiplistEntry<'a>) {
    assert!(total_count > 0);
    let r = rand() as usize % total_count;
    zip_pair(zl, assert_some!(ziplistIndex(zl, r as i64 * 2))).0
}

/// Returns `count` random pairs, the same one perhaps more than once, in random order. `rand` gives
/// numbers from 0 to `RAND_MAX`. The list is not empty.
pub fn ziplistRandomPairs<'a>(
    zl: &'a [u8],
    count: usize,
    rand: &mut impl FnMut() -> u32,
) -> Vec<(ZiplistEntry<'a>, ZiplistEntry<'a>)> {
    let total_size = ziplistLen(zl) / 2;
    assert!(total_size > 0);

    // Draw numbers of pairs, sort them to walk the list just once, and put each pair where its
    // number was drawn.
    let mut picks: Vec<(usize, usize)> =
        (0..count).map(|order| (rand() as usize % total_size, order)).collect();
    picks.sort_unstable();

    let mut pairs = vec![(ZiplistEntry::Int(0), ZiplistEntry::Int(0)); count];
    let mut next = ziplistIndex(zl, 0);
    let mut zipindex = 0;
    let mut pickindex = 0;
    while pickindex < count {
        let (pair, behind) = zip_pair(zl, assert_some!(next));
        while pickindex < count && picks[pickindex].0 == zipindex {
            pairs[picks[pickindex].1] = pair;
            pickindex += 1;
        }
        zipindex += 1;
        next = behind;
    }
    pairs
}

/// Returns up to `count` different random pairs, in the order of the list; fewer if it does not
/// hold so many. `rand` gives numbers from 0 to `RAND_MAX`.
pub fn ziplistRandomPairsUnique<'a>(
    zl: &'a [u8],
    count: usize,
    rand: &mut impl FnMut() -> u32,
) -> Vec<(ZiplistEntry<'a>, ZiplistEntry<'a>)> {
    let total_size = ziplistLen(zl) / 2;
    let count = count.min(total_size);
    let mut pairs = Vec::with_capacity(count);

    // One walk is enough: a pair is taken with the chance of what is still wanted to what is still
    // ahead.
    let mut next = ziplistIndex(zl, 0);
    let mut index = 0;
    while pairs.len() < count {
        let Some(p) = next else { break };
        let chance = rand() as f64 / RAND_MAX as f64;
        let threshold = (count - pairs.len()) as f64 / total_size.saturating_sub(index) as f64;
        let (pair, behind) = zip_pair(zl, p);
        if chance <= threshold {
            pairs.push(pair);
        }
        next = behind;
        index += 1;
    }
    pairs
}

#[cfg(test)]
mod tests;
