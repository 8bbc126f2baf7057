//! `lmem.c`: memory is counted as the C counts it, in `totalbytes`; Rust allocates.
//!
//! Differs: a state may have a limit. It is looked at where Lua code runs and before a library fills a
//! large buffer; a script that goes beyond it ends with "not enough memory".

use crate::ldo::luaD_throw;
use crate::lgc::luaC_collect;
use crate::lstate::*;

/// No string or buffer is larger than this.
pub const MAX_SIZE: usize = 1 << 40;

/// Is the state within its limit, if need be after a collection?
#[inline]
pub fn luaM_checkmem<H>(L: &mut lua_State<H>) -> LuaResult<()> {
    if L.g.totalbytes > L.g.memlimit { checklimit(L, 0) } else { Ok(()) }
}

/// May `n` more bytes be had?
pub fn luaM_checksize<H>(L: &mut lua_State<H>, n: usize) -> LuaResult<()> {
    if n > MAX_SIZE {
        return luaD_throw(L, LUA_ERRMEM);
    }
    if L.g.totalbytes.saturating_add(n) > L.g.memlimit { checklimit(L, n) } else { Ok(()) }
}

#[cold]
fn checklimit<H>(L: &mut lua_State<H>, n: usize) -> LuaResult<()> {
    luaC_collect(L);
    if L.g.totalbytes.saturating_add(n) > L.g.memlimit {
        return luaD_throw(L, LUA_ERRMEM);
    }
    Ok(())
}
