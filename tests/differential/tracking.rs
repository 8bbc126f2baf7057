//! Client side caching: several clients on each server, some of which track keys in all the ways
//! there are, and what each of them is sent, in its order.
//!
//! After every step each client sends a PING with a word of its own, and everything it received up
//! to that word is compared.

use std::io;
use std::time::Duration;

use crate::peer::rng::Rng;
use crate::peer::wire::{Argv, Peer, Reply, shown, words};

/// Clients 0 to 2 and 4 speak RESP3. Client 5 is in Pub/Sub mode, client 6 never tracks.
const CLIENTS: usize = 7;
/// Those that only receive what others redirect to them, and one that tracks as well.
const TARGETS: [usize; 3] = [4, 5, 1];
const RESP3: [bool; CLIENTS] = [true, true, true, false, true, false, false];

/// One of the two servers.
struct Side {
    addr: String,
    clients: Vec<Peer>,
    /// The number of each client, by which others redirect to it.
    ids: Vec<i64>,
    /// Of all clients there ever were, with a name that is the same on both servers.
    names: Vec<(i64, String)>,
    admin: Peer,
}

impl Side {
    fn open(addr: &str) -> io::Result<Side> {
        let mut side = Side {
            addr: addr.to_string(),
            clients: vec![],
            ids: vec![],
            names: vec![],
            admin: Peer::open(addr)?,
        };
        side.admin.ask(&words("FLUSHALL"))?;
        side.admin.ask(&words("CONFIG SET tracking-table-max-keys 0"))?;
        for n in 0..CLIENTS {
            let (client, id) = side.client(n)?;
            side.clients.push(client);
            side.ids.push(id);
        }
        Ok(side)
    }

    /// A new connection that becomes client `n`, and its number.
    fn client(&mut self, n: usize) -> io::Result<(Peer, i64)> {
        let mut client = Peer::open(&self.addr)?;
        let id = client.ask(&words("CLIENT ID"))?.int().unwrap_or(0);
        self.names.push((id, format!("client {n}, number {}", self.names.len())));
        for line in beginning(n) {
            client.ask(&words(line))?;
        }
        Ok((client, id))
    }

    /// Sends commands; `#4` stands for the number of client 4.
    fn send(&mut self, n: usize, commands: &[Argv]) -> io::Result<()> {
        let mut commands = commands.to_vec();
        for arg in commands.iter_mut().flatten() {
            if let [b'#', digit] = arg[..] {
                *arg = self.ids[usize::from(digit - b'0')].to_string().into_bytes();
            }
        }
        self.clients[n].send(&commands)
    }

    /// What client `n` gets up to the reply to a PING with `word`.
    fn up_to(&mut self, n: usize, word: &str) -> io::Result<Vec<String>> {
        let mut got = vec![];
        loop {
            let reply = self.clients[n].reply()?;
            let is_push = reply.kind().0 == b'>';
            if !is_push && reply.leaves().last().is_some_and(|l| l == word.as_bytes()) {
                return Ok(got);
            }
            got.push(self.tell(&reply));
        }
    }

    /// A reply as text, with names in place of the numbers of clients, and without what differs
    /// from one connection to the next.
    fn tell(&self, reply: &Reply) -> String {
        if let Some(at) = memchr::memmem::find(reply.bytes(), b" flags=") {
            let line = String::from_utf8_lossy(&reply.bytes()[at..]).into_owned();
            let redir = line.split_whitespace().find_map(|f| f.strip_prefix("redir="));
            let redir = redir.and_then(|r| r.parse().ok()).unwrap_or(-2);
            let flags = line.split_whitespace().next().unwrap_or("");
            return format!("{flags} redir={}", self.name(redir));
        }
        if reply.items().first().is_some_and(|first| first.bytes() == b"server") {
            return "what HELLO says".to_string();
        }
        let about_clients = match reply.items() {
            [first, ..] => matches!(first.bytes(), b"tracking-redir-broken" | b"flags"),
            _ => false,
        };
        if !about_clients {
            return without_ttl(reply).to_string();
        }
        let number = |r: &Reply| match r.int() {
            Some(id) => self.name(id),
            None => r.to_string(),
        };
        reply.items().iter().map(number).collect::<Vec<_>>().join(" ")
    }

    fn name(&self, id: i64) -> String {
        let found = self.names.iter().find(|(known, _)| *known == id);
        found.map_or_else(|| id.to_string(), |(_, name)| name.clone())
    }
}

/// What client `n` sends first, and after a RESET.
fn beginning(n: usize) -> Vec<&'static str> {
    match (RESP3[n], n) {
        (true, _) => vec!["HELLO 3"],
        (false, 5) => vec!["SUBSCRIBE __redis__:invalidate"],
        (false, _) => vec![],
    }
}

pub struct Scenes {
    sides: [Side; 2],
    rng: Rng,
    /// The last commands, to be told in a report.
    history: Vec<String>,
    pub ops: u64,
    /// For ids of stream entries, and for words.
    counter: u64,
    /// Whether the last step has flushed.
    flushed: bool,
    /// The first difference.
    report: Option<String>,
}

/// Runs `ops` commands; what differed, if anything did.
pub fn run(ours: &str, theirs: &str, seed: u64, ops: u64) -> io::Result<Option<String>> {
    let sides = [Side::open(ours)?, Side::open(theirs)?];
    let mut s = Scenes {
        sides,
        rng: Rng::new(seed),
        history: vec![],
        ops: 0,
        counter: 0,
        flushed: false,
        report: None,
    };
    while s.ops < ops && s.report.is_none() {
        s.step()?;
        s.look()?;
    }
    Ok(s.report)
}

impl Scenes {
    fn send(&mut self, n: usize, lines: &[String]) -> io::Result<()> {
        let commands: Vec<Argv> = lines.iter().map(|line| split(line)).collect();
        for argv in &commands {
            self.history.push(format!("client {n}: {}", shown(argv)));
        }
        self.ops += commands.len() as u64;
        self.sides.iter_mut().try_for_each(|side| side.send(n, &commands))
    }

    /// Compares what all clients got since the last look.
    fn look(&mut self) -> io::Result<()> {
        self.counter += 1;
        let word = format!("word-{}", self.counter);
        let ping = words(&format!("PING {word}"));
        let mut got = [vec![], vec![]];
        // Each server has done everything when all clients have their first word. What it sends at
        // the end of a turn comes before the second one.
        for round in 0..2 {
            for (side, got) in self.sides.iter_mut().zip(&mut got) {
                for n in 0..CLIENTS {
                    side.send(n, std::slice::from_ref(&ping))?;
                }
                for n in 0..CLIENTS {
                    let more = side.up_to(n, &word)?;
                    if round == 0 {
                        got.push(more);
                    } else {
                        got[n].extend(more);
                    }
                }
            }
        }
        if std::mem::take(&mut self.flushed) {
            // The order of the clients is that of their list, which the cron turns round.
            got.iter_mut().flatten().for_each(|messages| messages.sort());
        }
        let [ours, theirs] = got;
        for n in 0..CLIENTS {
            // Several clients may redirect here. Those that follow the same prefix are told in the
            // order of their addresses in the C, and only NOLOOP makes their messages differ.
            let same = ours[n] == theirs[n]
                || TARGETS.contains(&n) && sorted(&ours[n]) == sorted(&theirs[n]);
            if !same && self.report.is_none() {
                let from = self.history.len().saturating_sub(60);
                self.report = Some(format!(
                    "  client {n} got\n  ours: {:#?}\n  peer: {:#?}\n  after\n    {}",
                    ours[n],
                    theirs[n],
                    self.history[from..].join("\n    ")
                ));
            }
        }
        Ok(())
    }

    /// A client that is not in Pub/Sub mode.
    fn someone(&mut self) -> usize {
        *self.rng.pick(&[0, 1, 2, 3, 4, 6, 6])
    }

    fn key(&mut self, kind: char) -> String {
        format!("{kind}{}", self.rng.below(12))
    }

    fn read(&mut self) -> String {
        let (k, h, l, s, z, x) = (
            self.key('k'),
            self.key('h'),
            self.key('l'),
            self.key('s'),
            self.key('z'),
            self.key('x'),
        );
        let other = self.key('k');
        match self.rng.below(17) {
            0..=3 => format!("GET {k}"),
            4 => format!("MGET {k} {other} {k}"),
            5 => format!("STRLEN {k}"),
            6 => format!("EXISTS {k} {h}"),
            7 => format!("TTL {k}"),
            8 => format!("HGETALL {h}"),
            9 => format!("LRANGE {l} 0 2"),
            10 => format!("SCARD {s}"),
            11 => format!("ZRANGE {z} 0 2"),
            12 => format!("XLEN {x}"),
            13 => format!("XREAD COUNT 1 STREAMS {x} {x}x 0 0"),
            14 => format!("GETRANGE {k} 0 3"),
            15 => format!("OBJECT ENCODING {k}"),
            _ => format!("ZUNION 2 {z} {z}"),
        }
    }

    fn write(&mut self) -> String {
        let (k, h, l, s, z, x) = (
            self.key('k'),
            self.key('h'),
            self.key('l'),
            self.key('s'),
            self.key('z'),
            self.key('x'),
        );
        let other = self.key('k');
        self.counter += 1;
        let n = self.counter;
        match self.rng.below(27) {
            0..=3 => format!("SET {k} {n}"),
            4 => format!("SETNX {k} {n}"),
            5 => format!("APPEND {k} 1"),
            6 => format!("INCR {k}"),
            7 => format!("DEL {k} {other} {l}"),
            8 => format!("UNLINK {h} {z}"),
            9 => format!("RENAME {k} {other}"),
            10 => format!("COPY {k} {other} REPLACE"),
            11 => format!("EXPIRE {k} 1000"),
            12 => format!("PERSIST {k}"),
            13 => format!("GETDEL {k}"),
            14 => format!("MSET {k} {n} {other} {n}"),
            15 => format!("HSET {h} f {n}"),
            16 => format!("LPUSH {l} {n}"),
            17 => format!("LPOP {l}"),
            18 => format!("SADD {s} 1 2"),
            19 => format!("SREM {s} 1"),
            20 => format!("ZADD {z} {n} m"),
            21 => format!("XADD {x} {n}-1 f v"),
            // Not SETBIT: 7.0 signals no change where the bit stays what it was.
            22 => format!("SETRANGE {k} 3 x"),
            23 => format!("SUNIONSTORE {s} {s} s1"),
            24 => format!("SORT {l} STORE {l}"),
            25 => format!("MOVE {k} 1"),
            _ => format!("GETEX {k} EX 1000"),
        }
    }

    fn script(&mut self) -> String {
        let (k, other) = (self.key('k'), self.key('k'));
        let text = *self.rng.pick(&[
            "return redis.call('get',KEYS[1])",
            "return {redis.call('get',KEYS[1]),redis.call('set',KEYS[1],'v')}",
            "redis.call('set',KEYS[1],'v');return redis.call('get',KEYS[2])",
            "redis.call('get',KEYS[1]);redis.call('set',KEYS[2],'v');redis.call('set',KEYS[1],'v')",
            "return redis.call('set',KEYS[1],'v')",
            "return redis.call('get','k1')",
            "return redis.call('exists',KEYS[1],KEYS[2])",
            "return 1",
        ]);
        format!("EVAL {} 2 {k} {other}", text.replace(' ', "\u{1}"))
    }

    fn command(&mut self) -> String {
        match self.rng.below(10) {
            0..=3 => self.read(),
            4..=8 => self.write(),
            _ => self.script(),
        }
    }

    fn tracking(&mut self) -> String {
        if self.rng.one_in(4) {
            return "CLIENT TRACKING off".to_string();
        }
        let mut line = "CLIENT TRACKING on".to_string();
        if self.rng.one_in(3) {
            line +=
                *self.rng.pick(&[" REDIRECT #4", " REDIRECT #5", " REDIRECT #1", " REDIRECT 0"]);
        }
        match self.rng.below(8) {
            0 | 1 => line += " BCAST",
            2 => line += " OPTIN",
            3 => line += " OPTOUT",
            4 => {
                line += " BCAST PREFIX ";
                line += *self.rng.pick(&["k1", "k", "h", "s", "k11", "nothing"]);
                if self.rng.one_in(2) {
                    line += " PREFIX ";
                    line += *self.rng.pick(&["z", "l", "k1", "k2"]);
                }
            }
            5 if self.rng.one_in(4) => {
                line += *self.rng.pick(&[
                    " OPTIN OPTOUT",
                    " BCAST OPTIN",
                    " PREFIX k",
                    " WHAT",
                    " REDIRECT x",
                    " REDIRECT #4 REDIRECT #5",
                    " PREFIX",
                ]);
            }
            _ => {}
        }
        if self.rng.one_in(3) {
            line += " NOLOOP";
        }
        line
    }

    fn step(&mut self) -> io::Result<()> {
        let n = self.someone();
        let tracker = self.rng.below(4);
        match self.rng.below(1000) {
            0..=39 => {
                let lines = if self.rng.one_in(3) {
                    vec!["CLIENT TRACKING off".to_string(), self.tracking()]
                } else {
                    vec![self.tracking()]
                };
                self.send(tracker, &lines)
            }
            40..=59 => {
                let caching = *self.rng.pick(&[
                    "CLIENT CACHING yes",
                    "CLIENT CACHING no",
                    "CLIENT CACHING x",
                ]);
                let lines = [caching.to_string(), self.read(), self.read()];
                self.send(tracker, &lines)
            }
            60..=79 => {
                let mut lines = vec![];
                if self.rng.one_in(2) {
                    lines.push("CLIENT CACHING yes".to_string());
                }
                lines.push("MULTI".to_string());
                for _ in 0..self.rng.below(6) {
                    lines.push(self.command());
                }
                lines.push(self.rng.pick(&["EXEC", "EXEC", "EXEC", "DISCARD"]).to_string());
                self.send(n, &lines)
            }
            80..=94 => self.send(n, &["CLIENT TRACKINGINFO".into()]),
            95..=99 => self.send(tracker, &["CLIENT INFO".into()]),
            100..=102 => {
                let line = *self.rng.pick(&["FLUSHALL", "FLUSHDB", "FLUSHALL ASYNC", "SWAPDB 0 1"]);
                self.flushed = true;
                self.send(n, &[line.into()])
            }
            103..=106 => {
                let mut lines = vec!["RESET".to_string()];
                lines.extend(beginning(n).iter().map(|l| l.to_string()));
                self.send(n, &lines)
            }
            107..=110 => {
                let n = if self.rng.one_in(2) { tracker } else { *self.rng.pick(&TARGETS[..2]) };
                self.reconnect(n)
            }
            111..=116 => {
                let lines = if self.rng.one_in(2) {
                    vec!["CLIENT REPLY OFF".to_string(), self.command(), "CLIENT REPLY ON".into()]
                } else {
                    vec!["CLIENT REPLY SKIP".to_string(), self.command()]
                };
                self.send(n, &lines)
            }
            117..=120 => self.expire(),
            121..=124 => self.block(tracker),
            _ => {
                let more = self.rng.below(4);
                let lines: Vec<String> = (0..1 + more).map(|_| self.command()).collect();
                self.send(n, &lines)
            }
        }
    }

    /// A client hangs up, and both servers have seen it before another takes its place.
    fn reconnect(&mut self, n: usize) -> io::Result<()> {
        self.history.push(format!("client {n} goes"));
        for side in &mut self.sides {
            let old = side.ids[n];
            let (client, id) = side.client(n)?;
            side.clients[n] = client;
            side.ids[n] = id;
            let list = words(&format!("CLIENT LIST ID {old}"));
            for _ in 0..10_000 {
                if side.admin.ask(&list)?.bytes().is_empty() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    /// A key gets a moment to live, and goes when that is over: because somebody asks for it, or by
    /// the cycle that looks for such keys. It must not go before everybody has the messages about
    /// what came before, however long that takes: they might be one message with those about its
    /// end. So the cycle rests until then, and nobody asks for the key.
    fn expire(&mut self) -> io::Result<()> {
        let key = self.key('k');
        let n = self.rng.below(4);
        let by_the_cycle = self.rng.one_in(2);
        for side in &mut self.sides {
            side.admin.ask(&words("DEBUG SET-ACTIVE-EXPIRE 0"))?;
        }
        let lines = [format!("SET {key} 1"), format!("GET {key}"), format!("PEXPIRE {key} 1")];
        self.send(n, &lines)?;
        self.look()?;
        let expired = words("INFO stats");
        let exists = words(&format!("EXISTS {key}"));
        for side in &mut self.sides {
            let before = expired_keys(&side.admin.ask(&expired)?);
            if by_the_cycle {
                side.admin.ask(&words("DEBUG SET-ACTIVE-EXPIRE 1"))?;
            }
            for _ in 0..10_000 {
                let gone = match by_the_cycle {
                    true => expired_keys(&side.admin.ask(&expired)?) != before,
                    false => side.admin.ask(&exists)?.int() == Some(0),
                };
                if gone {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            side.admin.ask(&words("DEBUG SET-ACTIVE-EXPIRE 1"))?;
        }
        Ok(())
    }

    /// A client waits for a list that another fills.
    fn block(&mut self, waiter: usize) -> io::Result<()> {
        let (list, target) = (self.key('l'), self.key('l'));
        let wait = if self.rng.one_in(2) {
            format!("BLPOP {list} 0")
        } else {
            format!("BLMOVE {list} {target} LEFT RIGHT 0")
        };
        self.send(waiter, &[format!("LLEN {list}"), format!("LLEN {target}")])?;
        self.look()?;
        // With a list that is not there it waits.
        self.send(6, &[format!("DEL {list} {target}")])?;
        self.look()?;
        self.send(waiter, &[wait])?;
        let info = words("INFO clients");
        for side in &mut self.sides {
            for _ in 0..1000 {
                let info = side.admin.ask(&info)?;
                if memchr::memmem::find(info.bytes(), b"blocked_clients:1").is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        self.send(6, &[format!("RPUSH {list} a b")])
    }
}

/// How many keys have expired, by INFO.
fn expired_keys(info: &Reply) -> Option<String> {
    let info = String::from_utf8_lossy(info.bytes()).into_owned();
    info.lines().find_map(|line| line.strip_prefix("expired_keys:")).map(str::to_string)
}

/// A reply, alone or in that of EXEC, in which what TTL says of a key that got a thousand seconds is
/// the same for a while: between its command and ours the second may be over.
fn without_ttl(reply: &Reply) -> Reply {
    match reply {
        Reply::Many(kind, Some(items)) => {
            Reply::Many(*kind, Some(items.iter().map(without_ttl).collect()))
        }
        _ if reply.int().is_some_and(|n| (900..=1000).contains(&n)) => {
            Reply::Line(b':', b"1000".to_vec())
        }
        _ => reply.clone(),
    }
}

/// A command from words; in scripts another byte stands for a space.
fn split(line: &str) -> Argv {
    let mut argv = words(line);
    for byte in argv.iter_mut().flatten().filter(|byte| **byte == 1) {
        *byte = b' ';
    }
    argv
}

fn sorted(messages: &[String]) -> Vec<&String> {
    let mut sorted: Vec<&String> = messages.iter().collect();
    sorted.sort();
    sorted
}
