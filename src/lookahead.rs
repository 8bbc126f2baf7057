//! Ours: commands are found in the query buffer, and the memory that they will want is asked for,
//! before their turn comes.
//!
//! A lookup in a large keyspace waits for memory three or four times: for the bucket, the entry,
//! the value, a member's bucket. One command after the other, these waits add up. Looked at
//! together, the commands of a pipeline wait at the same time: all buckets are asked for, then all
//! entries, then all values. That is most of what makes a pipeline fast here.
//!
//! Read first: [`Lookahead`], which `processInputBuffer` asks for the next command; then
//! [`read_ready_clients`], which does the same across clients that send few commands at a time.
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
//!   [`Lookahead::next`] whether the limits are the same as when the command was parsed. If not,
//!   the rest is forgotten, and simply found again;
//! - what is known of a command (a [`CommandPrefetch`]) can't become untrue; and a prefetch for a
//!   key in a db that is no longer the client's, or of a value that is gone, costs time and nothing
//!   else.

use std::array::from_fn;
use std::mem::{replace, swap, take};
use std::os::fd::RawFd;

use crate::args::{ArgRange, Args, CommandPrefetch, MemberHash};
use crate::connection::*;
use crate::ds::dict::{RawDict, dict_seed};
use crate::ds::quicklist::Quicklist;
use crate::ds::siphash::{HashSeed, siphash};
use crate::ds::slab::NIL;
use crate::keyspace::{AggregateRef, Entry, KeyGuess, Keyspace, ValueRef};
use crate::networking::*;
use crate::server::CommandTable;
use crate::server_h::*;
use crate::sys::mem::prefetch_bytes;
use crate::types::t_hash::HashRef;
use crate::types::t_set::SetRef;
use crate::types::t_stream::Stream;
use crate::types::t_zset::{ZsetRef, zset};
use crate::util::{eq_ignore_case, short_eq};

/// The number of commands of a client that are parsed before the first of them runs: enough for
/// memory to come meanwhile, few enough for all of it to be in the cache still. A pipeline of 100
/// is four times as many.
const PARSE_AHEAD: usize = 25;
/// The number of commands whose buckets are asked for at once. Before a prefetch is done, it is known
/// which page of memory its line is in, and to find that out takes longer than to parse a command. A
/// core does it for several lines at a time, if it comes to their prefetches one after the other,
/// with no command to parse between them.
const ASK_AT_ONCE: usize = 8;
/// The number of commands after which no other client's are looked at together with them, and the
/// most that there may be.
const COMMANDS_AT_ONCE: usize = 16;
const MOST_AT_ONCE: usize = COMMANDS_AT_ONCE - 1 + PARSE_AHEAD;
/// The number of clients that are read before the first has its turn.
pub(crate) const READ_AHEAD: usize = 16;
/// The number of arguments for which the parser keeps room between calls.
const KEPT_ARGS: usize = 4096;
/// The flags of a client at which `processInputBuffer` stops, and leaves what is in the query
/// buffer for later.
pub(crate) const CLIENT_STOPS_INPUT: u64 =
    CLIENT_BLOCKED | CLIENT_PENDING_COMMAND | CLIENT_CLOSE_AFTER_REPLY | CLIENT_CLOSE_ASAP;

/// The categories of commands on values that have members.
const HAVE_MEMBERS: u64 = CMD_CATEGORY_LIST
    | CMD_CATEGORY_SET
    | CMD_CATEGORY_HASH
    | CMD_CATEGORY_SORTEDSET
    | CMD_CATEGORY_STREAM;

/// The work space that reading and parsing keep between calls, so that they allocate nothing.
#[derive(Default)]
pub(crate) struct InputScratch {
    /// Empty buffers to read into.
    pub(crate) read_bufs: Vec<Vec<u8>>,
    /// Empty look-aheads.
    #[allow(clippy::vec_box)] // In its box one goes to a client and comes back.
    lookaheads: Vec<Box<Lookahead>>,
    /// Clients that were read ahead of their turn, but not looked at with the ones before; and how
    /// many of them have been looked at since.
    waiting: Vec<ClientId>,
    looked_at: usize,
    /// The clients whose commands are being looked at together, their dbs, and what was found.
    ahead: Vec<(ClientId, usize, Box<Lookahead>)>,
    /// The clients that are about to be read ahead of their turn, with their descriptors and
    /// connections.
    ready: Vec<(RawFd, ConnId, ClientId)>,
    /// What one of these commands or another wants.
    ahead_wants: Wants,
    /// The command that was looked up last.
    last_command: NamedCommand,
}

impl InputScratch {
    /// Tells whether other clients were read ahead of their turn, and are not looked at yet.
    #[inline(always)]
    pub(crate) fn others_wait(&self) -> bool {
        self.looked_at < self.waiting.len()
    }

    /// Returns the next of them.
    #[inline(always)]
    fn next_waiting(&mut self) -> Option<ClientId> {
        let next = *self.waiting.get(self.looked_at)?;
        self.looked_at += 1;
        Some(next)
    }
}

/// A command that was looked up by its name. Names are given at startup, so what was found stays
/// true.
#[derive(Copy, Clone, Default)]
struct NamedCommand {
    /// What stood before the name, and how many arguments that says: `*2\r\n$3\r\n`, as a word.
    head: u64,
    argc: usize,
    /// The name and the end of its line, as a word, and which of its bits are of them; a word that no
    /// bytes are like, if these are more than eight bytes, or `head` is none. Zeros are like those
    /// of no command yet, but that has no arguments, as no command that is found.
    name: u64,
    name_mask: u64,
    /// The name, as two words, and which of their bits are of it.
    words: [u64; 2],
    masks: [u64; 2],
    /// The length of the name; `TOO_LONG` if `words` do not hold it, and it is looked up each time.
    name_len: usize,
    cmd: Option<CommandId>,
    key: FirstKey,
    wants: Wants,
}

/// What is worth asking for before a command's turn: bits.
type Wants = u8;
/// The bucket, the entry and the value of a key.
const WANTS_KEY: Wants = 1 << 0;
/// What the command will touch within a value with members.
const WANTS_MEMBERS: Wants = 1 << 1;

/// A length that no name has.
const TOO_LONG: usize = usize::MAX;

/// Where the first key of a command is.
#[derive(Copy, Clone, Default, PartialEq, Eq)]
enum FirstKey {
    /// There is none, or it is somewhere else.
    #[default]
    Unknown,
    /// The first argument is a key.
    First,
    /// The command is EVAL or EVALSHA: it is the third argument, if there are keys.
    OfScript,
}

// ANCHOR: ParsedCommand
/// A command that was found ahead of its turn.
#[derive(Copy, Clone)]
struct ParsedCommand {
    /// The position in the query buffer at which it ends, and the next one begins.
    end: usize,
    /// The place of its first argument in the list of all.
    first: usize,
    /// The number of its arguments.
    argc: usize,
    /// The sum of the lengths of its arguments.
    argv_len_sum: usize,
    known: CommandPrefetch,
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
        if client.authenticated && client.flags & CLIENT_MASTER == 0 {
            return ParseLimits::of_anyone(server.proto_max_bulk_len);
        }
        ParseLimits::of_master_or_stranger(server, client)
    }

    /// Returns the limits that hold for our master, or for a client that is not authenticated.
    #[inline(never)]
    fn of_master_or_stranger(server: &Server, client: &Client) -> ParseLimits {
        let mut limits = ParseLimits::of_anyone(server.proto_max_bulk_len);
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

    /// Returns the limits that hold for a client that is authenticated and no master.
    #[inline(always)]
    fn of_anyone(proto_max_bulk_len: i64) -> ParseLimits {
        ParseLimits {
            multibulklen: MAX_MULTIBULK_LEN as usize,
            bulklen: proto_max_bulk_len as usize,
        }
    }
}

/// The commands found ahead in the query buffer of one client, for the time of one
/// `processInputBuffer`, or, if the client was read ahead of its turn, from then on.
#[derive(Default)]
pub(crate) struct Lookahead {
    /// The commands of which the next ones to be executed are `batch[next..]`.
    batch: Vec<ParsedCommand>,
    next: usize,
    /// How many of them have had the buckets of their keys prefetched.
    asked: usize,
    /// The ranges of the arguments in the query buffer, those of one command behind those of
    /// another: the first `used` are in use.
    args: Vec<ArgRange>,
    used: usize,
    /// The limits under which the batch was parsed.
    limits: ParseLimits,
    /// The position behind that at which the last search found something that is no plain, whole
    /// command, where it need not search again; or 0.
    stopped_behind: usize,
    /// What one of the commands or another wants.
    wants: Wants,
    /// The arguments of the C's parser, which handles what the look-ahead leaves.
    parsing: Vec<ArgRange>,
}

impl Lookahead {
    /// Begins with the command that was found when the client was read, if that was ahead of its
    /// turn, and with the arguments of a command of which a part was parsed in an earlier call.
    #[inline(always)]
    pub(crate) fn begin(client: &mut Client, scratch: &mut InputScratch) -> Box<Lookahead> {
        let mut lookahead = match client.input.lookahead.take() {
            Some(lookahead) => lookahead,
            None => scratch.lookaheads.pop().unwrap_or_default(),
        };
        if client.multibulklen > 0 {
            swap(&mut lookahead.parsing, &mut client.input.qb_args);
        }
        lookahead
    }

    /// Gives the work space back to the server.
    pub(crate) fn end(mut self: Box<Self>, server: &mut Server) {
        // A command of a hundred thousand arguments is rare; its work space is not kept for it to
        // come again.
        if self.args.len() > KEPT_ARGS {
            self.args = Vec::new();
        }
        if self.parsing.capacity() > KEPT_ARGS {
            self.parsing = Vec::new();
        }
        self.parsing.clear();
        self.forget();
        self.stopped_behind = 0;
        server.input_scratch.lookaheads.push(self);
    }

    /// Forgets the commands that were found.
    #[inline(always)]
    fn forget(&mut self) {
        self.batch.clear();
        (self.next, self.used, self.asked) = (0, 0, 0);
        self.wants = 0;
    }

    /// Returns the ranges of arguments, for the C's parser, which handles what the look-ahead
    /// leaves.
    pub(crate) fn parsing_mut(&mut self) -> &mut Vec<ArgRange> {
        &mut self.parsing
    }

    /// Returns the next command in `qb`, the client's query buffer, and where it ends, if it was found
    /// ahead, and the limits are what they were then. The client is past it.
    #[inline(always)]
    pub(crate) fn next<'a>(
        &'a mut self,
        server: &mut Server,
        c: ClientId,
        qb: &'a [u8],
    ) -> Option<(Args<'a>, usize)> {
        let x = self.batch.get(self.next)?;
        if self.limits != ParseLimits::of(server, &server.clients[c]) {
            return None;
        }
        let client = &mut server.clients[c];
        let start = replace(&mut client.input.qb_pos, x.end);
        client.argv_len_sum = x.argv_len_sum;
        self.next += 1;
        let args = &self.args[x.first..][..x.argc];
        Some((Args::new(qb, args, Some((start, x.end))).with_prefetch(&x.known), x.end))
    }

    /// Finds the next commands in `qb`, the client's query buffer, up to `PARSE_AHEAD`, and asks
    /// for the memory they will want. Returns whether there are any; else the next one is left to
    /// the C's parsers. Nothing is decided by this, and nothing changes but the work space.
    #[inline(never)]
    pub(crate) fn search(&mut self, server: &mut Server, c: ClientId, qb: &[u8]) -> bool {
        self.forget();
        let client = &server.clients[c];
        let pos = client.input.qb_pos;
        // A command of which a part was parsed belongs to the C's parser until it is complete.
        if client.reqtype != 0 || qb[pos] != b'*' || pos + 1 == self.stopped_behind {
            return false;
        }
        self.limits = ParseLimits::of(server, client);
        let dict = &server.db[client.db].dict;
        let last = &mut server.input_scratch.last_command;
        self.find_commands(&server.commands, dict, last, qb, pos);
        self.prefetch_buckets(dict);
        if self.batch.len() > 1 && self.wants != 0 {
            self.prefetch_entries(dict);
            self.prefetch_values(dict);
            if self.wants & WANTS_MEMBERS != 0 {
                prefetch_members(&server.commands, std::iter::once((dict, qb, &mut *self)));
            }
        }
        !self.batch.is_empty()
    }

    /// Finds up to `PARSE_AHEAD` commands from `pos` on, and does for each what `find_command_at`
    /// says. The buckets of their keys are prefetched, but for the last few. `last` is the command
    /// looked up last, before and after.
    #[inline(always)]
    fn find_commands(
        &mut self,
        commands: &CommandTable,
        dict: &Keyspace,
        last: &mut NamedCommand,
        qb: &[u8],
        mut pos: usize,
    ) {
        let mut last = LastLookup { command: last, key: b"", hash: 0 };
        while self.batch.len() < PARSE_AHEAD && pos < qb.len() {
            let Some(end) = self.find_command_at(commands, dict, &mut last, qb, pos) else { break };
            pos = end;
            if self.batch.len() == self.asked + ASK_AT_ONCE {
                self.prefetch_some_buckets(dict);
            }
        }
    }

    /// Finds the command at `pos`, looks it up, and hashes its key. Returns where the command ends.
    /// `None`: there is no plain and whole one.
    #[inline(always)]
    fn find_command_at<'a>(
        &mut self,
        commands: &CommandTable,
        dict: &Keyspace,
        last: &mut LastLookup<'a>,
        qb: &'a [u8],
        pos: usize,
    ) -> Option<usize> {
        let first = self.used;
        let Some((args, end, argv_len_sum, is_last)) =
            parse_command(qb, pos, &self.limits, &mut self.args, first, last.command)
        else {
            self.stopped_behind = pos + 1;
            return None;
        };
        self.used = first + args.len();
        if !is_last {
            last.command.become_command(commands, qb, args);
        }
        let known = hash_key_of_command(dict, qb, args, last);
        self.wants |= last.command.wants;
        self.batch.push(ParsedCommand { end, first, argc: args.len(), argv_len_sum, known });
        Some(end)
    }

    // Each stage of prefetching reads the memory that the one before has asked for, so each goes
    // over all commands before the next stage begins. Commands about the same key follow each
    // other, and share what was found for the first.

    /// Prefetches the buckets of the commands' keys, as far as that was not done.
    #[inline(always)]
    fn prefetch_buckets(&mut self, dict: &Keyspace) {
        match &self.batch[..] {
            [x] if x.known.key_arg != 0 => dict.prefetch_bucket(x.known.key.hash()),
            [] | [_] => {}
            _ => self.prefetch_some_buckets(dict),
        }
    }

    #[inline(never)]
    fn prefetch_some_buckets(&mut self, dict: &Keyspace) {
        // The hash of a key that is not known.
        let mut last = KeyGuess::default().hash();
        for x in &self.batch[replace(&mut self.asked, self.batch.len())..] {
            let hash = x.known.key.hash();
            if hash != last {
                last = hash;
                dict.prefetch_bucket(hash);
            }
        }
    }

    /// Prefetches the entries of the commands' keys.
    #[inline(always)]
    fn prefetch_entries(&mut self, dict: &Keyspace) {
        match &mut self.batch[..] {
            [x] if x.known.key_arg != 0 => dict.prefetch_entry(&mut x.known.key),
            [] | [_] => {}
            _ => self.prefetch_some_entries(dict),
        }
    }

    #[inline(never)]
    fn prefetch_some_entries(&mut self, dict: &Keyspace) {
        let mut last = KeyGuess::default();
        for x in &mut self.batch {
            let hash = x.known.key.hash();
            if hash != last.hash() {
                last = KeyGuess::new(hash);
                if x.known.key_arg != 0 {
                    dict.prefetch_entry(&mut last);
                }
            }
            x.known.key = last;
        }
    }

    /// Prefetches the values of the commands' keys, or entries that are further down a chain.
    #[inline(always)]
    fn prefetch_values(&mut self, dict: &Keyspace) {
        match &mut self.batch[..] {
            [x] => match dict.guessed(&x.known.key) {
                Some(entry) => entry.prefetch_value(),
                None if x.known.key_arg != 0 => dict.prefetch_chained_entry(&mut x.known.key),
                None => {}
            },
            [] => {}
            _ => self.prefetch_some_values(dict),
        }
    }

    #[inline(never)]
    fn prefetch_some_values(&mut self, dict: &Keyspace) {
        let mut last = None;
        for CommandPrefetch { key, key_arg, .. } in self.batch.iter_mut().map(|x| &mut x.known) {
            match dict.guessed(key) {
                entry @ Some(_) if entry == last => {}
                Some(entry) => {
                    entry.prefetch_value();
                    last = Some(entry);
                }
                None if *key_arg != 0 => dict.prefetch_chained_entry(key),
                None => {}
            }
        }
    }
}

/// Returns the number in the header line that `rest` begins with, and what is behind the line.
/// `None`: the line is not complete, or not exactly as we would write it, or the number has more
/// than nine digits.
#[inline(always)]
fn parse_header(rest: &[u8], prefix: u8) -> Option<(u32, &[u8])> {
    let Some(line) = rest.first_chunk::<WORD>() else { return parse_long_header(rest, prefix) };
    let line = u64::from_le_bytes(*line);
    // Nearly every number here has one digit or two, the first of two being no zero. A line that is
    // as it should be differs from the line of zeros in the values of its digits, and in nothing
    // else; turned round, that of one digit is the number.
    const ZERO: u32 = u32::from_le_bytes(*b"\x000\r\n");
    let x = (line as u32 ^ ZERO ^ u32::from(prefix)).rotate_right(8);
    if x <= 9 {
        return Some((x, &rest[4..]));
    }
    // Of two digits, a byte that is no more than 9 is one to which 0x76 can be added without a carry
    // into its top bit. From the tens 1 is taken, so that they may be no more than 8.
    const ZEROS: u64 = u64::from_le_bytes(*b"\x0000\r\n\0\0\0");
    const ROOM: u64 = u64::from_le_bytes(*b"\0\x77\x76\0\0\0\0\0");
    const MUST_BE_ZERO: u64 = u64::from_le_bytes(*b"\xff\x80\x80\xff\xff\0\0\0");
    let x = line ^ ZEROS ^ u64::from(prefix);
    let y = x.wrapping_sub(1 << 8);
    if (y | y.wrapping_add(ROOM)) & MUST_BE_ZERO == 0 {
        let (tens, ones) = ((x >> 8) as u8, (x >> 16) as u8);
        return Some((u32::from(tens) * 10 + u32::from(ones), &rest[5..]));
    }
    parse_long_header(rest, prefix)
}

/// Does what [`parse_header`] does, for a number of up to nine digits.
#[inline(never)]
fn parse_long_header(rest: &[u8], prefix: u8) -> Option<(u32, &[u8])> {
    let mut digits = rest.iter();
    if *digits.next()? != prefix {
        return None;
    }
    let mut n = u32::from(digits.next()?.wrapping_sub(b'0'));
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
            return Some((n, digits.as_slice()));
        }
        // No zero in front, and nothing near an overflow.
        if n == 0 || n > 99_999_999 {
            return None;
        }
        n = n * 10 + u32::from(digit);
    }
}

/// Parses one plain and complete multibulk command at `pos`, and puts its arguments into `args`,
/// from place `first` on. Returns them, where the command ends, the sum of the lengths of its
/// arguments, and whether it is `last`, the command that was looked up before it. `None`: there is
/// no such thing here.
#[inline(always)]
fn parse_command<'a>(
    qb: &[u8],
    pos: usize,
    limits: &ParseLimits,
    args: &'a mut Vec<ArgRange>,
    first: usize,
    last: &NamedCommand,
) -> Option<(&'a [ArgRange], usize, usize, bool)> {
    let rest = qb.get(pos..)?;
    // The commands of a batch are mostly of one kind, and begin with the same bytes up to the end of
    // their name.
    let is_last = last.begins(rest);
    let (argc, mut rest) = if is_last {
        (last.argc, rest.get(WORD + last.name_len + 2..)?)
    } else {
        let (argc, rest) = parse_header(rest, b'*')?;
        (argc as usize, rest)
    };
    if argc == 0 || argc > limits.multibulklen {
        return None;
    }
    let end = first + argc;
    if args.len() < end {
        make_room(args, end, argc - usize::from(is_last), rest)?;
    }
    let args = &mut args[first..end];
    let mut argv_len_sum = 0;
    let mut places = args.iter_mut();
    if is_last {
        if last.name_len > limits.bulklen {
            return None;
        }
        *places.next()? = ArgRange { start: pos + WORD, len: last.name_len };
        argv_len_sum = last.name_len;
    }
    for place in places {
        let (len, arg) = parse_header(rest, b'$')?;
        let len = len as usize;
        if len > limits.bulklen {
            return None;
        }
        let (bytes, behind) = arg.split_at_checked(len + 2)?;
        if bytes[len..] != *b"\r\n" {
            return None;
        }
        *place = ArgRange { start: qb.len() - arg.len(), len };
        argv_len_sum += len;
        rest = behind;
    }
    Some((args, qb.len() - rest.len(), argv_len_sum, is_last))
}

/// Makes room for arguments up to place `end`, of which `unread` are still to be found. `None`: what
/// is left of the buffer can't hold as many.
#[cold]
#[inline(never)]
fn make_room(args: &mut Vec<ArgRange>, end: usize, unread: usize, rest: &[u8]) -> Option<()> {
    const SHORTEST: usize = b"$0\r\n\r\n".len();
    if rest.len() / SHORTEST < unread {
        return None;
    }
    args.resize(end.max(4 * PARSE_AHEAD), ArgRange::default());
    Some(())
}

/// The length of a word, in bytes.
const WORD: usize = size_of::<u64>();

/// Returns the bytes from `at` on as a word. If there are fewer than eight, as behind the header of a
/// lone PING, they are the last ones of `bytes`, and 0 stands for what is missing.
#[inline(always)]
fn word_at(bytes: &[u8], at: usize) -> u64 {
    let rest = &bytes[at..];
    match (rest.first_chunk::<WORD>(), bytes.last_chunk::<WORD>()) {
        (Some(word), _) => u64::from_le_bytes(*word),
        (None, Some(last)) => {
            u64::from_le_bytes(*last).unbounded_shr(8 * (WORD - rest.len()) as u32)
        }
        (None, None) => 0,
    }
}

impl NamedCommand {
    /// Tells whether `rest` begins with this command, with its number of arguments.
    #[inline(always)]
    fn begins(&self, rest: &[u8]) -> bool {
        match rest.first_chunk::<WORD>() {
            Some(head) => {
                (u64::from_le_bytes(*head) == self.head)
                    & (word_at(rest, WORD) & self.name_mask == self.name)
            }
            None => false,
        }
    }

    /// Becomes the command with these arguments.
    #[inline(never)]
    fn become_command(&mut self, commands: &CommandTable, qb: &[u8], args: &[ArgRange]) {
        // A name is compared by words, case and all.
        let name = args[0];
        let word = word_at(qb, name.start);
        let next = if name.len > WORD { word_at(qb, name.start + WORD) } else { 0 };
        if word & self.masks[0] != self.words[0]
            || next & self.masks[1] != self.words[1]
            || name.len != self.name_len
        {
            *self = find_command(commands, &qb[name.start..][..name.len]);
        }
        self.argc = args.len();
        (self.name, self.name_mask) = (1, 0);
        if let (argc @ 1..=9, name_len @ 1..=SHORT_NAME) = (self.argc, self.name_len) {
            let digit = |n: usize| b'0' + n as u8;
            let head = [b'*', digit(argc), b'\r', b'\n', b'$', digit(name_len), b'\r', b'\n'];
            self.head = u64::from_le_bytes(head);
            let line_end = u64::from(u16::from_le_bytes(*b"\r\n")) << (8 * name_len);
            self.name = self.words[0] | line_end;
            self.name_mask = u64::MAX >> (8 * (SHORT_NAME - name_len));
        }
    }
}

/// The length up to which a name and the end of its line are one word.
const SHORT_NAME: usize = WORD - b"\r\n".len();

/// The lookup of the previous command in a batch, since the commands of a batch are mostly of one
/// kind, and often about one key.
struct LastLookup<'a> {
    command: &'a mut NamedCommand,
    key: &'a [u8],
    hash: u64,
}

/// Hashes the first key of the command that was looked up last: its first argument, if that is one,
/// or the first key of a script.
#[inline(always)]
fn hash_key_of_command<'a>(
    dict: &Keyspace,
    qb: &'a [u8],
    args: &[ArgRange],
    last: &mut LastLookup<'a>,
) -> CommandPrefetch {
    let cmd = last.command.cmd;
    let unknown = CommandPrefetch { cmd, ..CommandPrefetch::default() };
    let key_arg = match last.command.key {
        FirstKey::First => 1,
        FirstKey::OfScript => match args {
            [_, _, numkeys, ..] if qb[numkeys.start..][..numkeys.len] != *b"0" => 3,
            _ => return unknown,
        },
        FirstKey::Unknown => return unknown,
    };
    let Some(key) = args.get(key_arg) else { return unknown };
    let key = &qb[key.start..][..key.len];
    // Keys that differ mostly differ in their last bytes.
    let differs = |a: &[u8], b: &[u8]| a.last_chunk::<8>() != b.last_chunk() || !short_eq(a, b);
    if key.is_empty() || key.len() != last.key.len() || differs(key, last.key) {
        (last.key, last.hash) = (key, dict.hash(key));
    }
    CommandPrefetch { cmd, key_arg, key: KeyGuess::new(last.hash), member: None }
}

/// Looks up the command with this name.
#[inline(never)]
fn find_command(commands: &CommandTable, name: &[u8]) -> NamedCommand {
    // A command that was renamed to QUIT can't be reached by that name: `processCommand` asks for
    // QUIT first where nothing was found ahead.
    let quit = name.len() == 4 && eq_ignore_case(name, b"quit");
    let cmd = if quit { None } else { commands.lookup(name) };
    let command = cmd.map(|cmd| &commands[cmd]);
    let has_key = command.is_some_and(|command| command.firstkey == 1);
    let is_script =
        cmd.is_some_and(|cmd| cmd == commands.evalCommand || cmd == commands.evalShaCommand);
    let key = match (has_key, is_script) {
        (true, _) => FirstKey::First,
        (false, true) => FirstKey::OfScript,
        (false, false) => FirstKey::Unknown,
    };
    let wants = match key {
        FirstKey::Unknown => 0,
        FirstKey::First if command.is_some_and(|x| x.flags & HAVE_MEMBERS != 0) => {
            WANTS_KEY | WANTS_MEMBERS
        }
        FirstKey::First | FirstKey::OfScript => WANTS_KEY,
    };
    let mut found = NamedCommand { name_len: TOO_LONG, cmd, key, wants, ..<_>::default() };
    if name.len() <= 2 * WORD {
        for (i, part) in name.chunks(WORD).enumerate() {
            let mut word = [0; WORD];
            word[..part.len()].copy_from_slice(part);
            found.words[i] = u64::from_le_bytes(word);
            found.masks[i] = u64::MAX >> (8 * (WORD - part.len()));
        }
        found.name_len = name.len();
    }
    found
}

/// Prefetches the memory that commands will touch within lists, sets, hashes and sorted sets. Large
/// ones but for lists are tables themselves: the bucket of the member each command names, then the
/// member. For lists it is the ends, and for small values all that a search passes.
///
/// `of_clients` has the db, the query buffer and the commands of each of the clients.
#[inline(never)]
fn prefetch_members<'a>(
    commands: &CommandTable,
    of_clients: impl Iterator<Item = (&'a Keyspace, &'a [u8], &'a mut Lookahead)>,
) {
    let mut within: [Within; MOST_AT_ONCE] = from_fn(|_| Within::Nothing);
    let mut places = within.iter_mut();
    for (dict, qb, lookahead) in of_clients {
        if lookahead.wants & WANTS_MEMBERS == 0 {
            continue;
        }
        let Lookahead { batch, args: ranges, .. } = lookahead;
        // Commands of a batch are often about one value.
        let (mut last_entry, mut members) = (None, None);
        for (x, place) in batch.iter_mut().zip(&mut places) {
            let args = &ranges[x.first..][..x.argc];
            let entry = dict.guessed(&x.known.key);
            if entry != last_entry {
                last_entry = entry;
                let value =
                    entry.and_then(|entry| aggregate_of(commands, entry, qb, args, x.known.cmd));
                members = value.and_then(members_of);
                match value {
                    Some(AggregateRef::Hash(HashRef::Ziplist(zl))) => prefetch_bytes(zl),
                    Some(AggregateRef::Zset(ZsetRef::Ziplist(zl))) => prefetch_bytes(zl),
                    // The next command about one of these has nothing to add.
                    Some(AggregateRef::List(ql)) => {
                        ql.prefetch();
                        *place = Within::Ends(ql);
                    }
                    Some(AggregateRef::Stream(s)) => {
                        s.prefetch();
                        *place = Within::Stream(s);
                    }
                    _ => {}
                }
            }
            if let Some(members) = &members {
                hash_member(members, &mut x.known, Args::new(qb, args, None), place);
            }
        }
    }
    let unused = places.len();
    let within = &mut within[..MOST_AT_ONCE - unused];
    for x in &*within {
        match x {
            Within::Member(table, hash) => table.prefetch_bucket(*hash),
            Within::Element(zs, member) => zs.dict.prefetch_bucket(member.hash),
            Within::Ends(ql) => ql.prefetch_head(),
            Within::Stream(s) => s.prefetch_node(),
            Within::Nothing => {}
        }
    }
    for x in &mut *within {
        match x {
            Within::Member(table, hash) => table.prefetch_payload(*hash),
            Within::Element(zs, member) => member.element = zs.prefetch_element(member.hash),
            Within::Ends(ql) => ql.prefetch_ends(),
            Within::Stream(s) => s.prefetch_listpack(),
            Within::Nothing => {}
        }
    }
}

/// What a command will want within a value.
// Which of them it is has a byte of its own, so that nothing has to be computed for it.
#[repr(u8)]
enum Within<'a> {
    Nothing,
    /// The member of a set, or the field of a hash, with this hash.
    Member(&'a RawDict, u64),
    /// The member of a sorted set.
    Element(&'a zset, &'a mut MemberHash),
    /// The ends of a list.
    Ends(&'a Quicklist),
    /// The last listpack of a stream.
    Stream(&'a Stream),
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

/// The members of a value that is a table.
enum Members<'a> {
    /// Of a set, or the fields of a hash, and the seed that they are hashed with.
    Table(&'a RawDict, &'a HashSeed),
    Zset(&'a zset),
}

/// Returns the members of a value; `None` if it is no table.
fn members_of(value: AggregateRef<'_>) -> Option<Members<'_>> {
    match value {
        AggregateRef::Set(SetRef::Ht(ht)) => Some(Members::Table(ht.raw(), dict_seed(ht))),
        AggregateRef::Hash(HashRef::Ht(ht)) => Some(Members::Table(ht.raw(), dict_seed(ht))),
        AggregateRef::Zset(ZsetRef::Skiplist(zs)) => Some(Members::Zset(zs)),
        _ => None,
    }
}

/// Hashes the member that a command names, and notes in `place` what the command will want: nothing
/// if no member is named.
#[inline(always)]
fn hash_member<'a>(
    members: &Members<'a>,
    known: &'a mut CommandPrefetch,
    argv: Args<'a>,
    place: &mut Within<'a>,
) {
    let (first, last) = (2, argv.len() - 1);
    if last < first {
        return;
    }
    let hash_at = |arg: usize, seed: &HashSeed| MemberHash {
        arg,
        seed: *seed,
        hash: siphash(argv.get(arg), seed),
        element: NIL,
    };
    match *members {
        Members::Table(table, seed) => {
            let member = known.member.insert(hash_at(first, seed));
            *place = Within::Member(table, member.hash);
        }
        // Its score stands before the member.
        Members::Zset(zs) => {
            let member = known.member.insert(hash_at(last, &zs.seed));
            *place = Within::Element(zs, member);
        }
    }
}

/// Reads other clients that have their turn after this one's, finds the commands of client `c` and of
/// those that come next, until there are `COMMANDS_AT_ONCE`, and prefetches the memory that they will
/// want. Their turn comes as it would have, and finds the bytes in the buffer.
#[inline(never)]
pub(crate) fn read_ready_clients(server: &mut Server, c: ClientId) {
    // Those of the last time have had their turn.
    server.input_scratch.waiting.clear();
    server.input_scratch.looked_at = 0;
    // What is about to be looked at of each is asked for together, since the kernel has had the
    // caches for itself.
    let mut ready = take(&mut server.input_scratch.ready);
    let mut at = 0;
    while ready.len() < READ_AHEAD - 1
        && let Some((fd, word)) = server.net.el.next_fired(&mut at, connSocketEventHandler)
    {
        let conn = ConnId::from_u64(word);
        if let Some(other) = connected_reader(&server.net, conn, readQueryFromClient) {
            let other = ClientId::from_u64(other);
            if let Some(client) = server.clients.get(other) {
                client.prefetch();
                ready.push((fd, conn, other));
            }
        }
    }

    let (mut nread, mut found) = (0, 0);
    for (fd, conn, other) in ready.drain(..) {
        let client = &server.clients[other];
        if client.flags & CLIENT_SLAVE != 0
            || client.querybuf.capacity() != 0
            || !begins_with_a_command(client)
        {
            continue;
        }
        let mut querybuf = lend_read_buffer(server);
        match conn_read_ahead(&mut server.net, conn, fd, &mut querybuf, PROTO_IOBUF_LEN) {
            Ok(n) if n > 0 => {
                server.stat_total_reads_processed += 1;
                let client = &mut server.clients[other];
                client.querybuf = querybuf;
                client.input.read_ahead = n;
                if nread == 0 && begins_with_a_command(&server.clients[c]) {
                    found = find_commands_of(server, c);
                }
                nread += 1;
                if found < COMMANDS_AT_ONCE {
                    found += find_commands_of(server, other);
                } else {
                    server.input_scratch.waiting.push(other);
                }
            }
            // The end of the stream, or an error: the client's own turn will meet it again, and
            // handle it.
            _ => release_read_buffer(server, querybuf),
        }
    }
    server.input_scratch.ready = ready;
    if nread > 0 {
        prefetch_of_clients(server);
    }
}

/// Tells whether what a client sends now begins a command, which may be found ahead of its turn.
#[inline(always)]
fn begins_with_a_command(client: &Client) -> bool {
    client.flags & (CLIENT_MASTER | CLIENT_STOPS_INPUT) == 0
        && client.reqtype == 0
        && client.input.querybuf_lent_len == 0
}

/// Does what [`read_ready_clients`] does, for client `c`, whose turn it is, and those that were read
/// ahead, but were too many to be looked at with the ones before.
#[inline(never)]
pub(crate) fn look_ahead_of_clients(server: &mut Server, c: ClientId) {
    let mut found = 0;
    if begins_with_a_command(&server.clients[c]) {
        found = find_commands_of(server, c);
    }
    while found < COMMANDS_AT_ONCE
        && let Some(other) = server.input_scratch.next_waiting()
    {
        // Meanwhile it may be gone, or have had its turn.
        let is_waiting = |client: &Client| {
            client.input.read_ahead != 0
                && client.input.lookahead.is_none()
                && begins_with_a_command(client)
        };
        if server.clients.get(other).is_some_and(is_waiting) {
            found += find_commands_of(server, other);
        }
    }
    prefetch_of_clients(server);
}

/// Finds the first commands in the client's query buffer, notes them among those that are looked at
/// together, and returns how many they are.
#[inline(never)]
fn find_commands_of(server: &mut Server, c: ClientId) -> usize {
    let client = &server.clients[c];
    let (db, limits) = (client.db, ParseLimits::of(server, client));
    let scratch = &mut server.input_scratch;
    let mut lookahead = scratch.lookaheads.pop().unwrap_or_default();
    lookahead.limits = limits;
    let (dict, last) = (&server.db[db].dict, &mut scratch.last_command);
    lookahead.find_commands(&server.commands, dict, last, &client.querybuf, client.input.qb_pos);
    let found = lookahead.batch.len();
    scratch.ahead_wants |= lookahead.wants;
    scratch.ahead.push((c, db, lookahead));
    found
}

/// Prefetches the memory that the commands will want that `find_commands_of` has noted, and gives
/// them to their clients.
#[inline(never)]
fn prefetch_of_clients(server: &mut Server) {
    let mut ahead = take(&mut server.input_scratch.ahead);
    let wants = take(&mut server.input_scratch.ahead_wants);
    if wants != 0 {
        for (_, db, lookahead) in &mut ahead {
            lookahead.prefetch_buckets(&server.db[*db].dict);
        }
        for (_, db, lookahead) in &mut ahead {
            lookahead.prefetch_entries(&server.db[*db].dict);
        }
    }
    if wants & WANTS_MEMBERS != 0 {
        for (_, db, lookahead) in &mut ahead {
            lookahead.prefetch_values(&server.db[*db].dict);
        }
        let of_clients = ahead.iter_mut().map(|(client, db, lookahead)| {
            let qb = server.clients[*client].querybuf.as_slice();
            (&server.db[*db].dict, qb, &mut **lookahead)
        });
        prefetch_members(&server.commands, of_clients);
    }
    for (client, db, mut lookahead) in ahead.drain(..) {
        if wants == WANTS_KEY {
            lookahead.prefetch_values(&server.db[db].dict);
        }
        server.clients[client].input.lookahead = Some(lookahead);
    }
    server.input_scratch.ahead = ahead;
}

#[cfg(test)]
mod tests;
