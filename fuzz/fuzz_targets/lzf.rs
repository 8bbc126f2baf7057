//! Compressed bytes from outside are answered, with no more than there is room for; what was compressed by us comes back.
#![no_main]

use fidelis::ds::lzf::*;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, Vec<u8>)| {
    let (room, bytes) = input;
    let mut out = vec![0; room.into()];
    assert!(lzf_decompress(&bytes, &mut out) <= out.len());

    let mut state = LzfState::new();
    for _ in 0..2 {
        let mut compressed = vec![0; bytes.len() * 2 + 16];
        let n = lzf_compress(&mut state, &bytes, &mut compressed);
        if n > 0 {
            let mut back = vec![0; bytes.len()];
            assert_eq!(lzf_decompress(&compressed[..n], &mut back), bytes.len());
            assert_eq!(back, bytes);
        }
    }
});
