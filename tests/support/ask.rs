//! Short forms for tests that send many commands: a line of words in, a line of text out.
#![allow(dead_code)] // each test binary uses its own part of this

use crate::support::{Conn, Reply, TestServer};

/// A reply as one line: scalars as their text, errors with their dash, `[a b]` for arrays and sets,
/// `>[a b]` for pushes, `{a=b}` for maps.
pub fn flat(reply: &Reply) -> String {
    let list = |v: &[Reply]| format!("[{}]", v.iter().map(flat).collect::<Vec<_>>().join(" "));
    match reply {
        Reply::Array(v) | Reply::Set(v) => list(v),
        Reply::Push(v) => format!(">{}", list(v)),
        Reply::Map(v) => {
            let pairs: Vec<String> =
                v.iter().map(|(k, v)| format!("{}={}", flat(k), flat(v))).collect();
            format!("{{{}}}", pairs.join(" "))
        }
        other => other.text(),
    }
}

/// Who can be asked: a connection, or a server (on a connection of its own).
pub trait Ask {
    /// Sends the words of `line` as a command; the reply as one line.
    fn ask(&mut self, line: &str) -> String;
}

impl Ask for Conn {
    #[track_caller]
    fn ask(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        flat(&self.cmd(&words))
    }
}

impl Ask for TestServer {
    #[track_caller]
    fn ask(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        flat(&self.cmd(&words))
    }
}

/// The next reply as one line.
#[track_caller]
pub fn next(c: &mut Conn) -> String {
    flat(&c.reply())
}

/// The multibulk forms of several commands, one after the other, to be sent in one write.
pub fn batch(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|l| Conn::encode(&l.split_whitespace().collect::<Vec<_>>())).collect()
}

/// Sends `bytes`, then reads until the server closes.
#[track_caller]
pub fn to_the_end(port: u16, bytes: &[u8]) -> String {
    let mut c = Conn::open(port);
    // The server may have closed before all was sent; what it said before is still to be read.
    let _ = c.raw(bytes);
    String::from_utf8_lossy(&c.read_to_end()).into_owned()
}
