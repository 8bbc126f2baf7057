//! `llex.c`: the lexical analyzer, which turns a source into tokens.
//!
//! A token is a number: the character itself, or one of the `TK_` constants. Differs: the decimal point is always a point.

use crate::cstd::{cstr, isalnum, isalpha, iscntrl, isdigit, isspace};
use crate::lobject::{Boolean, Str, StrRef, TableRef, luaO_chunkid, luaO_str2d};
use crate::lparser::FuncState;
use crate::lstate::{LUA_ERRSYNTAX, LuaError, LuaResult, lua_State};
use crate::lstring::{luaS_fix, luaS_newlstr};
use crate::ltable::luaH_set;
use crate::lzio::{EOZ, ZIO};

pub const FIRST_RESERVED: i32 = 257;

/// The tokens that are no single character. The order of the reserved words is that of `luaX_tokens`.
pub const TK_AND: i32 = FIRST_RESERVED;
pub const TK_BREAK: i32 = FIRST_RESERVED + 1;
pub const TK_DO: i32 = FIRST_RESERVED + 2;
pub const TK_ELSE: i32 = FIRST_RESERVED + 3;
pub const TK_ELSEIF: i32 = FIRST_RESERVED + 4;
pub const TK_END: i32 = FIRST_RESERVED + 5;
pub const TK_FALSE: i32 = FIRST_RESERVED + 6;
pub const TK_FOR: i32 = FIRST_RESERVED + 7;
pub const TK_FUNCTION: i32 = FIRST_RESERVED + 8;
pub const TK_IF: i32 = FIRST_RESERVED + 9;
pub const TK_IN: i32 = FIRST_RESERVED + 10;
pub const TK_LOCAL: i32 = FIRST_RESERVED + 11;
pub const TK_NIL: i32 = FIRST_RESERVED + 12;
pub const TK_NOT: i32 = FIRST_RESERVED + 13;
pub const TK_OR: i32 = FIRST_RESERVED + 14;
pub const TK_REPEAT: i32 = FIRST_RESERVED + 15;
pub const TK_RETURN: i32 = FIRST_RESERVED + 16;
pub const TK_THEN: i32 = FIRST_RESERVED + 17;
pub const TK_TRUE: i32 = FIRST_RESERVED + 18;
pub const TK_UNTIL: i32 = FIRST_RESERVED + 19;
pub const TK_WHILE: i32 = FIRST_RESERVED + 20;
pub const TK_CONCAT: i32 = FIRST_RESERVED + 21;
pub const TK_DOTS: i32 = FIRST_RESERVED + 22;
pub const TK_EQ: i32 = FIRST_RESERVED + 23;
pub const TK_GE: i32 = FIRST_RESERVED + 24;
pub const TK_LE: i32 = FIRST_RESERVED + 25;
pub const TK_NE: i32 = FIRST_RESERVED + 26;
pub const TK_NUMBER: i32 = FIRST_RESERVED + 27;
pub const TK_NAME: i32 = FIRST_RESERVED + 28;
pub const TK_STRING: i32 = FIRST_RESERVED + 29;
pub const TK_EOS: i32 = FIRST_RESERVED + 30;

/// How much room the name of the source has in a message.
const MAXSRC: usize = 80;

const NUM_RESERVED: usize = (TK_WHILE - FIRST_RESERVED + 1) as usize;

const luaX_tokens: [&str; 31] = [
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local",
    "nil", "not", "or", "repeat", "return", "then", "true", "until", "while", "..", "...", "==",
    ">=", "<=", "~=", "<number>", "<name>", "<string>", "<eof>",
];

/// Makes the strings of the reserved words, which are never collected and know which word they are.
pub fn luaX_init<H>(L: &mut lua_State<H>) {
    for (i, word) in luaX_tokens[..NUM_RESERVED].iter().enumerate() {
        let ts = luaS_newlstr(L, word.as_bytes());
        luaS_fix(L, ts);
        L.g.strings.get_mut(ts).reserved = i as u8 + 1;
    }
}

/// What a token carries beside its kind.
#[derive(Clone, Copy)]
pub enum SemInfo {
    Nothing,
    Number(f64),
    String(StrRef),
}

#[derive(Clone, Copy)]
pub struct Token {
    pub token: i32,
    pub seminfo: SemInfo,
}

const NO_TOKEN: Token = Token { token: TK_EOS, seminfo: SemInfo::Nothing };

/// The state of the lexer, and of the parser above it.
pub struct LexState<'a, 'z, H> {
    /// The current character, or `EOZ`.
    current: i32,
    /// The line of the current character.
    pub linenumber: i32,
    /// The line of the last token that was taken.
    pub lastline: i32,
    /// The current token.
    pub t: Token,
    /// The token behind it, if the parser asked for it; `TK_EOS` otherwise.
    pub lookahead: Token,
    /// The functions that are being compiled, the innermost last.
    pub fs: Vec<FuncState>,
    pub L: &'a mut lua_State<H>,
    /// For the reader, which may run Lua code.
    host: &'a mut H,
    z: &'a mut ZIO<'z, H>,
    /// The text of the token that was read last.
    buff: Vec<u8>,
    /// The name of the source, as the caller gave it.
    pub source: StrRef,
    /// A table on the stack with all strings of the chunk: a collection, which the reader may cause, finds them there. The C
    /// has one for each function.
    h: TableRef,
}

/// A lexer at the beginning of the text in `z`. `h` keeps its strings.
pub fn luaX_setinput<'a, 'z, H>(
    L: &'a mut lua_State<H>,
    host: &'a mut H,
    z: &'a mut ZIO<'z, H>,
    h: TableRef,
    source: StrRef,
) -> LuaResult<LexState<'a, 'z, H>> {
    let mut ls = LexState {
        current: EOZ,
        linenumber: 1,
        lastline: 1,
        t: NO_TOKEN,
        lookahead: NO_TOKEN,
        fs: Vec::new(),
        L,
        host,
        z,
        buff: Vec::new(),
        source,
        h,
    };
    anchor(&mut ls, source)?;
    next(&mut ls)?;
    Ok(ls)
}

/// Keeps a string alive as long as the chunk is compiled.
fn anchor<H>(ls: &mut LexState<'_, '_, H>, ts: StrRef) -> LuaResult<()> {
    luaH_set(ls.L, ls.h, Str(ts), Boolean(true))
}

#[inline]
fn next<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<()> {
    ls.current = ls.z.getc(ls.L, ls.host)?;
    Ok(())
}

fn currIsNewline<H>(ls: &LexState<'_, '_, H>) -> bool {
    ls.current == i32::from(b'\n') || ls.current == i32::from(b'\r')
}

fn save<H>(ls: &mut LexState<'_, '_, H>, c: i32) {
    ls.buff.push(c as u8);
}

fn save_and_next<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<()> {
    save(ls, ls.current);
    next(ls)
}

/// The token's text for an error message.
pub fn luaX_token2str(token: i32) -> Vec<u8> {
    if token >= FIRST_RESERVED {
        luaX_tokens[(token - FIRST_RESERVED) as usize].into()
    } else if iscntrl(token) {
        format!("char({token})").into()
    } else {
        vec![token as u8]
    }
}

/// The current text of a token that can have many, the token's name otherwise.
fn txtToken<H>(ls: &LexState<'_, '_, H>, token: i32) -> Vec<u8> {
    match token {
        TK_NAME | TK_STRING | TK_NUMBER => cstr(&ls.buff).to_vec(),
        _ => luaX_token2str(token),
    }
}

/// The error `msg` at the current line, near `token` if that is not 0.
#[cold]
pub fn luaX_lexerror<H>(ls: &mut LexState<'_, '_, H>, msg: &[u8], token: i32) -> LuaError {
    let mut text = luaO_chunkid(&ls.L.g.strings.get(ls.source).data, MAXSRC);
    text.extend_from_slice(format!(":{}: ", ls.linenumber).as_bytes());
    text.extend_from_slice(msg);
    if token != 0 {
        text.extend_from_slice(b" near '");
        text.extend_from_slice(&txtToken(ls, token));
        text.push(b'\'');
    }
    ls.L.errorvalue = Str(luaS_newlstr(ls.L, &text));
    LuaError(LUA_ERRSYNTAX as u8)
}

/// The error `msg` at the current token.
#[cold]
pub fn luaX_syntaxerror<H>(ls: &mut LexState<'_, '_, H>, msg: &[u8]) -> LuaError {
    luaX_lexerror(ls, msg, ls.t.token)
}

/// The string of the bytes `str`, kept alive as long as the parser runs.
pub fn luaX_newstring<H>(ls: &mut LexState<'_, '_, H>, str: &[u8]) -> LuaResult<StrRef> {
    let ts = luaS_newlstr(ls.L, str);
    anchor(ls, ts)?;
    Ok(ts)
}

/// As `luaX_newstring`, of a part of the buffer.
fn newstring_of_buffer<H>(
    ls: &mut LexState<'_, '_, H>,
    from: usize,
    to: usize,
) -> LuaResult<StrRef> {
    let ts = luaS_newlstr(ls.L, &ls.buff[from..to]);
    anchor(ls, ts)?;
    Ok(ts)
}

fn inclinenumber<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<()> {
    let old = ls.current;
    next(ls)?; // skips `\n` or `\r`
    if currIsNewline(ls) && ls.current != old {
        next(ls)?; // skips the second half of `\n\r` or `\r\n`
    }
    ls.linenumber += 1;
    if ls.linenumber >= i32::MAX - 2 {
        return Err(luaX_syntaxerror(ls, b"chunk has too many lines"));
    }
    Ok(())
}

/// Takes the current character if it is in `set`.
///
/// A NUL is in every set: the C looks in a string with its end, and a zero there reads as one of the set.
fn check_next<H>(ls: &mut LexState<'_, '_, H>, set: &[u8]) -> LuaResult<bool> {
    if ls.current != 0 && !set.iter().any(|&c| i32::from(c) == ls.current) {
        return Ok(false);
    }
    save_and_next(ls)?;
    Ok(true)
}

fn read_numeral<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<SemInfo> {
    loop {
        save_and_next(ls)?;
        if !isdigit(ls.current) && ls.current != i32::from(b'.') {
            break;
        }
    }
    if check_next(ls, b"Ee")? {
        check_next(ls, b"+-")?;
    }
    while isalnum(ls.current) || ls.current == i32::from(b'_') {
        save_and_next(ls)?;
    }
    match luaO_str2d(cstr(&ls.buff)) {
        Some(r) => Ok(SemInfo::Number(r)),
        None => Err(luaX_lexerror(ls, b"malformed number", TK_NUMBER)),
    }
}

/// Reads `[==` or `]==`. Says how many `=` there were if the same bracket follows; if not, -1 less that number.
fn skip_sep<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<i32> {
    let mut count = 0;
    let s = ls.current;
    save_and_next(ls)?;
    while ls.current == i32::from(b'=') {
        save_and_next(ls)?;
        count += 1;
    }
    Ok(if ls.current == s { count } else { -count - 1 })
}

/// Reads a long string, or a long comment when `is_string` is false, behind its first bracket and `sep` signs.
fn read_long_string<H>(
    ls: &mut LexState<'_, '_, H>,
    is_string: bool,
    sep: i32,
) -> LuaResult<SemInfo> {
    save_and_next(ls)?; // skips the second `[`
    if currIsNewline(ls) {
        inclinenumber(ls)?; // a newline at the beginning does not count
    }
    loop {
        if ls.current == EOZ {
            let msg: &[u8] =
                if is_string { b"unfinished long string" } else { b"unfinished long comment" };
            return Err(luaX_lexerror(ls, msg, TK_EOS));
        } else if ls.current == i32::from(b'[') {
            if skip_sep(ls)? == sep {
                save_and_next(ls)?; // skips the second `[`
                if sep == 0 {
                    let msg = b"nesting of [[...]] is deprecated";
                    return Err(luaX_lexerror(ls, msg, i32::from(b'[')));
                }
            }
        } else if ls.current == i32::from(b']') {
            if skip_sep(ls)? == sep {
                save_and_next(ls)?; // skips the second `]`
                break;
            }
        } else if currIsNewline(ls) {
            save(ls, i32::from(b'\n'));
            inclinenumber(ls)?;
            if !is_string {
                ls.buff.clear();
            }
        } else if is_string {
            save_and_next(ls)?;
        } else {
            next(ls)?;
        }
    }
    if !is_string {
        return Ok(SemInfo::Nothing);
    }
    let delimiter = 2 + sep as usize;
    let end = ls.buff.len() - delimiter;
    Ok(SemInfo::String(newstring_of_buffer(ls, delimiter, end)?))
}

fn read_string<H>(ls: &mut LexState<'_, '_, H>, del: i32) -> LuaResult<SemInfo> {
    save_and_next(ls)?;
    while ls.current != del {
        if ls.current == EOZ {
            return Err(luaX_lexerror(ls, b"unfinished string", TK_EOS));
        }
        if currIsNewline(ls) {
            return Err(luaX_lexerror(ls, b"unfinished string", TK_STRING));
        }
        if ls.current != i32::from(b'\\') {
            save_and_next(ls)?;
            continue;
        }
        next(ls)?; // the `\` is not saved
        let c = match ls.current {
            EOZ => continue, // the next turn complains
            c if isdigit(c) => {
                let mut c = 0;
                for _ in 0..3 {
                    c = 10 * c + (ls.current - i32::from(b'0'));
                    next(ls)?;
                    if !isdigit(ls.current) {
                        break;
                    }
                }
                if c > i32::from(u8::MAX) {
                    return Err(luaX_lexerror(ls, b"escape sequence too large", TK_STRING));
                }
                save(ls, c);
                continue;
            }
            c => match c as u8 {
                b'a' => 7,
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 11,
                b'\n' | b'\r' => {
                    save(ls, i32::from(b'\n'));
                    inclinenumber(ls)?;
                    continue;
                }
                c => c, // `\\`, `\"`, `\'`, and whatever has no meaning of its own
            },
        };
        save(ls, i32::from(c));
        next(ls)?;
    }
    save_and_next(ls)?; // the delimiter
    let end = ls.buff.len() - 1;
    Ok(SemInfo::String(newstring_of_buffer(ls, 1, end)?))
}

/// Takes the current character, and the `=` behind it if there is one.
fn with_equal<H>(ls: &mut LexState<'_, '_, H>, token: i32) -> LuaResult<i32> {
    let single = ls.current;
    next(ls)?;
    if ls.current != i32::from(b'=') {
        return Ok(single);
    }
    next(ls)?;
    Ok(token)
}

/// Reads one token.
fn llex<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<Token> {
    let plain = |token| Ok(Token { token, seminfo: SemInfo::Nothing });
    ls.buff.clear();
    loop {
        let c = ls.current;
        if c == EOZ {
            return plain(TK_EOS);
        }
        match c as u8 {
            b'\n' | b'\r' => inclinenumber(ls)?,
            b'-' => {
                next(ls)?;
                if ls.current != i32::from(b'-') {
                    return plain(i32::from(b'-'));
                }
                next(ls)?;
                if ls.current == i32::from(b'[') {
                    let sep = skip_sep(ls)?;
                    ls.buff.clear();
                    if sep >= 0 {
                        read_long_string(ls, false, sep)?;
                        ls.buff.clear();
                        continue;
                    }
                }
                while !currIsNewline(ls) && ls.current != EOZ {
                    next(ls)?;
                }
            }
            b'[' => {
                let sep = skip_sep(ls)?;
                if sep >= 0 {
                    let seminfo = read_long_string(ls, true, sep)?;
                    return Ok(Token { token: TK_STRING, seminfo });
                } else if sep == -1 {
                    return plain(i32::from(b'['));
                }
                return Err(luaX_lexerror(ls, b"invalid long string delimiter", TK_STRING));
            }
            b'=' => return plain(with_equal(ls, TK_EQ)?),
            b'<' => return plain(with_equal(ls, TK_LE)?),
            b'>' => return plain(with_equal(ls, TK_GE)?),
            b'~' => return plain(with_equal(ls, TK_NE)?),
            b'"' | b'\'' => {
                let seminfo = read_string(ls, c)?;
                return Ok(Token { token: TK_STRING, seminfo });
            }
            b'.' => {
                save_and_next(ls)?;
                if check_next(ls, b".")? {
                    let dots = check_next(ls, b".")?;
                    return plain(if dots { TK_DOTS } else { TK_CONCAT });
                }
                if !isdigit(ls.current) {
                    return plain(i32::from(b'.'));
                }
                let seminfo = read_numeral(ls)?;
                return Ok(Token { token: TK_NUMBER, seminfo });
            }
            _ if isspace(c) => next(ls)?,
            _ if isdigit(c) => {
                let seminfo = read_numeral(ls)?;
                return Ok(Token { token: TK_NUMBER, seminfo });
            }
            _ if isalpha(c) || c == i32::from(b'_') => {
                loop {
                    save_and_next(ls)?;
                    if !isalnum(ls.current) && ls.current != i32::from(b'_') {
                        break;
                    }
                }
                let end = ls.buff.len();
                let ts = newstring_of_buffer(ls, 0, end)?;
                let reserved = ls.L.g.strings.get(ts).reserved;
                if reserved > 0 {
                    return plain(i32::from(reserved) - 1 + FIRST_RESERVED);
                }
                return Ok(Token { token: TK_NAME, seminfo: SemInfo::String(ts) });
            }
            _ => {
                next(ls)?;
                return plain(c);
            }
        }
    }
}

/// Goes to the next token.
pub fn luaX_next<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<()> {
    ls.lastline = ls.linenumber;
    if ls.lookahead.token != TK_EOS {
        ls.t = ls.lookahead;
        ls.lookahead.token = TK_EOS;
    } else {
        ls.t = llex(ls)?;
    }
    Ok(())
}

/// Reads the token behind the current one into `lookahead`.
pub fn luaX_lookahead<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<()> {
    ls.lookahead = llex(ls)?;
    Ok(())
}
