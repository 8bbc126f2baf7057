//! Ours, after an idea of 7.0: the bytes of the stream, which the backlog and all replicas share.
//!
//! The C copies each write once into its backlog, and once into the output buffer of each replica.
//! Ten replicas that are slow hold ten copies of the same bytes. Here there is one copy, in blocks,
//! and whoever needs it has a place in it: the backlog is its last `repl-backlog-size` bytes, and a
//! replica is the offset of the byte that it is sent next (`repl_pos`). Nothing is counted for this:
//! a block is in use as long as the backlog or any replica has its place in it or before it, and it
//! is looked at when a block is added, and when a replica goes.
//!
//! The memory of the backlog is allocated when it is made, and blocks go round: the one that falls
//! out at the front is filled again at the end. Only a replica that is further behind than the
//! backlog reaches makes it more.
//!
//! Read first: [`ReplStream`].

use std::collections::VecDeque;

use crate::server_h::PROTO_REPLY_CHUNK_BYTES;

/// The largest block. A larger one would keep more memory for a replica that needs its last byte.
const BLOCK_MAX: usize = 256 * 1024;

/// A block of the stream. It is filled to its capacity before the next one begins.
struct replBufBlock {
    /// The offset of its first byte.
    repl_offset: i64,
    buf: Vec<u8>,
}

impl replBufBlock {
    fn end(&self) -> i64 {
        self.repl_offset.wrapping_add(self.buf.len() as i64)
    }
}

/// The last bytes of the stream.
#[derive(Default)]
pub struct ReplStream {
    blocks: VecDeque<replBufBlock>,
    /// Empty blocks, to be filled next.
    spare: Vec<Vec<u8>>,
    /// The offset of the next byte of the stream.
    end: i64,
    /// The size of a block, and how many of them the backlog takes.
    block_size: usize,
    backlog_blocks: usize,
    /// All replicas that have nothing to send were queued for writing since the last time that one
    /// of them was written to.
    pub queued: bool,
}

impl ReplStream {
    /// Begins anew: the next byte has the offset `end`, and the backlog keeps `size` bytes, whose
    /// memory is allocated here.
    pub fn start(&mut self, end: i64, size: usize) {
        self.clear();
        self.end = end;
        self.set_size(size);
    }

    /// Changes how many bytes the backlog keeps. What replicas have not been sent stays.
    pub fn set_size(&mut self, size: usize) {
        self.block_size = (size / 16).clamp(PROTO_REPLY_CHUNK_BYTES, BLOCK_MAX);
        // The first byte of the backlog is anywhere in the first block.
        self.backlog_blocks = size.div_ceil(self.block_size) + 1;
        self.spare.clear();
        while self.blocks.len() + self.spare.len() < self.backlog_blocks {
            self.spare.push(Vec::with_capacity(self.block_size));
        }
    }

    /// Frees all of it.
    pub fn clear(&mut self) {
        *self = ReplStream { end: self.end, ..ReplStream::default() };
    }

    /// The offset of the next byte of the stream.
    #[inline]
    pub fn end(&self) -> i64 {
        self.end
    }

    /// Adds `delta` to the offset of each byte: what was written is behind another history than it
    /// seemed.
    pub fn rebase(&mut self, delta: i64) {
        self.end += delta;
        for block in &mut self.blocks {
            block.repl_offset += delta;
        }
    }

    /// Appends bytes. Returns whether a block was added: time to look for blocks that nobody needs,
    /// and for replicas that are too far behind.
    #[inline]
    pub fn append(&mut self, p: &[u8]) -> bool {
        if let Some(tail) = self.blocks.back_mut()
            && p.len() <= tail.buf.capacity() - tail.buf.len()
        {
            tail.buf.extend_from_slice(p);
            self.end = self.end.wrapping_add(p.len() as i64);
            return false;
        }
        self.append_slow(p)
    }

    #[cold]
    fn append_slow(&mut self, mut p: &[u8]) -> bool {
        loop {
            if let Some(tail) = self.blocks.back_mut() {
                let room = tail.buf.capacity() - tail.buf.len();
                let (now, later) = p.split_at(room.min(p.len()));
                tail.buf.extend_from_slice(now);
                self.end = self.end.wrapping_add(now.len() as i64);
                p = later;
            }
            if p.is_empty() {
                return true;
            }
            let buf = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(self.block_size));
            self.blocks.push_back(replBufBlock { repl_offset: self.end, buf });
        }
    }

    /// Drops the blocks whose bytes are all before `first`.
    pub fn trim(&mut self, first: i64) {
        while self.blocks.front().is_some_and(|block| block.end() <= first && self.blocks.len() > 1)
        {
            let Some(mut block) = self.blocks.pop_front() else { return };
            let wanted = self.blocks.len() + self.spare.len() < self.backlog_blocks;
            if wanted && block.buf.capacity() == self.block_size {
                block.buf.clear();
                self.spare.push(block.buf);
            }
        }
        // The list of the blocks of a replica that is gone, or has caught up.
        let few = 2 * self.blocks.len().max(self.backlog_blocks);
        if self.blocks.capacity() > 2 * few {
            self.blocks.shrink_to(few);
        }
    }

    /// The index of the block with this byte, which must be there, or be the next one.
    fn index(&self, pos: i64) -> usize {
        self.blocks.partition_point(|block| block.end() <= pos)
    }

    /// Returns the bytes from `pos` on, in pieces.
    pub fn from(&self, pos: i64) -> impl Iterator<Item = &[u8]> {
        self.blocks.range(self.index(pos)..).map(move |block| {
            let skip = usize::try_from(pos.wrapping_sub(block.repl_offset)).unwrap_or(0);
            &block.buf[skip..]
        })
    }

    /// Returns how many bytes there are from `pos` on.
    #[inline]
    pub fn len_from(&self, pos: i64) -> usize {
        usize::try_from(self.end.wrapping_sub(pos)).unwrap_or(0)
    }

    /// Returns in how many blocks they are.
    pub fn blocks_from(&self, pos: i64) -> usize {
        self.blocks.len() - self.index(pos)
    }

    /// Returns the memory that is used beyond that of the backlog, because replicas are behind.
    pub fn excess(&self) -> usize {
        let blocks = self.blocks.len() + self.spare.len();
        match blocks.saturating_sub(self.backlog_blocks) {
            0 => 0,
            more => more * self.block_size + self.blocks.capacity() * size_of::<replBufBlock>(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    /// Against the whole stream: from each place the rest of it is there, as long as somebody needs
    /// it, and the memory is that of the backlog if nobody is further behind.
    #[test]
    fn bytes_stay_as_long_as_needed() {
        let mut rng = Rng::new();
        for _ in 0..20 {
            let size = 1 + rng.below(200_000);
            let start = rng.below(1000) as i64;
            let mut stream = ReplStream::default();
            stream.start(start, size);
            let mut all: Vec<u8> = Vec::new();
            let mut replica = start;
            for _ in 0..100 {
                let len = rng.below(40_000);
                let bytes = rng.bytes(len);
                stream.append(&bytes);
                all.extend_from_slice(&bytes);
                let end = start + all.len() as i64;
                assert_eq!(stream.end(), end);
                if rng.below(4) == 0 {
                    replica = end - rng.below(1 + stream.len_from(replica)) as i64;
                }
                let backlog = (end - size as i64).max(start);
                stream.trim(backlog.min(replica));
                for pos in [backlog, replica, end] {
                    let rest = stream.from(pos).collect::<Vec<_>>().concat();
                    assert_eq!(rest, all[(pos - start) as usize..]);
                    assert_eq!(stream.len_from(pos), rest.len());
                    assert!(stream.blocks_from(pos) <= rest.len() / stream.block_size + 2);
                }
                stream.trim(backlog);
                replica = replica.max(backlog);
                assert_eq!(stream.excess(), 0);
            }
            stream.rebase(7);
            assert_eq!(
                stream.from(replica + 7).collect::<Vec<_>>().concat().len(),
                stream.len_from(replica + 7)
            );
        }
    }
}
