//! Memory that is asked for by other ways than the allocator: zeroed arrays from the kernel, and
//! size classes.
//!
//! A hash table that doubles at ten million keys needs 128 MB of zeros. From an allocator that is a
//! pause of tens of milliseconds; from `mmap` it is nothing, since the kernel zeroes each page when
//! it is first touched. Giving it back is done a piece at a time by [`release`], for the same
//! reason.
#![allow(unsafe_code)] // mmap, munmap, madvise and the global allocator are what this file is for

use crate::sys::alloc::fallibly;
use crate::sys::huge::{HUGE_PAGE, array_is_freed};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Arrays of this many bytes and more are mapped.
pub const MAP_THRESHOLD: usize = 128 * 1024;
/// The bytes that [`release`] gives back at once: 512 pages, well below a millisecond.
pub const RELEASE_CHUNK: usize = 2 * 1024 * 1024;
/// The alignment of an array: one cache line.
const ALIGN: usize = 64;

/// Bytes mapped and not yet given back. Like the allocator's own counters it belongs to the
/// process, not to a server.
static MAPPED: AtomicUsize = AtomicUsize::new(0);

/// Returns the bytes held by mapped arrays, which the allocator's statistics know nothing of:
/// `used_memory` is the sum of both.
pub fn mapped_bytes() -> usize {
    MAPPED.load(Relaxed)
}

/// Tells whether an array of `bytes` bytes is mapped.
#[inline]
pub fn is_mapped(bytes: usize) -> bool {
    bytes >= MAP_THRESHOLD
}

/// Returns a zeroed array of `bytes` bytes (not 0), aligned to a cache line, and to a huge page if
/// it is as large; `None` when there is no memory for it.
pub fn alloc_array(bytes: usize) -> Option<NonNull<u8>> {
    assert!(bytes > 0 && bytes <= isize::MAX as usize - HUGE_PAGE);
    if !is_mapped(bytes) {
        let layout = Layout::from_size_align(bytes, ALIGN).ok()?;
        // SAFETY: `bytes` is not 0, so the layout has a size.
        return NonNull::new(fallibly(|| unsafe { alloc_zeroed(layout) }));
    }
    // One that may come to consist of huge pages starts where such a page can.
    let spare = if bytes >= HUGE_PAGE { HUGE_PAGE } else { 0 };
    // SAFETY: an anonymous private mapping at an address of the kernel's choice touches no memory
    // of ours.
    let p = unsafe {
        libc::mmap(
            null_mut(),
            bytes + spare,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if p == libc::MAP_FAILED {
        return None;
    }
    let before = if spare > 0 { p.addr().wrapping_neg() % HUGE_PAGE } else { 0 };
    // SAFETY: `before` bytes, the array, and the rest of `spare` make up the new mapping, in which
    // nothing is yet. Of its three parts two are given back; `before` is less than `spare` if there
    // is any.
    let p = unsafe {
        let array = p.byte_add(before);
        if before > 0 {
            libc::munmap(p, before);
        }
        if spare > before {
            libc::munmap(array.byte_add(bytes), spare - before);
        }
        array
    };
    // No huge pages before it is filled: see `huge.rs`. Should the kernel know nothing of them, so
    // much the better. SAFETY: advice about a mapping of ours, which changes nothing of its
    // contents.
    unsafe { libc::madvise(p, bytes, libc::MADV_NOHUGEPAGE) };
    MAPPED.fetch_add(bytes, Relaxed);
    NonNull::new(p.cast())
}

/// Returns the layout of an array that comes from the allocator; `None` if it is mapped, or nothing.
pub fn array_layout(bytes: usize) -> Option<Layout> {
    if bytes == 0 || is_mapped(bytes) { None } else { Layout::from_size_align(bytes, ALIGN).ok() }
}

/// Gives the pages of `[offset, offset + RELEASE_CHUNK)` of a mapped array back to the kernel; they
/// read as zeros from now on.
///
/// # Safety
/// `array` is a live array of `bytes` mapped bytes, `offset` is a multiple of [`RELEASE_CHUNK`],
/// the chunk lies within it, and nothing in the chunk is needed any more or referred to. A chunk is
/// given back at most once.
pub unsafe fn release(array: NonNull<u8>, bytes: usize, offset: usize) {
    debug_assert!(
        is_mapped(bytes) && offset.is_multiple_of(RELEASE_CHUNK) && offset + RELEASE_CHUNK <= bytes
    );
    // SAFETY: by contract the range is within one live mapping of ours, page-aligned, and its
    // contents are not needed.
    unsafe { libc::madvise(array.as_ptr().add(offset).cast(), RELEASE_CHUNK, libc::MADV_DONTNEED) };
    MAPPED.fetch_sub(RELEASE_CHUNK, Relaxed);
}

/// Frees an array, of which the first `released` bytes went by [`release`] before.
///
/// # Safety
/// `array` came from [`alloc_array`] with the same `bytes`, is not referred to any more, and is
/// freed once.
pub unsafe fn free_array(array: NonNull<u8>, bytes: usize, released: usize) {
    if is_mapped(bytes) {
        array_is_freed(array, bytes);
        // SAFETY: by contract this is one whole mapping of ours that nobody refers to.
        unsafe { libc::munmap(array.as_ptr().cast(), bytes) };
        MAPPED.fetch_sub(bytes - released, Relaxed);
    } else {
        // SAFETY: by contract it came from `alloc_zeroed` with this very layout, which was checked
        // when it was made.
        unsafe { dealloc(array.as_ptr(), Layout::from_size_align_unchecked(bytes, ALIGN)) };
    }
}

/// Returns the size that an allocation of `n` bytes takes up: the size classes of jemalloc built
/// with `lg_quantum` 3.
///
/// Blocks that may be refilled in place are asked for at this size, so that the slack is theirs to
/// use and the size can be told again from the contents.
#[inline]
pub const fn size_class(n: usize) -> usize {
    if n <= 64 {
        return if n <= 8 { 8 } else { (n + 7) & !7 };
    }
    // Four classes to each doubling.
    let step = 1usize << (usize::BITS - 1 - (n - 1).leading_zeros() - 2);
    (n + step - 1) & !(step - 1)
}

/// Tells whether `large` bytes and `small`, neither of which is 0, are of one size class; as quick
/// as to compute one class. `large` is not below `small`.
#[inline(always)]
pub const fn same_size_class(large: usize, small: usize) -> bool {
    // Classes are told apart by the three highest bits of what is before the last byte, and from 64
    // bytes down by all but the lowest three.
    let step_bits = ((large - 1) | 32).ilog2() - 2;
    ((large - 1) ^ (small - 1)) >> step_bits == 0
}

/// Asks the processor to bring the cache line at `addr` nearer. Any address will do: a prefetch
/// never faults.
#[inline(always)]
pub fn prefetch(addr: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch is a hint, which the processor drops when the address is not mapped.
        unsafe { _mm_prefetch(std::ptr::without_provenance::<i8>(addr), _MM_HINT_T0) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = addr;
}

/// Prefetches all cache lines of `bytes`, but for what is beyond 1 KB.
#[inline]
pub fn prefetch_bytes(bytes: &[u8]) {
    for at in (0..bytes.len().min(1024)).step_by(64) {
        prefetch(bytes.as_ptr().addr() + at);
    }
}

/// Prefetches all cache lines of an array.
#[inline(always)]
pub fn prefetch_values<T, const N: usize>(values: &[T; N]) {
    for at in (0..size_of::<[T; N]>()).step_by(64) {
        prefetch(values.as_ptr().addr() + at);
    }
}

/// Copies `from` to where `to` points; without a call where it is short, as values mostly are.
///
/// # Safety
/// There are as many bytes at `to`, and they are no part of `from`.
#[inline(always)]
pub unsafe fn copy_short(from: &[u8], to: *mut u8) {
    // Two pieces that may overlap cover each length up to twice their own.
    #[inline(always)]
    unsafe fn ends<const N: usize>(from: &[u8], to: *mut u8) {
        if let (Some(first), Some(last)) = (from.first_chunk::<N>(), from.last_chunk::<N>()) {
            // SAFETY: by contract there is room for all of `from`, of which each piece is a part.
            unsafe {
                to.cast::<[u8; N]>().write_unaligned(*first);
                to.add(from.len() - N).cast::<[u8; N]>().write_unaligned(*last);
            }
        }
    }
    // SAFETY: the caller has room for all of `from` at `to`, apart from it, and each arm writes as
    // many bytes: two pieces cover a length from their own to twice that, and up to three bytes are
    // the first, the middle and the last one.
    unsafe {
        match from.len() {
            0 => {}
            1..=3 => {
                let (first, middle) = (from[0], from[from.len() / 2]);
                let last = from[from.len() - 1];
                to.write(first);
                to.add(from.len() / 2).write(middle);
                to.add(from.len() - 1).write(last);
            }
            4..=7 => ends::<4>(from, to),
            8..=16 => ends::<8>(from, to),
            17..=32 => ends::<16>(from, to),
            len => to.copy_from_nonoverlapping(from.as_ptr(), len),
        }
    }
}

/// Copies `from` to `to`, which is as long; without a call where it is short.
#[inline(always)]
pub fn copy_short_slice(to: &mut [u8], from: &[u8]) {
    assert!(to.len() == from.len());
    // SAFETY: `to` has as many bytes, and is borrowed exclusively.
    unsafe { copy_short(from, to.as_mut_ptr()) }
}

/// Moves `len` bytes to a place that may overlap with theirs; without a call where they are as
/// few as a ziplist's header, or one.
///
/// # Safety
/// There are as many bytes at both places.
#[inline(always)]
pub unsafe fn move_short(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller says that there are `len` bytes at both places, and no piece reaches beyond
    // them: two of eight bytes cover a length from eight to sixteen. All is read before anything is
    // written, so that an overlap is no harm.
    unsafe {
        match len {
            1 => to.write(from.read()),
            8..=16 => {
                let first = from.cast::<[u8; 8]>().read_unaligned();
                let last = from.add(len - 8).cast::<[u8; 8]>().read_unaligned();
                to.cast::<[u8; 8]>().write_unaligned(first);
                to.add(len - 8).cast::<[u8; 8]>().write_unaligned(last);
            }
            _ => to.copy_from(from, len),
        }
    }
}

/// Appends bytes; without a call where they are few.
#[inline(always)]
pub fn append_short(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len());
    let old_len = out.len();
    // SAFETY: there is room for the bytes, all of which are written; they are no part of `out`,
    // which is borrowed exclusively.
    unsafe {
        copy_short(bytes, out.as_mut_ptr().add(old_len));
        out.set_len(old_len + bytes.len());
    }
}

/// Appends the first `len` of eight bytes, at most all of them. The eight are stored as one word.
#[inline(always)]
pub fn append_word(out: &mut Vec<u8>, bytes: [u8; 8], len: usize) {
    out.reserve(8);
    let old_len = out.len();
    // SAFETY: there is room for eight bytes, all of which are written.
    unsafe {
        out.as_mut_ptr().add(old_len).cast::<[u8; 8]>().write_unaligned(bytes);
        out.set_len(old_len + len.min(8));
    }
}

/// Appends the first `header_len` bytes of `header`, at most all eight, then `body`, then CRLF. The
/// room is reserved at once, and the header is stored as one word.
#[inline(always)]
pub fn append_framed(out: &mut Vec<u8>, header: [u8; 8], header_len: usize, body: &[u8]) {
    let (header_len, body_len) = (header_len.min(8), body.len());
    out.reserve(8 + body_len + 2);
    let old_len = out.len();
    // SAFETY: there is room for eight bytes of header and what follows it, so every write below is
    // within the allocation, and all bytes up to the new length are written. `body` is no part of
    // `out`, which is borrowed exclusively.
    unsafe {
        let to = out.as_mut_ptr().add(old_len);
        to.cast::<[u8; 8]>().write_unaligned(header);
        let to = to.add(header_len);
        copy_short(body, to);
        to.add(body_len).cast::<[u8; 2]>().write_unaligned(*b"\r\n");
        out.set_len(old_len + header_len + body_len + 2);
    }
}

/// Appends `first`, the first `len` of eight bytes, at most all of them, and CRLF. The eight are
/// stored as one word.
#[inline(always)]
pub fn append_line(out: &mut Vec<u8>, first: u8, bytes: [u8; 8], len: usize) {
    let len = len.min(8);
    out.reserve(1 + 8 + 2);
    let old_len = out.len();
    // SAFETY: there is room for all that is written, and all bytes up to the new length are.
    unsafe {
        let to = out.as_mut_ptr().add(old_len);
        to.write(first);
        to.add(1).cast::<[u8; 8]>().write_unaligned(bytes);
        to.add(1 + len).cast::<[u8; 2]>().write_unaligned(*b"\r\n");
        out.set_len(old_len + 1 + len + 2);
    }
}

/// Some of the room behind the bytes of a vector, into which pieces are written one after the
/// other: the vector has them when this is dropped.
pub struct Spare<'a> {
    out: &'a mut Vec<u8>,
    /// Where the next piece goes, and where the room ends.
    at: *mut u8,
    end: *mut u8,
}

impl<'a> Spare<'a> {
    /// Bytes that are copied at once, if there are as many.
    const PIECE: usize = 32;

    /// Takes `room` bytes behind those of `out`.
    pub fn new(out: &'a mut Vec<u8>, room: usize) -> Spare<'a> {
        out.reserve(room);
        let spare = &mut out.spare_capacity_mut()[..room];
        let (at, end) = (spare.as_mut_ptr().cast(), spare.as_mut_ptr_range().end.cast());
        Spare { out, at, end }
    }

    /// Writes the first `header_len` bytes of `header`, at most all eight, then the first `len` of
    /// `from`, and CRLF. `false`: there may be too little room, and nothing was written. Most often
    /// it is done without a branch on `len`, since what is behind is copied, too, and overwritten.
    #[inline(always)]
    pub fn framed(&mut self, header: [u8; 8], header_len: usize, from: &[u8], len: usize) -> bool {
        let header_len = header_len.min(8);
        assert!(len <= from.len());
        if self.end.addr() - self.at.addr() < 8 + len.max(Spare::PIECE) + 2 {
            return false;
        }
        // SAFETY: `at` to `end` is room of the vector, which is borrowed exclusively and neither
        // grows nor moves meanwhile; it was just checked that all writes lie in it. `from` is no
        // part of it. All bytes up to the new `at` are written.
        unsafe {
            self.at.cast::<[u8; 8]>().write_unaligned(header);
            let to = self.at.add(header_len);
            match from.first_chunk::<{ Spare::PIECE }>() {
                Some(piece) if len <= Spare::PIECE => {
                    to.cast::<[u8; Spare::PIECE]>().write_unaligned(*piece);
                }
                _ => copy_short(&from[..len], to),
            }
            to.add(len).cast::<[u8; 2]>().write_unaligned(*b"\r\n");
            self.at = to.add(len + 2);
        }
        true
    }

    /// Writes the first bytes of each word, at most all eight, one behind the other, and then CRLF.
    /// `false`: there may be too little room, and nothing was written.
    #[inline(always)]
    pub fn line_of_words<const N: usize>(&mut self, words: [([u8; 8], usize); N]) -> bool {
        if self.end.addr() - self.at.addr() < 8 * N + 2 {
            return false;
        }
        // SAFETY: `at` to `end` is room of the vector, as in `framed`. Each word takes eight bytes
        // of it, and moves `at` by no more, so that they and the line's end lie in what was just
        // checked. All bytes up to the new `at` are written.
        unsafe {
            for (word, len) in words {
                self.at.cast::<[u8; 8]>().write_unaligned(word);
                self.at = self.at.add(len.min(8));
            }
            self.at.cast::<[u8; 2]>().write_unaligned(*b"\r\n");
            self.at = self.at.add(2);
        }
        true
    }
}

impl Drop for Spare<'_> {
    #[inline]
    fn drop(&mut self) {
        let len = self.at.addr() - self.out.as_ptr().addr();
        // SAFETY: `at` is behind the old length, within the capacity, and all bytes before it are
        // written.
        unsafe { self.out.set_len(len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framed() {
        for header_len in 0..=9 {
            for body_len in 0..70 {
                let body: Vec<u8> = (0..body_len as u8).collect();
                let mut out = b"before ".to_vec();
                append_framed(&mut out, *b"12345678", header_len, &body);
                let header = &b"12345678"[..header_len.min(8)];
                let expected = [b"before ", header, &body, b"\r\n"].concat();
                assert_eq!(out, expected);
                append_short(&mut out, &body);
                assert_eq!(out, [&expected[..], &body].concat());
            }
        }
    }

    /// The first bytes of each word are written, if there is room for whole words.
    #[test]
    fn spare_room_for_words() {
        let (mut out, mut expected) = (b"before".to_vec(), b"before".to_vec());
        let mut spare = Spare::new(&mut out, 100);
        for (a, b) in [(0, 0), (8, 3), (1, 9), (5, 8)] {
            assert!(spare.line_of_words([(*b"12345678", a), (*b"abcdefgh", b)]));
            expected.extend_from_slice(&b"12345678"[..a]);
            expected.extend_from_slice(&b"abcdefgh"[..b.min(8)]);
            expected.extend_from_slice(b"\r\n");
        }
        let mut n = 0;
        while spare.line_of_words([(*b"12345678", 8)]) {
            expected.extend_from_slice(b"12345678\r\n");
            n += 1;
        }
        assert_eq!(n, (100 - 41) / 10);
        drop(spare);
        assert_eq!(out, expected);
    }

    /// What fits is written as it is, and what does not is not.
    #[test]
    fn spare_room() {
        let from: Vec<u8> = (0..200).collect();
        for len in 0..99 {
            let (mut out, mut expected) = (b"before".to_vec(), b"before".to_vec());
            let mut spare = Spare::new(&mut out, 1000);
            let mut n = 0;
            while spare.framed(*b"12345678", len % 10, &from[..(len + n).min(200)], len) {
                let header = &b"12345678"[..(len % 10).min(8)];
                expected.extend_from_slice(&[header, &from[..len], b"\r\n"].concat());
                n += 1;
            }
            drop(spare);
            assert_eq!(out, expected);
            assert!(out.len() <= 1006 && 1006 - out.len() < 8 + len.max(32) + 2);
        }
    }

    #[test]
    fn lines() {
        for len in 0..=9 {
            let mut out = b"before ".to_vec();
            append_line(&mut out, b':', *b"12345678", len);
            assert_eq!(out, [b"before :", &b"12345678"[..len.min(8)], b"\r\n"].concat());
            append_word(&mut out, *b"abcdefgh", len);
            assert!(out.ends_with(&[b"\r\n", &b"abcdefgh"[..len.min(8)]].concat()));
        }
    }

    #[test]
    fn moved() {
        for len in 0..40usize {
            for distance in -20..20isize {
                let mut bytes: Vec<u8> = (0..100).collect();
                let mut expected = bytes.clone();
                let to = 30usize.wrapping_add_signed(distance);
                expected.copy_within(30..30 + len, to);
                let p = bytes.as_mut_ptr();
                // SAFETY: both places are within the vector.
                unsafe { move_short(p.add(30), p.add(to), len) };
                assert_eq!(bytes, expected, "{len} bytes by {distance}");
            }
            let from: Vec<u8> = (0..len as u8).collect();
            let mut to = vec![0xff; len];
            copy_short_slice(&mut to, &from);
            assert_eq!(to, from);
        }
    }

    #[test]
    fn same_classes() {
        let lengths = (1..700).chain([1023, 1024, 1025, 1280, 1281, u32::MAX as usize]);
        for large in lengths.flat_map(|n| [n, n + 1]) {
            for small in (1..=large).take(1300).chain(large.saturating_sub(500).max(1)..=large) {
                let same = size_class(large) == size_class(small);
                assert_eq!(same_size_class(large, small), same, "{large} {small}");
            }
        }
    }

    #[test]
    fn classes() {
        for (n, class) in [
            (0, 8),
            (1, 8),
            (8, 8),
            (9, 16),
            (33, 40),
            (40, 40),
            (41, 48),
            (64, 64),
            (65, 80),
            (80, 80),
            (81, 96),
            (128, 128),
            (129, 160),
            (160, 160),
            (161, 192),
            (257, 320),
            (1025, 1280),
            (4096, 4096),
            (4097, 5120),
        ] {
            assert_eq!(size_class(n), class, "{n}");
        }
        for n in 0..10000 {
            assert!(size_class(n) >= n && size_class(size_class(n)) == size_class(n));
        }
    }

    #[test]
    fn arrays_are_zeroed_and_counted() {
        let bytes = 2 * RELEASE_CHUNK;
        let a = alloc_array(bytes).unwrap();
        assert!(mapped_bytes() >= bytes);
        // SAFETY: the array is `bytes` long, ours alone, and freed once.
        unsafe {
            assert_eq!((*a.as_ptr(), *a.as_ptr().add(bytes - 1)), (0, 0));
            *a.as_ptr() = 7;
            release(a, bytes, 0);
            assert_eq!(*a.as_ptr(), 0);
            free_array(a, bytes, RELEASE_CHUNK);
            let a = alloc_array(64).unwrap();
            assert_eq!(*a.as_ptr().add(63), 0);
            free_array(a, 64, 0);
        }
    }
}
