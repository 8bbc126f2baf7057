//! Any bytes as a script: a value or an error, in bounded time and memory.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fidelis_fuzz::lua::source(data));
