//! `scripting.c`, its last part: LDB, the debugger of scripts.
//!
//! Read first: `luaLdbLineHook`, which the interpreter calls before each line; `ldbRepl`, which
//! talks with the client until the script may go on; `ldbStartSession`, which says whether the
//! session has a process of its own.
//!
//! A session owns the client's socket, and reads and writes it without the reactor. Usually it is a
//! forked child: the script and the debugger change a copy of the data, which is gone with the
//! child. In the synchronous mode it is the server itself, which serves nobody else meanwhile.
//!
//! Differs: a session speaks with the client that called EVAL. What a session makes in memory, and
//! how long typed code runs, is bounded. See docs/differences.md.

use std::mem::take;

use fidelis_lua::lobject::format_g;
use fidelis_lua::{
    LUA_HOOKCOUNT, LUA_MASKCOUNT, LUA_MASKLINE, LUA_MINSTACK, LUA_OK, LUA_TBOOLEAN, LUA_TFUNCTION,
    LUA_TLIGHTUSERDATA, LUA_TNIL, LUA_TNUMBER, LUA_TSTRING, LUA_TTABLE, LUA_TTHREAD, LUA_TUSERDATA,
    LuaResult, lua_Debug, lua_checkstack, lua_error, lua_getglobal, lua_getinfo, lua_getlocal,
    lua_getstack, lua_next, lua_pcall, lua_pop, lua_pushlstring, lua_pushnil, lua_pushstring,
    lua_sethook, lua_toboolean, lua_tobytes, lua_tolstring, lua_tonumber, lua_topointer, lua_type,
    luaL_loadbuffer,
};

use super::{Lua, evalGenericCommand, lua_caller, lua_client, raw_get_field, reply_line};
use crate::args::Args;
use crate::connection::{ConnId, connBlock, connNonBlock, connRead, connSendTimeout, connWrite};
use crate::log::LL_WARNING;
use crate::multi::execCommandPropagateExec;
use crate::networking::*;
use crate::sds::{sdscatrepr, sdsmapchars};
use crate::server::redisFork;
use crate::server_h::*;
use crate::sys::clock::{elapsedMs, getMonotonicUs, mstime};
use crate::sys::fork::{Fork, exitFromChild, kill};
use crate::sys::signal::ignore_term_and_int;
use crate::util::{B, atoi, c_str, eq_ignore_case, string2l, string2ll};
use crate::{bformat, sdscatprintf, serverLog};

/// The most breakpoints there can be.
const LDB_BREAKPOINTS_MAX: usize = 64;
/// The length, in bytes, up to which replies and values are shown until `maxlen` says otherwise.
const LDB_MAX_LEN_DEFAULT: usize = 256;
/// How deep values are shown: each table needs two places on the stack.
const LDB_MAX_VALUES_DEPTH: i32 = LUA_MINSTACK as i32 / 2;
/// The memory, in bytes, that what is to be sent may take.
const MAX_PENDING_LOGS: usize = 64 << 20;
/// What an entry takes beside its text.
const LOG_OVERHEAD: usize = size_of::<Vec<u8>>() + 8;
/// A command of the client is at most so long, in bytes.
const MAX_COMMAND: usize = 1 << 20;
/// The instructions between two looks at the clock.
const HOOK_COUNT: i32 = 100_000;

/// `ldbState`: what a debugging session knows. There is one at a time in a process.
#[derive(Default)]
pub struct LdbState {
    /// The client that this state is of: its breakpoints, and whether to stop, go over to its next
    /// session, the next EVAL of a transaction.
    owner: Option<ClientId>,
    /// The connection of the client that debugs.
    conn: Option<ConnId>,
    /// An EVAL is being debugged.
    pub(super) active: bool,
    /// Whether this process was made for the session.
    forked: bool,
    /// What the client is to be sent, and how much memory it takes.
    logs: Vec<Vec<u8>>,
    logs_size: usize,
    /// Entries were dropped since the last were sent, because there were too many.
    logs_dropped: bool,
    /// The processes of all sessions that were forked and have not ended.
    children: Vec<i32>,
    /// The lines of the breakpoints.
    bp: Vec<i32>,
    /// Stop at the next line. While the script stands: log the commands it executes.
    pub(super) step: bool,
    /// Stop at the next line, because the script called `redis.breakpoint()`.
    pub(super) luabp: bool,
    /// The script, and where its lines begin.
    src: Vec<u8>,
    lines: Vec<usize>,
    currentline: i32,
    /// What the client has sent of a command.
    cbuf: Vec<u8>,
    /// The length up to which replies and values are shown, in bytes; 0 is all of it.
    maxlen: usize,
    /// The client was told that there is `maxlen`.
    maxlen_hint_sent: bool,
    /// The client is gone and the script takes too long: it is to end, whatever it catches.
    given_up: bool,
    /// When the code that the client typed began to run.
    eval_start: u64,
}

/// Makes the state of the debugger.
pub fn ldbInit(server: &mut Server) {
    server.ldb = LdbState::default();
}

/// Forgets the entries that were not sent.
fn ldbFlushLog(ldb: &mut LdbState) {
    ldb.logs.clear();
    ldb.logs_size = 0;
    ldb.logs_dropped = false;
}

/// SCRIPT DEBUG YES: the next EVAL of the client is debugged.
pub fn ldbEnable(server: &mut Server, c: ClientId) {
    server[c].flags |= CLIENT_LUA_DEBUG;
    make_ready(&mut server.ldb, c);
}

/// Makes the state ready for the first session of a client.
fn make_ready(ldb: &mut LdbState, c: ClientId) {
    *ldb = LdbState {
        owner: Some(c),
        children: take(&mut ldb.children),
        step: true,
        maxlen: LDB_MAX_LEN_DEFAULT,
        ..LdbState::default()
    };
}

/// SCRIPT DEBUG NO: the scripts of the client run as usual. A session ends in `ldbEndSession`.
pub fn ldbDisable(server: &mut Server, c: ClientId) {
    server[c].flags &= !(CLIENT_LUA_DEBUG | CLIENT_LUA_DEBUG_SYNC);
}

/// Adds an entry to what the client is to be sent.
///
/// C: without bound. Here what is beyond `MAX_PENDING_LOGS` is dropped, and a last entry says so.
pub fn ldbLog(ldb: &mut LdbState, mut entry: Vec<u8>) {
    if ldb.logs_dropped {
        return;
    }
    let room = MAX_PENDING_LOGS - ldb.logs_size;
    if entry.len() + LOG_OVERHEAD > room {
        entry.truncate(room);
        ldb.logs.push(entry);
        ldb.logs.push(b"<hint> The rest was dropped: it is too much to be sent at once.".to_vec());
        ldb.logs_dropped = true;
        return;
    }
    ldb.logs_size += entry.len() + LOG_OVERHEAD;
    ldb.logs.push(entry);
}

/// Adds a text of ours.
fn log_text(ldb: &mut LdbState, text: &str) {
    ldbLog(ldb, text.as_bytes().to_vec());
}

/// Adds an entry, trimmed to `maxlen`. The first time that happens the client is told how to have
/// all of it.
fn ldbLogWithMaxLen(ldb: &mut LdbState, mut entry: Vec<u8>) {
    let trimmed = ldb.maxlen != 0 && entry.len() > ldb.maxlen;
    if trimmed {
        entry.truncate(ldb.maxlen);
        entry.extend_from_slice(b" ...");
    }
    ldbLog(ldb, entry);
    if trimmed && !ldb.maxlen_hint_sent {
        ldb.maxlen_hint_sent = true;
        log_text(ldb, "<hint> The above reply was trimmed. Use 'maxlen 0' to disable trimming.");
    }
}

/// Sends the entries as an array of status replies, and forgets them. Line ends in them become
/// spaces.
fn ldbSendLogs(server: &mut Server) {
    let mut proto = bformat!("*{}\r\n", server.ldb.logs.len());
    for mut entry in take(&mut server.ldb.logs) {
        sdsmapchars(&mut entry, b"\r\n", b"  ");
        proto.push(b'+');
        proto.extend_from_slice(&entry);
        proto.extend_from_slice(b"\r\n");
    }
    ldbFlushLog(&mut server.ldb);
    if let Some(conn) = server.ldb.conn {
        // If it fails the next read does, too, and the session goes on without the client.
        let _ = connWrite(&mut server.net, conn, &proto);
    }
}

/// Begins a session for the EVAL of `script` that the client has called. True: the caller goes on
/// with EVAL, and calls `ldbEndSession`. False: this is the server, and the session goes on in a
/// child that it has forked; or that failed, and the client got an error.
fn ldbStartSession(server: &mut Server, c: ClientId, script: &[u8]) -> bool {
    let Some(conn) = server[c].conn else {
        addReplyError(server, c, b"There is nobody to debug for.");
        return false;
    };
    server.ldb.forked = server[c].flags & CLIENT_LUA_DEBUG_SYNC == 0;
    if server.ldb.forked {
        match redisFork(server, CHILD_TYPE_LDB) {
            Err(_) => {
                addReplyError(server, c, b"Fork() failed: can't run EVAL in debugging mode.");
                return false;
            }
            Ok(Fork::Child) => {
                // They are meant for the server. Who typed Ctrl+C in its terminal asked it to end,
                // and it ends its sessions.
                ignore_term_and_int();
                serverLog!(LL_WARNING, "Redis forked for debugging eval");
            }
            Ok(Fork::Parent(pid)) => {
                server.ldb.children.push(pid);
                // The client is the child's from now on.
                freeClientAsync(server, c);
                return false;
            }
        }
    } else {
        serverLog!(LL_WARNING, "Redis synchronous debugging eval session started");
    }

    let _ = connBlock(&server.net, conn);
    let _ = connSendTimeout(&server.net, conn, 5000);
    // C: there is one state, and it is that of the client that called SCRIPT DEBUG last.
    if server.ldb.owner != Some(c) {
        let forked = server.ldb.forked;
        make_ready(&mut server.ldb, c);
        server.ldb.forked = forked;
    }
    let ldb = &mut server.ldb;
    ldb.conn = Some(conn);
    ldb.active = true;
    ldb.given_up = false;

    // The debugger speaks of lines.
    let end = script.iter().rposition(|c| !b"\r\n".contains(c)).map_or(0, |last| last + 1);
    ldb.src = script[..end].to_vec();
    ldb.lines.clear();
    if end != 0 {
        ldb.lines.push(0);
        ldb.lines.extend(memchr::memchr_iter(b'\n', &ldb.src).map(|at| at + 1));
    }
    true
}

/// Ends a session when EVAL has returned: the client gets what was not sent, the mark of the end,
/// and EVAL's reply. In a process made for the session it does not return.
fn ldbEndSession(server: &mut Server, c: ClientId) {
    log_text(&mut server.ldb, "<endsession>");
    ldbSendLogs(server);

    if server.ldb.forked {
        // C: one call, which sends 64 kB of a large reply.
        let mut sent = -1;
        while sent != server.stat_net_output_bytes && clientHasPendingReplies(&server[c]) {
            sent = server.stat_net_output_bytes;
            let _ = writeToClient(server, c, false);
        }
        serverLog!(LL_WARNING, "Lua debugging session child exiting");
        exitFromChild(0);
    }
    serverLog!(LL_WARNING, "Redis synchronous debugging eval session ended");

    if let Some(conn) = server.ldb.conn.take() {
        let _ = connNonBlock(&server.net, conn);
        let _ = connSendTimeout(&server.net, conn, 0);
    }
    // That the connection is closed tells the client that the session is over.
    server[c].flags |= CLIENT_CLOSE_AFTER_REPLY;
    server.ldb.src = Vec::new();
    server.ldb.lines = Vec::new();
    server.ldb.active = false;
}

/// Forgets a child that has ended. False: it was not one of a session.
pub fn ldbRemoveChild(server: &mut Server, pid: i32) -> bool {
    let children = &mut server.ldb.children;
    let before = children.len();
    children.retain(|&child| child != pid);
    children.len() != before
}

/// Returns how many sessions were forked and have not ended.
pub fn ldbPendingChildren(server: &Server) -> usize {
    server.ldb.children.len()
}

/// Kills the sessions that were forked.
pub fn ldbKillForkedSessions(server: &mut Server) {
    for pid in take(&mut server.ldb.children) {
        serverLog!(LL_WARNING, "Killing debugging session {}", pid);
        let _ = kill(pid, libc::SIGKILL);
    }
}

/// EVAL of a client that debugs. Whatever comes of it, the session ends with it.
pub fn evalGenericCommandWithDebugging(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    evalsha: bool,
) {
    if ldbStartSession(server, c, &argv[1]) {
        evalGenericCommand(server, c, argv, evalsha);
        ldbEndSession(server, c);
    } else {
        ldbDisable(server, c);
    }
}

/// Returns a line of the script; the first is 1.
fn ldbGetSourceLine(ldb: &LdbState, line: i32) -> &[u8] {
    let Some(&start) =
        usize::try_from(line).ok().and_then(|line| ldb.lines.get(line.wrapping_sub(1)))
    else {
        return b"<out of range source code line>";
    };
    let rest = &ldb.src[start..];
    &rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())]
}

/// Tells whether there is a breakpoint at the line.
fn ldbIsBreakpoint(ldb: &LdbState, line: i32) -> bool {
    ldb.bp.contains(&line)
}

/// Adds a breakpoint. False: there is no such line, one is there, or there are too many.
fn ldbAddBreakpoint(ldb: &mut LdbState, line: i32) -> bool {
    if line <= 0 || line as usize > ldb.lines.len() {
        return false;
    }
    let added = !ldbIsBreakpoint(ldb, line) && ldb.bp.len() != LDB_BREAKPOINTS_MAX;
    if added {
        ldb.bp.push(line);
    }
    added
}

/// Removes a breakpoint. False: there is none.
///
/// C: of those behind it some are lost, and others are there twice.
fn ldbDelBreakpoint(ldb: &mut LdbState, line: i32) -> bool {
    let before = ldb.bp.len();
    ldb.bp.retain(|&bp| bp != line);
    ldb.bp.len() != before
}

/// What the client has sent is no command.
struct ProtocolError;

/// Parses the command in `cbuf`, an array of strings as any other command. `Ok(None)`: the rest of
/// it has not come yet.
///
/// What stands in front of it is passed over, and what follows it is not looked at.
fn ldbReplParseCommand(cbuf: &[u8]) -> Result<Option<Vec<Vec<u8>>>, ProtocolError> {
    // Returns the number behind a type, and the rest behind its line. A NUL ends what is looked
    // at, as in the C.
    fn header(p: &[u8]) -> Option<(i32, &[u8])> {
        let text = c_str(p);
        let end = memchr::memmem::find(text, b"\r\n")?;
        Some((atoi(&text[1..end.max(1)]), &p[end + 2..]))
    }
    if cbuf.is_empty() {
        return Ok(None);
    }
    let Some(start) = memchr::memchr(b'*', c_str(cbuf)) else { return Err(ProtocolError) };
    let Some((argc, mut p)) = header(&cbuf[start..]) else { return Ok(None) };
    if argc <= 0 || argc > 1024 {
        return Err(ProtocolError);
    }
    let mut argv = Vec::new();
    while argv.len() < argc as usize {
        match p.first() {
            None | Some(0) => return Ok(None),
            Some(b'$') => {}
            Some(_) => return Err(ProtocolError),
        }
        let Some((slen, rest)) = header(p) else { return Ok(None) };
        if slen <= 0 || slen > 1024 {
            return Err(ProtocolError);
        }
        let slen = slen as usize;
        let Some((arg, rest)) = rest.split_at_checked(slen) else { return Ok(None) };
        let Some((end, rest)) = rest.split_at_checked(2) else { return Ok(None) };
        if end != b"\r\n" {
            return Err(ProtocolError);
        }
        argv.push(arg.to_vec());
        p = rest;
    }
    Ok(Some(argv))
}

/// Logs a line of the script, with marks if the script stands there, or has a breakpoint there.
fn ldbLogSourceLine(ldb: &mut LdbState, lnum: i32) {
    let prefix = match (ldb.currentline == lnum, ldbIsBreakpoint(ldb, lnum)) {
        (true, true) => "->#",
        (true, false) => "-> ",
        (false, true) => "  #",
        (false, false) => "   ",
    };
    let thisline = bformat!("{}{:<3} {}", prefix, lnum, B(c_str(ldbGetSourceLine(ldb, lnum))));
    ldbLog(ldb, thisline);
}

/// Logs the lines from `context` before `around` to `context` behind it; all lines if `around` is
/// 0.
fn ldbList(ldb: &mut LdbState, around: i32, context: i32) {
    for j in 1..=ldb.lines.len() as i32 {
        if around != 0 && i64::from(around.abs_diff(j)) > i64::from(context) {
            continue;
        }
        ldbLogSourceLine(ldb, j);
    }
}

/// Appends the value at `idx`, which counts from the top, in the form in which it would be typed.
/// It stays where it is.
///
/// C: a table is shown whole. Here showing ends soon after `limit` bytes, which is more than is
/// logged.
fn ldbCatStackValueRec(
    s: &mut Vec<u8>,
    lua: &mut Lua,
    idx: i32,
    level: i32,
    limit: usize,
) -> LuaResult<()> {
    if level == LDB_MAX_VALUES_DEPTH {
        s.extend_from_slice(b"<max recursion level reached! Nested table?>");
        return Ok(());
    }
    if s.len() > limit {
        return Ok(());
    }
    let t = lua_type(lua, idx);
    match t {
        LUA_TSTRING => sdscatrepr(s, lua_tobytes(lua, idx).unwrap_or_default()),
        LUA_TBOOLEAN => {
            s.extend_from_slice(if lua_toboolean(lua, idx) { b"true" } else { b"false" });
        }
        LUA_TNUMBER => format_g(lua_tonumber(lua, idx), 6, s),
        LUA_TNIL => s.extend_from_slice(b"nil"),
        LUA_TTABLE => {
            if !lua_checkstack(lua, 2) {
                s.extend_from_slice(b"<max lua stack reached>");
                return Ok(());
            }
            // An array is shown without its indexes.
            let is_array = is_array(lua, idx)?;
            let mut first = true;
            s.push(b'{');
            lua_pushnil(lua);
            while lua_next(lua, idx - 1)? {
                // Here are: the table, a key, its value.
                if !take(&mut first) {
                    s.extend_from_slice(b"; ");
                }
                if !is_array {
                    s.push(b'[');
                    ldbCatStackValueRec(s, lua, -2, level + 1, limit)?;
                    s.extend_from_slice(b"]=");
                }
                ldbCatStackValueRec(s, lua, -1, level + 1, limit)?;
                lua_pop(lua, 1);
                if s.len() > limit {
                    lua_pop(lua, 1);
                    break;
                }
            }
            s.push(b'}');
        }
        LUA_TFUNCTION | LUA_TUSERDATA | LUA_TTHREAD | LUA_TLIGHTUSERDATA => {
            let typename = match t {
                LUA_TFUNCTION => "function",
                LUA_TUSERDATA => "userdata",
                LUA_TTHREAD => "thread",
                _ => "light-userdata",
            };
            sdscatprintf!(*s, "\"{}@{:#x}\"", typename, lua_topointer(lua, idx));
        }
        _ => s.extend_from_slice(b"\"<unknown-lua-type>\""),
    }
    Ok(())
}

/// Tells whether the keys of the table at `idx` come as 1, 2, 3 and so on.
fn is_array(lua: &mut Lua, idx: i32) -> LuaResult<bool> {
    let mut expected_index = 1.0;
    lua_pushnil(lua);
    while lua_next(lua, idx - 1)? {
        if lua_type(lua, -2) != LUA_TNUMBER || lua_tonumber(lua, -2) != expected_index {
            lua_pop(lua, 2);
            return Ok(false);
        }
        lua_pop(lua, 1);
        expected_index += 1.0;
    }
    Ok(true)
}

/// Appends the value at `idx`, which counts from the top, and stays there.
fn ldbCatStackValue(s: &mut Vec<u8>, lua: &mut Lua, idx: i32, limit: usize) -> LuaResult<()> {
    ldbCatStackValueRec(s, lua, idx, 0, limit)
}

/// Logs the value on the top, which stays there.
fn ldbLogStackValue(lua: &mut Lua, ldb: &mut LdbState, prefix: &[u8]) -> LuaResult<()> {
    let mut s = prefix.to_vec();
    let limit = if ldb.maxlen == 0 { MAX_PENDING_LOGS } else { ldb.maxlen };
    ldbCatStackValue(&mut s, lua, -1, limit)?;
    ldbLogWithMaxLen(ldb, s);
    Ok(())
}

/// `redis.debug()`: logs `argc` values, which are on the top of the stack.
pub fn log_values(lua: &mut Lua, ldb: &mut LdbState, argc: i32) -> LuaResult<()> {
    let mut log = bformat!("<debug> line {}: ", ldb.currentline);
    for idx in -argc..0 {
        ldbCatStackValue(&mut log, lua, idx, MAX_PENDING_LOGS)?;
        if idx != -1 {
            log.extend_from_slice(b", ");
        }
    }
    ldbLog(ldb, log);
    Ok(())
}

/// Logs a command that is executed while the script stands; of many arguments, the first ten.
pub fn log_command(ldb: &mut LdbState, argv: &Args) {
    let mut cmdlog = b"<redis>".to_vec();
    for (j, arg) in argv.iter().enumerate() {
        if j == 10 {
            sdscatprintf!(cmdlog, " ... ({} more)", argv.len() - j - 1);
            break;
        }
        cmdlog.push(b' ');
        cmdlog.extend_from_slice(arg);
    }
    ldbLog(ldb, cmdlog);
}

/// Appends a reply in a form that people read. Returns what follows it.
fn ldbRedisProtocolToHuman<'a>(o: &mut Vec<u8>, reply: &'a [u8]) -> &'a [u8] {
    match reply.first() {
        Some(b':') => ldbRedisProtocolToHuman_Int(o, reply),
        Some(b'$') => ldbRedisProtocolToHuman_Bulk(o, reply),
        Some(b'+' | b'-') => ldbRedisProtocolToHuman_Status(o, reply),
        Some(b'*') => ldbRedisProtocolToHuman_MultiBulk(o, reply),
        Some(b'~') => ldbRedisProtocolToHuman_Set(o, reply),
        Some(b'%') => ldbRedisProtocolToHuman_Map(o, reply),
        Some(b'_') => ldbRedisProtocolToHuman_Null(o, reply),
        Some(b'#') => ldbRedisProtocolToHuman_Bool(o, reply),
        Some(b',') => ldbRedisProtocolToHuman_Double(o, reply),
        _ => reply,
    }
}

fn ldbRedisProtocolToHuman_Int<'a>(o: &mut Vec<u8>, reply: &'a [u8]) -> &'a [u8] {
    let (line, rest) = reply_line(reply);
    o.extend_from_slice(line);
    rest
}

fn ldbRedisProtocolToHuman_Bulk<'a>(o: &mut Vec<u8>, reply: &'a [u8]) -> &'a [u8] {
    let (line, rest) = reply_line(reply);
    match usize::try_from(string2ll(line).unwrap_or(-1)) {
        Err(_) => {
            o.extend_from_slice(b"NULL");
            rest
        }
        Ok(bulklen) => {
            sdscatrepr(o, rest.get(..bulklen).unwrap_or_default());
            rest.get(bulklen + 2..).unwrap_or_default()
        }
    }
}

fn ldbRedisProtocolToHuman_Status<'a>(o: &mut Vec<u8>, reply: &'a [u8]) -> &'a [u8] {
    let (line, rest) = reply_line(reply);
    sdscatrepr(o, &reply[..=line.len()]);
    rest
}

/// Appends the elements of an aggregate, with what stands around and between them.
fn elements<'a>(
    o: &mut Vec<u8>,
    mut reply: &'a [u8],
    mbulklen: i64,
    brackets: [&[u8]; 2],
    element: impl Fn(&mut Vec<u8>, &'a [u8]) -> &'a [u8],
) -> &'a [u8] {
    o.extend_from_slice(brackets[0]);
    for j in 0..mbulklen {
        reply = element(o, reply);
        if j != mbulklen - 1 {
            o.push(b',');
        }
    }
    o.extend_from_slice(brackets[1]);
    reply
}

fn ldbRedisProtocolToHuman_MultiBulk<'a>(o: &mut Vec<u8>, reply: &'a [u8]) -> &'a [u8] {
    let (line, rest) = reply_line(reply);
    let mbulklen = string2ll(line).unwrap_or(0);
    if mbulklen == -1 {
        o.extend_from_slice(b"NULL");
        return rest;
    }
    elements(o, rest, mbulklen, [b"[", b"]"], ldbRedisProtocolToHuman)
}

fn ldbRedisProtocolToHuman_Set<'a>(o: &mut Vec<u8>, reply: &'a [u8]) -> &'a [u8] {
    let (line, rest) = reply_line(reply);
    let mbulklen = string2ll(line).unwrap_or(0);
    elements(o, rest, mbulklen, [b"~(", b")"], ldbRedisProtocolToHuman)
}

fn ldbRedisProtocolToHuman_Map<'a>(o: &mut Vec<u8>, reply: &'a [u8]) -> &'a [u8] {
    let (line, rest) = reply_line(reply);
    let mbulklen = string2ll(line).unwrap_or(0);
    elements(o, rest, mbulklen, [b"{", b"}"], |o, reply| {
        let reply = ldbRedisProtocolToHuman(o, reply);
        o.extend_from_slice(b" => ");
        ldbRedisProtocolToHuman(o, reply)
    })
}

fn ldbRedisProtocolToHuman_Null<'a>(o: &mut Vec<u8>, reply: &'a [u8]) -> &'a [u8] {
    o.extend_from_slice(b"(null)");
    reply_line(reply).1
}

fn ldbRedisProtocolToHuman_Bool<'a>(o: &mut Vec<u8>, reply: &'a [u8]) -> &'a [u8] {
    let (line, rest) = reply_line(reply);
    o.extend_from_slice(if line.first() == Some(&b't') { b"#true" } else { b"#false" });
    rest
}

fn ldbRedisProtocolToHuman_Double<'a>(o: &mut Vec<u8>, reply: &'a [u8]) -> &'a [u8] {
    let (line, rest) = reply_line(reply);
    o.extend_from_slice(b"(double) ");
    o.extend_from_slice(line);
    rest
}

/// Logs a reply in a form that people read.
pub fn ldbLogRedisReply(ldb: &mut LdbState, reply: &[u8]) {
    let mut log = b"<reply> ".to_vec();
    ldbRedisProtocolToHuman(&mut log, reply);
    ldbLogWithMaxLen(ldb, log);
}

/// `print <var>`: shows the local variable of that name that is nearest, from the running function
/// outwards. KEYS and ARGV are found, too.
fn ldbPrint(lua: &mut Lua, server: &mut Server, varname: &[u8]) -> LuaResult<()> {
    let varname = c_str(varname);
    let mut ar = lua_Debug::default();
    let mut l = 0;
    while lua_getstack(lua, l, &mut ar) {
        l += 1;
        let mut i = 1;
        while let Some(name) = lua_getlocal(lua, &ar, i) {
            i += 1;
            let found = c_str(&name) == varname;
            if found {
                ldbLogStackValue(lua, &mut server.ldb, b"<value> ")?;
            }
            lua_pop(lua, 1);
            if found {
                return Ok(());
            }
        }
    }
    for global in ["ARGV", "KEYS"] {
        if varname == global.as_bytes() {
            lua_getglobal(lua, server, global)?;
            ldbLogStackValue(lua, &mut server.ldb, b"<value> ")?;
            lua_pop(lua, 1);
            return Ok(());
        }
    }
    log_text(&mut server.ldb, "No such variable.");
    Ok(())
}

/// `print`: shows all local variables of the running function.
fn ldbPrintAll(lua: &mut Lua, ldb: &mut LdbState) -> LuaResult<()> {
    let mut ar = lua_Debug::default();
    let mut vars = 0;
    if lua_getstack(lua, 0, &mut ar) {
        let mut i = 1;
        while let Some(name) = lua_getlocal(lua, &ar, i) {
            i += 1;
            if memchr::memmem::find(&name, b"(*temporary)").is_none() {
                ldbLogStackValue(lua, ldb, &bformat!("<value> {} = ", B(&name)))?;
                vars += 1;
            }
            lua_pop(lua, 1);
        }
    }
    if vars == 0 {
        log_text(ldb, "No local variables in the current context.");
    }
    Ok(())
}

/// `break`: shows, adds or removes breakpoints.
fn ldbBreak(ldb: &mut LdbState, argv: &[Vec<u8>]) {
    if argv.len() == 1 {
        if ldb.bp.is_empty() {
            log_text(ldb, "No breakpoints set. Use 'b <line>' to add one.");
            return;
        }
        let count = bformat!("{} breakpoints set:", ldb.bp.len());
        ldbLog(ldb, count);
        for line in ldb.bp.clone() {
            ldbLogSourceLine(ldb, line);
        }
    }
    for arg in &argv[1..] {
        match string2l(arg) {
            None => ldbLog(ldb, bformat!("Invalid argument:'{}'", B(c_str(arg)))),
            Some(0) => {
                ldb.bp.clear();
                log_text(ldb, "All breakpoints removed.");
            }
            // As in the C, only the lower half of a number beyond 32 bits counts.
            Some(line @ 1..) => {
                if ldb.bp.len() == LDB_BREAKPOINTS_MAX {
                    log_text(ldb, "Too many breakpoints set.");
                } else if ldbAddBreakpoint(ldb, line as i32) {
                    ldbList(ldb, line as i32, 1);
                } else {
                    log_text(ldb, "Wrong line number.");
                }
            }
            Some(line) => {
                let removed = ldbDelBreakpoint(ldb, line.wrapping_neg() as i32);
                log_text(
                    ldb,
                    if removed {
                        "Breakpoint removed."
                    } else {
                        "No breakpoint in the specified line."
                    },
                );
            }
        }
    }
}

/// The hook of the code that the client typed, which must not run for ever: nothing else would stop
/// it.
fn eval_hook(lua: &mut Lua, server: &mut Server, _ar: &mut lua_Debug) -> LuaResult<()> {
    if elapsedMs(server.ldb.eval_start) as i64 >= time_limit(server) {
        // From here on every line raises the error, as in `luaMaskCountHook`.
        lua_sethook(lua, Some(eval_hook), LUA_MASKLINE, 0);
        lua_pushstring(lua, "timeout reached, infinite loop?");
        return lua_error(lua);
    }
    Ok(())
}

/// How long a script, or typed code, runs until that is too long, in milliseconds.
fn time_limit(server: &Server) -> i64 {
    if server.lua_time_limit != 0 { server.lua_time_limit } else { 5000 }
}

/// Logs the error on the top, which it pops.
///
/// C: an error that is no text ends the process.
fn log_error(lua: &mut Lua, ldb: &mut LdbState) -> LuaResult<()> {
    match lua_tolstring(lua, -1) {
        Some(text) => ldbLog(ldb, bformat!("<error> {}", B(c_str(&text)))),
        None => ldbLogStackValue(lua, ldb, b"<error> ")?,
    }
    lua_pop(lua, 1);
    Ok(())
}

/// `eval <code>`: executes code, and shows what it returns. It sees no local variables.
///
/// C: nothing ends code that runs for ever. Here it may run as long as a script.
fn ldbEval(lua: &mut Lua, server: &mut Server, argv: &[Vec<u8>]) -> LuaResult<()> {
    let code = argv[1..].join(&b' ');
    // An expression, or else a statement.
    let expr = [b"return ", &code[..]].concat();
    if luaL_loadbuffer(lua, server, &expr, b"@ldb_eval") != LUA_OK {
        lua_pop(lua, 1);
        if luaL_loadbuffer(lua, server, &code, b"@ldb_eval") != LUA_OK {
            return log_error(lua, &mut server.ldb);
        }
    }

    // Within a hook there are no hooks, but for this.
    let allowhook = std::mem::replace(&mut lua.th.allowhook, true);
    lua_sethook(lua, Some(eval_hook), LUA_MASKCOUNT, HOOK_COUNT);
    server.ldb.eval_start = getMonotonicUs();
    let err = lua_pcall(lua, server, 0, 1, 0) != LUA_OK;
    set_line_hook(lua);
    lua.th.allowhook = allowhook;

    if err {
        return log_error(lua, &mut server.ldb);
    }
    ldbLogStackValue(lua, &mut server.ldb, b"<retval> ")?;
    lua_pop(lua, 1);
    Ok(())
}

/// `redis <cmd>`: executes a command as `redis.call` does, which logs it and its reply.
fn ldbRedis(lua: &mut Lua, server: &mut Server, argv: &[Vec<u8>]) -> LuaResult<()> {
    let saved_rc = server.lua_replicate_commands;
    // The table, the function, the arguments.
    if !lua_checkstack(lua, argv.len() as i32 + 1) {
        ldbLogRedisReply(&mut server.ldb, b"max lua stack reached");
        return Ok(());
    }
    lua_getglobal(lua, server, "redis")?;
    raw_get_field(lua, "call");
    for arg in &argv[1..] {
        lua_pushlstring(lua, arg);
    }
    server.ldb.step = true;
    server.lua_replicate_commands = true;
    // An error was logged like a reply.
    lua_pcall(lua, server, argv.len() as i32 - 1, 1, 0);
    server.ldb.step = false;
    server.lua_replicate_commands = saved_rc;
    lua_pop(lua, 2);

    // C: where scripts are sent as such, the transaction around this command is left open, and the
    // script is sent within it.
    if !saved_rc && take(&mut server.lua_multi_emitted) {
        let (c, caller) = (lua_client(server), lua_caller(server));
        execCommandPropagateExec(server, server[caller].db as i32);
        server[c].flags &= !CLIENT_MULTI;
    }
    Ok(())
}

/// `trace`: shows who called whom, from the running function outwards.
fn ldbTrace(lua: &mut Lua, ldb: &mut LdbState) {
    let mut ar = lua_Debug::default();
    let mut level = 0;
    while lua_getstack(lua, level, &mut ar) {
        lua_getinfo(lua, "Snl", &mut ar);
        if in_user_script(&ar) {
            let how = if level == 0 { "In" } else { "From" };
            let name = ar.name.as_deref().map_or(&b"top level"[..], c_str);
            ldbLog(ldb, bformat!("{} {}:", how, B(name)));
            ldbLogSourceLine(ldb, ar.currentline);
        }
        level += 1;
    }
    if level == 0 {
        log_text(ldb, "<error> Can't retrieve Lua stack.");
    }
}

/// Tells whether the function that `ar` describes is one of the script.
fn in_user_script(ar: &lua_Debug) -> bool {
    memchr::memmem::find(&ar.short_src, b"user_script").is_some()
}

/// `maxlen [len]`: shows, or sets, the length up to which replies and values are shown.
fn ldbMaxlen(ldb: &mut LdbState, argv: &[Vec<u8>]) {
    if argv.len() == 2 {
        let newval = atoi(&argv[1]);
        // They know the command.
        ldb.maxlen_hint_sent = true;
        ldb.maxlen = if newval != 0 { newval.max(60) as usize } else { 0 };
    }
    if ldb.maxlen != 0 {
        let entry = bformat!("<value> replies are truncated at {} bytes.", ldb.maxlen);
        ldbLog(ldb, entry);
    } else {
        log_text(ldb, "<value> replies are unlimited.");
    }
}

/// What `help` shows.
const HELP: [&str; 30] = [
    "Redis Lua debugger help:",
    "[h]elp               Show this help.",
    "[s]tep               Run current line and stop again.",
    "[n]ext               Alias for step.",
    "[c]continue          Run till next breakpoint.",
    "[l]list              List source code around current line.",
    "[l]list [line]       List source code around [line].",
    "                     line = 0 means: current position.",
    "[l]list [line] [ctx] In this form [ctx] specifies how many lines",
    "                     to show before/after [line].",
    "[w]hole              List all source code. Alias for 'list 1 1000000'.",
    "[p]rint              Show all the local variables.",
    "[p]rint <var>        Show the value of the specified variable.",
    "                     Can also show global vars KEYS and ARGV.",
    "[b]reak              Show all breakpoints.",
    "[b]reak <line>       Add a breakpoint to the specified line.",
    "[b]reak -<line>      Remove breakpoint from the specified line.",
    "[b]reak 0            Remove all breakpoints.",
    "[t]race              Show a backtrace.",
    "[e]eval <code>       Execute some Lua code (in a different callframe).",
    "[r]edis <cmd>        Execute a Redis command.",
    "[m]axlen [len]       Trim logged Redis replies and Lua var dumps to len.",
    "                     Specifying zero as <len> means unlimited.",
    "[a]bort              Stop the execution of the script. In sync",
    "                     mode dataset changes will be retained.",
    "",
    "Debugger functions you can call from Lua scripts:",
    "redis.debug()        Produce logs in the debugger console.",
    "redis.breakpoint()   Stop execution like if there was a breakpoint in the",
    "                     next line of code.",
];

/// Reads commands of the client and executes them, until one lets the script go on. Returns false
/// if the client is gone. `Err`: the script ends.
fn ldbRepl(lua: &mut Lua, server: &mut Server) -> LuaResult<bool> {
    loop {
        let argv = loop {
            match ldbReplParseCommand(&server.ldb.cbuf) {
                Ok(Some(argv)) => break argv,
                Ok(None) => {}
                Err(ProtocolError) => {
                    lua_pushstring(lua, "protocol error");
                    return lua_error(lua);
                }
            }
            let mut buf = [0; 1024];
            let nread = match server.ldb.conn {
                Some(conn) => connRead(&mut server.net, conn, &mut buf).unwrap_or(0),
                None => 0,
            };
            let ldb = &mut server.ldb;
            if nread == 0 {
                // The script goes on without anybody who could be asked.
                ldb.step = false;
                ldb.bp.clear();
                return Ok(false);
            }
            ldb.cbuf.extend_from_slice(&buf[..nread]);
            if ldb.cbuf.len() > MAX_COMMAND {
                ldb.cbuf = Vec::new();
                lua_pushstring(lua, "max client buffer reached");
                return lua_error(lua);
            }
        };
        server.ldb.cbuf.clear();

        let argc = argv.len();
        let is = |short: &str, long: &str| {
            eq_ignore_case(&argv[0], short.as_bytes()) || eq_ignore_case(&argv[0], long.as_bytes())
        };
        let ldb = &mut server.ldb;
        if is("h", "help") {
            for line in HELP {
                log_text(ldb, line);
            }
        } else if is("s", "step") || is("n", "next") {
            ldb.step = true;
            return Ok(true);
        } else if is("c", "continue") {
            return Ok(true);
        } else if is("t", "trace") {
            ldbTrace(lua, ldb);
        } else if is("m", "maxlen") {
            ldbMaxlen(ldb, &argv);
        } else if is("b", "break") {
            ldbBreak(ldb, &argv);
        } else if is("e", "eval") {
            ldbEval(lua, server, &argv)?;
        } else if is("a", "abort") {
            lua_pushstring(lua, "script aborted for user request");
            return lua_error(lua);
        } else if argc > 1 && is("r", "redis") {
            ldbRedis(lua, server, &argv)?;
        } else if is("p", "print") {
            if argc == 2 {
                ldbPrint(lua, server, &argv[1])?;
            } else {
                ldbPrintAll(lua, ldb)?;
            }
        } else if is("l", "list") {
            let around = argv.get(1).map(|line| atoi(line)).filter(|&line| line > 0);
            let ctx = argv.get(2).map_or(5, |ctx| atoi(ctx));
            ldbList(ldb, around.unwrap_or(ldb.currentline), ctx);
        } else if is("w", "whole") {
            ldbList(ldb, 1, 1_000_000);
        } else {
            log_text(
                ldb,
                "<error> Unknown Redis Lua debugger command or wrong number of arguments.",
            );
        }
        ldbSendLogs(server);
    }
}

/// Has the interpreter call `luaLdbLineHook`.
pub fn set_line_hook(lua: &mut Lua) {
    lua_sethook(lua, Some(luaLdbLineHook), LUA_MASKLINE | LUA_MASKCOUNT, HOOK_COUNT);
}

/// Called before each line of a script that is debugged, and every so many instructions: is it to
/// stop here?
fn luaLdbLineHook(lua: &mut Lua, server: &mut Server, ar: &mut lua_Debug) -> LuaResult<()> {
    const GIVEN_UP: &str = "timeout during Lua debugging with client closing connection";

    let event = ar.event;
    let mut level = 0;
    lua_getstack(lua, level, ar);
    lua_getinfo(lua, "Sl", ar);
    // C: the functions of libraries do not count, so that one that takes long cannot be stopped.
    while event == LUA_HOOKCOUNT && ar.what == "C" && lua_getstack(lua, level + 1, ar) {
        level += 1;
        lua_getinfo(lua, "Sl", ar);
    }
    server.ldb.currentline = ar.currentline;
    let bp = ldbIsBreakpoint(&server.ldb, ar.currentline) || server.ldb.luabp;

    // Other functions, the handler of errors for one, are nobody's business.
    if !in_user_script(ar) {
        return Ok(());
    }
    if server.ldb.given_up {
        lua_pushstring(lua, GIVEN_UP);
        return lua_error(lua);
    }

    let mut timeout = false;
    if event == LUA_HOOKCOUNT && !server.ldb.step && !bp {
        if (elapsedMs(server.lua_time_start) as i64) < time_limit(server) {
            return Ok(());
        }
        timeout = true;
        server.ldb.step = true;
    }

    if server.ldb.step || bp {
        let ldb = &mut server.ldb;
        let reason = if bp {
            if ldb.luabp { "redis.breakpoint() called" } else { "break point" }
        } else if timeout {
            "timeout reached, infinite loop?"
        } else {
            "step over"
        };
        ldb.step = false;
        ldb.luabp = false;
        let line = ldb.currentline;
        ldbLog(ldb, bformat!("* Stopped at {}, stop reason = {}", line, reason));
        ldbLogSourceLine(ldb, line);
        ldbSendLogs(server);
        if !ldbRepl(lua, server)? && timeout {
            // Nobody else will ever stop it. From here on every line raises the error, so that a
            // loop around a `pcall` ends, too.
            server.ldb.given_up = true;
            lua_pushstring(lua, GIVEN_UP);
            return lua_error(lua);
        }
        server.lua_time_start = getMonotonicUs();
        server.lua_time_snapshot = mstime();
    }
    Ok(())
}
