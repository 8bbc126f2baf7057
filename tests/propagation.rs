//! What goes to replicas and into the append only file says what happened: it makes a second server
//! equal, nothing comes of a command that changes nothing, and MULTI and EXEC come in pairs.
//!
//! The random test prints its seed (FIDELIS_SEED=n repeats one). FIDELIS_LONG=n lets it run for n
//! seconds.

#[path = "support/ask.rs"]
mod ask;
#[path = "support/link.rs"]
mod link;
#[path = "support/peer/mod.rs"]
mod peer;
#[path = "support/random.rs"]
mod random;
mod support;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ask::*;
use link::*;
use peer::values::{Gen, is_harmful};
use peer::wire::{Argv, shown, words};
use random::*;
use support::*;

/// A master with an append only file, which expires nothing on its own and sends no PINGs.
fn start_master() -> TestServer {
    let mut master = TestServer::start(&[
        "--appendonly",
        "yes",
        "--appendfsync",
        "no",
        "--aof-use-rdb-preamble",
        "no",
        "--auto-aof-rewrite-percentage",
        "0",
        "--repl-ping-replica-period",
        "3600",
        "--repl-backlog-size",
        "1mb",
    ]);
    assert_eq!(master.ask("DEBUG SET-ACTIVE-EXPIRE 0"), "OK");
    master
}

fn upper(command: &[Vec<u8>]) -> Vec<u8> {
    command[0].to_ascii_uppercase()
}

/// Commands from the bytes of a stream or a file.
fn parse(mut bytes: &[u8]) -> Vec<Argv> {
    let mut commands = Vec::new();
    let number = |bytes: &mut &[u8], prefix: u8| -> usize {
        let end = bytes.windows(2).position(|w| w == b"\r\n").expect("a whole line");
        assert_eq!(bytes[0], prefix, "{}", bytes.escape_ascii());
        let n = std::str::from_utf8(&bytes[1..end]).unwrap().parse().unwrap();
        *bytes = &bytes[end + 2..];
        n
    };
    while !bytes.is_empty() {
        let argc = number(&mut bytes, b'*');
        let command = (0..argc).map(|_| {
            let len = number(&mut bytes, b'$');
            let arg = bytes[..len].to_vec();
            bytes = &bytes[len + 2..];
            arg
        });
        commands.push(command.collect());
    }
    commands
}

/// Asserts that each MULTI has its EXEC and each EXEC its MULTI.
#[track_caller]
fn assert_pairs(commands: &[Argv], what: &str) {
    let mut open = false;
    for (n, command) in commands.iter().enumerate() {
        let begins = match &upper(command)[..] {
            b"MULTI" => true,
            b"EXEC" => false,
            _ => continue,
        };
        let around: Vec<String> =
            commands[n.saturating_sub(5)..=n].iter().map(|c| shown(c)).collect();
        assert_ne!(open, begins, "{what}: {around:#?}");
        open = begins;
    }
    assert!(!open, "{what}: a MULTI without an EXEC");
}

/// The stream to a replica, as far as a transaction left it.
fn stream_of(run: impl FnOnce(&TestServer, &mut Conn)) -> (TestServer, Vec<String>) {
    let master = start_master();
    let mut recorder = Recorder::attach(master.port);
    let mut c = master.conn();
    run(&master, &mut c);
    c.ask("PUBLISH the end");
    let commands = recorder.commands_up_to(&["PUBLISH", "the", "end"]);
    assert_pairs(&commands, "the stream");
    let lines = commands[..commands.len() - 1]
        .iter()
        .map(|c| c.iter().map(|w| String::from_utf8_lossy(w)).collect::<Vec<_>>().join(" "));
    (master, lines.collect())
}

/// A new consumer that has nothing pending is there on the replica and after a restart, too.
#[test]
fn a_new_consumer_without_messages() {
    let (mut master, stream) = stream_of(|_, c| {
        assert_eq!(c.ask("XGROUP CREATE k g 0 MKSTREAM"), "OK");
        c.ask("MULTI");
        c.ask("XREADGROUP GROUP g newc STREAMS k 0");
        assert_eq!(c.ask("EXEC"), "[[[k []]]]");
        assert_eq!(c.ask("XREADGROUP GROUP g other STREAMS k 0"), "[[k []]]");
        // Known by now: nothing changes, and nothing is said.
        c.ask("MULTI");
        c.ask("XREADGROUP GROUP g newc STREAMS k 0");
        c.ask("EXEC");
        c.ask("XREADGROUP GROUP g other STREAMS k 0");
    });
    assert_eq!(
        stream,
        [
            "SELECT 0",
            "XGROUP CREATE k g 0 MKSTREAM",
            "MULTI",
            "XGROUP CREATECONSUMER k g newc",
            "EXEC",
            "XGROUP CREATECONSUMER k g other",
        ]
    );
    assert_pairs(&parse(&std::fs::read(master.dir.path("appendonly.aof")).unwrap()), "the file");
    master.restart();
    assert_eq!(master.ask("XINFO GROUPS k").matches("consumers 2").count(), 1);
}

/// SAVE sets the number of changes back, also in the middle of a transaction.
#[test]
fn a_save_within_a_transaction() {
    let (master, stream) = stream_of(|_, c| {
        for n in 0..5 {
            c.ask(&format!("SET k{n} v"));
        }
        c.ask("MULTI");
        c.ask("SET a 1");
        c.ask("SAVE");
        c.ask("SET b 1");
        assert_eq!(c.ask("EXEC"), "[OK OK OK]");
        c.ask("MULTI");
        c.ask("SAVE");
        c.ask("EXEC");
    });
    assert_eq!(stream[6..], ["MULTI", "SET a 1", "SET b 1", "EXEC"]);
    assert_pairs(&parse(&std::fs::read(master.dir.path("appendonly.aof")).unwrap()), "the file");
}

/// A rewrite that is asked for in a transaction begins behind it, and so does the file that CONFIG
/// SET turns on, and a BGSAVE.
#[test]
fn children_within_a_transaction() {
    for ask in ["BGREWRITEAOF", "CONFIG SET appendonly yes", "BGSAVE"] {
        let mut master = start_master();
        if ask.starts_with("CONFIG") {
            assert_eq!(master.ask("CONFIG SET appendonly no"), "OK");
        }
        let mut c = master.conn();
        c.ask("MULTI");
        c.ask("SET a 1");
        c.ask(ask);
        c.ask("SET b 1");
        let replies = c.ask("EXEC");
        assert!(replies.contains("scheduled") || ask.starts_with("CONFIG"), "{replies}");
        wait_for("the child", || {
            master.info("rdb_bgsave_in_progress") == "0"
                && master.rewrites_nothing()
                && (ask != "BGSAVE" || master.log().contains("DB saved on disk"))
        });
        c.ask("SET c 1");
        let file = std::fs::read(master.dir.path("appendonly.aof")).unwrap();
        assert_pairs(&parse(&file), ask);
        let digest = master.digest();
        master.restart();
        assert_eq!(master.digest(), digest, "{ask}");
    }
}

/// How long the random test runs.
fn how_long() -> Duration {
    let long = std::env::var("FIDELIS_LONG").ok().map(|s| s.parse().unwrap_or(1));
    Duration::from_secs(match long {
        Some(seconds) if seconds > 1 => seconds,
        Some(_) => 60,
        None => 5,
    })
}

/// The dbs that are looked at, beside what DEBUG DIGEST says of all.
const DBS: [&str; 3] = ["0", "1", "9"];

/// What a server has: the digest, and the groups and consumers of its streams, which are not in it.
///
/// Left out are when a consumer was seen last, and when and how often a pending message was
/// delivered: a consumer that reads its history makes another delivery of it, and in the C as here
/// no replica hears of that.
fn state(c: &mut Conn) -> Vec<String> {
    let mut state = vec![];
    for db in DBS {
        c.ask(&format!("SELECT {db}"));
        for class in ["x", "a"] {
            for n in 0..5 {
                let key = format!("{class}{n}");
                if let Reply::Array(fields) =
                    c.cmd(&["XINFO", "STREAM", &key, "FULL", "COUNT", "0"])
                {
                    let lasting = fields
                        .chunks(2)
                        .filter(|f| !f[0].text().starts_with("radix"))
                        .map(|f| lasting(f[0].text(), &f[1]));
                    state.push(format!("{db} {key} {}", lasting.collect::<String>()));
                }
            }
        }
    }
    // XINFO may have found that a key has expired, so this comes last.
    state.push(c.ask("DEBUG DIGEST"));
    state
}

/// Asserts that two servers have the same, and shows what differs, as far as it has a name.
#[track_caller]
fn assert_same(a: &[String], b: &[String], what: &str) {
    if a != b {
        let other: Vec<_> = a.iter().filter(|x| !b.contains(x)).collect();
        let another: Vec<_> = b.iter().filter(|x| !a.contains(x)).collect();
        panic!("{what}\n{other:#?}\n{another:#?}");
    }
}

/// A field of XINFO STREAM FULL without what does not last.
fn lasting(name: String, value: &Reply) -> String {
    let list = |of: fn(&Reply) -> String| value.array().iter().map(of).collect::<String>();
    let map = |map: &Reply| {
        let fields = map.array().chunks(2).map(|f| lasting(f[0].text(), &f[1]));
        format!("({})", fields.collect::<String>())
    };
    let value = match &name[..] {
        "groups" | "consumers" => list_of(value, &map),
        "seen-time" => return String::new(),
        // Id and consumer; or, in that of a consumer, the id alone.
        "pending" | "pel" if matches!(value, Reply::Array(_)) => list(|entry| {
            let fields = entry.array();
            let names = if fields.len() == 4 { &fields[..2] } else { &fields[..1] };
            format!("{names:?}")
        }),
        _ => flat(value),
    };
    format!("{name}={value} ")
}

fn list_of(value: &Reply, of: &dyn Fn(&Reply) -> String) -> String {
    value.array().iter().map(of).collect()
}

/// A master under random commands, and all who listen to it.
struct Bench {
    master: TestServer,
    main: Conn,
    admin: Conn,
    waiter: Conn,
    recorder: Recorder,
    /// It follows the master, and `below` looks at it.
    _replica: TestServer,
    below: Conn,
    /// What the master had before the step.
    before: Vec<String>,
    offset: i64,
    /// The flags of each command.
    flags: HashMap<Vec<u8>, Vec<String>>,
}

/// The master's offset, or the one its replica has applied.
fn offset(c: &mut Conn) -> i64 {
    let role = c.cmd(&["ROLE"]);
    let role = role.array();
    if role[0].text() == "master" { role[1].int() } else { role[4].int() }
}

impl Bench {
    fn new() -> Bench {
        let master = start_master();
        let recorder = Recorder::attach(master.port);
        let replica = TestServer::start(&[]).replica_of(&master);
        let [main, mut admin, waiter] = [(); 3].map(|()| master.conn());
        let below = replica.conn();
        let commands = admin.cmd(&["COMMAND"]);
        let flags = commands.array().iter().map(|command| {
            let fields = command.array();
            let flags = fields[2].array().iter().map(Reply::text).collect();
            (fields[0].text().to_uppercase().into_bytes(), flags)
        });
        let flags = flags.collect();
        let (before, offset) = (state(&mut admin), offset(&mut admin));
        Bench {
            master,
            main,
            admin,
            waiter,
            recorder,
            _replica: replica,
            below,
            before,
            offset,
            flags,
        }
    }

    fn may_change(&self, command: &[Vec<u8>]) -> bool {
        let flags = self.flags.get(&upper(command));
        flags.is_some_and(|f| f.iter().any(|f| f == "write" || f == "may_replicate"))
            || ["EXEC", "SAVE"].iter().any(|name| upper(command) == name.as_bytes())
    }

    /// Sends these commands, then looks at what came of them. `others` is what another client did
    /// in between.
    fn step(&mut self, commands: &[Argv], others: &[Argv]) {
        for command in commands {
            self.main.send(command);
        }
        let replies: Vec<Reply> = commands.iter().map(|_| self.main.reply()).collect();
        self.look(commands, &replies, others);
    }

    fn look(&mut self, commands: &[Argv], replies: &[Reply], others: &[Argv]) {
        let after = state(&mut self.admin);
        let now = offset(&mut self.admin);
        let bytes = self.recorder.take((now - self.offset) as usize);
        let stream = parse(&bytes);
        let told = || {
            let lines = |commands: &[Argv]| commands.iter().map(|c| shown(c)).collect::<Vec<_>>();
            format!(
                "commands {:#?}\nreplies {replies:?}\nof others {:#?}\nstream {:#?}",
                lines(commands),
                lines(others),
                lines(&stream)
            )
        };
        assert_pairs(&stream, &told());

        // What was done is said.
        let changed = after != self.before;
        let said: Vec<&Argv> = stream.iter().filter(|c| upper(c) != b"SELECT").collect();
        assert!(!changed || !said.is_empty(), "a change that nobody hears of: {}", told());
        // And nothing else is. A write that succeeds may count as a change even if it wrote what
        // was there; and a read may find that a key has expired.
        let expired =
            |c: &Argv| [&b"DEL"[..], b"UNLINK", b"MULTI", b"EXEC"].contains(&&upper(c)[..]);
        if !said.iter().all(|c| expired(c)) {
            let mut all = commands.iter().zip(replies);
            let wrote = all.any(|(c, r)| self.may_change(c) && !r.is_error());
            assert!(wrote || !others.is_empty(), "a change that nobody made: {}", told());
            assert!(
                changed || said.iter().any(|c| upper(c) != b"MULTI" && upper(c) != b"EXEC"),
                "an empty transaction: {}",
                told()
            );
        }

        // It makes the replica equal.
        wait_for("the replica", || offset(&mut self.below) == now);
        let below = state(&mut self.below);
        assert_same(&after, &below, &format!("master and replica differ: {}", told()));
        self.before = after;
        self.offset = now;
    }

    /// The append only file makes a third one equal. (It was not rewritten: like the C's, that
    /// would not have the pending messages that were deleted.)
    fn check_file(&mut self) {
        // Keys that have expired go first: a server that loads them would see to it at some other
        // time.
        let keys =
            "sleihzxgcapy".chars().flat_map(|class| (0..5).map(move |n| format!("{class}{n}")));
        let exists = format!("EXISTS none {}", keys.collect::<Vec<_>>().join(" "));
        for db in 0..16 {
            self.admin.ask(&format!("SELECT {db}"));
            self.admin.ask(&exists);
        }
        self.look(&[], &[], &[]);
        let file = std::fs::read(self.master.dir.path("appendonly.aof")).unwrap();
        assert_pairs(&parse(&file), "the file");
        let dir = Folder::new();
        std::fs::write(dir.path("appendonly.aof"), file).unwrap();
        let args = ["--appendonly", "yes", "--aof-load-truncated", "no"];
        let loaded = TestServer::start_in(dir, OURS, &args);
        wait_for("the file to be loaded", || loaded.info("loading") == "0");
        assert_same(
            &self.before,
            &state(&mut loaded.conn()),
            "what was loaded from the file differs",
        );
    }
}

/// A command for a step.
fn command(g: &mut Gen) -> Argv {
    loop {
        let argv = g.command();
        let name = upper(&argv);
        // Replies and connections are others' matter, and so is what depends on the two clocks.
        let other = [
            &b"HELLO"[..],
            b"SELECT",
            b"CLIENT",
            b"AUTH",
            b"EXEC",
            b"DISCARD",
            b"DEBUG",
            b"LOLWUT",
            b"WATCH",
            b"RESTORE",
        ];
        // A setting of one server alone, and HyperLogLogs are strings that anybody can read.
        let sparse = argv.iter().any(|a| a == b"hll-sparse-max-bytes");
        if !is_harmful(&argv) && !sparse && !other.contains(&&name[..]) {
            return argv;
        }
    }
}

/// Waits until a time of expiry of a millisecond has passed on the server.
fn let_expire(c: &mut Conn) {
    let now = |c: &mut Conn| -> Vec<i64> {
        let time = c.cmd(&["TIME"]);
        time.array().iter().map(|t| t.text().parse().unwrap()).collect()
    };
    let start = now(c);
    wait_for("two milliseconds", || {
        let now = now(c);
        (now[0] - start[0]) * 1_000_000 + now[1] - start[1] > 2000
    });
}

/// Random commands over all types, alone, in transactions, on expired keys, and for clients that
/// wait.
#[test]
fn random_commands() {
    let mut random = Random::seeded();
    let mut g = Gen::new(random.next());
    let mut bench = Bench::new();
    let (start, mut steps) = (Instant::now(), 0u64);
    while start.elapsed() < how_long() {
        steps += 1;
        match random.below(20) {
            0..=9 => bench.step(&[command(&mut g)], &[]),
            10..=13 => {
                let mut commands = vec![words("MULTI")];
                for _ in 0..random.below(4) {
                    commands.push(command(&mut g));
                    if random.below(40) == 0 {
                        commands.push(words(random.pick(&["SAVE", "SELECT 1", "SELECT 0"])));
                    }
                }
                commands.push(words(if random.below(8) == 0 { "DISCARD" } else { "EXEC" }));
                bench.step(&commands, &[]);
            }
            14 | 15 => {
                // A key that is gone, if somebody looks.
                let key = g.value("any");
                let expire = vec![b"PEXPIRE".to_vec(), key, b"1".to_vec()];
                let reply = bench.main.cmd(&expire);
                let_expire(&mut bench.admin);
                bench.look(&[expire], &[reply], &[]);
                for _ in 0..4 {
                    bench.step(&[command(&mut g)], &[]);
                }
            }
            16 | 17 => {
                // Somebody waits. At the end of the step nobody does.
                let (kind, wait) = [
                    ("l", "BLPOP key 0"),
                    ("l", "BRPOP key 0"),
                    ("l", "BLMOVE key l4 LEFT RIGHT 0"),
                    ("l", "BRPOPLPUSH key l4 0"),
                    ("z", "BZPOPMIN key 0"),
                    ("z", "BZPOPMAX key 0"),
                    ("x", "XREADGROUP GROUP g1 waiter BLOCK 0 STREAMS key >"),
                    ("x", "XREADGROUP GROUP g1 waiter2 NOACK BLOCK 0 STREAMS key >"),
                ][random.below(8)];
                let key = g.value(kind);
                let mut wait = words(wait);
                wait.iter_mut().filter(|w| *w == b"key").for_each(|w| *w = key.clone());
                let id = bench.waiter.cmd(&["CLIENT", "ID"]).int().to_string();
                bench.waiter.send(&wait);
                // It was read: its name is the last command, or its reply is there.
                let seen = format!("cmd={}", String::from_utf8_lossy(&wait[0]).to_lowercase());
                let admin = &mut bench.admin;
                wait_for("the waiter", || {
                    admin.ask(&format!("CLIENT LIST ID {id}")).contains(&seen)
                });
                let mut commands = vec![words("MULTI")];
                for _ in 0..random.below(3) {
                    let (name, rest) = match kind {
                        "l" => ("RPUSH", vec![g.value("v"), g.value("v")]),
                        "z" => {
                            ("ZADD", vec![b"1".to_vec(), g.value("m"), b"2".to_vec(), g.value("m")])
                        }
                        _ => ("XADD", vec![b"*".to_vec(), g.value("m"), g.value("v")]),
                    };
                    commands.push([vec![name.as_bytes().to_vec(), key.clone()], rest].concat());
                }
                commands.push(words("EXEC"));
                for command in &commands {
                    bench.main.send(command);
                }
                let replies: Vec<Reply> = commands.iter().map(|_| bench.main.reply()).collect();
                bench.admin.cmd(&["CLIENT", "UNBLOCK", &id]);
                bench.waiter.reply();
                bench.look(&commands, &replies, &[wait]);
            }
            18 => {
                let key = g.value("x");
                let group = vec![
                    b"XGROUP".to_vec(),
                    b"CREATE".to_vec(),
                    key,
                    g.value("group"),
                    b"0".to_vec(),
                    b"MKSTREAM".to_vec(),
                ];
                bench.step(&[group], &[]);
            }
            _ => {
                let db = random.pick(&["0", "0", "1", "9"]);
                bench.step(&[words(&format!("SELECT {db}"))], &[]);
            }
        }
        if steps.is_multiple_of(2000) {
            bench.check_file();
        }
    }
    bench.check_file();
    println!("{steps} steps, of {} bytes of stream", bench.offset);
}
