//! A ziplist from outside: whatever its bytes, the validator answers; if it is valid, every operation keeps it valid. (Of
//! others is known that they end by an assertion, which to the fuzzer would be a find.)
#![no_main]

use fidelis::ds::ziplist::*;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<(u8, i8, Vec<u8>)>)| {
    let (bytes, ops) = input;
    ziplistValidateIntegrity(&bytes, false, None);
    if !ziplistValidateIntegrity(&bytes, true, None) || ziplistLen(&bytes) == 0 {
        return;
    }
    let mut next = ziplistIndex(&bytes, 0);
    while let Some(p) = next {
        assert!(ziplistGet(&bytes, p).is_some());
        assert!(ziplistPrev(&bytes, p).is_none_or(|prev| ziplistNext(&bytes, prev) == Some(p)));
        ziplistCompare(&bytes, p, b"1");
        next = ziplistNext(&bytes, p);
    }
    ziplistRepr(&bytes, &mut Vec::new());
    let Some(mut zl) = Ziplist::fromSlice(&bytes) else { return };

    for (op, index, value) in ops {
        let index = index as i64;
        match (op % 8, ziplistIndex(&zl, index)) {
            (0, _) => ziplistPush(&mut zl, &value, ZIPLIST_HEAD),
            (1, _) => ziplistPush(&mut zl, &value, ZIPLIST_TAIL),
            (2, Some(p)) => ziplistInsert(&mut zl, p, &value),
            (3, Some(p)) => ziplistDelete(&mut zl, p),
            (4, Some(p)) => ziplistReplace(&mut zl, p, &value),
            (5, _) => ziplistDeleteRange(&mut zl, index, op as usize / 8),
            (6, _) => drop(ziplistFind(&zl, 10, &value, (op / 8) as u32)),
            _ => {
                let mut other = ziplistNew();
                ziplistPush(&mut other, &value, ZIPLIST_TAIL);
                if !ziplistMerge(&mut zl, &mut other) {
                    zl = other;
                }
            }
        }
        assert_eq!(zl.len(), ziplistBlobLen(&zl));
        assert!(ziplistValidateIntegrity(&zl, true, None));
        if ziplistLen(&zl).is_multiple_of(2) && ziplistLen(&zl) > 0 {
            assert_eq!(ziplistRandomPairs(&zl, 3, &mut || op as u32).len(), 3);
            ziplistRandomPairsUnique(&zl, 3, &mut || op as u32);
        }
    }
});
