//! `lua_struct.c`: packs numbers and strings into bytes by a format, and back (Roberto Ierusalimschy, MIT).
//!
//! Formats: `>` big endian, `<` little endian, `!n` alignment, `x` a byte of padding, `b` `B` a byte, `h` `H` two, `l` `L` and
//! `T` eight, `i` `I` four or as many as the number behind says, `cn` n characters (0: all, or as many as the number unpacked
//! before says), `s` a string with its NUL, `f` `d` floats. A capital has no sign.

use crate::cstd::{cstr, d2ll, d2ull};
use crate::lapi::*;
use crate::lauxlib::*;
use crate::lstate::{LuaResult, lua_State};

/// The most bytes of an integer.
const MAXINTSIZE: i32 = 32;
/// The alignment of `!` without a number.
const MAXALIGN: i32 = 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Endian {
    Big,
    Little,
}

struct Header {
    endian: Endian,
    align: i32,
}

/// Byte order and alignment before the format says otherwise: those of x86-64, without alignment.
const DEFAULTOPTIONS: Header = Header { endian: Endian::Little, align: 1 };

/// A format, and how far it was read.
struct Format<'f> {
    bytes: &'f [u8],
    at: usize,
}

impl Format<'_> {
    fn next(&mut self) -> Option<u8> {
        let opt = self.bytes.get(self.at).copied()?;
        self.at += 1;
        Some(opt)
    }

    fn digit(&mut self) -> Option<i32> {
        let c = self.bytes.get(self.at).filter(|c| c.is_ascii_digit())?;
        self.at += 1;
        Some(i32::from(c - b'0'))
    }
}

fn getnum<H>(L: &mut lua_State<H>, fmt: &mut Format, df: i32) -> LuaResult<i32> {
    let Some(mut a) = fmt.digit() else { return Ok(df) };
    while let Some(digit) = fmt.digit() {
        match a.checked_mul(10).and_then(|a| a.checked_add(digit)) {
            Some(sum) => a = sum,
            None => return luaL_error!(L, "integral size overflow"),
        }
    }
    Ok(a)
}

fn optsize<H>(L: &mut lua_State<H>, opt: u8, fmt: &mut Format) -> LuaResult<usize> {
    Ok(match opt {
        b'B' | b'b' | b'x' => 1,
        b'H' | b'h' => 2,
        b'L' | b'l' | b'T' | b'd' => 8,
        b'f' => 4,
        b'c' => getnum(L, fmt, 1)? as usize,
        b'i' | b'I' => {
            let sz = getnum(L, fmt, 4)?;
            if sz > MAXINTSIZE {
                let limit = MAXINTSIZE;
                return luaL_error!(L, "integral size %d is larger than limit of %d", sz, limit);
            }
            sz as usize
        }
        _ => 0, // the others have no alignment
    })
}

/// How many bytes an element of `size` needs in front of it at `len`.
fn gettoalign(len: usize, h: &Header, opt: u8, size: usize) -> usize {
    if size == 0 || opt == b'c' {
        return 0;
    }
    let size = size.min(h.align as usize);
    // A size that is no power of two makes of this what it makes in the C.
    size.wrapping_sub(len & (size - 1)) & (size - 1)
}

fn controloptions<H>(
    L: &mut lua_State<H>,
    opt: u8,
    fmt: &mut Format,
    h: &mut Header,
) -> LuaResult<()> {
    match opt {
        b' ' => {}
        b'>' => h.endian = Endian::Big,
        b'<' => h.endian = Endian::Little,
        b'!' => {
            let a = getnum(L, fmt, MAXALIGN)?;
            if a <= 0 || a & (a - 1) != 0 {
                return luaL_error!(L, "alignment %d is not a power of 2", a);
            }
            h.align = a;
        }
        _ => {
            let msg = luaO_fmt!("invalid format option '%c'", opt);
            return luaL_argerror(L, 1, &msg);
        }
    }
    Ok(())
}

fn putinteger<H>(
    L: &mut lua_State<H>,
    b: &mut Vec<u8>,
    arg: i32,
    endian: Endian,
    size: usize,
) -> LuaResult<()> {
    let n = luaL_checknumber(L, arg)?;
    let value = if n < 0.0 { d2ll(n) as u64 } else { d2ull(n) };
    let mut bytes = [0; MAXINTSIZE as usize];
    bytes[..8].copy_from_slice(&value.to_le_bytes());
    push_ordered(b, &bytes[..size], endian);
    Ok(())
}

/// Appends little endian bytes in the order of the header.
fn push_ordered(b: &mut Vec<u8>, bytes: &[u8], endian: Endian) {
    match endian {
        Endian::Little => b.extend_from_slice(bytes),
        Endian::Big => b.extend(bytes.iter().rev()),
    }
}

fn b_pack<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let mut b = Vec::new();
    let text = luaL_checklstring(L, 1)?;
    let mut fmt = Format { bytes: cstr(&text), at: 0 };
    let mut h = DEFAULTOPTIONS;
    let mut arg = 2;
    lua_pushnil(L); // what stands where an argument is missing
    while let Some(opt) = fmt.next() {
        let mut size = optsize(L, opt, &mut fmt)?;
        let toalign = gettoalign(b.len(), &h, opt, size);
        luaL_reserve(L, &mut b, toalign)?;
        b.resize(b.len() + toalign, 0);
        match opt {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                putinteger(L, &mut b, arg, h.endian, size)?;
                arg += 1;
            }
            b'x' => b.push(0),
            b'f' => {
                let f = luaL_checknumber(L, arg)? as f32;
                push_ordered(&mut b, &f.to_le_bytes(), h.endian);
                arg += 1;
            }
            b'd' => {
                let d = luaL_checknumber(L, arg)?;
                push_ordered(&mut b, &d.to_le_bytes(), h.endian);
                arg += 1;
            }
            b'c' | b's' => {
                let s = luaL_checklstring(L, arg)?;
                arg += 1;
                if size == 0 {
                    size = s.len();
                }
                luaL_argcheck(L, s.len() >= size, arg, "string too short")?;
                luaL_reserve(L, &mut b, size + 1)?;
                b.extend_from_slice(&s[..size]);
                if opt == b's' {
                    b.push(0);
                }
            }
            _ => controloptions(L, opt, &mut fmt, &mut h)?,
        }
    }
    lua_pushlstring(L, &b);
    Ok(1)
}

/// The integer of all of `bytes`; of more than eight the lower ones count.
fn getinteger(bytes: &[u8], endian: Endian, issigned: bool) -> lua_Number {
    let fold = |l: u64, &c: &u8| l << 8 | u64::from(c);
    let l = match endian {
        Endian::Big => bytes.iter().fold(0, fold),
        Endian::Little => bytes.iter().rev().fold(0, fold),
    };
    if !issigned {
        return l as lua_Number;
    }
    // The C's shift counts modulo 64.
    let mask = u64::MAX.wrapping_shl((bytes.len() as u32).wrapping_mul(8).wrapping_sub(1));
    let l = if l & mask != 0 { l | mask } else { l };
    l as i64 as lua_Number
}

fn b_unpack<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let text = luaL_checklstring(L, 1)?;
    let mut fmt = Format { bytes: cstr(&text), at: 0 };
    let data = luaL_checklstring(L, 2)?;
    let ld = data.len();
    let mut pos = luaL_optinteger(L, 3, 1)? as usize;
    luaL_argcheck(L, pos > 0, 3, "offset must be 1 or greater")?;
    pos -= 1;
    let mut n = 0; // how many results there are
    let mut h = DEFAULTOPTIONS;
    while let Some(opt) = fmt.next() {
        let mut size = optsize(L, opt, &mut fmt)?;
        pos = pos.wrapping_add(gettoalign(pos, &h, opt, size));
        let fits = size <= ld && pos <= ld - size;
        luaL_argcheck(L, fits, 2, "data string too short")?;
        luaL_checkstack(L, 2, "too many results")?;
        let bytes = &data[pos..pos + size];
        match opt {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let res = getinteger(bytes, h.endian, opt.is_ascii_lowercase());
                lua_pushnumber(L, res);
                n += 1;
            }
            b'x' => {}
            b'f' => {
                let mut b = bytes.try_into().unwrap_or([0; 4]);
                if h.endian == Endian::Big {
                    b.reverse();
                }
                lua_pushnumber(L, f64::from(f32::from_le_bytes(b)));
                n += 1;
            }
            b'd' => {
                let mut b = bytes.try_into().unwrap_or([0; 8]);
                if h.endian == Endian::Big {
                    b.reverse();
                }
                lua_pushnumber(L, f64::from_le_bytes(b));
                n += 1;
            }
            b'c' => {
                if size == 0 {
                    if n == 0 || !lua_isnumber(L, -1) {
                        return luaL_error!(L, "format 'c0' needs a previous size");
                    }
                    size = d2ull(lua_tonumber(L, -1)) as usize;
                    lua_pop(L, 1);
                    n -= 1;
                    let fits = size <= ld && pos <= ld - size;
                    luaL_argcheck(L, fits, 2, "data string too short")?;
                }
                lua_pushlstring(L, &data[pos..pos + size]);
                n += 1;
            }
            b's' => {
                let Some(len) = data[pos..].iter().position(|&c| c == 0) else {
                    return luaL_error!(L, "unfinished string in data");
                };
                size = len + 1;
                lua_pushlstring(L, &data[pos..pos + len]);
                n += 1;
            }
            _ => controloptions(L, opt, &mut fmt, &mut h)?,
        }
        pos += size;
    }
    // Without an option nothing has compared the offset with the length.
    lua_pushinteger(L, pos.wrapping_add(1) as lua_Integer);
    Ok(n + 1)
}

fn b_size<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let text = luaL_checklstring(L, 1)?;
    let mut fmt = Format { bytes: cstr(&text), at: 0 };
    let mut h = DEFAULTOPTIONS;
    let mut pos: usize = 0;
    while let Some(opt) = fmt.next() {
        let size = optsize(L, opt, &mut fmt)?;
        pos += gettoalign(pos, &h, opt, size);
        if opt == b's' {
            return luaL_argerror(L, 1, b"option 's' has no fixed size");
        }
        if opt == b'c' && size == 0 {
            return luaL_argerror(L, 1, b"option 'c0' has no fixed size");
        }
        if !opt.is_ascii_alphanumeric() {
            controloptions(L, opt, &mut fmt, &mut h)?;
        }
        pos += size;
    }
    lua_pushinteger(L, pos as lua_Integer);
    Ok(1)
}

/// Opens the library.
pub fn luaopen_struct<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let thislib: [luaL_Reg<H>; 3] = [("pack", b_pack), ("unpack", b_unpack), ("size", b_size)];
    luaL_register(L, Some("struct"), &thislib)?;
    Ok(1)
}
