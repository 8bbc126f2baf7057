//! `lfunc.c`: closures and upvalues.
//!
//! Differs: the open upvalues of a thread are a vector, the topmost slot last; an open one says in whose
//! stack it is. Lua functions are shared by reference count, so that a frame can look at its code while the
//! arena changes.

use std::cell::Cell;
use std::rc::Rc;

use crate::lobject::*;
use crate::lstate::*;

/// What the C's structures of closures and upvalues take.
pub const SIZE_CLOSURE: usize = 40;
pub const SIZE_UPVAL: usize = 40;

pub fn luaF_newCclosure<H>(
    L: &mut lua_State<H>,
    f: lua_CFunction<H>,
    upvalue: Box<[TValue]>,
    env: TableRef,
) -> CClosureRef {
    L.g.totalbytes += SIZE_CLOSURE + upvalue.len() * 16;
    L.g.cclosures.alloc(Some(CClosure { f, upvalue, env }), L.g.currentwhite)
}

#[inline]
pub fn luaF_newLclosure<H>(
    L: &mut lua_State<H>,
    p: Rc<Proto>,
    upvals: Box<[UpValRef]>,
    env: TableRef,
) -> LClosureRef {
    L.g.totalbytes += SIZE_CLOSURE + upvals.len() * 8;
    let c = LClosure { p, upvals, env: Cell::new(env) };
    L.g.lclosures.alloc(Some(Rc::new(c)), L.g.currentwhite)
}

/// A closed upvalue that holds nil.
pub fn luaF_newupval<H>(L: &mut lua_State<H>) -> UpValRef {
    L.g.totalbytes += SIZE_UPVAL;
    L.g.upvals.alloc(UpVal::Closed(Nil), L.g.currentwhite)
}

/// The slot of an open upvalue of the running thread.
#[inline(always)]
fn level_of<H>(L: &lua_State<H>, u: UpValRef) -> StkId {
    match L.g.upvals.get(u) {
        UpVal::Open { level, .. } => *level as StkId,
        UpVal::Closed(_) => 0,
    }
}

/// `luaF_findupval`: the upvalue of a slot of the running thread.
#[inline]
pub fn luaF_findupval<H>(L: &mut lua_State<H>, level: StkId) -> UpValRef {
    let mut i = L.th.openupval.len();
    while i > 0 {
        let u = L.th.openupval[i - 1];
        let at = level_of(L, u);
        if at == level {
            return u;
        }
        if at < level {
            break;
        }
        i -= 1;
    }
    L.g.totalbytes += SIZE_UPVAL;
    let v = UpVal::Open { thread: L.thread, level: level as u32 };
    let u = L.g.upvals.alloc(v, L.g.currentwhite);
    L.th.openupval.insert(i, u);
    u
}

/// `luaF_close`: the upvalues of slots from `level` on stand on their own from now on.
pub fn luaF_close<H>(L: &mut lua_State<H>, level: StkId) {
    while let Some(&u) = L.th.openupval.last() {
        let at = level_of(L, u);
        if at < level {
            break;
        }
        *L.g.upvals.get_mut(u) = UpVal::Closed(L.th.stack[at]);
        L.th.openupval.pop();
    }
}

/// The value of an upvalue.
#[inline(always)]
pub fn upval_get<H>(L: &lua_State<H>, u: UpValRef) -> TValue {
    match *L.g.upvals.get(u) {
        UpVal::Closed(v) => v,
        UpVal::Open { thread, level } if thread == L.thread => L.th.stack[level as usize],
        UpVal::Open { thread, level } => upval_elsewhere(L, thread, level),
    }
}

#[cold]
fn upval_elsewhere<H>(L: &lua_State<H>, thread: ThreadRef, level: u32) -> TValue {
    L.g.threads.get(thread).as_ref().map_or(Nil, |t| t.stack[level as usize])
}

/// Sets an upvalue.
#[inline(always)]
pub fn upval_set<H>(L: &mut lua_State<H>, u: UpValRef, v: TValue) {
    match L.g.upvals.get_mut(u) {
        UpVal::Closed(o) => *o = v,
        UpVal::Open { thread, level } if *thread == L.thread => L.th.stack[*level as usize] = v,
        UpVal::Open { thread, level } => {
            if let Some(t) = L.g.threads.get_mut(*thread) {
                t.stack[*level as usize] = v;
            }
        }
    }
}

/// The bytes the C would hold for a prototype.
pub fn proto_bytes(f: &Proto) -> usize {
    120 + f.code.len() * 4
        + f.p.len() * 8
        + f.k.len() * 16
        + f.lineinfo.len() * 4
        + f.locvars.len() * 16
        + f.upvalues.len() * 8
}

/// `luaF_getlocalname`: the name of the n-th local variable that is alive at an instruction.
pub fn luaF_getlocalname(f: &Proto, mut local_number: i32, pc: i32) -> Option<StrRef> {
    for v in &f.locvars {
        if v.startpc > pc {
            break;
        }
        if pc < v.endpc {
            local_number -= 1;
            if local_number == 0 {
                return Some(v.varname);
            }
        }
    }
    None
}
