//! `siphash.c`: SipHash 1-2, the keyed hash of every table whose keys come from clients.
//!
//! One compression round and two finalization rounds, as in the C: enough against chosen keys here,
//! and twice as fast as the published 2-4. The key is read once into a [`HashSeed`], so that
//! hashing a short key is a handful of instructions.

/// The 16-byte secret of a table, as two little-endian words (`dict_hash_function_seed`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HashSeed {
    k0: u64,
    k1: u64,
}

impl HashSeed {
    /// Returns the seed made of these 16 bytes.
    pub const fn new(k: [u8; 16]) -> HashSeed {
        let k = u128::from_le_bytes(k);
        HashSeed { k0: k as u64, k1: (k >> 64) as u64 }
    }

    /// Returns a fresh seed from the standard library's process-wide randomness, for a table that
    /// is given none.
    pub fn random() -> HashSeed {
        use std::hash::{BuildHasher, RandomState};
        let s = RandomState::new();
        HashSeed { k0: s.hash_one(0u8), k1: s.hash_one(1u8) }
    }
}

struct State(u64, u64, u64, u64);

impl State {
    #[inline(always)]
    fn new(k: &HashSeed) -> State {
        State(
            0x736f6d6570736575 ^ k.k0,
            0x646f72616e646f6d ^ k.k1,
            0x6c7967656e657261 ^ k.k0,
            0x7465646279746573 ^ k.k1,
        )
    }

    #[inline(always)]
    fn round(&mut self) {
        let State(v0, v1, v2, v3) = self;
        *v0 = v0.wrapping_add(*v1);
        *v1 = v1.rotate_left(13) ^ *v0;
        *v0 = v0.rotate_left(32);
        *v2 = v2.wrapping_add(*v3);
        *v3 = v3.rotate_left(16) ^ *v2;
        *v0 = v0.wrapping_add(*v3);
        *v3 = v3.rotate_left(21) ^ *v0;
        *v2 = v2.wrapping_add(*v1);
        *v1 = v1.rotate_left(17) ^ *v2;
        *v2 = v2.rotate_left(32);
    }

    #[inline(always)]
    fn word(&mut self, m: u64) {
        self.3 ^= m;
        self.round();
        self.0 ^= m;
    }

    #[inline(always)]
    fn finish(mut self) -> u64 {
        self.2 ^= 0xff;
        self.round();
        self.round();
        self.0 ^ self.1 ^ self.2 ^ self.3
    }
}

/// Returns the last 0 to 7 bytes of `input` as a word, with the length in the top byte.
#[inline(always)]
fn tail(input: &[u8], left: &[u8]) -> u64 {
    let b = (input.len() as u64) << 56;
    let n = left.len();
    if n == 0 {
        return b;
    }
    // With eight bytes or more before it the tail is the end of one overlapping load; else it is
    // put together from two or three loads that overlap each other. No loop, no branch per byte.
    if let Some(last) = input.last_chunk::<8>() {
        return b | u64::from_le_bytes(*last) >> (64 - 8 * n);
    }
    if let (Some(lo), Some(hi)) = (left.first_chunk::<4>(), left.last_chunk::<4>()) {
        let (lo, hi) = (u32::from_le_bytes(*lo) as u64, u32::from_le_bytes(*hi) as u64);
        return b | lo | hi << (8 * (n - 4));
    }
    b | left[0] as u64
        | (left[n / 2] as u64) << (8 * (n / 2))
        | (left[n - 1] as u64) << (8 * (n - 1))
}

/// Computes the SipHash 1-2 of `input`.
#[inline]
pub fn siphash(input: &[u8], k: &HashSeed) -> u64 {
    let mut s = State::new(k);
    let (words, left) = input.as_chunks::<8>();
    // Many keys have two words, which need no loop.
    if let [a, b] = words {
        s.word(u64::from_le_bytes(*a));
        s.word(u64::from_le_bytes(*b));
    } else {
        for w in words {
            s.word(u64::from_le_bytes(*w));
        }
    }
    s.word(tail(input, left));
    s.finish()
}

/// Computes the SipHash 1-2 of `input` with its ASCII letters lowered: keys that differ in case
/// alone hash alike.
pub fn siphash_nocase(input: &[u8], k: &HashSeed) -> u64 {
    let mut s = State::new(k);
    let (words, left) = input.as_chunks::<8>();
    for w in words {
        s.word(u64::from_le_bytes(w.map(|c| c.to_ascii_lowercase())));
    }
    let mut last = [0; 8];
    last[..left.len()].copy_from_slice(left);
    last.make_ascii_lowercase();
    s.word(u64::from_le_bytes(last) | (input.len() as u64) << 56);
    s.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the algorithm written byte by byte, with the number of rounds as an argument, so
    /// that it can be held against the vectors that its authors published for 2-4.
    fn naive(input: &[u8], k: &HashSeed, c: usize, d: usize) -> u64 {
        let mut s = State::new(k);
        let mut padded = input.to_vec();
        while padded.len() % 8 != 7 {
            padded.push(0);
        }
        padded.push(input.len() as u8);
        for w in padded.chunks(8) {
            let m = u64::from_le_bytes(w.try_into().unwrap());
            s.3 ^= m;
            (0..c).for_each(|_| s.round());
            s.0 ^= m;
        }
        s.2 ^= 0xff;
        (0..d).for_each(|_| s.round());
        s.0 ^ s.1 ^ s.2 ^ s.3
    }

    fn counting(n: usize) -> Vec<u8> {
        (0..n as u8).collect()
    }

    #[test]
    fn rounds_are_siphash() {
        let k = HashSeed::new(counting(16).try_into().unwrap());
        // From the paper's appendix and its reference vectors.
        assert_eq!(naive(&counting(15), &k, 2, 4), 0xa129ca6149be45e5);
        assert_eq!(
            naive(b"", &k, 2, 4),
            u64::from_le_bytes([0x31, 0x0e, 0x0e, 0xdd, 0x47, 0xdb, 0x6f, 0x72])
        );
    }

    #[test]
    fn every_length_is_the_naive_hash() {
        let k = HashSeed::new(*b"1234567812345678");
        for n in 0..100 {
            let v: Vec<u8> = (0..n).map(|i| (i * 37 + n) as u8).collect();
            assert_eq!(siphash(&v, &k), naive(&v, &k, 1, 2), "{n} bytes");
            assert_eq!(
                siphash_nocase(&v, &k),
                naive(&v.to_ascii_lowercase(), &k, 1, 2),
                "{n} bytes"
            );
        }
        assert_eq!(siphash_nocase(b"Hello World", &k), siphash(b"hello world", &k));
        assert_ne!(siphash(b"HELLO world", &k), siphash(b"hello world", &k));
    }
}
