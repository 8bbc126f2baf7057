//! `lobject.h` and `lobject.c`: values, prototypes, and a few functions over them.
//!
//! Differs: an object is named by the index of its slot in an arena (see `lstate`). In debug builds the
//! index carries the generation of the slot, so that an object that was collected too early is found
//! where it is used.

use std::cell::Cell;
use std::ops::Deref;
use std::rc::Rc;

use crate::lopcodes::Instruction;

pub type lua_Number = f64;
pub type lua_Integer = isize;

pub const LUA_TNONE: i32 = -1;
pub const LUA_TNIL: i32 = 0;
pub const LUA_TBOOLEAN: i32 = 1;
pub const LUA_TLIGHTUSERDATA: i32 = 2;
pub const LUA_TNUMBER: i32 = 3;
pub const LUA_TSTRING: i32 = 4;
pub const LUA_TTABLE: i32 = 5;
pub const LUA_TFUNCTION: i32 = 6;
pub const LUA_TUSERDATA: i32 = 7;
pub const LUA_TTHREAD: i32 = 8;

/// The most bytes a description of a chunk takes, with the C's closing NUL.
pub const LUA_IDSIZE: usize = 60;

/// What all typed indices have in common.
pub trait ObjRef: Copy {
    /// A reference to slot `idx` in its generation `gen_` (debug builds only look at it).
    fn new(idx: u32, gen_: u32) -> Self;
    fn idx(self) -> u32;
    /// The generation; 0 in release builds.
    fn gen_(self) -> u32;
}

macro_rules! obj_ref {
    ($(#[$m:meta])* $name:ident) => {
        $(#[$m])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name {
            idx: u32,
            #[cfg(debug_assertions)]
            gen_: u32,
        }
        impl ObjRef for $name {
            #[inline(always)]
            fn new(idx: u32, _gen: u32) -> $name {
                $name {
                    idx,
                    #[cfg(debug_assertions)]
                    gen_: _gen,
                }
            }
            #[inline(always)]
            fn idx(self) -> u32 {
                self.idx
            }
            #[inline(always)]
            fn gen_(self) -> u32 {
                #[cfg(debug_assertions)]
                {
                    self.gen_
                }
                #[cfg(not(debug_assertions))]
                0
            }
        }
        impl PartialEq for $name {
            #[inline(always)]
            fn eq(&self, o: &$name) -> bool {
                self.idx == o.idx
            }
        }
        impl Eq for $name {}
    };
}

obj_ref!(
    /// A table.
    TableRef
);
obj_ref!(
    /// A Lua function.
    LClosureRef
);
obj_ref!(
    /// A function of the host.
    CClosureRef
);
obj_ref!(
    /// A full userdata.
    UdataRef
);
obj_ref!(
    /// A coroutine, or the main thread.
    ThreadRef
);
obj_ref!(
    /// An upvalue.
    UpValRef
);

/// An interned string: two are equal when their indices are. The hash is carried along, so that a
/// lookup in a table does not have to touch the string.
#[derive(Clone, Copy, Debug)]
pub struct StrRef {
    pub hash: u32,
    pub idx: u32,
}

impl PartialEq for StrRef {
    #[inline(always)]
    fn eq(&self, o: &StrRef) -> bool {
        self.idx == o.idx
    }
}
impl Eq for StrRef {}

impl ObjRef for StrRef {
    fn new(idx: u32, hash: u32) -> StrRef {
        StrRef { hash, idx }
    }
    #[inline(always)]
    fn idx(self) -> u32 {
        self.idx
    }
    fn gen_(self) -> u32 {
        self.hash
    }
}

/// A value of Lua, 16 bytes. The tag takes eight of them, so that a copy is two loads and two stores of
/// eight bytes each, which the processor can forward to each other.
#[derive(Clone, Copy, Debug, Default)]
#[repr(u64)]
pub enum TValue {
    #[default]
    Nil,
    Boolean(bool),
    LightUserdata(usize),
    Number(f64),
    String(StrRef),
    Table(TableRef),
    LFunction(LClosureRef),
    CFunction(CClosureRef),
    Userdata(UdataRef),
    Thread(ThreadRef),
    /// What is left of a key that was collected: only in the nodes of a table.
    DeadKey(u64),
}

pub use TValue::{
    Boolean, CFunction, LFunction, LightUserdata, Nil, Number, String as Str, Table as Tab, Thread,
    Userdata,
};

const _: () = assert!(size_of::<TValue>() == 16);

impl TValue {
    /// A copy for where a number was most likely written just now. As one load of 16 bytes it would have to wait
    /// for the two stores; this way it is two loads.
    #[inline(always)]
    pub fn copied(self) -> TValue {
        match self {
            Number(n) => Number(n),
            v => v,
        }
    }

    #[inline(always)]
    pub fn is_nil(self) -> bool {
        matches!(self, Nil)
    }

    /// `l_isfalse`: nil and false are.
    #[inline(always)]
    pub fn is_false(self) -> bool {
        matches!(self, Nil | Boolean(false))
    }

    #[inline(always)]
    pub fn is_function(self) -> bool {
        matches!(self, LFunction(_) | CFunction(_))
    }

    /// The `LUA_T` constant of the value.
    pub fn ttype(self) -> i32 {
        match self {
            Nil => LUA_TNIL,
            Boolean(_) => LUA_TBOOLEAN,
            LightUserdata(_) => LUA_TLIGHTUSERDATA,
            Number(_) => LUA_TNUMBER,
            Str(_) => LUA_TSTRING,
            Tab(_) => LUA_TTABLE,
            LFunction(_) | CFunction(_) => LUA_TFUNCTION,
            Userdata(_) => LUA_TUSERDATA,
            Thread(_) => LUA_TTHREAD,
            TValue::DeadKey(_) => LUA_TNIL,
        }
    }
}

/// `luaO_rawequalObj`: equality without metamethods.
#[inline(always)]
pub fn luaO_rawequalObj(t1: TValue, t2: TValue) -> bool {
    match (t1, t2) {
        (Nil, Nil) => true,
        (Number(a), Number(b)) => a == b,
        (Boolean(a), Boolean(b)) => a == b,
        (LightUserdata(a), LightUserdata(b)) => a == b,
        (Str(a), Str(b)) => a == b,
        (Tab(a), Tab(b)) => a == b,
        (LFunction(a), LFunction(b)) => a == b,
        (CFunction(a), CFunction(b)) => a == b,
        (Userdata(a), Userdata(b)) => a == b,
        (Thread(a), Thread(b)) => a == b,
        _ => false,
    }
}

const SHORT: usize = 22;

/// The bytes of a string, held: it stays what it is, whatever happens to the state it came from.
/// Short ones are copied, long ones are shared.
#[derive(Clone)]
pub enum LuaStr {
    Short(u8, [u8; SHORT]),
    Long(Rc<[u8]>),
}

impl LuaStr {
    #[inline]
    pub fn new(s: &[u8]) -> LuaStr {
        if s.len() <= SHORT {
            let mut b = [0; SHORT];
            b[..s.len()].copy_from_slice(s);
            LuaStr::Short(s.len() as u8, b)
        } else {
            LuaStr::Long(s.into())
        }
    }
}

impl Default for LuaStr {
    fn default() -> LuaStr {
        LuaStr::Short(0, [0; SHORT])
    }
}

impl Deref for LuaStr {
    type Target = [u8];
    #[inline(always)]
    fn deref(&self) -> &[u8] {
        match self {
            LuaStr::Short(n, b) => &b[..*n as usize],
            LuaStr::Long(s) => s,
        }
    }
}

impl std::fmt::Debug for LuaStr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

pub const VARARG_HASARG: u8 = 1;
pub const VARARG_ISVARARG: u8 = 2;
pub const VARARG_NEEDSARG: u8 = 4;

/// A local variable: its name, and from which instruction to which it is alive.
#[derive(Clone, Copy, Debug)]
pub struct LocVar {
    pub varname: StrRef,
    pub startpc: i32,
    pub endpc: i32,
}

/// What the compiler makes of a function.
#[derive(Debug)]
pub struct Proto {
    pub k: Vec<TValue>,
    pub code: Vec<Instruction>,
    pub p: Vec<Rc<Proto>>,
    pub lineinfo: Vec<i32>,
    pub locvars: Vec<LocVar>,
    /// The names of the upvalues.
    pub upvalues: Vec<StrRef>,
    pub source: StrRef,
    pub linedefined: i32,
    pub lastlinedefined: i32,
    pub nups: u8,
    pub numparams: u8,
    pub is_vararg: u8,
    pub maxstacksize: u8,
    /// The mark of the collector (see `lgc`).
    pub marked: Cell<u8>,
}

impl Proto {
    /// `luaF_newproto`.
    pub fn new(source: StrRef) -> Proto {
        Proto {
            k: Vec::new(),
            code: Vec::new(),
            p: Vec::new(),
            lineinfo: Vec::new(),
            locvars: Vec::new(),
            upvalues: Vec::new(),
            source,
            linedefined: 0,
            lastlinedefined: 0,
            nups: 0,
            numparams: 0,
            is_vararg: 0,
            maxstacksize: 0,
            marked: Cell::new(0),
        }
    }
}

/// `luaO_int2fb`: a size as a "floating point byte" eeeeexxx, rounded up.
pub fn luaO_int2fb(mut x: u32) -> i32 {
    let mut e = 0;
    while x >= 16 {
        x = (x + 1) >> 1;
        e += 1;
    }
    if x < 8 { x as i32 } else { (e + 1) << 3 | (x as i32 - 8) }
}

/// `luaO_fb2int`: the way back.
pub fn luaO_fb2int(x: i32) -> i32 {
    let e = x >> 3 & 31;
    if e == 0 { x } else { ((x & 7) + 8) << (e - 1) }
}

/// `luaO_log2`: the logarithm rounded down; -1 for 0.
pub fn luaO_log2(x: u32) -> i32 {
    31 - x.leading_zeros() as i32
}

/// `ceillog2`.
pub fn ceillog2(x: u32) -> i32 {
    luaO_log2(x.wrapping_sub(1)) + 1
}

/// The C's `isspace` in the "C" locale.
pub fn isspace(c: u8) -> bool {
    matches!(c, b' ' | b'\t'..=b'\r')
}

/// An argument of [`luaO_fmt!`].
pub enum FmtArg<'a> {
    S(&'a [u8]),
    D(i64),
    F(f64),
}
impl<'a> From<&'a [u8]> for FmtArg<'a> {
    fn from(s: &'a [u8]) -> Self {
        FmtArg::S(s)
    }
}
impl<'a, const N: usize> From<&'a [u8; N]> for FmtArg<'a> {
    fn from(s: &'a [u8; N]) -> Self {
        FmtArg::S(s)
    }
}
impl<'a> From<&'a str> for FmtArg<'a> {
    fn from(s: &'a str) -> Self {
        FmtArg::S(s.as_bytes())
    }
}
impl<'a> From<&'a String> for FmtArg<'a> {
    fn from(s: &'a String) -> Self {
        FmtArg::S(s.as_bytes())
    }
}
impl<'a> From<&'a LuaStr> for FmtArg<'a> {
    fn from(s: &'a LuaStr) -> Self {
        FmtArg::S(s)
    }
}
impl<'a> From<&'a Vec<u8>> for FmtArg<'a> {
    fn from(s: &'a Vec<u8>) -> Self {
        FmtArg::S(s)
    }
}
impl From<i32> for FmtArg<'_> {
    fn from(n: i32) -> Self {
        FmtArg::D(n as i64)
    }
}
impl From<usize> for FmtArg<'_> {
    fn from(n: usize) -> Self {
        FmtArg::D(n as i64)
    }
}
impl From<u8> for FmtArg<'_> {
    fn from(n: u8) -> Self {
        FmtArg::D(n as i64)
    }
}
impl From<f64> for FmtArg<'_> {
    fn from(n: f64) -> Self {
        FmtArg::F(n)
    }
}

/// `luaO_pushvfstring` without the pushing: knows `%s`, `%d`, `%c`, `%f` (as `%.14g`) and `%%`. A string
/// ends at its first NUL, as C's do.
pub fn format_bytes(fmt: &str, args: &[FmtArg<'_>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(fmt.len() + 32);
    let mut args = args.iter();
    let mut bytes = fmt.bytes();
    while let Some(b) = bytes.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let conversion = bytes.next();
        if conversion == Some(b'%') {
            out.push(b'%');
            continue;
        }
        match args.next() {
            Some(FmtArg::S(s)) => {
                out.extend_from_slice(s.split(|&c| c == 0).next().unwrap_or_default())
            }
            Some(FmtArg::D(n)) if conversion == Some(b'c') => out.push(*n as u8),
            Some(FmtArg::D(n)) => out.extend_from_slice(n.to_string().as_bytes()),
            Some(FmtArg::F(n)) => lua_number2str(*n, &mut out),
            None => {}
        }
    }
    out
}

/// Makes bytes from a format of the C (`%s %d %c %f`) and its arguments: byte strings, `&str`, integers.
#[macro_export]
macro_rules! luaO_fmt {
    ($fmt:expr $(, $a:expr)* $(,)?) => {
        $crate::lobject::format_bytes($fmt, &[$($crate::lobject::FmtArg::from($a)),*])
    };
}

/// `lua_number2str`: appends a number as `%.14g` prints it.
pub fn lua_number2str(n: f64, out: &mut Vec<u8>) {
    format_g(n, 14, out);
}

/// Appends an integer.
fn push_integer(n: i64, out: &mut Vec<u8>) {
    let mut b = [0u8; 20];
    let mut at = b.len();
    let mut u = n.unsigned_abs();
    loop {
        at -= 1;
        b[at] = b'0' + (u % 10) as u8;
        u /= 10;
        if u == 0 {
            break;
        }
    }
    if n < 0 {
        at -= 1;
        b[at] = b'-';
    }
    out.extend_from_slice(&b[at..]);
}

const POWERS_OF_TEN: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Appends a number as the C's `%.<precision>g` prints it.
pub fn format_g(n: f64, precision: usize, out: &mut Vec<u8>) {
    use std::io::Write;
    let precision = precision.max(1);
    // An integer that has no more digits.
    if n == (n as i64) as f64 && n.abs() < POWERS_OF_TEN[precision.min(15)] {
        if n == 0.0 && n.is_sign_negative() {
            out.push(b'-');
        }
        return push_integer(n as i64, out);
    }
    if n.is_nan() {
        out.extend_from_slice(if n.is_sign_negative() { b"-nan" } else { b"nan" });
        return;
    }
    if n.is_infinite() {
        out.extend_from_slice(if n < 0.0 { b"-inf" } else { b"inf" });
        return;
    }
    // d.ddde<exponent>, correctly rounded.
    let mut e = Vec::with_capacity(precision + 10);
    let _ = write!(e, "{:.*e}", precision - 1, n);
    let at = e.iter().rposition(|&c| c == b'e').unwrap_or(e.len());
    let exponent: i32 =
        std::str::from_utf8(&e[at + 1..]).ok().and_then(|s| s.parse().ok()).unwrap_or(0);
    let mut mantissa = &e[..at];
    if let [b'-', rest @ ..] = mantissa {
        out.push(b'-');
        mantissa = rest;
    }
    let mut digits: Vec<u8> = mantissa.iter().copied().filter(|&c| c != b'.').collect();
    while digits.len() > 1 && digits.last() == Some(&b'0') {
        digits.pop();
    }
    if exponent < -4 || exponent >= precision as i32 {
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        let _ = write!(out, "e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
    } else if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', (-exponent - 1) as usize));
        out.extend_from_slice(&digits);
    } else {
        let whole = exponent as usize + 1;
        while digits.len() < whole {
            digits.push(b'0');
        }
        out.extend_from_slice(&digits[..whole]);
        if digits.len() > whole {
            out.push(b'.');
            out.extend_from_slice(&digits[whole..]);
        }
    }
}

/// `luaO_str2d`: the number a string is, by the rules of the C's `strtod`, blanks around it allowed. The
/// string ends at its first NUL.
pub fn luaO_str2d(s: &[u8]) -> Option<f64> {
    let s = s.split(|&c| c == 0).next().unwrap_or_default();
    let (n, rest) = strtod(s)?;
    rest.iter().all(|&c| isspace(c)).then_some(n)
}

/// The C's `strtod`: the number at the start of a string, and what is behind it.
pub fn strtod(s: &[u8]) -> Option<(f64, &[u8])> {
    let mut p = s;
    while let [c, rest @ ..] = p
        && isspace(*c)
    {
        p = rest;
    }
    let negative = p.first() == Some(&b'-');
    if let [b'-' | b'+', rest @ ..] = p {
        p = rest;
    }
    let sign = |n: f64| if negative { -n } else { n };
    let word = |w: &[u8]| p.len() >= w.len() && p[..w.len()].eq_ignore_ascii_case(w);
    if word(b"infinity") {
        return Some((sign(f64::INFINITY), &p[8..]));
    }
    if word(b"inf") {
        return Some((sign(f64::INFINITY), &p[3..]));
    }
    if word(b"nan") {
        let mut rest = &p[3..];
        // nan(letters, digits and underscores)
        if let [b'(', inner @ ..] = rest
            && let Some(n) = inner.iter().position(|&c| !c.is_ascii_alphanumeric() && c != b'_')
            && inner[n] == b')'
        {
            rest = &inner[n + 1..];
        }
        return Some((sign(f64::NAN.copysign(1.0)), rest));
    }
    if let [b'0', b'x' | b'X', hex @ ..] = p
        && let Some((n, rest)) = strtod_hex(hex)
    {
        return Some((sign(n), rest));
    }
    let digits = |from: usize| p[from..].iter().take_while(|c| c.is_ascii_digit()).count();
    let whole = digits(0);
    let mut end = whole;
    let mut fraction = 0;
    if p.get(end) == Some(&b'.') {
        fraction = digits(end + 1);
        end += 1 + fraction;
    }
    if whole + fraction == 0 {
        return None;
    }
    if let Some(b'e' | b'E') = p.get(end) {
        let mut at = end + 1;
        if let Some(b'+' | b'-') = p.get(at) {
            at += 1;
        }
        let n = digits(at);
        if n > 0 {
            end = at + n;
        }
    }
    // Short integers are the usual case.
    if end == whole && whole <= 15 {
        let n = p[..whole].iter().fold(0u64, |n, c| n * 10 + (c - b'0') as u64);
        return Some((sign(n as f64), &p[end..]));
    }
    let n = std::str::from_utf8(&p[..end]).ok()?.parse().ok()?;
    Some((sign(n), &p[end..]))
}

/// The digits behind "0x", with fraction and exponent, rounded to the nearest, ties to even.
fn strtod_hex(s: &[u8]) -> Option<(f64, &[u8])> {
    let mut mantissa = 0u64;
    let mut exponent = 0i64;
    let mut any = false;
    let mut dot = false;
    let mut at = 0;
    while let Some(&c) = s.get(at) {
        if c == b'.' && !dot {
            dot = true;
        } else if let Some(d) = (c as char).to_digit(16) {
            any = true;
            if mantissa >> 60 == 0 {
                mantissa = mantissa << 4 | d as u64;
                if dot {
                    exponent -= 4;
                }
            } else {
                // Too many digits: what is cut off only matters for being there.
                mantissa |= (d != 0) as u64;
                if !dot {
                    exponent += 4;
                }
            }
        } else {
            break;
        }
        at += 1;
    }
    if !any {
        return None;
    }
    // "0x1." ends behind the point, too.
    if let Some(b'p' | b'P') = s.get(at) {
        let mut e = at + 1;
        let minus = s.get(e) == Some(&b'-');
        if let Some(b'+' | b'-') = s.get(e) {
            e += 1;
        }
        let n = s[e..].iter().take_while(|c| c.is_ascii_digit()).count();
        if n > 0 {
            let v = s[e..e + n]
                .iter()
                .fold(0i64, |v, c| (v * 10 + (c - b'0') as i64).min(1_000_000_000));
            exponent += if minus { -v } else { v };
            at = e + n;
        }
    }
    Some((scale(mantissa, exponent), &s[at..]))
}

/// mantissa * 2^exponent, rounded once. The lowest bit of a mantissa of 61 bits and more is sticky.
fn scale(mantissa: u64, exponent: i64) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let bits = 64 - mantissa.leading_zeros() as i64;
    // The exponent of the leading bit.
    let e = exponent + bits - 1;
    if e > 1023 {
        return f64::INFINITY;
    }
    // How many bits the result keeps: 53, or fewer below the normal numbers.
    let keep = if e < -1022 { 53 - (-1022 - e) } else { 53 };
    if keep < 0 {
        return 0.0;
    }
    let drop = bits - keep;
    let mut m = mantissa;
    let mut x = exponent;
    if drop > 0 {
        let (q, r, half) = if drop >= 64 {
            (0, mantissa, 0)
        } else {
            (mantissa >> drop, mantissa & ((1 << drop) - 1), 1u64 << (drop - 1))
        };
        let up = drop < 64 && (r > half || r == half && q & 1 == 1);
        m = q + up as u64;
        x += drop;
    }
    // m has at most 53 bits: two exact steps.
    let pow2 = |n: i64| f64::from_bits(((n + 1023) as u64) << 52);
    let mut v = m as f64;
    while x > 1000 {
        v *= pow2(1000);
        x -= 1000;
    }
    while x < -1000 {
        v *= pow2(-1000);
        x += 1000;
    }
    v * pow2(x)
}

/// `luaO_chunkid`: how the source of a chunk is shown, in at most `bufflen` bytes with the C's closing NUL.
pub fn luaO_chunkid(source: &[u8], bufflen: usize) -> Vec<u8> {
    let source = source.split(|&c| c == 0).next().unwrap_or_default();
    match source {
        [b'=', rest @ ..] => rest[..rest.len().min(bufflen - 1)].to_vec(),
        [b'@', rest @ ..] => {
            let room = bufflen - " '...' ".len() - 1;
            if rest.len() > room {
                let mut out = b"...".to_vec();
                out.extend_from_slice(&rest[rest.len() - room..]);
                out
            } else {
                rest.to_vec()
            }
        }
        _ => {
            let line = source.iter().position(|c| b"\n\r".contains(c)).unwrap_or(source.len());
            let room = bufflen - " [string \"...\"] ".len() - 1;
            let len = line.min(room);
            let mut out = b"[string \"".to_vec();
            out.extend_from_slice(&source[..len]);
            if len < source.len() {
                out.extend_from_slice(b"...");
            }
            out.extend_from_slice(b"\"]");
            out
        }
    }
}
