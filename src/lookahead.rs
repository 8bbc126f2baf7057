//! Ours: commands are found in the query buffer, and the memory that they will want is asked for,
//! before their turn comes.
//!
//! A lookup in a large keyspace waits for memory three or four times: for the bucket, the entry,
//! the value, a member's bucket. One command after the other, these waits add up. Looked at
//! together, the commands of a pipeline wait at the same time: all buckets are asked for, then all
//! entries, then all values. That is most of what makes a pipeline fast here.
//!
//! Read first: [`Lookahead`], which `processInputBuffer` asks for the next command; then
//! [`prefetch_ready_clients`], which does the same across clients that send one command at a time.
//!
//! # Why nothing is decided by it
//!
//! The C executes a command before it parses the next one, and so a command may change what the
//! next one is: by CLIENT KILL, a blocking command, AUTH, SELECT, a smaller `proto-max-bulk-len`.
//! Therefore
//!
//! - only plain, well-formed, whole commands within the limits are taken; a partial command, an
//!   inline command and each error are left to `processMultibulkBuffer` and `processInlineBuffer`,
//!   which have the C's shape;
//! - before each command `processInputBuffer` asks for the client's flags, and
//!   [`Lookahead::has_next`] whether the limits are the same as when the command was parsed. If
//!   not, the rest is forgotten, and simply found again;
//! - what is known of a command (a [`CommandPrefetch`]) can't become untrue; and a prefetch for a
//!   key in a db that is no longer the client's, or of a value that is gone, costs time and nothing
//!   else.

use std::mem::{swap, take};

use crate::args::{ArgRange, Args, CommandPrefetch};
use crate::connection::*;
use crate::ds::dict::dictGetHash;
use crate::ds::siphash::siphash;
use crate::keyspace::{AggregateRef, Entry, Keyspace, ValueRef};
use crate::networking::*;
use crate::server::CommandTable;
use crate::server_h::*;
use crate::sys::mem::prefetch_bytes;
use crate::types::t_hash::HashRef;
use crate::types::t_set::SetRef;
use crate::types::t_zset::ZsetRef;
use crate::util::{eq_ignore_case, short_eq};

/// The number of commands of a client that are parsed before the first of them runs: enough for
/// memory to come meanwhile, few enough for all of it to be in the cache still. A pipeline of 100
/// is four times as many.
const PARSE_AHEAD: usize = 25;
/// The number of clients that are read before the first has its turn.
pub(crate) const READ_AHEAD: usize = 16;
/// The number of arguments for which the parser keeps room between calls.
const KEPT_ARGS: usize = 4096;
/// The flags of a client at which `processInputBuffer` stops, and leaves what is in the query
/// buffer for later.
pub(crate) const CLIENT_STOPS_INPUT: u64 =
    CLIENT_BLOCKED | CLIENT_PENDING_COMMAND | CLIENT_CLOSE_AFTER_REPLY | CLIENT_CLOSE_ASAP;

/// The categories of commands on values that have members.
const HAVE_MEMBERS: u64 =
    CMD_CATEGORY_LIST | CMD_CATEGORY_SET | CMD_CATEGORY_HASH | CMD_CATEGORY_SORTEDSET;

/// The work space that reading and parsing keep between calls, so that they allocate nothing.
#[derive(Default)]
pub(crate) struct InputScratch {
    /// Empty buffers to read into.
    pub(crate) read_bufs: Vec<Vec<u8>>,
    /// The look-ahead of the last `processInputBuffer`, empty.
    lookahead: Option<Box<Lookahead>>,
    /// The command that was looked up last.
    last_command: NamedCommand,
}

/// A command that was looked up by its name. Names are given at startup, so what was found stays
/// true.
#[derive(Copy, Clone, Default)]
struct NamedCommand {
    /// The first eight bytes of the name, as a word, and the length of the name.
    word: u64,
    name_len: usize,
    cmd: Option<CommandId>,
    /// Its first argument is a key.
    has_key: bool,
    /// It is EVAL or EVALSHA, whose first key, if there is one, is the third argument.
    is_script: bool,
    /// It is about a value with members.
    has_members: bool,
}

// ANCHOR: ParsedCommand
/// A command that was found ahead of its turn.
#[derive(Copy, Clone)]
struct ParsedCommand {
    /// The position in the query buffer at which it begins.
    start: usize,
    /// The position in the query buffer at which it ends, and the next one begins.
    end: usize,
    /// The place of its first argument in the list of all.
    first: usize,
    /// The number of its arguments.
    argc: usize,
    /// The sum of the lengths of its arguments.
    argv_len_sum: usize,
    prefetch: CommandPrefetch,
}
// ANCHOR_END: ParsedCommand

/// The limits under which commands were parsed ahead. If they have changed, parsing again may give
/// another result.
#[derive(Copy, Clone, Default, PartialEq, Eq)]
struct ParseLimits {
    multibulklen: usize,
    bulklen: usize,
}

impl ParseLimits {
    /// Returns the limits that hold for a client now.
    #[inline(always)]
    fn of(server: &Server, client: &Client) -> ParseLimits {
        let mut limits = ParseLimits {
            multibulklen: MAX_MULTIBULK_LEN as usize,
            bulklen: server.proto_max_bulk_len as usize,
        };
        // A master has accepted the argument under its own limit, as `processMultibulkBuffer` says.
        if client.flags & CLIENT_MASTER != 0 {
            limits.bulklen = usize::MAX;
        }
        if !client.authenticated && !default_user_is_open(server) {
            limits.multibulklen = UNAUTHENTICATED_MULTIBULK_LEN as usize;
            limits.bulklen = limits.bulklen.min(UNAUTHENTICATED_BULK_LEN as usize);
        }
        limits
    }
}

/// The commands found ahead in the query buffer of one client, for the time of one
/// `processInputBuffer`.
#[derive(Default)]
pub(crate) struct Lookahead {
    /// The ranges of the arguments in the query buffer, those of one command behind those of
    /// another.
    args: Vec<ArgRange>,
    /// The commands of which the next ones to be executed are `batch[next..]`.
    batch: Vec<ParsedCommand>,
    next: usize,
    /// The limits under which the batch was parsed.
    limits: ParseLimits,
    /// The position at which the last search found something that is no plain, whole command. There
    /// it need not search again.
    stopped_at: usize,
    /// The prefetch of the first command in the buffer, from before the client's turn.
    known: CommandPrefetch,
}

impl Lookahead {
    /// Begins without any command found, but with the arguments of a command of which a part was
    /// parsed in an earlier call.
    pub(crate) fn begin(server: &mut Server, c: ClientId) -> Box<Lookahead> {
        let mut lookahead = server.input_scratch.lookahead.take().unwrap_or_default();
        let client = &mut server.clients[c];
        if client.multibulklen > 0 {
            swap(&mut lookahead.args, &mut client.input.qb_args);
        }
        lookahead.known = take(&mut client.input.prefetch);
        lookahead.next = 0;
        lookahead.stopped_at = usize::MAX;
        lookahead
    }

    /// Gives the work space back to the server.
    pub(crate) fn end(mut self: Box<Self>, server: &mut Server) {
        // A command of a hundred thousand arguments is rare; its work space is not kept for it to
        // come again.
        if self.args.capacity() > KEPT_ARGS {
            self.args = Vec::new();
        }
        self.args.clear();
        self.batch.clear();
        server.input_scratch.lookahead = Some(self);
    }

    /// Returns the ranges of arguments, for the C's parser, which handles what the look-ahead
    /// leaves.
    pub(crate) fn args_mut(&mut self) -> &mut Vec<ArgRange> {
        &mut self.args
    }

    /// Tells whether the next command in `qb`, the client's query buffer, is one that was found
    /// ahead. It searches when all that it had found are executed, or may not be executed as they
    /// were parsed.
    #[inline(always)]
    pub(crate) fn has_next(&mut self, server: &mut Server, c: ClientId, qb: &[u8]) -> bool {
        let client = &server.clients[c];
        let limits = ParseLimits::of(server, client);
        if self.next < self.batch.len() && self.limits == limits {
            return true;
        }
        self.batch.clear();
        let pos = client.input.qb_pos;
        // A command of which a part was parsed belongs to the C's parser until it is complete: its
        // arguments so far are in `args`, which a search would clear.
        if client.reqtype != 0 || qb[pos] != b'*' || pos == self.stopped_at {
            return false;
        }
        self.limits = limits;
        self.search(server, c, qb);
        !self.batch.is_empty()
    }

    /// Returns the next command of those that were found, after `has_next` has said that there is
    /// one.
    #[inline(always)]
    pub(crate) fn take_next<'a>(
        &'a mut self,
        server: &mut Server,
        c: ClientId,
        qb: &'a [u8],
    ) -> Args<'a> {
        let x = &self.batch[self.next];
        self.next += 1;
        let client = &mut server.clients[c];
        client.input.qb_pos = x.end;
        client.argv_len_sum = x.argv_len_sum;
        let args = &self.args[x.first..x.first + x.argc];
        Args::new(qb, args, Some(&qb[x.start..x.end])).with_prefetch(x.prefetch)
    }

    /// Finds the next commands in `qb`, up to `PARSE_AHEAD`, and asks for the memory they will
    /// want. Nothing is decided by this, and nothing changes but the work space.
    fn search(&mut self, server: &mut Server, c: ClientId, qb: &[u8]) {
        let client = &server.clients[c];
        self.parse_batch(qb, client.input.qb_pos);
        let Server { commands, db, input_scratch, .. } = server;
        let dict = &db[client.db].dict;
        let have_members = self.look_up_batch(commands, dict, &mut input_scratch.last_command, qb);
        if self.batch.len() > 1 {
            self.prefetch_batch(commands, dict, qb, have_members);
        }
    }

    /// Finds the commands from `pos` on.
    #[inline(never)]
    fn parse_batch(&mut self, qb: &[u8], mut pos: usize) {
        let Lookahead { args: ranges, batch, next, limits, stopped_at, .. } = self;
        ranges.clear();
        *next = 0;
        while batch.len() < PARSE_AHEAD {
            let first = ranges.len();
            let Some((end, argv_len_sum)) = parse_command(qb, pos, limits, ranges) else {
                *stopped_at = pos;
                break;
            };
            let argc = ranges.len() - first;
            let prefetch = CommandPrefetch::default();
            batch.push(ParsedCommand { start: pos, end, first, argc, argv_len_sum, prefetch });
            pos = end;
        }
    }

    /// Looks up the commands that were found, and hashes their keys. Returns whether one of them is
    /// about a value with members. `last` is the command looked up last, before and after.
    #[inline(never)]
    fn look_up_batch(
        &mut self,
        commands: &CommandTable,
        dict: &Keyspace,
        last: &mut NamedCommand,
        qb: &[u8],
    ) -> bool {
        let known = take(&mut self.known);
        let mut have_members = false;
        let mut last = LastLookup { command: last, key: b"", hash: 0 };
        for x in &mut self.batch {
            x.prefetch = if x.start == 0 && known.cmd.is_some() {
                known
            } else {
                let args = &self.args[x.first..x.first + x.argc];
                prefetch_command(commands, dict, qb, args, &mut last)
            };
            have_members |= last.command.has_members;
        }
        have_members
    }

    /// Prefetches the memory that the commands will want.
    ///
    /// Each stage reads the memory that the one before has prefetched, so each goes over all
    /// commands before the next stage begins. Commands about the same key follow each other, and
    /// share what was found for the first.
    #[inline(never)]
    fn prefetch_batch(
        &self,
        commands: &CommandTable,
        dict: &Keyspace,
        qb: &[u8],
        have_members: bool,
    ) {
        for x in &self.batch {
            if let Some(hash) = x.prefetch.key_hash {
                dict.prefetch_bucket(hash);
            }
        }
        let mut entries = [None; PARSE_AHEAD];
        let (mut last_hash, mut last_entry) = (None, None);
        for (entry, x) in entries.iter_mut().zip(&self.batch) {
            if x.prefetch.key_hash != last_hash {
                last_hash = x.prefetch.key_hash;
                last_entry = last_hash.and_then(|hash| dict.prefetch_entry(hash));
            }
            *entry = last_entry;
        }
        let mut last_entry = None;
        for entry in &entries[..self.batch.len()] {
            if *entry != last_entry {
                last_entry = *entry;
                if let Some(entry) = entry {
                    entry.prefetch_value();
                }
            }
        }
        if have_members {
            prefetch_members(commands, qb, &self.args, &self.batch, &entries);
        }
    }
}

/// Returns the number in a header line at `pos`, and where the next line begins. `None`: the line
/// is not complete, or not exactly as we would write it.
#[inline(always)]
fn parse_header(qb: &[u8], pos: usize, prefix: u8) -> Option<(usize, usize)> {
    let rest = qb.get(pos..)?;
    // Nearly every number here has one digit or two, the first of two being no zero. One load
    // brings the whole line.
    if let Some(line) = rest.first_chunk::<8>() {
        const CRLF: u16 = u16::from_le_bytes(*b"\r\n");
        let line = u64::from_le_bytes(*line);
        if line as u8 == prefix {
            let first = ((line >> 8) as u8).wrapping_sub(b'0');
            if (line >> 16) as u16 == CRLF && first <= 9 {
                return Some((usize::from(first), pos + 4));
            }
            let second = ((line >> 16) as u8).wrapping_sub(b'0');
            if (line >> 24) as u16 == CRLF && first.wrapping_sub(1) <= 8 && second <= 9 {
                return Some((usize::from(first) * 10 + usize::from(second), pos + 5));
            }
        }
    }
    parse_long_header(rest, prefix).map(|(n, len)| (n, pos + len))
}

/// Returns the number in the header line that `rest` begins with, and the line's length. `None` as
/// [`parse_header`] says.
#[inline(never)]
fn parse_long_header(rest: &[u8], prefix: u8) -> Option<(usize, usize)> {
    let mut digits = rest.iter();
    if *digits.next()? != prefix {
        return None;
    }
    let mut n = usize::from(digits.next()?.wrapping_sub(b'0'));
    if n > 9 {
        return None;
    }
    loop {
        let byte = *digits.next()?;
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            if byte != b'\r' || *digits.next()? != b'\n' {
                return None;
            }
            return Some((n, rest.len() - digits.len()));
        }
        // No zero in front, and nothing near an overflow.
        if n == 0 || n > 999_999_999 {
            return None;
        }
        n = n * 10 + usize::from(digit);
    }
}

/// Parses one plain and complete multibulk command at `pos`, and adds its arguments to `args`.
/// Returns where it ends and the sum of the lengths of its arguments. `None`: there is no such
/// thing here; `args` is as before.
#[inline(always)]
fn parse_command(
    qb: &[u8],
    pos: usize,
    limits: &ParseLimits,
    args: &mut Vec<ArgRange>,
) -> Option<(usize, usize)> {
    let before = args.len();
    let parsed = (|| {
        let (argc, mut pos) = parse_header(qb, pos, b'*')?;
        if argc == 0 || argc > limits.multibulklen {
            return None;
        }
        let mut argv_len_sum = 0;
        for _ in 0..argc {
            let (len, start) = parse_header(qb, pos, b'$')?;
            if len > limits.bulklen {
                return None;
            }
            let end = start + len;
            if qb.get(end..)?.first_chunk() != Some(b"\r\n") {
                return None;
            }
            pos = end + 2;
            args.push(ArgRange { start, len });
            argv_len_sum += len;
        }
        Some((pos, argv_len_sum))
    })();
    if parsed.is_none() {
        args.truncate(before);
    }
    parsed
}

/// The lookup of the previous command in a batch, since the commands of a batch are mostly of one
/// kind, and often about one key.
struct LastLookup<'a> {
    command: &'a mut NamedCommand,
    key: &'a [u8],
    hash: u64,
}

/// Looks up a command, and hashes its first key: its first argument, if that is one, or the first key
/// of a script.
#[inline(always)]
fn prefetch_command<'a>(
    commands: &CommandTable,
    dict: &Keyspace,
    qb: &'a [u8],
    args: &[ArgRange],
    last: &mut LastLookup<'a>,
) -> CommandPrefetch {
    let [name, key, ..] = args else { return CommandPrefetch::default() };
    // A name of up to eight bytes is compared as a word, case and all. The bytes behind it are in
    // the buffer, since there is another argument; if the line end of an empty one is still to
    // come, there may be too few, and nothing is known ahead.
    let Some(word) = qb[name.start..].first_chunk::<8>() else { return CommandPrefetch::default() };
    let word = u64::from_le_bytes(*word) & u64::MAX >> (64 - 8 * name.len.clamp(1, 8));
    if (word, name.len) != (last.command.word, last.command.name_len) || name.len > 8 {
        *last.command = find_command(commands, word, &qb[name.start..name.start + name.len]);
    }
    let cmd = last.command.cmd;
    let (key, key_arg) = if last.command.has_key {
        (key, 1)
    } else if last.command.is_script
        && let [_, _, numkeys, key, ..] = args
        && qb[numkeys.start..numkeys.start + numkeys.len] != *b"0"
    {
        (key, 3)
    } else {
        return CommandPrefetch { cmd, ..CommandPrefetch::default() };
    };
    let key = &qb[key.start..key.start + key.len];
    // Keys that differ mostly differ in their last bytes.
    if key.is_empty() || key.last_chunk::<8>() != last.key.last_chunk() || !short_eq(last.key, key)
    {
        (last.key, last.hash) = (key, dict.hash(key));
    }
    CommandPrefetch { cmd, key_hash: Some(last.hash), key_arg }
}

/// Looks up the command with this name, whose first bytes are in `word`.
#[inline(never)]
fn find_command(commands: &CommandTable, word: u64, name: &[u8]) -> NamedCommand {
    // A command that was renamed to QUIT can't be reached by that name: `processCommand` asks for
    // QUIT first where nothing was found ahead.
    let quit = name.len() == 4 && eq_ignore_case(name, b"quit");
    let cmd = if quit { None } else { commands.lookup(name) };
    let command = cmd.map(|cmd| &commands[cmd]);
    let has_key = command.is_some_and(|command| command.firstkey == 1);
    let is_script =
        cmd.is_some_and(|cmd| cmd == commands.evalCommand || cmd == commands.evalShaCommand);
    let has_members = has_key && command.is_some_and(|x| x.flags & HAVE_MEMBERS != 0);
    NamedCommand { word, name_len: name.len(), cmd, has_key, is_script, has_members }
}

/// Prefetches the memory that the commands will touch within lists, sets, hashes and sorted sets.
/// Large ones but for lists are tables themselves: the bucket of the member each command names,
/// then the member. For lists it is the ends, and for small values all that a search passes.
/// `entries` are those that the commands' keys may have.
fn prefetch_members(
    commands: &CommandTable,
    qb: &[u8],
    ranges: &[ArgRange],
    batch: &[ParsedCommand],
    entries: &[Option<Entry>; PARSE_AHEAD],
) {
    let mut members = [None; PARSE_AHEAD];
    // Commands of a batch are often about one value.
    let (mut last_entry, mut value) = (None, None);
    for ((member, x), entry) in members.iter_mut().zip(batch).zip(entries) {
        let args = &ranges[x.first..x.first + x.argc];
        if *entry != last_entry {
            last_entry = *entry;
            value = entry.and_then(|entry| aggregate_of(commands, entry, qb, args, x.prefetch.cmd));
            match value {
                Some(AggregateRef::Hash(HashRef::Ziplist(zl))) => prefetch_bytes(zl),
                Some(AggregateRef::Zset(ZsetRef::Ziplist(zl))) => prefetch_bytes(zl),
                Some(AggregateRef::List(ql)) => {
                    ql.prefetch();
                    *member = value.map(|value| (value, 0));
                    continue;
                }
                _ => {}
            }
        }
        *member = value.and_then(|value| prefetch_member_bucket(value, qb, args));
    }
    for (value, hash) in members.into_iter().flatten() {
        match value {
            AggregateRef::Set(SetRef::Ht(ht)) => ht.raw().prefetch_payload(hash),
            AggregateRef::Hash(HashRef::Ht(ht)) => ht.raw().prefetch_payload(hash),
            AggregateRef::Zset(ZsetRef::Skiplist(zs)) => zs.prefetch_node(hash),
            AggregateRef::List(ql) => ql.prefetch_ends(),
            _ => {}
        }
    }
}

/// Returns the value that a command is about, if it is a command on values with members and
/// `entry`, which its key may have, is the key's.
fn aggregate_of<'a>(
    commands: &CommandTable,
    entry: Entry<'a>,
    qb: &[u8],
    args: &[ArgRange],
    cmd: Option<CommandId>,
) -> Option<AggregateRef<'a>> {
    let key = args.get(1)?;
    if commands[cmd?].flags & HAVE_MEMBERS == 0
        || !short_eq(entry.key(), &qb[key.start..key.start + key.len])
    {
        return None;
    }
    match entry.value() {
        ValueRef::Aggregate(value) => Some(value),
        _ => None,
    }
}
/// Prefetches the bucket of the member that a command names, and returns the value with the
/// member's hash. `None`: the value is no table, or no member is named.
fn prefetch_member_bucket<'a>(
    value: AggregateRef<'a>,
    qb: &[u8],
    args: &[ArgRange],
) -> Option<(AggregateRef<'a>, u64)> {
    let ([_, _, first, ..], Some(last)) = (args, args.last()) else { return None };
    let arg = |r: &ArgRange| &qb[r.start..r.start + r.len];
    let (table, hash) = match value {
        AggregateRef::Set(SetRef::Ht(ht)) => (ht.raw(), dictGetHash(ht, arg(first))),
        AggregateRef::Hash(HashRef::Ht(ht)) => (ht.raw(), dictGetHash(ht, arg(first))),
        // Its score stands before the member.
        AggregateRef::Zset(ZsetRef::Skiplist(zs)) => (&zs.dict, siphash(arg(last), &zs.seed)),
        _ => return None,
    };
    table.prefetch_bucket(hash);
    Some((value, hash))
}

/// Prefetches the memory that looking up these keys (db, hash) will touch.
fn prefetch_keys(server: &Server, keys: &[(usize, u64)]) {
    for &(db, hash) in keys {
        server.db[db].dict.prefetch_bucket(hash);
    }
    let mut entries = [None; READ_AHEAD];
    for (entry, &(db, hash)) in entries.iter_mut().zip(keys) {
        *entry = server.db[db].dict.prefetch_entry(hash);
    }
    entries.iter().flatten().for_each(Entry::prefetch_value);
}

/// Reads other clients that have their turn after this one's, and prefetches the memory that the
/// first command of each will want, and that of client `c`. Their turn comes as it would have, and
/// finds the bytes in the buffer.
pub(crate) fn prefetch_ready_clients(server: &mut Server, c: ClientId) {
    let mut keys = [(0, 0); READ_AHEAD];
    let mut nkeys = 0;
    let mut nread = 0;
    let mut at = 0;
    let mut last = server.input_scratch.last_command;
    while nread < READ_AHEAD - 1 {
        let Some((fd, word)) = server.net.el.next_fired(&mut at, connSocketEventHandler) else {
            break;
        };
        let conn = ConnId::from_u64(word);
        if !read_handler_is(&server.net, conn, readQueryFromClient)
            || connGetState(&server.net, conn) != CONN_STATE_CONNECTED
        {
            continue;
        }
        // Only clients with no request in progress, so that the bytes read begin a command.
        let other = ClientId::from_u64(connGetPrivateData(&server.net, conn));
        let Some(client) = server.clients.get(other) else { continue };
        if client.flags & (CLIENT_MASTER | CLIENT_SLAVE | CLIENT_STOPS_INPUT) != 0
            || client.querybuf.capacity() != 0
            || client.input.querybuf_lent_len != 0
            || client.reqtype != 0
        {
            continue;
        }
        let mut querybuf = lend_read_buffer(server);
        match conn_read_append(&mut server.net, conn, &mut querybuf, PROTO_IOBUF_LEN) {
            Ok(n) if n > 0 => {
                server.stat_total_reads_processed += 1;
                server.net.el.mark_preread(fd);
                let prefetch = prefetch_first_command(server, other, &querybuf, &mut last);
                let client = &mut server.clients[other];
                if let Some(hash) = prefetch.key_hash {
                    keys[nkeys] = (client.db, hash);
                    nkeys += 1;
                }
                client.querybuf = querybuf;
                client.input.read_ahead = n;
                client.input.prefetch = prefetch;
                nread += 1;
            }
            // The end of the stream, or an error: the client's own turn will meet it again, and
            // handle it.
            _ => release_read_buffer(server, querybuf),
        }
    }
    if nkeys > 0 {
        let client = &server.clients[c];
        if client.reqtype == 0 && client.flags & CLIENT_MASTER == 0 {
            let prefetch = prefetch_first_command(server, c, &client.querybuf, &mut last);
            if let Some(hash) = prefetch.key_hash {
                keys[nkeys] = (client.db, hash);
                nkeys += 1;
            }
            server[c].input.prefetch = prefetch;
        }
        prefetch_keys(server, &keys[..nkeys]);
    }
    server.input_scratch.last_command = last;
}

/// Returns what can be known of the first command in `qb`, the client's query buffer, if it is a
/// plain command with a key. `last` is the command looked up last, before and after.
fn prefetch_first_command(
    server: &Server,
    c: ClientId,
    qb: &[u8],
    last: &mut NamedCommand,
) -> CommandPrefetch {
    let arg = |pos| {
        let (len, start) = parse_header(qb, pos, b'$')?;
        let range = ArgRange { start, len };
        qb.get(start..start + range.len)?;
        Some(range)
    };
    // The name and the key are enough: a command may come with megabytes of further arguments. The
    // key of a script is the fourth.
    let mut args = [ArgRange::default(); 4];
    let mut found = 0;
    if let Some((argc, mut pos)) = parse_header(qb, 0, b'*') {
        let wanted = if last.is_script { 4 } else { 2 };
        for place in args.iter_mut().take(argc.min(wanted)) {
            let Some(range) = arg(pos) else { break };
            *place = range;
            pos = range.start + range.len + 2;
            found += 1;
        }
    }
    let dict = &server.db[server[c].db].dict;
    let mut last = LastLookup { command: last, key: b"", hash: 0 };
    prefetch_command(&server.commands, dict, qb, &args[..found], &mut last)
}

#[cfg(test)]
mod tests;
