//! `replication.c`: asynchronous replication, both sides.
//!
//! # How it works
//!
//! A master numbers the bytes of its write stream: `master_repl_offset` is the number of the last
//! one. It keeps the most recent of them, the *backlog*, and sends all of them to its replicas. A
//! replica that was cut off says which history it follows (a *replication id*) and which byte it
//! wants next. If the master has that history and the backlog still has that byte, the replica gets
//! the rest of it (a *partial* resync). Otherwise it gets an RDB file and then what was written
//! since the file's snapshot (a *full* one).
//!
//! ```text
//! replica                                        master
//!   PING                                    ->
//!                                           <-   +PONG, or an error that asks for a password
//!   AUTH, REPLCONF listening-port/ip/capa   ->
//!                                           <-   one line for each
//!   PSYNC <id> <offset>  (or: PSYNC ? -1)   ->
//!                                           <-   +CONTINUE <id>, then the stream from <offset>
//!                                           <-   or +FULLRESYNC <id> <offset>, \n while a child saves,
//!                                                $<length> and the RDB, then the stream from <offset>+1
//!   REPLCONF ACK <offset>, every second     ->
//! ```
//!
//! A replica hands the bytes of its master on to its own replicas as they came, and keeps them in a
//! backlog of its own. So all of a tree speaks of the same bytes by the same numbers, and whoever
//! is promoted can go on with the others: it takes a new id, and keeps the old one as `replid2`,
//! good up to the byte where the histories part.
//!
//! # Read first
//!
//! `syncCommand` (a master is asked), `syncWithMaster` (a replica asks), `readSyncBulkPayload` (the
//! file arrives), `replicationCron` (what time does).
//!
//! # Absent
//!
//! Nothing.
//!
//! # Differs
//!
//! The lists of clients are fields of `server`, so they are not passed. A command is copied to the
//! stream as it was received, not put together again, and the backlog and all replicas share that.
//! What the C keeps in static variables is in `ReplicationStatics`. Where a peer's bytes would break
//! the C, they are refused; each place says so.

pub mod newer_masters;

use std::collections::{HashSet, VecDeque};
use std::io;
use std::mem::take;
use std::os::fd::RawFd;

use crate::ae::{AE_READABLE, aeCreateFileEvent, aeDeleteFileEvent};
use crate::aof::{startAppendOnly, stopAppendOnly};
use crate::args::{Args, Argv};
use crate::blocked::{blockClient, disconnectAllBlockedClients, unblockClient};
use crate::connection::{
    CONN_STATE_CONNECTED, ConnId, conn_fd, connBlock, connClose, connConnect, connCreateSocket,
    connDisableTcpNoDelay, connGetInfo, connGetLastError, connGetPrivateData, connGetState,
    connHasWriteHandler, connNonBlock, connPeerToString, connRead, connRecvTimeout,
    connSetPrivateData, connSetReadHandler, connSetWriteHandler, connSyncReadLine, connSyncWrite,
    connWrite,
};
use crate::db::{
    backupDb, dbBackup, dbTotalServerKeyCount, discardDbBackup, emptyDb, restoreDbBackup, selectDb,
};
use crate::ds::adlist::{
    listAddNodeHead, listAddNodeTail, listDelNode, listLength, listNext, listRewind, listSearchKey,
};
use crate::log::{LL_DEBUG, LL_NOTICE, LL_VERBOSE, LL_WARNING};
use crate::multi::discardTransaction;
use crate::networking::{
    addReply, addReplyArrayLen, addReplyBulkCBuffer, addReplyBulkCString, addReplyBulkLongLong,
    addReplyDeferredLen, addReplyError, addReplyErrorObject, addReplyLongLong, addReplyProto,
    catClientInfoString, checkClientPauseTimeoutAndReturnIfPaused, clientHasPendingReplies,
    clientInstallWriteHandler, close_client_on_output_buffer_limit_reached_async,
    copyClientOutputBuffer, createClient, disconnectSlaves, freeClient, freeClientAsync,
    getClientPeerId, has_pending_output, linkClient, pauseClients, prepareClientToWrite,
    readQueryFromClient, resetClient, sendReplyToClient, setDeferredArrayLen, shared, take_stream,
    unlinkClient, unpauseClients,
};
use crate::object::{
    getLongFromObjectOrReply, getLongLongFromObjectOrReply, getRangeLongFromObjectOrReply,
};
use crate::rdb::{
    killRDBChild, rdb_is_loadable, rdbLoad, rdbLoadRio, rdbPopulateSaveInfo, rdbSaveBackground,
    rdbSaveToSlavesSockets, startLoading, stopLoading,
};
use crate::rio::{Rio, rioGetReadError, rioInitWithConn, rioRead};
use crate::scripting::ScriptSha;
use crate::sds::sdscatrepr;
use crate::server::{
    allPersistenceDisabled, hasActiveChildProcess, lookupCommand, redisCommunicateSystemd,
    setOOMScoreAdj,
};
use crate::server_h::*;
use crate::sys::clock::{steady_ms, usleep, ustime};
use crate::sys::errno::error_text;
use crate::sys::file::{
    as_path, file_size, fsync, ftruncate, lseek, open, rdb_fsync_range, rename, unlink,
};
use crate::sys::random::getRandomHexChars;
use crate::sys::socket::{close, read, read_append, write};
use crate::timeout::getTimeoutFromObjectOrReply;
use crate::trace::{master_of, trace_offset};
use crate::util::{B, c_str, eq_ignore_case, ll2string, string2ll, strtoll};
use crate::{
    addReplyErrorFormat, bformat, sdscatprintf, serverLog, trace, trace_backlog, trace_cached,
    trace_failover, trace_ids, trace_repl_state, trace_replstate, trace_wait,
};

pub mod backoff;
pub mod doctor;
pub mod guard;
pub mod stream;

use backoff::{
    attempt_begins, backoff_cron, backoff_is_over, backoff_reset, link_established, link_lost,
    replication_backoff,
};
use doctor::{
    Why, count_streamed, newest_decision, note_answer, note_backlog_freed, note_online,
    note_partial, note_question, note_rdb_size, note_refused, note_silence, note_sync_end,
    sample_write_rate, streamed_bytes,
};

use guard::{
    file_has_no_keys, forget_cached_master, forget_unacked, guard_consents, guard_refused,
    guard_refuses, guard_refuses_stream, guard_reset, history_begins, note_ack, note_demotion,
    note_select, remember_cached_master, save_lost_writes,
};

/// The variables that are static in the C's file.
#[derive(Default)]
pub struct ReplicationStatics {
    /// The RDB file on disk was made for replicas only; see `removeRDBUsedToSyncReplicas`.
    RDBGeneratedByReplication: bool,
    /// The second in which the master last got a newline from us.
    newline_sent: i64,
    /// The end of the payload being received, if it is of the `$EOF:` kind (the C's `usemark`).
    eofmark: Option<EofMark>,
    replication_cron_loops: i64,
    backoff: backoff::Backoff,
    doctor: doctor::Doctor,
    guard: guard::Guard,
}

// -----------------------------------------------------------------------------
// Utility functions
// -----------------------------------------------------------------------------

/// Returns the name by which the log refers to a replica: its address and the port on which it
/// listens, as far as they are known, or else its client id.
///
/// The port is the one that the replica announced by REPLCONF listening-port. That of its
/// connection is an ephemeral port, which tells the operator nothing.
pub fn replicationGetSlaveName(server: &Server, c: ClientId) -> Vec<u8> {
    let Some(addr) = replica_address(server, c) else {
        return bformat!("client id #{}", server[c].id);
    };
    match server[c].slave_listening_port {
        0 => bformat!("{}:<unknown-replica-port>", B(&addr)),
        port if addr.contains(&b':') => bformat!("[{}]:{}", B(&addr), port),
        port => bformat!("{}:{}", B(&addr), port),
    }
}

/// Returns the address that a replica announced, or else the one it connects from. `None` if its
/// socket is gone.
fn replica_address(server: &Server, slave: ClientId) -> Option<Vec<u8>> {
    let client = &server[slave];
    if let Some(addr) = &client.slave_addr {
        return Some(addr.clone());
    }
    let (ip, _port) = connPeerToString(&server.net, client.conn?);
    (ip != b"?").then_some(ip)
}

/// Removes a file without blocking the server, however large it is.
///
/// The kernel frees a file's blocks when the last reference to it goes, which takes time. So
/// unlink(2) is called while the file is open here: it only removes the name. The descriptor is
/// then closed in a background thread, and the blocks are freed there. A file that can't be opened
/// is unlinked right here. An error is that of unlink(2).
pub fn bg_unlink(server: &Server, filename: &[u8]) -> io::Result<()> {
    let Ok(fd) = open(filename, libc::O_RDONLY | libc::O_NONBLOCK, 0) else {
        return unlink(filename);
    };
    if let Err(e) = unlink(filename) {
        close(fd);
        return Err(e);
    }
    server.bio.bioCreateCloseJob(fd);
    Ok(())
}

// -----------------------------------------------------------------------------
// MASTER
// -----------------------------------------------------------------------------

/// Creates the replication backlog, of `server.repl_backlog_size` bytes. There must be none.
pub fn createReplicationBacklog(server: &mut Server) {
    assert!(!server.repl_backlog);
    allocate_backlog(server);
}

/// Begins an empty backlog. It holds no byte yet, so the first byte that it can serve,
/// `repl_backlog_off`, is the next one of the stream.
fn allocate_backlog(server: &mut Server) {
    let size =
        usize::try_from(server.repl_backlog_size).expect("the size of the backlog is above 0");
    let next = server.master_repl_offset.wrapping_add(1);
    server.clients.repl.start(next, size);
    server.repl_backlog = true;
    server.repl_backlog_histlen = 0;
    server.repl_backlog_off = next;
    trace_backlog!(server, "created");
}

/// Goes on with the history that our RDB names, as a master that was restarted: called when it is
/// loaded. The backlog was made before, and holds the deletions of keys that had expired, which are
/// the first bytes behind the offset in the file.
///
/// The id becomes the second one, good up to the offset, and ours stays the one that we have as a new process.
/// So a replica that has the history up to there can go on, and one that has more of it can not:
/// that was written after the file, and is lost here.
// C: a master that was restarted begins a new history.
pub fn replication_go_on_from_rdb(server: &mut Server, rsi: &rdbSaveInfo) {
    server.replid2.clone_from(&rsi.repl_id);
    server.second_replid_offset = rsi.repl_offset + 1;
    server.master_repl_offset += rsi.repl_offset;
    server.clients.repl.rebase(rsi.repl_offset);
    server.repl_backlog_off = server.master_repl_offset - server.repl_backlog_histlen + 1;
    history_begins(server);
    trace_ids!(server);
    // The backlog lives for `repl-backlog-ttl` seconds from now, if no replica comes.
    server.repl_no_slaves_since = steady_ms() / 1000;
}

/// Changes the size of the backlog, in bytes, when the operator does (CONFIG SET
/// repl-backlog-size); at least `CONFIG_REPL_BACKLOG_MIN_SIZE`. A backlog that exists is emptied.
///
/// The contents could be kept, but the C frees them. An empty backlog fills again with what is
/// written next.
pub fn resizeReplicationBacklog(server: &mut Server, newsize: i64) {
    let newsize = newsize.max(CONFIG_REPL_BACKLOG_MIN_SIZE as i64);
    if server.repl_backlog_size == newsize {
        return;
    }
    server.repl_backlog_size = newsize;
    if server.repl_backlog {
        server.repl_backlog_histlen = 0;
        server.repl_backlog_off = server.master_repl_offset.wrapping_add(1);
        // What replicas have not been sent stays.
        trim_stream(server);
        server.clients.repl.set_size(newsize as usize);
        trace_backlog!(server, "resized");
    }
}

/// Frees the backlog. There must be no replicas: with replicas attached there is always a backlog.
pub fn freeReplicationBacklog(server: &mut Server) {
    assert_eq!(listLength(&server.slaves), 0);
    server.repl_backlog = false;
    server.clients.repl.clear();
    trace_backlog!(server, "freed");
}

/// Appends bytes of the stream to the backlog, which must exist, and moves `master_repl_offset` by
/// as many. Replicas are sent them from there.
///
/// The two belong together, so this is the one place that moves the offset: there is no case in
/// which bytes are numbered and not kept, or kept and not numbered.
#[inline]
pub fn feedReplicationBacklog(server: &mut Server, p: &[u8]) {
    assert!(server.repl_backlog, "there is a backlog to feed");
    let added = server.clients.repl.append(p);

    let len = p.len() as i64;
    server.master_repl_offset = server.master_repl_offset.wrapping_add(len);
    server.repl_backlog_histlen = (server.repl_backlog_histlen + len).min(server.repl_backlog_size);
    server.repl_backlog_off =
        server.master_repl_offset.wrapping_sub(server.repl_backlog_histlen).wrapping_add(1);
    if added {
        stream_has_grown(server);
    }
}

/// Looks for replicas that have too much to be sent, and for blocks that nobody needs, each time
/// that the stream has a new block.
#[cold]
fn stream_has_grown(server: &mut Server) {
    for &slave in &server.slaves {
        close_client_on_output_buffer_limit_reached_async(&mut server.clients, slave);
    }
    trim_stream(server);
}

/// Drops the part of the stream that neither the backlog nor a replica needs.
pub fn trim_stream(server: &mut Server) {
    let places = server.slaves.iter().filter_map(|&slave| server.clients[slave].repl_pos);
    let first = places.fold(server.repl_backlog_off, i64::min);
    server.clients.repl.trim(first);
}

/// Tells whether a replica gets the stream of writes. Two kinds do not: a replica that only wants
/// the RDB, and one that waits for a BGSAVE to start, whose RDB will contain all that is written
/// until then.
#[inline]
pub fn canFeedReplicaReplBuffer(replica: &Client) -> bool {
    replica.flags & CLIENT_REPL_RDBONLY == 0 && replica.replstate != SLAVE_STATE_WAIT_BGSAVE_START
}

/// SELECT in the form of the stream, for the dbs that most servers use. (The C's `shared.select`.)
const SELECT: [&[u8]; 10] = [
    b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n",
    b"*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\n",
    b"*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n",
    b"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n",
    b"*2\r\n$6\r\nSELECT\r\n$1\r\n4\r\n",
    b"*2\r\n$6\r\nSELECT\r\n$1\r\n5\r\n",
    b"*2\r\n$6\r\nSELECT\r\n$1\r\n6\r\n",
    b"*2\r\n$6\r\nSELECT\r\n$1\r\n7\r\n",
    b"*2\r\n$6\r\nSELECT\r\n$1\r\n8\r\n",
    b"*2\r\n$6\r\nSELECT\r\n$1\r\n9\r\n",
];

/// Propagates a write command, run in db `dictid`, to the backlog and to every replica. A SELECT
/// precedes it if the stream is in another db.
///
/// Only a top-level master makes a stream out of the commands of its clients. A replica proxies the
/// bytes of its master (`replicationFeedSlavesFromMasterStream`), so that the stream is identical
/// down the chain: this is why a replica can advertise its master's replication id, share its
/// offsets, and serve its replicas from the same backlog.
#[inline]
pub fn replicationFeedSlaves(server: &mut Server, dictid: i32, argv: &Args) {
    if server.masterhost.is_some() {
        return;
    }
    if !server.repl_backlog {
        // No replicas, and no backlog from which one could be served later. (With replicas there is
        // always a backlog.)
        assert!(server.slaves.is_empty(), "there are no replicas without a backlog");
        return;
    }

    if server.slaveseldb != dictid {
        note_select(server, dictid);
        match usize::try_from(dictid).ok().and_then(|id| SELECT.get(id)) {
            Some(selectcmd) => feed_backlog_and_replicas(server, selectcmd),
            None => {
                let id = ll2string(i64::from(dictid));
                let id = id.as_bytes();
                feed_backlog_and_replicas(
                    server,
                    &bformat!("*2\r\n$6\r\nSELECT\r\n${}\r\n{}\r\n", id.len(), B(id)),
                );
            }
        }
        server.slaveseldb = dictid;
    }

    // C: the multibulk form is written anew, and once for each replica. Here the bytes are those
    // that were received, or those that a rewritten command keeps.
    match argv.raw() {
        Some(raw) => feed_backlog_and_replicas(server, raw),
        // An inline command, or one with a length written as `$03`.
        None => {
            let argv = argv.to_argv();
            let argv = argv.as_args();
            feed_backlog_and_replicas(
                server,
                argv.raw().expect("arguments of our own making are in the one right form"),
            );
        }
    }
}

/// Appends bytes of the stream to the backlog, from which every replica that gets the stream is sent
/// them. For replicas that are still waiting for their RDB, or receiving it, they gather there until
/// the RDB is sent.
// C: copies them into the output buffer of each replica.
#[inline]
fn feed_backlog_and_replicas(server: &mut Server, buf: &[u8]) {
    if server.repl_backlog {
        if !server.clients.repl.queued {
            queue_replicas(server);
        }
        feedReplicationBacklog(server, buf);
    }
}

/// Queues all replicas for writing that have nothing to send at present, before the stream goes on.
/// It need not be done again before one of them has been written to.
#[cold]
fn queue_replicas(server: &mut Server) {
    server.clients.repl.queued = true;
    for &slave in &server.slaves {
        let client = &server.clients[slave];
        if client.repl_pos.is_some()
            && canFeedReplicaReplBuffer(client)
            && client.flags & CLIENT_CLOSE_ASAP == 0
            && !has_pending_output(&server.clients, slave)
        {
            clientInstallWriteHandler(&mut server.clients, slave);
        }
    }
}

/// Logs the last 256 bytes of the backlog. Called when a replica reports an error or a protocol
/// error in what we sent: these bytes are then the best evidence of what went wrong.
pub fn showLatestBacklog(server: &Server) {
    if !server.repl_backlog {
        return;
    }
    let dumplen = server.repl_backlog_histlen.min(256);
    let from = server.clients.repl.end() - dumplen;
    let mut dump = Vec::new();
    for piece in server.clients.repl.from(from).filter(|piece| !piece.is_empty()) {
        sdscatrepr(&mut dump, piece);
    }
    serverLog!(LL_WARNING, "Latest backlog is: '{}'", B(&dump));
}

/// Proxies bytes of our master's stream to our own replicas and keeps them in the backlog,
/// unchanged: all replicas of a tree see identical bytes at identical offsets, whoever they are
/// connected to.
pub fn replicationFeedSlavesFromMasterStream(server: &mut Server, buf: &[u8]) {
    feed_backlog_and_replicas(server, buf);
}

/// Sends a command to the clients in MONITOR: the time, the db, the address of the client that runs
/// it, and the arguments, quoted.
pub fn replicationFeedMonitors(server: &mut Server, c: ClientId, dictid: usize, argv: &Args) {
    if server.monitors.is_empty() || server.loading {
        return;
    }
    let now = ustime();
    let mut cmdrepr = bformat!("+{}.{:06} ", now / 1_000_000, now % 1_000_000);
    if server[c].flags & CLIENT_LUA != 0 {
        sdscatprintf!(cmdrepr, "[{dictid} lua] ");
    } else if server[c].flags & CLIENT_UNIX_SOCKET != 0 {
        let path = server.unixsocket.as_deref().unwrap_or_default();
        sdscatprintf!(cmdrepr, "[{dictid} unix:{}] ", B(path));
    } else {
        let peer = getClientPeerId(server, c);
        sdscatprintf!(cmdrepr, "[{dictid} {}] ", B(&peer));
    }
    for (j, arg) in argv.iter().enumerate() {
        if j != 0 {
            cmdrepr.push(b' ');
        }
        sdscatrepr(&mut cmdrepr, arg);
    }
    cmdrepr.extend_from_slice(b"\r\n");

    for &monitor in &server.monitors {
        addReplyProto(&mut server.clients, monitor, &cmdrepr);
    }
}

/// Lets a replica be sent the stream from byte `offset` on, and returns how many bytes there are.
/// The byte must be in the backlog, or be the next one of the stream (then there are none to send).
// C: copies them into its output buffer.
pub fn addReplyReplicationBacklog(server: &mut Server, c: ClientId, offset: i64) -> i64 {
    serverLog!(LL_DEBUG, "[PSYNC] Replica request offset: {}", offset);
    serverLog!(LL_DEBUG, "[PSYNC] Backlog size: {}", server.repl_backlog_size);
    serverLog!(LL_DEBUG, "[PSYNC] First byte: {}", server.repl_backlog_off);
    serverLog!(LL_DEBUG, "[PSYNC] History len: {}", server.repl_backlog_histlen);

    let skip = offset.wrapping_sub(server.repl_backlog_off);
    serverLog!(LL_DEBUG, "[PSYNC] Skipping: {}", skip);
    let len = server.repl_backlog_histlen - skip;
    serverLog!(LL_DEBUG, "[PSYNC] Reply total length: {}", len);

    let clients = &mut server.clients;
    if len > 0 && prepareClientToWrite(clients, c).is_err() {
        return len;
    }
    clients[c].repl_pos = Some(clients.repl.end() - len);
    clients.repl.queued = false;
    // It gets what was missed, and no more.
    if clients[c].flags & CLIENT_REPL_RDBONLY != 0 {
        take_stream(clients, c);
        clients[c].repl_pos = None;
    }
    close_client_on_output_buffer_limit_reached_async(clients, c);
    len
}

// ANCHOR: psync_initial_offset
/// Returns the offset that belongs to an RDB whose child was forked just now. It is right only
/// between the fork and the next command of any client: what is written from then on is not in the
/// RDB, but in the stream after this offset.
pub fn getPsyncInitialOffset(server: &Server) -> i64 {
    server.master_repl_offset
}
// ANCHOR_END: psync_initial_offset

/// Sends a replica +FULLRESYNC with our id and `offset`, the offset of the RDB that is being saved,
/// and sets it up for the full resync. To be called right after the BGSAVE was started, or when the
/// replica is attached to one in progress.
///
/// 1. The offset is remembered in the client: a replica that is attached to the same BGSAVE later,
///    with a copy of this one's output buffer, has to be told the same offset.
/// 2. The state becomes WAIT_BGSAVE_END: from here on writes accumulate in the replica's output
///    buffer.
/// 3. The next write is preceded by a SELECT, since this replica has not seen the last one.
///
/// `C_ERR`: the line could not be sent; the replica will be freed.
pub fn replicationSetupSlaveForFullResync(
    server: &mut Server,
    slave: ClientId,
    offset: i64,
) -> CResult {
    server[slave].psync_initial_offset = offset;
    // One that is attached to a BGSAVE in progress has the place of another one already.
    if server[slave].flags & CLIENT_REPL_RDBONLY == 0 && server[slave].repl_pos.is_none() {
        server[slave].repl_pos = Some(offset.wrapping_add(1));
    }
    server[slave].replstate = SLAVE_STATE_WAIT_BGSAVE_END;
    trace_replstate!(server, slave);
    server.slaveseldb = -1;

    // SYNC, the command from before PSYNC, has no such reply.
    if server[slave].flags & CLIENT_PRE_PSYNC == 0 {
        let buf = bformat!("+FULLRESYNC {} {}\r\n", B(&server.replid), offset);
        if !write_bypassing_obuf(server, slave, &buf) {
            freeClientAsync(server, slave);
            return C_ERR;
        }
    }
    C_OK
}

/// Writes a line to a replica past its output buffer, which already holds what comes later. Its
/// socket has nothing else to send at this point, so that a line fits.
fn write_bypassing_obuf(server: &mut Server, slave: ClientId, line: &[u8]) -> bool {
    let conn = server[slave].conn.expect("a replica has a connection");
    connWrite(&mut server.net, conn, line).is_ok_and(|nwritten| nwritten == line.len())
}

/// Decides whether a PSYNC can go on where the replica stopped, and if so makes it a replica and
/// sends it what it missed.
///
/// `C_ERR`: a full resync is needed. Nothing was sent yet: `+FULLRESYNC` has to name the offset at
/// which the RDB is made, and that RDB does not exist at this point.
pub fn masterTryPartialResynchronization(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    psync_offset: i64,
) -> CResult {
    let master_replid = c_str(&argv[1]);

    // Does the replica follow our history? An id that is not ours names another one, and there is
    // no way to continue.
    //
    // Two ids may be right. Our own names a history that is good at any offset. The second one
    // names the history that we shared with our last master, and is good only up to the point where
    // we left it.
    if !eq_ignore_case(master_replid, &server.replid)
        && (!eq_ignore_case(master_replid, &server.replid2)
            || psync_offset > server.second_replid_offset)
    {
        // The id "?" is that of a replica which wants a full resync.
        let why = if master_replid.first() == Some(&b'?') {
            serverLog!(
                LL_NOTICE,
                "Full resync requested by replica {}",
                B(&replicationGetSlaveName(server, c))
            );
            Why::NoHistory
        } else if !eq_ignore_case(master_replid, &server.replid2) {
            serverLog!(
                LL_NOTICE,
                "Partial resynchronization not accepted: Replication ID mismatch (Replica asked for '{}', my replication IDs are '{}' and '{}')",
                B(master_replid),
                B(&server.replid),
                B(&server.replid2)
            );
            Why::OtherHistory
        } else {
            serverLog!(
                LL_NOTICE,
                "Partial resynchronization not accepted: Requested offset for second ID was {}, but I can reply up to {}",
                psync_offset,
                server.second_replid_offset
            );
            Why::BeyondSecondId
        };
        note_refused(server, c, master_replid, psync_offset, why);
        trace!(server, "decision", ..newest_decision(server));
        return C_ERR;
    }

    // ANCHOR: in_the_backlog
    // Do we still have the data that it asks for? The offset after the last byte is fine, too: then
    // it missed nothing.
    if !server.repl_backlog
        || psync_offset < server.repl_backlog_off
        || psync_offset > server.repl_backlog_off.wrapping_add(server.repl_backlog_histlen)
    // ANCHOR_END: in_the_backlog
    {
        let name = replicationGetSlaveName(server, c);
        serverLog!(
            LL_NOTICE,
            "Unable to partial resync with replica {} for lack of backlog (Replica request was: {}).",
            B(&name),
            psync_offset
        );
        let ahead = psync_offset > server.master_repl_offset;
        if ahead {
            serverLog!(
                LL_WARNING,
                "Warning: replica {} tried to PSYNC with an offset that is greater than the master replication offset.",
                B(&name)
            );
        }
        let why = if ahead { Why::AheadOfUs } else { Why::LackOfBacklog };
        note_refused(server, c, master_replid, psync_offset, why);
        trace!(server, "decision", ..newest_decision(server));
        return C_ERR;
    }

    // A partial resync it is:
    //
    // 1. The client becomes a replica.
    // 2. It is told with +CONTINUE that it can go on.
    // 3. It gets the backlog from its offset to the end.
    let now = server.steady_time;
    let client = &mut server[c];
    client.flags |= CLIENT_SLAVE;
    client.replstate = SLAVE_STATE_ONLINE;
    client.repl_ack_time = now;
    client.repl_put_online_on_ack = false;
    let psync2 = client.slave_capa & SLAVE_CAPA_PSYNC2 != 0;
    listAddNodeTail(&mut server.slaves, c);
    trace_replstate!(server, c);

    // A replica that knows PSYNC2 is told the id that it follows from here on, since it may have
    // asked by our second one. The line bypasses the output buffer, where new commands gather
    // already. The socket has nothing else to send at this point, so the write does not really
    // fail.
    let line = if psync2 {
        bformat!("+CONTINUE {}\r\n", B(&server.replid))
    } else {
        b"+CONTINUE\r\n".to_vec()
    };
    if !write_bypassing_obuf(server, c, &line) {
        freeClientAsync(server, c);
        return C_OK;
    }

    let psync_len = addReplyReplicationBacklog(server, c, psync_offset);
    serverLog!(
        LL_NOTICE,
        "Partial resynchronization request from {} accepted. Sending {} bytes of backlog starting from offset {}.",
        B(&replicationGetSlaveName(server, c)),
        psync_len,
        psync_offset
    );
    note_partial(server, c, master_replid, psync_offset, psync_len);
    trace!(server, "decision", ..newest_decision(server));

    // The next command needs no SELECT in front of it (`slaveseldb` stays): the replica knows the
    // db of the stream from its last connection.
    refreshGoodSlavesCount(server);
    C_OK
}

/// Starts a BGSAVE for replication. The replicas in the state WAIT_BGSAVE_START are set up for a
/// full resync by it. `mincapa` has the capabilities that all of them have: it is streamed to them
/// (diskless) if that is configured and all know `$EOF:` payloads, and otherwise goes by a file.
///
/// `C_ERR`: it could not be started. These replicas were sent an error, are no longer in the list
/// of replicas, and their connections are closed once the error is sent.
pub fn startBgsaveForReplication(server: &mut Server, mincapa: i32) -> CResult {
    let socket_target = server.repl_diskless_sync && mincapa & SLAVE_CAPA_EOF != 0;
    serverLog!(
        LL_NOTICE,
        "Starting BGSAVE for SYNC with target: {}",
        if socket_target { "replicas sockets" } else { "disk" }
    );
    trace!(server, "bgsave_for_sync", "target": if socket_target { "sockets" } else { "disk" });

    // The file has to say in which db the stream is, or the replica would apply it to the wrong
    // one.
    count_streamed(server, 0, true);
    let retval = match rdbPopulateSaveInfo(server) {
        Some(rsi) if socket_target => rdbSaveToSlavesSockets(server, Some(&rsi)),
        Some(rsi) => {
            let filename = server.rdb_filename.clone();
            rdbSaveBackground(server, &filename, Some(&rsi))
        }
        None => {
            serverLog!(
                LL_WARNING,
                "BGSAVE for replication: replication information not available, can't generate the RDB file right now. Try later."
            );
            C_ERR
        }
    };

    // Remember that the file is there for replication only, so that it can be deleted later. Not
    // while the feature is off: nothing would clear the flag then, and once the feature is enabled
    // by CONFIG SET it would condemn another file.
    if retval.is_ok() && !socket_target && server.rdb_del_sync_files {
        server.repl_statics.RDBGeneratedByReplication = true;
    }

    if retval.is_err() {
        serverLog!(LL_WARNING, "BGSAVE for replication failed");
        let mut li = listRewind(&server.slaves);
        while let Some(slave) = listNext(&server.slaves, &mut li) {
            if server[slave].replstate != SLAVE_STATE_WAIT_BGSAVE_START {
                continue;
            }
            server[slave].replstate = REPL_STATE_NONE as i32;
            trace_replstate!(server, slave);
            server[slave].flags &= !CLIENT_SLAVE;
            let node = li.node().expect("listNext returned what this node holds");
            listDelNode(&mut server.slaves, node);
            addReplyError(server, slave, b"BGSAVE failed, replication can't continue");
            server[slave].flags |= CLIENT_CLOSE_AFTER_REPLY;
        }
        return retval;
    }

    // With sockets for a target this was done already, before the fork.
    if !socket_target {
        let offset = getPsyncInitialOffset(server);
        let mut li = listRewind(&server.slaves);
        while let Some(slave) = listNext(&server.slaves, &mut li) {
            if server[slave].replstate == SLAVE_STATE_WAIT_BGSAVE_START {
                // One that can't be told is freed later; the others go on.
                let _ = replicationSetupSlaveForFullResync(server, slave, offset);
            }
        }
    }
    // The new replicas know no script but those in the file, which is not of this moment.
    replicationScriptCacheFlush(server);
    retval
}

/// SYNC, and PSYNC replid offset [FAILOVER]: the client becomes a replica, by a partial resync if
/// that is possible, or else by a full one.
pub fn syncCommand(server: &mut Server, c: ClientId, argv: &Args) {
    // Ignored from a client that is a replica already, or in MONITOR mode (which has the same
    // flag).
    if server[c].flags & CLIENT_SLAVE != 0 {
        return;
    }
    let psync = eq_ignore_case(&argv[0], b"psync");

    // A failover: our master asks to become our replica. If it follows the same history as we do,
    // we become a master.
    if argv.len() > 3 && psync && eq_ignore_case(&argv[3], b"failover") {
        serverLog!(LL_WARNING, "Failover request received for replid {}.", B(c_str(&argv[1])));
        if server.masterhost.is_none() {
            addReplyError(server, c, b"PSYNC FAILOVER can't be sent to a master.");
            return;
        }
        if !eq_ignore_case(&argv[1], &server.replid) {
            addReplyError(server, c, b"PSYNC FAILOVER replid must match my replid.");
            return;
        }
        replicationUnsetMaster(server);
        let client = catClientInfoString(server, c);
        serverLog!(LL_NOTICE, "MASTER MODE enabled (failover request from '{}')", B(&client));
    }

    // While we are failing over we are about to become a replica: nobody can sync with us.
    if server.failover_state != NO_FAILOVER {
        addReplyError(server, c, b"-NOMASTERLINK Can't SYNC while failing over");
        return;
    }

    // While the link to our own master is down, our data may be about to be replaced: nobody can
    // sync with us.
    if server.masterhost.is_some() && server.repl_state != REPL_STATE_CONNECTED {
        addReplyError(server, c, b"-NOMASTERLINK Can't SYNC while not connected with my master");
        return;
    }

    // The output buffer must be empty. From the start of the BGSAVE on it registers the difference
    // between the RDB and the data set, and nothing else may be in it: it is copied to replicas
    // that are attached to the same BGSAVE.
    if has_pending_output(&server.clients, c) {
        addReplyError(server, c, b"SYNC and PSYNC are invalid with pending output");
        return;
    }

    serverLog!(
        LL_NOTICE,
        "Replica {} asks for synchronization",
        B(&replicationGetSlaveName(server, c))
    );

    // With PSYNC, try a partial resync. If it is not possible the full resync below begins, later,
    // with
    //
    //     +FULLRESYNC <replid> <offset>
    //
    // from which the replica learns what to ask for if its link breaks.
    if psync {
        let Ok(psync_offset) = getLongLongFromObjectOrReply(server, c, &argv[2], None) else {
            serverLog!(
                LL_WARNING,
                "Replica {} asks for synchronization but with a wrong offset",
                B(&replicationGetSlaveName(server, c))
            );
            return;
        };
        if masterTryPartialResynchronization(server, c, argv, psync_offset).is_ok() {
            server.stat_sync_partial_ok += 1;
            return;
        }
        // Count a failed PSYNC, unless the id is "?": that replica wanted a full resync and knew no
        // other.
        if argv[1].first() != Some(&b'?') {
            server.stat_sync_partial_err += 1;
        }
    } else {
        // SYNC is from an implementation that does not know PSYNC, such as redis-cli --rdb. No
        // REPLCONF ACK is to be expected from it, so it must not be timed out for the lack of them.
        server[c].flags |= CLIENT_PRE_PSYNC;
        note_refused(server, c, b"?", -1, Why::NoHistory);
        trace!(server, "decision", ..newest_decision(server));
    }

    // A full resync. The replica waits for a BGSAVE to start; what follows may find that one is in
    // progress already, and changes the state.
    server.stat_sync_full += 1;
    server[c].replstate = SLAVE_STATE_WAIT_BGSAVE_START;
    trace_replstate!(server, c);
    if server.repl_disable_tcp_nodelay {
        if let Some(conn) = server[c].conn {
            // If it fails, the replica still works, with smaller packets.
            let _ = connDisableTcpNoDelay(&server.net, conn);
        }
    }
    server[c].repldbfd = None;
    server[c].flags |= CLIENT_SLAVE;
    listAddNodeTail(&mut server.slaves, c);

    // The first replica: create the backlog. As long as there was none, writes did not move the
    // offset, so no past history of ours has valid offsets. Hence a new id, and no second one.
    if listLength(&server.slaves) == 1 && !server.repl_backlog {
        changeReplicationId(server);
        clearReplicationId2(server);
        createReplicationBacklog(server);
        serverLog!(
            LL_NOTICE,
            "Replication backlog created, my new replication IDs are '{}' and '{}'",
            B(&server.replid),
            B(&server.replid2)
        );
    }

    // CASE 1: BGSAVE is in progress, with disk target.
    let saving = server.child_type == CHILD_TYPE_RDB;
    if saving && server.rdb_child_type == RDB_CHILD_TYPE_DISK {
        // It is a good one for replication if there is another replica that registers the
        // differences since the server forked: the new one can then have a copy of these, and the
        // same file. A replica that only wants the RDB registers nothing, so only another one of
        // its kind can be attached to it.
        let c_rdbonly = server[c].flags & CLIENT_REPL_RDBONLY != 0;
        let other = server.slaves.iter().copied().find(|&slave| {
            let slave = &server[slave];
            slave.replstate == SLAVE_STATE_WAIT_BGSAVE_END
                && (slave.flags & CLIENT_REPL_RDBONLY == 0 || c_rdbonly)
        });
        // And the new replica must have all the capabilities of the one that triggered the BGSAVE.
        match other.filter(|&slave| {
            let capa = server[slave].slave_capa;
            server[c].slave_capa & capa == capa
        }) {
            Some(slave) => {
                if !c_rdbonly {
                    copyClientOutputBuffer(server, c, slave);
                }
                let offset = server[slave].psync_initial_offset;
                // A replica to which this can't be sent is freed later; there is nothing more to
                // do.
                let _ = replicationSetupSlaveForFullResync(server, c, offset);
                serverLog!(LL_NOTICE, "Waiting for end of BGSAVE for SYNC");
                trace_wait!(server, c, "it is attached to the BGSAVE in progress");
            }
            None => {
                // Nobody has registered the differences: it has to wait for the next BGSAVE.
                serverLog!(
                    LL_NOTICE,
                    "Can't attach the replica to the current BGSAVE. Waiting for next BGSAVE for SYNC"
                );
                trace_wait!(server, c, "nobody registers the differences since the BGSAVE began");
            }
        }
    } else if saving {
        // CASE 2: BGSAVE is in progress, with socket target. It began without this replica, which
        // has to wait for the next one.
        serverLog!(LL_NOTICE, "Current BGSAVE has socket target. Waiting for next BGSAVE for SYNC");
        trace_wait!(server, c, "the BGSAVE in progress is streamed to others");
    } else if server.repl_diskless_sync
        && server[c].slave_capa & SLAVE_CAPA_EOF != 0
        && server.repl_diskless_sync_delay != 0
    {
        // CASE 3: no BGSAVE is in progress. A streamed one can't be joined once it has begun, so it
        // is the cron that starts it, some seconds later: more replicas may arrive meanwhile.
        serverLog!(LL_NOTICE, "Delay next BGSAVE for diskless SYNC");
        trace_wait!(server, c, "more replicas may arrive (repl-diskless-sync-delay)");
    } else if hasActiveChildProcess(server) {
        // CASE 3 as well. But another child is active, and there is only one at a time: the BGSAVE
        // is started when that has ended.
        serverLog!(
            LL_NOTICE,
            "No BGSAVE in progress, but another BG operation is active. BGSAVE for replication delayed"
        );
        trace_wait!(server, c, "another child is active");
    } else {
        // CASE 3: start one. Its target depends on what the replica knows. If that fails, the
        // replica was sent an error.
        let capa = server[c].slave_capa;
        let _ = startBgsaveForReplication(server, capa);
    }
}

/// REPLCONF option value [option value ...]: how a replica configures the replication before it
/// sends PSYNC, and what both sides tell each other while they are connected.
///
/// From a replica:
/// - `listening-port <port>`, `ip-address <ip>`: how it can be reached; for INFO and ROLE.
/// - `capa <eof|psync2>`: what it understands: a payload that ends with a mark, a +CONTINUE that
///   changes the id.
/// - `ack <offset>`: it has processed the stream up to there. Not answered.
/// - `rdb-only <0|1>`: it wants the RDB and no more.
///
/// From a master: `getack *`, which is answered by `REPLCONF ACK`.
pub fn replconfCommand(server: &mut Server, c: ClientId, argv: &Args) {
    // The name and pairs of arguments.
    if argv.len().is_multiple_of(2) {
        addReplyErrorObject(server, c, shared::syntaxerr);
        return;
    }

    for j in (1..argv.len()).step_by(2) {
        let (option, value) = (&argv[j], &argv[j + 1]);
        if eq_ignore_case(option, b"listening-port") {
            let Ok(port) = getLongFromObjectOrReply(server, c, value, None) else { return };
            server[c].slave_listening_port = port as i32;
        } else if eq_ignore_case(option, b"ip-address") {
            if value.len() >= NET_HOST_STR_LEN {
                addReplyErrorFormat!(
                    server,
                    c,
                    "REPLCONF ip-address provided by replica instance is too long: {} bytes",
                    value.len()
                );
                return;
            }
            server[c].slave_addr = Some(c_str(value).to_vec());
        } else if eq_ignore_case(option, b"capa") {
            // Capabilities that this master does not know are ignored: a newer replica may have
            // more.
            if eq_ignore_case(value, b"eof") {
                server[c].slave_capa |= SLAVE_CAPA_EOF;
            } else if eq_ignore_case(value, b"psync2") {
                server[c].slave_capa |= SLAVE_CAPA_PSYNC2;
            }
        } else if eq_ignore_case(option, b"ack") {
            if server[c].flags & CLIENT_SLAVE == 0 {
                return;
            }
            let Some(offset) = string2ll(value) else { return };
            // A replica reports how much of the stream it has processed. For replicas only; other
            // clients are ignored. There is no reply: it would be in the way of the stream.
            let now = server.steady_time;
            let slave = &mut server[c];
            slave.repl_ack_off = slave.repl_ack_off.max(offset);
            slave.repl_ack_time = now;
            note_ack(server, offset);
            let slave = &server[c];
            // It was sent a streamed RDB, and has seen its end: now the stream may follow.
            if slave.repl_put_online_on_ack && slave.replstate == SLAVE_STATE_ONLINE {
                putSlaveOnline(server, c);
            }
            return;
        } else if eq_ignore_case(option, b"getack") {
            if server.masterhost.is_some() && server.master.is_some() {
                replicationSendAck(server);
            }
            return;
        } else if eq_ignore_case(option, b"rdb-only") {
            let Ok(rdb_only) = getRangeLongFromObjectOrReply(server, c, value, 0, 1, None) else {
                return;
            };
            if rdb_only == 1 {
                server[c].flags |= CLIENT_REPL_RDBONLY;
            } else {
                server[c].flags &= !CLIENT_REPL_RDBONLY;
            }
        } else {
            addReplyErrorFormat!(server, c, "Unrecognized REPLCONF option: {}", B(c_str(option)));
            return;
        }
    }
    addReply(server, c, shared::ok);
}

/// Puts a replica online after it has received the RDB: it gets the stream from here on, starting
/// with what has accumulated in its output buffer.
///
/// 1. A replica that only wanted the RDB is no real one: its connection is closed, asynchronously.
/// 2. The state becomes ONLINE.
/// 3. The write handler is installed again: since SYNC the output buffer was filled but not sent.
///    After a streamed RDB this comes later than the state ONLINE, with the first REPLCONF ACK
///    (`repl_put_online_on_ack`).
/// 4. The number of good replicas is counted anew.
///
/// May free the replica.
pub fn putSlaveOnline(server: &mut Server, slave: ClientId) {
    server[slave].replstate = SLAVE_STATE_ONLINE;
    trace_replstate!(server, slave);
    server[slave].repl_put_online_on_ack = false;
    // It had nothing to acknowledge so far. Without this it would time out at once if the RDB took
    // long.
    server[slave].repl_ack_time = server.steady_time;
    note_online(server, slave);

    if server[slave].flags & CLIENT_REPL_RDBONLY != 0 {
        serverLog!(
            LL_NOTICE,
            "Close the connection with replica {} as RDB transfer is complete",
            B(&replicationGetSlaveName(server, slave))
        );
        freeClientAsync(server, slave);
        return;
    }
    let conn = server[slave].conn.expect("a replica has a connection");
    if connSetWriteHandler(&mut server.net, conn, Some(sendReplyToClient)).is_err() {
        serverLog!(
            LL_WARNING,
            "Unable to register writable event for replica bulk transfer: {}",
            error_text(&io::Error::last_os_error())
        );
        freeClient(server, slave);
        return;
    }
    refreshGoodSlavesCount(server);
    serverLog!(
        LL_NOTICE,
        "Synchronization with replica {} succeeded",
        B(&replicationGetSlaveName(server, slave))
    );
}

/// Removes the RDB file that was made for replicas, once none of them needs it, if
/// `rdb-del-sync-files` is on and the server has no persistence otherwise. Called periodically. In
/// some environments a policy forbids an instance without persistence to leave data on the disk.
pub fn removeRDBUsedToSyncReplicas(server: &mut Server) {
    // With the feature off, clear the flag as well: if CONFIG SET switched it off and later on
    // again, the flag would be that of an RDB from long ago, and the file there now may be another
    // one.
    if !server.rdb_del_sync_files {
        server.repl_statics.RDBGeneratedByReplication = false;
        return;
    }
    if !allPersistenceDisabled(server) || !server.repl_statics.RDBGeneratedByReplication {
        return;
    }
    let needed = server.slaves.iter().any(|&slave| {
        matches!(
            server[slave].replstate,
            SLAVE_STATE_WAIT_BGSAVE_START | SLAVE_STATE_WAIT_BGSAVE_END | SLAVE_STATE_SEND_BULK
        )
    });
    if !needed && std::fs::symlink_metadata(as_path(&server.rdb_filename)).is_ok() {
        server.repl_statics.RDBGeneratedByReplication = false;
        serverLog!(
            LL_NOTICE,
            "Removing the RDB file used to feed replicas in a persistence-less instance"
        );
        // If it can't be removed, there is nobody to tell.
        let _ = bg_unlink(server, &server.rdb_filename);
    }
}

/// Sends the RDB file to a replica: the write handler of its connection meanwhile. Sends the
/// length, then 16 KB of the file in each call, and puts the replica online after the last byte.
/// Frees the replica if the file can't be read or the connection is broken.
pub fn sendBulkToSlave(server: &mut Server, conn: ConnId) {
    let slave = ClientId::from_u64(connGetPrivateData(&server.net, conn));

    // The preamble is the length of the file, in the form "$<length>\r\n" of any bulk.
    if let Some(mut replpreamble) = server[slave].replpreamble.take() {
        let Ok(nwritten) = connWrite(&mut server.net, conn, &replpreamble) else {
            serverLog!(
                LL_VERBOSE,
                "Write error sending RDB preamble to replica: {}",
                B(&connGetLastError(&server.net, conn))
            );
            freeClient(server, slave);
            return;
        };
        server.stat_net_output_bytes += nwritten as i64;
        replpreamble.drain(..nwritten);
        if !replpreamble.is_empty() {
            server[slave].replpreamble = Some(replpreamble);
            return;
        }
    }

    // The next part of the file. What is read here and can't be written is read again by the next
    // call.
    let fd = server[slave].repldbfd.expect("a replica in SEND_BULK has the file open");
    let mut buf = [0; PROTO_IOBUF_LEN];
    let nread = lseek(fd, server[slave].repldboff, libc::SEEK_SET).and_then(|_| read(fd, &mut buf));
    let buf = match nread {
        Ok(buflen) if buflen > 0 => &buf[..buflen],
        failed => {
            serverLog!(
                LL_WARNING,
                "Read error sending DB to replica: {}",
                failed.map_or_else(|e| error_text(&e), |_| "premature EOF".into())
            );
            freeClient(server, slave);
            return;
        }
    };
    let Ok(nwritten) = connWrite(&mut server.net, conn, buf) else {
        if connGetState(&server.net, conn) != CONN_STATE_CONNECTED {
            serverLog!(
                LL_WARNING,
                "Write error sending DB to replica: {}",
                B(&connGetLastError(&server.net, conn))
            );
            freeClient(server, slave);
        }
        return;
    };
    server.stat_net_output_bytes += nwritten as i64;
    server[slave].repldboff += nwritten as i64;
    if server[slave].repldboff == server[slave].repldbsize {
        close(fd);
        server[slave].repldbfd = None;
        // It always works to take a handler away.
        let _ = connSetWriteHandler(&mut server.net, conn, None);
        putSlaveOnline(server, slave);
    }
}

/// Lets a replica to which an RDB is streamed count no longer among those that have not taken all
/// of the last piece: it has, or it is gone. When none is left, the next piece is read from the
/// pipe.
pub fn rdbPipeWriteHandlerConnRemoved(server: &mut Server, conn: ConnId) {
    if !connHasWriteHandler(&server.net, conn) {
        return;
    }
    // It always works to take a handler away.
    let _ = connSetWriteHandler(&mut server.net, conn, None);
    let slave = ClientId::from_u64(connGetPrivateData(&server.net, conn));
    server[slave].repl_last_partial_write = 0;
    server.rdb_pipe_numconns_writing -= 1;
    if server.rdb_pipe_numconns_writing == 0 {
        watch_rdb_pipe(server);
    }
}

/// Has `rdbPipeReadHandler` called when the child has sent something.
pub fn watch_rdb_pipe(server: &mut Server) {
    let fd = server.rdb_pipe_read.expect("an RDB is streamed from a pipe");
    let el = &mut server.net.el;
    if aeCreateFileEvent(el, fd, AE_READABLE, rdbPipeReadHandler, 0).is_err() {
        panic!("Unrecoverable error creating server.rdb_pipe_read file event.");
    }
}

/// Sends a replica the rest of the last piece of a streamed RDB: the write handler of its
/// connection as long as it has not taken all of it.
pub fn rdbPipeWriteHandler(server: &mut Server, conn: ConnId) {
    assert!(!server.rdb_pipe_buff.is_empty());
    let slave = ClientId::from_u64(connGetPrivateData(&server.net, conn));
    let sent = server[slave].repldboff as usize;
    let Ok(nwritten) = connWrite(&mut server.net, conn, &server.rdb_pipe_buff[sent..]) else {
        if connGetState(&server.net, conn) != CONN_STATE_CONNECTED {
            serverLog!(
                LL_WARNING,
                "Write error sending DB to replica: {}",
                B(&connGetLastError(&server.net, conn))
            );
            freeClient(server, slave);
        }
        return;
    };
    server.stat_net_output_bytes += nwritten as i64;
    server[slave].repldboff += nwritten as i64;
    if sent + nwritten < server.rdb_pipe_buff.len() {
        server[slave].repl_last_partial_write = server.steady_time;
        return;
    }
    rdbPipeWriteHandlerConnRemoved(server, conn);
}

/// Hands on what the child has written into the pipe to all the replicas that get it: the handler
/// of the pipe's reading end.
///
/// The slowest replica sets the pace: as long as one has not taken all of a piece, nothing more is
/// read. The pipe fills, and the child waits. A replica that goes does not stop the others; when
/// the last one is gone, the child is killed.
pub fn rdbPipeReadHandler(server: &mut Server, fd: RawFd, _clientData: u64, _mask: i32) {
    assert_eq!(server.rdb_pipe_numconns_writing, 0);
    loop {
        server.rdb_pipe_buff.clear();
        match read_append(fd, &mut server.rdb_pipe_buff, PROTO_IOBUF_LEN) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                server.net.el.drained(fd, AE_READABLE);
                return;
            }
            Err(e) => {
                serverLog!(
                    LL_WARNING,
                    "Diskless rdb transfer, read error sending DB to replicas: {}",
                    error_text(&e)
                );
                for i in 0..server.rdb_pipe_conns.len() {
                    if let Some(conn) = server.rdb_pipe_conns[i].take() {
                        let slave = ClientId::from_u64(connGetPrivateData(&server.net, conn));
                        freeClient(server, slave);
                    }
                }
                killRDBChild(server);
                return;
            }
            Ok(0) => {
                // The child has closed its end: this is all.
                aeDeleteFileEvent(&mut server.net.el, fd, AE_READABLE);
                serverLog!(
                    LL_WARNING,
                    "Diskless rdb transfer, done reading from pipe, {} replicas still up.",
                    server.rdb_pipe_conns.iter().flatten().count()
                );
                // Tell the child that it can exit. Its end puts the replicas online, and lets the
                // next child start: neither must happen while a replica still lacks a part of the
                // RDB.
                if let Some(exit_pipe) = server.rdb_child_exit_pipe.take() {
                    close(exit_pipe);
                }
                trace!(server, "rdb_pipe", "what": "end", "bytes": streamed_bytes(server));
                return;
            }
            Ok(_) => {}
        }

        count_streamed(server, server.rdb_pipe_buff.len(), false);
        let mut still_alive = 0;
        for i in 0..server.rdb_pipe_conns.len() {
            let Some(conn) = server.rdb_pipe_conns[i] else { continue };
            let slave = ClientId::from_u64(connGetPrivateData(&server.net, conn));
            let nwritten = match connWrite(&mut server.net, conn, &server.rdb_pipe_buff) {
                Ok(nwritten) => {
                    server.stat_net_output_bytes += nwritten as i64;
                    nwritten
                }
                // Its socket is full.
                Err(_) if connGetState(&server.net, conn) == CONN_STATE_CONNECTED => 0,
                Err(_) => {
                    serverLog!(
                        LL_WARNING,
                        "Diskless rdb transfer, write error sending DB to replica: {}",
                        B(&connGetLastError(&server.net, conn))
                    );
                    freeClient(server, slave);
                    server.rdb_pipe_conns[i] = None;
                    continue;
                }
            };
            server[slave].repldboff = nwritten as i64;
            if nwritten != server.rdb_pipe_buff.len() {
                server[slave].repl_last_partial_write = server.steady_time;
                server.rdb_pipe_numconns_writing += 1;
                // The connection has its place in the loop already: this does not fail.
                let _ = connSetWriteHandler(&mut server.net, conn, Some(rdbPipeWriteHandler));
            }
            still_alive += 1;
        }

        if still_alive == 0 {
            serverLog!(
                LL_WARNING,
                "Diskless rdb transfer, last replica dropped, killing fork child."
            );
            killRDBChild(server);
        }
        if server.rdb_pipe_numconns_writing != 0 || still_alive == 0 {
            trace!(
                server,
                "rdb_pipe",
                "what": if still_alive == 0 { "nobody is left" } else { "waits for replicas" },
                "waits_for": server.rdb_pipe_numconns_writing,
                "bytes": streamed_bytes(server),
            );
            aeDeleteFileEvent(&mut server.net.el, fd, AE_READABLE);
            return;
        }
    }
}

/// Handles the replicas that wait for a BGSAVE, at the end of each: if it succeeded they are sent
/// its file, or were sent all of it already; otherwise (`bgsaveerr`) their connections are closed,
/// and they will try again. `type_` is that of the child that has ended: to disk or to sockets.
///
/// Replicas that came during the BGSAVE and could not be attached to it wait for the next one,
/// which `replicationStartPendingFork` starts.
///
/// No client is freed at once, since this may be called in the middle of a command of a replica.
pub fn updateSlavesWaitingBgsave(server: &mut Server, bgsaveerr: CResult, type_: i32) {
    let mut li = listRewind(&server.slaves);
    while let Some(slave) = listNext(&server.slaves, &mut li) {
        if server[slave].replstate != SLAVE_STATE_WAIT_BGSAVE_END {
            continue;
        }
        if bgsaveerr.is_err() {
            freeClientAsync(server, slave);
            serverLog!(LL_WARNING, "SYNC failed. BGSAVE child returned an error");
            continue;
        }

        // A streamed RDB was sent already, and the replica is online in principle. But what has
        // accumulated for it is held back:
        //
        // 1. All of the RDB was written to the socket.
        // 2. The replica is ONLINE, without a write handler.
        // 3. The replica sees the end of the RDB, loads it, and says so by a REPLCONF ACK.
        // 4. The handler of that installs the write handler (`putSlaveOnline`).
        //
        // The reason is that the replica knows the end of the RDB only by the mark. To look for the
        // mark at the end of what it has read is simple and fast, and that takes that nothing
        // follows the mark.
        if type_ == RDB_CHILD_TYPE_SOCKET {
            serverLog!(
                LL_NOTICE,
                "Streamed RDB transfer with replica {} succeeded (socket). Waiting for REPLCONF ACK from slave to enable streaming",
                B(&replicationGetSlaveName(server, slave))
            );
            let now = server.steady_time;
            let client = &mut server[slave];
            client.replstate = SLAVE_STATE_ONLINE;
            client.repl_put_online_on_ack = true;
            client.repl_ack_time = now; // It would time out at once otherwise.
            trace_replstate!(server, slave);
            note_rdb_size(server, slave, streamed_bytes(server));
            continue;
        }

        // Each replica has a descriptor of its own, as each is at another place in the file. And
        // the file that it refers to stays, even if another save replaces dump.rdb before all of it
        // is sent.
        let opened = open(&server.rdb_filename, libc::O_RDONLY, 0)
            .and_then(|fd| file_size(fd).map(|size| (fd, size)).inspect_err(|_| close(fd)));
        let (fd, size) = match opened {
            Ok(opened) => opened,
            Err(e) => {
                freeClientAsync(server, slave);
                serverLog!(
                    LL_WARNING,
                    "SYNC failed. Can't open/stat DB after BGSAVE: {}",
                    error_text(&e)
                );
                continue;
            }
        };
        note_rdb_size(server, slave, size);
        let client = &mut server[slave];
        client.repldbfd = Some(fd);
        client.repldboff = 0;
        client.repldbsize = size;
        client.replstate = SLAVE_STATE_SEND_BULK;
        client.replpreamble = Some(bformat!("${}\r\n", size));

        let conn = client.conn.expect("a replica has a connection");
        trace_replstate!(server, slave);
        let _ = connSetWriteHandler(&mut server.net, conn, None);
        if connSetWriteHandler(&mut server.net, conn, Some(sendBulkToSlave)).is_err() {
            freeClientAsync(server, slave);
        }
    }
}

/// Changes our replication id to a new, random one, so that no PSYNC by the old one can succeed:
/// for whenever something happens by which the data set is no longer what the history under the old
/// id says.
pub fn changeReplicationId(server: &mut Server) {
    server.replid = vec![0; CONFIG_RUN_ID_SIZE];
    getRandomHexChars(&mut server.replid);
    history_begins(server);
    trace_ids!(server);
}

/// Invalidates the second replication id: for whenever a new history starts, as after a full
/// resync.
pub fn clearReplicationId2(server: &mut Server) {
    server.replid2 = vec![b'0'; CONFIG_RUN_ID_SIZE];
    server.second_replid_offset = -1;
    trace_ids!(server);
}

// ANCHOR: shiftReplicationId
/// Makes the current replication id and offset the second ones, and starts a new history under a
/// new id: for a replica that becomes a master, which can then serve PSYNCs of the other replicas
/// of its former master by the id that they know.
pub fn shiftReplicationId(server: &mut Server) {
    server.replid2.clone_from(&server.replid);
    // The offset is one more than that of the last byte, since PSYNC names the first byte that the
    // replica has not got. If as a replica we had the same history as our master for 50 bytes, we
    // can accept a PSYNC with offset 51: who sends it has the same 50 bytes, and asks for ours from
    // there on.
    server.second_replid_offset = server.master_repl_offset.wrapping_add(1);
    changeReplicationId(server);
    serverLog!(
        LL_WARNING,
        "Setting secondary replication ID to {}, valid up to offset: {}. New replication ID is {}",
        B(&server.replid2),
        server.second_replid_offset,
        B(&server.replid)
    );
}
// ANCHOR_END: shiftReplicationId

// -----------------------------------------------------------------------------
// SLAVE
// -----------------------------------------------------------------------------

// ANCHOR: slaveIsInHandshakeState
/// Tells whether we are in the middle of the handshake with our master: the socket is connected,
/// and PSYNC not answered yet.
pub fn slaveIsInHandshakeState(server: &Server) -> bool {
    match server.repl_state {
        REPL_STATE_RECEIVE_PING_REPLY
        | REPL_STATE_SEND_HANDSHAKE
        | REPL_STATE_RECEIVE_AUTH_REPLY
        | REPL_STATE_RECEIVE_PORT_REPLY
        | REPL_STATE_RECEIVE_IP_REPLY
        | REPL_STATE_RECEIVE_CAPA_REPLY
        | REPL_STATE_SEND_PSYNC
        | REPL_STATE_RECEIVE_PSYNC_REPLY => true,
        REPL_STATE_NONE
        | REPL_STATE_CONNECT
        | REPL_STATE_CONNECTING
        | REPL_STATE_TRANSFER
        | REPL_STATE_CONNECTED => false,
    }
}
// ANCHOR_END: slaveIsInHandshakeState

/// Keeps the master from timing us out, while we empty the dbs or load its RDB and can't do
/// anything else: sends a newline, at most once a second.
///
/// A newline between two commands is valid protocol, and being a single byte it is sent whole or
/// not at all, so it can't leave half a command in the socket.
pub fn replicationSendNewlineToMaster(server: &mut Server) {
    let now = steady_ms() / 1000;
    if now != server.repl_statics.newline_sent {
        server.repl_statics.newline_sent = now;
        if let Some(conn) = server.repl_transfer_s {
            // If it fails, we find out when we read from it.
            let _ = connWrite(&mut server.net, conn, b"\n");
        }
    }
}

/// Sends the master a newline while a full resync empties the dbs; `emptyDb` calls this from time
/// to time.
pub fn replicationEmptyDbCallback(server: &mut Server) {
    if server.repl_state == REPL_STATE_TRANSFER {
        replicationSendNewlineToMaster(server);
    }
}

/// Creates `server.master`, the client that represents our master, once we have a link and are
/// synchronized. Its id and offset are those of +FULLRESYNC (`master_replid`,
/// `master_initial_offset`); `dbid` is the db that its stream is in, -1 if that is not known.
///
/// Without a connection the client is meant to become the cached master
/// (`replicationCacheMasterUsingMyself`).
pub fn replicationCreateMasterClient(server: &mut Server, conn: Option<ConnId>, dbid: i32) {
    let master = createClient(server, conn);
    server.master = Some(master);
    if let Some(conn) = conn {
        // As in `createClient`. If it fails, nothing is read from the link, and the cron times it
        // out.
        let _ = connSetReadHandler(&mut server.net, conn, Some(readQueryFromClient));
    }

    // C: CLIENT_DENY_BLOCKING is not set, so that a command that blocks shows itself, by an
    // assertion. Here it is logged (`command_from_master`), and replies as if its timeout were
    // over.
    let reploff = server.master_initial_offset;
    let replid = server.master_replid.clone();
    let client = &mut server[master];
    client.flags |= CLIENT_MASTER | CLIENT_DENY_BLOCKING;
    client.authenticated = true;
    client.reploff = reploff;
    client.read_reploff = reploff;
    client.user = None; // It may do everything.
    client.replid = replid;
    // A master that told no offset knows only SYNC, and will not be sent any ACK.
    if reploff == -1 {
        client.flags |= CLIENT_PRE_PSYNC;
    }
    if dbid != -1 {
        // If there are not as many dbs here, the link is closed when the stream selects one of
        // them.
        let _ = selectDb(server, master, dbid);
    }
}

/// The decision about a command that our master sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FromMaster {
    /// Execute it (or queue it, or refuse it with an error in the log), like a command of any
    /// client.
    Execute,
    /// Execute nothing. The bytes of the command count in the offset, and go on to our own
    /// replicas.
    Ignore,
    /// Close the link before the command: nothing behind it can be applied in the right place.
    HangUp,
}
use FromMaster::*;

/// Decides about each command that our master sends: what it may do here, and what it may not.
///
/// Genuine masters of all versions have in their streams what changed their data, and a
/// handful of commands beside that. Anything else is no part of a history, and was executed
/// nowhere: a client in the place of our master, or a fault.
///
/// | command | what becomes of it | why |
/// |---|---|---|
/// | `write`, `may-replicate` | executed | the data; PUBLISH, and PFCOUNT, which writes its result down |
/// | of these, `@blocking` | executed, logged; nobody waits | the stream must go on. A master sends what it did: LPOP for BLPOP |
/// | of these, MIGRATE | ignored | it sends our keys to somebody. A master sends the DEL |
/// | MULTI, EXEC, DISCARD | executed | a transaction |
/// | SELECT | executed, if we have that db | where the data belongs |
/// | SELECT of what is no db here | the link is closed | what follows would go to another db |
/// | PING, REPLCONF GETACK | executed | the link |
/// | WATCH, UNWATCH | ignored | it could only make a transaction fail that the master has executed |
/// | other commands of 6.2 (QUIT too) | ignored | read: nobody gets the reply. Administer: not over this link |
/// | unknown commands, too few arguments | refused, logged as critical | as in the C |
///
/// What a newer master sends, that 6.2 does not have, is translated or stops the link before it
/// comes here: [`newer_masters`].
///
/// C: it executes everything, and a command that blocks, or concerns the connection, ends the
/// process or leaves the link in a state that no other code expects.
pub fn command_from_master(server: &mut Server, c: ClientId, argv: &Args) -> FromMaster {
    let name = argv.get(0);
    let found = argv.cmd().or_else(|| lookupCommand(server, name));
    let Some(cmd) = found else {
        // QUIT is in no table.
        return if eq_ignore_case(name, b"quit") {
            ignore_from_master(server, c, "quit")
        } else {
            Execute
        };
    };
    let commands = &server.commands;
    let command = &commands[cmd];
    let flags = command.flags;
    if flags & (CMD_WRITE | CMD_MAY_REPLICATE) != 0 && cmd != commands.migrateCommand {
        if flags & CMD_CATEGORY_BLOCKING != 0 {
            serverLog!(
                LL_WARNING,
                "The master sent a blocking command, '{}', before offset {}: it does not block here",
                command.name,
                offset_behind_command(server, c)
            );
        }
        return Execute;
    }
    if cmd == commands.multiCommand
        || cmd == commands.execCommand
        || cmd == commands.discardCommand
        || cmd == commands.pingCommand
    {
        return Execute;
    }
    if cmd == commands.selectCommand {
        let dbs = 0..server.dbnum as i64;
        if argv.len() == 2 && string2ll(&argv[1]).is_some_and(|id| dbs.contains(&id)) {
            return Execute;
        }
        serverLog!(
            LL_WARNING,
            "The master selects db '{}' before offset {}, and there are {} here ('databases'): closing the link",
            B(argv.iter().nth(1).unwrap_or_default()),
            offset_behind_command(server, c),
            server.dbnum
        );
        close_master_link(server, c);
        return HangUp;
    }
    let getack = argv.len() == 3 && eq_ignore_case(&argv[1], b"getack");
    if cmd == commands.replconfCommand && getack {
        return Execute;
    }
    let name = command.name;
    ignore_from_master(server, c, name)
}

/// Logs that a command of our master has no effect.
fn ignore_from_master(server: &Server, c: ClientId, name: &str) -> FromMaster {
    serverLog!(
        LL_WARNING,
        "Ignoring command '{}' from the master, before offset {}: it is not for a replication stream",
        name,
        offset_behind_command(server, c)
    );
    Ignore
}

/// Returns the replication offset at which the command ends that our master's client is about to
/// execute.
pub fn offset_behind_command(server: &Server, c: ClientId) -> i64 {
    let client = &server[c];
    let left = client.querybuf.len() + client.input.querybuf_lent_len - client.input.qb_pos;
    client.read_reploff - left as i64
}

/// Closes the link to our master because of what it sent. The next attempt is the cron's: it is
/// likely to end the same way.
pub fn close_master_link(server: &mut Server, c: ClientId) {
    server.repl_reconnect_later = true;
    freeClientAsync(server, c);
}

/// Enables the append only file again after a sync, which has stopped it. If that fails, even after
/// several attempts, the process exits: a replica that does not persist what it is configured to
/// persist can't be relied on.
pub fn restartAOFAfterSYNC(server: &mut Server) {
    const MAX_TRIES: usize = 10;
    for _ in 0..MAX_TRIES {
        if startAppendOnly(server).is_ok() {
            return;
        }
        serverLog!(
            LL_WARNING,
            "Failed enabling the AOF after successful master synchronization! Trying it again in one second."
        );
        usleep(1_000_000);
    }
    serverLog!(
        LL_WARNING,
        "FATAL: this replica instance finished the synchronization with its master, but the AOF can't be turned on. Exiting now."
    );
    std::process::exit(1);
}

/// Detects the end of a payload of unknown length, as a diskless master sends it.
///
/// It does not know the size of the RDB in advance, so it announces a mark with `$EOF:<40 bytes>`,
/// and sends the same 40 bytes after the RDB. They are random, and long enough that they do not
/// occur in the RDB by chance: that has a probability of 16^-40 at each position, so even a payload
/// of a terabyte (2^40 bytes) collides once in 2^120 transfers. It also means that nothing may
/// follow the mark until we have answered, or its end could not be told from the stream.
struct EofMark {
    eofmark: [u8; CONFIG_RUN_ID_SIZE],
    /// The last 40 bytes received. They start as zero bytes, which no mark contains.
    lastbytes: [u8; CONFIG_RUN_ID_SIZE],
}

impl EofMark {
    fn new(eofmark: [u8; CONFIG_RUN_ID_SIZE]) -> EofMark {
        EofMark { eofmark, lastbytes: [0; CONFIG_RUN_ID_SIZE] }
    }

    /// Takes the next bytes of the payload, in pieces of any size. True if they end with the mark.
    fn feed(&mut self, buf: &[u8]) -> bool {
        match buf.last_chunk() {
            Some(last) => self.lastbytes = *last,
            None => {
                self.lastbytes.rotate_left(buf.len());
                let rem = self.lastbytes.len() - buf.len();
                self.lastbytes[rem..].copy_from_slice(buf);
            }
        }
        self.lastbytes == self.eofmark
    }
}

/// The line before the RDB, parsed.
enum BulkHeader<'a> {
    /// `-<text>`
    Error(&'a [u8]),
    /// An empty line. At this stage it works as a PING: the master is alive, and not ready yet.
    KeepAlive,
    /// `$EOF:<40 bytes>`: the RDB, then these bytes.
    Mark([u8; CONFIG_RUN_ID_SIZE]),
    /// `$<count>`: so many bytes.
    Length(i64),
    /// Something else, without a `$`.
    Bad,
}

/// Parses the line before the RDB.
fn parse_bulk_header(line: &[u8]) -> BulkHeader<'_> {
    match line {
        [] => BulkHeader::KeepAlive,
        [b'-', text @ ..] => BulkHeader::Error(text),
        [b'$', b'E', b'O', b'F', b':', mark @ ..] if mark.len() >= CONFIG_RUN_ID_SIZE => {
            BulkHeader::Mark(*mark.first_chunk().expect("the length was checked"))
        }
        [b'$', count @ ..] => BulkHeader::Length(strtoll(count, 10).value),
        _ => BulkHeader::Bad,
    }
}

/// The number of bytes of the RDB after which what was received is synced to the disk.
const REPL_MAX_WRITTEN_BEFORE_FSYNC: i64 = 1024 * 1024 * 8;

/// Tells whether the RDB of a full resync is to be loaded straight from the socket, as
/// `repl-diskless-load` says: never, if there is nothing to lose, or always (the old data are kept
/// aside meanwhile).
fn useDisklessLoad(server: &Server) -> bool {
    match server.repl_diskless_load {
        REPL_DISKLESS_LOAD_SWAPDB => true,
        REPL_DISKLESS_LOAD_WHEN_DB_EMPTY => dbTotalServerKeyCount(server) == 0,
        _ => false,
    }
}

/// Puts our data aside, while those of the master are loaded from the socket.
pub fn disklessLoadMakeBackup(server: &mut Server) -> dbBackup {
    backupDb(server)
}

/// Takes the old data back, after the load has failed, and what it had loaded was removed.
pub fn disklessLoadRestoreBackup(server: &mut Server, backup: dbBackup) {
    restoreDbBackup(server, backup);
}

/// Frees the old data, after the load has succeeded. `flags`: those of `emptyDb`.
pub fn disklessLoadDiscardBackup(server: &mut Server, backup: dbBackup, flags: i32) {
    discardDbBackup(server, backup, flags, replicationEmptyDbCallback);
}

/// Receives the RDB of a full resync: the read handler of the connection to our master meanwhile.
/// Writes the payload to a temporary file, and when it is complete, loads it in place of our data,
/// and goes over to the stream. In a diskless load there is no file, and the payload is loaded from
/// the socket, in one go.
pub fn readSyncBulkPayload(server: &mut Server, conn: ConnId) {
    // DEBUG RELOAD or DEBUG LOADAOF is loading, and processes events meanwhile: what has arrived can
    // wait. C: loads it in the middle of the load, which then adds the rest of its keys to it.
    if server.loading {
        server.repl_transfer_lastio = server.steady_time;
        return;
    }
    // C: asks for the configuration again each time, which may have changed since the file was made
    // or not.
    let use_diskless_load = server.repl_transfer_fd.is_none();
    let to = if use_diskless_load { "to parser" } else { "to disk" };
    // Why it failed, but for a link that was cut: that is tried again at once.
    let reason: Option<Vec<u8>> = 'error: {
        // Still to come is the line that tells the size of the payload.
        if server.repl_transfer_size == -1 {
            let timeout = syncio_timeout(server);
            let line = match connSyncReadLine(&mut server.net, conn, 1024, timeout) {
                Ok(line) => line,
                Err(e) => {
                    serverLog!(
                        LL_WARNING,
                        "I/O error reading bulk count from MASTER: {}",
                        error_text(&e)
                    );
                    break 'error None;
                }
            };
            let buf = c_str(&line);
            match parse_bulk_header(buf) {
                BulkHeader::Error(text) => {
                    serverLog!(LL_WARNING, "MASTER aborted replication with an error: {}", B(text));
                    break 'error Some(bformat!(
                        "the master aborted it with an error: {}",
                        B(text)
                    ));
                }
                BulkHeader::KeepAlive => server.repl_transfer_lastio = server.steady_time,
                BulkHeader::Bad => {
                    serverLog!(
                        LL_WARNING,
                        "Bad protocol from MASTER, the first byte is not '$' (we received '{}'), are you sure the host and port are right?",
                        B(buf)
                    );
                    break 'error Some(b"the master speaks another protocol".to_vec());
                }
                BulkHeader::Mark(mark) => {
                    server.repl_statics.eofmark = Some(EofMark::new(mark));
                    // Anything but -1: the header was read.
                    server.repl_transfer_size = 0;
                    serverLog!(
                        LL_NOTICE,
                        "MASTER <-> REPLICA sync: receiving streamed RDB from master with EOF {}",
                        to
                    );
                    trace!(server, "payload", "bytes": None::<i64>, "load": to);
                }
                BulkHeader::Length(size) => {
                    server.repl_statics.eofmark = None;
                    serverLog!(
                        LL_NOTICE,
                        "MASTER <-> REPLICA sync: receiving {} bytes from master {}",
                        size,
                        to
                    );
                    trace!(server, "payload", "bytes": size, "load": to);
                    // C: -1 makes it wait for another header, and a smaller number becomes a read
                    // of enormous length.
                    if size < 0 {
                        serverLog!(
                            LL_WARNING,
                            "Bad protocol from MASTER, the payload has a negative length"
                        );
                        break 'error Some(b"the master speaks another protocol".to_vec());
                    }
                    server.repl_transfer_size = size;
                }
            }
            return;
        }

        if use_diskless_load {
            load_sync_bulk_payload(server, conn);
            return;
        }

        // Read the next piece of the payload, but nothing beyond its end: that is the stream, which
        // the client of our master reads.
        let mut buf = [0; PROTO_IOBUF_LEN];
        let usemark = server.repl_statics.eofmark.is_some();
        let readlen = if usemark {
            buf.len()
        } else {
            let left = server.repl_transfer_size - server.repl_transfer_read;
            left.clamp(0, buf.len() as i64) as usize
        };
        let nread = connRead(&mut server.net, conn, &mut buf[..readlen]);
        let buf = match nread {
            Ok(nread) if nread > 0 => &buf[..nread],
            failed => {
                // EAGAIN leaves the connection in its state: there is nothing to read after all. A
                // readlen of 0 is that of an empty payload (`$0`), for which a read of 0 bytes is
                // no end of file; no RDB is empty, so it is an error.
                if readlen != 0 && connGetState(&server.net, conn) == CONN_STATE_CONNECTED {
                    return;
                }
                serverLog!(
                    LL_WARNING,
                    "I/O error trying to sync with MASTER: {}",
                    failed.map_or_else(|e| error_text(&e), |_| "connection lost".into())
                );
                break 'error None;
            }
        };
        server.stat_net_input_bytes += buf.len() as i64;
        let mut eof_reached =
            server.repl_statics.eofmark.as_mut().is_some_and(|mark| mark.feed(buf));

        // Note the time of this I/O, by which a transfer that stalls is detected, and write what
        // was read to the file. At the end of the payload that may be the mark, which is cut off
        // below.
        server.repl_transfer_lastio = server.steady_time;
        let fd = server.repl_transfer_fd.expect("a transfer has a file");
        let nwritten = write(fd, buf);
        if !nwritten.as_ref().is_ok_and(|&nwritten| nwritten == buf.len()) {
            serverLog!(
                LL_WARNING,
                "Write error or short write writing to the DB dump file needed for MASTER <-> REPLICA synchronization: {}",
                nwritten.map_or_else(|e| error_text(&e), |_| "short write".into())
            );
            break 'error Some(b"the RDB could not be written to the disk".to_vec());
        }
        server.repl_transfer_read += buf.len() as i64;

        if eof_reached {
            let size = server.repl_transfer_read - CONFIG_RUN_ID_SIZE as i64;
            if let Err(e) = ftruncate(fd, size) {
                serverLog!(
                    LL_WARNING,
                    "Error truncating the RDB file received from the master for SYNC: {}",
                    error_text(&e)
                );
                break 'error Some(b"the RDB could not be written to the disk".to_vec());
            }
        }

        // Sync to the disk from time to time. Otherwise the fsync at the end would have to write
        // all of the buffers of the kernel, and block us for long.
        let sync_size = server.repl_transfer_read - server.repl_transfer_last_fsync_off;
        if sync_size >= REPL_MAX_WRITTEN_BEFORE_FSYNC {
            // It only spreads the work; that of the fsync at the end is what counts, and its error
            // is handled.
            let _ = rdb_fsync_range(fd, server.repl_transfer_last_fsync_off, sync_size);
            server.repl_transfer_last_fsync_off += sync_size;
        }

        if !usemark && server.repl_transfer_read == server.repl_transfer_size {
            eof_reached = true;
        }
        if eof_reached {
            load_sync_bulk_payload(server, conn);
        }
        return;
    };

    // error:
    if let Some(reason) = reason {
        replication_backoff(server, &reason);
    }
    cancelReplicationHandshake(server, true);
}

/// Ends a full resync, when the file is complete, or in a diskless load, when the payload begins:
/// loads it in place of our data, and makes the connection that of the client of our master. (The
/// second half of the C's `readSyncBulkPayload`.)
///
/// In a diskless load this blocks until all of the payload is read, but for events that are
/// processed from time to time. If it fails, the data set is empty; with `swapdb` it is as before.
///
/// The file takes the place of our own RDB when it is loaded, not before: what a master sends may
/// be damaged, and then the old one is all that there is to start from.
// C: it is renamed first, and loaded from there.
fn load_sync_bulk_payload(server: &mut Server, conn: ConnId) {
    let use_diskless_load = server.repl_transfer_fd.is_none();
    let eofmark = server.repl_statics.eofmark.take();
    let usemark = eofmark.is_some();
    let tmpfile = server.repl_transfer_tmpfile.clone().unwrap_or_default();
    // C: finds out that the file is damaged only when the old data is gone.
    if !use_diskless_load && !rdb_is_loadable(server, &tmpfile).unwrap_or(false) {
        serverLog!(LL_WARNING, "Failed trying to load the MASTER synchronization DB from disk");
        replication_backoff(server, b"the RDB could not be loaded");
        cancelReplicationHandshake(server, true);
        return;
    }
    // A diskless load reads from the socket, which blocks meanwhile.
    let mut rdb = use_diskless_load.then(|| stream_of_master(server, conn));
    let refused = match &mut rdb {
        Some(rdb) => guard_refuses_stream(server, rdb),
        None => guard_refuses(server, || file_has_no_keys(&tmpfile)),
    };
    if refused {
        guard_refused(server);
        trace!(server, "master_refused", "reason": "it has no keys, and a history that is not ours");
        cancelReplicationHandshake(server, true);
        return;
    }
    serverLog!(LL_NOTICE, "MASTER <-> REPLICA sync: Flushing old data");

    // Stop the append only file: it describes the data that is about to go. And if a child rewrites
    // it, copy-on-write would duplicate the data set that we now free.
    if server.aof_state != AOF_OFF {
        stopAppendOnly(server);
    }
    // The old data can be kept, in case the load fails.
    let swapdb = use_diskless_load && server.repl_diskless_load == REPL_DISKLESS_LOAD_SWAPDB;
    let backup = swapdb.then(|| disklessLoadMakeBackup(server));
    let empty_db_flags =
        if server.repl_slave_lazy_flush { EMPTYDB_ASYNC } else { EMPTYDB_NO_FLAGS };
    emptyDb(server, -1, empty_db_flags, Some(replicationEmptyDbCallback));

    // Remove the read handler: `rdbLoad` serves events from time to time, and would call this
    // function recursively.
    let _ = connSetReadHandler(&mut server.net, conn, None);
    serverLog!(LL_NOTICE, "MASTER <-> REPLICA sync: Loading DB in memory");
    let mut rsi = rdbSaveInfo::default();
    let loaded = match &mut rdb {
        Some(rdb) => load_from_socket(server, conn, rdb, eofmark, backup, empty_db_flags, &mut rsi),
        None => load_transferred_file(server, &tmpfile, &mut rsi),
    };
    if loaded.is_err() {
        // The append only file is not restarted: there would be no data to log. It will be when a
        // later sync succeeds, or when this replica is promoted.
        let was_cut = rdb.as_ref().is_some_and(rioGetReadError);
        if !was_cut {
            replication_backoff(server, b"the RDB could not be loaded");
        }
        cancelReplicationHandshake(server, true);
        return;
    }

    // Synchronized. From here on the connection belongs to the client of our master.
    let conn = server.repl_transfer_s.take();
    replicationCreateMasterClient(server, conn, rsi.repl_stream_db);
    server.repl_state = REPL_STATE_CONNECTED;
    trace_repl_state!(server);
    server.repl_down_since = 0;
    link_established(server);
    guard_reset(server);
    forget_cached_master(server);

    // After a full resync our history is that of the master: its id and its offset. The second id
    // is cleared, since a new history starts.
    server.replid.clone_from(&server.master_replid);
    server.master_repl_offset = server.master_initial_offset;
    clearReplicationId2(server);

    // A replica accumulates a backlog whether it has replicas or not: after a failover it may be
    // the master of others, who will ask for the bytes that they missed.
    if !server.repl_backlog {
        createReplicationBacklog(server);
    }
    serverLog!(LL_NOTICE, "MASTER <-> REPLICA sync: Finished with success");
    note_sync_end(server, true, server.repl_transfer_read);
    trace!(
        server,
        "synchronized",
        "bytes": server.repl_transfer_read,
        "offset": server.master_repl_offset,
    );

    if server.supervised_mode == SUPERVISED_SYSTEMD {
        redisCommunicateSystemd(
            b"STATUS=MASTER <-> REPLICA sync: Finished with success. Ready to accept connections in read-write mode.\n",
        );
    }

    // A master that sent the mark holds the stream back until our first ACK, so that nothing
    // follows the mark before we have seen it. Waiting for the cron to send it would cost up to a
    // second.
    if usemark {
        replicationSendAck(server);
    }

    // Restart the append only file. That begins with a rewrite, which writes the new data set; from
    // then on the stream is appended.
    //
    // On none of the failures above it is restarted: there would be no data to log. It will be when
    // a later sync succeeds, or when this replica is promoted.
    if server.aof_enabled {
        restartAOFAfterSYNC(server);
    }
}

/// Loads the RDB in the file `tmpfile`, and makes it our own. `C_ERR`: the log says why; the data
/// set is what was loaded so far.
fn load_transferred_file(server: &mut Server, tmpfile: &[u8], rsi: &mut rdbSaveInfo) -> CResult {
    // Kill a child that saves our old data. When it is done its file would replace the RDB which we
    // are about to take over, with data that no longer exists; and as long as it runs, what we free
    // and load is copied page by page.
    if server.child_type == CHILD_TYPE_RDB {
        serverLog!(
            LL_NOTICE,
            "Replica is about to load the RDB file received from the master, but there is a pending RDB child running. Killing process {} and removing its temp file to avoid any race",
            server.child_pid
        );
        killRDBChild(server);
    }

    // The file becomes our own RDB, so all of it has to be on the disk.
    let fd = server.repl_transfer_fd.expect("a transfer has a file");
    if let Err(e) = fsync(fd) {
        serverLog!(
            LL_WARNING,
            "Failed trying to sync the temp DB to disk in MASTER <-> REPLICA synchronization: {}",
            error_text(&e)
        );
        return C_ERR;
    }

    let loaded = rdbLoad(server, tmpfile, Some(rsi), RDBFLAGS_REPLICATION);
    if loaded.is_err() {
        serverLog!(LL_WARNING, "Failed trying to load the MASTER synchronization DB from disk");
        return C_ERR;
    }

    // Holding the old file open while its name goes to the new one leaves it to a background thread
    // to free its blocks.
    let old_rdb_fd = open(&server.rdb_filename, libc::O_RDONLY | libc::O_NONBLOCK, 0).ok();
    if let Err(e) = rename(tmpfile, &server.rdb_filename) {
        serverLog!(
            LL_WARNING,
            "Failed trying to rename the temp DB into {} in MASTER <-> REPLICA synchronization: {}",
            B(&server.rdb_filename),
            error_text(&e)
        );
        if let Some(old) = old_rdb_fd {
            close(old);
        }
        return C_ERR;
    }
    if let Some(old) = old_rdb_fd {
        server.bio.bioCreateCloseJob(old);
    }
    if server.rdb_del_sync_files && allPersistenceDisabled(server) {
        serverLog!(
            LL_NOTICE,
            "Removing the RDB file obtained from the master. This replica has persistence disabled"
        );
        let _ = bg_unlink(server, &server.rdb_filename);
    }
    server.repl_transfer_tmpfile = None;
    if let Some(fd) = server.repl_transfer_fd.take() {
        close(fd);
    }
    C_OK
}

/// Returns the stream of an RDB that comes over the socket, which blocks from here on, up to
/// `repl-timeout` for each read.
fn stream_of_master(server: &mut Server, conn: ConnId) -> Rio {
    // With a mark the length is not known (it is 0), and nothing follows it before our first ACK.
    let size = server.repl_transfer_size as u64;
    let _ = connBlock(&server.net, conn);
    let _ = connRecvTimeout(&server.net, conn, i64::from(server.repl_timeout) * 1000);
    rioInitWithConn(conn_fd(&server.net, conn), size)
}

/// Loads the RDB from the socket, with the mark behind it, if it has one. `C_ERR`: the log says why; the data set is that of
/// `backup`, or empty.
fn load_from_socket(
    server: &mut Server,
    conn: ConnId,
    rdb: &mut Rio,
    eofmark: Option<EofMark>,
    backup: Option<dbBackup>,
    empty_db_flags: i32,
    rsi: &mut rdbSaveInfo,
) -> CResult {
    let size = server.repl_transfer_size;
    startLoading(server, size, RDBFLAGS_REPLICATION);

    if rdbLoadRio(server, rdb, RDBFLAGS_REPLICATION, Some(rsi)).is_err() {
        stopLoading(server, false);
        serverLog!(LL_WARNING, "Failed trying to load the MASTER synchronization DB from socket");
        // Remove what was loaded so far.
        emptyDb(server, -1, empty_db_flags, Some(replicationEmptyDbCallback));
        if let Some(backup) = backup {
            disklessLoadRestoreBackup(server, backup);
        }
        return C_ERR;
    }

    if let Some(backup) = backup {
        disklessLoadDiscardBackup(server, backup, empty_db_flags);
    }
    if let Some(EofMark { eofmark, .. }) = eofmark {
        let mut buf = [0; CONFIG_RUN_ID_SIZE];
        if rioRead(rdb, &mut buf).is_err() || buf != eofmark {
            stopLoading(server, false);
            serverLog!(LL_WARNING, "Replication stream EOF marker is broken");
            return C_ERR;
        }
    }
    stopLoading(server, true);

    // As it was, for the stream.
    let _ = connNonBlock(&server.net, conn);
    let _ = connRecvTimeout(&server.net, conn, 0);
    C_OK
}

/// Returns `repl_syncio_timeout` in milliseconds: how long a line of the handshake may take.
fn syncio_timeout(server: &Server) -> i64 {
    i64::from(server.repl_syncio_timeout) * 1000
}

/// Reads one line of the handshake, without the end of line, and blocks until it is there. An error
/// is returned as a line, too: `-Reading from master: ...`.
pub fn receiveSynchronousResponse(server: &mut Server, conn: ConnId) -> Vec<u8> {
    let timeout = syncio_timeout(server);
    match connSyncReadLine(&mut server.net, conn, 256, timeout) {
        Ok(mut line) => {
            line.truncate(c_str(&line).len());
            server.repl_transfer_lastio = server.steady_time;
            line
        }
        Err(e) => bformat!("-Reading from master: {}", error_text(&e)),
    }
}

/// Sends a command that is in the multibulk form already, and blocks until it is written. `Err`:
/// the text for the log.
pub fn sendCommandRaw(server: &mut Server, conn: ConnId, cmd: &[u8]) -> Result<(), Vec<u8>> {
    let timeout = syncio_timeout(server);
    match connSyncWrite(&mut server.net, conn, cmd, timeout) {
        Ok(_) => Ok(()),
        Err(_) => Err(bformat!("-Writing to master: {}", B(&connGetLastError(&server.net, conn)))),
    }
}

/// Sends a command of the handshake, given argument by argument. It goes out as a multibulk, since
/// a password or an address may contain spaces. `Err`: the text for the log.
pub fn sendCommand<const N: usize>(
    server: &mut Server,
    conn: ConnId,
    args: [&[u8]; N],
) -> Result<(), Vec<u8>> {
    sendCommandArgv(server, conn, &args)
}

/// Sends a command of the handshake whose number of arguments is known only at run time. `Err`: the
/// text for the log.
pub fn sendCommandArgv(server: &mut Server, conn: ConnId, argv: &[&[u8]]) -> Result<(), Vec<u8>> {
    let mut cmd = bformat!("*{}\r\n", argv.len());
    for arg in argv {
        sdscatprintf!(cmd, "${}\r\n", arg.len());
        cmd.extend_from_slice(arg);
        cmd.extend_from_slice(b"\r\n");
    }
    sendCommandRaw(server, conn, &cmd)
}

/// The result of `slaveTryPartialResynchronization`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum PsyncResult {
    /// PSYNC could not be sent.
    PSYNC_WRITE_ERROR,
    /// PSYNC is not answered yet: call again with `read_reply` when there is something to read.
    PSYNC_WAIT_REPLY,
    /// The master goes on; `server.master` is connected.
    PSYNC_CONTINUE,
    /// The master sends an RDB; `master_replid` and `master_initial_offset` are what it said.
    PSYNC_FULLRESYNC,
    /// The master does not know PSYNC: try SYNC.
    PSYNC_NOT_SUPPORTED,
    /// The master can't serve us now.
    PSYNC_TRY_LATER,
}
use PsyncResult::*;

/// Parses `+FULLRESYNC <id> <offset>`; `None` if the line is not of that form.
fn parse_fullresync_reply(reply: &[u8]) -> Option<(&[u8], i64)> {
    let mut words = reply.splitn(3, |&c| c == b' ');
    let (_, replid, offset) = (words.next()?, words.next()?, words.next()?);
    let offset = strtoll(offset, 10).value;
    // C: takes any number. From one near the end of the range, later additions would overflow an
    // i64.
    let sane = (-1..i64::MAX / 2).contains(&offset);
    (replid.len() == CONFIG_RUN_ID_SIZE && sane).then_some((replid, offset))
}

/// Parses the id in `+CONTINUE <id>`; `None` if there is none: the master does not know PSYNC2.
fn parse_continue_reply(reply: &[u8]) -> Option<&[u8]> {
    let line = reply.strip_prefix(b"+CONTINUE")?;
    let end = line.iter().position(|c| matches!(c, b'\r' | b'\n')).unwrap_or(line.len());
    line.get(1..end).filter(|replid| replid.len() == CONFIG_RUN_ID_SIZE)
}

/// Tries a partial resync with our master, from where the cached master stopped. Without a cached
/// master it sends `PSYNC ? -1`, which asks for a full resync, in order to learn the master's id
/// and offset for the next time.
///
/// It has two halves, so that no step blocks. Without `read_reply` it sends PSYNC, and returns
/// `PSYNC_WRITE_ERROR`, or `PSYNC_WAIT_REPLY`: call it again with `read_reply` when there is
/// something to read. Then it reads the reply and returns one of the other results, or again
/// `PSYNC_WAIT_REPLY` if what came is an empty line, by which a master that has to wait for a
/// BGSAVE says that it is alive.
///
/// Side effects:
///
/// 1. The read handler of the connection is removed, unless the result is `PSYNC_WAIT_REPLY`. The
///    connection is not closed.
/// 2. `server.master_initial_offset` and `server.master_replid` are set to what the master said,
///    and passed on to the client that will represent it.
/// 3. With `PSYNC_CONTINUE` the cached master is `server.master` again, and owns the connection.
pub fn slaveTryPartialResynchronization(
    server: &mut Server,
    conn: ConnId,
    read_reply: bool,
) -> PsyncResult {
    // The writing half.
    if !read_reply {
        // Mark the master's id and offset as not valid. If there is a +FULLRESYNC, they are what it
        // says.
        server.master_initial_offset = -1;

        let (psync_replid, psync_offset) = match server.cached_master {
            Some(cached) => {
                let cached = &server[cached];
                let replid = cached.replid.clone();
                let offset = bformat!("{}", cached.reploff.wrapping_add(1));
                serverLog!(
                    LL_NOTICE,
                    "Trying a partial resynchronization (request {}:{}).",
                    B(&replid),
                    B(&offset)
                );
                (replid, offset)
            }
            None => {
                serverLog!(LL_NOTICE, "Partial resynchronization not possible (no cached master)");
                (b"?".to_vec(), b"-1".to_vec())
            }
        };

        let offset = string2ll(&psync_offset).unwrap_or(-1);
        note_question(server, &psync_replid, offset);
        trace!(
            server,
            "psync",
            "master": master_of(server),
            "replid": &psync_replid,
            "offset": offset,
            "failover": server.failover_state == FAILOVER_IN_PROGRESS,
        );

        // In a failover the new master is a replica until it is told to be one.
        let mut args: Vec<&[u8]> = vec![b"PSYNC", &psync_replid, &psync_offset];
        if server.failover_state == FAILOVER_IN_PROGRESS {
            args.push(b"FAILOVER");
        }
        if let Err(err) = sendCommandArgv(server, conn, &args) {
            serverLog!(LL_WARNING, "Unable to send PSYNC to master: {}", B(&err));
            let _ = connSetReadHandler(&mut server.net, conn, None);
            return PSYNC_WRITE_ERROR;
        }
        return PSYNC_WAIT_REPLY;
    }

    // The reading half.
    let reply = receiveSynchronousResponse(server, conn);
    if reply.is_empty() {
        return PSYNC_WAIT_REPLY;
    }
    let _ = connSetReadHandler(&mut server.net, conn, None);

    if reply.starts_with(b"+FULLRESYNC") {
        match parse_fullresync_reply(&reply) {
            Some((replid, offset)) => {
                server.master_replid = replid.to_vec();
                server.master_initial_offset = offset;
                serverLog!(
                    LL_NOTICE,
                    "Full resync from master: {}:{}",
                    B(&server.master_replid),
                    server.master_initial_offset
                );
            }
            None => {
                serverLog!(LL_WARNING, "Master replied with wrong +FULLRESYNC syntax.");
                // The master supports PSYNC, so it will send an RDB, but its reply can't be used.
                // To stay safe the id is blanked: no later PSYNC succeeds by it.
                server.master_replid.clear();
            }
        }
        note_answer(server, false);
        trace!(server, "answer", ..newest_decision(server));
        remember_cached_master(server);
        replicationDiscardCachedMaster(server);
        return PSYNC_FULLRESYNC;
    }

    // C: +CONTINUE is believed even if there is nothing to continue. Here it is an unexpected reply
    // then, as below.
    if let Some(cached_master) = server.cached_master.filter(|_| reply.starts_with(b"+CONTINUE")) {
        serverLog!(LL_NOTICE, "Successful partial resynchronization with master.");
        note_answer(server, true);
        trace!(server, "answer", ..newest_decision(server));
        forget_unacked(server);

        // Did the master change its id, because it was promoted, say? Then the new one is ours,
        // too, and the one we know becomes our second id, good up to the current offset: our
        // replicas will ask for it when they reconnect.
        if let Some(new) = parse_continue_reply(&reply) {
            if new != server[cached_master].replid {
                serverLog!(LL_WARNING, "Master replication ID changed to {}", B(new));
                server.replid2 = server[cached_master].replid.clone();
                server.second_replid_offset = server.master_repl_offset.wrapping_add(1);

                server.replid = new.to_vec();
                server[cached_master].replid = new.to_vec();
                trace_ids!(server);

                // Disconnect our replicas, so that they reconnect and learn the new id.
                disconnectSlaves(server);
            }
        }
        replicationResurrectCachedMaster(server, conn);

        // If the server was restarted, and the cached master was made from the RDB file, there is
        // no backlog yet.
        if !server.repl_backlog {
            createReplicationBacklog(server);
        }
        return PSYNC_CONTINUE;
    }

    // An error, or a reply that we do not understand. Two errors are known to be transient: the
    // master is loading its data set, or is a replica whose own link is down. For all others PSYNC
    // counts as not supported.
    if reply.starts_with(b"-NOMASTERLINK") || reply.starts_with(b"-LOADING") {
        serverLog!(
            LL_NOTICE,
            "Master is currently unable to PSYNC but should be in the future: {}",
            B(&reply)
        );
        trace!(server, "answer", "event": "try later", "reply": &reply);
        return PSYNC_TRY_LATER;
    }
    trace!(server, "answer", "event": "not supported", "reply": &reply);
    if reply.starts_with(b"-ERR") {
        serverLog!(
            LL_NOTICE,
            "Master does not support PSYNC or is in error state (reply: {})",
            B(&reply)
        );
    } else {
        serverLog!(LL_WARNING, "Unexpected reply to PSYNC from master: {}", B(&reply));
    }
    remember_cached_master(server);
    replicationDiscardCachedMaster(server);
    PSYNC_NOT_SUPPORTED
}

/// Performs the handshake with our master, from connect(2) to the reply to PSYNC: the handler of
/// the connection meanwhile.
///
/// Each call does as much as is possible without waiting. A step that expects a reply returns to
/// the event loop, which calls this function again when there is something to read; `repl_state`
/// says where to go on. If a step fails the connection is closed, and `replicationCron` starts from
/// the beginning.
pub fn syncWithMaster(server: &mut Server, conn: ConnId) {
    // If the user made us a master with REPLICAOF NO ONE meanwhile, there is nothing to do but to
    // close the connection.
    if server.repl_state == REPL_STATE_NONE {
        connClose(&mut server.net, conn);
        return;
    }

    // Why the attempt failed, if it is one that counts for `replication_backoff`.
    let mut reason: Option<Vec<u8>> = None;
    'error: {
        let err = 'write_error: {
            // Check for errors of the connection: a non-blocking connect(2) reports its failure
            // here.
            if connGetState(&server.net, conn) != CONN_STATE_CONNECTED {
                serverLog!(
                    LL_WARNING,
                    "Error condition on socket for SYNC: {}",
                    B(&connGetLastError(&server.net, conn))
                );
                break 'error;
            }

            // A state that returns waits for the master's reply. One that does not return goes on
            // with the state that it has set, either because nothing was sent, or because all
            // commands were sent already and their replies come in a row.
            loop {
                match server.repl_state {
                    REPL_STATE_CONNECTING => {
                        serverLog!(LL_NOTICE, "Non blocking connect for SYNC fired the event.");
                        // From here on the handler is called when there is a reply to read.
                        let _ = connSetReadHandler(&mut server.net, conn, Some(syncWithMaster));
                        let _ = connSetWriteHandler(&mut server.net, conn, None);
                        server.repl_state = REPL_STATE_RECEIVE_PING_REPLY;
                        trace_repl_state!(server);
                        // Send a PING first: a connection can be established with a server that
                        // does not answer, because its process is stopped, say.
                        if let Err(err) = sendCommand(server, conn, [b"PING"]) {
                            break 'write_error err;
                        }
                        return;
                    }

                    REPL_STATE_RECEIVE_PING_REPLY => {
                        // Valid replies are any status, and the errors by which servers of all
                        // versions ask for authentication. Those before 2.6 used no code of their
                        // own for it.
                        let err = receiveSynchronousResponse(server, conn);
                        if !err.starts_with(b"+")
                            && !err.starts_with(b"-NOAUTH")
                            && !err.starts_with(b"-NOPERM")
                            && !err.starts_with(b"-ERR operation not permitted")
                        {
                            serverLog!(
                                LL_WARNING,
                                "Error reply to PING from master: '{}'",
                                B(&err)
                            );
                            reason = answer_counts(&err)
                                .then(|| bformat!("the master answers PING with '{}'", B(&err)));
                            break 'error;
                        }
                        serverLog!(
                            LL_NOTICE,
                            "Master replied to PING, replication can continue..."
                        );
                        server.repl_state = REPL_STATE_SEND_HANDSHAKE;
                        trace_repl_state!(server);
                    }

                    REPL_STATE_SEND_HANDSHAKE => {
                        if let Err(err) = send_handshake(server, conn) {
                            break 'write_error err;
                        }
                        server.repl_state = REPL_STATE_RECEIVE_AUTH_REPLY;
                        trace_repl_state!(server);
                        return;
                    }

                    REPL_STATE_RECEIVE_AUTH_REPLY => {
                        server.repl_state = REPL_STATE_RECEIVE_PORT_REPLY;
                        trace_repl_state!(server);
                        // AUTH was sent only if there is a password. Without one the next reply is
                        // that to the port.
                        if server.masterauth.is_some() {
                            let err = receiveSynchronousResponse(server, conn);
                            if err.starts_with(b"-") {
                                serverLog!(LL_WARNING, "Unable to AUTH to MASTER: {}", B(&err));
                                reason =
                                    Some(bformat!("the master answers AUTH with '{}'", B(&err)));
                                break 'error;
                            }
                            return;
                        }
                    }

                    REPL_STATE_RECEIVE_PORT_REPLY => {
                        receive_replconf_reply(server, conn, "listening-port");
                        server.repl_state = REPL_STATE_RECEIVE_IP_REPLY;
                        trace_repl_state!(server);
                        return;
                    }

                    REPL_STATE_RECEIVE_IP_REPLY => {
                        server.repl_state = REPL_STATE_RECEIVE_CAPA_REPLY;
                        trace_repl_state!(server);
                        // The address was sent only if one is configured.
                        if server.slave_announce_ip.is_some() {
                            receive_replconf_reply(server, conn, "ip-address");
                            return;
                        }
                    }

                    REPL_STATE_RECEIVE_CAPA_REPLY => {
                        receive_replconf_reply(server, conn, "capa");
                        server.repl_state = REPL_STATE_SEND_PSYNC;
                        trace_repl_state!(server);
                    }

                    REPL_STATE_SEND_PSYNC => {
                        if slaveTryPartialResynchronization(server, conn, false)
                            == PSYNC_WRITE_ERROR
                        {
                            abortFailover(server, "Write error to failover target");
                            break 'write_error b"Write error sending the PSYNC command.".to_vec();
                        }
                        server.repl_state = REPL_STATE_RECEIVE_PSYNC_REPLY;
                        trace_repl_state!(server);
                        return;
                    }

                    REPL_STATE_RECEIVE_PSYNC_REPLY => break,

                    state @ (REPL_STATE_NONE | REPL_STATE_CONNECT | REPL_STATE_TRANSFER
                    | REPL_STATE_CONNECTED) => {
                        serverLog!(
                            LL_WARNING,
                            "syncWithMaster(): state machine error, state should be RECEIVE_PSYNC but is {}",
                            state as i32
                        );
                        break 'error;
                    }
                }
            }

            let psync_result = slaveTryPartialResynchronization(server, conn, true);

            // A planned failover is over. A partial resync is what is to be expected, but there is
            // nothing wrong with a full one, which may happen in rare cases.
            if server.failover_state == FAILOVER_IN_PROGRESS && psync_result != PSYNC_WAIT_REPLY {
                if matches!(psync_result, PSYNC_CONTINUE | PSYNC_FULLRESYNC) {
                    clearFailoverState(server);
                } else {
                    abortFailover(server, "Failover target rejected psync request");
                    return;
                }
            }

            // A full resync throws away what we have written as a master, and our new master lacks.
            if matches!(psync_result, PSYNC_FULLRESYNC | PSYNC_NOT_SUPPORTED)
                && save_lost_writes(server).is_err()
            {
                reason =
                    Some(b"the lost writes could not be saved (repl-lost-writes-dir)".to_vec());
                break 'error;
            }

            match psync_result {
                PSYNC_WAIT_REPLY => return,
                // A transient error of the master: it is loading its data set, or has no link to
                // its own master. We try to PSYNC from scratch later, and that is what the error
                // path leads to: the cached master stays as it is.
                PSYNC_TRY_LATER => break 'error,
                PSYNC_CONTINUE => {
                    serverLog!(
                        LL_NOTICE,
                        "MASTER <-> REPLICA sync: Master accepted a Partial Resynchronization."
                    );
                    if server.supervised_mode == SUPERVISED_SYSTEMD {
                        redisCommunicateSystemd(
                            b"STATUS=MASTER <-> REPLICA sync: Partial Resynchronization accepted. Ready to accept connections in read-write mode.\n",
                        );
                    }
                    return;
                }
                // The master does not know PSYNC: fall back to SYNC, which gives us an RDB without
                // an id and an offset.
                PSYNC_NOT_SUPPORTED => {
                    drop_replicas_and_backlog(server);
                    serverLog!(LL_NOTICE, "Retrying with SYNC...");
                    let timeout = syncio_timeout(server);
                    if let Err(e) = connSyncWrite(&mut server.net, conn, b"SYNC\r\n", timeout) {
                        serverLog!(LL_WARNING, "I/O error writing to MASTER: {}", error_text(&e));
                        break 'error;
                    }
                }
                PSYNC_FULLRESYNC => drop_replicas_and_backlog(server),
                PSYNC_WRITE_ERROR => unreachable!("reading the answer writes nothing"),
            }

            // Prepare a file for the bulk transfer, if there is to be one.
            if !useDisklessLoad(server) {
                match create_transfer_file(server) {
                    Ok((fd, tmpfile)) => {
                        server.repl_transfer_fd = Some(fd);
                        server.repl_transfer_tmpfile = Some(tmpfile);
                    }
                    Err(e) => {
                        serverLog!(
                            LL_WARNING,
                            "Opening the temp file needed for MASTER <-> REPLICA synchronization: {}",
                            error_text(&e)
                        );
                        reason = Some(b"a file for the RDB could not be made".to_vec());
                        break 'error;
                    }
                }
            }
            if connSetReadHandler(&mut server.net, conn, Some(readSyncBulkPayload)).is_err() {
                serverLog!(
                    LL_WARNING,
                    "Can't create readable event for SYNC: {} ({})",
                    error_text(&io::Error::last_os_error()),
                    B(&connGetInfo(&server.net, Some(conn)))
                );
                break 'error;
            }

            server.repl_state = REPL_STATE_TRANSFER;
            trace_repl_state!(server);
            server.repl_transfer_size = -1;
            server.repl_transfer_read = 0;
            server.repl_transfer_last_fsync_off = 0;
            server.repl_transfer_lastio = server.steady_time;
            return;
        };

        // write_error:
        serverLog!(LL_WARNING, "Sending command to master in replication handshake: {}", B(&err));
        // C: goes on. But a failover that was given up has made us a master again, and has closed
        // the connection: there is nobody to connect to.
        if server.repl_state == REPL_STATE_NONE {
            return;
        }
        reason = Some(b"the connection was lost in the handshake".to_vec());
    }

    // error:
    if let Some(reason) = reason {
        replication_backoff(server, &reason);
    }
    connClose(&mut server.net, conn);
    server.repl_transfer_s = None;
    if let Some(fd) = server.repl_transfer_fd.take() {
        close(fd);
    }
    server.repl_transfer_tmpfile = None;
    server.repl_state = REPL_STATE_CONNECT;
    trace_repl_state!(server);
}

/// Tells whether an error in place of a PONG is one for which `replication_backoff` lets us wait.
/// One that says that the master is about to be ready is not.
fn answer_counts(err: &[u8]) -> bool {
    ![&b"-LOADING"[..], b"-MASTERDOWN", b"-BUSY"].iter().any(|soon| err.starts_with(soon))
}

/// Sends the commands of the handshake in one go, without waiting for replies in between: the
/// password, the port and the address under which we can be reached, and our capabilities. `Err`:
/// the text for the log.
fn send_handshake(server: &mut Server, conn: ConnId) -> Result<(), Vec<u8>> {
    if let Some(masterauth) = server.masterauth.clone() {
        let masteruser = server.masteruser.clone();
        let mut args: Vec<&[u8]> = vec![b"AUTH"];
        args.extend(masteruser.as_deref());
        args.push(&masterauth);
        sendCommandArgv(server, conn, &args)?;
    }

    let port = match server.slave_announce_port {
        0 => server.port,
        announced => announced,
    };
    let port = ll2string(i64::from(port));
    sendCommand(server, conn, [b"REPLCONF", b"listening-port", port.as_bytes()])?;

    // The address is for the master's INFO, where port forwarding or NAT hides it. Only if one is
    // configured: otherwise the master takes the one that it sees.
    if let Some(ip) = server.slave_announce_ip.clone() {
        sendCommand(server, conn, [b"REPLCONF", b"ip-address", &ip])?;
    }

    // Our capabilities:
    //
    // - eof: understands a payload that ends with a mark, as diskless masters send it
    // - psync2: understands +CONTINUE <new replid>
    //
    // A master ignores those that it does not know.
    sendCommand(server, conn, [b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"])
}

/// Reads the reply to REPLCONF `option`. An error is logged and ignored, since not all versions of
/// Redis know the option.
fn receive_replconf_reply(server: &mut Server, conn: ConnId, option: &str) {
    let err = receiveSynchronousResponse(server, conn);
    if err.starts_with(b"-") {
        serverLog!(
            LL_NOTICE,
            "(Non critical) Master does not understand REPLCONF {}: {}",
            option,
            B(&err)
        );
    }
}

/// Disconnects our replicas and frees the backlog, so that they have to do a full resync with us as
/// well: our master may transfer an entirely different data set, and there is no way to feed it to
/// them incrementally.
fn drop_replicas_and_backlog(server: &mut Server) {
    disconnectSlaves(server);
    freeReplicationBacklog(server);
}

/// Creates the temporary file for the RDB of our master, under a name that nobody uses. Returns its
/// descriptor and its name.
fn create_transfer_file(server: &Server) -> io::Result<(i32, Vec<u8>)> {
    let tmpfile = bformat!("temp-{}.{}.rdb", server.unixtime as i32, std::process::id());
    let mut tries = 5;
    loop {
        match open(&tmpfile, libc::O_CREAT | libc::O_WRONLY | libc::O_EXCL, 0o644) {
            Ok(fd) => return Ok((fd, tmpfile)),
            Err(e) => {
                tries -= 1;
                usleep(1_000_000);
                if tries == 0 {
                    return Err(e);
                }
            }
        }
    }
}

/// Starts a non-blocking connection to our master, whose handler is `syncWithMaster`. `C_ERR`: not
/// even that is possible; the state stays `REPL_STATE_CONNECT`, and `replicationCron` tries again.
pub fn connectWithMaster(server: &mut Server) -> CResult {
    server.repl_reconnect_later = false;
    let conn = connCreateSocket(&mut server.net);
    server.repl_transfer_s = Some(conn);
    let host = server.masterhost.clone().unwrap_or_default();
    let port = server.masterport;
    let src = server.bindaddr.first().cloned();
    if connConnect(server, conn, &host, port, src.as_deref(), syncWithMaster).is_err() {
        serverLog!(
            LL_WARNING,
            "Unable to connect to MASTER: {}",
            B(&connGetLastError(&server.net, conn))
        );
        connClose(&mut server.net, conn);
        server.repl_transfer_s = None;
        return C_ERR;
    }

    server.repl_transfer_lastio = server.steady_time;
    server.repl_state = REPL_STATE_CONNECTING;
    trace_repl_state!(server);
    attempt_begins(server);
    serverLog!(LL_NOTICE, "MASTER <-> REPLICA sync started");
    C_OK
}

/// Closes the connection of a handshake in progress. Never call this directly: use
/// `cancelReplicationHandshake`.
fn undoConnectWithMaster(server: &mut Server) {
    note_sync_end(server, false, server.repl_transfer_read);
    trace!(server, "attempt_ends", "bytes": server.repl_transfer_read);
    if let Some(conn) = server.repl_transfer_s.take() {
        connClose(&mut server.net, conn);
    }
}

/// Aborts the transfer of an RDB and removes what was received. Never call this directly: use
/// `cancelReplicationHandshake`.
fn replicationAbortSyncTransfer(server: &mut Server) {
    assert_eq!(server.repl_state, REPL_STATE_TRANSFER);
    undoConnectWithMaster(server);
    if let Some(fd) = server.repl_transfer_fd.take() {
        close(fd);
        if let Some(tmpfile) = server.repl_transfer_tmpfile.take() {
            // It may have been renamed already; then there is nothing to remove.
            let _ = bg_unlink(server, &tmpfile);
        }
    }
}

/// Aborts an attempt to synchronize with our master that is in progress, be it at the connection,
/// the handshake or the bulk transfer. The state becomes `REPL_STATE_CONNECT`; with `reconnect` the
/// next attempt begins at once.
///
/// False if there is no attempt in progress; then nothing was done.
pub fn cancelReplicationHandshake(server: &mut Server, reconnect: bool) -> bool {
    match server.repl_state {
        REPL_STATE_TRANSFER => {
            replicationAbortSyncTransfer(server);
            server.repl_state = REPL_STATE_CONNECT;
            trace_repl_state!(server);
        }
        REPL_STATE_CONNECTING
        | REPL_STATE_RECEIVE_PING_REPLY
        | REPL_STATE_SEND_HANDSHAKE
        | REPL_STATE_RECEIVE_AUTH_REPLY
        | REPL_STATE_RECEIVE_PORT_REPLY
        | REPL_STATE_RECEIVE_IP_REPLY
        | REPL_STATE_RECEIVE_CAPA_REPLY
        | REPL_STATE_SEND_PSYNC
        | REPL_STATE_RECEIVE_PSYNC_REPLY => {
            undoConnectWithMaster(server);
            server.repl_state = REPL_STATE_CONNECT;
            trace_repl_state!(server);
        }
        REPL_STATE_NONE | REPL_STATE_CONNECT | REPL_STATE_CONNECTED => return false,
    }
    // C: at once in any case.
    if reconnect && backoff_is_over(server) {
        serverLog!(
            LL_NOTICE,
            "Reconnecting to MASTER {}:{} after failure",
            B(server.masterhost.as_deref().unwrap_or_default()),
            server.masterport
        );
        // If it fails, the cron tries again.
        let _ = connectWithMaster(server);
    }
    true
}

/// Makes this server a replica of the one at `ip` and `port`.
pub fn replicationSetMaster(server: &mut Server, ip: &[u8], port: i32) {
    let was_master = server.masterhost.is_none();

    // `masterhost` is set only after the client of the former master was freed: `freeClient` calls
    // `replicationHandleMasterDisconnection`, which would connect at once to the address that it
    // finds.
    server.masterhost = None;
    if let Some(master) = server.master {
        freeClient(server, master);
    }
    disconnectAllBlockedClients(server); // Clients blocked on a master: a replica could not serve them.
    server.masterhost = Some(c_str(ip).to_vec());
    server.masterport = port;
    trace!(server, "role", "to": "replica", "master": master_of(server));
    backoff_reset(server);
    guard_reset(server);
    server.repl_function_seen = false;
    server.repl_resync_after_error = 0;

    let _ = setOOMScoreAdj(server, -1); // Not critical if it fails.

    // Force our replicas to resync with us: the id may change. They may be able to do it by PSYNC.
    disconnectSlaves(server);
    cancelReplicationHandshake(server, false);

    // A master knows an id and an offset that the new master may accept in a PSYNC, if that was its
    // replica until now.
    if was_master {
        note_demotion(server);
        replicationDiscardCachedMaster(server);
        replicationCacheMasterUsingMyself(server);
    }

    server.repl_state = REPL_STATE_CONNECT;
    trace_repl_state!(server);
    serverLog!(LL_NOTICE, "Connecting to MASTER {}:{}", B(c_str(ip)), server.masterport);
    // If it fails, the cron tries again.
    let _ = connectWithMaster(server);
}

/// Makes this server a master. Does nothing if it is one already.
pub fn replicationUnsetMaster(server: &mut Server) {
    if server.masterhost.is_none() {
        return;
    }

    // As in `replicationSetMaster`: with an address left, `freeClient` would reconnect.
    server.masterhost = None;
    trace!(server, "role", "to": "master", "offset": server.master_repl_offset);
    if let Some(master) = server.master {
        freeClient(server, master);
    }
    replicationDiscardCachedMaster(server);
    cancelReplicationHandshake(server, false);
    guard_reset(server);
    forget_unacked(server);
    server.repl_stream_version = 0; // From here on the stream is our own.

    // The current id, which we have from our master, becomes the second one, good up to the current
    // offset, and a new id begins a history of our own. This has to come after the client of the
    // master was freed, which settles the offset.
    shiftReplicationId(server);

    // Disconnect our replicas, so that they learn of the new id. They can go on by the old one,
    // with a partial resync, so this is short.
    disconnectSlaves(server);
    server.repl_state = REPL_STATE_NONE;
    trace_repl_state!(server);

    // The stream of a new master has to start with a SELECT. A full resync sees to that, but with
    // PSYNC2 there is none after a switch of masters.
    server.slaveseldb = -1;

    let _ = setOOMScoreAdj(server, -1); // Not critical if it fails.

    // The time to live of the backlog without replicas counts from now. Otherwise it could be freed
    // right after a failover, before the first replica is back.
    server.repl_no_slaves_since = server.steady_time;
    server.repl_down_since = 0;

    // A sync that failed, or was in progress, has left the append only file stopped.
    if server.aof_enabled && server.aof_state == AOF_OFF {
        restartAOFAfterSYNC(server);
    }
}

/// Handles the loss of the link to our master, whose client was freed or cached: reconnects.
///
/// Our replicas are not disconnected. We may be able to PSYNC with our master, and then they have
/// missed nothing; only a full resync disconnects them.
pub fn replicationHandleMasterDisconnection(server: &mut Server) {
    server.master = None;
    server.repl_state = REPL_STATE_CONNECT;
    trace_repl_state!(server);
    server.repl_down_since = server.steady_time;
    server.repl_stream_error = None;
    link_lost(server);

    // Reconnect at once instead of waiting for the cron: the backlog of a busy master covers only a
    // short time.
    // C: even if the last link was closed as soon as this one.
    let later = take(&mut server.repl_reconnect_later) || !backoff_is_over(server);
    if let Some(masterhost) = server.masterhost.as_ref().filter(|_| !later) {
        serverLog!(LL_NOTICE, "Reconnecting to MASTER {}:{}", B(masterhost), server.masterport);
        // If it fails, the cron tries again.
        let _ = connectWithMaster(server);
    }
}

/// REPLICAOF host port, and REPLICAOF NO ONE, which makes this server a master. SLAVEOF is an
/// alias.
pub fn replicaofCommand(server: &mut Server, c: ClientId, argv: &Args) {
    if server.failover_state != NO_FAILOVER {
        addReplyError(server, c, b"REPLICAOF not allowed while failing over.");
        return;
    }

    // C: describes the client after the change. A replica that sends NO ONE is gone by then, since
    // all replicas are cut off.
    let client = catClientInfoString(server, c);

    if eq_ignore_case(&argv[1], b"no") && eq_ignore_case(&argv[2], b"one") {
        if server.masterhost.is_some() {
            replicationUnsetMaster(server);
            serverLog!(LL_NOTICE, "MASTER MODE enabled (user request from '{}')", B(&client));
        }
    } else {
        // A replica can't run this: all replicas are about to be disconnected, the client itself
        // among them.
        if server[c].flags & CLIENT_SLAVE != 0 {
            addReplyError(server, c, b"Command is not valid when client is a replica.");
            return;
        }
        let Ok(port) = getLongFromObjectOrReply(server, c, &argv[2], None) else { return };

        if server.masterhost.as_deref().is_some_and(|host| eq_ignore_case(host, &argv[1]))
            && i64::from(server.masterport) == port
        {
            // C: nothing. But here it may be what is waited for.
            backoff_reset(server);
            if guard_consents(server) {
                let _ = connectWithMaster(server);
                addReply(server, c, shared::ok);
                return;
            }
            serverLog!(
                LL_NOTICE,
                "REPLICAOF would result into synchronization with the master we are already connected with. No operation performed."
            );
            addReplyProto(server, c, b"+OK Already connected to specified master\r\n");
            return;
        }
        replicationSetMaster(server, &argv[1], port as i32);
        serverLog!(
            LL_NOTICE,
            "REPLICAOF {}:{} enabled (user request from '{}')",
            B(c_str(&argv[1])),
            server.masterport,
            B(&client)
        );
    }
    if server.clients.contains(c) {
        addReply(server, c, shared::ok);
    }
}

/// ROLE: the role of this server and its state, in a form that is easy to process. For a master:
/// its offset, and address, port and offset of each replica that is online. For a replica: address
/// and port of its master, the state of the link, and the offset.
pub fn roleCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    let Some(masterhost) = server.masterhost.clone() else {
        addReplyArrayLen(server, c, 3);
        addReplyBulkCBuffer(server, c, b"master");
        addReplyLongLong(&mut server.clients, c, server.master_repl_offset);
        let mbcount = addReplyDeferredLen(server, c);
        let mut slaves = 0;
        let mut li = listRewind(&server.slaves);
        while let Some(slave) = listNext(&server.slaves, &mut li) {
            let Some(slaveaddr) = replica_address(server, slave) else { continue };
            if server[slave].replstate != SLAVE_STATE_ONLINE {
                continue;
            }
            let (port, offset) = (server[slave].slave_listening_port, server[slave].repl_ack_off);
            addReplyArrayLen(server, c, 3);
            addReplyBulkCString(server, c, &slaveaddr);
            addReplyBulkLongLong(server, c, i64::from(port));
            addReplyBulkLongLong(server, c, offset);
            slaves += 1;
        }
        setDeferredArrayLen(server, c, mbcount, slaves);
        return;
    };

    let slavestate = match server.repl_state {
        REPL_STATE_NONE => "none",
        REPL_STATE_CONNECT => "connect",
        REPL_STATE_CONNECTING => "connecting",
        REPL_STATE_RECEIVE_PING_REPLY
        | REPL_STATE_SEND_HANDSHAKE
        | REPL_STATE_RECEIVE_AUTH_REPLY
        | REPL_STATE_RECEIVE_PORT_REPLY
        | REPL_STATE_RECEIVE_IP_REPLY
        | REPL_STATE_RECEIVE_CAPA_REPLY
        | REPL_STATE_SEND_PSYNC
        | REPL_STATE_RECEIVE_PSYNC_REPLY => "handshake",
        REPL_STATE_TRANSFER => "sync",
        REPL_STATE_CONNECTED => "connected",
    };
    let reploff = server.master.map_or(-1, |master| server[master].reploff);
    addReplyArrayLen(server, c, 5);
    addReplyBulkCBuffer(server, c, b"slave");
    addReplyBulkCString(server, c, &masterhost);
    addReplyLongLong(&mut server.clients, c, i64::from(server.masterport));
    addReplyBulkCString(server, c, slavestate.as_bytes());
    addReplyLongLong(server, c, reploff);
}

/// Sends our master REPLCONF ACK with the offset up to which we have processed its stream. Does
/// nothing without a link.
pub fn replicationSendAck(server: &mut Server) {
    let Some(c) = server.master else { return };
    // Replies to a master are suppressed, as nobody asked for them. This one is wanted.
    server[c].flags |= CLIENT_MASTER_FORCE_REPLY;
    let reploff = server[c].reploff;
    addReplyArrayLen(server, c, 3);
    addReplyBulkCString(server, c, b"REPLCONF");
    addReplyBulkCString(server, c, b"ACK");
    addReplyBulkLongLong(server, c, reploff);
    server[c].flags &= !CLIENT_MASTER_FORCE_REPLY;
}

// -----------------------------------------------------------------------------
// MASTER CACHING FOR PSYNC
// -----------------------------------------------------------------------------

// To be able to do a partial resync after a transient disconnection, the client of our master is
// not freed, since it has the id, the offset, the db and whatever else is needed to go on. It is
// cached in `server.cached_master` until a PSYNC succeeds (`replicationResurrectCachedMaster`) or
// it is of no use any more (`replicationDiscardCachedMaster`).

/// Caches the client of our master instead of freeing it, and reconnects. Called by `freeClient`,
/// which does nothing after it. So all that keeps a suspended client from doing harm has to be done
/// here: it has no connection any more, no partial request, and nothing to send.
pub fn replicationCacheMaster(server: &mut Server, c: ClientId) {
    assert!(server.master.is_some() && server.cached_master.is_none());
    serverLog!(LL_NOTICE, "Caching the disconnected master state.");

    unlinkClient(server, c);

    // Discard the part of the stream that was received and not executed: the master sends it again
    // from `reploff`. The commands of a transaction that was not ended are part of it, as the
    // offset moves only when EXEC is executed.
    let client = &mut server[c];
    client.querybuf.clear();
    client.input.qb_pos = 0;
    client.pending_querybuf.clear();
    client.read_reploff = client.reploff;
    if client.flags & CLIENT_MULTI != 0 {
        discardTransaction(server, c);
    }
    let client = &mut server[c];
    client.reply.clear();
    client.sentlen = 0;
    client.reply_bytes = 0;
    client.buf.clear();
    resetClient(server, c);

    server.cached_master = server.master;
    trace_cached!(server, c, "cached");

    // The addresses are those of the old connection.
    server[c].peerid = None;
    server[c].sockname = None;

    replicationHandleMasterDisconnection(server);
}

/// Creates a cached master out of this server's own id and offset, when it is a master and about to
/// become a replica.
///
/// After a failover the new master is a former replica of ours. It accepts our id, which is its
/// second one, and our offset, too, if no write was lost: then a PSYNC with the two succeeds.
pub fn replicationCacheMasterUsingMyself(server: &mut Server) {
    serverLog!(
        LL_NOTICE,
        "Before turning into a replica, using my own master parameters to synthesize a cached master: I may be able to synchronize with the new master with just a partial transfer."
    );

    // `replicationCreateMasterClient` takes the offset from this field. The db does not matter: a
    // new master begins its stream with a SELECT.
    server.master_initial_offset = server.master_repl_offset;
    replicationCreateMasterClient(server, None, -1);

    let master = server.master.take().expect("it was made just now");
    server[master].replid = server.replid.clone();
    unlinkClient(server, master);
    server.cached_master = Some(master);
    trace_cached!(server, master, "made of ourselves");
}

/// Frees the cached master, if there is one.
pub fn replicationDiscardCachedMaster(server: &mut Server) {
    let Some(cached_master) = server.cached_master else { return };
    serverLog!(LL_NOTICE, "Discarding previously cached master state.");
    trace_cached!(server, cached_master, "discarded");
    server[cached_master].flags &= !CLIENT_MASTER; // With the flag, `freeClient` would cache it again.
    freeClient(server, cached_master);
    server.cached_master = None;
}

/// Makes the cached master, which must exist, the current master again, with a new connection:
/// called after a successful PSYNC, so that the stream goes on exactly where this client stopped.
pub fn replicationResurrectCachedMaster(server: &mut Server, conn: ConnId) {
    let master = server.cached_master.take().expect("there is a master to continue with");
    server.master = Some(master);
    server.repl_transfer_s = None; // The connection belongs to the client from here on.
    connSetPrivateData(&mut server.net, conn, master.to_u64());
    let now = server.steady_time;
    let client = &mut server[master];
    client.conn = Some(conn);
    client.flags &= !(CLIENT_CLOSE_AFTER_REPLY | CLIENT_CLOSE_ASAP);
    client.authenticated = true;
    client.lastinteraction = now;
    trace_cached!(server, master, "resurrected");
    server.repl_state = REPL_STATE_CONNECTED;
    trace_repl_state!(server);
    server.repl_down_since = 0;
    link_established(server);

    linkClient(server, master);
    if connSetReadHandler(&mut server.net, conn, Some(readQueryFromClient)).is_err() {
        serverLog!(
            LL_WARNING,
            "Error resurrecting the cached master, impossible to add the readable handler: {}",
            error_text(&io::Error::last_os_error())
        );
        freeClientAsync(server, master);
    }

    // Something may have been queued for it already.
    if clientHasPendingReplies(&server[master])
        && connSetWriteHandler(&mut server.net, conn, Some(sendReplyToClient)).is_err()
    {
        serverLog!(
            LL_WARNING,
            "Error resurrecting the cached master, impossible to add the writable handler: {}",
            error_text(&io::Error::last_os_error())
        );
        freeClientAsync(server, master);
    }
}

// -----------------------------------------------------------------------------
// MIN-SLAVES-TO-WRITE
// -----------------------------------------------------------------------------

/// Counts the good replicas: those that are online, with a lag of at most `min-replicas-max-lag`
/// seconds since their last ACK. With fewer than `min-replicas-to-write` of them the server refuses
/// writes. Nothing is counted while that is off.
pub fn refreshGoodSlavesCount(server: &mut Server) {
    if server.repl_min_slaves_to_write == 0 || server.repl_min_slaves_max_lag == 0 {
        return;
    }
    let good = server.slaves.iter().filter(|&&slave| {
        let slave = &server[slave];
        slave.replstate == SLAVE_STATE_ONLINE
            && server.steady_time - slave.repl_ack_time <= i64::from(server.repl_min_slaves_max_lag)
    });
    server.repl_good_slaves_count = good.count() as i32;
}

// -----------------------------------------------------------------------------
// REPLICATION SCRIPT CACHE
//
// With `lua-replicate-commands no` a script is sent to the replicas, and written to the append only
// file, as it was called. As EVALSHA that takes few bytes, but whoever reads it must know the text.
// So we remember which scripts all of them have seen, and send any other as EVAL once.
//
// A new replica has seen none, and nor has a new append only file: then everything is forgotten. So
// it is when the last replica is gone, to save memory, and by SCRIPT FLUSH, which is sent on.
// -----------------------------------------------------------------------------

/// Makes the cache, empty.
pub fn replicationScriptCacheInit(server: &mut Server) {
    server.repl_scriptcache_size = 10000;
    replicationScriptCacheFlush(server);
}

/// Forgets which scripts are known elsewhere.
pub fn replicationScriptCacheFlush(server: &mut Server) {
    server.repl_scriptcache_dict = HashSet::new();
    server.repl_scriptcache_fifo = VecDeque::new();
}

/// Remembers that a script was sent to everybody. The one that was sent longest ago is forgotten,
/// if there are too many.
pub fn replicationScriptCacheAdd(server: &mut Server, sha1: &ScriptSha) {
    if server.repl_scriptcache_fifo.len() == server.repl_scriptcache_size
        && let Some(oldest) = server.repl_scriptcache_fifo.pop_back()
    {
        server.repl_scriptcache_dict.remove(&oldest);
    }
    server.repl_scriptcache_dict.insert(*sha1);
    server.repl_scriptcache_fifo.push_front(*sha1);
}

/// Tells whether all replicas know a script.
pub fn replicationScriptCacheExists(server: &Server, sha1: &ScriptSha) -> bool {
    server.repl_scriptcache_dict.contains(sha1)
}

// -----------------------------------------------------------------------------
// SYNCHRONOUS REPLICATION
// -----------------------------------------------------------------------------

// Replication is asynchronous, and WAIT makes it synchronous for those who ask:
//
//     WAIT <number of replicas> <timeout in milliseconds>
//
// It returns the number of replicas that have processed the client's writes, as soon as there are
// as many as asked for, or when the time is over. It needs little beyond what is there:
//
// - A master counts the bytes of its stream (`master_repl_offset`), and replicas report how many
//   they have processed (REPLCONF ACK).
// - After each command of a client the offset is noted (`woff`): whoever has processed the stream
//   up to there has processed the command.
// - WAIT blocks the client, and lets all replicas be asked to report at once, not within a second.

/// Schedules a REPLCONF GETACK to all replicas, which `beforeSleep` sends: one for all the clients
/// that wait in the same turn of the event loop.
pub fn replicationRequestAckFromSlaves(server: &mut Server) {
    server.get_ack_from_slaves = true;
}

/// Counts the replicas that have acknowledged the stream up to `offset`.
pub fn replicationCountAcksByOffset(server: &Server, offset: i64) -> i32 {
    let acked = server.slaves.iter().filter(|&&slave| {
        let slave = &server[slave];
        slave.replstate == SLAVE_STATE_ONLINE && slave.repl_ack_off >= offset
    });
    acked.count() as i32
}

/// WAIT numreplicas timeout: waits until so many replicas have acknowledged the client's last write
/// and all before it, or until the timeout, in milliseconds, is over (0 is never). The reply is the
/// number of those that have.
pub fn waitCommand(server: &mut Server, c: ClientId, argv: &Args) {
    if server.masterhost.is_some() {
        addReplyError(server, c, b"WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be writable (which is not the default) writes to replicas are just local and are not propagated.");
        return;
    }

    let Ok(numreplicas) = getLongFromObjectOrReply(server, c, &argv[1], None) else { return };
    let Ok(timeout) = getTimeoutFromObjectOrReply(server, c, &argv[2], UNIT_MILLISECONDS) else {
        return;
    };

    // First try without blocking. In a transaction nothing blocks: what is true now is the reply.
    let offset = server[c].woff;
    let ackreplicas = i64::from(replicationCountAcksByOffset(server, offset));
    if ackreplicas >= numreplicas || server[c].flags & CLIENT_MULTI != 0 {
        addReplyLongLong(server, c, ackreplicas);
        return;
    }

    let bpop = &mut server[c].bpop;
    bpop.timeout = timeout;
    bpop.reploffset = offset;
    bpop.numreplicas = numreplicas as i32;
    listAddNodeHead(&mut server.clients_waiting_acks, c);
    blockClient(server, c, BLOCKED_WAIT);
    replicationRequestAckFromSlaves(server);
}

/// Removes a client from the list of those that wait in WAIT. Never call this directly: use
/// `unblockClient`.
pub fn unblockClientWaitingReplicas(server: &mut Server, c: ClientId) {
    let node = listSearchKey(&server.clients_waiting_acks, c);
    let node = node.expect("a client that is blocked in WAIT is in the list");
    listDelNode(&mut server.clients_waiting_acks, node);
}

/// Unblocks the clients in WAIT for which enough replicas have acknowledged.
pub fn processClientsWaitingReplicas(server: &mut Server) {
    // What was found for the last client that is satisfied: one that asks for no more is satisfied
    // as well, and the replicas need not be counted for it.
    let mut last_offset = 0;
    let mut last_numreplicas = 0;

    let mut li = listRewind(&server.clients_waiting_acks);
    while let Some(c) = listNext(&server.clients_waiting_acks, &mut li) {
        let (reploffset, numreplicas) = (server[c].bpop.reploffset, server[c].bpop.numreplicas);
        let known =
            last_offset != 0 && last_offset >= reploffset && last_numreplicas >= numreplicas;
        if !known {
            let acked = replicationCountAcksByOffset(server, reploffset);
            if acked < numreplicas {
                continue;
            }
            last_offset = reploffset;
            last_numreplicas = acked;
        }
        unblockClient(server, c);
        addReplyLongLong(server, c, i64::from(last_numreplicas));
    }
}

/// Returns the offset up to which we have processed our master's stream; 0 on a master. A master
/// that knows no offsets leaves -1 in the client, which counts as 0 here, since callers want an
/// amount of data.
pub fn replicationGetSlaveOffset(server: &Server) -> i64 {
    if server.masterhost.is_none() {
        return 0;
    }
    server.master.or(server.cached_master).map_or(0, |master| server[master].reploff.max(0))
}

// -----------------------------------------------------------------------------
// REPLICATION CRON
// -----------------------------------------------------------------------------

/// Does what replication has to do once a second, on both sides: timeouts, reconnects, pings,
/// acknowledgements, and the BGSAVE for replicas that wait.
pub fn replicationCron(server: &mut Server) {
    // First, see whether a failover can go on.
    updateFailoverStatus(server);

    sample_write_rate(server);
    trace_offset(server);

    let now = steady_ms() / 1000;
    let repl_timeout = i64::from(server.repl_timeout);

    // Non-blocking connection or handshake: has it timed out?
    let silence = now - server.repl_transfer_lastio;
    if server.masterhost.is_some()
        && (server.repl_state == REPL_STATE_CONNECTING || slaveIsInHandshakeState(server))
        && silence > repl_timeout
    {
        serverLog!(LL_WARNING, "Timeout connecting to the MASTER...");
        trace!(server, "timeout", "what": "the handshake", "seconds": silence);
        cancelReplicationHandshake(server, true);
    }

    // Bulk transfer: has the master stopped sending?
    let silence = now - server.repl_transfer_lastio;
    if server.masterhost.is_some()
        && server.repl_state == REPL_STATE_TRANSFER
        && silence > repl_timeout
    {
        serverLog!(
            LL_WARNING,
            "Timeout receiving bulk data from MASTER... If the problem persists try to set the 'repl-timeout' parameter in redis.conf to a larger value."
        );
        trace!(server, "timeout", "what": "the RDB", "seconds": silence);
        cancelReplicationHandshake(server, true);
    }

    // Established link: have we heard nothing, not even a PING? Freeing the client caches it and
    // reconnects.
    if let Some(master) = server.master {
        if server.masterhost.is_some()
            && server.repl_state == REPL_STATE_CONNECTED
            && now - server[master].lastinteraction > repl_timeout
        {
            serverLog!(LL_WARNING, "MASTER timeout: no data nor PING received...");
            note_silence(server, None, now - server[master].lastinteraction);
            trace!(server, "link_closed", ..newest_decision(server));
            freeClient(server, master);
        }
    }

    // Connect to our master, if that is the next thing to do.
    backoff_cron(server);
    if server.repl_state == REPL_STATE_CONNECT && backoff_is_over(server) {
        serverLog!(
            LL_NOTICE,
            "Connecting to MASTER {}:{}",
            B(server.masterhost.as_deref().unwrap_or_default()),
            server.masterport
        );
        // If it fails, we are here again in a second.
        let _ = connectWithMaster(server);
    }

    // Send an ACK to our master from time to time. Not to one that does not know PSYNC and offsets.
    if let Some(master) = server.master {
        if server.masterhost.is_some() && server[master].flags & CLIENT_PRE_PSYNC == 0 {
            replicationSendAck(server);
        }
    }

    // First, ping our replicas, as part of the stream. A link may be dead although no end of the
    // TCP connection has noticed; with regular pings the replica can take silence for a broken
    // link.
    let period = i64::from(server.repl_ping_slave_period.max(1));
    if server.repl_statics.replication_cron_loops % period == 0
        && !server.slaves.is_empty()
        // During a failover with a timeout the offset stands still, so that replicas can reach it.
        && !(server.failover_end_time != 0 && checkClientPauseTimeoutAndReturnIfPaused(server))
    {
        let ping = Argv::new(&["PING"]);
        let slaveseldb = server.slaveseldb;
        replicationFeedSlaves(server, slaveseldb, &ping.as_args());
    }

    // Second, send a newline to all replicas in the state before the synchronization, which wait
    // for us to create the RDB. It is not part of the stream, so it does not count in the offset.
    // The replica ignores it, but takes it as a sign that we are alive. No ping period applies
    // here: some timeouts of the handshake are a few seconds only.
    let mut li = listRewind(&server.slaves);
    while let Some(slave) = listNext(&server.slaves, &mut li) {
        // To one that gets a streamed RDB it would be a byte of the RDB.
        let is_presync = match server[slave].replstate {
            SLAVE_STATE_WAIT_BGSAVE_START => true,
            SLAVE_STATE_WAIT_BGSAVE_END => server.rdb_child_type != RDB_CHILD_TYPE_SOCKET,
            _ => false,
        };
        if let Some(conn) = server[slave].conn.filter(|_| is_presync) {
            // If it fails, we find out when we read from it.
            let _ = connWrite(&mut server.net, conn, b"\n");
        }
    }

    // Disconnect replicas that timed out.
    let mut li = listRewind(&server.slaves);
    while let Some(slave) = listNext(&server.slaves, &mut li) {
        let replica = &server[slave];
        let (since, what) = match replica.replstate {
            // Online, and no ACK for too long. Those that came by SYNC never send any.
            SLAVE_STATE_ONLINE if replica.flags & CLIENT_PRE_PSYNC == 0 => {
                (replica.repl_ack_time, "streaming sync")
            }
            // It takes nothing of a streamed RDB, and holds up the others and the child. (One that
            // gets a file holds up nobody.)
            SLAVE_STATE_WAIT_BGSAVE_END
                if server.rdb_child_type == RDB_CHILD_TYPE_SOCKET
                    && replica.repl_last_partial_write != 0 =>
            {
                (replica.repl_last_partial_write, "full sync")
            }
            _ => continue,
        };
        if server.steady_time - since > repl_timeout {
            serverLog!(
                LL_WARNING,
                "Disconnecting timedout replica ({}): {}",
                what,
                B(&replicationGetSlaveName(server, slave))
            );
            note_silence(server, Some(slave), server.steady_time - since);
            trace!(server, "link_closed", ..newest_decision(server));
            freeClient(server, slave);
        }
    }

    // A master that has had no replicas for `repl-backlog-ttl` seconds frees its backlog to reclaim
    // the memory. A replica keeps accumulating its own: it has to serve PSYNCs if it is promoted.
    if server.slaves.is_empty()
        && server.repl_backlog_time_limit != 0
        && server.repl_backlog
        && server.masterhost.is_none()
    {
        let idle = server.steady_time - server.repl_no_slaves_since;
        if idle > server.repl_backlog_time_limit {
            // With the backlog goes the id, and the second one. Without a backlog writes do not
            // move the offset, and if the id stayed the same, this could happen:
            //
            // 1. We are a master.
            // 2. A replica of ours is promoted to a master. Its second id is our id.
            // 3. We, still a master, are written to, which our offset does not show.
            // 4. We become a replica of the new master, which accepts our PSYNC by its second id,
            //    although what was written in step 3 is not in its data set: the two differ, and
            //    nobody knows.
            note_backlog_freed(server, server.replid.clone());
            changeReplicationId(server);
            clearReplicationId2(server);
            freeReplicationBacklog(server);
            serverLog!(
                LL_NOTICE,
                "Replication backlog freed after {} seconds without connected replicas.",
                server.repl_backlog_time_limit as i32
            );
        }
    }

    // Without replicas and without an append only file there is nobody left to know a script.
    if server.slaves.is_empty() && server.aof_state == AOF_OFF {
        replicationScriptCacheFlush(server);
    }

    replicationStartPendingFork(server);

    removeRDBUsedToSyncReplicas(server);

    // What replicas have taken meanwhile.
    if server.repl_backlog {
        trim_stream(server);
    }

    // The count of good replicas changes by the passing of time, too.
    refreshGoodSlavesCount(server);
    server.repl_statics.replication_cron_loops += 1;
}

/// Starts a BGSAVE for replication if there are replicas in the state WAIT_BGSAVE_START, and no
/// child is active. With diskless replication it is not started before one of them has waited for
/// `repl-diskless-sync-delay` seconds, so that others have the time to arrive.
pub fn replicationStartPendingFork(server: &mut Server) {
    if hasActiveChildProcess(server) {
        return;
    }
    let mut max_idle = 0;
    let mut mincapa = None;
    for &slave in &server.slaves {
        let slave = &server[slave];
        if slave.replstate == SLAVE_STATE_WAIT_BGSAVE_START {
            max_idle = max_idle.max(server.steady_time - slave.lastinteraction);
            mincapa = Some(mincapa.map_or(slave.slave_capa, |capa: i32| capa & slave.slave_capa));
        }
    }
    let Some(mincapa) = mincapa else { return };
    if !server.repl_diskless_sync || max_idle >= i64::from(server.repl_diskless_sync_delay) {
        // If it fails, the replicas were told.
        let _ = startBgsaveForReplication(server, mincapa);
    }
}

/// Finds the replica that listens on `host` (in the form in which it is known: an address) and
/// `port`.
fn findReplica(server: &Server, host: &[u8], port: i32) -> Option<ClientId> {
    server.slaves.iter().copied().find(|&replica| {
        server[replica].slave_listening_port == port
            && replica_address(server, replica).is_some_and(|ip| eq_ignore_case(host, &ip))
    })
}

/// Returns the name of the state of the failover, for INFO.
pub fn getFailoverStateString(server: &Server) -> &'static str {
    match server.failover_state {
        NO_FAILOVER => "no-failover",
        FAILOVER_IN_PROGRESS => "failover-in-progress",
        FAILOVER_WAIT_FOR_SYNC => "waiting-for-sync",
    }
}

/// Resets the state of a failover after it has succeeded or failed, and ends the pause of clients.
pub fn clearFailoverState(server: &mut Server) {
    server.failover_end_time = 0;
    server.force_failover = false;
    server.target_replica_host = None;
    server.target_replica_port = 0;
    server.failover_state = NO_FAILOVER;
    trace_failover!(server, None::<&str>);
    unpauseClients(server);
}

/// Gives up the failover, if there is one, for the reason `err`. If this server was about to become
/// a replica, it is a master again.
pub fn abortFailover(server: &mut Server, err: &str) {
    if server.failover_state == NO_FAILOVER {
        return;
    }
    match &server.target_replica_host {
        Some(host) => serverLog!(
            LL_NOTICE,
            "FAILOVER to {}:{} aborted: {}",
            B(host),
            server.target_replica_port,
            err
        ),
        None => serverLog!(LL_NOTICE, "FAILOVER to any replica aborted: {}", err),
    }
    trace!(server, "failover_aborted", "reason": err);
    if server.failover_state == FAILOVER_IN_PROGRESS {
        replicationUnsetMaster(server);
    }
    clearFailoverState(server);
}

/// FAILOVER [TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]: changes places with a replica,
/// without losing a write.
///
/// 1. The master pauses writes, so that the stream comes to its end.
/// 2. It waits until a replica has acknowledged all of the stream (`updateFailoverStatus`).
/// 3. It becomes a replica of that one.
/// 4. With its PSYNC it sends FAILOVER, which makes the other one a master. If that accepts, the
///    failover is over, and the clients go on, with a replica.
///
/// TO names the replica; any other one will do otherwise. TIMEOUT limits the wait of step 2, and
/// then the failover is given up, or, with FORCE, takes place all the same. Without TIMEOUT it waits
/// for ever. Meanwhile only FAILOVER ABORT ends it, since REPLICAOF is refused.
pub fn failoverCommand(server: &mut Server, c: ClientId, argv: &Args) {
    if argv.len() == 2 && eq_ignore_case(&argv[1], b"abort") {
        if server.failover_state == NO_FAILOVER {
            addReplyError(server, c, b"No failover in progress.");
            return;
        }
        abortFailover(server, "Failover manually aborted");
        addReply(server, c, shared::ok);
        return;
    }

    let mut timeout_in_ms = 0;
    let mut force_flag = false;
    let mut target = None;
    let mut j = 1;
    while j < argv.len() {
        let more = argv.len() - 1 - j;
        if eq_ignore_case(&argv[j], b"timeout") && more >= 1 && timeout_in_ms == 0 {
            let ms = getLongFromObjectOrReply(server, c, &argv[j + 1], None);
            let Ok(ms) = ms else { return };
            if ms <= 0 {
                addReplyError(server, c, b"FAILOVER timeout must be greater than 0");
                return;
            }
            timeout_in_ms = ms;
            j += 1;
        } else if eq_ignore_case(&argv[j], b"to") && more >= 2 && target.is_none() {
            let port = getLongFromObjectOrReply(server, c, &argv[j + 2], None);
            let Ok(port) = port else { return };
            target = Some((c_str(&argv[j + 1]).to_vec(), port));
            j += 2;
        } else if eq_ignore_case(&argv[j], b"force") && !force_flag {
            force_flag = true;
        } else {
            addReplyErrorObject(server, c, shared::syntaxerr);
            return;
        }
        j += 1;
    }

    if server.failover_state != NO_FAILOVER {
        addReplyError(server, c, b"FAILOVER already in progress.");
        return;
    }
    if server.masterhost.is_some() {
        addReplyError(server, c, b"FAILOVER is not valid when server is a replica.");
        return;
    }
    if listLength(&server.slaves) == 0 {
        addReplyError(server, c, b"FAILOVER requires connected replicas.");
        return;
    }
    if force_flag && (timeout_in_ms == 0 || target.is_none()) {
        addReplyError(
            server,
            c,
            b"FAILOVER with force option requires both a timeout and target HOST and IP.",
        );
        return;
    }

    match target {
        Some((host, port)) => {
            let Some(replica) = findReplica(server, &host, port as i32) else {
                addReplyError(server, c, b"FAILOVER target HOST and PORT is not a replica.");
                return;
            };
            if server[replica].replstate != SLAVE_STATE_ONLINE {
                addReplyError(server, c, b"FAILOVER target replica is not online.");
                return;
            }
            serverLog!(LL_NOTICE, "FAILOVER requested to {}:{}.", B(&host), port);
            server.target_replica_host = Some(host);
            server.target_replica_port = port as i32;
        }
        None => serverLog!(LL_NOTICE, "FAILOVER requested to any replica."),
    }

    if timeout_in_ms != 0 {
        // C: the sum may overflow there; a time that long has no end.
        server.failover_end_time = steady_ms().saturating_add(timeout_in_ms);
    }
    server.force_failover = force_flag;
    server.failover_state = FAILOVER_WAIT_FOR_SYNC;
    trace_failover!(server, "FAILOVER");
    // The end of the failover ends the pause.
    pauseClients(server, mstime_t::MAX, CLIENT_PAUSE_WRITE);
    addReply(server, c, shared::ok);
}

/// Looks whether a failover that waits for a replica can go on, or has to be given up. Called
/// before the event loop sleeps, and by the cron.
///
/// It goes on by `replicationSetMaster`, which disconnects the replicas, and blocked clients, even
/// if the failover fails later.
pub fn updateFailoverStatus(server: &mut Server) {
    if server.failover_state != FAILOVER_WAIT_FOR_SYNC {
        return;
    }

    // The time is over.
    if server.failover_end_time != 0 && server.failover_end_time <= server.steady_mstime {
        match server.target_replica_host.clone().filter(|_| server.force_failover) {
            Some(host) => {
                let port = server.target_replica_port;
                serverLog!(
                    LL_NOTICE,
                    "FAILOVER to {}:{} time out exceeded, failing over.",
                    B(&host),
                    port
                );
                server.failover_state = FAILOVER_IN_PROGRESS;
                trace_failover!(server, "the time is over, and it is forced");
                replicationSetMaster(server, &host, port);
            }
            None => abortFailover(server, "Replica never caught up before timeout"),
        }
        return;
    }

    // Has the replica that was named, or any other one, caught up?
    let caught_up = |replica: &ClientId| server[*replica].repl_ack_off == server.master_repl_offset;
    let target = match &server.target_replica_host {
        Some(host) => findReplica(server, host, server.target_replica_port)
            .filter(caught_up)
            .map(|_| (host.clone(), server.target_replica_port)),
        None => server.slaves.iter().filter(|&replica| caught_up(replica)).find_map(|&replica| {
            Some((replica_address(server, replica)?, server[replica].slave_listening_port))
        }),
    };
    let Some((host, port)) = target else { return };
    server.failover_state = FAILOVER_IN_PROGRESS;
    serverLog!(LL_NOTICE, "Failover target {}:{} is synced, failing over.", B(&host), port);
    server.target_replica_host = Some(host.clone());
    server.target_replica_port = port;
    trace_failover!(server, "the replica has all of the stream");
    replicationSetMaster(server, &host, port);
}

#[cfg(test)]
mod tests;
