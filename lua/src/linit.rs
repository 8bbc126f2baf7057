//! `linit.c`: opens the libraries, those that the reference opens and in its order.

use crate::lapi::{lua_call, lua_pushcfunction, lua_pushstring};
use crate::lbaselib::luaopen_base;
use crate::lmathlib::luaopen_math;
use crate::lstate::{LuaResult, lua_CFunction, lua_State};
use crate::lstrlib::luaopen_string;
use crate::ltablib::luaopen_table;
use crate::lua_bit::luaopen_bit;
use crate::lua_cjson::luaopen_cjson;
use crate::lua_cmsgpack::luaopen_cmsgpack;
use crate::lua_struct::luaopen_struct;

/// Opens all libraries. There is no io, no os, no package; debug is for the host alone.
pub fn luaL_openlibs<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<()> {
    let lualibs: [(&str, lua_CFunction<H>); 8] = [
        ("", luaopen_base),
        ("table", luaopen_table),
        ("string", luaopen_string),
        ("math", luaopen_math),
        ("cjson", luaopen_cjson),
        ("struct", luaopen_struct),
        ("cmsgpack", luaopen_cmsgpack),
        ("bit", luaopen_bit),
    ];
    for (name, open) in lualibs {
        lua_pushcfunction(L, open);
        lua_pushstring(L, name);
        lua_call(L, host, 1, 0)?;
    }
    Ok(())
}
