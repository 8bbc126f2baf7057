//! Ours: sizing the one allocation under a packed structure (ziplist, intset, listpack).
//!
//! The C asks its allocator for the exact size at every change, and the allocator rounds it up to a
//! size class. A `Vec` asked the same way would call the allocator at every change, and asked to
//! grow on its own terms it doubles. So we round up to the size class ourselves: no byte more than
//! the C takes, and most changes never reach the allocator.
#![forbid(unsafe_code)]

/// Returns the size class that holds `n` bytes: steps of 8 up to 64, and four steps between one
/// power of two and the next.
pub(super) fn round_to_size_class(n: usize) -> usize {
    if n <= 64 {
        return n.next_multiple_of(8);
    }
    n.next_multiple_of(1 << ((n - 1).ilog2() - 2))
}

/// Makes `v` exactly `len` bytes long. New bytes are zero; the allocation grows by size classes,
/// and is given back once a quarter of it lies unused.
///
/// `// C:` a shrinking `zrealloc` gives memory back at every size class. Ours waits a little
/// longer, so that a queue that pops and pushes at the border of two classes is not copied each
/// time.
#[inline]
pub(super) fn resize(v: &mut Vec<u8>, len: usize) {
    let old = v.len();
    if len > old {
        if len > v.capacity() {
            v.reserve_exact(round_to_size_class(len) - old);
        }
        v.resize(len, 0);
    } else {
        v.truncate(len);
        let class = round_to_size_class(len);
        if class <= v.capacity() / 4 * 3 {
            v.shrink_to(class);
        }
    }
}

/// Helpers that the random tests of the packed structures share.
#[cfg(test)]
pub(super) mod testing {
    use crate::testing::Rng;

    impl Rng {
        /// Returns an integer near the edge of one of the widths.
        pub fn integer(&mut self) -> i64 {
            let edge = [0, 12, 127, 4095, 32767, 0x7f_ffff, 0x7fff_ffff, i64::MAX][self.below(8)];
            let near = i64::saturating_add(edge, self.below(5) as i64 - 2);
            if self.below(2) == 0 { near } else { (-near).saturating_sub(self.below(3) as i64) }
        }

        /// Returns a value for an entry: an integer, something that nearly is one, or bytes whose
        /// length is near a border.
        pub fn value(&mut self) -> Vec<u8> {
            match self.below(8) {
                0..=2 => self.integer().to_string().into_bytes(),
                3 => [&b"0"[..], b"-0", b"007", b"", b"+1", b"-", b"9223372036854775808", b"1 "]
                    [self.below(8)]
                .to_vec(),
                kind => {
                    let around = [8, 63, 126, 248, 248, 4094, 16382]
                        [self.below(5 + (kind == 4) as usize * 2)];
                    let len = around + self.below(9);
                    let fill = b'a' + self.below(26) as u8;
                    vec![fill; len]
                }
            }
        }

        /// Damages `bytes` at a few places: a byte set, a bit flipped, a tail cut off.
        pub fn damage(&mut self, bytes: &mut Vec<u8>) {
            for _ in 0..1 + self.below(4) {
                if bytes.is_empty() {
                    return;
                }
                let at = self.below(bytes.len());
                match self.below(8) {
                    0 => bytes[at] = [0, 1, 4, 253, 254, 255][self.below(6)],
                    1..=3 => bytes[at] = self.next() as u8,
                    4..=6 => bytes[at] ^= 1 << self.below(8),
                    _ => bytes.truncate(bytes.len() - self.below(bytes.len().min(4))),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes() {
        for (n, class) in
            [(1, 8), (11, 16), (64, 64), (65, 80), (128, 128), (129, 160), (4097, 5120)]
        {
            assert_eq!(round_to_size_class(n), class);
        }
    }

    #[test]
    fn memory_is_given_back() {
        let mut v = Vec::new();
        resize(&mut v, 4000);
        assert!(v.capacity() >= 4000 && v.capacity() <= 4096);
        resize(&mut v, 3900);
        assert!(v.capacity() >= 4000, "a small step back costs nothing");
        resize(&mut v, 100);
        assert!(v.capacity() <= 128);
    }
}
