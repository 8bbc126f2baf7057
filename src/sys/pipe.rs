//! Pipes between a server and its children. Read and written by `sys::socket`'s functions.
#![allow(unsafe_code)] // pipe2 fills an array.

use crate::sys::errno::cvt;
use std::io;
use std::os::fd::RawFd;

/// Returns a new pipe: (read end, write end), close-on-exec.
pub fn pipe() -> io::Result<(RawFd, RawFd)> {
    let mut fds = [-1; 2];
    // SAFETY: the array has room for the two numbers.
    cvt(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) })?;
    Ok((fds[0], fds[1]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket::{close, read, write};

    #[test]
    fn bytes_go_one_way() {
        let (r, w) = pipe().unwrap();
        let mut buf = [0; 8];
        assert_eq!(write(w, b"abc").unwrap(), 3);
        assert_eq!(read(r, &mut buf).unwrap(), 3);
        close(w);
        assert_eq!(read(r, &mut buf).unwrap(), 0);
        close(r);
    }
}
