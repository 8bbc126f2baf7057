//! Ours: huge pages for the arrays of large hash tables, and for large arenas.
//!
//! The table of a million keys is 16 MB: four thousand pages of 4 KB, of which the processor knows
//! the places of some. A lookup goes to any of them, and where it meets one whose place is not
//! known, it waits for that place before it waits for the memory: measured, a third of the time of
//! a pipelined GET. In pages of 2 MB the same table is eight.
//!
//! An array is not made of huge pages from the start. While a table grows into it, its inserts go
//! anywhere, and each of the first ones would wait for the kernel to zero 2 MB. So an array is
//! filled in small pages. When it is full it is noted here ([`array_is_filled`]); the cron hands it
//! to a thread of `bio.rs` piece by piece ([`next_piece`]), and there the kernel moves what is in it
//! to huge pages ([`Piece::collapse`]). To move one takes it a millisecond, in which it keeps those
//! waiting that ask it for memory. So the cron does it when nobody does.
//!
//! An arena (`ds/slab.rs`) is made of chunks that the allocator puts side by side. The pages in
//! which they lie are noted when they are full ([`chunk_is_filled`]).
//!
//! The C advises against huge pages, because a write to one that is shared with a forked child used
//! to copy all of it. Since Linux 5.8 such a write copies 4 KB, as any other does; and what is asked
//! for here (`MADV_COLLAPSE`) came with Linux 6.1. On an older one nothing happens.
#![allow(unsafe_code)] // madvise, mincore

use std::cell::Cell;
use std::fs;
use std::io;
use std::ops::Range;
use std::ptr::{NonNull, without_provenance_mut};

/// Bytes of a huge page: those of x86-64, and of others where a small page has 4 KB.
pub const HUGE_PAGE: usize = 2 * 1024 * 1024;
/// Arrays below this size are left in small pages, the places of which the processor can know all.
const MIN_ARRAY: usize = HUGE_PAGE;

thread_local! {
    /// The addresses of arrays, or of the rest of them, that were not handed out yet.
    static FILLED: Cell<Vec<Range<usize>>> = const { Cell::new(Vec::new()) };
}

/// Notes that all of a mapped array is in use, so that it is worth huge pages if it is large.
///
/// `array` starts at a multiple of [`HUGE_PAGE`], unless its `bytes` are less than that.
pub fn array_is_filled(array: NonNull<u8>, bytes: usize) {
    if bytes >= MIN_ARRAY {
        let start = array.addr().get();
        let mut filled = FILLED.take();
        filled.push(start..start + bytes);
        FILLED.set(filled);
    }
}

/// Notes the pages in which a chunk of an arena lies, which is full now, if its arena is of `total`
/// bytes and that is large. Whether most of a page is in use shows when its turn has come, and if
/// the chunk is freed before, no harm is done.
pub fn chunk_is_filled<T>(chunk: &[T], total: usize) {
    if total < MIN_ARRAY {
        return;
    }
    let (start, bytes) = (chunk.as_ptr().addr(), size_of_val(chunk));
    let mut filled = FILLED.take();
    for page in start / HUGE_PAGE..(start + bytes).div_ceil(HUGE_PAGE) {
        let page = page * HUGE_PAGE;
        // The chunks before this one are likely to lie there, too.
        if !filled.iter().rev().take(4).any(|noted| noted.contains(&page)) {
            filled.push(page..page + HUGE_PAGE);
        }
    }
    FILLED.set(filled);
}

/// Forgets an array that is about to be freed.
///
/// One that is freed by another thread is not known to it, and is asked for in vain later.
pub fn array_is_freed(array: NonNull<u8>, bytes: usize) {
    if bytes >= MIN_ARRAY {
        let start = array.addr().get();
        let mut filled = FILLED.take();
        filled.retain(|rest| rest.end <= start || rest.start >= start + bytes);
        FILLED.set(filled);
    }
}

/// Returns the next piece of the arrays noted by this thread. `None`: there is no more.
pub fn next_piece() -> Option<Piece> {
    let mut filled = FILLED.take();
    let piece = filled.last_mut().map(|rest| {
        let piece = Piece(rest.start);
        rest.start += HUGE_PAGE;
        piece
    });
    if filled.last().is_some_and(Range::is_empty) {
        filled.pop();
    }
    FILLED.set(filled);
    piece
}

/// What becomes a huge page, by its address: it may be freed meanwhile.
pub struct Piece(usize);

impl Piece {
    /// Moves what is in the piece to a huge page, if the kernel has one, does so on request, and is
    /// not told by its administrator to leave it (`never`). Takes long; for a thread.
    pub fn collapse(&self) {
        let Piece(start) = *self;
        if !are_allowed() || !is_in_use(start) || advise(start, libc::MADV_HUGEPAGE).is_err() {
            return;
        }
        // From here on the kernel may do it by itself, too, as after a fork has made small pages of
        // it again.
        let moved = advise(start, MADV_COLLAPSE);
        if moved.is_err_and(|e| e.raw_os_error() == Some(libc::EINVAL)) {
            // It knows no such request, or this process is to have no huge pages. An old one must
            // not make some by itself: under a forked child it would copy them.
            let _ = advise(start, libc::MADV_NOHUGEPAGE);
        }
    }
}

/// Asks for what is at these addresses to be moved to a huge page now.
const MADV_COLLAPSE: libc::c_int = 25;

/// Tells whether huge pages may be asked for (`madvise`, `always`).
fn are_allowed() -> bool {
    fs::read("/sys/kernel/mm/transparent_hugepage/enabled")
        .is_ok_and(|text| !text.windows(7).any(|w| w == b"[never]"))
}

/// Gives the kernel an advice about the huge page at `start`.
fn advise(start: usize, advice: libc::c_int) -> io::Result<()> {
    // SAFETY: these kinds of advice change nothing of what is in memory. So it does not matter if
    // the array was freed meanwhile, and even if the addresses are in use for something else.
    match unsafe { libc::madvise(without_provenance_mut(start), HUGE_PAGE, advice) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Tells whether three quarters of the huge page at `start` are in memory. A table that was made
/// for more keys than came has places that were never touched, and stay free in small pages.
fn is_in_use(start: usize) -> bool {
    let page = crate::sys::proc::os_page_size();
    let mut pages = vec![0u8; HUGE_PAGE / page];
    // SAFETY: the kernel writes one byte for each page, and there are as many; what the addresses
    // are used for it does not read.
    let known =
        unsafe { libc::mincore(without_provenance_mut(start), HUGE_PAGE, pages.as_mut_ptr()) == 0 };
    known && pages.iter().filter(|&&page| page & 1 == 1).count() * 4 >= pages.len() * 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::mem::{alloc_array, free_array};

    /// Returns the bytes in huge pages among those of the mapping at `start`.
    fn huge_bytes(start: usize) -> usize {
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in smaps.lines() {
            let first = line.split_whitespace().next().unwrap();
            if let Some((from, to)) = first.split_once('-') {
                let address = |text| usize::from_str_radix(text, 16).unwrap();
                inside = (address(from)..address(to)).contains(&start);
            } else if inside && first == "AnonHugePages:" {
                return line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024;
            }
        }
        panic!("no mapping at {start:x}");
    }

    /// Returns the pieces that are noted, all of them.
    fn pieces() -> Vec<usize> {
        std::iter::from_fn(next_piece).map(|piece| piece.0).collect()
    }

    #[test]
    fn what_is_in_an_array_moves_with_it() {
        let bytes = 3 * HUGE_PAGE;
        let array = alloc_array(bytes).unwrap();
        let start = array.addr().get();
        assert_eq!(start % HUGE_PAGE, 0);
        // The last huge page stays untouched.
        let used = bytes - HUGE_PAGE;
        // SAFETY: an array of so many bytes, and ours alone.
        let words =
            unsafe { std::slice::from_raw_parts_mut(array.cast::<u64>().as_ptr(), used / 8) };
        words.iter_mut().enumerate().for_each(|(i, word)| *word = i as u64);
        array_is_filled(array, bytes);
        let mut handed_out = vec![];
        while let Some(piece) = next_piece() {
            piece.collapse();
            handed_out.push(piece.0);
        }
        assert_eq!(handed_out, [start, start + HUGE_PAGE, start + 2 * HUGE_PAGE]);
        assert!(words.iter().enumerate().all(|(i, &word)| word == i as u64));
        // There may be none: an old kernel, one without huge pages to spare. But not too many.
        assert!(huge_bytes(start) <= used);
        assert_eq!(huge_bytes(start + used), 0);
        // SAFETY: made above with this size, and not used any more.
        unsafe { free_array(array, bytes, 0) };
    }

    #[test]
    fn an_array_that_is_freed_is_forgotten() {
        let bytes = 2 * HUGE_PAGE;
        let arrays = [(); 3].map(|()| alloc_array(bytes).unwrap());
        arrays.iter().for_each(|&array| array_is_filled(array, bytes));
        assert!(next_piece().is_some());
        // SAFETY: made above with this size, and never used.
        unsafe { free_array(arrays[2], bytes, 0) };
        // SAFETY: as above.
        unsafe { free_array(arrays[0], bytes, 0) };
        let start = arrays[1].addr().get();
        assert_eq!(pieces(), [start, start + HUGE_PAGE]);
        // SAFETY: as above.
        unsafe { free_array(arrays[1], bytes, 0) };

        let small = alloc_array(MIN_ARRAY / 2).unwrap();
        array_is_filled(small, MIN_ARRAY / 2);
        assert!(pieces().is_empty());
        // SAFETY: as above.
        unsafe { free_array(small, MIN_ARRAY / 2, 0) };
    }

    /// The pages of a large arena are noted once, those of a small one not at all.
    #[test]
    fn chunks_of_an_arena() {
        let bytes = vec![0u8; 3 * HUGE_PAGE];
        let first = bytes.as_ptr().addr().next_multiple_of(HUGE_PAGE) - bytes.as_ptr().addr();
        let chunk = &bytes[first + HUGE_PAGE - 100..][..200];
        chunk_is_filled(chunk, MIN_ARRAY - 1);
        assert!(pieces().is_empty());
        chunk_is_filled(&chunk[..100], MIN_ARRAY);
        chunk_is_filled(chunk, MIN_ARRAY);
        let start = bytes.as_ptr().addr() + first;
        assert_eq!(pieces(), [start + HUGE_PAGE, start]);
    }

    /// Addresses that are not mapped any more are no harm.
    #[test]
    fn a_piece_may_be_gone() {
        let array = alloc_array(HUGE_PAGE).unwrap();
        let piece = Piece(array.addr().get());
        // SAFETY: made above with this size, and never used.
        unsafe { free_array(array, HUGE_PAGE, 0) };
        piece.collapse();
    }
}
