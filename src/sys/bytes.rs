//! Ours: bytes behind one pointer, for the packed structures (ziplist, intset).
//!
//! A `Vec<u8>` is three words beside its allocation. Most values are small, and there are many of them: so the length is
//! kept in the allocation, where a ziplist has it anyway, and the capacity nowhere, because it follows from the length. The C
//! does the same, and asks its allocator for the exact size at every change.
#![allow(unsafe_code)] // a length and bytes in one allocation are laid out by hand

use crate::sys::mem::size_class;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;

/// Bytes of the length in front.
const HEADER: usize = size_of::<u32>();

/// Where those that have nothing behind their length point to. They own no allocation.
static EMPTY: u32 = (HEADER as u32).to_le();

/// Owned bytes, the first four of which are their number, little endian, as in a ziplist. At most 4 GB of them, in an allocation
/// of exactly the size class that holds them.
///
/// Those four can be read as the others can, and are written here only.
pub struct SelfSized {
    p: NonNull<u32>,
}

// SAFETY: the bytes belong to this value alone.
unsafe impl Send for SelfSized {}
// SAFETY: through a shared reference they are only read.
unsafe impl Sync for SelfSized {}

/// The allocation of so many bytes.
fn layout(len: usize) -> Layout {
    assert!(len <= u32::MAX as usize, "packed bytes of more than 4 GB");
    Layout::from_size_align(size_class(len), align_of::<u32>()).expect("4 GB at most")
}

impl SelfSized {
    /// The length alone, and no allocation.
    pub fn new() -> SelfSized {
        SelfSized { p: NonNull::from(&EMPTY) }
    }

    /// The length of a copy of such bytes at any address.
    ///
    /// # Safety
    /// `p` points to such a copy.
    #[inline(always)]
    pub(crate) unsafe fn len_at(p: *const u8) -> usize {
        // SAFETY: by contract.
        u32::from_le(unsafe { p.cast::<u32>().read_unaligned() }) as usize
    }

    /// Makes it so many bytes long, the length among them. New ones are zero.
    ///
    /// # Panics
    /// Below 4 bytes and above 4 GB.
    #[inline]
    pub fn resize(&mut self, len: usize) {
        let old = self.len();
        assert!(len >= HEADER);
        // SAFETY: an allocation has the layout of its length, and EMPTY, which is none, the shortest length; so what is
        // allocated, moved and freed here is ours, and the new length goes with its layout. The bytes between the old length and
        // the new one lie in the new allocation.
        unsafe {
            if len == HEADER {
                if old > HEADER {
                    dealloc(self.p.as_ptr().cast(), layout(old));
                    self.p = NonNull::from(&EMPTY);
                }
                return;
            }
            let new = layout(len);
            let p = if old == HEADER {
                alloc(new)
            } else if layout(old) == new {
                self.p.as_ptr().cast()
            } else {
                realloc(self.p.as_ptr().cast(), layout(old), new.size())
            };
            let Some(p) = NonNull::new(p) else { handle_alloc_error(new) };
            self.p = p.cast();
            self.p.write((len as u32).to_le());
            if len > old {
                p.as_ptr().add(old).write_bytes(0, len - old);
            }
        }
    }

    /// The bytes behind the length.
    #[inline(always)]
    fn body_mut(&mut self) -> &mut [u8] {
        let len = self.len() - HEADER;
        // SAFETY: so many bytes are there, and borrowed exclusively; of EMPTY it is none.
        unsafe { std::slice::from_raw_parts_mut(self.p.as_ptr().add(1).cast(), len) }
    }

    /// The bytes from `at` on, which is behind the length.
    #[inline(always)]
    pub fn tail_mut(&mut self, at: usize) -> &mut [u8] {
        assert!(at >= HEADER);
        &mut self.body_mut()[at - HEADER..]
    }

    /// Copies a part to `to`; both are behind the length.
    #[inline(always)]
    pub fn copy_within(&mut self, from: Range<usize>, to: usize) {
        assert!(from.start >= HEADER && from.end >= HEADER && to >= HEADER);
        self.body_mut().copy_within(from.start - HEADER..from.end - HEADER, to - HEADER);
    }
}

impl Deref for SelfSized {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        // SAFETY: the length tells how many bytes there are; they are initialised, and borrowed with `self`.
        unsafe {
            let len = u32::from_le(self.p.read()) as usize;
            std::slice::from_raw_parts(self.p.as_ptr().cast(), len)
        }
    }
}

impl Drop for SelfSized {
    fn drop(&mut self) {
        self.resize(HEADER);
    }
}

impl Default for SelfSized {
    fn default() -> Self {
        SelfSized::new()
    }
}

/// A copy of the bytes, but for the first four, which become the length.
impl From<&[u8]> for SelfSized {
    fn from(bytes: &[u8]) -> SelfSized {
        let mut new = SelfSized::new();
        let len = bytes.len();
        assert!(len >= HEADER);
        if len > HEADER {
            let layout = layout(len);
            // SAFETY: the allocation is new, and has room for the bytes.
            unsafe {
                let Some(p) = NonNull::new(alloc(layout)) else { handle_alloc_error(layout) };
                p.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), len);
                new.p = p.cast();
                new.p.write((len as u32).to_le());
            }
        }
        new
    }
}

impl Clone for SelfSized {
    fn clone(&self) -> Self {
        SelfSized::from(&self[..])
    }
}

impl PartialEq for SelfSized {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl Eq for SelfSized {}

impl fmt::Debug for SelfSized {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self[..].fmt(f)
    }
}

/// Owned bytes that do not say how many they are: their length is in front of them.
#[derive(Clone, PartialEq, Eq)]
pub struct ThinBytes(SelfSized);

impl ThinBytes {
    /// No bytes, and no allocation.
    pub fn new() -> ThinBytes {
        ThinBytes(SelfSized::new())
    }

    /// The bytes with their length.
    #[inline(always)]
    pub(crate) fn packed(&self) -> &SelfSized {
        &self.0
    }

    /// From bytes with their length.
    #[inline(always)]
    pub(crate) fn ofPacked(bytes: SelfSized) -> ThinBytes {
        ThinBytes(bytes)
    }

    /// Without their length, the bytes of what [`packed`](Self::packed) gives.
    #[inline(always)]
    pub(crate) fn bytesOfPacked(packed: &[u8]) -> &[u8] {
        &packed[HEADER..]
    }

    /// How many bytes [`packed`](Self::packed) gives for so many.
    pub(crate) fn packed_size(len: usize) -> usize {
        HEADER + len
    }

    /// Makes it so many bytes long. New ones are zero. Panics above 4 GB.
    #[inline]
    pub fn resize(&mut self, len: usize) {
        self.0.resize(HEADER + len);
    }
}

impl Deref for ThinBytes {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        &self.0[HEADER..]
    }
}

impl DerefMut for ThinBytes {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [u8] {
        self.0.tail_mut(HEADER)
    }
}

impl Default for ThinBytes {
    fn default() -> Self {
        ThinBytes::new()
    }
}

impl From<&[u8]> for ThinBytes {
    fn from(bytes: &[u8]) -> ThinBytes {
        let mut new = ThinBytes::new();
        new.resize(bytes.len());
        new.copy_from_slice(bytes);
        new
    }
}

impl fmt::Debug for ThinBytes {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self[..].fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_length_follows_any_other() {
        let mut bytes = ThinBytes::new();
        let mut model: Vec<u8> = Vec::new();
        let lengths = [0, 1, 4, 5, 60, 61, 0, 100, 99, 5000, 4096, 70000, 7, 8, 0, 3];
        for (i, len) in lengths.into_iter().enumerate() {
            bytes.resize(len);
            model.resize(len, 0);
            assert_eq!(bytes[..], model[..]);
            bytes.fill(i as u8 + 1);
            model.fill(i as u8 + 1);
            let copy = SelfSized::from(&[&[9; 4], &model[..]].concat()[..]);
            assert_eq!(
                (copy.len(), u32::from_le_bytes(*copy.first_chunk().unwrap())),
                (len + 4, len as u32 + 4)
            );
            assert_eq!((copy.clone(), &copy[4..]), (bytes.0.clone(), &model[..]));
            assert_eq!((bytes.clone(), &bytes[..]), (ThinBytes::from(&model[..]), &model[..]));
        }
        assert_eq!(size_of::<Option<ThinBytes>>(), 8);
    }
}
