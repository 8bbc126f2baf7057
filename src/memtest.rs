//! `memtest.c`: a test of the machine's memory, `redis-server --test-memory <megabytes>`.
//!
//! Read first: `memtest_test`.
//!
//! Memory that is filled twice in the same way, one half like the other, has to read the same in
//! both. What it is filled with is chosen so that cells and lines that hang together show.
//!
//! Absent: `memtest_preserving_test`, which belongs to the test after a crash.

use std::hint::black_box;
use std::io::Write;

use crate::sys::alloc::fallibly;
use crate::sys::errno::error_text;
use crate::sys::proc::window_size;

const ULONG_ONEZERO: u64 = 0xaaaa_aaaa_aaaa_aaaa;
const ULONG_ZEROONE: u64 = 0x5555_5555_5555_5555;

/// Words of a page: filling goes from page to page, which keeps caches from helping.
const STEP: usize = 4096 / size_of::<u64>();
/// The number of words from one step of the progress bar to the next.
const PROGRESS_WORDS: usize = 0x1_0000;

/// The progress bar, which fills the window; without it nothing is printed, and an error does not
/// end the process.
struct Progress {
    ws_col: usize,
    ws_row: usize,
    /// Characters of the bar that are printed, and those of the whole bar.
    progress_printed: usize,
    progress_full: usize,
}

/// Prints at once; errors are ignored, as there is nobody to tell.
fn print(text: &[u8]) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text).and_then(|()| out.flush());
}

/// Cursor home, and an empty window.
const CLEAR: &str = "\x1b[H\x1b[2J";

impl Progress {
    fn memtest_progress_start(&mut self, title: &str, pass: i32) {
        let dots = ".".repeat(self.ws_col * self.ws_row.saturating_sub(2));
        print(
            format!(
                "{CLEAR}{dots}Please keep the test running several minutes per GB of memory.\nAlso check http://www.memtest86.com/ and http://pyropus.ca/software/memtester/\x1b[H\x1b[2K{title} [{pass}]\n"
            )
            .as_bytes(),
        );
        self.progress_printed = 0;
        self.progress_full = self.ws_col * self.ws_row.saturating_sub(3);
    }

    fn memtest_progress_end(&self) {
        print(CLEAR.as_bytes());
    }

    /// Draws the bar for `curr` of `size` done, with as many `c` as that makes.
    fn memtest_progress_step(&mut self, curr: usize, size: usize, c: u8) {
        let chars = (curr as u128 * self.progress_full as u128 / size as u128) as usize;
        print(&vec![c; chars.saturating_sub(self.progress_printed)]);
        self.progress_printed = chars;
    }
}

/// Draws a step of the bar, if there is one, every `PROGRESS_WORDS` words.
fn step(interactive: &mut Option<Progress>, word: usize, curr: usize, size: usize, c: u8) {
    if word.is_multiple_of(PROGRESS_WORDS)
        && let Some(progress) = interactive
    {
        progress.memtest_progress_step(curr, size, c);
    }
}

/// Writes its own address to each word, and reads them all. True: one of them had another.
#[inline(never)]
fn memtest_addressing(l: &mut [u64], interactive: &mut Option<Progress>) -> bool {
    let words = l.len();
    let address = |base: *const u64, j: usize| (base as usize + j * size_of::<u64>()) as u64;
    let base = l.as_ptr();
    for (j, word) in l.iter_mut().enumerate() {
        *word = address(base, j);
        step(interactive, j, j, words * 2, b'A');
    }
    // The compiler shall not know what was written.
    let l = black_box(l);
    for (j, word) in l.iter().enumerate() {
        if *word != address(base, j) {
            if interactive.is_some() {
                let text = format!(
                    "\n*** MEMORY ADDRESSING ERROR: {:#x} contains {}\n",
                    address(base, j),
                    word
                );
                print(text.as_bytes());
                std::process::exit(1);
            }
            return true;
        }
        step(interactive, j, j + words, words * 2, b'A');
    }
    false
}

/// Fills both halves alike, a page apart from one word to the next; `value` is asked for each word
/// with its place in the page.
fn fill(
    l: &mut [u64],
    sym: u8,
    interactive: &mut Option<Progress>,
    mut value: impl FnMut(usize) -> u64,
) {
    let words = l.len() / 2;
    // Words per page, and pages.
    let iwords = words / STEP;
    let (l1, l2) = l.split_at_mut(words);
    for off in 0..STEP {
        for w in 0..iwords {
            let v = value(off);
            l1[off + w * STEP] = v;
            l2[off + w * STEP] = v;
            step(interactive, w, w + iwords * off, words, sym);
        }
    }
}

/// Fills with numbers of an xorshift64* generator, which needs nothing but a register.
#[inline(never)]
fn memtest_fill_random(l: &mut [u64], interactive: &mut Option<Progress>) {
    let mut rseed: u64 = 0xd131_33de_9afd_b566;
    fill(l, b'R', interactive, |_| {
        rseed ^= rseed >> 12;
        rseed ^= rseed << 25;
        rseed ^= rseed >> 27;
        rseed.wrapping_mul(2_685_821_657_736_338_717)
    });
}

/// Fills with `v1` and `v2` in turn.
#[inline(never)]
fn memtest_fill_value(
    l: &mut [u64],
    v1: u64,
    v2: u64,
    sym: u8,
    interactive: &mut Option<Progress>,
) {
    fill(l, sym, interactive, |off| {
        let v = if off & 1 != 0 { v2 } else { v1 };
        v | v << 16 | v << 32 | v << 48
    });
}

/// Tells whether the halves differ.
#[inline(never)]
fn memtest_compare(l: &[u64], interactive: &mut Option<Progress>) -> bool {
    let words = l.len() / 2;
    let (l1, l2) = black_box(l).split_at(words);
    for w in 0..words {
        if l1[w] != l2[w] {
            if interactive.is_some() {
                let text = format!(
                    "\n*** MEMORY ERROR DETECTED: {:p} != {:p} ({} vs {})\n",
                    &raw const l1[w], &raw const l2[w], l1[w], l2[w]
                );
                print(text.as_bytes());
                std::process::exit(1);
            }
            return true;
        }
        step(interactive, w, w, words, b'=');
    }
    false
}

/// Compares `times` times, since a cell may lose its value with time. Returns how often the halves
/// differed.
fn memtest_compare_times(
    m: &[u64],
    pass: i32,
    times: i32,
    interactive: &mut Option<Progress>,
) -> i32 {
    let mut errors = 0;
    for _ in 0..times {
        start(interactive, "Compare", pass);
        errors += i32::from(memtest_compare(m, interactive));
        end(interactive);
    }
    errors
}

fn start(interactive: &mut Option<Progress>, title: &str, pass: i32) {
    if let Some(progress) = interactive {
        progress.memtest_progress_start(title, pass);
    }
}

fn end(interactive: &mut Option<Progress>) {
    if let Some(progress) = interactive {
        progress.memtest_progress_end();
    }
}

/// Tests `m`, which has to be whole pages, `passes` times, and returns the number of errors. With a
/// progress bar the first error is printed and ends the process with 1.
fn memtest_test(m: &mut [u64], passes: i32, interactive: &mut Option<Progress>) -> i32 {
    let mut errors = 0;
    for pass in 1..=passes {
        start(interactive, "Addressing test", pass);
        errors += i32::from(memtest_addressing(m, interactive));
        end(interactive);

        start(interactive, "Random fill", pass);
        memtest_fill_random(m, interactive);
        end(interactive);
        errors += memtest_compare_times(m, pass, 4, interactive);

        start(interactive, "Solid fill", pass);
        memtest_fill_value(m, 0, u64::MAX, b'S', interactive);
        end(interactive);
        errors += memtest_compare_times(m, pass, 4, interactive);

        start(interactive, "Checkerboard fill", pass);
        memtest_fill_value(m, ULONG_ONEZERO, ULONG_ZEROONE, b'C', interactive);
        end(interactive);
        errors += memtest_compare_times(m, pass, 4, interactive);
    }
    errors
}

/// Tests so many megabytes of memory. Ends the process with 1 if they are not to be had, or not
/// good.
fn memtest_alloc_and_test(megabytes: usize, passes: i32, progress: Progress) {
    let words = megabytes.wrapping_mul(1024 * 1024) / size_of::<u64>();
    let mut m: Vec<u64> = Vec::new();
    if fallibly(|| m.try_reserve_exact(words)).is_err() {
        let e = std::io::Error::from_raw_os_error(libc::ENOMEM);
        eprint!("Unable to allocate {megabytes} megabytes: {}", error_text(&e));
        std::process::exit(1);
    }
    m.resize(words, 0);
    memtest_test(&mut m, passes, &mut Some(progress));
}

/// Tests so many megabytes, and prints that they passed (`--test-memory`). Does not return.
pub fn memtest(megabytes: usize, passes: i32) -> ! {
    let (ws_col, ws_row) = window_size().unwrap_or((80, 20));
    let progress = Progress {
        ws_col: usize::from(ws_col),
        ws_row: usize::from(ws_row),
        progress_printed: 0,
        progress_full: 0,
    };
    memtest_alloc_and_test(megabytes, passes, progress);
    print(
        b"\nYour memory passed this test.\nPlease if you are still in doubt use the following two tools:\n1) memtest86: http://www.memtest86.com/\n2) memtester: http://pyropus.ca/software/memtester/\n",
    );
    std::process::exit(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_memory_passes_and_a_changed_bit_is_found() {
        // Two pages are the least: a half each.
        let mut m = vec![0; 4 * STEP];
        assert_eq!(memtest_test(&mut m, 2, &mut None), 0);
        memtest_fill_random(&mut m, &mut None);
        assert!(m.iter().all(|word| *word != 0), "all of it is filled");
        for place in [0, STEP - 1, 2 * STEP, 4 * STEP - 1] {
            m[place] ^= 1 << 40;
            assert!(memtest_compare(&m, &mut None));
            m[place] ^= 1 << 40;
        }
        assert!(!memtest_compare(&m, &mut None));
    }
}
