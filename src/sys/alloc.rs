//! `zmalloc.c`: the allocator, and how much memory is in use.
//!
//! The C adds up, at every allocation and release, the size that the allocator really gave.
//! jemalloc keeps that very sum for each thread, as part of its own work. So it costs nothing to
//! have, and a few loads to ask: [`zmalloc_used_memory`] adds the sums of the threads that
//! [`register_thread`] made known. It is exact after each single allocation, as eviction needs it.
//! (jemalloc's global statistics are neither: they are refreshed on demand, in many microseconds,
//! and count what threads keep in reserve.)
//!
//! AddressSanitizer sees the heap only while its own allocator serves it. A build with
//! `--cfg fidelis_asan` therefore leaves the heap to the system; the sums then stay at 0.
#![allow(unsafe_code)] // jemalloc's own functions, and its per-thread counters.

use crate::sys::mem::mapped_bytes;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ffi::CStr;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicPtr, AtomicU64, AtomicUsize, Ordering::Relaxed};
use tikv_jemalloc_ctl::{background_thread, epoch, raw, stats};
use tikv_jemalloc_sys::{
    MALLOCX_ALIGN, MALLOCX_TCACHE_NONE, MALLOCX_ZERO, mallctl, malloc_stats_print, mallocx,
    nallocx, rallocx, sdallocx,
};

#[cfg_attr(not(fidelis_asan), global_allocator)]
#[cfg_attr(fidelis_asan, allow(dead_code))]
static ALLOCATOR: Jemalloc = Jemalloc;

/// jemalloc as it is built here: sizes are multiples of 8 (`.cargo/config.toml`), where others
/// build it for multiples of 16.
///
/// This is why the allocator is not taken from a crate: those rely on 16 as the alignment of
/// whatever is at least 16 bytes long, and what is 24, 40 or 56 bytes long is not aligned so. A
/// `HashMap` reads its control bytes 16 at a time, and crashes then.
struct Jemalloc;

/// Returns the flags that tell jemalloc an alignment. 8 needs none, for any size.
fn jemalloc_flags(layout: Layout) -> libc::c_int {
    if layout.align() <= 8 { 0 } else { MALLOCX_ALIGN(layout.align()) }
}

// SAFETY: jemalloc's functions are those of an allocator; each gets the alignment it needs to know,
// and releasing and resizing pass what the allocation was made with.
unsafe impl GlobalAlloc for Jemalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the size is not 0, as `GlobalAlloc` demands of its callers.
        or_oom(unsafe { mallocx(layout.size(), jemalloc_flags(layout)).cast() }, layout.size())
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the size is not 0, as `GlobalAlloc` demands of its callers.
        or_oom(
            unsafe { mallocx(layout.size(), jemalloc_flags(layout) | MALLOCX_ZERO).cast() },
            layout.size(),
        )
    }

    #[inline]
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller says that `ptr` was allocated with this layout.
        unsafe { sdallocx(ptr.cast(), layout.size(), jemalloc_flags(layout)) }
    }

    #[inline]
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller says that `ptr` was allocated with this layout, and that `new_size` is
        // not 0.
        or_oom(unsafe { rallocx(ptr.cast(), new_size, jemalloc_flags(layout)).cast() }, new_size)
    }
}

/// The function that is called when an allocation fails, with its size (`zmalloc_oom_handler`). It
/// must not allocate, nor return.
static zmalloc_oom_handler: OnceLock<fn(usize) -> !> = OnceLock::new();

thread_local! {
    /// True while this thread is in [`fallibly`].
    static FALLIBLE: Cell<bool> = const { Cell::new(false) };
}

/// Ends the process, since `size` bytes could not be had.
#[cold]
pub fn zmalloc_oom(size: usize) -> ! {
    if let Some(oom_handler) = zmalloc_oom_handler.get() {
        oom_handler(size);
    }
    let layout = Layout::from_size_align(size, 1).unwrap_or(Layout::new::<u8>());
    std::alloc::handle_alloc_error(layout)
}

/// Calls `try_alloc`, which can do without the memory it asks for: `try_reserve` and the like
/// (`ztrymalloc`). Anywhere else an allocation that fails is the end.
pub fn fallibly<T>(try_alloc: impl FnOnce() -> T) -> T {
    let outer = FALLIBLE.replace(true);
    let result = try_alloc();
    FALLIBLE.set(outer);
    result
}

/// Passes the result of an allocation on, or ends the process if it failed. The standard library
/// reports a failed one to a hook that stable Rust cannot set; so it is caught here.
#[inline]
fn or_oom(ptr: *mut u8, size: usize) -> *mut u8 {
    if ptr.is_null() && !FALLIBLE.get() && zmalloc_oom_handler.get().is_some() {
        zmalloc_oom(size);
    }
    ptr
}

/// The allocator's name and version, for INFO (`mem_allocator`) and `--version`.
pub const ZMALLOC_LIB: &str = "jemalloc-5.3.0";

/// Allocates what the global allocator may free, but not from what this thread keeps in reserve.
///
/// # Safety
/// The layout has a size.
pub(super) unsafe fn zmalloc_no_tcache(layout: Layout) -> *mut u8 {
    if cfg!(fidelis_asan) {
        // SAFETY: the caller says that the layout has a size.
        return or_oom(unsafe { std::alloc::alloc(layout) }, layout.size());
    }
    let flags = jemalloc_flags(layout) | MALLOCX_TCACHE_NONE;
    // SAFETY: the caller says that the size is not 0, of which jemalloc knows nothing to do.
    or_oom(unsafe { mallocx(layout.size(), flags).cast() }, layout.size())
}

/// Frees what the global allocator has allocated, without keeping it in reserve.
///
/// # Safety
/// As for `GlobalAlloc::dealloc`.
pub(super) unsafe fn zfree_no_tcache(ptr: *mut u8, layout: Layout) {
    if cfg!(fidelis_asan) {
        // SAFETY: the caller says that the global allocator has allocated `ptr` with this layout.
        return unsafe { std::alloc::dealloc(ptr, layout) };
    }
    let flags = jemalloc_flags(layout) | MALLOCX_TCACHE_NONE;
    // SAFETY: the caller says that `ptr` was allocated with this layout, and our global allocator
    // is jemalloc, with the same flags for an alignment.
    unsafe { sdallocx(ptr.cast(), layout.size(), flags) }
}

/// Where one thread's two sums are: bytes it ever allocated, and bytes it ever released.
struct Counters {
    allocated: AtomicPtr<u64>,
    deallocated: AtomicPtr<u64>,
}

/// Threads whose allocations count: the main one and those of bio.rs. There is room for more than
/// those.
static THREADS: [Counters; 16] = [const {
    Counters {
        allocated: AtomicPtr::new(ptr::null_mut()),
        deallocated: AtomicPtr::new(ptr::null_mut()),
    }
}; 16];

/// How many of these places were ever given to a thread: the first ones.
static PLACES: AtomicUsize = AtomicUsize::new(0);

/// The bytes that threads which have ended left allocated, and those mapped beside the allocator.
static REST: AtomicI64 = AtomicI64::new(0);

/// Returns the sum behind one of jemalloc's per-thread counters.
fn load(counter: *mut u64) -> u64 {
    if counter.is_null() {
        return 0;
    }
    // SAFETY: jemalloc keeps the counter in the thread's own storage, aligned, for as long as the
    // thread lives, and the thread takes the pointer out of THREADS before it ends. Only that
    // thread writes it, by whole 64-bit stores, so a load from another one sees an older or a newer
    // sum, never a mixture.
    unsafe { AtomicU64::from_ptr(counter) }.load(Relaxed)
}

/// This thread's place in `THREADS`, given back when it ends.
struct Registration(Option<usize>);

impl Registration {
    fn new() -> Self {
        // SAFETY: jemalloc documents both as pointers to 64-bit counters of the calling thread.
        let counters = unsafe {
            raw::read::<*mut u64>(b"thread.allocatedp\0").and_then(|allocated| {
                Ok((allocated, raw::read::<*mut u64>(b"thread.deallocatedp\0")?))
            })
        };
        let Ok((allocated, deallocated)) = counters else { return Registration(None) };
        for (i, slot) in THREADS.iter().enumerate() {
            let free = ptr::null_mut();
            if slot.allocated.compare_exchange(free, allocated, Relaxed, Relaxed).is_ok() {
                slot.deallocated.store(deallocated, Relaxed);
                PLACES.fetch_max(i + 1, Relaxed);
                return Registration(Some(i));
            }
        }
        Registration(None)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(i) = self.0 {
            let deallocated = THREADS[i].deallocated.swap(ptr::null_mut(), Relaxed);
            let allocated = THREADS[i].allocated.swap(ptr::null_mut(), Relaxed);
            REST.fetch_add(load(allocated).wrapping_sub(load(deallocated)) as i64, Relaxed);
        }
    }
}

thread_local! {
    static REGISTRATION: Registration = Registration::new();
}

/// Makes this thread's allocations count in [`zmalloc_used_memory`]. Every thread calls it once,
/// when it starts.
pub fn register_thread() {
    REGISTRATION.with(|_| ());
}

/// Returns the bytes in use: the real sizes of all living allocations, as INFO, `maxmemory` and
/// MEMORY see them. A few loads.
#[inline]
pub fn zmalloc_used_memory() -> usize {
    let mut sum = REST.load(Relaxed);
    for slot in THREADS.iter().take(PLACES.load(Relaxed)) {
        let allocated = slot.allocated.load(Relaxed);
        if allocated.is_null() {
            continue;
        }
        let freed = load(slot.deallocated.load(Relaxed));
        sum = sum.wrapping_add(load(allocated).wrapping_sub(freed) as i64);
    }
    sum.max(0) as usize + mapped_bytes()
}

/// Sets the function that is called when an allocation fails. Without it an allocation that fails
/// ends the process with a line on standard error, which a server in the background does not have.
pub fn zmalloc_set_oom_handler(oom_handler: fn(usize) -> !) {
    let _ = zmalloc_oom_handler.set(oom_handler);
}

/// Tells whether the first thread to register (the main one) has allocated anything since `mark`
/// was last given here, which is moved on: if not, what is in use cannot have grown by its doing.
/// Two loads, where [`zmalloc_used_memory`] has to add up.
#[inline]
pub fn has_allocated_since(mark: &mut u64) -> bool {
    let now = load(THREADS[0].allocated.load(Relaxed));
    std::mem::replace(mark, now) != now
}

/// Returns the real size of the allocation that holds `size` bytes (jemalloc rounds up to its size
/// classes). 0 for 0, which is not allocated.
#[inline]
pub fn zmalloc_good_size(size: usize) -> usize {
    if size == 0 {
        return 0;
    }
    // SAFETY: computes, and touches no memory; 0 comes back for what can't be had.
    unsafe { nallocx(size, 0) }
}

/// Statistics of jemalloc, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllocatorInfo {
    /// In allocations, reserves of threads among them.
    pub allocated: usize,
    /// In pages that hold allocations.
    pub active: usize,
    /// In pages that are physically there.
    pub resident: usize,
    /// In pages mapped for the allocator at all.
    pub mapped: usize,
}

/// Refreshes jemalloc's statistics and reads them. Takes many microseconds: for the cron, not for
/// commands.
pub fn zmalloc_get_allocator_info() -> AllocatorInfo {
    // Each fails only in a jemalloc built without statistics, and then there is none to show.
    let _ = epoch::advance();
    AllocatorInfo {
        allocated: stats::allocated::read().unwrap_or(0),
        active: stats::active::read().unwrap_or(0),
        resident: stats::resident::read().unwrap_or(0),
        mapped: stats::mapped::read().unwrap_or(0),
    }
}

/// Lets jemalloc give pages back by threads of its own (or not), so that memory also returns when
/// nobody allocates.
pub fn set_jemalloc_bg_thread(enable: bool) {
    // Not possible everywhere; then pages return as allocations happen.
    let _ = background_thread::write(enable);
}

/// Gives all unused pages back to the kernel (MEMORY PURGE).
pub fn jemalloc_purge() -> Result<(), ()> {
    let all = c"arena.4096.purge"; // 4096 names all arenas
    let null = ptr::null_mut();
    // SAFETY: the name is a C text, and this one reads and writes no value.
    let rv = unsafe { mallctl(all.as_ptr(), null, null.cast(), null, 0) };
    if rv == 0 { Ok(()) } else { Err(()) }
}

/// Returns jemalloc's report about itself, for MEMORY MALLOC-STATS.
pub fn jemalloc_stats_text() -> Vec<u8> {
    unsafe extern "C" fn append(to: *mut libc::c_void, text: *const libc::c_char) {
        // SAFETY: jemalloc hands back the vector given below, which nobody else uses meanwhile, and
        // a text that ends with NUL.
        unsafe {
            let to = &mut *to.cast::<Vec<u8>>();
            to.extend_from_slice(CStr::from_ptr(text).to_bytes());
        }
    }
    let mut text: Vec<u8> = Vec::new();
    // SAFETY: `append` takes what is passed with it, and no options are given.
    unsafe { malloc_stats_print(Some(append), ptr::from_mut(&mut text).cast(), ptr::null()) };
    text
}

/// Tells whether `name` is one of `known`, in which `<i>` stands for the number of an arena.
fn is_one_of(name: &CStr, known: &[&str]) -> bool {
    let part = |part: &str| match part {
        number if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => "<i>".into(),
        word => word.to_string(),
    };
    let Ok(name) = name.to_str() else { return false };
    let name = name.split('.').map(part).collect::<Vec<_>>().join(".");
    known.contains(&&name[..])
}

/// Numbers that can be set without a danger to the process. Others of jemalloc's are pointers,
/// functions, or places in arrays that it does not check.
const WRITABLE: &[&str] = &[
    "epoch",
    "background_thread",
    "max_background_threads",
    "thread.tcache.enabled",
    "arena.<i>.dirty_decay_ms",
    "arena.<i>.muzzy_decay_ms",
    "arenas.dirty_decay_ms",
    "arenas.muzzy_decay_ms",
];
/// What does something, and has no value.
const ACTIONS: &[&str] =
    &["thread.tcache.flush", "thread.idle", "arena.<i>.purge", "arena.<i>.decay"];
/// Texts.
const TEXTS: &[&str] = &[
    "version",
    "config.malloc_conf",
    "opt.dss",
    "opt.junk",
    "opt.metadata_thp",
    "opt.percpu_arena",
    "opt.thp",
    "opt.stats_print_opts",
    "opt.stats_interval_opts",
    "opt.zero_realloc",
    "arena.<i>.dss",
];

/// Reads a number of jemalloc's, and sets it if `val` is given. `Err` is the error number.
///
/// The size of the number is found by trying, from eight bytes down.
pub fn mallctl_number(name: &CStr, val: Option<i64>) -> Result<i64, i32> {
    if val.is_some() && !is_one_of(name, WRITABLE) {
        // Whether there is such a name at all is said first.
        return mallctl_number(name, None).and(Err(libc::EPERM));
    }
    let mut size = size_of::<i64>();
    while size > 0 {
        let mut old = [0u8; size_of::<i64>()];
        let mut new = val.unwrap_or(0).to_ne_bytes();
        if cfg!(target_endian = "big") {
            new.rotate_left(size_of::<i64>() - size);
        }
        let mut oldlen = size;
        let (newp, newlen) =
            if val.is_some() { (new.as_mut_ptr(), size) } else { (ptr::null_mut(), 0) };
        // SAFETY: the name is a C text; jemalloc writes `oldlen` bytes at most to `old`, and reads
        // `newlen` bytes of `new`. What may be set was looked at above.
        let rv = unsafe {
            mallctl(name.as_ptr(), old.as_mut_ptr().cast(), &mut oldlen, newp.cast(), newlen)
        };
        match rv {
            0 => {
                if cfg!(target_endian = "big") {
                    old.rotate_right(size_of::<i64>() - size);
                }
                return Ok(i64::from_ne_bytes(old));
            }
            libc::EINVAL => size /= 2,
            error => return Err(error),
        }
    }
    Err(libc::EINVAL)
}

/// Reads a text of jemalloc's. `Err` is the error number, `EINVAL` if it is no text, and `EPERM` if
/// it cannot be read.
pub fn mallctl_text(name: &CStr) -> Result<Vec<u8>, i32> {
    if !is_one_of(name, TEXTS) {
        return mallctl_number(name, None).and(Err(libc::EINVAL));
    }
    let mut text: *const libc::c_char = ptr::null();
    let mut len = size_of_val(&text);
    // SAFETY: the name is a C text; a value that is a text is a pointer, and there is room for one.
    let rv = unsafe {
        mallctl(name.as_ptr(), ptr::from_mut(&mut text).cast(), &mut len, ptr::null_mut(), 0)
    };
    match rv {
        0 if text.is_null() => Ok(Vec::new()),
        // SAFETY: these texts end with NUL, and nobody changes or frees them.
        0 => Ok(unsafe { CStr::from_ptr(text) }.to_bytes().to_vec()),
        error => Err(error),
    }
}

/// Has jemalloc do something that has no value. `Err` is the error number, `EPERM` for anything
/// else.
pub fn mallctl_action(name: &CStr) -> Result<(), i32> {
    if !is_one_of(name, ACTIONS) {
        return Err(libc::EPERM);
    }
    let null = ptr::null_mut();
    // SAFETY: the name is a C text, and these read and write no value.
    match unsafe { mallctl(name.as_ptr(), null, null.cast(), null, 0) } {
        0 => Ok(()),
        error => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fork::{Fork, exitFromChild, fork, wait_for_child};
    use crate::testing::forks;

    /// This thread's own share, which other tests do not disturb.
    fn mine() -> i64 {
        register_thread();
        let i = REGISTRATION.with(|r| r.0).expect("16 threads at most");
        let (a, d) = (&THREADS[i].allocated, &THREADS[i].deallocated);
        load(a.load(Relaxed)).wrapping_sub(load(d.load(Relaxed))) as i64
    }

    #[test]
    #[cfg_attr(fidelis_asan, ignore = "the heap is not jemalloc's")]
    fn used_memory_counts_every_single_allocation() {
        let before = mine();
        let v: Vec<u8> = Vec::with_capacity(1001);
        let real = zmalloc_good_size(1001);
        assert_eq!(mine() - before, real as i64);
        drop(v);
        assert_eq!(mine(), before);
    }

    #[test]
    fn every_size_is_aligned_as_asked() {
        for align in [1, 8, 16, 32, 64, 4096] {
            for size in (1..200).chain([4095, 4097, 70_000]) {
                let layout = Layout::from_size_align(size, align).unwrap();
                // Several of each, since the first of a page is aligned to more than it has to be.
                for _ in 0..4 {
                    // SAFETY: allocated, resized and released with the layouts that belong to it.
                    unsafe {
                        let p = std::alloc::alloc(layout);
                        let q = std::alloc::alloc_zeroed(layout);
                        assert_eq!((p as usize % align, q as usize % align), (0, 0), "{layout:?}");
                        assert_eq!(*q.add(size - 1), 0);
                        let p = std::alloc::realloc(p, layout, size + 40);
                        assert_eq!(p as usize % align, 0, "{layout:?} + 40");
                        std::alloc::dealloc(p, Layout::from_size_align(size + 40, align).unwrap());
                        std::alloc::dealloc(q, layout);
                    }
                }
            }
        }
    }

    #[test]
    #[cfg_attr(fidelis_asan, ignore = "the heap is not jemalloc's")]
    fn what_a_thread_leaves_behind_stays_counted() {
        let _forks = forks();
        // In a child of its own, where no other test allocates meanwhile.
        let Fork::Parent(pid) = fork().unwrap() else {
            let big = 64 << 20;
            register_thread();
            let before = zmalloc_used_memory();
            let v = std::thread::scope(|s| {
                let thread = s.spawn(|| {
                    register_thread();
                    vec![1u8; big]
                });
                thread.join().unwrap()
            });
            let counted = zmalloc_used_memory().abs_diff(before + big) < 1 << 20;
            drop(v);
            let returned = zmalloc_used_memory().abs_diff(before) < 1 << 20;
            exitFromChild(i32::from(!counted) + 2 * i32::from(!returned));
        };
        assert_eq!(wait_for_child(pid).unwrap().exitcode, 0);
    }

    #[test]
    fn sizes_and_statistics() {
        assert_eq!(zmalloc_good_size(0), 0);
        assert_eq!([1, 8, 9, 65].map(zmalloc_good_size), [8, 8, 16, 80]);
        let info = zmalloc_get_allocator_info();
        assert!(info.allocated > 0 && info.active >= info.allocated);
        assert!(info.mapped >= info.active && info.resident > 0);
        jemalloc_purge().unwrap();
        assert!(mallctl_number(c"arenas.page", None).unwrap() >= 4096);
        assert_eq!(mallctl_number(c"arenas.nothing", None), Err(libc::ENOENT));
        assert_eq!(mallctl_number(c"arenas.nothing", Some(1)), Err(libc::ENOENT));
        assert_eq!(mallctl_number(c"arenas.page", Some(1)), Err(libc::EPERM));
        assert_eq!(mallctl_number(c"arena.0.extent_hooks", Some(1)), Err(libc::EPERM));
        let decay = mallctl_number(c"arenas.muzzy_decay_ms", None).unwrap();
        assert_eq!(mallctl_number(c"arenas.muzzy_decay_ms", Some(decay)), Ok(decay));
        assert!(mallctl_text(c"version").unwrap().starts_with(b"5."));
        assert_eq!(mallctl_text(c"arenas.page"), Err(libc::EINVAL));
        assert_eq!(mallctl_action(c"thread.tcache.flush"), Ok(()));
        assert_eq!(mallctl_action(c"arena.0.reset"), Err(libc::EPERM));
        let text = jemalloc_stats_text();
        assert!(text.windows(9).any(|w| w == b"Allocated"));
        // SAFETY: the name ends with NUL and the option is a text.
        let version = unsafe { raw::read_str(b"version\0") }.unwrap();
        assert!(version.starts_with(ZMALLOC_LIB.trim_start_matches("jemalloc-").as_bytes()));
    }
}
