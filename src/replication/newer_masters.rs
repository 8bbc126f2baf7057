//! What newer masters send: commands of Redis 7.0 and later and of Valkey in our master's stream,
//! as what they are in Redis 6.2.
//!
//! The stream of a newer master has commands that 6.2 lacks (HSETEX), forms of known commands that
//! it refuses (`PEXPIREAT key ms NX`), and forms that it takes and understands otherwise (XCLAIM of
//! an entry that was deleted). Each has a function here, which [`translator`] finds by the command's
//! name. It makes commands of 6.2 of it, or none where nothing is to be done, or says that 6.2 has
//! no way to hold the effect: then [`refuse`] stops the link before that command, unless
//! `propagation-error-behavior` says otherwise.
//!
//! A condition (NX, IFEQ) is evaluated on our data, as the master has evaluated it on the same data.
//! In a transaction that is done when EXEC executes the command, not when it is queued
//! ([`exec_queued`]).
//!
//! What is handed on to our own replicas, and counted in the offset, are the bytes of the master. A
//! replica of a newer version understands them, and one like us translates for itself. The append
//! only file has the translation.
//!
//! The table of all forms is a page of the book, `docs/src/newer-masters.md`.
// C: it has none of this; a command that it does not know is logged and missed.

use crate::args::{Args, Argv};
use crate::blocked::blockClient;
use crate::debug::_serverPanic;
use crate::ds::rax::{raxFind, raxNext, raxSeek, raxStart};
use crate::keyspace::{AggregateRef, ValueRef};
use crate::log::LL_WARNING;
use crate::networking::freeClientAsync;
use crate::rdb::{
    RDB_TYPE_HASH_2, RDB_TYPE_MODULE, RDB_TYPE_MODULE_2, RDB_VERSION, RdbLoadErr, rdbLoadObject,
    rdbLoadObjectType,
};
use crate::replication::{close_master_link, offset_behind_command};
use crate::rio::rioInitWithBuffer;
use crate::server::{call, processCommand};
use crate::server_h::*;
use crate::sys::clock::{mstime, steady_ms};
use crate::types::t_hash::hashTypeExists;
use crate::types::t_stream::{
    Stream, stream_parse_id_bytes, streamEncodeID, streamIteratorGetID, streamIteratorStart,
    streamLookupCG,
};
use crate::util::{B, eq_ignore_case, ll2string, string2ll};
use crate::{bformat, serverLog};

/// What a command of a newer master is in 6.2.
#[derive(Debug)]
pub enum Translation {
    /// The command itself: it is executed as it is.
    Same,
    /// These commands, one after the other. None: nothing is to be done.
    Commands(Vec<Argv>),
    /// There is no such effect in 6.2; the text says of what.
    Impossible(&'static str),
}
use Translation::*;

/// A function that translates one command, which a client that has selected `db` would execute.
type Translator = fn(&mut Server, usize, &Args) -> Translation;

/// The time in milliseconds in which a second error makes no second full resync.
const RESYNC_AFTER_ERROR_PERIOD: i64 = 3_600_000;

/// The longest name of a command that is translated.
const NAME_MAX: usize = 17;

/// Finds the function that translates a command, by its name.
fn translator(name: &[u8]) -> Option<Translator> {
    let mut lower = [0; NAME_MAX];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    Some(match &*lower {
        // Commands of 6.2 with more forms, or another meaning.
        b"set" => set,
        b"expire" | b"expireat" | b"pexpire" | b"pexpireat" => expire,
        b"xgroup" => xgroup,
        b"xsetid" => xsetid,
        b"xclaim" => xclaim,
        b"xadd" | b"xtrim" => xadd_or_xtrim,
        b"georadius" | b"georadiusbymember" | b"geosearchstore" => geo,
        b"bitop" => bitop,
        b"restore" => restore,
        // Commands that 6.2 does not have.
        b"lmpop" | b"blmpop" | b"zmpop" | b"bzmpop" => mpop,
        b"msetex" => msetex,
        b"delifeq" => delifeq,
        b"delex" => delex,
        b"hsetex" => hsetex,
        b"hgetdel" => hgetdel,
        b"hgetex" => hgetex,
        b"hpersist" => hpersist,
        b"hexpire" | b"hexpireat" | b"hpexpire" | b"hpexpireat" => field_times,
        b"xdelex" => xdelex,
        b"xackdel" => xackdel,
        b"spublish" => nothing,
        b"function" => function,
        b"cluster" => cluster,
        b"sflush" => slots,
        _ => return None,
    })
}

/// Processes a command of our master that is another one in 6.2, or none. `None`: it is the same,
/// and goes the way of any command. Else what `processCommand` returns for it.
pub fn process_newer_command(server: &mut Server, c: ClientId, argv: &Args) -> Option<CResult> {
    let name = argv.get(0);
    let Some(translate) = translator(name) else {
        // A command of a module, perhaps. From a master of our own version it is missed, as in the
        // C.
        let unknown = argv.cmd().is_none() && server.commands.lookup(name).is_none();
        if unknown && server.repl_stream_version > RDB_VERSION && !eq_ignore_case(name, b"quit") {
            return Some(refuse(server, c, argv, b"there is no such command"));
        }
        return None;
    };
    let db = server[c].db;
    let translation = translate(server, db, argv);
    if let Same = translation {
        return None;
    }
    // No 6.2 sends this.
    server.repl_stream_version = server.repl_stream_version.max(RDB_VERSION + 1);
    if let Impossible(reason) = translation {
        return Some(refuse(server, c, argv, reason.as_bytes()));
    }
    let Commands(commands) = translation else { return None };

    // The command under which it is queued or paused only has to be one that writes: it is looked
    // up again when it is executed.
    let stand_in = server.commands.delCommand;
    if server[c].flags & CLIENT_MULTI != 0 {
        let flags = server.commands[stand_in].flags;
        let mstate = &mut server[c].mstate;
        mstate.commands.push(multiCmd { argv: argv.to_argv(), cmd: stand_in });
        mstate.cmd_flags |= flags;
        mstate.cmd_inv_flags |= !flags;
        return Some(C_OK);
    }
    // As in `processCommand`.
    if server.client_pause_type != CLIENT_PAUSE_OFF {
        let client = &mut server[c];
        client.cmd = Some(stand_in);
        client.lastcmd = Some(stand_in);
        client.bpop.timeout = 0;
        client.argv = Some(argv.to_argv());
        blockClient(server, c, BLOCKED_PAUSE);
        return Some(C_OK);
    }
    for command in &commands {
        if processCommand(server, c, &command.as_args()).is_err() || !server.clients.contains(c) {
            return Some(C_ERR);
        }
    }
    Some(C_OK)
}

/// Executes a command of a transaction of our master that can be another one in 6.2, or none.
/// Returns `false` if it is none of those: then the caller executes it.
///
/// What it is, is asked again: the commands before it in the transaction may have changed that. So
/// the command under which it was queued does not count.
pub fn exec_queued(server: &mut Server, c: ClientId, argv: &Args) -> bool {
    let Some(translate) = translator(argv.get(0)) else { return false };
    let db = server[c].db;
    let translation = translate(server, db, argv);
    let mut execute = |args: &Args| {
        let Some(cmd) = server.commands.lookup_original_name(args.get(0)) else { return };
        server[c].cmd = Some(cmd);
        server[c].lastcmd = Some(cmd);
        call(server, c, args, CMD_CALL_FULL);
    };
    match translation {
        Same => execute(argv),
        Commands(commands) => commands.iter().for_each(|command| execute(&command.as_args())),
        // It was refused when it was queued, unless it is another command with other data.
        Impossible(reason) => {
            server.stat_untranslated_commands += 1;
            note_error(server, reason.as_bytes());
        }
    }
    true
}

/// Remembers that a command of our master failed: see [`after_command`].
pub fn note_error(server: &mut Server, text: &[u8]) {
    server.repl_stream_error.get_or_insert_with(|| text.to_vec());
}

/// Refuses a command that 6.2 can't hold, as `propagation-error-behavior` says: leaves it out,
/// closes the link before it, or ends the process. `C_ERR`: the link is being closed.
///
/// When it is closed, the offset stays before the command (or the transaction), so the next partial
/// resync comes to it again. That goes on, and nothing is lost, until the operator decides.
pub fn refuse(server: &mut Server, c: ClientId, argv: &Args, reason: &[u8]) -> CResult {
    let name = argv.get(0);
    let key = argv.iter().nth(key_position(name)).unwrap_or_default();
    let what = bformat!(
        "The master sent '{}' for '{}' before offset {}, which this server can't execute: {}",
        B(&name[..name.len().min(128)]),
        B(&key[..key.len().min(128)]),
        offset_behind_command(server, c),
        B(reason)
    );
    server.stat_unexpected_error_replies += 1;
    server.stat_untranslated_commands += 1;
    match server.propagation_error_behavior {
        PROPAGATION_ERR_BEHAVIOR_IGNORE => {
            serverLog!(
                LL_WARNING,
                "{}. It is left out, as 'propagation-error-behavior' is 'ignore': the data differ from the master's.",
                B(&what)
            );
            C_OK
        }
        PROPAGATION_ERR_BEHAVIOR_PANIC => {
            let msg = bformat!("{}", B(&what));
            _serverPanic(server, argv, file!(), line!(), &String::from_utf8_lossy(&msg))
        }
        _ => {
            serverLog!(
                LL_WARNING,
                "{}. Closing the link before it. With 'propagation-error-behavior ignore' it would be left out.",
                B(&what)
            );
            close_master_link(server, c);
            C_ERR
        }
    }
}

/// Returns which argument of a command is its key, for the log.
fn key_position(name: &[u8]) -> usize {
    let second: &[&[u8]] = &[b"msetex", b"lmpop", b"zmpop", b"xgroup", b"bitop"];
    if second.iter().any(|s| eq_ignore_case(name, s)) { 2 } else { 1 }
}

/// Looks at how a command ended, if it was our master's. If there was an error, our data or our
/// understanding are not the master's: with `disconnect` the link is closed, when the master is a
/// newer one, and with `panic` the process ends. `C_ERR`: the link is being closed.
///
/// Errors of a master of our own version are ignored, as in the C. So are those on a replica that
/// others may write to: what they wrote is the likely reason.
pub fn after_command(server: &mut Server, c: ClientId, argv: &Args) -> CResult {
    // The error may be of the bytes of the stream, or of a transaction whose script is still
    // running, and the command another client's.
    if server.master != Some(c) {
        return C_OK;
    }
    let Some(error) = server.repl_stream_error.take() else { return C_OK };
    if !server.repl_slave_ro {
        return C_OK;
    }
    let behavior = server.propagation_error_behavior;
    if behavior == PROPAGATION_ERR_BEHAVIOR_PANIC {
        let msg = bformat!(
            "This replica panicked sending an error to its master: '{}' after processing the command '{}'",
            B(&error),
            B(argv.get(0))
        );
        _serverPanic(server, argv, file!(), line!(), &String::from_utf8_lossy(&msg));
    }
    if behavior != PROPAGATION_ERR_BEHAVIOR_DISCONNECT || server.repl_stream_version <= RDB_VERSION
    {
        return C_OK;
    }
    serverLog!(
        LL_WARNING,
        "Closing the link to the master, as its command '{}' before offset {} failed here: '{}'. With 'propagation-error-behavior ignore' it would be missed.",
        B(argv.get(0)),
        offset_behind_command(server, c),
        B(&error)
    );
    // Half of a transaction may have been executed, so there is no point to go on from; and if our
    // data are not the master's, its RDB heals that. But if the next command fails as well, another
    // RDB would not help.
    let is_exec = eq_ignore_case(argv.get(0), b"exec");
    let now = steady_ms();
    let recently = server.repl_resync_after_error != 0
        && now - server.repl_resync_after_error < RESYNC_AFTER_ERROR_PERIOD;
    if is_exec || !recently {
        server.repl_resync_after_error = now;
        // A client with this flag is not cached.
        server[c].flags |= CLIENT_PROTOCOL_ERROR;
        server.repl_reconnect_later = true;
        freeClientAsync(server, c);
    } else {
        close_master_link(server, c);
    }
    C_ERR
}

// -----------------------------------------------------------------------------
// What the translations have in common
// -----------------------------------------------------------------------------

/// Tells whether an argument is this word, in any case of letters.
fn is(arg: &[u8], word: &str) -> bool {
    eq_ignore_case(arg, word.as_bytes())
}

/// One command of 6.2.
fn one(args: &[&[u8]]) -> Translation {
    Commands(vec![Argv::new(args)])
}

/// A command that changes nothing here.
fn nothing(_server: &mut Server, _db: usize, _argv: &Args) -> Translation {
    Commands(Vec::new())
}

/// Returns a value, even of a key that has expired: the master has told of what it deleted.
fn lookup<'a>(server: &'a Server, db: usize, key: &[u8]) -> Option<ValueRef<'a>> {
    let dict = &server.db[db].dict;
    dict.find(key).map(|o| dict.get(o))
}

/// Returns the stream at a key.
fn lookup_stream<'a>(server: &'a Server, db: usize, key: &[u8]) -> Option<&'a Stream> {
    match lookup(server, db, key)? {
        ValueRef::Aggregate(AggregateRef::Stream(s)) => Some(s),
        _ => None,
    }
}

/// Tells whether the value is the string `text`.
fn is_string(value: Option<ValueRef>, text: &[u8]) -> bool {
    match value {
        Some(ValueRef::Int(n)) => &ll2string(n)[..] == text,
        Some(ValueRef::Str(s)) => s == text,
        _ => false,
    }
}

/// Returns the elements behind `<word> <count>` at `i`, if it is that word and there are as many.
/// `size`: how many arguments an element has.
fn counted<'a>(args: &[&'a [u8]], i: usize, word: &str, size: usize) -> Option<Vec<&'a [u8]>> {
    let [name, count, rest @ ..] = args.get(i..)? else { return None };
    let count = usize::try_from(string2ll(count)?).ok()?;
    let whole = is(name, word) && count > 0 && Some(rest.len()) == count.checked_mul(size);
    whole.then(|| rest.to_vec())
}

/// A command that makes no sense as the newer server knows it either.
const MALFORMED: Translation = Impossible("its arguments are not those of any version");
/// What concerns the times at which fields expire.
const FIELD_TIMES: Translation = Impossible("fields of a hash have no time to live here");

// -----------------------------------------------------------------------------
// Commands of 6.2
// -----------------------------------------------------------------------------

/// `SET key value NX GET`, since 7.0, and `SET key value IFEQ other`, since Valkey 8.1.
fn set(server: &mut Server, db: usize, argv: &Args) -> Translation {
    if argv.len() < 5 {
        return Same;
    }
    let (mut get, mut nx, mut ifeq) = (false, false, None);
    let mut kept: Vec<&[u8]> = argv.iter().take(3).collect();
    let mut options = argv.iter().skip(3);
    while let Some(option) = options.next() {
        if is(option, "get") {
            get = true;
            continue;
        }
        if is(option, "ifeq") {
            let Some(value) = options.next() else { return Same };
            ifeq = Some(value);
            continue;
        }
        nx |= is(option, "nx");
        kept.push(option);
        if ["ex", "px", "exat", "pxat"].iter().any(|word| is(option, word)) {
            kept.extend(options.next());
        }
    }
    match ifeq {
        Some(value) if !is_string(lookup(server, db, &argv[1]), value) => Commands(Vec::new()),
        Some(_) => one(&kept),
        None if get && nx => one(&kept),
        None => Same,
    }
}

/// `PEXPIREAT key time NX|XX|GT|LT` and its relatives, since 7.0.
fn expire(server: &mut Server, db: usize, argv: &Args) -> Translation {
    if argv.len() <= 3 {
        return Same;
    }
    let name = argv.get(0);
    let Some(mut when) = string2ll(&argv[2]) else { return MALFORMED };
    if !name[0].eq_ignore_ascii_case(&b'p') {
        when = when.saturating_mul(1000);
    }
    if !name.to_ascii_lowercase().ends_with(b"at") {
        when = when.saturating_add(mstime());
    }
    let dict = &server.db[db].dict;
    let Some(o) = dict.find(&argv[1]) else { return Commands(Vec::new()) };
    let current = dict.expire(o);
    // No time is later than any.
    let holds = |option: &[u8]| {
        Some(if is(option, "nx") {
            current.is_none()
        } else if is(option, "xx") {
            current.is_some()
        } else if is(option, "gt") {
            current.is_some_and(|current| when > current)
        } else if is(option, "lt") {
            current.is_none_or(|current| when < current)
        } else {
            return None;
        })
    };
    let mut all_hold = true;
    for option in argv.iter().skip(3) {
        let Some(holds) = holds(option) else { return MALFORMED };
        all_hold &= holds;
    }
    if all_hold { one(&[b"PEXPIREAT", &argv[1], &ll2string(when)]) } else { Commands(Vec::new()) }
}

/// `XGROUP CREATE|SETID key group id [MKSTREAM] ENTRIESREAD n`, since 7.0. The number of entries
/// that a group has read is not kept in 6.2.
fn xgroup(_server: &mut Server, _db: usize, argv: &Args) -> Translation {
    let mut args: Vec<&[u8]> = argv.iter().collect();
    while let Some(at) = (5..args.len()).find(|&i| is(args[i], "entriesread")) {
        args.drain(at..args.len().min(at + 2));
    }
    if args.len() == argv.len() { Same } else { one(&args) }
}

/// `XSETID key id [ENTRIESADDED n] [MAXDELETEDID id]`, since 7.0. 6.2 keeps neither.
fn xsetid(_server: &mut Server, _db: usize, argv: &Args) -> Translation {
    if argv.len() <= 3 {
        return Same;
    }
    let args: Vec<&[u8]> = argv.iter().collect();
    let known = |pair: &[&[u8]]| {
        pair.len() == 2 && (is(pair[0], "entriesadded") || is(pair[0], "maxdeletedid"))
    };
    if args[3..].chunks(2).all(known) { one(&args[..3]) } else { MALFORMED }
}

/// XCLAIM of an entry that was deleted: since 7.0 it takes the entry from the pending ones of the
/// group, where 6.2 gives it to the consumer.
fn xclaim(server: &mut Server, db: usize, argv: &Args) -> Translation {
    if server.repl_stream_version <= RDB_VERSION || argv.len() < 6 {
        return Same;
    }
    let (key, group) = (argv.get(1), argv.get(2));
    let Some(s) = lookup_stream(server, db, key) else { return Same };
    let Some(cg) = streamLookupCG(s, group) else { return Same };
    let args: Vec<&[u8]> = argv.iter().collect();
    let id = |arg: &[u8]| stream_parse_id_bytes(arg, 0, true);
    let ids = args[5..].iter().take_while(|arg| id(arg).is_some()).count();
    let (ids, options) = args[5..].split_at(ids);
    let (there, gone): (Vec<&[u8]>, Vec<&[u8]>) =
        ids.iter().partition(|arg| id(arg).is_some_and(|id| stream_has(s, &id)));
    if gone.is_empty() {
        return Same;
    }
    let mut commands = vec![[&[b"XACK", key, group], &gone[..]].concat()];
    if !there.is_empty() {
        commands.push([&args[..5], &there[..], options].concat());
    } else if let Some(at) = options.iter().position(|option| is(option, "lastid"))
        && let Some(last) = options.get(at + 1)
        && id(last).is_some_and(|last| last > cg.last_id)
    {
        commands.push(vec![b"XGROUP", b"SETID", key, group, last]);
    }
    Commands(commands.iter().map(|command| Argv::new(command)).collect())
}

/// Tells whether the stream has an entry with this id that was not deleted.
fn stream_has(s: &Stream, id: &streamID) -> bool {
    let mut si = streamIteratorStart(s, Some(id), Some(id), false);
    streamIteratorGetID(&mut si, s).is_some()
}

/// XADD and XTRIM with KEEPREF, DELREF or ACKED, since Redis 8.2. The first is what 6.2 does.
fn xadd_or_xtrim(_server: &mut Server, _db: usize, argv: &Args) -> Translation {
    let mut args: Vec<&[u8]> = argv.iter().collect();
    let (mut i, mut keepref, mut trims) = (2, Vec::new(), false);
    while i < args.len() {
        let option = args[i];
        if is(option, "maxlen") || is(option, "minid") {
            trims = true;
            let approx = args.get(i + 1).is_some_and(|arg| matches!(arg, [b'=' | b'~']));
            i += if approx { 3 } else { 2 };
        } else if is(option, "limit") {
            i += 2;
        } else if is(option, "nomkstream") {
            i += 1;
        } else if is(option, "keepref") {
            keepref.push(i);
            i += 1;
        } else if is(option, "delref") || is(option, "acked") {
            let refs =
                "entries that are trimmed stay pending here, with DELREF and ACKED they do not";
            return if trims || is(args[0], "xtrim") { Impossible(refs) } else { Same };
        } else {
            // The id.
            break;
        }
    }
    if keepref.is_empty() {
        return Same;
    }
    for &i in keepref.iter().rev() {
        args.remove(i);
    }
    one(&args)
}

/// GEORADIUS, GEORADIUSBYMEMBER and GEOSEARCHSTORE with a unit in capitals, since 7.0, and
/// GEOSEARCHSTORE with BYPOLYGON, since Valkey 9.0.
fn geo(_server: &mut Server, _db: usize, argv: &Args) -> Translation {
    let mut args: Vec<&[u8]> = argv.iter().collect();
    let unit = if is(args[0], "georadius") {
        5
    } else if is(args[0], "georadiusbymember") {
        4
    } else {
        // The names of the two keys, and of a member, can be any words.
        let mut unit = args.len();
        let mut i = 3;
        while i < args.len() {
            if is(args[i], "frommember") {
                i += 2;
            } else if is(args[i], "fromlonlat") {
                i += 3;
            } else if is(args[i], "byradius") {
                unit = i + 2;
                i += 3;
            } else if is(args[i], "bybox") {
                unit = i + 3;
                i += 4;
            } else if is(args[i], "bypolygon") {
                return Impossible("it searches in a polygon");
            } else {
                i += 1;
            }
        }
        unit
    };
    let Some(word) = args.get_mut(unit).filter(|word| word.iter().any(u8::is_ascii_uppercase))
    else {
        return Same;
    };
    let lower = word.to_ascii_lowercase();
    *word = &lower;
    one(&args)
}

/// BITOP with an operation that Redis 8.2 has added.
fn bitop(_server: &mut Server, _db: usize, argv: &Args) -> Translation {
    let known = ["and", "or", "xor", "not"];
    match argv.iter().nth(1) {
        Some(op) if !known.iter().any(|word| is(op, word)) => {
            Impossible("there is no such operation on bits")
        }
        _ => Same,
    }
}

/// RESTORE of a payload of a newer version, which may hold what 6.2 can't.
fn restore(server: &mut Server, _db: usize, argv: &Args) -> Translation {
    let Some(payload) = argv.iter().nth(3) else { return Same };
    let version = payload.len().checked_sub(10).and_then(|at| payload[at..].first_chunk());
    let rdbver = version.map_or(0, |bytes| i32::from(u16::from_le_bytes(*bytes)));
    let doubtful = |type_: u8| {
        type_ == RDB_TYPE_MODULE || type_ == RDB_TYPE_MODULE_2 || type_ >= RDB_TYPE_HASH_2
    };
    if rdbver <= RDB_VERSION || !payload.first().copied().is_some_and(doubtful) {
        return Same;
    }
    let mut rdb = rioInitWithBuffer(payload.to_vec());
    let Some(type_) = rdbLoadObjectType(server, &mut rdb, rdbver) else {
        return Impossible("the payload is of a type that does not exist here");
    };
    match rdbLoadObject(server, type_, &mut rdb, &argv[1], rdbver) {
        Err(RdbLoadErr::NO_6_2_FORM) => Impossible(
            "the payload has times to live of fields, or a type that does not exist here",
        ),
        _ => Same,
    }
}

// -----------------------------------------------------------------------------
// Commands that 6.2 does not have
// -----------------------------------------------------------------------------

/// `LMPOP numkeys key.. LEFT|RIGHT [COUNT n]` and ZMPOP with MIN|MAX, since 7.0, and their blocking
/// forms, which have a timeout first. The first of the keys that exists is popped from.
fn mpop(server: &mut Server, db: usize, argv: &Args) -> Translation {
    let name = argv.get(0);
    let args: Vec<&[u8]> = argv.iter().collect();
    let first = if name[0].eq_ignore_ascii_case(&b'b') { 2 } else { 1 };
    let numkeys = args.get(first).and_then(|n| string2ll(n)).and_then(|n| usize::try_from(n).ok());
    let Some(numkeys) = numkeys.filter(|&n| n > 0 && n < args.len()) else { return MALFORMED };
    let Some(keys) = args.get(first + 1..first + 1 + numkeys) else { return MALFORMED };
    let Some([end, rest @ ..]) = args.get(first + 1 + numkeys..) else { return MALFORMED };
    let pop: &[u8] = match () {
        _ if is(end, "left") => b"LPOP",
        _ if is(end, "right") => b"RPOP",
        _ if is(end, "min") => b"ZPOPMIN",
        _ if is(end, "max") => b"ZPOPMAX",
        _ => return MALFORMED,
    };
    let count: &[u8] = match rest {
        [] => b"1",
        [word, count] if is(word, "count") => count,
        _ => return MALFORMED,
    };
    match keys.iter().find(|key| lookup(server, db, key).is_some()) {
        Some(key) => one(&[pop, key, count]),
        None => Commands(Vec::new()),
    }
}

/// `MSETEX numkeys key value.. [NX|XX] [EX|PX|EXAT|PXAT time|KEEPTTL]`, of Valkey 9.1 and Redis 8.4.
fn msetex(server: &mut Server, db: usize, argv: &Args) -> Translation {
    let args: Vec<&[u8]> = argv.iter().collect();
    let numkeys = args.get(1).and_then(|n| string2ll(n)).and_then(|n| usize::try_from(n).ok());
    let Some(numkeys) = numkeys.filter(|&n| n > 0 && n < args.len()) else { return MALFORMED };
    let Some(pairs) = args.get(2..2 + 2 * numkeys) else { return MALFORMED };
    let mut expiry: Vec<&[u8]> = Vec::new();
    let mut options = args[2 + 2 * numkeys..].iter();
    while let Some(option) = options.next() {
        let exists = |pair: &[&[u8]]| lookup(server, db, pair[0]).is_some();
        if is(option, "nx") {
            if pairs.chunks(2).any(exists) {
                return Commands(Vec::new());
            }
        } else if is(option, "xx") {
            if !pairs.chunks(2).all(exists) {
                return Commands(Vec::new());
            }
        } else if is(option, "keepttl") {
            expiry.push(option);
        } else if ["ex", "px", "exat", "pxat"].iter().any(|word| is(option, word)) {
            expiry.push(option);
            expiry.extend(options.next());
        } else {
            return MALFORMED;
        }
    }
    if expiry.is_empty() {
        return one(&[&[&b"MSET"[..]], pairs].concat());
    }
    let set = |pair: &[&[u8]]| Argv::new(&[&[&b"SET"[..]], pair, &expiry].concat());
    Commands(pairs.chunks(2).map(set).collect())
}

/// `DELIFEQ key value`, of Valkey 9.0, which it propagates as DEL.
fn delifeq(server: &mut Server, db: usize, argv: &Args) -> Translation {
    if argv.len() != 3 {
        return MALFORMED;
    }
    if is_string(lookup(server, db, &argv[1]), &argv[2]) {
        one(&[b"DEL", &argv[1]])
    } else {
        Commands(Vec::new())
    }
}

/// `DELEX key [IFEQ|IFNE value]`, of Redis 8.4, which it propagates as DEL.
fn delex(server: &mut Server, db: usize, argv: &Args) -> Translation {
    let args: Vec<&[u8]> = argv.iter().collect();
    let value = args.get(1).and_then(|key| lookup(server, db, key));
    let holds = match args[..] {
        [_, _] => true,
        [_, _, word, other] if is(word, "ifeq") => is_string(value, other),
        [_, _, word, other] if is(word, "ifne") => value.is_some() && !is_string(value, other),
        [_, _, _, _] => return Impossible("it compares digests"),
        _ => return MALFORMED,
    };
    if holds { one(&[b"DEL", args[1]]) } else { Commands(Vec::new()) }
}

/// `HSETEX key [NX|XX] [FNX|FXX] [KEEPTTL] FIELDS n field value..`, of Redis 8.0 and Valkey 9.0:
/// without a time it is HSET, since no field has one here.
fn hsetex(server: &mut Server, db: usize, argv: &Args) -> Translation {
    let args: Vec<&[u8]> = argv.iter().collect();
    let Some(fields_at) = args.iter().skip(2).position(|arg| is(arg, "fields")).map(|at| at + 2)
    else {
        return MALFORMED;
    };
    let Some(pairs) = counted(&args, fields_at, "fields", 2) else { return MALFORMED };
    let value = lookup(server, db, args[1]);
    let has = |field: &[u8]| match value {
        Some(ValueRef::Aggregate(AggregateRef::Hash(hash))) => hashTypeExists(hash, field),
        _ => false,
    };
    for option in &args[2..fields_at] {
        let holds = match () {
            _ if is(option, "keepttl") => true,
            _ if is(option, "nx") => value.is_none(),
            _ if is(option, "xx") => value.is_some(),
            _ if is(option, "fnx") => !pairs.chunks(2).any(|pair| has(pair[0])),
            _ if is(option, "fxx") => pairs.chunks(2).all(|pair| has(pair[0])),
            _ if ["ex", "px", "exat", "pxat"].iter().any(|word| is(option, word)) => {
                return FIELD_TIMES;
            }
            _ => return MALFORMED,
        };
        if !holds {
            return Commands(Vec::new());
        }
    }
    one(&[&[b"HSET", args[1]], &pairs[..]].concat())
}

/// `HGETDEL key FIELDS n field..`, of Redis 8.0 and Valkey 9.1.
fn hgetdel(_server: &mut Server, _db: usize, argv: &Args) -> Translation {
    let args: Vec<&[u8]> = argv.iter().collect();
    match counted(&args, 2, "fields", 1) {
        Some(fields) => one(&[&[b"HDEL", args[1]], &fields[..]].concat()),
        None => MALFORMED,
    }
}

/// `HGETEX key [PERSIST] FIELDS n field..`, of Redis 8.0 and Valkey 9.0: changes times alone, and
/// there are none here. With a time it can't be said.
fn hgetex(_server: &mut Server, _db: usize, argv: &Args) -> Translation {
    match argv.iter().nth(2) {
        Some(option) if is(option, "fields") || is(option, "persist") => Commands(Vec::new()),
        _ => FIELD_TIMES,
    }
}

/// HPERSIST, of Redis 7.4 and Valkey 9.0: no field has a time that could be taken from it.
fn hpersist(_server: &mut Server, _db: usize, _argv: &Args) -> Translation {
    Commands(Vec::new())
}

/// HPEXPIREAT and its relatives, of Redis 7.4 and Valkey 9.0. A time in the past comes as HDEL.
fn field_times(_server: &mut Server, _db: usize, _argv: &Args) -> Translation {
    FIELD_TIMES
}

/// How entries are deleted that are pending, since Redis 8.2.
#[derive(PartialEq)]
enum Refs {
    Keep,
    Delete,
}

/// Parses `KEEPREF|DELREF IDS n id..`, in any order, from `args`. `Err`: what it is instead.
fn refs_and_ids<'a>(args: &[&'a [u8]]) -> Result<(Refs, Vec<&'a [u8]>), Translation> {
    let refs = |word: &[u8]| match () {
        _ if is(word, "keepref") => Ok(Refs::Keep),
        _ if is(word, "delref") => Ok(Refs::Delete),
        // Versions differ in whether an entry counts that a group has not read yet.
        _ if is(word, "acked") => Err(Impossible("it depends on what all groups have read")),
        _ => Err(MALFORMED),
    };
    match args {
        [word, rest @ ..] if !is(word, "ids") => {
            let refs = refs(word)?;
            counted(rest, 0, "ids", 1).map(|ids| (refs, ids)).ok_or(MALFORMED)
        }
        [rest @ .., word] => {
            counted(rest, 0, "ids", 1).ok_or(MALFORMED).and_then(|ids| Ok((refs(word)?, ids)))
        }
        [] => Err(MALFORMED),
    }
}

/// The XACKs that take entries from the pending ones of every group of a stream.
fn xack_everywhere(s: &Stream, key: &[u8], ids: &[&[u8]]) -> Vec<Argv> {
    let mut commands = Vec::new();
    let Some(cgroups) = &s.cgroups else { return commands };
    let mut ri = raxStart();
    raxSeek(&mut ri, cgroups, "^", b"");
    while raxNext(&mut ri, cgroups) {
        commands.push(Argv::new(&[&[b"XACK", key, ri.key()], ids].concat()));
    }
    commands
}

/// `XDELEX key KEEPREF|DELREF|ACKED IDS n id..`, of Redis 8.2.
fn xdelex(server: &mut Server, db: usize, argv: &Args) -> Translation {
    let args: Vec<&[u8]> = argv.iter().collect();
    let (refs, ids) = match refs_and_ids(args.get(2..).unwrap_or_default()) {
        Ok(parsed) => parsed,
        Err(translation) => return translation,
    };
    let Some(s) = lookup_stream(server, db, args[1]) else { return Commands(Vec::new()) };
    let mut commands = match refs {
        Refs::Keep => Vec::new(),
        Refs::Delete => xack_everywhere(s, args[1], &ids),
    };
    commands.push(Argv::new(&[&[b"XDEL", args[1]], &ids[..]].concat()));
    Commands(commands)
}

/// `XACKDEL key group KEEPREF|DELREF|ACKED IDS n id..`, of Redis 8.2: of the entries, those are
/// deleted that are pending in the group.
fn xackdel(server: &mut Server, db: usize, argv: &Args) -> Translation {
    let args: Vec<&[u8]> = argv.iter().collect();
    let (refs, ids) = match refs_and_ids(args.get(3..).unwrap_or_default()) {
        Ok(parsed) => parsed,
        Err(translation) => return translation,
    };
    let (key, group) = (args[1], args[2]);
    let Some(s) = lookup_stream(server, db, key) else { return Commands(Vec::new()) };
    let Some(cg) = streamLookupCG(s, group) else { return Commands(Vec::new()) };
    let is_pending = |id: &&&[u8]| {
        let id = stream_parse_id_bytes(id, 0, true);
        id.is_some_and(|id| raxFind(&cg.pel, &streamEncodeID(&id)).is_some())
    };
    let pending: Vec<&[u8]> = ids.iter().filter(is_pending).copied().collect();
    if pending.is_empty() {
        return Commands(Vec::new());
    }
    let mut commands = match refs {
        Refs::Keep => vec![Argv::new(&[&[b"XACK", key, group], &pending[..]].concat())],
        Refs::Delete => xack_everywhere(s, key, &pending),
    };
    commands.push(Argv::new(&[&[b"XDEL", key], &pending[..]].concat()));
    Commands(commands)
}

/// FUNCTION LOAD, DELETE, FLUSH and RESTORE, since 7.0: the libraries are not kept, and what their
/// functions do comes as commands. The first one is logged.
fn function(server: &mut Server, _db: usize, argv: &Args) -> Translation {
    if !server.repl_function_seen {
        server.repl_function_seen = true;
        serverLog!(
            LL_WARNING,
            "The master sent 'FUNCTION {}': function libraries are not kept here, and are left out of the stream.",
            B(argv.iter().nth(1).unwrap_or_default())
        );
    }
    Commands(Vec::new())
}

/// CLUSTER SETSLOT, since Valkey 8.0, tells nodes who has a slot, which changes no data. The others
/// do.
fn cluster(server: &mut Server, _db: usize, argv: &Args) -> Translation {
    match argv.iter().nth(1) {
        // Nor does 6.2 propagate any of them.
        _ if server.repl_stream_version <= RDB_VERSION => Same,
        Some(what) if is(what, "setslot") => Commands(Vec::new()),
        _ => Impossible("it concerns the slots of a cluster"),
    }
}

/// SFLUSH, of Redis 8.0, empties slots of a cluster.
fn slots(_server: &mut Server, _db: usize, _argv: &Args) -> Translation {
    Impossible("it concerns the slots of a cluster")
}

#[cfg(test)]
mod tests;
