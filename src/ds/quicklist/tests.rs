use super::*;
use crate::testing::{Rng, asserts};

impl Rng {
    fn letter(&mut self) -> u8 {
        b'a' + self.below(26) as u8
    }

    fn list_value(&mut self) -> Vec<u8> {
        match self.below(8) {
            0 => self.below(15).to_string().into_bytes(),
            1 => {
                let v = self.below(1 << 30) as i64 * self.below(1 << 30) as i64;
                let v = if self.below(2) == 1 { -v } else { v };
                v.to_string().into_bytes()
            }
            2 => {
                let n = self.below(20);
                vec![self.letter(); n as usize]
            }
            3 => (0..self.below(60)).map(|_| self.letter()).collect(),
            4 => {
                let n = 100 + self.below(200);
                vec![self.letter(); n as usize]
            }
            5 => (0..100 + self.below(200)).map(|_| self.letter()).collect(),
            6 if self.below(20) == 0 => vec![b'z'; 3000 + self.below(7000) as usize],
            6 => vec![b'q'; self.below(5) as usize],
            _ => format!("item:{}", self.below(100_000)).into_bytes(),
        }
    }

    /// A number within a list of `count` values or a little outside, from either end.
    fn index(&mut self, count: usize) -> i64 {
        let idx = self.below(count as u64 + 2) as i64;
        if self.below(2) == 1 { -idx - 1 } else { idx }
    }

    fn direction(&mut self) -> i32 {
        if self.below(2) == 1 { AL_START_TAIL } else { AL_START_HEAD }
    }

    fn ziplist(&mut self) -> Ziplist {
        let mut zl = ziplistNew();
        for _ in 0..1 + self.below(5) {
            ziplistPush(&mut zl, &self.list_value(), ZIPLIST_TAIL);
        }
        zl
    }
}

fn text(value: ZiplistEntry) -> Vec<u8> {
    match value {
        ZiplistEntry::Str(value) => value.to_vec(),
        ZiplistEntry::Int(value) => value.to_string().into_bytes(),
    }
}

/// A running hash of everything a list of the C shows, compared with one taken from the C.
struct Trace {
    shape: u64,
    lzf: u64,
}

fn mix(h: &mut u64, x: u64) {
    *h = (*h ^ x).wrapping_mul(0x100_0000_01b3);
}

impl Trace {
    fn mix(&mut self, x: u64) {
        mix(&mut self.shape, x);
    }

    fn value(&mut self, value: ZiplistEntry) {
        match value {
            ZiplistEntry::Str(s) => {
                self.mix(s.len() as u64);
                self.mix(s.first().map_or(0, |&b| u64::from(b)));
            }
            ZiplistEntry::Int(n) => self.mix(n as u64),
        }
    }

    fn list(&mut self, ql: &Quicklist, bytes: bool) {
        self.mix(ql.len() as u64);
        self.mix(quicklistCount(ql) as u64);
        for (id, node) in ids(ql).zip(ql.nodes()) {
            self.mix(u64::from(node.count));
            self.mix(u64::from(node.sz));
            let recompress = u64::from(ql.recompress(id));
            self.mix(if quicklistNodeIsCompressed(node) { 2 } else { recompress });
            if !bytes {
                continue;
            }
            node.zl().iter().for_each(|&b| self.mix(u64::from(b)));
            if let Some(lzf) = quicklistGetLzf(node) {
                mix(&mut self.lzf, lzf.len() as u64);
                lzf.iter().for_each(|&b| mix(&mut self.lzf, u64::from(b)));
            }
        }
    }
}

/// The nodes of a list from head to tail.
fn ids(ql: &Quicklist) -> impl Iterator<Item = u32> {
    let some = |id| (id != NIL).then_some(id);
    std::iter::successors(some(ql.head()), move |&id| some(ql.next(id)))
}

/// Links, counts and sizes agree with what the nodes hold, and the values are those of the model.
fn check(ql: &Quicklist, model: &[Vec<u8>]) {
    let depth = ql.compress() as usize;
    let (mut prev, mut count) = (NIL, 0);
    for (i, id) in ids(ql).enumerate() {
        let node = ql.node(id);
        assert_eq!(ql.prev(id), prev);
        let compressed = quicklistNodeIsCompressed(node);
        if !compressed {
            assert_eq!((ziplistLen(node.zl()), node.zl().len()), (node.count(), node.sz()));
        }
        let in_depth = depth == 0 || i < depth || ql.len() - 1 - i < depth;
        assert!(!in_depth || !compressed, "an end is compressed");
        count += node.count();
        prev = id;
    }
    assert_eq!((ql.tail(), ql.len(), quicklistCount(ql)), (prev, ids(ql).count(), count));
    for (direction, from) in [(AL_START_HEAD, 0), (AL_START_TAIL, -1)] {
        let mut reader = quicklist_read(ql, direction, from);
        let mut got = vec![];
        while let Some(value) = reader.read() {
            got.push(text(value));
        }
        if direction == AL_START_TAIL {
            got.reverse();
        }
        assert_eq!(got, model);
    }

    // Many at a time, with one that is refused first after every third.
    let mut reader = quicklist_read(ql, AL_START_HEAD, 0);
    let mut got = vec![];
    while got.len() < model.len() {
        let strings = reader.read_short_while(2, |s, len| {
            got.push(s[..len].to_vec());
            true
        });
        let integers = reader.read_integers_while(2, |n| {
            got.push(text(ZiplistEntry::Int(n)));
            true
        });
        assert!(strings.max(integers) <= 2 && reader.read_while(1, |_| false) == 0);
        assert!(reader.read_short_while(1, |_, _| false) == 0);
        assert!(reader.read_integers_while(1, |_| false) == 0);
        reader.read_while(1, |value| {
            got.push(text(value));
            true
        });
    }
    assert_eq!(got, model);
    assert!(reader.read_while(1, |_| true) == 0 && reader.read().is_none());
}

/// The position in a model that index `idx` stands for.
fn at(model: &[Vec<u8>], idx: i64) -> Option<usize> {
    let i = if idx < 0 { idx + model.len() as i64 } else { idx };
    (i >= 0 && i < model.len() as i64).then_some(i as usize)
}

/// One list and its model through `steps` random calls.
fn drive(r: &mut Rng, fill: i32, depth: i32, steps: usize) -> Trace {
    let mut t = Trace { shape: 0xcbf2_9ce4_8422_2325, lzf: 0xcbf2_9ce4_8422_2325 };
    let mut ql = quicklistNew(fill, depth);
    // Or much time goes by with clearing new ones.
    let mut lzf = None;
    let mut model: Vec<Vec<u8>> = vec![];
    for step in 0..steps {
        ql.lend_lzf(&mut lzf);
        let op = r.below(100);
        let count = quicklistCount(&ql);
        match op {
            0..25 => {
                let place = if r.below(2) == 1 { QUICKLIST_HEAD } else { QUICKLIST_TAIL };
                let value = r.list_value();
                quicklistPush(&mut ql, &value, place);
                model.insert(if place == QUICKLIST_HEAD { 0 } else { count }, value);
            }
            25..38 => {
                let place = if r.below(2) == 1 { QUICKLIST_HEAD } else { QUICKLIST_TAIL };
                let value = quicklistPopCustom(&mut ql, place, |value| {
                    t.value(value);
                    text(value)
                });
                let expected = match place {
                    _ if model.is_empty() => None,
                    QUICKLIST_HEAD => Some(model.remove(0)),
                    _ => model.pop(),
                };
                assert_eq!(value, expected);
            }
            38..53 if count > 0 => {
                let idx = r.below(count as u64);
                let after = r.below(2) == 1;
                let value = r.list_value();
                let entry = quicklistIndex(&mut ql, idx as i64).unwrap();
                if after {
                    quicklistInsertAfter(&mut ql, &entry, &value);
                } else {
                    quicklistInsertBefore(&mut ql, &entry, &value);
                }
                model.insert(idx as usize + usize::from(after), value);
            }
            53..61 => {
                let start = r.index(count);
                let mut n = r.below(10);
                if r.below(15) == 0 {
                    n = r.below(200);
                }
                let done = quicklistDelRange(&mut ql, start, n as i64);
                t.mix(u64::from(done));
                match at(&model, start) {
                    Some(i) if n > 0 => {
                        assert!(done);
                        model.drain(i..model.len().min(i + n as usize));
                    }
                    _ => assert!(!done),
                }
            }
            61..69 => {
                let idx = r.index(count);
                let value = r.list_value();
                let done = quicklistReplaceAtIndex(&mut ql, idx, &value);
                t.mix(u64::from(done));
                match at(&model, idx) {
                    Some(i) => model[i] = value,
                    None => assert!(!done),
                }
            }
            69..80 if count > 0 => {
                let direction = r.direction();
                let mut idx = r.below(count as u64) as i64;
                let m = r.below(12);
                if r.below(2) == 1 {
                    idx -= count as i64;
                }
                let mut iter = quicklistGetIteratorAtIdx(&mut ql, direction, idx).unwrap();
                let mut i = at(&model, idx);
                // An offset counted from the end where the iteration leads does not survive a
                // deletion, in the C neither; then the list tells the model.
                let sure = (idx < 0) == (direction == AL_START_TAIL);
                for _ in 0..m {
                    let Some(entry) = quicklistNext(&mut iter, &mut ql) else { break };
                    let value = ql.value(&entry);
                    t.value(value);
                    let value = text(value);
                    assert!(quicklistCompare(&ql, &entry, &value));
                    if sure {
                        assert_eq!(Some(&value), model.get(i.unwrap()));
                    }
                    let delete = r.below(3) == 0;
                    if delete {
                        quicklistDelEntry(&mut iter, &mut ql, &entry);
                    }
                    if sure {
                        let here = i.unwrap();
                        if delete {
                            model.remove(here);
                        }
                        i = if direction == AL_START_TAIL {
                            here.checked_sub(1)
                        } else {
                            Some(here + usize::from(!delete))
                        };
                    }
                }
                quicklistReleaseIterator(iter, &mut ql);
                if !sure {
                    let mut reader = quicklist_read(&ql, AL_START_HEAD, 0);
                    model.clear();
                    while let Some(value) = reader.read() {
                        model.push(text(value));
                    }
                }
            }
            38..53 | 69..80 => (),
            80..85 => {
                let idx = r.index(count);
                let entry = quicklistIndex(&mut ql, idx);
                t.mix(u64::from(entry.is_some()));
                let value = entry.map(|entry| text(ql.value(&entry)));
                assert_eq!(value.as_ref(), at(&model, idx).map(|i| &model[i]));
            }
            85..90 => {
                quicklistRotate(&mut ql);
                if let Some(value) = model.pop() {
                    model.insert(0, value);
                }
            }
            90..93 => {
                let mut iter = quicklistGetIterator(&ql, r.direction());
                while let Some(entry) = quicklistNext(&mut iter, &mut ql) {
                    t.value(ql.value(&entry));
                }
                quicklistReleaseIterator(iter, &mut ql);
            }
            93..95 => {
                lzf = ql.return_lzf();
                ql = quicklistDup(&ql);
            }
            _ => {
                let zl = r.ziplist();
                let mut p = ziplistIndex(&zl, 0);
                while let Some(at) = p {
                    model.push(text(ziplistGet(&zl, at).unwrap()));
                    p = ziplistNext(&zl, at);
                }
                if op < 98 {
                    quicklistAppendZiplist(&mut ql, zl);
                } else {
                    quicklistAppendValuesFromZiplist(&mut ql, &zl);
                }
            }
        }
        if quicklistCount(&ql) > 400 {
            quicklistDelRange(&mut ql, 0, 200);
            model.drain(..200);
        }
        t.list(&ql, step % 50 == 0);
        if step % 50 == 0 {
            check(&ql, &model);
        }
    }
    t
}

/// Fill, depth, and the traces of shape and of compressed bytes, taken from `quicklist.c` with the
/// one correction that `__quicklistCompress` names.
const TRACES: [(i32, i32, u64, u64); 36] = [
    (-1, 0, 0x8cffce1f0c41dc37, 0xcbf29ce484222325),
    (-1, 1, 0x038cb25f841d97b8, 0x98a17869ddbd42bf),
    (-1, 2, 0x6170dbc7725fa644, 0x6939f0301036c88d),
    (-1, 3, 0xa92b78e0e452917e, 0xcbf29ce484222325),
    (-2, 0, 0x7afe38f7b10ec4b5, 0xcbf29ce484222325),
    (-2, 1, 0x32248cf85155ae59, 0x8dbd09744e712f2b),
    (-2, 2, 0x577527f2b83b7835, 0xcbf67b59f643d53f),
    (-2, 3, 0x2d2b16b9dcb86e62, 0xbcf3d7a3e47bf99c),
    (-3, 0, 0x5784692071dd6f83, 0xcbf29ce484222325),
    (-3, 1, 0x931eb76fdb42471c, 0xce14ff400b73c6bb),
    (-3, 2, 0x81c3e7c4cb054524, 0x5646bc792a3da074),
    (-3, 3, 0xa29cbbd131d1afab, 0x6360a52fd16fa534),
    (-4, 0, 0x9a36ff693fd2bebb, 0xcbf29ce484222325),
    (-4, 1, 0xed82585499c01b67, 0x101444fdef31caba),
    (-4, 2, 0xaaa462c799211104, 0xc94bbc260173209c),
    (-4, 3, 0x549c1a2cdff5beef, 0xc76729dc332e26a4),
    (-5, 0, 0x1403875502492872, 0xcbf29ce484222325),
    (-5, 1, 0xf2728faf1dabe0a6, 0xb57d535d49fe6fef),
    (-5, 2, 0x520bfb707c425a45, 0xd91a797e2a145893),
    (-5, 3, 0xa969f136122b1c09, 0x70332f397e8c9924),
    (1, 0, 0x95447a2920064ec0, 0xcbf29ce484222325),
    (1, 1, 0xe504274fc5530993, 0x88cb340fed2b5532),
    (1, 2, 0x3a55e56154decf8c, 0x863b5ef25d9271cf),
    (1, 3, 0xc63b7fa736ce0ba3, 0x652e2e2a39a71dd0),
    (2, 0, 0xb796c00f49c0b13d, 0xcbf29ce484222325),
    (2, 1, 0x6f2691877bdbf02c, 0xbba1ae2c2afc2310),
    (2, 2, 0x63d7e6de9264c301, 0x905e39837cd12125),
    (2, 3, 0x2f04b1d8fe8f195a, 0xd5b48d5aaf1b5ead),
    (32, 0, 0x797926a65443a37b, 0xcbf29ce484222325),
    (32, 1, 0x59c376cdd40b3140, 0x1320fd2bdb469afc),
    (32, 2, 0x8d24c683cfeb0a79, 0x5066970bb04f8620),
    (32, 3, 0x48e29f6d53aafdeb, 0xcbf29ce484222325),
    (128, 0, 0x309da6ecfd0301bf, 0xcbf29ce484222325),
    (128, 1, 0xae57a5361c3344b1, 0xaf45c83d696dd9c7),
    (128, 2, 0xc3a6460b54312416, 0x521ba77e8b95f4fa),
    (128, 3, 0x0cd890c89c0bfe77, 0x8e137504e8e64b34),
];

/// 108000 calls leave the same nodes with the same bytes as in the C, after each one.
#[test]
fn nodes_are_those_of_the_c() {
    for (i, (fill, depth, shape, lzf)) in TRACES.into_iter().enumerate() {
        let mut r = Rng::of_state((1000 + i as u64 / 4 * 10 + i as u64 % 4) * 2 + 1);
        let t = drive(&mut r, fill, depth, 3000);
        assert_eq!((t.shape, t.lzf), (shape, lzf), "fill {fill}, depth {depth}");
    }
}

/// Other calls each time, against the model alone.
#[test]
fn against_a_vector() {
    let mut r = Rng::new();
    for _ in 0..12 {
        let fill = r.below(40) - 5;
        let depth = r.below(5);
        drive(&mut r, fill, depth, 700);
    }
}

/// A node that was unpacked inside a list and has come to its head is not packed there.
#[test]
fn an_end_is_never_compressed() {
    let mut ql = quicklistNew(2, 1);
    for i in 0..8 {
        quicklistPushTail(&mut ql, &[b'a' + i; 100]);
    }
    assert!(quicklistIndex(&mut ql, 2).is_some());
    quicklistPop(&mut ql, QUICKLIST_HEAD);
    quicklistPop(&mut ql, QUICKLIST_HEAD);
    quicklistPop(&mut ql, QUICKLIST_HEAD);
    let entry = quicklistIndex(&mut ql, 0).unwrap();
    quicklistInsertAfter(&mut ql, &entry, &[b'x'; 100]);
    assert!(ql.nodes().next().is_some_and(|head| !quicklistNodeIsCompressed(head)));
    quicklistPushHead(&mut ql, b"first");
    assert_eq!(quicklistPop(&mut ql, QUICKLIST_HEAD).unwrap(), b"first");
    assert_eq!(quicklistPop(&mut ql, QUICKLIST_HEAD).unwrap(), [b'd'; 100]);
    assert_eq!(quicklistPop(&mut ql, QUICKLIST_HEAD).unwrap(), [b'x'; 100]);
}

/// Where a node is full: by size class, by number, and by the safety limit on bytes.
#[test]
fn limits() {
    for (fill, limit) in [(-1, 4096), (-2, 8192), (-3, 16384), (-4, 32768), (-5, 65536)] {
        assert!(_quicklistNodeSizeMeetsOptimizationRequirement(limit, fill));
        assert!(!_quicklistNodeSizeMeetsOptimizationRequirement(limit + 1, fill));
    }
    assert!(!_quicklistNodeSizeMeetsOptimizationRequirement(1, 0));
    assert!(!_quicklistNodeSizeMeetsOptimizationRequirement(1, -6));
    assert_eq!(quicklistNew(-9, -1).fill(), -5);
    assert_eq!(quicklistNew(99_999, 99_999).compress(), 65535);
    assert_eq!(quicklistNew(99_999, 0).fill(), 32767);
    let mut ql = quicklistNew(100, 0);
    for _ in 0..5 {
        quicklistPushTail(&mut ql, &[b'v'; 3000]);
    }
    assert_eq!(ql.nodes().map(QuicklistNodeRef::count).collect::<Vec<_>>(), [2, 2, 1]);
}

/// Most lists are small: they cost 16 bytes and their ziplist, and stay so whatever is done to them
/// within one node.
#[test]
fn one_node_is_its_ziplist() {
    assert_eq!((size_of::<Quicklist>(), size_of::<QuicklistNode>()), (16, 32));
    let one = |ql: &Quicklist| matches!(ql.0, Nodes::One { .. });
    let mut ql = quicklistNew(4, 1);
    assert!(quicklistIndex(&mut ql, 0).is_none() && ql.nodes().next().is_none());
    quicklistPushTail(&mut ql, b"a");
    quicklistPushHead(&mut ql, b"b");
    let entry = quicklistIndex(&mut ql, -1).unwrap();
    quicklistInsertBefore(&mut ql, &entry, b"c");
    quicklistRotate(&mut ql);
    assert!(quicklistReplaceAtIndex(&mut ql, 1, b"d"));
    assert!(quicklistDelRange(&mut ql, 0, 1));
    check(&ql, &[b"d".to_vec(), b"c".to_vec()]);
    let copy = quicklistDup(&ql);
    check(&copy, &[b"d".to_vec(), b"c".to_vec()]);
    assert!(one(&ql) && one(&copy));

    // A second node takes an arena, which goes when the list is empty.
    let all: Vec<Vec<u8>> = b"dcefh".iter().map(|&letter| vec![letter]).collect();
    for value in &all[2..] {
        quicklistPushTail(&mut ql, value);
    }
    assert!(!one(&ql));
    check(&ql, &all);
    while quicklistPop(&mut ql, QUICKLIST_TAIL).is_some() {}
    assert!(one(&ql));
    assert_eq!((ql.fill(), ql.compress(), quicklistCount(&ql)), (4, 1, 0));
    quicklistPushTail(&mut ql, b"g");
    check(&ql, &[b"g".to_vec()]);
}

/// What is damaged either does not matter to what is asked, or ends it by an assertion.
#[test]
fn damaged_bytes_are_asserted() {
    let mut r = Rng::new();
    // One table for all lists, which would else be made and cleared for each.
    let mut lzf = None;
    for _ in 0..3000 {
        let mut bytes = r.ziplist().into_bytes();
        for _ in 0..1 + r.below(3) {
            let i = r.below(bytes.len() as u64) as usize;
            bytes[i] = r.below(256) as u8;
        }
        let Some(zl) = Ziplist::from_slice(&bytes) else { continue };
        let mut ql = quicklistNew(r.below(4) - 2, r.below(2));
        quicklistAppendZiplist(&mut ql, r.ziplist());
        quicklistAppendZiplist(&mut ql, zl);
        quicklistAppendZiplist(&mut ql, r.ziplist());
        for _ in 0..20 {
            ql.lend_lzf(&mut lzf);
            let done = asserts(|| match r.below(8) {
                0 => drop(quicklistPop(&mut ql, QUICKLIST_HEAD)),
                1 => drop(quicklistPop(&mut ql, QUICKLIST_TAIL)),
                2 => drop(quicklistDelRange(&mut ql, r.below(9) as i64 - 4, r.below(4) as i64)),
                3 => drop(quicklistReplaceAtIndex(&mut ql, r.below(9) as i64 - 4, b"new")),
                4 => quicklistRotate(&mut ql),
                5 => {
                    if let Some(entry) = quicklistIndex(&mut ql, r.below(9) as i64) {
                        quicklistInsertAfter(&mut ql, &entry, &r.list_value());
                    }
                }
                6 => {
                    lzf = ql.return_lzf();
                    ql = quicklistDup(&ql);
                }
                _ => {
                    let mut iter = quicklistGetIterator(&ql, r.direction());
                    while let Some(entry) = quicklistNext(&mut iter, &mut ql) {
                        if r.below(3) == 0 {
                            quicklistDelEntry(&mut iter, &mut ql, &entry);
                        }
                    }
                    quicklistReleaseIterator(iter, &mut ql);
                }
            });
            if done.is_none() {
                break;
            }
        }
        lzf = ql.return_lzf().or(lzf);
    }
}
