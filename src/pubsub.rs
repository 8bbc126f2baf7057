//! `pubsub.c`: channels and patterns.
//!
//! Read first: `pubsubPublishMessage`. Everything that arrives unasked is a push (`CLIENT_PUSHING`
//! is set while it is queued), so that a RESP3 client may publish to itself and tell the message
//! from the reply. Differs: the maps are std's; the order in which channels are listed or left is
//! as arbitrary as in the C, and another one.

use crate::args::Args;
use crate::ds::adlist::{List, listAddNodeTail, listDelNode, listLength, listSearchKey};
use crate::ds::glob::stringmatchlen;
use crate::networking::*;
use crate::server::forceCommandPropagation;
use crate::server_h::*;
use std::collections::HashMap;

// -----------------------------------------------------------------------------
// Pubsub client replies API
// -----------------------------------------------------------------------------

/// Queues one push of `len` elements: its header, and what `body` adds. RESP2 has no pushes and
/// gets an array.
fn add_reply_push(clients: &mut Clients, c: ClientId, len: usize, body: impl FnOnce(&mut Clients)) {
    let old_flags = clients[c].flags;
    clients[c].flags |= CLIENT_PUSHING;
    if clients[c].resp == 2 {
        addReplyArrayLen(clients, c, len);
    } else {
        addReplyPushLen(clients, c, len);
    }
    body(clients);
    if old_flags & CLIENT_PUSHING == 0 {
        clients[c].flags &= !CLIENT_PUSHING;
    }
}

/// Queues a message on a channel. Without `msg` that is left to the caller, who can queue something
/// else than a bulk.
pub fn addReplyPubsubMessage(
    clients: &mut Clients,
    c: ClientId,
    channel: &[u8],
    msg: Option<&[u8]>,
) {
    add_reply_push(clients, c, 3, |cl| {
        addReplyBulkCBuffer(cl, c, b"message");
        addReplyBulkCBuffer(cl, c, channel);
        if let Some(msg) = msg {
            addReplyBulkCBuffer(cl, c, msg);
        }
    });
}

/// Queues a message on a channel that matched a pattern, with the pattern.
pub fn addReplyPubsubPatMessage(
    clients: &mut Clients,
    c: ClientId,
    pat: &[u8],
    channel: &[u8],
    msg: &[u8],
) {
    add_reply_push(clients, c, 4, |cl| {
        addReplyBulkCBuffer(cl, c, b"pmessage");
        addReplyBulkCBuffer(cl, c, pat);
        addReplyBulkCBuffer(cl, c, channel);
        addReplyBulkCBuffer(cl, c, msg);
    });
}

/// Queues a notice about a subscription, in the form that the four kinds share: the kind, the name
/// (null after leaving everything while being in nothing), and how many subscriptions are left.
fn add_reply_subscription(clients: &mut Clients, c: ClientId, kind: &[u8], name: Option<&[u8]>) {
    add_reply_push(clients, c, 3, |cl| {
        addReplyBulkCBuffer(cl, c, kind);
        match name {
            Some(name) => addReplyBulkCBuffer(cl, c, name),
            None => addReplyNull(cl, c),
        }
        let count = clientSubscriptionsCount(&cl[c]);
        addReplyLongLong(cl, c, count as i64);
    });
}

/// Queues the notice that a channel was subscribed to.
pub fn addReplyPubsubSubscribed(clients: &mut Clients, c: ClientId, channel: &[u8]) {
    add_reply_subscription(clients, c, b"subscribe", Some(channel));
}

/// Queues the notice that a channel was left; `None` where there was none to leave.
pub fn addReplyPubsubUnsubscribed(clients: &mut Clients, c: ClientId, channel: Option<&[u8]>) {
    add_reply_subscription(clients, c, b"unsubscribe", channel);
}

/// Queues the notice that a pattern was subscribed to.
pub fn addReplyPubsubPatSubscribed(clients: &mut Clients, c: ClientId, pattern: &[u8]) {
    add_reply_subscription(clients, c, b"psubscribe", Some(pattern));
}

/// Queues the notice that a pattern was left; `None` where there was none to leave.
pub fn addReplyPubsubPatUnsubscribed(clients: &mut Clients, c: ClientId, pattern: Option<&[u8]>) {
    add_reply_subscription(clients, c, b"punsubscribe", pattern);
}

// -----------------------------------------------------------------------------
// Pubsub low level API
// -----------------------------------------------------------------------------

/// Returns the number of channels and patterns that a client is subscribed to.
pub fn clientSubscriptionsCount(c: &Client) -> usize {
    c.pubsub_channels.len() + c.pubsub_patterns.len()
}

/// Takes a client out of the list of a channel or pattern; the list goes with its last client, so
/// that nobody can fill the memory with the names of abandoned channels.
fn remove_subscriber(map: &mut HashMap<Vec<u8>, List<ClientId>>, name: &[u8], c: ClientId) {
    let clients = map.get_mut(name).expect("what a client is subscribed to has a list of clients");
    let node = listSearchKey(clients, c).expect("and this client is in it");
    listDelNode(clients, node);
    if listLength(clients) == 0 {
        map.remove(name);
    }
}

/// Subscribes a client to a channel and tells it; false if it was subscribed already.
pub fn pubsubSubscribeChannel(server: &mut Server, c: ClientId, channel: &[u8]) -> bool {
    let new = server[c].pubsub_channels.insert(channel.to_vec());
    if new {
        listAddNodeTail(server.pubsub_channels.entry(channel.to_vec()).or_default(), c);
    }
    addReplyPubsubSubscribed(&mut server.clients, c, channel);
    new
}

/// Makes a client leave a channel, and tells it if `notify`; false if it was not subscribed.
pub fn pubsubUnsubscribeChannel(
    server: &mut Server,
    c: ClientId,
    channel: &[u8],
    notify: bool,
) -> bool {
    let was = server[c].pubsub_channels.remove(channel);
    if was {
        remove_subscriber(&mut server.pubsub_channels, channel, c);
    }
    if notify {
        addReplyPubsubUnsubscribed(&mut server.clients, c, Some(channel));
    }
    was
}

/// Subscribes a client to a pattern and tells it; false if it was subscribed already.
pub fn pubsubSubscribePattern(server: &mut Server, c: ClientId, pattern: &[u8]) -> bool {
    let new = !server[c].pubsub_patterns.iter().any(|p| p == pattern);
    if new {
        server[c].pubsub_patterns.push(pattern.to_vec());
        listAddNodeTail(server.pubsub_patterns.entry(pattern.to_vec()).or_default(), c);
    }
    addReplyPubsubPatSubscribed(&mut server.clients, c, pattern);
    new
}

/// Makes a client leave a pattern, and tells it if `notify`; false if it was not subscribed.
pub fn pubsubUnsubscribePattern(
    server: &mut Server,
    c: ClientId,
    pattern: &[u8],
    notify: bool,
) -> bool {
    let place = server[c].pubsub_patterns.iter().position(|p| p == pattern);
    if let Some(i) = place {
        server[c].pubsub_patterns.remove(i);
        remove_subscriber(&mut server.pubsub_patterns, pattern, c);
    }
    if notify {
        addReplyPubsubPatUnsubscribed(&mut server.clients, c, Some(pattern));
    }
    place.is_some()
}

/// Makes a client leave all its channels; returns how many they were. With `notify` it is told of
/// each, or of none if there was none.
pub fn pubsubUnsubscribeAllChannels(server: &mut Server, c: ClientId, notify: bool) -> usize {
    let channels: Vec<Vec<u8>> = server[c].pubsub_channels.iter().cloned().collect();
    for channel in &channels {
        pubsubUnsubscribeChannel(server, c, channel, notify);
    }
    if notify && channels.is_empty() {
        addReplyPubsubUnsubscribed(&mut server.clients, c, None);
    }
    channels.len()
}

/// Makes a client leave all its patterns; returns how many they were. With `notify` it is told of
/// each, or of none if there was none.
pub fn pubsubUnsubscribeAllPatterns(server: &mut Server, c: ClientId, notify: bool) -> usize {
    let patterns = server[c].pubsub_patterns.clone();
    for pattern in &patterns {
        pubsubUnsubscribePattern(server, c, pattern, notify);
    }
    if notify && patterns.is_empty() {
        addReplyPubsubPatUnsubscribed(&mut server.clients, c, None);
    }
    patterns.len()
}

/// Sends a message to all clients that are subscribed to the channel, by name or by pattern.
/// Returns how many got it; a client with both kinds of subscription counts twice.
pub fn pubsubPublishMessage(server: &mut Server, channel: &[u8], message: &[u8]) -> usize {
    let mut receivers = 0;
    let Server { clients: all, pubsub_channels, pubsub_patterns, .. } = server;
    if let Some(clients) = pubsub_channels.get(channel) {
        for &c in clients {
            addReplyPubsubMessage(all, c, channel, Some(message));
            receivers += 1;
        }
    }
    for (pattern, clients) in pubsub_patterns.iter() {
        if !stringmatchlen(pattern, channel, false) {
            continue;
        }
        for &c in clients {
            addReplyPubsubPatMessage(all, c, pattern, channel, message);
            receivers += 1;
        }
    }
    receivers
}

// -----------------------------------------------------------------------------
// Pubsub commands implementation
// -----------------------------------------------------------------------------

/// Tells whether the client must not subscribe: one that expects just one reply per command cannot,
/// but for MULTI, where it always could. The error was sent.
fn reject_subscription(server: &mut Server, c: ClientId, command: &str) -> bool {
    let flags = server[c].flags;
    if flags & CLIENT_DENY_BLOCKING == 0 || flags & CLIENT_MULTI != 0 {
        return false;
    }
    addReplyError(
        server,
        c,
        format!("{command} isn't allowed for a DENY BLOCKING client").as_bytes(),
    );
    true
}

/// SUBSCRIBE channel [channel ...]
pub fn subscribeCommand(server: &mut Server, c: ClientId, argv: &Args) {
    if reject_subscription(server, c, "SUBSCRIBE") {
        return;
    }
    for channel in argv.iter().skip(1) {
        pubsubSubscribeChannel(server, c, channel);
    }
    server[c].flags |= CLIENT_PUBSUB;
}

/// UNSUBSCRIBE [channel [channel ...]]
pub fn unsubscribeCommand(server: &mut Server, c: ClientId, argv: &Args) {
    if argv.len() == 1 {
        pubsubUnsubscribeAllChannels(server, c, true);
    } else {
        for channel in argv.iter().skip(1) {
            pubsubUnsubscribeChannel(server, c, channel, true);
        }
    }
    if clientSubscriptionsCount(&server[c]) == 0 {
        server[c].flags &= !CLIENT_PUBSUB;
    }
}

/// PSUBSCRIBE pattern [pattern ...]
pub fn psubscribeCommand(server: &mut Server, c: ClientId, argv: &Args) {
    if reject_subscription(server, c, "PSUBSCRIBE") {
        return;
    }
    for pattern in argv.iter().skip(1) {
        pubsubSubscribePattern(server, c, pattern);
    }
    server[c].flags |= CLIENT_PUBSUB;
}

/// PUNSUBSCRIBE [pattern [pattern ...]]
pub fn punsubscribeCommand(server: &mut Server, c: ClientId, argv: &Args) {
    if argv.len() == 1 {
        pubsubUnsubscribeAllPatterns(server, c, true);
    } else {
        for pattern in argv.iter().skip(1) {
            pubsubUnsubscribePattern(server, c, pattern, true);
        }
    }
    if clientSubscriptionsCount(&server[c]) == 0 {
        server[c].flags &= !CLIENT_PUBSUB;
    }
}

/// PUBLISH channel message. Replicas get it too: their subscribers are ours.
pub fn publishCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let receivers = pubsubPublishMessage(server, &argv[1], &argv[2]);
    forceCommandPropagation(server, c, PROPAGATE_REPL);
    addReplyLongLong(server, c, receivers as i64);
}

/// PUBSUB CHANNELS|NUMSUB|NUMPAT|HELP
pub fn pubsubCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let is = |name: &str| argv[1].eq_ignore_ascii_case(name.as_bytes());
    if argv.len() == 2 && is("help") {
        let help = [
            "CHANNELS [<pattern>]",
            "    Return the currently active channels matching a <pattern> (default: '*').",
            "NUMPAT",
            "    Return number of subscriptions to patterns.",
            "NUMSUB [<channel> ...]",
            "    Return the number of subscribers for the specified channels, excluding",
            "    pattern subscriptions(default: no channels).",
        ];
        addReplyHelp(server, c, argv, &help);
    } else if is("channels") && (argv.len() == 2 || argv.len() == 3) {
        let pat = (argv.len() == 3).then(|| argv.get(2));
        let Server { clients, pubsub_channels, .. } = server;
        let replylen = addReplyDeferredLen(clients, c);
        let mut mblen = 0;
        for channel in pubsub_channels.keys() {
            if pat.is_none_or(|pat| stringmatchlen(pat, channel, false)) {
                addReplyBulkCBuffer(clients, c, channel);
                mblen += 1;
            }
        }
        setDeferredArrayLen(clients, c, replylen, mblen);
    } else if is("numsub") {
        addReplyArrayLen(server, c, (argv.len() - 2) * 2);
        for channel in argv.iter().skip(2) {
            let count = server.pubsub_channels.get(channel).map_or(0, listLength);
            addReplyBulkCBuffer(server, c, channel);
            addReplyLongLong(server, c, count as i64);
        }
    } else if is("numpat") && argv.len() == 2 {
        let count = server.pubsub_patterns.len();
        addReplyLongLong(server, c, count as i64);
    } else {
        addReplySubcommandSyntaxError(server, c, argv);
    }
}
