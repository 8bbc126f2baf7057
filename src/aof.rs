//! `aof.c`: the append only file: what changed the data is written to it, and read back at the
//! start; when it has grown long, a child writes a short one.
//!
//! Read first: `feedAppendOnlyFile` and `flushAppendOnlyFile` (a write on its way to the disk),
//! `loadAppendOnlyFile`, then the rewrite: `rewriteAppendOnlyFileBackground`,
//! `rewriteAppendOnlyFile` (the child), `aofChildWriteDiffData` (the parent meanwhile),
//! `backgroundRewriteDoneHandler`. The book tells the story in "The life of the append only file".
//!
//! Absent: modules' values.
//!
//! Differs: stdio's part in reading is done by rio.rs. A command is appended to `server.aof_buf`
//! directly, and the bytes it arrived as are copied where they are in the one right form. The six
//! descriptors of the pipes are one field, `server.aof_pipes`. A block of the rewrite buffer
//! remembers how far it was sent instead of being moved. A file whose commands have too few
//! arguments, or make no sense without a connection, ends the load; the C reads past the arguments.

use std::collections::VecDeque;
use std::io;
use std::mem::take;
use std::os::fd::RawFd;

use crate::ae::*;
use crate::anet::anetNonBlock;
use crate::args::{ArgRange, Args};
use crate::bio::BIO_AOF_FSYNC;
use crate::connection::syncRead;
use crate::db::dbTotalServerKeyCount;
use crate::debug::debugDelay;
use crate::ds::intset::{intsetGet, intsetLen};
use crate::ds::listpack::ListpackEntry;
use crate::ds::quicklist::{AL_START_HEAD, Quicklist, quicklist_read, quicklistCount};
use crate::ds::rax::*;
use crate::ds::strset::strset_iter;
use crate::ds::ziplist::*;
use crate::keyspace::{AggregateRef, Entry, Keyspace, ValueRef};
use crate::latency::{latencyAddSampleIfNeeded, latencyEndMonitor, latencyStartMonitor};
use crate::log::{LL_NOTICE, LL_VERBOSE, LL_WARNING};
use crate::multi::{queueMultiCommand, unwatchAllKeys};
use crate::networking::{addReplyError, addReplyStatus, processEventsWhileBlocked};
use crate::rdb::{
    loadingProgress, rdbLoadRio, rdbSaveRio, startLoadingFile, startSaving, stopLoading, stopSaving,
};
use crate::replication::{bg_unlink, replicationScriptCacheFlush};
use crate::rio::*;
use crate::server::{
    CommandTable, exitFromChild, hasActiveChildProcess, lookupCommand, redisFork,
    redisSetCpuAffinity, redisSetProcTitle, resetChildState, sendChildCowInfo, sendChildInfo,
};
use crate::server_h::*;
use crate::sys::clock::{mstime, steady_ms, usleep, ustime};
use crate::sys::errno::{errno_of, error_text};
use crate::sys::file::{
    file_size, fsync, ftruncate, getcwd, lseek, open, redis_fsync, rename, truncate, unlink,
};
use crate::sys::fork::{Fork, getpid, kill, wait_for_child};
use crate::sys::pipe::pipe;
use crate::sys::socket::{close, read, read_append, write};
use crate::types::t_hash::{HashRef, hashTypeLength};
use crate::types::t_set::{SetRef, setTypeSize};
use crate::types::t_stream::*;
use crate::types::t_zset::{ZsetRef, zsetLength, zzlGetScore};
use crate::util::{B, atoi, c_str, eq_ignore_case, ll2string, strtoll};
use crate::{bformat, serverLog, trace};

// -----------------------------------------------------------------------------
// AOF rewrite buffer implementation.
//
// While the child writes the new file, everything that changes gathers here, in blocks: one buffer
// would be copied each time it grew. Most of it goes to the child through a pipe as it comes; what
// is left when the child ends, the parent appends to the new file itself, and the less that is the
// better.
// -----------------------------------------------------------------------------

/// The size of a block in bytes.
const AOF_RW_BUF_BLOCK_SIZE: usize = 1024 * 1024 * 10;

/// A block of the rewrite buffer.
#[derive(Default)]
pub struct aofrwblock {
    buf: Vec<u8>,
    /// The number of its bytes that were sent to the child.
    sent: usize,
}

impl aofrwblock {
    /// Returns the bytes that are still to be sent, or written to the file.
    fn used(&self) -> &[u8] {
        &self.buf[self.sent..]
    }
}

/// The pipes between a server and the child that rewrites its file; both sides hold all the ends.
#[derive(Copy, Clone)]
pub struct aofPipes {
    /// The pipe for the changes since the fork. Neither end blocks.
    pub write_data_to_child: RawFd,
    pub read_data_from_parent: RawFd,
    /// A `!`: the child asks for no more of it.
    pub write_ack_to_parent: RawFd,
    pub read_ack_from_child: RawFd,
    /// A `!`: there will be no more.
    pub write_ack_to_child: RawFd,
    pub read_ack_from_parent: RawFd,
}

/// Empties the rewrite buffer.
pub fn aofRewriteBufferReset(server: &mut Server) {
    server.aof_rewrite_buf_blocks = VecDeque::new();
}

/// Returns the bytes in the rewrite buffer.
pub fn aofRewriteBufferSize(server: &Server) -> usize {
    server.aof_rewrite_buf_blocks.iter().map(|block| block.used().len()).sum()
}

/// Sends the child as much of the rewrite buffer as the pipe takes: the write
/// handler of the data pipe.
pub fn aofChildWriteDiffData(server: &mut Server, fd: RawFd, _clientData: u64, _mask: i32) {
    while let Some(block) = server.aof_rewrite_buf_blocks.front_mut() {
        if server.aof_stop_sending_diff {
            break;
        }
        if !block.used().is_empty() {
            let offered = block.used().len();
            let nwritten = match write(fd, block.used()) {
                Ok(nwritten) => nwritten,
                Err(e) => {
                    if e.kind() == io::ErrorKind::WouldBlock {
                        server.net.el.drained(fd, AE_WRITABLE);
                    }
                    return;
                }
            };
            block.sent += nwritten;
            if nwritten < offered {
                server.net.el.drained(fd, AE_WRITABLE);
                return;
            }
        }
        server.aof_rewrite_buf_blocks.pop_front();
    }
    aeDeleteFileEvent(&mut server.net.el, fd, AE_WRITABLE);
}

/// Appends to the rewrite buffer, and sees to it that the child gets it.
pub fn aofRewriteBufferAppend(server: &mut Server, mut s: &[u8]) {
    loop {
        // The last block takes what it has room for.
        if let Some(block) = server.aof_rewrite_buf_blocks.back_mut() {
            let thislen = s.len().min(AOF_RW_BUF_BLOCK_SIZE - block.buf.len());
            block.buf.extend_from_slice(&s[..thislen]);
            s = &s[thislen..];
        }
        if s.is_empty() {
            break;
        }

        let buf = Vec::with_capacity(AOF_RW_BUF_BLOCK_SIZE);
        server.aof_rewrite_buf_blocks.push_back(aofrwblock { buf, sent: 0 });

        // Every ten blocks the log tells of it, and every hundred it warns.
        let numblocks = server.aof_rewrite_buf_blocks.len();
        if (numblocks + 1).is_multiple_of(10) {
            let level = if (numblocks + 1).is_multiple_of(100) { LL_WARNING } else { LL_NOTICE };
            serverLog!(
                level,
                "Background AOF buffer size: {} MB",
                aofRewriteBufferSize(server) / (1024 * 1024)
            );
        }
    }

    let Some(pipes) = server.aof_pipes else { return };
    let fd = pipes.write_data_to_child;
    if !server.aof_stop_sending_diff && aeGetFileEvents(&server.net.el, fd) == AE_NONE {
        // Without it the rest is the parent's to write, at the end.
        let _ = aeCreateFileEvent(&mut server.net.el, fd, AE_WRITABLE, aofChildWriteDiffData, 0);
    }
}

/// Writes the rewrite buffer to a file. Returns the number of bytes written. A short write is an
/// error.
fn aofRewriteBufferWrite(server: &Server, fd: RawFd) -> io::Result<usize> {
    let mut count = 0;
    for block in &server.aof_rewrite_buf_blocks {
        let used = block.used();
        if !used.is_empty() {
            let nwritten = write(fd, used)?;
            if nwritten != used.len() {
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
            count += nwritten;
        }
    }
    Ok(count)
}

// -----------------------------------------------------------------------------
// AOF file implementation
// -----------------------------------------------------------------------------

/// Tells whether an fsync of the append only file is in progress in a background thread.
pub fn aofFsyncInProgress(server: &Server) -> bool {
    server.bio.bioPendingJobsOfType(BIO_AOF_FSYNC) != 0
}

/// Starts an fsync of the file in a background thread.
fn aof_background_fsync(server: &Server, fd: RawFd) {
    server.bio.bioCreateFsyncJob(fd);
}

/// Kills the child that rewrites the file, if there is one, and waits until it has ended.
pub fn killAppendOnlyChild(server: &mut Server) {
    if server.child_type != CHILD_TYPE_AOF {
        return;
    }
    serverLog!(LL_NOTICE, "Killing running AOF rewrite child: {}", server.child_pid);
    trace!(server, "child_killed", "child": server.child_pid, "type": "AOF");
    if kill(server.child_pid, libc::SIGUSR1).is_ok() {
        // The pid can't belong to another process: it is free only when its end was waited for.
        let _ = wait_for_child(server.child_pid);
    }
    aofRewriteBufferReset(server);
    aofRemoveTempFile(server, server.child_pid);
    resetChildState(server);
    server.aof_rewrite_time_start = -1;
    aofClosePipes(server);
}

/// Stops the append only file, at CONFIG SET appendonly no: flushes the buffer, closes the file,
/// and kills a child that rewrites it.
pub fn stopAppendOnly(server: &mut Server) {
    assert_ne!(server.aof_state, AOF_OFF);
    flushAppendOnlyFile(server, true);
    if let Some(fd) = server.aof_fd.take() {
        if let Err(e) = redis_fsync(fd) {
            serverLog!(LL_WARNING, "Fail to fsync the AOF file: {}", error_text(&e));
        } else {
            server.aof_fsync_offset = server.aof_current_size;
            server.aof_last_fsync = server.steady_time;
        }
        close(fd);
    }
    server.aof_selected_db = -1;
    server.aof_state = AOF_OFF;
    trace!(server, "aof_state", "to": "AOF_OFF");
    server.aof_rewrite_scheduled = false;
    killAppendOnlyChild(server);
    server.aof_buf = Vec::new();
}

/// Starts the append only file, at CONFIG SET appendonly yes: opens the file and starts a rewrite
/// that writes the present data set. Only when that has ended writes are appended to the file.
/// `C_ERR`: it stays off, and the log says why.
pub fn startAppendOnly(server: &mut Server) -> CResult {
    let newfd = open_aof(server);
    assert_eq!(server.aof_state, AOF_OFF);
    let newfd = match newfd {
        Ok(newfd) => newfd,
        Err(e) => {
            let cwd = getcwd().unwrap_or_else(|_| b"unknown".to_vec());
            serverLog!(
                LL_WARNING,
                "Redis needs to enable the AOF but can't open the append only file {} (in server root dir {}): {}",
                B(&server.aof_filename),
                B(&cwd),
                error_text(&e)
            );
            return C_ERR;
        }
    };
    if hasActiveChildProcess(server) && server.child_type != CHILD_TYPE_AOF {
        server.aof_rewrite_scheduled = true;
        serverLog!(
            LL_WARNING,
            "AOF was enabled but there is already another background operation. An AOF background was scheduled to start when possible."
        );
    } else if server.propagate_in_transaction {
        // C: it begins at once; see `bgrewriteaofCommand`. A rewrite that is going on is of no use
        // here, either.
        if server.child_type == CHILD_TYPE_AOF {
            killAppendOnlyChild(server);
        }
        server.aof_rewrite_scheduled = true;
        serverLog!(
            LL_NOTICE,
            "AOF was enabled during a transaction. An AOF background was scheduled to start when possible."
        );
    } else {
        // A rewrite in progress can't be used, since it was not accumulating what changed since it
        // began. Stop it and start another.
        if server.child_type == CHILD_TYPE_AOF {
            serverLog!(
                LL_WARNING,
                "AOF was enabled but there is already an AOF rewriting in background. Stopping background AOF and starting a rewrite now."
            );
            killAppendOnlyChild(server);
        }
        if rewriteAppendOnlyFileBackground(server).is_err() {
            close(newfd);
            serverLog!(
                LL_WARNING,
                "Redis needs to enable the AOF but can't trigger a background AOF rewrite operation. Check the above logs for more info about the error."
            );
            return C_ERR;
        }
    }
    server.aof_state = AOF_WAIT_REWRITE;
    trace!(server, "aof_state", "to": "AOF_WAIT_REWRITE");
    server.aof_last_fsync = server.steady_time;
    server.aof_fd = Some(newfd);

    // Forget an error of the last time that the file was on.
    if server.bio.aof_bio_fsync_status() == CStatus::Err {
        serverLog!(LL_WARNING, "AOF reopen, just ignore the AOF fsync error in bio job");
        server.bio.reset_aof_bio_fsync_status();
    }
    if server.aof_last_write_status == CStatus::Err {
        serverLog!(LL_WARNING, "AOF reopen, just ignore the last error.");
        server.aof_last_write_status = CStatus::Ok;
    }
    C_OK
}

/// Opens the append only file for writing, and creates it if it does not exist.
pub fn open_aof(server: &Server) -> io::Result<RawFd> {
    open(&server.aof_filename, libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT, 0o644)
}

/// Writes all of `buf`, and retries after a short write. Returns how many bytes were written: fewer
/// than all if an error came after some of them.
///
/// A short write of a file mostly means that the disk is full, so that the next one fails. But not
/// always, and it is more resilient to try again; if there is an error, the next call returns it.
fn aofWrite(fd: RawFd, buf: &[u8]) -> io::Result<usize> {
    let mut totwritten = 0;
    while totwritten < buf.len() {
        match write(fd, &buf[totwritten..]) {
            Ok(nwritten) => totwritten += nwritten,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if totwritten == 0 => return Err(e),
            Err(_) => break,
        }
    }
    Ok(totwritten)
}

/// The number of seconds between two lines of the log about failing writes.
const AOF_WRITE_LOG_ERROR_RATE: i64 = 30;
/// The size in bytes up to which a buffer is used again after it was flushed.
// C: 4000, which is what fits into a page of its allocator. A busy server fills that in each turn
// of the loop.
const AOF_BUF_REUSED: usize = 64 * 1024;

/// Writes the buffer to the append only file, and syncs the file as the policy asks for it
/// (`appendfsync`).
///
/// A command has to be in the file before its client gets the reply. Replies are written
/// only when control is back in the event loop. So all writes of a turn are accumulated in a
/// buffer, and written at once by this function, just before the loop sleeps and sends the replies.
///
/// With `everysec`, the flush is delayed while an fsync is in progress in the background thread,
/// since write(2) would block until it is done. It is then tried again by the cron, and is done
/// anyway after two seconds, or if `force` is given. With `always`, an error ends the process.
pub fn flushAppendOnlyFile(server: &mut Server, force: bool) {
    let mut sync_in_progress = false;

    if server.aof_buf.is_empty() {
        // With `everysec` an fsync may be due although the buffer is empty: the last write may have
        // come less than a second after an fsync, and if no other one followed, its data is still
        // only in the cache of the kernel.
        if server.aof_fsync == AOF_FSYNC_EVERYSEC
            && server.aof_fsync_offset != server.aof_current_size
            && server.steady_time > server.aof_last_fsync
            && !aofFsyncInProgress(server)
        {
            try_fsync(server, false);
        }
        return;
    }

    if server.aof_fsync == AOF_FSYNC_EVERYSEC {
        sync_in_progress = aofFsyncInProgress(server);
        if sync_in_progress && !force {
            if server.aof_flush_postponed_start == 0 {
                // Postpone the flush, and note since when. The cron tries it again, too.
                server.aof_flush_postponed_start = server.steady_time;
                return;
            } else if server.steady_time - server.aof_flush_postponed_start < 2 {
                return;
            }
            // More than two seconds: write in spite of the fsync, which may block.
            server.aof_delayed_fsync += 1;
            serverLog!(
                LL_NOTICE,
                "Asynchronous AOF fsync is taking too long (disk is busy?). Writing the AOF buffer without waiting for fsync to complete, this may slow down Redis."
            );
        }
    }

    // A single write should be atomic on a real file system. That protects the file if the server
    // is killed, though not if the power fails.
    if server.aof_flush_sleep > 0 {
        usleep(server.aof_flush_sleep as u64);
    }
    let fd = aof_fd(server);
    let mut latency = latencyStartMonitor(server);
    let written = aofWrite(fd, &server.aof_buf);
    latencyEndMonitor(server, &mut latency);
    // Writes that take long are recorded under the event that may have delayed them: a pending
    // fsync, an active child, or neither. And all of them under one more event, for graphs.
    let event = if sync_in_progress {
        "aof-write-pending-fsync"
    } else if hasActiveChildProcess(server) {
        "aof-write-active-child"
    } else {
        "aof-write-alone"
    };
    latencyAddSampleIfNeeded(server, event, latency);
    latencyAddSampleIfNeeded(server, "aof-write", latency);

    server.aof_flush_postponed_start = 0;

    let expected = server.aof_buf.len();
    match written {
        Ok(nwritten) if nwritten == expected => {
            if server.aof_last_write_status == CStatus::Err {
                serverLog!(LL_WARNING, "AOF write error looks solved, Redis can write again.");
                server.aof_last_write_status = CStatus::Ok;
            }
            server.aof_current_size += expected as i64;
        }
        failed => {
            aof_write_failed(server, fd, failed);
            return;
        }
    }

    if server.aof_buf.capacity() <= AOF_BUF_REUSED {
        server.aof_buf.clear();
    } else {
        server.aof_buf = Vec::new();
    }
    try_fsync(server, sync_in_progress);
}

/// Returns the descriptor of the file, which is open.
fn aof_fd(server: &Server) -> RawFd {
    server.aof_fd.expect("the append only file is open")
}

/// Handles a write that was short (`Ok`), or failed. What was not written stays in the buffer for
/// the next time, and until then the server rejects writes. With `always` the process exits.
#[cold]
fn aof_write_failed(server: &mut Server, fd: RawFd, written: io::Result<usize>) {
    let can_log = server.steady_time - server.aof_last_write_error_log > AOF_WRITE_LOG_ERROR_RATE;
    if can_log {
        server.aof_last_write_error_log = server.steady_time;
    }

    // Remove from the file what a short write has left there, so that it ends with a whole command.
    let mut partial = 0;
    match written {
        Err(e) => {
            if can_log {
                serverLog!(LL_WARNING, "Error writing to the AOF file: {}", error_text(&e));
                server.aof_last_write_errno = errno_of(&e);
            }
        }
        Ok(nwritten) => {
            if can_log {
                serverLog!(
                    LL_WARNING,
                    "Short write while writing to the AOF file: (nwritten={}, expected={})",
                    nwritten,
                    server.aof_buf.len()
                );
            }
            if let Err(e) = ftruncate(fd, server.aof_current_size) {
                partial = nwritten;
                if can_log {
                    serverLog!(
                        LL_WARNING,
                        "Could not remove short write from the append-only file.  Redis may refuse to load the AOF the next time it starts.  ftruncate: {}",
                        error_text(&e)
                    );
                }
            }
            server.aof_last_write_errno = libc::ENOSPC;
        }
    }

    if server.aof_fsync == AOF_FSYNC_ALWAYS {
        // With `always` there is no way to recover. The replies are in the output buffers of
        // clients, and the changes of the data can't be undone. The user was promised that a write
        // which is acknowledged, or seen by others, is on the disk.
        serverLog!(
            LL_WARNING,
            "Can't recover from AOF write error when the AOF fsync policy is 'always'. Exiting..."
        );
        std::process::exit(1);
    }
    server.aof_last_write_status = CStatus::Err;
    server.aof_current_size += partial as i64;
    server.aof_buf.drain(..partial);
}

/// Syncs the file if it is time to: the end of `flushAppendOnlyFile`.
fn try_fsync(server: &mut Server, sync_in_progress: bool) {
    // With `no-appendfsync-on-rewrite`, do not sync while a child is writing to the disk: it could
    // take very long.
    if server.aof_no_fsync_on_rewrite && hasActiveChildProcess(server) {
        return;
    }

    if server.aof_fsync == AOF_FSYNC_ALWAYS {
        let mut latency = latencyStartMonitor(server);
        if let Err(e) = redis_fsync(aof_fd(server)) {
            serverLog!(
                LL_WARNING,
                "Can't persist AOF for fsync error when the AOF fsync policy is 'always': {}. Exiting...",
                error_text(&e)
            );
            std::process::exit(1);
        }
        latencyEndMonitor(server, &mut latency);
        latencyAddSampleIfNeeded(server, "aof-fsync-always", latency);
        server.aof_fsync_offset = server.aof_current_size;
        server.aof_last_fsync = server.steady_time;
    } else if server.aof_fsync == AOF_FSYNC_EVERYSEC && server.steady_time > server.aof_last_fsync {
        if !sync_in_progress {
            aof_background_fsync(server, aof_fd(server));
            server.aof_fsync_offset = server.aof_current_size;
        }
        server.aof_last_fsync = server.steady_time;
    }
}

/// Appends a command in the multibulk form to `buf`.
pub fn catAppendOnlyGenericCommand<'a>(
    dst: &mut Vec<u8>,
    argv: impl ExactSizeIterator<Item = &'a [u8]>,
) {
    append_bulk_header(dst, b'*', argv.len());
    for arg in argv {
        append_bulk_header(dst, b'$', arg.len());
        dst.extend_from_slice(arg);
        dst.extend_from_slice(b"\r\n");
    }
}

/// Appends the header `<prefix><n>\r\n`.
fn append_bulk_header(dst: &mut Vec<u8>, prefix: u8, n: usize) {
    dst.push(prefix);
    dst.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
    dst.extend_from_slice(b"\r\n");
}

/// Appends the PEXPIREAT which is equivalent to the command `cmd` with a time to live. The file is
/// read later, so a time in it is absolute, and in milliseconds, so that no precision is lost.
/// `seconds` is the argument of `cmd`, in the unit of `cmd`.
pub fn catAppendOnlyExpireAtCommand(
    buf: &mut Vec<u8>,
    commands: &CommandTable,
    cmd: CommandId,
    key: &[u8],
    seconds: &[u8],
) {
    let mut when = strtoll(c_str(seconds), 10).value;
    if cmd == commands.expireCommand || cmd == commands.expireatCommand {
        when = when.wrapping_mul(1000);
    }
    if cmd == commands.expireCommand || cmd == commands.pexpireCommand {
        when = when.wrapping_add(mstime());
    }
    let when = ll2string(when);
    catAppendOnlyGenericCommand(buf, [b"PEXPIREAT", key, &when[..]].into_iter());
}

/// Appends a command, run in db `dictid`, to the buffer that is written before the event loop
/// sleeps and replies are sent. A SELECT precedes it if the file is in another db.
///
/// If a child is rewriting the file, the command is also appended to the rewrite buffer. The child
/// writes the data set as it was when it was forked, and what has changed since has to follow it in
/// the new file.
pub fn feedAppendOnlyFile(server: &mut Server, cmd: CommandId, dictid: i32, argv: &Args) {
    let start = server.aof_buf.len();
    let buf = &mut server.aof_buf;
    if dictid != server.aof_selected_db {
        let seldb = ll2string(i64::from(dictid));
        catAppendOnlyGenericCommand(buf, [b"SELECT", &seldb[..]].into_iter());
        server.aof_selected_db = dictid;
    }

    let commands = &server.commands;
    if cmd == commands.expireCommand
        || cmd == commands.pexpireCommand
        || cmd == commands.expireatCommand
    {
        catAppendOnlyExpireAtCommand(buf, commands, cmd, &argv[1], &argv[2]);
    } else if cmd == commands.setCommand && argv.len() > 4 && eq_ignore_case(&argv[3], b"px") {
        // SET with a relative time was rewritten to PX with milliseconds. In the file the time is
        // absolute.
        let when = strtoll(c_str(&argv[4]), 10).value.wrapping_add(mstime());
        let when = ll2string(when);
        let newargs = [&argv[0], &argv[1], &argv[2], b"PXAT", &when[..]];
        catAppendOnlyGenericCommand(buf, newargs.into_iter());
    } else {
        match argv.raw() {
            Some(raw) => buf.extend_from_slice(raw),
            None => catAppendOnlyGenericCommand(buf, argv.iter()),
        }
    }

    // ANCHOR: to_both
    if server.child_type == CHILD_TYPE_AOF {
        let buf = take(&mut server.aof_buf);
        aofRewriteBufferAppend(server, &buf[start..]);
        server.aof_buf = buf;
    }
    // While the first rewrite is in progress (`AOF_WAIT_REWRITE`) there is no file to which
    // commands can be appended yet.
    if server.aof_state != AOF_ON {
        server.aof_buf.truncate(start);
    }
    // ANCHOR_END: to_both
}

// -----------------------------------------------------------------------------
// AOF loading
// -----------------------------------------------------------------------------

/// Creates the client in whose context the commands of the file are executed, as each command needs
/// one. It has no connection, so it is sent no replies.
///
/// It must not block. Nobody might ever unblock it, and even if somebody did, later commands of the
/// file would have been executed before it.
fn createAOFClient(server: &mut Server) -> ClientId {
    server.clients.insert(Client {
        id: CLIENT_ID_AOF,
        resp: 2,
        bulklen: -1,
        flags: CLIENT_DENY_BLOCKING,
        // With the state of a replica that waits for its RDB, nothing is ever written to it.
        replstate: SLAVE_STATE_WAIT_BGSAVE_START,
        ..Client::default()
    })
}

/// Frees the arguments that the command has rewritten.
fn freeFakeClientArgv(server: &mut Server, c: ClientId) {
    let client = &mut server[c];
    client.argv = None;
    client.original_argv = None;
    client.argv_len_sum = 0;
}

fn freeFakeClient(server: &mut Server, c: ClientId) {
    unwatchAllKeys(server, c);
    server.clients.remove(c);
}

/// The reason why loading ends before the end of the file (the C's labels).
enum LoadStop {
    /// A read failed, or met the end of the file.
    readerr,
    /// The file ends within a command or a transaction.
    uxeof,
    /// The format of the file is wrong.
    fmterr,
}
use LoadStop::*;

/// The state of loading an append only file.
struct Loading {
    fp: Rio,
    /// The offset in the file behind the last command that was executed.
    valid_up_to: i64,
    /// The offset in the file of the last MULTI.
    valid_before_multi: i64,
    /// The arguments of the current command, one behind the other, and where each of them is.
    buf: Vec<u8>,
    ranges: Vec<ArgRange>,
}

/// The size in bytes above which the buffer of arguments is not kept for the next command.
const LOAD_BUF_REUSED: usize = 1024 * 1024;
/// The longest line of a header, in bytes: the size of the C's buffer without the NUL.
const LOAD_LINE_MAX: usize = 127;

/// Loads the append only file by executing its commands. `C_ERR`: the file is empty. A fatal error
/// is logged, with what can be done about it, and the process exits with 1.
///
/// `C_OK` is returned, too, if the end of the file is missing, in the middle of a command or of a
/// transaction, and `aof-load-truncated` allows that: the file is truncated behind its last whole
/// command.
pub fn loadAppendOnlyFile(server: &mut Server, filename: &[u8]) -> CResult {
    let fd = match open(filename, libc::O_RDONLY, 0) {
        Ok(fd) => fd,
        Err(e) => {
            serverLog!(
                LL_WARNING,
                "Fatal error: can't open the append log file for reading: {}",
                error_text(&e)
            );
            std::process::exit(1);
        }
    };

    // An empty file is valid: the server creates it at start, and it stays empty as long as nothing
    // is written.
    if let Ok(0) = file_size(fd) {
        server.aof_current_size = 0;
        server.aof_fsync_offset = server.aof_current_size;
        close(fd);
        return C_ERR;
    }

    // Disable the file while it is read, or EXEC would append a MULTI to it.
    let old_aof_state = std::mem::replace(&mut server.aof_state, AOF_OFF);
    let fakeClient = createAOFClient(server);
    let size = startLoadingFile(server, fd, filename, RDBFLAGS_AOF_PREAMBLE);
    let mut l = Loading {
        fp: rioInitWithFile(fd, size as u64),
        valid_up_to: 0,
        valid_before_multi: 0,
        buf: Vec::new(),
        ranges: Vec::new(),
    };
    let loaded = aof_load_commands(server, &mut l, fakeClient);

    let loaded_ok = match loaded {
        Ok(()) => true,
        Err(readerr) if !rio_at_eof(&l.fp) => {
            // A line that is nothing but `*` is no failed read.
            let error = rio_error(&l.fp).map_or_else(|| "Success".to_string(), error_text);
            serverLog!(LL_WARNING, "Unrecoverable error reading the append only file: {}", error);
            std::process::exit(1);
        }
        Err(readerr | uxeof) => {
            server.aof_load_truncated && truncate_after_short_read(server, filename, l.valid_up_to)
        }
        Err(fmterr) => {
            serverLog!(
                LL_WARNING,
                "Bad file format reading the append only file: make a backup of your AOF file, then use ./redis-check-aof --fix <filename>"
            );
            std::process::exit(1);
        }
    };
    if !loaded_ok {
        serverLog!(
            LL_WARNING,
            "Unexpected end of file reading the append only file. You can: 1) Make a backup of your AOF file, then use ./redis-check-aof --fix <filename>. 2) Alternatively you can set the 'aof-load-truncated' configuration option to yes and restart the server."
        );
        std::process::exit(1);
    }

    close(fd);
    freeFakeClient(server, fakeClient);
    server.aof_state = old_aof_state;
    stopLoading(server, true);
    aofUpdateCurrentSize(server);
    server.aof_rewrite_base_size = server.aof_current_size;
    server.aof_fsync_offset = server.aof_current_size;
    C_OK
}

/// Truncates a file whose end is missing behind its last whole command. False: that failed, as the
/// log says.
fn truncate_after_short_read(server: &Server, filename: &[u8], valid_up_to: i64) -> bool {
    serverLog!(LL_WARNING, "!!! Warning: short read while loading the AOF file !!!");
    serverLog!(LL_WARNING, "!!! Truncating the AOF at offset {} !!!", valid_up_to);
    if let Err(e) = truncate(filename, valid_up_to) {
        serverLog!(LL_WARNING, "Error truncating the AOF file: {}", error_text(&e));
        return false;
    }
    // The descriptor to which commands will be appended has to be at the new end.
    if let Some(fd) = server.aof_fd
        && let Err(e) = lseek(fd, 0, libc::SEEK_END)
    {
        serverLog!(LL_WARNING, "Can't seek the end of the AOF file: {}", error_text(&e));
        return false;
    }
    serverLog!(LL_WARNING, "AOF loaded anyway because aof-load-truncated is enabled");
    true
}

/// Loads the two parts of the file: an RDB, if it begins with one, and commands.
fn aof_load_commands(
    server: &mut Server,
    l: &mut Loading,
    fakeClient: ClientId,
) -> Result<(), LoadStop> {
    // An RDB preamble is loaded as any RDB is. The commands follow right behind it.
    while rio_available(&l.fp) < 5 && rio_fill(&mut l.fp).is_ok() {}
    if rio_peek(&l.fp).starts_with(b"REDIS") {
        serverLog!(LL_NOTICE, "Reading RDB preamble from AOF file...");
        if rdbLoadRio(server, &mut l.fp, RDBFLAGS_AOF_PREAMBLE, None).is_err() {
            serverLog!(
                LL_WARNING,
                "Error reading the RDB preamble of the AOF file, AOF loading aborted"
            );
            return Err(readerr);
        }
        l.fp.update_cksum = false;
        l.fp.max_processing_chunk = 0;
        // C: if the first command is cut off it truncates the file at 0, and the RDB is lost with
        // it.
        l.valid_up_to = rioTell(&l.fp) as i64;
        l.valid_before_multi = l.valid_up_to;
        serverLog!(LL_NOTICE, "Reading the remaining AOF tail...");
    }

    let mut loops = 0u64;
    loop {
        // Serve clients from time to time, with a -LOADING error.
        if loops.is_multiple_of(1000) {
            loadingProgress(server, rioTell(&l.fp) as i64);
            processEventsWhileBlocked(server);
        }
        loops += 1;

        if !aof_read_command(l)? {
            break;
        }
        let argv = Args::new(&l.buf, &l.ranges, None);
        let Some(cmd) = lookupCommand(server, &argv[0]) else {
            serverLog!(
                LL_WARNING,
                "Unknown command '{}' reading the append only file",
                B(c_str(&argv[0]))
            );
            std::process::exit(1);
        };
        exit_unless_executable(server, cmd, &argv);
        if cmd == server.commands.multiCommand {
            l.valid_before_multi = l.valid_up_to;
        }

        // Execute the command, or queue it within a transaction.
        let client = &mut server[fakeClient];
        client.cmd = Some(cmd);
        client.lastcmd = Some(cmd);
        if client.flags & CLIENT_MULTI != 0 && cmd != server.commands.execCommand {
            queueMultiCommand(server, fakeClient, &argv);
        } else {
            (server.commands[cmd].proc_)(server, fakeClient, &argv);
            server.db[server.clients[fakeClient].db].dict.repack_small();
        }

        let client = &server[fakeClient];
        assert!(client.buf.is_empty() && client.reply.is_empty(), "there is nobody to reply to");
        assert_eq!(client.flags & CLIENT_BLOCKED, 0, "the loader must not wait");

        freeFakeClientArgv(server, fakeClient);
        server[fakeClient].cmd = None;
        if l.buf.capacity() > LOAD_BUF_REUSED {
            l.buf = Vec::new();
        }
        if server.aof_load_truncated {
            l.valid_up_to = rioTell(&l.fp) as i64;
        }
        if server.key_load_delay != 0 {
            debugDelay(server.key_load_delay);
        }
    }

    // The end of the file, behind a whole command. If the client is in a transaction, its EXEC is
    // missing: that is handled as a short read, although the format is right, so that the rest
    // without an EXEC, which was not executed, is removed.
    if server[fakeClient].flags & CLIENT_MULTI != 0 {
        serverLog!(LL_WARNING, "Revert incomplete MULTI/EXEC transaction in AOF file");
        l.valid_up_to = l.valid_before_multi;
        return Err(uxeof);
    }
    Ok(())
}

/// Reads the next command into `l.buf` and `l.ranges`. False: the file ends here.
fn aof_read_command(l: &mut Loading) -> Result<bool, LoadStop> {
    let mut line = [0; LOAD_LINE_MAX];
    let Ok(len) = rio_read_line(&mut l.fp, &mut line) else {
        return if rio_at_eof(&l.fp) { Ok(false) } else { Err(readerr) };
    };
    let header = c_str(&line[..len]);
    if header.first() != Some(&b'*') {
        return Err(fmterr);
    }
    if header.len() == 1 {
        return Err(readerr);
    }
    let argc = atoi(&header[1..]);
    if argc < 1 {
        return Err(fmterr);
    }

    l.buf.clear();
    l.ranges.clear();
    for _ in 0..argc {
        let len = rio_read_line(&mut l.fp, &mut line).map_err(|()| readerr)?;
        let header = c_str(&line[..len]);
        if header.first() != Some(&b'$') {
            return Err(fmterr);
        }
        // C: memory for a negative length cannot be had, and it ends.
        let Ok(len) = usize::try_from(strtoll(&header[1..], 10).value) else { return Err(fmterr) };
        let start = l.buf.len();
        readBytes(l, len)?;
        l.ranges.push(ArgRange { start, len });
        // The end of the line, whatever it is.
        readBytes(l, 2)?;
        l.buf.truncate(start + len);
    }
    Ok(true)
}

/// Appends the next `len` bytes to `l.buf`.
fn readBytes(l: &mut Loading, len: usize) -> Result<(), LoadStop> {
    let end = l.buf.len().saturating_add(len);
    // A length which is larger than the file ends in a short read. The buffer grows with what is
    // read, not by what the file claims.
    if rio_remaining(&l.fp).is_some_and(|bytes| bytes < len as u64) {
        return Err(uxeof);
    }
    while l.buf.len() < end {
        let missing = end - l.buf.len();
        rio_read_append(&mut l.fp, &mut l.buf, missing).map_err(|()| readerr)?;
    }
    Ok(())
}

/// Exits the process if the command can't be executed: it has too few arguments, or is about a
/// connection, which this client does not have.
///
/// C: does not check, and what happens is up to the command.
fn exit_unless_executable(server: &Server, cmd: CommandId, argv: &Args) {
    let commands = &server.commands;
    let command = &commands[cmd];
    // More arguments than the arity do no harm: XSETID of a newer server has more.
    if argv.len() < command.arity.unsigned_abs() as usize {
        serverLog!(
            LL_WARNING,
            "Too few arguments for '{}' reading the append only file",
            command.name
        );
        std::process::exit(1);
    }
    let transaction = [
        commands.multiCommand,
        commands.execCommand,
        commands.discardCommand,
        commands.watchCommand,
    ];
    let connection = command.flags & CMD_NOSCRIPT != 0
        && command.flags & (CMD_WRITE | CMD_MAY_REPLICATE) == 0
        && !transaction.contains(&cmd);
    // The names of HTTP close the connection; MIGRATE opens one, and sends our keys to whom the
    // file names.
    let http = matches!(command.name, "post" | "host:");
    if connection || http || cmd == commands.migrateCommand {
        serverLog!(
            LL_WARNING,
            "Command '{}' has no business in the append only file",
            command.name
        );
        std::process::exit(1);
    }
}

// -----------------------------------------------------------------------------
// AOF rewrite
// -----------------------------------------------------------------------------

/// Writes a string value, as a bulk string.
pub fn rioWriteBulkObject(r: &mut Rio, obj: ValueRef) -> CResult {
    match obj {
        ValueRef::Int(n) => rioWriteBulkLongLong(r, n).map(drop),
        ValueRef::Str(s) => rioWriteBulkString(r, s).map(drop),
        ValueRef::Aggregate(_) => panic!("Unknown string encoding"),
    }
}

/// Writes an element of a ziplist, as a bulk string.
fn rio_write_bulk_entry(r: &mut Rio, entry: ZiplistEntry) -> CResult {
    match entry {
        ZiplistEntry::Str(s) => rioWriteBulkString(r, s).map(drop),
        ZiplistEntry::Int(n) => rioWriteBulkLongLong(r, n).map(drop),
    }
}

/// Splits a value with many elements into variadic commands. To keep the file short each command
/// has as many elements as possible, but at most `AOF_REWRITE_ITEMS_PER_CMD`, so that none takes
/// too long or too much memory when it is read back.
struct ItemsPerCmd<'a> {
    cmd: &'a [u8],
    key: &'a [u8],
    /// The number of arguments for each element.
    args: usize,
    count: usize,
    items: usize,
}

impl<'a> ItemsPerCmd<'a> {
    fn new(cmd: &'a str, key: &'a [u8], args: usize, items: usize) -> ItemsPerCmd<'a> {
        ItemsPerCmd { cmd: cmd.as_bytes(), key, args, count: 0, items }
    }

    /// Begins a command, if the element that is to be written is the first in it.
    fn next(&mut self, r: &mut Rio) -> CResult {
        if self.count == 0 {
            let cmd_items = self.items.min(AOF_REWRITE_ITEMS_PER_CMD);
            rioWriteBulkCount(r, b'*', (2 + cmd_items * self.args) as i64)?;
            rioWriteBulkString(r, self.cmd)?;
            rioWriteBulkString(r, self.key)?;
        }
        self.count = (self.count + 1) % AOF_REWRITE_ITEMS_PER_CMD;
        self.items = self.items.saturating_sub(1);
        C_OK
    }
}

/// Writes the commands that make this list.
pub fn rewriteListObject(r: &mut Rio, key: &[u8], list: &Quicklist) -> CResult {
    let mut cmd = ItemsPerCmd::new("RPUSH", key, 1, quicklistCount(list));
    let mut li = quicklist_read(list, AL_START_HEAD, 0);
    while let Some(entry) = li.read() {
        cmd.next(r)?;
        rio_write_bulk_entry(r, entry)?;
    }
    C_OK
}

/// Writes the commands that make this set.
pub fn rewriteSetObject(r: &mut Rio, key: &[u8], set: SetRef) -> CResult {
    let mut cmd = ItemsPerCmd::new("SADD", key, 1, setTypeSize(set));
    match set {
        SetRef::Intset(is) => {
            for llval in (0..intsetLen(is)).filter_map(|ii| intsetGet(is, ii)) {
                cmd.next(r)?;
                rioWriteBulkLongLong(r, llval)?;
            }
        }
        SetRef::Strings(set) => {
            for ele in strset_iter(set) {
                cmd.next(r)?;
                rioWriteBulkString(r, ele)?;
            }
        }
        SetRef::Ht(ht) => {
            for ele in ht.iter() {
                cmd.next(r)?;
                rioWriteBulkString(r, ele.as_slice())?;
            }
        }
    }
    C_OK
}

/// Writes the commands that make this sorted set.
pub fn rewriteSortedSetObject(r: &mut Rio, key: &[u8], zobj: ZsetRef) -> CResult {
    let mut cmd = ItemsPerCmd::new("ZADD", key, 2, zsetLength(zobj));
    match zobj {
        ZsetRef::Ziplist(zl) => {
            let mut eptr = ziplistIndex(zl, 0);
            while let Some(ele) = eptr {
                let (Some(entry), Some(sptr)) = (ziplistGet(zl, ele), ziplistNext(zl, ele)) else {
                    break;
                };
                cmd.next(r)?;
                rioWriteBulkDouble(r, zzlGetScore(zl, sptr))?;
                rio_write_bulk_entry(r, entry)?;
                eptr = ziplistNext(zl, sptr);
            }
        }
        // C: writes members in the order of the hash table. Here from the last one to the first:
        // each member that is read back is then inserted at the head of the skip list, which needs
        // no search.
        ZsetRef::Skiplist(zs) => {
            let mut zn = zs.zsl.last();
            while let Some(at) = zn {
                let (ele, score) = zs.zsl.pair(at);
                cmd.next(r)?;
                rioWriteBulkDouble(r, score)?;
                rioWriteBulkString(r, ele)?;
                zn = zs.zsl.prev(at);
            }
        }
    }
    C_OK
}

/// Writes the commands that make this hash.
pub fn rewriteHashObject(r: &mut Rio, key: &[u8], hash: HashRef) -> CResult {
    let mut cmd = ItemsPerCmd::new("HMSET", key, 2, hashTypeLength(hash));
    match hash {
        HashRef::Ziplist(zl) => {
            let mut fptr = ziplistIndex(zl, 0);
            while let Some(field) = fptr {
                let Some(vptr) = ziplistNext(zl, field) else { break };
                let (Some(field), Some(value)) = (ziplistGet(zl, field), ziplistGet(zl, vptr))
                else {
                    break;
                };
                cmd.next(r)?;
                rio_write_bulk_entry(r, field)?;
                rio_write_bulk_entry(r, value)?;
                fptr = ziplistNext(zl, vptr);
            }
        }
        HashRef::Ht(ht) => {
            for pair in ht.iter() {
                cmd.next(r)?;
                rioWriteBulkString(r, pair.field())?;
                rioWriteBulkString(r, pair.value())?;
            }
        }
    }
    C_OK
}

/// Writes the id of an entry of a stream, as a bulk string.
fn rioWriteBulkStreamID(r: &mut Rio, id: &streamID) -> CResult {
    rioWriteBulkString(r, &createObjectFromStreamID(id)).map(drop)
}

/// Writes several bulk strings.
fn rio_write_bulk_strings<const N: usize>(r: &mut Rio, args: [&[u8]; N]) -> CResult {
    args.into_iter().try_for_each(|arg| rioWriteBulkString(r, arg).map(drop))
}

/// Writes the XCLAIM that adds the entry `id` to the pending entries of a consumer: with the time
/// of its last delivery and the number of deliveries, and by FORCE, as the entry itself may have
/// been deleted.
fn rioWriteStreamPendingEntry(
    r: &mut Rio,
    key: &[u8],
    groupname: &[u8],
    consumer: &streamConsumer,
    id: &streamID,
    nack: &streamNACK,
) -> CResult {
    rioWriteBulkCount(r, b'*', 12)?;
    rio_write_bulk_strings(r, [b"XCLAIM", key, groupname, &consumer.name, b"0"])?;
    rioWriteBulkStreamID(r, id)?;
    rioWriteBulkString(r, b"TIME")?;
    rioWriteBulkLongLong(r, nack.delivery_time)?;
    rioWriteBulkString(r, b"RETRYCOUNT")?;
    rioWriteBulkLongLong(r, nack.delivery_count as i64)?;
    rio_write_bulk_strings(r, [b"JUSTID", b"FORCE"])
}

/// Writes the XGROUP CREATECONSUMER that creates a consumer without pending entries: consumers that
/// have some are created by their XCLAIM.
fn rioWriteStreamEmptyConsumer(
    r: &mut Rio,
    key: &[u8],
    groupname: &[u8],
    consumer: &streamConsumer,
) -> CResult {
    rioWriteBulkCount(r, b'*', 5)?;
    rio_write_bulk_strings(r, [b"XGROUP", b"CREATECONSUMER", key, groupname, &consumer.name])
}

/// Writes the commands that make this stream: its entries, its last id, its groups with their
/// consumers, and what is pending with those.
pub fn rewriteStreamObject(r: &mut Rio, key: &[u8], s: &Stream) -> CResult {
    if s.length != 0 {
        let mut si = streamIteratorStart(s, None, None, false);
        while let Some((id, numfields)) = streamIteratorGetID(&mut si, s) {
            rioWriteBulkCount(r, b'*', 3 + numfields * 2)?;
            rio_write_bulk_strings(r, [b"XADD", key])?;
            rioWriteBulkStreamID(r, &id)?;
            for _ in 0..numfields {
                let (field, value) = streamIteratorGetField(&mut si, s);
                for part in [field, value] {
                    match part {
                        ListpackEntry::Str(s) => rioWriteBulkString(r, s)?,
                        ListpackEntry::Int(n) => rioWriteBulkLongLong(r, n)?,
                    };
                }
            }
        }
    } else {
        // A stream may be empty, but there is no command that creates an empty one. An XADD with
        // MAXLEN 0 does: its entry is trimmed at once.
        rioWriteBulkCount(r, b'*', 7)?;
        rio_write_bulk_strings(r, [b"XADD", key, b"MAXLEN", b"0", b"0-1", b"x", b"y"])?;
    }

    // The last entries may have been deleted, and their ids must not be given again. XSETID
    // restores the last id.
    rioWriteBulkCount(r, b'*', 3)?;
    rio_write_bulk_strings(r, [b"XSETID", key])?;
    rioWriteBulkStreamID(r, &s.last_id)?;

    let Some(cgroups) = &s.cgroups else { return C_OK };
    let mut ri = raxStart();
    raxSeek(&mut ri, cgroups, "^", b"");
    while raxNext(&mut ri, cgroups) {
        let Some(group) = ri.data(cgroups) else { continue };
        rioWriteBulkCount(r, b'*', 5)?;
        rio_write_bulk_strings(r, [b"XGROUP", b"CREATE", key, ri.key()])?;
        rioWriteBulkStreamID(r, &group.last_id)?;

        for consumer in group.consumers.iter() {
            if raxSize(&consumer.pel) == 0 {
                rioWriteStreamEmptyConsumer(r, key, ri.key(), consumer)?;
                continue;
            }
            let mut ri_pel = raxStart();
            raxSeek(&mut ri_pel, &consumer.pel, "^", b"");
            while raxNext(&mut ri_pel, &consumer.pel) {
                let rawid = ri_pel.key();
                let Some(nack) = raxFind(&group.pel, rawid) else { continue };
                let id = streamDecodeID(rawid);
                rioWriteStreamPendingEntry(r, key, ri.key(), consumer, &id, nack)?;
            }
        }
    }
    C_OK
}

/// Reads, in the child, what the parent has sent of what has changed since the fork. It will be
/// appended to the new file. Returns the number of bytes.
pub fn aofReadDiffFromParent(server: &mut Server) -> usize {
    let Some(pipes) = server.aof_pipes else { return 0 };
    let mut total = 0;
    // The size of a pipe on most Linux systems.
    while let Ok(nread @ 1..) =
        read_append(pipes.read_data_from_parent, &mut server.aof_child_diff, 65536)
    {
        total += nread;
    }
    total
}

/// The state of a rewrite.
#[derive(Default)]
struct RewriteProgress {
    processed: u64,
    key_count: usize,
    updated_time: i64,
}

/// Writes the whole data set to a stream, as commands.
fn rewriteAppendOnlyFileRio(server: &mut Server, aof: &mut Rio) -> CResult {
    let mut progress = RewriteProgress::default();
    for j in 0..server.db.len() {
        if server.db[j].dict.len() == 0 {
            continue;
        }
        rioWrite(aof, b"*2\r\n$6\r\nSELECT\r\n")?;
        rioWriteBulkLongLong(aof, j as i64)?;

        // The keys are taken out of the server while they are iterated, since the server is needed
        // to read from the parent and to report to it.
        let dict = take(&mut server.db[j].dict);
        let written = rewrite_all_keys(server, aof, &dict, &mut progress);
        server.db[j].dict = dict;
        written?;
    }
    C_OK
}

fn rewrite_all_keys(
    server: &mut Server,
    aof: &mut Rio,
    dict: &Keyspace,
    progress: &mut RewriteProgress,
) -> CResult {
    for e in dict.iter() {
        rewrite_one_key(aof, e)?;

        // Read from the parent now and then, or the pipe would be full, and what accumulates in the
        // parent would become more and more.
        let processed_bytes = rioTell(aof);
        if processed_bytes > progress.processed + AOF_READ_DIFF_INTERVAL_BYTES {
            progress.processed = processed_bytes;
            aofReadDiffFromParent(server);
        }

        // Report progress to the parent about once a second. To save readings of the clock it is
        // looked at only every 1024 keys.
        progress.key_count += 1;
        if progress.key_count & 1023 == 1 {
            let now = steady_ms();
            if now - progress.updated_time >= 1000 {
                let keys = progress.key_count;
                sendChildInfo(server, CHILD_INFO_TYPE_CURRENT_INFO, keys, "AOF rewrite");
                progress.updated_time = now;
            }
        }
    }
    C_OK
}

/// Writes a key: its value and its expire.
pub fn rewrite_one_key(aof: &mut Rio, e: Entry<'_>) -> CResult {
    let key = e.key();
    match e.value() {
        ValueRef::Aggregate(AggregateRef::List(list)) => rewriteListObject(aof, key, list)?,
        ValueRef::Aggregate(AggregateRef::Set(set)) => rewriteSetObject(aof, key, set)?,
        ValueRef::Aggregate(AggregateRef::Zset(zobj)) => rewriteSortedSetObject(aof, key, zobj)?,
        ValueRef::Aggregate(AggregateRef::Hash(hash)) => rewriteHashObject(aof, key, hash)?,
        ValueRef::Aggregate(AggregateRef::Stream(s)) => rewriteStreamObject(aof, key, s)?,
        string => {
            rioWrite(aof, b"*3\r\n$3\r\nSET\r\n")?;
            rioWriteBulkString(aof, key)?;
            rioWriteBulkObject(aof, string)?;
        }
    }
    if let Some(expiretime) = e.expire() {
        rioWrite(aof, b"*3\r\n$9\r\nPEXPIREAT\r\n")?;
        rioWriteBulkString(aof, key)?;
        rioWriteBulkLongLong(aof, expiretime)?;
    }
    C_OK
}

/// Writes commands that rebuild the whole data set to the file `filename`, in the child, and behind
/// them what the parent has changed since the fork. `C_ERR`: the log says what went wrong.
fn rewriteAppendOnlyFile(server: &mut Server, filename: &[u8]) -> CResult {
    // The temporary name differs from that of the result, which the parent takes over.
    let tmpfile = aof_parent_temp_file(getpid());
    let fd = match open(&tmpfile, libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC, 0o666) {
        Ok(fd) => fd,
        Err(e) => {
            serverLog!(
                LL_WARNING,
                "Opening the temp file for AOF rewrite in rewriteAppendOnlyFile(): {}",
                error_text(&e)
            );
            return C_ERR;
        }
    };

    server.aof_child_diff = Vec::new();
    let mut aof = rioInitWithFile(fd, 0);
    if server.aof_rewrite_incremental_fsync {
        rioSetAutoSync(&mut aof, REDIS_AUTOSYNC_BYTES);
    }
    startSaving(RDBFLAGS_AOF_PREAMBLE);

    let written = rewrite_and_fsync(server, &mut aof, fd);
    close(fd);
    if let Err(e) = written {
        serverLog!(LL_WARNING, "Write error writing append only file on disk: {}", error_text(&e));
        let _ = unlink(&tmpfile);
        stopSaving(false);
        return C_ERR;
    }

    if let Err(e) = rename(&tmpfile, filename) {
        serverLog!(
            LL_WARNING,
            "Error moving temp append only file on the final destination: {}",
            error_text(&e)
        );
        let _ = unlink(&tmpfile);
        stopSaving(false);
        return C_ERR;
    }
    serverLog!(LL_NOTICE, "SYNC append only file rewrite performed");
    stopSaving(true);
    C_OK
}

/// Does the part of `rewriteAppendOnlyFile` whose errors lead to the C's label `werr`.
fn rewrite_and_fsync(server: &mut Server, aof: &mut Rio, fd: RawFd) -> io::Result<()> {
    let pipes = server.aof_pipes.expect("a child that rewrites has its pipes");
    if server.aof_use_rdb_preamble {
        rdbSaveRio(server, aof, RDBFLAGS_AOF_PREAMBLE, None)?;
    } else {
        rewriteAppendOnlyFileRio(server, aof).map_err(|()| rio_take_error(aof))?;
    }
    aof.update_cksum = false;

    // Do the fsync of the large part now, while the parent still goes on sending what changes, to
    // make the last one short.
    rioFlush(aof).map_err(|()| rio_take_error(aof))?;
    fsync(fd)?;

    // Read some more from the parent, as long as there is a good chance that more will come. Not
    // for ever: a parent may be written to faster than it can send. For one second at most, and no
    // more if nothing has come for 20 ms.
    let mut nodata = 0;
    let start = steady_ms();
    while steady_ms() - start < 1000 && nodata < 20 {
        if aeWait(pipes.read_data_from_parent, AE_READABLE, 1).unwrap_or(0) == 0 {
            nodata += 1;
            continue;
        }
        nodata = 0;
        aofReadDiffFromParent(server);
    }

    // Ask the parent to stop sending, and wait for its acknowledgement. It should answer at once.
    // The timeout of five seconds is there so that the child ends in any case, even if the answer
    // is lost.
    if write(pipes.write_ack_to_parent, b"!")? != 1 {
        return Err(io::Error::from_raw_os_error(libc::EIO));
    }
    anetNonBlock(pipes.read_ack_from_parent).map_err(|e| io::Error::from_raw_os_error(e.errno))?;
    let mut byte = [0];
    syncRead(pipes.read_ack_from_parent, &mut byte, 5000)?;
    if byte != *b"!" {
        return Err(io::Error::from_raw_os_error(libc::EPROTO));
    }
    serverLog!(LL_NOTICE, "Parent agreed to stop sending diffs. Finalizing AOF...");

    // What the parent had sent before it answered is still in the pipe.
    aofReadDiffFromParent(server);
    let diff = take(&mut server.aof_child_diff);
    serverLog!(
        LL_NOTICE,
        "Concatenating {:.2} MB of AOF diff received from parent.",
        diff.len() as f64 / (1024.0 * 1024.0)
    );

    // Write it in pieces, so that the size of copy-on-write can be reported to the parent about
    // once a second.
    let mut cow_updated_time = steady_ms();
    let key_count = dbTotalServerKeyCount(server);
    for chunk in diff.chunks(8 << 20) {
        rioWrite(aof, chunk).map_err(|()| rio_take_error(aof))?;
        let now = steady_ms();
        if now - cow_updated_time >= 1000 {
            sendChildInfo(server, CHILD_INFO_TYPE_CURRENT_INFO, key_count, "AOF rewrite");
            cow_updated_time = now;
        }
    }

    // Make sure that nothing is left in our buffers or in those of the kernel.
    rioFlush(aof).map_err(|()| rio_take_error(aof))?;
    fsync(fd)
}

// -----------------------------------------------------------------------------
// AOF rewrite pipes for IPC
// -----------------------------------------------------------------------------

/// Handles the request of the child not to be sent any more of what changes (a single `!`), and
/// acknowledges it in the same way. From here on that stays in the rewrite buffer. The read handler
/// of the pipe.
pub fn aofChildPipeReadable(server: &mut Server, fd: RawFd, _clientData: u64, _mask: i32) {
    let mut byte = [0];
    if read(fd, &mut byte).is_ok_and(|nread| nread == 1) && byte == *b"!" {
        serverLog!(LL_NOTICE, "AOF rewrite child asks to stop sending diffs.");
        server.aof_stop_sending_diff = true;
        let acked = match server.aof_pipes {
            Some(pipes) => write(pipes.write_ack_to_child, b"!"),
            None => Ok(0),
        };
        // It is not tried again: the child has a timeout, or has ended.
        if !acked.as_ref().is_ok_and(|&nwritten| nwritten == 1) {
            serverLog!(
                LL_WARNING,
                "Can't send ACK to AOF child: {}",
                acked.map_or_else(|e| error_text(&e), |_| "short write".to_string())
            );
        }
        trace!(
            server,
            "aof_pipe",
            "what": "the child asks for no more",
            "buffered": aofRewriteBufferSize(server),
        );
    }
    // The child asks once.
    aeDeleteFileEvent(&mut server.net.el, fd, AE_READABLE);
}

/// Creates the pipes between parent and child for a rewrite: one for the data that has changed, one
/// by which the child says that it needs no more, and one by which the parent acknowledges that.
/// `C_ERR`: the log says why not.
fn aofCreatePipes(server: &mut Server) -> CResult {
    let mut fds = Vec::with_capacity(6);
    let created = (|| {
        for _ in 0..3 {
            let (reader, writer) = pipe()?;
            fds.extend([reader, writer]);
        }
        let nonblock = |fd| anetNonBlock(fd).map_err(|e| io::Error::from_raw_os_error(e.errno));
        nonblock(fds[0])?;
        nonblock(fds[1])?;
        aeCreateFileEvent(&mut server.net.el, fds[2], AE_READABLE, aofChildPipeReadable, 0)
    })();
    if let Err(e) = created {
        serverLog!(LL_WARNING, "Error opening /setting AOF rewrite IPC pipes: {}", error_text(&e));
        fds.into_iter().for_each(close);
        return C_ERR;
    }
    server.aof_pipes = Some(aofPipes {
        read_data_from_parent: fds[0],
        write_data_to_child: fds[1],
        read_ack_from_child: fds[2],
        write_ack_to_parent: fds[3],
        read_ack_from_parent: fds[4],
        write_ack_to_child: fds[5],
    });
    server.aof_stop_sending_diff = false;
    trace!(server, "aof_pipe", "what": "open");
    C_OK
}

/// Closes the pipes.
fn aofClosePipes(server: &mut Server) {
    let Some(pipes) = server.aof_pipes.take() else { return };
    // Remove the handlers first.
    for fd in [pipes.read_ack_from_child, pipes.write_data_to_child] {
        server.net.el.forget_fd(fd);
    }
    let fds = [
        pipes.write_data_to_child,
        pipes.read_data_from_parent,
        pipes.write_ack_to_parent,
        pipes.read_ack_from_child,
        pipes.write_ack_to_child,
        pipes.read_ack_from_parent,
    ];
    fds.into_iter().for_each(close);
    trace!(server, "aof_pipe", "what": "closed");
}

// -----------------------------------------------------------------------------
// AOF background rewrite
// -----------------------------------------------------------------------------

/// Returns the name of the file that the child `pid` produces.
fn aof_child_temp_file(pid: i32) -> Vec<u8> {
    bformat!("temp-rewriteaof-bg-{}.aof", pid)
}

/// Returns the name of the file to which the process `pid` writes, before it is renamed to its
/// result.
fn aof_parent_temp_file(pid: i32) -> Vec<u8> {
    bformat!("temp-rewriteaof-{}.aof", pid)
}

/// Starts a rewrite of the append only file in the background. `C_ERR`: there is a child already,
/// or it could not be forked, as the log says.
///
/// 1. We fork.
/// 2. The child writes the data set to a temporary file. The parent accumulates what changes in the
///    rewrite buffer, and sends it to the child bit by bit.
/// 3. The child appends what it was sent, and exits.
/// 4. The parent notices its end, appends the rest, and renames the file
///    (`backgroundRewriteDoneHandler`). From there on it is the file that commands are appended to.
pub fn rewriteAppendOnlyFileBackground(server: &mut Server) -> CResult {
    if hasActiveChildProcess(server) {
        return C_ERR;
    }
    aofCreatePipes(server)?;
    trace!(server, "rewrite", "what": "begin");
    match redisFork(server, CHILD_TYPE_AOF) {
        Ok(Fork::Child) => {
            let _ = redisSetProcTitle(server, Some(b"redis-aof-rewrite"));
            redisSetCpuAffinity(server.aof_rewrite_cpulist.as_deref());
            let tmpfile = aof_child_temp_file(getpid());
            if rewriteAppendOnlyFile(server, &tmpfile).is_ok() {
                sendChildCowInfo(server, CHILD_INFO_TYPE_AOF_COW_SIZE, "AOF rewrite");
                exitFromChild(0)
            }
            exitFromChild(1)
        }
        Err(e) => {
            serverLog!(
                LL_WARNING,
                "Can't rewrite append only file in background: fork: {}",
                error_text(&e)
            );
            aofClosePipes(server);
            C_ERR
        }
        Ok(Fork::Parent(childpid)) => {
            serverLog!(
                LL_NOTICE,
                "Background append only file rewriting started by pid {}",
                childpid
            );
            server.aof_rewrite_scheduled = false;
            server.aof_rewrite_time_start = time();
            // Force a SELECT in front of the next command, so that what accumulates from now on can
            // follow the data that the child writes.
            server.aof_selected_db = -1;
            // The new file does not have the scripts that the old one has.
            replicationScriptCacheFlush(server);
            C_OK
        }
    }
}

/// Returns the seconds since the epoch, from the clock.
fn time() -> i64 {
    ustime() / 1_000_000
}

/// BGREWRITEAOF: starts a rewrite of the append only file, or schedules one.
pub fn bgrewriteaofCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    if server.child_type == CHILD_TYPE_AOF {
        addReplyError(server, c, b"Background append only file rewriting already in progress");
    } else if hasActiveChildProcess(server) || server.propagate_in_transaction {
        // C: it begins in the middle of a transaction, and the new file has the EXEC of it without
        // its MULTI.
        server.aof_rewrite_scheduled = true;
        addReplyStatus(server, c, b"Background append only file rewriting scheduled");
    } else if rewriteAppendOnlyFileBackground(server).is_ok() {
        addReplyStatus(server, c, b"Background append only file rewriting started");
    } else {
        addReplyError(
            server,
            c,
            b"Can't execute an AOF background rewriting. Please check the server logs for more information.",
        );
    }
}

/// Removes the temporary files of a child that has not finished its work.
pub fn aofRemoveTempFile(server: &Server, childpid: i32) {
    // Mostly at least one of them does not exist.
    let _ = bg_unlink(server, &aof_child_temp_file(childpid));
    let _ = bg_unlink(server, &aof_parent_temp_file(childpid));
}

/// Updates the size of the file by asking the kernel. Needed after a rewrite or a restart;
/// otherwise the size is counted with each write, which is much faster.
fn aofUpdateCurrentSize(server: &mut Server) {
    let mut latency = latencyStartMonitor(server);
    let size = match server.aof_fd {
        Some(fd) => file_size(fd),
        None => Err(io::Error::from_raw_os_error(libc::EBADF)),
    };
    match size {
        Ok(size) => server.aof_current_size = size,
        Err(e) => {
            serverLog!(
                LL_WARNING,
                "Unable to obtain the AOF file length. stat: {}",
                error_text(&e)
            );
        }
    }
    latencyEndMonitor(server, &mut latency);
    latencyAddSampleIfNeeded(server, "aof-fstat", latency);
}

/// Handles the end of the child that rewrote the append only file: it left with `exitcode`, or was
/// ended by the signal `bysignal` (0: none). If all went well, its file takes the place of the old
/// one. In any case what was kept for the child is freed.
pub fn backgroundRewriteDoneHandler(server: &mut Server, exitcode: i32, bysignal: i32) {
    'cleanup: {
        if bysignal == 0 && exitcode == 0 {
            let now = ustime();
            serverLog!(LL_NOTICE, "Background AOF rewrite terminated with success");

            // Append to the new file what was written meanwhile and has not gone through the pipe.
            let mut latency = latencyStartMonitor(server);
            let tmpfile = aof_child_temp_file(server.child_pid);
            let newfd = match open(&tmpfile, libc::O_WRONLY | libc::O_APPEND, 0) {
                Ok(newfd) => newfd,
                Err(e) => {
                    serverLog!(
                        LL_WARNING,
                        "Unable to open the temporary AOF produced by the child: {}",
                        error_text(&e)
                    );
                    break 'cleanup;
                }
            };
            if let Err(e) = aofRewriteBufferWrite(server, newfd) {
                serverLog!(
                    LL_WARNING,
                    "Error trying to flush the parent diff to the rewritten AOF: {}",
                    error_text(&e)
                );
                close(newfd);
                break 'cleanup;
            }
            latencyEndMonitor(server, &mut latency);
            latencyAddSampleIfNeeded(server, "aof-rewrite-diff-write", latency);

            if server.aof_fsync == AOF_FSYNC_EVERYSEC {
                aof_background_fsync(server, newfd);
            } else if server.aof_fsync == AOF_FSYNC_ALWAYS {
                let mut latency = latencyStartMonitor(server);
                if let Err(e) = redis_fsync(newfd) {
                    serverLog!(
                        LL_WARNING,
                        "Error trying to fsync the parent diff to the rewritten AOF: {}",
                        error_text(&e)
                    );
                    close(newfd);
                    break 'cleanup;
                }
                latencyEndMonitor(server, &mut latency);
                latencyAddSampleIfNeeded(server, "aof-rewrite-done-fsync", latency);
            }
            serverLog!(
                LL_NOTICE,
                "Residual parent diff successfully flushed to the rewritten AOF ({:.2} MB)",
                aofRewriteBufferSize(server) as f64 / (1024.0 * 1024.0)
            );

            // What is left is to rename the new file and to write to its descriptor from here on.
            // Neither must block the server, but deleting a large file does: the kernel frees its
            // blocks when the last reference to it goes. Which is the last one depends:
            //
            // 1. The AOF is off, and this was a rewrite for once. A file that is there is deleted
            //    by the rename.
            // 2. The AOF is on. The rename takes the old file's name away, and it is deleted when
            //    the descriptor to which we wrote is closed.
            //
            // To have one case, the first is made like the second: the file that is there is opened
            // before the rename. In both a background thread closes the descriptor, and the blocks
            // are freed there. The switch is complete by then, so it does not matter how long that
            // takes.
            let mut oldfd = match server.aof_fd {
                // There may be no such file: then there is nothing to delete.
                None => open(&server.aof_filename, libc::O_RDONLY | libc::O_NONBLOCK, 0).ok(),
                Some(_) => None,
            };
            let mut latency = latencyStartMonitor(server);
            if let Err(e) = rename(&tmpfile, &server.aof_filename) {
                serverLog!(
                    LL_WARNING,
                    "Error trying to rename the temporary AOF file {} into {}: {}",
                    B(&tmpfile),
                    B(&server.aof_filename),
                    error_text(&e)
                );
                close(newfd);
                if let Some(oldfd) = oldfd {
                    close(oldfd);
                }
                break 'cleanup;
            }
            latencyEndMonitor(server, &mut latency);
            latencyAddSampleIfNeeded(server, "aof-rename", latency);

            if server.aof_fd.is_none() {
                // The AOF is off: nothing will be written to the new file.
                close(newfd);
            } else {
                oldfd = server.aof_fd.replace(newfd);
                server.aof_selected_db = -1; // The next command is preceded by a SELECT.
                aofUpdateCurrentSize(server);
                server.aof_rewrite_base_size = server.aof_current_size;
                server.aof_fsync_offset = server.aof_current_size;
                server.aof_last_fsync = server.steady_time;
                // What is in the buffer is in the new file already, by way of the rewrite buffer.
                server.aof_buf = Vec::new();
            }

            server.aof_lastbgrewrite_status = CStatus::Ok;
            serverLog!(LL_NOTICE, "Background AOF rewrite finished successfully");
            trace!(server, "rewrite", "what": "done", "bytes": server.aof_current_size);
            if server.aof_state == AOF_WAIT_REWRITE {
                server.aof_state = AOF_ON;
                trace!(server, "aof_state", "to": "AOF_ON");
            }
            if let Some(oldfd) = oldfd {
                server.bio.bioCreateCloseJob(oldfd);
            }
            serverLog!(
                LL_VERBOSE,
                "Background AOF rewrite signal handler took {}us",
                ustime() - now
            );
        } else if bysignal == 0 {
            server.aof_lastbgrewrite_status = CStatus::Err;
            serverLog!(LL_WARNING, "Background AOF rewrite terminated with error");
        } else {
            // SIGUSR1 is how we end a child that is no longer wanted. That is no error.
            if bysignal != libc::SIGUSR1 {
                server.aof_lastbgrewrite_status = CStatus::Err;
            }
            serverLog!(LL_WARNING, "Background AOF rewrite terminated by signal {}", bysignal);
        }
    }

    trace!(server, "rewrite", "what": "end");
    aofClosePipes(server);
    aofRewriteBufferReset(server);
    aofRemoveTempFile(server, server.child_pid);
    server.aof_rewrite_time_last = time() - server.aof_rewrite_time_start;
    server.aof_rewrite_time_start = -1;
    // If the AOF waits for this file to be switched on, another rewrite has to follow the one that
    // failed.
    if server.aof_state == AOF_WAIT_REWRITE {
        server.aof_rewrite_scheduled = true;
    }
}

#[cfg(test)]
mod tests;
