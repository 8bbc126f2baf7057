//! `llex.c`: the lexer.

/// Makes the reserved words, which are never collected.
pub fn luaX_init<H>(_L: &mut crate::lstate::lua_State<H>) {}
