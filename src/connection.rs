//! `connection.c`, `connhelpers.h`: a socket with its handlers; and `syncio.c`, blocking I/O with a
//! deadline, at the end.
//!
//! Read first: `connSocketEventHandler`, which the reactor calls for every connection, and
//! `callHandler`, which says what may be closed when.
//!
//! A connection is a place in a slab (`Net`), and a `ConnId` names it: eight bytes, `Copy`, checked
//! at each use. Handlers are plain functions that get the server and the id; `private_data` is a
//! word, in which networking.rs keeps the client.
//!
//! Absent: TLS, and with it the table of functions per connection type: the names without `Socket`
//! are the functions themselves. The blocking connect (only MIGRATE and Sentinel use it). Differs:
//! reads and writes tell the reactor when they came up short (`drained`), see ae.rs; after blocking
//! I/O it looks anew (`recheck`).

use std::io::{self, IoSlice};
use std::num::NonZeroU64;
use std::os::fd::RawFd;
use std::ptr::fn_addr_eq;

use crate::ae::*;
use crate::anet::*;
use crate::networking::readQueryFromClient;
use crate::server_h::{C_ERR, C_OK, CResult, Quiet, Server};
use crate::sys::clock::steady_ms;
use crate::sys::errno::{errno_of, strerror};
use crate::sys::socket;

/// The state of a connection.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum ConnectionState {
    #[default]
    CONN_STATE_NONE,
    CONN_STATE_CONNECTING,
    CONN_STATE_ACCEPTING,
    CONN_STATE_CONNECTED,
    CONN_STATE_CLOSED,
    CONN_STATE_ERROR,
}
pub use ConnectionState::*;

/// The connection was closed by one of its own handlers, and is removed when the last of them has
/// returned.
const CONN_FLAG_CLOSE_SCHEDULED: u8 = 1 << 0;
/// The write handler is called before the read handler.
const CONN_FLAG_WRITE_BARRIER: u8 = 1 << 1;

/// A handler of a connection.
pub type ConnectionCallbackFunc = fn(&mut Server, ConnId);

/// The id of a connection: the C's `connection *`. In it are the connection's place in the slab and
/// the place's generation, which is never 0; so an `Option` of an id is as small as an id.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct ConnId(NonZeroU64);

impl ConnId {
    #[inline(always)]
    fn index(self) -> usize {
        self.0.get() as u32 as usize
    }

    /// Returns the id of the next connection in the same place.
    fn next(self) -> ConnId {
        let generation = ((self.0.get() >> 32) as u32).wrapping_add(1).max(1);
        ConnId::from_u64(u64::from(generation) << 32 | self.index() as u64)
    }

    /// Returns the id as the word that the reactor carries.
    #[inline]
    pub fn to_u64(self) -> u64 {
        self.0.get()
    }

    /// Returns the id of a word that `to_u64` made. For 0 it is an id that no connection has.
    #[inline]
    pub fn from_u64(word: u64) -> ConnId {
        ConnId(NonZeroU64::new(word).unwrap_or(NonZeroU64::MAX))
    }
}

/// `connection`.
struct Connection {
    state: ConnectionState,
    flags: u8,
    /// The number of its handlers that are on the stack.
    refs: u16,
    last_errno: i32,
    private_data: u64,
    conn_handler: Option<ConnectionCallbackFunc>,
    write_handler: Option<ConnectionCallbackFunc>,
    read_handler: Option<ConnectionCallbackFunc>,
    fd: RawFd,
}

/// A place of the slab: the connection in it, and the id of that connection, or else of the next
/// one.
struct Slot {
    id: ConnId,
    conn: Option<Connection>,
}

/// The event loop and the connections it serves.
pub struct Net {
    pub el: EventLoop<Server>,
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Default for Net {
    /// Returns a small loop, for a server that is not initialised yet: for the descriptors that a
    /// process may have by default.
    fn default() -> Net {
        Net::init(1024)
    }
}

impl Net {
    /// Returns a loop for descriptors below `setsize`, and no connections. Panics if the kernel has
    /// no epoll set for us.
    pub fn init(setsize: i32) -> Net {
        Net {
            el: aeCreateEventLoop(setsize).expect("an event loop needs an epoll set"),
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Tells whether the connection is still there.
    #[inline]
    pub fn contains(&self, conn: ConnId) -> bool {
        self.slots.get(conn.index()).is_some_and(|s| s.id == conn && s.conn.is_some())
    }

    #[inline]
    #[track_caller]
    fn get(&self, conn: ConnId) -> &Connection {
        match self.slots.get(conn.index()) {
            Some(Slot { id, conn: Some(connection) }) if *id == conn => connection,
            _ => stale(),
        }
    }

    #[inline]
    #[track_caller]
    fn get_mut(&mut self, conn: ConnId) -> &mut Connection {
        match self.slots.get_mut(conn.index()) {
            Some(Slot { id, conn: Some(connection) }) if *id == conn => connection,
            _ => stale(),
        }
    }

    /// Notes what a failed read or write means for the connection.
    #[cold]
    fn note_io_error(&mut self, conn: ConnId, mask: i32, e: &io::Error) {
        let connection = self.get_mut(conn);
        let fd = connection.fd;
        if e.kind() == io::ErrorKind::WouldBlock {
            self.el.drained(fd, mask);
            return;
        }
        connection.last_errno = errno_of(e);
        // Who waits for a connect or an accept looks at the state, and is told there.
        if connection.state == CONN_STATE_CONNECTED {
            connection.state = CONN_STATE_ERROR;
        }
    }
}

#[cold]
#[track_caller]
fn stale() -> ! {
    panic!("a connection was used after it was closed")
}

/// Returns a connection without a socket, for `connConnect`.
pub fn connCreateSocket(net: &mut Net) -> ConnId {
    let index = net.free.pop().unwrap_or_else(|| {
        let index = net.slots.len() as u32;
        net.slots.push(Slot { id: ConnId::from_u64(1 << 32 | u64::from(index)), conn: None });
        index
    });
    let slot = &mut net.slots[index as usize];
    slot.conn = Some(Connection {
        state: CONN_STATE_NONE,
        flags: 0,
        refs: 0,
        last_errno: 0,
        private_data: 0,
        conn_handler: None,
        write_handler: None,
        read_handler: None,
        fd: -1,
    });
    slot.id
}

/// Returns a connection for a socket that accept(2) returned. It is ready for I/O when `connAccept`
/// has called its handler.
pub fn connCreateAcceptedSocket(net: &mut Net, fd: RawFd) -> ConnId {
    let conn = connCreateSocket(net);
    let connection = net.get_mut(conn);
    connection.fd = fd;
    connection.state = CONN_STATE_ACCEPTING;
    conn
}

/// Begins to connect. `connect_handler` is called when the connection stands or has failed; the
/// state tells which. `C_ERR`: it failed at once, and the handler is not called.
pub fn connConnect(
    server: &mut Server,
    conn: ConnId,
    addr: &[u8],
    port: i32,
    src_addr: Option<&[u8]>,
    connect_handler: ConnectionCallbackFunc,
) -> CResult {
    let net = &mut server.net;
    let result = match u16::try_from(port) {
        Ok(port) => anetTcpNonBlockBestEffortBindConnect(addr, port, src_addr).map_err(|e| e.errno),
        Err(_) => Err(libc::EINVAL),
    };
    let connection = net.get_mut(conn);
    match result {
        Err(errno) => {
            connection.state = CONN_STATE_ERROR;
            connection.last_errno = errno;
            C_ERR
        }
        Ok(fd) => {
            connection.fd = fd;
            connection.state = CONN_STATE_CONNECTING;
            connection.conn_handler = Some(connect_handler);
            // As in the C, a loop without room shows as a connect that never comes about.
            let _ = aeCreateFileEvent(
                &mut net.el,
                fd,
                AE_WRITABLE,
                connSocketEventHandler,
                conn.to_u64(),
            );
            C_OK
        }
    }
}

/// Connects, and waits for that up to `timeout` milliseconds. `C_ERR`: it failed, and the state
/// tells so.
pub fn connBlockingConnect(
    net: &mut Net,
    conn: ConnId,
    addr: &[u8],
    port: i32,
    timeout: i64,
) -> CResult {
    let result = match u16::try_from(port) {
        Ok(port) => anetTcpNonBlockConnect(addr, port).map_err(|e| e.errno),
        Err(_) => Err(libc::EINVAL),
    };
    let connection = net.get_mut(conn);
    let failed = |connection: &mut Connection, errno: i32| {
        connection.state = CONN_STATE_ERROR;
        connection.last_errno = errno;
        C_ERR
    };
    match result {
        Err(errno) => return failed(connection, errno),
        Ok(fd) => connection.fd = fd,
    }
    match aeWait(connection.fd, AE_WRITABLE, timeout) {
        Ok(mask) if mask & AE_WRITABLE != 0 => {
            connection.state = CONN_STATE_CONNECTED;
            C_OK
        }
        _ => failed(connection, libc::ETIMEDOUT),
    }
}

/// Tells whether there is a write handler.
pub fn connHasWriteHandler(net: &Net, conn: ConnId) -> bool {
    net.get(conn).write_handler.is_some()
}

/// Tells whether there is a read handler.
pub fn connHasReadHandler(net: &Net, conn: ConnId) -> bool {
    net.get(conn).read_handler.is_some()
}

/// Stores a word with the connection.
pub fn connSetPrivateData(net: &mut Net, conn: ConnId, data: u64) {
    net.get_mut(conn).private_data = data;
}

/// Returns the word that `connSetPrivateData` stored; 0 if it was never called.
#[inline]
pub fn connGetPrivateData(net: &Net, conn: ConnId) -> u64 {
    net.get(conn).private_data
}

// ------ Sockets

/// Closes the socket and forgets the connection. From within one of its handlers the id stays good
/// until that returns.
pub fn connClose(net: &mut Net, conn: ConnId) {
    let fd = net.get(conn).fd;
    if fd != -1 {
        net.el.forget_fd(fd);
        socket::close(fd);
    }
    let connection = net.get_mut(conn);
    connection.fd = -1;
    if connection.refs != 0 {
        connection.flags |= CONN_FLAG_CLOSE_SCHEDULED;
        return;
    }
    net.slots[conn.index()] = Slot { id: conn.next(), conn: None };
    net.free.push(conn.index() as u32);
}

/// Writes to the socket. A short write is normal. On an error other than `WouldBlock` the connection
/// is in `CONN_STATE_ERROR`, if it was connected.
// C: write(2) and read(2), which take longer than send(2) and recv(2).
#[inline]
pub fn connWrite(net: &mut Net, conn: ConnId, data: &[u8]) -> io::Result<usize> {
    let fd = net.get(conn).fd;
    let ret = socket::send(fd, data);
    match &ret {
        Ok(n) if *n < data.len() => net.el.drained(fd, AE_WRITABLE),
        Ok(_) => {}
        Err(e) => net.note_io_error(conn, AE_WRITABLE, e),
    }
    ret
}

/// Writes several buffers, which hold `len` bytes together, as `connWrite` writes one: writev(2).
pub fn conn_writev(net: &mut Net, conn: ConnId, bufs: &[IoSlice], len: usize) -> io::Result<usize> {
    let fd = net.get(conn).fd;
    let ret = socket::writev(fd, bufs);
    match &ret {
        Ok(n) if *n < len => net.el.drained(fd, AE_WRITABLE),
        Ok(_) => {}
        Err(e) => net.note_io_error(conn, AE_WRITABLE, e),
    }
    ret
}

/// Reads from the socket: read(2). `Ok(0)`: the other side has closed, and the state is
/// `CONN_STATE_CLOSED`. On an error other than `WouldBlock` the connection is in
/// `CONN_STATE_ERROR`, if it was connected.
pub fn connRead(net: &mut Net, conn: ConnId, buf: &mut [u8]) -> io::Result<usize> {
    let fd = net.get(conn).fd;
    let ret = socket::read(fd, buf);
    note_bytes_read(net, conn, fd, &ret, buf.len());
    ret
}

/// Reads up to `max` bytes to the end of `buf`, as `connRead` does.
#[inline]
pub fn conn_read_append(
    net: &mut Net,
    conn: ConnId,
    buf: &mut Vec<u8>,
    max: usize,
) -> io::Result<usize> {
    let fd = net.get(conn).fd;
    let ret = socket::recv_append(fd, buf, max);
    note_bytes_read(net, conn, fd, &ret, max);
    ret
}

/// Does what `conn_read_append` does ahead of the connection's turn, which the reactor has told,
/// with its descriptor `fd`.
#[inline]
pub fn conn_read_ahead(
    net: &mut Net,
    conn: ConnId,
    fd: RawFd,
    buf: &mut Vec<u8>,
    max: usize,
) -> io::Result<usize> {
    debug_assert_eq!(net.get(conn).fd, fd);
    let ret = socket::recv_append(fd, buf, max);
    note_bytes_read(net, conn, fd, &ret, max);
    if matches!(ret, Ok(n) if n > 0) {
        net.el.mark_preread(fd);
    }
    ret
}

#[inline]
fn note_bytes_read(net: &mut Net, conn: ConnId, fd: RawFd, ret: &io::Result<usize>, max: usize) {
    match ret {
        Ok(0) => net.get_mut(conn).state = CONN_STATE_CLOSED,
        Ok(n) if *n < max => net.el.drained(fd, AE_READABLE),
        Ok(_) => {}
        Err(e) => net.note_io_error(conn, AE_READABLE, e),
    }
}

/// Completes an accepted connection and calls `accept_handler`. `C_ERR`: it was not waiting for
/// that, or the handler has closed it; the caller gets rid of it.
pub fn connAccept(
    server: &mut Server,
    conn: ConnId,
    accept_handler: ConnectionCallbackFunc,
) -> CResult {
    let connection = server.net.get_mut(conn);
    if connection.state != CONN_STATE_ACCEPTING {
        return C_ERR;
    }
    connection.state = CONN_STATE_CONNECTED;

    // One reference more than the handler's, so that the connection outlives it for the caller.
    connection.refs += 1;
    let ret = if callHandler(server, conn, Some(accept_handler)) { C_OK } else { C_ERR };
    server.net.get_mut(conn).refs -= 1;
    ret
}

/// Sets, or with `None` removes, the handler for "can be written". `C_ERR`: the loop has no room.
pub fn connSetWriteHandler(
    net: &mut Net,
    conn: ConnId,
    func: Option<ConnectionCallbackFunc>,
) -> CResult {
    connSetWriteHandlerWithBarrier(net, conn, func, false)
}

/// Sets the write handler as `connSetWriteHandler` does; with `barrier` it is called before the
/// read handler, so that what is read now is answered only after the next `beforeSleep`.
pub fn connSetWriteHandlerWithBarrier(
    net: &mut Net,
    conn: ConnId,
    func: Option<ConnectionCallbackFunc>,
    barrier: bool,
) -> CResult {
    let connection = net.get_mut(conn);
    if same_handler(func, connection.write_handler) {
        return C_OK;
    }
    connection.write_handler = func;
    if barrier {
        connection.flags |= CONN_FLAG_WRITE_BARRIER;
    } else {
        connection.flags &= !CONN_FLAG_WRITE_BARRIER;
    }
    set_file_event(net, conn, AE_WRITABLE, func.is_some())
}

/// Sets, or with `None` removes, the handler for "can be read". `C_ERR`: the loop has no room.
pub fn connSetReadHandler(
    net: &mut Net,
    conn: ConnId,
    func: Option<ConnectionCallbackFunc>,
) -> CResult {
    let connection = net.get_mut(conn);
    if same_handler(func, connection.read_handler) {
        return C_OK;
    }
    connection.read_handler = func;
    set_file_event(net, conn, AE_READABLE, func.is_some())
}

/// Makes the reactor watch the socket for `mask`, or stop that.
fn set_file_event(net: &mut Net, conn: ConnId, mask: i32, on: bool) -> CResult {
    let fd = net.get(conn).fd;
    if !on {
        aeDeleteFileEvent(&mut net.el, fd, mask);
        return C_OK;
    }
    aeCreateFileEvent(&mut net.el, fd, mask, connSocketEventHandler, conn.to_u64()).map_err(drop)
}

fn same_handler(a: Option<ConnectionCallbackFunc>, b: Option<ConnectionCallbackFunc>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => fn_addr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

/// Returns the private data of a connection that is connected, and whose read handler is `func`.
#[inline]
pub(crate) fn connected_reader(
    net: &Net,
    conn: ConnId,
    func: ConnectionCallbackFunc,
) -> Option<u64> {
    match net.slots.get(conn.index()) {
        Some(Slot { id, conn: Some(connection) })
            if *id == conn
                && connection.state == CONN_STATE_CONNECTED
                && same_handler(Some(func), connection.read_handler) =>
        {
            Some(connection.private_data)
        }
        _ => None,
    }
}

/// Returns the last error, in words.
pub fn connGetLastError(net: &Net, conn: ConnId) -> Vec<u8> {
    strerror(net.get(conn).last_errno).into_bytes()
}

/// Calls a handler of the connection, if it is set. False: the connection was closed meanwhile, and
/// unless it is in use further up the stack, the id is stale now.
#[inline]
fn callHandler(server: &mut Server, conn: ConnId, handler: Option<ConnectionCallbackFunc>) -> bool {
    server.net.get_mut(conn).refs += 1;
    if let Some(handler) = handler {
        handler(server, conn);
        // What is not a client's input may have changed anything, such as the link to our master.
        if !same_handler(Some(handler), Some(readQueryFromClient)) {
            server.quiet = Quiet::Unknown;
        }
    }
    let connection = server.net.get_mut(conn);
    connection.refs -= 1;
    if connection.flags & CONN_FLAG_CLOSE_SCHEDULED == 0 {
        return true;
    }
    if connection.refs == 0 {
        connClose(&mut server.net, conn);
    }
    false
}

/// Handles the events of a connection, as the reactor's handler: completes a connect, and calls the
/// read and write handlers.
pub(crate) fn connSocketEventHandler(server: &mut Server, _fd: RawFd, clientData: u64, mask: i32) {
    let conn = ConnId::from_u64(clientData);
    let mut connection = server.net.get(conn);

    if connection.state == CONN_STATE_CONNECTING
        && mask & AE_WRITABLE != 0
        && connection.conn_handler.is_some()
    {
        if !connect_completed(server, conn) {
            return;
        }
        connection = server.net.get(conn);
    }

    // Reading comes first: the reply to what is read may leave at once. With a barrier it comes
    // last.
    let invert = connection.flags & CONN_FLAG_WRITE_BARRIER != 0;
    let call_write = mask & AE_WRITABLE != 0 && connection.write_handler.is_some();
    let call_read = mask & AE_READABLE != 0 && connection.read_handler.is_some();

    if !invert && call_read {
        let read_handler = connection.read_handler;
        if !callHandler(server, conn, read_handler) {
            return;
        }
    }
    if call_write {
        let write_handler = server.net.get(conn).write_handler;
        if !callHandler(server, conn, write_handler) {
            return;
        }
    }
    if invert && call_read {
        let read_handler = server.net.get(conn).read_handler;
        callHandler(server, conn, read_handler);
    }
}

/// Completes a connect: the connection stands, or the error is noted, and the handler is called.
/// False as from `callHandler`.
#[cold]
fn connect_completed(server: &mut Server, conn: ConnId) -> bool {
    let connection = server.net.get_mut(conn);
    let (fd, conn_handler) = (connection.fd, connection.conn_handler);
    match socket::take_socket_error(fd) {
        Err(e) => {
            connection.last_errno = errno_of(&e);
            connection.state = CONN_STATE_ERROR;
        }
        Ok(()) => connection.state = CONN_STATE_CONNECTED,
    }
    if connection.write_handler.is_none() {
        aeDeleteFileEvent(&mut server.net.el, fd, AE_WRITABLE);
    }
    if !callHandler(server, conn, conn_handler) {
        return false;
    }
    server.net.get_mut(conn).conn_handler = None;
    true
}

// ------ Blocking I/O with a deadline, on a socket that does not block

/// Writes all of `data` within `timeout` milliseconds. On an error an unknown part of it was
/// written.
pub fn connSyncWrite(net: &mut Net, conn: ConnId, data: &[u8], timeout: i64) -> io::Result<usize> {
    let fd = net.get(conn).fd;
    let ret = syncWrite(fd, data, timeout);
    net.el.recheck(fd);
    ret
}

/// Fills `buf` within `timeout` milliseconds. On an error an unknown part of it was read.
pub fn connSyncRead(
    net: &mut Net,
    conn: ConnId,
    buf: &mut [u8],
    timeout: i64,
) -> io::Result<usize> {
    let fd = net.get(conn).fd;
    let ret = syncRead(fd, buf, timeout);
    net.el.recheck(fd);
    ret
}

/// Reads a line of less than `max` bytes, each byte within `timeout` milliseconds. Returns it
/// without its end.
pub fn connSyncReadLine(
    net: &mut Net,
    conn: ConnId,
    max: usize,
    timeout: i64,
) -> io::Result<Vec<u8>> {
    let fd = net.get(conn).fd;
    let ret = syncReadLine(fd, max, timeout);
    net.el.recheck(fd);
    ret
}

/// Returns the descriptor; -1 when there is none.
pub fn conn_fd(net: &Net, conn: ConnId) -> RawFd {
    net.get(conn).fd
}

/// Returns the address and port of the other end; `?` and 0 if they can't be known.
pub fn connPeerToString(net: &Net, conn: ConnId) -> (Vec<u8>, u16) {
    anetFdToString(net.get(conn).fd, FD_TO_PEER_NAME).unwrap_or_else(|()| (b"?".to_vec(), 0))
}

/// Returns the address and port of our end; `?` and 0 if they can't be known.
pub fn connSockName(net: &Net, conn: ConnId) -> (Vec<u8>, u16) {
    anetFdToString(net.get(conn).fd, FD_TO_SOCK_NAME).unwrap_or_else(|()| (b"?".to_vec(), 0))
}

/// Returns `address:port` of one end (`FD_TO_PEER_NAME`, `FD_TO_SOCK_NAME`); `?:0` without a
/// connection.
pub fn connFormatFdAddr(net: &Net, conn: Option<ConnId>, fd_to_str_type: i32) -> Vec<u8> {
    anetFormatFdAddr(conn.map_or(-1, |conn| net.get(conn).fd), fd_to_str_type)
}

/// Applies a function of anet.rs to the socket; `C_ERR` also when there is none.
fn set_socket_option(net: &Net, conn: ConnId, f: impl FnOnce(RawFd) -> AnetResult<()>) -> CResult {
    match net.get(conn).fd {
        -1 => C_ERR,
        fd => f(fd).map_err(drop),
    }
}

/// Makes the socket block.
pub fn connBlock(net: &Net, conn: ConnId) -> CResult {
    set_socket_option(net, conn, anetBlock)
}

/// Makes the socket not block.
pub fn connNonBlock(net: &Net, conn: ConnId) -> CResult {
    set_socket_option(net, conn, anetNonBlock)
}

/// Makes small packets leave at once (TCP_NODELAY).
pub fn connEnableTcpNoDelay(net: &Net, conn: ConnId) -> CResult {
    set_socket_option(net, conn, anetEnableTcpNoDelay)
}

/// Lets small packets wait to be sent together (Nagle's algorithm).
pub fn connDisableTcpNoDelay(net: &Net, conn: ConnId) -> CResult {
    set_socket_option(net, conn, anetDisableTcpNoDelay)
}

/// Makes the kernel probe the peer after `interval` seconds of silence.
pub fn connKeepAlive(net: &Net, conn: ConnId, interval: i32) -> CResult {
    set_socket_option(net, conn, |fd| anetKeepAlive(fd, interval))
}

/// Limits a blocking write, in milliseconds; 0 is no limit.
pub fn connSendTimeout(net: &Net, conn: ConnId, ms: i64) -> CResult {
    set_socket_option(net, conn, |fd| anetSendTimeout(fd, ms))
}

/// Limits a blocking read, in milliseconds; 0 is no limit.
pub fn connRecvTimeout(net: &Net, conn: ConnId, ms: i64) -> CResult {
    set_socket_option(net, conn, |fd| anetRecvTimeout(fd, ms))
}

/// Returns the state of the connection.
#[inline]
pub fn connGetState(net: &Net, conn: ConnId) -> ConnectionState {
    net.get(conn).state
}

/// Returns the connection in CLIENT LIST: `fd=8`; `fd=-1` for none.
pub fn connGetInfo(net: &Net, conn: Option<ConnId>) -> Vec<u8> {
    format!("fd={}", conn.map_or(-1, |conn| net.get(conn).fd)).into_bytes()
}

// -----------------------------------------------------------------------------
// syncio.c
// -----------------------------------------------------------------------------

/// The shortest wait, in milliseconds.
const SYNCIO__RESOLUTION: i64 = 10;

/// Waits until `fd` is ready for `mask`, or the deadline comes near. `TimedOut`: it has passed.
fn sync_wait(fd: RawFd, mask: i32, start: i64, timeout: i64) -> io::Result<()> {
    let remaining = timeout.saturating_sub(steady_ms() - start);
    aeWait(fd, mask, remaining.max(SYNCIO__RESOLUTION))?;
    if steady_ms() - start >= timeout {
        return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
    }
    Ok(())
}

fn syncWrite(fd: RawFd, mut data: &[u8], timeout: i64) -> io::Result<usize> {
    let size = data.len();
    let start = steady_ms();
    loop {
        match socket::write(fd, data) {
            Ok(n) => data = &data[n..],
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
        if data.is_empty() {
            return Ok(size);
        }
        sync_wait(fd, AE_WRITABLE, start, timeout)?;
    }
}

/// Fills all of `buf`, within `timeout` milliseconds.
pub(crate) fn syncRead(fd: RawFd, buf: &mut [u8], timeout: i64) -> io::Result<usize> {
    let size = buf.len();
    let start = steady_ms();
    let mut totread = 0;
    if size == 0 {
        return Ok(0);
    }
    loop {
        match socket::read(fd, &mut buf[totread..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => totread += n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
        if totread == size {
            return Ok(totread);
        }
        sync_wait(fd, AE_READABLE, start, timeout)?;
    }
}

fn syncReadLine(fd: RawFd, max: usize, timeout: i64) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut c = [0];
    while line.len() + 1 < max {
        syncRead(fd, &mut c, timeout)?;
        if c[0] == b'\n' {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            break;
        }
        line.push(c[0]);
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a server with one connection, and the other end of it.
    fn server_with_connection() -> (Server, ConnId, RawFd) {
        let mut server = Server::default();
        let (ours, theirs) = socket::socketpair().unwrap();
        let conn = connCreateAcceptedSocket(&mut server.net, ours);
        connNonBlock(&server.net, conn).unwrap();
        (server, conn, theirs)
    }

    fn turn(server: &mut Server) {
        aeProcessEvents(server, AE_FILE_EVENTS | AE_DONT_WAIT);
    }

    #[test]
    fn closing_within_a_handler_keeps_the_connection_until_it_returns() {
        fn accepted(server: &mut Server, conn: ConnId) {
            assert_eq!(connGetState(&server.net, conn), CONN_STATE_CONNECTED);
            connSetReadHandler(&mut server.net, conn, Some(closes)).unwrap();
        }
        fn closes(server: &mut Server, conn: ConnId) {
            connClose(&mut server.net, conn);
            assert_eq!(conn_fd(&server.net, conn), -1);
            server.dirty += 1;
        }
        let (mut server, conn, theirs) = server_with_connection();
        connAccept(&mut server, conn, accepted).unwrap();
        turn(&mut server);
        assert_eq!(server.dirty, 0);
        socket::write(theirs, b"x").unwrap();
        turn(&mut server);
        assert_eq!(server.dirty, 1);
        assert!(!server.net.contains(conn));
        // The place is used again under another id.
        let again = connCreateSocket(&mut server.net);
        assert!(again.index() == conn.index() && again != conn);
        socket::close(theirs);
    }

    #[test]
    fn an_accept_handler_that_closes_makes_connAccept_fail() {
        fn closes(server: &mut Server, conn: ConnId) {
            connClose(&mut server.net, conn);
        }
        let (mut server, conn, theirs) = server_with_connection();
        assert_eq!(connAccept(&mut server, conn, closes), C_ERR);
        assert!(server.net.contains(conn));
        connClose(&mut server.net, conn);
        assert!(!server.net.contains(conn));
        socket::close(theirs);
    }

    /// The kernel reports new bytes once. A handler that leaves some of them is called again.
    #[test]
    fn what_a_handler_leaves_is_there_in_the_next_turn() {
        fn reads_four(server: &mut Server, conn: ConnId) {
            let nread = connRead(&mut server.net, conn, &mut [0; 4]).unwrap();
            server.dirty += nread as i64;
        }
        let (mut server, conn, theirs) = server_with_connection();
        connAccept(&mut server, conn, |_, _| ()).unwrap();
        connSetReadHandler(&mut server.net, conn, Some(reads_four)).unwrap();
        socket::write(theirs, b"ten bytes.").unwrap();
        for read in [4, 8, 10, 10] {
            turn(&mut server);
            assert_eq!(server.dirty, read, "bytes read so far");
        }
        connClose(&mut server.net, conn);
        socket::close(theirs);
    }

    #[test]
    fn reading_tells_data_nothing_and_the_end_apart() {
        let _closes = crate::testing::closes();
        let (mut server, conn, theirs) = server_with_connection();
        connAccept(&mut server, conn, |_, _| ()).unwrap();
        let net = &mut server.net;
        let mut buf = [0; 8];
        assert_eq!(connRead(net, conn, &mut buf).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(connGetState(net, conn), CONN_STATE_CONNECTED);
        socket::write(theirs, b"line\r\nrest").unwrap();
        assert_eq!(connSyncReadLine(net, conn, 100, 1000).unwrap(), b"line");
        let mut all = b"the ".to_vec();
        assert_eq!(conn_read_append(net, conn, &mut all, 100).unwrap(), 4);
        assert_eq!(all, b"the rest");
        assert_eq!(
            connSyncRead(net, conn, &mut buf, 20).unwrap_err().raw_os_error(),
            Some(libc::ETIMEDOUT)
        );
        socket::close(theirs);
        assert_eq!(connRead(net, conn, &mut buf).unwrap(), 0);
        assert_eq!(connGetState(net, conn), CONN_STATE_CLOSED);
        connClose(net, conn);
    }

    #[test]
    fn the_write_handler_comes_first_with_a_barrier() {
        fn reads(server: &mut Server, conn: ConnId) {
            connRead(&mut server.net, conn, &mut [0; 8]).unwrap();
            server.dirty = server.dirty * 10 + 1;
        }
        fn writes(server: &mut Server, conn: ConnId) {
            server.dirty = server.dirty * 10 + 2;
            connSetWriteHandler(&mut server.net, conn, None).unwrap();
        }
        for (barrier, order) in [(false, 12), (true, 21)] {
            let (mut server, conn, theirs) = server_with_connection();
            connAccept(&mut server, conn, |_, _| ()).unwrap();
            connSetReadHandler(&mut server.net, conn, Some(reads)).unwrap();
            connSetWriteHandlerWithBarrier(&mut server.net, conn, Some(writes), barrier).unwrap();
            socket::write(theirs, b"x").unwrap();
            turn(&mut server);
            assert_eq!(server.dirty, order);
            connClose(&mut server.net, conn);
            socket::close(theirs);
        }
    }
}
