//! `tracking.c`: client side caching. The server remembers which client was served which key, and
//! tells it when the key changes.
//!
//! Read first: `enableTracking` (what a client asks for), `trackingRememberKeys` (a command has read
//! keys), `trackingInvalidateKey` (a key has changed), and for clients that name prefixes instead
//! (BCAST) `trackingRememberKeyToBroadcast` and `trackingBroadcastInvalidationMessages`.
//!
//! Differs: the tables are a field of the server, `server.tracking`, which is there from the first
//! CLIENT TRACKING on. A key that one client has read, as most are, has the client's number in the
//! table itself; the C makes a tree for each key. Trees are freed by dropping them.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use crate::addReplyErrorFormat;
use crate::args::Args;
use crate::clients::{ClientId, Clients};
use crate::db::getKeysFromCommand;
use crate::ds::adlist::{listNext, listRewind};
use crate::ds::rax::*;
use crate::lazyfree::freeTrackingRadixTreeAsync;
use crate::networking::*;
use crate::pubsub::addReplyPubsubMessage;
use crate::server_h::*;
use crate::sys::random::random_u64;
use crate::util::{B, c_str};

/// The channel on which a client of RESP2 receives the invalidations that others redirect to it.
const TrackingChannelName: &[u8] = b"__redis__:invalidate";

/// From this number of clients on, those of a key are kept in a tree.
const MANY_CLIENTS: usize = 64;

/// The clients that have read a key, by their numbers (`CLIENT ID`). A number stays when its client
/// goes, since to look for it in all keys would take long; it names nobody then.
#[derive(Debug)]
pub enum TrackedBy {
    One(u64),
    // A box: the place of one number is all that this takes in the table.
    More(Box<ClientNumbers>),
}

/// Two and more numbers, ordered by their bytes in memory, the lowest byte first, as the C's tree
/// of them is: `swap_bytes` of a number has this order.
#[derive(Debug)]
pub enum ClientNumbers {
    Few(Vec<u64>),
    Many(BTreeSet<u64>),
}

impl TrackedBy {
    fn len(&self) -> u64 {
        match self {
            TrackedBy::One(_) => 1,
            TrackedBy::More(numbers) => match &**numbers {
                ClientNumbers::Few(numbers) => numbers.len() as u64,
                ClientNumbers::Many(numbers) => numbers.len() as u64,
            },
        }
    }

    /// Adds a client. False: it was there.
    fn insert(&mut self, id: u64) -> bool {
        let new = id.swap_bytes();
        match self {
            TrackedBy::One(one) if *one == id => false,
            TrackedBy::One(one) => {
                let one = one.swap_bytes();
                let numbers = vec![one.min(new), one.max(new)];
                *self = TrackedBy::More(Box::new(ClientNumbers::Few(numbers)));
                true
            }
            TrackedBy::More(numbers) => match &mut **numbers {
                ClientNumbers::Few(few) => {
                    let Err(at) = few.binary_search(&new) else { return false };
                    if few.len() < MANY_CLIENTS {
                        few.reserve_exact(1);
                        few.insert(at, new);
                    } else {
                        let mut many: BTreeSet<u64> = few.drain(..).collect();
                        many.insert(new);
                        **numbers = ClientNumbers::Many(many);
                    }
                    true
                }
                ClientNumbers::Many(many) => many.insert(new),
            },
        }
    }

    fn for_each(&self, mut each: impl FnMut(u64)) {
        match self {
            TrackedBy::One(id) => each(*id),
            TrackedBy::More(numbers) => match &**numbers {
                ClientNumbers::Few(few) => few.iter().for_each(|n| each(n.swap_bytes())),
                ClientNumbers::Many(many) => many.iter().for_each(|n| each(n.swap_bytes())),
            },
        }
    }
}

/// What belongs to a prefix that clients in BCAST mode follow.
#[derive(Default)]
pub struct bcastState {
    /// The keys that were modified in this turn of the event loop, each with the client that did it
    /// last; `None` is the server itself. The client may be gone by now.
    keys: Rax<Option<ClientId>>,
    /// The clients that follow the prefix.
    clients: BTreeSet<ClientId>,
}

/// The tables of client side caching.
#[derive(Default)]
pub struct Tracking {
    /// The keys that clients have read.
    TrackingTable: Rax<TrackedBy>,
    /// The prefixes that clients in BCAST mode follow.
    PrefixTable: Rax<bcastState>,
    /// The number of clients of all keys together: about the memory of the table.
    TrackingTableTotalItems: u64,
    /// How often in a row `trackingLimitUsedSlots` has found too many keys and left some.
    timeout_counter: u32,
}

/// Ends the tracking of a client.
///
/// Its number stays in the table of keys until they change: a client that has read many keys would
/// take long to remove.
pub fn disableTracking(server: &mut Server, c: ClientId) {
    // Leave the prefixes, and remove those that nobody else follows.
    let client = &mut server.clients[c];
    if client.flags & CLIENT_TRACKING_BCAST != 0
        && let Some(prefixes) = client.client_tracking_prefixes.take()
        && let Some(tracking) = &mut server.tracking
    {
        let mut ri = raxStart();
        raxSeek(&mut ri, &prefixes, "^", b"");
        while raxNext(&mut ri, &prefixes) {
            let bs = rax_find_mut(&mut tracking.PrefixTable, ri.key())
                .expect("a prefix that a client follows is in the table");
            bs.clients.remove(&c);
            if bs.clients.is_empty() {
                raxRemove(&mut tracking.PrefixTable, ri.key());
            }
        }
    }

    // Clear the flags, and adjust the count.
    let client = &mut server.clients[c];
    if client.flags & CLIENT_TRACKING != 0 {
        server.tracking_clients -= 1;
        client.flags &= !(CLIENT_TRACKING
            | CLIENT_TRACKING_BROKEN_REDIR
            | CLIENT_TRACKING_BCAST
            | CLIENT_TRACKING_OPTIN
            | CLIENT_TRACKING_OPTOUT
            | CLIENT_TRACKING_CACHING
            | CLIENT_TRACKING_NOLOOP);
    }
}

/// Tells whether one of the strings begins with the other.
fn stringCheckPrefix(s1: &[u8], s2: &[u8]) -> bool {
    let min_length = s1.len().min(s2.len());
    s1[..min_length] == s2[..min_length]
}

/// Looks for prefixes that a client is about to follow and that would bring it invalidations of the
/// same key twice: two of them, or one and another that it follows already. False: there are, and
/// an error was sent.
pub fn checkPrefixCollisionsOrReply(server: &mut Server, c: ClientId, prefixes: &[&[u8]]) -> bool {
    for (i, &prefix) in prefixes.iter().enumerate() {
        if let Some(existing) = &server[c].client_tracking_prefixes {
            let mut ri = raxStart();
            raxSeek(&mut ri, existing, "^", b"");
            while raxNext(&mut ri, existing) {
                if stringCheckPrefix(ri.key(), prefix) {
                    addReplyErrorFormat!(
                        server,
                        c,
                        "Prefix '{}' overlaps with an existing prefix '{}'. Prefixes for a single client must not overlap.",
                        B(c_str(prefix)),
                        B(c_str(ri.key()))
                    );
                    return false;
                }
            }
        }
        for &other in &prefixes[i + 1..] {
            if stringCheckPrefix(prefix, other) {
                addReplyErrorFormat!(
                    server,
                    c,
                    "Prefix '{}' overlaps with another provided prefix '{}'. Prefixes for a single client must not overlap.",
                    B(c_str(prefix)),
                    B(c_str(other))
                );
                // C: takes any but the first of the prefixes for none, and goes on after the error.
                return false;
            }
        }
    }
    true
}

/// Makes a client follow a prefix. Nothing happens if it does already.
pub fn enableBcastTrackingForPrefix(server: &mut Server, c: ClientId, prefix: &[u8]) {
    let tracking = server.tracking.get_or_insert_default();
    // It may be the first client to follow this prefix.
    let _ = raxTryInsert(&mut tracking.PrefixTable, prefix, bcastState::default());
    let bs = rax_find_mut(&mut tracking.PrefixTable, prefix).expect("it was inserted");
    if bs.clients.insert(c) {
        let prefixes = server.clients[c].client_tracking_prefixes.get_or_insert_default();
        raxInsert(prefixes, prefix, ());
    }
}

/// Gives a client all of its reply buffer, which is a part of every client in the C, and grows
/// elsewhere here. Were it to grow by the invalidations that an eviction causes, that would look
/// like memory of the data, and evict more keys.
fn reserve_reply_buffer(clients: &mut Clients, c: ClientId) {
    let buf = &mut clients[c].buf;
    buf.reserve_exact(PROTO_REPLY_CHUNK_BYTES - buf.len());
}

/// Begins the tracking of a client, or changes how it is done.
///
/// - `redirect_to`: the number of the client that the invalidations go to, 0 for the client itself.
///   Several clients may redirect to the same one. Should that one go, the first is told.
/// - `options`: `CLIENT_TRACKING_BCAST`, `_OPTIN`, `_OPTOUT` and `_NOLOOP`
/// - `prefix`: what a client in BCAST mode follows; none is all keys
pub fn enableTracking(
    server: &mut Server,
    c: ClientId,
    redirect_to: u64,
    options: u64,
    prefix: &[&[u8]],
) {
    server.tracking.get_or_insert_default();
    reserve_reply_buffer(&mut server.clients, c);
    if let Some(&redir) = server.clients.index.get(&redirect_to) {
        reserve_reply_buffer(&mut server.clients, redir);
    }
    let client = &mut server.clients[c];
    if client.flags & CLIENT_TRACKING == 0 {
        server.tracking_clients += 1;
    }
    client.flags |= CLIENT_TRACKING;
    client.flags &= !(CLIENT_TRACKING_BROKEN_REDIR
        | CLIENT_TRACKING_BCAST
        | CLIENT_TRACKING_OPTIN
        | CLIENT_TRACKING_OPTOUT
        | CLIENT_TRACKING_NOLOOP);
    client.client_tracking_redirection = redirect_to;

    if options & CLIENT_TRACKING_BCAST != 0 {
        client.flags |= CLIENT_TRACKING_BCAST;
        if prefix.is_empty() {
            enableBcastTrackingForPrefix(server, c, b"");
        }
        for prefix in prefix {
            enableBcastTrackingForPrefix(server, c, prefix);
        }
    }

    // The flags that need nothing else.
    server[c].flags |=
        options & (CLIENT_TRACKING_OPTIN | CLIENT_TRACKING_OPTOUT | CLIENT_TRACKING_NOLOOP);
}

/// Remembers the keys that a command has read for a client that tracks them, not in BCAST mode, so
/// that it can be told when they change. `argv` is the command of the client: that of a script's
/// caller, if a script has read.
pub fn trackingRememberKeys(server: &mut Server, c: ClientId, argv: &Args) {
    // With OPTIN and OPTOUT it depends on whether CLIENT CACHING came before.
    let client = &server.clients[c];
    let optin = client.flags & CLIENT_TRACKING_OPTIN != 0;
    let optout = client.flags & CLIENT_TRACKING_OPTOUT != 0;
    let caching_given = client.flags & CLIENT_TRACKING_CACHING != 0;
    if (optin && !caching_given) || (optout && caching_given) {
        return;
    }

    let Some(cmd) = client.cmd else { return };
    let mut keys = std::mem::take(&mut server.tracking_key_positions);
    getKeysFromCommand(&server.commands[cmd], argv, &mut keys);
    let id = client.id;
    let tracking = server.tracking.get_or_insert_default();
    for &idx in &keys {
        let sdskey = &argv[idx];
        let new = match rax_find_mut(&mut tracking.TrackingTable, sdskey) {
            Some(ids) => ids.insert(id),
            None => raxInsert(&mut tracking.TrackingTable, sdskey, TrackedBy::One(id)).is_none(),
        };
        if new {
            tracking.TrackingTableTotalItems += 1;
        }
    }
    keys.clear();
    server.tracking_key_positions = keys;
}

/// Sends an invalidation message because of client `c`, which tracks: to it, or to where it
/// redirects, as a push, or in RESP2 as a message of Pub/Sub.
///
/// `keyname` is the key; with `proto` it is an array of keys, or the null that stands for all keys,
/// in the form of the protocol.
pub fn sendTrackingMessage(clients: &mut Clients, c: ClientId, keyname: &[u8], proto: bool) {
    let redirection = clients[c].client_tracking_redirection;
    let mut target = c;
    if redirection != 0 {
        match clients.index.get(&redirection) {
            Some(&redir) => target = redir,
            None => {
                // Tell the client that nobody receives its invalidations any more.
                clients[c].flags |= CLIENT_TRACKING_BROKEN_REDIR;
                if clients[c].resp > 2 {
                    pushing(clients, c, |clients| {
                        addReplyPushLen(clients, c, 2);
                        addReplyBulkCBuffer(clients, c, b"tracking-redir-broken");
                        addReplyLongLong(clients, c, redirection as i64);
                    });
                }
                return;
            }
        }
    }

    // RESP2 knows no pushes. But where a client redirects to is a connection of its own, which can
    // be in Pub/Sub mode; a client of RESP2 itself gets nothing.
    let push = clients[target].resp > 2;
    if !push && (redirection == 0 || clients[target].flags & CLIENT_PUBSUB == 0) {
        return;
    }
    pushing(clients, target, |clients| {
        if push {
            addReplyProto(clients, target, b">2\r\n$10\r\ninvalidate\r\n");
        } else {
            addReplyPubsubMessage(clients, target, TrackingChannelName, None);
        }
        if proto {
            addReplyProto(clients, target, keyname);
        } else {
            addReplyProto(clients, target, b"*1\r\n");
            addReplyBulkCBuffer(clients, target, keyname);
        }
    });
}

/// Queues by `add` what is no reply, and goes to a client that wants no replies as well.
fn pushing(clients: &mut Clients, c: ClientId, add: impl FnOnce(&mut Clients)) {
    let old_flags = clients[c].flags;
    clients[c].flags |= CLIENT_PUSHING;
    add(clients);
    if old_flags & CLIENT_PUSHING == 0 {
        clients[c].flags &= !CLIENT_PUSHING;
    }
}

/// Notes a key that was modified by client `c` (`None`: by the server) for the prefixes that it
/// begins with. Their clients are told at the end of this turn of the event loop.
fn trackingRememberKeyToBroadcast(tracking: &mut Tracking, c: Option<ClientId>, keyname: &[u8]) {
    let mut ri = raxStart();
    raxSeek(&mut ri, &tracking.PrefixTable, "^", b"");
    while raxNext(&mut ri, &tracking.PrefixTable) {
        if !keyname.starts_with(ri.key()) {
            continue;
        }
        if let Some(bs) = ri.data_mut(&mut tracking.PrefixTable) {
            // Who has modified it last: a client with NOLOOP is not told of its own changes.
            raxInsert(&mut bs.keys, keyname, c);
        }
    }
}

/// Tells the clients that may have a key in their caches that it is not to be used any more, and
/// forgets that they have.
///
/// `c` is the client that has modified the key, `None` if it was the server (expiration, eviction).
/// With `bcast`, clients in BCAST mode are told as well, later; not if the key was not modified, but
/// is given up because the table is full.
pub fn trackingInvalidateKey(server: &mut Server, c: Option<ClientId>, key: &[u8], bcast: bool) {
    let Some(tracking) = &mut server.tracking else { return };

    if bcast && raxSize(&tracking.PrefixTable) > 0 {
        trackingRememberKeyToBroadcast(tracking, c, key);
    }

    let Some(ids) = raxRemove(&mut tracking.TrackingTable, key) else { return };
    tracking.TrackingTableTotalItems -= ids.len();

    let Server { clients, current_client, fixed_time_expire, tracking_pending_keys, .. } = server;
    ids.for_each(|id| {
        let Some(&target) = clients.index.get(&id) else { return };
        // A client that is in BCAST mode by now is not told of what it has read before.
        let flags = clients[target].flags;
        if flags & CLIENT_TRACKING == 0 || flags & CLIENT_TRACKING_BCAST != 0 {
            return;
        }
        let is_current = Some(target) == *current_client;
        if flags & CLIENT_TRACKING_NOLOOP != 0 && is_current {
            return;
        }
        // The client whose command this is gets it behind the reply, not in the middle of it.
        if is_current && *fixed_time_expire > 0 {
            tracking_pending_keys.push((target, Some(key.to_vec())));
        } else {
            sendTrackingMessage(clients, target, key, false);
        }
    });
}

/// Sends clients the invalidations of keys that their own commands have modified.
///
/// C: notes the keys without the client, and sends them to the one whose command runs when it gets
/// here. That may be one that the command has served, or one that was let in by a slow script.
pub fn trackingHandlePendingKeyInvalidations(server: &mut Server) {
    for (c, key) in std::mem::take(&mut server.tracking_pending_keys) {
        if !server.clients.contains(c) {
            continue;
        }
        match key {
            Some(key) => sendTrackingMessage(&mut server.clients, c, &key, false),
            None => {
                let null = shared::null.bytes(server[c].resp);
                sendTrackingMessage(&mut server.clients, c, null, true);
            }
        }
    }
}

/// Tells all clients that track that none of their keys is to be used any more, since dbs are about
/// to be flushed: keys are tracked without their db. A null says so, instead of a message for each
/// key. With `async_` the lazy free thread frees the table.
pub fn trackingInvalidateKeysOnFlush(server: &mut Server, async_: bool) {
    if server.tracking_clients > 0 {
        let mut li = listRewind(&server.clients.list);
        while let Some(c) = listNext(&server.clients.list, &mut li) {
            if server[c].flags & CLIENT_TRACKING == 0 {
                continue;
            }
            if Some(c) == server.current_client {
                // Behind the reply; without a key it stands for all of them.
                server.tracking_pending_keys.push((c, None));
            } else {
                let null = shared::null.bytes(server[c].resp);
                sendTrackingMessage(&mut server.clients, c, null, true);
            }
        }
    }

    // The memory of the table goes with the data.
    if let Some(tracking) = &mut server.tracking {
        let table = std::mem::take(&mut tracking.TrackingTable);
        tracking.TrackingTableTotalItems = 0;
        if async_ {
            freeTrackingRadixTreeAsync(server, table);
        }
    }
}

/// Keeps the number of tracked keys within `tracking-table-max-keys`: beyond it, random keys are
/// given up as if they were modified. If there is much to give up it is done in several calls, each
/// of which does more than the last one.
pub fn trackingLimitUsedSlots(server: &mut Server) {
    let max_keys = server.tracking_table_max_keys as u64;
    let Some(tracking) = &mut server.tracking else { return };
    if max_keys == 0 {
        return;
    }
    if raxSize(&tracking.TrackingTable) <= max_keys {
        tracking.timeout_counter = 0;
        return;
    }

    let effort = 100 * (u64::from(tracking.timeout_counter) + 1);
    let mut ri = raxStart();
    for _ in 0..effort {
        let Some(tracking) = &mut server.tracking else { return };
        raxSeek(&mut ri, &tracking.TrackingTable, "^", b"");
        raxRandomWalk(&mut ri, &tracking.TrackingTable, 0, || random_u64() as usize);
        if raxEOF(&ri) {
            break;
        }
        trackingInvalidateKey(server, None, ri.key(), false);
        let Some(tracking) = &mut server.tracking else { return };
        if raxSize(&tracking.TrackingTable) <= max_keys {
            tracking.timeout_counter = 0;
            return;
        }
    }

    if let Some(tracking) = &mut server.tracking {
        tracking.timeout_counter = tracking.timeout_counter.saturating_add(1);
    }
}

/// Returns an array of keys in the form of the protocol: all keys, or those that another client than
/// `c` has modified last. `None`: that leaves none.
fn trackingBuildBroadcastReply(
    c: Option<ClientId>,
    keys: &Rax<Option<ClientId>>,
) -> Option<Vec<u8>> {
    let count = match c {
        None => raxSize(keys),
        Some(_) => keys.values().filter(|&by| *by != c).count() as u64,
    };
    if c.is_some() && count == 0 {
        return None;
    }

    let mut proto = Vec::with_capacity(16 + count as usize * 15);
    let mut number = itoa::Buffer::new();
    let mut header = |proto: &mut Vec<u8>, prefix: u8, n: u64| {
        proto.push(prefix);
        proto.extend_from_slice(number.format(n).as_bytes());
        proto.extend_from_slice(b"\r\n");
    };
    header(&mut proto, b'*', count);
    let mut ri = raxStart();
    raxSeek(&mut ri, keys, "^", b"");
    while raxNext(&mut ri, keys) {
        if c.is_some() && ri.data(keys) == Some(&c) {
            continue;
        }
        header(&mut proto, b'$', ri.key().len() as u64);
        proto.extend_from_slice(ri.key());
        proto.extend_from_slice(b"\r\n");
    }
    Some(proto)
}

/// Tells the clients in BCAST mode which keys of their prefixes were modified in this turn of the
/// event loop.
pub fn trackingBroadcastInvalidationMessages(server: &mut Server) {
    if server.tracking_clients == 0 {
        return;
    }
    let Server { tracking: Some(tracking), clients, .. } = server else { return };

    let mut ri = raxStart();
    raxSeek(&mut ri, &tracking.PrefixTable, "^", b"");
    while raxNext(&mut ri, &tracking.PrefixTable) {
        let Some(bs) = ri.data_mut(&mut tracking.PrefixTable) else { continue };
        if raxSize(&bs.keys) == 0 {
            continue;
        }
        // What is sent from now on is about new changes.
        let keys = std::mem::take(&mut bs.keys);
        // The same for all clients, but for those with NOLOOP, which are not told of their own.
        let proto = trackingBuildBroadcastReply(None, &keys).unwrap_or_default();
        for &c in &bs.clients {
            if clients[c].flags & CLIENT_TRACKING_NOLOOP != 0 {
                if let Some(adhoc) = trackingBuildBroadcastReply(Some(c), &keys) {
                    sendTrackingMessage(clients, c, &adhoc, true);
                }
            } else {
                sendTrackingMessage(clients, c, &proto, true);
            }
        }
    }
}

/// Returns the number of clients of all tracked keys together.
pub fn trackingGetTotalItems(server: &Server) -> u64 {
    server.tracking.as_ref().map_or(0, |tracking| tracking.TrackingTableTotalItems)
}

/// Returns the number of tracked keys.
pub fn trackingGetTotalKeys(server: &Server) -> u64 {
    server.tracking.as_ref().map_or(0, |tracking| raxSize(&tracking.TrackingTable))
}

/// Returns the number of prefixes that clients in BCAST mode follow.
pub fn trackingGetTotalPrefixes(server: &Server) -> u64 {
    server.tracking.as_ref().map_or(0, |tracking| raxSize(&tracking.PrefixTable))
}
