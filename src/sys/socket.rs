//! Sockets by descriptor number, under `anet.rs`, `connection.rs` and `syncio.rs`.
//!
//! Every socket is born close-on-exec. Addresses are those of std, or a unix path. Errors are the
//! kernel's numbers.
#![allow(unsafe_code)] // The socket calls take C structures, which live here and nowhere else.

use crate::sys::errno::{cvt, cvt_size};
use std::ffi::{CStr, CString};
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::RawFd;
use std::ptr;

/// The address of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addr {
    /// TCP.
    Inet(SocketAddr),
    /// A unix socket's path; empty for one without a name.
    Unix(Vec<u8>),
    /// Another family.
    Other(i32),
}

/// The address family of [`socket`]: IPv4.
pub const AF_INET: i32 = libc::AF_INET;
/// IPv6.
pub const AF_INET6: i32 = libc::AF_INET6;
/// Unix sockets.
pub const AF_LOCAL: i32 = libc::AF_UNIX;
/// Either IPv4 or IPv6, for [`resolve`].
pub const AF_UNSPEC: i32 = libc::AF_UNSPEC;

/// Longest path of a unix socket, in bytes; longer ones are cut, as in the C.
pub const UNIX_PATH_MAX: usize = 107;

/// Returns `addr` in the kernel's form, with its length.
fn to_sockaddr(addr: &Addr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: all-zero bytes are a valid `sockaddr_storage`.
    let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
    let p = ptr::from_mut(&mut storage);
    let len = match addr {
        Addr::Inet(SocketAddr::V4(a)) => {
            let sin = libc::sockaddr_in {
                sin_family: AF_INET as libc::sa_family_t,
                sin_port: a.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(a.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: `sockaddr_storage` is larger than any address and aligned for all of them.
            unsafe { p.cast::<libc::sockaddr_in>().write(sin) };
            size_of::<libc::sockaddr_in>()
        }
        Addr::Inet(SocketAddr::V6(a)) => {
            let sin6 = libc::sockaddr_in6 {
                sin6_family: AF_INET6 as libc::sa_family_t,
                sin6_port: a.port().to_be(),
                sin6_flowinfo: a.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: a.ip().octets() },
                sin6_scope_id: a.scope_id(),
            };
            // SAFETY: the storage has room for an address of IPv6, and its alignment.
            unsafe { p.cast::<libc::sockaddr_in6>().write(sin6) };
            size_of::<libc::sockaddr_in6>()
        }
        Addr::Unix(path) => {
            // SAFETY: all-zero bytes are a valid `sockaddr_un`.
            let mut sun: libc::sockaddr_un = unsafe { zeroed() };
            sun.sun_family = AF_LOCAL as libc::sa_family_t;
            for (to, from) in sun.sun_path.iter_mut().zip(&path[..path.len().min(UNIX_PATH_MAX)]) {
                *to = *from as libc::c_char;
            }
            // SAFETY: the storage has room for a path, and the alignment of such an address.
            unsafe { p.cast::<libc::sockaddr_un>().write(sun) };
            size_of::<libc::sockaddr_un>()
        }
        Addr::Other(family) => {
            storage.ss_family = *family as libc::sa_family_t;
            size_of::<libc::sockaddr>()
        }
    };
    (storage, len as libc::socklen_t)
}

/// Returns the address that the kernel wrote to the first `len` bytes of `storage`; what it left
/// alone is zero.
fn from_sockaddr(storage: &libc::sockaddr_storage, len: libc::socklen_t) -> Addr {
    let p = ptr::from_ref(storage);
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says so, storage is large and aligned enough, and every bit
            // pattern is valid.
            let a = unsafe { p.cast::<libc::sockaddr_in>().read() };
            let ip = Ipv4Addr::from(a.sin_addr.s_addr.to_ne_bytes());
            Addr::Inet(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(a.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as for IPv4: the family says which address the storage holds.
            let a = unsafe { p.cast::<libc::sockaddr_in6>().read() };
            Addr::Inet(SocketAddr::V6(SocketAddrV6::new(
                Ipv6Addr::from(a.sin6_addr.s6_addr),
                u16::from_be(a.sin6_port),
                a.sin6_flowinfo,
                a.sin6_scope_id,
            )))
        }
        libc::AF_UNIX => {
            // SAFETY: as for IPv4; of the path `len` says how much the kernel has written.
            let a = unsafe { p.cast::<libc::sockaddr_un>().read() };
            let used = (len as usize).saturating_sub(size_of::<libc::sa_family_t>());
            let path = a.sun_path.iter().take(used).map(|&b| b as u8).take_while(|&b| b != 0);
            Addr::Unix(path.collect())
        }
        family => Addr::Other(family),
    }
}

/// Lets `call` fill in an address.
fn query_address(
    call: impl FnOnce(*mut libc::sockaddr, *mut libc::socklen_t) -> i32,
) -> io::Result<(i32, Addr)> {
    // SAFETY: all-zero bytes are a valid `sockaddr_storage`.
    let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
    let mut len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    let ret = cvt(call(ptr::from_mut(&mut storage).cast(), &mut len))?;
    Ok((ret, from_sockaddr(&storage, len)))
}

/// Returns a new stream socket.
pub fn socket(domain: i32) -> io::Result<RawFd> {
    // SAFETY: no pointers.
    cvt(unsafe { libc::socket(domain, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })
}

/// Returns two stream sockets that talk to each other.
pub fn socketpair() -> io::Result<(RawFd, RawFd)> {
    let mut fds = [-1; 2];
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: the array has room for the two numbers.
    cvt(unsafe { libc::socketpair(AF_LOCAL, kind, 0, fds.as_mut_ptr()) })?;
    Ok((fds[0], fds[1]))
}

/// Gives the socket its own address.
pub fn bind(fd: RawFd, addr: &Addr) -> io::Result<()> {
    let (storage, len) = to_sockaddr(addr);
    // SAFETY: `storage` holds `len` valid bytes.
    cvt(unsafe { libc::bind(fd, ptr::from_ref(&storage).cast(), len) }).map(drop)
}

/// Accepts connections from now on; up to `backlog` wait in the kernel.
pub fn listen(fd: RawFd, backlog: i32) -> io::Result<()> {
    // SAFETY: no pointers.
    cvt(unsafe { libc::listen(fd, backlog) }).map(drop)
}

/// Returns the next connection, as a non-blocking socket, and its peer. Not retried on EINTR.
pub fn accept(fd: RawFd) -> io::Result<(RawFd, Addr)> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: `query_address` gives a place of the size it says.
    query_address(|sa, len| unsafe { libc::accept4(fd, sa, len, flags) })
}

/// Connects. On a non-blocking socket EINPROGRESS is the usual answer: wait until it is writable,
/// and ask [`take_socket_error`].
pub fn connect(fd: RawFd, addr: &Addr) -> io::Result<()> {
    let (storage, len) = to_sockaddr(addr);
    // SAFETY: `storage` holds `len` valid bytes.
    cvt(unsafe { libc::connect(fd, ptr::from_ref(&storage).cast(), len) }).map(drop)
}

/// Returns the other end's address.
pub fn getpeername(fd: RawFd) -> io::Result<Addr> {
    // SAFETY: `query_address` gives a place of the size it says.
    query_address(|sa, len| unsafe { libc::getpeername(fd, sa, len) }).map(|(_, addr)| addr)
}

/// Returns this end's address.
pub fn getsockname(fd: RawFd) -> io::Result<Addr> {
    // SAFETY: `query_address` gives a place of the size it says.
    query_address(|sa, len| unsafe { libc::getsockname(fd, sa, len) }).map(|(_, addr)| addr)
}

/// Sets an option whose value is a plain C structure.
fn set_option<T: Copy>(fd: RawFd, level: i32, name: i32, value: T) -> io::Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` holds `len` bytes.
    cvt(unsafe { libc::setsockopt(fd, level, name, ptr::from_ref(&value).cast(), len) }).map(drop)
}

/// Returns the error pending on the socket (and clears it); `Ok` when there is none.
pub fn take_socket_error(fd: RawFd) -> io::Result<()> {
    let mut errno = 0i32;
    let mut len = size_of::<i32>() as libc::socklen_t;
    let value = ptr::from_mut(&mut errno).cast();
    // SAFETY: `errno` has room for the `len` bytes of an int.
    cvt(unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR, value, &mut len) })?;
    if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
}

/// Returns how many of the bytes that were written have not arrived at the other end's machine.
pub fn unsent_bytes(fd: RawFd) -> io::Result<usize> {
    let mut bytes = 0i32;
    // SAFETY: this request writes an int, for which `bytes` has room.
    cvt(unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &raw mut bytes) })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Makes TCP send small packets at once, or wait for more to send with them.
pub fn set_no_delay(fd: RawFd, on: bool) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, i32::from(on))
}

/// Allows to bind even where connections of an earlier server linger.
pub fn set_reuse_addr(fd: RawFd) -> io::Result<()> {
    set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1i32)
}

/// Makes an IPv6 socket take no IPv4.
pub fn set_v6_only(fd: RawFd) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1i32)
}

/// Turns the probes of an idle connection on.
pub fn set_keep_alive(fd: RawFd) -> io::Result<()> {
    set_option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1i32)
}

/// Sets the seconds of silence before the first probe.
pub fn set_keep_idle(fd: RawFd, seconds: i32) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, seconds)
}

/// Sets the seconds between probes.
pub fn set_keep_interval(fd: RawFd, seconds: i32) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, seconds)
}

/// Sets the number of unanswered probes before the connection counts as dead.
pub fn set_keep_count(fd: RawFd, count: i32) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, count)
}

fn timeval(ms: i64) -> libc::timeval {
    libc::timeval { tv_sec: ms / 1000, tv_usec: ms % 1000 * 1000 }
}

/// Limits the wait of a blocking write, in milliseconds; 0 waits for ever.
pub fn set_send_timeout(fd: RawFd, ms: i64) -> io::Result<()> {
    set_option(fd, libc::SOL_SOCKET, libc::SO_SNDTIMEO, timeval(ms))
}

/// Limits the wait of a blocking read, in milliseconds; 0 waits for ever.
pub fn set_recv_timeout(fd: RawFd, ms: i64) -> io::Result<()> {
    set_option(fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, timeval(ms))
}

/// Sets the size of the kernel's send buffer, in bytes (which the kernel doubles).
pub fn set_send_buffer(fd: RawFd, bytes: i32) -> io::Result<()> {
    set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, bytes)
}

/// Makes close(2) send an RST without waiting, so that what was not sent is lost.
pub fn set_linger_zero(fd: RawFd) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    set_option(fd, libc::SOL_SOCKET, libc::SO_LINGER, linger)
}

/// Returns the flags of the open file (`F_GETFL`).
pub fn get_flags(fd: RawFd) -> io::Result<i32> {
    // SAFETY: no pointers.
    cvt(unsafe { libc::fcntl(fd, libc::F_GETFL) })
}

/// Sets the flags of the open file (`F_SETFL`).
pub fn set_flags(fd: RawFd, flags: i32) -> io::Result<()> {
    // SAFETY: no pointers.
    cvt(unsafe { libc::fcntl(fd, libc::F_SETFL, flags) }).map(drop)
}

/// Makes `fd` close when another program is executed.
pub fn set_cloexec(fd: RawFd) -> io::Result<()> {
    // SAFETY: no pointers.
    let flags = cvt(unsafe { libc::fcntl(fd, libc::F_GETFD) })?;
    if flags & libc::FD_CLOEXEC != 0 {
        return Ok(());
    }
    // SAFETY: no pointers.
    cvt(unsafe { libc::fcntl(fd, libc::F_SETFD, flags | libc::FD_CLOEXEC) }).map(drop)
}

/// Reads into `buf`; 0 is the end of the stream.
#[inline]
pub fn read(fd: RawFd, buf: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes at most `len` bytes to the buffer, which is ours alone.
    cvt_size(unsafe { libc::read(fd, buf.as_mut_ptr().cast(), buf.len()) })
}

/// Appends up to `max` bytes to `buf`, in the spare room it has (which is made if there is less). 0
/// is the end of the stream. On an error `buf` is as before.
///
/// No byte is zeroed first and none is copied. The kernel is called directly, as in [`write`]: in a
/// process with threads the C library's function is a point at which a thread could be cancelled,
/// and preparing for that takes longer than all the rest of it.
#[inline]
pub fn read_append(fd: RawFd, buf: &mut Vec<u8>, max: usize) -> io::Result<usize> {
    buf.reserve(max);
    let spare = &mut buf.spare_capacity_mut()[..max];
    // SAFETY: the kernel writes at most `max` bytes to the spare room, which is ours alone.
    let n =
        cvt_size(unsafe { libc::syscall(libc::SYS_read, fd, spare.as_mut_ptr(), max) as isize })?;
    // SAFETY: the kernel has written the first `n` bytes of the spare room, and `n <= max`.
    unsafe { buf.set_len(buf.len() + n) };
    Ok(n)
}

/// Writes some of `buf`, and says how many bytes.
#[inline]
pub fn write(fd: RawFd, buf: &[u8]) -> io::Result<usize> {
    // SAFETY: the kernel reads `len` bytes of the buffer.
    cvt_size(unsafe { libc::syscall(libc::SYS_write, fd, buf.as_ptr(), buf.len()) as isize })
}

/// Writes some of the buffers' bytes, in order. At most 1024 buffers go into one call.
#[inline]
pub fn writev(fd: RawFd, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
    let count = bufs.len().min(1024) as i32;
    // SAFETY: std promises that `IoSlice` has the form of `iovec`; the kernel only reads the bytes.
    cvt_size(unsafe { libc::writev(fd, bufs.as_ptr().cast(), count) })
}

/// Receives up to `max` bytes from a socket to the end of `buf`, as [`read_append`] reads them.
///
/// recv(2) and send(2) come to the socket itself where read(2) and write(2) come to it as one kind of
/// file, past all that files have in common: 1 to 2% of the time it takes.
#[inline]
pub fn recv_append(fd: RawFd, buf: &mut Vec<u8>, max: usize) -> io::Result<usize> {
    buf.reserve(max);
    let spare = &mut buf.spare_capacity_mut()[..max];
    let (data, nobody, flags) = (spare.as_mut_ptr(), ptr::null_mut::<u8>(), 0);
    // SAFETY: the kernel writes at most `max` bytes to the spare room, which is ours alone. Nobody
    // asks for the sender's address.
    let n = cvt_size(unsafe {
        libc::syscall(libc::SYS_recvfrom, fd, data, max, flags, nobody, nobody) as isize
    })?;
    // SAFETY: the kernel has written the first `n` bytes of the spare room, and `n <= max`.
    unsafe { buf.set_len(buf.len() + n) };
    Ok(n)
}

/// Sends some of `buf` on a socket, and says how many bytes; see [`recv_append`].
#[inline]
pub fn send(fd: RawFd, buf: &[u8]) -> io::Result<usize> {
    let (flags, nobody, len) = (libc::MSG_NOSIGNAL, ptr::null::<u8>(), 0usize);
    // SAFETY: the kernel reads `len` bytes of the buffer. There is no address of a receiver.
    cvt_size(unsafe {
        libc::syscall(libc::SYS_sendto, fd, buf.as_ptr(), buf.len(), flags, nobody, len) as isize
    })
}

/// Ends both directions; the other side sees the end of the stream.
pub fn shutdown(fd: RawFd) -> io::Result<()> {
    // SAFETY: no pointers.
    cvt(unsafe { libc::shutdown(fd, libc::SHUT_RDWR) }).map(drop)
}

/// Ends our direction only.
pub fn shutdown_write(fd: RawFd) -> io::Result<()> {
    // SAFETY: no pointers.
    cvt(unsafe { libc::shutdown(fd, libc::SHUT_WR) }).map(drop)
}

/// Closes the descriptor. The event loop must have been told before (`forget_fd`).
pub fn close(fd: RawFd) {
    // SAFETY: no pointers. Numbers that std or nix own are never given here: this project keeps
    // descriptors as numbers, in the structures that open and close them.
    unsafe { libc::close(fd) };
}

/// Closes the descriptors from `first` to `last`, most of which are none.
pub fn close_from(first: u32, last: u32) {
    // SAFETY: no pointers; for the rest see `close`.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if closed != 0 {
        // A kernel before 5.9.
        for fd in first..=last.min(i32::MAX as u32) {
            close(fd as RawFd);
        }
    }
}

/// Waits up to `milliseconds` (negative: without end) for `events` (`POLLIN`, ...) on one
/// descriptor. Returns what happened, 0 when the time is over; EINTR is an error.
pub fn poll_one_fd(fd: RawFd, events: i16, milliseconds: i64) -> io::Result<i16> {
    let mut pfd = libc::pollfd { fd, events, revents: 0 };
    let timeout = milliseconds.clamp(-1, i32::MAX.into()) as i32;
    // SAFETY: one valid entry, and the count says one.
    let n = cvt(unsafe { libc::poll(&mut pfd, 1, timeout) })?;
    Ok(if n == 0 { 0 } else { pfd.revents })
}

/// Waits up to `milliseconds` until one of the descriptors can be read without waiting, and returns
/// those that can. EINTR is an error.
pub fn poll_readable(fds: &[RawFd], milliseconds: i32) -> io::Result<Vec<RawFd>> {
    let mut pfds: Vec<libc::pollfd> =
        fds.iter().map(|&fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
    // SAFETY: the entries are valid, and the count is theirs.
    cvt(unsafe { libc::poll(pfds.as_mut_ptr(), pfds.len() as libc::nfds_t, milliseconds) })?;
    Ok(pfds.iter().filter(|pfd| pfd.revents != 0).map(|pfd| pfd.fd).collect())
}

/// The reason why a name has no address. [`ResolveError::text`] is libc's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResolveError(i32);

impl ResolveError {
    /// Returns libc's text of the error, like "Name or service not known".
    pub fn text(&self) -> String {
        // SAFETY: `gai_strerror` returns a constant text for every number.
        unsafe { CStr::from_ptr(libc::gai_strerror(self.0)) }.to_string_lossy().into_owned()
    }
}

/// Options of [`resolve`].
#[derive(Clone, Copy, Default)]
pub struct ResolveHints {
    /// `AF_UNSPEC` (0), `AF_INET` or `AF_INET6`.
    pub family: i32,
    /// Only addresses in digits; names are not looked up.
    pub numericOnly: bool,
    /// For a listening socket: no host means every address of this machine, not the loopback.
    pub passive: bool,
}

/// Returns the TCP addresses of `host` (`None`: see [`ResolveHints::passive`]) with `port`, in the
/// order in which to try them.
///
/// May ask name servers, and wait for them.
pub fn resolve(
    host: Option<&[u8]>,
    port: u16,
    hints: ResolveHints,
) -> Result<Vec<SocketAddr>, ResolveError> {
    let node = match host.map(CString::new) {
        None => None,
        Some(Ok(node)) => Some(node),
        Some(Err(_)) => return Err(ResolveError(libc::EAI_NONAME)),
    };
    let service = CString::new(port.to_string()).unwrap_or_default();

    // SAFETY: all-zero bytes are a valid `addrinfo`.
    let mut want: libc::addrinfo = unsafe { zeroed() };
    want.ai_family = hints.family;
    want.ai_socktype = libc::SOCK_STREAM; // or each address comes once per kind of socket
    if hints.numericOnly {
        want.ai_flags |= libc::AI_NUMERICHOST;
    }
    if hints.passive {
        want.ai_flags |= libc::AI_PASSIVE;
    }
    let mut list: *mut libc::addrinfo = ptr::null_mut();
    let node = node.as_ref().map_or(ptr::null(), |n| n.as_ptr());
    // SAFETY: both texts end with NUL and outlive the call, `want` is filled in, and `list` takes
    // the answer.
    let rv = unsafe { libc::getaddrinfo(node, service.as_ptr(), &want, &mut list) };
    if rv != 0 {
        return Err(ResolveError(rv));
    }

    let mut addrs = Vec::new();
    let mut p = list;
    while !p.is_null() {
        // SAFETY: libc's list holds valid entries up to the null that ends it, until it is freed
        // below.
        let info = unsafe { &*p };
        // SAFETY: all-zero bytes are a valid `sockaddr_storage`.
        let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
        let len = (info.ai_addrlen as usize).min(size_of::<libc::sockaddr_storage>());
        // SAFETY: the entry's address has `ai_addrlen` bytes, and `len` fits the storage.
        unsafe {
            ptr::copy_nonoverlapping(
                info.ai_addr.cast::<u8>(),
                ptr::from_mut(&mut storage).cast::<u8>(),
                len,
            );
        }
        if let Addr::Inet(addr) = from_sockaddr(&storage, info.ai_addrlen) {
            addrs.push(addr);
        }
        p = info.ai_next;
    }
    // SAFETY: `list` came from `getaddrinfo`, and nothing refers to it any more.
    unsafe { libc::freeaddrinfo(list) };
    if addrs.is_empty() { Err(ResolveError(libc::EAI_NONAME)) } else { Ok(addrs) }
}

/// Returns `ip` as `inet_ntop` writes it, which is how addresses are shown everywhere.
pub fn format_ip(ip: IpAddr) -> Vec<u8> {
    if let IpAddr::V6(v6) = ip {
        let s = v6.segments();
        // libc shows the last four bytes in dots also after a run of just six zero groups; std does
        // not.
        if s[..6] == [0; 6] && s[6] != 0 {
            let o = v6.octets();
            return format!("::{}.{}.{}.{}", o[12], o[13], o[14], o[15]).into_bytes();
        }
    }
    ip.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_kernels_form() {
        let all = [
            Addr::Inet("1.2.3.4:567".parse().unwrap()),
            Addr::Inet("[fe80::1%7]:65535".parse().unwrap()),
            Addr::Unix(b"/tmp/x.sock".to_vec()),
            Addr::Other(libc::AF_NETLINK),
        ];
        for addr in all {
            let (storage, len) = to_sockaddr(&addr);
            assert_eq!(from_sockaddr(&storage, len), addr);
        }
        let (storage, len) = to_sockaddr(&Addr::Unix(vec![b'a'; 500]));
        assert_eq!(from_sockaddr(&storage, len), Addr::Unix(vec![b'a'; UNIX_PATH_MAX]));
    }

    #[test]
    fn ips_are_written_as_by_libc() {
        for (ip, text) in [
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("::", "::"),
            ("::ffff:1.2.3.4", "::ffff:1.2.3.4"),
            ("::1.2.3.4", "::1.2.3.4"),
            ("2001:0db8:0:0:0:0:0:1", "2001:db8::1"),
        ] {
            assert_eq!(format_ip(ip.parse().unwrap()), text.as_bytes());
        }
    }

    #[test]
    fn bytes_go_through_and_short_reads_append() {
        let (a, b) = socketpair().unwrap();
        assert_eq!(writev(a, &[io::IoSlice::new(b"he"), io::IoSlice::new(b"llo")]).unwrap(), 5);
        let mut buf = b"> ".to_vec();
        assert_eq!(read_append(b, &mut buf, 100).unwrap(), 5);
        assert_eq!(buf, b"> hello");
        assert_eq!(send(a, b", you").unwrap(), 5);
        assert_eq!(recv_append(b, &mut buf, 2).unwrap(), 2);
        assert_eq!(recv_append(b, &mut buf, 100).unwrap(), 3);
        assert_eq!(buf, b"> hello, you");
        assert_eq!(poll_one_fd(b, libc::POLLIN, 0).unwrap(), 0);
        shutdown_write(a).unwrap();
        assert_ne!(poll_one_fd(b, libc::POLLIN, 1000).unwrap() & libc::POLLIN, 0);
        assert_eq!(recv_append(b, &mut buf, 100).unwrap(), 0);
        assert_eq!(read_append(b, &mut buf, 100).unwrap(), 0);
        assert_eq!(buf, b"> hello, you");
        // Who sends to nobody gets an error, and no signal.
        close(b);
        assert_eq!(send(a, b"x").unwrap_err().raw_os_error(), Some(libc::EPIPE));
        close(a);
        assert_eq!(recv_append(-1, &mut buf, 1).unwrap_err().raw_os_error(), Some(libc::EBADF));
        assert_eq!(read(-1, &mut buf).unwrap_err().raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn names_resolve_or_say_why_not() {
        let numeric = ResolveHints { numericOnly: true, ..Default::default() };
        assert_eq!(
            resolve(Some(b"127.0.0.1"), 80, numeric).unwrap(),
            ["127.0.0.1:80".parse().unwrap()]
        );
        let e = resolve(Some(b"not an address"), 0, numeric).unwrap_err();
        assert_eq!(e.text(), "Name or service not known");
        assert!(resolve(Some(b"a\0b"), 0, numeric).is_err());
        let any = ResolveHints { family: AF_INET, passive: true, ..Default::default() };
        assert_eq!(resolve(None, 1, any).unwrap(), ["0.0.0.0:1".parse().unwrap()]);
    }
}
