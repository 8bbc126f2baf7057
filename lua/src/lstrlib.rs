//! `lstrlib.c`: the library of strings, and the matching of patterns.
//!
//! Read first: `do_match`. Positions in the subject and in the pattern are indices; behind the end of both there is a NUL, as
//! in the C. Differs: a match recurses 200 levels deep at most ("pattern too complex", where the C's own recursion has no
//! bound), and long matches count as instructions, so that the hook of the host can stop them; `string.dump` refuses.

use crate::cstd::{Spec, cstr, d2i, d2ll, d2ull, isalnum, isalpha, iscntrl, isdigit, isspace};
use crate::lapi::*;
use crate::lauxlib::*;
use crate::lobject::LuaStr;
use crate::lstate::{LuaResult, lua_State};
use crate::lwork::Work;

/// The longest string that `string.rep` makes.
const MAXSIZE: usize = i32::MAX as usize - 1;

fn str_len<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let s = luaL_checklstring(L, 1)?;
    lua_pushinteger(L, s.len() as lua_Integer);
    Ok(1)
}

/// A position counted from the beginning; a negative one counts from the end.
fn posrelat(pos: lua_Integer, len: usize) -> lua_Integer {
    let pos = if pos < 0 { pos.wrapping_add(len as lua_Integer + 1) } else { pos };
    pos.max(0)
}

fn str_sub<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let s = luaL_checklstring(L, 1)?;
    let start = posrelat(luaL_checkinteger(L, 2)?, s.len()).max(1);
    let end = posrelat(luaL_optinteger(L, 3, -1)?, s.len()).min(s.len() as lua_Integer);
    if start <= end {
        lua_pushlstring(L, &s[start as usize - 1..end as usize]);
    } else {
        lua_pushlstring(L, b"");
    }
    Ok(1)
}

fn str_reverse<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let s = luaL_checklstring(L, 1)?;
    let mut b = s.to_vec();
    b.reverse();
    lua_pushlstring(L, &b);
    Ok(1)
}

fn str_lower<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let s = luaL_checklstring(L, 1)?;
    lua_pushlstring(L, &s.to_ascii_lowercase());
    Ok(1)
}

fn str_upper<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let s = luaL_checklstring(L, 1)?;
    lua_pushlstring(L, &s.to_ascii_uppercase());
    Ok(1)
}

fn str_rep<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let s = luaL_checklstring(L, 1)?;
    let n = luaL_checkint(L, 2)?.max(0) as usize;
    let size = s.len().saturating_mul(n);
    if size > MAXSIZE {
        // C: it asks for the memory, piece by piece, until there is none.
        return luaL_error!(L, "resulting string too large");
    }
    let mut b = Vec::new();
    luaL_reserve(L, &mut b, size)?;
    if s.len() == 1 {
        b.resize(size, s[0]);
    } else if size > 0 {
        for _ in 0..n {
            b.extend_from_slice(&s);
        }
    }
    lua_pushlstring(L, &b);
    Ok(1)
}

fn str_byte<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let s = luaL_checklstring(L, 1)?;
    let posi = posrelat(luaL_optinteger(L, 2, 1)?, s.len());
    let pose = posrelat(luaL_optinteger(L, 3, posi)?, s.len());
    let posi = posi.max(1);
    let pose = pose.min(s.len() as lua_Integer);
    if posi > pose {
        return Ok(0);
    }
    let n = pose - posi + 1;
    if n > i32::MAX as lua_Integer {
        return luaL_error!(L, "string slice too long");
    }
    luaL_checkstack(L, n as i32, "string slice too long")?;
    for &c in &s[posi as usize - 1..pose as usize] {
        lua_pushinteger(L, lua_Integer::from(c));
    }
    Ok(n as i32)
}

fn str_char<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let n = lua_gettop(L);
    let mut b = Vec::with_capacity(n as usize);
    for i in 1..=n {
        let c = luaL_checkint(L, i)?;
        luaL_argcheck(L, (0..=255).contains(&c), i, "invalid value")?;
        b.push(c as u8);
    }
    lua_pushlstring(L, &b);
    Ok(1)
}

/// There is no bytecode outside of the engine, so no function can be given.
fn str_dump<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    luaL_checktype(L, 1, LUA_TFUNCTION)?;
    luaL_error!(L, "unable to dump given function")
}

// Patterns.

const LUA_MAXCAPTURES: usize = 32;
const CAP_UNFINISHED: isize = -1;
const CAP_POSITION: isize = -2;
/// How deep a match may recurse.
const MAXCCALLS: u32 = 200;

const L_ESC: u8 = b'%';
const SPECIALS: &[u8] = b"^$*+?.([%-";

#[derive(Clone, Copy, Default)]
struct Capture {
    init: usize,
    /// Its length, or `CAP_UNFINISHED`, or `CAP_POSITION`.
    len: isize,
}

struct MatchState<'s> {
    /// The subject.
    src: &'s [u8],
    /// The pattern, up to its first NUL.
    pattern: &'s [u8],
    /// How many captures there are, finished or not.
    level: usize,
    capture: [Capture; LUA_MAXCAPTURES],
    /// How many levels deeper the match may go.
    matchdepth: u32,
    work: Work,
}

impl<'s> MatchState<'s> {
    fn new(src: &'s [u8], pattern: &'s [u8]) -> MatchState<'s> {
        let capture = [Capture::default(); LUA_MAXCAPTURES];
        MatchState { src, pattern, level: 0, capture, matchdepth: MAXCCALLS, work: Work::default() }
    }

    /// The character of the pattern at `p`.
    #[inline]
    fn p(&self, p: usize) -> u8 {
        self.pattern.get(p).copied().unwrap_or(0)
    }

    /// The character of the subject at `s`.
    #[inline]
    fn s(&self, s: usize) -> u8 {
        self.src.get(s).copied().unwrap_or(0)
    }
}

fn check_capture<H>(L: &mut lua_State<H>, ms: &MatchState, l: u8) -> LuaResult<usize> {
    let l = usize::from(l).wrapping_sub(usize::from(b'1'));
    if l >= ms.level || ms.capture[l].len == CAP_UNFINISHED {
        return luaL_error!(L, "invalid capture index");
    }
    Ok(l)
}

fn capture_to_close<H>(L: &mut lua_State<H>, ms: &MatchState) -> LuaResult<usize> {
    match ms.capture[..ms.level].iter().rposition(|c| c.len == CAP_UNFINISHED) {
        Some(level) => Ok(level),
        None => luaL_error!(L, "invalid pattern capture"),
    }
}

/// Where the class at `p` of the pattern ends.
fn classend<H>(L: &mut lua_State<H>, ms: &MatchState, mut p: usize) -> LuaResult<usize> {
    let c = ms.p(p);
    p += 1;
    match c {
        L_ESC => {
            if ms.p(p) == 0 {
                return luaL_error!(L, "malformed pattern (ends with '%%')");
            }
            Ok(p + 1)
        }
        b'[' => {
            if ms.p(p) == b'^' {
                p += 1;
            }
            loop {
                // The first `]` is one of the set.
                let c = ms.p(p);
                if c == 0 {
                    return luaL_error!(L, "malformed pattern (missing ']')");
                }
                p += 1;
                if c == L_ESC && ms.p(p) != 0 {
                    p += 1; // an escaped one does not end the set
                }
                if ms.p(p) == b']' {
                    return Ok(p + 1);
                }
            }
        }
        _ => Ok(p),
    }
}

fn match_class(c: u8, cl: u8) -> bool {
    let i = i32::from(c);
    let res = match cl.to_ascii_lowercase() {
        b'a' => isalpha(i),
        b'c' => iscntrl(i),
        b'd' => isdigit(i),
        b'l' => c.is_ascii_lowercase(),
        b'p' => c.is_ascii_punctuation(),
        b's' => isspace(i),
        b'u' => c.is_ascii_uppercase(),
        b'w' => isalnum(i),
        b'x' => c.is_ascii_hexdigit(),
        b'z' => c == 0,
        _ => return cl == c,
    };
    if cl.is_ascii_lowercase() { res } else { !res }
}

/// Whether `c` is in the set from `p` to its `]` at `ec`.
fn matchbracketclass(ms: &MatchState, c: u8, mut p: usize, ec: usize) -> bool {
    let mut sig = true;
    if ms.p(p + 1) == b'^' {
        sig = false;
        p += 1;
    }
    loop {
        p += 1;
        if p >= ec {
            return !sig;
        }
        if ms.p(p) == L_ESC {
            p += 1;
            if match_class(c, ms.p(p)) {
                return sig;
            }
        } else if ms.p(p + 1) == b'-' && p + 2 < ec {
            p += 2;
            if (ms.p(p - 2)..=ms.p(p)).contains(&c) {
                return sig;
            }
        } else if ms.p(p) == c {
            return sig;
        }
    }
}

#[inline]
fn singlematch(ms: &MatchState, c: u8, p: usize, ep: usize) -> bool {
    match ms.p(p) {
        b'.' => true,
        L_ESC => match_class(c, ms.p(p + 1)),
        b'[' => matchbracketclass(ms, c, p, ep - 1),
        pc => pc == c,
    }
}

/// Where the balanced text at `s` ends, between the two characters at `p`.
fn matchbalance<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    ms: &mut MatchState,
    s: usize,
    p: usize,
) -> LuaResult<Option<usize>> {
    let (b, e) = (ms.p(p), ms.p(p + 1));
    if b == 0 || e == 0 {
        return luaL_error!(L, "unbalanced pattern");
    }
    if ms.s(s) != b {
        return Ok(None);
    }
    let mut cont = 1;
    for i in s + 1..ms.src.len() {
        ms.work.step(L, host)?;
        let c = ms.src[i];
        if c == e {
            cont -= 1;
            if cont == 0 {
                return Ok(Some(i + 1));
            }
        } else if c == b {
            cont += 1;
        }
    }
    Ok(None)
}

fn max_expand<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    ms: &mut MatchState,
    s: usize,
    p: usize,
    ep: usize,
) -> LuaResult<Option<usize>> {
    let mut i = 0; // how many there are at most
    while s + i < ms.src.len() && singlematch(ms, ms.src[s + i], p, ep) {
        ms.work.steps(L, host, ep - p)?; // a set takes the longer the more is in it
        i += 1;
    }
    loop {
        if let Some(e) = do_match(L, host, ms, s + i, ep + 1)? {
            return Ok(Some(e));
        }
        if i == 0 {
            return Ok(None);
        }
        i -= 1; // again with one less
    }
}

fn min_expand<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    ms: &mut MatchState,
    mut s: usize,
    p: usize,
    ep: usize,
) -> LuaResult<Option<usize>> {
    loop {
        if let Some(e) = do_match(L, host, ms, s, ep + 1)? {
            return Ok(Some(e));
        }
        if s >= ms.src.len() || !singlematch(ms, ms.src[s], p, ep) {
            return Ok(None);
        }
        s += 1; // again with one more
    }
}

fn start_capture<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    ms: &mut MatchState,
    s: usize,
    p: usize,
    what: isize,
) -> LuaResult<Option<usize>> {
    if ms.level >= LUA_MAXCAPTURES {
        return luaL_error!(L, "too many captures");
    }
    ms.capture[ms.level] = Capture { init: s, len: what };
    ms.level += 1;
    let res = do_match(L, host, ms, s, p)?;
    if res.is_none() {
        ms.level -= 1;
    }
    Ok(res)
}

fn end_capture<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    ms: &mut MatchState,
    s: usize,
    p: usize,
) -> LuaResult<Option<usize>> {
    let l = capture_to_close(L, ms)?;
    ms.capture[l].len = (s - ms.capture[l].init) as isize;
    let res = do_match(L, host, ms, s, p)?;
    if res.is_none() {
        ms.capture[l].len = CAP_UNFINISHED;
    }
    Ok(res)
}

fn match_capture<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    ms: &mut MatchState,
    s: usize,
    l: u8,
) -> LuaResult<Option<usize>> {
    let capture = ms.capture[check_capture(L, ms, l)?];
    // The length of a position capture is, as in the C, a number that no text has.
    let Ok(len) = usize::try_from(capture.len) else { return Ok(None) };
    ms.work.steps(L, host, len / 16)?;
    let text = &ms.src[capture.init..capture.init + len];
    Ok(ms.src[s..].starts_with(text).then_some(s + len))
}

/// Matches the pattern from `p` on with the subject at `s` (`match`): where the match ends.
fn do_match<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    ms: &mut MatchState,
    s: usize,
    p: usize,
) -> LuaResult<Option<usize>> {
    if ms.matchdepth == 0 {
        // C: it recurses on.
        return luaL_error!(L, "pattern too complex");
    }
    ms.matchdepth -= 1;
    let res = match_here(L, host, ms, s, p);
    ms.matchdepth += 1;
    res
}

fn match_here<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    ms: &mut MatchState,
    mut s: usize,
    mut p: usize,
) -> LuaResult<Option<usize>> {
    loop {
        ms.work.step(L, host)?;
        match ms.p(p) {
            b'(' => {
                return if ms.p(p + 1) == b')' {
                    start_capture(L, host, ms, s, p + 2, CAP_POSITION)
                } else {
                    start_capture(L, host, ms, s, p + 1, CAP_UNFINISHED)
                };
            }
            b')' => return end_capture(L, host, ms, s, p + 1),
            L_ESC if ms.p(p + 1) == b'b' => {
                let Some(e) = matchbalance(L, host, ms, s, p + 2)? else { return Ok(None) };
                s = e;
                p += 4;
                continue;
            }
            L_ESC if ms.p(p + 1) == b'f' => {
                p += 2;
                if ms.p(p) != b'[' {
                    return luaL_error!(L, "missing '[' after '%%f' in pattern");
                }
                let ep = classend(L, ms, p)?;
                let previous = if s == 0 { 0 } else { ms.s(s - 1) };
                if matchbracketclass(ms, previous, p, ep - 1)
                    || !matchbracketclass(ms, ms.s(s), p, ep - 1)
                {
                    return Ok(None);
                }
                p = ep;
                continue;
            }
            L_ESC if ms.p(p + 1).is_ascii_digit() => {
                let Some(e) = match_capture(L, host, ms, s, ms.p(p + 1))? else { return Ok(None) };
                s = e;
                p += 2;
                continue;
            }
            0 => return Ok(Some(s)),
            b'$' if ms.p(p + 1) == 0 => return Ok((s == ms.src.len()).then_some(s)),
            _ => {}
        }
        let ep = classend(L, ms, p)?;
        ms.work.steps(L, host, ep - p)?;
        let m = s < ms.src.len() && singlematch(ms, ms.src[s], p, ep);
        match ms.p(ep) {
            b'?' => {
                if m && let Some(e) = do_match(L, host, ms, s + 1, ep + 1)? {
                    return Ok(Some(e));
                }
                p = ep + 1;
            }
            b'*' => return max_expand(L, host, ms, s, p, ep),
            b'+' if m => return max_expand(L, host, ms, s + 1, p, ep),
            b'+' => return Ok(None),
            b'-' => return min_expand(L, host, ms, s, p, ep),
            _ if m => {
                s += 1;
                p = ep;
            }
            _ => return Ok(None),
        }
    }
}

/// Where `s2` is in `s1`.
fn lmemfind(s1: &[u8], s2: &[u8]) -> Option<usize> {
    memchr::memmem::find(s1, s2)
}

/// Pushes capture `i`, or the whole match for the first if there are no captures.
fn push_onecapture<H>(
    L: &mut lua_State<H>,
    ms: &MatchState,
    i: usize,
    s: usize,
    e: usize,
) -> LuaResult<()> {
    if i >= ms.level {
        if i != 0 {
            return luaL_error!(L, "invalid capture index");
        }
        lua_pushlstring(L, &ms.src[s..e]);
        return Ok(());
    }
    let capture = ms.capture[i];
    match capture.len {
        CAP_UNFINISHED => return luaL_error!(L, "unfinished capture"),
        CAP_POSITION => lua_pushinteger(L, capture.init as lua_Integer + 1),
        len => lua_pushlstring(L, &ms.src[capture.init..capture.init + len as usize]),
    }
    Ok(())
}

/// Pushes all captures. `whole`: the match, which is pushed if there are none.
fn push_captures<H>(
    L: &mut lua_State<H>,
    ms: &MatchState,
    whole: Option<(usize, usize)>,
) -> LuaResult<i32> {
    let nlevels = if ms.level == 0 && whole.is_some() { 1 } else { ms.level };
    luaL_checkstack(L, nlevels as i32, "too many captures")?;
    let (s, e) = whole.unwrap_or((0, 0));
    for i in 0..nlevels {
        push_onecapture(L, ms, i, s, e)?;
    }
    Ok(nlevels as i32)
}

/// The pattern without its anchor, and whether it had one.
fn anchor(p: &[u8]) -> (bool, &[u8]) {
    match cstr(p).strip_prefix(b"^") {
        Some(rest) => (true, rest),
        None => (false, cstr(p)),
    }
}

fn str_find_aux<H>(L: &mut lua_State<H>, host: &mut H, find: bool) -> LuaResult<i32> {
    let s = luaL_checklstring(L, 1)?;
    let p = luaL_checklstring(L, 2)?;
    let init = posrelat(luaL_optinteger(L, 3, 1)?, s.len()) - 1;
    let init = (init.max(0) as usize).min(s.len());
    if find && (lua_toboolean(L, 4) || !cstr(&p).iter().any(|c| SPECIALS.contains(c))) {
        // Nothing in it is special, or nothing is to be.
        if let Some(at) = lmemfind(&s[init..], &p) {
            let at = init + at;
            lua_pushinteger(L, at as lua_Integer + 1);
            lua_pushinteger(L, (at + p.len()) as lua_Integer);
            return Ok(2);
        }
    } else {
        let (anchored, pattern) = anchor(&p);
        let mut ms = MatchState::new(&s, pattern);
        for s1 in init..=s.len() {
            ms.level = 0;
            if let Some(e) = do_match(L, host, &mut ms, s1, 0)? {
                if !find {
                    return push_captures(L, &ms, Some((s1, e)));
                }
                lua_pushinteger(L, s1 as lua_Integer + 1);
                lua_pushinteger(L, e as lua_Integer);
                return Ok(push_captures(L, &ms, None)? + 2);
            }
            if anchored {
                break;
            }
        }
    }
    lua_pushnil(L);
    Ok(1)
}

fn str_find<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    str_find_aux(L, host, true)
}

fn str_match<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    str_find_aux(L, host, false)
}

fn gmatch_aux<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    let s = lua_tolstring(L, lua_upvalueindex(1)).unwrap_or_default();
    let p = lua_tolstring(L, lua_upvalueindex(2)).unwrap_or_default();
    let start = lua_tointeger(L, lua_upvalueindex(3)) as usize;
    let mut ms = MatchState::new(&s, cstr(&p));
    for src in start..=s.len() {
        ms.level = 0;
        if let Some(e) = do_match(L, host, &mut ms, src, 0)? {
            let newstart = if e == src { e + 1 } else { e };
            lua_pushinteger(L, newstart as lua_Integer);
            lua_replace(L, lua_upvalueindex(3))?;
            return push_captures(L, &ms, Some((src, e)));
        }
    }
    Ok(0)
}

fn gmatch<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    luaL_checklstring(L, 1)?;
    luaL_checklstring(L, 2)?;
    lua_settop(L, 2);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, gmatch_aux, 3);
    Ok(1)
}

/// Appends the replacement `news`, with the captures that it names.
fn add_s<H>(
    L: &mut lua_State<H>,
    ms: &MatchState,
    b: &mut Vec<u8>,
    news: &[u8],
    s: usize,
    e: usize,
) -> LuaResult<()> {
    let mut i = 0;
    while i < news.len() {
        if news[i] != L_ESC {
            b.push(news[i]);
        } else {
            i += 1;
            match news.get(i).copied().unwrap_or(0) {
                b'0' => {
                    luaL_reserve(L, b, e - s)?;
                    b.extend_from_slice(&ms.src[s..e]);
                }
                c @ b'1'..=b'9' => {
                    push_onecapture(L, ms, usize::from(c - b'1'), s, e)?;
                    addvalue(L, b)?;
                }
                c => b.push(c),
            }
        }
        i += 1;
    }
    Ok(())
}

/// Pops a string or number and appends it (`luaL_addvalue`).
fn addvalue<H>(L: &mut lua_State<H>, b: &mut Vec<u8>) -> LuaResult<()> {
    let s = lua_tolstring(L, -1).unwrap_or_default();
    luaL_reserve(L, b, s.len())?;
    b.extend_from_slice(&s);
    lua_pop(L, 1);
    Ok(())
}

fn add_value<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    ms: &MatchState,
    b: &mut Vec<u8>,
    news: Option<&LuaStr>,
    s: usize,
    e: usize,
) -> LuaResult<()> {
    if let Some(news) = news {
        return add_s(L, ms, b, news, s, e);
    }
    if lua_isfunction(L, 3) {
        lua_pushvalue(L, 3);
        let n = push_captures(L, ms, Some((s, e)))?;
        lua_call(L, host, n, 1)?;
    } else {
        push_onecapture(L, ms, 0, s, e)?;
        lua_gettable(L, host, 3)?;
    }
    if !lua_toboolean(L, -1) {
        lua_pop(L, 1);
        luaL_reserve(L, b, e - s)?;
        b.extend_from_slice(&ms.src[s..e]); // it stays as it is
        return Ok(());
    }
    if !lua_isstring(L, -1) {
        let name = lua_typename(lua_type(L, -1));
        return luaL_error!(L, "invalid replacement value (a %s)", name);
    }
    addvalue(L, b)
}

fn str_gsub<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
    let src = luaL_checklstring(L, 1)?;
    let p = luaL_checklstring(L, 2)?;
    let tr = lua_type(L, 3);
    let max_s = luaL_optint(L, 4, (src.len() + 1) as i32)?;
    let (anchored, pattern) = anchor(&p);
    let known = matches!(tr, LUA_TNUMBER | LUA_TSTRING | LUA_TFUNCTION | LUA_TTABLE);
    luaL_argcheck(L, known, 3, "string/function/table expected")?;
    let news = if matches!(tr, LUA_TNUMBER | LUA_TSTRING) { lua_tolstring(L, 3) } else { None };
    let mut ms = MatchState::new(&src, pattern);
    let mut b = Vec::new();
    let mut n = 0;
    let mut at = 0;
    while n < max_s {
        ms.level = 0;
        let e = do_match(L, host, &mut ms, at, 0)?;
        if let Some(e) = e {
            n += 1;
            add_value(L, host, &ms, &mut b, news.as_ref(), at, e)?;
        }
        match e {
            Some(e) if e > at => at = e,
            _ if at < src.len() => {
                b.push(src[at]);
                at += 1;
            }
            _ => break,
        }
        if anchored {
            break;
        }
    }
    luaL_reserve(L, &mut b, src.len() - at)?;
    b.extend_from_slice(&src[at..]);
    lua_pushlstring(L, &b);
    lua_pushinteger(L, n as lua_Integer);
    Ok(2)
}

// Formats.

const FLAGS: &[u8] = b"-+ #0";

/// Appends a string as a literal that Lua reads back.
fn addquoted<H>(L: &mut lua_State<H>, b: &mut Vec<u8>, arg: i32) -> LuaResult<()> {
    let s = luaL_checklstring(L, arg)?;
    luaL_reserve(L, b, s.len() + 2)?;
    b.push(b'"');
    for &c in s.iter() {
        match c {
            b'"' | b'\\' | b'\n' => b.extend_from_slice(&[b'\\', c]),
            b'\r' => b.extend_from_slice(b"\\r"),
            0 => b.extend_from_slice(b"\\000"),
            _ => b.push(c),
        }
    }
    b.push(b'"');
    Ok(())
}

/// How many bytes flags, width and precision take at the beginning of `strfrmt`.
fn scanformat<H>(L: &mut lua_State<H>, strfrmt: &[u8]) -> LuaResult<usize> {
    let digit = |p: usize| strfrmt.get(p).is_some_and(u8::is_ascii_digit);
    let mut p = strfrmt.iter().take_while(|c| FLAGS.contains(c)).count();
    if p > FLAGS.len() {
        return luaL_error!(L, "invalid format (repeated flags)");
    }
    for _ in 0..2 {
        p += usize::from(digit(p)); // two digits of width
    }
    if strfrmt.get(p) == Some(&b'.') {
        p += 1;
        for _ in 0..2 {
            p += usize::from(digit(p)); // two digits of precision
        }
    }
    if digit(p) {
        return luaL_error!(L, "invalid format (width or precision too long)");
    }
    Ok(p)
}

fn str_format<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let top = lua_gettop(L);
    let mut arg = 1;
    let fmt = luaL_checklstring(L, arg)?;
    let mut b = Vec::with_capacity(fmt.len() + 16);
    let mut i = 0;
    while i < fmt.len() {
        let c = fmt[i];
        i += 1;
        if c != L_ESC {
            b.push(c);
            continue;
        }
        if fmt.get(i) == Some(&L_ESC) {
            b.push(L_ESC);
            i += 1;
            continue;
        }
        arg += 1;
        if arg > top {
            return luaL_argerror(L, arg, b"no value");
        }
        let form = &fmt[i..];
        let n = scanformat(L, form)?;
        let spec = Spec::parse(&form[..n]);
        let conversion = form.get(n).copied().unwrap_or(0);
        i += n + 1;
        let start = b.len();
        match conversion {
            b'c' => {
                let c = d2i(luaL_checknumber(L, arg)?) as u8;
                spec.char(&mut b, c);
            }
            b'd' | b'i' => {
                let n = d2ll(luaL_checknumber(L, arg)?);
                spec.signed(&mut b, n);
            }
            b'o' | b'u' | b'x' | b'X' => {
                let n = d2ull(luaL_checknumber(L, arg)?);
                spec.unsigned(&mut b, n, conversion);
            }
            b'e' | b'E' | b'f' | b'g' | b'G' => {
                let n = luaL_checknumber(L, arg)?;
                spec.double(&mut b, n, conversion);
            }
            b'q' => {
                addquoted(L, &mut b, arg)?;
                continue;
            }
            b's' => {
                let s = luaL_checklstring(L, arg)?;
                luaL_reserve(L, &mut b, s.len())?;
                if spec.precision.is_none() && s.len() >= 100 {
                    b.extend_from_slice(&s); // too long for the C to format, so it is not
                    continue;
                }
                spec.string(&mut b, cstr(&s));
            }
            c => {
                let shown = [c];
                return luaL_error!(L, "invalid option '%%%s' to 'format'", &shown);
            }
        }
        // The C takes what was formatted up to a NUL, which only `%c` can make.
        if conversion == b'c' {
            let n = cstr(&b[start..]).len();
            b.truncate(start + n);
        }
    }
    lua_pushlstring(L, &b);
    Ok(1)
}

/// Makes the metatable of all strings. It is readonly, and so is the library it leads to once the host has said so: no
/// script changes what another sees.
fn createmetatable<H>(L: &mut lua_State<H>) -> LuaResult<()> {
    lua_createtable(L, 0, 1);
    lua_pushlstring(L, b"");
    lua_pushvalue(L, -2);
    lua_setmetatable(L, -2)?;
    lua_pop(L, 1);
    lua_pushlstring(L, b"__index");
    lua_pushvalue(L, -3);
    lua_rawset(L, -3)?;
    lua_enablereadonlytable(L, -1, true);
    lua_pop(L, 1);
    Ok(())
}

/// Opens the library of strings.
pub fn luaopen_string<H>(L: &mut lua_State<H>, _host: &mut H) -> LuaResult<i32> {
    let strlib: [luaL_Reg<H>; 15] = [
        ("byte", str_byte),
        ("char", str_char),
        ("dump", str_dump),
        ("find", str_find),
        ("format", str_format),
        ("gfind", gmatch),
        ("gmatch", gmatch),
        ("gsub", str_gsub),
        ("len", str_len),
        ("lower", str_lower),
        ("match", str_match),
        ("rep", str_rep),
        ("reverse", str_reverse),
        ("sub", str_sub),
        ("upper", str_upper),
    ];
    luaL_register(L, Some("string"), &strlib)?;
    // The old name of gmatch is the same function.
    lua_pushstring(L, "gfind");
    lua_pushstring(L, "gmatch");
    lua_rawget(L, -3);
    lua_rawset(L, -3)?;
    createmetatable(L)?;
    Ok(1)
}
