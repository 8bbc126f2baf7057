//! `lbaselib.c`: the basic library, and that of coroutines.
//!
//! Differs: there is no `dofile` and no `loadfile`, as in the reference; `load` and `loadstring` take source only.

use std::io::Write;

use crate::cstd::{cstr, isspace, strtoul};
use crate::lapi::*;
use crate::lauxlib::*;
use crate::lgc::luaC_step;
use crate::lobject::ThreadRef;
use crate::lstate::{LuaResult, lua_CFunction, lua_Debug, lua_State};

fn luaB_print<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    let n = lua_gettop(L);
    let mut out = std::io::stdout();
    // Nobody can be told that standard output is closed; the C does not look either.
    let mut put = |s: &[u8]| drop(out.write_all(s));
    lua_getglobal(L, host, "tostring")?;
    for i in 1..=n {
        lua_pushvalue(L, -1);
        lua_pushvalue(L, i);
        lua_call(L, host, 1, 1)?;
        let Some(s) = lua_tolstring(L, -1) else {
            return luaL_error!(L, "'tostring' must return a string to 'print'");
        };
        if i > 1 {
            put(b"\t");
        }
        put(cstr(&s));
        lua_pop(L, 1);
    }
    put(b"\n");
    Ok(0)
}

fn luaB_tonumber<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let base = luaL_optint(L, 2, 10)?;
    if base == 10 {
        luaL_checkany(L, 1)?;
        if lua_isnumber(L, 1) {
            let n = lua_tonumber(L, 1);
            lua_pushnumber(L, n);
            return Ok(1);
        }
    } else {
        let s = luaL_checklstring(L, 1)?;
        luaL_argcheck(L, (2..=36).contains(&base), 2, "base out of range")?;
        let s = cstr(&s);
        let (n, end) = strtoul(s, base as u32);
        if end > 0 && s[end..].iter().all(|&c| isspace(i32::from(c))) {
            lua_pushnumber(L, n as lua_Number);
            return Ok(1);
        }
    }
    lua_pushnil(L);
    Ok(1)
}

fn luaB_error<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    let level = luaL_optint(L, 2, 1)?;
    lua_settop(L, 1);
    if lua_isstring(L, 1) && level > 0 {
        luaL_where(L, level);
        lua_pushvalue(L, 1);
        lua_concat(L, host, 2)?;
    }
    lua_error(L)
}

fn luaB_getmetatable<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    luaL_checkany(L, 1)?;
    if !lua_getmetatable(L, 1) {
        lua_pushnil(L);
        return Ok(1);
    }
    luaL_getmetafield(L, 1, "__metatable"); // stands for the metatable if there is one
    Ok(1)
}

fn luaB_setmetatable<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let t = lua_type(L, 2);
    luaL_checktype(L, 1, LUA_TTABLE)?;
    luaL_argcheck(L, t == LUA_TNIL || t == LUA_TTABLE, 2, "nil or table expected")?;
    if luaL_getmetafield(L, 1, "__metatable") {
        return luaL_error!(L, "cannot change a protected metatable");
    }
    lua_settop(L, 2);
    lua_setmetatable(L, 1)?;
    Ok(1)
}

/// Pushes the function that the first argument is, or that runs at the level it names.
fn getfunc<H>(L: &mut lua_State<H>, opt: bool) -> LuaResult<()> {
    if lua_isfunction(L, 1) {
        lua_pushvalue(L, 1);
        return Ok(());
    }
    let level = if opt { luaL_optint(L, 1, 1)? } else { luaL_checkint(L, 1)? };
    luaL_argcheck(L, level >= 0, 1, "level must be non-negative")?;
    let mut ar = lua_Debug::default();
    if !lua_getstack(L, level, &mut ar) {
        return luaL_argerror(L, 1, b"invalid level");
    }
    lua_getinfo(L, "f", &mut ar);
    if lua_isnil(L, -1) {
        return luaL_error!(L, "no function environment for tail call at level %d", level);
    }
    Ok(())
}

fn luaB_getfenv<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    getfunc(L, true)?;
    if lua_iscfunction(L, -1) {
        lua_pushvalue(L, LUA_GLOBALSINDEX); // that of the thread
    } else {
        lua_getfenv(L, -1);
    }
    Ok(1)
}

fn luaB_setfenv<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    luaL_checktype(L, 2, LUA_TTABLE)?;
    getfunc(L, false)?;
    lua_pushvalue(L, 2);
    if lua_isnumber(L, 1) && lua_tonumber(L, 1) == 0.0 {
        // Level 0 is the thread itself.
        lua_pushthread(L);
        lua_insert(L, -2);
        lua_setfenv(L, -2);
        return Ok(0);
    }
    if lua_iscfunction(L, -2) || !lua_setfenv(L, -2) {
        return luaL_error!(L, "'setfenv' cannot change environment of given object");
    }
    Ok(1)
}

fn luaB_rawequal<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    luaL_checkany(L, 1)?;
    luaL_checkany(L, 2)?;
    let equal = lua_rawequal(L, 1, 2);
    lua_pushboolean(L, equal);
    Ok(1)
}

fn luaB_rawget<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    luaL_checktype(L, 1, LUA_TTABLE)?;
    luaL_checkany(L, 2)?;
    lua_settop(L, 2);
    lua_rawget(L, 1);
    Ok(1)
}

fn luaB_rawset<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    luaL_checktype(L, 1, LUA_TTABLE)?;
    luaL_checkany(L, 2)?;
    luaL_checkany(L, 3)?;
    lua_settop(L, 3);
    lua_rawset(L, 1)?;
    Ok(1)
}

fn luaB_gcinfo<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    let n = lua_gc(L, host, LUA_GCCOUNT, 0)?;
    lua_pushinteger(L, n as lua_Integer);
    Ok(1)
}

fn luaB_collectgarbage<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    const OPTS: [&str; 7] =
        ["stop", "restart", "collect", "count", "step", "setpause", "setstepmul"];
    const OPTSNUM: [i32; 7] = [
        LUA_GCSTOP,
        LUA_GCRESTART,
        LUA_GCCOLLECT,
        LUA_GCCOUNT,
        LUA_GCSTEP,
        LUA_GCSETPAUSE,
        LUA_GCSETSTEPMUL,
    ];
    let o = OPTSNUM[luaL_checkoption(L, 1, Some("collect"), &OPTS)?];
    let ex = luaL_optint(L, 2, 0)?;
    let res = match o {
        LUA_GCSTEP => luaC_step(L, host, (ex.max(0) as usize) << 10, false)?.into(),
        _ => lua_gc(L, host, o, ex)?,
    };
    match o {
        LUA_GCCOUNT => {
            let b = lua_gc(L, host, LUA_GCCOUNTB, 0)?;
            lua_pushnumber(L, f64::from(res) + f64::from(b) / 1024.0);
        }
        LUA_GCSTEP => lua_pushboolean(L, res != 0),
        _ => lua_pushnumber(L, f64::from(res)),
    }
    Ok(1)
}

fn luaB_type<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    luaL_checkany(L, 1)?;
    let name = lua_typename(lua_type(L, 1));
    lua_pushstring(L, name);
    Ok(1)
}

fn luaB_next<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    luaL_checktype(L, 1, LUA_TTABLE)?;
    lua_settop(L, 2); // the key may be left out
    if lua_next(L, 1)? {
        return Ok(2);
    }
    lua_pushnil(L);
    Ok(1)
}

fn luaB_pairs<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    luaL_checktype(L, 1, LUA_TTABLE)?;
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    Ok(3)
}

fn ipairsaux<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let i = luaL_checkint(L, 2)?;
    luaL_checktype(L, 1, LUA_TTABLE)?;
    let i = i.wrapping_add(1);
    lua_pushinteger(L, i as lua_Integer);
    lua_rawgeti(L, 1, i);
    Ok(if lua_isnil(L, -1) { 0 } else { 2 })
}

fn luaB_ipairs<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    luaL_checktype(L, 1, LUA_TTABLE)?;
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    lua_pushinteger(L, 0);
    Ok(3)
}

/// The results of a function that compiles: the chunk, or nil and the message.
fn load_aux<H>(L: &mut lua_State<H>, status: i32) -> LuaResult<i32> {
    if status == LUA_OK {
        return Ok(1);
    }
    lua_pushnil(L);
    lua_insert(L, -2);
    Ok(2)
}

fn luaB_loadstring<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    let s = luaL_checklstring(L, 1)?;
    let chunkname = luaL_optlstring(L, 2, &s)?;
    let status = luaL_loadbuffer(L, host, &s, cstr(&chunkname));
    load_aux(L, status)
}

/// The next piece for `load`: what the function in the first argument returns.
///
/// The compiler has values on the stack above the frame of `load`, so the piece is kept in a slot that `load` set aside.
fn generic_reader<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<Option<Vec<u8>>> {
    luaL_checkstack(L, 2, "too many nested functions")?;
    lua_pushvalue(L, 1);
    lua_call(L, host, 0, 1)?;
    if lua_isnil(L, -1) {
        lua_pop(L, 1);
        return Ok(None);
    }
    if !lua_isstring(L, -1) {
        return luaL_error!(L, "reader function must return a string");
    }
    lua_replace(L, 3)?;
    Ok(lua_tolstring(L, 3).map(|s| s.to_vec()))
}

fn luaB_load<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    let cname = luaL_optlstring(L, 2, b"=(load)")?;
    luaL_checktype(L, 1, LUA_TFUNCTION)?;
    lua_settop(L, 3); // the function, perhaps the name, and a slot for the reader
    let mut reader = generic_reader::<H>;
    let mut z = ZIO::from_reader(&mut reader);
    let status = lua_load(L, host, &mut z, cstr(&cname));
    load_aux(L, status)
}

fn luaB_assert<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    luaL_checkany(L, 1)?;
    if !lua_toboolean(L, 1) {
        let msg = luaL_optlstring(L, 2, b"assertion failed!")?;
        return luaL_error!(L, "%s", &msg);
    }
    Ok(lua_gettop(L))
}

fn luaB_unpack<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    luaL_checktype(L, 1, LUA_TTABLE)?;
    let i = luaL_optint(L, 2, 1)?;
    let e = if lua_isnoneornil(L, 3) { lua_objlen(L, 1) as i32 } else { luaL_checkint(L, 3)? };
    if i > e {
        return Ok(0);
    }
    let n = i64::from(e) - i64::from(i) + 1;
    if n > i64::from(i32::MAX) || !lua_checkstack(L, n as i32) {
        return luaL_error!(L, "too many results to unpack");
    }
    for i in i..=e {
        lua_rawgeti(L, 1, i);
    }
    Ok(n as i32)
}

fn luaB_select<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let n = lua_gettop(L);
    if lua_tobytes(L, 1).is_some_and(|s| s.first() == Some(&b'#')) {
        lua_pushinteger(L, (n - 1) as lua_Integer);
        return Ok(1);
    }
    let mut i = luaL_checkint(L, 1)?;
    if i < 0 {
        i = i.wrapping_add(n);
    } else if i > n {
        i = n;
    }
    luaL_argcheck(L, 1 <= i, 1, "index out of range")?;
    Ok(n - i)
}

fn luaB_pcall<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    luaL_checkany(L, 1)?;
    let nargs = lua_gettop(L) - 1;
    let status = lua_pcall(L, host, nargs, LUA_MULTRET, 0);
    lua_pushboolean(L, status == LUA_OK);
    lua_insert(L, 1);
    Ok(lua_gettop(L))
}

fn luaB_xpcall<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    luaL_checkany(L, 2)?;
    lua_settop(L, 2);
    lua_insert(L, 1); // the handler goes below the function
    let status = lua_pcall(L, host, 0, LUA_MULTRET, 1);
    lua_pushboolean(L, status == LUA_OK);
    lua_replace(L, 1)?;
    Ok(lua_gettop(L))
}

fn luaB_tostring<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    luaL_checkany(L, 1)?;
    if luaL_callmeta(L, host, 1, "__tostring")? {
        return Ok(1);
    }
    match lua_type(L, 1) {
        LUA_TNUMBER | LUA_TSTRING => {
            lua_pushvalue(L, 1);
            lua_tolstring(L, -1);
        }
        LUA_TBOOLEAN => {
            let b = lua_toboolean(L, 1);
            lua_pushstring(L, if b { "true" } else { "false" });
        }
        LUA_TNIL => lua_pushstring(L, "nil"),
        t => {
            let name = lua_typename(t);
            let s = match lua_topointer(L, 1) {
                0 => format!("{name}: (nil)"),
                p => format!("{name}: {p:#x}"),
            };
            lua_pushstring(L, &s);
        }
    }
    Ok(1)
}

fn luaB_newproxy<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    lua_settop(L, 1);
    lua_newuserdata(L, Box::new(()), 0);
    if !lua_toboolean(L, 1) {
        return Ok(1); // without metatable
    }
    if lua_isboolean(L, 1) {
        lua_newtable(L); // a new one, which the weak table knows
        lua_pushvalue(L, -1);
        lua_pushboolean(L, true);
        lua_rawset(L, lua_upvalueindex(1))?;
    } else {
        let mut validproxy = false;
        if lua_getmetatable(L, 1) {
            lua_rawget(L, lua_upvalueindex(1));
            validproxy = lua_toboolean(L, -1);
            lua_pop(L, 1);
        }
        luaL_argcheck(L, validproxy, 1, "boolean or proxy expected")?;
        lua_getmetatable(L, 1);
    }
    lua_setmetatable(L, 2)?;
    Ok(1)
}

// Coroutines.

/// What a coroutine is doing; the numbers are those of `statnames`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CoStatus {
    CO_RUN,
    CO_SUS,
    /// It resumed another one.
    CO_NOR,
    CO_DEAD,
}
use CoStatus::*;

const statnames: [&str; 4] = ["running", "suspended", "normal", "dead"];

fn costatus<H>(L: &lua_State<H>, co: ThreadRef) -> CoStatus {
    if L.thread == co {
        return CO_RUN;
    }
    match lua_status(L, co) {
        LUA_YIELD => CO_SUS,
        LUA_OK => {
            if lua_thread_active(L, co) {
                CO_NOR
            } else if lua_thread_gettop(L, co) == 0 {
                CO_DEAD
            } else {
                CO_SUS // it has not begun
            }
        }
        _ => CO_DEAD, // an error ended it
    }
}

/// The coroutine that the first argument is.
fn checkthread<H>(L: &mut lua_State<H>) -> LuaResult<ThreadRef> {
    match lua_tothread(L, 1) {
        Some(co) => Ok(co),
        None => luaL_argerror(L, 1, b"coroutine expected"),
    }
}

fn luaB_costatus<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let co = checkthread(L)?;
    lua_pushstring(L, statnames[costatus(L, co) as usize]);
    Ok(1)
}

/// Resumes `co` with the `narg` topmost values. How many values it gave; `None`: an error, whose value is on the top.
fn auxresume<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    co: ThreadRef,
    narg: i32,
) -> LuaResult<Option<i32>> {
    let status = costatus(L, co);
    if !lua_thread_checkstack(L, co, narg) {
        return luaL_error!(L, "too many arguments to resume");
    }
    if status != CO_SUS {
        let name = statnames[status as usize];
        let msg = luaO_fmt!("cannot resume %s coroutine", name);
        lua_pushlstring(L, &msg);
        return Ok(None);
    }
    lua_xmove_to(L, co, narg);
    lua_setlevel(L, co);
    let status = lua_resume(L, host, co, narg);
    if status != LUA_OK && status != LUA_YIELD {
        lua_xmove_from(L, co, 1);
        return Ok(None);
    }
    let nres = lua_thread_gettop(L, co);
    if !lua_checkstack(L, nres + 1) {
        return luaL_error!(L, "too many results to resume");
    }
    lua_xmove_from(L, co, nres);
    Ok(Some(nres))
}

fn luaB_coresume<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    let co = checkthread(L)?;
    let narg = lua_gettop(L) - 1;
    match auxresume(L, host, co, narg)? {
        Some(r) => {
            lua_pushboolean(L, true);
            lua_insert(L, -(r + 1));
            Ok(r + 1)
        }
        None => {
            lua_pushboolean(L, false);
            lua_insert(L, -2);
            Ok(2)
        }
    }
}

fn luaB_auxwrap<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    let Some(co) = lua_tothread(L, lua_upvalueindex(1)) else { return Ok(0) };
    let narg = lua_gettop(L);
    match auxresume(L, host, co, narg)? {
        Some(r) => Ok(r),
        None => {
            if lua_isstring(L, -1) {
                luaL_where(L, 1);
                lua_insert(L, -2);
                lua_concat(L, host, 2)?;
            }
            lua_error(L)
        }
    }
}

fn luaB_cocreate<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let co = lua_newthread(L);
    let ok = lua_isfunction(L, 1) && !lua_iscfunction(L, 1);
    luaL_argcheck(L, ok, 1, "Lua function expected")?;
    lua_pushvalue(L, 1);
    lua_xmove_to(L, co, 1);
    Ok(1)
}

fn luaB_cowrap<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    luaB_cocreate(L, host)?;
    lua_pushcclosure(L, luaB_auxwrap, 1);
    Ok(1)
}

fn luaB_yield<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let n = lua_gettop(L);
    lua_yield(L, n)
}

fn luaB_corunning<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    if lua_pushthread(L) {
        lua_pushnil(L); // the main thread is no coroutine
    }
    Ok(1)
}

/// Sets the function `f` in the table on the top; its upvalue is the function `u`.
fn auxopen<H>(
    L: &mut lua_State<H>,
    name: &str,
    f: lua_CFunction<H>,
    u: lua_CFunction<H>,
) -> LuaResult<()> {
    lua_pushstring(L, name);
    lua_pushcfunction(L, u);
    lua_pushcclosure(L, f, 1);
    lua_rawset(L, -3)
}

fn base_open<H>(L: &mut lua_State<H>) -> LuaResult<()> {
    let base_funcs: [luaL_Reg<H>; 22] = [
        ("assert", luaB_assert),
        ("collectgarbage", luaB_collectgarbage),
        ("error", luaB_error),
        ("gcinfo", luaB_gcinfo),
        ("getfenv", luaB_getfenv),
        ("getmetatable", luaB_getmetatable),
        ("load", luaB_load),
        ("loadstring", luaB_loadstring),
        ("next", luaB_next),
        ("pcall", luaB_pcall),
        ("print", luaB_print),
        ("rawequal", luaB_rawequal),
        ("rawget", luaB_rawget),
        ("rawset", luaB_rawset),
        ("select", luaB_select),
        ("setfenv", luaB_setfenv),
        ("setmetatable", luaB_setmetatable),
        ("tonumber", luaB_tonumber),
        ("tostring", luaB_tostring),
        ("type", luaB_type),
        ("unpack", luaB_unpack),
        ("xpcall", luaB_xpcall),
    ];
    lua_pushstring(L, "_G");
    lua_pushvalue(L, LUA_GLOBALSINDEX);
    lua_rawset(L, LUA_GLOBALSINDEX)?;
    luaL_register(L, Some("_G"), &base_funcs)?;
    lua_pushstring(L, "_VERSION");
    lua_pushstring(L, "Lua 5.1");
    lua_rawset(L, -3)?;
    // The iterators of these two are their upvalues.
    auxopen(L, "ipairs", luaB_ipairs, ipairsaux)?;
    auxopen(L, "pairs", luaB_pairs, luaB_next)?;
    // The upvalue of `newproxy` is a weak table, its own metatable, with all metatables that it made.
    lua_pushstring(L, "newproxy");
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, -1);
    lua_setmetatable(L, -2)?;
    lua_pushstring(L, "__mode");
    lua_pushstring(L, "kv");
    lua_rawset(L, -3)?;
    lua_pushcclosure(L, luaB_newproxy, 1);
    lua_rawset(L, -3)
}

/// Opens the basic library and that of coroutines.
pub fn luaopen_base<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let co_funcs: [luaL_Reg<H>; 6] = [
        ("create", luaB_cocreate),
        ("resume", luaB_coresume),
        ("running", luaB_corunning),
        ("status", luaB_costatus),
        ("wrap", luaB_cowrap),
        ("yield", luaB_yield),
    ];
    base_open(L)?;
    luaL_register(L, Some("coroutine"), &co_funcs)?;
    Ok(2)
}
