//! The x86 long double, 80 bits wide, in integers: what INCRBYFLOAT counts with.
//!
//! Rust has no such type, and a double will not do: 10.5 + 0.1 printed with 17 decimals is 10.6 in
//! 64 bits of mantissa, and 10.59999999999999964 in 53. So here are its sum and product, rounded to
//! nearest even as the hardware does, its reading (`strtold`) and printing (`%.17Lf`, `%.17Lg`,
//! `%La` of glibc), exact to the last digit.
//!
//! Read first: [`LongDouble`], then [`string2ld`] and [`ld2string`] (both of `util.c`).
//! [`scan_float`] and its rounding also serve `strtod` in `util.rs`. Absent: what no command needs,
//! such as division and comparison. Differs: glibc (2.36) drops a bit when it rounds some
//! hexadecimal subnormals; here they are rounded correctly.

use std::cmp::Ordering;

// -----------------------------------------------------------------------------
// Rounding

/// A binary floating-point format. Numbers are `mant * 2^exp` with an integer mantissa.
pub struct FloatFormat {
    /// Bits of a mantissa.
    prec: u32,
    /// The least exponent: that of subnormal numbers and of the smallest normal ones.
    min_exp: i64,
    /// The greatest exponent.
    max_exp: i64,
}

/// A double.
pub const BINARY64: FloatFormat = FloatFormat { prec: 53, min_exp: -1074, max_exp: 971 };
/// An x86 long double.
pub const X87: FloatFormat = FloatFormat { prec: 64, min_exp: -16445, max_exp: 16320 };

/// A magnitude in a [`FloatFormat`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rounded {
    /// The mantissa; its top bit is set unless `exp` is the least one.
    pub mant: u64,
    /// The exponent of its lowest bit.
    pub exp: i32,
    /// The magnitude is beyond the greatest finite number; the other fields mean nothing.
    pub overflow: bool,
    /// The magnitude is below the normal numbers, and lost digits there: what `strtod` calls
    /// ERANGE.
    pub underflow: bool,
}

impl Rounded {
    const ZERO: Rounded = Rounded { mant: 0, exp: 0, overflow: false, underflow: false };
    const OVERFLOW: Rounded = Rounded { mant: 0, exp: 0, overflow: true, underflow: false };

    /// Returns the bits of a double, from a rounding to [`BINARY64`].
    pub fn bits64(&self) -> u64 {
        if self.overflow {
            f64::INFINITY.to_bits()
        } else if self.mant >> 52 == 0 {
            self.mant
        } else {
            ((self.exp + 1075) as u64) << 52 | (self.mant & ((1 << 52) - 1))
        }
    }
}

/// Returns `mant >> shift`, rounded to nearest even; `sticky` says that there is a little more than
/// `mant`. Also tells whether anything was lost.
fn shift_round(mant: u128, shift: u32, sticky: bool) -> (u128, bool) {
    if shift == 0 {
        return (mant, sticky);
    }
    let (q, rem) = match shift {
        1..=127 => (mant >> shift, mant & ((1 << shift) - 1)),
        _ => (0, mant),
    };
    let half = match shift {
        1..=128 => rem.cmp(&(1 << (shift - 1))),
        _ => Ordering::Less,
    };
    let up = match half {
        Ordering::Less => false,
        Ordering::Equal => sticky || q & 1 == 1,
        Ordering::Greater => true,
    };
    (q + u128::from(up), rem != 0 || sticky)
}

/// Rounds `mant * 2^exp` (and a little more if `sticky`, which asks for two bits of `mant` beyond
/// the precision).
fn round(mant: u128, exp: i64, sticky: bool, format: &FloatFormat) -> Rounded {
    let bits = i64::from(128 - mant.leading_zeros());
    if bits == 0 {
        return Rounded::ZERO;
    }
    let prec = i64::from(format.prec);
    let mut lsb = (exp + bits - prec).max(format.min_exp);
    let (mut q, inexact) = if lsb <= exp {
        debug_assert!(!sticky);
        (mant << (exp - lsb), false)
    } else {
        shift_round(mant, u32::try_from(lsb - exp).unwrap_or(u32::MAX), sticky)
    };
    if q >> prec != 0 {
        q >>= 1;
        lsb += 1;
    }
    if lsb > format.max_exp {
        return Rounded::OVERFLOW;
    }

    // Small counts after rounding, but as if there were no least exponent.
    let underflow = inexact && {
        let below = format.min_exp + prec - 1 - (exp + bits - 1);
        let carries = bits > prec && shift_round(mant, (bits - prec) as u32, sticky).0 >> prec != 0;
        below > i64::from(carries)
    };
    Rounded { mant: q as u64, exp: lsb as i32, overflow: false, underflow }
}

// -----------------------------------------------------------------------------
// Large integers, for what 128 bits do not hold. Little end first, no zero limbs at the top.

#[derive(Clone, PartialEq, Eq)]
struct Big(Vec<u64>);

/// The largest power of five in 64 bits.
const POW5_27: u64 = 5u64.pow(27);

impl Big {
    fn from(v: u64) -> Big {
        Big(if v == 0 { vec![] } else { vec![v] })
    }

    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    fn bits(&self) -> usize {
        self.0.last().map_or(0, |top| self.0.len() * 64 - top.leading_zeros() as usize)
    }

    fn mul_add(&mut self, factor: u64, term: u64) {
        let mut carry = term as u128;
        for limb in &mut self.0 {
            carry += *limb as u128 * factor as u128;
            *limb = carry as u64;
            carry >>= 64;
        }
        if carry != 0 {
            self.0.push(carry as u64);
        }
    }

    fn mul_pow5(&mut self, mut n: u32) {
        while n >= 27 {
            self.mul_add(POW5_27, 0);
            n -= 27;
        }
        self.mul_add(5u64.pow(n), 0);
    }

    fn shl(&mut self, n: usize) {
        if self.is_zero() {
            return;
        }
        let (limbs, bits) = (n / 64, n % 64);
        if bits != 0 {
            self.mul_add(1 << bits, 0);
        }
        self.0.splice(0..0, std::iter::repeat_n(0, limbs));
    }

    fn sub(&mut self, other: &Big) {
        let mut borrow = false;
        for (i, limb) in self.0.iter_mut().enumerate() {
            let (d, b1) = limb.overflowing_sub(other.0.get(i).copied().unwrap_or(0));
            let (d, b2) = d.overflowing_sub(u64::from(borrow));
            *limb = d;
            borrow = b1 || b2;
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn cmp(&self, other: &Big) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    /// Divides by `d` and returns the remainder.
    fn div_small(&mut self, d: u64) -> u64 {
        let mut rem = 0u128;
        for limb in self.0.iter_mut().rev() {
            let n = rem << 64 | *limb as u128;
            *limb = (n / d as u128) as u64;
            rem = n % d as u128;
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        rem as u64
    }

    /// Returns the top 128 bits, the exponent of the lowest of them, and whether there is more
    /// below.
    fn top(&self) -> (u128, i64, bool) {
        let limb = |i: usize| self.0.get(i).copied().unwrap_or(0) as u128;
        let n = self.0.len();
        if n <= 2 {
            return (limb(1) << 64 | limb(0), 0, false);
        }
        let shift = self.0[n - 1].leading_zeros();
        let mut top = (limb(n - 1) << 64 | limb(n - 2)) << shift;
        let below = limb(n - 3) << shift;
        top |= below >> 64;
        let sticky = below as u64 != 0 || self.0[..n - 3].iter().any(|&l| l != 0);
        (top, (n as i64 - 2) * 64 - i64::from(shift), sticky)
    }

    /// Returns the first `count` bits of `self / d`, from the one of weight `2^k` down, where `2^k`
    /// is the highest that the quotient can have. Returns them, the exponent of the lowest, and how
    /// the rest compares with half of it, as (rest is not zero, order against the half).
    fn div_bits(mut self, mut d: Big, count: usize) -> (u128, i64, bool, Ordering) {
        let k = self.bits() as i64 - d.bits() as i64;
        if k < 0 {
            self.shl(-k as usize);
        } else {
            d.shl(k as usize);
        }
        let mut q = 0u128;
        for _ in 0..count {
            q <<= 1;
            if self.cmp(&d) != Ordering::Less {
                self.sub(&d);
                q |= 1;
            }
            self.shl(1);
        }
        // The rest has been doubled already.
        (q, k + 1 - count as i64, !self.is_zero(), self.cmp(&d))
    }
}

// -----------------------------------------------------------------------------
// Reading

/// The parts of a float that [`scan_float`] found, as text.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum FloatText<'a> {
    /// `nan`, with or without parentheses.
    Nan,
    /// `inf` or `infinity`.
    Infinity,
    /// The digits before and behind the point, and the power of ten to multiply with.
    Decimal { integer: &'a [u8], fraction: &'a [u8], exponent: i64 },
    /// The hexadecimal digits before and behind the point, and the power of two to multiply with.
    Hex { integer: &'a [u8], fraction: &'a [u8], exponent: i64 },
}

/// A float as `strtod` and `strtold` see it.
#[derive(Clone, Copy, Debug)]
pub struct ScannedFloat<'a> {
    /// True if there is a minus.
    pub negative: bool,
    /// The number of bytes of the float.
    pub len: usize,
    /// The value.
    pub kind: FloatText<'a>,
}

/// Finds the longest float that `s` starts with, as the C library defines it (without blanks in
/// front): decimal, hexadecimal, `inf`, `infinity`, `nan`, `nan(chars)`, in any case, with a sign.
/// None if there is none.
pub fn scan_float(s: &[u8]) -> Option<ScannedFloat<'_>> {
    let negative = s.first() == Some(&b'-');
    let start = usize::from(negative || s.first() == Some(&b'+'));
    let rest = &s[start..];
    let starts_with =
        |word: &[u8]| rest.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));

    if starts_with(b"inf") {
        let len = start + if starts_with(b"infinity") { 8 } else { 3 };
        return Some(ScannedFloat { negative, len, kind: FloatText::Infinity });
    }
    if starts_with(b"nan") {
        let mut len = start + 3;
        if rest.get(3) == Some(&b'(') {
            let chars =
                rest[4..].iter().take_while(|c| c.is_ascii_alphanumeric() || **c == b'_').count();
            if rest.get(4 + chars) == Some(&b')') {
                len += chars + 2;
            }
        }
        return Some(ScannedFloat { negative, len, kind: FloatText::Nan });
    }
    if starts_with(b"0x") {
        let is_digit: fn(&u8) -> bool = u8::is_ascii_hexdigit;
        if let Some((integer, fraction, exponent, len)) = scan_digits(&rest[2..], is_digit, b'p') {
            let kind = FloatText::Hex { integer, fraction, exponent };
            return Some(ScannedFloat { negative, len: start + 2 + len, kind });
        }
    }
    let (integer, fraction, exponent, len) = scan_digits(rest, u8::is_ascii_digit, b'e')?;
    let kind = FloatText::Decimal { integer, fraction, exponent };
    Some(ScannedFloat { negative, len: start + len, kind })
}

/// Digits with at most one point among them, and an exponent behind `mark`, which counts only if it
/// has a digit.
fn scan_digits(
    s: &[u8],
    is_digit: fn(&u8) -> bool,
    mark: u8,
) -> Option<(&[u8], &[u8], i64, usize)> {
    let run = |from: usize, is: fn(&u8) -> bool| {
        s.get(from..).unwrap_or_default().iter().take_while(|c| is(c)).count()
    };
    let integer = &s[..run(0, is_digit)];
    let mut len = integer.len();
    let mut fraction: &[u8] = &[];
    if s.get(len) == Some(&b'.') {
        fraction = &s[len + 1..][..run(len + 1, is_digit)];
        len += 1 + fraction.len();
    }
    if integer.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut exponent = 0i64;
    if s.get(len).is_some_and(|c| c.eq_ignore_ascii_case(&mark)) {
        let signed = matches!(s.get(len + 1), Some(b'+' | b'-'));
        let first = len + 1 + usize::from(signed);
        let digits = run(first, u8::is_ascii_digit);
        if digits > 0 {
            for &c in &s[first..first + digits] {
                exponent = (exponent * 10 + i64::from(c - b'0')).min(1 << 50);
            }
            if s[len + 1] == b'-' {
                exponent = -exponent;
            }
            len = first + digits;
        }
    }
    Some((integer, fraction, exponent, len))
}

impl ScannedFloat<'_> {
    /// Returns the magnitude in `format`, correctly rounded. Infinity is an overflow, and NaN is
    /// zero: ask before.
    pub fn round(&self, format: &FloatFormat) -> Rounded {
        match self.kind {
            FloatText::Nan => Rounded::ZERO,
            FloatText::Infinity => Rounded::OVERFLOW,
            FloatText::Decimal { integer, fraction, exponent } => {
                round_decimal(integer, fraction, exponent, format)
            }
            FloatText::Hex { integer, fraction, exponent } => {
                round_hex(integer, fraction, exponent, format)
            }
        }
    }
}

fn round_hex(integer: &[u8], fraction: &[u8], exponent: i64, format: &FloatFormat) -> Rounded {
    // 31 digits leave two bits below any mantissa; of the rest only matters whether it is zero.
    let (mut mant, mut taken, mut sticky) = (0u128, 0i64, false);
    for &c in integer.iter().chain(fraction) {
        let digit = (c as char).to_digit(16).unwrap_or(0);
        if mant >> 120 == 0 {
            mant = mant << 4 | u128::from(digit);
            taken += 1;
        } else {
            sticky |= digit != 0;
        }
    }
    let exp = exponent + 4 * (integer.len() as i64 - taken);
    round(mant, exp, sticky, format)
}

fn round_decimal(integer: &[u8], fraction: &[u8], exponent: i64, format: &FloatFormat) -> Rounded {
    // The number is 0.ddd * 10^point, the first and the last of `count` digits not being zero.
    let all = || integer.iter().chain(fraction).copied();
    let Some(first) = all().position(|c| c != b'0') else { return Rounded::ZERO };
    let trailing = fraction.iter().rev().chain(integer.iter().rev()).take_while(|c| **c == b'0');
    let count = integer.len() + fraction.len() - first - trailing.count();
    let digits = || all().skip(first).take(count);
    let point = exponent + integer.len() as i64 - first as i64;
    if point > 5000 {
        return Rounded::OVERFLOW;
    }
    if point < -5100 {
        return Rounded { underflow: true, ..Rounded::ZERO };
    }

    // Up to 19 digits and 27 powers of ten: exact in 128 bits, but for a division.
    let exp10 = point - count as i64;
    if count <= 19 && exp10.abs() <= 27 {
        let w = digits().fold(0u64, |w, c| w * 10 + u64::from(c - b'0'));
        let pow5 = u128::from(5u64.pow(exp10.unsigned_abs() as u32));
        if exp10 >= 0 {
            return round(u128::from(w) * pow5, exp10, false, format);
        }
        let zeros = w.leading_zeros();
        let n = u128::from(w << zeros) << 64;
        return round(n / pow5, exp10 - 64 - i64::from(zeros), n % pow5 != 0, format);
    }

    // No half-way point between two numbers has more digits than this: what is behind them only has
    // to be seen.
    let limit = if format.prec == 53 { 800 } else { 12_000 };
    let mut w = Big::from(0);
    for c in digits().take(limit) {
        w.mul_add(10, u64::from(c - b'0'));
    }
    let mut exp10 = exp10;
    if count > limit {
        w.mul_add(10, 1);
        exp10 = point - limit as i64 - 1;
    }
    if exp10 >= 0 {
        w.mul_pow5(exp10 as u32);
        let (top, exp, sticky) = w.top();
        return round(top, exp + exp10, sticky, format);
    }
    let mut d = Big::from(1);
    d.mul_pow5(exp10.unsigned_abs() as u32);
    let (q, exp, sticky, _) = w.div_bits(d, 68);
    round(q, exp + exp10, sticky, format)
}

// -----------------------------------------------------------------------------
// The number

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    Finite,
    Infinite,
    Nan,
}

/// An x86 long double: `mant * 2^exp` with 64 bits of mantissa and 15 of exponent, infinities and
/// NaN.
#[derive(Clone, Copy, Debug)]
pub struct LongDouble {
    class: Class,
    negative: bool,
    mant: u64,
    exp: i32,
}

impl LongDouble {
    /// Zero, without a sign.
    pub const ZERO: LongDouble =
        LongDouble { class: Class::Finite, negative: false, mant: 0, exp: 0 };
    /// The NaN that an operation without a result yields; negative on x86.
    const INDEFINITE: LongDouble =
        LongDouble { class: Class::Nan, negative: true, mant: 0, exp: 0 };

    fn rounded(negative: bool, r: Rounded) -> LongDouble {
        let class = if r.overflow { Class::Infinite } else { Class::Finite };
        LongDouble { class, negative, mant: r.mant, exp: r.exp }
    }

    /// Converts an integer, exactly.
    pub fn from_i64(v: i64) -> LongDouble {
        LongDouble::rounded(v < 0, round(u128::from(v.unsigned_abs()), 0, false, &X87))
    }

    /// Converts a double, exactly.
    pub fn from_f64(v: f64) -> LongDouble {
        let negative = v.is_sign_negative();
        let class = if v.is_nan() {
            Class::Nan
        } else if v.is_infinite() {
            Class::Infinite
        } else {
            let bits = v.to_bits();
            let (biased, fraction) = ((bits >> 52 & 0x7ff) as i64, bits & ((1 << 52) - 1));
            let mant = if biased == 0 { fraction } else { fraction | 1 << 52 };
            let r = round(u128::from(mant), biased.max(1) - 1075, false, &X87);
            return LongDouble::rounded(negative, r);
        };
        LongDouble { class, negative, mant: 0, exp: 0 }
    }

    /// Returns the nearest double.
    pub fn to_f64(self) -> f64 {
        let magnitude = match self.class {
            Class::Nan => f64::NAN,
            Class::Infinite => f64::INFINITY,
            Class::Finite => {
                let r = round(u128::from(self.mant), i64::from(self.exp), false, &BINARY64);
                f64::from_bits(r.bits64())
            }
        };
        magnitude.copysign(if self.negative { -1.0 } else { 1.0 })
    }

    /// Returns the integer part, as a cast to `long long` gives it on x86: anything out of range,
    /// and NaN, is `i64::MIN`.
    pub fn to_i64(self) -> i64 {
        if self.class != Class::Finite || self.exp > 0 && self.mant != 0 {
            return i64::MIN;
        }
        let magnitude = self.mant.checked_shr(self.exp.unsigned_abs()).unwrap_or(0);
        match i64::try_from(magnitude) {
            Ok(v) if self.negative => -v,
            Ok(v) => v,
            Err(_) => i64::MIN,
        }
    }

    /// Returns the smallest integer that is not below the value, cast in the same way: `(long long)
    /// ceill(value)`.
    pub fn ceil_to_i64(self) -> i64 {
        let whole = self.to_i64();
        if whole == i64::MIN || self.negative {
            return whole; // a cast rounds towards zero
        }
        let mask = 1u64.checked_shl(self.exp.unsigned_abs()).map_or(u64::MAX, |bit| bit - 1);
        if self.mant & mask != 0 { whole.wrapping_add(1) } else { whole }
    }

    /// Tells whether the value is NaN.
    pub fn is_nan(self) -> bool {
        self.class == Class::Nan
    }

    /// Tells whether the value is infinite, of either sign.
    pub fn is_infinite(self) -> bool {
        self.class == Class::Infinite
    }
}

impl std::ops::Add for LongDouble {
    type Output = LongDouble;

    fn add(self, other: LongDouble) -> LongDouble {
        match (self.class, other.class) {
            (Class::Nan, _) => return self,
            (_, Class::Nan) => return other,
            (Class::Infinite, Class::Infinite) if self.negative != other.negative => {
                return LongDouble::INDEFINITE;
            }
            (Class::Infinite, _) => return self,
            (_, Class::Infinite) => return other,
            (Class::Finite, Class::Finite) => {}
        }
        match (self.mant, other.mant) {
            (0, 0) => {
                return LongDouble {
                    negative: self.negative && other.negative,
                    ..LongDouble::ZERO
                };
            }
            (0, _) => return other,
            (_, 0) => return self,
            _ => {}
        }

        // With 63 bits below it, the larger number meets the smaller one shifted down; what falls
        // off is remembered.
        let swap = (other.exp, other.mant) > (self.exp, self.mant);
        let (a, b) = if swap { (other, self) } else { (self, other) };
        let down = (a.exp - b.exp) as u32;
        let x = u128::from(a.mant) << 63;
        let full = u128::from(b.mant) << 63;
        let y = full.checked_shr(down).unwrap_or(0);
        let sticky = y.checked_shl(down).unwrap_or(0) != full;
        let sum = if a.negative == b.negative { x + y } else { x - y - u128::from(sticky) };
        if sum == 0 {
            return LongDouble::ZERO;
        }
        LongDouble::rounded(a.negative, round(sum, i64::from(a.exp) - 63, sticky, &X87))
    }
}

impl std::ops::Mul for LongDouble {
    type Output = LongDouble;

    fn mul(self, other: LongDouble) -> LongDouble {
        let negative = self.negative != other.negative;
        let zero = |v: LongDouble| v.class == Class::Finite && v.mant == 0;
        match (self.class, other.class) {
            (Class::Nan, _) => self,
            (_, Class::Nan) => other,
            (Class::Finite, Class::Finite) => {
                let product = u128::from(self.mant) * u128::from(other.mant);
                let exp = i64::from(self.exp) + i64::from(other.exp);
                LongDouble::rounded(negative, round(product, exp, false, &X87))
            }
            _ if zero(self) || zero(other) => LongDouble::INDEFINITE,
            _ => LongDouble { class: Class::Infinite, negative, mant: 0, exp: 0 },
        }
    }
}

// -----------------------------------------------------------------------------
// util.c

/// The size of the C's buffer for the text of a long double.
pub const MAX_LONG_DOUBLE_CHARS: usize = 5 * 1024;

/// Reads a long double that takes up all of `s`, in any form that `strtold` knows, `inf` included.
///
/// None for NaN, blanks around, text of [`MAX_LONG_DOUBLE_CHARS`] and more, and numbers that round
/// to infinity or, not being zero, to zero.
pub fn string2ld(s: &[u8]) -> Option<LongDouble> {
    if s.len() >= MAX_LONG_DOUBLE_CHARS {
        return None;
    }
    let text = scan_float(s)?;
    if text.len != s.len() || text.kind == FloatText::Nan {
        return None;
    }
    let r = text.round(&X87);
    if (r.overflow && text.kind != FloatText::Infinity) || (r.underflow && r.mant == 0) {
        return None;
    }
    Some(LongDouble::rounded(text.negative, r))
}

/// The format of [`ld2string`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ld2string_mode {
    /// `%.17Lg`.
    LD_STR_AUTO,
    /// `%.17Lf` without trailing zeros, without a sign on zero: what people get to see.
    LD_STR_HUMAN,
    /// `%La`: all bits, in hexadecimal.
    LD_STR_HEX,
}
pub use ld2string_mode::*;

/// Returns the text of a long double.
pub fn ld2string(value: LongDouble, mode: ld2string_mode) -> Vec<u8> {
    let mut out = Vec::with_capacity(48);
    if value.negative {
        out.push(b'-');
    }
    match value.class {
        Class::Infinite => out.extend_from_slice(b"inf"),
        Class::Nan => out.extend_from_slice(b"nan"),
        Class::Finite => match mode {
            LD_STR_AUTO => print_auto(value, &mut out),
            LD_STR_HEX => print_hex(value, &mut out),
            LD_STR_HUMAN => {
                print_human(value, &mut out);
                if out == b"-0" {
                    out.remove(0);
                }
            }
        },
    }
    out
}

fn print_human(value: LongDouble, out: &mut Vec<u8>) {
    const DECIMALS: u64 = 10u64.pow(17);
    if value.exp > 0 {
        // An integer of more than 64 bits, printed in pieces of 19 digits.
        let mut n = Big::from(value.mant);
        n.shl(value.exp as usize);
        let mut pieces = Vec::new();
        while !n.is_zero() {
            pieces.push(n.div_small(10u64.pow(19)));
        }
        out.extend_from_slice(itoa::Buffer::new().format(pieces.pop().unwrap_or(0)).as_bytes());
        for piece in pieces.iter().rev() {
            push_padded(out, *piece, 19);
        }
        return;
    }
    // 64 bits of mantissa and 57 of 10^17.
    let scaled = u128::from(value.mant) * u128::from(DECIMALS);
    let (scaled, _) = shift_round(scaled, value.exp.unsigned_abs(), false);
    let (integer, mut fraction) =
        ((scaled / u128::from(DECIMALS)) as u64, (scaled % u128::from(DECIMALS)) as u64);
    out.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
    if fraction != 0 {
        let mut width = 17;
        while fraction % 10 == 0 {
            fraction /= 10;
            width -= 1;
        }
        out.push(b'.');
        push_padded(out, fraction, width);
    }
}

fn push_padded(out: &mut Vec<u8>, v: u64, width: usize) {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(v).as_bytes();
    out.extend(std::iter::repeat_n(b'0', width - text.len()));
    out.extend_from_slice(text);
}

fn print_auto(value: LongDouble, out: &mut Vec<u8>) {
    if value.mant == 0 {
        out.push(b'0');
        return;
    }
    // Guess the exponent of ten from that of two, and correct the guess by looking at the 17 digits
    // it gives.
    let top = value.exp + 63 - value.mant.leading_zeros() as i32;
    let mut exponent = (f64::from(top) * std::f64::consts::LOG10_2).floor() as i32;
    let digits = loop {
        let scale = 16 - exponent;
        let (mut n, mut d) = (Big::from(value.mant), Big::from(1));
        if scale >= 0 { &mut n } else { &mut d }.mul_pow5(scale.unsigned_abs());
        let exp2 = value.exp + scale;
        if exp2 >= 0 { &mut n } else { &mut d }.shl(exp2.unsigned_abs() as usize);

        // The integer part of the quotient, rounded to nearest even.
        let count = n.bits() as i64 - d.bits() as i64 + 1;
        let (q, exp, _, rest) = n.div_bits(d, count.clamp(1, 127) as usize);
        let q = if exp == 0 { q } else { 0 };
        if q < 10u128.pow(16) {
            exponent -= 1;
            continue;
        }
        if q >= 10u128.pow(17) {
            exponent += 1;
            continue;
        }
        let up = rest == Ordering::Greater || rest == Ordering::Equal && q & 1 == 1;
        let q = q as u64 + u64::from(up);
        if q == 10u64.pow(17) {
            exponent += 1;
            break 10u64.pow(16);
        }
        break q;
    };
    let mut text = [0; 17];
    text.copy_from_slice(itoa::Buffer::new().format(digits).as_bytes());
    layout_17g(&text, exponent, |part| out.extend_from_slice(part));
}

/// Lays out 17 significant digits and the exponent of the first as `%.17g` does, in pieces given to
/// `push`.
pub fn layout_17g(digits: &[u8; 17], exponent: i32, mut push: impl FnMut(&[u8])) {
    let significant = 17 - digits.iter().rev().take_while(|&&c| c == b'0').count();
    let digits = &digits[..significant.max(1)];
    if !(-4..17).contains(&exponent) {
        push(&digits[..1]);
        if digits.len() > 1 {
            push(b".");
            push(&digits[1..]);
        }
        push(if exponent < 0 { b"e-" } else { b"e+" });
        if exponent.abs() < 10 {
            push(b"0");
        }
        push(itoa::Buffer::new().format(exponent.abs()).as_bytes());
    } else if exponent < 0 {
        push(&b"0.000"[..1 + exponent.unsigned_abs() as usize]);
        push(digits);
    } else {
        let integer = exponent as usize + 1;
        push(&digits[..integer.min(digits.len())]);
        if digits.len() > integer {
            push(b".");
            push(&digits[integer..]);
        } else {
            push(&b"0000000000000000"[..integer - digits.len()]);
        }
    }
}

fn print_hex(value: LongDouble, out: &mut Vec<u8>) {
    // One digit before the point and fifteen behind it.
    let digits = format!("{:016x}", value.mant);
    let fraction = digits[1..].trim_end_matches('0');
    let exponent = if value.mant == 0 { 0 } else { value.exp + 60 };
    out.extend_from_slice(b"0x");
    out.extend_from_slice(&digits.as_bytes()[..1]);
    if !fraction.is_empty() {
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
    }
    out.extend_from_slice(format!("p{exponent:+}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ld(text: &str) -> LongDouble {
        string2ld(text.as_bytes()).unwrap_or_else(|| panic!("{text:?} is a long double"))
    }

    fn text(value: LongDouble, mode: ld2string_mode) -> String {
        String::from_utf8(ld2string(value, mode)).unwrap()
    }

    fn all(value: LongDouble) -> [String; 3] {
        [LD_STR_HUMAN, LD_STR_AUTO, LD_STR_HEX].map(|mode| text(value, mode))
    }

    /// Read and printed as x86-64 with glibc does.
    #[test]
    fn reading_and_printing() {
        for (input, human, auto, hex) in [
            ("10.5", "10.5", "10.5", "0xa.8p+0"),
            ("3.0e3", "3000", "3000", "0xb.b8p+8"),
            ("1", "1", "1", "0x8p-3"),
            ("+.1", "0.1", "0.1", "0xc.ccccccccccccccdp-7"),
            ("-0", "0", "-0", "-0x0p+0"),
            ("0e9999999", "0", "0", "0x0p+0"),
            ("0x1.8p3", "12", "12", "0xcp+0"),
            ("inf", "inf", "inf", "inf"),
            ("-Infinity", "-inf", "-inf", "-inf"),
            (
                "123456789012345678901234567890",
                "123456789012345678899921813504",
                "1.2345678901234568e+29",
                "0xc.77487fb61b9f077p+93",
            ),
            (
                "9223372036854775807",
                "9223372036854775807",
                "9.2233720368547758e+18",
                "0xf.ffffffffffffffep+59",
            ),
            ("0.000000000000000005", "0", "5e-18", "0xb.877aa3236a4b449p-61"),
            ("0.00001234", "0.00001234", "1.234e-05", "0xc.f07e57c9c07ddfp-20"),
            ("99999999999999999.5", "99999999999999999.5", "1e+17", "0xb.1a2bc2ec4ffffcp+53"),
            // The smallest, and what rounds to it.
            ("3e-4951", "0", "3.6451995318824746e-4951", "0x0.000000000000001p-16385"),
            ("0x1p-16445", "0", "3.6451995318824746e-4951", "0x0.000000000000001p-16385"),
            // Half-way between two mantissas: to the even one.
            ("0x8000000000000000.8", "9223372036854775808", "9.2233720368547758e+18", "0x8p+60"),
            (
                "0x8000000000000001.8",
                "9223372036854775810",
                "9.2233720368547758e+18",
                "0x8.000000000000002p+60",
            ),
            (
                "9223372036854775809.5",
                "9223372036854775810",
                "9.2233720368547758e+18",
                "0x8.000000000000002p+60",
            ),
        ] {
            assert_eq!(all(ld(input)), [human, auto, hex], "{input}");
        }
        let largest = ld("1.18973149535723176502e4932");
        assert_eq!(text(largest, LD_STR_HEX), "0xf.fffffffffffffffp+16380");
        let digits = text(largest, LD_STR_HUMAN);
        assert_eq!(digits.len(), 4933);
        assert!(digits.starts_with("11897314953572317650212638530309702051690633222946242004403"));
        assert!(digits.ends_with("69508849149662444156604419552086811989770240"));
    }

    #[test]
    fn refused() {
        for bad in [
            "",
            ".",
            "-",
            "e1",
            "1e",
            "1e+",
            "0x",
            "0x.p1",
            " 1",
            "1 ",
            "1\0",
            "1,5",
            "nan",
            "-nan",
            "nan(1)",
            "infi",
            "1.1897314953572317651e4932",
            "1e5000",
            "-1e99999999999999999999",
            "1.8e-4951",
            "1e-5000",
            "0x1p-16447",
            "0x1p16384",
        ] {
            assert!(string2ld(bad.as_bytes()).is_none(), "{bad:?}");
        }
        let mut long = vec![b'0'; MAX_LONG_DOUBLE_CHARS - 1];
        assert!(string2ld(&long).is_some());
        long.push(b'0');
        assert!(string2ld(&long).is_none());
    }

    /// Sums and products of x86-64.
    #[test]
    fn arithmetic() {
        for (a, b, sum, product) in [
            ("10.5", "0.1", "0xa.99999999999999ap+0", "0x8.666666666666667p-3"),
            ("0.1", "0.2", "0x9.99999999999999ap-5", "0xa.3d70a3d70a3d70bp-9"),
            ("-0", "0", "0x0p+0", "-0x0p+0"),
            ("-0", "-0", "-0x0p+0", "0x0p+0"),
            ("5.0", "-5.0", "0x0p+0", "-0xc.8p+1"),
            ("0x1.8p3", "1e-30", "0xcp+0", "0xf.3638ff30d1f7a4bp-100"),
            ("1e4932", "1e4932", "inf", "inf"),
            ("3.6e-4951", "1", "0x8p-3", "0x0.000000000000001p-16385"),
            ("inf", "-inf", "-nan", "-inf"),
            ("inf", "0", "inf", "-nan"),
            ("-inf", "2", "-inf", "-inf"),
            ("9223372036854775807", "1", "0x8p+60", "0xf.ffffffffffffffep+59"),
            ("-9223372036854775808", "1000", "-0xf.ffffffffffff83p+59", "-0xf.ap+69"),
            ("0.0000000000000000049", "1", "0x8.00000000000002dp-3", "0xb.4c731083fca5ec2p-61"),
            ("0x8000000000000001.8", "1", "0x8.000000000000003p+60", "0x8.000000000000002p+60"),
            ("1e17", "0x1p-64", "0xb.1a2bc2ec5p+53", "0xb.1a2bc2ec5p-11"),
            // Half-way, and a hair beyond on either side.
            ("0x8000000000000000", "0x.8", "0x8p+60", "0x8p+59"),
            (
                "0x8000000000000000",
                "0x.8000000000000001",
                "0x8.000000000000001p+60",
                "0x8.000000000000001p+59",
            ),
            (
                "0x8000000000000001",
                "-0x1p-70",
                "0x8.000000000000001p+60",
                "-0x8.000000000000001p-10",
            ),
            ("0x8000000000000000", "-0x1p-70", "0x8p+60", "-0x8p-10"),
            ("0x8000000000000000", "-0x.4", "0x8p+60", "-0x8p+58"),
            ("0x8000000000000000", "-0x.c", "0xf.ffffffffffffffep+59", "-0xcp+59"),
        ] {
            let (x, y) = (ld(a), ld(b));
            assert_eq!(text(x + y, LD_STR_HEX), sum, "{a} + {b}");
            assert_eq!(text(y + x, LD_STR_HEX), sum, "{b} + {a}");
            assert_eq!(text(x * y, LD_STR_HEX), product, "{a} * {b}");
            assert_eq!(text(y * x, LD_STR_HEX), product, "{b} * {a}");
        }
        assert_eq!(text(ld("10.5") + ld("0.1"), LD_STR_HUMAN), "10.6");
        assert!((ld("inf") + ld("-inf")).is_nan() && (ld("1e4932") + ld("1e4932")).is_infinite());
    }

    #[test]
    fn conversions() {
        for v in [0, 1, -1, 1000, i64::MAX, i64::MIN, i64::MIN + 1] {
            assert_eq!(LongDouble::from_i64(v).to_i64(), v);
            assert_eq!(text(LongDouble::from_i64(v), LD_STR_HUMAN), v.to_string());
        }
        for v in [0.0, -0.0, 0.1, -1e300, 5e-324, f64::MIN_POSITIVE, f64::MAX, f64::INFINITY] {
            assert_eq!(LongDouble::from_f64(v).to_f64().to_bits(), v.to_bits());
        }
        assert!(LongDouble::from_f64(f64::NAN).is_nan() && ld("inf").is_infinite());
        assert_eq!(ld("9007199254740993").to_f64(), 9007199254740992.0);
        assert_eq!(ld("1e400").to_f64(), f64::INFINITY);
        assert_eq!(ld("-1e-400").to_f64().to_bits(), (-0.0f64).to_bits());
        // A timeout: seconds to milliseconds, towards zero.
        let ms = |s: &str| (ld(s) * LongDouble::from_f64(1000.0)).to_i64();
        assert_eq!(ms("0.1"), 100);
        assert_eq!(ms("1.9999"), 1999);
        assert_eq!(ms("-0.0001"), 0);
        assert_eq!(ms("-1.5"), -1500);
        assert_eq!(ms("9223372036854775.807"), i64::MAX - 1);
        assert_eq!(ms("9223372036854775.809"), i64::MIN);
        assert_eq!(ms("inf"), i64::MIN);
        // And up.
        let up = |s: &str| ld(s).ceil_to_i64();
        assert_eq!([up("0"), up("1e-4000"), up("1"), up("1.0000000001")], [0, 1, 1, 2]);
        assert_eq!([up("-0.5"), up("-1.5"), up("-1e-4000"), up("1e19")], [0, -1, 0, i64::MIN]);
        assert_eq!(up("9223372036854775806.5"), i64::MAX);
        assert_eq!([up("9223372036854775807"), up("9223372036854775807.5")], [i64::MAX, i64::MIN]);
        assert_eq!(ms("-9999999999999999999"), i64::MIN);
    }

    /// Doubles are a subset: reading and printing them agrees with std.
    #[test]
    fn doubles_agree_with_std() {
        let seed = 0x5eed_0007u64;
        println!("seed {seed:#x}");
        let mut x = seed;
        for _ in 0..20_000 {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let v = f64::from_bits(x ^ x >> 29);
            if !v.is_finite() {
                continue;
            }
            let wide = LongDouble::from_f64(v);
            assert_eq!(text(wide, LD_STR_AUTO).parse::<f64>().unwrap().to_bits(), v.to_bits());
            let shortest = format!("{v:e}");
            let r = scan_float(shortest.as_bytes()).unwrap().round(&BINARY64);
            assert_eq!(r.bits64(), v.abs().to_bits(), "{shortest}");
            if v.abs() > 1e-3 && v.abs() < 1e30 {
                let std = format!("{v:.17}");
                let std = std.trim_end_matches('0').trim_end_matches('.');
                assert_eq!(text(wide, LD_STR_HUMAN), std);
            }
        }
    }
}
