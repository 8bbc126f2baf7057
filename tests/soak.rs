//! A tree of four servers under load, and what happens to such trees: links that are cut, held up
//! or broken in the middle of a payload, servers that are stopped, killed, restarted, promoted. At
//! every rest all of them hold the same.
//!
//! With `FIDELIS_LONG` it takes thirty minutes (`FIDELIS_SOAK_MINUTES` says otherwise), and else a
//! few rounds. `FIDELIS_SEED` repeats the choices; what the servers are doing meanwhile is theirs.
#![allow(clippy::disallowed_methods)] // writers and proxies run beside the test

#[path = "support/peer/mod.rs"]
mod peer;
#[path = "support/random.rs"]
mod random;
mod support;

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use peer::values::{Gen, is_harmful, is_unordered_sort};
use peer::wire::{Argv, words};
use random::{Random, long};
use support::*;

/// The servers: at first a master, two replicas of it, and one of the first of these.
const NODES: usize = 4;
/// Rounds of the short form.
const ROUNDS: usize = 6;
/// A value that does not compress, by which the payload of a full sync has a size.
const BALLAST: usize = 20_000;
const BALLAST_KEYS: usize = 60;

// -----------------------------------------------------------------------------
// The way to a server
// -----------------------------------------------------------------------------

/// A proxy in front of a server: replicas connect by it, and it fails as networks do.
struct Way {
    port: u16,
    weather: Arc<Weather>,
}

struct Weather {
    /// Connections of an earlier epoch are cut.
    epoch: AtomicU64,
    /// Nothing passes in either direction, and nobody is told.
    held: AtomicBool,
    /// Bytes from the server to the replica after which a new connection is cut.
    limit: AtomicU64,
    over: AtomicBool,
}

impl Way {
    fn to(target: u16) -> Way {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let weather = Arc::new(Weather {
            epoch: AtomicU64::new(0),
            held: AtomicBool::new(false),
            limit: AtomicU64::new(u64::MAX),
            over: AtomicBool::new(false),
        });
        let w = weather.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                if w.over.load(Relaxed) {
                    return;
                }
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", target)))
                else {
                    continue;
                };
                let limit = w.limit.load(Relaxed);
                let (Ok(c2), Ok(s2)) = (client.try_clone(), server.try_clone()) else { continue };
                let (there, back) = (w.clone(), w.clone());
                thread::spawn(move || there.carry(client, server, u64::MAX));
                thread::spawn(move || back.carry(s2, c2, limit));
            }
        });
        Way { port, weather }
    }

    fn cut(&self) {
        self.weather.epoch.fetch_add(1, Relaxed);
    }

    fn clear(&self) {
        self.weather.limit.store(u64::MAX, Relaxed);
        self.weather.held.store(false, Relaxed);
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.weather.over.store(true, Relaxed);
        self.cut();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Weather {
    /// Copies until the end, the limit or the cut; then closes both.
    fn carry(&self, mut from: TcpStream, mut to: TcpStream, mut limit: u64) {
        let tick = Some(Duration::from_millis(50));
        let _ = from.set_read_timeout(tick);
        let _ = to.set_write_timeout(tick);
        let epoch = self.epoch.load(Relaxed);
        let mut buf = [0; 1 << 14];
        let (mut start, mut end) = (0, 0);
        while limit > 0 && self.epoch.load(Relaxed) == epoch {
            if self.held.load(Relaxed) {
                thread::sleep(Duration::from_millis(10));
                continue;
            }
            let done = if start == end {
                let want = limit.min(buf.len() as u64) as usize;
                from.read(&mut buf[..want]).inspect(|&n| (start, end) = (0, n))
            } else {
                to.write(&buf[start..end]).inspect(|&n| {
                    start += n;
                    limit -= n as u64;
                })
            };
            match done {
                Ok(n) if n > 0 => {}
                Err(e)
                    if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                _ => break,
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}

// -----------------------------------------------------------------------------
// The load
// -----------------------------------------------------------------------------

/// Clients of the tree, until they are stopped.
struct Load {
    stop: Arc<AtomicBool>,
    /// Commands that were answered.
    done: Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Load {
    /// Writers to the server that `master` names, whichever that is, and readers of all others.
    fn start(master: &Arc<AtomicU16>, all: &[u16], random: &mut Random) -> Load {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut threads = Vec::new();
        for kind in 0..4 {
            let (master, stop, done) = (master.clone(), stop.clone(), done.clone());
            let (seed, all) = (random.next(), all.to_vec());
            threads.push(thread::spawn(move || {
                let mut client = Commands::new(kind, seed);
                while !stop.load(Relaxed) {
                    let port = match kind {
                        3 => all[client.random.below(all.len())],
                        _ => master.load(Relaxed),
                    };
                    let moved = || kind != 3 && master.load(Relaxed) != port;
                    // It comes back when the server does.
                    let _ = client.talk(port, &done, || stop.load(Relaxed) || moved());
                    thread::sleep(Duration::from_millis(20));
                }
            }));
        }
        Load { stop, done, threads }
    }

    fn stop(self) {
        self.stop.store(true, Relaxed);
        for t in self.threads {
            t.join().unwrap();
        }
    }
}

/// What one of the clients sends.
struct Commands {
    /// 0: commands of all types. 1: scripts, transactions, keys that expire soon. 2: waits for
    /// replicas. 3: commands of all types, at replicas too.
    kind: usize,
    generator: Gen,
    random: Random,
}

/// A script that writes what chance and the clock say.
const SCRIPT: &str = "redis.replicate_commands() \
    redis.call('SET', KEYS[1], redis.call('TIME')[2], 'PX', ARGV[1]) \
    redis.call('SADD', KEYS[2], ARGV[1], 'a', 'b', 'c') \
    redis.call('SPOP', KEYS[2]) \
    return redis.call('INCR', KEYS[3])";
/// One that is propagated as itself.
const VERBATIM: &str = "redis.call('RPUSH', KEYS[1], ARGV[1]) redis.call('LTRIM', KEYS[1], -50, -1) \
    return redis.call('INCR', KEYS[2])";

impl Commands {
    fn new(kind: usize, seed: u64) -> Commands {
        Commands { kind, generator: Gen::new(seed), random: Random(seed | 1) }
    }

    /// Sends batches until `enough`, or until the connection fails.
    fn talk(&mut self, port: u16, done: &AtomicU64, enough: impl Fn() -> bool) -> io::Result<()> {
        let mut conn = Conn::try_open(port)?;
        conn.sock.set_read_timeout(Some(Duration::from_secs(2)))?;
        for _ in 0..200 {
            if enough() {
                break;
            }
            let batch = self.batch();
            conn.raw(&batch.iter().flat_map(|argv| Conn::encode(argv)).collect::<Vec<u8>>())?;
            for argv in &batch {
                let reply = conn.try_reply()?;
                done.fetch_add(1, Relaxed);
                let scripts = argv[0] == b"EVALSHA";
                if scripts && matches!(&reply, Reply::Error(e) if e.starts_with(b"NOSCRIPT")) {
                    conn.cmd(&["SCRIPT", "LOAD", SCRIPT]);
                    conn.cmd(&["SCRIPT", "LOAD", VERBATIM]);
                }
            }
        }
        Ok(())
    }

    fn batch(&mut self) -> Vec<Argv> {
        let size = 1 + self.random.below(30);
        match self.kind {
            0 | 3 => (0..size).map(|_| self.any()).collect(),
            1 => self.scripts_and_times(),
            _ => vec![words("INCR soak:acknowledged"), words("WAIT 1 100")],
        }
    }

    /// A command of the generator's.
    fn any(&mut self) -> Argv {
        loop {
            let argv = self.generator.command();
            let name = argv[0].to_ascii_uppercase();
            // What is counted is kept in the value, by whoever has counted: by a replica, too, and a
            // server may have become one just now.
            let counts = name == b"PFCOUNT" || name == b"PFDEBUG";
            // The order that equals have in a set is each server's own.
            let unordered = is_unordered_sort(&argv);
            if name != b"CONFIG" && !counts && !unordered && !is_harmful(&argv) {
                return argv;
            }
        }
    }

    fn scripts_and_times(&mut self) -> Vec<Argv> {
        let n = self.random.below(300);
        let soon = 1 + self.random.below(3000);
        // The names that the two scripts have.
        let sha = |script: &str| -> String {
            use sha1::Digest;
            sha1::Sha1::digest(script).iter().map(|b| format!("{b:02x}")).collect()
        };
        let mut lines: Vec<String> = match self.random.below(6) {
            0 => vec![format!("EVALSHA {} 3 e:{n} e:set e:count {soon}", sha(SCRIPT))],
            1 => vec![format!("EVALSHA {} 2 e:list:{n} e:count {soon}", sha(VERBATIM))],
            2 => vec![
                "MULTI".into(),
                format!("SET e:{n} {soon}"),
                format!("PEXPIRE e:{n} {soon}"),
                format!("SELECT {}", n % 16),
                format!("INCRBYFLOAT e:float 0.{soon}"),
                format!("EVALSHA {} 2 e:list:{n} e:count {soon}", sha(VERBATIM)),
                "EXEC".into(),
                "SELECT 0".into(),
            ],
            3 => vec![
                format!("HSET e:hash:{n} f {soon} g {n}"),
                format!("PEXPIRE e:hash:{n} {soon}"),
                format!("XADD e:stream MAXLEN 100 * f {n}"),
            ],
            4 => vec![format!("SET e:{n} v PX {soon}"), format!("GETEX e:{n} PX {soon}")],
            _ => vec![format!("UNLINK e:{n} e:list:{n}"), format!("COPY e:count e:{n} REPLACE")],
        };
        if self.random.below(500) == 0 {
            lines.push(["SCRIPT FLUSH", "FLUSHDB", "SWAPDB 0 3"][n % 3].into());
        }
        lines.iter().map(|line| words(line)).collect()
    }
}

// -----------------------------------------------------------------------------
// The tree
// -----------------------------------------------------------------------------

struct Node {
    server: TestServer,
    way: Way,
    /// SIGSTOP.
    stands: bool,
    /// Whom it was told to follow, and by which port: the server's, or that of the way to it.
    master: Option<usize>,
    /// How long its log was at the last rest.
    log_at_rest: usize,
}

struct Tree {
    nodes: Vec<Node>,
    /// The port of the master, for the writers.
    master: Arc<AtomicU16>,
    random: Random,
    /// What was done since the last rest, for the message of a failure.
    story: Vec<String>,
    /// Counts what was done.
    events: std::collections::BTreeMap<&'static str, usize>,
}

impl Tree {
    fn start() -> Tree {
        let random = Random::seeded();
        let nodes: Vec<Node> = (0..NODES)
            .map(|n| {
                let own: &[&str] = [
                    &["--repl-diskless-sync", "yes", "--repl-diskless-load", "swapdb"][..],
                    &["--repl-diskless-load", "on-empty-db", "--appendonly", "yes"],
                    &["--repl-diskless-sync", "yes", "--aof-use-rdb-preamble", "no"],
                    &["--repl-diskless-load", "swapdb"],
                ][n];
                let all = &[
                    "--repl-diskless-sync-delay",
                    "0",
                    "--repl-backlog-size",
                    "1mb",
                    "--repl-timeout",
                    "10",
                    "--repl-ping-replica-period",
                    "1",
                    "--shutdown-timeout",
                    "2",
                    "--appendfsync",
                    "no",
                ][..];
                let server = TestServer::start(&[all, own].concat());
                let way = Way::to(server.port);
                Node { server, way, stands: false, master: None, log_at_rest: 0 }
            })
            .collect();
        let master = Arc::new(AtomicU16::new(nodes[0].server.port));
        let mut tree =
            Tree { nodes, master, random, story: Vec::new(), events: Default::default() };
        for (n, of) in [(1, 0), (2, 0), (3, 1)] {
            tree.follow(n, of);
        }
        tree
    }

    fn note(&mut self, what: &'static str, details: String) {
        *self.events.entry(what).or_default() += 1;
        self.story.push(format!("{what} {details}"));
    }

    fn runs(&mut self, n: usize) -> bool {
        !self.nodes[n].stands && self.nodes[n].server.is_alive()
    }

    fn port(&self, n: usize) -> u16 {
        self.nodes[n].server.port
    }

    /// A command to a server that may not answer just now.
    fn ask(&mut self, n: usize, line: &str) -> Option<String> {
        if !self.runs(n) {
            return None;
        }
        let mut conn = Conn::try_open(self.port(n)).ok()?;
        conn.sock.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        conn.raw(&Conn::encode(&words(line))).ok()?;
        let reply = conn.try_reply().map(|r| r.text());
        // It may have died: that is noticed at the rest.
        reply.ok()
    }

    /// Lets one follow another by the way to it.
    fn follow(&mut self, n: usize, of: usize) {
        let port = self.nodes[of].way.port;
        let mut said = None;
        wait_for("REPLICAOF to be taken", || {
            said = self.ask(n, &format!("REPLICAOF 127.0.0.1 {port}"));
            // One that loads takes it later.
            said.is_none() || said.as_deref().is_some_and(|s| s.starts_with("OK"))
        });
        if said.is_some() {
            self.nodes[n].master = Some(of);
        }
    }

    /// The one that leads as far as we know.
    fn leader(&self) -> usize {
        self.nodes.iter().position(|n| n.master.is_none()).expect("there is one")
    }

    fn someone(&mut self) -> usize {
        self.random.below(NODES)
    }

    fn some_replica(&mut self) -> usize {
        let leader = self.leader();
        (leader + 1 + self.random.below(NODES - 1)) % NODES
    }

    /// Something goes wrong, or is done by an operator.
    fn event(&mut self) {
        match self.random.below(20) {
            0 | 1 => {
                let n = self.someone();
                self.nodes[n].way.cut();
                self.note("links cut", format!("to {n}"));
            }
            2 | 3 => {
                let n = self.someone();
                let bytes = self.random.below(1_500_000) as u64;
                self.nodes[n].way.weather.limit.store(bytes, Relaxed);
                self.nodes[n].way.cut();
                self.note("links of limited length", format!("to {n}: {bytes}"));
            }
            4 => {
                let n = self.someone();
                self.nodes[n].way.weather.held.store(true, Relaxed);
                self.note("links held up", format!("to {n}"));
            }
            5 => {
                let n = self.someone();
                self.nodes[n].way.clear();
                self.note("links mended", format!("to {n}"));
            }
            6 | 7 => self.stop_or_go_on(),
            8 => {
                let n = self.someone();
                self.go_on(n);
                self.nodes[n].server.kill();
                self.note("killed", format!("{n}"));
                if self.random.below(2) == 0 {
                    self.restart(n);
                }
            }
            9 => self.planned_restart(),
            10 | 11 => self.promote(),
            12 | 13 => self.failover(),
            14 => {
                let n = self.someone();
                let who = ["replica", "master", "normal"][self.random.below(3)];
                self.ask(n, &format!("CLIENT KILL TYPE {who}"));
                self.note("CLIENT KILL", format!("{who} at {n}"));
            }
            15 => self.configure(),
            16 => {
                let n = self.someone();
                let line = ["BGSAVE", "BGREWRITEAOF", "DEBUG RELOAD", "FLUSHALL", "MEMORY PURGE"]
                    [self.random.below(5)];
                // Taken in the middle of a load it would end that.
                if line == "DEBUG RELOAD" && self.ask(n, "PING").is_none_or(|r| r != "PONG") {
                    return;
                }
                self.ask(n, line);
                self.note("commands", format!("{line} at {n}"));
                if line == "DEBUG RELOAD" {
                    // A master that loads leaves out the keys that have expired, and sends no DEL
                    // for them: its replicas would keep them.
                    let mut role = String::new();
                    wait_for("the role", || {
                        role = self.ask_info(n, "role");
                        !role.is_empty() || !self.runs(n)
                    });
                    if role == "master" {
                        self.full_sync_for_all(n);
                    }
                }
            }
            17 => {
                // (At a replica it would part its history from its master's.)
                let n = self.leader();
                self.full_sync_for_all(n);
            }
            18 => {
                // Whom it follows from now on, of those that do not follow it.
                let n = self.some_replica();
                let of = self.someone();
                if !self.chain(of).contains(&n) {
                    self.follow(n, of);
                    self.note("moved", format!("{n} to {of}"));
                }
            }
            _ => {
                let n = self.someone();
                if self.nodes[n].server.is_alive() {
                    let pid = self.nodes[n].server.pid();
                    let children = format!("/proc/{pid}/task/{pid}/children");
                    let children = std::fs::read_to_string(children).unwrap_or_default();
                    for child in children.split_whitespace() {
                        let mut kill = std::process::Command::new("kill");
                        let _ = kill
                            .args(["-KILL", child])
                            .stderr(std::process::Stdio::null())
                            .status();
                        self.note("children killed", format!("of {n}"));
                    }
                }
            }
        }
    }

    /// Begins a new history at a master: nobody goes on with the old one.
    fn full_sync_for_all(&mut self, n: usize) {
        self.ask(n, "DEBUG CHANGE-REPL-ID");
        self.ask(n, "CLIENT KILL TYPE replica");
        self.note("ids changed", format!("at {n}"));
    }

    /// A server and those that it follows, one after the other.
    fn chain(&self, n: usize) -> Vec<usize> {
        let mut chain = vec![n];
        while let Some(of) = self.nodes[chain[chain.len() - 1]].master {
            chain.push(of);
        }
        chain
    }

    fn stop_or_go_on(&mut self) {
        let n = self.someone();
        if self.nodes[n].stands {
            self.go_on(n);
        } else if self.nodes[n].server.is_alive() {
            self.nodes[n].server.signal("STOP");
            self.nodes[n].stands = true;
            self.note("stopped", format!("{n}"));
        }
    }

    fn go_on(&mut self, n: usize) {
        if std::mem::take(&mut self.nodes[n].stands) {
            self.nodes[n].server.signal("CONT");
            self.note("went on", format!("{n}"));
        }
    }

    /// Starts one again that has ended: told whom it follows from the start, or later.
    fn restart(&mut self, n: usize) {
        let of = self.nodes[n].master;
        let told = of.filter(|_| self.random.below(2) == 0);
        let at_start = told.map(|of| self.nodes[of].way.port.to_string());
        let args = at_start.iter().flat_map(|port| ["--replicaof", "127.0.0.1", port]);
        self.nodes[n].server.start_again_with(&args.collect::<Vec<_>>());
        self.note("restarted", format!("{n}, {at_start:?}"));
        if let (Some(of), None) = (of, at_start) {
            self.follow(n, of);
        }
    }

    fn planned_restart(&mut self) {
        let n = self.someone();
        self.go_on(n);
        if !self.nodes[n].server.is_alive() {
            return;
        }
        let how = ["SAVE", "NOSAVE"][self.random.below(2)];
        let reply = self.ask(n, &format!("SHUTDOWN {how}"));
        self.note("SHUTDOWN", format!("{how} at {n}: {reply:?}"));
        // It refuses if it can't save, as while it loads.
        if reply.is_none() {
            self.nodes[n].server.wait_exit();
            self.restart(n);
        }
    }

    /// A replica leads from now on, and the others follow it.
    fn promote(&mut self) {
        let new = self.some_replica();
        let old = self.leader();
        if !self.runs(new) {
            return;
        }
        self.note("promoted", format!("{new} after {old}"));
        self.ask(new, "REPLICAOF NO ONE");
        self.nodes[new].master = None;
        self.master.store(self.port(new), Relaxed);
        let mut tree = vec![new];
        for n in 0..NODES {
            if n != new {
                // One that can't be told now is told at the rest.
                let of = tree[self.random.below(tree.len())];
                self.nodes[n].master = Some(of);
                self.follow(n, of);
                tree.push(n);
            }
        }
    }

    fn failover(&mut self) {
        let leader = self.leader();
        let to = self.some_replica();
        if !self.runs(leader) {
            return;
        }
        let line = match self.random.below(4) {
            0 => "FAILOVER TIMEOUT 1000".to_string(),
            1 => format!("FAILOVER TO 127.0.0.1 {} TIMEOUT 300 FORCE", self.port(to)),
            _ => format!("FAILOVER TO 127.0.0.1 {} TIMEOUT 1000", self.port(to)),
        };
        let reply = self.ask(leader, &line);
        let started = reply.as_deref() == Some("OK");
        self.note(
            if started { "FAILOVER" } else { "FAILOVER refused" },
            format!("{line}: {reply:?}"),
        );
        if !started {
            return;
        }
        if self.random.below(4) == 0 {
            self.ask(leader, "FAILOVER ABORT");
            self.note("FAILOVER ABORT", String::new());
        }
        // It ends by itself, or, if the other one does not answer, by hand.
        let begun = Instant::now();
        while self.ask_info(leader, "master_failover_state") != "no-failover" {
            if begun.elapsed() > Duration::from_secs(5) {
                self.ask(leader, "FAILOVER ABORT");
                self.note("FAILOVER given up", String::new());
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.look_who_leads();
    }

    fn ask_info(&mut self, n: usize, field: &str) -> String {
        let info = self.ask(n, "INFO replication").unwrap_or_default();
        let value = info.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
        value.unwrap_or_default().to_string()
    }

    /// Takes over the roles that a failover has given. If it has left two masters, as one that is
    /// given up in its last moment may, the old one stays what it was.
    fn look_who_leads(&mut self) {
        let old = self.leader();
        if self.ask_info(old, "role") != "slave" {
            return;
        }
        let port = self.ask_info(old, "master_port");
        let Some(new) = (0..NODES).find(|&n| self.port(n).to_string() == port) else { return };
        self.nodes[new].master = None;
        self.nodes[old].master = Some(new);
        self.master.store(self.port(new), Relaxed);
        self.note("changed places", format!("{old} and {new}"));
    }

    fn configure(&mut self) {
        let n = self.someone();
        let (name, values): (_, &[&str]) = match self.random.below(7) {
            0 => ("repl-diskless-sync", &["yes", "no"]),
            1 => ("repl-diskless-load", &["disabled", "on-empty-db", "swapdb"]),
            2 => ("repl-backlog-size", &["16kb", "100kb", "1mb", "10mb"]),
            3 => ("appendonly", &["yes", "no"]),
            4 => ("rdb-key-save-delay", &["0", "0", "20"]),
            5 => ("client-output-buffer-limit", &["0", "1mb"]),
            _ => ("rdbcompression", &["yes", "no"]),
        };
        let value = values[self.random.below(values.len())];
        let line = match name {
            "client-output-buffer-limit" => {
                // One argument of several words.
                let value = format!("replica {value} 0 0");
                if self.runs(n)
                    && let Ok(mut conn) = Conn::try_open(self.port(n))
                    && conn.raw(&Conn::encode(&["CONFIG", "SET", name, &value])).is_ok()
                {
                    let _ = conn.try_reply();
                }
                format!("{name} {value}")
            }
            _ => {
                self.ask(n, &format!("CONFIG SET {name} {value}"));
                format!("{name} {value}")
            }
        };
        self.note("configured", format!("{n}: {line}"));
    }

    /// Gives the master data that do not compress.
    fn ballast(&mut self) {
        let mut conn = Conn::open(self.port(self.leader()));
        for i in 0..BALLAST_KEYS {
            let value: Vec<u8> =
                (0..BALLAST / 8).flat_map(|_| self.random.next().to_le_bytes()).collect();
            conn.cmd(&[b"SET", format!("ballast:{i}").as_bytes(), &value]);
        }
    }

    /// Everything is mended, and all have the same.
    fn rest(&mut self) {
        for n in 0..NODES {
            self.nodes[n].way.clear();
            self.go_on(n);
            let log = self.nodes[n].server.log();
            let crashed = log.contains("panicked") || log.contains("BUG REPORT");
            assert!(!crashed, "{n} has crashed\n{}", self.told());
            if !self.nodes[n].server.is_alive() {
                // A kill is noted; another end is an error.
                let killed = self.story.iter().any(|s| s.starts_with(&format!("killed {n}")));
                assert!(killed, "{n} has ended\n{}", self.told());
                self.restart(n);
            }
        }
        // What could not be said to those that did not run.
        let leader = self.leader();
        if self.ask_info(leader, "role") == "slave" {
            assert_eq!(self.ask(leader, "REPLICAOF NO ONE").as_deref(), Some("OK"));
        }
        for n in 0..NODES {
            if let Some(of) = self.nodes[n].master {
                let (port, way) = (self.port(of).to_string(), self.nodes[of].way.port.to_string());
                let follows = self.ask_info(n, "master_port");
                if follows != port && follows != way {
                    self.follow(n, of);
                }
            }
            self.ask(n, "CONFIG SET rdb-key-save-delay 0");
        }

        let told = self.told();
        for n in (0..NODES).filter(|&n| n != leader) {
            let server = &self.nodes[n].server;
            let start = Instant::now();
            while server.info("master_link_status") != "up" {
                assert!(start.elapsed() < PATIENCE, "{n} is not linked\n{told}");
                thread::sleep(Duration::from_millis(50));
            }
        }
        let offset =
            |n: &Node| (n.server.info("master_replid"), n.server.info("master_repl_offset"));
        let start = Instant::now();
        loop {
            // Between two looks at equal offsets nothing was written, and no key deleted.
            let before: Vec<_> = self.nodes.iter().map(offset).collect();
            let digests: Vec<String> = self.nodes.iter().map(|n| n.server.digest()).collect();
            let after: Vec<_> = self.nodes.iter().map(offset).collect();
            if before == after && before.iter().all(|o| *o == before[0]) {
                if digests.iter().any(|d| *d != digests[0]) {
                    // Not those that expire between one look and the next.
                    thread::sleep(Duration::from_secs(5));
                    let keys: Vec<_> = (1..NODES).flat_map(|n| self.differences(0, n)).collect();
                    let logs: Vec<_> = (0..NODES).map(|n| self.log_since_rest(n)).collect();
                    panic!(
                        "the data sets differ: {digests:?} at {before:?}\n{}\n{told}\n{}",
                        keys.join("\n"),
                        logs.join("\n")
                    );
                }
                break;
            }
            assert!(start.elapsed() < PATIENCE, "the offsets differ: {before:?}\n{told}");
            thread::sleep(Duration::from_millis(50));
        }
        for n in 0..NODES {
            let log = self.log_since_rest(n);
            let errors = log.contains("is sending an error to its master");
            assert!(!errors, "{n} was sent what it can't execute\n{told}\n{log}");
        }
        self.story.clear();
        for node in &mut self.nodes {
            node.log_at_rest = node.server.log().len();
        }
    }

    fn log_since_rest(&self, n: usize) -> String {
        format!("--- the log of {n}:\n{}", &self.nodes[n].server.log()[self.nodes[n].log_at_rest..])
    }

    /// The keys in which two servers differ, a few of them.
    fn differences(&self, a: usize, b: usize) -> Vec<String> {
        let content = |n: usize| {
            let mut conn = self.nodes[n].server.conn();
            let mut keys = std::collections::BTreeMap::new();
            for db in 0..16 {
                conn.cmd(&["SELECT", &db.to_string()]);
                for key in conn.cmd(&["KEYS", "*"]).array() {
                    let key = key.bytes();
                    let ttl = conn.cmd(&[&b"PTTL"[..], key]).int();
                    let digest = conn.cmd(&[&b"DEBUG"[..], b"DIGEST-VALUE", key]).array()[0].text();
                    let dump = match conn.cmd(&[&b"DUMP"[..], key]) {
                        Reply::Bulk(dump) => dump[..dump.len().min(80)].escape_ascii().to_string(),
                        _ => String::new(),
                    };
                    keys.insert((db, key.to_vec()), (dump, digest, ttl));
                }
            }
            keys
        };
        let (left, right) = (content(a), content(b));
        let differs =
            left.keys().chain(right.keys().filter(|k| !left.contains_key(*k))).filter(|k| {
                let (l, r) = (left.get(*k), right.get(*k));
                l.map(|v| (&v.1, v.2 < 0)) != r.map(|v| (&v.1, v.2 < 0))
            });
        let show = |k: &(usize, Vec<u8>)| {
            let name = k.1.escape_ascii();
            format!("db {} {name}: {:?} at {a}, {:?} at {b}", k.0, left.get(k), right.get(k))
        };
        differs.take(20).map(show).collect()
    }

    /// What has happened since the last rest.
    fn told(&self) -> String {
        let follows: Vec<String> = (0..NODES)
            .map(|n| format!("{n} (port {}) follows {:?}", self.port(n), self.nodes[n].master))
            .collect();
        format!("{}\n{}", self.story.join("\n"), follows.join("\n"))
    }

    /// How often the logs have a line.
    fn count(&self, text: &str) -> usize {
        self.nodes.iter().map(|n| n.server.log_count(text)).sum()
    }
}

#[test]
fn a_tree_in_bad_weather() {
    let mut tree = Tree::start();
    let minutes = std::env::var("FIDELIS_SOAK_MINUTES").ok().and_then(|m| m.parse().ok());
    let time = minutes.or(long().then_some(30)).map(|m: u64| Duration::from_secs(60 * m));
    let start = Instant::now();
    let (mut rounds, mut commands) = (0, 0);
    while time.map_or(rounds < ROUNDS, |time| start.elapsed() < time) {
        tree.ballast();
        let ports: Vec<u16> = (0..NODES).map(|n| tree.port(n)).collect();
        let load = Load::start(&tree.master.clone(), &ports, &mut tree.random);
        for _ in 0..3 + tree.random.below(8) {
            tree.event();
            // A while in which something may come of it.
            thread::sleep(Duration::from_millis(20 << tree.random.below(5)));
        }
        for n in 0..NODES {
            tree.nodes[n].way.clear();
            tree.go_on(n);
        }
        commands += load.done.load(Relaxed);
        load.stop();
        tree.rest();
        rounds += 1;
        if rounds % 20 == 0 {
            println!("{rounds} rounds, {} s", start.elapsed().as_secs());
        }
    }
    println!("{rounds} rounds, {commands} commands, {:?}", tree.events);
    for (what, line) in [
        ("full", "Full resync from master"),
        ("partial", "Successful partial resynchronization with master"),
        ("cut in the payload", "I/O error trying to sync with MASTER"),
        (
            "cut in the payload, from the socket",
            "Failed trying to load the MASTER synchronization DB",
        ),
        ("timeouts", "timedout"),
        ("output buffer limits", "scheduled to be closed ASAP for overcoming of output buffer"),
    ] {
        println!("{what}: {}", tree.count(line));
    }
    for (n, node) in tree.nodes.iter().enumerate() {
        let server = &node.server;
        println!(
            "{n}: {} keys in db 0, used_memory {}, rss {}",
            server.cmd(&["DBSIZE"]).int(),
            server.info("used_memory"),
            server.info("used_memory_rss"),
        );
    }
}
