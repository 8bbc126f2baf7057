//! Ours beside genuine servers of many versions, each as master and as replica, with a file and
//! without: all types in the RDB, and a live stream of every write that both know. A newer master
//! also sends what 6.2 does not have.
//!
//! Debian's redis-server is the one that is always here. `FIDELIS_PEERS` names others, as
//! `name=path` with blanks between, and the result is the table of the README:
//!
//!     FIDELIS_PEERS="6.2.16=/path/to/redis-server Valkey-9.1=/path/to/valkey-server" \
//!         cargo test --test matrix -- --nocapture

#[path = "support/ask.rs"]
mod ask;
#[path = "support/content.rs"]
mod content;
#[path = "support/peer/mod.rs"]
mod peer;
mod support;
#[path = "support/writer.rs"]
mod writer;

use ask::*;
use content::*;
use support::*;
use writer::*;

/// Commands of the random stream in each part.
const RANDOM: usize = 400;

/// What newer servers have and 6.2 does not, with a form in 6.2 for what they propagate. A server
/// that lacks one answers with an error.
const NEWER: &[&str] = &[
    "SET nm:s v",
    "EXPIRE nm:s 100000 NX",
    "EXPIRE nm:s 200000 XX",
    "EXPIRE nm:s 300000 GT",
    "PEXPIRE nm:s 100000000 LT",
    "SET at:nm v",
    "PEXPIREAT at:nm 4102444800000 NX",
    "PEXPIREAT at:nm 4102444800001 GT",
    "SET nm:get v NX GET",
    "SET nm:get w GET",
    "SET nm:get2 v NX GET PXAT 4102444800000",
    "SET nm:get x IFEQ w",
    "SET nm:get y IFEQ none",
    "SET nm:eq 5",
    "DELIFEQ nm:eq 6",
    "DELIFEQ nm:eq 5",
    "DELEX nm:get IFNE 7",
    "MSETEX 2 at:m1 1 at:m2 2 PXAT 4102444800000",
    "MSETEX 2 nm:m3 1 nm:m4 2 NX",
    "MSETEX 2 nm:m3 3 nm:m4 4 XX EX 100000",
    "RPUSH nm:l a b c d e f",
    "LMPOP 2 nm:none nm:l LEFT COUNT 2",
    "BLMPOP 0.1 1 nm:l RIGHT",
    "ZADD nm:z 1 a 2 b 3 c 4 d",
    "ZMPOP 1 nm:z MAX COUNT 2",
    "BZMPOP 0.1 1 nm:z MIN",
    "HSET nm:h a 1 b 2 c 3 d 4",
    "HINCRBYFLOAT nm:h a 0.5",
    "HGETDEL nm:h FIELDS 2 b none",
    "HSETEX nm:h FIELDS 1 e 5",
    "HSETEX nm:h FNX FIELDS 1 f 6",
    "HSETEX nm:h FXX FIELDS 1 g 7",
    "HSETEX nm:h KEEPTTL FIELDS 1 e 8",
    "HPERSIST nm:h FIELDS 1 a",
    "HGETEX nm:h PERSIST FIELDS 1 a",
    // A time in the past deletes.
    "HPEXPIREAT nm:h 1 FIELDS 1 c",
    "XADD nm:x 1-* f v",
    "XADD nm:x 2-1 f v",
    "XADD nm:x 3-1 f v",
    "XADD nm:x 4-1 f v",
    "XGROUP CREATE nm:x g 0 ENTRIESREAD 0",
    "XGROUP CREATE nm:y g $ MKSTREAM ENTRIESREAD 3",
    "XREADGROUP GROUP g alice COUNT 3 STREAMS nm:x >",
    "XREADGROUP GROUP g bob COUNT 1 NOACK STREAMS nm:x >",
    "XDEL nm:x 2-1",
    "XCLAIM nm:x g bob 0 2-1",
    "XDEL nm:x 3-1",
    "XAUTOCLAIM nm:x g carol 0 -",
    "XGROUP SETID nm:x g 2-1 ENTRIESREAD 2",
    "XSETID nm:x 9-9 ENTRIESADDED 10 MAXDELETEDID 3-1",
    "XADD nm:x 10-1 f v",
    "XADD nm:x 11-1 f v",
    "XREADGROUP GROUP g alice STREAMS nm:x >",
    "XDELEX nm:x KEEPREF IDS 1 10-1",
    "XACKDEL nm:x g DELREF IDS 1 11-1",
    "GEOADD nm:geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
    "GEOSEARCHSTORE nm:near nm:geo FROMLONLAT 15 37 BYRADIUS 200 KM",
    "GEORADIUS nm:geo 15 37 200 KM STORE nm:near2",
    "SADD nm:set 1 2 3 4 5 6 7 8 9 a b c",
    "SPOP nm:set 4",
    "SPUBLISH channel message",
    "FUNCTION FLUSH",
    "MULTI",
    "SET nm:t v",
    "EXPIRE nm:t 100000 NX",
    "EXPIRE nm:t 200000 NX",
    "HSET nm:th f 1",
    "HINCRBYFLOAT nm:th f 0.25",
    "EXEC",
];

struct Peer {
    name: String,
    binary: String,
    version: String,
}

impl Peer {
    fn new(name: &str, binary: &str) -> Peer {
        let said = String::from_utf8_lossy(
            &std::process::Command::new(binary).arg("--version").output().expect(binary).stdout,
        )
        .into_owned();
        let version = said.split_whitespace().find_map(|w| w.strip_prefix("v="));
        let version = version.unwrap_or_else(|| panic!("{binary}: {said:?}")).to_string();
        let name =
            if name.is_empty() { format!("Redis {version}") } else { name.replace('-', " ") };
        Peer { name, binary: binary.to_string(), version }
    }

    fn all() -> Vec<Peer> {
        match std::env::var("FIDELIS_PEERS") {
            Ok(list) => list
                .split_whitespace()
                .map(|item| {
                    let (name, path) = item.split_once('=').expect("name=path");
                    Peer::new(name, path)
                })
                .collect(),
            Err(_) => vec![Peer::new("", DEBIAN)],
        }
    }

    #[track_caller]
    fn start(&self, args: &[&str]) -> TestServer {
        let debug: &[&str] =
            if self.version.starts_with("6.") { &[] } else { &["--enable-debug-command", "yes"] };
        TestServer::start_binary(&self.binary, &[debug, args].concat())
    }
}

/// From 7.2 on XCLAIM and XAUTOCLAIM make their consumer even if they claim nothing, and tell no
/// replica.
fn forget_idle_consumers(content: &mut Content) {
    for key in content.values_mut() {
        if let Value::Stream(s) = &mut key.value {
            for group in s.groups.values_mut() {
                group.consumers.retain(|_, pending| !pending.is_empty());
            }
        }
    }
}

/// A full sync of all types, and a stream of all writes; then both have the same. Returns how many
/// keys they have.
#[track_caller]
fn follows(peer: &Peer, master: TestServer, replica: TestServer) -> usize {
    let what = |server: &TestServer| if server.is_ours() { "ours" } else { &peer.name };
    println!("{} follows {}", what(&replica), what(&master));
    let mut writer = Writer::new(&master, &peer.version);
    writer.fill();
    for line in NEWER {
        writer.conn.ask(line);
    }
    writer.random(RANDOM);
    replica.replicaof_port(master.port);
    replica.wait_for_link();
    writer.random(RANDOM);
    writer.every_family();
    writer.ok("DEL nm:s nm:get nm:get2 nm:l nm:z nm:h nm:x nm:y nm:set nm:m3 nm:m4 nm:t nm:th");
    for line in NEWER {
        writer.conn.ask(line);
    }
    assert_eq!(master.cmd(&["CLIENT", "KILL", "TYPE", "replica"]).int(), 1);
    writer.random(RANDOM);
    replica.wait_for_link();
    wait_for_offset(&master, &replica);

    let (mut theirs, mut ours) = (content(&mut master.conn()), content(&mut replica.conn()));
    if !peer.version.starts_with("6.") && !peer.version.starts_with("7.0.") {
        [&mut theirs, &mut ours].into_iter().for_each(forget_idle_consumers);
    }
    // Those of 6.2 are relative in its stream.
    let lag = PATIENCE.as_millis() as i64;
    for ((db, name), key) in &theirs {
        let shown = name.escape_ascii();
        let other = ours.get(&(*db, name.clone()));
        let other = other.unwrap_or_else(|| panic!("{shown} in db {db} is missing: {key:?}"));
        let lag = if name.starts_with(b"at:") { 0 } else { lag };
        assert!(key.same(other, lag), "{shown} in db {db}: master\n{key:?}\nreplica\n{other:?}");
    }
    assert_eq!(ours.len(), theirs.len(), "the replica has more keys");
    if replica.is_ours() {
        let log = replica.log();
        assert_eq!(replica.info("unexpected_error_replies"), "0", "{log}");
        assert_eq!(replica.info("replica_untranslated_commands"), "0", "{log}");
    }
    assert_eq!(master.info("sync_full"), "1", "{}", replica.log());
    theirs.len()
}

#[test]
fn everybody_follows_everybody() {
    let mut table = String::from(
        "| | our master, file | our master, stream | our replica, file | our replica, stream |\n|---|---|---|---|---|\n",
    );
    for peer in Peer::all() {
        let at_once = ["--repl-diskless-sync-delay", "0"];
        let mut cells = Vec::new();
        for (we_lead, diskless) in [(true, "no"), (true, "yes"), (false, "no"), (false, "yes")] {
            let sync = [&at_once[..], &["--repl-diskless-sync", diskless]].concat();
            let load = if diskless == "yes" { "swapdb" } else { "disabled" };
            let load = [&["--repl-diskless-load", load], &at_once[..]].concat();
            let (master, replica) = ([LIMITS, &sync].concat(), [LIMITS, &load].concat());
            let keys = if we_lead {
                follows(&peer, TestServer::start(&master), peer.start(&replica))
            } else {
                follows(&peer, peer.start(&master), TestServer::start(&replica))
            };
            cells.push(format!("the same {keys} keys"));
        }
        table += &format!("| {} | {} |\n", peer.name, cells.join(" | "));
    }
    println!("\n{table}");
}
