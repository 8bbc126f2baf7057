//! `crc64.c`: the checksum of RDB files and DUMP payloads, CRC-64 with the polynomial of Jones,
//! reflected, from 0.
//!
//! Long input is folded by the crc-fast crate; the few bytes that RDB writing adds at a time go
//! through a table here, which needs no call through a pointer.

use crc_fast::{CrcAlgorithm, Digest};

/// The reflected form of 0xad93d23594c935a9.
const POLY: u64 = 0x95ac_9329_ac4b_c9b5;

/// The length from which on folding is faster.
const FOLD_FROM: usize = 64;

/// `TABLE[k][b]`: what byte `b` does to the checksum when `k` more bytes follow.
static TABLE: [[u64; 256]; 8] = {
    let mut table = [[0u64; 256]; 8];
    let mut b = 0;
    while b < 256 {
        let mut crc = b as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLY } else { crc >> 1 };
            bit += 1;
        }
        table[0][b] = crc;
        b += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut b = 0;
        while b < 256 {
            let crc = table[k - 1][b];
            table[k][b] = crc >> 8 ^ table[0][(crc & 0xff) as usize];
            b += 1;
        }
        k += 1;
    }
    table
};

/// Returns the checksum of what `crc` is the checksum of, followed by `s`. Starts with 0.
pub fn crc64(crc: u64, s: &[u8]) -> u64 {
    if s.len() >= FOLD_FROM {
        let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc64Redis, crc);
        digest.update(s);
        return digest.finalize();
    }
    let mut crc = crc;
    let (words, rest) = s.as_chunks::<8>();
    for word in words {
        let x = (crc ^ u64::from_le_bytes(*word)).to_le_bytes();
        crc = (0..8).fold(0, |crc, i| crc ^ TABLE[7 - i][x[i] as usize]);
    }
    for &byte in rest {
        crc = crc >> 8 ^ TABLE[0][(crc as u8 ^ byte) as usize];
    }
    crc
}

/// A checksum of what comes in small pieces: it gathers them until folding pays. For `rio.rs`.
#[derive(Clone)]
pub struct Crc64 {
    crc: u64,
    len: usize,
    buf: [u8; Crc64::GATHER],
}

impl Default for Crc64 {
    fn default() -> Self {
        Crc64::new(0)
    }
}

impl Crc64 {
    const GATHER: usize = 512;

    /// Starts from `crc`, the checksum of what was before; 0 for nothing.
    pub const fn new(crc: u64) -> Crc64 {
        Crc64 { crc, len: 0, buf: [0; Crc64::GATHER] }
    }

    /// Adds `s`.
    #[inline]
    pub fn update(&mut self, s: &[u8]) {
        match self.buf.get_mut(self.len..self.len + s.len()) {
            Some(room) => {
                room.copy_from_slice(s);
                self.len += s.len();
            }
            None => self.fold(s),
        }
    }

    fn fold(&mut self, s: &[u8]) {
        self.crc = crc64(self.value(), s);
        self.len = 0;
    }

    /// Returns the checksum of everything so far. More may follow.
    pub fn value(&self) -> u64 {
        crc64(self.crc, &self.buf[..self.len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bit by bit.
    fn naive(mut crc: u64, s: &[u8]) -> u64 {
        for &byte in s {
            crc ^= u64::from(byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ POLY } else { crc >> 1 };
            }
        }
        crc
    }

    #[test]
    fn check_value() {
        assert_eq!(POLY, 0xad93_d235_94c9_35a9u64.reverse_bits());
        assert_eq!(crc64(0, b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(crc64(0, b""), 0);
        assert_eq!(crc64(7, b""), 7);
    }

    #[test]
    fn any_length_in_any_pieces() {
        let data: Vec<u8> =
            (0..5000u32).map(|i| (i.wrapping_mul(2654435761) >> 13) as u8).collect();
        for len in (0..300).chain([1000, 4095, 4096, 5000]) {
            let expected = naive(0, &data[..len]);
            assert_eq!(crc64(0, &data[..len]), expected, "length {len}");
            for split in [1, 7, 63, 64, 100, 511, 513] {
                let crc = data[..len].chunks(split).fold(0, crc64);
                assert_eq!(crc, expected, "length {len} by {split}");
                let mut stream = Crc64::default();
                for piece in data[..len].chunks(split) {
                    stream.update(piece);
                    stream.update(b"");
                }
                assert_eq!(stream.value(), expected, "length {len} by {split}");
                assert_eq!(stream.value(), expected, "asked again");
            }
        }
    }
}
