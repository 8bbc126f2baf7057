//! A ziplist from outside: whatever its bytes, it is answered; if it is valid, every operation keeps it valid.
#![no_main]

use fidelis::ds::ziplist::*;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<(u8, i8, Vec<u8>)>)| {
    let (bytes, ops) = input;
    let valid = ziplistValidateIntegrity(&bytes, true, None);
    for p in 0..bytes.len() {
        ziplistGet(&bytes, p);
        ziplistNext(&bytes, p);
        ziplistPrev(&bytes, p);
        ziplistCompare(&bytes, p, b"1");
    }
    ziplistRepr(&bytes, &mut Vec::new());
    let Some(mut zl) = Ziplist::fromSlice(&bytes) else { return };

    // An empty list that claims a tail passes the check; entries are what is to be kept.
    let valid = valid && ziplistLen(&zl) > 0;
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
                if ziplistLen(&zl) > 0 && !ziplistMerge(&mut zl, &mut other) {
                    zl = other;
                }
            }
        }
        assert_eq!(zl.len(), ziplistBlobLen(&zl));
        assert!(!valid || ziplistValidateIntegrity(&zl, true, None));
        ziplistRandomPairs(&zl, 3, &mut || op as u32);
        ziplistRandomPairsUnique(&zl, 3, &mut || op as u32);
    }
});
