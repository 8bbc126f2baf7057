//! `lopcodes.h` and `lopcodes.c`: the instructions of the virtual machine and how they are packed.
//!
//! An instruction is 32 bits: opcode in bits 0 to 5, A in 6 to 13, C in 14 to 22, B in 23 to 31; Bx is
//! C and B together, sBx is Bx less [`MAXARG_sBx`]. Bit 8 of B or C says that the rest names a constant.

/// One instruction.
pub type Instruction = u32;
/// An opcode: one of the `OP_` constants.
pub type OpCode = u32;

/// The formats of an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpMode {
    iABC,
    iABx,
    iAsBx,
}
pub use OpMode::*;

/// What an argument of an instruction means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpArgMask {
    /// It is not used.
    OpArgN,
    /// It is used as a number.
    OpArgU,
    /// It is a register or a jump.
    OpArgR,
    /// It is a constant, or a register or constant.
    OpArgK,
}
pub use OpArgMask::*;

pub const SIZE_C: u32 = 9;
pub const SIZE_B: u32 = 9;
pub const SIZE_Bx: u32 = SIZE_C + SIZE_B;
pub const SIZE_A: u32 = 8;
pub const SIZE_OP: u32 = 6;
pub const POS_OP: u32 = 0;
pub const POS_A: u32 = POS_OP + SIZE_OP;
pub const POS_C: u32 = POS_A + SIZE_A;
pub const POS_B: u32 = POS_C + SIZE_C;
pub const POS_Bx: u32 = POS_C;

pub const MAXARG_Bx: i32 = (1 << SIZE_Bx) - 1;
pub const MAXARG_sBx: i32 = MAXARG_Bx >> 1;
pub const MAXARG_A: i32 = (1 << SIZE_A) - 1;
pub const MAXARG_B: i32 = (1 << SIZE_B) - 1;
pub const MAXARG_C: i32 = (1 << SIZE_C) - 1;

const fn field(i: Instruction, pos: u32, size: u32) -> i32 {
    (i >> pos & ((1 << size) - 1)) as i32
}

fn set_field(i: &mut Instruction, pos: u32, size: u32, v: u32) {
    let mask = ((1 << size) - 1) << pos;
    *i = *i & !mask | v << pos & mask;
}

/// The opcode of an instruction.
pub const fn GET_OPCODE(i: Instruction) -> OpCode {
    i & ((1 << SIZE_OP) - 1)
}

/// Makes `o` the opcode of an instruction.
pub fn SET_OPCODE(i: &mut Instruction, o: OpCode) {
    set_field(i, POS_OP, SIZE_OP, o);
}

pub const fn GETARG_A(i: Instruction) -> i32 {
    field(i, POS_A, SIZE_A)
}

pub fn SETARG_A(i: &mut Instruction, v: i32) {
    set_field(i, POS_A, SIZE_A, v as u32);
}

pub const fn GETARG_B(i: Instruction) -> i32 {
    field(i, POS_B, SIZE_B)
}

pub fn SETARG_B(i: &mut Instruction, v: i32) {
    set_field(i, POS_B, SIZE_B, v as u32);
}

pub const fn GETARG_C(i: Instruction) -> i32 {
    field(i, POS_C, SIZE_C)
}

pub fn SETARG_C(i: &mut Instruction, v: i32) {
    set_field(i, POS_C, SIZE_C, v as u32);
}

pub const fn GETARG_Bx(i: Instruction) -> i32 {
    field(i, POS_Bx, SIZE_Bx)
}

pub fn SETARG_Bx(i: &mut Instruction, v: i32) {
    set_field(i, POS_Bx, SIZE_Bx, v as u32);
}

pub const fn GETARG_sBx(i: Instruction) -> i32 {
    GETARG_Bx(i) - MAXARG_sBx
}

pub fn SETARG_sBx(i: &mut Instruction, v: i32) {
    SETARG_Bx(i, v + MAXARG_sBx);
}

pub const fn CREATE_ABC(o: OpCode, a: i32, b: i32, c: i32) -> Instruction {
    o << POS_OP | (a as u32) << POS_A | (b as u32) << POS_B | (c as u32) << POS_C
}

pub const fn CREATE_ABx(o: OpCode, a: i32, bx: i32) -> Instruction {
    o << POS_OP | (a as u32) << POS_A | (bx as u32) << POS_Bx
}

/// The bit of an RK argument that says "constant".
pub const BITRK: i32 = 1 << (SIZE_B - 1);

pub const fn ISK(x: i32) -> bool {
    x & BITRK != 0
}

pub const fn INDEXK(r: i32) -> i32 {
    r & !BITRK
}

pub const MAXINDEXRK: i32 = BITRK - 1;

pub const fn RKASK(x: i32) -> i32 {
    x | BITRK
}

/// A register that no function has.
pub const NO_REG: i32 = MAXARG_A;

pub const OP_MOVE: OpCode = 0;
pub const OP_LOADK: OpCode = 1;
pub const OP_LOADBOOL: OpCode = 2;
pub const OP_LOADNIL: OpCode = 3;
pub const OP_GETUPVAL: OpCode = 4;
pub const OP_GETGLOBAL: OpCode = 5;
pub const OP_GETTABLE: OpCode = 6;
pub const OP_SETGLOBAL: OpCode = 7;
pub const OP_SETUPVAL: OpCode = 8;
pub const OP_SETTABLE: OpCode = 9;
pub const OP_NEWTABLE: OpCode = 10;
pub const OP_SELF: OpCode = 11;
pub const OP_ADD: OpCode = 12;
pub const OP_SUB: OpCode = 13;
pub const OP_MUL: OpCode = 14;
pub const OP_DIV: OpCode = 15;
pub const OP_MOD: OpCode = 16;
pub const OP_POW: OpCode = 17;
pub const OP_UNM: OpCode = 18;
pub const OP_NOT: OpCode = 19;
pub const OP_LEN: OpCode = 20;
pub const OP_CONCAT: OpCode = 21;
pub const OP_JMP: OpCode = 22;
pub const OP_EQ: OpCode = 23;
pub const OP_LT: OpCode = 24;
pub const OP_LE: OpCode = 25;
pub const OP_TEST: OpCode = 26;
pub const OP_TESTSET: OpCode = 27;
pub const OP_CALL: OpCode = 28;
pub const OP_TAILCALL: OpCode = 29;
pub const OP_RETURN: OpCode = 30;
pub const OP_FORLOOP: OpCode = 31;
pub const OP_FORPREP: OpCode = 32;
pub const OP_TFORLOOP: OpCode = 33;
pub const OP_SETLIST: OpCode = 34;
pub const OP_CLOSE: OpCode = 35;
pub const OP_CLOSURE: OpCode = 36;
pub const OP_VARARG: OpCode = 37;
pub const NUM_OPCODES: u32 = OP_VARARG + 1;

/// The properties of an instruction: is it a test, does it set A, what B and C mean, its format.
struct Mode(bool, bool, OpArgMask, OpArgMask, OpMode);

static luaP_opmodes: [Mode; NUM_OPCODES as usize] = [
    Mode(false, true, OpArgR, OpArgN, iABC),   // OP_MOVE
    Mode(false, true, OpArgK, OpArgN, iABx),   // OP_LOADK
    Mode(false, true, OpArgU, OpArgU, iABC),   // OP_LOADBOOL
    Mode(false, true, OpArgR, OpArgN, iABC),   // OP_LOADNIL
    Mode(false, true, OpArgU, OpArgN, iABC),   // OP_GETUPVAL
    Mode(false, true, OpArgK, OpArgN, iABx),   // OP_GETGLOBAL
    Mode(false, true, OpArgR, OpArgK, iABC),   // OP_GETTABLE
    Mode(false, false, OpArgK, OpArgN, iABx),  // OP_SETGLOBAL
    Mode(false, false, OpArgU, OpArgN, iABC),  // OP_SETUPVAL
    Mode(false, false, OpArgK, OpArgK, iABC),  // OP_SETTABLE
    Mode(false, true, OpArgU, OpArgU, iABC),   // OP_NEWTABLE
    Mode(false, true, OpArgR, OpArgK, iABC),   // OP_SELF
    Mode(false, true, OpArgK, OpArgK, iABC),   // OP_ADD
    Mode(false, true, OpArgK, OpArgK, iABC),   // OP_SUB
    Mode(false, true, OpArgK, OpArgK, iABC),   // OP_MUL
    Mode(false, true, OpArgK, OpArgK, iABC),   // OP_DIV
    Mode(false, true, OpArgK, OpArgK, iABC),   // OP_MOD
    Mode(false, true, OpArgK, OpArgK, iABC),   // OP_POW
    Mode(false, true, OpArgR, OpArgN, iABC),   // OP_UNM
    Mode(false, true, OpArgR, OpArgN, iABC),   // OP_NOT
    Mode(false, true, OpArgR, OpArgN, iABC),   // OP_LEN
    Mode(false, true, OpArgR, OpArgR, iABC),   // OP_CONCAT
    Mode(false, false, OpArgR, OpArgN, iAsBx), // OP_JMP
    Mode(true, false, OpArgK, OpArgK, iABC),   // OP_EQ
    Mode(true, false, OpArgK, OpArgK, iABC),   // OP_LT
    Mode(true, false, OpArgK, OpArgK, iABC),   // OP_LE
    Mode(true, true, OpArgR, OpArgU, iABC),    // OP_TEST
    Mode(true, true, OpArgR, OpArgU, iABC),    // OP_TESTSET
    Mode(false, true, OpArgU, OpArgU, iABC),   // OP_CALL
    Mode(false, true, OpArgU, OpArgU, iABC),   // OP_TAILCALL
    Mode(false, false, OpArgU, OpArgN, iABC),  // OP_RETURN
    Mode(false, true, OpArgR, OpArgN, iAsBx),  // OP_FORLOOP
    Mode(false, true, OpArgR, OpArgN, iAsBx),  // OP_FORPREP
    Mode(true, false, OpArgN, OpArgU, iABC),   // OP_TFORLOOP
    Mode(false, false, OpArgU, OpArgU, iABC),  // OP_SETLIST
    Mode(false, false, OpArgN, OpArgN, iABC),  // OP_CLOSE
    Mode(false, true, OpArgU, OpArgN, iABx),   // OP_CLOSURE
    Mode(false, true, OpArgU, OpArgN, iABC),   // OP_VARARG
];

pub fn getOpMode(m: OpCode) -> OpMode {
    luaP_opmodes[m as usize].4
}

pub fn getBMode(m: OpCode) -> OpArgMask {
    luaP_opmodes[m as usize].2
}

pub fn getCMode(m: OpCode) -> OpArgMask {
    luaP_opmodes[m as usize].3
}

/// Does the instruction set register A?
pub fn testAMode(m: OpCode) -> bool {
    luaP_opmodes[m as usize].1
}

/// Is the instruction a test, followed by a jump?
pub fn testTMode(m: OpCode) -> bool {
    luaP_opmodes[m as usize].0
}

/// How many items of a constructor are gathered before an `OP_SETLIST`.
pub const LFIELDS_PER_FLUSH: i32 = 50;
