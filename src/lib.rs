//! fidelis: a faithful, single-threaded port of redis-server 6.2 to Rust.
//!
//! This page is the map. Every file named after a C file holds that file's functions, by the C's
//! names and in the C's order, so that two windows side by side can be scrolled together. Files
//! with no original are marked "ours".
//!
//! # Where to start
//!
//! `main.rs` picks the mode; `server::main` reads the arguments, initialises and enters
//! `ae::aeMain`. From there everything is an event: a connection that can be read
//! (`networking::readQueryFromClient`), one that can be written (`networking::sendReplyToClient`),
//! or time (`server::serverCron`).
//!
//! # Layout, in reading order
//!
//! The ground, which knows nothing of a server:

/// Every call into the kernel or libc that needs `unsafe`. Ours; from `zmalloc.c`,
/// `setproctitle.c`, `monotonic.c` and the system calls all over the C.
pub mod sys;

/// Data structures: `dict`, `adlist`, `ziplist`, `quicklist`, `intset`, `listpack`, `rax`, `lzf`,
/// ...
pub mod ds;

/// `util.c`: numbers and text.
pub mod util;

#[cfg(test)]
mod testing;

/// `sds.c`: the functions that still mean something on byte vectors: quoting, splitting.
pub mod sds;

/// `crc64.c`: the checksum at the end of RDB files and DUMP payloads.
pub mod crc64;

/// `rand.c`: the pseudo random numbers of scripts.
pub mod rand;

/// The log, from `serverLogRaw` in `server.c`. Ours.
pub mod log;

/// `ae.c`: the reactor: file events and time events.
pub mod ae;

/// `anet.c`: sockets.
pub mod anet;

// The spine: what a server is, and the life of a command.

/// `server.h`: constants, states, and the structures `Server`, `Client`, `redisCommand`.
pub mod server_h;

/// Ids of clients, and the slab that they point into. Ours.
pub mod clients;

/// The arguments of a command, borrowed or owned. Ours; in the C they are `argc` and `argv` of the
/// client.
pub mod args;

/// `connection.c`: a socket with its handlers.
pub mod connection;

/// `networking.c`: clients, queries, replies.
pub mod networking;

/// Look-ahead: commands are parsed, and the memory they will touch is prefetched, before their
/// turn. Ours; the speed of pipelines.
pub mod lookahead;

/// `server.c`: start, `serverCron`, `processCommand`, `call`, `propagate`, INFO.
pub mod server;

/// `config.c`: the config file and CONFIG.
pub mod config;

/// `module.c`: MODULE says that there are none.
pub mod module;

/// `acl.c`: users, and what each of them may do.
pub mod acl;

// The keyspace.

/// The keys of a db: entries of one allocation each, in two tables. Ours; in the C a `dict` of
/// `robj`.
pub mod keyspace;

/// `object.c`: values as numbers, their memory usage, OBJECT and MEMORY.
pub mod object;

/// `db.c`: lookups, and the commands that work on keys of any type.
pub mod db;

/// `expire.c`: the expiration of keys, and the cycle that deletes expired ones.
pub mod expire;

/// `evict.c`: the LRU and LFU clocks, and eviction at maxmemory.
pub mod evict;

/// `lazyfree.c`: freeing large values in another thread.
pub mod lazyfree;

/// `defrag.c`: active defragmentation.
pub mod defrag;

/// `notify.c`: keyspace events.
pub mod notify;

/// One file per value type and its commands.
pub mod types;

/// `sort.c`: SORT.
pub mod sort;

/// `multi.c`: MULTI, EXEC, WATCH.
pub mod multi;

/// `scripting.c`: scripts in Lua, and what they find there. The interpreter is the crate
/// `fidelis_lua`, in `lua/`.
pub mod scripting;

/// `pubsub.c`: channels and patterns.
pub mod pubsub;

/// `gopher.c`: keys served by the Gopher protocol.
pub mod gopher;

/// `tracking.c`: client side caching.
pub mod tracking;

/// `blocked.c`: clients that block on keys.
pub mod blocked;

/// `timeout.c`: the timeouts of idle and blocked clients.
pub mod timeout;

// Persistence: the files, and the children that write them.

/// `rio.c`: streams of bytes with a checksum.
pub mod rio;

/// `rdb.c`: the snapshot file, both ways, and the child that writes it.
pub mod rdb;

/// `aof.c`: the log of all changes, and the child that writes a short one.
pub mod aof;

/// `redis-check-rdb.c`: checks an RDB file, and tells where it is damaged.
pub mod redis_check_rdb;

/// `redis-check-aof.c`: checks an append only file, and cuts off its damaged end.
pub mod redis_check_aof;

/// What each byte of an RDB, an append only file or a PSYNC means: `--explain`. Ours.
pub mod explain;

/// `cluster.c`, as far as it is about values on their way to other servers: DUMP, RESTORE, MIGRATE.
pub mod cluster;

/// `childinfo.c`: the pipe a child reports on.
pub mod childinfo;

/// `bio.c`: the background threads, which fsync, close and free.
pub mod bio;

// The heart.

/// `replication.c`: both sides.
pub mod replication;

// Looking inside.

/// `debug.c`: DEBUG, digests, the crash report.
pub mod debug;

/// The trace: a file with a line for each change of state. Ours.
pub mod trace;

/// DEBUG STEP: the event loop in slow motion. Ours.
pub mod step;

/// `memtest.c`: the test of the machine's memory.
pub mod memtest;

/// `slowlog.c`: commands that took long.
pub mod slowlog;

/// `latency.c`: events that took long.
pub mod latency;

/// `lolwut.c`: a drawing per version.
pub mod lolwut;
