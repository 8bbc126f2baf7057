//! `lua_bit.c`: Lua BitOp 1.0.2, operations on the bits of numbers (Mike Pall, MIT).

use crate::lapi::*;
use crate::lauxlib::*;
use crate::lstate::{LuaResult, lua_State};

/// The argument as 32 bits: rounded to the nearest integer, modulo 2^32.
fn barg<H>(L: &mut lua_State<H>, idx: i32) -> LuaResult<u32> {
    // The sum has its lowest bit where the 1 of the number is, so the 32 bits are the lowest ones of its fraction.
    let b = (lua_tonumber(L, idx) + 6755399441055744.0).to_bits() as u32;
    if b == 0 && !lua_isnumber(L, idx) {
        return luaL_typerror(L, idx, "number");
    }
    Ok(b)
}

/// Pushes 32 bits as a signed number.
fn bret<H>(L: &mut lua_State<H>, b: u32) -> LuaResult<i32> {
    lua_pushnumber(L, f64::from(b as i32));
    Ok(1)
}

fn bit_tobit<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let b = barg(L, 1)?;
    bret(L, b)
}

fn bit_bnot<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let b = barg(L, 1)?;
    bret(L, !b)
}

/// Combines all arguments: the first, then from the last to the second.
fn bit_op<H>(L: &mut lua_State<H>, op: fn(u32, u32) -> u32) -> LuaResult<i32> {
    let mut b = barg(L, 1)?;
    for i in (2..=lua_gettop(L)).rev() {
        b = op(b, barg(L, i)?);
    }
    bret(L, b)
}

fn bit_band<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    bit_op(L, |a, b| a & b)
}

fn bit_bor<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    bit_op(L, |a, b| a | b)
}

fn bit_bxor<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    bit_op(L, |a, b| a ^ b)
}

/// Shifts the first argument by the second, modulo 32.
fn bit_sh<H>(L: &mut lua_State<H>, shift: fn(u32, u32) -> u32) -> LuaResult<i32> {
    let b = barg(L, 1)?;
    let n = barg(L, 2)? & 31;
    bret(L, shift(b, n))
}

fn bit_lshift<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    bit_sh(L, |b, n| b << n)
}

fn bit_rshift<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    bit_sh(L, |b, n| b >> n)
}

fn bit_arshift<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    bit_sh(L, |b, n| (b as i32 >> n) as u32)
}

fn bit_rol<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    bit_sh(L, u32::rotate_left)
}

fn bit_ror<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    bit_sh(L, u32::rotate_right)
}

fn bit_bswap<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let b = barg(L, 1)?;
    bret(L, b.swap_bytes())
}

fn bit_tohex<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let b = barg(L, 1)?;
    let n = if lua_isnone(L, 2) { 8 } else { barg(L, 2)? as i32 };
    // A negative number of digits asks for capitals.
    let text = if n < 0 { format!("{b:08X}") } else { format!("{b:08x}") };
    let digits = n.unsigned_abs().min(8) as usize;
    lua_pushlstring(L, &text.as_bytes()[8 - digits..]);
    Ok(1)
}

/// Opens the library.
pub fn luaopen_bit<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let bit_funcs: [luaL_Reg<H>; 12] = [
        ("tobit", bit_tobit),
        ("bnot", bit_bnot),
        ("band", bit_band),
        ("bor", bit_bor),
        ("bxor", bit_bxor),
        ("lshift", bit_lshift),
        ("rshift", bit_rshift),
        ("arshift", bit_arshift),
        ("rol", bit_rol),
        ("ror", bit_ror),
        ("bswap", bit_bswap),
        ("tohex", bit_tohex),
    ];
    luaL_register(L, Some("bit"), &bit_funcs)?;
    Ok(1)
}
