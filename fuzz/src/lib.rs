//! What the fuzz targets share: how an input is taken apart, and a server within the process.

use std::cell::Cell;
use std::mem::take;

use fidelis::acl::{ACLInit, Users};
use fidelis::config::resetServerSaveParams;
use fidelis::connection::connCreateSocket;
use fidelis::ds::siphash::HashSeed;
use fidelis::keyspace::Keyspace;
use fidelis::log::{LL_WARNING, set_log_file, set_log_level};
use fidelis::networking::{createClient, freeClient, processInputBuffer, unpauseClients};
use fidelis::server::initServerConfig;
use fidelis::server_h::*;

#[path = "../../tests/support/traffic.rs"]
pub mod traffic;

#[path = "../../lua/tests/support/untrusted.rs"]
pub mod lua;

/// An input that is taken apart from the front: a value, and then what is done to it. What is
/// missing at its end reads as 0, or as empty.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, n: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(n.min(self.0.len()));
        self.0 = tail;
        head
    }

    /// The next operation; `None` at the end.
    pub fn op(&mut self) -> Option<u8> {
        self.take(1).first().copied()
    }

    pub fn byte(&mut self) -> u8 {
        self.op().unwrap_or(0)
    }

    /// A number of 1, 2, 4 or 8 bytes.
    pub fn int(&mut self) -> i64 {
        let mut bytes = [0; 8];
        let n = 1 << (self.byte() % 4);
        let taken = self.take(n);
        bytes[8 - taken.len()..].copy_from_slice(taken);
        i64::from_le_bytes(bytes) >> (64 - 8 * taken.len().clamp(1, 8))
    }

    /// A value from outside: its length in two bytes, and as many bytes.
    pub fn value(&mut self) -> &'a [u8] {
        let len = u16::from_le_bytes([self.byte(), self.byte()]);
        self.take(len.into())
    }

    /// A string: a byte of length and as many bytes, or one byte many times, as often as headers of
    /// entries find critical.
    pub fn string(&mut self) -> Vec<u8> {
        const LENGTHS: [usize; 16] =
            [63, 64, 65, 125, 126, 127, 250, 251, 252, 253, 254, 255, 256, 4095, 4096, 16384];
        match self.byte() {
            n @ 0xf0.. => vec![self.byte(); LENGTHS[usize::from(n - 0xf0)]],
            n => self.take(n.into()).to_vec(),
        }
    }
}

/// A number as it is written.
pub fn text(n: i64) -> Vec<u8> {
    n.to_string().into_bytes()
}

/// An input as [`Input`] takes it apart again: a value, and operations.
pub fn input(value: &[u8], ops: &[u8]) -> Vec<u8> {
    [&(value.len() as u16).to_le_bytes(), value, ops].concat()
}

/// A server and its one client, without a socket: what it is sent is put into its query buffer, and
/// what it is answered is taken out of its output buffer.
pub struct InProcess {
    pub server: Box<Server>,
    pub c: ClientId,
}

thread_local! {
    static KEPT: Cell<Option<InProcess>> = const { Cell::new(None) };
}

impl InProcess {
    /// Has `f` use a server without keys, with a new client. `limits` makes sizes of packed values
    /// of it. It is made once only: that takes longer than what is done with it.
    pub fn with(limits: u8, f: impl FnOnce(&mut InProcess)) {
        let mut it = KEPT.take().unwrap_or_else(InProcess::new);
        it.set_limits(limits);
        f(&mut it);
        it.start_over();
        KEPT.set(Some(it));
    }

    fn new() -> InProcess {
        set_log_level(LL_WARNING);
        set_log_file(b"/dev/null");
        let mut server = Box::new(Server::default());
        initServerConfig(&mut server);
        ACLInit(&mut server);
        // FLUSHALL would save.
        resetServerSaveParams(&mut server);
        // The same order in tables each time.
        let seed = HashSeed::new([7; 16]);
        let db = |id| RedisDb { id, dict: Keyspace::new(seed), ..RedisDb::default() };
        server.db = (0..16).map(db).collect();
        server.slaveseldb = -1;
        server.skip_checksum_validation = true;
        server.rdb_checksum = false;
        server.sanitize_dump_payload = SANITIZE_DUMP_YES;
        let c = InProcess::client(&mut server);
        InProcess { server, c }
    }

    fn client(server: &mut Server) -> ClientId {
        let conn = connCreateSocket(&mut server.net);
        createClient(server, Some(conn))
    }

    fn set_limits(&mut self, limits: u8) {
        let server = &mut self.server;
        let entries = usize::from(limits & 31);
        server.hash_max_ziplist_entries = entries;
        server.zset_max_ziplist_entries = entries;
        server.set_max_intset_entries = entries;
        server.list_max_ziplist_size = if entries == 0 { -2 } else { entries as i32 };
        server.stream_node_max_entries = entries as i64;
        server.list_compress_depth = i32::from(limits >> 5 & 3);
        server.rdb_compression = limits < 128;
    }

    fn start_over(&mut self) {
        if self.server.clients.contains(self.c) {
            freeClient(&mut self.server, self.c);
        }
        unpauseClients(&mut self.server);
        self.server.users = Users::default();
        ACLInit(&mut self.server);
        self.c = InProcess::client(&mut self.server);
        self.line("FLUSHALL SYNC");
    }

    /// Sends bytes; returns the replies. `None`: the client is gone, or will be.
    pub fn send(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let client = self.server.clients.get(self.c)?;
        if client.flags & (CLIENT_CLOSE_ASAP | CLIENT_CLOSE_AFTER_REPLY) != 0 {
            return None;
        }
        self.server[self.c].querybuf.extend_from_slice(bytes);
        processInputBuffer(&mut self.server, self.c);
        if !self.server.clients.contains(self.c) {
            return None;
        }
        let client = &mut self.server[self.c];
        let mut replies = take(&mut client.buf);
        for node in take(&mut client.reply) {
            match node {
                ReplyNode::Block(block) => replies.extend_from_slice(&block),
                ReplyNode::Deferred(_) => panic!("a length that was promised is missing"),
            }
        }
        client.reply_bytes = 0;
        Some(replies)
    }

    /// Executes a command; its reply, which is well-formed and the only one.
    pub fn ask<T: AsRef<[u8]>>(&mut self, words: &[T]) -> Vec<u8> {
        let reply = self.send(&request(words)).expect("nobody closed the connection");
        assert_eq!(reply_len(&reply), Some(reply.len()), "{}", reply.escape_ascii());
        reply
    }

    /// Executes a command given as a line of words.
    pub fn line(&mut self, line: &str) -> Vec<u8> {
        self.ask(&line.split(' ').collect::<Vec<_>>())
    }

    /// Uses a value in every way there is for its type, and deletes it.
    pub fn use_up(&mut self, key: &str) {
        let type_ = self.line(&format!("TYPE {key}"));
        let type_ = String::from_utf8_lossy(&type_[1..type_.len() - 2]).into_owned();
        for words in traffic::using(&type_, key) {
            self.ask(&words);
        }
    }
}

/// A command as clients send it.
pub fn request<T: AsRef<[u8]>>(words: &[T]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The length of the reply that `bytes` begin with; `None`: it is none, or not whole.
pub fn reply_len(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(2).position(|w| w == b"\r\n")?;
    let (line, mut len) = (&bytes[1..end], end + 2);
    if line.iter().any(|b| b"\r\n".contains(b)) {
        return None;
    }
    let number = || std::str::from_utf8(line).ok()?.parse::<i64>().ok();
    let children = match bytes[0] {
        b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => 0,
        b'$' | b'=' => {
            if let Ok(n) = usize::try_from(number()?) {
                if bytes.get(len + n..len + n + 2)? != b"\r\n" {
                    return None;
                }
                len += n + 2;
            }
            0
        }
        b'*' | b'~' | b'>' => number()?,
        b'%' | b'|' => number()? * 2,
        _ => return None,
    };
    for _ in 0..children {
        len += reply_len(&bytes[len..])?;
    }
    Some(len)
}
