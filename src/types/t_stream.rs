//! `t_stream.c`: streams and their consumer groups.
//!
//! Read first: [`Stream`] and [`streamAppendItem`] (how entries are encoded in listpacks),
//! [`streamIteratorGetID`] (how they are read), [`streamCG`] (consumer groups), then the commands
//! in the order of the C.
//!
//! # Encoding
//!
//! A stream is a radix tree of listpacks. The key of a listpack is its master id, the id of its
//! first entry, as 128 bits big endian, so that the order of the keys is the order of the ids. A
//! listpack begins with a master entry, which is not an entry of the stream: its fields are those
//! of the first entry, and entries with the same fields do not repeat them.
//!
//! ```text
//!     master  count | deleted | number of fields | field ... | 0
//!     entry   flags | ms diff | seq diff | [number of fields] | [field] value ... | lp-count
//! ```
//!
//! - `count` and `deleted` are the numbers of entries in the listpack that are valid, and that are
//!   flagged as deleted.
//! - `ms diff` and `seq diff` are the differences between the two parts of the id and those of the
//!   master id.
//! - With `STREAM_ITEM_FLAG_SAMEFIELDS` what is in brackets is absent.
//! - `lp-count` is the number of elements before it that belong to the entry. Reading from the end,
//!   it leads to the `flags`. The 0 at the end of the master entry stands in the same place, and
//!   tells a reader in reverse that there are no more entries.
//!
//! A deleted entry is only flagged. The listpack is removed when no valid entry is left in it.
//!
//! # Consumer groups
//!
//! A group remembers the last id that it delivered, and a pending entries list (PEL): the messages
//! that were delivered and not acknowledged. Each consumer has a list of its own, with its part of
//! them.
//!
//! # Differs
//!
//! - In the C a pending entry is one `streamNACK`, to which the PEL of the group and the PEL of the
//!   consumer both point. Here the group's list owns it, and it names its consumer by a
//!   [`ConsumerId`]; the consumer's list holds the ids alone.
//! - A [`streamIterator`] borrows nothing: each step is given the stream.
//! - The arguments of a command to propagate are made only if there is an AOF, a replica or a
//!   transaction to propagate them to.

use std::ops::{Deref, Index, IndexMut};

use crate::addReplyErrorFormat;
use crate::args::{Args, Argv};
use crate::blocked::{blockForKeys, signalKeyAsReady, unblockClient, updateStatsOnUnblock};
use crate::db::*;
use crate::ds::adlist::{listNext, listRewind};
use crate::ds::listpack::*;
use crate::ds::rax::*;
use crate::ds::redisassert::assert_some;
use crate::keyspace::*;
use crate::networking::*;
use crate::notify::notifyKeyspaceEvent;
use crate::object::*;
use crate::server::{CommandSpec, afterCommand, command, preventCommandPropagation, propagate};
use crate::server_h::*;
use crate::sys::alloc::zmalloc_good_size;
use crate::sys::clock::{elapsedStart, elapsedUs, mstime};
use crate::sys::mem::{Spare, prefetch};
use crate::timeout::getTimeoutFromObjectOrReply;
use crate::util::{B, c_str, eq_ignore_case, ll2string, short_eq, string2ull, ull2string};

/// The entries of the command table for this file: name, function, arity, flags and keys.
#[rustfmt::skip]
pub const COMMANDS: &[CommandSpec] = {
    const FIRST: (i32, i32, i32) = (1, 1, 1);
    const SECOND: (i32, i32, i32) = (2, 2, 1);
    const NOKEYS: (i32, i32, i32) = (0, 0, 0);
    &[
        command("xadd", xaddCommand, -5, "write use-memory fast random @stream", FIRST),
        command("xrange", xrangeCommand, -4, "read-only @stream", FIRST),
        command("xrevrange", xrevrangeCommand, -4, "read-only @stream", FIRST),
        command("xlen", xlenCommand, 2, "read-only fast @stream", FIRST),
        command("xread", xreadCommand, -4, "read-only @stream @blocking", NOKEYS).getkeys(xreadGetKeys),
        command("xreadgroup", xreadCommand, -7, "write @stream @blocking", NOKEYS).getkeys(xreadGetKeys),
        command("xgroup", xgroupCommand, -2, "write use-memory @stream", SECOND),
        command("xsetid", xsetidCommand, 3, "write use-memory fast @stream", FIRST),
        command("xack", xackCommand, -4, "write fast random @stream", FIRST),
        command("xpending", xpendingCommand, -3, "read-only random @stream", FIRST),
        command("xclaim", xclaimCommand, -6, "write random fast @stream", FIRST),
        command("xautoclaim", xautoclaimCommand, -6, "write random fast @stream", FIRST),
        command("xinfo", xinfoCommand, -2, "read-only random @stream", SECOND),
        command("xdel", xdelCommand, -3, "write fast @stream", FIRST),
        command("xtrim", xtrimCommand, -4, "write random @stream", FIRST),
    ]
};

// Flags of an entry in a listpack: deleted; or without fields, because they are those of the master
// entry.
const STREAM_ITEM_FLAG_NONE: i64 = 0;
const STREAM_ITEM_FLAG_DELETED: i64 = 1 << 0;
const STREAM_ITEM_FLAG_SAMEFIELDS: i64 = 1 << 1;

/// The number of ids in a command up to which they are kept on the stack.
const STREAMID_STATIC_VECTOR_LEN: usize = 8;

/// The maximum size in bytes that is allocated for a new listpack in advance, whatever the limits
/// of a node are.
const STREAM_LISTPACK_MAX_PRE_ALLOCATE: usize = 4096;

/// The maximum size of a listpack in bytes, whatever the configuration allows: its header has 32
/// bits for the size, and an overflow would be an assertion or worse.
const STREAM_LISTPACK_MAX_SIZE: usize = 1 << 30;

/// The smallest and the greatest id that can be represented.
const ID_MIN: streamID = streamID { ms: 0, seq: 0 };
const ID_MAX: streamID = streamID { ms: u64::MAX, seq: u64::MAX };

// -----------------------------------------------------------------------------
// Structures
// -----------------------------------------------------------------------------

/// A stream (the C's `stream`): a radix tree of listpacks, and the consumer groups.
#[derive(Default)]
pub struct Stream {
    /// The listpacks, by the master id as [`streamEncodeID`] encodes it.
    pub rax: Rax<Listpack>,
    /// The number of entries, without those flagged as deleted.
    pub length: u64,
    /// The last id that was added, even if its entry is deleted since; 0-0 at first. New ids have
    /// to be greater.
    pub last_id: streamID,
    /// The groups by name; `None` until the first one is created.
    pub cgroups: Option<Rax<streamCG>>,
    /// The last listpack and its master id, as they were found last: where the next entry goes.
    tail: (RaxPlace, streamID),
}

/// A consumer group. Each message is delivered to one of its consumers, and is pending until that
/// consumer acknowledges it.
pub struct streamCG {
    /// The last id delivered: a consumer that asks for new messages gets those after it.
    pub last_id: streamID,
    /// The pending entries list of the group: the messages of all consumers that were delivered and
    /// not acknowledged, by id ([`streamEncodeID`]).
    pub pel: Rax<streamNACK>,
    /// The consumers, by name.
    pub consumers: Consumers,
}

/// A consumer of a group.
///
/// The pending entries lists of consumer and group agree: an id is in this one if and only if the
/// entry in the group's list names this consumer.
pub struct streamConsumer {
    /// The time at which it last read or claimed, in milliseconds since the epoch.
    pub seen_time: mstime_t,
    /// The name of the consumer, which is case sensitive.
    pub name: Vec<u8>,
    /// The ids in its pending entries list.
    pub pel: Rax<()>,
}

/// A pending entry: a message that was delivered and not acknowledged.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct streamNACK {
    /// The time of the last delivery, in milliseconds since the epoch.
    pub delivery_time: mstime_t,
    /// The number of deliveries.
    pub delivery_count: u64,
    /// The consumer it was last delivered to.
    pub consumer: ConsumerId,
}

/// Names a consumer within its group, as a `streamConsumer *` does in the C.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct ConsumerId(u32);

impl ConsumerId {
    /// No consumer (the C's NULL): the value in an entry that is still being created.
    pub const NONE: ConsumerId = ConsumerId(u32::MAX);
}

/// The consumers of a group, by name and by id. The id of a removed consumer is used again for a
/// new one, so whoever removes a consumer must also remove the pending entries that name it.
#[derive(Default)]
pub struct Consumers {
    names: Rax<ConsumerId>,
    slots: Vec<Option<streamConsumer>>,
    free: Vec<u32>,
}

impl Consumers {
    /// Returns the number of consumers.
    pub fn len(&self) -> u64 {
        raxSize(&self.names)
    }

    /// Returns the id of the consumer with that name, if there is one.
    pub fn find(&self, name: &[u8]) -> Option<ConsumerId> {
        raxFind(&self.names, name).copied()
    }

    /// Returns the consumer with that id; `None` for [`ConsumerId::NONE`].
    pub fn get(&self, id: ConsumerId) -> Option<&streamConsumer> {
        self.slots.get(id.0 as usize)?.as_ref()
    }

    /// Returns the consumer with that id as a mutable reference; `None` for [`ConsumerId::NONE`].
    pub fn get_mut(&mut self, id: ConsumerId) -> Option<&mut streamConsumer> {
        self.slots.get_mut(id.0 as usize)?.as_mut()
    }

    /// Iterates over the consumers in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &streamConsumer> {
        self.names.values().filter_map(|&id| self.get(id))
    }

    /// Returns what the consumers are kept in: the tree of names, the places, and the list of free
    /// places; for active defragmentation.
    pub fn parts_mut(
        &mut self,
    ) -> (&mut Rax<ConsumerId>, &mut Vec<Option<streamConsumer>>, &mut Vec<u32>) {
        (&mut self.names, &mut self.slots, &mut self.free)
    }

    /// Adds a consumer with no pending entries, last seen at `seen_time`. Returns `None` if there
    /// is one of that name.
    pub fn add(&mut self, name: &[u8], seen_time: mstime_t) -> Option<ConsumerId> {
        let id = ConsumerId(self.free.last().copied().unwrap_or(self.slots.len() as u32));
        raxTryInsert(&mut self.names, name, id).ok()?;
        let consumer = Some(streamConsumer { seen_time, name: name.to_vec(), pel: raxNew() });
        match self.free.pop() {
            Some(slot) => self.slots[slot as usize] = consumer,
            None => self.slots.push(consumer),
        }
        Some(id)
    }

    /// Removes and returns the consumer with that name. The pending entries of the group that name
    /// it are the caller's to remove.
    fn remove(&mut self, name: &[u8]) -> Option<streamConsumer> {
        let id = raxRemove(&mut self.names, name)?;
        self.free.push(id.0);
        self.slots[id.0 as usize].take()
    }
}

impl Index<ConsumerId> for Consumers {
    type Output = streamConsumer;
    #[track_caller]
    fn index(&self, id: ConsumerId) -> &streamConsumer {
        self.get(id).expect("there is no such consumer")
    }
}

impl IndexMut<ConsumerId> for Consumers {
    #[track_caller]
    fn index_mut(&mut self, id: ConsumerId) -> &mut streamConsumer {
        self.get_mut(id).expect("there is no such consumer")
    }
}

/// A list of ids that is kept on the stack while it is short, as it mostly is.
struct IdVec {
    len: usize,
    inline: [streamID; STREAMID_STATIC_VECTOR_LEN],
    /// All the ids, once there are more than fit into `inline`.
    heap: Vec<streamID>,
}

impl IdVec {
    /// Returns an empty list.
    fn new() -> IdVec {
        IdVec { len: 0, inline: [ID_MIN; STREAMID_STATIC_VECTOR_LEN], heap: Vec::new() }
    }

    /// Appends an id. The first one that does not fit on the stack moves all of them to the heap.
    fn push(&mut self, id: streamID) {
        if self.len < STREAMID_STATIC_VECTOR_LEN {
            self.inline[self.len] = id;
        } else {
            if self.heap.is_empty() {
                self.heap.extend_from_slice(&self.inline);
            }
            self.heap.push(id);
        }
        self.len += 1;
    }
}

impl Deref for IdVec {
    type Target = [streamID];

    fn deref(&self) -> &[streamID] {
        if self.heap.is_empty() { &self.inline[..self.len] } else { &self.heap }
    }
}

// -----------------------------------------------------------------------------
// Low level stream encoding: a radix tree of listpacks
// -----------------------------------------------------------------------------

/// Returns an empty stream.
pub fn streamNew() -> Stream {
    Stream::default()
}

impl Stream {
    // What comes next is mostly an entry at the end. These three ask for that memory ahead of time,
    // each for what the one before leads to.

    /// Prefetches the stream itself but for its first cache line, which leads here.
    pub fn prefetch(&self) {
        let at = std::ptr::from_ref(self).addr();
        (64..size_of::<Stream>()).step_by(64).for_each(|line| prefetch(at + line));
    }

    /// Prefetches the node of the last listpack, if it is known.
    pub fn prefetch_node(&self) {
        rax_prefetch(&self.rax, &self.tail.0);
    }

    /// Prefetches both ends of the last listpack, if it is known.
    pub fn prefetch_listpack(&self) {
        if let Some(lp) = rax_at(&self.rax, &self.tail.0) {
            let bytes = lp.as_ptr_range();
            prefetch(bytes.start.addr());
            prefetch(bytes.end.addr());
        }
    }

    /// Estimates the number of allocations to free (for `lazyfreeGetFreeEffort`): the nodes of the
    /// radix tree, and for each group as many pending entries as the first group has.
    pub fn free_effort(&self) -> usize {
        let mut effort = self.rax.numnodes();
        if let Some(cgroups) = &self.cgroups
            && let Some(cg) = cgroups.values().next()
        {
            effort += raxSize(cgroups) * (1 + raxSize(&cg.pel));
        }
        effort as usize
    }

    /// Estimates the memory that the stream takes up, in bytes (for `objectComputeSize`), from the
    /// sizes of `sample_size` listpacks.
    pub fn mem_usage(&self, sample_size: usize) -> usize {
        let numele = raxSize(&self.rax) as usize;
        let lp_size = |lp: &Listpack| zmalloc_good_size(lp.capacity());
        let mut asize = size_of::<Stream>() + streamRadixTreeMemoryUsage(&self.rax);

        // The average of the first listpacks stands for all except the last one, which is often not
        // full and is measured.
        let (mut lpsize, mut samples) = (0, 0);
        for lp in self.rax.values().take(sample_size) {
            lpsize += lp_size(lp);
            samples += 1;
        }
        if numele <= samples {
            asize += lpsize;
        } else {
            asize += lpsize.checked_div(samples).unwrap_or(0) * (numele - 1);
            let mut ri = raxStart();
            raxSeek(&mut ri, &self.rax, "$", b"");
            if raxNext(&mut ri, &self.rax) {
                asize += ri.data(&self.rax).map_or(0, lp_size);
            }
        }

        // Consumer groups take up memory for their pending entries.
        for cg in self.cgroups.iter().flat_map(Rax::values) {
            asize += size_of::<streamCG>() + streamRadixTreeMemoryUsage(&cg.pel);
            asize += size_of::<streamNACK>() * raxSize(&cg.pel) as usize;
            for consumer in cg.consumers.iter() {
                asize += size_of::<streamConsumer>() + consumer.name.len();
                asize += streamRadixTreeMemoryUsage(&consumer.pel);
            }
        }
        asize
    }

    /// Returns a copy of the stream, with its groups: [`streamDup`].
    pub fn dup(&self) -> Stream {
        streamDup(self)
    }
}

/// Estimates the memory that a radix tree of ids takes up, in bytes, from its numbers of elements
/// and nodes, with the sizes that they have in the C. The function is in `object.c` there.
pub fn streamRadixTreeMemoryUsage<V>(rax: &Rax<V>) -> usize {
    const C_RAX_NODE: usize = 4;
    let numnodes = rax.numnodes() as usize;
    raxSize(rax) as usize * size_of::<streamID>() + numnodes * (C_RAX_NODE + size_of::<i64>() * 30)
}

/// Sets `id` to its successor. `C_ERR`: it was the greatest id, and has wrapped around to 0-0.
pub fn streamIncrID(id: &mut streamID) -> CResult {
    // The sequence number counts up first, and carries into the milliseconds.
    let (seq, carry) = id.seq.overflowing_add(1);
    let (ms, wrapped) = id.ms.overflowing_add(u64::from(carry));
    *id = streamID { ms, seq };
    if wrapped { C_ERR } else { C_OK }
}

/// Sets `id` to its predecessor. `C_ERR`: it was 0-0, and has wrapped around to the greatest id.
pub fn streamDecrID(id: &mut streamID) -> CResult {
    // The sequence number counts down first, and borrows from the milliseconds.
    let (seq, borrow) = id.seq.overflowing_sub(1);
    let (ms, wrapped) = id.ms.overflowing_sub(u64::from(borrow));
    *id = streamID { ms, seq };
    if wrapped { C_ERR } else { C_OK }
}

/// Returns the id of a new entry: the present time (`now`, in milliseconds) with sequence number 0
/// if that is after `last_id`, else the successor of `last_id`. So ids grow even while the clock
/// stands still or goes back.
// C: reads the clock.
fn streamNextID(last_id: &streamID, now: mstime_t) -> streamID {
    let ms = now as u64;
    if ms > last_id.ms {
        return streamID { ms, seq: 0 };
    }
    let mut id = *last_id;
    // The greatest id wraps around; the caller finds that the result is not greater than `last_id`.
    let _ = streamIncrID(&mut id);
    id
}

/// Returns a copy of a stream for COPY, with its groups, consumers and pending entries, in the same
/// encoding.
pub fn streamDup(s: &Stream) -> Stream {
    let mut new_s = streamNew();
    let mut ri = raxStart();
    raxSeek(&mut ri, &s.rax, "^", b"");
    while raxNext(&mut ri, &s.rax) {
        if let Some(lp) = ri.data(&s.rax) {
            raxInsert(&mut new_s.rax, ri.key(), lp.clone());
        }
    }
    new_s.length = s.length;
    new_s.last_id = s.last_id;

    let Some(cgroups) = &s.cgroups else { return new_s };
    let mut ri_cgroups = raxStart();
    raxSeek(&mut ri_cgroups, cgroups, "^", b"");
    while raxNext(&mut ri_cgroups, cgroups) {
        let Some(cg) = ri_cgroups.data(cgroups) else { continue };
        let new_cg = streamCreateCG(&mut new_s, ri_cgroups.key(), &cg.last_id)
            .expect("the names of groups are different");

        // The consumers of the copy have ids of their own, and the copied entries have to name
        // those. Every entry is in the list of one consumer.
        for consumer in cg.consumers.iter() {
            let Some(id) = new_cg.consumers.add(&consumer.name, consumer.seen_time) else {
                continue;
            };
            let mut ri_cpel = raxStart();
            raxSeek(&mut ri_cpel, &consumer.pel, "^", b"");
            while raxNext(&mut ri_cpel, &consumer.pel) {
                let Some(nack) = raxFind(&cg.pel, ri_cpel.key()) else { continue };
                let nack = streamNACK { consumer: id, ..*nack };
                raxInsert(&mut new_cg.pel, ri_cpel.key(), nack);
                raxInsert(&mut new_cg.consumers[id].pel, ri_cpel.key(), ());
            }
        }
    }
    new_s
}

/// Returns the position of the element after the one at `p`. Panics if there is none: the listpack
/// was validated.
#[inline]
#[track_caller]
fn lpSkip(lp: &[u8], p: usize) -> usize {
    assert_some!(lpNext(lp, p))
}

/// Returns the position `n` elements after `p`. Panics if there are not so many.
#[inline]
fn lp_skip_elements(lp: &[u8], mut p: usize, n: i64) -> usize {
    for _ in 0..n {
        p = lpSkip(lp, p);
    }
    p
}

/// Moves back from the lp-count at `p` to the flags of its entry. Returns `None` if the lp-count is
/// the 0 at the end of the master entry.
#[inline]
fn lp_skip_entry_back(lp: &[u8], mut p: usize) -> Option<usize> {
    let lp_count = lpGetInteger(lp, p);
    assert!(lp_count >= 0);
    if lp_count == 0 {
        return None;
    }
    for _ in 0..lp_count {
        p = assert_some!(lpPrev(lp, p));
    }
    Some(p)
}

/// Returns the number of fields in the master entry of a listpack, and the position of the first of
/// them.
#[inline]
fn lp_master_entry(lp: &[u8]) -> (i64, usize) {
    let (_valid, p) = lp_get_next(lp, assert_some!(lpValidateFirst(lp)));
    let (_deleted, p) = lp_get_next(lp, p);
    let (master_fields_count, p) = lp_integer_and_next(lp, p);
    assert!(master_fields_count >= 0);
    (master_fields_count, p)
}

/// Returns the id that is encoded at `p` as two differences to the master id, and the position
/// after it.
#[inline]
fn lp_get_id(lp: &[u8], p: usize, master_id: &streamID) -> (streamID, usize) {
    let (ms, p) = lp_integer_and_next(lp, p);
    let (seq, p) = lp_integer_and_next(lp, p);
    let ms = master_id.ms.wrapping_add(ms as u64);
    let seq = master_id.seq.wrapping_add(seq as u64);
    (streamID { ms, seq }, p)
}

/// Returns the id of the first or the last entry of a listpack, whether it is deleted or not.
/// Returns `None` if the listpack has none.
fn lpGetEdgeStreamID(lp: &[u8], first: bool, master_id: &streamID) -> Option<streamID> {
    let flags = if first {
        let (fields, p) = lp_master_entry(lp);
        // Going forward, skip the fields and the 0 that ends the master entry.
        lpNext(lp, lp_skip_elements(lp, p, fields))?
    } else {
        lp_skip_entry_back(lp, assert_some!(lpLast(lp)))?
    };
    Some(lp_get_id(lp, lpSkip(lp, flags), master_id).0)
}

/// Encodes an id as a key of a radix tree: one number of 128 bits, big endian, so that the
/// lexicographic order of the keys is the order of the ids.
#[inline]
pub fn streamEncodeID(id: &streamID) -> [u8; 16] {
    (u128::from(id.ms) << 64 | u128::from(id.seq)).to_be_bytes()
}

/// Decodes a key that [`streamEncodeID`] has made. A key of another length, which no stream has, is
/// 0-0.
#[inline]
pub fn streamDecodeID(buf: &[u8]) -> streamID {
    let id = buf.try_into().map_or(0, u128::from_be_bytes);
    streamID { ms: (id >> 64) as u64, seq: id as u64 }
}

/// Returns the id of the first or the last entry of a stream, whether it is deleted or not. For an
/// empty stream it is the greatest (`first`) or the smallest id.
fn streamGetEdgeID(s: &Stream, first: bool) -> streamID {
    let mut ri = raxStart();
    raxSeek(&mut ri, &s.rax, if first { "^" } else { "$" }, b"");
    let none = if first { ID_MAX } else { ID_MIN };
    if !raxNext(&mut ri, &s.rax) {
        return none;
    }
    let master_id = streamDecodeID(ri.key());
    ri.data(&s.rax).and_then(|lp| lpGetEdgeStreamID(lp, first, &master_id)).unwrap_or(none)
}

/// The reason for which [`streamAppendItem`] refused an entry.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum AppendError {
    /// The id is not greater than the last id of the stream.
    EDOM,
    /// The fields and values are too large for a listpack.
    ERANGE,
}

/// The limits of a node: `stream-node-max-bytes` and `stream-node-max-entries`; 0 is no limit.
#[derive(Copy, Clone, Debug)]
pub struct NodeLimits {
    /// The size of the listpack in bytes.
    pub max_bytes: usize,
    /// The number of entries, deleted ones included.
    pub max_entries: i64,
}

impl NodeLimits {
    /// Returns the limits of the configuration.
    pub fn of(server: &Server) -> NodeLimits {
        NodeLimits {
            max_bytes: server.stream_node_max_bytes,
            max_entries: server.stream_node_max_entries,
        }
    }
}

/// Appends an entry with `numfields` fields to a stream and returns its id: `use_id`, or one that
/// is generated at the time `now` (`streamNextID`).
///
/// `ele` returns the fields and values by index: field 0, value 0, field 1 and so on. After an
/// error the stream is unchanged.
pub fn streamAppendItem<'a>(
    s: &mut Stream,
    limits: NodeLimits,
    numfields: usize,
    ele: impl Fn(usize) -> &'a [u8],
    use_id: Option<&streamID>,
    now: mstime_t,
) -> Result<streamID, AppendError> {
    // The id of the client is not checked further than that it is greater than all before it: it
    // may lie in the future, and generated ids then continue from it.
    let id = use_id.copied().unwrap_or_else(|| streamNextID(&s.last_id, now));

    // A generated id can also fail this check, if it has wrapped around.
    if id <= s.last_id {
        return Err(AppendError::EDOM);
    }

    // A listpack has 32 bits for the length of a string, and for its own size.
    // The sum cannot wrap around and pass for a small one.
    let totelelen = (0..numfields * 2).fold(0usize, |total, i| total.saturating_add(ele(i).len()));
    if totelelen > STREAM_LISTPACK_MAX_SIZE {
        return Err(AppendError::ERANGE);
    }

    // Append to the last listpack, unless it is full or there is none. Ids only grow, so the new
    // entry belongs at the end.
    // C: looks for it each time.
    if !rax_is_at(&s.rax, &s.tail.0) {
        let mut ri = raxStart();
        raxSeek(&mut ri, &s.rax, "$", b"");
        if raxNext(&mut ri, &s.rax) {
            s.tail = (ri.place(), streamDecodeID(ri.key()));
        }
    }
    let mut new_node = true;
    if let Some(lp) = rax_at_mut(&mut s.rax, &s.tail.0) {
        let mut node_max_bytes = limits.max_bytes;
        if node_max_bytes == 0 || node_max_bytes > STREAM_LISTPACK_MAX_SIZE {
            // No limit, or one that a listpack can't have.
            node_max_bytes = STREAM_LISTPACK_MAX_SIZE;
        }
        // Only the texts of the fields and values are counted, neither their encoding nor that
        // numbers take less room: the limit is a target for the size of a node, and no promise to
        // the byte.
        new_node = if lpBytes(lp) + totelelen >= node_max_bytes {
            true
        } else if limits.max_entries != 0 {
            // The limit counts valid and deleted entries, since both take up room.
            let (count, p) = lp_integer_and_next(lp, assert_some!(lpValidateFirst(lp)));
            let (deleted, _) = lp_integer_and_next(lp, p);
            count.wrapping_add(deleted) >= limits.max_entries
        } else {
            false
        };
        if new_node {
            // This listpack is complete: return the memory that was allocated in advance.
            lpShrinkToFit(lp);
        }
    }

    let numfields_i64 = numfields as i64;
    let mut flags = STREAM_ITEM_FLAG_NONE;
    let master_id;
    let lp = if new_node {
        master_id = id;
        // The first entry is not part of the master entry, it is only the reference for the fields.
        let mut lp = lpNew(0);
        // The master entry: one valid entry, no deleted one, the fields, and the terminator.
        let mut end = LpEnd::new(&mut lp);
        end.append_integer(1);
        end.append_integer(0);
        end.append_integer(numfields_i64);
        for i in 0..numfields {
            end.append(ele(i * 2));
        }
        end.append_integer(0);
        drop(end);
        flags |= STREAM_ITEM_FLAG_SAMEFIELDS;
        let rax_key = streamEncodeID(&id);
        raxInsert(&mut s.rax, &rax_key, lp);
        rax_find_mut(&mut s.rax, &rax_key).expect("it was inserted just now")
    } else {
        master_id = s.tail.1;
        let lp = rax_at_mut(&mut s.rax, &s.tail.0).expect("it was there before");
        let first = assert_some!(lpValidateFirst(lp));
        let (count, _) = lp_integer_and_next(lp, first);
        lpReplaceInteger(lp, first, count.wrapping_add(1));
        // Entries with the fields of the master entry do not repeat them, which saves much memory
        // for the usual stream.
        let (master_fields_count, p) = lp_master_entry(lp);
        if master_fields_count == numfields_i64 && has_master_fields(lp, p, numfields, &ele) {
            flags |= STREAM_ITEM_FLAG_SAMEFIELDS;
        }
        lp
    };

    // Memory is allocated in advance, so that not every XADD reallocates the listpack.
    // C: takes all that a node may have, 4 KB, for the first entry. Of a stream that has few entries
    // nearly all of it would stay empty.
    let mut prealloc = STREAM_LISTPACK_MAX_PRE_ALLOCATE;
    if limits.max_bytes > 0 {
        prealloc = prealloc.min(limits.max_bytes);
    }
    const ENTRY_OVERHEAD: usize = 32;
    lp_grow_ahead(lp, totelelen + ENTRY_OVERHEAD, prealloc);

    // Append the entry, in the encoding that the head of this file describes.
    let samefields = flags & STREAM_ITEM_FLAG_SAMEFIELDS != 0;
    let mut end = LpEnd::new(lp);
    end.append_integer(flags);
    end.append_integer(id.ms.wrapping_sub(master_id.ms) as i64);
    end.append_integer(id.seq.wrapping_sub(master_id.seq) as i64);
    if !samefields {
        end.append_integer(numfields_i64);
    }
    for i in 0..numfields {
        if !samefields {
            end.append(ele(i * 2));
        }
        end.append(ele(i * 2 + 1));
    }
    // The elements of the entry: values, flags and the two parts of the id, and, unless the fields
    // are those of the master entry, the fields and their number.
    let lp_count = numfields_i64 + 3 + if samefields { 0 } else { numfields_i64 + 1 };
    end.append_integer(lp_count);
    drop(end);

    // Only now, when nothing can fail any more, so that an error leaves the stream as it was.
    s.length = s.length.wrapping_add(1);
    s.last_id = id;
    Ok(id)
}

/// Tells whether the `n` fields of the master entry, from `p` on, are the fields that `ele`
/// returns.
#[inline(always)]
fn has_master_fields<'a>(
    lp: &[u8],
    mut p: usize,
    n: usize,
    ele: &impl Fn(usize) -> &'a [u8],
) -> bool {
    for i in 0..n {
        let (field, next) = lp_get_next(lp, p);
        let same = match field {
            ListpackEntry::Str(field) => short_eq(field, ele(i * 2)),
            ListpackEntry::Int(field) => ll2string(field)[..] == *ele(i * 2),
        };
        if !same {
            return false;
        }
        p = next;
    }
    true
}

/// The criterion by which a stream is trimmed.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum TrimStrategy {
    /// No trimming.
    #[default]
    TRIM_STRATEGY_NONE,
    /// By a maximum length.
    TRIM_STRATEGY_MAXLEN,
    /// By a minimum id.
    TRIM_STRATEGY_MINID,
}
use TrimStrategy::*;

/// The parsed options of XADD and XTRIM.
#[derive(Copy, Clone, Default, Debug)]
pub struct streamAddTrimArgs {
    /// XADD: the id of the new entry; `None` for `*`.
    pub id: Option<streamID>,
    /// XADD: do not create the key if it does not exist.
    pub no_mkstream: bool,
    /// The criterion of the trimming.
    pub trim_strategy: TrimStrategy,
    /// The index of the threshold in the arguments, to rewrite it for the replicas.
    pub trim_strategy_arg_idx: usize,
    /// Remove only whole nodes (`~`), which is fast, and may leave more entries than asked for.
    pub approx_trim: bool,
    /// The maximum number of entries to remove, so that the command does not take too long; 0 is no
    /// limit.
    pub limit: i64,
    /// The maximum length of the stream (MAXLEN).
    pub maxlen: i64,
    /// The minimum id of an entry (MINID).
    pub minid: streamID,
}

/// Trims a stream as `args` say, from its beginning, where the oldest entries are. Returns the
/// number of entries removed.
///
/// Whole nodes are removed first. In the last node concerned, entries are flagged as deleted one by
/// one, or stay if `approx_trim` is set. Nothing is removed if the stream is within its limits
/// already, or if with `approx_trim` the first node has entries to keep, or if the first node has
/// more entries than `limit`.
pub fn streamTrim(s: &mut Stream, args: &streamAddTrimArgs) -> i64 {
    let maxlen = args.maxlen as u64;
    let by_length = match args.trim_strategy {
        TRIM_STRATEGY_NONE => return 0,
        TRIM_STRATEGY_MAXLEN => true,
        TRIM_STRATEGY_MINID => false,
    };

    let mut deleted: i64 = 0;
    let mut ri = raxStart();
    raxSeek(&mut ri, &s.rax, "^", b"");
    while raxNext(&mut ri, &s.rax) {
        // MINID has no such check, since the length tells nothing about ids: its first node that
        // has entries to keep ends the loop below.
        if by_length && s.length <= maxlen {
            break;
        }
        let master_id = streamDecodeID(ri.key());
        let Some(lp) = ri.data_mut(&mut s.rax) else { break };
        let entries = lpGetInteger(lp, assert_some!(lpFirst(lp)));

        // Stop before the node with which the limit would be exceeded.
        if args.limit != 0 && deleted.wrapping_add(entries) > args.limit {
            break;
        }

        // A node goes as a whole if the stream keeps `maxlen` entries without it, or if its last
        // entry is below `minid` too.
        let remove_node = if by_length {
            s.length.wrapping_sub(entries as u64) >= maxlen
        } else {
            lpGetEdgeStreamID(lp, false, &master_id).is_some_and(|last_id| last_id < args.minid)
        };
        if remove_node {
            // The iterator is not moved by this: its next step looks for the key after the one that
            // was removed.
            raxRemove(&mut s.rax, ri.key());
            s.length = s.length.wrapping_sub(entries as u64);
            deleted = deleted.wrapping_add(entries);
            continue;
        }

        // Only a part of this node has to go, which `~` leaves. No node after it is concerned.
        if !args.approx_trim {
            // Entries are flagged from the oldest on, until the stream is within its limit.
            let keep = |id: &streamID, length| {
                if by_length { length <= maxlen } else { *id >= args.minid }
            };
            // The listpack is not rewritten without its flagged entries: their memory comes back
            // when the node is removed as a whole. Here the numbers in its head are brought up to
            // date.
            let from_lp = lp_trim(lp, &master_id, &mut s.length, keep);
            deleted = deleted.wrapping_add(from_lp);
            lp_count_deleted(lp, from_lp);
        }
        break;
    }
    deleted
}

/// Flags the entries of a listpack as deleted, one by one from the first, until `keep` returns true
/// for the id of the next one and the length of the stream. Counts `length` down. Returns the
/// number of entries flagged.
fn lp_trim(
    lp: &mut Listpack,
    master_id: &streamID,
    length: &mut u64,
    keep: impl Fn(&streamID, u64) -> bool,
) -> i64 {
    let mut deleted = 0;
    let (master_fields, p) = lp_master_entry(lp);
    let mut next = lpNext(lp, lp_skip_elements(lp, p, master_fields));
    while let Some(at) = next {
        let entry = lp_read_entry(lp, at, master_id, master_fields);
        if keep(&entry.id, *length) {
            break;
        }
        // Skip the values and the lp-count of the entry.
        let values = entry.elements();
        next = lpNext(lp, lp_skip_elements(lp, entry.start, values));
        if entry.flags & STREAM_ITEM_FLAG_DELETED == 0 {
            // The flags take one byte before and after, so the positions in the listpack stay
            // valid.
            lpReplaceInteger(lp, at, entry.flags | STREAM_ITEM_FLAG_DELETED);
            deleted += 1;
            *length = length.wrapping_sub(1);
        }
    }
    deleted
}

/// Subtracts `n` from the count of valid entries in the head of a listpack, and adds it to that of
/// the deleted ones.
fn lp_count_deleted(lp: &mut Listpack, n: i64) {
    let p = assert_some!(lpFirst(lp));
    let entries = lpGetInteger(lp, p);
    lpReplaceInteger(lp, p, entries.wrapping_sub(n));
    let p = lpSkip(lp, p);
    let marked_deleted = lpGetInteger(lp, p);
    lpReplaceInteger(lp, p, marked_deleted.wrapping_add(n));
}

/// The parsed head of an entry in a listpack.
struct LpEntry {
    flags: i64,
    id: streamID,
    numfields: i64,
    /// The position of its first field, or with `STREAM_ITEM_FLAG_SAMEFIELDS` of its first value.
    start: usize,
}

impl LpEntry {
    /// Returns the number of elements that its fields and values take, without the lp-count.
    fn elements(&self) -> i64 {
        if self.flags & STREAM_ITEM_FLAG_SAMEFIELDS != 0 {
            self.numfields
        } else {
            self.numfields.saturating_mul(2)
        }
    }
}

/// Parses the entry whose flags are at `p`. `master_fields` is the number of fields of the master
/// entry.
#[inline]
fn lp_read_entry(lp: &[u8], p: usize, master_id: &streamID, master_fields: i64) -> LpEntry {
    let (flags, ids) = lp_integer_and_next(lp, p);
    let (id, mut start) = lp_get_id(lp, ids, master_id);
    let mut numfields = master_fields;
    if flags & STREAM_ITEM_FLAG_SAMEFIELDS == 0 {
        (numfields, start) = lp_integer_and_next(lp, start);
    }
    assert!(numfields >= 0);
    LpEntry { flags, id, numfields, start }
}

/// Trims a stream to a length. With `approx` only whole nodes are removed, and no more entries than
/// the default of LIMIT. Returns the number of entries removed.
pub fn streamTrimByLength(s: &mut Stream, limits: NodeLimits, maxlen: i64, approx: bool) -> i64 {
    streamTrim(
        s,
        &streamAddTrimArgs {
            trim_strategy: TRIM_STRATEGY_MAXLEN,
            approx_trim: approx,
            limit: if approx { default_trim_limit(limits) } else { 0 },
            maxlen,
            ..Default::default()
        },
    )
}

/// Removes the entries with an id below `minid`. With `approx` only whole nodes are removed, and no
/// more entries than the default of LIMIT. Returns the number of entries removed.
pub fn streamTrimByID(s: &mut Stream, limits: NodeLimits, minid: streamID, approx: bool) -> i64 {
    streamTrim(
        s,
        &streamAddTrimArgs {
            trim_strategy: TRIM_STRATEGY_MINID,
            approx_trim: approx,
            limit: if approx { default_trim_limit(limits) } else { 0 },
            minid,
            ..Default::default()
        },
    )
}

/// Returns the default of LIMIT: a hundred full nodes. Without it a single command could remove
/// millions of entries and block the server; the price is that some stay that should be trimmed.
fn default_trim_limit(limits: NodeLimits) -> i64 {
    limits.max_entries.saturating_mul(100)
}

/// Parses the options of XADD (`xadd`) or XTRIM. Returns them with the index of the id, which only
/// XADD has. `Err`: an error was replied.
fn streamParseAddOrTrimArgsOrReply(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    xadd: bool,
) -> Result<(streamAddTrimArgs, usize), ()> {
    let mut args = streamAddTrimArgs::default();
    let mut limit_given = false;
    let mut i = 2;
    while i < argv.len() {
        let moreargs = argv.len() - 1 - i;
        let opt = argv.get(i);
        // The id `*` ends the options, and the fields follow.
        if xadd && (opt == b"*" || c_str(opt) == b"*") {
            break;
        }
        let maxlen = eq_ignore_case(opt, b"maxlen");
        if (maxlen || eq_ignore_case(opt, b"minid")) && moreargs > 0 {
            if args.trim_strategy != TRIM_STRATEGY_NONE {
                addReplyError(
                    server,
                    c,
                    b"syntax error, MAXLEN and MINID options at the same time are not compatible",
                );
                return Err(());
            }
            let next = c_str(argv.get(i + 1));
            // `=` is the default, and may be given.
            args.approx_trim = moreargs >= 2 && next == b"~";
            if moreargs >= 2 && (next == b"~" || next == b"=") {
                i += 1;
            }
            i += 1;
            if maxlen {
                args.maxlen = getLongLongFromObjectOrReply(server, c, &argv[i], None)?;
                if args.maxlen < 0 {
                    addReplyError(server, c, b"The MAXLEN argument must be >= 0.");
                    return Err(());
                }
                args.trim_strategy = TRIM_STRATEGY_MAXLEN;
            } else {
                args.minid = streamParseStrictIDOrReply(server, c, &argv[i], 0)?;
                args.trim_strategy = TRIM_STRATEGY_MINID;
            }
            args.trim_strategy_arg_idx = i;
        } else if eq_ignore_case(opt, b"limit") && moreargs > 0 {
            args.limit = getLongLongFromObjectOrReply(server, c, &argv[i + 1], None)?;
            if args.limit < 0 {
                addReplyError(server, c, b"The LIMIT argument must be >= 0.");
                return Err(());
            }
            limit_given = true;
            i += 1;
        } else if xadd && eq_ignore_case(opt, b"nomkstream") {
            args.no_mkstream = true;
        } else if xadd {
            // Anything else has to be the id, which ends the options.
            args.id = Some(streamParseStrictIDOrReply(server, c, opt, 0)?);
            break;
        } else {
            addReplyErrorObject(server, c, shared::syntaxerr);
            return Err(());
        }
        i += 1;
    }

    // LIMIT makes no sense alone.
    if args.limit != 0 && args.trim_strategy == TRIM_STRATEGY_NONE {
        addReplyError(
            server,
            c,
            b"syntax error, LIMIT cannot be used without specifying a trimming strategy",
        );
        return Err(());
    }
    if !xadd && args.trim_strategy == TRIM_STRATEGY_NONE {
        addReplyError(server, c, b"syntax error, XTRIM must be called with a trimming strategy");
        return Err(());
    }

    if server.master == Some(c) || server[c].id == CLIENT_ID_AOF {
        // No limit for a command from the master or the AOF: its threshold was rewritten to the
        // exact result, and the data sets must not differ.
        args.limit = 0;
    } else if limit_given {
        if !args.approx_trim {
            addReplyError(
                server,
                c,
                b"syntax error, LIMIT cannot be used without the special ~ option",
            );
            return Err(());
        }
    } else if args.approx_trim {
        // An exact trimming (no `~`) is never limited.
        args.limit = default_trim_limit(NodeLimits::of(server));
    }
    Ok((args, i))
}

// -----------------------------------------------------------------------------
// Iterator
// -----------------------------------------------------------------------------

/// An iterator over the entries of a stream between two ids, both included.
///
/// ```text
/// let mut si = streamIteratorStart(s, None, None, false);
/// while let Some((id, numfields)) = streamIteratorGetID(&mut si, s) {
///     for _ in 0..numfields {
///         let (field, value) = streamIteratorGetField(&mut si, s);
///     }
/// }
/// ```
pub struct streamIterator {
    /// The master id of the current listpack.
    master_id: streamID,
    master_fields_count: i64,
    master_fields_start: usize,
    /// The position of the master entry's field to return next.
    master_fields_ptr: Option<usize>,
    entry_flags: i64,
    rev: bool,
    start: streamID,
    end: streamID,
    ri: RaxIterator,
    /// The position in the current listpack. `None`: continue with the next one.
    lp_ele: Option<usize>,
    /// The position of the flags of the current entry.
    lp_flags: usize,
}

/// The result of a step within a listpack.
enum IteratorStep {
    Entry(streamID, i64),
    OutOfRange,
}

/// Starts an iteration from `start` to `end`, both included; `None` stands for the smallest or the
/// greatest id. With `rev` it runs from `end` to `start`.
pub fn streamIteratorStart(
    s: &Stream,
    start: Option<&streamID>,
    end: Option<&streamID>,
    rev: bool,
) -> streamIterator {
    let (start, end) = (*start.unwrap_or(&ID_MIN), *end.unwrap_or(&ID_MAX));
    let mut ri = raxStart();
    // The node that can hold an id is the last one whose key is not greater. If all keys are
    // greater, start at the edge.
    let (from, edge) = if rev { (end, "$") } else { (start, "^") };
    if from == ID_MAX {
        raxSeek(&mut ri, &s.rax, "$", b"");
    } else if from != ID_MIN {
        raxSeek(&mut ri, &s.rax, "<=", &streamEncodeID(&from));
    }
    if raxEOF(&ri) {
        raxSeek(&mut ri, &s.rax, edge, b"");
    }
    streamIterator {
        master_id: ID_MIN,
        master_fields_count: 0,
        master_fields_start: 0,
        master_fields_ptr: None,
        entry_flags: 0,
        rev,
        start,
        end,
        ri,
        lp_ele: None,
        lp_flags: 0,
    }
}

/// Moves to the next entry that is not deleted and within the range. Returns its id and its number
/// of fields, for each of which [`streamIteratorGetField`] can be called. Returns `None` at the
/// end.
pub fn streamIteratorGetID(si: &mut streamIterator, s: &Stream) -> Option<(streamID, i64)> {
    loop {
        let lp: &[u8];
        if si.lp_ele.is_none() {
            // The start of the iteration, or the end of a listpack: go to the next node.
            let found =
                if si.rev { raxPrev(&mut si.ri, &s.rax) } else { raxNext(&mut si.ri, &s.rax) };
            if !found {
                return None;
            }
            lp = si.ri.data(&s.rax)?;
            si.master_id = streamDecodeID(si.ri.key());
            let (fields, p) = lp_master_entry(lp);
            (si.master_fields_count, si.master_fields_start) = (fields, p);
            // Going forward, start at the 0 that ends the master entry. In reverse, start at the
            // lp-count that ends the last entry.
            si.lp_ele = Some(if si.rev {
                assert_some!(lpLast(lp))
            } else {
                lp_skip_elements(lp, p, fields)
            });
        } else {
            lp = si.ri.data(&s.rax)?;
            if si.rev {
                // Move to the lp-count of the previous entry. C: it jumps back by the lp-count of
                // this entry, which requires that all its fields were read.
                si.lp_ele = Some(assert_some!(lpPrev(lp, si.lp_flags)));
            }
        }
        match stream_iterator_step(si, lp) {
            Some(IteratorStep::Entry(id, numfields)) => return Some((id, numfields)),
            Some(IteratorStep::OutOfRange) => return None,
            // The listpack has no more entries; continue with the next one.
            None => si.lp_ele = None,
        }
    }
}

/// Moves from the lp-count before an entry (in reverse: at its end) to the entry, and on over
/// deleted entries and those before the range. Returns `None` at the end of the listpack.
#[inline]
fn stream_iterator_step(si: &mut streamIterator, lp: &[u8]) -> Option<IteratorStep> {
    let mut ele = si.lp_ele?;
    loop {
        if !si.rev {
            ele = lpNext(lp, ele)?;
        } else {
            ele = lp_skip_entry_back(lp, ele)?;
        }
        si.lp_flags = ele;
        let entry = lp_read_entry(lp, ele, &si.master_id, si.master_fields_count);

        // The node may begin before the range; entries of it are skipped until the range begins.
        let reached = if si.rev { entry.id <= si.end } else { entry.id >= si.start };
        if reached && entry.flags & STREAM_ITEM_FLAG_DELETED == 0 {
            let beyond = if si.rev { entry.id < si.start } else { entry.id > si.end };
            if beyond {
                return Some(IteratorStep::OutOfRange);
            }
            si.entry_flags = entry.flags;
            si.master_fields_ptr = Some(si.master_fields_start);
            si.lp_ele = Some(entry.start);
            return Some(IteratorStep::Entry(entry.id, entry.numfields));
        }

        // This entry is not returned: move to the lp-count of the previous entry, or of this one.
        ele = if si.rev {
            assert_some!(lpPrev(lp, si.lp_flags))
        } else {
            lp_skip_elements(lp, entry.start, entry.elements())
        };
    }
}

/// Returns the next field and value of the current entry. It must be called once for each field,
/// after [`streamIteratorGetID`] has returned their number.
#[inline]
pub fn streamIteratorGetField<'a>(
    si: &mut streamIterator,
    s: &'a Stream,
) -> (ListpackEntry<'a>, ListpackEntry<'a>) {
    let lp: &'a [u8] = assert_some!(si.ri.data(&s.rax));
    let next = |place: &mut Option<usize>| {
        let at = assert_some!(*place);
        let (element, next) = lp_get_next(lp, at);
        *place = Some(next);
        element
    };
    // The field comes from the master entry if the entry does not repeat its fields.
    let field = if si.entry_flags & STREAM_ITEM_FLAG_SAMEFIELDS != 0 {
        next(&mut si.master_fields_ptr)
    } else {
        next(&mut si.lp_ele)
    };
    (field, next(&mut si.lp_ele))
}

/// Removes the current entry, whose id is `current`. It is flagged as deleted and the counts are
/// updated; if it was the last valid entry of its node the node is removed.
///
/// No more fields can be read afterwards: the iterator is moved to the next entry, and has to
/// continue with [`streamIteratorGetID`].
pub fn streamIteratorRemoveEntry(si: &mut streamIterator, s: &mut Stream, current: &streamID) {
    if let Some(lp) = si.ri.data_mut(&mut s.rax) {
        let flags = lpGetInteger(lp, si.lp_flags);
        lpReplaceInteger(lp, si.lp_flags, flags | STREAM_ITEM_FLAG_DELETED);
        // This was the last valid entry of the listpack.
        if lpGetInteger(lp, assert_some!(lpFirst(lp))) == 1 {
            raxRemove(&mut s.rax, si.ri.key());
        } else {
            lp_count_deleted(lp, 1);
        }
    }
    s.length = s.length.wrapping_sub(1);

    // The positions in the listpack may have changed: seek again, from the deleted entry on.
    let (start, end) = if si.rev { (si.start, *current) } else { (*current, si.end) };
    *si = streamIteratorStart(s, Some(&start), Some(&end), si.rev);
}

/// Removes the entry with that id. Returns `false` if there is none.
pub fn streamDeleteItem(s: &mut Stream, id: &streamID) -> bool {
    let mut si = streamIteratorStart(s, Some(id), Some(id), false);
    let Some((myid, _)) = streamIteratorGetID(&mut si, s) else { return false };
    streamIteratorRemoveEntry(&mut si, s, &myid);
    true
}

/// Returns the id of the last entry that is not deleted; 0-0 if there is none.
pub fn streamLastValidID(s: &Stream) -> streamID {
    let mut si = streamIteratorStart(s, None, None, true);
    match streamIteratorGetID(&mut si, s) {
        Some((id, _)) => id,
        None if s.length == 0 => ID_MIN,
        None => panic!("Corrupt stream, length is {}, but no max id", s.length),
    }
}

/// The text of an id, `<ms>-<seq>`, or of a length, in a buffer on the stack.
#[derive(Copy, Clone)]
pub struct StreamIDText {
    len: usize,
    buf: [u8; 41],
}

impl Deref for StreamIDText {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buf[..self.len]
    }
}

/// Replies with an id as a bulk string, `<ms>-<seq>`.
#[inline]
pub fn addReplyStreamID(clients: &mut impl AsMut<Clients>, c: ClientId, id: &streamID) {
    const ROOM: usize = 64;
    add_reply_pieces(clients, c, ROOM, |out| append_stream_id(&mut Spare::new(out, ROOM), id));
}

/// Appends an id as a bulk, as [`addReplyStreamID`] would queue it. `false`: there may be too little
/// room, for which 64 bytes are enough, and nothing was done.
#[inline(always)]
fn append_stream_id(room: &mut Spare, id: &streamID) -> bool {
    if let (Some([ms, more_ms]), Some([seq, more_seq])) =
        (sixteen_digits(id.ms), sixteen_digits(id.seq))
        && let len = ms.1 + more_ms.1 + 1 + seq.1 + more_seq.1
        && let Some(header) = short_header(b'$', len as u64)
    {
        let minus = (*b"-       ", 1);
        return room.line_of_words([header, ms, more_ms, minus, seq, more_seq]);
    }
    let text = createObjectFromStreamID(id);
    append_small_bulk(room, &text, text.len())
}

/// Returns the text of an id, for a reply or an argument to propagate.
pub fn createObjectFromStreamID(id: &streamID) -> StreamIDText {
    let (ms, seq) = (ull2string(id.ms), ull2string(id.seq));
    let len = ms.len() + 1 + seq.len();
    let mut buf = [0; 41];
    buf[..ms.len()].copy_from_slice(&ms);
    buf[ms.len()] = b'-';
    buf[ms.len() + 1..len].copy_from_slice(&seq);
    StreamIDText { len, buf }
}

/// Tells whether a command that is propagated reaches an AOF, a replica or a transaction. If not,
/// its arguments need not be made. A transaction counts, because it has to learn that something was
/// propagated.
fn needs_propagation(server: &Server) -> bool {
    server.repl_backlog || server.aof_state != AOF_OFF || server.in_exec
}

/// Propagates the delivery or the claim of a message as an XCLAIM that creates or changes the
/// pending entry, with all that a replica needs: owner, time and number of deliveries, and the last
/// id of the group. It is idempotent: whatever state the replica has, the result is the same.
/// JUSTID spares the replica the lookup of the message.
///
/// `idarg` is the id as text, and `last_id` the last id of the group.
fn streamPropagateXCLAIM(
    server: &mut Server,
    c: ClientId,
    (key, groupname, consumername): (&[u8], &[u8], &[u8]),
    last_id: &streamID,
    idarg: &[u8],
    nack: &streamNACK,
) {
    if !needs_propagation(server) {
        return;
    }
    let argv = Argv::new(&[
        b"XCLAIM" as &[u8],
        key,
        groupname,
        consumername,
        b"0",
        idarg,
        b"TIME",
        &ll2string(nack.delivery_time),
        b"RETRYCOUNT",
        &ll2string(nack.delivery_count as i64),
        b"FORCE",
        b"JUSTID",
        b"LASTID",
        &createObjectFromStreamID(last_id),
    ]);
    // `propagate` is called directly, because this is not always within a command: a blocked client
    // may be served. No MULTI and EXEC around it is needed, as each XCLAIM is complete in itself.
    let (cmd, dbid) = (server.commands.xclaimCommand, server[c].db as i32);
    propagate(server, cmd, dbid, &argv.as_args(), PROPAGATE_AOF | PROPAGATE_REPL);
}

/// Propagates the last id of a group as XGROUP SETID, after an XREADGROUP with NOACK: without
/// pending entries there is no XCLAIM that has it.
fn streamPropagateGroupID(
    server: &mut Server,
    c: ClientId,
    (key, groupname): (&[u8], &[u8]),
    last_id: &streamID,
) {
    if !needs_propagation(server) {
        return;
    }
    let id = createObjectFromStreamID(last_id);
    let argv = Argv::new(&[b"XGROUP" as &[u8], b"SETID", key, groupname, &id]);
    let (cmd, dbid) = (server.commands.xgroupCommand, server[c].db as i32);
    propagate(server, cmd, dbid, &argv.as_args(), PROPAGATE_AOF | PROPAGATE_REPL);
}

/// Propagates the creation of a consumer as XGROUP CREATECONSUMER, when no XCLAIM follows that
/// creates it on the replica.
pub fn streamPropagateConsumerCreation(
    server: &mut Server,
    c: ClientId,
    key: &[u8],
    groupname: &[u8],
    consumername: &[u8],
) {
    if !needs_propagation(server) {
        return;
    }
    let argv = Argv::new(&[b"XGROUP" as &[u8], b"CREATECONSUMER", key, groupname, consumername]);
    let (cmd, dbid) = (server.commands.xgroupCommand, server[c].db as i32);
    propagate(server, cmd, dbid, &argv.as_args(), PROPAGATE_AOF | PROPAGATE_REPL);
}

// -----------------------------------------------------------------------------
// Replies with entries
// -----------------------------------------------------------------------------

/// Flag of [`streamReplyWithRange`]: create no pending entries.
const STREAM_RWR_NOACK: i32 = 1 << 0;
/// Flag of [`streamReplyWithRange`]: reply from the pending entries list of the consumer alone.
const STREAM_RWR_HISTORY: i32 = 1 << 2;

/// The consumer that reads from a group, and the names to propagate it with (the C's `group`,
/// `consumer` and `spi`).
#[derive(Copy, Clone)]
struct GroupReader<'a> {
    key: &'a [u8],
    groupname: &'a [u8],
    consumername: &'a [u8],
    consumer: ConsumerId,
}

/// Replies with the current entry of an iterator: an array of its id, and an array of its fields
/// and values.
#[inline]
fn add_reply_stream_entry(
    clients: &mut Clients,
    c: ClientId,
    s: &Stream,
    si: &mut streamIterator,
    (id, numfields): (&streamID, i64),
) {
    addReplyArrayLen(clients, c, 2);
    addReplyStreamID(clients, c, id);
    addReplyArrayLen(clients, c, numfields * 2);
    for _ in 0..numfields {
        let (field, value) = streamIteratorGetField(si, s);
        for ele in [field, value] {
            match ele {
                ListpackEntry::Str(text) => addReplyBulkCBuffer(clients, c, text),
                ListpackEntry::Int(n) => addReplyBulkLongLong(clients, c, n),
            }
        }
    }
}

/// Appends the current entry of an iterator to replies that are gathered in `out`, as
/// `add_reply_stream_entry` would queue it. What is gathered is queued when it is much.
#[inline]
fn gather_stream_entry(
    clients: &mut Clients,
    c: ClientId,
    out: &mut Vec<u8>,
    s: &Stream,
    si: &mut streamIterator,
    (id, numfields): (&streamID, i64),
) {
    out.extend_from_slice(b"*2\r\n");
    append_stream_id(&mut Spare::new(out, 64), id);
    out.push(b'*');
    out.extend_from_slice(&ll2string(numfields * 2));
    out.extend_from_slice(b"\r\n");
    for _ in 0..numfields {
        let (field, value) = streamIteratorGetField(si, s);
        for ele in [field, value] {
            match ele {
                ListpackEntry::Str(text) if text.len() < REPLY_GATHER / 4 => {
                    append_reply_bulk(out, text)
                }
                ListpackEntry::Int(n) => append_reply_bulk(out, &ll2string(n)),
                ListpackEntry::Str(text) => {
                    addReplyProto(clients, c, out);
                    out.clear();
                    addReplyBulkCBuffer(clients, c, text);
                }
            }
        }
        if out.len() > REPLY_GATHER / 4 * 3 {
            addReplyProto(clients, c, out);
            out.clear();
        }
    }
}

/// The bytes of replies that are gathered before they are queued.
const REPLY_GATHER: usize = 4096;

/// Replies with the entries from `start` to `end`, at most `count` (0: all), without the length of
/// an array before them. Returns their number.
// C: streamReplyWithRange with STREAM_RWR_RAWENTRIES.
fn stream_reply_with_raw_entries(
    clients: &mut Clients,
    c: ClientId,
    s: &Stream,
    (start, end): (&streamID, &streamID),
    count: usize,
    rev: bool,
) -> usize {
    let mut emitted = 0;
    let mut si = streamIteratorStart(s, Some(start), Some(end), rev);
    // They are gathered, and queued many at a time.
    let mut gathered = Vec::with_capacity(512);
    while let Some((id, numfields)) = streamIteratorGetID(&mut si, s) {
        gather_stream_entry(clients, c, &mut gathered, s, &mut si, (&id, numfields));
        emitted += 1;
        if emitted == count {
            break;
        }
    }
    addReplyProto(clients, c, &gathered);
    emitted
}

/// Replies with an array of the entries from `start` to `end`, at most `count` (0: all). With `rev`
/// they come from `end` to `start`. Returns their number.
// C: streamReplyWithRange without a group.
fn stream_reply_with_entries(
    clients: &mut Clients,
    c: ClientId,
    s: &Stream,
    range: (&streamID, &streamID),
    count: usize,
    rev: bool,
) -> usize {
    let arraylen_ptr = addReplyDeferredLen(clients, c);
    let arraylen = stream_reply_with_raw_entries(clients, c, s, range, count, rev);
    setDeferredArrayLen(clients, c, arraylen_ptr, arraylen);
    arraylen
}

/// Replies to a consumer of a group with an array of the entries of stream `o` from `start` on, at
/// most `count` (0: all). Returns their number.
///
/// The last id of the group is moved to the greatest id sent. Each entry sent becomes a pending
/// entry of the consumer, unless `flags` has `STREAM_RWR_NOACK`. Both are propagated.
///
/// With `STREAM_RWR_HISTORY` the reply comes from the pending entries list of the consumer alone.
/// So a consumer only ever sees its own history: messages that were delivered to it and that it has
/// not acknowledged.
fn streamReplyWithRange(
    server: &mut Server,
    c: ClientId,
    o: KeyRef,
    start: &streamID,
    count: usize,
    reader: GroupReader,
    flags: i32,
) -> usize {
    let db = server[c].db;
    if flags & STREAM_RWR_HISTORY != 0 {
        return streamReplyWithRangeFromConsumerPEL(server, c, o, start, count, reader);
    }

    let noack = flags & STREAM_RWR_NOACK != 0;
    let mut propagate_last_id = None;
    let arraylen_ptr = addReplyDeferredLen(server, c);
    let mut arraylen = 0;
    let mut si = streamIteratorStart(server.db[db].dict.stream(o), Some(start), None, false);
    loop {
        let Server { clients, db: dbs, .. } = &mut *server;
        let s = dbs[db].dict.stream_mut(o);
        let Some((id, numfields)) = streamIteratorGetID(&mut si, s) else { break };
        add_reply_stream_entry(clients, c, s, &mut si, (&id, numfields));

        let Some(group) = stream_lookup_cg_mut(s, reader.groupname) else { break };
        // An id that was delivered before does not move the last id back.
        if id > group.last_id {
            group.last_id = id;
            // Only with NOACK: otherwise the XCLAIM has the last id, too.
            if noack {
                propagate_last_id = Some(id);
            }
        }
        // One XCLAIM for each message, not one for all: each has its own id, and a message may
        // replace the pending entry of another consumer.
        if !noack {
            let nack = stream_deliver(group, &id, reader.consumer);
            let last_id = group.last_id;
            streamPropagateXCLAIM(
                server,
                c,
                (reader.key, reader.groupname, reader.consumername),
                &last_id,
                &createObjectFromStreamID(&id),
                &nack,
            );
        }

        arraylen += 1;
        if arraylen == count {
            break;
        }
    }
    // Once for all messages: only the greatest id counts.
    if let Some(last_id) = propagate_last_id {
        streamPropagateGroupID(server, c, (reader.key, reader.groupname), &last_id);
    }
    setDeferredArrayLen(server, c, arraylen_ptr, arraylen);
    arraylen
}

/// Adds a message to the pending entries lists of the group and of a consumer, as delivered now for
/// the first time.
///
/// It may be in the list of another consumer already, since XGROUP SETID can move the last id of
/// the group back to messages that were delivered before. The entry is then reassigned.
fn stream_deliver(group: &mut streamCG, id: &streamID, consumer: ConsumerId) -> streamNACK {
    let buf = streamEncodeID(id);
    let nack = streamCreateNACK(consumer);
    // The entry is inserted before it is known whether there was one: mostly there was none, and
    // this way it takes one lookup.
    if let Some(old) = raxInsert(&mut group.pel, &buf, nack)
        && old.consumer != consumer
        && let Some(old_consumer) = group.consumers.get_mut(old.consumer)
    {
        raxRemove(&mut old_consumer.pel, &buf);
    }
    raxInsert(&mut group.consumers[consumer].pel, &buf, ());
    nack
}

/// Replies with an array of the messages in the pending entries list of a consumer, from `start`
/// on, at most `count` (0: all), and updates the time and number of their deliveries. Returns their
/// number.
///
/// Each message is looked up in the radix tree by its id, which is slower than iterating over the
/// stream. But clients do this only to fetch messages again, which is rare. There is no reverse
/// order, since XREADGROUP has none.
fn streamReplyWithRangeFromConsumerPEL(
    server: &mut Server,
    c: ClientId,
    o: KeyRef,
    start: &streamID,
    count: usize,
    reader: GroupReader,
) -> usize {
    let db = server[c].db;
    let Server { clients, db: dbs, .. } = server;
    let s = dbs[db].dict.stream_mut(o);
    let arraylen_ptr = addReplyDeferredLen(clients, c);
    let mut arraylen = 0;
    let mut ri = raxStart();
    let Some(group) = streamLookupCG(s, reader.groupname) else {
        setDeferredArrayLen(clients, c, arraylen_ptr, 0);
        return 0;
    };
    // The group is looked up in each turn, since replying with an entry borrows the whole stream.
    raxSeek(&mut ri, &group.consumers[reader.consumer].pel, ">=", &streamEncodeID(start));
    while count == 0 || arraylen < count {
        let Some(group) = streamLookupCG(s, reader.groupname) else { break };
        if !raxNext(&mut ri, &group.consumers[reader.consumer].pel) {
            break;
        }
        let thisid = streamDecodeID(ri.key());
        // Only messages that are still in the stream are sent, and only those count as delivered
        // once more.
        if stream_reply_with_raw_entries(clients, c, s, (&thisid, &thisid), 1, false) == 0 {
            // A pending entry whose message was deleted. The client gets its id, and null in place
            // of the fields, so that it can acknowledge it.
            addReplyArrayLen(clients, c, 2);
            addReplyStreamID(clients, c, &thisid);
            addReplyNullArray(clients, c);
        } else if let Some(group) = stream_lookup_cg_mut(s, reader.groupname)
            && let Some(nack) = rax_find_mut(&mut group.pel, ri.key())
        {
            // Reading the history counts as a delivery. As in the C that is not propagated: it
            // changes no ownership, and no last id.
            nack.delivery_time = mstime();
            nack.delivery_count = nack.delivery_count.wrapping_add(1);
        }
        arraylen += 1;
    }
    setDeferredArrayLen(clients, c, arraylen_ptr, arraylen);
    arraylen
}

// -----------------------------------------------------------------------------
// Stream commands implementation
// -----------------------------------------------------------------------------

/// Returns the stream at `key`, which is created if the key does not exist. Returns `None` after an
/// error or a null reply: if the key is not a stream, or if it does not exist and `no_create` is
/// set.
fn streamTypeLookupWriteOrCreate(
    server: &mut Server,
    c: ClientId,
    key: &[u8],
    no_create: bool,
) -> Option<KeyRef> {
    let db = server[c].db;
    if let Some(o) = lookupKeyWrite(server, db, key) {
        return (!checkType(server, c, o, OBJ_STREAM)).then_some(o);
    }
    if no_create {
        addReplyNull(server, c);
        return None;
    }
    Some(dbAdd(server, db, key, streamNew()))
}

/// Parses an id: `<ms>-<seq>`, or `<ms>`, for which the sequence number is `missing_seq`. Unless
/// `strict` is set, `-` and `+` are the smallest and the greatest id. Returns `None` for an invalid
/// id.
pub fn stream_parse_id_bytes(o: &[u8], missing_seq: u64, strict: bool) -> Option<streamID> {
    // No id is that long; the C copies it to a buffer of 128 bytes.
    if o.len() > 127 {
        return None;
    }
    let buf = c_str(o);
    // The special ids of XRANGE and XREVRANGE.
    if buf == b"-" || buf == b"+" {
        let id = if buf == b"-" { ID_MIN } else { ID_MAX };
        return (!strict).then_some(id);
    }
    let Some(dot) = memchr::memchr(b'-', buf) else {
        return Some(streamID { ms: string2ull(buf)?, seq: missing_seq });
    };
    Some(streamID { ms: string2ull(&buf[..dot])?, seq: string2ull(&buf[dot + 1..])? })
}

/// Parses an id as [`stream_parse_id_bytes`] does. `Err`: an error was replied.
fn streamGenericParseIDOrReply(
    server: &mut Server,
    c: ClientId,
    o: &[u8],
    missing_seq: u64,
    strict: bool,
) -> Result<streamID, ()> {
    stream_parse_id_bytes(o, missing_seq, strict).ok_or_else(|| {
        addReplyError(server, c, b"Invalid stream ID specified as stream command argument");
    })
}

/// Parses an argument that is an id, `-` or `+`. `Err`: an error was replied.
fn streamParseIDOrReply(
    server: &mut Server,
    c: ClientId,
    o: &[u8],
    missing_seq: u64,
) -> Result<streamID, ()> {
    streamGenericParseIDOrReply(server, c, o, missing_seq, false)
}

/// Parses an argument that is an id; `-` and `+` are errors. `Err`: an error was replied.
fn streamParseStrictIDOrReply(
    server: &mut Server,
    c: ClientId,
    o: &[u8],
    missing_seq: u64,
) -> Result<streamID, ()> {
    streamGenericParseIDOrReply(server, c, o, missing_seq, true)
}

/// Parses an argument that is a bound of a range: an id, `-` or `+`, or `(` and an id if the bound
/// is exclusive. Returns the id, and whether it is exclusive. `Err`: an error was replied.
fn streamParseIntervalIDOrReply(
    server: &mut Server,
    c: ClientId,
    o: &[u8],
    missing_seq: u64,
) -> Result<(streamID, bool), ()> {
    match o {
        // After `(` only a complete or incomplete id is allowed, not `-` or `+`.
        [b'(', rest @ ..] if !rest.is_empty() => {
            Ok((streamParseStrictIDOrReply(server, c, rest, missing_seq)?, true))
        }
        _ => Ok((streamParseIDOrReply(server, c, o, missing_seq)?, false)),
    }
}

/// Parses the start of a range. An exclusive one is converted to the next id, so that the result is
/// inclusive. `Err`: an error was replied.
fn stream_parse_interval_start_or_reply(
    server: &mut Server,
    c: ClientId,
    o: &[u8],
) -> Result<streamID, ()> {
    let (mut id, startex) = streamParseIntervalIDOrReply(server, c, o, 0)?;
    if startex && streamIncrID(&mut id).is_err() {
        addReplyError(server, c, b"invalid start ID for the interval");
        return Err(());
    }
    Ok(id)
}

/// Parses the end of a range. An exclusive one is converted to the previous id, so that the result
/// is inclusive. `Err`: an error was replied.
fn stream_parse_interval_end_or_reply(
    server: &mut Server,
    c: ClientId,
    o: &[u8],
) -> Result<streamID, ()> {
    let (mut id, endex) = streamParseIntervalIDOrReply(server, c, o, u64::MAX)?;
    if endex && streamDecrID(&mut id).is_err() {
        addReplyError(server, c, b"invalid end ID for the interval");
        return Err(());
    }
    Ok(id)
}

/// Parses all arguments from `first` on as ids. Commands do that before they change anything: they
/// reply with the number of ids they have handled, so that an error must come first. `Err`: an
/// error was replied.
fn stream_parse_ids_or_reply(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    first: usize,
) -> Result<IdVec, ()> {
    let mut ids = IdVec::new();
    for arg in argv.iter().skip(first) {
        ids.push(streamParseStrictIDOrReply(server, c, arg, 0)?);
    }
    Ok(ids)
}

/// Returns the exact threshold, a length or an id, that has the same effect as the `MAXLEN ~` or
/// `MINID ~` that was executed.
// C: streamRewriteTrimArgument.
fn stream_exact_trim_argument(s: &Stream, trim_strategy: TrimStrategy) -> StreamIDText {
    if trim_strategy == TRIM_STRATEGY_MINID {
        return createObjectFromStreamID(&streamGetEdgeID(s, true));
    }
    let text = ll2string(s.length as i64);
    let mut buf = [0; 41];
    buf[..text.len()].copy_from_slice(&text);
    StreamIDText { len: text.len(), buf }
}

/// Rewrites the command for propagation: with the id `idarg`, and with the exact threshold
/// `trimarg` and `=` before it. Each is given with the index of the argument that it replaces.
///
/// A trimming that was approximate or limited depends on the nodes of this server, and could have
/// another result on a replica or after a restart.
// C: these are streamRewriteApproxSpecifier, streamRewriteTrimArgument and a rewrite of the id,
// each of which copies the arguments.
fn rewrite_trimming_command(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    idarg: Option<(usize, &[u8])>,
    trimarg: Option<(usize, &[u8])>,
) {
    // Nothing propagates the command.
    if !needs_propagation(server) {
        return;
    }
    let rewritten: Argv = argv
        .iter()
        .enumerate()
        .map(|(i, arg)| match (idarg, trimarg) {
            (Some((at, id)), _) if i == at => id,
            (_, Some((at, _))) if i + 1 == at => b"=" as &[u8],
            (_, Some((at, threshold))) if i == at => threshold,
            _ => arg,
        })
        .collect();
    replaceClientCommandVector(server, c, rewritten);
}

/// Implements XADD key [(MAXLEN [~|=] count | MINID [~|=] id) [LIMIT entries]] [NOMKSTREAM] id|*
/// field value [field value ...].
///
/// Appends an entry to the stream, which is created if the key does not exist, unless NOMKSTREAM is
/// given; then trims the stream if asked to. Replies with the id of the entry. What is propagated
/// has that id, and the exact result of the trimming.
pub fn xaddCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok((parsed_args, idpos)) = streamParseAddOrTrimArgsOrReply(server, c, argv, true) else {
        return;
    };
    let (db, key, field_pos) = (server[c].db, argv.get(1), idpos + 1);

    let fields = argv.len().saturating_sub(field_pos);
    if fields < 2 || fields % 2 == 1 {
        addReplyError(server, c, b"wrong number of arguments for XADD");
        return;
    }
    // 0-0 can't be appended. It is refused here, before an empty stream would be created for it.
    if parsed_args.id == Some(ID_MIN) {
        addReplyError(server, c, b"The ID specified in XADD must be greater than 0-0");
        return;
    }

    let Some(o) = streamTypeLookupWriteOrCreate(server, c, key, parsed_args.no_mkstream) else {
        return;
    };
    let limits = NodeLimits::of(server);
    let s = server.db[db].dict.stream_mut(o);
    // No greater id exists.
    if s.last_id == ID_MAX {
        addReplyError(
            server,
            c,
            b"The stream has exhausted the last possible ID, unable to add more items",
        );
        return;
    }

    let ele = |i: usize| argv.get(field_pos + i);
    // `call` has just read the clock, unless this is a part of a transaction or of a script.
    let now = if server.fixed_time_expire == 1 { server.mstime } else { mstime() };
    let id = match streamAppendItem(s, limits, fields / 2, ele, parsed_args.id.as_ref(), now) {
        Ok(id) => id,
        Err(AppendError::EDOM) => {
            addReplyError(
                server,
                c,
                b"The ID specified in XADD is equal or smaller than the target stream top item",
            );
            return;
        }
        Err(AppendError::ERANGE) => {
            addReplyError(server, c, b"Elements are too large to be stored");
            return;
        }
    };
    addReplyStreamID(server, c, &id);

    signalModifiedKey(server, Some(c), db, key);
    notifyKeyspaceEvent(server, NOTIFY_STREAM, "xadd", key, db);
    server.dirty += 1;

    // Trim the stream. After `~` the exact result is propagated. LIMIT is only allowed with `~`, so
    // that checking for this one suffices.
    let mut trimarg = None;
    if parsed_args.trim_strategy != TRIM_STRATEGY_NONE {
        if streamTrim(server.db[db].dict.stream_mut(o), &parsed_args) != 0 {
            notifyKeyspaceEvent(server, NOTIFY_STREAM, "xtrim", key, db);
        }
        if parsed_args.approx_trim {
            let s = server.db[db].dict.stream(o);
            trimarg = Some(stream_exact_trim_argument(s, parsed_args.trim_strategy));
        }
    }

    // The id that was generated here is propagated in place of `*`.
    if needs_propagation(server) {
        let idarg = createObjectFromStreamID(&id);
        let trimarg = trimarg.as_ref().map(|arg| (parsed_args.trim_strategy_arg_idx, &arg[..]));
        rewrite_trimming_command(server, c, argv, Some((idpos, &idarg)), trimarg);
    }

    signalKeyAsReady(server, db, key, OBJ_STREAM);
}

/// Implements XRANGE and, with `rev`, XREVRANGE. An id without a sequence number stands for the
/// first one of its millisecond as the start, and for the last one as the end.
fn xrangeGenericCommand(server: &mut Server, c: ClientId, argv: &Args, rev: bool) {
    let db = server[c].db;
    let (startarg, endarg) = if rev { (&argv[3], &argv[2]) } else { (&argv[2], &argv[3]) };
    let Ok(startid) = stream_parse_interval_start_or_reply(server, c, startarg) else { return };
    let Ok(endid) = stream_parse_interval_end_or_reply(server, c, endarg) else { return };

    let mut count = None;
    let mut j = 4;
    while j < argv.len() {
        if !eq_ignore_case(&argv[j], b"COUNT") || j + 1 == argv.len() {
            addReplyErrorObject(server, c, shared::syntaxerr);
            return;
        }
        let Ok(n) = getLongLongFromObjectOrReply(server, c, &argv[j + 1], None) else { return };
        // A negative COUNT is 0, for which the reply is null.
        count = Some(n.max(0));
        j += 2;
    }

    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::emptyarray) else { return };
    if checkType(server, c, o, OBJ_STREAM) {
        return;
    }
    if count == Some(0) {
        addReplyNullArray(server, c);
        return;
    }
    let Server { clients, db: dbs, .. } = server;
    let s = dbs[db].dict.stream(o);
    let count = count.unwrap_or(0) as usize;
    stream_reply_with_entries(clients, c, s, (&startid, &endid), count, rev);
}

/// Implements XRANGE key start end [COUNT n]: replies with the entries of a range of ids.
pub fn xrangeCommand(server: &mut Server, c: ClientId, argv: &Args) {
    xrangeGenericCommand(server, c, argv, false);
}

/// Implements XREVRANGE key end start [COUNT n]: replies with the entries of a range of ids in
/// reverse order.
pub fn xrevrangeCommand(server: &mut Server, c: ClientId, argv: &Args) {
    xrangeGenericCommand(server, c, argv, true);
}

/// Implements XLEN key: replies with the number of entries.
pub fn xlenCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let db = server[c].db;
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::czero) else { return };
    if checkType(server, c, o, OBJ_STREAM) {
        return;
    }
    let length = server.db[db].dict.stream(o).length;
    addReplyLongLong(server, c, length as i64);
}

/// The maximum number of messages that a blocked client gets if it has given no COUNT. Its id may
/// be low, and serving it a huge stream would block the server.
const XREAD_BLOCKED_DEFAULT_COUNT: usize = 1000;

/// Implements XREAD and XREADGROUP:
///
/// - XREAD [BLOCK milliseconds] [COUNT count] STREAMS key [key ...] id [id ...]
/// - XREADGROUP GROUP group consumer [BLOCK milliseconds] [COUNT count] [NOACK] STREAMS key [key
///   ...] id [id ...]
///
/// Replies with the entries of each stream that are after the given id. If there are none, the
/// client is blocked if BLOCK was given, else it gets null.
pub fn xreadCommand(server: &mut Server, c: ClientId, argv: &Args) {
    // XREADGROUP is XREAD with the options GROUP and NOACK. They are two commands because XREAD
    // only reads, and is allowed on replicas.
    // The name of the command tells which one it is: `xreadgroup` has ten characters.
    let xreadgroup = argv[0].len() == 10;
    let (mut timeout, mut count, mut noack) = (None, 0usize, false);
    let mut group_and_consumer = None;
    let mut streams_arg = 0;

    let mut i = 1;
    while i < argv.len() {
        let moreargs = argv.len() - i - 1;
        let o = argv.get(i);
        if eq_ignore_case(o, b"BLOCK") && moreargs > 0 {
            // CLIENT_DENY_BLOCKING would do; but scripts have always been told so.
            if server[c].flags & CLIENT_LUA != 0 {
                addReplyErrorFormat!(
                    server,
                    c,
                    "{} command is not allowed with BLOCK option from scripts",
                    B(argv.get(0))
                );
                return;
            }
            i += 1;
            match getTimeoutFromObjectOrReply(server, c, &argv[i], UNIT_MILLISECONDS) {
                Ok(t) => timeout = Some(t),
                Err(()) => return,
            }
        } else if eq_ignore_case(o, b"COUNT") && moreargs > 0 {
            i += 1;
            let Ok(n) = getLongLongFromObjectOrReply(server, c, &argv[i], None) else { return };
            // A negative COUNT counts as none, which is no limit.
            count = n.max(0) as usize;
        } else if eq_ignore_case(o, b"STREAMS") && moreargs > 0 {
            streams_arg = i + 1;
            if !(argv.len() - streams_arg).is_multiple_of(2) {
                addReplyError(
                    server,
                    c,
                    b"Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.",
                );
                return;
            }
            break;
        } else if eq_ignore_case(o, b"GROUP") && moreargs >= 2 {
            if !xreadgroup {
                addReplyError(
                    server,
                    c,
                    b"The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
                );
                return;
            }
            group_and_consumer = Some((argv.get(i + 1), argv.get(i + 2)));
            i += 2;
        } else if eq_ignore_case(o, b"NOACK") {
            if !xreadgroup {
                addReplyError(
                    server,
                    c,
                    b"The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
                );
                return;
            }
            noack = true;
        } else {
            addReplyErrorObject(server, c, shared::syntaxerr);
            return;
        }
        i += 1;
    }
    if streams_arg == 0 {
        addReplyErrorObject(server, c, shared::syntaxerr);
        return;
    }
    if xreadgroup && group_and_consumer.is_none() {
        addReplyError(server, c, b"Missing GROUP option for XREADGROUP");
        return;
    }
    let streams_count = (argv.len() - streams_arg) / 2;

    // The functions below propagate XCLAIM, XGROUP SETID and XGROUP CREATECONSUMER, which is why
    // the command itself is not propagated.
    if let Ok(ids) = xread_parse_ids(server, c, argv, streams_arg, group_and_consumer)
        && !xread_reply_with_available(
            server,
            c,
            argv,
            streams_arg,
            &ids,
            count,
            group_and_consumer,
            noack,
        )
    {
        match timeout {
            // A client that must not block, such as one in a transaction, gets the reply of a
            // timeout.
            Some(timeout) if server[c].flags & CLIENT_DENY_BLOCKING == 0 => {
                let keys: Vec<&[u8]> = argv.iter().skip(streams_arg).take(streams_count).collect();
                // The ids are kept with the keys: for each the client is served what comes after.
                blockForKeys(server, c, BLOCKED_STREAM, &keys, timeout, None, None, Some(&ids));
                let bpop = &mut server[c].bpop;
                bpop.xread_count = if count != 0 { count } else { XREAD_BLOCKED_DEFAULT_COUNT };
                // The group and the consumer are remembered by name: either may be gone, or be
                // another one, when the client is served.
                bpop.xread_group = group_and_consumer.map(|(group, _)| group.to_vec());
                bpop.xread_consumer = group_and_consumer.map(|(_, consumer)| consumer.to_vec());
                bpop.xread_group_noack = noack;
            }
            _ => addReplyNullArray(server, c),
        }
    }
    preventCommandPropagation(server, c);
}

/// Parses the ids of XREAD and XREADGROUP: for each key the id after which the client wants to
/// read. `$` is the last id of the stream, so that only messages added from now on are read. `>`,
/// the messages that the group has not delivered yet, is stored as the greatest id; it is resolved
/// to the last id of the group when the client is served, since that changes while it is blocked.
/// `Err`: an error was replied.
fn xread_parse_ids(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    streams_arg: usize,
    group_and_consumer: Option<(&[u8], &[u8])>,
) -> Result<IdVec, ()> {
    let db = server[c].db;
    let streams_count = (argv.len() - streams_arg) / 2;
    let mut ids = IdVec::new();
    for i in streams_arg + streams_count..argv.len() {
        let (key, arg) = (argv.get(i - streams_count), c_str(argv.get(i)));
        let o = lookupKeyRead(server, db, key);
        if let Some(o) = o
            && checkType(server, c, o, OBJ_STREAM)
        {
            return Err(());
        }
        let s = o.map(|o| server.db[db].dict.stream(o));

        if let Some((groupname, _)) = group_and_consumer
            && s.and_then(|s| streamLookupCG(s, groupname)).is_none()
        {
            addReplyErrorFormat!(
                server,
                c,
                "-NOGROUP No such key '{}' or consumer group '{}' in XREADGROUP with GROUP option",
                B(c_str(key)),
                B(c_str(groupname))
            );
            return Err(());
        }

        if arg == b"$" {
            if group_and_consumer.is_some() {
                addReplyError(
                    server,
                    c,
                    b"The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.",
                );
                return Err(());
            }
            // A stream that does not exist yet will have greater ids than 0-0.
            ids.push(s.map_or(ID_MIN, |s| s.last_id));
        } else if arg == b">" {
            if group_and_consumer.is_none() {
                addReplyError(
                    server,
                    c,
                    b"The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
                );
                return Err(());
            }
            // Nothing can follow the greatest id, so nobody asks for a history after it: it is free
            // to stand for `>`.
            ids.push(ID_MAX);
        } else {
            ids.push(streamParseStrictIDOrReply(server, c, &argv[i], 0)?);
        }
    }
    Ok(ids)
}

/// Replies to XREAD or XREADGROUP with the messages that are there already. Returns `false`, and
/// has not replied, if there are none.
fn xread_reply_with_available(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    streams_arg: usize,
    ids: &[streamID],
    count: usize,
    group_and_consumer: Option<(&[u8], &[u8])>,
    noack: bool,
) -> bool {
    let db = server[c].db;
    let resp2 = server[c].resp == 2;
    let mut arraylen = 0;
    let mut arraylen_ptr = None;
    for (i, gt) in ids.iter().enumerate() {
        let key = argv.get(streams_arg + i);
        // A key that does not exist has no messages. The client can still block on it: the XADD
        // that creates it will serve the client.
        let Some(o) = lookupKeyRead(server, db, key) else { continue };
        let s = server.db[db].dict.stream(o);

        // Check whether this stream has messages for the client. An id other than `>` asks for the
        // history of the consumer, which is always served at once, even if it is empty. For `>` the
        // last id of the group is compared with the last message.
        let (mut gt, mut flags) = (*gt, 0);
        match group_and_consumer {
            Some(_) if gt != ID_MAX => flags |= STREAM_RWR_HISTORY,
            Some((groupname, _)) => {
                let Some(group) = streamLookupCG(s, groupname) else { continue };
                gt = group.last_id;
                if s.length == 0 || streamLastValidID(s) <= gt {
                    continue;
                }
            }
            None if s.length == 0 || streamLastValidID(s) <= gt => continue,
            None => {}
        }

        arraylen += 1;
        if arraylen_ptr.is_none() {
            // The reply begins with the first stream that has something, so that a client without
            // any can be blocked, or get a null, with nothing sent yet.
            arraylen_ptr = Some(addReplyDeferredLen(server, c));
        }
        // The range is inclusive, so it starts with the next id. The greatest id wraps around to
        // 0-0, as in the C.
        let mut start = gt;
        let _ = streamIncrID(&mut start);

        // An array of two elements, the key and its entries, or in RESP3 a pair of a map.
        if resp2 {
            addReplyArrayLen(server, c, 2);
        }
        addReplyBulkCBuffer(server, c, key);
        let Some((groupname, consumername)) = group_and_consumer else {
            let Server { clients, db: dbs, .. } = &mut *server;
            let s = dbs[db].dict.stream(o);
            stream_reply_with_entries(clients, c, s, (&start, &ID_MAX), count, false);
            continue;
        };
        if noack {
            flags |= STREAM_RWR_NOACK;
        }
        stream_reply_to_named_consumer(
            server,
            c,
            o,
            &start,
            count,
            (key, groupname, consumername),
            flags,
        );
        server.dirty += 1;
    }

    let Some(arraylen_ptr) = arraylen_ptr else { return false };
    if resp2 {
        setDeferredArrayLen(server, c, arraylen_ptr, arraylen);
    } else {
        // RESP3 has a map of keys and entries.
        setDeferredMapLen(server, c, arraylen_ptr, arraylen);
    }
    true
}

/// Looks the consumer up, creates it if it does not exist, and calls [`streamReplyWithRange`] for
/// it.
fn stream_reply_to_named_consumer(
    server: &mut Server,
    c: ClientId,
    o: KeyRef,
    start: &streamID,
    count: usize,
    (key, groupname, consumername): (&[u8], &[u8], &[u8]),
    flags: i32,
) {
    let db = server[c].db;
    let group = stream_lookup_cg_mut(server.db[db].dict.stream_mut(o), groupname)
        .expect("the caller has found the group");
    let (consumer, created) = streamLookupConsumer(group, consumername, SLC_NONE)
        .expect("a consumer that is not there is made");
    // C: with NOACK alone. But a new consumer that asks for its history has none, so that no XCLAIM
    // creates it on replicas either.
    if created && flags & (STREAM_RWR_NOACK | STREAM_RWR_HISTORY) != 0 {
        streamPropagateConsumerCreation(server, c, key, groupname, consumername);
    }
    let reader = GroupReader { key, groupname, consumername, consumer };
    streamReplyWithRange(server, c, o, start, count, reader, flags);
}

/// Serves the clients that are blocked on the stream `o`, in the order in which they blocked: all
/// whose id is smaller than its last id. The function is in `blocked.c` in the C.
pub fn serveClientsBlockedOnStreamKey(server: &mut Server, rl: &readyList, o: KeyRef) {
    let Some(clients) = server.db[rl.db].blocking_keys.get(&rl.key) else { return };
    let mut li = listRewind(clients);
    // The list is looked up each time: an unblocked client is removed from it, and an empty list
    // from the db.
    while let Some(receiver) =
        server.db[rl.db].blocking_keys.get(&rl.key).and_then(|clients| listNext(clients, &mut li))
    {
        // It blocks on a list or a sorted set: keys are waited for by name, whatever their type
        // will be.
        if server[receiver].btype != BLOCKED_STREAM {
            continue;
        }
        let bpop = &server[receiver].bpop;
        let Some((_, Some(gt))) = bpop.keys.iter().find(|(key, _)| *key == rl.key) else {
            continue;
        };
        let mut gt = *gt;
        let s = server.db[rl.db].dict.stream(o);

        // A consumer waits for messages that the group has not delivered yet. Other consumers of
        // the group may have been served since it blocked, so the present last id of the group is
        // used.
        let mut group_and_consumer = None;
        if let Some(groupname) = &bpop.xread_group {
            let Some(group) = streamLookupCG(s, groupname) else {
                addReplyError(
                    server,
                    receiver,
                    b"-NOGROUP the consumer group this client was blocked on no longer exists",
                );
                unblockClient(server, receiver);
                continue;
            };
            gt = group.last_id;
            group_and_consumer =
                Some((groupname.clone(), bpop.xread_consumer.clone().unwrap_or_default()));
        }
        // Served before with this very message, or waiting for a greater id: it goes on waiting.
        if s.last_id <= gt {
            continue;
        }

        let (count, noack) = (bpop.xread_count, bpop.xread_group_noack);
        let mut start = gt;
        let _ = streamIncrID(&mut start);
        // The reply, and what is propagated, belong to the client that is served, not to the one
        // whose command has added the entry.
        let old_client = server.current_client.replace(receiver);
        let reply_timer = elapsedStart();

        // The reply has one key, with its entries.
        if server[receiver].resp == 2 {
            addReplyArrayLen(server, receiver, 1);
            addReplyArrayLen(server, receiver, 2);
        } else {
            addReplyMapLen(server, receiver, 1);
        }
        addReplyBulkCBuffer(server, receiver, &rl.key);
        match &group_and_consumer {
            Some((groupname, consumername)) => stream_reply_to_named_consumer(
                server,
                receiver,
                o,
                &start,
                count,
                (&rl.key, groupname, consumername),
                if noack { STREAM_RWR_NOACK } else { 0 },
            ),
            None => {
                let Server { clients, db: dbs, .. } = &mut *server;
                let s = dbs[rl.db].dict.stream(o);
                stream_reply_with_entries(clients, receiver, s, (&start, &ID_MAX), count, false);
            }
        }
        // The time that it took to serve the client counts for its own command.
        updateStatsOnUnblock(server, receiver, 0, elapsedUs(reply_timer) as i64);
        unblockClient(server, receiver);
        afterCommand(server);
        server.current_client = old_client;
    }
}

// -----------------------------------------------------------------------------
// Low level implementation of consumer groups
// -----------------------------------------------------------------------------

/// Flag of [`streamLookupConsumer`]: create the consumer if it does not exist, and update the time
/// it was seen.
pub const SLC_NONE: i32 = 0;
/// Flag of [`streamLookupConsumer`]: do not create the consumer.
pub const SLC_NOCREAT: i32 = 1 << 0;
/// Flag of [`streamLookupConsumer`]: do not update the time the consumer was seen.
pub const SLC_NOREFRESH: i32 = 1 << 1;

/// Returns a pending entry of a message that is delivered to `consumer` now, for the first time.
pub fn streamCreateNACK(consumer: ConsumerId) -> streamNACK {
    streamNACK { delivery_time: mstime(), delivery_count: 1, consumer }
}

/// Creates a consumer group with the last id `id`. Returns `None` if there is one of that name.
pub fn streamCreateCG<'a>(
    s: &'a mut Stream,
    name: &[u8],
    id: &streamID,
) -> Option<&'a mut streamCG> {
    let cgroups = s.cgroups.get_or_insert_default();
    let cg = streamCG { last_id: *id, pel: raxNew(), consumers: Consumers::default() };
    raxTryInsert(cgroups, name, cg).ok()?;
    rax_find_mut(cgroups, name)
}

/// Returns the consumer group with that name, if there is one.
pub fn streamLookupCG<'a>(s: &'a Stream, groupname: &[u8]) -> Option<&'a streamCG> {
    raxFind(s.cgroups.as_ref()?, groupname)
}

/// Returns the consumer group with that name as a mutable reference, if there is one.
pub fn stream_lookup_cg_mut<'a>(s: &'a mut Stream, groupname: &[u8]) -> Option<&'a mut streamCG> {
    rax_find_mut(s.cgroups.as_mut()?, groupname)
}

/// Returns the consumer with that name, and whether it was created. `flags` are `SLC_*`. Returns
/// `None` only with `SLC_NOCREAT`, if there is no such consumer.
pub fn streamLookupConsumer(
    cg: &mut streamCG,
    name: &[u8],
    flags: i32,
) -> Option<(ConsumerId, bool)> {
    match cg.consumers.find(name) {
        Some(id) => {
            if flags & SLC_NOREFRESH == 0 {
                cg.consumers[id].seen_time = mstime();
            }
            Some((id, false))
        }
        None if flags & SLC_NOCREAT != 0 => None,
        None => Some((cg.consumers.add(name, mstime())?, true)),
    }
}

/// Removes a consumer and its pending entries, from the list of the group, too: the messages are no
/// longer pending. Returns their number.
pub fn streamDelConsumer(cg: &mut streamCG, name: &[u8]) -> u64 {
    // The messages themselves stay in the stream, but the group will not deliver them again by
    // itself: its last id is beyond them.
    let Some(consumer) = cg.consumers.remove(name) else { return 0 };
    let mut ri = raxStart();
    raxSeek(&mut ri, &consumer.pel, "^", b"");
    while raxNext(&mut ri, &consumer.pel) {
        raxRemove(&mut cg.pel, ri.key());
    }
    raxSize(&consumer.pel)
}

/// Reassigns a pending entry from the consumer `old`, which may be `NONE`, to the consumer that
/// `nack` names, and sets the entry to `nack`. `buf` is the encoded id.
fn stream_reassign(group: &mut streamCG, buf: &[u8], old: ConsumerId, nack: streamNACK) {
    // With the same consumer the lists of ids are right already.
    if old != nack.consumer {
        if let Some(old_consumer) = group.consumers.get_mut(old) {
            raxRemove(&mut old_consumer.pel, buf);
        }
        raxInsert(&mut group.consumers[nack.consumer].pel, buf, ());
    }
    raxInsert(&mut group.pel, buf, nack);
}

// -----------------------------------------------------------------------------
// Consumer groups commands
// -----------------------------------------------------------------------------

/// Implements XGROUP:
///
/// - XGROUP CREATE key group id|$ [MKSTREAM]
/// - XGROUP SETID key group id|$
/// - XGROUP DESTROY key group
/// - XGROUP CREATECONSUMER key group consumer
/// - XGROUP DELCONSUMER key group consumer
///
/// CREATE fails if the key does not exist, unless MKSTREAM is given. DELCONSUMER replies with the
/// number of pending entries that were removed with the consumer.
pub fn xgroupCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let db = server[c].db;
    let (opt, argc) = (argv.get(1), argv.len());
    let is = |name: &[u8]| eq_ignore_case(opt, name);
    // With MKSTREAM a key that does not exist is no error.
    let mut mkstream = false;
    if argc == 6 && is(b"CREATE") {
        if !eq_ignore_case(&argv[5], b"MKSTREAM") {
            addReplySubcommandSyntaxError(server, c, argv);
            return;
        }
        mkstream = true;
    }
    // All subcommands except HELP have a key and a group. Look both up once, for the checks that
    // they share.
    let (mut o, mut key, mut grpname) = (None, &b""[..], &b""[..]);
    let mut group_exists = false;
    if argc >= 4 {
        (key, grpname) = (argv.get(2), argv.get(3));
        o = lookupKeyWrite(server, db, key);
        if let Some(o) = o {
            if checkType(server, c, o, OBJ_STREAM) {
                return;
            }
            // CREATE and DESTROY have replies of their own for a group that exists, or does not.
            group_exists = streamLookupCG(server.db[db].dict.stream(o), grpname).is_some();
        }
        if !mkstream {
            if o.is_none() {
                addReplyError(
                    server,
                    c,
                    b"The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.",
                );
                return;
            }
            if !group_exists && (is(b"SETID") || is(b"CREATECONSUMER") || is(b"DELCONSUMER")) {
                addReplyErrorFormat!(
                    server,
                    c,
                    "-NOGROUP No such consumer group '{}' for key name '{}'",
                    B(c_str(grpname)),
                    B(c_str(key))
                );
                return;
            }
        }
    }

    if argc == 2 && is(b"HELP") {
        addReplyHelp(
            server,
            c,
            argv,
            &[
                "CREATE <key> <groupname> <id|$> [option]",
                "    Create a new consumer group. Options are:",
                "    * MKSTREAM",
                "      Create the empty stream if it does not exist.",
                "CREATECONSUMER <key> <groupname> <consumer>",
                "    Create a new consumer in the specified group.",
                "DELCONSUMER <key> <groupname> <consumer>",
                "    Remove the specified consumer.",
                // The C has this in one line.
                "DESTROY <key> <groupname>    Remove the specified group.",
                "SETID <key> <groupname> <id|$>",
                "    Set the current group ID.",
            ],
        );
    } else if is(b"CREATE") && (argc == 5 || argc == 6) {
        let id = if c_str(&argv[4]) == b"$" {
            o.map_or(ID_MIN, |o| server.db[db].dict.stream(o).last_id)
        } else {
            match streamParseStrictIDOrReply(server, c, &argv[4], 0) {
                Ok(id) => id,
                Err(()) => return,
            }
        };
        // All that can fail was checked, except that the group may exist, for which the stream must
        // exist, too. So the stream is created now.
        let o = match o {
            Some(o) => o,
            None => {
                let o = dbAdd(server, db, key, streamNew());
                signalModifiedKey(server, Some(c), db, key);
                o
            }
        };
        if streamCreateCG(server.db[db].dict.stream_mut(o), grpname, &id).is_some() {
            addReply(server, c, shared::ok);
            server.dirty += 1;
            notifyKeyspaceEvent(server, NOTIFY_STREAM, "xgroup-create", key, db);
        } else {
            addReplyError(server, c, b"-BUSYGROUP Consumer Group name already exists");
        }
    } else if is(b"SETID") && argc == 5 {
        let Some(o) = o else { return };
        let id = if c_str(&argv[4]) == b"$" {
            server.db[db].dict.stream(o).last_id
        } else {
            match streamParseIDOrReply(server, c, &argv[4], 0) {
                Ok(id) => id,
                Err(()) => return,
            }
        };
        if let Some(cg) = stream_lookup_cg_mut(server.db[db].dict.stream_mut(o), grpname) {
            cg.last_id = id;
        }
        addReply(server, c, shared::ok);
        server.dirty += 1;
        notifyKeyspaceEvent(server, NOTIFY_STREAM, "xgroup-setid", key, db);
    } else if is(b"DESTROY") && argc == 4 {
        let destroyed = o
            .and_then(|o| server.db[db].dict.stream_mut(o).cgroups.as_mut())
            .and_then(|cgroups| raxRemove(cgroups, grpname));
        if destroyed.is_some() {
            addReply(server, c, shared::cone);
            server.dirty += 1;
            notifyKeyspaceEvent(server, NOTIFY_STREAM, "xgroup-destroy", key, db);
            // Clients that are blocked on this group are served with an error.
            signalKeyAsReady(server, db, key, OBJ_STREAM);
        } else {
            addReply(server, c, shared::czero);
        }
    } else if is(b"CREATECONSUMER") && argc == 5 {
        // SLC_NOREFRESH: to create a consumer that exists is not an activity of that consumer.
        let created = o
            .and_then(|o| stream_lookup_cg_mut(server.db[db].dict.stream_mut(o), grpname))
            .and_then(|cg| streamLookupConsumer(cg, &argv[4], SLC_NOREFRESH))
            .is_some_and(|(_, created)| created);
        if created {
            server.dirty += 1;
            notifyKeyspaceEvent(server, NOTIFY_STREAM, "xgroup-createconsumer", key, db);
        }
        addReplyLongLong(server, c, i64::from(created));
    } else if is(b"DELCONSUMER") && argc == 5 {
        // DELCONSUMER: the number is 0 also if there is no such consumer.
        let pending = o
            .and_then(|o| stream_lookup_cg_mut(server.db[db].dict.stream_mut(o), grpname))
            .map_or(0, |cg| streamDelConsumer(cg, &argv[4]));
        addReplyLongLong(server, c, pending as i64);
        server.dirty += 1;
        notifyKeyspaceEvent(server, NOTIFY_STREAM, "xgroup-delconsumer", key, db);
    } else {
        addReplySubcommandSyntaxError(server, c, argv);
    }
}

/// Implements XSETID key id: sets the last id of a stream. It is used to rebuild a stream from an
/// AOF, whose last entries may have been deleted.
pub fn xsetidCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (db, key) = (server[c].db, argv.get(1));
    let Some(o) = lookupKeyWriteOrReply(server, c, key, shared::nokeyerr) else { return };
    if checkType(server, c, o, OBJ_STREAM) {
        return;
    }
    let Ok(id) = streamParseStrictIDOrReply(server, c, &argv[2], 0) else { return };

    // Ids must grow: the last id must not be smaller than that of an entry.
    let s = server.db[db].dict.stream_mut(o);
    if s.length > 0 && id < streamLastValidID(s) {
        addReplyError(
            server,
            c,
            b"The ID specified in XSETID is smaller than the target stream top item",
        );
        return;
    }
    s.last_id = id;
    addReply(server, c, shared::ok);
    server.dirty += 1;
    notifyKeyspaceEvent(server, NOTIFY_STREAM, "xsetid", key, db);
}

/// Implements XACK key group id [id ...]: removes messages that were processed from the pending
/// entries lists of the group and of their consumers. Replies with the number of those that were
/// pending.
pub fn xackCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let db = server[c].db;
    let o = lookupKeyRead(server, db, &argv[1]);
    if let Some(o) = o
        && checkType(server, c, o, OBJ_STREAM)
    {
        return;
    }
    let Some(o) = o.filter(|&o| streamLookupCG(server.db[db].dict.stream(o), &argv[2]).is_some())
    else {
        addReply(server, c, shared::czero);
        return;
    };

    // All ids are parsed first: the command must not fail after it has acknowledged some messages,
    // since its reply is their number.
    let Ok(ids) = stream_parse_ids_or_reply(server, c, argv, 3) else { return };
    let Some(group) = stream_lookup_cg_mut(server.db[db].dict.stream_mut(o), &argv[2]) else {
        return;
    };
    let mut acknowledged = 0;
    for id in ids.iter() {
        let buf = streamEncodeID(id);
        if let Some(nack) = raxRemove(&mut group.pel, &buf) {
            if let Some(consumer) = group.consumers.get_mut(nack.consumer) {
                raxRemove(&mut consumer.pel, &buf);
            }
            acknowledged += 1;
        }
    }
    // The command is propagated as it is, if anything was acknowledged.
    server.dirty += acknowledged;
    addReplyLongLong(server, c, acknowledged);
}

/// Implements XPENDING key group [[IDLE idle] start stop count [consumer]].
///
/// Without a range it replies with a summary of the pending entries. With a range it replies with
/// each entry: its consumer, the time since its last delivery, and the number of deliveries.
pub fn xpendingCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let db = server[c].db;
    let argc = argv.len();
    // The summary has three arguments; a range has three more, and IDLE and the consumer up to
    // three more.
    if argc != 3 && !(6..=9).contains(&argc) {
        addReplyErrorObject(server, c, shared::syntaxerr);
        return;
    }

    // Errors in the arguments come before all others.
    let mut minidle = 0;
    let mut range = None;
    let mut consumername = None;
    if argc >= 6 {
        let mut startidx = 3;
        if eq_ignore_case(&argv[3], b"IDLE") {
            match getLongLongFromObjectOrReply(server, c, &argv[4], None) {
                Ok(n) => minidle = n,
                Err(()) => return,
            }
            if argc < 8 {
                addReplyErrorObject(server, c, shared::syntaxerr);
                return;
            }
            startidx += 2;
        }
        let count = getLongLongFromObjectOrReply(server, c, &argv[startidx + 2], None);
        let Ok(count) = count else { return };
        let startid = stream_parse_interval_start_or_reply(server, c, &argv[startidx]);
        let Ok(startid) = startid else { return };
        let endid = stream_parse_interval_end_or_reply(server, c, &argv[startidx + 1]);
        let Ok(endid) = endid else { return };
        range = Some((startid, endid, count.max(0)));
        if startidx + 3 < argc {
            consumername = Some(argv.get(startidx + 3));
        }
    }

    let o = lookupKeyRead(server, db, &argv[1]);
    if let Some(o) = o
        && checkType(server, c, o, OBJ_STREAM)
    {
        return;
    }
    let Some(o) = o.filter(|&o| streamLookupCG(server.db[db].dict.stream(o), &argv[2]).is_some())
    else {
        addReplyErrorFormat!(
            server,
            c,
            "-NOGROUP No such key '{}' or consumer group '{}'",
            B(c_str(&argv[1])),
            B(c_str(&argv[2]))
        );
        return;
    };

    let Server { clients, db: dbs, .. } = server;
    let Some(group) = streamLookupCG(dbs[db].dict.stream(o), &argv[2]) else { return };
    match range {
        None => xpending_reply_with_summary(clients, c, group),
        Some(range) => xpending_reply_with_range(clients, c, group, range, minidle, consumername),
    }
}

/// Replies with a summary of the pending entries: their number, the smallest and the greatest id,
/// and the number of each consumer that has some.
fn xpending_reply_with_summary(clients: &mut Clients, c: ClientId, group: &streamCG) {
    addReplyArrayLen(clients, c, 4);
    addReplyLongLong(clients, c, raxSize(&group.pel) as i64);
    if raxSize(&group.pel) == 0 {
        addReplyNull(clients, c);
        addReplyNull(clients, c);
        addReplyNullArray(clients, c);
        return;
    }
    // The smallest and the greatest id are the edges of the list.
    for edge in ["^", "$"] {
        let mut ri = raxStart();
        raxSeek(&mut ri, &group.pel, edge, b"");
        raxNext(&mut ri, &group.pel);
        addReplyStreamID(clients, c, &streamDecodeID(ri.key()));
    }
    let arraylen_ptr = addReplyDeferredLen(clients, c);
    let mut arraylen = 0;
    // Consumers without pending entries are left out.
    for consumer in group.consumers.iter().filter(|consumer| raxSize(&consumer.pel) > 0) {
        addReplyArrayLen(clients, c, 2);
        addReplyBulkCBuffer(clients, c, &consumer.name);
        addReplyBulkLongLong(clients, c, raxSize(&consumer.pel) as i64);
        arraylen += 1;
    }
    setDeferredArrayLen(clients, c, arraylen_ptr, arraylen);
}

/// Replies with the pending entries in a range of ids, at most the count in it: of one consumer if
/// `consumername` is given, and only those that have been idle for `minidle` milliseconds at least.
fn xpending_reply_with_range(
    clients: &mut Clients,
    c: ClientId,
    group: &streamCG,
    (startid, endid, mut count): (streamID, streamID, i64),
    minidle: i64,
    consumername: Option<&[u8]>,
) {
    let mut consumer = None;
    if let Some(name) = consumername {
        consumer = group.consumers.find(name).and_then(|id| group.consumers.get(id));
        // A consumer that does not exist has no pending entries.
        if consumer.is_none() {
            addReplyArrayLen(clients, c, 0);
            return;
        }
    }

    let now = mstime();
    let startkey = streamEncodeID(&startid);
    let mut ri = raxStart();
    match consumer {
        Some(consumer) => raxSeek(&mut ri, &consumer.pel, ">=", &startkey),
        None => raxSeek(&mut ri, &group.pel, ">=", &startkey),
    };
    let arraylen_ptr = addReplyDeferredLen(clients, c);
    let mut arraylen = 0;
    while count > 0 {
        // The list of a consumer has only the ids; the entry is in that of the group.
        let (found, nack) = match consumer {
            Some(consumer) => (raxNext(&mut ri, &consumer.pel), raxFind(&group.pel, ri.key())),
            None => (raxNext(&mut ri, &group.pel), ri.data(&group.pel)),
        };
        let id = streamDecodeID(ri.key());
        if !found || id > endid {
            break;
        }
        let Some(nack) = nack else { continue };
        let elapsed = now.wrapping_sub(nack.delivery_time);
        if minidle != 0 && elapsed < minidle {
            continue;
        }
        arraylen += 1;
        count -= 1;
        addReplyArrayLen(clients, c, 4);
        addReplyStreamID(clients, c, &id);
        addReplyBulkCBuffer(clients, c, consumer_name(group, nack));
        addReplyLongLong(clients, c, elapsed.max(0));
        addReplyLongLong(clients, c, nack.delivery_count as i64);
    }
    setDeferredArrayLen(clients, c, arraylen_ptr, arraylen);
}

/// Returns the name of the consumer of a pending entry.
fn consumer_name<'a>(group: &'a streamCG, nack: &streamNACK) -> &'a [u8] {
    group.consumers.get(nack.consumer).map_or(b"", |consumer| &consumer.name)
}

/// Replies with a message that was claimed: with its id if `justid` is set, else with the entry, or
/// null if that was deleted.
fn add_reply_claimed(clients: &mut Clients, c: ClientId, s: &Stream, id: &streamID, justid: bool) {
    if justid {
        addReplyStreamID(clients, c, id);
    } else if stream_reply_with_raw_entries(clients, c, s, (id, id), 1, false) == 0 {
        addReplyNull(clients, c);
    }
}

/// Implements XCLAIM key group consumer min-idle-time id [id ...] [IDLE ms] [TIME ms-unix-time]
/// [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID id].
///
/// Changes the owner of pending messages to `consumer`, if they have been idle for `min-idle-time`
/// milliseconds at least (0: in any case), and replies with those that were claimed. The consumer
/// is created if it does not exist. Ids that are not pending are ignored.
///
/// - IDLE sets the time since the last delivery, in milliseconds. Without it the time is reset to
///   0, since a new consumer now works on the message.
/// - TIME sets the time of the last delivery as a Unix time in milliseconds, which does not depend
///   on when the command is executed. The AOF and replicas get this one.
/// - RETRYCOUNT sets the number of deliveries. Without it the number is incremented, except with
///   JUSTID. A high number lets clients find messages that are never processed.
/// - FORCE creates pending entries for messages that are not pending. They must exist in the
///   stream.
/// - JUSTID replies with the ids instead of the messages.
/// - LASTID moves the last id of the group on to this id. It is for replication: the XCLAIM that is
///   propagated for an XREADGROUP brings the last id along.
pub fn xclaimCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (db, key, groupname, consumername) = (server[c].db, argv.get(1), argv.get(2), argv.get(3));
    let o = lookupKeyRead(server, db, key);
    if let Some(o) = o
        && checkType(server, c, o, OBJ_STREAM)
    {
        return;
    }
    let Some(o) = o.filter(|&o| streamLookupCG(server.db[db].dict.stream(o), groupname).is_some())
    else {
        reply_no_group(server, c, key, groupname);
        return;
    };

    let msg = "Invalid min-idle-time argument for XCLAIM";
    let Ok(minidle) = getLongLongFromObjectOrReply(server, c, &argv[4], Some(msg)) else { return };
    let minidle = minidle.max(0);

    // Parse the ids first: the command must not fail after it has claimed some messages. The first
    // argument that is not an id begins the options.
    let mut ids = IdVec::new();
    let mut j = 5;
    while j < argv.len()
        && let Some(id) = stream_parse_id_bytes(&argv[j], 0, true)
    {
        ids.push(id);
        j += 1;
    }

    let now = mstime();
    let (mut force, mut justid, mut last_id) = (false, false, ID_MIN);
    let (mut deliverytime, mut retrycount) = (-1, -1);
    while j < argv.len() {
        let moreargs = argv.len() - 1 - j;
        let opt = argv.get(j);
        if eq_ignore_case(opt, b"FORCE") {
            force = true;
        } else if eq_ignore_case(opt, b"JUSTID") {
            justid = true;
        } else if eq_ignore_case(opt, b"IDLE") && moreargs > 0 {
            j += 1;
            let msg = Some("Invalid IDLE option argument for XCLAIM");
            let Ok(idle) = getLongLongFromObjectOrReply(server, c, &argv[j], msg) else { return };
            deliverytime = now.wrapping_sub(idle);
        } else if eq_ignore_case(opt, b"TIME") && moreargs > 0 {
            j += 1;
            let msg = Some("Invalid TIME option argument for XCLAIM");
            let Ok(time) = getLongLongFromObjectOrReply(server, c, &argv[j], msg) else { return };
            deliverytime = time;
        } else if eq_ignore_case(opt, b"RETRYCOUNT") && moreargs > 0 {
            j += 1;
            let msg = Some("Invalid RETRYCOUNT option argument for XCLAIM");
            let Ok(count) = getLongLongFromObjectOrReply(server, c, &argv[j], msg) else { return };
            retrycount = count;
        } else if eq_ignore_case(opt, b"LASTID") && moreargs > 0 {
            j += 1;
            let Ok(id) = streamParseStrictIDOrReply(server, c, &argv[j], 0) else { return };
            last_id = id;
        } else {
            addReplyErrorFormat!(server, c, "Unrecognized XCLAIM option '{}'", B(c_str(opt)));
            return;
        }
        j += 1;
    }

    // A delivery time that is negative or in the future becomes the present time. An error would
    // not help: clients may compute the time with their own clocks, which may be slightly ahead.
    if deliverytime < 0 || deliverytime > now {
        deliverytime = now;
    }

    let mut propagate_last_id = false;
    let group = stream_lookup_cg_mut(server.db[db].dict.stream_mut(o), groupname)
        .expect("the group was found above");
    // LASTID never moves the last id back.
    if last_id > group.last_id {
        group.last_id = last_id;
        propagate_last_id = true;
    }
    let last_id = group.last_id;

    let mut consumer = None;
    let arraylenptr = addReplyDeferredLen(server, c);
    let mut arraylen = 0;
    for (j, id) in ids.iter().enumerate() {
        let buf = streamEncodeID(id);
        let Server { clients, db: dbs, .. } = &mut *server;
        let s = dbs[db].dict.stream_mut(o);
        let mut nack = streamLookupCG(s, groupname).and_then(|cg| raxFind(&cg.pel, &buf)).copied();
        // FORCE creates the pending entry, if the message exists. The AOF and replicas rely on
        // this: the XCLAIM that they get creates the entries.
        if force && nack.is_none() {
            // The message has to be looked for: a pending entry for a message that was deleted
            // would never be of use.
            let mut si = streamIteratorStart(s, Some(id), Some(id), false);
            if streamIteratorGetID(&mut si, s).is_some() {
                nack = Some(streamCreateNACK(ConsumerId::NONE));
            }
        }
        let Some(mut nack) = nack else { continue };

        // An entry that FORCE has created has no owner, and `min-idle-time` does not apply to it.
        let owner = nack.consumer;
        if owner != ConsumerId::NONE
            && minidle != 0
            && now.wrapping_sub(nack.delivery_time) < minidle
        {
            continue;
        }
        let Some(group) = stream_lookup_cg_mut(s, groupname) else { break };
        // The consumer is only created when a message is claimed for it.
        let id_of_consumer = *consumer.get_or_insert_with(|| {
            let (id, _) = streamLookupConsumer(group, consumername, SLC_NONE)
                .expect("a consumer that is not there is made");
            id
        });
        nack.consumer = id_of_consumer;
        nack.delivery_time = deliverytime;
        // JUSTID leaves the number as it is: the client gets no message, so nothing was delivered.
        if retrycount >= 0 {
            nack.delivery_count = retrycount as u64;
        } else if !justid {
            nack.delivery_count = nack.delivery_count.wrapping_add(1);
        }
        stream_reassign(group, &buf, owner, nack);
        add_reply_claimed(clients, c, s, id, justid);
        arraylen += 1;

        let names = (key, groupname, consumername);
        streamPropagateXCLAIM(server, c, names, &last_id, &argv[5 + j], &nack);
        // The XCLAIM has told it.
        propagate_last_id = false;
        server.dirty += 1;
    }
    if propagate_last_id {
        streamPropagateGroupID(server, c, (key, groupname), &last_id);
        server.dirty += 1;
    }
    setDeferredArrayLen(server, c, arraylenptr, arraylen);
    preventCommandPropagation(server, c);
}

/// Replies with the error of XCLAIM and XAUTOCLAIM for a key or a group that does not exist.
fn reply_no_group(server: &mut Server, c: ClientId, key: &[u8], groupname: &[u8]) {
    addReplyErrorFormat!(
        server,
        c,
        "-NOGROUP No such key '{}' or consumer group '{}'",
        B(c_str(key)),
        B(c_str(groupname))
    );
}

/// Implements XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID].
///
/// Changes the owner of pending messages to `consumer`, as XCLAIM does, but iterates over the
/// pending entries list from `start` on instead of taking ids. Replies with the id to continue from
/// (0-0 at the end), and the messages claimed. At most ten times COUNT entries are examined, so
/// that the command does not take long if few of them are idle.
pub fn xautoclaimCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (db, key, groupname, consumername) = (server[c].db, argv.get(1), argv.get(2), argv.get(3));
    let o = lookupKeyRead(server, db, key);

    // Errors in the arguments come before all others.
    let msg = "Invalid min-idle-time argument for XAUTOCLAIM";
    let Ok(minidle) = getLongLongFromObjectOrReply(server, c, &argv[4], Some(msg)) else { return };
    let minidle = minidle.max(0);
    let Ok(startid) = stream_parse_interval_start_or_reply(server, c, &argv[5]) else { return };
    let (mut count, mut justid) = (100i64, false);
    let mut j = 6;
    while j < argv.len() {
        let opt = argv.get(j);
        if eq_ignore_case(opt, b"COUNT") && j + 1 < argv.len() {
            let msg = Some("COUNT must be > 0");
            match getRangeLongFromObjectOrReply(server, c, &argv[j + 1], 1, i64::MAX, msg) {
                Ok(n) => count = n,
                Err(()) => return,
            }
            j += 1;
        } else if eq_ignore_case(opt, b"JUSTID") {
            justid = true;
        } else {
            addReplyErrorObject(server, c, shared::syntaxerr);
            return;
        }
        j += 1;
    }

    if let Some(o) = o
        && checkType(server, c, o, OBJ_STREAM)
    {
        return;
    }
    let Some(o) = o.filter(|&o| streamLookupCG(server.db[db].dict.stream(o), groupname).is_some())
    else {
        reply_no_group(server, c, key, groupname);
        return;
    };

    // The messages are claimed before the reply is sent, because it begins with the id to continue
    // from.
    let mut consumer = None;
    // Most entries may not have been idle for long enough. Ten entries are examined for each that
    // is wanted.
    let mut attempts = count.saturating_mul(10);
    let mut claimed = Vec::new();
    let now = mstime();
    let mut ri = raxStart();
    let group =
        streamLookupCG(server.db[db].dict.stream(o), groupname).expect("the group was found above");
    raxSeek(&mut ri, &group.pel, ">=", &streamEncodeID(&startid));
    let endid = loop {
        let group = stream_lookup_cg_mut(server.db[db].dict.stream_mut(o), groupname)
            .expect("the group was found above");
        if !raxNext(&mut ri, &group.pel) {
            // The end of the list: the next call starts from the beginning.
            break ID_MIN;
        }
        let id = streamDecodeID(ri.key());
        // The next call continues with this entry.
        if attempts == 0 || count == 0 {
            break id;
        }
        attempts -= 1;
        let Some(&(mut nack)) = ri.data(&group.pel) else { continue };
        if minidle != 0 && now.wrapping_sub(nack.delivery_time) < minidle {
            continue;
        }
        let owner = nack.consumer;
        nack.consumer = *consumer.get_or_insert_with(|| {
            let (id, _) = streamLookupConsumer(group, consumername, SLC_NONE)
                .expect("a consumer that is not there is made");
            id
        });
        nack.delivery_time = now;
        if !justid {
            nack.delivery_count = nack.delivery_count.wrapping_add(1);
        }
        let buf = streamEncodeID(&id);
        stream_reassign(group, &buf, owner, nack);
        let last_id = group.last_id;
        claimed.push(id);
        count -= 1;

        let names = (key, groupname, consumername);
        let idarg = createObjectFromStreamID(&id);
        streamPropagateXCLAIM(server, c, names, &last_id, &idarg, &nack);
        server.dirty += 1;
    };

    let Server { clients, db: dbs, .. } = &mut *server;
    let s = dbs[db].dict.stream(o);
    addReplyArrayLen(clients, c, 2);
    addReplyStreamID(clients, c, &endid);
    addReplyArrayLen(clients, c, claimed.len());
    for id in &claimed {
        add_reply_claimed(clients, c, s, id, justid);
    }
    preventCommandPropagation(server, c);
}

/// Implements XDEL key id [id ...]: removes entries. Replies with the number of entries removed,
/// which is less than that of the ids if some do not exist.
pub fn xdelCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (db, key) = (server[c].db, argv.get(1));
    let Some(o) = lookupKeyWriteOrReply(server, c, key, shared::czero) else { return };
    if checkType(server, c, o, OBJ_STREAM) {
        return;
    }
    // All ids are parsed first, so that an invalid one leaves the stream unchanged.
    let Ok(ids) = stream_parse_ids_or_reply(server, c, argv, 2) else { return };
    let s = server.db[db].dict.stream_mut(o);
    let deleted = ids.iter().filter(|id| streamDeleteItem(s, id)).count() as i64;
    if deleted > 0 {
        signalModifiedKey(server, Some(c), db, key);
        notifyKeyspaceEvent(server, NOTIFY_STREAM, "xdel", key, db);
        server.dirty += deleted;
    }
    addReplyLongLong(server, c, deleted);
}

/// Implements XTRIM key MAXLEN|MINID [~|=] threshold [LIMIT entries]: removes the oldest entries
/// until the stream is not longer than the threshold, or until all ids are at least the threshold.
/// Replies with the number of entries removed.
///
/// `~` removes only whole nodes, which is faster, and not more than LIMIT entries: by default 100 *
/// stream-node-max-entries, 0 for no limit.
pub fn xtrimCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok((parsed_args, _)) = streamParseAddOrTrimArgsOrReply(server, c, argv, false) else {
        return;
    };
    let (db, key) = (server[c].db, argv.get(1));
    let Some(o) = lookupKeyWriteOrReply(server, c, key, shared::czero) else { return };
    if checkType(server, c, o, OBJ_STREAM) {
        return;
    }

    let deleted = streamTrim(server.db[db].dict.stream_mut(o), &parsed_args);
    if deleted != 0 {
        notifyKeyspaceEvent(server, NOTIFY_STREAM, "xtrim", key, db);
        if parsed_args.approx_trim {
            // The exact result is propagated: see `rewrite_trimming_command`.
            let s = server.db[db].dict.stream(o);
            let arg = stream_exact_trim_argument(s, parsed_args.trim_strategy);
            let trimarg = Some((parsed_args.trim_strategy_arg_idx, &arg[..]));
            rewrite_trimming_command(server, c, argv, None, trimarg);
        }
        signalModifiedKey(server, Some(c), db, key);
        server.dirty += deleted;
    }
    addReplyLongLong(server, c, deleted);
}

/// Parses the options of XINFO STREAM. Returns `None` without FULL, else the maximum number of
/// entries and pending entries to show, 0 for all. `Err`: an error was replied.
fn xinfo_parse_stream_options(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
) -> Result<Option<usize>, ()> {
    // The default is low, since the reply can be very long.
    let mut count = 10;
    // FULL is the first argument after the key, and COUNT the second.
    match argv.len() - 3 {
        0 => return Ok(None),
        1 | 3 if eq_ignore_case(&argv[3], b"full") => {}
        _ => {
            addReplySubcommandSyntaxError(server, c, argv);
            return Err(());
        }
    }
    if argv.len() == 6 {
        if !eq_ignore_case(&argv[4], b"count") {
            addReplySubcommandSyntaxError(server, c, argv);
            return Err(());
        }
        count = getLongLongFromObjectOrReply(server, c, &argv[5], None)?;
        if count < 0 {
            count = 10;
        }
    }
    Ok(Some(count as usize))
}

/// Replies to XINFO STREAM. `full` is the option FULL, with the maximum number of entries and
/// pending entries to show, 0 for all.
fn xinfoReplyWithStreamInfo(clients: &mut Clients, c: ClientId, s: &Stream, full: Option<usize>) {
    addReplyMapLen(clients, c, if full.is_some() { 6 } else { 7 });
    addReplyBulkCString(clients, c, b"length");
    addReplyLongLong(clients, c, s.length as i64);
    addReplyBulkCString(clients, c, b"radix-tree-keys");
    addReplyLongLong(clients, c, raxSize(&s.rax) as i64);
    addReplyBulkCString(clients, c, b"radix-tree-nodes");
    addReplyLongLong(clients, c, s.rax.numnodes() as i64);
    addReplyBulkCString(clients, c, b"last-generated-id");
    addReplyStreamID(clients, c, &s.last_id);

    let Some(count) = full else {
        addReplyBulkCString(clients, c, b"groups");
        addReplyLongLong(clients, c, s.cgroups.as_ref().map_or(0, raxSize) as i64);
        for (name, rev) in [(&b"first-entry"[..], false), (b"last-entry", true)] {
            addReplyBulkCString(clients, c, name);
            if stream_reply_with_raw_entries(clients, c, s, (&ID_MIN, &ID_MAX), 1, rev) == 0 {
                addReplyNull(clients, c);
            }
        }
        return;
    };

    addReplyBulkCString(clients, c, b"entries");
    stream_reply_with_entries(clients, c, s, (&ID_MIN, &ID_MAX), count, false);

    addReplyBulkCString(clients, c, b"groups");
    let Some(cgroups) = &s.cgroups else {
        addReplyArrayLen(clients, c, 0);
        return;
    };
    addReplyArrayLen(clients, c, raxSize(cgroups));
    let mut ri_cgroups = raxStart();
    raxSeek(&mut ri_cgroups, cgroups, "^", b"");
    while raxNext(&mut ri_cgroups, cgroups) {
        if let Some(cg) = ri_cgroups.data(cgroups) {
            xinfo_reply_with_group(clients, c, ri_cgroups.key(), cg, count);
        }
    }
}

/// Replies with a consumer group for XINFO STREAM FULL: at most `count` entries (0: all) of each
/// pending entries list.
fn xinfo_reply_with_group(
    clients: &mut Clients,
    c: ClientId,
    name: &[u8],
    cg: &streamCG,
    count: usize,
) {
    addReplyMapLen(clients, c, 5);
    addReplyBulkCString(clients, c, b"name");
    addReplyBulkCBuffer(clients, c, name);
    addReplyBulkCString(clients, c, b"last-delivered-id");
    addReplyStreamID(clients, c, &cg.last_id);
    addReplyBulkCString(clients, c, b"pel-count");
    addReplyLongLong(clients, c, raxSize(&cg.pel) as i64);

    // The pending entries of the group: id, consumer, time and number of deliveries.
    addReplyBulkCString(clients, c, b"pending");
    let arrayptr = addReplyDeferredLen(clients, c);
    let mut arraylen = 0;
    let mut ri = raxStart();
    raxSeek(&mut ri, &cg.pel, "^", b"");
    while (count == 0 || arraylen < count) && raxNext(&mut ri, &cg.pel) {
        let Some(nack) = ri.data(&cg.pel) else { continue };
        addReplyArrayLen(clients, c, 4);
        addReplyStreamID(clients, c, &streamDecodeID(ri.key()));
        addReplyBulkCBuffer(clients, c, consumer_name(cg, nack));
        addReplyLongLong(clients, c, nack.delivery_time);
        addReplyLongLong(clients, c, nack.delivery_count as i64);
        arraylen += 1;
    }
    setDeferredArrayLen(clients, c, arrayptr, arraylen);

    // The consumers, each with its own pending entries.
    addReplyBulkCString(clients, c, b"consumers");
    addReplyArrayLen(clients, c, cg.consumers.len());
    for consumer in cg.consumers.iter() {
        addReplyMapLen(clients, c, 4);
        addReplyBulkCString(clients, c, b"name");
        addReplyBulkCBuffer(clients, c, &consumer.name);
        addReplyBulkCString(clients, c, b"seen-time");
        addReplyLongLong(clients, c, consumer.seen_time);
        addReplyBulkCString(clients, c, b"pel-count");
        addReplyLongLong(clients, c, raxSize(&consumer.pel) as i64);
        addReplyBulkCString(clients, c, b"pending");
        let arrayptr = addReplyDeferredLen(clients, c);
        let mut arraylen = 0;
        let mut ri = raxStart();
        raxSeek(&mut ri, &consumer.pel, "^", b"");
        while (count == 0 || arraylen < count) && raxNext(&mut ri, &consumer.pel) {
            let Some(nack) = raxFind(&cg.pel, ri.key()) else { continue };
            addReplyArrayLen(clients, c, 3);
            addReplyStreamID(clients, c, &streamDecodeID(ri.key()));
            addReplyLongLong(clients, c, nack.delivery_time);
            addReplyLongLong(clients, c, nack.delivery_count as i64);
            arraylen += 1;
        }
        setDeferredArrayLen(clients, c, arrayptr, arraylen);
    }
}

/// Implements XINFO:
///
/// - XINFO CONSUMERS key group
/// - XINFO GROUPS key
/// - XINFO STREAM key [FULL [COUNT count]]
pub fn xinfoCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (db, opt) = (server[c].db, argv.get(1));
    if eq_ignore_case(opt, b"HELP") {
        addReplyHelp(
            server,
            c,
            argv,
            &[
                "CONSUMERS <key> <groupname>",
                "    Show consumers of <groupname>.",
                "GROUPS <key>",
                "    Show the stream consumer groups.",
                "STREAM <key> [FULL [COUNT <count>]",
                "    Show information about the stream.",
            ],
        );
        return;
    }
    if argv.len() < 3 {
        addReplySubcommandSyntaxError(server, c, argv);
        return;
    }

    let key = argv.get(2);
    let Some(o) = lookupKeyReadOrReply(server, c, key, shared::nokeyerr) else { return };
    if checkType(server, c, o, OBJ_STREAM) {
        return;
    }

    if eq_ignore_case(opt, b"CONSUMERS") && argv.len() == 4 {
        let Server { clients, db: dbs, .. } = &mut *server;
        let Some(cg) = streamLookupCG(dbs[db].dict.stream(o), &argv[3]) else {
            addReplyErrorFormat!(
                server,
                c,
                "-NOGROUP No such consumer group '{}' for key name '{}'",
                B(c_str(&argv[3])),
                B(c_str(key))
            );
            return;
        };
        addReplyArrayLen(clients, c, cg.consumers.len());
        let now = mstime();
        for consumer in cg.consumers.iter() {
            addReplyMapLen(clients, c, 3);
            addReplyBulkCString(clients, c, b"name");
            addReplyBulkCBuffer(clients, c, &consumer.name);
            addReplyBulkCString(clients, c, b"pending");
            addReplyLongLong(clients, c, raxSize(&consumer.pel) as i64);
            addReplyBulkCString(clients, c, b"idle");
            // The clock may have gone back since.
            addReplyLongLong(clients, c, now.wrapping_sub(consumer.seen_time).max(0));
        }
    } else if eq_ignore_case(opt, b"GROUPS") && argv.len() == 3 {
        let Server { clients, db: dbs, .. } = server;
        let Some(cgroups) = &dbs[db].dict.stream(o).cgroups else {
            addReplyArrayLen(clients, c, 0);
            return;
        };
        addReplyArrayLen(clients, c, raxSize(cgroups));
        let mut ri = raxStart();
        raxSeek(&mut ri, cgroups, "^", b"");
        while raxNext(&mut ri, cgroups) {
            let Some(cg) = ri.data(cgroups) else { continue };
            addReplyMapLen(clients, c, 4);
            addReplyBulkCString(clients, c, b"name");
            addReplyBulkCBuffer(clients, c, ri.key());
            addReplyBulkCString(clients, c, b"consumers");
            addReplyLongLong(clients, c, cg.consumers.len() as i64);
            addReplyBulkCString(clients, c, b"pending");
            addReplyLongLong(clients, c, raxSize(&cg.pel) as i64);
            addReplyBulkCString(clients, c, b"last-delivered-id");
            addReplyStreamID(clients, c, &cg.last_id);
        }
    } else if eq_ignore_case(opt, b"STREAM") {
        let Ok(full) = xinfo_parse_stream_options(server, c, argv) else { return };
        let Server { clients, db: dbs, .. } = server;
        xinfoReplyWithStreamInfo(clients, c, dbs[db].dict.stream(o), full);
    } else {
        addReplySubcommandSyntaxError(server, c, argv);
    }
}

/// Tells whether bytes are a valid listpack of a stream. Without `deep` only its header and its end
/// are checked; with it, also that its elements are valid and form a master entry and entries.
pub fn streamValidateListpackIntegrity(lp: &[u8], deep: bool) -> bool {
    // C: the flags of the entries are not compared with the counts. But the length of a stream is
    // computed from the counts: if it is not 0 and no valid entry is left, XSETID aborts the
    // process.
    lpValidateIntegrity(lp, false)
        && (!deep
            || validate_stream_entries(lp).is_some_and(|entries| entries.live == entries.count))
}

/// Sets the counts of valid and deleted entries of a listpack to what its flags say. Returns
/// `false`, and changes nothing, if more than the counts is wrong.
pub fn stream_mend_listpack(lp: &mut Listpack) -> bool {
    let entries = lpValidateIntegrity(lp, false).then(|| validate_stream_entries(lp)).flatten();
    let Some(Entries { live, total, .. }) = entries else { return false };
    // Both counts are replaced in the master entry.
    let set =
        |lp: &mut Listpack, p: Option<usize>, n| p.is_some_and(|p| lpReplaceInteger(lp, p, n));
    let first = lpFirst(lp);
    set(lp, first, live) && {
        let deleted = lpFirst(lp).and_then(|p| lpNext(lp, p));
        set(lp, deleted, total - live)
    }
}

/// Removes the pending entries of a group that belong to no consumer. Returns their number.
pub fn stream_drop_unowned_nacks(cg: &mut streamCG) -> usize {
    let mut it = raxStart();
    raxSeek(&mut it, &cg.pel, "^", b"");
    // The ids are collected first, since the list can't be changed while it is iterated.
    let mut unowned = Vec::new();
    while raxNext(&mut it, &cg.pel) {
        if it.data(&cg.pel).is_some_and(|nack| nack.consumer == ConsumerId::NONE) {
            unowned.push(it.key().to_vec());
        }
    }
    for id in &unowned {
        raxRemove(&mut cg.pel, id);
    }
    unowned.len()
}

/// The numbers of entries in a listpack of a stream.
struct Entries {
    /// The number of valid entries that the master entry states.
    count: i64,
    /// The number of entries that are not flagged as deleted.
    live: i64,
    /// The number of all entries, deleted ones included.
    total: i64,
}

/// Reads the elements of a listpack from bytes that can't be trusted. Each element is validated
/// before it is read.
struct Validator<'a> {
    lp: &'a [u8],
    /// The position of the current element; `None` after the end mark.
    p: Option<usize>,
    /// The position of the element after it, or of the end mark.
    next: Option<usize>,
}

impl Validator<'_> {
    /// Moves to the next element, and validates the one after that. Returns `None` if that is
    /// corrupt.
    fn step(&mut self) -> Option<()> {
        self.p = self.next;
        lpValidateNext(self.lp, &mut self.next).then_some(())
    }

    /// Returns the integer at the current element and moves on. Returns `None` if it is not an
    /// integer.
    fn integer(&mut self) -> Option<i64> {
        let n = lpGetIntegerIfValid(self.lp, self.p?)?;
        self.step()?;
        Some(n)
    }

    /// Returns the number of elements that the current element states, and moves on. Returns `None`
    /// if it is not a number, or more than the listpack has bytes.
    fn count(&mut self) -> Option<i64> {
        self.integer().filter(|n| (0..=self.lp.len() as i64).contains(n))
    }

    /// Skips `n` elements, whatever they are.
    fn skip(&mut self, n: i64) -> Option<()> {
        (0..n).try_for_each(|_| self.step())
    }
}

/// Validates the master entry and all entries of a listpack, for
/// [`streamValidateListpackIntegrity`]. Returns the numbers of entries, or `None` at the first
/// error.
fn validate_stream_entries(lp: &[u8]) -> Option<Entries> {
    let first = lpValidateFirst(lp);
    let mut v = Validator { lp, p: first, next: first };
    if !lpValidateNext(lp, &mut v.next) {
        return None;
    }

    // Read the master entry. C: a negative number of entries or fields may pass, as may one that
    // overflows.
    let (entry_count, deleted_count) = (v.integer()?, v.integer()?);
    let total = entry_count.checked_add(deleted_count).filter(|&total| total >= 0)?;
    let master_fields = v.count()?;
    v.skip(master_fields)?;
    if v.integer()? != 0 {
        return None;
    }

    let mut live = 0;
    for _ in 0..total {
        let flags = v.integer()?;
        live += i64::from(flags & STREAM_ITEM_FLAG_DELETED == 0);
        v.integer()?;
        v.integer()?;
        // The elements besides the values: flags, and the two parts of the id.
        let (mut fields, mut extra_fields) = (master_fields, 3i64);
        if flags & STREAM_ITEM_FLAG_SAMEFIELDS == 0 {
            fields = v.count()?;
            v.skip(fields)?;
            extra_fields += fields + 1;
        }
        v.skip(fields)?;
        // The lp-count must lead back to the flags.
        if v.integer()? != fields + extra_fields {
            return None;
        }
    }
    // C: an end mark before the end of the bytes is accepted. But a reader in reverse starts at the
    // last byte.
    let at_end = v.next.is_none() && v.p == Some(lp.len() - 1);
    at_end.then_some(Entries { count: entry_count, live, total })
}

#[cfg(test)]
mod tests;
