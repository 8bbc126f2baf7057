//! Compressed bytes from outside are answered, with no more than there is room for; what was
//! compressed by us comes back.
#![no_main]

use fidelis::ds::lzf::*;
use fidelis_fuzz::Input;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let room = u16::from_le_bytes([input.byte(), input.byte()]);
    let bytes = input.0;
    let mut out = vec![0; room.into()];
    assert!(lzf_decompress(bytes, &mut out) <= out.len());

    // The table is kept from one use to the next.
    let mut state = LzfState::new();
    for room in [bytes.len() * 2 + 16, bytes.len().saturating_sub(4), usize::from(room)] {
        let mut compressed = vec![0; room];
        let n = lzf_compress(&mut state, bytes, &mut compressed);
        assert!(n <= room);
        if n > 0 {
            let mut back = vec![0; bytes.len()];
            assert_eq!(lzf_decompress(&compressed[..n], &mut back), bytes.len());
            assert_eq!(back, bytes);
        }
    }
});
