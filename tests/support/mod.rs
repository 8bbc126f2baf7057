//! What the process tests share: real servers on free ports, each in a folder of its own, and a
//! client that speaks bytes.
//!
//! A server is stopped when its `TestServer` is dropped: that process, by its id, and no other.
//! Nothing here sleeps for a guess: tests wait for a condition (`wait_for`), with a limit that only
//! a broken server reaches.
#![allow(dead_code)] // each test binary uses its own part of this
#![allow(clippy::disallowed_methods)] // a load and a proxy run beside the test

pub mod incoming;

pub use incoming::Incoming;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a condition may take before a test calls it a failure.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Our binary.
pub const OURS: &str = env!("CARGO_BIN_EXE_redis-server");
/// Debian's redis-server, a genuine one of another version.
pub const DEBIAN: &str = "/usr/bin/redis-server";

/// Waits until `condition` holds; panics with `what` if it does not within `PATIENCE`.
#[track_caller]
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A port that was free a moment ago, and that no other test of this process gets.
///
/// Each process goes its own way through the ports: two that took one after the other would meet
/// again and again.
///
/// Outside the range from which the kernel takes the ports of outgoing connections: among those,
/// another test's connection may sit on the port when the server binds it, and a connection attempt
/// may even meet itself.
pub fn free_port() -> u16 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    const FIRST: u64 = 10_000;
    // A prime: any stride comes to each of them.
    const COUNT: u64 = 49_999;
    static WAY: LazyLock<(u64, u64)> = LazyLock::new(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seed = now.as_nanos() as u64 ^ u64::from(std::process::id()) << 40;
        let seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
        (seed % COUNT, 1 + seed / COUNT % (COUNT - 1))
    });
    let range =
        std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = range.split_whitespace().filter_map(|n| n.parse::<u16>().ok());
    let outgoing = ends.next().unwrap_or(32_768)..=ends.next().unwrap_or(60_999);
    // Where that is nearly all of them, there is no choice.
    let avoid = outgoing.len() < COUNT as usize - 10_000;
    let (start, stride) = *WAY;
    loop {
        let n = (start + stride * NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = (FIRST + n) as u16;
        if avoid && outgoing.contains(&port) {
            continue;
        }
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A reply of the server, RESP2 or RESP3.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Status(Vec<u8>),
    Error(Vec<u8>),
    Int(i64),
    Bulk(Vec<u8>),
    Nil,
    Array(Vec<Reply>),
    Map(Vec<(Reply, Reply)>),
    Set(Vec<Reply>),
    Push(Vec<Reply>),
    Double(Vec<u8>),
    Bool(bool),
    BigNumber(Vec<u8>),
    /// Format (three letters) and text.
    Verbatim(Vec<u8>, Vec<u8>),
}

impl Reply {
    /// The text of a status, a bulk or an error, else a debug form: for assertions that read well.
    pub fn text(&self) -> String {
        match self {
            Reply::Status(b)
            | Reply::Bulk(b)
            | Reply::Verbatim(_, b)
            | Reply::Double(b)
            | Reply::BigNumber(b) => String::from_utf8_lossy(b).into_owned(),
            Reply::Error(b) => format!("-{}", String::from_utf8_lossy(b)),
            Reply::Int(n) => n.to_string(),
            Reply::Nil => "(nil)".into(),
            other => format!("{other:?}"),
        }
    }

    pub fn int(&self) -> i64 {
        match self {
            Reply::Int(n) => *n,
            other => panic!("an integer was expected, not {other:?}"),
        }
    }

    pub fn bytes(&self) -> &[u8] {
        match self {
            Reply::Status(b) | Reply::Bulk(b) | Reply::Error(b) | Reply::Verbatim(_, b) => b,
            other => panic!("text was expected, not {other:?}"),
        }
    }

    pub fn array(&self) -> &[Reply] {
        match self {
            Reply::Array(v) | Reply::Set(v) | Reply::Push(v) => v,
            other => panic!("an array was expected, not {other:?}"),
        }
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Reply::Error(_))
    }

    /// Whether it is the INFO of a server that loads its data.
    fn says_loading(&self) -> bool {
        matches!(self, Reply::Bulk(text) if text.windows(11).any(|w| w == b"\r\nloading:1"))
    }
}

/// A connection that speaks the protocol, and can speak garbage too.
pub struct Conn {
    pub sock: TcpStream,
    incoming: Incoming,
}

impl Conn {
    /// Connects to a port on loopback.
    pub fn open(port: u16) -> Conn {
        Conn::try_open(port).unwrap_or_else(|e| panic!("connect to {port}: {e}"))
    }

    pub fn try_open(port: u16) -> io::Result<Conn> {
        Conn::over(TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), PATIENCE)?)
    }

    /// Speaks over a connection that is there.
    pub fn over(sock: TcpStream) -> io::Result<Conn> {
        sock.set_nodelay(true)?;
        sock.set_read_timeout(Some(PATIENCE))?;
        sock.set_write_timeout(Some(PATIENCE))?;
        Ok(Conn { sock, incoming: Incoming::default() })
    }

    /// The multibulk form of a command.
    pub fn encode<T: AsRef<[u8]>>(args: &[T]) -> Vec<u8> {
        let mut out = format!("*{}\r\n", args.len()).into_bytes();
        for a in args {
            let a = a.as_ref();
            out.extend_from_slice(format!("${}\r\n", a.len()).as_bytes());
            out.extend_from_slice(a);
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    /// Sends a command and waits for its reply.
    #[track_caller]
    pub fn cmd<T: AsRef<[u8]>>(&mut self, args: &[T]) -> Reply {
        self.send(args);
        self.reply()
    }

    /// Sends a command and does not wait.
    #[track_caller]
    pub fn send<T: AsRef<[u8]>>(&mut self, args: &[T]) {
        self.sock.write_all(&Conn::encode(args)).expect("send");
    }

    /// Sends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sock.write_all(bytes)
    }

    #[track_caller]
    pub fn reply(&mut self) -> Reply {
        self.try_reply().expect("a reply")
    }

    /// The next reply; an error of kind `UnexpectedEof` when the server closed the connection.
    pub fn try_reply(&mut self) -> io::Result<Reply> {
        let line = self.line()?;
        let (kind, rest) = line.split_first().ok_or_else(|| io::Error::other("an empty line"))?;
        let number = || -> io::Result<i64> {
            std::str::from_utf8(rest).ok().and_then(|s| s.parse().ok()).ok_or_else(|| {
                io::Error::other(format!(
                    "a number was expected: {}",
                    String::from_utf8_lossy(&line)
                ))
            })
        };
        Ok(match kind {
            b'+' => Reply::Status(rest.to_vec()),
            b'-' => Reply::Error(rest.to_vec()),
            b':' => Reply::Int(number()?),
            b',' => Reply::Double(rest.to_vec()),
            b'#' => Reply::Bool(rest == b"t"),
            b'(' => Reply::BigNumber(rest.to_vec()),
            b'_' => Reply::Nil,
            b'$' | b'=' => {
                let n = number()?;
                if n < 0 {
                    return Ok(Reply::Nil);
                }
                let body = self.incoming.take(&mut self.sock, n as usize, true)?;
                if *kind == b'=' {
                    Reply::Verbatim(body[..3].to_vec(), body[4..].to_vec())
                } else {
                    Reply::Bulk(body)
                }
            }
            b'*' | b'~' | b'>' => {
                let n = number()?;
                if n < 0 {
                    return Ok(Reply::Nil);
                }
                let items = (0..n).map(|_| self.try_reply()).collect::<io::Result<Vec<_>>>()?;
                match kind {
                    b'*' => Reply::Array(items),
                    b'~' => Reply::Set(items),
                    _ => Reply::Push(items),
                }
            }
            b'%' | b'|' => {
                let n = number()?;
                let pairs = (0..n)
                    .map(|_| Ok((self.try_reply()?, self.try_reply()?)))
                    .collect::<io::Result<Vec<_>>>()?;
                Reply::Map(pairs)
            }
            _ => {
                return Err(io::Error::other(format!(
                    "not a reply: {}",
                    String::from_utf8_lossy(&line)
                )));
            }
        })
    }

    /// The next line, without its CRLF.
    pub fn line(&mut self) -> io::Result<Vec<u8>> {
        self.incoming.line(&mut self.sock)
    }

    /// Exactly `n` bytes.
    pub fn take(&mut self, n: usize) -> io::Result<Vec<u8>> {
        self.incoming.take(&mut self.sock, n, false)
    }

    /// Everything until the server closes.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        while self.fill().is_ok() {}
        self.incoming.rest().to_vec()
    }

    /// Whether the server closes this connection (without a reply in between being an error).
    pub fn is_closed(&mut self) -> bool {
        loop {
            match self.try_reply() {
                Ok(_) => {}
                Err(e) => {
                    return !matches!(
                        e.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    );
                }
            }
        }
    }

    /// Hangs up after `last` came, and waits until the server has let go of this client too: it is
    /// in no count any more.
    ///
    /// A server that loads is not waited for, as it looks at its clients but now and then; nor is
    /// one that has just forked, whose child has the connection open too.
    fn close(mut self, last: &Reply) {
        let busy = match last {
            Reply::Error(text) => text.starts_with(b"LOADING"),
            Reply::Bulk(_) => last.says_loading(),
            Reply::Status(text) => text.starts_with(b"Background"),
            _ => false,
        };
        if !busy {
            let _ = self.sock.shutdown(Shutdown::Write);
            let _ = self.sock.set_read_timeout(Some(Duration::from_secs(1)));
            while self.fill().is_ok() {}
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.incoming.fill(&mut self.sock)
    }
}

static NEXT_FOLDER: AtomicU32 = AtomicU32::new(0);

/// A folder of its own under the system's temporary folder, removed when dropped.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        loop {
            let n = NEXT_FOLDER.fetch_add(1, Ordering::Relaxed);
            let name = format!("fidelis-test-{}-{n}", std::process::id());
            let path = std::env::temp_dir().join(name);
            // One may be left over from an earlier process of the same id, with its files.
            match std::fs::create_dir(&path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                made => {
                    made.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                    return Folder(path);
                }
            }
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Sends a signal to a process, given by its id.
#[track_caller]
pub fn signal(name: &str, pid: &str) {
    assert!(try_signal(name, pid));
}

/// Does what [`signal`] does with a process that may have ended; false if it has.
pub fn try_signal(name: &str, pid: &str) -> bool {
    Command::new("kill").arg(format!("-{name}")).arg(pid).status().unwrap().success()
}

/// Arguments for a backlog that has all that is written under load while a replica is held up by a
/// busy machine. It takes only the memory of what is in it.
pub const LONG_BACKLOG: [&str; 2] = ["--repl-backlog-size", "200mb"];

/// A running server.
pub struct TestServer {
    pub port: u16,
    pub dir: Folder,
    binary: PathBuf,
    args: Vec<String>,
    child: Option<Child>,
}

impl TestServer {
    /// Starts ours, without save points, with these further arguments, and waits until it answers.
    #[track_caller]
    pub fn start(args: &[&str]) -> TestServer {
        TestServer::start_binary(OURS, args)
    }

    /// Starts Debian's.
    #[track_caller]
    pub fn start_debian(args: &[&str]) -> TestServer {
        TestServer::start_binary(DEBIAN, args)
    }

    /// Starts any redis-server.
    #[track_caller]
    pub fn start_binary(binary: impl AsRef<Path>, args: &[&str]) -> TestServer {
        TestServer::start_in(Folder::new(), binary, args)
    }

    /// Starts any redis-server in a folder that may hold a dump.rdb already.
    #[track_caller]
    pub fn start_in(dir: Folder, binary: impl AsRef<Path>, args: &[&str]) -> TestServer {
        let mut server = TestServer {
            port: 0,
            dir,
            binary: binary.as_ref().to_path_buf(),
            args: args.iter().map(|s| s.to_string()).collect(),
            child: None,
        };
        // Another process may take the port between our look and the server's bind: then the server
        // ends, and we try again.
        for _ in 0..5 {
            server.port = free_port();
            server.spawn(&[]);
            if server.wait_until_up() {
                return server;
            }
        }
        panic!("the server does not start:\n{}", server.log());
    }

    fn spawn(&mut self, more: &[&str]) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.path("log"))
            .unwrap();
        let child = Command::new(&self.binary)
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(&self.args)
            .args(more)
            .current_dir(&self.dir.0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", self.binary.display()));
        self.child = Some(child);
    }

    /// True once the server has loaded its file and answers (-NOAUTH is an answer); false if it
    /// ended. One that loads slowly on purpose is not waited for longer than to its first answer.
    fn wait_until_up(&mut self) -> bool {
        let loads_slowly = self.args.iter().any(|arg| arg == "--key-load-delay");
        let mut start = Instant::now();
        let own = format!("process_id:{}\r\n", self.pid());
        loop {
            if let Some(child) = &mut self.child
                && child.try_wait().unwrap().is_some()
            {
                return false;
            }
            if let Ok(mut c) = Conn::try_open(self.port)
                && c.raw(b"INFO\r\n").is_ok()
                && let Ok(reply) = c.try_reply()
            {
                c.close(&reply);
                // Somebody else's server may have taken the port: then ours is about to end.
                if reply.is_error() {
                    return true;
                }
                if reply.text().contains(&own) {
                    if loads_slowly || !reply.says_loading() {
                        return true;
                    }
                    // It is there; how long it loads is up to the file.
                    start = Instant::now();
                }
            }
            assert!(start.elapsed() < PATIENCE, "the server does not come up:\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether it runs our binary.
    pub fn is_ours(&self) -> bool {
        self.binary == Path::new(OURS)
    }

    /// A new connection.
    #[track_caller]
    pub fn conn(&self) -> Conn {
        Conn::open(self.port)
    }

    /// One command on a connection of its own.
    #[track_caller]
    pub fn cmd<T: AsRef<[u8]>>(&self, args: &[T]) -> Reply {
        let mut c = self.conn();
        let reply = c.cmd(args);
        c.close(&reply);
        reply
    }

    /// A field of INFO, "" if there is none.
    pub fn info(&self, field: &str) -> String {
        let [value] = self.infos([field]);
        value
    }

    /// Several fields of one INFO: what they were at the same time.
    pub fn infos<const N: usize>(&self, fields: [&str; N]) -> [String; N] {
        let text = self.info_text().unwrap_or_default();
        let value =
            |field: &str| text.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
        fields.map(|field| value(field).unwrap_or_default().trim_end().to_string())
    }

    fn info_text(&self) -> io::Result<String> {
        let mut c = Conn::try_open(self.port)?;
        c.raw(&Conn::encode(&["INFO", "everything"]))?;
        let reply = c.try_reply()?;
        c.close(&reply);
        Ok(reply.text())
    }

    /// Whether no rewrite of the append only file is going on or scheduled.
    pub fn rewrites_nothing(&self) -> bool {
        // Asked one after the other, a scheduled one might begin in between.
        self.infos(["aof_rewrite_in_progress", "aof_rewrite_scheduled"]) == ["0", "0"]
    }

    /// A field of INFO as a number; -1 if it is none.
    pub fn info_i64(&self, field: &str) -> i64 {
        self.info(field).parse().unwrap_or(-1)
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// What it logged (and printed).
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.path("log")).unwrap_or_default())
            .into_owned()
    }

    /// How often its log holds `text`.
    pub fn log_count(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }

    /// Waits until its log holds `text`.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        wait_for(&format!("log line {text:?}"), || self.log().contains(text));
    }

    /// Follows `master`, and waits until it is in sync.
    #[track_caller]
    pub fn replica_of(self, master: &TestServer) -> TestServer {
        self.replicaof_port(master.port);
        self.wait_for_link();
        self
    }

    #[track_caller]
    pub fn replicaof_port(&self, port: u16) {
        assert_eq!(self.cmd(&["REPLICAOF", "127.0.0.1", &port.to_string()]).text(), "OK");
    }

    #[track_caller]
    pub fn wait_for_link(&self) {
        wait_for("the link to the master", || self.info("master_link_status") == "up");
    }

    /// DEBUG DIGEST.
    #[track_caller]
    pub fn digest(&self) -> String {
        self.cmd(&["DEBUG", "DIGEST"]).text()
    }

    /// Sends a signal to this server and to no other process.
    pub fn signal(&self, name: &str) {
        signal(name, &self.pid().to_string());
    }

    /// Waits for the end of the process; its exit code, or minus the signal that killed it.
    #[track_caller]
    pub fn wait_exit(&mut self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let child = self.child.as_mut().expect("it runs");
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                self.child = None;
                return status.code().unwrap_or_else(|| -status.signal().unwrap_or(0));
            }
            assert!(start.elapsed() < PATIENCE, "the server does not end");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether the process still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|c| c.try_wait().unwrap().is_none())
    }

    /// Kills it and starts it again in the same folder and on the same port.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Starts it again after it ended.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.start_again_with(&[]);
    }

    /// Starts it again after it ended, with further arguments for this time.
    #[track_caller]
    pub fn start_again_with(&mut self, more: &[&str]) {
        let taken = "Address already in use";
        wait_for("the server to start again", || {
            let before = self.log_count(taken);
            self.spawn(more);
            let up = self.wait_until_up();
            assert!(up || self.log_count(taken) > before, "it does not start:\n{}", self.log());
            up
        });
    }

    /// Kills it at once, and a child that saves or rewrites with it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = child.id();
            let own = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            for own in own.unwrap_or_default().split_whitespace() {
                let _ = Command::new("kill").args(["-KILL", own]).stderr(Stdio::null()).status();
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            eprintln!("--- the last log lines of the server on port {}:", self.port);
            for line in tail.iter().rev() {
                eprintln!("{line}");
            }
        }
        self.kill();
    }
}

/// Waits until the replica has applied all that the master has sent, then compares the two data
/// sets.
#[track_caller]
pub fn assert_same_data(master: &TestServer, replica: &TestServer) {
    wait_for_offset(master, replica);
    assert_eq!(master.digest(), replica.digest(), "the data sets differ");
}

/// Waits until both are at the same replication offset.
#[track_caller]
pub fn wait_for_offset(master: &TestServer, replica: &TestServer) {
    wait_for("equal offsets", || {
        let m = master.info("master_repl_offset");
        !m.is_empty()
            && m == replica.info("master_repl_offset")
            && m == master.info("master_repl_offset")
    });
}

/// A write load on a server, until it is stopped.
pub struct WriteLoad {
    stop: Arc<AtomicBool>,
    writes: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<()>>,
}

impl WriteLoad {
    /// SET, INCR, APPEND, DEL and EXPIRE on keys of several dbs, as fast as they are answered.
    pub fn start(port: u16) -> WriteLoad {
        let (stop, writes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (s, w) = (stop.clone(), writes.clone());
        let thread = thread::spawn(move || {
            let mut c = Conn::open(port);
            let mut n = 0u64;
            while !s.load(Ordering::Relaxed) {
                n = n.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let key = format!("key:{}", (n >> 33) % 5000);
                let value = format!("{n:x}").repeat(1 + (n >> 40) as usize % 8);
                let db = ((n >> 50) % 3).to_string();
                let commands: [Vec<&str>; 3] = [
                    vec!["SELECT", &db],
                    match (n >> 20) % 6 {
                        0..=2 => vec!["SET", &key, &value],
                        3 => vec!["APPEND", &key, "x"],
                        4 => vec!["DEL", &key],
                        _ => vec!["SET", &key, "1", "EX", "1000"],
                    },
                    vec!["INCR", "counter"],
                ];
                let bytes: Vec<u8> = commands.iter().flat_map(|c| Conn::encode(c)).collect();
                if c.raw(&bytes).is_err() || (0..3).any(|_| c.try_reply().is_err()) {
                    return;
                }
                w.fetch_add(2, Ordering::Relaxed);
            }
        });
        WriteLoad { stop, writes, thread: Some(thread) }
    }

    /// Writes answered so far.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(t) = self.thread.take() {
            let _ = t.join();
        }
    }
}

impl Drop for WriteLoad {
    fn drop(&mut self) {
        self.end();
    }
}

/// A proxy in front of a server that cuts each connection after a number of bytes in one direction.
pub struct Proxy {
    pub port: u16,
    /// Bytes to let through from the server to the client before the cut; `u64::MAX` never cuts.
    pub limit: Arc<AtomicU64>,
    /// The same for the next connection alone.
    next: Arc<AtomicU64>,
    /// Lets no more than 16 KB through in a millisecond.
    pub slow: Arc<AtomicBool>,
    pub connections: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Proxy {
    pub fn start(target: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let limit = Arc::new(AtomicU64::new(u64::MAX));
        let (stop, connections) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let next = Arc::new(AtomicU64::new(u64::MAX));
        let slow = Arc::new(AtomicBool::new(false));
        let (l, s, n) = (limit.clone(), stop.clone(), connections.clone());
        let (x, w) = (next.clone(), slow.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                if s.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", target)))
                else {
                    continue;
                };
                let limit = l.load(Ordering::Relaxed).min(x.swap(u64::MAX, Ordering::Relaxed));
                n.fetch_add(1, Ordering::Relaxed);
                let (c2, s2) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (there, back) = (w.clone(), w.clone());
                thread::spawn(move || pump(client, server, u64::MAX, &there));
                thread::spawn(move || pump(s2, c2, limit, &back));
            }
        });
        Proxy { port, limit, next, slow, connections, stop }
    }

    /// Cuts the next connection after so many bytes from the server, and no other.
    pub fn cut_next(&self, bytes: u64) {
        self.next.store(bytes, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Copies until the end or until `limit` bytes went through, then cuts both.
fn pump(mut from: TcpStream, mut to: TcpStream, mut limit: u64, slow: &AtomicBool) {
    let mut buf = [0; 1 << 14];
    while limit > 0 {
        if slow.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
        let want = (buf.len() as u64).min(limit) as usize;
        match from.read(&mut buf[..want]) {
            Ok(n) if n > 0 && to.write_all(&buf[..n]).is_ok() => limit -= n as u64,
            _ => break,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Runs a tool (redis-cli, redis-benchmark) and gives back what it printed.
#[track_caller]
pub fn tool(name: &str, args: &[&str]) -> String {
    let out = Command::new(name)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    String::from_utf8_lossy(&out.stdout).into_owned()
}
