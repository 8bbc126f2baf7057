//! A zipmap from outside: whatever its bytes, it is answered; if it is valid, the walk finds every
//! pair.
#![no_main]

use fidelis::ds::zipmap::*;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut p = zipmapRewind();
    let mut size = 0;
    let mut pairs = 0;
    while let Some((field, value)) = zipmapNext(bytes, &mut p) {
        size += field.len() + value.len();
        pairs += 1;
    }
    assert!(size <= bytes.len());
    zipmapLen(bytes);
    zipmapValidateIntegrity(bytes, false);
    if zipmapValidateIntegrity(bytes, true) {
        assert!(bytes[0] == 254 || usize::from(bytes[0]) == pairs);
        assert_eq!(zipmapLen(bytes), pairs);
        assert_eq!(bytes[p], 255);
    }
});
