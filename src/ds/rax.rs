//! `rax.c`: a radix tree of byte strings, with chains of single children compressed into one node.
//!
//! Read first: [`Node`] (what a node holds), `raxLowWalk` (the walk everything starts with),
//! [`raxInsert`] and [`raxRemove`] (which split and join compressed nodes), then [`RaxIterator`].
//!
//! The tree has the same nodes as the C's after the same insertions and removals: XINFO STREAM
//! shows their number.
//!
//! Not here: `raxShow` and `raxTouch`, which only serve debugging, and the node callback of
//! iterators: active defragmentation walks the arena of nodes instead ([`defragRaxNode`]). A tree is
//! freed by dropping it.
//!
//! Differs: nodes live in an arena and are linked by index. An iterator does not point into the
//! tree: it holds a key, a path and the tree's epoch, and finds its place again by the key when the
//! tree has changed in between. So nothing borrows the tree between two steps, and changing it
//! while iterating is always allowed.
#![forbid(unsafe_code)]

use super::slab::{ChunkedVec, NIL};
use crate::sys::defrag::Defrag;
use crate::sys::mem::prefetch;
use std::ops::Deref;

/// The longest string one node holds.
pub const RAX_NODE_MAX_SIZE: usize = (1 << 29) - 1;

/// A node: 32 bytes when a value is a pointer.
///
/// `data` is empty in a node without children. Else it begins with a byte that says whether the
/// node is compressed (the C's `iscompr`), the characters follow, and then the child or children,
/// four bytes each:
///
/// - compressed: a string of at least two characters, and one child, which the whole string leads
///   to;
/// - not compressed: the first characters of the children in ascending order, and a child for each.
///
/// A node with a value is a key: the one that the characters on the way to it spell.
#[derive(Debug)]
struct Node<V> {
    data: Data,
    value: Option<V>,
}

const HDR: usize = 1;
const PTR: usize = 4;

/// The data of a node. Up to 22 bytes of it are in the node itself: a string of 17 characters, or
/// four children. So most nodes take no allocation of their own, and no second look at memory.
#[derive(Debug)]
enum Data {
    Inline { len: u8, bytes: [u8; INLINE] },
    Heap(Box<[u8]>),
}

const INLINE: usize = 22;

impl Data {
    const EMPTY: Data = Data::Inline { len: 0, bytes: [0; INLINE] };

    /// Makes data of `len` bytes, which `fill` writes.
    #[inline]
    fn new(len: usize, fill: impl FnOnce(&mut [u8])) -> Data {
        if len <= INLINE {
            let mut bytes = [0; INLINE];
            fill(&mut bytes[..len]);
            Data::Inline { len: len as u8, bytes }
        } else {
            let mut bytes = vec![0; len].into_boxed_slice();
            fill(&mut bytes);
            Data::Heap(bytes)
        }
    }
}

impl Deref for Data {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Data::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Data::Heap(bytes) => bytes,
        }
    }
}

impl<V> Node<V> {
    #[inline]
    fn iscompr(&self) -> bool {
        self.data.first() == Some(&1)
    }

    /// Returns the number of children, or length of the compressed string.
    #[inline]
    fn size(&self) -> usize {
        self.chars().len()
    }

    fn numchildren(&self) -> usize {
        if self.iscompr() { 1 } else { self.size() }
    }

    #[inline]
    fn chars(&self) -> &[u8] {
        match self.data.first() {
            None => &[],
            Some(1) => &self.data[HDR..self.data.len() - PTR],
            Some(_) => &self.data[HDR..HDR + (self.data.len() - HDR) / (1 + PTR)],
        }
    }

    #[inline]
    fn child(&self, pos: usize) -> u32 {
        let at = HDR + self.size() + pos * PTR;
        let mut id = [0; PTR];
        id.copy_from_slice(&self.data[at..at + PTR]);
        u32::from_le_bytes(id)
    }

    fn last_child(&self) -> u32 {
        self.child(self.numchildren() - 1)
    }

    /// Returns the position of the child that `c` leads to.
    #[inline]
    fn find(&self, c: u8) -> Option<usize> {
        let chars = self.chars();
        // Streams add and read at the end.
        match chars.last() {
            Some(&last) if last == c => Some(chars.len() - 1),
            _ => memchr::memchr(c, chars),
        }
    }

    /// Returns the position whose child is `id`.
    fn position(&self, id: u32) -> Option<usize> {
        (0..self.numchildren()).find(|&pos| self.child(pos) == id)
    }
}

/// Returns the data of a node with one child behind `chars`, compressed if they are more than one.
fn single(chars: &[u8], child: u32) -> Data {
    Data::new(HDR + chars.len() + PTR, |data| {
        data[0] = u8::from(chars.len() > 1);
        data[HDR..HDR + chars.len()].copy_from_slice(chars);
        data[HDR + chars.len()..].copy_from_slice(&child.to_le_bytes());
    })
}

/// A radix tree.
#[derive(Debug)]
pub struct Rax<V> {
    nodes: ChunkedVec<Node<V>>,
    free: ChunkedVec<u32>,
    numele: u64,
    /// Counts the changes after which a path into the tree may be wrong.
    epoch: u64,
}

/// The root never moves.
const HEAD: u32 = 0;

impl<V> Rax<V> {
    /// Returns the number of nodes, as `rax->numnodes`.
    pub fn numnodes(&self) -> u64 {
        u64::from(self.nodes.len() - self.free.len())
    }

    /// Returns the bytes allocated by the tree itself. Walks all nodes.
    pub fn mem_usage(&self) -> usize {
        let data = (0..self.nodes.len()).map(|i| match &self.nodes[i].data {
            Data::Inline { .. } => 0,
            Data::Heap(bytes) => bytes.len(),
        });
        let data: usize = data.sum();
        size_of::<Self>() + self.nodes.mem_usage() + self.free.mem_usage() + data
    }

    /// Returns all values in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        let mut it = raxStart();
        raxSeek(&mut it, self, "^", b"");
        std::iter::from_fn(move || if raxNext(&mut it, self) { it.data(self) } else { None })
    }

    /// Moves the arena of nodes where that is worth it.
    pub fn defrag_arena(&mut self, moves: &mut Defrag) {
        self.nodes.defrag(moves);
        self.free.defrag(moves);
    }

    fn raxNewNode(&mut self, data: Data, value: Option<V>) -> u32 {
        match self.free.pop() {
            Some(id) => {
                self.nodes[id] = Node { data, value };
                id
            }
            None => self.nodes.push(Node { data, value }),
        }
    }
}

/// Creates an empty tree.
pub fn raxNew<V>() -> Rax<V> {
    let mut nodes = ChunkedVec::new();
    nodes.push(Node { data: Data::EMPTY, value: None });
    Rax { nodes, free: ChunkedVec::new(), numele: 0, epoch: 0 }
}

impl<V> Rax<V> {
    fn rax_free(&mut self, id: u32) {
        self.nodes[id].data = Data::EMPTY;
        self.free.push(id);
    }

    /// Adds a child behind `c` to node `n`, which is not compressed, and returns it.
    fn raxAddChild(&mut self, n: u32, c: u8) -> u32 {
        let child = self.raxNewNode(Data::EMPTY, None);
        let node = &self.nodes[n];
        debug_assert!(!node.iscompr());
        let chars = node.chars();
        let pos = if chars.last().is_none_or(|&last| last < c) {
            chars.len()
        } else {
            chars.partition_point(|&have| have < c)
        };
        let links = node.data.get(HDR + chars.len()..).unwrap_or_default();
        let size = chars.len() + 1;
        let data = Data::new(HDR + size * (1 + PTR), |data| {
            let (new_chars, new_links) = data[HDR..].split_at_mut(size);
            new_chars[..pos].copy_from_slice(&chars[..pos]);
            new_chars[pos] = c;
            new_chars[pos + 1..].copy_from_slice(&chars[pos..]);
            let at = pos * PTR;
            new_links[..at].copy_from_slice(&links[..at]);
            new_links[at..at + PTR].copy_from_slice(&child.to_le_bytes());
            new_links[at + PTR..].copy_from_slice(&links[at..]);
        });
        self.nodes[n].data = data;
        child
    }

    /// Turns node `n`, which has no children, into a compressed one and returns its child.
    fn raxCompressNode(&mut self, n: u32, s: &[u8]) -> u32 {
        let child = self.raxNewNode(Data::EMPTY, None);
        self.nodes[n].data = single(s, child);
        child
    }

    /// Walks down the tree along `s`, and tells of each node that is left behind.
    ///
    /// Returns how many bytes of `s` were matched, the node where the walk ended, and, if that is a
    /// compressed one, how many of its characters were matched. The whole of `s` is a node of its
    /// own only when all bytes are matched and the last number is 0.
    #[inline]
    fn raxLowWalk(&self, s: &[u8], mut behind: impl FnMut(u32)) -> (usize, u32, usize) {
        let mut h = HEAD;
        let mut i = 0;
        while i < s.len() {
            let node = &self.nodes[h];
            let chars = node.chars();
            if chars.is_empty() {
                break;
            }
            let next = if node.iscompr() {
                let same = chars.iter().zip(&s[i..]).take_while(|(a, b)| a == b).count();
                i += same;
                if same != chars.len() {
                    return (i, h, same);
                }
                node.child(0)
            } else {
                let Some(pos) = node.find(s[i]) else { break };
                i += 1;
                node.child(pos)
            };
            behind(h);
            h = next;
        }
        (i, h, 0)
    }

    /// Returns the node of key `s`.
    #[inline]
    fn find_node(&self, s: &[u8]) -> Option<u32> {
        let (i, h, splitpos) = self.raxLowWalk(s, |_| ());
        (i == s.len() && splitpos == 0 && self.nodes[h].value.is_some()).then_some(h)
    }

    /// Makes `s` a key, or finds that it is one. Returns its node, and the value when it was not
    /// stored.
    fn raxGenericInsert(&mut self, s: &[u8], value: V) -> (u32, Option<V>) {
        let (mut i, mut h, j) = self.raxLowWalk(s, |_| ());

        // The string ends at a node: all there is to do is to give it the value.
        if i == s.len() && j == 0 {
            let node = &mut self.nodes[h];
            if node.value.is_some() {
                return (h, Some(value));
            }
            node.value = Some(value);
            self.numele += 1;
            self.epoch += 1;
            return (h, None);
        }
        self.numele += 1;
        self.epoch += 1;

        if self.nodes[h].iscompr() {
            let next = self.nodes[h].child(0);
            let old = std::mem::replace(&mut self.nodes[h].data, Data::EMPTY);
            let chars = &old[HDR..old.len() - PTR];

            if i == s.len() {
                // It ends inside a compressed node. With "ANNIBALE" there, "ANNI" makes it "ANNI"
                // -> "BALE", and the value belongs to the second part. What was the value of the
                // whole stays with the first.
                let postfix = self.raxNewNode(single(&chars[j..], next), Some(value));
                self.nodes[h].data = single(&chars[..j], postfix);
                return (postfix, None);
            }

            // It leaves a compressed node at character `j`. That character goes to a node of its
            // own, the split node, which the loop below gives its second child; what stood before
            // stays, what stood behind follows:
            //
            //     "ANNIBALE" and ANNIENTARE:   "ANNI" -> |B| -> "ALE"
            //                                            |E| -> "NTARE"
            //
            // At the first character there is nothing before, at the last one nothing behind.
            let mut postfix = next;
            if j + 1 < chars.len() {
                postfix = self.raxNewNode(single(&chars[j + 1..], next), None);
            }
            let split = single(&chars[j..j + 1], postfix);
            if j == 0 {
                self.nodes[h].data = split;
            } else {
                let splitnode = self.raxNewNode(split, None);
                self.nodes[h].data = single(&chars[..j], splitnode);
                h = splitnode;
            }
        }

        // Add what is left of the string, compressed where a node would have just the one child.
        while i < s.len() {
            let rest = s.len() - i;
            if rest > 1 && self.nodes[h].data.is_empty() {
                let size = rest.min(RAX_NODE_MAX_SIZE);
                h = self.raxCompressNode(h, &s[i..i + size]);
                i += size;
            } else {
                h = self.raxAddChild(h, s[i]);
                i += 1;
            }
        }
        self.nodes[h].value = Some(value);
        (h, None)
    }

    /// Tells whether this node can be part of a compressed one: it has a single child, and is no
    /// key.
    fn is_link(&self, n: u32) -> bool {
        let node = &self.nodes[n];
        node.value.is_none() && (node.iscompr() || node.size() == 1)
    }
}

/// Moves what node `id` of the arena has outside of it, where that is worth it, and calls `value`
/// for its value. The nodes are numbered from 0 on; `false`: there is no such node, nor any after
/// it.
pub fn defragRaxNode<V>(
    rax: &mut Rax<V>,
    id: u32,
    moves: &mut Defrag,
    mut value: impl FnMut(&mut V, &mut Defrag),
) -> bool {
    if id >= rax.nodes.len() {
        return false;
    }
    let node = &mut rax.nodes[id];
    if let Data::Heap(bytes) = &mut node.data {
        moves.activeDefragSds(bytes);
    }
    if let Some(v) = &mut node.value {
        value(v, moves);
    }
    true
}

impl<V> Default for Rax<V> {
    fn default() -> Self {
        raxNew()
    }
}

/// Makes `value` the value of key `s`. Returns the value it had, `None` if the key is new.
pub fn raxInsert<V>(rax: &mut Rax<V>, s: &[u8], value: V) -> Option<V> {
    let (node, refused) = rax.raxGenericInsert(s, value);
    refused.and_then(|value| rax.nodes[node].value.replace(value))
}

/// Inserts key `s` if it is new; else changes nothing and hands `value` back.
pub fn raxTryInsert<V>(rax: &mut Rax<V>, s: &[u8], value: V) -> Result<(), V> {
    rax.raxGenericInsert(s, value).1.map_or(Ok(()), Err)
}

/// Returns the value of key `s`.
pub fn raxFind<'a, V>(rax: &'a Rax<V>, s: &[u8]) -> Option<&'a V> {
    rax.nodes[rax.find_node(s)?].value.as_ref()
}

impl<V> Rax<V> {
    /// Takes child `child` from node `n`.
    fn raxRemoveChild(&mut self, n: u32, child: u32) {
        let node = &mut self.nodes[n];
        let size = node.size();
        let Some(pos) = node.position(child) else { return };
        if size == 1 || node.iscompr() {
            node.data = Data::EMPTY;
            return;
        }
        let old = &node.data;
        let link = HDR + size + pos * PTR;
        let data = Data::new(old.len() - 1 - PTR, |data| {
            data[..HDR + pos].copy_from_slice(&old[..HDR + pos]);
            data[HDR + pos..link - 1].copy_from_slice(&old[HDR + pos + 1..link]);
            data[link - 1..].copy_from_slice(&old[link + PTR..]);
        });
        node.data = data;
    }
}

/// Returns the value of key `s`, to be changed.
pub fn rax_find_mut<'a, V>(rax: &'a mut Rax<V>, s: &[u8]) -> Option<&'a mut V> {
    let node = rax.find_node(s)?;
    rax.nodes[node].value.as_mut()
}

/// Removes key `s` and returns its value.
pub fn raxRemove<V>(rax: &mut Rax<V>, s: &[u8]) -> Option<V> {
    let mut ts = InlineVec::<u32, RAX_STACK_STATIC_ITEMS>::new();
    let (i, mut h, splitpos) = rax.raxLowWalk(s, |n| ts.push(n));
    if i != s.len() || splitpos != 0 {
        return None;
    }
    let old = rax.nodes[h].value.take()?;
    rax.numele -= 1;
    rax.epoch += 1;
    if rax.numele == 0 {
        // What is left is the root alone: give the arena back too.
        let epoch = rax.epoch;
        *rax = raxNew();
        rax.epoch = epoch;
        return Some(old);
    }

    let mut trycompress = false;
    if rax.nodes[h].size() == 0 {
        // A leaf goes, and above it all nodes that led only there.
        let mut child = NIL;
        while h != HEAD {
            child = h;
            rax.rax_free(child);
            h = ts.pop().unwrap_or(HEAD);
            let node = &rax.nodes[h];
            if node.value.is_some() || (!node.iscompr() && node.size() != 1) {
                break;
            }
        }
        if child != NIL {
            rax.raxRemoveChild(h, child);
            let node = &rax.nodes[h];
            trycompress = node.size() == 1 && node.value.is_none();
        }
    } else if rax.nodes[h].size() == 1 {
        // A key with a single child became a link. (A compressed node that stops being a key is
        // left alone, as in the C.)
        trycompress = true;
    }

    // Here `h` may have become part of a chain of single children. Go up to where the chain begins,
    // then down to where it ends, and put it all into one node.
    if trycompress {
        while let Some(parent) = ts.pop() {
            if !rax.is_link(parent) {
                break;
            }
            h = parent;
        }
        let start = h;
        let mut chars = Vec::new();
        let mut nodes = 0;
        loop {
            let node = &rax.nodes[h];
            // A string may not outgrow its node; the chain then ends early.
            if nodes > 0 && chars.len() + node.size() > RAX_NODE_MAX_SIZE {
                break;
            }
            nodes += 1;
            chars.extend_from_slice(node.chars());
            let next = node.last_child();
            if h != start {
                rax.rax_free(h);
            }
            h = next;
            if !rax.is_link(h) {
                break;
            }
        }
        if nodes > 1 {
            rax.nodes[start].data = single(&chars, h);
        }
    }
    Some(old)
}

/// Creates an iterator. It is at the end until [`raxSeek`] gives it a place.
#[inline]
pub fn raxStart() -> RaxIterator {
    RaxIterator {
        just_seeked: false,
        eof: true,
        key: InlineVec::new(),
        node: NIL,
        stack: InlineVec::new(),
        epoch: 0,
    }
}

// ----- Iterator -----

const RAX_STACK_STATIC_ITEMS: usize = 32;
const RAX_ITER_STATIC_LEN: usize = 128;

/// A stack that allocates only beyond `N` items: the C's `raxStack`, and the key buffer of an
/// iterator.
///
/// Shortening it forgets nothing: [`InlineVec::restore`] brings back what was not overwritten
/// since.
#[derive(Debug, Clone)]
struct InlineVec<T, const N: usize> {
    len: usize,
    inline: [T; N],
    /// Holds all items from the moment they were too many.
    heap: Vec<T>,
}

impl<T: Copy + Default, const N: usize> InlineVec<T, N> {
    fn new() -> Self {
        InlineVec { len: 0, inline: [T::default(); N], heap: Vec::new() }
    }

    #[inline]
    fn as_slice(&self) -> &[T] {
        if self.heap.is_empty() { &self.inline[..self.len] } else { &self.heap[..self.len] }
    }

    #[inline]
    fn extend(&mut self, items: &[T]) {
        let len = self.len + items.len();
        if self.heap.is_empty() && len <= N {
            self.inline[self.len..len].copy_from_slice(items);
        } else {
            if self.heap.is_empty() {
                self.heap.extend_from_slice(&self.inline);
            }
            self.heap.truncate(self.len);
            self.heap.extend_from_slice(items);
        }
        self.len = len;
    }

    #[inline]
    fn push(&mut self, item: T) {
        if self.heap.is_empty() && self.len < N {
            self.inline[self.len] = item;
            self.len += 1;
        } else {
            self.extend(&[item]);
        }
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        let item = *self.as_slice().last()?;
        self.len -= 1;
        Some(item)
    }

    /// Takes `count` items off the end, or all there are.
    fn shorten(&mut self, count: usize) {
        self.len = self.len.saturating_sub(count);
    }

    fn restore(&mut self, len: usize) {
        self.len = len;
    }
}

/// The place of an iteration. It holds no borrow: the tree is given to each step, always the same
/// one.
///
/// When the tree has changed since the last step, the next one starts from the key: it goes to the
/// key behind it (or before it), whether or not that key itself is still there.
#[derive(Debug, Clone)]
pub struct RaxIterator {
    /// The seek has found the first element; the next step returns it.
    just_seeked: bool,
    eof: bool,
    key: InlineVec<u8, RAX_ITER_STATIC_LEN>,
    node: u32,
    stack: InlineVec<u32, RAX_STACK_STATIC_ITEMS>,
    epoch: u64,
}

/// Where a key is, as an iterator has found it. It is good until keys are added or removed; the
/// default is nowhere.
#[derive(Copy, Clone, Debug)]
pub struct RaxPlace {
    node: u32,
    epoch: u64,
}

impl Default for RaxPlace {
    fn default() -> Self {
        RaxPlace { node: NIL, epoch: 0 }
    }
}

/// Tells whether there is a key at a place that was found in this tree.
#[inline]
pub fn rax_is_at<V>(rax: &Rax<V>, place: &RaxPlace) -> bool {
    place.node != NIL && place.epoch == rax.epoch
}

/// Prefetches the node at a place that was found in this tree.
pub fn rax_prefetch<V>(rax: &Rax<V>, place: &RaxPlace) {
    if rax_is_at(rax, place) {
        let (nodes, i) = rax.nodes.chunk_of(place.node);
        let at = nodes.as_ptr().addr() + i * size_of::<Node<V>>();
        prefetch(at);
        prefetch(at + size_of::<Node<V>>() - 1);
    }
}

/// Returns the value at a place that was found in this tree; `None` if the tree has changed since.
pub fn rax_at<'a, V>(rax: &'a Rax<V>, place: &RaxPlace) -> Option<&'a V> {
    if rax_is_at(rax, place) { rax.nodes[place.node].value.as_ref() } else { None }
}

/// Returns the value at a place that was found in this tree, to be changed; `None` if the tree has
/// changed since.
#[inline]
pub fn rax_at_mut<'a, V>(rax: &'a mut Rax<V>, place: &RaxPlace) -> Option<&'a mut V> {
    if !rax_is_at(rax, place) {
        return None;
    }
    rax.nodes[place.node].value.as_mut()
}

impl RaxIterator {
    /// Returns the place of the current key.
    pub fn place(&self) -> RaxPlace {
        RaxPlace { node: self.node, epoch: self.epoch }
    }

    /// Returns the current key.
    pub fn key(&self) -> &[u8] {
        self.key.as_slice()
    }

    /// Returns the value of the current key; `None` if it was removed.
    pub fn data<'a, V>(&self, rax: &'a Rax<V>) -> Option<&'a V> {
        if self.epoch != rax.epoch || self.node == NIL {
            return raxFind(rax, self.key());
        }
        rax.nodes[self.node].value.as_ref()
    }

    /// Returns the value of the current key, to be changed.
    pub fn data_mut<'a, V>(&self, rax: &'a mut Rax<V>) -> Option<&'a mut V> {
        if self.epoch != rax.epoch || self.node == NIL {
            return rax_find_mut(rax, self.key());
        }
        rax.nodes[self.node].value.as_mut()
    }

    /// Enters child `pos` of the current node, whose characters `chars` lead there.
    #[inline]
    fn enter<V>(&mut self, rax: &Rax<V>, chars: &[u8], pos: usize) {
        match chars {
            [c] => self.key.push(*c),
            _ => self.key.extend(chars),
        }
        self.stack.push(self.node);
        self.node = rax.nodes[self.node].child(pos);
    }

    /// Leaves the current node for its parent (or, with `noup`, stays where it is), and takes off
    /// the key what that one had added. Returns the last byte the key had.
    fn leave<V>(&mut self, rax: &Rax<V>, noup: bool) -> u8 {
        let prevchild = self.key().last().copied().unwrap_or(0);
        if !noup {
            self.node = self.stack.pop().unwrap_or(HEAD);
        }
        let node = &rax.nodes[self.node];
        let todel = if node.iscompr() { node.size() } else { 1 };
        self.key.shorten(todel);
        prevchild
    }

    /// Steps to the next key, in byte order.
    ///
    /// `noup` begins in the current node itself, looking for a child behind the last byte of the
    /// key: so [`raxSeek`] finds what follows a string that is not in the tree.
    fn raxIteratorNextStep<V>(&mut self, rax: &Rax<V>, mut noup: bool) {
        if self.eof {
            return;
        }
        if self.just_seeked {
            self.just_seeked = false;
            return;
        }
        // At the end the iterator stays at its last key.
        let orig_key_len = self.key.len;
        let orig_stack_items = self.stack.len;
        let orig_node = self.node;
        loop {
            let node = &rax.nodes[self.node];
            if !noup && node.size() > 0 {
                // Down, always to the first child: a key is before all keys it begins.
                let chars = if node.iscompr() { node.chars() } else { &node.chars()[..1] };
                self.enter(rax, chars, 0);
                if rax.nodes[self.node].value.is_some() {
                    return;
                }
                continue;
            }
            // Up, until a node has a child behind the one we come from.
            loop {
                let old_noup = noup;
                if !noup && self.node == HEAD {
                    self.eof = true;
                    self.stack.restore(orig_stack_items);
                    self.key.restore(orig_key_len);
                    self.node = orig_node;
                    return;
                }
                let prevchild = self.leave(rax, noup);
                noup = false;
                let node = &rax.nodes[self.node];
                if !node.iscompr() && node.size() > usize::from(!old_noup) {
                    let chars = node.chars();
                    let i = chars.partition_point(|&c| c <= prevchild);
                    if i != chars.len() {
                        self.enter(rax, &chars[i..i + 1], i);
                        if rax.nodes[self.node].value.is_some() {
                            return;
                        }
                        break;
                    }
                }
            }
        }
    }

    /// Goes to the greatest key below the current node.
    fn raxSeekGreatest<V>(&mut self, rax: &Rax<V>) {
        loop {
            let node = &rax.nodes[self.node];
            let chars = node.chars();
            if chars.is_empty() {
                return;
            }
            if node.iscompr() {
                self.enter(rax, chars, 0);
            } else {
                let last = chars.len() - 1;
                self.enter(rax, &chars[last..], last);
            }
        }
    }

    /// Steps to the key before, as `raxIteratorNextStep` does to the next one.
    fn raxIteratorPrevStep<V>(&mut self, rax: &Rax<V>, mut noup: bool) {
        if self.eof {
            return;
        }
        if self.just_seeked {
            self.just_seeked = false;
            return;
        }
        let orig_key_len = self.key.len;
        let orig_stack_items = self.stack.len;
        let orig_node = self.node;
        loop {
            let old_noup = noup;
            if !noup && self.node == HEAD {
                self.eof = true;
                self.stack.restore(orig_stack_items);
                self.key.restore(orig_key_len);
                self.node = orig_node;
                return;
            }
            let prevchild = self.leave(rax, noup);
            noup = false;
            // The greatest key below the child before the one we come from; if there is none,
            // perhaps this node itself.
            let node = &rax.nodes[self.node];
            if !node.iscompr() && node.size() > usize::from(!old_noup) {
                let chars = node.chars();
                let i = chars.partition_point(|&c| c < prevchild);
                if i > 0 {
                    self.enter(rax, &chars[i - 1..i], i - 1);
                    self.raxSeekGreatest(rax);
                }
            }
            if rax.nodes[self.node].value.is_some() {
                return;
            }
        }
    }

    /// Finds the place of the iteration again when the tree has changed: `onto` is the seek that
    /// finds the element the next step has to return if that is still the one a seek has found,
    /// `past` if it is the one behind the current key.
    fn refresh<V>(&mut self, rax: &Rax<V>, onto: &str, past: &str) {
        if self.epoch != rax.epoch && !self.eof {
            let key = std::mem::replace(&mut self.key, InlineVec::new());
            let op = if self.just_seeked { onto } else { past };
            raxSeek(self, rax, op, key.as_slice());
            if self.eof {
                self.key = key;
            }
        }
    }
}

/// Puts the iterator before the element that the next [`raxNext`] or [`raxPrev`] is to return.
///
/// `op` is one of `<`, `<=`, `>`, `>=`, `=` with the key `ele`, or `^` and `$` for the first and
/// the last element. Where there is no such element the iterator is at the end. False: no such
/// operator.
pub fn raxSeek<V>(it: &mut RaxIterator, rax: &Rax<V>, op: &str, ele: &[u8]) -> bool {
    it.stack.restore(0);
    it.key.restore(0);
    it.just_seeked = true;
    it.eof = false;
    it.node = NIL;
    it.epoch = rax.epoch;

    let (mut eq, mut lt, mut gt, mut last) = (false, false, false, false);
    let mut ele = ele;
    match op {
        ">" => gt = true,
        ">=" => (gt, eq) = (true, true),
        "<" => lt = true,
        "<=" => (lt, eq) = (true, true),
        "=" => eq = true,
        // The first key is the first one not below the empty string.
        "^" => (gt, eq, ele) = (true, true, b""),
        "$" => last = true,
        _ => {
            it.eof = true;
            return false;
        }
    }
    if rax.numele == 0 {
        it.eof = true;
        return true;
    }
    if last {
        it.node = HEAD;
        it.raxSeekGreatest(rax);
        return true;
    }

    // Walk down, and spell the key of the node where the walk ends: not all of it need be matched.
    let (i, h, splitpos) = rax.raxLowWalk(ele, |n| it.stack.push(n));
    it.node = h;
    it.key.extend(&ele[..i - splitpos]);
    let node = &rax.nodes[h];
    let found = i == ele.len() && splitpos == 0;
    if eq && found && node.value.is_some() {
        return true;
    }
    if !lt && !gt {
        it.eof = true;
        return true;
    }

    it.just_seeked = false;
    if i != ele.len() && !node.iscompr() {
        // A node has no child for the next byte: look for the child beside it.
        it.key.push(ele[i]);
        if lt {
            it.raxIteratorPrevStep(rax, true);
        } else {
            it.raxIteratorNextStep(rax, true);
        }
    } else if i != ele.len() {
        // The string leaves a compressed node: all keys below it are either above or below the
        // string.
        let above = node.chars()[splitpos] > ele[i];
        if gt && above {
            it.raxIteratorNextStep(rax, false);
        } else if lt && !above {
            it.raxSeekGreatest(rax);
        } else {
            it.key.extend(node.chars());
            if lt {
                it.raxIteratorPrevStep(rax, true);
            } else {
                it.raxIteratorNextStep(rax, true);
            }
        }
    } else if lt && splitpos > 0 && node.value.is_some() {
        // The string ends inside a compressed node, which is a key, and so the one before the
        // string.
    } else if lt {
        it.raxIteratorPrevStep(rax, false);
    } else {
        it.raxIteratorNextStep(rax, false);
    }
    it.just_seeked = true;
    true
}

/// Goes to the next element, the one a seek has found if there was one just now. False at the end.
pub fn raxNext<V>(it: &mut RaxIterator, rax: &Rax<V>) -> bool {
    it.refresh(rax, ">=", ">");
    it.raxIteratorNextStep(rax, false);
    !it.eof
}

/// Goes to the element before, the one a seek has found if there was one just now. False at the
/// end.
pub fn raxPrev<V>(it: &mut RaxIterator, rax: &Rax<V>) -> bool {
    it.refresh(rax, "<=", "<");
    it.raxIteratorPrevStep(rax, false);
    !it.eof
}

/// Walks at random from the current element through the tree, until it has met `steps` elements,
/// and stays at the last one; 0 stands for a random number up to twice the logarithm of the size.
/// `random` gives random numbers.
///
/// False: the tree is empty, or the iterator has no place. Sparse trees are not sampled evenly.
pub fn raxRandomWalk<V>(
    it: &mut RaxIterator,
    rax: &Rax<V>,
    mut steps: usize,
    mut random: impl FnMut() -> usize,
) -> bool {
    it.refresh(rax, ">=", ">=");
    if rax.numele == 0 || it.node == NIL {
        it.eof = true;
        return false;
    }
    if steps == 0 {
        let fle = 2 * (1 + (rax.numele as f64).ln().floor() as usize);
        steps = 1 + random() % fle;
    }
    while steps > 0 || rax.nodes[it.node].value.is_none() {
        let node = &rax.nodes[it.node];
        let numchildren = node.numchildren();
        let r = random() % (numchildren + usize::from(it.node != HEAD)).max(1);
        if r == numchildren {
            it.leave(rax, false);
        } else if node.iscompr() {
            it.enter(rax, node.chars(), 0);
        } else {
            it.enter(rax, &node.chars()[r..r + 1], r);
        }
        if rax.nodes[it.node].value.is_some() {
            steps = steps.saturating_sub(1);
        }
    }
    true
}

/// Tells whether the current key compares to `key` as `op` says: `<`, `<=`, `==`, `>=`, `>`. False
/// for other operators.
pub fn raxCompare(it: &RaxIterator, op: &str, key: &[u8]) -> bool {
    match op {
        "=" | "==" => it.key() == key,
        ">" => it.key() > key,
        ">=" => it.key() >= key,
        "<" => it.key() < key,
        "<=" => it.key() <= key,
        _ => false,
    }
}

/// Tells whether the iterator is at the end: a seek has found nothing, or a step has gone past the
/// last element.
pub fn raxEOF(it: &RaxIterator) -> bool {
    it.eof
}

/// Returns the number of keys.
pub fn raxSize<V>(rax: &Rax<V>) -> u64 {
    rax.numele
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;
    use std::collections::BTreeMap;
    use std::ops::Bound;

    impl Rng {
        /// Returns a key of one of four kinds: few letters, numbers, stream ids, long ones with a
        /// common beginning.
        fn rax_key(&mut self, kind: u64) -> Vec<u8> {
            match kind {
                0 => (0..self.below(8)).map(|_| b'a' + self.below(3) as u8).collect(),
                1 => self.below(1000).to_string().into_bytes(),
                2 => {
                    let mut key = (1_600_000_000_000 + self.below(700u64)).to_be_bytes().to_vec();
                    key.extend(self.below(3u64).to_be_bytes());
                    key
                }
                _ => {
                    let mut key = vec![b'x'; self.below(300) as usize];
                    if self.below(2) == 0 {
                        key.push(self.below(256) as u8);
                    }
                    key
                }
            }
        }
    }

    /// Every node is reached once, no chain is left uncompressed, and what the counters say is
    /// true.
    fn check<V>(rax: &Rax<V>) {
        let (mut nodes, mut keys, mut todo) = (0, 0, vec![HEAD]);
        while let Some(n) = todo.pop() {
            nodes += 1;
            let node = &rax.nodes[n];
            keys += u64::from(node.value.is_some());
            assert!(node.size() > 0 || node.value.is_some() || n == HEAD);
            assert!(!node.iscompr() || node.size() > 1);
            assert!(node.iscompr() || node.chars().is_sorted_by(|a, b| a < b));
            todo.extend((0..node.numchildren()).map(|i| node.child(i)));
        }
        assert_eq!((nodes, keys), (rax.numnodes(), rax.numele));
    }

    fn walk<V: Copy>(rax: &Rax<V>) -> Vec<(Vec<u8>, V)> {
        let mut all = vec![];
        let mut it = raxStart();
        raxSeek(&mut it, rax, "^", b"");
        while raxNext(&mut it, rax) {
            all.push((it.key().to_vec(), *it.data(rax).unwrap()));
        }
        all
    }

    #[test]
    fn layout() {
        assert_eq!(size_of::<Node<Box<u64>>>(), 32);
    }

    /// Every function against a sorted map.
    #[test]
    fn against_a_sorted_map() {
        let mut r = Rng::new();
        for round in 0..40 {
            let kind = round % 4;
            let mut rax = raxNew();
            let mut model = BTreeMap::new();
            let grow = 4 + r.below(5);
            for step in 0..1500 {
                let key = r.rax_key(kind);
                match r.below(10) {
                    n if n >= grow => assert_eq!(raxRemove(&mut rax, &key), model.remove(&key)),
                    0 => {
                        let new = !model.contains_key(&key);
                        let result = raxTryInsert(&mut rax, &key, step);
                        assert_eq!(result, if new { Ok(()) } else { Err(step) });
                        model.entry(key.clone()).or_insert(step);
                    }
                    _ => {
                        assert_eq!(raxInsert(&mut rax, &key, step), model.insert(key.clone(), step))
                    }
                }
                let probe = r.rax_key(kind);
                assert_eq!(raxFind(&rax, &probe), model.get(&probe));
                if let Some(v) = rax_find_mut(&mut rax, &probe) {
                    *v += 1;
                    *model.get_mut(&probe).unwrap() += 1;
                }
                assert_eq!(raxSize(&rax), model.len() as u64);

                let mut it = raxStart();
                let op = ["<", "<=", ">", ">=", "=", "^", "$"][r.below(7) as usize];
                assert!(raxSeek(&mut it, &rax, op, &probe));
                let (from, up) = match op {
                    ">" => (
                        model.range((Bound::Excluded(probe.clone()), Bound::Unbounded)).next(),
                        true,
                    ),
                    ">=" => (model.range(probe.clone()..).next(), true),
                    "<" => (model.range(..probe.clone()).next_back(), false),
                    "<=" => (model.range(..=probe.clone()).next_back(), false),
                    "=" => (model.get_key_value(&probe), true),
                    "^" => (model.iter().next(), true),
                    _ => (model.iter().next_back(), false),
                };
                let mut from = from.map(|(k, _)| k.clone());
                assert_eq!(raxEOF(&it), from.is_none(), "{op} {probe:?}");
                // Some steps, turning round in between, and removing what was found now and then.
                let mut up = up;
                for turn in 0..6 {
                    let more = if up { raxNext(&mut it, &rax) } else { raxPrev(&mut it, &rax) };
                    assert_eq!(more.then(|| it.key().to_vec()), from, "{op} {probe:?} turn {turn}");
                    let Some(at) = from else { break };
                    assert_eq!(it.data(&rax), model.get(&at));
                    for op in ["<", "<=", "==", ">=", ">"] {
                        let cmp = match op {
                            "<" => at < probe,
                            "<=" => at <= probe,
                            "==" => at == probe,
                            ">=" => at >= probe,
                            _ => at > probe,
                        };
                        assert_eq!(raxCompare(&it, op, &probe), cmp);
                    }
                    match r.below(20) {
                        0 => {
                            assert_eq!(raxRemove(&mut rax, &at), model.remove(&at));
                            assert_eq!(it.data(&rax), None);
                        }
                        1 => {
                            let other = r.rax_key(kind);
                            assert_eq!(raxInsert(&mut rax, &other, 7), model.insert(other, 7));
                        }
                        2 => up = !up,
                        _ => (),
                    }
                    from = if up {
                        model
                            .range((Bound::Excluded(at), Bound::Unbounded))
                            .next()
                            .map(|(k, _)| k.clone())
                    } else {
                        model.range(..at).next_back().map(|(k, _)| k.clone())
                    };
                }
                if step % 50 == 0 {
                    check(&rax);
                    let all: Vec<_> = model.iter().map(|(k, v)| (k.clone(), *v)).collect();
                    assert_eq!(walk(&rax), all);
                    assert!(rax.values().eq(model.values()));
                }
            }
            let keys: Vec<_> = model.keys().cloned().collect();
            for key in keys {
                assert_eq!(raxRemove(&mut rax, &key), model.remove(&key));
                check(&rax);
            }
            assert_eq!(rax.numnodes(), 1);
        }
    }

    /// A walk meets keys of the tree only, and all of a small one sooner or later.
    #[test]
    fn random_walk() {
        let mut r = Rng::new();
        let mut rax = raxNew();
        let mut it = raxStart();
        assert!(!raxRandomWalk(&mut it, &rax, 0, || 1));
        for i in 0..30u64 {
            raxInsert(&mut rax, (i * 37).to_string().as_bytes(), i);
        }
        let mut seen = [false; 30];
        raxSeek(&mut it, &rax, "^", b"");
        for steps in 0..6000 {
            assert!(raxRandomWalk(&mut it, &rax, steps % 4, || r.below(1 << 30) as usize));
            let i = *it.data(&rax).unwrap();
            assert_eq!(it.key(), (i * 37).to_string().as_bytes());
            seen[i as usize] = true;
        }
        assert_eq!(seen, [true; 30]);
    }

    /// After each of 120000 insertions and removals the tree has as many nodes as that of `rax.c`:
    /// per kind of key a running hash of nodes and keys, and at the end keys, nodes, and the most
    /// nodes there were.
    #[test]
    fn nodes_are_those_of_the_c() {
        let expected = [
            (0xe8f7eb6ea9a3841eu64, 1369, 1875, 1910),
            (0x34c22abfbdc70b7f, 407, 465, 671),
            (0xa75eee5626f5287a, 965, 1875, 2210),
            (0x270d86d6d1e3b426, 6999, 7201, 7201),
        ];
        for (kind, expected) in expected.into_iter().enumerate() {
            let mut r = Rng::of_state(12345 + kind as u64);
            let (mut hash, mut max) = (0xcbf2_9ce4_8422_2325u64, 0);
            let mut rax = raxNew();
            for step in 0..30_000 {
                let grow = if step / 1000 % 2 == 1 { 3 } else { 7 };
                let key = r.rax_key(kind as u64);
                if r.below(10) < grow {
                    raxInsert(&mut rax, &key, ());
                } else {
                    raxRemove(&mut rax, &key);
                }
                for n in [rax.numnodes(), raxSize(&rax)] {
                    hash = (hash ^ n).wrapping_mul(0x100_0000_01b3);
                }
                max = max.max(rax.numnodes());
            }
            assert_eq!((hash, raxSize(&rax), rax.numnodes(), max), expected, "kind {kind}");
        }
        // The keys of a stream.
        let mut rax = raxNew();
        for t in 0..100_000u64 {
            let mut key = (1_600_000_000_000 + t * 13).to_be_bytes().to_vec();
            key.extend([0; 8]);
            raxInsert(&mut rax, &key, ());
        }
        assert_eq!(rax.numnodes(), 205_102);
    }

    #[test]
    fn bad_operator() {
        let rax = raxNew::<()>();
        assert!(!raxSeek(&mut raxStart(), &rax, "~", b""));
        assert!(!raxCompare(&raxStart(), "~", b""));
    }
}
