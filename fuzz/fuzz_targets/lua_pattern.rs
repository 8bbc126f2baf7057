//! Any bytes as a pattern: it ends, and what it finds lies in the subject.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fidelis_fuzz::lua::pattern(data));
