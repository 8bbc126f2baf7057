//! A genuine redis-server on the other side, in both roles: Debian's (7.0), or the one that
//! FIDELIS_PEER names.

#[path = "support/ask.rs"]
mod ask;
#[path = "support/content.rs"]
mod content;
#[path = "support/peer/mod.rs"]
mod peer;
mod support;
#[path = "support/writer.rs"]
mod writer;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use ask::*;
use content::*;
use peer::dump::same_dump;
use peer::values::Gen;
use support::*;
use writer::*;

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
    let master = TestServer::start(&LONG_BACKLOG);
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
        let diskless_sync = ["--repl-diskless-sync", diskless];
        let master = start_peer(&[&diskless_sync[..], &LONG_BACKLOG].concat());
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
    let mut writer = Writer::new(&a, &peer_version());
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
