//! A listpack of a stream from outside: whatever its bytes, the validator answers; if it is valid,
//! a stream made of it can be walked both ways, added to, deleted from and trimmed.
#![no_main]

use fidelis::ds::listpack::Listpack;
use fidelis::ds::rax::raxInsert;
use fidelis::server_h::streamID;
use fidelis::types::t_stream::*;
use fidelis_fuzz::Input;
use libfuzzer_sys::fuzz_target;

const LIMITS: NodeLimits = NodeLimits { max_bytes: 4096, max_entries: 10 };

/// The entries that a walk finds.
fn walk(s: &Stream, rev: bool) -> Vec<streamID> {
    let mut si = streamIteratorStart(s, None, None, rev);
    let mut ids = Vec::new();
    while let Some((id, numfields)) = streamIteratorGetID(&mut si, s) {
        for _ in 0..numfields {
            streamIteratorGetField(&mut si, s);
        }
        ids.push(id);
    }
    ids
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let bytes = input.value();
    streamValidateListpackIntegrity(bytes, false);
    if !streamValidateListpackIntegrity(bytes, true) {
        return;
    }
    let Some(lp) = Listpack::from_bytes(bytes.to_vec()) else { return };
    let mut s = streamNew();
    let master = streamID { ms: input.byte().into(), seq: 0 };
    raxInsert(&mut s.rax, &streamEncodeID(&master), lp);
    let mut back = walk(&s, true);
    back.reverse();
    assert_eq!(walk(&s, false), back);
    s.length = back.len() as u64;
    s.last_id = streamID { ms: 1 << 40, seq: 0 };
    while let Some(op) = input.op() {
        let n = input.byte();
        let id = streamID { ms: n.into(), seq: 0 };
        match op % 5 {
            0 => {
                let value = input.string();
                let item: [&[u8]; 4] = [b"field", &value, &value, b"1"];
                let fields = 1 + usize::from(n % 2);
                let _ = streamAppendItem(&mut s, LIMITS, fields, |i| item[i], None, 0);
            }
            1 => drop(streamDeleteItem(&mut s, &back.pop().unwrap_or(id))),
            2 => drop(streamTrimByLength(&mut s, LIMITS, n.into(), op > 127)),
            3 => drop(streamTrimByID(&mut s, LIMITS, id, op > 127)),
            _ => drop(streamDup(&s)),
        }
        let mut back = walk(&s, true);
        back.reverse();
        assert_eq!(walk(&s, false), back);
    }
});
