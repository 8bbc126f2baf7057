//! `listpack.c`: a list of strings and integers in one block of bytes, walked in both directions.
//! Streams are made of them.
//!
//! ```text
//! total bytes u32 | number of elements u16 | element ... element | 0xff
//! element: encoding | data | backlen
//! encoding 0xxxxxxx           the integers 0 to 127
//!          10llllll           string of up to 63 bytes
//!          110xxxxx x         integer of 13 bits, big endian
//!          1110llll l         string of up to 4095 bytes, big endian
//!          f0 l l l l         longer
//!          f1 f2 f3 f4        integer of 16, 24, 32, 64 bits
//! backlen: the size of encoding and data, in groups of 7 bits read from the last byte backwards
//! ```
//!
//! All other numbers are little endian. Unlike a ziplist entry, an element tells its own size at
//! its end, so a change never touches the elements behind it.
//!
//! Read first: `lpInsert`. Listpacks written by Redis 7 have the same form.
//!
//! Differs: a position is an offset into the bytes, not a pointer. That an element lies within the
//! bytes is asserted whenever one is looked at, where the C trusts positions it was given: see
//! `redisassert.rs`. `lpGetInteger` and the helpers of its kind at the end of this file are in
//! `t_stream.c` in the C.
#![forbid(unsafe_code)]

use super::bytes::{resize, round_to_size_class};
use super::redisassert::assert_some;
use crate::sys::defrag::Defrag;
use crate::sys::mem::{append_short, copy_short_slice};
use std::ops::Deref;

/// Size of the buffer in which `lp_get_string` spells integers.
pub const LP_INTBUF_SIZE: usize = 21;

/// `lpInsert` puts the element before the one at the position.
pub const LP_BEFORE: i32 = 0;
/// `lpInsert` puts the element after the one at the position.
pub const LP_AFTER: i32 = 1;
/// `lpInsert` puts the element in the place of the one at the position.
pub const LP_REPLACE: i32 = 2;

const LP_HDR_SIZE: usize = 6;
const LP_HDR_NUMELE_UNKNOWN: u16 = u16::MAX;

const LP_ENCODING_6BIT_STR: u8 = 0x80;
const LP_ENCODING_13BIT_INT: u8 = 0xc0;
const LP_ENCODING_12BIT_STR: u8 = 0xe0;
const LP_ENCODING_32BIT_STR: u8 = 0xf0;
const LP_ENCODING_16BIT_INT: u8 = 0xf1;
const LP_ENCODING_24BIT_INT: u8 = 0xf2;
const LP_ENCODING_32BIT_INT: u8 = 0xf3;
const LP_ENCODING_64BIT_INT: u8 = 0xf4;
const LP_EOF: u8 = 0xff;

/// A listpack that owns its bytes. Reading functions take the bytes (`&lp`), so they read borrowed
/// ones as well.
///
/// The header always tells the true size, and the bytes end in the end mark; whether the elements
/// are valid depends on where the bytes came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listpack(Vec<u8>);

impl Listpack {
    /// Takes over the bytes of a listpack, or gives `None` if they fail `lpValidateIntegrity`
    /// without `deep`.
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Listpack> {
        lpValidateIntegrity(&bytes, false).then_some(Listpack(bytes))
    }

    /// Returns the bytes, as they are saved.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Moves the allocation where that is worth it.
    pub fn defrag(&mut self, moves: &mut Defrag) {
        moves.vec(&mut self.0);
    }

    /// Returns the bytes there is memory for.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl Deref for Listpack {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// The value of an element; a string is borrowed from the listpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListpackEntry<'a> {
    /// The bytes of a string.
    Str(&'a [u8]),
    /// An integer, which was stored as such.
    Int(i64),
}

/// Returns the total size in the header.
#[inline]
fn lpGetTotalBytes(lp: &[u8]) -> usize {
    lp.first_chunk::<4>().map_or(0, |b| u32::from_le_bytes(*b) as usize)
}

/// Returns the number of elements in the header, or `LP_HDR_NUMELE_UNKNOWN`.
#[inline]
fn lpGetNumElements(lp: &[u8]) -> u16 {
    lp.get(4..6).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
}

#[inline]
fn lpSetTotalBytes(lp: &mut Listpack, v: usize) {
    lp.0[..4].copy_from_slice(&(v as u32).to_le_bytes());
}

#[inline]
fn lpSetNumElements(lp: &mut Listpack, v: u16) {
    lp.0[4..6].copy_from_slice(&v.to_le_bytes());
}

/// Returns the integer that `s` spells, if it spells it the one way we would: no spaces, no plus,
/// no leading zeros, and 64 bits hold it. So the number can stand for the string without loss.
#[inline]
pub fn lpStringToInt64(s: &[u8]) -> Option<i64> {
    let (negative, digits) = match s {
        b"0" => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    // Nineteen digits at most make up 64 bits.
    if !matches!(digits.first(), Some(b'1'..=b'9')) || digits.len() > 19 {
        return None;
    }
    let mut v: u64 = 0;
    for c in digits {
        let digit = c.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        v = v * 10 + digit as u64;
    }
    if negative {
        if v > i64::MIN.unsigned_abs() { None } else { Some((v as i64).wrapping_neg()) }
    } else {
        i64::try_from(v).ok()
    }
}

/// Returns an empty listpack, with memory for `capacity` bytes, which `lpShrinkToFit` gives back.
pub fn lpNew(capacity: usize) -> Listpack {
    let mut lp = Vec::with_capacity(capacity.max(LP_HDR_SIZE + 1));
    lp.extend_from_slice(&[LP_HDR_SIZE as u8 + 1, 0, 0, 0, 0, 0, LP_EOF]);
    Listpack(lp)
}

/// Takes memory for `more` bytes to come, and half as much again as there are then, but no more than
/// `most` for that: so that to append and append does not ask the allocator each time.
pub fn lp_grow_ahead(lp: &mut Listpack, more: usize, most: usize) {
    let need = lp.len() + more;
    if need > lp.0.capacity() {
        let want = (need + need / 2).min(most).max(need);
        lp.0.reserve_exact(round_to_size_class(want) - lp.len());
    }
}

/// Gives back the memory that is not used.
pub fn lpShrinkToFit(lp: &mut Listpack) {
    lp.0.shrink_to_fit();
}

/// An element in the form in which it will be stored: encoding and data, of which a string is not
/// copied.
struct Encoded<'a> {
    /// The integer, or the encoding and length of the string.
    head: [u8; 9],
    headlen: usize,
    /// The string, empty for an integer.
    body: &'a [u8],
}

impl Encoded<'_> {
    /// Returns the size of encoding and data.
    #[inline]
    fn enclen(&self) -> usize {
        self.headlen + self.body.len()
    }
}

/// Returns the shortest way to store `ele`: as an integer if it spells one.
#[inline]
fn lpEncodeGetType(ele: &[u8]) -> Encoded<'_> {
    match lpStringToInt64(ele) {
        Some(v) => lp_encode_integer(v),
        None => lpEncodeString(ele),
    }
}

/// Returns the shortest encoding of an integer.
#[inline]
fn lp_encode_integer(v: i64) -> Encoded<'static> {
    let mut head = [0; 9];
    let le = v.to_le_bytes();
    let (encoding, width) = match v {
        0..=127 => {
            head[0] = v as u8;
            return Encoded { head, headlen: 1, body: &[] };
        }
        -4096..=4095 => {
            head[0] = (v >> 8) as u8 & 0x1f | LP_ENCODING_13BIT_INT;
            head[1] = v as u8;
            return Encoded { head, headlen: 2, body: &[] };
        }
        -32768..=32767 => (LP_ENCODING_16BIT_INT, 2),
        -8388608..=8388607 => (LP_ENCODING_24BIT_INT, 3),
        -2147483648..=2147483647 => (LP_ENCODING_32BIT_INT, 4),
        _ => (LP_ENCODING_64BIT_INT, 8),
    };
    head[0] = encoding;
    head[1..=width].copy_from_slice(&le[..width]);
    Encoded { head, headlen: 1 + width, body: &[] }
}

/// Returns the size of the backlen of an element whose encoding and data take `l` bytes.
#[inline]
fn lp_backlen_size(l: usize) -> usize {
    // The borders are one lower than 7 bits a byte allow, except for the first: this is how it
    // always was written.
    match l {
        0..=127 => 1,
        128..=16382 => 2,
        16383..=2097150 => 3,
        2097151..=268435454 => 4,
        _ => 5,
    }
}

/// Writes the backlen for `l` over all of `buf`, whose size is that of `lp_backlen_size`.
#[inline]
fn lpEncodeBacklen(buf: &mut [u8], l: usize) {
    let mut l = l;
    for i in (0..buf.len()).rev() {
        // It is read from its end, and every byte but the last one read says that there is more.
        buf[i] = (l & 127) as u8 | if i > 0 { 128 } else { 0 };
        l >>= 7;
    }
}

/// Reads the backlen whose last byte is at `p`. `None`: it takes more than five bytes, or starts
/// before the list.
#[inline]
fn lpDecodeBacklen(lp: &[u8], p: usize) -> Option<usize> {
    let mut val: u64 = 0;
    for i in 0..5 {
        let byte = *lp.get(p.checked_sub(i)?)?;
        val |= ((byte & 127) as u64) << (7 * i);
        if byte & 128 == 0 {
            return usize::try_from(val).ok();
        }
    }
    None
}

/// Returns the encoding of a string.
#[inline]
fn lpEncodeString(s: &[u8]) -> Encoded<'_> {
    let mut head = [0; 9];
    let len = s.len();
    let headlen = if len < 64 {
        head[0] = len as u8 | LP_ENCODING_6BIT_STR;
        1
    } else if len < 4096 {
        head[0] = (len >> 8) as u8 | LP_ENCODING_12BIT_STR;
        head[1] = len as u8;
        2
    } else {
        head[0] = LP_ENCODING_32BIT_STR;
        head[1..5].copy_from_slice(&(len as u32).to_le_bytes());
        5
    };
    Encoded { head, headlen, body: s }
}

/// Returns the size of encoding and data of the element at `p`; 1 for the end mark. `None`: no such
/// encoding, or it is cut off.
#[inline]
fn lp_current_encoded_size(lp: &[u8], p: usize) -> Option<usize> {
    Some(match *lp.get(p)? {
        0..=0x7f => 1,
        b @ 0x80..=0xbf => 1 + (b & 0x3f) as usize,
        0xc0..=0xdf => 2,
        b @ 0xe0..=0xef => 2 + ((b as usize & 0xf) << 8 | *lp.get(p + 1)? as usize),
        LP_ENCODING_16BIT_INT => 3,
        LP_ENCODING_24BIT_INT => 4,
        LP_ENCODING_32BIT_INT => 5,
        LP_ENCODING_64BIT_INT => 9,
        LP_ENCODING_32BIT_STR => {
            (u32::from_le_bytes(*lp[p + 1..].first_chunk()?) as usize).checked_add(5)?
        }
        LP_EOF => 1,
        _ => return None,
    })
}

/// Returns where the element at `p` ends, and the next one or the end mark starts.
#[inline]
fn lpSkip(lp: &[u8], p: usize) -> usize {
    let len = assert_some!(lp_current_encoded_size(lp, p));
    let next = p + len + lp_backlen_size(len);
    assert!(next < lp.len());
    next
}

/// Returns the element after the one at `p`, `None` at the last one.
#[inline]
pub fn lpNext(lp: &[u8], p: usize) -> Option<usize> {
    let next = lpSkip(lp, p);
    (lp[next] != LP_EOF).then(|| lpAssertValidEntry(lp, next))
}

/// Returns the element before the one at `p`, `None` at the first one. Before the end mark it is
/// the last element.
#[inline]
pub fn lpPrev(lp: &[u8], p: usize) -> Option<usize> {
    if p <= LP_HDR_SIZE {
        return None;
    }
    let prevlen = assert_some!(lpDecodeBacklen(lp, p - 1));
    let prev = assert_some!(p.checked_sub(prevlen + lp_backlen_size(prevlen)));
    Some(lpAssertValidEntry(lp, prev))
}

/// Returns the first element, `None` if there is none.
#[inline]
pub fn lpFirst(lp: &[u8]) -> Option<usize> {
    (lp[LP_HDR_SIZE] != LP_EOF).then(|| lpAssertValidEntry(lp, LP_HDR_SIZE))
}

/// Returns the last element, `None` if there is none.
#[inline]
pub fn lpLast(lp: &[u8]) -> Option<usize> {
    lpPrev(lp, lp.len() - 1)
}

/// Returns the number of elements; from 65535 on they are counted one by one.
// C: counting them also writes the number to the header if it fits again. Here that is
// `lp_length_store`, as most who ask only read.
pub fn lpLength(lp: &[u8]) -> usize {
    let numele = lpGetNumElements(lp);
    if numele != LP_HDR_NUMELE_UNKNOWN {
        return numele as usize;
    }
    std::iter::successors(lpFirst(lp), |&p| lpNext(lp, p)).count()
}

/// Returns the number of elements, and writes it to a header that does not have it, if it fits 16
/// bits again.
pub fn lp_length_store(lp: &mut Listpack) -> usize {
    let count = lpLength(lp);
    if lpGetNumElements(lp) == LP_HDR_NUMELE_UNKNOWN && count < LP_HDR_NUMELE_UNKNOWN as usize {
        lpSetNumElements(lp, count as u16);
    }
    count
}

/// Returns the value of the element at `p`. An encoding that does not exist reads as the integer
/// 12345678900000000 plus its byte.
#[inline]
pub fn lpGet(lp: &[u8], p: usize) -> ListpackEntry<'_> {
    assert_some!(lp_element_at(lp, p))
}

/// Returns the value of the element at `p`. `None`: it does not end within the list.
#[inline]
fn lp_element_at(lp: &[u8], p: usize) -> Option<ListpackEntry<'_>> {
    use ListpackEntry::{Int, Str};
    let b = lp.get(p..)?;
    Some(match *b.first()? {
        v @ 0..=0x7f => Int(v as i64),
        h @ 0x80..=0xbf => Str(b.get(1..1 + (h & 0x3f) as usize)?),
        // Thirteen bits, moved up to the sign bit of 16 and back.
        h @ 0xc0..=0xdf => {
            Int((i16::from_be_bytes([h << 3 | *b.get(1)? >> 5, b[1] << 3]) >> 3) as i64)
        }
        h @ 0xe0..=0xef => Str(b.get(2..2 + ((h as usize & 0xf) << 8 | *b.get(1)? as usize))?),
        LP_ENCODING_16BIT_INT => Int(i16::from_le_bytes(*b[1..].first_chunk()?) as i64),
        LP_ENCODING_24BIT_INT => {
            let [x, y, z] = *b[1..].first_chunk()?;
            Int((i32::from_le_bytes([0, x, y, z]) >> 8) as i64)
        }
        LP_ENCODING_32BIT_INT => Int(i32::from_le_bytes(*b[1..].first_chunk()?) as i64),
        LP_ENCODING_64BIT_INT => Int(i64::from_le_bytes(*b[1..].first_chunk()?)),
        LP_ENCODING_32BIT_STR => {
            let len = u32::from_le_bytes(*b[1..].first_chunk()?) as usize;
            Str(b.get(5..len.checked_add(5)?)?)
        }
        other => Int(12345678900000000 + other as i64),
    })
}

/// Returns the value of the element at `p`, and where the next one is, or the end mark.
// C: lpGet, then lpNext, which take the element apart once each.
#[inline(always)]
pub fn lp_get_next(lp: &[u8], p: usize) -> (ListpackEntry<'_>, usize) {
    // Most elements: a small number, or a short string, whose size at the end is that at the start.
    match lp.get(p..) {
        Some([v @ 0..=0x7f, 1, _, ..]) => return (ListpackEntry::Int(i64::from(*v)), p + 2),
        Some([h @ 0x80..=0xbf, rest @ ..]) => {
            let len = usize::from(h & 0x3f);
            if let Some((s, [backlen, _, ..])) = rest.split_at_checked(len)
                && usize::from(*backlen) == 1 + len
            {
                return (ListpackEntry::Str(s), p + len + 2);
            }
        }
        _ => {}
    }
    any_element_and_next(lp, p)
}

/// Does what [`lp_get_next`] does, for any element.
#[inline(never)]
fn any_element_and_next(lp: &[u8], p: usize) -> (ListpackEntry<'_>, usize) {
    (lpGet(lp, lpAssertValidEntry(lp, p)), lpSkip(lp, p))
}

/// Returns the element at `p` as an integer, as [`lpGetInteger`] does, and where the next one is, or
/// the end mark.
#[inline(always)]
pub fn lp_integer_and_next(lp: &[u8], p: usize) -> (i64, usize) {
    match lp_get_next(lp, p) {
        (ListpackEntry::Int(v), next) => (v, next),
        (ListpackEntry::Str(s), next) => (assert_some!(lpStringToInt64(s)), next),
    }
}

/// Returns the value of the element at `p` as a string; an integer is spelled in `intbuf`.
// C: lpGet with a buffer.
#[inline]
pub fn lp_get_string<'a>(lp: &'a [u8], p: usize, intbuf: &'a mut [u8; LP_INTBUF_SIZE]) -> &'a [u8] {
    match lpGet(lp, p) {
        ListpackEntry::Str(s) => s,
        ListpackEntry::Int(v) => {
            let mut buf = itoa::Buffer::new();
            let s = buf.format(v).as_bytes();
            intbuf[..s.len()].copy_from_slice(s);
            &intbuf[..s.len()]
        }
    }
}

/// Inserts `ele` before or after the element at `p`, or in its place; `place` is `LP_BEFORE`,
/// `LP_AFTER` or `LP_REPLACE`. An `ele` that spells an integer is stored as one. Without `ele`, the
/// element at `p` is deleted.
///
/// Returns where the new element is; of a deletion, where the element behind is, or `None` if there
/// is none. `Err`: the listpack would outgrow 32 bits, and is as it was.
pub fn lpInsert(
    lp: &mut Listpack,
    ele: Option<&[u8]>,
    p: usize,
    place: i32,
) -> Result<Option<usize>, ()> {
    insert_encoded(lp, ele.map(lpEncodeGetType), p, place)
}

/// Inserts an element that is encoded already: the body of `lpInsert`.
fn insert_encoded(
    lp: &mut Listpack,
    ele: Option<Encoded>,
    p: usize,
    place: i32,
) -> Result<Option<usize>, ()> {
    // To delete is to replace by nothing, and after one is before the next.
    let place = if ele.is_none() { LP_REPLACE } else { place };
    let p = if place == LP_AFTER { lpSkip(lp, p) } else { p };
    let old_listpack_bytes = lp.len();
    assert!(p >= LP_HDR_SIZE && p < old_listpack_bytes);

    let enclen = ele.as_ref().map_or(0, Encoded::enclen);
    let backlen_size = if ele.is_some() { lp_backlen_size(enclen) } else { 0 };
    let newlen = enclen + backlen_size;
    let replaced_len = if place == LP_REPLACE { lpSkip(lp, p) - p } else { 0 };
    let new_listpack_bytes = old_listpack_bytes - replaced_len + newlen;
    if new_listpack_bytes > u32::MAX as usize {
        return Err(());
    }

    // Make just the room that is needed: grow before the move, shrink after it.
    if new_listpack_bytes > old_listpack_bytes {
        resize(&mut lp.0, new_listpack_bytes);
    }
    lp.0.copy_within(p + replaced_len..old_listpack_bytes, p + newlen);
    if new_listpack_bytes < old_listpack_bytes {
        resize(&mut lp.0, new_listpack_bytes);
    }

    let newp = match &ele {
        Some(e) => {
            let dst = &mut lp.0[p..p + newlen];
            dst[..e.headlen].copy_from_slice(&e.head[..e.headlen]);
            dst[e.headlen..enclen].copy_from_slice(e.body);
            lpEncodeBacklen(&mut dst[enclen..], enclen);
            Some(p)
        }
        None => (lp[p] != LP_EOF).then_some(p),
    };

    // The header.
    let num_elements = lpGetNumElements(lp);
    if (place != LP_REPLACE || ele.is_none()) && num_elements != LP_HDR_NUMELE_UNKNOWN {
        let change = if ele.is_some() { 1 } else { u16::MAX };
        lpSetNumElements(lp, num_elements.wrapping_add(change));
    }
    lpSetTotalBytes(lp, new_listpack_bytes);
    Ok(newp)
}

/// The end of a listpack, to which elements are added one behind the other. The end mark and the
/// header are written when it is dropped, once for all of them.
// C: lpAppend for each.
pub struct LpEnd<'a> {
    lp: &'a mut Listpack,
    added: usize,
}

impl<'a> LpEnd<'a> {
    /// Opens the end of a listpack.
    #[inline]
    pub fn new(lp: &'a mut Listpack) -> LpEnd<'a> {
        lp.0.truncate(lp.0.len() - 1);
        LpEnd { lp, added: 0 }
    }

    /// Adds a string, as an integer if it spells one.
    ///
    /// # Panics
    /// If the listpack would outgrow 32 bits.
    #[inline(always)]
    pub fn append(&mut self, ele: &[u8]) {
        match lpStringToInt64(ele) {
            None if ele.len() < 64 => {
                let enclen = 1 + ele.len() as u8;
                let v = self.room_for(2 + ele.len());
                v.push(ele.len() as u8 | LP_ENCODING_6BIT_STR);
                append_short(v, ele);
                v.push(enclen);
            }
            None => self.append_encoded(lpEncodeString(ele)),
            Some(value) => self.append_integer(value),
        }
    }

    /// Adds an integer. Panics as [`append`](Self::append) does.
    #[inline(always)]
    pub fn append_integer(&mut self, value: i64) {
        match value {
            0..=127 => self.room_for(2).extend_from_slice(&[value as u8, 1]),
            _ => self.append_encoded(lp_encode_integer(value)),
        }
    }

    #[inline(never)]
    fn append_encoded(&mut self, ele: Encoded) {
        let enclen = ele.enclen();
        let mut backlen = [0; 5];
        let backlen = &mut backlen[..lp_backlen_size(enclen)];
        lpEncodeBacklen(backlen, enclen);
        let v = self.room_for(enclen + backlen.len());
        v.extend_from_slice(&ele.head[..ele.headlen]);
        v.extend_from_slice(ele.body);
        v.extend_from_slice(backlen);
    }

    /// Counts an element of so many bytes, and returns the bytes in front of it, which have room for
    /// it and for the end mark.
    #[inline(always)]
    fn room_for(&mut self, newlen: usize) -> &mut Vec<u8> {
        self.added += 1;
        let v = &mut self.lp.0;
        if newlen >= v.capacity() - v.len() {
            grow_for(v, newlen + 1);
        }
        v
    }
}

/// Makes room for so many bytes at the end of a listpack, and no more than the allocator gives
/// anyway.
#[inline(never)]
fn grow_for(v: &mut Vec<u8>, more: usize) {
    let class = round_to_size_class(v.len() + more);
    assert!(class <= u32::MAX as usize, "a listpack of 4 GB");
    v.reserve_exact(class - v.len());
}

impl Drop for LpEnd<'_> {
    #[inline]
    fn drop(&mut self) {
        let LpEnd { lp, added } = self;
        lp.0.push(LP_EOF);
        let num_elements = lpGetNumElements(lp);
        if num_elements != LP_HDR_NUMELE_UNKNOWN {
            // One that does not fit any more is not known from then on.
            let n = (usize::from(num_elements) + *added).min(LP_HDR_NUMELE_UNKNOWN.into());
            lpSetNumElements(lp, n as u16);
        }
        let len = lp.0.len();
        lpSetTotalBytes(lp, len);
    }
}

/// Adds `ele` at the end. False: the listpack would outgrow 32 bits, and is as it was.
pub fn lpAppend(lp: &mut Listpack, ele: &[u8]) -> bool {
    insert_encoded(lp, Some(lpEncodeGetType(ele)), lp.len() - 1, LP_BEFORE).is_ok()
}

/// Deletes the element at `p`. Returns where the element behind is, `None` if there is none.
pub fn lpDelete(lp: &mut Listpack, p: usize) -> Option<usize> {
    lpInsert(lp, None, p, LP_REPLACE).ok().flatten()
}

/// Returns the size of the listpack in bytes, as its header tells.
#[inline]
pub fn lpBytes(lp: &[u8]) -> usize {
    lpGetTotalBytes(lp)
}

/// Returns the element number `index`, counted from 0, or from -1 at the last one backwards.
/// `None`: there is none.
pub fn lpSeek(lp: &[u8], index: i64) -> Option<usize> {
    let mut index = index;
    // Start from the end that is nearer, if the header knows where the middle is.
    let mut forward = true;
    let numele = lpGetNumElements(lp);
    if numele != LP_HDR_NUMELE_UNKNOWN {
        let numele = numele as i64;
        if index < 0 {
            index = index.saturating_add(numele);
        }
        if index < 0 || index >= numele {
            return None;
        }
        if index > numele / 2 {
            forward = false;
            index -= numele;
        }
    } else if index < 0 {
        forward = false;
    }

    if forward {
        let mut p = lpFirst(lp)?;
        for _ in 0..index {
            p = lpNext(lp, p)?;
        }
        Some(p)
    } else {
        let mut p = lpLast(lp)?;
        for _ in index..-1 {
            p = lpPrev(lp, p)?;
        }
        Some(p)
    }
}

/// Returns where `lpValidateNext` starts: the first element, which is not looked at. `None`: there
/// is none.
pub fn lpValidateFirst(lp: &[u8]) -> Option<usize> {
    (*lp.get(LP_HDR_SIZE)? != LP_EOF).then_some(LP_HDR_SIZE)
}

/// Checks the element at `pp`, and moves `pp` behind it: to the next element, or to the end mark,
/// and from there to `None`. False: there is no element at `pp`, or it makes no sense.
#[inline]
pub fn lpValidateNext(lp: &[u8], pp: &mut Option<usize>) -> bool {
    let Some(p) = *pp else { return false };
    if p < LP_HDR_SIZE || p >= lp.len() {
        return false;
    }
    if lp[p] == LP_EOF {
        *pp = None;
        return true;
    }
    let Some(len) = lp_current_encoded_size(lp, p) else { return false };
    let next = p.saturating_add(len).saturating_add(lp_backlen_size(len));
    if next >= lp.len() {
        return false;
    }

    // The size at its end has to be that at its start. Most fit one byte.
    if !(len <= 127 && lp[next - 1] as usize == len || lpDecodeBacklen(lp, next - 1) == Some(len)) {
        return false;
    }
    *pp = Some(next);
    true
}

/// Asserts that a whole element lies at `p`, or the end mark, and returns `p`.
#[inline]
#[track_caller]
fn lpAssertValidEntry(lp: &[u8], p: usize) -> usize {
    assert!(lpValidateNext(lp, &mut Some(p)));
    p
}

/// Tells whether these bytes are a listpack. Without `deep` the header and the end mark are
/// checked, with it every element too.
pub fn lpValidateIntegrity(lp: &[u8], deep: bool) -> bool {
    let size = lp.len();
    if size < LP_HDR_SIZE + 1 || lpGetTotalBytes(lp) != size || lp[size - 1] != LP_EOF {
        return false;
    }
    if !deep {
        return true;
    }

    let mut count = 0;
    let mut pp = Some(LP_HDR_SIZE);
    while let Some(p) = pp
        && lp[p] != LP_EOF
    {
        if !lpValidateNext(lp, &mut pp) {
            return false;
        }
        count += 1;
    }
    let numele = lpGetNumElements(lp);
    pp == Some(size - 1) && (numele == LP_HDR_NUMELE_UNKNOWN || numele as usize == count)
}

/// Adds an integer at the end, as `lpAppend` does with its text.
pub fn lpAppendInteger(lp: &mut Listpack, value: i64) -> bool {
    insert_encoded(lp, Some(lp_encode_integer(value)), lp.len() - 1, LP_BEFORE).is_ok()
}

/// Replaces the element at `p`, which stays its position. False: the listpack would outgrow 32
/// bits, and is as it was.
pub fn lp_replace(lp: &mut Listpack, p: usize, ele: &[u8]) -> bool {
    lpInsert(lp, Some(ele), p, LP_REPLACE).is_ok()
}

/// Replaces the element at `p` by an integer, as `lp_replace` does with its text.
pub fn lpReplaceInteger(lp: &mut Listpack, p: usize, value: i64) -> bool {
    let ele = lp_encode_integer(value);
    // Most often it takes as many bytes as the one before, and nothing moves.
    if lp_current_encoded_size(lp, p) == Some(ele.headlen)
        && p + ele.headlen + 1 < lp.len()
        && p >= LP_HDR_SIZE
    {
        let place = &mut lp.0[p..][..ele.headlen + 1];
        copy_short_slice(&mut place[..ele.headlen], &ele.head[..ele.headlen]);
        place[ele.headlen] = ele.headlen as u8;
        return true;
    }
    insert_encoded(lp, Some(ele), p, LP_REPLACE).is_ok()
}

/// Returns the element at `p` as an integer, also if it is a string that spells one. `None`: it is
/// no integer.
#[inline]
pub fn lpGetIntegerIfValid(lp: &[u8], p: usize) -> Option<i64> {
    match lpGet(lp, p) {
        ListpackEntry::Int(v) => Some(v),
        ListpackEntry::Str(s) => lpStringToInt64(s),
    }
}

/// Returns the element at `p` as an integer. Panics if it is none.
#[inline]
#[track_caller]
pub fn lpGetInteger(lp: &[u8], p: usize) -> i64 {
    assert_some!(lpGetIntegerIfValid(lp, p))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rng, asserts};

    fn values(lp: &[u8]) -> Vec<Vec<u8>> {
        let mut buf = [0; LP_INTBUF_SIZE];
        std::iter::successors(lpFirst(lp), |&p| lpNext(lp, p))
            .map(|p| lp_get_string(lp, p, &mut buf).to_vec())
            .collect()
    }

    #[test]
    fn bytes_of_each_encoding() {
        assert_eq!(&lpNew(0)[..], b"\x07\0\0\0\0\0\xff");
        let elements: [(&[u8], &[u8]); 15] = [
            (b"", b"\x80\x01"),
            (b"ab", b"\x82ab\x03"),
            (b"0", b"\x00\x01"),
            (b"127", b"\x7f\x01"),
            (b"128", b"\xc0\x80\x02"),
            (b"-1", b"\xdf\xff\x02"),
            (b"-4096", b"\xd0\x00\x02"),
            (b"4095", b"\xcf\xff\x02"),
            (b"4096", b"\xf1\x00\x10\x03"),
            (b"-32769", b"\xf2\xff\x7f\xff\x04"),
            (b"8388608", b"\xf3\x00\x00\x80\x00\x05"),
            (b"2147483648", b"\xf4\0\0\0\x80\0\0\0\0\x09"),
            (b"-9223372036854775808", b"\xf4\0\0\0\0\0\0\0\x80\x09"),
            (b"00", b"\x8200\x03"),
            (b"9223372036854775808", b"\x939223372036854775808\x14"),
        ];
        for (value, bytes) in elements {
            let mut lp = lpNew(0);
            assert!(lpAppend(&mut lp, value));
            assert_eq!(&lp[6..lp.len() - 1], bytes, "{value:?}");
            assert_eq!(values(&lp), [value]);
        }
        for (len, head, backlen) in [
            (63, &b"\xbf"[..], &b"\x40"[..]),
            (64, b"\xe0\x40", b"\x42"),
            (126, b"\xe0\x7e", b"\x01\x80"),
            (4095, b"\xef\xff", b"\x20\x81"),
            (4096, b"\xf0\0\x10\0\0", b"\x20\x85"),
            (16377, b"\xf0\xf9\x3f\0\0", b"\x7f\xfe"),
            (16378, b"\xf0\xfa\x3f\0\0", b"\x00\xff\xff"),
        ] {
            let mut lp = lpNew(0);
            assert!(lpAppend(&mut lp, &vec![b'x'; len]));
            assert!(lp[6..].starts_with(head) && lp[..lp.len() - 1].ends_with(backlen), "{len}");
            assert!(lpValidateIntegrity(&lp, true));
        }
    }

    #[test]
    fn against_a_vec() {
        let mut rng = Rng::new();
        for _ in 0..60 {
            let mut lp = lpNew(rng.below(2) * 512);
            let mut model: Vec<Vec<u8>> = Vec::new();
            for _ in 0..120 {
                let v = rng.value();
                let at = rng.below(model.len() + 1);
                let signed =
                    if rng.below(2) == 0 { at as i64 } else { at as i64 - model.len() as i64 };
                let p = lpSeek(&lp, if at == model.len() { at as i64 } else { signed });
                assert_eq!(p.is_some(), at < model.len());
                let n = rng.integer();
                match (rng.below(8), p) {
                    (0, Some(p)) => {
                        assert_eq!(lpInsert(&mut lp, Some(&v), p, LP_BEFORE), Ok(Some(p)));
                        model.insert(at, v);
                    }
                    (1, Some(p)) => {
                        let q = lpInsert(&mut lp, Some(&v), p, LP_AFTER);
                        assert_eq!(q, Ok(lpNext(&lp, p)));
                        model.insert(at + 1, v);
                    }
                    (2, Some(p)) => {
                        assert!(lp_replace(&mut lp, p, &v));
                        model[at] = v;
                    }
                    (3, Some(p)) => {
                        assert!(lpReplaceInteger(&mut lp, p, n));
                        assert_eq!(lpGetIntegerIfValid(&lp, p), Some(n));
                        model[at] = n.to_string().into_bytes();
                    }
                    (4 | 5, Some(p)) => {
                        let next = lpDelete(&mut lp, p);
                        model.remove(at);
                        assert_eq!(next, (at < model.len()).then_some(p));
                    }
                    (6, _) => {
                        assert!(lpAppendInteger(&mut lp, n));
                        model.push(n.to_string().into_bytes());
                    }
                    _ => {
                        assert!(lpAppend(&mut lp, &v));
                        model.push(v);
                    }
                }
                assert!(lpValidateIntegrity(&lp, true));
                assert_eq!((lpLength(&lp), lpBytes(&lp)), (model.len(), lp.len()));
            }
            lpShrinkToFit(&mut lp);
            assert_eq!(values(&lp), model);
            let back = std::iter::successors(lpLast(&lp), |&p| lpPrev(&lp, p));
            let mut forth: Vec<_> =
                std::iter::successors(lpFirst(&lp), |&p| lpNext(&lp, p)).collect();
            forth.reverse();
            assert!(back.eq(forth));
        }
    }

    /// What is added to the open end leaves the bytes that one by one leave, and reads the same.
    #[test]
    fn the_open_end() {
        let mut rng = Rng::new();
        for _ in 0..200 {
            let (mut at_once, mut one_by_one) = (lpNew(rng.below(2) * 512), lpNew(0));
            for _ in 0..rng.below(8) {
                let mut end = LpEnd::new(&mut at_once);
                for _ in 0..rng.below(8) {
                    if rng.below(2) == 0 {
                        let v = rng.value();
                        end.append(&v);
                        assert!(lpAppend(&mut one_by_one, &v));
                    } else {
                        let n = rng.integer();
                        end.append_integer(n);
                        assert!(lpAppendInteger(&mut one_by_one, n));
                    }
                }
                drop(end);
                assert_eq!(at_once, one_by_one);
            }
            assert!(lpValidateIntegrity(&at_once, true));
            let mut at = LP_HDR_SIZE;
            for p in std::iter::successors(lpFirst(&at_once), |&p| lpNext(&at_once, p)) {
                assert_eq!(at, p);
                let value;
                (value, at) = lp_get_next(&at_once, p);
                assert_eq!(value, lpGet(&at_once, p));
                if let Some(n) = lpGetIntegerIfValid(&at_once, p) {
                    assert_eq!(lp_integer_and_next(&at_once, p), (n, at));
                }
            }
            assert_eq!(at, at_once.len() - 1);
        }
    }

    /// An element that does not lie within the list, or whose two sizes differ, is none.
    #[test]
    fn reading_on_is_asserted() {
        let element = |bytes: &[u8]| {
            let lp = [&b"\0\0\0\0\0\0"[..], bytes].concat();
            asserts(|| lp_get_next(&lp, LP_HDR_SIZE).1).is_none()
        };
        for whole in [&b"\x05\x01\xff"[..], b"\x82ab\x03\xff", b"\xc0\x80\x02\xff"] {
            assert!(!element(whole));
            assert!(element(&whole[..whole.len() - 1]));
            let mut other_size = whole.to_vec();
            other_size[whole.len() - 2] += 1;
            assert!(element(&other_size));
        }
    }

    #[test]
    fn length_beyond_the_header() {
        let mut lp = lpNew(0);
        for _ in 0..65_536 {
            lpAppendInteger(&mut lp, 1);
        }
        assert_eq!((lpGetNumElements(&lp), lpLength(&lp)), (65_535, 65_536));
        let mut at_once = lpNew(0);
        for n in [65_530, 6] {
            let mut end = LpEnd::new(&mut at_once);
            (0..n).for_each(|_| end.append_integer(1));
        }
        assert_eq!(at_once, lp);
        assert_eq!(lpSeek(&lp, -65_536), Some(6));
        assert_eq!(lpSeek(&lp, -65_537), None);
        for _ in 0..2 {
            lpDelete(&mut lp, 6);
        }
        assert_eq!((lp_length_store(&mut lp), lpGetNumElements(&lp)), (65_534, 65_534));
    }

    #[test]
    fn integers_by_text() {
        for (s, v) in [
            (&b"0"[..], Some(0)),
            (b"-1", Some(-1)),
            (b"9223372036854775807", Some(i64::MAX)),
            (b"-9223372036854775808", Some(i64::MIN)),
            (b"9223372036854775808", None),
            (b"-9223372036854775809", None),
            (b"18446744073709551616", None),
            (b"9999999999999999999", None),
            (b"99999999999999999999", None),
            (b"", None),
            (b"-", None),
            (b"-0", None),
            (b"01", None),
            (b"+1", None),
            (b"1 ", None),
            (b"1a", None),
        ] {
            assert_eq!(lpStringToInt64(s), v, "{s:?}");
        }
    }

    #[test]
    fn validator_rejects() {
        let good = b"\x0c\0\0\0\x02\0\x05\x01\x81a\x02\xff";
        assert!(lpValidateIntegrity(good, true));
        for (at, byte) in [(0, 11), (1, 1), (11, 0)] {
            let mut bad = *good;
            bad[at] = byte;
            assert!(!lpValidateIntegrity(&bad, false), "byte {at}");
        }
        for (at, byte) in
            [(4, 1), (5, 1), (6, 0xf0), (6, 0xf5), (6, 0xff), (7, 2), (7, 0x81), (8, 0x82), (10, 3)]
        {
            let mut bad = *good;
            bad[at] = byte;
            assert!(lpValidateIntegrity(&bad, false));
            assert!(!lpValidateIntegrity(&bad, true), "byte {at}");
        }
    }

    /// What is damaged either does not matter to what is asked, or ends it by an assertion: never
    /// by a position outside of the list, and never in a loop without an end.
    #[test]
    fn damaged_bytes_are_asserted() {
        let mut rng = Rng::new();
        for _ in 0..6000 {
            let mut lp = lpNew(0);
            for _ in 0..rng.below(6) {
                lpAppend(&mut lp, &rng.value());
            }
            let mut bytes = lp.into_bytes();
            rng.damage(&mut bytes);
            lpValidateIntegrity(&bytes, true);
            lpValidateFirst(&bytes);
            lpValidateNext(&bytes, &mut Some(rng.below(bytes.len() + 2)));

            let Some(mut lp) = Listpack::from_bytes(bytes) else { continue };
            asserts(|| values(&lp).len());
            asserts(|| std::iter::successors(lpLast(&lp), |&p| lpPrev(&lp, p)).count());
            asserts(|| lpFirst(&lp).and_then(|p| lpGetIntegerIfValid(&lp, p)));
            asserts(|| lpLength(&lp));
            for _ in 0..8 {
                let (v, place) = (rng.value(), rng.below(3));
                let (what, index) = (rng.below(4), rng.below(9) as i64 - 4);
                let done = asserts(|| {
                    match (what, lpSeek(&lp, index)) {
                        (0, Some(p)) => drop(lpDelete(&mut lp, p)),
                        (1 | 2, Some(p)) => drop(lpInsert(&mut lp, Some(&v), p, place)),
                        _ => drop(lpAppend(&mut lp, &v)),
                    }
                    assert_eq!((lp.len(), lp[lp.len() - 1]), (lpBytes(&lp), LP_EOF));
                });
                if done.is_none() {
                    break;
                }
            }
        }
    }
}
