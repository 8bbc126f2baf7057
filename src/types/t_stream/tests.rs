use super::*;
use crate::testing::{Rng, asserts};
use std::collections::BTreeMap;

impl Rng {
    fn stream_id(&mut self) -> streamID {
        streamID { ms: self.below(60), seq: self.below(3) }
    }
}

const LIMITS: NodeLimits = NodeLimits { max_bytes: 4096, max_entries: 5 };

fn id(ms: u64, seq: u64) -> streamID {
    streamID { ms, seq }
}

fn add(s: &mut Stream, limits: NodeLimits, eles: &[&[u8]], use_id: streamID) {
    streamAppendItem(s, limits, eles.len() / 2, |i| eles[i], Some(&use_id), 0).unwrap();
}

type Entries = Vec<(streamID, Vec<Vec<u8>>)>;

fn text(e: ListpackEntry) -> Vec<u8> {
    match e {
        ListpackEntry::Str(s) => s.to_vec(),
        ListpackEntry::Int(n) => n.to_string().into_bytes(),
    }
}

fn range(s: &Stream, start: &streamID, end: &streamID, rev: bool) -> Entries {
    let mut all = Vec::new();
    let mut si = streamIteratorStart(s, Some(start), Some(end), rev);
    while let Some((id, numfields)) = streamIteratorGetID(&mut si, s) {
        let mut eles = Vec::new();
        for _ in 0..numfields {
            let (field, value) = streamIteratorGetField(&mut si, s);
            eles.extend([text(field), text(value)]);
        }
        all.push((id, eles));
    }
    all
}

#[test]
fn a_listpack_has_the_bytes_of_the_c() {
    let mut s = streamNew();
    add(&mut s, LIMITS, &[b"a", b"1"], id(1, 0));
    add(&mut s, LIMITS, &[b"a", b"x"], id(2, 0));
    add(&mut s, LIMITS, &[b"b", b"300"], id(2, 7));
    assert!(streamDeleteItem(&mut s, &id(2, 0)));
    let lp = raxFind(&s.rax, &streamEncodeID(&id(1, 0))).unwrap();
    let expected = [
        // Header, and the master entry: 2 live, 1 deleted, one field "a".
        &[57, 0, 0, 0, 22, 0][..],
        &[2, 1, 1, 1, 1, 1, 0x81, b'a', 2, 0, 1],
        // 1-0, with the fields of the master entry.
        &[2, 1, 0, 1, 0, 1, 1, 1, 4, 1],
        // 2-0, deleted.
        &[3, 1, 1, 1, 0, 1, 0x81, b'x', 2, 4, 1],
        // 2-7, with another field.
        &[0, 1, 1, 1, 7, 1, 1, 1, 0x81, b'b', 2, 0xc1, 0x2c, 2, 6, 1],
        &[0xff],
    ]
    .concat();
    let mut expected = expected;
    expected[0] = expected.len() as u8;
    assert_eq!(lp[..], expected[..]);
    assert!(streamValidateListpackIntegrity(lp, true));
}

#[test]
fn a_stream_is_the_model() {
    const FIELDS: [&[u8]; 4] = [b"field", b"12", b"", b"a much longer name of a field"];
    for seed in 0..6 {
        let mut r = Rng::seeded(seed);
        let mut s = streamNew();
        let mut model: BTreeMap<streamID, Vec<Vec<u8>>> = BTreeMap::new();
        for _ in 0..1500 {
            match r.below(10) {
                0..6 => {
                    let use_id = id(s.last_id.ms + r.below(2), s.last_id.seq + r.below(3));
                    let mut eles: Vec<Vec<u8>> = Vec::new();
                    for _ in 0..1 + r.below(3) {
                        eles.push(FIELDS[(r.below(8) as usize).saturating_sub(4)].to_vec());
                        let value = vec![b'0' + r.below(10) as u8; r.below(90) as usize];
                        eles.push(value);
                    }
                    let e: Vec<&[u8]> = eles.iter().map(|e| &e[..]).collect();
                    let last_id = s.last_id;
                    let added =
                        streamAppendItem(&mut s, LIMITS, e.len() / 2, |i| e[i], Some(&use_id), 0);
                    if use_id > last_id {
                        assert_eq!((added, s.last_id), (Ok(use_id), use_id));
                        model.insert(use_id, eles);
                    } else {
                        assert_eq!((added, s.last_id), (Err(AppendError::EDOM), last_id));
                    }
                }
                6 | 7 => {
                    let nth = r.below(model.len() as u64 + 1) as usize;
                    let id = model.keys().nth(nth).copied().unwrap_or(id(1, 9));
                    assert_eq!(streamDeleteItem(&mut s, &id), model.remove(&id).is_some());
                }
                8 => {
                    let approx = r.below(2) == 0;
                    let maxlen = model.len() as i64 - r.below(12) as i64;
                    let gone = streamTrimByLength(&mut s, LIMITS, maxlen.max(0), approx);
                    assert!(approx || s.length <= maxlen.max(0) as u64);
                    assert!(s.length >= (model.len() as i64).min(maxlen.max(0)) as u64);
                    (0..gone).for_each(|_| drop(model.pop_first()));
                }
                _ => {
                    let approx = r.below(2) == 0;
                    let nth = r.below(12) as usize;
                    let minid = model.keys().nth(nth).copied().unwrap_or(id(0, 0));
                    let gone = streamTrimByID(&mut s, LIMITS, minid, approx);
                    let below = model.range(..minid).count() as i64;
                    assert!(if approx { gone <= below } else { gone == below });
                    (0..gone).for_each(|_| drop(model.pop_first()));
                }
            }

            let last = s.last_id.ms + 2;
            let (a, b) = (id(r.below(last), r.below(5)), id(r.below(last), r.below(5)));
            let (a, b) = if r.below(3) == 0 { (ID_MIN, ID_MAX) } else { (a.min(b), a.max(b)) };
            let mut expected: Entries =
                model.range(a..=b).map(|(id, e)| (*id, e.clone())).collect();
            assert_eq!(range(&s, &a, &b, false), expected);
            expected.reverse();
            assert_eq!(range(&s, &a, &b, true), expected);
            assert_eq!(s.length, model.len() as u64);
            assert_eq!(streamLastValidID(&s), model.keys().last().copied().unwrap_or(ID_MIN));
            assert!(s.rax.values().all(|lp| streamValidateListpackIntegrity(lp, true)));
        }
        let copy = streamDup(&s);
        assert_eq!(range(&copy, &ID_MIN, &ID_MAX, false), range(&s, &ID_MIN, &ID_MAX, false));
        assert_eq!((copy.length, copy.last_id), (s.length, s.last_id));
        assert_eq!(copy.rax.numnodes(), s.rax.numnodes());
        assert!(s.mem_usage(5) > 0 && s.free_effort() > 0);
    }
}

#[test]
fn limits_end_a_node() {
    let mut s = streamNew();
    for i in 1..=12 {
        add(&mut s, LIMITS, &[b"f", b"v"], id(i, 0));
    }
    assert_eq!(raxSize(&s.rax), 3);
    // Deleted entries count.
    assert!(streamDeleteItem(&mut s, &id(12, 0)));
    for i in 13..=15 {
        add(&mut s, LIMITS, &[b"f", b"v"], id(i, 0));
    }
    assert_eq!(raxSize(&s.rax), 3);
    // A large one goes to a node of its own; without limits nothing does.
    add(&mut s, LIMITS, &[b"f", &[b'x'; 5000]], id(16, 0));
    assert_eq!(raxSize(&s.rax), 4);
    let mut s = streamNew();
    for i in 1..=500 {
        add(&mut s, NodeLimits { max_bytes: 0, max_entries: 0 }, &[b"f", &[b'x'; 50]], id(i, 0));
    }
    assert_eq!(raxSize(&s.rax), 1);
    // `~` leaves a node that has to stay in part, and LIMIT one that has too many entries.
    assert_eq!(streamTrimByLength(&mut s, LIMITS, 10, true), 0);
    let mut args = streamAddTrimArgs {
        trim_strategy: TRIM_STRATEGY_MAXLEN,
        approx_trim: true,
        limit: 499,
        ..Default::default()
    };
    assert_eq!(streamTrim(&mut s, &args), 0);
    args.limit = 500;
    assert_eq!((streamTrim(&mut s, &args), s.length, raxSize(&s.rax)), (500, 0, 0));
}

#[test]
fn elements_may_be_too_large() {
    let mut s = streamNew();
    // The same bytes again and again: over a gigabyte in sum.
    let big = vec![b'x'; 1 << 20];
    let ele = |_: usize| &big[..];
    let refused = streamAppendItem(&mut s, LIMITS, 513, ele, Some(&id(1, 0)), 0);
    assert_eq!((refused, s.length, raxSize(&s.rax)), (Err(AppendError::ERANGE), 0, 0));
}

#[test]
fn ids_have_neighbours_and_texts() {
    let mut i = id(5, u64::MAX);
    assert_eq!((streamIncrID(&mut i), i), (C_OK, id(6, 0)));
    assert_eq!((streamDecrID(&mut i), i), (C_OK, id(5, u64::MAX)));
    let mut i = ID_MAX;
    assert_eq!((streamIncrID(&mut i), i), (C_ERR, ID_MIN));
    assert_eq!((streamDecrID(&mut i), i), (C_ERR, ID_MAX));
    assert_eq!(streamDecodeID(&streamEncodeID(&id(7, 9))), id(7, 9));
    assert_eq!(
        createObjectFromStreamID(&ID_MAX)[..],
        *b"18446744073709551615-18446744073709551615"
    );
    assert_eq!(streamNextID(&ID_MAX, 0), ID_MIN);
    assert_eq!(streamNextID(&id(u64::MAX, 3), 0), id(u64::MAX, 4));

    let parse = |s: &str| stream_parse_id_bytes(s.as_bytes(), 42, true);
    assert_eq!(parse("1-2"), Some(id(1, 2)));
    assert_eq!(parse("12"), Some(id(12, 42)));
    assert_eq!(parse("18446744073709551615-0"), Some(id(u64::MAX, 0)));
    for bad in ["", "-", "+", "1-", "-1", "1-2-3", "a", "18446744073709551616", "1-x"] {
        assert_eq!(parse(bad), None, "{bad}");
    }
    assert_eq!(stream_parse_id_bytes(b"-", 0, false), Some(ID_MIN));
    assert_eq!(stream_parse_id_bytes(b"+", 0, false), Some(ID_MAX));
    assert_eq!(stream_parse_id_bytes(&[b'1'; 128], 0, false), None);
}

/// The two lists of what is pending agree.
fn check_group(cg: &streamCG) {
    let mut pending = 0;
    for consumer in cg.consumers.iter() {
        let mut ri = raxStart();
        raxSeek(&mut ri, &consumer.pel, "^", b"");
        while raxNext(&mut ri, &consumer.pel) {
            let nack = raxFind(&cg.pel, ri.key()).expect("pending in the group too");
            assert_eq!(cg.consumers[nack.consumer].name, consumer.name);
            pending += 1;
        }
    }
    assert_eq!(raxSize(&cg.pel), pending);
}

#[test]
fn a_message_is_pending_with_one_consumer() {
    for seed in 0..4 {
        let mut r = Rng::seeded(seed);
        let mut s = streamNew();
        assert!(streamCreateCG(&mut s, b"g", &ID_MIN).is_some());
        assert!(streamCreateCG(&mut s, b"g", &ID_MIN).is_none());
        let mut model: BTreeMap<streamID, Vec<u8>> = BTreeMap::new();
        for _ in 0..3000 {
            let cg = stream_lookup_cg_mut(&mut s, b"g").unwrap();
            let (id, name) = (r.stream_id(), vec![b'a' + r.below(5) as u8]);
            let key = streamEncodeID(&id);
            match r.below(20) {
                0 => {
                    let lost = streamDelConsumer(cg, &name);
                    let had = model.len();
                    model.retain(|_, owner| *owner != name);
                    assert_eq!(lost, (had - model.len()) as u64);
                }
                1..8 => {
                    let (consumer, created) = streamLookupConsumer(cg, &name, SLC_NONE).unwrap();
                    assert!(!created || !model.values().any(|owner| *owner == name));
                    stream_deliver(cg, &id, consumer);
                    model.insert(id, name);
                }
                8..14 => {
                    let Some(&old) = raxFind(&cg.pel, &key) else { continue };
                    let (consumer, _) = streamLookupConsumer(cg, &name, SLC_NONE).unwrap();
                    let nack = streamNACK { consumer, ..old };
                    stream_reassign(cg, &key, old.consumer, nack);
                    model.insert(id, name);
                }
                _ => {
                    let nack = raxRemove(&mut cg.pel, &key);
                    assert_eq!(nack.is_some(), model.remove(&id).is_some());
                    if let Some(nack) = nack {
                        raxRemove(&mut cg.consumers[nack.consumer].pel, &key);
                    }
                }
            }
            check_group(cg);
        }
        let cg = streamLookupCG(&s, b"g").unwrap();
        assert_eq!(raxSize(&cg.pel), model.len() as u64);
        for (id, owner) in &model {
            let nack = raxFind(&cg.pel, &streamEncodeID(id)).unwrap();
            assert_eq!(consumer_name(cg, nack), owner);
        }

        let copy = streamDup(&s);
        let copied = streamLookupCG(&copy, b"g").unwrap();
        check_group(copied);
        assert_eq!(raxSize(&copied.pel), model.len() as u64);
        for (a, b) in cg.consumers.iter().zip(copied.consumers.iter()) {
            assert_eq!((&a.name, a.seen_time), (&b.name, b.seen_time));
            assert_eq!(raxSize(&a.pel), raxSize(&b.pel));
        }
        assert!(
            streamLookupConsumer(
                &mut streamCG { last_id: ID_MIN, pel: raxNew(), consumers: Consumers::default() },
                b"x",
                SLC_NOCREAT
            )
            .is_none()
        );
    }
}

/// Bytes of a file that nobody validated: whatever they are, every walk ends, if not otherwise, by
/// an assertion. What passes validation can be walked, and has as many entries as it says.
#[test]
fn damaged_bytes_are_asserted() {
    let mut valid = 0;
    for seed in 0..3 {
        let mut r = Rng::seeded(seed);
        for _ in 0..1500 {
            let mut s = streamNew();
            for i in 1..=r.below(8) {
                let field: &[u8] = if r.below(2) == 0 { b"f" } else { b"g" };
                add(&mut s, LIMITS, &[field, b"value", b"n", b"1000"], id(i, 0));
            }
            let mut damaged = raxNew();
            let mut ri = raxStart();
            raxSeek(&mut ri, &s.rax, "^", b"");
            while raxNext(&mut ri, &s.rax) {
                let mut bytes = ri.data(&s.rax).unwrap().clone().into_bytes();
                for _ in 0..r.below(4) {
                    let at = r.below(bytes.len() as u64 - 7) as usize + 6;
                    let near = bytes[at].wrapping_add(r.below(5) as u8).wrapping_sub(2);
                    bytes[at] = if r.below(2) == 0 { r.next() as u8 } else { near };
                }
                let Some(lp) = Listpack::from_bytes(bytes) else { continue };
                if streamValidateListpackIntegrity(&lp, true) {
                    let mut one = streamNew();
                    let master = streamDecodeID(ri.key());
                    raxInsert(&mut one.rax, ri.key(), lp.clone());
                    let there = range(&one, &ID_MIN, &ID_MAX, false).len() as i64;
                    let first = lpFirst(&lp).unwrap();
                    let count = lpGetInteger(&lp, first);
                    let deleted = lpGetInteger(&lp, lpSkip(&lp, first));
                    assert_eq!(range(&one, &ID_MIN, &ID_MAX, true).len() as i64, there);
                    assert!(there <= count.wrapping_add(deleted));
                    lpGetEdgeStreamID(&lp, true, &master);
                    valid += 1;
                }
                raxInsert(&mut damaged, ri.key(), lp);
            }
            s.rax = damaged;
            asserts(|| range(&s, &ID_MIN, &ID_MAX, false));
            asserts(|| range(&s, &ID_MIN, &ID_MAX, true));
            asserts(|| range(&s, &id(3, 0), &id(6, 0), true));
            asserts(|| streamGetEdgeID(&s, true));
            asserts(|| streamGetEdgeID(&s, false));
            s.length = 0;
            asserts(|| streamLastValidID(&s));
            let again = || streamDup(&s);
            let (key, n, approx) = (id(r.below(9), 0), r.below(5) as i64, r.below(2) == 0);
            asserts(|| streamDeleteItem(&mut again(), &key));
            asserts(|| streamTrimByLength(&mut again(), LIMITS, n, approx));
            asserts(|| streamTrimByID(&mut again(), LIMITS, key, approx));
            asserts(|| add(&mut again(), LIMITS, &[b"f", b"value"], id(100, 0)));
        }
    }
    assert!(valid > 100, "{valid}");
}
