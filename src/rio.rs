//! `rio.c`: streams of bytes that RDB and AOF are written to and read from, whatever is at their
//! other end.
//!
//! Read first: [`Rio`], then `rioWrite` and, for reading, `rio_available` with `rio_take` and
//! `rio_fill`.
//!
//! Differs: the
//! buffer that stdio has under the C's files is part of the stream here, in both directions, and so
//! the checksum is taken of whole blocks rather than of each field, and a reader may look at the
//! bytes in place. Besides the ends of the C there is one that just counts, where the C writes to a
//! NULL stream.

use std::io;
use std::os::fd::RawFd;

use crate::crc64::crc64;
use crate::ds::lzf::LzfState;
use crate::server_h::{C_ERR, C_OK, CResult, PROTO_IOBUF_LEN};
use crate::sys::file::redis_fsync;
use crate::sys::socket::{read_append, write};
use crate::util::{format_17g, ll2string};

/// A read failed, or met the end too early. It stays set.
pub const RIO_FLAG_READ_ERROR: u32 = 1 << 0;
/// A write failed. It stays set.
pub const RIO_FLAG_WRITE_ERROR: u32 = 1 << 1;

/// The bytes that are gathered before they are written. What is summed and written at once should
/// still be in a near cache.
const WRITE_BUFFER: usize = 256 * 1024;
/// The bytes that are read at once.
const READ_BUFFER: usize = 256 * 1024;
/// The number of bytes that [`rio_take`] can ask for at most: longer strings are read by
/// [`rio_read_append`].
pub const RIO_TAKE_MAX: usize = 64 * 1024;

/// The other end of a stream.
enum RioIo {
    /// The buffer itself.
    Buffer,
    /// A file.
    File {
        fd: RawFd,
        /// The size of the file in bytes when it was opened, 0 if it has none.
        size: u64,
        /// Bytes written since the last fsync.
        buffered: usize,
        /// An fsync follows each time so many bytes were written; 0 is never.
        autosync: usize,
    },
    /// A socket that blocks, for reading.
    Conn {
        fd: RawFd,
        /// No byte beyond so many is read; 0 is no limit.
        read_limit: u64,
    },
    /// The writing end of a pipe that blocks.
    Fd { fd: RawFd },
    /// Nothing: bytes are counted and forgotten.
    Null,
}

/// `rio`: a stream, used in one direction. The file belongs to the caller, who opens and closes it.
pub struct Rio {
    io: RioIo,
    /// For writing: the bytes not written out yet. For reading: the bytes read, of which those from
    /// `pos` on are not taken yet.
    buf: Vec<u8>,
    pos: usize,
    /// `buf` may grow to this by plain appending. 0 before the first write and after an error.
    limit: usize,
    writing: bool,
    /// Bytes of the stream before those in `buf`.
    base: u64,
    /// The number of bytes of `buf` that are in `cksum` already.
    summed: usize,
    cksum: u64,
    /// True if a checksum is computed. To be set before the first byte.
    pub update_cksum: bool,
    /// No read asks for more bytes than this at once; 0 is no limit.
    pub max_processing_chunk: usize,
    flags: u32,
    error: Option<io::Error>,
    /// Work space for users of the stream, so that nothing is allocated for each string: room for
    /// bytes, and the compressor.
    pub scratch: Vec<u8>,
    pub lzf: Option<Box<LzfState>>,
}

impl Rio {
    fn new(io: RioIo, buf: Vec<u8>) -> Rio {
        Rio {
            io,
            buf,
            pos: 0,
            limit: 0,
            writing: false,
            base: 0,
            summed: 0,
            cksum: 0,
            update_cksum: false,
            max_processing_chunk: 0,
            flags: 0,
            error: None,
            scratch: Vec::new(),
            lzf: None,
        }
    }

    /// Adds the bytes of the buffer that are not summed yet to the checksum.
    fn sum(&mut self) {
        let end = if self.writing { self.buf.len() } else { self.pos };
        if self.update_cksum {
            self.cksum = crc64(self.cksum, &self.buf[self.summed..end]);
        }
        self.summed = end;
    }

    #[cold]
    fn fail(&mut self, flag: u32, error: io::Error) {
        self.flags |= flag;
        self.limit = 0;
        self.error.get_or_insert(error);
        if self.writing {
            self.buf.clear();
            self.summed = 0;
        }
    }
}

/// Returns a stream that reads the bytes of `s`, or appends to them; [`rio_into_buffer`] gives them
/// back.
pub fn rioInitWithBuffer(s: Vec<u8>) -> Rio {
    Rio::new(RioIo::Buffer, s)
}

/// Returns the bytes of a stream made by [`rioInitWithBuffer`].
pub fn rio_into_buffer(r: Rio) -> Vec<u8> {
    r.buf
}

/// Returns a stream that reads or writes the file `fd` from its present place on. `size` is the
/// length of what is to be read, as far as it is known, else 0: nobody allocates more than that
/// because a length in the file says so.
pub fn rioInitWithFile(fd: RawFd, size: u64) -> Rio {
    Rio::new(RioIo::File { fd, size, buffered: 0, autosync: 0 }, Vec::new())
}

/// Returns a stream that reads from the socket `fd`, which blocks, and belongs to the caller. What
/// is behind the first `read_limit` bytes stays in the socket; 0 is no limit, and then as much is
/// read as there is.
pub fn rioInitWithConn(fd: RawFd, read_limit: u64) -> Rio {
    Rio::new(RioIo::Conn { fd, read_limit }, Vec::new())
}

/// Returns a stream that writes to the pipe `fd`, which belongs to the caller. Little is gathered, as
/// somebody waits at the other end.
pub fn rioInitWithFd(fd: RawFd) -> Rio {
    Rio::new(RioIo::Fd { fd }, Vec::new())
}

/// Returns a stream that only counts what is written to it: see [`rioTell`].
pub fn rio_init_with_null() -> Rio {
    Rio::new(RioIo::Null, Vec::new())
}

// -----------------------------------------------------------------------------
// Writing
// -----------------------------------------------------------------------------

/// Writes all of `buf`. `C_ERR`: this or an earlier write failed; see [`rio_take_error`]. Since
/// bytes gather before they go, only [`rioFlush`] tells whether the last ones went.
#[inline]
pub fn rioWrite(r: &mut Rio, buf: &[u8]) -> CResult {
    if r.buf.len() + buf.len() <= r.limit {
        r.buf.extend_from_slice(buf);
        return C_OK;
    }
    rio_write_slow(r, buf)
}

#[cold]
#[inline(never)]
fn rio_write_slow(r: &mut Rio, buf: &[u8]) -> CResult {
    if rioGetWriteError(r) {
        return C_ERR;
    }
    if !r.writing {
        r.writing = true;
        r.limit = match r.io {
            RioIo::Buffer => usize::MAX,
            RioIo::File { .. } | RioIo::Conn { .. } | RioIo::Null => WRITE_BUFFER,
            RioIo::Fd { .. } => PROTO_IOBUF_LEN,
        };
        if r.limit != usize::MAX {
            r.buf.reserve_exact(r.limit);
        }
        return rioWrite(r, buf);
    }
    rio_write_gathered(r)?;
    if buf.len() <= r.limit / 2 {
        r.buf.extend_from_slice(buf);
        return C_OK;
    }
    // Long strings go straight through.
    if r.update_cksum {
        rioGenericUpdateChecksum(r, buf);
    }
    rio_write_out(r, buf)
}

/// Writes out the bytes that were gathered.
fn rio_write_gathered(r: &mut Rio) -> CResult {
    r.sum();
    let buf = std::mem::take(&mut r.buf);
    let result = rio_write_out(r, &buf);
    r.buf = buf;
    r.buf.clear();
    r.summed = 0;
    result
}

/// Writes bytes to the other end, and syncs the file if `autosync` asks for it.
fn rio_write_out(r: &mut Rio, buf: &[u8]) -> CResult {
    let fd = match r.io {
        RioIo::File { fd, .. } | RioIo::Fd { fd } => fd,
        RioIo::Conn { .. } => {
            r.fail(RIO_FLAG_WRITE_ERROR, io::ErrorKind::Unsupported.into());
            return C_ERR;
        }
        RioIo::Buffer | RioIo::Null => {
            r.base += buf.len() as u64;
            return C_OK;
        }
    };
    let mut rest = buf;
    while !rest.is_empty() {
        match write(fd, rest) {
            Ok(n) => {
                r.base += n as u64;
                rest = &rest[n..];
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => {
                r.fail(RIO_FLAG_WRITE_ERROR, e);
                return C_ERR;
            }
        }
    }
    let RioIo::File { fd, buffered, autosync, .. } = &mut r.io else { return C_OK };
    *buffered += buf.len();
    if *autosync != 0 && *buffered >= *autosync {
        if let Err(e) = redis_fsync(*fd) {
            r.fail(RIO_FLAG_WRITE_ERROR, e);
            return C_ERR;
        }
        *buffered = 0;
    }
    C_OK
}

/// Makes sure that all that was written has left the stream.
pub fn rioFlush(r: &mut Rio) -> CResult {
    if rioGetWriteError(r) {
        return C_ERR;
    }
    if r.writing && !matches!(r.io, RioIo::Buffer) { rio_write_gathered(r) } else { C_OK }
}

// -----------------------------------------------------------------------------
// Reading
// -----------------------------------------------------------------------------

/// Fills all of `buf`. `C_ERR`: there is not so much, or an earlier read failed.
pub fn rioRead(r: &mut Rio, mut buf: &mut [u8]) -> CResult {
    // A read of a few bytes that fails takes none of them: who tells where says where it began.
    while rio_available(r) < buf.len().min(RIO_TAKE_MAX) {
        rio_fill(r)?;
    }
    loop {
        let n = buf.len().min(rio_available(r));
        let (now, later) = buf.split_at_mut(n);
        now.copy_from_slice(rio_take(r, n));
        if later.is_empty() {
            return if rioGetReadError(r) { C_ERR } else { C_OK };
        }
        buf = later;
        rio_fill(r)?;
    }
}

/// Returns how many bytes can be taken without a read.
#[inline(always)]
pub fn rio_available(r: &Rio) -> usize {
    r.buf.len() - r.pos
}

/// Takes the next `n` bytes, which are available.
#[inline(always)]
pub fn rio_take(r: &mut Rio, n: usize) -> &[u8] {
    let at = r.pos;
    r.pos += n;
    &r.buf[at..r.pos]
}

/// Makes more bytes available by one read, as long as less than [`RIO_TAKE_MAX`] are. `C_ERR`:
/// there are no more.
pub fn rio_fill(r: &mut Rio) -> CResult {
    if rioGetReadError(r) {
        return C_ERR;
    }
    let Some(fd) = rio_read_end(r) else {
        r.fail(RIO_FLAG_READ_ERROR, io::ErrorKind::UnexpectedEof.into());
        return C_ERR;
    };
    // What was taken leaves the buffer.
    r.sum();
    r.base += r.pos as u64;
    r.buf.drain(..r.pos);
    (r.pos, r.summed) = (0, 0);

    if r.buf.capacity() == 0 {
        r.buf.reserve_exact(READ_BUFFER);
    }
    let room = r.buf.capacity() - r.buf.len();
    let chunk = if r.max_processing_chunk == 0 { room } else { room.min(r.max_processing_chunk) };
    let chunk = rio_within_limit(r, chunk)?;
    rio_read_fd(fd, &mut r.buf, chunk).map(drop).map_err(|e| r.fail(RIO_FLAG_READ_ERROR, e))
}

/// Makes at least `n` bytes available, however many that is, and takes none of them. `C_ERR`: there
/// are not so many.
pub fn rio_look_ahead(r: &mut Rio, n: usize) -> CResult {
    if r.buf.capacity() == 0 {
        r.buf.reserve_exact(READ_BUFFER);
    }
    while rio_available(r) < n {
        let Some(fd) = rio_read_end(r).filter(|_| !rioGetReadError(r)) else { return C_ERR };
        let max = rio_within_limit(r, READ_BUFFER)?;
        rio_read_fd(fd, &mut r.buf, max).map_err(|e| r.fail(RIO_FLAG_READ_ERROR, e))?;
    }
    C_OK
}

/// Appends the next bytes to `out`, up to `max`; at least one, by one read at most. `Err`: there
/// are no more.
pub fn rio_read_append(r: &mut Rio, out: &mut Vec<u8>, max: usize) -> Result<usize, ()> {
    let available = rio_available(r);
    if available > 0 {
        let n = available.min(max);
        out.extend_from_slice(rio_take(r, n));
        return Ok(n);
    }
    let Some(fd) = rio_read_end(r) else {
        rio_fill(r)?;
        return Ok(0);
    };
    if rioGetReadError(r) {
        return Err(());
    }
    let max = if r.max_processing_chunk == 0 { max } else { max.min(r.max_processing_chunk) };
    let max = rio_within_limit(r, max)?;
    let from = out.len();
    let n = rio_read_fd(fd, out, max).map_err(|e| r.fail(RIO_FLAG_READ_ERROR, e))?;
    // Past the buffer: it is empty, so the order of bytes is kept in the checksum.
    r.sum();
    if r.update_cksum {
        rioGenericUpdateChecksum(r, &out[from..]);
    }
    r.base += n as u64;
    Ok(n)
}

/// Returns the descriptor that is read from, if there is one.
fn rio_read_end(r: &Rio) -> Option<RawFd> {
    match r.io {
        RioIo::File { fd, .. } | RioIo::Conn { fd, .. } => Some(fd),
        RioIo::Buffer | RioIo::Fd { .. } | RioIo::Null => None,
    }
}

/// Returns how many of `max` bytes may be read, so that nothing beyond the limit of a socket is. `Err`:
/// none, and the stream has failed.
fn rio_within_limit(r: &mut Rio, max: usize) -> Result<usize, ()> {
    let RioIo::Conn { read_limit, .. } = r.io else { return Ok(max) };
    if read_limit == 0 {
        return Ok(max);
    }
    let left = read_limit.saturating_sub(r.base + r.buf.len() as u64);
    if left == 0 {
        r.fail(RIO_FLAG_READ_ERROR, io::Error::from_raw_os_error(libc::EOVERFLOW));
        return Err(());
    }
    Ok(usize::try_from(left).unwrap_or(max).min(max))
}

/// Does one read; the end of the file is an error. On a socket with a timeout, so is the end of that.
fn rio_read_fd(fd: RawFd, out: &mut Vec<u8>, max: usize) -> io::Result<usize> {
    loop {
        match read_append(fd, out, max) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
            }
            other => return other,
        }
    }
}

/// Returns the bytes that are available, without taking them.
pub fn rio_peek(r: &Rio) -> &[u8] {
    &r.buf[r.pos..]
}

/// Reads as stdio's `fgets` does: up to the end of a line, with that, but not more than `line`
/// holds. Returns how many bytes came; the last line of a file may have no end. `C_ERR`: there are
/// no more, see [`rio_error`].
pub fn rio_read_line(r: &mut Rio, line: &mut [u8]) -> Result<usize, ()> {
    let mut len = 0;
    while len < line.len() {
        let here = &rio_peek(r)[..rio_available(r).min(line.len() - len)];
        let end = memchr::memchr(b'\n', here);
        let n = end.map_or(here.len(), |at| at + 1);
        line[len..len + n].copy_from_slice(rio_take(r, n));
        len += n;
        if end.is_some() || len == line.len() {
            break;
        }
        if rio_fill(r).is_err() {
            return if len == 0 { Err(()) } else { Ok(len) };
        }
    }
    Ok(len)
}

/// Returns how many bytes are still to come, if that is known.
pub fn rio_remaining(r: &Rio) -> Option<u64> {
    match r.io {
        RioIo::Buffer => Some(rio_available(r) as u64),
        RioIo::Conn { read_limit: 0, .. }
        | RioIo::File { size: 0, .. }
        | RioIo::Fd { .. }
        | RioIo::Null => None,
        RioIo::Conn { read_limit, .. } => Some(read_limit.saturating_sub(rioTell(r))),
        RioIo::File { size, .. } => Some(size.saturating_sub(rioTell(r))),
    }
}

// -----------------------------------------------------------------------------
// Both
// -----------------------------------------------------------------------------

/// Returns how many bytes were written or read so far (the C's `processed_bytes`).
#[inline]
pub fn rioTell(r: &Rio) -> u64 {
    r.base + if r.writing { r.buf.len() } else { r.pos } as u64
}

/// Tells whether a read has failed.
pub fn rioGetReadError(r: &Rio) -> bool {
    r.flags & RIO_FLAG_READ_ERROR != 0
}

/// Tells whether a write has failed.
pub fn rioGetWriteError(r: &Rio) -> bool {
    r.flags & RIO_FLAG_WRITE_ERROR != 0
}

/// Returns the first error of the stream, if there is one.
pub fn rio_error(r: &Rio) -> Option<&io::Error> {
    r.error.as_ref()
}

/// Tells whether a read has met the end (stdio's `feof`).
pub fn rio_at_eof(r: &Rio) -> bool {
    rio_error(r).is_some_and(|e| e.kind() == io::ErrorKind::UnexpectedEof)
}

/// Takes the first error of the stream, for a message (the C leaves it in `errno`).
pub fn rio_take_error(r: &mut Rio) -> io::Error {
    r.error.take().unwrap_or_else(|| io::Error::from_raw_os_error(libc::EIO))
}

/// Returns the checksum of all bytes so far, 0 if none is computed.
pub fn rio_checksum(r: &mut Rio) -> u64 {
    r.sum();
    r.cksum
}

/// Adds bytes to the checksum.
pub fn rioGenericUpdateChecksum(r: &mut Rio, buf: &[u8]) {
    r.cksum = crc64(r.cksum, buf);
}

/// Makes a file stream fsync each time `bytes` bytes were written.
///
/// Left alone, the system gathers gigabytes, and then writes them all at once while everybody waits
/// for the disk.
pub fn rioSetAutoSync(r: &mut Rio, bytes: usize) {
    if let RioIo::File { autosync, .. } = &mut r.io {
        *autosync = bytes;
    }
}

// -----------------------------------------------------------------------------
// The protocol, for append only files. Each returns how many bytes it wrote.
// -----------------------------------------------------------------------------

/// Writes `<prefix><count>\r\n`, like `*3\r\n`.
pub fn rioWriteBulkCount(r: &mut Rio, prefix: u8, count: i64) -> Result<usize, ()> {
    let digits = ll2string(count);
    rioWrite(r, &[prefix])?;
    rioWrite(r, &digits)?;
    rioWrite(r, b"\r\n")?;
    Ok(digits.len() + 3)
}

/// Writes `$<length>\r\n<bytes>\r\n`.
pub fn rioWriteBulkString(r: &mut Rio, buf: &[u8]) -> Result<usize, ()> {
    let nwritten = rioWriteBulkCount(r, b'$', buf.len() as i64)?;
    rioWrite(r, buf)?;
    rioWrite(r, b"\r\n")?;
    Ok(nwritten + buf.len() + 2)
}

/// Writes a number as a bulk string.
pub fn rioWriteBulkLongLong(r: &mut Rio, l: i64) -> Result<usize, ()> {
    rioWriteBulkString(r, &ll2string(l))
}

/// Writes a double as a bulk string, with 17 digits.
pub fn rioWriteBulkDouble(r: &mut Rio, d: f64) -> Result<usize, ()> {
    rioWriteBulkString(r, &format_17g(d))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::file::{file_size, open, unlink};
    use crate::sys::socket::close;

    fn data(len: usize) -> Vec<u8> {
        (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect()
    }

    #[test]
    fn lines_are_read_as_fgets_does() {
        let mut r = rioInitWithBuffer(b"*3\r\n\nlonger than it\nend".to_vec());
        let mut line = [0; 8];
        let mut next = |r: &mut Rio| rio_read_line(r, &mut line).map(|len| line[..len].to_vec());
        assert_eq!(rio_peek(&r)[..2], *b"*3");
        for expected in [&b"*3\r\n"[..], b"\n", b"longer t", b"han it\n"] {
            assert_eq!(next(&mut r).unwrap(), expected);
            assert!(!rio_at_eof(&r));
        }
        // The last line has no end.
        assert_eq!(next(&mut r).unwrap(), b"end");
        assert!(rio_at_eof(&r));
        assert_eq!(next(&mut r), Err(()));
        assert_eq!(rioTell(&r), 23);
    }

    /// Pieces of every size, around that of the buffer as well.
    fn pieces(data: &[u8]) -> Vec<&[u8]> {
        let sizes = [1, 0, 7, 5000, 1, WRITE_BUFFER - 1, WRITE_BUFFER, 3, 130_000, 200_000, 2];
        let mut pieces = Vec::new();
        let mut rest = data;
        for size in sizes.iter().cycle() {
            let (piece, later) = rest.split_at(*size.min(&rest.len()));
            pieces.push(piece);
            rest = later;
            if rest.is_empty() {
                return pieces;
            }
        }
        unreachable!()
    }

    #[test]
    fn a_file_holds_what_was_written_and_reads_back() {
        let path = format!("/tmp/fidelis-rio-{}", std::process::id()).into_bytes();
        let data = data(3_000_000);
        let fd = open(&path, libc::O_CREAT | libc::O_TRUNC | libc::O_WRONLY, 0o600).unwrap();
        let mut r = rioInitWithFile(fd, 0);
        r.update_cksum = true;
        rioSetAutoSync(&mut r, 1 << 20);
        let mut total = 0;
        for piece in pieces(&data) {
            rioWrite(&mut r, piece).unwrap();
            total += piece.len() as u64;
            assert_eq!(rioTell(&r), total);
        }
        assert_eq!(rio_checksum(&mut r), crc64(0, &data));
        rioFlush(&mut r).unwrap();
        assert_eq!(file_size(fd).unwrap(), 3_000_000);
        close(fd);
        assert!(std::fs::read(crate::sys::file::as_path(&path)).unwrap() == data);

        for chunk in [0, 1000, 1 << 20] {
            let fd = open(&path, libc::O_RDONLY, 0).unwrap();
            let mut r = rioInitWithFile(fd, 3_000_000);
            r.update_cksum = true;
            r.max_processing_chunk = chunk;
            let mut out = Vec::new();
            for (i, piece) in pieces(&data).into_iter().enumerate() {
                if i % 2 == 0 {
                    let mut buf = vec![0; piece.len()];
                    rioRead(&mut r, &mut buf).unwrap();
                    out.extend_from_slice(&buf);
                } else {
                    let end = out.len() + piece.len();
                    while out.len() < end {
                        let max = end - out.len();
                        rio_read_append(&mut r, &mut out, max).unwrap();
                    }
                }
                assert_eq!(rioTell(&r), out.len() as u64);
                assert_eq!(rio_remaining(&r), Some(3_000_000 - out.len() as u64));
            }
            assert!(out == data, "chunk {chunk}");
            assert_eq!(rio_checksum(&mut r), crc64(0, &data));
            assert!(!rioGetReadError(&r));
            assert!(rioRead(&mut r, &mut [0]).is_err() && rioGetReadError(&r));
            assert_eq!(rio_take_error(&mut r).kind(), io::ErrorKind::UnexpectedEof);
            close(fd);
        }
        unlink(&path).unwrap();
    }

    #[test]
    fn a_write_error_stays() {
        let fd = open(b"/dev/full", libc::O_WRONLY, 0).unwrap();
        let mut r = rioInitWithFile(fd, 0);
        rioWrite(&mut r, b"fits in the buffer").unwrap();
        assert!(rioFlush(&mut r).is_err() && rioGetWriteError(&r));
        assert!(rioWrite(&mut r, b"x").is_err());
        assert!(rioWrite(&mut r, &[0; WRITE_BUFFER]).is_err());
        assert!(rioFlush(&mut r).is_err());
        assert_eq!(rio_take_error(&mut r).raw_os_error(), Some(libc::ENOSPC));
        close(fd);
    }

    #[test]
    fn a_buffer_and_nothing() {
        let mut r = rioInitWithBuffer(Vec::new());
        let mut null = rio_init_with_null();
        r.update_cksum = true;
        let data = data(700_000);
        for piece in pieces(&data) {
            rioWrite(&mut r, piece).unwrap();
            rioWrite(&mut null, piece).unwrap();
            assert_eq!(rioTell(&r), rioTell(&null));
        }
        assert_eq!(rio_checksum(&mut r), crc64(0, &data));
        rioFlush(&mut r).unwrap();
        let mut r = rioInitWithBuffer(rio_into_buffer(r));
        let mut back = vec![0; 700_000];
        rioRead(&mut r, &mut back).unwrap();
        assert!(back == data);
        assert!(rioRead(&mut r, &mut [0]).is_err());
    }

    #[test]
    fn protocol() {
        let mut r = rioInitWithBuffer(Vec::new());
        assert_eq!(rioWriteBulkCount(&mut r, b'*', 12), Ok(5));
        assert_eq!(rioWriteBulkString(&mut r, b"a\r\n"), Ok(9));
        assert_eq!(rioWriteBulkString(&mut r, b""), Ok(6));
        assert_eq!(rioWriteBulkLongLong(&mut r, -5), Ok(8));
        assert_eq!(rioWriteBulkDouble(&mut r, 0.1), Ok(26));
        let expected =
            b"*12\r\n$3\r\na\r\n\r\n$0\r\n\r\n$2\r\n-5\r\n$19\r\n0.10000000000000001\r\n";
        assert_eq!(rio_into_buffer(r), expected);
    }
}
