//! `rdb.c`: the snapshot of all data in one file, both ways, and the child that writes it.
//!
//! # The file
//!
//! ```text
//! REDIS0009                                 magic and version
//! FA <name> <value> ...                     AUX: who wrote it, and where its master's stream stood
//! FE <db> FB <keys> <keys that expire>      SELECTDB, RESIZEDB
//! [FC <ms>] [F8 <idle> | F9 <freq>] <type> <key> <value> ...
//! FF <crc64>
//! ```
//!
//! A length takes 1, 2, 5 or 9 bytes, by its first two bits. The fourth value of these says that a string follows in another
//! form: as an integer of 1, 2 or 4 bytes, or compressed.
//!
//! # Read first
//!
//! `rdbSaveRio` with `rdbSaveKeyValuePair`, then `rdbLoadRio`. Each value type has its place in `rdbSaveObjectType`,
//! `rdbSaveObject` and `rdbLoadObject`, and nowhere else.
//!
//! # Absent
//!
//! Modules, the script cache, and the transfer to sockets (a diskless master).
//!
//! # Differs
//!
//! Version 9 is written, and 1 to 12 are read as far as values have a form of Redis 6.2, which they are converted to; the C
//! ends at 9. `sanitize-dump-payload` is `yes` unless it is configured, so that a packed value is read element by element
//! before it is used: a damaged one would end the process in the midst of a command (`redisassert.rs`). What costs little is
//! checked even with `no`, where it can do worse than that.
//! A string is lent from the read buffer and goes straight into its key's block, and keys are added in batches, so that their places in the table are
//! fetched from memory side by side. The sizes that a file claims are not trusted: memory is asked for as bytes arrive.
//! Functions that may have to wait for bytes take the server, because clients are served meanwhile.

use std::collections::HashSet;
use std::io;
use std::mem::take;
use std::os::fd::RawFd;

use crate::aof::aofReadDiffFromParent;
use crate::args::Args;
use crate::debug::debugDelay;
use crate::ds::dict::{
    DICT_HT_INITIAL_SIZE, DictBatch, PairEntry, SdsEntry, dictAddBatch, dictAddLater, dictExpand,
    dictSize,
};

use crate::ds::intset::*;
use crate::ds::listpack::*;
use crate::ds::lzf::{LzfState, lzf_compress, lzf_decompress};
use crate::ds::quicklist::*;
use crate::ds::rax::*;
use crate::ds::ziplist::*;
use crate::ds::zipmap::*;
use crate::evict::{LFUDecrAndReturn, LRU_CLOCK, estimateObjectIdleTime, newObjectLru};
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
use crate::replication::{bg_unlink, replicationSendNewlineToMaster, updateSlavesWaitingBgsave};
use crate::rio::*;
use crate::server::{
    blockingOperationEnds, blockingOperationStarts, exitFromChild, hasActiveChildProcess,
    redisFork, redisSetCpuAffinity, redisSetProcTitle, sendChildCowInfo, sendChildInfo,
};
use crate::server_h::*;
use crate::sys::alloc::{fallibly, zmalloc_used_memory};
use crate::sys::clock::{mstime, steady_ms};
use crate::sys::errno::errorText;
use crate::sys::file::{fileSize, fsync, getcwd, open, rename, unlink};
use crate::sys::fork::{Fork, getpid, kill};
use crate::sys::signal;
use crate::sys::socket::close;
use crate::types::t_hash::{
    Hash, HashRef, createHashObject, hashTypeConvert, hashTypeLength, hashZiplistValidateIntegrity,
};
use crate::types::t_set::{Set, SetRef, setTypeConvert};
use crate::types::t_stream::*;
use crate::types::t_zset::*;
use crate::util::{
    B, atoi, c_str, eq_ignore_case, format_17g, ll2string, string2ll, strtod, strtoll,
};
use crate::{bformat, serverLog};

/// The version that is written.
pub const RDB_VERSION: i32 = 9;
/// The last version that is read.
pub const RDB_VERSION_LOAD: i32 = 12;

// Lengths: the first two bits of the first byte, or all of it.
pub const RDB_6BITLEN: u8 = 0;
pub const RDB_14BITLEN: u8 = 1;
pub const RDB_32BITLEN: u8 = 0x80;
pub const RDB_64BITLEN: u8 = 0x81;
pub const RDB_ENCVAL: u8 = 3;
/// No length: too large for anything.
pub const RDB_LENERR: u64 = u64::MAX;

// The other forms of a string.
pub const RDB_ENC_INT8: u8 = 0;
pub const RDB_ENC_INT16: u8 = 1;
pub const RDB_ENC_INT32: u8 = 2;
pub const RDB_ENC_LZF: u8 = 3;

// Value types.
pub const RDB_TYPE_STRING: u8 = 0;
pub const RDB_TYPE_LIST: u8 = 1;
pub const RDB_TYPE_SET: u8 = 2;
pub const RDB_TYPE_ZSET: u8 = 3;
pub const RDB_TYPE_HASH: u8 = 4;
pub const RDB_TYPE_ZSET_2: u8 = 5;
pub const RDB_TYPE_MODULE: u8 = 6;
pub const RDB_TYPE_MODULE_2: u8 = 7;
pub const RDB_TYPE_HASH_ZIPMAP: u8 = 9;
pub const RDB_TYPE_LIST_ZIPLIST: u8 = 10;
pub const RDB_TYPE_SET_INTSET: u8 = 11;
pub const RDB_TYPE_ZSET_ZIPLIST: u8 = 12;
pub const RDB_TYPE_HASH_ZIPLIST: u8 = 13;
pub const RDB_TYPE_LIST_QUICKLIST: u8 = 14;
pub const RDB_TYPE_STREAM_LISTPACKS: u8 = 15;
// From version 10 on.
pub const RDB_TYPE_HASH_LISTPACK: u8 = 16;
pub const RDB_TYPE_ZSET_LISTPACK: u8 = 17;
pub const RDB_TYPE_LIST_QUICKLIST_2: u8 = 18;
pub const RDB_TYPE_STREAM_LISTPACKS_2: u8 = 19;
// From version 11 on.
pub const RDB_TYPE_SET_LISTPACK: u8 = 20;
pub const RDB_TYPE_STREAM_LISTPACKS_3: u8 = 21;
// From version 12 on: hashes whose fields expire.
pub const RDB_TYPE_HASH_METADATA_PRE_GA: u8 = 22;
pub const RDB_TYPE_HASH_LISTPACK_EX_PRE_GA: u8 = 23;
pub const RDB_TYPE_HASH_METADATA: u8 = 24;
pub const RDB_TYPE_HASH_LISTPACK_EX: u8 = 25;

/// The types by their numbers, for messages.
pub const RDB_TYPE_NAMES: [&str; 26] = [
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

// What stands where a type can stand. 244 comes with version 12, 245 and 246 with version 10.
pub const RDB_OPCODE_SLOT_INFO: u8 = 244;
pub const RDB_OPCODE_FUNCTION2: u8 = 245;
pub const RDB_OPCODE_FUNCTION_PRE_GA: u8 = 246;
pub const RDB_OPCODE_MODULE_AUX: u8 = 247;
pub const RDB_OPCODE_IDLE: u8 = 248;
pub const RDB_OPCODE_FREQ: u8 = 249;
pub const RDB_OPCODE_AUX: u8 = 250;
pub const RDB_OPCODE_RESIZEDB: u8 = 251;
pub const RDB_OPCODE_EXPIRETIME_MS: u8 = 252;
pub const RDB_OPCODE_EXPIRETIME: u8 = 253;
pub const RDB_OPCODE_SELECTDB: u8 = 254;
pub const RDB_OPCODE_EOF: u8 = 255;

// What follows within the data of a module.
const RDB_MODULE_OPCODE_EOF: u64 = 0;
const RDB_MODULE_OPCODE_SINT: u64 = 1;
const RDB_MODULE_OPCODE_UINT: u64 = 2;
const RDB_MODULE_OPCODE_FLOAT: u64 = 3;
const RDB_MODULE_OPCODE_DOUBLE: u64 = 4;
const RDB_MODULE_OPCODE_STRING: u64 = 5;

// How a node of a list is kept, from version 10 on.
const QUICKLIST_NODE_CONTAINER_PLAIN: u64 = 1;
const QUICKLIST_NODE_CONTAINER_PACKED: u64 = 2;

/// No list has an element of this length, which has to fit 32 bits with its overhead.
const LIST_ELEMENT_LIMIT: usize = (1 << 32) - 1024;

/// Strings up to this length are put in their key's block, and wait there for their batch.
const BATCH_VALUE_MAX: usize = 64;
/// Keys that are added at once.
const BATCH: usize = 32;
/// What is asked for at once for a long string of which nobody knows whether it is there.
const LONG_STRING_STEP: usize = 1024 * 1024;

/// The wall clock, in seconds.
fn time() -> i64 {
    mstime() / 1000
}

/// Whether a type is one of a value, in this version of RDB (`rdbIsObjectType`).
// C: it knows no version but its own.
pub fn rdbIsObjectType(t: u8, rdbver: i32) -> bool {
    match t {
        0..=7 | 9..=15 => true,
        16..=19 => rdbver >= 10,
        20..=21 => rdbver >= 11,
        22..=25 => rdbver >= 12,
        _ => false,
    }
}

/// Reports that the bytes make no sense.
macro_rules! rdbReportCorruptRDB {
    ($server:expr, $($arg:tt)+) => { rdbReportError($server, true, line!(), &bformat!($($arg)+)) };
}
/// Reports that bytes are missing, or are none of ours.
macro_rules! rdbReportReadError {
    ($server:expr, $($arg:tt)+) => { rdbReportError($server, false, line!(), &bformat!($($arg)+)) };
}

/// Logs what is wrong with an RDB. While a file is loaded that ends the process with code 1. It returns where the bytes
/// came from a client (RESTORE), where a connection broke, and in redis-check-rdb, which tells of the first error when it
/// hears that there is one.
pub fn rdbReportError(server: &mut Server, corruption_error: bool, linenum: u32, reason: &[u8]) {
    // C: it names a line of rdb.c.
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
        // The checker goes through the file once more, and its exit code is ours. It may find nothing wrong, like a key that
        // is there twice: the load failed all the same.
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

/// Ends the process because of what it loads. What a master sent does not stay behind.
fn exit_while_loading(server: &Server, exitcode: i32) -> ! {
    if let Some(tmpfile) = &server.repl_transfer_tmpfile {
        let _ = unlink(tmpfile);
    }
    std::process::exit(exitcode);
}

/// Ends the process with code 1, if a load is going on; the reason was logged.
fn exitIfLoading(server: &Server) {
    if server.loading {
        exit_while_loading(server, 1);
    }
}

fn rdbWriteRaw(rdb: &mut Rio, p: &[u8]) -> CResult {
    rioWrite(rdb, p)
}

/// Makes `n` bytes available, up to `RIO_TAKE_MAX`. `false`: there are not so many.
#[inline(always)]
fn rdbNeed(server: &mut Server, rdb: &mut Rio, n: usize) -> bool {
    rioAvailable(rdb) >= n || rdbFill(server, rdb, n)
}

#[cold]
#[inline(never)]
fn rdbFill(server: &mut Server, rdb: &mut Rio, n: usize) -> bool {
    debug_assert!(n <= RIO_TAKE_MAX);
    while rioAvailable(rdb) < n {
        let before = rioTell(rdb) + rioAvailable(rdb) as u64;
        if rioFill(rdb).is_err() {
            return false;
        }
        rdbLoadProgressCallback(server, rdb, before);
    }
    true
}

/// The next bytes, a number of them that is known when this is compiled.
#[inline(always)]
fn rdbLoadRaw<const N: usize>(server: &mut Server, rdb: &mut Rio) -> Option<[u8; N]> {
    if !rdbNeed(server, rdb, N) {
        return None;
    }
    rioTake(rdb, N).first_chunk().copied()
}

/// The next `len` bytes by themselves. Memory is asked for at once only if so many bytes are there.
fn rdbLoadLong(server: &mut Server, rdb: &mut Rio, len: u64) -> Option<Vec<u8>> {
    let known = rioRemaining(rdb).unwrap_or(0).max(LONG_STRING_STEP as u64);
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
        let before = rioTell(rdb) + rioAvailable(rdb) as u64;
        // Without a step, reading would reserve all that is missing.
        let step = (out.capacity() - out.len()).max(LONG_STRING_STEP).min(len - out.len());
        rioReadAppend(rdb, &mut out, step).ok()?;
        rdbLoadProgressCallback(server, rdb, before);
    }
    Some(out)
}

/// Writes a byte: a value type or an opcode.
pub fn rdbSaveType(rdb: &mut Rio, type_: u8) -> CResult {
    rdbWriteRaw(rdb, &[type_])
}

/// A byte: a value type or an opcode. `None` at the end.
#[inline]
pub fn rdbLoadType(server: &mut Server, rdb: &mut Rio) -> Option<u8> {
    rdbLoadRaw::<1>(server, rdb).map(|[type_]| type_)
}

/// A time of expiry in seconds, as versions before 3 have it.
pub fn rdbLoadTime(server: &mut Server, rdb: &mut Rio) -> Option<i64> {
    rdbLoadRaw(server, rdb).map(|t32| i64::from(i32::from_le_bytes(t32)))
}

/// Writes a time of expiry, in milliseconds since 1970.
pub fn rdbSaveMillisecondTime(rdb: &mut Rio, t: i64) -> CResult {
    rdbWriteRaw(rdb, &t.to_le_bytes())
}

/// A time of expiry in milliseconds.
// C: versions before 9 have it in the byte order of the machine that wrote it. Ours is that of all files in practice.
pub fn rdbLoadMillisecondTime(server: &mut Server, rdb: &mut Rio) -> Option<i64> {
    rdbLoadRaw(server, rdb).map(i64::from_le_bytes)
}

/// Writes a length in as few bytes as there is a form for.
#[inline]
pub fn rdbSaveLen(rdb: &mut Rio, len: u64) -> CResult {
    if len < 1 << 6 {
        rdbWriteRaw(rdb, &[len as u8 | RDB_6BITLEN << 6])
    } else if len < 1 << 14 {
        rdbWriteRaw(rdb, &[(len >> 8) as u8 | RDB_14BITLEN << 6, len as u8])
    } else if let Ok(len) = u32::try_from(len) {
        let [a, b, c, d] = len.to_be_bytes();
        rdbWriteRaw(rdb, &[RDB_32BITLEN, a, b, c, d])
    } else {
        rdbWriteRaw(rdb, &[RDB_64BITLEN])?;
        rdbWriteRaw(rdb, &len.to_be_bytes())
    }
}

/// A length, and whether it is none but the form (`RDB_ENC_*`) of the string that follows.
#[inline]
pub fn rdbLoadLenByRef(server: &mut Server, rdb: &mut Rio) -> Option<(u64, bool)> {
    let [first] = rdbLoadRaw(server, rdb)?;
    let low = u64::from(first & 0x3f);
    Some(match first >> 6 {
        RDB_6BITLEN => (low, false),
        RDB_ENCVAL => (low, true),
        RDB_14BITLEN => {
            let [second] = rdbLoadRaw(server, rdb)?;
            (low << 8 | u64::from(second), false)
        }
        type_ => match first {
            RDB_32BITLEN => (u64::from(u32::from_be_bytes(rdbLoadRaw(server, rdb)?)), false),
            RDB_64BITLEN => (u64::from_be_bytes(rdbLoadRaw(server, rdb)?), false),
            _ => {
                rdbReportCorruptRDB!(server, "Unknown length encoding {} in rdbLoadLen()", type_);
                return None;
            }
        },
    })
}

/// A length alone. `None`: there is none, or no thing can be so long.
pub fn rdbLoadLen(server: &mut Server, rdb: &mut Rio) -> Option<u64> {
    rdbLoadLenByRef(server, rdb).map(|(len, _)| len).filter(|&len| len != RDB_LENERR)
}

/// An integer in its shortest form, as bytes and their number. `None` if it takes more than 32 bits.
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

/// An integer in one of these forms.
pub fn rdbLoadIntegerObject(server: &mut Server, rdb: &mut Rio, enctype: u64) -> Option<i64> {
    const INT8: u64 = RDB_ENC_INT8 as u64;
    const INT16: u64 = RDB_ENC_INT16 as u64;
    const INT32: u64 = RDB_ENC_INT32 as u64;
    match enctype {
        INT8 => rdbLoadRaw(server, rdb).map(|enc| i64::from(i8::from_le_bytes(enc))),
        INT16 => rdbLoadRaw(server, rdb).map(|enc| i64::from(i16::from_le_bytes(enc))),
        INT32 => rdbLoadRaw(server, rdb).map(|enc| i64::from(i32::from_le_bytes(enc))),
        _ => {
            rdbReportCorruptRDB!(server, "Unknown RDB integer encoding type {}", enctype);
            None
        }
    }
}

/// The form of a string that is the canonical text of an integer of up to 32 bits.
#[inline]
pub fn rdbTryIntegerEncoding(s: &[u8]) -> Option<([u8; 5], usize)> {
    rdbEncodeInteger(string2ll(s)?)
}

/// Writes a string that is compressed already; `original_len` is its length before.
pub fn rdbSaveLzfBlob(rdb: &mut Rio, data: &[u8], original_len: usize) -> CResult {
    rdbWriteRaw(rdb, &[RDB_ENCVAL << 6 | RDB_ENC_LZF])?;
    rdbSaveLen(rdb, data.len() as u64)?;
    rdbSaveLen(rdb, original_len as u64)?;
    rdbWriteRaw(rdb, data)
}

/// Compresses and writes a string. `Ok(false)`: it is not worth it, and nothing was written.
pub fn rdbSaveLzfStringObject(rdb: &mut Rio, s: &[u8]) -> Result<bool, ()> {
    // Four bytes are the least to be saved.
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

/// A compressed string, decompressed.
fn rdbLoadLzfStringObject<'a>(server: &mut Server, rdb: &'a mut Rio) -> Option<RdbString<'a>> {
    let clen = rdbLoadLen(server, rdb)?;
    let len = rdbLoadLen(server, rdb)?;

    // Three bytes say 264 at most, so a length beyond that is a lie, and nothing to allocate memory for.
    let plausible = |clen: usize| len <= clen as u64 * 88 + 264;
    if clen <= RIO_TAKE_MAX as u64 && len <= RIO_TAKE_MAX as u64 {
        let (clen, len) = (clen as usize, len as usize);
        if !rdbNeed(server, rdb, clen) {
            return None;
        }
        let mut val = take(&mut rdb.scratch);
        if val.len() < len {
            val.resize(len, 0);
        }
        let ok = lzf_decompress(rioTake(rdb, clen), &mut val[..len]) == len;
        rdb.scratch = val;
        if ok {
            return Some(RdbString::Slice(&rdb.scratch[..len]));
        }
    } else {
        let c = rdbLoadLong(server, rdb, clen)?;
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

/// Writes a string: as an integer if it is one, compressed if that pays, else as it is.
#[inline]
pub fn rdbSaveRawString(server: &Server, rdb: &mut Rio, s: &[u8]) -> CResult {
    // The longest integer of 32 bits has 11 characters.
    if s.len() <= 11
        && let Some((enc, enclen)) = rdbTryIntegerEncoding(s)
    {
        return rdbWriteRaw(rdb, &enc[..enclen]);
    }
    // Up to 20 bytes, not even one letter repeated gets shorter by enough.
    if s.len() > 20 && server.rdb_compression && rdbSaveLzfStringObject(rdb, s)? {
        return C_OK;
    }
    rdbSaveLen(rdb, s.len() as u64)?;
    rdbWriteRaw(rdb, s)
}

/// Writes an integer, as one or, beyond 32 bits, as its text.
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

/// Writes a string value.
#[inline]
pub fn rdbSaveStringObject(server: &Server, rdb: &mut Rio, obj: ValueRef<'_>) -> CResult {
    match obj {
        ValueRef::Int(n) => rdbSaveLongLongAsStringObject(rdb, n),
        ValueRef::Str(s) => rdbSaveRawString(server, rdb, s),
        ValueRef::Aggregate(_) => panic!("a string is expected"),
    }
}

/// A string as it came: what the flags of the C's `rdbGenericLoadStringObject` choose from.
pub enum RdbString<'a> {
    /// It was written as an integer.
    Int(i64),
    /// Its bytes, lent by the stream until the next read.
    Slice(&'a [u8]),
    /// Its bytes, too many to be lent.
    Own(Vec<u8>),
}

impl<'a> RdbString<'a> {
    /// Its bytes, by themselves (`RDB_LOAD_SDS`).
    pub fn into_vec(self) -> Vec<u8> {
        match self {
            RdbString::Int(n) => ll2string(n).to_vec(),
            RdbString::Slice(s) => s.to_vec(),
            RdbString::Own(v) => v,
        }
    }

    /// Its bytes; a number is spelled in `buf`.
    #[inline]
    pub fn bytes<'b>(&'b self, buf: &'b mut itoa::Buffer) -> &'b [u8] {
        match self {
            RdbString::Int(n) => buf.format(*n).as_bytes(),
            RdbString::Slice(s) => s,
            RdbString::Own(v) => v,
        }
    }

    /// Appends its bytes.
    #[inline]
    pub fn append_to(&self, out: &mut Vec<u8>) {
        match self {
            RdbString::Int(n) => out.extend_from_slice(&ll2string(*n)),
            RdbString::Slice(s) => out.extend_from_slice(s),
            RdbString::Own(v) => out.extend_from_slice(v),
        }
    }

    /// As a value of a key: a number if it is one (`RDB_LOAD_ENC`, then `tryObjectEncoding`).
    #[inline]
    fn into_value(self) -> Value<'a> {
        match self {
            RdbString::Int(n) => Value::Int(n),
            RdbString::Slice(s) => tryObjectEncoding(s),
            RdbString::Own(v) => Value::Own(Object::Str(v)),
        }
    }
}

/// Reads a string. `None`: it is not all there, or makes no sense, which was reported.
#[inline]
pub fn rdbGenericLoadStringObject<'a>(
    server: &mut Server,
    rdb: &'a mut Rio,
) -> Option<RdbString<'a>> {
    let (len, isencoded) = rdbLoadLenByRef(server, rdb)?;
    if isencoded {
        return rdbLoadSpecialString(server, rdb, len);
    }
    if len > RIO_TAKE_MAX as u64 {
        if len == RDB_LENERR {
            return None;
        }
        return rdbLoadLong(server, rdb, len).map(RdbString::Own);
    }
    let len = len as usize;
    if !rdbNeed(server, rdb, len) {
        return None;
    }
    Some(RdbString::Slice(rioTake(rdb, len)))
}

/// A string in another form than its bytes.
fn rdbLoadSpecialString<'a>(
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

/// Reads a string as bytes.
pub fn rdbLoadStringObject(server: &mut Server, rdb: &mut Rio) -> Option<Vec<u8>> {
    rdbGenericLoadStringObject(server, rdb).map(RdbString::into_vec)
}

/// Reads a string as the value of a key.
#[inline]
pub fn rdbLoadEncodedStringObject<'a>(server: &mut Server, rdb: &'a mut Rio) -> Option<Value<'a>> {
    rdbGenericLoadStringObject(server, rdb).map(RdbString::into_value)
}

/// Writes a double as text behind its length; 253, 254 and 255 in place of a length are NaN and the infinities.
pub fn rdbSaveDoubleValue(rdb: &mut Rio, val: f64) -> CResult {
    if val.is_nan() {
        return rdbWriteRaw(rdb, &[253]);
    }
    if val.is_infinite() {
        return rdbWriteRaw(rdb, &[if val < 0.0 { 255 } else { 254 }]);
    }
    // Below 2^52 a double that is whole is printed faster, and the same, as an integer.
    const LIMIT: f64 = (1i64 << 52) as f64;
    let whole = val > 1.0 - LIMIT && val < LIMIT && val == val as i64 as f64;
    let text = if whole { ll2string(val as i64) } else { format_17g(val) };
    rdbWriteRaw(rdb, &[text.len() as u8])?;
    rdbWriteRaw(rdb, &text)
}

/// Reads such a double.
pub fn rdbLoadDoubleValue(server: &mut Server, rdb: &mut Rio) -> Option<f64> {
    match rdbLoadRaw(server, rdb)? {
        [255] => Some(f64::NEG_INFINITY),
        [254] => Some(f64::INFINITY),
        [253] => Some(f64::NAN),
        [len] => {
            if !rdbNeed(server, rdb, len.into()) {
                return None;
            }
            let number = strtod(c_str(rioTake(rdb, len.into())));
            (number.len > 0).then_some(number.value)
        }
    }
}

/// Writes a double as its eight bytes.
pub fn rdbSaveBinaryDoubleValue(rdb: &mut Rio, val: f64) -> CResult {
    rdbWriteRaw(rdb, &val.to_le_bytes())
}

/// Reads such a double.
pub fn rdbLoadBinaryDoubleValue(server: &mut Server, rdb: &mut Rio) -> Option<f64> {
    rdbLoadRaw(server, rdb).map(f64::from_le_bytes)
}

/// Writes a float as its four bytes.
pub fn rdbSaveBinaryFloatValue(rdb: &mut Rio, val: f32) -> CResult {
    rdbWriteRaw(rdb, &val.to_le_bytes())
}

/// Reads such a float.
pub fn rdbLoadBinaryFloatValue(server: &mut Server, rdb: &mut Rio) -> Option<f32> {
    rdbLoadRaw(server, rdb).map(f32::from_le_bytes)
}

/// Writes the type of a value, by what it is and how it is kept.
#[inline]
pub fn rdbSaveObjectType(rdb: &mut Rio, o: ValueRef<'_>) -> CResult {
    let type_ = match o {
        ValueRef::Int(_) | ValueRef::Str(_) => RDB_TYPE_STRING,
        ValueRef::Aggregate(a) => match a {
            AggregateRef::List(_) => RDB_TYPE_LIST_QUICKLIST,
            AggregateRef::Set(SetRef::Intset(_)) => RDB_TYPE_SET_INTSET,
            AggregateRef::Set(SetRef::Ht(_)) => RDB_TYPE_SET,
            AggregateRef::Zset(ZsetRef::Ziplist(_)) => RDB_TYPE_ZSET_ZIPLIST,
            AggregateRef::Zset(ZsetRef::Skiplist(_)) => RDB_TYPE_ZSET_2,
            AggregateRef::Hash(HashRef::Ziplist(_)) => RDB_TYPE_HASH_ZIPLIST,
            AggregateRef::Hash(HashRef::Ht(_)) => RDB_TYPE_HASH,
            AggregateRef::Stream(_) => RDB_TYPE_STREAM_LISTPACKS,
        },
    };
    rdbSaveType(rdb, type_)
}

/// A byte that is the type of a value (DUMP payloads). `None`: it is none, or missing.
pub fn rdbLoadObjectType(server: &mut Server, rdb: &mut Rio, rdbver: i32) -> Option<u8> {
    rdbLoadType(server, rdb).filter(|&type_| rdbIsObjectType(type_, rdbver))
}

/// Writes the pending messages of a group or a consumer: their ids, and with what `nack` gives also when and how often they
/// were delivered. To whom, a loader learns from the consumers, of which only the ids are written.
fn rdbSaveStreamPEL<V>(
    rdb: &mut Rio,
    pel: &Rax<V>,
    nack: impl Fn(&V) -> Option<streamNACK>,
) -> CResult {
    rdbSaveLen(rdb, raxSize(pel))?;
    let mut ri = raxStart();
    raxSeek(&mut ri, pel, "^", b"");
    while raxNext(&mut ri, pel) {
        // As in the tree: 128 bits, big endian.
        rdbWriteRaw(rdb, ri.key())?;
        if let Some(nack) = ri.data(pel).and_then(&nack) {
            rdbSaveMillisecondTime(rdb, nack.delivery_time)?;
            rdbSaveLen(rdb, nack.delivery_count)?;
        }
    }
    C_OK
}

/// Writes the consumers of a group, each with what is pending with it.
fn rdbSaveStreamConsumers(server: &Server, rdb: &mut Rio, cg: &streamCG) -> CResult {
    rdbSaveLen(rdb, cg.consumers.len())?;
    for consumer in cg.consumers.iter() {
        rdbSaveRawString(server, rdb, &consumer.name)?;
        rdbSaveMillisecondTime(rdb, consumer.seen_time)?;
        rdbSaveStreamPEL(rdb, &consumer.pel, |()| None)?;
    }
    C_OK
}

/// Writes a value, without its type.
#[inline]
pub fn rdbSaveObject(server: &Server, rdb: &mut Rio, o: ValueRef<'_>) -> CResult {
    match o {
        ValueRef::Int(_) | ValueRef::Str(_) => rdbSaveStringObject(server, rdb, o),
        ValueRef::Aggregate(a) => rdbSaveAggregate(server, rdb, a),
    }
}

/// Writes a value that has elements.
fn rdbSaveAggregate(server: &Server, rdb: &mut Rio, a: AggregateRef) -> CResult {
    match a {
        AggregateRef::List(ql) => {
            rdbSaveLen(rdb, ql.len() as u64)?;
            for node in ql.nodes() {
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
        AggregateRef::Set(SetRef::Intset(is)) => rdbSaveRawString(server, rdb, is),
        AggregateRef::Zset(ZsetRef::Ziplist(zl)) | AggregateRef::Hash(HashRef::Ziplist(zl)) => {
            rdbSaveRawString(server, rdb, zl)
        }
        AggregateRef::Zset(ZsetRef::Skiplist(zs)) => {
            rdbSaveLen(rdb, zs.zsl.len() as u64)?;
            // From the greatest to the smallest, so that a loader puts each at the head, which takes no search.
            let mut zn = zs.zsl.last();
            while let Some(node) = zn {
                rdbSaveRawString(server, rdb, zs.zsl.member(node))?;
                rdbSaveBinaryDoubleValue(rdb, zs.zsl.score(node))?;
                zn = zs.zsl.prev(node);
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
        AggregateRef::Stream(s) => rdbSaveStream(server, rdb, s),
    }
}

/// Writes a stream: its listpacks as they are, and its groups.
fn rdbSaveStream(server: &Server, rdb: &mut Rio, s: &Stream) -> CResult {
    rdbSaveLen(rdb, raxSize(&s.rax))?;
    let mut ri = raxStart();
    raxSeek(&mut ri, &s.rax, "^", b"");
    while raxNext(&mut ri, &s.rax) {
        if let Some(lp) = ri.data(&s.rax) {
            rdbSaveRawString(server, rdb, ri.key())?;
            rdbSaveRawString(server, rdb, lp)?;
        }
    }

    // To count the entries again would take a look at every listpack.
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

/// How many bytes a value takes in a file.
pub fn rdbSavedObjectLen(server: &Server, o: ValueRef<'_>) -> usize {
    let mut rdb = rioInitWithNull();
    rdbSaveObject(server, &mut rdb, o).expect("counting does not fail");
    rioTell(&rdb) as usize
}

/// Writes a key with all that belongs to it. `lru` is its access clock, `expiretime` -1 if it has none.
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
        // Seconds will do, and take less room.
        rdbSaveType(rdb, RDB_OPCODE_IDLE)?;
        rdbSaveLen(rdb, estimateObjectIdleTime(server, lru) / 1000)?;
    }
    if server.maxmemory_policy & MAXMEMORY_FLAG_LFU != 0 {
        // The counter alone: that the time of its last decrement is lost makes little difference.
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

/// Writes an AUX field.
pub fn rdbSaveAuxField(server: &Server, rdb: &mut Rio, key: &[u8], val: &[u8]) -> CResult {
    rdbSaveType(rdb, RDB_OPCODE_AUX)?;
    rdbSaveRawString(server, rdb, key)?;
    rdbSaveRawString(server, rdb, val)
}

/// The same from text.
pub fn rdbSaveAuxFieldStrStr(server: &Server, rdb: &mut Rio, key: &str, val: &str) -> CResult {
    rdbSaveAuxField(server, rdb, key.as_bytes(), val.as_bytes())
}

/// The same from a number.
pub fn rdbSaveAuxFieldStrInt(server: &Server, rdb: &mut Rio, key: &str, val: i64) -> CResult {
    rdbSaveAuxField(server, rdb, key.as_bytes(), &ll2string(val))
}

/// Writes the AUX fields that every file has, and with `rsi` those that tell a replica where it stood.
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
    }
    rdbSaveAuxFieldStrInt(server, rdb, "aof-preamble", aof_preamble)
}

/// How a save goes on, for the parent.
struct SaveProgress {
    key_count: usize,
    info_updated_time: i64,
    pname: &'static str,
    aof_preamble: bool,
    /// Bytes written when the parent was last listened to.
    processed: u64,
}

/// Writes all data to a stream. `Err`: what went wrong; part of it may have been written. The stream is not flushed.
pub fn rdbSaveRio(
    server: &mut Server,
    rdb: &mut Rio,
    rdbflags: i32,
    rsi: Option<&rdbSaveInfo>,
) -> io::Result<()> {
    rdbSaveRioInner(server, rdb, rdbflags, rsi).map_err(|()| rioTakeError(rdb))
}

fn rdbSaveRioInner(
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
        let dict = &server.db[j].dict;
        if dict.len() == 0 {
            continue;
        }
        rdbSaveType(rdb, RDB_OPCODE_SELECTDB)?;
        rdbSaveLen(rdb, j as u64)?;
        rdbSaveType(rdb, RDB_OPCODE_RESIZEDB)?;
        rdbSaveLen(rdb, dict.len() as u64)?;
        rdbSaveLen(rdb, dict.expires_len() as u64)?;

        // The keys are out of the server as long as they are borrowed, since reporting takes the server.
        let dict = take(&mut server.db[j].dict);
        let saved = rdbSaveKeys(server, rdb, &dict, &mut progress);
        server.db[j].dict = dict;
        saved?;
    }

    rdbSaveType(rdb, RDB_OPCODE_EOF)?;
    // Without a checksum this is 0, and nobody will check.
    let cksum = rioChecksum(rdb);
    rioWrite(rdb, &cksum.to_le_bytes())
}

fn rdbSaveKeys(
    server: &mut Server,
    rdb: &mut Rio,
    dict: &Keyspace,
    progress: &mut SaveProgress,
) -> CResult {
    for e in dict.iter() {
        rdbSaveEntry(server, rdb, e)?;

        // As a part of an AOF rewrite: the pipe from the parent holds little.
        if progress.aof_preamble && rioTell(rdb) > progress.processed + AOF_READ_DIFF_INTERVAL_BYTES
        {
            progress.processed = rioTell(rdb);
            aofReadDiffFromParent(server);
        }

        // Once a second the parent hears of it; the clock is asked every 1024 keys.
        progress.key_count += 1;
        if progress.key_count & 1023 == 1 {
            let now = steady_ms();
            if now - progress.info_updated_time >= 1000 {
                let keys = progress.key_count;
                sendChildInfo(server, CHILD_INFO_TYPE_CURRENT_INFO, keys, progress.pname);
                progress.info_updated_time = now;
            }
        }
    }
    C_OK
}

#[inline]
fn rdbSaveEntry(server: &Server, rdb: &mut Rio, e: Entry<'_>) -> CResult {
    rdbSaveKeyValuePair(server, rdb, e.key(), e.value(), e.lru(), e.expire().unwrap_or(-1))
}

/// The working directory, for messages.
fn rootDir() -> Vec<u8> {
    getcwd().unwrap_or_else(|_| b"unknown".to_vec())
}

/// The file that the process `pid` saves to before it gets its name.
fn rdbTempFile(pid: i32) -> Vec<u8> {
    bformat!("temp-{}.rdb", pid)
}

/// Saves all data to the file `filename`, which is replaced when the new one is complete and on the disk. `C_ERR`: what
/// was wrong is in the log, and the old file is as it was.
pub fn rdbSave(server: &mut Server, filename: &[u8], rsi: Option<&rdbSaveInfo>) -> CResult {
    let tmpfile = rdbTempFile(getpid());
    let fd = match open(&tmpfile, libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC, 0o666) {
        Ok(fd) => fd,
        Err(e) => {
            serverLog!(
                LL_WARNING,
                "Failed opening the RDB file {} (in server root dir {}) for saving: {}",
                B(filename),
                B(&rootDir()),
                errorText(&e)
            );
            return C_ERR;
        }
    };

    let mut rdb = rioInitWithFile(fd, 0);
    startSaving(RDBFLAGS_NONE);
    if server.rdb_save_incremental_fsync {
        rioSetAutoSync(&mut rdb, REDIS_AUTOSYNC_BYTES);
    }

    // The bytes have to be on the disk before the name is: nothing may be left in our buffers, or the system's.
    let saved = rdbSaveRio(server, &mut rdb, RDBFLAGS_NONE, rsi)
        .and_then(|()| rioFlush(&mut rdb).map_err(|()| rioTakeError(&mut rdb)))
        .and_then(|()| fsync(fd));
    close(fd);
    if let Err(e) = saved {
        serverLog!(LL_WARNING, "Write error saving DB on disk: {}", errorText(&e));
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
            B(&rootDir()),
            errorText(&e)
        );
        let _ = unlink(&tmpfile);
        stopSaving(false);
        return C_ERR;
    }

    serverLog!(LL_NOTICE, "DB saved on disk");
    server.dirty = 0;
    server.lastsave = time();
    server.lastsave_steady = steady_ms() / 1000;
    server.lastbgsave_status = CStatus::Ok;
    stopSaving(true);
    C_OK
}

/// Saves in a child. `C_ERR`: there is one already, or it could not be made. How it ended, `backgroundSaveDoneHandler`
/// hears.
pub fn rdbSaveBackground(
    server: &mut Server,
    filename: &[u8],
    rsi: Option<&rdbSaveInfo>,
) -> CResult {
    if hasActiveChildProcess(server) {
        return C_ERR;
    }
    server.dirty_before_bgsave = server.dirty;
    server.lastbgsave_try = steady_ms() / 1000;

    match redisFork(server, CHILD_TYPE_RDB) {
        Ok(Fork::Child) => {
            let _ = redisSetProcTitle(server, Some(b"redis-rdb-bgsave"));
            redisSetCpuAffinity(server.bgsave_cpulist.as_deref());
            let retval = rdbSave(server, filename, rsi);
            if retval.is_ok() {
                sendChildCowInfo(server, CHILD_INFO_TYPE_RDB_COW_SIZE, "RDB");
            }
            exitFromChild(if retval.is_ok() { 0 } else { 1 })
        }
        Err(e) => {
            server.lastbgsave_status = CStatus::Err;
            serverLog!(LL_WARNING, "Can't save in background: fork: {}", errorText(&e));
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

/// Removes the file of a child that saved. `from_signal`: we are in a signal handler, on our way out, and nothing is
/// allocated.
// C: outside of a handler a background thread frees the blocks; here that is `backgroundSaveDoneHandlerDisk`'s concern,
// and who else calls this is about to end.
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
        let _ = unlink(&rdbTempFile(childpid));
    }
}

/// Why a value could not be loaded (`RDB_LOAD_ERR_*`).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum RdbLoadErr {
    /// It has no elements, which old versions wrote by mistake. The key is skipped.
    EMPTY_KEY,
    /// All else. If it was not reported, bytes are missing.
    OTHER,
}

/// The name of a module, which its number is made of.
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

/// Whether a packed value that is loaded now is checked element by element, and searched for duplicates: by
/// `sanitize-dump-payload` always, never, or if it comes from a client (RESTORE), and neither from our master nor from a user
/// who is trusted with it.
fn deepIntegrityValidation(server: &Server) -> bool {
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

/// Whether what is loaded comes from a file or from our master, and not from a client. What genuine servers have written by
/// mistake is put right then, for it is all that there is; RESTORE can refuse it.
fn comes_from_file_or_master(server: &Server) -> bool {
    let from_master = |c: ClientId| server[c].flags & CLIENT_MASTER != 0;
    server.loading || server.current_client.is_some_and(from_master)
}

/// Logs what was put right in a value that comes from a file or from our master.
macro_rules! rdb_report_mended {
    ($server:expr, $key:expr, $($arg:tt)+) => {
        if $server.rdb_check.is_none() {
            serverLog!(LL_WARNING, "Key '{}': {}", B(c_str($key)), B(&bformat!($($arg)+)));
        }
    };
}

/// Reports a packed value that was looked at element by element. `passes` says whether it could be loaded without, and then
/// the report says so.
fn rdb_report_unsound(server: &mut Server, linenum: u32, reason: &str, passes: bool) {
    let way_out = if passes { " It is not looked at with 'sanitize-dump-payload no'." } else { "" };
    rdbReportError(server, true, linenum, &bformat!("{}{}", reason, way_out));
}

/// The pairs of a ziplist without those whose first element is there before: the others were never seen. `None`: more is
/// wrong with it than that, or it has a score that is no number.
fn rdb_drop_duplicates(zl: &[u8], scores: bool) -> Option<Ziplist> {
    let mut entries = Vec::new();
    let mut collect = |p: usize| ziplistGet(zl, p).map(|entry| entries.push(entry)).is_some();
    if !ziplistValidateIntegrity(zl, true, Some(&mut collect)) || entries.len() % 2 != 0 {
        return None;
    }
    let mut seen = HashSet::new();
    let mut out = ziplistNew();
    for pair in entries.chunks_exact(2) {
        if scores && zzlScore(pair[1]).is_nan() {
            return None;
        }
        let first = elementText(pair[0]).to_vec();
        if !seen.contains(&first) {
            ziplistPush(&mut out, &first, ZIPLIST_TAIL);
            ziplistPush(&mut out, &elementText(pair[1]), ZIPLIST_TAIL);
            seen.insert(first);
        }
    }
    Some(out)
}

/// Skips the data of a module, which can be read without the module, in redis-check-rdb. `None`: the bytes end, or make no
/// sense, which was reported.
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
            // C: it goes on after any other number as well.
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

/// Reads a value of a type. `rdbver` is the version of the file or payload. A string is lent by the stream where it can be.
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
            let a = rdbLoadAggregate(server, rdbtype, rdb, key, rdbver)?;
            Ok(Value::Own(Object::Aggregate(a)))
        }
    }
}

/// Reads a value that has elements.
#[inline(never)]
fn rdbLoadAggregate(
    server: &mut Server,
    rdbtype: u8,
    rdb: &mut Rio,
    key: &[u8],
    rdbver: i32,
) -> Result<Aggregate, RdbLoadErr> {
    if !rdbIsObjectType(rdbtype, rdbver) {
        return Err(rdbRefuseType(server, rdbtype, rdb, key, rdbver));
    }
    match rdbtype {
        RDB_TYPE_LIST => rdbLoadList(server, rdb).map(|ql| Aggregate::List(Box::new(ql))),
        RDB_TYPE_SET => rdbLoadSet(server, rdb).map(Aggregate::Set),
        RDB_TYPE_ZSET_2 | RDB_TYPE_ZSET => rdbLoadZset(server, rdb, rdbtype).map(Aggregate::Zset),
        RDB_TYPE_HASH => rdbLoadHash(server, rdb).map(Aggregate::Hash),
        RDB_TYPE_LIST_QUICKLIST => {
            rdbLoadQuicklist(server, rdb).map(|ql| Aggregate::List(Box::new(ql)))
        }
        RDB_TYPE_LIST_QUICKLIST_2 => {
            rdbLoadQuicklist2(server, rdb).map(|ql| Aggregate::List(Box::new(ql)))
        }
        RDB_TYPE_STREAM_LISTPACKS | RDB_TYPE_STREAM_LISTPACKS_2 | RDB_TYPE_STREAM_LISTPACKS_3 => {
            let s = rdbLoadStream(server, rdb, rdbtype, key).ok_or(RdbLoadErr::OTHER)?;
            Ok(Aggregate::Stream(Box::new(s)))
        }
        RDB_TYPE_HASH_METADATA => {
            rdbLoadHashMetadata(server, rdb, key, rdbver).map(Aggregate::Hash)
        }
        RDB_TYPE_HASH_ZIPMAP
        | RDB_TYPE_LIST_ZIPLIST
        | RDB_TYPE_SET_INTSET
        | RDB_TYPE_ZSET_ZIPLIST
        | RDB_TYPE_HASH_ZIPLIST
        | RDB_TYPE_HASH_LISTPACK
        | RDB_TYPE_ZSET_LISTPACK
        | RDB_TYPE_SET_LISTPACK
        | RDB_TYPE_HASH_LISTPACK_EX => rdbLoadEncoded(server, rdbtype, rdb, key, rdbver),
        _ => Err(rdbRefuseType(server, rdbtype, rdb, key, rdbver)),
    }
}

/// Room to make for `len` elements of at least `size` bytes each: a length that the bytes to come cannot hold is a lie.
fn rdbRoom(rdb: &Rio, len: u64, size: u64) -> usize {
    len.min(rioRemaining(rdb).map_or(1 << 20, |bytes| bytes / size)) as usize
}

/// The number of elements of a value.
fn rdbLoadCount(server: &mut Server, rdb: &mut Rio) -> Result<u64, RdbLoadErr> {
    match rdbLoadLen(server, rdb) {
        None => Err(RdbLoadErr::OTHER),
        Some(0) => Err(RdbLoadErr::EMPTY_KEY),
        Some(len) => Ok(len),
    }
}

/// Reports what is wrong with a value.
fn rdbCorrupt<T>(server: &mut Server, linenum: u32, reason: &str) -> Result<T, RdbLoadErr> {
    rdbReportError(server, true, linenum, reason.as_bytes());
    Err(RdbLoadErr::OTHER)
}

/// A value that was made of what was read. `None`: the bytes are damaged, and this is the reason.
fn rdbUnlessCorrupt<T>(
    server: &mut Server,
    linenum: u32,
    value: Option<T>,
    reason: &str,
) -> Result<T, RdbLoadErr> {
    match value {
        Some(value) => Ok(value),
        None => rdbCorrupt(server, linenum, reason),
    }
}

/// Adds an element to a list. `false`: it is too long for one.
fn rdbAddToList(ql: &mut Quicklist, ele: &[u8]) -> bool {
    if ele.len() >= LIST_ELEMENT_LIMIT {
        return false;
    }
    quicklistPushTail(ql, ele);
    true
}

/// A list, one element after the other.
fn rdbLoadList(server: &mut Server, rdb: &mut Rio) -> Result<Quicklist, RdbLoadErr> {
    let len = rdbLoadCount(server, rdb)?;
    let mut ql = quicklistNew(server.list_max_ziplist_size, server.list_compress_depth);
    for _ in 0..len {
        let ele = rdbGenericLoadStringObject(server, rdb).ok_or(RdbLoadErr::OTHER)?;
        if !rdbAddToList(&mut ql, ele.bytes(&mut itoa::Buffer::new())) {
            return rdbCorrupt(server, line!(), "List element is too big");
        }
    }
    Ok(ql)
}

/// A set that is being put together: of integers as long as it can be.
struct SetBuilder {
    set: Set,
    /// Members that go to the table of `set` soon.
    waiting: DictBatch<SdsEntry>,
    /// So many members are likely to come.
    room: usize,
}

impl SetBuilder {
    /// For `len` members, of which `room` are likely to come.
    fn new(server: &Server, len: u64, room: usize) -> SetBuilder {
        let mut builder =
            SetBuilder { set: Set::Intset(intsetNew()), waiting: DictBatch::default(), room };
        if len > server.set_max_intset_entries.min(1 << 30) as u64 {
            builder.convert();
        }
        builder
    }

    fn convert(&mut self) {
        setTypeConvert(&mut self.set);
        if let Set::Ht(d) = &mut self.set
            && self.room > DICT_HT_INITIAL_SIZE
        {
            dictExpand(d, self.room);
        }
    }

    /// Adds a member. `false`: it, or one before it, is there.
    fn add(&mut self, ele: &[u8]) -> bool {
        if let Set::Intset(is) = &mut self.set {
            if let Some(llval) = string2ll(ele) {
                return intsetAdd(is, llval);
            }
            self.convert();
        }
        match &mut self.set {
            Set::Ht(d) => dictAddLater(d, &mut self.waiting, SdsEntry::new(ele)),
            Set::Intset(_) => unreachable!("it was converted just now"),
        }
    }

    /// The set, unless one of the last members was there.
    fn finish(mut self) -> Option<Set> {
        let all_new = match &mut self.set {
            Set::Ht(d) => dictAddBatch(d, &mut self.waiting),
            Set::Intset(_) => true,
        };
        all_new.then_some(self.set)
    }
}

/// A set, one member after the other.
fn rdbLoadSet(server: &mut Server, rdb: &mut Rio) -> Result<Set, RdbLoadErr> {
    let len = rdbLoadCount(server, rdb)?;
    let mut set = SetBuilder::new(server, len, rdbRoom(rdb, len, 1));
    for _ in 0..len {
        let ele = rdbGenericLoadStringObject(server, rdb).ok_or(RdbLoadErr::OTHER)?;
        if !set.add(ele.bytes(&mut itoa::Buffer::new())) {
            return rdbCorrupt(server, line!(), "Duplicate set members detected");
        }
    }
    rdbUnlessCorrupt(server, line!(), set.finish(), "Duplicate set members detected")
}

/// A sorted set, one member after the other, from the greatest to the smallest if it was written by version 8 or later.
fn rdbLoadZset(server: &mut Server, rdb: &mut Rio, rdbtype: u8) -> Result<Zset, RdbLoadErr> {
    let zsetlen = rdbLoadCount(server, rdb)?;
    let (mut maxelelen, mut totelelen) = (0, 0);
    let mut zs = Box::new(zset::new());
    let room = rdbRoom(rdb, zsetlen, 2);
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
        // C: this ends the process.
        if score.is_nan() {
            return rdbCorrupt(server, line!(), "Zset with NAN score detected");
        }
        maxelelen = ele.len().max(maxelelen);
        totelelen += ele.len();
        if !zs.add_later(&mut waiting, score, &ele) {
            return rdbCorrupt(server, line!(), "Duplicate zset fields detected");
        }
    }
    if !zs.add_batch(&mut waiting) {
        return rdbCorrupt(server, line!(), "Duplicate zset fields detected");
    }

    // Only now, as they do not come in the order of a ziplist.
    let mut zobj = Zset::Skiplist(zs);
    zsetConvertToZiplistIfNeeded(&mut zobj, maxelelen, totelelen, &ZsetLimits::of(server));
    Ok(zobj)
}

/// A hash that is being put together: a ziplist while it is small enough.
struct HashBuilder {
    hash: Hash,
    /// The fields in the ziplist, if they are looked at.
    fields: Option<HashSet<Vec<u8>>>,
    /// Pairs that go to the table of `hash` soon.
    waiting: DictBatch<PairEntry>,
    max_value: usize,
}

impl HashBuilder {
    /// For `len` fields, of which `room` are likely to come. Without `deep` a field of a ziplist may be there twice, which
    /// ends the process when it is converted.
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

    fn convert(&mut self, room: usize) {
        self.fields = None;
        hashTypeConvert(&mut self.hash);
        if let Hash::Ht(ht) = &mut self.hash
            && room > DICT_HT_INITIAL_SIZE
        {
            dictExpand(ht, room);
        }
    }

    /// Adds a field and its value; `room` are still to come. `false`: the field, or one before it, is there.
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
            Hash::Ht(ht) => dictAddLater(ht, &mut self.waiting, PairEntry::new(field, value)),
            Hash::Ziplist(_) => unreachable!("it was converted just now"),
        }
    }

    /// The hash, unless one of the last fields was there.
    fn finish(mut self) -> Option<Hash> {
        let all_new = match &mut self.hash {
            Hash::Ht(ht) => dictAddBatch(ht, &mut self.waiting),
            Hash::Ziplist(_) => true,
        };
        all_new.then_some(self.hash)
    }
}

/// A hash, one field after the other.
fn rdbLoadHash(server: &mut Server, rdb: &mut Rio) -> Result<Hash, RdbLoadErr> {
    let len = rdbLoadCount(server, rdb)?;
    let deep = deepIntegrityValidation(server);
    let mut hash = HashBuilder::new(server, len, rdbRoom(rdb, len, 2), deep);
    let mut field = Vec::new();
    for i in 0..len {
        field.clear();
        rdbGenericLoadStringObject(server, rdb).ok_or(RdbLoadErr::OTHER)?.append_to(&mut field);
        let room = rdbRoom(rdb, len - i, 2);
        let value = rdbGenericLoadStringObject(server, rdb).ok_or(RdbLoadErr::OTHER)?;
        if !hash.add(&field, value.bytes(&mut itoa::Buffer::new()), room) {
            return rdbCorrupt(server, line!(), "Duplicate hash fields detected");
        }
    }
    rdbUnlessCorrupt(server, line!(), hash.finish(), "Duplicate hash fields detected")
}

/// A hash whose fields may expire, of 7.4 and later. It is loaded if no field does.
// C: there is no such type.
fn rdbLoadHashMetadata(
    server: &mut Server,
    rdb: &mut Rio,
    key: &[u8],
    rdbver: i32,
) -> Result<Hash, RdbLoadErr> {
    // When the first of its fields expires.
    rdbLoadMillisecondTime(server, rdb).ok_or(RdbLoadErr::OTHER)?;
    let len = rdbLoadCount(server, rdb)?;
    let mut hash = HashBuilder::new(server, len, rdbRoom(rdb, len, 3), true);
    let mut field = Vec::new();
    for i in 0..len {
        let (ttl, _) = rdbLoadLenByRef(server, rdb).ok_or(RdbLoadErr::OTHER)?;
        if ttl != 0 {
            return Err(rdbRefuseType(server, RDB_TYPE_HASH_METADATA, rdb, key, rdbver));
        }
        field.clear();
        rdbGenericLoadStringObject(server, rdb).ok_or(RdbLoadErr::OTHER)?.append_to(&mut field);
        let room = rdbRoom(rdb, len - i, 3);
        let value = rdbGenericLoadStringObject(server, rdb).ok_or(RdbLoadErr::OTHER)?;
        if !hash.add(&field, value.bytes(&mut itoa::Buffer::new()), room) {
            return rdbCorrupt(server, line!(), "Duplicate hash fields detected");
        }
    }
    rdbUnlessCorrupt(server, line!(), hash.finish(), "Duplicate hash fields detected")
}

/// A list in ziplists, node by node.
fn rdbLoadQuicklist(server: &mut Server, rdb: &mut Rio) -> Result<Quicklist, RdbLoadErr> {
    let len = rdbLoadCount(server, rdb)?;
    let mut ql = quicklistNew(server.list_max_ziplist_size, server.list_compress_depth);
    let loaded = rdbLoadQuicklistNodes(server, rdb, len, &mut ql);
    rdb.lzf = ql.return_lzf().or(rdb.lzf.take());
    loaded?;
    if quicklistCount(&ql) == 0 { Err(RdbLoadErr::EMPTY_KEY) } else { Ok(ql) }
}

fn rdbLoadQuicklistNodes(
    server: &mut Server,
    rdb: &mut Rio,
    len: u64,
    ql: &mut Quicklist,
) -> Result<(), RdbLoadErr> {
    let deep = deepIntegrityValidation(server);
    for _ in 0..len {
        let zl = rdbGenericLoadStringObject(server, rdb).ok_or(RdbLoadErr::OTHER)?;
        let mut buf = itoa::Buffer::new();
        server.stat_dump_payload_sanitizations += i64::from(deep);
        match Ziplist::fromSlice(zl.bytes(&mut buf))
            .filter(|zl| ziplistValidateIntegrity(zl, deep, None))
        {
            None => {
                let passes = ziplistValidateIntegrity(zl.bytes(&mut buf), false, None);
                rdb_report_unsound(server, line!(), "Ziplist integrity check failed.", passes);
                return Err(RdbLoadErr::OTHER);
            }
            // An empty node is nothing; only a list of such nodes is an empty key.
            Some(zl) if ziplistLen(&zl) == 0 => {}
            Some(zl) => {
                // Nodes are compressed one after the other.
                ql.lend_lzf(&mut rdb.lzf);
                quicklistAppendZiplist(ql, zl);
            }
        }
    }
    Ok(())
}

/// A list as 7.0 and later have it: each node is a listpack, or one long element as it is.
// C: there is no such type.
fn rdbLoadQuicklist2(server: &mut Server, rdb: &mut Rio) -> Result<Quicklist, RdbLoadErr> {
    let len = rdbLoadCount(server, rdb)?;
    let mut ql = quicklistNew(server.list_max_ziplist_size, server.list_compress_depth);
    for _ in 0..len {
        let container = rdbLoadLen(server, rdb).ok_or(RdbLoadErr::OTHER)?;
        let node = rdbGenericLoadStringObject(server, rdb).ok_or(RdbLoadErr::OTHER)?;
        let mut buf = itoa::Buffer::new();
        let node = node.bytes(&mut buf);
        let ok = match container {
            QUICKLIST_NODE_CONTAINER_PLAIN => rdbAddToList(&mut ql, node),
            QUICKLIST_NODE_CONTAINER_PACKED => {
                let sound = lpValidateIntegrity(node, true);
                if sound {
                    for ele in lpElements(node) {
                        quicklistPushTail(&mut ql, &elementText(ele));
                    }
                }
                sound
            }
            _ => false,
        };
        if !ok {
            return rdbCorrupt(server, line!(), "Quicklist integrity check failed.");
        }
    }
    if quicklistCount(&ql) == 0 { Err(RdbLoadErr::EMPTY_KEY) } else { Ok(ql) }
}

/// The elements of a listpack.
fn lpElements(lp: &[u8]) -> impl Iterator<Item = ZiplistEntry<'_>> {
    let element = |p| match lpGet(lp, p) {
        ListpackEntry::Str(s) => ZiplistEntry::Str(s),
        ListpackEntry::Int(n) => ZiplistEntry::Int(n),
    };
    std::iter::successors(lpFirst(lp), |&p| lpNext(lp, p)).map(element)
}

/// A value that is one string of bytes. The limits of the configuration decide whether it stays one; only the number of
/// elements counts, since to look at each would take long.
fn rdbLoadEncoded(
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
    let deep = deepIntegrityValidation(server);
    if rdbtype != RDB_TYPE_HASH_ZIPMAP {
        server.stat_dump_payload_sanitizations += i64::from(deep);
    }
    match rdbtype {
        RDB_TYPE_HASH_ZIPMAP => rdbConvertZipmap(server, encoded).map(Aggregate::Hash),
        RDB_TYPE_LIST_ZIPLIST => {
            let zl = encoded;
            if !ziplistValidateIntegrity(zl, deep, None) {
                return rdbCorrupt(server, line!(), "List ziplist integrity check failed.");
            }
            if ziplistLen(zl) == 0 {
                return Err(RdbLoadErr::EMPTY_KEY);
            }
            let (fill, compress) = (server.list_max_ziplist_size, server.list_compress_depth);
            Ok(Aggregate::List(Box::new(quicklistCreateFromZiplist(fill, compress, zl))))
        }
        RDB_TYPE_SET_INTSET => {
            // C: looks for the order only when it sanitizes. But it is quickly seen, and SRANDMEMBER can run for ever on a
            // set in which a number is there more than once.
            let Some(is) =
                Intset::fromSlice(encoded).filter(|is| intsetValidateIntegrity(is, true))
            else {
                return rdbCorrupt(server, line!(), "Intset integrity check failed.");
            };
            let convert = intsetLen(&is) as usize > server.set_max_intset_entries;
            let mut set = Set::Intset(is);
            if convert {
                setTypeConvert(&mut set);
            }
            Ok(Aggregate::Set(set))
        }
        RDB_TYPE_ZSET_ZIPLIST => {
            let sound = |zl: &Ziplist| zsetZiplistValidateIntegrity(zl, deep);
            let zl = match Ziplist::fromSlice(encoded).filter(sound) {
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
            let zl = match Ziplist::fromSlice(encoded).filter(sound) {
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
            rdbConvertListpack(server, rdbtype, rdb, key, rdbver, &encoded)
        }
    }
}

/// A ziplist of pairs that is not sound. One in which a field or member is there twice, as genuine servers have written
/// them, loses the second if it comes from a file or our master; anything else is reported.
fn rdb_mend_pairs(
    server: &mut Server,
    linenum: u32,
    key: &[u8],
    zl: &[u8],
    what: &str,
    scores: bool,
) -> Result<Ziplist, RdbLoadErr> {
    // C: loads them as they are, unless it sanitizes, and ends when the value becomes a table.
    if comes_from_file_or_master(server)
        && let Some(mended) = rdb_drop_duplicates(zl, scores)
    {
        let dropped = (ziplistLen(zl) - ziplistLen(&mended)) / 2;
        rdb_report_mended!(server, key, "{} pairs that were there before are left out", dropped);
        return Ok(mended);
    }
    // With more pairs it becomes a table at once, and each is looked at all the same.
    let limit =
        if scores { server.zset_max_ziplist_entries } else { server.hash_max_ziplist_entries };
    let passes = ziplistValidateIntegrity(zl, false, None) && ziplistLen(zl) / 2 <= limit;
    rdb_report_unsound(server, linenum, &format!("{what} ziplist integrity check failed."), passes);
    Err(RdbLoadErr::OTHER)
}

/// The hash of a zipmap, which Redis 2.4 and earlier have.
fn rdbConvertZipmap(server: &mut Server, encoded: &[u8]) -> Result<Hash, RdbLoadErr> {
    if !zipmapValidateIntegrity(encoded, true) {
        return rdbCorrupt(server, line!(), "Zipmap integrity check failed.");
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
            return rdbCorrupt(server, line!(), &text);
        }
        ziplistPush(&mut zl, field, ZIPLIST_TAIL);
        ziplistPush(&mut zl, value, ZIPLIST_TAIL);
    }
    let mut hash = Hash::Ziplist(zl);
    if fields.len() > server.hash_max_ziplist_entries || maxlen > server.hash_max_ziplist_value {
        hashTypeConvert(&mut hash);
    }
    Ok(hash)
}

/// The value of a listpack, which 7.0 and later have where ziplists and small tables were.
// C: there are no such types.
fn rdbConvertListpack(
    server: &mut Server,
    rdbtype: u8,
    rdb: &mut Rio,
    key: &[u8],
    rdbver: i32,
    lp: &[u8],
) -> Result<Aggregate, RdbLoadErr> {
    // Members, members with scores, fields with values, or these with the times at which they expire.
    let (what, group) = match rdbtype {
        RDB_TYPE_SET_LISTPACK => ("Set listpack integrity check failed.", 1),
        RDB_TYPE_ZSET_LISTPACK => ("Zset listpack integrity check failed.", 2),
        RDB_TYPE_HASH_LISTPACK => ("Hash listpack integrity check failed.", 2),
        _ => ("Hash listpackex integrity check failed.", 3),
    };
    if !lpValidateIntegrity(lp, true) {
        return rdbCorrupt(server, line!(), what);
    }
    let len = lpElements(lp).count();
    if len == 0 {
        return Err(RdbLoadErr::EMPTY_KEY);
    }
    if !len.is_multiple_of(group) {
        return rdbCorrupt(server, line!(), what);
    }
    let mut elements = lpElements(lp);
    let len = len / group;

    match rdbtype {
        RDB_TYPE_SET_LISTPACK => {
            let mut set = SetBuilder::new(server, len as u64, len);
            for ele in elements {
                if !set.add(&elementText(ele)) {
                    return rdbCorrupt(server, line!(), "Duplicate set members detected");
                }
            }
            rdbUnlessCorrupt(server, line!(), set.finish(), "Duplicate set members detected")
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
            // In order, which also means that no member is there twice under the same score.
            let in_order = sorted.is_sorted_by(|a, b| zsetOrder(a, b).is_lt());
            let mut members: Vec<_> = sorted.iter().map(|&(ele, _)| ele).collect();
            if !in_order
                || sorted.iter().any(|(_, score)| score.is_nan())
                || !ziplistAllDistinct(&mut members)
            {
                return rdbCorrupt(server, line!(), what);
            }
            Ok(Aggregate::Zset(zsetFromSorted(&sorted, &ZsetLimits::of(server))))
        }
        _ => {
            let mut hash = HashBuilder::new(server, len as u64, len, true);
            while let (Some(field), Some(value)) = (elements.next(), elements.next()) {
                if group == 3 && !matches!(elements.next(), Some(ZiplistEntry::Int(0))) {
                    return Err(rdbRefuseType(server, rdbtype, rdb, key, rdbver));
                }
                if !hash.add(&elementText(field), &elementText(value), len) {
                    return rdbCorrupt(server, line!(), "Duplicate hash fields detected");
                }
            }
            rdbUnlessCorrupt(server, line!(), hash.finish(), "Duplicate hash fields detected")
                .map(Aggregate::Hash)
        }
    }
}

/// A number that may be any, also the one that is no length.
fn rdbLoadNumber(server: &mut Server, rdb: &mut Rio) -> Option<u64> {
    rdbLoadLenByRef(server, rdb).map(|(n, _)| n)
}

/// An id, as two numbers.
fn rdbLoadStreamID(server: &mut Server, rdb: &mut Rio) -> Option<streamID> {
    Some(streamID { ms: rdbLoadNumber(server, rdb)?, seq: rdbLoadNumber(server, rdb)? })
}

/// What was read, or a report that it was not.
fn rdbOrReadError<T>(
    server: &mut Server,
    linenum: u32,
    read: Option<T>,
    reason: &str,
) -> Option<T> {
    if read.is_none() {
        rdbReportError(server, false, linenum, reason.as_bytes());
    }
    read
}

/// A stream. What versions 10 and 11 add to it tells how far groups lag behind, which 6.2 does not show.
fn rdbLoadStream(server: &mut Server, rdb: &mut Rio, rdbtype: u8, key: &[u8]) -> Option<Stream> {
    let deep = deepIntegrityValidation(server);
    let mend = comes_from_file_or_master(server);
    let mut s = streamNew();
    let listpacks = rdbLoadLen(server, rdb);
    let listpacks =
        rdbOrReadError(server, line!(), listpacks, "Stream listpacks len loading failed.")?;
    // As the listpacks tell it, if all of them do.
    let mut entries = Some(0u64);
    for _ in 0..listpacks {
        // The master id: the ids in the listpack are told as differences to it.
        let nodekey = rdbLoadStringObject(server, rdb);
        let nodekey = rdbOrReadError(
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
        let lp = rdbOrReadError(server, line!(), lp, "Stream listpacks loading failed.")?;
        server.stat_dump_payload_sanitizations += i64::from(deep);
        let Some(mut lp) = Listpack::fromBytes(lp) else {
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
        // A node without entries is removed by whoever deletes the last one.
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

    let metadata = rdbLoadStreamMetadata(server, rdb, rdbtype, &mut s);
    rdbOrReadError(server, line!(), metadata, "Stream object metadata loading failed.")?;
    // C: takes any number, and servers since 5.0 have written wrong ones.
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
        rdbOrReadError(server, line!(), cgroups_count, "Stream cgroup count loading failed.")?;
    for _ in 0..cgroups_count {
        let cgname = rdbLoadStringObject(server, rdb);
        let cgname = rdbOrReadError(
            server,
            line!(),
            cgname,
            "Error reading the consumer group name from Stream",
        )?;
        let cg_id = rdbLoadStreamID(server, rdb).filter(|_| {
            // How many entries the group has read.
            rdbtype == RDB_TYPE_STREAM_LISTPACKS || rdbLoadNumber(server, rdb).is_some()
        });
        let cg_id = rdbOrReadError(server, line!(), cg_id, "Stream cgroup ID loading failed.")?;
        let Some(cgroup) = streamCreateCG(&mut s, &cgname, &cg_id) else {
            rdbReportCorruptRDB!(server, "Duplicated consumer group name {}", B(c_str(&cgname)));
            return None;
        };
        rdbLoadStreamCG(server, rdb, rdbtype, key, cgroup)?;
    }
    Some(s)
}

/// The numbers between the listpacks and the groups of a stream.
fn rdbLoadStreamMetadata(
    server: &mut Server,
    rdb: &mut Rio,
    rdbtype: u8,
    s: &mut Stream,
) -> Option<()> {
    s.length = rdbLoadNumber(server, rdb)?;
    s.last_id = rdbLoadStreamID(server, rdb)?;
    if rdbtype != RDB_TYPE_STREAM_LISTPACKS {
        // The first id, the greatest one that was deleted, and how many entries there ever were.
        rdbLoadStreamID(server, rdb)?;
        rdbLoadStreamID(server, rdb)?;
        rdbLoadNumber(server, rdb)?;
    }
    Some(())
}

/// What is pending in a group, and its consumers.
fn rdbLoadStreamCG(
    server: &mut Server,
    rdb: &mut Rio,
    rdbtype: u8,
    key: &[u8],
    cgroup: &mut streamCG,
) -> Option<()> {
    let mend = comes_from_file_or_master(server);
    // Whose the messages are, the consumers tell, who come behind.
    let pel_size = rdbLoadLen(server, rdb);
    let pel_size = rdbOrReadError(server, line!(), pel_size, "Stream PEL size loading failed.")?;
    for _ in 0..pel_size {
        let rawid = rdbLoadRaw::<16>(server, rdb);
        let rawid = rdbOrReadError(server, line!(), rawid, "Stream PEL ID loading failed.")?;
        let delivery_time = rdbLoadMillisecondTime(server, rdb);
        let delivered = delivery_time.and_then(|t| Some((t, rdbLoadNumber(server, rdb)?)));
        let (delivery_time, delivery_count) =
            rdbOrReadError(server, line!(), delivered, "Stream PEL NACK loading failed.")?;
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
        rdbOrReadError(server, line!(), consumers_num, "Stream consumers num loading failed.")?;
    let mut assigned = 0;
    for _ in 0..consumers_num {
        let cname = rdbLoadStringObject(server, rdb);
        let cname = rdbOrReadError(
            server,
            line!(),
            cname,
            "Error reading the consumer name from Stream group.",
        )?;
        let seen_time = rdbLoadMillisecondTime(server, rdb).filter(|_| {
            // When it last got something.
            rdbtype != RDB_TYPE_STREAM_LISTPACKS_3 || rdbLoadMillisecondTime(server, rdb).is_some()
        });
        let seen_time =
            rdbOrReadError(server, line!(), seen_time, "Stream short read reading seen time.")?;
        let consumer = match cgroup.consumers.add(&cname, seen_time) {
            Some(consumer) => consumer,
            // C: goes on with the consumer of that name, whoever sends it.
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
            rdbOrReadError(server, line!(), pel_size, "Stream consumer PEL num loading failed.")?;
        for _ in 0..pel_size {
            let rawid = rdbLoadRaw::<16>(server, rdb);
            let rawid =
                rdbOrReadError(server, line!(), rawid, "Stream short read reading PEL streamID.")?;
            let Some(nack) = raxFindMut(&mut cgroup.pel, &rawid) else {
                rdbReportCorruptRDB!(server, "Consumer entry not found in group global PEL");
                return None;
            };
            // C: one message can be pending with two (CVE-2026-63639).
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

    // C: nobody looks unless it sanitizes, and commands follow a null pointer.
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

/// Reports a type that cannot be loaded.
#[cold]
fn rdbRefuseType(
    server: &mut Server,
    rdbtype: u8,
    rdb: &mut Rio,
    key: &[u8],
    rdbver: i32,
) -> RdbLoadErr {
    if rdbtype == RDB_TYPE_MODULE || rdbtype == RDB_TYPE_MODULE_2 {
        match rdbLoadLen(server, rdb) {
            None => rdbReportReadError!(server, "Short read module id"),
            Some(moduleid) => rdbReportCorruptRDB!(
                server,
                "The RDB file contains module data I can't load: no matching module type '{}'",
                B(&moduleTypeNameByID(moduleid))
            ),
        }
        return RdbLoadErr::OTHER;
    }
    match RDB_TYPE_NAMES.get(usize::from(rdbtype)) {
        // C: it knows no type above 15, and not what they are called.
        Some(&name) if !name.is_empty() => rdbReportCorruptRDB!(
            server,
            "The key '{}' has a value of type {} ({}), from RDB version {}, which this server can't load",
            B(c_str(key)),
            rdbtype,
            name,
            rdbver
        ),
        _ => rdbReportReadError!(server, "Unknown RDB encoding type {}", rdbtype),
    }
    RdbLoadErr::OTHER
}

/// Loading starts: clients are told so, and INFO shows how far it is of `size` bytes.
pub fn startLoading(server: &mut Server, size: i64, _rdbflags: i32) {
    server.loading = true;
    // A temporary file is nobody's until it is loaded.
    let tmpfile = server.repl_transfer_tmpfile.as_deref();
    let is_tmpfile = server.rdbFileBeingLoaded.as_deref() == tmpfile;
    signal::setLoading(true, tmpfile.filter(|_| is_tmpfile).unwrap_or_default());
    server.loading_start_time = time();
    server.loading_loaded_bytes = 0;
    server.loading_total_bytes = size;
    server.loading_rdb_used_mem = 0;
    blockingOperationStarts(server);
}

/// The same for a file, whose name is remembered for when something is wrong with it. Returns its size in bytes.
pub fn startLoadingFile(server: &mut Server, fd: RawFd, filename: &[u8], rdbflags: i32) -> i64 {
    let size = fileSize(fd).unwrap_or(0);
    server.rdbFileBeingLoaded = Some(filename.to_vec());
    startLoading(server, size, rdbflags);
    size
}

/// Loading has come to byte `pos`.
pub fn loadingProgress(server: &mut Server, pos: i64) {
    server.loading_loaded_bytes = pos;
    server.stat_peak_memory = server.stat_peak_memory.max(zmalloc_used_memory());
}

/// Loading has ended.
pub fn stopLoading(server: &mut Server, _success: bool) {
    server.loading = false;
    signal::setLoading(false, b"");
    blockingOperationEnds(server);
    server.rdbFileBeingLoaded = None;
}

/// A save starts. Only modules would want to know; the C tells them here.
pub fn startSaving(_rdbflags: i32) {}

/// A save has ended: as `startSaving`.
pub fn stopSaving(_success: bool) {}

/// Called when bytes have arrived, the first of them being number `before` of the stream: each time
/// `loading-process-events-interval-bytes` are full, clients are served, and a master that waits hears from us.
// C: it is called for each field, and computes the checksum as well; that is the stream's own business here.
pub fn rdbLoadProgressCallback(server: &mut Server, rdb: &Rio, before: u64) {
    let Ok(interval) = u64::try_from(server.loading_process_events_interval_bytes) else { return };
    let now = rioTell(rdb) + rioAvailable(rdb) as u64;
    if interval == 0 || now / interval == before / interval {
        return;
    }
    if server.masterhost.is_some() && server.repl_state == REPL_STATE_TRANSFER {
        replicationSendNewlineToMaster(server);
    }
    loadingProgress(server, rioTell(rdb) as i64);
    processEventsWhileBlocked(server);
}

/// A key that was read and is not added yet.
struct BatchKey {
    db: usize,
    hash: u64,
    /// Where its key starts in the batch's bytes, and where it ends.
    key: (usize, usize),
    value: BatchValue,
    expire: Option<i64>,
    lru: u32,
}

enum BatchValue {
    Int(i64),
    /// The bytes behind the key, up to here.
    Short(usize),
    Own(Object),
}

/// Keys on their way into the tables. To add one is to wait for its bucket to come from memory; in a batch they come
/// together.
#[derive(Default)]
struct Batch {
    keys: Vec<BatchKey>,
    bytes: Vec<u8>,
}

/// Why a load ends early.
enum LoadStop {
    /// The bytes end, or what was wrong with them was reported.
    Eof,
    /// It was reported; this is the `errno`.
    Reported(i32),
}

/// Adds the keys of a batch.
fn rdbAddBatch(server: &mut Server, batch: &mut Batch, rdbflags: i32) -> Result<(), LoadStop> {
    for k in batch.keys.drain(..) {
        let key = &batch.bytes[k.key.0..k.key.1];
        let dict = &mut server.db[k.db].dict;
        if let Some(o) = dict.find_hashed(key, k.hash) {
            if rdbflags & RDBFLAGS_ALLOW_DUP == 0 {
                // C: this is a panic, with a crash report.
                serverLog!(LL_WARNING, "RDB has duplicated key '{}' in DB {}", B(c_str(key)), k.db);
                rdbReportCorruptRDB!(server, "Duplicated key found in RDB file");
                return Err(LoadStop::Reported(libc::EINVAL));
            }
            // DEBUG RELOAD MERGE: what the file says counts.
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
    // One key may have been very long.
    batch.bytes.shrink_to(LONG_STRING_STEP);
    Ok(())
}

/// Loads an RDB from a stream into the dbs, and what it says of replication into `rsi`.
///
/// `Err`: the log says what was wrong; the keys before that place are there. A file that ends early or is damaged ends the
/// process, see `rdbReportError`.
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
    let loaded = rdbLoadRioInner(server, rdb, rdbflags, rsi, &mut batch);
    let added = rdbAddBatch(server, &mut batch, rdbflags);
    match loaded.and(added) {
        Ok(()) => Ok(()),
        Err(LoadStop::Reported(errno)) => Err(io::Error::from_raw_os_error(errno)),
        Err(LoadStop::Eof) => {
            // It may be that the connection broke (a replica's, without a disk), and then we go on.
            serverLog!(
                LL_WARNING,
                "Short read or OOM loading DB. Unrecoverable error, aborting now."
            );
            rdbReportReadError!(server, "Unexpected EOF reading RDB file");
            Err(rioTakeError(rdb))
        }
    }
}

/// The version that the first bytes of a file tell. `None`: it is no RDB, or one that we can't read, as the log says.
fn rdb_version_of(magic: &[u8; 9]) -> Option<i32> {
    if &magic[..5] != b"REDIS" {
        serverLog!(LL_WARNING, "Wrong signature trying to load DB from file");
        return None;
    }
    let rdbver = atoi(&magic[5..]);
    if !(1..=RDB_VERSION_LOAD).contains(&rdbver) {
        serverLog!(LL_WARNING, "Can't handle RDB format version {}", rdbver);
        return None;
    }
    Some(rdbver)
}

/// Whether `rdbLoad` would get beyond the first bytes of a file. If not, the log says why.
pub fn rdb_is_loadable(filename: &[u8]) -> io::Result<bool> {
    let fd = open(filename, libc::O_RDONLY, 0)?;
    let size = fileSize(fd).unwrap_or(0);
    let mut rdb = rioInitWithFile(fd, size as u64);
    while rioAvailable(&rdb) < 9 && rioFill(&mut rdb).is_ok() {}
    let magic = rioPeek(&rdb).first_chunk().copied();
    close(fd);
    // One that ends so early is for the loader to report.
    Ok(magic.is_none_or(|magic| rdb_version_of(&magic).is_some()))
}

fn rdbLoadRioInner(
    server: &mut Server,
    rdb: &mut Rio,
    rdbflags: i32,
    mut rsi: Option<&mut rdbSaveInfo>,
    batch: &mut Batch,
) -> Result<(), LoadStop> {
    const EOF: LoadStop = LoadStop::Eof;
    let magic: [u8; 9] = rdbLoadRaw(server, rdb).ok_or(EOF)?;
    let rdbver = rdb_version_of(&magic).ok_or(LoadStop::Reported(libc::EINVAL))?;

    let mut db = 0;
    let (mut empty_keys_skipped, mut expired_keys_skipped, mut keys_loaded) = (0, 0, 0);
    // Of the next key, from the opcodes before it; -1 is unknown.
    let (mut lru_idle, mut lfu_freq, mut expiretime) = (-1, -1, -1);
    let now = mstime();
    let lru_clock = i64::from(LRU_CLOCK(server));
    // A master drops what has expired. A replica does not: its master tells it when a key ends. Nor do we before an AOF,
    // whose commands count on every key.
    let drop_expired = server.masterhost.is_none() && rdbflags & RDBFLAGS_AOF_PREAMBLE == 0;

    loop {
        let type_ = rdbLoadType(server, rdb).ok_or(EOF)?;
        match type_ {
            RDB_OPCODE_EXPIRETIME => {
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
                if dbid >= server.db.len() as u64 {
                    serverLog!(
                        LL_WARNING,
                        "FATAL: Data file was created with a Redis server configured to handle more than {} databases. Exiting\n",
                        server.db.len()
                    );
                    exitIfLoading(server);
                    return Err(LoadStop::Reported(libc::EINVAL));
                }
                db = dbid as usize;
                continue;
            }
            RDB_OPCODE_RESIZEDB => {
                let db_size = rdbLoadLen(server, rdb).ok_or(EOF)?;
                let expires_size = rdbLoadLen(server, rdb).ok_or(EOF)?;
                // No key takes less than three bytes.
                let most = rioRemaining(rdb).map_or(1 << 20, |bytes| bytes / 3);
                let dict = &mut server.db[db].dict;
                dict.expand(db_size.min(most) as usize, expires_size.min(most) as usize);
                continue;
            }
            RDB_OPCODE_AUX => {
                let auxkey = rdbLoadStringObject(server, rdb).ok_or(EOF)?;
                let auxval = rdbLoadStringObject(server, rdb).ok_or(EOF)?;
                rdbLoadAux(server, &auxkey, &auxval, rsi.as_deref_mut());
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
                if when_opcode != RDB_MODULE_OPCODE_UINT {
                    rdbReportReadError!(server, "bad when_opcode");
                    return Err(EOF);
                }
                serverLog!(
                    LL_WARNING,
                    "The RDB file contains AUX module data I can't load: no matching module '{}'",
                    B(&moduleTypeNameByID(moduleid))
                );
                exitIfLoading(server);
                return Err(LoadStop::Reported(libc::EINVAL));
            }
            // C: it takes these for types. What a newer server says of a cluster's slots is a hint about sizes.
            RDB_OPCODE_SLOT_INFO if rdbver >= 12 => {
                for _ in 0..3 {
                    rdbLoadLen(server, rdb).ok_or(EOF)?;
                }
                continue;
            }
            RDB_OPCODE_FUNCTION2 | RDB_OPCODE_FUNCTION_PRE_GA if rdbver >= 10 => {
                let name = rdbSkipFunction(server, rdb, type_).ok_or(EOF)?;
                serverLog!(
                    LL_WARNING,
                    "RDB has the function library '{}', which this version can't use: skipped.",
                    B(&name)
                );
                continue;
            }
            _ => {}
        }

        // The key goes to the batch, which keeps its bytes until it is added; the value too, if it is short.
        let start = batch.bytes.len();
        rdbGenericLoadStringObject(server, rdb).ok_or(EOF)?.append_to(&mut batch.bytes);
        let end = batch.bytes.len();
        let key = &batch.bytes[start..end];
        let dict = &server.db[db].dict;
        let hash = dict.hash(key);
        dict.prefetch_bucket(hash);

        match rdbLoadObject(server, type_, rdb, key, rdbver) {
            Err(RdbLoadErr::EMPTY_KEY) => {
                if empty_keys_skipped < 10 {
                    serverLog!(LL_WARNING, "rdbLoadObject skipping empty key: {}", B(c_str(key)));
                }
                empty_keys_skipped += 1;
                batch.bytes.truncate(start);
            }
            Err(RdbLoadErr::OTHER) => {
                batch.bytes.truncate(start);
                return Err(EOF);
            }
            Ok(_) if drop_expired && expiretime != -1 && expiretime < now => {
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
                let lru = objectSetLRUOrLFU(server, lfu_freq, lru_idle, lru_clock, 1000)
                    .unwrap_or_else(|| newObjectLru(server));
                let expire = (expiretime != -1).then_some(expiretime);
                batch.keys.push(BatchKey { db, hash, key: (start, end), value, expire, lru });
                keys_loaded += 1;
                if batch.keys.len() == BATCH || server.key_load_delay != 0 {
                    rdbAddBatch(server, batch, rdbflags)?;
                }
            }
        }

        // Slow loading, for tests.
        if server.key_load_delay != 0 {
            debugDelay(server.key_load_delay);
        }
        (expiretime, lfu_freq, lru_idle) = (-1, -1, -1);
    }
    rdbAddBatch(server, batch, rdbflags)?;

    if rdbver >= 5 {
        let expected = rioChecksum(rdb);
        let cksum = rdbLoadRaw(server, rdb).map(u64::from_le_bytes).ok_or(EOF)?;
        if server.rdb_checksum && !server.skip_checksum_validation {
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

/// Takes note of an AUX field. Those that are not known are none of our business, by the rules of the format.
fn rdbLoadAux(server: &mut Server, auxkey: &[u8], auxval: &[u8], rsi: Option<&mut rdbSaveInfo>) {
    let is = |name: &str| eq_ignore_case(auxkey, name.as_bytes());
    let number = || strtoll(c_str(auxval), 10).value;

    if auxkey.first() == Some(&b'%') {
        // Somebody's remark.
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
    } else if is("redis-ver") {
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
    } else if is("redis-bits") || is("lua") {
        // Nothing depends on the one; without scripting the other, a script of the cache, has nowhere to go.
    } else {
        serverLog!(LL_DEBUG, "Unrecognized RDB AUX field: '{}'", B(c_str(auxkey)));
    }
}

/// Skips a library of functions, which servers from 7.0 on have. Returns its name.
pub fn rdbSkipFunction(server: &mut Server, rdb: &mut Rio, type_: u8) -> Option<Vec<u8>> {
    Some(if type_ == RDB_OPCODE_FUNCTION2 {
        // The library's code, whose first line is `#!<engine> name=<name>`.
        let code = rdbLoadStringObject(server, rdb)?;
        let line = code.split(|&c| c == b'\n').next().unwrap_or_default();
        let mut words = line.split(|c| c.is_ascii_whitespace());
        words.find_map(|word| word.strip_prefix(b"name=")).unwrap_or(b"?").to_vec()
    } else {
        // Before 7.0 was final: name, engine, whether there is a description, that, and the code.
        let name = rdbLoadStringObject(server, rdb)?;
        rdbLoadStringObject(server, rdb)?;
        if rdbLoadLen(server, rdb)? != 0 {
            rdbLoadStringObject(server, rdb)?;
        }
        rdbLoadStringObject(server, rdb)?;
        name
    })
}

/// Loads an RDB file. `Err`: it cannot be opened (`NotFound`: there is none), or as `rdbLoadRio` says.
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

/// A child that saved to disk has ended.
fn backgroundSaveDoneHandlerDisk(server: &mut Server, exitcode: i32, bysignal: i32) {
    if bysignal == 0 && exitcode == 0 {
        serverLog!(LL_NOTICE, "Background saving terminated with success");
        server.dirty -= server.dirty_before_bgsave;
        server.lastsave = time();
        server.lastsave_steady = steady_ms() / 1000;
        server.lastbgsave_status = CStatus::Ok;
    } else if bysignal == 0 {
        serverLog!(LL_WARNING, "Background saving error");
        server.lastbgsave_status = CStatus::Err;
    } else {
        serverLog!(LL_WARNING, "Background saving terminated by signal {}", bysignal);
        let mut latency = latencyStartMonitor(server);
        let _ = bg_unlink(server, &rdbTempFile(server.child_pid));
        latencyEndMonitor(server, &mut latency);
        latencyAddSampleIfNeeded(server, "rdb-unlink-temp-file", latency);
        // SIGUSR1 is ours: the child was not wanted any more.
        if bysignal != libc::SIGUSR1 {
            server.lastbgsave_status = CStatus::Err;
        }
    }
}

/// A child that saved has ended, by itself with `exitcode`, or by a signal.
pub fn backgroundSaveDoneHandler(server: &mut Server, exitcode: i32, bysignal: i32) {
    match server.rdb_child_type {
        RDB_CHILD_TYPE_DISK => backgroundSaveDoneHandlerDisk(server, exitcode, bysignal),
        _ => panic!("Unknown RDB child type."),
    }
    server.rdb_child_type = RDB_CHILD_TYPE_NONE;
    server.rdb_save_time_last = time() - server.rdb_save_time_start;
    server.rdb_save_time_start = -1;
    // Replicas may have waited for the file.
    let ok = bysignal == 0 && exitcode == 0;
    updateSlavesWaitingBgsave(server, if ok { C_OK } else { C_ERR });
}

/// Kills the child that saves, by SIGUSR1, which is no failure. `checkChildrenDone` will see its end, and clean up.
pub fn killRDBChild(server: &mut Server) {
    let _ = kill(server.child_pid, libc::SIGUSR1);
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
    // With SCHEDULE a child of another kind is waited for.
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
        // C: it begins in the middle of a transaction, and the file has half of it, and an offset within it.
        if schedule || server.propagate_in_transaction {
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

/// What a file says of replication, so that whoever loads it can go on with a partial resync. `None`: we are in no
/// history that would be worth it.
pub fn rdbPopulateSaveInfo(server: &Server) -> Option<rdbSaveInfo> {
    let with_db = |db: i32| Some(rdbSaveInfo { repl_stream_db: db, ..Default::default() });

    // A master without a backlog is in no chain: its next replica gets a full sync and a new id anyway.
    if server.masterhost.is_none() && server.repl_backlog.is_some() {
        // No db is selected right after a full sync, before the first write. Any will do, since that write selects its own.
        return with_db(if server.slaveseldb == -1 { 0 } else { server.slaveseldb });
    }
    // A replica is in the db that its master selected last. The cached master will do: no byte was applied since.
    server.master.or(server.cached_master).and_then(|master| with_db(server[master].db as i32))
}

#[cfg(test)]
mod tests;
