//! `zipmap.c`: how small hashes were kept up to Redis 2.4, for RDB files of that time (hash type
//! 9).
//!
//! ```text
//! zmlen u8 | len key len free value (free unused bytes) ... | 0xff
//! len: 1 byte up to 253, else 0xfe and a little endian u32; free: 1 byte
//! zmlen: the number of pairs, or at least 254
//! ```
//!
//! Read first: `zipmapNext`.
//!
//! Absent: everything that makes or changes a zipmap; loading one makes another kind of hash of it
//! at once.
//!
//! Differs: CVE-2026-25243. A length is as long as its first byte says, for the walk as for the
//! check, and the check refuses lengths written in five bytes that fit one, and sizes that only fit
//! because their sum wraps at 32 bits.
#![forbid(unsafe_code)]

const ZIPMAP_BIGLEN: u8 = 254;
const ZIPMAP_END: u8 = 255;

/// Returns the length at `p`, and how many bytes it is written in. `None`: the bytes end before it
/// does.
#[inline]
fn zipmapDecodeLength(zm: &[u8], p: usize) -> Option<(usize, usize)> {
    let len = *zm.get(p)?;
    if len < ZIPMAP_BIGLEN {
        return Some((len as usize, 1));
    }
    let b = zm[p + 1..].first_chunk::<4>()?;
    Some((u32::from_le_bytes(*b) as usize, 5))
}

/// Returns where the walk starts: the position to hand to `zipmapNext` first.
pub fn zipmapRewind() -> usize {
    1
}

/// Returns the pair at `p`, key and value, and moves `p` behind it. `None`: there is none left.
///
/// A zipmap that was not validated may end early, and `p` stays where it did not make sense.
pub fn zipmapNext<'a>(zm: &'a [u8], p: &mut usize) -> Option<(&'a [u8], &'a [u8])> {
    if *zm.get(*p)? == ZIPMAP_END {
        return None;
    }
    let (klen, size) = zipmapDecodeLength(zm, *p)?;
    let key = *p + size;
    let klast = key.checked_add(klen)?;
    let (vlen, size) = zipmapDecodeLength(zm, klast)?;
    let free = *zm.get(klast + size)? as usize;
    let value = klast + size + 1;
    let vlast = value.checked_add(vlen)?;
    let pair = (zm.get(key..klast)?, zm.get(value..vlast)?);
    *p = vlast + free;
    Some(pair)
}

/// Returns the number of pairs; from 254 on they are counted one by one.
// C: writes the number to the header if it fits again. A zipmap is read once here.
pub fn zipmapLen(zm: &[u8]) -> usize {
    match zm.first() {
        Some(&len) if len < ZIPMAP_BIGLEN => len as usize,
        _ => {
            let mut p = zipmapRewind();
            std::iter::from_fn(|| zipmapNext(zm, &mut p)).count()
        }
    }
}

/// Tells whether these bytes are a zipmap. Without `deep` only the end mark is checked; with it
/// every pair, and that there is at least one.
pub fn zipmapValidateIntegrity(zm: &[u8], deep: bool) -> bool {
    let size = zm.len();
    if size < 2 || zm[size - 1] != ZIPMAP_END {
        return false;
    }
    if !deep {
        return true;
    }

    // A position has to stay in front of the end mark, or on it.
    let last = size - 1;
    let mut count = 0usize;
    let mut p = zipmapRewind();
    while zm[p] != ZIPMAP_END {
        // The key. Five bytes for a length that fits one are never written.
        let Some((len, s)) = zipmapDecodeLength(zm, p) else { return false };
        if s == 5 && len < ZIPMAP_BIGLEN as usize || len > (last - p).saturating_sub(s) {
            return false;
        }
        p += s + len;

        // The value, its unused bytes, and the byte that counts them.
        let Some((len, s)) = zipmapDecodeLength(zm, p) else { return false };
        if s == 5 && len < ZIPMAP_BIGLEN as usize || p + s > last {
            return false;
        }
        let rest = last - p - s;
        let free = zm[p + s] as usize;
        if rest < 1 + free || len > rest - 1 - free {
            return false;
        }
        p += s + 1 + len + free;
        count += 1;
    }

    count > 0 && (zm[0] == ZIPMAP_BIGLEN || zm[0] as usize == count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    fn pairs(zm: &[u8]) -> Vec<(&[u8], &[u8])> {
        let mut p = zipmapRewind();
        std::iter::from_fn(|| zipmapNext(zm, &mut p)).collect()
    }

    /// Returns a zipmap as the C would have written it, with `free` unused bytes behind each value.
    fn zipmap(pairs: &[(Vec<u8>, Vec<u8>)], free: u8) -> Vec<u8> {
        fn len(zm: &mut Vec<u8>, len: usize) {
            if len < 254 {
                zm.push(len as u8);
            } else {
                zm.push(254);
                zm.extend((len as u32).to_le_bytes());
            }
        }
        let mut zm = vec![pairs.len().min(254) as u8];
        for (k, v) in pairs {
            len(&mut zm, k.len());
            zm.extend(k);
            len(&mut zm, v.len());
            zm.push(free);
            zm.extend(v);
            zm.extend(std::iter::repeat_n(b'?', free as usize));
        }
        zm.push(255);
        zm
    }

    #[test]
    fn two_pairs() {
        let zm = b"\x02\x03foo\x03\x00bar\x05hello\x02\x03hiXXX\xff";
        assert!(zipmapValidateIntegrity(zm, true));
        assert_eq!(pairs(zm), [(&b"foo"[..], &b"bar"[..]), (b"hello", b"hi")]);
        assert_eq!(zipmapLen(zm), 2);
    }

    #[test]
    fn validator_rejects() {
        let bad: [&[u8]; 12] = [
            b"",
            b"\x00",
            b"\x00\xff",
            b"\x01\x03foo\x03\x00bar",
            b"\x02\x03foo\x03\x00bar\xff",
            b"\x01\x03foo\x04\x00bar\xff",
            b"\x01\x03foo\x03\x01bar\xff",
            b"\x01\x09foo\x03\x00bar\xff",
            b"\x01\xfe\xff\xff\xff\xfffoo\x03\x00bar\xff",
            // CVE-2026-25243: five bytes for a length of three, as key and as value, and a sum that
            // wraps to 0.
            b"\x01\xfe\x03\x00\x00\x00abc\x03\x00bar\xff",
            b"\x01\x03foo\xfe\x03\x00\x00\x00\x00bar\xff",
            b"\x01\x03foo\xfe\xff\xff\xff\xff\x01\xff",
        ];
        for zm in bad {
            assert!(!zipmapValidateIntegrity(zm, true), "{zm:?}");
        }
    }

    /// What was written is read back, long lengths and more than 253 pairs included.
    #[test]
    fn random_pairs_are_read_back() {
        let mut rng = Rng::new();
        for round in 0..60 {
            let count = if round == 0 { 300 } else { 1 + rng.below(20) };
            let model: Vec<_> = (0..count).map(|_| (rng.value(), rng.value())).collect();
            let zm = zipmap(&model, rng.below(4) as u8);
            assert!(zipmapValidateIntegrity(&zm, true));
            assert_eq!(zipmapLen(&zm), count);
            let read = pairs(&zm);
            assert_eq!(read.len(), count);
            for (m, r) in model.iter().zip(read) {
                assert!((&m.0[..], &m.1[..]) == r);
            }
        }
    }

    /// Damaged bytes are answered, and what passes is walked to the end with as many pairs as it
    /// was checked for.
    #[test]
    fn damaged_bytes_do_no_harm() {
        let mut rng = Rng::new();
        let mut passed = 0;
        for _ in 0..20_000 {
            let model: Vec<_> = (0..1 + rng.below(3))
                .map(|_| (vec![b'k'; rng.below(4)], vec![b'v'; rng.below(300)]))
                .collect();
            let mut zm = zipmap(&model, rng.below(3) as u8);
            rng.damage(&mut zm);
            zipmapLen(&zm);
            let read = pairs(&zm).len();
            if zipmapValidateIntegrity(&zm, true) {
                passed += 1;
                assert!(zm[0] == 254 || zm[0] as usize == read, "{zm:?}");
            }
        }
        assert!(passed > 0);
    }
}
