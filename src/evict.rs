//! `evict.c`: the eviction of keys when memory usage exceeds `maxmemory`, and the LRU clock and LFU
//! counters that it is based on.
//!
//! Read first: `performEvictions`, then `evictionPoolPopulate`.
//!
//! Differs: what the C keeps in static variables is `server.eviction`. The pool is a vector of key
//! names, ordered by idle time.

use crate::ae::{AE_NOMORE, aeCreateTimeEvent};
use crate::aof::aofRewriteBufferSize;
use crate::bio::BIO_LAZY_FREE;
use crate::db::{dbSyncDelete, find_key, propagateExpire, signalModifiedKey};
use crate::ds::adlist::listLength;
use crate::keyspace::KeyRef;
use crate::latency::{latencyAddSampleIfNeeded, latencyEndMonitor, latencyStartMonitor};
use crate::lazyfree::dbAsyncDelete;
use crate::networking::{
    REPLY_BLOCK_HEADER, checkClientPauseTimeoutAndReturnIfPaused, flushSlavesOutputBuffers,
};
use crate::notify::notifyKeyspaceEvent;
use crate::server_h::*;
use crate::sys::alloc::zmalloc_used_memory;
use crate::sys::clock::{elapsedStart, elapsedUs, mstime, usleep};
use crate::sys::random::random_u64;

// -----------------------------------------------------------------------------
// Data structures
// -----------------------------------------------------------------------------

/// The size of the pool of candidates, which lasts over several calls of `performEvictions`.
const EVPOOL_SIZE: usize = 16;

/// A candidate for eviction. The key may no longer exist when its turn comes.
struct evictionPoolEntry {
    /// The idle time in milliseconds. For other policies, a number that is larger for a better
    /// candidate.
    idle: u64,
    key: Vec<u8>,
    dbid: usize,
}

/// The state of the eviction from one call to the next.
#[derive(Default)]
pub struct Eviction {
    /// The candidates by idle time, the best one last.
    pool: Vec<evictionPoolEntry>,
    /// For the random policies: the db to evict from next.
    next_db: usize,
    /// True if a time event exists that continues the eviction.
    isEvictionProcRunning: bool,
}

/// Memory usage is within the limit, or it is not safe to evict now.
pub const EVICT_OK: i32 = 0;
/// Memory usage exceeds the limit, and a time event continues the eviction.
pub const EVICT_RUNNING: i32 = 1;
/// Memory usage exceeds the limit, and there is nothing to evict.
pub const EVICT_FAIL: i32 = 2;

// -----------------------------------------------------------------------------
// Implementation of eviction, aging and LRU
// -----------------------------------------------------------------------------

/// Returns the LRU clock: the time in seconds, reduced to 24 bits.
pub fn getLRUClock() -> u32 {
    ((mstime() / i64::from(LRU_CLOCK_RESOLUTION)) & i64::from(LRU_CLOCK_MAX)) as u32
}

/// Returns the LRU clock. If the server's cron runs often enough for the resolution of the clock,
/// it is the cached one, which spares a system call.
pub fn LRU_CLOCK(server: &Server) -> u32 {
    if 1000 / server.hz <= LRU_CLOCK_RESOLUTION as i32 { server.lruclock } else { getLRUClock() }
}

/// Returns the initial LRU or LFU field of a new value, whichever the policy uses.
#[inline]
pub fn initial_lru(server: &Server) -> u32 {
    if server.maxmemory_policy & MAXMEMORY_FLAG_LFU != 0 {
        LFUGetTimeInMinutes(server) << 8 | LFU_INIT_VAL
    } else {
        server.lruclock
    }
}

/// Estimates for how many milliseconds a value with this LRU field was not accessed. The clock may
/// have wrapped around once since.
pub fn estimateObjectIdleTime(server: &Server, lru: u32) -> u64 {
    let lruclock = LRU_CLOCK(server);
    let seconds = if lruclock >= lru { lruclock - lru } else { lruclock + (LRU_CLOCK_MAX - lru) };
    u64::from(seconds) * u64::from(LRU_CLOCK_RESOLUTION)
}

// The order of access is approximated. Some keys are sampled, and the best candidates are kept in a
// pool that lasts over several calls. The best candidate of the pool is evicted. A candidate that
// no longer exists is skipped, and when none is left the pool is filled again.

/// Adds the better keys of a sample to the pool: of all keys of a db, or of those with an
/// expiration time.
pub fn evictionPoolPopulate(server: &mut Server, dbid: usize, allkeys: bool) {
    let mut samples: Vec<KeyRef> = Vec::new();
    let dict = &server.db[dbid].dict;
    let count = server.maxmemory_samples as usize;
    if allkeys {
        dict.get_some_keys(count, random_u64, |o| samples.push(o));
    } else {
        dict.get_some_expires(count, random_u64, |o| samples.push(o));
    }
    for o in samples {
        let dict = &server.db[dbid].dict;
        // The score is larger for a better candidate: the idle time, or the inverse of the access
        // frequency or of the expiration time.
        let idle = if server.maxmemory_policy & MAXMEMORY_FLAG_LRU != 0 {
            estimateObjectIdleTime(server, dict.lru(o))
        } else if server.maxmemory_policy & MAXMEMORY_FLAG_LFU != 0 {
            u64::from(255 - LFUDecrAndReturn(server, dict.lru(o)))
        } else {
            u64::MAX - dict.expire(o).unwrap_or(i64::MAX) as u64
        };

        // Insert the candidate by its score. A full pool drops its worst candidate, which may be
        // this one.
        let key = dict.key(o).to_vec();
        let pool = &mut server.eviction.pool;
        let k = pool.partition_point(|entry| entry.idle < idle);
        if pool.len() == EVPOOL_SIZE {
            if k == 0 {
                continue;
            }
            pool.remove(0);
            pool.insert(k - 1, evictionPoolEntry { idle, key, dbid });
        } else {
            pool.insert(k, evictionPoolEntry { idle, key, dbid });
        }
    }
}

// The 24 bits of the field are the time of the last decrement in minutes (16 bits), and a
// logarithmic counter of accesses (8 bits). The probability of an increment falls as the counter
// grows, and the counter is decremented with time, so that a key that is no longer accessed can be
// evicted. A new key starts at 5, so that it is not evicted before it can be accessed.

/// The LFU counter of a new key.
pub const LFU_INIT_VAL: u32 = 5;

/// Returns the time in minutes, reduced to 16 bits.
pub fn LFUGetTimeInMinutes(server: &Server) -> u32 {
    ((server.unixtime / 60) & 65535) as u32
}

/// Returns the minutes since the time `ldt`. If `ldt` is greater than the present time, the clock
/// is taken to have wrapped around once.
pub fn LFUTimeElapsed(server: &Server, ldt: u32) -> u32 {
    let now = LFUGetTimeInMinutes(server);
    if now >= ldt { now - ldt } else { 65535 - ldt + now }
}

/// Increments an LFU counter with a probability that falls as the counter grows. The maximum is
/// 255.
pub fn LFULogIncr(server: &Server, counter: u32) -> u32 {
    if counter == 255 {
        return 255;
    }
    let r = (random_u64() >> 11) as f64 / (1u64 << 53) as f64;
    let baseval = f64::from(counter.saturating_sub(LFU_INIT_VAL));
    let p = 1.0 / (baseval * f64::from(server.lfu_log_factor) + 1.0);
    counter + u32::from(r < p)
}

/// Returns the counter of an LFU field, decremented according to the time since its last decrement.
/// The field itself is only changed when the value is accessed.
pub fn LFUDecrAndReturn(server: &Server, lru: u32) -> u32 {
    let (ldt, counter) = (lru >> 8, lru & 255);
    let num_periods = if server.lfu_decay_time != 0 {
        LFUTimeElapsed(server, ldt) / server.lfu_decay_time as u32
    } else {
        0
    };
    counter.saturating_sub(num_periods)
}

/// Returns the memory that does not count against the limit, in bytes: the output buffers of
/// replicas and the AOF buffer. Otherwise the DELs of evicted keys would fill these buffers and
/// cause more keys to be evicted, in a loop.
pub fn freeMemoryGetNotCountedMemory(server: &Server) -> usize {
    let slaves: usize = server.slaves.iter().map(|&slave| output_memory(&server[slave])).sum();
    let aof = match server.aof_state {
        AOF_OFF => 0,
        _ => server.aof_buf.capacity() + aofRewriteBufferSize(server),
    };
    // What replicas share with each other and not with the backlog.
    slaves + server.clients.repl.excess() + aof
}

/// Returns the memory that a client's output really takes, in bytes.
///
/// C: takes `getClientOutputBufferMemoryUsage`, which there is exact but for the fixed buffer, a part
/// of the client. Here that function counts as the C does, for the sake of the limits, while the
/// fixed buffer is an allocation that comes and goes, and the list is an array that doubles. What was
/// left out would look like memory of the data, and evict keys.
fn output_memory(client: &Client) -> usize {
    let list = client.reply.capacity() * size_of::<ReplyNode>();
    client.reply_bytes + client.reply.len() * REPLY_BLOCK_HEADER + list + client.buf.capacity()
}

/// Memory usage compared with the limit.
#[derive(Copy, Clone, Default)]
pub struct MaxmemoryState {
    /// The total memory used, in bytes.
    pub total: usize,
    /// The memory that counts against the limit, and the memory to be freed, in bytes. Both are set
    /// only if the limit is exceeded.
    pub logical: usize,
    pub tofree: usize,
    /// The ratio of used memory to the limit: above 1 if it is exceeded, 0 if there is no limit.
    pub level: f32,
}

/// Returns whether the memory limit is exceeded, and the state of the memory. `level` is computed
/// only with `with_level`, or if the limit is exceeded, since it takes longer.
pub fn getMaxmemoryState(server: &Server, with_level: bool) -> (bool, MaxmemoryState) {
    let mem_reported = zmalloc_used_memory();
    let mut state = MaxmemoryState { total: mem_reported, ..Default::default() };
    let maxmemory = server.maxmemory as usize;
    let under = maxmemory == 0 || mem_reported <= maxmemory;
    if under && !with_level {
        return (false, state);
    }
    let mem_used = mem_reported.saturating_sub(freeMemoryGetNotCountedMemory(server));
    if maxmemory != 0 {
        state.level = mem_used as f32 / maxmemory as f32;
    }
    if under || mem_used <= maxmemory {
        return (false, state);
    }
    state.logical = mem_used;
    state.tofree = mem_used - maxmemory;
    (true, state)
}

/// Tells whether allocating `moremem` bytes would exceed the limit.
pub fn overMaxmemoryAfterAlloc(server: &Server, moremem: usize) -> bool {
    let maxmemory = server.maxmemory as usize;
    if maxmemory == 0 {
        return false;
    }
    let mem_used = zmalloc_used_memory();
    if mem_used.saturating_add(moremem) <= maxmemory {
        return false;
    }
    mem_used.saturating_sub(freeMemoryGetNotCountedMemory(server)).saturating_add(moremem)
        > maxmemory
}

/// Continues the eviction in each iteration of the event loop, until memory usage is within the
/// limit or nothing is left to evict.
fn evictionTimeProc(server: &mut Server, _id: i64, _clientData: u64) -> i64 {
    if performEvictions(server) == EVICT_RUNNING {
        return 0;
    }
    server.eviction.isEvictionProcRunning = false;
    AE_NOMORE
}

/// Tells whether it is safe to evict keys now: not while loading, not on a replica that leaves the
/// eviction to its master (`replica-ignore-maxmemory`), and not while clients are paused, when the
/// data set must not change.
fn isSafeToPerformEvictions(server: &mut Server) -> bool {
    // Not while a slow script lets clients be served: the DELs would mix with what it propagates.
    if server.lua_timedout
        || server.loading
        || (server.masterhost.is_some() && server.repl_slave_ignore_maxmemory)
    {
        return false;
    }
    !checkClientPauseTimeoutAndReturnIfPaused(server)
}

/// Returns the time limit of one call in microseconds, by `maxmemory-eviction-tenacity`: up to 500
/// for 0 to 10, then growing by 15% a step, to about two minutes; 100 is no limit.
fn evictionTimeLimitUs(server: &Server) -> u64 {
    match server.maxmemory_eviction_tenacity {
        tenacity @ 0..=10 => 50 * tenacity as u64,
        tenacity @ 11..=99 => (500.0 * 1.15f64.powf(f64::from(tenacity) - 10.0)) as u64,
        _ => u64::MAX,
    }
}

/// Returns the db and the name of the key to evict next, or `None` if there is none.
fn select_key_to_evict(server: &mut Server) -> Option<(usize, Vec<u8>)> {
    let policy = server.maxmemory_policy;
    let allkeys = policy & MAXMEMORY_FLAG_ALLKEYS != 0;
    let size = |server: &Server, db: usize| {
        let dict = &server.db[db].dict;
        if allkeys { dict.len() } else { dict.expires_len() }
    };

    if policy & (MAXMEMORY_FLAG_LRU | MAXMEMORY_FLAG_LFU) != 0 || policy == MAXMEMORY_VOLATILE_TTL {
        loop {
            // Sample all dbs, since the best key of all is to be evicted, and not of one db.
            let mut total_keys = 0;
            for db in 0..server.db.len() {
                let keys = size(server, db);
                if keys != 0 {
                    evictionPoolPopulate(server, db, allkeys);
                    total_keys += keys;
                }
            }
            if total_keys == 0 {
                return None;
            }
            // Take the best candidate that still exists.
            while let Some(entry) = server.eviction.pool.pop() {
                let found = find_key(server, entry.dbid, &entry.key);
                if found.is_some_and(|o| allkeys || server.db[entry.dbid].dict.expire(o).is_some())
                {
                    return Some((entry.dbid, entry.key));
                }
            }
        }
    }

    // The random policies evict a key of each db in turn.
    for _ in 0..server.db.len() {
        server.eviction.next_db = (server.eviction.next_db + 1) % server.db.len();
        let db = server.eviction.next_db;
        if size(server, db) != 0 {
            let dict = &server.db[db].dict;
            let o =
                if allkeys { dict.random_key(random_u64) } else { dict.random_expire(random_u64) };
            return o.map(|o| (db, dict.key(o).to_vec()));
        }
    }
    None
}

/// Evicts keys if memory usage exceeds the limit and it is safe to do so. Called before every
/// command. After `EVICT_FAIL`, commands that use memory have to be rejected.
///
/// Memory usage can exceed the limit by far all at once: a table was resized, or the limit was
/// lowered. To avoid a long pause, the eviction stops after a limited time, and a time event
/// continues it.
pub fn performEvictions(server: &mut Server) -> i32 {
    if server.maxmemory == 0 || !isSafeToPerformEvictions(server) {
        return EVICT_OK;
    }
    let (over, state) = getMaxmemoryState(server, false);
    if !over {
        return EVICT_OK;
    }
    if server.maxmemory_policy == MAXMEMORY_NO_EVICTION {
        return EVICT_FAIL;
    }

    let eviction_time_limit_us = evictionTimeLimitUs(server);
    let mem_tofree = state.tofree as i64;
    let mut mem_freed = 0i64;
    let mut keys_freed = 0;
    let mut latency = latencyStartMonitor(server);
    let evictionTimer = elapsedStart();
    let mut failed = false;

    while mem_freed < mem_tofree {
        let Some((bestdbid, bestkey)) = select_key_to_evict(server) else {
            failed = true;
            break;
        };
        let lazy = server.lazyfree_lazy_eviction;
        propagateExpire(server, bestdbid, &bestkey, lazy);

        // Only the memory freed by the deletion is counted. The DEL in the AOF and output buffers
        // may take more memory than the key, and if it counted the loop might never end. These
        // buffers are not part of the limit, and are freed when they are sent.
        let before = zmalloc_used_memory() as i64;
        let mut eviction_latency = latencyStartMonitor(server);
        if lazy {
            dbAsyncDelete(server, bestdbid, &bestkey);
        } else {
            dbSyncDelete(server, bestdbid, &bestkey);
        }
        latencyEndMonitor(server, &mut eviction_latency);
        latencyAddSampleIfNeeded(server, "eviction-del", eviction_latency);
        mem_freed += before - zmalloc_used_memory() as i64;
        server.stat_evictedkeys += 1;
        signalModifiedKey(server, None, bestdbid, &bestkey);
        notifyKeyspaceEvent(server, NOTIFY_EVICTED, "evicted", &bestkey, bestdbid);
        keys_freed += 1;

        if keys_freed % 16 == 0 {
            // Evicting much takes long. Send the DELs to the replicas meanwhile.
            if listLength(&server.slaves) != 0 {
                flushSlavesOutputBuffers(server);
            }
            // Memory freed by another thread is not in `mem_freed`, so check the memory usage now
            // and then.
            if lazy && !getMaxmemoryState(server, false).0 {
                break;
            }
            if elapsedUs(evictionTimer) > eviction_time_limit_us {
                if !server.eviction.isEvictionProcRunning {
                    server.eviction.isEvictionProcRunning = true;
                    aeCreateTimeEvent(&mut server.net.el, 0, evictionTimeProc, 0);
                }
                break;
            }
        }
    }

    let mut result = if server.eviction.isEvictionProcRunning { EVICT_RUNNING } else { EVICT_OK };
    if failed {
        // Nothing is left to evict, but the lazyfree thread may still be freeing memory. Wait for
        // it for a short time.
        result = EVICT_FAIL;
        let mut lazyfree_latency = latencyStartMonitor(server);
        while server.bio.bioPendingJobsOfType(BIO_LAZY_FREE) != 0
            && elapsedUs(evictionTimer) < eviction_time_limit_us
        {
            if !getMaxmemoryState(server, false).0 {
                result = EVICT_OK;
                break;
            }
            usleep(eviction_time_limit_us.min(1000));
        }
        latencyEndMonitor(server, &mut lazyfree_latency);
        latencyAddSampleIfNeeded(server, "eviction-lazyfree", lazyfree_latency);
    }
    latencyEndMonitor(server, &mut latency);
    latencyAddSampleIfNeeded(server, "eviction-cycle", latency);
    result
}
