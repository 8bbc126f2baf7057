//! Bytes that come over a connection, taken by lines and by numbers of bytes.

use std::io::{self, Read};

/// Reads some bytes, and asks again if the read was interrupted: one with a time limit is, whenever
/// the process was stopped and goes on.
pub fn read_some(from: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(buf) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// What has come and was not taken yet.
#[derive(Default)]
pub struct Incoming {
    buf: Vec<u8>,
    pos: usize,
}

impl Incoming {
    /// The next line, without its CRLF.
    pub fn line(&mut self, from: &mut impl Read) -> io::Result<Vec<u8>> {
        let mut seen = 0;
        loop {
            let open = &self.buf[self.pos + seen..];
            if let Some(n) = memchr::memmem::find(open, b"\r\n") {
                return Ok(self.taken(seen + n, 2));
            }
            // The CR may be here already.
            seen += open.len().saturating_sub(1);
            self.fill(from)?;
        }
    }

    /// Exactly `n` bytes, and then those of a CRLF if it is asked for.
    pub fn take(&mut self, from: &mut impl Read, n: usize, crlf: bool) -> io::Result<Vec<u8>> {
        let end = if crlf { 2 } else { 0 };
        while self.buf.len() - self.pos < n + end {
            self.fill(from)?;
        }
        Ok(self.taken(n, end))
    }

    fn taken(&mut self, n: usize, dropped: usize) -> Vec<u8> {
        let bytes = self.buf[self.pos..self.pos + n].to_vec();
        self.pos += n + dropped;
        // What was taken is given back now and then: `line` counts from what is left.
        if self.pos == self.buf.len() {
            self.buf.clear();
            self.pos = 0;
        } else if self.pos > 1 << 16 {
            self.buf.drain(..self.pos);
            self.pos = 0;
        }
        bytes
    }

    /// What is here and was not taken.
    pub fn rest(&self) -> &[u8] {
        &self.buf[self.pos..]
    }

    /// Reads once; an error of kind `UnexpectedEof` at the end.
    pub fn fill(&mut self, from: &mut impl Read) -> io::Result<()> {
        let mut chunk = [0; 1 << 16];
        match read_some(from, &mut chunk)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.buf.extend_from_slice(&chunk[..n]);
                Ok(())
            }
        }
    }
}
