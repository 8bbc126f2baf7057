//! `lparser.c`: the parser. It goes through the source once and calls the code generator as it reads.
//!
//! Read first: `statement`, `subexpr`, `primaryexp`. Differs: the functions being compiled are a `Vec` in the lexer's state
//! instead of a chain through the C stack, and so are the blocks of each; the left sides of an assignment are a `Vec`;
//! expressions are returned, not written through a pointer.

use std::collections::HashMap;
use std::rc::Rc;

use crate::lcode::*;
use crate::ldebug::luaG_runerror;
use crate::llex::*;
use crate::lobject::{
    LocVar, Proto, StrRef, TValue, Tab, VARARG_HASARG, VARARG_ISVARARG, VARARG_NEEDSARG,
    luaO_int2fb,
};
use crate::lopcodes::*;
use crate::lstate::{LUA_MULTRET, LUAI_MAXCCALLS, LuaError, LuaResult, lua_State};
use crate::lstring::luaS_newlstr;
use crate::lzio::ZIO;

/// The most active local variables of a function.
const LUAI_MAXVARS: usize = 200;
/// The most upvalues of a function.
const LUAI_MAXUPVALUES: usize = 60;
const MAX_INT: i32 = i32::MAX - 2;

/// Where the value of an expression is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
pub enum expkind {
    /// There is none.
    VVOID,
    VNIL,
    VTRUE,
    VFALSE,
    /// `info` is the index of a constant.
    VK,
    /// `nval` is the number.
    VKNUM,
    /// `info` is the register of a local variable.
    VLOCAL,
    /// `info` is the index of an upvalue.
    VUPVAL,
    /// `info` is the index of the constant that names a global variable.
    VGLOBAL,
    /// `info` is the register of a table, `aux` the RK argument for its key.
    VINDEXED,
    /// `info` is the position of a jump.
    VJMP,
    /// `info` is the position of an instruction that can put its result anywhere.
    VRELOCABLE,
    /// `info` is the register with the result.
    VNONRELOC,
    /// `info` is the position of a call.
    VCALL,
    /// `info` is the position of a VARARG.
    VVARARG,
}
use expkind::*;

/// An expression: where its value is, and the jumps that leave it early.
#[derive(Clone, Copy)]
pub struct expdesc {
    pub k: expkind,
    pub info: i32,
    pub aux: i32,
    pub nval: f64,
    /// The jumps that leave it when it is true.
    pub t: i32,
    /// The jumps that leave it when it is false.
    pub f: i32,
}

impl expdesc {
    /// The number `n`.
    pub fn number(nval: f64) -> expdesc {
        expdesc { nval, ..init_exp(VKNUM, 0) }
    }
}

/// Where a closure finds an upvalue when it is made.
#[derive(Clone, Copy)]
struct upvaldesc {
    /// VLOCAL or VUPVAL, of the enclosing function.
    k: expkind,
    info: u8,
}

/// A block that is being read.
struct BlockCnt {
    /// The jumps out of this loop.
    breaklist: i32,
    /// How many local variables there were when it began.
    nactvar: i32,
    /// Whether a closure uses a variable of it.
    upval: bool,
    /// Whether it is a loop.
    isbreakable: bool,
}

/// A constant on its way into a function.
pub enum Constant {
    Nil,
    Boolean(bool),
    Number(f64),
    String(StrRef),
}

/// A constant as the key of `FuncState::h`.
#[derive(PartialEq, Eq, Hash)]
pub enum ConstantKey {
    Nil,
    Boolean(bool),
    Number(u64),
    String(u32),
}

impl Constant {
    /// What tells it from others. Zero and minus zero are one constant, as they are one key of a table.
    pub fn key(&self) -> ConstantKey {
        match *self {
            Constant::Nil => ConstantKey::Nil,
            Constant::Boolean(b) => ConstantKey::Boolean(b),
            Constant::Number(n) => ConstantKey::Number(if n == 0.0 { 0 } else { n.to_bits() }),
            Constant::String(s) => ConstantKey::String(s.idx),
        }
    }

    pub fn value(&self) -> TValue {
        match *self {
            Constant::Nil => TValue::Nil,
            Constant::Boolean(b) => TValue::Boolean(b),
            Constant::Number(n) => TValue::Number(n),
            Constant::String(s) => TValue::String(s),
        }
    }
}

/// What is known of a function while its code is generated.
pub struct FuncState {
    pub f: Proto,
    /// The constants of `f.k`, by value.
    pub h: HashMap<ConstantKey, i32>,
    /// The blocks around the current position, the innermost last.
    bl: Vec<BlockCnt>,
    /// The last position that a jump leads to.
    pub lasttarget: i32,
    /// The jumps that lead to the next instruction.
    pub jpc: i32,
    /// The first free register.
    pub freereg: i32,
    /// How many local variables are active.
    pub nactvar: i32,
    upvalues: Vec<upvaldesc>,
    /// The declared variables, by register: indices into `f.locvars`.
    actvar: [u16; LUAI_MAXVARS],
}

impl FuncState {
    /// The position of the next instruction.
    pub fn pc(&self) -> i32 {
        self.f.code.len() as i32
    }

    fn getlocvar(&mut self, i: i32) -> &mut LocVar {
        &mut self.f.locvars[usize::from(self.actvar[i as usize])]
    }
}

impl<H> LexState<'_, '_, H> {
    /// The innermost function.
    pub fn fs_mut(&mut self) -> &mut FuncState {
        self.fs.last_mut().expect("a function is being compiled")
    }
}

fn hasmultret(k: expkind) -> bool {
    k == VCALL || k == VVARARG
}

/// The error of a list of the function that cannot grow (`luaM_growaux_`).
#[cold]
pub fn growth_error<H, T>(ls: &mut LexState<'_, '_, H>, msg: &str) -> LuaResult<T> {
    luaG_runerror(ls.L, msg.as_bytes())
}

fn quoted(token: &[u8], rest: &[u8]) -> Vec<u8> {
    [b"'", token, b"'", rest].concat()
}

#[cold]
fn error_expected<H>(ls: &mut LexState<'_, '_, H>, token: i32) -> LuaError {
    let msg = quoted(&luaX_token2str(token), b" expected");
    luaX_syntaxerror(ls, &msg)
}

/// The error that the function `ls.fs[level]` has more than `limit` of something.
#[cold]
fn errorlimit<H>(ls: &mut LexState<'_, '_, H>, level: usize, limit: i32, what: &str) -> LuaError {
    let linedefined = ls.fs[level].f.linedefined;
    let msg = if linedefined == 0 {
        format!("main function has more than {limit} {what}")
    } else {
        format!("function at line {linedefined} has more than {limit} {what}")
    };
    luaX_lexerror(ls, msg.as_bytes(), 0)
}

fn luaY_checklimit<H>(
    ls: &mut LexState<'_, '_, H>,
    v: i32,
    limit: i32,
    what: &str,
) -> LuaResult<()> {
    if v > limit {
        let level = ls.fs.len() - 1;
        return Err(errorlimit(ls, level, limit, what));
    }
    Ok(())
}

fn testnext<H>(ls: &mut LexState<'_, '_, H>, c: i32) -> LuaResult<bool> {
    if ls.t.token != c {
        return Ok(false);
    }
    luaX_next(ls)?;
    Ok(true)
}

fn check<H>(ls: &mut LexState<'_, '_, H>, c: i32) -> LuaResult<()> {
    if ls.t.token != c {
        return Err(error_expected(ls, c));
    }
    Ok(())
}

fn checknext<H>(ls: &mut LexState<'_, '_, H>, c: i32) -> LuaResult<()> {
    check(ls, c)?;
    luaX_next(ls)
}

/// Takes `what`, which closes the `who` of line `place`.
fn check_match<H>(ls: &mut LexState<'_, '_, H>, what: i32, who: i32, place: i32) -> LuaResult<()> {
    if testnext(ls, what)? {
        return Ok(());
    }
    if place == ls.linenumber {
        return Err(error_expected(ls, what));
    }
    let mut msg = quoted(&luaX_token2str(what), b" expected (to close ");
    msg.extend(quoted(&luaX_token2str(who), format!(" at line {place})").as_bytes()));
    Err(luaX_syntaxerror(ls, &msg))
}

/// The string of the current token, which is a name or a string.
fn token_string<H>(ls: &LexState<'_, '_, H>) -> StrRef {
    match ls.t.seminfo {
        SemInfo::String(ts) => ts,
        SemInfo::Nothing | SemInfo::Number(_) => unreachable!("names and strings have their text"),
    }
}

fn str_checkname<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<StrRef> {
    check(ls, TK_NAME)?;
    let ts = token_string(ls);
    luaX_next(ls)?;
    Ok(ts)
}

fn init_exp(k: expkind, info: i32) -> expdesc {
    expdesc { k, info, aux: 0, nval: 0.0, t: NO_JUMP, f: NO_JUMP }
}

fn codestring<H>(ls: &mut LexState<'_, '_, H>, s: StrRef) -> LuaResult<expdesc> {
    let k = luaK_stringK(ls, s)?;
    Ok(init_exp(VK, k))
}

fn checkname<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<expdesc> {
    let name = str_checkname(ls)?;
    codestring(ls, name)
}

fn registerlocalvar<H>(ls: &mut LexState<'_, '_, H>, varname: StrRef) -> LuaResult<u16> {
    let f = &mut ls.fs_mut().f;
    let n = f.locvars.len();
    if n >= i16::MAX as usize {
        return growth_error(ls, "too many local variables");
    }
    f.locvars.push(LocVar { varname, startpc: 0, endpc: 0 });
    Ok(n as u16)
}

fn new_localvarliteral<H>(ls: &mut LexState<'_, '_, H>, name: &str, n: i32) -> LuaResult<()> {
    let name = luaX_newstring(ls, name.as_bytes())?;
    new_localvar(ls, name, n)
}

/// Declares the variable that will be the `n`th after the active ones.
fn new_localvar<H>(ls: &mut LexState<'_, '_, H>, name: StrRef, n: i32) -> LuaResult<()> {
    let at = ls.fs_mut().nactvar + n;
    luaY_checklimit(ls, at + 1, LUAI_MAXVARS as i32, "local variables")?;
    let var = registerlocalvar(ls, name)?;
    ls.fs_mut().actvar[at as usize] = var;
    Ok(())
}

/// Activates the last `nvars` declared variables.
fn adjustlocalvars<H>(ls: &mut LexState<'_, '_, H>, nvars: i32) {
    let fs = ls.fs_mut();
    let pc = fs.pc();
    for i in fs.nactvar..fs.nactvar + nvars {
        fs.getlocvar(i).startpc = pc;
    }
    fs.nactvar += nvars;
}

fn removevars(fs: &mut FuncState, tolevel: i32) {
    let pc = fs.pc();
    while fs.nactvar > tolevel {
        fs.nactvar -= 1;
        fs.getlocvar(fs.nactvar).endpc = pc;
    }
}

/// The index of the upvalue `name` of the function `ls.fs[level]`, which is `v` in the one around it.
fn indexupvalue<H>(
    ls: &mut LexState<'_, '_, H>,
    level: usize,
    name: StrRef,
    v: &expdesc,
) -> LuaResult<i32> {
    let fs = &mut ls.fs[level];
    let known = fs.upvalues.iter().position(|u| u.k == v.k && i32::from(u.info) == v.info);
    if let Some(i) = known {
        return Ok(i as i32);
    }
    let n = fs.upvalues.len();
    if n + 1 > LUAI_MAXUPVALUES {
        return Err(errorlimit(ls, level, LUAI_MAXUPVALUES as i32, "upvalues"));
    }
    fs.f.upvalues.push(name);
    fs.upvalues.push(upvaldesc { k: v.k, info: v.info as u8 });
    fs.f.nups += 1;
    Ok(n as i32)
}

/// The register of the local variable `n`.
fn searchvar(fs: &mut FuncState, n: StrRef) -> Option<i32> {
    (0..fs.nactvar).rev().find(|&i| fs.getlocvar(i).varname == n)
}

/// Marks the block that declared the variable in register `level`: a closure uses it.
fn markupval(fs: &mut FuncState, level: i32) {
    if let Some(bl) = fs.bl.iter_mut().rev().find(|bl| bl.nactvar <= level) {
        bl.upval = true;
    }
}

/// Looks for the variable `n` in the function `ls.fs[level - 1]` and, for an upvalue, in the ones around it.
fn singlevaraux<H>(
    ls: &mut LexState<'_, '_, H>,
    level: usize,
    n: StrRef,
    base: bool,
) -> LuaResult<expdesc> {
    let Some(at) = level.checked_sub(1) else {
        return Ok(init_exp(VGLOBAL, NO_REG));
    };
    if let Some(v) = searchvar(&mut ls.fs[at], n) {
        if !base {
            markupval(&mut ls.fs[at], v);
        }
        return Ok(init_exp(VLOCAL, v));
    }
    let mut var = singlevaraux(ls, at, n, false)?;
    if var.k != VGLOBAL {
        var.info = indexupvalue(ls, at, n, &var)?;
        var.k = VUPVAL;
    }
    Ok(var)
}

fn singlevar<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<expdesc> {
    let varname = str_checkname(ls)?;
    let level = ls.fs.len();
    let mut var = singlevaraux(ls, level, varname, true)?;
    if var.k == VGLOBAL {
        var.info = luaK_stringK(ls, varname)?;
    }
    Ok(var)
}

/// Makes the `nexps` values, the last of which is `e`, `nvars` ones.
fn adjust_assign<H>(
    ls: &mut LexState<'_, '_, H>,
    nvars: i32,
    nexps: i32,
    e: &mut expdesc,
) -> LuaResult<()> {
    let mut extra = nvars - nexps;
    if hasmultret(e.k) {
        extra = (extra + 1).max(0); // the call gives one, and those that lack
        luaK_setreturns(ls, e, extra)?;
        if extra > 1 {
            luaK_reserveregs(ls, extra - 1)?;
        }
    } else {
        if e.k != VVOID {
            luaK_exp2nextreg(ls, e)?;
        }
        if extra > 0 {
            let reg = ls.fs_mut().freereg;
            luaK_reserveregs(ls, extra)?;
            luaK_nil(ls, reg, extra)?;
        }
    }
    Ok(())
}

fn enterlevel<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<()> {
    ls.L.th.nCcalls += 1;
    if ls.L.th.nCcalls > LUAI_MAXCCALLS {
        return Err(luaX_lexerror(ls, b"chunk has too many syntax levels", 0));
    }
    Ok(())
}

/// Leaves a level. After an error nobody does: who called the parser sets the count back.
fn leavelevel<H>(ls: &mut LexState<'_, '_, H>) {
    ls.L.th.nCcalls -= 1;
}

fn enterblock<H>(ls: &mut LexState<'_, '_, H>, isbreakable: bool) {
    let fs = ls.fs_mut();
    let nactvar = fs.nactvar;
    fs.bl.push(BlockCnt { breaklist: NO_JUMP, nactvar, upval: false, isbreakable });
}

fn leaveblock<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<()> {
    let fs = ls.fs_mut();
    let bl = fs.bl.pop().expect("a block is left once");
    removevars(fs, bl.nactvar);
    if bl.upval {
        luaK_codeABC(ls, OP_CLOSE, bl.nactvar, 0, 0)?;
    }
    let fs = ls.fs_mut();
    fs.freereg = fs.nactvar;
    luaK_patchtohere(ls, bl.breaklist)
}

/// The closure of the function that was just read.
fn pushclosure<H>(ls: &mut LexState<'_, '_, H>, func: FuncState) -> LuaResult<expdesc> {
    let np = ls.fs_mut().f.p.len();
    if np >= MAXARG_Bx as usize {
        return growth_error(ls, "constant table overflow");
    }
    ls.fs_mut().f.p.push(Rc::new(func.f));
    let pc = luaK_codeABx(ls, OP_CLOSURE, 0, np as i32)?;
    for u in &func.upvalues {
        let o = if u.k == VLOCAL { OP_MOVE } else { OP_GETUPVAL };
        luaK_codeABC(ls, o, 0, i32::from(u.info), 0)?;
    }
    Ok(init_exp(VRELOCABLE, pc))
}

fn open_func<H>(ls: &mut LexState<'_, '_, H>) {
    let mut f = Proto::new(ls.source);
    f.maxstacksize = 2; // the registers 0 and 1 are always there
    ls.fs.push(FuncState {
        f,
        h: HashMap::new(),
        bl: Vec::new(),
        lasttarget: -1,
        jpc: NO_JUMP,
        freereg: 0,
        nactvar: 0,
        upvalues: Vec::new(),
        actvar: [0; LUAI_MAXVARS],
    });
}

fn close_func<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<FuncState> {
    removevars(ls.fs_mut(), 0);
    luaK_ret(ls, 0, 0)?;
    let mut fs = ls.fs.pop().expect("the function was opened");
    let f = &mut fs.f;
    f.code.shrink_to_fit();
    f.lineinfo.shrink_to_fit();
    f.k.shrink_to_fit();
    f.p.shrink_to_fit();
    f.locvars.shrink_to_fit();
    f.upvalues.shrink_to_fit();
    Ok(fs)
}

/// Compiles the text in `z`, whose name is `name`, into its main function. The caller has pushed a table, in which the strings
/// of the chunk are kept alive until the function has them.
pub fn luaY_parser<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    z: &mut ZIO<'_, H>,
    name: &[u8],
) -> LuaResult<Rc<Proto>> {
    let Tab(h) = L.th.stack[L.th.top - 1] else { unreachable!("the caller pushed a table") };
    let source = luaS_newlstr(L, name);
    let mut ls = luaX_setinput(L, host, z, h, source)?;
    open_func(&mut ls);
    ls.fs_mut().f.is_vararg = VARARG_ISVARARG;
    luaX_next(&mut ls)?;
    chunk(&mut ls)?;
    check(&mut ls, TK_EOS)?;
    Ok(Rc::new(close_func(&mut ls)?.f))
}

// The rules of the grammar.

fn field<H>(ls: &mut LexState<'_, '_, H>, v: &mut expdesc) -> LuaResult<()> {
    // field -> ['.' | ':'] NAME
    luaK_exp2anyreg(ls, v)?;
    luaX_next(ls)?; // the dot or colon
    let mut key = checkname(ls)?;
    luaK_indexed(ls, v, &mut key)
}

fn yindex<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<expdesc> {
    // index -> '[' expr ']'
    luaX_next(ls)?;
    let mut v = expr(ls)?;
    luaK_exp2val(ls, &mut v)?;
    checknext(ls, i32::from(b']'))?;
    Ok(v)
}

// Rules for constructors.

/// A constructor that is being read.
struct ConsControl {
    /// The list item that was read last.
    v: expdesc,
    /// The register of the table.
    t: i32,
    /// How many fields with a key there were.
    nh: i32,
    /// How many list items.
    na: i32,
    /// How many of them wait to be stored.
    tostore: i32,
}

fn recfield<H>(ls: &mut LexState<'_, '_, H>, cc: &mut ConsControl) -> LuaResult<()> {
    // recfield -> (NAME | `['exp1`]') = exp1
    let reg = ls.fs_mut().freereg;
    let mut key = if ls.t.token == TK_NAME {
        luaY_checklimit(ls, cc.nh, MAX_INT, "items in a constructor")?;
        checkname(ls)?
    } else {
        yindex(ls)?
    };
    cc.nh += 1;
    checknext(ls, i32::from(b'='))?;
    let rkkey = luaK_exp2RK(ls, &mut key)?;
    let mut val = expr(ls)?;
    let rkval = luaK_exp2RK(ls, &mut val)?;
    luaK_codeABC(ls, OP_SETTABLE, cc.t, rkkey, rkval)?;
    ls.fs_mut().freereg = reg;
    Ok(())
}

fn closelistfield<H>(ls: &mut LexState<'_, '_, H>, cc: &mut ConsControl) -> LuaResult<()> {
    if cc.v.k == VVOID {
        return Ok(()); // there was no list item
    }
    luaK_exp2nextreg(ls, &mut cc.v)?;
    cc.v.k = VVOID;
    if cc.tostore == LFIELDS_PER_FLUSH {
        luaK_setlist(ls, cc.t, cc.na, cc.tostore)?;
        cc.tostore = 0;
    }
    Ok(())
}

fn lastlistfield<H>(ls: &mut LexState<'_, '_, H>, cc: &mut ConsControl) -> LuaResult<()> {
    if cc.tostore == 0 {
        return Ok(());
    }
    if hasmultret(cc.v.k) {
        luaK_setmultret(ls, &cc.v)?;
        luaK_setlist(ls, cc.t, cc.na, LUA_MULTRET)?;
        cc.na -= 1; // nobody knows how many the last one gives
    } else {
        if cc.v.k != VVOID {
            luaK_exp2nextreg(ls, &mut cc.v)?;
        }
        luaK_setlist(ls, cc.t, cc.na, cc.tostore)?;
    }
    Ok(())
}

fn listfield<H>(ls: &mut LexState<'_, '_, H>, cc: &mut ConsControl) -> LuaResult<()> {
    cc.v = expr(ls)?;
    luaY_checklimit(ls, cc.na, MAX_INT, "items in a constructor")?;
    cc.na += 1;
    cc.tostore += 1;
    Ok(())
}

fn constructor<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<expdesc> {
    // constructor -> '{' [ item { (',' | ';') item } [',' | ';'] ] '}'
    let line = ls.linenumber;
    let pc = luaK_codeABC(ls, OP_NEWTABLE, 0, 0, 0)?;
    let mut t = init_exp(VRELOCABLE, pc);
    luaK_exp2nextreg(ls, &mut t)?;
    let mut cc = ConsControl { v: init_exp(VVOID, 0), t: t.info, nh: 0, na: 0, tostore: 0 };
    checknext(ls, i32::from(b'{'))?;
    loop {
        if ls.t.token == i32::from(b'}') {
            break;
        }
        closelistfield(ls, &mut cc)?;
        if ls.t.token == TK_NAME {
            luaX_lookahead(ls)?;
            if ls.lookahead.token == i32::from(b'=') {
                recfield(ls, &mut cc)?;
            } else {
                listfield(ls, &mut cc)?;
            }
        } else if ls.t.token == i32::from(b'[') {
            recfield(ls, &mut cc)?;
        } else {
            listfield(ls, &mut cc)?;
        }
        if !testnext(ls, i32::from(b','))? && !testnext(ls, i32::from(b';'))? {
            break;
        }
    }
    check_match(ls, i32::from(b'}'), i32::from(b'{'), line)?;
    lastlistfield(ls, &mut cc)?;
    let code = &mut ls.fs_mut().f.code[pc as usize];
    SETARG_B(code, luaO_int2fb(cc.na as u32));
    SETARG_C(code, luaO_int2fb(cc.nh as u32));
    Ok(t)
}

fn parlist<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<()> {
    // parlist -> [ param { `,' param } ]
    let mut nparams = 0;
    ls.fs_mut().f.is_vararg = 0;
    if ls.t.token != i32::from(b')') {
        loop {
            match ls.t.token {
                TK_NAME => {
                    let name = str_checkname(ls)?;
                    new_localvar(ls, name, nparams)?;
                    nparams += 1;
                }
                TK_DOTS => {
                    luaX_next(ls)?;
                    // The name that the arguments had before `...` could be used in expressions.
                    new_localvarliteral(ls, "arg", nparams)?;
                    nparams += 1;
                    ls.fs_mut().f.is_vararg = VARARG_HASARG | VARARG_NEEDSARG | VARARG_ISVARARG;
                }
                _ => return Err(luaX_syntaxerror(ls, b"<name> or '...' expected")),
            }
            if ls.fs_mut().f.is_vararg != 0 || !testnext(ls, i32::from(b','))? {
                break;
            }
        }
    }
    adjustlocalvars(ls, nparams);
    let fs = ls.fs_mut();
    fs.f.numparams = (fs.nactvar - i32::from(fs.f.is_vararg & VARARG_HASARG)) as u8;
    let nactvar = fs.nactvar;
    luaK_reserveregs(ls, nactvar)
}

fn body<H>(ls: &mut LexState<'_, '_, H>, needself: bool, line: i32) -> LuaResult<expdesc> {
    // body ->  `(' parlist `)' chunk END
    open_func(ls);
    ls.fs_mut().f.linedefined = line;
    checknext(ls, i32::from(b'('))?;
    if needself {
        new_localvarliteral(ls, "self", 0)?;
        adjustlocalvars(ls, 1);
    }
    parlist(ls)?;
    checknext(ls, i32::from(b')'))?;
    chunk(ls)?;
    ls.fs_mut().f.lastlinedefined = ls.linenumber;
    check_match(ls, TK_END, TK_FUNCTION, line)?;
    let new_fs = close_func(ls)?;
    pushclosure(ls, new_fs)
}

/// Reads expressions; all but the last, which is returned with their number, are in registers.
fn explist1<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<(i32, expdesc)> {
    // explist1 -> expr { `,' expr }
    let mut n = 1;
    let mut v = expr(ls)?;
    while testnext(ls, i32::from(b','))? {
        luaK_exp2nextreg(ls, &mut v)?;
        v = expr(ls)?;
        n += 1;
    }
    Ok((n, v))
}

const L_PAREN: i32 = b'(' as i32;
const L_BRACE: i32 = b'{' as i32;
const L_BRACKET: i32 = b'[' as i32;
const DOT: i32 = b'.' as i32;
const COLON: i32 = b':' as i32;

/// Reads the arguments of a call of `f`, which is in a register, and makes it the call.
fn funcargs<H>(ls: &mut LexState<'_, '_, H>, f: &mut expdesc) -> LuaResult<()> {
    let line = ls.linenumber;
    let mut args = match ls.t.token {
        L_PAREN => {
            // funcargs -> `(' [ explist1 ] `)'
            if line != ls.lastline {
                let msg = b"ambiguous syntax (function call x new statement)";
                return Err(luaX_syntaxerror(ls, msg));
            }
            luaX_next(ls)?;
            let args = if ls.t.token == i32::from(b')') {
                init_exp(VVOID, 0)
            } else {
                let (_, args) = explist1(ls)?;
                luaK_setmultret(ls, &args)?;
                args
            };
            check_match(ls, i32::from(b')'), L_PAREN, line)?;
            args
        }
        L_BRACE => constructor(ls)?,
        TK_STRING => {
            let s = token_string(ls);
            let args = codestring(ls, s)?;
            luaX_next(ls)?;
            args
        }
        _ => return Err(luaX_syntaxerror(ls, b"function arguments expected")),
    };
    let base = f.info;
    let nparams = if hasmultret(args.k) {
        LUA_MULTRET
    } else {
        if args.k != VVOID {
            luaK_exp2nextreg(ls, &mut args)?;
        }
        ls.fs_mut().freereg - (base + 1)
    };
    let pc = luaK_codeABC(ls, OP_CALL, base, nparams + 1, 2)?;
    *f = init_exp(VCALL, pc);
    luaK_fixline(ls, line);
    // The call takes function and arguments, and leaves one result unless that is changed.
    ls.fs_mut().freereg = base + 1;
    Ok(())
}

// Expressions.

fn prefixexp<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<expdesc> {
    // prefixexp -> NAME | '(' expr ')'
    match ls.t.token {
        L_PAREN => {
            let line = ls.linenumber;
            luaX_next(ls)?;
            let mut v = expr(ls)?;
            check_match(ls, i32::from(b')'), L_PAREN, line)?;
            luaK_dischargevars(ls, &mut v)?;
            Ok(v)
        }
        TK_NAME => singlevar(ls),
        _ => Err(luaX_syntaxerror(ls, b"unexpected symbol")),
    }
}

fn primaryexp<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<expdesc> {
    // primaryexp -> prefixexp { `.' NAME | `[' exp `]' | `:' NAME funcargs | funcargs }
    let mut v = prefixexp(ls)?;
    loop {
        match ls.t.token {
            DOT => field(ls, &mut v)?,
            L_BRACKET => {
                luaK_exp2anyreg(ls, &mut v)?;
                let mut key = yindex(ls)?;
                luaK_indexed(ls, &mut v, &mut key)?;
            }
            COLON => {
                luaX_next(ls)?;
                let mut key = checkname(ls)?;
                luaK_self(ls, &mut v, &mut key)?;
                funcargs(ls, &mut v)?;
            }
            L_PAREN | TK_STRING | L_BRACE => {
                luaK_exp2nextreg(ls, &mut v)?;
                funcargs(ls, &mut v)?;
            }
            _ => return Ok(v),
        }
    }
}

fn simpleexp<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<expdesc> {
    // simpleexp -> NUMBER | STRING | NIL | true | false | ... | constructor | FUNCTION body | primaryexp
    let v = match ls.t.token {
        TK_NUMBER => match ls.t.seminfo {
            SemInfo::Number(r) => expdesc::number(r),
            SemInfo::Nothing | SemInfo::String(_) => unreachable!("a number has its value"),
        },
        TK_STRING => {
            let s = token_string(ls);
            codestring(ls, s)?
        }
        TK_NIL => init_exp(VNIL, 0),
        TK_TRUE => init_exp(VTRUE, 0),
        TK_FALSE => init_exp(VFALSE, 0),
        TK_DOTS => {
            if ls.fs_mut().f.is_vararg == 0 {
                let msg = b"cannot use '...' outside a vararg function";
                return Err(luaX_syntaxerror(ls, msg));
            }
            ls.fs_mut().f.is_vararg &= !VARARG_NEEDSARG; // who uses `...` does without `arg`
            let pc = luaK_codeABC(ls, OP_VARARG, 0, 1, 0)?;
            init_exp(VVARARG, pc)
        }
        L_BRACE => return constructor(ls),
        TK_FUNCTION => {
            luaX_next(ls)?;
            let line = ls.linenumber;
            return body(ls, false, line);
        }
        _ => return primaryexp(ls),
    };
    luaX_next(ls)?;
    Ok(v)
}

fn getunopr(op: i32) -> UnOpr {
    match op {
        TK_NOT => OPR_NOT,
        _ if op == i32::from(b'-') => OPR_MINUS,
        _ if op == i32::from(b'#') => OPR_LEN,
        _ => OPR_NOUNOPR,
    }
}

fn getbinopr(op: i32) -> BinOpr {
    match op {
        TK_CONCAT => OPR_CONCAT,
        TK_NE => OPR_NE,
        TK_EQ => OPR_EQ,
        TK_LE => OPR_LE,
        TK_GE => OPR_GE,
        TK_AND => OPR_AND,
        TK_OR => OPR_OR,
        _ if op >= FIRST_RESERVED => OPR_NOBINOPR,
        _ => match op as u8 {
            b'+' => OPR_ADD,
            b'-' => OPR_SUB,
            b'*' => OPR_MUL,
            b'/' => OPR_DIV,
            b'%' => OPR_MOD,
            b'^' => OPR_POW,
            b'<' => OPR_LT,
            b'>' => OPR_GT,
            _ => OPR_NOBINOPR,
        },
    }
}

/// How strongly an operator binds to its left and its right, in the order of `BinOpr`.
const priority: [(u32, u32); 15] = [
    (6, 6),  // +
    (6, 6),  // -
    (7, 7),  // *
    (7, 7),  // /
    (7, 7),  // %
    (10, 9), // ^, which groups to the right
    (5, 4),  // .., too
    (3, 3),  // ~=
    (3, 3),  // ==
    (3, 3),  // <
    (3, 3),  // <=
    (3, 3),  // >
    (3, 3),  // >=
    (2, 2),  // and
    (1, 1),  // or
];

const UNARY_PRIORITY: u32 = 8;

/// Reads an expression up to the first binary operator that binds not stronger than `limit`, which is returned with it.
fn subexpr<H>(ls: &mut LexState<'_, '_, H>, limit: u32) -> LuaResult<(BinOpr, expdesc)> {
    // subexpr -> (simpleexp | unop subexpr) { binop subexpr }
    enterlevel(ls)?;
    let uop = getunopr(ls.t.token);
    let mut v = if uop != OPR_NOUNOPR {
        luaX_next(ls)?;
        let (_, mut v) = subexpr(ls, UNARY_PRIORITY)?;
        luaK_prefix(ls, uop, &mut v)?;
        v
    } else {
        simpleexp(ls)?
    };
    let mut op = getbinopr(ls.t.token);
    while op != OPR_NOBINOPR && priority[op as usize].0 > limit {
        luaX_next(ls)?;
        luaK_infix(ls, op, &mut v)?;
        let (nextop, mut v2) = subexpr(ls, priority[op as usize].1)?;
        luaK_posfix(ls, op, &mut v, &mut v2)?;
        op = nextop;
    }
    leavelevel(ls);
    Ok((op, v))
}

fn expr<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<expdesc> {
    Ok(subexpr(ls, 0)?.1)
}

// Statements.

fn block_follow(token: i32) -> bool {
    matches!(token, TK_ELSE | TK_ELSEIF | TK_END | TK_UNTIL | TK_EOS)
}

fn block<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<()> {
    // block -> chunk
    enterblock(ls, false);
    chunk(ls)?;
    leaveblock(ls)
}

/// Keeps the old value of the local variable `v`, which the assignment changes, for those on its left that index with it.
fn check_conflict<H>(
    ls: &mut LexState<'_, '_, H>,
    lh: &mut [expdesc],
    v: &expdesc,
) -> LuaResult<()> {
    let extra = ls.fs_mut().freereg; // where the copy will be
    let mut conflict = false;
    for left in lh.iter_mut().rev().filter(|left| left.k == VINDEXED) {
        if left.info == v.info {
            conflict = true;
            left.info = extra;
        }
        if left.aux == v.info {
            conflict = true;
            left.aux = extra;
        }
    }
    if conflict {
        luaK_codeABC(ls, OP_MOVE, extra, v.info, 0)?;
        luaK_reserveregs(ls, 1)?;
    }
    Ok(())
}

/// Reads the rest of an assignment whose left sides so far are `lh`, and stores in the last of them.
fn assignment<H>(ls: &mut LexState<'_, '_, H>, lh: &mut Vec<expdesc>) -> LuaResult<()> {
    let nvars = lh.len() as i32;
    let at = lh.len() - 1;
    if !(VLOCAL..=VINDEXED).contains(&lh[at].k) {
        return Err(luaX_syntaxerror(ls, b"syntax error"));
    }
    if testnext(ls, i32::from(b','))? {
        // assignment -> `,' primaryexp assignment
        let nv = primaryexp(ls)?;
        if nv.k == VLOCAL {
            check_conflict(ls, lh, &nv)?;
        }
        let limit = LUAI_MAXCCALLS as i32 - ls.L.th.nCcalls as i32;
        luaY_checklimit(ls, nvars, limit, "variables in assignment")?;
        lh.push(nv);
        assignment(ls, lh)?;
    } else {
        // assignment -> `=' explist1
        checknext(ls, i32::from(b'='))?;
        let (nexps, mut e) = explist1(ls)?;
        if nexps == nvars {
            luaK_setoneret(ls, &mut e);
            return luaK_storevar(ls, &lh[at], &mut e);
        }
        adjust_assign(ls, nvars, nexps, &mut e)?;
        if nexps > nvars {
            ls.fs_mut().freereg -= nexps - nvars; // what is too much is dropped
        }
    }
    let mut e = init_exp(VNONRELOC, ls.fs_mut().freereg - 1);
    luaK_storevar(ls, &lh[at], &mut e)
}

/// Reads a condition; returns the jumps that are taken when it is false.
fn cond<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<i32> {
    let mut v = expr(ls)?;
    if v.k == VNIL {
        v.k = VFALSE; // both are false here
    }
    luaK_goiftrue(ls, &mut v)?;
    Ok(v.f)
}

fn breakstat<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<()> {
    let fs = ls.fs_mut();
    let mut upval = false;
    let mut at = None;
    for (i, bl) in fs.bl.iter().enumerate().rev() {
        if bl.isbreakable {
            at = Some(i);
            break;
        }
        upval |= bl.upval;
    }
    let Some(at) = at else {
        return Err(luaX_syntaxerror(ls, b"no loop to break"));
    };
    if upval {
        let nactvar = fs.bl[at].nactvar;
        luaK_codeABC(ls, OP_CLOSE, nactvar, 0, 0)?;
    }
    let mut breaklist = ls.fs_mut().bl[at].breaklist;
    let jump = luaK_jump(ls)?;
    luaK_concat(ls, &mut breaklist, jump)?;
    ls.fs_mut().bl[at].breaklist = breaklist;
    Ok(())
}

fn whilestat<H>(ls: &mut LexState<'_, '_, H>, line: i32) -> LuaResult<()> {
    // whilestat -> WHILE cond DO block END
    luaX_next(ls)?;
    let whileinit = luaK_getlabel(ls);
    let condexit = cond(ls)?;
    enterblock(ls, true);
    checknext(ls, TK_DO)?;
    block(ls)?;
    let jump = luaK_jump(ls)?;
    luaK_patchlist(ls, jump, whileinit)?;
    check_match(ls, TK_END, TK_WHILE, line)?;
    leaveblock(ls)?;
    luaK_patchtohere(ls, condexit)
}

fn repeatstat<H>(ls: &mut LexState<'_, '_, H>, line: i32) -> LuaResult<()> {
    // repeatstat -> REPEAT block UNTIL cond
    let repeat_init = luaK_getlabel(ls);
    enterblock(ls, true); // the loop
    enterblock(ls, false); // the scope, which the condition belongs to
    luaX_next(ls)?;
    chunk(ls)?;
    check_match(ls, TK_UNTIL, TK_REPEAT, line)?;
    let condexit = cond(ls)?;
    let upval = ls.fs_mut().bl.last().is_some_and(|bl| bl.upval);
    if !upval {
        leaveblock(ls)?;
        luaK_patchlist(ls, condexit, repeat_init)?;
    } else {
        // The variables of a closure have to be closed on both ways: out of the loop, and back.
        breakstat(ls)?;
        luaK_patchtohere(ls, condexit)?;
        leaveblock(ls)?;
        let jump = luaK_jump(ls)?;
        luaK_patchlist(ls, jump, repeat_init)?;
    }
    leaveblock(ls)
}

fn exp1<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<()> {
    let mut e = expr(ls)?;
    luaK_exp2nextreg(ls, &mut e)
}

fn forbody<H>(
    ls: &mut LexState<'_, '_, H>,
    base: i32,
    line: i32,
    nvars: i32,
    isnum: bool,
) -> LuaResult<()> {
    // forbody -> DO block
    adjustlocalvars(ls, 3); // the variables that control the loop
    checknext(ls, TK_DO)?;
    let prep = if isnum { luaK_codeAsBx(ls, OP_FORPREP, base, NO_JUMP)? } else { luaK_jump(ls)? };
    enterblock(ls, false); // the scope of the declared variables
    adjustlocalvars(ls, nvars);
    luaK_reserveregs(ls, nvars)?;
    block(ls)?;
    leaveblock(ls)?;
    luaK_patchtohere(ls, prep)?;
    let endfor = if isnum {
        luaK_codeAsBx(ls, OP_FORLOOP, base, NO_JUMP)?
    } else {
        luaK_codeABC(ls, OP_TFORLOOP, base, 0, nvars)?
    };
    luaK_fixline(ls, line); // errors of the loop belong to its head
    let back = if isnum { endfor } else { luaK_jump(ls)? };
    luaK_patchlist(ls, back, prep + 1)
}

fn fornum<H>(ls: &mut LexState<'_, '_, H>, varname: StrRef, line: i32) -> LuaResult<()> {
    // fornum -> NAME = exp1,exp1[,exp1] forbody
    let base = ls.fs_mut().freereg;
    new_localvarliteral(ls, "(for index)", 0)?;
    new_localvarliteral(ls, "(for limit)", 1)?;
    new_localvarliteral(ls, "(for step)", 2)?;
    new_localvar(ls, varname, 3)?;
    checknext(ls, i32::from(b'='))?;
    exp1(ls)?; // the first value
    checknext(ls, i32::from(b','))?;
    exp1(ls)?; // the limit
    if testnext(ls, i32::from(b','))? {
        exp1(ls)?; // the step
    } else {
        let k = luaK_numberK(ls, 1.0)?;
        let freereg = ls.fs_mut().freereg;
        luaK_codeABx(ls, OP_LOADK, freereg, k)?;
        luaK_reserveregs(ls, 1)?;
    }
    forbody(ls, base, line, 1, true)
}

fn forlist<H>(ls: &mut LexState<'_, '_, H>, indexname: StrRef) -> LuaResult<()> {
    // forlist -> NAME {,NAME} IN explist1 forbody
    let base = ls.fs_mut().freereg;
    new_localvarliteral(ls, "(for generator)", 0)?;
    new_localvarliteral(ls, "(for state)", 1)?;
    new_localvarliteral(ls, "(for control)", 2)?;
    new_localvar(ls, indexname, 3)?;
    let mut nvars = 4;
    while testnext(ls, i32::from(b','))? {
        let name = str_checkname(ls)?;
        new_localvar(ls, name, nvars)?;
        nvars += 1;
    }
    checknext(ls, TK_IN)?;
    let line = ls.linenumber;
    let (nexps, mut e) = explist1(ls)?;
    adjust_assign(ls, 3, nexps, &mut e)?;
    luaK_checkstack(ls, 3)?; // room to call the generator
    forbody(ls, base, line, nvars - 3, false)
}

fn forstat<H>(ls: &mut LexState<'_, '_, H>, line: i32) -> LuaResult<()> {
    // forstat -> FOR (fornum | forlist) END
    enterblock(ls, true); // the loop and its control variables
    luaX_next(ls)?;
    let varname = str_checkname(ls)?;
    match ls.t.token {
        TK_IN => forlist(ls, varname)?,
        t if t == i32::from(b',') => forlist(ls, varname)?,
        t if t == i32::from(b'=') => fornum(ls, varname, line)?,
        _ => return Err(luaX_syntaxerror(ls, b"'=' or 'in' expected")),
    }
    check_match(ls, TK_END, TK_FOR, line)?;
    leaveblock(ls)
}

fn test_then_block<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<i32> {
    // test_then_block -> [IF | ELSEIF] cond THEN block
    luaX_next(ls)?;
    let condexit = cond(ls)?;
    checknext(ls, TK_THEN)?;
    block(ls)?;
    Ok(condexit)
}

fn ifstat<H>(ls: &mut LexState<'_, '_, H>, line: i32) -> LuaResult<()> {
    // ifstat -> IF cond THEN block {ELSEIF cond THEN block} [ELSE block] END
    let mut escapelist = NO_JUMP;
    let mut flist = test_then_block(ls)?;
    while ls.t.token == TK_ELSEIF {
        let jump = luaK_jump(ls)?;
        luaK_concat(ls, &mut escapelist, jump)?;
        luaK_patchtohere(ls, flist)?;
        flist = test_then_block(ls)?;
    }
    if ls.t.token == TK_ELSE {
        let jump = luaK_jump(ls)?;
        luaK_concat(ls, &mut escapelist, jump)?;
        luaK_patchtohere(ls, flist)?;
        luaX_next(ls)?; // behind the patch, so that the line is right
        block(ls)?;
    } else {
        luaK_concat(ls, &mut escapelist, flist)?;
    }
    luaK_patchtohere(ls, escapelist)?;
    check_match(ls, TK_END, TK_IF, line)
}

fn localfunc<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<()> {
    let name = str_checkname(ls)?;
    new_localvar(ls, name, 0)?;
    let v = init_exp(VLOCAL, ls.fs_mut().freereg);
    luaK_reserveregs(ls, 1)?;
    adjustlocalvars(ls, 1);
    let line = ls.linenumber;
    let mut b = body(ls, false, line)?;
    luaK_storevar(ls, &v, &mut b)?;
    // Debuggers see the variable from here on only.
    let fs = ls.fs_mut();
    let pc = fs.pc();
    fs.getlocvar(fs.nactvar - 1).startpc = pc;
    Ok(())
}

fn localstat<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<()> {
    // stat -> LOCAL NAME {`,' NAME} [`=' explist1]
    let mut nvars = 0;
    loop {
        let name = str_checkname(ls)?;
        new_localvar(ls, name, nvars)?;
        nvars += 1;
        if !testnext(ls, i32::from(b','))? {
            break;
        }
    }
    let (nexps, mut e) =
        if testnext(ls, i32::from(b'='))? { explist1(ls)? } else { (0, init_exp(VVOID, 0)) };
    adjust_assign(ls, nvars, nexps, &mut e)?;
    adjustlocalvars(ls, nvars);
    Ok(())
}

/// Reads the name of a function, and says whether it is a method.
fn funcname<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<(bool, expdesc)> {
    // funcname -> NAME {field} [`:' NAME]
    let mut v = singlevar(ls)?;
    while ls.t.token == DOT {
        field(ls, &mut v)?;
    }
    let needself = ls.t.token == COLON;
    if needself {
        field(ls, &mut v)?;
    }
    Ok((needself, v))
}

fn funcstat<H>(ls: &mut LexState<'_, '_, H>, line: i32) -> LuaResult<()> {
    // funcstat -> FUNCTION funcname body
    luaX_next(ls)?;
    let (needself, v) = funcname(ls)?;
    let mut b = body(ls, needself, line)?;
    luaK_storevar(ls, &v, &mut b)?;
    luaK_fixline(ls, line); // the function is defined in its first line
    Ok(())
}

fn exprstat<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<()> {
    // stat -> func | assignment
    let v = primaryexp(ls)?;
    if v.k == VCALL {
        SETARG_C(getcode(ls, &v), 1); // nobody takes the results
        return Ok(());
    }
    assignment(ls, &mut vec![v])
}

fn retstat<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<()> {
    // stat -> RETURN explist
    luaX_next(ls)?;
    if block_follow(ls.t.token) || ls.t.token == i32::from(b';') {
        return luaK_ret(ls, 0, 0);
    }
    let (mut nret, mut e) = explist1(ls)?;
    let nactvar = ls.fs_mut().nactvar;
    let first;
    if hasmultret(e.k) {
        luaK_setmultret(ls, &e)?;
        if e.k == VCALL && nret == 1 {
            SET_OPCODE(getcode(ls, &e), OP_TAILCALL);
        }
        first = nactvar;
        nret = LUA_MULTRET;
    } else if nret == 1 {
        first = luaK_exp2anyreg(ls, &mut e)?;
    } else {
        luaK_exp2nextreg(ls, &mut e)?; // the values stand side by side
        first = nactvar;
    }
    luaK_ret(ls, first, nret)
}

/// Reads a statement, and says whether it has to be the last of its block.
fn statement<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<bool> {
    let line = ls.linenumber;
    match ls.t.token {
        TK_IF => ifstat(ls, line)?,
        TK_WHILE => whilestat(ls, line)?,
        TK_DO => {
            luaX_next(ls)?;
            block(ls)?;
            check_match(ls, TK_END, TK_DO, line)?;
        }
        TK_FOR => forstat(ls, line)?,
        TK_REPEAT => repeatstat(ls, line)?,
        TK_FUNCTION => funcstat(ls, line)?,
        TK_LOCAL => {
            luaX_next(ls)?;
            if testnext(ls, TK_FUNCTION)? {
                localfunc(ls)?;
            } else {
                localstat(ls)?;
            }
        }
        TK_RETURN => {
            retstat(ls)?;
            return Ok(true);
        }
        TK_BREAK => {
            luaX_next(ls)?;
            breakstat(ls)?;
            return Ok(true);
        }
        _ => exprstat(ls)?,
    }
    Ok(false)
}

fn chunk<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<()> {
    // chunk -> { stat [`;'] }
    let mut islast = false;
    enterlevel(ls)?;
    while !islast && !block_follow(ls.t.token) {
        islast = statement(ls)?;
        testnext(ls, i32::from(b';'))?;
        let fs = ls.fs_mut();
        fs.freereg = fs.nactvar;
    }
    leavelevel(ls);
    Ok(())
}
