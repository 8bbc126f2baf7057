//! Any bytes for `cjson.decode`; what is encoded of them comes back.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fidelis_fuzz::lua::cjson(data));
