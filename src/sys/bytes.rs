//! Ours: bytes behind one pointer, for the packed structures (ziplist, intset).
//!
//! A `Vec<u8>` is three words beside its allocation. Most values are small, and there are many of
//! them: so the length is kept in the allocation, where a ziplist has it anyway, and the capacity
//! nowhere, because it follows from the length. The C does the same, and asks its allocator for the
//! exact size at every change.
#![allow(unsafe_code)] // a length and bytes in one allocation are laid out by hand

use crate::sys::defrag::Defrag;
use crate::sys::mem::{move_short, prefetch, same_size_class, size_class};
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;

/// Bytes of the length in front.
const HEADER: usize = size_of::<u32>();

/// Where those that have nothing behind their length point to. They own no allocation.
static EMPTY: u32 = (HEADER as u32).to_le();

/// Owned bytes, the first four of which are their number, little endian, as in a ziplist. At most 4
/// GB of them, in an allocation of exactly the size class that holds them.
///
/// Those four can be read as the others can, and are written here only.
///
/// The spare room of the size class lies behind the bytes, or before them, or both: so a list that
/// is pushed to, or popped from, at its head need not move for it. Where there is a gap in front,
/// the allocation starts with a mark in place of the length, and the gap's size.
///
/// All bytes of an allocation are initialised when it is made, the spare ones too: so making room
/// in it writes nothing, and what it uncovers is any bytes, but bytes.
pub struct SelfSized {
    p: NonNull<u32>,
}

/// The mark that tells a gap from a length, which is 4 at least.
const MARK: u32 = 0;

/// Bytes of the mark and the size: what a gap has to hold, unless there is none.
const GAP_MIN: usize = 2 * size_of::<u32>();

/// Returns the largest gap that `room` allows.
fn gap_of(room: usize) -> usize {
    if room < GAP_MIN { 0 } else { room }
}

// SAFETY: the bytes belong to this value alone.
unsafe impl Send for SelfSized {}
// SAFETY: through a shared reference they are only read.
unsafe impl Sync for SelfSized {}

/// Returns the allocation of so many bytes.
fn layout(len: usize) -> Layout {
    assert!(len <= u32::MAX as usize, "packed bytes of more than 4 GB");
    Layout::from_size_align(size_class(len), align_of::<u32>()).expect("4 GB at most")
}

impl SelfSized {
    /// Makes bytes that consist of the length alone, without an allocation.
    pub fn new() -> SelfSized {
        SelfSized { p: NonNull::from(&EMPTY) }
    }

    /// Returns the length of a copy of such bytes at any address.
    ///
    /// # Safety
    /// `p` points to such a copy.
    #[inline(always)]
    pub(crate) unsafe fn len_at(p: *const u8) -> usize {
        // SAFETY: the caller says that such bytes are at `p`, and they begin with their length.
        u32::from_le(unsafe { p.cast::<u32>().read_unaligned() }) as usize
    }

    /// Prefetches the memory where the allocation starts.
    #[inline(always)]
    pub fn prefetch(&self) {
        prefetch(self.p.addr().get());
    }

    /// Prefetches the memory where the bytes start, which is behind the gap.
    #[inline(always)]
    pub fn prefetch_bytes(&self) {
        prefetch(self.p.addr().get() + self.gap());
    }

    /// Returns the size of the gap in front of the bytes.
    #[inline(always)]
    fn gap(&self) -> usize {
        // SAFETY: an allocation, as EMPTY, starts with a length, or with a mark and the size of the
        // gap.
        unsafe { if self.p.read() == MARK { self.p.add(1).read() as usize } else { 0 } }
    }

    /// Returns the address behind a gap of this size.
    ///
    /// # Safety
    /// The allocation is as long.
    #[inline(always)]
    unsafe fn behind(&self, gap: usize) -> *mut u8 {
        // SAFETY: the caller says that it lies in the allocation.
        unsafe { self.p.as_ptr().cast::<u8>().add(gap) }
    }

    /// Returns where the bytes start, at any address.
    #[inline(always)]
    fn start(&self) -> *mut u8 {
        // SAFETY: the gap and the bytes behind it lie in the allocation.
        unsafe { self.behind(self.gap()) }
    }

    /// Changes the number of bytes, the four of the length included. New ones are zero.
    ///
    /// # Panics
    /// Below 4 bytes and above 4 GB.
    #[inline]
    pub fn resize(&mut self, len: usize) {
        let old = self.len();
        if len > old {
            self.open(old, len - old).1.fill(0);
        } else {
            self.close(len, old - len);
        }
    }

    /// Makes room for `n` bytes at `at`, which is behind the length. What is in them is open. Returns
    /// the bytes behind the length up to `at`, and those from there on.
    ///
    /// # Panics
    /// When it gets longer than 4 GB.
    #[inline(always)]
    pub fn open(&mut self, at: usize, n: usize) -> (&mut [u8], &mut [u8]) {
        let (gap, len) = (self.gap(), self.len());
        if at >= HEADER && at < len / 2 && gap >= n.saturating_add(GAP_MIN) {
            // Room that is in front already: such a list grows at its head.
            // SAFETY: the gap is in the allocation, whose size class is that of the new length as
            // well: that is at most gap and length together. `at` is before the end.
            unsafe {
                let start = self.behind(gap - n);
                move_short(start.add(n), start, at);
                self.set_len(gap - n, len + n);
                return (
                    std::slice::from_raw_parts_mut(start.add(HEADER), at - HEADER),
                    std::slice::from_raw_parts_mut(start.add(at), len + n - at),
                );
            }
        }
        let end = gap.saturating_add(len).saturating_add(n);
        if at >= len / 2
            && at >= HEADER
            && at <= len
            && len > HEADER
            && end <= u32::MAX as usize
            && same_size_class(end, len)
        {
            // Room that is behind: such a list grows at its tail.
            // SAFETY: gap, bytes and the new ones end within the size class of the allocation,
            // which there is, since the length is more than the header's.
            unsafe {
                let start = self.behind(gap);
                move_short(start.add(at), start.add(at + n), len - at);
                self.set_len(gap, len + n);
                return (
                    std::slice::from_raw_parts_mut(start.add(HEADER), at - HEADER),
                    std::slice::from_raw_parts_mut(start.add(at), len + n - at),
                );
            }
        }
        self.open_anywhere(at, n)
    }

    /// Does what [`open`](Self::open) does, wherever the room is.
    #[inline(never)]
    fn open_anywhere(&mut self, at: usize, n: usize) -> (&mut [u8], &mut [u8]) {
        let (gap, len) = (self.gap(), self.len());
        assert!(at >= HEADER && at <= len);
        let new_len = len.saturating_add(n);
        assert!(new_len <= u32::MAX as usize, "packed bytes of more than 4 GB");
        let (class, tail) = (size_class(len), len - at);
        let at_head = at < tail;
        let stays = new_len <= class && len > HEADER;
        // SAFETY: the allocation is of the class of `len`. What is moved stays in it, and the gap
        // is none or large enough; what moves to another place is left to `rearrange`, with a gap
        // for which there is room beside the new length.
        unsafe {
            let start = self.start();
            if stays && !at_head && gap + new_len <= class {
                move_short(start.add(at), start.add(at + n), tail);
                self.set_len(gap, new_len);
            } else if stays && at_head && (gap == n || gap >= n + GAP_MIN) {
                // The header of a ziplist, if it grows at its head.
                move_short(start, start.sub(n), at);
                self.set_len(gap - n, new_len);
            } else if stays {
                // The room is at the other side. Half of it stays there, where the next may be
                // asked for.
                self.rearrange(gap_of((class - new_len) / 2), at, 0, n);
            } else {
                // All that a new allocation has to spare goes to this side.
                let room = size_class(new_len) - new_len;
                self.rearrange(if at_head { gap_of(room) } else { 0 }, at, 0, n);
            }
            let start = self.start();
            (
                std::slice::from_raw_parts_mut(start.add(HEADER), at - HEADER),
                std::slice::from_raw_parts_mut(start.add(at), n + tail),
            )
        }
    }

    /// Takes away `n` bytes at `at`, which is behind the length. Returns the bytes behind the length
    /// up to `at`, and those from there on.
    #[inline(always)]
    pub fn close(&mut self, at: usize, n: usize) -> (&mut [u8], &mut [u8]) {
        let (gap, len) = (self.gap(), self.len());
        assert!(at >= HEADER && at <= len && n <= len - at);
        let (new_len, tail) = (len - n, len - at - n);
        if new_len > HEADER && same_size_class(len, new_len) {
            // SAFETY: there is an allocation, since the length is more than the header's. The
            // pieces that are moved, `at` bytes and `tail` bytes, lie within gap and bytes.
            unsafe {
                let mut start = self.behind(gap);
                let at_head = at < tail;
                if at_head && gap + n >= GAP_MIN {
                    move_short(start, start.add(n), at);
                    start = start.add(n);
                    self.set_len(gap + n, new_len);
                } else if !at_head {
                    move_short(start.add(at + n), start.add(at), tail);
                    self.set_len(gap, new_len);
                }
                if !at_head || gap + n >= GAP_MIN {
                    return (
                        std::slice::from_raw_parts_mut(start.add(HEADER), at - HEADER),
                        std::slice::from_raw_parts_mut(start.add(at), tail),
                    );
                }
            }
        }
        self.close_otherwise(at, n);
        self.body_mut().split_at_mut(at - HEADER)
    }

    /// Takes away the last `n` bytes, which are behind the length. Returns the bytes behind it.
    #[inline(always)]
    pub fn shorten(&mut self, n: usize) -> &mut [u8] {
        let (gap, len) = (self.gap(), self.len());
        assert!(n <= len - HEADER);
        let new_len = len - n;
        if new_len > HEADER && same_size_class(len, new_len) {
            // SAFETY: there is an allocation, since the length is more than the header's. The gap
            // and all the bytes lie in it, and so do fewer; those that stay are initialised.
            unsafe {
                self.set_len(gap, new_len);
                let start = self.behind(gap);
                return std::slice::from_raw_parts_mut(start.add(HEADER), new_len - HEADER);
            }
        }
        self.close_otherwise(new_len, n);
        self.body_mut()
    }

    /// Does what [`close`](Self::close) does where more than the shorter side is moved: into an
    /// allocation of another class, or for want of a gap.
    #[inline(never)]
    fn close_otherwise(&mut self, at: usize, n: usize) {
        let (gap, len) = (self.gap(), self.len());
        assert!(at >= HEADER && at <= len && n <= len - at);
        let (new_len, tail) = (len - n, len - at - n);
        let (class, new_class) = (size_class(len), size_class(new_len));
        // SAFETY: without an allocation the length is that of the header, so that `at` is the end
        // and `n` is 0: that is an arm of `rearrange`. Elsewhere the bytes stay in the allocation,
        // and a gap is made only where there is room for it.
        unsafe {
            if new_len == HEADER || new_class != class {
                self.rearrange(0, at, n, 0);
            } else if at < tail && gap == 0 && class - new_len >= GAP_MIN {
                // What goes away at the head is too short for a gap. All is moved once, for a gap
                // that the next ones make larger.
                self.rearrange(GAP_MIN, at, n, 0);
            } else {
                let start = self.start();
                move_short(start.add(at + n), start.add(at), tail);
                self.set_len(gap, new_len);
            }
        }
    }

    /// Writes the length, and what tells how large the gap in front of it is.
    ///
    /// # Safety
    /// There is an allocation, of this length's class, and the gap and the bytes lie in it. The gap
    /// is 0 or at least `GAP_MIN`.
    #[inline(always)]
    unsafe fn set_len(&mut self, gap: usize, len: usize) {
        // SAFETY: the caller says that there is an allocation in which gap and bytes lie. A gap has
        // room for its mark and its size, which are what GAP_MIN counts.
        unsafe {
            if gap > 0 {
                self.p.write(MARK);
                self.p.add(1).write(gap as u32);
            }
            let start = self.behind(gap).cast::<u32>();
            start.write_unaligned((len as u32).to_le());
        }
    }

    /// Replaces `out` bytes at `at` by `new`, whose contents are open, and leaves a gap of another
    /// size; in the same allocation if it can be.
    ///
    /// # Safety
    /// `HEADER <= at <= at + out <= len`; the gap is 0 or at least `GAP_MIN`, and lies with the new
    /// length in the allocation of its size class.
    #[inline(never)]
    unsafe fn rearrange(&mut self, new_gap: usize, at: usize, out: usize, new: usize) {
        let (gap, len) = (self.gap(), self.len());
        let (new_len, tail) = (len - out + new, len - at - out);
        let old = self.p.as_ptr().cast::<u8>();
        // SAFETY: an allocation has the layout of its length, and EMPTY, which is none, the
        // shortest length; so what is allocated, moved and freed here is ours. By contract all that
        // is copied lies in the old allocation and comes to lie in the new one.
        unsafe {
            if new_len == HEADER {
                if len > HEADER {
                    dealloc(old, layout(len));
                }
                self.p = NonNull::from(&EMPTY);
                return;
            }
            let (from, to) = (layout(len), layout(new_len));
            let p = if len > HEADER && from == to {
                // What moves backwards goes first, so that nothing is overwritten.
                let move_head = || old.add(new_gap).copy_from(old.add(gap), at);
                let move_tail =
                    || old.add(new_gap + at + new).copy_from(old.add(gap + at + out), tail);
                if new_gap > gap {
                    move_tail();
                    move_head();
                } else {
                    move_head();
                    move_tail();
                }
                old
            } else if len > HEADER && gap == 0 && new_gap == 0 && at >= tail {
                // Most of it stays where it is, for which the allocator may need no copy.
                let move_tail = |p: *mut u8| p.add(at + new).copy_from(p.add(at + out), tail);
                if new_len < len {
                    move_tail(old);
                }
                let p = realloc(old, from, to.size());
                if new_len > len && !p.is_null() {
                    p.add(from.size()).write_bytes(0, to.size() - from.size());
                    move_tail(p);
                }
                p
            } else {
                let p = alloc(to);
                if !p.is_null() {
                    p.write_bytes(0, new_gap);
                    p.add(new_gap + at).write_bytes(0, new);
                    p.add(new_gap + new_len).write_bytes(0, to.size() - new_gap - new_len);
                    p.add(new_gap).copy_from_nonoverlapping(old.add(gap), at);
                    p.add(new_gap + at + new)
                        .copy_from_nonoverlapping(old.add(gap + at + out), tail);
                    if len > HEADER {
                        dealloc(old, from);
                    }
                }
                p
            };
            let Some(p) = NonNull::new(p) else { handle_alloc_error(to) };
            self.p = p.cast();
            self.set_len(new_gap, new_len);
        }
    }

    /// Returns the bytes behind the length.
    #[inline(always)]
    fn body_mut(&mut self) -> &mut [u8] {
        let len = self.len() - HEADER;
        // SAFETY: so many bytes are there, and borrowed exclusively; of EMPTY it is none.
        unsafe { std::slice::from_raw_parts_mut(self.start().add(HEADER), len) }
    }

    /// Returns the bytes from `at` on, which is behind the length.
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
        let start = self.start();
        // SAFETY: the length tells how many bytes there are; they are initialised, and borrowed
        // with `self`.
        unsafe { std::slice::from_raw_parts(start, SelfSized::len_at(start)) }
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
                p.as_ptr().add(len).write_bytes(0, layout.size() - len);
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

/// A value that is nothing but bytes: the keyspace can keep it beside its key, as they are.
pub trait Packed: Sized {
    /// How many of the bytes are not the value's: its length, if the value does not say that.
    const IN_FRONT: usize;

    /// Returns the bytes as they are owned.
    fn packed(&self) -> &SelfSized;

    /// Makes a value of bytes that [`packed`](Self::packed) gave.
    fn of_packed(bytes: SelfSized) -> Self;

    /// Moves the allocation where that is worth it.
    fn defrag(&mut self, moves: &mut Defrag);

    /// Returns the bytes of a value in what [`packed`](Self::packed) gives.
    #[inline(always)]
    fn bytes_of_packed(packed: &[u8]) -> &[u8] {
        &packed[Self::IN_FRONT..]
    }

    /// Returns how many bytes [`packed`](Self::packed) gives for the bytes of a value.
    #[inline(always)]
    fn packed_size(bytes: &[u8]) -> usize {
        Self::IN_FRONT + bytes.len()
    }
}

impl Packed for SelfSized {
    const IN_FRONT: usize = 0;

    #[inline(always)]
    fn packed(&self) -> &SelfSized {
        self
    }

    #[inline(always)]
    fn of_packed(bytes: SelfSized) -> Self {
        bytes
    }

    /// Moves the allocation, gap and all, where that is worth it.
    fn defrag(&mut self, moves: &mut Defrag) {
        let len = self.len();
        if len > HEADER {
            // SAFETY: what is not EMPTY is an allocation of its length's layout, and ours alone.
            if let Some(p) = unsafe { moves.activeDefragAlloc(self.p.cast(), layout(len)) } {
                self.p = p.cast();
            }
        }
    }
}

/// Makes a type that has a [`Packed`] one in it, and nothing else, a packed one itself; with the
/// number of bytes in front that are not the value's but were the other's, if there are any.
macro_rules! packed {
    ($type:ident($within:ty) $(, $in_front:expr)?) => {
        impl Packed for $type {
            const IN_FRONT: usize = <$within as Packed>::IN_FRONT $(+ $in_front)?;

            #[inline(always)]
            fn packed(&self) -> &SelfSized {
                self.0.packed()
            }

            #[inline(always)]
            fn of_packed(bytes: SelfSized) -> Self {
                $type(<$within>::of_packed(bytes))
            }

            fn defrag(&mut self, moves: &mut Defrag) {
                self.0.defrag(moves);
            }
        }
    };
}
pub(crate) use packed;

/// Owned bytes that do not say how many they are: their length is in front of them.
#[derive(Clone, PartialEq, Eq)]
pub struct ThinBytes(SelfSized);

packed!(ThinBytes(SelfSized), HEADER);

impl ThinBytes {
    /// Makes an empty `ThinBytes`, without an allocation.
    pub fn new() -> ThinBytes {
        ThinBytes(SelfSized::new())
    }

    /// Changes the number of bytes. New ones are zero. Panics above 4 GB.
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
    use crate::testing::Rng;

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

    /// The allocation is one of the bytes' size class, and what is in it agrees with itself.
    fn check(bytes: &SelfSized, model: &[u8]) {
        let (gap, len) = (bytes.gap(), bytes.len());
        assert_eq!(
            (len, u32::from_le_bytes(*bytes.first_chunk().unwrap())),
            (model.len(), len as u32)
        );
        assert_eq!(bytes[HEADER..], model[HEADER..]);
        assert!(gap == gap_of(gap) && gap + len <= size_class(len), "{gap} {len}");
    }

    /// Bytes come and go anywhere, most of them at the ends, and those that stay are what they
    /// were.
    #[test]
    fn room_is_made_anywhere() {
        let mut r = Rng::new();
        for round in 0..60 {
            let (mut bytes, mut model) = (SelfSized::new(), vec![0; HEADER]);
            let (place, most) = (r.below(4), [8, 40, 300, 5000][r.below(4)]);
            // Growing, then shrinking, then to and fro.
            for step in 0..900 {
                let len = model.len();
                let at = match place {
                    0 => HEADER,
                    1 => len.min(HEADER + 6),
                    2 => len,
                    _ => HEADER + r.below(len - HEADER + 1),
                };
                let n = r.below(most);
                if r.below(10) < [8, 2, 5][step / 300] && len < 100_000 {
                    bytes.open(at, n);
                    model.splice(at..at, vec![0; n]);
                    for (i, b) in model[at..at + n].iter_mut().enumerate() {
                        *b = (i * 7 + step + round) as u8;
                    }
                    bytes.tail_mut(at)[..n].copy_from_slice(&model[at..at + n]);
                } else {
                    let at = if place == 2 { len - n.min(len - HEADER) } else { at };
                    let n = n.min(len - at);
                    bytes.close(at, n);
                    model.drain(at..at + n);
                }
                check(&bytes, &model);
            }
            let copy = bytes.clone();
            bytes.resize(model.len() + 9);
            model.resize(model.len() + 9, 0);
            check(&bytes, &model);
            bytes.resize(HEADER);
            check(&bytes, &model[..HEADER]);
            assert!(bytes.p == SelfSized::new().p, "nothing is allocated");
            check(&copy, &model[..copy.len()]);
        }
    }

    /// What is pushed or popped at one end moves nothing but the bytes before it, within a size
    /// class; and where the other end comes in between, both get some of the room.
    #[test]
    fn room_is_where_it_is_asked_for() {
        let mut bytes = SelfSized::from(&[1; 4097][..]);
        let end = |bytes: &SelfSized| bytes.as_ptr_range().end;
        assert_eq!(bytes.gap(), 0, "1023 bytes of room are behind");
        bytes.open(10, 20);
        assert_eq!(bytes.gap(), 1003 / 2);
        let still = end(&bytes);
        for _ in 0..20 {
            bytes.open(10, 20);
            assert_eq!(end(&bytes), still);
        }
        let still = bytes.as_ptr();
        for _ in 0..20 {
            bytes.open(bytes.len(), 20);
            assert_eq!(bytes.as_ptr(), still);
        }
        let still = end(&bytes);
        for _ in 0..40 {
            bytes.close(10, 20);
            assert_eq!(end(&bytes), still);
        }
        // Larger than its class: the room of the new one is all in front.
        bytes.open(10, 5121 - bytes.len());
        assert_eq!((bytes.len(), bytes.gap()), (5121, 6144 - 5121));
        bytes.open(10, 1020);
        assert_eq!((bytes.len(), bytes.gap()), (6141, 0), "3 bytes are too few for a gap");
        bytes.open(10, 3);
        bytes.close(10, 7);
        assert_eq!((bytes.len(), bytes.gap()), (6137, 0), "nor are 7");
        bytes.close(10, 8);
        assert_eq!((bytes.len(), bytes.gap()), (6129, 8));
    }

    /// What goes away at the head in pieces too short for a gap moves all of it but once.
    #[test]
    fn short_pieces_leave_a_gap_together() {
        let mut bytes = SelfSized::from(&[1; 6144][..]);
        bytes.close(10, 5);
        assert_eq!((bytes.len(), bytes.gap()), (6139, 0), "5 bytes of room are too few");
        bytes.close(10, 5);
        assert_eq!((bytes.len(), bytes.gap()), (6134, GAP_MIN));
        let still = bytes.as_ptr_range().end;
        for n in 1..100 {
            bytes.close(10, 5);
            assert_eq!((bytes.as_ptr_range().end, bytes.gap()), (still, GAP_MIN + n * 5));
        }
    }

    #[test]
    #[should_panic(expected = "more than 4 GB")]
    fn no_more_than_a_length_can_say() {
        SelfSized::new().open(HEADER, u32::MAX as usize - 3);
    }
}
