//! `object.c`: values by themselves: strings as numbers, the memory usage of values, and the
//! commands OBJECT and MEMORY.
//!
//! Read first: the folder keyspace, which defines what a value is; this file has what the C does
//! with one. Differs: there are no reference counts. A value in the keyspace belongs to its key,
//! and a copy is a copy; OBJECT REFCOUNT answers as the C would. Sizes are those of our own
//! structures.

use crate::aof::aofRewriteBufferSize;
use crate::args::Args;
use crate::db::lookupKeyReadWithFlags;
use crate::ds::adlist::listLength;
use crate::ds::longdouble::{LongDouble, string2ld};
use crate::evict::{LFUDecrAndReturn, LFUGetTimeInMinutes, estimateObjectIdleTime};
use crate::keyspace::*;
use crate::networking::*;
use crate::server::sample_memory_stats;
use crate::server_h::*;
use crate::sys::alloc::{ZMALLOC_LIB, jemalloc_purge, jemalloc_stats_text, zmalloc_used_memory};
use crate::util::{ll2string, sdigits10, string2d, string2ll};
use crate::{addReplyErrorFormat, bformat};

/// Numbers below this are shared by all keys in the C.
const OBJ_SHARED_INTEGERS: i64 = 10000;
/// The reference count that the C shows for a shared object.
const OBJ_SHARED_REFCOUNT: i64 = i32::MAX as i64;

/// Tells whether the value of a key of the client's db is not of type `type_`; if so, the error was
/// sent then.
#[inline(always)]
pub fn checkType(server: &mut Server, c: ClientId, o: KeyRef, type_: u8) -> bool {
    let db = server[c].db;
    check_type_in(server, c, db, o, type_)
}

/// Does what `checkType` does, where it is known which db is the client's.
#[inline(always)]
pub fn check_type_in(server: &mut Server, c: ClientId, db: usize, o: KeyRef, type_: u8) -> bool {
    if server.db[db].dict.type_of(o) == type_ {
        return false;
    }
    reply_wrong_type(server, c);
    true
}

/// Tells a client that a key's value is of another type.
#[cold]
fn reply_wrong_type(server: &mut Server, c: ClientId) {
    addReplyErrorObject(server, c, shared::wrongtypeerr);
}

/// Returns the best form to store a string in: a number, if it is the canonical text of one, else
/// its bytes.
#[inline]
pub fn tryObjectEncoding(s: &[u8]) -> Value<'_> {
    // Longer strings are no 64 bit numbers.
    if s.len() <= 20
        && let Some(n) = string2ll(s)
    {
        return Value::Int(n);
    }
    Value::Str(s)
}

/// Returns the bytes of a string value, `None` if it is no string.
pub fn getDecodedObject(o: ValueRef<'_>) -> Option<Vec<u8>> {
    match o {
        ValueRef::Int(n) => Some(ll2string(n).to_vec()),
        ValueRef::Str(s) => Some(s.to_vec()),
        ValueRef::Aggregate(_) => None,
    }
}

/// Returns the length of a string value, in bytes. Panics if it is no string.
pub fn stringObjectLen(o: ValueRef<'_>) -> usize {
    match o {
        ValueRef::Int(n) => sdigits10(n) as usize,
        ValueRef::Str(s) => s.len(),
        ValueRef::Aggregate(_) => panic!("a string is expected"),
    }
}

impl ValueRef<'_> {
    /// Returns a value of its own, equal to this one, which has this encoding (`dupStringObject`
    /// and the `Dup` of each type).
    pub fn to_object(self, encoding: u8) -> Object {
        match self {
            ValueRef::Int(n) => Object::Int(n),
            ValueRef::Str(s) if encoding == OBJ_ENCODING_RAW => Object::Raw(s.to_vec()),
            ValueRef::Str(s) => Object::Str(s.to_vec()),
            ValueRef::Aggregate(a) => Object::Aggregate(a.dup()),
        }
    }
}

// --- Numbers from values and arguments. `OrReply`: on an error the reply was sent, with `msg` if
// one is given.

/// Returns an argument as a double; not NaN.
pub fn getDoubleFromObjectOrReply(
    server: &mut Server,
    c: ClientId,
    o: &[u8],
    msg: Option<&str>,
) -> Result<f64, ()> {
    string2d(o).ok_or_else(|| {
        addReplyError(server, c, msg.unwrap_or("value is not a valid float").as_bytes())
    })
}

/// Returns a string value as a long double (`getLongDoubleFromObject`).
pub fn get_long_double_from_value(o: ValueRef<'_>) -> Option<LongDouble> {
    match o {
        ValueRef::Int(n) => Some(LongDouble::from_i64(n)),
        ValueRef::Str(s) => string2ld(s),
        ValueRef::Aggregate(_) => None,
    }
}

/// Returns an argument as a long double.
pub fn getLongDoubleFromObjectOrReply(
    server: &mut Server,
    c: ClientId,
    o: &[u8],
    msg: Option<&str>,
) -> Result<LongDouble, ()> {
    string2ld(o).ok_or_else(|| {
        addReplyError(server, c, msg.unwrap_or("value is not a valid float").as_bytes())
    })
}

/// Returns a string value as a number (`getLongLongFromObject`).
#[inline]
pub fn get_long_long_from_value(o: ValueRef<'_>) -> Option<i64> {
    match o {
        ValueRef::Int(n) => Some(n),
        ValueRef::Str(s) => string2ll(s),
        ValueRef::Aggregate(_) => None,
    }
}

/// Returns an argument as a number.
pub fn getLongLongFromObjectOrReply(
    server: &mut Server,
    c: ClientId,
    o: &[u8],
    msg: Option<&str>,
) -> Result<i64, ()> {
    string2ll(o).ok_or_else(|| {
        addReplyError(
            server,
            c,
            msg.unwrap_or("value is not an integer or out of range").as_bytes(),
        );
    })
}

/// Returns an argument as a number, as `getLongLongFromObjectOrReply` does: the C's `long` has 64
/// bits too.
pub fn getLongFromObjectOrReply(
    server: &mut Server,
    c: ClientId,
    o: &[u8],
    msg: Option<&str>,
) -> Result<i64, ()> {
    getLongLongFromObjectOrReply(server, c, o, msg)
}

/// Returns an argument as a number from `min` to `max`.
pub fn getRangeLongFromObjectOrReply(
    server: &mut Server,
    c: ClientId,
    o: &[u8],
    min: i64,
    max: i64,
    msg: Option<&str>,
) -> Result<i64, ()> {
    let value = getLongFromObjectOrReply(server, c, o, msg)?;
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    match msg {
        Some(msg) => addReplyError(server, c, msg.as_bytes()),
        None => {
            addReplyErrorFormat!(
                server,
                c,
                "value is out of range, value must between {} and {}",
                min,
                max
            );
        }
    }
    Err(())
}

/// Returns an argument as a number that is not negative.
pub fn getPositiveLongFromObjectOrReply(
    server: &mut Server,
    c: ClientId,
    o: &[u8],
    msg: Option<&str>,
) -> Result<i64, ()> {
    let msg = msg.unwrap_or("value is out of range, must be positive");
    getRangeLongFromObjectOrReply(server, c, o, 0, i64::MAX, Some(msg))
}

/// Returns an argument as a number of 32 bits.
pub fn getIntFromObjectOrReply(
    server: &mut Server,
    c: ClientId,
    o: &[u8],
    msg: Option<&str>,
) -> Result<i32, ()> {
    let (min, max) = (i64::from(i32::MIN), i64::from(i32::MAX));
    getRangeLongFromObjectOrReply(server, c, o, min, max, msg).map(|n| n as i32)
}

/// Returns the name of an encoding, as OBJECT ENCODING shows it.
pub fn strEncoding(encoding: u8) -> &'static str {
    match encoding {
        OBJ_ENCODING_RAW => "raw",
        OBJ_ENCODING_INT => "int",
        OBJ_ENCODING_HT => "hashtable",
        OBJ_ENCODING_QUICKLIST => "quicklist",
        OBJ_ENCODING_ZIPLIST => "ziplist",
        OBJ_ENCODING_INTSET => "intset",
        OBJ_ENCODING_SKIPLIST => "skiplist",
        OBJ_ENCODING_EMBSTR => "embstr",
        OBJ_ENCODING_STREAM => "stream",
        _ => "unknown",
    }
}

// =========================== Memory introspection =========================

/// The number of elements of an aggregate that are sampled to estimate its size.
const OBJ_COMPUTE_SIZE_DEF_SAMPLES: usize = 5;

/// Returns the bytes that a key and its value take up, without their places in the tables. Of an
/// aggregate `sample_size` elements are looked at, and the rest is taken to be like them.
pub fn objectComputeSize(server: &Server, db: usize, o: KeyRef, sample_size: usize) -> usize {
    let block = server.db[db].dict.alloc_size(o);
    match server.db[db].get(o) {
        ValueRef::Int(_) | ValueRef::Str(_) => block,
        ValueRef::Aggregate(a) => block + a.mem_usage(sample_size),
    }
}

/// The use of memory, for INFO and MEMORY STATS. Sizes in bytes.
#[derive(Default)]
pub struct redisMemOverhead {
    pub peak_allocated: usize,
    pub total_allocated: usize,
    pub startup_allocated: usize,
    pub repl_backlog: usize,
    pub clients_slaves: usize,
    pub clients_normal: usize,
    pub aof_buffer: usize,
    pub lua_caches: usize,
    pub overhead_total: usize,
    pub dataset: usize,
    pub total_keys: usize,
    pub bytes_per_key: usize,
    pub dataset_perc: f32,
    pub peak_perc: f32,
    pub total_frag: f32,
    pub total_frag_bytes: i64,
    pub allocator_frag: f32,
    pub allocator_frag_bytes: i64,
    pub allocator_rss: f32,
    pub allocator_rss_bytes: i64,
    pub rss_extra: f32,
    pub rss_extra_bytes: i64,
    /// A db with keys: its number, and the size of its two tables.
    pub db: Vec<(usize, usize, usize)>,
}

/// Collects the use of memory.
pub fn getMemoryOverheadData(server: &Server) -> redisMemOverhead {
    let zmalloc_used = zmalloc_used_memory();
    let cron = &server.cron_malloc_stats;
    let ratio = |a: usize, b: usize| a as f32 / b as f32;
    let excess = |a: usize, b: usize| a as i64 - b as i64;
    let mut mh = redisMemOverhead {
        total_allocated: zmalloc_used,
        startup_allocated: server.initial_memory_usage,
        peak_allocated: server.stat_peak_memory,
        total_frag: ratio(cron.process_rss, cron.zmalloc_used),
        total_frag_bytes: excess(cron.process_rss, cron.zmalloc_used),
        allocator_frag: ratio(cron.allocator_active, cron.allocator_allocated),
        allocator_frag_bytes: excess(cron.allocator_active, cron.allocator_allocated),
        allocator_rss: ratio(cron.allocator_resident, cron.allocator_active),
        allocator_rss_bytes: excess(cron.allocator_resident, cron.allocator_active),
        rss_extra: ratio(cron.process_rss, cron.allocator_resident),
        rss_extra_bytes: excess(cron.process_rss, cron.allocator_resident),
        repl_backlog: if server.repl_backlog { server.repl_backlog_size as usize } else { 0 },
        // The sums that `clientsCronTrackClientsMemUsage` keeps: to add up all clients here would
        // take long.
        clients_slaves: server.stat_clients_type_memory[CLIENT_TYPE_SLAVE]
            + server.clients.repl.excess(),
        clients_normal: server.stat_clients_type_memory[CLIENT_TYPE_MASTER]
            + server.stat_clients_type_memory[CLIENT_TYPE_PUBSUB]
            + server.stat_clients_type_memory[CLIENT_TYPE_NORMAL],
        ..Default::default()
    };
    if server.aof_state != AOF_OFF {
        mh.aof_buffer = server.aof_buf.capacity() + aofRewriteBufferSize(server);
    }
    // The texts of scripts, and who knows them: each with its place in a tree or a table.
    const SHA: usize = size_of::<crate::scripting::ScriptSha>();
    mh.lua_caches = server.lua_scripts_mem
        + server.lua_scripts.len() * size_of::<std::sync::Arc<[u8]>>()
        + server.repl_scriptcache_dict.capacity() * (SHA + 1)
        + server.repl_scriptcache_fifo.capacity() * SHA;
    let mut mem_total = server.initial_memory_usage
        + mh.repl_backlog
        + mh.clients_slaves
        + mh.clients_normal
        + mh.aof_buffer
        + mh.lua_caches;

    for db in server.db.iter().filter(|db| db.dict.len() != 0) {
        mh.total_keys += db.dict.len();
        let (main, expires) = (db.dict.dict().mem_usage(), db.dict.expires().mem_usage());
        mem_total += main + expires;
        mh.db.push((db.id, main, expires));
    }

    mh.overhead_total = mem_total;
    mh.dataset = zmalloc_used.saturating_sub(mem_total);
    mh.peak_perc = zmalloc_used as f32 * 100.0 / mh.peak_allocated as f32;
    // What is used beyond an empty server.
    let net_usage =
        if zmalloc_used > mh.startup_allocated { zmalloc_used - mh.startup_allocated } else { 1 };
    mh.dataset_perc = mh.dataset as f32 * 100.0 / net_usage as f32;
    mh.bytes_per_key = net_usage.checked_div(mh.total_keys).unwrap_or(0);
    mh
}

/// Returns the report of MEMORY DOCTOR: what is unusual about the memory of this server, in prose.
pub fn getMemoryDoctorReport(server: &Server) -> Vec<u8> {
    const MB: i64 = 1 << 20;
    let mh = getMemoryOverheadData(server);
    if mh.total_allocated < 5 << 20 {
        return b"Hi Sam, this instance is empty or is using very little memory, my issues detector can't be used in these conditions. Please, leave for your mission on Earth and fill it with some data. The new Sam and I will be back to our programming as soon as I finished rebooting.\n".to_vec();
    }
    let mut issues = Vec::new();
    if mh.peak_allocated as f32 / mh.total_allocated as f32 > 1.5 {
        issues.extend_from_slice(b" * Peak memory: In the past this instance used more than 150% the memory that is currently using. The allocator is normally not able to release memory after a peak, so you can expect to see a big fragmentation ratio, however this is actually harmless and is only due to the memory peak, and if the Redis instance Resident Set Size (RSS) is currently bigger than expected, the memory will be used as soon as you fill the Redis instance with more data. If the memory peak was only occasional and you want to try to reclaim memory, please try the MEMORY PURGE command, otherwise the only other option is to shutdown and restart the instance.\n\n");
    }
    if mh.total_frag > 1.4 && mh.total_frag_bytes > 10 * MB {
        issues.extend(bformat!(" * High total RSS: This instance has a memory fragmentation and RSS overhead greater than 1.4 (this means that the Resident Set Size of the Redis process is much larger than the sum of the logical allocations Redis performed). This problem is usually due either to a large peak memory (check if there is a peak memory entry above in the report) or may result from a workload that causes the allocator to fragment memory a lot. If the problem is a large peak memory, then there is no issue. Otherwise, make sure you are using the Jemalloc allocator and not the default libc malloc. Note: The currently used allocator is \"{}\".\n\n", ZMALLOC_LIB));
    }
    if mh.allocator_frag > 1.1 && mh.allocator_frag_bytes > 10 * MB {
        issues.extend_from_slice(b" * High allocator fragmentation: This instance has an allocator external fragmentation greater than 1.1. This problem is usually due either to a large peak memory (check if there is a peak memory entry above in the report) or may result from a workload that causes the allocator to fragment memory a lot. You can try enabling 'activedefrag' config option.\n\n");
    }
    if mh.allocator_rss > 1.1 && mh.allocator_rss_bytes > 10 * MB {
        issues.extend_from_slice(b" * High allocator RSS overhead: This instance has an RSS memory overhead is greater than 1.1 (this means that the Resident Set Size of the allocator is much larger than the sum what the allocator actually holds). This problem is usually due to a large peak memory (check if there is a peak memory entry above in the report), you can try the MEMORY PURGE command to reclaim it.\n\n");
    }
    if mh.rss_extra > 1.1 && mh.rss_extra_bytes > 10 * MB {
        issues.extend_from_slice(b" * High process RSS overhead: This instance has non-allocator RSS memory overhead is greater than 1.1 (this means that the Resident Set Size of the Redis process is much larger than the RSS the allocator holds). This problem may be due to Lua scripts or Modules.\n\n");
    }
    let numslaves = listLength(&server.slaves);
    let numclients = listLength(&server.clients.list).saturating_sub(numslaves).max(1);
    if numslaves > 0 && mh.clients_slaves / numslaves > 10 << 20 {
        issues.extend_from_slice(b" * Big replica buffers: The replica output buffers in this instance are greater than 10MB for each replica (on average). This likely means that there is some replica instance that is struggling receiving data, either because it is too slow or because of networking issues. As a result, data piles on the master output buffers. Please try to identify what replica is not receiving data correctly and why. You can use the INFO output in order to check the replicas delays and the CLIENT LIST command to check the output buffers of each replica.\n\n");
    }
    if mh.clients_normal / numclients > 200 << 10 {
        issues.extend_from_slice(b" * Big client buffers: The clients output buffers in this instance are greater than 200K per client (on average). This may result from different causes, like Pub/Sub clients subscribed to channels bot not receiving data fast enough, so that data piles on the Redis instance output buffer, or clients sending commands with large replies or very large sequences of commands in the same pipeline. Please use the CLIENT LIST command in order to investigate the issue if it causes problems in your instance, or to understand better why certain clients are using a big amount of memory.\n\n");
    }
    if server.lua_scripts.len() > 1000 {
        issues.extend_from_slice(b" * Many scripts: There seem to be many cached scripts in this instance (more than 1000). This may be because scripts are generated and `EVAL`ed, instead of being parameterized (with KEYS and ARGV), `SCRIPT LOAD`ed and `EVALSHA`ed. Unless `SCRIPT FLUSH` is called periodically, the scripts' caches may end up consuming most of your memory.\n\n");
    }
    if issues.is_empty() {
        return b"Hi Sam, I can't find any memory issue in your instance. I can only account for what occurs on this base.\n".to_vec();
    }
    let mut s =
        b"Sam, I detected a few issues in this Redis instance memory implants:\n\n".to_vec();
    s.append(&mut issues);
    s.extend_from_slice(b"I'm here to keep you safe, Sam. I want to help you.\n");
    s
}

/// Returns the LRU or LFU field of a value, whichever the policy uses, of which a file, or RESTORE,
/// says how often or how long ago it was used: from a frequency (LFU), or from an idle time in
/// units of which `lru_multiplier` milliseconds make one, counted from `lru_clock` (LRU). Below 0
/// neither is known. `None`: nothing is to be set.
pub fn objectSetLRUOrLFU(
    server: &Server,
    lfu_freq: i64,
    lru_idle: i64,
    lru_clock: i64,
    lru_multiplier: i64,
) -> Option<u32> {
    if server.maxmemory_policy & MAXMEMORY_FLAG_LFU != 0 {
        let freq = u8::try_from(lfu_freq).ok()?;
        return Some(LFUGetTimeInMinutes(server) << 8 | u32::from(freq));
    }
    if lru_idle < 0 {
        return None;
    }
    let lru_idle = lru_idle.saturating_mul(lru_multiplier) / i64::from(LRU_CLOCK_RESOLUTION);
    let lru_abs = lru_clock.saturating_sub(lru_idle);
    // Longer ago than the clock can tell: half a turn of the clock away it stays old for long.
    let max = i64::from(LRU_CLOCK_MAX);
    Some((if lru_abs < 0 { (lru_clock + max / 2) % max } else { lru_abs }) as u32)
}

// ======================= The OBJECT and MEMORY commands ===================

/// Looks up the key of an OBJECT command and changes nothing by doing so. A missing key gets a
/// null.
fn objectCommandLookupOrReply(server: &mut Server, c: ClientId, key: &[u8]) -> Option<KeyRef> {
    let db = server[c].db;
    let o = lookupKeyReadWithFlags(server, db, key, LOOKUP_NOTOUCH | LOOKUP_NONOTIFY);
    if o.is_none() {
        addReply(server, c, shared::null);
    }
    o
}

/// Returns the reference count that the C would show: a small number is one object for all its
/// keys, unless each key needs its own LRU field.
pub fn refcount(server: &Server, o: ValueRef<'_>) -> i64 {
    let shares = server.maxmemory == 0
        || server.maxmemory_policy & (MAXMEMORY_FLAG_LRU | MAXMEMORY_FLAG_LFU) == 0;
    match o {
        ValueRef::Int(n) if shares && (0..OBJ_SHARED_INTEGERS).contains(&n) => OBJ_SHARED_REFCOUNT,
        _ => 1,
    }
}

/// OBJECT ENCODING|FREQ|IDLETIME|REFCOUNT key, OBJECT HELP
pub fn objectCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let is = |name: &str| argv[1].eq_ignore_ascii_case(name.as_bytes());
    let db = server[c].db;
    if argv.len() == 2 && is("help") {
        let help = [
            "ENCODING <key>",
            "    Return the kind of internal representation used in order to store the value",
            "    associated with a <key>.",
            "FREQ <key>",
            "    Return the access frequency index of the <key>. The returned integer is",
            "    proportional to the logarithm of the recent access frequency of the key.",
            "IDLETIME <key>",
            "    Return the idle time of the <key>, that is the approximated number of",
            "    seconds elapsed since the last access to the key.",
            "REFCOUNT <key>",
            "    Return the number of references of the value associated with the specified",
            "    <key>.",
        ];
        addReplyHelp(server, c, argv, &help);
    } else if is("refcount") && argv.len() == 3 {
        let Some(o) = objectCommandLookupOrReply(server, c, &argv[2]) else { return };
        let count = refcount(server, server.db[db].get(o));
        addReplyLongLong(server, c, count);
    } else if is("encoding") && argv.len() == 3 {
        let Some(o) = objectCommandLookupOrReply(server, c, &argv[2]) else { return };
        let name = strEncoding(server.db[db].dict.encoding(o));
        addReplyBulkCBuffer(server, c, name.as_bytes());
    } else if is("idletime") && argv.len() == 3 {
        let Some(o) = objectCommandLookupOrReply(server, c, &argv[2]) else { return };
        if server.maxmemory_policy & MAXMEMORY_FLAG_LFU != 0 {
            addReplyError(server, c, b"An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.");
            return;
        }
        let idle = estimateObjectIdleTime(server, server.db[db].dict.lru(o));
        addReplyLongLong(server, c, (idle / 1000) as i64);
    } else if is("freq") && argv.len() == 3 {
        let Some(o) = objectCommandLookupOrReply(server, c, &argv[2]) else { return };
        if server.maxmemory_policy & MAXMEMORY_FLAG_LFU == 0 {
            addReplyError(server, c, b"An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.");
            return;
        }
        // The field was last updated when the key was last accessed; since then the counter has
        // decayed.
        let freq = LFUDecrAndReturn(server, server.db[db].dict.lru(o));
        addReplyLongLong(server, c, i64::from(freq));
    } else {
        addReplySubcommandSyntaxError(server, c, argv);
    }
}

/// MEMORY USAGE key [SAMPLES count]
fn memory_usage_command(server: &mut Server, c: ClientId, argv: &Args) {
    let mut samples = OBJ_COMPUTE_SIZE_DEF_SAMPLES;
    let mut j = 3;
    while j < argv.len() {
        if !argv[j].eq_ignore_ascii_case(b"samples") || j + 1 >= argv.len() {
            addReplyErrorObject(server, c, shared::syntaxerr);
            return;
        }
        match getLongLongFromObjectOrReply(server, c, &argv[j + 1], None) {
            Err(()) => return,
            Ok(..0) => {
                addReplyErrorObject(server, c, shared::syntaxerr);
                return;
            }
            Ok(0) => samples = usize::MAX,
            Ok(n) => samples = n as usize,
        }
        j += 2;
    }
    let db = server[c].db;
    let Some(o) = server.db[db].dict.find(&argv[2]) else {
        addReplyNull(server, c);
        return;
    };
    // The key's place in the table: a pointer and a tag.
    let usage = objectComputeSize(server, db, o, samples) + size_of::<u64>() + 1;
    addReplyLongLong(server, c, usage as i64);
}

/// MEMORY STATS
fn memory_stats_command(server: &mut Server, c: ClientId) {
    sample_memory_stats(server);
    let mh = getMemoryOverheadData(server);
    let cron = server.cron_malloc_stats;
    let integer = |server: &mut Server, name: &str, n: i64| {
        addReplyBulkCString(server, c, name.as_bytes());
        addReplyLongLong(server, c, n);
    };
    let double = |server: &mut Server, name: &str, d: f32| {
        addReplyBulkCString(server, c, name.as_bytes());
        addReplyDouble(server, c, f64::from(d));
    };
    addReplyMapLen(server, c, 25 + mh.db.len());
    integer(server, "peak.allocated", mh.peak_allocated as i64);
    integer(server, "total.allocated", mh.total_allocated as i64);
    integer(server, "startup.allocated", mh.startup_allocated as i64);
    integer(server, "replication.backlog", mh.repl_backlog as i64);
    integer(server, "clients.slaves", mh.clients_slaves as i64);
    integer(server, "clients.normal", mh.clients_normal as i64);
    integer(server, "aof.buffer", mh.aof_buffer as i64);
    integer(server, "lua.caches", mh.lua_caches as i64);
    for (dbid, main, expires) in &mh.db {
        addReplyBulkCString(server, c, format!("db.{dbid}").as_bytes());
        addReplyMapLen(server, c, 2);
        integer(server, "overhead.hashtable.main", *main as i64);
        integer(server, "overhead.hashtable.expires", *expires as i64);
    }
    integer(server, "overhead.total", mh.overhead_total as i64);
    integer(server, "keys.count", mh.total_keys as i64);
    integer(server, "keys.bytes-per-key", mh.bytes_per_key as i64);
    integer(server, "dataset.bytes", mh.dataset as i64);
    double(server, "dataset.percentage", mh.dataset_perc);
    double(server, "peak.percentage", mh.peak_perc);
    integer(server, "allocator.allocated", cron.allocator_allocated as i64);
    integer(server, "allocator.active", cron.allocator_active as i64);
    integer(server, "allocator.resident", cron.allocator_resident as i64);
    double(server, "allocator-fragmentation.ratio", mh.allocator_frag);
    integer(server, "allocator-fragmentation.bytes", mh.allocator_frag_bytes);
    double(server, "allocator-rss.ratio", mh.allocator_rss);
    integer(server, "allocator-rss.bytes", mh.allocator_rss_bytes);
    double(server, "rss-overhead.ratio", mh.rss_extra);
    integer(server, "rss-overhead.bytes", mh.rss_extra_bytes);
    double(server, "fragmentation", mh.total_frag);
    integer(server, "fragmentation.bytes", mh.total_frag_bytes);
}

/// MEMORY USAGE|STATS|MALLOC-STATS|DOCTOR|PURGE|HELP
pub fn memoryCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let is = |name: &str| argv[1].eq_ignore_ascii_case(name.as_bytes());
    if is("help") && argv.len() == 2 {
        let help = [
            "DOCTOR",
            "    Return memory problems reports.",
            "MALLOC-STATS    Return internal statistics report from the memory allocator.",
            "PURGE",
            "    Attempt to purge dirty pages for reclamation by the allocator.",
            "STATS",
            "    Return information about the memory usage of the server.",
            "USAGE <key> [SAMPLES <count>]",
            "    Return memory in bytes used by <key> and its value. Nested values are",
            "    sampled up to <count> times (default: 5).",
        ];
        addReplyHelp(server, c, argv, &help);
    } else if is("usage") && argv.len() >= 3 {
        memory_usage_command(server, c, argv);
    } else if is("stats") && argv.len() == 2 {
        memory_stats_command(server, c);
    } else if is("malloc-stats") && argv.len() == 2 {
        addReplyVerbatim(server, c, &jemalloc_stats_text(), "txt");
    } else if is("doctor") && argv.len() == 2 {
        sample_memory_stats(server);
        let report = getMemoryDoctorReport(server);
        addReplyVerbatim(server, c, &report, "txt");
    } else if is("purge") && argv.len() == 2 {
        match jemalloc_purge() {
            Ok(()) => addReply(server, c, shared::ok),
            Err(()) => addReplyError(server, c, b"Error purging dirty pages"),
        }
    } else {
        addReplySubcommandSyntaxError(server, c, argv);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long ago and how often a value was used, as RESTORE and files have it.
    #[test]
    fn usage_information() {
        let mut server = Server { maxmemory_policy: MAXMEMORY_NO_EVICTION, ..Default::default() };
        let set = objectSetLRUOrLFU;
        assert_eq!(set(&server, 5, -1, 1000, 1000), None);
        assert_eq!(set(&server, -1, 10, 1000, 1000), Some(990));
        assert_eq!(set(&server, -1, 10_000, 1000, 1), Some(990));
        assert_eq!(set(&server, -1, 1001, 1000, 1000), Some(1000 + LRU_CLOCK_MAX / 2));
        assert_eq!(set(&server, -1, i64::MAX, 1000, 1000), Some(1000 + LRU_CLOCK_MAX / 2));
        server.maxmemory_policy = MAXMEMORY_VOLATILE_LFU;
        assert_eq!(set(&server, -1, 10, 1000, 1000), None);
        server.unixtime = 60 * 70_000;
        assert_eq!(set(&server, 255, 10, 1000, 1000), Some((70_000 & 0xffff) << 8 | 255));
    }
}
