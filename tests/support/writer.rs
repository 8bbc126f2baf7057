//! Who writes all types into a master, as both versions know them: every encoding, a random stream,
//! and what a random stream leaves to chance.
#![allow(dead_code)] // each test binary uses its own part of this

use crate::ask::*;
use crate::content::items;
use crate::peer::known::Known;
use crate::peer::values::{Gen, is_harmful, is_unordered_sort};
use crate::peer::wire::{Argv, words};
use crate::support::*;

/// Small limits, so that the few keys of the random stream come into every encoding; no PING, so
/// that a master's offset moves by writes alone.
pub const LIMITS: &[&str] = &[
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

/// Who writes to the master: a random stream, and what the stream leaves to chance.
pub struct Writer {
    pub conn: Conn,
    /// A client that blocks.
    waiter: Conn,
    generator: Gen,
    known: Known,
    /// Counts the rounds of `every_family`.
    round: u64,
    /// How many commands are sent at once. FIDELIS_BATCH=1 shows which one has no reply.
    batch: usize,
}

impl Writer {
    /// Writes to this master what it and a server of this version understand in the same way.
    pub fn new(master: &TestServer, version: &str) -> Writer {
        let seed = std::env::var("FIDELIS_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
        println!("FIDELIS_SEED={seed}");
        Writer {
            conn: master.conn(),
            waiter: master.conn(),
            generator: Gen::new(seed),
            known: Known::new(version),
            round: 0,
            batch: std::env::var("FIDELIS_BATCH").map_or(100, |n| n.parse().expect("a number")),
        }
    }

    /// Writes to another server from now on.
    pub fn turn_to(&mut self, master: &TestServer) {
        self.conn = master.conn();
        self.waiter = master.conn();
    }

    /// One command of which nobody expects an error.
    #[track_caller]
    pub fn ok(&mut self, line: &str) -> String {
        let reply = self.conn.ask(line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
        reply
    }

    /// Every type in every encoding, in three databases, with times of expiry and without.
    pub fn fill(&mut self) {
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
    pub fn random(&mut self, n: usize) {
        let mut left = n;
        while left > 0 {
            let mut batch: Vec<Argv> = vec![];
            while batch.len() < left.min(self.batch) {
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
            for argv in &batch {
                if let Err(e) = self.conn.try_reply() {
                    let words: Vec<_> = argv.iter().map(|a| a.escape_ascii().to_string()).collect();
                    panic!("no reply to {words:?}, or to one before it: {e}");
                }
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
    pub fn every_family(&mut self) {
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
