//! `ldebug.c`: what can be known about active functions, names of variables in error messages, hooks.
//!
//! Differs: what an error is about is a value and, if it is in a register, its slot; the C looks whether the
//! address of the value is in the stack. The code checker is not here, since no bytecode is loaded.

use crate::lapi::luaA_pushobject;
use crate::ldo::luaD_throw;
use crate::lfunc::luaF_getlocalname;
use crate::lobject::*;
use crate::lopcodes::*;
use crate::lstate::*;
use crate::lstring::luaS_newlstr;
use crate::ltable::{luaH_new, luaH_set};
use crate::ltm::luaT_typenames;
use crate::lvm::luaV_tonumber;

pub const LUA_HOOKCALL: i32 = 0;
pub const LUA_HOOKRET: i32 = 1;
pub const LUA_HOOKLINE: i32 = 2;
pub const LUA_HOOKCOUNT: i32 = 3;
pub const LUA_HOOKTAILRET: i32 = 4;
pub const LUA_MASKCALL: u8 = 1 << LUA_HOOKCALL;
pub const LUA_MASKRET: u8 = 1 << LUA_HOOKRET;
pub const LUA_MASKLINE: u8 = 1 << LUA_HOOKLINE;
pub const LUA_MASKCOUNT: u8 = 1 << LUA_HOOKCOUNT;

/// Counts below this are counted at every instruction.
const EXACT_COUNT: i32 = 1000;

/// The Lua function of a frame, if it is one.
fn ci_func<H>(L: &lua_State<H>, ci: usize) -> Option<&LClosure> {
    match L.th.stack[L.th.ci[ci].func] {
        LFunction(r) => L.g.lclosures.get(r).as_deref(),
        _ => None,
    }
}

/// The instruction a frame is at; -1 if it is no Lua function.
fn currentpc<H>(L: &lua_State<H>, ci: usize) -> i32 {
    if ci_func(L, ci).is_none() {
        return -1;
    }
    let savedpc = if ci == L.th.ci.len() - 1 { L.th.savedpc } else { L.th.ci[ci].savedpc };
    savedpc as i32 - 1
}

fn currentline<H>(L: &lua_State<H>, ci: usize) -> i32 {
    let pc = currentpc(L, ci);
    if pc < 0 {
        return -1;
    }
    ci_func(L, ci).and_then(|cl| cl.p.lineinfo.get(pc as usize)).copied().unwrap_or(-1)
}

/// Starts the count anew.
pub fn resethookcount<H>(L: &mut lua_State<H>) {
    L.th.hookcount =
        if L.th.hookmask & LUA_MASKCOUNT != 0 { L.th.basehookcount.max(1) } else { i32::MAX };
}

/// Sets the hook of the running thread: for the events of `mask`, and every `count` instructions. Counts of a
/// thousand and more are not kept to the instruction.
pub fn lua_sethook<H>(L: &mut lua_State<H>, func: Option<lua_Hook<H>>, mask: u8, count: i32) {
    let (func, mask) = if func.is_none() || mask == 0 { (None, 0) } else { (func, mask) };
    L.th.hook = func;
    L.th.basehookcount = count;
    L.th.hookmask = mask;
    resethookcount(L);
    settrace(L);
}

/// Decides which loop of the interpreter the running thread needs.
pub fn settrace<H>(L: &mut lua_State<H>) {
    L.trace = L.th.hookmask & LUA_MASKLINE != 0
        || L.th.hookmask & LUA_MASKCOUNT != 0 && L.th.basehookcount < EXACT_COUNT;
}

pub fn lua_gethook<H>(L: &lua_State<H>) -> Option<lua_Hook<H>> {
    L.th.hook
}

pub fn lua_gethookmask<H>(L: &lua_State<H>) -> u8 {
    L.th.hookmask
}

pub fn lua_gethookcount<H>(L: &lua_State<H>) -> i32 {
    L.th.basehookcount
}

/// Finds the frame at a level, 0 being the running function; false if there are not so many.
pub fn lua_getstack<H>(L: &lua_State<H>, mut level: i32, ar: &mut lua_Debug) -> bool {
    let mut ci = L.th.ci.len() - 1;
    while level > 0 && ci > 0 {
        level -= 1;
        if ci_func(L, ci).is_some() {
            level -= L.th.ci[ci].tailcalls;
        }
        ci -= 1;
    }
    if level == 0 && ci > 0 {
        ar.i_ci = ci;
        true
    } else if level < 0 {
        ar.i_ci = 0;
        true
    } else {
        false
    }
}

/// The name of local variable `n` of a frame; "(*temporary)" for what has none.
fn findlocal<H>(L: &lua_State<H>, ci: usize, n: i32) -> Option<LuaStr> {
    if let Some(cl) = ci_func(L, ci)
        && let Some(name) = luaF_getlocalname(&cl.p, n, currentpc(L, ci))
    {
        return Some(L.g.strings.get(name).data.clone());
    }
    let limit = if ci == L.th.ci.len() - 1 { L.th.top } else { L.th.ci[ci + 1].func };
    let size = limit as i64 - L.th.ci[ci].base as i64;
    (n > 0 && size >= n as i64).then(|| LuaStr::new(b"(*temporary)"))
}

/// Pushes local variable `n` of a frame and tells its name; nothing is pushed if there is none.
pub fn lua_getlocal<H>(L: &mut lua_State<H>, ar: &lua_Debug, n: i32) -> Option<LuaStr> {
    let name = findlocal(L, ar.i_ci, n)?;
    let v = L.th.stack[L.th.ci[ar.i_ci].base + n as usize - 1];
    luaA_pushobject(L, v);
    Some(name)
}

/// Pops a value into local variable `n` of a frame.
pub fn lua_setlocal<H>(L: &mut lua_State<H>, ar: &lua_Debug, n: i32) -> Option<LuaStr> {
    let name = findlocal(L, ar.i_ci, n);
    L.th.top -= 1;
    if name.is_some() {
        let slot = L.th.ci[ar.i_ci].base + n as usize - 1;
        L.th.stack[slot] = L.th.stack[L.th.top];
    }
    name
}

fn funcinfo<H>(L: &lua_State<H>, ar: &mut lua_Debug, f: TValue) {
    let cl = match f {
        LFunction(r) => L.g.lclosures.get(r).as_ref(),
        _ => None,
    };
    match cl {
        None => {
            ar.source = LuaStr::new(b"=[C]");
            ar.linedefined = -1;
            ar.lastlinedefined = -1;
            ar.what = "C";
        }
        Some(cl) => {
            ar.source = L.g.strings.get(cl.p.source).data.clone();
            ar.linedefined = cl.p.linedefined;
            ar.lastlinedefined = cl.p.lastlinedefined;
            ar.what = if ar.linedefined == 0 { "main" } else { "Lua" };
        }
    }
    ar.short_src = luaO_chunkid(&ar.source, LUA_IDSIZE);
}

fn info_tailcall(ar: &mut lua_Debug) {
    ar.name = Some(LuaStr::default());
    ar.namewhat = "";
    ar.what = "tail";
    ar.lastlinedefined = -1;
    ar.linedefined = -1;
    ar.currentline = -1;
    ar.source = LuaStr::new(b"=(tail call)");
    ar.short_src = luaO_chunkid(&ar.source, LUA_IDSIZE);
    ar.nups = 0;
}

/// Fills `ar` with what the letters of `what` ask for: `S` source, `l` line, `u` upvalues, `n` name; `f` pushes
/// the function, `L` a table of its lines; `>` takes the function from the top. False for another letter.
pub fn lua_getinfo<H>(L: &mut lua_State<H>, what: &str, ar: &mut lua_Debug) -> bool {
    let mut f = Nil;
    let mut ci = None;
    let what = match what.strip_prefix('>') {
        Some(rest) => {
            L.th.top -= 1;
            f = L.th.stack[L.th.top];
            rest
        }
        None => {
            if ar.i_ci != 0 {
                ci = Some(ar.i_ci);
                f = L.th.stack[L.th.ci[ar.i_ci].func];
            }
            what
        }
    };
    let status = auxgetinfo(L, what, ar, f, ci);
    if what.contains('f') {
        luaA_pushobject(L, f);
    }
    if what.contains('L') {
        collectvalidlines(L, f);
    }
    status
}

fn auxgetinfo<H>(
    L: &lua_State<H>,
    what: &str,
    ar: &mut lua_Debug,
    f: TValue,
    ci: Option<usize>,
) -> bool {
    if f.is_nil() {
        info_tailcall(ar);
        return true;
    }
    let mut status = true;
    for letter in what.chars() {
        match letter {
            'S' => funcinfo(L, ar, f),
            'l' => ar.currentline = ci.map_or(-1, |ci| currentline(L, ci)),
            'u' => {
                ar.nups = match f {
                    LFunction(r) => {
                        L.g.lclosures.get(r).as_ref().map_or(0, |f| f.upvals.len()) as i32
                    }
                    CFunction(r) => {
                        L.g.cclosures.get(r).as_ref().map_or(0, |f| f.upvalue.len()) as i32
                    }
                    _ => 0,
                }
            }
            'n' => match ci.and_then(|ci| getfuncname(L, ci)) {
                Some((namewhat, name)) => {
                    ar.namewhat = namewhat;
                    ar.name = Some(name);
                }
                None => {
                    ar.namewhat = "";
                    ar.name = None;
                }
            },
            'L' | 'f' => {}
            _ => status = false,
        }
    }
    status
}

fn collectvalidlines<H>(L: &mut lua_State<H>, f: TValue) {
    let LFunction(r) = f else { return luaA_pushobject(L, Nil) };
    let Some(cl) = L.g.lclosures.get(r).clone() else { return luaA_pushobject(L, Nil) };
    let t = luaH_new(L, 0, 0);
    luaA_pushobject(L, Tab(t));
    for &line in &cl.p.lineinfo {
        // Positive numbers are good keys.
        let _ = luaH_set(L, t, Number(line as f64), Boolean(true));
    }
}

/// `symbexec`: walks the code up to `lastpc` and finds the last instruction that changed a register.
fn symbexec(pt: &Proto, lastpc: i32, reg: i32) -> Instruction {
    let mut last = pt.code.len() - 1;
    let mut pc = 0;
    while pc < lastpc {
        let i = pt.code[pc as usize];
        let op = GET_OPCODE(i);
        let a = GETARG_A(i);
        if testAMode(op) && a == reg {
            last = pc as usize;
        }
        match op {
            OP_LOADNIL => {
                if a <= reg && reg <= GETARG_B(i) {
                    last = pc as usize;
                }
            }
            OP_SELF => {
                if reg == a + 1 {
                    last = pc as usize;
                }
            }
            OP_TFORLOOP => {
                if reg >= a + 2 {
                    last = pc as usize;
                }
            }
            OP_FORLOOP | OP_FORPREP | OP_JMP => {
                let dest = pc + 1 + GETARG_sBx(i);
                // A jump forward that does not skip `lastpc` is taken.
                if reg != NO_REG && pc < dest && dest <= lastpc {
                    pc = dest - 1;
                }
            }
            OP_CALL | OP_TAILCALL => {
                if reg >= a {
                    last = pc as usize;
                }
            }
            OP_SETLIST => {
                if GETARG_C(i) == 0 {
                    pc += 1;
                }
            }
            OP_CLOSURE => {
                if reg != NO_REG {
                    pc += pt.p[GETARG_Bx(i) as usize].nups as i32;
                }
            }
            _ => {}
        }
        pc += 1;
    }
    pt.code[last]
}

fn kname<H>(L: &lua_State<H>, p: &Proto, c: i32) -> LuaStr {
    if ISK(c)
        && let Some(Str(s)) = p.k.get(INDEXK(c) as usize)
    {
        return L.g.strings.get(*s).data.clone();
    }
    LuaStr::new(b"?")
}

/// `getobjname`: what kind of variable is in a register, and its name.
fn getobjname<H>(L: &lua_State<H>, ci: usize, stackpos: i32) -> Option<(&'static str, LuaStr)> {
    let cl = ci_func(L, ci)?;
    let p = &*cl.p;
    let pc = currentpc(L, ci);
    if let Some(name) = luaF_getlocalname(p, stackpos + 1, pc) {
        return Some(("local", L.g.strings.get(name).data.clone()));
    }
    let i = symbexec(p, pc, stackpos);
    match GET_OPCODE(i) {
        OP_GETGLOBAL => match p.k.get(GETARG_Bx(i) as usize) {
            Some(Str(s)) => Some(("global", L.g.strings.get(*s).data.clone())),
            _ => None,
        },
        OP_MOVE => {
            let b = GETARG_B(i);
            if b < GETARG_A(i) { getobjname(L, ci, b) } else { None }
        }
        OP_GETTABLE => Some(("field", kname(L, p, GETARG_C(i)))),
        OP_GETUPVAL => {
            let name = match p.upvalues.get(GETARG_B(i) as usize) {
                Some(s) => L.g.strings.get(*s).data.clone(),
                None => LuaStr::new(b"?"),
            };
            Some(("upvalue", name))
        }
        OP_SELF => Some(("method", kname(L, p, GETARG_C(i)))),
        _ => None,
    }
}

/// `getfuncname`: by what name a frame was called.
fn getfuncname<H>(L: &lua_State<H>, ci: usize) -> Option<(&'static str, LuaStr)> {
    if ci == 0 || ci_func(L, ci).is_some() && L.th.ci[ci].tailcalls > 0 {
        return None;
    }
    let ci = ci - 1;
    let cl = ci_func(L, ci)?;
    let i = *cl.p.code.get(currentpc(L, ci) as usize)?;
    match GET_OPCODE(i) {
        OP_CALL | OP_TAILCALL | OP_TFORLOOP => getobjname(L, ci, GETARG_A(i)),
        _ => None,
    }
}

/// Raises "attempt to `op` a ... value", with the name of the variable if the value is in a register.
#[cold]
pub fn luaG_typeerror<H, T>(
    L: &mut lua_State<H>,
    o: TValue,
    pos: Option<StkId>,
    op: &str,
) -> LuaResult<T> {
    let t = luaT_typenames[o.ttype() as usize];
    let ci = L.th.ci.len() - 1;
    let name = pos.filter(|&p| p >= L.th.ci[ci].base).and_then(|p| {
        let reg = (p - L.th.ci[ci].base) as i32;
        getobjname(L, ci, reg)
    });
    let msg = match name {
        Some((kind, name)) => {
            luaO_fmt!("attempt to %s %s '%s' (a %s value)", op, kind, &name, t)
        }
        None => luaO_fmt!("attempt to %s a %s value", op, t),
    };
    luaG_runerror(L, &msg)
}

#[cold]
pub fn luaG_concaterror<H, T>(
    L: &mut lua_State<H>,
    p1: (TValue, StkId),
    p2: (TValue, StkId),
) -> LuaResult<T> {
    let wrong = if matches!(p1.0, Str(_) | Number(_)) { p2 } else { p1 };
    luaG_typeerror(L, wrong.0, Some(wrong.1), "concatenate")
}

#[cold]
pub fn luaG_aritherror<H, T>(
    L: &mut lua_State<H>,
    p1: (TValue, Option<StkId>),
    p2: (TValue, Option<StkId>),
) -> LuaResult<T> {
    let wrong = if luaV_tonumber(L, p1.0).is_none() { p1 } else { p2 };
    luaG_typeerror(L, wrong.0, wrong.1, "perform arithmetic on")
}

#[cold]
pub fn luaG_ordererror<H, T>(L: &mut lua_State<H>, p1: TValue, p2: TValue) -> LuaResult<T> {
    let t1 = luaT_typenames[p1.ttype() as usize];
    let t2 = luaT_typenames[p2.ttype() as usize];
    // The C compares the third letters.
    let msg = if t1.as_bytes()[2] == t2.as_bytes()[2] {
        luaO_fmt!("attempt to compare two %s values", t1)
    } else {
        luaO_fmt!("attempt to compare %s with %s", t1, t2)
    };
    luaG_runerror(L, &msg)
}

/// `luaG_runerror`: raises a message, behind "chunk:line: " if a Lua function runs.
#[cold]
#[inline(never)]
pub fn luaG_runerror<H, T>(L: &mut lua_State<H>, msg: &[u8]) -> LuaResult<T> {
    let ci = L.th.ci.len() - 1;
    let msg = match ci_func(L, ci) {
        Some(cl) => {
            let id = luaO_chunkid(&L.g.strings.get(cl.p.source).data, LUA_IDSIZE);
            luaO_fmt!("%s:%d: %s", &id, currentline(L, ci), msg)
        }
        None => msg.to_vec(),
    };
    L.errorvalue = Str(luaS_newlstr(L, &msg));
    luaD_throw(L, LUA_ERRRUN)
}
