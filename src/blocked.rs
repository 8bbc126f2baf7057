//! `blocked.c`: clients that wait, and what wakes them.
//!
//! Read first: `blockClient`, `unblockClient`. A client blocks for a key (`blockForKeys`) or because of CLIENT PAUSE. A
//! command that gives a key data calls `signalKeyAsReady`; after the command `handleClientsBlockedOnKeys` serves who waits.
//! Differs: a client keeps the keys it waits for in a vector, and leaves a key's list by searching it; the C remembers the
//! node of each list.

use std::mem::take;

use crate::db::{dbDelete, lookupKeyWrite};
use crate::ds::adlist::*;
use crate::keyspace::{KeyRef, OBJ_LIST, OBJ_STREAM, OBJ_ZSET};
use crate::latency::latencyAddSampleIfNeeded;
use crate::networking::*;
use crate::notify::notifyKeyspaceEvent;
use crate::server::{slowlogPushCurrentCommand, updateCachedTime};
use crate::server_h::*;
use crate::sys::clock::{elapsedStart, elapsedUs};
use crate::timeout::{addClientToTimeoutTable, removeClientFromTimeoutTable};
use crate::types::t_list::{listTypeLength, listTypePop, listTypePush, serveClientBlockedOnList};
use crate::types::t_stream::serveClientsBlockedOnStreamKey;
use crate::types::t_zset::serveClientsBlockedOnSortedSetKey;

/// Blocks a client for a reason (`BLOCKED_*`). From here on its query buffer only fills; it is executed when the client is
/// unblocked.
pub fn blockClient(server: &mut Server, c: ClientId, btype: usize) {
    // The master's stream stops for a pause and for nothing else.
    assert!(server[c].flags & CLIENT_MASTER == 0 || btype == BLOCKED_PAUSE);

    server[c].flags |= CLIENT_BLOCKED;
    server[c].btype = btype;
    server.blocked_clients += 1;
    server.blocked_clients_by_type[btype] += 1;
    addClientToTimeoutTable(server, c);
    if btype == BLOCKED_PAUSE {
        let node = listAddNodeTail(&mut server.paused_clients, c);
        server[c].paused_list_node = Some(node);
        // Its command was not executed yet, and will be.
        server[c].flags |= CLIENT_PENDING_COMMAND;
    }
}

/// Counts the end of a blocking operation: total duration (without the time blocked, but for `blocked_us`), slow log,
/// latency of the reply. In microseconds.
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

/// Executes what unblocked clients sent in the meantime. Called before every sleep.
pub fn processUnblockedClients(server: &mut Server) {
    while let Some(node) = listFirst(&server.unblocked_clients) {
        let c = listNodeValue(&server.unblocked_clients, node);
        listDelNode(&mut server.unblocked_clients, node);
        server[c].flags &= !CLIENT_UNBLOCKED;

        // It may be blocked again by now. `processInputBuffer` asks too, but things change and this is the clear place.
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

/// Has the client's query buffer looked at again at a safe time.
///
/// While a client is blocked its bytes are read but not executed. Nothing would look at them after the wait: the socket may
/// have no more to read. So whoever unblocks a client puts it here.
pub fn queueClientForReprocessing(server: &mut Server, c: ClientId) {
    if server[c].flags & CLIENT_UNBLOCKED == 0 {
        server[c].flags |= CLIENT_UNBLOCKED;
        listAddNodeTail(&mut server.unblocked_clients, c);
    }
}

/// Ends the wait of a client, whatever it waits for. The reply is the caller's business.
pub fn unblockClient(server: &mut Server, c: ClientId) {
    let btype = server[c].btype;
    match btype {
        BLOCKED_LIST | BLOCKED_ZSET | BLOCKED_STREAM => unblockClientWaitingData(server, c),
        BLOCKED_PAUSE => {
            let node = server[c].paused_list_node.take().expect("a paused client is in the list");
            listDelNode(&mut server.paused_clients, node);
        }
        _ => panic!("Unknown btype in unblockClient()."),
    }

    // A blocking command is over only now; a paused one has yet to begin.
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

/// The reply of a blocking operation whose time is up. The caller unblocks the client.
pub fn replyToBlockedClientTimedOut(server: &mut Server, c: ClientId) {
    match server[c].btype {
        BLOCKED_LIST | BLOCKED_ZSET | BLOCKED_STREAM => addReplyNullArray(server, c),
        _ => panic!("Unknown btype in replyToBlockedClientTimedOut()."),
    }
}

/// Unblocks and disconnects everybody who waits, with an error, because it is no longer safe to wait: a master that becomes
/// a replica cannot pop.
pub fn disconnectAllBlockedClients(server: &mut Server) {
    let mut li = listRewind(&server.clients.list);
    while let Some(c) = listNext(&server.clients.list, &mut li) {
        if server[c].flags & CLIENT_BLOCKED == 0 {
            continue;
        }
        // A paused command has not begun: it will be executed or refused as things are then.
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

/// The client that waits longest for a key, if it waits for a value of that type (`BLOCKED_LIST`, `BLOCKED_ZSET`). If it does not,
/// it goes to the tail, or the caller would meet it again at once.
///
/// Who is unblocked leaves the list, and an empty list leaves the db: so it is looked up each time.
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

/// Serves the clients that wait for the list `o`, in the order in which they began to wait, as long as it has elements.
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
            // It could not be served: as if nothing was popped.
            listTypePush(server.db[rl.db].dict.list_mut(o), &value, wherefrom);
        }
        updateStatsOnUnblock(server, receiver, 0, elapsedUs(reply_timer) as i64);
        unblockClient(server, receiver);
        server.current_client = old_client;
    }

    // Whoever pushed has told signalModifiedKey() of the key already.
    if listTypeLength(server.db[rl.db].dict.list(o)) == 0 {
        dbDelete(server, rl.db, &rl.key);
        notifyKeyspaceEvent(server, NOTIFY_GENERIC, "del", &rl.key, rl.db);
    }
}

/// Serves the clients that wait for a key which has the value `o` now.
fn serveClientsBlockedOnKey(server: &mut Server, rl: &readyList, o: KeyRef) {
    match server.db[rl.db].dict.type_of(o) {
        OBJ_LIST => serveClientsBlockedOnListKey(server, rl, o),
        OBJ_ZSET => serveClientsBlockedOnSortedSetKey(server, rl, o),
        OBJ_STREAM => serveClientsBlockedOnStreamKey(server, rl, o),
        _ => {}
    }
}

/// Serves the clients that wait for keys which got data, in the order in which they began to wait. Called after every
/// command, transaction and script.
///
/// Serving a client may give data to another key (BLMOVE), which puts that key down again; so this goes on until nothing is
/// left.
pub fn handleClientsBlockedOnKeys(server: &mut Server) {
    while !server.ready_keys.is_empty() {
        for rl in take(&mut server.ready_keys) {
            // From here on the key may be put down again.
            server.db[rl.db].ready_keys.remove(&rl.key);

            // Time stands still, as within a command: a key that was there is there when it is looked up again.
            server.fixed_time_expire += 1;
            updateCachedTime(server, false);
            if let Some(o) = lookupKeyWrite(server, rl.db, &rl.key) {
                serveClientsBlockedOnKey(server, &rl, o);
                server.db[rl.db].dict.repack_small();
            }
            server.fixed_time_expire -= 1;
        }
    }
}

/// Blocks a client until one of `keys` has data, or until `timeout` (absolute milliseconds, 0 for ever). `btype` is
/// BLOCKED_LIST, BLOCKED_ZSET or BLOCKED_STREAM. Lists: `target` is the key that gets the element, `listpos` the end it is
/// taken from and the one it is put to. Streams: `ids` holds, for each key, the last id the client has seen.
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
        // A key named twice is waited for once. Whoever was added last is the last of its list.
        if listLast(waiting).is_some_and(|last| listNodeValue(waiting, last) == c) {
            continue;
        }
        listAddNodeTail(waiting, c);
        client.bpop.keys.push((key.to_vec(), ids.map(|ids| ids[j])));
    }
    blockClient(server, c, btype);
}

/// Takes a client out of the lists of all the keys it waits for.
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
    // The deadline is still needed, to leave the table of deadlines.
    server[c].bpop.timeout = bpop.timeout;
}

/// The reason for which a client waits on a value of a type, if it can.
fn getBlockedTypeByType(type_: u8) -> usize {
    match type_ {
        OBJ_LIST => BLOCKED_LIST,
        OBJ_ZSET => BLOCKED_ZSET,
        OBJ_STREAM => BLOCKED_STREAM,
        _ => BLOCKED_NONE,
    }
}

/// A key got data: if clients wait for it, it is put down to be served after the command, once, however often it got data
/// in one script or transaction.
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
