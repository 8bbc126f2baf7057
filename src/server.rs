//! `server.c`: start, the cron, the life of a command, INFO.
//!
//! Read first: `processCommand` (may this command run now?), `call` (it runs, and is propagated),
//! `serverCron` and `beforeSleep` (everything that no client asked for), then `initServer` and
//! `main`.
//!
//! Absent, with the parts they belong to: cluster, modules, sentinel, TLS, I/O threads. INFO keeps
//! the lines of those parts, with the values of a server that does not use them.
//!
//! Differs: the command table is an array with a small hash index (`CommandTable`), and a pointer
//! to a command is a number in it. `createSharedObjects` is `networking::shared`, the log is
//! log.rs. What the C keeps in static variables is in `Server`. One clock call per command instead
//! of two: a command starts when the one before it ended (`command_start_time`). A rewritten
//! command is in `server[c].argv`, the one received is the argument `argv`.

use std::fs;
use std::io::{self, IsTerminal};
use std::mem::{replace, take};
use std::ops::{Index, IndexMut};
use std::os::fd::RawFd;

use crate::acl::{
    ACLGetCommandCategoryFlagByName, ACLInit, ACLLoadUsersAtStartup, ACLUpdateDefaultUserPassword,
    addACLLogEntry, addReplyCommandCategories, check_user_perm, may_do_everything,
};
use crate::ae::*;
use crate::anet::*;
use crate::aof::{
    aofRewriteBufferSize, backgroundRewriteDoneHandler, feedAppendOnlyFile, flushAppendOnlyFile,
    killAppendOnlyChild, loadAppendOnlyFile, open_aof, rewriteAppendOnlyFileBackground,
};
use crate::args::{Args, Argv};
use crate::bformat;
use crate::bio::BIO_AOF_FSYNC;
use crate::blocked::{blockClient, handleClientsBlockedOnKeys, processUnblockedClients};
use crate::childinfo::{
    closeChildInfoPipe, openChildInfoPipe, receiveChildInfo, sendChildInfoGeneric,
};
use crate::config::{
    appendServerSaveParams, evictPolicyToString, initConfigValues, loadServerConfig,
    resetServerSaveParams, rewriteConfig, warn_absent_configs,
};
use crate::connection::{conn_fd, connPeerToString};
use crate::db::{
    dbTotalServerKeyCount, evalGetKeys, getKeysFromCommand, lcsGetKeys, memoryGetKeys, selectDb,
};
use crate::defrag::activeDefragCycle;
use crate::ds::adlist::{
    listAddNodeTail, listFirst, listLength, listNodeValue, listRotateTailToHead,
};
use crate::ds::dict::dictResizeEnable;
use crate::ds::siphash::HashSeed;
use crate::evict::{
    EVICT_FAIL, freeMemoryGetNotCountedMemory, getLRUClock, overMaxmemoryAfterAlloc,
    performEvictions,
};
use crate::expire::{activeExpireCycle, expireSlaveKeys, getSlaveKeyWithExpireCount};
use crate::keyspace::Keyspace;
use crate::latency::{latencyAddSampleIfNeeded, latencyEndMonitor, latencyStartMonitor};
use crate::lazyfree::{lazyfreeGetFreedObjectsCount, lazyfreeGetPendingObjectsCount};
use crate::log::*;
use crate::multi::{
    execCommandAbort, execCommandPropagateExec, execCommandPropagateMulti, flagTransaction,
    queueMultiCommand,
};
use crate::networking::*;
use crate::object::getMemoryOverheadData;
use crate::rdb::{
    backgroundSaveDoneHandler, killRDBChild, rdbLoad, rdbPopulateSaveInfo, rdbRemoveTempFile,
    rdbSave, rdbSaveBackground,
};
use crate::replication::backoff::backoff_info;
use crate::replication::doctor::{repl_backlog_seconds, replication_command, warn_replica_limits};
use crate::replication::guard::{guard_info, warn_lost_writes_dir};
use crate::replication::newer_masters::process_newer_command;
use crate::replication::{
    FromMaster, changeReplicationId, clearReplicationId2, command_from_master,
    createReplicationBacklog, freeReplicationBacklog, getFailoverStateString,
    processClientsWaitingReplicas, replication_go_on_from_rdb, replicationCacheMasterUsingMyself,
    replicationCron, replicationFeedMonitors, replicationFeedSlaves, replicationGetSlaveName,
    replicationScriptCacheInit, replicationStartPendingFork, updateFailoverStatus,
};
use crate::scripting::{ldbKillForkedSessions, ldbPendingChildren, ldbRemoveChild, scriptingInit};
use crate::sds::{sdscatrepr, sdsmapchars, sdssplitargs, sdstemplate, sdstrim};
use crate::server_h::*;
use crate::slowlog::{slowlog_would_push, slowlogPushEntryIfNeeded};
use crate::step::{step_note, step_say};
use crate::sys::alloc::{
    ZMALLOC_LIB, has_allocated_since, register_thread, set_jemalloc_bg_thread,
    zmalloc_get_allocator_info, zmalloc_used_memory,
};
use crate::sys::clock::*;
use crate::sys::errno::{error_text, strerror};
use crate::sys::file::{Access, access, as_path, redis_fsync, umask, unlink};
use crate::sys::fork::{ANY_CHILD, Fork, fork, getpid, wait_no_hang};
use crate::sys::huge::next_piece;
use crate::sys::proc::{
    THPDisable, THPIsEnabled, Usage, daemonize, execve, getrusage, linuxOvercommitMemoryValue,
    nofile_limits, nr_open, openlog, set_nofile_limit, setcpuaffinity, somaxconn, spt_init, syslog,
    uname, write_oom_score_adj, zmalloc_get_memory_size, zmalloc_get_rss,
};
use crate::sys::random::getRandomHexChars;
use crate::sys::signal::{self, SignalHooks, watchdogScheduleSignal};
use crate::sys::socket::{close, close_from, set_cloexec, unsent_bytes};
use crate::timeout::{clientsCronHandleTimeout, handleBlockedClientsTimeout};
use crate::trace::start_trace;
use crate::tracking::*;
use crate::util::{B, atoi, c_str, eq_ignore_case, getAbsolutePath, memmapchars};
use crate::{addReplyErrorFormat, sdscatprintf, serverLog, trace, trace_ids};

// ================================ The command table ================================

/// A row of the static command table, from which `populateCommandTable` makes a `redisCommand`.
#[derive(Copy, Clone)]
pub struct CommandSpec {
    pub name: &'static str,
    pub proc_: redisCommandProc,
    pub arity: i32,
    pub sflags: &'static str,
    pub getkeys_proc: Option<redisGetKeysProc>,
    /// First key, last key (counted from the end where negative) and step; all 0 where no keys have
    /// fixed places.
    pub keys: (i32, i32, i32),
}

/// Makes a row for a command whose keys, if any, have fixed positions.
pub const fn command(
    name: &'static str,
    proc_: redisCommandProc,
    arity: i32,
    sflags: &'static str,
    keys: (i32, i32, i32),
) -> CommandSpec {
    CommandSpec { name, proc_, arity, sflags, getkeys_proc: None, keys }
}

impl CommandSpec {
    /// Returns the row with a function that finds the keys.
    pub const fn getkeys(self, getkeys_proc: redisGetKeysProc) -> CommandSpec {
        CommandSpec { getkeys_proc: Some(getkeys_proc), ..self }
    }
}

const NOKEYS: (i32, i32, i32) = (0, 0, 0);
const FIRST: (i32, i32, i32) = (1, 1, 1);
const ALL: (i32, i32, i32) = (1, -1, 1);

/// The command tables of all files that have commands. A file that implements a value type exports
/// its commands as `COMMANDS`, and is named here.
const TABLES: &[&[CommandSpec]] = &[
    COMMANDS,
    crate::types::t_list::COMMANDS,
    crate::types::t_set::COMMANDS,
    crate::types::t_hash::COMMANDS,
    crate::sort::COMMANDS,
    crate::types::bitops::COMMANDS,
    crate::types::hyperloglog::COMMANDS,
    crate::types::t_zset::COMMANDS,
    crate::types::geo::COMMANDS,
    crate::types::t_stream::COMMANDS,
    crate::cluster::COMMANDS,
];

/// The commands of the spine and of strings.
///
/// The flags are words:
///
/// - `write`: may change keys
/// - `read-only`: reads keys
/// - `use-memory`: may increase memory, and is refused over `maxmemory`
/// - `admin`: an administrative command
/// - `pub-sub`: belongs to Pub/Sub
/// - `no-script`: not allowed in scripts
/// - `random`: not deterministic: the same arguments on the same data may give another reply
/// - `to-sort`: its reply is sorted when a script calls it, so that scripts are deterministic
/// - `ok-loading`: allowed while the data set is loaded
/// - `ok-stale`: allowed on a replica with stale data
/// - `no-monitor`, `no-slowlog`: not shown by MONITOR, in the slow log
/// - `fast`: takes constant or logarithmic time, and should not delay the server
/// - `no-auth`: allowed before authentication
/// - `may-replicate`: may be propagated although it is no write
///
/// A word `@word` is an ACL category. EVAL and EVALSHA may change data and are no writes: that is
/// checked for each command that the script calls. PFCOUNT may change the cached cardinality in its
/// key, but counts as read-only, since that is an internal matter of the representation.
#[rustfmt::skip]
pub const COMMANDS: &[CommandSpec] = {
    use crate::types::t_string as s;
    use crate::{
        acl, aof, config, db, debug, expire, latency, lolwut, module, multi, networking, object, pubsub, rdb, replication,
        scripting, slowlog,
    };
    &[
        command("module", module::moduleCommand, -2, "admin no-script", NOKEYS),
        command("get", s::getCommand, 2, "read-only fast @string", FIRST),
        command("getex", s::getexCommand, -2, "write fast @string", FIRST),
        command("getdel", s::getdelCommand, 2, "write fast @string", FIRST),
        // Not fast: it may free a large value that was there.
        command("set", s::setCommand, -3, "write use-memory @string", FIRST),
        command("setnx", s::setnxCommand, 3, "write use-memory fast @string", FIRST),
        command("setex", s::setexCommand, 4, "write use-memory @string", FIRST),
        command("psetex", s::psetexCommand, 4, "write use-memory @string", FIRST),
        command("append", s::appendCommand, 3, "write use-memory fast @string", FIRST),
        command("strlen", s::strlenCommand, 2, "read-only fast @string", FIRST),
        command("del", db::delCommand, -2, "write @keyspace", ALL),
        command("unlink", db::unlinkCommand, -2, "write fast @keyspace", ALL),
        command("exists", db::existsCommand, -2, "read-only fast @keyspace", ALL),
        command("setrange", s::setrangeCommand, 4, "write use-memory @string", FIRST),
        command("getrange", s::getrangeCommand, 4, "read-only @string", FIRST),
        command("substr", s::getrangeCommand, 4, "read-only @string", FIRST),
        command("incr", s::incrCommand, 2, "write use-memory fast @string", FIRST),
        command("decr", s::decrCommand, 2, "write use-memory fast @string", FIRST),
        command("mget", s::mgetCommand, -2, "read-only fast @string", ALL),
        command("incrby", s::incrbyCommand, 3, "write use-memory fast @string", FIRST),
        command("decrby", s::decrbyCommand, 3, "write use-memory fast @string", FIRST),
        command("incrbyfloat", s::incrbyfloatCommand, 3, "write use-memory fast @string", FIRST),
        command("getset", s::getsetCommand, 3, "write use-memory fast @string", FIRST),
        command("mset", s::msetCommand, -3, "write use-memory @string", (1, -1, 2)),
        command("msetnx", s::msetnxCommand, -3, "write use-memory @string", (1, -1, 2)),
        command("randomkey", db::randomkeyCommand, 1, "read-only random @keyspace", NOKEYS),
        command("select", db::selectCommand, 2, "ok-loading fast ok-stale @keyspace", NOKEYS),
        command("swapdb", db::swapdbCommand, 3, "write fast @keyspace @dangerous", NOKEYS),
        command("move", db::moveCommand, 3, "write fast @keyspace", FIRST),
        command("copy", db::copyCommand, -3, "write use-memory @keyspace", (1, 2, 1)),
        // Not fast, for the same reason as SET.
        command("rename", db::renameCommand, 3, "write @keyspace", (1, 2, 1)),
        command("renamenx", db::renamenxCommand, 3, "write fast @keyspace", (1, 2, 1)),
        command("expire", expire::expireCommand, 3, "write fast @keyspace", FIRST),
        command("expireat", expire::expireatCommand, 3, "write fast @keyspace", FIRST),
        command("pexpire", expire::pexpireCommand, 3, "write fast @keyspace", FIRST),
        command("pexpireat", expire::pexpireatCommand, 3, "write fast @keyspace", FIRST),
        command("keys", db::keysCommand, 2, "read-only to-sort @keyspace @dangerous", NOKEYS),
        command("scan", db::scanCommand, -2, "read-only random @keyspace", NOKEYS),
        command("dbsize", db::dbsizeCommand, 1, "read-only fast @keyspace", NOKEYS),
        command("auth", acl::authCommand, -2, "no-auth no-script ok-loading ok-stale fast @connection", NOKEYS),
        // Not while loading: PING asks whether the server is available, and it is not.
        command("ping", pingCommand, -1, "ok-stale fast @connection", NOKEYS),
        command("echo", echoCommand, 2, "fast @connection", NOKEYS),
        command("save", rdb::saveCommand, 1, "admin no-script", NOKEYS),
        command("bgsave", rdb::bgsaveCommand, -1, "admin no-script", NOKEYS),
        command("bgrewriteaof", aof::bgrewriteaofCommand, 1, "admin no-script", NOKEYS),
        command("shutdown", db::shutdownCommand, -1, "admin no-script ok-loading ok-stale", NOKEYS),
        command("lastsave", db::lastsaveCommand, 1, "random fast ok-loading ok-stale @admin @dangerous", NOKEYS),
        command("type", db::typeCommand, 2, "read-only fast @keyspace", FIRST),
        command("multi", multi::multiCommand, 1, "no-script fast ok-loading ok-stale @transaction", NOKEYS),
        command("exec", multi::execCommand, 1, "no-script no-slowlog ok-loading ok-stale @transaction", NOKEYS),
        command("discard", multi::discardCommand, 1, "no-script fast ok-loading ok-stale @transaction", NOKEYS),
        command("sync", replication::syncCommand, 1, "admin no-script", NOKEYS),
        command("psync", replication::syncCommand, -3, "admin no-script", NOKEYS),
        command("replconf", replication::replconfCommand, -1, "admin no-script ok-loading ok-stale", NOKEYS),
        command("flushdb", db::flushdbCommand, -1, "write @keyspace @dangerous", NOKEYS),
        command("flushall", db::flushallCommand, -1, "write @keyspace @dangerous", NOKEYS),
        command("info", infoCommand, -1, "ok-loading ok-stale random @dangerous", NOKEYS),
        command("monitor", monitorCommand, 1, "admin no-script ok-loading ok-stale", NOKEYS),
        command("ttl", expire::ttlCommand, 2, "read-only fast random @keyspace", FIRST),
        command("touch", expire::touchCommand, -2, "read-only fast @keyspace", ALL),
        command("pttl", expire::pttlCommand, 2, "read-only fast random @keyspace", FIRST),
        command("persist", expire::persistCommand, 2, "write fast @keyspace", FIRST),
        command("slaveof", replication::replicaofCommand, 3, "admin no-script ok-stale", NOKEYS),
        command("replicaof", replication::replicaofCommand, 3, "admin no-script ok-stale", NOKEYS),
        command("role", replication::roleCommand, 1, "ok-loading ok-stale no-script fast @dangerous", NOKEYS),
        command("debug", debug::debugCommand, -2, "admin no-script ok-loading ok-stale", NOKEYS),
        command("config", config::configCommand, -2, "admin ok-loading ok-stale no-script", NOKEYS),
        command("subscribe", pubsub::subscribeCommand, -2, "pub-sub use-memory no-script ok-loading ok-stale", NOKEYS),
        command("unsubscribe", pubsub::unsubscribeCommand, -1, "pub-sub no-script ok-loading ok-stale", NOKEYS),
        command("psubscribe", pubsub::psubscribeCommand, -2, "pub-sub use-memory no-script ok-loading ok-stale", NOKEYS),
        command("punsubscribe", pubsub::punsubscribeCommand, -1, "pub-sub no-script ok-loading ok-stale", NOKEYS),
        command("publish", pubsub::publishCommand, 3, "pub-sub ok-loading ok-stale fast may-replicate", NOKEYS),
        command("pubsub", pubsub::pubsubCommand, -2, "pub-sub ok-loading ok-stale random", NOKEYS),
        command("watch", multi::watchCommand, -2, "no-script fast ok-loading ok-stale @transaction", ALL),
        command("unwatch", multi::unwatchCommand, 1, "no-script fast ok-loading ok-stale @transaction", NOKEYS),
        command("object", object::objectCommand, -2, "read-only random @keyspace", (2, 2, 1)),
        command("memory", object::memoryCommand, -2, "random read-only", NOKEYS).getkeys(memoryGetKeys),
        command("client", networking::clientCommand, -2, "admin no-script random ok-loading ok-stale @connection", NOKEYS),
        command("hello", networking::helloCommand, -1, "no-auth no-script fast ok-loading ok-stale @connection", NOKEYS),
        // Not `write`: what a script may do is looked at when it does it. Monitors see them before
        // their commands.
        command("eval", scripting::evalCommand, -3, "no-script no-monitor may-replicate @scripting", NOKEYS).getkeys(evalGetKeys),
        command("evalsha", scripting::evalShaCommand, -3, "no-script no-monitor may-replicate @scripting", NOKEYS).getkeys(evalGetKeys),
        command("slowlog", slowlog::slowlogCommand, -2, "admin random ok-loading ok-stale", NOKEYS),
        command("script", scripting::scriptCommand, -2, "no-script may-replicate @scripting", NOKEYS),
        command("time", timeCommand, 1, "random fast ok-loading ok-stale", NOKEYS),
        command("wait", replication::waitCommand, 3, "no-script @keyspace", NOKEYS),
        command("command", commandCommand, -1, "ok-loading ok-stale random @connection", NOKEYS),
        command("post", networking::securityWarningCommand, -1, "ok-loading ok-stale read-only", NOKEYS),
        command("host:", networking::securityWarningCommand, -1, "ok-loading ok-stale read-only", NOKEYS),
        command("replication", replication_command, -2, "admin no-script random ok-loading ok-stale", NOKEYS),
        command("latency", latency::latencyCommand, -2, "admin no-script ok-loading ok-stale", NOKEYS),
        command("lolwut", lolwut::lolwutCommand, -1, "read-only fast", NOKEYS),
        command("stralgo", s::stralgoCommand, -2, "read-only @string", NOKEYS).getkeys(lcsGetKeys),
        command("reset", networking::resetCommand, 1, "no-script ok-stale ok-loading fast @connection", NOKEYS),
        command("acl", acl::aclCommand, -2, "admin no-script ok-loading ok-stale", NOKEYS),
        command("failover", replication::failoverCommand, -1, "admin no-script ok-stale", NOKEYS),
    ]
};

/// The commands, and the names by which clients call them.
///
/// A name is looked up for each command of each client, so this allocates nothing and mostly
/// compares two words: a name of up to eight bytes is one word, in lower case, and the slot of the
/// table holds the same word.
#[derive(Default)]
pub struct CommandTable {
    commands: Vec<redisCommand>,
    /// By the names that clients use; `rename-command` changes them.
    names: NameTable,
    /// By the names of the static table (the C's `server.orig_commands`).
    orig_names: NameTable,
    // The commands to which the code itself refers, whatever they are renamed to.
    pub delCommand: CommandId,
    pub unlinkCommand: CommandId,
    pub multiCommand: CommandId,
    pub execCommand: CommandId,
    pub setCommand: CommandId,
    pub expireCommand: CommandId,
    pub pexpireCommand: CommandId,
    pub expireatCommand: CommandId,
    pub discardCommand: CommandId,
    pub watchCommand: CommandId,
    pub resetCommand: CommandId,
    pub selectCommand: CommandId,
    pub replconfCommand: CommandId,
    pub migrateCommand: CommandId,
    pub pingCommand: CommandId,
    pub evalCommand: CommandId,
    pub evalShaCommand: CommandId,
    pub scriptCommand: CommandId,
    pub authCommand: CommandId,
    pub helloCommand: CommandId,
    pub unwatchCommand: CommandId,
    pub shutdownCommand: CommandId,
    pub subscribeCommand: CommandId,
    pub unsubscribeCommand: CommandId,
    pub psubscribeCommand: CommandId,
    pub punsubscribeCommand: CommandId,
    pub publishCommand: CommandId,
    pub xclaimCommand: CommandId,
    pub xgroupCommand: CommandId,
    pub lpopCommand: CommandId,
    pub rpopCommand: CommandId,
    pub rpoplpushCommand: CommandId,
    pub lmoveCommand: CommandId,
    pub blmoveCommand: CommandId,
    pub brpoplpushCommand: CommandId,
    pub clientCommand: CommandId,
}

impl CommandTable {
    /// Looks a command up by the name that clients use, whatever its case.
    #[inline]
    pub fn lookup(&self, name: &[u8]) -> Option<CommandId> {
        self.names.find(name)
    }

    /// Looks a command up by its name in the static table, which renaming leaves alone.
    pub fn lookup_original_name(&self, name: &[u8]) -> Option<CommandId> {
        self.orig_names.find(name)
    }

    /// Returns the number of names that clients can use.
    pub fn len(&self) -> usize {
        self.names.names.len()
    }

    /// Iterates over the commands that clients can use, in the order of the table; renamed ones
    /// last.
    pub fn iter(&self) -> impl Iterator<Item = &redisCommand> {
        self.names.names.iter().map(|&(_, id)| &self[id])
    }

    /// Iterates over all commands, renamed or not (the C's `server.orig_commands`).
    pub fn iter_original(&self) -> impl Iterator<Item = &redisCommand> {
        self.commands.iter()
    }

    /// Renames a command (`rename-command`): from here on clients know it only by the new name, or
    /// by none if that is empty. `Err`: the reason, for the report of the configuration's error.
    pub fn rename(&mut self, name: &[u8], new_name: &[u8]) -> Result<(), Vec<u8>> {
        let Some(id) = self.names.find(name) else {
            return Err(b"No such command in rename-command".to_vec());
        };
        self.names.names.retain(|(n, _)| !eq_ignore_case(n, name));
        self.names.rebuild();
        if !new_name.is_empty() {
            if self.names.find(new_name).is_some() {
                return Err(b"Target command name already exists".to_vec());
            }
            self.names.names.push((new_name.to_ascii_lowercase(), id));
            self.names.rebuild();
        }
        Ok(())
    }
}

impl Index<CommandId> for CommandTable {
    type Output = redisCommand;
    #[inline]
    #[track_caller]
    fn index(&self, id: CommandId) -> &redisCommand {
        &self.commands[usize::from(id)]
    }
}

impl IndexMut<CommandId> for CommandTable {
    #[inline]
    #[track_caller]
    fn index_mut(&mut self, id: CommandId) -> &mut redisCommand {
        &mut self.commands[usize::from(id)]
    }
}

/// An open hash table over `names`, in which the case of names does not matter.
#[derive(Default)]
struct NameTable {
    /// The slots: a power of two of them, at most a quarter full.
    slots: Vec<NameSlot>,
    /// The names in lower case, each with its command.
    names: Vec<(Vec<u8>, CommandId)>,
}

#[derive(Copy, Clone)]
struct NameSlot {
    /// The first eight bytes of the name, in lower case.
    word: u64,
    /// The length of the name in bytes; `EMPTY_SLOT` where there is none.
    len: usize,
    /// The place of the name in `names`.
    index: usize,
    id: CommandId,
}

const EMPTY_SLOT: usize = usize::MAX;

impl NameTable {
    #[inline]
    fn find(&self, name: &[u8]) -> Option<CommandId> {
        let (word, mut i) = name_hash(name);
        let mask = self.slots.len().wrapping_sub(1);
        loop {
            let slot = self.slots.get(i & mask)?;
            if slot.len == EMPTY_SLOT {
                return None;
            }
            if slot.word == word
                && slot.len == name.len()
                && (name.len() <= 8 || eq_ignore_case(&self.names[slot.index].0, name))
            {
                return Some(slot.id);
            }
            i += 1;
        }
    }

    fn rebuild(&mut self) {
        let size = (self.names.len() * 4).next_power_of_two();
        self.slots = vec![NameSlot { word: 0, len: EMPTY_SLOT, index: 0, id: 0 }; size];
        for (index, (name, id)) in self.names.iter().enumerate() {
            let (word, mut i) = name_hash(name);
            while self.slots[i & (size - 1)].len != EMPTY_SLOT {
                i += 1;
            }
            self.slots[i & (size - 1)] = NameSlot { word, len: name.len(), index, id: *id };
        }
    }
}

/// Returns the first eight bytes of a name as a word in lower case, and a hash of its length, its
/// first and its last eight bytes.
#[inline]
fn name_hash(name: &[u8]) -> (u64, usize) {
    let word8 = |bytes: &[u8; 8]| lower_case(u64::from_le_bytes(*bytes));
    let (first, last) = match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(first), Some(last)) => (word8(first), word8(last)),
        _ => {
            // The two halves overlap, with the same bytes where they do.
            let word = match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
                (Some(first), Some(last)) => {
                    u64::from(u32::from_le_bytes(*first))
                        | u64::from(u32::from_le_bytes(*last)) << (8 * (name.len() - 4))
                }
                _ => name.iter().rev().fold(0, |word, &b| word << 8 | u64::from(b)),
            };
            (lower_case(word), 0)
        }
    };
    let mixed =
        (first ^ last.rotate_left(29) ^ name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (first, (mixed >> 32) as usize)
}

/// Converts eight bytes to lower case at once. Adding a constant to the low seven bits of each
/// byte, so that nothing carries over to the next one, sets the top bit of bytes from 'A' up in one
/// sum, and of those above 'Z' in another; a byte with the top bit in the first sum only is a
/// capital.
#[inline]
fn lower_case(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let low7 = word & (EACH * 0x7f);
    let from_a = low7 + EACH * (0x80 - b'A' as u64);
    let above_z = low7 + EACH * (0x80 - b'Z' as u64 - 1);
    let capital = from_a & !above_z & !word & (EACH * 0x80);
    word | capital >> 2
}

// ============================ Utility functions ============================

/// Exits from a child, by _exit(2): destructors and buffers of files belong to the parent as well,
/// which goes on using them, so they must not be run and flushed twice.
pub fn exitFromChild(retcode: i32) -> ! {
    crate::sys::fork::exitFromChild(retcode)
}

// ====================== Hash tables ========================

/// The number of keys per slot above which a table grows, whatever `maxmemory` says.
const HASHTABLE_MAX_LOAD_FACTOR: f64 = 1.618;

/// Tells whether a table may grow by `moreMem` bytes at the moment.
///
/// A large table takes a large allocation. Where that would bring the server over `maxmemory`, keys
/// would be evicted, or writes refused, for the sake of an index, so it is put off. But a table
/// with far too few slots makes all commands slow, so above `HASHTABLE_MAX_LOAD_FACTOR` it may grow
/// in any case.
pub fn dictExpandAllowed(server: &Server, moreMem: usize, usedRatio: f64) -> bool {
    usedRatio > HASHTABLE_MAX_LOAD_FACTOR || !overMaxmemoryAfterAlloc(server, moreMem)
}

/// Tells the tables of a db whether they may grow during the next command.
///
/// C: a table asks at the moment when it is full. Ours know nothing of a server, so they are told
/// beforehand.
fn update_dict_expand_allowed(server: &mut Server, dbid: usize) {
    let keyspace = &server.db[dbid].dict;
    let tables = [keyspace.dict(), keyspace.expires()];
    let allowed = tables.iter().all(|d| match d.growth_pending() {
        Some(moreMem) => {
            dictExpandAllowed(server, moreMem, d.len() as f64 / d.slots().max(1) as f64)
        }
        None => true,
    });
    server.db[dbid].dict.set_expand_allowed(allowed);
}

/// Shrinks the tables of a db that are mostly empty, to save memory.
pub fn tryResizeHashTables(server: &mut Server, dbid: usize) {
    server.db[dbid].dict.resize_if_needed();
}

/// Moves the rehashing of the tables of a db forward, for one millisecond. True if there was
/// something to rehash.
///
/// A table rehashes incrementally, a little with each access. In a server that is idle it would
/// consist of two halves for a long time, so the cron spends some time on it.
pub fn incrementallyRehash(server: &mut Server, dbid: usize) -> bool {
    server.db[dbid].dict.rehash_ms(1, || steady_ms() as u64)
}

/// Tells the tables whether they may resize. Called when a child was forked or has ended.
///
/// While there is a child they may not: a resize touches much of the memory that both processes
/// share, and each page that is touched is copied. In the child itself they never may.
pub fn updateDictResizePolicy(server: &mut Server) {
    let enable = if server.in_fork_child != CHILD_TYPE_NONE {
        dictResizeEnable::DICT_RESIZE_FORBID
    } else if hasActiveChildProcess(server) {
        dictResizeEnable::DICT_RESIZE_AVOID
    } else {
        dictResizeEnable::DICT_RESIZE_ENABLE
    };
    for db in &mut server.db {
        db.dict.set_resize_enabled(enable);
    }
}

/// Returns the name of a type of child, for the log.
pub fn strChildType(type_: i32) -> &'static str {
    match type_ {
        CHILD_TYPE_RDB => "RDB",
        CHILD_TYPE_AOF => "AOF",
        CHILD_TYPE_LDB => "LDB",
        CHILD_TYPE_MODULE => "MODULE",
        _ => "Unknown",
    }
}

/// Tells whether there is a child that saves an RDB or rewrites the append only file.
#[inline]
pub fn hasActiveChildProcess(server: &Server) -> bool {
    server.child_pid != -1
}

/// Resets the state that belongs to the child after it has ended.
pub fn resetChildState(server: &mut Server) {
    server.child_type = CHILD_TYPE_NONE;
    server.child_pid = -1;
    server.stat_current_cow_bytes = 0;
    server.stat_current_cow_updated = 0;
    server.stat_current_save_keys_processed = 0;
    server.stat_current_save_keys_total = 0;
    updateDictResizePolicy(server);
    closeChildInfoPipe(server);
}

/// Tells whether a child of this type must not run beside another one of such a type.
pub fn isMutuallyExclusiveChildType(type_: i32) -> bool {
    type_ == CHILD_TYPE_RDB || type_ == CHILD_TYPE_AOF || type_ == CHILD_TYPE_MODULE
}

/// Tells whether all persistence is disabled: no append only file, and no save points.
pub fn allPersistenceDisabled(server: &Server) -> bool {
    server.saveparams.is_empty() && server.aof_state == AOF_OFF
}

// ======================= Cron: called every 100 ms ========================

/// Adds a sample to an instantaneous metric: its rate per second since the last sample.
pub fn trackInstantaneousMetric(server: &mut Server, metric: usize, current_reading: i64) {
    let now = steady_ms();
    let m = &mut server.inst_metric[metric];
    let t = now - m.last_sample_time;
    let ops = current_reading - m.last_sample_count;
    m.samples[m.idx] = if t > 0 { ops.saturating_mul(1000) / t } else { 0 };
    m.idx = (m.idx + 1) % STATS_METRIC_SAMPLES;
    m.last_sample_time = now;
    m.last_sample_count = current_reading;
}

/// Returns the mean of the samples of a metric, per second.
pub fn getInstantaneousMetric(server: &Server, metric: usize) -> i64 {
    server.inst_metric[metric].samples.iter().sum::<i64>() / STATS_METRIC_SAMPLES as i64
}

/// Frees memory of a client's query buffer that it does not need any more, because its latest
/// requests were much smaller, or because it is idle.
pub fn clientsCronResizeQueryBuffer(server: &mut Server, c: ClientId) {
    let steady_time = server.steady_time;
    let client = &mut server[c];
    let querybuf_size = client.querybuf.capacity();
    let idletime = steady_time - client.lastinteraction;
    // A buffer of ordinary size stays as it is. A large one is shrunk if it is more than twice the
    // latest peak, or if the client is idle.
    if querybuf_size > PROTO_MBULK_BIG_ARG
        && (querybuf_size / (client.querybuf_peak + 1) > 2 || idletime > 2)
    {
        // Only where it is worth a few kilobytes.
        if querybuf_size - client.querybuf.len() > 1024 * 4 {
            client.querybuf.shrink_to_fit();
        }
    }
    // Start to measure the peak again: it is that of the time between two visits.
    client.querybuf_peak = 0;

    // The client of our master has a second buffer, the part of the stream that was read and not
    // applied yet. It has to be resized as well: after a huge value it would stay huge.
    if client.flags & CLIENT_MASTER != 0 {
        let pending_querybuf_size = client.pending_querybuf.capacity();
        // The same with other bounds: large, and less than half of it in use.
        if pending_querybuf_size > LIMIT_PENDING_QUERYBUF
            && client.pending_querybuf.len() < pending_querybuf_size / 2
        {
            client.pending_querybuf.shrink_to_fit();
        }
    }
}

/// Returns the bytes used for what a client has sent and what is not executed yet.
fn get_client_input_memory_usage(client: &Client) -> usize {
    client.querybuf.capacity()
        + client.argv_len_sum
        + client.argv.as_ref().map_or(0, |argv| argv.mem_usage())
}

/// Tracks the clients that use most memory, so that INFO can tell the peak of the last seconds
/// without looking at all of them.
///
/// There are `CLIENTS_PEAK_MEM_USAGE_SLOTS` slots, each with the largest input and output buffer
/// that was seen in one second; the slot of a second is its number modulo the number of slots. The
/// recent peak is the maximum of all slots.
pub fn clientsCronTrackExpansiveClients(server: &mut Server, c: ClientId, time_idx: usize) {
    let in_usage = get_client_input_memory_usage(&server[c]);
    let out_usage = getClientOutputBufferMemoryUsage(&server.clients, c);
    let input = &mut server.ClientsPeakMemInput[time_idx];
    *input = in_usage.max(*input);
    let output = &mut server.ClientsPeakMemOutput[time_idx];
    *output = out_usage.max(*output);
}

/// Keeps the sums of the memory that clients use, by class, up to date. Adding up all clients for
/// each INFO or MEMORY STATS would be too slow, so it is done here a few clients at a time: the
/// sums are not of this moment, but at most about a second old.
pub fn clientsCronTrackClientsMemUsage(server: &mut Server, c: ClientId) {
    let type_ = getClientType(&server[c]);
    let client = &mut server.clients[c];
    let mem =
        own_output_memory(client) + get_client_input_memory_usage(client) + size_of::<Client>();

    // First take out what was added the last time, which may have been to another class.
    let last = &mut server.stat_clients_type_memory[client.client_cron_last_memory_type];
    *last = last.saturating_sub(client.client_cron_last_memory_usage);
    server.stat_clients_type_memory[type_] += mem;
    client.client_cron_last_memory_usage = mem;
    client.client_cron_last_memory_type = type_;
}

/// Returns the largest query buffer and the largest output seen in the last seconds, in bytes.
pub fn getExpansiveClientsInfo(server: &Server) -> (usize, usize) {
    let max = |slots: &[usize]| slots.iter().copied().max().unwrap_or(0);
    (max(&server.ClientsPeakMemInput), max(&server.ClientsPeakMemOutput))
}

/// The smallest number of clients that each call of `clientsCron` looks at.
const CLIENTS_CRON_MIN_ITERATIONS: usize = 5;

/// Does what has to be done for clients all the time: timeouts, and the memory of their buffers.
///
/// It tries to visit each client once a second, by looking at a part of them in each call. That is
/// no guarantee: the cron is called less often than configured while commands are slow.
///
/// This and what it calls must be fast. With tens of thousands of clients, thousands are looked at
/// in each second, which would become a source of latency.
pub fn clientsCron(server: &mut Server) {
    let numclients = listLength(&server.clients.list);
    let now = steady_ms();
    let mut iterations =
        (numclients / server.hz as usize).max(CLIENTS_CRON_MIN_ITERATIONS.min(numclients));

    let curr_peak_mem_usage_slot =
        server.unixtime.rem_euclid(CLIENTS_PEAK_MEM_USAGE_SLOTS as i64) as usize;
    // Clear the slot of the next second, so that it starts without the history of its last use. If
    // the cron was not called for seconds, because a command was slow, some slots are older than
    // they should be. That does no harm: what is wanted is whether there were very expensive
    // clients recently.
    let zeroidx = (curr_peak_mem_usage_slot + 1) % CLIENTS_PEAK_MEM_USAGE_SLOTS;
    server.ClientsPeakMemInput[zeroidx] = 0;
    server.ClientsPeakMemOutput[zeroidx] = 0;

    while iterations > 0 {
        iterations -= 1;
        // Rotating the list makes the client at its tail the first. So each call goes on where the
        // last one stopped, even if the client is freed meanwhile.
        listRotateTailToHead(&mut server.clients.list);
        let Some(head) = listFirst(&server.clients.list) else { break };
        let c = listNodeValue(&server.clients.list, head);

        if clientsCronHandleTimeout(server, c, now) {
            continue;
        }
        clientsCronResizeQueryBuffer(server, c);
        clientsCronTrackExpansiveClients(server, c, curr_peak_mem_usage_slot);
        clientsCronTrackClientsMemUsage(server, c);
        closeClientOnOutputBufferLimitReached(server, c, false);
    }
}

/// Does what has to be done for the dbs in the background: active expiration, resizing and
/// rehashing of tables.
pub fn databasesCron(server: &mut Server) {
    // Expire keys by random sampling. Not on a replica, whose master sends DELs for expired keys;
    // there it is done only for keys that were created on the replica itself.
    if server.active_expire_enabled {
        if iAmMaster(server) {
            activeExpireCycle(server, ACTIVE_EXPIRE_CYCLE_SLOW);
        } else {
            expireSlaveKeys(server);
        }
    }

    // Move allocations to where they free pages, gradually.
    activeDefragCycle(server);

    // Without `maxmemory` nothing keeps a table from growing. There may have been a limit before.
    if server.maxmemory == 0 {
        for db in &mut server.db {
            db.dict.set_expand_allowed(true);
        }
    }

    // Resize and rehash only while no child is active: it would copy much of the memory that the
    // two share. The same goes for huge pages.
    if !hasActiveChildProcess(server) {
        // A few dbs in every cron, going on where the last one stopped.
        let dbs_per_call = (CRON_DBS_PER_CALL as usize).min(server.dbnum);
        for _ in 0..dbs_per_call {
            let resize_db = server.resize_db % server.dbnum;
            tryResizeHashTables(server, resize_db);
            server.resize_db = resize_db + 1;
        }
        if server.activerehashing {
            for _ in 0..dbs_per_call {
                let rehash_db = server.rehash_db % server.dbnum;
                if incrementallyRehash(server, rehash_db) {
                    // The millisecond is used up; the next cron goes on.
                    break;
                }
                server.rehash_db = rehash_db + 1;
            }
        }
        // Tables that are done growing move to huge pages, one page at a time.
        // C: leaves them where they are.
        if memory_is_not_filling(server)
            && let Some(piece) = next_piece()
        {
            server.bio.create_collapse_job(piece);
        }
    }
}

/// Tells whether next to no memory was asked for in the last tenth of a second. To be asked in each
/// cron; in those between, the answer is no.
fn memory_is_not_filling(server: &mut Server) -> bool {
    const NEXT_TO_NONE: usize = 128 * 1024;
    if !run_with_period(server, 100) {
        return false;
    }
    let used = zmalloc_used_memory();
    let before = replace(&mut server.cron_used_memory, used);
    used <= before + NEXT_TO_NONE
}

#[inline]
fn updateCachedTimeWithUs(server: &mut Server, update_daylight_info: bool, ustime: ustime_t) {
    // Mostly the same millisecond as last time; then there is nothing to divide. A clock that was
    // set back gives a very large number here.
    if (ustime - server.mstime * 1000) as u64 >= 1000 {
        server.mstime = ustime / 1000;
        server.unixtime = ustime / 1_000_000;
    }
    server.ustime = ustime;

    if update_daylight_info {
        set_log_daylight(daylight_in_effect(server.unixtime));
    }
}

/// Updates the cached times. Many places need the time and no accuracy (each access to a key notes
/// it, for LRU), and reading a field is much faster than reading a clock.
///
/// `update_daylight_info`: find out whether daylight saving time is in effect, too, for the times
/// in the log. That is slow, so only the cron does it. `call`, which updates the times before each
/// command, does not.
pub fn updateCachedTime(server: &mut Server, update_daylight_info: bool) {
    server.steady_mstime = steady_ms();
    server.steady_time = server.steady_mstime / 1000;
    updateCachedTimeWithUs(server, update_daylight_info, ustime());
}

/// Checks whether a child has ended, without blocking, and calls the handler of its type.
pub fn checkChildrenDone(server: &mut Server) {
    let ended = match wait_no_hang(ANY_CHILD) {
        Ok(None) => return,
        Ok(Some(ended)) => Ok(ended),
        Err(e) => Err(e),
    };
    match ended {
        Err(e) => {
            serverLog!(
                LL_WARNING,
                "waitpid() returned an error: {}. child_type: {}, child_pid = {}",
                error_text(&e),
                strChildType(server.child_type),
                server.child_pid
            );
        }
        Ok(ended) if ended.pid == server.child_pid => {
            let mut bysignal = ended.bysignal;
            let mut exitcode = if bysignal == 0 { ended.exitcode } else { -1 };
            // A child that was asked to go left by `exit` in its signal handler. That is no failed
            // save.
            if exitcode == SERVER_CHILD_NOERROR_RETVAL {
                bysignal = libc::SIGUSR1;
                exitcode = 1;
            }
            trace!(
                server,
                "child_end",
                "child": ended.pid,
                "type": strChildType(server.child_type),
                "exit": exitcode,
                "signal": bysignal,
            );
            match server.child_type {
                CHILD_TYPE_RDB => backgroundSaveDoneHandler(server, exitcode, bysignal),
                CHILD_TYPE_AOF => backgroundRewriteDoneHandler(server, exitcode, bysignal),
                type_ => panic!("Unknown child type {} for child pid {}", type_, server.child_pid),
            }
            if bysignal == 0 && exitcode == 0 {
                receiveChildInfo(server);
            }
            resetChildState(server);
        }
        Ok(ended) => {
            if !ldbRemoveChild(server, ended.pid) {
                serverLog!(LL_WARNING, "Warning, detected child with unmatched pid: {}", ended.pid);
            }
        }
    }

    // Replicas may have been waiting for this child to end: start their BGSAVE at once.
    replicationStartPendingFork(server);
}

/// Keeps the peak of used memory. Called by `serverCron`, and by `whileBlockedCron` while loading.
///
/// C: also samples the figures that are slow to get, ten times a second; here
/// `sample_memory_stats` does that for those who ask for them.
pub fn cronUpdateMemoryStats(server: &mut Server) {
    let zmalloc_used = zmalloc_used_memory();
    if zmalloc_used > server.stat_peak_memory {
        server.stat_peak_memory = zmalloc_used;
    }
}

/// Samples the memory figures that are slow to get, resident size and figures of the allocator,
/// unless that was done less than 100 milliseconds ago. To be called before they are shown.
pub fn sample_memory_stats(server: &mut Server) {
    let now = steady_ms();
    if now - server.cron_malloc_stats.sampled < 100 && server.cron_malloc_stats.sampled != 0 {
        return;
    }
    // Used memory belongs to the same moment as the RSS: their ratio is the fragmentation.
    let (process_rss, zmalloc_used) = (zmalloc_get_rss(), zmalloc_used_memory());
    let info = zmalloc_get_allocator_info();
    let mut stats = malloc_stats {
        sampled: now,
        process_rss,
        zmalloc_used,
        allocator_allocated: info.allocated,
        allocator_active: info.active,
        allocator_resident: info.resident,
    };
    // An allocator that says nothing: figures that are near enough.
    if stats.allocator_resident == 0 {
        stats.allocator_resident = stats.process_rss;
    }
    if stats.allocator_active == 0 {
        stats.allocator_active = stats.allocator_resident;
    }
    if stats.allocator_allocated == 0 {
        stats.allocator_allocated = stats.zmalloc_used;
    }
    server.cron_malloc_stats = stats;
}

/// Tells whether what is to be done every `ms` milliseconds is to be done in this call of the cron.
pub fn run_with_period(server: &Server, ms: i64) -> bool {
    let tick = i64::from(1000 / server.hz);
    ms <= tick || server.cronloops % (ms / tick) == 0
}

/// Runs the timer interrupt of the server, which is called `hz` times a second. It does what is not
/// the consequence of an event:
///
/// - active expiration of keys (they also expire when they are looked up)
/// - the software watchdog
/// - statistics
/// - incremental rehashing
/// - BGSAVE and rewrites of the append only file, and the end of their children
/// - timeouts of clients of several kinds
/// - replication: reconnects and timeouts
///
/// Duties that are done less often than in each call stand behind `run_with_period`. Returns the
/// number of milliseconds until the next call.
pub fn serverCron(server: &mut Server, _id: i64, _clientData: u64) -> i64 {
    // Arm the watchdog: its signal is delivered if we are not back here in time.
    if server.watchdog_period != 0 {
        watchdogScheduleSignal(server.watchdog_period);
    }

    updateCachedTime(server, true);

    // Adapt `hz` to the number of clients: with many of them the cron runs more often, so that the
    // visit of each once a second is spread over small portions.
    server.hz = server.config_hz;
    if server.dynamic_hz {
        while listLength(&server.clients.list) / server.hz as usize
            > MAX_CLIENTS_PER_CLOCK_TICK as usize
        {
            server.hz *= 2;
            if server.hz > CONFIG_MAX_HZ {
                server.hz = CONFIG_MAX_HZ;
                break;
            }
        }
    }
    let next = i64::from(1000 / server.hz);

    // DEBUG PAUSE-CRON
    if server.pause_cron {
        return next;
    }

    // Sample what INFO shows as rates per second.
    if run_with_period(server, 100) {
        trackInstantaneousMetric(server, STATS_METRIC_COMMAND, server.stat_numcommands);
        trackInstantaneousMetric(server, STATS_METRIC_NET_INPUT, server.stat_net_input_bytes);
        trackInstantaneousMetric(server, STATS_METRIC_NET_OUTPUT, server.stat_net_output_bytes);
    }

    // 24 bits of seconds: it wraps after half a year. A key that nobody touched for so long then
    // seems young.
    server.lruclock = getLRUClock();

    cronUpdateMemoryStats(server);

    // The handlers of SIGTERM and SIGINT only set a flag, since little can be done safely in a
    // signal handler. This is where a shutdown is safe.
    if signal::shutdown_requested() {
        server.shutdown_asap = true;
    }
    if server.shutdown_asap {
        if prepareForShutdown(server, SHUTDOWN_NOFLAGS) == C_OK {
            std::process::exit(0);
        }
        // The data could not be saved. To go on is better than to lose them, and the next signal
        // tries it again.
        serverLog!(
            LL_WARNING,
            "SIGTERM received but errors trying to shut down the server, check the logs for more information"
        );
        server.shutdown_asap = false;
        signal::set_shutdown_requested(false);
    }

    // Show some information about dbs and clients in the log.
    if server.verbosity <= LL_VERBOSE && run_with_period(server, 5000) {
        for (j, db) in server.db.iter().enumerate() {
            let (size, used, vkeys) =
                (db.dict.dict().slots(), db.dict.len(), db.dict.expires_len());
            if used != 0 || vkeys != 0 {
                serverLog!(
                    LL_VERBOSE,
                    "DB {}: {} keys ({} volatile) in {} slots HT.",
                    j,
                    used,
                    vkeys,
                    size
                );
            }
        }
    }
    if run_with_period(server, 5000) {
        serverLog!(
            LL_DEBUG,
            "{} clients connected ({} replicas), {} bytes in use",
            listLength(&server.clients.list) - listLength(&server.slaves),
            listLength(&server.slaves),
            zmalloc_used_memory()
        );
    }

    clientsCron(server);
    databasesCron(server);

    // Start a rewrite of the append only file that was scheduled while another child was active.
    if !hasActiveChildProcess(server) && server.aof_rewrite_scheduled {
        let _ = rewriteAppendOnlyFileBackground(server);
    }

    if hasActiveChildProcess(server) || ldbPendingChildren(server) != 0 {
        // A child saves, or debugs: is it done?
        if run_with_period(server, 1000) {
            receiveChildInfo(server);
        }
        checkChildrenDone(server);
    } else {
        // None does: is it time to save? After a failure not more often than every few seconds.
        for sp in server.saveparams.clone() {
            if server.dirty >= i64::from(sp.changes)
                && server.steady_time - server.lastsave_steady > sp.seconds
                && (server.steady_time - server.lastbgsave_try
                    > i64::from(CONFIG_BGSAVE_RETRY_DELAY)
                    || server.lastbgsave_status == CStatus::Ok)
            {
                serverLog!(
                    LL_NOTICE,
                    "{} changes in {} seconds. Saving...",
                    sp.changes,
                    sp.seconds
                );
                let rsi = rdbPopulateSaveInfo(server);
                let filename = server.rdb_filename.clone();
                let _ = rdbSaveBackground(server, &filename, rsi.as_ref());
                break;
            }
        }

        // Has the append only file grown enough for a rewrite?
        if server.aof_state == AOF_ON
            && !hasActiveChildProcess(server)
            && server.aof_rewrite_perc != 0
            && server.aof_current_size > server.aof_rewrite_min_size
        {
            let base = server.aof_rewrite_base_size.max(1);
            let growth = server.aof_current_size.saturating_mul(100) / base - 100;
            if growth >= i64::from(server.aof_rewrite_perc) {
                serverLog!(LL_NOTICE, "Starting automatic rewriting of AOF on {}% growth", growth);
                let _ = rewriteAppendOnlyFileBackground(server);
            }
        }
    }
    // Called after each fork and each end of a child, so there should be nothing to do. It is
    // defensive: a caller may have forgotten it.
    updateDictResizePolicy(server);

    // A flush of the append only file was postponed, as an fsync was in progress: try it again.
    if server.aof_state == AOF_ON && server.aof_flush_postponed_start != 0 {
        flushAppendOnlyFile(server, false);
    }
    // After a write error there is something to flush as well, and if that succeeds now, writes are
    // accepted again. To try it once a second is enough, however large `hz` is.
    if run_with_period(server, 1000)
        && server.aof_state == AOF_ON
        && server.aof_last_write_status == CStatus::Err
    {
        flushAppendOnlyFile(server, false);
    }

    // End a CLIENT PAUSE whose time is over.
    checkClientPauseTimeoutAndReturnIfPaused(server);

    // The cron of replication: reconnects to the master, detects timeouts, starts the BGSAVE for
    // replicas. During a failover it runs more often, so that the handshake makes progress.
    let failing_over = server.failover_state != NO_FAILOVER;
    if run_with_period(server, if failing_over { 100 } else { 1000 }) {
        let before = step_note(server);
        replicationCron(server);
        step_say(server, "replicationCron", before);
    }

    // Close connections of MIGRATE that have not been used for a while.
    if run_with_period(server, 1000) {
        crate::cluster::migrateCloseTimedoutSockets(server);
    }

    // The limit may be another one than when the last command came.
    if server.tracking_clients > 0 {
        trackingLimitUsedSlots(server);
    }

    // Start a BGSAVE that was scheduled while another child was active. This comes after
    // `replicationCron`, since a BGSAVE for replication has priority.
    if !hasActiveChildProcess(server)
        && server.rdb_bgsave_scheduled
        && (server.steady_time - server.lastbgsave_try > i64::from(CONFIG_BGSAVE_RETRY_DELAY)
            || server.lastbgsave_status == CStatus::Ok)
    {
        let rsi = rdbPopulateSaveInfo(server);
        let filename = server.rdb_filename.clone();
        if rdbSaveBackground(server, &filename, rsi.as_ref()) == C_OK {
            server.rdb_bgsave_scheduled = false;
        }
    }

    server.cronloops += 1;
    next
}

/// Notes that a long operation begins, such as loading, during which `processEventsWhileBlocked`
/// serves events from time to time.
pub fn blockingOperationStarts(server: &mut Server) {
    server.blocking_op_nesting += 1;
    if server.blocking_op_nesting == 1 {
        updateCachedTime(server, false);
        server.blocked_last_cron = server.steady_mstime;
    }
}

/// Notes that the operation which `blockingOperationStarts` announced has ended.
pub fn blockingOperationEnds(server: &mut Server) {
    server.blocking_op_nesting -= 1;
    if server.blocking_op_nesting == 0 {
        server.blocked_last_cron = 0;
    }
}

/// Does the duties of `serverCron` that have to go on during a long operation, such as loading, at
/// about the same rate as `hz`. Counts `cronloops`, too, so that `run_with_period` works.
pub fn whileBlockedCron(server: &mut Server) {
    // Only to be called during such an operation.
    assert!(server.blocked_last_cron != 0);

    // Called too soon. Leaving at once means that what follows the loop needs no condition of its
    // own, and that the latency monitor is not started for nothing.
    if server.blocked_last_cron >= server.steady_mstime {
        return;
    }
    let mut latency = latencyStartMonitor(server);

    // Calls may be far apart. What relies on being done every few milliseconds is done as often as
    // it was missed: defragmentation that may use a quarter of the time takes 2.5 of every 10
    // milliseconds, and after half a second without a call it is fifty times late.
    let hz_ms = i64::from(1000 / server.hz);
    while server.blocked_last_cron < server.steady_mstime {
        activeDefragCycle(server);
        server.blocked_last_cron += hz_ms;
        server.cronloops += 1;
    }

    if server.loading {
        cronUpdateMemoryStats(server);
    }

    latencyEndMonitor(server, &mut latency);
    latencyAddSampleIfNeeded(server, "while-blocked-cron", latency);
}

/// Runs each time before the event loop waits for events.
///
/// The loop may have been entered from `processEventsWhileBlocked`. Then only what is harmless in
/// the middle of another operation is done, and no keys are expired, for example. Most important of
/// it is to free the clients that are scheduled for it.
pub fn beforeSleep(server: &mut Server) {
    let zmalloc_used = zmalloc_used_memory();
    if zmalloc_used > server.stat_peak_memory {
        server.stat_peak_memory = zmalloc_used;
    }
    // The next command does not directly follow the last one, so it can't take over its time, nor
    // what was known of the server's state.
    server.command_clock = 0;
    server.quiet = Quiet::Unknown;
    // The log shows our role in each line.
    set_log_role(if server.masterhost.is_some() { b'S' } else { b'M' });

    // The caller wants to know how much was done here: `processEventsWhileBlocked` stops as soon as
    // a turn of the loop has found nothing to do.
    // C: a flag of its own says so; it is set exactly while a blocking operation lets events
    // through.
    if server.blocking_op_nesting != 0 {
        let mut processed = handleClientsWithPendingWrites(server) as i64;
        processed += freeClientsInAsyncFreeQueue(server) as i64;
        server.events_processed_while_blocked += processed;
        return;
    }

    // Unblock clients whose timeout is over. The cron would be too late for those of a few
    // milliseconds.
    handleBlockedClientsTimeout(server);

    // Run a fast expire cycle, which returns at once if the slow one of the cron can keep up alone.
    if server.active_expire_enabled && server.masterhost.is_none() {
        activeExpireCycle(server, ACTIVE_EXPIRE_CYCLE_FAST);
    }

    // Unblock the clients in WAIT for which enough replicas have acknowledged.
    if listLength(&server.clients_waiting_acks) != 0 {
        processClientsWaitingReplicas(server);
    }

    // Process what clients that were just unblocked had sent while they were blocked.
    if listLength(&server.unblocked_clients) != 0 {
        processUnblockedClients(server);
    }

    // Ask all replicas for an acknowledgement, if a client has blocked in WAIT. This comes after
    // the clients that were just unblocked: the next command of one of them may be another WAIT,
    // and without another event it would wait for the cron.
    //
    // Not during a pause, in which the offset must not move. If we are still the master afterwards,
    // they are asked then.
    if server.get_ack_from_slaves && !checkClientPauseTimeoutAndReturnIfPaused(server) {
        let argv = Argv::new(&["REPLCONF", "GETACK", "*"]);
        let slaveseldb = server.slaveseldb;
        replicationFeedSlaves(server, slaveseldb, &argv.as_args());
        server.get_ack_from_slaves = false;
    }

    // Replicas may have told us their offsets, one of which a failover waits for. It can't go on
    // where they are received, since it disconnects the replicas.
    updateFailoverStatus(server);

    // C: asserts that there are none left. A key can expire while clients are served that waited for
    // it, behind the last command.
    trackingHandlePendingKeyInvalidations(server);

    // Tell the clients that follow prefixes (BCAST) which keys were modified.
    trackingBroadcastInvalidationMessages(server);

    // ANCHOR: before_replies
    // Write the append only file, before any client is sent the reply that its write was executed.
    if server.aof_state == AOF_ON {
        flushAppendOnlyFile(server, false);
    }

    // Send replies: mostly all that there is goes out here, without a write handler.
    handleClientsWithPendingWrites(server);

    // Close the clients that could not be closed where that was decided, because something was
    // still working on them.
    freeClientsInAsyncFreeQueue(server);
    // ANCHOR_END: before_replies

    // Serve clients blocked on keys that became ready outside of any command.
    handleClientsBlockedOnKeys(server);
}

/// Runs right after the event loop has waited, before any handler.
pub fn afterSleep(server: &mut Server) {
    server.command_clock = 0;
    server.quiet = Quiet::Unknown;
    server.tick_clock.sync();
}

// =========================== Server initialization ========================

/// Returns a server with the values that it has before its configuration is read: those that are no
/// options, and the defaults of options. Fills the command table as well, since the configuration
/// may rename commands.
pub fn initServerConfig(server: &mut Server) {
    updateCachedTime(server, true);
    server.runid = vec![0; CONFIG_RUN_ID_SIZE];
    getRandomHexChars(&mut server.runid);
    changeReplicationId(server);
    clearReplicationId2(server);
    // Initialized early, as it may be used before the configuration is read, which may change it.
    server.hz = CONFIG_DEFAULT_HZ;
    server.arch_bits = usize::BITS as i32;
    server.active_expire_enabled = true;
    server.clients.next_client_id = 1;
    // While loading, events are served each time so many bytes were read.
    server.loading_process_events_interval_bytes = 1024 * 1024 * 2;
    server.lruclock = getLRUClock();
    server.child_pid = -1;

    // Append only file
    server.aof_state = AOF_OFF;
    server.aof_last_fsync = steady_ms() / 1000;
    server.aof_rewrite_time_last = -1;
    server.aof_rewrite_time_start = -1;
    // No db: the first command in the file needs a SELECT before it.
    server.aof_selected_db = -1;

    // Save after an hour with one change, after five minutes with a hundred, after a minute with
    // ten thousand.
    resetServerSaveParams(server);
    for (seconds, changes) in [(60 * 60, 1), (300, 100), (60, 10000)] {
        appendServerSaveParams(server, seconds, changes);
    }

    // Replication
    server.masterport = 6379;
    server.master_initial_offset = -1;
    server.repl_state = REPL_STATE_NONE;
    server.repl_syncio_timeout = CONFIG_REPL_SYNCIO_TIMEOUT;
    server.repl_no_slaves_since = steady_ms() / 1000;

    // The command table is a part of the configuration: `rename-command` changes it.
    populateCommandTable(&mut server.commands);

    let (sysname, release, machine) = uname();
    server.os_name = bformat!("{} {} {}", sysname, release, machine);
    initConfigValues(server);
}

/// Returns the seconds since the epoch, from the clock.
fn unix_seconds() -> i64 {
    ustime() / 1_000_000
}

/// Flag of `restartServer`: do a proper shutdown before the restart.
pub const RESTART_SERVER_GRACEFULLY: i32 = 1 << 0;
/// Flag of `restartServer`: rewrite the configuration file before the restart.
pub const RESTART_SERVER_CONFIG_REWRITE: i32 = 1 << 1;

/// Restarts the server: executes the same program with the same arguments and configuration file,
/// after `delay` milliseconds. It calls execve(2) directly, so the new server has the pid of the
/// old one. `flags`: `RESTART_SERVER_*`.
///
/// On success it does not return. `C_ERR`: it was not possible, and the server goes on. If only the
/// execve fails, it is too late to go on, and the process exits.
pub fn restartServer(server: &mut Server, flags: i32, delay: mstime_t) -> CResult {
    // What can fail comes first, while there is still a server that can go on: is the program still
    // there, can the configuration be written, can the data be saved?
    let executable = server.executable.clone().unwrap_or_default();
    if access(&executable, Access::Execute).is_err() {
        serverLog!(
            LL_WARNING,
            "Can't restart: this process has no permissions to execute {}",
            B(&executable)
        );
        return C_ERR;
    }

    if flags & RESTART_SERVER_CONFIG_REWRITE != 0
        && let Some(configfile) = server.configfile.clone()
        && rewriteConfig(server, &configfile, false).is_err()
    {
        serverLog!(LL_WARNING, "Can't restart: configuration rewrite process failed");
        return C_ERR;
    }

    if flags & RESTART_SERVER_GRACEFULLY != 0
        && prepareForShutdown(server, SHUTDOWN_NOFLAGS) != C_OK
    {
        serverLog!(LL_WARNING, "Can't restart: error preparing for shutdown");
        return C_ERR;
    }

    // Close all descriptors except the standard ones: a server in the foreground goes on writing to
    // its terminal.
    close_from(3, server.maxclients.saturating_add(1024));

    if delay > 0 {
        usleep((delay as u64).saturating_mul(1000));
    }
    // With the original command line, but for the name of the program: a relative one would be
    // searched for from the folder that `dir` has led to.
    server.exec_argv[0].clone_from(&executable);
    execve(&executable, &server.exec_argv);

    // The sockets are closed: there is nothing with which to go on.
    exitFromChild(1)
}

/// Remembers the oom_score_adj that the process has at start, to which relative values are added.
fn readOOMScoreAdj(server: &mut Server) {
    if let Ok(val) = crate::sys::proc::readOOMScoreAdj() {
        server.oom_score_adj_base = val;
    }
}

/// Sets the oom_score_adj of the process, by which the kernel chooses whom to kill when memory is
/// short, as configured for a class of process (`CONFIG_OOM_*`). A class below 0 means that of the
/// current role, master or replica.
pub fn setOOMScoreAdj(server: &mut Server, process_class: i32) -> CResult {
    if server.oom_score_adj == OOM_SCORE_ADJ_NO {
        return C_OK;
    }
    let role_class =
        if server.masterhost.is_some() { CONFIG_OOM_REPLICA } else { CONFIG_OOM_MASTER };
    let process_class = usize::try_from(process_class).unwrap_or(role_class);

    let mut val = server.oom_score_adj_values[process_class];
    if server.oom_score_adj == OOM_SCORE_RELATIVE {
        val = val.saturating_add(server.oom_score_adj_base);
    }
    let val = val.clamp(-1000, 1000);

    if let Err(e) = write_oom_score_adj(val) {
        serverLog!(LL_WARNING, "Unable to write oom_score_adj: {}", error_text(&e));
        return C_ERR;
    }
    C_OK
}

/// Tries to raise the limit of open files to what `maxclients` needs, with
/// `CONFIG_MIN_RESERVED_FDS` more for files, listening sockets and the like.
///
/// If that is not possible, it does the reverse and lowers `maxclients` to what can be handled; if
/// nothing would be left for clients, the process exits.
pub fn adjustOpenFilesLimit(server: &mut Server) {
    let reserved = CONFIG_MIN_RESERVED_FDS as u64;
    let maxfiles = u64::from(server.maxclients) + reserved;
    let (oldlimit, hardlimit) = match nofile_limits() {
        Ok(limits) => limits,
        Err(e) => {
            serverLog!(
                LL_WARNING,
                "Unable to obtain the current NOFILE limit ({}), assuming 1024 and setting the max clients configuration accordingly.",
                error_text(&e)
            );
            server.maxclients = 1024 - reserved as u32;
            return;
        }
    };
    if oldlimit >= maxfiles {
        return;
    }

    // As many as we want, or as many as we can get: what the kernel gives to anybody at all, or
    // what it gives to us. C: it tries 16 less each time, which takes minutes where somebody wants
    // very many; it comes to the same numbers.
    const DECR_STEP: u64 = 16;
    let mut setrlimit_error = String::new();
    let mut bestlimit = oldlimit;
    let nr_open = nr_open().unwrap_or(u64::MAX);
    for bound in [maxfiles, nr_open, nr_open.min(hardlimit)] {
        let less = maxfiles.saturating_sub(bound).next_multiple_of(DECR_STEP);
        let limit = maxfiles.saturating_sub(less);
        // The old limit is still in force.
        if limit <= oldlimit {
            continue;
        }
        match set_nofile_limit(limit) {
            Ok(()) => {
                bestlimit = limit;
                break;
            }
            Err(e) => setrlimit_error = error_text(&e),
        }
    }

    if bestlimit >= maxfiles {
        serverLog!(
            LL_NOTICE,
            "Increased maximum number of open files to {} (it was originally set to {}).",
            maxfiles,
            oldlimit
        );
        return;
    }
    if bestlimit <= reserved {
        serverLog!(
            LL_WARNING,
            "Your current 'ulimit -n' of {} is not enough for the server to start. Please increase your open file limit to at least {}. Exiting.",
            oldlimit,
            maxfiles
        );
        std::process::exit(1);
    }
    let old_maxclients = server.maxclients;
    server.maxclients = (bestlimit - reserved) as u32;
    serverLog!(
        LL_WARNING,
        "You requested maxclients of {} requiring at least {} max file descriptors.",
        old_maxclients,
        maxfiles
    );
    serverLog!(
        LL_WARNING,
        "Server can't set maximum open files to {} because of OS error: {}.",
        maxfiles,
        setrlimit_error
    );
    serverLog!(
        LL_WARNING,
        "Current maximum open files is {}. maxclients has been reduced to {} to compensate for low ulimit. If you need higher maxclients increase 'ulimit -n'.",
        bestlimit,
        server.maxclients
    );
}

/// Warns if the system limits the configured backlog of connections that wait to be accepted
/// (`tcp-backlog`).
pub fn checkTcpBacklogSettings(server: &Server) {
    let Some(somaxconn) = somaxconn() else { return };
    if somaxconn > 0 && somaxconn < i64::from(server.tcp_backlog) {
        serverLog!(
            LL_WARNING,
            "WARNING: The TCP backlog setting of {} cannot be enforced because /proc/sys/net/core/somaxconn is set to the lower value of {}.",
            server.tcp_backlog,
            somaxconn
        );
    }
}

/// Closes listening sockets.
pub fn closeSocketListeners(server: &mut Server, sfd: Vec<RawFd>) {
    for fd in sfd {
        server.net.el.forget_fd(fd);
        close(fd);
    }
}

/// Installs `accept_handler` as the handler of new connections on all of these sockets. `C_ERR`:
/// that failed for one of them, and it is installed on none.
pub fn createSocketAcceptHandler(
    server: &mut Server,
    sfd: &[RawFd],
    accept_handler: aeFileProc<Server>,
) -> CResult {
    for (j, &fd) in sfd.iter().enumerate() {
        if aeCreateFileEvent(&mut server.net.el, fd, AE_READABLE, accept_handler, 0).is_err() {
            for &fd in &sfd[..j] {
                aeDeleteFileEvent(&mut server.net.el, fd, AE_READABLE);
            }
            return C_ERR;
        }
    }
    C_OK
}

/// Listens on `port` of all configured addresses, or if there are none, of all IPv4 and IPv6
/// addresses.
///
/// An address with a `-` before it may be unavailable, and a protocol that the system does not
/// support is left out. `Err`: another failure, for at least one of the addresses; then nothing
/// listens.
pub fn listenToPort(server: &mut Server, port: i32) -> Result<Vec<RawFd>, ()> {
    let mut sfd = Vec::new();
    // Without configured addresses: all of IPv4, and all of IPv6 if the machine has it.
    let bindaddr = if server.bindaddr.is_empty() {
        vec![b"*".to_vec(), b"-::*".to_vec()]
    } else {
        server.bindaddr.clone()
    };
    for addr in &bindaddr {
        let (addr, optional) = match addr.strip_prefix(b"-") {
            Some(addr) => (addr, true),
            None => (addr.as_slice(), false),
        };
        let listening = if addr.contains(&b':') {
            anetTcp6Server(port as u16, Some(addr), server.tcp_backlog)
        } else {
            anetTcpServer(port as u16, Some(addr), server.tcp_backlog)
        };
        match listening {
            Ok(fd) => {
                let _ = anetNonBlock(fd);
                let _ = set_cloexec(fd);
                sfd.push(fd);
            }
            Err(e) => {
                serverLog!(
                    LL_WARNING,
                    "Warning: Could not create server TCP listening socket {}:{}: {}",
                    B(addr),
                    port,
                    e
                );
                // The errors of a kernel that does not have the protocol.
                let absent = [
                    libc::ENOPROTOOPT,
                    libc::EPROTONOSUPPORT,
                    libc::ESOCKTNOSUPPORT,
                    libc::EPFNOSUPPORT,
                    libc::EAFNOSUPPORT,
                ];
                if (e.errno == libc::EADDRNOTAVAIL && optional) || absent.contains(&e.errno) {
                    continue;
                }
                // All or nothing: a server that is reachable under some of its addresses alone
                // would not be noticed at its start, but when somebody needs the others.
                closeSocketListeners(server, sfd);
                return Err(());
            }
        }
    }
    Ok(sfd)
}

/// Resets the statistics that INFO reports: at start and by CONFIG RESETSTAT.
pub fn resetServerStats(server: &mut Server) {
    server.stat_numcommands = 0;
    server.stat_numconnections = 0;
    server.stat_expiredkeys = 0;
    server.stat_expired_stale_perc = 0.0;
    server.stat_expired_time_cap_reached_count = 0;
    server.stat_expire_cycle_time_used = 0;
    server.stat_evictedkeys = 0;
    server.stat_keyspace_misses = 0;
    server.stat_keyspace_hits = 0;
    server.stat_active_defrag_hits = 0;
    server.stat_active_defrag_misses = 0;
    server.stat_active_defrag_key_hits = 0;
    server.stat_active_defrag_key_misses = 0;
    server.stat_active_defrag_scanned = 0;
    server.stat_fork_time = 0;
    server.stat_fork_rate = 0.0;
    server.stat_total_forks = 0;
    server.stat_rejected_conn = 0;
    server.stat_sync_full = 0;
    server.stat_sync_partial_ok = 0;
    server.stat_sync_partial_err = 0;
    server.stat_total_reads_processed = 0;
    server.stat_total_writes_processed = 0;
    let now = steady_ms();
    server.inst_metric =
        [inst_metric { last_sample_time: now, ..inst_metric::default() }; STATS_METRIC_COUNT];
    server.stat_net_input_bytes = 0;
    server.stat_net_output_bytes = 0;
    server.stat_unexpected_error_replies = 0;
    server.stat_untranslated_commands = 0;
    server.stat_total_error_replies = 0;
    server.stat_dump_payload_sanitizations = 0;
    server.aof_delayed_fsync = 0;
}

/// Initializes a server that is configured: limits, event loop, listening sockets, dbs, the cron.
/// Exits the process where that is not possible.
pub fn initServer(server: &mut Server) {
    // A terminal that is closed is no reason to end (SIGHUP), and nor is a client that has closed
    // its connection: the write to it fails with EPIPE, and that client is freed (SIGPIPE).
    signal::ignore_hup_and_pipe();
    setupSignalHandlers(server);
    if server.syslog_enabled {
        openlog(&server.syslog_ident, server.syslog_facility);
        set_log_syslog_hook(|level, msg| {
            const syslogLevelMap: [i32; 4] =
                [libc::LOG_DEBUG, libc::LOG_INFO, libc::LOG_NOTICE, libc::LOG_WARNING];
            syslog(syslogLevelMap[level.clamp(LL_DEBUG, LL_WARNING) as usize], msg);
        });
        set_log_syslog(true);
    }

    server.aof_state = if server.aof_enabled { AOF_ON } else { AOF_OFF };
    server.hz = server.config_hz;
    server.pid = getpid();
    set_log_pid(server.pid as u32);
    server.in_fork_child = CHILD_TYPE_NONE;
    server.tick_clock = TickClock::new();
    // Force a SELECT before the first command to replicas.
    server.slaveseldb = -1;
    server.system_memory_size = zmalloc_get_memory_size();

    adjustOpenFilesLimit(server);
    serverLog!(LL_NOTICE, "monotonic clock: {}", monotonicInfoString());
    // Some descriptors more than clients: files, pipes, listening sockets.
    let setsize = server.maxclients as usize + CONFIG_FDSET_INCR;
    match aeCreateEventLoop(i32::try_from(setsize).unwrap_or(i32::MAX)) {
        Ok(el) => server.net.el = el,
        Err(e) => {
            serverLog!(
                LL_WARNING,
                "Failed creating the event loop. Error message: '{}'",
                error_text(&e)
            );
            std::process::exit(1);
        }
    }

    // Open the listening sockets. Connections wait in their backlogs until the loop runs.
    if server.port != 0 {
        match listenToPort(server, server.port) {
            Ok(sfd) => server.ipfd = sfd,
            Err(()) => {
                serverLog!(LL_WARNING, "Failed listening on port {} (TCP), aborting.", server.port);
                std::process::exit(1);
            }
        }
    }
    if let Some(path) = server.unixsocket.clone() {
        // A server that was killed has left its file, and bind(2) refuses a name that is taken.
        let _ = unlink(&path);
        match anetUnixServer(&path, server.unixsocketperm, server.tcp_backlog) {
            Ok(fd) => {
                let _ = anetNonBlock(fd);
                let _ = set_cloexec(fd);
                server.sofd = Some(fd);
            }
            Err(e) => {
                serverLog!(LL_WARNING, "Opening Unix socket: {}", e);
                std::process::exit(1);
            }
        }
    }
    if server.ipfd.is_empty() && server.sofd.is_none() {
        serverLog!(LL_WARNING, "Configured to not listen anywhere, exiting.");
        std::process::exit(1);
    }

    // Create the dbs. With a seed that nobody knows nobody can choose keys that all collide.
    let seed = HashSeed::random();
    server.db = (0..server.dbnum)
        .map(|id| RedisDb { id, dict: Keyspace::new(seed), ..RedisDb::default() })
        .collect();
    resetChildState(server);
    server.rdb_child_type = RDB_CHILD_TYPE_NONE;
    // At start the data counts as saved, and a BGSAVE was never tried.
    server.lastsave = unix_seconds();
    server.lastsave_steady = steady_ms() / 1000;
    server.lastbgsave_try = 0;
    server.rdb_save_time_last = -1;
    server.rdb_save_time_start = -1;
    server.dirty = 0;
    resetServerStats(server);
    // Not reset with the other statistics by CONFIG RESETSTAT: since when the server runs, and the
    // peak of memory.
    server.stat_starttime = unix_seconds();
    server.stat_peak_memory = 0;
    server.lastbgsave_status = CStatus::Ok;
    server.repl_good_slaves_count = 0;

    // Create the timer of the cron, in which all background operations are done incrementally.
    aeCreateTimeEvent(&mut server.net.el, 1, serverCron, 0);

    let ipfd = server.ipfd.clone();
    if createSocketAcceptHandler(server, &ipfd, acceptTcpHandler) != C_OK {
        panic!("Unrecoverable error creating TCP socket accept handler.");
    }
    if let Some(sofd) = server.sofd
        && aeCreateFileEvent(&mut server.net.el, sofd, AE_READABLE, acceptUnixHandler, 0).is_err()
    {
        panic!("Unrecoverable error creating server.sofd file event.");
    }

    // Before the data is loaded: processEventsWhileBlocked uses them.
    aeSetBeforeSleepProc(&mut server.net.el, Some(beforeSleep));
    aeSetAfterSleepProc(&mut server.net.el, Some(afterSleep));

    // Open the append only file. If that is not possible the data that it has must not be passed
    // over in silence.
    if server.aof_state == AOF_ON {
        match open_aof(server) {
            Ok(fd) => server.aof_fd = Some(fd),
            Err(e) => {
                serverLog!(LL_WARNING, "Can't open the append-only file: {}", error_text(&e));
                std::process::exit(1);
            }
        }
    }

    replicationScriptCacheInit(server);
    scriptingInit(server, true);

    // On 32 bits the address space ends at 4 GB, where an allocation would fail and crash the
    // server. A limit of 3 GB with `noeviction` makes that an error for writes instead.
    if server.arch_bits == 32 && server.maxmemory == 0 {
        serverLog!(
            LL_WARNING,
            "Warning: 32 bit instance detected but no memory limit set. Setting 3 GB maxmemory limit with 'noeviction' policy now."
        );
        server.maxmemory = 3072 * (1024 * 1024);
        server.maxmemory_policy = MAXMEMORY_NO_EVICTION;
    }

    // The password of `requirepass` is that of the user `default`.
    let requirepass = server.requirepass.clone();
    ACLUpdateDefaultUserPassword(server, requirepass.as_deref());
}

/// Does the last steps of initialization: starts the background threads, and takes the memory used
/// now as that of an empty server, which INFO reports. Threads come last, since much of what is
/// above is not safe with more than one: umask(2), daemonizing, the environment.
pub fn InitServerLast(server: &mut Server) {
    server.bio.bioInit(server.bio_cpulist.as_deref());
    set_jemalloc_bg_thread(server.jemalloc_bg_thread);
    server.initial_memory_usage = zmalloc_used_memory();
}

/// Sets the flags of a command that the words of `strflags` name. `C_ERR`: one of them is no flag;
/// those before it are set.
pub fn populateCommandTableParseFlags(c: &mut redisCommand, strflags: &str) -> CResult {
    for flag in strflags.split_ascii_whitespace() {
        c.flags |= match flag {
            "write" => CMD_WRITE | CMD_CATEGORY_WRITE,
            "read-only" => CMD_READONLY | CMD_CATEGORY_READ,
            "use-memory" => CMD_DENYOOM,
            "admin" => CMD_ADMIN | CMD_CATEGORY_ADMIN | CMD_CATEGORY_DANGEROUS,
            "pub-sub" => CMD_PUBSUB | CMD_CATEGORY_PUBSUB,
            "no-script" => CMD_NOSCRIPT,
            "random" => CMD_RANDOM,
            "to-sort" => CMD_SORT_FOR_SCRIPT,
            "ok-loading" => CMD_LOADING,
            "ok-stale" => CMD_STALE,
            "no-monitor" => CMD_SKIP_MONITOR,
            "no-slowlog" => CMD_SKIP_SLOWLOG,
            "cluster-asking" => CMD_ASKING,
            "fast" => CMD_FAST | CMD_CATEGORY_FAST,
            "no-auth" => CMD_NO_AUTH,
            "may-replicate" => CMD_MAY_REPLICATE,
            _ => match flag
                .strip_prefix('@')
                .map(|name| ACLGetCommandCategoryFlagByName(name.as_bytes()))
            {
                Some(catflag) if catflag != 0 => catflag,
                _ => return C_ERR,
            },
        };
    }
    let works_on_data = c.flags & (CMD_READONLY | CMD_WRITE) != 0 && c.flags & CMD_ADMIN == 0;
    if works_on_data || matches!(c.name, "ping" | "echo") {
        c.flags |= CMD_WORKS_ON_DATA;
    }
    // If it is not in the category @fast, it is in @slow.
    if c.flags & CMD_CATEGORY_FAST == 0 {
        c.flags |= CMD_CATEGORY_SLOW;
    }
    C_OK
}

/// Fills the command table from the static tables.
pub fn populateCommandTable(table: &mut CommandTable) {
    *table = CommandTable::default();
    for spec in TABLES.iter().flat_map(|specs| specs.iter()) {
        let id = table.commands.len() as CommandId;
        let (firstkey, lastkey, keystep) = spec.keys;
        let mut c = redisCommand {
            name: spec.name,
            proc_: spec.proc_,
            arity: spec.arity,
            sflags: spec.sflags,
            flags: 0,
            getkeys_proc: spec.getkeys_proc,
            firstkey,
            lastkey,
            keystep,
            microseconds: 0,
            calls: 0,
            rejected_calls: 0,
            failed_calls: 0,
            id,
        };
        if populateCommandTableParseFlags(&mut c, spec.sflags) != C_OK {
            panic!("Unsupported command flag");
        }
        table.commands.push(c);
        // One of the two tables of names is that of clients, which `rename-command` changes.
        for names in [&mut table.names, &mut table.orig_names] {
            names.names.push((spec.name.as_bytes().to_vec(), id));
        }
    }
    table.names.rebuild();
    table.orig_names.rebuild();

    let id =
        |name: &str| table.lookup(name.as_bytes()).expect("the code speaks of commands that exist");
    let (del, unlink, multi, exec, expire, pexpire) =
        (id("del"), id("unlink"), id("multi"), id("exec"), id("expire"), id("pexpire"));
    let (set, expireat) = (id("set"), id("expireat"));
    let (discard, watch, reset, ping) = (id("discard"), id("watch"), id("reset"), id("ping"));
    let (eval, evalsha, script) = (id("eval"), id("evalsha"), id("script"));
    let (auth, hello, unwatch, shutdown) = (id("auth"), id("hello"), id("unwatch"), id("shutdown"));
    let (select, replconf, migrate) = (id("select"), id("replconf"), id("migrate"));
    let (subscribe, unsubscribe) = (id("subscribe"), id("unsubscribe"));
    let (psubscribe, punsubscribe) = (id("psubscribe"), id("punsubscribe"));
    let publish = id("publish");
    let (xclaim, xgroup) = (id("xclaim"), id("xgroup"));
    let (lpop, rpop, lmove, blmove) = (id("lpop"), id("rpop"), id("lmove"), id("blmove"));
    let (rpoplpush, brpoplpush) = (id("rpoplpush"), id("brpoplpush"));
    let client = id("client");
    table.delCommand = del;
    table.unlinkCommand = unlink;
    table.multiCommand = multi;
    table.execCommand = exec;
    table.setCommand = set;
    table.expireCommand = expire;
    table.pexpireCommand = pexpire;
    table.expireatCommand = expireat;
    table.discardCommand = discard;
    table.watchCommand = watch;
    table.resetCommand = reset;
    table.selectCommand = select;
    table.replconfCommand = replconf;
    table.migrateCommand = migrate;
    table.pingCommand = ping;
    table.evalCommand = eval;
    table.evalShaCommand = evalsha;
    table.scriptCommand = script;
    table.authCommand = auth;
    table.helloCommand = hello;
    table.unwatchCommand = unwatch;
    table.shutdownCommand = shutdown;
    table.subscribeCommand = subscribe;
    table.unsubscribeCommand = unsubscribe;
    table.psubscribeCommand = psubscribe;
    table.punsubscribeCommand = punsubscribe;
    table.publishCommand = publish;
    table.xclaimCommand = xclaim;
    table.xgroupCommand = xgroup;
    table.lpopCommand = lpop;
    table.rpopCommand = rpop;
    table.rpoplpushCommand = rpoplpush;
    table.lmoveCommand = lmove;
    table.blmoveCommand = blmove;
    table.brpoplpushCommand = brpoplpush;
    table.clientCommand = client;
}

/// Resets the statistics of all commands (INFO commandstats), for CONFIG RESETSTAT.
pub fn resetCommandTableStats(server: &mut Server) {
    for c in &mut server.commands.commands {
        c.microseconds = 0;
        c.calls = 0;
        c.rejected_calls = 0;
        c.failed_calls = 0;
    }
}

/// Resets the counters of errors (INFO errorstats).
pub fn resetErrorTableStats(server: &mut Server) {
    server.errors.clear();
}

// ====================== Commands lookup and execution =====================

/// Looks up the command that clients call `name`.
#[inline]
pub fn lookupCommand(server: &Server, name: &[u8]) -> Option<CommandId> {
    server.commands.lookup(name)
}

/// Looks up a command by the name that clients call it, or else by its original name, before it was
/// renamed. For code that rewrites the arguments of a command and knows commands by their original
/// names.
pub fn lookupCommandOrOriginal(server: &Server, name: &[u8]) -> Option<CommandId> {
    server.commands.lookup(name).or_else(|| server.commands.lookup_original_name(name))
}

/// Propagates a command, run in db `dbid`, to the append only file if `flags` has PROPAGATE_AOF,
/// and to the replicas and the backlog if it has PROPAGATE_REPL.
///
/// It is not for use inside of the implementation of a command, since it does not wrap commands in
/// MULTI and EXEC; there are `alsoPropagate`, `preventCommandPropagation` and
/// `forceCommandPropagation` for that. It is for what has to be propagated outside of the execution
/// of a command, as when a blocked client is served.
// C: and nothing is propagated while `replication_allowed` is 0, which modules alone bring about.
#[inline]
pub fn propagate(server: &mut Server, cmd: CommandId, dbid: i32, argv: &Args, flags: i32) {
    // Most servers have nobody to feed. Replicas without a backlog would be a fault, which
    // `replicationFeedSlaves` finds.
    if changes_are_propagated(server) || !server.slaves.is_empty() {
        feed_all(server, cmd, dbid, argv, flags);
    }
}

/// The part of `propagate` that has something to do.
fn feed_all(server: &mut Server, cmd: CommandId, dbid: i32, argv: &Args, flags: i32) {
    // Propagate a MULTI before the first write of a transaction. So all of MULTI ... EXEC reaches
    // the append only file and the replicas as a whole, with the same guarantees of atomicity as
    // here.
    if server.in_exec && !server.propagate_in_transaction {
        execCommandPropagateMulti(server, dbid);
    }

    // While clients are paused the data set must not change, as a failover would lose the change.
    // Whatever is propagated then is a fault, but for a transaction that was being executed.
    assert!(!areClientsPaused(server) || server.client_pause_in_transaction);

    if server.aof_state != AOF_OFF && flags & PROPAGATE_AOF != 0 {
        feedAppendOnlyFile(server, cmd, dbid, argv);
    }
    if flags & PROPAGATE_REPL != 0 && (server.repl_backlog || !server.slaves.is_empty()) {
        replicationFeedSlaves(server, dbid, argv);
    }
}

/// Schedules the propagation of one more command, after the one that is being executed, in the
/// order in which they were scheduled. For use inside of commands.
pub fn alsoPropagate(server: &mut Server, cmd: CommandId, dbid: i32, argv: Argv, target: i32) {
    // What is loaded was propagated when it was executed first.
    if server.loading {
        return;
    }
    server.also_propagate.push(redisOp { argv, dbid, target, cmd });
}

/// Forces the propagation of the command that is being executed (`PROPAGATE_*`), even if it changes
/// nothing. For use inside of commands.
pub fn forceCommandPropagation(server: &mut Server, c: ClientId, flags: i32) {
    let cmd = server[c].cmd.expect("a command runs");
    assert!(server.commands[cmd].flags & (CMD_WRITE | CMD_MAY_REPLICATE) != 0);
    if flags & PROPAGATE_REPL != 0 {
        server[c].flags |= CLIENT_FORCE_REPL;
    }
    if flags & PROPAGATE_AOF != 0 {
        server[c].flags |= CLIENT_FORCE_AOF;
    }
}

/// Prevents the propagation of the command that is being executed, for when what `alsoPropagate`
/// has scheduled says everything. For use inside of commands.
pub fn preventCommandPropagation(server: &mut Server, c: ClientId) {
    server[c].flags |= CLIENT_PREVENT_PROP;
}

/// Prevents the propagation of the command that is being executed to the append only file.
pub fn preventCommandAOF(server: &mut Server, c: ClientId) {
    server[c].flags |= CLIENT_PREVENT_AOF_PROP;
}

/// Prevents the propagation of the command that is being executed to the replicas.
pub fn preventCommandReplication(server: &mut Server, c: ClientId) {
    server[c].flags |= CLIENT_PREVENT_REPL_PROP;
}

/// Adds a command that took `duration` microseconds to the slow log, if that is long enough. It is
/// shown as the client sent it (`argv`), except for what was redacted.
pub fn slowlogPushCurrentCommand(
    server: &mut Server,
    c: ClientId,
    cmd: CommandId,
    argv: &Args,
    duration: ustime_t,
) {
    // Some commands contain secrets, and are never shown.
    if server.commands[cmd].flags & CMD_SKIP_SLOWLOG != 0 {
        return;
    }
    match server[c].original_argv.take() {
        Some(original) => {
            slowlogPushEntryIfNeeded(server, c, &original.as_args(), duration);
            server[c].original_argv = Some(original);
        }
        None => slowlogPushEntryIfNeeded(server, c, argv, duration),
    }
}

/// Returns the start time of the command that begins now, in microseconds: the end of the one
/// before it, if both came with the same read.
///
/// Between two commands of a pipeline there is next to nothing, so the reading of the clock that
/// ends one is good enough to start the next, and half of the readings are saved. Another read,
/// another turn of the event loop, or an eviction in between break this chain.
#[inline]
fn command_start_time(server: &mut Server) -> ustime_t {
    if server.command_clock == 0 || server.command_clock_reads != server.stat_total_reads_processed
    {
        server.command_clock = server.tick_clock.now();
        server.command_clock_reads = server.stat_total_reads_processed;
    }
    server.command_clock
}

/// Executes the client's command (`server[c].cmd`) and does all that follows each command:
/// statistics, slow log, MONITOR, propagation. This is the core of the execution of commands.
///
/// `flags` say what of this is wanted:
///
/// - `CMD_CALL_SLOWLOG`: add it to the slow log if it took long
/// - `CMD_CALL_STATS`: count it in the statistics of the command
/// - `CMD_CALL_PROPAGATE_AOF`, `CMD_CALL_PROPAGATE_REPL`: propagate it to the append only file, to
///   the replicas
///
/// The propagation depends on the client's flags as well, which the command may set with
/// `forceCommandPropagation` and `preventCommandPropagation`:
///
/// 1. A command that changed the data, or forces its propagation, is propagated, unless it prevents
///    that, or `flags` do not have the CMD_CALL_PROPAGATE_* for it: without that it never is.
/// 2. It is propagated as it was rewritten (`rewriteClientCommandVector`), or else as it was
///    received.
/// 3. What it scheduled with `alsoPropagate` follows, prevented or not; more than one command is
///    wrapped in MULTI and EXEC, unless they are in a transaction already.
pub fn call(server: &mut Server, c: ClientId, argv: &Args, flags: i32) {
    let client = &server.clients[c];
    let cmd = client.cmd.expect("a command is called after it was looked up");
    call_in_line::<false>(server, c, argv, (cmd, client.flags), flags, false);
}

/// The body of `call`, which `processCommand` has in line, since nearly all commands come by it.
/// `found` is the client's command and its flags; `for_client`: the command is what the client has
/// sent, and not a part of that. Returns true if nothing is left to be done behind such a command,
/// and the client was reset, too. `QUIET`: the server is quiet (`look_around`), and stays so, since
/// the command works on data.
///
/// What most commands need nothing of is in functions of its own: [`after_call`] says what.
#[inline(always)]
fn call_in_line<const QUIET: bool>(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    (real_cmd, client_old_flags): (CommandId, u64),
    mut flags: i32,
    for_client: bool,
) -> bool {
    const PROPAGATION: u64 = CLIENT_FORCE_AOF | CLIENT_FORCE_REPL | CLIENT_PREVENT_PROP;
    if client_old_flags & PROPAGATION != 0 {
        server.clients[c].flags &= !PROPAGATION;
    }
    // Calls may nest. What is scheduled already belongs to the outer one, and is put aside.
    let first_op = server.also_propagate.len();

    // Call the command. By how much `dirty` grows tells whether it changed the data.
    let dirty = server.dirty;
    server.prev_err_count = server.stat_total_error_replies;
    let call_timer = command_start_time(server);
    // Within a command, and within a transaction, the time against which keys expire stands still;
    // see `expire_clock` in db.rs.
    if server.fixed_time_expire == 0 {
        updateCachedTimeWithUs(server, false, call_timer);
    }
    server.fixed_time_expire += 1;
    server.in_nested_call += 1;
    let command = &server.commands[real_cmd];
    let (proc_, real_cmd_flags) = (command.proc_, command.flags);
    // What a command may change that works on more than data is looked at again: by those that run
    // within it, and by those behind it.
    let does_more = !QUIET && real_cmd_flags & CMD_WORKS_ON_DATA == 0;
    if does_more {
        server.quiet = Quiet::Unknown;
    }
    proc_(server, c, argv);
    if does_more {
        server.quiet = Quiet::Unknown;
    }
    server.in_nested_call -= 1;
    let now = server.tick_clock.now();
    server.command_clock = now;
    let duration = now - call_timer;
    // A save within the command may have reset the count.
    let dirty = (server.dirty - dirty).max(0);
    let propagated = dirty != 0 && changes_are_propagated(server);
    let watched = !QUIET && is_watched(server);
    let mut client = &mut server.clients[c];
    client.duration = duration;
    server.db[client.db].dict.repack_small();

    // The command that was executed. The client's may be another by now, if it was rewritten.
    let command = &mut server.commands[real_cmd];
    // prev_err_count moves with every nested call too: an error is counted for the command it
    // belongs to, not again for the EXEC around it.
    if server.stat_total_error_replies > server.prev_err_count {
        command.failed_calls += 1;
    }
    // What a script in the append only file called is not what this server was asked for.
    if !for_client && client.flags & CLIENT_LUA != 0 && server.loading {
        flags &= !(CMD_CALL_SLOWLOG | CMD_CALL_STATS);
    }
    // Statistics for INFO commandstats.
    if flags & CMD_CALL_STATS != 0 {
        command.microseconds += duration;
        command.calls += 1;
    }

    // What becomes of the command, apart from its reply. One that changed nothing, and was what was
    // asked for, has nothing to be sent on.
    const SAY_MORE: u64 =
        CLIENT_CLOSE_AFTER_COMMAND | CLIENT_FORCE_AOF | CLIENT_FORCE_REPL | CLIENT_BLOCKED;
    if client.flags & SAY_MORE != 0
        || client.argv.is_some()
        || client.original_argv.is_some()
        || watched
        || server.also_propagate.len() > first_op
        // With no sign, a threshold of -1 (no slow log) is more than any time; so is a time below 0,
        // of a clock that was set back, and of that `after_call` knows that it is not slow.
        || duration as u64 >= server.slowlog_log_slower_than as u64
        || propagated
    {
        after_call(server, c, (real_cmd, real_cmd_flags), argv, flags, duration, dirty, first_op);
        client = &mut server.clients[c];
    }
    // Restore the flags that the outer call had.
    client.flags = client.flags & !PROPAGATION | client_old_flags & PROPAGATION;
    let mut done = false;
    if for_client {
        client.woff = server.master_repl_offset;
        // What `commandProcessed` does for a client that neither waits nor is our master, while it
        // is at hand: nothing that follows here asks for its command.
        done = QUIET
            && client.flags & (CLIENT_BLOCKED | CLIENT_MASTER) == 0
            && server.ready_keys.is_empty();
        if done {
            reset_for_next_command(client, server.commands.clientCommand);
        }
    }

    if !QUIET {
        // A CLIENT PAUSE within a transaction takes effect when all of the transaction was
        // propagated.
        if server.client_pause_in_transaction && !server.in_exec {
            server.client_pause_in_transaction = false;
        }

        // A client that tracks keys is to be told when what the command has read changes.
        if server.tracking_clients != 0 && real_cmd_flags & CMD_READONLY != 0 {
            remember_keys_read(server, c, argv);
        }
    }

    server.fixed_time_expire -= 1;
    server.stat_numcommands += 1;
    server.prev_err_count = server.stat_total_error_replies;

    // Record the peak of memory here, before the next command evicts keys. If nothing was allocated
    // there is no new peak.
    if has_allocated_since(&mut server.stat_peak_mark) {
        let zmalloc_used = zmalloc_used_memory();
        if zmalloc_used > server.stat_peak_memory {
            server.stat_peak_memory = zmalloc_used;
        }
    }

    if !QUIET {
        afterCommand(server);
    }
    done
}

/// Looks at the state of the server: whether it is of no concern to commands that work on data,
/// which is what `Quiet::Yes` says. Then nothing may be against such a command but what is asked of
/// each anyway (its arguments, its client, the rules of its user), and nobody is to be told of
/// commands that change nothing. It notes as well whether the default user has such rules.
///
/// The C asks for all of this before and after each command. It is what others change than commands
/// that work on data: commands that do more than that, the cron, the link to a master, children. So
/// it is looked at once for all commands up to the next of these, each of which makes it unknown
/// again. What a thread in the background may change is not among it: with an append only file the
/// server is not quiet, since its fsync may fail at any time.
#[inline(never)]
fn look_around(server: &mut Server) -> bool {
    let quiet = !refuses_more_than_usual(server)
        && server.aof_state == AOF_OFF
        && !writes_may_be_denied(server)
        && !is_watched(server)
        && !server.client_pause_in_transaction
        && server.tracking_pending_keys.is_empty();
    server.default_user_is_free = may_do_everything(server, Some(DefaultUser));
    server.quiet = if quiet { Quiet::Yes } else { Quiet::No };
    quiet
}

/// Tells whether somebody or something is to hear of each command.
#[inline(always)]
fn is_watched(server: &Server) -> bool {
    listLength(&server.monitors) != 0
        || server.latency_monitor_threshold != 0
        || server.slowlog.len() > server.slowlog_max_len
}

/// Tells whether `propagate` has anything to do, if only to check, for a command that changed data.
#[inline(always)]
pub fn changes_are_propagated(server: &Server) -> bool {
    server.aof_state != AOF_OFF
        || server.repl_backlog
        || server.in_exec
        || server.client_pause_type != CLIENT_PAUSE_OFF
}

/// Does what follows some commands: the client is closed, a script is told that it is to be
/// propagated, there is an entry in the slow log or the latency monitor, and the command is sent on
/// (`send_on`). `cmd` is the command that `call` has executed, and its flags.
///
/// C: a part of `call`. Here it is apart because most commands need none of it.
#[inline(never)]
fn after_call(
    server: &mut Server,
    c: ClientId,
    (real_cmd, real_cmd_flags): (CommandId, u64),
    argv: &Args,
    flags: i32,
    duration: ustime_t,
    dirty: i64,
    first_op: usize,
) {
    // After the command has replied, honour the flag by which it asked to close its own client
    // (CLIENT KILL, ACL LOAD).
    let client = &mut server.clients[c];
    if client.flags & CLIENT_CLOSE_AFTER_COMMAND != 0 {
        client.flags &= !CLIENT_CLOSE_AFTER_COMMAND;
        client.flags |= CLIENT_CLOSE_AFTER_REPLY;
    }
    let blocked = client.flags & CLIENT_BLOCKED != 0;
    // A command that forces its propagation forces that of the script that called it.
    if client.flags & CLIENT_LUA != 0
        && let Some(caller) = server.lua_caller
    {
        let forced = client.flags & (CLIENT_FORCE_REPL | CLIENT_FORCE_AOF);
        server.clients[caller].flags |= forced;
    }

    // Record the latency and add it to the slow log. Not for a client that is blocked now: its
    // command is not over.
    if flags & CMD_CALL_SLOWLOG != 0 {
        if server.latency_monitor_threshold != 0 {
            let latency_event =
                if real_cmd_flags & CMD_FAST != 0 { "fast-command" } else { "command" };
            latencyAddSampleIfNeeded(server, latency_event, duration / 1000);
        }
        if !blocked && slowlog_would_push(server, duration) {
            slowlogPushCurrentCommand(server, c, real_cmd, argv, duration);
        }
    }

    let client = &mut server.clients[c];
    let sent_on = dirty != 0
        || client.flags & (CLIENT_FORCE_AOF | CLIENT_FORCE_REPL | CLIENT_BLOCKED) != 0
        || client.argv.is_some()
        || client.original_argv.is_some()
        || listLength(&server.monitors) != 0
        || server.also_propagate.len() > first_op;
    if sent_on {
        send_on(server, c, real_cmd, argv, flags, dirty, first_op);
    }
}

/// Remembers the keys that a command has read, if its client tracks keys, or that of the script
/// that called it.
#[cold]
fn remember_keys_read(server: &mut Server, c: ClientId, argv: &Args) {
    let from_script = server.clients[c].flags & CLIENT_LUA != 0;
    let caller = if from_script { server.lua_caller.unwrap_or(c) } else { c };
    let tracks = CLIENT_TRACKING | CLIENT_TRACKING_BCAST;
    if server.clients[caller].flags & tracks == CLIENT_TRACKING {
        let script = server.lua_caller_argv.take();
        match &script {
            Some(script) => trackingRememberKeys(server, caller, &script.as_args()),
            None => trackingRememberKeys(server, caller, argv),
        }
        server.lua_caller_argv = script;
    }
}

/// Sends the command that `call` has executed, in the role of `real_cmd`, to the clients in MONITOR,
/// to the append only file and to the replicas, as far as each is to have it. `dirty` says how many
/// changes it made, and `first_op` where in `also_propagate` begins what it scheduled.
///
/// C: a part of `call`. Here it is apart because most reads need none of it.
fn send_on(
    server: &mut Server,
    c: ClientId,
    real_cmd: CommandId,
    argv: &Args,
    flags: i32,
    dirty: i64,
    first_op: usize,
) {
    // Send it to clients in MONITOR, as it was received, except for administrative commands.
    if listLength(&server.monitors) != 0 {
        let cmd = server[c].cmd.unwrap_or(real_cmd);
        if server.commands[cmd].flags & (CMD_SKIP_MONITOR | CMD_ADMIN) == 0 {
            let db = server[c].db;
            match server[c].original_argv.take() {
                Some(original) => {
                    replicationFeedMonitors(server, c, db, &original.as_args());
                    server[c].original_argv = Some(original);
                }
                None => replicationFeedMonitors(server, c, db, argv),
            }
        }
    }
    let client = &mut server.clients[c];
    let blocked = client.flags & CLIENT_BLOCKED != 0;
    if !blocked {
        client.original_argv = None;
    }

    // Propagate the command.
    let rewritten = client.argv.take();
    if flags & CMD_CALL_PROPAGATE != 0 && client.flags & CLIENT_PREVENT_PROP != CLIENT_PREVENT_PROP
    {
        // What changed the data is propagated; what the command forces, whether it did or not.
        let mut propagate_flags = PROPAGATE_NONE;
        if dirty != 0 {
            propagate_flags |= PROPAGATE_AOF | PROPAGATE_REPL;
        }
        if client.flags & CLIENT_FORCE_REPL != 0 {
            propagate_flags |= PROPAGATE_REPL;
        }
        if client.flags & CLIENT_FORCE_AOF != 0 {
            propagate_flags |= PROPAGATE_AOF;
        }
        // Unless the command prevents it, or whoever called `call` did not ask for it.
        if client.flags & CLIENT_PREVENT_REPL_PROP != 0 || flags & CMD_CALL_PROPAGATE_REPL == 0 {
            propagate_flags &= !PROPAGATE_REPL;
        }
        if client.flags & CLIENT_PREVENT_AOF_PROP != 0 || flags & CMD_CALL_PROPAGATE_AOF == 0 {
            propagate_flags &= !PROPAGATE_AOF;
        }
        if propagate_flags != PROPAGATE_NONE {
            let cmd = client.cmd.unwrap_or(real_cmd);
            let dbid = client.db as i32;
            match &rewritten {
                Some(rewritten) => {
                    propagate(server, cmd, dbid, &rewritten.as_args(), propagate_flags)
                }
                None => propagate(server, cmd, dbid, argv, propagate_flags),
            }
        }
    }
    if blocked {
        let client = &mut server.clients[c];
        // It is entered into the slow log when the client is unblocked.
        client.argv = Some(rewritten.unwrap_or_else(|| argv.to_argv()));
    }

    // Propagate what the command has scheduled with `alsoPropagate`.
    if server.also_propagate.len() > first_op {
        let ops = server.also_propagate.split_off(first_op);
        if flags & CMD_CALL_PROPAGATE != 0 {
            // One command is atomic, and inside of MULTI all are.
            let multi_emitted = ops.len() > 1
                && server[c].flags & CLIENT_MULTI == 0
                && flags & CMD_CALL_NOWRAP == 0;
            if multi_emitted {
                execCommandPropagateMulti(server, server[c].db as i32);
            }
            for rop in &ops {
                // Whatever the command wishes, the flags of `call` are honoured.
                let mut target = rop.target;
                if flags & CMD_CALL_PROPAGATE_AOF == 0 {
                    target &= !PROPAGATE_AOF;
                }
                if flags & CMD_CALL_PROPAGATE_REPL == 0 {
                    target &= !PROPAGATE_REPL;
                }
                if target != PROPAGATE_NONE {
                    propagate(server, rop.cmd, rop.dbid, &rop.argv.as_args(), target);
                }
            }
            if multi_emitted {
                execCommandPropagateExec(server, server[c].db as i32);
            }
        }
    }
}

/// Rejects a command that is ready to be executed, with one of the shared errors. A transaction in
/// progress is flagged, so that its EXEC fails; if the command is EXEC itself, the transaction is
/// aborted.
pub fn rejectCommand(server: &mut Server, c: ClientId, argv: &Args, reply: Shared) {
    flagTransaction(server, c);
    if let Some(cmd) = server[c].cmd {
        server.commands[cmd].rejected_calls += 1;
    }
    if server[c].cmd == Some(server.commands.execCommand) {
        let resp = server[c].resp;
        execCommandAbort(server, c, argv, reply.bytes(resp));
    } else {
        addReplyErrorObject(server, c, reply);
    }
}

/// Rejects a command as `rejectCommand` does, with an error whose text was made with a format, as
/// for `addReplyError`. Line ends in it become spaces, since it may quote the client.
pub fn rejectCommandFormat(server: &mut Server, c: ClientId, argv: &Args, mut text: Vec<u8>) {
    if let Some(cmd) = server[c].cmd {
        server.commands[cmd].rejected_calls += 1;
    }
    flagTransaction(server, c);
    sdsmapchars(&mut text, b"\r\n", b"  ");
    if server[c].cmd == Some(server.commands.execCommand) {
        execCommandAbort(server, c, argv, &text);
    } else {
        addReplyError(server, c, &text);
    }
}

/// Tells whether the command may have keys at positions that the command table does not tell.
pub fn cmdHasMovableKeys(cmd: &redisCommand) -> bool {
    cmd.getkeys_proc.is_some()
}

/// Does what has to follow a command. A client hears of the keys that its own command has modified
/// behind the reply; within a transaction or a script, behind the reply of that.
#[inline]
pub fn afterCommand(server: &mut Server) {
    if server.in_nested_call == 0 && !server.tracking_pending_keys.is_empty() {
        trackingHandlePendingKeyInvalidations(server);
    }
}

/// Rejects a command that the user may not run, or not with these keys or channels, and logs that.
#[cold]
fn reject_denied_command(server: &mut Server, c: ClientId, argv: &Args, denied: Denied) {
    addACLLogEntry(server, c, denied, argv, None);
    let name = server[c].cmd.map_or("", |cmd| server.commands[cmd].name);
    let text = match denied.reason {
        ACL_DENIED_CMD => bformat!(
            "-NOPERM this user has no permissions to run the '{}' command or its subcommand",
            name
        ),
        ACL_DENIED_KEY => {
            b"-NOPERM this user has no permissions to access one of the keys used as arguments"
                .to_vec()
        }
        ACL_DENIED_CHANNEL => {
            b"-NOPERM this user has no permissions to access one of the channels used as arguments"
                .to_vec()
        }
        ACL_DENIED_AUTH => b"no permission".to_vec(),
    };
    rejectCommandFormat(server, c, argv, text);
}

/// Tells whether `refuse_command` may have something against a command, or something to do before
/// it. It asks for no more than whether there is a reason to look.
#[inline(always)]
fn may_be_refused(server: &Server, cmd: CommandId, cmd_flags: u64, client_flags: u64) -> bool {
    let writes = cmd_flags & (CMD_WRITE | CMD_MAY_REPLICATE) != 0;
    refuses_more_than_usual(server)
        || client_flags & REFUSED_MORE_THAN_OTHERS != 0
        || ((writes || cmd == server.commands.pingCommand) && writes_may_be_denied(server))
}

/// The flags of clients against whose commands there may be something.
const REFUSED_MORE_THAN_OTHERS: u64 = CLIENT_PUBSUB | CLIENT_SLAVE;

/// Tells whether there may be something against a command of any kind and client.
#[inline(always)]
fn refuses_more_than_usual(server: &Server) -> bool {
    server.maxmemory != 0
        || server.masterhost.is_some()
        || server.loading
        || server.lua_timedout
        || server.client_pause_type != CLIENT_PAUSE_OFF
        || server.tracking_clients != 0
}

/// Tells whether there may be problems to persist writes, or too few replicas for them.
#[inline(always)]
fn writes_may_be_denied(server: &Server) -> bool {
    server.lastbgsave_status == CStatus::Err
        || (server.aof_state != AOF_OFF
            && (server.aof_last_write_status == CStatus::Err
                || server.bio.aof_bio_fsync_errno() != 0))
        || server.repl_min_slaves_to_write != 0
}

/// Checks whether the state of the server or of the client stands against a command, and if so
/// rejects it, or puts it off. `Some`: what `processCommand` is to return. `None`: the command is
/// to be executed, or queued.
///
/// C: a part of `processCommand`. Here it is apart, for the sake of the commands that need none of
/// it; its checks are in the C's order.
#[inline(never)]
fn refuse_command(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    cmd: CommandId,
    client_flags: u64,
) -> Option<CResult> {
    // What kind of command it is. An EXEC is of each kind that one of its commands is of.
    let commands = &server.commands;
    let (command, client) = (&commands[cmd], &server.clients[c]);
    let is_exec = cmd == commands.execCommand;
    let (mut cmd_flags, mut cmd_inv_flags) = (command.flags, !command.flags);
    if is_exec {
        cmd_flags |= client.mstate.cmd_flags;
        cmd_inv_flags |= client.mstate.cmd_inv_flags;
    }
    let is_read_command = cmd_flags & CMD_READONLY != 0;
    let is_write_command = cmd_flags & CMD_WRITE != 0;
    let is_denyoom_command = cmd_flags & CMD_DENYOOM != 0;
    let is_denystale_command = cmd_inv_flags & CMD_STALE != 0;
    let is_denyloading_command = cmd_inv_flags & CMD_LOADING != 0;
    let is_may_replicate_command = cmd_flags & (CMD_WRITE | CMD_MAY_REPLICATE) != 0;

    // maxmemory. Not from within a script: the DELs of evicted keys would mix with what it
    // propagates.
    if server.maxmemory != 0 && !server.lua_timedout {
        let evicted = server.stat_evictedkeys;
        let out_of_memory = performEvictions(server) == EVICT_FAIL;
        if server.stat_evictedkeys != evicted {
            // The time that took is not this command's.
            server.command_clock = 0;
        }
        // What is sent later than this would seem to be about what the command reads now.
        trackingHandlePendingKeyInvalidations(server);
        // Replicas' output may have been flushed, and one of them freed: perhaps this client.
        if server.current_client.is_none() {
            return Some(C_ERR);
        }

        // Queueing takes memory as well. But a transaction can always be ended, unless it has a
        // refused command itself.
        let in_multi = server[c].flags & CLIENT_MULTI != 0;
        let commands = &server.commands;
        let ends_multi = is_exec || cmd == commands.discardCommand || cmd == commands.resetCommand;
        let reject_cmd_on_oom = is_denyoom_command || (in_multi && !ends_multi);
        if out_of_memory && reject_cmd_on_oom {
            rejectCommand(server, c, argv, shared::oomerr);
            return Some(C_OK);
        }
        // What a script itself takes is not to be held against its first write.
        if cmd == server.commands.evalCommand || cmd == server.commands.evalShaCommand {
            server.lua_oom = out_of_memory;
        }
        if is_denyoom_command {
            let dbid = server[c].db;
            update_dict_expand_allowed(server, dbid);
        }
    }

    // Keep the memory that client side caching takes within its limit.
    if server.tracking_clients > 0 {
        trackingLimitUsedSlots(server);
    }

    // Reject writes on a master if there are problems to persist them on the disk. PING as well:
    // who asks whether all is well with the server shall hear that it is not.
    let is_master = server.masterhost.is_none();
    if is_master && (is_write_command || cmd == server.commands.pingCommand) {
        match writeCommandsDeniedByDiskError(server) {
            DISK_ERROR_TYPE_NONE => {}
            DISK_ERROR_TYPE_RDB => {
                rejectCommand(server, c, argv, shared::bgsaveerr);
                return Some(C_OK);
            }
            _ => {
                let text = bformat!(
                    "-MISCONF Errors writing to the AOF file: {}",
                    strerror(server.aof_last_write_errno)
                );
                rejectCommandFormat(server, c, argv, text);
                return Some(C_OK);
            }
        }
    }

    // Reject writes on a master with too few good replicas, if a minimum is configured.
    if is_master
        && server.repl_min_slaves_to_write != 0
        && server.repl_min_slaves_max_lag != 0
        && is_write_command
        && server.repl_good_slaves_count < server.repl_min_slaves_to_write
    {
        rejectCommand(server, c, argv, shared::noreplicaserr);
        return Some(C_OK);
    }

    // Reject writes on a read-only replica, except for those of its master.
    if !is_master && server.repl_slave_ro && client_flags & CLIENT_MASTER == 0 && is_write_command {
        rejectCommand(server, c, argv, shared::roslaveerr);
        return Some(C_OK);
    }

    // In the context of Pub/Sub only a few commands are allowed with RESP2, since the client could
    // not tell their replies from messages.
    if client_flags & CLIENT_PUBSUB != 0 && server[c].resp == 2 {
        let commands = &server.commands;
        let allowed = [
            commands.pingCommand,
            commands.subscribeCommand,
            commands.unsubscribeCommand,
            commands.psubscribeCommand,
            commands.punsubscribeCommand,
            commands.resetCommand,
        ];
        if !allowed.contains(&cmd) {
            let text = bformat!(
                "Can't execute '{}': only (P)SUBSCRIBE / (P)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
                commands[cmd].name
            );
            rejectCommandFormat(server, c, argv, text);
            return Some(C_OK);
        }
    }

    // With `replica-serve-stale-data no`, a replica whose link is down only accepts commands
    // flagged `ok-stale`.
    if !is_master
        && server.repl_state != REPL_STATE_CONNECTED
        && !server.repl_serve_stale_data
        && is_denystale_command
    {
        rejectCommand(server, c, argv, shared::masterdownerr);
        return Some(C_OK);
    }

    // While the data set is loading, half of it is there. Only commands flagged `ok-loading` are
    // accepted, such as INFO.
    if server.loading && is_denyloading_command {
        rejectCommand(server, c, argv, shared::loadingerr);
        return Some(C_OK);
    }

    // A script is slow. What is let through ends it, or concerns the connection, or is part of a
    // transaction. A client that sends a transaction in one go, and looks at no errors, would
    // otherwise have its MULTI and a few commands refused, and the script ends, and the rest of the
    // transaction is executed as single commands.
    if server.lua_timedout {
        let commands = &server.commands;
        let harmless = [
            commands.authCommand,
            commands.helloCommand,
            commands.replconfCommand,
            commands.multiCommand,
            commands.discardCommand,
            commands.watchCommand,
            commands.unwatchCommand,
            commands.resetCommand,
        ];
        let begins_with = |letter: u8| {
            argv.len() == 2 && argv[1].first().is_some_and(|b| b.to_ascii_lowercase() == letter)
        };
        let nosave = cmd == commands.shutdownCommand && begins_with(b'n');
        let kill = cmd == commands.scriptCommand && begins_with(b'k');
        if !harmless.contains(&cmd) && !nosave && !kill {
            rejectCommand(server, c, argv, shared::slowscripterr);
            return Some(C_OK);
        }
    }

    // Reject commands of replicas that touch keys. It would be an error at any time, and during a
    // pause, from which replicas are exempt, it would change data.
    if client_flags & CLIENT_SLAVE != 0
        && (is_may_replicate_command || is_write_command || is_read_command)
    {
        rejectCommandFormat(server, c, argv, b"Replica can't interract with the keyspace".to_vec());
        return Some(C_OK);
    }

    // While clients are paused, block the client until the pause ends, unless it is a replica.
    if client_flags & CLIENT_SLAVE == 0
        && (server.client_pause_type == CLIENT_PAUSE_ALL
            || (server.client_pause_type == CLIENT_PAUSE_WRITE && is_may_replicate_command))
    {
        let client = &mut server[c];
        client.bpop.timeout = 0;
        client.argv = Some(argv.to_argv());
        blockClient(server, c, BLOCKED_PAUSE);
        return Some(C_OK);
    }
    None
}

/// Processes a command that was received whole: executes it, queues it in a transaction, or rejects
/// it.
///
/// `C_ERR`: the client is gone or about to go (QUIT, the link to our master), and the caller reads
/// no more of its commands. A command that was rejected got its reply, and is no reason to stop.
/// `Ok(true)`: the client was reset, too.
#[inline(always)]
pub fn processCommand(server: &mut Server, c: ClientId, argv: &Args) -> Result<bool, ()> {
    // EXEC and EVAL execute by `call`. So nobody is here from within one, but clients that a slow
    // script lets be served.
    debug_assert!(
        server.lua_timedout
            || !(server.propagate_in_transaction || server.in_exec || server.in_eval)
    );

    // Look the command up, unless the look-ahead has done that.
    let client = &mut server.clients[c];
    let found = argv.cmd();
    let (cmd, mut client_flags, user, authenticated) = match found {
        Some(cmd) if client.flags & CLIENT_MASTER == 0 => {
            client.cmd = found;
            client.lastcmd = found;
            (cmd, client.flags, client.user, client.authenticated)
        }
        _ => {
            let cmd = match look_up(server, c, argv) {
                Ok(cmd) => cmd,
                Err(result) => return result.map(|()| false),
            };
            let client = &server.clients[c];
            (cmd, client.flags, client.user, client.authenticated)
        }
    };
    // What the state of the server means to the command, if that is known, or else looked at now.
    let quiet = match server.quiet {
        Quiet::Unknown => look_around(server),
        known => known == Quiet::Yes,
    };
    // Check the number of its arguments.
    let command = &server.commands[cmd];
    let argc = argv.len() as i64;
    let arity = i64::from(command.arity);
    if arity != argc && (arity > 0 || argc < -arity) {
        let text = bformat!("wrong number of arguments for '{}' command", command.name);
        rejectCommandFormat(server, c, argv, text);
        return Ok(false);
    }

    // A client that is not authenticated may only run commands flagged `no-auth`, such as AUTH and
    // HELLO.
    if !authenticated && command.flags & CMD_NO_AUTH == 0 && authRequired(server, c) {
        rejectCommand(server, c, argv, shared::noautherr);
        return Ok(false);
    }

    // Reject what the user may not do. Mostly it is the default user, who may do everything.
    let cmd_flags = command.flags;
    if !(user == Some(DefaultUser) && server.default_user_is_free)
        && let Err(denied) = check_user_perm(server, user, cmd, argv)
    {
        reject_denied_command(server, c, argv, denied);
        return Ok(false);
    }

    // The checks whose reasons are rare stand in a function of their own, which is called if there
    // is such a reason: most commands pass by on a few words of the server and the client. While all
    // is quiet there is none, not even against an EXEC, which is of more than one kind.
    let is_exec = cmd == server.commands.execCommand;
    if (!quiet || client_flags & REFUSED_MORE_THAN_OTHERS != 0)
        && (may_be_refused(server, cmd, cmd_flags, client_flags) || is_exec)
    {
        if let Some(result) = refuse_command(server, c, argv, cmd, client_flags) {
            return result.map(|()| false);
        }
        client_flags = server.clients[c].flags;
    }

    // Execute it, or queue it. What is not queued ends the transaction, or is an error within one
    // (MULTI, WATCH).
    let commands = &server.commands;
    if client_flags & CLIENT_MULTI != 0
        && !is_exec
        && cmd != commands.discardCommand
        && cmd != commands.multiCommand
        && cmd != commands.watchCommand
        && cmd != commands.resetCommand
    {
        queueMultiCommand(server, c, argv);
        addReply(server, c, shared::queued);
        return Ok(false);
    }
    let found = (cmd, client_flags);
    let done = if quiet && cmd_flags & CMD_WORKS_ON_DATA != 0 {
        call_in_line::<true>(server, c, argv, found, CMD_CALL_FULL, true)
    } else {
        call_in_line::<false>(server, c, argv, found, CMD_CALL_FULL, true)
    };
    // It may have written what blocked clients wait for. They are served before the next command can
    // take it away.
    if !done && !server.ready_keys.is_empty() {
        handleClientsBlockedOnKeys(server);
    }
    Ok(done)
}

/// Looks a command up, and notes it in the client. `Err`: there is none to execute, and this is
/// what `processCommand` is to return.
#[inline(never)]
fn look_up(server: &mut Server, c: ClientId, argv: &Args) -> Result<CommandId, CResult> {
    // What our master may send is not what a client may send, and a newer master sends more than we
    // know.
    if server.clients[c].flags & CLIENT_MASTER != 0 {
        if let Some(processed) = process_newer_command(server, c, argv) {
            return Err(processed);
        }
        match command_from_master(server, c, argv) {
            FromMaster::Execute => {}
            FromMaster::Ignore => return Err(C_OK),
            FromMaster::HangUp => return Err(C_ERR),
        }
    }
    let found = match argv.cmd() {
        Some(cmd) => Some(cmd),
        None => {
            // QUIT is handled apart from the other commands, so that none of the checks of
            // `processCommand` can reject it.
            let name = argv.get(0);
            if name.len() == 4 && eq_ignore_case(name, b"quit") {
                addReply(server, c, shared::ok);
                server[c].flags |= CLIENT_CLOSE_AFTER_REPLY;
                return Err(C_ERR);
            }
            server.commands.lookup(name)
        }
    };
    let client = &mut server.clients[c];
    client.cmd = found;
    client.lastcmd = found;
    found.ok_or_else(|| {
        reject_unknown_command(server, c, argv);
        C_OK
    })
}

/// Rejects a command that there is not.
#[cold]
fn reject_unknown_command(server: &mut Server, c: ClientId, argv: &Args) {
    let mut args = Vec::new();
    for arg in argv.iter().skip(1) {
        if args.len() >= 128 {
            break;
        }
        let arg = c_str(arg);
        let shown = &arg[..arg.len().min(128 - args.len())];
        sdscatprintf!(args, "`{}`, ", B(shown));
    }
    let text = bformat!(
        "unknown command `{}`, with args beginning with: {}",
        B(c_str(argv.get(0))),
        B(&args)
    );
    rejectCommandFormat(server, c, argv, text);
}

// ====================== Error lookup and execution =====================

/// Counts an error reply under its code, for INFO errorstats.
pub fn incrementErrorCount(server: &mut Server, fullerr: &[u8]) {
    match server.errors.get_mut(fullerr) {
        Some(count) => *count += 1,
        None => {
            server.errors.insert(fullerr.to_vec(), 1);
        }
    }
}

// ================================== Shutdown ===============================

/// Closes the listening sockets, and removes the file of the unix socket if `unlink_unix_socket`.
/// The event loop is not told. For a process that is about to end.
pub fn closeListeningSockets(server: &mut Server, unlink_unix_socket: bool) {
    for &fd in server.ipfd.iter().chain(&server.sofd) {
        server.net.el.forget_fd(fd);
        close(fd);
    }
    if unlink_unix_socket && let Some(path) = &server.unixsocket {
        serverLog!(LL_NOTICE, "Removing the unix socket file.");
        let _ = unlink(path);
    }
}

/// Prepares the end of the process: saves, if that is configured or asked for (`SHUTDOWN_*`), and
/// cleans up. `C_ERR`: the data could not be saved, and the server goes on.
pub fn prepareForShutdown(server: &mut Server, mut flags: i32) -> CResult {
    // While the data set is loading, half of it is in memory. A save now would overwrite the whole
    // one.
    if server.loading {
        flags = flags & !SHUTDOWN_SAVE | SHUTDOWN_NOSAVE;
    }
    let save = flags & SHUTDOWN_SAVE != 0;
    let nosave = flags & SHUTDOWN_NOSAVE != 0;

    serverLog!(LL_WARNING, "User requested shutdown...");
    if server.supervised_mode == SUPERVISED_SYSTEMD {
        redisCommunicateSystemd(b"STOPPING=1\n");
    }

    // Nobody would read what debugging sessions say any more, and their copies of the data are for
    // themselves.
    ldbKillForkedSessions(server);

    // Kill a child that saves: it could overwrite the newer RDB that we save now.
    if server.child_type == CHILD_TYPE_RDB {
        serverLog!(LL_WARNING, "There is a child saving an .rdb. Killing it!");
        killRDBChild(server);
        // Nobody will see its end any more, so its file is ours to remove.
        rdbRemoveTempFile(server.child_pid, false);
    }

    if server.aof_state != AOF_OFF {
        // The file that we have is longer than that of the child, and as good.
        if server.child_type == CHILD_TYPE_AOF {
            // Unless there is none yet: then all would be lost.
            if server.aof_state == AOF_WAIT_REWRITE {
                serverLog!(LL_WARNING, "Writing initial AOF, can't exit.");
                return C_ERR;
            }
            serverLog!(LL_WARNING, "There is a child rewriting the AOF. Killing it!");
            killAppendOnlyChild(server);
        }
        // Write what is in the buffer, whatever `appendfsync` says, and have it on the disk before
        // the process ends.
        serverLog!(LL_NOTICE, "Calling fsync() on the AOF file.");
        flushAppendOnlyFile(server, true);
        if let Some(fd) = server.aof_fd
            && let Err(e) = redis_fsync(fd)
        {
            serverLog!(LL_WARNING, "Fail to fsync the AOF file: {}.", error_text(&e));
        }
    }

    // Save in the foreground: nobody is served any more who could be kept waiting.
    if (!server.saveparams.is_empty() && !nosave) || save {
        serverLog!(LL_NOTICE, "Saving the final RDB snapshot before exiting.");
        if server.supervised_mode == SUPERVISED_SYSTEMD {
            redisCommunicateSystemd(b"STATUS=Saving the final RDB snapshot\n");
        }
        let rsi = rdbPopulateSaveInfo(server);
        let filename = server.rdb_filename.clone();
        if rdbSave(server, &filename, rsi.as_ref()).is_err() {
            // An exit would lose the data; staying alive keeps it. If a child was killed, the next
            // cron sees to who waited for it.
            serverLog!(LL_WARNING, "Error trying to save the DB, can't exit.");
            if server.supervised_mode == SUPERVISED_SYSTEMD {
                redisCommunicateSystemd(b"STATUS=Error trying to save the DB, can't exit.\n");
            }
            return C_ERR;
        }
    }

    if let Some(pidfile) = &server.pidfile {
        serverLog!(LL_NOTICE, "Removing the pid file.");
        let _ = unlink(pidfile);
    }

    // C: what a master was sending stays behind.
    if let Some(tmpfile) = &server.repl_transfer_tmpfile {
        let _ = unlink(tmpfile);
    }

    // Send replicas what they have not been sent: those that have it all can go on by a partial
    // resync when we are back.
    wait_for_replicas_at_shutdown(server);

    // Close the listening sockets, so that a server that is started next can bind at once.
    closeListeningSockets(server, true);
    serverLog!(LL_WARNING, "Redis is now ready to exit, bye bye...");
    trace!(server, "shutdown", "offset": server.master_repl_offset);
    C_OK
}

/// Sends the replicas what they have not been sent, and waits until their machines have it, but for
/// `shutdown-timeout` seconds at most. Nothing else happens meanwhile.
///
/// With what is on the way when the socket is closed it is a matter of luck: an acknowledgement
/// that comes then breaks the connection, and the rest of the stream is lost.
// C: sends what can be sent without waiting.
fn wait_for_replicas_at_shutdown(server: &mut Server) {
    let end = steady_ms() + i64::from(server.shutdown_timeout) * 1000;
    let mut logged = false;
    loop {
        flushSlavesOutputBuffers(server);
        let lagging: Vec<ClientId> =
            server.slaves.iter().copied().filter(|&slave| lags(server, slave)).collect();
        if lagging.is_empty() {
            return;
        }
        if steady_ms() >= end {
            for slave in lagging {
                serverLog!(
                    LL_WARNING,
                    "Replica {} has not taken all of the stream, and will need a full resync",
                    B(&replicationGetSlaveName(server, slave))
                );
            }
            return;
        }
        if !logged {
            serverLog!(LL_NOTICE, "Waiting for replicas before shutting down.");
            logged = true;
        }
        usleep(1000);
    }
}

/// Tells whether a part of the stream has not arrived yet at the machine of a replica that is
/// online.
fn lags(server: &Server, slave: ClientId) -> bool {
    let client = &server[slave];
    let Some(conn) = client.conn else { return false };
    client.replstate == SLAVE_STATE_ONLINE
        && !client.repl_put_online_on_ack
        && client.flags & CLIENT_CLOSE_ASAP == 0
        && (has_pending_output(&server.clients, slave)
            || unsent_bytes(conn_fd(&server.net, conn)).is_ok_and(|bytes| bytes > 0))
}

// ================================== Commands ===============================

/// Disk error type: none, writes are accepted.
pub const DISK_ERROR_TYPE_NONE: i32 = 0;
/// Disk error type: the append only file can't be written.
pub const DISK_ERROR_TYPE_AOF: i32 = 1;
/// Disk error type: the last BGSAVE failed.
pub const DISK_ERROR_TYPE_RDB: i32 = 2;

/// Returns whether writes have to be rejected because of a problem with persistence, and of which
/// kind (`DISK_ERROR_TYPE_*`). For the append only file, `server.aof_last_write_errno` has the
/// reason.
///
/// A server that can't save could go on in memory alone, and nobody would notice before a restart
/// has lost everything. Errors are noticed at once.
#[inline]
pub fn writeCommandsDeniedByDiskError(server: &mut Server) -> i32 {
    if server.stop_writes_on_bgsave_err
        && !server.saveparams.is_empty()
        && server.lastbgsave_status == CStatus::Err
    {
        return DISK_ERROR_TYPE_RDB;
    }
    if server.aof_state != AOF_OFF {
        if server.aof_last_write_status == CStatus::Err {
            return DISK_ERROR_TYPE_AOF;
        }
        let aof_bio_fsync_errno = server.bio.aof_bio_fsync_errno();
        if aof_bio_fsync_errno != 0 {
            server.aof_last_write_errno = aof_bio_fsync_errno;
            return DISK_ERROR_TYPE_AOF;
        }
    }
    DISK_ERROR_TYPE_NONE
}

/// PING [message]: replies with PONG, or with the message.
pub fn pingCommand(server: &mut Server, c: ClientId, argv: &Args) {
    if argv.len() > 2 {
        let name = server[c].cmd.map_or("ping", |cmd| server.commands[cmd].name);
        addReplyErrorFormat!(server, c, "wrong number of arguments for '{}' command", name);
        return;
    }
    // In the context of Pub/Sub the reply with RESP2 has the form of a message.
    if server[c].flags & CLIENT_PUBSUB != 0 && server[c].resp == 2 {
        addReplyArrayLen(server, c, 2);
        addReplyBulkCBuffer(server, c, b"pong");
        addReplyBulkCBuffer(server, c, if argv.len() == 1 { b"" } else { &argv[1] });
    } else if argv.len() == 1 {
        addReply(server, c, shared::pong);
    } else {
        addReplyBulkCBuffer(server, c, &argv[1]);
    }
}

/// ECHO message: replies with the message.
pub fn echoCommand(server: &mut Server, c: ClientId, argv: &Args) {
    addReplyBulkCBuffer(server, c, &argv[1]);
}

/// TIME: replies with the Unix time, as an array of seconds and microseconds.
pub fn timeCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    let now = ustime();
    addReplyArrayLen(server, c, 2);
    addReplyBulkLongLong(server, c, now / 1_000_000);
    addReplyBulkLongLong(server, c, now % 1_000_000);
}

/// Adds the description of a command to the reply of COMMAND; a null if there is none.
pub fn addReplyCommand(server: &mut Server, c: ClientId, cmd: Option<CommandId>) {
    let Some(cmd) = cmd else {
        addReplyNull(server, c);
        return;
    };
    const FLAGS: [(u64, &[u8]); 16] = [
        (CMD_WRITE, b"write"),
        (CMD_READONLY, b"readonly"),
        (CMD_DENYOOM, b"denyoom"),
        (CMD_ADMIN, b"admin"),
        (CMD_PUBSUB, b"pubsub"),
        (CMD_NOSCRIPT, b"noscript"),
        (CMD_RANDOM, b"random"),
        (CMD_SORT_FOR_SCRIPT, b"sort_for_script"),
        (CMD_LOADING, b"loading"),
        (CMD_STALE, b"stale"),
        (CMD_SKIP_MONITOR, b"skip_monitor"),
        (CMD_SKIP_SLOWLOG, b"skip_slowlog"),
        (CMD_ASKING, b"asking"),
        (CMD_FAST, b"fast"),
        (CMD_NO_AUTH, b"no_auth"),
        (CMD_MAY_REPLICATE, b"may_replicate"),
    ];
    let (cmd, cl) = (&server.commands[cmd], &mut server.clients);
    // Name, arity, flags, first key, last key, step, categories.
    addReplyArrayLen(cl, c, 7);
    addReplyBulkCBuffer(cl, c, cmd.name.as_bytes());
    addReplyLongLong(cl, c, i64::from(cmd.arity));
    let movablekeys = cmdHasMovableKeys(cmd);
    let flags = || FLAGS.iter().filter(|(flag, _)| cmd.flags & flag != 0);
    addReplySetLen(cl, c, flags().count() + usize::from(movablekeys));
    for (_, name) in flags() {
        addReplyStatus(cl, c, name);
    }
    if movablekeys {
        addReplyStatus(cl, c, b"movablekeys");
    }
    addReplyLongLong(cl, c, i64::from(cmd.firstkey));
    addReplyLongLong(cl, c, i64::from(cmd.lastkey));
    addReplyLongLong(cl, c, i64::from(cmd.keystep));
    addReplyCommandCategories(cl, c, cmd);
}

/// COMMAND [COUNT | GETKEYS command.. | INFO [name..] | HELP]: describes the commands of this
/// server.
pub fn commandCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let is = |name: &str| eq_ignore_case(&argv[1], name.as_bytes());
    if argv.len() == 2 && is("help") {
        let help = [
            "(no subcommand)",
            "    Return details about all Redis commands.",
            "COUNT",
            "    Return the total number of commands in this Redis server.",
            "GETKEYS <full-command>",
            "    Return the keys from a full Redis command.",
            "INFO [<command-name> ...]",
            "    Return details about multiple Redis commands.",
        ];
        addReplyHelp(server, c, argv, &help);
    } else if argv.len() == 1 {
        let ids: Vec<CommandId> = server.commands.iter().map(|cmd| cmd.id).collect();
        addReplyArrayLen(server, c, ids.len());
        for id in ids {
            addReplyCommand(server, c, Some(id));
        }
    } else if is("info") {
        addReplyArrayLen(server, c, argv.len() - 2);
        for name in argv.iter().skip(2) {
            let cmd = lookupCommand(server, name);
            addReplyCommand(server, c, cmd);
        }
    } else if is("count") && argv.len() == 2 {
        let count = server.commands.len();
        addReplyLongLong(server, c, count as i64);
    } else if is("getkeys") && argv.len() >= 3 {
        let Some(cmd) = lookupCommand(server, &argv[2]) else {
            addReplyError(server, c, b"Invalid command specified");
            return;
        };
        let cmd = server.commands[cmd].clone();
        let argc = argv.len() as i64 - 2;
        let arity = i64::from(cmd.arity);
        if cmd.getkeys_proc.is_none() && cmd.firstkey == 0 {
            addReplyError(server, c, b"The command has no key arguments");
            return;
        }
        if (arity > 0 && arity != argc) || argc < -arity {
            addReplyError(server, c, b"Invalid number of arguments specified for command");
            return;
        }
        let full_command: Argv = argv.iter().skip(2).collect();
        let mut result = Vec::new();
        if getKeysFromCommand(&cmd, &full_command.as_args(), &mut result) == 0 {
            addReplyError(server, c, b"Invalid arguments specified for command");
            return;
        }
        addReplyArrayLen(server, c, result.len());
        for key in result {
            addReplyBulkCBuffer(server, c, &full_command[key]);
        }
    } else {
        addReplySubcommandSyntaxError(server, c, argv);
    }
}

/// Formats a number of bytes for people: `100B`, `4.00K`, `1.50G`.
pub fn bytesToHuman(n: u64) -> Vec<u8> {
    const UNITS: [char; 5] = ['K', 'M', 'G', 'T', 'P'];
    if n < 1024 {
        return bformat!("{}B", n);
    }
    for (i, unit) in UNITS.into_iter().enumerate() {
        let size = 1u64 << (10 * (i + 1));
        if n / 1024 < size {
            return bformat!("{:.2}{}", n as f64 / size as f64, unit);
        }
    }
    bformat!("{}B", n)
}

/// Returns `s` with the characters that have a meaning in INFO replaced by underscores.
pub fn getSafeInfoString(s: &[u8]) -> Vec<u8> {
    let mut safe = s.to_vec();
    memmapchars(&mut safe, b"#:\n\r", b"____");
    safe
}

/// The commit of the sources, for INFO and `--version`: there is no repository to ask at run time.
const GIT_SHA1: &str = "00000000";
/// 1 if the sources differed from that commit.
const GIT_DIRTY: i32 = 0;

/// Returns a number that differs between builds of different versions (`release.c`).
fn redisBuildId() -> u64 {
    let id = ["fidelis", FIDELIS_VERSION, REDIS_VERSION, GIT_SHA1].concat();
    crate::crc64::crc64(0, id.as_bytes())
}

/// Returns the text of INFO: one section, or several (`default`, `all`, `everything`). An unknown
/// section is empty.
pub fn genRedisInfoString(server: &mut Server, section: &[u8]) -> Vec<u8> {
    let mut info = Vec::new();
    let uptime = server.unixtime - server.stat_starttime;
    let is = |name: &str| eq_ignore_case(section, name.as_bytes());
    let everything = is("everything");
    let allsections = is("all") || everything;
    let defsections = is("default");
    let mut sections = 0;
    // Whether a section is wanted; an empty line stands before every one but the first.
    let mut wanted = |info: &mut Vec<u8>, name: &str, default: bool| {
        let wanted = allsections || (defsections && default) || is(name);
        if wanted {
            if sections > 0 {
                info.extend_from_slice(b"\r\n");
            }
            sections += 1;
        }
        wanted
    };

    if wanted(&mut info, "server", true) {
        let supervised = match server.supervised_mode {
            _ if !server.supervised => "no",
            SUPERVISED_UPSTART => "upstart",
            SUPERVISED_SYSTEMD => "systemd",
            _ => "unknown",
        };
        sdscatprintf!(
            info,
            "# Server\r\n\
             redis_version:{}\r\n\
             redis_git_sha1:{}\r\n\
             redis_git_dirty:{}\r\n\
             redis_build_id:{:x}\r\n\
             redis_mode:standalone\r\n\
             os:{}\r\n\
             arch_bits:{}\r\n\
             monotonic_clock:{}\r\n\
             multiplexing_api:{}\r\n\
             atomicvar_api:atomic-builtin\r\n\
             gcc_version:0.0.0\r\n\
             process_id:{}\r\n\
             process_supervised:{}\r\n\
             run_id:{}\r\n\
             tcp_port:{}\r\n\
             server_time_usec:{}\r\n\
             uptime_in_seconds:{}\r\n\
             uptime_in_days:{}\r\n\
             hz:{}\r\n\
             configured_hz:{}\r\n\
             lru_clock:{}\r\n\
             executable:{}\r\n\
             config_file:{}\r\n\
             io_threads_active:0\r\n\
             fidelis_version:{}\r\n",
            REDIS_VERSION,
            GIT_SHA1,
            GIT_DIRTY,
            redisBuildId(),
            B(&server.os_name),
            server.arch_bits,
            monotonicInfoString(),
            aeGetApiName(),
            getpid(),
            supervised,
            B(&server.runid),
            server.port,
            server.ustime,
            uptime,
            uptime / (3600 * 24),
            server.hz,
            server.config_hz,
            server.lruclock,
            B(server.executable.as_deref().unwrap_or_default()),
            B(server.configfile.as_deref().unwrap_or_default()),
            FIDELIS_VERSION,
        );
    }

    if wanted(&mut info, "clients", true) {
        let (maxin, maxout) = getExpansiveClientsInfo(server);
        sdscatprintf!(
            info,
            "# Clients\r\n\
             connected_clients:{}\r\n\
             cluster_connections:0\r\n\
             maxclients:{}\r\n\
             client_recent_max_input_buffer:{}\r\n\
             client_recent_max_output_buffer:{}\r\n\
             blocked_clients:{}\r\n\
             tracking_clients:{}\r\n\
             clients_in_timeout_table:{}\r\n",
            listLength(&server.clients.list) - listLength(&server.slaves),
            server.maxclients,
            maxin,
            maxout,
            server.blocked_clients,
            server.tracking_clients,
            server.clients_timeout_table.len(),
        );
    }

    if wanted(&mut info, "memory", true) {
        // The cron samples the peak; it must not look smaller than what is used now.
        let zmalloc_used = zmalloc_used_memory();
        if zmalloc_used > server.stat_peak_memory {
            server.stat_peak_memory = zmalloc_used;
        }
        sample_memory_stats(server);
        let mh = getMemoryOverheadData(server);
        let human = |n: usize| bytesToHuman(n as u64);
        let stats = &server.cron_malloc_stats;
        // While a script runs, as it was when it was last looked at.
        let lua = server.lua.as_ref().map_or(server.lua_used, |lua| fidelis_lua::lua_gccount(lua))
            >> 10
            << 10;
        sdscatprintf!(
            info,
            "# Memory\r\n\
             used_memory:{}\r\n\
             used_memory_human:{}\r\n\
             used_memory_rss:{}\r\n\
             used_memory_rss_human:{}\r\n\
             used_memory_peak:{}\r\n\
             used_memory_peak_human:{}\r\n\
             used_memory_peak_perc:{:.2}%\r\n\
             used_memory_overhead:{}\r\n\
             used_memory_startup:{}\r\n\
             used_memory_dataset:{}\r\n\
             used_memory_dataset_perc:{:.2}%\r\n\
             allocator_allocated:{}\r\n\
             allocator_active:{}\r\n\
             allocator_resident:{}\r\n\
             total_system_memory:{}\r\n\
             total_system_memory_human:{}\r\n\
             used_memory_lua:{}\r\n\
             used_memory_lua_human:{}\r\n\
             used_memory_scripts:{}\r\n\
             used_memory_scripts_human:{}\r\n\
             number_of_cached_scripts:{}\r\n\
             maxmemory:{}\r\n\
             maxmemory_human:{}\r\n\
             maxmemory_policy:{}\r\n\
             allocator_frag_ratio:{:.2}\r\n\
             allocator_frag_bytes:{}\r\n\
             allocator_rss_ratio:{:.2}\r\n\
             allocator_rss_bytes:{}\r\n\
             rss_overhead_ratio:{:.2}\r\n\
             rss_overhead_bytes:{}\r\n\
             mem_fragmentation_ratio:{:.2}\r\n\
             mem_fragmentation_bytes:{}\r\n\
             mem_not_counted_for_evict:{}\r\n\
             mem_replication_backlog:{}\r\n\
             mem_clients_slaves:{}\r\n\
             mem_clients_normal:{}\r\n\
             mem_aof_buffer:{}\r\n\
             mem_allocator:{}\r\n\
             active_defrag_running:{}\r\n\
             lazyfree_pending_objects:{}\r\n\
             lazyfreed_objects:{}\r\n",
            zmalloc_used,
            B(&human(zmalloc_used)),
            stats.process_rss,
            B(&human(stats.process_rss)),
            server.stat_peak_memory,
            B(&human(server.stat_peak_memory)),
            mh.peak_perc,
            mh.overhead_total,
            mh.startup_allocated,
            mh.dataset,
            mh.dataset_perc,
            stats.allocator_allocated,
            stats.allocator_active,
            stats.allocator_resident,
            server.system_memory_size,
            B(&human(server.system_memory_size)),
            lua,
            B(&human(lua)),
            mh.lua_caches,
            B(&human(mh.lua_caches)),
            server.lua_scripts.len(),
            server.maxmemory,
            B(&bytesToHuman(server.maxmemory)),
            evictPolicyToString(server),
            mh.allocator_frag,
            mh.allocator_frag_bytes,
            mh.allocator_rss,
            mh.allocator_rss_bytes,
            mh.rss_extra,
            mh.rss_extra_bytes,
            mh.total_frag,
            mh.total_frag_bytes,
            freeMemoryGetNotCountedMemory(server),
            mh.repl_backlog,
            mh.clients_slaves,
            mh.clients_normal,
            mh.aof_buffer,
            ZMALLOC_LIB,
            server.active_defrag_running,
            lazyfreeGetPendingObjectsCount(server),
            lazyfreeGetFreedObjectsCount(server),
        );
    }

    if wanted(&mut info, "persistence", true) {
        let mut fork_perc = 0.0;
        if server.stat_current_save_keys_total != 0 {
            fork_perc = server.stat_current_save_keys_processed as f64
                / server.stat_current_save_keys_total as f64
                * 100.0;
        }
        let cow_size_age = match server.stat_current_cow_updated {
            0 => 0,
            updated => elapsedMs(updated) / 1000,
        };
        let saving = server.child_type == CHILD_TYPE_RDB;
        let rewriting = server.child_type == CHILD_TYPE_AOF;
        let okOrErr = |status| if status == CStatus::Ok { "ok" } else { "err" };
        sdscatprintf!(
            info,
            "# Persistence\r\n\
             loading:{}\r\n\
             current_cow_size:{}\r\n\
             current_cow_size_age:{}\r\n\
             current_fork_perc:{:.2}\r\n\
             current_save_keys_processed:{}\r\n\
             current_save_keys_total:{}\r\n\
             rdb_changes_since_last_save:{}\r\n\
             rdb_bgsave_in_progress:{}\r\n\
             rdb_last_save_time:{}\r\n\
             rdb_last_bgsave_status:{}\r\n\
             rdb_last_bgsave_time_sec:{}\r\n\
             rdb_current_bgsave_time_sec:{}\r\n\
             rdb_last_cow_size:{}\r\n\
             aof_enabled:{}\r\n\
             aof_rewrite_in_progress:{}\r\n\
             aof_rewrite_scheduled:{}\r\n\
             aof_last_rewrite_time_sec:{}\r\n\
             aof_current_rewrite_time_sec:{}\r\n\
             aof_last_bgrewrite_status:{}\r\n\
             aof_last_write_status:{}\r\n\
             aof_last_cow_size:{}\r\n\
             module_fork_in_progress:0\r\n\
             module_fork_last_cow_size:0\r\n",
            i32::from(server.loading),
            server.stat_current_cow_bytes,
            cow_size_age,
            fork_perc,
            server.stat_current_save_keys_processed,
            server.stat_current_save_keys_total,
            server.dirty,
            i32::from(saving),
            server.lastsave,
            okOrErr(server.lastbgsave_status),
            server.rdb_save_time_last,
            if saving { unix_seconds() - server.rdb_save_time_start } else { -1 },
            server.stat_rdb_cow_bytes,
            i32::from(server.aof_state != AOF_OFF),
            i32::from(rewriting),
            i32::from(server.aof_rewrite_scheduled),
            server.aof_rewrite_time_last,
            if rewriting { unix_seconds() - server.aof_rewrite_time_start } else { -1 },
            okOrErr(server.aof_lastbgrewrite_status),
            okOrErr(match server.aof_last_write_status {
                CStatus::Ok => server.bio.aof_bio_fsync_status(),
                CStatus::Err => CStatus::Err,
            }),
            server.stat_aof_cow_bytes,
        );

        if server.aof_enabled {
            sdscatprintf!(
                info,
                "aof_current_size:{}\r\n\
                 aof_base_size:{}\r\n\
                 aof_pending_rewrite:{}\r\n\
                 aof_buffer_length:{}\r\n\
                 aof_rewrite_buffer_length:{}\r\n\
                 aof_pending_bio_fsync:{}\r\n\
                 aof_delayed_fsync:{}\r\n",
                server.aof_current_size,
                server.aof_rewrite_base_size,
                i32::from(server.aof_rewrite_scheduled),
                server.aof_buf.len(),
                aofRewriteBufferSize(server),
                server.bio.bioPendingJobsOfType(BIO_AOF_FSYNC),
                server.aof_delayed_fsync,
            );
        }

        if server.loading {
            let mut perc = 0.0;
            let mut remaining_bytes = 1;
            let loaded_bytes = server.loading_loaded_bytes;
            if server.loading_total_bytes != 0 {
                perc = loaded_bytes as f64 / server.loading_total_bytes as f64 * 100.0;
                remaining_bytes = server.loading_total_bytes - loaded_bytes;
            } else if server.loading_rdb_used_mem != 0 {
                // The memory that the data took at the master is a poor guess at the size of what
                // it sends.
                perc =
                    (loaded_bytes as f64 / server.loading_rdb_used_mem as f64 * 100.0).min(99.99);
                remaining_bytes = server.loading_rdb_used_mem.saturating_sub(loaded_bytes).max(1);
            }
            let elapsed = unix_seconds() - server.loading_start_time;
            // In the first second nobody knows.
            let eta = if elapsed == 0 {
                1
            } else {
                elapsed.saturating_mul(remaining_bytes) / (loaded_bytes + 1)
            };
            sdscatprintf!(
                info,
                "loading_start_time:{}\r\n\
                 loading_total_bytes:{}\r\n\
                 loading_rdb_used_mem:{}\r\n\
                 loading_loaded_bytes:{}\r\n\
                 loading_loaded_perc:{:.2}\r\n\
                 loading_eta_seconds:{}\r\n",
                server.loading_start_time,
                server.loading_total_bytes,
                server.loading_rdb_used_mem,
                loaded_bytes,
                perc,
                eta,
            );
        }
    }

    if wanted(&mut info, "stats", true) {
        sdscatprintf!(
            info,
            "# Stats\r\n\
             total_connections_received:{}\r\n\
             total_commands_processed:{}\r\n\
             instantaneous_ops_per_sec:{}\r\n\
             total_net_input_bytes:{}\r\n\
             total_net_output_bytes:{}\r\n\
             instantaneous_input_kbps:{:.2}\r\n\
             instantaneous_output_kbps:{:.2}\r\n\
             rejected_connections:{}\r\n\
             sync_full:{}\r\n\
             sync_partial_ok:{}\r\n\
             sync_partial_err:{}\r\n\
             expired_keys:{}\r\n\
             expired_stale_perc:{:.2}\r\n\
             expired_time_cap_reached_count:{}\r\n\
             expire_cycle_cpu_milliseconds:{}\r\n\
             evicted_keys:{}\r\n\
             keyspace_hits:{}\r\n\
             keyspace_misses:{}\r\n\
             pubsub_channels:{}\r\n\
             pubsub_patterns:{}\r\n\
             latest_fork_usec:{}\r\n\
             total_forks:{}\r\n\
             migrate_cached_sockets:{}\r\n\
             slave_expires_tracked_keys:{}\r\n\
             active_defrag_hits:{}\r\n\
             active_defrag_misses:{}\r\n\
             active_defrag_key_hits:{}\r\n\
             active_defrag_key_misses:{}\r\n\
             tracking_total_keys:{}\r\n\
             tracking_total_items:{}\r\n\
             tracking_total_prefixes:{}\r\n\
             unexpected_error_replies:{}\r\n\
             replica_untranslated_commands:{}\r\n\
             total_error_replies:{}\r\n\
             dump_payload_sanitizations:{}\r\n\
             total_reads_processed:{}\r\n\
             total_writes_processed:{}\r\n\
             io_threaded_reads_processed:0\r\n\
             io_threaded_writes_processed:0\r\n",
            server.stat_numconnections,
            server.stat_numcommands,
            getInstantaneousMetric(server, STATS_METRIC_COMMAND),
            server.stat_net_input_bytes,
            server.stat_net_output_bytes,
            getInstantaneousMetric(server, STATS_METRIC_NET_INPUT) as f32 / 1024.0,
            getInstantaneousMetric(server, STATS_METRIC_NET_OUTPUT) as f32 / 1024.0,
            server.stat_rejected_conn,
            server.stat_sync_full,
            server.stat_sync_partial_ok,
            server.stat_sync_partial_err,
            server.stat_expiredkeys,
            server.stat_expired_stale_perc * 100.0,
            server.stat_expired_time_cap_reached_count,
            server.stat_expire_cycle_time_used / 1000,
            server.stat_evictedkeys,
            server.stat_keyspace_hits,
            server.stat_keyspace_misses,
            server.pubsub_channels.len(),
            server.pubsub_patterns.len(),
            server.stat_fork_time,
            server.stat_total_forks,
            server.migrate_cached_sockets.len(),
            getSlaveKeyWithExpireCount(server),
            server.stat_active_defrag_hits,
            server.stat_active_defrag_misses,
            server.stat_active_defrag_key_hits,
            server.stat_active_defrag_key_misses,
            trackingGetTotalKeys(server),
            trackingGetTotalItems(server),
            trackingGetTotalPrefixes(server),
            server.stat_unexpected_error_replies,
            server.stat_untranslated_commands,
            server.stat_total_error_replies,
            server.stat_dump_payload_sanitizations,
            server.stat_total_reads_processed,
            server.stat_total_writes_processed,
        );
    }

    if wanted(&mut info, "replication", true) {
        gen_replication_info(server, &mut info);
    }

    if wanted(&mut info, "cpu", true) {
        info.extend_from_slice(b"# CPU\r\n");
        for (who, suffix) in
            [(Usage::Process, ""), (Usage::Children, "_children"), (Usage::Thread, "_main_thread")]
        {
            let time = getrusage(who);
            for (what, us) in [("sys", time.sys), ("user", time.user)] {
                sdscatprintf!(
                    info,
                    "used_cpu_{}{}:{}.{:06}\r\n",
                    what,
                    suffix,
                    us / 1_000_000,
                    us % 1_000_000
                );
            }
        }
    }

    if wanted(&mut info, "modules", true) {
        info.extend_from_slice(b"# Modules\r\n");
    }

    if wanted(&mut info, "commandstats", false) {
        info.extend_from_slice(b"# Commandstats\r\n");
        for c in server.commands.iter() {
            if c.calls == 0 && c.failed_calls == 0 && c.rejected_calls == 0 {
                continue;
            }
            sdscatprintf!(
                info,
                "cmdstat_{}:calls={},usec={},usec_per_call={:.2},rejected_calls={},failed_calls={}\r\n",
                B(&getSafeInfoString(c.name.as_bytes())),
                c.calls,
                c.microseconds,
                if c.calls == 0 { 0.0 } else { c.microseconds as f32 / c.calls as f32 },
                c.rejected_calls,
                c.failed_calls,
            );
        }
    }

    if wanted(&mut info, "errorstats", true) {
        info.extend_from_slice(b"# Errorstats\r\n");
        for (error, count) in &server.errors {
            sdscatprintf!(info, "errorstat_{}:count={}\r\n", B(&getSafeInfoString(error)), count);
        }
    }

    if wanted(&mut info, "cluster", true) {
        info.extend_from_slice(b"# Cluster\r\ncluster_enabled:0\r\n");
    }

    if wanted(&mut info, "keyspace", true) {
        info.extend_from_slice(b"# Keyspace\r\n");
        for (j, db) in server.db.iter().enumerate() {
            let (keys, vkeys) = (db.dict.len(), db.dict.expires_len());
            if keys != 0 || vkeys != 0 {
                sdscatprintf!(
                    info,
                    "db{}:keys={},expires={},avg_ttl={}\r\n",
                    j,
                    keys,
                    vkeys,
                    db.avg_ttl
                );
            }
        }
    }
    info
}

/// Adds the replication section of INFO: our side as a replica, if we are one, and each of our own
/// replicas.
fn gen_replication_info(server: &Server, info: &mut Vec<u8>) {
    sdscatprintf!(
        *info,
        "# Replication\r\n\
         role:{}\r\n",
        if server.masterhost.is_none() { "master" } else { "slave" },
    );
    // As a replica: the link to the master. While it is down, the offsets are those of the cached
    // master, from where a partial resync goes on.
    if let Some(masterhost) = &server.masterhost {
        let master = server.master.or(server.cached_master);
        let (slave_repl_offset, slave_read_repl_offset) =
            master.map_or((1, 1), |master| (server[master].reploff, server[master].read_reploff));
        sdscatprintf!(
            *info,
            "master_host:{}\r\n\
             master_port:{}\r\n\
             master_link_status:{}\r\n\
             master_last_io_seconds_ago:{}\r\n\
             master_sync_in_progress:{}\r\n\
             slave_read_repl_offset:{}\r\n\
             slave_repl_offset:{}\r\n",
            B(masterhost),
            server.masterport,
            if server.repl_state == REPL_STATE_CONNECTED { "up" } else { "down" },
            server.master.map_or(-1, |master| server.steady_time - server[master].lastinteraction),
            i32::from(server.repl_state == REPL_STATE_TRANSFER),
            slave_read_repl_offset,
            slave_repl_offset,
        );
        if server.repl_state == REPL_STATE_TRANSFER {
            let (size, read) = (server.repl_transfer_size, server.repl_transfer_read);
            let perc = if size == 0 { 0.0 } else { read as f64 / size as f64 * 100.0 };
            sdscatprintf!(
                *info,
                "master_sync_total_bytes:{}\r\n\
                 master_sync_read_bytes:{}\r\n\
                 master_sync_left_bytes:{}\r\n\
                 master_sync_perc:{:.2}\r\n\
                 master_sync_last_io_seconds_ago:{}\r\n",
                size,
                read,
                size - read,
                perc,
                server.steady_time - server.repl_transfer_lastio,
            );
        }
        if server.repl_state != REPL_STATE_CONNECTED {
            let down = if server.repl_down_since == 0 {
                -1
            } else {
                server.steady_time - server.repl_down_since
            };
            sdscatprintf!(*info, "master_link_down_since_seconds:{}\r\n", down);
        }
        backoff_info(server, info);
        guard_info(server, info);
        sdscatprintf!(
            *info,
            "slave_priority:{}\r\n\
             slave_read_only:{}\r\n\
             replica_announced:{}\r\n",
            server.slave_priority,
            i32::from(server.repl_slave_ro),
            i32::from(server.replica_announced),
        );
    }

    // As a master: the replicas. A replica can be one of others.
    sdscatprintf!(*info, "connected_slaves:{}\r\n", listLength(&server.slaves));
    if server.repl_min_slaves_to_write != 0 && server.repl_min_slaves_max_lag != 0 {
        sdscatprintf!(*info, "min_slaves_good_slaves:{}\r\n", server.repl_good_slaves_count);
    }
    let mut slaveid = 0;
    for &slave in &server.slaves {
        let slave = &server[slave];
        // What it has announced, for it may be behind an address translation.
        let slaveip = match (&slave.slave_addr, slave.conn) {
            (Some(addr), _) => addr.clone(),
            (None, Some(conn)) => connPeerToString(&server.net, conn).0,
            (None, None) => continue,
        };
        let state = match slave.replstate {
            SLAVE_STATE_WAIT_BGSAVE_START | SLAVE_STATE_WAIT_BGSAVE_END => "wait_bgsave",
            SLAVE_STATE_SEND_BULK => "send_bulk",
            SLAVE_STATE_ONLINE => "online",
            _ => continue,
        };
        let lag = if slave.replstate == SLAVE_STATE_ONLINE {
            steady_ms() / 1000 - slave.repl_ack_time
        } else {
            0
        };
        sdscatprintf!(
            *info,
            "slave{}:ip={},port={},state={},offset={},lag={}\r\n",
            slaveid,
            B(&slaveip),
            slave.slave_listening_port,
            state,
            slave.repl_ack_off,
            lag,
        );
        slaveid += 1;
    }

    // Either way: the history, and how much of it is in the backlog.
    sdscatprintf!(
        *info,
        "master_failover_state:{}\r\n\
         master_replid:{}\r\n\
         master_replid2:{}\r\n\
         master_repl_offset:{}\r\n\
         second_repl_offset:{}\r\n\
         repl_backlog_active:{}\r\n\
         repl_backlog_size:{}\r\n\
         repl_backlog_first_byte_offset:{}\r\n\
         repl_backlog_histlen:{}\r\n\
         repl_backlog_seconds:{}\r\n",
        getFailoverStateString(server),
        B(&server.replid),
        B(&server.replid2),
        server.master_repl_offset,
        server.second_replid_offset,
        i32::from(server.repl_backlog),
        server.repl_backlog_size,
        server.repl_backlog_off,
        server.repl_backlog_histlen,
        repl_backlog_seconds(server),
    );
}

/// INFO [section]: replies with the text of `genRedisInfoString`.
pub fn infoCommand(server: &mut Server, c: ClientId, argv: &Args) {
    if argv.len() > 2 {
        addReplyErrorObject(server, c, shared::syntaxerr);
        return;
    }
    let section = if argv.len() == 2 { argv.get(1) } else { b"default" };
    let info = genRedisInfoString(server, section);
    addReplyVerbatim(server, c, &info, "txt");
}

/// MONITOR: shows the client all commands that are executed from here on.
pub fn monitorCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    if server[c].flags & CLIENT_DENY_BLOCKING != 0 {
        // Such a client expects one reply for each command.
        addReplyError(server, c, b"MONITOR isn't allowed for DENY BLOCKING client");
        return;
    }
    // Ignored from a replica, or a client that is in MONITOR mode already.
    if server[c].flags & CLIENT_SLAVE != 0 {
        return;
    }
    server[c].flags |= CLIENT_SLAVE | CLIENT_MONITOR;
    listAddNodeTail(&mut server.monitors, c);
    addReply(server, c, shared::ok);
}

// =================================== Main! ================================

/// Tells whether the configuration asks to ignore this warning (`ignore-warnings`).
pub fn checkIgnoreWarning(server: &Server, warning: &str) -> bool {
    sdssplitargs(&server.ignore_warnings)
        .is_some_and(|flags| flags.iter().any(|flag| eq_ignore_case(flag, warning.as_bytes())))
}

/// Warns of kernel settings that make saving fail or slow.
pub fn linuxMemoryWarnings(server: &Server) {
    if linuxOvercommitMemoryValue() != 1 {
        serverLog!(
            LL_WARNING,
            "WARNING Memory overcommit must be enabled! Without it, a background save or replication may fail under low memory condition. Being disabled, it can can also cause failures without low memory condition, see https://github.com/jemalloc/jemalloc/issues/1328. To fix this issue add 'vm.overcommit_memory = 1' to /etc/sysctl.conf and then reboot or run the command 'sysctl vm.overcommit_memory=1' for this to take effect."
        );
    }
    if THPIsEnabled() && (!server.disable_thp || THPDisable().is_err()) {
        serverLog!(
            LL_WARNING,
            "WARNING you have Transparent Huge Pages (THP) support enabled in your kernel. This will create latency and memory usage issues with Redis. To fix this issue run the command 'echo madvise > /sys/kernel/mm/transparent_hugepage/enabled' as root, and add it to your /etc/rc.local in order to retain the setting after a reboot. Redis must be restarted after THP is disabled (set to 'madvise' or 'never')."
        );
    }
}

/// Writes our pid to the configured file, or the default one. That is best effort: if it fails,
/// there is no file.
pub fn createPidFile(server: &mut Server) {
    let pidfile = server.pidfile.get_or_insert_with(|| CONFIG_DEFAULT_PID_FILE.to_vec());
    let _ = fs::write(as_path(pidfile), format!("{}\n", getpid()));
}

/// Prints the version on standard output and exits with 0 (`--version`).
pub fn version() -> ! {
    println!(
        "Redis server v={} sha={}:{} malloc={} bits={} build={:x} fidelis={}",
        REDIS_VERSION,
        GIT_SHA1,
        GIT_DIRTY,
        ZMALLOC_LIB,
        usize::BITS,
        redisBuildId(),
        FIDELIS_VERSION
    );
    std::process::exit(0);
}

/// Prints on standard error how the program is called, and exits with 1 (`--help`).
pub fn usage() -> ! {
    eprintln!(
        "Usage: ./redis-server [/path/to/redis.conf] [options] [-]
       ./redis-server - (read config from stdin)
       ./redis-server -v or --version
       ./redis-server -h or --help
       ./redis-server --test-memory <megabytes>

Examples:
       ./redis-server (run the server with default conf)
       ./redis-server /etc/redis/6379.conf
       ./redis-server --port 7777
       ./redis-server --port 7777 --replicaof 127.0.0.1 8888
       ./redis-server /etc/myredis.conf --loglevel verbose -
       ./redis-server /etc/myredis.conf --loglevel verbose
"
    );
    std::process::exit(1);
}

/// Logs what was started: in a box on a terminal, or with `always-show-logo`, otherwise in a line.
///
/// C: draws its logo beside these facts; ours is a plain box.
pub fn redisAsciiArt(server: &Server) {
    let mode = "standalone";
    let show_logo =
        (!server.syslog_enabled && server.logfile.is_empty() && io::stdout().is_terminal())
            || server.always_show_logo;
    if !show_logo {
        serverLog!(LL_NOTICE, "Running mode={}, port={}.", mode, server.port);
        return;
    }
    let facts = [
        format!("Redis {} ({}/{}) {} bit", REDIS_VERSION, GIT_SHA1, GIT_DIRTY, usize::BITS),
        String::new(),
        format!("Running in {mode} mode"),
        format!("Port: {}", server.port),
        format!("PID: {}", getpid()),
    ];
    let width = facts.iter().map(String::len).max().unwrap_or(0);
    let edge = format!("  +{}+\n", "-".repeat(width + 4));
    let mut art = format!("\n{edge}");
    for fact in facts {
        art.push_str(&format!("  |  {fact:<width$}  |\n"));
    }
    art.push_str(&edge);
    art.push('\n');
    serverLogRaw(LL_NOTICE | LL_RAW, art.as_bytes());
}

/// Changes the addresses on which the server listens (CONFIG SET bind). `C_ERR`: that was not
/// possible, and it listens on the old ones.
pub fn changeBindAddr<T: AsRef<[u8]>>(server: &mut Server, addrlist: &[T]) -> CResult {
    // Close the old sockets first: an address that is in both lists could not be bound otherwise.
    let old = take(&mut server.ipfd);
    closeSocketListeners(server, old);

    let bindaddr = addrlist.iter().map(|addr| addr.as_ref().to_vec()).collect();
    let prev_bindaddr = std::mem::replace(&mut server.bindaddr, bindaddr);
    let mut result = C_OK;
    if server.port != 0 {
        server.ipfd = match listenToPort(server, server.port) {
            Ok(sfd) => sfd,
            Err(()) => {
                serverLog!(LL_WARNING, "Failed to bind, trying to restore old listening sockets.");
                server.bindaddr = prev_bindaddr;
                result = C_ERR;
                listenToPort(server, server.port).expect("Failed to restore old listening sockets.")
            }
        };
    }

    let ipfd = server.ipfd.clone();
    if createSocketAcceptHandler(server, &ipfd, acceptTcpHandler) != C_OK {
        panic!("Unrecoverable error creating TCP socket accept handler.");
    }
    if server.set_proc_title {
        let _ = redisSetProcTitle(server, None);
    }
    result
}

/// Changes the port on which the server listens (CONFIG SET port); 0 for none. `C_ERR`: that was
/// not possible, and nothing changed.
pub fn changeListenPort(server: &mut Server, port: i32) -> CResult {
    // Another port is free whatever the old sockets are, so these are closed when all has gone
    // well.
    let mut new_sfd = Vec::new();
    if port != 0 {
        let Ok(sfd) = listenToPort(server, port) else { return C_ERR };
        if createSocketAcceptHandler(server, &sfd, acceptTcpHandler) != C_OK {
            closeSocketListeners(server, sfd);
            return C_ERR;
        }
        new_sfd = sfd;
    }
    let old = std::mem::replace(&mut server.ipfd, new_sfd);
    closeSocketListeners(server, old);
    if server.set_proc_title {
        let _ = redisSetProcTitle(server, None);
    }
    C_OK
}

/// Installs the handlers of signals: SIGTERM and SIGINT ask for a shutdown, and a crash is
/// reported, if that is configured.
pub fn setupSignalHandlers(server: &Server) {
    crate::debug::prepare_crash_report(server);
    let hooks = SignalHooks {
        log: |line| serverLogFromHandler(LL_WARNING, line.as_bytes()),
        removeTempFile: || rdbRemoveTempFile(getpid(), true),
        crashReport: crate::debug::sigsegvHandler,
    };
    signal::setupSignalHandlers(hooks, server.crashlog_enabled);
}

/// Removes the handlers of the signals of a crash (CONFIG SET crash-log-enabled no).
pub fn removeSignalHandlers() {
    signal::removeSignalHandlers();
}

/// Closes, in a child, what it has inherited and must not keep: if the parent restarts it wants to
/// bind its sockets and lock its pid file, even while the child is still running.
pub fn closeChildUnusedResourceAfterFork(server: &mut Server) {
    closeListeningSockets(server, false);
    server.pidfile = None;
}

/// Forks a child for `purpose` (`CHILD_TYPE_*`), with the pipe on which it reports.
///
/// `Err`: there was a child already (EEXIST), or what fork(2) says. In the child everything is set
/// up: it gives way to the OOM killer and to SIGUSR1, its tables stay where they are, and it
/// listens nowhere.
pub fn redisFork(server: &mut Server, purpose: i32) -> io::Result<Fork> {
    // Of the children that save there is one at a time: two would compete for the disk, and for the
    // memory that copying costs. A debugging session may run beside it, since it is short, and
    // there are none in production; its pid is kept with the debugger.
    if isMutuallyExclusiveChildType(purpose) {
        if hasActiveChildProcess(server) {
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        openChildInfoPipe(server);
    }

    let start = ustime();
    let forked = fork();
    if let Ok(Fork::Child) = forked {
        // The epoll set is the parent's.
        server.net.el.leave_epoll_to_parent();
        // So are the background threads.
        server.bio.leave_threads_to_parent();
        server.in_fork_child = purpose;
        let _ = setOOMScoreAdj(server, CONFIG_OOM_BGCHILD as i32);
        signal::setupChildSignalHandlers();
        updateDictResizePolicy(server);
        closeChildUnusedResourceAfterFork(server);
        // Without a reader but the parent: if that dies, our next report fails, and so do we.
        if let Some((reader, _)) = server.child_info_pipe {
            close(reader);
        }
        return forked;
    }

    server.stat_total_forks += 1;
    server.stat_fork_time = ustime() - start;
    // In GB per second.
    server.stat_fork_rate = zmalloc_used_memory() as f64 * 1_000_000.0
        / server.stat_fork_time as f64
        / (1024.0 * 1024.0 * 1024.0);
    latencyAddSampleIfNeeded(server, "fork", server.stat_fork_time / 1000);
    match forked {
        Err(_) => {
            if isMutuallyExclusiveChildType(purpose) {
                closeChildInfoPipe(server);
            }
        }
        Ok(Fork::Parent(childpid)) => {
            if isMutuallyExclusiveChildType(purpose) {
                server.child_pid = childpid;
                server.child_type = purpose;
                server.stat_current_cow_bytes = 0;
                server.stat_current_cow_updated = 0;
                server.stat_current_save_keys_processed = 0;
                server.stat_current_save_keys_total = dbTotalServerKeyCount(server);
            }
            trace!(
                server,
                "fork",
                "child": childpid,
                "type": strChildType(purpose),
                "us": server.stat_fork_time,
            );
            updateDictResizePolicy(server);
        }
        Ok(Fork::Child) => {}
    }
    forked
}

/// Sends the parent, from a child, the size of memory that copy-on-write has duplicated.
pub fn sendChildCowInfo(server: &mut Server, info_type: childInfoType, pname: &str) {
    sendChildInfoGeneric(server, info_type, 0, pname);
}

/// Sends the parent, from a child, the number of keys that were written.
pub fn sendChildInfo(server: &mut Server, info_type: childInfoType, keys: usize, pname: &str) {
    sendChildInfoGeneric(server, info_type, keys, pname);
}

/// Tells whether the arguments ask for a sentinel: by the program's name or by `--sentinel`.
pub fn checkForSentinelMode(argv: &[Vec<u8>]) -> bool {
    name_contains(&argv[0], b"redis-sentinel") || argv[1..].iter().any(|arg| arg == b"--sentinel")
}

fn name_contains(name: &[u8], part: &[u8]) -> bool {
    name.windows(part.len()).any(|w| w == part)
}

/// Loads the append only file if that is on, or else the RDB file, if there is one. From the latter
/// a replica also takes over where it stood in its master's history, so that it can go on from
/// there. Ends the process if there is a file and it cannot be loaded.
pub fn loadDataFromDisk(server: &mut Server) {
    let start = ustime();
    if server.aof_state == AOF_ON {
        let filename = server.aof_filename.clone();
        if loadAppendOnlyFile(server, &filename) == C_OK {
            serverLog!(
                LL_NOTICE,
                "DB loaded from append only file: {:.3} seconds",
                (ustime() - start) as f32 / 1_000_000.0
            );
        }
        return;
    }
    let mut rsi = rdbSaveInfo::default();
    let filename = server.rdb_filename.clone();
    // C: only a replica goes on from the file; a master begins a new history. As 7.0 does, a master
    // has a backlog before it loads, in which keys that expired meanwhile are deleted.
    let is_master = server.masterhost.is_none();
    let mut rdbflags = RDBFLAGS_NONE;
    if is_master {
        createReplicationBacklog(server);
        rdbflags |= RDBFLAGS_FEED_REPL;
    }
    let mut rsi_is_valid = false;
    match rdbLoad(server, &filename, Some(&mut rsi), rdbflags) {
        Ok(()) => {
            serverLog!(
                LL_NOTICE,
                "DB loaded from disk: {:.3} seconds",
                (ustime() - start) as f32 / 1_000_000.0
            );
            // Files of old versions may have a db of -1 here without meaning it. An offset near
            // the end of the range is no genuine one, and additions to it would overflow.
            rsi_is_valid = rsi.repl_id_is_set
                && (0..i64::MAX / 2).contains(&rsi.repl_offset)
                && rsi.repl_stream_db != -1;
            if rsi_is_valid && is_master {
                replication_go_on_from_rdb(server, &rsi);
            } else if rsi_is_valid {
                server.replid = rsi.repl_id;
                server.master_repl_offset = rsi.repl_offset;
                trace_ids!(server);
                // A cached master made of that: the partial resynchronization starts from it.
                replicationCacheMasterUsingMyself(server);
                if let Some(cached_master) = server.cached_master {
                    let _ = selectDb(server, cached_master, rsi.repl_stream_db);
                }
            }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => {
            serverLog!(LL_WARNING, "Fatal error loading the DB: {}. Exiting.", error_text(&e));
            std::process::exit(1);
        }
    }
    // Nobody can ask for a history that the file does not name. INFO shows the figures of a server
    // that never had a backlog.
    if is_master && !rsi_is_valid {
        freeReplicationBacklog(server);
        server.master_repl_offset = 0;
        (server.repl_backlog_off, server.repl_backlog_histlen) = (0, 0);
    }
}

/// Returns the value of a variable of `proc-title-template`, `None` if there is no such variable.
fn redisProcTitleGetVariable(server: &Server, varname: &[u8], title: &[u8]) -> Option<Vec<u8>> {
    let unixsocket = || server.unixsocket.clone().unwrap_or_default();
    Some(match varname {
        b"title" => title.to_vec(),
        b"listen-addr" => {
            if server.port != 0 {
                let addr = server.bindaddr.first().map_or(&b"*"[..], |addr| addr);
                bformat!("{}:{}", B(addr), server.port)
            } else {
                bformat!("unixsocket:{}", B(&unixsocket()))
            }
        }
        // Only a cluster or a sentinel says what it is.
        b"server-mode" => Vec::new(),
        b"config-file" => server.configfile.clone().unwrap_or_else(|| b"-".to_vec()),
        b"port" => bformat!("{}", server.port),
        b"tls-port" => b"0".to_vec(),
        b"unixsocket" => unixsocket(),
        _ => return None,
    })
}

/// Returns the title of the process that a template makes, `None` if the template has an error.
fn expandProcTitleTemplate(server: &Server, template: &[u8], title: &[u8]) -> Option<Vec<u8>> {
    let res = sdstemplate(template, |varname| redisProcTitleGetVariable(server, varname, title))?;
    Some(sdstrim(&res, b" ").to_vec())
}

/// Tells whether a template has no error, and makes some title, even if the program's name is
/// empty.
///
/// C: takes the variables as they are at the moment. Here those that say something in some
/// configuration count as text.
pub fn validateProcTitleTemplate(template: &[u8]) -> bool {
    let expanded = sdstemplate(template, |varname| match varname {
        b"title" | b"server-mode" => Some(Vec::new()),
        b"listen-addr" | b"config-file" | b"port" | b"tls-port" | b"unixsocket" => {
            Some(b"-".to_vec())
        }
        _ => None,
    });
    expanded.is_some_and(|res| !sdstrim(&res, b" ").is_empty())
}

/// Sets the title that ps(1) shows, by the configured template. `None`: under the name the server
/// was started by.
pub fn redisSetProcTitle(server: &mut Server, title: Option<&[u8]>) -> CResult {
    let name = server.exec_argv.first().map_or(&b""[..], |name| name);
    let proc_title =
        expandProcTitleTemplate(server, &server.proc_title_template, title.unwrap_or(name))
            .ok_or(())?;
    if let Some(spt) = &mut server.proc_title {
        spt.setproctitle(&proc_title);
    }
    C_OK
}

/// Restricts the current process or thread to a list of processors (`server-cpulist` and its like),
/// if there is one.
pub fn redisSetCpuAffinity(cpulist: Option<&[u8]>) {
    if let Some(cpulist) = cpulist {
        setcpuaffinity(cpulist);
    }
}

/// Sends systemd a notification (`sd_notify`). Above 0: it was sent. 0: systemd does not listen.
/// Below 0: an error.
pub fn redisCommunicateSystemd(sd_notify_msg: impl AsRef<[u8]>) -> i32 {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        serverLog!(LL_WARNING, "systemd supervision error: NOTIFY_SOCKET not found!");
        return 0;
    }
    let state = str::from_utf8(sd_notify_msg.as_ref().trim_ascii_end()).unwrap_or_default();
    match sd_notify::notify(false, &[sd_notify::NotifyState::Custom(state)]) {
        Ok(()) => 1,
        Err(e) => {
            let ret = -e.raw_os_error().unwrap_or(1);
            serverLog!(LL_WARNING, "systemd supervision error: sd_notify: {}", ret);
            ret
        }
    }
}

/// Stops the process, as upstart expects of one that is ready. True if upstart has started us.
fn redisSupervisedUpstart() -> bool {
    if std::env::var_os("UPSTART_JOB").is_none() {
        serverLog!(LL_WARNING, "upstart supervision requested, but UPSTART_JOB not found!");
        return false;
    }
    serverLog!(LL_NOTICE, "supervised by upstart, will stop to signal readiness.");
    signal::raise(libc::SIGSTOP);
    true
}

/// Tells systemd that the server is about to load its data. True if systemd listens.
fn redisSupervisedSystemd() -> bool {
    if redisCommunicateSystemd(b"STATUS=Redis is loading...\n") <= 0 {
        return false;
    }
    serverLog!(
        LL_NOTICE,
        "Supervised by systemd. Please make sure you set appropriate values for TimeoutStartSec and TimeoutStopSec in your service unit."
    );
    true
}

/// Tells whether the process is supervised as configured (`SUPERVISED_*`); `SUPERVISED_AUTODETECT`
/// is found out here.
pub fn redisIsSupervised(server: &mut Server, mut mode: i32) -> bool {
    if mode == SUPERVISED_AUTODETECT {
        if std::env::var_os("UPSTART_JOB").is_some() {
            serverLog!(LL_VERBOSE, "Upstart supervision detected.");
            mode = SUPERVISED_UPSTART;
        } else if std::env::var_os("NOTIFY_SOCKET").is_some() {
            serverLog!(LL_VERBOSE, "Systemd supervision detected.");
            mode = SUPERVISED_SYSTEMD;
        }
    }
    let supervised = match mode {
        SUPERVISED_UPSTART => redisSupervisedUpstart(),
        SUPERVISED_SYSTEMD => redisSupervisedSystemd(),
        _ => false,
    };
    if supervised {
        server.supervised_mode = mode;
    }
    supervised
}

/// Tells whether this server is a master.
pub fn iAmMaster(server: &Server) -> bool {
    server.masterhost.is_none()
}

/// Runs the program: reads the arguments and the configuration, starts the server, and serves until
/// it is told to end.
///
/// `argv` has the program's name first. Returns, or ends the process, with the exit code of the C.
pub fn main(mut argv: Vec<Vec<u8>>) -> i32 {
    if argv.is_empty() {
        argv.push(b"redis-server".to_vec());
    }
    register_thread();
    // Before `initServer` there is no server, and lines of the log have the role of a child (`C`).
    set_log_pid(u32::MAX);
    // The log's local time. Whether daylight saving begins or ends is seen by `updateCachedTime`.
    crate::sys::locale::locale_init();
    tz_init();
    set_log_daylight(daylight_in_effect(unix_seconds()));
    set_log_clock(|| (mstime(), -getTimeZone()));
    crate::debug::setup_panic_hook();

    // What these ask for does not exist here. No server is better than one that is taken for
    // another.
    if checkForSentinelMode(&argv) {
        eprintln!("Sentinel mode is not supported by this server.");
        return 1;
    }

    let mut server = Box::new(Server::default());
    let server = &mut *server;
    // umask(2) returns the old mask only when it sets one, so it is set and restored.
    server.umask = umask(0o777);
    umask(server.umask);
    initServerConfig(server);
    // Create the user `default` first: each client needs a user.
    ACLInit(server);

    server.proc_title = spt_init();

    // For DEBUG RESTART and CONFIG REWRITE: who we are and how we were called.
    server.executable = getAbsolutePath(&argv[0]);
    server.exec_argv = argv.clone();

    // Under these names the program is a tool that checks a file. The checkers are a part of the
    // server, since it runs one itself when an RDB can't be loaded.
    if name_contains(&argv[0], b"redis-check-rdb") {
        return crate::redis_check_rdb::redis_check_rdb_main(server, &argv);
    }
    if name_contains(&argv[0], b"redis-check-aof") {
        return crate::redis_check_aof::redis_check_aof_main(server, &argv);
    }

    if argv.len() >= 2 {
        match argv[1].as_slice() {
            b"-v" | b"--version" => version(),
            b"--help" | b"-h" => usage(),
            b"--test-memory" => {
                if argv.len() == 3 {
                    crate::memtest::memtest(atoi(&argv[2]) as usize, 50);
                }
                eprint!(
                    "Please specify the amount of memory to test in megabytes.\nExample: ./redis-server --test-memory 4096\n\n"
                );
                return 1;
            }
            _ => {}
        }

        // The options become lines of configuration, which come after the file and standard input
        // and so win over them.
        let mut options: Vec<u8> = Vec::new();
        let mut config_from_stdin = false;
        let mut j = 1;
        if argv[1].first() != Some(&b'-') {
            // A file. A restart has to find it from wherever it runs.
            server.configfile = getAbsolutePath(&argv[1]);
            if let Some(configfile) = &server.configfile {
                server.exec_argv[1] = configfile.clone();
            }
            j = 2;
        }
        while j < argv.len() {
            let arg = &argv[j];
            if arg == b"-" && (j == 1 || j == argv.len() - 1) {
                config_from_stdin = true;
            } else if let Some(name) = arg.strip_prefix(b"--") {
                if !options.is_empty() {
                    options.push(b'\n');
                }
                options.extend_from_slice(name);
                options.push(b' ');
            } else {
                sdscatrepr(&mut options, arg);
                options.push(b' ');
            }
            j += 1;
        }
        let configfile = server.configfile.clone();
        loadServerConfig(server, configfile.as_deref(), config_from_stdin, &options);
    }

    // A supervisor watches the process that it has started, so a supervised server does not leave
    // that for a child.
    server.supervised = redisIsSupervised(server, server.supervised_mode);
    let background = server.daemonize && !server.supervised;
    if background {
        let _ = daemonize();
    }
    set_log_daemonize(server.daemonize);
    set_log_role(if server.masterhost.is_some() { b'S' } else { b'M' });

    serverLog!(LL_WARNING, "oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo");
    serverLog!(
        LL_WARNING,
        "Redis version={}, bits={}, commit={}, modified={}, pid={}, just started",
        REDIS_VERSION,
        usize::BITS,
        GIT_SHA1,
        GIT_DIRTY,
        getpid()
    );
    if argv.len() == 1 {
        serverLog!(
            LL_WARNING,
            "Warning: no config file specified, using the default config. In order to specify a config file use {} /path/to/redis.conf",
            B(&argv[0])
        );
    } else {
        serverLog!(LL_WARNING, "Configuration loaded");
    }

    readOOMScoreAdj(server);
    initServer(server);
    if background || server.pidfile.is_some() {
        createPidFile(server);
    }
    if server.set_proc_title {
        let _ = redisSetProcTitle(server, None);
    }
    redisAsciiArt(server);
    checkTcpBacklogSettings(server);

    serverLog!(LL_WARNING, "Server initialized");
    linuxMemoryWarnings(server);
    warn_absent_configs(server);
    warn_replica_limits(server);
    warn_lost_writes_dir(server);
    ACLLoadUsersAtStartup(server);
    InitServerLast(server);
    start_trace(server);
    loadDataFromDisk(server);
    if !server.ipfd.is_empty() {
        serverLog!(LL_NOTICE, "Ready to accept connections");
    }
    if server.sofd.is_some() {
        serverLog!(
            LL_NOTICE,
            "The server is now ready to accept connections at {}",
            B(server.unixsocket.as_deref().unwrap_or_default())
        );
    }
    if server.supervised_mode == SUPERVISED_SYSTEMD {
        if server.masterhost.is_none() {
            redisCommunicateSystemd(b"STATUS=Ready to accept connections\n");
        } else {
            redisCommunicateSystemd(
                b"STATUS=Ready to accept connections in read-only mode. Waiting for MASTER <-> REPLICA sync\n",
            );
        }
        redisCommunicateSystemd(b"READY=1\n");
    }

    if server.maxmemory > 0 && server.maxmemory < 1024 * 1024 {
        serverLog!(
            LL_WARNING,
            "WARNING: You specified a maxmemory value that is less than 1MB (current value is {} bytes). Are you sure this is what you really want?",
            server.maxmemory
        );
    }

    // From here on this thread serves. The background threads and the children have their own
    // processors.
    redisSetCpuAffinity(server.server_cpulist.as_deref());
    let _ = setOOMScoreAdj(server, -1);
    aeMain(server);
    0
}

#[cfg(test)]
mod tests;
