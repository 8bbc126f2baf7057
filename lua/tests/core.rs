//! What a host relies on: readonly tables, limits, hooks, finalizers, weak tables, coroutines, errors. Every test
//! runs twice, the second time with a collection at every allocation.

use fidelis_lua::*;

/// What the tests lend to their functions.
#[derive(Default)]
struct Host {
    counts: usize,
    lines: Vec<i32>,
    stop: bool,
}

type L = lua_State<Host>;

fn open(L: &mut L, host: &mut Host) -> LuaResult<i32> {
    luaL_openlibs(L, host)?;
    Ok(0)
}

fn state(stress: bool) -> (Box<L>, Host) {
    let mut L = luaL_newstate();
    let mut host = Host::default();
    lua_pushcfunction(&mut L, open);
    assert_eq!(lua_pcall(&mut L, &mut host, 0, 0, 0), LUA_OK);
    lua_setgcstress(&mut L, stress);
    (L, host)
}

/// Runs a chunk; its result or its error as text.
fn run(L: &mut L, host: &mut Host, source: &str) -> Result<String, String> {
    let mut status = luaL_loadbuffer(L, host, source.as_bytes(), b"@test");
    if status == LUA_OK {
        status = lua_pcall(L, host, 0, 1, 0);
    }
    let s = lua_tolstring(L, -1).map_or_else(
        || lua_typename(lua_type(L, -1)).to_string(),
        |s| String::from_utf8_lossy(&s).into_owned(),
    );
    lua_pop(L, 1);
    if status == LUA_OK { Ok(s) } else { Err(s) }
}

fn both(test: impl Fn(&mut L, &mut Host)) {
    for stress in [false, true] {
        let (mut L, mut host) = state(stress);
        test(&mut L, &mut host);
        lua_close(L, &mut host);
    }
}

fn ok(L: &mut L, host: &mut Host, source: &str, expected: &str) {
    assert_eq!(run(L, host, source).as_deref(), Ok(expected), "{source}");
}

fn err(L: &mut L, host: &mut Host, source: &str, expected: &str) {
    assert_eq!(run(L, host, source).unwrap_err(), expected, "{source}");
}

/// A readonly table refuses everything that writes, from Lua with a position and from a library without one.
#[test]
fn readonly_tables() {
    both(|L, host| {
        lua_newtable(L);
        lua_enablereadonlytable(L, -1, true);
        assert!(lua_isreadonlytable(L, -1));
        assert!(lua_setglobal(L, host, "t").is_ok());
        err(L, host, "t.x = 1", "test:1: Attempt to modify a readonly table");
        err(L, host, "t[1] = 1", "test:1: Attempt to modify a readonly table");
        err(L, host, "rawset(t, 'x', 1)", "Attempt to modify a readonly table");
        err(L, host, "table.insert(t, 1)", "Attempt to modify a readonly table");
        err(L, host, "setmetatable(t, {})", "Attempt to modify a readonly table");
        ok(L, host, "return tostring(next(t))", "nil");
        // The metatable of strings, as a server guards it.
        lua_pushstring(L, "");
        assert!(lua_getmetatable(L, -1));
        lua_enablereadonlytable(L, -1, true);
        lua_pop(L, 2);
        err(
            L,
            host,
            "getmetatable('').__index = nil",
            "test:1: Attempt to modify a readonly table",
        );
        ok(L, host, "return ('x'):upper()", "X");
    });
}

/// Globals may be readonly, too: an assignment finds out, whether the name exists or not.
#[test]
fn readonly_globals() {
    both(|L, host| {
        lua_pushvalue(L, LUA_GLOBALSINDEX);
        lua_enablereadonlytable(L, -1, true);
        lua_pop(L, 1);
        err(L, host, "x = 1", "test:1: Attempt to modify a readonly table");
        err(L, host, "print = 1", "test:1: Attempt to modify a readonly table");
    });
}

/// A state with a limit ends a script that takes too much, and goes on afterwards.
#[test]
fn memory_limit() {
    let (mut L, mut host) = state(false);
    let (L, host) = (&mut *L, &mut host);
    lua_setmemorylimit(L, 4 << 20);
    for source in [
        "local t = {} for i = 1, 1e9 do t[i] = i end",
        "local t = {} for i = 1, 1e9 do t[i] = {} end",
        "local s = 'x' while true do s = s .. s end",
        "return string.rep('x', 1e9)",
        "local t = {} for i = 1, 1e9 do t[#t + 1] = function() return i end end",
        "local t = {} for i = 1, 1e9 do t['k' .. i] = true end",
    ] {
        err(L, host, source, "not enough memory");
        ok(L, host, "collectgarbage() return collectgarbage('count') < 200", "boolean");
    }
}

/// Recursion of every kind ends with an error, on a stack of two megabytes.
#[test]
fn recursion_ends() {
    let work = || {
        let (mut L, mut host) = state(false);
        let (L, host) = (&mut *L, &mut host);
        err(L, host, "local function f() return 1 + f() end f()", "test:1: stack overflow");
        for source in [
            "local function f(s) return (string.gsub('x', 'x', f)) end f('x')",
            "local function f() table.sort({1, 2}, function() f() end) end f()",
            "local t = setmetatable({}, {__index = function(t, k) return t[k] end}) return t.x",
            "local t t = setmetatable({}, {__tostring = function() return tostring(t) end}) tostring(t)",
            "local function f() return coroutine.wrap(function() f() end)() end f()",
        ] {
            let e = run(L, host, source).unwrap_err();
            assert!(e.contains("C stack overflow"), "{source}: {e}");
        }
        ok(
            L,
            host,
            "return select(2, xpcall(function() error('x') end, function() error('y') end))",
            "error in error handling",
        );
        ok(L, host, "return 'alive'", "alive");
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(work);
    thread.expect("a thread").join().expect("no panic");
}

fn count_hook(L: &mut L, host: &mut Host, ar: &mut lua_Debug) -> LuaResult<()> {
    assert_eq!(ar.event, LUA_HOOKCOUNT);
    host.counts += 1;
    if host.stop {
        lua_sethook(L, Some(kill_hook), LUA_MASKLINE, 0);
        return luaL_error!(L, "killed");
    }
    Ok(())
}

fn kill_hook(L: &mut L, _: &mut Host, _: &mut lua_Debug) -> LuaResult<()> {
    luaL_error!(L, "killed")
}

/// The count hook runs about every so many instructions, wherever a script spends them.
#[test]
fn count_hook_is_about_right() {
    for source in [
        "local n = 0 for i = 1, 1000000 do n = n + i end",
        "local i = 0 while i < 1000000 do i = i + 1 end",
        "local i = 0 repeat i = i + 1 until i > 1000000",
        "local function f(n) if n > 0 then f(n - 1) end end for i = 1, 10000 do f(100) end",
        "local t = {} for i = 1, 1000 do t[i] = i end for i = 1, 1000 do for k, v in pairs(t) do end end",
    ] {
        let (mut L, mut host) = state(false);
        lua_sethook(&mut L, Some(count_hook), LUA_MASKCOUNT, 1_000_000);
        host.counts = 0;
        assert!(run(&mut L, &mut host, source).is_ok());
        let few = host.counts;
        lua_sethook(&mut L, Some(count_hook), LUA_MASKCOUNT, 10_000);
        host.counts = 0;
        assert!(run(&mut L, &mut host, source).is_ok());
        assert!((50..2000).contains(&host.counts), "{source}: {}", host.counts);
        assert!(few * 50 <= host.counts, "{source}: {few} and {}", host.counts);
    }
}

/// A hook that turns to lines ends loops that catch its error.
#[test]
fn a_hook_kills_a_loop_of_pcalls() {
    let (mut L, mut host) = state(false);
    host.stop = true;
    lua_sethook(&mut L, Some(count_hook), LUA_MASKCOUNT, 100_000);
    let e = run(&mut L, &mut host, "while true do pcall(function()\n while true do end end) end");
    assert_eq!(e.unwrap_err(), "killed");
    assert_eq!(host.counts, 1);
}

fn line_hook(_: &mut L, host: &mut Host, ar: &mut lua_Debug) -> LuaResult<()> {
    host.lines.push(ar.currentline);
    Ok(())
}

/// The line hook sees every line that is entered, and loops again and again.
#[test]
fn line_hook_sees_lines() {
    both(|L, host| {
        let source = "local a = 1\nfor i = 1, 2 do\n  a = a + i\nend\nreturn a\n";
        assert_eq!(luaL_loadbuffer(L, host, source.as_bytes(), b"@test"), LUA_OK);
        host.lines.clear();
        lua_sethook(L, Some(line_hook), LUA_MASKLINE, 0);
        assert_eq!(lua_pcall(L, host, 0, 1, 0), LUA_OK);
        lua_sethook(L, None, 0, 0);
        assert_eq!(host.lines, [1, 2, 3, 2, 3, 2, 5]);
        assert_eq!(lua_tonumber(L, -1), 4.0);
        lua_pop(L, 1);
    });
}

fn failing_hook(L: &mut L, host: &mut Host, ar: &mut lua_Debug) -> LuaResult<()> {
    assert_ne!(luaL_loadbuffer(L, host, b"no program", b"@hook"), LUA_OK);
    lua_pop(L, 1);
    // The place in the function around the hook is what it was.
    let mut here = lua_Debug::default();
    assert!(lua_getstack(L, 0, &mut here) && lua_getinfo(L, "l", &mut here));
    assert_eq!(here.currentline, ar.currentline);
    host.lines.push(ar.currentline);
    Ok(())
}

/// What fails within a hook leaves the function around it where it was, from its first line on.
#[test]
fn a_hook_whose_calls_fail() {
    both(|L, host| {
        let source =
            "local a = 1 a = 2\nlocal function f() local b = 1 b = 2\n return b end\nreturn f()\n";
        assert_eq!(luaL_loadbuffer(L, host, source.as_bytes(), b"@test"), LUA_OK);
        host.lines.clear();
        lua_sethook(L, Some(failing_hook), LUA_MASKLINE, 0);
        assert_eq!(lua_pcall(L, host, 0, 1, 0), LUA_OK);
        lua_sethook(L, None, 0, 0);
        assert_eq!(host.lines, [1, 3, 4, 2, 3]);
        lua_pop(L, 1);
    });
}

/// Finalizers run once, and what they revive stays; an error in one is raised.
#[test]
fn finalizers() {
    both(|L, host| {
        ok(
            L,
            host,
            "local log, kept = {}, nil
             for i = 1, 3 do
               local p = newproxy(true)
               getmetatable(p).__gc = function(u) log[#log + 1] = i kept = u end
             end
             collectgarbage()
             collectgarbage()
             return #log .. type(kept)",
            "3userdata",
        );
        err(
            L,
            host,
            "local p = newproxy(true) getmetatable(p).__gc = function() error('gc', 0) end
             p = nil collectgarbage()",
            "gc",
        );
    });
}

/// Finalizers of one collection run in the reverse order in which the userdata were made.
#[test]
fn finalizers_newest_first() {
    let (mut L, mut host) = state(false);
    ok(
        &mut L,
        &mut host,
        "local log = {}
         for i = 1, 5 do getmetatable(newproxy(true)).__gc = function() log[#log + 1] = i end end
         collectgarbage()
         return table.concat(log, ',')",
        "5,4,3,2,1",
    );
}

/// Weak tables lose what nothing else holds: by key, by value, by both; strings and numbers stay.
#[test]
fn weak_tables() {
    both(|L, host| {
        ok(
            L,
            host,
            "local function count(mode)
               local t = setmetatable({}, {__mode = mode})
               local kept = {}
               t[kept] = 1 t[1] = kept t[{}] = kept t[2] = {} t.s = 's' t[{}] = {}
               collectgarbage()
               local n = 0
               for k, v in pairs(t) do n = n + 1 end
               return n
             end
             return count('k') .. count('v') .. count('kv')",
            "443",
        );
        ok(
            L,
            host,
            "local t = {} for i = 1, 20 do t['k' .. i] = i end
             local n = 0
             for k in pairs(t) do t[k] = nil collectgarbage() n = n + 1 end
             return n",
            "20",
        );
    });
}

/// Coroutines keep their stacks, their upvalues survive them, and yields stop at calls of the host.
#[test]
fn coroutines() {
    both(|L, host| {
        ok(
            L,
            host,
            "local function gen(n) return coroutine.wrap(function() for i = 1, n do coroutine.yield(i) end end) end
             local s = 0
             for i in gen(100) do s = s + i end
             return s",
            "5050",
        );
        ok(
            L,
            host,
            "local get
             do
               local co = coroutine.create(function() local x = {1} get = function() return x[1] end coroutine.yield() end)
               coroutine.resume(co)
             end
             collectgarbage() collectgarbage()
             return get()",
            "1",
        );
        ok(
            L,
            host,
            "return select(2, coroutine.resume(coroutine.create(function() pcall(coroutine.yield) return 'on' end)))",
            "on",
        );
        err(
            L,
            host,
            "coroutine.wrap(function() table.sort({2, 1}, coroutine.yield) end)()",
            "test:1: attempt to yield across metamethod/C-call boundary",
        );
        err(L, host, "coroutine.yield()", "attempt to yield across metamethod/C-call boundary");
    });
}

/// Errors name the variable and the line.
#[test]
fn errors_name_variables() {
    both(|L, host| {
        for (source, expected) in [
            ("local a = {} a.b.c = 1", "test:1: attempt to index field 'b' (a nil value)"),
            ("x.y = 1", "test:1: attempt to index global 'x' (a nil value)"),
            ("local a\nreturn a.b", "test:2: attempt to index local 'a' (a nil value)"),
            ("local a = 1 return function() return a.b.c end", "function"),
            ("local s = 'x' s:nope()", "test:1: attempt to call method 'nope' (a nil value)"),
            ("return 1 + {}", "test:1: attempt to perform arithmetic on a table value"),
            (
                "local t = {} return t .. 'x'",
                "test:1: attempt to concatenate local 't' (a table value)",
            ),
            ("return {} < {}", "test:1: attempt to compare two table values"),
            ("return 1 < 'x'", "test:1: attempt to compare number with string"),
            ("return #nil", "test:1: attempt to get length of a nil value"),
            ("local t = {} t[nil] = 1", "test:1: table index is nil"),
            ("local t = {} t[0/0] = 1", "test:1: table index is NaN"),
            ("for i = 'a', 2 do end", "test:1: 'for' initial value must be a number"),
            ("string.rep()", "test:1: bad argument #1 to 'rep' (string expected, got no value)"),
            ("('x'):rep({})", "test:1: bad argument #1 to 'rep' (number expected, got table)"),
            ("next({}, 1)", "invalid key to 'next'"),
        ] {
            match run(L, host, source) {
                Ok(s) | Err(s) => assert_eq!(s, expected, "{source}"),
            }
        }
    });
}

/// A cached script is out of the collector's way, and still works; what it made is collected.
#[test]
fn fixed_functions() {
    both(|L, host| {
        let source =
            "local t = {} for i = 1, 10 do t[i] = 'a' .. i end return table.concat(t, 'constant')";
        assert_eq!(luaL_loadbuffer(L, host, source.as_bytes(), b"@test"), LUA_OK);
        let fixed = lua_fixfunction(L, -1).expect("a chunk");
        assert!(lua_setglobal(L, host, "f_1").is_ok());
        ok(L, host, "f = f_1 f_1 = nil collectgarbage() return #f()", "93");
        ok(L, host, "setfenv(f, {table = table}) collectgarbage() return #f()", "93");
        ok(L, host, "f = nil collectgarbage() return f", "nil");
        lua_pushfixed(L, fixed);
        assert_eq!(lua_pcall(L, host, 0, 1, 0), LUA_OK);
        assert_eq!(lua_tobytes(L, -1).map(<[u8]>::len), Some(93));
        lua_pop(L, 1);
        // What has upvalues cannot be taken out of collections, nor what is no function of Lua.
        for source in ["local x = 1 return function() return x end", "return print", "return 1"] {
            assert_eq!(luaL_loadbuffer(L, host, source.as_bytes(), b"@test"), LUA_OK);
            assert_eq!(lua_pcall(L, host, 0, 1, 0), LUA_OK);
            assert!(lua_fixfunction(L, -1).is_none(), "{source}");
            lua_pop(L, 1);
        }
    });
}

/// A string that was asked for before it was collected is made anew, and equal strings are one.
#[test]
fn strings_that_were_collected_are_made_anew() {
    both(|L, host| {
        let source = "
            local function make(i) return ('x'):rep(8) .. i .. ('y'):rep(8) end
            for round = 1, 4 do
                local t = {}
                for i = 1, 300 do t[make(i)] = i end
                for i = 1, 300 do assert(t[make(i)] == i and make(i) == make(i)) end
                t = nil
                collectgarbage()
                -- What comes into their places is something else.
                for i = 1, 300 do t = 'other string ' .. i .. round end
            end
            return make(7)";
        ok(L, host, source, "xxxxxxxx7yyyyyyyy");
    });
}

/// What a host makes at once is what it would make step by step: an array, a table with a field, a global.
#[test]
fn tables_made_at_once() {
    both(|L, host| {
        for n in [0, 1, 2, 3, 4, 5, 9, 100] {
            let strings: Vec<Vec<u8>> = (0..n).map(|i| format!("item {i}").into_bytes()).collect();
            lua_newstrings(L, strings.iter().map(|s| &s[..]));
            assert!(lua_setglobal(L, host, "made").is_ok());
            let source = format!(
                "local t = {{}} for i = 1, {n} do t[i] = 'item ' .. i - 1 end
                 local function see(t)
                     local s = ''
                     for k, v in pairs(t) do s = s .. k .. v .. ' ' end
                     return s .. #t
                 end
                 assert(see(t) == see(made))
                 -- They grow alike.
                 t.x = 1 made.x = 1 t[{n} + 1] = 2 made[{n} + 1] = 2 t.y = 3 made.y = 3
                 t[{n} + 3] = 4 made[{n} + 3] = 4
                 assert(see(t) == see(made))
                 return 'same'"
            );
            ok(L, host, &source, "same");
        }
        lua_pushstring(L, "a value");
        assert!(lua_newfield(L, "field").is_ok());
        assert!(lua_setglobal(L, host, "made").is_ok());
        let source = "assert(next(made) == 'field' and next(made, 'field') == nil)
            made.other = 1 made.field = made.field .. '!' return made.field .. made.other";
        ok(L, host, source, "a value!1");
        // Where scripts may not write, the host may.
        lua_pushvalue(L, LUA_GLOBALSINDEX);
        lua_enablereadonlytable(L, -1, true);
        lua_pop(L, 1);
        for value in ["one", "two"] {
            lua_pushstring(L, value);
            assert!(lua_rawsetglobal(L, "KEYS").is_ok());
            ok(L, host, "return KEYS", value);
        }
        lua_rawgetliteral(L, LUA_GLOBALSINDEX, "KEYS");
        assert_eq!(lua_tobytes(L, -1), Some(&b"two"[..]));
        lua_pop(L, 1);
    });
}

/// A table in the place of one that was collected has nothing of it, neither entries nor bytes that are counted.
#[test]
fn tables_in_place_of_collected_ones_are_empty() {
    both(|L, host| {
        let source = "
            local function used()
                for i = 1, 100 do local t = {1, 2, 3, a = 1, b = 2} setmetatable(t, {}) end
                collectgarbage()
                return collectgarbage('count')
            end
            used()
            local before = used()
            for i = 1, 100 do
                local t = {}
                assert(#t == 0 and next(t) == nil and t.a == nil and getmetatable(t) == nil)
                t.c = i
                assert(next(t) == 'c' and next(t, 'c') == nil)
                t[1] = i t[2] = i t.d = i
                assert(#t == 2 and t.c == i and t.d == i and t.b == nil and t[3] == nil)
            end
            return tostring(used() <= before)";
        ok(L, host, source, "true");
    });
}

/// A fresh state is small, and a long life does not make it large.
#[test]
fn memory_stays_small() {
    let (mut L, mut host) = state(false);
    let (L, host) = (&mut *L, &mut host);
    assert!((15_000..40_000).contains(&lua_gccount(L)), "{}", lua_gccount(L));
    for i in 0..10_000 {
        lua_newtable(L);
        lua_pushlstring(L, format!("key:{i}").as_bytes());
        assert!(lua_rawseti(L, -2, 1).is_ok());
        assert!(lua_setglobal(L, host, "KEYS").is_ok());
        if i % 50 == 0 {
            assert!(lua_gc(L, host, LUA_GCSTEP, 50).is_ok());
        }
    }
    assert!(lua_gccount(L) < 100_000, "{}", lua_gccount(L));
}
