//! `networking.c`: clients, what they ask and what they are answered.
//!
//! Read first: `readQueryFromClient`, where bytes come in; `processInputBuffer`, which finds the commands in them;
//! `addReplyProto` and `prepareClientToWrite`, where bytes go out; `handleClientsWithPendingWrites`, which sends them;
//! `freeClient`, the end.
//!
//! # Input
//!
//! A command's arguments are not copied: they stay in the query buffer, which is taken out of the client while its commands run,
//! and an `Args` borrows it. A client with nothing half received owns no buffer at all: it is lent one for the time of a read.
//! A command that is only partly there stays in the client's own buffer, with a note of how far it was parsed, so that its bytes
//! are looked at once, however many pieces it comes in.
//!
//! A client's position in its buffer is drawn at [`InputState`]. Whole commands are found many at a time, and those of several ready
//! clients together, so that the memory they will want can be asked for before the first of them runs: lookahead.rs tells how, and
//! why nothing is decided by it.
//!
//! # Output
//!
//! As in the C: a buffer of 16 KB per client, and a list of blocks behind it. Queueing a reply touches `Clients` only.
//!
//! # What differs
//!
//! Absent: I/O threads and all that is named after them (`getIOPendingCount` to `handleClientsWithPendingReadsUsingThreads`),
//! modules, TLS, Gopher, client-side caching (CLIENT TRACKING, CACHING, TRACKINGINFO), and the functions for C strings and
//! reference counts: `sdsZmallocSize`, `getStringObjectSdsUsedMemory`, `getStringObjectLen`, `dupClientReplyValue`,
//! `freeClientReplyValue`, `listMatchObjects`, `addReplySds`, `addReplyBulkSds`, `setDeferredReplyBulkSds`, `addReplyErrorSds`,
//! `deferredAfterErrorReply`, `freeClientArgv`.
//! The C makes a large argument the value itself, without a copy. Here it is read into a buffer of its size, in reads of up to
//! 1 MB, and copied once, into the value.
//! The list of clients with something to send is a vector that may hold ids of clients that are gone.

use std::io::{self, IoSlice};
use std::mem::{swap, take};
use std::os::fd::RawFd;

use memchr::{memchr2, memchr2_iter};

use crate::acl::{ACLAuthenticateUser, ACLGetUserByName};
use crate::ae::*;
use crate::anet::{AnetError, FD_TO_PEER_NAME, FD_TO_SOCK_NAME, anetTcpAccept, anetUnixAccept};
use crate::args::{ArgRange, Args, Argv};
use crate::blocked::{replyToBlockedClientTimedOut, unblockClient};
use crate::connection::*;
use crate::db::KeyHashHint;
use crate::ds::adlist::*;
use crate::ds::longdouble::{LongDouble, ld2string, ld2string_mode};
use crate::keyspace::ValueRef;
use crate::log::{LL_VERBOSE, LL_WARNING, getLogLevel};
use crate::lookahead::*;
use crate::multi::{discardTransaction, unwatchAllKeys};
use crate::object::getLongLongFromObjectOrReply;
use crate::pubsub::{pubsubUnsubscribeAllChannels, pubsubUnsubscribeAllPatterns};
use crate::rdb::killRDBChild;
use crate::replication::{
    close_master_link, refreshGoodSlavesCount, replicationCacheMaster,
    replicationFeedSlavesFromMasterStream, replicationGetSlaveName,
    replicationHandleMasterDisconnection, showLatestBacklog,
};
use crate::sds::{sdscatrepr, sdssplitargs, sdstrim};
use crate::server::{
    incrementErrorCount, lookupCommandOrOriginal, processCommand, updateCachedTime,
    whileBlockedCron,
};
use crate::server_h::*;
use crate::sys::alloc::{fallibly, zmalloc_used_memory};
use crate::sys::clock::{steady_ms, ustime};
use crate::timeout::getTimeoutFromObjectOrReply;
use crate::util::{B, c_str, eq_ignore_case, format_17g, isprint, ll2string, string2ll};
use crate::{bformat, serverLog};

/// `createSharedObjects`: replies that never change, by the C's names.
pub mod shared {
    /// A reply that never changes. Nulls and empty aggregates depend on the client's protocol version.
    #[derive(Copy, Clone, PartialEq, Eq, Debug)]
    pub struct Shared {
        resp2: &'static str,
        resp3: &'static str,
    }

    impl Shared {
        /// The bytes for a client of that protocol version (2 or 3).
        #[inline]
        pub fn bytes(self, resp: i32) -> &'static [u8] {
            if resp == 2 { self.resp2.as_bytes() } else { self.resp3.as_bytes() }
        }

        /// Whether it is an error, which is to be counted (`addReplyErrorObject`).
        pub fn is_error(self) -> bool {
            self.resp2.starts_with('-')
        }
    }

    const fn both(text: &'static str) -> Shared {
        Shared { resp2: text, resp3: text }
    }

    macro_rules! replies {
        ($($name:ident = $text:expr;)*) => {
            $(#[allow(non_upper_case_globals, missing_docs)] pub const $name: Shared = both($text);)*
        };
    }

    replies! {
        crlf = "\r\n";
        ok = "+OK\r\n";
        emptybulk = "$0\r\n\r\n";
        czero = ":0\r\n";
        cone = ":1\r\n";
        emptyarray = "*0\r\n";
        pong = "+PONG\r\n";
        queued = "+QUEUED\r\n";
        emptyscan = "*2\r\n$1\r\n0\r\n*0\r\n";
        space = " ";
        colon = ":";
        plus = "+";

        wrongtypeerr = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
        err = "-ERR\r\n";
        nokeyerr = "-ERR no such key\r\n";
        syntaxerr = "-ERR syntax error\r\n";
        sameobjecterr = "-ERR source and destination objects are the same\r\n";
        outofrangeerr = "-ERR index out of range\r\n";
        noscripterr = "-NOSCRIPT No matching script. Please use EVAL.\r\n";
        loadingerr = "-LOADING Redis is loading the dataset in memory\r\n";
        slowscripterr =
            "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
        masterdownerr =
            "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n";
        bgsaveerr = "-MISCONF Redis is configured to save RDB snapshots, but it is currently not able to persist on disk. Commands that may modify the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error.\r\n";
        roslaveerr = "-READONLY You can't write against a read only replica.\r\n";
        noautherr = "-NOAUTH Authentication required.\r\n";
        oomerr = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
        execaborterr = "-EXECABORT Transaction discarded because of previous errors.\r\n";
        noreplicaserr = "-NOREPLICAS Not enough good replicas to write.\r\n";
        busykeyerr = "-BUSYKEY Target key name already exists.\r\n";
    }

    /// Nothing.
    pub const null: Shared = Shared { resp2: "$-1\r\n", resp3: "_\r\n" };
    /// Nothing, where an array was expected.
    pub const nullarray: Shared = Shared { resp2: "*-1\r\n", resp3: "_\r\n" };
    /// A map without elements.
    pub const emptymap: Shared = Shared { resp2: "*0\r\n", resp3: "%0\r\n" };
    /// A set without elements.
    pub const emptyset: Shared = Shared { resp2: "*0\r\n", resp3: "~0\r\n" };

    /// What stands in the slow log for an argument that must not be seen.
    pub const redacted: &[u8] = b"(redacted)";
}
pub use shared::Shared;

/// The most that one read takes of a large argument, in bytes.
const MAX_BIG_READ: usize = 1024 * 1024;
/// A request with more arguments is an error.
pub(crate) const MAX_MULTIBULK_LEN: i64 = 1024 * 1024;
/// Who did not authenticate may not send more arguments, or longer ones, in a request.
pub(crate) const UNAUTHENTICATED_MULTIBULK_LEN: i64 = 10;
pub(crate) const UNAUTHENTICATED_BULK_LEN: i64 = 16384;
/// Nor leave more than this unread in the reply list, in bytes.
const REPLY_BUFFER_SIZE_UNAUTHENTICATED_CLIENT: usize = 1024;

/// What the memory accounting takes for a node of the reply list besides its bytes: as in the C on 64 bits.
const REPLY_NODE_OVERHEAD: usize = 24 + 16;

// ---------------------------------------------------------------------------------------------------------------------
// Clients
// ---------------------------------------------------------------------------------------------------------------------

/// Puts the client into the list of clients and the index by number.
pub fn linkClient(server: &mut Server, c: ClientId) {
    let node = listAddNodeTail(&mut server.clients.list, c);
    let client = &mut server.clients[c];
    client.client_list_node = Some(node);
    let id = client.id;
    server.clients.index.insert(id, c);
}

/// The user `default`, and whether that is enough.
fn clientSetDefaultAuth(server: &mut Server, c: ClientId) {
    let nopass = default_user_is_open(server);
    let client = &mut server[c];
    client.user = Some(DefaultUser);
    client.authenticated = nopass;
}

/// Whether the user `default` may come in without a password.
pub(crate) fn default_user_is_open(server: &Server) -> bool {
    server
        .users
        .get(DefaultUser)
        .is_none_or(|u| u.flags & USER_FLAG_NOPASS != 0 && u.flags & USER_FLAG_DISABLED == 0)
}

/// Whether the client has yet to authenticate.
#[inline]
pub fn authRequired(server: &Server, c: ClientId) -> bool {
    !server[c].authenticated && !default_user_is_open(server)
}

/// Makes a client for a connection and starts to read from it. Without one it is a client that only executes: the cached
/// master is such.
pub fn createClient(server: &mut Server, conn: Option<ConnId>) -> ClientId {
    let id = server.clients.next_client_id;
    server.clients.next_client_id += 1;
    let (ctime, lastinteraction) = (server.unixtime, server.steady_time);
    let c = server.clients.insert(Client {
        id,
        conn,
        resp: 2,
        bulklen: -1,
        ctime,
        lastinteraction,
        ..Client::default()
    });

    if let Some(conn) = conn {
        let net = &mut server.net;
        // As in the C, a socket that refuses an option is a socket all the same.
        let _ = connNonBlock(net, conn);
        let _ = connEnableTcpNoDelay(net, conn);
        if server.tcpkeepalive != 0 {
            let _ = connKeepAlive(net, conn, server.tcpkeepalive);
        }
        let _ = connSetReadHandler(net, conn, Some(readQueryFromClient));
        connSetPrivateData(net, conn, c.to_u64());
    }
    clientSetDefaultAuth(server, c);
    if conn.is_some() {
        linkClient(server, c);
    }
    c
}

/// Puts the client among those that have something to send, if it may send at all: a replica that is not online yet may not.
///
/// The write handler comes later, and mostly never: before the loop sleeps, `handleClientsWithPendingWrites` tries
/// to write, which saves the system calls.
pub fn clientInstallWriteHandler(clients: &mut impl AsMut<Clients>, c: ClientId) {
    let clients = clients.as_mut();
    let client = &mut clients[c];
    if client.flags & CLIENT_PENDING_WRITE == 0
        && (client.replstate == 0
            || (client.replstate == SLAVE_STATE_ONLINE && !client.repl_put_online_on_ack))
    {
        client.flags |= CLIENT_PENDING_WRITE;
        clients.clients_pending_write.push(c);
    }
}

/// What may keep a reply from being sent.
const NOT_EVERYTHING_IS_SENT: u64 =
    CLIENT_CLOSE_ASAP | CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP | CLIENT_MASTER;

/// To be asked before anything is queued for a client. `C_OK`: queue it, it will be sent. `C_ERR`: this client gets no replies (it
/// is about to be closed, wants none, is our master, or has no connection).
#[inline]
pub fn prepareClientToWrite(clients: &mut Clients, c: ClientId) -> CResult {
    let client = &clients[c];
    if client.flags & NOT_EVERYTHING_IS_SENT != 0 {
        if client.flags & CLIENT_CLOSE_ASAP != 0 {
            return C_ERR;
        }
        // Silence is for replies; what arrives unasked (CLIENT_PUSHING) is none.
        if client.flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP) != 0
            && client.flags & CLIENT_PUSHING == 0
        {
            return C_ERR;
        }
        if client.flags & CLIENT_MASTER != 0 && client.flags & CLIENT_MASTER_FORCE_REPLY == 0 {
            return C_ERR;
        }
    }
    if client.conn.is_none() {
        return C_ERR;
    }
    // With something queued already, it is among those that will write, or has a handler.
    if !clientHasPendingReplies(client) {
        clientInstallWriteHandler(clients, c);
    }
    C_OK
}

/// Whether nothing more that is queued for a client will be sent: it is about to be closed, or gets no replies. Loops whose length
/// somebody typed end then.
#[inline]
pub fn gets_no_replies(clients: &mut Clients, c: ClientId) -> bool {
    clients[c].flags & CLIENT_CLOSE_AFTER_REPLY != 0 || prepareClientToWrite(clients, c).is_err()
}

// ---------------------------------------------------------------------------------------------------------------------
// Low level functions to add more data to output buffers
// ---------------------------------------------------------------------------------------------------------------------

/// Adds bytes to the client's buffer. `C_ERR`: they don't fit, or must come after what is in the list.
#[inline]
fn _addReplyToBuffer(client: &mut Client, s: &[u8]) -> CResult {
    if client.flags & CLIENT_CLOSE_AFTER_REPLY != 0 {
        return C_OK;
    }
    if !client.reply.is_empty() || s.len() > PROTO_REPLY_CHUNK_BYTES - client.buf.len() {
        return C_ERR;
    }
    client.buf.extend_from_slice(s);
    C_OK
}

/// Adds bytes to the reply list: to its last block as far as that has room, and to a new one.
fn _addReplyProtoToList(clients: &mut Clients, c: ClientId, mut s: &[u8]) {
    let client = &mut clients[c];
    if client.flags & CLIENT_CLOSE_AFTER_REPLY != 0 {
        return;
    }
    if let Some(ReplyNode::Block(tail)) = client.reply.back_mut() {
        let copy = s.len().min(tail.capacity() - tail.len());
        tail.extend_from_slice(&s[..copy]);
        s = &s[copy..];
    }
    if !s.is_empty() {
        let mut tail = Vec::with_capacity(s.len().max(PROTO_REPLY_CHUNK_BYTES));
        tail.extend_from_slice(s);
        client.reply_bytes += tail.capacity();
        client.reply.push_back(ReplyNode::Block(tail));
        closeClientOnOutputBufferLimitReachedAsync(clients, c);
    }
}

/// Adds bytes wherever they go. The caller has asked `prepareClientToWrite`.
#[inline]
fn addReplyPrepared(clients: &mut Clients, c: ClientId, s: &[u8]) {
    if _addReplyToBuffer(&mut clients[c], s).is_err() {
        _addReplyProtoToList(clients, c, s);
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Higher level functions to queue data on the client output buffer
// ---------------------------------------------------------------------------------------------------------------------

/// Queues one of the shared replies.
#[inline]
pub fn addReply(clients: &mut impl AsMut<Clients>, c: ClientId, obj: Shared) {
    let clients = clients.as_mut();
    let resp = clients[c].resp;
    addReplyRaw(clients, c, obj.bytes(resp));
}

/// Queues bytes that are protocol already.
#[inline]
pub fn addReplyProto(clients: &mut impl AsMut<Clients>, c: ClientId, s: &[u8]) {
    addReplyRaw(clients.as_mut(), c, s);
}

/// Where `len` more bytes go, if they all fit: into the buffer, or into the last block of the list once there is one.
#[inline(always)]
fn roomForReply(client: &mut Client, len: usize) -> Option<&mut Vec<u8>> {
    if client.flags & CLIENT_CLOSE_AFTER_REPLY != 0 {
        return None;
    }
    match client.reply.back_mut() {
        None => (len <= PROTO_REPLY_CHUNK_BYTES - client.buf.len()).then_some(&mut client.buf),
        Some(ReplyNode::Block(tail)) => (len <= tail.capacity() - tail.len()).then_some(tail),
        Some(_) => None,
    }
}

fn addReplyRaw(clients: &mut Clients, c: ClientId, s: &[u8]) {
    if prepareClientToWrite(clients, c).is_err() {
        return;
    }
    match roomForReply(&mut clients[c], s.len()) {
        Some(queued) => queued.extend_from_slice(s),
        None => addReplyPrepared(clients, c, s),
    }
}

/// Calls `f` with `s`, in which line ends were replaced by spaces: a line of the protocol cannot contain them.
///
/// C: only texts made with a format are cleaned. Here everything is, since what a text quotes may come from anywhere.
fn withoutNewlines<R>(s: &[u8], f: impl FnOnce(&[u8]) -> R) -> R {
    if memchr2(b'\r', b'\n', s).is_none() {
        return f(s);
    }
    let mut clean = s.to_vec();
    for i in memchr2_iter(b'\r', b'\n', s) {
        clean[i] = b' ';
    }
    f(&clean)
}

/// Queues an error. A text that begins with `-` brings its code with it; else it gets `-ERR `.
fn addReplyErrorLength(clients: &mut Clients, c: ClientId, s: &[u8]) {
    if s.first() != Some(&b'-') {
        addReplyRaw(clients, c, b"-ERR ");
    }
    addReplyRaw(clients, c, s);
    addReplyRaw(clients, c, b"\r\n");
}

/// What comes after an error: it is counted, in total and by its code. An error to our master, to a replica, or to who loads the append
/// only file, is something that should not be, and goes to the log.
pub fn afterErrorReply(server: &mut Server, c: ClientId, s: &[u8]) {
    server.stat_total_error_replies += 1;
    // The code ends at the first blank, which has to come soon.
    let code = match s.strip_prefix(b"-") {
        Some(_) => {
            let head = &s[..s.len().min(32)];
            memchr::memchr(b' ', head).map_or(&b"ERR"[..], |end| &s[1..end])
        }
        None => b"ERR",
    };
    incrementErrorCount(server, code);

    // It happens that a command of the master fails on us, say after a script that did half of its work. The reply goes
    // nowhere, but somebody should know.
    let ctype = getClientType(&server[c]);
    let is_aof = server[c].id == CLIENT_ID_AOF;
    if ctype == CLIENT_TYPE_MASTER || ctype == CLIENT_TYPE_SLAVE || is_aof {
        let (to, from) = if is_aof {
            ("AOF-loading-client", "server")
        } else if ctype == CLIENT_TYPE_MASTER {
            ("master", "replica")
        } else {
            ("replica", "master")
        };
        let s = &s[..s.len().min(4096)];
        let cmdname = server[c].lastcmd.map_or("<unknown>", |cmd| server.commands[cmd].name);
        serverLog!(
            LL_WARNING,
            "== CRITICAL == This {} is sending an error to its {}: '{}' after processing the command '{}'",
            from,
            to,
            B(s),
            cmdname
        );
        if ctype == CLIENT_TYPE_MASTER
            && server.repl_backlog.is_some()
            && server.repl_backlog_histlen > 0
        {
            showLatestBacklog(server);
        }
        server.stat_unexpected_error_replies += 1;
    }
}

/// Queues one of the shared errors, and counts it.
pub fn addReplyErrorObject(server: &mut Server, c: ClientId, err: Shared) {
    addReply(server, c, err);
    let text = err.bytes(2);
    afterErrorReply(server, c, text.strip_suffix(b"\r\n").unwrap_or(text));
}

/// Queues an error, and counts it. `err` is the text, after its code if it begins with `-`, without the end of the line.
pub fn addReplyError(server: &mut Server, c: ClientId, err: &[u8]) {
    withoutNewlines(err, |err| {
        addReplyErrorLength(&mut server.clients, c, err);
        afterErrorReply(server, c, err);
    });
}

/// What `addReplyErrorFormat!` calls: `addReplyError` of a text from which line ends at both ends are cut.
pub fn addReplyErrorFormatted(server: &mut Server, c: ClientId, text: &[u8]) {
    addReplyError(server, c, sdstrim(text, b"\r\n"));
}

/// `addReplyError` with a format: `addReplyErrorFormat!(server, c, "No such user '{}'", B(name))`.
#[macro_export]
macro_rules! addReplyErrorFormat {
    ($server:expr, $c:expr, $($arg:tt)*) => {{
        let text = $crate::bformat!($($arg)*);
        $crate::networking::addReplyErrorFormatted($server, $c, &text)
    }};
}
pub use crate::addReplyErrorFormat;

fn addReplyStatusLength(clients: &mut Clients, c: ClientId, s: &[u8]) {
    withoutNewlines(s, |s| {
        addReplyRaw(clients, c, b"+");
        addReplyRaw(clients, c, s);
        addReplyRaw(clients, c, b"\r\n");
    });
}

/// Queues a status: `+text`.
pub fn addReplyStatus(clients: &mut impl AsMut<Clients>, c: ClientId, status: &[u8]) {
    addReplyStatusLength(clients.as_mut(), c, status);
}

/// `addReplyStatus` with a format.
#[macro_export]
macro_rules! addReplyStatusFormat {
    ($clients:expr, $c:expr, $($arg:tt)*) => {{
        let text = $crate::bformat!($($arg)*);
        $crate::networking::addReplyStatus($clients, $c, &text)
    }};
}
pub use crate::addReplyStatusFormat;

/// Gives back what the last block of the list has too much, when nothing can be added to it any more.
fn trimReplyUnusedTailSpace(client: &mut Client) {
    let Some(ReplyNode::Block(tail)) = client.reply.back_mut() else { return };
    // Only where it is worth it, and does not move much.
    let old_size = tail.capacity();
    if old_size - tail.len() > old_size / 4 && tail.len() < PROTO_REPLY_CHUNK_BYTES {
        tail.shrink_to_fit();
        client.reply_bytes = client.reply_bytes + tail.capacity() - old_size;
    }
}

/// The place of a length that was left open by `addReplyDeferredLen`. It is filled in with `setDeferredArrayLen` and its like,
/// once, before the command returns.
#[derive(Debug)]
#[must_use = "a reply with an open length cannot be sent"]
pub struct DeferredLen {
    /// The number of the placeholder, and where in the list it was made; nothing if the client gets no reply.
    place: Option<(u32, usize)>,
}

/// Leaves the length of an aggregate open, which is not known until its elements are queued.
pub fn addReplyDeferredLen(clients: &mut impl AsMut<Clients>, c: ClientId) -> DeferredLen {
    let clients = clients.as_mut();
    if prepareClientToWrite(clients, c).is_err() {
        return DeferredLen { place: None };
    }
    let client = &mut clients[c];
    trimReplyUnusedTailSpace(client);
    client.reply_deferred = client.reply_deferred.wrapping_add(1);
    let number = client.reply_deferred;
    client.reply.push_back(ReplyNode::Deferred(number));
    DeferredLen { place: Some((number, client.reply.len() - 1)) }
}

/// Puts `s` where a length was left open.
///
/// Often there is room for it in the block before or behind; then the node goes, which saves a buffer to send. Behind,
/// only if not much has to be moved for it.
fn setDeferredReply(clients: &mut Clients, c: ClientId, node: DeferredLen, mut s: &[u8]) {
    let Some((number, made_at)) = node.place else { return };
    let client = &mut clients[c];
    // Where it was made, or further to the front if nodes before it went since.
    let isIt =
        |node: Option<&ReplyNode>| matches!(node, Some(ReplyNode::Deferred(n)) if *n == number);
    let Some(at) = (0..=made_at).rev().find(|&i| isIt(client.reply.get(i))) else {
        // C: this would be a pointer to nowhere. The list was emptied meanwhile.
        return;
    };

    if at > 0
        && let Some(ReplyNode::Block(prev)) = client.reply.get_mut(at - 1)
    {
        let len_to_copy = s.len().min(prev.capacity() - prev.len());
        prev.extend_from_slice(&s[..len_to_copy]);
        s = &s[len_to_copy..];
        if s.is_empty() {
            client.reply.remove(at);
            return;
        }
    }

    if let Some(ReplyNode::Block(next)) = client.reply.get_mut(at + 1)
        && next.capacity() - next.len() >= s.len()
        && next.len() < PROTO_REPLY_CHUNK_BYTES * 4
    {
        next.splice(0..0, s.iter().copied());
        client.reply.remove(at);
    } else {
        let block = s.to_vec();
        client.reply_bytes += block.capacity();
        client.reply[at] = ReplyNode::Block(block);
        closeClientOnOutputBufferLimitReachedAsync(clients, c);
    }
}

/// A length, from any kind of integer. Panics when it is negative or does not fit.
#[track_caller]
fn replyLen<N: TryInto<i64>>(length: N) -> i64 {
    match length.try_into() {
        Ok(length) if length >= 0 => length,
        _ => panic!("the length of a reply is negative or too large"),
    }
}

/// The header `prefix` `n` CRLF, on the stack.
struct Header {
    len: usize,
    buf: [u8; 24],
}

impl Header {
    #[inline]
    fn new(prefix: u8, n: i64) -> Header {
        let mut buf = [0; 24];
        // Nearly every number here has one digit or two. Then the header is put together in a register, and is stored and
        // read as a whole: single bytes would have to reach the cache before eight of them could be read.
        if (0..100).contains(&n) {
            let (tens, ones) = (b'0' + n as u8 / 10, b'0' + n as u8 % 10);
            let (word, len) = if n < 10 {
                (u64::from_le_bytes([prefix, ones, b'\r', b'\n', 0, 0, 0, 0]), 4)
            } else {
                (u64::from_le_bytes([prefix, tens, ones, b'\r', b'\n', 0, 0, 0]), 5)
            };
            buf[..8].copy_from_slice(&word.to_le_bytes());
            return Header { len, buf };
        }
        let mut text = itoa::Buffer::new();
        let text = text.format(n).as_bytes();
        let len = 1 + text.len();
        buf[0] = prefix;
        buf[1..len].copy_from_slice(text);
        buf[len..len + 2].copy_from_slice(b"\r\n");
        Header { len: len + 2, buf }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.buf[..self.len]
    }

    /// The room that [`appendTo`](Self::appendTo) needs.
    #[inline(always)]
    fn room(&self) -> usize {
        self.len.max(8)
    }

    #[inline(always)]
    fn appendTo(&self, out: &mut Vec<u8>) {
        match self.buf.first_chunk::<8>() {
            Some(word) if self.len <= 8 => {
                let end = out.len() + self.len;
                out.extend_from_slice(word);
                out.truncate(end);
            }
            _ => out.extend_from_slice(self.bytes()),
        }
    }

    /// Appends itself, `p` and CRLF: a bulk, if this is the header of `p`.
    #[inline(always)]
    fn appendWith(&self, p: &[u8], out: &mut Vec<u8>) {
        out.reserve(self.room() + p.len() + 2);
        self.appendTo(out);
        out.extend_from_slice(p);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends a bulk to replies that are gathered, as `addReplyBulkCBuffer` would queue it.
#[inline]
pub fn catReplyBulk(out: &mut Vec<u8>, p: &[u8]) {
    Header::new(b'$', p.len() as i64).appendWith(p, out);
}

fn setDeferredAggregateLen(
    clients: &mut Clients,
    c: ClientId,
    node: DeferredLen,
    length: i64,
    prefix: u8,
) {
    setDeferredReply(clients, c, node, Header::new(prefix, length).bytes());
}

/// Fills in the length of an array.
#[track_caller]
pub fn setDeferredArrayLen(
    clients: &mut impl AsMut<Clients>,
    c: ClientId,
    node: DeferredLen,
    length: impl TryInto<i64>,
) {
    setDeferredAggregateLen(clients.as_mut(), c, node, replyLen(length), b'*');
}

/// Fills in the length of a map, in pairs.
#[track_caller]
pub fn setDeferredMapLen(
    clients: &mut impl AsMut<Clients>,
    c: ClientId,
    node: DeferredLen,
    length: impl TryInto<i64>,
) {
    let (clients, length) = (clients.as_mut(), replyLen(length));
    let (prefix, length) = if clients[c].resp == 2 { (b'*', length * 2) } else { (b'%', length) };
    setDeferredAggregateLen(clients, c, node, length, prefix);
}

/// Fills in the length of a set.
#[track_caller]
pub fn setDeferredSetLen(
    clients: &mut impl AsMut<Clients>,
    c: ClientId,
    node: DeferredLen,
    length: impl TryInto<i64>,
) {
    let (clients, length) = (clients.as_mut(), replyLen(length));
    let prefix = if clients[c].resp == 2 { b'*' } else { b'~' };
    setDeferredAggregateLen(clients, c, node, length, prefix);
}

/// Fills in the number of attributes; RESP3 only.
#[track_caller]
pub fn setDeferredAttributeLen(
    clients: &mut impl AsMut<Clients>,
    c: ClientId,
    node: DeferredLen,
    length: impl TryInto<i64>,
) {
    let clients = clients.as_mut();
    assert!(clients[c].resp >= 3);
    setDeferredAggregateLen(clients, c, node, replyLen(length), b'|');
}

/// Fills in the length of a push; RESP3 only.
#[track_caller]
pub fn setDeferredPushLen(
    clients: &mut impl AsMut<Clients>,
    c: ClientId,
    node: DeferredLen,
    length: impl TryInto<i64>,
) {
    let clients = clients.as_mut();
    assert!(clients[c].resp >= 3);
    setDeferredAggregateLen(clients, c, node, replyLen(length), b'>');
}

/// Queues a double: a bulk in RESP2, `%.17g` either way.
pub fn addReplyDouble(clients: &mut impl AsMut<Clients>, c: ClientId, d: f64) {
    let clients = clients.as_mut();
    let text = format_17g(d);
    if clients[c].resp == 2 {
        addReplyBulkBytes(clients, c, &text);
    } else {
        addReplyLine(clients, c, b',', &text);
    }
}

/// Queues a line: a type byte and a text.
fn addReplyLine(clients: &mut Clients, c: ClientId, prefix: u8, text: &[u8]) {
    let mut line = Vec::with_capacity(text.len() + 3);
    line.push(prefix);
    line.extend_from_slice(text);
    line.extend_from_slice(b"\r\n");
    addReplyRaw(clients, c, &line);
}

/// Queues an integer of any size, given as text: a bulk in RESP2.
pub fn addReplyBigNum(clients: &mut impl AsMut<Clients>, c: ClientId, num: &[u8]) {
    let clients = clients.as_mut();
    if clients[c].resp == 2 {
        addReplyBulkBytes(clients, c, num);
    } else {
        addReplyLine(clients, c, b'(', num);
    }
}

/// Queues a long double as people write it, without exponent: a bulk in RESP2.
pub fn addReplyHumanLongDouble(clients: &mut impl AsMut<Clients>, c: ClientId, d: &LongDouble) {
    let clients = clients.as_mut();
    let text = ld2string(*d, ld2string_mode::LD_STR_HUMAN);
    if clients[c].resp == 2 {
        addReplyBulkBytes(clients, c, &text);
    } else {
        addReplyLine(clients, c, b',', &text);
    }
}

/// Queues `<prefix><number>`: an integer, or the length of what follows.
#[inline]
fn addReplyLongLongWithPrefix(clients: &mut Clients, c: ClientId, ll: i64, prefix: u8) {
    addReplyRaw(clients, c, Header::new(prefix, ll).bytes());
}

/// Queues an integer.
pub fn addReplyLongLong(clients: &mut impl AsMut<Clients>, c: ClientId, ll: i64) {
    match ll {
        0 => addReply(clients, c, shared::czero),
        1 => addReply(clients, c, shared::cone),
        _ => addReplyLongLongWithPrefix(clients.as_mut(), c, ll, b':'),
    }
}

fn addReplyAggregateLen(clients: &mut Clients, c: ClientId, length: i64, prefix: u8) {
    addReplyLongLongWithPrefix(clients, c, length, prefix);
}

/// Queues the header of an array; its elements follow.
#[track_caller]
pub fn addReplyArrayLen(clients: &mut impl AsMut<Clients>, c: ClientId, length: impl TryInto<i64>) {
    addReplyAggregateLen(clients.as_mut(), c, replyLen(length), b'*');
}

/// Queues the header of a map; its keys and values follow in turn. `length` is in pairs.
#[track_caller]
pub fn addReplyMapLen(clients: &mut impl AsMut<Clients>, c: ClientId, length: impl TryInto<i64>) {
    let (clients, length) = (clients.as_mut(), replyLen(length));
    let (prefix, length) = if clients[c].resp == 2 { (b'*', length * 2) } else { (b'%', length) };
    addReplyAggregateLen(clients, c, length, prefix);
}

/// Queues the header of a set.
#[track_caller]
pub fn addReplySetLen(clients: &mut impl AsMut<Clients>, c: ClientId, length: impl TryInto<i64>) {
    let (clients, length) = (clients.as_mut(), replyLen(length));
    let prefix = if clients[c].resp == 2 { b'*' } else { b'~' };
    addReplyAggregateLen(clients, c, length, prefix);
}

/// Queues the header of attributes, which come before the reply that they describe; RESP3 only.
#[track_caller]
pub fn addReplyAttributeLen(
    clients: &mut impl AsMut<Clients>,
    c: ClientId,
    length: impl TryInto<i64>,
) {
    let clients = clients.as_mut();
    assert!(clients[c].resp >= 3);
    addReplyAggregateLen(clients, c, replyLen(length), b'|');
}

/// Queues the header of a push, which is no reply to anything; RESP3 only, and with `CLIENT_PUSHING` set.
#[track_caller]
pub fn addReplyPushLen(clients: &mut impl AsMut<Clients>, c: ClientId, length: impl TryInto<i64>) {
    let clients = clients.as_mut();
    assert!(clients[c].resp >= 3 && clients[c].flags & CLIENT_PUSHING != 0);
    addReplyAggregateLen(clients, c, replyLen(length), b'>');
}

/// Queues nothing, as a reply.
pub fn addReplyNull(clients: &mut impl AsMut<Clients>, c: ClientId) {
    addReply(clients, c, shared::null);
}

/// Queues a truth value: 1 or 0 in RESP2.
pub fn addReplyBool(clients: &mut impl AsMut<Clients>, c: ClientId, b: bool) {
    let clients = clients.as_mut();
    if clients[c].resp == 2 {
        addReply(clients, c, if b { shared::cone } else { shared::czero });
    } else {
        addReplyRaw(clients, c, if b { b"#t\r\n" } else { b"#f\r\n" });
    }
}

/// Queues nothing, where an array was expected. RESP3 makes no such difference.
pub fn addReplyNullArray(clients: &mut impl AsMut<Clients>, c: ClientId) {
    addReply(clients, c, shared::nullarray);
}

/// Queues the header of a bulk of `len` bytes.
#[track_caller]
pub fn addReplyBulkLen(clients: &mut impl AsMut<Clients>, c: ClientId, len: impl TryInto<i64>) {
    addReplyLongLongWithPrefix(clients.as_mut(), c, replyLen(len), b'$');
}

/// Queues a string of the keyspace as a bulk. Panics for a value of another type.
pub fn addReplyBulk(clients: &mut impl AsMut<Clients>, c: ClientId, obj: ValueRef) {
    let clients = clients.as_mut();
    match obj {
        ValueRef::Str(s) => addReplyBulkBytes(clients, c, s),
        ValueRef::Int(n) => addReplyBulkBytes(clients, c, &ll2string(n)),
        ValueRef::Aggregate(_) => panic!("Wrong obj->encoding in addReply()"),
    }
}

/// Queues bytes as a bulk.
#[inline]
pub fn addReplyBulkCBuffer(clients: &mut impl AsMut<Clients>, c: ClientId, p: &[u8]) {
    addReplyBulkBytes(clients.as_mut(), c, p);
}

fn addReplyBulkBytes(clients: &mut Clients, c: ClientId, p: &[u8]) {
    let header = Header::new(b'$', p.len() as i64);
    let all = header.room() + p.len() + 2;
    if prepareClientToWrite(clients, c).is_err() {
        return;
    }
    match roomForReply(&mut clients[c], all) {
        Some(queued) => header.appendWith(p, queued),
        None => {
            addReplyPrepared(clients, c, header.bytes());
            // Each piece may bring the client over its limit, which ends it.
            addReplyRaw(clients, c, p);
            addReplyRaw(clients, c, b"\r\n");
        }
    }
}

/// Queues a text as a bulk.
pub fn addReplyBulkCString(clients: &mut impl AsMut<Clients>, c: ClientId, s: &[u8]) {
    addReplyBulkBytes(clients.as_mut(), c, s);
}

/// Queues an integer as a bulk.
pub fn addReplyBulkLongLong(clients: &mut impl AsMut<Clients>, c: ClientId, ll: i64) {
    addReplyBulkBytes(clients.as_mut(), c, &ll2string(ll));
}

/// Queues a text of a kind that `ext` names in three letters (`txt`); a bulk in RESP2.
pub fn addReplyVerbatim(clients: &mut impl AsMut<Clients>, c: ClientId, s: &[u8], ext: &str) {
    let clients = clients.as_mut();
    if clients[c].resp == 2 {
        addReplyBulkBytes(clients, c, s);
        return;
    }
    let mut kind = *b"   :";
    for (to, from) in kind[..3].iter_mut().zip(ext.bytes()) {
        *to = from;
    }
    addReplyLongLongWithPrefix(clients, c, s.len() as i64 + 4, b'=');
    addReplyRaw(clients, c, &kind);
    addReplyRaw(clients, c, s);
    addReplyRaw(clients, c, b"\r\n");
}

/// The reply to a HELP subcommand: the lines, between a heading and a line on HELP itself.
pub fn addReplyHelp(clients: &mut impl AsMut<Clients>, c: ClientId, argv: &Args, help: &[&str]) {
    let clients = clients.as_mut();
    let cmd = c_str(&argv[0]).to_ascii_uppercase();
    addReplyArrayLen(clients, c, help.len() + 3);
    addReplyStatus(
        clients,
        c,
        &bformat!("{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", B(&cmd)),
    );
    for line in help {
        addReplyStatus(clients, c, line.as_bytes());
    }
    addReplyStatus(clients, c, b"HELP");
    addReplyStatus(clients, c, b"    Prints this help.");
}

/// The error for a subcommand that is not known, or has the wrong number of arguments.
pub fn addReplySubcommandSyntaxError(server: &mut Server, c: ClientId, argv: &Args) {
    let cmd = c_str(&argv[0]).to_ascii_uppercase();
    addReplyErrorFormat!(
        server,
        c,
        "Unknown subcommand or wrong number of arguments for '{}'. Try {} HELP.",
        B(c_str(&argv[1])),
        B(&cmd)
    );
}

/// Moves what is queued for `src` behind what is queued for `dst`. If `src` was cut off by its limit, so is `dst`: half a reply
/// must not be sent.
pub fn AddReplyFromClient(server: &mut Server, dst: ClientId, src: ClientId) {
    if server[src].flags & CLIENT_CLOSE_ASAP != 0 {
        let client = catClientInfoString(server, dst);
        freeClientAsync(server, dst);
        serverLog!(
            LL_WARNING,
            "Client {} scheduled to be closed ASAP for overcoming of output buffer limits.",
            B(&client)
        );
        return;
    }
    let buf = take(&mut server[src].buf);
    addReplyProto(server, dst, &buf);

    // The limit may have been reached just now.
    let clients = &mut server.clients;
    if prepareClientToWrite(clients, dst).is_err()
        || clients[dst].flags & CLIENT_CLOSE_AFTER_REPLY != 0
    {
        return;
    }
    let mut reply = take(&mut clients[src].reply);
    let reply_bytes = take(&mut clients[src].reply_bytes);
    clients[dst].reply.append(&mut reply);
    clients[dst].reply_bytes += reply_bytes;
    closeClientOnOutputBufferLimitReachedAsync(clients, dst);
}

/// Makes the output of `dst` a copy of that of `src`.
pub fn copyClientOutputBuffer(clients: &mut impl AsMut<Clients>, dst: ClientId, src: ClientId) {
    let clients = clients.as_mut();
    let from = &clients[src];
    let buf = from.buf.clone();
    let reply: std::collections::VecDeque<ReplyNode> = from
        .reply
        .iter()
        .map(|node| match node {
            ReplyNode::Block(block) => {
                let mut copy = Vec::with_capacity(block.capacity());
                copy.extend_from_slice(block);
                ReplyNode::Block(copy)
            }
            ReplyNode::Deferred(number) => ReplyNode::Deferred(*number),
        })
        .collect();
    let to = &mut clients[dst];
    to.sentlen = 0;
    to.buf = buf;
    to.reply_bytes = reply.iter().map(blockSize).sum();
    to.reply = reply;
}

/// What a node adds to `reply_bytes`.
fn blockSize(node: &ReplyNode) -> usize {
    match node {
        ReplyNode::Block(block) => block.capacity(),
        ReplyNode::Deferred(_) => 0,
    }
}

/// Whether something is queued that was not sent.
#[inline]
pub fn clientHasPendingReplies(client: &Client) -> bool {
    !client.buf.is_empty() || !client.reply.is_empty()
}

/// Called when the connection of a new client stands. In protected mode it explains itself to strangers and closes.
pub fn clientAcceptHandler(server: &mut Server, conn: ConnId) {
    let c = ClientId::from_u64(connGetPrivateData(&server.net, conn));

    if connGetState(&server.net, conn) != CONN_STATE_CONNECTED {
        serverLog!(
            LL_WARNING,
            "Error accepting a client connection: {}",
            B(&connGetLastError(&server.net, conn))
        );
        freeClientAsync(server, c);
        return;
    }

    // Protected mode: without a password and without an address that somebody chose to bind, only this machine may
    // come in.
    let nopass = server.users.get(DefaultUser).is_none_or(|u| u.flags & USER_FLAG_NOPASS != 0);
    if server.protected_mode
        && server.bindaddr.is_empty()
        && nopass
        && server[c].flags & CLIENT_UNIX_SOCKET == 0
    {
        let (cip, _) = connPeerToString(&server.net, conn);
        if cip != b"127.0.0.1" && cip != b"::1" {
            let err = b"-DENIED Redis is running in protected mode because protected \
                mode is enabled, no bind address was specified, no \
                authentication password is requested to clients. In this mode \
                connections are only accepted from the loopback interface. \
                If you want to connect from external computers to Redis you \
                may adopt one of the following solutions: \
                1) Just disable protected mode sending the command \
                'CONFIG SET protected-mode no' from the loopback interface \
                by connecting to Redis from the same host the server is \
                running, however MAKE SURE Redis is not publicly accessible \
                from internet if you do so. Use CONFIG REWRITE to make this \
                change permanent. \
                2) Alternatively you can just disable the protected mode by \
                editing the Redis configuration file, and setting the protected \
                mode option to 'no', and then restarting the server. \
                3) If you started the server manually just for testing, restart \
                it with the '--protected-mode no' option. \
                4) Setup a bind address or an authentication password. \
                NOTE: You only need to do one of the above things in order for \
                the server to start accepting connections from the outside.\r\n";
            // Nobody is there to be told if this fails.
            let _ = connWrite(&mut server.net, conn, err);
            server.stat_rejected_conn += 1;
            freeClientAsync(server, c);
            return;
        }
    }

    server.stat_numconnections += 1;
}

/// Connections accepted before others get a turn.
const MAX_ACCEPTS_PER_CALL: i32 = 1000;

/// What to do with a new connection, whatever it came through; `flags` are for its client.
fn acceptCommonHandler(server: &mut Server, conn: ConnId, flags: u64) {
    // There is room for so many clients.
    if listLength(&server.clients.list) >= server.maxclients as usize {
        let _ = connWrite(&mut server.net, conn, b"-ERR max number of clients reached\r\n");
        server.stat_rejected_conn += 1;
        connClose(&mut server.net, conn);
        return;
    }

    let c = createClient(server, Some(conn));
    server[c].flags |= flags;

    if connAccept(server, conn, clientAcceptHandler).is_err() {
        if connGetState(&server.net, conn) == CONN_STATE_ERROR {
            serverLog!(
                LL_WARNING,
                "Error accepting a client connection: {} (conn: {})",
                B(&connGetLastError(&server.net, conn)),
                B(&connGetInfo(&server.net, Some(conn)))
            );
        }
        freeClient(server, c);
    }
}

/// Whether an error of accept(2) is about the one connection that it should have returned, which is gone, and not about those
/// that wait behind it.
fn acceptFailureNeedsRetry(errno: i32) -> bool {
    matches!(
        errno,
        libc::ECONNABORTED
            | libc::EPROTO
            | libc::ENETDOWN
            | libc::ENOPROTOOPT
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EHOSTUNREACH
            | libc::EOPNOTSUPP
            | libc::ENETUNREACH
    )
}

/// After an error of accept(2): whether to go on accepting.
///
/// C: 6.2.16 returns on every error, so that a client that is gone by the time it is accepted holds up the others.
fn acceptFailed(server: &mut Server, fd: RawFd, e: &AnetError) -> bool {
    if acceptFailureNeedsRetry(e.errno) {
        return true;
    }
    if e.errno == libc::EWOULDBLOCK {
        server.net.el.drained(fd, AE_READABLE);
    } else {
        serverLog!(LL_WARNING, "Accepting client connection: {}", e);
    }
    false
}

/// The reactor's handler for the listening TCP sockets.
pub fn acceptTcpHandler(server: &mut Server, fd: RawFd, _clientData: u64, _mask: i32) {
    for _ in 0..MAX_ACCEPTS_PER_CALL {
        match anetTcpAccept(fd) {
            Ok((cfd, cip, cport)) => {
                serverLog!(LL_VERBOSE, "Accepted {}:{}", B(&cip), cport);
                let conn = connCreateAcceptedSocket(&mut server.net, cfd);
                acceptCommonHandler(server, conn, 0);
            }
            Err(e) => {
                if !acceptFailed(server, fd, &e) {
                    return;
                }
            }
        }
    }
}

/// The reactor's handler for the listening unix socket.
pub fn acceptUnixHandler(server: &mut Server, fd: RawFd, _clientData: u64, _mask: i32) {
    for _ in 0..MAX_ACCEPTS_PER_CALL {
        match anetUnixAccept(fd) {
            Ok(cfd) => {
                let path = server.unixsocket.as_deref().unwrap_or_default();
                serverLog!(LL_VERBOSE, "Accepted connection to {}", B(path));
                let conn = connCreateAcceptedSocket(&mut server.net, cfd);
                acceptCommonHandler(server, conn, CLIENT_UNIX_SOCKET);
            }
            Err(e) => {
                if !acceptFailed(server, fd, &e) {
                    return;
                }
            }
        }
    }
}

/// Forgets what the client sent, where that was kept because its arguments were redacted.
pub fn freeClientOriginalArgv(server: &mut Server, c: ClientId) {
    server[c].original_argv = None;
}

/// Disconnects all replicas: those of a replica that resynchronizes itself must do so, too.
pub fn disconnectSlaves(server: &mut Server) {
    let mut li = listRewind(&server.slaves);
    while let Some(slave) = listNext(&server.slaves, &mut li) {
        freeClient(server, slave);
    }
}

/// Whether a replica other than `except_me` waits for the RDB that is being written.
pub fn anyOtherSlaveWaitRdb(server: &Server, except_me: ClientId) -> bool {
    server
        .slaves
        .iter()
        .any(|&slave| slave != except_me && server[slave].replstate == SLAVE_STATE_WAIT_BGSAVE_END)
}

/// Closes the client's connection and takes it out of the lists of clients; not out of those of channels and keys.
/// `freeClient` and `replicationCacheMaster` call this.
pub fn unlinkClient(server: &mut Server, c: ClientId) {
    if server.current_client == Some(c) {
        server.current_client = None;
    }

    let client = &mut server.clients[c];
    if let Some(conn) = client.conn.take() {
        let id = client.id;
        if let Some(node) = client.client_list_node.take() {
            server.clients.index.remove(&id);
            listDelNode(&mut server.clients.list, node);
        }
        connClose(&mut server.net, conn);
    }

    // The list of pending writes may keep the id: without the flag it means nothing.
    let client = &mut server.clients[c];
    client.flags &= !CLIENT_PENDING_WRITE;

    // If its commands run right now, their query buffer will not come back; no request is in progress any more.
    client.input.querybuf_lent_len = 0;
    client.input.querybuf_lent_free = 0;
    client.input.qb_pos = 0;
    client.pending_pos = 0;
    client.input.read_ahead = 0;

    if client.flags & CLIENT_UNBLOCKED != 0 {
        client.flags &= !CLIENT_UNBLOCKED;
        let node = listSearchKey(&server.unblocked_clients, c)
            .expect("an unblocked client is in the list of them");
        listDelNode(&mut server.unblocked_clients, node);
    }
}

/// Frees a client, whatever it is in the middle of. It may come to nothing: a protected client is freed later, and the master's is
/// put aside (`replicationCacheMaster`) to go on from there. Where it matters, ask `server.clients.contains`.
pub fn freeClient(server: &mut Server, c: ClientId) {
    if server[c].flags & CLIENT_PROTECTED != 0 {
        freeClientAsync(server, c);
        return;
    }

    // It leaves the queue of those to be freed now, since as a cached master it could not.
    if server[c].flags & CLIENT_CLOSE_ASAP != 0 {
        logOutputBufferLimitReached(server, c);
        let node = listSearchKey(&server.clients.clients_to_close, c)
            .expect("a client to close is in the list of them");
        listDelNode(&mut server.clients.clients_to_close, node);
    }

    // The master's client is kept for a partial resynchronization, unless its state makes no sense.
    if server.master.is_some() && server[c].flags & CLIENT_MASTER != 0 {
        serverLog!(LL_WARNING, "Connection with master lost.");
        if server[c].flags & (CLIENT_PROTOCOL_ERROR | CLIENT_BLOCKED) == 0 {
            server[c].flags &= !(CLIENT_CLOSE_ASAP | CLIENT_CLOSE_AFTER_REPLY);
            replicationCacheMaster(server, c);
            return;
        }
    }

    if getClientType(&server[c]) == CLIENT_TYPE_SLAVE {
        serverLog!(
            LL_WARNING,
            "Connection with replica {} lost.",
            B(&replicationGetSlaveName(server, c))
        );
    }

    // Whom it waits for, what it watches and listens to.
    if server[c].flags & CLIENT_BLOCKED != 0 {
        unblockClient(server, c);
    }
    unwatchAllKeys(server, c);
    pubsubUnsubscribeAllChannels(server, c, false);
    pubsubUnsubscribeAllPatterns(server, c, false);

    unlinkClient(server, c);

    // Case 1: it was a replica, or a monitor.
    if server[c].flags & CLIENT_SLAVE != 0 {
        // The child that writes an RDB for this replica alone need not go on, unless somebody wants the file anyway.
        if server.saveparams.is_empty()
            && server[c].replstate == SLAVE_STATE_WAIT_BGSAVE_END
            && server.child_type == CHILD_TYPE_RDB
            && server.rdb_child_type == RDB_CHILD_TYPE_DISK
            && !anyOtherSlaveWaitRdb(server, c)
        {
            killRDBChild(server);
        }
        if server[c].replstate == SLAVE_STATE_SEND_BULK
            && let Some(repldbfd) = server[c].repldbfd.take()
        {
            crate::sys::socket::close(repldbfd);
        }
        let l = if server[c].flags & CLIENT_MONITOR != 0 {
            &mut server.monitors
        } else {
            &mut server.slaves
        };
        let node = listSearchKey(l, c).expect("a replica is in the list of them");
        listDelNode(l, node);
        // The backlog is freed some time after the last replica has gone.
        if getClientType(&server[c]) == CLIENT_TYPE_SLAVE && listLength(&server.slaves) == 0 {
            server.repl_no_slaves_since = server.steady_time;
        }
        refreshGoodSlavesCount(server);
    }

    // Case 2: it was our master.
    if server[c].flags & CLIENT_MASTER != 0 {
        replicationHandleMasterDisconnection(server);
    }

    // What it added to the sums of memory.
    let client = &server.clients[c];
    let sum = &mut server.stat_clients_type_memory[client.client_cron_last_memory_type];
    *sum = sum.saturating_sub(client.client_cron_last_memory_usage);

    // C frees the client's buffers one by one. Here they go with the client, and from this line on every copy of `c` is stale:
    // `server.clients.contains(c)` is false, and `server[c]` panics with the place that asked.
    server.clients.remove(c);
}

/// Has the client freed at a safe time, because somebody up the stack still uses it.
pub fn freeClientAsync(clients: &mut impl AsMut<Clients>, c: ClientId) {
    let clients = clients.as_mut();
    if clients[c].flags & CLIENT_CLOSE_ASAP != 0 {
        return;
    }
    clients[c].flags |= CLIENT_CLOSE_ASAP;
    listAddNodeTail(&mut clients.clients_to_close, c);
}

/// Frees the clients that wait for it, but for protected ones. Returns how many.
pub fn freeClientsInAsyncFreeQueue(server: &mut Server) -> usize {
    let mut freed = 0;
    let mut li = listRewind(&server.clients.clients_to_close);
    while let Some(c) = listNext(&server.clients.clients_to_close, &mut li) {
        if server[c].flags & CLIENT_PROTECTED != 0 {
            continue;
        }
        // This takes it out of the list.
        freeClient(server, c);
        freed += 1;
    }
    freed
}

/// The client with this number, if it has a connection.
pub fn lookupClientByID(server: &Server, id: u64) -> Option<ClientId> {
    server.clients.index.get(&id).copied()
}

/// Writes what is queued to the client. With `handler_installed` the write handler is removed when all is sent.
///
/// `C_ERR`: it failed, or it was the last the client had to get; it is about to be freed.
///
/// C: a system call for each block. Here one takes several.
pub fn writeToClient(server: &mut Server, c: ClientId, handler_installed: bool) -> CResult {
    server.stat_total_writes_processed += 1;
    let Some(conn) = server[c].conn else { return C_ERR };

    let mut totwritten = 0;
    let mut failed = false;
    loop {
        let client = &server.clients[c];
        let result = if client.reply.is_empty() {
            if client.buf.is_empty() {
                break;
            }
            connWrite(&mut server.net, conn, &client.buf[client.sentlen..])
        } else {
            let mut iov = [IoSlice::new(&[]); 32];
            let (mut count, mut len) = (0, 0);
            // What was sent before is at the front of the first.
            let mut skip = client.sentlen;
            let blocks = client.reply.iter().map_while(|node| match node {
                ReplyNode::Block(block) => Some(block),
                ReplyNode::Deferred(_) => None,
            });
            for part in std::iter::once(&client.buf).chain(blocks).filter(|part| !part.is_empty()) {
                let part = &part[take(&mut skip)..];
                iov[count] = IoSlice::new(part);
                count += 1;
                len += part.len();
                if count == iov.len() || len > NET_MAX_WRITES_PER_EVENT {
                    break;
                }
            }
            if count == 0 {
                break;
            }
            connWritev(&mut server.net, conn, &iov[..count], len)
        };
        let nwritten = match result {
            Ok(0) => break,
            Ok(nwritten) => nwritten,
            Err(_) => {
                failed = true;
                break;
            }
        };
        totwritten += nwritten;
        replySent(&mut server.clients[c], nwritten);

        // Others want to be served, too. Not so when memory is short: then it is best to get rid of this. And what a replica or
        // a monitor does not get now, only becomes more.
        if totwritten > NET_MAX_WRITES_PER_EVENT
            && server[c].flags & CLIENT_SLAVE == 0
            && (server.maxmemory == 0 || (zmalloc_used_memory() as u64) < server.maxmemory)
        {
            break;
        }
    }

    server.stat_net_output_bytes += totwritten as i64;
    if failed && connGetState(&server.net, conn) != CONN_STATE_CONNECTED {
        serverLog!(
            LL_VERBOSE,
            "Error writing to client: {}",
            B(&connGetLastError(&server.net, conn))
        );
        freeClientAsync(server, c);
        return C_ERR;
    }
    // What we send to a master (acknowledgements) would also go into the buffer of a dead link: it is no sign of life.
    let steady_time = server.steady_time;
    let client = &mut server.clients[c];
    if totwritten > 0 && client.flags & CLIENT_MASTER == 0 {
        client.lastinteraction = steady_time;
    }
    if !clientHasPendingReplies(client) {
        client.sentlen = 0;
        let flags = client.flags;
        if handler_installed {
            let _ = connSetWriteHandler(&mut server.net, conn, None);
        }
        if flags & CLIENT_CLOSE_AFTER_REPLY != 0 {
            freeClientAsync(server, c);
            return C_ERR;
        }
    }
    C_OK
}

/// Takes `nwritten` bytes from the front of what is queued, and empty blocks with them.
fn replySent(client: &mut Client, mut nwritten: usize) {
    if !client.buf.is_empty() {
        let left = client.buf.len() - client.sentlen;
        if nwritten < left {
            client.sentlen += nwritten;
            return;
        }
        nwritten -= left;
        client.buf.clear();
        client.sentlen = 0;
    }
    while let Some(ReplyNode::Block(block)) = client.reply.front() {
        let left = block.len() - client.sentlen;
        if nwritten < left {
            client.sentlen += nwritten;
            return;
        }
        nwritten -= left;
        client.reply_bytes -= block.capacity();
        client.sentlen = 0;
        client.reply.pop_front();
    }
    debug_assert!(!client.reply.is_empty() || client.reply_bytes == 0);
}

/// The write handler of a client.
pub fn sendReplyToClient(server: &mut Server, conn: ConnId) {
    let c = ClientId::from_u64(connGetPrivateData(&server.net, conn));
    let _ = writeToClient(server, c, true);
}

/// Called before the loop sleeps: writes to the clients that have something to get. Only where that was not all, a write handler is
/// installed. Returns how many clients there were.
pub fn handleClientsWithPendingWrites(server: &mut Server) -> usize {
    let mut pending = take(&mut server.clients.clients_pending_write);
    let processed = pending.len();
    // The C keeps the list newest first.
    for &c in pending.iter().rev() {
        let Some(client) = server.clients.get(c) else { continue };
        let flags = client.flags;
        if flags & CLIENT_PENDING_WRITE == 0 {
            continue;
        }
        server.clients[c].flags &= !CLIENT_PENDING_WRITE;

        // A write could fail and free the client, or bring its handler back.
        if flags & CLIENT_PROTECTED != 0 {
            continue;
        }
        if flags & CLIENT_CLOSE_ASAP != 0 {
            continue;
        }
        if writeToClient(server, c, false).is_err() {
            continue;
        }
        if clientHasPendingReplies(&server[c])
            && let Some(conn) = server[c].conn
        {
            // With `appendfsync always`, a reply leaves after the fsync: what is read in one turn is answered in the next,
            // with `beforeSleep` between the two.
            let barrier = server.aof_state == AOF_ON && server.aof_fsync == AOF_FSYNC_ALWAYS;
            let handler = Some(sendReplyToClient as ConnectionCallbackFunc);
            if connSetWriteHandlerWithBarrier(&mut server.net, conn, handler, barrier).is_err() {
                freeClientAsync(server, c);
            }
        }
    }
    pending.clear();
    let new = &mut server.clients.clients_pending_write;
    pending.append(new);
    *new = pending;
    processed
}

/// Makes the client ready for its next command.
pub fn resetClient(server: &mut Server, c: ClientId) {
    reset_for_next_command(&mut server[c]);
}

#[inline(always)]
fn reset_for_next_command(client: &mut Client) {
    client.argv = None;
    client.cmd = None;
    client.argv_len_sum = 0;
    client.reqtype = 0;
    client.multibulklen = 0;
    client.bulklen = -1;

    // CLIENT REPLY SKIP is for the command after it: that one's reply is skipped, and then no more.
    client.flags &= !CLIENT_REPLY_SKIP;
    if client.flags & CLIENT_REPLY_SKIP_NEXT != 0 {
        client.flags |= CLIENT_REPLY_SKIP;
        client.flags &= !CLIENT_REPLY_SKIP_NEXT;
    }
}

/// Makes sure that the client is not freed while the loop is entered again from within its command (DEBUG RELOAD and the like): it
/// gets no events, so that no error can show, and if it is freed for another reason, that comes later.
pub fn protectClient(server: &mut Server, c: ClientId) {
    server[c].flags |= CLIENT_PROTECTED;
    if let Some(conn) = server[c].conn {
        let _ = connSetReadHandler(&mut server.net, conn, None);
        let _ = connSetWriteHandler(&mut server.net, conn, None);
    }
}

/// The end of what `protectClient` began.
pub fn unprotectClient(server: &mut Server, c: ClientId) {
    if server[c].flags & CLIENT_PROTECTED == 0 {
        return;
    }
    server[c].flags &= !CLIENT_PROTECTED;
    if let Some(conn) = server[c].conn {
        let _ = connSetReadHandler(&mut server.net, conn, Some(readQueryFromClient));
        if clientHasPendingReplies(&server[c]) {
            clientInstallWriteHandler(server, c);
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Input
// ---------------------------------------------------------------------------------------------------------------------

/// The first `byte` of `s`, if no NUL comes before it: the C searches with strchr.
fn find_in_line(s: &[u8], byte: u8) -> Option<usize> {
    memchr2(byte, 0, s).filter(|&i| s[i] == byte)
}

/// Parses an inline command (words on a line) at the client's position in `qb`. The arguments may be none.
///
/// `Err`: the line is not complete, or it is an error; then the client was told and will be closed.
fn processInlineBuffer(server: &mut Server, c: ClientId, qb: &[u8]) -> Result<Argv, ()> {
    let pos = server[c].input.qb_pos;
    let rest = &qb[pos..];

    let Some(newline) = find_in_line(rest, b'\n') else {
        if rest.len() > PROTO_INLINE_MAX_SIZE {
            addReplyError(server, c, b"Protocol error: too big inline request");
            setProtocolError(server, c, "too big inline request", rest);
        }
        return Err(());
    };
    let line = &rest[..newline];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Some(argv) = sdssplitargs(line) else {
        addReplyError(server, c, b"Protocol error: unbalanced quotes in request");
        setProtocolError(server, c, "unbalanced quotes in inline request", rest);
        return Err(());
    };

    // A replica that loads a large RDB sends newlines to say that it is there.
    let steady_time = server.steady_time;
    if line.is_empty() && getClientType(&server[c]) == CLIENT_TYPE_SLAVE {
        server[c].repl_ack_time = steady_time;
    }

    // So does a master. But it never sends commands like this: if it seems to, we have lost the thread of its stream.
    if !line.is_empty() && server[c].flags & CLIENT_MASTER != 0 {
        serverLog!(
            LL_WARNING,
            "WARNING: Receiving inline protocol from master, master stream corruption? Closing the master connection and discarding the cached master."
        );
        setProtocolError(server, c, "Master using the inline protocol. Desync?", rest);
        return Err(());
    }

    let client = &mut server[c];
    client.input.qb_parsed = pos + newline + 1;
    client.argv_len_sum = argv.iter().map(Vec::len).sum();
    Ok(argv.iter().map(Vec::as_slice).collect())
}

/// How much of the query buffer the log shows.
const PROTO_DUMP_LEN: usize = 128;

/// Logs an error of the protocol with a sample of what was not parsed, and has the client closed when it got its replies.
fn setProtocolError(server: &mut Server, c: ClientId, errstr: &str, unparsed: &[u8]) {
    let master = server[c].flags & CLIENT_MASTER != 0;
    if getLogLevel() <= LL_VERBOSE || master {
        let client = catClientInfoString(server, c);
        let mut buf = if unparsed.len() < PROTO_DUMP_LEN {
            bformat!("Query buffer during protocol error: '{}'", B(c_str(unparsed)))
        } else {
            bformat!(
                "Query buffer during protocol error: '{}' (... more {} bytes ...) '{}'",
                B(c_str(&unparsed[..PROTO_DUMP_LEN / 2])),
                unparsed.len() - PROTO_DUMP_LEN,
                B(c_str(&unparsed[unparsed.len() - PROTO_DUMP_LEN / 2..]))
            )
        };
        buf.truncate(255);
        for byte in &mut buf {
            if !isprint(*byte) {
                *byte = b'.';
            }
        }
        let loglevel = if master { LL_WARNING } else { LL_VERBOSE };
        serverLog!(
            loglevel,
            "Protocol error ({}) from client: {}. {}",
            errstr,
            B(&client),
            B(&buf)
        );
    }
    server[c].flags |= CLIENT_CLOSE_AFTER_REPLY | CLIENT_PROTOCOL_ERROR;
    // C: a master gets no reply, after which it could be closed; its bytes collect until the query buffer is full.
    if master {
        close_master_link(server, c);
    }
}

/// Parses a command in the multibulk form at the client's position in `qb`, or goes on with one of which a part was parsed before.
/// `args` are its arguments so far.
///
/// `C_OK`: it is complete, up to `qb_parsed`; it may have no arguments. `C_ERR`: there is more to come, or it is an error; then the
/// client was told and will be closed.
fn processMultibulkBuffer(
    server: &mut Server,
    c: ClientId,
    qb: &[u8],
    args: &mut Vec<ArgRange>,
) -> CResult {
    if server[c].multibulklen == 0 {
        args.clear();
        let pos = server[c].input.qb_pos;
        let rest = &qb[pos..];
        let Some(newline) = find_in_line(rest, b'\r') else {
            if rest.len() > PROTO_INLINE_MAX_SIZE {
                addReplyError(server, c, b"Protocol error: too big mbulk count string");
                setProtocolError(server, c, "too big mbulk count string", rest);
            }
            return C_ERR;
        };
        // There is a \n, too, or will be.
        if newline + 2 > rest.len() {
            return C_ERR;
        }

        // The number of arguments.
        let ll = match string2ll(&rest[1..newline]) {
            Some(ll) if ll <= MAX_MULTIBULK_LEN => ll,
            _ => {
                addReplyError(server, c, b"Protocol error: invalid multibulk length");
                setProtocolError(server, c, "invalid mbulk count", rest);
                return C_ERR;
            }
        };
        if ll > UNAUTHENTICATED_MULTIBULK_LEN && authRequired(server, c) {
            addReplyError(server, c, b"Protocol error: unauthenticated multibulk length");
            setProtocolError(server, c, "unauth mbulk count", rest);
            return C_ERR;
        }
        let client = &mut server[c];
        client.input.qb_parsed = pos + newline + 2;
        if ll <= 0 {
            return C_OK;
        }
        client.multibulklen = ll;
        client.bulklen = -1;
        client.argv_len_sum = 0;
        client.input.qb_canonical = rest[newline + 1] == b'\n';
    }

    while server[c].multibulklen > 0 {
        let client = &server.clients[c];
        let rest = &qb[client.input.qb_parsed..];

        // The length of the next argument.
        if client.bulklen == -1 {
            let Some(newline) = find_in_line(rest, b'\r') else {
                if rest.len() > PROTO_INLINE_MAX_SIZE {
                    addReplyError(server, c, b"Protocol error: too big bulk count string");
                    setProtocolError(server, c, "too big bulk count string", rest);
                }
                return C_ERR;
            };
            if newline + 2 > rest.len() {
                return C_ERR;
            }
            if rest[0] != b'$' {
                let got = [rest[0]];
                addReplyErrorFormat!(server, c, "Protocol error: expected '$', got '{}'", B(&got));
                setProtocolError(server, c, "expected $ but got something else", rest);
                return C_ERR;
            }
            let is_master = client.flags & CLIENT_MASTER != 0;
            let ll = match string2ll(&rest[1..newline]) {
                Some(ll) if ll >= 0 && (is_master || ll <= server.proto_max_bulk_len) => ll,
                _ => {
                    addReplyError(server, c, b"Protocol error: invalid bulk length");
                    setProtocolError(server, c, "invalid bulk length", rest);
                    return C_ERR;
                }
            };
            if ll > UNAUTHENTICATED_BULK_LEN && authRequired(server, c) {
                addReplyError(server, c, b"Protocol error: unauthenticated bulk length");
                setProtocolError(server, c, "unauth bulk length", rest);
                return C_ERR;
            }
            let client = &mut server.clients[c];
            client.input.qb_parsed += newline + 2;
            client.bulklen = ll;
            client.input.qb_canonical &= rest[newline + 1] == b'\n';
        }

        // The argument, and the end of its line.
        let client = &mut server.clients[c];
        let rest = &qb[client.input.qb_parsed..];
        let len = client.bulklen as usize;
        if rest.len() < len + 2 {
            return C_ERR;
        }
        args.push(ArgRange { start: client.input.qb_parsed, len });
        client.input.qb_canonical &= &rest[len..len + 2] == b"\r\n";
        client.argv_len_sum += len;
        client.input.qb_parsed += len + 2;
        client.bulklen = -1;
        client.multibulklen -= 1;
    }
    C_OK
}

/// Bytes of the query buffer that were not parsed yet: what the C has in it.
fn querybuf_len(client: &Client) -> usize {
    let parsed = if client.multibulklen > 0 && client.input.querybuf_lent_len == 0 {
        client.input.qb_parsed
    } else {
        0
    };
    (client.querybuf.len() + client.input.querybuf_lent_len).saturating_sub(parsed)
}

/// What comes after a command: the client is made ready for the next, unless it waits; and of the master's stream, what has taken
/// effect is counted and passed on.
pub fn commandProcessed(server: &mut Server, c: ClientId) {
    // A blocked command is not over: `unblockClient` resets the client. And nothing of it has taken effect.
    let client = &mut server.clients[c];
    if client.flags & CLIENT_BLOCKED != 0 {
        return;
    }
    reset_for_next_command(client);
    if client.flags & CLIENT_MASTER == 0 {
        return;
    }

    let prev_offset = client.reploff;
    // In a transaction nothing has taken effect before EXEC.
    if client.flags & CLIENT_MULTI == 0 {
        let left = client.querybuf.len() + client.input.querybuf_lent_len - client.input.qb_pos;
        client.reploff = client.read_reploff - left as i64;
    }
    let applied = client.reploff - prev_offset;
    if applied > 0 {
        let pending = take(&mut client.pending_querybuf);
        let from = client.pending_pos;
        let to = pending.len().min(from + applied as usize);
        client.pending_pos = to;
        replicationFeedSlavesFromMasterStream(server, &pending[from..to]);
        server[c].pending_querybuf = pending;
    }
}

/// Executes a command of the client.
///
/// `C_ERR`: the client is gone, or no longer connected to anything; the caller does not touch it any more.
pub fn processCommandAndResetClient(server: &mut Server, c: ClientId, argv: &Args) -> CResult {
    let old_client = server.current_client.replace(c);
    if let Some(hash) = argv.key_hash() {
        server.key_hash_hint = KeyHashHint::new(&argv[1], hash);
    }
    let processed = processCommand(server, c, argv);
    server.key_hash_hint = KeyHashHint::default();
    if processed.is_ok() && server.current_client.is_some() {
        let client = &mut server.clients[c];
        if client.flags & CLIENT_BLOCKED != 0 && client.argv.is_none() {
            // It waits, and its buffer will not: a paused command is executed later, and the slow log wants to see
            // a blocked one.
            client.argv = Some(argv.to_argv());
        }
        commandProcessed(server, c);
    }
    // unlinkClient clears it.
    let deadclient = server.current_client.is_none();
    server.current_client = old_client;
    if deadclient { C_ERR } else { C_OK }
}

/// Executes the command that a paused client has waiting. `C_ERR`: the client is gone.
pub fn processPendingCommandsAndResetClient(server: &mut Server, c: ClientId) -> CResult {
    if server[c].flags & CLIENT_PENDING_COMMAND == 0 {
        return C_OK;
    }
    server[c].flags &= !CLIENT_PENDING_COMMAND;
    let argv = server[c].argv.take().expect("a pending command has its arguments");
    processCommandAndResetClient(server, c, &argv.as_args())
}

/// Executes the commands in the client's query buffer, because there are more bytes in it, or because the client was blocked and is no
/// longer. The client may be gone afterwards.
pub fn processInputBuffer(server: &mut Server, c: ClientId) {
    process_input_with(server, c, processCommandAndResetClient);
}

/// The loop of `processInputBuffer`. `execute` is what it does with a command, which unit tests replace; `C_ERR` from it: the client
/// is gone.
fn process_input_with(
    server: &mut Server,
    c: ClientId,
    mut execute: impl FnMut(&mut Server, ClientId, &Args) -> CResult,
) {
    let Some(qb) = lend_querybuf(server, c) else { return };
    let mut lookahead = Lookahead::begin(server, c);

    // Keep processing while there is something in the input buffer.
    while server.clients[c].input.qb_pos < qb.len() {
        let client = &server.clients[c];
        // The client waits (BLPOP, a pause): what it sent behind the command that waits is to be executed after it.
        if client.flags & CLIENT_BLOCKED != 0 {
            break;
        }

        // A whole command of it is in `argv` already, and has not been executed. It comes first.
        if client.flags & CLIENT_PENDING_COMMAND != 0 {
            break;
        }

        // CLIENT_CLOSE_AFTER_REPLY: the connection is closed once the replies queued so far are sent, and no more may be
        // added to them. With CLIENT_CLOSE_ASAP nobody will read another reply.
        if client.flags & (CLIENT_CLOSE_AFTER_REPLY | CLIENT_CLOSE_ASAP) != 0 {
            break;
        }

        // C: commands are parsed one by one. Here plain and whole ones have been found ahead, and only what is left goes to the
        // C's parsers: inline commands, errors, and a command of which a part is still to come.
        let inline;
        let argv = if lookahead.has_next(server, c, &qb) {
            lookahead.take_next(server, c, &qb)
        } else {
            // Determine the request's type when it is unknown.
            let client = &mut server.clients[c];
            let pos = client.input.qb_pos;
            if client.reqtype == 0 {
                client.reqtype =
                    if qb[pos] == b'*' { PROTO_REQ_MULTIBULK } else { PROTO_REQ_INLINE };
            }

            let argv = if client.reqtype == PROTO_REQ_INLINE {
                match processInlineBuffer(server, c, &qb) {
                    Ok(argv) => inline = argv,
                    Err(()) => break, // The line is not complete, or it was an error and the client will be closed.
                }
                inline.as_args()
            } else {
                let args = lookahead.args_mut();
                if processMultibulkBuffer(server, c, &qb, args).is_err() {
                    break; // Likewise: to be continued with the next read, or an error.
                }
                let input = &server.clients[c].input;
                let raw = &qb[pos..input.qb_parsed];
                Args::new(&qb, args, input.qb_canonical.then_some(raw))
            };
            let input = &mut server.clients[c].input;
            input.qb_pos = input.qb_parsed;
            argv
        };

        // A multibulk may have no arguments, or a negative number of them; an empty line has none either.
        if argv.len() == 0 {
            resetClient(server, c);
        } else if execute(server, c, &argv).is_err() {
            // There is no client any more whose buffer could be trimmed and given back.
            lookahead.end(server);
            free_querybuf(server, qb);
            return;
        }
    }

    return_querybuf(server, c, qb, lookahead);
}

/// Takes the query buffer out of the client, since the arguments of its commands will borrow it. `None`: it is empty.
fn lend_querybuf(server: &mut Server, c: ClientId) -> Option<Vec<u8>> {
    let auth_required = authRequired(server, c);
    let client = &mut server.clients[c];
    if client.querybuf.is_empty() {
        return None;
    }
    let qb = take(&mut client.querybuf);
    client.input.querybuf_lent_len = qb.len();
    client.input.querybuf_lent_free = qb.capacity() - qb.len();
    client.auth_required = auth_required;
    Some(qb)
}

/// The end of what `lend_querybuf` began: gives the client its query buffer back, trimmed to what was not executed. With nothing left,
/// the client goes without a buffer until its next read.
fn return_querybuf(server: &mut Server, c: ClientId, mut qb: Vec<u8>, mut lookahead: Lookahead) {
    let client = &mut server.clients[c];
    let pos = take(&mut client.input.qb_pos);
    client.input.querybuf_lent_len = 0;
    client.input.querybuf_lent_free = 0;
    if client.multibulklen > 0 {
        // Its arguments so far move with the bytes.
        client.input.qb_parsed -= pos;
        let args = lookahead.args_mut();
        if pos > 0 {
            args.iter_mut().for_each(|r| r.start -= pos);
        }
        swap(args, &mut client.input.qb_args);
    }
    if client.pending_pos > 0 {
        let applied = take(&mut client.pending_pos);
        client.pending_querybuf.drain(..applied);
    }
    let left = qb.len() - pos;
    if left == 0 {
        qb.clear();
    } else if left <= qb.capacity() / 2 && pos > 0 {
        client.querybuf = qb[pos..].to_vec();
        qb.clear();
    } else {
        qb.drain(..pos);
        client.querybuf = take(&mut qb);
    }
    lookahead.end(server);
    free_querybuf(server, qb);
}

/// Forgets the bytes of a query buffer, and keeps it for other clients.
fn free_querybuf(server: &mut Server, mut qb: Vec<u8>) {
    qb.clear();
    release_read_buffer(server, qb);
}

/// An empty buffer to read into.
pub(crate) fn lend_read_buffer(server: &mut Server) -> Vec<u8> {
    server.input_scratch.read_bufs.pop().unwrap_or_else(|| Vec::with_capacity(PROTO_IOBUF_LEN))
}

/// Takes back a buffer that is empty. Large ones, and too many, are freed.
pub(crate) fn release_read_buffer(server: &mut Server, buf: Vec<u8>) {
    if buf.is_empty()
        && (PROTO_IOBUF_LEN..=4 * PROTO_IOBUF_LEN).contains(&buf.capacity())
        && server.input_scratch.read_bufs.len() < READ_AHEAD
    {
        server.input_scratch.read_bufs.push(buf);
    }
}

/// Reads what a client has sent, up to 16 KB, or more of a large argument, into its query buffer. Returns how many bytes. `None`: there
/// was nothing to read, or the client is gone and will be freed.
fn read_into_querybuf(server: &mut Server, c: ClientId, conn: ConnId) -> Option<usize> {
    server.stat_total_reads_processed += 1;

    let mut querybuf = take(&mut server[c].querybuf);
    if querybuf.capacity() < PROTO_IOBUF_LEN {
        // There is nothing yet, or the first bytes of a command, which are few.
        let mut lent = lend_read_buffer(server);
        lent.extend_from_slice(&querybuf);
        querybuf = lent;
    }
    let client = &mut server.clients[c];
    client.querybuf_peak = client.querybuf_peak.max(querybuf.len());

    // Of a large argument just the rest, into a buffer that is large enough for it.
    let mut readlen = PROTO_IOBUF_LEN;
    if client.multibulklen > 0 && client.bulklen >= PROTO_MBULK_BIG_ARG as i64 {
        let needed = client.input.qb_parsed + client.bulklen as usize + 2;
        let remaining = needed.saturating_sub(querybuf.len());
        // There may be none, after a pause.
        if remaining > 0 {
            readlen = remaining.min(MAX_BIG_READ);
            if querybuf.capacity() < needed {
                // The length is only a promise; if there is no memory for it, that shows when it is kept.
                let _ = fallibly(|| querybuf.try_reserve_exact(remaining));
            }
        }
    }

    let result = match connGetState(&server.net, conn) {
        // A read before its turn found that.
        CONN_STATE_ERROR => Err(io::ErrorKind::Other.into()),
        _ => connReadAppend(&mut server.net, conn, &mut querybuf, readlen),
    };
    if querybuf.is_empty() {
        release_read_buffer(server, querybuf);
    } else {
        server[c].querybuf = querybuf;
    }
    match result {
        Ok(0) => {
            serverLog!(LL_VERBOSE, "Client closed connection");
            freeClientAsync(server, c);
            None
        }
        Ok(nread) => Some(nread),
        Err(_) => {
            if connGetState(&server.net, conn) != CONN_STATE_CONNECTED {
                serverLog!(
                    LL_VERBOSE,
                    "Reading from client: {}",
                    B(&connGetLastError(&server.net, conn))
                );
                freeClientAsync(server, c);
            }
            None
        }
    }
}

/// The read handler of a client: reads what it has sent, and executes the commands in it.
pub fn readQueryFromClient(server: &mut Server, conn: ConnId) {
    let c = ClientId::from_u64(connGetPrivateData(&server.net, conn));
    // The loop was entered again from within a command of this very client: what it has sent since can wait.
    if server[c].input.querybuf_lent_len != 0 {
        return;
    }

    let nread = match take(&mut server[c].input.read_ahead) {
        0 => {
            let Some(nread) = read_into_querybuf(server, c, conn) else { return };
            prefetch_ready_clients(server, c);
            nread
        }
        nread => nread,
    };

    let steady_time = server.steady_time;
    let client = &mut server.clients[c];
    client.lastinteraction = steady_time;
    server.stat_net_input_bytes += nread as i64;
    let is_master = client.flags & CLIENT_MASTER != 0;
    if is_master {
        // A copy, for our own replicas: what is executed is passed on just as it came.
        client.read_reploff += nread as i64;
        let new = &client.querybuf[client.querybuf.len() - nread..];
        client.pending_querybuf.extend_from_slice(new);
    }
    // C: arguments of a partial command that are complete don't count. Here they are in the buffer, and count, but for a
    // master, whose commands must not be refused.
    let qblen = if is_master { querybuf_len(client) } else { client.querybuf.len() };
    if qblen > server.client_max_querybuf_len {
        let ci = catClientInfoString(server, c);
        let mut bytes = Vec::new();
        let querybuf = &server[c].querybuf;
        sdscatrepr(&mut bytes, &querybuf[..querybuf.len().min(64)]);
        serverLog!(
            LL_WARNING,
            "Closing client that reached max query buffer length: {} (qbuf initial bytes: {})",
            B(&ci),
            B(&bytes)
        );
        freeClientAsync(server, c);
        return;
    }
    processInputBuffer(server, c);
}

/// The longest reply list, in blocks, and the largest query buffer, in bytes, of all clients.
pub fn getClientsMaxBuffers(server: &Server) -> (usize, usize) {
    let (mut lol, mut bib) = (0, 0);
    for &c in &server.clients.list {
        lol = lol.max(server[c].reply.len());
        bib = bib.max(querybuf_len(&server[c]));
    }
    (lol, bib)
}

/// One end of a client's connection as `address:port`, `[address]:port` for IPv6, `path:0` for the unix socket, and `?:0` if it
/// can't be known.
fn genClientAddrString(server: &Server, c: ClientId, fd_to_str_type: i32) -> Vec<u8> {
    if server[c].flags & CLIENT_UNIX_SOCKET != 0 {
        return bformat!("{}:0", B(server.unixsocket.as_deref().unwrap_or_default()));
    }
    connFormatFdAddr(&server.net, server[c].conn, fd_to_str_type)
}

/// The address of the client. It never changes, and is kept, since it takes a system call.
pub fn getClientPeerId(server: &mut Server, c: ClientId) -> Vec<u8> {
    if server[c].peerid.is_none() {
        server[c].peerid = Some(genClientAddrString(server, c, FD_TO_PEER_NAME));
    }
    server[c].peerid.clone().unwrap_or_default()
}

/// The address that the client has connected to, kept likewise.
pub fn getClientSockname(server: &mut Server, c: ClientId) -> Vec<u8> {
    if server[c].sockname.is_none() {
        server[c].sockname = Some(genClientAddrString(server, c, FD_TO_SOCK_NAME));
    }
    server[c].sockname.clone().unwrap_or_default()
}

/// A client in a line, as CLIENT LIST shows it.
///
/// Differs: `qbuf-free` and `tot-mem` are of our buffers; a client that waits for nothing has none to read into.
pub fn catClientInfoString(server: &mut Server, c: ClientId) -> Vec<u8> {
    let peerid = getClientPeerId(server, c);
    let sockname = getClientSockname(server, c);
    let client = &server[c];

    const FLAGS: [(u64, char); 13] = [
        (CLIENT_MASTER, 'M'),
        (CLIENT_PUBSUB, 'P'),
        (CLIENT_MULTI, 'x'),
        (CLIENT_BLOCKED, 'b'),
        (CLIENT_TRACKING, 't'),
        (CLIENT_TRACKING_BROKEN_REDIR, 'R'),
        (CLIENT_TRACKING_BCAST, 'B'),
        (CLIENT_DIRTY_CAS, 'd'),
        (CLIENT_CLOSE_AFTER_REPLY, 'c'),
        (CLIENT_UNBLOCKED, 'u'),
        (CLIENT_CLOSE_ASAP, 'A'),
        (CLIENT_UNIX_SOCKET, 'U'),
        (CLIENT_READONLY, 'r'),
    ];
    let mut flags = String::new();
    if client.flags & CLIENT_SLAVE != 0 {
        flags.push(if client.flags & CLIENT_MONITOR != 0 { 'O' } else { 'S' });
    }
    flags.extend(
        FLAGS.iter().filter(|(flag, _)| client.flags & flag != 0).map(|(_, letter)| letter),
    );
    if flags.is_empty() {
        flags.push('N');
    }

    let mut events = String::new();
    if let Some(conn) = client.conn {
        if connHasReadHandler(&server.net, conn) {
            events.push('r');
        }
        if connHasWriteHandler(&server.net, conn) {
            events.push('w');
        }
    }

    let obufmem = getClientOutputBufferMemoryUsage(client);
    let qbuf = querybuf_len(client);
    let qbuf_free =
        client.input.querybuf_lent_free + client.querybuf.capacity() - client.querybuf.len();
    let total_mem = obufmem
        + size_of::<Client>()
        + client.buf.capacity()
        + client.input.querybuf_lent_len
        + client.input.querybuf_lent_free
        + client.querybuf.capacity()
        + client.argv_len_sum
        + client.input.qb_args.capacity() * size_of::<ArgRange>()
        + client.argv.as_ref().map_or(0, Argv::mem_usage);

    let name = client.name.as_deref().unwrap_or_default();
    let user =
        client.user.and_then(|u| server.users.get(u)).map_or(&b"(superuser)"[..], |u| &u.name);
    bformat!(
        "id={} addr={} laddr={} {} name={} age={} idle={} flags={} db={} sub={} psub={} multi={} qbuf={} qbuf-free={} argv-mem={} obl={} oll={} omem={} tot-mem={} events={} cmd={} user={} redir={}",
        client.id,
        B(&peerid),
        B(&sockname),
        B(&connGetInfo(&server.net, client.conn)),
        B(name),
        server.unixtime - client.ctime,
        server.steady_time - client.lastinteraction,
        flags,
        client.db,
        client.pubsub_channels.len(),
        client.pubsub_patterns.len(),
        if client.flags & CLIENT_MULTI != 0 { client.mstate.commands.len() as i64 } else { -1 },
        qbuf,
        qbuf_free,
        client.argv_len_sum,
        client.buf.len(),
        client.reply.len(),
        obufmem,
        total_mem,
        events,
        client.lastcmd.map_or("NULL", |cmd| server.commands[cmd].name),
        B(user),
        -1
    )
}

/// The lines of all clients, or of those of a class.
pub fn getAllClientsInfoString(server: &mut Server, type_: Option<usize>) -> Vec<u8> {
    let mut o = Vec::with_capacity(200 * listLength(&server.clients.list));
    let mut li = listRewind(&server.clients.list);
    while let Some(client) = listNext(&server.clients.list, &mut li) {
        if type_.is_some_and(|type_| getClientType(&server[client]) != type_) {
            continue;
        }
        o.extend_from_slice(&catClientInfoString(server, client));
        o.push(b'\n');
    }
    o
}

/// Gives the client a name, or with an empty one takes it away. `C_ERR`: the name has letters that would break CLIENT LIST, and the
/// client was told so. The reply to success is the caller's.
pub fn clientSetNameOrReply(server: &mut Server, c: ClientId, name: &[u8]) -> CResult {
    if name.is_empty() {
        server[c].name = None;
        return C_OK;
    }
    if name.iter().any(|byte| !(b'!'..=b'~').contains(byte)) {
        addReplyError(
            server,
            c,
            b"Client names cannot contain spaces, newlines or special characters.",
        );
        return C_ERR;
    }
    server[c].name = Some(name.to_vec());
    C_OK
}

/// RESET: the connection is as if it were new.
pub fn resetCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    // A monitor is marked as a replica, too; it can be reset.
    if server[c].flags & CLIENT_MONITOR != 0 {
        let node = listSearchKey(&server.monitors, c).expect("a monitor is in the list of them");
        listDelNode(&mut server.monitors, node);
        server[c].flags &= !(CLIENT_MONITOR | CLIENT_SLAVE);
    }
    if server[c].flags & (CLIENT_SLAVE | CLIENT_MASTER) != 0 {
        addReplyError(server, c, b"can only reset normal client connections");
        return;
    }

    server[c].db = 0;
    server[c].resp = 2;
    clientSetDefaultAuth(server, c);
    discardTransaction(server, c);
    pubsubUnsubscribeAllChannels(server, c, false);
    pubsubUnsubscribeAllPatterns(server, c, false);
    let client = &mut server[c];
    client.name = None;
    client.flags &= !(CLIENT_ASKING
        | CLIENT_READONLY
        | CLIENT_PUBSUB
        | CLIENT_REPLY_OFF
        | CLIENT_REPLY_SKIP_NEXT);
    addReplyStatus(server, c, b"RESET");
}

/// CLIENT
pub fn clientCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let argc = argv.len();
    let is = |i: usize, word: &str| eq_ignore_case(&argv[i], word.as_bytes());

    if argc == 2 && is(1, "help") {
        let help = [
            "GETREDIR",
            "    Return the client ID we are redirecting to when tracking is enabled.",
            "GETNAME",
            "    Return the name of the current connection.",
            "ID",
            "    Return the ID of the current connection.",
            "INFO",
            "    Return information about the current client connection.",
            "KILL <ip:port>",
            "    Kill connection made from <ip:port>.",
            "KILL <option> <value> [<option> <value> [...]]",
            "    Kill connections. Options are:",
            "    * ADDR (<ip:port>|<unixsocket>:0)",
            "      Kill connections made from the specified address",
            "    * LADDR (<ip:port>|<unixsocket>:0)",
            "      Kill connections made to specified local address",
            "    * TYPE (normal|master|replica|pubsub)",
            "      Kill connections by type.",
            "    * USER <username>",
            "      Kill connections authenticated by <username>.",
            "    * SKIPME (YES|NO)",
            "      Skip killing current connection (default: yes).",
            "LIST [options ...]",
            "    Return information about client connections. Options:",
            "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
            "      Return clients of specified type.",
            "UNPAUSE",
            "    Stop the current client pause, resuming traffic.",
            "PAUSE <timeout> [WRITE|ALL]",
            "    Suspend all, or just write, clients for <timout> milliseconds.",
            "REPLY (ON|OFF|SKIP)",
            "    Control the replies sent to the current connection.",
            "SETNAME <name>",
            "    Assign the name <name> to the current connection.",
            "UNBLOCK <clientid> [TIMEOUT|ERROR]",
            "    Unblock the specified blocked client.",
        ];
        addReplyHelp(server, c, argv, &help);
    } else if is(1, "id") && argc == 2 {
        // CLIENT ID
        let id = server[c].id;
        addReplyLongLong(server, c, id as i64);
    } else if is(1, "info") && argc == 2 {
        // CLIENT INFO
        let mut o = catClientInfoString(server, c);
        o.push(b'\n');
        addReplyVerbatim(server, c, &o, "txt");
    } else if is(1, "list") {
        // CLIENT LIST
        clientListCommand(server, c, argv);
    } else if is(1, "reply") && argc == 3 {
        // CLIENT REPLY ON|OFF|SKIP
        if is(2, "on") {
            server[c].flags &= !(CLIENT_REPLY_SKIP | CLIENT_REPLY_OFF);
            addReply(server, c, shared::ok);
        } else if is(2, "off") {
            server[c].flags |= CLIENT_REPLY_OFF;
        } else if is(2, "skip") {
            if server[c].flags & CLIENT_REPLY_OFF == 0 {
                server[c].flags |= CLIENT_REPLY_SKIP_NEXT;
            }
        } else {
            addReplyErrorObject(server, c, shared::syntaxerr);
        }
    } else if is(1, "kill") {
        // CLIENT KILL <ip:port>
        // CLIENT KILL <option> [value] ... <option> [value]
        clientKillCommand(server, c, argv);
    } else if is(1, "unblock") && (argc == 3 || argc == 4) {
        // CLIENT UNBLOCK <id> [timeout|error]
        let mut unblock_error = false;
        if argc == 4 {
            if is(3, "error") {
                unblock_error = true;
            } else if !is(3, "timeout") {
                addReplyError(server, c, b"CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
                return;
            }
        }
        let Ok(id) = getLongLongFromObjectOrReply(server, c, &argv[2], None) else { return };
        // C: a client that CLIENT PAUSE holds back is unblocked as well, and the server panics over what to reply to it.
        let target = lookupClientByID(server, id as u64)
            .filter(|&t| server[t].flags & CLIENT_BLOCKED != 0 && server[t].btype != BLOCKED_PAUSE);
        match target {
            Some(target) => {
                if unblock_error {
                    addReplyError(
                        server,
                        target,
                        b"-UNBLOCKED client unblocked via CLIENT UNBLOCK",
                    );
                } else {
                    replyToBlockedClientTimedOut(server, target);
                }
                unblockClient(server, target);
                addReply(server, c, shared::cone);
            }
            None => addReply(server, c, shared::czero),
        }
    } else if is(1, "setname") && argc == 3 {
        // CLIENT SETNAME
        if clientSetNameOrReply(server, c, &argv[2]).is_ok() {
            addReply(server, c, shared::ok);
        }
    } else if is(1, "getname") && argc == 2 {
        // CLIENT GETNAME
        match server[c].name.clone() {
            Some(name) => addReplyBulkCBuffer(server, c, &name),
            None => addReplyNull(server, c),
        }
    } else if is(1, "unpause") && argc == 2 {
        // CLIENT UNPAUSE
        unpauseClients(server);
        addReply(server, c, shared::ok);
    } else if is(1, "pause") && (argc == 3 || argc == 4) {
        // CLIENT PAUSE TIMEOUT [WRITE|ALL]
        let mut type_ = CLIENT_PAUSE_ALL;
        if argc == 4 {
            if is(3, "write") {
                type_ = CLIENT_PAUSE_WRITE;
            } else if !is(3, "all") {
                addReplyError(server, c, b"CLIENT PAUSE mode must be WRITE or ALL");
                return;
            }
        }
        let Ok(end) = getTimeoutFromObjectOrReply(server, c, &argv[2], UNIT_MILLISECONDS) else {
            return;
        };
        pauseClients(server, end, type_);
        addReply(server, c, shared::ok);
    } else if is(1, "getredir") && argc == 2 {
        // CLIENT GETREDIR: of a client that does not track.
        addReplyLongLong(server, c, -1);
    } else {
        addReplySubcommandSyntaxError(server, c, argv);
    }
}

/// CLIENT LIST [TYPE <type>] [ID <id> ...]
fn clientListCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let mut type_ = None;
    let mut ids = None;
    if argv.len() == 4 && eq_ignore_case(&argv[2], b"type") {
        type_ = getClientTypeByName(&argv[3]);
        if type_.is_none() {
            addReplyErrorFormat!(server, c, "Unknown client type '{}'", B(c_str(&argv[3])));
            return;
        }
    } else if argv.len() > 3 && eq_ignore_case(&argv[2], b"id") {
        let mut o = Vec::new();
        for id in argv.iter().skip(3) {
            let Ok(cid) = getLongLongFromObjectOrReply(server, c, id, Some("Invalid client ID"))
            else {
                return;
            };
            if let Some(cl) = lookupClientByID(server, cid as u64) {
                o.extend_from_slice(&catClientInfoString(server, cl));
                o.push(b'\n');
            }
        }
        ids = Some(o);
    } else if argv.len() != 2 {
        addReplyErrorObject(server, c, shared::syntaxerr);
        return;
    }
    let o = ids.unwrap_or_else(|| getAllClientsInfoString(server, type_));
    addReplyVerbatim(server, c, &o, "txt");
}

/// CLIENT KILL, in the form with an address and in that with filters, of which all must match.
fn clientKillCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let argc = argv.len();
    let mut addr = None;
    let mut laddr = None;
    let mut user = None;
    let mut type_ = None;
    let mut id = 0;
    let mut skipme = true;

    if argc == 3 {
        // The old form; it can kill its own connection.
        addr = Some(c_str(argv.get(2)));
        skipme = false;
    } else if argc > 3 {
        for i in (2..argc).step_by(2) {
            let is = |word: &str| eq_ignore_case(&argv[i], word.as_bytes());
            if i + 1 >= argc {
                addReplyErrorObject(server, c, shared::syntaxerr);
                return;
            }
            let value = argv.get(i + 1);
            if is("id") {
                match getLongLongFromObjectOrReply(server, c, value, None) {
                    Ok(tmp) => id = tmp as u64,
                    Err(()) => return,
                }
            } else if is("type") {
                type_ = getClientTypeByName(value);
                if type_.is_none() {
                    addReplyErrorFormat!(server, c, "Unknown client type '{}'", B(c_str(value)));
                    return;
                }
            } else if is("addr") {
                addr = Some(c_str(value));
            } else if is("laddr") {
                laddr = Some(c_str(value));
            } else if is("user") {
                user = ACLGetUserByName(server, value);
                if user.is_none() {
                    addReplyErrorFormat!(server, c, "No such user '{}'", B(c_str(value)));
                    return;
                }
            } else if is("skipme") {
                if eq_ignore_case(value, b"yes") {
                    skipme = true;
                } else if eq_ignore_case(value, b"no") {
                    skipme = false;
                } else {
                    addReplyErrorObject(server, c, shared::syntaxerr);
                    return;
                }
            } else {
                addReplyErrorObject(server, c, shared::syntaxerr);
                return;
            }
        }
    } else {
        addReplyErrorObject(server, c, shared::syntaxerr);
        return;
    }

    // Kill all that match.
    let mut killed = 0;
    let mut close_this_client = false;
    let mut li = listRewind(&server.clients.list);
    while let Some(client) = listNext(&server.clients.list, &mut li) {
        if addr.is_some_and(|addr| getClientPeerId(server, client) != addr)
            || laddr.is_some_and(|laddr| getClientSockname(server, client) != laddr)
            || type_.is_some_and(|type_| getClientType(&server[client]) != type_)
            || (id != 0 && server[client].id != id)
            || (user.is_some() && server[client].user != user)
            || (client == c && skipme)
        {
            continue;
        }
        if client == c {
            close_this_client = true;
        } else {
            freeClient(server, client);
        }
        killed += 1;
    }

    if argc > 3 {
        addReplyLongLong(server, c, killed);
    } else if killed == 0 {
        addReplyError(server, c, b"No such client");
    } else {
        addReply(server, c, shared::ok);
    }
    // Only now that the reply is queued: nothing is, for a client with this flag.
    if close_this_client {
        server[c].flags |= CLIENT_CLOSE_AFTER_REPLY;
    }
}

/// HELLO [<protocol-version> [AUTH <user> <password>] [SETNAME <name>]]
pub fn helloCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let argc = argv.len();
    let mut ver = 0;
    if argc >= 2 {
        let msg = Some("Protocol version is not an integer or out of range");
        match getLongLongFromObjectOrReply(server, c, &argv[1], msg) {
            Ok(n) => ver = n,
            Err(()) => return,
        }
        if !(2..=3).contains(&ver) {
            addReplyError(server, c, b"-NOPROTO unsupported protocol version");
            return;
        }
    }

    let mut j = 2;
    while j < argc {
        let moreargs = argc - 1 - j;
        if eq_ignore_case(&argv[j], b"AUTH") && moreargs >= 2 {
            redactClientCommandArgument(server, c, argv, j + 1);
            redactClientCommandArgument(server, c, argv, j + 2);
            if ACLAuthenticateUser(server, c, &argv[j + 1], &argv[j + 2]).is_err() {
                addReplyError(
                    server,
                    c,
                    b"-WRONGPASS invalid username-password pair or user is disabled.",
                );
                return;
            }
            j += 3;
        } else if eq_ignore_case(&argv[j], b"SETNAME") && moreargs >= 1 {
            if clientSetNameOrReply(server, c, &argv[j + 1]).is_err() {
                return;
            }
            j += 2;
        } else {
            addReplyErrorFormat!(
                server,
                c,
                "Syntax error in HELLO option '{}'",
                B(c_str(&argv[j]))
            );
            return;
        }
    }

    if !server[c].authenticated {
        addReplyError(
            server,
            c,
            b"-NOAUTH HELLO must be called with the client already \
              authenticated, otherwise the HELLO AUTH <user> <pass> \
              option can be used to authenticate the client and \
              select the RESP protocol version at the same time",
        );
        return;
    }

    if ver != 0 {
        server[c].resp = ver as i32;
    }
    let role: &[u8] = if server.masterhost.is_some() { b"replica" } else { b"master" };
    let clients = &mut server.clients;
    let (resp, id) = (clients[c].resp, clients[c].id);
    addReplyMapLen(clients, c, 7);
    addReplyBulkCString(clients, c, b"server");
    addReplyBulkCString(clients, c, b"redis");
    addReplyBulkCString(clients, c, b"version");
    addReplyBulkCString(clients, c, REDIS_VERSION.as_bytes());
    addReplyBulkCString(clients, c, b"proto");
    addReplyLongLong(clients, c, i64::from(resp));
    addReplyBulkCString(clients, c, b"id");
    addReplyLongLong(clients, c, id as i64);
    addReplyBulkCString(clients, c, b"mode");
    addReplyBulkCString(clients, c, b"standalone");
    addReplyBulkCString(clients, c, b"role");
    addReplyBulkCString(clients, c, role);
    addReplyBulkCString(clients, c, b"modules");
    addReplyArrayLen(clients, c, 0);
}

/// What is called for `POST` and `Host:`, which are no commands.
///
/// A web page can make a browser send requests to any port. A server that answers the headers with errors and goes on would execute
/// what a body made for it says. So the connection is closed. It is logged, but not more than once a minute.
pub fn securityWarningCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    let now = ustime() / 1_000_000;
    if (now - server.security_warning_logged_time).abs() > 60 {
        serverLog!(
            LL_WARNING,
            "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: commands to Redis. This is likely due to an attacker attempting to use Cross Protocol Scripting to compromise your Redis instance. Connection aborted."
        );
        server.security_warning_logged_time = now;
    }
    freeClientAsync(server, c);
}

/// Keeps the arguments as the client sent them, for the slow log and the monitors.
///
/// Differs: needed for redacting only. When a command is rewritten, `call` still has what was received.
fn retainOriginalCommandVector(server: &mut Server, c: ClientId, argv: &Args) {
    if server[c].original_argv.is_none() {
        server[c].original_argv = Some(argv.to_argv());
    }
}

/// Hides argument `i` from the slow log and the monitors.
pub fn redactClientCommandArgument(server: &mut Server, c: ClientId, argv: &Args, i: usize) {
    retainOriginalCommandVector(server, c, argv);
    let client = &mut server[c];
    client.original_argv =
        client.original_argv.take().map(|argv| argv.with_arg(i, shared::redacted));
}

/// Has the client's command propagated as these arguments.
pub fn rewriteClientCommandVector(server: &mut Server, c: ClientId, argv: &[&[u8]]) {
    replaceClientCommandVector(server, c, argv.iter().copied().collect());
}

/// `rewriteClientCommandVector` with owned arguments.
pub fn replaceClientCommandVector(server: &mut Server, c: ClientId, argv: Argv) {
    let cmd = lookupCommandOrOriginal(server, &argv[0]);
    assert!(cmd.is_some(), "a command is rewritten to one that exists");
    let client = &mut server[c];
    client.argv_len_sum = argv.as_args().iter().map(<[u8]>::len).sum();
    client.argv = Some(argv);
    client.cmd = cmd;
}

/// Has the client's command `argv` propagated with argument `i` replaced; one past the last is added. Adds up with earlier
/// rewriting.
pub fn rewriteClientCommandArgument(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    i: usize,
    newval: &[u8],
) {
    let old = server[c].argv.take().unwrap_or_else(|| argv.to_argv());
    let new = old.with_arg(i, newval);
    let client = &mut server[c];
    client.argv_len_sum = new.as_args().iter().map(<[u8]>::len).sum();
    if i == 0 {
        replaceClientCommandVector(server, c, new);
    } else {
        client.argv = Some(new);
    }
}

/// Memory of the replies that the client has not read yet, without its fixed buffer, in bytes. This is what the limits are about.
pub fn getClientOutputBufferMemoryUsage(client: &Client) -> usize {
    client.reply_bytes + REPLY_NODE_OVERHEAD * client.reply.len()
}

/// The class of a client: `CLIENT_TYPE_*`. A monitor counts as normal.
pub fn getClientType(client: &Client) -> usize {
    if client.flags & CLIENT_MASTER != 0 {
        return CLIENT_TYPE_MASTER;
    }
    if client.flags & CLIENT_SLAVE != 0 && client.flags & CLIENT_MONITOR == 0 {
        return CLIENT_TYPE_SLAVE;
    }
    if client.flags & CLIENT_PUBSUB != 0 {
        return CLIENT_TYPE_PUBSUB;
    }
    CLIENT_TYPE_NORMAL
}

/// The class of this name, in any case; a replica has two.
pub fn getClientTypeByName(name: &[u8]) -> Option<usize> {
    let is = |word: &str| eq_ignore_case(name, word.as_bytes());
    if is("normal") {
        Some(CLIENT_TYPE_NORMAL)
    } else if is("slave") || is("replica") {
        Some(CLIENT_TYPE_SLAVE)
    } else if is("pubsub") {
        Some(CLIENT_TYPE_PUBSUB)
    } else if is("master") {
        Some(CLIENT_TYPE_MASTER)
    } else {
        None
    }
}

/// The name of a class. Panics for a number that is none.
pub fn getClientTypeName(class: usize) -> &'static str {
    match class {
        CLIENT_TYPE_NORMAL => "normal",
        CLIENT_TYPE_SLAVE => "slave",
        CLIENT_TYPE_PUBSUB => "pubsub",
        CLIENT_TYPE_MASTER => "master",
        _ => panic!("no class of clients"),
    }
}

/// Whether the client has more unread than it may: above the hard limit, or above the soft limit for too long, which starts to count
/// here.
///
/// C: 6.2.16 lets everybody leave as much. Who did not authenticate gets hardly anything here.
pub fn checkClientOutputBufferLimits(clients: &mut Clients, c: ClientId) -> bool {
    let client = &clients[c];
    let used_mem = getClientOutputBufferMemoryUsage(client);
    if used_mem > REPLY_BUFFER_SIZE_UNAUTHENTICATED_CLIENT
        && client.auth_required
        && !client.authenticated
    {
        return true;
    }

    // A master is like any other client in this.
    let class = match getClientType(client) {
        CLIENT_TYPE_MASTER => CLIENT_TYPE_NORMAL,
        class => class,
    };
    let limits = clients.client_obuf_limits[class];
    let reached = |limit: u64| limit != 0 && used_mem as u64 >= limit;
    let hard = reached(limits.hard_limit_bytes);
    let mut soft = reached(limits.soft_limit_bytes);

    let client = &mut clients[c];
    if soft {
        // C: the clock as it was before the command, so that a soft limit never ends a reply, however long that takes.
        let steady_time = steady_ms() / 1000;
        if client.obuf_soft_limit_reached_time == 0 {
            client.obuf_soft_limit_reached_time = steady_time;
            soft = false;
        } else if steady_time - client.obuf_soft_limit_reached_time <= limits.soft_limit_seconds {
            soft = false;
        }
    } else {
        client.obuf_soft_limit_reached_time = 0;
    }
    soft || hard
}

/// Whether the client is to be closed because of its output buffer. Clients without a connection never are.
fn isOverOutputBufferLimit(clients: &mut Clients, c: ClientId) -> bool {
    let client = &clients[c];
    if client.conn.is_none() || client.reply_bytes == 0 || client.flags & CLIENT_CLOSE_ASAP != 0 {
        return false;
    }
    checkClientOutputBufferLimits(clients, c)
}

/// Closes a client that is over its limit: when it is safe (`asynchronous`), or at once. Returns whether it did.
pub fn closeClientOnOutputBufferLimitReached(
    server: &mut Server,
    c: ClientId,
    asynchronous: bool,
) -> bool {
    if asynchronous {
        return closeClientOnOutputBufferLimitReachedAsync(&mut server.clients, c);
    }
    if !isOverOutputBufferLimit(&mut server.clients, c) {
        return false;
    }
    let client = catClientInfoString(server, c);
    freeClient(server, c);
    serverLog!(LL_WARNING, "Client {} closed for overcoming of output buffer limits.", B(&client));
    true
}

/// The same for those who queue replies and know nothing but `Clients`. The line in the log, which says more than they know, is written
/// when the client is freed, before the loop sleeps.
fn closeClientOnOutputBufferLimitReachedAsync(clients: &mut Clients, c: ClientId) -> bool {
    if !isOverOutputBufferLimit(clients, c) {
        return false;
    }
    clients[c].obuf_limit_reached = true;
    freeClientAsync(clients, c);
    true
}

/// Writes that line, if it is due. The client is shown as it was when it was scheduled.
fn logOutputBufferLimitReached(server: &mut Server, c: ClientId) {
    if !take(&mut server[c].obuf_limit_reached) {
        return;
    }
    let flags = server[c].flags;
    server[c].flags &= !CLIENT_CLOSE_ASAP;
    let client = catClientInfoString(server, c);
    server[c].flags = flags;
    serverLog!(
        LL_WARNING,
        "Client {} scheduled to be closed ASAP for overcoming of output buffer limits.",
        B(&client)
    );
}

/// Writes to the replicas what is queued for them, without waiting for the loop: eviction needs the memory, and a shutdown wants
/// them to have the latest writes.
pub fn flushSlavesOutputBuffers(server: &mut Server) {
    let mut li = listRewind(&server.slaves);
    while let Some(slave) = listNext(&server.slaves, &mut li) {
        let client = &server[slave];
        let Some(conn) = client.conn else { continue };
        let can_receive_writes =
            connHasWriteHandler(&server.net, conn) || client.flags & CLIENT_PENDING_WRITE != 0;
        // Not to one that would not be written to by the loop either: it is not online, or has not said that it is.
        if client.replstate == SLAVE_STATE_ONLINE
            && can_receive_writes
            && !client.repl_put_online_on_ack
            && clientHasPendingReplies(client)
        {
            let _ = writeToClient(server, slave, false);
        }
    }
}

/// Holds back clients, or just their writes, up to `end` (milliseconds as `steady_ms` counts them). Replicas are never held back: this is how a
/// failover is made without losing data. If a pause is on already, the later end and the stricter kind win.
pub fn pauseClients(server: &mut Server, end: mstime_t, type_: pause_type) {
    server.client_pause_type = server.client_pause_type.max(type_);
    server.client_pause_end_time = server.client_pause_end_time.max(end);

    // What a transaction has queued is executed all the same, and propagated.
    if server.in_exec {
        server.client_pause_in_transaction = true;
    }
}

/// Ends the pause; what the clients wanted is executed soon.
pub fn unpauseClients(server: &mut Server) {
    server.client_pause_type = CLIENT_PAUSE_OFF;
    server.client_pause_end_time = 0;

    let mut li = listRewind(&server.paused_clients);
    while let Some(c) = listNext(&server.paused_clients, &mut li) {
        unblockClient(server, c);
    }
}

/// Whether a pause is on.
pub fn areClientsPaused(server: &Server) -> bool {
    server.client_pause_type != CLIENT_PAUSE_OFF
}

/// Ends a pause whose time is over; then, whether one is on.
pub fn checkClientPauseTimeoutAndReturnIfPaused(server: &mut Server) -> bool {
    if !areClientsPaused(server) {
        return false;
    }
    if server.client_pause_end_time < server.steady_mstime {
        unpauseClients(server);
    }
    areClientsPaused(server)
}

/// Serves clients for a moment, from within something that takes long and cannot be interrupted, like loading: they get -LOADING instead
/// of silence.
///
/// Up to four turns, as long as there is something to do: enough to accept, read, answer and close.
pub fn processEventsWhileBlocked(server: &mut Server) {
    // New clients and replies carry the time.
    updateCachedTime(server, false);

    for _ in 0..4 {
        let startval = server.events_processed_while_blocked;
        let ae_events = aeProcessEvents(
            server,
            AE_FILE_EVENTS | AE_DONT_WAIT | AE_CALL_BEFORE_SLEEP | AE_CALL_AFTER_SLEEP,
        );
        server.events_processed_while_blocked += i64::from(ae_events);
        if server.events_processed_while_blocked == startval {
            break;
        }
    }
    whileBlockedCron(server);
}

#[cfg(test)]
pub(crate) mod tests;
