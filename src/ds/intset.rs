//! `intset.c`: a sorted array of integers, all of the narrowest width that holds every one.
//!
//! ```text
//! encoding u32 | length u32 | contents
//! encoding: 2, 4 or 8, the width in bytes; all little endian
//! ```
//!
//! These bytes are what RDB files hold. A set grows wider when a value asks for it, and never
//! narrower.
//!
//! Read first: `intsetSearch`, `intsetAdd`.
//!
//! Differs: what the C asserts is answered by `None`; nothing here panics on damaged bytes.
#![forbid(unsafe_code)]

use crate::sys::bytes::{Packed, SelfSized, ThinBytes, packed};
use crate::sys::defrag::Defrag;
use std::ops::Deref;

const INTSET_ENC_INT16: u32 = 2;
const INTSET_ENC_INT32: u32 = 4;
const INTSET_ENC_INT64: u32 = 8;

/// Encoding and length.
const INTSET_HEADER_SIZE: usize = 8;

/// An intset that owns its bytes. Reading functions take the bytes (`&is`), so they read borrowed
/// ones as well.
///
/// The header always tells the true size; whether the values are in order depends on where the
/// bytes came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intset(ThinBytes);

impl Intset {
    /// Returns an intset of these bytes, or `None` if they fail `intsetValidateIntegrity` without
    /// `deep`, as an empty set does.
    // C: takes 32 GB; here 4 are the most.
    pub fn from_slice(bytes: &[u8]) -> Option<Intset> {
        let sound = bytes.len() <= u32::MAX as usize && intsetValidateIntegrity(bytes, false);
        sound.then(|| Intset(bytes.into()))
    }

    /// Returns the bytes, as they are saved.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.to_vec()
    }

    /// Returns a copy of an intset's bytes.
    pub(crate) fn of(is: &[u8]) -> Intset {
        Intset(is.into())
    }

    #[inline]
    fn set_intset_header(&mut self, encoding: u32, length: u32) {
        self.0[..4].copy_from_slice(&encoding.to_le_bytes());
        self.0[4..8].copy_from_slice(&length.to_le_bytes());
    }
}

packed!(Intset(ThinBytes));

impl Deref for Intset {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Returns the width that `v` needs.
#[inline]
fn _intsetValueEncoding(v: i64) -> u32 {
    if i16::try_from(v).is_ok() {
        INTSET_ENC_INT16
    } else if i32::try_from(v).is_ok() {
        INTSET_ENC_INT32
    } else {
        INTSET_ENC_INT64
    }
}

/// Returns the u32 at `at`, or 0 if the bytes end before it does.
#[inline]
fn read_u32_le(is: &[u8], at: usize) -> u32 {
    is.get(at..).and_then(|b| b.first_chunk::<4>()).map_or(0, |b| u32::from_le_bytes(*b))
}

/// Returns the width of the set.
#[inline]
fn intset_encoding(is: &[u8]) -> u32 {
    read_u32_le(is, 0)
}

/// Returns the values, without the header.
#[inline]
fn intset_contents(is: &[u8]) -> &[u8] {
    is.get(INTSET_HEADER_SIZE..).unwrap_or_default()
}

/// Returns the value at `pos`, where `contents` has values of the width `enc`. `None`: there are
/// not as many.
#[inline]
fn _intsetGetEncoded(contents: &[u8], pos: usize, enc: u32) -> Option<i64> {
    match enc {
        INTSET_ENC_INT64 => Some(i64::from_le_bytes(*contents.as_chunks().0.get(pos)?)),
        INTSET_ENC_INT32 => Some(i32::from_le_bytes(*contents.as_chunks().0.get(pos)?) as i64),
        _ => Some(i16::from_le_bytes(*contents.as_chunks().0.get(pos)?) as i64),
    }
}

/// Returns the value at `pos`.
#[inline]
fn _intsetGet(is: &[u8], pos: usize) -> Option<i64> {
    _intsetGetEncoded(intset_contents(is), pos, intset_encoding(is))
}

/// Writes the value at `pos`, in the width `enc`, which has to hold it.
#[inline]
fn _intsetSet(is: &mut Intset, pos: usize, value: i64, enc: u32) {
    let width = enc as usize;
    let at = INTSET_HEADER_SIZE + pos * width;
    is.0[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
}

/// Returns an empty set: 8 bytes.
pub fn intsetNew() -> Intset {
    Intset([INTSET_ENC_INT16 as u8, 0, 0, 0, 0, 0, 0, 0][..].into())
}

/// Makes room for `len` values of the width `enc`, or gives it back.
#[inline]
fn intsetResize(is: &mut Intset, len: usize, enc: u32) {
    is.0.resize(INTSET_HEADER_SIZE + len * enc as usize);
}

/// Looks for `value`: `Ok` is where it is, `Err` where it belongs.
#[inline]
fn intsetSearch(is: &[u8], value: i64) -> Result<usize, usize> {
    let contents = intset_contents(is);
    match intset_encoding(is) {
        INTSET_ENC_INT64 => search(contents.as_chunks().0, value, i64::from_le_bytes),
        INTSET_ENC_INT32 => search(contents.as_chunks().0, value, |b| i32::from_le_bytes(b) as i64),
        _ => search(contents.as_chunks().0, value, |b| i16::from_le_bytes(b) as i64),
    }
}

/// Searches as `intsetSearch` does, among values of one width.
#[inline]
fn search<const N: usize>(
    values: &[[u8; N]],
    value: i64,
    decode: impl Fn([u8; N]) -> i64,
) -> Result<usize, usize> {
    // Values often come in order: look at the ends first.
    let (Some(first), Some(last)) = (values.first(), values.last()) else { return Err(0) };
    if value > decode(*last) {
        return Err(values.len());
    }
    if value < decode(*first) {
        return Err(0);
    }
    values.binary_search_by(|b| decode(*b).cmp(&value))
}

/// Makes the set wide enough for `value`, and adds it. As no other value is that wide, it goes to
/// one of the ends.
fn intsetUpgradeAndAdd(is: &mut Intset, value: i64) {
    let curenc = intset_encoding(is);
    let newenc = _intsetValueEncoding(value);
    let length = intset_contents(is).len() / curenc as usize;
    let prepend = (value < 0) as usize;
    intsetResize(is, length + 1, newenc);

    // From back to front, so that no value is overwritten before it was read.
    for pos in (0..length).rev() {
        let v = _intsetGetEncoded(intset_contents(is), pos, curenc).unwrap_or(0);
        _intsetSet(is, pos + prepend, v, newenc);
    }
    _intsetSet(is, if prepend == 1 { 0 } else { length }, value, newenc);
    is.set_intset_header(newenc, length as u32 + 1);
}

/// Moves the values from `from` to the end of the first `length` ones to `to`.
#[inline]
fn intsetMoveTail(is: &mut Intset, from: usize, to: usize, length: usize, enc: u32) {
    let at = |pos: usize| INTSET_HEADER_SIZE + pos * enc as usize;
    is.0.copy_within(at(from)..at(length), at(to));
}

/// Adds `value`. Returns whether it was not in the set before.
///
/// # Panics
///
/// When the set already has `u32::MAX` values; callers convert it long before.
pub fn intsetAdd(is: &mut Intset, value: i64) -> bool {
    let length = intsetLen(is);
    assert!(length < u32::MAX, "an intset of {length} values");
    let encoding = intset_encoding(is);
    if _intsetValueEncoding(value) > encoding {
        intsetUpgradeAndAdd(is, value);
        return true;
    }
    let Err(pos) = intsetSearch(is, value) else { return false };
    let len = length as usize;
    intsetResize(is, len + 1, encoding);
    intsetMoveTail(is, pos, pos + 1, len, encoding);
    _intsetSet(is, pos, value, encoding);
    is.set_intset_header(encoding, length + 1);
    true
}

/// Removes `value`. Returns whether it was in the set.
pub fn intsetRemove(is: &mut Intset, value: i64) -> bool {
    let encoding = intset_encoding(is);
    if _intsetValueEncoding(value) > encoding {
        return false;
    }
    let Ok(pos) = intsetSearch(is, value) else { return false };
    let length = intsetLen(is);
    let len = length as usize;
    intsetMoveTail(is, pos + 1, pos, len, encoding);
    intsetResize(is, len - 1, encoding);
    is.set_intset_header(encoding, length - 1);
    true
}

/// Tells whether `value` is in the set.
#[inline]
pub fn intsetFind(is: &[u8], value: i64) -> bool {
    _intsetValueEncoding(value) <= intset_encoding(is) && intsetSearch(is, value).is_ok()
}

/// Tells whether `value` is in the set, like [`intsetFind`], for values that are asked for in
/// ascending order: `at` is 0 at first, and then where the last one was found, or belongs. The
/// search goes on from there, with steps that double until it has gone too far.
// C: there is no such thing; each search starts anew.
pub fn intset_find_next(is: &[u8], value: i64, at: &mut usize) -> bool {
    let (mut step, mut end) = (1, *at);
    while _intsetGet(is, end).is_some_and(|v| v < value) {
        *at = end + 1;
        end += step;
        step *= 2;
    }
    while let Some(middle) = Some((*at + end) / 2).filter(|_| *at < end) {
        match _intsetGet(is, middle) {
            Some(v) if v < value => *at = middle + 1,
            _ => end = middle,
        }
    }
    _intsetGet(is, *at) == Some(value)
}

/// Returns a random value of the set, `None` if it is empty. `rand` gives numbers like `rand(3)`.
pub fn intsetRandom(is: &[u8], rand: &mut impl FnMut() -> u32) -> Option<i64> {
    _intsetGet(is, rand().checked_rem(intsetLen(is))? as usize)
}

/// Returns the value at `pos`, in ascending order from 0. `None`: the set has not as many.
#[inline]
pub fn intsetGet(is: &[u8], pos: u32) -> Option<i64> {
    if pos < intsetLen(is) { _intsetGet(is, pos as usize) } else { None }
}

/// Returns the number of values.
#[inline]
pub fn intsetLen(is: &[u8]) -> u32 {
    read_u32_le(is, 4)
}

/// Returns the size of the set in bytes, as its header tells.
#[inline]
pub fn intsetBlobLen(is: &[u8]) -> usize {
    INTSET_HEADER_SIZE + intsetLen(is) as usize * intset_encoding(is) as usize
}

/// Tells whether these bytes are an intset, and not an empty one. Without `deep` the header is
/// checked, with it the order too.
pub fn intsetValidateIntegrity(is: &[u8], deep: bool) -> bool {
    if is.len() < INTSET_HEADER_SIZE {
        return false;
    }
    let encoding = intset_encoding(is);
    if !matches!(encoding, INTSET_ENC_INT16 | INTSET_ENC_INT32 | INTSET_ENC_INT64) {
        return false;
    }
    let count = intsetLen(is) as u64;
    if INTSET_HEADER_SIZE as u64 + count * encoding as u64 != is.len() as u64 || count == 0 {
        return false;
    }
    if !deep {
        return true;
    }

    match encoding {
        INTSET_ENC_INT64 => ascending(intset_contents(is).as_chunks().0, i64::from_le_bytes),
        INTSET_ENC_INT32 => ascending(intset_contents(is).as_chunks().0, i32::from_le_bytes),
        _ => ascending(intset_contents(is).as_chunks().0, i16::from_le_bytes),
    }
}

/// Tells whether each value is greater than the one before.
fn ascending<const N: usize, T: Ord>(values: &[[u8; N]], decode: fn([u8; N]) -> T) -> bool {
    values.is_sorted_by(|a, b| decode(*a) < decode(*b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;
    use std::collections::BTreeSet;

    #[test]
    fn bytes_of_each_width() {
        let mut is = intsetNew();
        assert_eq!(&is[..], b"\x02\0\0\0\0\0\0\0");
        assert!(intsetAdd(&mut is, 5) && intsetAdd(&mut is, -2) && !intsetAdd(&mut is, 5));
        assert_eq!(&is[..], b"\x02\0\0\0\x02\0\0\0\xfe\xff\x05\0");
        assert!(intsetAdd(&mut is, 32768));
        assert_eq!(&is[..], b"\x04\0\0\0\x03\0\0\0\xfe\xff\xff\xff\x05\0\0\0\0\x80\0\0");
        assert!(
            intsetRemove(&mut is, 5) && intsetRemove(&mut is, 32768) && !intsetRemove(&mut is, 5)
        );
        assert_eq!(&is[..], b"\x04\0\0\0\x01\0\0\0\xfe\xff\xff\xff", "it stays as wide as it was");
        assert!(intsetAdd(&mut is, i64::MIN));
        assert_eq!(
            &is[..],
            b"\x08\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\x80\xfe\xff\xff\xff\xff\xff\xff\xff"
        );
    }

    #[test]
    fn against_a_btree_set() {
        let mut rng = Rng::new();
        for _ in 0..60 {
            let mut is = intsetNew();
            let mut model = BTreeSet::new();
            let wide = rng.below(3);
            for _ in 0..300 {
                let v = match wide {
                    0 => rng.below(200) as i64 - 100,
                    1 => rng.integer() % 100_000,
                    _ => rng.integer(),
                };
                match rng.below(3) {
                    0 => assert_eq!(intsetRemove(&mut is, v), model.remove(&v)),
                    1 => assert_eq!(intsetFind(&is, v), model.contains(&v)),
                    _ => assert_eq!(intsetAdd(&mut is, v), model.insert(v)),
                }
            }
            let values: Vec<i64> = (0..intsetLen(&is)).filter_map(|i| intsetGet(&is, i)).collect();
            assert!(model.iter().eq(&values));
            let near = values.iter().flat_map(|v| [v.saturating_sub(1), *v, v.saturating_add(1)]);
            let mut at = 0;
            for v in near.collect::<BTreeSet<i64>>() {
                if rng.below(4) == 0 {
                    assert_eq!(intset_find_next(&is, v, &mut at), model.contains(&v));
                }
            }
            assert!(!intset_find_next(&is, i64::MAX, &mut at) || model.contains(&i64::MAX));
            assert_eq!(intsetGet(&is, intsetLen(&is)), None);
            assert_eq!(intsetBlobLen(&is), is.len());
            assert!(intsetValidateIntegrity(&is, true) || model.is_empty());
            let mut rand = || rng.next() as u32;
            assert!(intsetRandom(&is, &mut rand).is_none_or(|v| model.contains(&v)));
        }
    }

    #[test]
    fn validator_rejects() {
        let bad: [&[u8]; 8] = [
            b"",
            b"\x02\0\0\0\x01\0\0",
            b"\x02\0\0\0\0\0\0\0",
            b"\x03\0\0\0\x01\0\0\0\x01\0\0",
            b"\x02\0\0\0\x02\0\0\0\x01\0",
            b"\x02\0\0\0\x01\0\0\0\x01\0\x02\0",
            b"\x08\0\0\0\x01\0\0\x20\0\0\0\0\0\0\0\0",
            b"\0\0\0\0\0\0\0\0",
        ];
        for b in bad {
            assert!(!intsetValidateIntegrity(b, false), "{b:?}");
        }
        for b in [b"\x02\0\0\0\x02\0\0\0\x01\0\x01\0", b"\x02\0\0\0\x02\0\0\0\x02\0\x01\0"] {
            assert!(intsetValidateIntegrity(b, false) && !intsetValidateIntegrity(b, true));
        }
    }

    /// Damaged bytes are answered, and what passes the header's check can be used.
    #[test]
    fn damaged_bytes_do_no_harm() {
        let mut rng = Rng::new();
        for _ in 0..3000 {
            let mut is = intsetNew();
            for _ in 0..rng.below(6) {
                intsetAdd(&mut is, rng.integer());
            }
            let mut bytes = is.into_bytes();
            rng.damage(&mut bytes);
            let v = rng.integer();
            intsetValidateIntegrity(&bytes, true);
            intsetFind(&bytes, v);
            intset_find_next(&bytes, v, &mut 0);
            intsetBlobLen(&bytes);
            for i in 0..8 {
                intsetGet(&bytes, i);
            }
            intsetRandom(&bytes, &mut || v as u32);
            if let Some(mut is) = Intset::from_slice(&bytes) {
                intsetAdd(&mut is, v);
                intsetRemove(&mut is, rng.integer());
                intsetAdd(&mut is, rng.integer());
                assert_eq!(is.len(), intsetBlobLen(&is));
            }
        }
    }
}
