//! Any bytes for `cmsgpack.unpack`; what is packed of them comes back.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fidelis_fuzz::lua::cmsgpack(data));
