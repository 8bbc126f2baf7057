//! What comes over the link from a master: whatever it is, the replica lives, and counts and hands
//! on each byte.
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

use std::io;
use std::time::{Duration, Instant};

use ask::*;
use link::*;
use peer::values::{Gen, is_harmful};
use random::*;
use support::*;

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// Commands that have no place in a stream.
const NOT_FOR_A_STREAM: &[&str] = &[
    "MONITOR",
    "SUBSCRIBE a",
    "PSUBSCRIBE a*",
    "UNSUBSCRIBE",
    "PUNSUBSCRIBE",
    "CLIENT REPLY OFF",
    "CLIENT REPLY SKIP",
    "CLIENT KILL TYPE master",
    "CLIENT KILL TYPE normal SKIPME no",
    "CLIENT PAUSE 100000",
    "CLIENT NO-EVICT on",
    "RESET",
    "QUIT",
    "HELLO 3",
    "HELLO 3 AUTH default x",
    "AUTH x",
    "SHUTDOWN",
    "SHUTDOWN NOSAVE",
    "DEBUG SEGFAULT",
    "DEBUG RELOAD",
    "DEBUG RESTART",
    "DEBUG SLEEP 1000",
    "DEBUG PANIC",
    "DEBUG ASSERT",
    "DEBUG OOM",
    "DEBUG POPULATE 1000000",
    "DEBUG CHANGE-REPL-ID",
    "REPLICAOF NO ONE",
    "SLAVEOF NO ONE",
    "REPLICAOF 127.0.0.1 1",
    "SYNC",
    "PSYNC ? -1",
    "PSYNC 0123456789012345678901234567890123456789 0 FAILOVER",
    "REPLCONF",
    "REPLCONF listening-port 1 capa eof",
    "REPLCONF rdb-only 1",
    "REPLCONF ACK 100000000",
    "REPLCONF GETACK",
    "WATCH mine",
    "UNWATCH",
    "MIGRATE 127.0.0.1 1 mine 0 10",
    "CONFIG SET appendonly yes",
    "CONFIG SET maxmemory 1",
    "CONFIG REWRITE",
    "SAVE",
    "BGSAVE",
    "BGREWRITEAOF",
    "XREAD BLOCK 0 STREAMS stream $",
    "GET mine",
    "INFO",
    "POST /",
    "HOST: x",
    "LATENCY RESET",
    "SLOWLOG RESET",
    "PFSELFTEST",
    "COMMAND",
];

/// Commands that wait for data, elsewhere.
const BLOCKING: &[&str] = &[
    "BLPOP nokey 0",
    "BRPOP nokey 0",
    "BRPOPLPUSH nokey nokey2 0",
    "BLMOVE nokey nokey2 LEFT RIGHT 0",
    "BZPOPMIN nokey 0",
    "BZPOPMAX nokey 0",
    "XREADGROUP GROUP g c BLOCK 0 STREAMS stream >",
];

/// Each command that could hurt, alone and in a transaction: the replica goes on with the stream,
/// and its own replica gets the same bytes.
#[test]
fn what_a_master_may_not_send() {
    let master = FakeMaster::start();
    let mut replica = TestServer::start(&["--repl-diskless-sync-delay", "0"]);
    replica.replicaof_port(master.port);
    let mut link = master.full_sync(EMPTY_RDB);
    replica.wait_for_link();
    let mut below = Recorder::attach(replica.port);
    let begin = link.offset;

    let mut sent = Vec::new();
    let mut send = |link: &mut Link, lines: &[&str]| {
        let bytes = batch(lines);
        link.send(&bytes).unwrap();
        sent.extend(bytes);
    };
    send(
        &mut link,
        &[
            "SELECT 0",
            "SET mine 1",
            "XADD stream 1-1 f v",
            "XGROUP CREATE stream g $",
            "RPUSH full a b c",
        ],
    );
    let mut n = 0;
    for line in NOT_FOR_A_STREAM.iter().chain(BLOCKING) {
        n += 1;
        send(&mut link, &[line, "INCR done", "MULTI", "INCR done", line, "INCR done", "EXEC"]);
        let done = (3 * n).to_string();
        wait_for(&format!("the effect of what follows {line:?}"), || {
            !replica.is_alive() || replica.ask("GET done") == done
        });
        assert!(replica.is_alive(), "after {line:?}");
    }
    // Blocking commands do what they would do for a client that does not wait.
    send(&mut link, &["BLPOP full 0", "BLMOVE full other LEFT RIGHT 0"]);
    let bytes = b"*2\r\n$4\r\nINCR\r\n$4\r\nlast\r\n";
    link.send(bytes).unwrap();
    sent.extend(bytes);
    assert_eq!(below.read_up_to(bytes), sent, "the stream of the replica's replica");
    assert_eq!(link.offset - begin, sent.len() as i64);
    link.acknowledged().unwrap();

    assert_eq!(replica.ask("LRANGE full 0 -1"), "[c]");
    assert_eq!(replica.ask("LRANGE other 0 -1"), "[b]");
    assert_eq!(replica.ask("GET mine"), "1");
    assert_eq!(replica.ask("CONFIG GET maxmemory"), "[maxmemory 0]");
    assert_eq!(replica.info("master_link_status"), "up");
    assert_eq!(replica.info("blocked_clients"), "0");
    let log = replica.log();
    for line in NOT_FOR_A_STREAM {
        let name = words(line)[0].to_lowercase();
        let logged = format!("Ignoring command '{name}' from the master, before offset ");
        assert!(log.contains(&logged), "{line}: {log}");
    }
    for line in BLOCKING {
        let name = words(line)[0].to_lowercase();
        let logged = format!("The master sent a blocking command, '{name}', before offset ");
        assert!(log.contains(&logged), "{line}: {log}");
    }
}

/// A command that does not exist here, or has other arguments, is missed and logged when the master
/// is of our own version. The others of its transaction are not.
#[test]
fn unknown_commands_from_a_master() {
    let master = FakeMaster::start();
    let mut replica = TestServer::start(&[]);
    replica.replicaof_port(master.port);
    let mut link = master.full_sync(EMPTY_RDB);
    link.send(&batch(&[
        "SELECT 0",
        "NOTHING x",
        "MULTI",
        "SET a 1",
        "SOMETHING channel message",
        "SET",
        "MULTI",
        "SET b 2",
        "EXEC",
        "EXEC",
        "SETRANGE far 9223372036854775000 x",
        "SETRANGE far 70000000000000 x",
        "APPEND a 5",
    ]))
    .unwrap();
    link.acknowledged().unwrap();
    assert_eq!(replica.ask("MGET a b far"), "[15 2 (nil)]");
    let log = replica.log();
    for error in ["unknown command `NOTHING`", "unknown command `SOMETHING`", "for 'set' command"] {
        assert!(log.contains(error), "{error}: {log}");
    }
    assert_eq!(log.matches("string exceeds maximum allowed size").count(), 2, "{log}");
}

/// Within a transaction the offset stands still: a replica whose link is cut between MULTI and EXEC
/// has executed none of it, and has to get all of it again.
#[test]
fn a_transaction_that_is_cut_is_asked_for_as_a_whole() {
    let master = FakeMaster::start();
    let replica = TestServer::start(&["--repl-backoff-max", "0"]);
    replica.replicaof_port(master.port);
    let mut link = master.full_sync(EMPTY_RDB);
    let before = batch(&["SELECT 0", "SET from 100", "SET to 0"]);
    link.send(&before).unwrap();
    link.send(&batch(&["MULTI", "DECRBY from 100"])).unwrap();
    drop(link);

    let asking = master.handshake().unwrap();
    assert_eq!(asking.replid, REPLID);
    assert_eq!(asking.offset, 1 + before.len() as i64, "the byte that MULTI begins with");
    let mut link = asking.go_on().unwrap();
    link.send(&batch(&["MULTI", "DECRBY from 100", "INCRBY to 100", "EXEC"])).unwrap();
    link.acknowledged().unwrap();
    let mut c = replica.conn();
    assert_eq!([c.ask("GET from"), c.ask("GET to")], ["0", "100"]);
}

/// A db that is not here is no reason to write to another: the link is closed before it, each time,
/// until there are as many dbs. So is one on which something else than the protocol is spoken, and
/// then nothing of it is believed any more.
#[test]
fn links_that_are_closed() {
    let master = FakeMaster::start();
    let replica = TestServer::start(&["--databases", "4", "--repl-backoff-max", "0"]);
    replica.replicaof_port(master.port);
    let mut link = master.full_sync(EMPTY_RDB);
    let good = batch(&["SELECT 3", "SET k 1"]);
    link.send(&good).unwrap();
    for bad in ["SELECT 4", "SELECT -1", "SELECT x", "SELECT 99999999999999999999"] {
        link.send(&batch(&["MULTI", "SET k 2", bad, "SET k 3", "EXEC", bad, "SET k 4"])).unwrap();
        let asking = master.handshake().unwrap();
        assert_eq!(asking.replid, REPLID, "{bad}");
        assert_eq!(asking.offset, 1 + good.len() as i64, "{bad}");
        link = asking.go_on().unwrap();
    }
    // From where it stopped.
    link.send(&batch(&["SET k 5"])).unwrap();
    link.acknowledged().unwrap();
    let mut c = replica.conn();
    assert_eq!(c.ask("SELECT 3"), "OK");
    assert_eq!(c.ask("GET k"), "5");
    assert_eq!(c.ask("INFO keyspace").matches("keys=").count(), 1);

    for garbage in [
        &b"SET k inline\r\n"[..],
        b"*3\r\n$3\r\nSET\r\nk\r\n",
        b"*3\r\n$-3\r\n",
        b"*99999999999999\r\n",
        b"*1\r\n$99999999999999999999\r\n",
        &[b'x'; 70_000],
    ] {
        link.send(garbage).unwrap();
        let asking = master.handshake().unwrap();
        assert_eq!(
            (&asking.replid[..], asking.offset),
            ("?", -1),
            "{}",
            garbage[..5].escape_ascii()
        );
        link = asking.full_sync(EMPTY_RDB, 100).unwrap();
    }
    link.acknowledged().unwrap();
}

/// What a master's stream does wrong is not taken for what the next command does, which is another
/// client's.
#[test]
fn errors_of_the_link_are_nobody_elses() {
    let master = FakeMaster::start();
    let replica = TestServer::start(&["--appendonly", "yes", "--repl-backoff-max", "0"]);
    replica.replicaof_port(master.port);
    let mut link = master.full_sync(EMPTY_RDB);
    replica.wait_for_link();
    // The errors of a newer master count.
    link.send(&batch(&["SPUBLISH channel message"])).unwrap();
    link.acknowledged().unwrap();
    let (mut busy, mut other) = (replica.conn(), replica.conn());
    assert_eq!(other.ask("PING"), "PONG");
    // Both come while the server sleeps, so that it finds them in one turn.
    busy.raw(&Conn::encode(&["DEBUG", "SLEEP", "0.2"])).unwrap();
    link.send(b"*3\r\n$3\r\nSET\r\nk\r\n").unwrap();
    assert_eq!(other.ask("PING"), "PONG");
    assert_eq!(next(&mut busy), "OK");
    assert_eq!(master.handshake().unwrap().replid, "?");
    assert_eq!(other.ask("PING"), "PONG");
}

/// How long the random test runs.
fn how_long() -> Duration {
    let long = std::env::var("FIDELIS_LONG").ok().map(|s| s.parse().unwrap_or(1));
    Duration::from_secs(match long {
        Some(seconds) if seconds > 1 => seconds,
        Some(_) => 60,
        None => 4,
    })
}

/// Words that mean something to some command.
const WORDS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "10",
    "100",
    "99999999999999999999",
    "9223372036854775807",
    "k",
    "list",
    "set",
    "hash",
    "zset",
    "stream",
    "text",
    "nokey",
    "g",
    "c",
    "*",
    "$",
    ">",
    "+",
    "-",
    "?",
    "",
    "(1",
    "[a",
    "+inf",
    "nan",
    "1.5",
    "1-1",
    "0-0",
    "GET",
    "SET",
    "NX",
    "XX",
    "EX",
    "PX",
    "KEEPTTL",
    "COUNT",
    "BLOCK",
    "STREAMS",
    "GROUP",
    "NOACK",
    "CREATE",
    "MKSTREAM",
    "STORE",
    "BY",
    "LIMIT",
    "ALPHA",
    "DESC",
    "WITHSCORES",
    "AGGREGATE",
    "MIN",
    "MATCH",
    "TYPE",
    "LEFT",
    "RIGHT",
    "BEFORE",
    "AFTER",
    "MAXLEN",
    "~",
    "=",
    "JUSTID",
    "FORCE",
    "REPLACE",
    "ABSTTL",
    "DB",
    "ASYNC",
    "SYNC",
    "KILL",
    "PAUSE",
    "REPLY",
    "OFF",
    "ON",
    "SKIP",
    "ID",
    "master",
    "normal",
    "SEGFAULT",
    "RELOAD",
    "SLEEP",
    "JMAP",
    "OBJECT",
    "STRUCTSIZE",
    "DIGEST",
    "LOADAOF",
    "NO",
    "ONE",
    "getack",
    "ack",
    "capa",
    "eof",
    "psync2",
    "listening-port",
    "rdb-only",
    "ip-address",
    "FAILOVER",
    "HELP",
    "RESETSTAT",
    "REWRITE",
    "appendonly",
    "yes",
    "m",
    "km",
    "FROMMEMBER",
    "BYRADIUS",
    "ANY",
    "ASC",
    "u8",
    "i64",
    "#1",
    "INCRBY",
    "OVERFLOW",
    "WRAP",
    "SAT",
    "FAIL",
];

/// Any command, but SELECT seldom, as it often closes the link.
fn any_command(random: &mut Random, g: &mut Gen, names: &[String]) -> Vec<Vec<u8>> {
    loop {
        let argv = some_command(random, g, names);
        if !argv[0].eq_ignore_ascii_case(b"SELECT") || random.below(50) == 0 {
            return argv;
        }
    }
}

/// Any command of the table with any arguments; or a good one; or the beginnings and ends of
/// transactions.
fn some_command(random: &mut Random, g: &mut Gen, names: &[String]) -> Vec<Vec<u8>> {
    match random.below(10) {
        0 => vec![random.pick(&["MULTI", "EXEC", "EXEC", "DISCARD", "PING"]).as_bytes().to_vec()],
        1 => {
            let line = [NOT_FOR_A_STREAM, BLOCKING][random.below(2)];
            words(line[random.below(line.len())]).iter().map(|w| w.as_bytes().to_vec()).collect()
        }
        2..=5 => loop {
            let argv = g.command();
            if !is_harmful(&argv) {
                return argv;
            }
        },
        _ => loop {
            let mut argv = vec![names[random.below(names.len())].clone().into_bytes()];
            for _ in 0..random.below(7) {
                argv.push(random.pick(WORDS).as_bytes().to_vec());
            }
            if !is_harmful(&argv) {
                return argv;
            }
        },
    }
}

/// What is no protocol, or a part of it, or too much of it.
fn broken(random: &mut Random, bytes: &mut Vec<u8>) {
    match random.below(8) {
        0 => bytes.extend(b"*1\r\n$4611686018427387904\r\nx"),
        1 => bytes.extend(b"*1048577\r\n"),
        2 => bytes.extend(b"*1048576\r\n$1\r\nx\r\n"),
        3 => bytes.extend(b"\r\n\n\n*0\r\n*-1\r\n"),
        4 => bytes.extend(b"PING inline\r\n"),
        5 => bytes.truncate(random.below(bytes.len() + 1)),
        6 => (0..random.below(40)).for_each(|_| bytes.push(random.next() as u8)),
        _ => {
            for _ in 0..1 + random.below(3) {
                if !bytes.is_empty() {
                    let at = random.below(bytes.len());
                    bytes[at] = random.next() as u8;
                }
            }
        }
    }
}

/// One link, until it breaks or is cut. Returns how many commands were sent.
fn one_link(
    random: &mut Random,
    g: &mut Gen,
    names: &[String],
    mut link: Link,
) -> (u64, io::Result<()>) {
    let mut sent = 0;
    let clean = random.below(3) > 0;
    for _ in 0..1 + random.below(40) {
        let mut bytes = Vec::new();
        for _ in 0..1 + random.below(60) {
            bytes.extend(Conn::encode(&any_command(random, g, names)));
            sent += 1;
        }
        if !clean && random.below(8) == 0 {
            broken(random, &mut bytes);
        }
        for chunk in bytes.chunks(1 + random.below(20_000)) {
            if let Err(e) = link.send(chunk) {
                return (sent, Err(e));
            }
        }
        // In a transaction nothing is acknowledged.
        if clean && random.below(4) == 0 {
            let end = link.send(&batch(&["DISCARD"])).and_then(|()| link.acknowledged());
            if end.is_err() {
                return (sent, end);
            }
        }
    }
    (sent, Ok(()))
}

/// Random commands of the whole table, spoilt bytes and cuts: the replica never ends.
#[test]
fn random_streams() {
    let mut random = Random::seeded();
    let mut g = Gen::new(random.next());
    let master = FakeMaster::start();
    let mut replica = TestServer::start(&[
        "--appendonly",
        "yes",
        "--appendfsync",
        "no",
        "--loglevel",
        "warning",
        "--repl-backoff-max",
        "0",
    ]);
    let mut names: Vec<String> =
        replica.cmd(&["COMMAND"]).array().iter().map(|e| e.array()[0].text()).collect();
    names.push("quit".to_string());
    assert!(names.len() > 200);
    let mut below = TestServer::start(&["--loglevel", "warning", "--repl-backoff-max", "0"]);
    replica.replicaof_port(master.port);
    below.replicaof_port(replica.port);

    let (start, mut links, mut commands, mut continued) = (Instant::now(), 0u64, 0, 0u64);
    while start.elapsed() < how_long() {
        let Ok(asking) = master.handshake() else {
            assert!(replica.is_alive(), "{commands} commands, {links} links");
            continue;
        };
        links += 1;
        let link = if asking.offset > 0 && random.below(4) > 0 {
            continued += 1;
            asking.go_on()
        } else {
            asking.full_sync(EMPTY_RDB, random.below(1 << 30) as i64)
        };
        let Ok(link) = link else { continue };
        let (sent, _) = one_link(&mut random, &mut g, &names, link);
        commands += sent;
        assert!(replica.is_alive(), "{commands} commands, {links} links");
        assert!(below.is_alive(), "the replica's replica: {commands} commands, {links} links");
        assert_eq!(replica.ask("PING"), "PONG");
        // The log and the file would fill the disk in an hour.
        if links.is_multiple_of(50) {
            for server in [&replica, &below] {
                let log =
                    std::fs::File::options().write(true).open(server.dir.path("log")).unwrap();
                log.set_len(0).unwrap();
            }
            if replica.info("aof_current_size").parse().is_ok_and(|size: u64| size > 200 << 20) {
                replica.ask("BGREWRITEAOF");
            }
        }
    }
    println!(
        "{commands} commands over {links} links, of which {continued} went on where one was cut"
    );
}
