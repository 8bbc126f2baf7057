//! `evict.c`: the clocks behind LRU and LFU, and what happens at `maxmemory`.
//!
//! Read first: `performEvictions`, then `evictionPoolPopulate`.
//! Differs: what the C keeps in static variables is `server.eviction`. The pool is a vector, ordered by idle time, of keys
//! by name.

use crate::ae::{AE_NOMORE, aeCreateTimeEvent};
use crate::aof::aofRewriteBufferSize;
use crate::bio::BIO_LAZY_FREE;
use crate::db::{dbFind, dbSyncDelete, propagateExpire, signalModifiedKey};
use crate::ds::adlist::listLength;
use crate::keyspace::KeyRef;
use crate::latency::{latencyAddSampleIfNeeded, latencyEndMonitor, latencyStartMonitor};
use crate::lazyfree::dbAsyncDelete;
use crate::networking::{
    checkClientPauseTimeoutAndReturnIfPaused, flushSlavesOutputBuffers,
    getClientOutputBufferMemoryUsage,
};
use crate::notify::notifyKeyspaceEvent;
use crate::server_h::*;
use crate::sys::alloc::zmalloc_used_memory;
use crate::sys::clock::{elapsedStart, elapsedUs, mstime, usleep};
use crate::sys::random::randomU64;

// ----------------------------------------------------------------------------
// Data structures
// ----------------------------------------------------------------------------

/// The best candidates found so far, over several calls of `performEvictions`.
const EVPOOL_SIZE: usize = 16;

/// A candidate. The key may be gone by the time it is looked at.
struct evictionPoolEntry {
    /// Idle time in milliseconds; for other policies a number that is larger for a better candidate.
    idle: u64,
    key: Vec<u8>,
    dbid: usize,
}

/// What eviction remembers from one call to the next.
#[derive(Default)]
pub struct Eviction {
    /// By idle time, the best candidate last.
    pool: Vec<evictionPoolEntry>,
    /// For the random policies: the db to look at next.
    next_db: usize,
    /// A time event goes on with what a call could not finish.
    isEvictionProcRunning: bool,
}

/// Memory is fine, or nothing can be evicted now.
pub const EVICT_OK: i32 = 0;
/// Over the limit, and eviction goes on in a time event.
pub const EVICT_RUNNING: i32 = 1;
/// Over the limit, and there is nothing to evict.
pub const EVICT_FAIL: i32 = 2;

// ----------------------------------------------------------------------------
// Implementation of eviction, aging and LRU
// ----------------------------------------------------------------------------

/// The LRU clock: seconds, in 24 bits.
pub fn getLRUClock() -> u32 {
    ((mstime() / i64::from(LRU_CLOCK_RESOLUTION)) & i64::from(LRU_CLOCK_MAX)) as u32
}

/// The same, from the server's cache if that is fresh enough.
pub fn LRU_CLOCK(server: &Server) -> u32 {
    if 1000 / server.hz <= LRU_CLOCK_RESOLUTION as i32 { server.lruclock } else { getLRUClock() }
}

/// What the LRU or LFU field of a new value is.
#[inline]
pub fn newObjectLru(server: &Server) -> u32 {
    if server.maxmemory_policy & MAXMEMORY_FLAG_LFU != 0 {
        LFUGetTimeInMinutes(server) << 8 | LFU_INIT_VAL
    } else {
        server.lruclock
    }
}

/// For how long, in milliseconds, a value with this LRU field was not asked for, as well as 24 bits can tell.
pub fn estimateObjectIdleTime(server: &Server, lru: u32) -> u64 {
    let lruclock = LRU_CLOCK(server);
    let seconds = if lruclock >= lru { lruclock - lru } else { lruclock + (LRU_CLOCK_MAX - lru) };
    u64::from(seconds) * u64::from(LRU_CLOCK_RESOLUTION)
}

// LRU approximation algorithm
//
// The true order of access is not kept. To evict, some keys are sampled, and the best are put into a pool that outlives the
// call. The best of the pool goes. A key that was deleted meanwhile is a ghost: the next best is tried, and when all are
// ghosts, the pool is filled again.

/// Fills the pool from a sample of the keys of a db: of all, or of those that expire.
pub fn evictionPoolPopulate(server: &mut Server, dbid: usize, allkeys: bool) {
    let mut samples: Vec<KeyRef> = Vec::new();
    let dict = &server.db[dbid].dict;
    let count = server.maxmemory_samples as usize;
    if allkeys {
        dict.get_some_keys(count, randomU64, |o| samples.push(o));
    } else {
        dict.get_some_expires(count, randomU64, |o| samples.push(o));
    }
    for o in samples {
        let dict = &server.db[dbid].dict;
        // A number that is larger for what should go first: idle time, the reverse of a frequency, or of a time to live.
        let idle = if server.maxmemory_policy & MAXMEMORY_FLAG_LRU != 0 {
            estimateObjectIdleTime(server, dict.lru(o))
        } else if server.maxmemory_policy & MAXMEMORY_FLAG_LFU != 0 {
            u64::from(255 - LFUDecrAndReturn(server, dict.lru(o)))
        } else {
            u64::MAX - dict.expire(o).unwrap_or(i64::MAX) as u64
        };

        // Insert it in its place. A full pool drops its worst, which may be this one.
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

// ----------------------------------------------------------------------------
// LFU (Least Frequently Used) implementation.
//
// The 24 bits hold when the counter was last decremented, in minutes (16 bits), and a logarithmic counter of accesses (8
// bits). The counter goes up with a probability that falls the higher it is, and down with time, so that what was popular
// once does not stay for ever. A new key starts at 5, for it must have a chance to be found.
// ----------------------------------------------------------------------------

/// The counter of a new key.
pub const LFU_INIT_VAL: u32 = 5;

/// The time in minutes, in 16 bits.
pub fn LFUGetTimeInMinutes(server: &Server) -> u32 {
    ((server.unixtime / 60) & 65535) as u32
}

/// Minutes since the time `ldt`, taking it to have wrapped around at most once.
pub fn LFUTimeElapsed(server: &Server, ldt: u32) -> u32 {
    let now = LFUGetTimeInMinutes(server);
    if now >= ldt { now - ldt } else { 65535 - ldt + now }
}

/// Increments a counter, the less likely the higher it is; it stays at 255.
pub fn LFULogIncr(server: &Server, counter: u32) -> u32 {
    if counter == 255 {
        return 255;
    }
    let r = (randomU64() >> 11) as f64 / (1u64 << 53) as f64;
    let baseval = f64::from(counter.saturating_sub(LFU_INIT_VAL));
    let p = 1.0 / (baseval * f64::from(server.lfu_log_factor) + 1.0);
    counter + u32::from(r < p)
}

/// The counter in an LFU field, decremented for the time since it last was. The field itself changes when the value is
/// accessed.
pub fn LFUDecrAndReturn(server: &Server, lru: u32) -> u32 {
    let (ldt, counter) = (lru >> 8, lru & 255);
    let num_periods = if server.lfu_decay_time != 0 {
        LFUTimeElapsed(server, ldt) / server.lfu_decay_time as u32
    } else {
        0
    };
    counter.saturating_sub(num_periods)
}

/// Memory that does not count against the limit, in bytes: what waits to be sent to replicas, or written to the append only
/// file. If it did count, evicting would fill it with DELs, which would make us evict more.
pub fn freeMemoryGetNotCountedMemory(server: &Server) -> usize {
    let slaves: usize =
        server.slaves.iter().map(|&slave| getClientOutputBufferMemoryUsage(&server[slave])).sum();
    let aof = match server.aof_state {
        AOF_OFF => 0,
        _ => server.aof_buf.capacity() + aofRewriteBufferSize(server),
    };
    slaves + aof
}

/// How memory stands against the limit.
#[derive(Copy, Clone, Default)]
pub struct MaxmemoryState {
    /// All memory used, in bytes.
    pub total: usize,
    /// What counts of it, and what has to be freed; only if the limit is exceeded.
    pub logical: usize,
    pub tofree: usize,
    /// Used memory as a part of the limit; above 1 if it is exceeded, 0 if there is none.
    pub level: f32,
}

/// How memory stands, and whether the limit is exceeded. `level` is computed only if it is asked for, which takes longer.
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

/// Whether `moremem` bytes more would exceed the limit.
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

/// Goes on evicting, a little in every turn of the event loop, until memory is fine or nothing is left.
fn evictionTimeProc(server: &mut Server, _id: i64, _clientData: u64) -> i64 {
    if performEvictions(server) == EVICT_RUNNING {
        return 0;
    }
    server.eviction.isEvictionProcRunning = false;
    AE_NOMORE
}

/// Whether keys may be evicted now: not while we load, not on a replica that leaves this to its master, and not while
/// clients are paused.
fn isSafeToPerformEvictions(server: &mut Server) -> bool {
    if server.loading || (server.masterhost.is_some() && server.repl_slave_ignore_maxmemory) {
        return false;
    }
    !checkClientPauseTimeoutAndReturnIfPaused(server)
}

/// How long one call may take, in microseconds: up to half a millisecond for the lower tenacities, then growing by 15% a
/// step, to two minutes; 100 has no limit.
fn evictionTimeLimitUs(server: &Server) -> u64 {
    match server.maxmemory_eviction_tenacity {
        tenacity @ 0..=10 => 50 * tenacity as u64,
        tenacity @ 11..=99 => (500.0 * 1.15f64.powf(f64::from(tenacity) - 10.0)) as u64,
        _ => u64::MAX,
    }
}

/// The key that should go next, if there is one.
fn selectKeyToEvict(server: &mut Server) -> Option<(usize, Vec<u8>)> {
    let policy = server.maxmemory_policy;
    let allkeys = policy & MAXMEMORY_FLAG_ALLKEYS != 0;
    let size = |server: &Server, db: usize| {
        let dict = &server.db[db].dict;
        if allkeys { dict.len() } else { dict.expires_len() }
    };

    if policy & (MAXMEMORY_FLAG_LRU | MAXMEMORY_FLAG_LFU) != 0 || policy == MAXMEMORY_VOLATILE_TTL {
        loop {
            // Sample all dbs: the choice is not one db's.
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
            // From the best to the worst, past the ghosts.
            while let Some(entry) = server.eviction.pool.pop() {
                let found = dbFind(server, entry.dbid, &entry.key);
                if found.is_some_and(|o| allkeys || server.db[entry.dbid].dict.expire(o).is_some())
                {
                    return Some((entry.dbid, entry.key));
                }
            }
        }
    }

    // The random policies take a key of each db in turn.
    for _ in 0..server.db.len() {
        server.eviction.next_db = (server.eviction.next_db + 1) % server.db.len();
        let db = server.eviction.next_db;
        if size(server, db) != 0 {
            let dict = &server.db[db].dict;
            let o =
                if allkeys { dict.random_key(randomU64) } else { dict.random_expire(randomU64) };
            return o.map(|o| (db, dict.key(o).to_vec()));
        }
    }
    None
}

/// Evicts keys if memory is over the limit, and if it is safe to do so. Called before every command; where it says
/// `EVICT_FAIL`, commands that take memory have to be refused.
///
/// Memory can be far over the limit all of a sudden: a table grew, or the limit was lowered. So this does not stay until all
/// is well, but for a limited time, and a time event goes on.
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
        let Some((bestdbid, bestkey)) = selectKeyToEvict(server) else {
            failed = true;
            break;
        };
        let lazy = server.lazyfree_lazy_eviction;
        propagateExpire(server, bestdbid, &bestkey, lazy);

        // Only what the deletion frees counts. Telling the replicas may take more memory than that, and if it counted the
        // loop might never end. Their buffers will be sent, and gone.
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
            // Much to evict takes long, and the replicas want their data meanwhile.
            if listLength(&server.slaves) != 0 {
                flushSlavesOutputBuffers(server);
            }
            // What another thread frees is not in `mem_freed`: look.
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
        // Nothing is left to evict, but the thread may still be freeing. Wait for it, a little.
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
