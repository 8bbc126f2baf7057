//! `acl.c`: users, what each of them may run on which keys and channels, and the log of what was
//! denied.
//!
//! A user is its passwords, a bit for each command, the subcommands of commands whose bit is not
//! set, and patterns of keys and of channels. Rules (`ACLSetUser`) make it, one after another, and
//! are made of it again (`ACLDescribeUser`): that is how users are shown and kept in files.
//!
//! Read first: `ACLSetUser` for the rules; `ACLCheckAllPerm`, which is asked before each command;
//! `authCommand`. Then `ACLLoadFromFile`, and `addACLLogEntry` for what becomes of a denied command.
//!
//! Differs: users are known by number (`UserId`), so that nothing points to one that is gone; a
//! pattern of keys begins with a word by which most keys are told apart without it (`KeyPattern`);
//! see docs/differences.md, "Access control".

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::{Index, IndexMut};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;

use sha2::{Digest, Sha256};

use crate::args::Args;
use crate::db::{getKeysFromCommand, keys_in_command_table};
use crate::ds::adlist::{listNext, listRewind};
use crate::ds::glob::{Glob, stringmatchlen};
use crate::log::*;
use crate::networking::*;
use crate::object::getLongFromObjectOrReply;
use crate::sds::{sdssplitlen, sdstrim};
use crate::server::CommandTable;
use crate::server_h::*;
use crate::sys::clock::mstime;
use crate::sys::errno::error_text;
use crate::sys::random::getRandomHexChars;
use crate::util::{B, c_str, eq_ignore_case, hex};
use crate::{addReplyErrorFormat, addReplyStatusFormat, bformat, sdscatprintf, serverLog};

// =============================================================================
// The table of users
// =============================================================================

/// The users: by number for those who refer to one, by name for those who look for one.
///
/// C: a tree of pointers to users (`Users`). A number can be checked where a pointer would dangle.
#[derive(Default)]
pub struct Users {
    slots: Vec<Option<User>>,
    by_name: BTreeMap<Vec<u8>, UserId>,
}

impl Users {
    /// Adds a user, and returns its number; `None` if the name is taken.
    pub fn insert(&mut self, u: User) -> Option<UserId> {
        if self.by_name.contains_key(&u.name) {
            return None;
        }
        let free = self.slots.iter().position(Option::is_none);
        let id = free.unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.by_name.insert(u.name.clone(), id);
        self.slots[id] = Some(u);
        Some(id)
    }

    /// Returns the number of the user of this name.
    pub fn find(&self, name: &[u8]) -> Option<UserId> {
        self.by_name.get(name).copied()
    }

    /// Returns the user of this number, `None` if there is none.
    #[inline]
    pub fn get(&self, id: UserId) -> Option<&User> {
        self.slots.get(id)?.as_ref()
    }

    /// Removes a user. Nobody may refer to it any more, since its number will be another's.
    fn remove(&mut self, id: UserId) {
        if let Some(u) = self.slots[id].take() {
            self.by_name.remove(&u.name);
        }
    }

    /// Iterates over the users in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &User> {
        self.by_name.values().map(|&id| &self[id])
    }

    /// Returns how many users there are.
    fn len(&self) -> usize {
        self.by_name.len()
    }
}

impl Index<UserId> for Users {
    type Output = User;
    #[inline]
    #[track_caller]
    fn index(&self, id: UserId) -> &User {
        self.get(id).expect("a user who exists")
    }
}

impl IndexMut<UserId> for Users {
    #[track_caller]
    fn index_mut(&mut self, id: UserId) -> &mut User {
        self.slots[id].as_mut().expect("a user who exists")
    }
}

/// A pattern of keys that a user may touch, with what tells most keys apart from those it matches.
///
/// A user has a handful of patterns, each key is looked at with all of them, and most of them have
/// a beginning without special characters. So that is compared first, up to eight bytes of it as
/// one word; what is behind it is looked at only if that fits.
#[derive(Clone)]
struct KeyPattern {
    /// The pattern as it was given.
    text: Vec<u8>,
    /// The bytes before its first special character, eight at most.
    head: u64,
    /// Which bytes of a key are compared with `head`.
    mask: u64,
    rest: Rest,
}

/// What is left of a pattern when its first bytes were compared.
#[derive(Clone)]
enum Rest {
    /// Nothing: one star follows the bytes that were compared.
    Anything,
    /// A star at the end, behind so many bytes without special characters.
    Prefix(usize),
    /// No special characters at all: the pattern matches itself.
    Literal,
    /// Anything else, taken apart.
    Glob(Glob),
    /// A pattern that can't be taken apart.
    Pattern,
}

/// Returns the first eight bytes of a key as a word, with zeros behind a shorter one.
#[inline]
fn key_head(key: &[u8]) -> u64 {
    match key.first_chunk::<8>() {
        Some(first) => u64::from_le_bytes(*first),
        None => key.iter().rev().fold(0, |head, &b| head << 8 | u64::from(b)),
    }
}

impl KeyPattern {
    /// Makes a pattern of its text.
    fn new(text: &[u8]) -> KeyPattern {
        // A NUL in it would look like the end of a shorter key.
        let special = |b: &u8| matches!(b, b'*' | b'?' | b'[' | b'\\' | 0);
        let plain = text.iter().position(special).unwrap_or(text.len());
        let compared = plain.min(8);
        let rest = match &text[plain..] {
            [] => Rest::Literal,
            // A star alone matches no empty key.
            [b'*'] if plain > 0 && plain == compared => Rest::Anything,
            [b'*'] if plain > 0 => Rest::Prefix(plain),
            _ => Glob::new(text).map_or(Rest::Pattern, Rest::Glob),
        };
        KeyPattern {
            text: text.to_vec(),
            head: key_head(&text[..compared]),
            mask: key_head(&[0xff; 8][..compared]),
            rest,
        }
    }

    /// Tells whether comparing bytes is enough for this pattern.
    #[inline(always)]
    fn is_plain(&self) -> bool {
        !matches!(self.rest, Rest::Glob(_) | Rest::Pattern)
    }

    /// Tells whether a key matches the pattern as `stringmatchlen` would say; `head` is its
    /// `key_head`.
    #[inline(always)]
    fn matches(&self, key: &[u8], head: u64) -> bool {
        head & self.mask == self.head
            && match &self.rest {
                Rest::Anything => true,
                Rest::Prefix(plain) => key.starts_with(&self.text[..*plain]),
                Rest::Literal => key == self.text,
                Rest::Glob(glob) => glob.matches(key),
                Rest::Pattern => stringmatchlen(&self.text, key, false),
            }
    }
}

/// The patterns of keys that a user may touch, in two orders: that in which they were given, which
/// is shown, and that in which a key is compared with them. Which one matches does not matter, so
/// those come first that are quick to compare.
#[derive(Clone, Default)]
pub struct KeyPatterns {
    /// The patterns for which comparing bytes is enough, then the others.
    patterns: Vec<KeyPattern>,
    /// The place of each in `patterns`, in the order in which they were given.
    given: Vec<usize>,
}

impl KeyPatterns {
    /// Adds a pattern, unless it was given before.
    fn add(&mut self, text: &[u8]) {
        if self.iter().any(|given| given == text) {
            return;
        }
        let pattern = KeyPattern::new(text);
        let place = match pattern.is_plain() {
            true => self.patterns.partition_point(KeyPattern::is_plain),
            false => self.patterns.len(),
        };
        self.given.iter_mut().filter(|at| **at >= place).for_each(|at| *at += 1);
        self.given.push(place);
        self.patterns.insert(place, pattern);
    }

    /// Removes all of them.
    fn clear(&mut self) {
        *self = KeyPatterns::default();
    }

    /// Iterates over the patterns in the order in which they were given, and as they were.
    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.given.iter().map(|&at| &self.patterns[at].text[..])
    }

    /// Tells whether one of the patterns matches a key.
    #[inline]
    fn any_matches(&self, key: &[u8]) -> bool {
        let head = key_head(key);
        self.patterns.iter().any(|pattern| pattern.matches(key, head))
    }
}

/// The categories of commands by name, in the order in which COMMAND INFO lists them.
const ACLCommandCategories: [(&str, u64); 21] = [
    ("keyspace", CMD_CATEGORY_KEYSPACE),
    ("read", CMD_CATEGORY_READ),
    ("write", CMD_CATEGORY_WRITE),
    ("set", CMD_CATEGORY_SET),
    ("sortedset", CMD_CATEGORY_SORTEDSET),
    ("list", CMD_CATEGORY_LIST),
    ("hash", CMD_CATEGORY_HASH),
    ("string", CMD_CATEGORY_STRING),
    ("bitmap", CMD_CATEGORY_BITMAP),
    ("hyperloglog", CMD_CATEGORY_HYPERLOGLOG),
    ("geo", CMD_CATEGORY_GEO),
    ("stream", CMD_CATEGORY_STREAM),
    ("pubsub", CMD_CATEGORY_PUBSUB),
    ("admin", CMD_CATEGORY_ADMIN),
    ("fast", CMD_CATEGORY_FAST),
    ("slow", CMD_CATEGORY_SLOW),
    ("blocking", CMD_CATEGORY_BLOCKING),
    ("dangerous", CMD_CATEGORY_DANGEROUS),
    ("connection", CMD_CATEGORY_CONNECTION),
    ("transaction", CMD_CATEGORY_TRANSACTION),
    ("scripting", CMD_CATEGORY_SCRIPTING),
];

/// The flags of a user by name, in the order in which they are described.
const ACLUserFlags: [(&str, u64); 8] = [
    ("on", USER_FLAG_ENABLED),
    ("off", USER_FLAG_DISABLED),
    ("allkeys", USER_FLAG_ALLKEYS),
    ("allchannels", USER_FLAG_ALLCHANNELS),
    ("allcommands", USER_FLAG_ALLCOMMANDS),
    ("nopass", USER_FLAG_NOPASS),
    ("skip-sanitize-payload", USER_FLAG_SANITIZE_PAYLOAD_SKIP),
    ("sanitize-payload", USER_FLAG_SANITIZE_PAYLOAD),
];

/// The length of a hashed password in hex.
const HASH_PASSWORD_LEN: usize = 64;

// =============================================================================
// Helper functions
// =============================================================================

/// Tells whether two strings are the same, in a time that depends on neither: all
/// bytes are compared, of buffers of a fixed size. Strings that don't fit into them are not the
/// same as anything.
fn time_independent_strcmp(a: &[u8], b: &[u8]) -> bool {
    let mut bufa = [0u8; CONFIG_AUTHPASS_MAX_LEN];
    let mut bufb = [0u8; CONFIG_AUTHPASS_MAX_LEN];
    if a.len() > bufa.len() || b.len() > bufb.len() {
        return false;
    }
    bufa[..a.len()].copy_from_slice(a);
    bufb[..b.len()].copy_from_slice(b);

    // `black_box` keeps the compiler from stopping at the first difference.
    let mut diff = a.len() ^ b.len();
    for (a, b) in bufa.iter().zip(&bufb) {
        diff = std::hint::black_box(diff | usize::from(a ^ b));
    }
    diff == 0
}

/// Returns the form in which a password is kept: its SHA-256 in 64 hex digits.
pub fn ACLHashPassword(cleartext: &[u8]) -> Vec<u8> {
    hex(&Sha256::digest(cleartext))
}

/// Tells whether this is a hashed password: 64 hex digits in lower case.
fn ACLCheckPasswordHash(hash: &[u8]) -> CResult {
    let is_hex = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
    if hash.len() == HASH_PASSWORD_LEN && hash.iter().all(is_hex) { C_OK } else { C_ERR }
}

// =============================================================================
// Low level ACL API
// =============================================================================

/// Tells whether there is white space or a NUL in a name or a pattern, which no file could hold.
fn ACLStringHasSpaces(s: &[u8]) -> bool {
    s.iter().any(|b| b.is_ascii_whitespace() || *b == 0x0b || *b == 0)
}

/// Returns the flag of a category (`CMD_CATEGORY_*`), found by its name without `@`; 0 if there is
/// none of this name.
pub fn ACLGetCommandCategoryFlagByName(name: &[u8]) -> u64 {
    ACLCommandCategories
        .iter()
        .find(|(category, _)| eq_ignore_case(c_str(name), category.as_bytes()))
        .map_or(0, |&(_, flag)| flag)
}

/// Returns a user without any permission, but for the channels that `acl-pubsub-default` gives.
fn new_user(name: &[u8], acl_pubsub_default: i32) -> User {
    let flags = USER_FLAG_DISABLED | acl_pubsub_default as u64;
    User { name: name.to_vec(), flags, ..User::default() }
}

/// Adds a user without any permission, and returns its number; `None` if the name is taken.
fn ACLCreateUser(users: &mut Users, name: &[u8], acl_pubsub_default: i32) -> Option<UserId> {
    users.insert(new_user(name, acl_pubsub_default))
}

/// Returns a user who is in no table, to try rules with.
fn ACLCreateUnlinkedUser(acl_pubsub_default: i32) -> User {
    new_user(b"", acl_pubsub_default)
}

/// Removes a user, and ends the connections of those who are logged in as it.
fn ACLFreeUserAndKillClients(server: &mut Server, u: UserId) {
    let mut li = listRewind(&server.clients.list);
    while let Some(c) = listNext(&server.clients.list, &mut li) {
        if server[c].user != Some(u) {
            continue;
        }
        // The client will be closed a little later. What runs for it until then, runs for one that
        // is not logged in.
        server[c].user = Some(DefaultUser);
        server[c].authenticated = false;
        // The one that asked for it gets its reply first.
        if server.current_client == Some(c) {
            server[c].flags |= CLIENT_CLOSE_AFTER_COMMAND;
        } else {
            freeClientAsync(server, c);
        }
    }
    server.users.remove(u);
}

/// Gives a user all that another one has, but for its name.
fn ACLCopyUser(dst: &mut User, src: &User) {
    *dst = User { name: std::mem::take(&mut dst.name), ..src.clone() };
}

/// Removes all users but `default`, as `ACLFreeUserAndKillClients` does.
///
/// C: frees a table that nobody uses any more. Here it is the one in use that is emptied, since the
/// numbers of its users are what clients refer to.
fn ACLFreeUsersSet(server: &mut Server) {
    let all: Vec<UserId> = server.users.by_name.values().copied().collect();
    for u in all.into_iter().filter(|&u| u != DefaultUser) {
        ACLFreeUserAndKillClients(server, u);
    }
}

/// Returns the word of a user's bitmap and the bit in it that stand for a command; `None` for one
/// that is beyond the bitmap.
#[inline]
fn ACLGetCommandBitCoordinates(id: CommandId) -> Option<(usize, u64)> {
    let id = usize::from(id);
    (id < USER_COMMAND_BITS_COUNT).then(|| (id / 64, 1 << (id % 64)))
}

/// Tells whether the bit of a command is set. The flag `USER_FLAG_ALLCOMMANDS` is not looked at. A
/// command beyond the bitmap is not allowed.
#[inline]
fn ACLGetUserCommandBit(u: &User, id: CommandId) -> bool {
    ACLGetCommandBitCoordinates(id).is_some_and(|(word, bit)| u.allowed_commands[word] & bit != 0)
}

/// Tells whether the user was given all commands at once, with those that there may be one day. No
/// command has the last bit, so that it can say so.
fn ACLUserCanExecuteFutureCommands(u: &User) -> bool {
    ACLGetUserCommandBit(u, USER_COMMAND_BITS_COUNT as CommandId - 1)
}

/// Sets or clears the bit of a command. A user with a bit that is not set is no longer one who may
/// run all commands unseen (`USER_FLAG_ALLCOMMANDS`).
fn ACLSetUserCommandBit(u: &mut User, id: CommandId, value: bool) {
    let Some((word, bit)) = ACLGetCommandBitCoordinates(id) else { return };
    if value {
        u.allowed_commands[word] |= bit;
    } else {
        u.allowed_commands[word] &= !bit;
        u.flags &= !USER_FLAG_ALLCOMMANDS;
    }
}

/// Sets or clears the bits of all commands of a category. `C_ERR`: there is no such category.
fn ACLSetUserCommandBitsForCategory(
    u: &mut User,
    category: &[u8],
    value: bool,
    commands: &CommandTable,
) -> CResult {
    let cflag = ACLGetCommandCategoryFlagByName(category);
    if cflag == 0 {
        return C_ERR;
    }
    for cmd in commands.iter_original().filter(|cmd| cmd.flags & cflag != 0) {
        ACLSetUserCommandBit(u, cmd.id, value);
        ACLResetSubcommandsForCommand(u, cmd.id);
    }
    C_OK
}

/// Counts the commands of a category whose bit the user has, and those whose bit it has not.
fn ACLCountCategoryBitsForUser(u: &User, cflag: u64, commands: &CommandTable) -> (usize, usize) {
    let (mut on, mut off) = (0, 0);
    for cmd in commands.iter_original().filter(|cmd| cmd.flags & cflag != 0) {
        if ACLGetUserCommandBit(u, cmd.id) {
            on += 1;
        } else {
            off += 1;
        }
    }
    (on, off)
}

/// Returns the rules that make the commands of a user, from `+@all` or `-@all` on.
///
/// The rules are found one after another, and applied to a user of their own, so that it is known
/// what is still missing.
fn ACLDescribeUserCommandRules(u: &User, commands: &CommandTable) -> Vec<u8> {
    let mut rules = Vec::new();
    let mut fakeuser = User::default();
    let apply = |u: &mut User, rule: &[u8]| {
        ACLSetUser(u, rule, commands, 0).expect("a rule of the server's own");
    };

    // Does it begin with all commands, of which some are taken away, or with none? To the commands
    // that there are both can lead, but only one of them gives those that there may be one day.
    let additive = !ACLUserCanExecuteFutureCommands(u);
    let start: &[u8] = if additive { b"-@all" } else { b"+@all" };
    apply(&mut fakeuser, start);
    rules.extend_from_slice(start);

    // Look for the categories that say most of it. The best one is that with the fewest commands
    // which the user's differ in, and of these the one with most that they share. A category that
    // was chosen is taken out of the copy which the others are compared with.
    let mut tempuser =
        User { allowed_commands: u.allowed_commands, flags: u.flags, ..User::default() };
    let mut applied = [false; ACLCommandCategories.len()];
    loop {
        let mut best = None;
        let (mut mindiff, mut maxsame) = (usize::MAX, 0);
        for (j, (_, cflag)) in ACLCommandCategories.iter().enumerate() {
            if applied[j] {
                continue;
            }
            let (on, off) = ACLCountCategoryBitsForUser(&tempuser, *cflag, commands);
            let (diff, same) = if additive { (off, on) } else { (on, off) };
            if same > diff && (diff < mindiff || (diff == mindiff && same > maxsame)) {
                best = Some(j);
                (mindiff, maxsame) = (diff, same);
            }
        }
        let Some(best) = best else { break };
        let (op, invop) = if additive { ('+', '-') } else { ('-', '+') };
        let rule = bformat!("{}@{}", op, ACLCommandCategories[best].0);
        apply(&mut fakeuser, &rule);
        apply(&mut tempuser, &bformat!("{}@{}", invop, ACLCommandCategories[best].0));
        rules.push(b' ');
        rules.extend_from_slice(&rule);
        applied[best] = true;
    }

    // What is left are single commands, and the subcommands of those that are not allowed as a
    // whole.
    for cmd in commands.iter_original() {
        let userbit = ACLGetUserCommandBit(u, cmd.id);
        if userbit != ACLGetUserCommandBit(&fakeuser, cmd.id) {
            sdscatprintf!(rules, " {}{}", if userbit { '+' } else { '-' }, cmd.name);
            ACLSetUserCommandBit(&mut fakeuser, cmd.id, userbit);
        }
        if !userbit && let Some(subs) = u.allowed_subcommands.get(&cmd.id) {
            for sub in subs {
                sdscatprintf!(rules, " +{}|{}", cmd.name, B(sub));
            }
        }
    }

    // Rules that give more than the user has must not get into a file. So better no server.
    if fakeuser.allowed_commands != u.allowed_commands {
        serverLog!(
            LL_WARNING,
            "CRITICAL ERROR: User ACLs don't match final bitmap: '{}'",
            B(&rules)
        );
        panic!("No bitmap match in ACLDescribeUserCommandRules()");
    }
    rules
}

/// Returns a user as the rules that make it, in the form of config files: flags, passwords, keys,
/// channels, commands.
pub fn ACLDescribeUser(u: &User, commands: &CommandTable) -> Vec<u8> {
    const AS_PATTERNS: u64 = USER_FLAG_ALLKEYS | USER_FLAG_ALLCHANNELS | USER_FLAG_ALLCOMMANDS;
    let mut res = Vec::new();
    for (name, flag) in ACLUserFlags {
        if u.flags & flag & !AS_PATTERNS != 0 {
            sdscatprintf!(res, "{} ", name);
        }
    }
    for password in &u.passwords {
        sdscatprintf!(res, "#{} ", B(password));
    }
    if u.flags & USER_FLAG_ALLKEYS != 0 {
        res.extend_from_slice(b"~* ");
    }
    for pattern in u.patterns.iter() {
        sdscatprintf!(res, "~{} ", B(pattern));
    }
    if u.flags & USER_FLAG_ALLCHANNELS != 0 {
        res.extend_from_slice(b"&* ");
    } else {
        res.extend_from_slice(b"resetchannels ");
    }
    for channel in &u.channels {
        sdscatprintf!(res, "&{} ", B(channel));
    }
    res.extend_from_slice(&ACLDescribeUserCommandRules(u, commands));
    res
}

/// Looks a command up by its original name: rules mean the same whatever a command is renamed to.
fn ACLLookupCommand(commands: &CommandTable, name: &[u8]) -> Option<CommandId> {
    commands.lookup_original_name(name)
}

/// Takes the subcommands of a command away.
fn ACLResetSubcommandsForCommand(u: &mut User, id: CommandId) {
    u.allowed_subcommands.remove(&id);
}

/// Takes all subcommands away.
fn ACLResetSubcommands(u: &mut User) {
    u.allowed_subcommands.clear();
}

/// Adds a subcommand to those that the user may run of a command, unless it is there.
fn ACLAddAllowedSubcommand(u: &mut User, id: CommandId, sub: &[u8]) {
    let subs = u.allowed_subcommands.entry(id).or_default();
    if !subs.iter().any(|s| eq_ignore_case(s, sub)) {
        subs.push(sub.to_vec());
    }
}

/// Applies a rule to a user:
///
/// | rule | effect |
/// |---|---|
/// | `on`, `off` | the user may log in, or not; who is logged in stays so |
/// | `+<command>`, `-<command>` | allows a command, or takes it away |
/// | `+<command>\|<subcommand>` | allows a subcommand (first argument) of a command that is not allowed as a whole |
/// | `+@<category>`, `-@<category>` | the same for all commands of a category |
/// | `+@all`, `allcommands`; `-@all`, `nocommands` | all commands, with those that there may be one day; none |
/// | `~<pattern>` | allows the keys that match it |
/// | `~*`, `allkeys`; `resetkeys` | all keys; none |
/// | `&<pattern>`, `&*`, `allchannels`, `resetchannels` | the same for channels |
/// | `><password>`, `<<password>` | adds a password, or removes it |
/// | `#<hash>`, `!<hash>` | the same by its SHA-256 in hex |
/// | `nopass` | no password is needed, and there are none |
/// | `resetpass` | there are none, but one is needed |
/// | `sanitize-payload`, `skip-sanitize-payload` | whether what the user restores is checked |
/// | `reset` | what a new user has |
///
/// Errors are numbers of errno(3), for `ACLSetUserStringError`: ENOENT, there is no such command or
/// category; EEXIST, a pattern after `~*`; EISDIR, a channel after `&*`; ENODEV, a password to
/// remove that the user does not have; EBADMSG, no hash of a password; EINVAL, no rule, or white
/// space in a pattern. The user is what it was.
fn ACLSetUser(
    u: &mut User,
    op: &[u8],
    commands: &CommandTable,
    acl_pubsub_default: i32,
) -> Result<(), i32> {
    // Words and names end at a NUL. Passwords and patterns do not.
    let word = c_str(op);
    let is = |rule: &str| eq_ignore_case(word, rule.as_bytes());
    let hash_of = |op: &[u8]| match op[0] {
        b'>' | b'<' => Ok(ACLHashPassword(&op[1..])),
        _ if ACLCheckPasswordHash(&op[1..]).is_ok() => Ok(op[1..].to_vec()),
        _ => Err(libc::EBADMSG),
    };
    if op.is_empty() {
        // The empty rule changes nothing.
    } else if is("on") {
        u.flags |= USER_FLAG_ENABLED;
        u.flags &= !USER_FLAG_DISABLED;
    } else if is("off") {
        u.flags |= USER_FLAG_DISABLED;
        u.flags &= !USER_FLAG_ENABLED;
    } else if is("skip-sanitize-payload") {
        u.flags |= USER_FLAG_SANITIZE_PAYLOAD_SKIP;
        u.flags &= !USER_FLAG_SANITIZE_PAYLOAD;
    } else if is("sanitize-payload") {
        u.flags &= !USER_FLAG_SANITIZE_PAYLOAD_SKIP;
        u.flags |= USER_FLAG_SANITIZE_PAYLOAD;
    } else if is("allkeys") || is("~*") {
        u.flags |= USER_FLAG_ALLKEYS;
        u.patterns.clear();
    } else if is("resetkeys") {
        u.flags &= !USER_FLAG_ALLKEYS;
        u.patterns.clear();
    } else if is("allchannels") || is("&*") {
        u.flags |= USER_FLAG_ALLCHANNELS;
        u.channels.clear();
    } else if is("resetchannels") {
        u.flags &= !USER_FLAG_ALLCHANNELS;
        u.channels.clear();
    } else if is("allcommands") || is("+@all") {
        u.allowed_commands.fill(u64::MAX);
        u.flags |= USER_FLAG_ALLCOMMANDS;
        ACLResetSubcommands(u);
    } else if is("nocommands") || is("-@all") {
        u.allowed_commands.fill(0);
        u.flags &= !USER_FLAG_ALLCOMMANDS;
        ACLResetSubcommands(u);
    } else if is("nopass") {
        u.flags |= USER_FLAG_NOPASS;
        u.passwords.clear();
    } else if is("resetpass") {
        u.flags &= !USER_FLAG_NOPASS;
        u.passwords.clear();
    } else if matches!(op[0], b'>' | b'#') {
        let newpass = hash_of(op)?;
        if !u.passwords.contains(&newpass) {
            u.passwords.push(newpass);
        }
        u.flags &= !USER_FLAG_NOPASS;
    } else if matches!(op[0], b'<' | b'!') {
        let delpass = hash_of(op)?;
        let place = u.passwords.iter().position(|pass| *pass == delpass).ok_or(libc::ENODEV)?;
        u.passwords.remove(place);
    } else if op[0] == b'~' {
        if u.flags & USER_FLAG_ALLKEYS != 0 {
            return Err(libc::EEXIST);
        }
        if ACLStringHasSpaces(&op[1..]) {
            return Err(libc::EINVAL);
        }
        u.patterns.add(&op[1..]);
    } else if op[0] == b'&' {
        if u.flags & USER_FLAG_ALLCHANNELS != 0 {
            return Err(libc::EISDIR);
        }
        if ACLStringHasSpaces(&op[1..]) {
            return Err(libc::EINVAL);
        }
        if !u.channels.iter().any(|channel| *channel == op[1..]) {
            u.channels.push(op[1..].to_vec());
        }
    } else if word.starts_with(b"+@") || word.starts_with(b"-@") {
        if ACLSetUserCommandBitsForCategory(u, &word[2..], word[0] == b'+', commands).is_err() {
            return Err(libc::ENOENT);
        }
    } else if let Some(name) = word.strip_prefix(b"+") {
        match name.iter().position(|b| *b == b'|') {
            None => {
                let id = ACLLookupCommand(commands, name).ok_or(libc::ENOENT)?;
                ACLSetUserCommandBit(u, id, true);
                ACLResetSubcommandsForCommand(u, id);
            }
            // Whether a command has such a subcommand is not known here. But there has to be one.
            Some(bar) => {
                let id = ACLLookupCommand(commands, &name[..bar]).ok_or(libc::ENOENT)?;
                let sub = &name[bar + 1..];
                // C: takes white space, and writes files with it that say something else.
                if sub.is_empty() || ACLStringHasSpaces(sub) {
                    return Err(libc::EINVAL);
                }
                if !ACLGetUserCommandBit(u, id) {
                    ACLAddAllowedSubcommand(u, id, sub);
                }
            }
        }
    } else if let Some(name) = word.strip_prefix(b"-") {
        let id = ACLLookupCommand(commands, name).ok_or(libc::ENOENT)?;
        ACLSetUserCommandBit(u, id, false);
        ACLResetSubcommandsForCommand(u, id);
    } else if is("reset") {
        // All that a new user has, and the checks of what it restores.
        *u = new_user(&u.name, acl_pubsub_default);
        u.flags |= USER_FLAG_SANITIZE_PAYLOAD;
    } else {
        return Err(libc::EINVAL);
    }
    Ok(())
}

/// Returns the text for an error of `ACLSetUser`.
fn ACLSetUserStringError(errno: i32) -> &'static str {
    match errno {
        libc::ENOENT => "Unknown command or category name in ACL",
        libc::EINVAL => "Syntax error",
        libc::EEXIST => {
            "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' to start with an empty list of patterns"
        }
        libc::EISDIR => {
            "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try 'resetchannels' to start with an empty list of channels"
        }
        libc::ENODEV => "The password you are trying to remove from the user does not exist",
        libc::EBADMSG => {
            "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
        }
        _ => "Wrong format",
    }
}

/// Returns the text for an error in a rule of a file.
///
/// C: says no more than `ACLSetUserStringError`. But a file that a 7.0 wrote may have rules that
/// have no counterpart in 6.2, and who replaces the server should be told that this is why.
fn file_rule_error(rule: &[u8], errno: i32) -> Vec<u8> {
    let error = ACLSetUserStringError(errno);
    let why = if rule.starts_with(b"(") || eq_ignore_case(rule, b"clearselectors") {
        "selectors, as in '(+get ~key)', need Redis 7.0"
    } else if rule.starts_with(b"%") {
        "permissions to read or write keys, as in '%R~key', need Redis 7.0"
    } else if rule.starts_with(b"-") && rule.contains(&b'|') {
        "a subcommand can only be added; to take it away from an allowed command needs Redis 7.0"
    } else {
        return error.into();
    };
    bformat!("{} ({})", error, why)
}

/// Applies a rule that is one of ours, and so right, to the user `default`.
fn set_default_user(server: &mut Server, rule: &[u8]) {
    let Server { users, commands, acl_pubsub_default, .. } = server;
    let result = ACLSetUser(&mut users[DefaultUser], rule, commands, *acl_pubsub_default);
    assert_eq!(result, Ok(()), "a rule of the server's own");
}

/// Makes the user `default` in a table without users. It is there as long as the process; it may do
/// everything and needs no password.
fn ACLInitDefaultUser(users: &mut Users, commands: &CommandTable, acl_pubsub_default: i32) {
    let u = ACLCreateUser(users, b"default", acl_pubsub_default);
    assert_eq!(u, Some(DefaultUser), "the first user is `default`");
    for rule in ["+@all", "~*", "&*", "on", "nopass"] {
        let u = &mut users[DefaultUser];
        let result = ACLSetUser(u, rule.as_bytes(), commands, acl_pubsub_default);
        assert_eq!(result, Ok(()), "a rule of the server's own");
    }
}

/// Makes the users there are at the start. To be called once, before the first client.
pub fn ACLInit(server: &mut Server) {
    let Server { users, commands, acl_pubsub_default, .. } = server;
    ACLInitDefaultUser(users, commands, *acl_pubsub_default);
}

/// Tells whether this user may log in with this password. `C_ERR`: there is no such user, it is
/// off, or the password is wrong; the client is not told which.
pub fn ACLCheckUserCredentials(server: &Server, username: &[u8], password: &[u8]) -> CResult {
    let Some(u) = ACLGetUserByName(server, username) else { return C_ERR };
    let u = &server.users[u];
    if u.flags & USER_FLAG_DISABLED != 0 {
        return C_ERR;
    }
    if u.flags & USER_FLAG_NOPASS != 0 {
        return C_OK;
    }
    let hashed = ACLHashPassword(password);
    if u.passwords.iter().any(|pass| time_independent_strcmp(&hashed, pass)) {
        return C_OK;
    }
    C_ERR
}

/// Logs a client in, if the password is right. `C_ERR` as `ACLCheckUserCredentials`; the client
/// stays who it was, and the attempt is in the log.
pub fn ACLAuthenticateUser(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    username: &[u8],
    password: &[u8],
) -> CResult {
    if ACLCheckUserCredentials(server, username, password).is_err() {
        let denied = Denied { reason: ACL_DENIED_AUTH, argpos: 0 };
        addACLLogEntry(server, c, denied, argv, Some(username));
        return C_ERR;
    }
    let user = ACLGetUserByName(server, username);
    let client = &mut server[c];
    client.authenticated = true;
    client.user = user;
    C_OK
}

/// Returns the user of this name.
pub fn ACLGetUserByName(server: &Server, name: &[u8]) -> Option<UserId> {
    server.users.find(name)
}

/// Tells whether the client may touch all keys there are, so that none has to be asked about.
pub fn may_touch_all_keys(server: &Server, c: ClientId) -> bool {
    server[c].user.is_none_or(|u| server.users[u].flags & USER_FLAG_ALLKEYS != 0)
}

/// Tells whether the client may touch a key that its arguments do not name, but that a command
/// finds by them. If not, that is logged, and an error was sent.
pub fn may_touch_key_or_reply(server: &mut Server, c: ClientId, key: &[u8]) -> bool {
    if server[c].user.is_none_or(|u| server.users[u].patterns.any_matches(key)) {
        return true;
    }
    log_denied(server, c, ACL_DENIED_KEY, key.to_vec(), None);
    addReplyError(
        server,
        c,
        b"-NOPERM this user has no permissions to access one of the keys used as arguments",
    );
    false
}

/// Tells whether the user may run this command with these arguments, as far as commands and keys
/// go. `ACL_DENIED_CMD`: not the command, or not this subcommand of it. `ACL_DENIED_KEY`: it names
/// a key that the user may not touch; `argpos` is the first of these.
fn ACLCheckCommandPerm(u: &User, cmd: &redisCommand, argv: &Args) -> Result<(), Denied> {
    // What is needed to log in is allowed to everybody.
    if u.flags & USER_FLAG_ALLCOMMANDS == 0
        && cmd.flags & CMD_NO_AUTH == 0
        && !ACLGetUserCommandBit(u, cmd.id)
    {
        let subs = u.allowed_subcommands.get(&cmd.id);
        let named = |subs: &Vec<Vec<u8>>| subs.iter().any(|sub| eq_ignore_case(argv.get(1), sub));
        if argv.len() < 2 || !subs.is_some_and(named) {
            return Err(Denied { reason: ACL_DENIED_CMD, argpos: 0 });
        }
    }
    if u.flags & USER_FLAG_ALLKEYS != 0 {
        return Ok(());
    }
    let denied = |&pos: &usize| !u.patterns.any_matches(argv.get(pos));
    let first_denied = if cmd.getkeys_proc.is_some() {
        let mut keys = Vec::new();
        getKeysFromCommand(cmd, argv, &mut keys);
        keys.into_iter().find(denied)
    } else if cmd.firstkey == cmd.lastkey {
        // Most commands have one key, or none.
        let key = usize::try_from(cmd.firstkey).ok();
        key.filter(|pos| (1..argv.len()).contains(pos)).filter(denied)
    } else {
        keys_in_command_table(cmd, argv.len()).find(denied)
    };
    match first_denied {
        Some(argpos) => Err(Denied { reason: ACL_DENIED_KEY, argpos }),
        None => Ok(()),
    }
}

/// Tells whether a channel is among the allowed ones: `literal`, whether it is one of these
/// patterns; otherwise, whether one of them matches it.
fn ACLCheckPubsubChannelPerm(channel: &[u8], allowed: &[Vec<u8>], literal: bool) -> bool {
    allowed.iter().any(|pattern| {
        if literal { pattern == channel } else { stringmatchlen(pattern, channel, false) }
    })
}

/// Closes the clients of a user who are subscribed to what they may not be any more, as `upcoming`
/// are to be its channels.
fn ACLKillPubsubClientsIfNeeded(server: &mut Server, u: UserId, upcoming: &[Vec<u8>]) {
    // Nobody loses anything if each pattern stays. If it was all channels, it is fewer now: the
    // caller has looked at that.
    let user = &server.users[u];
    if user.flags & USER_FLAG_ALLCHANNELS == 0
        && user.channels.iter().all(|old| ACLCheckPubsubChannelPerm(old, upcoming, true))
    {
        return;
    }
    let mut li = listRewind(&server.clients.list);
    while let Some(c) = listNext(&server.clients.list, &mut li) {
        let client = &server[c];
        if client.user != Some(u) || getClientType(client) != CLIENT_TYPE_PUBSUB {
            continue;
        }
        let allowed = |name: &[u8], literal| ACLCheckPubsubChannelPerm(name, upcoming, literal);
        if client.pubsub_patterns.iter().all(|pattern| allowed(pattern, true))
            && client.pubsub_channels.iter().all(|channel| allowed(channel, false))
        {
            continue;
        }
        // C: frees the client that takes its own channels away in the middle of its command, and
        // then replies to it.
        if server.current_client == Some(c) {
            server[c].flags |= CLIENT_CLOSE_AFTER_COMMAND;
        } else {
            freeClient(server, c);
        }
    }
}

/// Tells whether the user may use the channels that the arguments from `idx` on name, `count` of
/// them; `literal` as in `ACLCheckPubsubChannelPerm`.
fn ACLCheckPubsubPerm(
    u: &User,
    argv: &Args,
    idx: usize,
    count: usize,
    literal: bool,
) -> Result<(), Denied> {
    if u.flags & USER_FLAG_ALLCHANNELS != 0 {
        return Ok(());
    }
    for argpos in idx..idx + count {
        if !ACLCheckPubsubChannelPerm(argv.get(argpos), &u.channels, literal) {
            return Err(Denied { reason: ACL_DENIED_CHANNEL, argpos });
        }
    }
    Ok(())
}

/// Tells whether the client may run this command with these arguments: command, keys, channels. A
/// client without a user may run anything.
#[inline(always)]
pub fn ACLCheckAllPerm(
    server: &Server,
    c: ClientId,
    cmd: CommandId,
    argv: &Args,
) -> Result<(), Denied> {
    check_user_perm(server, server.clients[c].user, cmd, argv)
}

/// Does what `ACLCheckAllPerm` says for the user of a client.
#[inline(always)]
pub fn check_user_perm(
    server: &Server,
    user: Option<UserId>,
    cmd: CommandId,
    argv: &Args,
) -> Result<(), Denied> {
    match user {
        Some(u) if !may_do_everything(server, user) => {
            check_restricted_user(server, &server.users[u], cmd, argv)
        }
        _ => Ok(()),
    }
}

/// Tells whether a client of this user may run any command, with any key and channel.
#[inline(always)]
pub fn may_do_everything(server: &Server, user: Option<UserId>) -> bool {
    const EVERYTHING: u64 = USER_FLAG_ALLKEYS | USER_FLAG_ALLCHANNELS | USER_FLAG_ALLCOMMANDS;
    user.is_none_or(|u| server.users[u].flags & EVERYTHING == EVERYTHING)
}

/// Does what `ACLCheckAllPerm` says for a user who may not do everything.
#[inline(never)]
fn check_restricted_user(
    server: &Server,
    u: &User,
    cmd: CommandId,
    argv: &Args,
) -> Result<(), Denied> {
    let command = &server.commands[cmd];
    ACLCheckCommandPerm(u, command, argv)?;
    if command.flags & CMD_PUBSUB == 0 {
        return Ok(());
    }
    let commands = &server.commands;
    if cmd == commands.publishCommand {
        ACLCheckPubsubPerm(u, argv, 1, 1, false)
    } else if cmd == commands.subscribeCommand {
        ACLCheckPubsubPerm(u, argv, 1, argv.len() - 1, false)
    } else if cmd == commands.psubscribeCommand {
        ACLCheckPubsubPerm(u, argv, 1, argv.len() - 1, true)
    } else {
        Ok(())
    }
}

// =============================================================================
// ACL loading / saving functions
// =============================================================================

/// Checks a line `user <name> <rule>...` of a config file, and keeps it for
/// `ACLLoadConfiguredUsers`. The error is the text below the line in the report.
pub fn ACLAppendUserForLoading(server: &mut Server, argv: &[Vec<u8>]) -> Result<(), Vec<u8>> {
    let mut fakeuser = ACLCreateUnlinkedUser(server.acl_pubsub_default);
    for rule in &argv[2..] {
        // A command that is not known is an error later, as in the C, where a module may bring it.
        match ACLSetUser(&mut fakeuser, rule, &server.commands, server.acl_pubsub_default) {
            Ok(()) | Err(libc::ENOENT) => {}
            Err(errno) => {
                let error = file_rule_error(rule, errno);
                return Err(bformat!("Error in user declaration '{}': {}", B(rule), B(&error)));
            }
        }
    }
    server.UsersToLoad.push(argv[1..].to_vec());
    Ok(())
}

/// Makes the users of the config file. `C_ERR`: a name or a rule is wrong; the log says which.
fn ACLLoadConfiguredUsers(server: &mut Server) -> CResult {
    let Server { users, commands, acl_pubsub_default, .. } = server;
    for aclrules in &server.UsersToLoad {
        let username = &aclrules[0];
        if ACLStringHasSpaces(username) {
            serverLog!(LL_WARNING, "Spaces not allowed in ACL usernames");
            return C_ERR;
        }
        let u = create_or_reset(users, username, commands, *acl_pubsub_default);
        for rule in &aclrules[1..] {
            if let Err(errno) = ACLSetUser(&mut users[u], rule, commands, *acl_pubsub_default) {
                serverLog!(
                    LL_WARNING,
                    "Error loading ACL rule '{}' for the user named '{}': {}",
                    B(rule),
                    B(username),
                    B(&file_rule_error(rule, errno))
                );
                return C_ERR;
            }
        }
        // It may be meant, but may as well have been forgotten.
        if users[u].flags & USER_FLAG_DISABLED != 0 {
            serverLog!(
                LL_NOTICE,
                "The user '{}' is disabled (there is no 'on' modifier in the user description). Make sure this is not a configuration error.",
                B(username)
            );
        }
    }
    C_OK
}

/// Returns the user of this name as it is before the rules of a file: a new one, or, if there is
/// one, reset.
fn create_or_reset(
    users: &mut Users,
    username: &[u8],
    commands: &CommandTable,
    acl_pubsub_default: i32,
) -> UserId {
    if let Some(u) = ACLCreateUser(users, username, acl_pubsub_default) {
        return u;
    }
    let u = users.find(username).expect("a name that is taken is a user's");
    let result = ACLSetUser(&mut users[u], b"reset", commands, acl_pubsub_default);
    assert_eq!(result, Ok(()), "a rule of the server's own");
    u
}

/// Returns the text of a file as the C reads it: by lines of at most 1023 bytes, of each what is
/// before its first NUL.
fn text_of_file(content: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(content.len());
    let mut rest = content;
    while !rest.is_empty() {
        let room = &rest[..rest.len().min(1023)];
        let len = memchr::memchr(b'\n', room).map_or(room.len(), |end| end + 1);
        text.extend_from_slice(c_str(&rest[..len]));
        rest = &rest[len..];
    }
    text
}

/// Takes the users from a file, which has a line `user <name> <rule>...` for each. Lines may be
/// empty, but there are no comments, since the file is also written (ACL SAVE).
///
/// All or nothing: if anything is wrong, the users stay as they are, and the error is one line that
/// says all that is. Otherwise the users that were are gone, but for `default`, and so are their
/// connections.
fn ACLLoadFromFile(server: &mut Server, filename: &[u8]) -> Result<(), Vec<u8>> {
    let failed = |what: &str, e: &std::io::Error| {
        bformat!("Error loading ACLs, {} file '{}': {}", what, B(filename), error_text(e))
    };
    let mut file = std::fs::File::open(std::ffi::OsStr::from_bytes(filename))
        .map_err(|e| failed("opening", &e))?;
    // C: takes what can be read for all of it. No user at all would be left of an unreadable file.
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut content).map_err(|e| failed("reading", &e))?;
    let acls = text_of_file(&content);

    let Server { commands, acl_pubsub_default, .. } = &*server;
    let acl_pubsub_default = *acl_pubsub_default;
    let mut errors = Vec::new();
    let mut fakeuser = ACLCreateUnlinkedUser(acl_pubsub_default);
    // The new users are made aside.
    let mut users = Users::default();
    ACLInitDefaultUser(&mut users, commands, acl_pubsub_default);

    for (i, line) in sdssplitlen(&acls, b"\n").into_iter().enumerate() {
        let place = bformat!("{}:{}", B(filename), i + 1);
        let line = sdstrim(line, b" \t\r\n");
        if line.is_empty() {
            continue;
        }
        let mut argv = sdssplitlen(line, b" ");
        if argv[0] != b"user" || argv.len() < 2 {
            sdscatprintf!(
                errors,
                "{} should start with user keyword followed by the username. ",
                B(&place)
            );
            continue;
        }
        let username = argv[1];
        if ACLStringHasSpaces(username) {
            sdscatprintf!(
                errors,
                "'{}: username '{}' contains invalid characters. ",
                B(&place),
                B(username)
            );
            continue;
        }

        // Try the rules. All that are wrong are reported.
        let reset = ACLSetUser(&mut fakeuser, b"reset", commands, acl_pubsub_default);
        assert_eq!(reset, Ok(()), "a rule of the server's own");
        for rule in &mut argv[2..] {
            *rule = sdstrim(rule, b"\t\r\n");
            if let Err(errno) = ACLSetUser(&mut fakeuser, rule, commands, acl_pubsub_default) {
                let error = file_rule_error(rule, errno);
                sdscatprintf!(errors, "{}: {}. ", B(&place), B(&error));
            }
        }
        // After an error the new users will not be taken, so they need not be made.
        if !errors.is_empty() {
            continue;
        }
        let u = create_or_reset(&mut users, username, commands, acl_pubsub_default);
        for rule in &argv[2..] {
            let result = ACLSetUser(&mut users[u], rule, commands, acl_pubsub_default);
            assert_eq!(result, Ok(()), "the rule was right a moment ago");
        }
    }

    if !errors.is_empty() {
        errors.extend_from_slice(
            b"WARNING: ACL errors detected, no change to the previously active ACL rules was performed",
        );
        return Err(errors);
    }
    // Clients of `default` stay, with its new rules: its number is the same.
    ACLFreeUsersSet(server);
    server.users = users;
    Ok(())
}

/// Writes the users to a file: to a temporary one, which then takes its place. `C_ERR`: there was
/// an error, which is in the log, and the file is as it was.
fn ACLSaveToFile(server: &Server, filename: &[u8]) -> CResult {
    let mut acl = Vec::new();
    for u in server.users.iter() {
        let descr = ACLDescribeUser(u, &server.commands);
        sdscatprintf!(acl, "user {} {}\n", B(&u.name), B(&descr));
    }

    let tmpfilename = bformat!("{}.tmp-{}-{}", B(filename), std::process::id(), mstime() as i32);
    let path = std::ffi::OsStr::from_bytes(&tmpfilename);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o644);
    let written = match options.open(path) {
        Err(e) => {
            serverLog!(LL_WARNING, "Opening temp ACL file for ACL SAVE: {}", error_text(&e));
            return C_ERR;
        }
        Ok(mut file) => file.write_all(&acl),
    };
    if let Err(e) = written {
        serverLog!(LL_WARNING, "Writing ACL file for ACL SAVE: {}", error_text(&e));
    } else if let Err(e) = std::fs::rename(path, std::ffi::OsStr::from_bytes(filename)) {
        serverLog!(LL_WARNING, "Renaming ACL file for ACL SAVE: {}", error_text(&e));
    } else {
        return C_OK;
    }
    // It is of no use, and if it can't be removed there is nothing to be done about it.
    let _ = std::fs::remove_file(path);
    C_ERR
}

/// Makes the users of the config file or of the ACL file, before the first client comes. If there
/// are both, or if something is wrong, the process ends with 1.
pub fn ACLLoadUsersAtStartup(server: &mut Server) {
    let filename = server.acl_filename.clone();
    if !filename.is_empty() && !server.UsersToLoad.is_empty() {
        serverLog!(
            LL_WARNING,
            "Configuring Redis with users defined in redis.conf and at the same setting an ACL file path is invalid. This setup is very likely to lead to configuration errors and security holes, please define either an ACL file or declare users directly in your redis.conf, but not both."
        );
        std::process::exit(1);
    }
    if ACLLoadConfiguredUsers(server).is_err() {
        serverLog!(LL_WARNING, "Critical error while loading ACLs. Exiting.");
        std::process::exit(1);
    }
    if !filename.is_empty()
        && let Err(errors) = ACLLoadFromFile(server, &filename)
    {
        serverLog!(LL_WARNING, "Aborting Redis startup because of ACL errors: {}", B(&errors));
        std::process::exit(1);
    }
}

// =============================================================================
// ACL log
// =============================================================================

/// Where a command was denied: sent by a client, called by a script, in a transaction.
#[derive(Copy, Clone, PartialEq, Eq)]
pub enum AclLogContext {
    ACL_LOG_CTX_TOPLEVEL,
    ACL_LOG_CTX_LUA,
    ACL_LOG_CTX_MULTI,
}
use AclLogContext::*;

/// Entries that are alike become one if no more milliseconds are between them.
const ACL_LOG_GROUPING_MAX_TIME_DELTA: i64 = 60000;

/// An entry of the log of what was denied.
pub struct ACLLogEntry {
    /// How often it happened.
    count: u64,
    reason: AclDenied,
    context: AclLogContext,
    /// The command, key or channel; for a login, the command that tried it.
    object: Vec<u8>,
    /// The user who was denied it, or as whom somebody wanted to log in.
    username: Vec<u8>,
    /// When it happened last, in milliseconds since the epoch.
    ctime: i64,
    /// The client, as in CLIENT LIST, when it happened last.
    cinfo: Vec<u8>,
}

/// Tells whether two entries are so much alike that they should be one.
fn ACLLogMatchEntry(a: &ACLLogEntry, b: &ACLLogEntry) -> bool {
    a.reason == b.reason
        && a.context == b.context
        && (a.ctime - b.ctime).abs() <= ACL_LOG_GROUPING_MAX_TIME_DELTA
        && a.object == b.object
        && a.username == b.username
}

/// Logs that a command was denied, or a login (`ACL_DENIED_AUTH`, where `username` is the name that
/// was tried). If it is like one of the latest entries, that one is counted up and comes to the
/// front. The log is kept to `acllog-max-len` entries.
pub fn addACLLogEntry(
    server: &mut Server,
    c: ClientId,
    denied: Denied,
    argv: &Args,
    username: Option<&[u8]>,
) {
    let client = &server[c];
    let object = match denied.reason {
        ACL_DENIED_CMD => {
            client.cmd.map_or(&b""[..], |cmd| server.commands[cmd].name.as_bytes()).to_vec()
        }
        ACL_DENIED_KEY | ACL_DENIED_CHANNEL => argv.get(denied.argpos).to_vec(),
        ACL_DENIED_AUTH => argv.get(0).to_vec(),
    };
    log_denied(server, c, denied.reason, object, username);
}

/// The part of `addACLLogEntry` that knows what was denied: `object`.
fn log_denied(
    server: &mut Server,
    c: ClientId,
    reason: AclDenied,
    object: Vec<u8>,
    username: Option<&[u8]>,
) {
    let client = &server[c];
    let user = || client.user.and_then(|u| server.users.get(u)).map(|u| &u.name[..]);
    let username = username.or_else(user).unwrap_or_default().to_vec();
    let context = if client.flags & CLIENT_MULTI != 0 {
        ACL_LOG_CTX_MULTI
    } else if client.flags & CLIENT_LUA != 0 {
        ACL_LOG_CTX_LUA
    } else {
        ACL_LOG_CTX_TOPLEVEL
    };
    // It is the client that called the script which did it.
    let realclient = match server.lua_caller {
        Some(caller) if client.flags & CLIENT_LUA != 0 => caller,
        _ => c,
    };
    let cinfo = catClientInfoString(server, realclient);
    let le = ACLLogEntry { count: 1, reason, context, object, username, ctime: mstime(), cinfo };

    // A little work is done to find one that is like it.
    let log = &mut server.ACLLog;
    let toscan = 10;
    let alike = log.iter().take(toscan).position(|current| ACLLogMatchEntry(current, &le));
    match alike.and_then(|at| log.remove(at)) {
        Some(mut current) => {
            current.cinfo = le.cinfo;
            current.ctime = le.ctime;
            current.count += 1;
            log.push_front(current);
        }
        None => {
            log.push_front(le);
            log.truncate(server.acllog_max_len);
        }
    }
}

// =============================================================================
// ACL related commands
// =============================================================================

/// The most bits that ACL GENPASS makes.
const GENPASS_MAX_BITS: i64 = 4096;

/// ACL HELP | LOAD | SAVE | LIST | USERS | CAT [category] | SETUSER name [rule ...] | DELUSER name
/// [name ...] | GETUSER name | GENPASS [bits] | WHOAMI | LOG [count | RESET]
pub fn aclCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let argc = argv.len();
    let is = |name: &str| eq_ignore_case(argv.get(1), name.as_bytes());
    if is("setuser") && argc >= 3 {
        acl_setuser(server, c, argv);
    } else if is("deluser") && argc >= 3 {
        acl_deluser(server, c, argv);
    } else if is("getuser") && argc == 3 {
        acl_getuser(server, c, argv);
    } else if (is("list") || is("users")) && argc == 2 {
        let Server { users, clients, commands, .. } = server;
        addReplyArrayLen(clients, c, users.len());
        for u in users.iter() {
            if is("users") {
                addReplyBulkCBuffer(clients, c, &u.name);
            } else {
                let descr = ACLDescribeUser(u, commands);
                addReplyBulkCBuffer(clients, c, &bformat!("user {} {}", B(&u.name), B(&descr)));
            }
        }
    } else if is("whoami") && argc == 2 {
        match server[c].user {
            Some(u) => addReplyBulkCBuffer(&mut server.clients, c, &server.users[u].name),
            None => addReplyNull(server, c),
        }
    } else if server.acl_filename.is_empty() && (is("load") || is("save")) {
        addReplyError(
            server,
            c,
            b"This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in the Redis configuration.",
        );
    } else if is("load") && argc == 2 {
        let filename = server.acl_filename.clone();
        match ACLLoadFromFile(server, &filename) {
            Ok(()) => addReply(server, c, shared::ok),
            Err(errors) => addReplyError(server, c, &errors),
        }
    } else if is("save") && argc == 2 {
        if ACLSaveToFile(server, &server.acl_filename).is_ok() {
            addReply(server, c, shared::ok);
        } else {
            addReplyError(
                server,
                c,
                b"There was an error trying to save the ACLs. Please check the server logs for more information",
            );
        }
    } else if is("cat") && argc == 2 {
        addReplyArrayLen(server, c, ACLCommandCategories.len());
        for (name, _) in ACLCommandCategories {
            addReplyBulkCString(server, c, name.as_bytes());
        }
    } else if is("cat") && argc == 3 {
        let cflag = ACLGetCommandCategoryFlagByName(&argv[2]);
        if cflag == 0 {
            addReplyErrorFormat!(server, c, "Unknown category '{}'", B(c_str(&argv[2])));
            return;
        }
        let Server { clients, commands, .. } = server;
        let members = || commands.iter_original().filter(|cmd| cmd.flags & cflag != 0);
        addReplyArrayLen(clients, c, members().count());
        for cmd in members() {
            addReplyBulkCString(clients, c, cmd.name.as_bytes());
        }
    } else if is("genpass") && (argc == 2 || argc == 3) {
        let mut bits = 256;
        if argc == 3 {
            match getLongFromObjectOrReply(server, c, &argv[2], None) {
                Ok(n) => bits = n,
                Err(()) => return,
            }
        }
        if bits <= 0 || bits > GENPASS_MAX_BITS {
            addReplyErrorFormat!(
                server,
                c,
                "ACL GENPASS argument must be the number of bits for the output password, a positive number up to {}",
                GENPASS_MAX_BITS
            );
            return;
        }
        // A digit has four bits.
        let mut pass = [0; GENPASS_MAX_BITS as usize / 4];
        let pass = &mut pass[..(bits as usize).div_ceil(4)];
        getRandomHexChars(pass);
        addReplyBulkCBuffer(server, c, pass);
    } else if is("log") && (argc == 2 || argc == 3) {
        acl_log(server, c, argv);
    } else if argc == 2 && is("help") {
        let help = [
            "CAT [<category>]",
            "    List all commands that belong to <category>, or all command categories",
            "    when no category is specified.",
            "DELUSER <username> [<username> ...]",
            "    Delete a list of users.",
            "GETUSER <username>",
            "    Get the user's details.",
            "GENPASS [<bits>]",
            "    Generate a secure 256-bit user password. The optional `bits` argument can",
            "    be used to specify a different size.",
            "LIST",
            "    Show users details in config file format.",
            "LOAD",
            "    Reload users from the ACL file.",
            "LOG [<count> | RESET]",
            "    Show the ACL log entries.",
            "SAVE",
            "    Save the current config to the ACL file.",
            "SETUSER <username> <attribute> [<attribute> ...]",
            "    Create or modify a user with the specified attributes.",
            "USERS",
            "    List all the registered usernames.",
            "WHOAMI",
            "    Return the current connection username.",
        ];
        addReplyHelp(server, c, argv, &help);
    } else {
        addReplySubcommandSyntaxError(server, c, argv);
    }
}

/// ACL SETUSER name [rule ...]: makes or changes a user. If one of the rules is wrong, nothing is
/// changed.
fn acl_setuser(server: &mut Server, c: ClientId, argv: &Args) {
    // There may be passwords in it: neither the slow log nor a monitor shall see them.
    for j in 2..argv.len() {
        redactClientCommandArgument(server, c, argv, j);
    }
    let username = argv.get(2);
    if ACLStringHasSpaces(username) {
        addReplyError(server, c, b"Usernames can't contain spaces or null characters");
        return;
    }

    let u = ACLGetUserByName(server, username);
    let mut tempu = ACLCreateUnlinkedUser(server.acl_pubsub_default);
    if let Some(u) = u {
        ACLCopyUser(&mut tempu, &server.users[u]);
    }
    for rule in argv.iter().skip(3) {
        if let Err(errno) =
            ACLSetUser(&mut tempu, rule, &server.commands, server.acl_pubsub_default)
        {
            addReplyErrorFormat!(
                server,
                c,
                "Error in ACL SETUSER modifier '{}': {}",
                B(c_str(rule)),
                ACLSetUserStringError(errno)
            );
            return;
        }
    }

    // Who is subscribed to what is taken away loses the connection.
    if let Some(u) = u
        && tempu.flags & USER_FLAG_ALLCHANNELS == 0
    {
        ACLKillPubsubClientsIfNeeded(server, u, &tempu.channels);
    }
    let Server { users, acl_pubsub_default, .. } = server;
    let u = u
        .or_else(|| ACLCreateUser(users, username, *acl_pubsub_default))
        .expect("the name is not taken");
    ACLCopyUser(&mut users[u], &tempu);
    addReply(server, c, shared::ok);
}

/// ACL DELUSER name [name ...]: removes users, and closes their connections. Replies with how many
/// there were.
fn acl_deluser(server: &mut Server, c: ClientId, argv: &Args) {
    if argv.iter().skip(2).any(|username| c_str(username) == b"default") {
        addReplyError(server, c, b"The 'default' user cannot be removed");
        return;
    }
    let mut deleted = 0;
    for username in argv.iter().skip(2) {
        if let Some(u) = ACLGetUserByName(server, username) {
            ACLFreeUserAndKillClients(server, u);
            deleted += 1;
        }
    }
    addReplyLongLong(server, c, deleted);
}

/// ACL GETUSER name: a map with the user's flags, passwords, commands, keys and channels; null if
/// there is no such user.
fn acl_getuser(server: &mut Server, c: ClientId, argv: &Args) {
    let Some(u) = ACLGetUserByName(server, &argv[2]) else {
        addReplyNull(server, c);
        return;
    };
    let Server { users, clients, commands, .. } = server;
    let u = &users[u];
    addReplyMapLen(clients, c, 5);

    addReplyBulkCString(clients, c, b"flags");
    let flags = || ACLUserFlags.iter().filter(|(_, flag)| u.flags & flag != 0);
    addReplySetLen(clients, c, flags().count());
    for (name, _) in flags() {
        addReplyBulkCString(clients, c, name.as_bytes());
    }

    addReplyBulkCString(clients, c, b"passwords");
    addReplyArrayLen(clients, c, u.passwords.len());
    for pass in &u.passwords {
        addReplyBulkCBuffer(clients, c, pass);
    }

    addReplyBulkCString(clients, c, b"commands");
    addReplyBulkCBuffer(clients, c, &ACLDescribeUserCommandRules(u, commands));

    let mut describe = |name: &[u8], all: u64, patterns: Vec<&[u8]>| {
        let patterns = if u.flags & all != 0 { vec![&b"*"[..]] } else { patterns };
        addReplyBulkCString(clients, c, name);
        addReplyArrayLen(clients, c, patterns.len());
        for pattern in patterns {
            addReplyBulkCBuffer(clients, c, pattern);
        }
    };
    describe(b"keys", USER_FLAG_ALLKEYS, u.patterns.iter().collect());
    let channels = u.channels.iter().map(|channel| &channel[..]).collect();
    describe(b"channels", USER_FLAG_ALLCHANNELS, channels);
}

/// ACL LOG [count | RESET]: the latest entries of the log, ten unless `count` says how many; or
/// forgets them.
fn acl_log(server: &mut Server, c: ClientId, argv: &Args) {
    let mut count = 10;
    if argv.len() == 3 {
        if eq_ignore_case(&argv[2], b"reset") {
            server.ACLLog.clear();
            addReply(server, c, shared::ok);
            return;
        }
        match getLongFromObjectOrReply(server, c, &argv[2], None) {
            Ok(n) => count = usize::try_from(n).unwrap_or(0),
            Err(()) => return,
        }
    }
    let Server { ACLLog, clients, .. } = server;
    let now = mstime();
    addReplyArrayLen(clients, c, count.min(ACLLog.len()));
    for le in ACLLog.iter().take(count) {
        addReplyMapLen(clients, c, 7);
        addReplyBulkCString(clients, c, b"count");
        addReplyLongLong(clients, c, le.count as i64);
        addReplyBulkCString(clients, c, b"reason");
        let reasonstr = match le.reason {
            ACL_DENIED_CMD => "command",
            ACL_DENIED_KEY => "key",
            ACL_DENIED_CHANNEL => "channel",
            ACL_DENIED_AUTH => "auth",
        };
        addReplyBulkCString(clients, c, reasonstr.as_bytes());
        addReplyBulkCString(clients, c, b"context");
        let ctxstr = match le.context {
            ACL_LOG_CTX_TOPLEVEL => "toplevel",
            ACL_LOG_CTX_MULTI => "multi",
            ACL_LOG_CTX_LUA => "lua",
        };
        addReplyBulkCString(clients, c, ctxstr.as_bytes());
        addReplyBulkCString(clients, c, b"object");
        addReplyBulkCBuffer(clients, c, &le.object);
        addReplyBulkCString(clients, c, b"username");
        addReplyBulkCBuffer(clients, c, &le.username);
        addReplyBulkCString(clients, c, b"age-seconds");
        addReplyDouble(clients, c, (now - le.ctime) as f64 / 1000.0);
        addReplyBulkCString(clients, c, b"client-info");
        addReplyBulkCBuffer(clients, c, &le.cinfo);
    }
}

/// Queues the set of categories that a command is in.
pub fn addReplyCommandCategories(
    clients: &mut impl AsMut<Clients>,
    c: ClientId,
    cmd: &redisCommand,
) {
    let clients = clients.as_mut();
    let categories = || ACLCommandCategories.iter().filter(|(_, flag)| cmd.flags & flag != 0);
    addReplySetLen(clients, c, categories().count());
    for (name, _) in categories() {
        addReplyStatusFormat!(clients, c, "@{}", name);
    }
}

/// AUTH password; AUTH username password
///
/// Without a name it is the user `default` who logs in.
pub fn authCommand(server: &mut Server, c: ClientId, argv: &Args) {
    if argv.len() > 3 {
        addReplyErrorObject(server, c, shared::syntaxerr);
        return;
    }
    // Neither the slow log nor a monitor shall see it, right or wrong.
    redactClientCommandArgument(server, c, argv, 1);

    let (username, password): (&[u8], &[u8]) = if argv.len() == 2 {
        // An error, though nothing would be refused: someone believes that there is a password.
        if server.users[DefaultUser].flags & USER_FLAG_NOPASS != 0 {
            addReplyError(
                server,
                c,
                b"AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
            );
            return;
        }
        (b"default", &argv[1])
    } else {
        redactClientCommandArgument(server, c, argv, 2);
        (&argv[1], &argv[2])
    };

    if ACLAuthenticateUser(server, c, argv, username, password).is_ok() {
        addReply(server, c, shared::ok);
    } else {
        addReplyError(server, c, b"-WRONGPASS invalid username-password pair or user is disabled.");
    }
}

/// Makes `password` the one password of the user `default` (`requirepass`); with `None` it needs
/// none. Clients that are logged in stay so.
pub fn ACLUpdateDefaultUserPassword(server: &mut Server, password: Option<&[u8]>) {
    set_default_user(server, b"resetpass");
    match password {
        Some(password) => set_default_user(server, &[b">", password].concat()),
        None => set_default_user(server, b"nopass"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::populateCommandTable;

    fn server() -> Server {
        let mut server =
            Server { acl_pubsub_default: USER_FLAG_ALLCHANNELS as i32, ..Server::default() };
        populateCommandTable(&mut server.commands);
        ACLInit(&mut server);
        server
    }

    #[test]
    fn passwords_are_kept_as_sha256() {
        // The first test vector of FIPS 180-2.
        assert_eq!(
            ACLHashPassword(b"abc"),
            b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            ACLHashPassword(b""),
            b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn comparing_takes_all_of_both_strings() {
        assert!(time_independent_strcmp(b"", b""));
        assert!(time_independent_strcmp(b"secret", b"secret"));
        assert!(!time_independent_strcmp(b"secret", b"secreT"));
        assert!(!time_independent_strcmp(b"secret", b"secret\0"), "the length counts");
        let long = [b'x'; CONFIG_AUTHPASS_MAX_LEN + 1];
        assert!(time_independent_strcmp(&long[1..], &long[1..]));
        assert!(!time_independent_strcmp(&long, &long), "too long to be a password");
    }

    #[test]
    fn the_default_user_takes_any_password_until_it_has_one() {
        let mut server = server();
        assert_eq!(
            server.users[DefaultUser].flags & (USER_FLAG_ENABLED | USER_FLAG_DISABLED),
            USER_FLAG_ENABLED
        );
        assert_eq!(ACLCheckUserCredentials(&server, b"default", b"whatever"), C_OK);
        assert_eq!(ACLCheckUserCredentials(&server, b"alice", b"whatever"), C_ERR);

        ACLUpdateDefaultUserPassword(&mut server, Some(b"one"));
        ACLUpdateDefaultUserPassword(&mut server, Some(b"two"));
        assert_eq!(
            ACLCheckUserCredentials(&server, b"default", b"one"),
            C_ERR,
            "the old one is gone"
        );
        assert_eq!(ACLCheckUserCredentials(&server, b"default", b"two"), C_OK);
        assert_eq!(
            ACLCheckUserCredentials(&server, b"DEFAULT", b"two"),
            C_ERR,
            "names have a case"
        );
        assert_eq!(ACLCheckUserCredentials(&server, b"default", b""), C_ERR);

        ACLUpdateDefaultUserPassword(&mut server, None);
        assert_eq!(ACLCheckUserCredentials(&server, b"default", b"three"), C_OK);
        assert!(server.users[DefaultUser].passwords.is_empty());
    }

    #[test]
    fn the_empty_password_is_a_password() {
        let mut server = server();
        ACLUpdateDefaultUserPassword(&mut server, Some(b""));
        assert_eq!(ACLCheckUserCredentials(&server, b"default", b"x"), C_ERR);
        assert_eq!(ACLCheckUserCredentials(&server, b"default", b""), C_OK);
    }

    /// The rules as 6.2 to 8 write them and people type them: with what they leave of the passwords
    /// and flags.
    #[test]
    fn a_user_line_that_gives_everything_is_taken() {
        let (one, two) = (ACLHashPassword(b"one"), ACLHashPassword(b"two"));
        let (one, two) = (str::from_utf8(&one).unwrap(), str::from_utf8(&two).unwrap());
        for (rules, want) in [
            ("on nopass ~* &* +@all", "on nopass sanitize-payload ~* &* +@all".to_string()),
            (
                "+@all &* ~* skip-sanitize-payload nopass ON",
                "on nopass skip-sanitize-payload ~* &* +@all".to_string(),
            ),
            (
                &format!(
                    "on sanitize-payload #{one} >two ~* resetchannels allchannels allcommands"
                ),
                format!("on sanitize-payload #{one} #{two} ~* &* +@all"),
            ),
            (
                &format!(
                    "reset off on >one >one ~a* allkeys -get -@all +@all +get +@read #{two} !{one}"
                ),
                format!("on sanitize-payload #{two} ~* &* +@all"),
            ),
        ] {
            let mut server = server();
            let argv: Vec<Vec<u8>> =
                format!("user default {rules}").split(' ').map(|w| w.into()).collect();
            assert_eq!(ACLAppendUserForLoading(&mut server, &argv), Ok(()), "{rules}");
            assert_eq!(ACLLoadConfiguredUsers(&mut server), C_OK);
            assert_eq!(
                ACLDescribeUser(&server.users[DefaultUser], &server.commands),
                want.as_bytes(),
                "{rules}"
            );
        }
    }

    /// What is wrong with a line is said at once, but for commands, which a module might bring.
    #[test]
    fn a_wrong_user_line_says_why() {
        let mut server = server();
        server.acl_pubsub_default = 0;
        let bad_hash = format!("#{}", "A".repeat(64));
        for (rules, word, why) in [
            ("a on ~* ~a", "~a", "Adding a pattern after the * pattern (or the 'allkeys'"),
            ("a on &* &a", "&a", "Adding a pattern after the * pattern (or the 'allchannels'"),
            ("a on <x", "<x", "The password you are trying to remove"),
            (&format!("a on {bad_hash}"), &bad_hash, "The password hash must be exactly 64"),
            ("a +config|", "+config|", "Syntax error"),
            ("a nonsense", "nonsense", "Syntax error"),
            ("a ~* (+@all ~k)", "(+@all", "Syntax error (selectors, as in"),
            ("a %R~k", "%R~k", "Syntax error (permissions to read or write keys, as in '%R~key'"),
        ] {
            let argv: Vec<Vec<u8>> = format!("user {rules}").split(' ').map(|w| w.into()).collect();
            let error = ACLAppendUserForLoading(&mut server, &argv).unwrap_err();
            let error = String::from_utf8(error).unwrap();
            let head = format!("Error in user declaration '{word}': ");
            assert!(error.starts_with(&head) && error.contains(why), "{rules}: {error}");
        }
        assert!(server.UsersToLoad.is_empty());
        let argv = [b"user".to_vec(), b"a".to_vec(), b"+no-such-command".to_vec()];
        assert_eq!(ACLAppendUserForLoading(&mut server, &argv), Ok(()));
        assert_eq!(ACLLoadConfiguredUsers(&mut server), C_ERR);
    }

    /// A pattern says of each key what `stringmatchlen` says of it.
    #[test]
    fn a_pattern_of_keys_is_a_glob_pattern() {
        let mut rng = crate::testing::Rng::new();
        let mut text = |chars: &[u8], max: u64| -> Vec<u8> {
            (0..rng.below(max)).map(|_| chars[rng.below(chars.len() as u64) as usize]).collect()
        };
        let mut matched = 0;
        for i in 0..300_000 {
            let (chars, specials) = match i % 3 {
                0 => (&b"aab*"[..], &b"*"[..]),
                _ => (&b"aaab\xff"[..], &b"a*?[]\\^-\0"[..]),
            };
            let mut pattern = text(chars, 14);
            pattern.extend(text(specials, 3));
            let mut key = text(b"aaaaab\0\xff", 14);
            if pattern.len() > 6 && key.first() == Some(&b'b') {
                key = [&pattern, &key[..]].concat();
            }
            let fast = KeyPattern::new(&pattern).matches(&key, key_head(&key));
            assert_eq!(fast, stringmatchlen(&pattern, &key, false), "{pattern:?} {key:?}");
            matched += u32::from(fast);
        }
        assert!(matched > 1000, "{matched}");
    }

    /// In whatever order patterns come, they are shown in that order, and compared in the other one.
    #[test]
    fn patterns_are_shown_as_they_were_given() {
        let mut rng = crate::testing::Rng::new();
        for _ in 0..200 {
            let (mut patterns, mut model) = (KeyPatterns::default(), Vec::<Vec<u8>>::new());
            for _ in 0..rng.below(20) {
                let text: Vec<u8> = (0..rng.below(4)).map(|_| b"ab*?"[rng.below(4)]).collect();
                patterns.add(&text);
                if !model.contains(&text) {
                    model.push(text);
                }
                assert!(patterns.iter().eq(&model));
                assert!(patterns.patterns.is_sorted_by_key(|pattern| !pattern.is_plain()));
                let key: Vec<u8> = (0..rng.below(4)).map(|_| b"abc"[rng.below(3)]).collect();
                let matched = model.iter().any(|text| stringmatchlen(text, &key, false));
                assert_eq!(patterns.any_matches(&key), matched);
            }
            patterns.clear();
            assert!(patterns.iter().next().is_none() && !patterns.any_matches(b"a"));
        }
    }

    #[test]
    fn the_number_of_a_user_is_its_own_until_it_is_removed() {
        let mut users = Users::default();
        let user = |name: &str| User { name: name.into(), ..User::default() };
        assert_eq!(users.insert(user("default")), Some(DefaultUser));
        let (b, a) = (users.insert(user("b")).unwrap(), users.insert(user("a")).unwrap());
        assert_eq!(users.insert(user("b")), None, "the name is taken");
        let names = |users: &Users| users.iter().map(|u| u.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&users), [&b"a"[..], b"b", b"default"]);
        users.remove(b);
        assert!(users.get(b).is_none() && users.find(b"b").is_none());
        assert_eq!((users.find(b"a"), users.len()), (Some(a), 2));
        assert_eq!(users.insert(user("c")), Some(b));
    }

    #[test]
    fn logging_in_changes_the_client_only_with_the_right_password() {
        let mut server = server();
        let c = server.clients.insert(Client::default());
        ACLUpdateDefaultUserPassword(&mut server, Some(b"pw"));
        let argv = crate::args::Argv::new(&["AUTH", "?"]);
        let auth = |server: &mut Server, pass: &[u8]| {
            ACLAuthenticateUser(server, c, &argv.as_args(), b"default", pass)
        };
        assert_eq!(auth(&mut server, b"no"), C_ERR);
        assert!(!server[c].authenticated && server[c].user.is_none());
        assert_eq!(auth(&mut server, b"pw"), C_OK);
        assert!(server[c].authenticated && server[c].user == Some(DefaultUser));
    }

    #[test]
    fn categories_have_names_and_flags_of_their_own() {
        assert_eq!(ACLGetCommandCategoryFlagByName(b"Connection"), CMD_CATEGORY_CONNECTION);
        assert_eq!(ACLGetCommandCategoryFlagByName(b"all"), 0);
        let all = ACLCommandCategories.iter().fold(0, |all, (_, flag)| {
            assert_eq!(all & flag, 0);
            all | flag
        });
        assert_eq!(all.count_ones() as usize, ACLCommandCategories.len());
    }
}
