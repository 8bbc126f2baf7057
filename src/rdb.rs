//! `rdb.c`: the RDB format, in which all data is saved to one file and loaded from it, and the
//! child process that saves in the background.
//!
//! # The file
//!
//! ```text
//!     REDIS0009                                 magic and version
//!     FA <name> <value> ...                     AUX: the writer, the replication offset
//!     FE <db> FB <keys> <keys that expire>      SELECTDB, RESIZEDB
//!     [FC <ms>] [F8 <idle> | F9 <freq>] <type> <key> <value> ...
//!     FF <crc64>
//! ```
//!
//! A length takes 1, 2, 5 or 9 bytes; the first two bits of its first byte tell which. Their fourth
//! value says that no length follows but a string in a special encoding: an integer of 1, 2 or 4
//! bytes, or a string compressed by LZF.
//!
//! # Saving
//!
//! SAVE writes the file in the server itself, which serves nobody meanwhile. BGSAVE, the save
//! points of the configuration and the first synchronization of a replica fork a child, whose
//! memory is a snapshot of the data by copy-on-write. The child writes a temporary file, and
//! renames it when it is complete; the parent learns of it from the exit code (`checkChildrenDone`
//! calls `backgroundSaveDoneHandler`). The child sends its progress and the size of the memory that
//! was copied through a pipe (`childinfo.rs`).
//!
//! # Loading
//!
//! A file is loaded at the start, by DEBUG RELOAD, on a replica when its master has sent it, and as
//! the first part of an AOF. A server with part of its data would pass for one with all of it, so
//! an error in a file ends the process. The payload of a RESTORE is parsed by the same functions;
//! there, an error is only a reply. Events are processed while a file is loaded, so that clients
//! get `-LOADING` instead of no reply at all.
//!
//! # Read first
//!
//! `rdbSaveRio` with `rdbSaveKeyValuePair`, then `rdbLoadRio`. Each value type is handled in
//! `rdbSaveObjectType`, `rdbSaveObject` and `rdbLoadObject`, and nowhere else.
//!
//! # Absent
//!
//! Modules.
//!
//! # Differs
//!
//! - Version 9 is written. Versions 1 to 12 of Redis and 80 and 81 of Valkey are read, as far as
//!   their values can be converted to the encodings of Redis 6.2; the C reads up to 9.
//! - `sanitize-dump-payload` is `yes` by default: packed values are validated element by element
//!   when they are loaded. A corrupt one would otherwise abort the process when a command reads it
//!   (`redisassert.rs`). A few cheap checks are made even with `no`, where the damage could do
//!   worse than abort.
//! - A string is borrowed from the read buffer and copied once, into its key's block. Keys are
//!   added in batches, so that the cache misses of their buckets overlap.
//! - Sizes that the file claims are not trusted: memory is allocated as bytes arrive.
//! - Functions that may wait for bytes take the server, because they process events meanwhile.

use std::collections::HashSet;
use std::io;
use std::mem::take;
use std::os::fd::RawFd;

use crate::anet::anetNonBlock;
use crate::aof::aofReadDiffFromParent;
use crate::args::{Args, Argv};
use crate::blocked::queueClientForReprocessing;
use crate::debug::debugDelay;
use crate::ds::adlist::{listNext, listRewind};
use crate::ds::dict::{
    DICT_HT_INITIAL_SIZE, DictBatch, PairEntry, SdsEntry, dict_add_batch, dict_add_later,
    dictExpand, dictSize,
};

use crate::ds::intset::*;
use crate::ds::listpack::*;
use crate::ds::lzf::{LzfState, lzf_compress, lzf_decompress};
use crate::ds::quicklist::*;
use crate::ds::rax::*;
use crate::ds::strset::*;
use crate::ds::ziplist::*;
use crate::ds::zipmap::*;
use crate::evict::{LFUDecrAndReturn, LRU_CLOCK, estimateObjectIdleTime, initial_lru};
use crate::keyspace::{
    Aggregate, AggregateRef, Entry, Keyspace, OBJ_ENCODING_SKIPLIST, Object, Value, ValueRef,
};
use crate::latency::{latencyAddSampleIfNeeded, latencyEndMonitor, latencyStartMonitor};
use crate::log::{LL_DEBUG, LL_NOTICE, LL_VERBOSE, LL_WARNING};
use crate::networking::{
    addReply, addReplyError, addReplyErrorObject, addReplyStatus, processEventsWhileBlocked, shared,
};
use crate::object::{objectSetLRUOrLFU, tryObjectEncoding};
use crate::redis_check_rdb::redis_check_rdb_main;
use crate::replication::{
    bg_unlink, getPsyncInitialOffset, replicationFeedSlaves, replicationSendNewlineToMaster,
    replicationSetupSlaveForFullResync, updateSlavesWaitingBgsave, watch_rdb_pipe,
};
use crate::rio::*;
use crate::scripting::create_function;
use crate::server::{
    blockingOperationEnds, blockingOperationStarts, exitFromChild, hasActiveChildProcess,
    redisFork, redisSetCpuAffinity, redisSetProcTitle, sendChildCowInfo, sendChildInfo,
};
use crate::server_h::*;
use crate::sys::alloc::{fallibly, zmalloc_used_memory};
use crate::sys::clock::{mstime, steady_ms};
use crate::sys::errno::error_text;
use crate::sys::file::{file_size, fsync, getcwd, open, rename, unlink};
use crate::sys::fork::{Fork, getpid, kill};
use crate::sys::pipe::pipe;
use crate::sys::random::getRandomHexChars;
use crate::sys::signal;
use crate::sys::socket::{close, read};
use crate::types::t_hash::{
    Hash, HashRef, createHashObject, hashTypeConvert, hashTypeLength, hashZiplistValidateIntegrity,
};
use crate::types::t_set::{Set, SetRef, setTypeConvert, table_of_strings};
use crate::types::t_stream::*;
use crate::types::t_zset::*;
use crate::util::{
    B, atoi, c_str, eq_ignore_case, format_17g, ll2string, string2ll, strtod, strtoll,
};
use crate::{bformat, serverLog, trace, trace_replstate};

/// The version of the format that this server writes.
pub const RDB_VERSION: i32 = 9;
/// The newest version of the format that this server reads, of those that Redis writes.
pub const RDB_VERSION_LOAD: i32 = 12;
/// The versions of the format that this server reads, of those that Valkey writes from 9.0 on. A
/// file of one of them begins with `VALKEY` and three digits. Up to 21, the types of a value have
/// the same numbers in the formats of both; those above do not.
pub const RDB_VERSION_VALKEY: std::ops::RangeInclusive<i32> = 80..=81;

// How a length is encoded. Values up to 3 are the first two bits of its first byte, the larger ones
// the whole byte:
//
// - `00|LLLLLL`: the length is in these six bits.
// - `01|LLLLLL LLLLLLLL`: 14 bits, the high ones first.
// - `10|000000` and four bytes, big endian.
// - `10|000001` and eight bytes, big endian.
// - `11|EEEEEE`: no length; a string in the encoding `RDB_ENC_*` follows.
pub const RDB_6BITLEN: u8 = 0;
pub const RDB_14BITLEN: u8 = 1;
pub const RDB_32BITLEN: u8 = 0x80;
pub const RDB_64BITLEN: u8 = 0x81;
pub const RDB_ENCVAL: u8 = 3;
/// The length that stands for an error: no data structure can have so many elements.
pub const RDB_LENERR: u64 = u64::MAX;

// Special encodings of a string.
/// An integer of 8 bits.
pub const RDB_ENC_INT8: u8 = 0;
/// An integer of 16 bits, little endian.
pub const RDB_ENC_INT16: u8 = 1;
/// An integer of 32 bits, little endian.
pub const RDB_ENC_INT32: u8 = 2;
/// Compressed by LZF: the compressed length, the original length, and the compressed bytes.
pub const RDB_ENC_LZF: u8 = 3;

// Value types, as they are written to the file. A number once given is never used for another type,
// so that old files stay readable.
/// A string.
pub const RDB_TYPE_STRING: u8 = 0;
/// The number of elements, and each as a string.
pub const RDB_TYPE_LIST: u8 = 1;
/// The number of members, and each as a string.
pub const RDB_TYPE_SET: u8 = 2;
/// The number of members, and each as a string with its score as text.
pub const RDB_TYPE_ZSET: u8 = 3;
/// The number of fields, and each as two strings, the field and its value.
pub const RDB_TYPE_HASH: u8 = 4;
/// The number of members, and each as a string with its score in binary, from version 8 on.
pub const RDB_TYPE_ZSET_2: u8 = 5;
/// A module's value in the module's own format, which can't be skipped without the module.
pub const RDB_TYPE_MODULE: u8 = 6;
/// A module's value with an opcode before each part (`RDB_MODULE_OPCODE_*`).
pub const RDB_TYPE_MODULE_2: u8 = 7;
/// A zipmap as one string, before version 4.
pub const RDB_TYPE_HASH_ZIPMAP: u8 = 9;
/// A ziplist of all elements as one string.
pub const RDB_TYPE_LIST_ZIPLIST: u8 = 10;
/// An intset as one string.
pub const RDB_TYPE_SET_INTSET: u8 = 11;
/// A ziplist of members and scores as one string.
pub const RDB_TYPE_ZSET_ZIPLIST: u8 = 12;
/// A ziplist of fields and values as one string.
pub const RDB_TYPE_HASH_ZIPLIST: u8 = 13;
/// The number of nodes, and each as a ziplist in one string.
pub const RDB_TYPE_LIST_QUICKLIST: u8 = 14;
/// A stream: see `rdb_save_stream`.
pub const RDB_TYPE_STREAM_LISTPACKS: u8 = 15;
// From version 10 on.
/// A listpack of fields and values as one string.
pub const RDB_TYPE_HASH_LISTPACK: u8 = 16;
/// A listpack of members and scores as one string.
pub const RDB_TYPE_ZSET_LISTPACK: u8 = 17;
/// The number of nodes, and each as its container and a string.
pub const RDB_TYPE_LIST_QUICKLIST_2: u8 = 18;
/// A stream, with more ids and counts of entries.
pub const RDB_TYPE_STREAM_LISTPACKS_2: u8 = 19;
// From version 11 on.
/// A listpack of members as one string.
pub const RDB_TYPE_SET_LISTPACK: u8 = 20;
/// A stream as before, whose consumers also have the time of their last activity.
pub const RDB_TYPE_STREAM_LISTPACKS_3: u8 = 21;
// From version 12 on: hashes whose fields may have an expiration time.
/// A hash as the release candidates of 7.4 wrote it, which is not loaded.
pub const RDB_TYPE_HASH_METADATA_PRE_GA: u8 = 22;
/// A hash in a listpack as the release candidates of 7.4 wrote it, which is not loaded.
pub const RDB_TYPE_HASH_LISTPACK_EX_PRE_GA: u8 = 23;
/// The earliest expiration time, the number of fields, and each with its expiration time.
pub const RDB_TYPE_HASH_METADATA: u8 = 24;
/// The earliest expiration time, and a listpack of fields, values and expiration times.
pub const RDB_TYPE_HASH_LISTPACK_EX: u8 = 25;
// In the versions of Valkey, 80 and on.
/// The number of fields, and each as two strings with its expiration time, -1 for none.
pub const RDB_TYPE_HASH_2: u8 = 22;
/// Paths with fields and values below each, from version 81 on, which is not loaded.
pub const RDB_TYPE_PATH_HASH: u8 = 23;

/// The names of the value types by number, as error messages and redis-check-rdb show them:
/// [`rdb_type_name`].
const RDB_TYPE_NAMES: [&str; 26] = [
    "string",
    "list-linked",
    "set-hashtable",
    "zset-v1",
    "hash-hashtable",
    "zset-v2",
    "module-value",
    "",
    "",
    "hash-zipmap",
    "list-ziplist",
    "set-intset",
    "zset-ziplist",
    "hash-ziplist",
    "quicklist",
    "stream",
    "hash-listpack",
    "zset-listpack",
    "quicklist-v2",
    "stream-v2",
    "set-listpack",
    "stream-v3",
    "hash-hashtable-md-pre-release",
    "hash-listpack-md-pre-release",
    "hash-hashtable-md",
    "hash-listpack-md",
];

/// Returns the name of a value type in version `rdbver` of the format, `None` for an unknown one.
pub fn rdb_type_name(t: u8, rdbver: i32) -> Option<&'static str> {
    if rdbver >= *RDB_VERSION_VALKEY.start() && t >= RDB_TYPE_HASH_2 {
        return match t {
            RDB_TYPE_HASH_2 => Some("hash-volatile-items"),
            RDB_TYPE_PATH_HASH if rdbver >= 81 => Some("path-hash"),
            _ => None,
        };
    }
    RDB_TYPE_NAMES.get(usize::from(t)).copied()
}

// Opcodes, which stand where a value type could stand, and count down from 255 so that the two do
// not meet. 242 is new in version 81, 243 in version 80, 244 in version 12, 245 and 246 in version 10.
/// A command that the master has executed since the save began, in the form of the protocol: where
/// it saves without a fork, the values behind this one may be those of before or after it.
pub const RDB_OPCODE_UPDATE: u8 = 242;
/// Slots that a node of a cluster is receiving: the name of the job, and a number of pairs of slots.
pub const RDB_OPCODE_SLOT_IMPORT: u8 = 243;
/// A cluster's slot, and the sizes of its tables: three lengths.
pub const RDB_OPCODE_SLOT_INFO: u8 = 244;
/// A function library: its code as a string.
pub const RDB_OPCODE_FUNCTION2: u8 = 245;
/// A function library as the release candidates of 7.0 wrote it.
pub const RDB_OPCODE_FUNCTION_PRE_GA: u8 = 246;
/// Data of a module outside of the keyspace: module id, when it is loaded, and the data.
pub const RDB_OPCODE_MODULE_AUX: u8 = 247;
/// The idle time of the next key in seconds, as a length.
pub const RDB_OPCODE_IDLE: u8 = 248;
/// The access frequency of the next key: the LFU counter in one byte.
pub const RDB_OPCODE_FREQ: u8 = 249;
/// An AUX field: two strings, its name and its value.
pub const RDB_OPCODE_AUX: u8 = 250;
/// The number of keys, and of those with an expiration time, in the db that follows: two lengths.
pub const RDB_OPCODE_RESIZEDB: u8 = 251;
/// The expiration time of the next key in milliseconds: eight bytes.
pub const RDB_OPCODE_EXPIRETIME_MS: u8 = 252;
/// The expiration time of the next key in seconds: four bytes.
pub const RDB_OPCODE_EXPIRETIME: u8 = 253;
/// The number of the db to which the following keys belong, as a length.
pub const RDB_OPCODE_SELECTDB: u8 = 254;
/// The end of the data; the checksum follows, eight bytes, from version 5 on.
pub const RDB_OPCODE_EOF: u8 = 255;

// Opcodes within the serialized value of a module. They make it possible to skip the value without
// the module.
const RDB_MODULE_OPCODE_EOF: u64 = 0;
const RDB_MODULE_OPCODE_SINT: u64 = 1;
const RDB_MODULE_OPCODE_UINT: u64 = 2;
const RDB_MODULE_OPCODE_FLOAT: u64 = 3;
const RDB_MODULE_OPCODE_DOUBLE: u64 = 4;
const RDB_MODULE_OPCODE_STRING: u64 = 5;

// How a node of a list is encoded, from version 10 on: as one plain element, or as a listpack.
const QUICKLIST_NODE_CONTAINER_PLAIN: u64 = 1;
const QUICKLIST_NODE_CONTAINER_PACKED: u64 = 2;

/// The length in bytes from which on an element does not fit into a list: a ziplist keeps its own
/// size, overhead included, in 32 bits.
const LIST_ELEMENT_LIMIT: usize = (1 << 32) - 1024;

/// The length in bytes up to which a string value is copied to the batch next to its key. A longer
/// one gets an allocation of its own at once.
const BATCH_VALUE_MAX: usize = 64;
/// The number of keys that a batch adds to the tables.
const BATCH: usize = 32;
/// The number of bytes that is allocated in advance for a long string, when it is not known whether
/// so many bytes will come.
const LONG_STRING_STEP: usize = 1024 * 1024;

/// Returns the wall clock time, in seconds since the epoch.
fn time() -> i64 {
    mstime() / 1000
}

/// Tells whether `t` is a value type that version `rdbver` of the format has.
// C: `rdbIsObjectType` is a macro, and knows the types of its own version alone.
pub fn rdbIsObjectType(t: u8, rdbver: i32) -> bool {
    match t {
        0..=7 | 9..=15 => true,
        16..=19 => rdbver >= 10,
        20..=21 => rdbver >= 11,
        RDB_TYPE_HASH_2 if rdbver >= *RDB_VERSION_VALKEY.start() => true,
        RDB_TYPE_PATH_HASH if rdbver >= 81 => true,
        22..=25 => (12..*RDB_VERSION_VALKEY.start()).contains(&rdbver),
        _ => false,
    }
}

/// Tells whether this server reads version `rdbver` of the format.
pub fn rdb_version_is_read(rdbver: i32) -> bool {
    rdbver <= RDB_VERSION_LOAD || RDB_VERSION_VALKEY.contains(&rdbver)
}

/// Reports corrupt data, with the line of the source: [`rdbReportError`].
macro_rules! rdbReportCorruptRDB {
    ($server:expr, $($arg:tt)+) => { rdbReportError($server, true, line!(), &bformat!($($arg)+)) };
}
/// Reports missing or unknown data, with the line of the source: [`rdbReportError`].
macro_rules! rdbReportReadError {
    ($server:expr, $($arg:tt)+) => { rdbReportError($server, false, line!(), &bformat!($($arg)+)) };
}

/// Logs an error in RDB data, and ends the process if a file is being loaded, since a server must
/// not start with part of its data. `corruption_error` tells corrupt data from data that ends too
/// early.
///
/// It returns in two cases:
///
/// - Nothing is being loaded: the data is the payload of a RESTORE. The error is logged as verbose,
///   and the client gets a reply from the caller.
/// - redis-check-rdb reads the file. The first error is kept, for the checker to show.
///
/// Otherwise the checker is run over the file, so that the log says where it is damaged, and the
/// process exits with the checker's exit code.
pub fn rdbReportError(server: &mut Server, corruption_error: bool, linenum: u32, reason: &[u8]) {
    // C: the message names a line of rdb.c.
    let msg = bformat!(
        "Internal error in RDB reading offset {}, function at rdb.rs:{} -> {}",
        server.loading_loaded_bytes,
        linenum,
        B(reason)
    );
    if !server.loading {
        serverLog!(LL_VERBOSE, "{}", B(&msg));
        return;
    } else if let Some(check) = &mut server.rdb_check {
        check.error.get_or_insert(msg);
        return;
    } else if let Some(file) = server.rdbFileBeingLoaded.take() {
        // The load has failed even if the checker finds nothing wrong, such as with a duplicate
        // key, so the exit code is never 0.
        serverLog!(LL_WARNING, "{}", B(&msg));
        let exitcode = redis_check_rdb_main(server, &[Vec::new(), file]).max(1);
        exit_while_loading(server, exitcode);
    } else if corruption_error {
        serverLog!(LL_WARNING, "{}. Failure loading rdb format", B(&msg));
    } else {
        serverLog!(
            LL_WARNING,
            "{}. Failure loading rdb format from socket, assuming connection error, resuming operation.",
            B(&msg)
        );
        return;
    }
    serverLog!(LL_WARNING, "Terminating server after rdb file reading failure.");
    exit_while_loading(server, 1);
}

/// Ends the process because the data could not be loaded. Removes the temporary file with the RDB
/// that a master sent, which has not replaced the server's own file yet.
fn exit_while_loading(server: &Server, exitcode: i32) -> ! {
    if let Some(tmpfile) = &server.repl_transfer_tmpfile {
        let _ = unlink(tmpfile);
    }
    std::process::exit(exitcode);
}

/// Ends the process with exit code 1 if data is being loaded. The caller has logged the reason.
fn exit_if_loading(server: &Server) {
    if server.loading {
        exit_while_loading(server, 1);
    }
}

/// Writes bytes as they are. `C_ERR`: the stream has failed, see `rio_take_error`.
fn rdbWriteRaw(rdb: &mut Rio, p: &[u8]) -> CResult {
    rioWrite(rdb, p)
}

/// Makes `n` bytes available in the read buffer, at most `RIO_TAKE_MAX`. Returns `false` if the
/// stream ends before, or fails.
#[inline(always)]
fn ensure_available(server: &mut Server, rdb: &mut Rio, n: usize) -> bool {
    rio_available(rdb) >= n || refill_until_available(server, rdb, n)
}

/// Reads until `n` bytes are available: the slow path of [`ensure_available`]. Processes events now
/// and then, see [`rdbLoadProgressCallback`].
#[cold]
#[inline(never)]
fn refill_until_available(server: &mut Server, rdb: &mut Rio, n: usize) -> bool {
    debug_assert!(n <= RIO_TAKE_MAX);
    while rio_available(rdb) < n {
        let before = rioTell(rdb) + rio_available(rdb) as u64;
        if rio_fill(rdb).is_err() {
            return false;
        }
        rdbLoadProgressCallback(server, rdb, before);
    }
    true
}

/// Reads `N` bytes. Returns `None` if the stream ends before, or fails. The caller can tell an
/// error from any value, so no call is needed that asks the stream whether it failed.
#[inline(always)]
fn rdb_load_raw<const N: usize>(server: &mut Server, rdb: &mut Rio) -> Option<[u8; N]> {
    if !ensure_available(server, rdb, N) {
        return None;
    }
    rio_take(rdb, N).first_chunk().copied()
}

/// Reads `len` bytes into a buffer of their own. Returns `None` if they are not all there, or if
/// there is no memory for them, which is logged.
///
/// All the memory is allocated at once only if so many bytes are known to be there. Otherwise the
/// buffer grows as they arrive, so that a corrupt length allocates nothing that is not filled.
fn rdb_load_long_string(server: &mut Server, rdb: &mut Rio, len: u64) -> Option<Vec<u8>> {
    let known = rio_remaining(rdb).unwrap_or(0).max(LONG_STRING_STEP as u64);
    let mut out = Vec::new();
    let allocated = usize::try_from(len)
        .is_ok_and(|len| fallibly(|| out.try_reserve_exact(len.min(known as usize))).is_ok());
    if !allocated {
        let level = if server.loading { LL_WARNING } else { LL_VERBOSE };
        serverLog!(level, "rdbGenericLoadStringObject failed allocating {} bytes", len);
        return None;
    }
    let len = len as usize;
    while out.len() < len {
        let before = rioTell(rdb) + rio_available(rdb) as u64;
        // Read step by step: a single read would reserve memory for all that is missing.
        let step = (out.capacity() - out.len()).max(LONG_STRING_STEP).min(len - out.len());
        rio_read_append(rdb, &mut out, step).ok()?;
        rdbLoadProgressCallback(server, rdb, before);
    }
    Some(out)
}

/// Writes one byte: a value type or an opcode.
pub fn rdbSaveType(rdb: &mut Rio, type_: u8) -> CResult {
    rdbWriteRaw(rdb, &[type_])
}

/// Reads one byte: a value type, or an opcode such as that of the end of the file or of an
/// expiration time. Returns `None` at the end of the stream.
#[inline]
pub fn rdbLoadType(server: &mut Server, rdb: &mut Rio) -> Option<u8> {
    rdb_load_raw::<1>(server, rdb).map(|[type_]| type_)
}

/// Reads an expiration time in seconds, 32 bits, which follows `RDB_OPCODE_EXPIRETIME`. Only old
/// files have it; what is written today is in milliseconds.
pub fn rdbLoadTime(server: &mut Server, rdb: &mut Rio) -> Option<i64> {
    rdb_load_raw(server, rdb).map(|t32| i64::from(i32::from_le_bytes(t32)))
}

/// Writes an expiration time, or another time, in milliseconds since the epoch: eight bytes, little
/// endian.
pub fn rdbSaveMillisecondTime(rdb: &mut Rio, t: i64) -> CResult {
    rdbWriteRaw(rdb, &t.to_le_bytes())
}

/// Reads a time in milliseconds since the epoch.
// C: versions before 9 have it in the byte order of the machine that wrote the file, by mistake.
// The C still reads them so, in order that a big endian machine can load its own old files. Here
// they are read as little endian, which all but those are.
pub fn rdbLoadMillisecondTime(server: &mut Server, rdb: &mut Rio) -> Option<i64> {
    rdb_load_raw(server, rdb).map(i64::from_le_bytes)
}

// ANCHOR: rdbSaveLen
/// Writes a length in the shortest encoding that holds it (`RDB_6BITLEN` and the following).
#[inline]
pub fn rdbSaveLen(rdb: &mut Rio, len: u64) -> CResult {
    if len < 1 << 6 {
        rdbWriteRaw(rdb, &[len as u8 | RDB_6BITLEN << 6])
    } else if len < 1 << 14 {
        rdbWriteRaw(rdb, &[(len >> 8) as u8 | RDB_14BITLEN << 6, len as u8])
    } else if let Ok(len) = u32::try_from(len) {
        // The longer lengths are big endian. Times and binary doubles are little endian.
        let [a, b, c, d] = len.to_be_bytes();
        rdbWriteRaw(rdb, &[RDB_32BITLEN, a, b, c, d])
    } else {
        rdbWriteRaw(rdb, &[RDB_64BITLEN])?;
        rdbWriteRaw(rdb, &len.to_be_bytes())
    }
}
// ANCHOR_END: rdbSaveLen

/// Reads a length. Returns it with `false`, or, with `true`, the special encoding (`RDB_ENC_*`) of
/// the string that follows instead. Returns `None` if bytes are missing, or if the encoding of the
/// length is unknown, which was reported.
#[inline]
pub fn rdbLoadLenByRef(server: &mut Server, rdb: &mut Rio) -> Option<(u64, bool)> {
    let [first] = rdb_load_raw(server, rdb)?;
    let low = u64::from(first & 0x3f);
    Some(match first >> 6 {
        RDB_6BITLEN => (low, false),
        // The six bits are not a length, but the encoding of the string that follows.
        RDB_ENCVAL => (low, true),
        RDB_14BITLEN => {
            let [second] = rdb_load_raw(server, rdb)?;
            (low << 8 | u64::from(second), false)
        }
        type_ => match first {
            RDB_32BITLEN => (u64::from(u32::from_be_bytes(rdb_load_raw(server, rdb)?)), false),
            RDB_64BITLEN => (u64::from_be_bytes(rdb_load_raw(server, rdb)?), false),
            _ => {
                rdbReportCorruptRDB!(server, "Unknown length encoding {} in rdbLoadLen()", type_);
                return None;
            }
        },
    })
}

/// Reads a length, for callers that expect no special encoding. Returns `None` on an error, and
/// also for `RDB_LENERR`, which no data structure can hold.
pub fn rdbLoadLen(server: &mut Server, rdb: &mut Rio) -> Option<u64> {
    rdbLoadLenByRef(server, rdb).map(|(len, _)| len).filter(|&len| len != RDB_LENERR)
}

/// Encodes an integer as a string in a special encoding, of 8, 16 or 32 bits. Returns a buffer and
/// the number of bytes used in it; `None` if the integer takes more than 32 bits.
#[inline]
pub fn rdbEncodeInteger(value: i64) -> Option<([u8; 5], usize)> {
    let form = |enc: u8| RDB_ENCVAL << 6 | enc;
    let [a, b, c, d, ..] = value.to_le_bytes();
    if i8::try_from(value).is_ok() {
        Some(([form(RDB_ENC_INT8), a, 0, 0, 0], 2))
    } else if i16::try_from(value).is_ok() {
        Some(([form(RDB_ENC_INT16), a, b, 0, 0], 3))
    } else if i32::try_from(value).is_ok() {
        Some(([form(RDB_ENC_INT32), a, b, c, d], 5))
    } else {
        None
    }
}

/// Reads an integer in the special encoding `enctype`. Returns `None` if bytes are missing, or if
/// the encoding is unknown, which was reported.
pub fn rdbLoadIntegerObject(server: &mut Server, rdb: &mut Rio, enctype: u64) -> Option<i64> {
    const INT8: u64 = RDB_ENC_INT8 as u64;
    const INT16: u64 = RDB_ENC_INT16 as u64;
    const INT32: u64 = RDB_ENC_INT32 as u64;
    match enctype {
        INT8 => rdb_load_raw(server, rdb).map(|enc| i64::from(i8::from_le_bytes(enc))),
        INT16 => rdb_load_raw(server, rdb).map(|enc| i64::from(i16::from_le_bytes(enc))),
        INT32 => rdb_load_raw(server, rdb).map(|enc| i64::from(i32::from_le_bytes(enc))),
        _ => {
            rdbReportCorruptRDB!(server, "Unknown RDB integer encoding type {}", enctype);
            None
        }
    }
}

/// Encodes a string as an integer, if it is the canonical text of one of at most 32 bits. Texts
/// such as `+1`, `01` or ` 1` are not: the loader would not get the same bytes back. Returns as
/// [`rdbEncodeInteger`] does.
#[inline]
pub fn rdbTryIntegerEncoding(s: &[u8]) -> Option<([u8; 5], usize)> {
    rdbEncodeInteger(string2ll(s)?)
}

/// Writes a string that is already compressed. `original_len` is its length in bytes when it is
/// decompressed. The node of a list that is compressed in memory is saved this way.
pub fn rdbSaveLzfBlob(rdb: &mut Rio, data: &[u8], original_len: usize) -> CResult {
    rdbWriteRaw(rdb, &[RDB_ENCVAL << 6 | RDB_ENC_LZF])?;
    rdbSaveLen(rdb, data.len() as u64)?;
    rdbSaveLen(rdb, original_len as u64)?;
    rdbWriteRaw(rdb, data)
}

/// Compresses a string with LZF and writes it. Returns `Ok(false)`, with nothing written, if that
/// does not make it shorter.
pub fn rdbSaveLzfStringObject(rdb: &mut Rio, s: &[u8]) -> Result<bool, ()> {
    // At least four bytes have to be saved, or it is not worth the time.
    if s.len() <= 4 {
        return Ok(false);
    }
    let outlen = s.len() - 4;
    let mut out = take(&mut rdb.scratch);
    if out.len() < outlen {
        out.resize(outlen, 0);
    }
    let state = rdb.lzf.get_or_insert_with(|| Box::new(LzfState::new()));
    let comprlen = lzf_compress(state, s, &mut out[..outlen]);
    let saved = if comprlen == 0 {
        Ok(false)
    } else {
        rdbSaveLzfBlob(rdb, &out[..comprlen], s.len()).map(|()| true)
    };
    rdb.scratch = out;
    saved
}

/// Reads a string compressed with LZF. It is returned as a slice of the stream's scratch buffer if
/// it is short, else in a buffer of its own. Returns `None` if bytes are missing or there is no
/// memory, or if it can't be decompressed, which was reported.
fn rdbLoadLzfStringObject<'a>(server: &mut Server, rdb: &'a mut Rio) -> Option<RdbString<'a>> {
    let clen = rdbLoadLen(server, rdb)?;
    let len = rdbLoadLen(server, rdb)?;

    // Three bytes of LZF expand to 264 at most. A length beyond that is corrupt, and no memory is
    // allocated for it.
    // `len` comes from the file, and decompression needs a buffer of that size.
    let plausible = |clen: usize| len <= clen as u64 * 88 + 264;
    if clen <= RIO_TAKE_MAX as u64 && len <= RIO_TAKE_MAX as u64 {
        let (clen, len) = (clen as usize, len as usize);
        if !ensure_available(server, rdb, clen) {
            return None;
        }
        // Both fit into the buffers of the stream, so that loading many short strings allocates
        // nothing.
        let mut val = take(&mut rdb.scratch);
        if val.len() < len {
            val.resize(len, 0);
        }
        let ok = lzf_decompress(rio_take(rdb, clen), &mut val[..len]) == len;
        rdb.scratch = val;
        if ok {
            return Some(RdbString::Slice(&rdb.scratch[..len]));
        }
    } else {
        // A long string is read first: only when so many bytes have come is the size of the result
        // believed.
        let c = rdb_load_long_string(server, rdb, clen)?;
        if plausible(c.len()) {
            let len = len as usize;
            let mut val = Vec::new();
            if fallibly(|| val.try_reserve_exact(len)).is_err() {
                let level = if server.loading { LL_WARNING } else { LL_VERBOSE };
                serverLog!(level, "rdbLoadLzfStringObject failed allocating {} bytes", len);
                return None;
            }
            val.resize(len, 0);
            if lzf_decompress(&c, &mut val) == len {
                return Some(RdbString::Own(val));
            }
        }
    }
    rdbReportCorruptRDB!(server, "Invalid LZF compressed string");
    None
}

/// Writes a string in the shortest form: as an integer if it is the text of one, compressed if
/// `rdbcompression` is set and it gets shorter, else as its length and its bytes.
#[inline]
pub fn rdbSaveRawString(server: &Server, rdb: &mut Rio, s: &[u8]) -> CResult {
    // The text of an integer of 32 bits has 11 characters at most.
    if s.len() <= 11
        && let Some((enc, enclen)) = rdbTryIntegerEncoding(s)
    {
        return rdbWriteRaw(rdb, &enc[..enclen]);
    }
    // Compression is not tried up to 20 bytes: even a run of one letter does not become shorter by
    // enough.
    if s.len() > 20 && server.rdb_compression && rdbSaveLzfStringObject(rdb, s)? {
        return C_OK;
    }
    rdbSaveLen(rdb, s.len() as u64)?;
    rdbWriteRaw(rdb, s)
}

/// Writes an integer as a string: in a special encoding, or as text if it takes more than 32 bits.
pub fn rdbSaveLongLongAsStringObject(rdb: &mut Rio, value: i64) -> CResult {
    match rdbEncodeInteger(value) {
        Some((enc, enclen)) => rdbWriteRaw(rdb, &enc[..enclen]),
        None => {
            let text = ll2string(value);
            rdbSaveLen(rdb, text.len() as u64)?;
            rdbWriteRaw(rdb, &text)
        }
    }
}

/// Writes a value of type string. Panics on a value of any other type.
#[inline]
pub fn rdbSaveStringObject(server: &Server, rdb: &mut Rio, obj: ValueRef<'_>) -> CResult {
    match obj {
        ValueRef::Int(n) => rdbSaveLongLongAsStringObject(rdb, n),
        ValueRef::Str(s) => rdbSaveRawString(server, rdb, s),
        ValueRef::Aggregate(_) => panic!("a string is expected"),
    }
}

/// A string that was read, in the form in which the stream has it. The methods convert it to what
/// the flags of the C's `rdbGenericLoadStringObject` choose from.
pub enum RdbString<'a> {
    /// The string is the text of this integer, and was encoded as one.
    Int(i64),
    /// The bytes, borrowed from the stream until the next read.
    Slice(&'a [u8]),
    /// The bytes, which are too many for the stream's buffer.
    Own(Vec<u8>),
}

impl<'a> RdbString<'a> {
    /// Returns the bytes in a buffer of their own (the C's `RDB_LOAD_SDS`).
    pub fn into_vec(self) -> Vec<u8> {
        match self {
            RdbString::Int(n) => ll2string(n).to_vec(),
            RdbString::Slice(s) => s.to_vec(),
            RdbString::Own(v) => v,
        }
    }

    /// Returns the bytes. The text of an integer is written to `buf`.
    #[inline]
    pub fn bytes<'b>(&'b self, buf: &'b mut itoa::Buffer) -> &'b [u8] {
        match self {
            RdbString::Int(n) => buf.format(*n).as_bytes(),
            RdbString::Slice(s) => s,
            RdbString::Own(v) => v,
        }
    }

    /// Appends the bytes to `out`.
    #[inline]
    pub fn append_to(&self, out: &mut Vec<u8>) {
        match self {
            RdbString::Int(n) => out.extend_from_slice(&ll2string(*n)),
            RdbString::Slice(s) => out.extend_from_slice(s),
            RdbString::Own(v) => out.extend_from_slice(v),
        }
    }

    /// Returns the value of a key: an integer if the string is the text of one, else the string. It
    /// stands for `RDB_LOAD_ENC` and a call of `tryObjectEncoding`.
    #[inline]
    fn into_value(self) -> Value<'a> {
        match self {
            RdbString::Int(n) => Value::Int(n),
            RdbString::Slice(s) => tryObjectEncoding(s),
            RdbString::Own(v) => Value::Own(Object::Str(v)),
        }
    }
}

/// Reads a string in any encoding. Returns `None` if bytes are missing, or if it is corrupt, which
/// was reported.
#[inline]
pub fn rdbGenericLoadStringObject<'a>(
    server: &mut Server,
    rdb: &'a mut Rio,
) -> Option<RdbString<'a>> {
    let (len, isencoded) = rdbLoadLenByRef(server, rdb)?;
    if isencoded {
        // `len` is the encoding here.
        return rdb_load_special_string(server, rdb, len);
    }
    // A string of this size does not fit into the read buffer.
    if len > RIO_TAKE_MAX as u64 {
        if len == RDB_LENERR {
            return None;
        }
        return rdb_load_long_string(server, rdb, len).map(RdbString::Own);
    }
    let len = len as usize;
    if !ensure_available(server, rdb, len) {
        return None;
    }
    Some(RdbString::Slice(rio_take(rdb, len)))
}

/// Reads a string in the special encoding `enctype`. Returns `None` as
/// [`rdbGenericLoadStringObject`] does.
fn rdb_load_special_string<'a>(
    server: &mut Server,
    rdb: &'a mut Rio,
    enctype: u64,
) -> Option<RdbString<'a>> {
    const LZF: u64 = RDB_ENC_LZF as u64;
    match enctype {
        0..LZF => rdbLoadIntegerObject(server, rdb, enctype).map(RdbString::Int),
        LZF => rdbLoadLzfStringObject(server, rdb),
        _ => {
            rdbReportCorruptRDB!(server, "Unknown RDB string encoding type {}", enctype);
            None
        }
    }
}

/// Reads a string and returns its bytes, whatever its encoding was (see
/// [`rdbGenericLoadStringObject`]).
pub fn rdbLoadStringObject(server: &mut Server, rdb: &mut Rio) -> Option<Vec<u8>> {
    rdbGenericLoadStringObject(server, rdb).map(RdbString::into_vec)
}

/// Reads a string and returns it as the value of a key, encoded as an integer if it can be.
#[inline]
pub fn rdbLoadEncodedStringObject<'a>(server: &mut Server, rdb: &'a mut Rio) -> Option<Value<'a>> {
    rdbGenericLoadStringObject(server, rdb).map(RdbString::into_value)
}

/// Writes a double as text, preceded by its length in one byte. In place of the length, 253 is NaN,
/// 254 infinity and 255 minus infinity. Sorted sets were written like this before version 8.
pub fn rdbSaveDoubleValue(rdb: &mut Rio, val: f64) -> CResult {
    if val.is_nan() {
        return rdbWriteRaw(rdb, &[253]);
    }
    if val.is_infinite() {
        return rdbWriteRaw(rdb, &[if val < 0.0 { 255 } else { 254 }]);
    }
    // A whole number below 2^52 is exact both as a double and as an i64. It is printed as an
    // integer, which is much faster and gives the same text.
    const LIMIT: f64 = (1i64 << 52) as f64;
    let whole = val > 1.0 - LIMIT && val < LIMIT && val == val as i64 as f64;
    let text = if whole { ll2string(val as i64) } else { format_17g(val) };
    rdbWriteRaw(rdb, &[text.len() as u8])?;
    rdbWriteRaw(rdb, &text)
}

/// Reads a double that [`rdbSaveDoubleValue`] has written. Returns `None` if bytes are missing, or
/// if the text is not a number.
pub fn rdbLoadDoubleValue(server: &mut Server, rdb: &mut Rio) -> Option<f64> {
    match rdb_load_raw(server, rdb)? {
        [255] => Some(f64::NEG_INFINITY),
        [254] => Some(f64::INFINITY),
        [253] => Some(f64::NAN),
        [len] => {
            if !ensure_available(server, rdb, len.into()) {
                return None;
            }
            let number = strtod(c_str(rio_take(rdb, len.into())));
            (number.len > 0).then_some(number.value)
        }
    }
}

/// Writes a double in the IEEE 754 binary64 format: eight bytes, little endian.
pub fn rdbSaveBinaryDoubleValue(rdb: &mut Rio, val: f64) -> CResult {
    rdbWriteRaw(rdb, &val.to_le_bytes())
}

/// Reads a double that [`rdbSaveBinaryDoubleValue`] has written.
pub fn rdbLoadBinaryDoubleValue(server: &mut Server, rdb: &mut Rio) -> Option<f64> {
    rdb_load_raw(server, rdb).map(f64::from_le_bytes)
}

/// Writes a float in the IEEE 754 binary32 format: four bytes, little endian.
pub fn rdbSaveBinaryFloatValue(rdb: &mut Rio, val: f32) -> CResult {
    rdbWriteRaw(rdb, &val.to_le_bytes())
}

/// Reads a float that [`rdbSaveBinaryFloatValue`] has written.
pub fn rdbLoadBinaryFloatValue(server: &mut Server, rdb: &mut Rio) -> Option<f32> {
    rdb_load_raw(server, rdb).map(f32::from_le_bytes)
}

/// Writes the value type of `o`, which depends on its type and its encoding in memory: a small
/// hash, for instance, is saved as one ziplist.
#[inline]
pub fn rdbSaveObjectType(rdb: &mut Rio, o: ValueRef<'_>) -> CResult {
    let type_ = match o {
        ValueRef::Int(_) | ValueRef::Str(_) => RDB_TYPE_STRING,
        ValueRef::Aggregate(a) => match a {
            // An aggregate has one type for each encoding.
            AggregateRef::List(_) => RDB_TYPE_LIST_QUICKLIST,
            AggregateRef::Set(SetRef::Intset(_)) => RDB_TYPE_SET_INTSET,
            AggregateRef::Set(SetRef::Strings(_) | SetRef::Ht(_)) => RDB_TYPE_SET,
            AggregateRef::Zset(ZsetRef::Ziplist(_)) => RDB_TYPE_ZSET_ZIPLIST,
            AggregateRef::Zset(ZsetRef::Skiplist(_)) => RDB_TYPE_ZSET_2,
            AggregateRef::Hash(HashRef::Ziplist(_)) => RDB_TYPE_HASH_ZIPLIST,
            AggregateRef::Hash(HashRef::Ht(_)) => RDB_TYPE_HASH,
            AggregateRef::Stream(_) => RDB_TYPE_STREAM_LISTPACKS,
        },
    };
    rdbSaveType(rdb, type_)
}

/// Reads a value type, at the start of the payload of a DUMP. Returns `None` if the byte is
/// missing, or not a value type in version `rdbver`.
pub fn rdbLoadObjectType(server: &mut Server, rdb: &mut Rio, rdbver: i32) -> Option<u8> {
    rdbLoadType(server, rdb).filter(|&type_| rdbIsObjectType(type_, rdbver))
}

/// Writes a pending entries list (PEL): the ids, and with each the time and number of its
/// deliveries if `nack` returns them.
///
/// The list of the group is written with them, without the names of the consumers. The list of a
/// consumer is written as ids alone: the loader looks each up in the group's list, and so learns
/// which consumer the entry belongs to.
fn rdbSaveStreamPEL<V>(
    rdb: &mut Rio,
    pel: &Rax<V>,
    nack: impl Fn(&V) -> Option<streamNACK>,
) -> CResult {
    rdbSaveLen(rdb, raxSize(pel))?;
    let mut ri = raxStart();
    raxSeek(&mut ri, pel, "^", b"");
    while raxNext(&mut ri, pel) {
        // An id is written as the radix tree has it: 128 bits, big endian.
        rdbWriteRaw(rdb, ri.key())?;
        if let Some(nack) = ri.data(pel).and_then(&nack) {
            rdbSaveMillisecondTime(rdb, nack.delivery_time)?;
            rdbSaveLen(rdb, nack.delivery_count)?;
        }
    }
    C_OK
}

/// Writes the consumers of a group: for each its name, when it was last seen, and the ids in its
/// pending entries list.
fn rdbSaveStreamConsumers(server: &Server, rdb: &mut Rio, cg: &streamCG) -> CResult {
    rdbSaveLen(rdb, cg.consumers.len())?;
    for consumer in cg.consumers.iter() {
        rdbSaveRawString(server, rdb, &consumer.name)?;
        rdbSaveMillisecondTime(rdb, consumer.seen_time)?;
        rdbSaveStreamPEL(rdb, &consumer.pel, |()| None)?;
    }
    C_OK
}

/// Writes a value. Its type is written before the key, by [`rdbSaveObjectType`].
#[inline]
pub fn rdbSaveObject(server: &Server, rdb: &mut Rio, o: ValueRef<'_>) -> CResult {
    match o {
        ValueRef::Int(_) | ValueRef::Str(_) => rdbSaveStringObject(server, rdb, o),
        ValueRef::Aggregate(a) => rdb_save_aggregate(server, rdb, a),
    }
}

/// Writes a value that has elements. An encoding that is a single blob in memory (ziplist, intset)
/// is written as it is, as one string. That is fast, and the loader gets the same encoding back.
fn rdb_save_aggregate(server: &Server, rdb: &mut Rio, a: AggregateRef) -> CResult {
    match a {
        AggregateRef::List(ql) => {
            rdbSaveLen(rdb, ql.len() as u64)?;
            for node in ql.nodes() {
                // A node that is compressed in memory is written as it is, without decompressing
                // it.
                match quicklistGetLzf(node) {
                    Some(data) => rdbSaveLzfBlob(rdb, data, node.sz())?,
                    None => rdbSaveRawString(server, rdb, node.zl())?,
                }
            }
            C_OK
        }
        AggregateRef::Set(SetRef::Ht(set)) => {
            rdbSaveLen(rdb, dictSize(set) as u64)?;
            set.iter().try_for_each(|ele| rdbSaveRawString(server, rdb, ele.as_slice()))
        }
        AggregateRef::Set(SetRef::Strings(set)) => {
            rdbSaveLen(rdb, strset_len(set) as u64)?;
            strset_iter(set).try_for_each(|ele| rdbSaveRawString(server, rdb, ele))
        }
        AggregateRef::Set(SetRef::Intset(is)) => rdbSaveRawString(server, rdb, is),
        AggregateRef::Zset(ZsetRef::Ziplist(zl)) | AggregateRef::Hash(HashRef::Ziplist(zl)) => {
            rdbSaveRawString(server, rdb, zl)
        }
        AggregateRef::Zset(ZsetRef::Skiplist(zs)) => {
            rdbSaveLen(rdb, zs.zsl.len() as u64)?;
            // From the greatest element to the smallest: each element that is loaded is then
            // smaller than all before it and is inserted at the head of the skip list, in O(1)
            // instead of O(log(N)).
            let mut zn = zs.zsl.last();
            while let Some(at) = zn {
                let (ele, score) = zs.zsl.pair(at);
                rdbSaveRawString(server, rdb, ele)?;
                rdbSaveBinaryDoubleValue(rdb, score)?;
                zn = zs.zsl.prev(at);
            }
            C_OK
        }
        AggregateRef::Hash(HashRef::Ht(hash)) => {
            rdbSaveLen(rdb, dictSize(hash) as u64)?;
            for pair in hash.iter() {
                rdbSaveRawString(server, rdb, pair.field())?;
                rdbSaveRawString(server, rdb, pair.value())?;
            }
            C_OK
        }
        AggregateRef::Stream(s) => rdb_save_stream(server, rdb, s),
    }
}

/// Writes a stream: its listpacks as they are, each with its key in the radix tree, then its length
/// and last id, and its consumer groups with their pending entries lists and consumers.
fn rdb_save_stream(server: &Server, rdb: &mut Rio, s: &Stream) -> CResult {
    rdbSaveLen(rdb, raxSize(&s.rax))?;
    let mut ri = raxStart();
    raxSeek(&mut ri, &s.rax, "^", b"");
    while raxNext(&mut ri, &s.rax) {
        if let Some(lp) = ri.data(&s.rax) {
            rdbSaveRawString(server, rdb, ri.key())?;
            rdbSaveRawString(server, rdb, lp)?;
        }
    }

    // The length is saved, since the loader could only get it by reading the header of every
    // listpack.
    rdbSaveLen(rdb, s.length)?;
    rdbSaveLen(rdb, s.last_id.ms)?;
    rdbSaveLen(rdb, s.last_id.seq)?;

    let Some(cgroups) = &s.cgroups else { return rdbSaveLen(rdb, 0) };
    rdbSaveLen(rdb, raxSize(cgroups))?;
    raxSeek(&mut ri, cgroups, "^", b"");
    while raxNext(&mut ri, cgroups) {
        let Some(cg) = ri.data(cgroups) else { continue };
        rdbSaveRawString(server, rdb, ri.key())?;
        rdbSaveLen(rdb, cg.last_id.ms)?;
        rdbSaveLen(rdb, cg.last_id.seq)?;
        rdbSaveStreamPEL(rdb, &cg.pel, |nack| Some(*nack))?;
        rdbSaveStreamConsumers(server, rdb, cg)?;
    }
    C_OK
}

/// Returns the number of bytes that a value takes in a file: it is written to a stream that only
/// counts.
pub fn rdbSavedObjectLen(server: &Server, o: ValueRef<'_>) -> usize {
    let mut rdb = rio_init_with_null();
    rdbSaveObject(server, &mut rdb, o).expect("counting does not fail");
    rioTell(&rdb) as usize
}

/// Writes a key: its expiration time in milliseconds (`expiretime`, -1 for none), its idle time or
/// access frequency (from `lru`, as the `maxmemory-policy` asks for one of them), its type, name
/// and value.
#[inline]
pub fn rdbSaveKeyValuePair(
    server: &Server,
    rdb: &mut Rio,
    key: &[u8],
    val: ValueRef<'_>,
    lru: u32,
    expiretime: i64,
) -> CResult {
    if expiretime != -1 {
        rdbSaveType(rdb, RDB_OPCODE_EXPIRETIME_MS)?;
        rdbSaveMillisecondTime(rdb, expiretime)?;
    }
    if server.maxmemory_policy & MAXMEMORY_FLAG_LRU != 0 {
        // In seconds, which are precise enough and take fewer bytes.
        rdbSaveType(rdb, RDB_OPCODE_IDLE)?;
        rdbSaveLen(rdb, estimateObjectIdleTime(server, lru) / 1000)?;
    }
    if server.maxmemory_policy & MAXMEMORY_FLAG_LFU != 0 {
        // The opcode and the 8 bit counter, which is logarithmic. The time of its last decrement is
        // not saved: to reset it once, at loading, changes the frequency little.
        rdbWriteRaw(rdb, &[RDB_OPCODE_FREQ, LFUDecrAndReturn(server, lru) as u8])?;
    }

    rdbSaveObjectType(rdb, val)?;
    rdbSaveRawString(server, rdb, key)?;
    rdbSaveObject(server, rdb, val)?;

    if server.rdb_key_save_delay != 0 {
        debugDelay(server.rdb_key_save_delay);
    }
    C_OK
}

/// Writes an AUX field: a name and a value, both strings. A loader skips the fields that it does
/// not know, so fields can be added without a new version of the format.
pub fn rdbSaveAuxField(server: &Server, rdb: &mut Rio, key: &[u8], val: &[u8]) -> CResult {
    rdbSaveType(rdb, RDB_OPCODE_AUX)?;
    rdbSaveRawString(server, rdb, key)?;
    rdbSaveRawString(server, rdb, val)
}

/// Writes an AUX field whose value is a text: [`rdbSaveAuxField`].
pub fn rdbSaveAuxFieldStrStr(server: &Server, rdb: &mut Rio, key: &str, val: &str) -> CResult {
    rdbSaveAuxField(server, rdb, key.as_bytes(), val.as_bytes())
}

/// Writes an AUX field whose value is a number: [`rdbSaveAuxField`].
pub fn rdbSaveAuxFieldStrInt(server: &Server, rdb: &mut Rio, key: &str, val: i64) -> CResult {
    rdbSaveAuxField(server, rdb, key.as_bytes(), &ll2string(val))
}

/// Writes the default AUX fields: version, time and memory usage. With `rsi`, also the replication
/// ID, the offset and the selected db, with which a server that loads the file can ask for a
/// partial resynchronization.
pub fn rdbSaveInfoAuxFields(
    server: &Server,
    rdb: &mut Rio,
    rdbflags: i32,
    rsi: Option<&rdbSaveInfo>,
) -> CResult {
    let redis_bits = i64::from(usize::BITS);
    let aof_preamble = i64::from(rdbflags & RDBFLAGS_AOF_PREAMBLE != 0);

    rdbSaveAuxFieldStrStr(server, rdb, "redis-ver", REDIS_VERSION)?;
    rdbSaveAuxFieldStrInt(server, rdb, "redis-bits", redis_bits)?;
    rdbSaveAuxFieldStrInt(server, rdb, "ctime", time())?;
    rdbSaveAuxFieldStrInt(server, rdb, "used-mem", zmalloc_used_memory() as i64)?;
    if let Some(rsi) = rsi {
        rdbSaveAuxFieldStrInt(server, rdb, "repl-stream-db", rsi.repl_stream_db.into())?;
        rdbSaveAuxField(server, rdb, b"repl-id", &server.replid)?;
        rdbSaveAuxFieldStrInt(server, rdb, "repl-offset", server.master_repl_offset)?;
        // C: it has no such field. Whoever goes on with this stream has to know that it has the
        // commands of a newer server.
        if server.masterhost.is_some() && server.repl_stream_version > RDB_VERSION {
            let version = server.repl_stream_version.into();
            rdbSaveAuxFieldStrInt(server, rdb, "repl-stream-version", version)?;
        }
    }
    rdbSaveAuxFieldStrInt(server, rdb, "aof-preamble", aof_preamble)
}

/// The progress of a save in a child process, which reports it to the parent.
struct SaveProgress {
    key_count: usize,
    info_updated_time: i64,
    pname: &'static str,
    aof_preamble: bool,
    /// The number of bytes written when the parent's diff was last read.
    processed: u64,
}

/// Writes the whole data set to a stream in the RDB format. It is not flushed.
///
/// `rdbflags` has `RDBFLAGS_AOF_PREAMBLE` when this is the head of an AOF. `Err` is the error of
/// the stream; then some, or all, of the output is missing.
pub fn rdbSaveRio(
    server: &mut Server,
    rdb: &mut Rio,
    rdbflags: i32,
    rsi: Option<&rdbSaveInfo>,
) -> io::Result<()> {
    rdb_save_rio_inner(server, rdb, rdbflags, rsi).map_err(|()| rio_take_error(rdb))
}

/// Does the work of [`rdbSaveRio`]. `C_ERR`: the stream has failed and holds the error.
fn rdb_save_rio_inner(
    server: &mut Server,
    rdb: &mut Rio,
    rdbflags: i32,
    rsi: Option<&rdbSaveInfo>,
) -> CResult {
    let aof_preamble = rdbflags & RDBFLAGS_AOF_PREAMBLE != 0;
    let pname = if aof_preamble { "AOF rewrite" } else { "RDB" };
    let mut progress =
        SaveProgress { key_count: 0, info_updated_time: 0, pname, aof_preamble, processed: 0 };

    rdb.update_cksum = server.rdb_checksum;
    rdbWriteRaw(rdb, &bformat!("REDIS{:04}", RDB_VERSION))?;
    rdbSaveInfoAuxFields(server, rdb, rdbflags, rsi)?;

    for j in 0..server.db.len() {
        // An empty db is skipped: neither its number nor its sizes are written.
        let dict = &server.db[j].dict;
        if dict.len() == 0 {
            continue;
        }
        rdbSaveType(rdb, RDB_OPCODE_SELECTDB)?;
        rdbSaveLen(rdb, j as u64)?;
        // The sizes are hints: a loader makes its tables so large at once that they need not grow
        // while it adds the keys.
        rdbSaveType(rdb, RDB_OPCODE_RESIZEDB)?;
        rdbSaveLen(rdb, dict.len() as u64)?;
        rdbSaveLen(rdb, dict.expires_len() as u64)?;

        // The table is taken out of the server while it is iterated, since reporting the progress
        // borrows the server.
        let dict = take(&mut server.db[j].dict);
        let saved = rdb_save_keys(server, rdb, &dict, &mut progress);
        server.db[j].dict = dict;
        saved?;
    }

    // The scripts that we know by name. A replica that follows us as EVALSHA needs them: after a
    // restart of ours it is continued by a partial resync, and nobody sends them again.
    if rsi.is_some() {
        for body in server.lua_scripts.values() {
            rdbSaveAuxField(server, rdb, b"lua", body)?;
        }
    }

    rdbSaveType(rdb, RDB_OPCODE_EOF)?;
    // The checksum is 0 if `rdbchecksum` is off, and then a loader skips the check.
    let cksum = rio_checksum(rdb);
    rioWrite(rdb, &cksum.to_le_bytes())
}

/// Writes the keys of one db, and reports the progress to the parent.
fn rdb_save_keys(
    server: &mut Server,
    rdb: &mut Rio,
    dict: &Keyspace,
    progress: &mut SaveProgress,
) -> CResult {
    for e in dict.iter() {
        rdb_save_entry(server, rdb, e)?;

        // As part of an AOF rewrite: move the diff that the parent has accumulated to this child
        // from time to time. Less of it is then left to write at the end, and the pipe, which is
        // small, does not fill up.
        if progress.aof_preamble && rioTell(rdb) > progress.processed + AOF_READ_DIFF_INTERVAL_BYTES
        {
            progress.processed = rioTell(rdb);
            aofReadDiffFromParent(server);
        }

        // Report to the parent about once a second. Reading the clock for each key would be slow,
        // so it is read every 1024 keys.
        progress.key_count += 1;
        if progress.key_count & 1023 == 1 {
            let now = steady_ms();
            if now - progress.info_updated_time >= 1000 {
                // The parent shows them in INFO (`current_save_keys_processed`), and adds the
                // memory that was copied so far.
                let keys = progress.key_count;
                sendChildInfo(server, CHILD_INFO_TYPE_CURRENT_INFO, keys, progress.pname);
                progress.info_updated_time = now;
            }
        }
    }
    C_OK
}

/// Writes an entry of the keyspace: [`rdbSaveKeyValuePair`].
#[inline]
fn rdb_save_entry(server: &Server, rdb: &mut Rio, e: Entry<'_>) -> CResult {
    rdbSaveKeyValuePair(server, rdb, e.key(), e.value(), e.lru(), e.expire().unwrap_or(-1))
}

/// Writes the data set as [`rdbSaveRio`] does, in the form in which it is streamed: between
/// `$EOF:<40 bytes>\r\n` and the same 40 bytes, which are random. The reader knows by them where
/// the RDB ends, since its length is not known in advance.
pub fn rdbSaveRioWithEOFMark(
    server: &mut Server,
    rdb: &mut Rio,
    rsi: Option<&rdbSaveInfo>,
) -> io::Result<()> {
    startSaving(RDBFLAGS_REPLICATION);
    let mut eofmark = [0; RDB_EOF_MARK_SIZE];
    getRandomHexChars(&mut eofmark);
    let header = bformat!("$EOF:{}\r\n", B(&eofmark));
    // It leaves the stream at once, so that it is no part of the checksum of the RDB.
    let written = rioWrite(rdb, &header).and_then(|()| rioFlush(rdb));
    let saved = match written {
        Ok(()) => rdbSaveRio(server, rdb, RDBFLAGS_NONE, rsi)
            .and_then(|()| rioWrite(rdb, &eofmark).map_err(|()| rio_take_error(rdb))),
        Err(()) => Err(rio_take_error(rdb)),
    };
    stopSaving(saved.is_ok());
    saved
}

/// Returns the working directory, for log messages.
fn root_dir() -> Vec<u8> {
    getcwd().unwrap_or_else(|_| b"unknown".to_vec())
}

/// Returns the name of the temporary file to which process `pid` saves. It is renamed when it is
/// complete.
fn rdb_temp_file(pid: i32) -> Vec<u8> {
    bformat!("temp-{}.rdb", pid)
}

/// Saves the data set to the file `filename`. The data is written to a temporary file, which
/// replaces `filename` when it is complete and synced, so that a crash at any time leaves one whole
/// file. `C_ERR`: the log says why, and the old file is as it was.
pub fn rdbSave(server: &mut Server, filename: &[u8], rsi: Option<&rdbSaveInfo>) -> CResult {
    let tmpfile = rdb_temp_file(getpid());
    // The name has the pid of the process in it, so that a SAVE and a child that is being killed do
    // not write to the same file.
    let fd = match open(&tmpfile, libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC, 0o666) {
        Ok(fd) => fd,
        Err(e) => {
            serverLog!(
                LL_WARNING,
                "Failed opening the RDB file {} (in server root dir {}) for saving: {}",
                B(filename),
                B(&root_dir()),
                error_text(&e)
            );
            return C_ERR;
        }
    };

    let mut rdb = rioInitWithFile(fd, 0);
    startSaving(RDBFLAGS_NONE);
    trace!(server, "save", "what": "begin", "file": filename);
    // Sync every few megabytes instead of all at the end: one large fsync would saturate the disk,
    // and delay those of the AOF in the parent.
    if server.rdb_save_incremental_fsync {
        rioSetAutoSync(&mut rdb, REDIS_AUTOSYNC_BYTES);
    }

    // Sync before the rename: otherwise a power failure could leave the name with a file whose data
    // is still in the buffers of the kernel.
    let saved = rdbSaveRio(server, &mut rdb, RDBFLAGS_NONE, rsi)
        .and_then(|()| rioFlush(&mut rdb).map_err(|()| rio_take_error(&mut rdb)))
        .and_then(|()| fsync(fd));
    close(fd);
    if let Err(e) = saved {
        serverLog!(LL_WARNING, "Write error saving DB on disk: {}", error_text(&e));
        trace!(server, "save", "what": "failed", "file": filename);
        let _ = unlink(&tmpfile);
        stopSaving(false);
        return C_ERR;
    }

    if let Err(e) = rename(&tmpfile, filename) {
        serverLog!(
            LL_WARNING,
            "Error moving temp DB file {} on the final destination {} (in server root dir {}): {}",
            B(&tmpfile),
            B(filename),
            B(&root_dir()),
            error_text(&e)
        );
        let _ = unlink(&tmpfile);
        stopSaving(false);
        return C_ERR;
    }

    serverLog!(LL_NOTICE, "DB saved on disk");
    trace!(server, "save", "what": "done", "file": filename);
    server.dirty = 0;
    server.lastsave = time();
    server.lastsave_steady = steady_ms() / 1000;
    server.lastbgsave_status = CStatus::Ok;
    stopSaving(true);
    C_OK
}

/// Saves the data set in a child process, which has a snapshot of the memory by copy-on-write.
/// `C_ERR`: a child process is active already, or fork failed. [`backgroundSaveDoneHandler`] is
/// called when the child has exited.
pub fn rdbSaveBackground(
    server: &mut Server,
    filename: &[u8],
    rsi: Option<&rdbSaveInfo>,
) -> CResult {
    if hasActiveChildProcess(server) {
        return C_ERR;
    }
    // The writes up to the fork are in the snapshot. When the child succeeds they are subtracted
    // from `dirty`, and those that came meanwhile stay.
    server.dirty_before_bgsave = server.dirty;
    server.lastbgsave_try = steady_ms() / 1000;

    match redisFork(server, CHILD_TYPE_RDB) {
        Ok(Fork::Child) => {
            let _ = redisSetProcTitle(server, Some(b"redis-rdb-bgsave"));
            redisSetCpuAffinity(server.bgsave_cpulist.as_deref());
            let retval = rdbSave(server, filename, rsi);
            if retval.is_ok() {
                // How much memory copy-on-write has duplicated, for INFO and the log.
                sendChildCowInfo(server, CHILD_INFO_TYPE_RDB_COW_SIZE, "RDB");
            }
            exitFromChild(if retval.is_ok() { 0 } else { 1 })
        }
        Err(e) => {
            server.lastbgsave_status = CStatus::Err;
            serverLog!(LL_WARNING, "Can't save in background: fork: {}", error_text(&e));
            C_ERR
        }
        Ok(Fork::Parent(childpid)) => {
            serverLog!(LL_NOTICE, "Background saving started by pid {}", childpid);
            server.rdb_save_time_start = time();
            server.rdb_child_type = RDB_CHILD_TYPE_DISK;
            C_OK
        }
    }
}

/// Removes the temporary file of the child `childpid`. `from_signal` says that a signal handler
/// calls this, in which only async-signal-safe functions may be called: the name is put together on
/// the stack, without an allocation.
// C: outside of a signal handler `bg_unlink` is called, so that a background thread frees the
// blocks. Here `backgroundSaveDoneHandlerDisk` does that itself, and the other callers are about to
// exit.
pub fn rdbRemoveTempFile(childpid: i32, from_signal: bool) {
    if from_signal {
        let mut buf = [0; 32];
        let pid = ll2string(childpid.into());
        let mut len = 0;
        for part in [&b"temp-"[..], &pid, b".rdb"] {
            buf[len..len + part.len()].copy_from_slice(part);
            len += part.len();
        }
        let _ = unlink(&buf[..len]);
    } else {
        let _ = unlink(&rdb_temp_file(childpid));
    }
}

/// The reason why a value could not be loaded (`RDB_LOAD_ERR_*`).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum RdbLoadErr {
    /// The value has no elements. Bugs of older versions have left such keys in files, so a load
    /// skips the key and goes on.
    EMPTY_KEY,
    /// The value is whole, but 6.2 can't hold it: it has a time at which a field expires, or is of
    /// a type that this server does not have. It was reported.
    NO_6_2_FORM,
    /// Any other error. If it was not reported, bytes are missing.
    OTHER,
}

/// Returns the name of a module's type, which is encoded in its 64 bit id: nine characters of six
/// bits each, followed by ten bits of version.
pub fn moduleTypeNameByID(moduleid: u64) -> [u8; 9] {
    const CHARSET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut name = [0; 9];
    let mut id = moduleid >> 10;
    for c in name.iter_mut().rev() {
        *c = CHARSET[(id & 63) as usize];
        id >>= 6;
    }
    name
}

/// Tells whether a packed value that is being loaded is validated element by element, and checked
/// for duplicates. `sanitize-dump-payload` says so: always, never, or, with `clients`, only for a
/// RESTORE by a client other than the master, whose user does not have the flag
/// `skip-sanitize-payload`.
fn sanitizes_deeply(server: &Server) -> bool {
    if server.sanitize_dump_payload != SANITIZE_DUMP_CLIENTS {
        return server.sanitize_dump_payload == SANITIZE_DUMP_YES;
    }
    if server.loading {
        return false;
    }
    let Some(c) = server.current_client else { return true };
    let skips = |user: UserId| server.users[user].flags & USER_FLAG_SANITIZE_PAYLOAD_SKIP != 0;
    server[c].flags & CLIENT_MASTER == 0 && !server[c].user.is_some_and(skips)
}

/// Tells whether the data comes from a file or from the master, rather than from a client.
///
/// Genuine servers have written some inconsistent values, through bugs. In a file or from the
/// master these are repaired, because there is no other copy of the data. From a client they are
/// refused: RESTORE can reply with an error.
fn comes_from_file_or_master(server: &Server) -> bool {
    let from_master = |c: ClientId| server[c].flags & CLIENT_MASTER != 0;
    server.loading || server.current_client.is_some_and(from_master)
}

/// Logs a repair of a value that comes from a file or from the master. Nothing is logged in
/// redis-check-rdb.
macro_rules! rdb_report_mended {
    ($server:expr, $key:expr, $($arg:tt)+) => {
        if $server.rdb_check.is_none() {
            serverLog!(LL_WARNING, "Key '{}': {}", B(c_str($key)), B(&bformat!($($arg)+)));
        }
    };
}

/// Reports a packed value that failed its validation. `passes` says that it would be loaded without
/// the deep validation; the message then names the directive that turns it off.
fn rdb_report_unsound(server: &mut Server, linenum: u32, reason: &str, passes: bool) {
    let way_out = if passes { " It is not looked at with 'sanitize-dump-payload no'." } else { "" };
    rdbReportError(server, true, linenum, &bformat!("{}{}", reason, way_out));
}

/// Returns a copy of a ziplist of pairs without the duplicates: of pairs with the same first
/// element (field or member) the first is kept, which is the one that commands have found. Returns
/// `None` if the ziplist is corrupt otherwise, or, with `scores`, has a score that is NaN.
fn rdb_drop_duplicates(zl: &[u8], scores: bool) -> Option<Ziplist> {
    let mut entries = Vec::new();
    let mut collect = |p: usize| ziplistGet(zl, p).map(|entry| entries.push(entry)).is_some();
    // A pair that is incomplete is not repaired either.
    if !ziplistValidateIntegrity(zl, true, Some(&mut collect)) || entries.len() % 2 != 0 {
        return None;
    }
    let mut seen = HashSet::new();
    let mut out = ziplistNew();
    for pair in entries.chunks_exact(2) {
        if scores && zzl_score(pair[1]).is_nan() {
            return None;
        }
        let first = element_text(pair[0]).to_vec();
        if !seen.contains(&first) {
            ziplistPush(&mut out, &first, ZIPLIST_TAIL);
            ziplistPush(&mut out, &element_text(pair[1]), ZIPLIST_TAIL);
            seen.insert(first);
        }
    }
    Some(out)
}

/// Skips the serialized value of a module, in redis-check-rdb. The opcodes in it say how to parse
/// it without the module. Returns `None` if bytes are missing or it is corrupt, which was reported.
pub fn rdbLoadCheckModuleValue(
    server: &mut Server,
    rdb: &mut Rio,
    modulename: &[u8],
) -> Option<()> {
    loop {
        let (what, read) = match rdbLoadLen(server, rdb)? {
            RDB_MODULE_OPCODE_EOF => return Some(()),
            RDB_MODULE_OPCODE_SINT | RDB_MODULE_OPCODE_UINT => {
                ("integer", rdbLoadLenByRef(server, rdb).is_some())
            }
            RDB_MODULE_OPCODE_STRING => {
                ("string", rdbGenericLoadStringObject(server, rdb).is_some())
            }
            RDB_MODULE_OPCODE_FLOAT => ("float", rdbLoadBinaryFloatValue(server, rdb).is_some()),
            RDB_MODULE_OPCODE_DOUBLE => ("double", rdbLoadBinaryDoubleValue(server, rdb).is_some()),
            // C: an unknown opcode is skipped, too.
            _ => continue,
        };
        if !read {
            rdbReportCorruptRDB!(
                server,
                "Error reading {} from module {} value",
                what,
                B(modulename)
            );
            return None;
        }
    }
}

/// Reads a value of type `rdbtype`. `rdbver` is the version of the file or payload, and `key` is
/// for messages. A short string is borrowed from the stream.
///
/// `Err` is [`RdbLoadErr`]; corrupt data was reported. How deeply a packed value is validated
/// depends on [`sanitizes_deeply`]: one that is corrupt and accepted here aborts the process
/// when a command reads that part of it.
#[inline]
pub fn rdbLoadObject<'a>(
    server: &mut Server,
    rdbtype: u8,
    rdb: &'a mut Rio,
    key: &[u8],
    rdbver: i32,
) -> Result<Value<'a>, RdbLoadErr> {
    match rdbtype {
        RDB_TYPE_STRING => rdbLoadEncodedStringObject(server, rdb).ok_or(RdbLoadErr::OTHER),
        RDB_TYPE_MODULE_2 if server.rdb_check.is_some() => {
            let moduleid = rdbLoadLen(server, rdb).ok_or(RdbLoadErr::OTHER)?;
            let name = moduleTypeNameByID(moduleid);
            rdbLoadCheckModuleValue(server, rdb, &name).ok_or(RdbLoadErr::OTHER)?;
            Ok(Value::Str(b"module-dummy-value"))
        }
        _ => {
            let a = rdb_load_aggregate(server, rdbtype, rdb, key, rdbver)?;
            Ok(Value::Own(Object::Aggregate(a)))
        }
    }
}

/// Reads a value that has elements: [`rdbLoadObject`] for all types other than strings.
#[inline(never)]
fn rdb_load_aggregate(
    server: &mut Server,
    rdbtype: u8,
    rdb: &mut Rio,
    key: &[u8],
    rdbver: i32,
) -> Result<Aggregate, RdbLoadErr> {
    if !rdbIsObjectType(rdbtype, rdbver) {
        return Err(rdb_refuse_type(server, rdbtype, rdb, key, rdbver));
    }
    match rdbtype {
        RDB_TYPE_LIST => rdb_load_list(server, rdb).map(Aggregate::List),
        RDB_TYPE_SET => rdb_load_set(server, rdb).map(Aggregate::Set),
        RDB_TYPE_ZSET_2 | RDB_TYPE_ZSET => rdb_load_zset(server, rdb, rdbtype).map(Aggregate::Zset),
        RDB_TYPE_HASH => rdb_load_hash(server, rdb).map(Aggregate::Hash),
        RDB_TYPE_LIST_QUICKLIST => rdb_load_quicklist(server, rdb).map(Aggregate::List),
        RDB_TYPE_LIST_QUICKLIST_2 => rdb_load_quicklist2(server, rdb).map(Aggregate::List),
        RDB_TYPE_STREAM_LISTPACKS | RDB_TYPE_STREAM_LISTPACKS_2 | RDB_TYPE_STREAM_LISTPACKS_3 => {
            let s = rdb_load_stream(server, rdb, rdbtype, key).ok_or(RdbLoadErr::OTHER)?;
            Ok(Aggregate::Stream(Box::new(s)))
        }
        RDB_TYPE_HASH_2 if rdbver >= *RDB_VERSION_VALKEY.start() => {
            rdb_load_hash_2(server, rdb, key, rdbver).map(Aggregate::Hash)
        }
        RDB_TYPE_HASH_METADATA => {
            rdb_load_hash_metadata(server, rdb, key, rdbver).map(Aggregate::Hash)
        }
        RDB_TYPE_HASH_ZIPMAP
        | RDB_TYPE_LIST_ZIPLIST
        | RDB_TYPE_SET_INTSET
        | RDB_TYPE_ZSET_ZIPLIST
        | RDB_TYPE_HASH_ZIPLIST
        | RDB_TYPE_HASH_LISTPACK
        | RDB_TYPE_ZSET_LISTPACK
        | RDB_TYPE_SET_LISTPACK
        | RDB_TYPE_HASH_LISTPACK_EX => rdb_load_encoded(server, rdbtype, rdb, key, rdbver),
        _ => Err(rdb_refuse_type(server, rdbtype, rdb, key, rdbver)),
    }
}

/// Returns for how many of `len` elements, each of which takes at least `size` bytes in the file,
/// room is made in advance. A corrupt length allocates no more than the bytes that are left could
/// fill.
fn capacity_hint(rdb: &Rio, len: u64, size: u64) -> usize {
    len.min(rio_remaining(rdb).map_or(1 << 20, |bytes| bytes / size)) as usize
}

/// Reads the number of elements of a value. 0 is `EMPTY_KEY`.
fn rdb_load_count(server: &mut Server, rdb: &mut Rio) -> Result<u64, RdbLoadErr> {
    match rdbLoadLen(server, rdb) {
        None => Err(RdbLoadErr::OTHER),
        Some(0) => Err(RdbLoadErr::EMPTY_KEY),
        Some(len) => Ok(len),
    }
}

/// Reports a corrupt value, and returns the error.
fn rdb_report_corrupt<T>(server: &mut Server, linenum: u32, reason: &str) -> Result<T, RdbLoadErr> {
    rdbReportError(server, true, linenum, reason.as_bytes());
    Err(RdbLoadErr::OTHER)
}

/// Returns `value`, or reports `reason` if it is `None`.
fn or_corrupt<T>(
    server: &mut Server,
    linenum: u32,
    value: Option<T>,
    reason: &str,
) -> Result<T, RdbLoadErr> {
    match value {
        Some(value) => Ok(value),
        None => rdb_report_corrupt(server, linenum, reason),
    }
}

/// Adds an element to the end of a list. Returns `false` if it is too long to be an element.
fn rdb_add_to_list(ql: &mut Quicklist, ele: &[u8]) -> bool {
    if ele.len() >= LIST_ELEMENT_LIMIT {
        return false;
    }
    quicklistPushTail(ql, ele);
    true
}

/// Reads a list whose elements are written one by one (`RDB_TYPE_LIST`, which old versions wrote).
fn rdb_load_list(server: &mut Server, rdb: &mut Rio) -> Result<Quicklist, RdbLoadErr> {
    let len = rdb_load_count(server, rdb)?;
    let mut ql = quicklistNew(server.list_max_ziplist_size, server.list_compress_depth);
    for _ in 0..len {
        let ele = rdbGenericLoadStringObject(server, rdb).ok_or(RdbLoadErr::OTHER)?;
        if !rdb_add_to_list(&mut ql, ele.bytes(&mut itoa::Buffer::new())) {
            return rdb_report_corrupt(server, line!(), "List element is too big");
        }
    }
    Ok(ql)
}

/// A set that is being loaded. It is an intset as long as all members are integers, and few enough;
/// else strings in one block while they fit, which they can't if there are many to come.
struct SetBuilder {
    set: Set,
    /// Members that are not in the table of `set` yet, and are added in a batch.
    waiting: DictBatch<SdsEntry>,
    /// The number of members to make room for in the table.
    room: usize,
}

impl SetBuilder {
    /// Returns an empty builder for `len` members, as the file claims, with a table for `room`
    /// members.
    fn new(server: &Server, len: u64, room: usize) -> SetBuilder {
        let mut builder =
            SetBuilder { set: Set::Intset(intsetNew()), waiting: DictBatch::default(), room };
        if len > server.set_max_intset_entries.min(1 << 30) as u64 {
            builder.convert();
        }
        builder
    }

    /// Converts the set to a table, or what stands in for one, with room for the members to come.
    fn convert(&mut self) {
        setTypeConvert(&mut self.set);
        if self.room > STRSET_MAX_MEMBERS {
            self.convert_to_table();
        }
    }

    /// Converts the set to a table, with room for the members to come.
    fn convert_to_table(&mut self) {
        if let Set::Strings(set) = &self.set {
            self.set = Set::Ht(Box::new(table_of_strings(set)));
        }
        if let Set::Ht(d) = &mut self.set
            && self.room > DICT_HT_INITIAL_SIZE
        {
            dictExpand(d, self.room);
        }
    }

    /// Adds a member. Returns `false` if this member, or another one of its batch, is a duplicate.
    fn add(&mut self, ele: &[u8]) -> bool {
        if let Set::Intset(is) = &mut self.set {
            if let Some(llval) = string2ll(ele) {
                return intsetAdd(is, llval);
            }
            self.convert();
        }
        if let Set::Strings(set) = &mut self.set {
            if strset_find(set, ele) {
                return false;
            }
            if strset_fits(set, ele) {
                strset_add(set, ele);
                return true;
            }
            self.convert_to_table();
        }
        match &mut self.set {
            Set::Ht(d) => dict_add_later(d, &mut self.waiting, SdsEntry::new(ele)),
            Set::Intset(_) | Set::Strings(_) => unreachable!("it was converted just now"),
        }
    }

    /// Adds the last batch and returns the set. Returns `None` if there is a duplicate among the
    /// members of the batch.
    fn finish(mut self) -> Option<Set> {
        let all_new = match &mut self.set {
            Set::Ht(d) => dict_add_batch(d, &mut self.waiting),
            Set::Intset(_) | Set::Strings(_) => true,
        };
        all_new.then_some(self.set)
    }
}

/// Reads a set whose members are written one by one (`RDB_TYPE_SET`).
fn rdb_load_set(server: &mut Server, rdb: &mut Rio) -> Result<Set, RdbLoadErr> {
    let len = rdb_load_count(server, rdb)?;
    let mut set = SetBuilder::new(server, len, capacity_hint(rdb, len, 1));
    for _ in 0..len {
        let ele = rdbGenericLoadStringObject(server, rdb).ok_or(RdbLoadErr::OTHER)?;
        if !set.add(ele.bytes(&mut itoa::Buffer::new())) {
            return rdb_report_corrupt(server, line!(), "Duplicate set members detected");
        }
    }
    or_corrupt(server, line!(), set.finish(), "Duplicate set members detected")
}

/// Reads a sorted set whose members are written one by one (`RDB_TYPE_ZSET` with scores as text,
/// `RDB_TYPE_ZSET_2` with binary scores). It is converted to a ziplist if the configuration allows
/// it.
fn rdb_load_zset(server: &mut Server, rdb: &mut Rio, rdbtype: u8) -> Result<Zset, RdbLoadErr> {
    let zsetlen = rdb_load_count(server, rdb)?;
    let (mut maxelelen, mut totelelen) = (0, 0);
    let mut zs = Box::new(zset::new());
    let room = capacity_hint(rdb, zsetlen, 2);
    if room > DICT_HT_INITIAL_SIZE {
        zs.dict.try_expand(room);
    }

    let (mut ele, mut waiting) = (Vec::new(), Vec::new());
    for _ in 0..zsetlen {
        ele.clear();
        rdbGenericLoadStringObject(server, rdb).ok_or(RdbLoadErr::OTHER)?.append_to(&mut ele);
        let score = if rdbtype == RDB_TYPE_ZSET_2 {
            rdbLoadBinaryDoubleValue(server, rdb)
        } else {
            rdbLoadDoubleValue(server, rdb)
        };
        let score = score.ok_or(RdbLoadErr::OTHER)?;
        // C: a NaN score aborts the process.
        if score.is_nan() {
            return rdb_report_corrupt(server, line!(), "Zset with NAN score detected");
        }
        maxelelen = ele.len().max(maxelelen);
        totelelen += ele.len();
        if !zs.add_later(&mut waiting, score, &ele) {
            return rdb_report_corrupt(server, line!(), "Duplicate zset fields detected");
        }
    }
    if !zs.add_batch(&mut waiting) {
        return rdb_report_corrupt(server, line!(), "Duplicate zset fields detected");
    }

    // The conversion comes last, because the members are in descending order and a ziplist needs
    // them ascending.
    let mut zobj = Zset::Skiplist(zs);
    zsetConvertToZiplistIfNeeded(&mut zobj, maxelelen, totelelen, &ZsetLimits::of(server));
    Ok(zobj)
}

/// A hash that is being loaded. It is a ziplist as long as it is small enough.
struct HashBuilder {
    hash: Hash,
    /// The fields in the ziplist, to find duplicates; `None` without deep validation.
    fields: Option<HashSet<Vec<u8>>>,
    /// Pairs that are not in the table of `hash` yet, and are added in a batch.
    waiting: DictBatch<PairEntry>,
    max_value: usize,
}

impl HashBuilder {
    /// Returns an empty builder for `len` fields, as the file claims, with a table for `room`
    /// fields.
    ///
    /// With `deep`, duplicates are also looked for while the hash is a ziplist. They would do no
    /// harm there, but the conversion to a table, which a later command may cause, aborts the
    /// process at a duplicate.
    fn new(server: &Server, len: u64, room: usize, deep: bool) -> HashBuilder {
        let mut builder = HashBuilder {
            hash: createHashObject(),
            fields: deep.then(HashSet::new),
            waiting: DictBatch::default(),
            max_value: server.hash_max_ziplist_value,
        };
        if len > server.hash_max_ziplist_entries as u64 {
            builder.convert(room);
        }
        builder
    }

    /// Converts the hash to a table with `room` for the fields to come. The table finds duplicates
    /// itself, so the set of fields is dropped.
    fn convert(&mut self, room: usize) {
        self.fields = None;
        hashTypeConvert(&mut self.hash);
        if let Hash::Ht(ht) = &mut self.hash
            && room > DICT_HT_INITIAL_SIZE
        {
            dictExpand(ht, room);
        }
    }

    /// Adds a field and its value. `room` is the number of fields still to come. Returns `false` if
    /// this field, or another one of its batch, is a duplicate.
    fn add(&mut self, field: &[u8], value: &[u8], room: usize) -> bool {
        if let Hash::Ziplist(zl) = &mut self.hash {
            if self.fields.as_mut().is_some_and(|fields| !fields.insert(field.to_vec())) {
                return false;
            }
            let fits = field.len() <= self.max_value
                && value.len() <= self.max_value
                && ziplistSafeToAdd(Some(zl), field.len() + value.len());
            if fits {
                ziplistPush(zl, field, ZIPLIST_TAIL);
                ziplistPush(zl, value, ZIPLIST_TAIL);
                return true;
            }
            self.convert(room);
        }
        match &mut self.hash {
            Hash::Ht(ht) => dict_add_later(ht, &mut self.waiting, PairEntry::new(field, value)),
            Hash::Ziplist(_) => unreachable!("it was converted just now"),
        }
    }

    /// Adds the last batch and returns the hash. Returns `None` if there is a duplicate among the
    /// fields of the batch.
    fn finish(mut self) -> Option<Hash> {
        let all_new = match &mut self.hash {
            Hash::Ht(ht) => dict_add_batch(ht, &mut self.waiting),
            Hash::Ziplist(_) => true,
        };
        all_new.then_some(self.hash)
    }
}

/// Reads a hash whose fields and values are written one by one (`RDB_TYPE_HASH`).
fn rdb_load_hash(server: &mut Server, rdb: &mut Rio) -> Result<Hash, RdbLoadErr> {
    let len = rdb_load_count(server, rdb)?;
    let deep = sanitizes_deeply(server);
    let mut hash = HashBuilder::new(server, len, capacity_hint(rdb, len, 2), deep);
    let mut field = Vec::new();
    for i in 0..len {
        field.clear();
        rdbGenericLoadStringObject(server, rdb).ok_or(RdbLoadErr::OTHER)?.append_to(&mut field);
        let room = capacity_hint(rdb, len - i, 2);
        let value = rdbGenericLoadStringObject(server, rdb).ok_or(RdbLoadErr::OTHER)?;
        if !hash.add(&field, value.bytes(&mut itoa::Buffer::new()), room) {
            return rdb_report_corrupt(server, line!(), "Duplicate hash fields detected");
        }
    }
    or_corrupt(server, line!(), hash.finish(), "Duplicate hash fields detected")
}

/// Reads a hash whose fields may have an expiration time (`RDB_TYPE_HASH_METADATA`), as servers
/// from 7.4 on write it. It is refused if a field has one, which 6.2 can't keep.
// C: there is no such type.
fn rdb_load_hash_metadata(
    server: &mut Server,
    rdb: &mut Rio,
    key: &[u8],
    rdbver: i32,
) -> Result<Hash, RdbLoadErr> {
    // When the first of its fields expires.
    rdbLoadMillisecondTime(server, rdb).ok_or(RdbLoadErr::OTHER)?;
    let len = rdb_load_count(server, rdb)?;
    let mut hash = HashBuilder::new(server, len, capacity_hint(rdb, len, 3), true);
    let mut field = Vec::new();
    for i in 0..len {
        let (ttl, _) = rdbLoadLenByRef(server, rdb).ok_or(RdbLoadErr::OTHER)?;
        if ttl != 0 {
            return Err(rdb_refuse_type(server, RDB_TYPE_HASH_METADATA, rdb, key, rdbver));
        }
        field.clear();
        rdbGenericLoadStringObject(server, rdb).ok_or(RdbLoadErr::OTHER)?.append_to(&mut field);
        let room = capacity_hint(rdb, len - i, 3);
        let value = rdbGenericLoadStringObject(server, rdb).ok_or(RdbLoadErr::OTHER)?;
        if !hash.add(&field, value.bytes(&mut itoa::Buffer::new()), room) {
            return rdb_report_corrupt(server, line!(), "Duplicate hash fields detected");
        }
    }
    or_corrupt(server, line!(), hash.finish(), "Duplicate hash fields detected")
}

/// Reads a hash whose fields may have an expiration time as Valkey writes it from 9.0 on
/// (`RDB_TYPE_HASH_2`). It is refused if a field has one.
// C: there is no such type.
fn rdb_load_hash_2(
    server: &mut Server,
    rdb: &mut Rio,
    key: &[u8],
    rdbver: i32,
) -> Result<Hash, RdbLoadErr> {
    let len = rdb_load_count(server, rdb)?;
    // A field takes 10 bytes at least: two strings, and eight bytes of time.
    let mut hash = HashBuilder::new(server, len, capacity_hint(rdb, len, 10), true);
    let (mut field, mut value) = (Vec::new(), Vec::new());
    for i in 0..len {
        field.clear();
        rdbGenericLoadStringObject(server, rdb).ok_or(RdbLoadErr::OTHER)?.append_to(&mut field);
        value.clear();
        rdbGenericLoadStringObject(server, rdb).ok_or(RdbLoadErr::OTHER)?.append_to(&mut value);
        if rdbLoadMillisecondTime(server, rdb).ok_or(RdbLoadErr::OTHER)? != -1 {
            return Err(rdb_refuse_type(server, RDB_TYPE_HASH_2, rdb, key, rdbver));
        }
        if !hash.add(&field, &value, capacity_hint(rdb, len - i, 10)) {
            return rdb_report_corrupt(server, line!(), "Duplicate hash fields detected");
        }
    }
    or_corrupt(server, line!(), hash.finish(), "Duplicate hash fields detected")
}

/// Reads a list whose nodes are ziplists (`RDB_TYPE_LIST_QUICKLIST`), which become the nodes of the
/// quicklist as they are. The state of the compressor is lent to the quicklist meanwhile, and
/// returned even after an error.
fn rdb_load_quicklist(server: &mut Server, rdb: &mut Rio) -> Result<Quicklist, RdbLoadErr> {
    let len = rdb_load_count(server, rdb)?;
    let mut ql = quicklistNew(server.list_max_ziplist_size, server.list_compress_depth);
    let loaded = rdb_load_quicklist_nodes(server, rdb, len, &mut ql);
    rdb.lzf = ql.return_lzf().or(rdb.lzf.take());
    loaded?;
    if quicklistCount(&ql) == 0 { Err(RdbLoadErr::EMPTY_KEY) } else { Ok(ql) }
}

/// Reads the `len` nodes of [`rdb_load_quicklist`] and appends them to `ql`.
fn rdb_load_quicklist_nodes(
    server: &mut Server,
    rdb: &mut Rio,
    len: u64,
    ql: &mut Quicklist,
) -> Result<(), RdbLoadErr> {
    let deep = sanitizes_deeply(server);
    for _ in 0..len {
        let zl = rdbGenericLoadStringObject(server, rdb).ok_or(RdbLoadErr::OTHER)?;
        let mut buf = itoa::Buffer::new();
        server.stat_dump_payload_sanitizations += i64::from(deep);
        match Ziplist::from_slice(zl.bytes(&mut buf))
            .filter(|zl| ziplistValidateIntegrity(zl, deep, None))
        {
            None => {
                let passes = ziplistValidateIntegrity(zl.bytes(&mut buf), false, None);
                rdb_report_unsound(server, line!(), "Ziplist integrity check failed.", passes);
                return Err(RdbLoadErr::OTHER);
            }
            // Skip an empty node. If all are empty the list is an empty key.
            Some(zl) if ziplistLen(&zl) == 0 => {}
            Some(zl) => {
                // One compressor serves all nodes, one after the other.
                ql.lend_lzf(&mut rdb.lzf);
                quicklistAppendZiplist(ql, zl);
            }
        }
    }
    Ok(())
}

/// Reads a list as servers from 7.0 on write it (`RDB_TYPE_LIST_QUICKLIST_2`): each node is a
/// listpack, or one long element by itself. The elements are pushed to a quicklist of ziplists.
// C: there is no such type.
fn rdb_load_quicklist2(server: &mut Server, rdb: &mut Rio) -> Result<Quicklist, RdbLoadErr> {
    let len = rdb_load_count(server, rdb)?;
    let mut ql = quicklistNew(server.list_max_ziplist_size, server.list_compress_depth);
    for _ in 0..len {
        let container = rdbLoadLen(server, rdb).ok_or(RdbLoadErr::OTHER)?;
        let node = rdbGenericLoadStringObject(server, rdb).ok_or(RdbLoadErr::OTHER)?;
        let mut buf = itoa::Buffer::new();
        let node = node.bytes(&mut buf);
        let ok = match container {
            QUICKLIST_NODE_CONTAINER_PLAIN => rdb_add_to_list(&mut ql, node),
            QUICKLIST_NODE_CONTAINER_PACKED => {
                let sound = lpValidateIntegrity(node, true);
                if sound {
                    for ele in listpack_elements(node) {
                        quicklistPushTail(&mut ql, &element_text(ele));
                    }
                }
                sound
            }
            _ => false,
        };
        if !ok {
            return rdb_report_corrupt(server, line!(), "Quicklist integrity check failed.");
        }
    }
    if quicklistCount(&ql) == 0 { Err(RdbLoadErr::EMPTY_KEY) } else { Ok(ql) }
}

/// Iterates over the elements of a listpack, which must be valid.
fn listpack_elements(lp: &[u8]) -> impl Iterator<Item = ZiplistEntry<'_>> {
    let element = |p| match lpGet(lp, p) {
        ListpackEntry::Str(s) => ZiplistEntry::Str(s),
        ListpackEntry::Int(n) => ZiplistEntry::Int(n),
    };
    std::iter::successors(lpFirst(lp), |&p| lpNext(lp, p)).map(element)
}

/// Reads a value that is one blob: a ziplist, an intset, a zipmap or a listpack.
///
/// A value that has more elements than the configuration allows for its encoding is converted. Only
/// the number of elements is compared, and not their length, which would take a scan in O(N); such
/// a value is converted when a command next changes it.
fn rdb_load_encoded(
    server: &mut Server,
    rdbtype: u8,
    rdb: &mut Rio,
    key: &[u8],
    rdbver: i32,
) -> Result<Aggregate, RdbLoadErr> {
    if rdbtype == RDB_TYPE_HASH_LISTPACK_EX {
        // When the first of its fields expires.
        rdbLoadMillisecondTime(server, rdb).ok_or(RdbLoadErr::OTHER)?;
    }
    let encoded = rdbGenericLoadStringObject(server, rdb).ok_or(RdbLoadErr::OTHER)?;
    let mut buf = itoa::Buffer::new();
    let encoded = encoded.bytes(&mut buf);
    let deep = sanitizes_deeply(server);
    if rdbtype != RDB_TYPE_HASH_ZIPMAP {
        server.stat_dump_payload_sanitizations += i64::from(deep);
    }
    match rdbtype {
        RDB_TYPE_HASH_ZIPMAP => rdb_convert_zipmap(server, encoded).map(Aggregate::Hash),
        RDB_TYPE_LIST_ZIPLIST => {
            let zl = encoded;
            if !ziplistValidateIntegrity(zl, deep, None) {
                return rdb_report_corrupt(server, line!(), "List ziplist integrity check failed.");
            }
            if ziplistLen(zl) == 0 {
                return Err(RdbLoadErr::EMPTY_KEY);
            }
            let (fill, compress) = (server.list_max_ziplist_size, server.list_compress_depth);
            Ok(Aggregate::List(quicklistCreateFromZiplist(fill, compress, zl)))
        }
        RDB_TYPE_SET_INTSET => {
            // C: the order is checked only when it sanitizes. The check is cheap, and SRANDMEMBER
            // can loop endlessly on a set with duplicate numbers.
            let Some(is) =
                Intset::from_slice(encoded).filter(|is| intsetValidateIntegrity(is, true))
            else {
                return rdb_report_corrupt(server, line!(), "Intset integrity check failed.");
            };
            // The limits may have been configured lower since the file was written.
            let convert = intsetLen(&is) as usize > server.set_max_intset_entries;
            let mut set = Set::Intset(is);
            if convert {
                setTypeConvert(&mut set);
            }
            Ok(Aggregate::Set(set))
        }
        RDB_TYPE_ZSET_ZIPLIST => {
            let sound = |zl: &Ziplist| zsetZiplistValidateIntegrity(zl, deep);
            let zl = match Ziplist::from_slice(encoded).filter(sound) {
                Some(zl) => zl,
                None => rdb_mend_pairs(server, line!(), key, encoded, "Zset", true)?,
            };
            let mut zobj = Zset::Ziplist(zl);
            let len = zsetLength(zobj.as_ref());
            if len == 0 {
                return Err(RdbLoadErr::EMPTY_KEY);
            }
            if len > server.zset_max_ziplist_entries {
                zsetConvert(&mut zobj, OBJ_ENCODING_SKIPLIST);
            }
            Ok(Aggregate::Zset(zobj))
        }
        RDB_TYPE_HASH_ZIPLIST => {
            let sound = |zl: &Ziplist| hashZiplistValidateIntegrity(zl, deep);
            let zl = match Ziplist::from_slice(encoded).filter(sound) {
                Some(zl) => zl,
                None => rdb_mend_pairs(server, line!(), key, encoded, "Hash", false)?,
            };
            let mut hash = Hash::Ziplist(zl);
            let len = hashTypeLength(hash.as_ref());
            if len == 0 {
                return Err(RdbLoadErr::EMPTY_KEY);
            }
            if len > server.hash_max_ziplist_entries {
                hashTypeConvert(&mut hash);
            }
            Ok(Aggregate::Hash(hash))
        }
        _ => {
            let encoded = encoded.to_vec();
            rdb_convert_listpack(server, rdbtype, rdb, key, rdbver, &encoded)
        }
    }
}

/// Repairs or reports a ziplist of pairs, `what` being "Zset" or "Hash", that failed its
/// validation. If a field or member is there twice, as genuine servers have written it, the second
/// one is dropped in data from a file or the master, and the rest is returned. Anything else is
/// reported.
fn rdb_mend_pairs(
    server: &mut Server,
    linenum: u32,
    key: &[u8],
    zl: &[u8],
    what: &str,
    scores: bool,
) -> Result<Ziplist, RdbLoadErr> {
    // C: such values are loaded as they are, unless it sanitizes, and abort the process when they
    // are converted to a table.
    if comes_from_file_or_master(server)
        && let Some(mended) = rdb_drop_duplicates(zl, scores)
    {
        let dropped = (ziplistLen(zl) - ziplistLen(&mended)) / 2;
        rdb_report_mended!(server, key, "{} pairs that were there before are left out", dropped);
        return Ok(mended);
    }
    // Above the limit the value is converted to a table at once, which finds the duplicates even
    // without the deep validation.
    let limit =
        if scores { server.zset_max_ziplist_entries } else { server.hash_max_ziplist_entries };
    let passes = ziplistValidateIntegrity(zl, false, None) && ziplistLen(zl) / 2 <= limit;
    rdb_report_unsound(server, linenum, &format!("{what} ziplist integrity check failed."), passes);
    Err(RdbLoadErr::OTHER)
}

/// Converts a zipmap, the encoding of small hashes in Redis 2.4 and before, to a ziplist or a
/// table.
fn rdb_convert_zipmap(server: &mut Server, encoded: &[u8]) -> Result<Hash, RdbLoadErr> {
    if !zipmapValidateIntegrity(encoded, true) {
        return rdb_report_corrupt(server, line!(), "Zipmap integrity check failed.");
    }
    let mut zl = ziplistNew();
    let mut maxlen = 0;
    let mut fields = HashSet::new();
    let mut zi = zipmapRewind();
    while let Some((field, value)) = zipmapNext(encoded, &mut zi) {
        maxlen = maxlen.max(field.len()).max(value.len());
        if !fields.insert(field) || !ziplistSafeToAdd(Some(&zl), field.len() + value.len()) {
            let text = "Hash zipmap with dup elements, or big length";
            let text = format!("{text} ({})", field.len());
            return rdb_report_corrupt(server, line!(), &text);
        }
        ziplistPush(&mut zl, field, ZIPLIST_TAIL);
        ziplistPush(&mut zl, value, ZIPLIST_TAIL);
    }
    let mut hash = Hash::Ziplist(zl);
    // Here each element was read anyway, so that their length counts too.
    if fields.len() > server.hash_max_ziplist_entries || maxlen > server.hash_max_ziplist_value {
        hashTypeConvert(&mut hash);
    }
    Ok(hash)
}

/// Converts a listpack, which servers from 7.0 on write instead of a ziplist or a small table, to
/// an encoding of 6.2. The whole listpack is validated, whatever the configuration says, because
/// each element is read anyway.
// C: there are no such types.
fn rdb_convert_listpack(
    server: &mut Server,
    rdbtype: u8,
    rdb: &mut Rio,
    key: &[u8],
    rdbver: i32,
    lp: &[u8],
) -> Result<Aggregate, RdbLoadErr> {
    // How many elements belong together: a member; a member and its score; a field and its value;
    // or these two and the expiration time of the field.
    let (what, group) = match rdbtype {
        RDB_TYPE_SET_LISTPACK => ("Set listpack integrity check failed.", 1),
        RDB_TYPE_ZSET_LISTPACK => ("Zset listpack integrity check failed.", 2),
        RDB_TYPE_HASH_LISTPACK => ("Hash listpack integrity check failed.", 2),
        _ => ("Hash listpackex integrity check failed.", 3),
    };
    if !lpValidateIntegrity(lp, true) {
        return rdb_report_corrupt(server, line!(), what);
    }
    let len = listpack_elements(lp).count();
    if len == 0 {
        return Err(RdbLoadErr::EMPTY_KEY);
    }
    if !len.is_multiple_of(group) {
        return rdb_report_corrupt(server, line!(), what);
    }
    let mut elements = listpack_elements(lp);
    let len = len / group;

    match rdbtype {
        RDB_TYPE_SET_LISTPACK => {
            let mut set = SetBuilder::new(server, len as u64, len);
            for ele in elements {
                if !set.add(&element_text(ele)) {
                    return rdb_report_corrupt(server, line!(), "Duplicate set members detected");
                }
            }
            or_corrupt(server, line!(), set.finish(), "Duplicate set members detected")
                .map(Aggregate::Set)
        }
        RDB_TYPE_ZSET_LISTPACK => {
            let mut sorted = Vec::with_capacity(len);
            while let (Some(ele), Some(score)) = (elements.next(), elements.next()) {
                let score = match score {
                    ZiplistEntry::Int(n) => n as f64,
                    ZiplistEntry::Str(s) => strtod(c_str(s)).value,
                };
                sorted.push((ele, score));
            }
            // The order is checked first; it excludes that a member is there twice with the same
            // score.
            let in_order = sorted.is_sorted_by(|a, b| zset_order(a, b).is_lt());
            let mut members: Vec<_> = sorted.iter().map(|&(ele, _)| ele).collect();
            if !in_order
                || sorted.iter().any(|(_, score)| score.is_nan())
                || !ziplist_all_distinct(&mut members)
            {
                return rdb_report_corrupt(server, line!(), what);
            }
            Ok(Aggregate::Zset(zset_from_sorted(&sorted, &ZsetLimits::of(server))))
        }
        _ => {
            let mut hash = HashBuilder::new(server, len as u64, len, true);
            while let (Some(field), Some(value)) = (elements.next(), elements.next()) {
                if group == 3 && !matches!(elements.next(), Some(ZiplistEntry::Int(0))) {
                    return Err(rdb_refuse_type(server, rdbtype, rdb, key, rdbver));
                }
                if !hash.add(&element_text(field), &element_text(value), len) {
                    return rdb_report_corrupt(server, line!(), "Duplicate hash fields detected");
                }
            }
            or_corrupt(server, line!(), hash.finish(), "Duplicate hash fields detected")
                .map(Aggregate::Hash)
        }
    }
}

/// Reads a number that is encoded as a length, but may be any 64 bit number, even `RDB_LENERR`.
fn rdb_load_number(server: &mut Server, rdb: &mut Rio) -> Option<u64> {
    rdbLoadLenByRef(server, rdb).map(|(n, _)| n)
}

/// Reads the id of a stream's entry: its milliseconds and its sequence number.
fn rdb_load_stream_id(server: &mut Server, rdb: &mut Rio) -> Option<streamID> {
    Some(streamID { ms: rdb_load_number(server, rdb)?, seq: rdb_load_number(server, rdb)? })
}

/// Returns `read`, or reports `reason` if it is `None`.
fn or_read_error<T>(server: &mut Server, linenum: u32, read: Option<T>, reason: &str) -> Option<T> {
    if read.is_none() {
        rdbReportError(server, false, linenum, reason.as_bytes());
    }
    read
}

/// Reads a stream. What versions 10 and 11 of the format add, such as the number of entries ever
/// added, from which servers from 7.0 on compute the lag of a group, is read and dropped.
fn rdb_load_stream(server: &mut Server, rdb: &mut Rio, rdbtype: u8, key: &[u8]) -> Option<Stream> {
    let deep = sanitizes_deeply(server);
    let mend = comes_from_file_or_master(server);
    let mut s = streamNew();
    let listpacks = rdbLoadLen(server, rdb);
    let listpacks =
        or_read_error(server, line!(), listpacks, "Stream listpacks len loading failed.")?;
    // The number of entries by the headers of the listpacks; `None` if one of them is not a number.
    let mut entries = Some(0u64);
    for _ in 0..listpacks {
        // The master id is the key of the node in the radix tree. The ids of the entries in the
        // listpack are encoded as differences to it.
        let nodekey = rdbLoadStringObject(server, rdb);
        let nodekey = or_read_error(
            server,
            line!(),
            nodekey,
            "Stream master ID loading failed: invalid encoding or I/O error.",
        )?;
        if nodekey.len() != size_of::<streamID>() {
            rdbReportCorruptRDB!(server, "Stream node key entry is not the size of a stream ID");
            return None;
        }

        let lp = rdbLoadStringObject(server, rdb);
        let lp = or_read_error(server, line!(), lp, "Stream listpacks loading failed.")?;
        server.stat_dump_payload_sanitizations += i64::from(deep);
        let Some(mut lp) = Listpack::from_bytes(lp) else {
            rdbReportCorruptRDB!(server, "Stream listpack integrity check failed.");
            return None;
        };
        if !streamValidateListpackIntegrity(&lp, deep) {
            if !mend || !stream_mend_listpack(&mut lp) {
                let text = "Stream listpack integrity check failed.";
                rdb_report_unsound(server, line!(), text, true);
                return None;
            }
            rdb_report_mended!(
                server,
                key,
                "the deleted entries of a stream's node are counted anew"
            );
        }
        // A listpack is never empty: when its last entry is deleted, its node is removed from the
        // radix tree.
        let Some(first) = lpFirst(&lp) else {
            rdbReportCorruptRDB!(server, "Empty listpack inside stream");
            return None;
        };
        let count = lpGetIntegerIfValid(&lp, first).and_then(|n| u64::try_from(n).ok());
        entries = entries.zip(count).and_then(|(entries, count)| entries.checked_add(count));
        if raxTryInsert(&mut s.rax, &nodekey, lp).is_err() {
            rdbReportCorruptRDB!(server, "Listpack re-added with existing key");
            return None;
        }
    }

    let metadata = rdb_load_stream_metadata(server, rdb, rdbtype, &mut s);
    or_read_error(server, line!(), metadata, "Stream object metadata loading failed.")?;
    // C: any length is accepted, and bugs of servers since 5.0 have written wrong ones.
    if let Some(entries) = entries.filter(|&entries| entries != s.length) {
        if mend {
            rdb_report_mended!(
                server,
                key,
                "the stream has {} entries, not {} as is said of it: its length is set to {}",
                entries,
                s.length,
                entries
            );
            s.length = entries;
        } else if deep {
            let text = "Stream length inconsistent with rax elements";
            rdb_report_unsound(server, line!(), text, true);
            return None;
        }
    }

    let cgroups_count = rdbLoadLen(server, rdb);
    let cgroups_count =
        or_read_error(server, line!(), cgroups_count, "Stream cgroup count loading failed.")?;
    for _ in 0..cgroups_count {
        let cgname = rdbLoadStringObject(server, rdb);
        let cgname = or_read_error(
            server,
            line!(),
            cgname,
            "Error reading the consumer group name from Stream",
        )?;
        let cg_id = rdb_load_stream_id(server, rdb).filter(|_| {
            // The number of entries that the group has read, which versions after 9 write.
            rdbtype == RDB_TYPE_STREAM_LISTPACKS || rdb_load_number(server, rdb).is_some()
        });
        let cg_id = or_read_error(server, line!(), cg_id, "Stream cgroup ID loading failed.")?;
        // The group is created at once, and filled as more data is read.
        let Some(cgroup) = streamCreateCG(&mut s, &cgname, &cg_id) else {
            rdbReportCorruptRDB!(server, "Duplicated consumer group name {}", B(c_str(&cgname)));
            return None;
        };
        rdb_load_stream_cg(server, rdb, rdbtype, key, cgroup)?;
    }
    Some(s)
}

/// Reads what stands between the listpacks and the groups of a stream into `s`: its length and its
/// last id.
fn rdb_load_stream_metadata(
    server: &mut Server,
    rdb: &mut Rio,
    rdbtype: u8,
    s: &mut Stream,
) -> Option<()> {
    s.length = rdb_load_number(server, rdb)?;
    s.last_id = rdb_load_stream_id(server, rdb)?;
    if rdbtype != RDB_TYPE_STREAM_LISTPACKS {
        // The first id, the greatest id that was deleted, and the number of entries ever added.
        rdb_load_stream_id(server, rdb)?;
        rdb_load_stream_id(server, rdb)?;
        rdb_load_number(server, rdb)?;
    }
    Some(())
}

/// Reads the pending entries list of a consumer group, and its consumers, into `cgroup`.
fn rdb_load_stream_cg(
    server: &mut Server,
    rdb: &mut Rio,
    rdbtype: u8,
    key: &[u8],
    cgroup: &mut streamCG,
) -> Option<()> {
    let mend = comes_from_file_or_master(server);
    // The group's list comes first, and does not name the consumers. The entries get their consumer
    // below, when the consumers and their ids are read.
    let pel_size = rdbLoadLen(server, rdb);
    let pel_size = or_read_error(server, line!(), pel_size, "Stream PEL size loading failed.")?;
    for _ in 0..pel_size {
        let rawid = rdb_load_raw::<16>(server, rdb);
        let rawid = or_read_error(server, line!(), rawid, "Stream PEL ID loading failed.")?;
        let delivery_time = rdbLoadMillisecondTime(server, rdb);
        let delivered = delivery_time.and_then(|t| Some((t, rdb_load_number(server, rdb)?)));
        let (delivery_time, delivery_count) =
            or_read_error(server, line!(), delivered, "Stream PEL NACK loading failed.")?;
        // No consumer yet: see above.
        let nack = streamNACK { delivery_time, delivery_count, consumer: ConsumerId::NONE };
        if raxTryInsert(&mut cgroup.pel, &rawid, nack).is_err() {
            rdbReportCorruptRDB!(
                server,
                "Duplicated global PEL entry loading stream consumer group"
            );
            return None;
        }
    }

    let consumers_num = rdbLoadLen(server, rdb);
    let consumers_num =
        or_read_error(server, line!(), consumers_num, "Stream consumers num loading failed.")?;
    let mut assigned = 0;
    for _ in 0..consumers_num {
        let cname = rdbLoadStringObject(server, rdb);
        let cname = or_read_error(
            server,
            line!(),
            cname,
            "Error reading the consumer name from Stream group.",
        )?;
        let seen_time = rdbLoadMillisecondTime(server, rdb).filter(|_| {
            // The time at which the consumer last got a message.
            rdbtype != RDB_TYPE_STREAM_LISTPACKS_3 || rdbLoadMillisecondTime(server, rdb).is_some()
        });
        let seen_time =
            or_read_error(server, line!(), seen_time, "Stream short read reading seen time.")?;
        let consumer = match cgroup.consumers.add(&cname, seen_time) {
            Some(consumer) => consumer,
            // C: a consumer of the same name is used again, whoever sends the data.
            None => match cgroup.consumers.find(&cname).filter(|_| mend) {
                Some(consumer) => {
                    cgroup.consumers[consumer].seen_time = seen_time;
                    consumer
                }
                None => {
                    rdbReportCorruptRDB!(server, "Duplicate stream consumer detected");
                    return None;
                }
            },
        };

        let pel_size = rdbLoadLen(server, rdb);
        let pel_size =
            or_read_error(server, line!(), pel_size, "Stream consumer PEL num loading failed.")?;
        for _ in 0..pel_size {
            let rawid = rdb_load_raw::<16>(server, rdb);
            let rawid =
                or_read_error(server, line!(), rawid, "Stream short read reading PEL streamID.")?;
            // Each entry of a consumer is also one of the group, which has the times and counts.
            let Some(nack) = rax_find_mut(&mut cgroup.pel, &rawid) else {
                rdbReportCorruptRDB!(server, "Consumer entry not found in group global PEL");
                return None;
            };
            // C: an entry can be in the lists of two consumers, and one list still points to it
            // after it was freed through the other (CVE-2026-63639).
            if nack.consumer != ConsumerId::NONE && nack.consumer != consumer {
                if mend {
                    let text = "a message that is pending with two consumers stays with the first";
                    rdb_report_mended!(server, key, "{}", text);
                    continue;
                }
                rdbReportCorruptRDB!(
                    server,
                    "Stream PEL entry already assigned to another consumer"
                );
                return None;
            }
            if raxTryInsert(&mut cgroup.consumers[consumer].pel, &rawid, ()).is_err() {
                rdbReportCorruptRDB!(
                    server,
                    "Duplicated consumer PEL entry  loading a stream consumer group"
                );
                return None;
            }
            nack.consumer = consumer;
            assigned += 1;
        }
    }

    // C: this is checked only when it sanitizes; otherwise commands follow the null pointer of an
    // entry without a consumer.
    if assigned != raxSize(&cgroup.pel) {
        if !mend {
            rdbReportCorruptRDB!(server, "Stream CG PEL entry without consumer");
            return None;
        }
        let dropped = stream_drop_unowned_nacks(cgroup);
        rdb_report_mended!(
            server,
            key,
            "{} pending messages without a consumer are dropped",
            dropped
        );
    }
    Some(())
}

/// Reports a value whose type can't be loaded: one of a module, of a newer version, or an unknown
/// one.
///
/// What a newer server has written is whole, and only not for us. So that is no reason to end the
/// process when it comes from the socket of a master: the caller gets [`RdbLoadErr::NO_6_2_FORM`],
/// and takes its own data back.
#[cold]
fn rdb_refuse_type(
    server: &mut Server,
    rdbtype: u8,
    rdb: &mut Rio,
    key: &[u8],
    rdbver: i32,
) -> RdbLoadErr {
    let reason = if rdbtype == RDB_TYPE_MODULE || rdbtype == RDB_TYPE_MODULE_2 {
        let Some(moduleid) = rdbLoadLen(server, rdb) else {
            rdbReportReadError!(server, "Short read module id");
            return RdbLoadErr::OTHER;
        };
        bformat!(
            "The RDB file contains module data I can't load: no matching module type '{}'",
            B(&moduleTypeNameByID(moduleid))
        )
    } else {
        // C: types above 15 are unknown and have no name.
        let name = rdb_type_name(rdbtype, rdbver).filter(|name| !name.is_empty());
        let Some(name) = name.or((rdbver > RDB_VERSION).then_some("new")) else {
            rdbReportReadError!(server, "Unknown RDB encoding type {}", rdbtype);
            return RdbLoadErr::OTHER;
        };
        bformat!(
            "The key '{}' has a value of type {} ({}), from RDB version {}, which this server can't load",
            B(c_str(key)),
            rdbtype,
            name,
            rdbver
        )
    };
    if rdbver <= RDB_VERSION {
        rdbReportCorruptRDB!(server, "{}", B(&reason));
        return RdbLoadErr::OTHER;
    }
    rdb_refuse(server, rdb, &reason);
    RdbLoadErr::NO_6_2_FORM
}

/// The reason why an RDB with [`RDB_OPCODE_UPDATE`] in it is refused: to execute these commands
/// while keys are being loaded is what nothing here expects.
pub const UPDATE_IN_RDB: &str = "it holds commands that were executed while it was made, as a master does that saves without a fork: let it save by a fork";

/// Reports what can't be loaded although it is whole.
#[cold]
fn rdb_refuse(server: &mut Server, rdb: &Rio, reason: &[u8]) {
    let from_socket =
        server.loading && server.rdbFileBeingLoaded.is_none() && server.rdb_check.is_none();
    if from_socket {
        serverLog!(
            LL_WARNING,
            "Can't load what the master sends, before offset {} of the RDB: {}",
            rioTell(rdb),
            B(reason)
        );
    } else {
        // C: there is no such error.
        rdbReportCorruptRDB!(server, "{}", B(reason));
    }
}

/// Sets the state of loading `size` bytes: clients get `-LOADING`, and INFO shows the progress from
/// here on.
pub fn startLoading(server: &mut Server, size: i64, _rdbflags: i32) {
    server.loading = true;
    // The file that a master sent is temporary until it is loaded. The signal handlers get its
    // name, so that they can remove it if the process is terminated meanwhile.
    let tmpfile = server.repl_transfer_tmpfile.as_deref();
    let is_tmpfile = server.rdbFileBeingLoaded.as_deref() == tmpfile;
    signal::set_loading_flag(true, tmpfile.filter(|_| is_tmpfile).unwrap_or_default());
    server.loading_start_time = time();
    server.loading_loaded_bytes = 0;
    server.loading_total_bytes = size;
    server.loading_rdb_used_mem = 0;
    trace!(server, "load", "what": "begin", "bytes": size);
    // A command may have found no memory for a larger table. Now nobody asks, and a table that may
    // not grow would have all keys in a few chains.
    for db in &mut server.db {
        db.dict.set_expand_allowed(true);
    }
    blockingOperationStarts(server);
}

/// Calls [`startLoading`] for an open file, and keeps its name for [`rdbReportError`]. Returns the
/// size of the file in bytes.
pub fn startLoadingFile(server: &mut Server, fd: RawFd, filename: &[u8], rdbflags: i32) -> i64 {
    let size = file_size(fd).unwrap_or(0);
    server.rdbFileBeingLoaded = Some(filename.to_vec());
    startLoading(server, size, rdbflags);
    size
}

/// Notes that `pos` bytes were loaded, for INFO and the log, and updates the peak of memory usage.
pub fn loadingProgress(server: &mut Server, pos: i64) {
    server.loading_loaded_bytes = pos;
    server.stat_peak_memory = server.stat_peak_memory.max(zmalloc_used_memory());
}

/// Ends the state that [`startLoading`] has set.
pub fn stopLoading(server: &mut Server, success: bool) {
    server.loading = false;
    trace!(server, "load", "what": if success { "done" } else { "failed" });
    signal::set_loading_flag(false, b"");
    blockingOperationEnds(server);
    server.rdbFileBeingLoaded = None;
    // What it has sent meanwhile was read, and not processed.
    if let Some(master) = server.master {
        queueClientForReprocessing(server, master);
    }
}

/// Does nothing: the C fires an event for modules when a save starts.
pub fn startSaving(_rdbflags: i32) {}

/// Does nothing: the C fires an event for modules when a save ends.
pub fn stopSaving(_success: bool) {}

/// Handles the arrival of bytes, of which the first is byte `before` of the stream. Every
/// `loading-process-events-interval-bytes` it updates the progress and processes events, so that
/// clients get a reply while the load goes on. A replica also sends its master a newline, so that
/// the master does not take the connection for dead.
// C: it is called for each read of a field and also updates the checksum, which is the stream's
// task here.
pub fn rdbLoadProgressCallback(server: &mut Server, rdb: &Rio, before: u64) {
    let Ok(interval) = u64::try_from(server.loading_process_events_interval_bytes) else { return };
    let now = rioTell(rdb) + rio_available(rdb) as u64;
    if interval == 0 || now / interval == before / interval {
        return;
    }
    // Any byte will do to show that this replica is alive; a newline means nothing to the master.
    if server.masterhost.is_some() && server.repl_state == REPL_STATE_TRANSFER {
        replicationSendNewlineToMaster(server);
    }
    loadingProgress(server, rioTell(rdb) as i64);
    processEventsWhileBlocked(server);
}

/// A key that was read and is waiting to be added.
struct BatchKey {
    db: usize,
    hash: u64,
    /// The start and the end of the key in the bytes of the batch.
    key: (usize, usize),
    value: BatchValue,
    expire: Option<i64>,
    lru: u32,
}

/// The value of a [`BatchKey`].
enum BatchValue {
    Int(i64),
    /// A string: the bytes of the batch from the end of the key up to this position.
    Short(usize),
    Own(Object),
}

/// Keys that are to be added together. Adding a key mostly means a cache miss for its bucket; the
/// bucket is prefetched when the key is read, and has arrived when the batch is added.
#[derive(Default)]
struct Batch {
    keys: Vec<BatchKey>,
    bytes: Vec<u8>,
}

/// The reason why a load was stopped.
enum LoadStop {
    /// The data ends too early, or it is corrupt, which was reported.
    Eof,
    /// The reason was reported; this is the `errno` for the caller.
    Reported(i32),
}

/// Adds the keys of a batch to their dbs, and empties it. A key that exists is an error, unless
/// `rdbflags` has `RDBFLAGS_ALLOW_DUP`.
fn rdb_add_batch(server: &mut Server, batch: &mut Batch, rdbflags: i32) -> Result<(), LoadStop> {
    for k in batch.keys.drain(..) {
        let key = &batch.bytes[k.key.0..k.key.1];
        let dict = &mut server.db[k.db].dict;
        if let Some(o) = dict.find_hashed(key, k.hash) {
            if rdbflags & RDBFLAGS_ALLOW_DUP == 0 {
                // Keys are unique in a file that a server wrote, so this one is corrupt.
                // C: this is a panic with a crash report.
                serverLog!(LL_WARNING, "RDB has duplicated key '{}' in DB {}", B(c_str(key)), k.db);
                rdbReportCorruptRDB!(server, "Duplicated key found in RDB file");
                return Err(LoadStop::Reported(libc::EINVAL));
            }
            // DEBUG RELOAD MERGE: the key in the file replaces the present one.
            drop(dict.remove(o));
        }
        let value = match k.value {
            BatchValue::Int(n) => Value::Int(n),
            BatchValue::Short(end) => Value::Str(&batch.bytes[k.key.1..end]),
            BatchValue::Own(o) => Value::Own(o),
        };
        dict.add_full(key, k.hash, value, k.expire, k.lru);
    }
    batch.bytes.clear();
    // Release the memory of a very long key.
    batch.bytes.shrink_to(LONG_STRING_STEP);
    Ok(())
}

/// Loads an RDB from a stream into the dbs, and its replication fields into `rsi`.
///
/// `Err`: the log says why; the keys read so far have been added. Data that ends too early or is
/// corrupt ends the process, see [`rdbReportError`].
pub fn rdbLoadRio(
    server: &mut Server,
    rdb: &mut Rio,
    rdbflags: i32,
    rsi: Option<&mut rdbSaveInfo>,
) -> io::Result<()> {
    rdb.update_cksum = server.rdb_checksum;
    rdb.max_processing_chunk =
        usize::try_from(server.loading_process_events_interval_bytes).unwrap_or(0);
    let mut batch = Batch::default();
    batch.keys.reserve_exact(BATCH);
    let loaded = rdb_load_rio_inner(server, rdb, rdbflags, rsi, &mut batch);
    let added = rdb_add_batch(server, &mut batch, rdbflags);
    match loaded.and(added) {
        Ok(()) => Ok(()),
        Err(LoadStop::Reported(errno)) => Err(io::Error::from_raw_os_error(errno)),
        Err(LoadStop::Eof) => {
            // This ends the process, if what is loaded is a file. From the connection to a master
            // (diskless), the caller gets the error, and asks again.
            serverLog!(
                LL_WARNING,
                "Short read or OOM loading DB. Unrecoverable error, aborting now."
            );
            rdbReportReadError!(server, "Unexpected EOF reading RDB file");
            Err(rio_take_error(rdb))
        }
    }
}

/// Returns the version of the format in the header of a file. `Err`: it is not an RDB, or of a
/// version that is not read; the text says so.
pub fn rdb_version_of(magic: &[u8; 9]) -> Result<i32, Vec<u8>> {
    let (rdbver, is_read) = if &magic[..6] == b"VALKEY" {
        let rdbver = atoi(&magic[6..]);
        (rdbver, RDB_VERSION_VALKEY.contains(&rdbver))
    } else if &magic[..5] == b"REDIS" {
        let rdbver = atoi(&magic[5..]);
        (rdbver, (1..=RDB_VERSION_LOAD).contains(&rdbver))
    } else {
        return Err(b"Wrong signature trying to load DB from file".to_vec());
    };
    if is_read { Ok(rdbver) } else { Err(bformat!("Can't handle RDB format version {}", rdbver)) }
}

/// Tells whether a file that a master has sent can be loaded, and logs the reason if not. A replica
/// asks before it empties its data set. `Err`: the file can't be opened.
///
/// Of a newer version than ours the whole file is looked at, as far as it takes to know the types
/// of its values. A damaged file of our own version is left to the loader.
pub fn rdb_is_loadable(server: &mut Server, filename: &[u8]) -> io::Result<bool> {
    let fd = open(filename, libc::O_RDONLY, 0)?;
    let size = file_size(fd).unwrap_or(0);
    let mut rdb = rioInitWithFile(fd, size as u64);
    while rio_available(&rdb) < 9 && rio_fill(&mut rdb).is_ok() {}
    let magic = rio_peek(&rdb).first_chunk().copied();
    // A file that is shorter than the header is left to the loader, which reports it.
    let refusal = match magic.map(|magic| rdb_version_of(&magic)) {
        Some(Ok(rdbver)) if rdbver > RDB_VERSION => rdb_skim(server, &mut rdb, rdbver).err(),
        Some(Err(reason)) => Some(reason),
        _ => None,
    };
    close(fd);
    if let Some(reason) = &refusal {
        serverLog!(LL_WARNING, "{}", B(reason));
    }
    Ok(refusal.is_none())
}

/// Skims an RDB of a version above ours: goes over all values without making them. `Err`: the text
/// names the first one that has no form of Redis 6.2, with its key, its type and where it is; or
/// tells where the file is damaged.
fn rdb_skim(server: &mut Server, rdb: &mut Rio, rdbver: i32) -> Result<(), Vec<u8>> {
    // The functions that read call for events to be processed now and then. Here we are in the
    // middle of a handler, and nothing is being loaded.
    let interval = take(&mut server.loading_process_events_interval_bytes);
    let mut key = Vec::new();
    let skimmed = rdb_skim_values(server, rdb, rdbver, &mut key);
    server.loading_process_events_interval_bytes = interval;
    let offset = rioTell(rdb);
    skimmed.map_err(|stop| match stop {
        SkimStop::NoForm(rdbtype) => bformat!(
            "The RDB of the master can't be loaded, and is left: before offset {}, key '{}' has a value of type {} ({}), from RDB version {}, which this server can't hold",
            offset,
            B(c_str(&key)),
            rdbtype,
            rdb_type_name(rdbtype, rdbver).unwrap_or("new"),
            rdbver
        ),
        SkimStop::Update => bformat!(
            "The RDB of the master can't be loaded, and is left: before offset {}, {}",
            offset,
            UPDATE_IN_RDB
        ),
        SkimStop::Damaged => bformat!(
            "The RDB of the master is damaged before offset {}, and is left",
            offset
        ),
    })
}

/// What ends [`rdb_skim_values`] early.
enum SkimStop {
    /// A value of this type, which has no form of Redis 6.2.
    NoForm(u8),
    /// [`RDB_OPCODE_UPDATE`].
    Update,
    /// Bytes are missing, or make no sense.
    Damaged,
}

/// Does the work of [`rdb_skim`]. `key` is that of the value where it stopped.
fn rdb_skim_values(
    server: &mut Server,
    rdb: &mut Rio,
    rdbver: i32,
    key: &mut Vec<u8>,
) -> Result<(), SkimStop> {
    use SkimStop::*;
    rdb_load_raw::<9>(server, rdb).ok_or(Damaged)?;
    loop {
        let type_ = rdbLoadType(server, rdb).ok_or(Damaged)?;
        match type_ {
            RDB_OPCODE_EOF => return Ok(()),
            RDB_OPCODE_EXPIRETIME => drop(rdbLoadTime(server, rdb).ok_or(Damaged)?),
            RDB_OPCODE_EXPIRETIME_MS => drop(rdbLoadMillisecondTime(server, rdb).ok_or(Damaged)?),
            RDB_OPCODE_FREQ => drop(rdbLoadType(server, rdb).ok_or(Damaged)?),
            RDB_OPCODE_IDLE | RDB_OPCODE_SELECTDB => {
                rdbLoadLen(server, rdb).ok_or(Damaged)?;
            }
            RDB_OPCODE_RESIZEDB => rdb_skip_lens(server, rdb, 2).ok_or(Damaged)?,
            RDB_OPCODE_AUX => rdb_skip_strings(server, rdb, 2).ok_or(Damaged)?,
            RDB_OPCODE_SLOT_INFO => rdb_skip_lens(server, rdb, 3).ok_or(Damaged)?,
            RDB_OPCODE_SLOT_IMPORT if RDB_VERSION_VALKEY.contains(&rdbver) => {
                rdb_skip_slot_import(server, rdb).ok_or(Damaged)?;
            }
            RDB_OPCODE_UPDATE if rdbver >= 81 => return Err(Update),
            RDB_OPCODE_FUNCTION2 | RDB_OPCODE_FUNCTION_PRE_GA => {
                rdb_skip_function(server, rdb, type_).ok_or(Damaged)?;
            }
            _ => {
                // Data of a module belongs to no key.
                key.clear();
                if type_ != RDB_OPCODE_MODULE_AUX {
                    let name = rdbGenericLoadStringObject(server, rdb).ok_or(Damaged)?;
                    name.append_to(key);
                }
                rdb_skim_value(server, rdb, type_, rdbver)?;
            }
        }
    }
}

/// Skims one value.
fn rdb_skim_value(
    server: &mut Server,
    rdb: &mut Rio,
    type_: u8,
    rdbver: i32,
) -> Result<(), SkimStop> {
    use SkimStop::*;
    let valkey = RDB_VERSION_VALKEY.contains(&rdbver);
    match type_ {
        RDB_TYPE_STRING
        | RDB_TYPE_HASH_ZIPMAP
        | RDB_TYPE_LIST_ZIPLIST
        | RDB_TYPE_SET_INTSET
        | RDB_TYPE_ZSET_ZIPLIST
        | RDB_TYPE_HASH_ZIPLIST
        | RDB_TYPE_HASH_LISTPACK
        | RDB_TYPE_ZSET_LISTPACK
        | RDB_TYPE_SET_LISTPACK => return rdb_skip_strings(server, rdb, 1).ok_or(Damaged),
        RDB_TYPE_STREAM_LISTPACKS | RDB_TYPE_STREAM_LISTPACKS_2 | RDB_TYPE_STREAM_LISTPACKS_3 => {
            return rdb_skip_stream(server, rdb, type_).ok_or(Damaged);
        }
        RDB_TYPE_HASH_LISTPACK_EX if !valkey => {
            rdbLoadMillisecondTime(server, rdb).ok_or(Damaged)?;
            let lp = rdbLoadStringObject(server, rdb).ok_or(Damaged)?;
            if !lpValidateIntegrity(&lp, true) {
                return Err(Damaged);
            }
            let mut times = listpack_elements(&lp).skip(2).step_by(3);
            let none = times.all(|time| matches!(time, ZiplistEntry::Int(0)));
            return if none { Ok(()) } else { Err(NoForm(type_)) };
        }
        RDB_TYPE_HASH_METADATA if !valkey => {
            rdbLoadMillisecondTime(server, rdb).ok_or(Damaged)?;
        }
        _ => {}
    }
    // What is left begins with a number of elements.
    let parts: fn(&mut Server, &mut Rio) -> Option<bool> = match type_ {
        RDB_TYPE_LIST | RDB_TYPE_SET | RDB_TYPE_LIST_QUICKLIST => {
            |server, rdb| rdb_skip_strings(server, rdb, 1).map(|()| true)
        }
        RDB_TYPE_HASH => |server, rdb| rdb_skip_strings(server, rdb, 2).map(|()| true),
        RDB_TYPE_ZSET => |server, rdb| {
            rdb_skip_strings(server, rdb, 1)?;
            rdbLoadDoubleValue(server, rdb).map(|_| true)
        },
        RDB_TYPE_ZSET_2 => |server, rdb| {
            rdb_skip_strings(server, rdb, 1)?;
            rdb_load_raw::<8>(server, rdb).map(|_| true)
        },
        RDB_TYPE_LIST_QUICKLIST_2 => |server, rdb| {
            rdbLoadLen(server, rdb)?;
            rdb_skip_strings(server, rdb, 1).map(|()| true)
        },
        RDB_TYPE_HASH_2 if valkey => |server, rdb| {
            rdb_skip_strings(server, rdb, 2)?;
            rdbLoadMillisecondTime(server, rdb).map(|time| time == -1)
        },
        RDB_TYPE_HASH_METADATA if !valkey => |server, rdb| {
            let (ttl, _) = rdbLoadLenByRef(server, rdb)?;
            rdb_skip_strings(server, rdb, 2).map(|()| ttl == 0)
        },
        _ => return Err(NoForm(type_)),
    };
    for _ in 0..rdbLoadLen(server, rdb).ok_or(Damaged)? {
        if !parts(server, rdb).ok_or(Damaged)? {
            return Err(NoForm(type_));
        }
    }
    Ok(())
}

/// Skips a stream: reads what [`rdb_load_stream`] does.
fn rdb_skip_stream(server: &mut Server, rdb: &mut Rio, rdbtype: u8) -> Option<()> {
    for _ in 0..rdbLoadLen(server, rdb)? {
        rdb_skip_strings(server, rdb, 2)?;
    }
    rdb_load_stream_metadata(server, rdb, rdbtype, &mut streamNew())?;
    for _ in 0..rdbLoadLen(server, rdb)? {
        rdb_skip_strings(server, rdb, 1)?;
        rdb_load_stream_id(server, rdb)?;
        if rdbtype != RDB_TYPE_STREAM_LISTPACKS {
            rdb_load_number(server, rdb)?;
        }
        for _ in 0..rdbLoadLen(server, rdb)? {
            rdb_load_raw::<24>(server, rdb)?;
            rdb_load_number(server, rdb)?;
        }
        for _ in 0..rdbLoadLen(server, rdb)? {
            rdb_skip_strings(server, rdb, 1)?;
            rdb_load_raw::<8>(server, rdb)?;
            if rdbtype == RDB_TYPE_STREAM_LISTPACKS_3 {
                rdb_load_raw::<8>(server, rdb)?;
            }
            for _ in 0..rdbLoadLen(server, rdb)? {
                rdb_load_raw::<16>(server, rdb)?;
            }
        }
    }
    Some(())
}

/// Skips `n` lengths. `None`: bytes are missing.
fn rdb_skip_lens(server: &mut Server, rdb: &mut Rio, n: usize) -> Option<()> {
    (0..n).try_for_each(|_| rdbLoadLen(server, rdb).map(|_| ()))
}

/// Skips `n` strings. A compressed one stays compressed. `None`: bytes are missing, or an encoding
/// is unknown.
fn rdb_skip_strings(server: &mut Server, rdb: &mut Rio, n: usize) -> Option<()> {
    for _ in 0..n {
        let len = match rdbLoadLenByRef(server, rdb)? {
            (len, false) => len,
            (enctype, true) if enctype == u64::from(RDB_ENC_LZF) => {
                let clen = rdbLoadLen(server, rdb)?;
                rdbLoadLen(server, rdb)?;
                clen
            }
            (enctype, true) => {
                rdbLoadIntegerObject(server, rdb, enctype)?;
                0
            }
        };
        let mut left = len;
        while left > 0 {
            let step = left.min(RIO_TAKE_MAX as u64);
            if !ensure_available(server, rdb, step as usize) {
                return None;
            }
            rio_take(rdb, step as usize);
            left -= step;
        }
    }
    Some(())
}

/// Skips the slots that a node of a Valkey cluster was receiving. `None`: bytes are missing.
pub fn rdb_skip_slot_import(server: &mut Server, rdb: &mut Rio) -> Option<()> {
    rdb_skip_strings(server, rdb, 1)?;
    for _ in 0..rdbLoadLen(server, rdb)? {
        rdb_skip_lens(server, rdb, 2)?;
    }
    Some(())
}

/// Does the work of [`rdbLoadRio`]. The keys that are left in `batch`, also after an error, are the
/// caller's to add.
fn rdb_load_rio_inner(
    server: &mut Server,
    rdb: &mut Rio,
    rdbflags: i32,
    mut rsi: Option<&mut rdbSaveInfo>,
    batch: &mut Batch,
) -> Result<(), LoadStop> {
    const EOF: LoadStop = LoadStop::Eof;
    let magic: [u8; 9] = rdb_load_raw(server, rdb).ok_or(EOF)?;
    let rdbver = match rdb_version_of(&magic) {
        Ok(rdbver) => rdbver,
        Err(reason) => {
            serverLog!(LL_WARNING, "{}", B(&reason));
            return Err(LoadStop::Reported(libc::EINVAL));
        }
    };

    if rdbflags & RDBFLAGS_REPLICATION != 0 {
        server.repl_stream_version = rdbver;
    }

    let mut db = 0;
    let (mut empty_keys_skipped, mut expired_keys_skipped, mut keys_loaded) = (0, 0, 0);
    // The attributes of the next key, which the opcodes before it set; -1 is none.
    let (mut lru_idle, mut lfu_freq, mut expiretime) = (-1, -1, -1);
    let now = mstime();
    let lru_clock = i64::from(LRU_CLOCK(server));
    // A master skips keys that have expired already. A replica keeps them: its master is
    // responsible for the expiration, and the data set has to be the one that the master's stream
    // continues. So does a load of an AOF preamble, since the commands behind it expect exactly
    // this keyspace.
    let drop_expired = server.masterhost.is_none() && rdbflags & RDBFLAGS_AOF_PREAMBLE == 0;

    loop {
        let type_ = rdbLoadType(server, rdb).ok_or(EOF)?;
        match type_ {
            RDB_OPCODE_EXPIRETIME => {
                // An attribute of the next key: keep it, and go on with the next opcode or type.
                expiretime = rdbLoadTime(server, rdb).ok_or(EOF)? * 1000;
                continue;
            }
            RDB_OPCODE_EXPIRETIME_MS => {
                expiretime = rdbLoadMillisecondTime(server, rdb).ok_or(EOF)?;
                continue;
            }
            RDB_OPCODE_FREQ => {
                lfu_freq = i64::from(rdbLoadType(server, rdb).ok_or(EOF)?);
                continue;
            }
            RDB_OPCODE_IDLE => {
                lru_idle = rdbLoadLen(server, rdb).ok_or(EOF)? as i64;
                continue;
            }
            RDB_OPCODE_EOF => break,
            RDB_OPCODE_SELECTDB => {
                let dbid = rdbLoadLen(server, rdb).ok_or(EOF)?;
                // To drop the keys of such a db would lose data silently.
                if dbid >= server.db.len() as u64 {
                    serverLog!(
                        LL_WARNING,
                        "FATAL: Data file was created with a Redis server configured to handle more than {} databases. Exiting\n",
                        server.db.len()
                    );
                    exit_if_loading(server);
                    return Err(LoadStop::Reported(libc::EINVAL));
                }
                db = dbid as usize;
                continue;
            }
            RDB_OPCODE_RESIZEDB => {
                let db_size = rdbLoadLen(server, rdb).ok_or(EOF)?;
                let expires_size = rdbLoadLen(server, rdb).ok_or(EOF)?;
                // A hint for the size of the tables, limited by the bytes that are left, since a
                // key takes three at least.
                let most = rio_remaining(rdb).map_or(1 << 20, |bytes| bytes / 3);
                let dict = &mut server.db[db].dict;
                dict.expand(db_size.min(most) as usize, expires_size.min(most) as usize);
                continue;
            }
            RDB_OPCODE_AUX => {
                let auxkey = rdbLoadStringObject(server, rdb).ok_or(EOF)?;
                let auxval = rdbLoadStringObject(server, rdb).ok_or(EOF)?;
                rdb_load_aux(server, &auxkey, &auxval, rsi.as_deref_mut());
                continue;
            }
            RDB_OPCODE_MODULE_AUX => {
                let moduleid = rdbLoadLen(server, rdb);
                let when_opcode = rdbLoadLen(server, rdb);
                let when = rdbLoadLen(server, rdb);
                let (Some(moduleid), Some(when_opcode), Some(_)) = (moduleid, when_opcode, when)
                else {
                    return Err(EOF);
                };
                // When to load the data, before or after the keys. An opcode precedes it, as it
                // does all that follows.
                if when_opcode != RDB_MODULE_OPCODE_UINT {
                    rdbReportReadError!(server, "bad when_opcode");
                    return Err(EOF);
                }
                serverLog!(
                    LL_WARNING,
                    "The RDB file contains AUX module data I can't load: no matching module '{}'",
                    B(&moduleTypeNameByID(moduleid))
                );
                exit_if_loading(server);
                return Err(LoadStop::Reported(libc::EINVAL));
            }
            // C: these opcodes are unknown. The sizes of a cluster's slots are only hints, and are
            // skipped.
            RDB_OPCODE_SLOT_INFO if rdbver >= 12 => {
                rdb_skip_lens(server, rdb, 3).ok_or(EOF)?;
                continue;
            }
            // In Valkey the keys of these slots are not seen before all of them have come.
            RDB_OPCODE_SLOT_IMPORT if RDB_VERSION_VALKEY.contains(&rdbver) => {
                rdb_skip_slot_import(server, rdb).ok_or(EOF)?;
                serverLog!(
                    LL_WARNING,
                    "The RDB was made while slots of a cluster were being imported: their keys are loaded as far as they had come."
                );
                continue;
            }
            RDB_OPCODE_UPDATE if rdbver >= 81 => {
                rdb_refuse(server, rdb, UPDATE_IN_RDB.as_bytes());
                return Err(LoadStop::Reported(libc::ENOTSUP));
            }
            RDB_OPCODE_FUNCTION2 | RDB_OPCODE_FUNCTION_PRE_GA if rdbver >= 10 => {
                let name = rdb_skip_function(server, rdb, type_).ok_or(EOF)?;
                serverLog!(
                    LL_WARNING,
                    "RDB has the function library '{}', which this version can't use: skipped.",
                    B(&name)
                );
                continue;
            }
            _ => {}
        }

        // The key is read into the batch, and its bucket prefetched while the value is read. A
        // short value goes to the batch as well.
        let start = batch.bytes.len();
        rdbGenericLoadStringObject(server, rdb).ok_or(EOF)?.append_to(&mut batch.bytes);
        let end = batch.bytes.len();
        let key = &batch.bytes[start..end];
        let dict = &server.db[db].dict;
        let hash = dict.hash(key);
        dict.prefetch_bucket(hash);

        match rdbLoadObject(server, type_, rdb, key, rdbver) {
            Err(RdbLoadErr::EMPTY_KEY) => {
                // A bug of older versions could create keys without elements. Rather than refuse
                // the file, such keys are dropped; the log names the first ten.
                if empty_keys_skipped < 10 {
                    serverLog!(LL_WARNING, "rdbLoadObject skipping empty key: {}", B(c_str(key)));
                }
                empty_keys_skipped += 1;
                batch.bytes.truncate(start);
            }
            Err(RdbLoadErr::NO_6_2_FORM) => {
                batch.bytes.truncate(start);
                return Err(LoadStop::Reported(libc::ENOTSUP));
            }
            Err(RdbLoadErr::OTHER) => {
                batch.bytes.truncate(start);
                return Err(EOF);
            }
            Ok(_) if drop_expired && expiretime != -1 && expiretime < now => {
                if rdbflags & RDBFLAGS_FEED_REPL != 0 {
                    feed_expired_key(server, db, &batch.bytes[start..end]);
                }
                batch.bytes.truncate(start);
                expired_keys_skipped += 1;
            }
            Ok(val) => {
                let value = match val {
                    Value::Int(n) => BatchValue::Int(n),
                    Value::Str(s) | Value::Raw(s) if s.len() <= BATCH_VALUE_MAX => {
                        batch.bytes.extend_from_slice(s);
                        BatchValue::Short(batch.bytes.len())
                    }
                    Value::Str(s) | Value::Raw(s) => BatchValue::Own(Object::Str(s.to_vec())),
                    Value::Own(o) => BatchValue::Own(o),
                };
                // The idle time is in seconds, hence 1000.
                let lru = objectSetLRUOrLFU(server, lfu_freq, lru_idle, lru_clock, 1000)
                    .unwrap_or_else(|| initial_lru(server));
                let expire = (expiretime != -1).then_some(expiretime);
                batch.keys.push(BatchKey { db, hash, key: (start, end), value, expire, lru });
                keys_loaded += 1;
                if batch.keys.len() == BATCH || server.key_load_delay != 0 {
                    rdb_add_batch(server, batch, rdbflags)?;
                }
            }
        }

        // `key-load-delay` slows the load down, for tests.
        if server.key_load_delay != 0 {
            debugDelay(server.key_load_delay);
        }
        (expiretime, lfu_freq, lru_idle) = (-1, -1, -1);
    }
    rdb_add_batch(server, batch, rdbflags)?;

    // Versions before 5 have no checksum.
    if rdbver >= 5 {
        let expected = rio_checksum(rdb);
        let cksum = rdb_load_raw(server, rdb).map(u64::from_le_bytes).ok_or(EOF)?;
        if server.rdb_checksum && !server.skip_checksum_validation {
            // The writer had `rdbchecksum no`.
            if cksum == 0 {
                serverLog!(
                    LL_WARNING,
                    "RDB file was saved with checksum disabled: no check performed."
                );
            } else if cksum != expected {
                serverLog!(
                    LL_WARNING,
                    "Wrong RDB checksum expected: ({:x}) but got ({:x}). Aborting now.",
                    expected,
                    cksum
                );
                rdbReportCorruptRDB!(server, "RDB CRC error");
                return Err(LoadStop::Reported(libc::EINVAL));
            }
        }
    }

    if empty_keys_skipped != 0 {
        serverLog!(
            LL_WARNING,
            "Done loading RDB, keys loaded: {}, keys expired: {}, empty keys skipped: {}.",
            keys_loaded,
            expired_keys_skipped,
            empty_keys_skipped
        );
    } else {
        serverLog!(
            LL_WARNING,
            "Done loading RDB, keys loaded: {}, keys expired: {}.",
            keys_loaded,
            expired_keys_skipped
        );
    }
    Ok(())
}

/// Handles an AUX field: keeps those about replication in `rsi`, and logs others. Unknown fields
/// are skipped, as the format demands, so that newer servers can add some.
fn rdb_load_aux(server: &mut Server, auxkey: &[u8], auxval: &[u8], rsi: Option<&mut rdbSaveInfo>) {
    let is = |name: &str| eq_ignore_case(auxkey, name.as_bytes());
    let number = || strtoll(c_str(auxval), 10).value;

    if auxkey.first() == Some(&b'%') {
        // Fields whose name starts with `%` are informational, and are logged as a notice.
        serverLog!(LL_NOTICE, "RDB '{}': {}", B(c_str(auxkey)), B(c_str(auxval)));
    } else if is("repl-stream-db") {
        if let Some(rsi) = rsi {
            rsi.repl_stream_db = atoi(c_str(auxval));
        }
    } else if is("repl-id") {
        if let Some(rsi) = rsi
            && auxval.len() == CONFIG_RUN_ID_SIZE
        {
            rsi.repl_id = auxval.to_vec();
            rsi.repl_id_is_set = true;
        }
    } else if is("repl-offset") {
        if let Some(rsi) = rsi {
            rsi.repl_offset = number();
        }
    } else if is("repl-stream-version") {
        server.repl_stream_version = i32::try_from(number()).unwrap_or(0);
    } else if is("redis-ver") || is("valkey-ver") {
        serverLog!(LL_NOTICE, "Loading RDB produced by version {}", B(c_str(auxval)));
    } else if is("ctime") {
        let age = time().saturating_sub(number()).max(0);
        serverLog!(LL_NOTICE, "RDB age {} seconds", age);
    } else if is("used-mem") {
        let usedmem = number();
        serverLog!(
            LL_NOTICE,
            "RDB memory usage when created {:.2} Mb",
            usedmem as f64 / (1024.0 * 1024.0)
        );
        server.loading_rdb_used_mem = usedmem;
    } else if is("aof-preamble") {
        if number() != 0 {
            serverLog!(LL_NOTICE, "RDB has an AOF tail");
        }
    } else if is("lua") {
        // A script of the cache.
        if create_function(server, None, auxval).is_none() {
            rdbReportCorruptRDB!(
                server,
                "Can't load Lua script from RDB file! BODY: {}",
                B(c_str(auxval))
            );
        }
    } else if is("redis-bits") {
        // It is not used.
    } else {
        serverLog!(LL_DEBUG, "Unrecognized RDB AUX field: '{}'", B(c_str(auxkey)));
    }
}

/// Skips a function library, which servers from 7.0 on write. Returns its name for the log, or
/// `None` if bytes are missing.
pub fn rdb_skip_function(server: &mut Server, rdb: &mut Rio, type_: u8) -> Option<Vec<u8>> {
    Some(if type_ == RDB_OPCODE_FUNCTION2 {
        // The code of the library, which begins with the line `#!<engine> name=<name>`.
        let code = rdbLoadStringObject(server, rdb)?;
        let line = code.split(|&c| c == b'\n').next().unwrap_or_default();
        let mut words = line.split(|c| c.is_ascii_whitespace());
        words.find_map(|word| word.strip_prefix(b"name=")).unwrap_or(b"?").to_vec()
    } else {
        // The form of the release candidates of 7.0: name, engine, whether there is a description,
        // the description, and the code.
        let name = rdbLoadStringObject(server, rdb)?;
        rdbLoadStringObject(server, rdb)?;
        if rdbLoadLen(server, rdb)? != 0 {
            rdbLoadStringObject(server, rdb)?;
        }
        rdbLoadStringObject(server, rdb)?;
        name
    })
}

/// Loads an RDB file, with the state of loading set meanwhile. `Err`: the file can't be opened
/// (`NotFound` if there is none), or the error of [`rdbLoadRio`].
pub fn rdbLoad(
    server: &mut Server,
    filename: &[u8],
    rsi: Option<&mut rdbSaveInfo>,
    rdbflags: i32,
) -> io::Result<()> {
    let fd = open(filename, libc::O_RDONLY, 0)?;
    let size = startLoadingFile(server, fd, filename, rdbflags);
    let mut rdb = rioInitWithFile(fd, size as u64);
    let retval = rdbLoadRio(server, &mut rdb, rdbflags, rsi);
    close(fd);
    stopLoading(server, retval.is_ok());
    retval
}

/// Handles the end of a child that saved to disk: see [`backgroundSaveDoneHandler`].
fn backgroundSaveDoneHandlerDisk(server: &mut Server, exitcode: i32, bysignal: i32) {
    if bysignal == 0 && exitcode == 0 {
        serverLog!(LL_NOTICE, "Background saving terminated with success");
        // Writes since the fork are not in the file, and still count as changes to be saved.
        // C: less than 0, if all was saved otherwise meanwhile (DEBUG RELOAD). The next command that
        // saves would then seem to have changed the data, and be propagated.
        server.dirty = (server.dirty - server.dirty_before_bgsave).max(0);
        server.lastsave = time();
        server.lastsave_steady = steady_ms() / 1000;
        server.lastbgsave_status = CStatus::Ok;
    } else if bysignal == 0 {
        serverLog!(LL_WARNING, "Background saving error");
        server.lastbgsave_status = CStatus::Err;
    } else {
        serverLog!(LL_WARNING, "Background saving terminated by signal {}", bysignal);
        // The child could not remove its file itself.
        let mut latency = latencyStartMonitor(server);
        let _ = bg_unlink(server, &rdb_temp_file(server.child_pid));
        latencyEndMonitor(server, &mut latency);
        latencyAddSampleIfNeeded(server, "rdb-unlink-temp-file", latency);
        // SIGUSR1 comes from [`killRDBChild`]: the child was stopped on purpose, which is not an
        // error that should make the server reject writes.
        if bysignal != libc::SIGUSR1 {
            server.lastbgsave_status = CStatus::Err;
        }
    }
}

/// Handles the end of a child that streamed an RDB to replicas: see [`backgroundSaveDoneHandler`].
fn backgroundSaveDoneHandlerSocket(server: &mut Server, exitcode: i32, bysignal: i32) {
    if bysignal == 0 && exitcode == 0 {
        serverLog!(LL_NOTICE, "Background RDB transfer terminated with success");
    } else if bysignal == 0 {
        serverLog!(LL_WARNING, "Background transfer error");
    } else {
        serverLog!(LL_WARNING, "Background transfer terminated by signal {}", bysignal);
    }
    if let Some(exit_pipe) = server.rdb_child_exit_pipe.take() {
        close(exit_pipe);
    }
    close_rdb_pipe(server);
}

/// Ends the streaming of an RDB on our side of the pipe.
fn close_rdb_pipe(server: &mut Server) {
    if let Some(fd) = server.rdb_pipe_read.take() {
        server.net.el.forget_fd(fd);
        close(fd);
    }
    server.rdb_pipe_conns = Vec::new();
    server.rdb_pipe_numconns_writing = 0;
    server.rdb_pipe_buff = Vec::new();
}

/// Handles the end of a child that saved, with its exit code, or the signal that killed it
/// (`bysignal`, 0 for none). Updates the state of the last save, and the replicas that wait for it.
pub fn backgroundSaveDoneHandler(server: &mut Server, exitcode: i32, bysignal: i32) {
    let type_ = server.rdb_child_type;
    match type_ {
        RDB_CHILD_TYPE_DISK => backgroundSaveDoneHandlerDisk(server, exitcode, bysignal),
        RDB_CHILD_TYPE_SOCKET => backgroundSaveDoneHandlerSocket(server, exitcode, bysignal),
        _ => panic!("Unknown RDB child type."),
    }
    server.rdb_child_type = RDB_CHILD_TYPE_NONE;
    server.rdb_save_time_last = time() - server.rdb_save_time_start;
    server.rdb_save_time_start = -1;
    // Replicas may be waiting for this file, or for a child to exit before theirs can be started.
    let ok = bysignal == 0 && exitcode == 0;
    updateSlavesWaitingBgsave(server, if ok { C_OK } else { C_ERR }, type_);
}

/// Kills the child that saves with SIGUSR1, by which the parent knows that it was not an error. The
/// cleanup (the child's state, its temporary file) is done when `checkChildrenDone` finds that the
/// child has exited.
pub fn killRDBChild(server: &mut Server) {
    let _ = kill(server.child_pid, libc::SIGUSR1);
    trace!(server, "child_killed", "child": server.child_pid, "type": "RDB");
}

/// Streams an RDB to all replicas in the state WAIT_BGSAVE_START, without a file: a child writes it
/// into a pipe, and [`rdbPipeReadHandler`] hands it on. `C_ERR`: it could not be started.
///
/// The child could write to the sockets itself. But with TLS a socket has a state, which the parent
/// has to take over when the child is done; so it is the parent who writes to them at all times.
pub fn rdbSaveToSlavesSockets(server: &mut Server, rsi: Option<&rdbSaveInfo>) -> CResult {
    if hasActiveChildProcess(server) {
        return C_ERR;
    }
    // The last child may have exited with something left in its pipe.
    if !server.rdb_pipe_conns.is_empty() {
        return C_ERR;
    }

    let Ok((rdb_pipe_read, rdb_pipe_write)) = pipe() else { return C_ERR };
    let _ = anetNonBlock(rdb_pipe_read); // It does not fail for a pipe.
    // A second pipe, by which the parent tells the child that it can exit: see
    // [`rdbPipeReadHandler`].
    let Ok((safe_to_exit_pipe, rdb_child_exit_pipe)) = pipe() else {
        close(rdb_pipe_write);
        close(rdb_pipe_read);
        return C_ERR;
    };
    trace!(server, "rdb_pipe", "what": "open");
    server.rdb_pipe_read = Some(rdb_pipe_read);
    server.rdb_child_exit_pipe = Some(rdb_child_exit_pipe);

    // Collect the connections of the replicas. They are told the offset now: after the fork nothing
    // may be between that and the RDB on their connections.
    let mut li = listRewind(&server.slaves);
    while let Some(slave) = listNext(&server.slaves, &mut li) {
        if server[slave].replstate == SLAVE_STATE_WAIT_BGSAVE_START {
            let conn = server[slave].conn;
            server.rdb_pipe_conns.push(conn);
            let offset = getPsyncInitialOffset(server);
            // One that can't be told is freed later, and then taken out of the connections.
            let _ = replicationSetupSlaveForFullResync(server, slave, offset);
        }
    }

    match redisFork(server, CHILD_TYPE_RDB) {
        Ok(Fork::Child) => {
            let mut rdb = rioInitWithFd(rdb_pipe_write);
            // If the parent is gone, so is the last reader: the next write fails, and we exit.
            close(rdb_pipe_read);
            let _ = redisSetProcTitle(server, Some(b"redis-rdb-to-slaves"));
            redisSetCpuAffinity(server.bgsave_cpulist.as_deref());

            let saved =
                rdbSaveRioWithEOFMark(server, &mut rdb, rsi).is_ok() && rioFlush(&mut rdb).is_ok();
            if saved {
                sendChildCowInfo(server, CHILD_INFO_TYPE_RDB_COW_SIZE, "RDB");
            }
            // The end of file tells the parent that this is all.
            close(rdb_pipe_write);
            // Wait until the parent says that it is safe to exit. It sends nothing: the read ends
            // when it closes the pipe, or is gone, which takes that no copy of the writing end is
            // left here.
            close(rdb_child_exit_pipe);
            let _ = read(safe_to_exit_pipe, &mut [0]);
            exitFromChild(if saved { 0 } else { 1 })
        }
        Err(e) => {
            serverLog!(LL_WARNING, "Can't save in background: fork: {}", error_text(&e));
            // The caller tells the replicas that wait for a start, so they have to be in that state
            // again.
            for &slave in &server.slaves {
                let slave = &mut server.clients[slave];
                if slave.replstate == SLAVE_STATE_WAIT_BGSAVE_END {
                    slave.replstate = SLAVE_STATE_WAIT_BGSAVE_START;
                }
            }
            for slave in server.slaves.iter().copied().collect::<Vec<_>>() {
                trace_replstate!(server, slave);
            }
            close(safe_to_exit_pipe);
            close(rdb_pipe_write);
            // C: leaves this one open.
            close(rdb_child_exit_pipe);
            server.rdb_child_exit_pipe = None;
            close_rdb_pipe(server);
            C_ERR
        }
        Ok(Fork::Parent(childpid)) => {
            close(safe_to_exit_pipe);
            serverLog!(LL_NOTICE, "Background RDB transfer started by pid {}", childpid);
            server.rdb_save_time_start = time();
            server.rdb_child_type = RDB_CHILD_TYPE_SOCKET;
            // With a copy of the writing end left here, there would be no end of file.
            close(rdb_pipe_write);
            watch_rdb_pipe(server);
            C_OK
        }
    }
}

/// SAVE
pub fn saveCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    if server.child_type == CHILD_TYPE_RDB {
        addReplyError(server, c, b"Background save already in progress");
        return;
    }
    let rsi = rdbPopulateSaveInfo(server);
    let filename = server.rdb_filename.clone();
    if rdbSave(server, &filename, rsi.as_ref()).is_ok() {
        addReply(server, c, shared::ok);
    } else {
        addReplyErrorObject(server, c, shared::err);
    }
}

/// BGSAVE [SCHEDULE]
pub fn bgsaveCommand(server: &mut Server, c: ClientId, argv: &Args) {
    // With SCHEDULE the save is started later, when the other child (an AOF rewrite) has exited.
    let mut schedule = false;
    if argv.len() > 1 {
        if argv.len() == 2 && argv.get(1).eq_ignore_ascii_case(b"schedule") {
            schedule = true;
        } else {
            addReplyErrorObject(server, c, shared::syntaxerr);
            return;
        }
    }

    let rsi = rdbPopulateSaveInfo(server);
    let filename = server.rdb_filename.clone();
    if server.child_type == CHILD_TYPE_RDB {
        addReplyError(server, c, b"Background save already in progress");
    } else if hasActiveChildProcess(server) || server.propagate_in_transaction {
        // C: it forks within a transaction, and the file has half of it and an offset in the
        // middle.
        if schedule || server.propagate_in_transaction {
            // serverCron starts it when no child process is active.
            server.rdb_bgsave_scheduled = true;
            addReplyStatus(server, c, b"Background saving scheduled");
        } else {
            addReplyError(
                server,
                c,
                b"Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a BGSAVE whenever possible.",
            );
        }
    } else if rdbSaveBackground(server, &filename, rsi.as_ref()).is_ok() {
        addReplyStatus(server, c, b"Background saving started");
    } else {
        addReplyErrorObject(server, c, shared::err);
    }
}

/// Deletes a key in the replication stream that the load of our own RDB drops because it has
/// expired: the replicas that go on from the offset in the file still have it.
#[cold]
fn feed_expired_key(server: &mut Server, db: usize, key: &[u8]) {
    let del: &[u8] = if server.lazyfree_lazy_expire { b"UNLINK" } else { b"DEL" };
    replicationFeedSlaves(server, db as i32, &Argv::new(&[del, key]).as_args());
}

/// Returns the replication fields for an RDB, with which a server that loads it can try a partial
/// resynchronization. They are the db that is selected in the master's stream; the replication ID
/// and the offset are added by [`rdbSaveInfoAuxFields`]. Returns `None` if this server is in no
/// replication chain, and then none of them is saved.
pub fn rdbPopulateSaveInfo(server: &Server) -> Option<rdbSaveInfo> {
    let with_db = |db: i32| Some(rdbSaveInfo { repl_stream_db: db, ..Default::default() });

    // A master without a backlog has no replicas. When one connects it gets a full
    // resynchronization, and a new replication ID, so that the present one is of no use.
    if server.masterhost.is_none() && server.repl_backlog {
        // After a full resynchronization no db is selected until the first write. Any number is
        // correct then, since that write is preceded by a SELECT.
        return with_db(if server.slaveseldb == -1 { 0 } else { server.slaveseldb });
    }
    // A replica has the db that its master selected last. The cached master will do while the link
    // is down: only data from the master moves the offset, so it has not changed since.
    server.master.or(server.cached_master).and_then(|master| with_db(server[master].db as i32))
}

#[cfg(test)]
mod tests;
