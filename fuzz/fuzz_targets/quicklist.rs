//! A list of ziplists, some of them from outside: if they are valid, it is what a list of strings
//! is, either way it is read.
#![no_main]

use fidelis::ds::quicklist::*;
use fidelis::ds::ziplist::{Ziplist, ZiplistEntry, ziplistLen, ziplistValidateIntegrity};
use fidelis_fuzz::{Input, text};
use libfuzzer_sys::fuzz_target;

fn values(ql: &Quicklist, direction: i32) -> Vec<Vec<u8>> {
    let mut reader = quicklist_read(ql, direction, if direction == AL_START_HEAD { 0 } else { -1 });
    let mut values = Vec::new();
    while let Some(value) = reader.read() {
        values.push(match value {
            ZiplistEntry::Str(s) => s.to_vec(),
            ZiplistEntry::Int(n) => text(n),
        });
    }
    values
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let (fill, depth) = (input.byte() as i8, input.byte() % 4);
    let mut ql = quicklistNew(i32::from(fill), i32::from(depth));
    let mut model: Vec<Vec<u8>> = Vec::new();
    while let Some(op) = input.op() {
        let n = i64::from(input.byte() as i8);
        let at = if n < 0 { model.len() as i64 + n } else { n } as usize;
        let exists = at < model.len();
        match op % 13 {
            0 => {
                let value = input.string();
                quicklistPushHead(&mut ql, &value);
                model.insert(0, value);
            }
            1 => {
                let value = input.string();
                quicklistPushTail(&mut ql, &value);
                model.push(value);
            }
            2 => {
                let place = if n < 0 { QUICKLIST_TAIL } else { QUICKLIST_HEAD };
                let popped = quicklistPop(&mut ql, place);
                let expected = match model.len() {
                    0 => None,
                    _ if n < 0 => model.pop(),
                    _ => Some(model.remove(0)),
                };
                assert_eq!(popped, expected);
            }
            3 | 4 => {
                let value = input.string();
                let entry = quicklistIndex(&mut ql, n);
                assert_eq!(entry.is_some(), exists);
                if let Some(entry) = entry {
                    if op % 13 == 3 {
                        quicklistInsertAfter(&mut ql, &entry, &value);
                        model.insert(at + 1, value);
                    } else {
                        quicklistInsertBefore(&mut ql, &entry, &value);
                        model.insert(at, value);
                    }
                }
            }
            5 => {
                let value = input.string();
                assert_eq!(quicklistReplaceAtIndex(&mut ql, n, &value), exists);
                if exists {
                    model[at] = value;
                }
            }
            6 => {
                let count = usize::from(input.byte());
                assert_eq!(quicklistDelRange(&mut ql, n, count as i64), exists && count > 0);
                if exists {
                    model.drain(at..(at + count).min(model.len()));
                }
            }
            7 => {
                quicklistRotate(&mut ql);
                if let Some(last) = model.pop() {
                    model.insert(0, last);
                }
            }
            8 => ql = quicklistDup(&ql),
            9 => {
                // Some are deleted on the way, as LREM does.
                let direction = if n < 0 { AL_START_TAIL } else { AL_START_HEAD };
                let mut at = at;
                if let Some(mut iter) = quicklistGetIteratorAtIdx(&mut ql, direction, n) {
                    for byte in input.string() {
                        let Some(entry) = quicklistNext(&mut iter, &mut ql) else { break };
                        assert!(quicklistCompare(&ql, &entry, &model[at]));
                        if byte % 2 == 0 {
                            quicklistDelEntry(&mut iter, &mut ql, &entry);
                            model.remove(at);
                        } else if n >= 0 {
                            at += 1;
                        }
                        if n < 0 {
                            at = at.wrapping_sub(1);
                        }
                    }
                    quicklistReleaseIterator(iter, &mut ql);
                }
            }
            10 => {
                let mut reader = quicklist_read(&ql, AL_START_HEAD, n);
                let left = std::iter::from_fn(|| reader.read().map(|_| ())).count();
                assert_eq!(left, if exists { model.len() - at } else { 0 });
            }
            11 => {
                let bytes = input.value();
                let valid = ziplistValidateIntegrity(bytes, true, None) && ziplistLen(bytes) > 0;
                if let Some(zl) = Ziplist::from_slice(bytes).filter(|_| valid) {
                    quicklistAppendZiplist(&mut ql, zl);
                    model = values(&ql, AL_START_HEAD);
                }
            }
            _ => {
                let bytes = input.value();
                if ziplistValidateIntegrity(bytes, true, None) {
                    quicklistAppendValuesFromZiplist(&mut ql, bytes);
                    model = values(&ql, AL_START_HEAD);
                }
            }
        }
        assert_eq!(quicklistCount(&ql), model.len());
        assert_eq!(values(&ql, AL_START_HEAD), model);
        assert!(values(&ql, AL_START_TAIL).iter().eq(model.iter().rev()));
    }
});
