//! Bytes from outside as a script brings them to the interpreter: as its source, and as what it gives to the libraries that
//! take formats, patterns and packed values. Whatever they are, they end with a value or an error, in bounded time and
//! memory; what a library reads and writes comes back the same.
//!
//! The fuzz targets and a test with random inputs share this.

use fidelis_lua::*;

/// How often the count hook runs before it ends a script, and after how many instructions.
const HOOKS: u32 = 20;
const INSTRUCTIONS: i32 = 1000;
const MEMORY: usize = 4 << 20;

/// The host: how often the hook ran.
#[derive(Default)]
struct Host(u32);

type L = lua_State<Host>;

/// Ends a script that runs long. From then on every line is an error, so that no `pcall` goes on.
fn deadline(L: &mut L, host: &mut Host, _: &mut lua_Debug) -> LuaResult<()> {
    host.0 += 1;
    if host.0 > HOOKS {
        lua_sethook(L, Some(deadline), LUA_MASKLINE | LUA_MASKCOUNT, INSTRUCTIONS);
        return luaL_error!(L, "too long");
    }
    Ok(())
}

fn open(L: &mut L, host: &mut Host) -> LuaResult<i32> {
    luaL_openlibs(L, host)?;
    Ok(0)
}

/// Runs a chunk in a state of its own. Its first result as a truth value, or its error.
fn run(chunk: &[u8], args: &[&[u8]], number: f64, stress: bool) -> Result<bool, Vec<u8>> {
    let mut L = luaL_newstate();
    let host = &mut Host::default();
    lua_pushcfunction(&mut L, open);
    assert_eq!(lua_pcall(&mut L, host, 0, 0, 0), LUA_OK, "the libraries open");
    lua_setmemorylimit(&mut L, MEMORY);
    lua_setgcstress(&mut L, stress);
    lua_sethook(&mut L, Some(deadline), LUA_MASKCOUNT, INSTRUCTIONS);
    let mut status = luaL_loadbuffer(&mut L, host, chunk, b"@user_script");
    if status == LUA_OK {
        lua_pushnumber(&mut L, number);
        for arg in args {
            lua_pushlstring(&mut L, arg);
        }
        status = lua_pcall(&mut L, host, 1 + args.len() as i32, 1, 0);
    }
    let result = match status {
        LUA_OK => Ok(lua_toboolean(&L, -1)),
        _ => Err(lua_tolstring(&mut L, -1).map_or_else(Vec::new, |s| s.to_vec())),
    };
    lua_settop(&mut L, 0);
    lua_sethook(&mut L, None, 0, 0);
    lua_close(L, host);
    result
}

/// Runs a program of ours, whose result has to be true unless it came to a limit.
fn check(program: &str, args: &[&[u8]], number: f64) {
    match run(program.as_bytes(), args, number, false) {
        Ok(good) => assert!(good, "{} of{program}", args.concat().escape_ascii()),
        Err(e) => {
            let limit = e.ends_with(b"too long") || e.ends_with(b"not enough memory");
            assert!(limit, "{}", e.escape_ascii());
        }
    }
}

/// Takes a byte and as many bytes as it says from the front.
fn head(data: &[u8]) -> (&[u8], &[u8]) {
    match data.split_first() {
        Some((&n, rest)) => rest.split_at(rest.len().min(n.into())),
        None => (data, data),
    }
}

/// The last eight bytes as a number.
fn number(data: &[u8]) -> f64 {
    data.last_chunk().map_or(0.5, |bytes| f64::from_le_bytes(*bytes))
}

/// Any bytes as a script; when the first one is odd, with a collection at every allocation.
pub fn source(data: &[u8]) {
    if let Some((mode, chunk)) = data.split_first() {
        let _ = run(chunk, &[b"key", b"value"], 1.0, mode & 1 != 0);
    }
}

/// A pattern (its length before it), and what it is looked for in.
pub fn pattern(data: &[u8]) {
    let (pattern, subject) = head(data);
    let program = r##"
local n, p, s = ...
pcall(string.find, s, p, n)
pcall(string.gsub, s, p, s, 10)
pcall(string.gsub, s, p, "%0%1")
pcall(string.gsub, s, p, {a = 1})
pcall(string.gsub, s, p, function(...) return (select("#", ...)) end)
pcall(function()
  for a, b in string.gmatch(s, p) do
    if a == "stop" then break end
  end
end)
local ok, from, to = pcall(string.find, s, p)
if not ok or not from then return true end
-- A plain text is found where it is.
local plain = string.find(s, p, 1, true)
return from >= 1 and to >= from - 1 and to <= #s and (string.find(p, "[%^%$%*%+%?%.%(%)%[%%%-%z]") ~= nil or plain == from)
"##;
    check(program, &[pattern, subject], number(data));
}

/// A format (its length before it), and a string for it; the number is the last eight bytes.
pub fn format(data: &[u8]) {
    let (form, text) = head(data);
    let program = r##"
local n, f, s = ...
local format = string.format
pcall(format, f, n, n, n, n)
pcall(format, f, s, s, s, s)
pcall(format, f, n, s, n, s)
pcall(format, f, s, n, s, n)
pcall(format, f, -n, 1 / 0, 0 / 0, -1 / 0)
pcall(format, f, #s, {}, nil, true)
pcall(format, f)
-- As in the C, a string that is shorter than 100 bytes ends at a NUL there.
return (string.find(s, "%z") or format("%s", s) == s) and assert(loadstring("return " .. format("%q", s)))() == s
  and (n ~= n or tonumber(format("%.17g", n)) == n)
"##;
    check(program, &[form, text], number(data));
}

/// What is the same but for keys that are tables, which are found in no other table.
const SAME: &str = r##"
local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b or a ~= a and b ~= b
  end
  for k, v in pairs(a) do
    if type(k) ~= "table" and not same(v, b[k]) then return false end
  end
  for k in pairs(b) do
    if type(k) ~= "table" and a[k] == nil then return false end
  end
  return true
end
"##;

/// A text in JSON.
pub fn cjson(data: &[u8]) {
    let program = r##"
local _, s = ...
local ok, v = pcall(cjson.decode, s)
pcall(cjson.encode, s)
if not ok then return true end
local ok, text = pcall(cjson.encode, v)
if not ok then return true end
v = cjson.decode(text)
return same(v, cjson.decode(cjson.encode(v)))
"##;
    check(&format!("{SAME}{program}"), &[data], 0.0);
}

/// Packed values of cmsgpack.
pub fn cmsgpack(data: &[u8]) {
    let program = r##"
local n, s = ...
pcall(cmsgpack.unpack_one, s)
pcall(cmsgpack.unpack_one, s, n)
pcall(cmsgpack.unpack_limit, s, 2, #s / 2)
pcall(cmsgpack.unpack_limit, s, n, n)
if cmsgpack.unpack(cmsgpack.pack(s)) ~= s then return false end
local r = {pcall(cmsgpack.unpack, s)}
if not r[1] then return true end
for i = 2, #r do
  local v = cmsgpack.unpack(cmsgpack.pack(r[i]))
  if not same(v, (cmsgpack.unpack(cmsgpack.pack(v)))) then return false end
end
return true
"##;
    check(&format!("{SAME}{program}"), &[data], number(data));
}

/// A format of struct (its length before it), and bytes that it is to take apart.
pub fn struct_(data: &[u8]) {
    let (form, bytes) = head(data);
    let program = r##"
local n, f, s = ...
pcall(struct.size, f)
pcall(struct.pack, f, n, n, n, n)
pcall(struct.pack, f, s, n, s, n)
pcall(struct.pack, f, n, s, n, s)
pcall(struct.unpack, f, s, n)
local r = {pcall(struct.unpack, f, s)}
if r[1] then
  r[#r] = nil
  pcall(struct.pack, f, unpack(r, 2))
end
return true
"##;
    check(program, &[form, bytes], number(data));
}

/// Something that takes an input, by the name of its fuzz target.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// What inputs are put together of.
    pub words: &'static [&'static str],
    /// Good inputs. Where a length belongs before the first part, it is not in them: see [`Target::seeds`].
    inputs: &'static [&'static [&'static str]],
}

pub const TARGETS: [Target; 6] = [
    Target {
        name: "lua_source",
        run: source,
        words: &[
            "and ",
            "break ",
            "do ",
            "else ",
            "elseif ",
            "end ",
            "false ",
            "for ",
            "function ",
            "if ",
            "in ",
            "local ",
            "nil ",
            "not ",
            "or ",
            "repeat ",
            "return ",
            "then ",
            "true ",
            "until ",
            "while ",
            "...",
            "..",
            "==",
            "~=",
            "<=",
            ">=",
            "=",
            "(",
            ")",
            "{",
            "}",
            "[",
            "]",
            "[[",
            "]]",
            "[=[",
            "]=]",
            "--",
            "--[[",
            "\\",
            "'",
            "\"",
            "\n",
            ",",
            ";",
            "+",
            "-",
            "*",
            "/",
            "%",
            "^",
            "#",
            "<",
            ">",
            ":",
            ".",
            "1",
            "0x7f",
            "1e308",
            "5",
            "x ",
            "t ",
            "f ",
            "self ",
            "_G",
            "pcall",
            "error",
            "setmetatable",
            "__index",
            "__gc",
            "newproxy",
            "coroutine.wrap",
            "coroutine.yield",
            "string.rep",
            "string.gsub",
            "table.sort",
            "table.concat",
            "unpack",
            "setfenv",
            "getfenv",
            "loadstring",
            "collectgarbage()",
            "\\200",
            "\0",
            "\x1bLua",
        ],
        inputs: &[
            &["\0", "local t = {} for i = 1, 10 do t[#t + 1] = i * 2 end return #t"],
            &["\x01", "local t = {} for i = 1, 10 do t['k' .. i] = {i} end return t.k3[1]"],
            &[
                "\0",
                "local function f(a, ...) if a then return select('#', ...), f(...) end end return f(1, 2, 3)",
            ],
            &[
                "\x01",
                "return pcall(function() local x = setmetatable({}, {__index = function(t, k) return k end}) return x.y.z end)",
            ],
            &[
                "\0",
                "local co = coroutine.wrap(function(a) while true do a = coroutine.yield(a + 1) end end) return co(1), co(2)",
            ],
            &[
                "\x01",
                "local s = '' for w in ('a b c'):gmatch('%w+') do s = s .. w:upper():rep(2) end return s",
            ],
            &[
                "\0",
                "local p = newproxy(true) getmetatable(p).__gc = function() x = 1 end p = nil collectgarbage() return x",
            ],
            &[
                "\0",
                "return loadstring('return 1 + ' .. tostring(2))(), tonumber('0x10'), #[[\nx]], 'a\\065\\n'",
            ],
            &[
                "\0",
                "local a, b = 1, {n = {m = 2}} repeat local c = a a = a + b.n.m until c > 5 or not a return -a ^ 2 % 3, a",
            ],
            &[
                "\0",
                "t = {3, 1, 2} table.sort(t, function(a, b) return a > b end) return table.concat(t, ',', 1, 3), unpack(t)",
            ],
            &[
                "\x01",
                "local w = setmetatable({}, {__mode = 'kv'}) w[1] = {} w[{}] = 1 collectgarbage() return next(w)",
            ],
            &["\0", "while true do local ok = pcall(error, {}) if ok then break end end"],
            &[
                "\0",
                "return cjson.encode({1, {a = 'b'}}), cmsgpack.pack(1, 'x'), struct.pack('>I2', 7), bit.band(255, 15)",
            ],
            &["\0", "setfenv(1, {}) local function g() g() end g()"],
        ],
    },
    Target {
        name: "lua_pattern",
        run: pattern,
        words: &[
            "%a",
            "%w",
            "%d",
            "%s",
            "%p",
            "%x",
            "%z",
            "%A",
            "%%",
            "%b()",
            "%f[%w]",
            "%f",
            "%b",
            "%1",
            "%2",
            "%9",
            "%",
            "[",
            "]",
            "[^",
            "[a-z]",
            "[%w_]",
            "-",
            "*",
            "+",
            "?",
            "^",
            "$",
            ".",
            "(",
            ")",
            "()",
            "a",
            "b",
            "ab",
            "aaaaaaaaaaaaaaaa",
            ".-",
            ".*",
            "(.-)",
            "\0",
            "stop",
        ],
        inputs: &[
            &["%w+", "hello world 12"],
            &["(%w+)=(%w+)", "k=v, l=w"],
            &["^(.-)%s*$", "  trim  "],
            &["%b()", "a(b(c)d)e"],
            &["%f[%w]%w+", "THE (quick) fox"],
            &["(.)%1", "abccd"],
            &["[^%s]+", "x y\tz"],
            &["a-b*c?", "aaabbbccc"],
            &["()", "abc"],
            &["hello", "say hello"],
            &["((((a))))", "aaaa"],
            &[
                ".-.-.-.-x",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            ],
        ],
    },
    Target {
        name: "lua_format",
        run: format,
        words: &[
            "%d", "%i", "%u", "%c", "%x", "%X", "%o", "%e", "%E", "%f", "%g", "%G", "%q", "%s",
            "%%", "%", "-", "+", " ", "#", "0", "1", "9", "99", "100", ".", ".0", ".99", ".14",
            "%n", "%a", "%p", "\0", "\r\n", "\"", "\\", "\x7f",
        ],
        inputs: &[
            &["%d %5d %-5d|%05d%+d", "12345678"],
            &["%s %10s %-10s %.3s", "text"],
            &["%q", "a\n\"\\\0\r"],
            &["%5.1f %g %e %.14g %99.99f", "\0\0\0\0\0\0\x08@"],
            &["%x %X %o %c %%", "\0\0\0\0\0\0\x50\x40"],
            &["%#x %# o % d %+.3e", "........"],
        ],
    },
    Target {
        name: "lua_cjson",
        run: cjson,
        words: &[
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\"",
            "\\",
            "\\u0041",
            "\\ud83d",
            "\\ude00",
            "\\u0000",
            "\\n",
            "true",
            "false",
            "null",
            "nan",
            "inf",
            "-infinity",
            "0",
            "-0",
            "1",
            "1.5",
            "1e5",
            "1e400",
            "0x1p4",
            "12345678901234567890",
            "\"a\"",
            "\"1\"",
            "[[[[[[[[",
            "{\"a\":",
            " ",
            "\t",
            "\0",
            "\x7f",
        ],
        inputs: &[
            &["{\"a\":1,\"b\":[true,false,null],\"c\":{\"d\":\"e\"}}"],
            &["[1,2.5,-3e10,\"x\\n\\u20ac\\ud83d\\ude00\",[]]"],
            &["[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]"],
            &[" { } "],
            &["\"text\""],
            &["[nan, inf, -inf, 1e999]"],
            &["{\"1\":1,\"2\":2,\"\":{}}"],
        ],
    },
    Target {
        name: "lua_cmsgpack",
        run: cmsgpack,
        words: &[
            "\x01",
            "\x7f",
            "\0",
            "\x02",
            "\x10",
            "a",
            "abc",
            "\0\0\0\x01",
            "\0\x01",
            "\0\0\0\0\0\0\0\x01",
        ],
        inputs: &[],
    },
    Target {
        name: "lua_struct",
        run: struct_,
        words: &[
            "b",
            "B",
            "h",
            "H",
            "l",
            "L",
            "T",
            "f",
            "d",
            "s",
            "x",
            "c",
            "c0",
            "c5",
            "i",
            "i1",
            "i4",
            "i8",
            "i32",
            "i33",
            "I",
            "I3",
            "I8",
            "<",
            ">",
            "=",
            "!",
            "!1",
            "!4",
            "!8",
            "!16",
            "!32",
            " ",
            "2147483647",
            "2147483648",
            "99999999999",
            "Bc0",
            "\0",
        ],
        inputs: &[
            // No option, and an offset that no table of bytes has.
            &["", "\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f"],
            &["<bBhHlLT", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"],
            &[
                ">I2i4!8d",
                "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18",
            ],
            &["Bc0s", "\x03abchello\0rest"],
            &["fdxxi8I8", "00000000000000000000000000000000000000000000"],
            &["!4bi4c5", "a\0\0\0\x01\0\0\0hello"],
        ],
    },
];

/// What cmsgpack packs: an integer of each width, strings, doubles, nested arrays and maps.
const PACKED: [&[u8]; 6] = [
    b"\x01\xcc\xff\xcd\x01\x00\xce\x00\x01\x00\x00\xcf\x00\x00\x00\x01\x00\x00\x00\x00",
    b"\xff\xd0\x80\xd1\x80\x00\xd2\x80\x00\x00\x00\xd3\x80\x00\x00\x00\x00\x00\x00\x00",
    b"\xa3abc\xd9\x02xy\xda\x00\x01z\xdb\x00\x00\x00\x01w\xc4\x01b\xc5\x00\x01c\xc6\x00\x00\x00\x01d",
    b"\xca\x3f\x80\x00\x00\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00\xc0\xc2\xc3",
    b"\x93\x01\x92\x02\x03\x82\xa1a\x01\xa1b\x90",
    b"\xdc\x00\x02\x01\x02\xdd\x00\x00\x00\x01\x03\xde\x00\x01\x01\x02\xdf\x00\x00\x00\x01\xa1k\x81\x90\xc0",
];

impl Target {
    /// Good inputs, as the target takes them.
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        let input = |parts: &&[&str]| match parts {
            [form, rest] if self.name != "lua_source" => {
                [&[form.len() as u8], form.as_bytes(), rest.as_bytes()].concat()
            }
            parts => parts.concat().into_bytes(),
        };
        if self.name == "lua_cmsgpack" {
            return PACKED.iter().map(|p| p.to_vec()).collect();
        }
        self.inputs.iter().map(input).collect()
    }
}
