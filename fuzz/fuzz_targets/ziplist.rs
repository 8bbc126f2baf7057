//! A ziplist from outside: whatever its bytes, the validator answers; if it is valid, it is and
//! stays what a list of strings is, either way it is read. (Of others is known that they end by an
//! assertion, which to the fuzzer would be a find.)
#![no_main]

use fidelis::ds::ziplist::*;
use fidelis_fuzz::{Input, text};
use libfuzzer_sys::fuzz_target;

fn get(zl: &[u8], p: usize) -> Vec<u8> {
    match ziplistGet(zl, p).expect("it is no end") {
        ZiplistEntry::Str(s) => s.to_vec(),
        ZiplistEntry::Int(n) => text(n),
    }
}

/// The entries, which are the same from both ends.
fn entries(zl: &[u8]) -> Vec<Vec<u8>> {
    assert_eq!(zl.len(), ziplistBlobLen(zl));
    assert!(ziplistValidateIntegrity(zl, true, None));
    let mut forward = Vec::new();
    let mut next = ziplistIndex(zl, 0);
    while let Some(p) = next {
        forward.push(get(zl, p));
        next = ziplistNext(zl, p);
    }
    let mut backward = Vec::new();
    let mut prev = ziplistIndex(zl, -1);
    while let Some(p) = prev {
        backward.push(get(zl, p));
        prev = ziplistPrev(zl, p);
    }
    backward.reverse();
    assert_eq!(forward, backward);
    assert_eq!(forward.len(), ziplistLen(zl));
    forward
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let bytes = input.value();
    ziplistValidateIntegrity(bytes, false, None);
    if !ziplistValidateIntegrity(bytes, true, None) {
        return;
    }
    let Some(mut zl) = Ziplist::from_slice(bytes) else { return };
    let mut model = entries(&zl);
    ziplistRepr(&zl, &mut Vec::new());

    while let Some(op) = input.op() {
        let index = i64::from(input.byte() as i8);
        let value = input.string();
        let at = if index < 0 { model.len() as i64 + index } else { index } as usize;
        match (op % 8, ziplistIndex(&zl, index)) {
            (0, _) => {
                ziplistPush(&mut zl, &value, ZIPLIST_HEAD);
                model.insert(0, value);
            }
            (1, _) => {
                ziplistPush(&mut zl, &value, ZIPLIST_TAIL);
                model.push(value);
            }
            (2, Some(p)) => {
                ziplistInsert(&mut zl, p, &value);
                model.insert(at, value);
            }
            (3, Some(p)) => {
                ziplistDelete(&mut zl, p);
                model.remove(at);
            }
            (4, Some(p)) => {
                assert_eq!(ziplistCompare(&zl, p, &value), model[at] == value);
                ziplistReplace(&mut zl, p, &value);
                assert!(ziplistCompare(&zl, p, &value));
                model[at] = value;
            }
            (5, found) => {
                let n = usize::from(op / 8);
                ziplistDeleteRange(&mut zl, index, n);
                if found.is_some() {
                    model.drain(at..(at + n).min(model.len()));
                }
            }
            (6, _) => {
                let step = usize::from(op / 8 % 3) + 1;
                let found = ziplistFind(&zl, 10, &value, step as u32 - 1);
                let expected = model.iter().step_by(step).position(|e| *e == value);
                let index = expected.and_then(|n| ziplistIndex(&zl, (n * step) as i64));
                assert_eq!(found, index);
            }
            _ => {
                let mut other = ziplistNew();
                ziplistPush(&mut other, &value, ZIPLIST_TAIL);
                if !ziplistMerge(&mut zl, &mut other) {
                    zl = other;
                }
                model.push(value);
            }
        }
        assert_eq!(entries(&zl), model);
        if !model.is_empty() && model.len().is_multiple_of(2) {
            let mut n = u32::from(op);
            let mut random = || {
                n = n.wrapping_mul(0x9e37_79b1).wrapping_add(1);
                n >> 8
            };
            ziplistRandomPair(&zl, model.len() / 2, &mut random);
            assert_eq!(ziplistRandomPairs(&zl, 3, &mut random).len(), 3);
            let unique = ziplistRandomPairsUnique(&zl, 3, &mut random);
            assert_eq!(unique.len(), 3.min(model.len() / 2));
        }
    }
});
