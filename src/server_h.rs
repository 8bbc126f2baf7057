//! `server.h`: the constants, the states and the structures that every other file speaks of.
//!
//! Read first: `Server` (everything the process knows), `Client` (everything it knows of one
//! connection), `redisCommand`. Constants keep the C's names and values, fields keep the C's names.
//! What differs: a pointer to a client is a `ClientId` (see clients.rs), a `redisDb *` is the
//! number of the db, a `robj *` in the keyspace is a `KeyRef` (see keyspace/), and what queueing a
//! reply touches is one field, `server.clients`. Absent: the fields of parts that are not here yet
//! (the debugger of scripts, cluster, modules, TLS, I/O threads).

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::mem::offset_of;
use std::ops::{Index, IndexMut};
use std::os::fd::RawFd;
use std::ptr::from_ref;

use crate::acl::{ACLLogEntry, KeyPatterns, Users};
use crate::ae::{AeState, EventLoop};
use crate::args::{ArgRange, Args, Argv};
pub use crate::clients::{ClientId, Clients};
use crate::connection::{ConnId, Net};
use crate::ds::adlist::{List, ListNode};
use crate::keyspace::{KeyRef, Keyspace, Object, ValueMut, ValueRef};
use crate::sys::mem::prefetch;

/// The result of a function that succeeds or fails and returns nothing else: `C_OK` or `C_ERR`.
pub type CResult = Result<(), ()>;
/// Success.
pub const C_OK: CResult = Ok(());
/// Failure; the function's description says what was done about it.
pub const C_ERR: CResult = Err(());

/// Milliseconds since the epoch, where a value is a point in time, or just milliseconds, where it
/// is a span.
pub type mstime_t = i64;
/// Microseconds since the epoch, or just microseconds.
pub type ustime_t = i64;

// -----------------------------------------------------------------------------
// Constants
// -----------------------------------------------------------------------------

// Configuration defaults and limits.
pub const CONFIG_DEFAULT_HZ: i32 = 10;
pub const CONFIG_MIN_HZ: i32 = 1;
pub const CONFIG_MAX_HZ: i32 = 500;
pub const MAX_CLIENTS_PER_CLOCK_TICK: i32 = 200;
pub const CRON_DBS_PER_CALL: i32 = 16;
pub const CONFIG_BGSAVE_RETRY_DELAY: i32 = 5;
pub const CONFIG_REPL_SYNCIO_TIMEOUT: i32 = 5;

// Sizes of buffers, in bytes.
pub const CONFIG_MAX_LINE: usize = 1024;
pub const NET_MAX_WRITES_PER_EVENT: usize = 1024 * 64;
pub const LOG_MAX_LEN: usize = 1024;
pub const CONFIG_AUTHPASS_MAX_LEN: usize = 512;
pub const CONFIG_RUN_ID_SIZE: usize = 40;
pub const RDB_EOF_MARK_SIZE: usize = 40;
pub const CONFIG_REPL_BACKLOG_MIN_SIZE: usize = 1024 * 16;
pub const NET_IP_STR_LEN: usize = 46;
pub const NET_HOST_STR_LEN: usize = 256;
pub const CONFIG_BINDADDR_MAX: usize = 16;
pub const CONFIG_MIN_RESERVED_FDS: usize = 32;
pub const PROTO_IOBUF_LEN: usize = 1024 * 16;
pub const PROTO_REPLY_CHUNK_BYTES: usize = 16 * 1024;
pub const PROTO_INLINE_MAX_SIZE: usize = 1024 * 64;
pub const PROTO_MBULK_BIG_ARG: usize = 1024 * 32;
pub const REDIS_AUTOSYNC_BYTES: usize = 1024 * 1024 * 32;
pub const LIMIT_PENDING_QUERYBUF: usize = 4 * 1024 * 1024;
pub const CONFIG_FDSET_INCR: usize = CONFIG_MIN_RESERVED_FDS + 96;
pub const STATS_METRIC_SAMPLES: usize = 16;

// Active expiry: which of its two cycles runs.
pub const ACTIVE_EXPIRE_CYCLE_SLOW: i32 = 0;
pub const ACTIVE_EXPIRE_CYCLE_FAST: i32 = 1;

// Children. A child killed with SIGUSR1 leaves with this code, which does not count as a failed
// save.
pub const SERVER_CHILD_NOERROR_RETVAL: i32 = 255;
pub const CHILD_TYPE_NONE: i32 = 0;
pub const CHILD_TYPE_RDB: i32 = 1;
pub const CHILD_TYPE_AOF: i32 = 2;
pub const CHILD_TYPE_LDB: i32 = 3;
pub const CHILD_TYPE_MODULE: i32 = 4;
pub const REPL_DISKLESS_LOAD_DISABLED: i32 = 0;
pub const REPL_DISKLESS_LOAD_WHEN_DB_EMPTY: i32 = 1;
pub const REPL_DISKLESS_LOAD_SWAPDB: i32 = 2;
pub const PROPAGATION_ERR_BEHAVIOR_IGNORE: i32 = 0;
pub const PROPAGATION_ERR_BEHAVIOR_DISCONNECT: i32 = 1;
pub const PROPAGATION_ERR_BEHAVIOR_PANIC: i32 = 2;

pub const RDB_CHILD_TYPE_NONE: i32 = 0;
pub const RDB_CHILD_TYPE_DISK: i32 = 1;
pub const RDB_CHILD_TYPE_SOCKET: i32 = 2;

// A child measures copy-on-write, which is slow, at most one part in this of its time.
pub const CHILD_COW_DUTY_CYCLE: i64 = 100;

// Metrics sampled by serverCron for INFO's instantaneous fields.
pub const STATS_METRIC_COMMAND: usize = 0;
pub const STATS_METRIC_NET_INPUT: usize = 1;
pub const STATS_METRIC_NET_OUTPUT: usize = 2;
pub const STATS_METRIC_COUNT: usize = 3;

// Classes of oom-score-adj-values.
pub const CONFIG_OOM_MASTER: usize = 0;
pub const CONFIG_OOM_REPLICA: usize = 1;
pub const CONFIG_OOM_BGCHILD: usize = 2;
pub const CONFIG_OOM_COUNT: usize = 3;

/// Seconds for which the largest buffers of clients are remembered.
pub const CLIENTS_PEAK_MEM_USAGE_SLOTS: usize = 8;

// Flags of a command.
pub const CMD_WRITE: u64 = 1 << 0;
pub const CMD_READONLY: u64 = 1 << 1;
pub const CMD_DENYOOM: u64 = 1 << 2;
pub const CMD_MODULE: u64 = 1 << 3;
pub const CMD_ADMIN: u64 = 1 << 4;
pub const CMD_PUBSUB: u64 = 1 << 5;
pub const CMD_NOSCRIPT: u64 = 1 << 6;
pub const CMD_RANDOM: u64 = 1 << 7;
pub const CMD_SORT_FOR_SCRIPT: u64 = 1 << 8;
pub const CMD_LOADING: u64 = 1 << 9;
pub const CMD_STALE: u64 = 1 << 10;
pub const CMD_SKIP_MONITOR: u64 = 1 << 11;
pub const CMD_SKIP_SLOWLOG: u64 = 1 << 12;
pub const CMD_ASKING: u64 = 1 << 13;
pub const CMD_FAST: u64 = 1 << 14;
pub const CMD_NO_AUTH: u64 = 1 << 15;
pub const CMD_MAY_REPLICATE: u64 = 1 << 16;
/// Ours: the command works on data, or on nothing, and leaves the settings and the role of the
/// server, its users and its clients' states as they are.
pub const CMD_WORKS_ON_DATA: u64 = 1 << 63;

// ACL categories of a command, in the same word.
pub const CMD_CATEGORY_KEYSPACE: u64 = 1 << 19;
pub const CMD_CATEGORY_READ: u64 = 1 << 20;
pub const CMD_CATEGORY_WRITE: u64 = 1 << 21;
pub const CMD_CATEGORY_SET: u64 = 1 << 22;
pub const CMD_CATEGORY_SORTEDSET: u64 = 1 << 23;
pub const CMD_CATEGORY_LIST: u64 = 1 << 24;
pub const CMD_CATEGORY_HASH: u64 = 1 << 25;
pub const CMD_CATEGORY_STRING: u64 = 1 << 26;
pub const CMD_CATEGORY_BITMAP: u64 = 1 << 27;
pub const CMD_CATEGORY_HYPERLOGLOG: u64 = 1 << 28;
pub const CMD_CATEGORY_GEO: u64 = 1 << 29;
pub const CMD_CATEGORY_STREAM: u64 = 1 << 30;
pub const CMD_CATEGORY_PUBSUB: u64 = 1 << 31;
pub const CMD_CATEGORY_ADMIN: u64 = 1 << 32;
pub const CMD_CATEGORY_FAST: u64 = 1 << 33;
pub const CMD_CATEGORY_SLOW: u64 = 1 << 34;
pub const CMD_CATEGORY_BLOCKING: u64 = 1 << 35;
pub const CMD_CATEGORY_DANGEROUS: u64 = 1 << 36;
pub const CMD_CATEGORY_CONNECTION: u64 = 1 << 37;
pub const CMD_CATEGORY_TRANSACTION: u64 = 1 << 38;
pub const CMD_CATEGORY_SCRIPTING: u64 = 1 << 39;

// Flags of a client: what it is and what is going on with it.
pub const CLIENT_SLAVE: u64 = 1 << 0;
pub const CLIENT_MASTER: u64 = 1 << 1;
pub const CLIENT_MONITOR: u64 = 1 << 2;
pub const CLIENT_MULTI: u64 = 1 << 3;
pub const CLIENT_BLOCKED: u64 = 1 << 4;
pub const CLIENT_DIRTY_CAS: u64 = 1 << 5;
pub const CLIENT_CLOSE_AFTER_REPLY: u64 = 1 << 6;
pub const CLIENT_UNBLOCKED: u64 = 1 << 7;
pub const CLIENT_LUA: u64 = 1 << 8;
pub const CLIENT_ASKING: u64 = 1 << 9;
pub const CLIENT_CLOSE_ASAP: u64 = 1 << 10;
pub const CLIENT_UNIX_SOCKET: u64 = 1 << 11;
pub const CLIENT_DIRTY_EXEC: u64 = 1 << 12;
pub const CLIENT_MASTER_FORCE_REPLY: u64 = 1 << 13;
pub const CLIENT_FORCE_AOF: u64 = 1 << 14;
pub const CLIENT_FORCE_REPL: u64 = 1 << 15;
pub const CLIENT_PRE_PSYNC: u64 = 1 << 16;
pub const CLIENT_READONLY: u64 = 1 << 17;
pub const CLIENT_PUBSUB: u64 = 1 << 18;
pub const CLIENT_PREVENT_AOF_PROP: u64 = 1 << 19;
pub const CLIENT_PREVENT_REPL_PROP: u64 = 1 << 20;
pub const CLIENT_PREVENT_PROP: u64 = CLIENT_PREVENT_AOF_PROP | CLIENT_PREVENT_REPL_PROP;
pub const CLIENT_PENDING_WRITE: u64 = 1 << 21;
pub const CLIENT_REPLY_OFF: u64 = 1 << 22;
pub const CLIENT_REPLY_SKIP_NEXT: u64 = 1 << 23;
pub const CLIENT_REPLY_SKIP: u64 = 1 << 24;
pub const CLIENT_LUA_DEBUG: u64 = 1 << 25;
pub const CLIENT_LUA_DEBUG_SYNC: u64 = 1 << 26;
pub const CLIENT_MODULE: u64 = 1 << 27;
pub const CLIENT_PROTECTED: u64 = 1 << 28;
pub const CLIENT_PENDING_READ: u64 = 1 << 29;
pub const CLIENT_PENDING_COMMAND: u64 = 1 << 30;
pub const CLIENT_TRACKING: u64 = 1 << 31;
pub const CLIENT_TRACKING_BROKEN_REDIR: u64 = 1 << 32;
pub const CLIENT_TRACKING_BCAST: u64 = 1 << 33;
pub const CLIENT_TRACKING_OPTIN: u64 = 1 << 34;
pub const CLIENT_TRACKING_OPTOUT: u64 = 1 << 35;
pub const CLIENT_TRACKING_CACHING: u64 = 1 << 36;
pub const CLIENT_TRACKING_NOLOOP: u64 = 1 << 37;
pub const CLIENT_IN_TO_TABLE: u64 = 1 << 38;
pub const CLIENT_PROTOCOL_ERROR: u64 = 1 << 39;
pub const CLIENT_CLOSE_AFTER_COMMAND: u64 = 1 << 40;
pub const CLIENT_DENY_BLOCKING: u64 = 1 << 41;
pub const CLIENT_REPL_RDBONLY: u64 = 1 << 42;
pub const CLIENT_PUSHING: u64 = 1 << 43;

// What a blocked client waits for (`btype`).
pub const BLOCKED_NONE: usize = 0;
pub const BLOCKED_LIST: usize = 1;
pub const BLOCKED_WAIT: usize = 2;
pub const BLOCKED_MODULE: usize = 3;
pub const BLOCKED_STREAM: usize = 4;
pub const BLOCKED_ZSET: usize = 5;
pub const BLOCKED_PAUSE: usize = 6;
pub const BLOCKED_NUM: usize = 7;

// Kinds of request.
pub const PROTO_REQ_INLINE: i32 = 1;
pub const PROTO_REQ_MULTIBULK: i32 = 2;

// Classes of clients, for the output buffer limits. Only the first three can be configured.
pub const CLIENT_TYPE_NORMAL: usize = 0;
pub const CLIENT_TYPE_SLAVE: usize = 1;
pub const CLIENT_TYPE_PUBSUB: usize = 2;
pub const CLIENT_TYPE_MASTER: usize = 3;
pub const CLIENT_TYPE_COUNT: usize = 4;
pub const CLIENT_TYPE_OBUF_COUNT: usize = 3;

// State of a replica as its master sees it. It gets new writes queued from WAIT_BGSAVE_END on.
pub const SLAVE_STATE_WAIT_BGSAVE_START: i32 = 6;
pub const SLAVE_STATE_WAIT_BGSAVE_END: i32 = 7;
pub const SLAVE_STATE_SEND_BULK: i32 = 8;
pub const SLAVE_STATE_ONLINE: i32 = 9;

// The capabilities that a replica announces (REPLCONF capa).
pub const SLAVE_CAPA_NONE: i32 = 0;
pub const SLAVE_CAPA_EOF: i32 = 1 << 0;
pub const SLAVE_CAPA_PSYNC2: i32 = 1 << 1;

// Ends of a list and of a sorted set.
pub const LIST_HEAD: i32 = 0;
pub const LIST_TAIL: i32 = 1;
pub const ZSET_MIN: i32 = 0;
pub const ZSET_MAX: i32 = 1;

// Supervision.
pub const SUPERVISED_NONE: i32 = 0;
pub const SUPERVISED_AUTODETECT: i32 = 1;
pub const SUPERVISED_SYSTEMD: i32 = 2;
pub const SUPERVISED_UPSTART: i32 = 3;

// Append only file.
pub const AOF_OFF: i32 = 0;
pub const AOF_ON: i32 = 1;
pub const AOF_WAIT_REWRITE: i32 = 2;
pub const AOF_FSYNC_NO: i32 = 0;
pub const AOF_FSYNC_ALWAYS: i32 = 1;
pub const AOF_FSYNC_EVERYSEC: i32 = 2;

/// A command of a rewritten file has at most so many elements of a value.
pub const AOF_REWRITE_ITEMS_PER_CMD: usize = 64;
/// The child that rewrites it looks for what changed meanwhile after so many bytes.
pub const AOF_READ_DIFF_INTERVAL_BYTES: u64 = 1024 * 10;
/// The number of the client in whose name the file is loaded.
pub const CLIENT_ID_AOF: u64 = u64::MAX;

// How thoroughly RESTORE and the RDB loader check a payload.
pub const SANITIZE_DUMP_NO: i32 = 0;
pub const SANITIZE_DUMP_YES: i32 = 1;
pub const SANITIZE_DUMP_CLIENTS: i32 = 2;

// Set operations.
pub const SET_OP_UNION: i32 = 0;
pub const SET_OP_DIFF: i32 = 1;
pub const SET_OP_INTER: i32 = 2;

// oom-score-adj.
pub const OOM_SCORE_ADJ_NO: i32 = 0;
pub const OOM_SCORE_RELATIVE: i32 = 1;
pub const OOM_SCORE_ADJ_ABSOLUTE: i32 = 2;

// maxmemory policies, with flags for what several share.
pub const MAXMEMORY_FLAG_LRU: i32 = 1 << 0;
pub const MAXMEMORY_FLAG_LFU: i32 = 1 << 1;
pub const MAXMEMORY_FLAG_ALLKEYS: i32 = 1 << 2;
pub const MAXMEMORY_VOLATILE_LRU: i32 = MAXMEMORY_FLAG_LRU;
pub const MAXMEMORY_VOLATILE_LFU: i32 = (1 << 8) | MAXMEMORY_FLAG_LFU;
pub const MAXMEMORY_VOLATILE_TTL: i32 = 2 << 8;
pub const MAXMEMORY_VOLATILE_RANDOM: i32 = 3 << 8;
pub const MAXMEMORY_ALLKEYS_LRU: i32 = (4 << 8) | MAXMEMORY_FLAG_LRU | MAXMEMORY_FLAG_ALLKEYS;
pub const MAXMEMORY_ALLKEYS_LFU: i32 = (5 << 8) | MAXMEMORY_FLAG_LFU | MAXMEMORY_FLAG_ALLKEYS;
pub const MAXMEMORY_ALLKEYS_RANDOM: i32 = (6 << 8) | MAXMEMORY_FLAG_ALLKEYS;
pub const MAXMEMORY_NO_EVICTION: i32 = 7 << 8;

// Units of time in command arguments.
pub const UNIT_SECONDS: i32 = 0;
pub const UNIT_MILLISECONDS: i32 = 1;

// SHUTDOWN.
pub const SHUTDOWN_NOFLAGS: i32 = 0;
pub const SHUTDOWN_SAVE: i32 = 1;
pub const SHUTDOWN_NOSAVE: i32 = 2;

// What `call` does besides executing.
pub const CMD_CALL_NONE: i32 = 0;
pub const CMD_CALL_SLOWLOG: i32 = 1 << 0;
pub const CMD_CALL_STATS: i32 = 1 << 1;
pub const CMD_CALL_PROPAGATE_AOF: i32 = 1 << 2;
pub const CMD_CALL_PROPAGATE_REPL: i32 = 1 << 3;
pub const CMD_CALL_PROPAGATE: i32 = CMD_CALL_PROPAGATE_AOF | CMD_CALL_PROPAGATE_REPL;
pub const CMD_CALL_FULL: i32 = CMD_CALL_SLOWLOG | CMD_CALL_STATS | CMD_CALL_PROPAGATE;
pub const CMD_CALL_NOWRAP: i32 = 1 << 4;

// Where a command is propagated.
pub const PROPAGATE_NONE: i32 = 0;
pub const PROPAGATE_AOF: i32 = 1;
pub const PROPAGATE_REPL: i32 = 2;

// Classes of keyspace events.
pub const NOTIFY_KEYSPACE: i32 = 1 << 0;
pub const NOTIFY_KEYEVENT: i32 = 1 << 1;
pub const NOTIFY_GENERIC: i32 = 1 << 2;
pub const NOTIFY_STRING: i32 = 1 << 3;
pub const NOTIFY_LIST: i32 = 1 << 4;
pub const NOTIFY_SET: i32 = 1 << 5;
pub const NOTIFY_HASH: i32 = 1 << 6;
pub const NOTIFY_ZSET: i32 = 1 << 7;
pub const NOTIFY_EXPIRED: i32 = 1 << 8;
pub const NOTIFY_EVICTED: i32 = 1 << 9;
pub const NOTIFY_STREAM: i32 = 1 << 10;
pub const NOTIFY_KEY_MISS: i32 = 1 << 11;
pub const NOTIFY_LOADED: i32 = 1 << 12;
pub const NOTIFY_MODULE: i32 = 1 << 13;
pub const NOTIFY_ALL: i32 = NOTIFY_GENERIC
    | NOTIFY_STRING
    | NOTIFY_LIST
    | NOTIFY_SET
    | NOTIFY_HASH
    | NOTIFY_ZSET
    | NOTIFY_EXPIRED
    | NOTIFY_EVICTED
    | NOTIFY_STREAM
    | NOTIFY_MODULE;

// LRU clock: 24 bits of seconds.
pub const LRU_BITS: u32 = 24;
pub const LRU_CLOCK_MAX: u32 = (1 << LRU_BITS) - 1;
pub const LRU_CLOCK_RESOLUTION: u32 = 1000;

// Flags of a user.
pub const USER_FLAG_ENABLED: u64 = 1 << 0;
pub const USER_FLAG_DISABLED: u64 = 1 << 1;
pub const USER_FLAG_ALLKEYS: u64 = 1 << 2;
pub const USER_FLAG_ALLCOMMANDS: u64 = 1 << 3;
pub const USER_FLAG_NOPASS: u64 = 1 << 4;
pub const USER_FLAG_ALLCHANNELS: u64 = 1 << 5;
pub const USER_FLAG_SANITIZE_PAYLOAD: u64 = 1 << 6;
pub const USER_FLAG_SANITIZE_PAYLOAD_SKIP: u64 = 1 << 7;

/// The bits of a user's bitmap of commands; no command has the last one.
pub const USER_COMMAND_BITS_COUNT: usize = 1024;

/// Why a user is denied something.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum AclDenied {
    /// The user may not run the command, or not this subcommand of it.
    ACL_DENIED_CMD,
    /// The user may not touch a key.
    ACL_DENIED_KEY,
    /// Nobody may log in with this name and password. Only in the log.
    ACL_DENIED_AUTH,
    /// The user may not use a channel.
    ACL_DENIED_CHANNEL,
}
pub use AclDenied::*;

/// What `ACLCheckAllPerm` says of a command that is denied.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Denied {
    pub reason: AclDenied,
    /// Which argument is the key or the channel.
    pub argpos: usize,
}
// How a key is looked up: NOTOUCH leaves its LRU alone, NONOTIFY tells nobody that it was missing.
pub const LOOKUP_NONE: i32 = 0;
pub const LOOKUP_NOTOUCH: i32 = 1 << 0;
pub const LOOKUP_NONOTIFY: i32 = 1 << 1;

// How a db is emptied: ASYNC frees its memory in another thread.
pub const EMPTYDB_NO_FLAGS: i32 = 0;
pub const EMPTYDB_ASYNC: i32 = 1 << 0;

// Why an RDB is saved or loaded.
pub const RDBFLAGS_NONE: i32 = 0;
pub const RDBFLAGS_AOF_PREAMBLE: i32 = 1 << 0;
pub const RDBFLAGS_REPLICATION: i32 = 1 << 1;
pub const RDBFLAGS_ALLOW_DUP: i32 = 1 << 2;
/// Keys that have expired are deleted in the replication stream, too. (7.0's; the C has none.)
pub const RDBFLAGS_FEED_REPL: i32 = 1 << 3;

/// The directory a server that was given none runs in, the pid file of one that daemonizes, and the
/// title of all.
pub const CONFIG_DEFAULT_PID_FILE: &[u8] = b"/var/run/redis.pid";
pub const CONFIG_DEFAULT_PROC_TITLE_TEMPLATE: &[u8] = b"{title} {listen-addr} {server-mode}";

/// The version of Redis that we behave as, in INFO, HELLO, LOLWUT and the RDB's AUX fields.
pub const REDIS_VERSION: &str = "6.2.16";
/// Our own version, in INFO, LOLWUT and `--version`.
pub const FIDELIS_VERSION: &str = env!("CARGO_PKG_VERSION");
/// `REDIS_VERSION` as a number: 0x00MMmmpp.
pub const REDIS_VERSION_NUM: i64 = 0x0006_0210;

// -----------------------------------------------------------------------------
// States
// -----------------------------------------------------------------------------

/// The state of a replica's link to its master. The order matters: everything between
/// `RECEIVE_PING_REPLY` and `RECEIVE_PSYNC_REPLY` is the handshake.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum repl_state {
    /// This server is a master.
    #[default]
    REPL_STATE_NONE,
    /// The replica has to connect; the next `replicationCron` does.
    REPL_STATE_CONNECT,
    /// The replica waits for connect(2).
    REPL_STATE_CONNECTING,
    REPL_STATE_RECEIVE_PING_REPLY,
    REPL_STATE_SEND_HANDSHAKE,
    REPL_STATE_RECEIVE_AUTH_REPLY,
    REPL_STATE_RECEIVE_PORT_REPLY,
    REPL_STATE_RECEIVE_IP_REPLY,
    REPL_STATE_RECEIVE_CAPA_REPLY,
    REPL_STATE_SEND_PSYNC,
    REPL_STATE_RECEIVE_PSYNC_REPLY,
    /// The replica receives the RDB.
    REPL_STATE_TRANSFER,
    /// The replica applies the stream of its master.
    REPL_STATE_CONNECTED,
}
pub use repl_state::*;

/// The commands that CLIENT PAUSE holds back; a larger value holds back more.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum pause_type {
    #[default]
    CLIENT_PAUSE_OFF,
    CLIENT_PAUSE_WRITE,
    CLIENT_PAUSE_ALL,
}
pub use pause_type::*;

/// How far a failover has come that FAILOVER began.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum failover_state {
    /// No failover.
    #[default]
    NO_FAILOVER,
    /// The master waits for a replica to catch up.
    FAILOVER_WAIT_FOR_SYNC,
    /// The master waits for the handshake with that replica, which is to become the master.
    FAILOVER_IN_PROGRESS,
}
pub use failover_state::*;

/// The occasion of a message on the child-info pipe.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum childInfoType {
    CHILD_INFO_TYPE_CURRENT_INFO,
    CHILD_INFO_TYPE_AOF_COW_SIZE,
    CHILD_INFO_TYPE_RDB_COW_SIZE,
    CHILD_INFO_TYPE_MODULE_COW_SIZE,
}
pub use childInfoType::*;

// -----------------------------------------------------------------------------
// Databases
// -----------------------------------------------------------------------------

/// `redisDb`: one of the numbered keyspaces.
#[derive(Default)]
pub struct RedisDb {
    /// The keys and, over the same entries, those that expire (the C's `dict` and `expires`).
    pub dict: Keyspace,
    /// Keys that clients wait for (BLPOP and friends), each with its clients in order of arrival.
    pub blocking_keys: HashMap<Vec<u8>, List<ClientId>>,
    /// Those of `blocking_keys` that got data and are in `server.ready_keys`.
    pub ready_keys: HashSet<Vec<u8>>,
    /// WATCHed keys, each with its clients.
    pub watched_keys: HashMap<Vec<u8>, List<ClientId>>,
    pub id: usize,
    /// Average time to live, in milliseconds, as sampled by the active expire cycle.
    pub avg_ttl: i64,
    /// The cursor at which the active expire cycle goes on.
    pub expires_cursor: u64,
    /// Keys with many elements that active defragmentation has put off, in order.
    pub defrag_later: VecDeque<Box<[u8]>>,
}

impl RedisDb {
    /// Returns the value behind a handle. Panics with the caller's place if the handle is stale.
    #[inline(always)]
    #[track_caller]
    pub fn get(&self, o: KeyRef) -> ValueRef<'_> {
        self.dict.get(o)
    }

    /// Returns the value behind a handle, to change an aggregate in place. Panics with the caller's
    /// place if the handle is stale.
    #[track_caller]
    pub fn get_mut(&mut self, o: KeyRef) -> ValueMut<'_> {
        self.dict.get_mut(o)
    }
}

// -----------------------------------------------------------------------------
// Clients
// -----------------------------------------------------------------------------

/// `multiCmd`: a command queued by MULTI.
pub struct multiCmd {
    pub argv: Argv,
    pub cmd: CommandId,
}

/// `multiState`: what MULTI has queued so far.
#[derive(Default)]
pub struct multiState {
    pub commands: Vec<multiCmd>,
    /// Flags of all the commands, OR-ed.
    pub cmd_flags: u64,
    /// The inverted flags of all the commands, OR-ed: each flag that at least one command lacks.
    pub cmd_inv_flags: u64,
}

/// The ID of a stream's entry. A blocked XREAD waits for entries after this one.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct streamID {
    pub ms: u64,
    pub seq: u64,
}

/// `blockingState`: why a client is blocked and until when. Which fields count depends on the
/// client's `btype`.
#[derive(Default)]
pub struct blockingState {
    /// Deadline in milliseconds as `steady_ms` counts them; 0 is for ever.
    pub timeout: mstime_t,
    /// The keys waited for, in the order given, with the last id seen (streams only).
    pub keys: Vec<(Vec<u8>, Option<streamID>)>,
    /// The key that receives the element (BLMOVE).
    pub target: Option<Vec<u8>>,
    pub wherefrom: i32,
    pub whereto: i32,
    /// COUNT of XREAD; 0 is no limit.
    pub xread_count: usize,
    pub xread_group: Option<Vec<u8>>,
    pub xread_consumer: Option<Vec<u8>>,
    pub xread_group_noack: bool,
    /// The number of replicas that WAIT waits for, and the offset that each has to acknowledge.
    pub numreplicas: i32,
    pub reploffset: i64,
}

/// `readyList`: a key that clients wait for and that got data.
pub struct readyList {
    pub db: usize,
    pub key: Vec<u8>,
}

/// A key a client WATCHes.
#[derive(Clone, PartialEq, Eq)]
pub struct watchedKey {
    pub db: usize,
    pub key: Vec<u8>,
}

/// The number of a user in `server.users`.
pub type UserId = usize;
/// The user every connection starts as.
pub const DefaultUser: UserId = 0;

/// `user`: a user of the ACL, with passwords and rules.
#[derive(Default, Clone)]
pub struct User {
    pub name: Vec<u8>,
    pub flags: u64,
    /// A bit for each command, by its id.
    pub allowed_commands: [u64; USER_COMMAND_BITS_COUNT / 64],
    /// Of commands whose bit is not set, the subcommands that are allowed all the same.
    pub allowed_subcommands: BTreeMap<CommandId, Vec<Vec<u8>>>,
    /// SHA-256 of each password, in hex.
    pub passwords: Vec<Vec<u8>>,
    /// The keys that are allowed. Empty with `USER_FLAG_ALLKEYS`.
    pub patterns: KeyPatterns,
    /// The channels that are allowed. Empty with `USER_FLAG_ALLCHANNELS`.
    pub channels: Vec<Vec<u8>>,
}

/// One block of a client's reply list.
pub type clientReplyBlock = Vec<u8>;

/// An element of a client's reply list.
pub enum ReplyNode {
    Block(clientReplyBlock),
    /// The place of a length that is not known yet (`addReplyDeferredLen`), by number.
    Deferred(u32),
}

/// The state of a client's input: positions in its query buffer, and what is known of the
/// command behind them.
///
/// ```text
///   querybuf
///   +-------------------+----------------------------------+----------------------+
///   | executed          | a command of which a part is     | not looked at yet    |
///   |                   | here: its arguments so far lie   |                      |
///   |                   | at `qb_args`, in this part       |                      |
///   +-------------------+----------------------------------+----------------------+
///   0                   qb_pos                             qb_parsed              querybuf.len()
/// ```
///
/// Between calls of `processInputBuffer` everything executed was cut off, so that `qb_pos` is 0;
/// and `qb_parsed`, `qb_args` and `qb_canonical` mean something only while `multibulklen` says that
/// arguments are missing. While the commands run, the buffer is out of the client, since their
/// arguments borrow it: `querybuf` is empty, and the two `querybuf_lent_*` stand for it.
///
/// C: the arguments that are complete are objects in `argv`, and `qb_pos` is behind them.
#[derive(Default)]
pub struct InputState {
    /// Where the next command begins. Above 0 only while commands run.
    pub qb_pos: usize,
    /// How far the command at `qb_pos` was parsed.
    pub qb_parsed: usize,
    /// Where its arguments so far lie.
    pub qb_args: Vec<ArgRange>,
    /// True if all its lines so far end in CRLF, as those we send do, so that it can be propagated
    /// as it came.
    pub qb_canonical: bool,
    /// Length of the query buffer that is out of the client; 0 when it is not. A reader of the
    /// socket finds by this that it was called from within a command of the same client.
    pub querybuf_lent_len: usize,
    /// Room left in the query buffer that is out of the client.
    pub querybuf_lent_free: usize,
    /// Bytes in `querybuf` that were read before the client's turn in the event loop came, and not
    /// accounted for yet.
    pub read_ahead: usize,
    /// The command at the start of `querybuf`, if it was looked for before the client's turn.
    pub(crate) lookahead: Option<Box<crate::lookahead::Lookahead>>,
}

/// `client`: a connection, or one of the clients without one (the cached master, a loader's).
#[derive(Default)]
#[repr(C, align(64))]
pub struct Client {
    // What every command looks at comes first, in the order of the cache lines in which it is. Where
    // there are many clients, each line that is not in the cache is a wait.
    /// CLIENT_*
    pub flags: u64,
    /// `None` for a client without a connection, and for one whose connection was closed.
    pub conn: Option<ConnId>,
    /// The user whose rules apply. `None` may do everything (the master's client).
    pub user: Option<UserId>,
    pub db: usize,
    pub cmd: Option<CommandId>,
    pub lastcmd: Option<CommandId>,
    pub reqtype: i32,
    /// The version of the protocol, 2 or 3.
    pub resp: i32,
    pub authenticated: bool,
    /// The result of `authRequired` when the client's input was last looked at.
    pub auth_required: bool,
    /// Arguments of the current request still to be read.
    pub multibulklen: i64,
    /// Length of the bulk being read, -1 when its header was not read yet.
    pub bulklen: i64,
    /// The number of arguments of a command that is only partly received, and their total length
    /// (for INFO and limits).
    pub argv_len_sum: usize,
    /// Bytes received and not executed yet. Taken out of the client while its commands run.
    pub querybuf: Vec<u8>,
    pub lastinteraction: i64,
    /// Duration of the running command so far, in microseconds, without the time it was blocked.
    pub duration: i64,
    /// How far the bytes in `querybuf` have been parsed and executed.
    pub input: InputState,
    /// The first reply bytes; at most PROTO_REPLY_CHUNK_BYTES.
    pub buf: Vec<u8>,
    /// Bytes already sent of the buffer or block being sent.
    pub sentlen: usize,
    /// The offset of the byte of the stream that it is sent next, behind what is in its own output
    /// buffer; `None` if it gets no stream.
    pub repl_pos: Option<i64>,
    /// Reply bytes that did not fit into `buf`, in blocks.
    pub reply: VecDeque<ReplyNode>,
    /// The arguments as which the running command is to be propagated, if it was rewritten; also a
    /// whole command that waits (CLIENT PAUSE).
    pub argv: Option<Argv>,
    /// The arguments that the client sent, if some of them were redacted: for MONITOR and the slow
    /// log.
    pub original_argv: Option<Argv>,

    // What some do.
    /// The number that CLIENT ID shows. No other client ever gets it.
    pub id: u64,
    pub name: Option<Vec<u8>>,
    /// For a master: the bytes received that are not passed on to our replicas yet.
    pub pending_querybuf: Vec<u8>,
    /// How far `pending_querybuf` was passed on; above 0 only while commands run.
    pub pending_pos: usize,
    pub querybuf_peak: usize,
    /// Bytes in the reply list.
    pub reply_bytes: usize,
    /// The number of the last deferred length.
    pub reply_deferred: u32,
    pub ctime: i64,
    pub obuf_soft_limit_reached_time: i64,
    /// The client is to be closed because of its output buffer, and that is not logged yet.
    pub obuf_limit_reached: bool,
    /// The state of a replica, SLAVE_STATE_*.
    pub replstate: i32,
    /// The write handler is installed at the first REPLCONF ACK: until then nothing may follow the
    /// mark at the end of a streamed RDB.
    pub repl_put_online_on_ack: bool,
    /// The RDB file being sent.
    pub repldbfd: Option<RawFd>,
    /// How much of the file is sent; of a streamed RDB, how much of what `rdb_pipe_buff` holds.
    pub repldboff: i64,
    pub repldbsize: i64,
    pub replpreamble: Option<Vec<u8>>,
    /// When it last took only a part of a streamed RDB's next piece (`steady_time`); 0 if it has
    /// taken all.
    pub repl_last_partial_write: i64,
    /// For a master: the offset of what was read from it.
    pub read_reploff: i64,
    /// For a master: the offset of what was applied.
    pub reploff: i64,
    /// For a replica: the offset it acknowledged, and when.
    pub repl_ack_off: i64,
    pub repl_ack_time: i64,
    /// The offset in +FULLRESYNC; replicas that join the same save get it too.
    pub psync_initial_offset: i64,
    /// For a master: its replication id, 40 hex digits.
    pub replid: Vec<u8>,
    pub slave_listening_port: i32,
    pub slave_addr: Option<Vec<u8>>,
    pub slave_capa: i32,
    pub mstate: multiState,
    /// BLOCKED_*
    pub btype: usize,
    pub bpop: blockingState,
    /// The replication offset after this client's last command: what WAIT waits for.
    pub woff: i64,
    pub watched_keys: Vec<watchedKey>,
    pub pubsub_channels: HashSet<Vec<u8>>,
    pub pubsub_patterns: Vec<Vec<u8>>,
    /// Where the invalidations of a client that tracks go: the number of a client, 0 for itself.
    pub client_tracking_redirection: u64,
    /// The prefixes that the client follows in BCAST mode.
    pub client_tracking_prefixes: Option<Box<crate::ds::rax::Rax<()>>>,
    /// Cached text of the two addresses.
    pub peerid: Option<Vec<u8>>,
    pub sockname: Option<Vec<u8>>,
    pub client_list_node: Option<ListNode>,
    pub paused_list_node: Option<ListNode>,
    pub client_cron_last_memory_usage: usize,
    pub client_cron_last_memory_type: usize,
}

impl Client {
    /// Prefetches what every command looks at.
    #[inline(always)]
    pub fn prefetch(&self) {
        let len = offset_of!(Client, original_argv) + size_of::<Option<Argv>>();
        for at in (0..len).step_by(64) {
            prefetch(from_ref(self).addr() + at);
        }
    }
}

/// Output buffer limits of a class: closed at once above the hard one, after some seconds above the
/// soft one. 0 is no limit.
#[derive(Copy, Clone, Default, PartialEq, Eq, Debug)]
pub struct clientBufferLimitsConfig {
    pub hard_limit_bytes: u64,
    pub soft_limit_bytes: u64,
    pub soft_limit_seconds: i64,
}

// -----------------------------------------------------------------------------
// Commands
// -----------------------------------------------------------------------------

/// The number of a command in `server.commands`.
pub type CommandId = u16;

/// A command's function. It returns nothing: results and errors go into the client's reply.
pub type redisCommandProc = fn(&mut Server, ClientId, &Args);

/// Finds the keys among the arguments of a command whose keys have no fixed places: indices into
/// argv.
pub type redisGetKeysProc = fn(cmd: &redisCommand, argv: &Args, result: &mut Vec<usize>) -> usize;

/// `redisCommand`: an entry of the command table.
#[derive(Clone)]
pub struct redisCommand {
    pub name: &'static str,
    pub proc_: redisCommandProc,
    /// Number of arguments with the name; at least so many where negative.
    pub arity: i32,
    /// The flags in words, as COMMAND shows them.
    pub sflags: &'static str,
    pub flags: u64,
    pub getkeys_proc: Option<redisGetKeysProc>,
    pub firstkey: i32,
    /// The last key, counted from the end where negative.
    pub lastkey: i32,
    pub keystep: i32,
    pub microseconds: i64,
    pub calls: i64,
    pub rejected_calls: i64,
    pub failed_calls: i64,
    pub id: CommandId,
}

/// `redisOp`: a command to propagate after the one that runs.
pub struct redisOp {
    pub argv: Argv,
    pub dbid: i32,
    /// PROPAGATE_*
    pub target: i32,
    pub cmd: CommandId,
}

// -----------------------------------------------------------------------------
// The server
// -----------------------------------------------------------------------------

/// `rdbSaveInfo`: replication state that travels in an RDB file.
#[derive(Clone, Debug)]
pub struct rdbSaveInfo {
    /// The db the master's stream has selected; -1 when not known.
    pub repl_stream_db: i32,
    pub repl_id_is_set: bool,
    pub repl_id: Vec<u8>,
    pub repl_offset: i64,
}

impl Default for rdbSaveInfo {
    fn default() -> Self {
        rdbSaveInfo {
            repl_stream_db: -1,
            repl_id_is_set: false,
            repl_id: vec![b'0'; CONFIG_RUN_ID_SIZE],
            repl_offset: -1,
        }
    }
}

/// A save point: save when `changes` keys changed in `seconds`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct saveparam {
    pub seconds: i64,
    pub changes: i32,
}

/// Memory figures that are slow to get, in bytes; see `sample_memory_stats`.
#[derive(Copy, Clone, Default)]
pub struct malloc_stats {
    /// When they were sampled, as `steady_ms` counts; 0 is never.
    pub sampled: mstime_t,
    pub zmalloc_used: usize,
    pub process_rss: usize,
    pub allocator_allocated: usize,
    pub allocator_active: usize,
    pub allocator_resident: usize,
}

/// A metric of which INFO shows the rate: the last samples, per second.
#[derive(Copy, Clone, Default)]
pub struct inst_metric {
    pub last_sample_time: i64,
    pub last_sample_count: i64,
    pub samples: [i64; STATS_METRIC_SAMPLES],
    pub idx: usize,
}

/// `slowlogEntry`: a command that took long.
pub struct slowlogEntry {
    pub argv: Vec<Vec<u8>>,
    pub id: i64,
    /// The duration in microseconds.
    pub duration: i64,
    pub time: i64,
    pub cname: Vec<u8>,
    pub peerid: Vec<u8>,
}

/// What the state of the server means to commands that work on data, as far as that was looked at:
/// see `look_around` in server.rs.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Quiet {
    /// It has to be looked at.
    #[default]
    Unknown,
    /// Something of it may be against a command, or somebody is to be told of each.
    No,
    /// Nothing is.
    Yes,
}

/// The whole state of a server. It is one value, passed down as the first argument.
#[derive(Default)]
pub struct Server {
    // General
    pub pid: i32,
    pub configfile: Option<Vec<u8>>,
    pub executable: Option<Vec<u8>>,
    pub exec_argv: Vec<Vec<u8>>,
    pub dynamic_hz: bool,
    pub config_hz: i32,
    pub umask: u32,
    pub hz: i32,
    pub in_fork_child: i32,
    pub db: Vec<RedisDb>,
    pub commands: crate::server::CommandTable,
    /// The event loop and the connections it serves (the C's `server.el`).
    pub net: Net,
    /// The work space that reading and parsing keep between calls.
    pub(crate) input_scratch: crate::lookahead::InputScratch,
    /// Error replies by their first word, for INFO errorstats.
    pub errors: BTreeMap<Vec<u8>, i64>,
    pub lruclock: u32,
    pub shutdown_asap: bool,
    pub activerehashing: bool,
    pub pidfile: Option<Vec<u8>>,
    pub arch_bits: i32,
    pub cronloops: i64,
    /// The db at which `databasesCron` goes on.
    pub resize_db: usize,
    pub rehash_db: usize,
    /// The kernel and the machine, for INFO.
    pub os_name: Vec<u8>,
    /// The memory that `setproctitle` writes over; `None` where the title cannot be changed.
    pub proc_title: Option<crate::sys::proc::ProcTitle>,
    pub runid: Vec<u8>,
    pub initial_memory_usage: usize,
    pub always_show_logo: bool,
    pub in_exec: bool,
    pub propagate_in_transaction: bool,
    pub client_pause_in_transaction: bool,
    pub ignore_warnings: Vec<u8>,
    pub child_pid: i32,
    pub child_type: i32,

    // Networking
    pub port: i32,
    pub tcp_backlog: i32,
    pub bindaddr: Vec<Vec<u8>>,
    pub unixsocket: Option<Vec<u8>>,
    pub unixsocketperm: u32,
    /// Listening TCP sockets.
    pub ipfd: Vec<RawFd>,
    /// Listening unix socket.
    pub sofd: Option<RawFd>,
    /// The clients, and all that queueing a reply touches.
    pub clients: Clients,
    pub slaves: List<ClientId>,
    pub monitors: List<ClientId>,
    /// The client whose command runs; `unlinkClient` clears it. After a call that may free a
    /// client, ask `server.clients.contains`.
    pub current_client: Option<ClientId>,
    /// Blocked clients by deadline (milliseconds, client number).
    pub clients_timeout_table: std::collections::BTreeSet<(u64, ClientId)>,
    /// Whether the state of the server is of no concern to commands that work on data.
    pub quiet: Quiet,
    /// The default user may do everything; as `look_around` has found it, together with `quiet`.
    pub default_user_is_free: bool,
    /// The hash of the running command's first key, where the parser computed it.
    pub key_hash_hint: crate::db::KeyHashHint,
    /// Above 0, keys expire against `mstime`: time stands still within a command.
    pub fixed_time_expire: i32,
    pub in_nested_call: i32,
    /// When the running or last command ended or began, in microseconds, and how many reads there
    /// had been; 0 is never.
    pub command_clock: ustime_t,
    pub command_clock_reads: i64,
    /// The clock behind `command_clock`; set by the system's clock in each turn of the loop.
    pub tick_clock: crate::sys::clock::TickClock,
    /// Error replies counted so far, as the innermost `call` knows it.
    pub prev_err_count: i64,
    pub client_pause_type: pause_type,
    /// The end of the pause, in milliseconds as `steady_ms` counts them.
    pub client_pause_end_time: mstime_t,
    pub paused_clients: List<ClientId>,
    /// Whether keys that begin with a slash are served by the Gopher protocol.
    pub gopher_enabled: bool,
    pub protected_mode: bool,
    pub events_processed_while_blocked: i64,
    /// When an HTTP request was last logged (seconds).
    pub security_warning_logged_time: i64,

    // Loading
    pub loading: bool,
    pub loading_total_bytes: i64,
    pub loading_rdb_used_mem: i64,
    pub loading_loaded_bytes: i64,
    pub loading_start_time: i64,
    pub loading_process_events_interval_bytes: i64,
    /// The file that is being loaded; `None` while an RDB comes from elsewhere.
    pub rdbFileBeingLoaded: Option<Vec<u8>>,
    /// Set while a file is only checked (the C's `rdbCheckMode` and `rdbstate`).
    pub rdb_check: Option<Box<crate::redis_check_rdb::RdbCheck>>,

    // Statistics
    pub stat_starttime: i64,
    pub stat_numcommands: i64,
    pub stat_numconnections: i64,
    pub stat_expiredkeys: i64,
    pub stat_expired_stale_perc: f64,
    pub stat_expired_time_cap_reached_count: i64,
    pub stat_expire_cycle_time_used: i64,
    pub stat_evictedkeys: i64,
    pub stat_keyspace_hits: i64,
    pub stat_keyspace_misses: i64,
    pub stat_peak_memory: usize,
    /// The total of all allocations when the peak was last updated (`has_allocated_since`).
    pub stat_peak_mark: u64,
    /// Ours: the memory in use when the cron looked at it last (`memory_is_not_filling`).
    pub cron_used_memory: usize,
    /// Duration of the last fork in microseconds, and its rate in GB per second.
    pub stat_fork_time: i64,
    pub stat_fork_rate: f64,
    pub stat_total_forks: i64,
    pub stat_rejected_conn: i64,
    pub stat_sync_full: i64,
    pub stat_sync_partial_ok: i64,
    pub stat_sync_partial_err: i64,
    pub slowlog: VecDeque<slowlogEntry>,
    pub slowlog_entry_id: i64,
    pub slowlog_log_slower_than: i64,
    pub slowlog_max_len: usize,
    pub cron_malloc_stats: malloc_stats,
    pub stat_net_input_bytes: i64,
    pub stat_net_output_bytes: i64,
    /// Active defragmentation: allocations moved, and looked at without being moved; the same of
    /// keys; and elements come by.
    pub stat_active_defrag_hits: i64,
    pub stat_active_defrag_misses: i64,
    pub stat_active_defrag_key_hits: i64,
    pub stat_active_defrag_key_misses: i64,
    pub stat_active_defrag_scanned: i64,
    pub stat_current_cow_bytes: usize,
    pub stat_current_cow_updated: u64,
    pub stat_current_save_keys_processed: usize,
    pub stat_current_save_keys_total: usize,
    pub stat_rdb_cow_bytes: usize,
    pub stat_aof_cow_bytes: usize,
    pub stat_clients_type_memory: [usize; CLIENT_TYPE_COUNT],
    /// The largest buffers of clients in each of the last seconds.
    pub ClientsPeakMemInput: [usize; CLIENTS_PEAK_MEM_USAGE_SLOTS],
    pub ClientsPeakMemOutput: [usize; CLIENTS_PEAK_MEM_USAGE_SLOTS],
    pub stat_unexpected_error_replies: i64,
    /// The number of commands of our master that have no form of 6.2.
    pub stat_untranslated_commands: i64,
    pub stat_total_error_replies: i64,
    pub stat_dump_payload_sanitizations: i64,
    pub stat_total_reads_processed: i64,
    pub stat_total_writes_processed: i64,
    pub inst_metric: [inst_metric; STATS_METRIC_COUNT],

    // Configuration
    /// The values of directives about absent parts, by the name of the directive: numbers, and
    /// texts (see `absent_number` and `absent_text` in config.rs).
    pub absent_numbers: BTreeMap<&'static str, i64>,
    pub absent_texts: BTreeMap<&'static str, Vec<u8>>,
    pub verbosity: i32,
    pub maxidletime: i32,
    pub tcpkeepalive: i32,
    pub active_expire_enabled: bool,
    pub active_expire_effort: i32,
    pub active_expire: crate::expire::ActiveExpire,
    pub active_defrag_enabled: bool,
    /// The least number of bytes lost to fragmentation for which a scan starts.
    pub active_defrag_ignore_bytes: usize,
    /// Per cent of fragmentation at which a scan starts, and at which it takes all it may.
    pub active_defrag_threshold_lower: i32,
    pub active_defrag_threshold_upper: i32,
    /// Per cent of the time that a scan takes at least and at most.
    pub active_defrag_cycle_min: i32,
    pub active_defrag_cycle_max: i32,
    /// Keys with more elements than this are not moved within the scan, but bit by bit.
    pub active_defrag_max_scan_fields: u64,
    /// Per cent of the time that the scan takes that runs; 0 if none does.
    pub active_defrag_running: i32,
    pub defrag: crate::defrag::DefragState,
    pub sanitize_dump_payload: i32,
    pub skip_checksum_validation: bool,
    /// Connections that MIGRATE keeps for a while, by `host:port`.
    pub migrate_cached_sockets: HashMap<Vec<u8>, crate::cluster::migrateCachedSocket>,
    /// The compressor of DUMP, kept from one call to the next.
    pub dump_lzf: Option<Box<crate::ds::lzf::LzfState>>,
    pub jemalloc_bg_thread: bool,
    pub client_max_querybuf_len: usize,
    pub dbnum: usize,
    pub supervised: bool,
    pub supervised_mode: i32,
    pub daemonize: bool,
    pub set_proc_title: bool,
    pub proc_title_template: Vec<u8>,
    pub pause_cron: bool,
    pub latency_tracking_events: HashMap<Vec<u8>, crate::latency::latencyTimeSeries>,
    pub latency_monitor_threshold: i64,

    // AOF persistence
    /// `appendonly`, as configured.
    pub aof_enabled: bool,
    /// The actual state: AOF_OFF, AOF_ON, AOF_WAIT_REWRITE.
    pub aof_state: i32,
    /// AOF_FSYNC_*
    pub aof_fsync: i32,
    pub aof_filename: Vec<u8>,
    pub aof_no_fsync_on_rewrite: bool,
    /// A rewrite is started when the file has grown by so much, and has so many bytes.
    pub aof_rewrite_perc: i32,
    pub aof_rewrite_min_size: i64,
    /// The size of the file after the last rewrite, or at the start.
    pub aof_rewrite_base_size: i64,
    pub aof_current_size: i64,
    /// The length of the file up to which an fsync was requested.
    pub aof_fsync_offset: i64,
    /// Microseconds to sleep before each write, for tests.
    pub aof_flush_sleep: i32,
    /// A rewrite is to start when the child that is active now has ended.
    pub aof_rewrite_scheduled: bool,
    /// The changes since a rewrite began that are not sent to its child yet.
    pub aof_rewrite_buf_blocks: VecDeque<crate::aof::aofrwblock>,
    /// The changes that are to be written before the loop sleeps.
    pub aof_buf: Vec<u8>,
    pub aof_fd: Option<RawFd>,
    /// The db that the file has selected; -1 makes the next command say it.
    pub aof_selected_db: i32,
    /// Since when a write waits for an fsync, in seconds since the epoch; 0: none does.
    pub aof_flush_postponed_start: i64,
    pub aof_last_fsync: i64,
    /// Seconds that the last rewrite took, and when the present one began; -1 is never.
    pub aof_rewrite_time_last: i64,
    pub aof_rewrite_time_start: i64,
    pub aof_lastbgrewrite_status: CStatus,
    /// The number of writes that stopped waiting for an fsync.
    pub aof_delayed_fsync: u64,
    pub aof_rewrite_incremental_fsync: bool,
    pub aof_last_write_status: CStatus,
    pub aof_last_write_errno: i32,
    /// When a write that failed was last logged, in seconds since the epoch.
    pub aof_last_write_error_log: i64,
    pub aof_load_truncated: bool,
    pub aof_use_rdb_preamble: bool,
    /// The pipes between parent and child, as long as a child rewrites.
    pub aof_pipes: Option<crate::aof::aofPipes>,
    /// The child has asked for no more changes.
    pub aof_stop_sending_diff: bool,
    /// In the child: the changes that it got from the parent.
    pub aof_child_diff: Vec<u8>,

    // RDB persistence
    /// Changes since the last save.
    pub dirty: i64,
    pub dirty_before_bgsave: i64,
    pub saveparams: Vec<saveparam>,
    pub rdb_filename: Vec<u8>,
    pub rdb_compression: bool,
    pub rdb_checksum: bool,
    pub rdb_del_sync_files: bool,
    pub lastsave: i64,
    /// The moment of `lastsave` in `steady_time`: save points count from it.
    pub lastsave_steady: i64,
    pub lastbgsave_try: i64,
    pub rdb_save_time_last: i64,
    pub rdb_save_time_start: i64,
    pub rdb_bgsave_scheduled: bool,
    pub rdb_child_type: i32,
    pub lastbgsave_status: CStatus,
    pub stop_writes_on_bgsave_err: bool,
    pub rdb_save_incremental_fsync: bool,
    /// Microseconds between keys while saving or loading, for tests; below 0, a fraction of one on
    /// average.
    pub rdb_key_save_delay: i32,
    /// The end of the pipe on which the child sends us the RDB that we stream to replicas.
    pub rdb_pipe_read: Option<RawFd>,
    /// Closed to let that child exit.
    pub rdb_child_exit_pipe: Option<RawFd>,
    /// The replicas' connections to which the RDB is streamed, `None` for one that is gone. Empty
    /// while nothing is streamed.
    pub rdb_pipe_conns: Vec<Option<ConnId>>,
    /// How many of them have not taken all of `rdb_pipe_buff` yet.
    pub rdb_pipe_numconns_writing: i32,
    /// What was last read from the pipe.
    pub rdb_pipe_buff: Vec<u8>,
    pub key_load_delay: i32,
    /// Both ends of the pipe a child reports on.
    pub child_info_pipe: Option<(RawFd, RawFd)>,
    pub child_info_nread: usize,
    pub child_info: crate::childinfo::ChildInfo,
    /// The background threads.
    pub bio: crate::bio::Bio,

    // Propagation
    pub also_propagate: Vec<redisOp>,

    // Logging
    pub logfile: Vec<u8>,
    pub syslog_enabled: bool,
    pub syslog_ident: Vec<u8>,
    pub syslog_facility: i32,
    pub crashlog_enabled: bool,
    pub memcheck_enabled: bool,
    pub use_exit_on_panic: bool,
    pub watchdog_period: i32,

    // Replication, the master's side
    /// Our replication id, 40 hex digits, and the one we had in common with our former master.
    pub replid: Vec<u8>,
    pub replid2: Vec<u8>,
    pub master_repl_offset: i64,
    /// The offset up to which `replid2` is valid; -1 when there is none.
    pub second_replid_offset: i64,
    /// The db the replication stream has selected; -1 makes the next command say it.
    pub slaveseldb: i32,
    pub repl_ping_slave_period: i32,
    /// Whether there is a backlog: the last bytes of `clients.repl`.
    pub repl_backlog: bool,
    pub repl_backlog_size: i64,
    pub repl_backlog_histlen: i64,
    /// The replication offset of the oldest byte in the backlog.
    pub repl_backlog_off: i64,
    /// Seconds without replicas after which the backlog is freed; 0 is never.
    pub repl_backlog_time_limit: i64,
    /// Stream RDBs to replicas instead of making a file, after so many seconds in which others may
    /// join.
    pub repl_diskless_sync: bool,
    pub repl_diskless_sync_delay: i32,
    pub repl_no_slaves_since: i64,
    /// How many seconds a shutdown waits for replicas to take what they have not been sent yet.
    pub shutdown_timeout: i32,
    pub repl_min_slaves_to_write: i32,
    pub repl_min_slaves_max_lag: i32,
    pub repl_good_slaves_count: i32,

    // Replication, the replica's side
    pub masteruser: Option<Vec<u8>>,
    pub masterauth: Option<Vec<u8>>,
    pub masterhost: Option<Vec<u8>>,
    pub masterport: i32,
    pub repl_timeout: i32,
    pub master: Option<ClientId>,
    pub cached_master: Option<ClientId>,
    /// The timeout of a line of the handshake, in seconds.
    pub repl_syncio_timeout: i32,
    pub repl_state: repl_state,
    /// Size of the RDB being received; -1 until it is known.
    pub repl_transfer_size: i64,
    pub repl_transfer_read: i64,
    pub repl_transfer_last_fsync_off: i64,
    pub repl_transfer_s: Option<ConnId>,
    pub repl_transfer_fd: Option<RawFd>,
    pub repl_transfer_tmpfile: Option<Vec<u8>>,
    pub repl_transfer_lastio: i64,
    /// REPL_DISKLESS_LOAD_*: whether the RDB is loaded straight from the socket.
    pub repl_diskless_load: i32,
    pub repl_serve_stale_data: bool,
    pub repl_slave_ro: bool,
    pub repl_slave_ignore_maxmemory: bool,
    pub repl_slave_lazy_flush: bool,
    pub repl_down_since: i64,
    /// The link was closed because of what the master sent: `replicationCron` is to connect again,
    /// not the code that closed it.
    pub repl_reconnect_later: bool,
    /// Do not take an empty data set of an unknown history in place of ours.
    pub repl_empty_master_guard: bool,
    /// Where writes are saved that our new master lacks.
    pub repl_lost_writes_dir: Option<Vec<u8>>,
    /// The file that changes of state are traced to (ours, trace.rs).
    pub trace_file: Option<Vec<u8>>,
    pub trace: crate::trace::Trace,
    /// DEBUG STEP (ours, step.rs).
    pub step: crate::step::Step,
    /// How many seconds pass at most before a link that does not last is tried again.
    pub repl_backoff_max: i32,
    /// The version of the RDB format of the server whose commands the stream of our master has; 0 if
    /// it is not known. With one above ours the commands are those of a newer server.
    pub repl_stream_version: i32,
    /// The first error that a command of our master has caused, until it was looked at.
    pub repl_stream_error: Option<Vec<u8>>,
    /// When an error of a command of our master last led to a full resync; 0 for never.
    pub repl_resync_after_error: i64,
    /// The warning about the function libraries of our master was logged.
    pub repl_function_seen: bool,
    /// PROPAGATION_ERR_BEHAVIOR_*: what becomes of a command of our master that fails.
    pub propagation_error_behavior: i32,
    pub repl_disable_tcp_nodelay: bool,
    pub slave_priority: i32,
    pub replica_announced: bool,
    pub slave_announce_port: i32,
    pub slave_announce_ip: Option<Vec<u8>>,
    /// The id and offset of +FULLRESYNC, until there is a master client to hold them.
    pub master_replid: Vec<u8>,
    pub master_initial_offset: i64,
    pub repl_statics: crate::replication::ReplicationStatics,

    // Synchronous replication
    /// Clients that wait in WAIT.
    pub clients_waiting_acks: List<ClientId>,
    /// Ask all replicas for an acknowledgement before the loop sleeps.
    pub get_ack_from_slaves: bool,

    // Coordinated failover (FAILOVER)
    /// When it is forced or given up, in milliseconds as `steady_ms` counts them; 0 is never.
    pub failover_end_time: mstime_t,
    /// At the end of the time the failover takes place all the same.
    pub force_failover: bool,
    /// The replica that becomes the master; `None` until one has caught up, if any will do.
    pub target_replica_host: Option<Vec<u8>>,
    pub target_replica_port: i32,
    pub failover_state: failover_state,

    // Limits
    pub maxclients: u32,
    pub maxmemory: u64,
    pub eviction: crate::evict::Eviction,
    pub maxmemory_policy: i32,
    pub maxmemory_samples: i32,
    pub maxmemory_eviction_tenacity: i32,
    pub lfu_log_factor: i32,
    pub lfu_decay_time: i32,
    pub proto_max_bulk_len: i64,
    pub oom_score_adj_base: i32,
    pub oom_score_adj_values: [i32; CONFIG_OOM_COUNT],
    pub oom_score_adj: i32,
    pub disable_thp: bool,

    // Client side caching
    /// The tables; there from the first client that tracks on.
    pub tracking: Option<Box<crate::tracking::Tracking>>,
    /// The number of clients that track.
    pub tracking_clients: u32,
    /// The most keys to be tracked, 0 for any number.
    pub tracking_table_max_keys: usize,
    /// Invalidations that go to a client behind the reply of its command: of a key, or of all.
    pub tracking_pending_keys: Vec<(ClientId, Option<Vec<u8>>)>,
    /// Kept for `trackingRememberKeys`, empty.
    pub tracking_key_positions: Vec<usize>,

    // Scripting
    /// The interpreter; `None` while a script runs, which has it.
    pub lua: Option<Box<fidelis_lua::lua_State<Server>>>,
    /// The client, without a connection, that executes the commands of scripts.
    pub lua_client: Option<ClientId>,
    /// Whose script runs.
    pub lua_caller: Option<ClientId>,
    /// The command that has called it, if its client tracks keys.
    pub lua_caller_argv: Option<Argv>,
    /// The SHA1 of the script that runs.
    pub lua_cur_script: Option<crate::scripting::ScriptSha>,
    /// The texts of all scripts, by SHA1.
    pub lua_scripts: BTreeMap<crate::scripting::ScriptSha, std::sync::Arc<[u8]>>,
    /// Their functions in the interpreter.
    pub lua_functions: crate::scripting::ScriptFunctions,
    /// The memory of the scripts, in bytes.
    pub lua_scripts_mem: usize,
    /// The memory of the interpreter when it was last looked at, in bytes: for INFO while it runs.
    pub lua_used: usize,
    /// Scripts since the garbage collector was last asked to go on.
    pub lua_gc_count: i32,
    /// The buffer of the arguments of `redis.call`.
    pub lua_argv: Argv,
    /// The key that `redis.call` was about last.
    pub lua_key: crate::scripting::ScriptKey,
    /// The numbers of `math.random`.
    pub lua_rand: crate::rand::Rand48,
    /// Milliseconds after which a script is slow; 0 is never.
    pub lua_time_limit: mstime_t,
    /// Ours: the most memory the interpreter may hold, in bytes, or 0.
    pub lua_memory_limit: i64,
    /// When the script began: on the clock that no one can set, in microseconds, and by the wall
    /// clock, in milliseconds.
    pub lua_time_start: u64,
    pub lua_time_snapshot: mstime_t,
    /// The script has called a command that writes, or one whose reply is different on every
    /// server.
    pub lua_write_dirty: bool,
    pub lua_random_dirty: bool,
    /// The commands of the script are propagated, not the script.
    pub lua_replicate_commands: bool,
    /// The MULTI around them was propagated.
    pub lua_multi_emitted: bool,
    /// Where they are propagated: `PROPAGATE_*`, as `redis.set_repl` has it.
    pub lua_repl: i32,
    /// The script is slow, and clients are served from within it.
    pub lua_timedout: bool,
    /// The script is to end.
    pub lua_kill: bool,
    /// The value of `lua_replicate_commands` when a script begins.
    pub lua_always_replicate_commands: bool,
    /// Memory was short when the script began.
    pub lua_oom: bool,
    pub in_eval: bool,
    /// The debugger of scripts.
    pub ldb: crate::scripting::LdbState,
    /// The scripts that all replicas and the append only file know, and in which order they came to
    /// know them.
    pub repl_scriptcache_dict: HashSet<crate::scripting::ScriptSha>,
    pub repl_scriptcache_fifo: VecDeque<crate::scripting::ScriptSha>,
    /// How many they may be.
    pub repl_scriptcache_size: usize,

    // Blocked clients
    pub blocked_clients: u32,
    pub blocked_clients_by_type: [u32; BLOCKED_NUM],
    pub unblocked_clients: List<ClientId>,
    pub ready_keys: Vec<readyList>,

    // Encodings of small values
    pub hash_max_ziplist_entries: usize,
    pub hash_max_ziplist_value: usize,
    pub set_max_intset_entries: usize,
    pub zset_max_ziplist_entries: usize,
    pub zset_max_ziplist_value: usize,
    pub hll_sparse_max_bytes: usize,
    pub stream_node_max_bytes: usize,
    pub stream_node_max_entries: i64,
    pub list_max_ziplist_size: i32,
    pub list_compress_depth: i32,
    /// The state of the generator for SPOP and the like; 0 before the first use. See
    /// `types::t_set::Random`.
    pub random_state: u64,

    // Time, as last read
    pub unixtime: i64,
    /// Seconds and milliseconds on the clock that no one can set (`steady_ms`), as the cron read
    /// it: for everything that has a deadline or a period. Not read anew for each command.
    pub steady_time: i64,
    pub steady_mstime: mstime_t,
    pub mstime: mstime_t,
    pub ustime: ustime_t,
    pub blocking_op_nesting: usize,
    pub blocked_last_cron: i64,

    // Pub/Sub
    pub pubsub_channels: HashMap<Vec<u8>, List<ClientId>>,
    pub pubsub_patterns: HashMap<Vec<u8>, List<ClientId>>,
    pub notify_keyspace_events: i32,

    // Lazy freeing
    pub lazyfree_lazy_eviction: bool,
    pub lazyfree_lazy_expire: bool,
    pub lazyfree_lazy_server_del: bool,
    pub lazyfree_lazy_user_del: bool,
    pub lazyfree_lazy_user_flush: bool,

    // Users
    pub users: Users,
    /// The file of users, empty if there is none.
    pub acl_filename: Vec<u8>,
    /// What was denied, the latest first.
    pub ACLLog: VecDeque<ACLLogEntry>,
    pub acllog_max_len: usize,
    pub requirepass: Option<Vec<u8>>,
    /// The channels a new user may use: `USER_FLAG_ALLCHANNELS` or 0.
    pub acl_pubsub_default: i32,
    /// The `user` lines of the config file: a name and rules each.
    pub UsersToLoad: Vec<Vec<Vec<u8>>>,

    // The machine
    pub system_memory_size: usize,
    pub server_cpulist: Option<Vec<u8>>,
    pub bio_cpulist: Option<Vec<u8>>,
    pub bgsave_cpulist: Option<Vec<u8>>,
    pub aof_rewrite_cpulist: Option<Vec<u8>>,
}

/// The result of the last background save: a `CResult` that can be stored and starts as `C_OK`.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum CStatus {
    #[default]
    Ok,
    Err,
}

impl Index<ClientId> for Server {
    type Output = Client;
    #[track_caller]
    #[inline]
    fn index(&self, c: ClientId) -> &Client {
        &self.clients[c]
    }
}

impl IndexMut<ClientId> for Server {
    #[track_caller]
    #[inline]
    fn index_mut(&mut self, c: ClientId) -> &mut Client {
        &mut self.clients[c]
    }
}

impl AsMut<Clients> for Server {
    #[inline]
    fn as_mut(&mut self) -> &mut Clients {
        &mut self.clients
    }
}

impl AeState for Server {
    #[inline]
    fn el(&mut self) -> &mut EventLoop<Self> {
        &mut self.net.el
    }
}

/// An owned value that is not in the keyspace (the C's `robj *` of a value under construction).
pub type robj = Object;
