//! `lvm.c`: the interpreter.
//!
//! Read first: [`luaV_execute`]. A frame's registers are a window of 256 slots of the stack, taken anew after
//! everything that may move the stack; an instruction names them with 8 bits, so no access needs a check.
//! Fast paths stand in the loop; the rest is out of line.
//!
//! Differs: there are two copies of the loop. The plain one counts instructions for the count hook at calls
//! and at jumps backwards; the other one, for line hooks and short counts, at every instruction.

use std::rc::Rc;

use crate::ldebug::*;
use crate::ldo::*;
use crate::lfunc::*;
use crate::lgc::luaC_checkGC_host;
use crate::lmem::{luaM_checkmem, luaM_checksize};
use crate::lobject::*;
use crate::lopcodes::*;
use crate::lstate::*;
use crate::lstring::*;
use crate::ltable::{TableError, luaH_new, luaH_set, table_error};
use crate::ltm::*;

/// How long a chain of `__index` or `__newindex` may be.
const MAXTAGLOOP: usize = 100;
/// What a call counts for in the plain loop.
const CALL_COUNT: i32 = 8;

/// The number a value is, or that a string is.
#[inline]
pub fn luaV_tonumber<H>(L: &lua_State<H>, v: TValue) -> Option<f64> {
    match v {
        Number(n) => Some(n),
        Str(s) => luaO_str2d(&L.g.strings.get(s).data),
        _ => None,
    }
}

/// The string a number is.
pub fn luaV_tostring<H>(L: &mut lua_State<H>, v: TValue) -> Option<StrRef> {
    let Number(n) = v else { return None };
    let mut b = Vec::with_capacity(32);
    lua_number2str(n, &mut b);
    Some(luaS_newlstr(L, &b))
}

/// `traceexec`: calls the hooks that are due before the instruction at `pc - 1`.
#[inline(never)]
fn traceexec<H>(L: &mut lua_State<H>, host: &mut H, pc: usize) -> LuaResult<()> {
    let mask = L.th.hookmask;
    let oldpc = L.th.savedpc;
    L.th.savedpc = pc;
    if mask & LUA_MASKCOUNT != 0 && L.th.hookcount <= 0 {
        resethookcount(L);
        luaD_callhook(L, host, LUA_HOOKCOUNT, -1)?;
    }
    if mask & LUA_MASKLINE != 0 {
        let func = L.th.ci[L.th.ci.len() - 1].func;
        let LFunction(r) = L.th.stack[func] else { return Ok(()) };
        let Some(cl) = L.g.lclosures.get(r).clone() else { return Ok(()) };
        let npc = pc - 1;
        let newline = cl.p.lineinfo[npc];
        // A function entered, a jump back, or another line.
        // C: before the first instruction there is none; it looks at the line of what lies there.
        let oldline = oldpc.checked_sub(1).map(|oldpc| cl.p.lineinfo[oldpc]);
        if npc == 0 || pc <= oldpc || oldline != Some(newline) {
            luaD_callhook(L, host, LUA_HOOKLINE, newline)?;
        }
    }
    Ok(())
}

/// The counted steps are done: calls the count hook.
#[cold]
#[inline(never)]
fn count_slow<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<()> {
    resethookcount(L);
    if L.th.hookmask & LUA_MASKCOUNT != 0 {
        luaD_callhook(L, host, LUA_HOOKCOUNT, -1)?;
    }
    Ok(())
}

/// `callTMres`: calls a metamethod for its one result.
fn callTMres<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    f: TValue,
    p1: TValue,
    p2: TValue,
) -> LuaResult<TValue> {
    luaD_checkstack(L, 3);
    let top = L.th.top;
    L.th.stack[top] = f;
    L.th.stack[top + 1] = p1;
    L.th.stack[top + 2] = p2;
    L.th.top = top + 3;
    luaD_call(L, host, top, 1)?;
    L.th.top -= 1;
    Ok(L.th.stack[L.th.top])
}

/// `callTM`: calls a metamethod for no result.
fn callTM<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    f: TValue,
    p1: TValue,
    p2: TValue,
    p3: TValue,
) -> LuaResult<()> {
    luaD_checkstack(L, 4);
    let top = L.th.top;
    L.th.stack[top] = f;
    L.th.stack[top + 1] = p1;
    L.th.stack[top + 2] = p2;
    L.th.stack[top + 3] = p3;
    L.th.top = top + 4;
    luaD_call(L, host, top, 0)
}

/// `t[key]`, with metamethods.
pub fn luaV_gettable<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    t: TValue,
    key: TValue,
) -> LuaResult<TValue> {
    gettable(L, host, t, key, None)
}

/// [`luaV_gettable`] of a value in a register, for the name in an error.
#[inline(never)]
fn gettable<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    mut t: TValue,
    key: TValue,
    mut pos: Option<StkId>,
) -> LuaResult<TValue> {
    for _ in 0..MAXTAGLOOP {
        let tm;
        if let Tab(h) = t {
            let h = L.g.tables.get(h);
            let (res, mt) = (h.get(key), h.metatable);
            if !res.is_nil() {
                return Ok(res);
            }
            match fasttm(&mut L.g, mt, TM_INDEX) {
                Some(m) => tm = m,
                None => return Ok(Nil),
            }
        } else {
            tm = luaT_gettmbyobj(L, t, TM_INDEX);
            if tm.is_nil() {
                return luaG_typeerror(L, t, pos, "index");
            }
        }
        if tm.is_function() {
            return callTMres(L, host, tm, t, key);
        }
        t = tm;
        pos = None;
    }
    luaG_runerror(L, b"loop in gettable")
}

/// `t[key] = val`, with metamethods.
pub fn luaV_settable<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    t: TValue,
    key: TValue,
    val: TValue,
) -> LuaResult<()> {
    settable(L, host, t, key, val, None)
}

#[inline(never)]
fn settable<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    mut t: TValue,
    key: TValue,
    val: TValue,
    mut pos: Option<StkId>,
) -> LuaResult<()> {
    for _ in 0..MAXTAGLOOP {
        let tm;
        if let Tab(r) = t {
            let h = L.g.tables.get_mut(r);
            if h.readonly {
                return luaG_runerror(L, crate::lapi::READONLY);
            }
            let before = L.g.totalbytes;
            let mt = h.metatable;
            // The key is made first, and stays, whatever the metamethod does: as in the C.
            let oldval = match h.set(key, &mut L.g.totalbytes) {
                Ok(v) => v,
                Err(e) => return table_error(L, e),
            };
            if !oldval.is_nil() || mt.is_none() {
                *oldval = val;
                return if L.g.totalbytes != before { luaM_checkmem(L) } else { Ok(()) };
            }
            match fasttm(&mut L.g, mt, TM_NEWINDEX) {
                Some(m) => tm = m,
                None => return luaH_set(L, r, key, val),
            }
        } else {
            tm = luaT_gettmbyobj(L, t, TM_NEWINDEX);
            if tm.is_nil() {
                return luaG_typeerror(L, t, pos, "index");
            }
        }
        if tm.is_function() {
            return callTM(L, host, tm, t, key, val);
        }
        t = tm;
        pos = None;
    }
    luaG_runerror(L, b"loop in settable")
}

/// `call_binTM`: a metamethod of either operand, if there is one.
fn call_binTM<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    p1: TValue,
    p2: TValue,
    event: TMS,
) -> LuaResult<Option<TValue>> {
    let mut tm = luaT_gettmbyobj(L, p1, event);
    if tm.is_nil() {
        tm = luaT_gettmbyobj(L, p2, event);
    }
    if tm.is_nil() {
        return Ok(None);
    }
    callTMres(L, host, tm, p1, p2).map(Some)
}

/// `get_compTM`: the metamethod for `==` that both have.
fn get_compTM<H>(
    L: &mut lua_State<H>,
    mt1: Option<TableRef>,
    mt2: Option<TableRef>,
    event: TMS,
) -> Option<TValue> {
    let tm1 = fasttm(&mut L.g, mt1, event)?;
    if mt1 == mt2 {
        return Some(tm1);
    }
    let tm2 = fasttm(&mut L.g, mt2, event)?;
    luaO_rawequalObj(tm1, tm2).then_some(tm1)
}

/// `call_orderTM`: the answer of a metamethod for an order that both have.
fn call_orderTM<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    p1: TValue,
    p2: TValue,
    event: TMS,
) -> LuaResult<Option<bool>> {
    let tm1 = luaT_gettmbyobj(L, p1, event);
    if tm1.is_nil() {
        return Ok(None);
    }
    let tm2 = luaT_gettmbyobj(L, p2, event);
    if !luaO_rawequalObj(tm1, tm2) {
        return Ok(None);
    }
    Ok(Some(!callTMres(L, host, tm1, p1, p2)?.is_false()))
}

#[inline(never)]
pub fn luaV_lessthan<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    l: TValue,
    r: TValue,
) -> LuaResult<bool> {
    match (l, r) {
        (Number(a), Number(b)) => return Ok(a < b),
        (Str(a), Str(b)) => {
            return Ok(*L.g.strings.get(a).data < *L.g.strings.get(b).data);
        }
        _ => {}
    }
    if l.ttype() == r.ttype()
        && let Some(res) = call_orderTM(L, host, l, r, TM_LT)?
    {
        return Ok(res);
    }
    luaG_ordererror(L, l, r)
}

#[inline(never)]
fn lessequal<H>(L: &mut lua_State<H>, host: &mut H, l: TValue, r: TValue) -> LuaResult<bool> {
    match (l, r) {
        (Number(a), Number(b)) => return Ok(a <= b),
        (Str(a), Str(b)) => {
            return Ok(*L.g.strings.get(a).data <= *L.g.strings.get(b).data);
        }
        _ => {}
    }
    if l.ttype() == r.ttype() {
        if let Some(res) = call_orderTM(L, host, l, r, TM_LE)? {
            return Ok(res);
        }
        if let Some(res) = call_orderTM(L, host, r, l, TM_LT)? {
            return Ok(!res);
        }
    }
    luaG_ordererror(L, l, r)
}

/// `equalobj`: `==`, with metamethods.
#[inline(never)]
pub fn luaV_equalobj<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    t1: TValue,
    t2: TValue,
) -> LuaResult<bool> {
    if luaO_rawequalObj(t1, t2) {
        return Ok(true);
    }
    let (mt1, mt2) = match (t1, t2) {
        (Tab(_), Tab(_)) | (Userdata(_), Userdata(_)) => (metatable_of(L, t1), metatable_of(L, t2)),
        _ => return Ok(false),
    };
    match get_compTM(L, mt1, mt2, TM_EQ) {
        Some(tm) => Ok(!callTMres(L, host, tm, t1, t2)?.is_false()),
        None => Ok(false),
    }
}

/// Can a value be concatenated as it is?
fn is_cvt2str(v: TValue) -> bool {
    matches!(v, Str(_) | Number(_))
}

/// `luaV_concat`: concatenates `total` values up to slot `last` (from the base); the result is in the first of
/// their slots.
pub fn luaV_concat<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    mut total: usize,
    mut last: usize,
) -> LuaResult<()> {
    loop {
        let top = L.th.base + last + 1;
        let (a, b) = (L.th.stack[top - 2], L.th.stack[top - 1]);
        let mut n = 2;
        if !is_cvt2str(a) || !is_cvt2str(b) {
            match call_binTM(L, host, a, b, TM_CONCAT)? {
                Some(v) => L.th.stack[top - 2] = v,
                None => return luaG_concaterror(L, (a, top - 2), (b, top - 1)),
            }
        } else {
            // As many as are strings or numbers.
            while n < total && is_cvt2str(L.th.stack[top - n - 1]) {
                n += 1;
            }
            let mut len = 0usize;
            for v in &L.th.stack[top - n..top] {
                if let Str(s) = *v {
                    len += L.g.strings.get(s).data.len();
                } else {
                    len += 24;
                }
            }
            if len >= 4096 {
                luaM_checksize(L, len)?;
            }
            let mut buffer = std::mem::take(&mut L.g.buff);
            buffer.clear();
            for v in &L.th.stack[top - n..top] {
                match *v {
                    Str(s) => buffer.extend_from_slice(&L.g.strings.get(s).data),
                    Number(x) => lua_number2str(x, &mut buffer),
                    _ => {}
                }
            }
            let s = luaS_newlstr(L, &buffer);
            if buffer.capacity() <= 1 << 16 {
                L.g.buff = buffer;
            }
            L.th.stack[top - n] = Str(s);
        }
        total -= n - 1;
        last -= n - 1;
        if total <= 1 {
            return Ok(());
        }
    }
}

/// `luai_nummod`: the remainder has the sign of the divisor.
#[inline(always)]
pub fn luai_nummod(a: f64, b: f64) -> f64 {
    a - floor(a / b) * b
}

/// The C's `floor` without a call: what is below 2^52 is rounded by an addition.
#[inline(always)]
fn floor(q: f64) -> f64 {
    const MAGIC: f64 = 6755399441055744.0;
    if q.abs() < 2251799813685248.0 {
        let r = (q + MAGIC) - MAGIC;
        let r = if r > q { r - 1.0 } else { r };
        return r.copysign(q);
    }
    q.floor()
}

/// `Arith`: arithmetic on what is not two numbers.
#[inline(never)]
fn Arith<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    (rb, pb): (TValue, Option<StkId>),
    (rc, pc): (TValue, Option<StkId>),
    op: TMS,
) -> LuaResult<TValue> {
    if let (Some(b), Some(c)) = (luaV_tonumber(L, rb), luaV_tonumber(L, rc)) {
        return Ok(Number(match op {
            TM_ADD => b + c,
            TM_SUB => b - c,
            TM_MUL => b * c,
            TM_DIV => b / c,
            TM_MOD => luai_nummod(b, c),
            TM_POW => b.powf(c),
            _ => -b,
        }));
    }
    match call_binTM(L, host, rb, rc, op)? {
        Some(v) => Ok(v),
        None => luaG_aritherror(L, (rb, pb), (rc, pc)),
    }
}

/// `#` of what is neither a table nor a string.
#[inline(never)]
fn len_slow<H>(L: &mut lua_State<H>, host: &mut H, rb: TValue, pos: StkId) -> LuaResult<TValue> {
    match call_binTM(L, host, rb, Nil, TM_LEN)? {
        Some(v) => Ok(v),
        None => luaG_typeerror(L, rb, Some(pos), "get length of"),
    }
}

/// The registers of a frame.
#[inline(always)]
fn window(stack: &mut [TValue], base: StkId) -> &mut [TValue; WINDOW] {
    stack[base..].first_chunk_mut().expect("luaD_checkstack left room")
}

/// Why a loop was left.
#[derive(PartialEq, Eq)]
enum Exit {
    /// The function returned.
    Done,
    /// The other loop is to go on.
    Switch,
}

/// Runs the topmost frame, which is one of the Lua function `cl`, until `nexeccalls` frames have returned.
pub fn luaV_execute<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    mut cl: Rc<LClosure>,
    mut nexeccalls: i32,
) -> LuaResult<()> {
    let entry = L.callers.len();
    loop {
        let exit = if L.trace {
            execute::<H, true>(L, host, cl, &mut nexeccalls)
        } else {
            execute::<H, false>(L, host, cl, &mut nexeccalls)
        };
        L.callers.truncate(entry);
        if exit? == Exit::Done {
            return Ok(());
        }
        cl = frame_closure(L);
    }
}

/// The Lua function of the topmost frame.
#[inline(always)]
pub fn frame_closure<H>(L: &lua_State<H>) -> Rc<LClosure> {
    let func = L.th.ci[L.th.ci.len() - 1].func;
    match L.th.stack[func] {
        LFunction(r) => L.g.lclosures.get(r).clone().expect("a function"),
        _ => unreachable!("a Lua function runs"),
    }
}

#[inline(always)]
fn arg_a(i: Instruction) -> usize {
    (i >> POS_A) as u8 as usize
}
#[inline(always)]
fn arg_b(i: Instruction) -> usize {
    (i >> POS_B) as usize
}
#[inline(always)]
fn arg_c(i: Instruction) -> usize {
    (i >> POS_C & 0x1ff) as usize
}
/// B as a register.
#[inline(always)]
fn reg_b(i: Instruction) -> usize {
    (i >> POS_B) as u8 as usize
}
/// C as a register.
#[inline(always)]
fn reg_c(i: Instruction) -> usize {
    (i >> POS_C) as u8 as usize
}
#[inline(always)]
fn arg_bx(i: Instruction) -> usize {
    (i >> POS_Bx) as usize
}
#[inline(always)]
fn arg_sbx(i: Instruction) -> isize {
    arg_bx(i) as isize - MAXARG_sBx as isize
}

fn execute<H, const HOOKS: bool>(
    L: &mut lua_State<H>,
    host: &mut H,
    mut next_cl: Rc<LClosure>,
    nexeccalls: &mut i32,
) -> LuaResult<Exit> {
    let entry = L.callers.len();
    'reentry: loop {
        if L.trace != HOOKS {
            return Ok(Exit::Switch);
        }
        let cl = next_cl;
        let code: &[Instruction] = &cl.p.code;
        let k: &[TValue] = &cl.p.k;
        let base = L.th.base;
        let mut pc = L.th.savedpc;
        let mut regs = window(&mut L.th.stack, base);

        // Where an RK argument is, for errors.
        macro_rules! pos {
            ($x:expr) => {
                if $x & BITRK as usize != 0 { None } else { Some(base + $x) }
            };
        }
        macro_rules! rkb {
            ($i:expr) => {
                if ($i as i32) < 0 { &k[($i >> POS_B & 0xff) as usize] } else { &regs[reg_b($i)] }
            };
        }
        macro_rules! rkc {
            ($i:expr) => {
                if $i & 1 << (POS_C + 8) != 0 {
                    &k[($i >> POS_C & 0xff) as usize]
                } else {
                    &regs[reg_c($i)]
                }
            };
        }
        // What may raise an error, move the stack or call a hook.
        macro_rules! protect {
            ($e:expr) => {{
                L.th.savedpc = pc;
                let v = $e?;
                regs = window(&mut L.th.stack, base);
                v
            }};
        }
        macro_rules! arith_op {
            ($i:expr, $tm:expr, $f:expr) => {{
                let (rb, rc) = (rkb!($i), rkc!($i));
                if let (&Number(b), &Number(c)) = (rb, rc) {
                    let f: fn(f64, f64) -> f64 = $f;
                    regs[arg_a($i)] = Number(f(b, c));
                } else {
                    let rb = (*rb, pos!(arg_b($i)));
                    let rc = (*rc, pos!(arg_c($i)));
                    let v = protect!(Arith(L, host, rb, rc, $tm));
                    regs[arg_a($i)] = v;
                }
            }};
        }
        // Work that the plain loop counts; `pc` is where it goes on.
        macro_rules! count {
            ($n:expr) => {
                if !HOOKS {
                    L.th.hookcount = L.th.hookcount.wrapping_sub($n);
                    if L.th.hookcount <= 0 {
                        L.th.savedpc = pc.max(1);
                        count_slow(L, host)?;
                        if L.trace {
                            L.th.savedpc = pc;
                            return Ok(Exit::Switch);
                        }
                        regs = window(&mut L.th.stack, base);
                    }
                }
            };
        }
        macro_rules! dojump {
            ($d:expr) => {{
                let d = $d;
                pc = pc.wrapping_add_signed(d);
                if d < 0 {
                    count!(-d as i32);
                }
            }};
        }

        loop {
            let i = code[pc];
            pc += 1;
            if HOOKS {
                if L.th.hookmask & LUA_MASKCOUNT != 0 {
                    L.th.hookcount -= 1;
                }
                if L.th.hookcount <= 0 || L.th.hookmask & LUA_MASKLINE != 0 {
                    traceexec(L, host, pc)?;
                    if !L.trace {
                        L.th.savedpc = pc - 1;
                        return Ok(Exit::Switch);
                    }
                    regs = window(&mut L.th.stack, base);
                }
            }
            match GET_OPCODE(i) {
                OP_MOVE => regs[arg_a(i)] = regs[reg_b(i)],
                OP_LOADK => regs[arg_a(i)] = k[arg_bx(i)],
                OP_LOADBOOL => {
                    regs[arg_a(i)] = Boolean(arg_b(i) != 0);
                    if arg_c(i) != 0 {
                        pc += 1;
                    }
                }
                OP_LOADNIL => {
                    regs[arg_a(i)..=reg_b(i)].fill(Nil);
                }
                OP_GETUPVAL => {
                    let u = cl.upvals[arg_b(i)];
                    regs[arg_a(i)] = match *L.g.upvals.get(u) {
                        UpVal::Closed(v) => v,
                        UpVal::Open { thread, level } if thread == L.thread => {
                            let v = L.th.stack[level as usize];
                            regs = window(&mut L.th.stack, base);
                            v
                        }
                        _ => {
                            let v = upval_get(L, u);
                            regs = window(&mut L.th.stack, base);
                            v
                        }
                    };
                }
                OP_GETGLOBAL => {
                    let key = k[arg_bx(i)];
                    let env = cl.env.get();
                    if let Str(s) = key {
                        let v = L.g.tables.get(env).getstr(s);
                        if !v.is_nil() {
                            regs[arg_a(i)] = v;
                            continue;
                        }
                    }
                    let v = protect!(gettable(L, host, Tab(env), key, None));
                    regs[arg_a(i)] = v;
                }
                OP_GETTABLE => {
                    let rb = regs[reg_b(i)];
                    let rc = rkc!(i);
                    if let Tab(t) = rb {
                        let h = L.g.tables.get(t);
                        let v = match *rc {
                            Str(s) => h.getstr(s),
                            Number(n) => h.getnumber(n),
                            key => h.get(key),
                        };
                        if !v.is_nil() || h.metatable.is_none() {
                            regs[arg_a(i)] = v;
                            continue;
                        }
                    }
                    let key = *rc;
                    let v = protect!(gettable(L, host, rb, key, Some(base + reg_b(i))));
                    regs[arg_a(i)] = v;
                }
                OP_SETGLOBAL => {
                    let (key, val) = (k[arg_bx(i)], regs[arg_a(i)]);
                    let env = cl.env.get();
                    if let Str(s) = key {
                        let h = L.g.tables.get_mut(env);
                        if !h.readonly
                            && let Some(v) = h.getstr_mut(s)
                            && !v.is_nil()
                        {
                            *v = val;
                            continue;
                        }
                    }
                    protect!(settable(L, host, Tab(env), key, val, None));
                }
                OP_SETUPVAL => {
                    let u = cl.upvals[arg_b(i)];
                    let v = regs[arg_a(i)];
                    upval_set(L, u, v);
                    regs = window(&mut L.th.stack, base);
                }
                OP_SETTABLE => {
                    let ra = regs[arg_a(i)];
                    let rb = rkb!(i);
                    let rc = rkc!(i);
                    if let Tab(t) = ra {
                        let h = L.g.tables.get_mut(t);
                        if !h.readonly {
                            let nometa = h.metatable.is_none();
                            let slot = match *rb {
                                Str(s) => h.getstr_mut(s),
                                Number(n) => h.getarray_mut(n),
                                _ => None,
                            };
                            if let Some(v) = slot
                                && (!v.is_nil() || nometa && matches!(rb, Number(_)))
                            {
                                *v = *rc;
                                continue;
                            }
                        }
                    }
                    let (key, val) = (*rb, *rc);
                    protect!(settable(L, host, ra, key, val, Some(base + arg_a(i))));
                }
                OP_NEWTABLE => {
                    let narray = luaO_fb2int(arg_b(i) as i32) as usize;
                    let nhash = luaO_fb2int(arg_c(i) as i32) as usize;
                    if narray + nhash > 1 << 16 {
                        L.th.savedpc = pc;
                        luaM_checksize(L, narray * 16 + nhash * 40)?;
                    }
                    let t = luaH_new(L, narray, nhash);
                    regs = window(&mut L.th.stack, base);
                    regs[arg_a(i)] = Tab(t);
                    protect!(luaC_checkGC_host(L, host));
                }
                OP_SELF => {
                    let rb = regs[reg_b(i)];
                    let key = *rkc!(i);
                    let a = arg_a(i);
                    // A function has at most 250 registers.
                    regs[(a + 1) & 0xff] = rb;
                    if let (Tab(t), Str(s)) = (rb, key) {
                        let h = L.g.tables.get(t);
                        let v = h.getstr(s);
                        if !v.is_nil() || h.metatable.is_none() {
                            regs[a] = v;
                            continue;
                        }
                    }
                    let v = protect!(gettable(L, host, rb, key, Some(base + reg_b(i))));
                    regs[a] = v;
                }
                OP_ADD => arith_op!(i, TM_ADD, |a, b| a + b),
                OP_SUB => arith_op!(i, TM_SUB, |a, b| a - b),
                OP_MUL => arith_op!(i, TM_MUL, |a, b| a * b),
                OP_DIV => arith_op!(i, TM_DIV, |a, b| a / b),
                OP_MOD => arith_op!(i, TM_MOD, luai_nummod),
                OP_POW => arith_op!(i, TM_POW, f64::powf),
                OP_UNM => {
                    let rb = regs[reg_b(i)];
                    if let Number(n) = rb {
                        regs[arg_a(i)] = Number(-n);
                    } else {
                        let rb = (rb, Some(base + reg_b(i)));
                        let v = protect!(Arith(L, host, rb, rb, TM_UNM));
                        regs[arg_a(i)] = v;
                    }
                }
                OP_NOT => regs[arg_a(i)] = Boolean(regs[reg_b(i)].is_false()),
                OP_LEN => {
                    let rb = regs[reg_b(i)];
                    let v = match rb {
                        Tab(t) => Number(L.g.tables.get(t).getn() as f64),
                        Str(s) => Number(L.g.strings.get(s).data.len() as f64),
                        _ => protect!(len_slow(L, host, rb, base + reg_b(i))),
                    };
                    regs[arg_a(i)] = v;
                }
                OP_CONCAT => {
                    let (b, c) = (reg_b(i), reg_c(i));
                    protect!(luaV_concat(L, host, c - b + 1, c));
                    regs[arg_a(i)] = regs[b];
                    protect!(luaC_checkGC_host(L, host));
                }
                OP_JMP => dojump!(arg_sbx(i)),
                OP_EQ => {
                    let (rb, rc) = (*rkb!(i), *rkc!(i));
                    let res = match (rb, rc) {
                        (Tab(a), Tab(b)) if a != b => {
                            protect!(luaV_equalobj(L, host, rb, rc))
                        }
                        (Userdata(a), Userdata(b)) if a != b => {
                            protect!(luaV_equalobj(L, host, rb, rc))
                        }
                        _ => luaO_rawequalObj(rb, rc),
                    };
                    if res == (arg_a(i) != 0) {
                        dojump!(arg_sbx(code[pc]) + 1);
                    } else {
                        pc += 1;
                    }
                }
                OP_LT => {
                    let (rb, rc) = (rkb!(i), rkc!(i));
                    let res = if let (&Number(b), &Number(c)) = (rb, rc) {
                        b < c
                    } else {
                        let (rb, rc) = (*rb, *rc);
                        protect!(luaV_lessthan(L, host, rb, rc))
                    };
                    if res == (arg_a(i) != 0) {
                        dojump!(arg_sbx(code[pc]) + 1);
                    } else {
                        pc += 1;
                    }
                }
                OP_LE => {
                    let (rb, rc) = (rkb!(i), rkc!(i));
                    let res = if let (&Number(b), &Number(c)) = (rb, rc) {
                        b <= c
                    } else {
                        let (rb, rc) = (*rb, *rc);
                        protect!(lessequal(L, host, rb, rc))
                    };
                    if res == (arg_a(i) != 0) {
                        dojump!(arg_sbx(code[pc]) + 1);
                    } else {
                        pc += 1;
                    }
                }
                OP_TEST => {
                    if regs[arg_a(i)].is_false() != (arg_c(i) != 0) {
                        dojump!(arg_sbx(code[pc]) + 1);
                    } else {
                        pc += 1;
                    }
                }
                OP_TESTSET => {
                    let rb = regs[reg_b(i)];
                    if rb.is_false() != (arg_c(i) != 0) {
                        regs[arg_a(i)] = rb;
                        dojump!(arg_sbx(code[pc]) + 1);
                    } else {
                        pc += 1;
                    }
                }
                OP_CALL => {
                    let func = base + arg_a(i);
                    let b = arg_b(i);
                    let nresults = arg_c(i) as i32 - 1;
                    if b != 0 {
                        L.th.top = func + b;
                    }
                    count!(CALL_COUNT);
                    L.th.savedpc = pc;
                    let mut f = L.th.stack[func];
                    if !f.is_function() {
                        tryfuncTM(L, func)?;
                        f = L.th.stack[func];
                    }
                    match f {
                        LFunction(r) => {
                            let ncl = L.g.lclosures.get(r).clone().expect("a function");
                            precall_lua(L, host, &ncl.p, func, nresults)?;
                            *nexeccalls += 1;
                            L.callers.push(cl);
                            next_cl = ncl;
                            continue 'reentry;
                        }
                        CFunction(r) => {
                            let f = L.g.cclosures.get(r).as_ref().expect("a function").f;
                            precall_c(L, host, f, func, nresults)?;
                            if nresults >= 0 {
                                L.th.top = L.th.ci[L.th.ci.len() - 1].top;
                            }
                            if L.trace != HOOKS {
                                L.th.savedpc = pc;
                                return Ok(Exit::Switch);
                            }
                            regs = window(&mut L.th.stack, base);
                        }
                        _ => unreachable!("tryfuncTM left a function"),
                    }
                }
                OP_TAILCALL => {
                    let func = base + arg_a(i);
                    let b = arg_b(i);
                    if b != 0 {
                        L.th.top = func + b;
                    }
                    count!(CALL_COUNT);
                    L.th.savedpc = pc;
                    if let Some(ncl) = luaD_precall(L, host, func, LUA_MULTRET)? {
                        // The new frame takes the place of this one.
                        let new = L.th.ci.pop().expect("a frame");
                        let n = L.th.ci.len() - 1;
                        if !L.th.openupval.is_empty() {
                            luaF_close(L, L.th.ci[n].base);
                        }
                        let ci = &mut L.th.ci[n];
                        let to = ci.func;
                        ci.base = to + (new.base - new.func);
                        L.th.stack.copy_within(new.func..L.th.top, to);
                        L.th.top = to + (L.th.top - new.func);
                        ci.top = L.th.top;
                        ci.savedpc = L.th.savedpc;
                        ci.tailcalls += 1;
                        L.th.base = ci.base;
                        next_cl = ncl;
                        continue 'reentry;
                    }
                    if L.trace != HOOKS {
                        L.th.savedpc = pc;
                        return Ok(Exit::Switch);
                    }
                    regs = window(&mut L.th.stack, base);
                }
                OP_RETURN => {
                    let first = base + arg_a(i);
                    let b = arg_b(i);
                    if b != 0 {
                        L.th.top = first + b - 1;
                    }
                    if !L.th.openupval.is_empty() {
                        luaF_close(L, base);
                    }
                    L.th.savedpc = pc;
                    let fixed = luaD_poscall(L, host, first)?;
                    *nexeccalls -= 1;
                    if *nexeccalls == 0 {
                        return Ok(Exit::Done);
                    }
                    if fixed {
                        L.th.top = L.th.ci[L.th.ci.len() - 1].top;
                    }
                    next_cl = match L.callers.len() > entry {
                        true => L.callers.pop().expect("a caller"),
                        false => frame_closure(L),
                    };
                    continue 'reentry;
                }
                OP_FORLOOP => {
                    let a = arg_a(i);
                    // All four registers are there: a function has at most 250.
                    let Some([idx, limit, step, var]) = regs[a..].first_chunk_mut::<4>() else {
                        unreachable!("registers of a loop")
                    };
                    if let (Number(n), &mut Number(limit), &mut Number(step)) = (idx, limit, step) {
                        let next = *n + step;
                        if if 0.0 < step { next <= limit } else { limit <= next } {
                            *n = next;
                            *var = Number(next);
                            dojump!(arg_sbx(i));
                        }
                    }
                }
                OP_FORPREP => {
                    let a = arg_a(i);
                    L.th.savedpc = pc;
                    for (j, what) in ["initial value", "limit", "step"].into_iter().enumerate() {
                        match luaV_tonumber(L, L.th.stack[base + a + j]) {
                            Some(n) => L.th.stack[base + a + j] = Number(n),
                            None => {
                                let msg = luaO_fmt!("'for' %s must be a number", what);
                                return luaG_runerror(L, &msg);
                            }
                        }
                    }
                    regs = window(&mut L.th.stack, base);
                    if let (Number(init), Number(step)) = (regs[a], regs[(a + 2) & 0xff]) {
                        regs[a] = Number(init - step);
                    }
                    dojump!(arg_sbx(i));
                }
                OP_TFORLOOP => {
                    let cb = base + arg_a(i) + 3;
                    L.th.stack.copy_within(cb - 3..cb, cb);
                    L.th.top = cb + 3;
                    L.th.savedpc = pc;
                    luaD_call(L, host, cb, arg_c(i) as i32)?;
                    L.th.top = L.th.ci[L.th.ci.len() - 1].top;
                    let control = L.th.stack[cb];
                    if !control.is_nil() {
                        L.th.stack[cb - 1] = control;
                        regs = window(&mut L.th.stack, base);
                        dojump!(arg_sbx(code[pc]) + 1);
                    } else {
                        pc += 1;
                        regs = window(&mut L.th.stack, base);
                    }
                    if L.trace != HOOKS {
                        L.th.savedpc = pc;
                        return Ok(Exit::Switch);
                    }
                }
                OP_SETLIST => {
                    let ra = base + arg_a(i);
                    let mut n = arg_b(i);
                    let mut c = arg_c(i);
                    if n == 0 {
                        n = L.th.top - ra - 1;
                        L.th.top = L.th.ci[L.th.ci.len() - 1].top;
                    }
                    if c == 0 {
                        c = code[pc] as usize;
                        pc += 1;
                    }
                    L.th.savedpc = pc;
                    setlist(L, ra, n, c)?;
                    regs = window(&mut L.th.stack, base);
                }
                OP_CLOSE => {
                    luaF_close(L, base + arg_a(i));
                    regs = window(&mut L.th.stack, base);
                }
                OP_CLOSURE => {
                    let p = &cl.p.p[arg_bx(i)];
                    let nup = p.nups as usize;
                    let upvals = code[pc..pc + nup]
                        .iter()
                        .map(|&u| {
                            if GET_OPCODE(u) == OP_GETUPVAL {
                                cl.upvals[arg_b(u)]
                            } else {
                                luaF_findupval(L, base + reg_b(u))
                            }
                        })
                        .collect();
                    pc += nup;
                    let ncl = luaF_newLclosure(L, Rc::clone(p), upvals, cl.env.get());
                    regs = window(&mut L.th.stack, base);
                    regs[arg_a(i)] = LFunction(ncl);
                    protect!(luaC_checkGC_host(L, host));
                }
                OP_VARARG => {
                    let ci = L.th.ci[L.th.ci.len() - 1];
                    let n = (ci.base - ci.func - 1).saturating_sub(cl.p.numparams as usize);
                    let mut b = arg_b(i).wrapping_sub(1);
                    let ra = base + arg_a(i);
                    if arg_b(i) == 0 {
                        luaD_checkstack(L, n);
                        b = n;
                        L.th.top = ra + n;
                    }
                    for j in 0..b {
                        L.th.stack[ra + j] = if j < n { L.th.stack[ci.base - n + j] } else { Nil };
                    }
                    regs = window(&mut L.th.stack, base);
                }
                _ => unreachable!("there is no such instruction"),
            }
        }
    }
}

/// `OP_SETLIST`: `n` values above `ra` go into the table there, from item `(c - 1) * 50 + 1` on; the last one
/// first, as in the C.
fn setlist<H>(L: &mut lua_State<H>, ra: StkId, n: usize, c: usize) -> LuaResult<()> {
    let Tab(t) = L.th.stack[ra] else { return Ok(()) };
    let last = (c - 1) * LFIELDS_PER_FLUSH as usize + n;
    let h = L.g.tables.get_mut(t);
    let before = L.g.totalbytes;
    if last > h.array.len() {
        if last > 1 << 26 {
            return table_error(L, TableError::Overflow);
        }
        if let Err(e) = h.resizearray(last, &mut L.g.totalbytes) {
            return table_error(L, e);
        }
    }
    let first = last - n;
    for j in (1..=n).rev() {
        match h.array.get_mut(first + j - 1) {
            Some(v) => *v = L.th.stack[ra + j],
            None => return table_error(L, TableError::Overflow),
        }
    }
    if L.g.totalbytes != before { luaM_checkmem(L) } else { Ok(()) }
}
