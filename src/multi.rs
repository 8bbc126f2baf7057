//! `multi.c`: MULTI, EXEC, DISCARD, and the optimistic locking of WATCH.
//!
//! Read first: `execCommand`, then `touchWatchedKey`, which every change of a key ends in.
//! Differs: the queue holds owned copies of the arguments (`Argv`), since a command's arguments are borrowed from the query
//! buffer; a command that rewrites its arguments rewrites a copy, so EXEC has nothing to restore. There is one user who may
//! do everything, so EXEC has no permissions to check again.

use std::mem::take;

use crate::args::Args;
use crate::db::keyIsExpired;
use crate::ds::adlist::{listAddNodeTail, listDelNode, listLength, listSearchKey};
use crate::networking::*;
use crate::replication::{feedReplicationBacklog, replicationFeedMonitors};
use crate::server::{call, preventCommandPropagation, propagate};
use crate::server_h::*;
use crate::util::B;
use crate::{addReplyErrorFormat, keyspace::Keyspace};

// ================================ MULTI/EXEC ==============================

/// Appends the client's current command, with its arguments, to its transaction.
///
/// A transaction that EXEC will refuse anyway queues nothing more: a client that pipelines does not know yet, and its
/// commands would only take memory.
pub fn queueMultiCommand(server: &mut Server, c: ClientId, argv: &Args) {
    if server[c].flags & CLIENT_DIRTY_EXEC != 0 {
        return;
    }
    let cmd = server[c].cmd.expect("a command is queued after it was looked up");
    let flags = server.commands[cmd].flags;
    let mstate = &mut server[c].mstate;
    mstate.commands.push(multiCmd { argv: argv.to_argv(), cmd });
    mstate.cmd_flags |= flags;
    mstate.cmd_inv_flags |= !flags;
}

/// Ends a transaction without running it: the queue and the watched keys are forgotten.
pub fn discardTransaction(server: &mut Server, c: ClientId) {
    server[c].mstate = multiState::default();
    server[c].flags &= !(CLIENT_MULTI | CLIENT_DIRTY_CAS | CLIENT_DIRTY_EXEC);
    unwatchAllKeys(server, c);
}

/// Makes EXEC fail, if the client is in a transaction. Called at every error while a command is queued.
pub fn flagTransaction(server: &mut Server, c: ClientId) {
    // C: our master's transactions fail as well. But it has executed this one: that we lack one of its commands, as the log
    // says, is no reason to lose the others.
    if server[c].flags & CLIENT_MASTER != 0 {
        return;
    }
    if server[c].flags & CLIENT_MULTI != 0 {
        server[c].flags |= CLIENT_DIRTY_EXEC;
    }
}

/// MULTI
pub fn multiCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    if server[c].flags & CLIENT_MULTI != 0 {
        addReplyError(server, c, b"MULTI calls can not be nested");
        return;
    }
    server[c].flags |= CLIENT_MULTI;
    addReply(server, c, shared::ok);
}

/// DISCARD
pub fn discardCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    if server[c].flags & CLIENT_MULTI == 0 {
        addReplyError(server, c, b"DISCARD without MULTI");
        return;
    }
    discardTransaction(server, c);
    addReply(server, c, shared::ok);
}

/// From here on, until `afterPropagateExec`, what is propagated is inside of a MULTI.
pub fn beforePropagateMulti(server: &mut Server) {
    assert!(!server.propagate_in_transaction);
    server.propagate_in_transaction = true;
}

/// The end of what `beforePropagateMulti` began.
pub fn afterPropagateExec(server: &mut Server) {
    assert!(server.propagate_in_transaction);
    server.propagate_in_transaction = false;
}

/// Sends a MULTI to the replicas, before the first write of a transaction.
pub fn execCommandPropagateMulti(server: &mut Server, dbid: i32) {
    beforePropagateMulti(server);
    let argv = crate::args::Argv::new(&["MULTI"]);
    propagate(
        server,
        server.commands.multiCommand,
        dbid,
        &argv.as_args(),
        PROPAGATE_AOF | PROPAGATE_REPL,
    );
}

/// Sends the EXEC that ends it.
pub fn execCommandPropagateExec(server: &mut Server, dbid: i32) {
    let argv = crate::args::Argv::new(&["EXEC"]);
    propagate(
        server,
        server.commands.execCommand,
        dbid,
        &argv.as_args(),
        PROPAGATE_AOF | PROPAGATE_REPL,
    );
    afterPropagateExec(server);
}

/// Aborts the transaction of a client whose EXEC was refused. The reply is always -EXECABORT, so that the client knows that
/// it is out of MULTI, with the reason (`error`, with or without its dash and CRLF) after it.
pub fn execCommandAbort(server: &mut Server, c: ClientId, argv: &Args, error: &[u8]) {
    discardTransaction(server, c);
    let error = error.strip_prefix(b"-").unwrap_or(error);
    let error = error.strip_suffix(b"\r\n").unwrap_or(error);
    addReplyErrorFormat!(server, c, "-EXECABORT Transaction discarded because of: {}", B(error));

    // The monitors saw the MULTI and none of the queued commands. They get the EXEC, so that they know that it is over.
    replicationFeedMonitors(server, c, server[c].db, argv);
}

/// EXEC
pub fn execCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    let was_master = server.masterhost.is_none();

    if server[c].flags & CLIENT_MULTI == 0 {
        addReplyError(server, c, b"EXEC without MULTI");
        return;
    }

    // A watched key that expired has changed, even if nobody removed it yet.
    if isWatchedKeyExpired(server, c) {
        server[c].flags |= CLIENT_DIRTY_CAS;
    }

    // Two things prevent the execution: a watched key that was touched, which is no error but a null reply, and an error
    // while the commands were queued.
    if server[c].flags & (CLIENT_DIRTY_CAS | CLIENT_DIRTY_EXEC) != 0 {
        if server[c].flags & CLIENT_DIRTY_EXEC != 0 {
            addReplyErrorObject(server, c, shared::execaborterr);
        } else {
            addReply(server, c, shared::nullarray);
        }
        discardTransaction(server, c);
        return;
    }

    // A command that would block must not, inside of MULTI.
    let old_flags = server[c].flags;
    server[c].flags |= CLIENT_DENY_BLOCKING;

    // Unwatch first: our own writes need not look for us.
    unwatchAllKeys(server, c);

    server.in_exec = true;
    let orig_cmd = server[c].cmd;
    let commands = take(&mut server[c].mstate.commands);
    addReplyArrayLen(server, c, commands.len());
    for queued in &commands {
        server[c].cmd = Some(queued.cmd);
        let flags = if server.loading { CMD_CALL_NONE } else { CMD_CALL_FULL };
        call(server, c, &queued.argv.as_args(), flags);
        assert_eq!(server[c].flags & CLIENT_BLOCKED, 0);
    }

    if old_flags & CLIENT_DENY_BLOCKING == 0 {
        server[c].flags &= !CLIENT_DENY_BLOCKING;
    }
    server[c].cmd = orig_cmd;
    discardTransaction(server, c);

    // If a MULTI was propagated, `call` has to propagate this EXEC as well, and if none was, it must not.
    //
    // C: it looks at the number of changes, like for any command. So a transaction of which everything counts as a change and
    // nothing is propagated (XREADGROUP of pending messages) brings an EXEC without a MULTI, and a SAVE in it, which sets
    // the number back, a MULTI without an EXEC.
    if !server.propagate_in_transaction {
        preventCommandPropagation(server, c);
    } else {
        let is_master = server.masterhost.is_none();
        server.dirty += 1;
        server[c].flags |= CLIENT_FORCE_AOF | CLIENT_FORCE_REPL;
        // A REPLICAOF inside the transaction made a replica of us. The MULTI went into the backlog and what followed did
        // not: at least the transaction has to end there.
        if server.repl_backlog.is_some() && was_master && !is_master {
            feedReplicationBacklog(server, b"*1\r\n$4\r\nEXEC\r\n");
        }
        afterPropagateExec(server);
    }
    server.in_exec = false;
}

// ===================== WATCH (CAS alike for MULTI/EXEC) ===================
//
// Each db maps a watched key to the clients that watch it, so that a change finds whom to mark. Each client holds the keys
// it watches, so that it can be taken out of all those lists again.

/// Makes the client watch a key of its db. Watching it twice is watching it once.
pub fn watchForKey(server: &mut Server, c: ClientId, key: &[u8]) {
    let db = server[c].db;
    if server[c].watched_keys.iter().any(|wk| wk.db == db && wk.key == key) {
        return;
    }
    listAddNodeTail(server.db[db].watched_keys.entry(key.to_vec()).or_default(), c);
    server[c].watched_keys.push(watchedKey { db, key: key.to_vec() });
}

/// Makes the client watch nothing. Its CLIENT_DIRTY_CAS flag is the caller's business.
pub fn unwatchAllKeys(server: &mut Server, c: ClientId) {
    if server[c].watched_keys.is_empty() {
        return;
    }
    for wk in take(&mut server[c].watched_keys) {
        let watched_keys = &mut server.db[wk.db].watched_keys;
        let clients = watched_keys.get_mut(&wk.key).expect("a watched key has a list of clients");
        let node = listSearchKey(clients, c).expect("and this client is in it");
        listDelNode(clients, node);
        if listLength(clients) == 0 {
            watched_keys.remove(&wk.key);
        }
    }
}

/// Whether one of the keys that the client watches has expired.
pub fn isWatchedKeyExpired(server: &Server, c: ClientId) -> bool {
    server[c].watched_keys.iter().any(|wk| keyIsExpired(server, wk.db, &wk.key))
}

/// "Touches" a key: whoever watches it will see EXEC fail.
#[inline]
pub fn touchWatchedKey(server: &mut Server, db: usize, key: &[u8]) {
    if server.db[db].watched_keys.is_empty() {
        return;
    }
    let Some(clients) = server.db[db].watched_keys.get(key) else { return };
    for &c in clients {
        server.clients[c].flags |= CLIENT_DIRTY_CAS;
    }
}

/// Touches the watched keys of a db that is about to be emptied, or, with `replaced_with`, exchanged for another one
/// (FLUSHDB, FLUSHALL, SWAPDB). A key that exists in neither has not changed.
pub fn touchAllWatchedKeysInDb(server: &mut Server, emptied: usize, replaced_with: Option<usize>) {
    let exists = |keys: &Keyspace, key: &[u8]| keys.find(key).is_some();
    for (key, clients) in &server.db[emptied].watched_keys {
        let touched = exists(&server.db[emptied].dict, key)
            || replaced_with.is_some_and(|other| exists(&server.db[other].dict, key));
        if touched {
            for &c in clients {
                server.clients[c].flags |= CLIENT_DIRTY_CAS;
            }
        }
    }
}

/// WATCH key [key ...]
pub fn watchCommand(server: &mut Server, c: ClientId, argv: &Args) {
    if server[c].flags & CLIENT_MULTI != 0 {
        addReplyError(server, c, b"WATCH inside MULTI is not allowed");
        return;
    }
    for key in argv.iter().skip(1) {
        watchForKey(server, c, key);
    }
    addReply(server, c, shared::ok);
}

/// UNWATCH
pub fn unwatchCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    unwatchAllKeys(server, c);
    server[c].flags &= !CLIENT_DIRTY_CAS;
    addReply(server, c, shared::ok);
}
