//! What a call from a host costs, as a server makes it: `calls [N]`.
//!
//! call1: a cached function that calls a function of the host with three strings and returns its string. call2: KEYS
//! and ARGV are made and set, a count hook is set, the function is called protected, and the table that the host's
//! function makes is read. Then the longest collection with 10,000 cached scripts.

use std::time::Instant;

use fidelis_lua::*;

#[derive(Default)]
struct Server {
    total: usize,
}

type L = lua_State<Server>;

fn redis_call(L: &mut L, server: &mut Server) -> LuaResult<i32> {
    for i in 1..=lua_gettop(L) {
        server.total += lua_tobytes(L, i).map_or(0, <[u8]>::len);
    }
    lua_pushstring(L, "PONG");
    Ok(1)
}

fn redis_status(L: &mut L, server: &mut Server) -> LuaResult<i32> {
    for i in 1..=lua_gettop(L) {
        server.total += lua_tobytes(L, i).map_or(0, <[u8]>::len);
    }
    lua_newtable(L);
    lua_pushstring(L, "ok");
    lua_pushstring(L, "OK");
    lua_rawset(L, -3)?;
    Ok(1)
}

fn hook(_: &mut L, _: &mut Server, _: &mut lua_Debug) -> LuaResult<()> {
    Ok(())
}

fn open(L: &mut L, server: &mut Server) -> LuaResult<i32> {
    luaL_openlibs(L, server)?;
    luaL_register(L, Some("redis"), &[("call", redis_call), ("status", redis_status)])?;
    Ok(0)
}

/// Compiles a script and keeps it as the global `name`.
fn cache(L: &mut L, server: &mut Server, name: &str, source: &str) {
    let status = luaL_loadbuffer(L, server, source.as_bytes(), b"@user_script");
    assert_eq!(status, LUA_OK, "the script compiles");
    lua_fixfunction(L, -1);
    assert!(lua_setglobal(L, server, name).is_ok());
}

fn set_array(L: &mut L, server: &mut Server, name: &str, value: &[u8]) -> LuaResult<()> {
    lua_newtable(L);
    lua_pushlstring(L, value);
    lua_rawseti(L, -2, 1)?;
    lua_setglobal(L, server, name)
}

fn call1(L: &mut L, server: &mut Server) -> LuaResult<()> {
    lua_getglobal(L, server, "f_1")?;
    assert_eq!(lua_pcall(L, server, 0, 1, 0), LUA_OK);
    server.total += lua_tobytes(L, -1).map_or(0, <[u8]>::len);
    lua_pop(L, 1);
    Ok(())
}

fn call2(L: &mut L, server: &mut Server) -> LuaResult<()> {
    lua_getglobal(L, server, "f_2")?;
    set_array(L, server, "KEYS", b"key:1")?;
    set_array(L, server, "ARGV", b"value")?;
    lua_sethook(L, Some(hook), LUA_MASKCOUNT, 100_000);
    assert_eq!(lua_pcall(L, server, 0, 1, 0), LUA_OK);
    lua_sethook(L, None, 0, 0);
    lua_pushstring(L, "ok");
    lua_rawget(L, -2);
    server.total += lua_tobytes(L, -1).map_or(0, <[u8]>::len);
    lua_pop(L, 2);
    Ok(())
}

/// 40 digits that look like a SHA1.
fn digest(i: u64) -> String {
    let word = |n: u64| (i * 5 + n).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    format!("{:016x}{:016x}{:08x}", word(1), word(2).rotate_left(29), word(3) >> 32)
}

fn time(n: u32, mut f: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..n {
            f();
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(n));
    }
    best
}

fn main() {
    let n = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(200_000);
    let mut server = Server::default();
    let mut L = luaL_newstate();
    lua_pushcfunction(&mut L, open);
    assert_eq!(lua_pcall(&mut L, &mut server, 0, 0, 0), LUA_OK);
    println!("fresh: {} bytes", lua_gccount(&L));
    cache(&mut L, &mut server, "f_1", "return redis.call('set', 'key:1', 'value')");
    cache(&mut L, &mut server, "f_2", "return redis.status('set', KEYS[1], ARGV[1])");
    println!("call1: {:.0} ns", time(n, || assert!(call1(&mut L, &mut server).is_ok())));
    let mut calls = 0;
    println!(
        "call2: {:.0} ns",
        time(n, || {
            assert!(call2(&mut L, &mut server).is_ok());
            calls += 1;
            if calls % 50 == 0 {
                assert!(lua_gc(&mut L, &mut server, LUA_GCSTEP, 50).is_ok());
            }
        })
    );
    println!("then: {} bytes", lua_gccount(&L));
    for i in 0..10_000 {
        let source = format!(
            "local k = KEYS[1] local n = tonumber(redis.call('get', k .. ':count:{i}') or '0') if n > {i} then return \
             redis.call('set', k, ARGV[1], 'px', 'v{i}') end return {{n, 'a{i}', 'b{i}', 'c{i}'}}"
        );
        cache(&mut L, &mut server, &format!("f_{}", digest(i)), &source);
    }
    println!("with 10000 scripts: {} bytes", lua_gccount(&L));
    let collection = time(1, || {
        assert!(lua_gc(&mut L, &mut server, LUA_GCCOLLECT, 0).is_ok());
    });
    println!("a collection: {:.2} ms", collection / 1e6);
    println!("call2: {:.0} ns", time(n, || assert!(call2(&mut L, &mut server).is_ok())));
    std::hint::black_box(server.total);
}
