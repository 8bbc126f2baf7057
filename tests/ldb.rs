//! The debugger of scripts: what it says, where a session lives and what it leaves behind, and what
//! a client that means no good can do with it.

#[path = "support/ask.rs"]
mod ask;
#[path = "support/random.rs"]
mod random;
mod support;

use ask::*;
use random::{Random, long};
use support::*;

/// A client in a session.
struct Session {
    conn: Conn,
}

impl Session {
    /// Has a script debugged; `mode` is YES or SYNC. Returns the session and what it says first.
    fn start(server: &TestServer, mode: &str, script: &[u8], keys: &[&str]) -> (Session, String) {
        let mut conn = server.conn();
        assert_eq!(conn.ask(&format!("SCRIPT DEBUG {mode}")), "OK");
        let mut argv: Vec<&[u8]> = vec![b"EVAL", script];
        argv.extend(keys.iter().map(|key| key.as_bytes()));
        conn.send(&argv);
        let mut session = Session { conn };
        let says = session.says();
        (session, says)
    }

    /// What the debugger says: its lines.
    fn says(&mut self) -> String {
        let reply = self.conn.reply();
        let lines: Vec<String> = reply.array().iter().map(Reply::text).collect();
        without_addresses(&lines.join("\n"))
    }

    /// What it says to a command, the words of which are its arguments.
    fn ask(&mut self, command: &str) -> String {
        self.conn.send(&command.split(' ').collect::<Vec<_>>());
        self.says()
    }

    /// The reply of EVAL. The connection is closed behind it.
    #[track_caller]
    fn reply(mut self) -> String {
        let reply = flat(&self.conn.reply());
        assert!(self.conn.is_closed());
        reply
    }
}

/// The address of a function is no two times the same.
fn without_addresses(text: &str) -> String {
    let mut parts = text.split("function@0x");
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        out += "function@0x..";
        out += part.trim_start_matches(|c: char| c.is_ascii_hexdigit() || c == '.');
    }
    out
}

/// A dialogue with every command, in both modes. What is expected was recorded from a genuine
/// 6.2.16: `> ` is a command, `= ` the reply of EVAL.
#[test]
fn dialogue() {
    let script = include_bytes!("data/ldb/dialogue.lua");
    let expected = include_str!("data/ldb/dialogue.txt");
    let (expected, reply) = expected.split_once("\n= ").unwrap();
    for mode in ["YES", "SYNC"] {
        let mut server = TestServer::start(&[]);
        server.ask("RPUSH numbers 1 2");
        server.ask("HSET h f v");
        let keys = ["2", "counter", "numbers", "Ada"];
        let (mut session, says) = Session::start(&server, mode, script, &keys);
        let mut parts = expected.split("\n> ");
        assert_eq!(Some(&says[..]), parts.next());
        for part in parts {
            let (command, says) = part.split_once('\n').unwrap();
            assert_eq!(session.ask(command), says, "{command}");
        }
        assert_eq!(session.reply(), reply.trim_end());
        // A session in a process of its own changes nothing here.
        let left = if mode == "SYNC" { "3" } else { "(nil)" };
        assert_eq!(server.ask("GET counter"), left);
    }
}

/// Sessions in processes of their own do not keep the server from its work; they end with their
/// clients, or with the server.
#[test]
fn forked_sessions() {
    let mut server = TestServer::start(&["--lua-time-limit", "50"]);
    let script = b"redis.call('set','k',1)\nredis.call('flushall')\nreturn redis.call('dbsize')";
    server.ask("SET kept 1");
    let (mut first, _) = Session::start(&server, "YES", script, &["0"]);
    let (mut second, _) = Session::start(&server, "YES", script, &["0"]);
    assert_eq!(server.ask("SET k 2"), "OK");
    for session in [&mut first, &mut second] {
        assert!(session.ask("n").ends_with("-> 2   redis.call('flushall')"));
        assert!(session.ask("n").ends_with("-> 3   return redis.call('dbsize')"));
        assert_eq!(session.ask("c"), "<endsession>");
    }
    assert_eq!(first.reply(), "0");
    assert_eq!(second.reply(), "0");
    assert_eq!(server.ask("MGET k kept"), "[2 1]");

    // A client that goes: the script goes on alone, and a loop without end is ended.
    let loop_ =
        b"local n = 0\nwhile true do\n  pcall(function() while true do n = n + 1 end end)\nend";
    let (gone, _) = Session::start(&server, "YES", loop_, &["0"]);
    drop(gone);
    let endings = 3;
    wait_for("the end of the sessions", || {
        server.log_count("Lua debugging session child exiting") == endings
    });
    assert_eq!(server.log_count("unmatched pid"), 0);

    let (mut left, _) = Session::start(&server, "YES", b"return 1", &["0"]);
    assert_eq!(server.log_count("Redis forked for debugging eval"), 4);
    server.signal("TERM");
    assert_eq!(server.wait_exit(), 0);
    // Those that have ended may not be buried yet.
    assert!(server.log_count("Killing debugging session ") >= 1);
    assert!(left.conn.is_closed());
}

/// The reply of a session in a process of its own comes whole, however large.
#[test]
fn large_reply() {
    let server = TestServer::start(&[]);
    let (mut session, _) =
        Session::start(&server, "YES", b"return string.rep('x', 3000000)", &["0"]);
    assert_eq!(session.ask("c"), "<endsession>");
    assert_eq!(session.reply().len(), 3_000_000);
}

/// FLUSHALL saves what is left, but not from a process that has a copy of the data: the file is the
/// server's.
#[test]
fn a_forked_session_does_not_save() {
    let mut server = TestServer::start(&["--save", "900 1"]);
    server.ask("SET k 1");
    assert_eq!(server.ask("SAVE"), "OK");
    let (mut session, _) = Session::start(&server, "YES", b"return redis.call('flushall')", &["0"]);
    assert_eq!(session.ask("c"), "<endsession>");
    assert_eq!(session.reply(), "OK");
    server.kill();
    server.start_again();
    assert_eq!(server.ask("GET k"), "1");
}

/// In the synchronous mode the server waits for the client, and keeps what the script did.
#[test]
fn synchronous_session() {
    let mut server = TestServer::start(&["--lua-time-limit", "50"]);
    let script = b"redis.call('set','k',1)\nredis.call('set','k',2)\nreturn 'end'";
    let (mut session, _) = Session::start(&server, "SYNC", script, &["0"]);
    assert!(session.ask("n").ends_with("-> 2   redis.call('set','k',2)"));
    session.ask("b 1 2 3");
    assert_eq!(session.ask("b -1"), "Breakpoint removed.");
    assert!(session.ask("b").starts_with("2 breakpoints set:\n->#2 "));
    let mut other = server.conn();
    other.send(&["GET", "k"]);
    assert_eq!(session.ask("a"), "<endsession>");
    assert!(session.reply().ends_with("@user_script:2: script aborted for user request"));
    assert_eq!(flat(&other.reply()), "1");

    // Stopped by the clock.
    let (mut session, _) =
        Session::start(&server, "SYNC", b"local n = 0\nwhile true do n = n + 1 end", &["0"]);
    assert_eq!(
        session.ask("c"),
        "* Stopped at 2, stop reason = timeout reached, infinite loop?\n-> 2   while true do n = n + 1 end"
    );
    assert_eq!(session.ask("a"), "<endsession>");
    drop(session);
    assert_eq!(server.ask("PING"), "PONG");
    for text in ["started", "ended"] {
        wait_for("both sessions", || {
            server.log_count(&format!("Redis synchronous debugging eval session {text}")) == 2
        });
    }
}

/// A session is the one of the client that calls EVAL, whoever else has asked for one.
#[test]
fn a_session_has_one_client() {
    let server = TestServer::start(&[]);
    let mut other = server.conn();
    let mut c = server.conn();
    assert_eq!(c.ask("SCRIPT DEBUG SYNC"), "OK");
    assert_eq!(other.ask("SCRIPT DEBUG SYNC"), "OK");
    drop(other);
    wait_for("the other client to go", || server.info("connected_clients") == "2");
    c.send(&["EVAL", "return 1", "0"]);
    let mut session = Session { conn: c };
    assert!(session.says().ends_with("-> 1   return 1"));
    assert_eq!(session.ask("c"), "<endsession>");
    assert_eq!(session.reply(), "1");
}

/// The second script of a transaction goes on as the first was left: it was to continue.
#[test]
fn scripts_of_a_transaction() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    assert_eq!(c.ask("SCRIPT DEBUG SYNC"), "OK");
    c.raw(&batch(&["MULTI", "EVAL return(1) 0", "EVAL return(2) 0", "EXEC"])).unwrap();
    let mut session = Session { conn: c };
    assert!(session.says().ends_with("-> 1   return(1)"));
    assert_eq!(session.ask("c"), "<endsession>");
    assert_eq!(session.says(), "<endsession>");
    // The first has said that the connection is to be closed: its reply is the last.
    let rest = String::from_utf8(session.conn.read_to_end()).unwrap();
    assert_eq!(rest, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n");
}

/// Who asks for the debugger, and how.
#[test]
fn script_debug() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    assert_eq!(c.ask("SCRIPT DEBUG MAYBE"), "-ERR Use SCRIPT DEBUG YES/SYNC/NO");
    c.raw(&batch(&["PING", "SCRIPT DEBUG YES", "EVAL return(1) 0"])).unwrap();
    assert_eq!(next(&mut c), "PONG");
    assert_eq!(next(&mut c), "-ERR SCRIPT DEBUG must be called outside a pipeline");
    assert_eq!(next(&mut c), "1");
    assert_eq!(c.ask("SCRIPT DEBUG YES"), "OK");
    assert_eq!(
        c.ask("EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0"),
        "-ERR Please use EVAL instead of EVALSHA for debugging"
    );
    assert_eq!(c.ask("SCRIPT DEBUG NO"), "OK");
    assert_eq!(c.ask("EVAL return(redis.breakpoint()) 0"), "(nil)");
}

/// What is no command ends the script, whatever it is.
#[test]
fn garbage() {
    let mut server = TestServer::start(&[]);
    let large = [&b"*2\r\n$1\r\n"[..], &vec![b'\r'; 2 << 20]].concat();
    let endless = [&b"*1"[..], &vec![b'1'; 2 << 20]].concat();
    let cases: [(&[u8], &str); 9] = [
        (b"foo\r\n", "protocol error"),
        (b"*0\r\n", "protocol error"),
        (b"*1025\r\n", "protocol error"),
        (b"*1\r\n$0\r\n\r\n", "protocol error"),
        (b"*1\r\n$-1\r\n", "protocol error"),
        (b"*1\r\n$1025\r\n", "protocol error"),
        (b"\0*1\r\n$1\r\nl\r\n", "protocol error"),
        (&large, "protocol error"),
        (&endless, "max client buffer reached"),
    ];
    for mode in ["YES", "SYNC"] {
        for (bytes, error) in cases {
            let (mut session, _) = Session::start(&server, mode, b"local x\nreturn 1", &["0"]);
            // The session may be over before all of it is sent.
            let _ = session.conn.raw(bytes);
            if bytes.len() < 100 {
                assert_eq!(session.says(), "<endsession>");
                assert!(flat(&session.conn.reply()).ends_with(error));
            } else {
                drop(session);
            }
            assert_eq!(server.ask("PING"), "PONG");
        }
    }
}

/// Typed code that fails, at the first line of the script as anywhere, leaves the script where it
/// stands.
#[test]
fn typed_code_that_fails() {
    let server = TestServer::start(&[]);
    let script = b"local x = 1\nlocal y = 2 x = 3\nreturn x + y";
    for mode in ["YES", "SYNC"] {
        let (mut session, _) = Session::start(&server, mode, script, &["0"]);
        for (command, says) in [
            ("e )", "<error> ldb_eval:1: unexpected symbol near ')'"),
            ("t", "In top level:\n-> 1   local x = 1"),
            ("s", "* Stopped at 2, stop reason = step over\n-> 2   local y = 2 x = 3"),
            ("e error (1", "<error> ldb_eval:1: ')' expected near '<eof>'"),
            ("t", "In top level:\n-> 2   local y = 2 x = 3"),
            ("s", "* Stopped at 3, stop reason = step over\n-> 3   return x + y"),
            ("e error('x')", "<error> ldb_eval:1: x"),
            ("t", "In top level:\n-> 3   return x + y"),
            ("c", "<endsession>"),
        ] {
            assert_eq!(session.ask(command), says, "{mode}: {command}");
        }
        assert_eq!(session.reply(), "5");
    }
}

/// Whatever is typed, wherever the script stands, is answered, and the server outlives it.
#[test]
fn random_commands() {
    let scripts = [
        "local a = 1\nlocal t = {1, 2, {x = 3}}\nfor i = 1, 3 do\n a = a + i\nend\nreturn a",
        "local function f(n)\n if n == 0 then return 1 end\n return n * f(n - 1)\nend\n\
         redis.debug(f(3), {a = 1}, nil)\nredis.breakpoint()\nreturn {KEYS[1], ARGV[1]}",
        "local co = coroutine.wrap(function(a)\n local b = a + 1\n coroutine.yield(b)\nend)\n\
         local x = co(1)\nlocal ok = pcall(function()\n local q = nil\n return q.x\nend)\nreturn x",
        "redis.call('rpush', 'l', 'a')\nlocal e = redis.pcall('incr', 'l')\nerror('end')",
        "return 1",
    ];
    let words = [
        "h",
        "s",
        "s",
        "s",
        "n",
        "c",
        "l",
        "l 2",
        "l 1 0",
        "l -5 x",
        "w",
        "p",
        "p a",
        "p t",
        "p n",
        "p KEYS",
        "p nosuch",
        "b",
        "b 2",
        "b 3 4",
        "b -2",
        "b 0",
        "b x",
        "b 99999999999",
        "t",
        "m",
        "m 0",
        "m 60",
        "r",
        "r get k",
        "r rpush l b",
        "r nosuch",
        "r get",
        "r subscribe c",
        "x",
        "e",
    ];
    let code = [
        ")",
        "1 + 1",
        "a",
        "error('x')",
        "error()",
        "error({})",
        "nil .. 'x'",
        "nosuch()",
        "return",
        "x = 1",
        "redis.call('incr', 'l')",
        "redis.call()",
        "redis.breakpoint()",
        "redis.debug(1)",
        "coroutine.wrap(function() error('x') end)()",
        "coroutine.yield()",
        "f()",
        "local function f() return f() + 1 end f()",
        "local function f() return f() end",
        "setmetatable({}, {__index = function() return nosuch end}).x",
        "loadstring('return 1 +')",
        "unpack({}, 1, 1e9)",
        "('x'):rep(1000000)",
        "pcall(error, {1})",
        "function() end",
        "'\\0\\1'",
    ];
    let mut random = Random::seeded();
    let server = TestServer::start(&["--lua-time-limit", "2000"]);
    for _ in 0..if long() { 2000 } else { 60 } {
        let mode = ["YES", "SYNC"][random.below(2)];
        let script = random.pick(&scripts).as_bytes();
        let (mut session, mut says) = Session::start(&server, mode, script, &["1", "k", "v"]);
        for _ in 0..20 {
            if says.ends_with("<endsession>") {
                break;
            }
            says = match random.below(2) {
                0 => session.ask(&format!("e {}", random.pick(&code))),
                _ => session.ask(random.pick(&words)),
            };
            assert!(!says.is_empty());
        }
        if !says.ends_with("<endsession>") {
            assert!(session.ask("a").ends_with("<endsession>"));
        }
        session.reply();
        assert_eq!(server.cmd(&["PING"]).text(), "PONG");
    }
}

/// Code that is typed can take neither time nor memory without end.
#[test]
fn typed_code_is_bounded() {
    let server = TestServer::start(&["--lua-time-limit", "50"]);
    let script = b"local t = {}\nfor i = 1, 12 do t = {t, t, t, t, t, t, t, t} end\nreturn 1";
    let (mut session, _) = Session::start(&server, "SYNC", script, &["0"]);
    let timeout = "<error> ldb_eval:1: timeout reached, infinite loop?";
    for code in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "coroutine.wrap(function() while true do end end)()",
        "string.find(string.rep('a', 30), string.rep('a?', 30) .. string.rep('a', 30))",
    ] {
        let said = session.ask(&format!("e {code}"));
        assert!(said == timeout || said.ends_with("timeout reached, infinite loop?"), "{said}");
    }
    assert_eq!(session.ask("e error({1})"), "<error> {1}");
    assert_eq!(session.ask("e error()"), "<error> nil");
    assert_eq!(
        session.ask("e coroutine.yield()").split(':').next(),
        Some("<error> attempt to yield across metamethod/C-call boundary")
    );
    assert_eq!(session.ask("e 1 + 1"), "<retval> 2");

    // A value that is eight to the power of twelve tables.
    session.ask("b 3");
    session.ask("c");
    let shown = session.ask("p t");
    assert!(shown.starts_with("<value> {{{{"), "{shown}");
    assert!(shown.contains("..."), "{shown}");
    session.ask("m 0");
    let shown = session.ask("p t");
    assert!((60 << 20..70 << 20).contains(&shown.len()), "{}", shown.len());
    assert_eq!(session.ask("c"), "<endsession>");
    assert_eq!(session.reply(), "1");

    // Logs that nobody has asked for.
    let script =
        b"local s = string.rep('x', 1000000)\nfor i = 1, 200 do redis.debug(s) end\nreturn 1";
    let (mut session, _) = Session::start(&server, "SYNC", script, &["0"]);
    let shown = session.ask("c");
    assert!(shown.len() < 70 << 20, "{}", shown.len());
    assert!(shown.contains("<hint> The rest was dropped: it is too much to be sent at once."));
}

/// A library function that takes long is stopped, too, like the loop around it would be.
#[test]
fn a_long_library_call_is_stopped() {
    let server = TestServer::start(&["--lua-time-limit", "50"]);
    let script = b"local a = string.rep('a', 30)\nreturn string.find(a, string.rep('a?', 30) .. a)";
    let (mut session, _) = Session::start(&server, "SYNC", script, &["0"]);
    assert!(session.ask("c").starts_with("* Stopped at 2, stop reason = timeout reached"));
    assert_eq!(session.ask("a"), "<endsession>");
    assert!(session.reply().ends_with("script aborted for user request"));
}

/// A client that goes leaves a server that serves, whatever its script catches.
#[test]
fn a_client_that_goes() {
    let mut server = TestServer::start(&["--lua-time-limit", "50"]);
    let script = b"while true do\n  pcall(function()\n    while true do end\n  end)\nend";
    let (session, _) = Session::start(&server, "SYNC", script, &["0"]);
    drop(session);
    assert_eq!(server.ask("PING"), "PONG");
    // In the middle of a command.
    let (mut session, _) = Session::start(&server, "SYNC", b"local x\nreturn 1", &["0"]);
    session.conn.raw(b"*2\r\n$1\r\np\r\n$1").unwrap();
    drop(session);
    assert_eq!(server.ask("PING"), "PONG");
}

/// Where scripts are sent as such, the debugger's own commands are sent as commands, in a
/// transaction that ends before the script.
#[test]
fn commands_of_the_debugger_are_propagated() {
    let master = TestServer::start(&["--lua-replicate-commands", "no"]);
    let mut replica = TestServer::start(&[]).replica_of(&master);
    let script = b"local x\nredis.call('rpush','l','script')\nreturn 1";
    let (mut session, _) = Session::start(&master, "SYNC", script, &["0"]);
    assert_eq!(session.ask("r rpush l typed"), "<redis> rpush l typed\n<reply> 1");
    assert_eq!(session.ask("r set k v"), "<redis> set k v\n<reply> \"+OK\"");
    assert_eq!(session.ask("c"), "<endsession>");
    assert_eq!(session.reply(), "1");
    wait_for_offset(&master, &replica);
    assert_same_data(&master, &replica);
    assert_eq!(replica.ask("LRANGE l 0 -1"), "[typed script]");
}
