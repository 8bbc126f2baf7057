//! `expire.c`: keys that end, the cycle that looks for them, and EXPIRE and its relatives.
//!
//! Read first: `activeExpireCycle`. A key whose time has come is deleted when somebody asks for it (`expireIfNeeded` in
//! db.rs). The cycle is for those that nobody asks for.
//! Differs: what the C keeps in static variables is `server.active_expire`. A bucket holds up to seven keys, so that the
//! cycle visits fewer buckets for the same number of keys. The keys of a writable replica are looked at in turn, where the C
//! picks them at random.

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

/// What the cycle remembers from one run to the next.
#[derive(Default)]
pub struct ActiveExpire {
    /// The next db to look at.
    current_db: usize,
    /// The last run ended because its time was up.
    timelimit_exit: bool,
    /// When the last fast run began, in microseconds.
    last_fast_cycle: i64,
    /// Keys that got an expire on a writable replica, each with a bit per db.
    slaveKeysWithExpire: BTreeMap<Vec<u8>, u64>,
    /// The one of them that was looked at last.
    lastSlaveKey: Vec<u8>,
}

/// Deletes a key with a time of expiry if that is before `now` (milliseconds); true if it did.
fn activeExpireCycleTryExpire(server: &mut Server, db: usize, o: KeyRef, now: i64) -> bool {
    let Some(t) = server.db[db].dict.expire(o) else { return false };
    if now <= t {
        return false;
    }
    let key = server.db[db].dict.key(o).to_vec();
    deleteExpiredKeyAndPropagate(server, db, &key);
    true
}

/// Keys to look at per round and db.
const ACTIVE_EXPIRE_CYCLE_KEYS_PER_LOOP: u64 = 20;
/// Duration of a fast cycle, in microseconds.
const ACTIVE_EXPIRE_CYCLE_FAST_DURATION: u64 = 1000;
/// Share of the CPU that slow cycles may take, in percent.
const ACTIVE_EXPIRE_CYCLE_SLOW_TIME_PERC: u64 = 25;
/// Share of expired keys, in percent, that is not worth another round.
const ACTIVE_EXPIRE_CYCLE_ACCEPTABLE_STALE: u64 = 10;

/// Looks for expired keys among those that have a time of expiry, and deletes them. It adapts: where few are expired it
/// does little, where many are it goes on.
///
/// A slow cycle runs `hz` times a second and may take a share of the time between. Where it runs out of time, or too many
/// expired keys are left, a fast cycle runs before the event loop sleeps: for at most a millisecond, and not again for two.
/// Each run goes on with the db after the last one. `active-expire-effort` (1 to 10) makes it look at more keys, take more
/// time, and leave fewer behind.
pub fn activeExpireCycle(server: &mut Server, type_: i32) {
    let effort = (server.active_expire_effort - 1) as u64;
    let config_keys_per_loop =
        ACTIVE_EXPIRE_CYCLE_KEYS_PER_LOOP + ACTIVE_EXPIRE_CYCLE_KEYS_PER_LOOP / 4 * effort;
    let config_cycle_fast_duration =
        (ACTIVE_EXPIRE_CYCLE_FAST_DURATION + ACTIVE_EXPIRE_CYCLE_FAST_DURATION / 4 * effort) as i64;
    let config_cycle_slow_time_perc = ACTIVE_EXPIRE_CYCLE_SLOW_TIME_PERC + 2 * effort;
    let config_cycle_acceptable_stale = ACTIVE_EXPIRE_CYCLE_ACCEPTABLE_STALE - effort;

    let start = getMonotonicUs() as i64;

    // While clients are paused the data does not change, by them or by time.
    if checkClientPauseTimeoutAndReturnIfPaused(server) {
        return;
    }

    if type_ == ACTIVE_EXPIRE_CYCLE_FAST {
        // There is nothing to catch up with, or we just did.
        if !server.active_expire.timelimit_exit
            && server.stat_expired_stale_perc < config_cycle_acceptable_stale as f64
        {
            return;
        }
        if start < server.active_expire.last_fast_cycle + config_cycle_fast_duration * 2 {
            return;
        }
        server.active_expire.last_fast_cycle = start;
    }

    // Some dbs per run; all of them if the last run ran out of time, for then expired keys hold memory somewhere.
    let mut dbs_per_call = CRON_DBS_PER_CALL as usize;
    if dbs_per_call > server.dbnum || server.active_expire.timelimit_exit {
        dbs_per_call = server.dbnum;
    }

    // The time this run may take, in microseconds.
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
        // On to the next one right away: if our time is up in this db, the next run begins with another.
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

            // A table that is nearly empty costs a lot per key. It will be resized soon.
            let slots = server.db[db].dict.expires().slots() as u64;
            if slots > 4 && num * 100 / slots < 1 {
                break;
            }

            // The collection: go through the table from where the last round ended.
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

            // The average time to live of the db: a running average in which this round counts 2%.
            if ttl_samples != 0 {
                let avg_ttl = ttl_sum / ttl_samples;
                let db = &mut server.db[db];
                if db.avg_ttl == 0 {
                    db.avg_ttl = avg_ttl;
                }
                db.avg_ttl = db.avg_ttl / 50 * 49 + avg_ttl / 50;
            }

            // Look at the clock every 16 rounds.
            if iteration & 0xf == 0 && getMonotonicUs() as i64 - start > timelimit {
                server.active_expire.timelimit_exit = true;
                server.stat_expired_time_cap_reached_count += 1;
                break;
            }

            // Another round in this db only if many keys turned out to be expired.
            if sampled != 0 && expired * 100 / sampled <= config_cycle_acceptable_stale {
                break;
            }
        }
    }

    let elapsed = getMonotonicUs() as i64 - start;
    server.stat_expire_cycle_time_used += elapsed;
    latencyAddSampleIfNeeded(server, "expire-cycle", elapsed / 1000);

    // Our estimate of keys that are expired and still there: a running average in which this run counts 5%.
    let current_perc =
        if total_sampled != 0 { total_expired as f64 / total_sampled as f64 } else { 0.0 };
    server.stat_expired_stale_perc = current_perc * 0.05 + server.stat_expired_stale_perc * 0.95;
}

// -----------------------------------------------------------------------------
// Expires of keys created in writable slaves
//
// Replicas wait for their master to expire keys. A key that was made on a writable replica is none of the master's, so the
// replica keeps in mind which those are, and expires them itself.
// -----------------------------------------------------------------------------

/// Expires keys of our own on a writable replica. Stops when four could not be expired, or after a millisecond.
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

        // Look at it in every db whose bit is set. Bits stay set where it is still to expire.
        let mut new_dbids = 0u64;
        for dbid in (0..server.dbnum.min(64)).filter(|dbid| dbids >> dbid & 1 != 0) {
            let Some(o) = dbFind(server, dbid, &keyname) else { continue };
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

/// Keeps in mind that a key got an expire on a writable replica. Dbs above 63 are not covered, as in the C.
pub fn rememberSlaveKeyWithExpire(server: &mut Server, db: usize, key: &[u8]) {
    if db > 63 {
        return;
    }
    *server.active_expire.slaveKeysWithExpire.entry(key.to_vec()).or_default() |= 1 << db;
}

/// The number of keys kept in mind.
pub fn getSlaveKeyWithExpireCount(server: &Server) -> usize {
    server.active_expire.slaveKeysWithExpire.len()
}

/// Forgets them all: the data was flushed, and the master may send keys of the same names.
pub fn flushSlaveKeysWithExpireList(server: &mut Server) {
    server.active_expire.slaveKeysWithExpire.clear();
}

/// Whether a time of expiry (milliseconds since the epoch) means that the key is to be deleted right now. A replica, or a
/// server that loads, adds the key all the same: the DEL will come.
pub fn checkAlreadyExpired(server: &Server, when: i64) -> bool {
    when <= mstime() && !server.loading && server.masterhost.is_none()
}

// -----------------------------------------------------------------------------
// Expires Commands
// -----------------------------------------------------------------------------

/// EXPIRE, PEXPIRE, EXPIREAT and PEXPIREAT: the argument, in `unit`, counts from `basetime` (milliseconds), which is 0 for
/// those that give a point in time.
fn expireGenericCommand(server: &mut Server, c: ClientId, argv: &Args, basetime: i64, unit: i32) {
    let (db, key) = (server[c].db, argv.get(1));
    let Ok(param) = getLongLongFromObjectOrReply(server, c, &argv[2], None) else { return };

    // A negative time is a time in the past, but one that does not fit is an error.
    let when = if unit == UNIT_SECONDS { param.checked_mul(1000) } else { Some(param) };
    let Some(when) = when.and_then(|when| when.checked_add(basetime)) else {
        addReplyErrorFormat!(server, c, "invalid expire time in {}", commandName(server, c));
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
        // To the replicas this is a DEL.
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

/// The name of the command that a client runs, for its errors.
pub fn commandName(server: &Server, c: ClientId) -> &'static str {
    server[c].cmd.map_or("", |cmd| server.commands[cmd].name)
}

/// EXPIRE key seconds
pub fn expireCommand(server: &mut Server, c: ClientId, argv: &Args) {
    expireGenericCommand(server, c, argv, mstime(), UNIT_SECONDS);
}

/// EXPIREAT key time
pub fn expireatCommand(server: &mut Server, c: ClientId, argv: &Args) {
    expireGenericCommand(server, c, argv, 0, UNIT_SECONDS);
}

/// PEXPIRE key milliseconds
pub fn pexpireCommand(server: &mut Server, c: ClientId, argv: &Args) {
    expireGenericCommand(server, c, argv, mstime(), UNIT_MILLISECONDS);
}

/// PEXPIREAT key ms_time
pub fn pexpireatCommand(server: &mut Server, c: ClientId, argv: &Args) {
    expireGenericCommand(server, c, argv, 0, UNIT_MILLISECONDS);
}

/// TTL and PTTL: -2 without the key, -1 without an expire.
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

/// TTL key
pub fn ttlCommand(server: &mut Server, c: ClientId, argv: &Args) {
    ttlGenericCommand(server, c, argv, false);
}

/// PTTL key
pub fn pttlCommand(server: &mut Server, c: ClientId, argv: &Args) {
    ttlGenericCommand(server, c, argv, true);
}

/// PERSIST key
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

/// TOUCH key [key ...]: how many of them there are, after updating their access time.
pub fn touchCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let db = server[c].db;
    let mut touched = 0;
    for key in argv.iter().skip(1) {
        if lookupKeyRead(server, db, key).is_some() {
            touched += 1;
        }
    }
    addReplyLongLong(server, c, touched);
}
