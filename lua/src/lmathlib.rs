//! `lmathlib.c`: the library of mathematics.
//!
//! Of two arguments the second is looked at first, as the C's compilers have it, which shows when both are wrong. Differs: the
//! state of `random` is not the process's but belongs to the library as it was opened.

use std::f64::consts::PI;

use crate::cstd::{RAND_MAX, Rand, frexp, ldexp};
use crate::lapi::*;
use crate::lauxlib::*;
use crate::lstate::{LuaResult, lua_State};

const RADIANS_PER_DEGREE: f64 = PI / 180.0;

macro_rules! unary {
    ($($name:ident $f:expr;)*) => {
        $(fn $name<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
            let x = luaL_checknumber(L, 1)?;
            let f: fn(f64) -> f64 = $f;
            lua_pushnumber(L, f(x));
            Ok(1)
        })*
    };
}

unary! {
    math_abs f64::abs;
    math_sin f64::sin;
    math_sinh f64::sinh;
    math_cos f64::cos;
    math_cosh f64::cosh;
    math_tan f64::tan;
    math_tanh f64::tanh;
    math_asin f64::asin;
    math_acos f64::acos;
    math_atan f64::atan;
    math_ceil f64::ceil;
    math_floor f64::floor;
    math_sqrt f64::sqrt;
    math_log f64::ln;
    math_log10 f64::log10;
    math_exp f64::exp;
    math_deg |x| x / RADIANS_PER_DEGREE;
    math_rad |x| x * RADIANS_PER_DEGREE;
}

fn math_atan2<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let (x, y) = (luaL_checknumber(L, 2)?, luaL_checknumber(L, 1)?);
    lua_pushnumber(L, y.atan2(x));
    Ok(1)
}

fn math_fmod<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let (y, x) = (luaL_checknumber(L, 2)?, luaL_checknumber(L, 1)?);
    lua_pushnumber(L, x % y);
    Ok(1)
}

fn math_modf<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let x = luaL_checknumber(L, 1)?;
    let ip = x.trunc();
    let fp = if x.is_infinite() { 0f64.copysign(x) } else { (x - ip).copysign(x) };
    lua_pushnumber(L, ip);
    lua_pushnumber(L, fp);
    Ok(2)
}

fn math_pow<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let (y, x) = (luaL_checknumber(L, 2)?, luaL_checknumber(L, 1)?);
    lua_pushnumber(L, x.powf(y));
    Ok(1)
}

fn math_frexp<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let (m, e) = frexp(luaL_checknumber(L, 1)?);
    lua_pushnumber(L, m);
    lua_pushinteger(L, e as lua_Integer);
    Ok(2)
}

fn math_ldexp<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let e = luaL_checkint(L, 2)?;
    let x = luaL_checknumber(L, 1)?;
    lua_pushnumber(L, ldexp(x, e));
    Ok(1)
}

fn math_min<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let n = lua_gettop(L);
    let mut dmin = luaL_checknumber(L, 1)?;
    for i in 2..=n {
        let d = luaL_checknumber(L, i)?;
        if d < dmin {
            dmin = d;
        }
    }
    lua_pushnumber(L, dmin);
    Ok(1)
}

fn math_max<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let n = lua_gettop(L);
    let mut dmax = luaL_checknumber(L, 1)?;
    for i in 2..=n {
        let d = luaL_checknumber(L, i)?;
        if d > dmax {
            dmax = d;
        }
    }
    lua_pushnumber(L, dmax);
    Ok(1)
}

/// The results of `math.random` for the number `r`, which is at least 0 and less than 1. A host with a generator of its own
/// puts a function in place of `math.random` that calls this.
pub fn math_random_of<H>(L: &mut lua_State<H>, r: lua_Number) -> LuaResult<i32> {
    match lua_gettop(L) {
        0 => lua_pushnumber(L, r),
        1 => {
            let u = luaL_checkint(L, 1)?;
            luaL_argcheck(L, 1 <= u, 1, "interval is empty")?;
            lua_pushnumber(L, (r * f64::from(u)).floor() + 1.0);
        }
        2 => {
            let l = luaL_checkint(L, 1)?;
            let u = luaL_checkint(L, 2)?;
            luaL_argcheck(L, l <= u, 2, "interval is empty")?;
            let width = u.wrapping_sub(l).wrapping_add(1);
            lua_pushnumber(L, (r * f64::from(width)).floor() + f64::from(l));
        }
        _ => return luaL_error!(L, "wrong number of arguments"),
    }
    Ok(1)
}

/// The generator, which is the upvalue of the two functions that use it.
fn generator<H>(L: &mut lua_State<H>) -> Option<&mut Rand> {
    lua_touserdata(L, lua_upvalueindex(1))
}

fn math_random<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let n = generator(L).map_or(0, Rand::rand);
    math_random_of(L, f64::from(n % RAND_MAX) / f64::from(RAND_MAX))
}

fn math_randomseed<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let seed = luaL_checkint(L, 1)?;
    if let Some(rand) = generator(L) {
        *rand = Rand::srand(seed as u32);
    }
    Ok(0)
}

/// Opens the library of mathematics.
pub fn luaopen_math<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    // As in the C, by the order in which the names come into the table.
    let before: [luaL_Reg<H>; 21] = [
        ("abs", math_abs),
        ("acos", math_acos),
        ("asin", math_asin),
        ("atan2", math_atan2),
        ("atan", math_atan),
        ("ceil", math_ceil),
        ("cosh", math_cosh),
        ("cos", math_cos),
        ("deg", math_deg),
        ("exp", math_exp),
        ("floor", math_floor),
        ("fmod", math_fmod),
        ("frexp", math_frexp),
        ("ldexp", math_ldexp),
        ("log10", math_log10),
        ("log", math_log),
        ("max", math_max),
        ("min", math_min),
        ("modf", math_modf),
        ("pow", math_pow),
        ("rad", math_rad),
    ];
    let random: [luaL_Reg<H>; 2] = [("random", math_random), ("randomseed", math_randomseed)];
    let after: [luaL_Reg<H>; 5] = [
        ("sinh", math_sinh),
        ("sin", math_sin),
        ("sqrt", math_sqrt),
        ("tanh", math_tanh),
        ("tan", math_tan),
    ];
    luaL_register(L, Some("math"), &before)?;
    lua_newuserdata(L, Box::new(Rand::srand(1)), 0);
    luaI_openlib(L, None, &random, 1)?;
    luaL_register(L, None, &after)?;
    for (name, value) in [("pi", PI), ("huge", f64::INFINITY)] {
        lua_pushstring(L, name);
        lua_pushnumber(L, value);
        lua_rawset(L, -3)?;
    }
    // The old name of fmod.
    lua_pushstring(L, "mod");
    lua_pushstring(L, "fmod");
    lua_rawget(L, -3);
    lua_rawset(L, -3)?;
    Ok(1)
}
