//! `ltm.c`: metamethods.

use crate::lobject::*;
use crate::lstate::*;
use crate::lstring::{luaS_fix, luaS_new};

/// A metamethod: an index into `tmname`.
pub type TMS = usize;
pub const TM_INDEX: TMS = 0;
pub const TM_NEWINDEX: TMS = 1;
pub const TM_GC: TMS = 2;
pub const TM_MODE: TMS = 3;
/// The last one whose absence a table remembers in its flags.
pub const TM_EQ: TMS = 4;
pub const TM_ADD: TMS = 5;
pub const TM_SUB: TMS = 6;
pub const TM_MUL: TMS = 7;
pub const TM_DIV: TMS = 8;
pub const TM_MOD: TMS = 9;
pub const TM_POW: TMS = 10;
pub const TM_UNM: TMS = 11;
pub const TM_LEN: TMS = 12;
pub const TM_LT: TMS = 13;
pub const TM_LE: TMS = 14;
pub const TM_CONCAT: TMS = 15;
pub const TM_CALL: TMS = 16;
pub const TM_N: usize = 17;

/// The names of the types, in the order of the `LUA_T` constants.
pub static luaT_typenames: [&str; 9] =
    ["nil", "boolean", "userdata", "number", "string", "table", "function", "userdata", "thread"];

static luaT_eventname: [&str; TM_N] = [
    "__index",
    "__newindex",
    "__gc",
    "__mode",
    "__eq",
    "__add",
    "__sub",
    "__mul",
    "__div",
    "__mod",
    "__pow",
    "__unm",
    "__len",
    "__lt",
    "__le",
    "__concat",
    "__call",
];

/// Makes the names of the metamethods, which are never collected.
pub fn luaT_init<H>(L: &mut lua_State<H>) {
    for (i, name) in luaT_eventname.iter().enumerate() {
        let s = luaS_new(L, name);
        luaS_fix(L, s);
        L.g.tmname[i] = s;
    }
}

/// `fasttm`: one of the first metamethods of a metatable. That it is absent, is remembered in the table.
#[inline(always)]
pub fn fasttm<H>(g: &mut global_State<H>, mt: Option<TableRef>, event: TMS) -> Option<TValue> {
    let mt = g.tables.get_mut(mt?);
    if mt.flags & 1 << event != 0 {
        return None;
    }
    let tm = mt.getstr(g.tmname[event]);
    if tm.is_nil() {
        mt.flags |= 1 << event;
        return None;
    }
    Some(tm)
}

/// The metatable of a value.
#[inline]
pub fn metatable_of<H>(L: &lua_State<H>, o: TValue) -> Option<TableRef> {
    match o {
        Tab(t) => L.g.tables.get(t).metatable,
        Userdata(u) => L.g.udata.get(u).as_ref().and_then(|u| u.metatable),
        _ => L.g.mt[o.ttype() as usize],
    }
}

/// `luaT_gettmbyobj`: a metamethod of a value, or nil.
#[inline]
pub fn luaT_gettmbyobj<H>(L: &lua_State<H>, o: TValue, event: TMS) -> TValue {
    match metatable_of(L, o) {
        Some(mt) => L.g.tables.get(mt).getstr(L.g.tmname[event]),
        None => Nil,
    }
}
