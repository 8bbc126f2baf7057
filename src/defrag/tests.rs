use super::*;
use crate::acl::ACLInit;
use crate::connection::connCreateSocket;
use crate::debug::computeDatasetDigest;
use crate::ds::siphash::HashSeed;
use crate::networking::{createClient, processInputBuffer};
use crate::server::initServerConfig;
use crate::sys::defrag::tests::moving_always;
use crate::testing::Rng;
use crate::util::B;
use std::mem::take;

#[path = "../../tests/support/traffic.rs"]
mod traffic;

/// A server and its one client, without a socket.
struct InProcess {
    server: Box<Server>,
    c: ClientId,
}

impl InProcess {
    fn new() -> InProcess {
        let mut server = Box::new(Server::default());
        initServerConfig(&mut server);
        ACLInit(&mut server);
        let seed = HashSeed::new([7; 16]);
        let db = |id| RedisDb { id, dict: Keyspace::new(seed), ..RedisDb::default() };
        server.dbnum = 2;
        server.hz = 10;
        server.db = (0..2).map(db).collect();
        server.saveparams.clear();
        server.slaveseldb = -1;
        server.hash_max_ziplist_entries = 16;
        server.zset_max_ziplist_entries = 16;
        server.set_max_intset_entries = 40;
        server.list_max_ziplist_size = 5;
        server.list_compress_depth = 2;
        server.stream_node_max_entries = 5;
        server.active_defrag_max_scan_fields = 10;
        let conn = connCreateSocket(&mut server.net);
        let c = createClient(&mut server, Some(conn));
        InProcess { server, c }
    }

    /// Executes a command; its reply.
    fn ask<T: AsRef<[u8]>>(&mut self, words: &[T]) -> Vec<u8> {
        let InProcess { server, c } = self;
        let querybuf = &mut server[*c].querybuf;
        querybuf.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            let word = word.as_ref();
            querybuf.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            querybuf.extend_from_slice(word);
            querybuf.extend_from_slice(b"\r\n");
        }
        processInputBuffer(server, *c);
        let mut reply = take(&mut server[*c].buf);
        for node in take(&mut server[*c].reply) {
            if let ReplyNode::Block(block) = node {
                reply.extend_from_slice(&block);
            }
        }
        server[*c].reply_bytes = 0;
        reply
    }

    fn line(&mut self, line: &str) -> Vec<u8> {
        self.ask(&line.split(' ').collect::<Vec<_>>())
    }

    /// All keys with their values and times to live, consumer groups included.
    fn contents(&mut self) -> BTreeMap<Vec<u8>, [Vec<u8>; 3]> {
        let keys = self.server.db[0].dict.iter().map(|e| e.key().to_vec()).collect::<Vec<_>>();
        let mut contents = BTreeMap::new();
        for key in keys {
            let expire =
                self.server.db[0].dict.find(&key).and_then(|k| self.server.db[0].dict.expire(k));
            let dump = self.ask(&[b"DUMP", &key[..]]);
            let encoding = self.ask(&[b"OBJECT", &b"ENCODING"[..], &key]);
            assert!(dump.starts_with(b"$"), "{}", B(&dump));
            contents.insert(key, [dump, encoding, format!("{expire:?}").into_bytes()]);
        }
        contents
    }

    /// Scans all dbs once, in steps as short as they get, moving all there is.
    fn move_all(&mut self) -> usize {
        let mut steps = 0;
        moving_always(|| {
            loop {
                defrag_until(&mut self.server, 0);
                steps += 1;
                if self.server.defrag.db.is_none() {
                    return steps;
                }
            }
        })
    }
}

/// Values of all types and encodings, small ones, and ones that are put off.
fn filled() -> InProcess {
    let mut it = InProcess::new();
    for line in traffic::making().iter().filter(|line| !line.starts_with("CONFIG")) {
        let reply = it.line(line);
        assert!(!reply.starts_with(b"-"), "{line}: {}", B(&reply));
    }
    let long = "y".repeat(300);
    for i in 0..700 {
        let many = i % 7 * 100;
        it.line(&format!("RPUSH many:list {i}:{}", &long[..many % 250]));
        it.line(&format!("RPUSH few:list:{many} {i}"));
        it.line(&format!("SADD many:set member:{i}:{}", &long[..many % 250]));
        it.line(&format!("SADD numbers:{many} {i}"));
        it.line(&format!("HSET many:hash field:{i} {}", &long[..many % 300]));
        it.line(&format!("ZADD many:zset {} {i}:{}", i % 13, &long[..many % 60]));
        it.line(&format!("XADD many:stream {}-1 field{} {long}", i + 1, i % 3));
        it.line(&format!("SET string:{i} {}", &long[..many % 300]));
        it.line(&format!("PEXPIREAT string:{} {}", i / 2, 4_000_000_000_000i64 + i as i64));
        for group in ["one", "two"] {
            it.line(&format!("XGROUP CREATE many:stream {group} 0"));
            it.line(&format!(
                "XREADGROUP GROUP {group} consumer:{} COUNT 1 STREAMS many:stream >",
                i % 40
            ));
        }
    }
    it.ask(&[b"SET", &vec![b'k'; 70_000][..], b"the key is long"]);
    it
}

#[test]
fn all_that_moves_stays_what_it_is() {
    let mut it = filled();
    let before = it.contents();
    let digest = computeDatasetDigest(&it.server);
    for max in [1, 10, 1_000_000] {
        it.server.active_defrag_max_scan_fields = max;
        let hits = it.server.stat_active_defrag_hits;
        let steps = it.move_all();
        // A block for each key, and more for most.
        let moved = it.server.stat_active_defrag_hits - hits;
        assert!(moved > 4000, "{moved}");
        assert_eq!(it.server.stat_active_defrag_misses, 0, "what is not moved is not looked at");
        assert!(steps > if max == 1_000_000 { 10 } else { 40 }, "{steps}");
        assert!(it.server.db.iter().all(|db| db.defrag_later.is_empty()));
        assert!(it.contents() == before && computeDatasetDigest(&it.server) == digest);
    }
    let stats = &it.server;
    assert!(stats.stat_active_defrag_key_hits >= 3 * before.len() as i64);

    // Whatever can be done with a value can be done with one that has moved.
    let few = |key: &&Vec<u8>| key.len() < 100 && !key.starts_with(b"string:");
    for key in before.keys().filter(few) {
        let key = String::from_utf8(key.clone()).unwrap();
        let type_ = it.line(&format!("TYPE {key}"));
        let type_ = String::from_utf8_lossy(&type_[1..type_.len() - 2]).into_owned();
        for words in traffic::using(&type_, &key) {
            it.ask(&words);
        }
        it.move_all();
    }
}

/// A command that changes something, the same on every server.
fn random_write(r: &mut Rng) -> String {
    let n = r.below(120);
    let long = |r: &mut Rng| "v".repeat([1, 20, 70, 300, 5000][r.below(5)]);
    let key = r.below(4);
    match r.below(26) {
        0 => format!("SET s{n} {}", long(r)),
        1 => format!("SET s{n} {n}"),
        2 => format!("APPEND s{n} {}", long(r)),
        3 => format!("DEL s{n}"),
        4 => format!("PEXPIREAT s{n} {}", 4_000_000_000_000i64 + n),
        5 => format!("PERSIST s{n}"),
        6 => format!("RENAME s{n} s{}", r.below(120)),
        7 => format!("RPUSH l{key} {}", long(r)),
        8 => format!("LPUSH l{key} {n}"),
        9 => format!("LTRIM l{key} {} -2", r.below(3)),
        10 => format!("LSET l{key} {} {}", r.below(50), long(r)),
        11 => format!("SADD t{key} m{n} {}", long(r)),
        12 => format!("SADD i{key} {n} {}", n * 70_000),
        13 => format!("SREM t{key} m{n}"),
        14 => format!("HSET h{key} f{n} {}", long(r)),
        15 => format!("HDEL h{key} f{n}"),
        16 => format!("ZADD z{key} {} {n}:{}", r.below(9), &"m".repeat(r.below(60))),
        17 => format!("ZREMRANGEBYRANK z{key} 0 1"),
        18 => format!("ZINCRBY z{key} 3 {n}:"),
        19 => format!("XADD x{key} * field {}", long(r)),
        20 => format!("XTRIM x{key} MAXLEN {}", 20 + n),
        21 => format!("XGROUP CREATE x{key} g{} 0 MKSTREAM", n % 5),
        22 => format!("XREADGROUP GROUP g{} c{} COUNT 5 STREAMS x{key} >", n % 5, n % 7),
        23 => format!("COPY {}{key} copy{key} REPLACE", ["l", "t", "h", "z", "x"][r.below(5)]),
        24 if n == 0 => "FLUSHDB".into(),
        24 if n < 5 => "SWAPDB 0 1".into(),
        24 => format!("DEL {}{key} copy{key}", ["l", "t", "h", "z", "x"][r.below(5)]),
        _ => format!("HINCRBY h{key} counter {n}"),
    }
}

/// A scan goes on in the middle of writes, and of large keys that change, go, and come back as other
/// types. All is as on a server without one.
#[test]
fn writes_come_in_between() {
    let mut r = Rng::new();
    let (mut it, mut other) = (InProcess::new(), InProcess::new());
    let commands = if cfg!(fidelis_asan) { 12_000 } else { 30_000 };
    for i in 0..commands {
        let mut line = random_write(&mut r);
        // The ids of streams are made of the time.
        line = line.replace(" * ", &format!(" {}-1 ", i + 1));
        let (reply, expected) = (it.line(&line), other.line(&line));
        if !line.starts_with("XREADGROUP") {
            assert!(reply == expected, "{line}: {} {}", B(&reply), B(&expected));
        }
        if r.below(3) == 0 {
            moving_always(|| defrag_until(&mut it.server, 0));
        }
        if i % 1000 == 0 {
            let [digest, expected] = [&it, &other].map(|it| computeDatasetDigest(&it.server));
            assert!(digest == expected, "after {i} commands");
        }
    }
    assert!(it.server.stat_active_defrag_hits > i64::from(commands));
    let before = it.contents();
    it.move_all();
    assert!(it.contents() == before);
}

/// Scripts are moved with the map that they are in, but for one that runs.
#[test]
fn scripts_are_moved() {
    let sha = |i: u8| ScriptSha::from([i; 40]);
    let mut scripts: BTreeMap<ScriptSha, Arc<[u8]>> =
        (0..100).map(|i| (sha(i), vec![i; 50 + i as usize].into())).collect();
    let running = scripts[&sha(7)].clone();
    let addresses: Vec<_> = scripts.values().map(|text| text.as_ptr()).collect();
    let mut moves = moving_always(Defrag::new);
    defrag_scripts(&mut scripts, &mut moves);
    assert_eq!(scripts.len(), 100);
    for (i, (key, text)) in scripts.iter().enumerate() {
        assert_eq!((*key, &text[..]), (sha(i as u8), &vec![i as u8; 50 + i][..]));
        if i == 7 {
            assert!(Arc::ptr_eq(text, &running), "it runs");
        }
    }
    let stay = scripts.values().zip(addresses).filter(|(text, old)| text.as_ptr() == *old).count();
    assert_eq!(stay, 1, "only the one that runs");

    let mut l: VecDeque<ScriptSha> = (0..30).map(sha).collect();
    let mut d: HashSet<ScriptSha> = l.iter().copied().collect();
    let (old_l, old_d) = (l.clone(), d.clone());
    activeDefragSdsListAndDict(&mut l, &mut d, &mut moves);
    assert!(l == old_l && d == old_d && moves.misses == 0);
}

#[test]
fn the_time_that_is_taken() {
    let mut server = InProcess::new().server;
    // As a line between the thresholds, and never beyond the limits.
    assert_eq!(INTERPOLATE(55.0, 10.0, 100.0, 1.0, 25.0), 13.0);
    assert_eq!((LIMIT(0, 1, 25), LIMIT(13, 1, 25), LIMIT(30, 1, 25)), (1, 13, 25));
    assert_eq!(LIMIT(10, 25, 1), 25, "bounds that are the wrong way round");
    server.active_defrag_ignore_bytes = usize::MAX;
    computeDefragCycles(&mut server);
    assert_eq!(server.active_defrag_running, 0, "too few bytes are lost");
    server.active_defrag_running = 20;
    (server.active_defrag_cycle_min, server.active_defrag_cycle_max) = (3, 3);
    computeDefragCycles(&mut server);
    assert_eq!(server.active_defrag_running, 20, "a scan is not slowed down");
    (server.active_defrag_cycle_min, server.active_defrag_cycle_max) = (60, 60);
    computeDefragCycles(&mut server);
    assert_eq!(server.active_defrag_running, 60);

    // Switched off in the middle, it forgets where it was.
    server.db[1].defrag_later.push_back(b"large"[..].into());
    server.defrag =
        DefragState { db: Some(1), cursor: 5, later_current: true, ..Default::default() };
    server.active_defrag_enabled = false;
    activeDefragCycle(&mut server);
    assert_eq!((server.active_defrag_running, server.defrag.cursor), (0, 0));
    assert!(server.defrag.db.is_none() && server.db[1].defrag_later.is_empty());
}
