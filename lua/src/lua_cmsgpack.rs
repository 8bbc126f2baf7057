//! `lua_cmsgpack.c`: lua-cmsgpack 0.4.0, MessagePack.
//!
//! Read first: `mp_encode_lua_type`, `mp_decode_to_lua_type`. Differs: bytes that say how long a value is are believed only as
//! far as there is input; long work counts as instructions, see `lwork`; `cmsgpack_safe` is not there, as nobody opens it.

use crate::cstd::{d2i, d2ll};
use crate::lapi::*;
use crate::lauxlib::*;
use crate::lstate::{LuaResult, lua_State};
use crate::lwork::Work;

/// How deep tables may be nested; what is deeper becomes nil.
const LUACMSGPACK_MAX_NESTING: i32 = 16;

// Encoding.

/// What is packed so far.
struct Packer {
    buf: Vec<u8>,
    work: Work,
}

fn mp_encode_bytes<H>(L: &mut lua_State<H>, buf: &mut Vec<u8>, s: &[u8]) -> LuaResult<()> {
    let len = s.len();
    luaL_reserve(L, buf, len.saturating_add(5))?;
    if len < 32 {
        buf.push(0xa0 | len as u8);
    } else if len <= 0xff {
        buf.extend_from_slice(&[0xd9, len as u8]);
    } else if len <= 0xffff {
        buf.push(0xda);
        buf.extend_from_slice(&(len as u16).to_be_bytes());
    } else {
        buf.push(0xdb);
        buf.extend_from_slice(&(len as u32).to_be_bytes());
    }
    buf.extend_from_slice(s);
    Ok(())
}

/// A float if that is exact, a double otherwise.
fn mp_encode_double(buf: &mut Vec<u8>, d: f64) {
    let f = d as f32;
    if d == f64::from(f) {
        buf.push(0xca);
        buf.extend_from_slice(&f.to_be_bytes());
    } else {
        buf.push(0xcb);
        buf.extend_from_slice(&d.to_be_bytes());
    }
}

/// In the shortest form.
fn mp_encode_int(buf: &mut Vec<u8>, n: i64) {
    match n {
        0..=127 => buf.push(n as u8),
        128..=0xff => buf.extend_from_slice(&[0xcc, n as u8]),
        0x100..=0xffff => {
            buf.push(0xcd);
            buf.extend_from_slice(&(n as u16).to_be_bytes());
        }
        0x10000..=0xffff_ffff => {
            buf.push(0xce);
            buf.extend_from_slice(&(n as u32).to_be_bytes());
        }
        0x1_0000_0000.. => {
            buf.push(0xcf);
            buf.extend_from_slice(&n.to_be_bytes());
        }
        -32..=-1 => buf.push(n as u8),
        -128..=-33 => buf.extend_from_slice(&[0xd0, n as u8]),
        -32768..=-129 => {
            buf.push(0xd1);
            buf.extend_from_slice(&(n as i16).to_be_bytes());
        }
        -2147483648..=-32769 => {
            buf.push(0xd2);
            buf.extend_from_slice(&(n as i32).to_be_bytes());
        }
        _ => {
            buf.push(0xd3);
            buf.extend_from_slice(&n.to_be_bytes());
        }
    }
}

/// The head of `n` elements: in four bits with `fix`, in 16 behind `b16`, in 32 behind `b32`.
fn encode_count(buf: &mut Vec<u8>, n: usize, fix: u8, b16: u8, b32: u8) {
    if n <= 15 {
        buf.push(fix | n as u8);
    } else if n <= 65535 {
        buf.push(b16);
        buf.extend_from_slice(&(n as u16).to_be_bytes());
    } else {
        buf.push(b32);
        buf.extend_from_slice(&(n as u32).to_be_bytes());
    }
}

fn mp_encode_array(buf: &mut Vec<u8>, n: usize) {
    encode_count(buf, n, 0x90, 0xdc, 0xdd);
}

fn mp_encode_map(buf: &mut Vec<u8>, n: usize) {
    encode_count(buf, n, 0x80, 0xde, 0xdf);
}

/// Integers as such, whatever else as a float.
fn mp_encode_lua_number<H>(L: &mut lua_State<H>, buf: &mut Vec<u8>) {
    let n = lua_tonumber(L, -1);
    if !n.is_infinite() && d2ll(n) as f64 == n {
        mp_encode_int(buf, d2ll(n));
    } else {
        mp_encode_double(buf, n);
    }
}

fn mp_encode_lua_table_as_array<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    pk: &mut Packer,
    level: i32,
) -> LuaResult<()> {
    let len = lua_objlen(L, -1);
    mp_encode_array(&mut pk.buf, len);
    luaL_checkstack(L, 1, "in function mp_encode_lua_table_as_array")?;
    for j in 1..=len {
        lua_pushnumber(L, j as lua_Number);
        lua_gettable(L, host, -2)?;
        mp_encode_lua_type(L, host, pk, level + 1)?;
    }
    Ok(())
}

fn mp_encode_lua_table_as_map<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    pk: &mut Packer,
    level: i32,
) -> LuaResult<()> {
    // The number of pairs stands before them, so they are counted first.
    let mut len = 0;
    luaL_checkstack(L, 3, "in function mp_encode_lua_table_as_map")?;
    lua_pushnil(L);
    while lua_next(L, -2)? {
        lua_pop(L, 1);
        len += 1;
        pk.work.step(L, host)?;
    }
    mp_encode_map(&mut pk.buf, len);
    lua_pushnil(L);
    while lua_next(L, -2)? {
        lua_pushvalue(L, -2);
        mp_encode_lua_type(L, host, pk, level + 1)?;
        mp_encode_lua_type(L, host, pk, level + 1)?;
    }
    Ok(())
}

/// Whether the keys of the table on the top are the numbers from 1 to their count.
fn table_is_an_array<H>(L: &mut lua_State<H>, host: &mut H, pk: &mut Packer) -> LuaResult<bool> {
    let mut count = 0;
    let mut max = 0;
    let stacktop = lua_gettop(L);
    lua_pushnil(L);
    while lua_next(L, -2)? {
        pk.work.step(L, host)?;
        lua_pop(L, 1);
        let n = lua_tonumber(L, -1);
        let is_index =
            lua_type(L, -1) == LUA_TNUMBER && n > 0.0 && !n.is_infinite() && f64::from(d2i(n)) == n;
        if !is_index {
            lua_settop(L, stacktop);
            return Ok(false);
        }
        max = max.max(d2i(n));
        count += 1;
    }
    // Keys do not repeat: if the largest is their number, all are there.
    lua_settop(L, stacktop);
    Ok(max == count)
}

fn mp_encode_lua_table<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    pk: &mut Packer,
    level: i32,
) -> LuaResult<()> {
    if table_is_an_array(L, host, pk)? {
        mp_encode_lua_table_as_array(L, host, pk, level)
    } else {
        mp_encode_lua_table_as_map(L, host, pk, level)
    }
}

/// Packs the value on the top and pops it.
fn mp_encode_lua_type<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    pk: &mut Packer,
    level: i32,
) -> LuaResult<()> {
    pk.work.step(L, host)?;
    luaL_reserve(L, &mut pk.buf, 9)?;
    match lua_type(L, -1) {
        LUA_TSTRING => {
            let s = lua_tolstring(L, -1).unwrap_or_default();
            mp_encode_bytes(L, &mut pk.buf, &s)?;
        }
        LUA_TBOOLEAN => pk.buf.push(if lua_toboolean(L, -1) { 0xc3 } else { 0xc2 }),
        LUA_TNUMBER => mp_encode_lua_number(L, &mut pk.buf),
        // Deeper than that, it may be a table that is its own element.
        LUA_TTABLE if level != LUACMSGPACK_MAX_NESTING => mp_encode_lua_table(L, host, pk, level)?,
        _ => pk.buf.push(0xc0),
    }
    lua_pop(L, 1);
    Ok(())
}

/// Packs all arguments, one behind the other.
fn mp_pack<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    let nargs = lua_gettop(L);
    if nargs == 0 {
        return luaL_argerror(L, 0, b"MessagePack pack needs input.");
    }
    if !lua_checkstack(L, nargs) {
        return luaL_argerror(L, 0, b"Too many arguments for MessagePack pack.");
    }
    let mut pk = Packer { buf: Vec::new(), work: Work::default() };
    for i in 1..=nargs {
        // C: every argument has its own string, which are concatenated at the end.
        luaL_checkstack(L, 1, "in function mp_check")?;
        lua_pushvalue(L, i);
        mp_encode_lua_type(L, host, &mut pk, 0)?;
    }
    lua_pushlstring(L, &pk.buf);
    Ok(1)
}

// Decoding.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum CurError {
    /// There is less input than the value needs.
    MP_CUR_ERROR_EOF,
    MP_CUR_ERROR_BADFMT,
}
use CurError::*;

/// Input, and how far it was read.
struct Cursor<'s> {
    p: &'s [u8],
    work: Work,
}

impl<'s> Cursor<'s> {
    /// The next `n` bytes, which must be there (`mp_cur_need`, `mp_cur_consume`).
    fn take(&mut self, n: usize) -> Result<&'s [u8], CurError> {
        if self.p.len() < n {
            return Err(MP_CUR_ERROR_EOF);
        }
        let (head, rest) = self.p.split_at(n);
        self.p = rest;
        Ok(head)
    }

    /// The big endian number in the `N` bytes behind the type.
    fn number<const N: usize>(&mut self) -> Result<u64, CurError> {
        let bytes = self.take(1 + N)?;
        Ok(bytes[1..].iter().fold(0, |n, &b| n << 8 | u64::from(b)))
    }
}

/// The result of decoding: what was wrong with the input is no error of Lua yet.
type Decoded = LuaResult<Result<(), CurError>>;

macro_rules! tri {
    ($e:expr) => {
        match $e {
            Ok(v) => v,
            Err(e) => return Ok(Err(e)),
        }
    };
}

/// An array or map that is being read. Its table is on the stack, below the key that waits for its value.
struct Open {
    is_array: bool,
    /// How many elements there were.
    index: u64,
    len: u64,
    /// Whether the key of a pair was read, but not its value.
    have_key: bool,
}

/// Pushes the value at the cursor, with all that is in it.
///
/// C: it calls itself for what is nested. That goes as deep as the stack of Lua has room; here the tables that are not at
/// their end are in a list instead.
fn mp_decode_to_lua_type<H>(L: &mut lua_State<H>, host: &mut H, c: &mut Cursor) -> Decoded {
    let mut open: Vec<Open> = Vec::new();
    loop {
        let mut complete = true; // whether there is a value on the top that has no place yet
        if let Some((is_array, len)) = tri!(mp_decode_head(L, host, c)?) {
            lua_newtable(L);
            if is_array {
                luaL_checkstack(L, 1, "in function mp_decode_to_lua_array")?;
            }
            open.push(Open { is_array, index: 0, len, have_key: false });
            complete = false;
        }
        loop {
            let Some(table) = open.last_mut() else { return Ok(Ok(())) };
            if complete && !table.is_array && !table.have_key {
                table.have_key = true;
                break; // its value comes next
            }
            if complete {
                table.have_key = false;
                table.index += 1;
                lua_settable(L, host, -3)?;
            }
            if table.index < table.len {
                if table.is_array {
                    lua_pushnumber(L, (table.index + 1) as lua_Number);
                }
                break;
            }
            open.pop();
            complete = true; // and the table is a value
        }
    }
}

/// Pushes the value at the cursor, or says that it is an array (true) or map and how many elements it has.
fn mp_decode_head<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    c: &mut Cursor,
) -> LuaResult<Result<Option<(bool, u64)>, CurError>> {
    let Some(&head) = c.p.first() else { return Ok(Err(MP_CUR_ERROR_EOF)) };
    c.work.step(L, host)?;
    // How many values there will be on the stack, nobody knows before.
    let msg = "too many return values at once; use unpack_one or unpack_limit instead.";
    luaL_checkstack(L, 1, msg)?;
    match head {
        0xcc => {
            let n = tri!(c.number::<1>());
            lua_pushnumber(L, n as lua_Number);
        }
        0xcd => {
            let n = tri!(c.number::<2>());
            lua_pushnumber(L, n as lua_Number);
        }
        0xce => {
            let n = tri!(c.number::<4>());
            lua_pushnumber(L, n as lua_Number);
        }
        // A number from 2^63 on comes out negative, as it goes through a signed integer.
        0xcf | 0xd3 => {
            let n = tri!(c.number::<8>());
            lua_pushnumber(L, n as i64 as lua_Number);
        }
        0xd0 => {
            let n = tri!(c.number::<1>());
            lua_pushnumber(L, f64::from(n as i8));
        }
        0xd1 => {
            let n = tri!(c.number::<2>());
            lua_pushnumber(L, f64::from(n as i16));
        }
        0xd2 => {
            let n = tri!(c.number::<4>());
            lua_pushnumber(L, f64::from(n as i32));
        }
        0xc0 => {
            tri!(c.take(1));
            lua_pushnil(L);
        }
        0xc2 | 0xc3 => {
            tri!(c.take(1));
            lua_pushboolean(L, head == 0xc3);
        }
        0xca => {
            let n = tri!(c.number::<4>());
            lua_pushnumber(L, f64::from(f32::from_bits(n as u32)));
        }
        0xcb => {
            let n = tri!(c.number::<8>());
            lua_pushnumber(L, f64::from_bits(n));
        }
        0xd9..=0xdb => {
            let len = tri!(match head {
                0xd9 => c.number::<1>(),
                0xda => c.number::<2>(),
                _ => c.number::<4>(),
            });
            let s = tri!(c.take(len as usize));
            lua_pushlstring(L, s);
        }
        0xdc | 0xde => {
            let len = tri!(c.number::<2>());
            return Ok(Ok(Some((head == 0xdc, len))));
        }
        0xdd | 0xdf => {
            let len = tri!(c.number::<4>());
            return Ok(Ok(Some((head == 0xdd, len))));
        }
        0..=0x7f => {
            tri!(c.take(1));
            lua_pushnumber(L, f64::from(head));
        }
        0xe0..=0xff => {
            tri!(c.take(1));
            lua_pushnumber(L, f64::from(head as i8));
        }
        0xa0..=0xbf => {
            let s = tri!(c.take(1 + usize::from(head & 0x1f)));
            lua_pushlstring(L, &s[1..]);
        }
        0x80..=0x9f => {
            tri!(c.take(1));
            return Ok(Ok(Some((head & 0x10 != 0, u64::from(head & 0xf)))));
        }
        0xc1 | 0xc4..=0xc9 | 0xd4..=0xd8 => return Ok(Err(MP_CUR_ERROR_BADFMT)),
    }
    Ok(Ok(None))
}

/// Unpacks `limit` values from `offset` on, and says before them where the next one is; all, without that, if both are 0.
fn mp_unpack_full<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    limit: lua_Integer,
    offset: lua_Integer,
) -> LuaResult<i32> {
    let decode_all = limit == 0 && offset == 0;
    let s = luaL_checklstring(L, 1)?;
    let len = s.len();
    if offset < 0 || limit < 0 {
        let (offset, len) = (offset as i32, len as i32);
        return luaL_error!(
            L,
            "Invalid request to unpack with offset of %d and limit of %d.",
            offset,
            len
        );
    }
    if offset as usize > len {
        let (offset, len) = (offset as i32, len as i32);
        return luaL_error!(L, "Start offset %d greater than input length %d.", offset, len);
    }
    let limit = if decode_all { i32::MAX as lua_Integer } else { limit };
    let mut c = Cursor { p: &s[offset as usize..], work: Work::default() };
    let mut cnt: i32 = 0;
    while !c.p.is_empty() && (cnt as lua_Integer) < limit {
        match mp_decode_to_lua_type(L, host, &mut c)? {
            Ok(()) => cnt += 1,
            Err(MP_CUR_ERROR_EOF) => return luaL_error!(L, "Missing bytes in input."),
            Err(MP_CUR_ERROR_BADFMT) => return luaL_error!(L, "Bad data format in input."),
        }
    }
    if !decode_all {
        luaL_checkstack(L, 1, "in function mp_unpack_full")?;
        let next = if c.p.is_empty() { -1 } else { (len - c.p.len()) as lua_Integer };
        lua_pushinteger(L, next);
        lua_insert(L, 2);
        cnt += 1;
    }
    Ok(cnt)
}

fn mp_unpack<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    mp_unpack_full(L, host, 0, 0)
}

/// Drops all arguments but the first.
fn keep_first<H>(L: &mut lua_State<H>) {
    if lua_gettop(L) > 1 {
        lua_settop(L, 1);
    }
}

fn mp_unpack_one<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    let offset = luaL_optinteger(L, 2, 0)?;
    keep_first(L);
    mp_unpack_full(L, host, 1, offset)
}

fn mp_unpack_limit<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    let limit = luaL_checkinteger(L, 2)?;
    let offset = luaL_optinteger(L, 3, 0)?;
    keep_first(L);
    mp_unpack_full(L, host, limit, offset)
}

/// Opens the library.
pub fn luaopen_cmsgpack<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let cmds: [luaL_Reg<H>; 4] = [
        ("pack", mp_pack),
        ("unpack", mp_unpack),
        ("unpack_one", mp_unpack_one),
        ("unpack_limit", mp_unpack_limit),
    ];
    lua_newtable(L);
    luaL_register(L, None, &cmds)?;
    for (name, value) in [
        ("_NAME", "cmsgpack"),
        ("_VERSION", "lua-cmsgpack 0.4.0"),
        ("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo"),
        ("_DESCRIPTION", "MessagePack C implementation for Lua"),
    ] {
        lua_pushstring(L, name);
        lua_pushstring(L, value);
        lua_rawset(L, -3)?;
    }
    lua_pushstring(L, "cmsgpack");
    lua_pushvalue(L, -2);
    lua_rawset(L, LUA_GLOBALSINDEX)?;
    Ok(1)
}
