//! Two servers that get the same commands, and the comparison of what they answer.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use crate::compare::{how, same, sorted};
use crate::peer::known::Known;
use crate::peer::wire::{Argv, Peer, Reply, quoted, shown, words};
use crate::scripts::told;

/// Commands that are sent before the first reply is read.
const BATCH: usize = 128;
/// Commands kept to tell what happened to a key.
const HISTORY: usize = 50_000;

/// What the stream changes, with the values of 6.2.
const SETTINGS: [(&str, u32); 9] = [
    ("hash-max-ziplist-entries", 512),
    ("hash-max-ziplist-value", 64),
    ("zset-max-ziplist-entries", 128),
    ("zset-max-ziplist-value", 64),
    ("set-max-intset-entries", 512),
    ("list-max-ziplist-size", 128),
    ("stream-node-max-entries", 100),
    ("stream-node-max-bytes", 4096),
    ("hll-sparse-max-bytes", 3000),
];

/// One of the two servers.
pub struct Side {
    /// Where the stream goes.
    pub main: Peer,
    /// Where the state is looked at; RESP2.
    pub admin: Peer,
    /// A second client, that blocks and subscribes.
    pub waiter: Peer,
    /// The id of `waiter`.
    pub waiter_id: Reply,
    pub version: String,
}

impl Side {
    pub fn open(addr: &str, resp: u8) -> io::Result<Side> {
        let (mut main, mut admin, mut waiter) =
            (Peer::open(addr)?, Peer::open(addr)?, Peer::open(addr)?);
        if resp == 3 {
            main.ask(&words("HELLO 3"))?;
            waiter.ask(&words("HELLO 3"))?;
        }
        let waiter_id = waiter.ask(&words("CLIENT ID"))?;
        let info = admin.ask(&words("INFO server"))?;
        let info = String::from_utf8_lossy(info.bytes()).into_owned();
        let version = info.lines().find_map(|l| l.strip_prefix("redis_version:")).unwrap_or("");
        Ok(Side { main, admin, waiter, waiter_id, version: version.trim().to_string() })
    }
}

/// Why a run stops, or goes on with an empty data set.
pub enum Trouble {
    Difference(String),
    Io(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(e: io::Error) -> Trouble {
        Trouble::Io(e)
    }
}

pub type Outcome = Result<(), Trouble>;

pub struct Session {
    pub ours: Side,
    pub theirs: Side,
    pub resp: u8,
    pub known: Known,
    /// Commands compared so far.
    pub ops: u64,
    batch: Vec<Argv>,
    /// What EXEC will answer: a reply for each of these.
    queued: Vec<Argv>,
    history: VecDeque<(u64, Argv)>,
}

impl Session {
    pub fn open(ours: &str, theirs: &str, resp: u8) -> io::Result<Session> {
        let (ours, theirs) = (Side::open(ours, resp)?, Side::open(theirs, resp)?);
        let known = Known::new(&theirs.version);
        let history = VecDeque::with_capacity(HISTORY);
        Ok(Session { ours, theirs, resp, known, ops: 0, batch: vec![], queued: vec![], history })
    }

    /// Queues a command for the next `flush`.
    pub fn push(&mut self, argv: Argv) -> Outcome {
        if argv[0].eq_ignore_ascii_case(b"SORT") {
            // C: SORT takes an errno that an earlier command left for an error of its own; this one
            // clears it.
            self.batch.push(words("GEORADIUS_RO no-such-key 0 0 1 m"));
        }
        self.batch.push(argv);
        if self.batch.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    /// Sends what is queued, and compares the replies.
    pub fn flush(&mut self) -> Outcome {
        let batch = std::mem::take(&mut self.batch);
        self.ours.main.send(&batch)?;
        self.theirs.main.send(&batch)?;
        let mut replies = Vec::with_capacity(batch.len());
        for argv in &batch {
            // The reply is read before anything is judged: after a difference the stream goes on.
            let ours = self.ours.main.reply().map_err(|e| self.lost("ours", argv, e))?;
            let theirs = self.theirs.main.reply().map_err(|e| self.lost("the peer", argv, e))?;
            replies.push((ours, theirs));
        }
        let mut outcome = Ok(());
        for (argv, (ours, theirs)) in batch.into_iter().zip(replies) {
            self.note(&argv);
            let verdict = self.judge(&argv, &ours, &theirs);
            outcome = outcome.and(verdict);
        }
        outcome
    }

    /// Sends one command at once, and gives back both replies unjudged.
    pub fn both(&mut self, argv: &Argv) -> Result<(Reply, Reply), Trouble> {
        self.flush()?;
        self.note(argv);
        self.ours.main.send([argv])?;
        self.theirs.main.send([argv])?;
        let ours = self.ours.main.reply().map_err(|e| self.lost("ours", argv, e))?;
        let theirs = self.theirs.main.reply().map_err(|e| self.lost("the peer", argv, e))?;
        Ok((ours, theirs))
    }

    /// Sends one command at once, and compares.
    pub fn check(&mut self, argv: &Argv) -> Outcome {
        let (ours, theirs) = self.both(argv)?;
        self.judge(argv, &ours, &theirs)
    }

    /// Compares two replies to a command.
    pub fn judge(&mut self, argv: &Argv, ours: &Reply, theirs: &Reply) -> Outcome {
        if ours.bytes() == b"QUEUED" && theirs.bytes() == b"QUEUED" {
            self.queued.push(argv.clone());
            return Ok(());
        }
        let fits = if argv[0].eq_ignore_ascii_case(b"EXEC") {
            let queued = std::mem::take(&mut self.queued);
            let (a, b) = (ours.items(), theirs.items());
            if a.len() == queued.len() && b.len() == queued.len() && ours.kind() == theirs.kind() {
                queued
                    .iter()
                    .zip(a.iter().zip(b))
                    .all(|(q, (a, b))| same(how(q), a, b) || self.known.excuses(q, a, b))
                    && (!queued.is_empty() || ours == theirs)
            } else {
                ours == theirs
            }
        } else {
            if argv[0].eq_ignore_ascii_case(b"DISCARD") {
                self.queued.clear();
            }
            same(how(argv), ours, theirs) || self.known.excuses(argv, ours, theirs)
        };
        if fits {
            Ok(())
        } else {
            Err(self.difference(argv, &ours.to_string(), &theirs.to_string()))
        }
    }

    /// A report: the command, what each said, and what happened to its keys before.
    pub fn difference(&self, argv: &[Vec<u8>], ours: &str, theirs: &str) -> Trouble {
        let mut text = format!(
            "  op {}: {}\n  how:  {:?}\n  ours: {ours}\n  peer: {theirs}\n  before that, on its keys:\n",
            self.ops,
            shown(argv),
            how(&argv.to_vec()),
        );
        if argv[0] == b"EVAL" {
            text += &format!("  script:\n{}\n", String::from_utf8_lossy(&argv[1]));
        }
        let keys: Vec<&Vec<u8>> = argv.iter().filter(|a| crate::peer::values::is_key(a)).collect();
        let about = |old: &Argv| {
            old.iter().any(|a| keys.contains(&a))
                || matches!(&old[0].to_ascii_uppercase()[..], b"FLUSHALL" | b"SWAPDB")
        };
        let before: Vec<String> = self
            .history
            .iter()
            .rev()
            .filter(|(_, old)| about(old))
            .take(400)
            .map(|(n, old)| format!("    {n}: {}\n", told(old)))
            .collect();
        text.extend(before.into_iter().rev());
        Trouble::Difference(text)
    }

    fn lost(&self, who: &str, argv: &Argv, e: io::Error) -> Trouble {
        let Trouble::Difference(text) = self.difference(argv, "", "") else { unreachable!() };
        Trouble::Io(io::Error::new(e.kind(), format!("{who}: {e}\n{text}")))
    }

    fn note(&mut self, argv: &Argv) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.ops += 1;
        self.history.push_back((self.ops, argv.clone()));
    }

    /// At the start and after a difference: both begin with nothing, and with the same settings.
    pub fn start_over(&mut self) -> io::Result<()> {
        self.batch.clear();
        self.queued.clear();
        for side in [&mut self.ours, &mut self.theirs] {
            side.main.ask(&words("DISCARD"))?;
            side.main.ask(&words("UNWATCH"))?;
            side.main.ask(&words("FLUSHALL"))?;
            for (name, value) in SETTINGS {
                side.main.ask(&words(&format!("CONFIG SET {name} {value}")))?;
            }
            if self.known.same_script_errors() {
                side.main.ask(&words("CONFIG SET lua-replicate-commands yes"))?;
            }
        }
        Ok(())
    }

    /// Gives a key the same value on both, after a command that chose at random: our value, without
    /// a time of expiry.
    pub fn align(&mut self, key: &[u8]) -> Outcome {
        let dump = [b"DUMP".to_vec(), key.to_vec()].to_vec();
        let payload = self.ours.main.ask(&dump)?;
        let argv = match payload {
            Reply::Bulk(_, Some(payload)) => {
                vec![b"RESTORE".to_vec(), key.to_vec(), b"0".to_vec(), payload, b"REPLACE".to_vec()]
            }
            _ => vec![b"DEL".to_vec(), key.to_vec()],
        };
        self.check(&argv)
    }

    /// What a draw answers: the same number of items, all of them from the pool, and what was
    /// popped is gone.
    pub fn draw(&mut self, argv: &Argv) -> Outcome {
        let key = argv.get(1).cloned().unwrap_or_default();
        let name = argv[0].to_ascii_uppercase();
        let all: Argv = match &name[..] {
            b"SPOP" | b"SRANDMEMBER" => vec![b"SMEMBERS".to_vec(), key.clone()],
            b"HRANDFIELD" => vec![b"HGETALL".to_vec(), key.clone()],
            b"ZRANDMEMBER" => {
                let mut argv = words("ZRANGE key 0 -1 WITHSCORES");
                argv[1] = key.clone();
                argv
            }
            b"RANDOMKEY" => words("KEYS *"),
            _ => vec![b"EXISTS".to_vec(), key.clone()],
        };
        let (before, _) = self.both(&all)?;
        let (ours, theirs) = self.both(argv)?;
        if ours == theirs || ours.is_error() || theirs.is_error() {
            self.judge(argv, &ours, &theirs)?;
            if ours.is_error() {
                return Ok(());
            }
        }
        let mut fits = ours.kind() == theirs.kind() && ours.items().len() == theirs.items().len();
        if name != b"XADD" {
            let pool = before.leaves();
            fits &= ours.leaves().len() == theirs.leaves().len();
            fits &= [&ours, &theirs].iter().all(|r| r.leaves().iter().all(|l| pool.contains(l)));
            if name == b"SPOP" {
                let (left, _) = self.both(&all)?;
                let mut whole = ours.leaves();
                whole.extend(left.leaves());
                fits &= sorted(whole) == sorted(pool);
            }
        }
        if !fits {
            return Err(self.difference(argv, &ours.to_string(), &theirs.to_string()));
        }
        match &name[..] {
            b"SPOP" => self.align(&key),
            // Its id is of today: nothing could be added behind it.
            b"XADD" => self.check(&vec![b"DEL".to_vec(), key]),
            _ => Ok(()),
        }
    }

    /// A whole iteration on each; what they saw is compared, not the cursors.
    pub fn scan(&mut self, argv: &Argv) -> Outcome {
        let at = if argv[0].eq_ignore_ascii_case(b"SCAN") { 1 } else { 2 };
        let (ours, theirs) = self.both(argv)?;
        if ours.is_error() || theirs.is_error() {
            return self.judge(argv, &ours, &theirs);
        }
        let pairs = if argv[0].to_ascii_uppercase()[0] == b'S' { 1 } else { 2 };
        let mut seen = [vec![], vec![]];
        for (n, mut reply) in [ours, theirs].into_iter().enumerate() {
            while let [cursor, items] = reply.items() {
                let elements = items.items().chunks(pairs);
                seen[n].extend(elements.map(|e| self.known.scanned(argv, e.to_vec())));
                if cursor.bytes() == b"0" {
                    break;
                }
                let mut argv = argv.clone();
                argv[at] = cursor.bytes().to_vec();
                let side = if n == 0 { &mut self.ours } else { &mut self.theirs };
                reply = side.main.ask(&argv)?;
            }
            seen[n].sort();
            seen[n].dedup();
        }
        if seen[0] == seen[1] {
            return Ok(());
        }
        let text =
            |v: &[Vec<Reply>]| v.concat().iter().map(|r| r.to_string() + " ").collect::<String>();
        Err(self.difference(argv, &text(&seen[0]), &text(&seen[1])))
    }

    /// A SORT whose result depends on the order of the elements: compared unless they come out of a
    /// hash table. If they are sorted by nothing but themselves, it does so only where one has a
    /// NUL.
    pub fn sort(&mut self, argv: Argv) -> Outcome {
        self.flush()?;
        let key = &argv[1];
        let elements = match self.ours.main.ask(&vec![b"TYPE".to_vec(), key.clone()])?.bytes() {
            b"set" => vec![b"SMEMBERS".to_vec(), key.clone()],
            b"zset" => [&[b"ZRANGE".to_vec(), key.clone()][..], &words("0 -1")].concat(),
            _ => return self.push(argv),
        };
        if argv.iter().any(|a| a.eq_ignore_ascii_case(b"BY"))
            || self.ours.main.ask(&elements)?.leaves().iter().any(|e| e.contains(&0))
        {
            return Ok(());
        }
        self.push(argv)
    }

    /// A client waits for a key; another one feeds it, or somebody ends the waiting.
    pub fn block(&mut self, wait: &Argv, feed: &Argv, how_to_end: &str) -> Outcome {
        self.check(&words("SELECT 0"))?;
        self.note(wait);
        self.ours.waiter.send([wait])?;
        self.theirs.waiter.send([wait])?;
        for side in [&mut self.ours, &mut self.theirs] {
            // It blocks, or it has its reply at once.
            while !side.waiter.has_more()? {
                let info = side.admin.ask(&words("INFO clients"))?;
                if memchr::memmem::find(info.bytes(), b"blocked_clients:1").is_some() {
                    break;
                }
            }
        }
        let fed = self.check(feed);
        let id = |side: &Side| {
            let mut argv = words("CLIENT UNBLOCK");
            argv.push(side.waiter_id.bytes().to_vec());
            argv.push(how_to_end.as_bytes().to_vec());
            argv
        };
        let (a, b) = (id(&self.ours), id(&self.theirs));
        let ended = (self.ours.main.ask(&a)?, self.theirs.main.ask(&b)?);
        let got = (self.ours.waiter.reply()?, self.theirs.waiter.reply()?);
        fed?;
        self.judge(wait, &got.0, &got.1)?;
        self.judge(&a, &ended.0, &ended.1)
    }

    /// What was denied, to whom, and why; and who may do what.
    pub fn acl_log(&mut self) -> Outcome {
        let log = words("ACL LOG");
        let (ours, theirs) = self.both(&log)?;
        // The first five pairs. The others speak of times and addresses.
        let said = |reply: &Reply| -> Vec<Vec<Reply>> {
            let entry = |e: &Reply| e.items().iter().take(10).cloned().collect();
            reply.items().iter().map(entry).collect()
        };
        if self.known.same_acl() && said(&ours) != said(&theirs) {
            return Err(self.difference(&log, &ours.to_string(), &theirs.to_string()));
        }
        self.push(words("ACL LOG RESET"))
    }

    /// A client subscribes, is told, and unsubscribes; it ends with ECHO of `end`.
    pub fn subscribe(&mut self, commands: &[Argv], end: &[u8]) -> Outcome {
        let mut said = [vec![], vec![]];
        for (n, side) in [&mut self.ours, &mut self.theirs].into_iter().enumerate() {
            side.waiter.send(commands)?;
            loop {
                let reply = side.waiter.reply()?;
                if reply.bytes() == end {
                    break;
                }
                said[n].push(reply);
            }
        }
        self.ops += commands.len() as u64;
        let [a, b] = &said;
        let all: Argv = commands.concat();
        if a.len() == b.len()
            && a.iter().zip(b).all(|(a, b)| a == b || self.known.excuses(&all, a, b))
        {
            return Ok(());
        }
        let text = |v: &[Reply]| v.iter().map(|r| format!("{r}\n        ")).collect::<String>();
        Err(self.difference(&all, &text(a), &text(b)))
    }

    /// A key gets a millisecond to live, and is gone on both.
    pub fn expire(&mut self, key: &[u8]) -> Outcome {
        let key = key.to_vec();
        self.check(&vec![b"PEXPIRE".to_vec(), key.clone(), b"1".to_vec()])?;
        let exists = vec![b"EXISTS".to_vec(), key.clone()];
        for _ in 0..1000 {
            let (a, b) = self.both(&exists)?;
            if a.bytes() == b"0" && b.bytes() == b"0" {
                return self.check(&vec![b"TYPE".to_vec(), key]);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(self.difference(&exists, "it should be gone", &quoted(&key)))
    }
}
