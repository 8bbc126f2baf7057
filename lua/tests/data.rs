//! The programs in tests/data: what they print is beside them, from PUC's Lua as the reference embeds it.

#![allow(non_snake_case)]

mod support;

use fidelis_lua::*;
use support::*;

fn data(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))).expect("a file")
}

/// Runs a program, and appends what it returns.
fn output(name: &str, chunk: &str, prefix: &str) -> Vec<u8> {
    let mut L = new_state();
    // What the probes were made with had a clock.
    let (_, error) = run(&mut L, b"os = {clock = function() return 0 end}", "=os");
    assert_eq!(error, None);
    let mut host = Output::default();
    let status = luaL_loadbuffer(&mut L, &mut host, &data(name), chunk.as_bytes());
    assert_eq!(status, LUA_OK);
    assert_eq!(lua_pcall(&mut L, &mut host, 0, 1, 0), LUA_OK);
    let result = lua_tolstring(&mut L, -1).expect("a string");
    host.0.extend_from_slice(prefix.as_bytes());
    host.0.extend_from_slice(&result);
    host.0.push(b'\n');
    host.0
}

fn assert_lines(ours: &[u8], expected: &[u8], count: usize) {
    let (ours, expected) = (ours.split(|&c| c == b'\n'), expected.split(|&c| c == b'\n'));
    let (ours, expected): (Vec<&[u8]>, Vec<&[u8]>) = (ours.collect(), expected.collect());
    assert_eq!(expected.len(), count, "lines that are expected");
    for (i, ours) in ours.iter().enumerate() {
        let expected = expected.get(i).copied().unwrap_or_default();
        assert_eq!(
            ours.escape_ascii().to_string(),
            expected.escape_ascii().to_string(),
            "line {i}"
        );
    }
    assert_eq!(ours.len(), count, "lines");
}

/// 562 probes of what a program can see: numbers, formats, messages of errors, functions of the libraries.
#[test]
fn probes_print_what_the_reference_prints() {
    let ours = on_small_stack(|| output("probes/compat.lua", "@compat.lua", "RESULT "));
    assert_lines(&ours, &data("probes/compat.expected"), 566);
}

/// The order in which `pairs` goes, and the length of tables with holes.
#[test]
fn tables_have_the_order_of_the_reference() {
    let ours = on_small_stack(|| output("probes/order.lua", "@order.lua", ""));
    assert_lines(&ours, &data("probes/order.expected"), 610);
}

/// 724 probes of cjson, cmsgpack, struct and bit; what is beside them is what 6.2.16 answered to EVAL.
#[test]
fn embedded_libraries_return_what_the_reference_returns() {
    let ours = on_small_stack(|| output("embedded/libraries.lua", "@user_script", ""));
    assert_lines(&ours, &data("embedded/libraries.expected"), 728);
}

/// What ends a program that runs long. From then on every line is an error, so that no pcall goes on.
fn deadline(L: &mut lua_State<Output>, host: &mut Output, _ar: &mut lua_Debug) -> LuaResult<()> {
    host.0.push(b'.');
    if host.0.len() > 60 {
        lua_sethook(L, Some(deadline), LUA_MASKLINE | LUA_MASKCOUNT, 1000);
        return luaL_error!(L, "too long");
    }
    Ok(())
}

/// As `deadline`, for a program that would run for ever.
fn short_deadline(
    L: &mut lua_State<Output>,
    host: &mut Output,
    _: &mut lua_Debug,
) -> LuaResult<()> {
    host.0.push(b'.');
    if host.0.len() > 20 {
        return luaL_error!(L, "too long");
    }
    Ok(())
}

/// Programs that have ended other engines: with a value or an error, in 1 GB of memory, on 2 MB of stack.
#[test]
fn attacks_end_with_a_value_or_an_error() {
    let mut names: Vec<String> =
        std::fs::read_dir(format!("{}/tests/data/attacks", env!("CARGO_MANIFEST_DIR")))
            .expect("the folder")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
    names.sort();
    assert!(names.len() >= 22);
    for name in names {
        let ended = on_small_stack(move || {
            let mut L = new_state();
            lua_setmemorylimit(&mut L, 1 << 30);
            lua_sethook(&mut L, Some(deadline), LUA_MASKCOUNT, 100_000);
            let mut host = Output::default();
            let source = data(&format!("attacks/{name}"));
            let mut status = luaL_loadbuffer(&mut L, &mut host, &source, b"@user_script");
            if status == LUA_OK {
                status = lua_pcall(&mut L, &mut host, 0, 1, 0);
            }
            let text = lua_tolstring(&mut L, -1)
                .map_or_else(String::new, |s| s[..s.len().min(200)].escape_ascii().to_string());
            // The state works afterwards, but for an error of a finalizer that comes in between.
            lua_settop(&mut L, 0);
            lua_sethook(&mut L, None, 0, 0);
            let (out, error) = run(&mut L, b"print(('x'):rep(3), #{1, 2})", "=after");
            let finalizer = b"user_script:5: attempt to index upvalue 'keep' (a nil value)";
            if error.as_deref() != Some(finalizer) {
                assert_eq!((out, error), (b"xxx\t2\n".to_vec(), None), "after {name}");
            }
            format!("{name}: {status} {text}")
        });
        println!("{ended}");
    }
}

/// A pattern that backtracks for ever is stopped by the hook, as a loop is; so is work in `table` and `cmsgpack`.
#[test]
fn long_work_of_libraries_meets_the_hook() {
    for source in [
        "return string.find(string.rep('a', 40), string.rep('a-', 40) .. 'b')",
        "return string.gsub(string.rep('a', 1e6), '.-.-.-.-b', '')",
        "table.insert({}, -2147483648, 1)",
        "local t = {} for i = 1, 60 do t = {t, t} end return cjson.encode(t)",
        "local t = {} for i = 1, 15 do local n = {} for j = 1, 100 do n[j] = t end t = n end return cmsgpack.pack(t)",
    ] {
        let message = on_small_stack(move || {
            let mut L = new_state();
            lua_sethook(&mut L, Some(short_deadline), LUA_MASKCOUNT, 100_000);
            run(&mut L, source.as_bytes(), "=work").1
        });
        let message = String::from_utf8_lossy(&message.expect("an error")).into_owned();
        assert!(message.ends_with("too long"), "{source}: {message}");
    }
}

/// A script cannot change what all strings share.
#[test]
fn metatable_of_strings_is_readonly() {
    let source = b"getmetatable('').__index = nil";
    let (_, error) = run(&mut new_state(), source, "=s");
    assert_eq!(error.as_deref(), Some(&b"s:1: Attempt to modify a readonly table"[..]));
}
