//! `adlist.c`: a doubly linked list of small values, in a slab.
//!
//! Nodes live in one vector and are named by a [`ListNode`]: an index with a generation. Where the
//! C keeps a pointer to a node in order to unlink it in one step, we keep the id. Values are `Copy`
//! (client ids, mostly), so no list ever lends a reference, and a loop over one may change
//! anything, the list included.
//!
//! Absent: the dup, free and match methods, since a value owns nothing and has its own `PartialEq`;
//! `listDup` is `Clone`. Differs: removing the node an iterator would visit next is safe here (see
//! [`listNext`]).

use std::num::NonZeroU32;

/// The id of a node: `Copy`, 8 bytes, also as an `Option`. It goes stale when its node is deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct ListNode {
    index: u32,
    generation: NonZeroU32,
}

#[derive(Clone, Debug)]
struct Slot<T> {
    prev: Option<ListNode>,
    next: Option<ListNode>,
    /// The generation of the node whose links these are. They stay readable after the
    /// node's death, until the slot is used again: an iterator finds its way through them.
    generation: NonZeroU32,
    live: bool,
    value: T,
}

/// A doubly linked list of `T`.
#[derive(Clone, Debug)]
pub struct List<T: Copy> {
    slots: Vec<Slot<T>>,
    /// Free slots, oldest first: a slot rests as long as possible before it is used again.
    free: std::collections::VecDeque<u32>,
    head: Option<ListNode>,
    tail: Option<ListNode>,
    len: usize,
}

impl<T: Copy> Default for List<T> {
    fn default() -> Self {
        listCreate()
    }
}

/// The direction of an iterator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From head to tail.
    AL_START_HEAD,
    /// From tail to head.
    AL_START_TAIL,
}
pub use Direction::*;

/// A position in a list that borrows nothing of it; made by [`listRewind`], moved by [`listNext`].
#[derive(Clone, Copy, Debug)]
pub struct ListIter {
    current: Option<ListNode>,
    next: Option<ListNode>,
    direction: Direction,
}

impl ListIter {
    /// Returns the node whose value [`listNext`] returned last: what a loop hands to
    /// [`listDelNode`]. None before the first step.
    pub fn node(&self) -> Option<ListNode> {
        self.current
    }
}

impl<T: Copy> List<T> {
    /// Returns an empty list; allocates nothing.
    pub const fn new() -> Self {
        List {
            slots: Vec::new(),
            free: std::collections::VecDeque::new(),
            head: None,
            tail: None,
            len: 0,
        }
    }

    /// Returns the number of nodes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Tells whether the list has no node.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Tells whether `node` is (still) a node of this list.
    pub fn contains(&self, node: ListNode) -> bool {
        self.slots
            .get(node.index as usize)
            .is_some_and(|slot| slot.live && slot.generation == node.generation)
    }

    /// Returns the values from head to tail. The list is borrowed: the loop changes nothing in it.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { list: self, next: self.head }
    }

    #[track_caller]
    fn slot(&self, node: ListNode) -> &Slot<T> {
        let slot = &self.slots[node.index as usize];
        assert!(slot.live && slot.generation == node.generation, "stale list node");
        slot
    }

    #[track_caller]
    fn slot_mut(&mut self, node: ListNode) -> &mut Slot<T> {
        let slot = &mut self.slots[node.index as usize];
        assert!(slot.live && slot.generation == node.generation, "stale list node");
        slot
    }

    /// Makes a node that is linked to nothing yet.
    fn alloc(&mut self, value: T) -> ListNode {
        self.len += 1;
        if let Some(index) = self.free.pop_front() {
            let slot = &mut self.slots[index as usize];
            slot.generation = slot.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
            slot.live = true;
            slot.prev = None;
            slot.next = None;
            slot.value = value;
            return ListNode { index, generation: slot.generation };
        }
        let index = u32::try_from(self.slots.len()).expect("a list holds less than 2^32 nodes");
        let generation = NonZeroU32::MIN;
        self.slots.push(Slot { prev: None, next: None, generation, live: true, value });
        ListNode { index, generation }
    }

    /// Takes `node` out of the chain; it stays allocated.
    #[track_caller]
    fn unlink(&mut self, node: ListNode) {
        let slot = self.slot(node);
        let (prev, next) = (slot.prev, slot.next);
        match prev {
            Some(prev) => self.slot_mut(prev).next = next,
            None => self.head = next,
        }
        match next {
            Some(next) => self.slot_mut(next).prev = prev,
            None => self.tail = prev,
        }
    }

    fn link_head(&mut self, node: ListNode) {
        let head = self.head;
        let slot = self.slot_mut(node);
        slot.prev = None;
        slot.next = head;
        match head {
            Some(head) => self.slot_mut(head).prev = Some(node),
            None => self.tail = Some(node),
        }
        self.head = Some(node);
    }

    fn link_tail(&mut self, node: ListNode) {
        let tail = self.tail;
        let slot = self.slot_mut(node);
        slot.next = None;
        slot.prev = tail;
        match tail {
            Some(tail) => self.slot_mut(tail).next = Some(node),
            None => self.head = Some(node),
        }
        self.tail = Some(node);
    }
}

/// Returns an empty list.
pub const fn listCreate<T: Copy>() -> List<T> {
    List::new()
}

/// Removes every node; memory stays with the list. Node ids and iterators made before go stale.
pub fn listEmpty<T: Copy>(list: &mut List<T>) {
    while let Some(node) = list.head {
        listDelNode(list, node);
    }
}

/// Returns the number of nodes.
pub fn listLength<T: Copy>(list: &List<T>) -> usize {
    list.len
}

/// Returns the node at the head, if any.
pub fn listFirst<T: Copy>(list: &List<T>) -> Option<ListNode> {
    list.head
}

/// Returns the node at the tail, if any.
pub fn listLast<T: Copy>(list: &List<T>) -> Option<ListNode> {
    list.tail
}

/// Returns the node before `node`, towards the head. Panics on a stale id.
#[track_caller]
pub fn listPrevNode<T: Copy>(list: &List<T>, node: ListNode) -> Option<ListNode> {
    list.slot(node).prev
}

/// Returns the node after `node`, towards the tail. Panics on a stale id.
#[track_caller]
pub fn listNextNode<T: Copy>(list: &List<T>, node: ListNode) -> Option<ListNode> {
    list.slot(node).next
}

/// Returns the value of `node`. Panics on a stale id.
#[track_caller]
pub fn listNodeValue<T: Copy>(list: &List<T>, node: ListNode) -> T {
    list.slot(node).value
}

/// Adds `value` at the head; returns its node.
pub fn listAddNodeHead<T: Copy>(list: &mut List<T>, value: T) -> ListNode {
    let node = list.alloc(value);
    list.link_head(node);
    node
}

/// Adds `value` at the tail; returns its node.
pub fn listAddNodeTail<T: Copy>(list: &mut List<T>, value: T) -> ListNode {
    let node = list.alloc(value);
    list.link_tail(node);
    node
}

/// Adds `value` beside `old_node`, behind it if `after`, else before it; returns the new node.
/// Panics on a stale id.
#[track_caller]
pub fn listInsertNode<T: Copy>(
    list: &mut List<T>,
    old_node: ListNode,
    value: T,
    after: bool,
) -> ListNode {
    let old = list.slot(old_node);
    let (prev, next) = if after { (Some(old_node), old.next) } else { (old.prev, Some(old_node)) };
    let node = list.alloc(value);
    let slot = list.slot_mut(node);
    slot.prev = prev;
    slot.next = next;
    match prev {
        Some(prev) => list.slot_mut(prev).next = Some(node),
        None => list.head = Some(node),
    }
    match next {
        Some(next) => list.slot_mut(next).prev = Some(node),
        None => list.tail = Some(node),
    }
    node
}

/// Removes `node`. Panics on a stale id, where the C would free twice.
#[track_caller]
pub fn listDelNode<T: Copy>(list: &mut List<T>, node: ListNode) {
    list.unlink(node);
    list.slot_mut(node).live = false;
    list.free.push_back(node.index);
    list.len -= 1;
}

/// Returns an iterator that starts at the end `direction` names.
pub fn listGetIterator<T: Copy>(list: &List<T>, direction: Direction) -> ListIter {
    let next = match direction {
        AL_START_HEAD => list.head,
        AL_START_TAIL => list.tail,
    };
    ListIter { current: None, next, direction }
}

/// Returns an iterator from head to tail.
pub fn listRewind<T: Copy>(list: &List<T>) -> ListIter {
    listGetIterator(list, AL_START_HEAD)
}

/// Returns an iterator from tail to head.
pub fn listRewindTail<T: Copy>(list: &List<T>) -> ListIter {
    listGetIterator(list, AL_START_TAIL)
}

/// Moves on, and returns the next value; none at the end. `iter.node()` is then its node.
///
/// As in the C, the node to visit next is settled when its predecessor is returned: the body may
/// delete the node it was given, and what it inserts right behind that node is not visited.
///
/// C: deleting the next node would be a use after free. Here the walk goes on with the first live
/// node after it: found from the current node if that lives, else through the links that dead nodes
/// keep. Only if both died and their slots are in use again is the place lost, and the walk
/// ends.
pub fn listNext<T: Copy>(list: &List<T>, iter: &mut ListIter) -> Option<T> {
    let forward = iter.direction == AL_START_HEAD;
    let link = |slot: &Slot<T>| if forward { slot.next } else { slot.prev };

    let mut next = iter.next?;
    if !list.contains(next) {
        if let Some(current) = iter.current.filter(|&current| list.contains(current)) {
            iter.next = link(list.slot(current));
            next = iter.next?;
        }
        // A dead node points at one that outlived it, so that the chain ends.
        while !list.contains(next) {
            let slot = &list.slots[next.index as usize];
            iter.next = if slot.generation == next.generation { link(slot) } else { None };
            next = iter.next?;
        }
    }
    let slot = list.slot(next);
    iter.current = Some(next);
    iter.next = link(slot);
    Some(slot.value)
}

/// Returns the first node from the head whose value equals `key`.
pub fn listSearchKey<T: Copy + PartialEq>(list: &List<T>, key: T) -> Option<ListNode> {
    let mut node = list.head;
    while let Some(n) = node {
        let slot = list.slot(n);
        if slot.value == key {
            return Some(n);
        }
        node = slot.next;
    }
    None
}

/// Returns the node at a zero-based `index`: 0 is the head, -1 the tail, -2 the one before it. None
/// if out of range.
pub fn listIndex<T: Copy>(list: &List<T>, index: i64) -> Option<ListNode> {
    let (mut node, steps) =
        if index < 0 { (list.tail, index.unsigned_abs() - 1) } else { (list.head, index as u64) };
    if steps >= list.len as u64 {
        return None;
    }
    for _ in 0..steps {
        let slot = list.slot(node?);
        node = if index < 0 { slot.prev } else { slot.next };
    }
    node
}

/// Makes the tail node the head. It keeps its id.
pub fn listRotateTailToHead<T: Copy>(list: &mut List<T>) {
    if list.len <= 1 {
        return;
    }
    if let Some(tail) = list.tail {
        list.unlink(tail);
        list.link_head(tail);
    }
}

/// Makes the head node the tail. It keeps its id.
pub fn listRotateHeadToTail<T: Copy>(list: &mut List<T>) {
    if list.len <= 1 {
        return;
    }
    if let Some(head) = list.head {
        list.unlink(head);
        list.link_tail(head);
    }
}

/// Moves every value of `o` to the tail of `l`. `o` is empty afterwards, and the ids of its nodes
/// are stale.
pub fn listJoin<T: Copy>(l: &mut List<T>, o: &mut List<T>) {
    for value in o.iter() {
        listAddNodeTail(l, *value);
    }
    listEmpty(o);
}

/// The iterator of [`List::iter`].
#[derive(Clone)]
pub struct Iter<'a, T: Copy> {
    list: &'a List<T>,
    next: Option<ListNode>,
}

impl<'a, T: Copy> Iterator for Iter<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        let slot = self.list.slot(self.next?);
        self.next = slot.next;
        Some(&slot.value)
    }
}

impl<'a, T: Copy> IntoIterator for &'a List<T> {
    type Item = &'a T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    fn values(list: &List<u32>) -> Vec<u32> {
        let forward: Vec<u32> = list.iter().copied().collect();
        let mut backward = Vec::new();
        let mut li = listRewindTail(list);
        while let Some(v) = listNext(list, &mut li) {
            backward.push(v);
        }
        backward.reverse();
        assert_eq!(forward, backward);
        assert_eq!(forward.len(), listLength(list));
        forward
    }

    fn list_of(values: &[u32]) -> List<u32> {
        let mut list = listCreate();
        for &v in values {
            listAddNodeTail(&mut list, v);
        }
        list
    }

    /// Every operation against a `VecDeque`, with ids that stay good while their node lives.
    #[test]
    fn behaves_as_a_deque() {
        let seed = 0x5eed_0001u64;
        println!("seed {seed:#x}");
        let mut x = seed;
        let mut rnd = move |n: usize| {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (x >> 33) as usize % n
        };
        let mut list: List<u32> = List::new();
        let mut model: VecDeque<(u32, ListNode)> = VecDeque::new();
        for step in 0..20_000u32 {
            match rnd(9) {
                0 | 1 => {
                    let node = listAddNodeHead(&mut list, step);
                    model.push_front((step, node));
                }
                2 | 3 => {
                    let node = listAddNodeTail(&mut list, step);
                    model.push_back((step, node));
                }
                4 if !model.is_empty() => {
                    let at = rnd(model.len());
                    let after = rnd(2) == 1;
                    let node = listInsertNode(&mut list, model[at].1, step, after);
                    model.insert(at + after as usize, (step, node));
                }
                5 | 6 if !model.is_empty() => {
                    let (_, node) = model.remove(rnd(model.len())).unwrap();
                    listDelNode(&mut list, node);
                    assert!(!list.contains(node));
                }
                7 => {
                    listRotateHeadToTail(&mut list);
                    if let Some(v) = model.pop_front() {
                        model.push_back(v);
                    }
                }
                8 => {
                    listRotateTailToHead(&mut list);
                    if let Some(v) = model.pop_back() {
                        model.push_front(v);
                    }
                }
                _ => {}
            }
            assert_eq!(listFirst(&list), model.front().map(|m| m.1));
            assert_eq!(listLast(&list), model.back().map(|m| m.1));
            if !model.is_empty() {
                let at = rnd(model.len());
                let (value, node) = model[at];
                assert_eq!(listNodeValue(&list, node), value);
                assert_eq!(listSearchKey(&list, value), Some(node));
                assert_eq!(listIndex(&list, at as i64), Some(node));
                assert_eq!(listIndex(&list, at as i64 - model.len() as i64), Some(node));
                assert_eq!(listNextNode(&list, node), model.get(at + 1).map(|m| m.1));
            }
            assert_eq!(listIndex(&list, model.len() as i64), None);
            assert_eq!(listIndex(&list, -(model.len() as i64) - 1), None);
            if step % 500 == 0 {
                assert_eq!(values(&list), model.iter().map(|m| m.0).collect::<Vec<_>>());
            }
        }
        listEmpty(&mut list);
        assert!(values(&list).is_empty());
        assert_eq!(listIndex(&list, i64::MIN), None);
    }

    #[test]
    fn the_current_node_may_go() {
        let mut list = list_of(&[1, 2, 3, 4]);
        let mut li = listRewind(&list);
        let mut seen = Vec::new();
        while let Some(v) = listNext(&list, &mut li) {
            seen.push(v);
            listDelNode(&mut list, li.node().unwrap());
            listAddNodeHead(&mut list, 100 + v);
        }
        assert_eq!(seen, [1, 2, 3, 4]);
        assert_eq!(values(&list), [104, 103, 102, 101]);
    }

    #[test]
    fn what_is_inserted_behind_the_current_node_is_not_visited() {
        let mut list = list_of(&[1, 2]);
        let mut li = listRewind(&list);
        let mut seen = Vec::new();
        while let Some(v) = listNext(&list, &mut li) {
            seen.push(v);
            listInsertNode(&mut list, li.node().unwrap(), 10 * v, true);
        }
        assert_eq!(seen, [1, 2]);
        assert_eq!(values(&list), [1, 10, 2, 20]);
    }

    #[test]
    fn the_next_nodes_may_go_too() {
        // The current node lives: the walk goes on behind it.
        let mut list = list_of(&[1, 2, 3, 4]);
        let mut li = listRewind(&list);
        assert_eq!(listNext(&list, &mut li), Some(1));
        for v in [2, 3] {
            let node = listSearchKey(&list, v).unwrap();
            listDelNode(&mut list, node);
        }
        assert_eq!(listNext(&list, &mut li), Some(4));
        assert_eq!(listNext(&list, &mut li), None);

        // The current one is gone as well: the dead show the way, in both directions.
        for (direction, order) in [(AL_START_HEAD, [1, 2, 3, 4]), (AL_START_TAIL, [4, 3, 2, 1])] {
            let mut list = list_of(&[1, 2, 3, 4]);
            let mut li = listGetIterator(&list, direction);
            assert_eq!(listNext(&list, &mut li), Some(order[0]));
            for v in [order[1], order[0], order[2]] {
                let node = listSearchKey(&list, v).unwrap();
                listDelNode(&mut list, node);
            }
            assert_eq!(listNext(&list, &mut li), Some(order[3]));
            assert_eq!(listNext(&list, &mut li), None);
        }

        // Everything is gone and every slot is taken again: the walk ends.
        let mut list = list_of(&[1, 2, 3]);
        let mut li = listRewind(&list);
        listNext(&list, &mut li);
        listEmpty(&mut list);
        for v in 0..3 {
            listAddNodeTail(&mut list, v);
        }
        assert_eq!(listNext(&list, &mut li), None);
    }

    #[test]
    fn join_moves_everything() {
        let (mut a, mut b) = (list_of(&[1]), list_of(&[2, 3]));
        listJoin(&mut a, &mut b);
        assert_eq!((values(&a), values(&b)), (vec![1, 2, 3], vec![]));
        let mut sum = 0;
        for &v in &a {
            sum += v;
        }
        assert_eq!(sum, 6);
    }
}
