//! `networking.c`: clients, what they ask and what they are answered.
//!
//! Read first: `readQueryFromClient`, where bytes come in; `processInputBuffer`, which finds the
//! commands in them; `addReplyProto` and `prepareClientToWrite`, where bytes go out;
//! `handleClientsWithPendingWrites`, which sends them; `freeClient`, the end.
//!
//! # Input
//!
//! A command's arguments are not copied: they stay in the query buffer, which is taken out of the
//! client while its commands run, and an `Args` borrows it. A client with nothing half received
//! owns no buffer at all: it is lent one for the time of a read. A command that is only partly
//! there stays in the client's own buffer, with a note of how far it was parsed, so that its bytes
//! are looked at once, however many pieces it comes in.
//!
//! A client's position in its buffer is drawn at [`InputState`]. Whole commands are found many at a
//! time, and those of several ready clients together, so that the memory they will want can be
//! asked for before the first of them runs: lookahead.rs tells how, and why nothing is decided by
//! it.
//!
//! # Output
//!
//! As in the C: a buffer of 16 KB per client, and a list of blocks behind it. Queueing a reply
//! touches `Clients` only.
//!
//! # What differs
//!
//! Absent: I/O threads and all that is named after them (`getIOPendingCount` to
//! `handleClientsWithPendingReadsUsingThreads`), modules, TLS, and the functions for C strings and
//! reference counts: `sdsZmallocSize`, `getStringObjectSdsUsedMemory`, `getStringObjectLen`,
//! `dupClientReplyValue`, `freeClientReplyValue`, `listMatchObjects`, `addReplySds`,
//! `addReplyBulkSds`, `setDeferredReplyBulkSds`, `addReplyErrorSds`, `deferredAfterErrorReply`,
//! `freeClientArgv`. The C makes a large argument the value itself, without a copy. Here it is read
//! into a buffer of its size, in reads of up to 1 MB, and copied once, into the value. The list of
//! clients with something to send is a vector that may hold ids of clients that are gone.

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
use crate::ds::adlist::*;
use crate::ds::longdouble::{LongDouble, ld2string, ld2string_mode};
use crate::ds::rax::{raxNext, raxSeek, raxStart};
use crate::gopher::processGopherRequest;
use crate::keyspace::ValueRef;
use crate::log::{LL_VERBOSE, LL_WARNING, get_log_level};
use crate::lookahead::*;
use crate::multi::{discardTransaction, unwatchAllKeys};
use crate::object::getLongLongFromObjectOrReply;
use crate::pubsub::{pubsubUnsubscribeAllChannels, pubsubUnsubscribeAllPatterns};
use crate::rdb::killRDBChild;
use crate::replication::backoff::link_closed_on_purpose;
use crate::replication::doctor::{newest_decision, note_gone, note_output_limit};
use crate::replication::newer_masters::{after_command, note_error};
use crate::replication::{
    close_master_link, rdbPipeWriteHandlerConnRemoved, refreshGoodSlavesCount,
    replicationCacheMaster, replicationFeedSlavesFromMasterStream, replicationGetSlaveName,
    replicationHandleMasterDisconnection, showLatestBacklog, trim_stream,
};
use crate::sds::{sdscatrepr, sdssplitargs, sdstrim};
use crate::server::{
    changes_are_propagated, incrementErrorCount, lookupCommandOrOriginal, processCommand,
    updateCachedTime, whileBlockedCron,
};
use crate::server_h::*;
use crate::sys::alloc::{fallibly, zmalloc_good_size, zmalloc_used_memory};
use crate::sys::clock::{steady_ms, ustime};
use crate::sys::mem::{Spare, append_framed, append_line, append_short, append_word};
use crate::timeout::getTimeoutFromObjectOrReply;
use crate::trace::trace_client_gone;
use crate::tracking::{checkPrefixCollisionsOrReply, disableTracking, enableTracking};
use crate::util::{
    ASCII_ZEROS, B, c_str, eq_ignore_case, format_17g, isprint, ll2string, string2ll,
};
use crate::{bformat, serverLog, trace};

/// `createSharedObjects`: replies that never change, by the C's names.
pub mod shared {
    /// A reply that never changes. Nulls and empty aggregates depend on the client's protocol
    /// version.
    #[derive(Copy, Clone, PartialEq, Eq, Debug)]
    pub struct Shared {
        resp2: &'static str,
        resp3: &'static str,
    }

    impl Shared {
        /// Returns the bytes for a client of that protocol version (2 or 3).
        #[inline]
        pub fn bytes(self, resp: i32) -> &'static [u8] {
            if resp == 2 { self.resp2.as_bytes() } else { self.resp3.as_bytes() }
        }

        /// Tells whether the reply is an error, which is to be counted (`addReplyErrorObject`).
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

    /// The null reply, where a single value was expected.
    pub const null: Shared = Shared { resp2: "$-1\r\n", resp3: "_\r\n" };
    /// The null reply, where an array was expected. RESP3 has only one null.
    pub const nullarray: Shared = Shared { resp2: "*-1\r\n", resp3: "_\r\n" };
    /// A map without elements.
    pub const emptymap: Shared = Shared { resp2: "*0\r\n", resp3: "%0\r\n" };
    /// A set without elements.
    pub const emptyset: Shared = Shared { resp2: "*0\r\n", resp3: "~0\r\n" };

    /// The text that stands in the slow log for an argument that must not be seen.
    pub const redacted: &[u8] = b"(redacted)";
}
pub use shared::Shared;

/// The most that one read takes of a large argument, in bytes.
const MAX_BIG_READ: usize = 1024 * 1024;
/// The largest number of arguments in a request.
pub(crate) const MAX_MULTIBULK_LEN: i64 = 1024 * 1024;
/// The largest number of arguments, and of bytes in one, in a request of a client that has not
/// authenticated: enough for AUTH and HELLO, and little memory for strangers to take.
pub(crate) const UNAUTHENTICATED_MULTIBULK_LEN: i64 = 10;
pub(crate) const UNAUTHENTICATED_BULK_LEN: i64 = 16384;
/// The most that a client which has not authenticated may leave unread in its reply list, in bytes.
const REPLY_BUFFER_SIZE_UNAUTHENTICATED_CLIENT: usize = 1024;

/// The bytes that a node of the reply list counts besides its contents: what the C's node and block
/// header take on 64 bits, so that the limits mean the same.
const REPLY_NODE_OVERHEAD: usize = 24 + REPLY_BLOCK_HEADER;

/// The bytes of an allocation for a block of the reply list that are not room for replies: two
/// words, the header of the C's block.
pub(crate) const REPLY_BLOCK_HEADER: usize = 16;

// -----------------------------------------------------------------------------
// Clients
// -----------------------------------------------------------------------------

/// Adds the client to the list of clients and to the index by number. The node of the list is
/// remembered in the client, so that removing it later takes constant time.
pub fn linkClient(server: &mut Server, c: ClientId) {
    let node = listAddNodeTail(&mut server.clients.list, c);
    let client = &mut server.clients[c];
    client.client_list_node = Some(node);
    let id = client.id;
    // CLIENT KILL ID and CLIENT UNBLOCK name a client by number, and should not walk over all of
    // them to find it.
    server.clients.index.insert(id, c);
}

/// Makes the client the user `default`, authenticated if that user needs no password.
fn clientSetDefaultAuth(server: &mut Server, c: ClientId) {
    let nopass = default_user_is_open(server);
    let client = &mut server[c];
    client.user = Some(DefaultUser);
    client.authenticated = nopass;
}

/// Tells whether the user `default` is enabled and needs no password.
pub(crate) fn default_user_is_open(server: &Server) -> bool {
    server
        .users
        .get(DefaultUser)
        .is_none_or(|u| u.flags & USER_FLAG_NOPASS != 0 && u.flags & USER_FLAG_DISABLED == 0)
}

/// Tells whether the client has to authenticate before it may do anything else.
#[inline]
pub fn authRequired(server: &Server, c: ClientId) -> bool {
    !server[c].authenticated && !default_user_is_open(server)
}

/// Creates a client for a connection and starts to read from it.
///
/// Without a connection it is a client that only provides the context in which every command runs:
/// commands that come from elsewhere than a connection (the append only file, the cached master)
/// need such a one. It is in no list of clients.
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
        // Non-blocking, since one slow client must not hold up the others. No delay, since a reply
        // is written whole: Nagle's algorithm would only hold back its last packet. Keepalive, to
        // notice in the end that a peer is gone which cannot tell.
        // As in the C, an option that the socket refuses is no reason to turn the client away.
        let _ = connNonBlock(net, conn);
        let _ = connEnableTcpNoDelay(net, conn);
        if server.tcpkeepalive != 0 {
            let _ = connKeepAlive(net, conn, server.tcpkeepalive);
        }
        let _ = connSetReadHandler(net, conn, Some(readQueryFromClient));
        connSetPrivateData(net, conn, c.to_u64());
    }
    clientSetDefaultAuth(server, c);
    // Only a client with a connection is one that CLIENT LIST shows, `maxclients` counts and the
    // cron visits. The others come and go with what they are made for.
    if conn.is_some() {
        linkClient(server, c);
    }
    c
}

/// Queues the client among those that have something to write. A replica is queued only if it can
/// receive writes at this stage: one that waits for its RDB accumulates them in its output buffer.
///
/// In spite of its name it does not install the write handler yet. Before the loop sleeps,
/// `handleClientsWithPendingWrites` writes to all clients in the queue directly, which saves the
/// system calls for a handler. One is really installed only if the socket does not take all of the
/// reply.
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

/// The flags that may keep a reply from being sent; a client with none of them needs no further
/// look.
const NOT_EVERYTHING_IS_SENT: u64 =
    CLIENT_CLOSE_ASAP | CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP | CLIENT_MASTER | CLIENT_SLAVE;

/// Decides whether a client gets what is about to be added to its output buffer, and if so sees to
/// it that it will be written. To be called before anything is added.
///
/// `C_OK`: add it. The client is queued for writing, if it is not already, or if it is a replica
/// that is not online yet, the data accumulates. `C_ERR`: nothing may be added: the client is about
/// to be closed, wants no replies, is our master, or has no connection.
#[inline]
pub fn prepareClientToWrite(clients: &mut Clients, c: ClientId) -> CResult {
    let client = &clients[c];
    if client.flags & NOT_EVERYTHING_IS_SENT != 0 {
        if client.flags & CLIENT_CLOSE_ASAP != 0 {
            return C_ERR;
        }
        // CLIENT REPLY OFF and SKIP suppress replies, but not messages that are pushed
        // (CLIENT_PUSHING).
        if client.flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP) != 0
            && client.flags & CLIENT_PUSHING == 0
        {
            return C_ERR;
        }
        if client.flags & CLIENT_MASTER != 0 && client.flags & CLIENT_MASTER_FORCE_REPLY == 0 {
            return C_ERR;
        }
        // A reply to a replica comes behind what the stream has for it.
        take_stream(clients, c);
    }
    let client = &clients[c];
    if client.conn.is_none() {
        // What is queued for the client of scripts is taken from it after each command.
        return if client.flags & CLIENT_LUA != 0 { C_OK } else { C_ERR };
    }
    // If there is pending output already, the client is in the queue or has a write handler.
    if !clientHasPendingReplies(client) {
        clientInstallWriteHandler(clients, c);
    }
    C_OK
}

/// Copies what the stream has for a replica into its output buffer, where something that is no part
/// of the stream is to come behind it.
#[cold]
pub fn take_stream(clients: &mut Clients, c: ClientId) {
    let Some(pos) = clients[c].repl_pos.filter(|&pos| clients.repl.len_from(pos) > 0) else {
        return;
    };
    clients[c].repl_pos = Some(clients.repl.end());
    let missed = clients.repl.from(pos).collect::<Vec<_>>().concat();
    _addReplyProtoToList(clients, c, &missed);
}

/// Tells whether nothing more that is queued for a client will be sent: it is about to be closed,
/// or gets no replies. Loops whose number of rounds is an argument of a command stop then.
#[inline]
pub fn gets_no_replies(clients: &mut Clients, c: ClientId) -> bool {
    clients[c].flags & CLIENT_CLOSE_AFTER_REPLY != 0 || prepareClientToWrite(clients, c).is_err()
}

// -----------------------------------------------------------------------------
// Low level functions to add more data to output buffers
// -----------------------------------------------------------------------------

// ANCHOR: _addReplyToBuffer
/// Tries to add bytes to the client's fixed buffer. `C_ERR`: they do not fit, or there is something
/// in the reply list, and they have to go behind it.
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
// ANCHOR_END: _addReplyToBuffer

/// Adds bytes to the reply list: to its last block as far as that has room, and the rest to a new
/// block. A placeholder of `addReplyDeferredLen` at the end is not a block, and is not written to.
fn _addReplyProtoToList(clients: &mut Clients, c: ClientId, mut s: &[u8]) {
    let client = &mut clients[c];
    if client.flags & CLIENT_CLOSE_AFTER_REPLY != 0 {
        return;
    }
    // A block has at least 16 KB, so that many short replies share one, and one write.
    if let Some(ReplyNode::Block(tail)) = client.reply.back_mut() {
        let copy = s.len().min(tail.capacity() - tail.len());
        tail.extend_from_slice(&s[..copy]);
        s = &s[copy..];
    }
    if !s.is_empty() {
        let mut tail = new_reply_block(s.len().max(PROTO_REPLY_CHUNK_BYTES));
        tail.extend_from_slice(s);
        client.reply_bytes += tail.capacity();
        client.reply.push_back(ReplyNode::Block(tail));
        close_client_on_output_buffer_limit_reached_async(clients, c);
    }
}

/// Returns an empty block of the reply list with room for at least `size` bytes. Like the C's it
/// uses all of its allocation, of which the C's block has a header: so the end of a large reply
/// fits, and the output buffer limits count the same.
fn new_reply_block(size: usize) -> Vec<u8> {
    Vec::with_capacity(zmalloc_good_size(size + REPLY_BLOCK_HEADER) - REPLY_BLOCK_HEADER)
}

/// Adds bytes to the buffer, or else to the reply list. The caller has called
/// `prepareClientToWrite`.
#[inline]
fn add_reply_to_obuf(clients: &mut Clients, c: ClientId, s: &[u8]) {
    if _addReplyToBuffer(&mut clients[c], s).is_err() {
        _addReplyProtoToList(clients, c, s);
    }
}

// -----------------------------------------------------------------------------
// Higher level functions to queue data on the client output buffer
// -----------------------------------------------------------------------------

/// Queues one of the shared replies.
#[inline]
pub fn addReply(clients: &mut impl AsMut<Clients>, c: ClientId, obj: Shared) {
    let clients = clients.as_mut();
    let (client, pending_write) = clients.with_pending_write(c);
    let s = obj.bytes(client.resp);
    match ready_reply_buffer((client, pending_write), c, s.len()) {
        Some(queued) => append_piece(queued, s),
        None => add_first_reply(clients, c, s),
    }
}

/// Adds bytes that are in the form of the protocol already.
#[inline]
pub fn addReplyProto(clients: &mut impl AsMut<Clients>, c: ClientId, s: &[u8]) {
    add_reply_raw(clients.as_mut(), c, s);
}

/// Returns where `len` more bytes go if they all fit: the fixed buffer, or the last block of the
/// reply list once there is one. `None`: they do not fit, or nothing may be added any more.
#[inline(always)]
fn reply_buffer_room(client: &mut Client, len: usize) -> Option<&mut Vec<u8>> {
    if client.flags & CLIENT_CLOSE_AFTER_REPLY != 0 {
        return None;
    }
    match client.reply.back_mut() {
        None => (len <= PROTO_REPLY_CHUNK_BYTES - client.buf.len()).then_some(&mut client.buf),
        Some(ReplyNode::Block(tail)) => (len <= tail.capacity() - tail.len()).then_some(tail),
        Some(_) => None,
    }
}

/// Returns where `len` more bytes go if it is known without a further look that they may be added:
/// nothing stands against a reply, there is room for it in what is allocated, and the client is
/// queued for writing, or can be. Nearly all replies are such. `None`: `prepareClientToWrite` has to
/// decide.
#[inline(always)]
fn ready_reply_buffer<'a>(
    (client, pending_write): (&'a mut Client, &mut Vec<ClientId>),
    c: ClientId,
    len: usize,
) -> Option<&'a mut Vec<u8>> {
    if client.flags & NOT_EVERYTHING_IS_SENT != 0 || client.conn.is_none() {
        return None;
    }
    if !clientHasPendingReplies(client) && client.flags & CLIENT_PENDING_WRITE == 0 {
        // What `clientInstallWriteHandler` does for one that is no replica.
        if client.replstate != 0 || pending_write.len() == pending_write.capacity() {
            return None;
        }
        client.flags |= CLIENT_PENDING_WRITE;
        pending_write.push(c);
    }
    // Nothing grows here: so there is no call, and nothing has to be saved for one.
    reply_buffer_room(client, len).filter(|queued| len <= queued.capacity() - queued.len())
}

/// Queues bytes that are in the form of the protocol already.
#[inline]
fn add_reply_raw(clients: &mut Clients, c: ClientId, s: &[u8]) {
    match ready_reply_buffer(clients.with_pending_write(c), c, s.len()) {
        Some(queued) => append_piece(queued, s),
        None => add_first_reply(clients, c, s),
    }
}

/// Queues what `f` appends, in the form of the protocol, to the bytes that it is given: at most
/// `room` bytes. Most often these are the client's reply, so that nothing is copied once more.
pub fn add_reply_pieces<R>(
    clients: &mut impl AsMut<Clients>,
    c: ClientId,
    room: usize,
    f: impl FnOnce(&mut Vec<u8>) -> R,
) -> R {
    let clients = clients.as_mut();
    if let Some(queued) = ready_reply_buffer(clients.with_pending_write(c), c, room) {
        return f(queued);
    }
    add_gathered_pieces(clients, c, room, f)
}

/// Does what [`add_reply_pieces`] does where `ready_reply_buffer` doesn't know a place for so many
/// bytes.
#[inline(never)]
fn add_gathered_pieces<R>(
    clients: &mut Clients,
    c: ClientId,
    room: usize,
    f: impl FnOnce(&mut Vec<u8>) -> R,
) -> R {
    let mut gathered = Vec::with_capacity(room);
    let result = f(&mut gathered);
    add_reply_raw(clients, c, &gathered);
    result
}

/// Up to this length bytes are appended to a reply without a call.
const SHORT_PIECE: usize = 32;

/// Appends bytes for which there is room.
#[inline(always)]
fn append_piece(queued: &mut Vec<u8>, s: &[u8]) {
    if s.len() <= SHORT_PIECE { append_short(queued, s) } else { append_long_piece(queued, s) }
}

#[inline(never)]
fn append_long_piece(queued: &mut Vec<u8>, s: &[u8]) {
    queued.extend_from_slice(s);
}

/// Queues bytes where `ready_reply_buffer` doesn't know a place for them.
#[inline(never)]
fn add_first_reply(clients: &mut Clients, c: ClientId, s: &[u8]) {
    if prepareClientToWrite(clients, c).is_ok() {
        add_reply_to_obuf(clients, c, s);
    }
}

/// Calls `f` with `s`, in which each CR and LF is replaced by a space: an error or a status is one
/// line of the protocol, and a line end in it would make the rest look like the next reply.
///
/// C: does this only for texts made with a format. Here it is done for all, since what a text
/// quotes may come from anywhere.
fn with_newlines_replaced<R>(s: &[u8], f: impl FnOnce(&[u8]) -> R) -> R {
    if memchr2(b'\r', b'\n', s).is_none() {
        return f(s);
    }
    let mut clean = s.to_vec();
    for i in memchr2_iter(b'\r', b'\n', s) {
        clean[i] = b' ';
    }
    f(&clean)
}

/// Adds an error in the form of the protocol: `-CODE message` CRLF. If the text begins with `-` it
/// brings its code; otherwise it gets the generic one, `-ERR `. The text must not end with a line
/// end.
fn addReplyErrorLength(clients: &mut Clients, c: ClientId, s: &[u8]) {
    if s.first() != Some(&b'-') {
        add_reply_raw(clients, c, b"-ERR ");
    }
    add_reply_raw(clients, c, s);
    add_reply_raw(clients, c, b"\r\n");
}

/// Does what follows an error reply: counts it, in total and by its code. An error to our master,
/// to a replica, or while the append only file is loaded is logged, too, since it means that the
/// data sets may differ.
pub fn afterErrorReply(server: &mut Server, c: ClientId, s: &[u8]) {
    server.stat_total_error_replies += 1;
    // If the text begins with `-`, its code is what follows, up to the first blank, which is looked
    // for in 32 bytes.
    let code = match s.strip_prefix(b"-") {
        Some(_) => {
            let head = &s[..s.len().min(32)];
            memchr::memchr(b' ', head).map_or(&b"ERR"[..], |end| &s[1..end])
        }
        None => b"ERR",
    };
    incrementErrorCount(server, code);

    // It can be normal that a replica answers its master with an error, which is never sent, since
    // nothing is sent to a master. An example is a script on the master that first changes a key
    // and then fails: the change has to be propagated even though the script ends with an error.
    // But these are rare, and may hint at a fault in a script or in the server.
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
        if ctype == CLIENT_TYPE_MASTER && server.repl_backlog && server.repl_backlog_histlen > 0 {
            showLatestBacklog(server);
        }
        server.stat_unexpected_error_replies += 1;
        if ctype == CLIENT_TYPE_MASTER {
            note_error(server, s);
        }
    }
}

/// Queues one of the shared errors, and counts it.
pub fn addReplyErrorObject(server: &mut Server, c: ClientId, err: Shared) {
    addReply(server, c, err);
    let text = err.bytes(2);
    afterErrorReply(server, c, text.strip_suffix(b"\r\n").unwrap_or(text));
}

/// Queues an error, and counts it. `err` is the text, after its code if it begins with `-`, without
/// the end of the line.
pub fn addReplyError(server: &mut Server, c: ClientId, err: &[u8]) {
    with_newlines_replaced(err, |err| {
        addReplyErrorLength(&mut server.clients, c, err);
        afterErrorReply(server, c, err);
    });
}

/// Adds an error whose text was made with a format, as by `addReplyErrorFormat!`; line ends at both
/// ends of it are cut off.
pub fn add_reply_error_text(server: &mut Server, c: ClientId, text: &[u8]) {
    addReplyError(server, c, sdstrim(text, b"\r\n"));
}

/// `addReplyError` with a format: `addReplyErrorFormat!(server, c, "No such user '{}'", B(name))`.
#[macro_export]
macro_rules! addReplyErrorFormat {
    ($server:expr, $c:expr, $($arg:tt)*) => {{
        let text = $crate::bformat!($($arg)*);
        $crate::networking::add_reply_error_text($server, $c, &text)
    }};
}
pub use crate::addReplyErrorFormat;

fn addReplyStatusLength(clients: &mut Clients, c: ClientId, s: &[u8]) {
    with_newlines_replaced(s, |s| {
        add_reply_raw(clients, c, b"+");
        add_reply_raw(clients, c, s);
        add_reply_raw(clients, c, b"\r\n");
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

/// Frees the unused space at the end of the last block of the reply list, when something goes
/// behind it so that nothing can be added to it any more.
fn trimReplyUnusedTailSpace(client: &mut Client) {
    let Some(ReplyNode::Block(tail)) = client.reply.back_mut() else { return };
    // Only if more than a quarter is unused, since for less the allocator would mostly do nothing;
    // and only if little is used, since what is used may have to be moved.
    let old_size = tail.capacity();
    if old_size - tail.len() > old_size / 4 && tail.len() < PROTO_REPLY_CHUNK_BYTES {
        tail.shrink_to_fit();
        client.reply_bytes = client.reply_bytes + tail.capacity() - old_size;
    }
}

/// The place of a length that `addReplyDeferredLen` left open. `setDeferredArrayLen` or one of its
/// kind fills it in, once, before the command returns.
#[derive(Debug)]
#[must_use = "a reply with an open length cannot be sent"]
pub struct DeferredLen {
    /// The number of the placeholder, and where in the list it was made; nothing if the client gets
    /// no reply.
    place: Option<(u32, usize)>,
}

/// Adds a placeholder for the length of an aggregate whose number of elements is not known before
/// they have been added.
///
/// The client is queued for writing although its reply is not complete. That is safe, since the
/// length is filled in before control returns to the event loop.
pub fn addReplyDeferredLen(clients: &mut impl AsMut<Clients>, c: ClientId) -> DeferredLen {
    let clients = clients.as_mut();
    if prepareClientToWrite(clients, c).is_err() {
        return DeferredLen { place: None };
    }
    let client = &mut clients[c];
    trimReplyUnusedTailSpace(client);
    // A number rather than the place in the list identifies the placeholder, since blocks before it
    // may be sent and removed before it is filled in.
    client.reply_deferred = client.reply_deferred.wrapping_add(1);
    let number = client.reply_deferred;
    client.reply.push_back(ReplyNode::Deferred(number));
    DeferredLen { place: Some((number, client.reply.len() - 1)) }
}

/// Puts `s` in the place of a length that was left open.
///
/// The placeholder can become a block of its own. But often there is room for `s` at the end of the
/// block before it or at the start of the one behind it, and then the placeholder is removed, which
/// leaves one block less to send. The block behind must have the room already, and must not be
/// large, since its contents have to be moved.
fn setDeferredReply(clients: &mut Clients, c: ClientId, node: DeferredLen, mut s: &[u8]) {
    let Some((number, made_at)) = node.place else { return };
    let client = &mut clients[c];
    // Where it was made, or further to the front if nodes before it went since.
    let isIt =
        |node: Option<&ReplyNode>| matches!(node, Some(ReplyNode::Deferred(n)) if *n == number);
    let Some(at) = (0..=made_at).rev().find(|&i| isIt(client.reply.get(i))) else {
        // The list was emptied meanwhile. C: would use a dangling pointer.
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
        let mut block = new_reply_block(s.len());
        block.extend_from_slice(s);
        client.reply_bytes += block.capacity();
        client.reply[at] = ReplyNode::Block(block);
        close_client_on_output_buffer_limit_reached_async(clients, c);
    }
}

/// Converts a length of any integer type. Panics if it is negative or does not fit: a reply with
/// such a header would desynchronise the client.
#[track_caller]
fn reply_length<N: TryInto<i64>>(length: N) -> i64 {
    match length.try_into() {
        Ok(length) if length >= 0 => length,
        _ => panic!("the length of a reply is negative or too large"),
    }
}

/// The length of the longest header, in bytes.
const LONGEST_HEADER: usize = 1 + 20 + 2;

/// The header `prefix` `n` CRLF, on the stack.
struct Header {
    len: usize,
    buf: [u8; 24],
}

impl Header {
    #[inline(always)]
    fn new(prefix: u8, n: i64) -> Header {
        let mut buf = [0; 24];
        let Some((word, len)) = short_header(prefix, n as u64) else {
            let mut text = itoa::Buffer::new();
            let text = text.format(n).as_bytes();
            let len = 1 + text.len();
            buf[0] = prefix;
            buf[1..len].copy_from_slice(text);
            buf[len..len + 2].copy_from_slice(b"\r\n");
            return Header { len: len + 2, buf };
        };
        buf[..8].copy_from_slice(&word);
        Header { len, buf }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.buf[..self.len]
    }
}

/// The numbers below 100 with the end of their line, each as a word.
static SHORT_NUMBERS: [u32; 100] = {
    let mut words = [0; 100];
    let mut n = 0;
    while n < words.len() {
        let (tens, ones) = (b'0' + n as u8 / 10, b'0' + n as u8 % 10);
        words[n] = u32::from_le_bytes(match n {
            0..10 => [ones, b'\r', b'\n', 0],
            _ => [tens, ones, b'\r', b'\n'],
        });
        n += 1;
    }
    words
};

/// Returns the header of a number below 100, as nearly every number is, with its length. It is put
/// together in a register, and is stored as a whole: single bytes would have to reach the cache
/// before eight of them could be read.
#[inline(always)]
pub fn short_header(prefix: u8, n: u64) -> Option<([u8; 8], usize)> {
    let line = *SHORT_NUMBERS.get(usize::try_from(n).ok()?)?;
    let header = u64::from(prefix) | u64::from(line) << 8;
    Some((header.to_le_bytes(), if n < 10 { 4 } else { 5 }))
}

/// Returns the decimal digits of a number of at most eight, and how many they are.
#[inline(always)]
fn eight_digits(n: u64) -> Option<([u8; 8], usize)> {
    if n >= 100_000_000 {
        return None;
    }
    let ones = eight_places(n);
    // Zeros in front go, but for the last digit.
    let zeros = (ones | (1 << 56)).trailing_zeros() / 8;
    let digits = (ones | ASCII_ZEROS) >> (8 * zeros);
    Some((digits.to_le_bytes(), 8 - zeros as usize))
}

/// Returns the decimal digits of a number of at most sixteen, in two words of which each has up to
/// eight; there are none in the second if the first has all.
#[inline(always)]
pub fn sixteen_digits(n: u64) -> Option<[([u8; 8], usize); 2]> {
    if let Some(digits) = eight_digits(n) {
        return Some([digits, ([0; 8], 0)]);
    }
    let others = eight_places(n % 100_000_000) | ASCII_ZEROS;
    Some([eight_digits(n / 100_000_000)?, (others.to_le_bytes(), 8)])
}

/// Returns the values of the eight digits of a number below 100,000,000, one in each byte, the first
/// of them in the lowest.
#[inline(always)]
fn eight_places(n: u64) -> u64 {
    // Halves are divided side by side in one word: into two of four digits, four of two, eight of
    // one, of which the first is in the lowest byte.
    let fours = (n / 10_000) | ((n % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | ((fours - hundreds * 100) << 16);
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((twos - tens * 10) << 8)
}

/// Appends `p` as a bulk: its header, itself and CRLF.
#[inline(always)]
fn append_bulk(out: &mut Vec<u8>, p: &[u8]) {
    match short_header(b'$', p.len() as u64) {
        Some((header, len)) => append_framed(out, header, len, p),
        None => {
            let header = Header::new(b'$', p.len() as i64);
            out.reserve(header.len + p.len() + 2);
            out.extend_from_slice(header.bytes());
            out.extend_from_slice(p);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Appends a bulk to replies that are gathered, as `addReplyBulkCBuffer` would queue it.
#[inline]
pub fn append_reply_bulk(out: &mut Vec<u8>, p: &[u8]) {
    append_bulk(out, p);
}

/// Appends the first `len` of these bytes as a bulk, as `addReplyBulkCBuffer` would queue it.
/// `false`: they are a hundred or more, or there may be too little room; and nothing was done.
#[inline(always)]
pub fn append_small_bulk(room: &mut Spare, p: &[u8], len: usize) -> bool {
    match short_header(b'$', len as u64) {
        Some((header, header_len)) => room.framed(header, header_len, p, len),
        None => false,
    }
}

/// Appends an integer as a bulk, as `addReplyBulkLongLong` would queue it. `false`: there may be too
/// little room, and nothing was done.
#[inline(always)]
pub fn append_number_bulk(room: &mut Spare, n: i64) -> bool {
    let minus = u64::from(n < 0);
    if let Some([first, second]) = sixteen_digits(n.unsigned_abs())
        && let Some((header, len)) = short_header(b'$', minus + (first.1 + second.1) as u64)
    {
        // The header's word has room for the minus, too.
        let header = u64::from_le_bytes(header) | (u64::from(b'-') * minus) << (8 * len);
        let header = (header.to_le_bytes(), len + minus as usize);
        return room.line_of_words([header, first, second]);
    }
    let s = ll2string(n);
    append_small_bulk(room, &s, s.len())
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
    setDeferredAggregateLen(clients.as_mut(), c, node, reply_length(length), b'*');
}

/// Fills in the length of a map, in pairs.
#[track_caller]
pub fn setDeferredMapLen(
    clients: &mut impl AsMut<Clients>,
    c: ClientId,
    node: DeferredLen,
    length: impl TryInto<i64>,
) {
    let (clients, length) = (clients.as_mut(), reply_length(length));
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
    let (clients, length) = (clients.as_mut(), reply_length(length));
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
    setDeferredAggregateLen(clients, c, node, reply_length(length), b'|');
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
    setDeferredAggregateLen(clients, c, node, reply_length(length), b'>');
}

/// Adds a double in the form of `%.17g`: as a bulk in RESP2, as a double in RESP3.
pub fn addReplyDouble(clients: &mut impl AsMut<Clients>, c: ClientId, d: f64) {
    let clients = clients.as_mut();
    let text = format_17g(d);
    if clients[c].resp == 2 {
        add_reply_bulk_bytes(clients, c, &text);
    } else {
        add_reply_line(clients, c, b',', &text);
    }
}

/// Adds a line of the protocol: a byte for the type, and a text.
fn add_reply_line(clients: &mut Clients, c: ClientId, prefix: u8, text: &[u8]) {
    let mut line = Vec::with_capacity(text.len() + 3);
    line.push(prefix);
    line.extend_from_slice(text);
    line.extend_from_slice(b"\r\n");
    add_reply_raw(clients, c, &line);
}

/// Adds an integer of any size, given as text: as a bulk in RESP2, as a big number in RESP3.
pub fn addReplyBigNum(clients: &mut impl AsMut<Clients>, c: ClientId, num: &[u8]) {
    let clients = clients.as_mut();
    if clients[c].resp == 2 {
        add_reply_bulk_bytes(clients, c, num);
    } else {
        add_reply_line(clients, c, b'(', num);
    }
}

/// Adds a long double in the form that people write, without an exponent and without the noise
/// digits that a binary fraction has: as a bulk in RESP2, as a double in RESP3.
pub fn addReplyHumanLongDouble(clients: &mut impl AsMut<Clients>, c: ClientId, d: &LongDouble) {
    let clients = clients.as_mut();
    let text = ld2string(*d, ld2string_mode::LD_STR_HUMAN);
    if clients[c].resp == 2 {
        add_reply_bulk_bytes(clients, c, &text);
    } else {
        add_reply_line(clients, c, b',', &text);
    }
}

/// Queues `<prefix><number>`: an integer, or the length of what follows.
#[inline]
fn addReplyLongLongWithPrefix(clients: &mut Clients, c: ClientId, ll: i64, prefix: u8) {
    // A short header is written as a word, and so takes the room of one.
    if let Some((header, len)) = short_header(prefix, ll as u64)
        && let Some(queued) = ready_reply_buffer(clients.with_pending_write(c), c, header.len())
    {
        append_word(queued, header, len);
        return;
    }
    add_any_reply_number(clients, c, ll, prefix);
}

/// Does what `addReplyLongLongWithPrefix` does, for any number.
#[inline(never)]
fn add_any_reply_number(clients: &mut Clients, c: ClientId, ll: i64, prefix: u8) {
    if let Some((digits, len)) = eight_digits(ll as u64)
        && let Some(queued) = ready_reply_buffer(clients.with_pending_write(c), c, 1 + 8 + 2)
    {
        append_line(queued, prefix, digits, len);
    } else {
        add_reply_raw(clients, c, Header::new(prefix, ll).bytes());
    }
}

/// Queues an integer.
pub fn addReplyLongLong(clients: &mut impl AsMut<Clients>, c: ClientId, ll: i64) {
    addReplyLongLongWithPrefix(clients.as_mut(), c, ll, b':');
}

fn addReplyAggregateLen(clients: &mut Clients, c: ClientId, length: i64, prefix: u8) {
    addReplyLongLongWithPrefix(clients, c, length, prefix);
}

/// Queues the header of an array; its elements follow.
#[track_caller]
pub fn addReplyArrayLen(clients: &mut impl AsMut<Clients>, c: ClientId, length: impl TryInto<i64>) {
    addReplyAggregateLen(clients.as_mut(), c, reply_length(length), b'*');
}

/// Queues the header of a map; its keys and values follow in turn. `length` is in pairs.
#[track_caller]
pub fn addReplyMapLen(clients: &mut impl AsMut<Clients>, c: ClientId, length: impl TryInto<i64>) {
    let (clients, length) = (clients.as_mut(), reply_length(length));
    let (prefix, length) = if clients[c].resp == 2 { (b'*', length * 2) } else { (b'%', length) };
    addReplyAggregateLen(clients, c, length, prefix);
}

/// Queues the header of a set.
#[track_caller]
pub fn addReplySetLen(clients: &mut impl AsMut<Clients>, c: ClientId, length: impl TryInto<i64>) {
    let (clients, length) = (clients.as_mut(), reply_length(length));
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
    addReplyAggregateLen(clients, c, reply_length(length), b'|');
}

/// Queues the header of a push, which is no reply to anything; RESP3 only, and with
/// `CLIENT_PUSHING` set.
#[track_caller]
pub fn addReplyPushLen(clients: &mut impl AsMut<Clients>, c: ClientId, length: impl TryInto<i64>) {
    let clients = clients.as_mut();
    assert!(clients[c].resp >= 3 && clients[c].flags & CLIENT_PUSHING != 0);
    addReplyAggregateLen(clients, c, reply_length(length), b'>');
}

/// Adds the null reply.
pub fn addReplyNull(clients: &mut impl AsMut<Clients>, c: ClientId) {
    addReply(clients, c, shared::null);
}

/// Adds a boolean: 1 or 0 in RESP2.
pub fn addReplyBool(clients: &mut impl AsMut<Clients>, c: ClientId, b: bool) {
    let clients = clients.as_mut();
    if clients[c].resp == 2 {
        addReply(clients, c, if b { shared::cone } else { shared::czero });
    } else {
        add_reply_raw(clients, c, if b { b"#t\r\n" } else { b"#f\r\n" });
    }
}

/// Adds the null reply where an array was expected. RESP2 has a null array for this; RESP3 has only
/// one null.
pub fn addReplyNullArray(clients: &mut impl AsMut<Clients>, c: ClientId) {
    addReply(clients, c, shared::nullarray);
}

/// Queues the header of a bulk of `len` bytes.
#[track_caller]
pub fn addReplyBulkLen(clients: &mut impl AsMut<Clients>, c: ClientId, len: impl TryInto<i64>) {
    addReplyLongLongWithPrefix(clients.as_mut(), c, reply_length(len), b'$');
}

/// Queues a string of the keyspace as a bulk. Panics for a value of another type.
#[inline(always)]
pub fn addReplyBulk(clients: &mut impl AsMut<Clients>, c: ClientId, obj: ValueRef) {
    let clients = clients.as_mut();
    match obj {
        ValueRef::Str(s) => add_reply_bulk_bytes(clients, c, s),
        ValueRef::Int(n) => add_reply_bulk_bytes(clients, c, &ll2string(n)),
        ValueRef::Aggregate(_) => panic!("Wrong obj->encoding in addReply()"),
    }
}

/// Adds bytes as a bulk.
#[inline]
pub fn addReplyBulkCBuffer(clients: &mut impl AsMut<Clients>, c: ClientId, p: &[u8]) {
    add_reply_bulk_bytes(clients.as_mut(), c, p);
}

#[inline]
fn add_reply_bulk_bytes(clients: &mut Clients, c: ClientId, p: &[u8]) {
    // A short header is written as a word, and so takes the room of one.
    let room = size_of::<u64>() + p.len() + 2;
    if p.len() <= SHORT_PIECE
        && let Some((header, len)) = short_header(b'$', p.len() as u64)
        && let Some(queued) = ready_reply_buffer(clients.with_pending_write(c), c, room)
    {
        append_framed(queued, header, len, p);
        return;
    }
    add_any_reply_bulk(clients, c, p);
}

/// Does what `add_reply_bulk_bytes` does, for bytes of any length.
#[inline(never)]
fn add_any_reply_bulk(clients: &mut Clients, c: ClientId, p: &[u8]) {
    match ready_reply_buffer(clients.with_pending_write(c), c, LONGEST_HEADER + p.len() + 2) {
        Some(queued) => append_bulk(queued, p),
        None => add_first_reply_bulk(clients, c, p),
    }
}

/// Adds bytes as a bulk where `ready_reply_buffer` doesn't know a place for them.
#[inline(never)]
fn add_first_reply_bulk(clients: &mut Clients, c: ClientId, p: &[u8]) {
    if prepareClientToWrite(clients, c).is_err() {
        return;
    }
    match reply_buffer_room(&mut clients[c], LONGEST_HEADER + p.len() + 2) {
        Some(queued) => append_bulk(queued, p),
        None => {
            add_reply_to_obuf(clients, c, Header::new(b'$', p.len() as i64).bytes());
            // Adding a piece may bring the client over its output buffer limit; then the next one
            // is not added.
            add_reply_raw(clients, c, p);
            add_reply_raw(clients, c, b"\r\n");
        }
    }
}

/// Queues a text as a bulk.
pub fn addReplyBulkCString(clients: &mut impl AsMut<Clients>, c: ClientId, s: &[u8]) {
    add_reply_bulk_bytes(clients.as_mut(), c, s);
}

/// Queues an integer as a bulk.
pub fn addReplyBulkLongLong(clients: &mut impl AsMut<Clients>, c: ClientId, ll: i64) {
    add_reply_bulk_bytes(clients.as_mut(), c, &ll2string(ll));
}

/// Adds a verbatim string: a text with its format. `ext` has three letters, as an extension of a
/// file name would (`txt`, `mkd`); a shorter one is filled up with spaces. As a bulk in RESP2.
pub fn addReplyVerbatim(clients: &mut impl AsMut<Clients>, c: ClientId, s: &[u8], ext: &str) {
    let clients = clients.as_mut();
    if clients[c].resp == 2 {
        add_reply_bulk_bytes(clients, c, s);
        return;
    }
    let mut kind = *b"   :";
    for (to, from) in kind[..3].iter_mut().zip(ext.bytes()) {
        *to = from;
    }
    addReplyLongLongWithPrefix(clients, c, s.len() as i64 + 4, b'=');
    add_reply_raw(clients, c, &kind);
    add_reply_raw(clients, c, s);
    add_reply_raw(clients, c, b"\r\n");
}

/// Replies to a HELP subcommand: with a heading, the lines of `help`, and two lines about HELP
/// itself, each as a status.
pub fn addReplyHelp(clients: &mut impl AsMut<Clients>, c: ClientId, argv: &Args, help: &[&str]) {
    let clients = clients.as_mut();
    let cmd = c_str(&argv[0]).to_ascii_uppercase();
    let blenp = addReplyDeferredLen(clients, c);
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
    setDeferredArrayLen(clients, c, blenp, help.len() + 3);
}

/// Replies with an error to a subcommand that is not known or has the wrong number of arguments,
/// and names HELP.
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

/// Moves the output of `src` to the end of that of `dst`.
///
/// If `src` was to be closed for its output buffer limit, its output may be half a reply, which
/// must not be sent. So `dst` is closed as well. Its own limit might decide otherwise: it may have
/// been changed in between.
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
    close_client_on_output_buffer_limit_reached_async(clients, dst);
}

/// Makes the output of `dst` a copy of that of `src`; what `dst` had is freed. For a replica that
/// is attached to a BGSAVE in progress: it gets the writes that another one has accumulated since
/// the fork.
pub fn copyClientOutputBuffer(clients: &mut impl AsMut<Clients>, dst: ClientId, src: ClientId) {
    let clients = clients.as_mut();
    let from = &clients[src];
    let repl_pos = from.repl_pos;
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
    // The copies have the capacity of the originals, so both clients count the same towards the
    // output buffer limit of replicas.
    to.reply_bytes = reply.iter().map(reply_block_size).sum();
    to.reply = reply;
    // The writes themselves are not copied: both are sent them from the stream.
    to.repl_pos = repl_pos;
}

/// Returns the bytes that a node adds to `reply_bytes`.
fn reply_block_size(node: &ReplyNode) -> usize {
    match node {
        ReplyNode::Block(block) => block.capacity(),
        ReplyNode::Deferred(_) => 0,
    }
}

/// Tells whether the client has output that was not sent yet.
#[inline]
pub fn clientHasPendingReplies(client: &Client) -> bool {
    !client.buf.is_empty() || !client.reply.is_empty()
}

/// Tells whether the client has output that was not sent yet, be it its own, or, as a replica, a part
/// of the stream.
pub fn has_pending_output(clients: &Clients, c: ClientId) -> bool {
    let client = &clients[c];
    clientHasPendingReplies(client)
        || client.repl_pos.is_some_and(|pos| clients.repl.len_from(pos) > 0)
}

/// Completes the accept of a client when its connection is established. In protected mode it may
/// explain to the client why it is turned away, and close the connection.
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

    // In protected mode (the default), with no password set and no specific interface bound,
    // requests from other than loopback interfaces are not accepted. The user is told what to do
    // about it.
    // The socket is closed after a single write that nobody waits for. That is the reason why all
    // of the advice is one line: a client shows just the first line of an error.
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
            // If this can't be written there is no other way to tell the client.
            let _ = connWrite(&mut server.net, conn, err);
            server.stat_rejected_conn += 1;
            freeClientAsync(server, c);
            return;
        }
    }

    server.stat_numconnections += 1;
}

/// The number of connections that one call of an accept handler takes, so that the clients that are
/// connected get a turn.
const MAX_ACCEPTS_PER_CALL: i32 = 1000;

/// Creates the client of a new connection, over TCP or a unix socket. `flags` are added to those of
/// the client.
fn acceptCommonHandler(server: &mut Server, conn: ConnId, flags: u64) {
    // Limit the number of connections. This comes before the client is created and the connection
    // accepted, since a rejected one should cost as little as possible. Telling it why is best
    // effort.
    // The error goes out by a plain write, as there is no client whose output could hold it. If the
    // socket does not take it, the peer just sees the connection closed.
    if listLength(&server.clients.list) >= server.maxclients as usize {
        let _ = connWrite(&mut server.net, conn, b"-ERR max number of clients reached\r\n");
        server.stat_rejected_conn += 1;
        connClose(&mut server.net, conn);
        return;
    }

    // From here on the client exists, and `connAccept` may call its handler at once or some time
    // later. So nothing may follow that relies on the one or the other, nor on the client being
    // there still.
    let c = createClient(server, Some(conn));
    server[c].flags |= flags;

    if connAccept(server, conn, clientAcceptHandler).is_err() {
        // In another state there is no error of the socket to tell of.
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

/// Tells whether an error of accept(2) is about the one connection that it should have returned,
/// which is gone, and not about those that wait behind it.
fn accept_failure_needs_retry(errno: i32) -> bool {
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

/// Handles an error of accept(2), and tells whether to go on accepting.
///
/// C: 6.2.16 returns on every error, so that a client that is gone by the time it is accepted holds
/// up the others.
fn accept_failed(server: &mut Server, fd: RawFd, e: &AnetError) -> bool {
    if accept_failure_needs_retry(e.errno) {
        return true;
    }
    // Nobody waits any more: the reactor need not call again before the kernel reports the next
    // one.
    if e.errno == libc::EWOULDBLOCK {
        server.net.el.drained(fd, AE_READABLE);
    } else {
        serverLog!(LL_WARNING, "Accepting client connection: {}", e);
    }
    false
}

/// Accepts the connections that wait at a listening TCP socket: the reactor's handler for it.
pub fn acceptTcpHandler(server: &mut Server, fd: RawFd, _clientData: u64, _mask: i32) {
    for _ in 0..MAX_ACCEPTS_PER_CALL {
        match anetTcpAccept(fd) {
            Ok((cfd, cip, cport)) => {
                serverLog!(LL_VERBOSE, "Accepted {}:{}", B(&cip), cport);
                let conn = connCreateAcceptedSocket(&mut server.net, cfd);
                acceptCommonHandler(server, conn, 0);
            }
            Err(e) => {
                if !accept_failed(server, fd, &e) {
                    return;
                }
            }
        }
    }
}

/// Accepts the connections that wait at the listening unix socket: the reactor's handler for it.
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
                if !accept_failed(server, fd, &e) {
                    return;
                }
            }
        }
    }
}

/// Frees the arguments as the client sent them, which were kept because some of them were redacted.
pub fn freeClientOriginalArgv(server: &mut Server, c: ClientId) {
    server[c].original_argv = None;
}

/// Disconnects all replicas, so that they resync with us. In a chain of replicas this is needed
/// when we resync with our own master.
pub fn disconnectSlaves(server: &mut Server) {
    let mut li = listRewind(&server.slaves);
    while let Some(slave) = listNext(&server.slaves, &mut li) {
        freeClient(server, slave);
    }
}

/// Tells whether a replica other than `except_me` waits for the end of the BGSAVE in progress: if
/// not, that BGSAVE is of use only to `except_me`.
pub fn anyOtherSlaveWaitRdb(server: &Server, except_me: ClientId) -> bool {
    server
        .slaves
        .iter()
        .any(|&slave| slave != except_me && server[slave].replstate == SLAVE_STATE_WAIT_BGSAVE_END)
}

/// Closes the connection of a client and removes the client from the global lists in which it may
/// be referred to, except for those of Pub/Sub channels and of keys. Called by `freeClient` and
/// `replicationCacheMaster`.
pub fn unlinkClient(server: &mut Server, c: ClientId) {
    // This is how `processCommandAndResetClient`, further up the stack, learns that the client
    // whose command it executes is gone.
    if server.current_client == Some(c) {
        server.current_client = None;
    }

    // A client without a connection was unlinked already, or never linked: then there is nothing to
    // close.
    let client = &mut server.clients[c];
    if let Some(conn) = client.conn.take() {
        // If an RDB is being streamed to this replica, it is no longer one of those that get it.
        if client.flags & CLIENT_SLAVE != 0
            && client.replstate == SLAVE_STATE_WAIT_BGSAVE_END
            && let Some(i) = server.rdb_pipe_conns.iter().position(|&get| get == Some(conn))
        {
            rdbPipeWriteHandlerConnRemoved(server, conn);
            server.rdb_pipe_conns[i] = None;
        }
        let client = &mut server.clients[c];
        let id = client.id;
        if let Some(node) = client.client_list_node.take() {
            server.clients.index.remove(&id);
            listDelNode(&mut server.clients.list, node);
        }
        connClose(&mut server.net, conn);
    }

    // The queue of pending writes may still have the id. Without the flag it is ignored there.
    let client = &mut server.clients[c];
    client.flags &= !CLIENT_PENDING_WRITE;

    // If commands of this client are being executed, their query buffer is lent out, and will not
    // come back: there is no request in progress any more.
    client.input.querybuf_lent_len = 0;
    client.input.querybuf_lent_free = 0;
    client.input.qb_pos = 0;
    client.pending_pos = 0;
    client.input.read_ahead = 0;
    client.input.lookahead = None;

    // It was unblocked in this turn, and waits for `processUnblockedClients` to look at its buffer:
    // the list must not keep an id of a client that is gone.
    if client.flags & CLIENT_UNBLOCKED != 0 {
        client.flags &= !CLIENT_UNBLOCKED;
        let node = listSearchKey(&server.unblocked_clients, c)
            .expect("an unblocked client is in the list of them");
        listDelNode(&mut server.unblocked_clients, node);
    }

    if server[c].flags & CLIENT_TRACKING != 0 {
        disableTracking(server, c);
    }
}

/// Frees a client, whatever it is in the middle of.
///
/// In two cases it is not freed: a protected client is scheduled to be freed later, and the client
/// of our master is cached (`replicationCacheMaster`) so that a partial resync can go on from its
/// state. A caller that needs to know asks `server.clients.contains`.
pub fn freeClient(server: &mut Server, c: ClientId) {
    if server[c].flags & CLIENT_PROTECTED != 0 {
        freeClientAsync(server, c);
        return;
    }

    // If it was scheduled to be freed asynchronously, remove it from that queue. This has to be
    // done here: it may become the cached master below, and must not be freed as such.
    if server[c].flags & CLIENT_CLOSE_ASAP != 0 {
        log_output_buffer_limit_reached(server, c);
        let node = listSearchKey(&server.clients.clients_to_close, c)
            .expect("a client to close is in the list of them");
        listDelNode(&mut server.clients.clients_to_close, node);
    }

    // If it is our master, cache its state, to try a partial resync later. Not after a protocol
    // error, since the stream was desynchronised then, nor for a client that is blocked: its state
    // is not one from which to go on.
    if server.master.is_some() && server[c].flags & CLIENT_MASTER != 0 {
        serverLog!(LL_WARNING, "Connection with master lost.");
        trace_client_gone(server, c);
        if server[c].flags & (CLIENT_PROTOCOL_ERROR | CLIENT_BLOCKED) == 0 {
            // These are about the connection that broke. The cached client lives on, and must not
            // be closed as soon as it has a new one.
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
        note_gone(server, c);
        trace_client_gone(server, c);
    }

    // This has to come before it is unlinked: a key's list of waiting clients holds the client's
    // id, which must not outlive the client.
    if server[c].flags & CLIENT_BLOCKED != 0 {
        unblockClient(server, c);
    }
    unwatchAllKeys(server, c);
    pubsubUnsubscribeAllChannels(server, c, false);
    pubsubUnsubscribeAllPatterns(server, c, false);

    // Unlink it: this closes the socket, removes the handlers, and the client from all lists of
    // active clients.
    unlinkClient(server, c);

    // Case 1: it is a replica, or a monitor.
    if server[c].flags & CLIENT_SLAVE != 0 {
        // If it waited for the end of a BGSAVE and no other replica does, the child need not go on.
        // Killed, it uses no more memory, and a new child can be forked at once for the next full
        // resync or BGSAVE.
        //
        // Not if save points are configured: then the RDB is important to the user as a backup, and
        // the BGSAVE may have delayed one that was due.
        if server.saveparams.is_empty()
            && server[c].replstate == SLAVE_STATE_WAIT_BGSAVE_END
            && server.child_type == CHILD_TYPE_RDB
            && server.rdb_child_type == RDB_CHILD_TYPE_DISK
            && !anyOtherSlaveWaitRdb(server, c)
        {
            killRDBChild(server);
        }
        // The descriptor is the replica's own, so nobody else would close it.
        if server[c].replstate == SLAVE_STATE_SEND_BULK
            && let Some(repldbfd) = server[c].repldbfd.take()
        {
            crate::sys::socket::close(repldbfd);
        }
        // Monitors have the flag of replicas as well, since they, too, are fed by the server rather
        // than answered, but they have a list of their own.
        let l = if server[c].flags & CLIENT_MONITOR != 0 {
            &mut server.monitors
        } else {
            &mut server.slaves
        };
        let node = listSearchKey(l, c).expect("a replica is in the list of them");
        listDelNode(l, node);
        trim_stream(server);
        // Remember since when there are no replicas: after some time the backlog is freed.
        if getClientType(&server[c]) == CLIENT_TYPE_SLAVE && listLength(&server.slaves) == 0 {
            server.repl_no_slaves_since = server.steady_time;
        }
        refreshGoodSlavesCount(server);
    }

    // Case 2: it is our master, and was not cached.
    if server[c].flags & CLIENT_MASTER != 0 {
        replicationHandleMasterDisconnection(server);
    }

    // Take it out of the sums of memory that `clientsCron` keeps.
    let client = &server.clients[c];
    let sum = &mut server.stat_clients_type_memory[client.client_cron_last_memory_type];
    *sum = sum.saturating_sub(client.client_cron_last_memory_usage);

    // C frees the client's buffers one by one. Here they go with the client, and from this line on
    // every copy of `c` is stale: `server.clients.contains(c)` is false, and `server[c]` panics
    // with the place that asked.
    server.clients.remove(c);
}

/// Schedules a client to be freed at a safe time. For when a client has to be terminated where
/// `freeClient` can't be called, because it has to stay valid for the rest of the flow: a function
/// up the stack still works with it.
pub fn freeClientAsync(clients: &mut impl AsMut<Clients>, c: ClientId) {
    let clients = clients.as_mut();
    // Once is enough: the list would otherwise have the client twice, and free it twice.
    if clients[c].flags & (CLIENT_CLOSE_ASAP | CLIENT_LUA) != 0 {
        return;
    }
    clients[c].flags |= CLIENT_CLOSE_ASAP;
    listAddNodeTail(&mut clients.clients_to_close, c);
}

/// Frees the clients that are scheduled to be freed, except for protected ones. Returns how many
/// were freed.
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

/// Returns the client with this number (CLIENT ID). Clients without a connection have none by which
/// they can be found.
pub fn lookupClientByID(server: &Server, id: u64) -> Option<ClientId> {
    server.clients.index.get(&id).copied()
}

/// Writes the output of a client to its socket. With `handler_installed`, the write handler is
/// removed when all was sent.
///
/// `C_ERR`: the connection is broken, or this was the last that the client had to be sent; it is
/// scheduled to be freed.
///
/// C: a system call for each block. Here one takes several.
pub fn writeToClient(server: &mut Server, c: ClientId, handler_installed: bool) -> CResult {
    match write_at_once(server, c, handler_installed) {
        Ok(()) => C_OK,
        Err(result) => write_rest_to_client(server, c, handler_installed, result),
    }
}

/// Does what `writeToClient` does for a client that has nothing but a short reply, as most have,
/// if that goes out at once: then nothing is left to be sent, and there is no more to do than this.
/// `Err`: it does not, with the result of the write, if there was one.
#[inline(always)]
fn write_at_once(
    server: &mut Server,
    c: ClientId,
    handler_installed: bool,
) -> Result<(), Option<io::Result<usize>>> {
    server.stat_total_writes_processed += 1;
    let client = &mut server.clients[c];
    let Some(conn) = client.conn else { return Err(None) };

    const MORE_TO_DO: u64 = CLIENT_MASTER | CLIENT_SLAVE | CLIENT_CLOSE_AFTER_REPLY;
    if client.reply.is_empty()
        && client.repl_pos.is_none()
        && client.sentlen == 0
        && client.flags & MORE_TO_DO == 0
        && !handler_installed
        && !client.buf.is_empty()
    {
        let written = connWrite(&mut server.net, conn, &client.buf);
        if written.as_ref().is_ok_and(|&n| n == client.buf.len()) {
            server.stat_net_output_bytes += client.buf.len() as i64;
            client.lastinteraction = server.steady_time;
            client.buf.clear();
            return Ok(());
        }
        return Err(Some(written));
    }
    Err(None)
}

/// Does what `writeToClient` does for a client that has more to be sent than one reply, or gets
/// more than that. `first` is the result of a write of the client's buffer, if there was one.
#[inline(never)]
fn write_rest_to_client(
    server: &mut Server,
    c: ClientId,
    handler_installed: bool,
    mut first: Option<io::Result<usize>>,
) -> CResult {
    let Some(conn) = server.clients[c].conn else { return C_ERR };
    let mut totwritten = 0;
    let mut failed = false;
    loop {
        let client = &server.clients[c];
        let lacks_stream = client.repl_pos.filter(|&pos| server.clients.repl.len_from(pos) > 0);
        let result = if let Some(result) = first.take() {
            result
        } else if client.reply.is_empty() && lacks_stream.is_none() {
            if client.buf.is_empty() {
                break;
            }
            connWrite(&mut server.net, conn, &client.buf[client.sentlen..])
        } else {
            let mut iov = [IoSlice::new(&[]); 32];
            let (mut count, mut len) = (0, 0);
            // `sentlen` bytes at the front of the first part were sent before.
            let mut skip = client.sentlen;
            // A placeholder ends what can be sent: what is behind it belongs to an aggregate whose
            // length is not known yet. It is seen here only if the output is flushed in the middle
            // of a command.
            let blocks = client.reply.iter().map_while(|node| match node {
                ReplyNode::Block(block) => Some(block),
                ReplyNode::Deferred(_) => None,
            });
            let own = std::iter::once(&client.buf).chain(blocks).map(Vec::as_slice);
            let whole = !client.reply.iter().any(|node| matches!(node, ReplyNode::Deferred(_)));
            let stream = lacks_stream.filter(|_| whole).map(|pos| server.clients.repl.from(pos));
            let parts = own.chain(stream.into_iter().flatten());
            for part in parts.filter(|part| !part.is_empty()) {
                let part = &part[take(&mut skip)..];
                iov[count] = IoSlice::new(part);
                count += 1;
                len += part.len();
                // More than this call may send need not be gathered.
                if count == iov.len() || len > NET_MAX_WRITES_PER_EVENT {
                    break;
                }
            }
            if count == 0 {
                break;
            }
            conn_writev(&mut server.net, conn, &iov[..count], len)
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
        let client = &mut server.clients[c];
        let of_stream = drop_sent_reply(client, nwritten);
        if let Some(pos) = &mut client.repl_pos {
            *pos += of_stream as i64;
        }

        // Do not send more than NET_MAX_WRITES_PER_EVENT at a time: a single thread has other
        // clients to serve, even if this one has a large reply and a link that takes it as fast as
        // it comes (KEYS * over loopback, say).
        //
        // Except if we are over maxmemory: then it is best to deliver as much as possible. And
        // except for replicas and monitors, whose output would grow without end while there is a
        // lot of traffic.
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
    // Sending to our master does not count as an interaction: the ACKs fill the send buffer of the
    // socket for a while even if the link is dead. A timeout is detected by what is received alone.
    let steady_time = server.steady_time;
    let client = &mut server.clients[c];
    if totwritten > 0 && client.flags & CLIENT_MASTER == 0 {
        client.lastinteraction = steady_time;
    }
    let flags = client.flags;
    // It has to be queued again when the stream goes on.
    server.clients.repl.queued &= flags & CLIENT_SLAVE == 0;
    if !has_pending_output(&server.clients, c) {
        server.clients[c].sentlen = 0;
        if handler_installed {
            let _ = connSetWriteHandler(&mut server.net, conn, None);
        }
        // The last reply is out (of QUIT, or an error of the protocol): now the connection can be
        // closed.
        if flags & CLIENT_CLOSE_AFTER_REPLY != 0 {
            freeClientAsync(server, c);
            return C_ERR;
        }
    }
    C_OK
}

/// Removes `nwritten` bytes from the front of a client's own output, and the blocks that are empty
/// then. Returns how many bytes are left over: those of the stream.
fn drop_sent_reply(client: &mut Client, mut nwritten: usize) -> usize {
    if !client.buf.is_empty() {
        let left = client.buf.len() - client.sentlen;
        if nwritten < left {
            client.sentlen += nwritten;
            return 0;
        }
        nwritten -= left;
        client.buf.clear();
        client.sentlen = 0;
    }
    // A block that was sent whole is freed at once, so that a client which reads slowly but
    // steadily holds no more memory than what it has not read.
    while let Some(ReplyNode::Block(block)) = client.reply.front() {
        let left = block.len() - client.sentlen;
        if nwritten < left {
            client.sentlen += nwritten;
            return 0;
        }
        nwritten -= left;
        client.reply_bytes -= block.capacity();
        client.sentlen = 0;
        client.reply.pop_front();
    }
    debug_assert!(!client.reply.is_empty() || client.reply_bytes == 0);
    nwritten
}

/// Writes to a client whose socket can be written to again: its write handler.
pub fn sendReplyToClient(server: &mut Server, conn: ConnId) {
    let c = ClientId::from_u64(connGetPrivateData(&server.net, conn));
    let _ = writeToClient(server, c, true);
}

/// Writes to all clients that have pending output, just before the event loop is entered, in the
/// hope that no write handler is needed: installing one, being called by it and removing it would
/// cost system calls. It is installed only for a client whose output did not all fit. Returns the
/// number of clients in the queue.
pub fn handleClientsWithPendingWrites(server: &mut Server) -> usize {
    let mut pending = take(&mut server.clients.clients_pending_write);
    server.clients.repl.queued = false;
    let processed = pending.len();
    // A few dozen clients are in the cache still.
    let many = processed > 64;
    // The C keeps the list newest first.
    for (i, &c) in pending.iter().enumerate().rev() {
        // While the kernel sends this reply, the client that is the next but one comes from memory.
        if many
            && let Some(&c) = pending.get(i.wrapping_sub(2))
            && let Some(client) = server.clients.get(c)
        {
            client.prefetch();
        }
        let Some(client) = server.clients.get_mut(c) else { continue };
        let flags = client.flags;
        if flags & CLIENT_PENDING_WRITE == 0 {
            continue;
        }
        client.flags &= !CLIENT_PENDING_WRITE;

        // A protected client must have no handlers, and must not be freed, to which a write could
        // lead.
        if flags & CLIENT_PROTECTED != 0 {
            continue;
        }
        // Its end is decided, and what is left of its output may be half a reply.
        if flags & CLIENT_CLOSE_ASAP != 0 {
            continue;
        }
        // What `writeToClient` does. Mostly nothing is left.
        let Err(result) = write_at_once(server, c, false) else { continue };
        if write_rest_to_client(server, c, false, result).is_err() {
            continue;
        }
        if has_pending_output(&server.clients, c)
            && let Some(conn) = server[c].conn
        {
            // With `appendfsync always`, a descriptor must not be served for reading and writing in
            // the same turn: the reply to what is read has to wait for `beforeSleep`, which does
            // the fsync. The barrier ensures that.
            let barrier = server.aof_state == AOF_ON && server.aof_fsync == AOF_FSYNC_ALWAYS;
            let handler = Some(sendReplyToClient as ConnectionCallbackFunc);
            if connSetWriteHandlerWithBarrier(&mut server.net, conn, handler, barrier).is_err() {
                freeClientAsync(server, c);
            }
        }
    }
    // What was queued meanwhile stays queued; the vector is kept, so that the next turn allocates
    // nothing.
    pending.clear();
    let new = &mut server.clients.clients_pending_write;
    pending.append(new);
    *new = pending;
    processed
}

/// Resets the client after a command, so that it is ready for the next one.
pub fn resetClient(server: &mut Server, c: ClientId) {
    reset_for_next_command(&mut server.clients[c], server.commands.clientCommand);
}

#[inline(always)]
pub(crate) fn reset_for_next_command(client: &mut Client, client_command: CommandId) {
    const ABOUT_COMMANDS: u64 =
        CLIENT_TRACKING_CACHING | CLIENT_REPLY_SKIP | CLIENT_REPLY_SKIP_NEXT;
    if client.flags & ABOUT_COMMANDS != 0 {
        reset_flags_about_commands(client, client_command);
    }
    if client.argv.is_some() {
        client.argv = None;
    }
    client.cmd = None;
    client.argv_len_sum = 0;
    client.reqtype = 0;
    client.multibulklen = 0;
    client.bulklen = -1;
}

/// Resets the flags that are about the command that follows.
#[cold]
fn reset_flags_about_commands(client: &mut Client, client_command: CommandId) {
    // CLIENT CACHING is about the command or transaction that follows it.
    if client.flags & (CLIENT_TRACKING_CACHING | CLIENT_MULTI) == CLIENT_TRACKING_CACHING
        && client.cmd != Some(client_command)
    {
        client.flags &= !CLIENT_TRACKING_CACHING;
    }

    // CLIENT REPLY SKIP is about the command that follows it. So the flag is removed after each
    // command, and set if the command just executed was CLIENT REPLY SKIP itself.
    client.flags &= !CLIENT_REPLY_SKIP;
    if client.flags & CLIENT_REPLY_SKIP_NEXT != 0 {
        client.flags |= CLIENT_REPLY_SKIP;
        client.flags &= !CLIENT_REPLY_SKIP_NEXT;
    }
}

/// Protects a client from being freed while the event loop is entered again from within its
/// command, as DEBUG RELOAD does (and in the C a script that takes too long):
///
/// 1. Its file events are removed, so that no error of its socket can be noticed, which would free
///    it.
/// 2. If it is freed for another reason, it is only scheduled for later.
pub fn protectClient(server: &mut Server, c: ClientId) {
    server[c].flags |= CLIENT_PROTECTED;
    if let Some(conn) = server[c].conn {
        let _ = connSetReadHandler(&mut server.net, conn, None);
        let _ = connSetWriteHandler(&mut server.net, conn, None);
    }
}

/// Ends the protection by `protectClient`: the handlers are installed again.
pub fn unprotectClient(server: &mut Server, c: ClientId) {
    if server[c].flags & CLIENT_PROTECTED == 0 {
        return;
    }
    server[c].flags &= !CLIENT_PROTECTED;
    if let Some(conn) = server[c].conn {
        let _ = connSetReadHandler(&mut server.net, conn, Some(readQueryFromClient));
        if has_pending_output(&server.clients, c) {
            clientInstallWriteHandler(server, c);
        }
    }
}

// -----------------------------------------------------------------------------
// Input
// -----------------------------------------------------------------------------

/// Returns the position of the first `byte` in `s`, if no NUL comes before it: the C searches with
/// strchr.
fn find_in_line(s: &[u8], byte: u8) -> Option<usize> {
    memchr2(byte, 0, s).filter(|&i| s[i] == byte)
}

/// Parses an inline command, words on a line, at the client's position in `qb`. An empty line has
/// no arguments.
///
/// `Err`: the line is not complete yet, or there is a protocol error: then the client was sent it,
/// and will be closed.
fn processInlineBuffer(server: &mut Server, c: ClientId, qb: &[u8]) -> Result<Argv, ()> {
    let pos = server[c].input.qb_pos;
    let rest = &qb[pos..];

    // Without a limit a peer that never sends a line end would make the buffer grow for ever.
    let Some(newline) = find_in_line(rest, b'\n') else {
        if rest.len() > PROTO_INLINE_MAX_SIZE {
            addReplyError(server, c, b"Protocol error: too big inline request");
            setProtocolError(server, c, "too big inline request", rest);
        }
        return Err(());
    };
    let line = &rest[..newline];
    // Both line ends are accepted: a person with a terminal sends a bare newline.
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Some(argv) = sdssplitargs(line) else {
        addReplyError(server, c, b"Protocol error: unbalanced quotes in request");
        setProtocolError(server, c, "unbalanced quotes in inline request", rest);
        return Err(());
    };

    // A newline of a replica counts as an ACK. It sends them to keep the link alive while it loads
    // a large RDB.
    let steady_time = server.steady_time;
    if line.is_empty() && getClientType(&server[c]) == CLIENT_TYPE_SLAVE {
        server[c].repl_ack_time = steady_time;
    }

    // A master, too, may send a newline to keep the link alive, but never an inline command. If
    // there seems to be one, the stream is most likely desynchronised, by a PSYNC that went wrong,
    // for example.
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

/// The number of bytes of the query buffer that the log shows after a protocol error.
const PROTO_DUMP_LEN: usize = 128;

/// Handles a protocol error: logs it with a sample of what could not be parsed, and marks the
/// client to be closed after its replies are sent.
fn setProtocolError(server: &mut Server, c: ClientId, errstr: &str, unparsed: &[u8]) {
    let master = server[c].flags & CLIENT_MASTER != 0;
    if get_log_level() <= LL_VERBOSE || master {
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
        // The sample is bytes of a peer. None of them may look like a line of the log, or reach the
        // terminal of who reads it.
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
    // C: a master gets no reply, after which it could be closed; its bytes collect until the query
    // buffer is full.
    if master {
        close_master_link(server, c);
    }
}

/// Parses a command in the multibulk form at the client's position in `qb`, or goes on with one of
/// which a part was parsed before. `args` are its arguments so far.
///
/// `C_OK`: the command is complete, and ends at `qb_parsed`; it may have no arguments. `C_ERR`:
/// there is more to be read, or there is a protocol error: then the client was sent it, and will be
/// closed.
///
/// C: moves a large argument to the start of the buffer, so that the buffer can become the value
/// without a copy. Here the arguments stay where they are, and are only noted.
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
        // The \n behind it has to be there, too.
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
        // A stranger must not make us hold a million arguments of half a gigabyte each, of a
        // command that will be refused anyway.
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
            // A master has accepted the argument under its own limit. To refuse it here would break
            // the link each time it comes.
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

/// Returns how many bytes of the query buffer were not parsed yet: those that the C would have in
/// its buffer.
fn querybuf_len(client: &Client) -> usize {
    let parsed = if client.multibulklen > 0 && client.input.querybuf_lent_len == 0 {
        client.input.qb_parsed
    } else {
        0
    };
    (client.querybuf.len() + client.input.querybuf_lent_len).saturating_sub(parsed)
}

/// Does what has to be done after a command was executed:
///
/// 1. The client is reset, unless there is a reason not to.
/// 2. For our master's client, the replication offset is updated.
/// 3. Also for our master's client, what was applied is propagated to our own replicas.
pub fn commandProcessed(server: &mut Server, c: ClientId) {
    // A client that is blocked (or paused) is not reset here but in `unblockClient`: its command is
    // not over, and what serves it needs the arguments. And nothing is counted or propagated, since
    // nothing was applied.
    let client = &mut server.clients[c];
    if client.flags & CLIENT_BLOCKED != 0 {
        return;
    }
    reset_for_next_command(client, server.commands.clientCommand);
    if client.flags & CLIENT_MASTER == 0 {
        return;
    }

    // For our master, compute how much of the stream was applied by this command: the difference
    // between the offsets before and after it. That part of the stream goes to our replicas and to
    // the backlog, as it was received.
    //
    // Within a transaction nothing is applied before EXEC.
    let prev_offset = client.reploff;
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

/// Executes a command of the client, as the current client, and then does what `commandProcessed`
/// does.
///
/// `C_ERR`: the client was freed as a side effect of the command (or cached, if it is our master),
/// and must not be touched any more. A command may do that to its own client, and so may an
/// eviction that flushes the output of replicas.
pub fn processCommandAndResetClient(server: &mut Server, c: ClientId, argv: &Args) -> CResult {
    let old_client = server.current_client.replace(c);
    if let Some((address, len, guess)) = argv.hashed_key() {
        server.key_hash_hint.set(address, len, guess);
    }
    let processed = processCommand(server, c, argv);
    if processed == Ok(true) {
        // Nothing is left to be done; and the client is there, or it could not have been reset.
        server.current_client = old_client;
        return C_OK;
    }
    end_command(server, c, argv, processed.map(|_| ()), old_client)
}

/// Does what `processCommandAndResetClient` does behind a command, where that is more than usual.
#[inline(never)]
fn end_command(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    mut processed: CResult,
    old_client: Option<ClientId>,
) -> CResult {
    // C: an error that a command of the master has caused is logged, and that is all.
    if server.repl_stream_error.is_some() && processed.is_ok() {
        processed = after_command(server, c, argv);
    }
    if processed.is_ok() && server.current_client.is_some() {
        let client = &mut server.clients[c];
        if client.flags & (CLIENT_BLOCKED | CLIENT_MASTER) == 0 {
            // What `commandProcessed` does for a client that neither waits nor is our master.
            reset_for_next_command(client, server.commands.clientCommand);
        } else {
            if client.flags & CLIENT_BLOCKED != 0 && client.argv.is_none() {
                // The client waits, but the query buffer that the arguments borrow will be given
                // back. They are copied: a paused command is executed later, and a command that
                // blocks is needed for the slow log.
                client.argv = Some(argv.to_argv());
            }
            commandProcessed(server, c);
        }
    }
    // `unlinkClient` clears the current client if it is the one. The former one is put back: the
    // event loop may have been entered from within its command, which would otherwise take itself
    // for dead.
    let deadclient = server.current_client.is_none();
    server.current_client = old_client;
    if deadclient { C_ERR } else { C_OK }
}

/// Executes the command that a client had parsed when it was paused. `C_ERR`: the client was freed.
pub fn processPendingCommandsAndResetClient(server: &mut Server, c: ClientId) -> CResult {
    if server[c].flags & CLIENT_PENDING_COMMAND == 0 {
        return C_OK;
    }
    server[c].flags &= !CLIENT_PENDING_COMMAND;
    let argv = server[c].argv.take().expect("a pending command has its arguments");
    processCommandAndResetClient(server, c, &argv.as_args())
}

/// Executes the commands in the client's query buffer. Called whenever there is more in it to
/// process, because something was read, or because the client was blocked and is reactivated, and
/// may have whole commands waiting in the buffer. The client may be gone afterwards.
#[inline(always)]
pub fn processInputBuffer(server: &mut Server, c: ClientId) {
    process_input_with(server, c, processCommandAndResetClient);
}

/// Runs the loop of `processInputBuffer`. `execute` is what it does with a command, which unit
/// tests replace; `C_ERR` from it: the client is gone.
#[inline(always)]
fn process_input_with(
    server: &mut Server,
    c: ClientId,
    mut execute: impl FnMut(&mut Server, ClientId, &Args) -> CResult,
) {
    let Some((qb, mut lookahead)) = lend_querybuf(server, c) else { return };

    // Keep processing while there is something in the input buffer.
    loop {
        // CLIENT_BLOCKED: the client waits (BLPOP, a pause), and what it sent behind the command
        // that waits is to be executed after it.
        //
        // CLIENT_PENDING_COMMAND: a whole command of it is in `argv` already, and has not been
        // executed. It comes first.
        //
        // CLIENT_CLOSE_AFTER_REPLY: the connection is closed once the replies queued so far are
        // sent, and no more may be added to them. With CLIENT_CLOSE_ASAP nobody will read another
        // reply.
        //
        // CLIENT_MASTER: a script is slow, and its commands are not to mix with the master's. It
        // goes on when the script has ended.
        //
        // C: DEBUG RELOAD and DEBUG LOADAOF of a replica answer what the master sends meanwhile
        // with -LOADING, and it is lost. Here it waits for the end of the load as well.
        let flags = server.clients[c].flags;
        if flags & (CLIENT_STOPS_INPUT | CLIENT_MASTER) != 0
            && (flags & CLIENT_STOPS_INPUT != 0 || server.lua_timedout || server.loading)
        {
            break;
        }

        // C: commands are parsed one by one. Here plain and whole ones have been found ahead, and
        // only what is left goes to the C's parsers: inline commands, errors, and a command of
        // which a part is still to come.
        let inline;
        let (argv, end) = if let Some(next) = lookahead.next(server, c, &qb) {
            next
        } else {
            let pos = server.clients[c].input.qb_pos;
            if pos >= qb.len() {
                break;
            }
            if lookahead.search(server, c, &qb) {
                continue;
            }
            // Determine the request's type when it is unknown.
            let client = &mut server.clients[c];
            if client.reqtype == 0 {
                client.reqtype =
                    if qb[pos] == b'*' { PROTO_REQ_MULTIBULK } else { PROTO_REQ_INLINE };
            }

            let argv = if client.reqtype == PROTO_REQ_INLINE {
                match processInlineBuffer(server, c, &qb) {
                    Ok(argv) => inline = argv,
                    Err(()) => break, // The line is not complete, or it was an error and the client will be closed.
                }
                // C: a newline of a replica or a master, which keeps the link alive, is one as well.
                if server.gopher_enabled
                    && matches!(inline.as_args().iter().next(), None | Some([b'/', ..]))
                    && inline.as_args().len() <= 1
                    && server[c].flags & (CLIENT_MASTER | CLIENT_SLAVE) == 0
                {
                    let input = &mut server.clients[c].input;
                    input.qb_pos = input.qb_parsed;
                    processGopherRequest(server, c, &inline.as_args());
                    resetClient(server, c);
                    server[c].flags |= CLIENT_CLOSE_AFTER_REPLY;
                    break;
                }
                inline.as_args()
            } else {
                let args = lookahead.parsing_mut();
                if processMultibulkBuffer(server, c, &qb, args).is_err() {
                    break; // Not complete: to be continued with the next read, or it was an error.
                }
                let input = &server.clients[c].input;
                Args::new(&qb, args, input.qb_canonical.then_some((pos, input.qb_parsed)))
            };
            let input = &mut server.clients[c].input;
            input.qb_pos = input.qb_parsed;
            // A multibulk may have no arguments, or a negative number of them; an empty line has
            // none either.
            if argv.len() == 0 {
                resetClient(server, c);
                continue;
            }
            (argv, server.clients[c].input.qb_pos)
        };

        if execute(server, c, &argv).is_err() {
            // There is no client any more whose buffer could be trimmed and given back.
            server.key_hash_hint.forget();
            lookahead.end(server);
            free_querybuf(server, qb);
            return;
        }
        // Mostly that was all there is.
        if end >= qb.len() {
            break;
        }
    }

    // From here on there may be other bytes where the key was.
    server.key_hash_hint.forget();
    return_querybuf(server, c, qb, lookahead);
}

/// Takes the query buffer out of the client, since the arguments of its commands will borrow it,
/// and begins a look-ahead. `None`: it is empty.
#[inline(always)]
fn lend_querybuf(server: &mut Server, c: ClientId) -> Option<(Vec<u8>, Box<Lookahead>)> {
    let auth_required = authRequired(server, c);
    let client = &mut server.clients[c];
    if client.querybuf.is_empty() {
        return None;
    }
    let qb = take(&mut client.querybuf);
    client.input.querybuf_lent_len = qb.len();
    client.input.querybuf_lent_free = qb.capacity() - qb.len();
    client.auth_required = auth_required;
    Some((qb, Lookahead::begin(client, &mut server.input_scratch)))
}

/// Gives the client the query buffer back that `lend_querybuf` took, trimmed to what
/// was not executed. With nothing left, the client goes without a buffer until its next read.
#[inline(always)]
fn return_querybuf(
    server: &mut Server,
    c: ClientId,
    mut qb: Vec<u8>,
    mut lookahead: Box<Lookahead>,
) {
    let client = &mut server.clients[c];
    let pos = take(&mut client.input.qb_pos);
    client.input.querybuf_lent_len = 0;
    client.input.querybuf_lent_free = 0;
    if client.multibulklen > 0 {
        // Its arguments so far move with the bytes.
        client.input.qb_parsed -= pos;
        let args = lookahead.parsing_mut();
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
    // Mostly nothing is left: clients wait for replies. A rest that is small in its buffer is
    // copied out, so that the buffer can serve others; a large one stays where it is.
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

/// Drops the contents of a query buffer, and keeps the buffer itself to lend it to other clients.
fn free_querybuf(server: &mut Server, mut qb: Vec<u8>) {
    qb.clear();
    release_read_buffer(server, qb);
}

/// Returns an empty buffer to read into: one that was used before, if there is one.
pub(crate) fn lend_read_buffer(server: &mut Server) -> Vec<u8> {
    server.input_scratch.read_bufs.pop().unwrap_or_else(|| Vec::with_capacity(PROTO_IOBUF_LEN))
}

/// Takes back an empty buffer, to be lent again. It is freed if it is large, or if there are enough
/// already.
pub(crate) fn release_read_buffer(server: &mut Server, buf: Vec<u8>) {
    if buf.is_empty()
        && (PROTO_IOBUF_LEN..=4 * PROTO_IOBUF_LEN).contains(&buf.capacity())
        && server.input_scratch.read_bufs.len() < READ_AHEAD
    {
        server.input_scratch.read_bufs.push(buf);
    }
}

/// Reads what a client has sent into its query buffer: up to 16 KB, or more of a large argument.
/// Returns how many bytes. `None`: there was nothing to read (EAGAIN), or the connection is closed
/// and the client will be freed.
#[inline(never)]
fn read_into_querybuf(server: &mut Server, c: ClientId, conn: ConnId) -> Option<usize> {
    server.stat_total_reads_processed += 1;

    let mut querybuf = take(&mut server[c].querybuf);
    if querybuf.capacity() < PROTO_IOBUF_LEN {
        // The client has no buffer, or a small one with the first bytes of a command.
        let mut lent = lend_read_buffer(server);
        lent.extend_from_slice(&querybuf);
        querybuf = lent;
    }
    let client = &mut server.clients[c];
    client.querybuf_peak = client.querybuf_peak.max(querybuf.len());

    // Within a large argument, read just the rest of it, into a buffer of the size that it will
    // need. This may take more reads, but the buffer is not grown again and again, and nothing of
    // the next command has to be moved afterwards.
    let mut readlen = PROTO_IOBUF_LEN;
    if client.multibulklen > 0 && client.bulklen >= PROTO_MBULK_BIG_ARG as i64 {
        let needed = client.input.qb_parsed + client.bulklen as usize + 2;
        let remaining = needed.saturating_sub(querybuf.len());
        // There may be nothing left to read of it, after the client was paused.
        if remaining > 0 {
            readlen = remaining.min(MAX_BIG_READ);
            if querybuf.capacity() < needed {
                // The client may never send what it has announced. If there is not enough memory,
                // that will show when the bytes come.
                let _ = fallibly(|| querybuf.try_reserve_exact(remaining));
            }
        }
    }

    let result = match connGetState(&server.net, conn) {
        // A read ahead of this turn has found the connection broken.
        CONN_STATE_ERROR => Err(io::ErrorKind::Other.into()),
        _ => conn_read_append(&mut server.net, conn, &mut querybuf, readlen),
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

/// Reads what a client has sent and executes the commands in it: the read handler of a client.
pub fn readQueryFromClient(server: &mut Server, conn: ConnId) {
    let c = ClientId::from_u64(connGetPrivateData(&server.net, conn));
    let mut client = &mut server.clients[c];
    // The event loop was entered again from within a command of this very client. What it has sent
    // since has to wait.
    if client.input.querybuf_lent_len != 0 {
        return;
    }

    let mut nread = take(&mut client.input.read_ahead);
    if nread == 0 {
        let Some(n) = read_into_querybuf(server, c, conn) else { return };
        read_ready_clients(server, c);
        nread = n;
        client = &mut server.clients[c];
    }
    if client.input.lookahead.is_none() && server.input_scratch.others_wait() {
        look_ahead_of_clients(server, c);
        client = &mut server.clients[c];
    }

    client.lastinteraction = server.steady_time;
    server.stat_net_input_bytes += nread as i64;
    let is_master = client.flags & CLIENT_MASTER != 0;
    if is_master {
        // Append what was read to the buffer of what is not applied yet: when a command of the
        // master is executed, the string that it came as is propagated to our own replicas.
        client.read_reploff += nread as i64;
        let new = &client.querybuf[client.querybuf.len() - nread..];
        client.pending_querybuf.extend_from_slice(new);
    }
    // C: arguments of a partial command that are complete don't count. Here they are in the buffer,
    // and count, but for a master, whose commands must not be refused.
    let qblen = if is_master { querybuf_len(client) } else { client.querybuf.len() };
    if qblen > server.client_max_querybuf_len {
        close_client_with_long_querybuf(server, c);
        return;
    }
    processInputBuffer(server, c);
}

/// Closes a client that has sent more than it may without a whole command, and logs that.
#[cold]
fn close_client_with_long_querybuf(server: &mut Server, c: ClientId) {
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
}

/// Returns the length of the longest reply list of all clients, in blocks, and the size of the
/// largest query buffer, in bytes.
pub fn getClientsMaxBuffers(server: &Server) -> (usize, usize) {
    let (mut lol, mut bib) = (0, 0);
    for &c in &server.clients.list {
        lol = lol.max(server[c].reply.len());
        bib = bib.max(querybuf_len(&server[c]));
    }
    (lol, bib)
}

/// Returns the address of one end of a client's connection: `ip:port`, `[ip]:port` for IPv6,
/// `path:0` for a unix socket, and `?:0` if it can't be known.
fn genClientAddrString(server: &Server, c: ClientId, fd_to_str_type: i32) -> Vec<u8> {
    if server[c].flags & CLIENT_UNIX_SOCKET != 0 {
        return bformat!("{}:0", B(server.unixsocket.as_deref().unwrap_or_default()));
    }
    connFormatFdAddr(&server.net, server[c].conn, fd_to_str_type)
}

/// Returns the address of the client's end. It never changes during the life of a client, and is
/// cached, since it takes a system call to get it.
pub fn getClientPeerId(server: &mut Server, c: ClientId) -> Vec<u8> {
    if server[c].peerid.is_none() {
        server[c].peerid = Some(genClientAddrString(server, c, FD_TO_PEER_NAME));
    }
    server[c].peerid.clone().unwrap_or_default()
}

/// Returns the address of our end, to which the client has connected. Cached as that of the
/// client's end is.
pub fn getClientSockname(server: &mut Server, c: ClientId) -> Vec<u8> {
    if server[c].sockname.is_none() {
        server[c].sockname = Some(genClientAddrString(server, c, FD_TO_SOCK_NAME));
    }
    server[c].sockname.clone().unwrap_or_default()
}

/// Describes a client in one line, as CLIENT LIST shows it, without the end of line.
///
/// Differs: `qbuf-free` and `tot-mem` are of our buffers; a client that waits for nothing has none
/// to read into.
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

    let obufmem = getClientOutputBufferMemoryUsage(&server.clients, c);
    let stream = &server.clients.repl;
    let stream_blocks = client
        .repl_pos
        .filter(|&pos| stream.len_from(pos) > 0)
        .map_or(0, |pos| stream.blocks_from(pos));
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
        client.reply.len() + stream_blocks,
        obufmem,
        total_mem,
        events,
        client.lastcmd.map_or("NULL", |cmd| server.commands[cmd].name),
        B(user),
        tracking_redirection(client)
    )
}

/// Returns the lines of all clients, or of those of a class, each with an end of line.
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

/// Sets the name of a client, for CLIENT SETNAME and HELLO SETNAME; an empty one removes it. If it
/// succeeds, the reply is up to the caller.
///
/// `C_ERR`: an error was sent. A name must have no spaces or special characters, since the fields
/// of CLIENT LIST are split by spaces.
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

/// RESET: puts the connection into the state of a new one, without its subscriptions, transaction,
/// name and user.
pub fn resetCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    // Clients in MONITOR mode also have the flag of replicas. They can be reset, replicas can't.
    if server[c].flags & CLIENT_MONITOR != 0 {
        let node = listSearchKey(&server.monitors, c).expect("a monitor is in the list of them");
        listDelNode(&mut server.monitors, node);
        server[c].flags &= !(CLIENT_MONITOR | CLIENT_SLAVE);
    }
    if server[c].flags & (CLIENT_SLAVE | CLIENT_MASTER) != 0 {
        addReplyError(server, c, b"can only reset normal client connections");
        return;
    }

    if server[c].flags & CLIENT_TRACKING != 0 {
        disableTracking(server, c);
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

/// CLIENT subcommand ...: what a client can ask about connections and change in them, its own and
/// others.
pub fn clientCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let argc = argv.len();
    let is = |i: usize, word: &str| eq_ignore_case(&argv[i], word.as_bytes());

    if argc == 2 && is(1, "help") {
        let help = [
            "CACHING (YES|NO)",
            "    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.",
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
            "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
            "         [OPTIN] [OPTOUT]",
            "    Control server assisted client side caching.",
            "TRACKINGINFO",
            "    Report tracking status for the current connection.",
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
        client_list_command(server, c, argv);
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
        client_kill_command(server, c, argv);
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
        // C: a client that CLIENT PAUSE holds back is unblocked as well, and the server panics over
        // what to reply to it.
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
    } else if is(1, "tracking") && argc >= 3 {
        // CLIENT TRACKING (on|off) [REDIRECT <id>] [BCAST] [PREFIX first] [PREFIX second] [OPTIN]
        //                          [OPTOUT] [NOLOOP]
        client_tracking_command(server, c, argv);
    } else if is(1, "caching") && argc >= 3 {
        // CLIENT CACHING YES|NO
        client_caching_command(server, c, argv);
    } else if is(1, "getredir") && argc == 2 {
        // CLIENT GETREDIR
        let redirection = tracking_redirection(&server[c]);
        addReplyLongLong(server, c, redirection);
    } else if is(1, "trackinginfo") && argc == 2 {
        // CLIENT TRACKINGINFO
        client_trackinginfo_command(server, c);
    } else {
        addReplySubcommandSyntaxError(server, c, argv);
    }
}

/// Returns the number of the client to which a client redirects its invalidations: 0 for none, -1
/// if it does not track.
fn tracking_redirection(client: &Client) -> i64 {
    if client.flags & CLIENT_TRACKING == 0 {
        return -1;
    }
    client.client_tracking_redirection as i64
}

/// CLIENT TRACKING: begins to track, or ends it.
fn client_tracking_command(server: &mut Server, c: ClientId, argv: &Args) {
    let is = |i: usize, word: &str| eq_ignore_case(&argv[i], word.as_bytes());
    let mut redir = 0;
    let mut options = 0;
    let mut prefix: Vec<&[u8]> = Vec::new();

    // Parse the options.
    let mut j = 3;
    while j < argv.len() {
        let moreargs = argv.len() - 1 - j;
        if is(j, "redirect") && moreargs > 0 {
            j += 1;
            if redir != 0 {
                addReplyError(server, c, b"A client can only redirect to a single other client");
                return;
            }
            match getLongLongFromObjectOrReply(server, c, &argv[j], None) {
                Ok(id) => redir = id as u64,
                Err(()) => return,
            }
            // The client may go later. But that it exists now is good to know.
            if lookupClientByID(server, redir).is_none() {
                addReplyError(server, c, b"The client ID you want redirect to does not exist");
                return;
            }
        } else if is(j, "bcast") {
            options |= CLIENT_TRACKING_BCAST;
        } else if is(j, "optin") {
            options |= CLIENT_TRACKING_OPTIN;
        } else if is(j, "optout") {
            options |= CLIENT_TRACKING_OPTOUT;
        } else if is(j, "noloop") {
            options |= CLIENT_TRACKING_NOLOOP;
        } else if is(j, "prefix") && moreargs > 0 {
            j += 1;
            prefix.push(&argv[j]);
        } else {
            addReplyErrorObject(server, c, shared::syntaxerr);
            return;
        }
        j += 1;
    }

    if is(2, "on") {
        // The options have to go together, and with the present state of the client.
        let flags = server[c].flags;
        let bcast = options & CLIENT_TRACKING_BCAST != 0;
        let optin = options & CLIENT_TRACKING_OPTIN != 0;
        let optout = options & CLIENT_TRACKING_OPTOUT != 0;
        let error: &[u8] = if !bcast && !prefix.is_empty() {
            b"PREFIX option requires BCAST mode to be enabled"
        } else if flags & CLIENT_TRACKING != 0 && bcast != (flags & CLIENT_TRACKING_BCAST != 0) {
            b"You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode."
        } else if bcast && (optin || optout) {
            b"OPTIN and OPTOUT are not compatible with BCAST"
        } else if optin && optout {
            b"You can't specify both OPTIN mode and OPTOUT mode"
        } else if (optin && flags & CLIENT_TRACKING_OPTOUT != 0)
            || (optout && flags & CLIENT_TRACKING_OPTIN != 0)
        {
            b"You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode."
        } else {
            b""
        };
        if !error.is_empty() {
            addReplyError(server, c, error);
            return;
        }
        if bcast && !checkPrefixCollisionsOrReply(server, c, &prefix) {
            return;
        }
        enableTracking(server, c, redir, options, &prefix);
    } else if is(2, "off") {
        disableTracking(server, c);
    } else {
        addReplyErrorObject(server, c, shared::syntaxerr);
        return;
    }
    addReply(server, c, shared::ok);
}

/// CLIENT CACHING YES|NO: says whether the keys of the next command, or transaction, are tracked.
fn client_caching_command(server: &mut Server, c: ClientId, argv: &Args) {
    let flags = server[c].flags;
    if flags & CLIENT_TRACKING == 0 {
        addReplyError(
            server,
            c,
            b"CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        );
    } else if eq_ignore_case(&argv[2], b"yes") {
        if flags & CLIENT_TRACKING_OPTIN != 0 {
            server[c].flags |= CLIENT_TRACKING_CACHING;
            addReply(server, c, shared::ok);
        } else {
            addReplyError(
                server,
                c,
                b"CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
            );
        }
    } else if eq_ignore_case(&argv[2], b"no") {
        if flags & CLIENT_TRACKING_OPTOUT != 0 {
            server[c].flags |= CLIENT_TRACKING_CACHING;
            addReply(server, c, shared::ok);
        } else {
            addReplyError(
                server,
                c,
                b"CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
            );
        }
    } else {
        addReplyErrorObject(server, c, shared::syntaxerr);
    }
}

/// CLIENT TRACKINGINFO: replies with how the client tracks.
fn client_trackinginfo_command(server: &mut Server, c: ClientId) {
    let client = &server[c];
    let has = |flag: u64| client.flags & flag != 0;
    let mut flags: Vec<&[u8]> = vec![if has(CLIENT_TRACKING) { b"on" } else { b"off" }];
    if has(CLIENT_TRACKING_BCAST) {
        flags.push(b"bcast");
    }
    if has(CLIENT_TRACKING_OPTIN) {
        flags.push(b"optin");
        if has(CLIENT_TRACKING_CACHING) {
            flags.push(b"caching-yes");
        }
    }
    if has(CLIENT_TRACKING_OPTOUT) {
        flags.push(b"optout");
        if has(CLIENT_TRACKING_CACHING) {
            flags.push(b"caching-no");
        }
    }
    if has(CLIENT_TRACKING_NOLOOP) {
        flags.push(b"noloop");
    }
    if has(CLIENT_TRACKING_BROKEN_REDIR) {
        flags.push(b"broken_redirect");
    }
    let redirection = tracking_redirection(client);
    let mut prefixes = Vec::new();
    if let Some(tree) = &client.client_tracking_prefixes {
        let mut ri = raxStart();
        raxSeek(&mut ri, tree, "^", b"");
        while raxNext(&mut ri, tree) {
            prefixes.push(ri.key().to_vec());
        }
    }

    addReplyMapLen(server, c, 3);
    addReplyBulkCString(server, c, b"flags");
    addReplySetLen(server, c, flags.len());
    for flag in flags {
        addReplyBulkCString(server, c, flag);
    }
    addReplyBulkCString(server, c, b"redirect");
    addReplyLongLong(server, c, redirection);
    addReplyBulkCString(server, c, b"prefixes");
    addReplyArrayLen(server, c, prefixes.len());
    for prefix in &prefixes {
        addReplyBulkCBuffer(server, c, prefix);
    }
}

/// CLIENT LIST [TYPE <type>] [ID <id> ...]: replies with a line for each client, of each class or
/// of one, or for those with these numbers.
fn client_list_command(server: &mut Server, c: ClientId, argv: &Args) {
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

/// CLIENT KILL addr:port, and CLIENT KILL with filters, of which all must match.
fn client_kill_command(server: &mut Server, c: ClientId, argv: &Args) {
    let argc = argv.len();
    let mut addr = None;
    let mut laddr = None;
    let mut user = None;
    let mut type_ = None;
    let mut id = 0;
    let mut skipme = true;

    if argc == 3 {
        // The old syntax, CLIENT KILL addr:port. The client can kill its own connection.
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

    // Iterate over the clients and kill all that match.
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
            if server[client].flags & CLIENT_MASTER != 0 {
                link_closed_on_purpose(server);
            }
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
    // If the client kills itself, the flag is set only after the reply was added: nothing can be
    // added to a client that has it.
    if close_this_client {
        server[c].flags |= CLIENT_CLOSE_AFTER_REPLY;
    }
}

/// HELLO [<protocol-version> [AUTH <user> <password>] [SETNAME <name>]]: selects the version of the
/// protocol, and replies with a map that describes the server.
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
            if ACLAuthenticateUser(server, c, argv, &argv[j + 1], &argv[j + 2]).is_err() {
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

/// Handles `POST` and `Host:`, which are no commands but the first words of lines in an HTTP
/// request.
///
/// A web page can make a browser send HTTP requests to any port. A server that answers each header
/// with an error and goes on would then execute commands in the body ("cross protocol scripting").
/// As a protection the connection is closed at the first such word. It is logged from time to time
/// only, so that logging can't be used for a denial of service.
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

/// Keeps the arguments as the client sent them, for the slow log and for MONITOR.
///
/// Differs: needed for redacting only. When a command is rewritten, `call` still has what was
/// received.
fn retainOriginalCommandVector(server: &mut Server, c: ClientId, argv: &Args) {
    if server[c].original_argv.is_none() {
        server[c].original_argv = Some(argv.to_argv());
    }
}

/// Replaces argument `i` in what the slow log and MONITOR show of this command: it is a secret.
pub fn redactClientCommandArgument(server: &mut Server, c: ClientId, argv: &Args, i: usize) {
    retainOriginalCommandVector(server, c, argv);
    let client = &mut server[c];
    client.original_argv =
        client.original_argv.take().map(|argv| argv.with_arg(i, shared::redacted));
}

/// Rewrites the command vector of the client: the command is propagated as these arguments instead
/// of those that the client sent.
pub fn rewriteClientCommandVector(server: &mut Server, c: ClientId, argv: &[&[u8]]) {
    // Where nothing is sent on, nobody would see it.
    if changes_are_propagated(server) || listLength(&server.monitors) != 0 {
        replaceClientCommandVector(server, c, argv.iter().copied().collect());
    }
}

/// Rewrites the command vector of the client as `rewriteClientCommandVector` does, with owned
/// arguments.
pub fn replaceClientCommandVector(server: &mut Server, c: ClientId, argv: Argv) {
    let cmd = lookupCommandOrOriginal(server, &argv[0]);
    assert!(cmd.is_some(), "a command is rewritten to one that exists");
    let client = &mut server[c];
    client.argv_len_sum = argv.as_args().iter().map(<[u8]>::len).sum();
    client.argv = Some(argv);
    client.cmd = cmd;
}

/// Rewrites a single argument of the client's command for propagation; `argv` is the command as it
/// was sent. `i` may be one past the last argument, which adds one. Several calls add up.
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

/// Returns the bytes used for replies that the client has not read yet, without its fixed buffer:
/// what the output buffer limits are about. It is cheap enough to be called for each reply.
///
/// For a replica what the stream has for it counts as well, although others share it.
pub fn getClientOutputBufferMemoryUsage(clients: &Clients, c: ClientId) -> usize {
    let client = &clients[c];
    own_output_memory(client) + client.repl_pos.map_or(0, |pos| clients.repl.len_from(pos))
}

/// Returns the bytes of a client's output that it shares with nobody.
pub fn own_output_memory(client: &Client) -> usize {
    client.reply_bytes + REPLY_NODE_OVERHEAD * client.reply.len()
}

/// Returns the class of a client, for the limits of each class: `CLIENT_TYPE_NORMAL`,
/// `CLIENT_TYPE_SLAVE`, `CLIENT_TYPE_PUBSUB` (subscribed to channels) or `CLIENT_TYPE_MASTER` (the
/// client that represents our master). A client in MONITOR mode is a normal one.
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

/// Returns the class with this name, `None` if there is none. The case does not matter; that of
/// replicas has two names.
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

/// Returns the name of a class. Panics for a number that is no class.
pub fn getClientTypeName(class: usize) -> &'static str {
    match class {
        CLIENT_TYPE_NORMAL => "normal",
        CLIENT_TYPE_SLAVE => "slave",
        CLIENT_TYPE_PUBSUB => "pubsub",
        CLIENT_TYPE_MASTER => "master",
        _ => panic!("no class of clients"),
    }
}

/// Tells whether a client has reached its output buffer limit: the hard one, or the soft one for
/// longer than its seconds. As a side effect the time is noted since when the client is above the
/// soft limit.
///
/// C: 6.2.16 has the same limit for every client. Here one that still has to authenticate may leave
/// no more than a kilobyte unread in its list.
pub fn checkClientOutputBufferLimits(clients: &mut Clients, c: ClientId) -> bool {
    let used_mem = getClientOutputBufferMemoryUsage(clients, c);
    let client = &clients[c];
    if used_mem > REPLY_BUFFER_SIZE_UNAUTHENTICATED_CLIENT
        && client.auth_required
        && !client.authenticated
    {
        return true;
    }

    // For a client that represents our master the limits of normal clients apply.
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
        // C: the clock as it was before the command, so that a soft limit never ends a reply,
        // however long that takes.
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

/// Tells whether a client is to be closed for its output buffer limit. A client without a
/// connection never is.
fn is_over_output_buffer_limit(clients: &mut Clients, c: ClientId) -> bool {
    let client = &clients[c];
    let nothing = client.reply_bytes == 0 && client.repl_pos.is_none();
    if client.conn.is_none() || nothing || client.flags & CLIENT_CLOSE_ASAP != 0 {
        return false;
    }
    checkClientOutputBufferLimits(clients, c)
}

/// Closes a client that has reached its output buffer limit, and tells whether it had. With
/// `asynchronous` it is scheduled to be closed, since callers that add output are in the middle of
/// a command of the client; otherwise, from the cron, it is freed at once.
pub fn closeClientOnOutputBufferLimitReached(
    server: &mut Server,
    c: ClientId,
    asynchronous: bool,
) -> bool {
    if asynchronous {
        return close_client_on_output_buffer_limit_reached_async(&mut server.clients, c);
    }
    if !is_over_output_buffer_limit(&mut server.clients, c) {
        return false;
    }
    let client = catClientInfoString(server, c);
    tell_doctor_of_limit(server, c);
    freeClient(server, c);
    serverLog!(LL_WARNING, "Client {} closed for overcoming of output buffer limits.", B(&client));
    true
}

/// Schedules a client that has reached its output buffer limit to be closed, where only `Clients`
/// is at hand: in the functions that add output. The line for the log, which takes more than that,
/// is written when the client is freed, before the loop sleeps.
pub fn close_client_on_output_buffer_limit_reached_async(
    clients: &mut Clients,
    c: ClientId,
) -> bool {
    if !is_over_output_buffer_limit(clients, c) {
        return false;
    }
    clients[c].obuf_limit_reached = true;
    freeClientAsync(clients, c);
    true
}

/// Logs that a client was scheduled to be closed for its output buffer limit, if it was. It is
/// shown with the flags that it had then.
fn log_output_buffer_limit_reached(server: &mut Server, c: ClientId) {
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
    tell_doctor_of_limit(server, c);
}

/// Has REPLICATION HISTORY remember a replica that is closed for its output buffer limit.
fn tell_doctor_of_limit(server: &mut Server, c: ClientId) {
    if getClientType(&server[c]) == CLIENT_TYPE_SLAVE {
        let held = getClientOutputBufferMemoryUsage(&server.clients, c);
        note_output_limit(server, c, held);
        trace!(server, "link_closed", ..newest_decision(server));
    }
}

/// Flushes the output buffers of replicas without returning to the event loop. Eviction calls it,
/// since the memory of these buffers would otherwise keep it from ever reaching its goal, and a
/// shutdown, to send replicas the latest writes as far as possible.
pub fn flushSlavesOutputBuffers(server: &mut Server) {
    let mut li = listRewind(&server.slaves);
    while let Some(slave) = listNext(&server.slaves, &mut li) {
        let client = &server[slave];
        let Some(conn) = client.conn else { continue };
        let can_receive_writes =
            connHasWriteHandler(&server.net, conn) || client.flags & CLIENT_PENDING_WRITE != 0;
        // There are replicas to which the pending output must not be sent:
        //
        // 1. Those without a write handler that are not queued for writing either. They may not be
        //    set up to receive data.
        // 2. Those with `repl_put_online_on_ack`, which are to be sent nothing before their first
        //    ACK.
        // 3. Those that are not online.
        if client.replstate == SLAVE_STATE_ONLINE
            && can_receive_writes
            && !client.repl_put_online_on_ack
            && has_pending_output(&server.clients, slave)
        {
            let _ = writeToClient(server, slave, false);
        }
    }
}

/// Pauses clients, or just their writes (`type_`), up to `end`, in milliseconds as `steady_ms`
/// counts them.
///
/// The main use is to stop the traffic before a failover, so that no data is lost. Replicas are not
/// paused: they keep being sent what they lack. If a pause is in progress already, the later end
/// and the more restrictive type count.
pub fn pauseClients(server: &mut Server, end: mstime_t, type_: pause_type) {
    server.client_pause_type = server.client_pause_type.max(type_);
    server.client_pause_end_time = server.client_pause_end_time.max(end);

    // A transaction in progress is executed to its end, with the writes that were queued before and
    // after this command. It is noted that their propagation is legitimate.
    if server.in_exec {
        server.client_pause_in_transaction = true;
    }
}

/// Ends the pause of clients. What they had sent is executed before the loop sleeps.
pub fn unpauseClients(server: &mut Server) {
    server.client_pause_type = CLIENT_PAUSE_OFF;
    server.client_pause_end_time = 0;

    let mut li = listRewind(&server.paused_clients);
    while let Some(c) = listNext(&server.paused_clients, &mut li) {
        unblockClient(server, c);
    }
}

/// Tells whether clients are paused.
pub fn areClientsPaused(server: &Server) -> bool {
    server.client_pause_type != CLIENT_PAUSE_OFF
}

/// Ends the pause of clients if its time is over, and then tells whether clients are paused.
pub fn checkClientPauseTimeoutAndReturnIfPaused(server: &mut Server) -> bool {
    if !areClientsPaused(server) {
        return false;
    }
    if server.client_pause_end_time < server.steady_mstime {
        unpauseClients(server);
    }
    areClientsPaused(server)
}

/// Processes some events from within an operation that takes long and can't be interrupted, such as
/// loading: clients get a -LOADING error instead of no reply at all.
///
/// The event loop is entered up to four times as long as there were events, so that the sequence of
/// accept, read, write and close that serves one client can go through.
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
