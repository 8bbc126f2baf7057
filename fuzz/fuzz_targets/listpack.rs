//! A listpack from outside: whatever its bytes, it is answered; if it is valid, every operation keeps it valid.
#![no_main]

use fidelis::ds::listpack::*;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<(u8, i8, Vec<u8>)>)| {
    let (bytes, ops) = input;
    let valid = lpValidateIntegrity(&bytes, true);
    for p in 0..bytes.len() {
        lpGet(&bytes, p);
        lpNext(&bytes, p);
        lpPrev(&bytes, p);
        lpGetIntegerIfValid(&bytes, p);
        lpValidateNext(&bytes, &mut Some(p));
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
        assert!(!valid || lpValidateIntegrity(&lp, true));
    }
});
