//! Both ends of a replication link, played by a test: a master that says what it likes, and a
//! replica that notes what it gets.
#![allow(dead_code)] // each test binary uses its own part of this

use std::io;
use std::net::TcpListener;

use crate::support::{Conn, PATIENCE, Reply, wait_for};

/// An RDB without a key, and without a checksum.
pub const EMPTY_RDB: &[u8] = b"REDIS0009\xff\0\0\0\0\0\0\0\0";

/// The question to which a replica answers with its offset.
const GETACK: &[u8] = b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n";

/// Who looks like a master, as far as the RDB.
pub struct FakeMaster {
    listener: TcpListener,
    pub port: u16,
}

/// A replica that has asked for synchronization, and waits for the answer.
pub struct Asking {
    pub conn: Conn,
    /// The id and the offset that it would go on from, or `?` and -1.
    pub replid: String,
    pub offset: i64,
}

/// The stream to a replica.
pub struct Link {
    pub conn: Conn,
    /// Where the stream is, with all that was sent.
    pub offset: i64,
}

/// The id that a fake master has.
pub const REPLID: &str = "0123456789012345678901234567890123456789";

impl FakeMaster {
    pub fn start() -> FakeMaster {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        FakeMaster { listener, port }
    }

    /// Waits for a replica to connect.
    #[track_caller]
    pub fn accept(&self) -> Conn {
        let mut sock = None;
        wait_for("the replica to connect", || {
            sock = self.listener.accept().ok();
            sock.is_some()
        });
        let (sock, _) = sock.expect("it came");
        sock.set_nonblocking(false).unwrap();
        Conn::over(sock).unwrap()
    }

    /// Waits for a replica, and agrees to everything up to its PSYNC. An error: it hung up before
    /// that.
    #[track_caller]
    pub fn handshake(&self) -> io::Result<Asking> {
        let mut conn = self.accept();
        loop {
            let request = conn.try_reply()?;
            let words: Vec<String> = request.array().iter().map(Reply::text).collect();
            match &words[0][..] {
                "PING" => conn.raw(b"+PONG\r\n")?,
                "PSYNC" => {
                    let offset = words[2].parse().expect("a number");
                    return Ok(Asking { conn, replid: words[1].clone(), offset });
                }
                _ => conn.raw(b"+OK\r\n")?,
            }
        }
    }

    /// Waits for a replica, and gives it this RDB.
    #[track_caller]
    pub fn full_sync(&self, rdb: &[u8]) -> Link {
        loop {
            if let Ok(asking) = self.handshake()
                && let Ok(link) = asking.full_sync(rdb, 0)
            {
                return link;
            }
        }
    }
}

impl Asking {
    /// +FULLRESYNC, and the RDB.
    pub fn full_sync(mut self, rdb: &[u8], offset: i64) -> io::Result<Link> {
        self.conn.raw(format!("+FULLRESYNC {REPLID} {offset}\r\n${}\r\n", rdb.len()).as_bytes())?;
        self.conn.raw(rdb)?;
        Ok(Link { conn: self.conn, offset })
    }

    /// +CONTINUE.
    pub fn go_on(mut self) -> io::Result<Link> {
        self.conn.raw(format!("+CONTINUE {REPLID}\r\n").as_bytes())?;
        Ok(Link { conn: self.conn, offset: self.offset - 1 })
    }
}

impl Link {
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.conn.raw(bytes)?;
        self.offset += bytes.len() as i64;
        Ok(())
    }

    /// Asks for an acknowledgement, and waits until there is one of all that was sent before, and
    /// of no more.
    pub fn acknowledged(&mut self) -> io::Result<()> {
        let asked_at = self.offset;
        self.send(GETACK)?;
        loop {
            let words = self.conn.try_reply()?;
            let offset: i64 = words.array()[2].text().parse().map_err(io::Error::other)?;
            if offset == asked_at || offset == self.offset {
                return Ok(());
            }
            if offset > self.offset {
                return Err(io::Error::other(format!("ACK {offset} of {}", self.offset)));
            }
        }
    }
}

/// A replica without data: it notes the stream.
pub struct Recorder {
    conn: Conn,
}

impl Recorder {
    /// Follows the server on this port. The stream it notes begins here.
    #[track_caller]
    pub fn attach(port: u16) -> Recorder {
        let mut conn = Conn::open(port);
        conn.sock.set_read_timeout(Some(PATIENCE)).unwrap();
        conn.send(&["PSYNC", "?", "-1"]);
        let line = conn.line().unwrap();
        assert!(line.starts_with(b"+FULLRESYNC"), "{}", line.escape_ascii());
        // Newlines keep the link alive until the file is there.
        let header = conn.line().unwrap();
        let header = String::from_utf8_lossy(header.trim_ascii()).into_owned();
        let len = header.strip_prefix('$').expect(&header).parse().expect(&header);
        conn.take(len).unwrap();
        Recorder { conn }
    }

    /// Everything up to the command with these bytes at its end.
    #[track_caller]
    pub fn read_up_to(&mut self, end: &[u8]) -> Vec<u8> {
        let mut stream = Vec::new();
        while !stream.ends_with(end) {
            stream.extend(self.conn.take(1).expect("more of the stream"));
        }
        stream
    }

    /// The next `n` bytes.
    #[track_caller]
    pub fn take(&mut self, n: usize) -> Vec<u8> {
        self.conn.take(n).expect("more of the stream")
    }

    /// Reports to have processed the stream up to this offset.
    #[track_caller]
    pub fn acknowledge(&mut self, offset: i64) {
        self.conn.send(&["REPLCONF".to_string(), "ACK".to_string(), offset.to_string()]);
    }

    /// The commands of the stream, up to and including this one. PINGs are left out.
    #[track_caller]
    pub fn commands_up_to(&mut self, last: &[&str]) -> Vec<Vec<Vec<u8>>> {
        let mut commands = Vec::new();
        loop {
            let request = self.conn.reply();
            let command: Vec<Vec<u8>> =
                request.array().iter().map(|a| a.bytes().to_vec()).collect();
            let end = command.iter().map(Vec::as_slice).eq(last.iter().map(|a| a.as_bytes()));
            if command != [b"PING".to_vec()] {
                commands.push(command);
            }
            if end {
                return commands;
            }
        }
    }
}
