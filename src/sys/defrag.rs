//! `defrag.c`, its ground: which allocations are worth moving, and how one is moved.
//!
//! Small allocations of one size share slabs of a few pages. A slab in which one allocation is left
//! is as much memory as a full one. When an allocation moves out of a slab that is emptier than the
//! average of its size, it goes to a fuller one, and in the end the empty slab goes back.
//!
//! The C adds a function to its jemalloc that tells whether that is worth it,
//! `je_get_defrag_hint`. Ours is a jemalloc as it is published; since 5.3 it tells what is needed
//! to know the same, by `experimental.utilization.query`.
#![allow(unsafe_code)] // allocations are moved by hand, and jemalloc is asked about addresses

use crate::sys::alloc::{zfree_no_tcache, zmalloc_no_tcache};
use std::alloc::Layout;
use std::mem::{ManuallyDrop, take};
use std::ptr::{self, NonNull, copy_nonoverlapping};
use std::sync::OnceLock;
use tikv_jemalloc_sys::{mallctl, mallctlbymib, mallctlnametomib};

/// The number that `experimental.utilization.query` has in this jemalloc.
type Mib = [usize; 3];

/// What jemalloc tells of an address: of its slab, and of all slabs of that size. All is 0 for an
/// address that is not the allocator's.
#[repr(C)]
struct Utilization {
    /// The slab from which the next allocation of this size would come; null if there is none with
    /// room.
    slabcur: *const u8,
    /// The free places of the slab, all its places, and its bytes. A large allocation is a slab with
    /// one place.
    nfree: usize,
    nregs: usize,
    size: usize,
    /// The free places and all places of all slabs of this size.
    bin_nfree: usize,
    bin_nregs: usize,
}

/// Asks jemalloc about an address that it has allocated.
fn query(mib: &Mib, at: *const u8) -> Utilization {
    let mut answer = Utilization {
        slabcur: ptr::null(),
        nfree: 0,
        nregs: 0,
        size: 0,
        bin_nfree: 0,
        bin_nregs: 0,
    };
    let mut len = size_of::<Utilization>();
    let mut at = at;
    // SAFETY: jemalloc reads an address and writes the structure above, whose size it compares with
    // its own before it does. It only looks up the address.
    unsafe {
        mallctlbymib(
            mib.as_ptr(),
            mib.len(),
            (&raw mut answer).cast(),
            &mut len,
            (&raw mut at).cast(),
            size_of_val(&at),
        )
    };
    answer
}

/// Tells whether an allocation is in a slab that is emptier than others of its size, so that moving
/// it makes them fuller (`je_get_defrag_hint`).
fn get_defrag_hint(mib: &Mib, at: *const u8) -> bool {
    let slab = query(mib, at);
    // A full slab is as it should be, and so is a large allocation.
    if slab.nfree == 0 {
        return false;
    }
    // From here new allocations come, so this slab gets fuller by itself.
    // C: does not except the slab that would be next, when none is current.
    if at.addr().wrapping_sub(slab.slabcur.addr()) < slab.size {
        return false;
    }
    let mut curslabs = slab.bin_nregs / slab.nregs;
    let mut curregs = slab.bin_nregs - slab.bin_nfree;
    if !slab.slabcur.is_null() {
        // It does not count in the average of the others. A background thread may have freed
        // something between the two questions.
        let current = query(mib, slab.slabcur);
        curregs = curregs.saturating_sub(current.nregs - current.nfree);
        curslabs = curslabs.saturating_sub(1);
    }
    is_emptier(slab.nregs - slab.nfree, slab.nregs, curslabs, curregs)
}

/// Tells whether a slab with `used` of its `nregs` places in use is at most as full as the average
/// of `curslabs` slabs with `curregs` in use. Where that average leaves much to gain, slabs that are
/// a bit fuller count as well: else some that can't be cleared, and are emptier than all others,
/// would keep the others as they are for ever.
// C: without the addition, which 7.2 has.
fn is_emptier(used: usize, nregs: usize, curslabs: usize, curregs: usize) -> bool {
    let much_to_gain = curregs < curslabs * nregs / 8 * 7;
    let limit = if much_to_gain { curregs + curregs / 8 } else { curregs };
    used * curslabs <= limit
}

/// Returns the number of the question, if the allocator can be asked: the heap is jemalloc's.
fn utilization_mib() -> Option<&'static Mib> {
    static MIB: OnceLock<Option<Mib>> = OnceLock::new();
    let find = || {
        let (mut mib, mut len) = ([0; 3], 3);
        let name = c"experimental.utilization.query";
        // SAFETY: the name is a C text, and there is room for as many numbers as `len` says.
        let rv = unsafe { mallctlnametomib(name.as_ptr(), mib.as_mut_ptr(), &mut len) };
        (rv == 0 && len == mib.len() && !cfg!(fidelis_asan)).then_some(mib)
    };
    MIB.get_or_init(find).as_ref()
}

/// Tells whether the allocator can say what is worth moving (`HAVE_DEFRAG`).
pub fn have_defrag() -> bool {
    utilization_mib().is_some()
}

/// How is decided what is worth moving.
#[derive(Clone, Copy)]
enum Hint {
    Ask(&'static Mib),
    Never,
    #[cfg(test)]
    Always,
}

/// Moves allocations to where they make slabs fuller, and counts: what is given to the functions
/// that know where the pointers to allocations are.
pub struct Defrag {
    hint: Hint,
    /// Allocations moved (the C's `defragged`).
    pub hits: i64,
    /// Allocations that were looked at and stay.
    pub misses: i64,
    /// Elements of large keys that were come by.
    pub scanned: i64,
}

impl Defrag {
    /// Returns one that has counted nothing yet.
    pub fn new() -> Defrag {
        let hint = utilization_mib().map_or(Hint::Never, Hint::Ask);
        #[cfg(test)]
        let hint = if tests::ALWAYS.get() { Hint::Always } else { hint };
        Defrag { hint, hits: 0, misses: 0, scanned: 0 }
    }

    /// Tells whether the allocation that has this address in it is worth moving, and counts if it is
    /// not.
    pub fn is_worth_moving<T>(&mut self, at: *const T) -> bool {
        let yes = match self.hint {
            Hint::Ask(mib) => get_defrag_hint(mib, at.cast()),
            Hint::Never => false,
            #[cfg(test)]
            Hint::Always => true,
        };
        self.misses += i64::from(!yes);
        yes
    }

    /// Moves an allocation, if that is worth it, by copying its bytes, and frees the old one.
    /// Returns where it is now; `None`: where it was.
    ///
    /// # Safety
    /// `ptr` was allocated by the global allocator with this layout, and nobody uses it any more
    /// when this has returned another one.
    #[must_use]
    pub unsafe fn activeDefragAlloc(
        &mut self,
        ptr: NonNull<u8>,
        layout: Layout,
    ) -> Option<NonNull<u8>> {
        if !self.is_worth_moving(ptr.as_ptr()) {
            return None;
        }
        // Past what the thread keeps in reserve: else it would give us back what we free.
        // SAFETY: an allocation has a size. Both are as long as the layout says, and by contract the
        // old one is ours to free.
        unsafe {
            let new = NonNull::new(zmalloc_no_tcache(layout))?;
            copy_nonoverlapping(ptr.as_ptr(), new.as_ptr(), layout.size());
            zfree_no_tcache(ptr.as_ptr(), layout);
            self.hits += 1;
            Some(new)
        }
    }

    /// Moves the allocation of a `Box` where that is worth it.
    pub fn boxed<T>(&mut self, b: &mut Box<T>) {
        const { assert!(size_of::<T>() > 0) };
        // SAFETY: the box is taken out of its place and written back to it, at its old or new
        // address; nothing in between can panic. A box has the allocation of its type, and a value
        // may be moved by copying its bytes.
        unsafe {
            let old = Box::into_raw(ptr::read(b));
            let new =
                self.activeDefragAlloc(NonNull::new_unchecked(old.cast()), Layout::new::<T>());
            ptr::write(b, Box::from_raw(new.map_or(old, |p| p.as_ptr().cast())));
        }
    }

    /// Moves the allocation of a `Vec` where that is worth it, with its spare room.
    pub fn vec<T>(&mut self, v: &mut Vec<T>) {
        let Ok(layout) = Layout::array::<T>(v.capacity()) else { return };
        if layout.size() == 0 {
            return;
        }
        let mut old = ManuallyDrop::new(take(v));
        let (len, capacity) = (old.len(), old.capacity());
        // SAFETY: a vector has the allocation of its capacity; elements may be moved by copying
        // their bytes. The old vector is forgotten.
        unsafe {
            let old = NonNull::new_unchecked(old.as_mut_ptr());
            let new = self.activeDefragAlloc(old.cast(), layout);
            let p = new.map_or(old, NonNull::cast);
            *v = Vec::from_raw_parts(p.as_ptr(), len, capacity);
        }
    }

    /// Moves bytes of a fixed length where that is worth it.
    // C: an sds, which begins somewhere in its allocation.
    pub fn activeDefragSds(&mut self, bytes: &mut Box<[u8]>) {
        let mut v = take(bytes).into_vec();
        self.vec(&mut v);
        *bytes = v.into_boxed_slice();
    }

    /// Calls `make` so that what it allocates is not what was freed just before: for collections
    /// that can only be moved by making them again.
    pub fn without_tcache<R>(&mut self, make: impl FnOnce() -> R) -> R {
        set_tcache(false);
        let made = make();
        set_tcache(true);
        self.hits += 1;
        made
    }
}

impl Default for Defrag {
    fn default() -> Self {
        Defrag::new()
    }
}

/// Has this thread keep freed allocations in reserve, or not.
fn set_tcache(enabled: bool) {
    let mut enabled = enabled;
    // SAFETY: the name is a C text; jemalloc reads one bool.
    unsafe {
        mallctl(
            c"thread.tcache.enabled".as_ptr(),
            ptr::null_mut(),
            ptr::null_mut(),
            (&raw mut enabled).cast(),
            size_of::<bool>(),
        )
    };
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        pub(super) static ALWAYS: Cell<bool> = const { Cell::new(false) };
    }

    /// Has `Defrag`s of this thread move all they get, as long as `f` runs.
    pub fn moving_always<R>(f: impl FnOnce() -> R) -> R {
        ALWAYS.set(true);
        let result = f();
        ALWAYS.set(false);
        result
    }

    /// What is moved is the same bytes elsewhere, spare room included.
    #[test]
    fn all_kinds_are_moved() {
        let mut moves = moving_always(Defrag::new);
        let mut b = Box::new([7u64; 5]);
        let mut v: Vec<String> = Vec::with_capacity(10);
        v.extend(["a".repeat(100), "b".to_string()]);
        let mut bytes: Box<[u8]> = (*b"bytes").into();
        let addresses = (&raw const *b, v.as_ptr(), bytes.as_ptr());
        moves.boxed(&mut b);
        moves.vec(&mut v);
        moves.activeDefragSds(&mut bytes);
        assert!(addresses.0 != &raw const *b, "the old one is freed when the new one is there");
        assert!(addresses.1 != v.as_ptr() && addresses.2 != bytes.as_ptr());
        assert_eq!((*b, &bytes[..]), ([7; 5], &b"bytes"[..]));
        assert_eq!((v.capacity(), v[0].len(), &v[1][..]), (10, 100, "b"));
        assert_eq!((moves.hits, moves.misses), (3, 0));
        // What has no allocation is not looked at.
        moves.vec(&mut Vec::<u8>::new());
        moves.vec(&mut vec![(); 3]);
        moves.activeDefragSds(&mut Box::default());
        assert_eq!((moves.hits, moves.misses), (3, 0));
        assert_eq!(moves.without_tcache(|| vec![1, 2]), [1, 2]);
    }

    #[test]
    fn what_is_emptier() {
        // 125 slabs of 16 places: all are half full but one, in which two are left.
        assert!(is_emptier(8, 16, 125, 124 * 8 + 2));
        assert!(!is_emptier(10, 16, 125, 124 * 8 + 2));
        assert!(is_emptier(2, 16, 125, 124 * 8 + 2));
        // Nearly all are full: what is left to gain is not worth it, but for the emptiest.
        assert!(!is_emptier(15, 16, 100, 1480));
        assert!(is_emptier(14, 16, 100, 1480));
        // The only slab beside the current one is like itself.
        assert!(is_emptier(5, 16, 1, 5));
    }

    /// Of slabs that are left half empty, and a few that are nearly full, the first are cleared, and
    /// the allocator has less in use afterwards. Nothing else is worth moving.
    #[test]
    #[cfg_attr(fidelis_asan, ignore = "the heap is not jemalloc's")]
    fn half_empty_slabs_are_cleared() {
        // A size that no other test has much of.
        const SIZE: usize = 1792;
        assert!(have_defrag());
        let mut all: Vec<Box<[u8]>> = (0..4000).map(|i| vec![i as u8; SIZE].into()).collect();
        let mut i = 0;
        all.retain(|_| {
            i += 1;
            i < 1000 || i % 4 == 0
        });
        let Some(mib) = utilization_mib() else { return };
        let at = |b: &[u8]| query(mib, b.as_ptr());
        let before = at(&all[0]).bin_nregs;
        let mut moves = Defrag::new();
        for _ in 0..3 {
            for bytes in &mut all {
                moves.activeDefragSds(bytes);
            }
        }
        assert!(moves.hits > 300 && moves.misses > 900, "{} {}", moves.hits, moves.misses);
        let after = at(&all[0]).bin_nregs;
        assert!(after * 10 < before * 6, "{before} places, then {after}");
        for (i, bytes) in all.iter().enumerate() {
            let number = if i < 999 { i } else { 999 + (i - 999) * 4 };
            assert!(bytes.iter().all(|&b| b == number as u8), "{i}");
        }
        // Large allocations stay.
        let (hits, mut large) = (moves.hits, vec![0u8; 1 << 20].into_boxed_slice());
        moves.activeDefragSds(&mut large);
        assert_eq!(moves.hits, hits);
    }
}
