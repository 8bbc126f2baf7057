//! `multi.c`: MULTI, EXEC, DISCARD, and the optimistic locking of WATCH.
//!
//! Read first: `execCommand`, then `touchWatchedKey`, which is called for every change of a key.
//!
//! Differs: the queue owns copies of the arguments (`Argv`), because those of a command are
//! borrowed from the query buffer. A command that rewrites its arguments rewrites a copy, so EXEC
//! has nothing to restore.

use std::mem::take;

use crate::acl::{ACLCheckAllPerm, addACLLogEntry};
use crate::args::{ArgRange, Args};
use crate::db::keyIsExpired;
use crate::ds::adlist::{listAddNodeTail, listDelNode, listLength, listSearchKey};
use crate::networking::*;
use crate::replication::newer_masters::exec_queued;
use crate::replication::{feedReplicationBacklog, replicationFeedMonitors};
use crate::server::{call, preventCommandPropagation, propagate};
use crate::server_h::*;
use crate::util::B;
use crate::{addReplyErrorFormat, keyspace::Keyspace};

// ================================ MULTI/EXEC ==============================

/// Appends the client's current command, with its arguments, to its transaction.
///
/// Nothing is queued if EXEC will fail anyway: a client that pipelines can't know yet, and its
/// commands would only use memory.
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

/// Ends a transaction: frees the queue, clears the flags and unwatches all keys.
pub fn discardTransaction(server: &mut Server, c: ClientId) {
    server[c].mstate = multiState::default();
    server[c].flags &= !(CLIENT_MULTI | CLIENT_DIRTY_CAS | CLIENT_DIRTY_EXEC);
    unwatchAllKeys(server, c);
}

/// Makes EXEC fail, if the client is in a transaction. Called at every error while commands are
/// queued.
pub fn flagTransaction(server: &mut Server, c: ClientId) {
    // C: a transaction of the master fails as well. But the master has executed it. The command
    // that this server does not know was logged, and the other ones should not be lost with it.
    if server[c].flags & CLIENT_MASTER != 0 {
        return;
    }
    if server[c].flags & CLIENT_MULTI != 0 {
        server[c].flags |= CLIENT_DIRTY_EXEC;
    }
}

/// Implements MULTI: starts a transaction.
pub fn multiCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    if server[c].flags & CLIENT_MULTI != 0 {
        addReplyError(server, c, b"MULTI calls can not be nested");
        return;
    }
    server[c].flags |= CLIENT_MULTI;
    addReply(server, c, shared::ok);
}

/// Implements DISCARD: discards the queued commands.
pub fn discardCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    if server[c].flags & CLIENT_MULTI == 0 {
        addReplyError(server, c, b"DISCARD without MULTI");
        return;
    }
    discardTransaction(server, c);
    addReply(server, c, shared::ok);
}

/// Notes that a MULTI is being propagated: what follows, until `afterPropagateExec`, is part of a
/// transaction.
pub fn beforePropagateMulti(server: &mut Server) {
    assert!(!server.propagate_in_transaction);
    server.propagate_in_transaction = true;
}

/// Notes that the EXEC which ends a propagated transaction has been or is being propagated.
pub fn afterPropagateExec(server: &mut Server) {
    assert!(server.propagate_in_transaction);
    server.propagate_in_transaction = false;
}

/// The commands around a transaction, as they are propagated.
const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// Propagates a MULTI, to the AOF and the replicas, before the first write of a transaction.
pub fn execCommandPropagateMulti(server: &mut Server, dbid: i32) {
    beforePropagateMulti(server);
    let argv = Args::new(MULTI, &[ArgRange { start: 8, len: 5 }], Some((0, MULTI.len())));
    let cmd = server.commands.multiCommand;
    propagate(server, cmd, dbid, &argv, PROPAGATE_AOF | PROPAGATE_REPL);
}

/// Propagates the EXEC that ends the transaction which `execCommandPropagateMulti` began.
pub fn execCommandPropagateExec(server: &mut Server, dbid: i32) {
    let argv = Args::new(EXEC, &[ArgRange { start: 8, len: 4 }], Some((0, EXEC.len())));
    let cmd = server.commands.execCommand;
    propagate(server, cmd, dbid, &argv, PROPAGATE_AOF | PROPAGATE_REPL);
    afterPropagateExec(server);
}

/// Aborts the transaction of a client whose EXEC was rejected. The reply is always -EXECABORT, so
/// that the client knows that it is no longer in MULTI, followed by the reason (`error`, with or
/// without its dash and CRLF).
pub fn execCommandAbort(server: &mut Server, c: ClientId, argv: &Args, error: &[u8]) {
    discardTransaction(server, c);
    let error = error.strip_prefix(b"-").unwrap_or(error);
    let error = error.strip_suffix(b"\r\n").unwrap_or(error);
    addReplyErrorFormat!(server, c, "-EXECABORT Transaction discarded because of: {}", B(error));

    // Monitors have seen the MULTI, and nothing of the queued commands. Send them the EXEC, so that
    // they see the end of the transaction.
    replicationFeedMonitors(server, c, server[c].db, argv);
}

/// Implements EXEC: executes the queued commands, unless a watched key was changed or one of them
/// could not be queued.
pub fn execCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    let was_master = server.masterhost.is_none();

    if server[c].flags & CLIENT_MULTI == 0 {
        addReplyError(server, c, b"EXEC without MULTI");
        return;
    }

    // A watched key that has expired counts as changed, even if it is not deleted yet.
    if isWatchedKeyExpired(server, c) {
        server[c].flags |= CLIENT_DIRTY_CAS;
    }

    // Two things prevent the execution: a watched key was changed, which is not an error but
    // replied with null, or a command could not be queued because of an error.
    if server[c].flags & (CLIENT_DIRTY_CAS | CLIENT_DIRTY_EXEC) != 0 {
        if server[c].flags & CLIENT_DIRTY_EXEC != 0 {
            addReplyErrorObject(server, c, shared::execaborterr);
        } else {
            addReply(server, c, shared::nullarray);
        }
        discardTransaction(server, c);
        return;
    }

    // Blocking commands must not block in a transaction.
    let old_flags = server[c].flags;
    server[c].flags |= CLIENT_DENY_BLOCKING;

    // Unwatch the keys as soon as possible, so that the writes below do not have to search for this
    // client.
    unwatchAllKeys(server, c);

    server.in_exec = true;
    let orig_cmd = server[c].cmd;
    let commands = take(&mut server[c].mstate.commands);
    addReplyArrayLen(server, c, commands.len());
    let from_master = server[c].flags & CLIENT_MASTER != 0;
    for queued in &commands {
        if from_master && exec_queued(server, c, &queued.argv.as_args()) {
            continue;
        }
        server[c].cmd = Some(queued.cmd);
        let argv = queued.argv.as_args();
        // What the user may do may have changed since the command was queued.
        if let Err(denied) = ACLCheckAllPerm(server, c, queued.cmd, &argv) {
            let reason = match denied.reason {
                ACL_DENIED_CMD => "no permission to execute the command or subcommand",
                ACL_DENIED_KEY => "no permission to touch the specified keys",
                ACL_DENIED_CHANNEL => {
                    "no permission to access one of the channels used as arguments"
                }
                ACL_DENIED_AUTH => "no permission",
            };
            addACLLogEntry(server, c, denied, &argv, None);
            addReplyErrorFormat!(
                server,
                c,
                "-NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason: {}",
                reason
            );
            continue;
        }
        let flags = if server.loading { CMD_CALL_NONE } else { CMD_CALL_FULL };
        call(server, c, &argv, flags);
        assert_eq!(server[c].flags & CLIENT_BLOCKED, 0);
    }

    if old_flags & CLIENT_DENY_BLOCKING == 0 {
        server[c].flags &= !CLIENT_DENY_BLOCKING;
    }
    server[c].cmd = orig_cmd;
    discardTransaction(server, c);

    // The EXEC is propagated, by `call`, if and only if a MULTI was.
    //
    // C: it depends on the number of changes, as for any command. So a transaction that makes
    // changes and propagates nothing (XREADGROUP of pending messages) propagates an EXEC without a
    // MULTI; and one with a SAVE, which resets the number, a MULTI without an EXEC.
    if !server.propagate_in_transaction {
        preventCommandPropagation(server, c);
    } else {
        let is_master = server.masterhost.is_none();
        server.dirty += 1;
        server[c].flags |= CLIENT_FORCE_AOF | CLIENT_FORCE_REPL;
        // A REPLICAOF in the transaction has made this server a replica. The MULTI is in the
        // backlog, and what followed was not added to it. Add the EXEC, so that the backlog has no
        // unfinished transaction.
        if server.repl_backlog && was_master && !is_master {
            feedReplicationBacklog(server, b"*1\r\n$4\r\nEXEC\r\n");
        }
        afterPropagateExec(server);
    }
    server.in_exec = false;
}

// Each db maps a watched key to the clients that watch it, so that a change finds the clients to
// flag. Each client has a list of the keys it watches, so that it can be removed from the maps.

/// Adds a key of the client's db to those that the client watches, unless it is watched already.
pub fn watchForKey(server: &mut Server, c: ClientId, key: &[u8]) {
    let db = server[c].db;
    if server[c].watched_keys.iter().any(|wk| wk.db == db && wk.key == key) {
        return;
    }
    listAddNodeTail(server.db[db].watched_keys.entry(key.to_vec()).or_default(), c);
    server[c].watched_keys.push(watchedKey { db, key: key.to_vec() });
}

/// Unwatches all keys of a client. The flag CLIENT_DIRTY_CAS is left to the caller.
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

/// Tells whether one of the keys that the client watches has expired.
pub fn isWatchedKeyExpired(server: &Server, c: ClientId) -> bool {
    server[c].watched_keys.iter().any(|wk| keyIsExpired(server, wk.db, &wk.key))
}

/// Touches a key: the next EXEC of each client that watches it will fail.
#[inline(always)]
pub fn touchWatchedKey(server: &mut Server, db: usize, key: &[u8]) {
    if !server.db[db].watched_keys.is_empty() {
        touch_if_watched(server, db, key);
    }
}

/// Touches a key of a db in which keys are watched.
#[inline(never)]
fn touch_if_watched(server: &mut Server, db: usize, key: &[u8]) {
    let Some(clients) = server.db[db].watched_keys.get(key) else { return };
    for &c in clients {
        server.clients[c].flags |= CLIENT_DIRTY_CAS;
    }
}

/// Touches the watched keys of a db that is about to be emptied, or, with `replaced_with`,
/// exchanged for another one (FLUSHDB, FLUSHALL, SWAPDB). A key that exists in neither db has not
/// changed.
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

/// Implements WATCH key [key ...]: the next EXEC fails if one of the keys is changed before.
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

/// Implements UNWATCH: unwatches all keys of the client.
pub fn unwatchCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    unwatchAllKeys(server, c);
    server[c].flags &= !CLIENT_DIRTY_CAS;
    addReply(server, c, shared::ok);
}
