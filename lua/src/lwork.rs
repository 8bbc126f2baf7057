//! Work of library functions that counts as instructions.
//!
//! This has no file in PUC's source: there a function of the library runs until it is done, and no hook sees it. A pattern
//! can run for ever, and so can `table.insert` at a position far away; the hook of the host, which ends a script that runs
//! too long, has to get its turn in them.

use crate::lapi::{LUA_HOOKCOUNT, LUA_MASKCOUNT};
use crate::ldebug::resethookcount;
use crate::ldo::luaD_callhook;
use crate::lstate::{LuaResult, lua_State};

/// How many steps a function takes before it counts them.
const STEPS: u32 = 1024;

/// Counts `n` instructions; the count hook runs when it is due, and its error ends the function.
#[inline(never)]
pub fn luaW_charge<H>(L: &mut lua_State<H>, host: &mut H, n: i32) -> LuaResult<()> {
    if L.th.hookmask & LUA_MASKCOUNT == 0 {
        return Ok(());
    }
    L.th.hookcount -= n;
    if L.th.hookcount <= 0 {
        resethookcount(L);
        luaD_callhook(L, host, LUA_HOOKCOUNT, -1)?;
    }
    Ok(())
}

/// The steps of a function that were not counted yet.
#[derive(Default)]
pub struct Work(u32);

impl Work {
    /// A step.
    #[inline(always)]
    pub fn step<H>(&mut self, L: &mut lua_State<H>, host: &mut H) -> LuaResult<()> {
        self.steps(L, host, 1)
    }

    /// `n` steps.
    #[inline(always)]
    pub fn steps<H>(&mut self, L: &mut lua_State<H>, host: &mut H, n: usize) -> LuaResult<()> {
        self.0 = self.0.saturating_add(n as u32);
        if self.0 >= STEPS {
            let n = std::mem::take(&mut self.0);
            luaW_charge(L, host, n.min(1 << 24) as i32)?;
        }
        Ok(())
    }
}
