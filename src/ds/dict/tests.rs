use super::*;
use crate::testing::Rng;
use std::collections::{BTreeMap, HashMap, HashSet};

fn mix(x: u64) -> u64 {
    let z = (x ^ (x >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d049bb133111eb);
    z ^ (z >> 31)
}

/// Payloads are their own keys.
fn insert(d: &mut RawDict, x: u64) {
    d.insert(mix(x), x, mix);
}

fn remove(d: &mut RawDict, x: u64) -> bool {
    d.remove(mix(x), |p| p == x, mix).is_some()
}

fn has(d: &RawDict, x: u64) -> bool {
    d.find(mix(x), |p| p == x).is_some()
}

#[test]
fn tags_match_alike() {
    let mut r = Rng::seeded(1);
    for _ in 0..20000 {
        let mut bytes = r.next().to_le_bytes();
        let tag = r.below(3) as u8 * 0x7f;
        bytes.iter_mut().skip(1).for_each(|b| *b %= 3);
        bytes
            .iter_mut()
            .skip(1)
            .for_each(|b| *b = b.wrapping_mul(0x7f).wrapping_add((*b == 2) as u8));
        let tag = tag.wrapping_add((tag == 0xfe) as u8);
        let naive = (0..7)
            .filter(|i| bytes[i + 1] == tag && bytes[0] >> i & 1 == 1)
            .fold(0, |m, i| m | 1 << i);
        let w = u64::from_le_bytes(bytes);
        assert_eq!(
            (match_tag(w, tag), match_tag_portable(w, tag)),
            (naive, naive),
            "{bytes:?} {tag}"
        );
    }
}

#[test]
fn raw_is_the_model() {
    for seed in 0..6 {
        let mut r = Rng::seeded(seed);
        let mut d = RawDict::new();
        let mut model = HashSet::new();
        for phase in 0..8 {
            // Grow and shrink by turns, under each policy.
            d.set_resize_enabled([DICT_RESIZE_ENABLE, DICT_RESIZE_AVOID][r.below(2) as usize]);
            let add = [90, 10][phase % 2];
            for _ in 0..6000 {
                let x = r.below(5000);
                if r.below(100) < add {
                    if model.insert(x) {
                        insert(&mut d, x);
                    }
                } else {
                    assert_eq!(remove(&mut d, x), model.remove(&x));
                }
                let x = r.below(5000);
                assert_eq!(has(&d, x), model.contains(&x));
                if r.below(500) == 0 && d.needs_resize() {
                    d.resize();
                }
            }
            check(&d);
            assert_eq!(d.len(), model.len());
            assert_eq!(d.iter().collect::<HashSet<_>>(), model);
            assert_eq!(d.iter().count(), model.len());
            let (mut v, mut scanned) = (0, HashSet::new());
            loop {
                v = d.scan(v, |p| _ = scanned.insert(p));
                if v == 0 {
                    break;
                }
            }
            assert_eq!(scanned, model);
        }
        d.clear(|| ());
        assert_eq!((d.len(), d.mem_usage(), d.iter().count()), (0, 0, 0));
    }
}

#[test]
fn same_hash_chains() {
    let mut d = RawDict::new();
    for x in 0..100 {
        d.insert(7, x, |_| 7);
    }
    check(&d);
    assert_eq!(d.replace(7, |p| p == 50, 1000), Some(50));
    for x in (0..100).filter(|x| *x != 50).chain([1000]) {
        assert_eq!(d.remove(7, |p| p == x, |_| 7), Some(x));
        check(&d);
    }
    assert_eq!((d.len(), d.chains), (0, [0, 0]));
}

/// What is there all the time is returned, however the table grows and shrinks meanwhile.
#[test]
fn scan_misses_nothing() {
    for seed in 0..30 {
        let mut r = Rng::seeded(seed);
        let mut d = RawDict::new();
        let stay: Vec<u64> = (0..1 + r.below(600)).collect();
        stay.iter().for_each(|x| insert(&mut d, *x));
        let mut others = Vec::new();
        let (mut v, mut seen, mut rounds) = (0, HashSet::new(), 0);
        loop {
            v = d.scan(v, |p| _ = seen.insert(p));
            if v == 0 {
                break;
            }
            rounds += 1;
            let grow = rounds / 20 % 2 == seed as u32 as usize % 2;
            for _ in 0..r.below(200) {
                if grow && others.len() < 20000 {
                    others.push(1000 + r.next() / 2);
                    insert(&mut d, others[others.len() - 1]);
                } else if let Some(x) = others.pop() {
                    assert!(remove(&mut d, x));
                }
            }
            if d.needs_resize() || r.below(10) == 0 {
                d.resize();
            }
        }
        let returned = stay.iter().filter(|x| seen.contains(x)).count();
        assert_eq!(returned, stay.len(), "all keys were returned that stayed");
    }
}

#[test]
fn cursor_allows_removal() {
    for seed in 0..10 {
        let mut r = Rng::seeded(seed);
        let mut d = RawDict::new();
        let n = 1 + r.below(3000);
        // Few hashes, so that there are long chains.
        let hash = |x: u64| if seed % 2 == 0 { mix(x) } else { mix(x % 20) };
        (0..n).for_each(|x| d.insert(hash(x), x, hash));
        d.pause_rehashing();
        let (mut c, mut seen) = (DictCursor::START, HashMap::new());
        while let Some(p) = d.next(&mut c) {
            *seen.entry(p).or_insert(0) += 1;
            if r.below(3) > 0 {
                assert!(d.remove(hash(p), |q| q == p, hash).is_some());
            }
        }
        assert!(seen.len() as u64 == n && seen.values().all(|n| *n == 1));
        d.resume_rehashing();
        check(&d);
    }
}

#[test]
fn random_is_fair() {
    let mut r = Rng::seeded(5);
    let mut d = RawDict::new();
    let n = 100;
    (0..n).for_each(|x| insert(&mut d, x));
    for (fair, lo, hi) in [(true, 800, 1200), (false, 500, 1300)] {
        let mut hits = vec![0; n as usize];
        for _ in 0..n * 1000 {
            let p = if fair { d.fair_random(|| r.next()) } else { d.random(|| r.next()) };
            hits[p.unwrap() as usize] += 1;
        }
        let (min, max) = (hits.iter().min().unwrap(), hits.iter().max().unwrap());
        assert!(*min > lo && *max < hi, "from {min} to {max}");
    }
    // A desert with one oasis.
    (1..n).for_each(|x| _ = remove(&mut d, x));
    d.try_expand(1 << 20);
    while d.rehash_steps(1000, mix) {}
    assert_eq!(d.random(|| r.next()), Some(0));
    let mut some = vec![];
    (0..n).for_each(|x| insert(&mut d, x + 1));
    assert!(d.get_some(10, || r.next(), |p| some.push(p)) <= 10);
    assert!(some.iter().all(|p| *p <= n));
}

/// Entries are taken out one by one, each once, while the table grows, shrinks and is rehashed.
#[test]
fn random_entries_are_taken_out() {
    let mut r = Rng::seeded(9);
    let mut d: Dict<SdsEntry> = Dict::with_seed(HashSeed::new([3; 16]));
    let mut left = HashSet::new();
    for round in 0..4u32 {
        for n in 0..700 {
            let key = (round << 16 | n).to_be_bytes();
            assert!(dictAdd(&mut d, SdsEntry::new(&key)).is_ok());
            left.insert(key.to_vec());
            if n % 3 == 0 {
                let taken = dict_unlink_fair_random(&mut d, || r.next()).unwrap();
                assert!(left.remove(taken.as_slice()));
            }
        }
        while left.len() > round as usize {
            let taken = dict_unlink_fair_random(&mut d, || r.next()).unwrap();
            assert!(left.remove(taken.as_slice()) && dictFind(&d, taken.as_slice()).is_none());
            if htNeedsResize(&d) {
                dictResize(&mut d);
            }
            if left.len() % 50 == 0 {
                check(&d.raw);
            }
        }
        assert!(left.iter().all(|key| dictFind(&d, key).is_some()) && dictSize(&d) == left.len());
    }
    d = Dict::default();
    assert!(dict_unlink_fair_random(&mut d, || r.next()).is_none());
}

#[test]
fn policy() {
    let fill = |d: &mut RawDict, n: u64| (0..n).for_each(|x| insert(d, x));
    let mut d = RawDict::new();
    d.set_resize_enabled(DICT_RESIZE_FORBID);
    fill(&mut d, 100);
    assert_eq!(d.slots(), 6, "the first bucket, and chains");
    d = RawDict::new();
    d.set_resize_enabled(DICT_RESIZE_AVOID);
    fill(&mut d, 36);
    assert_eq!(d.slots(), 6);
    insert(&mut d, 36);
    assert!(d.is_rehashing(), "six times too small is too small");
    d = RawDict::new();
    d.set_expand_allowed(false);
    fill(&mut d, 6);
    assert_eq!(d.growth_pending(), Some(2 * BUCKET));
    fill(&mut d, 6);
    assert_eq!(d.slots(), 6);
    assert!(!d.try_expand(usize::MAX), "no such memory");
    // No step while paused.
    d.try_expand(1000);
    d.pause_rehashing();
    d.rehash_steps(100, mix);
    assert!(d.used[0] == 12 && d.is_rehashing());
    d.resume_rehashing();
    assert_eq!(d.rehash_milliseconds(1, || 0, mix), 0);
    assert!(!d.is_rehashing());
}

/// Grows over mapped arrays and shrinks back, and no step passes more than a few buckets.
#[test]
fn no_step_is_long() {
    let mut d = RawDict::new();
    let n = 1_500_000;
    let step = |d: &mut RawDict, longest: &mut usize, f: &mut dyn FnMut(&mut RawDict)| {
        let before = d.rehashidx;
        f(d);
        // With nothing left to move, the rest of the array is passed a piece at a time.
        if before != NOT_REHASHING && d.is_rehashing() && d.used[0] > 0 {
            *longest = d.rehashidx.saturating_sub(before).max(*longest);
        }
    };
    let mut longest = 0;
    for x in 0..n {
        step(&mut d, &mut longest, &mut |d| insert(d, x));
    }
    check(&d);
    for x in 100..n {
        step(&mut d, &mut longest, &mut |d| assert!(remove(d, x)));
    }
    // One that is moved, and fewer than ten empty ones.
    assert!(longest > 0 && longest <= 10, "{longest} buckets");
    let (mut longest, mut more) = (0, true);
    step(&mut d, &mut longest, &mut |d| assert!(d.resize()));
    assert_eq!(longest, 0, "resizing moves nothing");
    while more {
        step(&mut d, &mut longest, &mut |d| more = d.rehash_steps(100, mix));
    }
    assert!(longest > 0 && longest < 1100, "{longest} buckets in a hundred steps");
    check(&d);
    assert_eq!((d.len(), d.slots()), (100, 192));
    assert!((0..100).all(|x| has(&d, x)));
}

#[test]
fn stats_read_like_the_c() {
    let mut d = RawDict::new();
    assert_eq!(
        d.stats(),
        b"Hash table 0 stats (main hash table):\nNo stats available for empty dictionaries\n"
    );
    (0..3).for_each(|x| insert(&mut d, x));
    assert_eq!(
        String::from_utf8(d.stats()).unwrap(),
        "Hash table 0 stats (main hash table):\n table size: 1\n number of elements: 3\n different slots: 1\n \
             max chain length: 3\n avg chain length (counted): 3.00\n avg chain length (computed): 3.00\n \
             Chain length distribution:\n   3: 1 (100.00%)\n"
    );
}

fn bytes(r: &mut Rng) -> Vec<u8> {
    let n = [5, 20, 70, 300, 600][r.below(5) as usize];
    vec![r.next() as u8; r.below(n) as usize]
}

#[test]
fn pairs_are_the_model() {
    for seed in 0..4 {
        let mut r = Rng::seeded(seed);
        let mut d: Dict<PairEntry> = Dict::default();
        let mut model = BTreeMap::new();
        for step in 0..8000 {
            let mut field = r.below(400).to_string().into_bytes();
            if field.len() == 1 {
                field.resize(400, b'f');
            }
            let value = bytes(&mut r);
            match r.below(5) {
                0 => {
                    let added = dictAdd(&mut d, PairEntry::new(&field, &value)).is_ok();
                    assert_eq!(added, !model.contains_key(&field));
                    model.entry(field).or_insert(value);
                }
                1 => {
                    let old = dictReplace(&mut d, PairEntry::new(&field, &value));
                    assert_eq!(old.map(|e| e.value().to_vec()), model.insert(field, value));
                }
                2 => {
                    let (e, added) =
                        dictAddOrFind(&mut d, &field, || PairEntry::new(&field, b"new"));
                    if !added {
                        e.set_value(&value);
                    }
                    assert_eq!(
                        model.insert(field, if added { b"new".to_vec() } else { value }).is_none(),
                        added
                    );
                }
                3 => assert_eq!(dictDelete(&mut d, &field), model.remove(&field).is_some()),
                _ => assert_eq!(
                    dictFind(&d, &field).map(|e| (e.field(), e.value())),
                    model.get(&field).map(|v| (&field[..], &v[..]))
                ),
            }
            if step % 1000 == 0 {
                let all = d
                    .iter()
                    .map(|e| (e.field().to_vec(), e.value().to_vec()))
                    .collect::<BTreeMap<_, _>>();
                assert_eq!(all, model);
            }
        }
        assert_eq!(dictSize(&d), model.len());
    }
}

#[test]
fn members_and_boxes() {
    let mut r = Rng::seeded(3);
    let mut d: Dict<SdsEntry> = Dict::with_seed(HashSeed::new([3; 16]));
    let long = vec![b'm'; 1000];
    assert!(
        dictAdd(&mut d, SdsEntry::new(&long)).is_ok()
            && dictAdd(&mut d, SdsEntry::new(&long)).is_err()
    );
    assert!(dictAdd(&mut d, SdsEntry::new(b"")).is_ok());
    for n in 0..200u32 {
        assert!(dictAdd(&mut d, SdsEntry::new(&n.to_be_bytes())).is_ok());
    }
    assert_eq!(SdsEntry::new(b"1234567").alloc_size(), 8);
    assert_eq!(PairEntry::new(b"1234567", b"1234567").alloc_size(), 16);
    assert!(
        dictGetRandomKey(&d, || r.next()).is_some()
            && dictGetFairRandomKey(&d, || r.next()).is_some()
    );
    assert_eq!(
        dictGetSomeKeys(&d, 7, || r.next(), |e| assert!(dictFind(&d, e.as_slice()).is_some())),
        7
    );
    let (mut v, mut seen) = (0, HashSet::new());
    loop {
        v = dictScan(&d, v, |e| _ = seen.insert(e.as_slice()));
        if v == 0 {
            break;
        }
    }
    assert_eq!(seen.len(), 202);
    dictPauseRehashing(&mut d);
    let mut c = DictCursor::START;
    while let Some(m) = dictNext(&d, &mut c).map(|e| e.as_slice().to_vec()) {
        assert!(dictDelete(&mut d, &m));
    }
    dictResumeRehashing(&mut d);
    assert_eq!(dictSize(&d), 0);
    while dictRehash(&mut d, 10) {}
    assert!(htNeedsResize(&d) && dictResize(&mut d));
    while dictRehash(&mut d, 10) {}
    assert_eq!(dictSlots(&d), 6);

    struct Named(Vec<u8>, u32);
    impl Keyed for Named {
        fn key(&self) -> &[u8] {
            &self.0
        }
    }
    let mut d: Dict<Box<Named>> = Dict::default();
    assert!(dictAdd(&mut d, Box::new(Named(b"a".to_vec(), 1))).is_ok());
    let (a, added) = dictAddOrFind(&mut d, b"a", || unreachable!("the key is there"));
    a.1 += 1;
    assert!(!added);
    assert_eq!(dictUnlink(&mut d, b"a").unwrap().1, 2);
}

/// A table of a few million entries goes without recursion, and within a moment.
#[test]
fn a_batch_adds_each_key_once() {
    let mut d: Dict<SdsEntry> = Dict::default();
    let mut batch = DictBatch::default();
    let key = |i: u32| SdsEntry::new(&i.to_be_bytes());
    assert!((0..1000).all(|i| dict_add_later(&mut d, &mut batch, key(i))));
    assert!(dict_add_batch(&mut d, &mut batch));
    assert_eq!(dictSize(&d), 1000);
    assert!((0..1000u32).all(|i| dictFind(&d, &i.to_be_bytes()).is_some()));

    // One that is in the table, and one that waits: neither gets there twice, and those after them
    // get there.
    for twice in [[5, 1000, 1001], [2000, 2000, 2001]] {
        let before = dictSize(&d);
        twice.into_iter().for_each(|i| assert!(dict_add_later(&mut d, &mut batch, key(i))));
        assert!(!dict_add_batch(&mut d, &mut batch));
        assert_eq!(dictSize(&d), before + 2);
    }
    // What waits when its batch goes is freed.
    dict_add_later(&mut d, &mut batch, key(3000));
}

#[test]
fn large_table_is_dropped() {
    let mut d: Dict<SdsEntry> = Dict::default();
    dictExpand(&mut d, 300_000);
    for n in 0..300_000u32 {
        _ = dictAdd(&mut d, SdsEntry::new(&n.to_be_bytes()));
    }
    let mut calls = 0;
    dictEmpty(&mut d, || calls += 1);
    assert_eq!((calls, dictSize(&d)), (5, 0));
}

/// Tables and chained buckets move, whole tables and such as are being rehashed, and all is found
/// and scanned as before.
#[test]
fn what_a_table_is_made_of_moves() {
    use crate::sys::defrag::tests::moving_always;
    let mut r = Rng::new();
    for _ in 0..40 {
        // Few different hashes make long chains.
        let (n, hashes) = (r.below(300), 1 + r.below(200) as u64);
        let hash = |x: u64| mix(x % hashes);
        let mut d = RawDict::new();
        (0..n).for_each(|x| d.insert(hash(x), x, hash));
        if r.below(2) == 0 {
            d.try_expand(n as usize * 8);
            d.rehash_steps(r.below(9), hash);
        }
        let mut moves = moving_always(Defrag::new);
        let chained = (d.chains[0] + d.chains[1]) as i64;
        d.defrag_tables(&mut moves);
        // One without entries has a table only if it was expanded.
        let tables = d.table.iter().filter(|table| !table.is_null()).count() as i64;
        assert_eq!((moves.hits, moves.misses), (tables, 0));
        let (mut v, mut seen) = (0, HashSet::new());
        loop {
            v = d.defrag_scan(v, &mut moves, |x, _| _ = seen.insert(x));
            if v == 0 {
                break;
            }
        }
        check(&d);
        assert_eq!(seen.len(), n as usize);
        assert!((0..n).all(|x| d.find(hash(x), |p| p == x).is_some()));
        assert_eq!(moves.hits, tables + chained, "each once");

        // A scan of a larger table, at whose cursors the buckets of this one are moved, comes by
        // each of them once.
        let mut large = RawDict::new();
        (0..n * 16 + 100).for_each(|x| insert(&mut large, x));
        let mut moves = moving_always(Defrag::new);
        let mut v = 0;
        loop {
            if d.is_first_visit(v) {
                d.defrag_buckets(v, &mut moves);
            }
            v = large.scan(v, |_| ());
            if v == 0 {
                break;
            }
        }
        if !large.is_rehashing() && !d.is_rehashing() {
            assert_eq!(moves.hits, chained);
        }
        check(&d);
    }
}

/// Members and pairs move, values outside of their pair too, and are what they were.
#[test]
fn entries_move() {
    use crate::sys::defrag::tests::moving_always;
    let mut r = Rng::new();
    let (mut pairs, mut members) = (Dict::<PairEntry>::default(), Dict::<SdsEntry>::default());
    let mut model = HashMap::new();
    for i in 0..500 {
        let field = [format!("{i}-").as_bytes(), &bytes(&mut r)].concat();
        let len = [0, 9, 64, 65, 400][r.below(5)];
        let value = r.bytes(len);
        dictAdd(&mut pairs, PairEntry::new(&field, &value)).ok().unwrap();
        dictAdd(&mut members, SdsEntry::new(&field)).ok().unwrap();
        model.insert(field, value);
    }
    let outside = model.values().filter(|v| v.len() > PAIR_INLINE_MAX).count() as i64;
    for _ in 0..2 {
        let mut moves = moving_always(Defrag::new);
        let mut n = 0;
        let mut v = 0;
        loop {
            v = dict_defrag_scan(&mut pairs, v, &mut moves, |e, _| {
                let mut own = moving_always(Defrag::new);
                e.defrag(&mut own);
                n += own.hits;
            });
            if v == 0 {
                break;
            }
        }
        loop {
            v = dict_defrag_scan(&mut members, v, &mut moves, |e, moves| e.defrag(moves));
            if v == 0 {
                break;
            }
        }
        dictDefragTables(&mut pairs, &mut moves);
        assert_eq!(n, 500 + outside, "nobody is moved twice");
        assert!(moves.hits >= 500);
        for (field, value) in &model {
            assert_eq!(dictFind(&pairs, field).unwrap().value(), &value[..]);
            assert!(dictFind(&members, field).is_some());
        }
    }
}
