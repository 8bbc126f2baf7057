//! What PUC takes from the C library: the classes of characters in the "C" locale, `strtod`, `strtoul`, `printf`, the
//! conversions of a double to an integer as x86-64 makes them, and `rand`.
//!
//! This has no file in PUC's source; what it has to equal is glibc.

/// The bytes up to the first NUL: what a C function sees of them.
pub fn cstr(s: &[u8]) -> &[u8] {
    s.iter().position(|&c| c == 0).map_or(s, |n| &s[..n])
}

fn byte(c: i32) -> u8 {
    u8::try_from(c).unwrap_or(0)
}

pub fn isdigit(c: i32) -> bool {
    byte(c).is_ascii_digit()
}

pub fn isalpha(c: i32) -> bool {
    byte(c).is_ascii_alphabetic()
}

pub fn isalnum(c: i32) -> bool {
    byte(c).is_ascii_alphanumeric()
}

/// Of a character that is none (the end of the input), false.
pub fn iscntrl(c: i32) -> bool {
    u8::try_from(c).is_ok_and(|c| c.is_ascii_control())
}

/// Blank, tab, newline, vertical tab, form feed, return.
pub fn isspace(c: i32) -> bool {
    matches!(byte(c), b' ' | 9..=13)
}

/// 2 to the power `e`, which is from -1074 to 1023.
fn pow2(e: i32) -> f64 {
    if e >= -1022 {
        f64::from_bits(((e + 1023) as u64) << 52)
    } else {
        f64::from_bits(1 << (e + 1074))
    }
}

/// `x` times 2 to the power `e`, rounded once.
pub fn ldexp(x: f64, e: i32) -> f64 {
    let bits = x.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i32;
    let fraction = bits & ((1 << 52) - 1);
    if x == 0.0 || exponent == 0x7ff {
        return x;
    }
    let (m, exp) =
        if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, exponent - 1075) };
    let scaled = scale(m, exp.saturating_add(e.clamp(-5000, 5000)), false);
    if x < 0.0 { -scaled } else { scaled }
}

/// `x` as a fraction of at least a half and less than one, and the power of two it is multiplied by.
pub fn frexp(x: f64) -> (f64, i32) {
    let bits = x.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i32;
    if x == 0.0 || exponent == 0x7ff {
        return (x, 0);
    }
    if exponent == 0 {
        let (m, e) = frexp(x * pow2(54));
        return (m, e - 54);
    }
    (f64::from_bits(bits & !(0x7ff << 52) | 1022 << 52), exponent - 1022)
}

/// `m * 2^exp`, rounded to the nearest double, a tie to the even one. `sticky`: there is something below the last bit of `m`.
fn scale(m: u64, exp: i32, sticky: bool) -> f64 {
    if m == 0 {
        return 0.0;
    }
    let shift = m.leading_zeros();
    let m = m << shift;
    let exp = exp.saturating_sub(shift as i32);
    let e = exp.saturating_add(63); // the exponent of the leading bit
    if e > 1023 {
        return f64::INFINITY;
    }
    let precision = if e >= -1022 { 53 } else { 53 - (-1022 - e) };
    if precision < 0 {
        return 0.0;
    }
    let dropped = 64 - precision as u32;
    let (mut q, rest, half) = if dropped == 64 {
        (0, m, 1 << 63)
    } else {
        (m >> dropped, m & ((1 << dropped) - 1), 1u64 << (dropped - 1))
    };
    if rest > half || rest == half && (sticky || q & 1 == 1) {
        q += 1;
    }
    let k = exp + dropped as i32;
    if q == 1 << 53 && k == 971 {
        return f64::INFINITY;
    }
    q as f64 * pow2(k)
}

/// `strtod`: the number at the beginning of `s`, and how many bytes it takes; 0 bytes if there is none.
pub fn strtod(s: &[u8]) -> (f64, usize) {
    let at = |i: usize| s.get(i).copied().unwrap_or(0);
    let mut p = s.iter().take_while(|&&c| isspace(i32::from(c))).count();
    let negative = at(p) == b'-';
    if negative || at(p) == b'+' {
        p += 1;
    }
    let sign = |x: f64| if negative { -x } else { x };
    let is = |p: usize, word: &[u8]| {
        s.len() >= p + word.len() && s[p..p + word.len()].eq_ignore_ascii_case(word)
    };
    if is(p, b"inf") {
        return (sign(f64::INFINITY), if is(p, b"infinity") { p + 8 } else { p + 3 });
    }
    if is(p, b"nan") {
        let mut end = p + 3;
        if at(end) == b'(' {
            let inside = s[end + 1..]
                .iter()
                .take_while(|&&c| c.is_ascii_alphanumeric() || c == b'_')
                .count();
            if at(end + 1 + inside) == b')' {
                end += inside + 2;
            }
        }
        let nan = f64::from_bits(0x7ff8 << 48);
        return (if negative { -nan } else { nan }, end);
    }
    if is(p, b"0x")
        && (at(p + 2).is_ascii_hexdigit() || at(p + 2) == b'.' && at(p + 3).is_ascii_hexdigit())
    {
        let (x, end) = strtod_hex(s, p + 2);
        return (sign(x), end);
    }
    let start = p;
    let mut digits = 0;
    while at(p).is_ascii_digit() {
        p += 1;
        digits += 1;
    }
    if at(p) == b'.' && (digits > 0 || at(p + 1).is_ascii_digit()) {
        p += 1;
        while at(p).is_ascii_digit() {
            p += 1;
            digits += 1;
        }
    }
    if digits == 0 {
        return (0.0, 0);
    }
    if at(p) | 0x20 == b'e' {
        let sign = usize::from(matches!(at(p + 1), b'+' | b'-'));
        if at(p + 1 + sign).is_ascii_digit() {
            p += 1 + sign;
            while at(p).is_ascii_digit() {
                p += 1;
            }
        }
    }
    let x = std::str::from_utf8(&s[start..p]).ok().and_then(|t| t.parse().ok()).unwrap_or(0.0);
    (sign(x), p)
}

/// The hexadecimal number at `p`, behind its `0x`, and where it ends.
fn strtod_hex(s: &[u8], mut p: usize) -> (f64, usize) {
    let at = |i: usize| s.get(i).copied().unwrap_or(0);
    let mut m: u64 = 0;
    let mut exp: i64 = 0;
    let mut sticky = false;
    let mut point = false;
    loop {
        let c = at(p);
        if c == b'.' && !point {
            point = true;
            p += 1;
            continue;
        }
        let Some(digit) = (c as char).to_digit(16) else { break };
        if m >> 60 == 0 {
            m = m << 4 | u64::from(digit);
            exp -= if point { 4 } else { 0 };
        } else {
            sticky |= digit != 0;
            exp += if point { 0 } else { 4 };
        }
        p += 1;
    }
    if at(p) | 0x20 == b'p' {
        let negative = at(p + 1) == b'-';
        let mut q = p + 1 + usize::from(matches!(at(p + 1), b'+' | b'-'));
        if at(q).is_ascii_digit() {
            let mut e: i64 = 0;
            while at(q).is_ascii_digit() {
                e = (e * 10 + i64::from(at(q) - b'0')).min(1 << 40);
                q += 1;
            }
            exp += if negative { -e } else { e };
            p = q;
        }
    }
    (scale(m, exp.clamp(-1 << 30, 1 << 30) as i32, sticky), p)
}

/// `strtoul`: the integer of base `base` (2 to 36) at the beginning of `s`, and how many bytes it takes; 0 bytes if there is
/// none. What does not fit is the largest, and a minus counts modulo 2^64.
pub fn strtoul(s: &[u8], base: u32) -> (u64, usize) {
    let at = |i: usize| s.get(i).copied().unwrap_or(0);
    let mut p = s.iter().take_while(|&&c| isspace(i32::from(c))).count();
    let negative = at(p) == b'-';
    if negative || at(p) == b'+' {
        p += 1;
    }
    if base == 16 && at(p) == b'0' && at(p + 1) | 0x20 == b'x' && at(p + 2).is_ascii_hexdigit() {
        p += 2;
    }
    let start = p;
    let mut n: Option<u64> = Some(0);
    while let Some(digit) = (at(p) as char).to_digit(base) {
        n = n.and_then(|n| n.checked_mul(u64::from(base))?.checked_add(u64::from(digit)));
        p += 1;
    }
    if p == start {
        return (0, 0);
    }
    match n {
        Some(n) => (if negative { n.wrapping_neg() } else { n }, p),
        None => (u64::MAX, p),
    }
}

/// A double as a 64-bit integer: cut towards zero, and the smallest if it does not fit.
pub fn d2ll(d: f64) -> i64 {
    if (-9223372036854775808.0..9223372036854775808.0).contains(&d) { d as i64 } else { i64::MIN }
}

/// A double as an unsigned 64-bit integer; negative ones count modulo 2^64.
pub fn d2ull(d: f64) -> u64 {
    if d >= 9223372036854775808.0 {
        d2ll(d - 9223372036854775808.0) as u64 ^ 1 << 63
    } else {
        d2ll(d) as u64
    }
}

/// A double as a 32-bit integer: cut towards zero, and the smallest if it does not fit.
pub fn d2i(d: f64) -> i32 {
    if d > -2147483649.0 && d < 2147483648.0 { d as i32 } else { i32::MIN }
}

/// A conversion of `printf` without its letter.
#[derive(Clone, Copy, Default, Debug)]
pub struct Spec {
    pub minus: bool,
    pub plus: bool,
    pub space: bool,
    pub alt: bool,
    pub zero: bool,
    pub width: usize,
    pub precision: Option<usize>,
}

impl Spec {
    /// Reads flags, width and precision.
    pub fn parse(form: &[u8]) -> Spec {
        let mut spec = Spec::default();
        let mut p = 0;
        let at = |i: usize| form.get(i).copied().unwrap_or(0);
        loop {
            match at(p) {
                b'-' => spec.minus = true,
                b'+' => spec.plus = true,
                b' ' => spec.space = true,
                b'#' => spec.alt = true,
                b'0' => spec.zero = true,
                _ => break,
            }
            p += 1;
        }
        while at(p).is_ascii_digit() {
            spec.width = spec.width * 10 + usize::from(at(p) - b'0');
            p += 1;
        }
        if at(p) == b'.' {
            p += 1;
            let mut n = 0;
            while at(p).is_ascii_digit() {
                n = n * 10 + usize::from(at(p) - b'0');
                p += 1;
            }
            spec.precision = Some(n);
        }
        spec
    }

    /// Appends `prefix` and `body`, filled up to the width; with zeros between them if `zeros`.
    fn fill(&self, out: &mut Vec<u8>, prefix: &[u8], body: &[u8], zeros: bool) {
        let n = self.width.saturating_sub(prefix.len() + body.len());
        if !self.minus && !zeros {
            out.resize(out.len() + n, b' ');
        }
        out.extend_from_slice(prefix);
        if !self.minus && zeros {
            out.resize(out.len() + n, b'0');
        }
        out.extend_from_slice(body);
        if self.minus {
            out.resize(out.len() + n, b' ');
        }
    }

    fn sign(&self, negative: bool) -> &'static [u8] {
        match (negative, self.plus, self.space) {
            (true, ..) => b"-",
            (false, true, _) => b"+",
            (false, false, true) => b" ",
            (false, false, false) => b"",
        }
    }

    /// `%d`, `%i`.
    pub fn signed(&self, out: &mut Vec<u8>, n: i64) {
        let digits = self.min_digits(n.unsigned_abs().to_string().into_bytes());
        self.fill(out, self.sign(n < 0), &digits, self.zero && self.precision.is_none());
    }

    /// `%u`, `%o`, `%x`, `%X`.
    pub fn unsigned(&self, out: &mut Vec<u8>, n: u64, conversion: u8) {
        let digits = match conversion {
            b'o' => format!("{n:o}"),
            b'x' => format!("{n:x}"),
            b'X' => format!("{n:X}"),
            _ => n.to_string(),
        };
        let mut digits = self.min_digits(digits.into_bytes());
        let mut prefix: &[u8] = b"";
        if self.alt {
            match conversion {
                b'o' if digits.first() != Some(&b'0') => digits.insert(0, b'0'),
                b'x' if n != 0 => prefix = b"0x",
                b'X' if n != 0 => prefix = b"0X",
                _ => {}
            }
        }
        self.fill(out, prefix, &digits, self.zero && self.precision.is_none());
    }

    fn min_digits(&self, mut digits: Vec<u8>) -> Vec<u8> {
        let Some(precision) = self.precision else { return digits };
        if digits == b"0" && precision == 0 {
            return Vec::new();
        }
        if digits.len() < precision {
            digits.splice(0..0, std::iter::repeat_n(b'0', precision - digits.len()));
        }
        digits
    }

    /// `%c`.
    pub fn char(&self, out: &mut Vec<u8>, c: u8) {
        self.fill(out, b"", &[c], false);
    }

    /// `%s`, of a string without NULs.
    pub fn string(&self, out: &mut Vec<u8>, s: &[u8]) {
        let n = self.precision.map_or(s.len(), |p| p.min(s.len()));
        self.fill(out, b"", &s[..n], false);
    }

    /// `%e`, `%f`, `%g` and their capitals.
    pub fn double(&self, out: &mut Vec<u8>, x: f64, conversion: u8) {
        let upper = conversion.is_ascii_uppercase();
        let sign = self.sign(x.is_sign_negative());
        if !x.is_finite() {
            let word: &[u8] = match (x.is_nan(), upper) {
                (true, false) => b"nan",
                (true, true) => b"NAN",
                (false, false) => b"inf",
                (false, true) => b"INF",
            };
            return self.fill(out, sign, word, false);
        }
        let x = x.abs();
        let precision = self.precision.unwrap_or(6);
        let mut body = match conversion.to_ascii_lowercase() {
            b'f' => fixed(x, precision, self.alt),
            b'e' => exponential(x, precision, self.alt),
            _ => general(x, precision, self.alt),
        };
        if upper {
            body.make_ascii_uppercase();
        }
        self.fill(out, sign, &body, self.zero);
    }
}

fn fixed(x: f64, precision: usize, alt: bool) -> Vec<u8> {
    let mut text = format!("{x:.precision$}").into_bytes();
    if alt && precision == 0 {
        text.push(b'.');
    }
    text
}

/// The digits of `x` with one before the point, and the power of ten.
fn scientific(x: f64, precision: usize) -> (Vec<u8>, i32) {
    let text = format!("{x:.precision$e}");
    match text.split_once('e') {
        Some((digits, exponent)) => (digits.into(), exponent.parse().unwrap_or(0)),
        None => (text.into_bytes(), 0),
    }
}

fn push_exponent(text: &mut Vec<u8>, exponent: i32) {
    let sign = if exponent < 0 { '-' } else { '+' };
    text.extend_from_slice(format!("e{sign}{:02}", exponent.abs()).as_bytes());
}

fn exponential(x: f64, precision: usize, alt: bool) -> Vec<u8> {
    let (mut text, exponent) = scientific(x, precision);
    if alt && precision == 0 {
        text.push(b'.');
    }
    push_exponent(&mut text, exponent);
    text
}

fn general(x: f64, precision: usize, alt: bool) -> Vec<u8> {
    let precision = precision.max(1);
    let (digits, exponent) = scientific(x, precision - 1);
    let short = exponent >= -4 && exponent < precision as i32;
    let mut text = if short {
        format!("{x:.*}", (precision as i32 - 1 - exponent) as usize).into_bytes()
    } else {
        digits
    };
    if alt {
        if !text.contains(&b'.') {
            text.push(b'.');
        }
    } else if text.contains(&b'.') {
        let kept = text.iter().rposition(|&c| c != b'0').unwrap_or(0);
        text.truncate(if text[kept] == b'.' { kept } else { kept + 1 });
    }
    if !short {
        push_exponent(&mut text, exponent);
    }
    text
}

/// `rand`, and `srand`: glibc's additive generator with 31 words of state.
#[derive(Clone)]
pub struct Rand {
    state: [i32; 31],
    front: usize,
    rear: usize,
}

/// The largest number that `Rand::rand` gives.
pub const RAND_MAX: i32 = i32::MAX;

impl Rand {
    /// The generator as `srand(seed)` leaves it.
    pub fn srand(seed: u32) -> Rand {
        let mut state = [0; 31];
        state[0] = if seed == 0 { 1 } else { seed as i32 };
        for i in 1..31 {
            let word = i64::from(state[i - 1]);
            let next = 16807 * (word % 127773) - 2836 * (word / 127773);
            state[i] = (if next < 0 { next + 2147483647 } else { next }) as i32;
        }
        let mut rand = Rand { state, front: 3, rear: 0 };
        for _ in 0..310 {
            rand.rand();
        }
        rand
    }

    /// The next number, from 0 to `RAND_MAX`.
    pub fn rand(&mut self) -> i32 {
        let sum = self.state[self.front].wrapping_add(self.state[self.rear]);
        self.state[self.front] = sum;
        self.front = (self.front + 1) % 31;
        self.rear = (self.rear + 1) % 31;
        (sum as u32 >> 1) as i32
    }
}
