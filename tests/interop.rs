//! A genuine redis-server on the other side, in both roles: Debian's (7.0), or the one that
//! FIDELIS_PEER names.

#[path = "support/ask.rs"]
mod ask;
#[path = "support/content.rs"]
mod content;
#[path = "support/peer/mod.rs"]
mod peer;
mod support;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use ask::*;
use content::*;
use peer::dump::same_dump;
use peer::known::Known;
use peer::values::{Gen, is_harmful, is_unordered_sort};
use peer::wire::{Argv, words};
use support::*;

/// The genuine server's binary.
fn peer_binary() -> String {
    std::env::var("FIDELIS_PEER").unwrap_or_else(|_| DEBIAN.to_string())
}

/// Its version, as "7.0.15".
fn peer_version() -> String {
    let said = tool(&peer_binary(), &["--version"]);
    let version = said.split_whitespace().find_map(|w| w.strip_prefix("v="));
    version.unwrap_or_else(|| panic!("no version: {said:?}")).to_string()
}

fn peer_is_6_2() -> bool {
    peer_version().starts_with("6.2.")
}

/// Starts it, with DEBUG, and without waiting for more replicas.
#[track_caller]
fn start_peer(args: &[&str]) -> TestServer {
    let debug = if peer_is_6_2() { &[][..] } else { &["--enable-debug-command", "yes"] };
    let at_once = &["--repl-diskless-sync-delay", "0"];
    TestServer::start_binary(peer_binary(), &[debug, at_once, args].concat())
}

/// Its replica follows us: RDB version 9, our stream, our offsets.
#[test]
fn the_peer_follows_us() {
    let master = TestServer::start(&["--repl-backlog-size", "10mb"]);
    let load = WriteLoad::start(master.port);
    wait_for("some writes", || load.writes() > 1000);
    let replica = start_peer(&[]).replica_of(&master);
    let before = load.writes();
    wait_for("more writes", || load.writes() > before + 500);
    master.cmd(&["CLIENT", "KILL", "TYPE", "replica"]);
    replica.wait_for_link();
    load.stop();
    assert_same_data(&master, &replica);
    assert_eq!(master.info("sync_full"), "1");
    assert!(master.info_i64("sync_partial_ok") >= 1);
}

/// We follow it: RDB version 10 (sent without a disk, with an EOF mark), its stream.
#[test]
fn we_follow_the_peer() {
    for diskless in ["yes", "no"] {
        let master = start_peer(&["--repl-diskless-sync", diskless]);
        let library = "#!lua name=mylib\nredis.register_function('f', function() return 1 end)";
        let has_functions = !master.cmd(&["FUNCTION", "LOAD", library]).is_error();
        let load = WriteLoad::start(master.port);
        wait_for("some writes", || load.writes() > 1000);
        let replica = TestServer::start(&[]).replica_of(&master);
        assert_eq!(master.cmd(&["CLIENT", "KILL", "TYPE", "replica"]).int(), 1);
        replica.wait_for_log("Connection with master lost");
        replica.wait_for_link();
        load.stop();
        assert_same_data(&master, &replica);
        assert_eq!(master.info("sync_full"), "1", "diskless {diskless}");
        let warned = replica.log().contains("mylib");
        assert_eq!(warned, has_functions, "the function library was skipped with a warning");
    }
}

/// A chain of a genuine master, ours, and a genuine replica.
#[test]
fn we_stand_between_two_of_them() {
    let a = start_peer(&[]);
    let b = TestServer::start(&[]).replica_of(&a);
    let c = start_peer(&[]).replica_of(&b);
    let load = WriteLoad::start(a.port);
    wait_for("some writes", || load.writes() > 1000);
    load.stop();
    assert_same_data(&a, &b);
    assert_same_data(&a, &c);
}

/// Scripts as they are used: a lock, a limit, a queue, a table of scores, and what is done with
/// JSON and MessagePack on the way.
const SCRIPTS: &[&str] = &[
    "local t = redis.call('get', KEYS[1]) if t == ARGV[1] then redis.call('del', KEYS[1]) return 1 end \
     redis.call('set', KEYS[1], ARGV[1], 'PX', 100000000) return 0",
    "local n = redis.call('incr', KEYS[1]) if n == 1 then redis.call('expire', KEYS[1], 100000) end \
     if n > 5 then redis.call('set', KEYS[1], 0) end return n",
    "local id = redis.call('incr', KEYS[1]) redis.call('hset', KEYS[1] .. 'h', id, cjson.encode({id = id, d = ARGV})) \
     redis.call('lpush', KEYS[1] .. 'q', id) return redis.call('ltrim', KEYS[1] .. 'q', 0, 20)",
    "local t = {} for i = 1, 10 do t['k' .. i] = math.random(1000) end \
     for k, v in pairs(t) do redis.call('zadd', KEYS[1] .. 'z', v, k .. ARGV[1]) end \
     return redis.call('zremrangebyrank', KEYS[1] .. 'z', 0, -30)",
    "redis.call('sadd', KEYS[1] .. 's', ARGV[1], ARGV[1] .. 'x', #ARGV[1]) \
     for _, m in ipairs(redis.call('smembers', KEYS[1] .. 's')) do redis.call('rpush', KEYS[1] .. 'o', m) end \
     redis.call('ltrim', KEYS[1] .. 'o', -50, -1)",
    "redis.replicate_commands() redis.call('rpush', KEYS[1] .. 'r', redis.call('time')[1], math.random()) \
     return redis.call('spop', KEYS[1] .. 's')",
    "redis.call('set', KEYS[1] .. 'x', cmsgpack.pack({ARGV[1], 1.5, {a = 1, b = {2}}})) \
     redis.call('append', KEYS[1] .. 'x', struct.pack('>I2', #ARGV[1])) error('too late')",
    "redis.replicate_commands() redis.set_repl(redis.REPL_NONE) redis.call('set', 'here', ARGV[1]) \
     redis.call('del', 'here') redis.set_repl(redis.REPL_REPLICA) redis.call('incr', KEYS[1] .. 'i') \
     redis.set_repl(redis.REPL_ALL) return redis.call('incr', KEYS[1] .. 'i')",
    "redis.pcall('nope') redis.pcall('lpush', KEYS[1], 1) redis.setresp(3) \
     return redis.call('hgetall', KEYS[1] .. 'h')",
    "return redis.call('get', KEYS[1])",
];

/// A master and a replica, one of them genuine, are fed by scripts, sent as such and as their
/// commands, by text and by name, while scripts are loaded and forgotten. When all is still they
/// have the same data.
#[test]
fn fed_by_scripts() {
    let mut names: Vec<String> = Vec::new();
    for (ours_leads, whole) in [(true, false), (true, true), (false, false), (false, true)] {
        // Both have to know: members of a set are sorted where scripts are sent as such. Since 7.0
        // there is but one way.
        let modes = if whole { &["--lua-replicate-commands", "no"][..] } else { &[] };
        let (master, replica) = if ours_leads {
            let master = TestServer::start(modes);
            let replica = start_peer(if peer_is_6_2() { modes } else { &[] });
            (master, replica)
        } else {
            let master = start_peer(if peer_is_6_2() { modes } else { &[] });
            (master, TestServer::start(modes))
        };
        let replica = replica.replica_of(&master);
        let mut c = master.conn();
        if names.is_empty() {
            names = SCRIPTS.iter().map(|s| c.cmd(&["SCRIPT", "LOAD", s]).text()).collect();
        }
        let mut g = Gen::new(1);
        for round in 0..5 {
            for _ in 0..150 {
                let n = g.rng.below(SCRIPTS.len());
                // In 7.0 they see random numbers, and a set in any order.
                let depends =
                    ["math.random(1000)", "smembers"].iter().any(|w| SCRIPTS[n].contains(w));
                if depends && whole && !peer_is_6_2() {
                    continue;
                }
                let key = format!("k{}", g.rng.below(4));
                let arg = format!("a{}", g.rng.below(9));
                let by_name = ["EVALSHA", &names[n], "1", &key, &arg];
                let by_text = ["EVAL", SCRIPTS[n], "1", &key, &arg];
                let transaction = g.rng.one_in(10);
                if transaction {
                    c.ask("MULTI");
                }
                if g.rng.one_in(2) || flat(&c.cmd(&by_name)).starts_with("-NOSCRIPT") {
                    c.cmd(&by_text);
                }
                if transaction {
                    c.ask("EXEC");
                }
                match g.rng.below(60) {
                    0 => drop(c.ask("SCRIPT FLUSH")),
                    1 => drop(c.cmd(&["SCRIPT", "LOAD", SCRIPTS[n]])),
                    2 => drop(c.ask("SELECT 1")),
                    3 => drop(c.ask("SELECT 0")),
                    _ => {}
                }
            }
            wait_for_offset(&master, &replica);
            assert_same_data(&master, &replica);
            // A new replica knows no scripts: they are sent to it as texts again.
            if round == 2 {
                replica.cmd(&["REPLICAOF", "NO", "ONE"]);
                replica.cmd(&["SCRIPT", "FLUSH"]);
                replica.cmd(&["FLUSHALL"]);
                replica.replicaof_port(master.port);
                replica.wait_for_link();
            }
        }
        assert!(master.cmd(&["DBSIZE"]).int() > 10);
    }
}

/// redis-cli and redis-benchmark find nothing strange.
#[test]
fn debians_tools() {
    let server = TestServer::start(&[]);
    let port = server.port.to_string();
    assert_eq!(tool("redis-cli", &["-p", &port, "SET", "k", "v"]), "OK\n");
    assert_eq!(tool("redis-cli", &["-p", &port, "GET", "k"]), "v\n");
    assert_eq!(tool("redis-cli", &["-3", "-p", &port, "GET", "k"]), "v\n");
    assert!(tool("redis-cli", &["-p", &port, "INFO"]).contains("redis_version:6.2.16"));
    assert!(tool("redis-cli", &["-p", &port, "--scan"]).contains('k'));
    let out =
        tool("redis-benchmark", &["-p", &port, "-t", "ping,set,get,incr,mset", "-n", "2000", "-q"]);
    assert!(out.contains("GET:") && !out.to_lowercase().contains("error"), "{out}");
    let rdb = server.dir.path("copy.rdb");
    tool("redis-cli", &["-p", &port, "--rdb", rdb.to_str().unwrap()]);
    assert!(std::fs::read(&rdb).unwrap().starts_with(b"REDIS0009"));
}

/// MIGRATE there and back: AUTH, AUTH2, KEYS, COPY, REPLACE, and every way to be refused.
#[test]
fn keys_migrate_there_and_back() {
    let (ours, mut peer) = (TestServer::start(&[]), start_peer(&[]));
    let (mut c, mut d) = (ours.conn(), peer.conn());
    d.ask("ACL SETUSER mover on >word ~* &* +@all");
    d.ask("CONFIG SET requirepass secret");
    let port = peer.port;
    let to = |key: &str, options: &str| format!("MIGRATE 127.0.0.1 {port} {key} 0 5000 {options}");
    let refused = "-ERR Target instance replied with error: ";

    c.ask("SET a 1 PX 1000000");
    assert_eq!(c.ask(&to("missing", "")), "NOKEY");
    assert!(c.ask(&to("a", "")).starts_with(&format!("{refused}NOAUTH ")));
    assert!(c.ask(&to("a", "AUTH wrong")).starts_with(&format!("{refused}WRONGPASS ")));
    assert!(c.ask(&to("a", "AUTH2 mover wrong")).starts_with(&format!("{refused}WRONGPASS ")));
    assert_eq!(c.ask("EXISTS a"), "1", "what was refused stays");
    for (options, error) in [
        ("AUTH", "-ERR syntax error"),
        ("AUTH2 mover", "-ERR syntax error"),
        ("FAST", "-ERR syntax error"),
        (
            "KEYS a b",
            "-ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
        ),
    ] {
        assert_eq!(c.ask(&to("a", options)), error);
    }

    assert_eq!(c.ask(&to("a", "COPY AUTH2 mover word")), "OK");
    assert_eq!([c.ask("GET a"), d.ask("GET a")], ["1", "1"]);
    let ttl = d.cmd(&["PTTL", "a"]).int();
    assert!((900_000..=1_000_000).contains(&ttl), "{ttl}");
    c.ask("SET a 2");
    let busy = format!("{refused}BUSYKEY Target key name already exists.");
    assert_eq!(c.ask(&to("a", "AUTH secret")), busy);
    assert_eq!(c.ask(&to("a", "REPLACE AUTH secret")), "OK");
    assert_eq!([c.ask("EXISTS a"), d.ask("GET a"), d.ask("PTTL a")], ["0", "2", "-1"]);

    // One of every type at once, into another db, by a replica's eyes a DEL.
    let replica = TestServer::start(&[]).replica_of(&ours);
    for line in [
        "RPUSH list 1 two 3",
        "SADD intset 1 2 3",
        "SADD set a b",
        "HSET hash f v 1 2",
        "ZADD zset 1 a 2.5 b",
        "XADD stream 1-1 f v",
        "SETRANGE string 5000 x",
    ] {
        c.ask(line);
    }
    let keys = ["list", "intset", "set", "hash", "zset", "stream", "string"];
    let digests = |c: &mut Conn| flat(&c.cmd(&[&["DEBUG", "DIGEST-VALUE"], &keys[..]].concat()));
    let before = digests(&mut c);
    let migrate = |port: u16, options: &[&str]| {
        let port = port.to_string();
        let head = ["MIGRATE", "127.0.0.1", &port, "", "3", "5000"];
        [&head[..], options, &["KEYS", "missing"], &keys]
            .concat()
            .iter()
            .map(|w| w.to_string())
            .collect()
    };
    let words: Vec<String> = migrate(peer.port, &["AUTH", "secret"]);
    assert_eq!(flat(&c.cmd(&words)), "OK");
    assert_eq!((c.ask("DBSIZE"), d.ask("SELECT 3")), ("0".to_string(), "OK".to_string()));
    assert_eq!(digests(&mut d), before);
    assert_same_data(&ours, &replica);
    // Its payloads are of version 10.
    let words: Vec<String> = migrate(ours.port, &[]);
    assert_eq!(flat(&d.cmd(&words)), "OK");
    assert_eq!((c.ask("SELECT 3"), d.ask("DBSIZE")), ("OK".to_string(), "0".to_string()));
    assert_eq!(digests(&mut c), before);

    // Nobody is there any more: not over the connection that was kept, and not over a new one.
    let gone = to("string", "AUTH secret");
    peer.kill();
    let reply = c.ask(&gone);
    assert!(reply.starts_with("-IOERR error or timeout "), "{reply}");
    assert_eq!(c.ask("EXISTS string"), "1");
}

/// How far a group came by XREADGROUP with NOACK: 7.0 tells it with an option that 6.2 does not
/// know.
#[test]
fn the_peer_reads_without_acknowledging() {
    let master = start_peer(&[]);
    let replica = TestServer::start(&["--appendonly", "yes"]).replica_of(&master);
    let (mut m, mut r) = (master.conn(), replica.conn());
    // Its file begins with what came by the RDB; what comes now stands behind that.
    replica.wait_for_log("Background AOF rewrite finished successfully");
    for line in [
        "XADD stream 1-1 f v",
        "XADD stream 2-2 f v",
        "XGROUP CREATE stream group 0",
        "XREADGROUP GROUP group alice COUNT 1 NOACK STREAMS stream >",
    ] {
        assert!(!m.ask(line).starts_with('-'), "{line}");
    }
    wait_for_offset(&master, &replica);
    let groups = "[[name group consumers 1 pending 0 last-delivered-id 1-1]]";
    assert_eq!(r.ask("XINFO GROUPS stream"), groups);
    // And by its file.
    assert_eq!(r.ask("DEBUG LOADAOF"), "OK");
    assert_eq!(r.ask("XINFO GROUPS stream"), groups);
    // From nobody else.
    assert_eq!(r.ask("REPLICAOF NO ONE"), "OK");
    let refused = r.ask("XGROUP SETID stream group 0 ENTRIESREAD 0");
    assert!(
        refused.starts_with("-ERR Unknown subcommand or wrong number of arguments"),
        "{refused}"
    );
}

// -----------------------------------------------------------------------------
// Every type
// -----------------------------------------------------------------------------

/// Small limits, so that the few keys of the random stream come into every encoding; no PING, so
/// that a master's offset moves by writes alone.
const LIMITS: &[&str] = &[
    "--hash-max-ziplist-entries",
    "16",
    "--zset-max-ziplist-entries",
    "16",
    "--set-max-intset-entries",
    "16",
    "--stream-node-max-entries",
    "10",
    "--hll-sparse-max-bytes",
    "300",
    "--rdbcompression",
    "yes",
    "--repl-backlog-size",
    "64mb",
    "--repl-ping-replica-period",
    "3600",
];

/// Commands of the random stream in each of its parts; many more with FIDELIS_LONG.
fn stream_length() -> usize {
    if std::env::var_os("FIDELIS_LONG").is_some() { 40_000 } else { 800 }
}

/// The peer is the master: its RDB, its stream.
#[test]
fn every_type_comes_from_the_peer() {
    every_type(start_peer(LIMITS), TestServer::start(LIMITS));
}

/// We are.
#[test]
fn every_type_goes_to_the_peer() {
    every_type(TestServer::start(LIMITS), start_peer(LIMITS));
}

/// A full sync under writes, two partial ones after cuts, and the roles changed twice: with all
/// types in the data and in the stream, and all of it compared.
fn every_type(a: TestServer, b: TestServer) {
    // 6.2 passes relative times of expiry on as they are: they begin when the replica gets them.
    let lag = PATIENCE.as_millis() as i64;
    let length = stream_length();
    let lag_of_a = if a.is_ours() || peer_is_6_2() { lag } else { 0 };
    let mut writer = Writer::new(&a);
    writer.fill();
    assert_has_every_encoding(&a);
    let proxy = Proxy::start(a.port);
    std::thread::scope(|s| {
        s.spawn(|| {
            writer.random(length);
            writer.every_family();
        });
        b.replicaof_port(proxy.port);
        b.wait_for_link();
    });
    assert_same_content(&a, &b, lag_of_a);
    writer.every_family();
    writer.random(length);
    assert_same_content(&a, &b, lag_of_a);

    // The link is cut twice, the second time within a command.
    let continued = |n: i64| {
        wait_for("a partial resync", || a.info_i64("sync_partial_ok") >= n);
        b.wait_for_link();
    };
    proxy.limit.store(20_000, Ordering::Relaxed);
    assert_eq!(a.cmd(&["CLIENT", "KILL", "TYPE", "replica"]).int(), 1);
    writer.random(length / 4);
    writer.every_family();
    continued(1);
    proxy.limit.store(u64::MAX, Ordering::Relaxed);
    writer.conn.cmd(&[b"SET".to_vec(), b"cut".to_vec(), vec![b'c'; 40_000]]);
    writer.every_family();
    continued(2);
    writer.random(length / 4);
    assert_same_content(&a, &b, lag_of_a);
    assert_eq!(a.info("sync_full"), "1", "only the first sync was full");

    // The roles change, and change back; what was written meanwhile is all that goes over the wire.
    for (old, new) in [(&a, &b), (&b, &a)] {
        assert_eq!(new.cmd(&["REPLICAOF", "NO", "ONE"]).text(), "OK");
        writer.turn_to(new);
        writer.every_family();
        writer.random(length / 4);
        let partial = new.info_i64("sync_partial_ok");
        old.replicaof_port(new.port);
        old.wait_for_link();
        assert_eq!(new.info_i64("sync_partial_ok"), partial + 1, "{}", new.log());
        writer.random(length / 4);
        assert_same_content(new, old, lag);
    }
    assert_eq!((a.info("sync_full"), b.info("sync_full")), ("1".into(), "0".into()));
}

/// That `Writer::fill` made what it is for; 7.0 has listpacks where 6.2 has ziplists.
#[track_caller]
fn assert_has_every_encoding(server: &TestServer) {
    let mut c = server.conn();
    let content = content(&mut c);
    let found: BTreeSet<_> =
        content.values().map(|k| k.encoding.replace("listpack", "ziplist")).collect();
    let all = "embstr hashtable int intset quicklist raw skiplist stream ziplist".split(' ');
    assert_eq!(found, all.map(String::from).collect());
    c.ask("SELECT 0");
    for (key, compressed) in [("list:nodes", 0), ("list:compressed", 1)] {
        let object = c.ask(&format!("DEBUG OBJECT {key}"));
        let field = |name: &str| object.split(' ').find_map(|f| f.strip_prefix(name)).unwrap();
        assert!(field("ql_nodes:").parse::<u32>().unwrap() >= 3, "{key}: {object}");
        assert_eq!(field("ql_compressed:"), compressed.to_string(), "{key}: {object}");
    }
}

/// Compares all of two servers: offsets, keys, values, times of expiry, digests. Ours has encodings
/// of 6.2, and beside a genuine 6.2 the same bytes in them. A time of expiry may be off by `lag`
/// milliseconds, but for keys `at:...`.
#[track_caller]
fn assert_same_content(master: &TestServer, replica: &TestServer, lag: i64) {
    wait_for_offset(master, replica);
    let (mut m, mut r) = (master.conn(), replica.conn());
    let (ours, theirs) = (content(&mut m), content(&mut r));
    let names = |content: &Content| content.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&theirs), "not the same keys");
    let of_6_2 = peer_is_6_2();
    let mut dumps = 0;
    for ((db, name), key) in &ours {
        let (other, shown) = (&theirs[&(*db, name.clone())], name.escape_ascii());
        let lag = if name.starts_with(b"at:") { 0 } else { lag };
        assert!(key.same(other, lag), "{shown} in db {db}: master\n{key:?}\nreplica\n{other:?}");
        for (key, server) in [(key, master), (other, replica)] {
            assert!(!server.is_ours() || key.has_encoding_of_6_2(), "{shown}: {}", key.encoding);
        }
        // After a load a table may have become compact again, and a table's order is its own.
        let tables = ["hashtable", "skiplist"];
        if of_6_2 && key.encoding == other.encoding && !tables.contains(&&key.encoding[..]) {
            let dump = |c: &mut Conn| {
                c.ask(&format!("SELECT {db}"));
                c.cmd(&[b"DUMP", &name[..]]).bytes().to_vec()
            };
            let (a, b) = (dump(&mut m), dump(&mut r));
            assert!(same_dump(&a, &b), "{shown}:\n{}\n{}", a.escape_ascii(), b.escape_ascii());
            dumps += 1;
        }
    }
    assert_eq!(master.digest(), replica.digest(), "the digests differ");
    println!("{} keys are the same, {dumps} dumps", ours.len());
}

/// Who writes to the master: a random stream, and what the stream leaves to chance.
struct Writer {
    conn: Conn,
    /// A client that blocks.
    waiter: Conn,
    generator: Gen,
    known: Known,
    /// Counts the rounds of `every_family`.
    round: u64,
}

impl Writer {
    fn new(master: &TestServer) -> Writer {
        let seed = std::env::var("FIDELIS_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
        println!("FIDELIS_SEED={seed}");
        Writer {
            conn: master.conn(),
            waiter: master.conn(),
            generator: Gen::new(seed),
            known: Known::new(&peer_version()),
            round: 0,
        }
    }

    /// Writes to another server from now on.
    fn turn_to(&mut self, master: &TestServer) {
        self.conn = master.conn();
        self.waiter = master.conn();
    }

    /// One command of which nobody expects an error.
    #[track_caller]
    fn ok(&mut self, line: &str) -> String {
        let reply = self.conn.ask(line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
        reply
    }

    /// Every type in every encoding, in three databases, with times of expiry and without.
    fn fill(&mut self) {
        for db in [0, 5, 15] {
            self.ok(&format!("SELECT {db}"));
            self.ok("SET at:the-start v PX 1000000001");
            self.strings();
            self.lists();
            self.sets_and_hashes();
            self.sorted_sets();
            self.streams();
            for (n, key) in items(&self.conn.cmd(&["KEYS", "*"])).iter().enumerate() {
                if n % 5 == 0 {
                    let ms = (100_000_000 + n).to_string();
                    self.conn.cmd(&[b"PEXPIRE", &key[..], ms.as_bytes()]);
                }
            }
        }
        self.ok("SELECT 0");
    }

    fn strings(&mut self) {
        for line in [
            "SET str:int 12345",
            "SET str:least -9223372036854775808",
            "SET str:no-int 0012",
            "SET str:embstr hello",
            "SETRANGE str:zeros 5000 x",
            "SETBIT bitmap 70000 1",
            "BITFIELD bitmap SET u8 #7 200 INCRBY i16 1000 -77",
            "PFADD hll:sparse a b c d",
        ] {
            self.ok(line);
        }
        let all: Vec<u8> = (0..=255).collect();
        let noise: Vec<u8> = (0..300_000).map(|_| self.generator.rng.next() as u8).collect();
        for (key, value) in [
            (&b"str:empty"[..], &b""[..]),
            (b"str:raw", &b"abc".repeat(200)),
            (b"str:binary", &all),
            (b"str:big", &noise),
            (b"str:key with \r\n\0\xff", b"v"),
            (b"", b"the empty key"),
        ] {
            self.conn.cmd(&[b"SET", key, value]);
        }
        for n in 0..40 {
            self.ok(&format!("PFADD hll:dense {n} x{n} y{n} z{n} a{n} b{n} c{n} d{n}"));
        }
    }

    fn lists(&mut self) {
        self.ok("RPUSH list:small a 1 -1 300 70000 9000000000 -9223372036854775808");
        self.conn.cmd(&[&b"LPUSH"[..], b"list:small", b"", b"\0\xff"]);
        self.ok("CONFIG SET list-compress-depth 1");
        for n in 0..180 {
            let text = "t".repeat(n);
            self.ok(&format!("RPUSH list:compressed {text}{text} {n} element{n}"));
        }
        self.ok("CONFIG SET list-compress-depth 0");
        for n in 0..400 {
            let text = "element".repeat(n % 13);
            self.ok(&format!("LPUSH list:nodes {n} {text}{n} {}", n * 1_000_000));
        }
        let big = vec![b'b'; 100_000];
        self.conn.cmd(&[&b"RPUSH"[..], b"list:nodes", &big, b"behind"]);
    }

    fn sets_and_hashes(&mut self) {
        for line in [
            "SADD set:int16 1 -2 3",
            "SADD set:int32 1 -70000",
            "SADD set:int64 1 9000000000 -9223372036854775808",
            "SADD set:mixed 1 a b",
            "HSET hash:small f v n 12 m -70000 big 9000000000",
        ] {
            self.ok(line);
        }
        self.conn.cmd(&["HSET", "hash:small", "", "empty", "empty", ""]);
        self.conn.cmd(&["HSET", "hash:long", "f", &"w".repeat(100)]);
        for n in 0..40 {
            self.ok(&format!("SADD set:was-int {n}"));
            self.ok(&format!("SADD set:table {n} member{n}"));
            self.ok(&format!("HSET hash:table {n} {n} field{n} value{n}"));
        }
    }

    fn sorted_sets(&mut self) {
        for line in [
            "ZADD zset:small 1 a 1 b 2.5 c -inf low +inf high 3.3000000000000003 30 1e300 huge",
            "GEOADD geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania 2.35 48.85 Paris",
        ] {
            self.ok(line);
        }
        self.conn.cmd(&["ZADD", "zset:long", "4.9e-324", &"z".repeat(100), "7", ""]);
        for n in 0..40 {
            self.ok(&format!("ZADD zset:table {}.1 {n} {n} member{n} 5 same{n}", n * n));
        }
    }

    fn streams(&mut self) {
        for n in 1..=50 {
            let more = if n % 7 == 0 { "other 1" } else { "" };
            self.ok(&format!("XADD stream {n}-{} a {n} b value{n} {more}", n % 3));
        }
        for line in [
            "XDEL stream 5-2 6-0 50-2",
            "XTRIM stream MINID 3",
            "XGROUP CREATE stream group 0",
            "XGROUP CREATE stream $group $",
            "XGROUP CREATECONSUMER stream group idle",
            "XREADGROUP GROUP group alice COUNT 12 STREAMS stream >",
            "XREADGROUP GROUP group bob COUNT 8 STREAMS stream >",
            "XREADGROUP GROUP group bob COUNT 2 STREAMS stream 0",
            "XACK stream group 4-1 7-1",
            "XADD stream:emptied 7-7 a b",
            "XDEL stream:emptied 7-7",
            "XGROUP CREATE stream:group-only g $ MKSTREAM",
        ] {
            self.ok(line);
        }
        let big = vec![b'x'; 5000];
        self.conn.cmd(&[&b"XADD"[..], b"stream:big", b"1-1", b"", &big]);
        self.conn.cmd(&[&b"XADD"[..], b"stream:big", b"1-2", b"\0\xff", b""]);
    }

    /// `n` random commands on keys of all types, a few of them in transactions.
    fn random(&mut self, n: usize) {
        let mut left = n;
        while left > 0 {
            let mut batch: Vec<Argv> = vec![];
            while batch.len() < left.min(100) {
                if self.generator.rng.one_in(40) {
                    batch.push(words("MULTI"));
                    let size = self.generator.rng.below(6);
                    let queued = (0..size).map(|_| self.random_command());
                    let queued: Vec<Argv> = queued.collect();
                    batch.extend(
                        queued.into_iter().filter(|q| !self.known.avoids_in_transaction(q)),
                    );
                    batch.push(words("EXEC"));
                } else {
                    batch.push(self.random_command());
                }
            }
            left = left.saturating_sub(batch.len());
            let bytes: Vec<u8> = batch.iter().flat_map(|argv| Conn::encode(argv)).collect();
            self.conn.raw(&bytes).expect("send");
            for _ in &batch {
                self.conn.reply();
            }
        }
        // It may have watched keys, and be in any database.
        self.ok("UNWATCH");
        self.ok("SELECT 0");
    }

    /// A command of the generator's that has the same effect on both versions.
    fn random_command(&mut self) -> Argv {
        loop {
            let argv = self.generator.command();
            let name = argv[0].to_ascii_uppercase();
            let unwanted = match &name[..] {
                // Limits hold for one server only.
                b"CONFIG" => true,
                // Behind an id of today a stream would take no other.
                b"XADD" => argv.contains(&b"*".to_vec()),
                // 7.0 tells no replica of a string that grew when the operation then failed.
                b"BITFIELD" => argv.iter().any(|a| a.eq_ignore_ascii_case(b"FAIL")),
                // A consumer that comes to be by reading what is pending is not replicated.
                b"XREADGROUP" => {
                    let at = argv.iter().position(|a| a.eq_ignore_ascii_case(b"STREAMS"));
                    let streams = at.map_or(&[][..], |at| &argv[at + 1..]);
                    !streams[streams.len() / 2..].iter().all(|id| id == b">")
                }
                _ => false,
            };
            if !unwanted
                && !is_harmful(&argv)
                && !self.known.avoids(&argv)
                && !is_unordered_sort(&argv)
            {
                return argv;
            }
        }
    }

    /// What a random stream may miss, once more with each call: writes that are replicated as
    /// something else, wait for somebody, depend on the clock or on chance, or write into another
    /// key or database.
    fn every_family(&mut self) {
        self.round += 1;
        self.ok(&format!("SET round {}", self.round));
        for line in FAMILIES {
            self.ok(line);
        }
        self.ok("MULTI");
        for line in QUEUED {
            assert_eq!(self.conn.ask(line), "QUEUED");
        }
        assert!(self.ok("EXEC").contains("WRONGTYPE"), "one of them fails, the others do not");

        // Somebody waits, and is served.
        for (wait, feed) in WAITS {
            self.waiter.send(&words(wait));
            wait_for("a blocked client", || {
                self.conn.ask("INFO clients").contains("blocked_clients:1")
            });
            self.ok(feed);
            let reply = next(&mut self.waiter);
            assert!(reply.starts_with('[') || reply == "a", "{wait}: {reply}");
        }

        // Time passes.
        for key in ["time:set", "time:hash"] {
            self.ok(&format!("PEXPIRE {key} 1"));
            wait_for("its end", || self.conn.ask(&format!("EXISTS {key}")) == "0");
        }
    }
}

/// Writes that both versions take whatever the random stream did before.
const FAMILIES: &[&str] = &[
    // Times of expiry, which are replicated as absolute ones.
    "SET time:set v",
    "HSET time:hash f v",
    "SET e:ex v EX 100000",
    "SET e:px v PX 100000000",
    "SET at:exat v EXAT 4102444800",
    "SET at:pxat v PXAT 4102444800123",
    "SET at:pxat w KEEPTTL",
    "SETEX e:setex 100000 v",
    "PSETEX e:psetex 100000000 v",
    "GETEX e:psetex EX 90000",
    "GETEX e:setex PX 900000000",
    "GETEX e:px PERSIST",
    "EXPIRE e:ex 200000",
    "PEXPIRE hash:table 100000001",
    "SET at:expire v",
    "EXPIREAT at:expire 4102444801",
    "SET at:getex v",
    "GETEX at:getex PXAT 4102444800001",
    "PEXPIREAT stream 4102444800777",
    "PERSIST stream",
    "SET e:gone v",
    "EXPIRE e:gone -1",
    "SET e:gone v EX 1000",
    "PEXPIREAT e:gone 1",
    "SET e:gone v",
    "GETDEL e:gone",
    "INCRBYFLOAT e:float 1.1",
    "HINCRBYFLOAT hash:small float 0.1",
    "GETSET e:ex persistent",
    // Other keys and databases.
    "SET k:a v EX 100000",
    "RENAME k:a k:b",
    "COPY k:b k:c REPLACE",
    "COPY zset:table k:z DB 5 REPLACE",
    "COPY stream k:stream REPLACE",
    "SELECT 9",
    "UNLINK k:c",
    "SELECT 0",
    "MOVE k:c 9",
    "SELECT 3",
    "HSET three f 3",
    "RPUSH list 3",
    "SELECT 8",
    "SADD eight 8",
    "FLUSHDB",
    "SELECT 0",
    "SWAPDB 3 4",
    // Chance.
    "DEL spop",
    "SADD spop 1 2 3 4 5 6 7 8 9",
    "SPOP spop",
    "SPOP spop 3",
    "SADD spop a b c d e f",
    "SPOP spop 4",
    "SADD spop:all 1 2 3",
    "SPOP spop:all 5",
    "SPOP set:was-int 2",
    "SPOP set:table",
    // Results that are stored.
    "SORT set:table ALPHA STORE sorted:table",
    "SORT set:int64 DESC STORE sorted:int64",
    "SORT list:small BY nosort GET # GET none:* STORE sorted:list",
    "SORT zset:table ALPHA LIMIT 0 5 STORE sorted:zset",
    "GEOADD geo CH 2.36 48.86 Paris 13.361389 38.115556 Palermo",
    "GEORADIUS geo 15 37 200 km STORE geo:near",
    "GEORADIUSBYMEMBER geo Palermo 2000 km STOREDIST geo:distance",
    "GEOSEARCHSTORE geo:box geo FROMLONLAT 15 37 BYBOX 400 400 km",
    "ZUNIONSTORE z:union 2 zset:small zset:table WEIGHTS 1 2 AGGREGATE MAX",
    "ZINTERSTORE z:inter 2 zset:table set:table",
    "ZDIFFSTORE z:diff 2 zset:table zset:small",
    "ZRANGESTORE z:range zset:table 0 9",
    "ZPOPMIN zset:table 2",
    "ZPOPMAX zset:table",
    "ZREMRANGEBYRANK z:union 0 1",
    "ZREMRANGEBYSCORE z:union 100 200",
    "SINTERSTORE s:inter set:table set:was-int",
    "SUNIONSTORE s:union set:int16 set:int32 set:int64",
    "SDIFFSTORE s:diff set:table set:int16",
    "SMOVE set:table s:moved member1",
    "BITOP NOT bitmap:not bitmap",
    "BITOP XOR bitmap:xor bitmap str:raw",
    "BITFIELD bitmap OVERFLOW SAT INCRBY u8 #3 200",
    "PFADD hll:sparse e f g h",
    "PFCOUNT hll:sparse",
    "PFMERGE hll:merged hll:sparse hll:dense",
    // From list to list.
    "RPUSH list:small tail",
    "LMOVE list:nodes list:small LEFT RIGHT",
    "RPOPLPUSH list:small list:small",
    "LINSERT list:small BEFORE tail pivot",
    "LSET list:small 0 first",
    "LREM list:small -1 tail",
    "LTRIM list:nodes 1 -2",
    // Streams: ids of now, groups, claims.
    "XADD now * f v",
    "XADD now MAXLEN ~ 100 * f v",
    "XADD now MINID ~ 1 * f v g w",
    "DEL claims",
    "XADD claims 1-1 f v",
    "XADD claims 2-1 f v",
    "XADD claims 3-1 f v",
    "XADD claims 4-1 f v",
    "XADD claims 5-1 f v",
    "XADD claims 6-1 g w h x",
    "XGROUP CREATE claims g 0",
    "XGROUP CREATE claims no-ack 0",
    "XGROUP CREATE claims gone $",
    "XREADGROUP GROUP g alice COUNT 4 STREAMS claims >",
    "XREADGROUP GROUP g alice COUNT 1 STREAMS claims 0",
    "XREADGROUP GROUP no-ack alice COUNT 3 NOACK STREAMS claims >",
    "XCLAIM claims g bob 0 1-1 2-1 RETRYCOUNT 5",
    "XCLAIM claims g bob 0 3-1 JUSTID IDLE 1000",
    "XCLAIM claims g bob 0 5-1 FORCE TIME 4102444800000",
    "XAUTOCLAIM claims g carol 0 2-1 COUNT 2",
    "XAUTOCLAIM claims g dave 0 - COUNT 1 JUSTID",
    "XACK claims g 1-1",
    "XGROUP DELCONSUMER claims g bob",
    "XGROUP CREATECONSUMER claims g eve",
    "XGROUP SETID claims g 4-1",
    "XGROUP DESTROY claims gone",
    "XDEL claims 6-1",
    "XTRIM claims MAXLEN 4",
    "XSETID claims 9-9",
    "XREADGROUP GROUP g eve STREAMS claims >",
    "DEL wait:l wait:l2 wait:z wait:z2 wait:x",
    "XGROUP CREATE wait:x g $ MKSTREAM",
];

/// What is sent in a transaction.
const QUEUED: &[&str] = &[
    "INCR multi:n",
    "RPUSH multi:l a b",
    "LPUSH multi:n x",
    "SPOP spop",
    "SET multi:e v EX 100000",
    "SELECT 5",
    "XADD multi:x * f v",
    "SELECT 0",
];

/// What a client waits for, and the write that serves it.
const WAITS: &[(&str, &str)] = &[
    ("BLPOP wait:l 0", "RPUSH wait:l a b c"),
    ("BRPOP wait:none wait:l2 0", "RPUSH wait:l2 b a"),
    ("BRPOPLPUSH wait:l3 wait:to 0", "RPUSH wait:l3 a"),
    ("BLMOVE wait:l3 wait:to LEFT RIGHT 0", "LPUSH wait:l3 a"),
    ("BZPOPMIN wait:z 0", "ZADD wait:z 1 a 2 b"),
    ("BZPOPMAX wait:z2 0", "ZADD wait:z2 1 a 2 b"),
    ("XREADGROUP GROUP g waiter BLOCK 0 STREAMS wait:x >", "XADD wait:x * f v"),
];
