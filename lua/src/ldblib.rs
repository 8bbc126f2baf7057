//! `ldblib.c`: the library that looks into functions and frames.
//!
//! It is for the host: with it a script can reach what is hidden from it, so the host opens it, takes what it needs, and
//! removes it before a client's code runs. Differs: there is no `debug.debug`, which reads standard input.

use crate::lapi::*;
use crate::lauxlib::*;
use crate::lobject::{ObjRef, ThreadRef};
use crate::lstate::{LuaResult, lua_Debug, lua_Hook, lua_State, swap_thread};

fn db_getregistry<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    lua_pushvalue(L, LUA_REGISTRYINDEX);
    Ok(1)
}

fn db_getmetatable<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    luaL_checkany(L, 1)?;
    if !lua_getmetatable(L, 1) {
        lua_pushnil(L);
    }
    Ok(1)
}

fn db_setmetatable<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let t = lua_type(L, 2);
    luaL_argcheck(L, t == LUA_TNIL || t == LUA_TTABLE, 2, "nil or table expected")?;
    lua_settop(L, 2);
    lua_setmetatable(L, 1)?;
    lua_pushboolean(L, true);
    Ok(1)
}

fn db_getfenv<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    luaL_checkany(L, 1)?;
    lua_getfenv(L, 1);
    Ok(1)
}

fn db_setfenv<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    luaL_checktype(L, 2, LUA_TTABLE)?;
    lua_settop(L, 2);
    if !lua_setfenv(L, 1) {
        return luaL_error!(L, "'setfenv' cannot change environment of given object");
    }
    Ok(1)
}

fn settabss<H>(L: &mut lua_State<H>, i: &str, v: &[u8]) -> LuaResult<()> {
    lua_pushstring(L, i);
    lua_pushlstring(L, v);
    lua_rawset(L, -3)
}

fn settabsi<H>(L: &mut lua_State<H>, i: &str, v: i32) -> LuaResult<()> {
    lua_pushstring(L, i);
    lua_pushinteger(L, v as lua_Integer);
    lua_rawset(L, -3)
}

/// The thread that the first argument is, or the running one; and how many arguments it takes.
fn getthread<H>(L: &lua_State<H>) -> (ThreadRef, i32) {
    match lua_tothread(L, 1) {
        Some(co) => (co, 1),
        None => (L.thread, 0),
    }
}

/// Does something while `co` is the running thread.
fn within<H, T>(L: &mut lua_State<H>, co: ThreadRef, f: impl FnOnce(&mut lua_State<H>) -> T) -> T {
    let from = L.thread;
    if co == from {
        return f(L);
    }
    swap_thread(L, co);
    let result = f(L);
    swap_thread(L, from);
    result
}

fn db_getinfo<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let (co, arg) = getthread(L);
    let options = luaL_optlstring(L, arg + 2, b"flnSu")?;
    let mut options = String::from_utf8_lossy(&options).into_owned();
    let mut ar = lua_Debug::default();
    if lua_isnumber(L, arg + 1) {
        let level = lua_tointeger(L, arg + 1) as i32;
        if !within(L, co, |L| lua_getstack(L, level, &mut ar)) {
            lua_pushnil(L); // there are not so many levels
            return Ok(1);
        }
    } else if lua_isfunction(L, arg + 1) {
        options.insert(0, '>');
        lua_pushvalue(L, arg + 1);
        lua_xmove_to(L, co, 1);
    } else {
        return luaL_argerror(L, arg + 1, b"function or level expected");
    }
    let known = within(L, co, |L| lua_getinfo(L, &options, &mut ar));
    // The function and the table of its lines are on the stack of the thread.
    let pushed = i32::from(options.contains('f')) + i32::from(options.contains('L'));
    lua_xmove_from(L, co, pushed);
    if !known {
        return luaL_argerror(L, arg + 2, b"invalid option");
    }
    lua_createtable(L, 0, 2);
    let t = lua_gettop(L);
    if options.contains('S') {
        settabss(L, "source", &ar.source)?;
        settabss(L, "short_src", &ar.short_src)?;
        settabsi(L, "linedefined", ar.linedefined)?;
        settabsi(L, "lastlinedefined", ar.lastlinedefined)?;
        settabss(L, "what", ar.what.as_bytes())?;
    }
    if options.contains('l') {
        settabsi(L, "currentline", ar.currentline)?;
    }
    if options.contains('u') {
        settabsi(L, "nups", ar.nups)?;
    }
    if options.contains('n') {
        if let Some(name) = &ar.name {
            settabss(L, "name", name)?;
        }
        settabss(L, "namewhat", ar.namewhat.as_bytes())?;
    }
    let mut below = t - pushed;
    for (letter, field) in [('f', "func"), ('L', "activelines")] {
        if options.contains(letter) {
            lua_pushstring(L, field);
            lua_pushvalue(L, below);
            lua_rawset(L, t)?;
            below += 1;
        }
    }
    Ok(1)
}

fn db_getlocal<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let (co, arg) = getthread(L);
    let level = luaL_checkint(L, arg + 1)?;
    let mut ar = lua_Debug::default();
    if !within(L, co, |L| lua_getstack(L, level, &mut ar)) {
        return luaL_argerror(L, arg + 1, b"level out of range");
    }
    let n = luaL_checkint(L, arg + 2)?;
    match within(L, co, |L| lua_getlocal(L, &ar, n)) {
        Some(name) => {
            lua_xmove_from(L, co, 1);
            lua_pushluastr(L, &name);
            lua_pushvalue(L, -2);
            Ok(2)
        }
        None => {
            lua_pushnil(L);
            Ok(1)
        }
    }
}

fn db_setlocal<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let (co, arg) = getthread(L);
    let level = luaL_checkint(L, arg + 1)?;
    let mut ar = lua_Debug::default();
    if !within(L, co, |L| lua_getstack(L, level, &mut ar)) {
        return luaL_argerror(L, arg + 1, b"level out of range");
    }
    luaL_checkany(L, arg + 3)?;
    lua_settop(L, arg + 3);
    let n = luaL_checkint(L, arg + 2)?;
    lua_xmove_to(L, co, 1);
    match within(L, co, |L| lua_setlocal(L, &ar, n)) {
        Some(name) => lua_pushluastr(L, &name),
        None => lua_pushnil(L),
    }
    Ok(1)
}

fn auxupvalue<H>(L: &mut lua_State<H>, get: bool) -> LuaResult<i32> {
    let n = luaL_checkint(L, 2)?;
    luaL_checktype(L, 1, LUA_TFUNCTION)?;
    if lua_iscfunction(L, 1) {
        return Ok(0); // those of the host's functions are the host's
    }
    let name = if get { lua_getupvalue(L, 1, n) } else { lua_setupvalue(L, 1, n) };
    let Some(name) = name else { return Ok(0) };
    lua_pushluastr(L, &name);
    lua_insert(L, -1 - i32::from(get));
    Ok(1 + i32::from(get))
}

fn db_getupvalue<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    auxupvalue(L, true)
}

fn db_setupvalue<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    luaL_checkany(L, 3)?;
    auxupvalue(L, false)
}

/// Where the registry has the hooks.
const KEY_HOOK: &str = "debug.hook";

/// The key of a thread in the table of hooks.
fn push_thread_key<H>(L: &mut lua_State<H>, co: ThreadRef) {
    lua_pushnumber(L, f64::from(co.idx()));
}

/// The hook of all threads that a program set one for: calls the function that it gave.
fn hookf<H>(L: &mut lua_State<H>, host: &mut H, ar: &mut lua_Debug) -> LuaResult<()> {
    const HOOKNAMES: [&str; 5] = ["call", "return", "line", "count", "tail return"];
    lua_pushstring(L, KEY_HOOK);
    lua_rawget(L, LUA_REGISTRYINDEX);
    push_thread_key(L, L.thread);
    lua_rawget(L, -2);
    if lua_isfunction(L, -1) {
        lua_pushstring(L, HOOKNAMES[ar.event as usize]);
        if ar.currentline >= 0 {
            lua_pushinteger(L, ar.currentline as lua_Integer);
        } else {
            lua_pushnil(L);
        }
        lua_call(L, host, 2, 0)?;
    }
    Ok(())
}

fn makemask(smask: &[u8], count: i32) -> u8 {
    let mut mask = 0;
    for (letter, bit) in [(b'c', LUA_MASKCALL), (b'r', LUA_MASKRET), (b'l', LUA_MASKLINE)] {
        if smask.contains(&letter) {
            mask |= bit;
        }
    }
    if count > 0 {
        mask |= LUA_MASKCOUNT;
    }
    mask
}

fn unmakemask(mask: u8) -> String {
    let letters = [('c', LUA_MASKCALL), ('r', LUA_MASKRET), ('l', LUA_MASKLINE)];
    letters.iter().filter(|(_, bit)| mask & bit != 0).map(|(letter, _)| letter).collect()
}

/// Pushes the table of hooks.
fn gethooktable<H>(L: &mut lua_State<H>) -> LuaResult<()> {
    lua_pushstring(L, KEY_HOOK);
    lua_rawget(L, LUA_REGISTRYINDEX);
    if !lua_istable(L, -1) {
        lua_pop(L, 1);
        lua_createtable(L, 0, 1);
        lua_pushstring(L, KEY_HOOK);
        lua_pushvalue(L, -2);
        lua_rawset(L, LUA_REGISTRYINDEX)?;
    }
    Ok(())
}

fn db_sethook<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let (co, arg) = getthread(L);
    let mut func: Option<lua_Hook<H>> = None;
    let mut mask = 0;
    let mut count = 0;
    if lua_isnoneornil(L, arg + 1) {
        lua_settop(L, arg + 1);
    } else {
        let smask = luaL_checklstring(L, arg + 2)?;
        luaL_checktype(L, arg + 1, LUA_TFUNCTION)?;
        count = luaL_optint(L, arg + 3, 0)?;
        func = Some(hookf);
        mask = makemask(&smask, count);
    }
    gethooktable(L)?;
    push_thread_key(L, co);
    lua_pushvalue(L, arg + 1);
    lua_rawset(L, -3)?;
    lua_pop(L, 1);
    within(L, co, |L| lua_sethook(L, func, mask, count));
    Ok(0)
}

fn db_gethook<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let (co, _) = getthread(L);
    let (hook, mask, count) =
        within(L, co, |L| (lua_gethook(L), lua_gethookmask(L), lua_gethookcount(L)));
    let ours: lua_Hook<H> = hookf;
    if hook.is_some_and(|hook| !std::ptr::fn_addr_eq(hook, ours)) {
        lua_pushstring(L, "external hook");
    } else {
        gethooktable(L)?;
        push_thread_key(L, co);
        lua_rawget(L, -2);
        lua_remove(L, -2);
    }
    lua_pushstring(L, &unmakemask(mask));
    lua_pushinteger(L, count as lua_Integer);
    Ok(3)
}

/// How many frames at the top a traceback shows, and how many at the bottom if there are more.
const LEVELS1: i32 = 12;
const LEVELS2: i32 = 10;

/// The frames of a thread from `level` on, as a traceback shows them.
fn traceback<H>(L: &mut lua_State<H>, mut level: i32) -> Vec<u8> {
    let mut text = b"stack traceback:".to_vec();
    let mut firstpart = true;
    let mut ar = lua_Debug::default();
    while lua_getstack(L, level, &mut ar) {
        level += 1;
        if level > LEVELS1 && firstpart {
            firstpart = false;
            if !lua_getstack(L, level + LEVELS2, &mut ar) {
                level -= 1; // the rest is short enough
            } else {
                text.extend_from_slice(b"\n\t...");
                while lua_getstack(L, level + LEVELS2, &mut ar) {
                    level += 1;
                }
            }
            continue;
        }
        lua_getinfo(L, "Snl", &mut ar);
        text.extend(luaO_fmt!("\n\t%s:", &ar.short_src));
        if ar.currentline > 0 {
            text.extend(luaO_fmt!("%d:", ar.currentline));
        }
        match (&ar.name, ar.what) {
            (Some(name), _) if !ar.namewhat.is_empty() => {
                text.extend(luaO_fmt!(" in function '%s'", name));
            }
            (_, "main") => text.extend_from_slice(b" in main chunk"),
            (_, "C" | "tail") => text.extend_from_slice(b" ?"),
            _ => {
                text.extend(luaO_fmt!(" in function <%s:%d>", &ar.short_src, ar.linedefined));
            }
        }
    }
    text
}

fn db_errorfb<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let (co, arg) = getthread(L);
    let level = if lua_isnumber(L, arg + 2) {
        let level = lua_tointeger(L, arg + 2) as i32;
        lua_settop(L, arg + 1);
        level
    } else {
        i32::from(co == L.thread) // this function does not show itself
    };
    let mut text = Vec::new();
    if lua_gettop(L) > arg {
        if !lua_isstring(L, arg + 1) {
            return Ok(1); // it is no message
        }
        text = lua_tolstring(L, arg + 1).unwrap_or_default().to_vec();
        text.push(b'\n');
    }
    text.extend(within(L, co, |L| traceback(L, level)));
    lua_pushlstring(L, &text);
    Ok(1)
}

/// Opens the library.
pub fn luaopen_debug<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let dblib: [luaL_Reg<H>; 13] = [
        ("getfenv", db_getfenv),
        ("gethook", db_gethook),
        ("getinfo", db_getinfo),
        ("getlocal", db_getlocal),
        ("getregistry", db_getregistry),
        ("getmetatable", db_getmetatable),
        ("getupvalue", db_getupvalue),
        ("setfenv", db_setfenv),
        ("sethook", db_sethook),
        ("setlocal", db_setlocal),
        ("setmetatable", db_setmetatable),
        ("setupvalue", db_setupvalue),
        ("traceback", db_errorfb),
    ];
    luaL_register(L, Some("debug"), &dblib)?;
    Ok(1)
}
