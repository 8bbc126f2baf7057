use super::block::*;
use super::value::*;
use super::*;
use crate::ds::dict::{DictCursor, dictResizeEnable};
use crate::ds::quicklist::*;
use crate::ds::siphash::HashSeed;
use crate::ds::ziplist::ZiplistEntry;
use crate::testing::Rng;
use crate::types::t_hash::{
    HashLimits, HashRef, createHashObject, hashTypeDelete, hashTypeInitIterator, hashTypeLength,
    hashTypeSet, with_entry_bytes,
};
use crate::types::t_set::{Set, SetLimits, createIntsetObject, setTypeAdd, setTypeSize};
use crate::types::t_zset::{ZADD_IN_NONE, ZsetLimits, createZsetZiplistObject, zsetAdd};
use std::collections::BTreeMap;

fn keyspace() -> Keyspace {
    Keyspace::new(HashSeed::new(*b"0123456789abcdef"))
}

#[derive(Clone, PartialEq, Debug)]
enum Model {
    Int(i64),
    Str(Vec<u8>, u8),
}

fn check(e: Entry, m: &(Model, Option<i64>, u32)) {
    match (&m.0, e.value()) {
        (Model::Int(n), ValueRef::Int(v)) => {
            assert_eq!((*n, e.encoding()), (v, OBJ_ENCODING_INT))
        }
        (Model::Str(s, encoding), ValueRef::Str(v)) => {
            assert_eq!((&s[..], *encoding), (v, e.encoding()))
        }
        _ => panic!("another kind of value"),
    }
    assert_eq!((e.expire(), e.lru(), e.type_of()), (m.1, m.2, OBJ_STRING));
}

fn check_all(ks: &Keyspace, model: &BTreeMap<Vec<u8>, (Model, Option<i64>, u32)>) {
    assert_eq!(ks.len(), model.len());
    assert_eq!(ks.expires_len(), model.values().filter(|m| m.1.is_some()).count());
    assert_eq!(ks.iter().count(), model.len());
    ks.iter().for_each(|e| check(e, &model[e.key()]));
    for (k, m) in model {
        check(ks.entry(ks.find(k).expect("there")), m);
    }
    let (mut v, mut n) = (0, 0);
    loop {
        v = ks.scan_expires(v, |k| n += ks.expire(k).is_some() as usize);
        if v == 0 {
            break;
        }
    }
    assert!(n >= ks.expires_len());
}

#[test]
fn keyspace_is_the_model() {
    for seed in 0..4 {
        let mut r = Rng::seeded(seed);
        let mut ks = keyspace();
        let mut model: BTreeMap<Vec<u8>, (Model, Option<i64>, u32)> = BTreeMap::new();
        for step in 0..20000u32 {
            // Keys of all lengths, a few of them longer than the short length can say.
            let id = r.below(2000);
            let len = if id == 0 { 70000 } else { id as usize % 50 };
            let mut key = format!("k{id}").into_bytes();
            key.resize(key.len() + len, b'x');
            let bytes = |r: &mut Rng| {
                let n = [10, 50, 70, 300, 70000][r.below(5) as usize];
                vec![r.next() as u8; r.below(n) as usize]
            };
            let value = |r: &mut Rng| match r.below(3) {
                0 => {
                    let n = r.next() as i64;
                    (Object::Int(n), Model::Int(n))
                }
                1 => {
                    let b = bytes(r);
                    (Object::Raw(b.clone()), Model::Str(b, OBJ_ENCODING_RAW))
                }
                _ => {
                    let b = bytes(r);
                    (Object::Str(b.clone()), Model::Str(b.clone(), string_encoding(b.len())))
                }
            };
            let found = ks.find(&key);
            assert_eq!(found.is_some(), model.contains_key(&key));
            let Some(k) = found else {
                if r.below(2) == 0 && step < 15000 || r.below(8) == 0 {
                    let (o, m) = value(&mut r);
                    let k = ks.add(&key, o);
                    assert_eq!(ks.key(k), &key[..]);
                    model.insert(key, (m, None, 0));
                }
                continue;
            };
            let m = model.get_mut(&key).unwrap();
            let k = match r.below(8) {
                0 | 1 => {
                    let (o, new) = value(&mut r);
                    m.0 = new;
                    ks.set_value(k, o)
                }
                2 => {
                    let (o, new) = value(&mut r);
                    let (k, old) = ks.replace_value(k, o);
                    match (old, std::mem::replace(&mut m.0, new)) {
                        (Object::Int(a), Model::Int(b)) => assert_eq!(a, b),
                        (Object::Str(a) | Object::Raw(a), Model::Str(b, _)) => assert_eq!(a, b),
                        _ => panic!("another kind of value"),
                    }
                    k
                }
                3 => {
                    m.1 = Some(step as i64);
                    ks.set_expire(k, step as i64)
                }
                4 => {
                    m.1 = None;
                    ks.remove_expire(k)
                }
                5 => {
                    let add = bytes(&mut r);
                    let (k, len) = ks.string_mut(k, |s| {
                        s.append(&add);
                        s.set_range(3, b"abc");
                        s.len()
                    });
                    let mut s = match &m.0 {
                        Model::Int(n) => n.to_string().into_bytes(),
                        Model::Str(s, _) => s.clone(),
                    };
                    s.extend_from_slice(&add);
                    s.resize(s.len().max(6), 0);
                    s[3..6].copy_from_slice(b"abc");
                    assert_eq!(len, s.len());
                    m.0 = Model::Str(s, OBJ_ENCODING_RAW);
                    k
                }
                6 => {
                    m.2 = r.next() as u32 & 0xffffff;
                    ks.set_lru(k, m.2);
                    m.0 = Model::Int(7);
                    ks.set_int(k, 7)
                }
                _ => {
                    let e = ks.remove(k);
                    check(e.view(), m);
                    let encoding = e.encoding();
                    assert_eq!(e.into_object().encoding(), encoding);
                    model.remove(&key);
                    assert!(!ks.contains(k));
                    continue;
                }
            };
            check(ks.entry(k), &model[&key]);
            if step % 1000 == 0 {
                ks.resize_if_needed();
            }
            if step % 5000 == 0 {
                check_all(&ks, &model);
            }
        }
        check_all(&ks, &model);
        let taken = ks.take();
        assert_eq!((ks.len(), ks.expires_len(), ks.mem_usage()), (0, 0, 0));
        check_all(&taken, &model);
        std::thread::scope(|s| s.spawn(move || drop(taken)).join()).unwrap();
    }
}

#[test]
fn small_keys_take_40_bytes() {
    let mut ks = keyspace();
    let k = ks.add(b"0123456789abcdef", &b"0123456789abcdef"[..]);
    assert_eq!((ks.alloc_size(k), ks.encoding(k)), (40, OBJ_ENCODING_EMBSTR));
    let k = ks.set_expire(k, 1);
    assert_eq!(ks.alloc_size(k), 48);
    let k = ks.add(b"12345678", 5);
    assert_eq!(ks.alloc_size(k), 24);
    for n in 0..300000u32 {
        ks.add(&n.to_be_bytes(), n as i64);
    }
    assert!(ks.mem_usage() / ks.len() < 32, "{} bytes of table a key", ks.mem_usage() / ks.len());
}

const HASH_LIMITS: HashLimits =
    HashLimits { entries: 40, value: 64, resize: dictResizeEnable::DICT_RESIZE_ENABLE };

fn fields(hash: HashRef) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let bytes = |e| with_entry_bytes(e, <[u8]>::to_vec);
    hashTypeInitIterator(hash).map(|(field, value)| (bytes(field), bytes(value))).collect()
}

/// Hashes that grow, shrink, become tables, get and lose an expire, and are packed again at some
/// time or other.
#[test]
fn packed_values_are_the_model() {
    for seed in 0..8 {
        let mut r = Rng::seeded(seed);
        let mut ks = keyspace();
        type Fields = BTreeMap<Vec<u8>, Vec<u8>>;
        let mut model: BTreeMap<Vec<u8>, (Fields, Option<i64>)> = BTreeMap::new();
        for step in 0..20000i64 {
            let id = r.below(60);
            let mut key = format!("k{id}").into_bytes();
            // Beyond the longest key that may have its value inline, and beyond the longest of a
            // short length.
            let long = [0, 0, 0, 7, 1022, 1023, 70000][id % 7];
            key.resize(key.len() + long, b'x');
            let Some(k) = ks.find(&key) else {
                ks.add(&key, createHashObject());
                model.insert(key, Default::default());
                continue;
            };
            let (m, expire) = model.get_mut(&key).unwrap();
            match r.below(16) {
                0 => {
                    *expire = Some(step);
                    ks.set_expire(k, step);
                }
                1 => {
                    *expire = None;
                    ks.remove_expire(k);
                }
                2 => {
                    let e = ks.remove(k);
                    let Object::Aggregate(Aggregate::Hash(hash)) = e.into_object() else {
                        panic!("a hash")
                    };
                    assert_eq!(&fields(hash.as_ref()), m);
                    model.remove(&key);
                }
                3 => {
                    let (_, old) = ks.replace_value(k, createHashObject());
                    let Object::Aggregate(old) = old else { panic!("a hash") };
                    let AggregateRef::Hash(hash) = old.as_ref() else { panic!("a hash") };
                    assert_eq!(&fields(hash), m);
                    m.clear();
                }
                4 => {
                    // From a hash to a string and back.
                    let k = ks.set_value(k, &b"string"[..]);
                    ks.set_value(k, createHashObject());
                    m.clear();
                }
                5..=7 => {
                    let mut hash = ks.hash_value_mut(k);
                    for n in 0..r.below(60) {
                        let field = n.to_string().into_bytes();
                        let deleted = hashTypeDelete(&mut hash, &field, HASH_LIMITS);
                        assert_eq!(deleted, m.remove(&field).is_some());
                    }
                }
                8 => ks.repack_small(),
                _ => {
                    for _ in 0..r.below(3) {
                        let mut hash = ks.hash_value_mut(k);
                        let field = r.below(60).to_string().into_bytes();
                        let value = vec![b'v'; r.below(20)];
                        hashTypeSet(&mut hash, &field, &value, HASH_LIMITS);
                        m.insert(field, value);
                    }
                }
            }
            if let (Some(k), Some((m, expire))) = (ks.find(&key), model.get(&key)) {
                assert_eq!((&fields(ks.hash_value(k)), &ks.expire(k)), (m, expire));
                assert_eq!(ks.key(k), &key[..]);
                assert!(ks.alloc_size(k) > key.len());
            }
        }
        ks.repack_small();
        for e in ks.iter() {
            let ValueRef::Aggregate(AggregateRef::Hash(hash)) = e.value() else { panic!("a hash") };
            assert_eq!((&fields(hash), &e.expire()), {
                let (m, expire) = &model[e.key()];
                (m, expire)
            });
            assert_eq!(e.location() == ValueLocation::Packed, {
                let small = AggregateRef::Hash(hash).packed_size() <= INLINE_PACKED_MAX;
                matches!(hash, HashRef::Ziplist(_))
                    && small
                    && e.key().len() <= INLINE_PACKED_KEY_MAX
            });
        }
        let taken = ks.take();
        std::thread::scope(|s| s.spawn(move || drop(taken)).join()).unwrap();
    }
}

#[test]
fn small_values_lie_with_their_keys() {
    let mut ks = keyspace();
    let (mut hash, mut zset, mut set) =
        (createHashObject(), createZsetZiplistObject(), createIntsetObject());
    for n in 0..10 {
        let (field, value) = (format!("f{n}"), format!("v{n}"));
        hashTypeSet(&mut hash, field.as_bytes(), value.as_bytes(), HASH_LIMITS);
        let limits = ZsetLimits { entries: 128, value: 64, resize: HASH_LIMITS.resize };
        zsetAdd(&mut zset, n as f64, field.as_bytes(), ZADD_IN_NONE, &limits).unwrap();
        let limits = SetLimits { entries: 128, resize: HASH_LIMITS.resize };
        setTypeAdd(&mut set, n.to_string().as_bytes(), limits);
    }
    // C: 14 bytes of key are 16, and with a dictEntry, an object and the packed bytes it is 152,
    // 136 and 88.
    let k = ks.add(b"h:000000000000", hash);
    assert_eq!(ks.alloc_size(k), 112);
    let k = ks.add(b"z:000000000000", zset);
    assert_eq!(ks.alloc_size(k), 96);
    let k = ks.add(b"s:000000000000", set);
    assert_eq!(ks.alloc_size(k), 56);
}

/// A set may go from one packed form to another in a block of the same size.
#[test]
fn an_intset_becomes_strings_in_its_block() {
    let mut ks = keyspace();
    let limits = SetLimits { entries: 128, resize: HASH_LIMITS.resize };
    for longest in 1..30 {
        let key = vec![b'k'; longest];
        let k = ks.add(&key, createIntsetObject());
        for n in 0..longest {
            assert!(setTypeAdd(&mut ks.set_mut(k), n.to_string().as_bytes(), limits));
        }
        assert_eq!(ks.encoding(k), OBJ_ENCODING_INTSET);
        assert!(setTypeAdd(&mut ks.set_mut(k), &vec![b'w'; longest], limits));
        assert_eq!(ks.encoding(k), OBJ_ENCODING_HT);
        assert_eq!(setTypeSize(ks.set(k)), longest + 1);
        assert!(!setTypeAdd(&mut ks.set_mut(k), b"0", limits));
        ks.repack_small();
        let k = ks.find(&key).unwrap();
        assert!(ks.entry(k).location() == ValueLocation::Packed);
        assert_eq!(setTypeSize(ks.set(k)), longest + 1);
    }
}

/// A list lies in its key's block, whatever its size, and moves with it.
#[test]
fn lists_lie_with_their_keys() {
    let mut ks = keyspace();
    let values = |ks: &Keyspace, k| {
        let (mut li, mut n) = (quicklist_read(ks.list(k), AL_START_HEAD, 0), 0);
        while let Some(entry) = li.read() {
            assert_eq!(entry, ZiplistEntry::Int(n));
            n += 1;
        }
        n
    };
    for klen in [1, 7, 8, 9, 70_000] {
        let key = vec![b'k'; klen];
        let mut k = ks.add(&key, quicklistNew(2, 0));
        for n in 0..40 {
            quicklistPushTail(ks.list_mut(k), n.to_string().as_bytes());
            k = if n % 3 == 0 { ks.remove_expire(k) } else { ks.set_expire(k, 7) };
            assert!(ks.entry(k).location() == ValueLocation::List);
            assert_eq!((values(&ks, k), ks.expire(k)), (n + 1, (n % 3 != 0).then_some(7)));
            assert_eq!((ks.key(k), ks.encoding(k)), (&key[..], OBJ_ENCODING_QUICKLIST));
        }
        let old = ks.replace_value(k, &b"string"[..]).1;
        assert!(matches!(old, Object::Aggregate(Aggregate::List(ql)) if quicklistCount(&ql) == 40));
    }
    let k = ks.add(b"l:000000000000", quicklistNew(-2, 0));
    assert_eq!(ks.alloc_size(k), 40);
}

/// A value that is being changed stays where it is, and so do the references to its key.
#[test]
fn a_changed_value_moves_when_it_is_repacked() {
    let mut ks = keyspace();
    let k = ks.add(b"key", createHashObject());
    let before = ks.alloc_size(k);
    for n in 0..10 {
        let field = n.to_string().into_bytes();
        hashTypeSet(&mut ks.hash_value_mut(k), &field, b"value", HASH_LIMITS);
        assert_eq!(hashTypeLength(ks.hash_value(k)), n + 1);
    }
    assert!(ks.entry(k).location() == ValueLocation::Pointer && ks.alloc_size(k) > before);
    ks.repack_small();
    assert!(!ks.contains(k));
    let k = ks.find(b"key").unwrap();
    assert!(ks.entry(k).location() == ValueLocation::Packed && ks.pending_repack.is_empty());
    // A table takes no more than its pointer.
    for n in 10..50 {
        let field = n.to_string().into_bytes();
        hashTypeSet(&mut ks.hash_value_mut(k), &field, b"value", HASH_LIMITS);
    }
    ks.repack_small();
    let k = ks.find(b"key").unwrap();
    assert_eq!((ks.encoding(k), ks.alloc_size(k)), (OBJ_ENCODING_HT, 24));
}

#[test]
#[should_panic(expected = "never came back")]
fn a_value_that_was_lent_and_forgotten_is_missed() {
    let mut ks = keyspace();
    let k = ks.add(b"key", Set::Ht(Box::default()));
    ks.set_mut(k).lose();
    ks.get(k);
}

#[test]
fn what_fits_stays_in_place() {
    let mut ks = keyspace();
    let k = ks.add(b"key", &b"0123456789"[..]);
    // 21 bytes are 24 in fact, so there is room for a value of 13.
    let same = ks.set_value(k, &b"abcdefghijklm"[..]);
    assert_eq!(same.payload, k.payload);
    assert!(matches!(ks.get(k), ValueRef::Str(b"abcdefghijklm")));
    let n = ks.add(b"n", 1);
    assert_eq!(ks.set_int(n, 2).payload, n.payload);
    assert!(matches!(ks.get(n), ValueRef::Int(2)));
    assert!(ks.find(b"nothing").is_none());
    if let ValueMut::Str(s) = ks.get_mut(k) {
        s[0] = b'X';
    }
    assert!(matches!(ks.get(k), ValueRef::Str(b"Xbcdefghijklm")));
}

#[test]
fn growing_strings_are_not_copied_each_time() {
    let mut ks = keyspace();
    let mut k = ks.add(b"key", &b""[..]);
    let mut places = std::collections::BTreeSet::new();
    for _ in 0..100000 {
        (k, _) = ks.string_mut(k, |s| {
            s.append(b"x");
            places.insert(s.as_ptr().addr());
        });
    }
    assert!(places.len() < 30, "{} places", places.len());
    let (_, cap) = ks.string_mut(k, |s| {
        s.grow_zero(3 * MAX_PREALLOC);
        s.0.capacity()
    });
    assert_eq!(cap, 4 * MAX_PREALLOC);
}

#[test]
fn references_survive_what_happens_to_others() {
    let mut ks = keyspace();
    let a = ks.add(b"a", &b"one"[..]);
    let b = ks.add(b"b", &b"two"[..]);
    drop(ks.remove(b));
    assert_eq!(ks.key(a), b"a");
    assert!(ks.contains(a) && !ks.contains(b));
}

#[test]
#[should_panic(expected = "stale KeyRef")]
fn removed_key_is_stale() {
    let mut ks = keyspace();
    let k = ks.add(b"key", 1);
    drop(ks.remove(k));
    ks.get(k);
}

#[test]
#[should_panic(expected = "stale KeyRef")]
fn moved_key_is_stale() {
    let mut ks = keyspace();
    let k = ks.add(b"key", 1);
    let moved = ks.set_value(k, &[1u8; 60][..]);
    assert_eq!(ks.key(moved), b"key");
    ks.get(k);
}

#[test]
#[should_panic(expected = "stale KeyRef")]
fn key_of_another_keyspace_is_stale() {
    let mut ks = keyspace();
    let other = keyspace();
    let k = ks.add(b"key", 1);
    other.get(k);
}

#[test]
#[should_panic(expected = "stale KeyRef")]
fn taken_key_is_stale() {
    let mut ks = keyspace();
    let k = ks.add(b"key", 1);
    let _taken = ks.take();
    ks.get(k);
}

#[test]
fn iteration_allows_removal() {
    let mut ks = keyspace();
    for n in 0..5000u32 {
        let k = ks.add(&n.to_be_bytes(), n as i64);
        if n % 3 == 0 {
            ks.set_expire(k, 1);
        }
    }
    ks.pause_rehashing();
    let (mut c, mut seen) = (DictCursor::START, 0);
    while let Some(k) = ks.next(&mut c) {
        seen += 1;
        if ks.expire(k).is_some() {
            drop(ks.remove(k));
        }
    }
    ks.resume_rehashing();
    assert_eq!((seen, ks.expires_len(), ks.len()), (5000, 0, 5000 - 1667));
    let mut calls = 0;
    ks.empty(|| calls += 1);
    assert_eq!((calls, ks.len()), (1, 0));
    assert!(ks.random_key(|| 0).is_none());
}

#[test]
fn samples_are_keys() {
    let mut ks = keyspace();
    let mut r = Rng::seeded(9);
    for n in 0..1000u32 {
        let key = n.to_be_bytes();
        ks.add_full(&key, ks.hash(&key), Value::Int(n as i64), (n < 10).then_some(5), 3);
    }
    for _ in 0..100 {
        let k = ks.random_expire(|| r.next()).unwrap();
        assert_eq!((ks.expire(k), ks.lru(k)), (Some(5), 3));
        assert!(ks.random_key(|| r.next()).is_some_and(|k| ks.contains(k)));
    }
    assert_eq!(ks.get_some_expires(100, || r.next(), |k| assert_eq!(ks.expire(k), Some(5))), 10);
    assert_eq!(ks.get_some_keys(16, || r.next(), |k| assert_eq!(ks.lru(k), 3)), 16);
    for n in 0..1200u32 {
        let h = ks.hash(&n.to_be_bytes());
        ks.prefetch_bucket(h);
        let mut guess = KeyGuess::new(h);
        ks.prefetch_entry(&mut guess);
        if let Some(entry) = ks.guessed(&guess) {
            entry.prefetch_value();
        }
    }
}

/// An entry in the second bucket of a chain is guessed when that bucket has come.
#[test]
fn chained_entries_are_guessed() {
    let mut ks = Keyspace::new(HashSeed::new(*b"sixteen bytes...")); // No two tags are equal.
    ks.set_expand_allowed(false);
    let keys: Vec<[u8; 1]> = (0..12).map(|n| [n]).collect();
    for key in &keys {
        ks.add(key, Value::Int(0));
    }
    let mut in_second_bucket = 0;
    for key in &keys {
        let mut guess = KeyGuess::new(ks.hash(key));
        ks.prefetch_entry(&mut guess);
        if ks.guessed(&guess).is_none() {
            ks.prefetch_chained_entry(&mut guess);
            in_second_bucket += 1;
        }
        assert!(ks.guessed(&guess).is_some_and(|entry| entry.key() == key), "{key:?}");
    }
    assert_eq!(in_second_bucket, 12 - 6);
    let mut guess = KeyGuess::new(ks.hash(b"none"));
    ks.prefetch_chained_entry(&mut guess);
    assert!(ks.guessed(&guess).is_none());
}

/// A guess saves the search where it is right, and never finds what a search would not.
#[test]
fn guesses_find_what_a_search_finds() {
    let mut ks = Keyspace::new(HashSeed::random());
    let mut guesses = Vec::new();
    for n in 0..300u32 {
        let key = n.to_be_bytes();
        if n % 3 != 0 {
            ks.add(&key, Value::Int(n as i64));
        }
    }
    for n in 0..300u32 {
        let mut guess = KeyGuess::new(ks.hash(&n.to_be_bytes()));
        ks.prefetch_entry(&mut guess);
        guesses.push((n.to_be_bytes(), guess));
    }
    // Only the first buckets of chains are looked at.
    let right = guesses
        .iter()
        .filter(|(key, guess)| ks.guessed(guess).is_some_and(|entry| entry.key() == key));
    assert!(right.count() > 150);
    let check = |ks: &Keyspace, guesses: &[([u8; 4], KeyGuess)]| {
        for (key, guess) in guesses {
            let (found, searched) = (ks.find_guessed(key, guess), ks.find(key));
            assert_eq!(found.map(|k| ks.key(k)), searched.map(|k| ks.key(k)));
            // With a guess about another key.
            assert_eq!(ks.find_guessed(b"none of them", guess).map(|k| ks.key(k)), None);
        }
    };
    check(&ks, &guesses);
    // Removed and moved entries: the guesses are of no use any more.
    let k = ks.find(&1u32.to_be_bytes()).unwrap();
    drop(ks.remove(k));
    assert!(guesses.iter().all(|(_, guess)| ks.guessed(guess).is_none()));
    check(&ks, &guesses);
    let k = ks.find(&2u32.to_be_bytes()).unwrap();
    ks.set_value(k, &[b'x'; 1000][..]);
    check(&ks, &guesses);
    // All keys are gone, as after a FLUSHALL in the middle of a pipeline.
    let key = 4u32.to_be_bytes();
    let mut guess = KeyGuess::new(ks.hash(&key));
    ks.prefetch_entry(&mut guess);
    ks.empty(|| ());
    assert!(ks.guessed(&guess).is_none() && ks.find_guessed(&key, &guess).is_none());
    // Another keyspace takes them for nothing.
    let other = Keyspace::new(HashSeed::random());
    assert!(guesses.iter().all(|(key, guess)| other.find_guessed(key, guess).is_none()));
}
