//! Any bytes as a format of `string.format`, with arguments that fit and that do not.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fidelis_fuzz::lua::format(data));
