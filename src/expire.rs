//! `expire.c`: the expiration of keys: the cycle that deletes expired keys, and EXPIRE and its
//! relatives.
//!
//! Read first: `activeExpireCycle`. An expired key is deleted when a command accesses it
//! (`expireIfNeeded` in db.rs). The cycle is for the keys that no command accesses.
//!
//! Differs: what the C keeps in static variables is `server.active_expire`. A bucket holds up to
//! seven keys, so that the cycle visits fewer buckets for the same number of keys. The keys of a
//! writable replica are examined in turn, where the C picks them at random.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::addReplyErrorFormat;
use crate::args::Args;
use crate::db::*;
use crate::keyspace::KeyRef;
use crate::latency::latencyAddSampleIfNeeded;
use crate::lazyfree::dbAsyncDelete;
use crate::networking::*;
use crate::notify::notifyKeyspaceEvent;
use crate::object::getLongLongFromObjectOrReply;
use crate::server_h::*;
use crate::sys::clock::{elapsedMs, elapsedStart, getMonotonicUs, mstime};

// -----------------------------------------------------------------------------
// Incremental collection of expired keys.
// -----------------------------------------------------------------------------

/// The state of the cycle from one run to the next.
#[derive(Default)]
pub struct ActiveExpire {
    /// The next db to examine.
    current_db: usize,
    /// True if the last run ended because its time limit was reached.
    timelimit_exit: bool,
    /// The start of the last fast cycle, in microseconds.
    last_fast_cycle: i64,
    /// The keys that got an expiration time on a writable replica, each with a bit per db.
    slaveKeysWithExpire: BTreeMap<Vec<u8>, u64>,
    /// The key of `slaveKeysWithExpire` that was examined last.
    lastSlaveKey: Vec<u8>,
}

// ANCHOR: activeExpireCycleTryExpire
/// Deletes a key if its expiration time is before `now` (milliseconds), and propagates that.
/// Returns whether it did.
fn activeExpireCycleTryExpire(server: &mut Server, db: usize, o: KeyRef, now: i64) -> bool {
    let Some(t) = server.db[db].dict.expire(o) else { return false };
    if now <= t {
        return false;
    }
    let key = server.db[db].dict.key(o).to_vec();
    deleteExpiredKeyAndPropagate(server, db, &key);
    true
}
// ANCHOR_END: activeExpireCycleTryExpire

/// The number of keys to examine per round and db.
const ACTIVE_EXPIRE_CYCLE_KEYS_PER_LOOP: u64 = 20;
/// The duration of a fast cycle, in microseconds.
const ACTIVE_EXPIRE_CYCLE_FAST_DURATION: u64 = 1000;
/// The maximum CPU usage of the slow cycle, in percent.
const ACTIVE_EXPIRE_CYCLE_SLOW_TIME_PERC: u64 = 25;
/// The share of expired keys among those examined, in percent, up to which no other round is made.
const ACTIVE_EXPIRE_CYCLE_ACCEPTABLE_STALE: u64 = 10;

/// Deletes some of the keys that have expired. It adapts to their number: it takes little time
/// where few keys are expired, and continues where many are.
///
/// A slow cycle (`ACTIVE_EXPIRE_CYCLE_SLOW`) runs `hz` times a second and is limited to a share of
/// the time. If it was stopped by this limit, or if too many expired keys are left, a fast cycle
/// runs before the event loop sleeps: for at most a millisecond, and not again for two. Each run
/// continues with the db after the last one. `active-expire-effort` (1 to 10) makes it examine more
/// keys, take more time, and leave fewer expired keys.
pub fn activeExpireCycle(server: &mut Server, type_: i32) {
    let effort = (server.active_expire_effort - 1) as u64;
    let config_keys_per_loop =
        ACTIVE_EXPIRE_CYCLE_KEYS_PER_LOOP + ACTIVE_EXPIRE_CYCLE_KEYS_PER_LOOP / 4 * effort;
    let config_cycle_fast_duration =
        (ACTIVE_EXPIRE_CYCLE_FAST_DURATION + ACTIVE_EXPIRE_CYCLE_FAST_DURATION / 4 * effort) as i64;
    let config_cycle_slow_time_perc = ACTIVE_EXPIRE_CYCLE_SLOW_TIME_PERC + 2 * effort;
    let config_cycle_acceptable_stale = ACTIVE_EXPIRE_CYCLE_ACCEPTABLE_STALE - effort;

    // While clients are paused the data set must not change, and so no key is deleted.
    if checkClientPauseTimeoutAndReturnIfPaused(server) {
        return;
    }

    if type_ == ACTIVE_EXPIRE_CYCLE_FAST {
        // A fast cycle is only for a slow one that was stopped, or for many expired keys that are
        // left; and it is not repeated too soon.
        if !server.active_expire.timelimit_exit
            && server.stat_expired_stale_perc < config_cycle_acceptable_stale as f64
        {
            return;
        }
    }

    let start = getMonotonicUs() as i64;
    if type_ == ACTIVE_EXPIRE_CYCLE_FAST {
        if start < server.active_expire.last_fast_cycle + config_cycle_fast_duration * 2 {
            return;
        }
        server.active_expire.last_fast_cycle = start;
    }

    // Only some dbs are examined per run. If the last run was stopped by the time limit all are,
    // since there are expired keys that hold memory.
    let mut dbs_per_call = CRON_DBS_PER_CALL as usize;
    if dbs_per_call > server.dbnum || server.active_expire.timelimit_exit {
        dbs_per_call = server.dbnum;
    }

    // The time limit of this run, in microseconds.
    server.active_expire.timelimit_exit = false;
    let timelimit = if type_ == ACTIVE_EXPIRE_CYCLE_FAST {
        config_cycle_fast_duration
    } else {
        ((config_cycle_slow_time_perc * 1_000_000 / server.hz as u64 / 100) as i64).max(1)
    };

    let (mut total_sampled, mut total_expired) = (0, 0);
    let mut iteration = 0;
    let mut bucket: Vec<KeyRef> = Vec::new();
    for _ in 0..dbs_per_call {
        if server.active_expire.timelimit_exit {
            break;
        }
        // Increment the number now: if this run is stopped in this db, the next run begins with the
        // next one, and no db is neglected.
        let db = server.active_expire.current_db % server.dbnum;
        server.active_expire.current_db = server.active_expire.current_db.wrapping_add(1);

        loop {
            iteration += 1;
            let mut num = server.db[db].dict.expires_len() as u64;
            if num == 0 {
                server.db[db].avg_ttl = 0;
                break;
            }
            let now = mstime();

            // Sampling a table that is nearly empty is expensive. It is resized soon.
            let slots = server.db[db].dict.expires().slots() as u64;
            if slots > 4 && num * 100 / slots < 1 {
                break;
            }

            // Visit the table bucket by bucket, from where the last round ended.
            let (mut expired, mut sampled, mut ttl_sum, mut ttl_samples) = (0u64, 0u64, 0i64, 0i64);
            num = num.min(config_keys_per_loop);
            let max_buckets = num * 20;
            let mut checked_buckets = 0;
            while sampled < num && checked_buckets < max_buckets {
                bucket.clear();
                let cursor = server.db[db].expires_cursor;
                server.db[db].expires_cursor =
                    server.db[db].dict.scan_expires(cursor, |o| bucket.push(o));
                checked_buckets += 1;
                for &o in &bucket {
                    let ttl = server.db[db].dict.expire(o).unwrap_or(now) - now;
                    if activeExpireCycleTryExpire(server, db, o, now) {
                        expired += 1;
                    }
                    if ttl > 0 {
                        ttl_sum = ttl_sum.saturating_add(ttl);
                        ttl_samples += 1;
                    }
                    sampled += 1;
                }
            }
            total_expired += expired;
            total_sampled += sampled;

            // Update the average TTL of the db: a running average in which this round counts 2%.
            if ttl_samples != 0 {
                let avg_ttl = ttl_sum / ttl_samples;
                let db = &mut server.db[db];
                if db.avg_ttl == 0 {
                    db.avg_ttl = avg_ttl;
                }
                db.avg_ttl = db.avg_ttl / 50 * 49 + avg_ttl / 50;
            }

            // Check the time limit every 16 rounds only, since reading the clock takes time.
            if iteration & 0xf == 0 && getMonotonicUs() as i64 - start > timelimit {
                server.active_expire.timelimit_exit = true;
                server.stat_expired_time_cap_reached_count += 1;
                break;
            }

            // Repeat this in the same db only if many of the examined keys had expired.
            if sampled != 0 && expired * 100 / sampled <= config_cycle_acceptable_stale {
                break;
            }
        }
    }

    let elapsed = getMonotonicUs() as i64 - start;
    server.stat_expire_cycle_time_used += elapsed;
    latencyAddSampleIfNeeded(server, "expire-cycle", elapsed / 1000);

    // Update the estimate of the share of keys that have expired and still exist: a running average
    // in which this run counts 5%.
    let current_perc =
        if total_sampled != 0 { total_expired as f64 / total_sampled as f64 } else { 0.0 };
    server.stat_expired_stale_perc = current_perc * 0.05 + server.stat_expired_stale_perc * 0.95;
}

// A replica leaves the expiration of keys to its master. But a key that was created on a writable
// replica is unknown to the master. So the replica remembers such keys, and expires them itself.

/// Expires keys that were created on a writable replica. Stops when more than three were found that
/// have not expired, or after a millisecond.
pub fn expireSlaveKeys(server: &mut Server) {
    if server.active_expire.slaveKeysWithExpire.is_empty() {
        return;
    }
    let (mut cycles, mut noexpire) = (0, 0);
    let (start, timer) = (mstime(), elapsedStart());
    loop {
        // The next key in turn.
        let state = &server.active_expire;
        let after = (Bound::Excluded(state.lastSlaveKey.clone()), Bound::Unbounded);
        let next = state
            .slaveKeysWithExpire
            .range(after)
            .next()
            .or_else(|| state.slaveKeysWithExpire.iter().next());
        let Some((keyname, dbids)) = next.map(|(key, dbids)| (key.clone(), *dbids)) else { break };

        // Examine the key in each db whose bit is set. The bit stays set where the key has an
        // expiration time in the future.
        let mut new_dbids = 0u64;
        for dbid in (0..server.dbnum.min(64)).filter(|dbid| dbids >> dbid & 1 != 0) {
            let Some(o) = find_key(server, dbid, &keyname) else { continue };
            if server.db[dbid].dict.expire(o).is_some()
                && !activeExpireCycleTryExpire(server, dbid, o, start)
            {
                noexpire += 1;
                new_dbids |= 1 << dbid;
            }
        }
        let keys = &mut server.active_expire.slaveKeysWithExpire;
        if new_dbids != 0 {
            keys.insert(keyname.clone(), new_dbids);
        } else {
            keys.remove(&keyname);
        }
        server.active_expire.lastSlaveKey = keyname;

        cycles += 1;
        if noexpire > 3 || (cycles % 64 == 0 && elapsedMs(timer) > 1) {
            break;
        }
    }
}

/// Remembers that a key got an expiration time on a writable replica. Dbs above 63 are not covered,
/// as in the C.
pub fn rememberSlaveKeyWithExpire(server: &mut Server, db: usize, key: &[u8]) {
    if db > 63 {
        return;
    }
    *server.active_expire.slaveKeysWithExpire.entry(key.to_vec()).or_default() |= 1 << db;
}

/// Returns the number of keys that `rememberSlaveKeyWithExpire` has noted.
pub fn getSlaveKeyWithExpireCount(server: &Server) -> usize {
    server.active_expire.slaveKeysWithExpire.len()
}

/// Forgets the keys that `rememberSlaveKeyWithExpire` has noted. Called when the data set is
/// replaced: keys of the same names then belong to the master.
pub fn flushSlaveKeysWithExpireList(server: &mut Server) {
    server.active_expire.slaveKeysWithExpire.clear();
}

/// Tells whether a key with this expiration time (milliseconds since the epoch) has to be deleted
/// at once. Not on a replica, and not while loading, where the key is kept until the master, or the
/// AOF, deletes it.
pub fn checkAlreadyExpired(server: &Server, when: i64) -> bool {
    when <= mstime() && !server.loading && server.masterhost.is_none()
}

// -----------------------------------------------------------------------------
// Expires Commands
// -----------------------------------------------------------------------------

/// Implements EXPIRE, PEXPIRE, EXPIREAT and PEXPIREAT. The argument is in `unit` and relative to
/// `basetime` (milliseconds), which is 0 for the commands that take a Unix time.
fn expireGenericCommand(server: &mut Server, c: ClientId, argv: &Args, basetime: i64, unit: i32) {
    let (db, key) = (server[c].db, argv.get(1));
    let Ok(param) = getLongLongFromObjectOrReply(server, c, &argv[2], None) else { return };

    // A negative time is in the past and deletes the key, but a time that overflows is an error.
    let when = if unit == UNIT_SECONDS { param.checked_mul(1000) } else { Some(param) };
    let Some(when) = when.and_then(|when| when.checked_add(basetime)) else {
        addReplyErrorFormat!(
            server,
            c,
            "invalid expire time in {}",
            expire_command_name(server, c)
        );
        return;
    };

    if lookupKeyWrite(server, db, key).is_none() {
        addReply(server, c, shared::czero);
        return;
    }

    if checkAlreadyExpired(server, when) {
        let lazy = server.lazyfree_lazy_expire;
        let deleted =
            if lazy { dbAsyncDelete(server, db, key) } else { dbSyncDelete(server, db, key) };
        assert!(deleted);
        server.dirty += 1;
        // The AOF and replicas get a DEL.
        rewriteClientCommandVector(
            server,
            c,
            &[if lazy { b"UNLINK" as &[u8] } else { b"DEL" }, key],
        );
        signalModifiedKey(server, Some(c), db, key);
        notifyKeyspaceEvent(server, NOTIFY_GENERIC, "del", key, db);
        addReply(server, c, shared::cone);
    } else {
        setExpire(server, Some(c), db, key, when);
        addReply(server, c, shared::cone);
        signalModifiedKey(server, Some(c), db, key);
        notifyKeyspaceEvent(server, NOTIFY_GENERIC, "expire", key, db);
        server.dirty += 1;
    }
}

/// Returns the name of the command that a client executes, for error replies.
pub fn expire_command_name(server: &Server, c: ClientId) -> &'static str {
    server[c].cmd.map_or("", |cmd| server.commands[cmd].name)
}

/// Implements EXPIRE key seconds.
pub fn expireCommand(server: &mut Server, c: ClientId, argv: &Args) {
    expireGenericCommand(server, c, argv, mstime(), UNIT_SECONDS);
}

/// Implements EXPIREAT key time (Unix time in seconds).
pub fn expireatCommand(server: &mut Server, c: ClientId, argv: &Args) {
    expireGenericCommand(server, c, argv, 0, UNIT_SECONDS);
}

/// Implements PEXPIRE key milliseconds.
pub fn pexpireCommand(server: &mut Server, c: ClientId, argv: &Args) {
    expireGenericCommand(server, c, argv, mstime(), UNIT_MILLISECONDS);
}

/// Implements PEXPIREAT key ms_time (Unix time in milliseconds).
pub fn pexpireatCommand(server: &mut Server, c: ClientId, argv: &Args) {
    expireGenericCommand(server, c, argv, 0, UNIT_MILLISECONDS);
}

/// Implements TTL and PTTL: replies with the time to live, -1 for a key that has none, and -2 if
/// the key does not exist.
fn ttlGenericCommand(server: &mut Server, c: ClientId, argv: &Args, output_ms: bool) {
    let db = server[c].db;
    let Some(o) = lookupKeyReadWithFlags(server, db, &argv[1], LOOKUP_NOTOUCH) else {
        addReplyLongLong(server, c, -2);
        return;
    };
    let reply = match server.db[db].dict.expire(o) {
        None => -1,
        Some(when) => {
            let ttl = when.saturating_sub(mstime()).max(0);
            if output_ms { ttl } else { ttl.saturating_add(500) / 1000 }
        }
    };
    addReplyLongLong(server, c, reply);
}

/// Implements TTL key.
pub fn ttlCommand(server: &mut Server, c: ClientId, argv: &Args) {
    ttlGenericCommand(server, c, argv, false);
}

/// Implements PTTL key.
pub fn pttlCommand(server: &mut Server, c: ClientId, argv: &Args) {
    ttlGenericCommand(server, c, argv, true);
}

/// Implements PERSIST key: removes the expiration time.
pub fn persistCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (db, key) = (server[c].db, argv.get(1));
    if lookupKeyWrite(server, db, key).is_some() && removeExpire(server, db, key) {
        signalModifiedKey(server, Some(c), db, key);
        notifyKeyspaceEvent(server, NOTIFY_GENERIC, "persist", key, db);
        addReply(server, c, shared::cone);
        server.dirty += 1;
    } else {
        addReply(server, c, shared::czero);
    }
}

/// Implements TOUCH key [key ...]: updates the access time of the keys, and replies with the number
/// of those that exist.
pub fn touchCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let db = server[c].db;
    let mut touched = 0;
    for_each_key(server, db, argv, (1, Wanted::Entry), |server, j| {
        if lookupKeyRead(server, db, &argv[j]).is_some() {
            touched += 1;
        }
    });
    addReplyLongLong(server, c, touched);
}
