//! `debug.c`: DEBUG, digests of the data, the crash report, the software watchdog.
//!
//! Read first: `xorObjectDigest` and `computeDatasetDigest` (are two data sets the same?),
//! `debugCommand`, then the crash report from `_serverPanic` on.
//!
//! # The crash report
//!
//! There are four ways into it, which know more or less:
//! - DEBUG PANIC and ASSERT come with the server in hand and report all of it (`_serverPanic`,
//!   `_serverAssertWithInfo`).
//! - Any other panic comes through the panic hook, which has no server: there is no global one. It
//!   reports what failed, where, and the calls that led there, with names; not INFO, the clients
//!   and the command that ran.
//! - An allocation that fails comes through sys/alloc.rs (`redisOutOfMemoryHandler`), and finds no
//!   memory for a report: it says how much was asked for, and by which functions.
//! - A signal comes through sys/signal.rs. It may have interrupted anything, the allocator too, so
//!   nothing here allocates or waits: lines are made on the stack, memory is read through the
//!   kernel, which answers "no" where a load would fault. The report has the functions
//!   (sys/symbols.rs; `addr2line` turns addresses into lines of code), registers, the stack and the
//!   code.
//!
//! What the hook and the handlers must know all the same is this file's only state
//! (`CrashSettings`).
//!
//! # What differs
//!
//! Absent: the memory test after a crash, modules, MALLCTL and MALLCTL-STR (the
//! allocator's own interface takes raw pointers). STRUCTSIZE and SDSLEN speak of our structures.

use std::backtrace::Backtrace;
use std::ffi::CString;
use std::fmt::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use sha1::{Digest, Sha1};

use crate::aof::{flushAppendOnlyFile, loadAppendOnlyFile};
use crate::args::Args;
use crate::config::rewriteConfig;
use crate::connection::connGetInfo;
use crate::db::{dbAdd, emptyDb, lookupKeyReadWithFlags, lookupKeyWrite, signalModifiedKey};
use crate::ds::dict::dictGetStats;
use crate::ds::glob::stringmatchlen;
use crate::ds::intset::{intsetGet, intsetLen};
use crate::ds::listpack::ListpackEntry;
use crate::ds::quicklist::{AL_START_HEAD, quicklist_read, quicklistCount};
use crate::ds::redisassert::assert_some;
use crate::ds::strset::strset_iter;
use crate::ds::ziplist::{ZiplistEntry, ziplistGet, ziplistIndex, ziplistNext, ziplistRepr};
use crate::evict::estimateObjectIdleTime;
use crate::keyspace::*;
use crate::log::{
    LL_RAW, LL_WARNING, get_log_file, serverLogFromHandler, serverLogRaw, set_log_syslog,
};
use crate::networking::*;
use crate::object::*;
use crate::rand::Rand48;
use crate::rdb::{rdbLoad, rdbPopulateSaveInfo, rdbSave, rdbSavedObjectLen};
use crate::replication::{changeReplicationId, clearReplicationId2};
use crate::sds::sdsmapchars;
use crate::server::{
    RESTART_SERVER_CONFIG_REWRITE, RESTART_SERVER_GRACEFULLY, genRedisInfoString, restartServer,
};
use crate::server_h::*;
use crate::sys::alloc::{
    mallctl_action, mallctl_number, mallctl_text, zmalloc_good_size, zmalloc_set_oom_handler,
};
use crate::sys::clock::{usleep, ustime};
use crate::sys::errno::strerror;
use crate::sys::fork::getpid;
use crate::sys::proc::os_page_size;
use crate::sys::random::random_u64;
use crate::sys::signal::{self, CrashInfo};
use crate::sys::socket;
use crate::types::t_hash::{HashRef, with_entry_bytes};
use crate::types::t_set::{SetRef, table_of_strings};
use crate::types::t_stream::{streamIteratorGetField, streamIteratorGetID, streamIteratorStart};
use crate::types::t_zset::ZsetRef;
use crate::util::{B, atoi, c_str, eq_ignore_case, format_17g, hex, ll2string, strtod};
use crate::{bformat, sdscatprintf, serverLog};

// ================================= Digests ================================

/// A SHA-1.
pub type Sha1Digest = [u8; 20];

/// Adds data to a digest whose parts have no order: the same data in another order gives the same
/// digest.
pub fn xorDigest(digest: &mut Sha1Digest, data: &[u8]) {
    let hash: Sha1Digest = Sha1::digest(data).into();
    for (d, h) in digest.iter_mut().zip(hash) {
        *d ^= h;
    }
}

/// Adds data to a digest whose parts have an order: it becomes the SHA-1 of itself XOR the SHA-1 of
/// the data. It also matters where one part ends and the next begins.
pub fn mixDigest(digest: &mut Sha1Digest, data: &[u8]) {
    xorDigest(digest, data);
    *digest = Sha1::digest(*digest).into();
}

/// Returns the elements of a ziplist two by two.
fn ziplist_pairs(zl: &[u8]) -> impl Iterator<Item = (ZiplistEntry<'_>, ZiplistEntry<'_>)> {
    let mut p = ziplistIndex(zl, 0);
    std::iter::from_fn(move || {
        let first = p?;
        let second = assert_some!(ziplistNext(zl, first));
        p = ziplistNext(zl, second);
        Some((assert_some!(ziplistGet(zl, first)), assert_some!(ziplistGet(zl, second))))
    })
}

/// Adds two things that belong together to a digest without order.
fn xor_pair_digest(digest: &mut Sha1Digest, first: &[u8], second: &[u8]) {
    let mut eledigest = [0; 20];
    mixDigest(&mut eledigest, first);
    mixDigest(&mut eledigest, second);
    xorDigest(digest, &eledigest);
}

/// Adds a value to a digest: its type, its elements, and whether it expires (`expire` is when). The
/// encoding does not matter. Equal values give equal digests, here and in the C.
pub fn xorObjectDigest(digest: &mut Sha1Digest, o: ValueRef, expire: Option<i64>) {
    mixDigest(digest, &u32::from(o.type_of()).to_be_bytes());
    match o {
        ValueRef::Int(n) => mixDigest(digest, &ll2string(n)),
        ValueRef::Str(s) => mixDigest(digest, s),
        ValueRef::Aggregate(a) => xor_aggregate_digest(digest, a),
    }
    if expire.is_some() {
        xorDigest(digest, b"!!expire!!");
    }
}

/// Adds the elements of an aggregate to a digest. In a list and a stream their order matters.
fn xor_aggregate_digest(digest: &mut Sha1Digest, a: AggregateRef) {
    match a {
        AggregateRef::List(ql) => {
            let mut li = quicklist_read(ql, AL_START_HEAD, 0);
            while let Some(entry) = li.read() {
                with_entry_bytes(entry, |ele| mixDigest(digest, ele));
            }
        }
        AggregateRef::Set(SetRef::Intset(is)) => {
            for n in (0..intsetLen(is)).filter_map(|pos| intsetGet(is, pos)) {
                xorDigest(digest, &ll2string(n));
            }
        }
        AggregateRef::Set(SetRef::Strings(set)) => {
            strset_iter(set).for_each(|ele| xorDigest(digest, ele));
        }
        AggregateRef::Set(SetRef::Ht(d)) => {
            for ele in d.iter() {
                xorDigest(digest, ele.as_slice());
            }
        }
        AggregateRef::Zset(ZsetRef::Ziplist(zl)) => {
            for (ele, score) in ziplist_pairs(zl) {
                let score = with_entry_bytes(score, |text| strtod(text).value);
                with_entry_bytes(ele, |ele| xor_pair_digest(digest, ele, &format_17g(score)));
            }
        }
        AggregateRef::Zset(ZsetRef::Skiplist(zs)) => {
            let mut ln = zs.zsl.first();
            while let Some(at) = ln {
                let (ele, score) = zs.zsl.pair(at);
                xor_pair_digest(digest, ele, &format_17g(score));
                ln = zs.zsl.next(at);
            }
        }
        AggregateRef::Hash(HashRef::Ziplist(zl)) => {
            for (field, value) in ziplist_pairs(zl) {
                with_entry_bytes(field, |field| {
                    with_entry_bytes(value, |value| xor_pair_digest(digest, field, value))
                });
            }
        }
        AggregateRef::Hash(HashRef::Ht(d)) => {
            for pair in d.iter() {
                xor_pair_digest(digest, pair.field(), pair.value());
            }
        }
        AggregateRef::Stream(s) => {
            let mut si = streamIteratorStart(s, None, None, false);
            while let Some((id, numfields)) = streamIteratorGetID(&mut si, s) {
                mixDigest(digest, &bformat!("{}.{}", id.ms, id.seq));
                for _ in 0..numfields {
                    let (field, value) = streamIteratorGetField(&mut si, s);
                    for part in [field, value] {
                        match part {
                            ListpackEntry::Str(s) => mixDigest(digest, s),
                            ListpackEntry::Int(n) => mixDigest(digest, &ll2string(n)),
                        }
                    }
                }
            }
        }
    }
}

/// Returns the digest of all data: that of a server with other data is another, in whatever order
/// keys, members and fields lie. Where a db begins, its number is mixed in, so keys also matter by
/// the db they are in.
pub fn computeDatasetDigest(server: &Server) -> Sha1Digest {
    let mut final_ = [0; 20];
    for (j, db) in server.db.iter().enumerate().filter(|(_, db)| db.dict.len() != 0) {
        mixDigest(&mut final_, &(j as u32).to_be_bytes());
        for entry in db.dict.iter() {
            let mut digest = [0; 20];
            mixDigest(&mut digest, entry.key());
            xorObjectDigest(&mut digest, entry.value(), entry.expire());
            xorDigest(&mut final_, &digest);
        }
    }
    final_
}

// ============================ The DEBUG command ===========================

/// Returns the value of a key, looked at without touching it. A key that is missing gets an error.
fn debug_lookup_or_reply(server: &mut Server, c: ClientId, key: &[u8]) -> Option<KeyRef> {
    let db = server[c].db;
    let o = lookupKeyReadWithFlags(server, db, key, LOOKUP_NOTOUCH | LOOKUP_NONOTIFY);
    if o.is_none() {
        addReplyErrorObject(server, c, shared::nokeyerr);
    }
    o
}

/// Finds a key even past its expiry: what is in the table. A key that is missing gets an error.
fn debug_find_or_reply(server: &mut Server, c: ClientId, key: &[u8]) -> Option<KeyRef> {
    let db = server[c].db;
    let o = server.db[db].dict.find(key);
    if o.is_none() {
        addReplyErrorObject(server, c, shared::nokeyerr);
    }
    o
}

/// Runs `stringmatchlen` on ten million random patterns and strings.
fn stringmatchlen_fuzz_test() -> usize {
    let mut rand = Rand48::default();
    rand.redisSrand48(random_u64() as i32);
    let mut total_matches = 0;
    let (mut str, mut pat) = ([0; 32], [0; 32]);
    for _ in 0..10_000_000 {
        let strlen = rand.redisLrand48() as usize % str.len();
        let patlen = rand.redisLrand48() as usize % pat.len();
        for byte in str[..strlen].iter_mut().chain(&mut pat[..patlen]) {
            *byte = (rand.redisLrand48() % 128) as u8;
        }
        total_matches += usize::from(stringmatchlen(&pat[..patlen], &str[..strlen], false));
    }
    total_matches
}

/// Refuses what loads while something is being loaded: the server serves clients meanwhile.
// C: loads in the middle of the load, and then goes on with the first one, as a server that does not
// load any more.
fn refuse_in_load(server: &mut Server, c: ClientId) -> bool {
    if server.loading {
        addReplyErrorObject(server, c, shared::loadingerr);
    }
    server.loading
}

/// DEBUG RELOAD [MERGE] [NOFLUSH] [NOSAVE]: saves the data, forgets it, and loads it again.
fn debug_reload_command(server: &mut Server, c: ClientId, argv: &Args) {
    if refuse_in_load(server, c) {
        return;
    }
    let (mut flush, mut save) = (true, true);
    let mut flags = RDBFLAGS_NONE;
    for opt in argv.iter().skip(2) {
        if eq_ignore_case(opt, b"MERGE") {
            flags |= RDBFLAGS_ALLOW_DUP;
        } else if eq_ignore_case(opt, b"NOFLUSH") {
            flush = false;
        } else if eq_ignore_case(opt, b"NOSAVE") {
            save = false;
        } else {
            addReplyError(
                server,
                c,
                b"DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
            );
            return;
        }
    }

    let filename = server.rdb_filename.clone();
    if save {
        let rsi = rdbPopulateSaveInfo(server);
        if rdbSave(server, &filename, rsi.as_ref()).is_err() {
            addReplyErrorObject(server, c, shared::err);
            return;
        }
    }

    // Without this, and with MERGE, two data sets become one.
    if flush {
        emptyDb(server, -1, EMPTYDB_NO_FLAGS, None);
    }

    // Loading serves other clients now and then.
    protectClient(server, c);
    let ret = rdbLoad(server, &filename, None, flags);
    unprotectClient(server, c);
    if ret.is_err() {
        addReplyError(server, c, b"Error trying to load the RDB dump");
        return;
    }
    serverLog!(LL_WARNING, "DB reloaded by DEBUG RELOAD");
    addReply(server, c, shared::ok);
}

/// DEBUG OBJECT key: where its value is and what it is.
fn debug_object_command(server: &mut Server, c: ClientId, argv: &Args) {
    let Some(o) = debug_find_or_reply(server, c, &argv[2]) else { return };
    let db = server[c].db;
    let dict = &server.db[db].dict;
    let val = dict.get(o);
    let (encoding, lru) = (dict.encoding(o), dict.lru(o));

    let mut extra = Vec::new();
    if let ValueRef::Aggregate(AggregateRef::List(ql)) = val {
        let avg = quicklistCount(ql) as f64 / ql.len() as f64;
        let sz: usize = ql.nodes().map(|node| node.sz()).sum();
        sdscatprintf!(
            extra,
            " ql_nodes:{} ql_avg_node:{:.2} ql_ziplist_max:{} ql_compressed:{} ql_uncompressed_size:{}",
            ql.len(),
            avg,
            ql.fill(),
            i32::from(ql.compress() != 0),
            sz
        );
    }

    // C: the address of the value's object. Value and key are one block here, and this is where the
    // key is in it.
    let address = dict.key(o).as_ptr();
    let text = bformat!(
        "Value at:{:p} refcount:{} encoding:{} serializedlength:{} lru:{} lru_seconds_idle:{}{}",
        address,
        refcount(server, val),
        strEncoding(encoding),
        rdbSavedObjectLen(server, val),
        lru,
        estimateObjectIdleTime(server, lru) / 1000,
        B(&extra)
    );
    addReplyStatus(server, c, &text);
}

/// DEBUG SDSLEN key
///
/// C: key and value each are a string with a header. Here they share a block, and only a long value
/// has one of its own. Room that it has left from growing counts as the key's.
fn debug_sdslen_command(server: &mut Server, c: ClientId, argv: &Args) {
    let Some(o) = debug_find_or_reply(server, c, &argv[2]) else { return };
    let dict = &server.db[server[c].db].dict;
    let ValueRef::Str(val) = dict.get(o) else {
        addReplyError(server, c, b"Not an sds encoded string.");
        return;
    };
    let (key, total) = (dict.key(o), dict.alloc_size(o));
    let outside = if val.len() > 64 { zmalloc_good_size(val.len()).min(total) } else { 0 };
    let text = bformat!(
        "key_sds_len:{}, key_sds_avail:0, key_zmalloc: {}, val_sds_len:{}, val_sds_avail:0, val_zmalloc: {}",
        key.len(),
        total - outside,
        val.len(),
        outside
    );
    addReplyStatus(server, c, &text);
}

/// DEBUG POPULATE count [prefix] [size]: makes keys that are not there yet.
fn debug_populate_command(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(keys) = getPositiveLongFromObjectOrReply(server, c, &argv[2], None) else { return };
    let db = server[c].db;
    server.db[db].dict.expand(keys as usize, 0);
    let mut valsize = 0;
    if argv.len() == 5 {
        match getPositiveLongFromObjectOrReply(server, c, &argv[4], None) {
            Ok(n) => valsize = n as usize,
            Err(()) => return,
        }
    }
    let prefix = if argv.len() == 3 { b"key" } else { c_str(&argv[3]) };

    for j in 0..keys {
        let mut key = bformat!("{}:{}", B(prefix), j);
        key.truncate(127); // The size of the C's buffer.
        if lookupKeyWrite(server, db, &key).is_some() {
            continue;
        }
        let mut val = bformat!("value:{}", j);
        if valsize != 0 {
            val.reserve_exact(valsize.saturating_sub(val.len()));
            val.resize(valsize, 0);
        }
        dbAdd(server, db, &key, Object::Str(val));
        signalModifiedKey(server, Some(c), db, &key);
    }
    addReply(server, c, shared::ok);
}

/// DEBUG PROTOCOL type: a reply of each kind.
#[allow(clippy::approx_constant)] // The C's number, to the digit.
fn debug_protocol_command(server: &mut Server, c: ClientId, argv: &Args) {
    let is = |name: &str| eq_ignore_case(&argv[2], name.as_bytes());
    if is("string") {
        addReplyBulkCString(server, c, b"Hello World");
    } else if is("integer") {
        addReplyLongLong(server, c, 12345);
    } else if is("double") {
        addReplyDouble(server, c, 3.14159265359);
    } else if is("bignum") {
        addReplyBigNum(server, c, b"1234567999999999999999999999999999999");
    } else if is("null") {
        addReplyNull(server, c);
    } else if is("array") {
        addReplyArrayLen(server, c, 3);
        (0..3).for_each(|j| addReplyLongLong(server, c, j));
    } else if is("set") {
        addReplySetLen(server, c, 3);
        (0..3).for_each(|j| addReplyLongLong(server, c, j));
    } else if is("map") {
        addReplyMapLen(server, c, 3);
        for j in 0..3 {
            addReplyLongLong(server, c, j);
            addReplyBool(server, c, j == 1);
        }
    } else if is("attrib") {
        if server[c].resp >= 3 {
            addReplyAttributeLen(server, c, 1);
            addReplyBulkCString(server, c, b"key-popularity");
            addReplyArrayLen(server, c, 2);
            addReplyBulkCString(server, c, b"key:123");
            addReplyLongLong(server, c, 90);
        }
        // Attributes are not the reply, but belong to one.
        addReplyBulkCString(server, c, b"Some real reply following the attribute");
    } else if is("push") {
        if server[c].resp < 3 {
            addReplyError(server, c, b"RESP2 is not supported by this command");
            return;
        }
        let old_flags = server[c].flags;
        server[c].flags |= CLIENT_PUSHING;
        addReplyPushLen(server, c, 2);
        addReplyBulkCString(server, c, b"server-cpu-usage");
        addReplyLongLong(server, c, 42);
        if old_flags & CLIENT_PUSHING == 0 {
            server[c].flags &= !CLIENT_PUSHING;
        }
        // Nor is a push, and a client that waits for the reply would wait for ever.
        addReplyBulkCString(server, c, b"Some real reply following the push reply");
    } else if is("true") {
        addReplyBool(server, c, true);
    } else if is("false") {
        addReplyBool(server, c, false);
    } else if is("verbatim") {
        addReplyVerbatim(server, c, b"This is a verbatim\nstring", "txt");
    } else {
        addReplyError(server, c, b"Wrong protocol type name. Please use one of the following: string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false");
    }
}

/// Returns an argument as a text for C, up to its first NUL.
fn c_name(arg: &[u8]) -> CString {
    CString::new(c_str(arg)).unwrap_or_default()
}

/// DEBUG MALLCTL key [value]: reads a number of the allocator's, and sets it.
///
/// C: sets whatever there is, a pointer for instance. Here it is what cannot end the process.
fn mallctl_int(server: &mut Server, c: ClientId, argv: &Args) {
    let mut val = None;
    if argv.len() > 3 {
        match getLongLongFromObjectOrReply(server, c, &argv[3], None) {
            Ok(number) => val = Some(number),
            Err(()) => return,
        }
    }
    match mallctl_number(&c_name(&argv[2]), val) {
        Ok(old) => addReplyLongLong(server, c, old),
        Err(error) => addReplyError(server, c, strerror(error).as_bytes()),
    }
}

/// DEBUG MALLCTL-STR key [value]: reads a text of the allocator's; with the value VOID has it do
/// something that has no value.
///
/// C: takes anything for a text, and sets texts as well, which jemalloc has none of that are of use
/// while it runs.
fn mallctl_string(server: &mut Server, c: ClientId, argv: &Args) {
    let name = c_name(&argv[2]);
    let result = match mallctl_text(&name) {
        Ok(text) if argv.len() == 3 => {
            addReplyBulkCBuffer(server, c, &text);
            return;
        }
        Ok(_) => Err(libc::EPERM),
        Err(_) if argv.len() > 3 && c_str(&argv[3]) == b"VOID" => mallctl_action(&name),
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => addReply(server, c, shared::ok),
        Err(error) => addReplyError(server, c, strerror(error).as_bytes()),
    }
}

/// DEBUG subcommand [argument ..]; DEBUG HELP lists them.
pub fn debugCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let argc = argv.len();
    let is = |name: &str| eq_ignore_case(&argv[1], name.as_bytes());
    if argc == 2 && is("help") {
        // Two commas are missing in the C, and so two lines are long.
        let help = [
            "AOF-FLUSH-SLEEP <microsec>",
            "    Server will sleep before flushing the AOF, this is used for testing.",
            "ASSERT",
            "    Crash by assertion failed.",
            "CHANGE-REPL-ID    Change the replication IDs of the instance.",
            "    Dangerous: should be used only for testing the replication subsystem.",
            "CONFIG-REWRITE-FORCE-ALL",
            "    Like CONFIG REWRITE but writes all configuration options, including",
            "    keywords not listed in original configuration file or default values.",
            "CRASH-AND-RECOVER <milliseconds>",
            "    Hard crash and restart after a <milliseconds> delay.",
            "DIGEST",
            "    Output a hex signature representing the current DB content.",
            "DIGEST-VALUE <key> [<key> ...]",
            "    Output a hex signature of the values of all the specified keys.",
            "ERROR <string>",
            "    Return a Redis protocol error with <string> as message. Useful for clients",
            "    unit tests to simulate Redis errors.",
            "LOG <message>",
            "    Write <message> to the server log.",
            "HTSTATS <dbid>",
            "    Return hash table statistics of the specified Redis database.",
            "HTSTATS-KEY <key>",
            "    Like HTSTATS but for the hash table stored at <key>'s value.",
            "LOADAOF",
            "    Flush the AOF buffers on disk and reload the AOF in memory.",
            "LUA-ALWAYS-REPLICATE-COMMANDS <0|1>",
            "    Setting it to 1 makes Lua replication defaulting to replicating single",
            "    commands, without the script having to enable effects replication.",
            "OBJECT <key>",
            "    Show low level info about `key` and associated value.",
            "MALLCTL <key> [<val>]",
            "    Get or set a malloc tuning integer.",
            "MALLCTL-STR <key> [<val>]",
            "    Get or set a malloc tuning string.",
            "OOM",
            "    Crash the server simulating an out-of-memory error.",
            "PANIC",
            "    Crash the server simulating a panic.",
            "POPULATE <count> [<prefix>] [<size>]",
            "    Create <count> string keys named key:<num>. If <prefix> is specified then",
            "    it is used instead of the 'key' prefix.",
            "DEBUG PROTOCOL <type>",
            "    Reply with a test value of the specified type. <type> can be: string,",
            "    integer, double, bignum, null, array, set, map, attrib, push, verbatim,",
            "    true, false.",
            "RELOAD [option ...]",
            "    Save the RDB on disk and reload it back to memory. Valid <option> values:",
            "    * MERGE: conflicting keys will be loaded from RDB.",
            "    * NOFLUSH: the existing database will not be removed before load, but",
            "      conflicting keys will generate an exception and kill the server.    * NOSAVE: the database will be loaded from an existing RDB file.",
            "    Examples:",
            "    * DEBUG RELOAD: verify that the server is able to persist, flush and reload",
            "      the database.",
            "    * DEBUG RELOAD NOSAVE: replace the current database with the contents of an",
            "      existing RDB file.",
            "    * DEBUG RELOAD NOSAVE NOFLUSH MERGE: add the contents of an existing RDB",
            "      file to the database.",
            "RESTART",
            "    Graceful restart: save config, db, restart.",
            "SDSLEN <key>",
            "    Show low level SDS string info representing `key` and value.",
            "SEGFAULT",
            "    Crash the server with sigsegv.",
            "SET-ACTIVE-EXPIRE <0|1>",
            "    Setting it to 0 disables expiring keys in background when they are not",
            "    accessed (otherwise the Redis behavior). Setting it to 1 reenables back the",
            "    default.",
            "SET-SKIP-CHECKSUM-VALIDATION <0|1>",
            "    Enables or disables checksum checks for RDB files and RESTORE's payload.",
            "SLEEP <seconds>",
            "    Stop the server for <seconds>. Decimals allowed.",
            "STEP <ON|OFF|NEXT [<count>]>",
            "    Let each turn of the event loop tell on the server's terminal what is ready,",
            "    and wait for NEXT, or Return there.",
            "STRINGMATCH-TEST",
            "    Run a fuzz tester against the stringmatchlen() function.",
            "STRUCTSIZE",
            "    Return the size of different Redis core C structures.",
            "ZIPLIST <key>",
            "    Show low level info about the ziplist encoding of <key>.",
            "PAUSE-CRON <0|1>",
            "    Stop periodic cron job processing.",
        ];
        addReplyHelp(server, c, argv, &help);
    } else if is("segfault") {
        // C: a write to an address where nothing is. Here the signal is sent, and `si_code` tells
        // so. Without a crash report the first one only meets the handler of Rust's runtime, which
        // steps aside.
        loop {
            signal::raise(libc::SIGSEGV);
        }
    } else if is("panic") {
        let msg = format!("DEBUG PANIC called at Unix time {}", ustime() / 1_000_000);
        _serverPanic(server, argv, file!(), line!(), &msg);
    } else if is("restart") || is("crash-and-recover") {
        let mut delay = 0;
        if argc >= 3 {
            match getLongLongFromObjectOrReply(server, c, &argv[2], None) {
                Ok(ms) => delay = ms.max(0),
                Err(()) => return,
            }
        }
        let graceful = RESTART_SERVER_GRACEFULLY | RESTART_SERVER_CONFIG_REWRITE;
        // It returns only if it could not.
        let _ = restartServer(server, if is("restart") { graceful } else { 0 }, delay);
        addReplyError(server, c, b"failed to restart the server. Check server logs.");
    } else if is("oom") {
        // More bytes than any allocation can have.
        redisOutOfMemoryHandler(usize::MAX);
    } else if is("assert") {
        _serverAssertWithInfo(server, c, argv, &argv[0], "1 == 2", file!(), line!());
    } else if is("log") && argc == 3 {
        serverLog!(LL_WARNING, "DEBUG LOG: {}", B(c_str(&argv[2])));
        addReply(server, c, shared::ok);
    } else if is("leak") && argc == 3 {
        std::mem::forget(argv[2].to_vec());
        addReply(server, c, shared::ok);
    } else if is("reload") {
        debug_reload_command(server, c, argv);
    } else if is("loadaof") {
        if refuse_in_load(server, c) {
            return;
        }
        if server.aof_state != AOF_OFF {
            flushAppendOnlyFile(server, true);
        }
        emptyDb(server, -1, EMPTYDB_NO_FLAGS, None);
        protectClient(server, c);
        let filename = server.aof_filename.clone();
        let ret = loadAppendOnlyFile(server, &filename);
        unprotectClient(server, c);
        if ret.is_err() {
            addReplyErrorObject(server, c, shared::err);
            return;
        }
        // These are no changes to be propagated.
        server.dirty = 0;
        serverLog!(LL_WARNING, "Append Only File loaded by DEBUG LOADAOF");
        addReply(server, c, shared::ok);
    } else if is("object") && argc == 3 {
        debug_object_command(server, c, argv);
    } else if is("sdslen") && argc == 3 {
        debug_sdslen_command(server, c, argv);
    } else if is("ziplist") && argc == 3 {
        let Some(o) = debug_lookup_or_reply(server, c, &argv[2]) else { return };
        let (ValueRef::Aggregate(AggregateRef::Hash(HashRef::Ziplist(zl)))
        | ValueRef::Aggregate(AggregateRef::Zset(ZsetRef::Ziplist(zl)))) =
            server.db[server[c].db].get(o)
        else {
            addReplyError(server, c, b"Not a ziplist encoded object.");
            return;
        };
        let mut out = Vec::new();
        ziplistRepr(zl, &mut out);
        write_all_in_handler(libc::STDOUT_FILENO, &out);
        addReplyStatus(server, c, b"Ziplist structure printed on stdout");
    } else if is("populate") && (3..=5).contains(&argc) {
        debug_populate_command(server, c, argv);
    } else if is("digest") && argc == 2 {
        let digest = computeDatasetDigest(server);
        addReplyStatus(server, c, &hex(&digest));
    } else if is("digest-value") {
        addReplyArrayLen(server, c, argc - 2);
        for key in argv.iter().skip(2) {
            let mut digest = [0; 20];
            let dict = &server.db[server[c].db].dict;
            // Not looked up: a key that has expired and is still there counts.
            if let Some(o) = dict.find(key) {
                xorObjectDigest(&mut digest, dict.get(o), dict.expire(o));
            }
            addReplyStatus(server, c, &hex(&digest));
        }
    } else if is("protocol") && argc == 3 {
        debug_protocol_command(server, c, argv);
    } else if is("sleep") && argc == 3 {
        let utime = (strtod(c_str(&argv[2])).value * 1_000_000.0) as i64;
        if utime > 0 {
            usleep(utime as u64);
        }
        addReply(server, c, shared::ok);
    } else if is("set-active-expire") && argc == 3 {
        server.active_expire_enabled = atoi(&argv[2]) != 0;
        addReply(server, c, shared::ok);
    } else if is("set-skip-checksum-validation") && argc == 3 {
        server.skip_checksum_validation = atoi(&argv[2]) != 0;
        addReply(server, c, shared::ok);
    } else if is("aof-flush-sleep") && argc == 3 {
        server.aof_flush_sleep = atoi(&argv[2]).max(0);
        addReply(server, c, shared::ok);
    } else if is("lua-always-replicate-commands") && argc == 3 {
        server.lua_always_replicate_commands = atoi(&argv[2]) != 0;
        addReply(server, c, shared::ok);
    } else if is("error") && argc == 3 {
        let mut errstr = bformat!("-{}", B(&argv[2]));
        sdsmapchars(&mut errstr, b"\n\r", b"  ");
        errstr.extend_from_slice(b"\r\n");
        addReplyProto(server, c, &errstr);
    } else if is("structsize") && argc == 2 {
        let sizes = format!(
            "bits:{} robj:{} client:{} server:{} ",
            usize::BITS,
            size_of::<Object>(),
            size_of::<Client>(),
            size_of::<Server>()
        );
        addReplyBulkCBuffer(server, c, sizes.as_bytes());
    } else if is("htstats") && argc == 3 {
        let Ok(dbid) = getLongFromObjectOrReply(server, c, &argv[2], None) else { return };
        let Some(db) = usize::try_from(dbid).ok().and_then(|dbid| server.db.get(dbid)) else {
            addReplyError(server, c, b"Out of range database");
            return;
        };
        let (keys, expires) = db.dict.stats();
        let stats = bformat!("[Dictionary HT]\n{}[Expires HT]\n{}", B(&keys), B(&expires));
        addReplyVerbatim(server, c, &stats, "txt");
    } else if is("htstats-key") && argc == 3 {
        let Some(o) = debug_lookup_or_reply(server, c, &argv[2]) else { return };
        let stats = match server.db[server[c].db].get(o) {
            ValueRef::Aggregate(AggregateRef::Zset(ZsetRef::Skiplist(zs))) => zs.dict.stats(),
            ValueRef::Aggregate(AggregateRef::Set(SetRef::Ht(ht))) => dictGetStats(ht),
            ValueRef::Aggregate(AggregateRef::Set(SetRef::Strings(set))) => {
                dictGetStats(&table_of_strings(set))
            }
            ValueRef::Aggregate(AggregateRef::Hash(HashRef::Ht(ht))) => dictGetStats(ht),
            _ => {
                addReplyError(
                    server,
                    c,
                    b"The value stored at the specified key is not represented using an hash table",
                );
                return;
            }
        };
        addReplyVerbatim(server, c, &stats, "txt");
    } else if is("change-repl-id") && argc == 2 {
        serverLog!(LL_WARNING, "Changing replication IDs after receiving DEBUG change-repl-id");
        changeReplicationId(server);
        clearReplicationId2(server);
        addReply(server, c, shared::ok);
    } else if is("stringmatch-test") && argc == 2 {
        std::hint::black_box(stringmatchlen_fuzz_test());
        addReplyStatus(server, c, b"Apparently Redis did not crash: test passed");
    } else if is("config-rewrite-force-all") && argc == 2 {
        let path = server.configfile.clone();
        if path.is_some_and(|path| rewriteConfig(server, &path, true).is_ok()) {
            addReply(server, c, shared::ok);
        } else {
            addReplyError(server, c, b"CONFIG-REWRITE-FORCE-ALL failed");
        }
    } else if is("mallctl") && argc >= 3 {
        mallctl_int(server, c, argv);
    } else if is("mallctl-str") && argc >= 3 {
        mallctl_string(server, c, argv);
    } else if is("step") && argc >= 3 {
        crate::step::step_command(server, c, argv);
    } else if is("pause-cron") && argc == 3 {
        server.pause_cron = atoi(&argv[2]) != 0;
        addReply(server, c, shared::ok);
    } else {
        addReplySubcommandSyntaxError(server, c, argv);
    }
}

// =========================== Crash handling ==============================

/// The settings of the crash report, for when there is no server to ask.
struct CrashSettings {
    /// The head of the report was written (`bug_report_start`).
    report_started: AtomicBool,
    /// `crash-log-enabled no`
    no_crashlog: AtomicBool,
    /// `use-exit-on-panic`
    exit_on_panic: AtomicBool,
    /// Where the log goes; it cannot change once there is a server.
    logfile: OnceLock<Vec<u8>>,
    /// The pid file to remove, and whose it is.
    pidfile: OnceLock<(i32, Vec<u8>)>,
}

static CRASH: CrashSettings = CrashSettings {
    report_started: AtomicBool::new(false),
    no_crashlog: AtomicBool::new(false),
    exit_on_panic: AtomicBool::new(false),
    logfile: OnceLock::new(),
    pidfile: OnceLock::new(),
};

/// Tells the crash report what the configuration says. To be called when the configuration has been
/// read and the server is in the background, if it goes there, and again when `crash-log-enabled`
/// or `use-exit-on-panic` has changed.
pub fn prepare_crash_report(server: &Server) {
    CRASH.no_crashlog.store(!server.crashlog_enabled, Relaxed);
    CRASH.exit_on_panic.store(server.use_exit_on_panic, Relaxed);
    CRASH.logfile.get_or_init(|| server.logfile.clone());
    if let Some(pidfile) = &server.pidfile
        && server.daemonize
        && !server.supervised
    {
        CRASH.pidfile.get_or_init(|| (getpid(), pidfile.clone()));
    }
}

/// Reports that `estr` is not true, though it has to be, and ends the process. The rest of the
/// report is what `printCrashReport` adds.
fn _serverAssert(server: &mut Server, argv: &Args, estr: &str, file: &str, line: u32) -> ! {
    bugReportStart();
    log_assertion(estr, file, line);
    crash(server, argv)
}

fn log_assertion(estr: &str, file: &str, line: u32) {
    serverLog!(LL_WARNING, "=== ASSERTION FAILED ===");
    serverLog!(LL_WARNING, "==> {}:{} '{}' is not true", file, line, estr);
}

/// Logs the client in whose command an assertion failed.
fn _serverAssertPrintClientInfo(server: &Server, c: ClientId, argv: &Args) {
    bugReportStart();
    let client = &server[c];
    serverLog!(LL_WARNING, "=== ASSERTION FAILED CLIENT CONTEXT ===");
    serverLog!(LL_WARNING, "client->flags = {}", client.flags);
    serverLog!(LL_WARNING, "client->conn = {}", B(&connGetInfo(&server.net, client.conn)));
    serverLog!(LL_WARNING, "client->argc = {}", argv.len());
    for (j, arg) in argv.iter().enumerate() {
        serverLog!(LL_WARNING, "client->argv[{}] = \"{}\" (refcount: 1)", j, B(c_str(arg)));
    }
}

/// Logs what kind of value something is, for the report of an assertion.
fn serverLogObjectDebugInfo(type_: u8, encoding: u8, refcount: i64) {
    serverLog!(LL_WARNING, "Object type: {}", type_);
    serverLog!(LL_WARNING, "Object encoding: {}", encoding);
    serverLog!(LL_WARNING, "Object refcount: {}", refcount);
}

/// Logs the value that an assertion is about, an argument.
fn _serverAssertPrintObject(arg: &[u8]) {
    bugReportStart();
    serverLog!(LL_WARNING, "=== ASSERTION FAILED OBJECT CONTEXT ===");
    let embstr = arg.len() <= OBJ_ENCODING_EMBSTR_SIZE_LIMIT;
    serverLogObjectDebugInfo(
        OBJ_STRING,
        if embstr { OBJ_ENCODING_EMBSTR } else { OBJ_ENCODING_RAW },
        1,
    );
}

/// Reports a failed assertion as `_serverAssert` does, with the client and an argument of its
/// command.
fn _serverAssertWithInfo(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    arg: &[u8],
    estr: &str,
    file: &str,
    line: u32,
) -> ! {
    _serverAssertPrintClientInfo(server, c, argv);
    _serverAssertPrintObject(arg);
    _serverAssert(server, argv, estr, file, line)
}

/// Reports that the server cannot go on, in the command `argv`, and ends the process.
pub fn _serverPanic(server: &mut Server, argv: &Args, file: &str, line: u32, msg: &str) -> ! {
    bugReportStart();
    log_panic(msg, file, line);
    crash(server, argv)
}

fn log_panic(msg: &str, file: &str, line: u32) {
    serverLog!(LL_WARNING, "------------------------------------------------");
    serverLog!(LL_WARNING, "!!! Software Failure. Press left mouse button to continue");
    serverLog!(LL_WARNING, "Guru Meditation: {} #{}:{}", msg, file, line);
}

/// Reports that an allocation of so many bytes has failed, and ends the process. Called by the
/// allocator, whoever asked for memory. Nothing here allocates, so that the report has no INFO and
/// no clients.
pub fn redisOutOfMemoryHandler(allocation_size: usize) -> ! {
    static REPORTED: AtomicBool = AtomicBool::new(false);
    if REPORTED.swap(true, Relaxed) {
        signal::removeSignalHandlers();
        std::process::abort();
    }
    // To send a line to syslog takes memory.
    set_log_syslog(false);
    log_line(format_args!("Out Of Memory allocating {allocation_size} bytes!"));
    bugReportStart();
    log_line(format_args!("------------------------------------------------"));
    log_line(format_args!("!!! Software Failure. Press left mouse button to continue"));
    log_line(format_args!(
        "Guru Meditation: Redis aborting for OUT OF MEMORY. Allocating {allocation_size} bytes! #{}:{}",
        file!(),
        line!()
    ));
    if !CRASH.no_crashlog.load(Relaxed) {
        logStackTrace(None, 0);
    }
    signal::removeSignalHandlers();
    bugReportEnd();
    die()
}

/// Logs a line as `serverLog!` does, without allocating.
fn log_line(args: fmt::Arguments) {
    let mut line = Line::new();
    let _ = line.write_fmt(args);
    serverLogRaw(LL_WARNING, line.bytes());
}

/// Ends the reports that have a server: logs the calls that led here and the state of the server,
/// and ends the process.
fn crash(server: &mut Server, argv: &Args) -> ! {
    prepare_crash_report(server);
    if server.crashlog_enabled {
        logStackTrace(None, 1);
        log_named_calls();
        printCrashReport(server, argv);
    }
    // The report is written; `abort` shall not bring another one.
    signal::removeSignalHandlers();
    bugReportEnd();
    die()
}

/// Ends the process after a failure, as configured.
fn die() -> ! {
    if CRASH.exit_on_panic.load(Relaxed) {
        std::process::exit(1);
    }
    std::process::abort()
}

/// Reports panics from here on: to be called once, first of all.
///
/// A failed `assert!` without a message of its own reads as the C's assertions do, everything else
/// as its panics. There is no server to report on; see the head of this file.
pub fn setup_panic_hook() {
    // If it fails, there are just no backtraces.
    let _ = signal::prepare_backtrace();
    zmalloc_set_oom_handler(redisOutOfMemoryHandler);
    std::panic::set_hook(Box::new(|info| {
        report_panic(info);
        signal::removeSignalHandlers();
        bugReportEnd();
        die()
    }));
}

fn report_panic(info: &PanicHookInfo) {
    let payload = info.payload();
    let msg = (payload.downcast_ref::<&str>().copied())
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("panic without a message");
    let (file, line) = info.location().map_or(("?", 0), |place| (place.file(), place.line()));
    bugReportStart();
    match msg.strip_prefix("assertion failed: ") {
        Some(estr) => log_assertion(estr, file, line),
        None => log_panic(msg, file, line),
    }
    if !CRASH.no_crashlog.load(Relaxed) {
        logStackTrace(None, 1);
        log_named_calls();
    }
}

/// Writes the head of the report, once.
fn bugReportStart() {
    if !CRASH.report_started.swap(true, Relaxed) {
        if let Some(log) = openDirectLogFiledes() {
            log.write(b"\n\n=== REDIS BUG REPORT START: Cut & paste starting from here ===\n");
        }
    }
}

/// Logs the topmost words of the stack, the lowest address last.
fn logStackContent(sp: usize) {
    const WORDS: usize = 16;
    const SIZE: usize = size_of::<usize>();
    let mut stack = [0; WORDS * SIZE];
    let words = signal::read_memory(sp, &mut stack) / SIZE;
    for (i, word) in stack.chunks_exact(SIZE).enumerate().take(words).rev() {
        // C: counts up the address by bytes, not by words.
        let addr = sp.wrapping_add(i * SIZE);
        let val = usize::from_ne_bytes(word.try_into().unwrap_or_default());
        handler_log(format_args!("({addr:016x}) -> {val:016x}"));
    }
}

/// Logs the processor's registers, and what is on the stack.
fn logRegisters(info: &CrashInfo) {
    if let Some(log) = openDirectLogFiledes() {
        log.write(b"\n------ REGISTERS ------\n");
    }
    if info.registers.is_empty() {
        handler_log(format_args!("  Dumping of registers not supported for this OS/arch"));
        return;
    }
    let mut line = Line::new();
    for (i, register) in info.registers.iter().enumerate() {
        let sep = if i % 2 == 0 { '\n' } else { ' ' };
        // A full line takes no more, which is no error here.
        let _ = write!(line, "{sep}{}:{:016x}", register.0, info.register(register));
    }
    serverLogFromHandler(LL_WARNING, line.bytes());
    logStackContent(info.sp);
}

/// A line of the log, made without allocating; what does not fit is cut.
struct Line {
    buf: [u8; LOG_MAX_LEN],
    len: usize,
}

impl Line {
    fn new() -> Line {
        Line { buf: [0; LOG_MAX_LEN], len: 0 }
    }

    fn bytes(&self) -> &[u8] {
        &self.buf[..self.len]
    }
}

impl Write for Line {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let n = s.len().min(self.buf.len() - self.len);
        self.buf[self.len..self.len + n].copy_from_slice(&s.as_bytes()[..n]);
        self.len += n;
        Ok(())
    }
}

/// Logs a line from a signal handler.
///
/// C: the crash report uses `serverLog`, which is not safe there; so its lines begin otherwise.
fn handler_log(args: fmt::Arguments) {
    let mut line = Line::new();
    let _ = line.write_fmt(args);
    serverLogFromHandler(LL_WARNING, line.bytes());
}

/// An address as `%p` prints it.
struct Pointer(usize);

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { f.write_str("(nil)") } else { write!(f, "{:#x}", self.0) }
    }
}

/// The log as a descriptor, for bytes that must not go through the functions of log.rs.
struct DirectLog(Option<OwnedFd>);

impl DirectLog {
    fn fd(&self) -> RawFd {
        self.0.as_ref().map_or(libc::STDOUT_FILENO, |fd| fd.as_raw_fd())
    }

    fn write(&self, bytes: &[u8]) {
        write_all_in_handler(self.fd(), bytes);
    }
}

/// Writes all bytes, or as many as can be written: errors can't be reported from here.
fn write_all_in_handler(fd: RawFd, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match socket::write(fd, bytes) {
            Ok(n) if n > 0 => bytes = &bytes[n..],
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}

/// Returns the log's descriptor; it is closed when the result is dropped. `None`: the file cannot
/// be opened.
///
/// It allocates nothing, unless the process fails before `prepare_crash_report` was called, or the
/// path is very long.
fn openDirectLogFiledes() -> Option<DirectLog> {
    let path = CRASH.logfile.get_or_init(get_log_file);
    if path.is_empty() {
        return Some(DirectLog(None));
    }
    let flags = OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    open(path.as_slice(), flags, Mode::from_bits_truncate(0o644)).ok().map(|fd| DirectLog(Some(fd)))
}

/// Logs the calls that led here, the innermost `uplevel` left out. `eip` is the instruction at
/// which a signal came. May be called in a signal handler. It is a call of its own, which is
/// counted.
#[inline(never)]
fn logStackTrace(eip: Option<usize>, uplevel: usize) {
    let Some(log) = openDirectLogFiledes() else { return };
    log.write(b"\n------ STACK TRACE ------\n");
    if let Some(eip) = eip {
        log.write(b"EIP:\n");
        signal::write_symbol(log.fd(), eip);
    }
    log.write(b"\nBacktrace:\n");
    signal::write_backtrace(log.fd(), uplevel + 1);
}

/// Logs the calls that led here by name and line, as far as the program has that information. Not
/// for signal handlers.
///
fn log_named_calls() {
    serverLogRaw(
        LL_WARNING | LL_RAW,
        format!("\nCalls:\n{}\n", Backtrace::force_capture()).as_bytes(),
    );
}

/// Logs INFO and CLIENT LIST, for the report.
fn logServerInfo(server: &mut Server) {
    serverLogRaw(LL_WARNING | LL_RAW, b"\n------ INFO OUTPUT ------\n");
    let infostring = genRedisInfoString(server, b"all");
    serverLogRaw(LL_WARNING | LL_RAW, &infostring);
    serverLogRaw(LL_WARNING | LL_RAW, b"\n------ CLIENT LIST OUTPUT ------\n");
    let clients = getAllClientsInfoString(server, None);
    serverLogRaw(LL_WARNING | LL_RAW, &clients);
}

/// Logs the client whose command runs, the command, and the value of its first argument as a key,
/// for the report.
fn logCurrentClient(server: &mut Server, argv: &Args) {
    let Some(cc) = server.current_client.filter(|&cc| server.clients.contains(cc)) else { return };
    serverLogRaw(LL_WARNING | LL_RAW, b"\n------ CURRENT CLIENT INFO ------\n");
    let client = catClientInfoString(server, cc);
    serverLog!(LL_WARNING | LL_RAW, "{}\n", B(&client));
    for (j, arg) in argv.iter().enumerate() {
        serverLog!(LL_WARNING | LL_RAW, "argv[{}]: '{}'\n", j, B(c_str(arg)));
    }
    if argv.len() > 1 {
        let key = argv.get(1);
        let dict = &server.db[server[cc].db].dict;
        if let Some(val) = dict.find(key) {
            serverLog!(
                LL_WARNING,
                "key '{}' found in DB containing the following object:",
                B(c_str(key))
            );
            serverLogObjectDebugInfo(
                dict.type_of(val),
                dict.encoding(val),
                refcount(server, dict.get(val)),
            );
        }
    }
}

/// Shows the code around an instruction, as far as it can be read, for a disassembler.
///
/// C: it is the code of the whole function, whose start the linker knows.
fn dumpCodeAroundEIP(eip: usize) {
    const BEFORE: usize = 256;
    const AFTER: usize = 128;
    let Some(log) = openDirectLogFiledes() else { return };
    // To the end of the page: the next one may not be ours.
    let page = os_page_size();
    let end = eip.saturating_add(AFTER).min((eip | (page - 1)).saturating_add(1));
    let base = eip.saturating_sub(BEFORE).max(eip & !(page - 1));
    let mut code = [0; BEFORE + AFTER];
    let len = signal::read_memory(base, &mut code[..end - base]);
    if len == 0 {
        return;
    }

    log.write(b"\n------ DUMPING CODE AROUND EIP ------\nSymbol: ");
    signal::write_symbol(log.fd(), eip);
    let mut line = Line::new();
    let _ = write!(
        line,
        "$ xxd -r -p /tmp/dump.hex /tmp/dump.bin\n\
         $ objdump --adjust-vma={base:#x} -D -b binary -m i386:x86-64 /tmp/dump.bin\n\
         ------\n"
    );
    log.write(line.bytes());
    log_hex_dump(&log, "dump of function", &code[..len]);
}

/// Writes the report of a crash by a signal, which then takes its usual effect. Runs in the
/// handler: see the head of this file.
pub fn sigsegvHandler(info: &CrashInfo) {
    if info.resumed {
        handler_log(format_args!(
            "Crashed again within this report, which goes on behind the stack trace"
        ));
    } else {
        report_crash_and_calls(info);
    }
    logRegisters(info);
    if info.eip != 0 {
        dumpCodeAroundEIP(info.eip);
    }
    bugReportEnd();
}

/// Writes what the crash was, and the calls that led to it.
fn report_crash_and_calls(info: &CrashInfo) {
    bugReportStart();
    handler_log(format_args!(
        "Redis {} crashed by signal: {}, si_code: {}",
        REDIS_VERSION, info.signal, info.si_code
    ));
    if info.signal == libc::SIGSEGV || info.signal == libc::SIGBUS {
        handler_log(format_args!("Accessing address: {}", Pointer(info.address)));
    }
    if info.si_code == libc::SI_USER && info.pid != -1 {
        handler_log(format_args!("Killed by PID: {}, UID: {}", info.pid, info.uid));
    }
    if info.eip != 0 {
        handler_log(format_args!("Crashed running the instruction at: {}", Pointer(info.eip)));
    }
    logStackTrace((info.eip != 0).then_some(info.eip), 2);
}

/// Logs all that the server can say of itself.
fn printCrashReport(server: &mut Server, argv: &Args) {
    logServerInfo(server);
    logCurrentClient(server, argv);
}

/// Writes the end of the report, and removes the pid file, which would tell that there is still a
/// server.
fn bugReportEnd() {
    if let Some(log) = openDirectLogFiledes() {
        log.write(
            b"\n=== REDIS BUG REPORT END. Make sure to include from START to END. ===\n\n\
              \x20      Please report the crash by opening an issue on github:\n\n\
              \x20          http://github.com/redis/redis/issues\n\n\
              \x20 If a Redis module was involved, please open in the module's repo instead.\n\n\
              \x20 Suspect RAM error? Use redis-server --test-memory to verify it.\n\n\
              \x20 Some other issues could be detected by redis-server --check-system\n",
        );
    }
    // A child that crashes leaves its parent's file alone.
    if let Some((pid, pidfile)) = CRASH.pidfile.get()
        && *pid == getpid()
    {
        let _ = nix::unistd::unlink(pidfile.as_slice());
    }
}

// ==================== Logging functions for debugging =====================

/// Writes bytes in hex.
pub fn serverLogHexDump(descr: &str, value: &[u8]) {
    if let Some(log) = openDirectLogFiledes() {
        log_hex_dump(&log, descr, value);
    }
}

/// Writes bytes in hex to a log that is open.
fn log_hex_dump(log: &DirectLog, descr: &str, value: &[u8]) {
    handler_log(format_args!("{descr} (hexdump of {} bytes):", value.len()));
    for chunk in value.chunks(32) {
        let mut line = Line::new();
        for byte in chunk {
            let _ = write!(line, "{byte:02x}");
        }
        log.write(line.bytes());
    }
    log.write(b"\n");
}

// =========================== Software Watchdog ============================

/// Logs where the server hangs, when `serverCron` was not called in time. Runs in the handler.
fn watchdogSignalHandler(eip: usize) {
    serverLogFromHandler(LL_WARNING, b"\n--- WATCHDOG TIMER EXPIRED ---");
    logStackTrace((eip != 0).then_some(eip), 1);
    serverLogFromHandler(LL_WARNING, b"--------\n");
}

/// Starts the watchdog, or gives it another period, in milliseconds: when `serverCron` does not run
/// for so long, the log shows what it is that takes so long. A period shorter than two rounds of
/// the cron is made that long.
pub fn enableWatchdog(server: &mut Server, period: i32) {
    // The handler shall find all that it needs: it may interrupt the allocator.
    prepare_crash_report(server);
    let _ = signal::prepare_backtrace();
    let min_period = (1000 / server.hz.max(1)) * 2;
    let period = period.max(min_period);
    signal::enableWatchdog(period, watchdogSignalHandler);
    server.watchdog_period = period;
}

/// Stops the watchdog.
pub fn disableWatchdog(server: &mut Server) {
    signal::disableWatchdog();
    server.watchdog_period = 0;
}

/// Sleeps for so many microseconds. A negative `usec` is a fraction of one: -10 is a tenth, on
/// average, since no sleep is that short.
pub fn debugDelay(usec: i32) {
    let usec = if usec < 0 {
        u64::from(random_u64().is_multiple_of(u64::from(usec.unsigned_abs())))
    } else {
        usec as u64
    };
    if usec != 0 {
        usleep(usec);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ds::intset::{intsetAdd, intsetNew};
    use crate::ds::quicklist::{quicklistNew, quicklistPushTail};
    use crate::ds::ziplist::{ZIPLIST_TAIL, ziplistNew, ziplistPush};
    use crate::types::t_hash::Hash;
    use crate::types::t_set::Set;
    use crate::types::t_zset::Zset;

    // The digests are those of a C server with the same data.

    fn digest_of(o: &Object) -> String {
        let mut digest = [0; 20];
        xorObjectDigest(&mut digest, o.as_ref(), None);
        String::from_utf8(hex(&digest)).unwrap()
    }

    fn aggregate(a: Aggregate) -> Object {
        Object::Aggregate(a)
    }

    fn ziplist(elements: &[&str]) -> crate::ds::ziplist::Ziplist {
        let mut zl = ziplistNew();
        for element in elements {
            ziplistPush(&mut zl, element.as_bytes(), ZIPLIST_TAIL);
        }
        zl
    }

    #[test]
    fn equal_strings_have_the_digest_of_the_c() {
        assert_eq!(digest_of(&Object::Int(12345)), "e1cf90774e995ae03de66e8109dc5cb9d9c2dc83");
        assert_eq!(digest_of(&Object::Str(b"12345".to_vec())), digest_of(&Object::Int(12345)));
        assert_eq!(
            digest_of(&Object::Str(b"hello".to_vec())),
            "36b23a1456b2dce2c3ed252c456761301dba8060"
        );
        assert_eq!(
            digest_of(&Object::Str(b"a\x01b".to_vec())),
            "efdc9f17173cc0b463a5c8ba727217ef73ef9763"
        );
        let mut digest = [0; 20];
        xorObjectDigest(&mut digest, Object::Str(b"x".to_vec()).as_ref(), Some(1));
        assert_eq!(hex(&digest), b"0745672cb1bf060476eedeb8a28f5ffe1ff5a2be", "it expires");
    }

    #[test]
    fn equal_aggregates_have_the_digest_of_the_c() {
        let mut ql = quicklistNew(-2, 0);
        for element in ["a", "b", "17", "a"] {
            quicklistPushTail(&mut ql, element.as_bytes());
        }
        assert_eq!(
            digest_of(&aggregate(Aggregate::List(ql))),
            "cbaf468b5e809ccf9b3308247ac7312b18d0680f"
        );

        let mut is = intsetNew();
        for n in [3, 1, 2] {
            intsetAdd(&mut is, n);
        }
        let set = aggregate(Aggregate::Set(Set::Intset(is)));
        assert_eq!(digest_of(&set), "2a462a3f51a1db89738ebbeef0c47ce1bbc85246");

        for fields in [["f", "v", "g", "42"], ["g", "42", "f", "v"]] {
            let hash = aggregate(Aggregate::Hash(Hash::Ziplist(ziplist(&fields))));
            assert_eq!(digest_of(&hash), "a6d0802713754db218e3ee5186055d7ac7847fb8");
        }

        let zset = ziplist(&["b", "-inf", "17", "0.10000000000000001", "a", "1.5", "c", "3"]);
        let digest = digest_of(&aggregate(Aggregate::Zset(Zset::Ziplist(zset))));
        assert_ne!(digest, "69d2cf0ef7c90e2b5459430cbc4d789697311198", "its scores are others");
        let zset = ziplist(&["c", "-inf", "17", "0.10000000000000001", "a", "1.5", "b", "3"]);
        let digest = digest_of(&aggregate(Aggregate::Zset(Zset::Ziplist(zset))));
        assert_eq!(digest, "69d2cf0ef7c90e2b5459430cbc4d789697311198");
    }

    #[test]
    fn the_digest_of_a_data_set_is_that_of_the_c() {
        let mut server = Server::default();
        server.db.resize_with(16, RedisDb::default);
        let shown =
            |server: &Server| String::from_utf8(hex(&computeDatasetDigest(server))).unwrap();
        assert_eq!(shown(&server), "0".repeat(40));

        server.db[0].dict.add(b"num", 12345);
        server.db[0].dict.add(b"str", &b"hello"[..]);
        server.db[0].dict.add(b"bin", &b"a\x01b"[..]);
        assert_eq!(shown(&server), "3d78d10e58f6b49544aef45cbaa3722a41ded05a");

        let ttl = server.db[0].dict.add(b"ttl", &b"x"[..]);
        server.db[0].dict.set_expire(ttl, 1_000_000_000_000_000);
        assert_eq!(shown(&server), "1b2806627d874349cf19b0850eb82c756b390f4a");

        server.db[3].dict.add(b"num", 12345);
        assert_eq!(shown(&server), "d20dfc7a249562e6d74328e0504d68f39cb6832b", "db 3 is not db 0");
    }

    #[test]
    fn a_line_made_on_the_stack_is_cut_where_it_is_full() {
        let mut line = Line::new();
        for _ in 0..LOG_MAX_LEN {
            write!(line, "{:03}", 7).unwrap();
        }
        assert_eq!(line.bytes().len(), LOG_MAX_LEN);
        assert_eq!(&line.bytes()[..6], b"007007");
        assert_eq!(
            (Pointer(0).to_string(), Pointer(255).to_string()),
            ("(nil)".into(), "0xff".into())
        );
    }
}
