//! Any bytes as a format of `struct`, and as what it takes apart.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fidelis_fuzz::lua::struct_(data));
