//! `lparser.c`: the compiler.

use std::rc::Rc;

use crate::lobject::Proto;
use crate::lstate::{LuaResult, lua_State};
use crate::lzio::ZIO;

/// Compiles a chunk. Every string that the lexer makes is kept alive by a table that the caller
/// (`luaD_protectedparser`) has pushed: `L.stack[L.top - 1]`.
pub fn luaY_parser<H>(
    _L: &mut lua_State<H>,
    _host: &mut H,
    _z: &mut ZIO<'_, H>,
    _name: &[u8],
) -> LuaResult<Rc<Proto>> {
    unimplemented!("written next")
}
