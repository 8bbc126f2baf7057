//! A list of ziplists, some of them from outside: if they are valid, every call is answered.
#![no_main]

use fidelis::ds::quicklist::*;
use fidelis::ds::ziplist::{Ziplist, ziplistLen, ziplistValidateIntegrity};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (i8, u8, Vec<(u8, i8, Vec<u8>)>)| {
    let (fill, depth, ops) = input;
    let mut ql = quicklistNew(i32::from(fill), i32::from(depth % 4));
    for (op, n, bytes) in ops {
        let n = i64::from(n);
        match op % 12 {
            0 => drop(quicklistPushHead(&mut ql, &bytes)),
            1 => drop(quicklistPushTail(&mut ql, &bytes)),
            2 => drop(quicklistPop(&mut ql, if n < 0 { QUICKLIST_TAIL } else { QUICKLIST_HEAD })),
            3 | 4 => {
                if let Some(entry) = quicklistIndex(&mut ql, n) {
                    if op % 12 == 3 {
                        quicklistInsertAfter(&mut ql, &entry, &bytes);
                    } else {
                        quicklistInsertBefore(&mut ql, &entry, &bytes);
                    }
                }
            }
            5 => drop(quicklistReplaceAtIndex(&mut ql, n, &bytes)),
            6 => drop(quicklistDelRange(&mut ql, n, bytes.len() as i64)),
            7 => quicklistRotate(&mut ql),
            8 => ql = quicklistDup(&ql),
            9 => {
                let direction = if n < 0 { AL_START_TAIL } else { AL_START_HEAD };
                if let Some(mut iter) = quicklistGetIteratorAtIdx(&mut ql, direction, n) {
                    for &byte in &bytes {
                        let Some(entry) = quicklistNext(&mut iter, &mut ql) else { break };
                        if byte % 2 == 0 {
                            quicklistDelEntry(&mut iter, &mut ql, &entry);
                        }
                    }
                    quicklistReleaseIterator(iter, &mut ql);
                }
            }
            10 => {
                let mut reader = quicklistRead(&ql, AL_START_HEAD, n);
                while reader.read().is_some() {}
            }
            _ => {
                let valid = ziplistValidateIntegrity(&bytes, true, None) && ziplistLen(&bytes) > 0;
                if let Some(zl) = Ziplist::fromSlice(&bytes).filter(|_| valid) {
                    quicklistAppendZiplist(&mut ql, zl);
                }
            }
        }
    }
});
