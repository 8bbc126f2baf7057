//! `util.c`: numbers to text and back, paths, random bytes; and the text tools that stand in for
//! printf.
//!
//! Read first: [`string2ll`] (what the server takes for an integer), [`strtod`] and [`string2d`]
//! (what it takes for a float), [`format_17g`] (how it writes one), [`bformat!`](crate::bformat)
//! (printf for bytes). Elsewhere: `stringmatchlen` is in `ds/glob.rs`, the long double
//! (`string2ld`, `ld2string`) in `ds/longdouble.rs`. `yesnotoi` is here, though the C has it in
//! `config.c`. Differs: numbers are returned, not written to a buffer of the caller. Random bytes
//! come from a [`RandomBytes`] that somebody owns, not from a static. A string is a slice; where
//! the C stops at a NUL, so do we, and it says so.

use std::fmt::{self, Write};

use sha2::{Digest, Sha256};

use crate::ds::longdouble::{BINARY64, FloatText, layout_17g, scan_float};
use crate::sds::sdstrim;

// -----------------------------------------------------------------------------
// Text that is bytes

/// Bytes as an argument of `{}`: each byte is written as the char of the same number.
///
/// No byte is lost through [`format_bytes`] (and so [`bformat!`](crate::bformat),
/// [`serverLog!`](crate::serverLog)), which turns these chars back into bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct B<'a>(pub &'a [u8]);

impl fmt::Display for B<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            // ASCII goes in runs, everything else char by char.
            if chunk.valid().is_ascii() {
                f.write_str(chunk.valid())?;
            } else {
                for &byte in chunk.valid().as_bytes() {
                    f.write_char(byte as char)?;
                }
            }
            for &byte in chunk.invalid() {
                f.write_char(byte as char)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for B<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// A sink that turns chars below 256 back into the bytes [`B`] made them from. Others stay UTF-8.
struct ByteSink<'a>(&'a mut Vec<u8>);

impl Write for ByteSink<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        if s.is_ascii() {
            self.0.extend_from_slice(s.as_bytes());
            return Ok(());
        }
        s.chars().try_for_each(|c| self.write_char(c))
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        match u8::try_from(c) {
            Ok(byte) => self.0.push(byte),
            Err(_) => self.0.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        Ok(())
    }
}

/// Formats to bytes: implements [`bformat!`](crate::bformat).
pub fn format_bytes(args: fmt::Arguments<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    append_bytes(&mut out, args);
    out
}

/// Formats to the end of `out`: implements [`sdscatprintf!`](crate::sdscatprintf).
pub fn append_bytes(out: &mut Vec<u8>, args: fmt::Arguments<'_>) {
    // The sink never fails, and a Display of ours neither.
    let _ = ByteSink(out).write_fmt(args);
}

/// Formats to a `Vec<u8>`, with the syntax of `format!`: bytes given as [`B`](crate::util::B) come
/// out as they are.
#[macro_export]
macro_rules! bformat {
    ($($arg:tt)*) => { $crate::util::format_bytes(format_args!($($arg)*)) };
}

/// Formats to the end of a `Vec<u8>`, like [`bformat!`].
#[macro_export]
macro_rules! sdscatprintf {
    ($out:expr, $($arg:tt)*) => { $crate::util::append_bytes(&mut $out, format_args!($($arg)*)) };
}

/// Returns the part of `s` before its first NUL: what a C function that is handed a `char *` sees.
pub fn c_str(s: &[u8]) -> &[u8] {
    memchr::memchr(0, s).map_or(s, |end| &s[..end])
}

/// Tells whether two strings are equal but for ASCII case, up to the first NUL of each
/// (`!strcasecmp(a, b)`).
pub fn eq_ignore_case(a: &[u8], b: &[u8]) -> bool {
    a.eq_ignore_ascii_case(b)
        || ((a.contains(&0) || b.contains(&0)) && c_str(a).eq_ignore_ascii_case(c_str(b)))
}

/// Tells whether `a == b`, without a call where they are short, as names and keys mostly are.
#[inline(always)]
pub fn short_eq(a: &[u8], b: &[u8]) -> bool {
    // Two pieces that may overlap cover each length up to twice their own.
    #[inline(always)]
    fn ends<const N: usize>(a: &[u8], b: &[u8]) -> bool {
        (a.first_chunk::<N>() == b.first_chunk::<N>())
            & (a.last_chunk::<N>() == b.last_chunk::<N>())
    }
    if a.len() != b.len() {
        return false;
    }
    // Most keys are as long as this, so it is asked first; names of values and commands come next.
    if (8..=16).contains(&a.len()) {
        return ends::<8>(a, b);
    }
    if (4..=7).contains(&a.len()) {
        return ends::<4>(a, b);
    }
    match a.len() {
        0 => true,
        1 => ends::<1>(a, b),
        2..=3 => ends::<2>(a, b),
        17..=32 => ends::<16>(a, b),
        _ => a == b,
    }
}

/// Tells whether `c` is white space in the C locale: blank, `\t`, `\n`, `\v`, `\f`, `\r`.
pub const fn isspace(c: u8) -> bool {
    matches!(c, b' ' | b'\t'..=b'\r')
}

/// Tells whether `c` is printable in the C locale: a blank or visible ASCII.
pub const fn isprint(c: u8) -> bool {
    matches!(c, b' '..=b'~')
}

/// Returns the bytes in lower-case hexadecimal, two digits a byte.
pub fn hex(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|&b| [DIGITS[(b >> 4) as usize], DIGITS[(b & 15) as usize]]).collect()
}

/// The text of a number, on the stack: `Copy`, derefs to its bytes, prints with `{}`.
#[derive(Clone, Copy)]
pub struct Num {
    start: u8,
    end: u8,
    buf: [u8; Num::CAPACITY],
}

impl Num {
    /// More than the longest integer (20) and the longest `%.17g` (24).
    const CAPACITY: usize = 30;

    const fn new() -> Num {
        Num { start: 0, end: 0, buf: [0; Num::CAPACITY] }
    }

    /// Returns the digits of `v` behind an optional minus, two at a time from the last: in place,
    /// which itoa cannot do.
    #[inline]
    fn integer(mut v: u64, negative: bool) -> Num {
        static DIGITS: [[u8; 2]; 100] = {
            let mut digits = [[0; 2]; 100];
            let mut i = 0;
            while i < 100 {
                digits[i] = [b'0' + i as u8 / 10, b'0' + i as u8 % 10];
                i += 1;
            }
            digits
        };
        const END: usize = 21;
        let mut buf = [0; Num::CAPACITY];
        let mut at = END;
        while v >= 100 {
            at -= 2;
            buf[at..at + 2].copy_from_slice(&DIGITS[(v % 100) as usize]);
            v /= 100;
        }
        if v >= 10 {
            at -= 2;
            buf[at..at + 2].copy_from_slice(&DIGITS[v as usize]);
        } else {
            at -= 1;
            buf[at] = b'0' + v as u8;
        }
        if negative {
            at -= 1;
            buf[at] = b'-';
        }
        Num { start: at as u8, end: END as u8, buf }
    }

    fn from(text: &[u8]) -> Num {
        let mut num = Num::new();
        num.push(text);
        num
    }

    fn push(&mut self, text: &[u8]) {
        let end = self.end as usize;
        self.buf[end..end + text.len()].copy_from_slice(text);
        self.end += text.len() as u8;
    }

    /// Returns the text.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.buf[self.start as usize..self.end as usize]
    }
}

impl std::ops::Deref for Num {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl AsRef<[u8]> for Num {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Display for Num {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        B(self).fmt(f)
    }
}

impl fmt::Debug for Num {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        B(self).fmt(f)
    }
}

impl Write for Num {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        if self.end as usize + s.len() > Num::CAPACITY {
            return Err(fmt::Error);
        }
        self.push(s.as_bytes());
        Ok(())
    }
}

// -----------------------------------------------------------------------------
// util.c

/// Reads an amount of memory: digits with an optional unit, of any case: `b`, `k` (1000), `kb`
/// (1024), `m`, `mb`, `g`, `gb`. Returns bytes; none if the unit is unknown or the digits are not a
/// number.
///
/// As in the C, no digits at all are 0, the number saturates at 64 bits, and its product with the
/// unit wraps.
pub fn memtoll(p: &[u8]) -> Option<i64> {
    let p = c_str(p);
    let sign = usize::from(p.first() == Some(&b'-'));
    let digits = sign + p[sign..].iter().take_while(|c| c.is_ascii_digit()).count();
    let unit = &p[digits..];
    let mul: i64 = if unit.is_empty() || unit.eq_ignore_ascii_case(b"b") {
        1
    } else if unit.eq_ignore_ascii_case(b"k") {
        1000
    } else if unit.eq_ignore_ascii_case(b"kb") {
        1024
    } else if unit.eq_ignore_ascii_case(b"m") {
        1000 * 1000
    } else if unit.eq_ignore_ascii_case(b"mb") {
        1024 * 1024
    } else if unit.eq_ignore_ascii_case(b"g") {
        1000 * 1000 * 1000
    } else if unit.eq_ignore_ascii_case(b"gb") {
        1024 * 1024 * 1024
    } else {
        return None;
    };
    if digits >= 128 {
        return None;
    }
    let number = strtoll(&p[..digits], 10);
    if number.len != digits {
        return None;
    }
    Some(number.value.wrapping_mul(mul))
}

/// Returns the position of the first byte of `s` that is one of `chars`.
pub fn mempbrk(s: &[u8], chars: &[u8]) -> Option<usize> {
    s.iter().position(|c| chars.contains(c))
}

/// Replaces, in place, each byte that stands in `from` by the byte at the same place in `to`.
pub fn memmapchars(s: &mut [u8], from: &[u8], to: &[u8]) {
    for c in s {
        if let Some(i) = from.iter().position(|f| f == c) {
            *c = to[i];
        }
    }
}

/// Returns the number of decimal digits of `v`.
pub fn digits10(v: u64) -> u32 {
    v.checked_ilog10().unwrap_or(0) + 1
}

/// Returns the length of `v` in decimal, with its minus.
pub fn sdigits10(v: i64) -> u32 {
    digits10(v.unsigned_abs()) + u32::from(v < 0)
}

/// Returns `v` in decimal.
pub fn ll2string(v: i64) -> Num {
    Num::integer(v.unsigned_abs(), v < 0)
}

/// Returns `v` in decimal, unsigned.
pub fn ull2string(v: u64) -> Num {
    Num::integer(v, false)
}

/// Reads an integer in its one canonical form, as [`ll2string`] writes it: no blanks, no plus, no
/// leading zeros, no `-0`. None for anything else, and out of the range of 64 bits.
///
/// Because of that strictness, text that parses can be kept as a number and given back unchanged.
pub fn string2ll(s: &[u8]) -> Option<i64> {
    let (negative, digits) = match s {
        [b'0'] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    // 19 digits hold every i64, and none of up to 19 digits overflows a u64.
    if !matches!(digits.first(), Some(b'1'..=b'9')) || digits.len() > 19 {
        return None;
    }
    if digits.len() <= 8 {
        let v = word_of_digits(digits).and_then(number_in_word)?;
        return Some(if negative { -v } else { v });
    }
    let mut v: u64 = 0;
    for &c in digits {
        let digit = c.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        v = v * 10 + u64::from(digit);
    }
    if negative {
        (v <= i64::MIN.unsigned_abs()).then(|| (v as i64).wrapping_neg())
    } else {
        i64::try_from(v).ok()
    }
}

/// The digit 0 in each byte of a word.
pub const ASCII_ZEROS: u64 = 0x3030_3030_3030_3030;

/// Returns up to eight bytes as a word, the last in the highest byte, with zeros in front. `None`:
/// there are more.
#[inline]
fn word_of_digits(digits: &[u8]) -> Option<u64> {
    let missing = 8usize.checked_sub(digits.len())? as u32;
    let (Some(first), Some(last)) = (digits.first_chunk::<4>(), digits.last_chunk::<4>()) else {
        return Some(digits.iter().fold(ASCII_ZEROS, |word, b| word >> 8 | u64::from(*b) << 56));
    };
    // What both halves have is shifted out of the first.
    let first = u64::from(u32::from_le_bytes(*first)) << (8 * missing) & 0xffff_ffff;
    let zeros = ASCII_ZEROS & ((1 << (8 * missing)) - 1);
    Some(zeros | first | u64::from(u32::from_le_bytes(*last)) << 32)
}

/// Returns the number that eight digits spell, the first of them in the lowest byte. `None`: one is
/// no digit.
#[inline]
fn number_in_word(word: u64) -> Option<i64> {
    let digits = word ^ ASCII_ZEROS;
    // From 10 on, six more reach the upper half of a byte.
    if (digits | digits.wrapping_add(0x0606_0606_0606_0606)) & 0xf0f0_f0f0_f0f0_f0f0 != 0 {
        return None;
    }
    // Two digits are joined to one number in each half of a word, then two numbers to one, and again.
    let twos = (digits.wrapping_mul(1 + (10 << 8)) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (twos.wrapping_mul(1 + (100 << 16)) >> 16) & 0x0000_ffff_0000_ffff;
    Some((fours.wrapping_mul(1 + (10_000 << 32)) >> 32) as i64)
}

/// Reads an unsigned integer: the canonical form, or else whatever `strtoull` takes for one, up to
/// the end or a NUL: blanks and a sign in front, leading zeros. None if out of range.
///
/// As in the C, a canonical negative number is refused, but one that `strtoull` reads (` -1`)
/// wraps.
pub fn string2ull(s: &[u8]) -> Option<u64> {
    let s = c_str(s);
    if let Some(ll) = string2ll(s) {
        return u64::try_from(ll).ok();
    }
    let number = strtoull(s, 10);
    (!number.erange && !s.is_empty() && number.len == s.len()).then_some(number.value)
}

/// Parses as [`string2ll`] does, for a C long, which is as wide here.
pub fn string2l(s: &[u8]) -> Option<i64> {
    string2ll(s)
}

/// Reads a float that takes up all of `s`: decimal, hexadecimal (`0x1.8p3`), `inf` and `infinity`
/// in any case, with either sign. None for NaN, blanks around, and numbers too large or too small
/// for a double, unless they are written as `inf` or 0.
pub fn string2d(s: &[u8]) -> Option<f64> {
    if s.is_empty() || isspace(s[0]) {
        return None;
    }
    // Each integer of up to 15 digits is a double, and most scores are such.
    if s.len() <= 15 {
        let digits = s.iter().try_fold(0u64, |n, &byte| {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 { None } else { Some(n * 10 + u64::from(digit)) }
        });
        if let Some(n) = digits {
            return Some(n as f64);
        }
    }
    let number = strtod(s);
    if number.len != s.len()
        || (number.erange && (number.value.is_infinite() || number.value == 0.0))
        || number.value.is_nan()
    {
        return None;
    }
    Some(number.value)
}

/// The result of a `strto*` function of the C library.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Strto<T> {
    /// The number; 0 if there was none.
    pub value: T,
    /// The number of bytes read, blanks in front included: `endptr - s`. 0 if there was no number.
    pub len: usize,
    /// True if `errno` would be ERANGE: the number does not fit (it saturates), or is a subnormal
    /// that lost digits.
    pub erange: bool,
}

/// Parses as `strtod` does in the C locale: the longest start of `s` that is a float, after blanks.
/// Correctly rounded.
pub fn strtod(s: &[u8]) -> Strto<f64> {
    let blanks = s.iter().take_while(|&&c| isspace(c)).count();
    let Some(text) = scan_float(&s[blanks..]) else {
        return Strto { value: 0.0, len: 0, erange: false };
    };
    let len = blanks + text.len;

    // The quick way: std reads any decimal correctly as long as its exponent and its digits are not
    // extreme. It does not tell whether precision was lost, so that results at the edge of the
    // range take the careful way.
    if matches!(text.kind, FloatText::Decimal { .. }) && text.len <= 64 {
        if let Ok(value) = std::str::from_utf8(&s[blanks..len]).unwrap_or("").parse::<f64>() {
            if value.is_normal() && value.abs() > f64::MIN_POSITIVE {
                return Strto { value, len, erange: false };
            }
        }
    }

    let sign = if text.negative { -1.0 } else { 1.0 };
    let (magnitude, erange) = match text.kind {
        FloatText::Nan => (f64::NAN, false),
        FloatText::Infinity => (f64::INFINITY, false),
        _ => {
            let r = text.round(&BINARY64);
            (f64::from_bits(r.bits64()), r.overflow || r.underflow)
        }
    };
    Strto { value: magnitude.copysign(sign), len, erange }
}

/// Parses as `strtoll` does: the longest start of `s` that is an integer in `base` (8, 10, or 16
/// with an optional `0x`), after blanks, with either sign. Saturates.
pub fn strtoll(s: &[u8], base: u32) -> Strto<i64> {
    let (negative, magnitude, len, overflow) = scan_integer(s, base);
    let limit = if negative { i64::MIN.unsigned_abs() } else { i64::MAX as u64 };
    let erange = overflow || magnitude > limit;
    let magnitude = if erange { limit } else { magnitude } as i64;
    Strto { value: if negative { magnitude.wrapping_neg() } else { magnitude }, len, erange }
}

/// Parses as `strtoull` does: like [`strtoll`], unsigned; a minus negates modulo 2^64.
pub fn strtoull(s: &[u8], base: u32) -> Strto<u64> {
    let (negative, magnitude, len, erange) = scan_integer(s, base);
    let value = match (erange, negative) {
        (true, _) => u64::MAX,
        (false, true) => magnitude.wrapping_neg(),
        (false, false) => magnitude,
    };
    Strto { value, len, erange }
}

/// Parses as `atoi` does: the integer that `s` starts with, 0 if there is none. The upper half of a
/// number above 32 bits is lost.
pub fn atoi(s: &[u8]) -> i32 {
    strtoll(s, 10).value as i32
}

/// Returns the sign, the magnitude, the bytes read, and whether the magnitude needs more than 64
/// bits.
fn scan_integer(s: &[u8], base: u32) -> (bool, u64, usize, bool) {
    let digit = |i: usize| s.get(i).and_then(|&c| (c as char).to_digit(base)).map(u64::from);
    let mut i = s.iter().take_while(|&&c| isspace(c)).count();
    let negative = s.get(i) == Some(&b'-');
    if negative || s.get(i) == Some(&b'+') {
        i += 1;
    }
    if base == 16
        && s.get(i) == Some(&b'0')
        && matches!(s.get(i + 1), Some(b'x' | b'X'))
        && digit(i + 2).is_some()
    {
        i += 2;
    }
    if digit(i).is_none() {
        return (false, 0, 0, false);
    }
    let (mut value, mut overflow) = (0u64, false);
    while let Some(d) = digit(i) {
        match value.checked_mul(base as u64).and_then(|v| v.checked_add(d)) {
            Some(v) => value = v,
            None => overflow = true,
        }
        i += 1;
    }
    (negative, value, i, overflow)
}

/// Returns a double in a form that [`strtod`] reads back exactly, as sorted sets store their
/// scores: `%.17g`, but integers up to 2^52 as such, and no sign on NaN.
pub fn d2string(value: f64) -> Num {
    if value.is_nan() { Num::from(b"nan") } else { format_17g(value) }
}

/// Formats as `%.17g` of glibc does: 17 significant digits, correctly rounded, without trailing
/// zeros; an exponent of two digits or more below 1e-4 and from 1e17 on; `inf`, `-inf`, `nan`,
/// `-nan`, `-0`.
pub fn format_17g(value: f64) -> Num {
    let sign: &[u8] = if value.is_sign_negative() { b"-" } else { b"" };
    let mut num = Num::from(sign);
    if value.is_nan() {
        num.push(b"nan");
        return num;
    }
    if value.is_infinite() {
        num.push(b"inf");
        return num;
    }

    // An integer of up to 17 digits prints as one: most scores are such.
    let magnitude = value.abs();
    if magnitude < 1e15 && magnitude == (magnitude as u64) as f64 {
        return Num::integer(magnitude as u64, value.is_sign_negative());
    }

    // `d.dddddddddddddddde-x`: 17 digits, and the exponent that decides the style.
    let mut scientific = Num::new();
    let _ = write!(scientific, "{magnitude:.16e}");
    let mut digits = [b'0'; 17];
    digits[0] = scientific[0];
    digits[1..].copy_from_slice(&scientific[2..18]);
    let exponent = strtoll(&scientific[19..], 10).value as i32;
    layout_17g(&digits, exponent, |part| num.push(part));
    num
}

/// Returns 1 for `yes`, 0 for `no`, in any case; -1 for anything else.
pub fn yesnotoi(s: &[u8]) -> i32 {
    if eq_ignore_case(s, b"yes") {
        1
    } else if eq_ignore_case(s, b"no") {
        0
    } else {
        -1
    }
}

/// A stream of random bytes: HMAC-SHA256 of a counter, keyed with a seed. Not for secrets to last;
/// its output does not collide and cannot be guessed from outside.
#[derive(Clone)]
pub struct RandomBytes {
    seed: [u8; 64],
    counter: u64,
}

impl RandomBytes {
    /// Returns the stream of `seed`, which should come from the kernel.
    pub fn new(seed: [u8; 64]) -> RandomBytes {
        RandomBytes { seed, counter: 0 }
    }

    /// Fills `p` with the next bytes of the stream.
    pub fn getRandomBytes(&mut self, p: &mut [u8]) {
        for chunk in p.chunks_mut(32) {
            let inner = Sha256::new()
                .chain_update(self.seed.map(|b| b ^ 0x36))
                .chain_update(self.counter.to_le_bytes())
                .finalize();
            let digest = Sha256::new()
                .chain_update(self.seed.map(|b| b ^ 0x5c))
                .chain_update(inner)
                .finalize();
            self.counter = self.counter.wrapping_add(1);
            chunk.copy_from_slice(&digest[..chunk.len()]);
        }
    }

    /// Fills `p` with random lower-case hexadecimal digits: run ids, replication ids.
    pub fn getRandomHexChars(&mut self, p: &mut [u8]) {
        self.getRandomBytes(p);
        for c in p {
            *c = b"0123456789abcdef"[(*c & 0x0f) as usize];
        }
    }
}

/// Returns `filename` as an absolute path: blanks around it go, and each `../` in front takes one
/// element of the working directory away. Nothing else is normalized. None if the working directory
/// is unknown.
pub fn getAbsolutePath(filename: &[u8]) -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt;

    let mut relpath = sdstrim(c_str(filename), b" \r\n\t");
    if relpath.first() == Some(&b'/') {
        return Some(relpath.to_vec());
    }
    let mut abspath = std::env::current_dir().ok()?.into_os_string().into_vec();
    // The C's buffer for it.
    if abspath.len() >= 1024 {
        return None;
    }
    if !abspath.is_empty() && !abspath.ends_with(b"/") {
        abspath.push(b'/');
    }
    while let Some(rest) = relpath.strip_prefix(b"../") {
        relpath = rest;
        if abspath.len() > 1 {
            let parent = abspath[..abspath.len() - 1].iter().rposition(|&c| c == b'/');
            abspath.truncate(parent.map_or(0, |slash| slash + 1));
        }
    }
    abspath.extend_from_slice(relpath);
    Some(abspath)
}

/// Tells whether `path` is the name of a file in the current directory: no `/` and no `\` in it.
pub fn pathIsBaseName(path: &[u8]) -> bool {
    mempbrk(c_str(path), b"/\\").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_eq_is_equality() {
        for len in 0..70 {
            let a: Vec<u8> = (0..len).map(|i| i as u8).collect();
            assert!(short_eq(&a, &a.clone()) && !short_eq(&a, &[&a[..], b"x"].concat()));
            for i in 0..len {
                let mut b = a.clone();
                b[i] ^= 0x80;
                assert!(!short_eq(&a, &b), "{len} bytes that differ at {i}");
            }
        }
    }

    #[test]
    fn bytes_survive_formatting() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(bformat!("<{}>", B(&all)), [b"<".as_slice(), &all, b">"].concat());
        let utf8 = "h\u{e9}llo \u{4e16}".as_bytes();
        assert_eq!(bformat!("{}{}", B(utf8), 1), [utf8, b"1"].concat());
        let mut out = b"a".to_vec();
        sdscatprintf!(out, "{:.2}|{}", 2.675, ll2string(-7));
        assert_eq!(out, b"a2.67|-7");
        assert_eq!(bformat!("literal"), b"literal");
    }

    #[test]
    fn case_is_ignored_up_to_a_nul() {
        assert!(eq_ignore_case(b"GeT", b"get"));
        assert!(eq_ignore_case(b"get\0x", b"GET"));
        assert!(!eq_ignore_case(b"get", b"gets"));
        assert_eq!(yesnotoi(b"YES"), 1);
        assert_eq!(yesnotoi(b"no"), 0);
        assert_eq!(yesnotoi(b"on"), -1);
    }

    #[test]
    fn memory_amounts() {
        for (text, value) in [
            ("0", Some(0)),
            ("100", Some(100)),
            ("-1", Some(-1)),
            ("1b", Some(1)),
            ("1K", Some(1000)),
            ("2kB", Some(2048)),
            ("1m", Some(1_000_000)),
            ("1MB", Some(1 << 20)),
            ("3g", Some(3_000_000_000)),
            ("1Gb", Some(1 << 30)),
            ("", Some(0)),
            ("gb", Some(0)),
            ("-", None),
            ("1x", None),
            ("1 b", None),
            ("+1", None),
            ("99999999999999999999", Some(i64::MAX)),
        ] {
            assert_eq!(memtoll(text.as_bytes()), value, "{text}");
        }
        assert_eq!(memtoll(&[b'1'; 128]), None);
    }

    #[test]
    fn integers_have_one_form() {
        for v in [0, 1, -1, 9, 10, 99, -99, 1 << 31, -(1 << 31), i64::MAX, i64::MIN] {
            let text = ll2string(v);
            assert_eq!(&*text, v.to_string().as_bytes());
            assert_eq!(string2ll(&text), Some(v));
            assert_eq!(sdigits10(v) as usize, text.len());
        }
        for bad in [
            "",
            "-",
            "+1",
            " 1",
            "1 ",
            "01",
            "-0",
            "00",
            "1a",
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "99999999999999999999",
            "-01",
            "--1",
            "1\0",
        ] {
            assert_eq!(string2ll(bad.as_bytes()), None, "{bad}");
        }
        for len in 1..=10 {
            for (sign, n) in [("", 1), ("-", -1)] {
                let digits = &"9182736450"[..len];
                let text = format!("{sign}{digits}");
                assert_eq!(string2ll(text.as_bytes()), Some(n * digits.parse::<i64>().unwrap()));
                for at in 0..len {
                    for byte in (0..=255).filter(|b: &u8| !b.is_ascii_digit()) {
                        let mut bad = text.clone().into_bytes();
                        bad[sign.len() + at] = byte;
                        let is_negative = byte == b'-' && at == 0 && sign.is_empty() && len > 1;
                        assert_eq!(string2ll(&bad).is_some(), is_negative, "{:?}", B(&bad));
                    }
                }
            }
        }
        let mut power = 1u64;
        for digits in 1..=20 {
            assert_eq!(digits10(power), digits);
            assert_eq!(
                digits10(power.wrapping_mul(10).wrapping_sub(1).max(power)),
                if digits == 20 { 20 } else { digits }
            );
            power = power.saturating_mul(10);
        }
        assert_eq!(digits10(u64::MAX), 20);
        assert_eq!(&*ull2string(u64::MAX), b"18446744073709551615");
    }

    #[test]
    fn unsigned_integers_are_read_as_strtoull_does() {
        for (text, value) in [
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("-1", None),
            (" -1", Some(u64::MAX)),
            ("+7", Some(7)),
            ("007", Some(7)),
            ("", None),
            (" ", None),
            ("1x", None),
            ("12\0x", Some(12)),
        ] {
            assert_eq!(string2ull(text.as_bytes()), value, "{text:?}");
        }
        assert_eq!(strtoll(b" -0777x", 8), Strto { value: -0o777, len: 6, erange: false });
        assert_eq!(strtoll(b"0xfg", 16), Strto { value: 15, len: 3, erange: false });
        assert_eq!(strtoll(b"0xg", 16), Strto { value: 0, len: 1, erange: false });
        assert_eq!(strtoll(b"-99999999999999999999", 10).value, i64::MIN);
        assert!(!strtoll(b"-9223372036854775808", 10).erange);
        assert_eq!(atoi(b"12abc"), 12);
        assert_eq!(atoi(b"abc"), 0);
    }

    /// What the C library's `strtod` takes.
    #[test]
    fn floats_are_read_as_strtod_does() {
        for (text, value) in [
            ("0", Some(0.0)),
            ("2.72e0", Some(2.72)),
            ("+1.5e3", Some(1500.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("-.5E-1", Some(-0.05)),
            ("inf", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("+INF", Some(f64::INFINITY)),
            ("0x10", Some(16.0)),
            ("0x1.8p1", Some(3.0)),
            ("-0X.8P-1", Some(-0.25)),
            ("1e308", Some(1e308)),
            ("1e309", None),
            ("1e-400", None),
            ("0e-400", Some(0.0)),
            ("0e999999999999", Some(0.0)),
            ("5e-324", Some(5e-324)),
            ("2e-324", None),
            ("0x1p1024", None),
            ("0x1p-1080", None),
            ("nan", None),
            ("", None),
            (".", None),
            ("-", None),
            ("e5", None),
            ("1e", None),
            ("1e+", None),
            ("0x", None),
            ("0x.p1", None),
            ("0x1p", None),
            (" 1", None),
            ("1 ", None),
            ("1,5", None),
            ("infi", None),
            ("1\0", None),
            ("1_0", None),
        ] {
            assert_eq!(string2d(text.as_bytes()), value, "{text:?}");
        }
        assert!(string2d(b"-0").unwrap().is_sign_negative());
        assert_eq!(strtod(b"  1e5x"), Strto { value: 1e5, len: 5, erange: false });
        assert_eq!(strtod(b"1e+"), Strto { value: 1.0, len: 1, erange: false });
        assert_eq!(strtod(b"-infinit"), Strto { value: f64::NEG_INFINITY, len: 4, erange: false });
        assert_eq!(strtod(b"nan(12_a)x").len, 9);
        assert_eq!(strtod(b"x"), Strto { value: 0.0, len: 0, erange: false });
        assert_eq!(strtod(b" x").len, 0);
        assert!(strtod(b"1e999").erange && strtod(b"1e999").value.is_infinite());
        assert!(strtod(b"1e-310").erange && strtod(b"1e-310").value == 1e-310);
        assert!(!strtod(b"0x1p-1074").erange && strtod(b"0x1p-1074").value == 5e-324);
        // Half-way cases, and a tail that tips them far behind.
        assert_eq!(string2d(b"9007199254740993"), Some(9007199254740992.0));
        let mut tipped = b"9007199254740993.".to_vec();
        tipped.extend([b'0'; 2000]);
        assert_eq!(string2d(&tipped), Some(9007199254740992.0));
        tipped.push(b'1');
        assert_eq!(string2d(&tipped), Some(9007199254740994.0));
        // An exponent that the digits make up for.
        let mut long = b"0.".to_vec();
        long.extend([b'0'; 99_999]);
        long.extend(b"1e100000");
        assert_eq!(string2d(&long), Some(1.0));
    }

    #[test]
    fn doubles_print_as_17g() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-17.0, "-17"),
            (0.1, "0.10000000000000001"),
            (3.3, "3.2999999999999998"),
            (0.5, "0.5"),
            (100.25, "100.25"),
            (1e15, "1000000000000000"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (1.5e17, "1.5e+17"),
            (123456789012345678.0, "1.2345678901234568e+17"),
            (1e22, "1e+22"),
            (1e100, "1e+100"),
            (0.0001, "0.0001"),
            (0.00012345, "0.00012344999999999999"),
            (0.00001, "1.0000000000000001e-05"),
            (2.0f64.powi(-25), "2.9802322387695312e-08"),
            (5e-324, "4.9406564584124654e-324"),
            (-f64::MAX, "-1.7976931348623157e+308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(B(&format_17g(value)), B(text.as_bytes()));
            assert_eq!(B(&d2string(value)), B(text.as_bytes()));
        }
        assert_eq!(&*format_17g(f64::NAN.copysign(-1.0)), b"-nan");
        assert_eq!(&*format_17g(f64::NAN.copysign(1.0)), b"nan");
        assert_eq!(&*d2string(f64::NAN.copysign(-1.0)), b"nan");
    }

    #[test]
    fn printed_doubles_are_read_back() {
        let seed = 0x5eed_0002u64;
        println!("seed {seed:#x}");
        let mut x = seed;
        for _ in 0..20_000 {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let value = f64::from_bits(x ^ x >> 29);
            if value.is_finite() {
                assert_eq!(string2d(&format_17g(value)).map(f64::to_bits), Some(value.to_bits()));
            }
        }
    }

    #[test]
    fn random_stream_is_hmac_of_a_counter() {
        let mut a = RandomBytes::new([7; 64]);
        let mut long = [0; 80];
        a.getRandomBytes(&mut long);
        let mut b = RandomBytes::new([7; 64]);
        let mut first = [0; 32];
        b.getRandomBytes(&mut first);
        assert_eq!(long[..32], first);
        assert_ne!(long[..32], long[32..64]);
        let mut id = [0; 40];
        b.getRandomHexChars(&mut id);
        assert!(id.iter().all(u8::is_ascii_hexdigit));
    }

    #[test]
    fn paths() {
        let cwd = std::env::current_dir().unwrap().into_os_string().into_encoded_bytes();
        assert_eq!(getAbsolutePath(b" /a/b\n"), Some(b"/a/b".to_vec()));
        assert_eq!(getAbsolutePath(b"x.conf"), Some([&cwd, b"/x.conf".as_slice()].concat()));
        let parent = &cwd[..cwd.iter().rposition(|&c| c == b'/').unwrap() + 1];
        assert_eq!(getAbsolutePath(b"../x"), Some([parent, b"x"].concat()));
        assert_eq!(getAbsolutePath(&b"../".repeat(50)), Some(b"/".to_vec()));
        assert!(pathIsBaseName(b"dump.rdb"));
        assert!(!pathIsBaseName(b"a/b") && !pathIsBaseName(b"a\\b"));
    }

    #[test]
    fn small_byte_tools() {
        assert_eq!(mempbrk(b"hello world", b"ow"), Some(4));
        assert_eq!(mempbrk(b"hello", b"xyz"), None);
        let mut s = b"hello".to_vec();
        memmapchars(&mut s, b"ho", b"01");
        assert_eq!(s, b"0ell1");
        assert_eq!(hex(&[0, 0xab, 0xff]), b"00abff");
    }
}
