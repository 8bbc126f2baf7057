//! `ldo.c`: the stack and the frames, calls, errors, coroutines.
//!
//! Differs: an error is an `Err` that travels up to [`luaD_pcall`] or [`lua_resume`]. The frames stay as they
//! were when it was raised until it is caught, so the error handler runs there and sees them. A yield is an
//! `Err`, too, that only `lua_resume` stops.

use std::rc::Rc;

use crate::ldebug::{
    LUA_HOOKCALL, LUA_HOOKRET, LUA_HOOKTAILRET, LUA_MASKCALL, LUA_MASKRET, luaG_runerror,
    luaG_typeerror,
};
use crate::lfunc::{luaF_close, luaF_newLclosure, luaF_newupval};
use crate::lgc::{luaC_checkGC, luaC_checkGC_host, luaC_linkproto};
use crate::lobject::*;
use crate::lparser::luaY_parser;
use crate::lstate::*;
use crate::lstring::luaS_new;
use crate::ltable::{luaH_new, luaH_set};
use crate::ltm::{TM_CALL, luaT_gettmbyobj};
use crate::lvm::{frame_closure, luaV_execute};
use crate::lzio::ZIO;

/// `luaD_throw`: an error whose value, if it has one, is in `L.errorvalue` already.
#[cold]
pub fn luaD_throw<H, T>(L: &mut lua_State<H>, errcode: i32) -> LuaResult<T> {
    let _ = L;
    Err(LuaError(errcode as u8))
}

/// `luaD_seterrorobj`: puts the value of an error at a slot, which becomes the topmost.
fn luaD_seterrorobj<H>(L: &mut lua_State<H>, errcode: i32, oldtop: StkId) {
    let v = match errcode {
        LUA_ERRMEM => Str(L.g.memerrmsg),
        LUA_ERRERR => Str(luaS_new(L, "error in error handling")),
        _ => L.errorvalue,
    };
    L.errorvalue = Nil;
    L.th.stack[oldtop] = v;
    L.th.top = oldtop + 1;
}

fn restore_stack_limit<H>(L: &mut lua_State<H>) {
    if L.th.size_ci > LUAI_MAXCALLS && L.th.ci.len() < LUAI_MAXCALLS {
        L.th.size_ci = LUAI_MAXCALLS;
    }
}

/// Makes room for `n` values above the top, and for the window of the interpreter above them.
#[inline(always)]
pub fn luaD_checkstack<H>(L: &mut lua_State<H>, n: usize) {
    if L.th.top + n + WINDOW >= L.th.stack.len() {
        luaD_growstack(L, n);
    }
}

#[cold]
#[inline(never)]
fn luaD_growstack<H>(L: &mut lua_State<H>, n: usize) {
    let size = (L.th.stack.len() * 2).max(L.th.top + n + WINDOW + 1);
    L.g.totalbytes += (size - L.th.stack.len()) * 16;
    L.th.stack.resize(size, Nil);
}

/// `growCI`: the C doubles its frames, and a number beyond `LUAI_MAXCALLS` is an overflow.
#[cold]
#[inline(never)]
fn growCI<H>(L: &mut lua_State<H>) -> LuaResult<()> {
    if L.th.size_ci > LUAI_MAXCALLS {
        return luaD_throw(L, LUA_ERRERR);
    }
    L.th.size_ci *= 2;
    if L.th.size_ci > LUAI_MAXCALLS {
        return luaG_runerror(L, b"stack overflow");
    }
    Ok(())
}

/// Enters a function.
#[inline(always)]
fn inc_ci<H>(L: &mut lua_State<H>, ci: CallInfo) -> LuaResult<()> {
    if L.th.ci.len() == L.th.size_ci {
        growCI(L)?;
    }
    L.th.ci.push(ci);
    Ok(())
}

/// `luaD_callhook`: the stack and the frame are as before afterwards.
#[cold]
#[inline(never)]
pub fn luaD_callhook<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    event: i32,
    line: i32,
) -> LuaResult<()> {
    let Some(hook) = L.th.hook else { return Ok(()) };
    if !L.th.allowhook {
        return Ok(());
    }
    let top = L.th.top;
    let n = L.th.ci.len() - 1;
    let ci_top = L.th.ci[n].top;
    // A call that fails within the hook goes back to what the frame has, not to `savedpc`.
    // C: `currentpc` saves it, so it is there in hooks that ask where they are.
    L.th.ci[n].savedpc = L.th.savedpc;
    let mut ar = lua_Debug { event, currentline: line, ..lua_Debug::default() };
    ar.i_ci = if event == LUA_HOOKTAILRET { 0 } else { n };
    luaD_checkstack(L, LUA_MINSTACK);
    L.th.ci[n].top = L.th.top + LUA_MINSTACK;
    L.th.allowhook = false;
    hook(L, host, &mut ar)?;
    L.th.allowhook = true;
    L.th.ci[n].top = ci_top;
    L.th.top = top;
    Ok(())
}

/// `adjust_varargs`: the fixed parameters move above the others; the new base.
fn adjust_varargs<H>(L: &mut lua_State<H>, p: &Proto, mut actual: usize) -> LuaResult<StkId> {
    let nfixargs = p.numparams as usize;
    while actual < nfixargs {
        let top = L.th.top;
        L.th.stack[top] = Nil;
        L.th.top += 1;
        actual += 1;
    }
    let mut htab = None;
    if p.is_vararg & VARARG_NEEDSARG != 0 {
        // The table `arg` of old style.
        let nvar = actual - nfixargs;
        luaC_checkGC(L);
        luaD_checkstack(L, p.maxstacksize as usize);
        let t = luaH_new(L, nvar, 1);
        for i in 0..nvar {
            luaH_set(L, t, Number((i + 1) as f64), L.th.stack[L.th.top - nvar + i])?;
        }
        let n = Str(luaS_new(L, "n"));
        luaH_set(L, t, n, Number(nvar as f64))?;
        htab = Some(t);
    }
    let fixed = L.th.top - actual;
    let base = L.th.top;
    for i in 0..nfixargs {
        L.th.stack[base + i] = L.th.stack[fixed + i];
        L.th.stack[fixed + i] = Nil;
    }
    L.th.top = base + nfixargs;
    if let Some(t) = htab {
        let top = L.th.top;
        L.th.stack[top] = Tab(t);
        L.th.top += 1;
    }
    Ok(base)
}

/// `tryfuncTM`: what is called is no function; its metamethod `__call` takes its place.
#[cold]
#[inline(never)]
pub fn tryfuncTM<H>(L: &mut lua_State<H>, func: StkId) -> LuaResult<()> {
    let tm = luaT_gettmbyobj(L, L.th.stack[func], TM_CALL);
    if !tm.is_function() {
        return luaG_typeerror(L, L.th.stack[func], Some(func), "call");
    }
    luaD_checkstack(L, 1);
    L.th.stack.copy_within(func..L.th.top, func + 1);
    L.th.top += 1;
    L.th.stack[func] = tm;
    Ok(())
}

/// The part of [`luaD_precall`] for Lua functions: makes the frame.
#[inline(always)]
pub fn precall_lua<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    p: &Proto,
    func: StkId,
    nresults: i32,
) -> LuaResult<()> {
    let n = L.th.ci.len() - 1;
    L.th.ci[n].savedpc = L.th.savedpc;
    luaD_checkstack(L, p.maxstacksize as usize + p.numparams as usize);
    let base;
    if p.is_vararg == 0 {
        base = func + 1;
        L.th.top = L.th.top.min(base + p.numparams as usize);
    } else {
        let nargs = L.th.top - func - 1;
        base = adjust_varargs(L, p, nargs)?;
    }
    let top = base + p.maxstacksize as usize;
    inc_ci(L, CallInfo { base, func, top, savedpc: 0, nresults, tailcalls: 0 })?;
    L.th.base = base;
    L.th.savedpc = 0;
    if let Some(fresh) = L.th.stack.get_mut(L.th.top..top) {
        for v in fresh {
            *v = Nil;
        }
    }
    L.th.top = top;
    if L.th.hookmask & LUA_MASKCALL != 0 {
        L.th.savedpc += 1;
        luaD_callhook(L, host, LUA_HOOKCALL, -1)?;
        L.th.savedpc -= 1;
    }
    Ok(())
}

/// The part of [`luaD_precall`] for functions of the host: calls it.
#[inline(always)]
pub fn precall_c<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    f: lua_CFunction<H>,
    func: StkId,
    nresults: i32,
) -> LuaResult<()> {
    let n = L.th.ci.len() - 1;
    L.th.ci[n].savedpc = L.th.savedpc;
    luaD_checkstack(L, LUA_MINSTACK);
    let base = func + 1;
    let top = L.th.top + LUA_MINSTACK;
    inc_ci(L, CallInfo { base, func, top, savedpc: 0, nresults, tailcalls: 0 })?;
    L.th.base = base;
    if L.th.hookmask & LUA_MASKCALL != 0 {
        luaD_callhook(L, host, LUA_HOOKCALL, -1)?;
    }
    let n = f(L, host)?;
    luaD_poscall(L, host, L.th.top - n as usize)?;
    Ok(())
}

/// Prepares a call: a Lua function, whose frame is made, is returned; a function of the host was called.
pub fn luaD_precall<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    func: StkId,
    nresults: i32,
) -> LuaResult<Option<Rc<LClosure>>> {
    if !L.th.stack[func].is_function() {
        tryfuncTM(L, func)?;
    }
    match L.th.stack[func] {
        LFunction(r) => {
            let cl = L.g.lclosures.get(r).clone().expect("a function");
            precall_lua(L, host, &cl.p, func, nresults)?;
            Ok(Some(cl))
        }
        CFunction(r) => {
            let f = L.g.cclosures.get(r).as_ref().expect("a function").f;
            precall_c(L, host, f, func, nresults)?;
            Ok(None)
        }
        _ => unreachable!("tryfuncTM left a function"),
    }
}

#[cold]
#[inline(never)]
fn callrethooks<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<()> {
    luaD_callhook(L, host, LUA_HOOKRET, -1)?;
    let n = L.th.ci.len() - 1;
    if matches!(L.th.stack[L.th.ci[n].func], LFunction(_)) {
        while L.th.hookmask & LUA_MASKRET != 0 && L.th.ci[n].tailcalls > 0 {
            L.th.ci[n].tailcalls -= 1;
            luaD_callhook(L, host, LUA_HOOKTAILRET, -1)?;
        }
    }
    Ok(())
}

/// Leaves a function, and moves its results from `first` on to where the caller wants them; true if it wants
/// a fixed number of them.
#[inline(always)]
pub fn luaD_poscall<H>(L: &mut lua_State<H>, host: &mut H, first: StkId) -> LuaResult<bool> {
    if L.th.hookmask & LUA_MASKRET != 0 {
        callrethooks(L, host)?;
    }
    let ci = L.th.ci.pop().expect("a frame");
    let back = *L.th.ci.last().expect("a frame");
    L.th.base = back.base;
    L.th.savedpc = back.savedpc;
    let mut res = ci.func;
    if ci.nresults == 1 {
        L.th.stack[res] = if first < L.th.top { L.th.stack[first].copied() } else { Nil };
        L.th.top = res + 1;
        return Ok(true);
    }
    let mut wanted = ci.nresults;
    let mut from = first;
    while wanted != 0 && from < L.th.top {
        L.th.stack[res] = L.th.stack[from];
        res += 1;
        from += 1;
        wanted -= 1;
    }
    while wanted > 0 {
        L.th.stack[res] = Nil;
        res += 1;
        wanted -= 1;
    }
    L.th.top = res;
    Ok(ci.nresults != LUA_MULTRET)
}

/// Calls the function at a slot with the values above it; its results come in their place.
pub fn luaD_call<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    func: StkId,
    nresults: i32,
) -> LuaResult<()> {
    L.th.nCcalls += 1;
    if L.th.nCcalls >= LUAI_MAXCCALLS {
        if L.th.nCcalls == LUAI_MAXCCALLS {
            return luaG_runerror(L, b"C stack overflow");
        }
        if L.th.nCcalls >= LUAI_MAXCCALLS + (LUAI_MAXCCALLS >> 3) {
            return luaD_throw(L, LUA_ERRERR);
        }
    }
    if let Some(cl) = luaD_precall(L, host, func, nresults)? {
        luaV_execute(L, host, cl, 1)?;
    }
    L.th.nCcalls -= 1;
    luaC_checkGC_host(L, host)
}

fn resume<H>(L: &mut lua_State<H>, host: &mut H, first_arg: StkId) -> LuaResult<()> {
    if L.th.status == 0 {
        if luaD_precall(L, host, first_arg - 1, LUA_MULTRET)?.is_none() {
            return Ok(());
        }
    } else {
        L.th.status = 0;
        let n = L.th.ci.len() - 1;
        if !matches!(L.th.stack[L.th.ci[n].func], LFunction(_)) {
            // Finishes the call that yielded.
            if luaD_poscall(L, host, first_arg)? {
                L.th.top = L.th.ci[L.th.ci.len() - 1].top;
            }
        } else {
            L.th.base = L.th.ci[n].base;
        }
    }
    let n = L.th.ci.len() - 1;
    let cl = frame_closure(L);
    luaV_execute(L, host, cl, n as i32)
}

/// `lua_resume`: runs a thread with the `nargs` topmost values of its stack; `LUA_OK` if it ended,
/// `LUA_YIELD` if it yielded, with its values on its stack; else an error, whose value is there.
pub fn lua_resume<H>(L: &mut lua_State<H>, host: &mut H, co: ThreadRef, nargs: i32) -> i32 {
    if co == L.thread || L.g.threads.get(co).is_none() {
        return resume_error_running(L);
    }
    let from = L.thread;
    swap_thread(L, co);
    let status = resume_swapped(L, host, nargs);
    swap_thread(L, from);
    status
}

/// A thread that runs cannot be resumed; the message goes on its stack.
fn resume_error_running<H>(L: &mut lua_State<H>) -> i32 {
    let s = luaS_new(L, "cannot resume non-suspended coroutine");
    crate::lapi::luaA_pushobject(L, Str(s));
    LUA_ERRRUN
}

fn resume_error<H>(L: &mut lua_State<H>, msg: &str) -> i32 {
    L.th.top = L.th.ci[L.th.ci.len() - 1].base;
    let s = luaS_new(L, msg);
    crate::lapi::luaA_pushobject(L, Str(s));
    LUA_ERRRUN
}

fn resume_swapped<H>(L: &mut lua_State<H>, host: &mut H, nargs: i32) -> i32 {
    if L.th.status != LUA_YIELD as u8 && (L.th.status != 0 || L.th.ci.len() != 1) {
        return resume_error(L, "cannot resume non-suspended coroutine");
    }
    if L.th.nCcalls >= LUAI_MAXCCALLS {
        return resume_error(L, "C stack overflow");
    }
    L.th.nCcalls += 1;
    L.th.baseCcalls = L.th.nCcalls;
    let first_arg = L.th.top - nargs as usize;
    let status = match resume(L, host, first_arg) {
        Ok(()) => L.th.status as i32,
        Err(LuaError(e)) if e as i32 == LUA_YIELD => LUA_YIELD,
        Err(LuaError(e)) => {
            // The thread is dead; its frames stay for those who look at them.
            L.th.status = e;
            luaD_checkstack(L, 1);
            luaD_seterrorobj(L, e as i32, L.th.top);
            let top = L.th.top;
            if let Some(ci) = L.th.ci.last_mut() {
                ci.top = top;
            }
            e as i32
        }
    };
    L.th.nCcalls -= 1;
    status
}

/// `lua_yield`: `return lua_yield(L, n)` at the end of a function of the host stops its thread, with the `n`
/// topmost values for the one who resumed it.
pub fn lua_yield<H, T>(L: &mut lua_State<H>, nresults: i32) -> LuaResult<T> {
    if L.th.nCcalls > L.th.baseCcalls {
        return luaG_runerror(L, b"attempt to yield across metamethod/C-call boundary");
    }
    L.th.base = L.th.top - nresults as usize;
    L.th.status = LUA_YIELD as u8;
    Err(LuaError(LUA_YIELD as u8))
}

/// Runs `func`; after an error everything is as it was, with the error value at `old_top`. `ef` is the slot
/// of an error handler, or 0.
pub fn luaD_pcall<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    func: impl FnOnce(&mut lua_State<H>, &mut H) -> LuaResult<()>,
    old_top: StkId,
    ef: StkId,
) -> i32 {
    let oldnCcalls = L.th.nCcalls;
    let old_ci = L.th.ci.len();
    let old_allowhooks = L.th.allowhook;
    let old_errfunc = std::mem::replace(&mut L.th.errfunc, ef);
    let mut status = LUA_OK;
    if let Err(LuaError(e)) = func(L, host) {
        status = e as i32;
        if status == LUA_ERRRUN && ef != 0 {
            status = call_handler(L, host, ef);
        }
        luaF_close(L, old_top);
        luaD_seterrorobj(L, status, old_top);
        L.th.nCcalls = oldnCcalls;
        L.th.ci.truncate(old_ci);
        let ci = L.th.ci[old_ci - 1];
        L.th.base = ci.base;
        L.th.savedpc = ci.savedpc;
        L.th.allowhook = old_allowhooks;
        restore_stack_limit(L);
    }
    L.th.errfunc = old_errfunc;
    status
}

/// The part of `luaG_errormsg` that calls the error handler, where the error was raised: the frames are still
/// there. An error in the handler is handled, too, until the calls are used up.
#[cold]
fn call_handler<H>(L: &mut lua_State<H>, host: &mut H, ef: StkId) -> i32 {
    loop {
        if !L.th.stack[ef].is_function() {
            return LUA_ERRERR;
        }
        luaD_checkstack(L, 2);
        let top = L.th.top;
        L.th.stack[top] = L.th.stack[ef];
        L.th.stack[top + 1] = L.errorvalue;
        L.th.top = top + 2;
        match luaD_call(L, host, top, 1) {
            Ok(()) => {
                L.th.top -= 1;
                L.errorvalue = L.th.stack[L.th.top];
                return LUA_ERRRUN;
            }
            Err(LuaError(e)) if e as i32 == LUA_ERRRUN => {}
            Err(LuaError(e)) => return e as i32,
        }
    }
}

fn f_parser<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    z: &mut ZIO<'_, H>,
    name: &[u8],
) -> LuaResult<()> {
    z.lookahead(L, host)?;
    luaC_checkGC(L);
    // What the compiler makes is kept alive by this table until the function is there.
    let anchor = luaH_new(L, 0, 0);
    luaD_checkstack(L, 2);
    let top = L.th.top;
    L.th.stack[top] = Tab(anchor);
    L.th.top += 1;
    let tf = luaY_parser(L, host, z, name)?;
    luaC_linkproto(L, &tf);
    let upvals = (0..tf.nups).map(|_| luaF_newupval(L)).collect();
    let env = L.th.l_gt;
    let cl = luaF_newLclosure(L, Rc::clone(&tf), upvals, env);
    L.th.stack[top] = LFunction(cl);
    L.th.top = top + 1;
    Ok(())
}

/// Compiles a chunk and pushes the function, or the error value.
pub fn luaD_protectedparser<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    z: &mut ZIO<'_, H>,
    name: &[u8],
) -> i32 {
    let (top, ef) = (L.th.top, L.th.errfunc);
    luaD_pcall(L, host, |L, host| f_parser(L, host, z, name), top, ef)
}
