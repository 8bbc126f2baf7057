//! Lua 5.1.5 as Redis embeds it, in safe Rust: the files of PUC's `src/` by name and in order.
//!
//! How to read it beside PUC's source. A pointer to an object is a typed 32-bit index into an arena
//! (`TableRef`, `StrRef`, ...), `longjmp` is `Result` ([`LuaResult`]; the error value waits in
//! `L.errorvalue`), and what the host lends to its functions is a parameter (`host: &mut H`) of
//! everything that can run Lua code, and of nothing else.
//!
//! # Layout, in reading order
//! - [`lobject`] values and prototypes, numbers as text; [`lopcodes`] instructions; [`lstate`] a state
//! - [`lstring`] interned strings; [`ltable`] tables; [`ltm`] metamethods; [`lfunc`] closures and upvalues
//! - [`lgc`] the collector; [`lmem`] what memory is counted
//! - [`lzio`] input; [`llex`], [`lparser`], [`lcode`] the compiler in one pass
//! - [`ldo`] calls, errors, coroutines; [`lvm`] the interpreter; [`ldebug`] names in errors, hooks
//! - [`lapi`] what a host calls; [`lauxlib`] what a library calls
//! - [`lbaselib`] to [`ltablib`] the libraries, with [`cstd`], what they take from the C's
//! - [`lua_bit`], [`lua_cjson`], [`lua_cmsgpack`], [`lua_struct`] those that Redis adds
#![forbid(unsafe_code)]

#[macro_use]
pub mod lobject;
pub mod lopcodes;
pub mod lstate;

pub mod lstring;
pub mod ltable;
pub mod ltm;

pub mod lfunc;
pub mod lgc;
pub mod lmem;

pub mod lzio;

pub mod lcode;
pub mod llex;
pub mod lparser;

pub mod ldebug;
pub mod ldo;
pub mod lvm;

#[macro_use]
pub mod lauxlib;
pub mod lapi;

pub mod cstd;
pub mod lbaselib;
pub mod ldblib;
pub mod linit;
pub mod lmathlib;
pub mod lstrlib;
pub mod ltablib;
pub mod lua_bit;
pub mod lua_cjson;
pub mod lua_cmsgpack;
pub mod lua_struct;
mod lwork;

pub use lapi::*;
pub use lauxlib::*;
pub use ldblib::luaopen_debug;
pub use linit::luaL_openlibs;
pub use lobject::{LuaStr, TValue};
pub use lstate::{LuaError, LuaResult, lua_CFunction, lua_Debug, lua_Hook, lua_State};
