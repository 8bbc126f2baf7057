//! `quicklist.c`: a linked list of ziplists, the one encoding of lists.
//!
//! Read first: [`QuicklistNode`], `_quicklistNodeAllowInsert` (when a ziplist is full),
//! `_quicklistInsert` (which splits and merges), `__quicklistCompress` (which nodes are kept
//! compressed).
//!
//! A list has the same nodes as in the C after the same calls, with the same bytes in them: RDB
//! files and DUMP show them.
//!
//! Not here: bookmarks. Active defragmentation walks the arena of nodes by their numbers, which are
//! a place to go on from as it is ([`activeDefragQuickListNode`]).
//!
//! Differs: nodes live in an arena and are linked by index; a list that never had more than one
//! node is that node's ziplist alone. An entry tells where a value is, and [`Quicklist::value`]
//! reads it. Besides the C's iterator, which unpacks nodes in place and so needs the list to
//! itself, there is [`QuicklistReader`], which unpacks into a buffer of its own and only reads.
#![forbid(unsafe_code)]

use super::lzf::{LzfState, lzf_compress, lzf_decompress};
use super::redisassert::assert_some;
use super::slab::{ChunkedVec, NIL};
use super::ziplist::*;
use crate::sys::bytes::{Packed, ThinBytes};
use crate::sys::defrag::Defrag;
use crate::sys::mem::{prefetch_bytes, size_class};

/// Both ends, as [`quicklistPush`] and [`quicklistPop`] take them.
pub const QUICKLIST_HEAD: i32 = 0;
pub const QUICKLIST_TAIL: i32 = -1;

/// Directions of an iteration: from the head on, from the tail back.
pub const AL_START_HEAD: i32 = 0;
pub const AL_START_TAIL: i32 = 1;

/// The depth that switches compression off.
pub const QUICKLIST_NOCOMPRESS: i32 = 0;

/// Largest node in bytes for the fills -1 to -5.
const optimization_level: [usize; 5] = [4096, 8192, 16384, 32768, 65536];

/// Largest node of several elements in bytes, where the fill is a number of elements.
const SIZE_SAFETY_LIMIT: usize = 8192;

/// Smaller ziplists are not compressed.
const MIN_COMPRESS_BYTES: usize = 48;

/// A compressed ziplist is kept if it is at least this many bytes smaller.
const MIN_COMPRESS_IMPROVE: usize = 8;

const FILL_MAX: i32 = (1 << 15) - 1;
const COMPRESS_MAX: i32 = (1 << 16) - 1;

#[derive(Debug, Clone)]
enum Content {
    /// A ziplist; and whether it was uncompressed for a while, to be compressed again after use.
    Raw(Ziplist, bool),
    Lzf(ThinBytes),
}

impl Content {
    /// Returns the placeholder for a content that was taken out.
    fn none() -> Self {
        Content::Lzf(ThinBytes::new())
    }
}

/// A ziplist, compressed or not, and its neighbours.
#[derive(Debug)]
struct QuicklistNode {
    prev: u32,
    next: u32,
    zl: Content,
    /// Size of the ziplist in bytes, uncompressed.
    sz: u32,
    // C: 16 bits, which a ziplist out of an RDB file can overflow.
    count: u32,
}

impl QuicklistNode {
    /// Unpacks the ziplist if it is compressed; true if it was.
    #[inline(always)]
    fn unpack(&mut self) -> bool {
        let Content::Lzf(lzf) = &self.zl else { return false };
        let zl = Ziplist::from_slice(&unpack(lzf, self.sz as usize));
        self.zl = Content::Raw(zl.expect("a quicklist node unpacks to what was packed"), false);
        true
    }
}

/// A node as readers see it.
#[derive(Debug, Clone, Copy)]
pub struct QuicklistNodeRef<'a> {
    stored: &'a [u8],
    compressed: bool,
    sz: u32,
    count: u32,
}

impl<'a> QuicklistNodeRef<'a> {
    /// Returns the number of elements.
    pub fn count(self) -> usize {
        self.count as usize
    }

    /// Returns the size of the ziplist in bytes, uncompressed.
    pub fn sz(self) -> usize {
        self.sz as usize
    }

    /// Returns the ziplist; empty if the node is compressed.
    pub fn zl(self) -> &'a [u8] {
        if self.compressed { &[] } else { self.stored }
    }
}

/// Tells whether the ziplist of this node is compressed.
pub fn quicklistNodeIsCompressed(node: QuicklistNodeRef) -> bool {
    node.compressed
}

/// The nodes of a list, and its options.
#[derive(Debug)]
enum Nodes {
    /// No node, when there is no ziplist, or one, of which only the ziplist is kept: it has no
    /// neighbours, its values are those of the list, and since both ends stay uncompressed, it does
    /// too.
    One { zl: Ziplist, count: u32, fill: i16, compress: u16 },
    /// A list that came to two nodes; it stays this way until it is empty.
    Many(Box<Linked>),
}

/// Nodes linked by their indices in an arena.
#[derive(Debug)]
struct Linked {
    nodes: ChunkedVec<QuicklistNode>,
    /// Free nodes, linked by `next`.
    free: u32,
    head: u32,
    tail: u32,
    len: u32,
    count: usize,
    fill: i16,
    compress: u16,
    /// The compressor's table, lent by who fills a list with many nodes. Without it each node to be
    /// compressed gets a new one.
    lzf: Option<Box<LzfState>>,
}

impl Linked {
    fn add(&mut self, node: QuicklistNode) -> u32 {
        match self.free {
            NIL => self.nodes.push(node),
            id => {
                self.free = self.nodes[id].next;
                self.nodes[id] = node;
                id
            }
        }
    }
}

/// A list of values.
#[derive(Debug)]
pub struct Quicklist(Nodes);

// Keys hold it as it is.
const _: () = assert!(size_of::<Quicklist>() == 16);

/// Moves the ziplist of node `id` of the arena, compressed or not, where that is worth it. The nodes
/// are numbered from 0 on, in any order; `false`: there is no such node, nor any after it.
pub fn activeDefragQuickListNode(ql: &mut Quicklist, id: u32, moves: &mut Defrag) -> bool {
    match &mut ql.0 {
        Nodes::One { zl, .. } if id == 0 => zl.defrag(moves),
        Nodes::Many(many) if id < many.nodes.len() => match &mut many.nodes[id].zl {
            Content::Raw(zl, _) => zl.defrag(moves),
            Content::Lzf(lzf) => lzf.defrag(moves),
        },
        _ => return false,
    }
    true
}

/// Moves the ziplists of all nodes where that is worth it.
pub fn activeDefragQuickListNodes(ql: &mut Quicklist, moves: &mut Defrag) {
    let mut id = 0;
    while activeDefragQuickListNode(ql, id, moves) {
        id += 1;
    }
}

/// The place of a value. It is valid until the list changes.
#[derive(Debug, Clone, Copy)]
pub struct QuicklistEntry {
    node: u32,
    zi: usize,
    /// Number of the value in its node, from 0, or from -1 at the end backwards.
    offset: i64,
}

/// An iteration that unpacks nodes in place and may delete what it meets.
#[derive(Debug)]
pub struct QuicklistIter {
    current: u32,
    zi: Option<usize>,
    offset: i64,
    direction: i32,
}

impl Quicklist {
    /// Returns the number of nodes.
    pub fn len(&self) -> usize {
        match &self.0 {
            Nodes::One { zl, .. } => usize::from(!zl.is_none()),
            Nodes::Many(many) => many.len as usize,
        }
    }

    /// Returns the fill: largest number of elements in a node, or the negative number of a size
    /// class.
    pub fn fill(&self) -> i32 {
        match &self.0 {
            Nodes::One { fill, .. } => i32::from(*fill),
            Nodes::Many(many) => i32::from(many.fill),
        }
    }

    /// Returns the number of nodes at each end that are not compressed; 0 stands for no
    /// compression.
    pub fn compress(&self) -> i32 {
        match &self.0 {
            Nodes::One { compress, .. } => i32::from(*compress),
            Nodes::Many(many) => i32::from(many.compress),
        }
    }

    /// Returns the nodes from head to tail.
    pub fn nodes(&self) -> impl Iterator<Item = QuicklistNodeRef<'_>> {
        let mut id = self.head();
        std::iter::from_fn(move || {
            let node = (id != NIL).then(|| self.node(id))?;
            id = self.next(id);
            Some(node)
        })
    }

    /// Prefetches what [`prefetch_ends`](Self::prefetch_ends) will look at.
    pub fn prefetch(&self) {
        if let Nodes::One { zl, .. } = &self.0 {
            zl.prefetch();
        }
    }

    /// Prefetches the head, to which [`prefetch_ends`](Self::prefetch_ends) will look for where the
    /// tail is.
    #[inline(always)]
    pub fn prefetch_head(&self) {
        if let Nodes::One { zl, .. } = &self.0 {
            zl.prefetch_list();
        }
    }

    /// Prefetches both ends, for a use to come: the header with the first values, and
    /// the last values.
    pub fn prefetch_ends(&self) {
        const END: usize = 128;
        let prefetch = |zl: &[u8]| {
            prefetch_bytes(&zl[..zl.len().min(END)]);
            prefetch_bytes(&zl[zl.len().saturating_sub(END)..]);
        };
        match &self.0 {
            Nodes::One { zl, .. } => prefetch(zl),
            Nodes::Many(many) => {
                for id in [many.head, many.tail].into_iter().filter(|&id| id != NIL) {
                    prefetch(self.zl(id));
                }
            }
        }
    }

    /// Returns the bytes allocated, without the list itself. What nodes hold is told from the first
    /// `sample_size` of them, and at least one (`objectComputeSize`).
    pub fn mem_usage(&self, sample_size: usize) -> usize {
        let nodes = match &self.0 {
            Nodes::One { .. } => 0,
            Nodes::Many(many) => size_of_val(&**many) + many.nodes.mem_usage(),
        };
        let (mut samples, mut held) = (0, 0);
        for node in self.nodes().take(sample_size.max(1)) {
            held += size_class(node.stored.len());
            samples += 1;
        }
        let held = (held as u128 * self.len() as u128).checked_div(samples).unwrap_or(0) as usize;
        nodes + held
    }

    /// Moves what holds the nodes where that is worth it.
    pub fn defrag_arena(&mut self, moves: &mut Defrag) {
        if let Nodes::Many(many) = &mut self.0 {
            moves.boxed(many);
            many.nodes.defrag(moves);
        }
    }

    /// Lends the compressor's table to a list that may have nodes to compress, which is one of
    /// several nodes. An empty loan is filled.
    pub fn lend_lzf(&mut self, state: &mut Option<Box<LzfState>>) {
        if let Nodes::Many(many) = &mut self.0
            && many.compress != 0
            && many.lzf.is_none()
        {
            many.lzf = Some(state.take().unwrap_or_default());
        }
    }

    /// Takes the compressor's table back that was lent.
    pub fn return_lzf(&mut self) -> Option<Box<LzfState>> {
        match &mut self.0 {
            Nodes::One { .. } => None,
            Nodes::Many(many) => many.lzf.take(),
        }
    }

    /// Returns the value an entry stands for.
    #[inline]
    pub fn value(&self, entry: &QuicklistEntry) -> ZiplistEntry<'_> {
        assert_some!(ziplistGet(self.zl(entry.node), entry.zi))
    }

    #[inline]
    fn head(&self) -> u32 {
        match &self.0 {
            Nodes::One { zl, .. } if zl.is_none() => NIL,
            Nodes::One { .. } => 0,
            Nodes::Many(many) => many.head,
        }
    }

    #[inline]
    fn tail(&self) -> u32 {
        match &self.0 {
            Nodes::One { .. } => self.head(),
            Nodes::Many(many) => many.tail,
        }
    }

    #[inline]
    fn next(&self, id: u32) -> u32 {
        match &self.0 {
            Nodes::One { .. } => NIL,
            Nodes::Many(many) => many.nodes[id].next,
        }
    }

    #[inline]
    fn prev(&self, id: u32) -> u32 {
        match &self.0 {
            Nodes::One { .. } => NIL,
            Nodes::Many(many) => many.nodes[id].prev,
        }
    }

    #[inline]
    fn node(&self, id: u32) -> QuicklistNodeRef<'_> {
        match &self.0 {
            Nodes::One { zl, count, .. } => QuicklistNodeRef {
                stored: zl,
                compressed: false,
                sz: zl.len() as u32,
                count: *count,
            },
            Nodes::Many(many) => {
                let QuicklistNode { zl, sz, count, .. } = &many.nodes[id];
                let (stored, compressed) = match zl {
                    Content::Raw(zl, _) => (&zl[..], false),
                    Content::Lzf(lzf) => (&lzf[..], true),
                };
                QuicklistNodeRef { stored, compressed, sz: *sz, count: *count }
            }
        }
    }

    /// Returns the number of elements of a node.
    #[inline]
    fn count(&self, id: u32) -> u32 {
        match &self.0 {
            Nodes::One { count, .. } => *count,
            Nodes::Many(many) => many.nodes[id].count,
        }
    }

    /// Returns the ziplist of a node; empty if it is compressed.
    #[inline]
    fn zl(&self, id: u32) -> &[u8] {
        self.node(id).zl()
    }

    /// Changes the ziplist of a node that is not compressed, which has `more` values then, or less.
    // C: `quicklistNodeUpdateSz` comes after each change.
    #[inline]
    fn update<T>(&mut self, id: u32, more: i32, change: impl FnOnce(&mut Ziplist) -> T) -> T {
        match &mut self.0 {
            Nodes::One { zl, count, .. } => {
                *count = count.saturating_add_signed(more);
                change(zl)
            }
            Nodes::Many(many) => {
                let QuicklistNode { zl: Content::Raw(zl, _), sz, count, .. } = &mut many.nodes[id]
                else {
                    panic!("a compressed quicklist node was not unpacked before use");
                };
                let result = change(zl);
                *sz = zl.len() as u32;
                *count = count.saturating_add_signed(more);
                many.count = many.count.saturating_add_signed(more as isize);
                result
            }
        }
    }

    /// Returns the nodes as those of a list of several.
    fn many(&mut self) -> &mut Linked {
        if let Nodes::One { zl, count, fill, compress } = &mut self.0 {
            let mut many = Box::new(Linked {
                nodes: ChunkedVec::new(),
                free: NIL,
                head: NIL,
                tail: NIL,
                len: 0,
                count: *count as usize,
                fill: *fill,
                compress: *compress,
                lzf: None,
            });
            if !zl.is_none() {
                let zl = std::mem::replace(zl, Ziplist::none());
                many.head = many.add(QuicklistNode {
                    prev: NIL,
                    next: NIL,
                    sz: zl.len() as u32,
                    zl: Content::Raw(zl, false),
                    count: *count,
                });
                many.tail = many.head;
                many.len = 1;
            }
            self.0 = Nodes::Many(many);
        }
        match &mut self.0 {
            Nodes::Many(many) => many,
            Nodes::One { .. } => unreachable!("was just replaced"),
        }
    }

    /// Counts values that came with a new node.
    fn added(&mut self, values: usize) {
        match &mut self.0 {
            Nodes::One { count, .. } => *count += values as u32,
            Nodes::Many(many) => many.count += values,
        }
    }

    /// Tells whether a node is to be compressed again after use.
    #[inline]
    fn recompress(&self, id: u32) -> bool {
        match &self.0 {
            Nodes::One { .. } => false,
            Nodes::Many(many) => matches!(many.nodes[id].zl, Content::Raw(_, true)),
        }
    }

    fn set_recompress(&mut self, id: u32, on: bool) {
        if let Nodes::Many(many) = &mut self.0
            && let Content::Raw(_, recompress) = &mut many.nodes[id].zl
        {
            *recompress = on;
        }
    }

    /// Compresses a node that is not. It stays as it is if it is small, or would not get smaller.
    fn quicklistCompressNode(&mut self, id: u32) {
        let Nodes::Many(many) = &mut self.0 else { return };
        if id == NIL {
            return;
        }
        let node = &mut many.nodes[id];
        let Content::Raw(zl, _) = &node.zl else { return };
        // A ziplist that came damaged is left alone: unpacked again, it would not be taken for one.
        if zl.len() < MIN_COMPRESS_BYTES || !ziplistValidateIntegrity(zl, false, None) {
            return;
        }
        let mut lzf = vec![0; zl.len()];
        let mut own = None;
        let state = match &mut many.lzf {
            Some(lent) => lent,
            None => own.insert(Box::default()),
        };
        let sz = lzf_compress(state, zl, &mut lzf);
        if sz == 0 || sz + MIN_COMPRESS_IMPROVE >= zl.len() {
            return;
        }
        lzf.truncate(sz);
        node.zl = Content::Lzf(lzf[..].into());
    }

    /// Unpacks a node if it is compressed; true if it was.
    #[inline(always)]
    fn quicklistDecompressNode(&mut self, id: u32) -> bool {
        match &mut self.0 {
            Nodes::Many(many) if id != NIL => many.nodes[id].unpack(),
            _ => false,
        }
    }

    /// Unpacks a node that is to be compressed again after use.
    #[inline]
    fn quicklistDecompressNodeForUse(&mut self, id: u32) {
        if self.quicklistDecompressNode(id) {
            self.set_recompress(id, true);
        }
    }

    fn quicklistCompress(&mut self, id: u32) {
        if self.recompress(id) {
            self.quicklistCompressNode(id);
        } else {
            self.__quicklistCompress(id);
        }
    }

    fn quicklistRecompressOnly(&mut self, id: u32) {
        if self.recompress(id) {
            self.quicklistCompressNode(id);
        }
    }

    /// Adds a value at one end of a node, which is unpacked for it and packed again.
    fn push_to_node(&mut self, id: u32, value: &[u8], place: i32) {
        self.quicklistDecompressNodeForUse(id);
        self.update(id, 1, |zl| ziplistPush(zl, value, place));
        self.quicklistRecompressOnly(id);
    }

    /// Returns a node of one value.
    fn node_of(&mut self, value: &[u8]) -> u32 {
        self.quicklistCreateNode(ziplist_of_value(value), 1)
    }

    /// Returns the node that holds value number `idx`, and its offset there.
    fn find(&self, idx: i64) -> Option<(u32, i64)> {
        let forward = idx >= 0;
        let (index, mut n) =
            if forward { (idx as u64, self.head()) } else { (idx.unsigned_abs() - 1, self.tail()) };
        if index >= quicklistCount(self) as u64 {
            return None;
        }
        let mut left = index;
        while n != NIL {
            let count = u64::from(self.count(n));
            if left < count {
                let left = left as i64;
                return Some((n, if forward { left } else { -left - 1 }));
            }
            left -= count;
            n = if forward { self.next(n) } else { self.prev(n) };
        }
        None
    }
}

/// Unpacks `lzf` to `sz` bytes.
#[cold]
fn unpack(lzf: &[u8], sz: usize) -> Vec<u8> {
    let mut zl = vec![0; sz];
    let n = lzf_decompress(lzf, &mut zl);
    assert!(n == sz, "a quicklist node does not unpack");
    zl
}

/// Creates an empty list: 8 KB nodes, no compression.
pub fn quicklistCreate() -> Quicklist {
    Quicklist(Nodes::One { zl: Ziplist::none(), count: 0, fill: -2, compress: 0 })
}

/// Sets the number of nodes at each end that stay uncompressed, within 0 and 65535.
pub fn quicklistSetCompressDepth(ql: &mut Quicklist, depth: i32) {
    let depth = depth.clamp(0, COMPRESS_MAX) as u16;
    match &mut ql.0 {
        Nodes::One { compress, .. } => *compress = depth,
        Nodes::Many(many) => many.compress = depth,
    }
}

/// Sets the fill, within -5 and 32767.
pub fn quicklistSetFill(ql: &mut Quicklist, new: i32) {
    let new = new.clamp(-5, FILL_MAX) as i16;
    match &mut ql.0 {
        Nodes::One { fill, .. } => *fill = new,
        Nodes::Many(many) => many.fill = new,
    }
}

/// Sets fill and compression depth.
pub fn quicklistSetOptions(ql: &mut Quicklist, fill: i32, depth: i32) {
    quicklistSetFill(ql, fill);
    quicklistSetCompressDepth(ql, depth);
}

/// Creates an empty list with this fill and compression depth.
pub fn quicklistNew(fill: i32, compress: i32) -> Quicklist {
    let mut ql = quicklistCreate();
    quicklistSetOptions(&mut ql, fill, compress);
    ql
}

impl Quicklist {
    /// Returns a new node, not linked yet, its values not counted.
    fn quicklistCreateNode(&mut self, new: Ziplist, count: usize) -> u32 {
        if let Nodes::One { zl, .. } = &mut self.0
            && zl.is_none()
        {
            *zl = new;
            return 0;
        }
        self.many().add(QuicklistNode {
            prev: NIL,
            next: NIL,
            sz: new.len() as u32,
            zl: Content::Raw(new, false),
            count: count as u32,
        })
    }
}

/// Returns the number of values.
#[inline]
pub fn quicklistCount(ql: &Quicklist) -> usize {
    match &ql.0 {
        Nodes::One { count, .. } => *count as usize,
        Nodes::Many(many) => many.count,
    }
}

/// Returns the compressed bytes of a node; `None` if it is not compressed.
pub fn quicklistGetLzf(node: QuicklistNodeRef<'_>) -> Option<&[u8]> {
    node.compressed.then_some(node.stored)
}

impl Quicklist {
    /// Keeps the ends of the list uncompressed to the depth asked for, compresses `node` if it is
    /// further inside, and the two nodes next to the ends: those that an insertion may have pushed
    /// inside.
    fn __quicklistCompress(&mut self, node: u32) {
        let compress = self.compress();
        if compress == 0 || self.len() < compress as usize * 2 {
            return;
        }
        let (mut forward, mut reverse) = (self.head(), self.tail());
        let mut in_depth = false;
        for _ in 0..compress {
            for id in [forward, reverse] {
                self.quicklistDecompressNode(id);
                // C: leaves the flag as it is. A node that LINDEX has unpacked inside the list may
                // come to its end by pops; the next LINSERT then packs it there, and the next LPUSH
                // writes a ziplist entry into LZF bytes.
                self.set_recompress(id, false);
            }
            if forward == node || reverse == node {
                in_depth = true;
            }
            // The ends meet: nothing is inside.
            if forward == reverse || self.next(forward) == reverse {
                return;
            }
            forward = self.next(forward);
            reverse = self.prev(reverse);
        }
        if !in_depth {
            self.quicklistCompressNode(node);
        }
        self.quicklistCompressNode(forward);
        self.quicklistCompressNode(reverse);
    }

    /// Links `new_node` behind `old_node`, or before it. `old_node` may be NIL in an empty list.
    fn __quicklistInsertNode(&mut self, old_node: u32, new_node: u32, after: bool) {
        // The only one has no neighbours.
        let Nodes::Many(many) = &mut self.0 else { return };
        let (prev, next) = match (old_node, after) {
            (NIL, _) => (NIL, NIL),
            (_, true) => (old_node, many.nodes[old_node].next),
            (_, false) => (many.nodes[old_node].prev, old_node),
        };
        many.nodes[new_node].prev = prev;
        many.nodes[new_node].next = next;
        match prev {
            NIL => many.head = new_node,
            _ => many.nodes[prev].next = new_node,
        }
        match next {
            NIL => many.tail = new_node,
            _ => many.nodes[next].prev = new_node,
        }
        // The length comes first, for the compression to know it.
        many.len += 1;
        if old_node != NIL {
            self.quicklistCompress(old_node);
        }
    }
}

/// Tells whether a node of `sz` bytes is within the size class of a negative `fill`. False for
/// other fills.
#[inline]
pub fn _quicklistNodeSizeMeetsOptimizationRequirement(sz: usize, fill: i32) -> bool {
    fill < 0 && optimization_level.get((-fill) as usize - 1).is_some_and(|&limit| sz <= limit)
}

/// Tells whether a node of `node_sz` bytes and `count` elements stays within its limits with another
/// element of `sz` bytes.
#[inline(always)]
fn node_allows_insert(node_sz: usize, count: u32, fill: i16, sz: usize) -> bool {
    let fill = i32::from(fill);
    // The header of the entry. It may take less: an integer is stored shorter than it is written.
    let header = match sz {
        0..64 => 2,
        64..254 => 3,
        254..16384 => 7,
        _ => 10,
    };
    let new_sz = node_sz + sz + header;
    if _quicklistNodeSizeMeetsOptimizationRequirement(new_sz, fill) {
        true
    } else if new_sz > SIZE_SAFETY_LIMIT {
        false
    } else {
        (count as i32) < fill
    }
}

impl Quicklist {
    /// Tells whether this node stays within its limits with another element of `sz` bytes.
    fn _quicklistNodeAllowInsert(&self, id: u32, sz: usize) -> bool {
        match &self.0 {
            _ if id == NIL => false,
            Nodes::One { zl, count, fill, .. } => node_allows_insert(zl.len(), *count, *fill, sz),
            Nodes::Many(many) => {
                let node = &many.nodes[id];
                node_allows_insert(node.sz as usize, node.count, many.fill, sz)
            }
        }
    }

    fn _quicklistNodeAllowMerge(&self, a: u32, b: u32) -> bool {
        if a == NIL || b == NIL {
            return false;
        }
        let (a, b) = (self.node(a), self.node(b));
        let fill = self.fill();
        // One of the two headers and end marks goes.
        let merge_sz = (a.sz() + b.sz()).saturating_sub(11);
        if _quicklistNodeSizeMeetsOptimizationRequirement(merge_sz, fill) {
            true
        } else if merge_sz > SIZE_SAFETY_LIMIT {
            false
        } else {
            (a.count + b.count) as i32 <= fill
        }
    }
}

/// Adds a value at the head, or at the tail. True if that took a new node.
#[inline(always)]
fn push(ql: &mut Quicklist, value: &[u8], at_head: bool) -> bool {
    let place = if at_head { ZIPLIST_HEAD } else { ZIPLIST_TAIL };
    // Most often the node at this end has room, and is not compressed, and the value is short.
    match &mut ql.0 {
        Nodes::One { zl, count, fill, .. } => {
            if !zl.is_none()
                && node_allows_insert(zl.len(), *count, *fill, value.len())
                && ziplist_push_short(zl, value, place)
            {
                *count += 1;
                return false;
            }
        }
        Nodes::Many(many) => {
            let end = if at_head { many.head } else { many.tail };
            let QuicklistNode { zl, sz, count, .. } = &mut many.nodes[end];
            if let Content::Raw(zl, _) = zl
                && node_allows_insert(*sz as usize, *count, many.fill, value.len())
                && ziplist_push_short(zl, value, place)
            {
                *sz = zl.len() as u32;
                *count += 1;
                many.count += 1;
                return false;
            }
        }
    }
    push_any(ql, value, at_head)
}

/// Does what [`push`] does, for any value, and any node: a new one, or one that is compressed, too.
#[inline(never)]
fn push_any(ql: &mut Quicklist, value: &[u8], at_head: bool) -> bool {
    let (end, place) = if at_head { (ql.head(), ZIPLIST_HEAD) } else { (ql.tail(), ZIPLIST_TAIL) };
    if !ql._quicklistNodeAllowInsert(end, value.len()) {
        let node = ql.node_of(value);
        ql.__quicklistInsertNode(end, node, !at_head);
        ql.added(1);
        return true;
    }
    // The ends are not compressed; only a list whose depth was changed may have it otherwise.
    ql.quicklistDecompressNode(end);
    ql.update(end, 1, |zl| ziplistPush(zl, value, place));
    false
}

/// Adds a value before the first. True if that took a new node.
#[inline]
pub fn quicklistPushHead(ql: &mut Quicklist, value: &[u8]) -> bool {
    push(ql, value, true)
}

/// Adds a value behind the last. True if that took a new node.
#[inline]
pub fn quicklistPushTail(ql: &mut Quicklist, value: &[u8]) -> bool {
    push(ql, value, false)
}

/// Adds a whole ziplist as a node behind the last, as RDB files hold them.
pub fn quicklistAppendZiplist(ql: &mut Quicklist, zl: Ziplist) {
    let count = ziplistLen(&zl);
    let node = ql.quicklistCreateNode(zl, count);
    ql.__quicklistInsertNode(ql.tail(), node, true);
    ql.added(count);
}

/// Adds the values of a ziplist one by one behind the last: nodes come out as large as the fill
/// allows.
pub fn quicklistAppendValuesFromZiplist(ql: &mut Quicklist, zl: &[u8]) {
    let mut p = ziplistIndex(zl, 0);
    while let Some(at) = p {
        match assert_some!(ziplistGet(zl, at)) {
            ZiplistEntry::Str(value) => quicklistPushTail(ql, value),
            ZiplistEntry::Int(value) => {
                quicklistPushTail(ql, itoa::Buffer::new().format(value).as_bytes())
            }
        };
        p = ziplistNext(zl, at);
    }
}

/// Creates a list from the values of a ziplist.
pub fn quicklistCreateFromZiplist(fill: i32, compress: i32, zl: &[u8]) -> Quicklist {
    let mut ql = quicklistNew(fill, compress);
    quicklistAppendValuesFromZiplist(&mut ql, zl);
    ql
}

impl Quicklist {
    fn __quicklistDelNode(&mut self, id: u32) {
        let (fill, compress) = (self.fill() as i16, self.compress() as u16);
        let last = match &mut self.0 {
            Nodes::One { .. } => true,
            Nodes::Many(many) => {
                let QuicklistNode { prev, next, count, .. } = many.nodes[id];
                match prev {
                    NIL => many.head = next,
                    _ => many.nodes[prev].next = next,
                }
                match next {
                    NIL => many.tail = prev,
                    _ => many.nodes[next].prev = prev,
                }
                many.len -= 1;
                // A damaged ziplist need not hold as many values as were counted.
                many.count = many.count.saturating_sub(count as usize);
                let node = &mut many.nodes[id];
                node.zl = Content::none();
                node.next = many.free;
                many.free = id;
                many.len == 0
            }
        };
        if last {
            self.0 = Nodes::One { zl: Ziplist::none(), count: 0, fill, compress };
            return;
        }

        // With this node gone, a compressed one may have come within the depth.
        self.__quicklistCompress(NIL);
    }

    /// Deletes the value at `p` of a node. True if the node went with it.
    fn quicklistDelIndex(&mut self, id: u32, p: usize) -> bool {
        let count = self.count(id);
        self.update(id, if count > 0 { -1 } else { 0 }, |zl| ziplistDelete(zl, p));
        if count <= 1 {
            self.__quicklistDelNode(id);
            return true;
        }
        false
    }
}

/// Deletes the value an iteration has met; the iteration goes on with the next one.
pub fn quicklistDelEntry(iter: &mut QuicklistIter, ql: &mut Quicklist, entry: &QuicklistEntry) {
    let (prev, next) = (ql.prev(entry.node), ql.next(entry.node));
    let deleted_node = ql.quicklistDelIndex(entry.node, entry.zi);

    // What follows has moved to where the value was: the offset is still right, the position has to
    // be found again.
    iter.zi = None;
    if deleted_node {
        if iter.direction == AL_START_HEAD {
            iter.current = next;
            iter.offset = 0;
        } else {
            iter.current = prev;
            iter.offset = -1;
        }
    }
}

/// Replaces the value an entry stands for.
pub fn quicklist_replace_entry(ql: &mut Quicklist, entry: &QuicklistEntry, data: &[u8]) {
    ql.update(entry.node, 0, |zl| ziplistReplace(zl, entry.zi, data));
    ql.quicklistCompress(entry.node);
}

/// Replaces value number `index`, counted as in [`quicklistIndex`]. False: there is none.
pub fn quicklistReplaceAtIndex(ql: &mut Quicklist, index: i64, data: &[u8]) -> bool {
    let Some(entry) = quicklistIndex(ql, index) else { return false };
    if ziplistSafeToAdd(Some(ql.zl(entry.node)), data.len()) {
        quicklist_replace_entry(ql, &entry, data);
    } else {
        // C: huge values set again and again bring a ziplist to 4 GB, and an assertion ends the
        // server. Before that, the new value gets a node of its own.
        let index = if index < 0 { index + quicklistCount(ql) as i64 } else { index };
        quicklistInsertBefore(ql, &entry, data);
        quicklistDelRange(ql, index + 1, 1);
    }
    true
}

impl Quicklist {
    /// Makes one node of two neighbours, `a` before `b`, and returns the one that is left.
    fn _quicklistZiplistMerge(&mut self, a: u32, b: u32) -> u32 {
        self.quicklistDecompressNode(a);
        self.quicklistDecompressNode(b);
        let nodes = &mut self.many().nodes;
        let mut take = |id: u32| std::mem::replace(&mut nodes[id].zl, Content::none());
        let (Content::Raw(mut first, a_flag), Content::Raw(mut second, b_flag)) =
            (take(a), take(b))
        else {
            panic!("a compressed quicklist node was not unpacked before a merge");
        };
        let (keep, nokeep, zl, flag) = match ziplistMerge(&mut first, &mut second) {
            true => (a, b, first, a_flag),
            false => (b, a, second, b_flag),
        };
        nodes[nokeep].count = 0;
        let node = &mut nodes[keep];
        node.count = ziplistLen(&zl) as u32;
        node.sz = zl.len() as u32;
        node.zl = Content::Raw(zl, flag);
        self.__quicklistDelNode(nokeep);
        self.quicklistCompress(keep);
        keep
    }

    /// Merges what can be merged around `center`: the two nodes before it, the two behind it, and
    /// it with its neighbours.
    fn _quicklistMergeNodes(&mut self, center: u32) {
        let prev = self.prev(center);
        let prev_prev = if prev == NIL { NIL } else { self.prev(prev) };
        let next = self.next(center);
        let next_next = if next == NIL { NIL } else { self.next(next) };

        if self._quicklistNodeAllowMerge(prev, prev_prev) {
            self._quicklistZiplistMerge(prev_prev, prev);
        }
        if self._quicklistNodeAllowMerge(next, next_next) {
            self._quicklistZiplistMerge(next, next_next);
        }
        let mut target = center;
        let prev = self.prev(center);
        if self._quicklistNodeAllowMerge(center, prev) {
            target = self._quicklistZiplistMerge(prev, center);
        }
        let next = self.next(target);
        if self._quicklistNodeAllowMerge(target, next) {
            self._quicklistZiplistMerge(target, next);
        }
    }

    /// Splits a node at `offset`. With `after`, the new node gets what is behind the element there;
    /// else, what is before it.
    ///
    /// The new node is returned, and not linked yet.
    fn _quicklistSplitNode(&mut self, id: u32, offset: usize, after: bool) -> u32 {
        const REST: usize = u32::MAX as usize;
        let (new_zl, rest) = self.update(id, 0, |zl| {
            let mut new_zl = zl.clone();
            if after {
                ziplistDeleteRange(zl, offset as i64 + 1, REST);
                ziplistDeleteRange(&mut new_zl, 0, offset + 1);
            } else {
                ziplistDeleteRange(zl, 0, offset);
                ziplistDeleteRange(&mut new_zl, offset as i64, REST);
            }
            (new_zl, ziplistLen(zl))
        });
        self.many().nodes[id].count = rest as u32;
        let count = ziplistLen(&new_zl);
        self.quicklistCreateNode(new_zl, count)
    }

    fn _quicklistInsert(&mut self, entry: &QuicklistEntry, value: &[u8], after: bool) {
        let node = entry.node;
        let sz = value.len();
        let count = i64::from(self.count(node));
        // C: takes an offset from the end as it is, and then splits at the wrong place. No command
        // asks for it.
        let offset = if entry.offset < 0 { entry.offset + count } else { entry.offset };
        let (prev, next) = (self.prev(node), self.next(node));

        let full = !self._quicklistNodeAllowInsert(node, sz);
        // The C's condition, kept since it decides where nodes end: no value has the number
        // `count`, so the tail is never seen, and a full node is split there too.
        let at_tail = after && offset == count;
        let full_next = at_tail && !self._quicklistNodeAllowInsert(next, sz);
        let at_head = !after && offset == 0;
        let full_prev = at_head && !self._quicklistNodeAllowInsert(prev, sz);

        if !full {
            self.quicklistDecompressNodeForUse(node);
            self.update(node, 1, |zl| {
                match if after { ziplistNext(zl, entry.zi) } else { Some(entry.zi) } {
                    Some(p) => ziplistInsert(zl, p, value),
                    None => ziplistPush(zl, value, ZIPLIST_TAIL),
                }
            });
            self.quicklistRecompressOnly(node);
        } else if at_tail && next != NIL && !full_next {
            self.push_to_node(next, value, ZIPLIST_HEAD);
        } else if at_head && prev != NIL && !full_prev {
            self.push_to_node(prev, value, ZIPLIST_TAIL);
        } else if (at_tail && next != NIL) || (at_head && prev != NIL) {
            // The neighbour is full as well: a node of its own between the two.
            let new_node = self.node_of(value);
            self.__quicklistInsertNode(node, new_node, after);
            self.added(1);
        } else {
            self.quicklistDecompressNodeForUse(node);
            let new_node = self._quicklistSplitNode(node, offset.max(0) as usize, after);
            let place = if after { ZIPLIST_HEAD } else { ZIPLIST_TAIL };
            self.push_to_node(new_node, value, place);
            self.__quicklistInsertNode(node, new_node, after);
            self._quicklistMergeNodes(node);
        }
    }
}

/// Inserts a value before the one an entry stands for.
pub fn quicklistInsertBefore(ql: &mut Quicklist, entry: &QuicklistEntry, value: &[u8]) {
    ql._quicklistInsert(entry, value, false);
}

/// Inserts a value behind the one an entry stands for.
pub fn quicklistInsertAfter(ql: &mut Quicklist, entry: &QuicklistEntry, value: &[u8]) {
    ql._quicklistInsert(entry, value, true);
}

/// Deletes up to `count` values from number `start` on, counted as in [`quicklistIndex`]. False:
/// nothing to delete.
pub fn quicklistDelRange(ql: &mut Quicklist, start: i64, count: i64) -> bool {
    if count <= 0 {
        return false;
    }
    let mut extent = count as u64;
    if start >= 0 {
        extent = extent.min((quicklistCount(ql) as u64).saturating_sub(start as u64));
    } else {
        extent = extent.min(start.unsigned_abs());
    }
    let Some(entry) = quicklistIndex(ql, start) else { return false };
    let mut node = entry.node;
    let mut offset = entry.offset;
    while extent > 0 && node != NIL {
        let next = ql.next(node);
        let here = u64::from(ql.count(node));
        let entire = offset == 0 && extent >= here;
        let del = if entire {
            here
        } else if offset < 0 {
            // From the end: as many as the offset says, in the first node only.
            offset.unsigned_abs().min(extent)
        } else {
            (here - offset as u64).min(extent)
        };
        if entire {
            ql.__quicklistDelNode(node);
        } else {
            ql.quicklistDecompressNodeForUse(node);
            ql.update(node, -(del as i32), |zl| ziplistDeleteRange(zl, offset, del as usize));
            if ql.count(node) == 0 {
                ql.__quicklistDelNode(node);
            } else {
                ql.quicklistRecompressOnly(node);
            }
        }
        extent -= del;
        node = next;
        offset = 0;
    }
    true
}

/// Tells whether the value that an entry stands for equals `value`.
pub fn quicklistCompare(ql: &Quicklist, entry: &QuicklistEntry, value: &[u8]) -> bool {
    ziplistCompare(ql.zl(entry.node), entry.zi, value)
}

/// Creates an iterator before the first value in this direction.
pub fn quicklistGetIterator(ql: &Quicklist, direction: i32) -> QuicklistIter {
    let (current, offset) =
        if direction == AL_START_HEAD { (ql.head(), 0) } else { (ql.tail(), -1) };
    QuicklistIter { current, zi: None, offset, direction }
}

/// Creates an iterator before value number `idx`, counted as in [`quicklistIndex`]. `None`: there
/// is none.
pub fn quicklistGetIteratorAtIdx(
    ql: &mut Quicklist,
    direction: i32,
    idx: i64,
) -> Option<QuicklistIter> {
    let entry = quicklistIndex(ql, idx)?;
    Some(QuicklistIter { current: entry.node, zi: None, offset: entry.offset, direction })
}

/// Ends an iteration: packs the node it stands on again.
pub fn quicklistReleaseIterator(iter: QuicklistIter, ql: &mut Quicklist) {
    if iter.current != NIL {
        ql.quicklistCompress(iter.current);
    }
}

/// Goes to the next value. `None` at the end.
///
/// Values may be deleted by [`quicklistDelEntry`] in between; after any other change the iterator
/// has to be created again.
pub fn quicklistNext(iter: &mut QuicklistIter, ql: &mut Quicklist) -> Option<QuicklistEntry> {
    let forward = iter.direction == AL_START_HEAD;
    while iter.current != NIL {
        match iter.zi {
            None => {
                ql.quicklistDecompressNodeForUse(iter.current);
                iter.zi = ziplistIndex(ql.zl(iter.current), iter.offset);
            }
            Some(zi) => {
                let zl = ql.zl(iter.current);
                iter.zi = if forward { ziplistNext(zl, zi) } else { ziplistPrev(zl, zi) };
                iter.offset += if forward { 1 } else { -1 };
            }
        }
        if let Some(zi) = iter.zi {
            return Some(QuicklistEntry { node: iter.current, zi, offset: iter.offset });
        }
        // This node is done.
        ql.quicklistCompress(iter.current);
        if forward {
            iter.current = ql.next(iter.current);
            iter.offset = 0;
        } else {
            iter.current = ql.prev(iter.current);
            iter.offset = -1;
        }
    }
    None
}

/// Returns a copy of a list, compressed where it is.
pub fn quicklistDup(orig: &Quicklist) -> Quicklist {
    let mut copy = quicklistNew(orig.fill(), orig.compress());
    let mut id = orig.head();
    while id != NIL {
        let node = orig.node(id);
        let new = match &orig.0 {
            Nodes::One { zl, .. } => copy.quicklistCreateNode(zl.clone(), node.count()),
            Nodes::Many(many) => match &many.nodes[id].zl {
                Content::Raw(zl, _) => copy.quicklistCreateNode(zl.clone(), node.count()),
                Content::Lzf(lzf) => copy.many().add(QuicklistNode {
                    prev: NIL,
                    next: NIL,
                    zl: Content::Lzf(lzf.clone()),
                    sz: node.sz,
                    count: node.count,
                }),
            },
        };
        copy.__quicklistInsertNode(copy.tail(), new, true);
        copy.added(node.count());
        id = orig.next(id);
    }
    copy
}

/// Finds value number `idx`, counted from 0, or from -1 at the end backwards. `None`: there is
/// none.
///
/// The node of the value is unpacked, and compressed again only when a later operation on the list
/// does so.
pub fn quicklistIndex(ql: &mut Quicklist, idx: i64) -> Option<QuicklistEntry> {
    let (node, offset) = ql.find(idx)?;
    ql.quicklistDecompressNodeForUse(node);
    // A damaged ziplist need not have as many values as it says.
    let zi = assert_some!(ziplistIndex(ql.zl(node), offset));
    Some(QuicklistEntry { node, zi, offset })
}

/// Moves the last value to the head.
pub fn quicklistRotate(ql: &mut Quicklist) {
    if quicklistCount(ql) <= 1 {
        return;
    }
    ql.quicklistDecompressNode(ql.tail());
    let zl = ql.zl(ql.tail());
    let tail = assert_some!(ziplistIndex(zl, -1));
    let value = match assert_some!(ziplistGet(zl, tail)) {
        ZiplistEntry::Str(value) => value.to_vec(),
        ZiplistEntry::Int(value) => itoa::Buffer::new().format(value).as_bytes().to_vec(),
    };
    quicklistPushHead(ql, &value);
    let p = assert_some!(ziplistIndex(ql.zl(ql.tail()), -1));
    ql.quicklistDelIndex(ql.tail(), p);
}

/// Takes the value at one end, and gives it to `saver` before it is deleted. `None`: the list is
/// empty.
#[inline(always)]
pub fn quicklistPopCustom<T>(
    ql: &mut Quicklist,
    place: i32,
    saver: impl FnOnce(ZiplistEntry) -> T,
) -> Option<T> {
    // Most often the value is in a node that has others, and is not compressed.
    let at_head = place == QUICKLIST_HEAD;
    let mut unused = 0;
    let end = match &mut ql.0 {
        Nodes::One { zl, count, .. } => Some((zl, count, &mut unused)),
        Nodes::Many(many) => {
            let end = if at_head { many.head } else { many.tail };
            match &mut many.nodes[end] {
                QuicklistNode { zl: Content::Raw(zl, _), sz, count, .. } if *count > 1 => {
                    many.count = many.count.saturating_sub(1);
                    Some((zl, count, sz))
                }
                _ => None,
            }
        }
    };
    if let Some((zl, count, sz)) = end
        && *count > 1
    {
        *count -= 1;
        let value = if at_head { ziplist_pop_head(zl, saver) } else { ziplist_pop_tail(zl, saver) };
        *sz = zl.len() as u32;
        return value;
    }
    pop_any(ql, at_head, saver)
}

/// Does what [`quicklistPopCustom`] does, for any node.
#[inline(never)]
fn pop_any<T>(
    ql: &mut Quicklist,
    at_head: bool,
    saver: impl FnOnce(ZiplistEntry) -> T,
) -> Option<T> {
    let (node, pos) = if at_head { (ql.head(), 0) } else { (ql.tail(), -1) };
    if node == NIL {
        return None;
    }
    ql.quicklistDecompressNode(node);
    let zl = ql.zl(node);
    let p = assert_some!(ziplistIndex(zl, pos));
    let value = saver(assert_some!(ziplistGet(zl, p)));
    ql.quicklistDelIndex(node, p);
    Some(value)
}

/// Takes the value at one end, as the bytes that were pushed.
pub fn quicklistPop(ql: &mut Quicklist, place: i32) -> Option<Vec<u8>> {
    quicklistPopCustom(ql, place, |value| match value {
        ZiplistEntry::Str(value) => value.to_vec(),
        ZiplistEntry::Int(value) => itoa::Buffer::new().format(value).as_bytes().to_vec(),
    })
}

/// Adds a value at one end.
pub fn quicklistPush(ql: &mut Quicklist, value: &[u8], place: i32) {
    if place == QUICKLIST_HEAD {
        quicklistPushHead(ql, value);
    } else {
        quicklistPushTail(ql, value);
    }
}

/// An iteration that changes nothing: compressed nodes are unpacked into a buffer.
#[derive(Debug)]
pub struct QuicklistReader<'a> {
    ql: &'a Quicklist,
    current: u32,
    /// The ziplist of the current node; empty if that is in the buffer.
    zl: &'a [u8],
    /// Forward, the place behind the value returned last; backwards, of that value. `None`: none of
    /// the current node was returned yet.
    zi: Option<usize>,
    offset: i64,
    direction: i32,
    buffer: Vec<u8>,
}

/// Creates a reader before value number `idx`, counted as in [`quicklistIndex`]; at the end if
/// there is none.
pub fn quicklist_read(ql: &Quicklist, direction: i32, idx: i64) -> QuicklistReader<'_> {
    let (current, offset) = ql.find(idx).unwrap_or((NIL, 0));
    QuicklistReader { ql, current, zl: &[], zi: None, offset, direction, buffer: Vec::new() }
}

impl QuicklistReader<'_> {
    /// Returns the next value; `None` at the end.
    pub fn read(&mut self) -> Option<ZiplistEntry<'_>> {
        let forward = self.direction == AL_START_HEAD;
        while self.current != NIL {
            let zi = match self.zi {
                None => Some(self.enter_node()),
                Some(zi) if forward => (!ziplist_is_end(self.bytes(), zi)).then_some(zi),
                Some(zi) => ziplistPrev(self.bytes(), zi),
            };
            self.zi = zi;
            if let Some(zi) = zi {
                let zl: &[u8] = if self.zl.is_empty() { &self.buffer } else { self.zl };
                let (value, next) = ziplist_get_next(zl, zi)?;
                if forward {
                    self.zi = Some(next);
                }
                return Some(value);
            }
            (self.current, self.offset) = if forward {
                (self.ql.next(self.current), 0)
            } else {
                (self.ql.prev(self.current), -1)
            };
        }
        None
    }

    /// Goes to the first value of the current node, and returns its place.
    fn enter_node(&mut self) -> usize {
        let node = self.ql.node(self.current);
        self.zl = node.zl();
        if let Some(lzf) = quicklistGetLzf(node) {
            self.buffer = unpack(lzf, node.sz());
        }
        // No node is empty, and this is a place that its count knows.
        assert_some!(ziplistIndex(self.bytes(), self.offset))
    }

    /// Calls `f` with the next values, up to `n` of them, and until it returns false, which says
    /// that it has not taken the value: that is the next one then. Returns how many it has taken.
    /// Only forward.
    #[inline(always)]
    pub fn read_while(&mut self, n: usize, mut f: impl FnMut(ZiplistEntry) -> bool) -> usize {
        self.read_from_nodes(n, |zl, at, n| ziplist_read_while(zl, at, n, &mut f))
    }

    /// Does what [`read_while`](Self::read_while) does as long as the values are short strings. `f`
    /// is given bytes that begin with the value, and its length.
    #[inline(always)]
    pub fn read_short_while(&mut self, n: usize, mut f: impl FnMut(&[u8], usize) -> bool) -> usize {
        self.read_from_nodes(n, |zl, at, n| ziplist_read_short_while(zl, at, n, &mut f))
    }

    /// Does what [`read_while`](Self::read_while) does as long as the values are integers.
    #[inline(always)]
    pub fn read_integers_while(&mut self, n: usize, mut f: impl FnMut(i64) -> bool) -> usize {
        self.read_from_nodes(n, |zl, at, n| ziplist_read_integers_while(zl, at, n, &mut f))
    }

    /// Reads up to `n` values from as many nodes as that takes. `read` is given a ziplist, a place
    /// there, and how many values are wanted; it returns how many it has read, and the next place.
    #[inline(always)]
    fn read_from_nodes(
        &mut self,
        n: usize,
        mut read: impl FnMut(&[u8], usize, usize) -> (usize, usize),
    ) -> usize {
        assert!(self.direction == AL_START_HEAD, "values are taken one by one from the tail back");
        let mut taken = 0;
        while taken < n && self.current != NIL {
            let at = match self.zi {
                Some(zi) => zi,
                None => self.enter_node(),
            };
            let (here, next) = read(self.bytes(), at, n - taken);
            self.zi = Some(next);
            taken += here;
            if !ziplist_is_end(self.bytes(), next) {
                break;
            }
            (self.current, self.offset, self.zi) = (self.ql.next(self.current), 0, None);
        }
        taken
    }

    /// Returns the ziplist of the current node: its own, or the one unpacked to the buffer.
    #[inline]
    fn bytes(&self) -> &[u8] {
        if self.zl.is_empty() { &self.buffer } else { self.zl }
    }
}

#[cfg(test)]
mod tests;
