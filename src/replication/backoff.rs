//! Ours: what a replica does whose link to its master does not last.
//!
//! The C connects again at once when a link breaks, or within a second, and does so for ever. That
//! is right for a link that was cut. But a master that closes each link for the same reason (a
//! limit, a version, a file that can't be loaded) then sends its RDB again and again, as fast as it
//! can, and the log of both sides grows by pages a second.
//!
//! So an attempt that fails is counted, unless there is a plain reason to try again at once. The
//! first failure costs nothing: the next attempt is made at once, as in the C. From the second on
//! there is a delay, and the log says once why:
//!
//! - What the master says or sends can't be used. That will hardly be another time soon: 1, 2, 4 ...
//!   seconds, up to `repl-backoff-max`.
//! - The master closes a link that was just established, and does not say why. It may be gone for a
//!   moment, or have a limit that closes each: twice as long as the attempt took, less the time that
//!   the link lasted. So a full resync in a loop takes a third of both sides' time at most, and a
//!   short one is tried again soon: a replica that waits while masters change places may miss a
//!   history, and has to sync in full.
//!
//! A link that has lasted for [`LINK_LASTS`] milliseconds ends the row, and so does REPLICAOF, and
//! CONFIG SET, which may be the remedy.
//!
//! Read first: [`replication_backoff`], [`link_lost`].

use super::guard::guard_holds;
use crate::log::LL_WARNING;
use crate::server_h::*;
use crate::sys::clock::steady_ms;
use crate::util::B;
use crate::{sdscatprintf, serverLog, trace};

/// A link that was established for so many milliseconds was not closed "right after" that.
const LINK_LASTS: i64 = 10_000;
/// The least that an attempt is taken to last, in milliseconds.
const SHORTEST_ATTEMPT: i64 = 100;

/// The attempts to follow our master that failed in a row.
#[derive(Default)]
pub struct Backoff {
    failures: u32,
    /// The next attempt begins then or later; this and the following times are in milliseconds.
    not_before: i64,
    /// Why the last one failed.
    reason: Vec<u8>,
    /// The log has said so.
    logged: bool,
    /// When the last attempt began.
    attempt_since: i64,
    /// When the link was established; 0 if it is not.
    linked_since: i64,
    /// The link is closed because the operator wants that (CLIENT KILL).
    on_purpose: bool,
}

/// Returns how many seconds pass before the next attempt after so many failures in a row, of which
/// the last one has a reason that lasts.
pub fn backoff_delay(failures: u32, max: i64) -> i64 {
    match failures {
        0 | 1 => 0,
        n => (1i64 << (n - 2).min(30)).min(max),
    }
}

/// Returns for how many milliseconds to wait if a link took `took` of them to be established, and
/// then lasted for `lasted`.
fn link_delay(took: i64, lasted: i64, max: i64) -> i64 {
    (2 * took.max(SHORTEST_ATTEMPT) - lasted).clamp(0, max)
}

/// Notes that an attempt to follow our master failed for `reason`, which may last: sets the time
/// before which there is no other attempt. To be called before one is made.
pub fn replication_backoff(server: &mut Server, reason: &[u8]) {
    let max = i64::from(server.repl_backoff_max);
    note_failure(server, reason, |failures| backoff_delay(failures, max) * 1000);
}

/// Counts a failure, and sets the time of the next attempt by what `delay` says of so many failures,
/// in milliseconds.
fn note_failure(server: &mut Server, reason: &[u8], delay: impl FnOnce(u32) -> i64) {
    let max = server.repl_backoff_max;
    let backoff = &mut server.repl_statics.backoff;
    backoff.failures = backoff.failures.saturating_add(1);
    // The reason may be what a master said; it is shown in one line.
    backoff.reason = reason.iter().map(|&c| if c < b' ' { b' ' } else { c }).collect();
    let delay = delay(backoff.failures);
    backoff.not_before = steady_ms() + delay;
    trace!(
        server,
        "attempt_failed",
        "reason": &server.repl_statics.backoff.reason,
        "failures": server.repl_statics.backoff.failures,
        "wait_ms": delay,
    );
    let backoff = &mut server.repl_statics.backoff;
    if delay > 0 && !backoff.logged {
        backoff.logged = true;
        serverLog!(
            LL_WARNING,
            "The link to the master does not last: {} attempts in a row have failed, the last one: {}. There are delays of up to {} seconds between the next ones ('repl-backoff-max'), until REPLICAOF or CONFIG SET. INFO replication counts them.",
            backoff.failures,
            B(&backoff.reason),
            max
        );
    }
}

/// Tells whether the next attempt to connect to our master may begin.
pub fn backoff_is_over(server: &Server) -> bool {
    steady_ms() >= server.repl_statics.backoff.not_before && !guard_holds(server)
}

/// Forgets the failures: something has changed.
pub fn backoff_reset(server: &mut Server) {
    let linked_since = server.repl_statics.backoff.linked_since;
    server.repl_statics.backoff = Backoff { linked_since, ..Backoff::default() };
}

/// Notes that an attempt to follow our master begins.
pub fn attempt_begins(server: &mut Server) {
    server.repl_statics.backoff.attempt_since = steady_ms();
}

/// Notes that the link to our master is established.
pub fn link_established(server: &mut Server) {
    let backoff = &mut server.repl_statics.backoff;
    backoff.linked_since = steady_ms();
    backoff.on_purpose = false;
}

/// Notes that the link to our master is about to be closed because the operator wants that.
pub fn link_closed_on_purpose(server: &mut Server) {
    server.repl_statics.backoff.on_purpose = true;
}

/// Notes that the link to our master is lost: a failure, if it was established just now.
pub fn link_lost(server: &mut Server) {
    let max = i64::from(server.repl_backoff_max) * 1000;
    let backoff = &mut server.repl_statics.backoff;
    let linked_since = std::mem::take(&mut backoff.linked_since);
    let lasted = steady_ms() - linked_since;
    let on_purpose = std::mem::take(&mut backoff.on_purpose);
    if server.masterhost.is_none() || lasted >= LINK_LASTS {
        backoff_reset(server);
    } else if on_purpose {
        // The operator knows.
    } else if server.repl_reconnect_later {
        replication_backoff(server, b"what the master sent can't be applied");
    } else {
        let took = linked_since - backoff.attempt_since;
        let delay = |failures| if failures < 2 { 0 } else { link_delay(took, lasted, max) };
        note_failure(server, b"the link broke right after it was established", delay);
    }
}

/// Forgets the failures once the link has lasted. Called every second.
pub fn backoff_cron(server: &mut Server) {
    let backoff = &server.repl_statics.backoff;
    if backoff.failures > 0
        && backoff.linked_since != 0
        && steady_ms() - backoff.linked_since >= LINK_LASTS
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
            ((backoff.not_before - steady_ms()).max(0) + 999) / 1000
        } else {
            0
        }
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attempts and waits take a third of the time at most, and a link that did its work is tried
    /// again at once.
    #[test]
    fn delays_after_a_link() {
        assert_eq!(link_delay(5, 0, 30_000), 200);
        assert_eq!(link_delay(5, 1000, 30_000), 0);
        assert_eq!(link_delay(5000, 1000, 30_000), 9000);
        assert_eq!(link_delay(4000, 8000, 30_000), 0);
        assert_eq!(link_delay(100_000, 0, 30_000), 30_000);
    }

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
