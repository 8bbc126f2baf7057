//! `blocked.c`: clients that are blocked, and how they are served or unblocked.
//!
//! Read first: `blockClient`, `unblockClient`. A client blocks on keys (`blockForKeys`), on the
//! acknowledgements of replicas (WAIT, in replication.rs), or because of CLIENT PAUSE. A command that adds data to a key calls `signalKeyAsReady`; after the command
//! `handleClientsBlockedOnKeys` serves the clients that are blocked on it.
//!
//! Differs: a client keeps the keys on which it is blocked in a vector, and is searched for in the
//! list of each when it is removed; the C remembers its node in each list.

use std::mem::take;

use crate::db::{dbDelete, lookupKeyWrite};
use crate::ds::adlist::*;
use crate::keyspace::{KeyRef, OBJ_LIST, OBJ_STREAM, OBJ_ZSET};
use crate::latency::latencyAddSampleIfNeeded;
use crate::networking::*;
use crate::notify::notifyKeyspaceEvent;
use crate::replication::{replicationCountAcksByOffset, unblockClientWaitingReplicas};
use crate::server::{afterCommand, slowlogPushCurrentCommand, updateCachedTime};
use crate::server_h::*;
use crate::sys::clock::{elapsedStart, elapsedUs};
use crate::timeout::{addClientToTimeoutTable, removeClientFromTimeoutTable};
use crate::types::t_list::{listTypeLength, listTypePop, listTypePush, serveClientBlockedOnList};
use crate::types::t_stream::serveClientsBlockedOnStreamKey;
use crate::types::t_zset::serveClientsBlockedOnSortedSetKey;

/// Blocks a client for the reason `btype` (`BLOCKED_*`). Its query buffer is still filled, but is
/// only processed after the client is unblocked.
pub fn blockClient(server: &mut Server, c: ClientId, btype: usize) {
    // The replication stream must not stop, except during a pause.
    assert!(server[c].flags & CLIENT_MASTER == 0 || btype == BLOCKED_PAUSE);

    server[c].flags |= CLIENT_BLOCKED;
    server[c].btype = btype;
    server.blocked_clients += 1;
    server.blocked_clients_by_type[btype] += 1;
    addClientToTimeoutTable(server, c);
    if btype == BLOCKED_PAUSE {
        let node = listAddNodeTail(&mut server.paused_clients, c);
        server[c].paused_list_node = Some(node);
        // The command of a paused client was parsed and not executed. It is executed after the
        // pause.
        server[c].flags |= CLIENT_PENDING_COMMAND;
    }
}

/// Updates the statistics when a blocking operation ends: the total duration of the command (what
/// it took before it blocked, `blocked_us` and `reply_us`), the slow log, and the latency of the
/// reply. All times are in microseconds.
pub fn updateStatsOnUnblock(server: &mut Server, c: ClientId, blocked_us: i64, reply_us: i64) {
    let total_cmd_duration = server[c].duration + blocked_us + reply_us;
    let cmd = server[c].lastcmd.expect("a blocked client has run a command");
    server.commands[cmd].microseconds += total_cmd_duration;
    if let Some(argv) = take(&mut server[c].argv) {
        slowlogPushCurrentCommand(server, c, cmd, &argv.as_args(), total_cmd_duration);
        server[c].argv = Some(argv);
    }
    latencyAddSampleIfNeeded(server, "command-unblocking", reply_us / 1000);
}

/// Processes the query buffers of clients that were unblocked, with what they sent in the meantime.
/// Called before the event loop sleeps.
pub fn processUnblockedClients(server: &mut Server) {
    while let Some(node) = listFirst(&server.unblocked_clients) {
        let c = listNodeValue(&server.unblocked_clients, node);
        listDelNode(&mut server.unblocked_clients, node);
        server[c].flags &= !CLIENT_UNBLOCKED;

        // The client may be blocked again by now. `processInputBuffer` checks that, too, but may be
        // changed; the condition is clearer here.
        if server[c].flags & CLIENT_BLOCKED == 0 {
            if processPendingCommandsAndResetClient(server, c).is_err() {
                continue;
            }
            if !server[c].querybuf.is_empty() {
                processInputBuffer(server, c);
            }
        }
    }
}

/// Schedules a client for `processUnblockedClients`, which processes its query buffer when no other
/// command is being executed.
///
/// While a client is blocked, data it sends is read but not processed. When it is unblocked there
/// may be no more data to read, so that no event of the socket would cause the buffer to be
/// processed.
pub fn queueClientForReprocessing(server: &mut Server, c: ClientId) {
    if server[c].flags & CLIENT_UNBLOCKED == 0 {
        server[c].flags |= CLIENT_UNBLOCKED;
        listAddNodeTail(&mut server.unblocked_clients, c);
    }
}

/// Unblocks a client, whatever the reason for which it is blocked. It does not reply; that is up to
/// the caller.
pub fn unblockClient(server: &mut Server, c: ClientId) {
    let btype = server[c].btype;
    match btype {
        BLOCKED_LIST | BLOCKED_ZSET | BLOCKED_STREAM => unblockClientWaitingData(server, c),
        BLOCKED_WAIT => unblockClientWaitingReplicas(server, c),
        BLOCKED_PAUSE => {
            let node = server[c].paused_list_node.take().expect("a paused client is in the list");
            listDelNode(&mut server.paused_clients, node);
        }
        _ => panic!("Unknown btype in unblockClient()."),
    }

    // A blocking command ends here, and its arguments are freed. The command of a paused client has
    // not been executed yet, and is kept.
    if btype != BLOCKED_PAUSE {
        freeClientOriginalArgv(server, c);
        resetClient(server, c);
    }

    server.blocked_clients -= 1;
    server.blocked_clients_by_type[btype] -= 1;
    server[c].flags &= !CLIENT_BLOCKED;
    server[c].btype = BLOCKED_NONE;
    removeClientFromTimeoutTable(server, c);
    queueClientForReprocessing(server, c);
}

/// Replies to a blocked client whose timeout was reached. The caller unblocks it.
pub fn replyToBlockedClientTimedOut(server: &mut Server, c: ClientId) {
    match server[c].btype {
        BLOCKED_LIST | BLOCKED_ZSET | BLOCKED_STREAM => addReplyNullArray(server, c),
        BLOCKED_WAIT => {
            let offset = server[c].bpop.reploffset;
            let numreplicas = replicationCountAcksByOffset(server, offset);
            addReplyLongLong(server, c, i64::from(numreplicas));
        }
        _ => panic!("Unknown btype in replyToBlockedClientTimedOut()."),
    }
}

/// Unblocks all clients that are blocked on keys, with an error, and disconnects them. It is called
/// when a master becomes a replica: the operations that they wait for would write.
pub fn disconnectAllBlockedClients(server: &mut Server) {
    let mut li = listRewind(&server.clients.list);
    while let Some(c) = listNext(&server.clients.list, &mut li) {
        if server[c].flags & CLIENT_BLOCKED == 0 {
            continue;
        }
        // The command of a paused client has not been executed. After the pause it is executed or
        // rejected like any other.
        if server[c].btype == BLOCKED_PAUSE {
            continue;
        }
        addReplyError(
            server,
            c,
            b"-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
        );
        unblockClient(server, c);
        server[c].flags |= CLIENT_CLOSE_AFTER_REPLY;
    }
}

/// Returns the client that has been blocked longest on a key, if it is blocked on a value of the
/// type `btype` (`BLOCKED_LIST`, `BLOCKED_ZSET`). If it is blocked on another type, it is moved to
/// the tail of the list, so that the caller gets another client the next time.
///
/// The list is looked up at each call: an unblocked client is removed from it, and an empty list
/// from the db.
pub fn first_waiting(server: &mut Server, rl: &readyList, btype: usize) -> Option<ClientId> {
    let clients =
        server.db[rl.db].blocking_keys.get_mut(&rl.key).expect("somebody still waits for this key");
    let first = listFirst(clients).expect("a list of waiting clients is never empty");
    let receiver = listNodeValue(clients, first);
    if server.clients[receiver].btype != btype {
        listRotateHeadToTail(clients);
        return None;
    }
    Some(receiver)
}

/// Serves the clients that are blocked on the list `o`, in the order in which they blocked, as long
/// as the list has elements.
pub fn serveClientsBlockedOnListKey(server: &mut Server, rl: &readyList, o: KeyRef) {
    let mut numclients = server.db[rl.db].blocking_keys.get(&rl.key).map_or(0, listLength);
    while numclients > 0 {
        numclients -= 1;
        let Some(receiver) = first_waiting(server, rl, BLOCKED_LIST) else { continue };

        let (wherefrom, whereto) = (server[receiver].bpop.wherefrom, server[receiver].bpop.whereto);
        let Some(value) = listTypePop(server.db[rl.db].dict.list_mut(o), wherefrom) else { break };
        let dstkey = server[receiver].bpop.target.clone();
        let old_client = server.current_client.replace(receiver);
        let reply_timer = elapsedStart();
        let ends = (wherefrom, whereto);
        if serveClientBlockedOnList(
            server,
            receiver,
            &rl.key,
            dstkey.as_deref(),
            rl.db,
            &value,
            ends,
        )
        .is_err()
        {
            // The client could not be served (the target key is of another type): undo the pop.
            listTypePush(server.db[rl.db].dict.list_mut(o), &value, wherefrom);
        }
        updateStatsOnUnblock(server, receiver, 0, elapsedUs(reply_timer) as i64);
        unblockClient(server, receiver);
        afterCommand(server);
        server.current_client = old_client;
    }

    // signalModifiedKey() was called by the command that pushed to the list.
    if listTypeLength(server.db[rl.db].dict.list(o)) == 0 {
        dbDelete(server, rl.db, &rl.key);
        notifyKeyspaceEvent(server, NOTIFY_GENERIC, "del", &rl.key, rl.db);
    }
}

/// Serves the clients that are blocked on a key whose value is `o`.
fn serve_clients_blocked_on_key(server: &mut Server, rl: &readyList, o: KeyRef) {
    match server.db[rl.db].dict.type_of(o) {
        OBJ_LIST => serveClientsBlockedOnListKey(server, rl, o),
        OBJ_ZSET => serveClientsBlockedOnSortedSetKey(server, rl, o),
        OBJ_STREAM => serveClientsBlockedOnStreamKey(server, rl, o),
        _ => {}
    }
}

/// Serves the clients that are blocked on keys that got data, in the order in which they blocked.
/// Called after every command and every transaction.
///
/// Serving a client can add data to another key (BLMOVE), which is then signaled as well. So this
/// continues until no key is signaled.
pub fn handleClientsBlockedOnKeys(server: &mut Server) {
    while !server.ready_keys.is_empty() {
        for rl in take(&mut server.ready_keys) {
            // From here on the key can be signaled again.
            server.db[rl.db].ready_keys.remove(&rl.key);

            // The cached time is used, as within a command, so that a key does not expire between
            // two lookups.
            server.fixed_time_expire += 1;
            updateCachedTime(server, false);
            if let Some(o) = lookupKeyWrite(server, rl.db, &rl.key) {
                serve_clients_blocked_on_key(server, &rl, o);
                server.db[rl.db].dict.repack_small();
            }
            server.fixed_time_expire -= 1;
        }
    }
}

/// Blocks a client until one of `keys` has data, or until `timeout` (absolute, in milliseconds; 0
/// is never). `btype` is `BLOCKED_LIST`, `BLOCKED_ZSET` or `BLOCKED_STREAM`. For lists, `target` is
/// the key that gets the element, and `listpos` tells from which end it is popped and to which it
/// is pushed. For streams, `ids` has for each key the last id that the client has seen.
pub fn blockForKeys(
    server: &mut Server,
    c: ClientId,
    btype: usize,
    keys: &[&[u8]],
    timeout: mstime_t,
    target: Option<&[u8]>,
    listpos: Option<(i32, i32)>,
    ids: Option<&[streamID]>,
) {
    let Server { clients, db, .. } = server;
    let client = &mut clients[c];
    client.bpop.timeout = timeout;
    client.bpop.target = target.map(<[u8]>::to_vec);
    if let Some((wherefrom, whereto)) = listpos {
        (client.bpop.wherefrom, client.bpop.whereto) = (wherefrom, whereto);
    }
    let blocking_keys = &mut db[client.db].blocking_keys;
    for (j, &key) in keys.iter().enumerate() {
        let waiting = blocking_keys.entry(key.to_vec()).or_default();
        // A key that is named twice is added once. This client is then the last one in the list of
        // the key.
        if listLast(waiting).is_some_and(|last| listNodeValue(waiting, last) == c) {
            continue;
        }
        listAddNodeTail(waiting, c);
        client.bpop.keys.push((key.to_vec(), ids.map(|ids| ids[j])));
    }
    blockClient(server, c, btype);
}

/// Removes a client from the lists of all the keys on which it is blocked.
pub fn unblockClientWaitingData(server: &mut Server, c: ClientId) {
    let db = server[c].db;
    let bpop = take(&mut server[c].bpop);
    for (key, _) in &bpop.keys {
        let blocking_keys = &mut server.db[db].blocking_keys;
        let clients =
            blocking_keys.get_mut(key).expect("a key that is waited for has a list of clients");
        let node = listSearchKey(clients, c).expect("and this client is in it");
        listDelNode(clients, node);
        if listLength(clients) == 0 {
            blocking_keys.remove(key);
        }
    }
    // The timeout is kept: it is the key under which the client is found in the table of timeouts.
    server[c].bpop.timeout = bpop.timeout;
}

/// Returns the reason (`BLOCKED_*`) for which clients block on a value of a type; `BLOCKED_NONE` if
/// none do.
fn getBlockedTypeByType(type_: u8) -> usize {
    match type_ {
        OBJ_LIST => BLOCKED_LIST,
        OBJ_ZSET => BLOCKED_ZSET,
        OBJ_STREAM => BLOCKED_STREAM,
        _ => BLOCKED_NONE,
    }
}

/// Signals that a key got data. If clients are blocked on it, it is noted once, and they are served
/// after the command or the transaction.
pub fn signalKeyAsReady(server: &mut Server, db: usize, key: &[u8], type_: u8) {
    let btype = getBlockedTypeByType(type_);
    if btype == BLOCKED_NONE || server.blocked_clients_by_type[btype] == 0 {
        return;
    }
    if !server.db[db].blocking_keys.contains_key(key)
        || !server.db[db].ready_keys.insert(key.to_vec())
    {
        return;
    }
    server.ready_keys.push(readyList { db, key: key.to_vec() });
}
