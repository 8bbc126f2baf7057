//! Texts from outside: lines of a config file or of a client without a protocol, patterns, numbers.
#![no_main]

use fidelis::ds::glob::stringmatchlen;
use fidelis::ds::longdouble::{ld2string, ld2string_mode, string2ld};
use fidelis::sds::{sdscatrepr, sdssplitargs};
use fidelis::util::*;
use fidelis_fuzz::Input;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // What was split, quoted and put together again splits into the same.
    if let Some(args) = sdssplitargs(data) {
        let mut line = Vec::new();
        for arg in &args {
            sdscatrepr(&mut line, arg);
            line.push(b' ');
        }
        assert_eq!(sdssplitargs(&line), Some(args));
    }

    // A text matches itself, each byte escaped, and any pattern ends.
    let mut input = Input(data);
    let pattern = input.string();
    let text = input.0;
    for nocase in [false, true] {
        stringmatchlen(&pattern, text, nocase);
        let escaped: Vec<u8> = text.iter().flat_map(|&b| [b'\\', b]).collect();
        assert!(stringmatchlen(&escaped, text, nocase));
    }

    // A number that is taken can be written, and that is taken for the same.
    if let Some(n) = string2ll(data) {
        assert_eq!(&ll2string(n)[..], data);
        assert_eq!(std::str::from_utf8(data).map(str::parse), Ok(Ok(n)));
    }
    if let Some(n) = string2d(data) {
        assert!(n.is_nan() || string2d(&d2string(n)).is_some_and(|m| m == n));
    }
    if let Some(n) = string2ld(data) {
        let text = ld2string(n, ld2string_mode::LD_STR_HEX);
        assert!(!text.is_empty());
    }
    strtod(data);
    strtoll(data, 10);
    strtoull(data, 10);
    atoi(data);
    memtoll(data);
});
