//! An intset from outside: whatever its bytes, it is answered; if it is valid, it stays so and knows what it holds.
#![no_main]

use fidelis::ds::intset::*;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<(bool, i64)>)| {
    let (bytes, ops) = input;
    let valid = intsetValidateIntegrity(&bytes, true);
    for pos in 0..bytes.len() as u32 {
        intsetGet(&bytes, pos);
    }
    intsetRandom(&bytes, &mut || 7);
    let Some(mut is) = Intset::fromSlice(&bytes) else { return };
    for (add, value) in ops {
        let known = intsetFind(&is, value);
        let changed = if add { intsetAdd(&mut is, value) } else { intsetRemove(&mut is, value) };
        assert_eq!(is.len(), intsetBlobLen(&is));
        if valid {
            assert_eq!(changed, known != add);
            assert_eq!(intsetFind(&is, value), add);
            assert!(intsetLen(&is) == 0 || intsetValidateIntegrity(&is, true));
        }
    }
});
