//! A radix tree under any keys: it holds what a sorted map holds, and finds the same neighbours.
#![no_main]

use fidelis::ds::rax::*;
use fidelis_fuzz::Input;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let mut rax = raxNew();
    let mut map = BTreeMap::new();
    while let Some(op) = input.op() {
        let key = input.string();
        match op % 8 {
            0..3 => assert_eq!(raxInsert(&mut rax, &key, op), map.insert(key.clone(), op)),
            3 => assert_eq!(raxTryInsert(&mut rax, &key, op).is_err(), {
                let known = map.contains_key(&key);
                map.entry(key.clone()).or_insert(op);
                known
            }),
            4..6 => assert_eq!(raxRemove(&mut rax, &key), map.remove(&key)),
            _ => (),
        }
        assert_eq!(raxSize(&rax), map.len() as u64);
        assert_eq!(raxFind(&rax, &key), map.get(&key));
        for (op, expected) in [
            ("<", map.range(..key.clone()).next_back()),
            ("<=", map.range(..=key.clone()).next_back()),
            (">=", map.range(key.clone()..).next()),
            ("^", map.iter().next()),
            ("$", map.iter().next_back()),
        ] {
            let mut it = raxStart();
            raxSeek(&mut it, &rax, op, &key);
            let found =
                if op.starts_with('<') { raxPrev(&mut it, &rax) } else { raxNext(&mut it, &rax) };
            assert_eq!(found.then(|| it.key()), expected.map(|(key, _)| key.as_slice()));
        }
    }
    assert!(rax.values().eq(map.values()));
});
