//! Ours: what a replica does whose link to its master does not last.
//!
//! The C connects again at once when a link breaks, or within a second, and does so for ever. That
//! is right for a link that was cut. But a master that closes each link for the same reason (a
//! limit, a version, a file that can't be loaded) then sends its RDB again and again, as fast as it
//! can, and the log of both sides grows by pages a second.
//!
//! So an attempt that fails is counted, unless there is a plain reason to try again at once. The
//! first failure costs nothing: the next attempt is made at once, as in the C. From the second on
//! there is a delay of 1, 2, 4 ... seconds, up to `repl-backoff-max`, and the log says once why. A
//! link that has lasted for [`LINK_LASTS`] seconds ends the row, and so does REPLICAOF, and CONFIG
//! SET, which may be the remedy.
//!
//! Read first: [`replication_backoff`].

use super::guard::guard_holds;
use crate::log::LL_WARNING;
use crate::server_h::*;
use crate::sys::clock::steady_ms;
use crate::util::B;
use crate::{sdscatprintf, serverLog};

/// A link that was established for so many seconds was not closed "right after" that.
const LINK_LASTS: i64 = 10;

/// The attempts to follow our master that failed in a row.
#[derive(Default)]
pub struct Backoff {
    failures: u32,
    /// The next attempt begins in this second or later.
    not_before: i64,
    /// Why the last one failed.
    reason: Vec<u8>,
    /// The log has said so.
    logged: bool,
    /// When the link was established, in seconds; 0 if it is not.
    linked_since: i64,
    /// The link is closed because the operator wants that (CLIENT KILL).
    on_purpose: bool,
}

fn now() -> i64 {
    steady_ms() / 1000
}

/// Returns how many seconds pass before the next attempt after so many failures in a row.
pub fn backoff_delay(failures: u32, max: i64) -> i64 {
    match failures {
        0 | 1 => 0,
        n => (1i64 << (n - 2).min(30)).min(max),
    }
}

/// Notes that an attempt to follow our master failed, or that the link did not last, for `reason`:
/// sets the time before which there is no other attempt. To be called before one is made.
pub fn replication_backoff(server: &mut Server, reason: &[u8]) {
    let max = i64::from(server.repl_backoff_max);
    let backoff = &mut server.repl_statics.backoff;
    backoff.failures = backoff.failures.saturating_add(1);
    // The reason may be what a master said; it is shown in one line.
    backoff.reason = reason.iter().map(|&c| if c < b' ' { b' ' } else { c }).collect();
    let delay = backoff_delay(backoff.failures, max);
    backoff.not_before = now() + delay;
    if delay > 0 && !backoff.logged {
        backoff.logged = true;
        serverLog!(
            LL_WARNING,
            "The link to the master does not last: {} attempts in a row have failed, the last one: {}. The next ones are made after 1, 2, 4 ... up to {} seconds ('repl-backoff-max'), or at once after REPLICAOF or CONFIG SET. INFO replication counts them.",
            backoff.failures,
            B(&backoff.reason),
            max
        );
    }
}

/// Tells whether the next attempt to connect to our master may begin.
pub fn backoff_is_over(server: &Server) -> bool {
    now() >= server.repl_statics.backoff.not_before && !guard_holds(server)
}

/// Forgets the failures: something has changed.
pub fn backoff_reset(server: &mut Server) {
    let linked_since = server.repl_statics.backoff.linked_since;
    server.repl_statics.backoff = Backoff { linked_since, ..Backoff::default() };
}

/// Notes that the link to our master is established.
pub fn link_established(server: &mut Server) {
    let backoff = &mut server.repl_statics.backoff;
    backoff.linked_since = now();
    backoff.on_purpose = false;
}

/// Notes that the link to our master is about to be closed because the operator wants that.
pub fn link_closed_on_purpose(server: &mut Server) {
    server.repl_statics.backoff.on_purpose = true;
}

/// Notes that the link to our master is lost: a failure, if it was established just now.
pub fn link_lost(server: &mut Server) {
    let backoff = &mut server.repl_statics.backoff;
    let lasted = now() - std::mem::take(&mut backoff.linked_since);
    let on_purpose = std::mem::take(&mut backoff.on_purpose);
    if server.masterhost.is_none() || lasted >= LINK_LASTS {
        backoff_reset(server);
    } else if !on_purpose {
        let why: &[u8] = if server.repl_reconnect_later {
            b"what the master sent can't be applied"
        } else {
            b"the link broke right after it was established"
        };
        replication_backoff(server, why);
    }
}

/// Forgets the failures once the link has lasted. Called every second.
pub fn backoff_cron(server: &mut Server) {
    let backoff = &server.repl_statics.backoff;
    if backoff.failures > 0
        && backoff.linked_since != 0
        && now() - backoff.linked_since >= LINK_LASTS
    {
        backoff_reset(server);
    }
}

/// Returns how many attempts have failed in a row, and why the last one did. `None`: all is well.
pub fn failures(server: &Server) -> Option<(u32, &[u8])> {
    let backoff = &server.repl_statics.backoff;
    (backoff.failures > 0).then_some((backoff.failures, &backoff.reason))
}

/// Appends the fields of INFO: none while all is well.
pub fn backoff_info(server: &Server, info: &mut Vec<u8>) {
    let backoff = &server.repl_statics.backoff;
    if backoff.failures == 0 {
        return;
    }
    sdscatprintf!(
        *info,
        "master_link_failures:{}\r\n\
         master_link_failure_reason:{}\r\n\
         master_link_retry_in_seconds:{}\r\n",
        backoff.failures,
        B(&backoff.reason),
        if server.repl_state == REPL_STATE_CONNECT {
            (backoff.not_before - now()).max(0)
        } else {
            0
        }
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The delay is none, then doubles, and stops at the configured one.
    #[test]
    fn delays() {
        let delays = |max| (1..9).map(move |n| backoff_delay(n, max)).collect::<Vec<_>>();
        assert_eq!(delays(30), [0, 1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(delays(3), [0, 1, 2, 3, 3, 3, 3, 3]);
        assert_eq!(delays(0), [0; 8]);
        assert_eq!(backoff_delay(u32::MAX, i64::from(i32::MAX)), 1 << 30);
    }
}
