//! An intset from outside: whatever its bytes, it is answered; if it is valid, it is and stays what
//! a set of numbers is.
#![no_main]

use std::collections::BTreeSet;

use fidelis::ds::intset::*;
use fidelis_fuzz::Input;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let bytes = input.value();
    intsetValidateIntegrity(bytes, false);
    let valid = intsetValidateIntegrity(bytes, true);
    for pos in 0..bytes.len() as u32 + 2 {
        intsetGet(bytes, pos);
    }
    intsetRandom(bytes, &mut || 7);
    let Some(mut is) = Intset::from_slice(bytes) else { return };
    let numbers =
        |is: &[u8]| (0..intsetLen(is)).map_while(|n| intsetGet(is, n)).collect::<Vec<_>>();
    let mut model: BTreeSet<i64> = numbers(&is).into_iter().collect();
    while let Some(op) = input.op() {
        let value = input.int();
        let known = intsetFind(&is, value);
        let changed =
            if op % 2 == 0 { intsetAdd(&mut is, value) } else { intsetRemove(&mut is, value) };
        assert_eq!(is.len(), intsetBlobLen(&is));
        if valid {
            assert_eq!(known, model.contains(&value));
            let expected = if op % 2 == 0 { model.insert(value) } else { model.remove(&value) };
            assert_eq!(changed, expected);
            assert_eq!(numbers(&is), model.iter().copied().collect::<Vec<_>>());
            assert!(model.is_empty() || intsetValidateIntegrity(&is, true));
            let drawn = intsetRandom(&is, &mut || u32::from(op));
            assert_eq!(drawn.is_some(), !model.is_empty());
            assert!(drawn.is_none_or(|n| model.contains(&n)));
        }
    }
});
