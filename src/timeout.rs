//! `timeout.c`: clients that are idle for too long, and blocked clients whose time has come.
//!
//! Differs: the table of deadlines is an ordered set of (milliseconds, client), where the C packs
//! both into the key of a radix tree. Deadlines are on the clock that no one can set (`steady_ms`).
//! A client that blocks on a slot that moved away needs cluster, which is not here.

use crate::ae::limit_sleep;
use crate::blocked::{replyToBlockedClientTimedOut, unblockClient};
use crate::ds::longdouble::LongDouble;
use crate::log::LL_VERBOSE;
use crate::networking::{addReplyError, freeClient};
use crate::object::{getLongDoubleFromObjectOrReply, getLongLongFromObjectOrReply};
use crate::server_h::*;
use crate::serverLog;
use crate::sys::clock::steady_ms;
use std::time::Duration;

/// Ends the wait of a blocked client whose deadline has passed: it gets the reply for that, and
/// true is returned. Does nothing to a client that is not blocked, or not for so long.
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

/// Closes a client that was idle for longer than `timeout`; true if it did. Replicas, the master,
/// blocked clients and subscribers may be silent for any time.
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

/// Takes a client that is unblocked for another reason out of the table of deadlines.
pub fn removeClientFromTimeoutTable(server: &mut Server, c: ClientId) {
    if server[c].flags & CLIENT_IN_TO_TABLE == 0 {
        return;
    }
    server[c].flags &= !CLIENT_IN_TO_TABLE;
    let timeout = server[c].bpop.timeout;
    server.clients_timeout_table.remove(&(timeout as u64, c));
}

/// Unblocks the clients whose deadline has passed, and lets the coming sleep end with the next
/// deadline, so that deadlines are kept to the millisecond. Called before every sleep.
pub fn handleBlockedClientsTimeout(server: &mut Server) {
    if server.clients_timeout_table.is_empty() {
        return;
    }
    let now = steady_ms();
    while let Some(&(timeout, c)) = server.clients_timeout_table.first() {
        if timeout >= now as u64 {
            // A deadline has passed when the clock shows more.
            limit_sleep(&mut server.net.el, Duration::from_millis(timeout + 1 - now as u64));
            break;
        }
        server.clients_timeout_table.pop_first();
        server[c].flags &= !CLIENT_IN_TO_TABLE;
        checkBlockedClientTimeout(server, c, now);
    }
}

/// Parses the timeout of a blocking command, given in `unit`: a deadline in milliseconds as
/// `steady_ms` counts them, 0 for "for ever". On an error the reply was sent.
pub fn getTimeoutFromObjectOrReply(
    server: &mut Server,
    c: ClientId,
    object: &[u8],
    unit: i32,
) -> Result<mstime_t, ()> {
    let mut tval = if unit == UNIT_SECONDS {
        let msg = Some("timeout is not a float or out of range");
        let ftval = getLongDoubleFromObjectOrReply(server, c, object, msg)?;
        // C: it rounds down, so that less than a millisecond is 0, which means for ever; 7.0 rounds
        // up.
        (ftval * LongDouble::from_i64(1000)).ceil_to_i64()
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
        tval = tval.saturating_add(steady_ms());
    }
    Ok(tval)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocked::blockForKeys;
    use crate::networking::{
        areClientsPaused, checkClientPauseTimeoutAndReturnIfPaused, createClient, pauseClients,
    };
    use crate::server::updateCachedTime;
    use crate::sys::clock::{set_wall_clock, usleep};

    fn server_with_client() -> (Server, ClientId) {
        let mut server = Server::default();
        server.db.push(RedisDb::default());
        updateCachedTime(&mut server, false);
        let c = createClient(&mut server, None);
        (server, c)
    }

    fn timeout(server: &mut Server, c: ClientId, seconds: &str) -> mstime_t {
        getTimeoutFromObjectOrReply(server, c, seconds.as_bytes(), UNIT_SECONDS).unwrap()
    }

    /// What is not for ever waits for a millisecond at least; what does not fit is negative to a
    /// cast.
    #[test]
    fn timeouts_are_rounded_up() {
        let (mut server, c) = server_with_client();
        for (seconds, ms) in
            [("0.001", 1), ("0.0001", 1), ("1e-300", 1), ("2", 2000), ("0.0101", 11)]
        {
            let before = steady_ms();
            let deadline = timeout(&mut server, c, seconds);
            assert!((before + ms..=steady_ms() + ms).contains(&deadline), "{seconds}");
        }
        for seconds in ["0", "-0.0001", "-0.0"] {
            assert_eq!(timeout(&mut server, c, seconds), 0, "{seconds} is for ever");
        }
        assert_eq!(
            timeout(&mut server, c, "9223372036854775"),
            i64::MAX,
            "and so is this, in effect"
        );
        for wrong in ["-0.0011", "-1", "inf", "-inf", "9223372036854775.809", "nan", "x"] {
            let r = getTimeoutFromObjectOrReply(&mut server, c, wrong.as_bytes(), UNIT_SECONDS);
            assert!(r.is_err(), "{wrong}");
        }
        for (ms, ok) in [("1", true), ("-1", false), ("9223372036854775807", true), ("0.5", false)]
        {
            let r = getTimeoutFromObjectOrReply(&mut server, c, ms.as_bytes(), UNIT_MILLISECONDS);
            assert_eq!(r.is_ok(), ok, "{ms}");
        }
    }

    /// A wall clock that is set back leaves nobody waiting, and one that is set forward ends
    /// nobody's time.
    #[test]
    fn the_wall_clock_may_be_set() {
        let (mut server, c) = server_with_client();
        let (soon, late) = (timeout(&mut server, c, "0.02"), timeout(&mut server, c, "1000"));
        let other = createClient(&mut server, None);
        for (c, timeout) in [(c, soon), (other, late)] {
            blockForKeys(&mut server, c, BLOCKED_LIST, &[b"k"], timeout, None, Some((0, 0)), None);
        }
        pauseClients(&mut server, soon, CLIENT_PAUSE_ALL);
        set_wall_clock(-3600);
        while server[c].flags & CLIENT_BLOCKED != 0
            || checkClientPauseTimeoutAndReturnIfPaused(&mut server)
        {
            usleep(1000);
            updateCachedTime(&mut server, false);
            handleBlockedClientsTimeout(&mut server);
        }

        pauseClients(&mut server, late, CLIENT_PAUSE_ALL);
        server.maxidletime = 100;
        set_wall_clock(2 * 3600);
        updateCachedTime(&mut server, false);
        handleBlockedClientsTimeout(&mut server);
        assert!(server[other].flags & CLIENT_BLOCKED != 0);
        checkClientPauseTimeoutAndReturnIfPaused(&mut server);
        assert!(areClientsPaused(&server));
        let now = server.steady_mstime;
        assert!(!clientsCronHandleTimeout(&mut server, c, now), "it was not idle for so long");
    }
}
