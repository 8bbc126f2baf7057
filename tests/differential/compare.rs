//! When two replies are the same.

use crate::peer::dump::{is_about_now, same_dump};
use crate::peer::wire::{Argv, Reply};

/// How the replies of a command are compared.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum How {
    Exact,
    /// The items in any order: they come out of a hash table.
    Unordered,
    /// The items in any order, but in pairs, which RESP2 has flat.
    Pairs,
    /// An integer that depends on the clock may differ by so much.
    Near(i64),
    /// The kind only.
    Shape,
    /// Times of day and idle times within are not compared.
    Times,
    /// DEBUG OBJECT: without the address, the clock, and what REFCOUNT leaves out.
    DebugObject,
    /// COMMAND INFO: the flags in any order.
    Flags,
    /// DUMP: see tests/support/peer/dump.rs.
    Dump,
}

/// What is to be expected of a command's reply.
pub fn how(argv: &Argv) -> How {
    let upper: Vec<Vec<u8>> = argv.iter().map(|a| a.to_ascii_uppercase()).collect();
    let second: &[u8] = upper.get(1).map_or(b"", |a| a);
    match (&upper[0][..], second) {
        (b"SMEMBERS" | b"SINTER" | b"SUNION" | b"SDIFF" | b"KEYS" | b"HKEYS" | b"HVALS", _) => {
            How::Unordered
        }
        (b"HGETALL", _) => How::Pairs,
        (b"TTL", _) => How::Near(3),
        (b"PTTL", _) => How::Near(3000),
        // The C's small integers are shared objects, whose access time is that of whichever key was
        // used last. And COPY makes one that is not shared.
        (b"OBJECT", b"IDLETIME" | b"REFCOUNT") => How::Shape,
        (b"OBJECT", b"FREQ") => How::Near(255),
        (b"MEMORY", b"USAGE") | (b"CLIENT", b"ID" | b"INFO" | b"LIST") => How::Shape,
        (b"HELLO" | b"TIME" | b"LASTSAVE" | b"LOLWUT", _) | (b"SLOWLOG", b"LEN" | b"GET") => {
            How::Shape
        }
        (b"XPENDING" | b"XINFO", _) => How::Times,
        (b"DEBUG", b"OBJECT") => How::DebugObject,
        (b"DUMP", _) => How::Dump,
        (b"COMMAND", b"INFO") => How::Flags,
        _ => How::Exact,
    }
}

/// Whether two replies are the same in that sense. Errors are always compared to the letter.
pub fn same(how: How, a: &Reply, b: &Reply) -> bool {
    if a == b {
        return true;
    }
    if a.is_error() || b.is_error() {
        return false;
    }
    match how {
        How::Exact => false,
        How::Unordered => a.kind() == b.kind() && sorted(a.items()) == sorted(b.items()),
        How::Pairs => {
            a.kind() == b.kind() && sorted(a.items().chunks(2)) == sorted(b.items().chunks(2))
        }
        How::Near(by) => match (a.int(), b.int()) {
            (Some(a), Some(b)) => a >= 0 && b >= 0 && a.abs_diff(b) <= by as u64,
            _ => false,
        },
        How::Shape => a.kind() == b.kind(),
        How::Times => without_times(a) == without_times(b),
        How::DebugObject => {
            let text = |r: &Reply| {
                let words = r.bytes().split(|&c| c == b' ').map(|w| w.to_vec());
                let left_out: [&[u8]; 3] = [b"at:", b"refcount:", b"lru"];
                words
                    .filter(|w| !left_out.iter().any(|name| w.starts_with(name)))
                    .collect::<Vec<_>>()
            };
            a.kind() == b.kind() && text(a) == text(b)
        }
        How::Dump => a.kind() == b.kind() && same_dump(a.bytes(), b.bytes()),
        How::Flags => {
            let of = |r: &Reply| -> Vec<Vec<u8>> { sorted(r.leaves()) };
            of(a) == of(b)
        }
    }
}

pub fn sorted<T: Ord>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut v: Vec<T> = items.into_iter().collect();
    v.sort();
    v
}

/// A reply of XPENDING or XINFO whose clock readings are set to zero: times within a day of now,
/// what follows the word "idle", and the third of the four items of a pending entry.
fn without_times(r: &Reply) -> Reply {
    let zero = Reply::Line(b':', b"0".to_vec());
    match r {
        Reply::Many(k, Some(v)) => {
            let mut out: Vec<Reply> = v.iter().map(without_times).collect();
            for n in 1..out.len() {
                if out[n - 1].bytes() == b"idle" && out[n].int().is_some() {
                    out[n] = zero.clone();
                }
            }
            if let [Reply::Bulk(..), Reply::Bulk(..), idle, count] = &mut out[..]
                && idle.int().is_some()
                && count.int().is_some()
            {
                *idle = zero;
            }
            Reply::Many(*k, Some(out))
        }
        _ if r.int().is_some_and(is_about_now) => zero,
        _ => r.clone(),
    }
}
