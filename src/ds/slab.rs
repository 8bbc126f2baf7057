//! A vector that grows without a stall: the arena under `skiplist.rs`, `rax.rs` and `quicklist.rs`.
//!
//! No C original. Where the C takes a node from malloc and links it by pointer, we keep nodes in
//! one of these and link them by a 32-bit index: half the size of a pointer, safe, and one
//! allocation for many nodes. A plain `Vec` of ten million nodes would copy half a gigabyte when it
//! grows; here no growth copies more than one chunk.
#![forbid(unsafe_code)]

use crate::sys::defrag::Defrag;
use crate::sys::huge::chunk_is_filled;
use std::mem::take;
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

    /// Returns how many elements can be appended before the next chunk begins.
    #[inline]
    pub fn room_in_chunk(&self) -> u32 {
        CHUNK as u32 - (self.len() & (CHUNK as u32 - 1))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Across chunk borders, up and down, every element stays where its index says.
    #[test]
    fn grows_and_shrinks() {
        let mut v = ChunkedVec::new();
        for i in 0..(3 * CHUNK as u32 + 5) {
            assert_eq!(v.room_in_chunk(), CHUNK as u32 - i % CHUNK as u32);
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
}
