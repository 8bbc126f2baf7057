//! One connection to a server, and replies as they came: the two nils of RESP2 are not the same
//! reply.

use crate::support::Incoming;
use std::fmt;
use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A command: its arguments.
pub type Argv = Vec<Vec<u8>>;

/// A reply with the byte that stood before it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reply {
    /// `+`, `-`, `:`, `,`, `#`, `(` and `_`: one line.
    Line(u8, Vec<u8>),
    /// `$` and `=`; `None` is the nil.
    Bulk(u8, Option<Vec<u8>>),
    /// `*`, `~`, `>`, and `%` with keys and values in turn; `None` is the nil.
    Many(u8, Option<Vec<Reply>>),
}

impl Reply {
    pub fn is_error(&self) -> bool {
        matches!(self, Reply::Line(b'-', _))
    }

    /// The bytes of a line or a bulk, else nothing.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Reply::Line(_, b) | Reply::Bulk(_, Some(b)) => b,
            _ => b"",
        }
    }

    pub fn items(&self) -> &[Reply] {
        match self {
            Reply::Many(_, Some(v)) => v,
            _ => &[],
        }
    }

    pub fn int(&self) -> Option<i64> {
        match self {
            Reply::Line(b':', b) => std::str::from_utf8(b).ok()?.parse().ok(),
            _ => None,
        }
    }

    /// The byte before it; nils are told apart by a second byte.
    pub fn kind(&self) -> (u8, bool) {
        match self {
            Reply::Line(k, _) => (*k, true),
            Reply::Bulk(k, b) => (*k, b.is_some()),
            Reply::Many(k, v) => (*k, v.is_some()),
        }
    }

    /// Every line and bulk in it, from left to right, without the nils.
    pub fn leaves(&self) -> Vec<Vec<u8>> {
        match self {
            Reply::Many(_, Some(v)) => v.iter().flat_map(Reply::leaves).collect(),
            Reply::Many(_, None) | Reply::Bulk(_, None) | Reply::Line(b'_', _) => vec![],
            _ => vec![self.bytes().to_vec()],
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Reply::Line(k, b) => write!(f, "{}{}", *k as char, b.escape_ascii()),
            Reply::Bulk(k, None) | Reply::Many(k, None) => write!(f, "{}-1", *k as char),
            Reply::Bulk(_, Some(b)) => write!(f, "{}", quoted(b)),
            Reply::Many(k, Some(v)) => {
                write!(f, "{}{}[", *k as char, v.len())?;
                for (n, item) in v.iter().enumerate() {
                    write!(f, "{}{item}", if n > 0 { " " } else { "" })?;
                }
                write!(f, "]")
            }
        }
    }
}

/// An argument as redis-cli takes it: quoted, and cut when it is long.
pub fn quoted(b: &[u8]) -> String {
    match b.len() {
        0..=600 => format!("\"{}\"", b.escape_ascii()),
        n => format!("\"{}...\" ({n} bytes)", b[..200].escape_ascii()),
    }
}

/// A command on one line.
pub fn shown(argv: &[Vec<u8>]) -> String {
    argv.iter().map(|a| quoted(a)).collect::<Vec<_>>().join(" ")
}

/// A command from words.
pub fn words(line: &str) -> Argv {
    line.split_whitespace().map(|w| w.as_bytes().to_vec()).collect()
}

/// A connection to one of the two servers.
pub struct Peer {
    sock: TcpStream,
    incoming: Incoming,
}

impl Peer {
    /// Connects; a reply that takes longer than 30 seconds is an error.
    pub fn open(addr: &str) -> io::Result<Peer> {
        let addr =
            addr.to_socket_addrs()?.next().ok_or_else(|| io::Error::other("no such address"))?;
        let sock = TcpStream::connect(addr)?;
        sock.set_nodelay(true)?;
        sock.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Peer { sock, incoming: Incoming::default() })
    }

    /// Sends commands in one write.
    pub fn send<'a>(&mut self, commands: impl IntoIterator<Item = &'a Argv>) -> io::Result<()> {
        let mut out = vec![];
        for argv in commands {
            write!(out, "*{}\r\n", argv.len())?;
            for a in argv {
                write!(out, "${}\r\n", a.len())?;
                out.extend_from_slice(a);
                out.extend_from_slice(b"\r\n");
            }
        }
        self.sock.write_all(&out)
    }

    pub fn reply(&mut self) -> io::Result<Reply> {
        let line = self.incoming.line(&mut self.sock)?;
        let (&kind, rest) = line.split_first().ok_or_else(|| io::Error::other("an empty line"))?;
        if !b"$=*~>%".contains(&kind) {
            return Ok(Reply::Line(kind, rest.to_vec()));
        }
        let n: i64 =
            std::str::from_utf8(rest).ok().and_then(|s| s.parse().ok()).ok_or_else(|| {
                io::Error::other(format!("a length was expected: {}", line.escape_ascii()))
            })?;
        Ok(match kind {
            b'$' | b'=' if n < 0 => Reply::Bulk(kind, None),
            b'$' | b'=' => {
                let body = self.incoming.take(&mut self.sock, n as usize, true)?;
                Reply::Bulk(kind, Some(body))
            }
            _ if n < 0 => Reply::Many(kind, None),
            _ => {
                let n = if kind == b'%' { 2 * n } else { n };
                Reply::Many(kind, Some((0..n).map(|_| self.reply()).collect::<io::Result<_>>()?))
            }
        })
    }

    /// One command and its reply.
    pub fn ask(&mut self, argv: &Argv) -> io::Result<Reply> {
        self.send([argv])?;
        self.reply()
    }

    /// Whether a reply has come that was not read yet.
    pub fn has_more(&mut self) -> io::Result<bool> {
        if !self.incoming.rest().is_empty() {
            return Ok(true);
        }
        self.sock.set_nonblocking(true)?;
        let peeked = self.sock.peek(&mut [0]);
        self.sock.set_nonblocking(false)?;
        match peeked {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            other => other.map(|_| true),
        }
    }
}
