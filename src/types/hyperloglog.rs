//! `hyperloglog.c`: counting what is different, about, in 12 KB at most.
//!
//! A HyperLogLog is a string: a header of 16 bytes, then 16384 registers of 6 bits, dense or as a
//! list of runs. An element's hash names a register, which remembers the longest run of zeros seen
//! in the rest of the hash. Read first: [`pfaddCommand`], `hllSparseSet`, `hllCount`.
//!
//! Differs: every reader of the sparse form checks each run, of whatever kind, before it goes
//! beyond the last register; and no position is a 32-bit number.

use crate::addReplyErrorFormat;
use crate::args::Args;
use crate::db::*;
use crate::ds::siphash::HashSeed;
use crate::keyspace::*;
use crate::networking::*;
use crate::notify::notifyKeyspaceEvent;
use crate::object::*;
use crate::rand::Rand48;
use crate::sdscatprintf;
use crate::server::{CommandSpec, command};
use crate::server_h::*;
use crate::sys::random::random_u64;
use crate::util::{B, c_str, eq_ignore_case};

/// The commands of this file, in the order of the C's table.
#[rustfmt::skip]
pub const COMMANDS: &[CommandSpec] = &[
    command("pfselftest", pfselftestCommand, 1, "admin @hyperloglog", (0, 0, 0)),
    command("pfadd", pfaddCommand, -2, "write use-memory fast @hyperloglog", (1, 1, 1)),
    // It may change the key, which caches the result, and is propagated then; but it changes no
    // data.
    command("pfcount", pfcountCommand, -2, "read-only may-replicate @hyperloglog", (1, -1, 1)),
    command("pfmerge", pfmergeCommand, -2, "write use-memory @hyperloglog", (1, -1, 1)),
    // Some of its subcommands change the representation.
    command("pfdebug", pfdebugCommand, -3, "admin write use-memory @hyperloglog", (2, 2, 1)),
];

// The header: the magic "HYLL", the encoding, three bytes that are zero, and the cached
// cardinality, little endian.
const HLL_MAGIC: &[u8] = b"HYLL";
const HLL_ENCODING: usize = 4;
const HLL_CARD: std::ops::Range<usize> = 8..16;
/// The byte with the flag that tells that the cached cardinality is out of date: its most
/// significant bit.
const HLL_CARD_MSB: usize = 15;

const HLL_P: u32 = 14; // The greater is P, the smaller the error.
const HLL_Q: usize = 64 - HLL_P as usize; // Bits of the hash whose zeros are counted.
const HLL_REGISTERS: usize = 1 << HLL_P;
const HLL_P_MASK: u64 = HLL_REGISTERS as u64 - 1;
const HLL_BITS: usize = 6;
const HLL_REGISTER_MAX: u8 = (1 << HLL_BITS) - 1;
const HLL_HDR_SIZE: usize = 16;
const HLL_DENSE_SIZE: usize = HLL_HDR_SIZE + (HLL_REGISTERS * HLL_BITS).div_ceil(8);
const HLL_DENSE: u8 = 0;
const HLL_SPARSE: u8 = 1;
/// A byte per register: for our own use, never in a key.
const HLL_RAW: u8 = 255;
const HLL_MAX_ENCODING: u8 = 1;

const invalid_hll_err: &[u8] = b"-INVALIDOBJ Corrupted HLL object detected";

fn HLL_INVALIDATE_CACHE(hdr: &mut [u8]) {
    hdr[HLL_CARD_MSB] |= 1 << 7;
}

fn HLL_VALID_CACHE(hdr: &[u8]) -> bool {
    hdr[HLL_CARD_MSB] & (1 << 7) == 0
}

/// A HyperLogLog where it lies, as the value of a key. The key's reference follows the value when
/// that moves.
struct HllObject<'a> {
    dict: &'a mut Keyspace,
    o: KeyRef,
}

impl<'a> HllObject<'a> {
    /// Returns the string `o`, which becomes raw if it is not (`dbUnshareStringValue`).
    #[inline]
    fn new(dict: &'a mut Keyspace, o: KeyRef) -> HllObject<'a> {
        let o = if dict.encoding(o) == OBJ_ENCODING_RAW { o } else { dict.string_mut(o, |_| ()).0 };
        HllObject { dict, o }
    }

    /// Returns all its bytes, the header first.
    #[inline]
    fn sds(&self) -> &[u8] {
        match self.dict.get(self.o) {
            ValueRef::Str(s) => s,
            _ => unreachable!("it was made raw"),
        }
    }

    /// Returns all its bytes, the header first, to change.
    #[inline]
    fn sds_mut(&mut self) -> &mut [u8] {
        match self.dict.get_mut(self.o) {
            ValueMut::Str(s) => s,
            _ => unreachable!("it was made raw"),
        }
    }

    fn encoding(&self) -> u8 {
        self.sds()[HLL_ENCODING]
    }

    /// Puts other bytes in its place.
    fn replace(&mut self, sds: Vec<u8>) {
        self.o = self.dict.set_value(self.o, Object::Raw(sds));
    }

    /// Puts `new` in the place of the `old` bytes at `at`.
    fn splice(&mut self, at: usize, old: usize, new: &[u8]) {
        let len = self.sds().len();
        if new.len() == old {
            self.sds_mut()[at..at + old].copy_from_slice(new);
        } else if new.len() > old {
            (self.o, ()) = self.dict.string_mut(self.o, |s| {
                s.grow_zero(len + new.len() - old);
                s.copy_within(at + old..len, at + new.len());
                s[at..at + new.len()].copy_from_slice(new);
            });
        } else {
            let sds = [&self.sds()[..at], new, &self.sds()[at + old..]].concat();
            self.replace(sds);
        }
    }
}

// =========================== Low level bit macros =========================
//
// Dense registers are filled from the least significant bit of each byte on: register 1 is the two
// high bits of byte 0 and, above them, the four low ones of byte 1. The last register ends with the
// last byte.

/// Returns register `regnum` of the dense registers `p`.
#[inline]
fn HLL_DENSE_GET_REGISTER(p: &[u8], regnum: usize) -> u8 {
    let (byte, fb) = (regnum * HLL_BITS / 8, (regnum * HLL_BITS) & 7);
    let b0 = u16::from(p[byte]);
    let b1 = u16::from(p.get(byte + 1).copied().unwrap_or(0));
    ((b0 | b1 << 8) >> fb) as u8 & HLL_REGISTER_MAX
}

/// Sets register `regnum` of the dense registers `p` to `val`, at most 63.
#[inline]
fn HLL_DENSE_SET_REGISTER(p: &mut [u8], regnum: usize, val: u8) {
    let (byte, fb) = (regnum * HLL_BITS / 8, (regnum * HLL_BITS) & 7);
    let [m0, m1] = (u16::from(HLL_REGISTER_MAX) << fb).to_le_bytes();
    let [v0, v1] = (u16::from(val) << fb).to_le_bytes();
    p[byte] = p[byte] & !m0 | v0;
    if let Some(next) = p.get_mut(byte + 1) {
        *next = *next & !m1 | v1;
    }
}

// The sparse form is a list of runs: ZERO 00xxxxxx and XZERO 01xxxxxx yyyyyyyy, which are 1 to 64
// and 1 to 16384 registers that are zero, and VAL 1vvvvvxx, which is 1 to 4 registers of value 1 to
// 32.
const HLL_SPARSE_XZERO_BIT: u8 = 0x40;
const HLL_SPARSE_VAL_BIT: u8 = 0x80;
const HLL_SPARSE_VAL_MAX_VALUE: u8 = 32;
const HLL_SPARSE_VAL_MAX_LEN: usize = 4;
const HLL_SPARSE_ZERO_MAX_LEN: usize = 64;
const HLL_SPARSE_XZERO_MAX_LEN: usize = 16384;

#[inline]
fn HLL_SPARSE_IS_ZERO(p: u8) -> bool {
    p & 0xc0 == 0
}

#[inline]
fn HLL_SPARSE_IS_XZERO(p: u8) -> bool {
    p & 0xc0 == HLL_SPARSE_XZERO_BIT
}

#[inline]
fn HLL_SPARSE_IS_VAL(p: u8) -> bool {
    p & HLL_SPARSE_VAL_BIT != 0
}

#[inline]
fn HLL_SPARSE_ZERO_LEN(p: u8) -> usize {
    usize::from(p & 0x3f) + 1
}

/// Returns the length of the XZERO that `p` starts with. A second byte that is missing counts as
/// zero, as the NUL behind the C's string does.
#[inline]
fn HLL_SPARSE_XZERO_LEN(p: &[u8]) -> usize {
    (usize::from(p[0] & 0x3f) << 8 | usize::from(p.get(1).copied().unwrap_or(0))) + 1
}

#[inline]
fn HLL_SPARSE_VAL_VALUE(p: u8) -> u8 {
    (p >> 2 & 0x1f) + 1
}

#[inline]
fn HLL_SPARSE_VAL_LEN(p: u8) -> usize {
    usize::from(p & 0x3) + 1
}

#[inline]
fn HLL_SPARSE_VAL_SET(val: u8, len: usize) -> u8 {
    (val - 1) << 2 | (len - 1) as u8 | HLL_SPARSE_VAL_BIT
}

/// A run of the sparse form.
struct Run {
    /// How many registers it stands for, 1 to 16384.
    runlen: usize,
    /// The value of each; 0 for ZERO and XZERO.
    regval: u8,
    /// How many bytes it is.
    oplen: usize,
}

/// Returns the run at byte `p` of `sparse`; none behind the end.
#[inline(always)]
fn hll_sparse_run(sparse: &[u8], p: usize) -> Option<Run> {
    let op = *sparse.get(p)?;
    if HLL_SPARSE_IS_XZERO(op) {
        return Some(Run { runlen: HLL_SPARSE_XZERO_LEN(&sparse[p..]), regval: 0, oplen: 2 });
    }
    // ZERO and VAL follow each other without order, so that a branch would often be guessed wrong.
    // Here is none.
    let val = HLL_SPARSE_IS_VAL(op);
    let runlen = if val { HLL_SPARSE_VAL_LEN(op) } else { HLL_SPARSE_ZERO_LEN(op) };
    let regval = if val { HLL_SPARSE_VAL_VALUE(op) } else { 0 };
    Some(Run { runlen, regval, oplen: 1 })
}

/// Returns how many runs of one byte, ZERO and VAL, the eight bytes of a word start with, and how
/// many registers these are.
#[inline(always)]
fn hll_sparse_word(word: u64) -> (usize, usize) {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // All bytes at once. Those before the first XZERO are such runs: the second byte of an XZERO is
    // none before it.
    let xzeros = word & !(word >> 1) & (0x40 * ONES);
    let ops = xzeros.trailing_zeros() / 8;
    let len_bits = 0x3f * ONES - (word >> 7 & ONES) * 0x3c;
    let lens = (word & len_bits) + ONES;
    let lens = if ops < 8 { lens & ((1 << (8 * ops)) - 1) } else { lens };
    // The sum of the bytes, by way of four sums of 16 bits.
    const LOW: u64 = 0x00ff_00ff_00ff_00ff;
    let pairs = (lens & LOW) + (lens >> 8 & LOW);
    (ops as usize, (pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48) as usize)
}

/// Calls `f` with the first register, the length and the value of each run. `C_ERR`: the runs are
/// not those of exactly 16384 registers; no run that goes beyond the last register was told.
fn hll_sparse_walk(sparse: &[u8], mut f: impl FnMut(usize, usize, u8)) -> CResult {
    let (mut p, mut idx) = (0, 0);
    while let Some(run) = hll_sparse_run(sparse, p) {
        // C: 6.2.16 checks VAL only, so that ZERO and XZERO could carry the index anywhere
        // (CVE-2025-32023).
        if idx + run.runlen > HLL_REGISTERS {
            return C_ERR;
        }
        f(idx, run.runlen, run.regval);
        idx += run.runlen;
        p += run.oplen;
    }
    if idx == HLL_REGISTERS { C_OK } else { C_ERR }
}

// ========================= HyperLogLog algorithm  =========================

/// Computes MurmurHash2 of 64 bits, with the same result on machines of either byte order.
pub fn MurmurHash64A(key: &[u8], seed: u32) -> u64 {
    const m: u64 = 0xc6a4a7935bd1e995;
    const r: u32 = 47;
    let mut h = u64::from(seed) ^ (key.len() as u64).wrapping_mul(m);
    let (words, rest) = key.as_chunks::<8>();
    for word in words {
        let mut k = u64::from_le_bytes(*word).wrapping_mul(m);
        k ^= k >> r;
        h = (h ^ k.wrapping_mul(m)).wrapping_mul(m);
    }
    if !rest.is_empty() {
        // The rest is in the last eight bytes, of a key that has as many.
        let last = match key.last_chunk() {
            Some(last) => u64::from_le_bytes(*last) >> (64 - 8 * rest.len()),
            None => rest.iter().rev().fold(0, |last, b| last << 8 | u64::from(*b)),
        };
        h = (h ^ last).wrapping_mul(m);
    }
    h ^= h >> r;
    h = h.wrapping_mul(m);
    h ^ h >> r
}

/// Returns the register an element belongs to, and the length of the pattern `000..1` of its hash:
/// 1 to 51.
#[inline]
fn hllPatLen(ele: &[u8]) -> (usize, u8) {
    let hash = MurmurHash64A(ele, 0xadc83b19);
    let index = (hash & HLL_P_MASK) as usize;
    // Behind the bits of the register; a one at the end, so that there is one.
    let pattern = hash >> HLL_P | 1 << HLL_Q;
    (index, pattern.trailing_zeros() as u8 + 1)
}

// ================== Dense representation implementation  ==================

/// Raises register `index` to `count`. False: it was that much already.
#[inline]
fn hllDenseSet(registers: &mut [u8], index: usize, count: u8) -> bool {
    if count <= HLL_DENSE_GET_REGISTER(registers, index) {
        return false;
    }
    HLL_DENSE_SET_REGISTER(registers, index, count);
    true
}

/// Adds an element, which means that its register is raised if its pattern is longer. Returns
/// whether it was.
#[inline]
fn hllDenseAdd(registers: &mut [u8], ele: &[u8]) -> bool {
    let (index, count) = hllPatLen(ele);
    hllDenseSet(registers, index, count)
}

/// Returns the four registers that lie in three bytes.
#[inline]
fn hll_dense_unpack(p: &[u8; 3]) -> [u8; 4] {
    let bits = u32::from_le_bytes([p[0], p[1], p[2], 0]);
    [0, 6, 12, 18].map(|fb| (bits >> fb) as u8 & HLL_REGISTER_MAX)
}

/// How many registers have each value.
type RegHisto = [u32; 64];

/// Returns the histogram of dense registers.
fn hllDenseRegHisto(registers: &[u8]) -> RegHisto {
    // One for each of four neighbours, so that equal ones don't wait for each other.
    let mut histos = [[0; 64]; 4];
    for p in registers.as_chunks::<3>().0 {
        for (histo, reg) in histos.iter_mut().zip(hll_dense_unpack(p)) {
            histo[usize::from(reg)] += 1;
        }
    }
    std::array::from_fn(|reg| histos.iter().map(|histo| histo[reg]).sum())
}

// ================== Sparse representation implementation  =================

/// Converts a sparse HyperLogLog to the dense form. A dense one stays. `C_ERR`: it was corrupted,
/// and stays too.
fn hllSparseToDense(o: &mut HllObject) -> CResult {
    if o.encoding() == HLL_DENSE {
        return C_OK;
    }
    let sparse = o.sds();
    let mut dense = vec![0; HLL_DENSE_SIZE];
    let (hdr, registers) = dense.split_at_mut(HLL_HDR_SIZE);
    // The magic and the cached cardinality stay.
    hdr.copy_from_slice(&sparse[..HLL_HDR_SIZE]);
    hdr[HLL_ENCODING] = HLL_DENSE;
    hll_sparse_walk(&sparse[HLL_HDR_SIZE..], |idx, runlen, regval| {
        if regval != 0 {
            (idx..idx + runlen)
                .for_each(|regnum| HLL_DENSE_SET_REGISTER(registers, regnum, regval));
        }
    })?;
    o.replace(dense);
    C_OK
}

/// Bytes being written, few enough for the stack.
struct Sequence {
    bytes: [u8; 24],
    len: usize,
}

impl Sequence {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Appends a run of `len` registers of `regval`.
    fn push_run(&mut self, regval: u8, len: usize) {
        if regval != 0 {
            self.push(&[HLL_SPARSE_VAL_SET(regval, len)]);
        } else if len > HLL_SPARSE_ZERO_MAX_LEN {
            let l = (len - 1) as u16;
            self.push(&[(l >> 8) as u8 | HLL_SPARSE_XZERO_BIT, l as u8]);
        } else {
            self.push(&[(len - 1) as u8]);
        }
    }

    /// Merges VALs that follow one another with the same value, as far as the first five runs go.
    fn merge(&mut self) {
        let mut p = 0;
        for _ in 0..5 {
            if p >= self.len {
                break;
            }
            let run = self.bytes[p];
            if HLL_SPARSE_IS_XZERO(run) {
                p += 2;
                continue;
            } else if HLL_SPARSE_IS_ZERO(run) {
                p += 1;
                continue;
            }
            if p + 1 < self.len {
                let next = self.bytes[p + 1];
                let len = HLL_SPARSE_VAL_LEN(run) + HLL_SPARSE_VAL_LEN(next);
                if HLL_SPARSE_IS_VAL(next)
                    && HLL_SPARSE_VAL_VALUE(run) == HLL_SPARSE_VAL_VALUE(next)
                    && len <= HLL_SPARSE_VAL_MAX_LEN
                {
                    self.bytes[p + 1] = HLL_SPARSE_VAL_SET(HLL_SPARSE_VAL_VALUE(run), len);
                    self.bytes.copy_within(p + 1..self.len, p);
                    self.len -= 1;
                    // The merged one may merge with the next.
                    continue;
                }
            }
            p += 1;
        }
    }
}

/// Raises register `index` of a sparse HyperLogLog to `count`. Returns whether it was raised; an
/// error if the runs end before it.
///
/// The HyperLogLog becomes dense, and then is, when `count` is too much for a VAL, or when the
/// string would get longer than `hll_sparse_max_bytes`.
fn hllSparseSet(
    o: &mut HllObject,
    index: usize,
    count: u8,
    hll_sparse_max_bytes: usize,
) -> Result<bool, ()> {
    if count > HLL_SPARSE_VAL_MAX_VALUE {
        return hll_promote(o, index, count);
    }

    // Step 1: find the run that covers the register, and the one before it. This loop is what PFADD
    // takes its time for, so it passes over runs of one byte as many at a time as a word holds.
    let sds = o.sds();
    let sparse = &sds[HLL_HDR_SIZE..];
    let (mut p, mut prev, mut first) = (0, 0, 0);
    let run = loop {
        if let Some(word) = sparse.get(p..).and_then(|rest| rest.first_chunk()) {
            let (ops, span) = hll_sparse_word(u64::from_le_bytes(*word));
            if ops > 0 && index >= first + span {
                prev = p + ops - 1;
                p += ops;
                first += span;
                if ops == 8 {
                    continue;
                }
            }
        }
        let Some(run) = hll_sparse_run(sparse, p) else { return Err(()) };
        if index < first + run.runlen {
            break run;
        }
        prev = p;
        p += run.oplen;
        first += run.runlen;
    };
    // C: an XZERO without its second byte is split all the same, beyond the end of the string.
    if p + run.oplen > sparse.len() {
        return Err(());
    }

    // Step 2: change the run. A VAL of at least `count` stays. Else the register becomes a VAL
    // of its own, and what the run had before it and after it stays beside it: up to five bytes for
    // one.
    if run.regval >= count {
        return Ok(false);
    }
    let mut seq = Sequence { bytes: [0; 24], len: 0 };
    let last = first + run.runlen - 1;
    seq.push(&sparse[prev..p]);
    if index != first {
        seq.push_run(run.regval, index - first);
    }
    seq.push_run(count, 1);
    if index != last {
        seq.push_run(run.regval, last - index);
    }

    // Step 3: check that the string does not get too long.
    let (old, new) = (p + run.oplen - prev, seq.len);
    if new > old && sds.len() + (new - old) > hll_sparse_max_bytes {
        return hll_promote(o, index, count);
    }

    // Step 4: merge VALs of the same value, from the run before on. Merging looks at five runs:
    // with what is before it the sequence has two at least, and those that can still be looked at
    // are in the twelve bytes that follow.
    let end = sparse.len().min(p + run.oplen + 12);
    seq.push(&sparse[p + run.oplen..end]);
    seq.merge();
    o.splice(HLL_HDR_SIZE + prev, end - prev, &seq.bytes[..seq.len]);
    HLL_INVALIDATE_CACHE(o.sds_mut());
    Ok(true)
}

/// Ends `hllSparseSet` by making the HyperLogLog dense, and sets the register there.
#[cold]
fn hll_promote(o: &mut HllObject, index: usize, count: u8) -> Result<bool, ()> {
    hllSparseToDense(o)?;
    // It is not so large yet, or there would have been no need for this. So PFADD counts a change,
    // and is propagated: the replicas convert too.
    let dense_retval = hllDenseSet(&mut o.sds_mut()[HLL_HDR_SIZE..], index, count);
    assert!(dense_retval);
    Ok(true)
}

/// Adds an element: `hllSparseSet` with its register and pattern.
fn hllSparseAdd(o: &mut HllObject, ele: &[u8], hll_sparse_max_bytes: usize) -> Result<bool, ()> {
    let (index, count) = hllPatLen(ele);
    hllSparseSet(o, index, count, hll_sparse_max_bytes)
}

/// Returns the histogram of sparse registers; an error if they are corrupted.
fn hllSparseRegHisto(sparse: &[u8]) -> Result<RegHisto, ()> {
    let mut reghisto = [0; 64];
    hll_sparse_walk(sparse, |_, runlen, regval| reghisto[usize::from(regval)] += runlen as u32)?;
    Ok(reghisto)
}

// ========================= HyperLogLog Count ==============================
// The histogram depends on the representation; all that follows does not.

/// Returns the histogram of registers of a byte each, at most 63, as PFCOUNT of several keys makes
/// them.
fn hllRawRegHisto(registers: &[u8]) -> RegHisto {
    let mut reghisto = [0; 64];
    for word in registers.as_chunks::<8>().0 {
        if *word == [0; 8] {
            reghisto[0] += 8;
        } else {
            word.iter().for_each(|reg| reghisto[usize::from(*reg)] += 1);
        }
    }
    reghisto
}

/// Computes the function sigma of Otmar Ertl, "New cardinality estimation algorithms for
/// HyperLogLog sketches", arXiv:1702.01284.
fn hllSigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let zPrime = z;
        z += x * y;
        y += y;
        if zPrime == z {
            return z;
        }
    }
}

/// Computes the function tau of the same paper.
fn hllTau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let zPrime = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if zPrime == z {
            return z / 3.0;
        }
    }
}

/// Estimates how many different elements were added to the HyperLogLog `hdr`, header and registers;
/// an error if it is sparse and corrupted.
fn hllCount(hdr: &[u8]) -> Result<u64, ()> {
    const HLL_ALPHA_INF: f64 = 0.721_347_520_444_481_7; // 0.5/ln(2)
    let m = HLL_REGISTERS as f64;
    let (hdr, registers) = hdr.split_at(HLL_HDR_SIZE);
    let reghisto = match hdr[HLL_ENCODING] {
        HLL_DENSE => hllDenseRegHisto(registers),
        HLL_SPARSE => hllSparseRegHisto(registers)?,
        HLL_RAW => hllRawRegHisto(registers),
        _ => panic!("Unknown HyperLogLog encoding in hllCount()"),
    };

    // The estimate from the histogram, as in the paper.
    let mut z = m * hllTau((m - f64::from(reghisto[HLL_Q + 1])) / m);
    for j in (1..=HLL_Q).rev() {
        z += f64::from(reghisto[j]);
        z *= 0.5;
    }
    z += m * hllSigma(f64::from(reghisto[0]) / m);
    let E = (HLL_ALPHA_INF * m * m / z).round();
    // Registers that no hash makes give numbers beyond 63 bits, which the C's conversion turns into
    // this one.
    Ok(if E < 9_223_372_036_854_775_808.0 { E as u64 } else { 1 << 63 })
}

/// Adds an element. Returns whether that changed anything; an error if the HyperLogLog is
/// corrupted.
#[inline]
fn hllAdd(o: &mut HllObject, ele: &[u8], hll_sparse_max_bytes: usize) -> Result<bool, ()> {
    match o.encoding() {
        HLL_DENSE => Ok(hllDenseAdd(&mut o.sds_mut()[HLL_HDR_SIZE..], ele)),
        HLL_SPARSE => hllSparseAdd(o, ele, hll_sparse_max_bytes),
        _ => Err(()),
    }
}

/// Raises each register of `max`, a byte each, to that of the HyperLogLog `hll`, whose header was
/// checked. `C_ERR`: it is sparse and corrupted.
fn hllMerge(max: &mut [u8], hll: &[u8]) -> CResult {
    let (hdr, registers) = hll.split_at(HLL_HDR_SIZE);
    if hdr[HLL_ENCODING] == HLL_DENSE {
        for (max, p) in max.as_chunks_mut::<4>().0.iter_mut().zip(registers.as_chunks::<3>().0) {
            let val = hll_dense_unpack(p);
            *max = std::array::from_fn(|i| max[i].max(val[i]));
        }
        return C_OK;
    }
    hll_sparse_walk(registers, |idx, runlen, regval| {
        if regval != 0 {
            max[idx..idx + runlen].iter_mut().for_each(|max| *max = regval.max(*max));
        }
    })
}

// ========================== HyperLogLog commands ==========================

/// Returns a HyperLogLog without elements. It starts sparse, and gets dense when it has to.
fn createHLLObject() -> Object {
    let mut s = Vec::with_capacity(HLL_HDR_SIZE + 2);
    s.extend_from_slice(HLL_MAGIC);
    s.push(HLL_SPARSE);
    s.resize(HLL_HDR_SIZE, 0);
    // One XZERO covers all the registers.
    let len = (HLL_SPARSE_XZERO_MAX_LEN - 1).to_be_bytes();
    s.extend_from_slice(&[len[6] | HLL_SPARSE_XZERO_BIT, len[7]]);
    Object::Raw(s)
}

/// Tells whether bytes have the header, and a dense one the length, of a HyperLogLog. What follows
/// in a sparse one is checked where it is read.
#[inline]
fn is_hll(s: &[u8]) -> bool {
    s.len() >= HLL_HDR_SIZE
        && s.starts_with(HLL_MAGIC)
        && s[HLL_ENCODING] <= HLL_MAX_ENCODING
        && (s[HLL_ENCODING] != HLL_DENSE || s.len() == HLL_DENSE_SIZE)
}

/// Checks that the value is a HyperLogLog. `C_ERR`: it is none, and the reply was sent.
#[inline]
fn isHLLObjectOrReply(server: &mut Server, c: ClientId, o: KeyRef) -> CResult {
    if checkType(server, c, o, OBJ_STRING) {
        return C_ERR;
    }
    let db = server[c].db;
    match server.db[db].get(o) {
        ValueRef::Str(s) if is_hll(s) => C_OK,
        _ => {
            addReplyError(server, c, b"-WRONGTYPE Key is not a valid HyperLogLog string value.");
            C_ERR
        }
    }
}

/// Returns the bytes of a HyperLogLog that was checked.
fn hll_bytes(server: &Server, db: usize, o: KeyRef) -> &[u8] {
    match server.db[db].get(o) {
        ValueRef::Str(s) => s,
        _ => unreachable!("it was checked"),
    }
}

/// Returns the bytes of a value that is a dense HyperLogLog, to change them. `None`: it is another.
#[inline(always)]
fn dense_hll_mut(dict: &mut Keyspace, o: KeyRef) -> Option<&mut [u8; HLL_DENSE_SIZE]> {
    if dict.type_of(o) != OBJ_STRING || dict.encoding(o) != OBJ_ENCODING_RAW {
        return None;
    }
    match dict.get_mut(o) {
        ValueMut::Str(s) if is_hll(s) && s[HLL_ENCODING] == HLL_DENSE => s.try_into().ok(),
        _ => None,
    }
}

/// Adds the elements of a PFADD to any value, which has changed `updated` times, and returns how many
/// times it has then. `Err`: it is no HyperLogLog, or a damaged one, and the reply was sent.
// C: a part of `pfaddCommand`.
#[inline(never)]
fn pfadd_any(
    server: &mut Server,
    c: ClientId,
    o: KeyRef,
    argv: &Args,
    mut updated: i64,
) -> Result<i64, ()> {
    isHLLObjectOrReply(server, c, o)?;
    let (db, max_bytes) = (server[c].db, server.hll_sparse_max_bytes);
    let mut o = HllObject::new(&mut server.db[db].dict, o);
    for ele in argv.iter().skip(2) {
        match hllAdd(&mut o, ele, max_bytes) {
            Ok(changed) => updated += i64::from(changed),
            Err(()) => {
                addReplyError(server, c, invalid_hll_err);
                return Err(());
            }
        }
    }
    if updated > 0 {
        HLL_INVALIDATE_CACHE(o.sds_mut());
    }
    Ok(updated)
}

/// PFADD var ele ele ele ... ele => :0 or :1
pub fn pfaddCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (db, key) = (server[c].db, argv.get(1));
    let mut updated = 0;
    let o = lookupKeyWrite(server, db, key).unwrap_or_else(|| {
        updated += 1;
        dbAdd(server, db, key, createHLLObject())
    });
    if let Some(hll) = dense_hll_mut(&mut server.db[db].dict, o) {
        // Most often: its registers are changed where they are.
        for j in 2..argv.len() {
            updated += i64::from(hllDenseAdd(&mut hll[HLL_HDR_SIZE..], argv.get(j)));
        }
        if updated > 0 {
            HLL_INVALIDATE_CACHE(hll);
        }
    } else {
        let Ok(changed) = pfadd_any(server, c, o, argv, updated) else { return };
        updated = changed;
    }
    if updated > 0 {
        signalModifiedKey(server, Some(c), db, key);
        notifyKeyspaceEvent(server, NOTIFY_STRING, "pfadd", key, db);
        server.dirty += updated;
    }
    addReply(server, c, if updated > 0 { shared::cone } else { shared::czero });
}

/// PFCOUNT var ... var -> approximated cardinality of set, or of the union of the sets.
pub fn pfcountCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let db = server[c].db;

    // Case 1: several keys. Of their union nothing is cached.
    if argv.len() > 2 {
        let mut max = [0; HLL_HDR_SIZE + HLL_REGISTERS];
        max[HLL_ENCODING] = HLL_RAW;
        for key in argv.iter().skip(1) {
            let Some(o) = lookupKeyRead(server, db, key) else { continue };
            if isHLLObjectOrReply(server, c, o).is_err() {
                return;
            }
            if hllMerge(&mut max[HLL_HDR_SIZE..], hll_bytes(server, db, o)).is_err() {
                addReplyError(server, c, invalid_hll_err);
                return;
            }
        }
        let card = hllCount(&max).expect("registers of a byte are never corrupted");
        addReplyLongLong(server, c, card as i64);
        return;
    }

    // Case 2: one key. The cached value, or a new one that is cached then.
    let key = argv.get(1);
    let Some(o) = lookupKeyWrite(server, db, key) else {
        addReply(server, c, shared::czero);
        return;
    };
    if isHLLObjectOrReply(server, c, o).is_err() {
        return;
    }
    let mut o = HllObject::new(&mut server.db[db].dict, o);
    let hdr = o.sds();
    if HLL_VALID_CACHE(hdr) {
        let card = hdr[HLL_CARD].iter().rev().fold(0, |card, b| card << 8 | u64::from(*b));
        addReplyLongLong(server, c, card as i64);
        return;
    }
    let Ok(card) = hllCount(hdr) else {
        addReplyError(server, c, invalid_hll_err);
        return;
    };
    o.sds_mut()[HLL_CARD].copy_from_slice(&card.to_le_bytes());
    // The elements are the same, but the string is not: whoever watches or replicates it has to
    // know.
    signalModifiedKey(server, Some(c), db, key);
    server.dirty += 1;
    addReplyLongLong(server, c, card as i64);
}

/// PFMERGE dest src1 src2 src3 ... srcN => OK
pub fn pfmergeCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (db, key, max_bytes) = (server[c].db, argv.get(1), server.hll_sparse_max_bytes);
    let mut max = [0; HLL_REGISTERS];
    let mut use_dense = false;

    // The largest of each register, the destination's too.
    for key in argv.iter().skip(1) {
        let Some(o) = lookupKeyRead(server, db, key) else { continue };
        if isHLLObjectOrReply(server, c, o).is_err() {
            return;
        }
        let hll = hll_bytes(server, db, o);
        use_dense |= hll[HLL_ENCODING] == HLL_DENSE;
        if hllMerge(&mut max, hll).is_err() {
            addReplyError(server, c, invalid_hll_err);
            return;
        }
    }

    // The destination, which was checked among the others if it is there.
    let o = match lookupKeyWrite(server, db, key) {
        Some(o) => o,
        None => dbAdd(server, db, key, createHLLObject()),
    };
    let mut o = HllObject::new(&mut server.db[db].dict, o);
    // Where one of them is dense the result would get dense anyway.
    if use_dense && hllSparseToDense(&mut o).is_err() {
        addReplyError(server, c, invalid_hll_err);
        return;
    }

    // Write the registers to it.
    for (j, val) in max.into_iter().enumerate().filter(|(_, val)| *val != 0) {
        match o.encoding() {
            HLL_DENSE => {
                hllDenseSet(&mut o.sds_mut()[HLL_HDR_SIZE..], j, val);
            }
            _ => {
                // Its runs were checked just now. An XZERO that lacks a byte reads as a run but
                // can't be split: then this register stays.
                let _ = hllSparseSet(&mut o, j, val, max_bytes);
            }
        }
    }
    HLL_INVALIDATE_CACHE(o.sds_mut());

    signalModifiedKey(server, Some(c), db, key);
    // It is a PFADD of many elements.
    notifyKeyspaceEvent(server, NOTIFY_STRING, "pfadd", key, db);
    server.dirty += 1;
    addReply(server, c, shared::ok);
}

// ========================== Testing / Debugging  ==========================

const HLL_TEST_CYCLES: u32 = 1000;

/// PFSELFTEST: tests the registers and the error of the estimate.
pub fn pfselftestCommand(server: &mut Server, c: ClientId, _argv: &Args) {
    let mut rand = Rand48::default();
    rand.redisSrand48(random_u64() as i32);
    let mut bitcounters = vec![0; HLL_DENSE_SIZE];
    let mut bytecounters = [0; HLL_REGISTERS];

    // Test 1: each register keeps what it is set to, and its neighbours keep theirs.
    for _ in 0..HLL_TEST_CYCLES {
        let registers = &mut bitcounters[HLL_HDR_SIZE..];
        for (i, counter) in bytecounters.iter_mut().enumerate() {
            *counter = rand.redisLrand48() as u8 & HLL_REGISTER_MAX;
            HLL_DENSE_SET_REGISTER(registers, i, *counter);
        }
        for (i, counter) in bytecounters.iter().enumerate() {
            let val = HLL_DENSE_GET_REGISTER(registers, i);
            if val != *counter {
                addReplyErrorFormat!(
                    server,
                    c,
                    "TESTFAILED Register {} should be {} but is {}",
                    i,
                    counter,
                    val
                );
                return;
            }
        }
    }

    // Test 2: the estimate is within a few times the standard error, and the same from the sparse
    // and the dense form.
    bitcounters[HLL_HDR_SIZE..].fill(0);
    let max_bytes = server.hll_sparse_max_bytes;
    let mut dict = Keyspace::new(HashSeed::random());
    let o = dict.add(b"", createHLLObject());
    let mut o = HllObject::new(&mut dict, o);
    let relerr = 1.04 / (HLL_REGISTERS as f64).sqrt();
    let mut checkpoint = 1u64;
    let seed = random_u64();
    for j in 1..=10_000_000u64 {
        let ele = (j ^ seed).to_le_bytes();
        hllDenseAdd(&mut bitcounters[HLL_HDR_SIZE..], &ele);
        let added = hllAdd(&mut o, &ele, max_bytes);
        if j != checkpoint {
            continue;
        }

        // Few elements are sparse.
        if j < (max_bytes / 2) as u64 && o.encoding() != HLL_SPARSE {
            addReplyError(server, c, b"TESTFAILED sparse encoding not used");
            return;
        }
        let dense = hllCount(&bitcounters);
        if added.is_err() || dense != hllCount(o.sds()) {
            addReplyError(server, c, b"TESTFAILED dense/sparse disagree");
            return;
        }
        let abserr = checkpoint.abs_diff(dense.unwrap_or(0));
        // Of ten elements two may share a register, which happens now and then and is no error of
        // ours.
        let maxerr = if j == 10 { 1 } else { (relerr * 6.0 * checkpoint as f64).ceil() as u64 };
        if abserr > maxerr {
            addReplyErrorFormat!(
                server,
                c,
                "TESTFAILED Too big error. card:{} abserr:{}",
                checkpoint,
                abserr
            );
            return;
        }
        checkpoint *= 10;
    }
    addReply(server, c, shared::ok);
}

/// PFDEBUG subcommand key
pub fn pfdebugCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (db, cmd) = (server[c].db, argv.get(1));
    let Some(o) = lookupKeyWrite(server, db, &argv[2]) else {
        addReplyError(server, c, b"The specified key does not exist");
        return;
    };
    if isHLLObjectOrReply(server, c, o).is_err() {
        return;
    }
    let Server { db: dbs, clients, dirty, .. } = server;
    let mut o = HllObject::new(&mut dbs[db].dict, o);
    let is = |name: &[u8]| eq_ignore_case(cmd, name);

    let known = is(b"getreg") || is(b"decode") || is(b"encoding") || is(b"todense");
    if !known {
        addReplyErrorFormat!(server, c, "Unknown PFDEBUG subcommand '{}'", B(c_str(cmd)));
    } else if argv.len() != 3 {
        addReplyErrorFormat!(
            server,
            c,
            "Wrong number of arguments for the '{}' subcommand",
            B(c_str(cmd))
        );
    } else if is(b"getreg") {
        // PFDEBUG GETREG <key>: all the registers. It becomes dense for that, which is propagated.
        if o.encoding() == HLL_SPARSE {
            if hllSparseToDense(&mut o).is_err() {
                addReplyError(server, c, invalid_hll_err);
                return;
            }
            *dirty += 1;
        }
        let registers = &o.sds()[HLL_HDR_SIZE..];
        addReplyArrayLen(clients, c, HLL_REGISTERS);
        for j in 0..HLL_REGISTERS {
            addReplyLongLong(clients, c, i64::from(HLL_DENSE_GET_REGISTER(registers, j)));
        }
    } else if is(b"decode") {
        // PFDEBUG DECODE <key>: the runs of a sparse one, as they stand.
        if o.encoding() != HLL_SPARSE {
            addReplyError(server, c, b"HLL encoding is not sparse");
            return;
        }
        let mut decoded = Vec::new();
        let mut p = HLL_HDR_SIZE;
        while let Some(Run { runlen, regval, oplen }) = hll_sparse_run(o.sds(), p) {
            if !decoded.is_empty() {
                decoded.push(b' ');
            }
            match (regval, oplen) {
                (0, 1) => sdscatprintf!(decoded, "z:{}", runlen),
                (0, _) => sdscatprintf!(decoded, "Z:{}", runlen),
                _ => sdscatprintf!(decoded, "v:{},{}", regval, runlen),
            }
            p += oplen;
        }
        addReplyBulkCBuffer(clients, c, &decoded);
    } else if is(b"encoding") {
        // PFDEBUG ENCODING <key>
        let encodingstr: &[u8] = if o.encoding() == HLL_DENSE { b"dense" } else { b"sparse" };
        addReplyStatus(clients, c, encodingstr);
    } else {
        // PFDEBUG TODENSE <key>: 1 if it was sparse.
        let conv = o.encoding() == HLL_SPARSE;
        if conv {
            if hllSparseToDense(&mut o).is_err() {
                addReplyError(server, c, invalid_hll_err);
                return;
            }
            *dirty += 1;
        }
        addReply(clients, c, if conv { shared::cone } else { shared::czero });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_hll<R>(sds: Vec<u8>, f: impl FnOnce(&mut HllObject) -> R) -> R {
        let mut dict = Keyspace::new(HashSeed::new(*b"0123456789abcdef"));
        let o = dict.add(b"key", Object::Raw(sds));
        f(&mut HllObject::new(&mut dict, o))
    }

    fn empty() -> Vec<u8> {
        match createHLLObject() {
            Object::Raw(s) => s,
            _ => unreachable!(),
        }
    }

    fn sparse(runs: &[u8]) -> Vec<u8> {
        [&empty()[..HLL_HDR_SIZE], runs].concat()
    }

    fn registers(sds: &[u8]) -> Result<Vec<u8>, ()> {
        let mut max = vec![0; HLL_REGISTERS];
        hllMerge(&mut max, sds).map(|()| max)
    }

    #[test]
    fn an_empty_one_is_one_xzero() {
        assert_eq!(empty(), b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0\x7f\xff");
        assert_eq!(hllCount(&empty()), Ok(0));
    }

    /// Computed by another implementation.
    #[test]
    fn hashes_and_patterns() {
        let computed: [(&[u8], u64, usize, u8); 5] = [
            (b"", 0xd8dfea6585bc9732, 5938, 2),
            (b"a", 0x53d2470a9b43b1a7, 12711, 2),
            (b"foo", 0xe64609b8b0141cb4, 7348, 5),
            (b"12345678", 0x95ebb86389132953, 10579, 3),
            (b"hello world, hello", 0x388aef2bb49658e0, 6368, 1),
        ];
        for (key, hash, index, count) in computed {
            assert_eq!(MurmurHash64A(key, 0xadc83b19), hash);
            assert_eq!(hllPatLen(key), (index, count));
        }
    }

    /// Random changes, against an array of registers. Small limits make it dense at any length.
    #[test]
    fn registers_keep_the_maximum_in_either_form() {
        let seed = 0x5eed_0010;
        let mut rand = Rand48::default();
        rand.redisSrand48(seed);
        for (round, max_bytes) in [100_000, 3000, 300, 0].into_iter().enumerate() {
            with_hll(empty(), |o| {
                let mut model = vec![0u8; HLL_REGISTERS];
                for step in 0..6000 {
                    let mut draw = |n: i32| (rand.redisLrand48() % n) as usize;
                    // Neighbours, so that runs meet; and values that repeat. Sometimes one that
                    // only dense registers hold.
                    let index = if draw(2) == 0 { draw(200) } else { draw(HLL_REGISTERS as i32) };
                    let large = round > 0 && step > 3000 && draw(500) == 0;
                    let count = if large { 33 + draw(19) } else { 1 + draw(3).pow(2) } as u8;
                    let changed = match o.encoding() {
                        HLL_DENSE => {
                            Ok(hllDenseSet(&mut o.sds_mut()[HLL_HDR_SIZE..], index, count))
                        }
                        _ => hllSparseSet(o, index, count, max_bytes),
                    };
                    assert_eq!(
                        changed,
                        Ok(count > model[index]),
                        "seed {seed:#x} round {round} step {step}"
                    );
                    model[index] = model[index].max(count);
                    if step % 50 == 0 {
                        assert!(
                            registers(o.sds()) == Ok(model.clone()),
                            "seed {seed:#x} round {round} step {step}"
                        );
                    }
                }
                assert_eq!(o.encoding(), if round == 0 { HLL_SPARSE } else { HLL_DENSE });
                let as_sparse = hllCount(o.sds());
                hllSparseToDense(o).unwrap();
                assert!(registers(o.sds()) == Ok(model.clone()));
                assert_eq!(hllCount(o.sds()), as_sparse);
                let raw = [&[0, 0, 0, 0, HLL_RAW][..], &[0; 11], &model].concat();
                assert_eq!(hllCount(&raw), as_sparse);
            });
        }
    }

    #[test]
    fn words_hold_as_many_runs_as_their_bytes() {
        let seed = 0x5eed_0012;
        let mut rand = Rand48::default();
        rand.redisSrand48(seed);
        for _ in 0..20000 {
            let xzeros = rand.redisLrand48() % 2 == 0;
            let word: [u8; 8] = std::array::from_fn(|_| match rand.redisLrand48() as u8 {
                b if HLL_SPARSE_IS_XZERO(b) && !xzeros => b & 0x3f,
                b => b,
            });
            let runs = word.iter().take_while(|b| !HLL_SPARSE_IS_XZERO(**b)).count();
            let span = (0..runs).map(|p| hll_sparse_run(&word, p).unwrap().runlen).sum();
            assert_eq!(
                hll_sparse_word(u64::from_le_bytes(word)),
                (runs, span),
                "seed {seed:#x} {word:x?}"
            );
        }
    }

    #[test]
    fn neighbours_of_the_same_value_become_one_run() {
        with_hll(empty(), |o| {
            for index in [5, 7, 6, 8, 9] {
                assert_eq!(hllSparseSet(o, index, 3, 3000), Ok(true));
            }
            // Five registers: a VAL holds four.
            let runs = &o.sds()[HLL_HDR_SIZE..];
            assert_eq!(runs[..3], [4, HLL_SPARSE_VAL_SET(3, 4), HLL_SPARSE_VAL_SET(3, 1)]);
            assert_eq!(hll_sparse_run(runs, 3).unwrap().runlen, HLL_REGISTERS - 10);
            assert_eq!(runs.len(), 5);
            assert_eq!(hllSparseSet(o, 6, 3, 3000), Ok(false));
        });
    }

    #[test]
    fn estimates_are_near() {
        with_hll(empty(), |o| {
            let mut n = 0u64;
            for checkpoint in [1u64, 7, 100, 1000, 20_000, 300_000] {
                while n < checkpoint {
                    n += 1;
                    hllAdd(o, &n.to_le_bytes(), 3000).unwrap();
                }
                let error = hllCount(o.sds()).unwrap().abs_diff(checkpoint);
                assert!(error as f64 <= checkpoint as f64 * 0.03, "{error} at {checkpoint}");
            }
        });
        // All registers at what no hash makes: the C's conversion of infinity.
        let dense =
            [&b"HYLL\0\0\0\0\0\0\0\0\0\0\0\0"[..], &[0xff; HLL_DENSE_SIZE - HLL_HDR_SIZE]].concat();
        assert_eq!(hllCount(&dense), Ok(1 << 63));
    }

    #[test]
    fn headers_are_checked() {
        let dense = |len: usize| {
            let mut s = vec![0; len];
            s[..4].copy_from_slice(HLL_MAGIC);
            s
        };
        assert!(is_hll(&empty()) && is_hll(&sparse(b"")) && is_hll(&dense(HLL_DENSE_SIZE)));
        assert!(
            !is_hll(&dense(HLL_DENSE_SIZE - 1))
                && !is_hll(&dense(HLL_DENSE_SIZE + 1))
                && !is_hll(b"")
        );
        assert!(!is_hll(&empty()[..HLL_HDR_SIZE - 1]));
        let mut s = empty();
        s[HLL_ENCODING] = 2;
        assert!(!is_hll(&s));
        s = empty();
        s[3] = b'l';
        assert!(!is_hll(&s));
    }

    fn refused(s: &[u8]) {
        assert!(hllCount(s).is_err());
        assert!(registers(s).is_err());
        with_hll(s.to_vec(), |o| {
            assert!(hllSparseToDense(o).is_err());
            // A value that needs the dense form, and one that only needs more room than there may
            // be.
            assert!(hllSparseSet(o, 0, 40, usize::MAX).is_err());
            assert!(o.sds() == s);
        });
    }

    /// CVE-2025-32023: the index is checked in runs of every kind.
    #[test]
    fn runs_beyond_the_last_register_are_refused() {
        const XZERO_ALL: [u8; 2] = [0x7f, 0xff];
        for run in [&[0x00][..], &[0x3f], &[0x40, 0x00], &XZERO_ALL, &[0x80], &[0x83]] {
            refused(&sparse(&[&XZERO_ALL, run].concat()));
            // What is missing before them does not make up for it.
            refused(&sparse(&[&[0x7f, 0xfd], run, &[0x80, 0x80, 0x80]].concat()));
        }
        // So many that a 32-bit index goes around to the registers again.
        let mut runs = XZERO_ALL.repeat(131_073);
        refused(&sparse(&runs));
        runs.push(0x80);
        let s = sparse(&runs);
        refused(&s);
        with_hll(s.clone(), |o| {
            assert!(hllAdd(o, b"ele", 3000).is_err());
            assert!(o.sds() == s);
        });
    }

    /// More than 2 GB, which stay untouched zeros: runs of one register each.
    #[test]
    fn very_long_ones_are_refused() {
        let s = vec![0u8; (2 << 30) + 17];
        assert!(hll_sparse_walk(&s, |_, _, _| ()).is_err());
    }

    #[test]
    fn missing_registers_and_bytes_are_noticed() {
        refused(&sparse(b""));
        refused(&sparse(&[0x7f, 0xfe]));
        with_hll(sparse(&[0x7f, 0xfe]), |o| {
            assert!(hllSparseSet(o, HLL_REGISTERS - 1, 1, 3000).is_err());
        });
        // The last byte of an XZERO is missing: it reads as zero, and can't be split.
        let cut = sparse(&[0x7f, 0xfe, 0x40]);
        assert_eq!(hllCount(&cut), Ok(0));
        with_hll(cut, |o| {
            assert!(hllSparseSet(o, HLL_REGISTERS - 1, 1, 3000).is_err());
            assert_eq!(hllSparseSet(o, 0, 1, 3000), Ok(true));
        });
    }

    /// Noise behind a header: nothing but an answer or a refusal.
    #[test]
    fn noise_does_no_harm() {
        let seed = 0x5eed_0011;
        let mut rand = Rand48::default();
        rand.redisSrand48(seed);
        for _ in 0..3000 {
            let len = rand.redisLrand48() as usize % 60;
            let mut runs: Vec<u8> = (0..len).map(|_| rand.redisLrand48() as u8).collect();
            if len & 1 == 0 {
                runs.extend_from_slice(&[0x7f, 0xff]);
            }
            with_hll(sparse(&runs), |o| {
                for _ in 0..20 {
                    let index = rand.redisLrand48() as usize % HLL_REGISTERS;
                    let _ = hllSparseSet(o, index, 1 + (rand.redisLrand48() % 33) as u8, 80);
                    if o.encoding() == HLL_DENSE {
                        assert_eq!(o.sds().len(), HLL_DENSE_SIZE);
                        break;
                    }
                }
                let _ = hllCount(o.sds());
            });
        }
    }
}
