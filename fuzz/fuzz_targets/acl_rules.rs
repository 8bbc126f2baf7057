//! Rules of ACL SETUSER: each is taken or refused, and what ACL LIST says of the user makes the same
//! user again.
#![no_main]

use fidelis_fuzz::{InProcess, Input};
use libfuzzer_sys::fuzz_target;

/// The line of a user in ACL LIST, without the name.
fn described(it: &mut InProcess, name: &str) -> Vec<u8> {
    let list = it.line("ACL LIST");
    let start = format!("\r\nuser {name} ");
    let at = list.windows(start.len()).position(|w| w == start.as_bytes()).expect("it is there");
    let line = &list[at + start.len()..];
    line[..line.windows(2).position(|w| w == b"\r\n").expect("an end")].to_vec()
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    InProcess::with(0, |it| {
        it.line("ACL SETUSER one");
        while !input.0.is_empty() {
            let rule = input.string();
            let before = described(it, "one");
            let reply = it.ask(&[&b"ACL"[..], b"SETUSER", b"one", &rule]);
            if reply != b"+OK\r\n" {
                assert!(reply.starts_with(b"-ERR Error in ACL SETUSER modifier '"));
                assert_eq!(described(it, "one"), before);
            }
        }
        let all = described(it, "one");
        let mut again = vec![&b"ACL"[..], b"SETUSER", b"two"];
        again.extend(all.split(|&b| b == b' '));
        assert_eq!(it.ask(&again), b"+OK\r\n", "{}", all.escape_ascii());
        assert_eq!(described(it, "two").escape_ascii().to_string(), all.escape_ascii().to_string());
        it.line("ACL GETUSER one");

        // Whatever it may do, asking for it ends in an answer.
        if it.line("AUTH one x") == b"+OK\r\n" {
            for line in ["GET k", "MGET a b", "CONFIG GET port", "PUBLISH c m", "EVAL x 1 k"] {
                it.line(line);
            }
        }
    });
});
