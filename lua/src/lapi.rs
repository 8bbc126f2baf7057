//! `lapi.c`: the interface to the host, with the names and the meaning of `lua.h`.
//!
//! Only what can run Lua code takes the host. Strings come out as [`LuaStr`], which holds its bytes, or,
//! by [`lua_tobytes`], as a borrow.

use std::any::Any;

pub use crate::ldebug::{
    LUA_HOOKCALL, LUA_HOOKCOUNT, LUA_HOOKLINE, LUA_HOOKRET, LUA_HOOKTAILRET, LUA_MASKCALL,
    LUA_MASKCOUNT, LUA_MASKLINE, LUA_MASKRET, lua_gethook, lua_gethookcount, lua_gethookmask,
    lua_getinfo, lua_getlocal, lua_getstack, lua_sethook, lua_setlocal,
};
pub use crate::ldo::{lua_resume, lua_yield};
pub use crate::lobject::{
    LUA_TBOOLEAN, LUA_TFUNCTION, LUA_TLIGHTUSERDATA, LUA_TNIL, LUA_TNONE, LUA_TNUMBER, LUA_TSTRING,
    LUA_TTABLE, LUA_TTHREAD, LUA_TUSERDATA, lua_Integer, lua_Number,
};
pub use crate::lstate::{
    LUA_ERRERR, LUA_ERRMEM, LUA_ERRRUN, LUA_ERRSYNTAX, LUA_MINSTACK, LUA_MULTRET, LUA_OK,
    LUA_YIELD, lua_close, lua_newstate,
};
pub use crate::lzio::{ZIO, lua_Reader};

use crate::ldebug::luaG_runerror;
use crate::ldo::{luaD_call, luaD_checkstack, luaD_pcall, luaD_protectedparser};
use crate::lfunc::luaF_newCclosure;
use crate::lgc::{luaC_checkGC, luaC_fullgc, luaC_setenv, luaC_step};
use crate::lmem::luaM_checkmem;
use crate::lobject::*;
use crate::lstate::*;
use crate::lstring::{luaS_new, luaS_newliteral, luaS_newlstr, luaS_newudata};
use crate::ltable::{luaH_new, luaH_newfield, luaH_next, luaH_set};
use crate::ltm::luaT_typenames;
use crate::lvm::{
    luaV_concat, luaV_equalobj, luaV_gettable, luaV_lessthan, luaV_settable, luaV_tonumber,
    luaV_tostring,
};

pub const LUA_REGISTRYINDEX: i32 = -10000;
pub const LUA_ENVIRONINDEX: i32 = -10001;
pub const LUA_GLOBALSINDEX: i32 = -10002;

/// The index of upvalue `i` of a running function of the host.
pub const fn lua_upvalueindex(i: i32) -> i32 {
    LUA_GLOBALSINDEX - i
}

pub const LUA_GCSTOP: i32 = 0;
pub const LUA_GCRESTART: i32 = 1;
pub const LUA_GCCOLLECT: i32 = 2;
pub const LUA_GCCOUNT: i32 = 3;
pub const LUA_GCCOUNTB: i32 = 4;
pub const LUA_GCSTEP: i32 = 5;
pub const LUA_GCSETPAUSE: i32 = 6;
pub const LUA_GCSETSTEPMUL: i32 = 7;

/// The slot of the stack that a real index names.
fn stack_slot<H>(L: &lua_State<H>, idx: i32) -> Option<StkId> {
    if idx > 0 {
        let o = L.th.base + idx as usize - 1;
        (o < L.th.top).then_some(o)
    } else {
        Some(L.th.top - idx.unsigned_abs() as usize)
    }
}

/// The running function of the host, if one runs.
fn curr_func<H>(L: &lua_State<H>) -> Option<CClosureRef> {
    match L.th.stack[L.th.ci[L.th.ci.len() - 1].func] {
        CFunction(c) => Some(c),
        _ => None,
    }
}

/// `index2adr`: the value at an index; `None` is the C's `luaO_nilobject`, no value at all.
#[inline(always)]
pub fn index2adr<H>(L: &lua_State<H>, idx: i32) -> Option<TValue> {
    if idx > 0 {
        let o = L.th.base + idx as usize - 1;
        return if o < L.th.top { Some(L.th.stack[o]) } else { None };
    }
    if idx > LUA_REGISTRYINDEX {
        return Some(L.th.stack[L.th.top - idx.unsigned_abs() as usize]);
    }
    if idx == LUA_GLOBALSINDEX {
        return Some(Tab(L.th.l_gt));
    }
    pseudo_index(L, idx)
}

#[inline(never)]
fn pseudo_index<H>(L: &lua_State<H>, idx: i32) -> Option<TValue> {
    match idx {
        LUA_REGISTRYINDEX => Some(Tab(L.g.l_registry)),
        LUA_ENVIRONINDEX => Some(Tab(getcurrenv(L))),
        _ => {
            let c = L.g.cclosures.get(curr_func(L)?).as_ref()?;
            c.upvalue.get((LUA_GLOBALSINDEX - idx) as usize - 1).copied()
        }
    }
}

#[inline(always)]
fn value_at<H>(L: &lua_State<H>, idx: i32) -> TValue {
    index2adr(L, idx).unwrap_or(Nil)
}

/// The table at an index. That it is one, is the caller's promise, as in the C.
#[inline(always)]
fn table_at<H>(L: &lua_State<H>, idx: i32) -> TableRef {
    match value_at(L, idx) {
        Tab(t) => t,
        _ => no_table(idx),
    }
}

#[cold]
#[inline(never)]
fn no_table(idx: i32) -> ! {
    panic!("a table is expected at index {idx}")
}

fn getcurrenv<H>(L: &lua_State<H>) -> TableRef {
    match L.th.stack[L.th.ci[L.th.ci.len() - 1].func] {
        CFunction(c) => match L.g.cclosures.get(c) {
            Some(c) => c.env,
            None => L.th.l_gt,
        },
        LFunction(f) => match L.g.lclosures.get(f) {
            Some(f) => f.env.get(),
            None => L.th.l_gt,
        },
        _ => L.th.l_gt,
    }
}

/// `luaA_pushobject`: pushes a value.
#[inline(always)]
pub fn luaA_pushobject<H>(L: &mut lua_State<H>, o: TValue) {
    if L.th.top >= L.th.stack.len() {
        luaD_checkstack(L, LUA_MINSTACK);
    }
    let top = L.th.top;
    L.th.stack[top] = o;
    L.th.top += 1;
}

/// Makes room for `size` more values; false if that is more than a function may have.
#[inline]
pub fn lua_checkstack<H>(L: &mut lua_State<H>, size: i32) -> bool {
    if size > LUAI_MAXCSTACK as i32
        || (L.th.top - L.th.base) as i64 + size as i64 > LUAI_MAXCSTACK as i64
    {
        return false;
    }
    if size > 0 {
        luaD_checkstack(L, size as usize);
        let top = L.th.top + size as usize;
        let ci = L.th.ci.last_mut().expect("a frame");
        if ci.top < top {
            ci.top = top;
        }
    }
    true
}

/// `lua_xmove(L, to, n)`: moves the `n` topmost values to a thread that does not run.
pub fn lua_xmove_to<H>(L: &mut lua_State<H>, to: ThreadRef, n: i32) {
    if to == L.thread {
        return;
    }
    L.th.top -= n as usize;
    for i in 0..n as usize {
        let v = L.th.stack[L.th.top + i];
        let t = L.g.threads.get_mut(to).as_mut().expect("a thread");
        L.g.totalbytes += t.push(v);
    }
}

/// `lua_xmove(from, L, n)`: moves the `n` topmost values of a thread that does not run to the running one.
pub fn lua_xmove_from<H>(L: &mut lua_State<H>, from: ThreadRef, n: i32) {
    if from == L.thread {
        return;
    }
    let t = L.g.threads.get_mut(from).as_mut().expect("a thread");
    t.top -= n as usize;
    let start = t.top;
    for i in 0..n as usize {
        let v = L.g.threads.get(from).as_ref().expect("a thread").stack[start + i];
        luaA_pushobject(L, v);
    }
}

/// `lua_setlevel(L, to)`: `to` counts its calls of the host from where the running thread stands.
pub fn lua_setlevel<H>(L: &mut lua_State<H>, to: ThreadRef) {
    let n = L.th.nCcalls;
    if let Some(t) = L.g.threads.get_mut(to) {
        t.nCcalls = n;
    }
}

/// `lua_status` of a thread.
pub fn lua_status<H>(L: &lua_State<H>, co: ThreadRef) -> i32 {
    if co == L.thread {
        return L.th.status as i32;
    }
    L.g.threads.get(co).as_ref().expect("a thread").status as i32
}

/// `lua_gettop` of a thread.
pub fn lua_thread_gettop<H>(L: &lua_State<H>, co: ThreadRef) -> i32 {
    if co == L.thread {
        return lua_gettop(L);
    }
    let t = L.g.threads.get(co).as_ref().expect("a thread");
    (t.top - t.base) as i32
}

/// Has a thread more frames than its base? (`lua_getstack(co, 0, &ar) > 0`)
pub fn lua_thread_active<H>(L: &lua_State<H>, co: ThreadRef) -> bool {
    if co == L.thread {
        return L.th.ci.len() > 1;
    }
    L.g.threads.get(co).as_ref().expect("a thread").ci.len() > 1
}

/// `lua_checkstack` of a thread that does not run.
pub fn lua_thread_checkstack<H>(L: &mut lua_State<H>, co: ThreadRef, n: i32) -> bool {
    if co == L.thread {
        return lua_checkstack(L, n);
    }
    let t = L.g.threads.get_mut(co).as_mut().expect("a thread");
    if n > LUAI_MAXCSTACK as i32 || (t.top - t.base) as i64 + n as i64 > LUAI_MAXCSTACK as i64 {
        return false;
    }
    true
}

/// Pushes a new thread.
pub fn lua_newthread<H>(L: &mut lua_State<H>) -> ThreadRef {
    luaC_checkGC(L);
    let t = luaE_newthread(L);
    luaA_pushobject(L, Thread(t));
    t
}

#[inline]
pub fn lua_gettop<H>(L: &lua_State<H>) -> i32 {
    (L.th.top - L.th.base) as i32
}

#[inline]
pub fn lua_settop<H>(L: &mut lua_State<H>, idx: i32) {
    if idx >= 0 {
        let top = L.th.base + idx as usize;
        if top > L.th.top {
            let more = top - L.th.top;
            luaD_checkstack(L, more);
            let from = L.th.top;
            L.th.stack[from..top].fill(Nil);
        }
        L.th.top = top;
    } else {
        L.th.top -= (-(idx + 1)) as usize;
    }
}

/// Pops `n` values.
#[inline]
pub fn lua_pop<H>(L: &mut lua_State<H>, n: i32) {
    lua_settop(L, -n - 1);
}

pub fn lua_remove<H>(L: &mut lua_State<H>, idx: i32) {
    if let Some(p) = stack_slot(L, idx) {
        L.th.stack.copy_within(p + 1..L.th.top, p);
        L.th.top -= 1;
    }
}

pub fn lua_insert<H>(L: &mut lua_State<H>, idx: i32) {
    if let Some(p) = stack_slot(L, idx) {
        let v = L.th.stack[L.th.top - 1];
        L.th.stack.copy_within(p..L.th.top - 1, p + 1);
        L.th.stack[p] = v;
    }
}

/// Pops a value and puts it at an index. Only the environment can be refused: when no function runs.
pub fn lua_replace<H>(L: &mut lua_State<H>, idx: i32) -> LuaResult<()> {
    let v = L.th.stack[L.th.top - 1];
    match idx {
        LUA_ENVIRONINDEX => {
            let Some(c) = curr_func(L) else {
                return luaG_runerror(L, b"no calling environment");
            };
            if let (Some(c), Tab(t)) = (L.g.cclosures.get_mut(c), v) {
                c.env = t;
            }
        }
        LUA_GLOBALSINDEX => {
            if let Tab(t) = v {
                L.th.l_gt = t;
            }
        }
        LUA_REGISTRYINDEX => {}
        _ if idx < LUA_GLOBALSINDEX => {
            if let Some(c) = curr_func(L)
                && let Some(c) = L.g.cclosures.get_mut(c)
                && let Some(o) = c.upvalue.get_mut((LUA_GLOBALSINDEX - idx) as usize - 1)
            {
                *o = v;
            }
        }
        _ => {
            if let Some(p) = stack_slot(L, idx) {
                L.th.stack[p] = v;
            }
        }
    }
    L.th.top -= 1;
    Ok(())
}

pub fn lua_pushvalue<H>(L: &mut lua_State<H>, idx: i32) {
    let v = value_at(L, idx);
    luaA_pushobject(L, v);
}

#[inline]
pub fn lua_type<H>(L: &lua_State<H>, idx: i32) -> i32 {
    index2adr(L, idx).map_or(LUA_TNONE, TValue::ttype)
}

/// The name of a type.
pub fn lua_typename(t: i32) -> &'static str {
    if t == LUA_TNONE { "no value" } else { luaT_typenames[t as usize] }
}

pub fn lua_isnil<H>(L: &lua_State<H>, idx: i32) -> bool {
    lua_type(L, idx) == LUA_TNIL
}

pub fn lua_isnone<H>(L: &lua_State<H>, idx: i32) -> bool {
    lua_type(L, idx) == LUA_TNONE
}

pub fn lua_isnoneornil<H>(L: &lua_State<H>, idx: i32) -> bool {
    lua_type(L, idx) <= LUA_TNIL
}

pub fn lua_isboolean<H>(L: &lua_State<H>, idx: i32) -> bool {
    lua_type(L, idx) == LUA_TBOOLEAN
}

pub fn lua_istable<H>(L: &lua_State<H>, idx: i32) -> bool {
    lua_type(L, idx) == LUA_TTABLE
}

pub fn lua_isfunction<H>(L: &lua_State<H>, idx: i32) -> bool {
    lua_type(L, idx) == LUA_TFUNCTION
}

pub fn lua_isthread<H>(L: &lua_State<H>, idx: i32) -> bool {
    lua_type(L, idx) == LUA_TTHREAD
}

pub fn lua_iscfunction<H>(L: &lua_State<H>, idx: i32) -> bool {
    matches!(index2adr(L, idx), Some(CFunction(_)))
}

/// Is it a number, or a string that is one?
pub fn lua_isnumber<H>(L: &lua_State<H>, idx: i32) -> bool {
    luaV_tonumber(L, value_at(L, idx)).is_some()
}

/// Is it a string or a number?
pub fn lua_isstring<H>(L: &lua_State<H>, idx: i32) -> bool {
    matches!(index2adr(L, idx), Some(Str(_) | Number(_)))
}

pub fn lua_isuserdata<H>(L: &lua_State<H>, idx: i32) -> bool {
    matches!(index2adr(L, idx), Some(Userdata(_) | LightUserdata(_)))
}

pub fn lua_rawequal<H>(L: &lua_State<H>, index1: i32, index2: i32) -> bool {
    match (index2adr(L, index1), index2adr(L, index2)) {
        (Some(a), Some(b)) => luaO_rawequalObj(a, b),
        _ => false,
    }
}

pub fn lua_equal<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    index1: i32,
    index2: i32,
) -> LuaResult<bool> {
    match (index2adr(L, index1), index2adr(L, index2)) {
        (Some(a), Some(b)) => luaV_equalobj(L, host, a, b),
        _ => Ok(false),
    }
}

pub fn lua_lessthan<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    index1: i32,
    index2: i32,
) -> LuaResult<bool> {
    match (index2adr(L, index1), index2adr(L, index2)) {
        (Some(a), Some(b)) => luaV_lessthan(L, host, a, b),
        _ => Ok(false),
    }
}

/// The number at an index, or that a string there is; 0 if neither.
#[inline]
pub fn lua_tonumber<H>(L: &lua_State<H>, idx: i32) -> lua_Number {
    match value_at(L, idx) {
        Number(n) => n,
        v => luaV_tonumber(L, v).unwrap_or(0.0),
    }
}

/// `lua_number2integer`: cuts the fraction off; what does not fit is the smallest integer, as on x86-64.
pub fn lua_number2integer(n: lua_Number) -> lua_Integer {
    const LIMIT: f64 = 9223372036854775808.0;
    if (-LIMIT..LIMIT).contains(&n) { n as lua_Integer } else { lua_Integer::MIN }
}

pub fn lua_tointeger<H>(L: &lua_State<H>, idx: i32) -> lua_Integer {
    lua_number2integer(lua_tonumber(L, idx))
}

pub fn lua_toboolean<H>(L: &lua_State<H>, idx: i32) -> bool {
    !value_at(L, idx).is_false()
}

/// Writes over the value at an index (used where a number becomes a string in its place).
fn set_at<H>(L: &mut lua_State<H>, idx: i32, v: TValue) {
    if idx > LUA_REGISTRYINDEX {
        if let Some(p) = stack_slot(L, idx) {
            L.th.stack[p] = v;
        }
    } else if idx < LUA_GLOBALSINDEX
        && let Some(c) = curr_func(L)
        && let Some(c) = L.g.cclosures.get_mut(c)
        && let Some(o) = c.upvalue.get_mut((LUA_GLOBALSINDEX - idx) as usize - 1)
    {
        *o = v;
    }
}

/// The string at an index. A number there becomes a string, in its place, too.
pub fn lua_tolstring<H>(L: &mut lua_State<H>, idx: i32) -> Option<LuaStr> {
    match value_at(L, idx) {
        Str(s) => Some(L.g.strings.get(s).data.clone()),
        v => {
            let s = luaV_tostring(L, v)?;
            set_at(L, idx, Str(s));
            let held = L.g.strings.get(s).data.clone();
            luaC_checkGC(L);
            Some(held)
        }
    }
}

/// The bytes of a string at an index; `None` for anything else, numbers included.
#[inline]
pub fn lua_tobytes<H>(L: &lua_State<H>, idx: i32) -> Option<&[u8]> {
    match value_at(L, idx) {
        Str(s) => Some(&L.g.strings.get(s).data),
        _ => None,
    }
}

/// The size of a string, table or userdata. A number becomes a string in its place.
pub fn lua_objlen<H>(L: &mut lua_State<H>, idx: i32) -> usize {
    match value_at(L, idx) {
        Str(s) => L.g.strings.get(s).data.len(),
        Userdata(u) => L.g.udata.get(u).as_ref().map_or(0, |u| u.len),
        Tab(t) => L.g.tables.get(t).getn() as usize,
        v @ Number(_) => match luaV_tostring(L, v) {
            Some(s) => {
                set_at(L, idx, Str(s));
                L.g.strings.get(s).data.len()
            }
            None => 0,
        },
        _ => 0,
    }
}

pub fn lua_tocfunction<H>(L: &lua_State<H>, idx: i32) -> Option<lua_CFunction<H>> {
    match value_at(L, idx) {
        CFunction(c) => L.g.cclosures.get(c).as_ref().map(|c| c.f),
        _ => None,
    }
}

/// What the host keeps in a full userdata, if it is a `T`.
pub fn lua_touserdata<H, T: Any>(L: &mut lua_State<H>, idx: i32) -> Option<&mut T> {
    match value_at(L, idx) {
        Userdata(u) => L.g.udata.get_mut(u).as_mut()?.data.downcast_mut(),
        _ => None,
    }
}

pub fn lua_tolightuserdata<H>(L: &lua_State<H>, idx: i32) -> Option<usize> {
    match value_at(L, idx) {
        LightUserdata(p) => Some(p),
        _ => None,
    }
}

pub fn lua_islightuserdata<H>(L: &lua_State<H>, idx: i32) -> bool {
    lua_tolightuserdata(L, idx).is_some()
}

pub fn lua_tothread<H>(L: &lua_State<H>, idx: i32) -> Option<ThreadRef> {
    match value_at(L, idx) {
        Thread(t) => Some(t),
        _ => None,
    }
}

/// A number that no other object of the state has, where the C has its address.
pub fn lua_topointer<H>(L: &lua_State<H>, idx: i32) -> usize {
    let (kind, i) = match value_at(L, idx) {
        Tab(t) => (0, t.idx()),
        LFunction(f) => (1, f.idx()),
        CFunction(f) => (2, f.idx()),
        Thread(t) => (3, t.idx()),
        Userdata(u) => (4, u.idx()),
        LightUserdata(p) => return p,
        _ => return 0,
    };
    0x5500_0000_0000 + (i as usize * 8 + kind) * 16
}

pub fn lua_pushnil<H>(L: &mut lua_State<H>) {
    luaA_pushobject(L, Nil);
}

pub fn lua_pushnumber<H>(L: &mut lua_State<H>, n: lua_Number) {
    luaA_pushobject(L, Number(n));
}

pub fn lua_pushinteger<H>(L: &mut lua_State<H>, n: lua_Integer) {
    luaA_pushobject(L, Number(n as f64));
}

pub fn lua_pushlstring<H>(L: &mut lua_State<H>, s: &[u8]) {
    luaC_checkGC(L);
    let s = luaS_newlstr(L, s);
    luaA_pushobject(L, Str(s));
}

pub fn lua_pushstring<H>(L: &mut lua_State<H>, s: &str) {
    lua_pushlstring(L, s.as_bytes());
}

/// Pushes a string of the program, which is never collected: faster than [`lua_pushstring`].
#[inline(always)]
pub fn lua_pushliteral<H>(L: &mut lua_State<H>, s: &'static str) {
    let s = luaS_newliteral(L, s);
    luaA_pushobject(L, Str(s));
}

/// Pushes a string that is held already; a long one is not copied.
pub fn lua_pushluastr<H>(L: &mut lua_State<H>, s: &LuaStr) {
    luaC_checkGC(L);
    let s = crate::lstring::luaS_newstr(L, s);
    luaA_pushobject(L, Str(s));
}

/// Pushes a function of the host with the `n` topmost values, which it pops, as upvalues.
pub fn lua_pushcclosure<H>(L: &mut lua_State<H>, f: lua_CFunction<H>, n: i32) {
    luaC_checkGC(L);
    let env = getcurrenv(L);
    let from = L.th.top - n as usize;
    let upvalue = L.th.stack[from..L.th.top].into();
    let c = luaF_newCclosure(L, f, upvalue, env);
    L.th.top = from;
    luaA_pushobject(L, CFunction(c));
}

pub fn lua_pushcfunction<H>(L: &mut lua_State<H>, f: lua_CFunction<H>) {
    lua_pushcclosure(L, f, 0);
}

pub fn lua_pushboolean<H>(L: &mut lua_State<H>, b: bool) {
    luaA_pushobject(L, Boolean(b));
}

pub fn lua_pushlightuserdata<H>(L: &mut lua_State<H>, p: usize) {
    luaA_pushobject(L, LightUserdata(p));
}

/// Pushes the running thread; true if it is the main one.
pub fn lua_pushthread<H>(L: &mut lua_State<H>) -> bool {
    luaA_pushobject(L, Thread(L.thread));
    L.g.mainthread == L.thread
}

/// Replaces the key on the top by the value the table at `idx` has for it.
pub fn lua_gettable<H>(L: &mut lua_State<H>, host: &mut H, idx: i32) -> LuaResult<()> {
    let (t, key) = (value_at(L, idx), L.th.stack[L.th.top - 1]);
    let v = luaV_gettable(L, host, t, key)?;
    let top = L.th.top;
    L.th.stack[top - 1] = v;
    Ok(())
}

pub fn lua_getfield<H>(L: &mut lua_State<H>, host: &mut H, idx: i32, k: &str) -> LuaResult<()> {
    let t = value_at(L, idx);
    let key = Str(luaS_new(L, k));
    // The key has to be seen by a collection in a metamethod.
    luaA_pushobject(L, key);
    let v = luaV_gettable(L, host, t, key)?;
    let top = L.th.top;
    L.th.stack[top - 1] = v;
    Ok(())
}

pub fn lua_getglobal<H>(L: &mut lua_State<H>, host: &mut H, k: &str) -> LuaResult<()> {
    lua_getfield(L, host, LUA_GLOBALSINDEX, k)
}

pub fn lua_rawget<H>(L: &mut lua_State<H>, idx: i32) {
    let t = table_at(L, idx);
    let top = L.th.top;
    L.th.stack[top - 1] = L.g.tables.get(t).get(L.th.stack[top - 1]);
}

/// Pushes the field `key` of the table at `idx`, without metamethods.
#[inline]
pub fn lua_rawgetliteral<H>(L: &mut lua_State<H>, idx: i32, key: &'static str) {
    let t = table_at(L, idx);
    let key = luaS_newliteral(L, key);
    let v = L.g.tables.get(t).getstr(key);
    luaA_pushobject(L, v);
}

pub fn lua_rawgeti<H>(L: &mut lua_State<H>, idx: i32, n: i32) {
    let t = table_at(L, idx);
    let v = L.g.tables.get(t).getnum(n);
    luaA_pushobject(L, v);
}

pub fn lua_createtable<H>(L: &mut lua_State<H>, narray: i32, nrec: i32) {
    luaC_checkGC(L);
    let t = luaH_new(L, narray.max(0) as usize, nrec.max(0) as usize);
    luaA_pushobject(L, Tab(t));
}

/// Pushes a table with these strings as its items. It is as large as it would be if they had been set one
/// after the other, so nobody can tell it from one that has grown.
pub fn lua_newstrings<'a, H>(
    L: &mut lua_State<H>,
    strings: impl ExactSizeIterator<Item = &'a [u8]>,
) {
    luaC_checkGC(L);
    let n = strings.len();
    let t = luaH_new(L, if n == 0 { 0 } else { n.next_power_of_two() }, 0);
    luaA_pushobject(L, Tab(t));
    for (i, s) in strings.enumerate() {
        luaC_checkGC(L);
        let s = luaS_newlstr(L, s);
        L.g.tables.get_mut(t).array[i] = Str(s);
    }
}

/// Pops a value and pushes a table with it as its only field, as `lua_newtable` and `lua_rawset` make it.
pub fn lua_newfield<H>(L: &mut lua_State<H>, key: &'static str) -> LuaResult<()> {
    luaC_checkGC(L);
    let key = Str(luaS_newliteral(L, key));
    let slot = L.th.top - 1;
    let t = luaH_newfield(L, key, L.th.stack[slot]);
    L.th.stack[slot] = Tab(t);
    luaM_checkmem(L)
}

pub fn lua_newtable<H>(L: &mut lua_State<H>) {
    lua_createtable(L, 0, 0);
}

/// Pushes the metatable of a value; false, and nothing pushed, if it has none.
pub fn lua_getmetatable<H>(L: &mut lua_State<H>, objindex: i32) -> bool {
    let o = value_at(L, objindex);
    match crate::ltm::metatable_of(L, o) {
        Some(mt) => {
            luaA_pushobject(L, Tab(mt));
            true
        }
        None => false,
    }
}

pub fn lua_getfenv<H>(L: &mut lua_State<H>, idx: i32) {
    let env = match value_at(L, idx) {
        LFunction(f) => L.g.lclosures.get(f).as_ref().map(|f| f.env.get()),
        CFunction(f) => L.g.cclosures.get(f).as_ref().map(|f| f.env),
        Userdata(u) => L.g.udata.get(u).as_ref().map(|u| u.env),
        Thread(t) if t == L.thread => Some(L.th.l_gt),
        Thread(t) => L.g.threads.get(t).as_ref().map(|t| t.l_gt),
        _ => None,
    };
    luaA_pushobject(L, env.map_or(Nil, Tab));
}

/// Sets the key below the top to the value on the top, in the table at `idx`, and pops both.
pub fn lua_settable<H>(L: &mut lua_State<H>, host: &mut H, idx: i32) -> LuaResult<()> {
    let t = value_at(L, idx);
    luaV_settable(L, host, t, L.th.stack[L.th.top - 2], L.th.stack[L.th.top - 1])?;
    L.th.top -= 2;
    Ok(())
}

pub fn lua_setfield<H>(L: &mut lua_State<H>, host: &mut H, idx: i32, k: &str) -> LuaResult<()> {
    let t = value_at(L, idx);
    let key = Str(luaS_new(L, k));
    let v = L.th.stack[L.th.top - 1];
    luaA_pushobject(L, key);
    luaV_settable(L, host, t, key, v)?;
    L.th.top -= 2;
    Ok(())
}

pub fn lua_setglobal<H>(L: &mut lua_State<H>, host: &mut H, k: &str) -> LuaResult<()> {
    lua_setfield(L, host, LUA_GLOBALSINDEX, k)
}

/// What everything that writes to a readonly table raises.
pub const READONLY: &[u8] = b"Attempt to modify a readonly table";

pub fn lua_rawset<H>(L: &mut lua_State<H>, idx: i32) -> LuaResult<()> {
    let t = table_at(L, idx);
    let (key, val) = (L.th.stack[L.th.top - 2], L.th.stack[L.th.top - 1]);
    let h = L.g.tables.get_mut(t);
    if h.readonly {
        return luaG_runerror(L, READONLY);
    }
    if let Str(s) = key
        && let Some(slot) = h.getstr_mut(s)
    {
        *slot = val;
        h.flags = 0;
    } else {
        luaH_set(L, t, key, val)?;
    }
    L.th.top -= 2;
    Ok(())
}

/// Pops a value and makes it a global variable, even where scripts may not write to the table of these.
pub fn lua_rawsetglobal<H>(L: &mut lua_State<H>, name: &'static str) -> LuaResult<()> {
    let key = luaS_newliteral(L, name);
    let t = L.th.l_gt;
    L.th.top -= 1;
    let v = L.th.stack[L.th.top];
    let h = L.g.tables.get_mut(t);
    match h.getstr_mut(key) {
        Some(slot) => *slot = v,
        None => return luaH_set(L, t, Str(key), v),
    }
    // The absence of a metamethod that had this name is no longer known.
    h.flags = 0;
    Ok(())
}

pub fn lua_rawseti<H>(L: &mut lua_State<H>, idx: i32, n: i32) -> LuaResult<()> {
    let t = table_at(L, idx);
    if L.g.tables.get(t).readonly {
        return luaG_runerror(L, READONLY);
    }
    let v = L.th.stack[L.th.top - 1];
    L.th.top -= 1;
    if let Some(slot) = L.g.tables.get_mut(t).getarray_mut(n as f64) {
        *slot = v;
        return Ok(());
    }
    luaH_set(L, t, Number(n as f64), v)
}

/// Pops a table, or nil, and makes it the metatable of the value at `objindex`.
pub fn lua_setmetatable<H>(L: &mut lua_State<H>, objindex: i32) -> LuaResult<()> {
    let obj = value_at(L, objindex);
    let mt = match L.th.stack[L.th.top - 1] {
        Tab(t) => Some(t),
        _ => None,
    };
    match obj {
        Tab(t) => {
            let t = L.g.tables.get_mut(t);
            if t.readonly {
                return luaG_runerror(L, READONLY);
            }
            t.metatable = mt;
        }
        Userdata(u) => {
            if let Some(u) = L.g.udata.get_mut(u) {
                u.metatable = mt;
            }
        }
        _ => L.g.mt[obj.ttype() as usize] = mt,
    }
    L.th.top -= 1;
    Ok(())
}

/// Pops a table and makes it the environment of the value at `idx`; false if that cannot have one.
pub fn lua_setfenv<H>(L: &mut lua_State<H>, idx: i32) -> bool {
    let o = value_at(L, idx);
    L.th.top -= 1;
    let Tab(env) = L.th.stack[L.th.top] else { return false };
    match o {
        LFunction(f) => luaC_setenv(L, f, env),
        CFunction(f) => {
            if let Some(f) = L.g.cclosures.get_mut(f) {
                f.env = env;
            }
        }
        Userdata(u) => {
            if let Some(u) = L.g.udata.get_mut(u) {
                u.env = env;
            }
        }
        Thread(t) if t == L.thread => L.th.l_gt = env,
        Thread(t) => {
            if let Some(t) = L.g.threads.get_mut(t) {
                t.l_gt = env;
            }
        }
        _ => return false,
    }
    true
}

fn adjustresults<H>(L: &mut lua_State<H>, nres: i32) {
    let top = L.th.top;
    let ci = L.th.ci.last_mut().expect("a frame");
    if nres == LUA_MULTRET && top >= ci.top {
        ci.top = top;
    }
}

/// Calls the function below the `nargs` topmost values with them.
pub fn lua_call<H>(L: &mut lua_State<H>, host: &mut H, nargs: i32, nresults: i32) -> LuaResult<()> {
    let func = L.th.top - (nargs as usize + 1);
    luaD_call(L, host, func, nresults)?;
    adjustresults(L, nresults);
    Ok(())
}

/// `lua_call` that catches errors: `LUA_OK`, or a `LUA_ERR` constant with the error value on the top.
/// `errfunc` is the index of an error handler, or 0.
pub fn lua_pcall<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    nargs: i32,
    nresults: i32,
    errfunc: i32,
) -> i32 {
    let ef = if errfunc == 0 { 0 } else { stack_slot(L, errfunc).unwrap_or(0) };
    let func = L.th.top - (nargs as usize + 1);
    let status = luaD_pcall(L, host, |L, host| luaD_call(L, host, func, nresults), func, ef);
    adjustresults(L, nresults);
    status
}

/// Compiles a chunk and pushes it as a function: `LUA_OK`, or a `LUA_ERR` constant with the error value.
pub fn lua_load<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    z: &mut ZIO<'_, H>,
    chunkname: &[u8],
) -> i32 {
    luaD_protectedparser(L, host, z, chunkname)
}

/// `lua_gc`. It can run finalizers, hence the host, and what they raise is raised.
///
/// `LUA_GCSTEP`: the C's collector is incremental, ours is not. The work of the steps is added up, and when
/// it would have been a whole cycle, there is one.
pub fn lua_gc<H>(L: &mut lua_State<H>, host: &mut H, what: i32, data: i32) -> LuaResult<i32> {
    match what {
        LUA_GCSTOP => L.g.GCthreshold = usize::MAX,
        LUA_GCRESTART => L.g.GCthreshold = L.g.totalbytes,
        LUA_GCCOLLECT => luaC_fullgc(L, host)?,
        LUA_GCCOUNT => return Ok((L.g.totalbytes >> 10) as i32),
        LUA_GCCOUNTB => return Ok((L.g.totalbytes & 0x3ff) as i32),
        LUA_GCSTEP => {
            return luaC_step(L, host, (data.max(0) as usize) << 10, true).map(i32::from);
        }
        LUA_GCSETPAUSE => return Ok(std::mem::replace(&mut L.g.gcpause, data)),
        LUA_GCSETSTEPMUL => return Ok(std::mem::replace(&mut L.g.gcstepmul, data)),
        _ => return Ok(-1),
    }
    Ok(0)
}

/// The bytes the state holds by its own count.
pub fn lua_gccount<H>(L: &lua_State<H>) -> usize {
    L.g.totalbytes
}

/// Lets a state hold at most `bytes`; beyond that a script ends with "not enough memory".
pub fn lua_setmemorylimit<H>(L: &mut lua_State<H>, bytes: usize) {
    L.g.memlimit = bytes;
}

/// Collects at every point where a collection may be: for tests.
pub fn lua_setgcstress<H>(L: &mut lua_State<H>, on: bool) {
    L.g.gcstress = on;
    L.g.GCthreshold = if on { 0 } else { L.g.totalbytes };
}

/// Raises the value on the top.
pub fn lua_error<H, T>(L: &mut lua_State<H>) -> LuaResult<T> {
    L.th.top -= 1;
    L.errorvalue = L.th.stack[L.th.top];
    Err(LuaError(LUA_ERRRUN as u8))
}

/// Pops a key and pushes the next pair of the table at `idx`; false, and nothing pushed, at the end.
pub fn lua_next<H>(L: &mut lua_State<H>, idx: i32) -> LuaResult<bool> {
    let t = table_at(L, idx);
    let top = L.th.top;
    match luaH_next(L, t, L.th.stack[top - 1])? {
        Some((k, v)) => {
            L.th.stack[top - 1] = k;
            luaA_pushobject(L, v);
            Ok(true)
        }
        None => {
            L.th.top -= 1;
            Ok(false)
        }
    }
}

/// Replaces the `n` topmost values by their concatenation.
pub fn lua_concat<H>(L: &mut lua_State<H>, host: &mut H, n: i32) -> LuaResult<()> {
    if n >= 2 {
        luaC_checkGC(L);
        let last = L.th.top - L.th.base - 1;
        luaV_concat(L, host, n as usize, last)?;
        L.th.top -= n as usize - 1;
    } else if n == 0 {
        let s = luaS_newlstr(L, b"");
        luaA_pushobject(L, Str(s));
    }
    Ok(())
}

/// Pushes a full userdata that holds `data`; `size` is what `lua_objlen` says.
pub fn lua_newuserdata<H>(L: &mut lua_State<H>, data: Box<dyn Any>, size: usize) {
    luaC_checkGC(L);
    let env = getcurrenv(L);
    let u = luaS_newudata(L, data, size, env);
    luaA_pushobject(L, Userdata(u));
}

/// Pushes upvalue `n` of the function at `funcindex` and tells its name ("" for a function of the host).
pub fn lua_getupvalue<H>(L: &mut lua_State<H>, funcindex: i32, n: i32) -> Option<LuaStr> {
    let i = (n as usize).wrapping_sub(1);
    match value_at(L, funcindex) {
        CFunction(c) => {
            let v = *L.g.cclosures.get(c).as_ref()?.upvalue.get(i)?;
            luaA_pushobject(L, v);
            Some(LuaStr::default())
        }
        LFunction(f) => {
            let f = L.g.lclosures.get(f).clone()?;
            let name = L.g.strings.get(*f.p.upvalues.get(i)?).data.clone();
            let v = crate::lfunc::upval_get(L, *f.upvals.get(i)?);
            luaA_pushobject(L, v);
            Some(name)
        }
        _ => None,
    }
}

/// Pops a value into upvalue `n` of the function at `funcindex`; nothing is popped if there is none.
pub fn lua_setupvalue<H>(L: &mut lua_State<H>, funcindex: i32, n: i32) -> Option<LuaStr> {
    let i = (n as usize).wrapping_sub(1);
    let v = L.th.stack[L.th.top - 1];
    match value_at(L, funcindex) {
        CFunction(c) => {
            *L.g.cclosures.get_mut(c).as_mut()?.upvalue.get_mut(i)? = v;
            L.th.top -= 1;
            Some(LuaStr::default())
        }
        LFunction(f) => {
            let f = L.g.lclosures.get(f).clone()?;
            let name = L.g.strings.get(*f.p.upvalues.get(i)?).data.clone();
            crate::lfunc::upval_set(L, *f.upvals.get(i)?, v);
            L.th.top -= 1;
            Some(name)
        }
        _ => None,
    }
}

/// Makes the table at `objindex` readonly, or writable again.
pub fn lua_enablereadonlytable<H>(L: &mut lua_State<H>, objindex: i32, enabled: bool) {
    let t = table_at(L, objindex);
    L.g.tables.get_mut(t).readonly = enabled;
}

pub fn lua_isreadonlytable<H>(L: &lua_State<H>, objindex: i32) -> bool {
    let t = table_at(L, objindex);
    L.g.tables.get(t).readonly
}

/// A function that is never collected, of the state that [`lua_fixfunction`] was called with.
#[derive(Clone, Copy, Debug)]
pub struct FixedFunction(LClosureRef);

/// The function at `idx`, its prototypes and constants are never collected: a cached script, which costs a
/// collection next to nothing from now on. What it refers to by its environment is still looked at.
/// `None` if that is no chunk, but a function with upvalues, or no Lua function.
pub fn lua_fixfunction<H>(L: &mut lua_State<H>, idx: i32) -> Option<FixedFunction> {
    let LFunction(f) = value_at(L, idx) else { return None };
    crate::lgc::luaC_fix(L, f).then_some(FixedFunction(f))
}

/// Pushes a function that is never collected.
#[inline]
pub fn lua_pushfixed<H>(L: &mut lua_State<H>, f: FixedFunction) {
    luaA_pushobject(L, LFunction(f.0));
}
