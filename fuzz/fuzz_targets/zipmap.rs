//! A zipmap from outside: whatever its bytes, it is answered; if it is valid, the walk finds every pair.
#![no_main]

use fidelis::ds::zipmap::*;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut p = zipmapRewind();
    let pairs = std::iter::from_fn(|| zipmapNext(bytes, &mut p)).count();
    zipmapLen(bytes);
    if zipmapValidateIntegrity(bytes, true) {
        assert!(bytes[0] == 254 || bytes[0] as usize == pairs);
        assert_eq!(bytes[p], 255);
    }
});
