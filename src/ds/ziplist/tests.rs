use super::*;
use crate::testing::{Rng, asserts};

/// What an entry reads as: integers by their text.
fn text(e: ZiplistEntry) -> Vec<u8> {
    match e {
        ZiplistEntry::Str(s) => s.to_vec(),
        ZiplistEntry::Int(v) => v.to_string().into_bytes(),
    }
}

fn values(zl: &[u8]) -> Vec<Vec<u8>> {
    std::iter::successors(ziplistIndex(zl, 0), |&p| ziplistNext(zl, p))
        .filter_map(|p| ziplistGet(zl, p).map(text))
        .collect()
}

fn ziplist_of(values: &[&[u8]]) -> Ziplist {
    let mut zl = ziplistNew();
    for v in values {
        ziplistPush(&mut zl, v, ZIPLIST_TAIL);
    }
    zl
}

#[test]
fn bytes_of_each_encoding() {
    assert_eq!(&ziplistNew()[..], b"\x0b\0\0\0\x0a\0\0\0\0\0\xff");
    assert_eq!(&ziplist_of(&[b"2", b"5"])[..], b"\x0f\0\0\0\x0c\0\0\0\x02\0\0\xf3\x02\xf6\xff");
    let entries: [(&[u8], &[u8]); 15] = [
        (b"", b"\0\0"),
        (b"ab", b"\0\x02ab"),
        (b"0", b"\0\xf1"),
        (b"12", b"\0\xfd"),
        (b"13", b"\0\xfe\x0d"),
        (b"-1", b"\0\xfe\xff"),
        (b"-128", b"\0\xfe\x80"),
        (b"128", b"\0\xc0\x80\0"),
        (b"-32769", b"\0\xf0\xff\x7f\xff"),
        (b"8388608", b"\0\xd0\0\0\x80\0"),
        (b"2147483648", b"\0\xe0\0\0\0\x80\0\0\0\0"),
        (b"-9223372036854775808", b"\0\xe0\0\0\0\0\0\0\0\x80"),
        (b"01", b"\0\x0201"),
        (b"-0", b"\0\x02-0"),
        (b"9223372036854775808", b"\0\x139223372036854775808"),
    ];
    for (value, bytes) in entries {
        let zl = ziplist_of(&[value]);
        assert_eq!(&zl[10..zl.len() - 1], bytes, "{value:?}");
        assert_eq!(values(&zl), [value]);
    }
    for (len, head) in [
        (63, &b"\0\x3f"[..]),
        (64, b"\0\x40\x40"),
        (16383, b"\0\x7f\xff"),
        (16384, b"\0\x80\0\0\x40\0"),
    ] {
        let zl = ziplist_of(&[&vec![b'x'; len]]);
        assert_eq!(&zl[10..10 + head.len()], head);
        assert_eq!(zl.len(), 11 + head.len() + len);
    }
}

/// One long value at the head makes every entry of 253 bytes grow, and nothing shrinks when it
/// is gone.
#[test]
fn cascade_grows_and_never_shrinks() {
    let v = [b'v'; 250]; // 1 + 2 + 250 bytes: one less than a long prevlen takes
    let mut zl = ziplist_of(&[&v[..]; 5]);
    let short = zl.len();
    ziplistPush(&mut zl, &[b'w'; 300], ZIPLIST_HEAD);
    assert_eq!(zl.len(), short + 303 + 5 * 4);
    assert!(ziplistValidateIntegrity(&zl, true, None));
    ziplistDelete(&mut zl, ZIPLIST_HEADER_SIZE);
    // The new head has a short prevlen again, the next one keeps its long one for a length of
    // 253.
    assert_eq!(zl.len(), short + 4 * 4);
    assert_eq!(zl[10 + 253..10 + 258], [254, 253, 0, 0, 0]);
    assert!(ziplistValidateIntegrity(&zl, true, None));
    assert_eq!(values(&zl), vec![v.to_vec(); 5]);

    // A tiny entry before one with a long prevlen: it stays long, as shrinking would save more
    // than is inserted.
    ziplistInsert(&mut zl, 10 + 253, b"1");
    assert_eq!(zl[10 + 253..10 + 262], [253, 0xf2, 254, 2, 0, 0, 0, 0x40, 250]);
}

/// Every operation against a Vec of values, near the borders of 253 bytes.
#[test]
fn against_a_vec() {
    let mut rng = Rng::new();
    for round in 0..60 {
        let mut zl = ziplistNew();
        let mut model: Vec<Vec<u8>> = Vec::new();
        for _ in 0..150 {
            let v = if round % 2 == 0 { rng.value() } else { vec![b'x'; 247 + rng.below(8)] };
            let at = rng.below(model.len() + 1);
            let p = ziplistIndex(&zl, at as i64);
            assert_eq!(p.is_some(), at < model.len());
            match (rng.below(8), p) {
                (0, _) => {
                    ziplistPush(&mut zl, &v, ZIPLIST_HEAD);
                    model.insert(0, v);
                }
                (1, _) | (2..=6, None) => {
                    ziplistPush(&mut zl, &v, ZIPLIST_TAIL);
                    model.push(v);
                }
                (2 | 3, Some(p)) => {
                    ziplistInsert(&mut zl, p, &v);
                    model.insert(at, v);
                }
                (4, Some(p)) => {
                    ziplistDelete(&mut zl, p);
                    model.remove(at);
                }
                (5 | 6, Some(p)) => {
                    ziplistReplace(&mut zl, p, &v);
                    model[at] = v;
                }
                (_, None) => ziplistDeleteRange(&mut zl, at as i64, 1),
                _ => {
                    let num = rng.below(4);
                    ziplistDeleteRange(&mut zl, at as i64 - model.len() as i64, num);
                    model.drain(at..(at + num).min(model.len()));
                }
            }
            assert!(ziplistValidateIntegrity(&zl, true, None));
            assert_eq!(ziplistLen(&zl), model.len());
            assert_eq!(ziplistBlobLen(&zl), zl.len());
        }
        assert_eq!(values(&zl), model);

        // Backwards, by position and by index.
        let mut p = ziplistPrev(&zl, zl.len() - 1);
        for (i, v) in model.iter().rev().enumerate() {
            assert_eq!(p, ziplistIndex(&zl, -1 - i as i64));
            let at = p.expect("the list is as long as the model");
            assert!(ziplistCompare(&zl, at, v));
            p = ziplistPrev(&zl, at);
        }
        assert_eq!(p, None);
        assert_eq!(ziplistIndex(&zl, -1 - model.len() as i64), None);

        // Finding, with and without a skip.
        for skip in 0..3 {
            let v = rng.value();
            let found = model.iter().step_by(skip + 1).position(|m| *m == v);
            let p = found.and_then(|i| ziplistIndex(&zl, (i * (skip + 1)) as i64));
            assert_eq!(ziplistFind(&zl, ZIPLIST_HEADER_SIZE, &v, skip as u32), p);
        }
    }
}

/// What is done at the ends leaves the bytes that it would leave if it were done as anywhere.
#[test]
fn ends_are_as_any_place() {
    let mut r = Rng::new();
    for _ in 0..100 {
        let (mut ends, mut anywhere) = (ziplistNew(), ziplistNew());
        let most = [20, 70, 300, 20_000][r.below(4)];
        for step in 0..300 {
            let head = r.below(2) == 0;
            if r.below(10) < [8, 2, 5][step / 100] {
                let (p, place) = match head {
                    true => (ZIPLIST_HEADER_SIZE, ZIPLIST_HEAD),
                    false => (anywhere.len() - ZIPLIST_END_SIZE, ZIPLIST_TAIL),
                };
                let value = match r.below(3) {
                    0 => (r.next() as i64 >> r.below(64)).to_string().into_bytes(),
                    _ => vec![b'a' + r.below(26) as u8; r.below(most)],
                };
                if ends[..] == ziplistNew()[..] {
                    ends = ziplist_of_value(&value);
                } else {
                    ziplistPush(&mut ends, &value, place);
                }
                __ziplistInsert(&mut anywhere, p, &value);
            } else {
                let p = ziplistIndex(&anywhere, if head { 0 } else { -1 });
                let popped = match head {
                    true => ziplist_pop_head(&mut ends, text),
                    false => ziplist_pop_tail(&mut ends, text),
                };
                assert_eq!(popped, p.map(|p| text(ziplistGet(&anywhere, p).unwrap())));
                if let Some(p) = p {
                    __ziplistDelete(&mut anywhere, p, 1);
                }
            }
            assert_eq!(ends[..], anywhere[..]);
        }
    }
}

#[test]
fn merge_joins_in_order() {
    let mut rng = Rng::new();
    for _ in 0..300 {
        let mut lists: [Vec<Vec<u8>>; 2] = Default::default();
        for list in &mut lists {
            for _ in 0..1 + rng.below(6) {
                list.push(if rng.below(2) == 0 {
                    vec![b'm'; 249 + rng.below(4)]
                } else {
                    rng.value()
                });
            }
        }
        let [mut a, mut b] =
            lists.each_ref().map(|l| ziplist_of(&l.iter().map(|v| &v[..]).collect::<Vec<_>>()));
        let in_first = ziplistMerge(&mut a, &mut b);
        assert_eq!(in_first, lists[0].len() >= lists[1].len());
        let (joined, emptied) = if in_first { (a, b) } else { (b, a) };
        assert_eq!(values(&joined), lists.concat());
        assert!(ziplistValidateIntegrity(&joined, true, None));
        assert_eq!(emptied, ziplistNew());
    }
}

/// The header counts to 65534; beyond, the list is counted, until a count that fits is stored.
#[test]
fn length_beyond_the_header() {
    let mut zl = ziplistNew();
    for _ in 0..65_534 {
        ziplistPush(&mut zl, b"1", ZIPLIST_TAIL);
    }
    assert_eq!((ZIPLIST_LENGTH(&zl), ziplistLen(&zl)), (65_534, 65_534));
    ziplistPush(&mut zl, b"1", ZIPLIST_TAIL);
    ziplistPush(&mut zl, b"1", ZIPLIST_TAIL);
    assert_eq!((ZIPLIST_LENGTH(&zl), ziplist_len_store(&mut zl)), (65_535, 65_536));
    ziplistDeleteRange(&mut zl, 0, 3);
    assert_eq!((ZIPLIST_LENGTH(&zl), ziplistLen(&zl)), (65_535, 65_533));
    assert_eq!(ziplist_len_store(&mut zl), 65_533);
    assert_eq!(ZIPLIST_LENGTH(&zl), 65_533);
}

#[test]
fn repr_names_every_byte() {
    let zl = ziplist_of(&[b"7", &[b's'; 41]]);
    let mut out = Vec::new();
    ziplistRepr(&zl, &mut out);
    let out = String::from_utf8(out).expect("text");
    let addr = zl.as_ptr() as usize + 10;
    assert!(out.starts_with(&format!(
            "{{total bytes 56}} {{num entries 2}}\n{{tail offset 12}}\n{{\n\taddr 0x{addr:08x},\n\tindex  0,\n\
             \toffset    10,\n\thdr+entry len:     2,\n\thdr len 2,\n\tprevrawlen:     0,\n\
             \tprevrawlensize:  1,\n\tpayload     0\n\tbytes: 00|f8|\n\t[int]7\n}}\n{{\n"
        )));
    assert!(out.ends_with(&format!("73|\n\t[str]{}...\n}}\n{{end}}\n\n", "s".repeat(40))));
}

#[test]
fn random_pairs() {
    let mut rng = Rng::new();
    let texts: Vec<String> = (0..40).map(|i| format!("{}", 1000 + i)).collect();
    let zl = ziplist_of(&texts.iter().map(|t| t.as_bytes()).collect::<Vec<_>>());
    let is_pair = |(k, v): (ZiplistEntry, ZiplistEntry)| match (k, v) {
        (ZiplistEntry::Int(k), ZiplistEntry::Int(v)) => k % 2 == 0 && v == k + 1,
        _ => false,
    };
    let mut rand = || (rng.next() % (RAND_MAX as u64 + 1)) as u32;
    assert!(is_pair(ziplistRandomPair(&zl, 20, &mut rand)));
    let pairs = ziplistRandomPairs(&zl, 100, &mut rand);
    assert!(pairs.len() == 100 && pairs.into_iter().all(is_pair));
    for count in [0, 1, 7, 20, 30] {
        let pairs = ziplistRandomPairsUnique(&zl, count, &mut rand);
        assert_eq!(pairs.len(), count.min(20));
        let mut keys: Vec<_> = pairs.iter().map(|&(k, _)| text(k)).collect();
        keys.dedup();
        assert!(keys.len() == pairs.len() && keys.is_sorted() && pairs.into_iter().all(is_pair));
    }
}

#[test]
fn validator_rejects() {
    let good = b"\x0f\0\0\0\x0c\0\0\0\x02\0\0\xf3\x02\xf6\xff";
    assert!(ziplistValidateIntegrity(good, true, None));
    assert!(!ziplistValidateIntegrity(good, true, Some(&mut |p| p != 12)), "the caller's veto");
    for (at, byte) in [(0, 14), (4, 15), (5, 1), (14, 0)] {
        let mut bad = *good;
        bad[at] = byte;
        assert!(!ziplistValidateIntegrity(&bad, false, None), "byte {at}");
    }
    for (at, byte) in
        [(4, 10), (8, 1), (10, 1), (11, 0xff), (11, 0x3f), (12, 3), (12, 254), (13, 0x7f)]
    {
        let mut bad = *good;
        bad[at] = byte;
        assert!(ziplistValidateIntegrity(&bad, false, None));
        assert!(!ziplistValidateIntegrity(&bad, true, None), "byte {at}");
    }
    assert!(!ziplistValidateIntegrity(b"", false, None));
}

/// What is damaged either does not matter to what is asked, or ends it by an assertion: never by
/// a position outside of the list, and never in a loop without an end. A list keeps its header
/// true whatever its entries say.
#[test]
fn distinct_values_read_differently() {
    use ZiplistEntry::{Int, Str};
    for (mut values, distinct) in [
        (vec![], true),
        (vec![Str(b"b"), Int(7), Str(b"a"), Str(b"ab"), Str(b""), Int(-7)], true),
        (vec![Str(b"b"), Str(b"a"), Str(b"b")], false),
        (vec![Int(7), Str(b"b"), Int(7)], false),
        (vec![Str(b"12"), Str(b"a"), Int(12)], false),
        (vec![Str(b"012"), Str(b"-0"), Int(12), Int(0)], true),
    ] {
        assert_eq!(ziplist_all_distinct(&mut values), distinct, "{values:?}");
    }
}

#[test]
fn damaged_bytes_are_asserted() {
    let mut rng = Rng::new();
    for _ in 0..6000 {
        let mut zl = ziplistNew();
        for _ in 0..rng.below(6) {
            let v = if rng.below(2) == 0 { vec![b'd'; 248 + rng.below(6)] } else { rng.value() };
            ziplistPush(&mut zl, &v, ZIPLIST_TAIL);
        }
        let mut bytes = zl.into_bytes();
        rng.damage(&mut bytes);
        ziplistValidateIntegrity(&bytes, true, None);
        let Some(zl) = Ziplist::from_slice(&bytes) else { continue };
        asserts(|| values(&zl).len());
        asserts(|| std::iter::successors(ziplistIndex(&zl, -1), |&p| ziplistPrev(&zl, p)).count());
        asserts(|| ziplistLen(&zl));
        asserts(|| ziplistFind(&zl, ZIPLIST_HEADER_SIZE, b"12", 1));
        asserts(|| ziplistRandomPairs(&zl, rng.below(3), &mut || 77).len());
        asserts(|| ziplistRandomPairsUnique(&zl, 2, &mut || 77).len());
        asserts(|| ziplistRepr(&zl, &mut Vec::new()));

        let mut zl = zl;
        for _ in 0..8 {
            let index = rng.below(9) as i64 - 4;
            let (v, what) = (rng.value(), rng.below(6));
            let done = asserts(|| {
                match (what, ziplistIndex(&zl, index)) {
                    (0, _) => ziplistPush(&mut zl, &v, ZIPLIST_HEAD),
                    (1, _) => ziplistPush(&mut zl, &v, ZIPLIST_TAIL),
                    (2, Some(p)) => ziplistDelete(&mut zl, p),
                    (3, Some(p)) => ziplistInsert(&mut zl, p, &v),
                    (4, Some(p)) => ziplistReplace(&mut zl, p, &v),
                    _ => {
                        let mut other = ziplist_of(&[&v, b"1", &v]);
                        if !ziplistMerge(&mut zl, &mut other) {
                            zl = other;
                        }
                    }
                }
                assert_eq!((zl.len(), zl[zl.len() - 1]), (ziplistBlobLen(&zl), ZIP_END));
            });
            if done.is_none() {
                break;
            }
        }
    }
}
