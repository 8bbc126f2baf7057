//! `timeout.c`: clients that are idle for too long, and blocked clients whose time has come.
//!
//! Differs: the table of deadlines is an ordered set of (milliseconds, client), where the C packs both into the key of a
//! radix tree. A client that blocks on a slot that moved away needs cluster, which is not here.

use crate::ae::aeLimitSleep;
use crate::blocked::{replyToBlockedClientTimedOut, unblockClient};
use crate::ds::longdouble::LongDouble;
use crate::log::LL_VERBOSE;
use crate::networking::{addReplyError, freeClient};
use crate::object::{getLongDoubleFromObjectOrReply, getLongLongFromObjectOrReply};
use crate::server_h::*;
use crate::serverLog;
use crate::sys::clock::mstime;
use std::time::Duration;

/// Ends the wait of a blocked client whose deadline has passed: it gets the reply for that, and true is returned. Does
/// nothing to a client that is not blocked, or not for so long.
pub fn checkBlockedClientTimeout(server: &mut Server, c: ClientId, now: mstime_t) -> bool {
    let client = &server[c];
    if client.flags & CLIENT_BLOCKED == 0 || client.bpop.timeout == 0 || client.bpop.timeout >= now
    {
        return false;
    }
    replyToBlockedClientTimedOut(server, c);
    unblockClient(server, c);
    true
}

/// Closes a client that was idle for longer than `timeout`; true if it did. Replicas, the master, blocked clients and
/// subscribers have a right to be silent.
pub fn clientsCronHandleTimeout(server: &mut Server, c: ClientId, now_ms: mstime_t) -> bool {
    let now = now_ms / 1000;
    let exempt = CLIENT_SLAVE | CLIENT_MASTER | CLIENT_BLOCKED | CLIENT_PUBSUB;
    if server.maxidletime != 0
        && server[c].flags & exempt == 0
        && now - server[c].lastinteraction > i64::from(server.maxidletime)
    {
        serverLog!(LL_VERBOSE, "Closing idle client");
        freeClient(server, c);
        return true;
    }
    false
}

/// Enters a blocked client into the table of deadlines, unless it blocks for ever.
pub fn addClientToTimeoutTable(server: &mut Server, c: ClientId) {
    let timeout = server[c].bpop.timeout;
    if timeout == 0 {
        return;
    }
    if server.clients_timeout_table.insert((timeout as u64, c)) {
        server[c].flags |= CLIENT_IN_TO_TABLE;
    }
}

/// Takes a client out of it that is unblocked for another reason.
pub fn removeClientFromTimeoutTable(server: &mut Server, c: ClientId) {
    if server[c].flags & CLIENT_IN_TO_TABLE == 0 {
        return;
    }
    server[c].flags &= !CLIENT_IN_TO_TABLE;
    let timeout = server[c].bpop.timeout;
    server.clients_timeout_table.remove(&(timeout as u64, c));
}

/// Unblocks the clients whose deadline has passed, and lets the coming sleep end with the next deadline, so that deadlines
/// are kept to the millisecond. Called before every sleep.
pub fn handleBlockedClientsTimeout(server: &mut Server) {
    if server.clients_timeout_table.is_empty() {
        return;
    }
    let now = mstime();
    while let Some(&(timeout, c)) = server.clients_timeout_table.first() {
        if timeout >= now as u64 {
            // A deadline has passed when the clock shows more.
            aeLimitSleep(&mut server.net.el, Duration::from_millis(timeout + 1 - now as u64));
            break;
        }
        server.clients_timeout_table.pop_first();
        server[c].flags &= !CLIENT_IN_TO_TABLE;
        checkBlockedClientTimeout(server, c, now);
    }
}

/// The timeout of a blocking command, given in `unit`: an absolute time in milliseconds, 0 for "for ever". On an error the
/// reply was sent.
pub fn getTimeoutFromObjectOrReply(
    server: &mut Server,
    c: ClientId,
    object: &[u8],
    unit: i32,
) -> Result<mstime_t, ()> {
    let mut tval = if unit == UNIT_SECONDS {
        let msg = Some("timeout is not a float or out of range");
        (getLongDoubleFromObjectOrReply(server, c, object, msg)? * LongDouble::from_i64(1000))
            .to_i64()
    } else {
        getLongLongFromObjectOrReply(
            server,
            c,
            object,
            Some("timeout is not an integer or out of range"),
        )?
    };
    if tval < 0 {
        addReplyError(server, c, b"timeout is negative");
        return Err(());
    }
    if tval > 0 {
        // C: the sum may overflow there; a wait that long is a wait for ever.
        tval = tval.saturating_add(mstime());
    }
    Ok(tval)
}
