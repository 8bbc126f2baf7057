//! Children: born by `fork`, gone by `_exit`, heard of by `waitpid`.
#![allow(unsafe_code)] // fork, _exit, waitpid and kill are the bare system calls.

use crate::sys::errno::cvt;
use std::io;

/// The side of a [`fork`] that we are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// The parent, which goes on, with the child's process id.
    Parent(i32),
    /// The child, with a copy of everything, and of all threads only this one.
    Child,
}

/// Splits the process in two.
///
/// The child shares the event loop's epoll set with its parent: `EventLoop::leave_epoll_to_parent`
/// must be the first it calls. It must leave by [`exitFromChild`].
pub fn fork() -> io::Result<Fork> {
    // SAFETY: the child may allocate: jemalloc registers with `pthread_atfork`. No other lock of
    // this process is one that a background thread holds and a child takes: the one log line of a
    // background thread (an fsync that failed) only reads the log's settings, as the child does,
    // and takes its local time without libc's lock.
    match cvt(unsafe { libc::fork() })? {
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// Ends the process at once: no destructor runs, no buffer of std is flushed. The parent owns
/// those.
pub fn exitFromChild(retcode: i32) -> ! {
    // SAFETY: always allowed; it does not return.
    unsafe { libc::_exit(retcode) }
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildExit {
    /// The child's process id.
    pub pid: i32,
    /// The code that the child gave to `_exit`; 0 when a signal ended it.
    pub exitcode: i32,
    /// The signal that ended it, or 0.
    pub bysignal: i32,
}

/// Which child to wait for.
pub const ANY_CHILD: i32 = -1;

fn wait(pid: i32, flags: i32) -> io::Result<Option<ChildExit>> {
    let mut status = 0;
    // SAFETY: `status` takes the answer.
    let pid = cvt(unsafe { libc::waitpid(pid, &mut status, flags) })?;
    if pid == 0 {
        return Ok(None);
    }
    let exitcode = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 0 };
    let bysignal = if libc::WIFSIGNALED(status) { libc::WTERMSIG(status) } else { 0 };
    Ok(Some(ChildExit { pid, exitcode, bysignal }))
}

/// Asks whether `pid` (or [`ANY_CHILD`]) has ended, without waiting. `None`: not yet. ECHILD: there
/// is no such child.
pub fn wait_no_hang(pid: i32) -> io::Result<Option<ChildExit>> {
    wait(pid, libc::WNOHANG)
}

/// Waits until `pid` has ended, through signals.
pub fn wait_for_child(pid: i32) -> io::Result<ChildExit> {
    loop {
        match wait(pid, 0) {
            Ok(Some(exit)) => return Ok(exit),
            Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
            Ok(None) | Err(_) => {}
        }
    }
}

/// Sends a signal to a process.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: no pointers.
    cvt(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Returns the id of this process.
pub fn getpid() -> i32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::getpid() }
}

/// Returns the id of the process that made this one.
pub fn getppid() -> i32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::getppid() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::forks;

    #[test]
    fn a_child_exits_with_its_code() {
        let _forks = forks();
        let Fork::Parent(pid) = fork().unwrap() else { exitFromChild(7) };
        assert_eq!(wait_for_child(pid).unwrap(), ChildExit { pid, exitcode: 7, bysignal: 0 });
        assert_eq!(wait_no_hang(pid).unwrap_err().raw_os_error(), Some(libc::ECHILD));
    }

    #[test]
    fn a_killed_child_names_its_signal() {
        let _forks = forks();
        let Fork::Parent(pid) = fork().unwrap() else {
            loop {
                crate::sys::clock::usleep(1_000_000);
            }
        };
        assert_eq!(wait_no_hang(pid).unwrap(), None);
        kill(pid, libc::SIGKILL).unwrap();
        assert_eq!(
            wait_for_child(pid).unwrap(),
            ChildExit { pid, exitcode: 0, bysignal: libc::SIGKILL }
        );
    }
}
