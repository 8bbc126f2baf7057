//! `cluster.c`: the part of it that has nothing to do with a cluster: DUMP, RESTORE and MIGRATE. The
//! commands about a cluster answer as those of a server that is in none.
//!
//! A payload is a value as in an RDB file, with a footer:
//!
//! ```text
//! <type> <value> | version, 2 bytes | crc64, 8 bytes
//! ```
//!
//! Read first: `createDumpPayload` and `verifyDumpPayload`, then `restoreCommand`.
//!
//! Absent: the cluster.
//!
//! Differs: payloads up to RDB version 12, and Valkey's 80 and 81, are taken, as far as values have
//! a form of Redis 6.2; see rdb.rs, also for what is checked of them.

use std::io;

use crate::addReplyErrorFormat;
use crate::args::Args;
use crate::connection::*;
use crate::crc64::crc64;
use crate::db::*;
use crate::ds::lzf::LzfState;
use crate::evict::LRU_CLOCK;
use crate::expire::checkAlreadyExpired;
use crate::keyspace::*;
use crate::networking::*;
use crate::notify::notifyKeyspaceEvent;
use crate::object::*;
use crate::rdb::*;
use crate::rio::*;
use crate::server::{CommandSpec, command};
use crate::server_h::*;
use crate::sys::clock::mstime;
use crate::sys::random::random_u64;
use crate::util::{B, atoi, c_str, eq_ignore_case};

/// The commands of this file.
#[rustfmt::skip]
pub const COMMANDS: &[CommandSpec] = &[
    command("cluster", clusterCommand, -2, "admin ok-stale random", (0, 0, 0)),
    command("restore", restoreCommand, -4, "write use-memory @keyspace @dangerous", (1, 1, 1)),
    command("restore-asking", restoreCommand, -4, "write use-memory cluster-asking @keyspace @dangerous", (1, 1, 1)),
    command("migrate", migrateCommand, -6, "write random @keyspace @dangerous", (3, 3, 1)).getkeys(migrateGetKeys),
    command("dump", dumpCommand, 2, "read-only random @keyspace", (1, 1, 1)),
    command("asking", askingCommand, 1, "fast @keyspace", (0, 0, 0)),
    command("readonly", readonlyCommand, 1, "fast @keyspace", (0, 0, 0)),
    command("readwrite", readwriteCommand, 1, "fast @keyspace", (0, 0, 0)),
];

/// Adds the error for commands that only a server in a cluster can execute.
fn reply_cluster_disabled(server: &mut Server, c: ClientId) {
    addReplyError(server, c, b"This instance has cluster support disabled");
}

/// CLUSTER: an error, as there is no cluster.
pub fn clusterCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    reply_cluster_disabled(server, c);
}

// -----------------------------------------------------------------------------
// DUMP and RESTORE
// -----------------------------------------------------------------------------

/// Returns a value in the form that RESTORE takes. `lzf` keeps the compressor for the next call.
pub fn createDumpPayload(
    server: &Server,
    o: ValueRef<'_>,
    lzf: &mut Option<Box<LzfState>>,
) -> Vec<u8> {
    let mut payload = rioInitWithBuffer(Vec::new());
    payload.lzf = lzf.take();
    rdbSaveObjectType(&mut payload, o)
        .and_then(|()| rdbSaveObject(server, &mut payload, o))
        .expect("writing to memory does not fail");
    *lzf = payload.lzf.take();

    let mut payload = rio_into_buffer(payload);
    payload.extend_from_slice(&(RDB_VERSION as u16).to_le_bytes());
    let crc = crc64(0, &payload);
    payload.extend_from_slice(&crc.to_le_bytes());
    payload
}

/// Checks the footer of a payload. Returns the version of RDB that it is in; `None`: it is of a
/// version that we don't know, or was damaged on its way.
// C: takes versions up to the one that it writes.
pub fn verifyDumpPayload(server: &Server, p: &[u8]) -> Option<i32> {
    let (body, crc) = p.split_last_chunk::<8>()?;
    let (_, rdbver) = body.split_last_chunk::<2>()?;
    let rdbver = i32::from(u16::from_le_bytes(*rdbver));
    if !rdb_version_is_read(rdbver) {
        return None;
    }
    let good = server.skip_checksum_validation || crc64(0, body) == u64::from_le_bytes(*crc);
    good.then_some(rdbver)
}

/// DUMP key: replies with the payload of its value, a null if there is no such key.
pub fn dumpCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let db = server[c].db;
    let Some(o) = lookupKeyRead(server, db, &argv[1]) else {
        addReplyNull(server, c);
        return;
    };
    let mut lzf = server.dump_lzf.take();
    let payload = createDumpPayload(server, server.db[db].get(o), &mut lzf);
    server.dump_lzf = lzf;
    addReplyBulkCBuffer(server, c, &payload);
}

/// RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]
pub fn restoreCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (mut lfu_freq, mut lru_idle, mut lru_clock) = (-1, -1, -1);
    let (mut replace, mut absttl) = (false, false);

    let mut j = 4;
    while j < argv.len() {
        let additional = argv.len() - j - 1;
        let is = |name: &str| eq_ignore_case(&argv[j], name.as_bytes());
        if is("replace") {
            replace = true;
        } else if is("absttl") {
            absttl = true;
        } else if is("idletime") && additional >= 1 && lfu_freq == -1 {
            match getLongLongFromObjectOrReply(server, c, &argv[j + 1], None) {
                Ok(idle) => lru_idle = idle,
                Err(()) => return,
            }
            if lru_idle < 0 {
                addReplyError(server, c, b"Invalid IDLETIME value, must be >= 0");
                return;
            }
            lru_clock = i64::from(LRU_CLOCK(server));
            j += 1;
        } else if is("freq") && additional >= 1 && lru_idle == -1 {
            match getLongLongFromObjectOrReply(server, c, &argv[j + 1], None) {
                Ok(freq) => lfu_freq = freq,
                Err(()) => return,
            }
            if !(0..=255).contains(&lfu_freq) {
                addReplyError(server, c, b"Invalid FREQ value, must be >= 0 and <= 255");
                return;
            }
            j += 1;
        } else {
            addReplyErrorObject(server, c, shared::syntaxerr);
            return;
        }
        j += 1;
    }

    let (db, key) = (server[c].db, argv.get(1));
    if !replace && lookupKeyWrite(server, db, key).is_some() {
        addReplyErrorObject(server, c, shared::busykeyerr);
        return;
    }

    let Ok(mut ttl) = getLongLongFromObjectOrReply(server, c, &argv[2], None) else { return };
    if ttl < 0 {
        addReplyError(server, c, b"Invalid TTL value, must be >= 0");
        return;
    }

    let Some(rdbver) = verifyDumpPayload(server, &argv[3]) else {
        addReplyError(server, c, b"DUMP payload version or checksum are wrong");
        return;
    };
    let mut payload = rioInitWithBuffer(argv[3].to_vec());
    let obj = rdbLoadObjectType(server, &mut payload, rdbver)
        .and_then(|type_| rdbLoadObject(server, type_, &mut payload, key, rdbver).ok());
    let Some(obj) = obj else {
        addReplyError(server, c, b"Bad data format");
        return;
    };

    let deleted = replace && dbDelete(server, db, key);

    if ttl != 0 && !absttl {
        // C: overflows, to a time long ago.
        ttl = ttl.wrapping_add(mstime());
    }
    if ttl != 0 && checkAlreadyExpired(server, ttl) {
        if deleted {
            rewriteClientCommandVector(server, c, &[b"DEL", key]);
            signalModifiedKey(server, Some(c), db, key);
            notifyKeyspaceEvent(server, NOTIFY_GENERIC, "del", key, db);
            server.dirty += 1;
        }
        addReply(server, c, shared::ok);
        return;
    }

    dbAdd(server, db, key, obj);
    if ttl != 0 {
        setExpire(server, Some(c), db, key, ttl);
    }
    if let Some(lru) = objectSetLRUOrLFU(server, lfu_freq, lru_idle, lru_clock, 1000)
        && let Some(o) = server.db[db].dict.find(key)
    {
        server.db[db].dict.set_lru(o, lru);
    }
    signalModifiedKey(server, Some(c), db, key);
    notifyKeyspaceEvent(server, NOTIFY_GENERIC, "restore", key, db);
    addReply(server, c, shared::ok);
    server.dirty += 1;
}

// -----------------------------------------------------------------------------
// MIGRATE: connections are cached for a while, since a client that moves one key mostly moves more
// -----------------------------------------------------------------------------

/// The number of connections that are cached.
const MIGRATE_SOCKET_CACHE_ITEMS: usize = 64;
/// The seconds after which a connection that is not used is closed.
const MIGRATE_SOCKET_CACHE_TTL: i64 = 10;

/// A connection to another server.
pub struct migrateCachedSocket {
    conn: ConnId,
    /// The db that is selected there; -1 is unknown.
    last_dbid: i64,
    last_use_time: i64,
}

/// Returns the name under which a connection is cached: `host:port`.
fn migrate_socket_name(argv: &Args) -> Vec<u8> {
    [&argv[1], b":", &argv[2]].concat()
}

/// Makes sure that there is a connection to the host and port of `argv`. `None`: it could not be
/// made, and the error was sent. Else its name in `server.migrate_cached_sockets`; a caller that
/// finds it broken calls `migrateCloseSocket`.
fn migrateGetSocket(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    timeout: i64,
) -> Option<Vec<u8>> {
    let name = migrate_socket_name(argv);
    let steady_time = server.steady_time;
    if let Some(cs) = server.migrate_cached_sockets.get_mut(&name) {
        cs.last_use_time = steady_time;
        return Some(name);
    }

    // With too many of them, an arbitrary one is closed.
    let cached = server.migrate_cached_sockets.len();
    if cached == MIGRATE_SOCKET_CACHE_ITEMS {
        let nth = (random_u64() % cached as u64) as usize;
        let victim = server.migrate_cached_sockets.keys().nth(nth).cloned();
        if let Some(cs) = victim.and_then(|name| server.migrate_cached_sockets.remove(&name)) {
            connClose(&mut server.net, cs.conn);
        }
    }

    let conn = connCreateSocket(&mut server.net);
    let port = atoi(c_str(&argv[2]));
    if connBlockingConnect(&mut server.net, conn, c_str(&argv[1]), port, timeout).is_err() {
        addReplyError(server, c, b"-IOERR error or timeout connecting to the client");
        connClose(&mut server.net, conn);
        return None;
    }
    let _ = connEnableTcpNoDelay(&server.net, conn);
    let cs = migrateCachedSocket { conn, last_dbid: -1, last_use_time: steady_time };
    server.migrate_cached_sockets.insert(name.clone(), cs);
    Some(name)
}

/// Closes the connection of that name, if there is one.
fn migrateCloseSocket(server: &mut Server, name: &[u8]) {
    if let Some(cs) = server.migrate_cached_sockets.remove(name) {
        connClose(&mut server.net, cs.conn);
    }
}

/// Closes the connections that were not used for a while. Called once a second.
pub fn migrateCloseTimedoutSockets(server: &mut Server) {
    let Server { migrate_cached_sockets, net, steady_time, .. } = server;
    migrate_cached_sockets.retain(|_, cs| {
        let keep = *steady_time - cs.last_use_time <= MIGRATE_SOCKET_CACHE_TTL;
        if !keep {
            connClose(net, cs.conn);
        }
        keep
    });
}

/// The options of a MIGRATE.
struct Migration<'a> {
    timeout: i64,
    dbid: i64,
    copy: bool,
    replace: bool,
    username: Option<&'a [u8]>,
    password: Option<&'a [u8]>,
}

/// The failure of an attempt to migrate: the connection broke.
struct SocketErr {
    write_error: bool,
    timed_out: bool,
    /// The target has executed nothing, so that it is safe to try again.
    may_retry: bool,
    /// An error was replied already.
    replied: bool,
}

impl SocketErr {
    fn new(e: &io::Error, write_error: bool) -> SocketErr {
        let timed_out =
            e.raw_os_error() == Some(libc::ETIMEDOUT) || e.kind() == io::ErrorKind::TimedOut;
        SocketErr { write_error, timed_out, may_retry: true, replied: false }
    }
}

/// MIGRATE host port key|"" db timeout [COPY] [REPLACE] [AUTH password | AUTH2 username password]
/// [KEYS key ..]
pub fn migrateCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (mut copy, mut replace) = (false, false);
    let (mut username, mut password) = (None, None);
    // Without KEYS there is one.
    let (mut first_key, mut num_keys) = (3, 1);

    let mut j = 6;
    while j < argv.len() {
        let moreargs = argv.len() - 1 - j;
        let is = |name: &str| eq_ignore_case(&argv[j], name.as_bytes());
        if is("copy") {
            copy = true;
        } else if is("replace") {
            replace = true;
        } else if is("auth") {
            if moreargs == 0 {
                addReplyErrorObject(server, c, shared::syntaxerr);
                return;
            }
            j += 1;
            password = Some(argv.get(j));
            redactClientCommandArgument(server, c, argv, j);
        } else if is("auth2") {
            if moreargs < 2 {
                addReplyErrorObject(server, c, shared::syntaxerr);
                return;
            }
            username = Some(argv.get(j + 1));
            redactClientCommandArgument(server, c, argv, j + 1);
            j += 2;
            password = Some(argv.get(j));
            redactClientCommandArgument(server, c, argv, j);
        } else if is("keys") {
            if !argv[3].is_empty() {
                addReplyError(
                    server,
                    c,
                    b"When using MIGRATE KEYS option, the key argument must be set to the empty string",
                );
                return;
            }
            first_key = j + 1;
            num_keys = argv.len() - j - 1;
            break;
        } else {
            addReplyErrorObject(server, c, shared::syntaxerr);
            return;
        }
        j += 1;
    }

    let Ok(timeout) = getLongFromObjectOrReply(server, c, &argv[5], None) else { return };
    let Ok(dbid) = getLongFromObjectOrReply(server, c, &argv[4], None) else { return };
    let timeout = if timeout <= 0 { 1000 } else { timeout };

    // That no key is there is no error: it may just have expired.
    let db = server[c].db;
    let mut kv: Vec<&[u8]> = Vec::new();
    for key in argv.iter().skip(first_key).take(num_keys) {
        if lookupKeyRead(server, db, key).is_some() {
            kv.push(key);
        }
    }
    if kv.is_empty() {
        addReplyProto(server, c, b"+NOKEY\r\n");
        return;
    }

    // It is normal that a cached connection is closed by now, and no reason for an error:
    // with: try once more.
    let migration = Migration { timeout, dbid, copy, replace, username, password };
    let mut may_retry = true;
    loop {
        let Some(name) = migrateGetSocket(server, c, argv, timeout) else { return };
        let Err(e) = migrate_keys(server, c, &name, &mut kv, &migration) else { return };
        migrateCloseSocket(server, &name);
        if e.replied {
            return;
        }
        if may_retry && e.may_retry && !e.timed_out {
            may_retry = false;
            continue;
        }
        addReplyErrorFormat!(
            server,
            c,
            "-IOERR error or timeout {} to target instance",
            if e.write_error { "writing" } else { "reading" }
        );
        return;
    }
}

/// Sends the keys over the connection of that name, and replies by what comes back. Keys that have
/// expired in the meantime leave `kv`.
fn migrate_keys(
    server: &mut Server,
    c: ClientId,
    name: &[u8],
    kv: &mut Vec<&[u8]>,
    migration: &Migration,
) -> Result<(), SocketErr> {
    let Migration { timeout, dbid, copy, password, .. } = *migration;
    let db = server[c].db;
    let cs = &server.migrate_cached_sockets[name];
    let conn = cs.conn;
    let select = cs.last_dbid != dbid;

    let mut cmd = rioInitWithBuffer(Vec::new());
    let mut lzf = server.dump_lzf.take();
    migrate_write_commands(server, &mut cmd, db, kv, migration, select, &mut lzf)
        .expect("writing to memory does not fail");
    server.dump_lzf = lzf;

    for chunk in rio_into_buffer(cmd).chunks(64 * 1024) {
        connSyncWrite(&mut server.net, conn, chunk, timeout)
            .map_err(|e| SocketErr::new(&e, true))?;
    }

    let readLine = |server: &mut Server| {
        let line = connSyncReadLine(&mut server.net, conn, 1024, timeout);
        // C: takes an empty line for an error, too.
        let line = line.and_then(|line| {
            if line.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(line) }
        });
        line.map_err(|e| SocketErr::new(&e, false))
    };
    let isError = |line: &Vec<u8>| line.first() == Some(&b'-');
    let auth = if password.is_some() { Some(readLine(server)?) } else { None };
    let selected = if select { Some(readLine(server)?) } else { None };

    // The replies to RESTORE. Each key that was taken over there is deleted here, also when another
    // was not.
    let mut error_from_target = false;
    let mut socket_error = None;
    let mut acknowledged: Vec<&[u8]> = Vec::new();
    for (j, key) in kv.iter().enumerate() {
        let restored = match readLine(server) {
            Ok(line) => line,
            Err(e) => {
                socket_error = Some(SocketErr { may_retry: j == 0 && !error_from_target, ..e });
                break;
            }
        };
        let replies = [&auth, &selected, &Some(restored)];
        if let Some(errbuf) = replies.into_iter().flatten().find(|line| isError(line)) {
            if !error_from_target {
                error_from_target = true;
                if let Some(cs) = server.migrate_cached_sockets.get_mut(name) {
                    cs.last_dbid = -1;
                }
                addReplyErrorFormat!(
                    server,
                    c,
                    "Target instance replied with error: {}",
                    B(c_str(&errbuf[1..]))
                );
            }
        } else if !copy {
            dbDelete(server, db, key);
            signalModifiedKey(server, Some(c), db, key);
            notifyKeyspaceEvent(server, NOTIFY_GENERIC, "del", key, db);
            server.dirty += 1;
            acknowledged.push(key);
        }
    }

    // For replicas it is a DEL.
    if !acknowledged.is_empty() {
        acknowledged.insert(0, b"DEL");
        rewriteClientCommandVector(server, c, &acknowledged);
    }
    if let Some(e) = socket_error {
        return Err(SocketErr { replied: error_from_target, ..e });
    }
    if !error_from_target {
        if let Some(cs) = server.migrate_cached_sockets.get_mut(name) {
            cs.last_dbid = dbid;
        }
        addReply(server, c, shared::ok);
    }
    Ok(())
}

/// Writes all that is sent to the other server: AUTH and SELECT if they are needed, and a RESTORE
/// for each key. Keys that have expired leave `kv`.
fn migrate_write_commands(
    server: &Server,
    cmd: &mut Rio,
    db: usize,
    kv: &mut Vec<&[u8]>,
    migration: &Migration,
    select: bool,
    lzf: &mut Option<Box<LzfState>>,
) -> CResult {
    if let Some(password) = migration.password {
        rioWriteBulkCount(cmd, b'*', if migration.username.is_some() { 3 } else { 2 })?;
        rioWriteBulkString(cmd, b"AUTH")?;
        if let Some(username) = migration.username {
            rioWriteBulkString(cmd, username)?;
        }
        rioWriteBulkString(cmd, password)?;
    }
    if select {
        rioWriteBulkCount(cmd, b'*', 2)?;
        rioWriteBulkString(cmd, b"SELECT")?;
        rioWriteBulkLongLong(cmd, migration.dbid)?;
    }

    // It takes a while to write large values, in which keys may expire.
    let dict = &server.db[db].dict;
    let mut live = Vec::with_capacity(kv.len());
    for &key in kv.iter() {
        let Some(o) = dict.find(key) else { continue };
        let mut ttl = 0;
        if let Some(expireat) = dict.expire(o) {
            ttl = expireat.saturating_sub(mstime());
            if ttl < 0 {
                continue;
            }
            ttl = ttl.max(1);
        }
        live.push(key);
        rioWriteBulkCount(cmd, b'*', if migration.replace { 5 } else { 4 })?;
        rioWriteBulkString(cmd, b"RESTORE")?;
        rioWriteBulkString(cmd, key)?;
        rioWriteBulkLongLong(cmd, ttl)?;
        rioWriteBulkString(cmd, &createDumpPayload(server, dict.get(o), lzf))?;
        if migration.replace {
            rioWriteBulkString(cmd, b"REPLACE")?;
        }
    }
    *kv = live;
    C_OK
}

// -----------------------------------------------------------------------------
// Cluster functions related to serving / redirecting clients
// -----------------------------------------------------------------------------

/// ASKING: an error, as there is no cluster.
pub fn askingCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    reply_cluster_disabled(server, c);
}

/// READONLY: an error, as there is no cluster.
pub fn readonlyCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    reply_cluster_disabled(server, c);
}

/// READWRITE: ends what READONLY began, so there is nothing to do.
pub fn readwriteCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    addReply(server, c, shared::ok);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ds::intset::{intsetAdd, intsetNew};
    use crate::ds::quicklist::{quicklistNew, quicklistPushTail};
    use crate::ds::ziplist::{ZIPLIST_TAIL, ziplistNew, ziplistPush};
    use crate::types::t_hash::Hash;
    use crate::types::t_set::Set;
    use crate::types::t_stream::{NodeLimits, streamAppendItem, streamNew};
    use crate::types::t_zset::{Zset, zset};

    fn new_server() -> Server {
        Server {
            db: vec![RedisDb::default()],
            hz: 10,
            rdb_compression: true,
            list_max_ziplist_size: -2,
            set_max_intset_entries: 512,
            sanitize_dump_payload: SANITIZE_DUMP_YES,
            ..Default::default()
        }
    }

    /// Values of each type, and the payloads that the C makes of them.
    fn payloads(server: &mut Server) -> Vec<(KeyRef, &'static [u8])> {
        let dict = &mut server.db[0].dict;
        let mut ql = quicklistNew(-2, 0);
        let long = b"x".repeat(30);
        [&b"a"[..], b"12", &long].into_iter().for_each(|ele| _ = quicklistPushTail(&mut ql, ele));
        let mut is = intsetNew();
        [1, -5, 70_000].into_iter().for_each(|n| _ = intsetAdd(&mut is, n));
        let ziplist = |elements: [&[u8]; 4]| {
            let mut zl = ziplistNew();
            elements.into_iter().for_each(|ele| ziplistPush(&mut zl, ele, ZIPLIST_TAIL));
            zl
        };
        let mut zs = zset::new();
        zs.insert(2.0, b"b");
        zs.insert(1.0, b"a");
        let mut s = streamNew();
        let limits = NodeLimits { max_bytes: 4096, max_entries: 100 };
        for (seq, value) in [(1, b"v"), (2, b"w")] {
            let item: [&[u8]; 2] = [b"f", value];
            let id = streamID { ms: 5, seq };
            assert!(streamAppendItem(&mut s, limits, 1, |i| item[i], Some(&id), 0).is_ok());
        }
        vec![
            (dict.add(b"s", &b"hello"[..]), b"\x00\x05hello\x09\x00\xb3\x80\x8e\xba1\xb2C\xbb"),
            (dict.add(b"n", 1000i64), b"\x00\xc1\xe8\x03\x09\x00Y#\x16B\xeeB\xd4\xd5"),
            (
                dict.add(b"l", ql),
                b"\x0e\x01\xc3\x190\x040\x00\x00\x00\x0f \x03\x09\x03\x00\x00\x01a\x03\xfd\x02\x1ex\xe0\x13\x00\x01x\xff\x09\x00\x80\xac?}\xd0E\x0b\xee",
            ),
            (
                dict.add(b"is", Set::Intset(is)),
                b"\x0b\x14\x04\x00\x00\x00\x03\x00\x00\x00\xfb\xff\xff\xff\x01\x00\x00\x00p\x11\x01\x00\x09\x00VR\xea\x03n\xa4\x8e\x94",
            ),
            (
                dict.add(b"z", Zset::Ziplist(ziplist([b"a", b"-inf", b"b", b"1.5"]))),
                b"\x0c\x1c\x1c\x00\x00\x00\x16\x00\x00\x00\x04\x00\x00\x01a\x03\x04-inf\x06\x01b\x03\x031.5\xff\x09\x001{\xe8 Pj\x0c\xdd",
            ),
            (
                dict.add(b"h", Hash::Ziplist(ziplist([b"f", b"v", b"n", b"7"]))),
                b"\x0d\x16\x16\x00\x00\x00\x13\x00\x00\x00\x04\x00\x00\x01f\x03\x01v\x03\x01n\x03\xf8\xff\x09\x00\xaa\xe6Bt\xf8\xbdr\xc1",
            ),
            (
                dict.add(b"zs", Zset::Skiplist(Box::new(zs))),
                b"\x05\x02\x01b\x00\x00\x00\x00\x00\x00\x00@\x01a\x00\x00\x00\x00\x00\x00\xf0?\x09\x00\xab\xdb\xcf\xde\x9a\x12ke",
            ),
            (
                dict.add(b"x", s),
                b"\x0f\x01\x10\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x01((\x00\x00\x00\x0f\x00\x02\x01\x00\x01\x01\x01\x81f\x02\x00\x01\x02\x01\x00\x01\x00\x01\x81v\x02\x04\x01\x02\x01\x00\x01\x01\x01\x81w\x02\x04\x01\xff\x02\x05\x02\x00\x09\x00\xdaV:\x91\xb0\x94iM",
            ),
        ]
    }

    /// A payload as RESTORE takes it; false if it is refused.
    fn restore(server: &mut Server, payload: &[u8]) -> bool {
        let Some(rdbver) = verifyDumpPayload(server, payload) else { return false };
        let mut rdb = rioInitWithBuffer(payload.to_vec());
        let Some(type_) = rdbLoadObjectType(server, &mut rdb, rdbver) else { return false };
        let Ok(obj) = rdbLoadObject(server, type_, &mut rdb, b"k", rdbver) else { return false };
        let o = server.db[0].dict.add(b"k", obj);
        createDumpPayload(server, server.db[0].dict.get(o), &mut None);
        drop(server.db[0].dict.remove(o));
        true
    }

    #[test]
    fn payloads_are_the_c_ones() {
        let mut server = new_server();
        let mut lzf = None;
        for (o, payload) in payloads(&mut server) {
            let ours = createDumpPayload(&server, server.db[0].dict.get(o), &mut lzf);
            assert_eq!(ours, payload, "{}", B(server.db[0].dict.key(o)));
            assert_eq!(verifyDumpPayload(&server, payload), Some(RDB_VERSION));
        }
        assert!(lzf.is_some(), "one compressor for all");
    }

    #[test]
    fn a_footer_is_checked() {
        let mut server = new_server();
        let whole = b"\x00\x05hello\x09\x00\xb3\x80\x8e\xba1\xb2C\xbb";
        for len in 0..whole.len() {
            assert_eq!(verifyDumpPayload(&server, &whole[..len]), None, "{len}");
        }
        for (version, taken) in [(1, true), (9, true), (12, true), (13, false), (0x109, false)] {
            let mut payload = b"\x00\x05hello".to_vec();
            payload.extend_from_slice(&u16::to_le_bytes(version));
            let crc = crc64(0, &payload);
            payload.extend_from_slice(&crc.to_le_bytes());
            assert_eq!(verifyDumpPayload(&server, &payload).is_some(), taken, "{version}");
        }
        server.skip_checksum_validation = true;
        assert_eq!(verifyDumpPayload(&server, b"\x09\x0012345678"), Some(9));
    }

    #[test]
    fn damaged_payloads_are_refused_or_at_least_harmless() {
        let mut server = new_server();
        for (_, payload) in payloads(&mut server) {
            assert!(restore(&mut server, payload));
            for at in 0..payload.len() {
                for flip in [1, 2, 0x80, 0xff] {
                    let mut damaged = payload.to_vec();
                    damaged[at] ^= flip;
                    server.skip_checksum_validation = false;
                    assert!(!restore(&mut server, &damaged), "the checksum is wrong");
                    server.skip_checksum_validation = true;
                    restore(&mut server, &damaged);
                }
                // A part of it with a footer of its own.
                let mut cut = payload[..at].to_vec();
                cut.extend_from_slice(b"\x09\x00\x00\x00\x00\x00\x00\x00\x00\x00");
                server.skip_checksum_validation = true;
                restore(&mut server, &cut);
            }
            server.skip_checksum_validation = false;
        }
    }
}
