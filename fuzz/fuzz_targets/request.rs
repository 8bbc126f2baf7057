//! What a client sends, in two parts: whatever its bytes, well-formed replies, or the end of the
//! connection.
#![no_main]

use fidelis_fuzz::{InProcess, Input, reply_len};
use libfuzzer_sys::fuzz_target;

/// Commands that end the process, fork, connect or write files; and those whose work may be as much
/// as a number says, as in the C: a negative count of random elements, the table of a longest
/// common subsequence.
const NOT: [&str; 17] = [
    "shutdown",
    "debug",
    "save",
    "bgsave",
    "bgrewriteaof",
    "config",
    "replicaof",
    "slaveof",
    "migrate",
    "sync",
    "psync",
    "lastsave",
    "latency",
    "srandmember",
    "hrandfield",
    "zrandmember",
    "stralgo",
];

/// A key of each type.
const KEYS: [&str; 9] = [
    "SET k 12",
    "SET text hello",
    "RPUSH list 1 two 3",
    "SADD intset 1 2 3",
    "SADD set a b c 1",
    "HSET hash f 1 g 2",
    "ZADD zset 1 a 2 b",
    "XADD stream 1-1 f v",
    "XGROUP CREATE stream g 0",
];

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    InProcess::with(input.byte(), |it| {
        // Nor is much memory to be had by a number.
        it.server.proto_max_bulk_len = 64 * 1024;
        for name in NOT {
            let _ = it.server.commands.rename(name.as_bytes(), b"");
        }
        for line in KEYS {
            it.line(line);
        }
        let first = input.value();
        for part in [first, input.0] {
            let Some(replies) = it.send(part) else { return };
            let mut left = &replies[..];
            while !left.is_empty() {
                let len = reply_len(left).unwrap_or_else(|| panic!("{}", replies.escape_ascii()));
                left = &left[len..];
            }
        }
    });
});
