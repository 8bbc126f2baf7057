//! `ltablib.c`: the library of tables.
//!
//! Differs: a long run of `insert`, `remove`, `concat`, `maxn` or `sort` counts as instructions, see `lwork`.

use crate::lapi::*;
use crate::lauxlib::*;
use crate::lstate::{LuaResult, lua_State};
use crate::lwork::Work;

/// The length of the table argument `n`.
fn aux_getn<H>(L: &mut lua_State<H>, n: i32) -> LuaResult<i32> {
    luaL_checktype(L, n, LUA_TTABLE)?;
    Ok(lua_objlen(L, n) as i32)
}

fn foreachi<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    let n = aux_getn(L, 1)?;
    luaL_checktype(L, 2, LUA_TFUNCTION)?;
    for i in 1..=n {
        lua_pushvalue(L, 2);
        lua_pushinteger(L, i as lua_Integer);
        lua_rawgeti(L, 1, i);
        lua_call(L, host, 2, 1)?;
        if !lua_isnil(L, -1) {
            return Ok(1);
        }
        lua_pop(L, 1);
    }
    Ok(0)
}

fn foreach<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    luaL_checktype(L, 1, LUA_TTABLE)?;
    luaL_checktype(L, 2, LUA_TFUNCTION)?;
    lua_pushnil(L);
    while lua_next(L, 1)? {
        lua_pushvalue(L, 2);
        lua_pushvalue(L, -3);
        lua_pushvalue(L, -3);
        lua_call(L, host, 2, 1)?;
        if !lua_isnil(L, -1) {
            return Ok(1);
        }
        lua_pop(L, 2);
    }
    Ok(0)
}

fn maxn<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    let mut max = 0.0;
    let mut work = Work::default();
    luaL_checktype(L, 1, LUA_TTABLE)?;
    lua_pushnil(L);
    while lua_next(L, 1)? {
        work.step(L, host)?;
        lua_pop(L, 1);
        if lua_type(L, -1) == LUA_TNUMBER {
            let v = lua_tonumber(L, -1);
            if v > max {
                max = v;
            }
        }
    }
    lua_pushnumber(L, max);
    Ok(1)
}

fn getn<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let n = aux_getn(L, 1)?;
    lua_pushinteger(L, n as lua_Integer);
    Ok(1)
}

fn setn<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    luaL_checktype(L, 1, LUA_TTABLE)?;
    luaL_error!(L, "'setn' is obsolete")
}

fn tinsert<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    let mut e = aux_getn(L, 1)?.wrapping_add(1); // the first free position
    let pos = match lua_gettop(L) {
        2 => e,
        3 => {
            let pos = luaL_checkint(L, 2)?;
            let mut work = Work::default();
            e = e.max(pos);
            for i in (pos..e).rev() {
                work.step(L, host)?;
                lua_rawgeti(L, 1, i);
                lua_rawseti(L, 1, i + 1)?;
            }
            pos
        }
        _ => return luaL_error!(L, "wrong number of arguments to 'insert'"),
    };
    lua_rawseti(L, 1, pos)?;
    Ok(0)
}

fn tremove<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    let e = aux_getn(L, 1)?;
    let pos = luaL_optint(L, 2, e)?;
    if !(1 <= pos && pos <= e) {
        return Ok(0); // there is nothing
    }
    let mut work = Work::default();
    lua_rawgeti(L, 1, pos);
    for pos in pos..e {
        work.step(L, host)?;
        lua_rawgeti(L, 1, pos + 1);
        lua_rawseti(L, 1, pos)?;
    }
    lua_pushnil(L);
    lua_rawseti(L, 1, e)?;
    Ok(1)
}

fn addfield<H>(L: &mut lua_State<H>, b: &mut Vec<u8>, i: i32) -> LuaResult<()> {
    lua_rawgeti(L, 1, i);
    if let Some(s) = lua_tobytes(L, -1) {
        // The usual case: the bytes are copied once.
        let n = s.len();
        if b.capacity() - b.len() >= n {
            b.extend_from_slice(s);
        } else {
            let s = lua_tolstring(L, -1).unwrap_or_default();
            luaL_reserve(L, b, n)?;
            b.extend_from_slice(&s);
        }
    } else if lua_isstring(L, -1) {
        let s = lua_tolstring(L, -1).unwrap_or_default();
        b.extend_from_slice(&s);
    } else {
        let name = lua_typename(lua_type(L, -1));
        return luaL_error!(L, "invalid value (%s) at index %d in table for 'concat'", name, i);
    }
    lua_pop(L, 1);
    Ok(())
}

fn tconcat<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    let sep = luaL_optlstring(L, 2, b"")?;
    luaL_checktype(L, 1, LUA_TTABLE)?;
    let i = luaL_optint(L, 3, 1)?;
    let last = if lua_isnoneornil(L, 4) { lua_objlen(L, 1) as i32 } else { luaL_checkint(L, 4)? };
    let mut b = Vec::new();
    let mut work = Work::default();
    for i in i..last {
        work.step(L, host)?;
        addfield(L, &mut b, i)?;
        luaL_reserve(L, &mut b, sep.len())?;
        b.extend_from_slice(&sep);
    }
    if i <= last {
        addfield(L, &mut b, last)?;
    }
    lua_pushlstring(L, &b);
    Ok(1)
}

// Quicksort, as PUC has it (after Sedgewick): with a function that is no order the comparisons have to be the same.

fn set2<H>(L: &mut lua_State<H>, i: i32, j: i32) -> LuaResult<()> {
    lua_rawseti(L, 1, i)?;
    lua_rawseti(L, 1, j)
}

fn sort_comp<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    work: &mut Work,
    a: i32,
    b: i32,
) -> LuaResult<bool> {
    if lua_isnil(L, 2) {
        work.step(L, host)?;
        return lua_lessthan(L, host, a, b);
    }
    lua_pushvalue(L, 2);
    lua_pushvalue(L, a - 1); // one further down than the function is pushed
    lua_pushvalue(L, b - 2); // two, with `a`
    lua_call(L, host, 2, 1)?;
    let res = lua_toboolean(L, -1);
    lua_pop(L, 1);
    Ok(res)
}

fn auxsort<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    work: &mut Work,
    mut l: i32,
    mut u: i32,
) -> LuaResult<()> {
    while l < u {
        // Sorts a[l], a[(l+u)/2] and a[u].
        lua_rawgeti(L, 1, l);
        lua_rawgeti(L, 1, u);
        if sort_comp(L, host, work, -1, -2)? {
            set2(L, l, u)?;
        } else {
            lua_pop(L, 2);
        }
        if u - l == 1 {
            break;
        }
        let mut i = l.wrapping_add(u) / 2;
        lua_rawgeti(L, 1, i);
        lua_rawgeti(L, 1, l);
        if sort_comp(L, host, work, -2, -1)? {
            set2(L, i, l)?;
        } else {
            lua_pop(L, 1);
            lua_rawgeti(L, 1, u);
            if sort_comp(L, host, work, -1, -2)? {
                set2(L, i, u)?;
            } else {
                lua_pop(L, 2);
            }
        }
        if u - l == 2 {
            break;
        }
        lua_rawgeti(L, 1, i); // the pivot
        lua_pushvalue(L, -1);
        lua_rawgeti(L, 1, u - 1);
        set2(L, i, u - 1)?;
        // a[l] <= P == a[u-1] <= a[u]: what is left to sort is from l + 1 to u - 2
        i = l;
        let mut j = u - 1;
        loop {
            // a[l..i] <= P <= a[j..u]
            loop {
                i += 1;
                lua_rawgeti(L, 1, i);
                if !sort_comp(L, host, work, -1, -2)? {
                    break;
                }
                if i > u {
                    return luaL_error!(L, "invalid order function for sorting");
                }
                lua_pop(L, 1);
            }
            loop {
                j -= 1;
                lua_rawgeti(L, 1, j);
                if !sort_comp(L, host, work, -3, -1)? {
                    break;
                }
                if j < l {
                    return luaL_error!(L, "invalid order function for sorting");
                }
                lua_pop(L, 1);
            }
            if j < i {
                lua_pop(L, 3); // pivot, a[i], a[j]
                break;
            }
            set2(L, i, j)?;
        }
        lua_rawgeti(L, 1, u - 1);
        lua_rawgeti(L, 1, i);
        set2(L, u - 1, i)?; // the pivot goes between the halves
        // a[l..i-1] <= a[i] == P <= a[i+1..u]: the smaller half is j..i, the larger one goes on as l..u
        if i - l < u - i {
            j = l;
            i -= 1;
            l = i + 2;
        } else {
            j = i + 1;
            i = u;
            u = j - 2;
        }
        auxsort(L, host, work, j, i)?;
    }
    Ok(())
}

fn sort<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    let n = aux_getn(L, 1)?;
    luaL_checkstack(L, 40, "")?; // the smaller halves are at most 40 deep
    if !lua_isnoneornil(L, 2) {
        luaL_checktype(L, 2, LUA_TFUNCTION)?;
    }
    lua_settop(L, 2);
    auxsort(L, host, &mut Work::default(), 1, n)?;
    Ok(0)
}

/// Opens the library of tables.
pub fn luaopen_table<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let tab_funcs: [luaL_Reg<H>; 9] = [
        ("concat", tconcat),
        ("foreach", foreach),
        ("foreachi", foreachi),
        ("getn", getn),
        ("maxn", maxn),
        ("insert", tinsert),
        ("remove", tremove),
        ("setn", setn),
        ("sort", sort),
    ];
    luaL_register(L, Some("table"), &tab_funcs)?;
    Ok(1)
}
