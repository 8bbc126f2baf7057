//! `lua_cjson.c`: Lua CJSON 2.1.0 (Mark Pulford, MIT).
//!
//! Read first: `json_append_data` and `json_process_value`. Differs: neither of them calls itself, so that no depth that a
//! script sets overflows the stack; one buffer is made for every call, whatever `encode_keep_buffer` says; long work counts
//! as instructions, see `lwork`; there is no `cjson.safe`, as nobody opens it.

use crate::cstd::{d2i, strtod};
use crate::lapi::*;
use crate::lauxlib::*;
use crate::lobject::format_g;
use crate::lstate::{LuaError, LuaResult, lua_State};
use crate::lwork::Work;

const DEFAULT_SPARSE_RATIO: i32 = 2;
const DEFAULT_SPARSE_SAFE: i32 = 10;
const DEFAULT_ENCODE_MAX_DEPTH: i32 = 1000;
const DEFAULT_DECODE_MAX_DEPTH: i32 = 1000;
const DEFAULT_ENCODE_NUMBER_PRECISION: i32 = 14;

#[derive(Clone, Copy, PartialEq, Eq)]
enum TokenType {
    T_OBJ_BEGIN,
    T_OBJ_END,
    T_ARR_BEGIN,
    T_ARR_END,
    T_STRING,
    T_NUMBER,
    T_BOOLEAN,
    T_NULL,
    T_COLON,
    T_COMMA,
    T_END,
    T_ERROR,
}
use TokenType::*;

impl TokenType {
    /// Its name in messages.
    fn name(self) -> &'static str {
        match self {
            T_OBJ_BEGIN => "T_OBJ_BEGIN",
            T_OBJ_END => "T_OBJ_END",
            T_ARR_BEGIN => "T_ARR_BEGIN",
            T_ARR_END => "T_ARR_END",
            T_STRING => "T_STRING",
            T_NUMBER => "T_NUMBER",
            T_BOOLEAN => "T_BOOLEAN",
            T_NULL => "T_NULL",
            T_COLON => "T_COLON",
            T_COMMA => "T_COMMA",
            T_END => "T_END",
            T_ERROR => "T_ERROR",
        }
    }
}

/// The settings of one `cjson` table.
#[derive(Clone, Copy)]
struct json_config_t {
    encode_sparse_convert: i32,
    encode_sparse_ratio: i32,
    encode_sparse_safe: i32,
    encode_max_depth: i32,
    /// 0: an error; 1: as C's printf writes them; 2: as null.
    encode_invalid_numbers: i32,
    encode_number_precision: i32,
    encode_keep_buffer: i32,
    decode_invalid_numbers: i32,
    decode_max_depth: i32,
}

struct json_parse_t<'d> {
    data: &'d [u8],
    ptr: usize,
    /// The string that was read last.
    tmp: Vec<u8>,
    cfg: json_config_t,
    current_depth: i32,
}

impl json_parse_t<'_> {
    /// The character `n` behind the current one; NUL at the end.
    fn at(&self, n: usize) -> u8 {
        self.data.get(self.ptr + n).copied().unwrap_or(0)
    }
}

#[derive(Clone, Copy)]
struct json_token_t {
    kind: TokenType,
    index: usize,
    number: f64,
    boolean: bool,
    /// What is wrong with it, if it is a `T_ERROR`.
    error: &'static str,
}

// Configuration.

fn json_fetch_config<H>(L: &mut lua_State<H>) -> LuaResult<&mut json_config_t> {
    if lua_touserdata::<H, json_config_t>(L, lua_upvalueindex(1)).is_none() {
        return luaL_error!(L, "BUG: Unable to fetch CJSON configuration");
    }
    Ok(lua_touserdata(L, lua_upvalueindex(1)).expect("looked at above"))
}

/// Makes the arguments `args` ones, and gives the settings.
fn json_arg_init<H>(L: &mut lua_State<H>, args: i32) -> LuaResult<json_config_t> {
    let few = lua_gettop(L) <= args;
    luaL_argcheck(L, few, args + 1, "found too many arguments")?;
    lua_settop(L, args);
    Ok(*json_fetch_config(L)?)
}

/// Sets an integer setting from an argument, if there is one, and pushes what it is.
fn json_integer_option<H>(
    L: &mut lua_State<H>,
    optindex: i32,
    setting: fn(&mut json_config_t) -> &mut i32,
    min: i32,
    max: i32,
) -> LuaResult<i32> {
    if !lua_isnil(L, optindex) {
        let value = luaL_checkint(L, optindex)?;
        let msg = format!("expected integer between {min} and {max}");
        luaL_argcheck(L, (min..=max).contains(&value), 1, &msg)?;
        *setting(json_fetch_config(L)?) = value;
    }
    let value = *setting(json_fetch_config(L)?);
    lua_pushinteger(L, value as lua_Integer);
    Ok(1)
}

/// Sets a setting that has names from an argument, if there is one, and pushes what it is.
fn json_enum_option<H>(
    L: &mut lua_State<H>,
    optindex: i32,
    setting: fn(&mut json_config_t) -> &mut i32,
    options: &[&str],
) -> LuaResult<i32> {
    if !lua_isnil(L, optindex) {
        let value = if lua_isboolean(L, optindex) {
            i32::from(lua_toboolean(L, optindex))
        } else {
            luaL_checkoption(L, optindex, None, options)? as i32
        };
        *setting(json_fetch_config(L)?) = value;
    }
    match *setting(json_fetch_config(L)?) {
        value @ (0 | 1) => lua_pushboolean(L, value == 1),
        value => lua_pushstring(L, options[value as usize]),
    }
    Ok(1)
}

const BOOL_OPTIONS: [&str; 2] = ["off", "on"];

fn json_cfg_encode_sparse_array<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    json_arg_init(L, 3)?;
    json_enum_option(L, 1, |cfg| &mut cfg.encode_sparse_convert, &BOOL_OPTIONS)?;
    json_integer_option(L, 2, |cfg| &mut cfg.encode_sparse_ratio, 0, i32::MAX)?;
    json_integer_option(L, 3, |cfg| &mut cfg.encode_sparse_safe, 0, i32::MAX)?;
    Ok(3)
}

fn json_cfg_encode_max_depth<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    json_arg_init(L, 1)?;
    json_integer_option(L, 1, |cfg| &mut cfg.encode_max_depth, 1, i32::MAX)
}

fn json_cfg_decode_max_depth<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    json_arg_init(L, 1)?;
    json_integer_option(L, 1, |cfg| &mut cfg.decode_max_depth, 1, i32::MAX)
}

fn json_cfg_encode_number_precision<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    json_arg_init(L, 1)?;
    json_integer_option(L, 1, |cfg| &mut cfg.encode_number_precision, 1, 14)
}

fn json_cfg_encode_keep_buffer<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    json_arg_init(L, 1)?;
    json_enum_option(L, 1, |cfg| &mut cfg.encode_keep_buffer, &BOOL_OPTIONS)
}

fn json_cfg_encode_invalid_numbers<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    json_arg_init(L, 1)?;
    json_enum_option(L, 1, |cfg| &mut cfg.encode_invalid_numbers, &["off", "on", "null"])
}

fn json_cfg_decode_invalid_numbers<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    json_arg_init(L, 1)?;
    json_enum_option(L, 1, |cfg| &mut cfg.decode_invalid_numbers, &BOOL_OPTIONS)
}

fn json_create_config<H>(L: &mut lua_State<H>) {
    let cfg = json_config_t {
        encode_sparse_convert: 0,
        encode_sparse_ratio: DEFAULT_SPARSE_RATIO,
        encode_sparse_safe: DEFAULT_SPARSE_SAFE,
        encode_max_depth: DEFAULT_ENCODE_MAX_DEPTH,
        decode_max_depth: DEFAULT_DECODE_MAX_DEPTH,
        encode_invalid_numbers: 0,
        decode_invalid_numbers: 1,
        encode_keep_buffer: 1,
        encode_number_precision: DEFAULT_ENCODE_NUMBER_PRECISION,
    };
    lua_newuserdata(L, Box::new(cfg), size_of::<json_config_t>());
}

// Encoding.

/// Raises that the value at `lindex` cannot be encoded.
#[cold]
fn json_encode_exception<H, T>(L: &mut lua_State<H>, lindex: i32, reason: &str) -> LuaResult<T> {
    let name = lua_typename(lua_type(L, lindex));
    luaL_error!(L, "Cannot serialise %s: %s", name, reason)
}

/// The escape of a character that cannot stand for itself.
fn char2escape(c: u8) -> Option<[u8; 2]> {
    Some(match c {
        8 => *b"\\b",
        b'\t' => *b"\\t",
        b'\n' => *b"\\n",
        12 => *b"\\f",
        b'\r' => *b"\\r",
        b'"' => *b"\\\"",
        b'/' => *b"\\/",
        b'\\' => *b"\\\\",
        0..=31 | 127 => *b"\\u",
        _ => return None,
    })
}

fn json_append_string<H>(L: &mut lua_State<H>, json: &mut Vec<u8>, lindex: i32) -> LuaResult<()> {
    let s = lua_tolstring(L, lindex).unwrap_or_default();
    luaL_reserve(L, json, s.len() + 2)?;
    json.push(b'"');
    for &c in s.iter() {
        match char2escape(c) {
            None => json.push(c),
            Some(escape) => {
                json.extend_from_slice(&escape);
                if escape[1] == b'u' {
                    json.extend_from_slice(format!("{c:04x}").as_bytes());
                }
            }
        }
    }
    json.push(b'"');
    Ok(())
}

/// How many elements the table on the top has as an array; -1 if it is none.
fn lua_array_length<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    cfg: &json_config_t,
    work: &mut Work,
) -> LuaResult<i32> {
    let mut max: i32 = 0;
    let mut items: i32 = 0;
    lua_pushnil(L);
    while lua_next(L, -2)? {
        work.step(L, host)?;
        let k = if lua_type(L, -2) == LUA_TNUMBER { lua_tonumber(L, -2) } else { 0.0 };
        if k < 1.0 || k.floor() != k {
            lua_pop(L, 2); // no index
            return Ok(-1);
        }
        if k > f64::from(max) {
            max = d2i(k); // an index that is no int makes it no array
        }
        items = items.wrapping_add(1);
        lua_pop(L, 1);
    }
    if cfg.encode_sparse_ratio > 0
        && max > items.wrapping_mul(cfg.encode_sparse_ratio)
        && max > cfg.encode_sparse_safe
    {
        if cfg.encode_sparse_convert == 0 {
            return json_encode_exception(L, -1, "excessively sparse array");
        }
        return Ok(-1);
    }
    Ok(max)
}

fn json_check_encode_depth<H>(
    L: &mut lua_State<H>,
    cfg: &json_config_t,
    current_depth: i32,
) -> LuaResult<()> {
    // Key, value, and a message.
    if current_depth <= cfg.encode_max_depth && lua_checkstack(L, 3) {
        return Ok(());
    }
    luaL_error!(L, "Cannot serialise, excessive nesting (%d)", current_depth)
}

fn json_append_number<H>(
    L: &mut lua_State<H>,
    cfg: &json_config_t,
    json: &mut Vec<u8>,
    lindex: i32,
) -> LuaResult<()> {
    let num = lua_tonumber(L, lindex);
    if !num.is_finite() {
        match cfg.encode_invalid_numbers {
            0 => return json_encode_exception(L, lindex, "must not be NaN or Inf"),
            1 if num.is_nan() => {
                json.extend_from_slice(b"nan"); // without the sign that printf shows
                return Ok(());
            }
            1 => {}
            _ => {
                json.extend_from_slice(b"null");
                return Ok(());
            }
        }
    }
    format_g(num, cfg.encode_number_precision as usize, json);
    Ok(())
}

/// A table that is being written. It is on the stack; an object has the key of the last value above it.
enum Context {
    /// The last index, and how many there are.
    Array(i32, i32),
    /// Whether there was a pair.
    Object(bool),
}

/// Writes the value on the top, with all that is in it.
fn json_append_data<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    cfg: &json_config_t,
    json: &mut Vec<u8>,
) -> LuaResult<()> {
    let mut open: Vec<Context> = Vec::new();
    let mut work = Work::default();
    loop {
        work.step(L, host)?;
        luaL_reserve(L, json, 32)?;
        // The value on the top.
        match lua_type(L, -1) {
            LUA_TSTRING => json_append_string(L, json, -1)?,
            LUA_TNUMBER => json_append_number(L, cfg, json, -1)?,
            LUA_TBOOLEAN if lua_toboolean(L, -1) => json.extend_from_slice(b"true"),
            LUA_TBOOLEAN => json.extend_from_slice(b"false"),
            LUA_TTABLE => {
                json_check_encode_depth(L, cfg, open.len() as i32 + 1)?;
                let len = lua_array_length(L, host, cfg, &mut work)?;
                if len > 0 {
                    json.push(b'[');
                    open.push(Context::Array(0, len));
                } else {
                    json.push(b'{');
                    lua_pushnil(L);
                    open.push(Context::Object(false));
                }
                // The first element is pushed below: there is no value yet that would have to be popped.
                lua_pushnil(L);
            }
            LUA_TNIL => json.extend_from_slice(b"null"),
            LUA_TLIGHTUSERDATA if lua_tolightuserdata(L, -1) == Some(0) => {
                json.extend_from_slice(b"null");
            }
            _ => return json_encode_exception(L, -1, "type not supported"),
        }
        // The next value, after the end of all tables that have no more.
        loop {
            let Some(table) = open.last_mut() else { return Ok(()) };
            lua_pop(L, 1); // the value that was written
            match table {
                Context::Array(i, len) => {
                    if i < len {
                        if *i > 0 {
                            json.push(b',');
                        }
                        *i += 1;
                        lua_rawgeti(L, -1, *i);
                        break;
                    }
                    json.push(b']');
                }
                Context::Object(comma) => {
                    if lua_next(L, -2)? {
                        if *comma {
                            json.push(b',');
                        }
                        *comma = true;
                        json_append_key(L, cfg, json)?;
                        break;
                    }
                    json.push(b'}');
                }
            }
            open.pop();
        }
    }
}

/// Writes the key below the top.
fn json_append_key<H>(
    L: &mut lua_State<H>,
    cfg: &json_config_t,
    json: &mut Vec<u8>,
) -> LuaResult<()> {
    match lua_type(L, -2) {
        LUA_TNUMBER => {
            json.push(b'"');
            json_append_number(L, cfg, json, -2)?;
            json.extend_from_slice(b"\":");
        }
        LUA_TSTRING => {
            json_append_string(L, json, -2)?;
            json.push(b':');
        }
        _ => return json_encode_exception(L, -2, "table key must be a number or string"),
    }
    Ok(())
}

fn json_encode<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    let cfg = *json_fetch_config(L)?;
    let one = lua_gettop(L) == 1;
    luaL_argcheck(L, one, 1, "expected 1 argument")?;
    let mut json = Vec::new();
    json_append_data(L, host, &cfg, &mut json)?;
    lua_pushlstring(L, &json);
    Ok(1)
}

// Decoding.

/// The 16 bits of the four hexadecimal digits `n` behind the current character.
fn decode_hex4(json: &json_parse_t, n: usize) -> Option<u32> {
    (0..4).try_fold(0, |code, i| Some(code << 4 | char::from(json.at(n + i)).to_digit(16)?))
}

/// Appends the character of the escape `\uXXXX`, or of two that are a pair of surrogates. False: it is none.
fn json_append_unicode_escape(json: &mut json_parse_t) -> bool {
    let mut escape_len = 6;
    let Some(mut codepoint) = decode_hex4(json, 2) else { return false };
    if codepoint & 0xf800 == 0xd800 {
        // The first has to be the high one, and the low one has to follow.
        if codepoint & 0x400 != 0 || json.at(escape_len) != b'\\' || json.at(escape_len + 1) != b'u'
        {
            return false;
        }
        match decode_hex4(json, 2 + escape_len) {
            Some(low) if low & 0xfc00 == 0xdc00 => {
                codepoint = ((codepoint & 0x3ff) << 10 | low & 0x3ff) + 0x10000;
            }
            _ => return false,
        }
        escape_len = 12;
    }
    let Some(c) = char::from_u32(codepoint) else { return false };
    json.tmp.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    json.ptr += escape_len;
    true
}

fn json_set_token_error(token: &mut json_token_t, json: &json_parse_t, error: &'static str) {
    token.kind = T_ERROR;
    token.index = json.ptr;
    token.error = error;
}

/// Reads a string, from its first quote, into `tmp`.
fn json_next_string_token(json: &mut json_parse_t, token: &mut json_token_t) {
    json.ptr += 1;
    json.tmp.clear();
    loop {
        let ch = match json.at(0) {
            b'"' => break,
            0 => return json_set_token_error(token, json, "unexpected end of string"),
            b'\\' => {
                let ch = match json.at(1) {
                    ch @ (b'"' | b'\\' | b'/') => ch,
                    b'b' => 8,
                    b't' => b'\t',
                    b'n' => b'\n',
                    b'f' => 12,
                    b'r' => b'\r',
                    b'u' => {
                        if json_append_unicode_escape(json) {
                            continue;
                        }
                        return json_set_token_error(token, json, "invalid unicode escape code");
                    }
                    _ => return json_set_token_error(token, json, "invalid escape code"),
                };
                json.ptr += 1;
                ch
            }
            ch => ch,
        };
        json.tmp.push(ch);
        json.ptr += 1;
    }
    json.ptr += 1;
    token.kind = T_STRING;
}

/// Whether what `strtod` would take here is no number of JSON: a plus, hexadecimal digits, a leading zero, infinity, NaN.
/// Some that are no number for `strtod` either pass.
fn json_is_invalid_number(json: &json_parse_t) -> bool {
    if json.at(0) == b'+' {
        return true;
    }
    let p = usize::from(json.at(0) == b'-');
    let ch = json.at(p);
    if ch == b'0' {
        let ch2 = json.at(p + 1);
        return ch2 | 0x20 == b'x' || ch2.is_ascii_digit();
    }
    if ch as i8 <= b'9' as i8 {
        return false;
    }
    let word = [ch, json.at(p + 1), json.at(p + 2)];
    word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"nan")
}

fn json_next_number_token(json: &mut json_parse_t, token: &mut json_token_t) {
    token.kind = T_NUMBER;
    let (number, len) = strtod(&json.data[json.ptr..]);
    token.number = number;
    if len == 0 {
        return json_set_token_error(token, json, "invalid number");
    }
    json.ptr += len;
}

/// Reads the next token. An error stays where it is.
fn json_next_token(json: &mut json_parse_t) -> json_token_t {
    while matches!(json.at(0), b' ' | b'\t' | b'\n' | b'\r') {
        json.ptr += 1;
    }
    let mut token =
        json_token_t { kind: T_ERROR, index: json.ptr, number: 0.0, boolean: false, error: "" };
    let ch = json.at(0);
    let rest = json.data.get(json.ptr..).unwrap_or_default();
    let single = match ch {
        b'{' => T_OBJ_BEGIN,
        b'}' => T_OBJ_END,
        b'[' => T_ARR_BEGIN,
        b']' => T_ARR_END,
        b',' => T_COMMA,
        b':' => T_COLON,
        0 => {
            token.kind = T_END;
            return token;
        }
        b'"' => {
            json_next_string_token(json, &mut token);
            return token;
        }
        b'-' | b'0'..=b'9' => {
            if json.cfg.decode_invalid_numbers == 0 && json_is_invalid_number(json) {
                json_set_token_error(&mut token, json, "invalid number");
            } else {
                json_next_number_token(json, &mut token);
            }
            return token;
        }
        b'f' | b'i' | b'I' | b'n' | b'N' | b't' | b'+' => {
            if rest.starts_with(b"true") {
                token.kind = T_BOOLEAN;
                token.boolean = true;
                json.ptr += 4;
            } else if rest.starts_with(b"false") {
                token.kind = T_BOOLEAN;
                json.ptr += 5;
            } else if rest.starts_with(b"null") {
                token.kind = T_NULL;
                json.ptr += 4;
            } else if json.cfg.decode_invalid_numbers != 0 && json_is_invalid_number(json) {
                json_next_number_token(json, &mut token);
            } else {
                json_set_token_error(&mut token, json, "invalid token");
            }
            return token;
        }
        _ => {
            json_set_token_error(&mut token, json, "invalid token");
            return token;
        }
    };
    token.kind = single;
    json.ptr += 1;
    token
}

#[cold]
fn json_throw_parse_error<H>(L: &mut lua_State<H>, exp: &str, token: &json_token_t) -> LuaError {
    let found = if token.kind == T_ERROR { token.error } else { token.kind.name() };
    let at = token.index + 1;
    let raised: LuaResult<()> =
        luaL_error!(L, "Expected %s but found %s at character %d", exp, found, at);
    raised.expect_err("luaL_error raises")
}

fn json_decode_descend<H>(
    L: &mut lua_State<H>,
    json: &mut json_parse_t,
    slots: i32,
) -> LuaResult<()> {
    json.current_depth += 1;
    if json.current_depth <= json.cfg.decode_max_depth && lua_checkstack(L, slots) {
        return Ok(());
    }
    let (depth, at) = (json.current_depth, json.ptr);
    luaL_error!(L, "Found too many nested data structures (%d) at character %d", depth, at)
}

/// Pushes the key that `token` is, and takes the colon behind it.
fn json_parse_key<H>(
    L: &mut lua_State<H>,
    json: &mut json_parse_t,
    token: &json_token_t,
) -> LuaResult<()> {
    if token.kind != T_STRING {
        return Err(json_throw_parse_error(L, "object key string", token));
    }
    lua_pushlstring(L, &json.tmp);
    let token = json_next_token(json);
    if token.kind != T_COLON {
        return Err(json_throw_parse_error(L, "colon", &token));
    }
    Ok(())
}

/// Pushes the value that begins with `token`, with all that is in it. The tables that are not at their end are in a list: for
/// an array with the index that comes next, for an object without.
fn json_process_value<H>(
    L: &mut lua_State<H>,
    json: &mut json_parse_t,
    mut token: json_token_t,
) -> LuaResult<()> {
    let mut open: Vec<Option<i32>> = Vec::new();
    loop {
        match token.kind {
            T_STRING => lua_pushlstring(L, &json.tmp),
            T_NUMBER => lua_pushnumber(L, token.number),
            T_BOOLEAN => lua_pushboolean(L, token.boolean),
            T_OBJ_BEGIN => {
                json_decode_descend(L, json, 3)?; // table, key, value
                lua_newtable(L);
                token = json_next_token(json);
                if token.kind != T_OBJ_END {
                    json_parse_key(L, json, &token)?;
                    token = json_next_token(json);
                    open.push(None);
                    continue;
                }
                json.current_depth -= 1;
            }
            T_ARR_BEGIN => {
                json_decode_descend(L, json, 2)?; // table, value
                lua_newtable(L);
                token = json_next_token(json);
                if token.kind != T_ARR_END {
                    open.push(Some(1));
                    continue;
                }
                json.current_depth -= 1;
            }
            // In a table nil would be no value, so null is a null pointer.
            T_NULL => lua_pushlightuserdata(L, 0),
            T_OBJ_END | T_ARR_END | T_COLON | T_COMMA | T_END | T_ERROR => {
                return Err(json_throw_parse_error(L, "value", &token));
            }
        }
        // There is a value on the top. What follows is the end of the tables that it is the last of, or the next value.
        loop {
            let Some(table) = open.last_mut() else { return Ok(()) };
            let (end, expected) = match table {
                None => {
                    lua_rawset(L, -3)?;
                    (T_OBJ_END, "comma or object end")
                }
                Some(i) => {
                    lua_rawseti(L, -2, *i)?;
                    *i = i.wrapping_add(1);
                    (T_ARR_END, "comma or array end")
                }
            };
            token = json_next_token(json);
            if token.kind == end {
                json.current_depth -= 1;
                open.pop();
                continue;
            }
            if token.kind != T_COMMA {
                return Err(json_throw_parse_error(L, expected, &token));
            }
            token = json_next_token(json);
            if end == T_OBJ_END {
                json_parse_key(L, json, &token)?;
                token = json_next_token(json);
            }
            break;
        }
    }
}

fn json_decode<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let one = lua_gettop(L) == 1;
    luaL_argcheck(L, one, 1, "expected 1 argument")?;
    let cfg = *json_fetch_config(L)?;
    let data = luaL_checklstring(L, 1)?;
    if data.len() >= 2 && (data[0] == 0 || data[1] == 0) {
        return luaL_error!(L, "JSON parser does not support UTF-16 or UTF-32");
    }
    let mut json = json_parse_t { data: &data, ptr: 0, tmp: Vec::new(), cfg, current_depth: 0 };
    let token = json_next_token(&mut json);
    json_process_value(L, &mut json, token)?;
    let token = json_next_token(&mut json);
    if token.kind != T_END {
        return Err(json_throw_parse_error(L, "the end", &token));
    }
    Ok(1)
}

// The module.

fn lua_cjson_new<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let reg: [luaL_Reg<H>; 10] = [
        ("encode", json_encode),
        ("decode", json_decode),
        ("encode_sparse_array", json_cfg_encode_sparse_array),
        ("encode_max_depth", json_cfg_encode_max_depth),
        ("decode_max_depth", json_cfg_decode_max_depth),
        ("encode_number_precision", json_cfg_encode_number_precision),
        ("encode_keep_buffer", json_cfg_encode_keep_buffer),
        ("encode_invalid_numbers", json_cfg_encode_invalid_numbers),
        ("decode_invalid_numbers", json_cfg_decode_invalid_numbers),
        ("new", lua_cjson_new),
    ];
    lua_newtable(L);
    json_create_config(L);
    luaI_openlib(L, None, &reg, 1)?;
    lua_pushstring(L, "null");
    lua_pushlightuserdata(L, 0);
    lua_rawset(L, -3)?;
    for (name, value) in [("_NAME", "cjson"), ("_VERSION", "2.1.0")] {
        lua_pushstring(L, name);
        lua_pushstring(L, value);
        lua_rawset(L, -3)?;
    }
    Ok(1)
}

/// Opens the library and makes it the global `cjson`.
pub fn luaopen_cjson<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    lua_cjson_new(L, host)?;
    lua_pushstring(L, "cjson");
    lua_pushvalue(L, -2);
    lua_rawset(L, LUA_GLOBALSINDEX)?;
    Ok(1)
}
