//! `lstring.c`: all strings are interned.
//!
//! Differs: the bytes of a short string lie in its slot; a long one can be held without a copy.

use std::any::Any;
use std::cell::Cell;

use crate::lobject::*;
use crate::lstate::*;

/// The end of a bucket.
pub const NO_STRING: u32 = u32::MAX;
pub const MINSTRTABSIZE: usize = 32;
/// What the C's headers of a string and a userdata take.
pub const SIZE_TSTRING: usize = 24;
pub const SIZE_UDATA: usize = 40;

/// The hash of a string; a long one is not looked at whole.
#[inline]
pub fn hash_bytes(s: &[u8]) -> u32 {
    let mut h = s.len() as u32;
    let mut add = |b: u8| h ^= (h << 5).wrapping_add(h >> 2).wrapping_add(b as u32);
    let step = (s.len() >> 5) + 1;
    if step == 1 {
        s.iter().rev().for_each(|&b| add(b));
    } else {
        // The last byte, and every `step`th before it that has `step - 1` more in front of it.
        s.rchunks_exact(step).for_each(|c| add(c[step - 1]));
    }
    h
}

/// `a == b` without a call where both are short, as most strings are.
#[inline(always)]
fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match a.len() {
        0..=3 => a.iter().eq(b),
        // Two words, which may overlap.
        4..=7 => a.first_chunk::<4>() == b.first_chunk() && a.last_chunk::<4>() == b.last_chunk(),
        8..=16 => a.first_chunk::<8>() == b.first_chunk() && a.last_chunk::<8>() == b.last_chunk(),
        _ => a == b,
    }
}

/// `luaS_resize`: another number of buckets.
pub fn luaS_resize<H>(L: &mut lua_State<H>, newsize: usize) {
    let g = &mut L.g;
    g.totalbytes = g.totalbytes - g.strt.len() * 8 + newsize * 8;
    g.strt.clear();
    g.strt.resize(newsize, NO_STRING);
    for i in 0..g.strings.slots() {
        if g.strings.slot_mark(i) != FREE {
            let ts = g.strings.slot_mut(i);
            let h = ts.hash as usize & (newsize - 1);
            ts.next = g.strt[h];
            g.strt[h] = i as u32;
        }
    }
}

#[inline]
fn find<H>(L: &lua_State<H>, s: &[u8], h: u32) -> Option<StrRef> {
    let g = &L.g;
    let mut o = g.strt[h as usize & (g.strt.len() - 1)];
    while o != NO_STRING {
        let ts = g.strings.slot(o as usize);
        if ts.hash == h && same_bytes(&ts.data, s) {
            return Some(StrRef { hash: h, idx: o });
        }
        o = ts.next;
    }
    None
}

#[inline]
fn newlstr<H>(L: &mut lua_State<H>, data: LuaStr, hash: u32) -> StrRef {
    let g = &mut L.g;
    g.totalbytes += SIZE_TSTRING + data.len() + 1;
    let b = hash as usize & (g.strt.len() - 1);
    let idx = g.strings.place(TString { data, hash, next: g.strt[b], reserved: 0 }, g.currentwhite);
    g.strt[b] = idx;
    g.nuse += 1;
    if g.nuse > g.strt.len() && g.strt.len() <= i32::MAX as usize / 2 {
        let size = g.strt.len() * 2;
        luaS_resize(L, size);
    }
    StrRef { hash, idx }
}

/// How many strings are remembered that were asked for lately.
pub const STRCACHE: usize = 128;
/// No string is remembered here.
pub const NOT_CACHED: StrRef = StrRef { hash: 0, idx: NO_STRING };

/// Where a string is remembered: the length, the first and the last eight bytes decide. `None` for those that
/// are hashed as fast as they are found here, and those that nobody asks for twice.
#[inline(always)]
fn cache_slot(s: &[u8]) -> Option<usize> {
    if s.len() > 64 {
        return None;
    }
    let (first, last) = (s.first_chunk()?, s.last_chunk()?);
    let word = u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(29);
    let word = (word ^ s.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    Some((word >> (u64::BITS - STRCACHE.ilog2())) as usize)
}

/// Forgets the strings that are about to be collected.
pub fn luaS_clearcache<H>(g: &mut global_State<H>, dead: u8) {
    for s in &mut g.strcache {
        if s.idx != NO_STRING && g.strings.slot_mark(s.idx as usize) == dead {
            *s = NOT_CACHED;
        }
    }
}

/// The string of these bytes.
#[inline]
pub fn luaS_newlstr<H>(L: &mut lua_State<H>, s: &[u8]) -> StrRef {
    let Some(slot) = cache_slot(s) else { return intern(L, s) };
    let known = L.g.strcache[slot];
    if known.idx != NO_STRING && same_bytes(&L.g.strings.get(known).data, s) {
        return known;
    }
    let ts = intern(L, s);
    L.g.strcache[slot] = ts;
    ts
}

/// The part of [`luaS_newlstr`] that hashes: finds the string in its bucket, or puts it there.
#[inline(never)]
fn intern<H>(L: &mut lua_State<H>, s: &[u8]) -> StrRef {
    let h = hash_bytes(s);
    if let Some(ts) = find(L, s, h) {
        return ts;
    }
    newlstr(L, LuaStr::new(s), h)
}

/// [`luaS_newlstr`] of bytes that are held already.
pub fn luaS_newstr<H>(L: &mut lua_State<H>, s: &LuaStr) -> StrRef {
    let h = hash_bytes(s);
    if let Some(ts) = find(L, s, h) {
        return ts;
    }
    newlstr(L, s.clone(), h)
}

pub fn luaS_new<H>(L: &mut lua_State<H>, s: &str) -> StrRef {
    luaS_newlstr(L, s.as_bytes())
}

/// A string of the program that was interned before: where it lies, and which string that is.
#[derive(Clone, Copy, Default)]
pub struct Literal {
    addr: usize,
    len: usize,
    string: Option<StrRef>,
}

/// How many literals are remembered.
pub const LITERALS: usize = 64;

/// `luaS_newliteral`: the string of a literal, which is never collected. Its bytes never change, so where it
/// lies says which string it is.
#[inline]
pub fn luaS_newliteral<H>(L: &mut lua_State<H>, s: &'static str) -> StrRef {
    let (addr, len) = (s.as_ptr().addr(), s.len());
    let i = addr.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (usize::BITS - LITERALS.ilog2());
    let l = &L.g.literals[i % LITERALS];
    match l.string {
        Some(string) if l.addr == addr && l.len == len => string,
        _ => intern_literal(L, s, i),
    }
}

#[cold]
#[inline(never)]
fn intern_literal<H>(L: &mut lua_State<H>, s: &'static str, i: usize) -> StrRef {
    let string = luaS_new(L, s);
    luaS_fix(L, string);
    let l = Literal { addr: s.as_ptr().addr(), len: s.len(), string: Some(string) };
    L.g.literals[i % LITERALS] = l;
    string
}

/// `luaS_fix`: never collect this string.
pub fn luaS_fix<H>(L: &mut lua_State<H>, s: StrRef) {
    L.g.strings.set_mark(s, FIXED);
}

pub fn luaS_newudata<H>(
    L: &mut lua_State<H>,
    data: Box<dyn Any>,
    len: usize,
    env: TableRef,
) -> UdataRef {
    L.g.totalbytes += SIZE_UDATA + len;
    let u = Udata { metatable: None, env, data, len, finalized: Cell::new(false) };
    let u = L.g.udata.alloc(Some(Box::new(u)), L.g.currentwhite);
    L.g.udatalist.push(u);
    u
}
