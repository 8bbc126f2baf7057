//! `errno` and its text in libc's words, since log lines and replies carry them to the byte.
//!
//! `std::io::Error` prints "Address already in use (os error 98)"; the C prints what `strerror`
//! says.
#![allow(unsafe_code)] // strerror_r fills a buffer of ours.

use std::ffi::CStr;
use std::io;

/// Returns the text libc has for `errno`, like `"Address already in use"`.
pub fn strerror(errno: i32) -> String {
    let mut buf = [0u8; 256];
    // SAFETY: the buffer is ours and its length is given; libc's XSI `strerror_r` ends what it
    // writes with a NUL inside that length.
    unsafe { libc::strerror_r(errno, buf.as_mut_ptr().cast(), buf.len()) };
    match CStr::from_bytes_until_nul(&buf) {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(_) => format!("Unknown error {errno}"),
    }
}

/// Returns the text libc has for the error number inside `e`; an error without a number speaks for
/// itself.
pub fn error_text(e: &io::Error) -> String {
    match e.raw_os_error() {
        Some(errno) => strerror(errno),
        None => e.to_string(),
    }
}

/// Returns the error number inside `e`, 0 when it carries none.
pub fn errno_of(e: &io::Error) -> i32 {
    e.raw_os_error().unwrap_or(0)
}

/// Turns the -1 of a system call into the error that `errno` holds.
pub(crate) fn cvt(ret: i32) -> io::Result<i32> {
    if ret == -1 { Err(io::Error::last_os_error()) } else { Ok(ret) }
}

/// Does what [`cvt`] does, for the calls that count bytes.
pub(crate) fn cvt_size(ret: isize) -> io::Result<usize> {
    usize::try_from(ret).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_that_of_libc() {
        assert_eq!(strerror(libc::EADDRINUSE), "Address already in use");
        assert_eq!(strerror(libc::EAGAIN), "Resource temporarily unavailable");
        assert_eq!(
            error_text(&io::Error::from_raw_os_error(libc::EPERM)),
            "Operation not permitted"
        );
        assert_eq!(errno_of(&io::Error::other("x")), 0);
    }
}
