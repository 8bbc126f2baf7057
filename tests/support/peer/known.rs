//! The known differences: what the peer does otherwise although both are right, each with its
//! reason.

use super::wire::{Argv, Reply};

/// What stands between us and a peer of this version.
pub struct Known {
    major: u32,
    minor: u32,
}

/// 7.0 says the same in other words: when our error holds the first text and the peer's the second.
const REWORDED: &[(&str, &str)] = &[
    // Other quotes, or quotes at all.
    ("unknown command `", "unknown command '"),
    ("invalid expire time in ", "invalid expire time in '"),
    ("at least 1 input key is needed for ", "at least 1 input key is needed for '"),
    ("wrong number of arguments for XADD", "wrong number of arguments for 'xadd'"),
    ("wrong number of arguments for MSET", "wrong number of arguments for 'mset"),
    // Units in capitals, WITHCOORD spelt right, more to say.
    ("unsupported unit provided", "unsupported unit provided"),
    ("STORE option in GEORADIUS is not", "STORE option in GEORADIUS is not"),
    ("RANK can't be zero", "RANK can't be zero"),
    ("value is not an integer or out of range", "value is out of range, must be positive"),
    // Without the subcommand.
    ("no permissions to run the '", "no permissions to run the '"),
    // Sharded channels.
    ("only (P)SUBSCRIBE", "only (P|S)SUBSCRIBE"),
];

/// Commands with subcommands. 7.0 knows subcommands as it knows commands: their names and arities
/// are looked at before anything else, with other errors, and already when they are queued in a
/// transaction.
const CONTAINERS: &[&[u8]] = &[
    b"CLIENT", b"CONFIG", b"DEBUG", b"LATENCY", b"MEMORY", b"OBJECT", b"PFDEBUG", b"PUBSUB",
    b"SLOWLOG", b"XGROUP", b"XINFO", b"XSETID",
];

/// Whether this is an XREAD or XREADGROUP whose streams and ids do not come in pairs. 6.2 finds no
/// keys in it, so the command itself says what is wrong; 7.0 has the keys of the first half, and
/// answers a user who may not read them before it looks at the syntax.
fn reads_half_a_stream(argv: &Argv) -> bool {
    let is = |arg: &Vec<u8>, word: &[u8]| arg.eq_ignore_ascii_case(word);
    (is(&argv[0], b"XREAD") || is(&argv[0], b"XREADGROUP"))
        && argv
            .iter()
            .position(|a| is(a, b"STREAMS"))
            .is_some_and(|at| (argv.len() - at).is_multiple_of(2))
}

impl Known {
    /// For a peer that says it is version `version`.
    pub fn new(version: &str) -> Known {
        let mut numbers = version.split('.').map(|n| n.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Known { major: next(), minor: next() }
    }

    /// Whether DUMP gives the same bytes: the format is another one since 7.0.
    pub fn same_dumps(&self) -> bool {
        self.major == 6
    }

    /// Whether the log of what was denied is the same: 7.0 has subcommands in it.
    pub fn same_acl(&self) -> bool {
        self.major == 6
    }

    /// Whether these encodings may stand for one another: 7.0 has listpacks for ziplists, and looks
    /// at other moments whether a hash or a sorted set has become too big for one.
    pub fn same_encoding(&self, ours: &[u8], theirs: &[u8]) -> bool {
        const OURS: &[&[u8]] = &[b"ziplist", b"hashtable", b"skiplist"];
        const THEIRS: &[&[u8]] = &[b"listpack", b"hashtable", b"skiplist"];
        ours == theirs || self.major > 6 && OURS.contains(&ours) && THEIRS.contains(&theirs)
    }

    /// Whether the errors of scripts have the same words and the same form: they are tables since
    /// 7.0.
    pub fn same_script_errors(&self) -> bool {
        self.major == 6
    }

    fn loses_auth_errors(&self) -> bool {
        matches!((self.major, self.minor), (7, 2..) | (8, _))
    }

    /// Whether a command may not be queued in a transaction.
    pub fn avoids_in_transaction(&self, argv: &Argv) -> bool {
        self.major > 6
            && (CONTAINERS.contains(&&argv[0].to_ascii_uppercase()[..])
                || reads_half_a_stream(argv))
    }

    /// Whether a command is not sent: the peer's answer has another form, or the command would
    /// leave another state.
    pub fn avoids(&self, argv: &Argv) -> bool {
        let upper: Vec<Vec<u8>> = argv.iter().map(|a| a.to_ascii_uppercase()).collect();
        // Ours takes the destination that SORT takes, as the published fix does; the C what stands
        // after its last STORE.
        if upper[0] == b"COMMAND" && upper.windows(2).any(|w| w[0] == b"STORE" && w[1] == b"STORE")
        {
            return true;
        }
        if self.major == 6 {
            return false;
        }
        let has = |word: &[u8]| upper.iter().any(|a| a == word);
        let second: &[u8] = upper.get(1).map_or(b"", |a| a);
        match (&upper[0][..], second) {
            // The help texts grew.
            (_, b"HELP") => true,
            // From 7.2 to 8.x a wrong password has no reply if that of another command waits to be sent.
            (b"AUTH", _) => self.loses_auth_errors(),
            (b"HELLO", _) => has(b"AUTH") && self.loses_auth_errors(),
            // LCS took its place.
            (b"STRALGO", _) => true,
            // Key specifications and subcommands were added.
            (b"COMMAND", _) => true,
            // Fields were added; the encodings have other names and sizes.
            (b"XINFO", b"STREAM" | b"GROUPS") | (b"DEBUG", b"OBJECT") => true,
            // The format is another one.
            (b"DUMP", _) => true,
            // Another poem.
            (b"LOLWUT", _) => true,
            // More arguments are taken.
            (b"CONFIG", b"SET") => argv.len() > 4,
            (b"CONFIG", b"GET")
            | (b"XSETID" | b"EXPIRE" | b"PEXPIRE" | b"EXPIREAT" | b"PEXPIREAT", _) => {
                argv.len() > 3
            }
            // A count below zero is an error, and the type is looked at before a count of zero.
            (b"ZPOPMIN" | b"ZPOPMAX", _) => {
                argv.get(2).is_some_and(|n| n.starts_with(b"-") || n == b"0")
            }
            // Who publishes to itself gets the message behind the reply, not before it.
            (b"PUBLISH", b"A") => true,
            // It also lists the entries that are no more, and drops them from the pending ones.
            (b"XAUTOCLAIM" | b"XCLAIM", _) => true,
            // NX and GET go together now.
            (b"SET", _) => has(b"NX") && has(b"GET"),
            // The smallest number is refused.
            (b"DECRBY", _) => has(b"-9223372036854775808"),
            // A listpack holds no -0.
            (b"ZADD" | b"ZINCRBY", _) => argv.iter().any(|a| a.starts_with(b"-0")),
            (b"ZUNIONSTORE" | b"ZINTERSTORE" | b"ZUNION" | b"ZINTER", _) => upper
                .iter()
                .skip_while(|a| *a != b"WEIGHTS")
                .skip(1)
                .take_while(|a| *a != b"AGGREGATE" && *a != b"WITHSCORES")
                .any(|w| !matches!(w.first(), Some(b'1'..=b'9')) || w.contains(&b'E')),
            // The unit can be given.
            (b"BITCOUNT", _) => argv.len() > 4,
            (b"BITPOS", _) => argv.len() > 5,
            // What was read can be told.
            (b"XGROUP", b"CREATE") => argv.len() > 6,
            // It is told when the stream goes away.
            (b"XREADGROUP", _) => has(b"BLOCK"),
            // "5-*" leaves the sequence to the server.
            (b"XADD", _) => argv.iter().any(|a| a.ends_with(b"-*")),
            _ => false,
        }
    }

    /// An element of a SCAN reply as it is compared: 7.0 has whole scores as integers in a
    /// listpack, and so writes them with all their digits where 6.2 writes a power of ten.
    pub fn scanned(&self, argv: &Argv, mut element: Vec<Reply>) -> Vec<Reply> {
        if self.major > 6
            && argv[0].eq_ignore_ascii_case(b"ZSCAN")
            && let [_, Reply::Bulk(_, Some(score))] = &mut element[..]
            && let Ok(number) = String::from_utf8_lossy(score).parse::<f64>()
        {
            *score = number.to_string().into_bytes();
        }
        element
    }

    /// Whether these replies may differ.
    pub fn excuses(&self, argv: &Argv, ours: &Reply, theirs: &Reply) -> bool {
        let holds =
            |r: &Reply, text: &str| memchr::memmem::find(r.bytes(), text.as_bytes()).is_some();
        if argv[0].eq_ignore_ascii_case(b"OBJECT") && !ours.is_error() && !theirs.is_error() {
            return self.same_encoding(ours.bytes(), theirs.bytes());
        }
        let is_script = argv[0].eq_ignore_ascii_case(b"EVAL") || argv[0] == b"EVALSHA";
        self.major > 6
            && ours.is_error()
            && theirs.is_error()
            && (is_script
                || reads_half_a_stream(argv) && theirs.bytes().starts_with(b"NOPERM")
                || CONTAINERS.contains(&&argv[0].to_ascii_uppercase()[..])
                || REWORDED.iter().any(|(a, b)| holds(ours, a) && holds(theirs, b)))
    }
}
