//! `lcode.c`: the code generator. The parser calls it as it reads; no tree of the program is ever built.
//!
//! Read first: `expdesc` in `lparser.rs`, which says where the value of an expression is before it has a register, then
//! `luaK_exp2reg`'s relatives here, and `patchlistaux`: jumps whose target is not known yet form lists, threaded through
//! their own distances. Differs: `pc` is the length of the code; the function is always the innermost of `ls.fs`.

use crate::llex::{LexState, luaX_syntaxerror};
use crate::lobject::StrRef;
use crate::lopcodes::*;
use crate::lparser::expkind::*;
use crate::lparser::{Constant, FuncState, expdesc, growth_error};
use crate::lstate::{LUA_MULTRET, LuaResult};

/// The end of a list of jumps. It is no address, and no distance either: the jump would lead to itself.
pub const NO_JUMP: i32 = -1;

/// The most registers a function can have.
const MAXSTACK: i32 = 250;

/// The binary operators, in the order of the parser's priorities.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum BinOpr {
    OPR_ADD,
    OPR_SUB,
    OPR_MUL,
    OPR_DIV,
    OPR_MOD,
    OPR_POW,
    OPR_CONCAT,
    OPR_NE,
    OPR_EQ,
    OPR_LT,
    OPR_LE,
    OPR_GT,
    OPR_GE,
    OPR_AND,
    OPR_OR,
    OPR_NOBINOPR,
}
pub use BinOpr::*;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum UnOpr {
    OPR_MINUS,
    OPR_NOT,
    OPR_LEN,
    OPR_NOUNOPR,
}
pub use UnOpr::*;

fn hasjumps(e: &expdesc) -> bool {
    e.t != e.f
}

fn isnumeral(e: &expdesc) -> bool {
    e.k == VKNUM && e.t == NO_JUMP && e.f == NO_JUMP
}

/// The instruction that `e` stands for.
pub fn getcode<'f, H>(ls: &'f mut LexState<'_, '_, H>, e: &expdesc) -> &'f mut Instruction {
    &mut ls.fs_mut().f.code[e.info as usize]
}

/// Sets `n` registers from `from` on to nil, by a LOADNIL that is there already if it can reach that far.
pub fn luaK_nil<H>(ls: &mut LexState<'_, '_, H>, from: i32, n: i32) -> LuaResult<()> {
    let fs = ls.fs_mut();
    // An instruction that is the target of a jump has to stay what it is.
    if fs.pc() > fs.lasttarget {
        if fs.pc() == 0 {
            if from >= fs.nactvar {
                return Ok(()); // the registers of a new function are nil
            }
        } else if let Some(previous) = fs.f.code.last_mut() {
            if GET_OPCODE(*previous) == OP_LOADNIL {
                let pfrom = GETARG_A(*previous);
                let pto = GETARG_B(*previous);
                if pfrom <= from && from <= pto + 1 {
                    if from + n - 1 > pto {
                        SETARG_B(previous, from + n - 1);
                    }
                    return Ok(());
                }
            }
        }
    }
    luaK_codeABC(ls, OP_LOADNIL, from, from + n - 1, 0)?;
    Ok(())
}

/// A jump to a place that is not known yet: the list of it and of the jumps that wait for this position.
pub fn luaK_jump<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<i32> {
    let jpc = std::mem::replace(&mut ls.fs_mut().jpc, NO_JUMP);
    let mut j = luaK_codeAsBx(ls, OP_JMP, 0, NO_JUMP)?;
    luaK_concat(ls, &mut j, jpc)?;
    Ok(j)
}

/// The return of `nret` values from `first` on.
pub fn luaK_ret<H>(ls: &mut LexState<'_, '_, H>, first: i32, nret: i32) -> LuaResult<()> {
    luaK_codeABC(ls, OP_RETURN, first, nret + 1, 0)?;
    Ok(())
}

fn condjump<H>(ls: &mut LexState<'_, '_, H>, op: OpCode, a: i32, b: i32, c: i32) -> LuaResult<i32> {
    luaK_codeABC(ls, op, a, b, c)?;
    luaK_jump(ls)
}

fn fixjump<H>(ls: &mut LexState<'_, '_, H>, pc: i32, dest: i32) -> LuaResult<()> {
    let offset = dest - (pc + 1);
    if offset.abs() > MAXARG_sBx {
        return Err(luaX_syntaxerror(ls, b"control structure too long"));
    }
    SETARG_sBx(&mut ls.fs_mut().f.code[pc as usize], offset);
    Ok(())
}

/// The current position, from now on the target of a jump.
pub fn luaK_getlabel<H>(ls: &mut LexState<'_, '_, H>) -> i32 {
    let fs = ls.fs_mut();
    fs.lasttarget = fs.pc();
    fs.lasttarget
}

fn getjump(fs: &FuncState, pc: i32) -> i32 {
    let offset = GETARG_sBx(fs.f.code[pc as usize]);
    if offset == NO_JUMP { NO_JUMP } else { pc + 1 + offset }
}

/// The instruction that decides over the jump at `pc`: the test in front of it, or the jump itself.
fn getjumpcontrol(fs: &mut FuncState, pc: i32) -> &mut Instruction {
    let pc = pc as usize;
    if pc >= 1 && testTMode(GET_OPCODE(fs.f.code[pc - 1])) {
        &mut fs.f.code[pc - 1]
    } else {
        &mut fs.f.code[pc]
    }
}

/// Whether some jump in the list leaves no value, so that one has to be loaded.
fn need_value(fs: &mut FuncState, mut list: i32) -> bool {
    while list != NO_JUMP {
        if GET_OPCODE(*getjumpcontrol(fs, list)) != OP_TESTSET {
            return true;
        }
        list = getjump(fs, list);
    }
    false
}

/// Has the TESTSET of the jump at `node` set `reg`, or makes it a TEST if no register is wanted. False: it is no TESTSET.
fn patchtestreg(fs: &mut FuncState, node: i32, reg: i32) -> bool {
    let i = getjumpcontrol(fs, node);
    if GET_OPCODE(*i) != OP_TESTSET {
        return false;
    }
    if reg != NO_REG && reg != GETARG_B(*i) {
        SETARG_A(i, reg);
    } else {
        *i = CREATE_ABC(OP_TEST, GETARG_B(*i), 0, GETARG_C(*i));
    }
    true
}

fn removevalues(fs: &mut FuncState, mut list: i32) {
    while list != NO_JUMP {
        patchtestreg(fs, list, NO_REG);
        list = getjump(fs, list);
    }
}

/// Gives every jump in the list its target: `vtarget` if it leaves its value in `reg`, `dtarget` if it leaves none.
fn patchlistaux<H>(
    ls: &mut LexState<'_, '_, H>,
    mut list: i32,
    vtarget: i32,
    reg: i32,
    dtarget: i32,
) -> LuaResult<()> {
    while list != NO_JUMP {
        let next = getjump(ls.fs_mut(), list);
        if patchtestreg(ls.fs_mut(), list, reg) {
            fixjump(ls, list, vtarget)?;
        } else {
            fixjump(ls, list, dtarget)?;
        }
        list = next;
    }
    Ok(())
}

fn dischargejpc<H>(ls: &mut LexState<'_, '_, H>) -> LuaResult<()> {
    let (jpc, pc) = (ls.fs_mut().jpc, ls.fs_mut().pc());
    patchlistaux(ls, jpc, pc, NO_REG, pc)?;
    ls.fs_mut().jpc = NO_JUMP;
    Ok(())
}

/// Has all jumps in the list lead to `target`.
pub fn luaK_patchlist<H>(ls: &mut LexState<'_, '_, H>, list: i32, target: i32) -> LuaResult<()> {
    if target == ls.fs_mut().pc() {
        luaK_patchtohere(ls, list)
    } else {
        patchlistaux(ls, list, target, NO_REG, target)
    }
}

/// Has all jumps in the list lead to the next instruction.
pub fn luaK_patchtohere<H>(ls: &mut LexState<'_, '_, H>, list: i32) -> LuaResult<()> {
    luaK_getlabel(ls);
    let mut jpc = ls.fs_mut().jpc;
    luaK_concat(ls, &mut jpc, list)?;
    ls.fs_mut().jpc = jpc;
    Ok(())
}

/// Joins the list `l2` to `l1`.
///
/// C: it walks over the whole of `l1` to append to it, so a long chain of `elseif` takes the square of its length, half a
/// minute for one script. Here a jump by itself goes in front of a list of more than one. All of a list get the same target,
/// so their order is not seen.
pub fn luaK_concat<H>(ls: &mut LexState<'_, '_, H>, l1: &mut i32, l2: i32) -> LuaResult<()> {
    if l2 == NO_JUMP {
        return Ok(());
    }
    if *l1 == NO_JUMP {
        *l1 = l2;
        return Ok(());
    }
    let mut list = *l1;
    let mut next = getjump(ls.fs_mut(), list);
    if next != NO_JUMP && getjump(ls.fs_mut(), l2) == NO_JUMP {
        fixjump(ls, l2, list)?;
        *l1 = l2;
        return Ok(());
    }
    while next != NO_JUMP {
        list = next;
        next = getjump(ls.fs_mut(), list);
    }
    fixjump(ls, list, l2)
}

/// Makes sure that the function has `n` registers above the used ones.
pub fn luaK_checkstack<H>(ls: &mut LexState<'_, '_, H>, n: i32) -> LuaResult<()> {
    let newstack = ls.fs_mut().freereg + n;
    if newstack > i32::from(ls.fs_mut().f.maxstacksize) {
        if newstack >= MAXSTACK {
            return Err(luaX_syntaxerror(ls, b"function or expression too complex"));
        }
        ls.fs_mut().f.maxstacksize = newstack as u8;
    }
    Ok(())
}

pub fn luaK_reserveregs<H>(ls: &mut LexState<'_, '_, H>, n: i32) -> LuaResult<()> {
    luaK_checkstack(ls, n)?;
    ls.fs_mut().freereg += n;
    Ok(())
}

fn freereg(fs: &mut FuncState, reg: i32) {
    if !ISK(reg) && reg >= fs.nactvar {
        fs.freereg -= 1;
        debug_assert_eq!(reg, fs.freereg);
    }
}

fn freeexp(fs: &mut FuncState, e: &expdesc) {
    if e.k == VNONRELOC {
        freereg(fs, e.info);
    }
}

/// The index of the constant `k`, which is added if the function does not have it.
fn addk<H>(ls: &mut LexState<'_, '_, H>, k: Constant) -> LuaResult<i32> {
    let fs = ls.fs_mut();
    let next = fs.f.k.len();
    if let Some(&idx) = fs.h.get(&k.key()) {
        return Ok(idx);
    }
    if next >= MAXARG_Bx as usize {
        return growth_error(ls, "constant table overflow");
    }
    fs.h.insert(k.key(), next as i32);
    fs.f.k.push(k.value());
    Ok(next as i32)
}

pub fn luaK_stringK<H>(ls: &mut LexState<'_, '_, H>, s: StrRef) -> LuaResult<i32> {
    addk(ls, Constant::String(s))
}

pub fn luaK_numberK<H>(ls: &mut LexState<'_, '_, H>, r: f64) -> LuaResult<i32> {
    addk(ls, Constant::Number(r))
}

/// Has the open call or vararg `e` give `nresults` values.
pub fn luaK_setreturns<H>(
    ls: &mut LexState<'_, '_, H>,
    e: &expdesc,
    nresults: i32,
) -> LuaResult<()> {
    if e.k == VCALL {
        SETARG_C(getcode(ls, e), nresults + 1);
    } else if e.k == VVARARG {
        let freereg = ls.fs_mut().freereg;
        let code = getcode(ls, e);
        SETARG_B(code, nresults + 1);
        SETARG_A(code, freereg);
        luaK_reserveregs(ls, 1)?;
    }
    Ok(())
}

pub fn luaK_setmultret<H>(ls: &mut LexState<'_, '_, H>, e: &expdesc) -> LuaResult<()> {
    luaK_setreturns(ls, e, LUA_MULTRET)
}

/// Has the open call or vararg `e` give one value.
pub fn luaK_setoneret<H>(ls: &mut LexState<'_, '_, H>, e: &mut expdesc) {
    if e.k == VCALL {
        e.k = VNONRELOC;
        e.info = GETARG_A(*getcode(ls, e));
    } else if e.k == VVARARG {
        SETARG_B(getcode(ls, e), 2);
        e.k = VRELOCABLE;
    }
}

/// Turns a variable into a value: reads what is no register.
pub fn luaK_dischargevars<H>(ls: &mut LexState<'_, '_, H>, e: &mut expdesc) -> LuaResult<()> {
    match e.k {
        VLOCAL => e.k = VNONRELOC,
        VUPVAL => {
            e.info = luaK_codeABC(ls, OP_GETUPVAL, 0, e.info, 0)?;
            e.k = VRELOCABLE;
        }
        VGLOBAL => {
            e.info = luaK_codeABx(ls, OP_GETGLOBAL, 0, e.info)?;
            e.k = VRELOCABLE;
        }
        VINDEXED => {
            freereg(ls.fs_mut(), e.aux);
            freereg(ls.fs_mut(), e.info);
            e.info = luaK_codeABC(ls, OP_GETTABLE, 0, e.info, e.aux)?;
            e.k = VRELOCABLE;
        }
        VVARARG | VCALL => luaK_setoneret(ls, e),
        VVOID | VNIL | VTRUE | VFALSE | VK | VKNUM | VJMP | VRELOCABLE | VNONRELOC => {}
    }
    Ok(())
}

fn code_label<H>(ls: &mut LexState<'_, '_, H>, a: i32, b: i32, jump: i32) -> LuaResult<i32> {
    luaK_getlabel(ls); // jumps lead to these instructions
    luaK_codeABC(ls, OP_LOADBOOL, a, b, jump)
}

fn discharge2reg<H>(ls: &mut LexState<'_, '_, H>, e: &mut expdesc, reg: i32) -> LuaResult<()> {
    luaK_dischargevars(ls, e)?;
    match e.k {
        VNIL => luaK_nil(ls, reg, 1)?,
        VFALSE | VTRUE => {
            luaK_codeABC(ls, OP_LOADBOOL, reg, i32::from(e.k == VTRUE), 0)?;
        }
        VK => {
            luaK_codeABx(ls, OP_LOADK, reg, e.info)?;
        }
        VKNUM => {
            let k = luaK_numberK(ls, e.nval)?;
            luaK_codeABx(ls, OP_LOADK, reg, k)?;
        }
        VRELOCABLE => SETARG_A(getcode(ls, e), reg),
        VNONRELOC => {
            if reg != e.info {
                luaK_codeABC(ls, OP_MOVE, reg, e.info, 0)?;
            }
        }
        // There is no value yet (VVOID, VJMP), and the others are discharged by now.
        VVOID | VJMP | VLOCAL | VUPVAL | VGLOBAL | VINDEXED | VCALL | VVARARG => return Ok(()),
    }
    e.info = reg;
    e.k = VNONRELOC;
    Ok(())
}

fn discharge2anyreg<H>(ls: &mut LexState<'_, '_, H>, e: &mut expdesc) -> LuaResult<()> {
    if e.k != VNONRELOC {
        luaK_reserveregs(ls, 1)?;
        let reg = ls.fs_mut().freereg - 1;
        discharge2reg(ls, e, reg)?;
    }
    Ok(())
}

/// Puts the value of `e` into `reg`, also along the jumps that leave the expression early.
fn exp2reg<H>(ls: &mut LexState<'_, '_, H>, e: &mut expdesc, reg: i32) -> LuaResult<()> {
    discharge2reg(ls, e, reg)?;
    if e.k == VJMP {
        luaK_concat(ls, &mut e.t, e.info)?;
    }
    if hasjumps(e) {
        let mut p_f = NO_JUMP; // where false is loaded, if it has to be
        let mut p_t = NO_JUMP; // where true is loaded
        if need_value(ls.fs_mut(), e.t) || need_value(ls.fs_mut(), e.f) {
            let fj = if e.k == VJMP { NO_JUMP } else { luaK_jump(ls)? };
            p_f = code_label(ls, reg, 0, 1)?;
            p_t = code_label(ls, reg, 1, 0)?;
            luaK_patchtohere(ls, fj)?;
        }
        let end = luaK_getlabel(ls);
        patchlistaux(ls, e.f, end, reg, p_f)?;
        patchlistaux(ls, e.t, end, reg, p_t)?;
    }
    e.t = NO_JUMP;
    e.f = NO_JUMP;
    e.info = reg;
    e.k = VNONRELOC;
    Ok(())
}

pub fn luaK_exp2nextreg<H>(ls: &mut LexState<'_, '_, H>, e: &mut expdesc) -> LuaResult<()> {
    luaK_dischargevars(ls, e)?;
    freeexp(ls.fs_mut(), e);
    luaK_reserveregs(ls, 1)?;
    let reg = ls.fs_mut().freereg - 1;
    exp2reg(ls, e, reg)
}

/// The register that `e` is in, or is put into.
pub fn luaK_exp2anyreg<H>(ls: &mut LexState<'_, '_, H>, e: &mut expdesc) -> LuaResult<i32> {
    luaK_dischargevars(ls, e)?;
    if e.k == VNONRELOC {
        if !hasjumps(e) {
            return Ok(e.info);
        }
        if e.info >= ls.fs_mut().nactvar {
            // It is no local variable: the jumps may write there.
            exp2reg(ls, e, e.info)?;
            return Ok(e.info);
        }
    }
    luaK_exp2nextreg(ls, e)?;
    Ok(e.info)
}

pub fn luaK_exp2val<H>(ls: &mut LexState<'_, '_, H>, e: &mut expdesc) -> LuaResult<()> {
    if hasjumps(e) {
        luaK_exp2anyreg(ls, e)?;
        Ok(())
    } else {
        luaK_dischargevars(ls, e)
    }
}

/// An RK argument for `e`: a constant if it is one and within reach, a register otherwise.
pub fn luaK_exp2RK<H>(ls: &mut LexState<'_, '_, H>, e: &mut expdesc) -> LuaResult<i32> {
    luaK_exp2val(ls, e)?;
    match e.k {
        VKNUM | VTRUE | VFALSE | VNIL => {
            if ls.fs_mut().f.k.len() as i32 <= MAXINDEXRK {
                let k = match e.k {
                    VNIL => Constant::Nil,
                    VKNUM => Constant::Number(e.nval),
                    _ => Constant::Boolean(e.k == VTRUE),
                };
                e.info = addk(ls, k)?;
                e.k = VK;
                return Ok(RKASK(e.info));
            }
        }
        VK => {
            if e.info <= MAXINDEXRK {
                return Ok(RKASK(e.info));
            }
        }
        VVOID | VLOCAL | VUPVAL | VGLOBAL | VINDEXED | VJMP | VRELOCABLE | VNONRELOC | VCALL
        | VVARARG => {}
    }
    luaK_exp2anyreg(ls, e)
}

/// Stores `ex` in the variable `var`.
pub fn luaK_storevar<H>(
    ls: &mut LexState<'_, '_, H>,
    var: &expdesc,
    ex: &mut expdesc,
) -> LuaResult<()> {
    match var.k {
        VLOCAL => {
            freeexp(ls.fs_mut(), ex);
            return exp2reg(ls, ex, var.info);
        }
        VUPVAL => {
            let e = luaK_exp2anyreg(ls, ex)?;
            luaK_codeABC(ls, OP_SETUPVAL, e, var.info, 0)?;
        }
        VGLOBAL => {
            let e = luaK_exp2anyreg(ls, ex)?;
            luaK_codeABx(ls, OP_SETGLOBAL, e, var.info)?;
        }
        VINDEXED => {
            let e = luaK_exp2RK(ls, ex)?;
            luaK_codeABC(ls, OP_SETTABLE, var.info, var.aux, e)?;
        }
        _ => unreachable!("the parser stores in variables only"),
    }
    freeexp(ls.fs_mut(), ex);
    Ok(())
}

/// Prepares the call of the method `key` of `e`: function and object in two registers.
pub fn luaK_self<H>(
    ls: &mut LexState<'_, '_, H>,
    e: &mut expdesc,
    key: &mut expdesc,
) -> LuaResult<()> {
    luaK_exp2anyreg(ls, e)?;
    freeexp(ls.fs_mut(), e);
    let func = ls.fs_mut().freereg;
    luaK_reserveregs(ls, 2)?;
    let rk = luaK_exp2RK(ls, key)?;
    luaK_codeABC(ls, OP_SELF, func, e.info, rk)?;
    freeexp(ls.fs_mut(), key);
    e.info = func;
    e.k = VNONRELOC;
    Ok(())
}

fn invertjump(fs: &mut FuncState, e: &expdesc) {
    let pc = getjumpcontrol(fs, e.info);
    SETARG_A(pc, i32::from(GETARG_A(*pc) == 0));
}

fn jumponcond<H>(ls: &mut LexState<'_, '_, H>, e: &mut expdesc, cond: bool) -> LuaResult<i32> {
    if e.k == VRELOCABLE {
        let ie = *getcode(ls, e);
        if GET_OPCODE(ie) == OP_NOT {
            // The opposite jump does without the NOT.
            let fs = ls.fs_mut();
            fs.f.code.pop();
            fs.f.lineinfo.pop();
            return condjump(ls, OP_TEST, GETARG_B(ie), 0, i32::from(!cond));
        }
    }
    discharge2anyreg(ls, e)?;
    freeexp(ls.fs_mut(), e);
    condjump(ls, OP_TESTSET, NO_REG, e.info, i32::from(cond))
}

/// Goes on if `e` is true, and jumps (list `f`) if not.
pub fn luaK_goiftrue<H>(ls: &mut LexState<'_, '_, H>, e: &mut expdesc) -> LuaResult<()> {
    luaK_dischargevars(ls, e)?;
    let pc = match e.k {
        VK | VKNUM | VTRUE => NO_JUMP, // always true
        VJMP => {
            invertjump(ls.fs_mut(), e);
            e.info
        }
        _ => jumponcond(ls, e, false)?,
    };
    luaK_concat(ls, &mut e.f, pc)?;
    luaK_patchtohere(ls, e.t)?;
    e.t = NO_JUMP;
    Ok(())
}

/// Goes on if `e` is false, and jumps (list `t`) if not.
fn luaK_goiffalse<H>(ls: &mut LexState<'_, '_, H>, e: &mut expdesc) -> LuaResult<()> {
    luaK_dischargevars(ls, e)?;
    let pc = match e.k {
        VNIL | VFALSE => NO_JUMP, // always false
        VJMP => e.info,
        _ => jumponcond(ls, e, true)?,
    };
    luaK_concat(ls, &mut e.t, pc)?;
    luaK_patchtohere(ls, e.f)?;
    e.f = NO_JUMP;
    Ok(())
}

fn codenot<H>(ls: &mut LexState<'_, '_, H>, e: &mut expdesc) -> LuaResult<()> {
    luaK_dischargevars(ls, e)?;
    match e.k {
        VNIL | VFALSE => e.k = VTRUE,
        VK | VKNUM | VTRUE => e.k = VFALSE,
        VJMP => invertjump(ls.fs_mut(), e),
        VRELOCABLE | VNONRELOC => {
            discharge2anyreg(ls, e)?;
            freeexp(ls.fs_mut(), e);
            e.info = luaK_codeABC(ls, OP_NOT, 0, e.info, 0)?;
            e.k = VRELOCABLE;
        }
        VVOID | VLOCAL | VUPVAL | VGLOBAL | VINDEXED | VCALL | VVARARG => {
            unreachable!("the operand of not is discharged")
        }
    }
    std::mem::swap(&mut e.f, &mut e.t);
    removevalues(ls.fs_mut(), e.f);
    removevalues(ls.fs_mut(), e.t);
    Ok(())
}

/// Makes `t`, which is in a register, the field `k` of it.
pub fn luaK_indexed<H>(
    ls: &mut LexState<'_, '_, H>,
    t: &mut expdesc,
    k: &mut expdesc,
) -> LuaResult<()> {
    t.aux = luaK_exp2RK(ls, k)?;
    t.k = VINDEXED;
    Ok(())
}

/// Computes `e1 op e2` into `e1` if both are numbers and the result is one that a constant can be.
fn constfolding(op: OpCode, e1: &mut expdesc, e2: &expdesc) -> bool {
    if !isnumeral(e1) || !isnumeral(e2) {
        return false;
    }
    let (v1, v2) = (e1.nval, e2.nval);
    let r = match op {
        OP_ADD => v1 + v2,
        OP_SUB => v1 - v2,
        OP_MUL => v1 * v2,
        OP_DIV if v2 != 0.0 => v1 / v2,
        OP_MOD if v2 != 0.0 => v1 - (v1 / v2).floor() * v2,
        OP_POW => v1.powf(v2),
        OP_UNM => -v1,
        _ => return false, // a division by zero, and what is no arithmetic
    };
    if r.is_nan() {
        return false;
    }
    e1.nval = r;
    true
}

fn codearith<H>(
    ls: &mut LexState<'_, '_, H>,
    op: OpCode,
    e1: &mut expdesc,
    e2: &mut expdesc,
) -> LuaResult<()> {
    if constfolding(op, e1, e2) {
        return Ok(());
    }
    let o2 = if op != OP_UNM && op != OP_LEN { luaK_exp2RK(ls, e2)? } else { 0 };
    let o1 = luaK_exp2RK(ls, e1)?;
    let fs = ls.fs_mut();
    if o1 > o2 {
        freeexp(fs, e1);
        freeexp(fs, e2);
    } else {
        freeexp(fs, e2);
        freeexp(fs, e1);
    }
    e1.info = luaK_codeABC(ls, op, 0, o1, o2)?;
    e1.k = VRELOCABLE;
    Ok(())
}

fn codecomp<H>(
    ls: &mut LexState<'_, '_, H>,
    op: OpCode,
    mut cond: bool,
    e1: &mut expdesc,
    e2: &mut expdesc,
) -> LuaResult<()> {
    let mut o1 = luaK_exp2RK(ls, e1)?;
    let mut o2 = luaK_exp2RK(ls, e2)?;
    freeexp(ls.fs_mut(), e2);
    freeexp(ls.fs_mut(), e1);
    if !cond && op != OP_EQ {
        std::mem::swap(&mut o1, &mut o2); // `a > b` is `b < a`
        cond = true;
    }
    e1.info = condjump(ls, op, i32::from(cond), o1, o2)?;
    e1.k = VJMP;
    Ok(())
}

/// Applies a unary operator.
pub fn luaK_prefix<H>(ls: &mut LexState<'_, '_, H>, op: UnOpr, e: &mut expdesc) -> LuaResult<()> {
    let mut e2 = expdesc::number(0.0);
    match op {
        OPR_MINUS => {
            if !isnumeral(e) {
                luaK_exp2anyreg(ls, e)?;
            }
            codearith(ls, OP_UNM, e, &mut e2)
        }
        OPR_NOT => codenot(ls, e),
        OPR_LEN => {
            luaK_exp2anyreg(ls, e)?;
            codearith(ls, OP_LEN, e, &mut e2)
        }
        OPR_NOUNOPR => Ok(()),
    }
}

/// What a binary operator needs of its first operand before the second is read.
pub fn luaK_infix<H>(ls: &mut LexState<'_, '_, H>, op: BinOpr, v: &mut expdesc) -> LuaResult<()> {
    match op {
        OPR_AND => luaK_goiftrue(ls, v),
        OPR_OR => luaK_goiffalse(ls, v),
        OPR_CONCAT => luaK_exp2nextreg(ls, v), // the operands of a concatenation stand side by side
        OPR_ADD | OPR_SUB | OPR_MUL | OPR_DIV | OPR_MOD | OPR_POW => {
            if !isnumeral(v) {
                luaK_exp2RK(ls, v)?;
            }
            Ok(())
        }
        OPR_NE | OPR_EQ | OPR_LT | OPR_LE | OPR_GT | OPR_GE | OPR_NOBINOPR => {
            luaK_exp2RK(ls, v)?;
            Ok(())
        }
    }
}

/// Applies a binary operator to both operands; the result is in `e1`.
pub fn luaK_posfix<H>(
    ls: &mut LexState<'_, '_, H>,
    op: BinOpr,
    e1: &mut expdesc,
    e2: &mut expdesc,
) -> LuaResult<()> {
    match op {
        OPR_AND => {
            luaK_dischargevars(ls, e2)?;
            luaK_concat(ls, &mut e2.f, e1.f)?;
            *e1 = *e2;
            Ok(())
        }
        OPR_OR => {
            luaK_dischargevars(ls, e2)?;
            luaK_concat(ls, &mut e2.t, e1.t)?;
            *e1 = *e2;
            Ok(())
        }
        OPR_CONCAT => {
            luaK_exp2val(ls, e2)?;
            if e2.k == VRELOCABLE && GET_OPCODE(*getcode(ls, e2)) == OP_CONCAT {
                // One instruction concatenates the whole chain.
                freeexp(ls.fs_mut(), e1);
                SETARG_B(getcode(ls, e2), e1.info);
                e1.k = VRELOCABLE;
                e1.info = e2.info;
                Ok(())
            } else {
                luaK_exp2nextreg(ls, e2)?;
                codearith(ls, OP_CONCAT, e1, e2)
            }
        }
        OPR_ADD => codearith(ls, OP_ADD, e1, e2),
        OPR_SUB => codearith(ls, OP_SUB, e1, e2),
        OPR_MUL => codearith(ls, OP_MUL, e1, e2),
        OPR_DIV => codearith(ls, OP_DIV, e1, e2),
        OPR_MOD => codearith(ls, OP_MOD, e1, e2),
        OPR_POW => codearith(ls, OP_POW, e1, e2),
        OPR_EQ => codecomp(ls, OP_EQ, true, e1, e2),
        OPR_NE => codecomp(ls, OP_EQ, false, e1, e2),
        OPR_LT => codecomp(ls, OP_LT, true, e1, e2),
        OPR_LE => codecomp(ls, OP_LE, true, e1, e2),
        OPR_GT => codecomp(ls, OP_LT, false, e1, e2),
        OPR_GE => codecomp(ls, OP_LE, false, e1, e2),
        OPR_NOBINOPR => Ok(()),
    }
}

/// Has the last instruction belong to `line`.
pub fn luaK_fixline<H>(ls: &mut LexState<'_, '_, H>, line: i32) {
    if let Some(l) = ls.fs_mut().f.lineinfo.last_mut() {
        *l = line;
    }
}

fn luaK_code<H>(ls: &mut LexState<'_, '_, H>, i: Instruction, line: i32) -> LuaResult<i32> {
    dischargejpc(ls)?;
    let fs = ls.fs_mut();
    let pc = fs.pc();
    fs.f.code.push(i);
    fs.f.lineinfo.push(line);
    Ok(pc)
}

/// Appends an instruction, and says where it is.
pub fn luaK_codeABC<H>(
    ls: &mut LexState<'_, '_, H>,
    o: OpCode,
    a: i32,
    b: i32,
    c: i32,
) -> LuaResult<i32> {
    debug_assert_eq!(getOpMode(o), OpMode::iABC);
    luaK_code(ls, CREATE_ABC(o, a, b, c), ls.lastline)
}

/// As `luaK_codeABC`.
pub fn luaK_codeABx<H>(ls: &mut LexState<'_, '_, H>, o: OpCode, a: i32, bc: i32) -> LuaResult<i32> {
    debug_assert_ne!(getOpMode(o), OpMode::iABC);
    luaK_code(ls, CREATE_ABx(o, a, bc), ls.lastline)
}

/// As `luaK_codeABC`.
pub fn luaK_codeAsBx<H>(
    ls: &mut LexState<'_, '_, H>,
    o: OpCode,
    a: i32,
    sbx: i32,
) -> LuaResult<i32> {
    luaK_codeABx(ls, o, a, sbx + MAXARG_sBx)
}

/// Stores the last `tostore` of `nelems` list items, from the registers behind the table in `base`.
pub fn luaK_setlist<H>(
    ls: &mut LexState<'_, '_, H>,
    base: i32,
    nelems: i32,
    tostore: i32,
) -> LuaResult<()> {
    let c = (nelems - 1) / LFIELDS_PER_FLUSH + 1;
    let b = if tostore == LUA_MULTRET { 0 } else { tostore };
    if c <= MAXARG_C {
        luaK_codeABC(ls, OP_SETLIST, base, b, c)?;
    } else {
        luaK_codeABC(ls, OP_SETLIST, base, b, 0)?;
        luaK_code(ls, c as Instruction, ls.lastline)?;
    }
    ls.fs_mut().freereg = base + 1;
    Ok(())
}
