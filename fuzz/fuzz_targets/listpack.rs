//! A listpack from outside: whatever its bytes, the validators answer; if it is valid, it is and
//! stays what a list of strings is, either way it is read.
#![no_main]

use fidelis::ds::listpack::*;
use fidelis_fuzz::{Input, text};
use libfuzzer_sys::fuzz_target;

fn get(lp: &[u8], p: usize) -> Vec<u8> {
    let value = match lpGet(lp, p) {
        ListpackEntry::Str(s) => s.to_vec(),
        ListpackEntry::Int(n) => text(n),
    };
    assert_eq!(lp_get_string(lp, p, &mut [0; LP_INTBUF_SIZE]), value);
    lpGetIntegerIfValid(lp, p);
    value
}

/// The elements, which are the same from both ends.
fn elements(lp: &[u8]) -> Vec<Vec<u8>> {
    assert_eq!(lp.len(), lpBytes(lp));
    assert!(lpValidateIntegrity(lp, true));
    let mut forward = Vec::new();
    let mut next = lpFirst(lp);
    while let Some(p) = next {
        forward.push(get(lp, p));
        next = lpNext(lp, p);
    }
    let mut backward = Vec::new();
    let mut prev = lpLast(lp);
    while let Some(p) = prev {
        backward.push(get(lp, p));
        prev = lpPrev(lp, p);
    }
    backward.reverse();
    assert_eq!(forward, backward);
    assert_eq!(forward.len(), lpLength(lp));
    forward
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let bytes = input.value();
    lpValidateIntegrity(bytes, false);
    for p in 0..bytes.len() {
        lpValidateNext(bytes, &mut Some(p));
    }
    if !lpValidateIntegrity(bytes, true) {
        return;
    }
    let Some(mut lp) = Listpack::from_bytes(bytes.to_vec()) else { return };
    let mut model = elements(&lp);

    while let Some(op) = input.op() {
        let index = i64::from(input.byte() as i8);
        let at = if index < 0 { model.len() as i64 + index } else { index } as usize;
        match (op % 8, lpSeek(&lp, index)) {
            (0, Some(p)) => {
                let value = input.string();
                assert!(lpInsert(&mut lp, Some(&value), p, LP_BEFORE).is_ok());
                model.insert(at, value);
            }
            (1, Some(p)) => {
                let value = input.string();
                assert!(lpInsert(&mut lp, Some(&value), p, LP_AFTER).is_ok());
                model.insert(at + 1, value);
            }
            (2, Some(p)) => {
                let value = input.string();
                assert!(lp_replace(&mut lp, p, &value));
                model[at] = value;
            }
            (3, Some(p)) => {
                let next = lpDelete(&mut lp, p);
                model.remove(at);
                assert_eq!(next.is_some(), at < model.len());
            }
            (4, Some(p)) => {
                let n = input.int();
                assert!(lpReplaceInteger(&mut lp, p, n));
                assert_eq!(lpGetInteger(&lp, p), n);
                model[at] = text(n);
            }
            (5, _) => {
                let n = input.int();
                assert!(lpAppendInteger(&mut lp, n));
                model.push(text(n));
            }
            (6, _) => lpShrinkToFit(&mut lp),
            _ => {
                let value = input.string();
                assert!(lpAppend(&mut lp, &value));
                model.push(value);
            }
        }
        assert_eq!(elements(&lp), model);
    }
});
