//! A listpack from outside: whatever its bytes, the validator answers; if it is valid, every operation keeps it valid.
#![no_main]

use fidelis::ds::listpack::*;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<(u8, i8, Vec<u8>)>)| {
    let (bytes, ops) = input;
    lpValidateIntegrity(&bytes, false);
    for p in 0..bytes.len() {
        lpValidateNext(&bytes, &mut Some(p));
    }
    if !lpValidateIntegrity(&bytes, true) {
        return;
    }
    let mut next = lpFirst(&bytes);
    while let Some(p) = next {
        lpGet(&bytes, p);
        lpGetIntegerIfValid(&bytes, p);
        assert!(lpPrev(&bytes, p).is_none_or(|prev| lpNext(&bytes, prev) == Some(p)));
        next = lpNext(&bytes, p);
    }
    let Some(mut lp) = Listpack::fromBytes(bytes) else { return };
    for (op, index, value) in ops {
        match (op % 6, lpSeek(&lp, index as i64)) {
            (place @ 0..=2, Some(p)) => drop(lpInsert(&mut lp, Some(&value), p, place as i32)),
            (3, Some(p)) => drop(lpDelete(&mut lp, p)),
            (4, Some(p)) => drop(lpReplaceInteger(&mut lp, p, index as i64 * 1000)),
            _ => drop(lpAppend(&mut lp, &value)),
        }
        assert_eq!(lp.len(), lpBytes(&lp));
        assert!(lpValidateIntegrity(&lp, true));
    }
});
