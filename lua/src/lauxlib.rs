//! `lauxlib.c`: what libraries are built with.
//!
//! Differs: there is no `luaL_Buffer`; a `Vec<u8>` and [`lua_pushlstring`] are one.

use std::any::Any;

use crate::lapi::*;
use crate::lmem::luaM_checksize;
use crate::lobject::*;
use crate::lstate::*;

/// Raises a message with the position of the function that runs: `luaL_error!(L, "bad %s", name)`. The
/// formats are those of [`luaO_fmt!`].
#[macro_export]
macro_rules! luaL_error {
    ($L:expr, $fmt:expr $(, $a:expr)* $(,)?) => {{
        let message = $crate::luaO_fmt!($fmt $(, $a)*);
        $crate::lauxlib::luaL_error_bytes($L, &message)
    }};
}

/// A function of a library under its name.
pub type luaL_Reg<H> = (&'static str, lua_CFunction<H>);

/// A negative index as one from the base.
fn abs_index<H>(L: &lua_State<H>, i: i32) -> i32 {
    if i > 0 || i <= LUA_REGISTRYINDEX { i } else { lua_gettop(L) + i + 1 }
}

/// `luaL_argerror`: raises "bad argument #narg to 'f' (extramsg)".
pub fn luaL_argerror<H, T>(L: &mut lua_State<H>, mut narg: i32, extramsg: &[u8]) -> LuaResult<T> {
    let mut ar = lua_Debug::default();
    if !lua_getstack(L, 0, &mut ar) {
        return luaL_error!(L, "bad argument #%d (%s)", narg, extramsg);
    }
    lua_getinfo(L, "n", &mut ar);
    if ar.namewhat == "method" {
        narg -= 1;
        if narg == 0 {
            let name = ar.name.unwrap_or_default();
            return luaL_error!(L, "calling '%s' on bad self (%s)", &name, extramsg);
        }
    }
    let name = ar.name.unwrap_or_else(|| LuaStr::new(b"?"));
    luaL_error!(L, "bad argument #%d to '%s' (%s)", narg, &name, extramsg)
}

/// `luaL_typerror`: raises "tname expected, got ...".
pub fn luaL_typerror<H, T>(L: &mut lua_State<H>, narg: i32, tname: &str) -> LuaResult<T> {
    let got = lua_typename(lua_type(L, narg));
    let msg = luaO_fmt!("%s expected, got %s", tname, got);
    luaL_argerror(L, narg, &msg)
}

fn tag_error<H, T>(L: &mut lua_State<H>, narg: i32, tag: i32) -> LuaResult<T> {
    luaL_typerror(L, narg, lua_typename(tag))
}

/// `luaL_where` as bytes: "chunk:line: " of the function at a level, or nothing.
pub fn luaL_where_bytes<H>(L: &mut lua_State<H>, level: i32) -> Vec<u8> {
    let mut ar = lua_Debug::default();
    if lua_getstack(L, level, &mut ar) {
        lua_getinfo(L, "Sl", &mut ar);
        if ar.currentline > 0 {
            return luaO_fmt!("%s:%d: ", &ar.short_src, ar.currentline);
        }
    }
    Vec::new()
}

/// Pushes "chunk:line: " of the function at a level, or an empty string.
pub fn luaL_where<H>(L: &mut lua_State<H>, level: i32) {
    let s = luaL_where_bytes(L, level);
    lua_pushlstring(L, &s);
}

/// What [`luaL_error!`] calls: raises a message behind the position of the function that runs.
#[cold]
pub fn luaL_error_bytes<H, T>(L: &mut lua_State<H>, message: &[u8]) -> LuaResult<T> {
    let mut s = luaL_where_bytes(L, 1);
    s.extend_from_slice(message);
    lua_pushlstring(L, &s);
    lua_error(L)
}

/// The position in `lst` of the string argument `narg`, or of `def` if there is none.
pub fn luaL_checkoption<H>(
    L: &mut lua_State<H>,
    narg: i32,
    def: Option<&str>,
    lst: &[&str],
) -> LuaResult<usize> {
    let name = match def {
        Some(def) => luaL_optlstring(L, narg, def.as_bytes())?,
        None => luaL_checklstring(L, narg)?,
    };
    let name = name.split(|&c| c == 0).next().unwrap_or_default();
    if let Some(i) = lst.iter().position(|o| o.as_bytes() == name) {
        return Ok(i);
    }
    let msg = luaO_fmt!("invalid option '%s'", name);
    luaL_argerror(L, narg, &msg)
}

/// Pushes `registry[key]`.
pub fn luaL_getmetatable<H>(L: &mut lua_State<H>, tname: &str) {
    lua_pushstring(L, tname);
    lua_rawget(L, LUA_REGISTRYINDEX);
}

/// Pushes the metatable of that name; true if it was made for it.
pub fn luaL_newmetatable<H>(L: &mut lua_State<H>, tname: &str) -> LuaResult<bool> {
    luaL_getmetatable(L, tname);
    if !lua_isnil(L, -1) {
        return Ok(false);
    }
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushstring(L, tname);
    lua_pushvalue(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX)?;
    Ok(true)
}

/// The data of a userdata argument whose metatable has that name; else an error.
pub fn luaL_checkudata<'a, H, T: Any>(
    L: &'a mut lua_State<H>,
    ud: i32,
    tname: &str,
) -> LuaResult<&'a mut T> {
    let mut right = false;
    if lua_isuserdata(L, ud) && lua_getmetatable(L, ud) {
        luaL_getmetatable(L, tname);
        right = lua_rawequal(L, -1, -2);
        lua_pop(L, 2);
    }
    if !right || lua_touserdata::<H, T>(L, ud).is_none() {
        return luaL_typerror(L, ud, tname);
    }
    Ok(lua_touserdata(L, ud).expect("looked at above"))
}

pub fn luaL_checkstack<H>(L: &mut lua_State<H>, space: i32, mes: &str) -> LuaResult<()> {
    if !lua_checkstack(L, space) {
        return luaL_error!(L, "stack overflow (%s)", mes);
    }
    Ok(())
}

pub fn luaL_checktype<H>(L: &mut lua_State<H>, narg: i32, t: i32) -> LuaResult<()> {
    if lua_type(L, narg) != t { tag_error(L, narg, t) } else { Ok(()) }
}

pub fn luaL_checkany<H>(L: &mut lua_State<H>, narg: i32) -> LuaResult<()> {
    if lua_type(L, narg) == LUA_TNONE {
        return luaL_argerror(L, narg, b"value expected");
    }
    Ok(())
}

/// The string argument `narg`, held; a number becomes one.
pub fn luaL_checklstring<H>(L: &mut lua_State<H>, narg: i32) -> LuaResult<LuaStr> {
    match lua_tolstring(L, narg) {
        Some(s) => Ok(s),
        None => tag_error(L, narg, LUA_TSTRING),
    }
}

pub fn luaL_optlstring<H>(L: &mut lua_State<H>, narg: i32, def: &[u8]) -> LuaResult<LuaStr> {
    if lua_isnoneornil(L, narg) { Ok(LuaStr::new(def)) } else { luaL_checklstring(L, narg) }
}

pub fn luaL_checknumber<H>(L: &mut lua_State<H>, narg: i32) -> LuaResult<lua_Number> {
    if let Some(Number(n)) = index2adr(L, narg) {
        return Ok(n);
    }
    if !lua_isnumber(L, narg) {
        return tag_error(L, narg, LUA_TNUMBER);
    }
    Ok(lua_tonumber(L, narg))
}

pub fn luaL_optnumber<H>(
    L: &mut lua_State<H>,
    narg: i32,
    def: lua_Number,
) -> LuaResult<lua_Number> {
    if lua_isnoneornil(L, narg) { Ok(def) } else { luaL_checknumber(L, narg) }
}

pub fn luaL_checkinteger<H>(L: &mut lua_State<H>, narg: i32) -> LuaResult<lua_Integer> {
    Ok(lua_number2integer(luaL_checknumber(L, narg)?))
}

pub fn luaL_optinteger<H>(
    L: &mut lua_State<H>,
    narg: i32,
    def: lua_Integer,
) -> LuaResult<lua_Integer> {
    if lua_isnoneornil(L, narg) { Ok(def) } else { luaL_checkinteger(L, narg) }
}

/// `luaL_checkint`: an integer argument cut to 32 bits.
pub fn luaL_checkint<H>(L: &mut lua_State<H>, narg: i32) -> LuaResult<i32> {
    Ok(luaL_checkinteger(L, narg)? as i32)
}

pub fn luaL_optint<H>(L: &mut lua_State<H>, narg: i32, def: i32) -> LuaResult<i32> {
    Ok(luaL_optinteger(L, narg, def as lua_Integer)? as i32)
}

/// `luaL_argcheck`.
pub fn luaL_argcheck<H>(L: &mut lua_State<H>, cond: bool, narg: i32, msg: &str) -> LuaResult<()> {
    if cond { Ok(()) } else { luaL_argerror(L, narg, msg.as_bytes()) }
}

/// Pushes a field of the metatable of a value; false, and nothing pushed, if there is none.
pub fn luaL_getmetafield<H>(L: &mut lua_State<H>, obj: i32, event: &str) -> bool {
    if !lua_getmetatable(L, obj) {
        return false;
    }
    lua_pushstring(L, event);
    lua_rawget(L, -2);
    if lua_isnil(L, -1) {
        lua_pop(L, 2);
        return false;
    }
    lua_remove(L, -2);
    true
}

/// Calls a metamethod with the value as its argument and leaves its one result; false if there is none.
pub fn luaL_callmeta<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    obj: i32,
    event: &str,
) -> LuaResult<bool> {
    let obj = abs_index(L, obj);
    if !luaL_getmetafield(L, obj, event) {
        return Ok(false);
    }
    lua_pushvalue(L, obj);
    lua_call(L, host, 1, 1)?;
    Ok(true)
}

/// Sets functions in the table on the top, or, with a name, in the library of that name, which is made and
/// left on the top.
pub fn luaL_register<H>(
    L: &mut lua_State<H>,
    libname: Option<&str>,
    l: &[luaL_Reg<H>],
) -> LuaResult<()> {
    luaI_openlib(L, libname, l, 0)
}

/// [`luaL_register`] with `nup` upvalues for each function, popped from the top.
pub fn luaI_openlib<H>(
    L: &mut lua_State<H>,
    libname: Option<&str>,
    l: &[luaL_Reg<H>],
    nup: i32,
) -> LuaResult<()> {
    if let Some(libname) = libname {
        luaL_findtable(L, LUA_REGISTRYINDEX, "_LOADED", 1)?;
        lua_pushstring(L, libname);
        lua_rawget(L, -2);
        if !lua_istable(L, -1) {
            lua_pop(L, 1);
            if luaL_findtable(L, LUA_GLOBALSINDEX, libname, l.len() as i32)?.is_some() {
                return luaL_error!(L, "name conflict for module '%s'", libname);
            }
            lua_pushstring(L, libname);
            lua_pushvalue(L, -2);
            lua_rawset(L, -4)?;
        }
        lua_remove(L, -2);
        lua_insert(L, -(nup + 1));
    }
    for (name, func) in l {
        lua_pushstring(L, name);
        for _ in 0..nup {
            lua_pushvalue(L, -nup - 1);
        }
        lua_pushcclosure(L, *func, nup);
        lua_rawset(L, -(nup + 3))?;
    }
    lua_pop(L, nup);
    Ok(())
}

/// Pushes the table `fname` ("a.b.c") below the table at `idx`, made where it is missing. `Some` is the part
/// of the name that is something else, and nothing is pushed.
pub fn luaL_findtable<'a, H>(
    L: &mut lua_State<H>,
    idx: i32,
    fname: &'a str,
    szhint: i32,
) -> LuaResult<Option<&'a str>> {
    lua_pushvalue(L, idx);
    let mut rest = fname;
    loop {
        let (name, more) = match rest.split_once('.') {
            Some((name, more)) => (name, Some(more)),
            None => (rest, None),
        };
        lua_pushstring(L, name);
        lua_rawget(L, -2);
        if lua_isnil(L, -1) {
            lua_pop(L, 1);
            lua_createtable(L, 0, if more.is_some() { 1 } else { szhint });
            lua_pushstring(L, name);
            lua_pushvalue(L, -2);
            lua_rawset(L, -4)?;
        } else if !lua_istable(L, -1) {
            lua_pop(L, 2);
            return Ok(Some(rest));
        }
        lua_remove(L, -2);
        match more {
            Some(m) => rest = m,
            None => return Ok(None),
        }
    }
}

pub const LUA_NOREF: i32 = -2;
pub const LUA_REFNIL: i32 = -1;
const FREELIST_REF: i32 = 0;

/// Pops a value, keeps it in the table at `t`, and tells under which number.
pub fn luaL_ref<H>(L: &mut lua_State<H>, t: i32) -> LuaResult<i32> {
    let t = abs_index(L, t);
    if lua_isnil(L, -1) {
        lua_pop(L, 1);
        return Ok(LUA_REFNIL);
    }
    lua_rawgeti(L, t, FREELIST_REF);
    let mut r = lua_tointeger(L, -1) as i32;
    lua_pop(L, 1);
    if r != 0 {
        lua_rawgeti(L, t, r);
        lua_rawseti(L, t, FREELIST_REF)?;
    } else {
        r = lua_objlen(L, t) as i32 + 1;
    }
    lua_rawseti(L, t, r)?;
    Ok(r)
}

pub fn luaL_unref<H>(L: &mut lua_State<H>, t: i32, r: i32) -> LuaResult<()> {
    if r >= 0 {
        let t = abs_index(L, t);
        lua_rawgeti(L, t, FREELIST_REF);
        lua_rawseti(L, t, r)?;
        lua_pushinteger(L, r as lua_Integer);
        lua_rawseti(L, t, FREELIST_REF)?;
    }
    Ok(())
}

/// Compiles a buffer: see [`lua_load`].
pub fn luaL_loadbuffer<H>(L: &mut lua_State<H>, host: &mut H, buff: &[u8], name: &[u8]) -> i32 {
    let mut z = ZIO::from_bytes(buff.to_vec());
    lua_load(L, host, &mut z, name)
}

pub fn luaL_loadstring<H>(L: &mut lua_State<H>, host: &mut H, s: &[u8]) -> i32 {
    luaL_loadbuffer(L, host, s, s)
}

/// Room for `n` more bytes in a buffer, or "not enough memory": what a library asks before it fills one.
pub fn luaL_reserve<H>(L: &mut lua_State<H>, b: &mut Vec<u8>, n: usize) -> LuaResult<()> {
    luaM_checksize(L, n)?;
    match b.try_reserve(n) {
        Ok(()) => Ok(()),
        Err(_) => crate::ldo::luaD_throw(L, LUA_ERRMEM),
    }
}

/// A new state, without libraries.
pub fn luaL_newstate<H>() -> Box<lua_State<H>> {
    lua_newstate()
}
