//! A vector that grows without a stall, and one whose elements can leave: the arenas under
//! `skiplist.rs`, `rax.rs` and `quicklist.rs`.
//!
//! No C original. Where the C takes a node from malloc and links it by pointer, we keep nodes in
//! one of these and link them by a 32-bit index: half the size of a pointer, safe, and one
//! allocation for many nodes. A plain `Vec` of ten million nodes would copy half a gigabyte when it
//! grows; here no growth copies more than one chunk.
#![forbid(unsafe_code)]

use crate::sys::defrag::Defrag;
use crate::sys::huge::chunk_is_filled;
use std::mem::{replace, take};
use std::ops::{Index, IndexMut};

/// The index that stands for the C's NULL.
pub const NIL: u32 = u32::MAX;

const CHUNK_BITS: u32 = 13;
const CHUNK: usize = 1 << CHUNK_BITS;

/// A vector indexed by `u32`, kept in chunks of 8192 elements.
///
/// The only chunk of a small vector sits in the structure itself, so that it costs one allocation.
/// With the second one both stand in the list of chunks, and `only` is empty: so an element is
/// found by one look at the list, and an index without an element is in neither.
#[derive(Debug, Clone)]
pub struct ChunkedVec<T> {
    only: Vec<T>,
    chunks: Vec<Vec<T>>,
}

impl<T> ChunkedVec<T> {
    /// Returns an empty vector; allocates nothing.
    pub const fn new() -> Self {
        ChunkedVec { only: Vec::new(), chunks: Vec::new() }
    }

    /// Returns the number of elements.
    pub fn len(&self) -> u32 {
        let n = match self.chunks.last() {
            None => self.only.len(),
            Some(last) => (self.chunks.len() - 1) * CHUNK + last.len(),
        };
        n as u32
    }

    /// Returns an element; `None` if there is none with this index.
    #[inline]
    pub fn get(&self, index: u32) -> Option<&T> {
        let (chunk, at) = self.chunk_of(index);
        chunk.get(at)
    }

    /// Returns an element, to change; `None` if there is none with this index.
    #[inline]
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let i = index as usize;
        match self.chunks.get_mut(i >> CHUNK_BITS) {
            Some(chunk) => chunk.get_mut(i & (CHUNK - 1)),
            None => self.only.get_mut(i),
        }
    }

    /// Returns the chunk in which an element is, and where in it; the place is beyond the chunk if
    /// there is no such element.
    #[inline(always)]
    pub fn chunk_of(&self, index: u32) -> (&[T], usize) {
        let i = index as usize;
        match self.chunks.get(i >> CHUNK_BITS) {
            Some(chunk) => (chunk, i & (CHUNK - 1)),
            None => (&self.only, i),
        }
    }

    /// Returns the bytes allocated for elements, used or not.
    pub fn mem_usage(&self) -> usize {
        let slots: usize =
            self.only.capacity() + self.chunks.iter().map(Vec::capacity).sum::<usize>();
        slots * size_of::<T>() + self.chunks.capacity() * size_of::<Vec<T>>()
    }

    /// Moves the chunks where that is worth it.
    pub fn defrag(&mut self, moves: &mut Defrag) {
        moves.vec(&mut self.only);
        moves.vec(&mut self.chunks);
        for chunk in &mut self.chunks {
            moves.vec(chunk);
        }
    }

    /// Appends an element and returns its index.
    ///
    /// # Panics
    /// When 2^32 - 1 elements are held: the index would be [`NIL`].
    pub fn push(&mut self, value: T) -> u32 {
        let index = self.len();
        assert!(index != NIL, "an arena holds at most 2^32 - 1 elements");
        if self.only.len() == CHUNK {
            self.chunks.push(take(&mut self.only));
        }
        if self.chunks.last().is_some_and(|last| last.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK / 8));
        }
        let chunk = self.chunks.last_mut().unwrap_or(&mut self.only);
        // A quarter at a time: doubling would leave a third of a small arena empty.
        if chunk.len() == chunk.capacity() {
            let more = (chunk.len() / 4).clamp(1, 1024).min(CHUNK - chunk.len());
            chunk.reserve_exact(more);
        }
        chunk.push(value);
        if chunk.len() == CHUNK && index >= CHUNK as u32 {
            chunk_is_filled(chunk, (index as usize + 1) * size_of::<T>());
        }
        index
    }

    /// Removes and returns the last element, giving memory back when half of it is unused.
    pub fn pop(&mut self) -> Option<T> {
        let last = self.chunks.last_mut().unwrap_or(&mut self.only);
        let value = last.pop();
        if !last.is_empty() {
            shrink(last);
            return value;
        }
        self.chunks.pop();
        if let [first] = &mut self.chunks[..] {
            // A small vector again.
            self.only = take(first);
            self.chunks = Vec::new();
        }
        value
    }
}

fn shrink<T>(chunk: &mut Vec<T>) {
    if chunk.capacity() > 16 && chunk.len() < chunk.capacity() / 2 {
        chunk.shrink_to(chunk.len() + chunk.len() / 4);
    }
}

impl<T> Default for ChunkedVec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Index<u32> for ChunkedVec<T> {
    type Output = T;
    #[inline]
    fn index(&self, index: u32) -> &T {
        let (chunk, at) = self.chunk_of(index);
        &chunk[at]
    }
}

impl<T> IndexMut<u32> for ChunkedVec<T> {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut T {
        let i = index as usize;
        match self.chunks.get_mut(i >> CHUNK_BITS) {
            Some(chunk) => &mut chunk[i & (CHUNK - 1)],
            None => &mut self.only[i],
        }
    }
}

/// A vector of which elements can leave. Their places are filled again by those that come later; an
/// element keeps its index until it leaves, unless [`Slab::move_last`] gives it another one.
#[derive(Debug)]
pub struct Slab<T> {
    places: ChunkedVec<Slot<T>>,
    /// The first one of the list of holes, and how many there are.
    hole: u32,
    holes: u32,
}

#[derive(Debug)]
enum Slot<T> {
    Full(T),
    /// Nothing: the hole before it in the list of holes, and the one after it.
    Hole {
        prev: u32,
        next: u32,
    },
}

impl<T> Slab<T> {
    /// The bytes of a place, full or not.
    pub const PLACE: usize = size_of::<Slot<T>>();

    /// Returns an empty slab; allocates nothing.
    pub const fn new() -> Self {
        Slab { places: ChunkedVec::new(), hole: NIL, holes: 0 }
    }

    /// Returns the number of elements.
    pub fn len(&self) -> u32 {
        self.places.len() - self.holes
    }

    /// Returns the number of holes.
    pub fn holes(&self) -> u32 {
        self.holes
    }

    /// Returns an element; `None` if there is none with this index.
    #[inline]
    pub fn get(&self, index: u32) -> Option<&T> {
        match self.places.get(index) {
            Some(Slot::Full(value)) => Some(value),
            _ => None,
        }
    }

    /// Returns an element, to change; `None` if there is none with this index.
    #[inline]
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        match self.places.get_mut(index) {
            Some(Slot::Full(value)) => Some(value),
            _ => None,
        }
    }

    /// Returns the address of an element, for a prefetch; 0 if there is no such place.
    #[inline]
    pub fn address(&self, index: u32) -> usize {
        self.places.get(index).map_or(0, |place| (&raw const *place).addr())
    }

    /// Returns the bytes allocated for places, full or not.
    pub fn mem_usage(&self) -> usize {
        self.places.mem_usage()
    }

    /// Moves the chunks where that is worth it.
    pub fn defrag(&mut self, moves: &mut Defrag) {
        self.places.defrag(moves);
    }

    /// Puts an element into a hole, or at the end, and returns its index.
    ///
    /// # Panics
    /// When 2^32 - 1 elements are held, as [`ChunkedVec::push`].
    pub fn insert(&mut self, value: T) -> u32 {
        let index = self.hole;
        if index == NIL {
            return self.places.push(Slot::Full(value));
        }
        self.unlink_hole(index);
        self.places[index] = Slot::Full(value);
        index
    }

    /// Takes an element out; `None` if there is none with this index.
    pub fn remove(&mut self, index: u32) -> Option<T> {
        self.get(index)?;
        let next = self.hole;
        if let Some(Slot::Hole { prev, .. }) = self.slot_mut(next) {
            *prev = index;
        }
        self.hole = index;
        self.holes += 1;
        match replace(&mut self.places[index], Slot::Hole { prev: NIL, next }) {
            Slot::Full(value) => Some(value),
            Slot::Hole { .. } => None,
        }
    }

    /// Gives up the last place if that is a hole, and tells so.
    pub fn drop_last_hole(&mut self) -> bool {
        let Some(last) = self.places.len().checked_sub(1) else { return false };
        let is_hole = matches!(self.places[last], Slot::Hole { .. });
        if is_hole {
            self.unlink_hole(last);
            self.places.pop();
        }
        is_hole
    }

    /// Returns the index of the last element and that of the hole to which [`Slab::move_last`] would
    /// move it; `None` if there is no hole, or the last place is one.
    pub fn next_move(&self) -> Option<(u32, u32)> {
        let last = self.places.len().checked_sub(1)?;
        (self.hole != NIL && self.get(last).is_some()).then_some((last, self.hole))
    }

    /// Moves the last element into a hole, as [`Slab::next_move`] told, and gives up its place.
    pub fn move_last(&mut self) {
        let Some((_, to)) = self.next_move() else { return };
        self.unlink_hole(to);
        if let Some(last) = self.places.pop() {
            self.places[to] = last;
        }
    }

    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot<T>> {
        (index != NIL).then(|| &mut self.places[index])
    }

    fn unlink_hole(&mut self, index: u32) {
        let Slot::Hole { prev: before, next: after } = self.places[index] else { return };
        match self.slot_mut(before) {
            Some(Slot::Hole { next, .. }) => *next = after,
            _ => self.hole = after,
        }
        if let Some(Slot::Hole { prev, .. }) = self.slot_mut(after) {
            *prev = before;
        }
        self.holes -= 1;
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;
    #[inline(always)]
    fn index(&self, index: u32) -> &T {
        match &self.places[index] {
            Slot::Full(value) => value,
            Slot::Hole { .. } => no_such_element(index),
        }
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    #[inline(always)]
    fn index_mut(&mut self, index: u32) -> &mut T {
        match &mut self.places[index] {
            Slot::Full(value) => value,
            Slot::Hole { .. } => no_such_element(index),
        }
    }
}

#[cold]
#[inline(never)]
fn no_such_element(index: u32) -> ! {
    panic!("element {index} has left");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Across chunk borders, up and down, every element stays where its index says.
    #[test]
    fn grows_and_shrinks() {
        let mut v = ChunkedVec::new();
        for i in 0..(3 * CHUNK as u32 + 5) {
            assert_eq!(v.push(i * 7), i);
        }
        for i in 0..v.len() {
            assert_eq!(v[i], i * 7);
            assert_eq!(v.get(i), Some(&(i * 7)));
            let (chunk, at) = v.chunk_of(i);
            assert_eq!(chunk[at], i * 7);
        }
        assert_eq!((v.get(v.len()), v.get(v.len() + CHUNK as u32), v.get(NIL)), (None, None, None));
        let full = v.mem_usage();
        for i in (10..v.len()).rev() {
            v[i] += 1;
            assert_eq!(v.pop(), Some(i * 7 + 1));
        }
        assert_eq!(v.len(), 10);
        assert_eq!(v[9], 63);
        assert!(v.mem_usage() < full / 100);
        for _ in 0..10 {
            v.pop();
        }
        assert_eq!((v.pop(), v.len()), (None, 0));
    }

    /// Elements come, leave and move, and each is where its index says.
    #[test]
    fn elements_leave() {
        let mut r = crate::testing::Rng::new();
        let mut slab = Slab::new();
        let mut model = std::collections::HashMap::new();
        for step in 0..20_000u32 {
            let growing = step % 5000 < 2500;
            let known = model.keys().nth(r.below(model.len().max(1) as u64) as usize).copied();
            match known {
                Some(index) if !growing || r.below(3) == 0 => {
                    assert_eq!(slab.get(index), model.get(&index));
                    assert_eq!(slab.remove(index), model.remove(&index));
                    assert_eq!(slab.remove(index), None);
                    assert_eq!(slab.get(index), None);
                }
                _ => assert_eq!(model.insert(slab.insert(step), step), None),
            }
            if r.below(4) == 0 && !slab.drop_last_hole() {
                if let Some((from, to)) = slab.next_move() {
                    slab.move_last();
                    let moved = model.remove(&from).unwrap();
                    assert_eq!(model.insert(to, moved), None);
                } else {
                    assert_eq!(slab.holes(), 0);
                }
            }
            assert_eq!(slab.len() as usize, model.len());
            assert_eq!(slab.len() + slab.holes(), slab.places.len());
            if step % 1000 == 0 {
                for (index, value) in &model {
                    assert_eq!(slab[*index], *value);
                }
            }
        }
    }
}
