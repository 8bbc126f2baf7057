//! Compares redis-server binaries: CPU time per operation, memory, RDB save and load, full
//! synchronisation, instructions, the longest waits.
//!
//!     cargo bench --bench compare -- [--reps 3] [--quick] --server c=/usr/bin/redis-server --server ours=target/release/redis-server [ROW ...]
//!
//! The servers take turns (A B, B A, A B) in one run, so that what else the machine does hits them
//! alike; of the repetitions the median counts. The first server is the measure: x2.00 is twice as
//! good as it. A server runs on CPU 0 and the load on CPU 1, where there are two. CPU time is the
//! scheduler's own (`/proc/PID/schedstat`), so that a client that is slow does not count. Absolute
//! figures mean little on a shared machine; ratios within one run do.
//!
//! The rows `instructions-...` count the instructions that a server executes for a command, outside
//! of the kernel, under callgrind. They are nearly the same on every machine and in every run, but
//! know nothing of waiting for memory. They need valgrind, and take a minute for each server.
//!
//! The rows `tail-...` show how long a client waits that reads a key each millisecond while others
//! write, at the same pace for each server. What else the machine does is in them as in no other row.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sha1::{Digest, Sha1};

/// A server under test, in a folder of its own.
struct Server {
    port: u16,
    dir: PathBuf,
    child: Child,
}

impl Server {
    fn start(binary: &str, dir: &Path, args: &[&str]) -> Server {
        Server::start_under(&[], binary, dir, args)
    }

    /// Starts a server by the program and the arguments in `under`. What is written to the standard
    /// error goes to the file `stderr` in its folder.
    fn start_under(under: &[&str], binary: &str, dir: &Path, args: &[&str]) -> Server {
        std::fs::create_dir_all(dir).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("taskset")
            .args(["-c", "0"])
            .args(under)
            .args([binary, "--port", &port.to_string(), "--save", "", "--appendonly", "no"])
            .args(args)
            .current_dir(dir)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.join("stderr")).unwrap())
            .spawn()
            .expect("taskset and the server");
        let server = Server { port, dir: dir.to_path_buf(), child };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err()
            || !server.call(&["PING"]).starts_with("+PONG")
        {
            assert!(start.elapsed() < Duration::from_secs(120), "{binary} does not come up");
            thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// A command on a connection of its own; the first bytes of its reply.
    fn call(&self, args: &[&str]) -> String {
        let Ok(mut s) = TcpStream::connect(("127.0.0.1", self.port)) else { return String::new() };
        let mut request = Vec::new();
        encode(args, &mut request);
        let mut reply = vec![0; 1 << 16];
        let n = s.write_all(&request).and_then(|()| s.read(&mut reply)).unwrap_or(0);
        String::from_utf8_lossy(&reply[..n]).into_owned()
    }

    fn info(&self, field: &str) -> String {
        let text = self.call(&["INFO"]);
        let value =
            text.lines().find_map(|l| l.strip_prefix(field).and_then(|l| l.strip_prefix(':')));
        value.unwrap_or_default().trim().to_string()
    }

    /// Waits until the table of the keys has moved to the size to which it grew. The cron moves it
    /// by the clock, and of that more or less would be counted for the commands.
    fn wait_for_rehashing(&self) {
        let is_moving = || self.call(&["DEBUG", "HTSTATS", "0"]).contains("rehashing target");
        let start = Instant::now();
        while is_moving() && start.elapsed() < Duration::from_secs(60) {
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// CPU time of the main process, in nanoseconds.
    fn cpu_ns(&self) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/schedstat", self.child.id()))
            .unwrap_or_default();
        text.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0.0)
    }

    /// Resident memory in bytes.
    fn rss(&self) -> f64 {
        let text =
            std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap_or_default();
        text.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) * 4096.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn encode<T: AsRef<[u8]>>(args: &[T], out: &mut Vec<u8>) {
    write!(out, "*{}\r\n", args.len()).unwrap();
    for a in args {
        write!(out, "${}\r\n", a.as_ref().len()).unwrap();
        out.extend_from_slice(a.as_ref());
        out.extend_from_slice(b"\r\n");
    }
}

/// One load: a command with a random number in it, on some connections, several at a time.
struct Load {
    command: Vec<Vec<u8>>,
    conns: usize,
    pipeline: usize,
    requests: usize,
    keyspace: u64,
    /// Numbers in order instead of at random: to fill.
    sequential: bool,
}

/// Where the number goes in a command's arguments.
const NUMBER: &str = "############";

impl Load {
    /// Runs it; the server's CPU time per operation in nanoseconds.
    fn run(&self, server: &Server) -> f64 {
        self.run_some(server, self.requests, None)
    }

    /// Runs it with another number of requests, and no more of them in a second than given.
    fn run_some(&self, server: &Server, requests: usize, per_second: Option<u32>) -> f64 {
        let mut conns: Vec<(TcpStream, Vec<u8>)> = (0..self.conns)
            .map(|_| {
                let s = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
                s.set_nodelay(true).unwrap();
                let mut request = Vec::new();
                for _ in 0..self.pipeline {
                    encode(&self.command, &mut request);
                }
                (s, request)
            })
            .collect();
        let places: Vec<usize> = {
            let r = &conns[0].1;
            r.windows(12)
                .enumerate()
                .filter(|(_, w)| *w == NUMBER.as_bytes())
                .map(|(i, _)| i)
                .collect()
        };
        let (mut seed, mut next) = (0x9e37_79b9_7f4a_7c15u64, 0u64);
        let mut number = || {
            if self.sequential {
                next += 1;
                (next - 1) % self.keyspace
            } else {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                ((u128::from(seed) * u128::from(self.keyspace)) >> 64) as u64
            }
        };
        let (before, start) = (server.cpu_ns(), Instant::now());
        let mut done = 0;
        let mut buf = vec![0; 1 << 18];
        while done < requests {
            if let Some(per_second) = per_second {
                sleep_until(start + Duration::from_secs_f64(done as f64 / f64::from(per_second)));
            }
            // All connections ask, then all are answered: the server always finds many of them
            // ready.
            for (sock, request) in &mut conns {
                for &place in &places {
                    let mut n = number();
                    for digit in request[place..place + 12].iter_mut().rev() {
                        *digit = b'0' + (n % 10) as u8;
                        n /= 10;
                    }
                }
                sock.write_all(request).unwrap();
            }
            for (sock, _) in &mut conns {
                let mut parser = Replies::default();
                while parser.complete < self.pipeline {
                    let n = sock.read(&mut buf).unwrap();
                    assert!(n > 0, "the server closed the connection");
                    parser.feed(&buf[..n]);
                }
                done += self.pipeline;
            }
        }
        (server.cpu_ns() - before) / done as f64
    }
}

fn sleep_until(time: Instant) {
    thread::sleep(time.saturating_duration_since(Instant::now()));
}

/// Reads one of the first `keyspace` keys each millisecond, on a connection of its own, until it is
/// told to stop. Returns how long each reply took, in microseconds.
///
/// While a reply is late no more can be sent. What should have been sent meanwhile waits from when
/// it should have been: a server that stands still for a second makes a thousand requests wait.
fn probe(port: u16, keyspace: u64, stop: &AtomicBool) -> Vec<f64> {
    let mut sock = TcpStream::connect(("127.0.0.1", port)).unwrap();
    sock.set_nodelay(true).unwrap();
    let (mut waits, mut request, mut buf) = (Vec::new(), Vec::new(), [0; 1024]);
    let (start, mut due) = (Instant::now(), Instant::now());
    while !stop.load(Ordering::Relaxed) {
        let asked = if due > Instant::now() {
            sleep_until(due);
            // Waking up late is not the server's doing.
            Instant::now()
        } else {
            due
        };
        let key = format!("key:{:012}", waits.len() as u64 * 7919 % keyspace);
        request.clear();
        encode(&["GET", &key], &mut request);
        sock.write_all(&request).unwrap();
        let mut parser = Replies::default();
        while parser.complete == 0 {
            let n = sock.read(&mut buf).unwrap();
            assert!(n > 0, "the server closed the connection");
            parser.feed(&buf[..n]);
        }
        waits.push(asked.elapsed().as_secs_f64() * 1e6);
        due = start + Duration::from_millis(waits.len() as u64);
    }
    waits
}

/// Counts whole replies in a stream: lines, bulks and (nested) arrays.
#[derive(Default)]
struct Replies {
    line: Vec<u8>,
    /// Bytes of a bulk still to come.
    skip: usize,
    /// Elements still to come, by level of nesting.
    open: Vec<i64>,
    complete: usize,
}

impl Replies {
    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let n = self.skip.min(bytes.len());
                self.skip -= n;
                bytes = &bytes[n..];
                if self.skip == 0 {
                    self.element();
                }
                continue;
            }
            let end = bytes.iter().position(|b| *b == b'\n').map_or(bytes.len(), |i| i + 1);
            self.line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end..];
            if self.line.last() != Some(&b'\n') {
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let number =
                || std::str::from_utf8(&line[1..line.len() - 2]).unwrap().parse::<i64>().unwrap();
            match line[0] {
                b'$' if line[1] != b'-' => self.skip = number() as usize + 2,
                b'*' if line[1] != b'-' && line[1] != b'0' => self.open.push(number()),
                b'-' => panic!("{}", String::from_utf8_lossy(&line)),
                _ => self.element(),
            }
        }
    }

    fn element(&mut self) {
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return;
            }
            self.open.pop();
        }
        self.complete += 1;
    }
}

fn words(s: &str) -> Vec<Vec<u8>> {
    s.split(' ').map(Vec::from).collect()
}

/// What a queue of jobs does with a job from its arrival to its end: twenty commands, arguments as JSON and MessagePack.
const QUEUE: &str = r"
    local base, now = KEYS[1], ARGV[3]
    local opts = cmsgpack.unpack(ARGV[1])
    local data = cjson.decode(ARGV[2])
    local id = redis.call('INCR', base .. 'id')
    local job = base .. id
    redis.call('HMSET', job, 'name', opts.name, 'data', ARGV[2], 'opts', cjson.encode(opts), 'timestamp', now,
        'delay', opts.delay, 'priority', opts.priority)
    redis.call('XADD', base .. 'events', 'MAXLEN', '~', 1000, '*', 'event', 'added', 'jobId', id, 'name', opts.name)
    if redis.call('HEXISTS', base .. 'meta', 'paused') == 0 then
        redis.call('LPUSH', base .. 'wait', id)
    end
    redis.call('XADD', base .. 'events', 'MAXLEN', '~', 1000, '*', 'event', 'waiting', 'jobId', id)
    local moved = redis.call('RPOPLPUSH', base .. 'wait', base .. 'active')
    if tonumber(moved) ~= id then return redis.error_reply('another job') end
    redis.call('SET', job .. ':lock', data.token, 'PX', 30000)
    redis.call('HSET', job, 'processedOn', now)
    local fields = redis.call('HGETALL', job)
    local found = {}
    for i = 1, #fields, 2 do found[fields[i]] = fields[i + 1] end
    if not found.data or cjson.decode(found.data).to ~= data.to then return redis.error_reply('other data') end
    redis.call('HINCRBY', job, 'attemptsMade', 1)
    if redis.call('GET', job .. ':lock') == data.token then redis.call('DEL', job .. ':lock') end
    redis.call('LREM', base .. 'active', -1, id)
    redis.call('ZADD', base .. 'completed', now, id)
    redis.call('HMSET', job, 'returnvalue', cjson.encode({ok = true, n = #found.data}), 'finishedOn', now)
    redis.call('XADD', base .. 'events', 'MAXLEN', '~', 1000, '*', 'event', 'completed', 'jobId', id, 'prev', 'active')
    local old = redis.call('ZRANGE', base .. 'completed', 0, -101)
    for _, o in ipairs(old) do redis.call('DEL', base .. o) end
    redis.call('ZREMRANGEBYRANK', base .. 'completed', 0, -101)
    redis.call('HSET', base .. 'meta', 'last', cmsgpack.pack({id, now, opts.name}))
    return cmsgpack.pack({id, redis.call('LLEN', base .. 'wait')})";

/// A script of one command.
const SET_SCRIPT: &str = "return redis.call('SET',KEYS[1],ARGV[1])";

/// EVALSHA of a script with one key, and the load that makes the script known.
fn script(text: &str, key: &str, args: &[&[u8]]) -> (Load, Vec<Vec<u8>>) {
    let sha: String = Sha1::digest(text).iter().map(|b| format!("{b:02x}")).collect();
    let known = Load {
        command: vec![b"SCRIPT".to_vec(), b"LOAD".to_vec(), text.into()],
        conns: 1,
        pipeline: 1,
        requests: 1,
        keyspace: 1,
        sequential: true,
    };
    let mut command = vec![b"EVALSHA".to_vec(), sha.into(), b"1".to_vec(), key.into()];
    command.extend(args.iter().map(|a| a.to_vec()));
    (known, command)
}

/// What a server is filled with before it is measured.
enum Data {
    /// So many small strings, by DEBUG POPULATE.
    Strings(usize),
    Commands(Vec<Load>),
}

impl Data {
    fn fill(&self, server: &Server) {
        match self {
            Data::Strings(keys) => {
                server.call(&["DEBUG", "POPULATE", &keys.to_string(), "key", "16"]);
            }
            Data::Commands(loads) => {
                for load in loads {
                    load.run(server);
                }
            }
        }
    }
}

/// What a row measures. Smaller is better.
enum Row {
    /// CPU per operation, after a preparation.
    Ops {
        prepare: Vec<Load>,
        load: Load,
        replicas: usize,
    },
    /// Resident bytes that the data takes, for each of so many keys or elements.
    Memory {
        data: Data,
        per: usize,
    },
    /// CPU time of SAVE, and of loading the file at start.
    Save(Data),
    Restart(Data),
    /// Wall time from REPLICAOF to a replica in sync: by files, or streamed and loaded from the
    /// socket, beside the old data.
    FullSync {
        data: Data,
        diskless: bool,
    },
    /// Instructions per operation, after a preparation.
    Instructions {
        prepare: Vec<Load>,
        load: Load,
        appendonly: bool,
        replicas: usize,
    },
    /// How long the replies to a probe take (`TAIL`) while a load runs at its pace, after a
    /// preparation, and with a BGSAVE or without.
    Tail {
        prepare: Vec<Load>,
        load: Load,
        per_second: u32,
        bgsave: bool,
    },
}

/// The parts of all replies whose time is shown: the slowest of so many, of a thousand.
const TAIL: [(&str, usize); 4] = [("p50", 500), ("p99", 990), ("p99.9", 999), ("max", 1000)];

impl Row {
    /// What each figure of it is.
    fn units(&self) -> Vec<String> {
        let unit = match self {
            Row::Ops { .. } => "cpu ns/op",
            Row::Memory { .. } => "bytes each",
            Row::Save(_) | Row::Restart(_) => "cpu ms",
            Row::FullSync { .. } => "ms",
            Row::Instructions { .. } => "instructions",
            Row::Tail { .. } => {
                return TAIL.iter().map(|(name, _)| format!("us {name}")).collect();
            }
        };
        vec![unit.to_string()]
    }
}

/// Tells whether rows of instructions can be measured.
fn has_valgrind() -> bool {
    Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_ok()
}

/// Returns the number of instructions that a server executes from its start to its end, if it is
/// sent a load of so many requests. Its replicas are not counted.
fn count_instructions(row: &Row, binary: &str, dir: &Path, requests: usize) -> f64 {
    let Row::Instructions { prepare, load, appendonly, replicas } = row else { unreachable!() };
    // It stands under callgrind fifty times longer than otherwise, and neither a rewrite nor a
    // timeout is of the command.
    let append = ["no", "yes"][usize::from(*appendonly)];
    let mut args = vec!["--appendonly", append, "--auto-aof-rewrite-percentage", "0"];
    args.extend(["--repl-timeout", "600", "--repl-diskless-sync", "no"]);
    // A server may be a script that starts it.
    let under = ["valgrind", "--tool=callgrind", "--trace-children=yes"];
    let mut server = Server::start_under(&under, binary, dir, &args);
    let attached: Vec<Server> = (0..*replicas)
        .map(|i| replica_of(&server, binary, &dir.join(format!("r{i}")), &args[4..6]))
        .collect();
    for load in prepare {
        load.run(&server);
    }
    server.wait_for_rehashing();
    load.run_some(&server, requests, None);
    for replica in &attached {
        assert_eq!(replica.info("master_link_status"), "up", "a replica was lost");
    }
    server.call(&["SHUTDOWN", "NOSAVE"]);
    server.child.wait().unwrap();
    // A child that it forked has told its own total.
    let text = std::fs::read_to_string(dir.join("stderr")).unwrap();
    let own = format!("=={}==", server.child.id());
    let total = text.lines().filter(|line| line.starts_with(&own));
    let total = total.filter_map(|line| line.split_once("Collected :")).next_back();
    total.expect("callgrind's total").1.trim().parse().unwrap()
}

/// How long a row with a BGSAVE takes, of which the BGSAVE is a part; or as long as that.
const BGSAVE_SECONDS: usize = 20;

/// Returns the figures of `TAIL`, in microseconds.
fn measure_tail(server: &Server, load: &Load, per_second: u32, bgsave: bool) -> Vec<f64> {
    let stop = AtomicBool::new(false);
    let keyspace = load.keyspace.min(1000);
    let mut waits = thread::scope(|scope| {
        let waits = scope.spawn(|| probe(server.port, keyspace, &stop));
        let requests = if bgsave { BGSAVE_SECONDS * per_second as usize } else { load.requests };
        if bgsave {
            let reply = server.call(&["BGSAVE"]);
            assert!(reply.starts_with("+Background saving started"), "{reply}");
        }
        load.run_some(server, requests, Some(per_second));
        while bgsave && server.info("rdb_bgsave_in_progress") == "1" {
            load.run_some(server, per_second as usize, Some(per_second));
        }
        stop.store(true, Ordering::Relaxed);
        waits.join().unwrap()
    });
    assert_eq!(server.info("rdb_last_bgsave_status"), "ok");
    waits.sort_by(f64::total_cmp);
    TAIL.iter().map(|(_, part)| waits[(waits.len() * part).div_ceil(1000) - 1]).collect()
}

/// Keys of ten elements.
const SMALL: [(&str, &str); 6] = [
    (
        "memory-hash-10",
        "HSET h:############ f0 v0 f1 v1 f2 v2 f3 v3 f4 v4 f5 v5 f6 v6 f7 v7 f8 v8 f9 v9",
    ),
    ("memory-list-10", "RPUSH l:############ e0 e1 e2 e3 e4 e5 e6 e7 e8 e9"),
    ("memory-set-10", "SADD s:############ m0 m1 m2 m3 m4 m5 m6 m7 m8 m9"),
    ("memory-intset-10", "SADD i:############ 1 9 16 25 36 49 64 81 100 121"),
    ("memory-zset-10", "ZADD z:############ 0 m0 1 m1 2 m2 3 m3 4 m4 5 m5 6 m6 7 m7 8 m8 9 m9"),
    ("memory-stream-1", "XADD x:############ 1-1 field value"),
];

/// Elements of one key.
const LARGE: [(&str, &str); 5] = [
    ("memory-hash-1m", "HSET hash field:############ value:############"),
    ("memory-list-1m", "RPUSH list element:############"),
    ("memory-set-1m", "SADD set member:############"),
    ("memory-zset-1m", "ZADD zset ############ member:############"),
    ("memory-stream-1m", "XADD stream * field value:############"),
];

/// A load that sends `n` commands; each number in them is another one.
fn elements(command: &str, n: u64) -> Load {
    let numbers = command.matches(NUMBER).count() as u64;
    Load {
        command: words(command),
        conns: 10,
        pipeline: 50,
        requests: n as usize,
        keyspace: n * numbers,
        sequential: true,
    }
}

fn rows(quick: bool) -> BTreeMap<&'static str, Row> {
    let scale = if quick { 10 } else { 1 };
    let fill = |command: &str, keyspace: u64| Load {
        command: words(command),
        conns: 10,
        pipeline: 50,
        requests: keyspace as usize,
        keyspace,
        sequential: true,
    };
    let load = |command: &str, pipeline: usize, requests: usize, keyspace: u64| Load {
        command: words(command),
        conns: 50,
        pipeline,
        requests: requests / scale,
        keyspace,
        sequential: false,
    };
    let keys = 1_000_000 / scale as u64;
    let ops = |prepare: Vec<Load>, load: Load| Row::Ops { prepare, load, replicas: 0 };
    let set = "SET key:############ xxxxxxxxxxxxxxxx";
    let mut rows = BTreeMap::new();
    for (name, pipeline, requests) in
        [("get-p1", 1, 200_000), ("get-p16", 16, 1_500_000), ("get-p100", 100, 4_000_000)]
    {
        rows.insert(
            name,
            ops(vec![fill(set, keys)], load("GET key:############", pipeline, requests, keys)),
        );
    }
    for (name, pipeline, requests) in
        [("set-p1", 1, 200_000), ("set-p16", 16, 1_500_000), ("set-p100", 100, 4_000_000)]
    {
        rows.insert(name, ops(vec![fill(set, keys)], load(set, pipeline, requests, keys)));
    }
    for (name, replicas) in [("set-p16-2-replicas", 2), ("set-p16-10-replicas", 10)] {
        let (prepare, load) = (vec![fill(set, keys)], load(set, 16, 1_000_000, keys));
        rows.insert(name, Row::Ops { prepare, load, replicas });
    }
    // Two such loads are run, and the difference counts: starting and filling don't.
    let few = 100_000 / scale as u64;
    let counted = |command, pipeline| load(command, pipeline, 200_000, few);
    let hset = "HSET hash f:############ xxxxxxxxxxxxxxxx";
    for (name, pipeline, command, filled) in [
        ("instructions-ping-p1", 1, "PING", None),
        ("instructions-get-p1", 1, "GET key:############", Some(set)),
        ("instructions-get-p16", 16, "GET key:############", Some(set)),
        ("instructions-set-p16", 16, set, Some(set)),
        ("instructions-incr-p16", 16, "INCR ctr:############", None),
        ("instructions-hget-p16", 16, "HGET hash f:############", Some(hset)),
        ("instructions-hset-p16", 16, hset, None),
        ("instructions-sadd-p16", 16, "SADD set m:############", None),
        ("instructions-zadd-p16", 16, "ZADD zset ############ m:############", None),
        ("instructions-lpush-p16", 16, "LPUSH list xxxxxxxxxxxxxxxx", None),
    ] {
        let prepare = filled.into_iter().map(|command| fill(command, few)).collect();
        let load = counted(command, pipeline);
        rows.insert(name, Row::Instructions { prepare, load, appendonly: false, replicas: 0 });
    }
    // The pattern that lets the key be read is the last one.
    let patterns = "ACL SETUSER default resetkeys ~a*b ~user:*:name ~key:*:x ~k*y:1?3* ~*[a-c] \
                    ~sess:* ~cache:*:* ~x?y* ~queue:[0-9]* ~key:*";
    let once = |command| Load { conns: 1, pipeline: 1, requests: 1, ..fill(command, 1) };
    let (known, evalsha) = script(SET_SCRIPT, "key:############", &[b"xxxxxxxxxxxxxxxx"]);
    for (name, prepare, command) in [
        (
            "instructions-get-p16-10-patterns",
            vec![fill(set, few), once(patterns)],
            words("GET key:############"),
        ),
        ("instructions-evalsha-set-p16", vec![fill(set, few), known], evalsha),
    ] {
        let load = Load { command, ..counted("", 16) };
        rows.insert(name, Row::Instructions { prepare, load, appendonly: false, replicas: 0 });
    }
    for (name, appendonly, replicas) in
        [("instructions-set-p16-aof", true, 0), ("instructions-set-p16-2-replicas", false, 2)]
    {
        let (prepare, load) = (vec![fill(set, few)], counted(set, 16));
        rows.insert(name, Row::Instructions { prepare, load, appendonly, replicas });
    }
    // Few at once: a batch is ahead of the probe, and not the whole load.
    let writes = |requests, keyspace| Load { conns: 10, ..load(set, 16, requests, keyspace) };
    let tail = |filled, load, per_second, bgsave| {
        let prepare = vec![fill(set, filled)];
        Row::Tail { prepare, load, per_second, bgsave }
    };
    rows.insert("tail-writes", tail(keys, writes(2_000_000, keys), 100_000, false));
    let large = 10 * keys;
    rows.insert("tail-bgsave", tail(large, writes(0, large), 100_000, true));
    let growth = Load { sequential: true, ..writes(20_000_000, 2 * large) };
    rows.insert("tail-growth-20m", tail(1000, growth, 200_000, false));
    rows.insert("incr-p16", ops(vec![], load("INCR ctr:############", 16, 1_000_000, keys)));
    rows.insert("lpush-p16", ops(vec![], load("LPUSH list xxxxxxxxxxxxxxxx", 16, 1_000_000, 1)));
    rows.insert(
        "lrange100-p16",
        ops(vec![fill("RPUSH list ############", 1000)], load("LRANGE list 0 99", 16, 50_000, 1)),
    );
    rows.insert("hset-p16", ops(vec![], load(hset, 16, 1_000_000, 100_000)));
    rows.insert(
        "hget-p16",
        ops(vec![fill(hset, 100_000)], load("HGET hash f:############", 16, 1_000_000, 100_000)),
    );
    rows.insert("sadd-p16", ops(vec![], load("SADD set m:############", 16, 1_000_000, 100_000)));
    rows.insert(
        "sismember-p16",
        ops(
            vec![fill("SADD set m:############", 100_000)],
            load("SISMEMBER set m:############", 16, 1_000_000, 200_000),
        ),
    );
    rows.insert(
        "zadd-p16",
        ops(vec![], load("ZADD zset 1 e:############", 16, 1_000_000, 100_000)),
    );
    rows.insert(
        "zrangebyscore-p16",
        ops(
            vec![fill("ZADD zset ############ e:############", 100_000)],
            load("ZRANGEBYSCORE zset ############ +inf LIMIT 0 10", 16, 200_000, 99_000),
        ),
    );
    rows.insert(
        "xadd-p16",
        ops(vec![], load("XADD stream MAXLEN ~ 10000 * field xxxxxxxxxxxxxxxx", 16, 500_000, 1)),
    );
    rows.insert(
        "sinter-1k",
        ops(
            vec![fill("SADD a ############", 1000), fill("SADD b ############", 1000)],
            load("SINTER a b", 1, 5_000, 1),
        ),
    );
    rows.insert(
        "pfadd-p16",
        ops(vec![], load("PFADD hll e:############", 16, 1_000_000, 1_000_000)),
    );
    rows.insert(
        "bitcount-1mb",
        ops(vec![fill("SETBIT bits 8388607 1", 1)], load("BITCOUNT bits", 1, 2_000, 1)),
    );
    // Many small values instead of a large one.
    let small =
        "HSET h:############ a xxxxxxxx b xxxxxxxx c xxxxxxxx d xxxxxxxx e xxxxxxxx f xxxxxxxx";
    rows.insert(
        "hset-small-p16",
        ops(
            vec![fill(small, 100_000)],
            load("HSET h:############ f xxxxxxxx", 16, 1_000_000, 100_000),
        ),
    );
    rows.insert(
        "hget-small-p16",
        ops(vec![fill(small, 100_000)], load("HGET h:############ f", 16, 1_000_000, 100_000)),
    );
    rows.insert(
        "lpush-small-p16",
        ops(vec![], load("LPUSH l:############ xxxxxxxxxxxxxxxx", 16, 1_000_000, 10_000)),
    );
    rows.insert(
        "zscore-p16",
        ops(
            vec![fill("ZADD zset ############ e:############", 100_000)],
            load("ZSCORE zset e:############", 16, 1_000_000, 100_000),
        ),
    );

    let opts: &[u8] = b"\x83\xa4name\xa5email\xa5delay\x00\xa8priority\xcd\x01\x00";
    let data: &[u8] = br#"{"to":"someone@example.org","token":"0123456789abcdef","tries":[1,2,4.5],"html":false,"tags":{"a":"b"}}"#;
    for (name, pipeline, requests, text, key, args) in [
        ("evalsha-return-p16", 16, 1_000_000, "return 1", "key", vec![]),
        (
            "evalsha-set-p1",
            1,
            200_000,
            SET_SCRIPT,
            "key:############",
            vec![&b"xxxxxxxxxxxxxxxx"[..]],
        ),
        (
            "evalsha-set-p16",
            16,
            1_000_000,
            SET_SCRIPT,
            "key:############",
            vec![&b"xxxxxxxxxxxxxxxx"[..]],
        ),
        ("evalsha-queue-p16", 16, 50_000, QUEUE, "{queue}:", vec![opts, data, b"1700000000000"]),
    ] {
        let (known, command) = script(text, key, &args);
        rows.insert(name, ops(vec![known], Load { command, ..load("", pipeline, requests, keys) }));
    }

    let many = 10_000_000 / scale;
    rows.insert("memory-10m", Row::Memory { data: Data::Strings(many), per: many });
    let strings = fill("SET key:############ xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", many as u64);
    let data = Data::Commands(vec![strings]);
    rows.insert("memory-10m-16-32", Row::Memory { data, per: many });
    rows.insert("save-10m", Row::Save(Data::Strings(many)));
    rows.insert("load-10m", Row::Restart(Data::Strings(many)));
    for (name, diskless) in [("full-sync-5m", false), ("full-sync-5m-diskless", true)] {
        rows.insert(name, Row::FullSync { data: Data::Strings(many / 2), diskless });
    }

    // A million small values of ten elements each, and one value of a million elements.
    for (name, command) in SMALL {
        let data = Data::Commands(vec![fill(command, keys)]);
        rows.insert(name, Row::Memory { data, per: keys as usize });
    }
    for (name, command) in LARGE {
        let data = Data::Commands(vec![elements(command, keys)]);
        rows.insert(name, Row::Memory { data, per: keys as usize });
    }
    let mixed = || {
        let set = "SET str:############ value:############";
        let mut loads = vec![elements(set, keys)];
        loads.push(fill("SETEX ttl:############ 1000000 v", keys / 4));
        loads.extend(SMALL.iter().map(|(_, command)| fill(command, keys / 4)));
        loads.extend(LARGE.iter().map(|(_, command)| elements(command, keys)));
        Data::Commands(loads)
    };
    rows.insert("save-mixed", Row::Save(mixed()));
    rows.insert("load-mixed", Row::Restart(mixed()));
    rows
}

/// Measures a row on a server that is new for it. Returns its figures.
fn measure(row: &Row, binary: &str, dir: &Path) -> Vec<f64> {
    let _ = std::fs::remove_dir_all(dir);
    let figure = match row {
        Row::Ops { prepare, load, replicas } => {
            let server = Server::start(binary, dir, &[]);
            for load in prepare {
                load.run(&server);
            }
            let _replicas: Vec<Server> = (0..*replicas)
                .map(|i| replica_of(&server, binary, &dir.join(format!("r{i}")), &[]))
                .collect();
            load.run(&server)
        }
        Row::Memory { data, per } => {
            let server = Server::start(binary, dir, &[]);
            let empty = server.rss();
            data.fill(&server);
            (server.rss() - empty) / *per as f64
        }
        Row::Save(data) => {
            let server = Server::start(binary, dir, &[]);
            data.fill(&server);
            let before = server.cpu_ns();
            server.call(&["SAVE"]);
            (server.cpu_ns() - before) / 1e6
        }
        Row::Restart(data) => {
            let server = Server::start(binary, dir, &[]);
            data.fill(&server);
            server.call(&["SAVE"]);
            let dir = server.dir.clone();
            drop(server);
            let server = Server::start(binary, &dir, &[]);
            while server.info("loading") == "1" {
                thread::sleep(Duration::from_millis(20));
            }
            server.cpu_ns() / 1e6
        }
        Row::FullSync { data, diskless } => {
            // The defaults are not the same in all versions.
            let (sync, load) = if *diskless { ("yes", "swapdb") } else { ("no", "disabled") };
            let args = ["--repl-diskless-sync", sync, "--repl-diskless-sync-delay", "0"];
            let server = Server::start(binary, dir, &args);
            data.fill(&server);
            let load = ["--repl-diskless-load", load];
            let replica = Server::start(binary, &dir.join("replica"), &load);
            let start = Instant::now();
            follow(&replica, &server);
            start.elapsed().as_secs_f64() * 1e3
        }
        Row::Instructions { load, .. } => {
            let count =
                |name: &str, requests| count_instructions(row, binary, &dir.join(name), requests);
            let (few, many) = (load.requests / 4, load.requests + load.requests / 4);
            (count("many", many) - count("few", few)) / load.requests as f64
        }
        Row::Tail { prepare, load, per_second, bgsave } => {
            let server = Server::start(binary, dir, &[]);
            for load in prepare {
                load.run(&server);
            }
            return measure_tail(&server, load, *per_second, *bgsave);
        }
    };
    vec![figure]
}

fn replica_of(master: &Server, binary: &str, dir: &Path, args: &[&str]) -> Server {
    let replica = Server::start(binary, dir, args);
    follow(&replica, master);
    replica
}

/// Returns when the replica is in sync.
fn follow(replica: &Server, master: &Server) {
    replica.call(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]);
    while replica.info("master_link_status") != "up" {
        thread::sleep(Duration::from_millis(5));
    }
}

fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v[v.len() / 2]
}

fn main() {
    let (mut servers, mut wanted, mut reps, mut quick) = (Vec::new(), Vec::new(), 3, false);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--server" => {
                let (name, path) = args
                    .next()
                    .and_then(|s| s.split_once('=').map(|(n, p)| (n.to_string(), p.to_string())))
                    .expect("NAME=PATH");
                servers.push((
                    name,
                    std::fs::canonicalize(&path).unwrap_or_else(|e| panic!("{path}: {e}")),
                ));
            }
            "--reps" => reps = args.next().and_then(|n| n.parse().ok()).expect("a number"),
            "--quick" => quick = true,
            // cargo bench adds it.
            "--bench" => {}
            row => wanted.push(row.to_string()),
        }
    }
    if servers.is_empty() {
        println!("no --server NAME=PATH given: nothing to compare");
        return;
    }
    // The load keeps off the server's CPU.
    let _ = Command::new("taskset")
        .args(["-cp", "1", &std::process::id().to_string()])
        .stdout(Stdio::null())
        .status();

    let base = std::env::temp_dir().join(format!("fidelis-compare-{}", std::process::id()));
    for (name, row) in rows(quick)
        .iter()
        .filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|w| w == *name))
    {
        let counted = matches!(row, Row::Instructions { .. });
        if counted && !has_valgrind() {
            println!("{name:32}  skipped: there is no valgrind");
            continue;
        }
        let mut results = vec![Vec::new(); servers.len()];
        // Counting again would give nearly the same.
        for rep in 0..if counted { 1 } else { reps } {
            let order: Vec<usize> = if rep % 2 == 0 {
                (0..servers.len()).collect()
            } else {
                (0..servers.len()).rev().collect()
            };
            for i in order {
                results[i].push(measure(
                    row,
                    servers[i].1.to_str().unwrap(),
                    &base.join(&servers[i].0),
                ));
            }
        }
        for (at, unit) in row.units().iter().enumerate() {
            print!("{name:32}");
            for (i, (server, _)) in servers.iter().enumerate() {
                let figures = || results[i].iter().map(|figures| figures[at]);
                let pairs = results[0].iter().zip(figures());
                let ratio = median(pairs.map(|(a, b)| a[at] / b).collect());
                print!("  {server} {:.0} {unit} x{ratio:.2}", median(figures().collect()));
            }
            println!();
        }
    }
    let _ = std::fs::remove_dir_all(&base);
}
