//! `scripting.c`: EVAL, EVALSHA and SCRIPT, and what a script finds in the table `redis`.
//!
//! Read first: `evalGenericCommand`, which runs a script; `luaRedisGenericCommand`, which is
//! `redis.call`; `scriptingInit`, which makes the world that scripts live in. The interpreter is
//! the crate `fidelis_lua`, file by file beside PUC's.
//!
//! The interpreter is taken out of the server while a script runs, and the server is lent to it:
//! `lua_pcall(lua, server, ..)` hands `&mut Server` to everything that Lua calls. So a command that
//! a script executes has the whole server but for `server.lua`, and nothing that happens meanwhile
//! (an RDB that arrives, an event that is served) can touch the interpreter.
//!
//! The debugger is in scripting/ldb.rs.
//! Differs: the arguments of `redis.call` are written into one buffer (for a command that is sent on,
//! in the form in which it is), where the C makes objects and keeps some for the next call. What a
//! command replies is parsed with its bounds checked. A script of which just the text is known (it
//! came in an RDB while another script was running) is compiled when it is first called.

mod ldb;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::mem::take;

use fidelis_lua::lbaselib::luaopen_base;
use fidelis_lua::lmathlib::luaopen_math;
use fidelis_lua::lstrlib::luaopen_string;
use fidelis_lua::ltablib::luaopen_table;
use fidelis_lua::lua_bit::luaopen_bit;
use fidelis_lua::lua_cjson::luaopen_cjson;
use fidelis_lua::lua_cmsgpack::luaopen_cmsgpack;
use fidelis_lua::lua_struct::luaopen_struct;
use fidelis_lua::{
    FixedFunction, LUA_GCSTEP, LUA_GLOBALSINDEX, LUA_MASKCOUNT, LUA_MASKLINE, LUA_OK, LUA_TBOOLEAN,
    LUA_TNIL, LUA_TNUMBER, LUA_TSTRING, LUA_TTABLE, LuaResult, lua_CFunction, lua_Debug, lua_State,
    lua_call, lua_checkstack, lua_close, lua_createtable, lua_enablereadonlytable, lua_error,
    lua_fixfunction, lua_gc, lua_gccount, lua_getglobal, lua_getinfo, lua_getmetatable,
    lua_getstack, lua_gettop, lua_isnumber, lua_isreadonlytable, lua_isstring, lua_istable,
    lua_newfield, lua_newstrings, lua_newtable, lua_next, lua_number2integer, lua_pcall, lua_pop,
    lua_pushboolean, lua_pushcfunction, lua_pushfixed, lua_pushliteral, lua_pushlstring,
    lua_pushnil, lua_pushnumber, lua_pushstring, lua_pushvalue, lua_rawgeti, lua_rawgetliteral,
    lua_rawset, lua_rawsetglobal, lua_rawseti, lua_setglobal, lua_sethook, lua_setmemorylimit,
    lua_setmetatable, lua_toboolean, lua_tobytes, lua_tolstring, lua_tonumber, lua_type,
    luaL_argcheck, luaL_checkint, luaL_error, luaL_loadbuffer, luaL_newstate, luaopen_debug,
};
use sha1::{Digest, Sha1};

use crate::acl::{ACLCheckAllPerm, addACLLogEntry};
use crate::args::Args;
use crate::blocked::queueClientForReprocessing;
use crate::db::KeyHashHint;
use crate::keyspace::KeyGuess;
use crate::lazyfree::freeLuaScriptsAsync;
use crate::log::{LL_DEBUG, LL_NOTICE, LL_VERBOSE, LL_WARNING, get_log_level, serverLogRaw};
use crate::multi::{execCommandPropagateExec, execCommandPropagateMulti};
use crate::networking::*;
use crate::object::getLongLongFromObjectOrReply;
use crate::replication::{
    replicationFeedMonitors, replicationScriptCacheAdd, replicationScriptCacheExists,
    replicationScriptCacheFlush,
};
use crate::sds::sdsmapchars;
use crate::server::{
    DISK_ERROR_TYPE_NONE, DISK_ERROR_TYPE_RDB, blockingOperationEnds, blockingOperationStarts,
    call, forceCommandPropagation, lookupCommand, preventCommandPropagation,
    writeCommandsDeniedByDiskError,
};
use crate::server_h::*;
use crate::sys::clock::elapsedMs;
use crate::sys::errno::strerror;
use crate::sys::random::random_u64;
use crate::util::{B, c_str, format_17g, short_eq, string2ll, strtod};
use crate::{addReplyErrorFormat, bformat, serverLog};

pub use ldb::{LdbState, ldbKillForkedSessions, ldbPendingChildren, ldbRemoveChild};
use ldb::{
    evalGenericCommandWithDebugging, ldbDisable, ldbEnable, ldbInit, ldbLog, ldbLogRedisReply,
    log_command, log_values, set_line_hook,
};

/// The interpreter, with the server as what it is lent.
type Lua = lua_State<Server>;

/// The name of a script: its SHA1 in hex.
pub type ScriptSha = [u8; 40];

/// The functions of scripts, by the names of the scripts.
pub type ScriptFunctions = HashMap<ScriptSha, FixedFunction, BuildHasherDefault<ShaHasher>>;

/// The hash of the name of a script. A SHA1 is a hash already: some of its digits will do.
#[derive(Default)]
pub struct ShaHasher(u64);

impl Hasher for ShaHasher {
    fn write(&mut self, digits: &[u8]) {
        if let (Some(first), Some(last)) = (digits.first_chunk(), digits.last_chunk()) {
            // The digits are letters, of which some bits are always the same.
            let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
            self.0 = (first ^ last.rotate_left(4)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    /// The length, which is always the same.
    fn write_usize(&mut self, _len: usize) {}

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

/// Globals that the libraries bring.
const libraries_allow_list: &[&str] =
    &["string", "cjson", "bit", "cmsgpack", "math", "table", "struct"];

/// Globals that we bring.
const redis_api_allow_list: &[&str] = &["redis", "__redis__err__handler"];

/// The globals that Lua itself has.
const lua_builtins_allow_list: &[&str] = &[
    "xpcall",
    "tostring",
    "getfenv",
    "setmetatable",
    "next",
    "assert",
    "tonumber",
    "rawequal",
    "collectgarbage",
    "getmetatable",
    "rawset",
    "pcall",
    "coroutine",
    "type",
    "_G",
    "select",
    "unpack",
    "gcinfo",
    "pairs",
    "rawget",
    "loadstring",
    "ipairs",
    "_VERSION",
    "setfenv",
    "load",
    "error",
    "print",
];

/// Globals of Lua that its manual does not mention.
const lua_builtins_not_documented_allow_list: &[&str] = &["newproxy"];

/// There while the world is made, and gone when scripts run.
const lua_builtins_removed_after_initialization_allow_list: &[&str] = &["debug"];

/// The names that may become global. Later nothing may: the table is locked.
const allow_lists: &[&[&str]] = &[
    libraries_allow_list,
    redis_api_allow_list,
    lua_builtins_allow_list,
    lua_builtins_not_documented_allow_list,
    lua_builtins_removed_after_initialization_allow_list,
];

/// Names that are kept out on purpose, so that the log need not say so.
const deny_list: &[&str] = &["dofile", "loadfile"];

// -----------------------------------------------------------------------------
// Utility functions.
// -----------------------------------------------------------------------------

/// The SHA1 of a text in hex: the name of a script, and `redis.sha1hex`.
pub fn sha1hex(script: &[u8]) -> ScriptSha {
    let mut digest = [0; 40];
    for (hex, byte) in digest.chunks_exact_mut(2).zip(Sha1::digest(script)) {
        hex[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        hex[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    digest
}

/// The key that scripts have named last, with its hash, which is the same in all dbs. A key that a
/// script is called with is hashed before, to be prefetched, and mostly used more than once.
#[derive(Default)]
pub struct ScriptKey {
    key: Vec<u8>,
    /// `None`: there was no key yet.
    hash: Option<u64>,
}

impl ScriptKey {
    /// Remembers a key, unless it is a very long one.
    fn set(&mut self, key: &[u8], hash: u64) {
        if key.len() <= 256 {
            self.key.clear();
            self.key.extend_from_slice(key);
            self.hash = Some(hash);
        }
    }

    fn hash_of(&self, key: &[u8]) -> Option<u64> {
        self.hash.filter(|_| short_eq(&self.key, key))
    }
}

/// Pushes a string under which a value can be set, or got.
#[inline]
fn push_key(lua: &mut Lua, key: &'static str) {
    lua_pushliteral(lua, key);
}

/// Sets a field of the table below the top to the value on the top, which it pops.
fn raw_set_field(lua: &mut Lua, key: &'static str) -> LuaResult<()> {
    push_key(lua, key);
    fidelis_lua::lua_insert(lua, -2);
    lua_rawset(lua, -3)
}

/// Pushes a field of the table on the top.
#[inline]
fn raw_get_field(lua: &mut Lua, key: &'static str) {
    lua_rawgetliteral(lua, -1, key);
}

/// Pushes a table with room for `n` elements: as much as it would have after they were set, so
/// nobody can tell it from one that has grown.
fn create_array(lua: &mut Lua, n: usize) {
    let room = if n == 0 { 0 } else { n.next_power_of_two() };
    lua_createtable(lua, i32::try_from(room).unwrap_or(0), 0);
}

/// A C `(int)` of a double, which is the smallest `int` where it does not fit.
fn double_to_int(d: f64) -> i32 {
    if d > f64::from(i32::MIN) - 1.0 && d < f64::from(i32::MAX) + 1.0 { d as i32 } else { i32::MIN }
}

// -----------------------------------------------------------------------------
// Redis reply to Lua type conversion functions.
// -----------------------------------------------------------------------------

/// Converts a reply, in the protocol of the version `resp`, to a Lua value, which is pushed.
/// Returns what follows it.
///
/// An error becomes a table with the field `err`, a status one with the field `ok`.
///
/// C: a stack that is full ends the process; here it is an error of the script. So is a reply
/// inside of another that has no form in Lua (verbatim text, big numbers); one that stands alone is
/// nil, where the C returns whatever is on the stack.
fn redisProtocolToLuaType<'a>(lua: &mut Lua, resp: i32, reply: &'a [u8]) -> LuaResult<&'a [u8]> {
    // A map or a set needs five places.
    if !lua_checkstack(lua, 5) {
        return luaL_error!(lua, "lua stack limit reach when parsing redis.call reply");
    }
    match reply.first() {
        Some(b':') => redisProtocolToLuaType_Int(lua, reply),
        Some(b'$') => redisProtocolToLuaType_Bulk(lua, reply),
        Some(b'+') => redisProtocolToLuaType_Status(lua, reply),
        Some(b'-') => redisProtocolToLuaType_Error(lua, reply),
        Some(&atype @ (b'*' | b'%' | b'~')) => {
            redisProtocolToLuaType_Aggregate(lua, resp, reply, atype)
        }
        Some(b'_') => redisProtocolToLuaType_Null(lua, reply),
        Some(b'#') => redisProtocolToLuaType_Bool(lua, reply, reply.get(1) == Some(&b't')),
        Some(b',') => redisProtocolToLuaType_Double(lua, reply),
        _ => {
            lua_pushnil(lua);
            Ok(b"")
        }
    }
}

/// The text of a reply's first line, without its type, and what follows the line.
fn reply_line(reply: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b'\r', reply).unwrap_or(reply.len()).max(1);
    (reply.get(1..end).unwrap_or_default(), reply.get(end + 2..).unwrap_or_default())
}

fn redisProtocolToLuaType_Int<'a>(lua: &mut Lua, reply: &'a [u8]) -> LuaResult<&'a [u8]> {
    let (line, rest) = reply_line(reply);
    lua_pushnumber(lua, string2ll(line).unwrap_or(0) as f64);
    Ok(rest)
}

fn redisProtocolToLuaType_Bulk<'a>(lua: &mut Lua, reply: &'a [u8]) -> LuaResult<&'a [u8]> {
    let (line, rest) = reply_line(reply);
    match usize::try_from(string2ll(line).unwrap_or(-1)) {
        Err(_) => {
            lua_pushboolean(lua, false);
            Ok(rest)
        }
        Ok(bulklen) => {
            lua_pushlstring(lua, rest.get(..bulklen).unwrap_or_default());
            Ok(rest.get(bulklen + 2..).unwrap_or_default())
        }
    }
}

/// Pushes a table with one field, the rest of the line.
fn push_line_table<'a>(lua: &mut Lua, reply: &'a [u8], field: &'static str) -> LuaResult<&'a [u8]> {
    let (line, rest) = reply_line(reply);
    match line {
        b"OK" => lua_pushliteral(lua, "OK"),
        _ => lua_pushlstring(lua, line),
    }
    lua_newfield(lua, field)?;
    Ok(rest)
}

fn redisProtocolToLuaType_Status<'a>(lua: &mut Lua, reply: &'a [u8]) -> LuaResult<&'a [u8]> {
    push_line_table(lua, reply, "ok")
}

fn redisProtocolToLuaType_Error<'a>(lua: &mut Lua, reply: &'a [u8]) -> LuaResult<&'a [u8]> {
    push_line_table(lua, reply, "err")
}

/// An array is a table; a map and a set of RESP3 are a table with one field, `map` or `set`, that
/// holds the table.
fn redisProtocolToLuaType_Aggregate<'a>(
    lua: &mut Lua,
    resp: i32,
    reply: &'a [u8],
    atype: u8,
) -> LuaResult<&'a [u8]> {
    let (line, mut rest) = reply_line(reply);
    let mbulklen = string2ll(line).unwrap_or(0);
    let element = |lua: &mut Lua, rest: &'a [u8]| {
        if rest.first().is_none_or(|t| !b":$+-*%~_#,".contains(t)) {
            return luaL_error!(lua, "a part of the reply has no form in Lua");
        }
        redisProtocolToLuaType(lua, resp, rest)
    };
    if resp == 2 || atype == b'*' {
        if mbulklen == -1 {
            lua_pushboolean(lua, false);
            return Ok(rest);
        }
        // Where there may be no nil among the elements.
        create_array(lua, if resp == 2 { usize::try_from(mbulklen).unwrap_or(0) } else { 0 });
        for j in 0..mbulklen {
            rest = element(lua, rest)?;
            lua_rawseti(lua, -2, (j + 1) as i32)?;
        }
        return Ok(rest);
    }
    lua_newtable(lua);
    push_key(lua, if atype == b'%' { "map" } else { "set" });
    lua_newtable(lua);
    for _ in 0..mbulklen {
        rest = element(lua, rest)?;
        if atype == b'%' {
            rest = element(lua, rest)?;
        } else {
            // The elements may have used up the room.
            if !lua_checkstack(lua, 1) {
                return luaL_error!(lua, "lua stack limit reach when parsing redis.call reply");
            }
            lua_pushboolean(lua, true);
        }
        lua_rawset(lua, -3)?;
    }
    lua_rawset(lua, -3)?;
    Ok(rest)
}

fn redisProtocolToLuaType_Null<'a>(lua: &mut Lua, reply: &'a [u8]) -> LuaResult<&'a [u8]> {
    let (_, rest) = reply_line(reply);
    lua_pushnil(lua);
    Ok(rest)
}

fn redisProtocolToLuaType_Bool<'a>(
    lua: &mut Lua,
    reply: &'a [u8],
    tf: bool,
) -> LuaResult<&'a [u8]> {
    let (_, rest) = reply_line(reply);
    lua_pushboolean(lua, tf);
    Ok(rest)
}

fn redisProtocolToLuaType_Double<'a>(lua: &mut Lua, reply: &'a [u8]) -> LuaResult<&'a [u8]> {
    let (line, rest) = reply_line(reply);
    lua_pushnumber(lua, strtod(line).value);
    lua_newfield(lua, "double")?;
    Ok(rest)
}

/// Pushes an error as `redis.pcall` returns it: a table whose field `err` is the text, behind the
/// place in the script that called.
///
/// It is shown to who debugs, if the script stands.
fn luaPushError(lua: &mut Lua, server: &mut Server, error: &[u8]) -> LuaResult<()> {
    if server.ldb.active && server.ldb.step {
        ldbLog(&mut server.ldb, bformat!("<error> {}", B(c_str(error))));
    }
    let mut dbg = lua_Debug::default();
    if lua_getstack(lua, 1, &mut dbg) && lua_getinfo(lua, "nSl", &mut dbg) {
        let msg = bformat!("{}: {}: {}", B(c_str(&dbg.source)), dbg.currentline, B(error));
        lua_pushlstring(lua, &msg);
    } else {
        lua_pushlstring(lua, error);
    }
    lua_newfield(lua, "err")
}

/// Raises the error in the table on the top, where `redis.call` does not return it.
fn luaRaiseError(lua: &mut Lua) -> LuaResult<i32> {
    raw_get_field(lua, "err");
    lua_error(lua)
}

/// Sorts the array on the top with `table.sort`, so that a script that is executed again elsewhere
/// sees the elements of a set, which have no order of their own, in the same one. They are all
/// strings.
fn luaSortArray(lua: &mut Lua, server: &mut Server) -> LuaResult<()> {
    lua_getglobal(lua, server, "table")?;
    raw_get_field(lua, "sort");
    lua_pushvalue(lua, -3);
    lua_call(lua, server, 1, 0)?;
    lua_pop(lua, 1);
    Ok(())
}

// -----------------------------------------------------------------------------
// Lua reply to Redis reply conversion functions.
// -----------------------------------------------------------------------------

/// Replies to a client with the value on the top, which is popped.
fn luaReplyToRedisReply(server: &mut Server, c: ClientId, lua: &mut Lua) -> LuaResult<()> {
    // A map needs four places.
    if !lua_checkstack(lua, 4) {
        addReplyError(server, c, b"reached lua stack limit");
        lua_pop(lua, 1);
        return Ok(());
    }
    match lua_type(lua, -1) {
        LUA_TSTRING => {
            addReplyBulkCBuffer(server, c, lua_tobytes(lua, -1).unwrap_or_default());
        }
        LUA_TBOOLEAN => {
            let truth = lua_toboolean(lua, -1);
            if server[lua_client(server)].resp == 2 {
                addReply(server, c, if truth { shared::cone } else { shared::null });
            } else {
                addReplyBool(server, c, truth);
            }
        }
        LUA_TNUMBER => {
            addReplyLongLong(server, c, lua_number2integer(lua_tonumber(lua, -1)) as i64);
        }
        LUA_TTABLE => return reply_with_table(server, c, lua),
        _ => addReplyNull(server, c),
    }
    lua_pop(lua, 1);
    Ok(())
}

/// The part of `luaReplyToRedisReply` for tables: an error, a status, a double, a map, a set, or an
/// array up to its first nil.
fn reply_with_table(server: &mut Server, c: ClientId, lua: &mut Lua) -> LuaResult<()> {
    raw_get_field(lua, "err");
    if lua_type(lua, -1) == LUA_TSTRING {
        let err = c_str(lua_tobytes(lua, -1).unwrap_or_default());
        addReplyErrorFormat!(server, c, "-{}", B(err));
        lua_pop(lua, 2);
        return Ok(());
    }
    lua_pop(lua, 1);

    raw_get_field(lua, "ok");
    if lua_type(lua, -1) == LUA_TSTRING {
        let ok = c_str(lua_tobytes(lua, -1).unwrap_or_default());
        if ok == b"OK" {
            addReply(server, c, shared::ok);
        } else if memchr::memchr2(b'\r', b'\n', ok).is_none() {
            addReplyStatus(server, c, ok);
        } else {
            let mut ok = ok.to_vec();
            sdsmapchars(&mut ok, b"\r\n", b"  ");
            addReplyStatus(server, c, &ok);
        }
        lua_pop(lua, 2);
        return Ok(());
    }
    lua_pop(lua, 1);

    raw_get_field(lua, "double");
    if lua_type(lua, -1) == LUA_TNUMBER {
        addReplyDouble(server, c, lua_tonumber(lua, -1));
        lua_pop(lua, 2);
        return Ok(());
    }
    lua_pop(lua, 1);

    raw_get_field(lua, "map");
    if lua_type(lua, -1) == LUA_TTABLE {
        let mut maplen = 0;
        let replylen = addReplyDeferredLen(server, c);
        lua_pushnil(lua);
        while lua_next(lua, -2)? {
            // Here are: the table, a key, its value. The key is needed to go on.
            lua_pushvalue(lua, -2);
            luaReplyToRedisReply(server, c, lua)?;
            luaReplyToRedisReply(server, c, lua)?;
            maplen += 1;
        }
        setDeferredMapLen(server, c, replylen, maplen);
        lua_pop(lua, 2);
        return Ok(());
    }
    lua_pop(lua, 1);

    raw_get_field(lua, "set");
    if lua_type(lua, -1) == LUA_TTABLE {
        let mut setlen = 0;
        let replylen = addReplyDeferredLen(server, c);
        lua_pushnil(lua);
        while lua_next(lua, -2)? {
            // Here are: the table, a key, and a value that says nothing.
            lua_pop(lua, 1);
            lua_pushvalue(lua, -1);
            luaReplyToRedisReply(server, c, lua)?;
            setlen += 1;
        }
        setDeferredSetLen(server, c, replylen, setlen);
        lua_pop(lua, 2);
        return Ok(());
    }
    lua_pop(lua, 1);

    let replylen = addReplyDeferredLen(server, c);
    let mut mbulklen = 0;
    loop {
        lua_rawgeti(lua, -1, mbulklen + 1);
        if lua_type(lua, -1) == LUA_TNIL {
            lua_pop(lua, 1);
            break;
        }
        luaReplyToRedisReply(server, c, lua)?;
        mbulklen += 1;
    }
    setDeferredArrayLen(server, c, replylen, mbulklen);
    lua_pop(lua, 1);
    Ok(())
}

// -----------------------------------------------------------------------------
// Lua redis.* functions implementations.
// -----------------------------------------------------------------------------

/// The client that executes the commands of scripts.
#[track_caller]
fn lua_client(server: &Server) -> ClientId {
    server.lua_client.expect("scripting is initialised at start")
}

/// The client whose script runs.
#[track_caller]
fn lua_caller(server: &Server) -> ClientId {
    server.lua_caller.expect("a script runs because somebody has called it")
}

/// A buffer of arguments, or of a reply, is kept for the next command up to this size, in bytes.
const KEPT_BUFFER: usize = 64 * 1024;

/// Executes a command for a script, and pushes its reply: `redis.call`, and `redis.pcall` without
/// `raise_error`. What is wrong with the call, or with the command, is raised, or returned as a
/// table.
// C: a call from within a call is refused. It would take the library `debug`, which scripts do not
// have.
fn luaRedisGenericCommand(
    lua: &mut Lua,
    server: &mut Server,
    mut raise_error: bool,
) -> LuaResult<i32> {
    let argc = lua_gettop(lua);
    if argc == 0 {
        luaPushError(lua, server, b"Please specify at least one argument for redis.call()")?;
        return if raise_error { luaRaiseError(lua) } else { Ok(1) };
    }

    // The arguments. Numbers are written with more digits than Lua writes them with.
    let mut argv = take(&mut server.lua_argv);
    let cmd = match lua_tobytes(lua, 1) {
        Some(name) => lookupCommand(server, name),
        None => lookupCommand(server, &format_17g(lua_tonumber(lua, 1))),
    };
    let sent_on = is_sent_on(server, cmd);
    if sent_on {
        argv.begin(argc as usize);
    } else {
        argv.begin_bare();
    }
    let mut push = |arg: &[u8]| if sent_on { argv.push(arg) } else { argv.push_bare(arg) };
    let mut strings = true;
    for j in 1..=argc {
        if let Some(arg) = lua_tobytes(lua, j) {
            push(arg);
        } else if lua_type(lua, j) == LUA_TNUMBER {
            push(&format_17g(lua_tonumber(lua, j)));
        } else {
            strings = false;
            break;
        }
    }
    if !strings {
        server.lua_argv = argv;
        luaPushError(lua, server, b"Lua redis() command arguments must be strings or integers")?;
        return if raise_error { luaRaiseError(lua) } else { Ok(1) };
    }
    // They are no longer needed, and the reply needs the room.
    lua_pop(lua, argc);

    server.lua_used = lua_gccount(lua);
    let args = if sent_on { argv.as_args() } else { argv.bare_args() };
    let pushed = execute_for_script(lua, server, cmd, &args, &mut raise_error);
    let c = lua_client(server);
    server[c].user = None;
    if argv.mem_usage() <= KEPT_BUFFER {
        server.lua_argv = argv;
    }
    pushed?;
    if raise_error { luaRaiseError(lua) } else { Ok(1) }
}

/// Tells whether a command may have to be written down for replicas or the append only file.
fn is_sent_on(server: &Server, cmd: Option<CommandId>) -> bool {
    (server.repl_backlog || server.aof_state != AOF_OFF)
        && cmd.is_some_and(|cmd| server.commands[cmd].flags & (CMD_WRITE | CMD_MAY_REPLICATE) != 0)
}

/// The part of `luaRedisGenericCommand` that has the arguments: checks what a script may do,
/// executes, pushes the reply. `raise_error` becomes false if that is no error.
fn execute_for_script(
    lua: &mut Lua,
    server: &mut Server,
    cmd: Option<CommandId>,
    argv: &Args,
    raise_error: &mut bool,
) -> LuaResult<()> {
    // The client of scripts executes with the permissions of whoever has called the script.
    let (c, caller) = (lua_client(server), lua_caller(server));
    let (caller_flags, caller_user) = (server[caller].flags, server[caller].user);
    server[c].user = caller_user;
    if server.ldb.active && server.ldb.step {
        log_command(&mut server.ldb, argv);
    }

    // Is there such a command, with so many arguments, and is it for scripts?
    let Some(cmd) = cmd else {
        return luaPushError(lua, server, b"Unknown Redis command called from Lua script");
    };
    let command = &server.commands[cmd];
    let (flags, firstkey) = (command.flags, command.firstkey);
    let (argc, arity) = (argv.len() as i64, i64::from(command.arity));
    if (arity > 0 && arity != argc) || argc < -arity {
        return luaPushError(
            lua,
            server,
            b"Wrong number of args calling Redis command From Lua script",
        );
    }
    let client = &mut server.clients[c];
    client.cmd = Some(cmd);
    client.lastcmd = Some(cmd);

    if flags & CMD_NOSCRIPT != 0 {
        return luaPushError(lua, server, b"This Redis command is not allowed from scripts");
    }

    // May the user run it, on these keys and channels?
    if let Err(denied) = ACLCheckAllPerm(server, c, cmd, argv) {
        addACLLogEntry(server, c, denied, argv, None);
        let text = match denied.reason {
            ACL_DENIED_CMD => "The user executing the script can't run this command or subcommand",
            ACL_DENIED_KEY => {
                "The user executing the script can't access at least one of the keys mentioned in the command arguments"
            }
            ACL_DENIED_CHANNEL => {
                "The user executing the script can't publish to the channel mentioned in the command"
            }
            ACL_DENIED_AUTH => {
                "The user executing the script is lacking the permissions for the command"
            }
        };
        return luaPushError(lua, server, text.as_bytes());
    }

    // Writes are refused as `processCommand` refuses them, and behind something that is different
    // on each server, if it is the script that is sent to the replicas.
    if flags & CMD_WRITE != 0 {
        let deny_write_type = writeCommandsDeniedByDiskError(server);
        if server.lua_random_dirty && !server.lua_replicate_commands {
            return luaPushError(
                lua,
                server,
                b"Write commands not allowed after non deterministic commands. Call redis.replicate_commands() at the start of your script in order to switch to single commands replication mode.",
            );
        }
        if server.masterhost.is_some()
            && server.repl_slave_ro
            && !server.loading
            && caller_flags & CLIENT_MASTER == 0
        {
            return luaPushError(lua, server, shared::roslaveerr.bytes(2));
        }
        if deny_write_type == DISK_ERROR_TYPE_RDB {
            return luaPushError(lua, server, shared::bgsaveerr.bytes(2));
        }
        if deny_write_type != DISK_ERROR_TYPE_NONE {
            let text = bformat!(
                "-MISCONF Errors writing to the AOF file: {}\r\n",
                strerror(server.aof_last_write_errno)
            );
            return luaPushError(lua, server, &text);
        }
        if server.masterhost.is_none()
            && server.repl_min_slaves_max_lag != 0
            && server.repl_min_slaves_to_write != 0
            && server.repl_good_slaves_count < server.repl_min_slaves_to_write
        {
            return luaPushError(lua, server, shared::noreplicaserr.bytes(2));
        }
    }

    // When memory is short the first write is refused that takes more of it. A script that has
    // written is not stopped in the middle.
    if server.maxmemory != 0
        && !server.loading
        && server.masterhost.is_none()
        && !server.lua_write_dirty
        && server.lua_oom
        && flags & CMD_DENYOOM != 0
    {
        return luaPushError(lua, server, shared::oomerr.bytes(2));
    }

    if flags & CMD_RANDOM != 0 {
        server.lua_random_dirty = true;
    }
    if flags & CMD_WRITE != 0 {
        server.lua_write_dirty = true;
    }

    // Where it is the commands that are sent, they are sent as a transaction: a script is atomic.
    if server.lua_replicate_commands
        && !server.lua_multi_emitted
        && caller_flags & CLIENT_MULTI == 0
        && server.lua_write_dirty
        && server.lua_repl != PROPAGATE_NONE
    {
        execCommandPropagateMulti(server, server[caller].db as i32);
        server.lua_multi_emitted = true;
        server[c].flags |= CLIENT_MULTI;
    }

    // Execute it. If the script itself is propagated, its commands are not.
    let mut call_flags = CMD_CALL_SLOWLOG | CMD_CALL_STATS;
    if server.lua_replicate_commands {
        if server.lua_repl & PROPAGATE_AOF != 0 {
            call_flags |= CMD_CALL_PROPAGATE_AOF;
        }
        if server.lua_repl & PROPAGATE_REPL != 0 {
            call_flags |= CMD_CALL_PROPAGATE_REPL;
        }
    }
    // What the script did since its last command is not this one's time.
    server.command_clock = 0;
    // The hint is good for as long as the arguments stay where they are.
    let hint = server.key_hash_hint;
    if firstkey == 1 {
        server.key_hash_hint = hash_hint(server, argv.get(1));
    }
    call(server, c, argv, call_flags);
    server.key_hash_hint = hint;

    // Convert the reply, in one piece, to a value of Lua. An error is raised by `redis.call`, and
    // any other reply never.
    let client = &mut server.clients[c];
    assert_eq!(client.flags & CLIENT_BLOCKED, 0);
    let mut reply = take(&mut client.buf);
    for node in client.reply.drain(..) {
        if let ReplyNode::Block(block) = node {
            reply.extend_from_slice(&block);
        }
    }
    client.reply_bytes = 0;
    let resp = client.resp;
    if reply.first() != Some(&b'-') {
        *raise_error = false;
    }
    let converted = redisProtocolToLuaType(lua, resp, &reply).map(drop);
    if server.ldb.active && server.ldb.step {
        ldbLogRedisReply(&mut server.ldb, &reply);
    }
    // A script that is executed again elsewhere has to see the same order.
    let sorted = flags & CMD_SORT_FOR_SCRIPT != 0
        && !server.lua_replicate_commands
        && reply.first() == Some(&b'*')
        && reply.get(1) != Some(&b'-');
    if reply.capacity() <= KEPT_BUFFER {
        reply.clear();
        server[c].buf = reply;
    }
    converted?;
    if sorted {
        luaSortArray(lua, server)?;
    }
    Ok(())
}

/// Returns a hint of the hash of a key, which is the one that scripts have named last from now on.
fn hash_hint(server: &mut Server, key: &[u8]) -> KeyHashHint {
    let hash = server.lua_key.hash_of(key).unwrap_or_else(|| {
        let hash = server.db[0].dict.hash(key);
        server.lua_key.set(key, hash);
        hash
    });
    KeyHashHint::new(key.as_ptr().addr(), key.len(), KeyGuess::new(hash))
}

/// `redis.call()`
fn luaRedisCallCommand(lua: &mut Lua, server: &mut Server) -> LuaResult<i32> {
    luaRedisGenericCommand(lua, server, true)
}

/// `redis.pcall()`
fn luaRedisPCallCommand(lua: &mut Lua, server: &mut Server) -> LuaResult<i32> {
    luaRedisGenericCommand(lua, server, false)
}

/// `redis.sha1hex(string)`
fn luaRedisSha1hexCommand(lua: &mut Lua, _server: &mut Server) -> LuaResult<i32> {
    if lua_gettop(lua) != 1 {
        lua_pushstring(lua, "wrong number of arguments");
        return lua_error(lua);
    }
    // What is no string has no bytes.
    let digest = sha1hex(&lua_tolstring(lua, 1).unwrap_or_default());
    lua_pushlstring(lua, &digest);
    Ok(1)
}

/// Returns a table with one field that is the argument, a string.
fn luaRedisReturnSingleFieldTable(
    lua: &mut Lua,
    server: &mut Server,
    field: &'static str,
) -> LuaResult<i32> {
    if lua_gettop(lua) != 1 || lua_type(lua, -1) != LUA_TSTRING {
        luaPushError(lua, server, b"wrong number or type of arguments")?;
        return Ok(1);
    }
    lua_newtable(lua);
    push_key(lua, field);
    lua_pushvalue(lua, -3);
    lua_rawset(lua, -3)?;
    Ok(1)
}

/// `redis.error_reply()`
fn luaRedisErrorReplyCommand(lua: &mut Lua, server: &mut Server) -> LuaResult<i32> {
    luaRedisReturnSingleFieldTable(lua, server, "err")
}

/// `redis.status_reply()`
fn luaRedisStatusReplyCommand(lua: &mut Lua, server: &mut Server) -> LuaResult<i32> {
    luaRedisReturnSingleFieldTable(lua, server, "ok")
}

/// `redis.replicate_commands()`: has the commands of the script sent to the replicas, instead of
/// the script. Returns false if it is too late, because the script has written.
fn luaRedisReplicateCommandsCommand(lua: &mut Lua, server: &mut Server) -> LuaResult<i32> {
    if server.lua_write_dirty {
        lua_pushboolean(lua, false);
    } else {
        server.lua_replicate_commands = true;
        // Nobody has to draw the same numbers any more.
        server.lua_rand.redisSrand48((random_u64() >> 33) as i32);
        lua_pushboolean(lua, true);
    }
    Ok(1)
}

/// `redis.breakpoint()`: stops in the debugger, at the next line. False: nobody debugs.
fn luaRedisBreakpointCommand(lua: &mut Lua, server: &mut Server) -> LuaResult<i32> {
    let active = server.ldb.active;
    if active {
        server.ldb.luabp = true;
    }
    lua_pushboolean(lua, active);
    Ok(1)
}

/// `redis.debug(...)`: shows values in the debugger, and does nothing without.
fn luaRedisDebugCommand(lua: &mut Lua, server: &mut Server) -> LuaResult<i32> {
    if server.ldb.active {
        let argc = lua_gettop(lua);
        log_values(lua, &mut server.ldb, argc)?;
    }
    Ok(0)
}

/// `redis.set_repl(flags)`: where the writes that follow are sent to (`PROPAGATE_*`).
fn luaRedisSetReplCommand(lua: &mut Lua, server: &mut Server) -> LuaResult<i32> {
    let argc = lua_gettop(lua);
    if !server.lua_replicate_commands {
        lua_pushstring(
            lua,
            "You can set the replication behavior only after turning on single commands replication with redis.replicate_commands().",
        );
        return lua_error(lua);
    } else if argc != 1 {
        lua_pushstring(lua, "redis.set_repl() requires two arguments.");
        return lua_error(lua);
    }
    let flags = double_to_int(lua_tonumber(lua, -1));
    if flags & !(PROPAGATE_AOF | PROPAGATE_REPL) != 0 {
        lua_pushstring(
            lua,
            "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.",
        );
        return lua_error(lua);
    }
    server.lua_repl = flags;
    Ok(0)
}

/// `redis.log(level, ...)`
fn luaLogCommand(lua: &mut Lua, _server: &mut Server) -> LuaResult<i32> {
    let argc = lua_gettop(lua);
    if argc < 2 {
        lua_pushstring(lua, "redis.log() requires two arguments or more.");
        return lua_error(lua);
    } else if !lua_isnumber(lua, 1) {
        lua_pushstring(lua, "First argument must be a number (log level).");
        return lua_error(lua);
    }
    let level = double_to_int(lua_tonumber(lua, 1));
    if !(LL_DEBUG..=LL_WARNING).contains(&level) {
        lua_pushstring(lua, "Invalid debug level.");
        return lua_error(lua);
    }
    if level < get_log_level() {
        return Ok(0);
    }
    let mut log = Vec::new();
    for j in 2..=argc {
        if let Some(s) = lua_tolstring(lua, j) {
            if j != 2 {
                log.push(b' ');
            }
            log.extend_from_slice(&s);
        }
    }
    serverLogRaw(level, c_str(&log));
    Ok(0)
}

/// `redis.setresp(2|3)`: in which version of the protocol the script sees replies, and its own is
/// meant.
fn luaSetResp(lua: &mut Lua, server: &mut Server) -> LuaResult<i32> {
    if lua_gettop(lua) != 1 {
        lua_pushstring(lua, "redis.setresp() requires one argument.");
        return lua_error(lua);
    }
    let resp = double_to_int(lua_tonumber(lua, 1));
    if resp != 2 && resp != 3 {
        lua_pushstring(lua, "RESP version must be 2 or 3.");
        return lua_error(lua);
    }
    let c = lua_client(server);
    server[c].resp = resp;
    Ok(0)
}

// -----------------------------------------------------------------------------
// Lua engine initialization and reset.
// -----------------------------------------------------------------------------

fn luaLoadLib(
    lua: &mut Lua,
    server: &mut Server,
    libname: &str,
    luafunc: lua_CFunction<Server>,
) -> LuaResult<()> {
    lua_pushcfunction(lua, luafunc);
    lua_pushstring(lua, libname);
    lua_call(lua, server, 1, 0)
}

/// Opens the libraries that scripts have. Not among them: `package`, `io`, `os`.
fn luaLoadLibraries(lua: &mut Lua, server: &mut Server) -> LuaResult<()> {
    luaLoadLib(lua, server, "", luaopen_base)?;
    luaLoadLib(lua, server, "table", luaopen_table)?;
    luaLoadLib(lua, server, "string", luaopen_string)?;
    luaLoadLib(lua, server, "math", luaopen_math)?;
    luaLoadLib(lua, server, "debug", luaopen_debug)?;
    luaLoadLib(lua, server, "cjson", luaopen_cjson)?;
    luaLoadLib(lua, server, "struct", luaopen_struct)?;
    luaLoadLib(lua, server, "cmsgpack", luaopen_cmsgpack)?;
    luaLoadLib(lua, server, "bit", luaopen_bit)
}

/// `__index` of the global table: what is asked for does not exist.
fn luaProtectedTableError(lua: &mut Lua, _server: &mut Server) -> LuaResult<i32> {
    if lua_gettop(lua) != 2 {
        serverLog!(
            LL_WARNING,
            "malicious code trying to call luaProtectedTableError with wrong arguments"
        );
        return luaL_error!(lua, "Wrong number of arguments to luaProtectedTableError");
    }
    if !lua_isstring(lua, -1) {
        return luaL_error!(
            lua,
            "Second argument to luaProtectedTableError must be a string or number"
        );
    }
    let variable_name = lua_tolstring(lua, -1).unwrap_or_default();
    luaL_error!(
        lua,
        "Script attempted to access nonexistent global variable '%s'",
        c_str(&variable_name)
    )
}

/// Gives the table on the top a metatable with which it is an error to get what is not there.
fn luaSetErrorMetatable(lua: &mut Lua) -> LuaResult<()> {
    lua_newtable(lua);
    lua_pushcfunction(lua, luaProtectedTableError);
    raw_set_field(lua, "__index")?;
    lua_setmetatable(lua, -2)
}

/// Makes the table on the top readonly, and all that can be reached from it, metatables included.
fn luaSetTableProtectionRecursively(lua: &mut Lua) -> LuaResult<()> {
    // This also ends the way around a circle: `_G` has itself as a field.
    if lua_isreadonlytable(lua, -1) {
        return Ok(());
    }
    lua_enablereadonlytable(lua, -1, true);
    lua_checkstack(lua, 2);
    lua_pushnil(lua);
    while lua_next(lua, -2)? {
        if lua_istable(lua, -1) {
            luaSetTableProtectionRecursively(lua)?;
        }
        lua_pop(lua, 1);
    }
    if lua_getmetatable(lua, -1) {
        luaSetTableProtectionRecursively(lua)?;
        lua_pop(lua, 1);
    }
    Ok(())
}

/// `__newindex` of the global table while the libraries are opened: lets in what is on a list, and
/// nothing else.
fn luaNewIndexAllowList(lua: &mut Lua, _server: &mut Server) -> LuaResult<i32> {
    if lua_gettop(lua) != 3 {
        serverLog!(
            LL_WARNING,
            "malicious code trying to call luaNewIndexAllowList with wrong arguments"
        );
        return luaL_error!(lua, "Wrong number of arguments to luaNewIndexAllowList");
    }
    if !lua_istable(lua, -3) {
        return luaL_error!(lua, "first argument to luaNewIndexAllowList must be a table");
    }
    if !lua_isstring(lua, -2) {
        return luaL_error!(
            lua,
            "Second argument to luaNewIndexAllowList must be a string or number"
        );
    }
    let name = lua_tolstring(lua, -2).unwrap_or_default();
    let name = c_str(&name);
    let listed = |list: &[&str]| list.iter().any(|n| n.as_bytes() == name);
    if allow_lists.iter().any(|list| listed(list)) {
        lua_rawset(lua, -3)?;
    } else if !listed(deny_list) {
        serverLog!(
            LL_WARNING,
            "A key '{}' was added to Lua globals which is not on the globals allow list nor listed on the deny list.",
            B(name)
        );
    }
    Ok(0)
}

/// Gives the table on the top a metatable with which only names of the lists can be added.
fn luaSetAllowListProtection(lua: &mut Lua) -> LuaResult<()> {
    lua_newtable(lua);
    lua_pushcfunction(lua, luaNewIndexAllowList);
    raw_set_field(lua, "__newindex")?;
    lua_setmetatable(lua, -2)
}

/// Makes the world that scripts live in. At start (`setup`), and again after each
/// `scriptingRelease`.
pub fn scriptingInit(server: &mut Server, setup: bool) {
    if setup {
        server.lua_client = None;
        server.lua_caller = None;
        server.lua_cur_script = None;
        server.lua_timedout = false;
        ldbInit(server);
    }
    server.lua_scripts.clear();
    server.lua_functions.clear();
    server.lua_scripts_mem = 0;

    let mut lua = luaL_newstate::<Server>();
    if make_globals(&mut lua, server).is_err() {
        panic!("the environment of scripts could not be made");
    }

    // The client, without a connection, that executes the commands of scripts. It stays when the
    // rest is made anew.
    if server.lua_client.is_none() {
        let c = createClient(server, None);
        server[c].flags |= CLIENT_LUA | CLIENT_DENY_BLOCKING;
        server.lua_client = Some(c);
    }
    server.lua_used = lua_gccount(&lua);
    server.lua = Some(lua);
    apply_memory_limit(server);
}

/// Lets the interpreter hold as much memory as `lua-memory-limit` says. A script that wants more, when
/// all that nobody can reach any more is collected, ends with an error.
pub fn apply_memory_limit(server: &mut Server) {
    let limit = usize::try_from(server.lua_memory_limit).ok().filter(|limit| *limit != 0);
    if let Some(lua) = &mut server.lua {
        lua_setmemorylimit(lua, limit.unwrap_or(usize::MAX));
    }
}

/// Where the handler of errors is on the stack.
const ERR_HANDLER: i32 = 1;

/// The chunk that defines the handler of errors, which puts the place in the script in front of the
/// message. Where the error is one of a function of ours, the place is its caller's.
///
/// It is seen: an error value that cannot be concatenated is an error of line 9 of this chunk.
const errh_func: &[u8] = b"local getinfo = debug.getinfo
debug = nil
function __redis__err__handler(err)
  local i = getinfo(2, 'nSl')
  if i and i.what == 'C' then
    i = getinfo(3, 'nSl')
  end
  if i then
    return i.source .. ':' .. i.currentline .. ': ' .. err
  end
  return err
end
";

/// The part of `scriptingInit` that happens in Lua: the libraries, the table `redis`, the handler
/// of errors, and the locks.
fn make_globals(lua: &mut Lua, server: &mut Server) -> LuaResult<()> {
    lua_pushvalue(lua, LUA_GLOBALSINDEX);
    luaSetAllowListProtection(lua)?;
    lua_pop(lua, 1);

    luaLoadLibraries(lua, server)?;

    let function = |lua: &mut Lua, name: &'static str, f: lua_CFunction<Server>| {
        push_key(lua, name);
        lua_pushcfunction(lua, f);
        lua_rawset(lua, -3)
    };
    let number = |lua: &mut Lua, name: &'static str, n: i32| {
        push_key(lua, name);
        lua_pushnumber(lua, f64::from(n));
        lua_rawset(lua, -3)
    };
    lua_newtable(lua);
    function(lua, "call", luaRedisCallCommand)?;
    function(lua, "pcall", luaRedisPCallCommand)?;
    function(lua, "log", luaLogCommand)?;
    function(lua, "setresp", luaSetResp)?;
    number(lua, "LOG_DEBUG", LL_DEBUG)?;
    number(lua, "LOG_VERBOSE", LL_VERBOSE)?;
    number(lua, "LOG_NOTICE", LL_NOTICE)?;
    number(lua, "LOG_WARNING", LL_WARNING)?;
    function(lua, "sha1hex", luaRedisSha1hexCommand)?;
    function(lua, "error_reply", luaRedisErrorReplyCommand)?;
    function(lua, "status_reply", luaRedisStatusReplyCommand)?;
    function(lua, "replicate_commands", luaRedisReplicateCommandsCommand)?;
    function(lua, "set_repl", luaRedisSetReplCommand)?;
    number(lua, "REPL_NONE", PROPAGATE_NONE)?;
    number(lua, "REPL_AOF", PROPAGATE_AOF)?;
    number(lua, "REPL_SLAVE", PROPAGATE_REPL)?;
    number(lua, "REPL_REPLICA", PROPAGATE_REPL)?;
    number(lua, "REPL_ALL", PROPAGATE_AOF | PROPAGATE_REPL)?;
    function(lua, "breakpoint", luaRedisBreakpointCommand)?;
    function(lua, "debug", luaRedisDebugCommand)?;
    lua_setglobal(lua, server, "redis")?;

    // Random numbers that are the same on every machine.
    lua_getglobal(lua, server, "math")?;
    function(lua, "random", redis_math_random)?;
    function(lua, "randomseed", redis_math_randomseed)?;
    lua_setglobal(lua, server, "math")?;

    if luaL_loadbuffer(lua, server, errh_func, b"@err_handler_def") != LUA_OK
        || lua_pcall(lua, server, 0, 0, 0) != LUA_OK
    {
        return lua_error(lua);
    }

    // It stays at the bottom of the stack, at ERR_HANDLER.
    lua_rawgetliteral(lua, LUA_GLOBALSINDEX, "__redis__err__handler");

    lua_pushvalue(lua, LUA_GLOBALSINDEX);
    luaSetErrorMetatable(lua)?;
    luaSetTableProtectionRecursively(lua)?;
    lua_pop(lua, 1);

    // C: 6.2.16 leaves the metatable that all strings share open (CVE-2025-46818).
    lua_pushstring(lua, "");
    if lua_getmetatable(lua, -1) {
        luaSetTableProtectionRecursively(lua)?;
        lua_pop(lua, 1);
    }
    lua_pop(lua, 1);
    Ok(())
}

/// Frees what `scriptingInit` has made, the texts of the scripts in another thread if
/// `asynchronous`.
fn scriptingRelease(server: &mut Server, asynchronous: bool) {
    let lua_scripts = take(&mut server.lua_scripts);
    if asynchronous {
        freeLuaScriptsAsync(server, lua_scripts);
    }
    server.lua_scripts_mem = 0;
    if let Some(lua) = server.lua.take() {
        lua_close(lua, server);
    }
}

/// Forgets all scripts.
pub fn scriptingReset(server: &mut Server, asynchronous: bool) {
    scriptingRelease(server, asynchronous);
    scriptingInit(server, false);
}

/// Sets a global variable to an array of strings.
fn luaSetGlobalArray<'a>(
    lua: &mut Lua,
    var: &'static str,
    elev: impl ExactSizeIterator<Item = &'a [u8]>,
) -> LuaResult<()> {
    lua_newstrings(lua, elev);
    lua_rawsetglobal(lua, var)
}

// -----------------------------------------------------------------------------
// Redis provided math.random
// -----------------------------------------------------------------------------

/// `math.random([m [, n]])`, with numbers that are the same on every machine for the same seed.
fn redis_math_random(lua: &mut Lua, server: &mut Server) -> LuaResult<i32> {
    const MAX: i32 = crate::rand::REDIS_LRAND48_MAX;
    let r = f64::from(server.lua_rand.redisLrand48() % MAX) / f64::from(MAX);
    let drawn = match lua_gettop(lua) {
        0 => r,
        1 => {
            let u = luaL_checkint(lua, 1)?;
            luaL_argcheck(lua, 1 <= u, 1, "interval is empty")?;
            (r * f64::from(u)).floor() + 1.0
        }
        2 => {
            let l = luaL_checkint(lua, 1)?;
            let u = luaL_checkint(lua, 2)?;
            luaL_argcheck(lua, l <= u, 2, "interval is empty")?;
            (r * f64::from(u.wrapping_sub(l).wrapping_add(1))).floor() + f64::from(l)
        }
        _ => return luaL_error!(lua, "wrong number of arguments"),
    };
    lua_pushnumber(lua, drawn);
    Ok(1)
}

/// `math.randomseed(x)`
fn redis_math_randomseed(lua: &mut Lua, server: &mut Server) -> LuaResult<i32> {
    let seed = luaL_checkint(lua, 1)?;
    server.lua_rand.redisSrand48(seed);
    Ok(0)
}

// -----------------------------------------------------------------------------
// EVAL and SCRIPT commands implementation
// -----------------------------------------------------------------------------

/// The name of a script's function, as errors show it: `f_` and the SHA1.
fn function_name(sha: &ScriptSha) -> [u8; 42] {
    let mut funcname = [0; 42];
    funcname[..2].copy_from_slice(b"f_");
    funcname[2..].copy_from_slice(sha);
    funcname
}

/// Returns the name of a script that an argument is, with the digits in lower case, and its
/// function, if there is one. `None`: the argument has not as many characters as a name.
fn find_function(server: &Server, arg: &[u8]) -> Option<(ScriptSha, Option<FixedFunction>)> {
    let name: &ScriptSha = arg.try_into().ok()?;
    // Mostly it is found as it stands.
    if let Some(function) = server.lua_functions.get(name) {
        return Some((*name, Some(*function)));
    }
    let mut sha = *name;
    sha.make_ascii_lowercase();
    Some((sha, server.lua_functions.get(&sha).copied()))
}

/// Compiles a script and keeps its function. `Err` is the message of the compiler.
///
/// C: there the function has its name in the registry; here it is looked up outside of the
/// interpreter, which would have to make a string of the name.
fn define_function(
    server: &mut Server,
    lua: &mut Lua,
    sha: &ScriptSha,
    body: &[u8],
) -> Result<FixedFunction, Vec<u8>> {
    if luaL_loadbuffer(lua, server, body, b"@user_script") != LUA_OK {
        let message = lua_tolstring(lua, -1).unwrap_or_default().to_vec();
        lua_pop(lua, 1);
        return Err(message);
    }
    let function = lua_fixfunction(lua, -1).expect("a chunk has no upvalues");
    lua_pop(lua, 1);
    server.lua_functions.insert(*sha, function);
    Ok(function)
}

/// Makes a function of a script, unless it is one already, and keeps its text, which may have to be
/// sent to replicas. Returns its name; `None`: it does not compile, and the client, if there is
/// one, got an error.
///
/// Without an interpreter (it runs another script) only the text is kept, and `evalGenericCommand`
/// makes the function.
pub fn luaCreateFunction(
    server: &mut Server,
    c: Option<ClientId>,
    lua: Option<&mut Lua>,
    body: &[u8],
) -> Option<ScriptSha> {
    let sha = sha1hex(body);
    if server.lua_scripts.contains_key(&sha) {
        return Some(sha);
    }
    if let Some(lua) = lua
        && let Err(message) = define_function(server, lua, &sha, body)
    {
        if let Some(c) = c {
            addReplyErrorFormat!(
                server,
                c,
                "Error compiling script (new function): {}\n",
                B(c_str(&message))
            );
        }
        return None;
    }
    server.lua_scripts.insert(sha, body.into());
    server.lua_scripts_mem += size_of::<ScriptSha>() + body.len();
    Some(sha)
}

/// `luaCreateFunction` for who has no interpreter at hand.
pub fn create_function(server: &mut Server, c: Option<ClientId>, body: &[u8]) -> Option<ScriptSha> {
    let mut lua = server.lua.take();
    let sha = luaCreateFunction(server, c, lua.as_deref_mut(), body);
    if let Some(lua) = lua {
        give_back(server, lua);
    }
    sha
}

/// Puts the interpreter back into the server.
fn give_back(server: &mut Server, lua: Box<Lua>) {
    server.lua_used = lua_gccount(&lua);
    match server.lua {
        None => server.lua = Some(lua),
        // Scripts were forgotten meanwhile, and there is a new one.
        Some(_) => lua_close(lua, server),
    }
}

/// Called every so many instructions of a script: has it taken too long? Then clients are served
/// from here, so that somebody can end it with SCRIPT KILL, or the server with SHUTDOWN NOSAVE.
fn luaMaskCountHook(lua: &mut Lua, server: &mut Server, _ar: &mut lua_Debug) -> LuaResult<()> {
    let elapsed = elapsedMs(server.lua_time_start) as i64;
    if elapsed >= server.lua_time_limit && !server.lua_timedout {
        serverLog!(
            LL_WARNING,
            "Lua slow script detected: still in execution after {} milliseconds. You can try killing the script using the SCRIPT KILL command. Script SHA1 is: {}",
            elapsed,
            B(server.lua_cur_script.as_ref().map_or(&b""[..], |sha| sha))
        );
        server.lua_timedout = true;
        blockingOperationStarts(server);
        // The client must be there when the script has ended, even if it hangs up meanwhile.
        protectClient(server, lua_caller(server));
    }
    if server.lua_timedout {
        server.lua_used = lua_gccount(lua);
        processEventsWhileBlocked(server);
    }
    if server.lua_kill {
        serverLog!(LL_WARNING, "Lua script killed by user with SCRIPT KILL.");
        // From here on every line of the script raises the error: a loop around a `pcall` has to
        // end too.
        lua_sethook(lua, Some(luaMaskCountHook), LUA_MASKLINE, 0);
        lua_pushstring(lua, "Script killed by user with SCRIPT KILL...");
        return lua_error(lua);
    }
    Ok(())
}

/// Makes the client of scripts ready for one that `lua_caller` has called.
fn prepareLuaClient(server: &mut Server) {
    let (c, caller) = (lua_client(server), lua_caller(server));
    server[c].db = server[caller].db;
    server[c].resp = 2;
    if server[caller].flags & CLIENT_MULTI != 0 {
        server[c].flags |= CLIENT_MULTI;
    }
}

/// The end of what `prepareLuaClient` began.
fn resetLuaClient(server: &mut Server) {
    let c = lua_client(server);
    server[c].flags &= !CLIENT_MULTI;
}

/// Scripts between two steps of the garbage collector, and the size of a step.
const LUA_GC_CYCLE_PERIOD: i32 = 50;

/// Executes a script: EVAL, and EVALSHA (`evalsha`), which names it.
fn evalGenericCommand(server: &mut Server, c: ClientId, argv: &Args, evalsha: bool) {
    let initial_server_dirty = server.dirty;

    // A script that is executed again elsewhere draws the same numbers.
    server.lua_rand.redisSrand48(0);

    // Nothing random was seen yet, nothing written: until something random was seen, or if commands
    // are sent, it may write.
    server.lua_random_dirty = false;
    server.lua_write_dirty = false;
    server.lua_replicate_commands = server.lua_always_replicate_commands;
    server.lua_multi_emitted = false;
    server.lua_repl = PROPAGATE_AOF | PROPAGATE_REPL;

    let Ok(numkeys) = getLongLongFromObjectOrReply(server, c, &argv[2], None) else { return };
    if numkeys > argv.len() as i64 - 3 {
        addReplyError(server, c, b"Number of keys can't be greater than number of args");
        return;
    }
    let Ok(numkeys) = usize::try_from(numkeys) else {
        addReplyError(server, c, b"Number of keys can't be negative");
        return;
    };

    let (sha, function) = if evalsha {
        find_function(server, &argv[1]).expect("evalShaCommand has looked at it")
    } else {
        let sha = sha1hex(&argv[1]);
        (sha, server.lua_functions.get(&sha).copied())
    };

    // ANCHOR: interpreter_taken
    // C: nobody can be here while a script runs. Should somebody: there is no second interpreter.
    let Some(mut lua) = server.lua.take() else {
        addReplyErrorObject(server, c, shared::slowscripterr);
        return;
    };
    let ran = run_script(server, c, argv, &mut lua, &sha, function, numkeys, evalsha);
    give_back(server, lua);
    if !ran {
        return;
    }
    // ANCHOR_END: interpreter_taken

    // The commands were sent; with them, if there were any, goes the end of their transaction.
    if server.lua_replicate_commands {
        preventCommandPropagation(server, c);
        if server.lua_multi_emitted {
            execCommandPropagateExec(server, server[c].db as i32);
        }
    }

    // The script is sent. As EVALSHA only if all replicas, and the append only file, have seen its
    // text before. If it has changed nothing just the text is sent, so that it is known from now
    // on: there the script might do what it failed to do here.
    if evalsha && !server.lua_replicate_commands && !replicationScriptCacheExists(server, &sha) {
        replicationScriptCacheAdd(server, &sha);
        let script = server.lua_scripts.get(&sha).cloned().expect("a script that ran has a text");
        if server.dirty == initial_server_dirty {
            rewriteClientCommandVector(server, c, &[b"SCRIPT", b"LOAD", &script]);
        } else {
            rewriteClientCommandArgument(server, c, argv, 0, b"EVAL");
            rewriteClientCommandArgument(server, c, argv, 1, &script);
        }
        forceCommandPropagation(server, c, PROPAGATE_REPL | PROPAGATE_AOF);
    }
}

/// Has the garbage collector go on a little.
fn gc_step(lua: &mut Lua, server: &mut Server) -> LuaResult<i32> {
    lua_gc(lua, server, LUA_GCSTEP, LUA_GC_CYCLE_PERIOD)?;
    Ok(0)
}

/// The part of `evalGenericCommand` that has the interpreter: finds or makes the function, calls
/// it, and replies. False: there was no script to run, and the client got an error.
fn run_script(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    lua: &mut Lua,
    sha: &ScriptSha,
    function: Option<FixedFunction>,
    numkeys: usize,
    evalsha: bool,
) -> bool {
    let function = match function {
        Some(function) => Some(function),
        None => match server.lua_scripts.get(sha).cloned() {
            Some(body) => define_function(server, lua, sha, &body).ok(),
            None if evalsha => None,
            None => {
                if luaCreateFunction(server, Some(c), Some(lua), &argv[1]).is_none() {
                    // The client got the message of the compiler.
                    return false;
                }
                server.lua_functions.get(sha).copied()
            }
        },
    };
    let Some(function) = function else {
        addReplyErrorObject(server, c, shared::noscripterr);
        return false;
    };
    lua_pushfixed(lua, function);

    let keys = argv.range(3, 3 + numkeys).iter();
    let args = argv.range(3 + numkeys, argv.len()).iter();
    if luaSetGlobalArray(lua, "KEYS", keys).is_err()
        || luaSetGlobalArray(lua, "ARGV", args).is_err()
    {
        panic!("the global table of Lua refuses KEYS and ARGV");
    }

    // A script that takes long is noticed by a hook, which costs something. The hook of the debugger
    // is called before each line, too.
    server.in_eval = true;
    server.lua_caller = Some(c);
    // Keys that the script reads are remembered as those that its caller has named.
    if server[c].flags & (CLIENT_TRACKING | CLIENT_TRACKING_BCAST) == CLIENT_TRACKING {
        server.lua_caller_argv = Some(argv.to_argv());
    }
    server.lua_cur_script = Some(*sha);
    server.lua_time_start = server.tick_clock.monotonic_us();
    // The time that `call` has read just now; or, within a transaction, which has begun before,
    // another one.
    server.lua_time_snapshot =
        if server.fixed_time_expire == 1 { server.mstime } else { server.tick_clock.now() / 1000 };
    if numkeys > 0
        && let Some((address, len, guess)) = argv.hashed_key()
    {
        let key = argv.get(3);
        if (key.as_ptr().addr(), key.len()) == (address, len) {
            server.lua_key.set(key, guess.hash());
        }
    }
    server.lua_kill = false;
    let delhook = server.lua_time_limit > 0 || server.ldb.active;
    if server.ldb.active {
        set_line_hook(lua);
    } else if delhook {
        lua_sethook(lua, Some(luaMaskCountHook), LUA_MASKCOUNT, 100_000);
    }
    prepareLuaClient(server);

    let err = lua_pcall(lua, server, 0, 1, ERR_HANDLER) != LUA_OK;

    resetLuaClient(server);
    if delhook {
        lua_sethook(lua, None, 0, 0);
    }
    if server.lua_timedout {
        server.lua_timedout = false;
        blockingOperationEnds(server);
        unprotectClient(server, c);
        if server.masterhost.is_some()
            && let Some(master) = server.master
        {
            queueClientForReprocessing(server, master);
        }
    }
    server.in_eval = false;
    server.lua_caller = None;
    server.lua_caller_argv = None;
    server.lua_cur_script = None;

    // The garbage collector goes on a little from time to time, so that it never has to do
    // everything at once.
    server.lua_gc_count += 1;
    if server.lua_gc_count == LUA_GC_CYCLE_PERIOD {
        server.lua_gc_count = 0;
        // It may call finalizers, and an error in one is nobody's.
        lua_pushcfunction(lua, gc_step);
        if lua_pcall(lua, server, 0, 0, 0) != LUA_OK {
            lua_pop(lua, 1);
        }
    }

    if err {
        let message = lua_tolstring(lua, -1).unwrap_or_default();
        addReplyErrorFormat!(
            server,
            c,
            "Error running script (call to {}): {}\n",
            B(&function_name(sha)),
            B(c_str(&message))
        );
        lua_pop(lua, 1);
    } else if luaReplyToRedisReply(server, c, lua).is_err() {
        panic!("a table changed while it was sent");
    }
    true
}

/// EVAL script numkeys key [key ...] arg [arg ...]
pub fn evalCommand(server: &mut Server, c: ClientId, argv: &Args) {
    // Monitors see the script before its commands.
    replicationFeedMonitors(server, c, server[c].db, argv);
    if server[c].flags & CLIENT_LUA_DEBUG == 0 {
        evalGenericCommand(server, c, argv, false);
    } else {
        evalGenericCommandWithDebugging(server, c, argv, false);
    }
}

/// EVALSHA sha1 numkeys key [key ...] arg [arg ...]
pub fn evalShaCommand(server: &mut Server, c: ClientId, argv: &Args) {
    if !server.monitors.is_empty() {
        replicationFeedMonitors(server, c, server[c].db, argv);
    }
    if argv[1].len() != size_of::<ScriptSha>() {
        addReplyErrorObject(server, c, shared::noscripterr);
        return;
    }
    if server[c].flags & CLIENT_LUA_DEBUG == 0 {
        evalGenericCommand(server, c, argv, true);
    } else {
        addReplyError(server, c, b"Please use EVAL instead of EVALSHA for debugging");
    }
}

/// The script that an argument names, if there is one.
fn find_script(server: &Server, sha: &[u8]) -> bool {
    find_function(server, sha).is_some_and(|(sha, _)| server.lua_scripts.contains_key(&sha))
}

/// SCRIPT HELP | FLUSH [SYNC|ASYNC] | EXISTS sha1 [sha1 ...] | LOAD script | KILL | DEBUG
/// YES|SYNC|NO
pub fn scriptCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let is = |i: usize, name: &str| argv[i].eq_ignore_ascii_case(name.as_bytes());
    let argc = argv.len();
    if argc == 2 && is(1, "help") {
        let help = [
            "DEBUG (YES|SYNC|NO)",
            "    Set the debug mode for subsequent scripts executed.",
            "EXISTS <sha1> [<sha1> ...]",
            "    Return information about the existence of the scripts in the script cache.",
            "FLUSH [ASYNC|SYNC]",
            "    Flush the Lua scripts cache. Very dangerous on replicas.",
            "    When called without the optional mode argument, the behavior is determined by the",
            "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
            "    * ASYNC: Asynchronously flush the scripts cache.",
            "    * SYNC: Synchronously flush the scripts cache.",
            "KILL",
            "    Kill the currently executing Lua script.",
            "LOAD <script>",
            "    Load a script into the scripts cache without executing it.",
        ];
        addReplyHelp(server, c, argv, &help);
    } else if is(1, "flush") {
        let asynchronous = if argc == 3 && is(2, "sync") {
            false
        } else if argc == 3 && is(2, "async") {
            true
        } else if argc == 2 {
            server.lazyfree_lazy_user_flush
        } else {
            addReplyError(server, c, b"SCRIPT FLUSH only support SYNC|ASYNC option");
            return;
        };
        scriptingReset(server, asynchronous);
        addReply(server, c, shared::ok);
        replicationScriptCacheFlush(server);
        // It is to be propagated.
        server.dirty += 1;
    } else if is(1, "exists") {
        addReplyArrayLen(server, c, argc - 2);
        for sha in argv.iter().skip(2) {
            let known = find_script(server, sha);
            addReply(server, c, if known { shared::cone } else { shared::czero });
        }
    } else if argc == 3 && is(1, "load") {
        let Some(sha) = create_function(server, Some(c), &argv[2]) else { return };
        addReplyBulkCBuffer(server, c, &sha);
        forceCommandPropagation(server, c, PROPAGATE_REPL | PROPAGATE_AOF);
    } else if argc == 2 && is(1, "kill") {
        match server.lua_caller {
            None => addReplyError(server, c, b"-NOTBUSY No scripts in execution right now."),
            Some(caller) if server[caller].flags & CLIENT_MASTER != 0 => addReplyError(
                server,
                c,
                b"-UNKILLABLE The busy script was sent by a master instance in the context of replication and cannot be killed.",
            ),
            Some(_) if server.lua_write_dirty => addReplyError(
                server,
                c,
                b"-UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
            ),
            Some(_) => {
                server.lua_kill = true;
                addReply(server, c, shared::ok);
            }
        }
    } else if argc == 3 && is(1, "debug") {
        if clientHasPendingReplies(&server[c]) {
            addReplyError(server, c, b"SCRIPT DEBUG must be called outside a pipeline");
            return;
        }
        if is(2, "no") {
            ldbDisable(server, c);
            addReply(server, c, shared::ok);
        } else if is(2, "yes") {
            ldbEnable(server, c);
            addReply(server, c, shared::ok);
        } else if is(2, "sync") {
            ldbEnable(server, c);
            addReply(server, c, shared::ok);
            server[c].flags |= CLIENT_LUA_DEBUG_SYNC;
        } else {
            addReplyError(server, c, b"Use SCRIPT DEBUG YES/SYNC/NO");
        }
    } else {
        addReplySubcommandSyntaxError(server, c, argv);
    }
}
