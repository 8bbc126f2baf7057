//! `t_stream.c`: streams and their consumer groups.
//!
//! Read first: [`Stream`] and [`streamAppendItem`] (how entries lie in listpacks), [`streamIteratorGetID`] (how
//! they are read), [`streamCG`] (who has read what), then the commands in the order of the C.
//!
//! A stream is a radix tree of listpacks. The key of a listpack is the id of its first entry, 16 bytes big endian, so that
//! the order of the keys is that of the ids. A listpack begins with a master entry, whose fields are those of its first
//! entry; the entries with the same fields need not repeat them:
//!
//! ```text
//! master  count | deleted | number of fields | field ... | 0
//! entry   flags | ms - master's | seq - master's | [number of fields] | [field] value ... | lp-count
//! ```
//!
//! `lp-count` is the number of elements before it that belong to the entry, and leads back to `flags`. What is in brackets
//! is absent with STREAM_ITEM_FLAG_SAMEFIELDS. A deleted entry stays, with a flag, until nothing else is in its listpack.
//!
//! Differs:
//! - In the C a pending message is one `streamNACK`, to which the group's list and the consumer's list both point. Here
//!   the group's list owns it, and it names its consumer by a [`ConsumerId`]; the consumer's list holds the ids alone.
//! - A [`streamIterator`] borrows nothing: each step is given the stream.
//! - What is propagated is only written out when there is somebody to read it.

use std::ops::{Deref, Index, IndexMut};

use crate::addReplyErrorFormat;
use crate::args::{Args, Argv};
use crate::blocked::{blockForKeys, signalKeyAsReady, unblockClient, updateStatsOnUnblock};
use crate::db::*;
use crate::ds::adlist::{listNext, listRewind};
use crate::ds::listpack::*;
use crate::ds::rax::*;
use crate::ds::redisassert::assertSome;
use crate::keyspace::*;
use crate::networking::*;
use crate::notify::notifyKeyspaceEvent;
use crate::object::*;
use crate::server::{CommandSpec, command, preventCommandPropagation, propagate};
use crate::server_h::*;
use crate::sys::alloc::zmalloc_good_size;
use crate::sys::clock::{elapsedStart, elapsedUs, mstime};
use crate::timeout::getTimeoutFromObjectOrReply;
use crate::util::{B, c_str, eq_ignore_case, ll2string, string2ull, ull2string};

/// The commands of this file.
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

// Flags of an entry.
const STREAM_ITEM_FLAG_NONE: i64 = 0;
const STREAM_ITEM_FLAG_DELETED: i64 = 1 << 0;
const STREAM_ITEM_FLAG_SAMEFIELDS: i64 = 1 << 1;

/// Up to so many ids of a command take no allocation.
const STREAMID_STATIC_VECTOR_LEN: usize = 8;

/// The most memory a new listpack gets in advance, however large a node may become.
const STREAM_LISTPACK_MAX_PRE_ALLOCATE: usize = 4096;

/// No listpack grows beyond this, whatever the configuration says: its header has 32 bits for its size.
const STREAM_LISTPACK_MAX_SIZE: usize = 1 << 30;

/// The least and the greatest id.
const ID_MIN: streamID = streamID { ms: 0, seq: 0 };
const ID_MAX: streamID = streamID { ms: u64::MAX, seq: u64::MAX };

// ---------------------------------------------------------------------------------------------------------------------
// Structures
// ---------------------------------------------------------------------------------------------------------------------

/// `stream`: entries in listpacks, which are in a radix tree by the id of their first entry.
#[derive(Default)]
pub struct Stream {
    /// By [`streamEncodeID`] of the master entry's id.
    pub rax: Rax<Listpack>,
    /// Number of entries, without the deleted ones.
    pub length: u64,
    /// The greatest id there ever was; 0-0 in the beginning.
    pub last_id: streamID,
    /// The groups by name. None until there is the first one.
    pub cgroups: Option<Rax<streamCG>>,
}

/// `streamCG`: a consumer group. Each message goes to one of its consumers, and is pending until that one acknowledges it.
pub struct streamCG {
    /// The last id delivered: who asks for new messages gets those behind it.
    pub last_id: streamID,
    /// The pending messages of all consumers, by [`streamEncodeID`] of their ids (the C's "PEL").
    pub pel: Rax<streamNACK>,
    /// The consumers.
    pub consumers: Consumers,
}

/// `streamConsumer`: one of a group.
///
/// Its list and that of the group agree: an id is in here just if the NACK in the group's list names this consumer.
pub struct streamConsumer {
    /// When it last did something, in milliseconds since the epoch.
    pub seen_time: mstime_t,
    /// Its name; case counts.
    pub name: Vec<u8>,
    /// The ids of the messages that are pending with it.
    pub pel: Rax<()>,
}

/// `streamNACK`: a message that was delivered and not acknowledged.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct streamNACK {
    /// When it was last delivered, in milliseconds since the epoch.
    pub delivery_time: mstime_t,
    /// How often it was delivered.
    pub delivery_count: u64,
    /// To whom it was last delivered.
    pub consumer: ConsumerId,
}

/// Which consumer of its group: the C's `streamConsumer *`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct ConsumerId(u32);

impl ConsumerId {
    /// Nobody: the C's NULL, in a NACK that is being made.
    pub const NONE: ConsumerId = ConsumerId(u32::MAX);
}

/// The consumers of a group, by name and by id. An id is given again when its consumer is gone, so whoever removes a
/// consumer removes the NACKs that name it.
#[derive(Default)]
pub struct Consumers {
    names: Rax<ConsumerId>,
    slots: Vec<Option<streamConsumer>>,
    free: Vec<u32>,
}

impl Consumers {
    /// How many there are.
    pub fn len(&self) -> u64 {
        raxSize(&self.names)
    }

    /// The consumer of that name.
    pub fn find(&self, name: &[u8]) -> Option<ConsumerId> {
        raxFind(&self.names, name).copied()
    }

    /// The consumer, if it is there; nobody is not.
    pub fn get(&self, id: ConsumerId) -> Option<&streamConsumer> {
        self.slots.get(id.0 as usize)?.as_ref()
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, id: ConsumerId) -> Option<&mut streamConsumer> {
        self.slots.get_mut(id.0 as usize)?.as_mut()
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &streamConsumer> {
        self.names.values().filter_map(|&id| self.get(id))
    }

    /// Adds a consumer of a new name, with nothing pending. `None`: the name is taken.
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

    /// Takes a consumer out.
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

/// A few ids, without an allocation as a rule.
struct IdVec {
    len: usize,
    inline: [streamID; STREAMID_STATIC_VECTOR_LEN],
    /// Holds all of them once they are too many.
    heap: Vec<streamID>,
}

impl IdVec {
    fn new() -> IdVec {
        IdVec { len: 0, inline: [ID_MIN; STREAMID_STATIC_VECTOR_LEN], heap: Vec::new() }
    }

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

// ---------------------------------------------------------------------------------------------------------------------
// Low level stream encoding: a radix tree of listpacks
// ---------------------------------------------------------------------------------------------------------------------

/// An empty stream.
pub fn streamNew() -> Stream {
    Stream::default()
}

impl Stream {
    /// How many allocations it takes, about: the nodes of the tree, and for each group as many pending messages as the first
    /// one has (`lazyfreeGetFreeEffort`).
    pub fn free_effort(&self) -> usize {
        let mut effort = self.rax.numnodes();
        if let Some(cgroups) = &self.cgroups
            && let Some(cg) = cgroups.values().next()
        {
            effort += raxSize(cgroups) * (1 + raxSize(&cg.pel));
        }
        effort as usize
    }

    /// Bytes it takes up, about. `sample_size` listpacks are looked at (`objectComputeSize`).
    pub fn mem_usage(&self, sample_size: usize) -> usize {
        let numele = raxSize(&self.rax) as usize;
        let lp_size = |lp: &Listpack| zmalloc_good_size(lp.capacity());
        let mut asize = size_of::<Stream>() + streamRadixTreeMemoryUsage(&self.rax);

        // The last listpack is often not full. So the average of the first ones stands for all but that, which is taken as
        // it is.
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

        // Groups with many pending messages take much too.
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

    /// A copy of it: [`streamDup`].
    pub fn dup(&self) -> Stream {
        streamDup(self)
    }
}

/// What a radix tree of ids takes up, in bytes: an estimate, with a fixed amount for each node and the C's sizes. From
/// `object.c`.
pub fn streamRadixTreeMemoryUsage<V>(rax: &Rax<V>) -> usize {
    const C_RAX_NODE: usize = 4;
    let numnodes = rax.numnodes() as usize;
    raxSize(rax) as usize * size_of::<streamID>() + numnodes * (C_RAX_NODE + size_of::<i64>() * 30)
}

/// Makes `id` its successor. `C_ERR`: it was the last one there can be, and is 0-0 now.
pub fn streamIncrID(id: &mut streamID) -> CResult {
    let (seq, carry) = id.seq.overflowing_add(1);
    let (ms, wrapped) = id.ms.overflowing_add(u64::from(carry));
    *id = streamID { ms, seq };
    if wrapped { C_ERR } else { C_OK }
}

/// Makes `id` its predecessor. `C_ERR`: it was 0-0, and is the last one there can be now.
pub fn streamDecrID(id: &mut streamID) -> CResult {
    let (seq, borrow) = id.seq.overflowing_sub(1);
    let (ms, wrapped) = id.ms.overflowing_sub(u64::from(borrow));
    *id = streamID { ms, seq };
    if wrapped { C_ERR } else { C_OK }
}

/// The id of an entry that is added now, after `last_id`: the time, or, if the clock has not moved on since, the successor.
fn streamNextID(last_id: &streamID) -> streamID {
    let ms = mstime() as u64;
    if ms > last_id.ms {
        return streamID { ms, seq: 0 };
    }
    let mut id = *last_id;
    // After the last one it wraps around; the caller sees that it is not greater.
    let _ = streamIncrID(&mut id);
    id
}

/// A copy of a stream, with its groups, for COPY.
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

        // The consumers get other ids than they had; each takes what is pending with it.
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

/// The element behind the one at `p`, where there has to be one.
#[inline]
#[track_caller]
fn lpSkip(lp: &[u8], p: usize) -> usize {
    assertSome!(lpNext(lp, p))
}

/// `p` moved on by `n` elements, which have to be there.
#[inline]
fn lpSkipElements(lp: &[u8], mut p: usize, n: i64) -> usize {
    for _ in 0..n {
        p = lpSkip(lp, p);
    }
    p
}

/// `p` moved back by the elements of an entry, as the lp-count that is there tells: to its flags. `None`: the lp-count is 0,
/// which ends the master entry.
#[inline]
fn lpSkipEntryBack(lp: &[u8], mut p: usize) -> Option<usize> {
    let lp_count = lpGetInteger(lp, p);
    assert!(lp_count >= 0);
    if lp_count == 0 {
        return None;
    }
    for _ in 0..lp_count {
        p = assertSome!(lpPrev(lp, p));
    }
    Some(p)
}

/// Appends to a listpack that is known to have room.
#[inline]
fn lpAppendOrPanic(lp: &mut Listpack, ele: &[u8]) {
    assert!(lpAppend(lp, ele), "a listpack of a stream outgrew its limit");
}

#[inline]
fn lpAppendIntegerOrPanic(lp: &mut Listpack, value: i64) {
    assert!(lpAppendInteger(lp, value), "a listpack of a stream outgrew its limit");
}

/// Head of a listpack: the number of the master entry's fields, and where the first of them is.
#[inline]
fn lpMasterEntry(lp: &[u8]) -> (i64, usize) {
    // Behind the numbers of entries and of deleted ones.
    let p = lpSkipElements(lp, assertSome!(lpFirst(lp)), 2);
    let master_fields_count = lpGetInteger(lp, p);
    assert!(master_fields_count >= 0);
    (master_fields_count, lpSkip(lp, p))
}

/// The id of the entry whose difference to the master's id is at `p`, and what is behind it.
#[inline]
fn lpGetID(lp: &[u8], p: usize, master_id: &streamID) -> (streamID, usize) {
    let ms = lpGetInteger(lp, p);
    let p = lpSkip(lp, p);
    let seq = lpGetInteger(lp, p);
    let ms = master_id.ms.wrapping_add(ms as u64);
    let seq = master_id.seq.wrapping_add(seq as u64);
    (streamID { ms, seq }, lpSkip(lp, p))
}

/// The id of the first or the last entry of a listpack, deleted or not. `None`: it has none.
fn lpGetEdgeStreamID(lp: &[u8], first: bool, master_id: &streamID) -> Option<streamID> {
    let flags = if first {
        let (fields, p) = lpMasterEntry(lp);
        // Behind the fields is the zero that ends the master entry.
        lpNext(lp, lpSkipElements(lp, p, fields))?
    } else {
        lpSkipEntryBack(lp, assertSome!(lpLast(lp)))?
    };
    Some(lpGetID(lp, lpSkip(lp, flags), master_id).0)
}

/// An id as a key: 16 bytes, big endian, so that the order of the bytes is that of the ids.
#[inline]
pub fn streamEncodeID(id: &streamID) -> [u8; 16] {
    (u128::from(id.ms) << 64 | u128::from(id.seq)).to_be_bytes()
}

/// The reverse of [`streamEncodeID`]. A key of another length, which no stream has, is 0-0.
#[inline]
pub fn streamDecodeID(buf: &[u8]) -> streamID {
    let id = buf.try_into().map_or(0, u128::from_be_bytes);
    streamID { ms: (id >> 64) as u64, seq: id as u64 }
}

/// The id of the first or the last entry, deleted or not. Of an empty stream it is the last or the first id there can be.
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

/// Why [`streamAppendItem`] refused.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum AppendError {
    /// The id is not greater than the last one.
    EDOM,
    /// The fields and values are too large.
    ERANGE,
}

/// How large a node may get: `stream-node-max-bytes` and `stream-node-max-entries`; 0 is no limit.
#[derive(Copy, Clone, Debug)]
pub struct NodeLimits {
    /// Bytes of a listpack.
    pub max_bytes: usize,
    /// Entries, with the deleted ones.
    pub max_entries: i64,
}

impl NodeLimits {
    /// As configured.
    pub fn of(server: &Server) -> NodeLimits {
        NodeLimits {
            max_bytes: server.stream_node_max_bytes,
            max_entries: server.stream_node_max_entries,
        }
    }
}

/// Adds an entry with `numfields` fields at the end, and returns its id: `use_id`, or else one from the clock.
///
/// `ele` gives the fields and values: field 0, value 0, field 1 and so on. On an error the stream is as it was.
pub fn streamAppendItem<'a>(
    s: &mut Stream,
    limits: NodeLimits,
    numfields: usize,
    ele: impl Fn(usize) -> &'a [u8],
    use_id: Option<&streamID>,
) -> Result<streamID, AppendError> {
    let id = use_id.copied().unwrap_or_else(|| streamNextID(&s.last_id));

    // Not only a given id may be too low: one from the clock may have wrapped around.
    if id <= s.last_id {
        return Err(AppendError::EDOM);
    }

    // A listpack has 32 bits for its size and for that of a string.
    let totelelen = (0..numfields * 2).fold(0usize, |total, i| total.saturating_add(ele(i).len()));
    if totelelen > STREAM_LISTPACK_MAX_SIZE {
        return Err(AppendError::ERANGE);
    }

    // Append to the last listpack, if there is one that is not full.
    let mut ri = raxStart();
    raxSeek(&mut ri, &s.rax, "$", b"");
    let mut new_node = true;
    if raxNext(&mut ri, &s.rax)
        && let Some(lp) = ri.data_mut(&mut s.rax)
    {
        let mut node_max_bytes = limits.max_bytes;
        if node_max_bytes == 0 || node_max_bytes > STREAM_LISTPACK_MAX_SIZE {
            node_max_bytes = STREAM_LISTPACK_MAX_SIZE;
        }
        new_node = if lpBytes(lp) + totelelen >= node_max_bytes {
            true
        } else if limits.max_entries != 0 {
            // Live entries and deleted ones.
            let first = assertSome!(lpFirst(lp));
            let deleted = lpGetInteger(lp, lpSkip(lp, first));
            lpGetInteger(lp, first).wrapping_add(deleted) >= limits.max_entries
        } else {
            false
        };
        if new_node {
            // Nothing comes to this one any more.
            lpShrinkToFit(lp);
        }
    }

    let numfields_i64 = numfields as i64;
    let mut flags = STREAM_ITEM_FLAG_NONE;
    let master_id;
    let lp = if new_node {
        master_id = id;
        // With memory in advance, so that it does not move at every XADD.
        let mut prealloc = STREAM_LISTPACK_MAX_PRE_ALLOCATE;
        if limits.max_bytes > 0 {
            prealloc = prealloc.min(limits.max_bytes);
        }
        let mut lp = lpNew(prealloc);
        lpAppendIntegerOrPanic(&mut lp, 1);
        lpAppendIntegerOrPanic(&mut lp, 0);
        lpAppendIntegerOrPanic(&mut lp, numfields_i64);
        for i in 0..numfields {
            lpAppendOrPanic(&mut lp, ele(i * 2));
        }
        lpAppendIntegerOrPanic(&mut lp, 0);
        flags |= STREAM_ITEM_FLAG_SAMEFIELDS;
        let rax_key = streamEncodeID(&id);
        raxInsert(&mut s.rax, &rax_key, lp);
        raxFindMut(&mut s.rax, &rax_key).expect("it was inserted just now")
    } else {
        master_id = streamDecodeID(ri.key());
        let lp = ri.data_mut(&mut s.rax).expect("it was there before");
        let p = assertSome!(lpFirst(lp));
        let count = lpGetInteger(lp, p);
        lpReplaceInteger(lp, p, count.wrapping_add(1));
        // The same fields as the master entry's need not be stored again.
        let (master_fields_count, p) = lpMasterEntry(lp);
        if master_fields_count == numfields_i64 && sameFields(lp, p, numfields, &ele) {
            flags |= STREAM_ITEM_FLAG_SAMEFIELDS;
        }
        lp
    };

    // The entry itself.
    let samefields = flags & STREAM_ITEM_FLAG_SAMEFIELDS != 0;
    lpAppendIntegerOrPanic(lp, flags);
    lpAppendIntegerOrPanic(lp, id.ms.wrapping_sub(master_id.ms) as i64);
    lpAppendIntegerOrPanic(lp, id.seq.wrapping_sub(master_id.seq) as i64);
    if !samefields {
        lpAppendIntegerOrPanic(lp, numfields_i64);
    }
    for i in 0..numfields {
        if !samefields {
            lpAppendOrPanic(lp, ele(i * 2));
        }
        lpAppendOrPanic(lp, ele(i * 2 + 1));
    }
    // Flags and the two parts of the id, and, if the fields are there, these with their number.
    let lp_count = numfields_i64 + 3 + if samefields { 0 } else { numfields_i64 + 1 };
    lpAppendIntegerOrPanic(lp, lp_count);

    s.length = s.length.wrapping_add(1);
    s.last_id = id;
    Ok(id)
}

/// Whether the `n` fields from `p` on are the fields that `ele` gives.
#[inline]
fn sameFields<'a>(lp: &[u8], mut p: usize, n: usize, ele: &impl Fn(usize) -> &'a [u8]) -> bool {
    let mut buf = [0; LP_INTBUF_SIZE];
    for i in 0..n {
        if lpGetString(lp, p, &mut buf) != ele(i * 2) {
            return false;
        }
        p = lpSkip(lp, p);
    }
    true
}

/// What a stream is trimmed by.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum TrimStrategy {
    /// Not at all.
    #[default]
    TRIM_STRATEGY_NONE,
    /// By its length.
    TRIM_STRATEGY_MAXLEN,
    /// By its lowest id.
    TRIM_STRATEGY_MINID,
}
use TrimStrategy::*;

/// The options of XADD and XTRIM.
#[derive(Copy, Clone, Default, Debug)]
pub struct streamAddTrimArgs {
    /// XADD: the id, where it is not `*`.
    pub id: Option<streamID>,
    /// XADD: does nothing if the key is not there.
    pub no_mkstream: bool,
    /// What to trim by.
    pub trim_strategy: TrimStrategy,
    /// The place of the threshold among the arguments, which is rewritten.
    pub trim_strategy_arg_idx: usize,
    /// Only whole nodes are removed, so more may be left than asked for.
    pub approx_trim: bool,
    /// The most entries to remove; 0 is no limit.
    pub limit: i64,
    /// The length to leave.
    pub maxlen: i64,
    /// The lowest id to leave.
    pub minid: streamID,
}

/// Removes entries from the beginning, as `args` say, and returns how many.
///
/// Whole nodes go first. Where only a part of a node has to go, its entries are flagged, or, with `approx_trim`, stay. With
/// `limit` it stops before the node that would exceed it.
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
        if by_length && s.length <= maxlen {
            break;
        }
        let master_id = streamDecodeID(ri.key());
        let Some(lp) = ri.data_mut(&mut s.rax) else { break };
        let entries = lpGetInteger(lp, assertSome!(lpFirst(lp)));

        if args.limit != 0 && deleted.wrapping_add(entries) > args.limit {
            break;
        }

        let remove_node = if by_length {
            s.length.wrapping_sub(entries as u64) >= maxlen
        } else {
            lpGetEdgeStreamID(lp, false, &master_id).is_some_and(|last_id| last_id < args.minid)
        };
        if remove_node {
            raxRemove(&mut s.rax, ri.key());
            s.length = s.length.wrapping_sub(entries as u64);
            deleted = deleted.wrapping_add(entries);
            continue;
        }

        // Part of a node is as much as there is to do, and too fine for `~`.
        if !args.approx_trim {
            let keep = |id: &streamID, length| {
                if by_length { length <= maxlen } else { *id >= args.minid }
            };
            let from_lp = lpTrim(lp, &master_id, &mut s.length, keep);
            deleted = deleted.wrapping_add(from_lp);
            lpCountDeleted(lp, from_lp);
        }
        break;
    }
    deleted
}

/// Flags entries of a listpack as deleted, from the first one on until `keep` says to stop, given the id of the next one and
/// the length of the stream, which it counts down. Returns how many.
fn lpTrim(
    lp: &mut Listpack,
    master_id: &streamID,
    length: &mut u64,
    keep: impl Fn(&streamID, u64) -> bool,
) -> i64 {
    let mut deleted = 0;
    let (master_fields, p) = lpMasterEntry(lp);
    let mut next = lpNext(lp, lpSkipElements(lp, p, master_fields));
    while let Some(at) = next {
        let entry = lpEntryAt(lp, at, master_id, master_fields);
        if keep(&entry.id, *length) {
            break;
        }
        // Behind the entry's last value and its lp-count.
        let values = entry.elements();
        next = lpNext(lp, lpSkipElements(lp, entry.start, values));
        if entry.flags & STREAM_ITEM_FLAG_DELETED == 0 {
            // Flags are one small number before and after, so what is behind does not move.
            lpReplaceInteger(lp, at, entry.flags | STREAM_ITEM_FLAG_DELETED);
            deleted += 1;
            *length = length.wrapping_sub(1);
        }
    }
    deleted
}

/// Moves `n` entries from the count of the live ones to that of the deleted ones.
fn lpCountDeleted(lp: &mut Listpack, n: i64) {
    let p = assertSome!(lpFirst(lp));
    let entries = lpGetInteger(lp, p);
    lpReplaceInteger(lp, p, entries.wrapping_sub(n));
    let p = lpSkip(lp, p);
    let marked_deleted = lpGetInteger(lp, p);
    lpReplaceInteger(lp, p, marked_deleted.wrapping_add(n));
}

/// An entry of a listpack.
struct LpEntry {
    flags: i64,
    id: streamID,
    numfields: i64,
    /// Its first field, or, with SAMEFIELDS, its first value.
    start: usize,
}

impl LpEntry {
    /// How many elements its fields and values are.
    fn elements(&self) -> i64 {
        if self.flags & STREAM_ITEM_FLAG_SAMEFIELDS != 0 {
            self.numfields
        } else {
            self.numfields.saturating_mul(2)
        }
    }
}

/// The entry whose flags are at `p`.
#[inline]
fn lpEntryAt(lp: &[u8], p: usize, master_id: &streamID, master_fields: i64) -> LpEntry {
    let flags = lpGetInteger(lp, p);
    let (id, mut start) = lpGetID(lp, lpSkip(lp, p), master_id);
    let mut numfields = master_fields;
    if flags & STREAM_ITEM_FLAG_SAMEFIELDS == 0 {
        numfields = lpGetInteger(lp, start);
        start = lpSkip(lp, start);
    }
    assert!(numfields >= 0);
    LpEntry { flags, id, numfields, start }
}

/// Trims by length; with `approx` only whole nodes, and no more than the default of LIMIT. Returns how many entries went.
pub fn streamTrimByLength(s: &mut Stream, limits: NodeLimits, maxlen: i64, approx: bool) -> i64 {
    streamTrim(
        s,
        &streamAddTrimArgs {
            trim_strategy: TRIM_STRATEGY_MAXLEN,
            approx_trim: approx,
            limit: if approx { defaultTrimLimit(limits) } else { 0 },
            maxlen,
            ..Default::default()
        },
    )
}

/// Trims what has an id below `minid`; with `approx` only whole nodes, and no more than the default of LIMIT. Returns how
/// many entries went.
pub fn streamTrimByID(s: &mut Stream, limits: NodeLimits, minid: streamID, approx: bool) -> i64 {
    streamTrim(
        s,
        &streamAddTrimArgs {
            trim_strategy: TRIM_STRATEGY_MINID,
            approx_trim: approx,
            limit: if approx { defaultTrimLimit(limits) } else { 0 },
            minid,
            ..Default::default()
        },
    )
}

/// How many entries `~` removes at most where no LIMIT says it: a hundred nodes, so that no command takes too long.
fn defaultTrimLimit(limits: NodeLimits) -> i64 {
    limits.max_entries.saturating_mul(100)
}

/// Parses the options of XADD (`xadd`) or XTRIM. Returns them with the place of the id, which only XADD has. `Err`: the
/// error was sent.
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
        let maxlen = eq_ignore_case(opt, b"maxlen");
        if xadd && c_str(opt) == b"*" {
            break;
        } else if (maxlen || eq_ignore_case(opt, b"minid")) && moreargs > 0 {
            if args.trim_strategy != TRIM_STRATEGY_NONE {
                addReplyError(
                    server,
                    c,
                    b"syntax error, MAXLEN and MINID options at the same time are not compatible",
                );
                return Err(());
            }
            let next = c_str(argv.get(i + 1));
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
            // It is the id, or a syntax error.
            args.id = Some(streamParseStrictIDOrReply(server, c, opt, 0)?);
            break;
        } else {
            addReplyErrorObject(server, c, shared::syntaxerr);
            return Err(());
        }
        i += 1;
    }

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
        // The master, or the file, has said exactly what to trim, and we must come to the same.
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
        args.limit = defaultTrimLimit(NodeLimits::of(server));
    }
    Ok((args, i))
}

// ---------------------------------------------------------------------------------------------------------------------
// Iterator
// ---------------------------------------------------------------------------------------------------------------------

/// A walk over the entries of a stream between two ids, both included.
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
    /// Of the current listpack.
    master_id: streamID,
    master_fields_count: i64,
    master_fields_start: usize,
    /// The master entry's field to give next.
    master_fields_ptr: Option<usize>,
    entry_flags: i64,
    rev: bool,
    start: streamID,
    end: streamID,
    ri: RaxIterator,
    /// The place in the current listpack. `None`: go on to the next one.
    lp_ele: Option<usize>,
    /// The flags of the current entry.
    lp_flags: usize,
}

/// What a step within a listpack found.
enum IteratorStep {
    Entry(streamID, i64),
    OutOfRange,
}

/// Starts a walk from `start` to `end`; `None` stands for the first or the last id there can be. With `rev` it goes from
/// `end` to `start`.
pub fn streamIteratorStart(
    s: &Stream,
    start: Option<&streamID>,
    end: Option<&streamID>,
    rev: bool,
) -> streamIterator {
    let (start, end) = (*start.unwrap_or(&ID_MIN), *end.unwrap_or(&ID_MAX));
    let mut ri = raxStart();
    // The node that holds an id is the last one whose key is not above it.
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

/// Goes to the next entry that is not deleted. Returns its id and its number of fields; `None` at the end.
pub fn streamIteratorGetID(si: &mut streamIterator, s: &Stream) -> Option<(streamID, i64)> {
    loop {
        let lp: &[u8];
        if si.lp_ele.is_none() {
            let found =
                if si.rev { raxPrev(&mut si.ri, &s.rax) } else { raxNext(&mut si.ri, &s.rax) };
            if !found {
                return None;
            }
            lp = si.ri.data(&s.rax)?;
            si.master_id = streamDecodeID(si.ri.key());
            let (fields, p) = lpMasterEntry(lp);
            (si.master_fields_count, si.master_fields_start) = (fields, p);
            // To the zero that ends the master entry, or to the lp-count that ends the last entry.
            si.lp_ele =
                Some(if si.rev { assertSome!(lpLast(lp)) } else { lpSkipElements(lp, p, fields) });
        } else {
            lp = si.ri.data(&s.rax)?;
            if si.rev {
                // To the lp-count of the entry before. C: it jumps back by the lp-count of this one, for which all its
                // fields must have been read.
                si.lp_ele = Some(assertSome!(lpPrev(lp, si.lp_flags)));
            }
        }
        match streamIteratorStep(si, lp) {
            Some(IteratorStep::Entry(id, numfields)) => return Some((id, numfields)),
            Some(IteratorStep::OutOfRange) => return None,
            // The end of the listpack.
            None => si.lp_ele = None,
        }
    }
}

/// Goes from the lp-count before an entry (or, in reverse, at its end) to the entry, and on to the first that is to be given.
/// `None`: the listpack has no more.
#[inline]
fn streamIteratorStep(si: &mut streamIterator, lp: &[u8]) -> Option<IteratorStep> {
    let mut ele = si.lp_ele?;
    loop {
        if !si.rev {
            ele = lpNext(lp, ele)?;
        } else {
            ele = lpSkipEntryBack(lp, ele)?;
        }
        si.lp_flags = ele;
        let entry = lpEntryAt(lp, ele, &si.master_id, si.master_fields_count);

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

        ele = if si.rev {
            assertSome!(lpPrev(lp, si.lp_flags))
        } else {
            lpSkipElements(lp, entry.start, entry.elements())
        };
    }
}

/// The next field and value of the current entry: for each of its fields once, right after [`streamIteratorGetID`].
#[inline]
pub fn streamIteratorGetField<'a>(
    si: &mut streamIterator,
    s: &'a Stream,
) -> (ListpackEntry<'a>, ListpackEntry<'a>) {
    let lp: &'a [u8] = assertSome!(si.ri.data(&s.rax));
    let next = |place: &mut Option<usize>| {
        let at = assertSome!(*place);
        // There is one behind, since an entry ends with its lp-count.
        *place = Some(lpSkip(lp, at));
        lpGet(lp, at)
    };
    let field = if si.entry_flags & STREAM_ITEM_FLAG_SAMEFIELDS != 0 {
        next(&mut si.master_fields_ptr)
    } else {
        next(&mut si.lp_ele)
    };
    (field, next(&mut si.lp_ele))
}

/// Removes the entry the walk is at, whose id is `current`. What comes next is the entry behind it.
///
/// The entry is only flagged; when it was the last one that was not, its node goes.
pub fn streamIteratorRemoveEntry(si: &mut streamIterator, s: &mut Stream, current: &streamID) {
    if let Some(lp) = si.ri.data_mut(&mut s.rax) {
        let flags = lpGetInteger(lp, si.lp_flags);
        lpReplaceInteger(lp, si.lp_flags, flags | STREAM_ITEM_FLAG_DELETED);
        if lpGetInteger(lp, assertSome!(lpFirst(lp))) == 1 {
            raxRemove(&mut s.rax, si.ri.key());
        } else {
            lpCountDeleted(lp, 1);
        }
    }
    s.length = s.length.wrapping_sub(1);

    // The places within the listpack are no longer good.
    let (start, end) = if si.rev { (si.start, *current) } else { (*current, si.end) };
    *si = streamIteratorStart(s, Some(&start), Some(&end), si.rev);
}

/// Removes the entry of that id. False: there is none.
pub fn streamDeleteItem(s: &mut Stream, id: &streamID) -> bool {
    let mut si = streamIteratorStart(s, Some(id), Some(id), false);
    let Some((myid, _)) = streamIteratorGetID(&mut si, s) else { return false };
    streamIteratorRemoveEntry(&mut si, s, &myid);
    true
}

/// The id of the last entry that is not deleted; 0-0 if there is none.
pub fn streamLastValidID(s: &Stream) -> streamID {
    let mut si = streamIteratorStart(s, None, None, true);
    match streamIteratorGetID(&mut si, s) {
        Some((id, _)) => id,
        None if s.length == 0 => ID_MIN,
        None => panic!("Corrupt stream, length is {}, but no max id", s.length),
    }
}

/// The text of an id, `<ms>-<seq>`, on the stack.
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

/// Replies with an id.
#[inline]
pub fn addReplyStreamID(clients: &mut impl AsMut<Clients>, c: ClientId, id: &streamID) {
    addReplyBulkCBuffer(clients, c, &createObjectFromStreamID(id));
}

/// The text of an id: an argument for propagation, or a reply.
#[inline]
pub fn createObjectFromStreamID(id: &streamID) -> StreamIDText {
    let (ms, seq) = (ull2string(id.ms), ull2string(id.seq));
    let len = ms.len() + 1 + seq.len();
    let mut buf = [0; 41];
    buf[..ms.len()].copy_from_slice(&ms);
    buf[ms.len()] = b'-';
    buf[ms.len() + 1..len].copy_from_slice(&seq);
    StreamIDText { len, buf }
}

/// Whether propagation reaches anybody. If not, what would be propagated need not be written out; but a transaction has to
/// learn of it.
fn propagationMatters(server: &Server) -> bool {
    server.repl_backlog.is_some() || server.aof_state != AOF_OFF || server.in_exec
}

/// Propagates that a message was delivered, or claimed: an XCLAIM that comes to the same whatever the replica has.
///
/// `idarg` is the id as text, `last_id` that of the group. JUSTID spares the replica to look for the message.
fn streamPropagateXCLAIM(
    server: &mut Server,
    c: ClientId,
    (key, groupname, consumername): (&[u8], &[u8], &[u8]),
    last_id: &streamID,
    idarg: &[u8],
    nack: &streamNACK,
) {
    if !propagationMatters(server) {
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
    // At once, and not wrapped in a transaction: this is not always inside of a command, and each one stands for itself.
    let (cmd, dbid) = (server.commands.xclaimCommand, server[c].db as i32);
    propagate(server, cmd, dbid, &argv.as_args(), PROPAGATE_AOF | PROPAGATE_REPL);
}

/// Propagates a group's last id as XGROUP SETID: after a NOACK, where no XCLAIM brings it.
fn streamPropagateGroupID(
    server: &mut Server,
    c: ClientId,
    (key, groupname): (&[u8], &[u8]),
    last_id: &streamID,
) {
    if !propagationMatters(server) {
        return;
    }
    let id = createObjectFromStreamID(last_id);
    let argv = Argv::new(&[b"XGROUP" as &[u8], b"SETID", key, groupname, &id]);
    let (cmd, dbid) = (server.commands.xgroupCommand, server[c].db as i32);
    propagate(server, cmd, dbid, &argv.as_args(), PROPAGATE_AOF | PROPAGATE_REPL);
}

/// Propagates a new consumer as XGROUP CREATECONSUMER, where no XCLAIM makes it.
pub fn streamPropagateConsumerCreation(
    server: &mut Server,
    c: ClientId,
    key: &[u8],
    groupname: &[u8],
    consumername: &[u8],
) {
    if !propagationMatters(server) {
        return;
    }
    let argv = Argv::new(&[b"XGROUP" as &[u8], b"CREATECONSUMER", key, groupname, consumername]);
    let (cmd, dbid) = (server.commands.xgroupCommand, server[c].db as i32);
    propagate(server, cmd, dbid, &argv.as_args(), PROPAGATE_AOF | PROPAGATE_REPL);
}

// ---------------------------------------------------------------------------------------------------------------------
// Replies with entries
// ---------------------------------------------------------------------------------------------------------------------

/// Makes no entries in the lists of what is pending.
const STREAM_RWR_NOACK: i32 = 1 << 0;
/// Only what is pending with the consumer.
const STREAM_RWR_HISTORY: i32 = 1 << 2;

/// Who reads from a group: the C's `group`, `consumer` and `spi`.
#[derive(Copy, Clone)]
struct GroupReader<'a> {
    key: &'a [u8],
    groupname: &'a [u8],
    consumername: &'a [u8],
    consumer: ConsumerId,
}

/// Replies with the entry the walk is at: its id, and an array of its fields and values.
#[inline]
fn addReplyStreamEntry(
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

/// Replies with the entries from `start` to `end` without the array around them, up to `count` (0: all). Returns how many.
// C: streamReplyWithRange with STREAM_RWR_RAWENTRIES.
fn streamReplyWithRawEntries(
    clients: &mut Clients,
    c: ClientId,
    s: &Stream,
    (start, end): (&streamID, &streamID),
    count: usize,
    rev: bool,
) -> usize {
    let mut emitted = 0;
    let mut si = streamIteratorStart(s, Some(start), Some(end), rev);
    while let Some((id, numfields)) = streamIteratorGetID(&mut si, s) {
        addReplyStreamEntry(clients, c, s, &mut si, (&id, numfields));
        emitted += 1;
        if emitted == count {
            break;
        }
    }
    emitted
}

/// Replies with an array of the entries from `start` to `end`, up to `count` (0: all). Returns how many.
// C: streamReplyWithRange without a group.
fn streamReplyWithEntries(
    clients: &mut Clients,
    c: ClientId,
    s: &Stream,
    range: (&streamID, &streamID),
    count: usize,
    rev: bool,
) -> usize {
    let arraylen_ptr = addReplyDeferredLen(clients, c);
    let arraylen = streamReplyWithRawEntries(clients, c, s, range, count, rev);
    setDeferredArrayLen(clients, c, arraylen_ptr, arraylen);
    arraylen
}

/// Replies with an array of the entries of stream `o` from `start` on, up to `count` (0: all), to a consumer of a group.
/// Returns how many.
///
/// The group's last id moves on, and what is delivered is pending with the consumer from here on, unless `flags` has
/// STREAM_RWR_NOACK; replicas are told. With STREAM_RWR_HISTORY it is the messages that are pending with the consumer
/// already.
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
        addReplyStreamEntry(clients, c, s, &mut si, (&id, numfields));

        let Some(group) = streamLookupCGMut(s, reader.groupname) else { break };
        if id > group.last_id {
            group.last_id = id;
            // Without NOACK the XCLAIMs say it.
            if noack {
                propagate_last_id = Some(id);
            }
        }
        if !noack {
            let nack = streamDeliver(group, &id, reader.consumer);
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
    if let Some(last_id) = propagate_last_id {
        streamPropagateGroupID(server, c, (reader.key, reader.groupname), &last_id);
    }
    setDeferredArrayLen(server, c, arraylen_ptr, arraylen);
    arraylen
}

/// Makes a message pending with a consumer, delivered now for the first time.
///
/// It may be pending with another one: XGROUP SETID can take the group back to messages that were delivered. Then it
/// changes hands.
fn streamDeliver(group: &mut streamCG, id: &streamID, consumer: ConsumerId) -> streamNACK {
    let buf = streamEncodeID(id);
    let nack = streamCreateNACK(consumer);
    if let Some(old) = raxInsert(&mut group.pel, &buf, nack)
        && old.consumer != consumer
        && let Some(old_consumer) = group.consumers.get_mut(old.consumer)
    {
        raxRemove(&mut old_consumer.pel, &buf);
    }
    raxInsert(&mut group.consumers[consumer].pel, &buf, ());
    nack
}

/// Replies with an array of the messages that are pending with a consumer, from `start` on, up to `count` (0: all), and
/// counts each as delivered once more. Returns how many.
///
/// This looks up each message by its id, which takes longer than to walk over the stream. But few ask for it.
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
    raxSeek(&mut ri, &group.consumers[reader.consumer].pel, ">=", &streamEncodeID(start));
    while count == 0 || arraylen < count {
        let Some(group) = streamLookupCG(s, reader.groupname) else { break };
        if !raxNext(&mut ri, &group.consumers[reader.consumer].pel) {
            break;
        }
        let thisid = streamDecodeID(ri.key());
        if streamReplyWithRawEntries(clients, c, s, (&thisid, &thisid), 1, false) == 0 {
            // The message is pending and yet gone: somebody removed it. The consumer gets its id with no fields.
            addReplyArrayLen(clients, c, 2);
            addReplyStreamID(clients, c, &thisid);
            addReplyNullArray(clients, c);
        } else if let Some(group) = streamLookupCGMut(s, reader.groupname)
            && let Some(nack) = raxFindMut(&mut group.pel, ri.key())
        {
            nack.delivery_time = mstime();
            nack.delivery_count = nack.delivery_count.wrapping_add(1);
        }
        arraylen += 1;
    }
    setDeferredArrayLen(clients, c, arraylen_ptr, arraylen);
    arraylen
}

// ---------------------------------------------------------------------------------------------------------------------
// Stream commands implementation
// ---------------------------------------------------------------------------------------------------------------------

/// The stream at `key`, which is made if there is none. `None`: it is no stream, or there is none and `no_create`; the reply
/// was sent.
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

/// Parses an id: `<ms>-<seq>`, or `<ms>`, with `missing_seq` for what is missing; without `strict` also `-` and `+`, the
/// first and the last id there can be.
fn streamGenericParseID(o: &[u8], missing_seq: u64, strict: bool) -> Option<streamID> {
    if o.len() > 127 {
        return None;
    }
    let buf = c_str(o);
    if buf == b"-" || buf == b"+" {
        let id = if buf == b"-" { ID_MIN } else { ID_MAX };
        return (!strict).then_some(id);
    }
    let Some(dot) = memchr::memchr(b'-', buf) else {
        return Some(streamID { ms: string2ull(buf)?, seq: missing_seq });
    };
    Some(streamID { ms: string2ull(&buf[..dot])?, seq: string2ull(&buf[dot + 1..])? })
}

/// [`streamGenericParseID`], with an error reply.
fn streamGenericParseIDOrReply(
    server: &mut Server,
    c: ClientId,
    o: &[u8],
    missing_seq: u64,
    strict: bool,
) -> Result<streamID, ()> {
    streamGenericParseID(o, missing_seq, strict).ok_or_else(|| {
        addReplyError(server, c, b"Invalid stream ID specified as stream command argument");
    })
}

/// An id, or `-` or `+`, from an argument. `Err`: the error was sent.
fn streamParseIDOrReply(
    server: &mut Server,
    c: ClientId,
    o: &[u8],
    missing_seq: u64,
) -> Result<streamID, ()> {
    streamGenericParseIDOrReply(server, c, o, missing_seq, false)
}

/// An id from an argument. `Err`: the error was sent.
fn streamParseStrictIDOrReply(
    server: &mut Server,
    c: ClientId,
    o: &[u8],
    missing_seq: u64,
) -> Result<streamID, ()> {
    streamGenericParseIDOrReply(server, c, o, missing_seq, true)
}

/// An end of a range from an argument: an id, `-` or `+`, or `(` and an id that is not to be part of the range. Returns the
/// id and whether it is excluded. `Err`: the error was sent.
fn streamParseIntervalIDOrReply(
    server: &mut Server,
    c: ClientId,
    o: &[u8],
    missing_seq: u64,
) -> Result<(streamID, bool), ()> {
    match o {
        [b'(', rest @ ..] if !rest.is_empty() => {
            Ok((streamParseStrictIDOrReply(server, c, rest, missing_seq)?, true))
        }
        _ => Ok((streamParseIDOrReply(server, c, o, missing_seq)?, false)),
    }
}

/// The start of a range from an argument, which is part of it. `Err`: the error was sent.
fn streamParseIntervalStartOrReply(
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

/// The end of a range from an argument, which is part of it. `Err`: the error was sent.
fn streamParseIntervalEndOrReply(
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

/// The ids in the arguments from `first` on. `Err`: one of them is none, and the error was sent.
fn streamParseIDsOrReply(
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

/// What `MAXLEN ~` or `MINID ~` came to: the threshold that has the same effect without `~`, the length or the first id.
// C: streamRewriteTrimArgument.
fn streamExactTrimArgument(s: &Stream, trim_strategy: TrimStrategy) -> StreamIDText {
    if trim_strategy == TRIM_STRATEGY_MINID {
        return createObjectFromStreamID(&streamGetEdgeID(s, true));
    }
    let text = ll2string(s.length as i64);
    let mut buf = [0; 41];
    buf[..text.len()].copy_from_slice(&text);
    StreamIDText { len: text.len(), buf }
}

/// Has the command propagated with another id (`idarg` and its place), and with the exact threshold (`trimarg` and its place)
/// and `=` before it.
// C: streamRewriteApproxSpecifier, streamRewriteTrimArgument and a rewrite of the id, each of which copies the arguments.
fn rewriteTrimmingCommand(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    idarg: Option<(usize, &[u8])>,
    trimarg: Option<(usize, &[u8])>,
) {
    // Nobody would see it.
    if !propagationMatters(server) {
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

/// XADD key [(MAXLEN [~|=] count | MINID [~|=] id) [LIMIT entries]] [NOMKSTREAM] id|* field value [field value ...]
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
    // This cannot be appended to any stream, so none is made for it.
    if parsed_args.id == Some(ID_MIN) {
        addReplyError(server, c, b"The ID specified in XADD must be greater than 0-0");
        return;
    }

    let Some(o) = streamTypeLookupWriteOrCreate(server, c, key, parsed_args.no_mkstream) else {
        return;
    };
    let limits = NodeLimits::of(server);
    let s = server.db[db].dict.stream_mut(o);
    if s.last_id == ID_MAX {
        addReplyError(
            server,
            c,
            b"The stream has exhausted the last possible ID, unable to add more items",
        );
        return;
    }

    let ele = |i: usize| argv.get(field_pos + i);
    let id = match streamAppendItem(s, limits, fields / 2, ele, parsed_args.id.as_ref()) {
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

    // Trim if asked to. How much `~` left depends on our nodes, so replicas are told the exact result.
    let mut trimarg = None;
    if parsed_args.trim_strategy != TRIM_STRATEGY_NONE {
        if streamTrim(server.db[db].dict.stream_mut(o), &parsed_args) != 0 {
            notifyKeyspaceEvent(server, NOTIFY_STREAM, "xtrim", key, db);
        }
        if parsed_args.approx_trim {
            let s = server.db[db].dict.stream(o);
            trimarg = Some(streamExactTrimArgument(s, parsed_args.trim_strategy));
        }
    }

    // Replicas add it under the id it got here.
    let trimarg = trimarg.as_ref().map(|arg| (parsed_args.trim_strategy_arg_idx, &arg[..]));
    let idarg = createObjectFromStreamID(&id);
    rewriteTrimmingCommand(server, c, argv, Some((idpos, &idarg)), trimarg);

    signalKeyAsReady(server, db, key, OBJ_STREAM);
}

/// XRANGE, and with `rev` XREVRANGE.
fn xrangeGenericCommand(server: &mut Server, c: ClientId, argv: &Args, rev: bool) {
    let db = server[c].db;
    let (startarg, endarg) = if rev { (&argv[3], &argv[2]) } else { (&argv[2], &argv[3]) };
    let Ok(startid) = streamParseIntervalStartOrReply(server, c, startarg) else { return };
    let Ok(endid) = streamParseIntervalEndOrReply(server, c, endarg) else { return };

    let mut count = None;
    let mut j = 4;
    while j < argv.len() {
        if !eq_ignore_case(&argv[j], b"COUNT") || j + 1 == argv.len() {
            addReplyErrorObject(server, c, shared::syntaxerr);
            return;
        }
        let Ok(n) = getLongLongFromObjectOrReply(server, c, &argv[j + 1], None) else { return };
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
    streamReplyWithEntries(clients, c, s, (&startid, &endid), count, rev);
}

/// XRANGE key start end [COUNT n]
pub fn xrangeCommand(server: &mut Server, c: ClientId, argv: &Args) {
    xrangeGenericCommand(server, c, argv, false);
}

/// XREVRANGE key end start [COUNT n]
pub fn xrevrangeCommand(server: &mut Server, c: ClientId, argv: &Args) {
    xrangeGenericCommand(server, c, argv, true);
}

/// XLEN key
pub fn xlenCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let db = server[c].db;
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::czero) else { return };
    if checkType(server, c, o, OBJ_STREAM) {
        return;
    }
    let length = server.db[db].dict.stream(o).length;
    addReplyLongLong(server, c, length as i64);
}

/// How many messages a client gets at most that was blocked and gave no COUNT: its id may be so low that it would get them
/// all.
const XREAD_BLOCKED_DEFAULT_COUNT: usize = 1000;

/// XREAD [BLOCK milliseconds] [COUNT count] STREAMS key [key ...] id [id ...]
///
/// XREADGROUP GROUP group consumer [BLOCK milliseconds] [COUNT count] [NOACK] STREAMS key [key ...] id [id ...]
pub fn xreadCommand(server: &mut Server, c: ClientId, argv: &Args) {
    // One function, two commands.
    let xreadgroup = argv[0].len() == 10;
    let (mut timeout, mut count, mut noack) = (None, 0usize, false);
    let mut group_and_consumer = None;
    let mut streams_arg = 0;

    let mut i = 1;
    while i < argv.len() {
        let moreargs = argv.len() - i - 1;
        let o = argv.get(i);
        if eq_ignore_case(o, b"BLOCK") && moreargs > 0 {
            i += 1;
            match getTimeoutFromObjectOrReply(server, c, &argv[i], UNIT_MILLISECONDS) {
                Ok(t) => timeout = Some(t),
                Err(()) => return,
            }
        } else if eq_ignore_case(o, b"COUNT") && moreargs > 0 {
            i += 1;
            let Ok(n) = getLongLongFromObjectOrReply(server, c, &argv[i], None) else { return };
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

    // What is to be propagated the functions below propagate themselves.
    if let Ok(ids) = xreadParseIDs(server, c, argv, streams_arg, group_and_consumer)
        && !xreadServe(server, c, argv, streams_arg, &ids, count, group_and_consumer, noack)
    {
        match timeout {
            // Who may not block has waited long enough.
            Some(timeout) if server[c].flags & CLIENT_DENY_BLOCKING == 0 => {
                let keys: Vec<&[u8]> = argv.iter().skip(streams_arg).take(streams_count).collect();
                blockForKeys(server, c, BLOCKED_STREAM, &keys, timeout, None, None, Some(&ids));
                let bpop = &mut server[c].bpop;
                bpop.xread_count = if count != 0 { count } else { XREAD_BLOCKED_DEFAULT_COUNT };
                bpop.xread_group = group_and_consumer.map(|(group, _)| group.to_vec());
                bpop.xread_consumer = group_and_consumer.map(|(_, consumer)| consumer.to_vec());
                bpop.xread_group_noack = noack;
            }
            _ => addReplyNullArray(server, c),
        }
    }
    preventCommandPropagation(server, c);
}

/// The ids of XREAD: for each key the one behind which the client wants to read. `$` is the last one there is; `>`, what no
/// consumer of the group has got yet, is the last one there can be. `Err`: the error was sent.
fn xreadParseIDs(
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
            ids.push(ID_MAX);
        } else {
            ids.push(streamParseStrictIDOrReply(server, c, &argv[i], 0)?);
        }
    }
    Ok(ids)
}

/// Replies to XREAD with what is there already. False: nothing is, and there was no reply.
fn xreadServe(
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
        let Some(o) = lookupKeyRead(server, db, key) else { continue };
        let s = server.db[db].dict.stream(o);

        // Is there anything? For a group, an id that is not `>` asks for what is pending with the consumer, which may well
        // be nothing.
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
            arraylen_ptr = Some(addReplyDeferredLen(server, c));
        }
        // From the next id on. After the last there is none, and 0-0 follows, as in the C.
        let mut start = gt;
        let _ = streamIncrID(&mut start);

        // The name of the stream, and what it has.
        if resp2 {
            addReplyArrayLen(server, c, 2);
        }
        addReplyBulkCBuffer(server, c, key);
        let Some((groupname, consumername)) = group_and_consumer else {
            let Server { clients, db: dbs, .. } = &mut *server;
            let s = dbs[db].dict.stream(o);
            streamReplyWithEntries(clients, c, s, (&start, &ID_MAX), count, false);
            continue;
        };
        if noack {
            flags |= STREAM_RWR_NOACK;
        }
        streamServeConsumer(server, c, o, &start, count, (key, groupname, consumername), flags);
        server.dirty += 1;
    }

    let Some(arraylen_ptr) = arraylen_ptr else { return false };
    if resp2 {
        setDeferredArrayLen(server, c, arraylen_ptr, arraylen);
    } else {
        setDeferredMapLen(server, c, arraylen_ptr, arraylen);
    }
    true
}

/// [`streamReplyWithRange`] to the consumer of that name, which is made if it is new.
fn streamServeConsumer(
    server: &mut Server,
    c: ClientId,
    o: KeyRef,
    start: &streamID,
    count: usize,
    (key, groupname, consumername): (&[u8], &[u8], &[u8]),
    flags: i32,
) {
    let db = server[c].db;
    let group = streamLookupCGMut(server.db[db].dict.stream_mut(o), groupname)
        .expect("the caller has found the group");
    let (consumer, created) = streamLookupConsumer(group, consumername, SLC_NONE)
        .expect("a consumer that is not there is made");
    // C: with NOACK alone. But a new consumer that asks for what is pending gets nothing either, and no XCLAIM makes it.
    if created && flags & (STREAM_RWR_NOACK | STREAM_RWR_HISTORY) != 0 {
        streamPropagateConsumerCreation(server, c, key, groupname, consumername);
    }
    let reader = GroupReader { key, groupname, consumername, consumer };
    streamReplyWithRange(server, c, o, start, count, reader, flags);
}

/// Serves the clients that wait for the stream `o`, in the order in which they began to wait: all that have not seen its
/// last message. From `blocked.c`.
pub fn serveClientsBlockedOnStreamKey(server: &mut Server, rl: &readyList, o: KeyRef) {
    let Some(clients) = server.db[rl.db].blocking_keys.get(&rl.key) else { return };
    let mut li = listRewind(clients);
    // Who is unblocked leaves the list, and an empty list leaves the db.
    while let Some(receiver) =
        server.db[rl.db].blocking_keys.get(&rl.key).and_then(|clients| listNext(clients, &mut li))
    {
        if server[receiver].btype != BLOCKED_STREAM {
            continue;
        }
        let bpop = &server[receiver].bpop;
        let Some((_, Some(gt))) = bpop.keys.iter().find(|(key, _)| *key == rl.key) else {
            continue;
        };
        let mut gt = *gt;
        let s = server.db[rl.db].dict.stream(o);

        // Who waits in a group waits for what the group has not delivered, and others of the group are served too: so the
        // group's last id counts, as it is now.
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
        if s.last_id <= gt {
            continue;
        }

        let (count, noack) = (bpop.xread_count, bpop.xread_group_noack);
        let mut start = gt;
        let _ = streamIncrID(&mut start);
        let old_client = server.current_client.replace(receiver);
        let reply_timer = elapsedStart();

        // One key, with what it has.
        if server[receiver].resp == 2 {
            addReplyArrayLen(server, receiver, 1);
            addReplyArrayLen(server, receiver, 2);
        } else {
            addReplyMapLen(server, receiver, 1);
        }
        addReplyBulkCBuffer(server, receiver, &rl.key);
        match &group_and_consumer {
            Some((groupname, consumername)) => streamServeConsumer(
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
                streamReplyWithEntries(clients, receiver, s, (&start, &ID_MAX), count, false);
            }
        }
        updateStatsOnUnblock(server, receiver, 0, elapsedUs(reply_timer) as i64);
        unblockClient(server, receiver);
        server.current_client = old_client;
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Low level implementation of consumer groups
// ---------------------------------------------------------------------------------------------------------------------

/// [`streamLookupConsumer`]: makes the consumer, and notes that it was seen.
pub const SLC_NONE: i32 = 0;
/// Makes no consumer.
pub const SLC_NOCREAT: i32 = 1 << 0;
/// Does not note that it was seen.
pub const SLC_NOREFRESH: i32 = 1 << 1;

/// A NACK of a message that is delivered now, for the first time.
pub fn streamCreateNACK(consumer: ConsumerId) -> streamNACK {
    streamNACK { delivery_time: mstime(), delivery_count: 1, consumer }
}

/// Adds a group. `None`: there is one of that name.
pub fn streamCreateCG<'a>(
    s: &'a mut Stream,
    name: &[u8],
    id: &streamID,
) -> Option<&'a mut streamCG> {
    let cgroups = s.cgroups.get_or_insert_default();
    let cg = streamCG { last_id: *id, pel: raxNew(), consumers: Consumers::default() };
    raxTryInsert(cgroups, name, cg).ok()?;
    raxFindMut(cgroups, name)
}

/// The group of that name.
pub fn streamLookupCG<'a>(s: &'a Stream, groupname: &[u8]) -> Option<&'a streamCG> {
    raxFind(s.cgroups.as_ref()?, groupname)
}

/// The group of that name, to be changed.
pub fn streamLookupCGMut<'a>(s: &'a mut Stream, groupname: &[u8]) -> Option<&'a mut streamCG> {
    raxFindMut(s.cgroups.as_mut()?, groupname)
}

/// The consumer of that name, and whether it is new. `flags` are SLC_*; `None` is for SLC_NOCREAT, if there is none.
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

/// Removes a consumer, with all that is pending with it. Returns how many messages that were.
pub fn streamDelConsumer(cg: &mut streamCG, name: &[u8]) -> u64 {
    let Some(consumer) = cg.consumers.remove(name) else { return 0 };
    let mut ri = raxStart();
    raxSeek(&mut ri, &consumer.pel, "^", b"");
    while raxNext(&mut ri, &consumer.pel) {
        raxRemove(&mut cg.pel, ri.key());
    }
    raxSize(&consumer.pel)
}

/// Gives a pending message to `consumer`. Its other fields are `nack`'s.
fn streamReassign(group: &mut streamCG, buf: &[u8], old: ConsumerId, nack: streamNACK) {
    if old != nack.consumer {
        if let Some(old_consumer) = group.consumers.get_mut(old) {
            raxRemove(&mut old_consumer.pel, buf);
        }
        raxInsert(&mut group.consumers[nack.consumer].pel, buf, ());
    }
    raxInsert(&mut group.pel, buf, nack);
}

// ---------------------------------------------------------------------------------------------------------------------
// Consumer groups commands
// ---------------------------------------------------------------------------------------------------------------------

/// XGROUP CREATE key group id|$ [MKSTREAM]
///
/// XGROUP SETID key group id|$
///
/// XGROUP DESTROY key group
///
/// XGROUP CREATECONSUMER key group consumer
///
/// XGROUP DELCONSUMER key group consumer
pub fn xgroupCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let db = server[c].db;
    let (opt, argc) = (argv.get(1), argv.len());
    let is = |name: &[u8]| eq_ignore_case(opt, name);
    let mut mkstream = false;
    if argc == 6 && is(b"CREATE") {
        if !eq_ignore_case(&argv[5], b"MKSTREAM") {
            addReplySubcommandSyntaxError(server, c, argv);
            return;
        }
        mkstream = true;
    }
    // C: a master of version 7 tells with ENTRIESREAD how far an XREADGROUP with NOACK came, and we must come as far. The
    // count itself is nothing that a group of 6.2 has.
    let has_entries_read = argc == 7
        && eq_ignore_case(&argv[5], b"ENTRIESREAD")
        && (server.master == Some(c) || server[c].id == CLIENT_ID_AOF);

    // All but HELP name a key and a group.
    let (mut o, mut key, mut grpname) = (None, &b""[..], &b""[..]);
    let mut group_exists = false;
    if argc >= 4 {
        (key, grpname) = (argv.get(2), argv.get(3));
        o = lookupKeyWrite(server, db, key);
        if let Some(o) = o {
            if checkType(server, c, o, OBJ_STREAM) {
                return;
            }
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
                // One line, as the C has it.
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
        // From here on the command cannot fail, but for a group that is there, and that needs a stream.
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
    } else if is(b"SETID") && (argc == 5 || has_entries_read) {
        let Some(o) = o else { return };
        let id = if c_str(&argv[4]) == b"$" {
            server.db[db].dict.stream(o).last_id
        } else {
            match streamParseIDOrReply(server, c, &argv[4], 0) {
                Ok(id) => id,
                Err(()) => return,
            }
        };
        if let Some(cg) = streamLookupCGMut(server.db[db].dict.stream_mut(o), grpname) {
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
            // Who waits in this group gets an error.
            signalKeyAsReady(server, db, key, OBJ_STREAM);
        } else {
            addReply(server, c, shared::czero);
        }
    } else if is(b"CREATECONSUMER") && argc == 5 {
        let created = o
            .and_then(|o| streamLookupCGMut(server.db[db].dict.stream_mut(o), grpname))
            .and_then(|cg| streamLookupConsumer(cg, &argv[4], SLC_NOREFRESH))
            .is_some_and(|(_, created)| created);
        if created {
            server.dirty += 1;
            notifyKeyspaceEvent(server, NOTIFY_STREAM, "xgroup-createconsumer", key, db);
        }
        addReplyLongLong(server, c, i64::from(created));
    } else if is(b"DELCONSUMER") && argc == 5 {
        let pending = o
            .and_then(|o| streamLookupCGMut(server.db[db].dict.stream_mut(o), grpname))
            .map_or(0, |cg| streamDelConsumer(cg, &argv[4]));
        addReplyLongLong(server, c, pending as i64);
        server.dirty += 1;
        notifyKeyspaceEvent(server, NOTIFY_STREAM, "xgroup-delconsumer", key, db);
    } else {
        addReplySubcommandSyntaxError(server, c, argv);
    }
}

/// XSETID key id: sets the last id of a stream.
pub fn xsetidCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (db, key) = (server[c].db, argv.get(1));
    let Some(o) = lookupKeyWriteOrReply(server, c, key, shared::nokeyerr) else { return };
    if checkType(server, c, o, OBJ_STREAM) {
        return;
    }
    let Ok(id) = streamParseStrictIDOrReply(server, c, &argv[2], 0) else { return };

    // New ids have to be greater than all that are there.
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

/// XACK key group id [id ...]: the messages are processed and no longer pending. Replies how many were.
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

    // All ids or none: a client that has messages acknowledged must not get an error.
    let Ok(ids) = streamParseIDsOrReply(server, c, argv, 3) else { return };
    let Some(group) = streamLookupCGMut(server.db[db].dict.stream_mut(o), &argv[2]) else { return };
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
    server.dirty += acknowledged;
    addReplyLongLong(server, c, acknowledged);
}

/// XPENDING key group [[IDLE idle] start stop count [consumer]]: what is pending, in sum or, with a range, each message.
pub fn xpendingCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let db = server[c].db;
    let argc = argv.len();
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
        let startid = streamParseIntervalStartOrReply(server, c, &argv[startidx]);
        let Ok(startid) = startid else { return };
        let endid = streamParseIntervalEndOrReply(server, c, &argv[startidx + 1]);
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
        None => xpendingReplyWithSummary(clients, c, group),
        Some(range) => xpendingReplyWithRange(clients, c, group, range, minidle, consumername),
    }
}

/// How many messages are pending, the first and the last of them, and how many with which consumer.
fn xpendingReplyWithSummary(clients: &mut Clients, c: ClientId, group: &streamCG) {
    addReplyArrayLen(clients, c, 4);
    addReplyLongLong(clients, c, raxSize(&group.pel) as i64);
    if raxSize(&group.pel) == 0 {
        addReplyNull(clients, c);
        addReplyNull(clients, c);
        addReplyNullArray(clients, c);
        return;
    }
    for edge in ["^", "$"] {
        let mut ri = raxStart();
        raxSeek(&mut ri, &group.pel, edge, b"");
        raxNext(&mut ri, &group.pel);
        addReplyStreamID(clients, c, &streamDecodeID(ri.key()));
    }
    let arraylen_ptr = addReplyDeferredLen(clients, c);
    let mut arraylen = 0;
    for consumer in group.consumers.iter().filter(|consumer| raxSize(&consumer.pel) > 0) {
        addReplyArrayLen(clients, c, 2);
        addReplyBulkCBuffer(clients, c, &consumer.name);
        addReplyBulkLongLong(clients, c, raxSize(&consumer.pel) as i64);
        arraylen += 1;
    }
    setDeferredArrayLen(clients, c, arraylen_ptr, arraylen);
}

/// The messages that are pending in a range of ids, up to a count, with a consumer if one is named, and for `minidle`
/// milliseconds at least.
fn xpendingReplyWithRange(
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
        // Nothing is pending with somebody who is not there.
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
        // A consumer's list has the ids, the group's list the messages.
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
        addReplyBulkCBuffer(clients, c, consumerName(group, nack));
        addReplyLongLong(clients, c, elapsed.max(0));
        addReplyLongLong(clients, c, nack.delivery_count as i64);
    }
    setDeferredArrayLen(clients, c, arraylen_ptr, arraylen);
}

/// The name of the consumer that a message is pending with.
fn consumerName<'a>(group: &'a streamCG, nack: &streamNACK) -> &'a [u8] {
    group.consumers.get(nack.consumer).map_or(b"", |consumer| &consumer.name)
}

/// Replies with a message that was claimed: its id alone, or the entry, or null if that is gone.
fn addReplyClaimed(clients: &mut Clients, c: ClientId, s: &Stream, id: &streamID, justid: bool) {
    if justid {
        addReplyStreamID(clients, c, id);
    } else if streamReplyWithRawEntries(clients, c, s, (id, id), 1, false) == 0 {
        addReplyNull(clients, c);
    }
}

/// XCLAIM key group consumer min-idle-time id [id ...] [IDLE ms] [TIME ms-unix-time] [RETRYCOUNT count] [FORCE] [JUSTID]
/// [LASTID id]
///
/// Makes messages that are pending for `min-idle-time` pending with another consumer, and replies with them. IDLE and TIME
/// set when they were delivered (now, if not given), RETRYCOUNT how often (once more, if not given and not JUSTID). FORCE
/// takes messages that are not pending. JUSTID replies with the ids alone. LASTID moves the group's last id on.
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
        replyNoGroup(server, c, key, groupname);
        return;
    };

    let msg = "Invalid min-idle-time argument for XCLAIM";
    let Ok(minidle) = getLongLongFromObjectOrReply(server, c, &argv[4], Some(msg)) else { return };
    let minidle = minidle.max(0);

    // Where there is no id any more the options begin.
    let mut ids = IdVec::new();
    let mut j = 5;
    while j < argv.len()
        && let Some(id) = streamGenericParseID(&argv[j], 0, true)
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

    // A time that makes no sense is now: clients reckon with clocks of their own, which may be a bit off.
    if deliverytime < 0 || deliverytime > now {
        deliverytime = now;
    }

    let mut propagate_last_id = false;
    let group = streamLookupCGMut(server.db[db].dict.stream_mut(o), groupname)
        .expect("the group was found above");
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
        // What is not pending can be forced to be, if it is there: replicas need this.
        if force && nack.is_none() {
            let mut si = streamIteratorStart(s, Some(id), Some(id), false);
            if streamIteratorGetID(&mut si, s).is_some() {
                nack = Some(streamCreateNACK(ConsumerId::NONE));
            }
        }
        let Some(mut nack) = nack else { continue };

        // A message that was just forced to be pending has not been idle, and is claimed all the same.
        let owner = nack.consumer;
        if owner != ConsumerId::NONE
            && minidle != 0
            && now.wrapping_sub(nack.delivery_time) < minidle
        {
            continue;
        }
        let Some(group) = streamLookupCGMut(s, groupname) else { break };
        let id_of_consumer = *consumer.get_or_insert_with(|| {
            let (id, _) = streamLookupConsumer(group, consumername, SLC_NONE)
                .expect("a consumer that is not there is made");
            id
        });
        nack.consumer = id_of_consumer;
        nack.delivery_time = deliverytime;
        if retrycount >= 0 {
            nack.delivery_count = retrycount as u64;
        } else if !justid {
            nack.delivery_count = nack.delivery_count.wrapping_add(1);
        }
        streamReassign(group, &buf, owner, nack);
        addReplyClaimed(clients, c, s, id, justid);
        arraylen += 1;

        let names = (key, groupname, consumername);
        streamPropagateXCLAIM(server, c, names, &last_id, &argv[5 + j], &nack);
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

/// The error of XCLAIM and XAUTOCLAIM for a key or a group that is not there.
fn replyNoGroup(server: &mut Server, c: ClientId, key: &[u8], groupname: &[u8]) {
    addReplyErrorFormat!(
        server,
        c,
        "-NOGROUP No such key '{}' or consumer group '{}'",
        B(c_str(key)),
        B(c_str(groupname))
    );
}

/// XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID]
///
/// Makes messages from `start` on that are pending for `min-idle-time` pending with another consumer. Replies with where to
/// go on, and the messages. Ten times as many messages as are wanted are looked at, at most.
pub fn xautoclaimCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (db, key, groupname, consumername) = (server[c].db, argv.get(1), argv.get(2), argv.get(3));
    let o = lookupKeyRead(server, db, key);

    // Errors in the arguments come before all others.
    let msg = "Invalid min-idle-time argument for XAUTOCLAIM";
    let Ok(minidle) = getLongLongFromObjectOrReply(server, c, &argv[4], Some(msg)) else { return };
    let minidle = minidle.max(0);
    let Ok(startid) = streamParseIntervalStartOrReply(server, c, &argv[5]) else { return };
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
        replyNoGroup(server, c, key, groupname);
        return;
    };

    // Claim first, reply then: the reply begins with where this ends.
    let mut consumer = None;
    let mut attempts = count.saturating_mul(10);
    let mut claimed = Vec::new();
    let now = mstime();
    let mut ri = raxStart();
    let group =
        streamLookupCG(server.db[db].dict.stream(o), groupname).expect("the group was found above");
    raxSeek(&mut ri, &group.pel, ">=", &streamEncodeID(&startid));
    let endid = loop {
        let group = streamLookupCGMut(server.db[db].dict.stream_mut(o), groupname)
            .expect("the group was found above");
        if !raxNext(&mut ri, &group.pel) {
            break ID_MIN;
        }
        let id = streamDecodeID(ri.key());
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
        streamReassign(group, &buf, owner, nack);
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
        addReplyClaimed(clients, c, s, id, justid);
    }
    preventCommandPropagation(server, c);
}

/// XDEL key id [id ...]: removes entries. Replies how many there were.
pub fn xdelCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (db, key) = (server[c].db, argv.get(1));
    let Some(o) = lookupKeyWriteOrReply(server, c, key, shared::czero) else { return };
    if checkType(server, c, o, OBJ_STREAM) {
        return;
    }
    // All ids or none.
    let Ok(ids) = streamParseIDsOrReply(server, c, argv, 2) else { return };
    let s = server.db[db].dict.stream_mut(o);
    let deleted = ids.iter().filter(|id| streamDeleteItem(s, id)).count() as i64;
    if deleted > 0 {
        signalModifiedKey(server, Some(c), db, key);
        notifyKeyspaceEvent(server, NOTIFY_STREAM, "xdel", key, db);
        server.dirty += deleted;
    }
    addReplyLongLong(server, c, deleted);
}

/// XTRIM key MAXLEN|MINID [~|=] threshold [LIMIT entries]
///
/// `~` removes only whole nodes, which is faster, and no more than LIMIT entries: 100 * stream-node-max-entries if not
/// given, 0 for no limit.
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
            // Replicas trim to exactly what we came to.
            let s = server.db[db].dict.stream(o);
            let arg = streamExactTrimArgument(s, parsed_args.trim_strategy);
            let trimarg = Some((parsed_args.trim_strategy_arg_idx, &arg[..]));
            rewriteTrimmingCommand(server, c, argv, None, trimarg);
        }
        signalModifiedKey(server, Some(c), db, key);
        server.dirty += deleted;
    }
    addReplyLongLong(server, c, deleted);
}

/// XINFO STREAM: the parsed options say whether FULL, and how many entries and pending messages. `Err`: the error was sent.
fn xinfoParseStreamOptions(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
) -> Result<Option<usize>, ()> {
    // By default few, as the reply could be long.
    let mut count = 10;
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

/// XINFO STREAM: `full` is the number of entries and pending messages to show, 0 for all.
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
            if streamReplyWithRawEntries(clients, c, s, (&ID_MIN, &ID_MAX), 1, rev) == 0 {
                addReplyNull(clients, c);
            }
        }
        return;
    };

    addReplyBulkCString(clients, c, b"entries");
    streamReplyWithEntries(clients, c, s, (&ID_MIN, &ID_MAX), count, false);

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
            xinfoReplyWithGroup(clients, c, ri_cgroups.key(), cg, count);
        }
    }
}

/// A group in XINFO STREAM FULL.
fn xinfoReplyWithGroup(
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

    // What is pending in the group: id, consumer, time and count.
    addReplyBulkCString(clients, c, b"pending");
    let arrayptr = addReplyDeferredLen(clients, c);
    let mut arraylen = 0;
    let mut ri = raxStart();
    raxSeek(&mut ri, &cg.pel, "^", b"");
    while (count == 0 || arraylen < count) && raxNext(&mut ri, &cg.pel) {
        let Some(nack) = ri.data(&cg.pel) else { continue };
        addReplyArrayLen(clients, c, 4);
        addReplyStreamID(clients, c, &streamDecodeID(ri.key()));
        addReplyBulkCBuffer(clients, c, consumerName(cg, nack));
        addReplyLongLong(clients, c, nack.delivery_time);
        addReplyLongLong(clients, c, nack.delivery_count as i64);
        arraylen += 1;
    }
    setDeferredArrayLen(clients, c, arrayptr, arraylen);

    // And with each consumer.
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

/// XINFO CONSUMERS key group
///
/// XINFO GROUPS key
///
/// XINFO STREAM key [FULL [COUNT count]]
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
        let Ok(full) = xinfoParseStreamOptions(server, c, argv) else { return };
        let Server { clients, db: dbs, .. } = server;
        xinfoReplyWithStreamInfo(clients, c, dbs[db].dict.stream(o), full);
    } else {
        addReplySubcommandSyntaxError(server, c, argv);
    }
}

/// Whether bytes are a listpack as a stream has them. Without `deep` only its header and its end are looked at.
pub fn streamValidateListpackIntegrity(lp: &[u8], deep: bool) -> bool {
    // C: nobody looks which entries are deleted, but the length of a stream comes from the counts: with none left that is
    // not 0, XSETID ends the process.
    lpValidateIntegrity(lp, false)
        && (!deep || validateEntries(lp).is_some_and(|entries| entries.live == entries.count))
}

/// Counts the entries of a node anew, and those that are deleted. `false`: more than the counts is wrong with it, and nothing
/// was done.
pub fn stream_mend_listpack(lp: &mut Listpack) -> bool {
    let entries = lpValidateIntegrity(lp, false).then(|| validateEntries(lp)).flatten();
    let Some(Entries { live, total, .. }) = entries else { return false };
    let set =
        |lp: &mut Listpack, p: Option<usize>, n| p.is_some_and(|p| lpReplaceInteger(lp, p, n));
    let first = lpFirst(lp);
    set(lp, first, live) && {
        let deleted = lpFirst(lp).and_then(|p| lpNext(lp, p));
        set(lp, deleted, total - live)
    }
}

/// Drops what is pending in a group with nobody. Returns how much that was.
pub fn stream_drop_unowned_nacks(cg: &mut streamCG) -> usize {
    let mut it = raxStart();
    raxSeek(&mut it, &cg.pel, "^", b"");
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

/// What a listpack of a stream holds.
struct Entries {
    /// As many as there are, by its own word.
    count: i64,
    /// As many as are not deleted.
    live: i64,
    /// With those that are.
    total: i64,
}

/// Walks over the elements of a listpack and validates each before it is read.
struct Validator<'a> {
    lp: &'a [u8],
    /// The current element; `None` behind the end mark.
    p: Option<usize>,
    /// The one behind, or the end mark.
    next: Option<usize>,
}

impl Validator<'_> {
    /// Goes on to the next element, after a look at the one behind that.
    fn step(&mut self) -> Option<()> {
        self.p = self.next;
        lpValidateNext(self.lp, &mut self.next).then_some(())
    }

    /// The integer here, and on.
    fn integer(&mut self) -> Option<i64> {
        let n = lpGetIntegerIfValid(self.lp, self.p?)?;
        self.step()?;
        Some(n)
    }

    /// The number of elements of some kind here, and on. There cannot be more of them than bytes.
    fn count(&mut self) -> Option<i64> {
        self.integer().filter(|n| (0..=self.lp.len() as i64).contains(n))
    }

    /// Over `n` elements, whatever they are.
    fn skip(&mut self, n: i64) -> Option<()> {
        (0..n).try_for_each(|_| self.step())
    }
}

/// The deep part of [`streamValidateListpackIntegrity`]: `None` at the first thing that is wrong.
fn validateEntries(lp: &[u8]) -> Option<Entries> {
    let first = lpValidateFirst(lp);
    let mut v = Validator { lp, p: first, next: first };
    if !lpValidateNext(lp, &mut v.next) {
        return None;
    }

    // The master entry. C: a negative number of entries or fields may pass, as any number may that overflows.
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
        let (mut fields, mut extra_fields) = (master_fields, 3i64);
        if flags & STREAM_ITEM_FLAG_SAMEFIELDS == 0 {
            fields = v.count()?;
            v.skip(fields)?;
            extra_fields += fields + 1;
        }
        v.skip(fields)?;
        if v.integer()? != fields + extra_fields {
            return None;
        }
    }
    // C: any end mark will do, but who walks backwards starts from the last one.
    let at_end = v.next.is_none() && v.p == Some(lp.len() - 1);
    at_end.then_some(Entries { count: entry_count, live, total })
}

#[cfg(test)]
mod tests;
