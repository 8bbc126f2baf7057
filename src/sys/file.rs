//! Files by descriptor or path: what `aof.c`, `rdb.c`, `rio.c`, `bio.c` and `config.c` ask of the
//! kernel.
//!
//! Read and written by `sys::socket`'s `read`, `write` and `writev`, closed by its `close`. Paths
//! are bytes.
#![allow(unsafe_code)] // Calls on descriptor numbers; std and nix want owned descriptors.

use crate::sys::errno::cvt;
use nix::unistd::AccessFlags;
use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// Returns a path of bytes as std's.
pub fn as_path(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

fn cpath(path: &[u8]) -> io::Result<CString> {
    CString::new(path).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// Opens a file: `flags` are `O_RDONLY`, `O_WRONLY`, `O_APPEND`, ..., `mode` is that of a file made
/// by `O_CREAT`, less the umask. The descriptor is close-on-exec.
pub fn open(path: &[u8], flags: i32, mode: u32) -> io::Result<RawFd> {
    let path = cpath(path)?;
    // SAFETY: the path ends with NUL and outlives the call.
    cvt(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, mode as libc::c_uint) })
}

/// Waits until the file, with all its metadata, is on the disk.
pub fn fsync(fd: RawFd) -> io::Result<()> {
    // SAFETY: no pointers.
    cvt(unsafe { libc::fsync(fd) }).map(drop)
}

/// Waits until the file's bytes, and the metadata needed to read them back, are on the disk
/// (`fdatasync`).
pub fn redis_fsync(fd: RawFd) -> io::Result<()> {
    // SAFETY: no pointers.
    cvt(unsafe { libc::fdatasync(fd) }).map(drop)
}

/// Waits until `size` bytes from `offset` that are under way reach the disk, and starts writing the
/// rest of them. It spreads the load of a large file; it is no promise about the bytes.
pub fn rdb_fsync_range(fd: RawFd, offset: i64, size: i64) -> io::Result<()> {
    let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE;
    // SAFETY: no pointers.
    cvt(unsafe { libc::sync_file_range(fd, offset, size, flags) }).map(drop)
}

/// Moves the place of the next read or write; `whence` is `SEEK_SET`, `SEEK_CUR` or `SEEK_END`.
/// Returns the new place.
pub fn lseek(fd: RawFd, offset: i64, whence: i32) -> io::Result<i64> {
    // SAFETY: no pointers.
    let at = unsafe { libc::lseek(fd, offset, whence) };
    if at == -1 { Err(io::Error::last_os_error()) } else { Ok(at) }
}

/// Returns the size in bytes of an open file.
pub fn file_size(fd: RawFd) -> io::Result<i64> {
    // SAFETY: an all-zero `stat` is a valid value of it.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` takes the answer.
    cvt(unsafe { libc::fstat(fd, &mut stat) })?;
    Ok(stat.st_size)
}

/// Cuts an open file to `length` bytes, or fills it up with zeros.
pub fn ftruncate(fd: RawFd, length: i64) -> io::Result<()> {
    // SAFETY: no pointers.
    cvt(unsafe { libc::ftruncate(fd, length) }).map(drop)
}

/// Sets the mode of an open file.
pub fn fchmod(fd: RawFd, mode: u32) -> io::Result<()> {
    // SAFETY: no pointers.
    cvt(unsafe { libc::fchmod(fd, mode) }).map(drop)
}

/// Makes `new` mean the file that `old` is.
pub fn dup2(old: RawFd, new: RawFd) -> io::Result<()> {
    // SAFETY: no pointers.
    cvt(unsafe { libc::dup2(old, new) }).map(drop)
}

/// Tells whether the descriptor is a terminal.
pub fn isatty(fd: RawFd) -> bool {
    // SAFETY: no pointers.
    unsafe { libc::isatty(fd) == 1 }
}

/// Tells whether standard input is a terminal from which this process may read: in the background it
/// would be stopped.
pub fn has_terminal() -> bool {
    // SAFETY: no pointers.
    isatty(0) && unsafe { libc::tcgetpgrp(0) == libc::getpgrp() }
}

/// Gives a file another name, at once and for all: who opens it finds the old file or the new one.
pub fn rename(old: &[u8], new: &[u8]) -> io::Result<()> {
    fs::rename(as_path(old), as_path(new))
}

/// Removes a name; the file is removed with its last name and descriptor. Allowed in a signal
/// handler.
pub fn unlink(path: &[u8]) -> io::Result<()> {
    Ok(nix::unistd::unlink(path)?)
}

/// Cuts a file to `length` bytes.
pub fn truncate(path: &[u8], length: i64) -> io::Result<()> {
    Ok(nix::unistd::truncate(path, length)?)
}

/// Sets the mode of a file.
pub fn chmod(path: &[u8], mode: u32) -> io::Result<()> {
    let path = cpath(path)?;
    // SAFETY: the path ends with NUL and outlives the call.
    cvt(unsafe { libc::chmod(path.as_ptr(), mode) }).map(drop)
}

/// The permission that [`access`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `R_OK`
    Read,
    /// `W_OK`
    Write,
    /// `X_OK`
    Execute,
}

/// Checks that this process may read, write or execute the file, as `what` says. `Err`: it may not.
pub fn access(path: &[u8], what: Access) -> io::Result<()> {
    let flags = match what {
        Access::Read => AccessFlags::R_OK,
        Access::Write => AccessFlags::W_OK,
        Access::Execute => AccessFlags::X_OK,
    };
    Ok(nix::unistd::access(path, flags)?)
}

/// Changes the working directory.
pub fn chdir(path: &[u8]) -> io::Result<()> {
    std::env::set_current_dir(as_path(path))
}

/// Returns the working directory.
pub fn getcwd() -> io::Result<Vec<u8>> {
    Ok(std::env::current_dir()?.into_os_string().into_vec())
}

/// Sets the mask of bits that new files do not get, and returns the former one.
pub fn umask(mask: u32) -> u32 {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(mask)).bits()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket::{close, read, write};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_files_life() {
        let dir = format!("/tmp/fidelis-file-{}", std::process::id()).into_bytes();
        fs::create_dir_all(as_path(&dir)).unwrap();
        let [a, b] = [&b"/a"[..], b"/b"].map(|name| [&dir[..], name].concat());

        let fd = open(&a, libc::O_CREAT | libc::O_RDWR | libc::O_APPEND, 0o600).unwrap();
        assert_eq!(write(fd, b"0123456789").unwrap(), 10);
        redis_fsync(fd).unwrap();
        fsync(fd).unwrap();
        rdb_fsync_range(fd, 0, 10).unwrap();
        assert_eq!(file_size(fd).unwrap(), 10);
        ftruncate(fd, 4).unwrap();
        assert_eq!(lseek(fd, 1, libc::SEEK_SET).unwrap(), 1);
        let mut buf = [0; 8];
        assert_eq!(read(fd, &mut buf).unwrap(), 3);
        assert_eq!(&buf[..3], b"123");
        fchmod(fd, 0o640).unwrap();
        assert!(!isatty(fd));

        rename(&a, &b).unwrap();
        truncate(&b, 2).unwrap();
        assert_eq!(file_size(fd).unwrap(), 2);
        assert_eq!(fs::metadata(as_path(&b)).unwrap().permissions().mode() & 0o777, 0o640);
        chmod(&b, 0o600).unwrap();
        access(&b, Access::Read).unwrap();
        access(&b, Access::Write).unwrap();
        assert!(access(&a, Access::Read).is_err() && access(&b, Access::Execute).is_err());
        unlink(&b).unwrap();
        assert_eq!(unlink(&b).unwrap_err().raw_os_error(), Some(libc::ENOENT));
        assert_eq!(open(b"a\0b", 0, 0).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        close(fd);
        fs::remove_dir(as_path(&dir)).unwrap();
        assert!(getcwd().unwrap().starts_with(b"/"));
    }
}
