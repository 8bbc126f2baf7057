//! Random scripts: expressions of numbers, strings and tables over the libraries that scripts have,
//! around the commands of the stream.
//!
//! A form is a piece of Lua in which `$` and a letter stand for something made at random: `$N` a
//! number, `$S` a string, `$T` a table, `$A` anything, `$B` a condition, `$I` a small integer, `$P`
//! a pattern, `$F` a format of struct with its values, `$R` arguments of `redis.call`. Numbers and
//! strings are only mostly what they are called, so that errors come, too. What has an address is
//! shown by its type, with the function `T` that each script has, and is no key of a table (`K`).

use sha1::{Digest, Sha1};

use crate::compare::{How, how};
use crate::peer::known::Known;
use crate::peer::values::{Gen, is_harmful};
use crate::peer::wire::{Argv, shown};
use crate::{Nature, nature};

const NUMBERS: &[&str] = &[
    "($N + $N)",
    "($N - $N)",
    "($N * $N)",
    "($N / $N)",
    "($N % $N)",
    "($N ^ $I)",
    "-$N",
    "#$S",
    "#$T",
    "#KEYS",
    "(tonumber($S) or $N)",
    "(tonumber($S, 2 + $I) or $N)",
    "tonumber(ARGV[1])",
    "math.floor($N)",
    "math.ceil($N)",
    "math.max($N, $N)",
    "math.min($N, $N)",
    "math.fmod($N, $N)",
    "select(2, math.modf($N))",
    "math.abs($N)",
    "math.sqrt($N)",
    "math.exp($I)",
    "math.log($N)",
    "math.sin($N)",
    "math.pow($N, $I)",
    "(math.frexp($N))",
    "math.ldexp($N, $I)",
    "math.random($I)",
    "math.random()",
    "math.random($I, $N)",
    "bit.band($N, $N)",
    "bit.bor($N, $N)",
    "bit.bxor($N, $N)",
    "bit.bnot($N)",
    "bit.lshift($N, $I)",
    "bit.rshift($N, $I)",
    "bit.arshift($N, $I)",
    "bit.rol($N, $I)",
    "bit.ror($N, $I)",
    "bit.bswap($N)",
    "bit.tobit($N)",
    "string.byte($S, $I)",
    "(string.find($S, $S, $I, true) or $N)",
    "(string.find($S, $P) or $N)",
    "select(2, string.gsub($S, $P, $S))",
    "string.len($S)",
    "($S):len()",
    "select('#', $A, $A)",
    "table.getn($T)",
    "table.maxn($T)",
    "struct.size('<i4')",
];

const STRINGS: &[&str] = &[
    "T($N)",
    "($S .. $S)",
    "($S .. $N)",
    "($N .. '')",
    "string.sub($S, $I, $I)",
    "string.sub($S, -$I)",
    "string.rep(string.sub($S, 1, 100), $I)",
    "string.upper($S)",
    "string.lower($S)",
    "string.reverse($S)",
    "string.format('%d|%5.2f|%s', $N, $N, $S)",
    "string.format('%g %e %i %u', $N, $N, $N, $N)",
    "string.format('%x %X %o %c', $N, $N, $N, $I)",
    "string.format('%q', $S)",
    "string.format('%-10s|%10.3s|%%', $S, $S)",
    "string.format('%+d % d %05d %#x', $I, $I, $I, $I)",
    "string.format('%.14g', $N)",
    "string.format('%a'..$S, $N)",
    "(string.gsub($S, $P, $S))",
    "(string.gsub($S, $P, '<%0>', $I))",
    "(string.gsub($S, $P, function(a, b) return T(a) .. T(b) end))",
    "(string.gsub($S, $P, $T))",
    "T(string.match($S, $P))",
    "T(string.match($S, $P, $I))",
    "table.concat($T, $S)",
    "table.concat($T, ',', $I, $I)",
    "cjson.encode($A)",
    "cjson.encode($T)",
    "cmsgpack.pack($A)",
    "cmsgpack.pack($T, $N, $S)",
    "struct.pack($F)",
    "redis.sha1hex($S)",
    "bit.tohex($N)",
    "bit.tohex($N, $I)",
    "type($A)",
    "T($A)",
    "tostring($B)",
    "string.char(64 + $I, 48 + $I)",
    "T(cjson.decode('[' .. $N .. ']')[1])",
    "show($T)",
    "show($T)",
    "sorted($T)",
];

const TABLES: &[&str] = &[
    "{$A, $A}",
    "{$N, $S, $B, $T}",
    "{a = $A, b = $A}",
    "{[K($N)] = $A, [K($S)] = $A}",
    "{n = $N, list = {$N, $N, $N}, s = $S}",
    "{$A, nil, $A}",
    "cjson.decode(cjson.encode($T))",
    "cjson.decode('{\"a\":' .. $N .. ',\"b\":[1,2,{\"c\":null}]}')",
    "{cmsgpack.unpack(cmsgpack.pack($A, $N))}",
    "{cmsgpack.unpack_one(cmsgpack.pack($A, $N))}",
    "{cmsgpack.unpack_limit(cmsgpack.pack($A, $N, $S), $I)}",
    "{cmsgpack.unpack($S)}",
    "{struct.unpack('<i4>I2bh', struct.pack('<i4>I2bh', $N, $N, $N, $N))}",
    "{struct.unpack('dfs', struct.pack('dfs', $N, $N, $S))}",
    "{struct.unpack('<c0', struct.pack('<Bc0', #$S % 200, $S))}",
    "{struct.unpack('!4bI4>l', $S)}",
    "{string.find($S, $P)}",
    "{string.match($S, $P)}",
    "{string.byte($S, 1, $I)}",
    "{math.modf($N)}",
    "{math.frexp($N)}",
    "{unpack($T, $I, $I)}",
    "{select($I, $A, $A, $A)}",
    "{tonumber($S), next($T)}",
    "{pcall(function() return $A end)}",
    "{pcall(error, $A)}",
    "{pcall(string.rep)}",
    "{pcall(setmetatable, $A, $T)}",
    "{xpcall(function() return $A end, function(e) return T(e) end)}",
    "{loadstring('return ' .. $N)()}",
    "{loadstring($S)}",
    "{coroutine.resume(coroutine.create(function(a) local b = coroutine.yield(a) return b end), $A)}",
    "setmetatable({}, {__index = function(t, k) return k end, __call = function(_, x) return x end})",
    "{ok = $S}",
    "{err = $S}",
    "{double = $N}",
    "{map = {[K($A)] = $A}}",
    "{set = {[K($A)] = true}}",
    "{rawequal($A, $A), rawget($T, $A)}",
];

/// Those whose results the errors of commands are part of.
const ERRORS: &[&str] = &[
    "{pcall(redis.call, $R)}",
    "{redis.pcall($R)}",
    "redis.pcall($R)",
    "redis.error_reply($S)",
    "redis.status_reply($S)",
    "{pcall(function() return redis.call($R) end)}",
    "{pcall(redis.setresp, $A)}",
    "{pcall(redis.call)}",
    "{pcall(redis.call, $A, $A)}",
    "{pcall(redis.sha1hex)}",
    "{pcall(redis.log, $A, $S)}",
    "{pcall(redis.set_repl, $A)}",
];

const CONDITIONS: &[&str] = &[
    "$N == $N",
    "$N < $N",
    "$S == $S",
    "$S <= $S",
    "$A == $A",
    "$A ~= nil",
    "not $A",
    "$B and $B",
    "$B or $B",
    "true",
    "false",
    "pcall(function() return $A < $A end)",
];

const STATEMENTS: &[&str] = &[
    "$V = $A",
    "$V = $N",
    "$V = $S",
    "$V = $T",
    "$V = $T",
    "$V = redis.call($R)",
    "$V = redis.call($R)",
    "$V = redis.call($R)",
    "redis.call($R)",
    "redis.call($R)",
    "if $B then $V = $A else $V = $A end",
    "for i = 1, $I do $V = T($V) .. i if #$V > 1000 then break end end",
    "for i = $I, 1, -2 do redis.call($R) end",
    "for k, v in pairs($T) do $V = T($V) .. T(k) .. '=' .. T(v) end",
    "for i, v in ipairs($T) do $V = v end",
    "local t = $T table.sort(t, function(a, b) return T(a) < T(b) end) $V = t",
    "local t = $T t[#t + 1] = $A table.insert(t, $A) table.insert(t, 1, $A) $V = table.remove(t)",
    "local t = $T table.insert(t, $I, $A) t[K($A)] = $A $V = t",
    "local t = $T table.remove(t, $I) t[#t] = nil $V = #t",
    "local t = {} for i = 1, 20 do t[i % $I] = i end $V = t",
    "local function f(n, ...) if n < 1 then return ... end return f(n - 1, n, ...) end $V = {f($I, $A)}",
    "while $B do $V = $N break end",
    "repeat $V = $A until true",
    "math.randomseed($I)",
    "$V = {$V, $V}",
];

/// Statements that say more in an error than one peer does, or do something else there.
const ODD: &[&str] = &[
    "redis.setresp(3)",
    "redis.setresp(2)",
    "redis.setresp($N)",
    "$V = redis.call($A, $A)",
    "redis.set_repl(redis.REPL_NONE)",
    "redis.set_repl($I)",
    "$V = redis.breakpoint()",
    "redis.debug($A)",
    "error($A)",
    "$V = undefined",
    "undefined = $A",
    "KEYS[1] = $S",
    "redis.call = nil",
    "string.x = 1",
    "$V = assert($B, $A)",
    "return",
];

const PATTERNS: &[&str] = &[
    "'%d+'",
    "'%a'",
    "'(.)(.)'",
    "'^%s*(.-)%s*$'",
    "'[%w_]*'",
    "'[^%d]-'",
    "'%b()'",
    "'()m'",
    "'%f[%a]%a+'",
    "'.'",
    "''",
    "'(m)(%d?)'",
    "'%1'",
    "'['",
    "'%'",
    "'x*$'",
    "'%c%p%x%z'",
];

const STRUCTS: &[&str] = &[
    "'i', $N",
    "'<i8>I4', $N, $N",
    "'bBhHlL', $N, $N, $N, $N, $N, $N",
    "'df', $N, $N",
    "'s', $S",
    "'c5', $S",
    "'c0', $S",
    "'!8bi4xd', $I, $N, $N",
    "'i3I5', $N, $N",
    "'i33', $N",
    "$S, $N",
];

const LITERALS: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "10",
    "-1",
    "0.5",
    "1.5",
    "-2.25",
    "1e15",
    "2^53",
    "-2^31",
    "2^31",
    "2^32",
    "2^63",
    "-2^63",
    "1e100",
    "0x7f",
    "255",
    "1/0",
    "-1/0",
    "0/0",
    "3.9999999999999996",
    "1e-7",
    "123456789012",
    "-0",
    "0.1",
    "100",
];

/// Makes the parts of one script.
struct Script<'a> {
    g: &'a mut Gen,
    known: &'a Known,
    keys: Vec<Vec<u8>>,
    /// How much more may be made: at 0 there are only literals.
    left: usize,
}

impl Script<'_> {
    fn form(&mut self, forms: &[&str]) -> String {
        loop {
            let form = *self.g.rng.pick(forms);
            // Since 7.0 random numbers are not the same in each script, and errors are tables.
            let other = ["math.random", "pcall", "resume", "err = "];
            let is_other = other.iter().any(|part| form.contains(part));
            if self.known.same_script_errors() || !is_other {
                return self.fill(form);
            }
        }
    }

    /// A form with its parts made.
    fn fill(&mut self, form: &str) -> String {
        let mut pieces = form.split('$');
        let mut out = pieces.next().unwrap_or_default().to_string();
        for piece in pieces {
            let mut rest = piece.chars();
            match rest.next() {
                Some('N') => out += &self.number(),
                Some('S') => out += &self.string(),
                Some('T') => out += &self.table(),
                Some('A') => out += &self.anything(),
                Some('B') => out += &self.condition(),
                Some('I') => out += &self.g.rng.range(0, 9).to_string(),
                Some('V') => out += &self.variable(),
                Some('P') => out += self.g.rng.pick::<&str>(PATTERNS),
                Some('F') => out += &self.form(STRUCTS),
                Some('R') => out += &self.arguments(),
                // `$'` at the end of a pattern.
                _ => {
                    out.push('$');
                    out += piece;
                    continue;
                }
            }
            out += rest.as_str();
        }
        out
    }

    /// Whether another part may have parts of its own.
    fn deeper(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left > 0 && self.g.rng.below(5) < 3
    }

    fn number(&mut self) -> String {
        match self.deeper() {
            true => self.form(NUMBERS),
            false if self.g.rng.one_in(5) => self.variable(),
            false => format!("({})", self.g.rng.pick(LITERALS)),
        }
    }

    fn string(&mut self) -> String {
        match self.deeper() {
            true => self.form(STRINGS),
            false => match self.g.rng.below(8) {
                0 => self.variable(),
                1 => "ARGV[1]".into(),
                2 => "ARGV[2]".into(),
                _ => {
                    let mut text = self.g.value("v");
                    text.truncate(1000);
                    // In brackets, since a literal has no methods.
                    format!("({})", literal(&text))
                }
            },
        }
    }

    fn table(&mut self) -> String {
        match self.deeper() {
            true if self.known.same_script_errors() && self.g.rng.one_in(6) => self.form(ERRORS),
            true => self.form(TABLES),
            false => self.g.rng.pick(&["{}", "{1, 2, 3}", "{'a', 'b'}", "{x = 1}"]).to_string(),
        }
    }

    fn condition(&mut self) -> String {
        match self.deeper() {
            true => format!("({})", self.form(CONDITIONS)),
            false => self.g.rng.pick(&["true", "false"]).to_string(),
        }
    }

    fn anything(&mut self) -> String {
        match self.g.rng.below(12) {
            0 => "nil".into(),
            1 => "cjson.null".into(),
            2 => self.condition(),
            3 | 4 => self.variable(),
            5..=7 => self.number(),
            8 | 9 => self.string(),
            _ => self.table(),
        }
    }

    fn variable(&mut self) -> String {
        self.g.rng.pick(&["a", "b", "c", "d"]).to_string()
    }

    /// A command of the stream, whose reply is the same at both.
    fn arguments(&mut self) -> String {
        let argv = loop {
            let argv = self.g.command();
            let exact = matches!(how(&argv), How::Exact) && matches!(nature(&argv), Nature::Plain);
            if exact && !is_harmful(&argv) && !self.known.avoids(&argv) && !is_apart(&argv) {
                break argv;
            }
        };
        // The id of an entry must not become a `*`, which is the time, nor the name of a group or
        // a consumer a number (see `is_harmful`). And what is known of a peer is known of these.
        let fixed = argv[0].to_ascii_uppercase().starts_with(b"X")
            || gives_time_to_live(&argv)
            || !self.known.same_script_errors();
        let mut out: Vec<String> = Vec::new();
        for arg in argv {
            out.push(match self.g.rng.below(60) {
                ..3 if fixed => literal(&arg),
                0 => self.number(),
                1 => self.string(),
                2 => self.anything(),
                n if n < 15 && crate::peer::values::is_key(&arg) => {
                    self.keys.push(arg);
                    format!("KEYS[{}]", self.keys.len())
                }
                _ => literal(&arg),
            });
        }
        out.join(", ")
    }
}

/// Whether a command is not for scripts of this test: its reply depends on the time, or on the
/// server as a whole; or it changes what the rest of the stream counts on. And the C's SORT takes
/// an errno that an earlier command left for an error of its own.
fn is_apart(argv: &Argv) -> bool {
    const APART: &[&[u8]] = &[
        b"CLIENT", b"COMMAND", b"CONFIG", b"DEBUG", b"INFO", b"LATENCY", b"MEMORY", b"OBJECT",
        b"SELECT", b"SLOWLOG", b"SWAPDB", b"HELLO", b"RESET", b"MULTI", b"EXEC", b"DISCARD",
        b"EVAL", b"EVALSHA", b"SCRIPT", b"SORT",
    ];
    APART.contains(&&argv[0].to_ascii_uppercase()[..])
}

/// Whether a command may give a key a time to live. A short one, which a number in its place could
/// be, would be over on one server before it is on the other.
fn gives_time_to_live(argv: &Argv) -> bool {
    const ALWAYS: &[&[u8]] = &[
        b"EXPIRE",
        b"PEXPIRE",
        b"EXPIREAT",
        b"PEXPIREAT",
        b"SETEX",
        b"PSETEX",
        b"GETEX",
        b"RESTORE",
    ];
    let name = &argv[0].to_ascii_uppercase()[..];
    ALWAYS.contains(&name) || name == b"SET" && argv.len() > 3
}

/// Bytes as a literal of Lua.
fn literal(bytes: &[u8]) -> String {
    let mut out = String::from("'");
    for &b in bytes {
        match b {
            b' '..=b'~' if b != b'\'' && b != b'\\' => out.push(b as char),
            _ => out += &format!("\\{b:03}"),
        }
    }
    out.push('\'');
    out
}

/// A command of the history: of a script, what follows its head.
pub fn told(argv: &Argv) -> String {
    const END: &[u8] = b", ARGV[2]\n";
    if argv[0] == b"EVAL"
        && let Some(at) = memchr::memmem::find(&argv[1], END)
    {
        let body = String::from_utf8_lossy(&argv[1][at + END.len()..]);
        return format!("EVAL {body:?} {}", shown(&argv[2..]));
    }
    shown(argv)
}

/// What each script begins with. The hash of a string of 32 bytes or more, and with it the order of
/// the keys, is another one where the defects of 6.2.16 are mended.
const HEAD: &str = "local function T(x) local t = type(x) \
if t == 'table' or t == 'function' or t == 'userdata' or t == 'thread' then return t end \
return tostring(x) end\n\
local function K(x) if type(x) == 'string' or type(x) == 'number' then \
return LONG_KEYS and x or string.sub(x, 1, 31) end \
return x ~= nil and T(x) or nil end\n\
local function show(t) if type(t) ~= 'table' then return T(t) end local n, s = 0, '' \
for k, v in pairs(t) do n = n + 1 if n > 30 then break end s = s .. T(k) .. ':' .. T(v) .. ' ' end \
return s end\n\
local function sorted(t) local s = {} for k, v in pairs(t) do s[#s + 1] = T(k) .. T(v) end \
table.sort(s) return table.concat(s, ' ') end\n\
local a, b, c, d = ARGV[1], 1.5, {1, 'x'}, ARGV[2]\n";

/// A script, as EVAL.
pub fn eval(g: &mut Gen, known: &Known) -> Argv {
    let left = 5 + g.rng.below(60);
    let mut script = Script { g, known, keys: vec![], left };
    let mut body = HEAD.replace("LONG_KEYS", &known.same_script_errors().to_string());
    for _ in 0..1 + script.g.rng.below(6) {
        let statement = if known.same_script_errors() && script.g.rng.one_in(12) {
            script.form(ODD)
        } else {
            script.form(STATEMENTS)
        };
        // Some errors are caught, so that there is more to come.
        body += &match script.g.rng.below(4) {
            0 if known.same_script_errors() && statement != "return" => {
                format!("pcall(function() {statement} end)\n")
            }
            _ => format!("do {statement} end\n"),
        };
    }
    script.left = 20;
    let result = match script.g.rng.below(4) {
        0 => "{T(a), T(b), T(c), T(d)}".to_string(),
        1 => "{a, b, c, d}".to_string(),
        2 => "{show(a), show(b), show(c), show(d)}".to_string(),
        _ => script.anything(),
    };
    body += &format!("return {result}");
    let keys = script.keys;
    let mut argv = vec![b"EVAL".to_vec(), body.into_bytes(), keys.len().to_string().into_bytes()];
    argv.extend(keys);
    // Patterns take their time with long ones.
    let mut text = g.value("v");
    text.truncate(300);
    argv.push(text);
    argv.push(g.value("number"));
    argv
}

/// EVALSHA for what EVAL has executed.
pub fn by_name(eval: &Argv) -> Argv {
    let mut argv = eval.clone();
    argv[0] = b"EVALSHA".to_vec();
    argv[1] = Sha1::digest(&eval[1]).iter().map(|b| format!("{b:02x}")).collect::<String>().into();
    argv
}
