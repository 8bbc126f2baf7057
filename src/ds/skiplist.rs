//! `t_zset.c`, its first half: the skip list of a sorted set, and the range specifications that
//! walk it.
//!
//! Read first: [`Zskiplist`] (how a node is laid out), then `Zskiplist::descend`, the one search
//! all functions share, and [`Scout`], which goes ahead of it in the commands of a pipeline and
//! leaves a trail for it (`Trails`).
//!
//! Not here: `zslParseRange`, which needs `strtod` and lives with the commands.
//!
//! Differs: nodes live in an arena and have an index where the C has a pointer; the hash table of a
//! sorted set stores that index. An index stays good until its node is deleted, also over
//! [`zslUpdateScore`]; only [`zsl_shrink`] renames nodes, and tells. There is no header node:
//! `head` and one tower stand for it.
#![forbid(unsafe_code)]

use super::slab::{ChunkedVec, NIL};
use crate::sys::defrag::Defrag;
use crate::sys::mem;
use crate::util::short_eq;
use std::array::from_fn;
use std::cell::{Cell, OnceCell};
use std::cmp::Ordering;
use std::hint::select_unpredictable;

/// Levels of the tallest tower.
pub const ZSKIPLIST_MAXLEVEL: usize = 32;
/// The chance that a node of some level reaches the next one.
pub const ZSKIPLIST_P: f64 = 0.25;

/// The tower of the header: its slots are the first ones.
const HEADER: u32 = ZSKIPLIST_MAXLEVEL as u32;

/// The bytes of an element. Up to 22 of them are kept in the node, so that most members cost no
/// allocation, and comparing two costs no further cache line.
#[derive(Debug)]
enum Member {
    Inline { len: u8, bytes: [u8; INLINE] },
    Heap(Box<[u8]>),
}

const INLINE: usize = 22;

impl Member {
    fn new(ele: &[u8]) -> Self {
        if ele.len() <= INLINE {
            let mut bytes = [0; INLINE];
            bytes[..ele.len()].copy_from_slice(ele);
            Member::Inline { len: ele.len() as u8, bytes }
        } else {
            Member::Heap(ele.into())
        }
    }

    #[inline]
    fn as_slice(&self) -> &[u8] {
        match self {
            Member::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Member::Heap(bytes) => bytes,
        }
    }
}

/// The first 22 bytes of a member, zeros behind a shorter one, and its length, as three words: keys
/// are in the order of their members.
///
/// The length is below 16 zeros of the bytes' own. Where two keys have the same bytes, one member is
/// the start of the other, or the zeros behind it were taken for bytes of it; the shorter one is
/// less, and so is its key. All members above 22 bytes have the length [`LONG`]: of these with equal
/// keys, the keys don't tell which one is less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key([u64; 3]);

/// The length in the key of a member above 22 bytes.
const LONG: u64 = INLINE as u64 + 1;

impl Key {
    /// Returns the key of a member of this length, or [`LONG`], that has these first bytes.
    #[inline(always)]
    fn new(bytes: &[u8; INLINE], len: u64) -> Key {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_be_bytes(word)
        };
        Key([word(0), word(8), word(INLINE - 8) << 16 | len])
    }

    /// Returns the key of a member.
    #[inline]
    fn of(ele: &[u8]) -> Key {
        let word = |at: usize| {
            let rest = ele.get(at..).unwrap_or_default();
            if let Some(word) = rest.first_chunk() {
                return u64::from_be_bytes(*word);
            }
            // What is less than a word is the end of one, or all there is.
            match ele.last_chunk() {
                Some(word) => u64::from_be_bytes(*word).unbounded_shl(8 * (8 - rest.len()) as u32),
                None => rest.iter().zip(0..).fold(0, |w, (b, i)| w | u64::from(*b) << (56 - 8 * i)),
            }
        };
        let len = (ele.len() as u64).min(LONG);
        Key([word(0), word(8), word(16) & !0xffff | len])
    }

    /// Tells whether this is the key of a member above 22 bytes.
    #[inline(always)]
    fn is_long(&self) -> bool {
        self.0[2] & 0xffff == LONG
    }

    /// Tells whether this key is less than another one; `None` if they are equal.
    #[inline(always)]
    fn is_less(&self, other: &Key) -> Option<bool> {
        let ([a, b, c], [d, e, f]) = (self.0, other.0);
        if a != d {
            return Some(a < d);
        }
        if b != e {
            return Some(b < e);
        }
        if c != f { Some(c < f) } else { None }
    }
}

/// A node: 48 bytes. Level 0 is here, whose span needs no storing; the levels above are its tower.
#[derive(Debug)]
struct Node {
    ele: Member,
    score: f64,
    backward: u32,
    forward: u32,
    /// The tower, [`NIL`] for the three nodes in four that have level 0 only.
    tower: u32,
    /// False in a free slot, where `backward` and `forward` link the free list.
    live: bool,
}

/// One slot of the tower pool: 16 bytes.
///
/// A tower of level n takes n + 1 slots. The last one is its head, and its index is the tower's
/// name: `tower` is the node and `span` the level. The head's `bits` and the slot below it have the
/// [`Key`] of the node's member. Below them are the links, from level 1 on ([`link_at`]): `tower` is
/// the tower it leads to, `span` the nodes it passes, and `bits` a copy of the score it leads to. So
/// a search compares scores without touching a single node until it comes down to level 0; and where
/// it meets its own score, the key of the member is next to the link by which it would go on.
///
/// In a free tower the head names no node ([`NIL`]), and the slot below it holds the neighbours in
/// the list of free towers of that level. A tower is in one chunk of the pool; one or two slots that
/// are left at the end of a chunk are each like the head of a free tower of level 0, and in no list.
#[derive(Debug, Clone, Copy)]
struct Slot {
    tower: u32,
    span: u32,
    bits: u64,
}

impl Slot {
    #[inline(always)]
    fn link(tower: u32, span: u32, score: f64) -> Slot {
        Slot { tower, span, bits: score.to_bits() }
    }

    /// Returns the score of the node that a link leads to.
    #[inline(always)]
    fn score(&self) -> f64 {
        f64::from_bits(self.bits)
    }
}

/// Returns the place of a tower's link of a level, which is 1 or more.
#[inline(always)]
const fn link_at(tower: u32, level: usize) -> u32 {
    tower - 1 - level as u32
}

/// A tower, to look at: the chunk of the pool in which all of it is, and the place of its head.
#[derive(Clone, Copy)]
struct Tower<'a> {
    slots: &'a [Slot],
    at: usize,
}

impl<'a> Tower<'a> {
    #[inline(always)]
    fn head(self) -> &'a Slot {
        &self.slots[self.at]
    }

    /// Returns its link of a level, which is 1 or more.
    #[inline(always)]
    fn link(self, level: usize) -> &'a Slot {
        &self.slots[self.at.wrapping_sub(level + 1)]
    }

    /// Returns the key of its node's member.
    #[inline(always)]
    fn key(self) -> Key {
        let (head, below) = (self.head(), &self.slots[self.at.wrapping_sub(1)]);
        Key([head.bits, u64::from(below.span) << 32 | u64::from(below.tower), below.bits])
    }
}

/// A link to the end of the list.
const NO_LINK: Slot = Slot { tower: NIL, span: 0, bits: f64::INFINITY.to_bits() };

/// A skip list of members ordered by score, and by bytes where scores are equal.
pub struct Zskiplist {
    nodes: ChunkedVec<Node>,
    towers: ChunkedVec<Slot>,
    head: u32,
    tail: u32,
    length: u32,
    level: usize,
    /// The list of free nodes.
    free: u32,
    /// The lists of free towers, by level, the levels whose list is not empty, as bits, and the
    /// slots they hold.
    free_towers: [u32; ZSKIPLIST_MAXLEVEL + 1],
    free_levels: u64,
    free_slots: u32,
    random: u64,
    /// What searches that went ahead of their turn found; nothing in a list that never had any.
    trails: OnceCell<Box<Trails>>,
}

/// Where a search came down, level by level: the C's `update`. Of the C's `rank` there is only what
/// most callers need; [`Zskiplist::link`] counts the rest.
struct Path {
    /// From level 1 on: the last tower before the place.
    tower: [u32; ZSKIPLIST_MAXLEVEL],
    /// The last node before the place, and the first one after it.
    node: u32,
    next: u32,
    /// The nodes before the place, if the search began at the head of the list.
    rank: u32,
    /// How many of them are behind the tower of level 1.
    past: u32,
}

/// An element to be compared with many: the first bytes of its member are words already.
#[derive(Clone, Copy)]
struct Sought<'a> {
    score: f64,
    ele: &'a [u8],
    key: Key,
}

impl<'a> Sought<'a> {
    #[inline]
    fn new(score: f64, ele: &'a [u8]) -> Self {
        Sought { score, ele, key: Key::of(ele) }
    }

    /// Tells whether `member < self.ele`.
    #[inline(always)]
    fn is_behind(&self, member: &Member) -> bool {
        match member {
            Member::Inline { len, bytes } => {
                Key::new(bytes, (*len).into()).is_less(&self.key) == Some(true)
            }
            Member::Heap(bytes) => **bytes < *self.ele,
        }
    }

    /// Tells the same of the member of a place; of a tower's mostly by the tower alone.
    ///
    /// Not in line, so that the loop of a search has the registers for itself.
    #[inline(never)]
    fn is_behind_place(&self, zsl: &Zskiplist, at: Place) -> bool {
        let tower = match at {
            Place::Tower(tower) => tower,
            Place::Node(idx) => return self.is_behind(&zsl.nodes[idx].ele),
        };
        let key = zsl.tower(tower).key();
        match key.is_less(&self.key) {
            Some(less) => less,
            None => key.is_long() && self.is_behind_long(zsl, zsl.towers[tower].tower),
        }
    }

    #[cold]
    #[inline(never)]
    fn is_behind_long(&self, zsl: &Zskiplist, idx: u32) -> bool {
        zsl.member(idx) < self.ele
    }
}

/// What a search goes past: told the rank of a node, counted from 1, its score, and where it is.
///
/// A trait beside closures, because a method can be asked to be in line.
trait Before {
    fn before(&self, zsl: &Zskiplist, rank: u32, score: f64, at: Place) -> bool;
}

impl<F: Fn(u32, f64, Place) -> bool> Before for F {
    #[inline(always)]
    fn before(&self, _: &Zskiplist, rank: u32, score: f64, at: Place) -> bool {
        self(rank, score, at)
    }
}

impl Before for Sought<'_> {
    #[inline(always)]
    fn before(&self, zsl: &Zskiplist, _: u32, score: f64, at: Place) -> bool {
        score < self.score || (score == self.score && self.is_behind_place(zsl, at))
    }
}

/// The node that a search compares with, by its tower or by its index.
#[derive(Clone, Copy)]
enum Place {
    Tower(u32),
    Node(u32),
}

impl Zskiplist {
    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.length as usize
    }

    /// Returns the levels in use, as `zsl->level`.
    pub fn level(&self) -> usize {
        self.level
    }

    /// Tells whether there is a node `idx`, and this is its element.
    #[inline]
    pub fn has_member(&self, idx: u32, ele: &[u8]) -> bool {
        self.nodes.get(idx).is_some_and(|n| n.live && short_eq(n.ele.as_slice(), ele))
    }

    /// Returns the bytes of the element of node `idx`.
    #[inline]
    pub fn member(&self, idx: u32) -> &[u8] {
        self.nodes[idx].ele.as_slice()
    }

    /// Asks for the memory of node `idx`, for a use to come.
    #[inline]
    pub fn prefetch(&self, idx: u32) {
        let node = &raw const self.nodes[idx];
        mem::prefetch(node.addr());
        mem::prefetch(node.addr() + size_of::<Node>() - 1);
    }

    /// Asks for the part of node `idx` that is behind the member.
    #[inline]
    fn prefetch_links(&self, idx: u32) {
        let node = &self.nodes[idx];
        mem::prefetch((&raw const node.score).addr());
        mem::prefetch((&raw const node.live).addr());
    }

    /// Returns the score of node `idx`.
    #[inline]
    pub fn score(&self, idx: u32) -> f64 {
        self.nodes[idx].score
    }

    /// Returns the node of the smallest score.
    #[inline]
    pub fn first(&self) -> Option<u32> {
        some(self.head)
    }

    /// Returns the node of the greatest score.
    #[inline]
    pub fn last(&self) -> Option<u32> {
        some(self.tail)
    }

    /// Returns the node after `idx`.
    #[inline]
    pub fn next(&self, idx: u32) -> Option<u32> {
        some(self.nodes[idx].forward)
    }

    /// Returns the node before `idx`.
    #[inline]
    pub fn prev(&self, idx: u32) -> Option<u32> {
        some(self.nodes[idx].backward)
    }

    /// Returns the bytes of the whole list but for members above 22 bytes; see
    /// [`Zskiplist::member_mem_usage`].
    pub fn mem_usage(&self) -> usize {
        let trails = self.trails.get().map_or(0, |trails| trails.mem_usage());
        size_of::<Self>() + self.nodes.mem_usage() + self.towers.mem_usage() + trails
    }

    /// Returns the bytes allocated outside the arena for the element of node `idx`.
    pub fn member_mem_usage(&self, idx: u32) -> usize {
        match &self.nodes[idx].ele {
            Member::Inline { .. } => 0,
            Member::Heap(bytes) => bytes.len(),
        }
    }

    /// Moves the arenas of nodes and towers where that is worth it.
    pub fn defrag_arenas(&mut self, moves: &mut Defrag) {
        self.nodes.defrag(moves);
        self.towers.defrag(moves);
    }

    #[inline]
    fn member_at(&self, place: Place) -> &[u8] {
        self.member(match place {
            Place::Tower(tower) => self.towers[tower].tower,
            Place::Node(idx) => idx,
        })
    }

    /// Returns a tower, to look at.
    #[inline(always)]
    fn tower(&self, tower: u32) -> Tower<'_> {
        let (slots, at) = self.towers.chunk_of(tower);
        Tower { slots, at }
    }

    /// Makes slots the top of a tower: its head, and the key of its node's member.
    fn set_top(&mut self, tower: u32, idx: u32, level: u32, Key([a, b, c]): Key) {
        self.towers[tower] = Slot { tower: idx, span: level, bits: a };
        self.towers[tower - 1] = Slot { tower: b as u32, span: (b >> 32) as u32, bits: c };
    }

    /// Goes down the list past all nodes that are before what is sought.
    #[inline]
    fn descend(&self, sought: impl Before) -> Path {
        let mut path = self.descend_towers(&sought, None);
        self.go_along_nodes(&sought, &mut path);
        path
    }

    /// Goes down to level 1, past all towers that are before what is sought; along a trail as far as
    /// that is right, if there is one.
    #[inline(always)]
    fn descend_towers(&self, sought: &impl Before, trail: Option<Found<'_>>) -> Path {
        let mut path =
            Path { tower: [HEADER; ZSKIPLIST_MAXLEVEL], node: NIL, next: NIL, rank: 0, past: 0 };
        // A trail that does not tell of the uppermost levels is of no use: it has no beginning.
        let (mut x, mut stop, level) = match trail.filter(|found| self.level <= found.levels) {
            Some(found) => self.follow(found, sought, &mut path),
            None => (HEADER, NIL, self.level),
        };
        let mut tower = self.tower(x);
        // `stop` is the tower at which the search left the level above, or NIL at that level's end.
        // A link that leads there again is known not to be before; and the end of a level comes no
        // sooner than the tower does.
        for i in (1..level).rev() {
            loop {
                let link = tower.link(i);
                let (rank, at) = (path.rank + link.span, Place::Tower(link.tower));
                if link.tower == stop || !sought.before(self, rank, link.score(), at) {
                    stop = link.tower;
                    break;
                }
                path.rank = rank;
                (x, tower) = (link.tower, self.tower(link.tower));
            }
            path.tower[i] = x;
        }
        path
    }

    /// Goes down a trail as far as it is right. Returns the tower from which to go on, the one at
    /// which the search left the level above, and the level below which there is more to search.
    #[inline(always)]
    fn follow(&self, trail: Found<'_>, sought: &impl Before, path: &mut Path) -> (u32, u32, usize) {
        // Where no link has changed, the trail is what the search would find.
        let mut level = self.level;
        while level > trail.same_from {
            level -= 1;
            path.tower[level] = trail.tower(level);
        }
        let (mut x, mut stop) = (HEADER, NIL);
        while level > 1 {
            x = trail.tower(level - 1);
            let link = self.tower(x).link(level - 1);
            let at = Place::Tower(link.tower);
            if link.tower != NIL && sought.before(self, 0, link.score(), at) {
                // There is a tower that the trail does not know, or can't tell from those behind
                // it. Below, the others of the trail may be far behind this one.
                break;
            }
            level -= 1;
            path.tower[level] = x;
            stop = link.tower;
        }
        (x, stop, level)
    }

    /// Goes on from the tower of level 1 to which a path leads, past all nodes that are before what
    /// is sought.
    #[inline(always)]
    fn go_along_nodes(&self, sought: &impl Before, path: &mut Path) {
        path.next = match path.tower[1] {
            HEADER => self.head,
            tower => {
                path.node = self.towers[tower].tower;
                self.nodes[path.node].forward
            }
        };
        while path.next != NIL {
            let n = &self.nodes[path.next];
            if !sought.before(self, path.rank + 1, n.score, Place::Node(path.next)) {
                break;
            }
            path.rank += 1;
            path.past += 1;
            path.node = path.next;
            path.next = n.forward;
        }
    }

    /// Returns the place of an element, present or not. Its rank is not known.
    fn locate(&self, score: f64, ele: &[u8]) -> Path {
        let sought = Sought::new(score, ele);
        let mut path = self.descend_towers(&sought, self.take_trail(&sought));
        self.go_along_nodes(&sought, &mut path);
        path
    }

    /// Returns the path to a node that is in the list. Its rank is not known.
    fn path_to(&self, idx: u32) -> Path {
        let n = &self.nodes[idx];
        let sought = Sought::new(n.score, n.ele.as_slice());
        let path = self.descend_towers(&sought, self.take_trail(&sought));
        Path { node: n.backward, next: idx, ..path }
    }

    #[inline]
    fn level_of_tower(&self, tower: u32) -> usize {
        match tower {
            NIL => 1,
            t => self.towers[t].span as usize,
        }
    }

    /// Links node `idx`, which has its score and tower, into the place `path` describes.
    fn link(&mut self, idx: u32, path: &mut Path) {
        let Node { score, tower, .. } = self.nodes[idx];
        let level = self.level_of_tower(tower);
        if level > self.level {
            for i in self.level..level {
                path.tower[i] = HEADER;
                self.towers[link_at(HEADER, i)].span = self.length;
            }
            self.level = level;
        }
        // Levels that the new node reaches: its links take over what is behind, those before it now
        // end here. How far before, the level below tells.
        let mut passed = path.past;
        for i in 1..level {
            let mut x = path.tower[i];
            while i > 1 && x != path.tower[i - 1] {
                let below = self.towers[link_at(x, i - 1)];
                passed += below.span;
                x = below.tower;
            }
            let before = &mut self.towers[link_at(path.tower[i], i)];
            let mut after = *before;
            *before = Slot::link(tower, passed + 1, score);
            after.span -= passed;
            self.towers[link_at(tower, i)] = after;
        }
        // Levels that pass over it.
        for i in level..self.level {
            self.towers[link_at(path.tower[i], i)].span += 1;
        }
        self.links_changed(level);
        let node = &mut self.nodes[idx];
        (node.forward, node.backward) = (path.next, path.node);
        match path.node {
            NIL => self.head = idx,
            before => self.nodes[before].forward = idx,
        }
        match path.next {
            NIL => self.tail = idx,
            after => self.nodes[after].backward = idx,
        }
        self.length += 1;
    }

    /// Makes two nodes neighbours on level 0, where NIL before stands for the header and NIL after
    /// for the end.
    fn join(&mut self, before: u32, after: u32) {
        match before {
            NIL => self.head = after,
            _ => self.nodes[before].forward = after,
        }
        match after {
            NIL => self.tail = before,
            _ => self.nodes[after].backward = before,
        }
    }

    /// Forgets levels that no tower reaches any more.
    fn lower_level(&mut self) {
        while self.level > 1 && self.towers[link_at(HEADER, self.level - 1)].tower == NIL {
            self.level -= 1;
        }
    }

    // ----- Nodes and towers: allocation -----

    fn zslCreateNode(&mut self, level: usize, score: f64, ele: &[u8]) -> u32 {
        let node = Node {
            ele: Member::new(ele),
            score,
            backward: NIL,
            forward: NIL,
            tower: NIL,
            live: true,
        };
        let idx = match self.free {
            NIL => self.nodes.push(node),
            idx => {
                self.unlink_free_node(idx);
                self.nodes[idx] = node;
                idx
            }
        };
        if level > 1 {
            let level = level as u32;
            let t = self.reuse_tower(level).unwrap_or_else(|| self.new_tower(level));
            self.set_top(t, idx, level, Key::of(ele));
            self.nodes[idx].tower = t;
        }
        idx
    }

    /// Appends a tower of `level` to the pool.
    fn new_tower(&mut self, level: u32) -> u32 {
        let room = self.towers.room_in_chunk();
        if room <= level {
            // It does not fit. What is left of this chunk is free, as one tower if it can be one.
            let last = self.push_slots(room);
            if room > 2 {
                self.towers[last].span = room - 1;
                self.free_tower(last);
            } else {
                self.free_slots += room;
            }
        }
        self.push_slots(level + 1)
    }

    /// Appends slots to the pool, and returns the last one.
    fn push_slots(&mut self, slots: u32) -> u32 {
        for _ in 1..slots {
            self.towers.push(NO_LINK);
        }
        self.towers.push(NO_LINK)
    }

    fn unlink_free_node(&mut self, idx: u32) {
        let Node { backward, forward, .. } = self.nodes[idx];
        match backward {
            NIL => self.free = forward,
            _ => self.nodes[backward].forward = forward,
        }
        if forward != NIL {
            self.nodes[forward].backward = backward;
        }
    }

    /// Puts the slots of tower `t`, whose level its head holds, on the free lists.
    fn free_tower(&mut self, t: u32) {
        let level = self.towers[t].span;
        let next = self.free_towers[level as usize];
        self.towers[t].tower = NIL;
        self.towers[t - 1] = Slot { tower: NIL, span: next, bits: 0 };
        if next != NIL {
            self.towers[next - 1].tower = t;
        }
        self.free_towers[level as usize] = t;
        self.free_levels |= 1 << level;
        self.free_slots += level + 1;
    }

    fn unlink_free_tower(&mut self, t: u32) {
        let level = self.towers[t].span;
        let Slot { tower: before, span: after, .. } = self.towers[t - 1];
        match before {
            NIL => {
                self.free_towers[level as usize] = after;
                self.free_levels ^= u64::from(after == NIL) << level;
            }
            _ => self.towers[before - 1].span = after,
        }
        if after != NIL {
            self.towers[after - 1].tower = before;
        }
        self.free_slots -= level + 1;
    }

    /// Finds a free tower of `level`, or cuts one out of a larger one.
    fn reuse_tower(&mut self, level: u32) -> Option<u32> {
        // A rest of one or two slots could hold no tower, so these sizes are passed over.
        let fit = self.free_levels & (1 << level | u64::MAX << (level + 3));
        if fit == 0 {
            return None;
        }
        let from = fit.trailing_zeros();
        let t = self.free_towers[from as usize];
        self.unlink_free_tower(t);
        if from == level {
            return Some(t);
        }
        let rest = from - level - 1;
        self.towers[t].span = rest;
        self.free_tower(t);
        Some(t - rest - 1)
    }
}

#[inline]
fn some(idx: u32) -> Option<u32> {
    (idx != NIL).then_some(idx)
}

/// Creates an empty skip list. `seed` starts the randomness of its levels.
pub fn zslCreate(seed: u64) -> Zskiplist {
    let mut towers = ChunkedVec::new();
    for _ in 0..=HEADER {
        towers.push(NO_LINK);
    }
    Zskiplist {
        nodes: ChunkedVec::new(),
        towers,
        head: NIL,
        tail: NIL,
        length: 0,
        level: 1,
        free: NIL,
        free_towers: [NIL; ZSKIPLIST_MAXLEVEL + 1],
        free_levels: 0,
        free_slots: 0,
        // The generator must not start at zero; an odd multiple of an odd number never is.
        random: (seed << 1 | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        trails: OnceCell::new(),
    }
}

impl Zskiplist {
    fn zslFreeNode(&mut self, idx: u32) {
        let tower = self.nodes[idx].tower;
        if tower != NIL {
            self.free_tower(tower);
        }
        let next = self.free;
        let node = &mut self.nodes[idx];
        node.ele = Member::new(b"");
        node.live = false;
        node.tower = NIL;
        node.backward = NIL;
        node.forward = next;
        if next != NIL {
            self.nodes[next].backward = idx;
        }
        self.free = idx;
    }
}

/// Draws a level between 1 and [`ZSKIPLIST_MAXLEVEL`]: each next one a quarter as likely as the one
/// before.
pub fn zslRandomLevel(zsl: &mut Zskiplist) -> usize {
    zsl.random ^= zsl.random >> 12;
    zsl.random ^= zsl.random << 25;
    zsl.random ^= zsl.random >> 27;
    let bits = zsl.random.wrapping_mul(0x2545_f491_4f6c_dd1d);
    // C: draws until a number is above P. Two zero bits in a row are as likely, and one draw has 32
    // such pairs.
    (1 + bits.leading_zeros() as usize / 2).min(ZSKIPLIST_MAXLEVEL)
}

/// Inserts an element that is not there yet, which the caller has made sure of, and returns its
/// node.
///
/// # Panics
/// When `score` is not a number.
pub fn zslInsert(zsl: &mut Zskiplist, score: f64, ele: &[u8]) -> u32 {
    assert!(!score.is_nan());
    let mut path = zsl.locate(score, ele);
    let level = zslRandomLevel(zsl);
    let idx = zsl.zslCreateNode(level, score, ele);
    zsl.link(idx, &mut path);
    idx
}

impl Zskiplist {
    /// Unlinks the node after the place `path` describes; it keeps its
    /// tower and member.
    fn zslDeleteNode(&mut self, idx: u32, path: &Path) {
        let tower = self.nodes[idx].tower;
        let level = self.level_of_tower(tower);
        // Levels that the node reaches: the links to it take over what is behind.
        for i in 1..level {
            let after = self.towers[link_at(tower, i)];
            let before = &mut self.towers[link_at(path.tower[i], i)];
            debug_assert!(before.tower == tower);
            *before = Slot { span: before.span + after.span - 1, ..after };
        }
        // Levels that pass over it.
        for i in level..self.level {
            self.towers[link_at(path.tower[i], i)].span -= 1;
        }
        self.leave_trails(tower, path);
        let after = self.nodes[idx].forward;
        self.join(path.node, after);
        self.lower_level();
        self.length -= 1;
    }
}

/// Deletes the element with this score and member. False: there is none.
///
/// A hash table that holds the index has to forget it first, while it can still read the member.
pub fn zslDelete(zsl: &mut Zskiplist, score: f64, ele: &[u8]) -> bool {
    let path = zsl.locate(score, ele);
    let idx = path.next;
    if idx == NIL || zsl.score(idx) != score || zsl.member(idx) != ele {
        return false;
    }
    zsl.zslDeleteNode(idx, &path);
    zsl.zslFreeNode(idx);
    true
}

/// Deletes node `idx`, as [`zslDelete`] does, without looking for it.
pub fn zsl_delete_index(zsl: &mut Zskiplist, idx: u32) {
    let path = zsl.path_to(idx);
    zsl.zslDeleteNode(idx, &path);
    zsl.zslFreeNode(idx);
}

/// Gives node `idx` another score, and moves it to its new place.
///
/// C: takes the old score and the member, and may return another node. Here the index stays, and so
/// does the hash table.
///
/// # Panics
/// When `newscore` is not a number.
pub fn zslUpdateScore(zsl: &mut Zskiplist, idx: u32, newscore: f64) {
    assert!(!newscore.is_nan());
    let Node { backward, forward, tower, .. } = zsl.nodes[idx];

    // Where the neighbours stay the same, the score can change in place, and with it the copies in
    // the links, if there are any.
    let stays = (backward == NIL || zsl.score(backward) < newscore)
        && (forward == NIL || zsl.score(forward) > newscore);
    if stays && tower == NIL {
        zsl.nodes[idx].score = newscore;
        return;
    }
    let path = zsl.path_to(idx);
    if stays {
        zsl.nodes[idx].score = newscore;
        for i in 1..zsl.level_of_tower(tower) {
            let link = &mut zsl.towers[link_at(path.tower[i], i)];
            debug_assert!(link.tower == tower);
            *link = Slot::link(tower, link.span, newscore);
        }
        zsl.leave_trails(tower, &path);
        return;
    }

    // Elsewhere the node moves, with its tower: a level drawn once is as random at the new place.
    zsl.zslDeleteNode(idx, &path);
    zsl.nodes[idx].score = newscore;
    let mut path = zsl.locate(newscore, zsl.member(idx));
    zsl.link(idx, &mut path);
}

/// A range of scores; `minex` and `maxex` leave the border out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct zrangespec {
    pub min: f64,
    pub max: f64,
    pub minex: bool,
    pub maxex: bool,
}

/// Tells whether `value` is not below the range.
#[inline]
pub fn zslValueGteMin(value: f64, spec: &zrangespec) -> bool {
    if spec.minex { value > spec.min } else { value >= spec.min }
}

/// Tells whether `value` is not above the range.
#[inline]
pub fn zslValueLteMax(value: f64, spec: &zrangespec) -> bool {
    if spec.maxex { value < spec.max } else { value <= spec.max }
}

/// Tells whether some element could be in the range, judging by the ends of the list.
pub fn zslIsInRange(zsl: &Zskiplist, range: &zrangespec) -> bool {
    // Ranges that hold nothing, whatever the list.
    if range.min > range.max || (range.min == range.max && (range.minex || range.maxex)) {
        return false;
    }
    let (Some(first), Some(last)) = (zsl.first(), zsl.last()) else { return false };
    zslValueGteMin(zsl.score(last), range) && zslValueLteMax(zsl.score(first), range)
}

/// Returns the first node in the range.
pub fn zslFirstInRange(zsl: &Zskiplist, range: &zrangespec) -> Option<u32> {
    if !zslIsInRange(zsl, range) {
        return None;
    }
    let x = some(zsl.descend(|_, score, _: Place| !zslValueGteMin(score, range)).next)?;
    zslValueLteMax(zsl.score(x), range).then_some(x)
}

/// Returns the last node in the range.
pub fn zslLastInRange(zsl: &Zskiplist, range: &zrangespec) -> Option<u32> {
    if !zslIsInRange(zsl, range) {
        return None;
    }
    let x = some(zsl.descend(|_, score, _: Place| zslValueLteMax(score, range)).node)?;
    zslValueGteMin(zsl.score(x), range).then_some(x)
}

/// Deletes from the place `path` describes on, as long as `inside` holds.
fn delete_while(
    zsl: &mut Zskiplist,
    path: &Path,
    mut inside: impl FnMut(&Zskiplist, u32) -> bool,
    mut removed: impl FnMut(&Zskiplist, u32),
) -> usize {
    let mut count = 0;
    let mut x = path.next;
    while x != NIL && inside(zsl, x) {
        let next = zsl.nodes[x].forward;
        zsl.zslDeleteNode(x, path);
        removed(zsl, x);
        zsl.zslFreeNode(x);
        count += 1;
        x = next;
    }
    count
}

/// Deletes all elements of the range and returns how many.
///
/// `removed` is called for each one when it is out of the list and can still be read: the place to
/// drop it from the hash table.
pub fn zslDeleteRangeByScore(
    zsl: &mut Zskiplist,
    range: &zrangespec,
    removed: impl FnMut(&Zskiplist, u32),
) -> usize {
    let path = zsl.descend(|_, score, _: Place| !zslValueGteMin(score, range));
    delete_while(zsl, &path, |zsl, x| zslValueLteMax(zsl.score(x), range), removed)
}

/// Deletes all elements of a range of members, as [`zslDeleteRangeByScore`] does by score; meant
/// for lists in which all scores are equal.
pub fn zslDeleteRangeByLex(
    zsl: &mut Zskiplist,
    range: &zlexrangespec,
    removed: impl FnMut(&Zskiplist, u32),
) -> usize {
    let path = zsl.descend(|_, _, at: Place| !zslLexValueGteMin(zsl.member_at(at), range));
    delete_while(zsl, &path, |zsl, x| zslLexValueLteMax(zsl.member(x), range), removed)
}

/// Deletes all elements of a range of ranks, as [`zslDeleteRangeByScore`] does by score: from
/// `start` to `end`, both counted from 1 and both included.
pub fn zslDeleteRangeByRank(
    zsl: &mut Zskiplist,
    start: usize,
    end: usize,
    removed: impl FnMut(&Zskiplist, u32),
) -> usize {
    let path = zsl.descend_by_rank(start.saturating_sub(1));
    let mut left = end.saturating_sub(path.rank as usize);
    let inside = |_: &Zskiplist, _| {
        let more = left > 0;
        left = left.saturating_sub(1);
        more
    };
    delete_while(zsl, &path, inside, removed)
}

impl Zskiplist {
    /// Goes down the list past `skip` nodes.
    fn descend_by_rank(&self, skip: usize) -> Path {
        self.descend(|rank, _, _: Place| rank as usize <= skip)
    }
}

/// Returns the rank of an element, counted from 1; 0 when it is not there.
pub fn zslGetRank(zsl: &Zskiplist, score: f64, ele: &[u8]) -> usize {
    let sought = Sought::new(score, ele);
    let mut path = match zsl.take_rank(&sought) {
        Some(path) => path,
        None => zsl.descend_towers(&sought, None),
    };
    zsl.go_along_nodes(&sought, &mut path);
    let x = path.next;
    if x != NIL && zsl.score(x) == score && zsl.member(x) == ele {
        path.rank as usize + 1
    } else {
        0
    }
}

/// Returns the node of a rank counted from 1.
pub fn zslGetElementByRank(zsl: &Zskiplist, rank: usize) -> Option<u32> {
    if rank == 0 || rank > zsl.len() {
        return None;
    }
    some(zsl.descend_by_rank(rank - 1).next)
}

/// Moves what node `idx` has outside of the arena, where that is worth it: a long member.
// C: finds the node by score and member, and moves the node too.
pub fn zslDefrag(zsl: &mut Zskiplist, idx: u32, moves: &mut Defrag) {
    if let Member::Heap(bytes) = &mut zsl.nodes[idx].ele {
        moves.activeDefragSds(bytes);
    }
}

// ----- Lexicographic ranges -----

/// A border of a lexicographic range. `Min` and `Max` are below and above every member: the C's
/// `shared.minstring` and `shared.maxstring`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LexBorder<'a> {
    Min,
    Max,
    Member(&'a [u8]),
}

/// A range of members; `minex` and `maxex` leave the border out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct zlexrangespec<'a> {
    pub min: LexBorder<'a>,
    pub max: LexBorder<'a>,
    pub minex: bool,
    pub maxex: bool,
}

/// Reads one border as ZRANGEBYLEX takes it (`-`, `+`, `(member`, `[member`), and whether it is
/// left out. Error: anything else.
pub fn zslParseLexRangeItem(item: &[u8]) -> Result<(LexBorder<'_>, bool), ()> {
    // A sign ends at a zero byte, as a C string does.
    match item {
        [b'+'] | [b'+', 0, ..] => Ok((LexBorder::Max, true)),
        [b'-'] | [b'-', 0, ..] => Ok((LexBorder::Min, true)),
        [b'(', member @ ..] => Ok((LexBorder::Member(member), true)),
        [b'[', member @ ..] => Ok((LexBorder::Member(member), false)),
        _ => Err(()),
    }
}

/// Reads both borders of a range.
pub fn zslParseLexRange<'a>(min: &'a [u8], max: &'a [u8]) -> Result<zlexrangespec<'a>, ()> {
    let (min, minex) = zslParseLexRangeItem(min)?;
    let (max, maxex) = zslParseLexRangeItem(max)?;
    Ok(zlexrangespec { min, max, minex, maxex })
}

/// Compares two borders.
pub fn sdscmplex(a: LexBorder, b: LexBorder) -> Ordering {
    match (a, b) {
        (LexBorder::Member(a), LexBorder::Member(b)) => a.cmp(b),
        _ if a == b => Ordering::Equal,
        (LexBorder::Min, _) | (_, LexBorder::Max) => Ordering::Less,
        _ => Ordering::Greater,
    }
}

/// Tells whether `value` is not below the range.
pub fn zslLexValueGteMin(value: &[u8], spec: &zlexrangespec) -> bool {
    let cmp = sdscmplex(LexBorder::Member(value), spec.min);
    if spec.minex { cmp.is_gt() } else { cmp.is_ge() }
}

/// Tells whether `value` is not above the range.
pub fn zslLexValueLteMax(value: &[u8], spec: &zlexrangespec) -> bool {
    let cmp = sdscmplex(LexBorder::Member(value), spec.max);
    if spec.maxex { cmp.is_lt() } else { cmp.is_le() }
}

/// Tells whether some element could be in the range, judging by the ends of the list.
pub fn zslIsInLexRange(zsl: &Zskiplist, range: &zlexrangespec) -> bool {
    // Ranges that hold nothing, whatever the list.
    let cmp = sdscmplex(range.min, range.max);
    if cmp.is_gt() || (cmp.is_eq() && (range.minex || range.maxex)) {
        return false;
    }
    let (Some(first), Some(last)) = (zsl.first(), zsl.last()) else { return false };
    zslLexValueGteMin(zsl.member(last), range) && zslLexValueLteMax(zsl.member(first), range)
}

/// Returns the first node in the range.
pub fn zslFirstInLexRange(zsl: &Zskiplist, range: &zlexrangespec) -> Option<u32> {
    if !zslIsInLexRange(zsl, range) {
        return None;
    }
    let x = some(zsl.descend(|_, _, at: Place| !zslLexValueGteMin(zsl.member_at(at), range)).next)?;
    zslLexValueLteMax(zsl.member(x), range).then_some(x)
}

/// Returns the last node in the range.
pub fn zslLastInLexRange(zsl: &Zskiplist, range: &zlexrangespec) -> Option<u32> {
    if !zslIsInLexRange(zsl, range) {
        return None;
    }
    let x = some(zsl.descend(|_, _, at: Place| zslLexValueLteMax(zsl.member_at(at), range)).node)?;
    zslLexValueGteMin(zsl.member(x), range).then_some(x)
}

// ----- Giving memory back -----

/// Tells whether more than half of the arena is unused, so that [`zsl_shrink`] would give memory
/// back.
pub fn zsl_needs_shrink(zsl: &Zskiplist) -> bool {
    let unused = zsl.nodes.len() - zsl.length;
    unused > 128 && unused > zsl.length
}

/// Gives memory back after many deletions, in at most `steps` small steps; call it while
/// [`zsl_needs_shrink`].
///
/// C: frees each node by itself. An arena can only drop its end, so nodes at the end move into
/// holes. Before node `from` becomes node `to`, `moving` is called with the list, where `from` can
/// still be read: the hash table has to find the member and store the new index, and must not look
/// at the list by the new index until this function returns.
pub fn zsl_shrink(zsl: &mut Zskiplist, steps: usize, mut moving: impl FnMut(&Zskiplist, u32, u32)) {
    for _ in 0..steps {
        if zsl.nodes.len() == zsl.length {
            break;
        }
        let from = zsl.nodes.len() - 1;
        if !zsl.nodes[from].live {
            zsl.unlink_free_node(from);
            zsl.nodes.pop();
            continue;
        }
        let to = zsl.free;
        moving(zsl, from, to);
        zsl.unlink_free_node(to);
        if let Some(node) = zsl.nodes.pop() {
            let Node { backward, forward, tower, .. } = node;
            zsl.nodes[to] = node;
            zsl.join(backward, to);
            zsl.join(to, forward);
            if tower != NIL {
                zsl.towers[tower].tower = to;
            }
        }
    }
    // The trails don't know the names that towers get here.
    zsl.trails.take();
    // The towers follow. The slot at the end of their pool is always the head of one.
    for _ in 0..steps {
        let from = zsl.towers.len() - 1;
        if from == HEADER || zsl.free_slots == 0 {
            break;
        }
        let Slot { tower: idx, span: level, .. } = zsl.towers[from];
        if idx == NIL && level == 0 {
            zsl.free_slots -= 1;
        } else if idx == NIL {
            zsl.unlink_free_tower(from);
        } else {
            // Where no hole is large enough, a lower tower has to do: without it, one at the end
            // would keep all before it.
            let fit = (2..=level).rev().find_map(|l| Some((zsl.reuse_tower(l)?, l)));
            let Some((to, new)) = fit else { break };
            let path = zsl.path_to(idx);
            zsl.set_top(to, idx, new, zsl.tower(from).key());
            for i in 1..new as usize {
                zsl.towers[link_at(to, i)] = zsl.towers[link_at(from, i)];
                zsl.towers[link_at(path.tower[i], i)].tower = to;
            }
            for i in new as usize..level as usize {
                let mut link = zsl.towers[link_at(from, i)];
                let before = &mut zsl.towers[link_at(path.tower[i], i)];
                link.span += before.span;
                *before = link;
            }
            zsl.lower_level();
            zsl.nodes[idx].tower = to;
        }
        for _ in 0..=level {
            zsl.towers.pop();
        }
    }
}

// ----- Searches ahead of their turn -----

/// The number of elements from which on a list is likely not to be in the cache.
const SCOUTED: u32 = 16 * 1024;
/// The same where all scores are equal. There a search has to compare members, in more steps.
const SCOUTED_MEMBERS: u32 = 128 * 1024;

/// The most searches that leave a trail. One more place is for those that leave none.
const TRAILS: usize = 79;
/// The levels of which a trail tells, and level 0, of which it does not.
const TRAIL_LEVELS: usize = 16;

/// What searches that went ahead of their turn ([`Scout`]) left for it: for each of them, and for
/// each level, the last tower before the place that it looked for. When its turn has come, the
/// search begins on each level at that tower, and mostly ends there; on the upper levels, where
/// links seldom change, it need not even look.
///
/// Meanwhile the list changes. A tower that comes between is met from the one that was noted. One
/// that leaves its place, or gets another score, is replaced by the one before it
/// (`leave_trails`). So the towers of a trail always are in the list, and before the place, by the
/// score and the [`Key`] that were sought; and a trail is good for whoever looks for these.
struct Trails {
    /// The trails, in the order of their turns.
    all: [Trail; TRAILS + 1],
    /// How many there are, and which of them is the next one to have its turn.
    len: Cell<usize>,
    next: Cell<usize>,
    /// They tell of the levels below this one.
    levels: Cell<usize>,
    /// From this level on no link has changed since the searches went ahead.
    same_from: Cell<usize>,
    /// All nodes are where they were, so that ranks are right.
    ranks_hold: Cell<bool>,
    /// Where searches begin; nothing when one of them has changed.
    peaks: OnceCell<Peaks>,
}

/// What one search left.
struct Trail {
    /// What was looked for.
    sought: Cell<(f64, Key)>,
    /// The towers, by level.
    towers: [Cell<u32>; TRAIL_LEVELS],
    /// The rank of the tower of level 1, or NIL where nobody asks for it.
    rank: Cell<u32>,
}

/// The towers that reach a level high up, in their order: some hundreds. A search that goes ahead
/// finds by bisection between which of them its place is, and goes down from there.
///
/// When one of them comes, leaves its place or gets another score, they are written down anew for
/// the next batch. Of a list that is large that happens to one command in hundreds.
struct Peaks {
    level: usize,
    /// Their scores. In front of the first one the header stands for one with the least score.
    scores: Vec<f64>,
    /// Their keys, which are looked at where scores are equal.
    keys: Vec<Key>,
    towers: Vec<Peak>,
}

struct Peak {
    tower: u32,
    /// The number of its levels, and the last peak before it that has more.
    levels: u32,
    taller: u32,
}

/// The number of elements for which there is no more than one peak, the most peaks that there are
/// about, and the lowest level from which towers are peaks.
const MOST_PEAKS: u32 = 1024;
const PEAKS_LEVEL: usize = 4;

impl Peaks {
    /// Writes down the peaks of a list.
    fn of(zsl: &Zskiplist) -> Peaks {
        let mut level = PEAKS_LEVEL;
        // On each level there is a quarter of the towers of the one below.
        while zsl.length >> (2 * level).min(31) > MOST_PEAKS {
            level += 1;
        }
        let levels = ZSKIPLIST_MAXLEVEL as u32;
        let mut peaks = Peaks {
            level,
            scores: vec![f64::NEG_INFINITY],
            keys: vec![Key([0; 3])],
            towers: vec![Peak { tower: HEADER, levels, taller: 0 }],
        };
        let mut link = *zsl.tower(HEADER).link(level);
        while level < zsl.level && link.tower != NIL {
            let tower = zsl.tower(link.tower);
            let levels = tower.head().span;
            let mut taller = peaks.towers.len() as u32 - 1;
            while peaks.towers[taller as usize].levels <= levels && taller > 0 {
                taller = peaks.towers[taller as usize].taller;
            }
            peaks.scores.push(link.score());
            peaks.keys.push(tower.key());
            peaks.towers.push(Peak { tower: link.tower, levels, taller });
            link = *tower.link(level);
        }
        peaks
    }

    fn mem_usage(&self) -> usize {
        self.scores.capacity() * size_of::<f64>()
            + self.keys.capacity() * size_of::<Key>()
            + self.towers.capacity() * size_of::<Peak>()
    }

    /// Returns the last peak that is before what is sought, by its score and key.
    #[inline]
    fn before(&self, sought: &Sought<'_>) -> usize {
        let behind_header = &self.scores[1..];
        let at = behind_header.partition_point(|&score| score < sought.score);
        let equal = behind_header[at..].iter().take_while(|&&score| score == sought.score).count();
        match equal {
            0 => at,
            _ => {
                let equal = &self.keys[at + 1..][..equal];
                at + equal.partition_point(|key| key.is_less(&sought.key) == Some(true))
            }
        }
    }
}

/// A trail whose turn has come.
#[derive(Clone, Copy)]
struct Found<'a> {
    trail: &'a Trail,
    /// It tells of the levels below this one.
    levels: usize,
    /// From this level on its towers are still the last ones before the place.
    same_from: usize,
}

impl Found<'_> {
    /// Returns its tower on a level.
    #[inline(always)]
    fn tower(self, level: usize) -> u32 {
        self.trail.towers[level].get()
    }
}

impl Trails {
    fn new() -> Trails {
        Trails {
            all: from_fn(|_| Trail {
                sought: Cell::new((0.0, Key([0; 3]))),
                towers: [const { Cell::new(HEADER) }; TRAIL_LEVELS],
                rank: Cell::new(NIL),
            }),
            len: Cell::new(0),
            next: Cell::new(0),
            levels: Cell::new(0),
            same_from: Cell::new(1),
            ranks_hold: Cell::new(false),
            peaks: OnceCell::new(),
        }
    }

    fn mem_usage(&self) -> usize {
        size_of::<Trails>() + self.peaks.get().map_or(0, Peaks::mem_usage)
    }

    /// Returns the place for the trail of a search.
    fn begin(&self, sought: &Sought<'_>) -> &Trail {
        let search = self.len.get();
        let trail = &self.all[search];
        trail.rank.set(NIL);
        if search < TRAILS {
            trail.sought.set((sought.score, sought.key));
            self.len.set(search + 1);
        }
        trail
    }
}

impl Zskiplist {
    /// Returns the trail of the search for this place whose turn is next, and passes over those
    /// before it, whose turn has come and gone.
    #[inline]
    fn take_trail(&self, sought: &Sought<'_>) -> Option<Found<'_>> {
        let trails = self.trails.get()?;
        let left = trails.all[..trails.len.get()].get(trails.next.get()..)?;
        let place = (sought.score, sought.key);
        let passed = left.iter().position(|trail| trail.sought.get() == place)?;
        trails.next.set(trails.next.get() + passed + 1);
        // Of long members with the same key all are behind the trail.
        let same_from = if sought.key.is_long() { TRAIL_LEVELS } else { trails.same_from.get() };
        Some(Found { trail: &left[passed], levels: trails.levels.get(), same_from })
    }

    /// Returns the path to the tower of level 1 at which a search for a place ended ahead of its
    /// turn, with its rank.
    fn take_rank(&self, sought: &Sought<'_>) -> Option<Path> {
        let found = self.take_trail(sought)?;
        let rank = found.trail.rank.get();
        if rank == NIL || !self.trails.get()?.ranks_hold.get() || found.same_from > 1 {
            return None;
        }
        let mut tower = [HEADER; ZSKIPLIST_MAXLEVEL];
        tower[1] = found.tower(1);
        Some(Path { tower, node: NIL, next: NIL, rank, past: 0 })
    }

    /// Has no trail lead to a tower that leaves its place, to which this path leads.
    #[inline]
    fn leave_trails(&mut self, tower: u32, path: &Path) {
        let level = self.level_of_tower(tower);
        self.links_changed(level);
        let Some(trails) = self.trails.get_mut() else { return };
        if level == 1 {
            return;
        }
        for trail in &trails.all[trails.next.get()..trails.len.get()] {
            for (noted, before) in trail.towers.iter().zip(path.tower).take(level).skip(1) {
                if noted.get() == tower {
                    noted.set(before);
                }
            }
        }
    }

    /// Notes that a node of this level comes, leaves or gets another score.
    #[inline]
    fn links_changed(&mut self, level: usize) {
        if let Some(trails) = self.trails.get_mut() {
            trails.ranks_hold.set(false);
            trails.same_from.set(trails.same_from.get().max(level));
            if trails.peaks.get().is_some_and(|peaks| level > peaks.level) {
                trails.peaks.take();
            }
        }
    }

    #[inline]
    fn trails(&self) -> &Trails {
        self.trails.get_or_init(|| Box::new(Trails::new()))
    }

    /// Forgets the trails of the last time.
    pub fn begin_trails(&self) {
        let trails = self.trails();
        trails.peaks.get_or_init(|| Peaks::of(self));
        trails.len.set(0);
        trails.next.set(0);
        trails.levels.set(self.level.min(TRAIL_LEVELS));
        trails.same_from.set(1);
        trails.ranks_hold.set(true);
    }
}

/// A search that goes ahead of the one that counts, so that this one finds in the cache what it
/// reads. It goes one step at a time, and asks for the memory that its next step will read: many of
/// them side by side ([`scout`]) wait for memory at the same time. It changes nothing but its
/// trail.
pub struct Scout<'a> {
    zsl: &'a Zskiplist,
    sought: Sought<'a>,
    /// The slot that it looks at next: the link of this level of this tower, or on level 0 the
    /// tower's head.
    slot: &'a Slot,
    tower: u32,
    level: usize,
    /// Where it leaves its trail, and the rank of its tower if that `counts`.
    trail: &'a Trail,
    rank: u32,
    counts: bool,
    /// The tower to which a link with the sought score leads, and whose key was asked for.
    asked: u32,
    /// The node that it looks at next, when it is among the nodes.
    node: u32,
    /// It is at the place of what is sought, or on from there.
    arrived: bool,
    /// The node that is sought, if that is one of the list's own. Its neighbours are known.
    own: u32,
    /// The nodes that it goes on to from the place, up to which score, and whether that is
    /// backwards.
    more: u32,
    until: f64,
    backwards: bool,
}

impl Zskiplist {
    /// Tells whether it is worth while to send searches ahead.
    pub fn is_scouted(&self) -> bool {
        // Where all scores are equal they have to compare members.
        self.length >= SCOUTED_MEMBERS
            || (self.length >= SCOUTED && self.score(self.head) < self.score(self.tail))
    }

    /// Returns a search for the place of an element, present or not; [`Zskiplist::begin_trails`]
    /// came before.
    pub fn scout<'a>(&'a self, score: f64, ele: &'a [u8]) -> Scout<'a> {
        let sought = Sought::new(score, ele);
        let mut scout = self.scout_from_head(sought, self.trails().begin(&sought));
        scout.start_at_peak();
        scout
    }

    /// Returns a search for the rank of an element.
    pub fn scout_rank<'a>(&'a self, score: f64, ele: &'a [u8]) -> Scout<'a> {
        let sought = Sought::new(score, ele);
        Scout { counts: true, ..self.scout_from_head(sought, self.trails().begin(&sought)) }
    }

    /// Returns a search that begins at the head of the list and leaves this trail.
    fn scout_from_head<'a>(&'a self, sought: Sought<'a>, trail: &'a Trail) -> Scout<'a> {
        let level = self.level - 1;
        Scout {
            zsl: self,
            sought,
            slot: self.slot_of(HEADER, level),
            tower: HEADER,
            level,
            trail,
            rank: 0,
            counts: false,
            asked: NIL,
            node: NIL,
            arrived: false,
            own: NIL,
            more: 0,
            until: sought.score,
            backwards: false,
        }
    }

    /// Returns a search for node `idx`, which will be taken out.
    pub fn scout_node(&self, idx: u32) -> Scout<'_> {
        Scout { own: idx, ..self.scout(self.score(idx), self.member(idx)) }
    }

    /// Returns a search for the first or, if `backwards`, for the last node of a range, and for up
    /// to `more` that follow.
    pub fn scout_range(&self, range: &zrangespec, backwards: bool, more: u32) -> Scout<'_> {
        let (from, until) =
            if backwards { (range.max.next_up(), range.min) } else { (range.min, range.max) };
        // Nobody looks for its trail.
        let trail = &self.trails().all[TRAILS];
        let scout = self.scout_from_head(Sought::new(from, b""), trail);
        let mut scout = Scout { more, until, backwards, ..scout };
        scout.start_at_peak();
        scout
    }

    /// Returns a tower's link of a level, or on level 0 its head.
    #[inline(always)]
    fn slot_of(&self, tower: u32, level: usize) -> &Slot {
        &self.towers[tower - level as u32 - u32::from(level > 0)]
    }
}

impl Scout<'_> {
    /// Goes to the last peak before the place, and leaves the upper part of its trail. Without peaks
    /// it stays at the head.
    fn start_at_peak(&mut self) {
        let zsl = self.zsl;
        let Some(peaks) = zsl.trails().peaks.get() else { return };
        let mut at = peaks.before(&self.sought);
        self.tower = peaks.towers[at].tower;
        for level in peaks.level..zsl.level.min(TRAIL_LEVELS) {
            while peaks.towers[at].levels <= level as u32 {
                at = peaks.towers[at].taller as usize;
            }
            self.trail.towers[level].set(peaks.towers[at].tower);
        }
        self.level = self.level.min(peaks.level);
        self.slot = zsl.slot_of(self.tower, self.level);
        prefetch(self.slot);
    }

    /// Goes to the next tower, or down a level. `false`: it is below them all.
    #[inline(always)]
    fn step_along_towers(&mut self) -> bool {
        if self.level == 0 {
            return false;
        }
        let (zsl, link) = (self.zsl, *self.slot);
        let score = link.score();
        let mut before = score < self.sought.score;
        if score == self.sought.score && link.tower != NIL {
            if self.asked != link.tower {
                self.asked = link.tower;
                prefetch(zsl.slot_of(link.tower, 0));
                return true;
            }
            // Where the keys are equal and long, it stays before all members that have this key.
            before = zsl.tower(link.tower).key().is_less(&self.sought.key) == Some(true);
        }
        // The last one that is noted on a level is right; those above the highest are overwritten.
        self.trail.towers[self.level % TRAIL_LEVELS].set(self.tower);
        // Whether a step goes ahead or down can't be foretold.
        self.tower = select_unpredictable(before, link.tower, self.tower);
        self.rank += select_unpredictable(before, link.span, 0);
        self.level -= usize::from(!before);
        self.slot = zsl.slot_of(self.tower, self.level);
        prefetch(self.slot);
        true
    }

    /// Goes on from the tower of level 1 to the nodes. `false`: it does not go on.
    #[inline(always)]
    fn leave_towers(&mut self) -> bool {
        if self.counts {
            self.trail.rank.set(self.rank);
        }
        if self.own != NIL {
            let n = &self.zsl.nodes[self.own];
            for neighbour in [n.backward, n.forward] {
                if neighbour != NIL {
                    self.zsl.prefetch_links(neighbour);
                }
            }
            return false;
        }
        self.look_at_node(if self.tower == HEADER { self.zsl.head } else { self.slot.tower })
    }

    /// Goes to the next node. `false`: it has come as far as it goes.
    #[inline(always)]
    fn step_along_nodes(&mut self) -> bool {
        let n = &self.zsl.nodes[self.node];
        let sought = &self.sought;
        self.arrived |=
            n.score > sought.score || (n.score == sought.score && !sought.is_behind(&n.ele));
        if self.arrived {
            let beyond = if self.backwards { n.score < self.until } else { n.score > self.until };
            if self.more == 0 || beyond {
                return false;
            }
            self.more -= 1;
        }
        self.look_at_node(if self.arrived && self.backwards { n.backward } else { n.forward })
    }

    /// Asks for the node to be looked at next.
    #[inline(always)]
    fn look_at_node(&mut self, idx: u32) -> bool {
        if idx == NIL {
            return false;
        }
        self.node = idx;
        if self.more > 0 || self.arrived {
            self.zsl.prefetch(idx);
        } else {
            self.zsl.prefetch_links(idx);
        }
        true
    }
}

#[inline(always)]
fn prefetch(slot: &Slot) {
    mem::prefetch((&raw const *slot).addr());
}

/// Has searches go ahead, side by side, until all have arrived.
pub fn scout(scouts: &mut [Scout<'_>]) {
    let mut among_towers: Vec<usize> = (0..scouts.len()).collect();
    let mut among_nodes = Vec::with_capacity(scouts.len());
    while !among_towers.is_empty() || !among_nodes.is_empty() {
        keep_those(&mut among_towers, |i| {
            let goes_on = scouts[i].step_along_towers();
            if !goes_on && scouts[i].leave_towers() {
                among_nodes.push(i);
            }
            goes_on
        });
        keep_those(&mut among_nodes, |i| scouts[i].step_along_nodes());
    }
}

/// Keeps those for which `keep` is true, asking for each without a branch.
#[inline(always)]
fn keep_those(all: &mut Vec<usize>, mut keep: impl FnMut(usize) -> bool) {
    let mut kept = 0;
    for n in 0..all.len() {
        let i = all[n];
        all[kept] = i;
        kept += usize::from(keep(i));
    }
    all.truncate(kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_ordered_by_their_bytes() {
        let mut rng = crate::testing::Rng::new();
        let mut member = |head: usize| -> Vec<u8> {
            let rest = rng.below(12);
            let rest = (0..rest).map(|_| [0, b'a', b'b', 0xff][rng.below(4) as usize]);
            [vec![b'a'; head], rest.collect()].concat()
        };
        for i in 0..20_000 {
            let (a, b) = (member(i % 25), member(i % 25));
            let less = Sought::new(0.0, &b).is_behind(&Member::new(&a));
            assert_eq!(less, a < b, "{a:?} {b:?}");
            // The keys alone tell the same, but for long members with the same start.
            let (key, other) = (Key::of(&a), Key::of(&b));
            match key.is_less(&other) {
                None if key.is_long() => {
                    assert_eq!(a[..INLINE], b[..INLINE]);
                    assert!(a.len() > INLINE && b.len() > INLINE);
                }
                None => assert_eq!(a, b),
                Some(less) => assert_eq!((less, !less), (a < b, a > b), "{a:?} {b:?}"),
            }
        }
    }

    use crate::testing::Rng;

    type Model = Vec<(f64, Vec<u8>)>;

    fn place(model: &Model, score: f64, ele: &[u8]) -> Result<usize, usize> {
        model.binary_search_by(|(s, e)| s.total_cmp(&score).then_with(|| e.as_slice().cmp(ele)))
    }

    /// Every link, span, copy of a score and back pointer is right, and every slot is used or free.
    fn check(zsl: &Zskiplist, model: &Model) {
        assert_eq!(zsl.len(), model.len());
        let mut order = vec![];
        let mut x = zsl.first();
        let mut prev = None;
        while let Some(idx) = x {
            assert!(zsl.nodes[idx].live);
            assert_eq!(zsl.prev(idx), prev);
            order.push(idx);
            prev = x;
            x = zsl.next(idx);
        }
        assert_eq!(zsl.last(), prev);
        let got: Model = order.iter().map(|&i| (zsl.score(i), zsl.member(i).to_vec())).collect();
        assert_eq!(&got, model);
        let rank = |idx| order.iter().position(|&i| i == idx).unwrap() + 1;
        for i in 1..zsl.level {
            let (mut t, mut at) = (HEADER, 0);
            loop {
                let link = zsl.towers[link_at(t, i)];
                if link.tower == NIL {
                    assert_eq!(link.score(), f64::INFINITY);
                    assert_eq!(at + link.span as usize, model.len(), "last span of level {i}");
                    break;
                }
                let idx = zsl.towers[link.tower].tower;
                assert_eq!(zsl.nodes[idx].tower, link.tower);
                assert_eq!(zsl.score(idx), link.score());
                assert_eq!(zsl.tower(link.tower).key(), Key::of(zsl.member(idx)));
                at += link.span as usize;
                assert_eq!(rank(idx), at);
                t = link.tower;
            }
        }
        let levels = order.iter().map(|&i| zsl.level_of_tower(zsl.nodes[i].tower));
        let slots: usize = levels.filter(|&l| l > 1).map(|l| l + 1).sum();
        assert_eq!(slots + 33 + zsl.free_slots as usize, zsl.towers.len() as usize);
        for (level, &t) in zsl.free_towers.iter().enumerate() {
            assert_eq!(zsl.free_levels >> level & 1 == 1, t != NIL);
        }
        let mut free = 0;
        let mut x = zsl.free;
        while x != NIL {
            assert!(!zsl.nodes[x].live);
            free += 1;
            x = zsl.nodes[x].forward;
        }
        assert_eq!(free + model.len(), zsl.nodes.len() as usize);
        let Some(trails) = zsl.trails.get() else { return };
        for trail in &trails.all[trails.next.get()..trails.len.get()] {
            let (score, key) = trail.sought.get();
            for i in 1..trails.levels.get() {
                let tower = trail.towers[i].get();
                if i >= trails.same_from.get() && zsl.level <= trails.levels.get() && !key.is_long()
                {
                    let next = zsl.tower(tower).link(i);
                    let place = (score, key.0);
                    assert!(
                        next.tower == NIL || (next.score(), zsl.tower(next.tower).key().0) >= place
                    );
                }
                if tower == HEADER {
                    continue;
                }
                let idx = zsl.towers[tower].tower;
                assert!(zsl.nodes[idx].live && zsl.nodes[idx].tower == tower);
                assert!(zsl.level_of_tower(tower) > i);
                let is_before = zsl.tower(tower).key().is_less(&key) == Some(true);
                assert!(zsl.score(idx) < score || (zsl.score(idx) == score && is_before));
            }
        }
    }

    #[test]
    fn layout() {
        assert_eq!(size_of::<Node>(), 48);
        assert_eq!(size_of::<Slot>(), 16);
    }

    /// Levels follow the odds of the C.
    #[test]
    fn levels() {
        let mut zsl = zslCreate(7);
        let mut seen = [0usize; ZSKIPLIST_MAXLEVEL + 1];
        for _ in 0..100_000 {
            seen[zslRandomLevel(&mut zsl)] += 1;
        }
        let mut expected = 100_000.0 * (1.0 - ZSKIPLIST_P);
        for (l, &n) in seen.iter().enumerate().take(5).skip(1) {
            assert!((n as f64 - expected).abs() < expected * 0.2, "level {l}: {n}");
            expected *= ZSKIPLIST_P;
        }
    }

    /// Every function against a sorted vector. Of half of the lists searches go ahead.
    #[test]
    fn against_a_sorted_vector() {
        let mut r = Rng::new();
        for round in 0..30 {
            let mut zsl = zslCreate(r.next());
            let mut model: Model = vec![];
            let scores = [2, 10, 100_000][round % 3];
            let grow = [6, 5, 8][round % 3];
            let mut plan: Model = vec![];
            for step in 0..600 {
                if plan.is_empty() {
                    plan = (0..1 + r.below(20))
                        .map(|_| {
                            let mut ele = r.below(200).to_string().into_bytes();
                            if r.below(3) == 0 {
                                ele.resize(INLINE - 1 + r.below(4) as usize, b'x');
                            }
                            (r.below(scores) as f64 - 5.0, ele)
                        })
                        .collect();
                    if round < 15 {
                        zsl.begin_trails();
                        let mut scouts = vec![];
                        for (score, ele) in plan.iter().rev() {
                            if let Some(at) = model.iter().position(|(_, e)| e == ele) {
                                let idx = zslGetElementByRank(&zsl, at + 1).unwrap();
                                scouts.push(zsl.scout_node(idx));
                            }
                            scouts.push(zsl.scout(*score, ele));
                        }
                        scout(&mut scouts);
                    }
                }
                let (score, ele) = plan.pop().unwrap();
                let known = model.iter().position(|(_, e)| *e == ele);
                match (known, r.below(10)) {
                    (None, n) if n < grow => {
                        let idx = zslInsert(&mut zsl, score, &ele);
                        assert_eq!(zsl.member(idx), ele);
                        let at = place(&model, score, &ele).unwrap_err();
                        model.insert(at, (score, ele));
                    }
                    (None, _) => {
                        assert!(!zslDelete(&mut zsl, score, &ele));
                        assert_eq!(zslGetRank(&zsl, score, &ele), 0);
                    }
                    (Some(at), n) if n < 3 => {
                        let old = model.remove(at).0;
                        assert_eq!(zslGetRank(&zsl, old, &ele), at + 1);
                        if n == 0 {
                            let idx = zslGetElementByRank(&zsl, at + 1).unwrap();
                            zsl_delete_index(&mut zsl, idx);
                        } else {
                            assert!(zslDelete(&mut zsl, old, &ele));
                        }
                    }
                    (Some(at), _) => {
                        let idx = zslGetElementByRank(&zsl, at + 1).unwrap();
                        let score = if r.below(2) == 0 { zsl.score(idx) + 0.001 } else { score };
                        zslUpdateScore(&mut zsl, idx, score);
                        assert_eq!((zsl.member(idx), zsl.score(idx)), (ele.as_slice(), score));
                        model.remove(at);
                        let at = place(&model, score, &ele).unwrap_err();
                        model.insert(at, (score, ele));
                    }
                }
                if step % 20 == 0 {
                    check(&zsl, &model);
                }
                // Ranges of scores.
                let spec = zrangespec {
                    min: r.below(scores) as f64 - 5.5,
                    max: r.below(scores) as f64 - 5.0,
                    minex: r.below(2) == 0,
                    maxex: r.below(2) == 0,
                };
                let inside = |s: f64| zslValueGteMin(s, &spec) && zslValueLteMax(s, &spec);
                let name = |i: u32| zsl.member(i).to_vec();
                let first = model.iter().find(|(s, _)| inside(*s)).map(|(_, e)| e.clone());
                let last = model.iter().rfind(|(s, _)| inside(*s)).map(|(_, e)| e.clone());
                assert_eq!(zslFirstInRange(&zsl, &spec).map(name), first);
                assert_eq!(zslLastInRange(&zsl, &spec).map(name), last);
                if r.below(60) == 0 {
                    let gone = model.iter().filter(|(s, _)| inside(*s)).count();
                    let mut told = vec![];
                    let n = zslDeleteRangeByScore(&mut zsl, &spec, |z, i| {
                        told.push(z.member(i).to_vec())
                    });
                    assert_eq!((n, told.len()), (gone, gone));
                    model.retain(|(s, _)| !inside(*s));
                    check(&zsl, &model);
                }
                if r.below(60) == 0 {
                    let start = r.below(model.len() as u64 + 3) as usize + 1;
                    let end = start - 1 + r.below(20) as usize;
                    let n = zslDeleteRangeByRank(&mut zsl, start, end, |_, _| ());
                    let to = end.min(model.len());
                    let gone = to.saturating_sub(start - 1);
                    assert_eq!(n, gone);
                    model.drain((start - 1).min(to)..to);
                    check(&zsl, &model);
                }
            }
        }
    }

    /// A node that is gone, or is another member's, has no member.
    #[test]
    fn has_member() {
        let mut zsl = zslCreate(1);
        let (a, b) = (zslInsert(&mut zsl, 1.0, b"a"), zslInsert(&mut zsl, 2.0, b""));
        let has = |zsl: &Zskiplist, ele| [a, b, b + 1, NIL].map(|idx| zsl.has_member(idx, ele));
        assert_eq!(has(&zsl, b"a"), [true, false, false, false]);
        assert_eq!(has(&zsl, b""), [false, true, false, false]);
        zsl_delete_index(&mut zsl, b);
        assert_eq!(has(&zsl, b""), [false; 4]);
    }

    /// Lexicographic ranges where all scores are equal.
    #[test]
    fn lex_ranges() {
        let mut r = Rng::new();
        for _ in 0..300 {
            let mut zsl = zslCreate(3);
            let mut model: Vec<Vec<u8>> =
                (0..r.below(60)).map(|_| r.below(99).to_string().into_bytes()).collect();
            model.sort();
            model.dedup();
            for ele in model.iter().rev() {
                zslInsert(&mut zsl, 1.0, ele);
            }
            let mut item = || match r.below(8) {
                0 => b"-".to_vec(),
                1 => b"+".to_vec(),
                n => [if n % 2 == 0 { "(" } else { "[" }, &r.below(99).to_string()]
                    .concat()
                    .into_bytes(),
            };
            let (min, max) = (item(), item());
            let spec = zslParseLexRange(&min, &max).unwrap();
            let inside = |e: &Vec<u8>| zslLexValueGteMin(e, &spec) && zslLexValueLteMax(e, &spec);
            let name = |i: u32| zsl.member(i).to_vec();
            assert_eq!(
                zslFirstInLexRange(&zsl, &spec).map(name),
                model.iter().find(|e| inside(e)).cloned()
            );
            assert_eq!(
                zslLastInLexRange(&zsl, &spec).map(name),
                model.iter().rfind(|e| inside(e)).cloned()
            );
            let gone = model.iter().filter(|e| inside(e)).count();
            assert_eq!(zslDeleteRangeByLex(&mut zsl, &spec, |_, _| ()), gone);
            model.retain(|e| !inside(e));
            check(&zsl, &model.into_iter().map(|e| (1.0, e)).collect());
        }
        for bad in [&b""[..], b"+a", b"-a", b"a"] {
            assert!(zslParseLexRangeItem(bad).is_err());
        }
        assert_eq!(zslParseLexRangeItem(b"+\0a"), Ok((LexBorder::Max, true)));
    }

    /// A search that goes ahead comes to the node that the other one finds, and its trail leads
    /// there; one for a range goes on to the nodes that follow.
    #[test]
    fn scouts_arrive() {
        let mut r = Rng::new();
        // Some members have the same key.
        let member = |n: u64, long: bool| {
            [vec![b'x'; if long { INLINE } else { 0 }], n.to_string().into()].concat()
        };
        for scores in [1, 5, 100, 1_000_000] {
            let mut zsl = zslCreate(r.next());
            scout(&mut [zsl.scout(1.0, b"x"), zsl.scout(2.0, b"")]);
            for n in 0..1000 {
                zslInsert(&mut zsl, r.below(scores) as f64, &member(n, n % 2 == 0));
            }
            let go = |scout: &mut Scout<'_>| {
                while scout.step_along_towers() {}
                if scout.leave_towers() {
                    while scout.step_along_nodes() {}
                }
            };
            for _ in 0..300 {
                let score = r.below(scores + 2) as f64 - 1.0;
                let ele = member(r.below(1200), r.below(2) == 0);
                zsl.begin_trails();
                let mut alone = zsl.scout(score, &ele);
                go(&mut alone);
                let path = zsl.descend(Sought::new(score, &ele));
                let (node, arrived) = (alone.node, alone.arrived);
                assert_eq!(
                    (arrived, some(node)),
                    (path.next != NIL, some(path.next).or(zsl.last()))
                );

                // Its trail is the path, unless there are long members with the same key.
                let trail = zsl.take_trail(&Sought::new(score, &ele)).unwrap();
                let noted = (1..zsl.level).map(|i| trail.tower(i));
                if !Key::of(&ele).is_long() {
                    assert!(noted.eq(path.tower[1..zsl.level].iter().copied()));
                }
                scout(&mut [zsl.scout_rank(score, &ele)]);
                if let Some(from) = zsl.take_rank(&Sought::new(score, &ele)) {
                    assert_eq!((from.tower[1], from.rank), (path.tower[1], path.rank - path.past));
                }
                assert!(zsl.take_trail(&Sought::new(score, &ele)).is_none());

                let range = zrangespec {
                    min: score,
                    max: score + r.below(3) as f64,
                    minex: false,
                    maxex: false,
                };
                for backwards in [false, true] {
                    let more = r.below(20) as u32;
                    let mut on = zsl.scout_range(&range, backwards, more);
                    go(&mut on);
                    // The first one that is not before the place, which backwards is behind the
                    // range.
                    let before = |s: f64| if backwards { s <= range.max } else { s < range.min };
                    let mut nodes = std::iter::successors(zsl.first(), |&x| zsl.next(x));
                    let Some(mut x) = nodes.find(|&x| !before(zsl.score(x))) else {
                        assert!(!on.arrived);
                        continue;
                    };
                    for _ in 0..more {
                        let after = if backwards { zsl.prev(x) } else { zsl.next(x) };
                        let s = zsl.score(x);
                        let Some(after) = after
                            .filter(|_| if backwards { s >= range.min } else { s <= range.max })
                        else {
                            break;
                        };
                        x = after;
                    }
                    assert_eq!(on.node, x);
                }
            }
        }
    }

    /// After many deletions the arena gives its memory back, and renamed nodes are told.
    #[test]
    fn shrink() {
        // The same levels each time: what they take is compared with limits.
        let mut r = Rng::seeded(1);
        let mut zsl = zslCreate(r.below(1000));
        let mut model: Model = vec![];
        let mut nodes = std::collections::HashMap::new();
        for i in 0..20_000 {
            let ele = format!("member:{i}").into_bytes();
            let score = r.below(1000) as f64;
            nodes.insert(ele.clone(), zslInsert(&mut zsl, score, &ele));
            model.push((score, ele));
        }
        model.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        let full = zsl.mem_usage();
        // 48 for the node, a third of a link, a quarter of the two slots at the top of a tower; a
        // part of the last chunk unused.
        assert!(full / 20_000 < 65, "{} bytes an element", full / 20_000);
        model.retain(|(score, ele)| {
            let keep = r.below(50) == 0;
            if !keep {
                nodes.remove(ele);
                assert!(zslDelete(&mut zsl, *score, ele));
            }
            keep
        });
        while zsl_needs_shrink(&zsl) {
            zsl_shrink(&mut zsl, 100, |z, from, to| {
                assert_eq!(nodes.insert(z.member(from).to_vec(), to), Some(from));
            });
        }
        check(&zsl, &model);
        for (ele, idx) in &nodes {
            assert_eq!(zsl.member(*idx), ele);
        }
        assert!(zsl.mem_usage() < full / 5, "{} of {full}", zsl.mem_usage());
    }
}
