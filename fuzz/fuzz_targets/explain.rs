//! `--explain`: whatever the bytes, their ranges follow one another and cover them.
#![no_main]

use fidelis::explain::{Form, Kind, explain};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for kind in [Kind::Rdb, Kind::Aof, Kind::Psync] {
        let mut out = Vec::new();
        let explained = explain(kind, &mut &data[..], data.len() as u64, &mut out, Form::Text);
        explained.expect("memory takes it");
        let mut end = 0;
        for line in String::from_utf8(out).expect("it is text").lines() {
            let mut words = line.split_whitespace();
            let place = words.next().expect("a place");
            // What a compressed string holds, and what is wrong, are no bytes of the file.
            if let (Ok(place), Some(Ok(len))) = (place.parse(), words.next().map(str::parse::<u64>))
            {
                assert_eq!(end, place, "{line}");
                end += len;
            }
        }
        assert_eq!(end, data.len() as u64);
    }
});
