//! Scripts: what they see and reply, how long they may take, what of them is propagated, and what
//! they must not be able to do. Where texts are compared, they are those of a genuine 6.2.16.

#[path = "support/ask.rs"]
mod ask;
mod support;

use ask::*;
use support::*;

/// What a script without keys replies, as one line.
#[track_caller]
fn eval(c: &mut Conn, script: &str) -> String {
    flat(&c.cmd(&["EVAL", script, "0"]))
}

/// The message of an error that ended a script, without the name of its function.
#[track_caller]
fn error_of(c: &mut Conn, script: &str) -> String {
    let reply = eval(c, script);
    let rest = reply.strip_prefix("-ERR Error running script (call to f_").unwrap_or_else(|| {
        panic!("{script} replies {reply}");
    });
    rest[40..].trim_start_matches("): ").to_string()
}

const SHA_OF_RETURN_1: &str = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";

/// EVAL, EVALSHA and SCRIPT: what is known by its name, and for how long.
#[test]
fn script_cache() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let noscript = "-NOSCRIPT No matching script. Please use EVAL.";
    assert_eq!(c.ask(&format!("EVALSHA {SHA_OF_RETURN_1} 0")), noscript);
    assert_eq!(c.ask("EVALSHA short 0"), noscript);
    assert_eq!(c.cmd(&["SCRIPT", "LOAD", "return 1"]).text(), SHA_OF_RETURN_1);
    assert_eq!(c.ask(&format!("EVALSHA {} 0", SHA_OF_RETURN_1.to_uppercase())), "1");
    let exists = format!("SCRIPT EXISTS {} x {SHA_OF_RETURN_1}", SHA_OF_RETURN_1.to_uppercase());
    assert_eq!(c.ask(&exists), "[1 0 1]");
    assert_eq!(server.info("number_of_cached_scripts"), "1");
    for flush in ["SCRIPT FLUSH", "SCRIPT FLUSH SYNC", "SCRIPT FLUSH ASYNC"] {
        assert_eq!(eval(&mut c, "return 1"), "1");
        assert_eq!(c.ask(flush), "OK");
        assert_eq!(c.ask(&exists), "[0 0 0]");
    }
    assert_eq!(c.ask("SCRIPT FLUSH X"), "-ERR SCRIPT FLUSH only support SYNC|ASYNC option");
    assert_eq!(
        c.ask("SCRIPT X"),
        "-ERR Unknown subcommand or wrong number of arguments for 'X'. Try SCRIPT HELP."
    );
    assert_eq!(
        c.cmd(&["SCRIPT", "LOAD", "x x"]).text(),
        "-ERR Error compiling script (new function): user_script:1: '=' expected near 'x'"
    );
    assert_eq!(c.ask("SCRIPT KILL"), "-NOTBUSY No scripts in execution right now.");
    assert_eq!(c.ask("SCRIPT DEBUG NO"), "OK");
    assert_eq!(
        flat(&c.cmd(&["EVAL", "return {KEYS[2],ARGV[1],#KEYS,#ARGV}", "2", "a", "b", "x"])),
        "[b x 2 1]"
    );
    for (numkeys, error) in [
        ("x", "value is not an integer or out of range"),
        ("1", "Number of keys can't be greater than number of args"),
        ("-1", "Number of keys can't be negative"),
    ] {
        assert_eq!(flat(&c.cmd(&["EVAL", "return 1", numkeys])), format!("-ERR {error}"));
    }
    assert_eq!(c.ask("COMMAND GETKEYS EVAL x 2 a b c"), "[a b]");
}

/// Values of Lua as replies, and replies as values of Lua, in both versions of the protocol.
#[test]
fn conversions() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    c.ask("HSET h f v");
    c.ask("SADD s m");
    c.ask("ZADD z 1.25 m");
    for (script, resp2, resp3) in [
        ("return {1,{'a',{ok='x'}},nil,5}", "[1 [a x]]", "[1 [a x]]"),
        ("return {3.99,-3.99,1e300,0/0}", LIMITS, LIMITS),
        ("return {true,false}", "[1 (nil)]", "[1 (nil)]"),
        ("redis.setresp(3) return {true,false}", "[1 0]", "[Bool(true) Bool(false)]"),
        ("return {double=1.5}", "1.5", "1.5"),
        ("return {map={a=1}}", "[a 1]", "{a=1}"),
        ("return {set={a=1}}", "[a]", "[a]"),
        ("return nil", "(nil)", "(nil)"),
        ("return {err='a\\r\\nb'}", "-a  b", "-a  b"),
        ("return {ok='a\\r\\nb\\0c'}", "a  b", "a  b"),
        ("redis.setresp(3) return redis.call('hgetall','h')", "[f v]", "{f=v}"),
        ("return redis.call('hgetall','h')", "[f v]", "[f v]"),
        (
            "redis.setresp(3) return cjson.encode(redis.call('hgetall','h'))",
            r#"{"map":{"f":"v"}}"#,
            r#"{"map":{"f":"v"}}"#,
        ),
        (
            "redis.setresp(3) return cjson.encode(redis.call('smembers','s'))",
            r#"{"set":{"m":true}}"#,
            r#"{"set":{"m":true}}"#,
        ),
        (
            "redis.setresp(3) return cjson.encode(redis.call('zscore','z','m'))",
            r#"{"double":1.25}"#,
            r#"{"double":1.25}"#,
        ),
        ("redis.setresp(3) return type(redis.call('get','none'))", "nil", "nil"),
        ("return type(redis.call('get','none'))", "boolean", "boolean"),
        // The C gives the script a function, by accident.
        ("redis.setresp(3) return type(redis.call('memory','doctor'))", "nil", "nil"),
        ("return redis.call('set','n',1.5) and redis.call('get','n')", "1.5", "1.5"),
        ("redis.call('set','n',0.1) return redis.call('get','n')", TENTH, TENTH),
    ] {
        c.ask("HELLO 2");
        assert_eq!(eval(&mut c, script), resp2, "{script}");
        c.ask("HELLO 3");
        assert_eq!(eval(&mut c, script), resp3, "{script}");
    }
}

/// What a number is that no 64-bit integer can be.
const LIMITS: &str = "[3 -3 -9223372036854775808 -9223372036854775808]";
/// A tenth with all its digits.
const TENTH: &str = "0.10000000000000001";

/// Errors, with the place of the script in front, as the C words them.
#[test]
fn errors() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let handler =
        "@err_handler_def:9: err_handler_def:9: attempt to concatenate local 'err' (a table value)";
    for (script, error) in [
        ("error('x')", "@user_script:1: user_script:1: x"),
        ("error({err='E'})", handler),
        (
            "\n\nreturn redis.call('nope')",
            "@user_script:3: @user_script: 3: Unknown Redis command called from Lua script",
        ),
        (
            "return foo",
            "@user_script:1: user_script:1: Script attempted to access nonexistent global variable 'foo'",
        ),
        ("foo = 1", "@user_script:1: user_script:1: Attempt to modify a readonly table"),
        ("rawset(_G, 'a', 1)", "@user_script:1: Attempt to modify a readonly table"),
        (
            "return redis.call('set')",
            "@user_script:1: @user_script: 1: Wrong number of args calling Redis command From Lua script",
        ),
        (
            "return redis.call('multi')",
            "@user_script:1: @user_script: 1: This Redis command is not allowed from scripts",
        ),
        (
            "return redis.call({})",
            "@user_script:1: @user_script: 1: Lua redis() command arguments must be strings or integers",
        ),
        (
            "return redis.call()",
            "@user_script:1: @user_script: 1: Please specify at least one argument for redis.call()",
        ),
        ("redis.setresp(4)", "@user_script:1: RESP version must be 2 or 3."),
        (
            "redis.set_repl(8)",
            "@user_script:1: Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.",
        ),
        ("redis.log(1)", "@user_script:1: redis.log() requires two arguments or more."),
        (
            "return redis.call('xread','block',0,'streams','x','$')",
            "@user_script:1: ERR xread command is not allowed with BLOCK option from scripts",
        ),
    ] {
        assert_eq!(error_of(&mut c, script), error, "{script}");
    }
    assert_eq!(
        eval(&mut c, "return redis.pcall('lpush','x',1) and redis.pcall('get','x')"),
        "-WRONGTYPE Operation against a key holding the wrong kind of value"
    );
    assert_eq!(
        eval(&mut c, "return redis.pcall('nope')"),
        "-@user_script: 1: Unknown Redis command called from Lua script"
    );
}

/// No script changes what the next one finds, and none ends the process.
#[test]
fn hostile_scripts() {
    let server = TestServer::start(&[]);
    let (mut c, mut other) = (server.conn(), server.conn());
    // CVE-2025-46818, CVE-2022-24735: tables that all scripts share.
    for table in ["getmetatable('')", "string", "redis", "cjson", "getmetatable(_G)", "_G"] {
        let error = error_of(&mut c, &format!("{table}.__index = function() return 'pwned' end"));
        assert!(error.ends_with("Attempt to modify a readonly table"), "{table}: {error}");
    }
    assert_eq!(eval(&mut other, "return tostring(('x').anything)"), "nil");
    // CVE-2025-46817, CVE-2025-49844's shape, patterns without end, CVE-2024-31449, bytecode.
    assert!(
        error_of(&mut c, "return {unpack({1,2,3}, -2, 2147483647)}")
            .ends_with("too many results to unpack")
    );
    assert!(
        error_of(
            &mut c,
            "return string.find(string.rep('a',300000), string.rep('a?',300000)..'b')"
        )
        .ends_with("pattern too complex")
    );
    assert_eq!(eval(&mut c, "return bit.tohex(65535,-2147483648)"), "0000FFFF");
    assert_eq!(eval(&mut c, "return loadstring('\\27Lua')"), "(nil)");
    assert_eq!(
        eval(
            &mut c,
            "for i=1,50 do load(function() collectgarbage() return nil end, '@'..('w'):rep(i)) end return 'ok'"
        ),
        "ok"
    );
    // CVE-2022-0543: nothing that opens files or starts programs.
    for name in ["os", "io", "package", "require", "dofile", "loadfile", "debug"] {
        let error = error_of(&mut c, &format!("return {name}"));
        assert!(error.contains("nonexistent global variable"), "{error}");
    }
    // A script whose text ends the function early.
    assert!(eval(&mut c, "return 1 end function x()").starts_with("-ERR Error compiling script"));
    // Depth.
    assert_eq!(
        error_of(&mut c, "local function f() return f() + 1 end f()"),
        "@user_script:1: user_script:1: stack overflow"
    );
    c.send(&["EVAL", "local t={} for i=1,10000 do t={t} end return t", "0"]);
    let mut line = c.line().unwrap();
    while line == b"*1" {
        line = c.line().unwrap();
    }
    assert_eq!(line, b"-ERR reached lua stack limit");
    // CVE-2025-67733: no line of the protocol but our own.
    for script in [
        "return redis.error_reply('My Err\\r\\n+INJECT')",
        "return {err='A\\r\\n+INJECT'}",
        "return redis.status_reply('ok\\r\\n+INJECT')",
        "error('x\\r\\n+INJECT')",
    ] {
        assert!(!eval(&mut c, script).contains('\n'));
        assert_eq!(c.ask("PING"), "PONG");
    }
    assert_eq!(other.ask("PING"), "PONG");
}

/// Every attack of `lua/tests/data/attacks` ends: with a value, with an error, or killed when it is slow.
/// Afterwards the server answers old clients and new ones.
#[test]
fn attacks_on_the_interpreter() {
    let options = ["--lua-time-limit", "100", "--lua-memory-limit", "256mb"];
    let server = TestServer::start(&options);
    let mut other = server.conn();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/lua/tests/data/attacks");
    let mut attacks: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    attacks.sort();
    assert!(attacks.len() >= 22);
    for attack in attacks {
        let script = std::fs::read(&attack).unwrap();
        let mut c = server.conn();
        c.send(&[b"EVAL", &script[..], b"0"]);
        std::thread::scope(|threads| {
            let reply = threads.spawn(|| next(&mut c));
            wait_for(&format!("the end of {}", attack.display()), || {
                // It has written nothing, so it can be killed once it is slow.
                reply.is_finished() || other.ask("SCRIPT KILL").is_empty()
            });
        });
        assert_eq!(c.ask("PING"), "PONG", "after {}", attack.display());
        assert_eq!(server.conn().ask("PING"), "PONG", "after {}", attack.display());
        assert_eq!(other.ask("SCRIPT FLUSH"), "OK");
    }
}

/// With `lua-memory-limit` a script that wants too much ends with an error, and those that come after it
/// have the memory again.
#[test]
fn scripts_within_a_limit_of_memory() {
    let server = TestServer::start(&["--lua-memory-limit", "4mb"]);
    let mut c = server.conn();
    for script in [
        "local t = {} for i = 1, 1e8 do t[i] = {} end",
        "local s = 'x' while true do s = s .. s end",
        "return string.rep('x', 1e8)",
        "redis.call('SET', 'key', 'value') return cjson.decode('[' .. ('{},'):rep(1e6) .. '1]')",
    ] {
        assert_eq!(error_of(&mut c, script), "not enough memory", "{script}");
        assert_eq!(eval(&mut c, "return #('x'):rep(1e6)"), "1000000");
    }
    assert_eq!(c.ask("GET key"), "value");
    assert_eq!(c.ask("CONFIG SET lua-memory-limit 64mb"), "OK");
    assert_eq!(eval(&mut c, "return #('x'):rep(1e7)"), "10000000");
    assert_eq!(c.ask("SCRIPT FLUSH"), "OK");
    assert_eq!(error_of(&mut c, "return ('x'):rep(1e8)"), "not enough memory");
    assert_eq!(c.ask("CONFIG GET lua-memory-limit"), "[lua-memory-limit 67108864]");
}

/// CVE-2024-46981: finalizers that fail, and the end of the interpreter. The scripts that come after
/// are none the worse.
#[test]
fn finalizers_that_fail() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let script = "for i=1,2000 do local m=getmetatable(newproxy(true)) m.__gc=function(u) error('gc') end end collectgarbage() return 1";
    assert_eq!(error_of(&mut c, script), "@user_script:1: user_script:1: gc");
    for i in 0..200 {
        assert_eq!(eval(&mut c, "return 1"), "1", "script {i}");
    }
    assert_eq!(c.ask("SCRIPT FLUSH"), "OK");
    assert_eq!(eval(&mut c, "return 1"), "1");
}

/// A slow script: clients are served from within it, and get -BUSY but for what ends it.
#[test]
fn slow_scripts() {
    let server = TestServer::start(&["--lua-time-limit", "5"]);
    let (mut slow, mut c) = (server.conn(), server.conn());
    let busy =
        "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
    // A loop that catches errors must end as well.
    slow.send(&["EVAL", "while true do pcall(function() while true do end end) end", "0"]);
    wait_for("the script to be slow", || c.ask("PING") == busy);
    assert_eq!(c.ask("MULTI"), "OK");
    assert_eq!(c.ask("PING"), busy);
    assert_eq!(
        c.ask("EXEC"),
        busy.replace("-BUSY", "-EXECABORT Transaction discarded because of: BUSY")
    );
    assert_eq!(c.ask("EVAL x 0"), busy);
    assert_eq!(c.ask("SCRIPT KILL"), "OK");
    assert!(next(&mut slow).ends_with("Script killed by user with SCRIPT KILL..."));
    wait_for("the script to end", || c.ask("PING") == "PONG");

    // One that has written cannot be killed.
    slow.send(&["EVAL", "redis.call('set','x','y') while true do end", "0"]);
    wait_for("the script to be slow", || c.ask("PING") == busy);
    assert!(
        c.ask("SCRIPT KILL").starts_with("-UNKILLABLE Sorry the script already executed write")
    );
    // Its client hangs up, and nothing dangles.
    drop(slow);
    assert_eq!(c.ask("PING"), busy);
    let mut server = server;
    c.send(&["SHUTDOWN", "NOSAVE"]);
    assert_eq!(server.wait_exit(), 0);
}

/// For a script time stands still: a key that was there stays there.
#[test]
fn time_stands_still() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    c.ask("DEBUG SET-ACTIVE-EXPIRE 0");
    let script = "redis.call('set','x','y','px',1)
        local t = redis.call('time') local start = t[1] * 1000000 + t[2]
        repeat t = redis.call('time') until t[1] * 1000000 + t[2] > start + 3000
        return redis.call('exists','x')";
    assert_eq!(eval(&mut c, script), "1");
    assert_eq!(c.ask("EXISTS x"), "0");
}

/// Keys of scripts are hashed once where they are named more than once. So: the key that a script is
/// called with, others, none, the empty one, and one in the place where another was.
#[test]
fn keys_of_scripts() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    // The very first key.
    assert_eq!(eval(&mut c, "return redis.call('set','','empty')"), "OK");
    assert_eq!(c.cmd(&["GET", ""]).text(), "empty");
    let script =
        "for i, k in ipairs({KEYS[1], 'bb', '', KEYS[1], 'aa', KEYS[1], ('k'):rep(300)}) do
            redis.call('rpush', k .. '!', i) redis.call('rpush', k .. '?', i)
            redis.call('set', k, k) redis.call('incr', 'calls')
            if redis.call('get', k) ~= k then return k end
        end
        return redis.call('mget', KEYS[1], 'bb', 'aa')";
    let sha = c.cmd(&["SCRIPT", "LOAD", script]).text();
    for _ in 0..3 {
        // In a pipeline they are hashed ahead.
        for key in ["cc", "", "aa"] {
            c.send(&["EVALSHA", &sha, "1", key]);
        }
        for key in ["cc", "", "aa"] {
            assert_eq!(flat(&c.reply()), format!("[{key} bb aa]"));
        }
    }
    assert_eq!(c.ask("GET calls"), "63");
    for key in ["bb", "aa", "cc", &"k".repeat(300)] {
        assert_eq!(c.ask(&format!("GET {key}")), key);
    }
    assert_eq!(c.cmd(&["LLEN", "!"]).text(), "18");
    assert_eq!(c.cmd(&["LLEN", "bb?"]).text(), "9");
    assert_eq!(c.ask("DBSIZE"), "16");
    // A key that is found is the one that is there, by whatever way.
    assert_eq!(c.ask("DEBUG DIGEST"), {
        c.ask("DEBUG RELOAD");
        c.ask("DEBUG DIGEST")
    });
}

/// A command can be called by a name that is a number, if it was given one.
#[test]
fn commands_with_numbers_for_names() {
    let server = TestServer::start(&["--rename-command", "ECHO", "12.5"]);
    let mut c = server.conn();
    assert_eq!(eval(&mut c, "return redis.call(12.5, 'x')"), "x");
    assert_eq!(
        error_of(&mut c, "return redis.call(12, 'x')"),
        "@user_script:1: @user_script: 1: Unknown Redis command called from Lua script"
    );
}

/// The same numbers in every script, and other ones after `redis.replicate_commands`.
#[test]
fn random_numbers() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let draw = "return {math.random(100),math.random(100),math.random(100)}";
    assert_eq!(eval(&mut c, draw), "[18 75 10]");
    assert_eq!(eval(&mut c, draw), "[18 75 10]");
    let draw = "redis.replicate_commands() return tostring(math.random())..math.random()";
    assert_ne!(eval(&mut c, draw), eval(&mut c, draw));
}

/// Monitors see a script before its commands, and the statistics count both.
#[test]
fn monitors_and_statistics() {
    let server = TestServer::start(&["--slowlog-log-slower-than", "0"]);
    let (mut monitor, mut c) = (server.conn(), server.conn());
    assert_eq!(monitor.ask("MONITOR"), "OK");
    assert_eq!(
        eval(&mut c, "redis.call('set','x','y') return redis.pcall('lpush','x','y')"),
        "-WRONGTYPE Operation against a key holding the wrong kind of value"
    );
    assert!(next(&mut monitor).contains(r#"] "EVAL" "redis.call('set'"#));
    assert!(next(&mut monitor).ends_with(r#"[0 lua] "set" "x" "y""#));
    assert!(next(&mut monitor).ends_with(r#"[0 lua] "lpush" "x" "y""#));
    let stats = c.ask("INFO commandstats");
    for name in ["eval", "set", "lpush"] {
        assert!(stats.contains(&format!("cmdstat_{name}:calls=1,")), "{stats}");
    }
    assert!(c.ask("INFO errorstats").contains("errorstat_WRONGTYPE:count="));
    assert!(c.ask("SLOWLOG GET 10").contains("[lpush x y]"));
}

/// Refused inside of a script as outside: writes on a replica, writes without replicas, memory.
#[test]
fn refused_writes() {
    let server = TestServer::start(&["--min-replicas-to-write", "1"]);
    let mut c = server.conn();
    let set = "return redis.call('set','x','y')";
    let place = "@user_script:1: @user_script: 1: ";
    assert_eq!(
        error_of(&mut c, set),
        format!("{place}-NOREPLICAS Not enough good replicas to write.")
    );
    c.ask("CONFIG SET min-replicas-to-write 0");
    c.ask("CONFIG SET maxmemory 1");
    assert_eq!(
        error_of(&mut c, set),
        format!("{place}-OOM command not allowed when used memory > 'maxmemory'.")
    );
    assert_eq!(
        eval(&mut c, "return redis.call('del','x') + (redis.call('set','x','y') and 1)"),
        "1"
    );
    c.ask("CONFIG SET maxmemory 0");
    c.ask("REPLICAOF 127.0.0.1 1");
    assert_eq!(
        error_of(&mut c, set),
        format!("{place}-READONLY You can't write against a read only replica.")
    );
}

/// What a replica, and the append only file, get of scripts, in both ways of sending them.
#[test]
fn propagation() {
    for whole in ["no", "yes"] {
        let args = ["--appendonly", "yes", "--lua-replicate-commands", whole];
        let mut master = TestServer::start(&args);
        let replica = TestServer::start(&[]).replica_of(&master);
        let mut c = master.conn();
        let incr = "return redis.call('incr',KEYS[1])";
        let sha = c.cmd(&["SCRIPT", "LOAD", incr]).text();
        for key in ["a", "b", "a"] {
            c.ask(&format!("EVALSHA {sha} 1 {key}"));
        }
        eval(&mut c, "for i=1,3 do redis.call('rpush','l',math.random(1000)) end");
        eval(&mut c, "redis.call('rpush','l','x') error('half of it')");
        c.ask("MULTI");
        c.ask(&format!("EVALSHA {sha} 1 a"));
        eval(&mut c, "return redis.call('set','m',1)");
        assert_eq!(c.ask("EXEC"), "[3 OK]");
        if whole == "yes" {
            eval(&mut c, "redis.set_repl(redis.REPL_NONE) redis.call('set','here',1)");
            assert_eq!(replica.cmd(&["EXISTS", "here"]).text(), "0");
            c.ask("DEL here");
        } else {
            assert!(
                error_of(&mut c, "redis.call('time') redis.call('set','x',1)")
                    .contains("Write commands not allowed after non deterministic commands.")
            );
        }
        wait_for_offset(&master, &replica);
        assert_same_data(&master, &replica);
        // With effects a replica knows what was loaded by name; of whole scripts it knows all.
        let known = format!("SCRIPT EXISTS {sha}");
        let mut r = replica.conn();
        assert_eq!(r.ask(&known), "[1]");

        let digest = master.digest();
        c.ask("DEBUG LOADAOF");
        assert_eq!(master.digest(), digest);
        drop(c);
        master.restart();
        assert_eq!(master.digest(), digest);
        assert_eq!(master.ask(&known), "[1]");
    }
}

/// A script is in the RDB that a replica gets, and the replica has it by its name.
#[test]
fn scripts_in_the_rdb() {
    let master = TestServer::start(&[]);
    assert_eq!(master.cmd(&["SCRIPT", "LOAD", "return 1"]).text(), SHA_OF_RETURN_1);
    let mut replica = TestServer::start(&[]).replica_of(&master);
    assert_eq!(replica.ask(&format!("EVALSHA {SHA_OF_RETURN_1} 0")), "1");
}

/// Each script that was written to end the process is answered, and two clients are served
/// afterwards.
#[test]
fn attacks() {
    let server = TestServer::start(&["--lua-time-limit", "200"]);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/lua/tests/data/attacks");
    let mut scripts: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    scripts.sort();
    assert!(scripts.len() >= 22);
    let (mut c, mut other) = (server.conn(), server.conn());
    for script in scripts {
        c.send(&[b"EVAL", &std::fs::read(&script).unwrap()[..], b"0"]);
        // One that takes too long is ended.
        wait_for("the server to be free", || {
            let busy = other.ask("PING") != "PONG";
            if busy {
                other.ask("SCRIPT KILL");
            }
            !busy
        });
        let _ = c.reply();
        for c in [&mut c, &mut other] {
            assert_eq!(c.ask("PING"), "PONG", "{script:?}");
        }
    }
    // Nothing of what they tried is seen by others.
    assert_eq!(eval(&mut other, "return ('x'):upper() .. tostring(('x').anything)"), "Xnil");
}

/// Published defects in what surrounds a script: its text, its arguments, what the libraries make
/// of huge sizes, deep and looping tables.
#[test]
fn published_defects() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    // CVE-2025-46817.
    for i in ["0", "-1", "-2147483648", "-2147483647"] {
        let error = error_of(&mut c, &format!("return {{unpack({{1,2,3}}, {i}, 2147483647)}}"));
        assert!(error.ends_with("too many results to unpack"), "{error}");
    }
    // CVE-2025-46818: no type has a metatable that could be changed.
    for value in ["nil", "1", "true", "print", "cjson.null"] {
        assert_eq!(eval(&mut c, &format!("return type(getmetatable({value}))")), "nil", "{value}");
    }
    // CVE-2025-46819.
    let equals = "=".repeat(100_000);
    for (script, error) in [
        (format!("return [{equals}"), "invalid long string delimiter near"),
        (format!("return [{equals}["), "unfinished long string near '<eof>'"),
        (format!("return [{equals}[ ]{equals}"), "unfinished long string near '<eof>'"),
        (format!("return [{equals}x"), "invalid long string delimiter near"),
        (format!("--[{equals}["), "unfinished long comment near '<eof>'"),
        ("return [=".into(), "invalid long string delimiter near"),
        ("return [=[".into(), "unfinished long string near '<eof>'"),
    ] {
        let reply = eval(&mut c, &script);
        assert!(reply.starts_with("-ERR Error compiling script"), "{reply:.200}");
        assert!(reply.contains(error), "{error}: {reply:.300}");
    }
    // CVE-2022-24834: cjson and cmsgpack.
    let deep = "local t = {} for i = 1, 100000 do t = {t} end";
    let looping = "local t = {} t.t = t";
    for table in [deep, looping] {
        let error = error_of(&mut c, &format!("{table} return cjson.encode(t)"));
        assert!(error.contains("Cannot serialise, excessive nesting"), "{error}");
        assert!(!eval(&mut c, &format!("{table} return #cmsgpack.pack(t)")).starts_with('-'));
    }
    let error = error_of(&mut c, "return cjson.decode(string.rep('[', 100000))");
    assert!(error.contains("Found too many nested data structures"), "{error}");
    let error = error_of(&mut c, "return cmsgpack.unpack(string.rep('\\145', 100000))");
    assert!(!error.is_empty());
    assert_eq!(eval(&mut c, "return #cjson.encode(string.rep('\\0', 1000000))"), "6000002");
    // CVE-2020-14147, CVE-2018-11218, CVE-2018-11219, CVE-2015-8080.
    for format in
        ["i2147483647", "i33", "!33b", "I99999999999", "i-1", "c2147483647", "c-1", "!2147483648b"]
    {
        for script in [
            format!("return struct.pack('{format}', '10', '1')"),
            format!("return struct.unpack('{format}', string.rep('x', 40))"),
        ] {
            assert!(eval(&mut c, &script).starts_with("-ERR Error running script"), "{script}");
        }
        assert!(eval(&mut c, &format!("return struct.size('{format}')")).len() < 300);
    }
    for at in ["-1", "0", "2147483647", "-2147483648", "4294967297"] {
        let reply = eval(&mut c, &format!("return {{struct.unpack('b', 'x', {at})}}"));
        assert!(!reply.is_empty());
    }
    // CVE-2021-32626: more arguments, and replies, than the stack of Lua has places.
    let error = error_of(
        &mut c,
        "local t = {} for i = 1, 7990 do t[i] = 'x' end return redis.call('rpush', 'l', unpack(t)) .. ('x')(1)",
    );
    assert!(error.contains("attempt to call"), "{error}");
    assert_eq!(eval(&mut c, "return #redis.call('lrange', 'l', 0, -1)"), "7990");
    let error = error_of(
        &mut c,
        "local t = {} for i = 1, 8100 do t[i] = 'x' end return redis.call('rpush', 'l', unpack(t))",
    );
    assert!(error.ends_with("too many results to unpack"), "{error}");
    // CVE-2025-67733.
    assert_eq!(eval(&mut c, "return {err='A\\0B\\r\\nC'}"), "-A");
    assert_eq!(eval(&mut c, "return {{err='a\\r\\n+b'}, {ok='c\\r\\n+d'}}"), "[-a  +b c  +d]");
    assert_eq!(c.ask("PING"), "PONG");
}

/// The debugger's own published defects: an error that is no text, and an interpreter that is gone
/// (RED-175507, GHSA-fq2f-crmw-q97r).
#[test]
fn published_defects_of_the_debugger() {
    let server = TestServer::start(&["--requirepass", "secret"]);
    let debugging = |script: &str| {
        let mut c = server.conn();
        assert_eq!(c.ask("AUTH secret"), "OK");
        assert_eq!(c.ask("SCRIPT DEBUG SYNC"), "OK");
        c.send(&["EVAL", script, "0"]);
        c.reply();
        c.send(&["continue"]);
        assert_eq!(next(&mut c), "[<endsession>]");
        flat(&c.reply())
    };
    for value in ["{}", "nil", "true", "print", "12"] {
        let reply = debugging(&format!("error({value})"));
        assert!(reply.starts_with("-ERR Error running script"), "{reply}");
    }
    let mut c = server.conn();
    assert_eq!(c.ask("AUTH secret"), "OK");
    assert_eq!(c.ask("SCRIPT FLUSH"), "OK");
    assert_eq!(server.conn().ask("SCRIPT DEBUG YES"), "-NOAUTH Authentication required.");
    assert_eq!(debugging("return 1"), "1");
    assert_eq!(c.ask("PING"), "PONG");
}

/// What is secret in a command is so, too, when a script calls it: SLOWLOG and MONITOR.
#[test]
fn secrets_of_commands_in_scripts() {
    let server = TestServer::start(&["--slowlog-log-slower-than", "0"]);
    let (mut c, mut monitor) = (server.conn(), server.conn());
    assert_eq!(monitor.ask("MONITOR"), "OK");
    eval(&mut c, "return redis.pcall('auth', 'default', 'hidden' .. 1)");
    eval(&mut c, "return redis.pcall('config', 'set', 'requirepass', 'hidden' .. 1)");
    eval(
        &mut c,
        "return redis.pcall('migrate', '127.0.0.1', '1', 'none', '0', '1', 'AUTH', 'hidden' .. 1)",
    );
    assert_eq!(c.ask("ECHO end"), "end");
    let mut seen = String::new();
    while !seen.contains("\"ECHO\" \"end\"") {
        seen += &next(&mut monitor);
        seen.push('\n');
    }
    assert!(!seen.contains("hidden1"), "{seen}");
    assert!(!c.ask("SLOWLOG GET 100").contains("hidden1"));
}
