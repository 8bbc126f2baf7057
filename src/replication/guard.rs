//! Ours: a replica does not give up its data for nothing, and a master that becomes a replica does
//! not give up its writes for nothing.
//!
//! # `replica-empty-master-guard`
//!
//! A master without persistence that is started again is empty, has a new history, and in the C all
//! of its replicas follow it: the last copies of the data are gone a second after the first. With
//! the guard, a replica that has keys looks at the RDB of a full resync before it touches its own
//! data. If that has no key, and the history of the master is not the one we know, it is refused:
//! the replica keeps what it has, serves it as `replica-serve-stale-data` says, and makes no other
//! attempt until REPLICAOF is given again. Given for the same master, that is the consent. Given for
//! another one, the guard looks at that, too.
//!
//! # `repl-lost-writes-dir`
//!
//! A master that is replaced, and goes on to accept writes for a while, has a part of the stream
//! that its new master never had. When it becomes a replica and the new master can't go on from its
//! offset, these writes are thrown away with the rest of the data. They are still in the backlog. So
//! before anything is thrown away, what comes after the last offset that any replica acknowledged is
//! written to a file, in the form of an append only file: `redis-cli --pipe` takes it. If that
//! fails, the attempt is given up, and tried again later.
//!
//! Read first: [`guard_refuses`], [`note_demotion`], [`save_lost_writes`].

use std::collections::VecDeque;
use std::io;

use super::replicationCreateMasterClient;
use crate::db::dbTotalServerKeyCount;
use crate::log::{LL_NOTICE, LL_WARNING};
use crate::networking::unlinkClient;
use crate::rdb::{RDB_OPCODE_AUX, RDB_OPCODE_EOF, RDB_OPCODE_RESIZEDB, RDB_OPCODE_SELECTDB};
use crate::rio::{Rio, rio_available, rio_look_ahead, rio_peek, rioInitWithFile};
use crate::server_h::*;
use crate::sys::errno::error_text;
use crate::sys::file::{Access, access, fsync, open, rename, unlink};
use crate::sys::socket::{close, write};
use crate::util::{B, eq_ignore_case, string2ll};
use crate::{bformat, sdscatprintf, serverLog};

/// What both need to remember.
#[derive(Default)]
pub struct Guard {
    /// The RDB of our master was refused because it has no key.
    refused: bool,
    /// REPLICAOF was given again after that: it may be empty.
    consent: bool,
    /// The id, the offset and the db of the cached master that the last +FULLRESYNC discarded.
    previous: Option<(Vec<u8>, i64, i32)>,
    /// As a master: the last byte of our history that any replica has acknowledged.
    acked: i64,
    /// As a master, if lost writes are to be saved: from which byte on which db is selected. Those
    /// before the last one that was acknowledged are forgotten.
    selected: VecDeque<(i64, i32)>,
    /// As a replica that was a master: what of our history nobody has acknowledged.
    unacked: Option<Unacked>,
    /// The file of the last ones that were saved.
    saved: Option<Vec<u8>>,
}

/// A part of a history.
struct Unacked {
    replid: Vec<u8>,
    first: i64,
    last: i64,
}

fn guard(server: &mut Server) -> &mut Guard {
    &mut server.repl_statics.guard
}

// -----------------------------------------------------------------------------
// The guard against an empty master
// -----------------------------------------------------------------------------

/// What the head of an RDB says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Head {
    /// Too little so far: it takes more bytes to tell.
    More,
    NoKeys,
    /// There is a key, or something that is not understood here: the load will see.
    Keys,
}

/// Reads a length: the number of bytes that it takes, and the length. `Err`: `Head::More`, or
/// `Head::Keys` for what is no length.
fn length(p: &[u8]) -> Result<(usize, u64), Head> {
    let byte = |i: usize| p.get(i).copied().map(u64::from).ok_or(Head::More);
    let number = |len: usize| (1..=len).try_fold(0, |n, i| Ok(n << 8 | byte(i)?));
    let first = byte(0)?;
    match first >> 6 {
        0 => Ok((1, first)),
        1 => Ok((2, (first & 0x3f) << 8 | byte(1)?)),
        _ if first == 0x80 => Ok((5, number(4)?)),
        _ if first == 0x81 => Ok((9, number(8)?)),
        _ => Err(Head::Keys),
    }
}

/// Returns how many bytes a string takes.
fn string_size(p: &[u8]) -> Result<usize, Head> {
    let size = match p.first().ok_or(Head::More)? {
        0xc0 => Some(2),
        0xc1 => Some(3),
        0xc2 => Some(5),
        // Compressed: two lengths, then so many bytes as the first says.
        0xc3 => {
            let (a, compressed) = length(&p[1..])?;
            let (b, _) = length(&p[1 + a..])?;
            usize::try_from(compressed).ok().and_then(|n| n.checked_add(1 + a + b))
        }
        _ => {
            let (a, len) = length(p)?;
            usize::try_from(len).ok().and_then(|n| n.checked_add(a))
        }
    };
    let size = size.ok_or(Head::Keys)?;
    if size <= p.len() { Ok(size) } else { Err(Head::More) }
}

/// Looks at the first bytes of an RDB: is there a key? Scripts and other fields are none.
fn head_of_rdb(bytes: &[u8]) -> Head {
    const MAGIC: usize = 9;
    const FUNCTION2: u8 = 245;
    if bytes.len() <= MAGIC {
        return Head::More;
    }
    if !bytes.starts_with(b"REDIS") && !bytes.starts_with(b"VALKEY") {
        return Head::Keys;
    }
    let skip = |mut p| -> Result<Head, Head> {
        loop {
            let (opcode, rest): (&u8, &[u8]) = <[u8]>::split_first(p).ok_or(Head::More)?;
            let taken = match *opcode {
                RDB_OPCODE_EOF => return Ok(Head::NoKeys),
                RDB_OPCODE_AUX => {
                    let name = string_size(rest)?;
                    name + string_size(&rest[name..])?
                }
                RDB_OPCODE_SELECTDB => length(rest)?.0,
                RDB_OPCODE_RESIZEDB => {
                    let keys = length(rest)?.0;
                    keys + length(&rest[keys..])?.0
                }
                FUNCTION2 => string_size(rest)?,
                _ => return Ok(Head::Keys),
            };
            p = &rest[taken..];
        }
    };
    skip(&bytes[MAGIC..]).unwrap_or_else(|head| head)
}

/// Tells whether an RDB has no key, by its head, which stays in the stream. A stream that ends, or
/// stalls, before that is clear is for the load to complain of.
fn has_no_keys(rdb: &mut Rio) -> bool {
    loop {
        match head_of_rdb(rio_peek(rdb)) {
            Head::More => {
                let more = rio_available(rdb) + 1;
                if rio_look_ahead(rdb, more).is_err() {
                    return false;
                }
            }
            head => return head == Head::NoKeys,
        }
    }
}

/// Tells whether an RDB has no key; `tmpfile` is its name.
pub fn file_has_no_keys(tmpfile: &[u8]) -> bool {
    let Ok(fd) = open(tmpfile, libc::O_RDONLY, 0) else { return false };
    let empty = has_no_keys(&mut rioInitWithFile(fd, 0));
    close(fd);
    empty
}

/// Tells whether the RDB of a full resync must not take the place of our data, because it has no
/// key and we have some. `is_empty` looks into it, and is asked only if that matters.
pub fn guard_refuses(server: &Server, is_empty: impl FnOnce() -> bool) -> bool {
    if !server.repl_empty_master_guard
        || server.repl_statics.guard.consent
        || dbTotalServerKeyCount(server) == 0
    {
        return false;
    }
    // A master that goes on with the history that we follow may well be empty: by FLUSHALL, say.
    let known = server.master_initial_offset != -1
        && (server.master_replid == server.replid || server.master_replid == server.replid2);
    !known && is_empty()
}

/// Tells whether an RDB that comes over a socket is refused, as [`guard_refuses`] does. What was
/// looked at stays in the stream.
pub fn guard_refuses_stream(server: &Server, rdb: &mut Rio) -> bool {
    guard_refuses(server, || has_no_keys(rdb))
}

/// Notes that our master's RDB was refused. The link is to be closed, and stays so; what we follow
/// is what we followed before.
pub fn guard_refused(server: &mut Server) {
    guard(server).refused = true;
    serverLog!(
        LL_WARNING,
        "The MASTER has no keys, and its history {} is not ours: {} keys are kept, and the link stays closed (replica-empty-master-guard). Give REPLICAOF again to take the empty data set.",
        B(&server.master_replid),
        dbTotalServerKeyCount(server)
    );
    restore_cached_master(server);
}

/// Tells whether no attempt is to be made, since our master was refused.
pub fn guard_holds(server: &Server) -> bool {
    server.repl_statics.guard.refused && server.repl_empty_master_guard
}

/// REPLICAOF was given for the master that we follow already: if that was refused, it is accepted
/// now. Returns whether it was.
pub fn guard_consents(server: &mut Server) -> bool {
    if !guard_holds(server) {
        return false;
    }
    let guard = guard(server);
    (guard.refused, guard.consent) = (false, true);
    serverLog!(LL_NOTICE, "REPLICAOF was given again: the MASTER may have no keys.");
    true
}

/// Forgets what was refused or consented to: there is another master, or none, or we are in sync.
pub fn guard_reset(server: &mut Server) {
    let guard = guard(server);
    (guard.refused, guard.consent) = (false, false);
}

/// Remembers what the cached master is, which is about to be discarded.
pub fn remember_cached_master(server: &mut Server) {
    let cached = server.cached_master.map(|c| {
        let cached = &server[c];
        (cached.replid.clone(), cached.reploff, cached.db as i32)
    });
    if cached.is_some() {
        guard(server).previous = cached;
    }
}

/// Makes the cached master again that was discarded last, as our data is still what it was.
fn restore_cached_master(server: &mut Server) {
    if server.cached_master.is_some() {
        return;
    }
    let Some((replid, offset, db)) = guard(server).previous.clone() else { return };
    let said = (server.master_replid.clone(), server.master_initial_offset);
    (server.master_replid, server.master_initial_offset) = (replid, offset);
    replicationCreateMasterClient(server, None, db);
    (server.master_replid, server.master_initial_offset) = said;
    let master = server.master.take().expect("it was made just now");
    unlinkClient(server, master);
    server.cached_master = Some(master);
}

/// Forgets it: our data is another one now.
pub fn forget_cached_master(server: &mut Server) {
    guard(server).previous = None;
}

/// Appends the fields of INFO: none if nothing was refused or saved.
pub fn guard_info(server: &Server, info: &mut Vec<u8>) {
    if guard_holds(server) {
        info.extend_from_slice(b"master_refused_as_empty:1\r\n");
    }
    if let Some(file) = &server.repl_statics.guard.saved {
        sdscatprintf!(*info, "lost_writes_file:{}\r\n", B(file));
    }
}

// -----------------------------------------------------------------------------
// Lost writes
// -----------------------------------------------------------------------------

/// Notes that a history of our own begins, behind the present offset: nothing before it can be lost
/// by us.
pub fn history_begins(server: &mut Server) {
    let offset = server.master_repl_offset;
    let guard = guard(server);
    guard.acked = offset;
    guard.selected.clear();
}

/// Notes what a replica has acknowledged.
pub fn note_ack(server: &mut Server, offset: i64) {
    if server.masterhost.is_some() {
        return;
    }
    // A replica may claim anything.
    let offset = offset.min(server.master_repl_offset);
    let guard = guard(server);
    guard.acked = guard.acked.max(offset);
    while guard.selected.get(1).is_some_and(|&(from, _)| from <= guard.acked + 1) {
        guard.selected.pop_front();
    }
}

/// Notes that the stream is about to select a db.
pub fn note_select(server: &mut Server, db: i32) {
    if server.repl_lost_writes_dir.is_some() {
        let from = server.master_repl_offset + 1;
        guard(server).selected.push_back((from, db));
    }
}

/// Checks the folder for lost writes, and begins to note which db is selected. The error is the
/// text for CONFIG SET.
pub fn set_lost_writes_dir(server: &mut Server) -> Result<(), Vec<u8>> {
    let from = server.master_repl_offset + 1;
    let db = server.slaveseldb;
    guard(server).selected.clear();
    if db != -1 {
        guard(server).selected.push_back((from, db));
    }
    check_lost_writes_dir(server)
        .map_err(|e| bformat!("The folder for lost writes can't be written to: {}", error_text(&e)))
}

fn check_lost_writes_dir(server: &Server) -> io::Result<()> {
    let Some(dir) = &server.repl_lost_writes_dir else { return Ok(()) };
    // The slash makes it an error if it is a file.
    access(&bformat!("{}/.", B(dir)), Access::Write)
}

/// Warns at the start if lost writes could not be saved.
pub fn warn_lost_writes_dir(server: &Server) {
    if let Err(e) = check_lost_writes_dir(server) {
        serverLog!(
            LL_WARNING,
            "WARNING: repl-lost-writes-dir '{}' can't be written to: {}. As a replica of a master that lacks our writes this server would not synchronize.",
            B(server.repl_lost_writes_dir.as_deref().unwrap_or_default()),
            error_text(&e)
        );
    }
}

/// Notes that we, a master until now, become a replica: from here on it is known which part of our
/// history nobody has acknowledged.
pub fn note_demotion(server: &mut Server) {
    let last = server.master_repl_offset;
    let first = guard(server).acked + 1;
    guard(server).unacked = (server.repl_backlog && first <= last).then(|| Unacked {
        replid: server.replid.clone(),
        first,
        last,
    });
}

/// Forgets the writes that might have been lost: our master has them, or we are a master again.
pub fn forget_unacked(server: &mut Server) {
    guard(server).unacked = None;
}

/// A command of the stream: its length, and its arguments.
type StreamCommand<'a> = (usize, Vec<&'a [u8]>);

/// Takes the first command. `None`: the bytes do not begin with a whole command in the form in which
/// the stream has them.
fn stream_command(bytes: &[u8]) -> Option<StreamCommand<'_>> {
    fn number(p: &[u8], prefix: u8) -> Option<(usize, &[u8])> {
        let (digits, rest) = p.strip_prefix(&[prefix])?.split_at(memchr::memchr(b'\r', p)? - 1);
        let n = usize::try_from(string2ll(digits)?).ok()?;
        Some((n, rest.strip_prefix(b"\r\n")?))
    }
    let (argc, mut rest) = number(bytes, b'*')?;
    let mut argv = Vec::with_capacity(argc.min(64));
    if argc == 0 {
        return None;
    }
    for _ in 0..argc {
        let (len, p) = number(rest, b'$')?;
        argv.push(p.get(..len)?);
        rest = p.get(len..)?.strip_prefix(b"\r\n")?;
    }
    Some((bytes.len() - rest.len(), argv))
}

/// Returns the commands of a part of the stream, if it consists of whole commands.
fn stream_commands(mut bytes: &[u8]) -> Option<Vec<StreamCommand<'_>>> {
    let mut commands = Vec::new();
    while !bytes.is_empty() {
        let command = stream_command(bytes)?;
        bytes = &bytes[command.0..];
        commands.push(command);
    }
    Some(commands)
}

/// The text of a file of lost writes.
#[derive(Default, Debug)]
struct LostWrites {
    text: Vec<u8>,
    /// The commands in it, but for SELECT.
    commands: usize,
    /// The first byte of the stream that is in it.
    first: i64,
}

/// Makes the text of a part of the stream whose first byte has the offset `first`. `db` tells which
/// one is selected at an offset, as far as that is known. The text begins with a SELECT, and what
/// only concerns the link is left out.
///
/// If the part begins in the middle of a command, the text begins with the next one; where it is not
/// known which db is selected, it begins where the stream selects one.
fn lost_writes_text(bytes: &[u8], mut first: i64, db: impl Fn(i64) -> Option<i32>) -> LostWrites {
    let whole = (0..bytes.len()).find_map(|at| {
        let commands = (bytes[at] == b'*').then(|| stream_commands(&bytes[at..]))??;
        Some((at, commands))
    });
    let Some((at, commands)) = whole else { return LostWrites::default() };
    first += at as i64;
    let mut lost = LostWrites { first, ..LostWrites::default() };
    let db = db(first);
    let mut known = db.is_some();
    if let Some(db) = db {
        let db = bformat!("{}", db);
        sdscatprintf!(lost.text, "*2\r\n$6\r\nSELECT\r\n${}\r\n{}\r\n", db.len(), B(&db));
    }
    let mut pos = at;
    let mut multi: Option<&[u8]> = None;
    for (len, argv) in commands {
        let raw = &bytes[pos..pos + len];
        let is = |name: &[u8]| eq_ignore_case(argv[0], name);
        if is(b"multi") {
            multi = Some(raw);
        } else if is(b"exec") {
            multi = None;
        }
        if !known && is(b"select") {
            known = true;
            lost.first = first + (pos - at) as i64;
            lost.text.extend_from_slice(multi.unwrap_or_default());
        }
        pos += len;
        if known && !is(b"ping") && !is(b"replconf") {
            lost.text.extend_from_slice(raw);
            lost.commands += usize::from(!is(b"select") && !is(b"multi") && !is(b"exec"));
        }
    }
    lost
}

/// Saves the writes that our new master lacks, before they are thrown away, if that is configured
/// and there are any. `Err`: it failed; the log says why, and nothing must be thrown away.
pub fn save_lost_writes(server: &mut Server) -> Result<(), ()> {
    let Some(dir) = server.repl_lost_writes_dir.clone() else { return Ok(()) };
    let Some(Unacked { replid, first, last }) = &server.repl_statics.guard.unacked else {
        return Ok(());
    };
    let (replid, first, last) = (replid.clone(), *first, *last);
    if !server.repl_backlog {
        return Ok(());
    }

    // The backlog ends where our history does. It may not reach back to the first byte.
    let from = first.max(server.repl_backlog_off);
    let bytes = server.clients.repl.from(from).collect::<Vec<_>>().concat();
    let selected = &server.repl_statics.guard.selected;
    let db_at = |offset| selected.iter().rev().find(|&&(at, _)| at <= offset).map(|&(_, db)| db);
    let lost = lost_writes_text(&bytes, from, db_at);
    let missing =
        if lost.commands == 0 && from > first { last - first + 1 } else { lost.first - first };
    if missing > 0 && (lost.commands > 0 || from > first) {
        serverLog!(
            LL_WARNING,
            "{} bytes of writes from offset {} on can't be saved: the backlog does not reach back so far ('repl-backlog-size'), or it is not known in which db they were",
            missing,
            first
        );
    }
    if lost.commands == 0 {
        forget_unacked(server);
        return Ok(());
    }

    let file = bformat!("{}/lost-writes-{}-{}-{}.aof", B(&dir), B(&replid), lost.first, last);
    if let Err(e) = write_file(&dir, &file, &lost.text) {
        serverLog!(
            LL_WARNING,
            "{} writes that the MASTER lacks can't be saved to {}: {}. They are kept, and the synchronization is put off.",
            lost.commands,
            B(&file),
            error_text(&e)
        );
        restore_cached_master(server);
        return Err(());
    }
    serverLog!(
        LL_WARNING,
        "{} writes that the MASTER lacks, from offset {} to {} of history {}, were saved to {}. 'redis-cli --pipe' takes them.",
        lost.commands,
        lost.first,
        last,
        B(&replid),
        B(&file)
    );
    forget_unacked(server);
    guard(server).saved = Some(file);
    Ok(())
}

/// Writes a file that is whole or not there.
fn write_file(dir: &[u8], file: &[u8], mut text: &[u8]) -> io::Result<()> {
    let tmpfile = bformat!("{}/temp-lost-writes-{}.aof", B(dir), std::process::id());
    let fd = open(&tmpfile, libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC, 0o644)?;
    let mut written = Ok(());
    while !text.is_empty() && written.is_ok() {
        match write(fd, text) {
            Ok(n) => text = &text[n..],
            Err(e) => written = Err(e),
        }
    }
    let written = written.and_then(|()| fsync(fd));
    close(fd);
    let written = written.and_then(|()| rename(&tmpfile, file));
    if written.is_err() {
        let _ = unlink(&tmpfile);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rdb(body: &[u8]) -> Vec<u8> {
        [b"REDIS0009", body].concat()
    }

    /// The head tells at its last byte, and not before, whether there is a key.
    #[test]
    fn heads() {
        let aux = b"\xfa\x09redis-ver\x066.2.16\xfa\x0aredis-bits\xc0\x40";
        let lzf = b"\xfa\x03lua\xc3\x02\x40\x64xx";
        let long = [&b"\xfa\x03lua\x40\xc8"[..], &[b'x'; 200]].concat();
        let function = b"\xf5\x03abc";
        let empty_db = b"\xfe\x00\xfb\x00\x00";
        for (fields, key, head) in [
            (&[&aux[..], lzf, &long, function, empty_db][..], &b"\xff"[..], Head::NoKeys),
            (&[&aux[..]], b"\x00\x01k\x01v", Head::Keys),
            (&[&aux[..], empty_db], b"\xfd", Head::Keys),
            (&[], b"\xff", Head::NoKeys),
            (&[], b"\xf7", Head::Keys),
        ] {
            let fields = rdb(&fields.concat());
            for len in 0..=fields.len() {
                assert_eq!(head_of_rdb(&fields[..len]), Head::More, "{len} of {fields:?}");
            }
            assert_eq!(head_of_rdb(&[&fields[..], key].concat()), head);
        }
        assert_eq!(head_of_rdb(b"VALKEY080\xff"), Head::NoKeys);
        assert_eq!(head_of_rdb(b"RADIS0009\xff"), Head::Keys);
        assert_eq!(head_of_rdb(&rdb(b"\xfa\x81\xff\xff\xff\xff\xff\xff\xff\xff")), Head::Keys);
    }

    fn stream(commands: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for command in commands {
            let words: Vec<&str> = command.split(' ').collect();
            sdscatprintf!(bytes, "*{}\r\n", words.len());
            for word in words {
                sdscatprintf!(bytes, "${}\r\n{}\r\n", word.len(), word);
            }
        }
        bytes
    }

    /// The file begins with the db that is selected, and has no PING.
    #[test]
    fn texts() {
        let bytes = stream(&["SET a 1", "PING", "REPLCONF GETACK *", "SELECT 3", "INCR b"]);
        let lost = lost_writes_text(&bytes, 100, |_| Some(11));
        assert_eq!(lost.text, stream(&["SELECT 11", "SET a 1", "SELECT 3", "INCR b"]));
        assert_eq!((lost.commands, lost.first), (2, 100));

        // In the middle of a command: from the next one on, in its db.
        let lost = lost_writes_text(&bytes[1..], 101, |offset| Some(offset as i32));
        assert_eq!(lost.text, stream(&["SELECT 127", "SELECT 3", "INCR b"]));
        assert_eq!((lost.commands, lost.first), (1, 127));

        // It is not known which db it was in: from the next SELECT on.
        let lost = lost_writes_text(&bytes, 100, |_| None);
        assert_eq!(lost.text, stream(&["SELECT 3", "INCR b"]));
        assert_eq!(
            lost.first,
            100 + stream(&["SET a 1", "PING", "REPLCONF GETACK *"]).len() as i64
        );

        // A transaction stays one.
        let bytes = stream(&["MULTI", "SET a 1", "SELECT 3", "INCR b", "EXEC", "PING"]);
        let lost = lost_writes_text(&bytes, 1, |_| None);
        assert_eq!(lost.text, stream(&["MULTI", "SELECT 3", "INCR b", "EXEC"]));

        for nothing in [&b""[..], b"x", b"*1\r\n$4\r\nPING\r\n", b"*1\r\n$4\r\nPIN", b"*\r\n"] {
            assert_eq!(lost_writes_text(nothing, 1, |_| Some(0)).commands, 0, "{nothing:?}");
        }
    }
}
