//! A replica of a newer master: its commands are executed as what they mean in 6.2, and what has no
//! form there stops the link, or the full synchronization, before anything is lost.

#[path = "support/ask.rs"]
mod ask;
#[path = "support/link.rs"]
mod link;
mod support;

use ask::*;
use link::*;
use support::*;

/// An RDB of Valkey 9 without a key.
const EMPTY_VALKEY_RDB: &[u8] = b"VALKEY080\xff\0\0\0\0\0\0\0\0";

/// What a newer master sends; then what is asked, and what it is answered.
const FORMS: &[(&[&str], &str, &str)] = &[
    (&["SET a 1", "PEXPIREAT a 4102444800000 NX"], "TTL a", "^[0-9]{8,}"),
    (&["PEXPIREAT a 4102444800001 NX", "PERSIST a", "PEXPIREAT a 5 XX"], "TTL a", "-1"),
    (&["SET b 1 NX GET", "SET b 2 NX GET"], "GET b", "1"),
    (&["SET b 3 IFEQ 1", "SET b 4 IFEQ 1"], "GET b", "3"),
    (&["DELIFEQ b 4"], "EXISTS b", "1"),
    (&["DELIFEQ b 3"], "EXISTS b", "0"),
    (&["MSETEX 2 c 1 d 2 NX PXAT 4102444800000", "PERSIST c"], "MGET c d", "[1 2]"),
    (&["MSETEX 2 c 5 e 6 NX"], "MGET c e", "[1 (nil)]"),
    (
        &["HSETEX h KEEPTTL FIELDS 2 f 1.5 g 2", "HSETEX h FNX FIELDS 2 f 7 x 8"],
        "HGETALL h",
        "[f 1.5 g 2]",
    ),
    (&["HGETDEL h FIELDS 2 g none"], "HGETALL h", "[f 1.5]"),
    (&["HPERSIST h FIELDS 1 f", "HGETEX h PERSIST FIELDS 1 f"], "HGETALL h", "[f 1.5]"),
    (
        &["RPUSH l a b c d", "LMPOP 2 none l LEFT COUNT 2", "BLMPOP 0 1 l RIGHT"],
        "LRANGE l 0 -1",
        "[c]",
    ),
    (&["ZADD z 1 a 2 b 3 c", "ZMPOP 1 z MIN", "BZMPOP 0 1 z MAX COUNT 1"], "ZRANGE z 0 -1", "[b]"),
    (
        &[
            "XGROUP CREATE x g 0 MKSTREAM ENTRIESREAD 0",
            "XADD x 1-1 f v",
            "XADD x 2-1 f v",
            "XADD x 3-1 f v",
        ],
        "XLEN x",
        "3",
    ),
    (
        &[
            "XCLAIM x g alice 0 1-1 TIME 1000 RETRYCOUNT 1 FORCE JUSTID LASTID 1-1",
            "XCLAIM x g alice 0 2-1 TIME 1000 RETRYCOUNT 1 FORCE JUSTID LASTID 2-1",
        ],
        "XPENDING x g",
        "[2 1-1 2-1 [[alice 2]]]",
    ),
    // The entry is gone, and so is what is pending.
    (
        &["XDEL x 1-1", "XCLAIM x g alice 0 1-1 TIME 1000 RETRYCOUNT 2 FORCE JUSTID LASTID 2-1"],
        "XPENDING x g",
        "[1 2-1 2-1 [[alice 1]]]",
    ),
    (
        &["XCLAIM x g bob 0 1-1 2-1 TIME 1000 RETRYCOUNT 3 FORCE JUSTID LASTID 3-1"],
        "XPENDING x g",
        "[1 2-1 2-1 [[bob 1]]]",
    ),
    (
        &["XDEL x 2-1", "XCLAIM x g bob 0 2-1 TIME 1000 RETRYCOUNT 4 FORCE JUSTID LASTID 5-0"],
        "XINFO GROUPS x",
        "[[name g consumers 2 pending 0 last-delivered-id 5-0]]",
    ),
    (
        &["XGROUP SETID x g 3-0 ENTRIESREAD 2", "XSETID x 9-9 ENTRIESADDED 5 MAXDELETEDID 2-1"],
        "XINFO GROUPS x",
        "[[name g consumers 2 pending 0 last-delivered-id 3-0]]",
    ),
    (
        &[
            "XADD x 10-1 f v",
            "XADD x 11-1 f v",
            "XGROUP CREATE x g2 0 ENTRIESREAD -1",
            "XCLAIM x g alice 0 10-1 TIME 1000 FORCE JUSTID",
            "XCLAIM x g2 carol 0 10-1 TIME 1000 FORCE JUSTID",
            "XCLAIM x g alice 0 11-1 TIME 1000 FORCE JUSTID",
            "XACKDEL x g DELREF IDS 1 10-1",
            "XACKDEL x g2 KEEPREF IDS 1 11-1",
            "XDELEX x KEEPREF IDS 1 3-1",
        ],
        "XRANGE x - +",
        "[[11-1 [f v]]]",
    ),
    (&["XACKDEL x g KEEPREF IDS 2 11-1 10-1"], "XPENDING x g", "[0 (nil) (nil) (nil)]"),
    (
        &[
            "GEOADD geo 13.361389 38.115556 Palermo",
            "GEOSEARCHSTORE near geo FROMLONLAT 13 38 BYRADIUS 100 KM",
        ],
        "ZCARD near",
        "1",
    ),
    (
        &["FUNCTION LOAD x", "FUNCTION FLUSH", "SPUBLISH ch m", "CLUSTER SETSLOT 1 NODE x"],
        "PING",
        "PONG",
    ),
];

/// Whether a reply is as expected; `^[0-9]{8,}` is a number of that many digits.
fn matches(reply: &str, expected: &str) -> bool {
    match expected.strip_prefix("^[0-9]{8,}") {
        Some(_) => reply.len() >= 8 && reply.parse::<u64>().is_ok(),
        None => reply == expected,
    }
}

/// Each form, alone and in a transaction: it has its effect, the offset counts the master's bytes,
/// the next replica gets those bytes and has the same data, and the append only file has commands of
/// 6.2.
#[test]
fn commands_of_newer_masters() {
    for in_transaction in [false, true] {
        let master = FakeMaster::start();
        let mut replica =
            TestServer::start(&["--appendonly", "yes", "--repl-diskless-sync-delay", "0"]);
        replica.replicaof_port(master.port);
        let mut link = master.full_sync(EMPTY_VALKEY_RDB);
        replica.wait_for_link();
        let below = TestServer::start(&[]);
        below.replicaof_port(replica.port);
        below.wait_for_link();
        let mut recorder = Recorder::attach(replica.port);
        replica.wait_for_log("Background AOF rewrite finished successfully");
        let mut sent = Vec::new();
        let mut send = |link: &mut Link, lines: &[&str]| {
            let bytes = batch(lines);
            link.send(&bytes).unwrap();
            sent.extend(bytes);
        };
        send(&mut link, &["SELECT 0"]);
        for (lines, question, answer) in FORMS {
            if in_transaction {
                send(&mut link, &["MULTI"]);
                send(&mut link, lines);
                send(&mut link, &["EXEC"]);
            } else {
                send(&mut link, lines);
            }
            send(&mut link, &["INCR done"]);
            wait_for(&format!("the effect of {lines:?}: {}", replica.log()), || {
                let text = replica.ask(question);
                matches(&text, answer)
            });
        }
        let last = batch(&["INCR last"]);
        send(&mut link, &["INCR last"]);
        assert_eq!(recorder.read_up_to(&last), sent, "what its replica gets");
        link.acknowledged().unwrap();
        wait_for("its replica", || below.cmd(&["GET", "last"]).text() == "1");
        assert_same_data(&replica, &below);
        for server in [&replica, &below] {
            assert_eq!(server.info("unexpected_error_replies"), "0", "{}", server.log());
            assert_eq!(server.info("replica_untranslated_commands"), "0");
            assert_eq!(server.log_count("function libraries are not kept here"), 1);
        }

        let digest = replica.digest();
        assert_eq!(replica.ask("DEBUG LOADAOF"), "OK");
        assert_eq!(replica.digest(), digest, "by the append only file");
        let file = std::fs::read(replica.dir.path("appendonly.aof")).unwrap();
        for word in ["HSETEX", "ENTRIESREAD", "MSETEX", "LMPOP", "IFEQ", "FUNCTION", "XACKDEL"] {
            assert!(
                memchr::memmem::find(&file, word.as_bytes()).is_none(),
                "{word} is in the file"
            );
        }
    }
}

/// Commands that have no form in 6.2.
const IMPOSSIBLE: &[&str] = &[
    "HPEXPIREAT h 4102444800000 FIELDS 1 f",
    "HSETEX h PXAT 4102444800000 FIELDS 1 f v",
    "VADD vectors VALUES 2 1 1 element",
    "GEOSEARCHSTORE d geo BYPOLYGON 3 1 1 2 2 3 1",
    "CLUSTER FLUSHSLOT 5",
    "XDELEX x ACKED IDS 1 1-1",
    "BITOP DIFF d a b",
    "JSON.SET doc $ {}",
];

/// Each of them, alone and in a transaction, stops the link before it, and nothing behind it is
/// applied, until it may be left out.
#[test]
fn what_can_not_be_said() {
    let master = FakeMaster::start();
    let mut replica = TestServer::start(&[]);
    replica.replicaof_port(master.port);
    let mut link = master.full_sync(EMPTY_VALKEY_RDB);
    for (n, line) in IMPOSSIBLE.iter().enumerate() {
        link.send(&batch(&["SELECT 0", "SET done 0"])).unwrap();
        let stop = link.offset;
        let in_transaction = n % 2 == 1;
        let bad = if in_transaction {
            batch(&["MULTI", "INCR done", line, "INCR done", "EXEC"])
        } else {
            batch(&[line, "INCR done", "INCR done"])
        };
        link.send(&bad).unwrap();
        let asking = master.handshake().unwrap();
        assert_eq!((&asking.replid[..], asking.offset), (REPLID, stop + 1), "{line}");
        let count = 2 * n as i64 + 1;
        assert_eq!(replica.info_i64("replica_untranslated_commands"), count);
        assert_eq!(replica.info_i64("unexpected_error_replies"), count);
        assert_eq!(replica.ask("GET done"), "0", "{line}");
        let words: Vec<&str> = line.split(' ').collect();
        let key = if words[0] == "BITOP" { words[2] } else { words[1] };
        let logged = format!("The master sent '{}' for '{key}' before offset ", words[0]);
        assert!(replica.log().contains(&logged), "{logged}: {}", replica.log());

        // It comes again, and is left out, if that is wished.
        assert_eq!(replica.ask("CONFIG SET propagation-error-behavior ignore"), "OK");
        link = asking.go_on().unwrap();
        link.send(&bad).unwrap();
        link.acknowledged().unwrap();
        assert_eq!(replica.ask("GET done"), "2", "{line}");
        assert_eq!(replica.info_i64("replica_untranslated_commands"), count + 1);
        assert_eq!(replica.ask("CONFIG SET propagation-error-behavior disconnect"), "OK");
    }
    assert_eq!(replica.info("master_link_status"), "up");

    assert_eq!(replica.ask("CONFIG SET propagation-error-behavior panic"), "OK");
    link.send(&batch(&[IMPOSSIBLE[0]])).unwrap();
    wait_for("the process to end", || !replica.is_alive());
    assert!(replica.log().contains("Guru Meditation: The master sent 'HPEXPIREAT' for 'h' before"));
}

/// An error of a newer master's command says that the data are not the same: they are fetched once.
/// A master of our own version is believed, as in the C.
#[test]
fn errors_of_a_newer_master() {
    for newer in [true, false] {
        let master = FakeMaster::start();
        let mut replica = TestServer::start(&[]);
        replica.replicaof_port(master.port);
        let rdb = if newer { EMPTY_VALKEY_RDB } else { EMPTY_RDB };
        let mut link = master.full_sync(rdb);
        let bad = batch(&["SELECT 0", "SET k v", "LPUSH k x", "INCR behind"]);
        link.send(&bad).unwrap();
        if !newer {
            link.acknowledged().unwrap();
            assert_eq!(replica.ask("GET behind"), "1");
            assert_eq!(replica.info("unexpected_error_replies"), "1");
            continue;
        }
        let asking = master.handshake().unwrap();
        assert_eq!((&asking.replid[..], asking.offset), ("?", -1));
        let mut link = asking.full_sync(rdb, 100).unwrap();
        // Once. The next time it waits before the command.
        link.send(&bad).unwrap();
        let asking = master.handshake().unwrap();
        let before = 101 + batch(&["SELECT 0", "SET k v"]).len() as i64;
        assert_eq!((&asking.replid[..], asking.offset), (REPLID, before));
        assert_eq!(replica.ask("EXISTS behind"), "0");
        assert_eq!(replica.info("replica_untranslated_commands"), "0");
    }
}

/// A full synchronization with a value that has no form in 6.2 leaves the data that are there, in
/// each way to load it, and the log names the key.
#[test]
fn a_data_set_that_can_not_be_held() {
    let mut rdb = b"VALKEY080\x00\x03new\x01v\x16\x04hash\x01\x01f\x01v".to_vec();
    rdb.extend(4_102_444_800_000_i64.to_le_bytes());
    rdb.extend(b"\xff\0\0\0\0\0\0\0\0");
    for (load, old) in [("disabled", "1"), ("swapdb", "1"), ("on-empty-db", "1")] {
        let master = FakeMaster::start();
        let mut replica = TestServer::start(&["--repl-diskless-load", load]);
        replica.cmd(&["SET", "old", "1"]);
        replica.replicaof_port(master.port);
        for n in 1..=2 {
            let asking = master.handshake().unwrap();
            let _link = asking.full_sync(&rdb, 0).unwrap();
            wait_for("the log to name the key", || {
                replica.log_count("key 'hash' has a value of type 22 (hash-volatile-items)") == n
            });
        }
        assert!(replica.is_alive());
        assert_eq!(replica.ask("MGET old new"), format!("[{old} (nil)]"), "{load}");
        // And then one that can.
        let good = b"VALKEY080\x00\x03new\x01v\xff\0\0\0\0\0\0\0\0";
        let _link = master.full_sync(good);
        replica.wait_for_link();
        assert_eq!(replica.ask("MGET old new"), "[(nil) v]", "{load}");
    }
}

/// That the stream is a newer master's is known after a restart, too: XCLAIM of a deleted entry has
/// the newer meaning.
#[test]
fn the_version_outlives_a_restart() {
    let master = FakeMaster::start();
    let mut replica = TestServer::start(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    let mut link = master.full_sync(EMPTY_VALKEY_RDB);
    link.send(&batch(&[
        "SELECT 0",
        "XADD x 1-1 f v",
        "XGROUP CREATE x g 0",
        "XCLAIM x g alice 0 1-1 TIME 1000 RETRYCOUNT 1 FORCE JUSTID LASTID 1-1",
        "XDEL x 1-1",
    ]))
    .unwrap();
    link.acknowledged().unwrap();
    assert_eq!(replica.ask("SAVE"), "OK");
    replica.restart();
    let asking = master.handshake().unwrap();
    assert_eq!(asking.replid, REPLID);
    let mut link = asking.go_on().unwrap();
    link.send(&batch(&["XCLAIM x g bob 0 1-1 TIME 1000 RETRYCOUNT 2 FORCE JUSTID LASTID 1-1"]))
        .unwrap();
    link.acknowledged().unwrap();
    assert_eq!(replica.ask("XPENDING x g"), "[0 (nil) (nil) (nil)]");
}
