//! Decompression one byte at a time, in the memory of a window: a reference reaches back 8192 bytes
//! at most.

use super::{Explained, damage};

/// The distance, in bytes, that a reference reaches back at most.
const WINDOW: usize = 1 << 13;

/// The decompressor.
pub struct Lzf {
    window: Vec<u8>,
    /// How many bytes there were so far.
    len: u64,
    /// The number of bytes that follow as they are.
    literals: u32,
    /// The number of bytes that are copies of those `distance` before them.
    copies: u32,
    distance: usize,
}

impl Default for Lzf {
    fn default() -> Self {
        Lzf { window: vec![0; WINDOW], len: 0, literals: 0, copies: 0, distance: 0 }
    }
}

impl Lzf {
    /// Returns the next decompressed byte; `source` has the compressed ones.
    pub fn next(&mut self, mut source: impl FnMut() -> Explained<u8>) -> Explained<u8> {
        if self.literals == 0 && self.copies == 0 {
            let ctrl = source()?;
            if ctrl < 1 << 5 {
                self.literals = u32::from(ctrl) + 1;
            } else {
                let mut len = u32::from(ctrl >> 5);
                if len == 7 {
                    len += u32::from(source()?);
                }
                self.copies = len + 2;
                self.distance = (usize::from(ctrl & 0x1f) << 8 | usize::from(source()?)) + 1;
                if self.distance as u64 > self.len {
                    return damage("the compressed bytes refer to some before the first");
                }
            }
        }
        let at = (self.len % WINDOW as u64) as usize;
        let byte = if self.literals > 0 {
            self.literals -= 1;
            source()?
        } else {
            self.copies -= 1;
            self.window[(at + WINDOW - self.distance) % WINDOW]
        };
        self.window[at] = byte;
        self.len += 1;
        Ok(byte)
    }
}
