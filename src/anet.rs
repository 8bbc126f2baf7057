//! `anet.c`: sockets with the repetition taken out, and with errors in words.
//!
//! The system calls are in `sys/socket.rs`. Addresses and paths are bytes; where the C fills
//! buffers, the values are returned.
//!
//! Differs: every socket is close-on-exec from birth, and an accepted one does not block. The C
//! reaches the same by further calls, for the listening and accepted ones.

use crate::sys::errno::{errno_of, error_text};
use crate::sys::file;
use crate::sys::socket::{self, Addr, ResolveHints};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::RawFd;

/// No option.
pub const ANET_NONE: i32 = 0;
/// [`anetResolve`]: take addresses in digits only, and look up no name.
pub const ANET_IP_ONLY: i32 = 1 << 0;
/// [`anetFdToString`]: the other end.
pub const FD_TO_PEER_NAME: i32 = 0;
/// [`anetFdToString`]: this end.
pub const FD_TO_SOCK_NAME: i32 = 1;

/// [`anetUnixGenericConnect`]: do not wait.
pub const ANET_CONNECT_NONBLOCK: i32 = 1;
/// Go on without the source address when it cannot be had.
const ANET_CONNECT_BE_BINDING: i32 = 2;
/// Longest text of an error, in bytes.
const ANET_ERR_LEN: usize = 255;

/// An error, in the words of log lines, with its number for callers that decide by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnetError {
    /// The text, such as "bind: Address already in use".
    pub text: String,
    /// The kernel's number; 0 when a name did not resolve.
    pub errno: i32,
}

impl fmt::Display for AnetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for AnetError {}

/// A result whose error can be logged.
pub type AnetResult<T> = Result<T, AnetError>;

/// Returns the error "`what`: words of `e`".
fn anetSetError(what: &str, e: &io::Error) -> AnetError {
    anet_error_text(format!("{what}: {}", error_text(e)), errno_of(e))
}

fn anet_error_text(mut text: String, errno: i32) -> AnetError {
    let mut len = text.len().min(ANET_ERR_LEN);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    text.truncate(len);
    AnetError { text, errno }
}

fn resolve_error(e: socket::ResolveError) -> AnetError {
    anet_error_text(e.text(), 0)
}

/// Makes the socket block, or not. No second call where the first finds it so already.
pub fn anetSetBlock(fd: RawFd, non_block: bool) -> AnetResult<()> {
    let flags = socket::get_flags(fd).map_err(|e| anetSetError("fcntl(F_GETFL)", &e))?;
    if (flags & libc::O_NONBLOCK != 0) == non_block {
        return Ok(());
    }
    socket::set_flags(fd, flags ^ libc::O_NONBLOCK)
        .map_err(|e| anetSetError("fcntl(F_SETFL,O_NONBLOCK)", &e))
}

/// Makes the socket not block.
pub fn anetNonBlock(fd: RawFd) -> AnetResult<()> {
    anetSetBlock(fd, true)
}

/// Makes the socket block.
pub fn anetBlock(fd: RawFd) -> AnetResult<()> {
    anetSetBlock(fd, false)
}

/// Closes `fd` in programs that this one executes. For descriptors that were not born so.
pub fn anetCloexec(fd: RawFd) -> io::Result<()> {
    socket::set_cloexec(fd)
}

/// Makes the kernel find out when the peer is gone without closing: it probes after `interval`
/// seconds of silence, three times, a third of `interval` apart. (The kernel's own settings wait
/// for two hours.)
pub fn anetKeepAlive(fd: RawFd, interval: i32) -> AnetResult<()> {
    let newline = |what: &str, e: &io::Error| {
        // The C ends these three texts with a newline.
        anet_error_text(format!("{what}: {}\n", error_text(e)), errno_of(e))
    };
    socket::set_keep_alive(fd).map_err(|e| anetSetError("setsockopt SO_KEEPALIVE", &e))?;
    socket::set_keep_idle(fd, interval).map_err(|e| newline("setsockopt TCP_KEEPIDLE", &e))?;
    let between = if interval / 3 == 0 { 1 } else { interval / 3 };
    socket::set_keep_interval(fd, between).map_err(|e| newline("setsockopt TCP_KEEPINTVL", &e))?;
    socket::set_keep_count(fd, 3).map_err(|e| newline("setsockopt TCP_KEEPCNT", &e))
}

fn anetSetTcpNoDelay(fd: RawFd, val: bool) -> AnetResult<()> {
    socket::set_no_delay(fd, val).map_err(|e| anetSetError("setsockopt TCP_NODELAY", &e))
}

/// Makes small packets leave at once (TCP_NODELAY).
pub fn anetEnableTcpNoDelay(fd: RawFd) -> AnetResult<()> {
    anetSetTcpNoDelay(fd, true)
}

/// Lets small packets wait to be sent together (Nagle's algorithm).
pub fn anetDisableTcpNoDelay(fd: RawFd) -> AnetResult<()> {
    anetSetTcpNoDelay(fd, false)
}

/// Limits a blocking write to `ms` milliseconds; 0 is no limit.
pub fn anetSendTimeout(fd: RawFd, ms: i64) -> AnetResult<()> {
    socket::set_send_timeout(fd, ms).map_err(|e| anetSetError("setsockopt SO_SNDTIMEO", &e))
}

/// Limits a blocking read to `ms` milliseconds; 0 is no limit.
pub fn anetRecvTimeout(fd: RawFd, ms: i64) -> AnetResult<()> {
    socket::set_recv_timeout(fd, ms).map_err(|e| anetSetError("setsockopt SO_RCVTIMEO", &e))
}

/// Returns the first address of `host`, as text. With [`ANET_IP_ONLY`] it only checks an address
/// and puts it in order.
pub fn anetResolve(host: &[u8], flags: i32) -> AnetResult<Vec<u8>> {
    let hints = ResolveHints { numericOnly: flags & ANET_IP_ONLY != 0, ..Default::default() };
    let addrs = socket::resolve(Some(host), 0, hints).map_err(resolve_error)?;
    Ok(addrs.first().map(|addr| socket::format_ip(addr.ip())).unwrap_or_default())
}

/// Lets a server that starts again bind while connections of its predecessor linger (SO_REUSEADDR).
fn anetSetReuseAddr(fd: RawFd) -> AnetResult<()> {
    socket::set_reuse_addr(fd).map_err(|e| anetSetError("setsockopt SO_REUSEADDR", &e))
}

fn anetCreateSocket(domain: i32) -> AnetResult<RawFd> {
    let s = socket::socket(domain).map_err(|e| anetSetError("creating socket", &e))?;
    close_on_error(s, anetSetReuseAddr(s))?;
    Ok(s)
}

/// Returns `result`, and closes `s` if it is an error.
fn close_on_error<T>(s: RawFd, result: AnetResult<T>) -> AnetResult<T> {
    if result.is_err() {
        socket::close(s);
    }
    result
}

fn address_family(ip: IpAddr) -> i32 {
    if ip.is_ipv4() { socket::AF_INET } else { socket::AF_INET6 }
}

fn anetTcpGenericConnect(
    addr: &[u8],
    port: u16,
    source_addr: Option<&[u8]>,
    flags: i32,
) -> AnetResult<RawFd> {
    let result = connect_to_any_address(addr, port, source_addr, flags);
    if result.is_err() && source_addr.is_some() && flags & ANET_CONNECT_BE_BINDING != 0 {
        return connect_to_any_address(addr, port, None, flags);
    }
    result
}

/// Connects to the first address of `addr` that works (the body of the C's anetTcpGenericConnect).
fn connect_to_any_address(
    addr: &[u8],
    port: u16,
    source_addr: Option<&[u8]>,
    flags: i32,
) -> AnetResult<RawFd> {
    let hints = ResolveHints::default();
    let servinfo = socket::resolve(Some(addr), port, hints).map_err(resolve_error)?;
    let mut last = io::Error::from_raw_os_error(libc::EADDRNOTAVAIL);
    for p in servinfo {
        // A socket that can't be had, or doesn't connect, is a reason to try the next address.
        let s = match socket::socket(address_family(p.ip())) {
            Ok(s) => s,
            Err(e) => {
                last = e;
                continue;
            }
        };
        close_on_error(s, anetSetReuseAddr(s))?;
        if flags & ANET_CONNECT_NONBLOCK != 0 {
            close_on_error(s, anetNonBlock(s))?;
        }
        if let Some(source) = source_addr {
            close_on_error(s, bind_source(s, source))?;
        }
        match socket::connect(s, &Addr::Inet(p)) {
            Ok(()) => return Ok(s),
            Err(e) if errno_of(&e) == libc::EINPROGRESS && flags & ANET_CONNECT_NONBLOCK != 0 => {
                return Ok(s);
            }
            Err(e) => {
                socket::close(s);
                last = e;
            }
        }
    }
    Err(anetSetError("creating socket", &last))
}

/// Binds `s` to the first address of `source` that will do.
fn bind_source(s: RawFd, source: &[u8]) -> AnetResult<()> {
    let hints = ResolveHints::default();
    let mut last = io::Error::from_raw_os_error(libc::EADDRNOTAVAIL);
    for b in socket::resolve(Some(source), 0, hints).map_err(resolve_error)? {
        match socket::bind(s, &Addr::Inet(b)) {
            Ok(()) => return Ok(()),
            Err(e) => last = e,
        }
    }
    Err(anetSetError("bind", &last))
}

/// Begins to connect, and does not wait: when the socket is writable, its pending error says how it
/// went. Looking up the name may block.
pub fn anetTcpNonBlockConnect(addr: &[u8], port: u16) -> AnetResult<RawFd> {
    anetTcpGenericConnect(addr, port, None, ANET_CONNECT_NONBLOCK)
}

/// Begins to connect as [`anetTcpNonBlockConnect`] does, from `source_addr`, or from any address if
/// that is not possible.
pub fn anetTcpNonBlockBestEffortBindConnect(
    addr: &[u8],
    port: u16,
    source_addr: Option<&[u8]>,
) -> AnetResult<RawFd> {
    let flags = ANET_CONNECT_NONBLOCK | ANET_CONNECT_BE_BINDING;
    anetTcpGenericConnect(addr, port, source_addr, flags)
}

/// Connects to the unix socket at `path`. With [`ANET_CONNECT_NONBLOCK`] it may be still under way
/// on return.
pub fn anetUnixGenericConnect(path: &[u8], flags: i32) -> AnetResult<RawFd> {
    let s = anetCreateSocket(socket::AF_LOCAL)?;
    if flags & ANET_CONNECT_NONBLOCK != 0 {
        close_on_error(s, anetNonBlock(s))?;
    }
    match socket::connect(s, &Addr::Unix(path.to_vec())) {
        Err(e) if errno_of(&e) != libc::EINPROGRESS || flags & ANET_CONNECT_NONBLOCK == 0 => {
            close_on_error(s, Err(anetSetError("connect", &e)))
        }
        Ok(()) | Err(_) => Ok(s),
    }
}

/// Binds and listens; closes `s` when it cannot. A unix socket gets `perm` (if not 0) between the
/// two: once it listens, whoever may open the path is in.
fn anetListen(s: RawFd, sa: &Addr, backlog: i32, perm: u32) -> AnetResult<()> {
    close_on_error(s, socket::bind(s, sa).map_err(|e| anetSetError("bind", &e)))?;
    if let Addr::Unix(path) = sa
        && perm != 0
    {
        // As in the C, a mode that cannot be set is no reason not to listen.
        let _ = file::chmod(path, perm);
    }
    close_on_error(s, socket::listen(s, backlog).map_err(|e| anetSetError("listen", &e)))
}

/// Makes a socket take IPv6 only, so that an IPv4 socket may have the same port.
fn anetV6Only(s: RawFd) -> AnetResult<()> {
    socket::set_v6_only(s).map_err(|e| anetSetError("setsockopt", &e))
}

fn _anetTcpServer(port: u16, bindaddr: Option<&[u8]>, af: i32, backlog: i32) -> AnetResult<RawFd> {
    let bindaddr =
        bindaddr.filter(|&addr| addr != b"*" && !(af == socket::AF_INET6 && addr == b"::*"));
    let hints = ResolveHints { family: af, passive: true, ..Default::default() };
    let servinfo = socket::resolve(bindaddr, port, hints).map_err(resolve_error)?;
    let mut errno = 0;
    for p in servinfo {
        let s = match socket::socket(address_family(p.ip())) {
            Ok(s) => s,
            Err(e) => {
                errno = errno_of(&e);
                continue;
            }
        };
        if af == socket::AF_INET6 {
            close_on_error(s, anetV6Only(s))?;
        }
        close_on_error(s, anetSetReuseAddr(s))?;
        anetListen(s, &Addr::Inet(p), backlog, 0)?;
        return Ok(s);
    }
    Err(anet_error_text(format!("unable to bind socket, errno: {errno}"), errno))
}

/// Returns a listening IPv4 socket. `bindaddr` `None` or `*`: on all addresses.
pub fn anetTcpServer(port: u16, bindaddr: Option<&[u8]>, backlog: i32) -> AnetResult<RawFd> {
    _anetTcpServer(port, bindaddr, socket::AF_INET, backlog)
}

/// Returns a listening IPv6 socket, which takes no IPv4. `bindaddr` `None`, `*` or `::*`: on all
/// addresses.
pub fn anetTcp6Server(port: u16, bindaddr: Option<&[u8]>, backlog: i32) -> AnetResult<RawFd> {
    _anetTcpServer(port, bindaddr, socket::AF_INET6, backlog)
}

/// Returns a listening unix socket at `path`, with the mode `perm` (0: as the umask has it) before
/// anyone can connect.
pub fn anetUnixServer(path: &[u8], perm: u32, backlog: i32) -> AnetResult<RawFd> {
    let s = anetCreateSocket(socket::AF_LOCAL)?;
    anetListen(s, &Addr::Unix(path.to_vec()), backlog, perm)?;
    Ok(s)
}

fn anetGenericAccept(s: RawFd) -> AnetResult<(RawFd, Addr)> {
    loop {
        match socket::accept(s) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map_err(|e| anetSetError("accept", &e)),
        }
    }
}

/// Returns the next connection: its descriptor, and the peer's address and port. `errno` EAGAIN:
/// there is none.
pub fn anetTcpAccept(s: RawFd) -> AnetResult<(RawFd, Vec<u8>, u16)> {
    let (fd, sa) = anetGenericAccept(s)?;
    Ok(match sa {
        Addr::Inet(addr) => (fd, socket::format_ip(addr.ip()), addr.port()),
        Addr::Unix(_) | Addr::Other(_) => (fd, b"?".to_vec(), 0),
    })
}

/// Returns the next connection of a unix socket. `errno` EAGAIN: there is none.
pub fn anetUnixAccept(s: RawFd) -> AnetResult<RawFd> {
    anetGenericAccept(s).map(|(fd, _)| fd)
}

/// Returns the address and port of one end of the connection: the peer with [`FD_TO_PEER_NAME`],
/// else ours. A unix socket is `/unixsocket`, port 0. `Err` when it can't be known, where the C
/// also fills in `?` and 0.
pub fn anetFdToString(fd: RawFd, fd_to_str_type: i32) -> Result<(Vec<u8>, u16), ()> {
    let sa = if fd_to_str_type == FD_TO_PEER_NAME {
        socket::getpeername(fd)
    } else {
        socket::getsockname(fd)
    };
    match sa {
        Ok(Addr::Inet(addr)) => Ok((socket::format_ip(addr.ip()), addr.port())),
        Ok(Addr::Unix(_)) => Ok((b"/unixsocket".to_vec(), 0)),
        Ok(Addr::Other(_)) | Err(_) => Err(()),
    }
}

/// Returns `ip:port`, or `[ip]:port` if the address has colons itself.
pub fn anetFormatAddr(ip: &[u8], port: u16) -> Vec<u8> {
    let (open, close) =
        if ip.contains(&b':') { (&b"["[..], &b"]:"[..]) } else { (&b""[..], &b":"[..]) };
    [open, ip, close, port.to_string().as_bytes()].concat()
}

/// Returns the address of one end of a connection as [`anetFormatAddr`] does; `?:0` if it can't be
/// known.
pub fn anetFormatFdAddr(fd: RawFd, fd_to_str_type: i32) -> Vec<u8> {
    let (ip, port) = anetFdToString(fd, fd_to_str_type).unwrap_or_else(|()| (b"?".to_vec(), 0));
    anetFormatAddr(&ip, port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ae::{AE_WRITABLE, aeWait};
    use std::os::unix::fs::PermissionsExt;

    fn local_port(s: RawFd) -> u16 {
        anetFdToString(s, FD_TO_SOCK_NAME).unwrap().1
    }

    fn is_cloexec(fd: RawFd) -> bool {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
        let flags = info.lines().find_map(|l| l.strip_prefix("flags:")).unwrap().trim();
        i32::from_str_radix(flags, 8).unwrap() & libc::O_CLOEXEC != 0
    }

    #[test]
    fn tcp_connects_and_both_ends_know_each_other() {
        let s = anetTcpServer(0, Some(b"127.0.0.1"), 16).unwrap();
        let c = anetTcpNonBlockConnect(b"127.0.0.1", local_port(s)).unwrap();
        assert_eq!(aeWait(c, AE_WRITABLE, 1000).unwrap(), AE_WRITABLE);
        socket::take_socket_error(c).unwrap();
        let (a, ip, port) = anetTcpAccept(s).unwrap();
        assert_eq!((ip.as_slice(), port), (&b"127.0.0.1"[..], local_port(c)));
        assert!(is_cloexec(s) && is_cloexec(a) && is_cloexec(c));
        assert_eq!(
            anetFormatFdAddr(a, FD_TO_PEER_NAME),
            format!("127.0.0.1:{}", local_port(c)).into_bytes()
        );

        anetKeepAlive(a, 300).unwrap();
        anetEnableTcpNoDelay(a).unwrap();
        anetDisableTcpNoDelay(a).unwrap();
        anetBlock(a).unwrap();
        anetRecvTimeout(a, 20).unwrap();
        anetSendTimeout(a, 20).unwrap();
        let e = socket::read(a, &mut [0]).unwrap_err();
        assert_eq!(errno_of(&e), libc::EAGAIN, "the receive timeout ended a blocking read");
        anetNonBlock(s).unwrap();
        let e = anetTcpAccept(s).unwrap_err();
        assert_eq!(e.errno, libc::EAGAIN);
        assert_eq!(e.text, "accept: Resource temporarily unavailable");
        [s, c, a].into_iter().for_each(socket::close);
    }

    #[test]
    fn errors_are_in_the_words_of_the_original() {
        let s = anetTcpServer(0, Some(b"127.0.0.1"), 16).unwrap();
        let e = anetTcpServer(local_port(s), Some(b"127.0.0.1"), 16).unwrap_err();
        assert_eq!(e.to_string(), "bind: Address already in use");
        assert_eq!(e.errno, libc::EADDRINUSE);
        socket::close(s);
        let e = anetTcpServer(0, Some(b"no address"), 16).unwrap_err();
        assert_eq!(e.text, "Name or service not known");
        assert_eq!(anetNonBlock(-1).unwrap_err().text, "fcntl(F_GETFL): Bad file descriptor");
        assert_eq!(
            anetKeepAlive(-1, 1).unwrap_err().text,
            "setsockopt SO_KEEPALIVE: Bad file descriptor"
        );
        let e = anetUnixServer(b"/nowhere/at/all", 0, 1).unwrap_err();
        assert_eq!(e.text, "bind: No such file or directory");
        assert_eq!(anet_error_text("\u{e9}".repeat(200), 0).text.len(), 254, "cut, and still text");
    }

    #[test]
    fn a_source_address_is_bound_if_it_can_be() {
        let s = anetTcpServer(0, Some(b"*"), 16).unwrap();
        for source in [&b"127.0.0.5"[..], b"203.0.113.77", b"no address"] {
            let c = anetTcpNonBlockBestEffortBindConnect(b"127.0.0.1", local_port(s), Some(source))
                .unwrap();
            let ip = anetFdToString(c, FD_TO_SOCK_NAME).unwrap().0;
            let got = if source == b"127.0.0.5" { &b"127.0.0.5"[..] } else { b"127.0.0.1" };
            assert_eq!(ip, got);
            socket::close(c);
        }
        let flags = ANET_CONNECT_NONBLOCK;
        let e = anetTcpGenericConnect(b"127.0.0.1", local_port(s), Some(b"203.0.113.77"), flags);
        assert_eq!(e.unwrap_err().text, "bind: Cannot assign requested address");
        socket::close(s);
    }

    #[test]
    fn ipv6_listens_beside_ipv4() {
        // A machine may have no IPv6 at all.
        let Ok(s6) = anetTcp6Server(0, Some(b"::1"), 16) else { return };
        let c = anetTcpNonBlockConnect(b"::1", local_port(s6)).unwrap();
        let (a, ip, _) = anetTcpAccept(s6).unwrap();
        assert_eq!(ip, b"::1");
        assert!(anetFormatFdAddr(a, FD_TO_SOCK_NAME).starts_with(b"[::1]:"));
        [s6, c, a].into_iter().for_each(socket::close);
        // The number that IPv6 is given may be taken in IPv4, but not again and again.
        let both = (0..20).any(|_| {
            let s6 = anetTcp6Server(0, Some(b"::*"), 16).unwrap();
            let s4 = anetTcpServer(local_port(s6), None, 16);
            socket::close(s6);
            s4.map(socket::close).is_ok()
        });
        assert!(both);
    }

    #[test]
    fn a_unix_socket_has_its_mode_when_it_listens() {
        let path = format!("/tmp/fidelis-anet-{}.sock", std::process::id());
        let s = anetUnixServer(path.as_bytes(), 0o700, 16).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let c = anetUnixGenericConnect(path.as_bytes(), ANET_CONNECT_NONBLOCK).unwrap();
        let e = anetUnixGenericConnect(b"/nowhere/at/all", ANET_NONE).unwrap_err();
        assert_eq!(e.text, "connect: No such file or directory");
        let a = anetUnixAccept(s).unwrap();
        assert!(is_cloexec(a));
        assert_eq!(anetFormatFdAddr(a, FD_TO_PEER_NAME), b"/unixsocket:0");
        [s, c, a].into_iter().for_each(socket::close);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn addresses_are_checked_and_formatted() {
        assert_eq!(anetResolve(b"127.0.0.1", ANET_IP_ONLY).unwrap(), b"127.0.0.1");
        assert_eq!(anetResolve(b"0:0:0:0:0:0:0:1", ANET_IP_ONLY).unwrap(), b"::1");
        assert!(anetResolve(b"localhost", ANET_IP_ONLY).is_err());
        assert!(anetResolve(b"localhost", ANET_NONE).is_ok());
        assert_eq!(anetFormatAddr(b"1.2.3.4", 5), b"1.2.3.4:5");
        assert_eq!(anetFormatAddr(b"fe80::1", 65535), b"[fe80::1]:65535");
        assert_eq!(anetFormatFdAddr(-1, FD_TO_PEER_NAME), b"?:0");
        let (r, w) = crate::sys::pipe::pipe().unwrap();
        anetCloexec(r).unwrap();
        [r, w].into_iter().for_each(socket::close);
    }
}
