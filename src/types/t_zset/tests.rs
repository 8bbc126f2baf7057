use super::*;
use crate::testing::Rng;

const LIMITS: ZsetLimits =
    ZsetLimits { entries: 20, value: 16, resize: dictResizeEnable::DICT_RESIZE_ENABLE };

type Model = Vec<(Vec<u8>, f64)>;

fn sort(model: &mut Model) {
    model.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap().then_with(|| a.0.cmp(&b.0)));
}

fn items(walk: ZsetWalk<'_>) -> Model {
    walk.map(|(ele, score)| (element_text(ele).to_vec(), score)).collect()
}

/// Both directions, every rank, and that the table knows all members and no more.
fn check(zobj: &Zset, model: &Model) {
    assert_eq!(&items(ZsetWalk::all(zobj.as_ref(), false)), model);
    let mut down = items(ZsetWalk::all(zobj.as_ref(), true));
    down.reverse();
    assert_eq!(&down, model);
    assert_eq!(zsetLength(zobj.as_ref()), model.len());
    if let Zset::Skiplist(zs) = zobj {
        assert_eq!(zs.dict.len(), model.len());
    }
    for (rank, (ele, score)) in model.iter().enumerate() {
        assert_eq!(zsetScore(zobj.as_ref(), ele), Some(*score));
        assert_eq!(zsetRank(zobj.as_ref(), ele, false), Some(rank));
        assert_eq!(zsetRank(zobj.as_ref(), ele, true), Some(model.len() - 1 - rank));
        assert_eq!(&items(ZsetWalk::from_rank(zobj.as_ref(), rank, false)), &model[rank..]);
    }
    assert_eq!(zsetScore(zobj.as_ref(), b"none"), None);
    assert_eq!(zsetRank(zobj.as_ref(), b"none", false), None);
}

/// A member: a number, which ziplists keep as such, a text, or a long one.
fn member(rng: &mut Rng, n: u64) -> Vec<u8> {
    let n = rng.below(n);
    match n % 5 {
        0 | 1 => n.to_string().into_bytes(),
        2 => format!("{:>40}", n).into_bytes(),
        _ => format!("m{n}").into_bytes(),
    }
}

fn score(rng: &mut Rng) -> f64 {
    match rng.below(8) {
        0 => f64::INFINITY,
        1 => f64::NEG_INFINITY,
        2 => rng.below(1000) as f64 / 7.0,
        _ => rng.below(20) as f64 - 10.0,
    }
}

/// Random changes against a sorted vector, in a ziplist, over the conversion and in a skip list.
#[test]
fn changes_against_a_model() {
    let mut rng = Rng::new();
    for round in 0..60 {
        let mut zobj = if round % 2 == 0 { createZsetZiplistObject() } else { createZsetObject() };
        let limits =
            if round % 4 == 0 { ZsetLimits { entries: 1000, value: 64, ..LIMITS } } else { LIMITS };
        let mut model: Model = Vec::new();
        for _ in 0..120 {
            let (ele, score) = (member(&mut rng, 60), score(&mut rng));
            let at = model.iter().position(|(e, _)| *e == ele);
            let flags =
                [ZADD_IN_NONE, ZADD_IN_NX, ZADD_IN_XX, ZADD_IN_GT, ZADD_IN_LT, ZADD_IN_INCR]
                    [rng.below(6) as usize];
            if rng.below(4) == 0 {
                assert_eq!(zsetDel(&mut zobj, &ele, &limits), at.is_some());
                if let Some(at) = at {
                    model.remove(at);
                }
                continue;
            }
            let old = at.map(|at| model[at].1);
            let new = match (old, flags) {
                (Some(_), ZADD_IN_NX) | (None, ZADD_IN_XX) => None,
                (Some(old), ZADD_IN_GT) => (score > old).then_some(score),
                (Some(old), ZADD_IN_LT) => (score < old).then_some(score),
                (Some(old), ZADD_IN_INCR) => Some(old + score),
                _ => Some(score),
            };
            let expected = match (old, new) {
                (_, Some(new)) if new.is_nan() => Err(()),
                (_, None) => Ok((ZADD_OUT_NOP, 0.0)),
                (None, Some(new)) => Ok((ZADD_OUT_ADDED, new)),
                (Some(old), Some(new)) => Ok((if old == new { 0 } else { ZADD_OUT_UPDATED }, new)),
            };
            assert_eq!(zsetAdd(&mut zobj, score, &ele, flags, &limits), expected);
            if let (Ok(_), Some(new)) = (expected, new) {
                match at {
                    Some(at) => model[at].1 = new,
                    None => model.push((ele, new)),
                }
                sort(&mut model);
            }
        }
        check(&zobj, &model);
        check(&zobj.as_ref().dup(), &model);
        let other = match zobj {
            Zset::Ziplist(_) => OBJ_ENCODING_SKIPLIST,
            Zset::Skiplist(_) => OBJ_ENCODING_ZIPLIST,
        };
        zsetConvert(&mut zobj, other);
        check(&zobj, &model);
        assert!(zobj.as_ref().mem_usage(5) > 0 || matches!(zobj, Zset::Ziplist(_)));
    }
}

/// Ranges of scores and members agree between the encodings and with a filter.
#[test]
fn ranges_against_a_model() {
    let mut rng = Rng::new();
    for _ in 0..200 {
        let mut model: Model = Vec::new();
        let same = rng.below(2) == 0;
        for _ in 0..rng.below(30) + 1 {
            let ele = member(&mut rng, 100);
            if model.iter().all(|(e, _)| *e != ele) {
                model.push((ele, if same { 0.0 } else { score(&mut rng) }));
            }
        }
        sort(&mut model);
        let elements: Elements = model.iter().map(|(e, s)| (ZiplistEntry::Str(e), *s)).collect();
        let small = zset_from_sorted(&elements, &ZsetLimits { entries: 100, value: 64, ..LIMITS });
        let large = zset_from_sorted(&elements, &ZsetLimits { entries: 0, ..LIMITS });
        assert!(matches!((&small, &large), (Zset::Ziplist(_), Zset::Skiplist(_))));
        for mut zobj in [small, large] {
            let (min, max) = (score(&mut rng), score(&mut rng));
            let range = zrangespec { min, max, minex: rng.below(2) == 0, maxex: rng.below(2) == 0 };
            let (a, b) = (member(&mut rng, 100), member(&mut rng, 100));
            let lex = zlexrangespec {
                min: LexBorder::Member(&a),
                max: LexBorder::Member(&b),
                minex: range.minex,
                maxex: range.maxex,
            };
            let by_lex = same && rng.below(2) == 0;
            let inside = |(ele, score): &(Vec<u8>, f64)| {
                if by_lex {
                    zslLexValueGteMin(ele, &lex) && zslLexValueLteMax(ele, &lex)
                } else {
                    zslValueGteMin(*score, &range) && zslValueLteMax(*score, &range)
                }
            };
            let expected: Model = model.iter().filter(|item| inside(item)).cloned().collect();
            for reverse in [false, true] {
                let walk = if by_lex {
                    ZsetWalk::in_lex_range(zobj.as_ref(), &lex, reverse)
                } else {
                    ZsetWalk::in_range(zobj.as_ref(), &range, reverse)
                };
                let mut got = items(walk);
                got.truncate(expected.len());
                if reverse {
                    got.reverse();
                }
                assert_eq!(got, expected);
                for offset in [0, 1, 3, -1, 500] {
                    let got = limited(walk, zobj.as_ref(), offset, 2).count();
                    let mut all = items(walk);
                    let rest =
                        if offset < 0 { 0 } else { all.len().saturating_sub(offset as usize) };
                    all.truncate(rest);
                    assert_eq!(got, rest.min(2));
                }
            }
            // And what is deleted is that.
            let deleted = match &mut zobj {
                Zset::Ziplist(zl) if by_lex => {
                    let first = zzlFirstInLexRange(zl, &lex);
                    zzl_delete_while(zl, first, |(ele, _)| lex_lte_max(ele, &lex))
                }
                Zset::Ziplist(zl) => {
                    let first = zzlFirstInRange(zl, &range);
                    zzl_delete_while(zl, first, |(_, score)| zslValueLteMax(score, &range))
                }
                Zset::Skiplist(zs) => {
                    let zset { zsl, dict, seed } = &mut **zs;
                    let removed =
                        |zsl: &Zskiplist, element: u32| zset::forget(dict, seed, zsl, element);
                    if by_lex {
                        zslDeleteRangeByLex(zsl, &lex, removed)
                    } else {
                        zslDeleteRangeByScore(zsl, &range, removed)
                    }
                }
            };
            assert_eq!(deleted, expected.len());
            let left: Model = model.iter().filter(|item| !inside(item)).cloned().collect();
            check(&zobj, &left);
        }
    }
}

/// After most members are gone, table and arena have given their memory back, and still agree.
#[test]
fn deletions_give_memory_back() {
    let mut zobj = createZsetObject();
    for n in 0..20000u32 {
        let added =
            zsetAdd(&mut zobj, f64::from(n % 97), n.to_string().as_bytes(), ZADD_IN_NONE, &LIMITS);
        assert_eq!(added, Ok((ZADD_OUT_ADDED, f64::from(n % 97))));
    }
    let before = zobj.as_ref().mem_usage(5);
    let mut model: Model = Vec::new();
    for n in 0..20000u32 {
        if n % 100 == 0 {
            model.push((n.to_string().into_bytes(), f64::from(n % 97)));
        } else {
            assert!(zsetDel(&mut zobj, n.to_string().as_bytes(), &LIMITS));
        }
    }
    sort(&mut model);
    check(&zobj, &model);
    // A hundredth is left. Levels and hashes are drawn anew each time, and the table may be between
    // two sizes.
    let after = zobj.as_ref().mem_usage(5);
    assert!(after < before / 5, "{after} of {before}");
}

#[test]
fn borders_of_ranges() {
    let range = |min: &[u8], max: &[u8]| {
        zslParseRange(min, max).ok().map(|r| (r.min, r.max, r.minex, r.maxex))
    };
    assert_eq!(range(b"1.5", b"(2"), Some((1.5, 2.0, false, true)));
    assert_eq!(range(b"(-inf", b"+inf"), Some((f64::NEG_INFINITY, f64::INFINITY, true, false)));
    assert_eq!(range(b"", b"("), Some((0.0, 0.0, false, true)));
    assert_eq!(range(b" 1", b"0x10"), Some((1.0, 16.0, false, false)));
    assert_eq!(range(b"1\0x", b"2"), Some((1.0, 2.0, false, false)));
    for wrong in [&b"str"[..], b"NaN", b"(nan", b"1 ", b"((1", b" "] {
        assert_eq!(range(wrong, b"1"), None);
        assert_eq!(range(b"1", wrong), None);
    }
}

/// Scores are kept as the C writes them.
#[test]
fn scores_in_a_ziplist() {
    let mut zl = ziplistNew();
    for (ele, score) in [("a", 0.1), ("b", -0.0), ("c", 1e17), ("d", 3.0), ("e", f64::INFINITY)] {
        zzlInsert(&mut zl, ele.as_bytes(), score);
    }
    let texts: Vec<Vec<u8>> = std::iter::successors(ziplistIndex(&zl, 1), |&p| {
        ziplistNext(&zl, p).and_then(|p| ziplistNext(&zl, p))
    })
    .map(|p| element_text(ziplistGet(&zl, p).unwrap()).to_vec())
    .collect();
    assert_eq!(
        texts,
        [&b"-0"[..], b"0.10000000000000001", b"3", b"1e+17", b"inf"].map(<[u8]>::to_vec)
    );
}

/// What RESTORE must refuse.
#[test]
fn damaged_ziplists() {
    let list = |items: &[&str]| {
        let mut zl = ziplistNew();
        for item in items {
            ziplistPush(&mut zl, item.as_bytes(), ZIPLIST_TAIL);
        }
        zsetZiplistValidateIntegrity(&zl, true)
    };
    assert!(list(&[]));
    assert!(list(&["a", "1", "b", "2.5"]));
    assert!(!list(&["a", "1", "b"]), "a member without a score");
    assert!(!list(&["a", "nan"]), "a score that is no number");
    assert!(!list(&["a", "-nan"]), "nor that one");
    assert!(!list(&["a", "1", "a", "2"]), "a member that is there twice");
    assert!(!list(&["17", "1", "17", "2"]), "a number that is there twice");
}

/// Infinity and its opposite add up to nothing, and so does infinity without weight.
#[test]
fn aggregation() {
    let mut score = f64::INFINITY;
    zunionInterAggregate(&mut score, f64::NEG_INFINITY, Aggregation::Sum);
    assert_eq!(score, 0.0);
    assert_eq!(weighted(0.0, f64::INFINITY), 0.0);
    zunionInterAggregate(&mut score, -1.0, Aggregation::Max);
    assert_eq!(score, 0.0);
    zunionInterAggregate(&mut score, -1.0, Aggregation::Min);
    assert_eq!(score, -1.0);
}

/// Both ways of ZDIFF, and ZUNION and ZINTER, over sets of every encoding.
#[test]
fn operations_against_a_model() {
    let mut rng = Rng::new();
    for _ in 0..200 {
        let mut zobjs: Vec<(Zset, Model)> = Vec::new();
        for _ in 0..rng.below(4) + 1 {
            let mut zobj = createZsetZiplistObject();
            let mut model: Model = Vec::new();
            for _ in 0..rng.below(40) {
                let (ele, score) = (member(&mut rng, 50), rng.below(9) as f64);
                if zsetAdd(&mut zobj, score, &ele, ZADD_IN_NX, &LIMITS)
                    == Ok((ZADD_OUT_ADDED, score))
                {
                    model.push((ele, score));
                }
            }
            zobjs.push((zobj, model));
        }
        zobjs.sort_by_key(|(zobj, _)| zsetLength(zobj.as_ref()));
        let mut src: Vec<zsetopsrc> = zobjs
            .iter()
            .enumerate()
            .map(|(i, (zobj, _))| zsetopsrc {
                subject: Subject::Zset(zobj.as_ref()),
                weight: i as f64 + 1.0,
            })
            .collect();
        let scores_of = |ele: &[u8]| {
            let scores = zobjs.iter().enumerate().filter_map(|(i, (_, model))| {
                let (_, score) = model.iter().find(|(e, _)| e == ele)?;
                Some(score * (i as f64 + 1.0))
            });
            scores.collect::<Vec<f64>>()
        };
        let mut all: Vec<Vec<u8>> =
            zobjs.iter().flat_map(|(_, m)| m.iter().map(|(e, _)| e.clone())).collect();
        all.sort();
        all.dedup();
        let finish = |elements: Elements| {
            let mut model: Model =
                elements.iter().map(|(e, s)| (element_text(*e).to_vec(), *s)).collect();
            sort(&mut model);
            model
        };
        let expect = |keep: &dyn Fn(&[u8]) -> Option<f64>| {
            let mut model: Model =
                all.iter().filter_map(|ele| Some((ele.clone(), keep(ele)?))).collect();
            sort(&mut model);
            model
        };
        assert_eq!(
            finish(zunion(&src, Aggregation::Sum)),
            expect(&|ele| Some(scores_of(ele).iter().sum()))
        );
        assert_eq!(
            finish(zinter(&src, Aggregation::Max)),
            expect(&|ele| {
                let scores = scores_of(ele);
                (scores.len() == src.len()).then(|| scores.into_iter().fold(0.0, f64::max))
            })
        );
        src.reverse();
        let first = &zobjs.last().unwrap().1;
        let others = &zobjs[..zobjs.len() - 1];
        let expected = expect(&|ele| {
            let (_, score) = first.iter().find(|(e, _)| e == ele)?;
            others.iter().all(|(_, m)| m.iter().all(|(e, _)| e != ele)).then_some(*score)
        });
        assert_eq!(finish(zdiffAlgorithm2(&src)), expected);
        assert_eq!(finish(zdiffAlgorithm1(&mut src)), expected);
    }
}
