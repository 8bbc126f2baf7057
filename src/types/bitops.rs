//! `bitops.c`: strings as arrays of bits.
//!
//! Bit 0 is the most significant bit of the first byte. Read first: [`setbitCommand`], then
//! `bitfieldGeneric`.
//!
//! Differs: the helpers work on whole words or vectors where the C goes bit by bit or tells aligned
//! from unaligned; their results are the same.

use crate::args::Args;
use crate::db::*;
use crate::keyspace::*;
use crate::networking::*;
use crate::notify::notifyKeyspaceEvent;
use crate::object::*;
use crate::server::{CommandSpec, command};
use crate::server_h::*;
use crate::util::{Num, c_str, eq_ignore_case, ll2string, string2ll};

/// The commands of this file, in the order of the C's table.
#[rustfmt::skip]
pub const COMMANDS: &[CommandSpec] = &[
    command("setbit", setbitCommand, 4, "write use-memory @bitmap", (1, 1, 1)),
    command("getbit", getbitCommand, 3, "read-only fast @bitmap", (1, 1, 1)),
    command("bitfield", bitfieldCommand, -2, "write use-memory @bitmap", (1, 1, 1)),
    command("bitfield_ro", bitfieldroCommand, -2, "read-only fast @bitmap", (1, 1, 1)),
    command("bitop", bitopCommand, -4, "write use-memory @bitmap", (2, -1, 1)),
    command("bitcount", bitcountCommand, -2, "read-only @bitmap", (1, 1, 1)),
    command("bitpos", bitposCommand, -3, "read-only @bitmap", (1, 1, 1)),
];

// -----------------------------------------------------------------------------
// Helpers and low level bit functions.
// -----------------------------------------------------------------------------

/// Returns the number of bits that are set.
pub fn redisPopcount(s: &[u8]) -> i64 {
    let (blocks, rest) = s.as_chunks::<64>();
    let words = |b: &[u8]| -> u64 {
        b.as_chunks::<8>().0.iter().map(|w| u64::from(u64::from_le_bytes(*w).count_ones())).sum()
    };
    let bits: u64 = blocks.iter().map(|b| words(b)).sum();
    let tail: u64 = rest.iter().map(|b| u64::from(b.count_ones())).sum();
    (bits + tail) as i64
}

/// Returns the position of the first bit that is `bit`.
///
/// -1: a set bit was asked for and there is none. A clear one there is always, behind the end at
/// the latest, since the string counts as followed by zeros.
pub fn redisBitpos(s: &[u8], bit: bool) -> i64 {
    let skip = if bit { 0 } else { u64::MAX };
    let (words, rest) = s.as_chunks::<8>();
    let at = words.iter().position(|w| u64::from_ne_bytes(*w) != skip);
    let word = match at {
        Some(at) => u64::from_be_bytes(words[at]),
        None => {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            u64::from_be_bytes(last)
        }
    };
    if bit && word == 0 {
        return -1;
    }
    let zeros = if bit { word.leading_zeros() } else { word.leading_ones() };
    at.unwrap_or(words.len()) as i64 * 64 + i64::from(zeros)
}

/// Returns the up to nine bytes of `p` that hold a field at bit `offset`, as one number with zeros
/// for what is not there; and how far to the left the field's last bit is in it.
fn bitfield_window(p: &[u8], offset: u64, bits: u32) -> (u128, u32) {
    let byte = usize::try_from(offset >> 3).unwrap_or(usize::MAX).min(p.len());
    let bytes = &p[byte..p.len().min(byte.saturating_add(9))];
    let mut window = [0; 16];
    window[7..7 + bytes.len()].copy_from_slice(bytes);
    (u128::from_be_bytes(window), 72 - (offset & 7) as u32 - bits)
}

/// Writes the low `bits` (1 to 64) of `value` at bit `offset`. The field has to lie within `p`.
pub fn setUnsignedBitfield(p: &mut [u8], offset: u64, bits: u32, value: u64) {
    let (window, shift) = bitfield_window(p, offset, bits);
    let mask = (u128::MAX >> (128 - bits)) << shift;
    let window = (window & !mask) | ((u128::from(value) << shift) & mask);
    let byte = (offset >> 3) as usize;
    let n = ((offset & 7) as usize + bits as usize).div_ceil(8);
    p[byte..byte + n].copy_from_slice(&window.to_be_bytes()[7..7 + n]);
}

/// Writes the low `bits` of `value` at bit `offset`, in two's complement. The field has to lie
/// within `p`.
pub fn setSignedBitfield(p: &mut [u8], offset: u64, bits: u32, value: i64) {
    setUnsignedBitfield(p, offset, bits, value as u64);
}

/// Returns the field of `bits` (1 to 64) at bit `offset`; what lies behind the end of `p` is zero.
pub fn getUnsignedBitfield(p: &[u8], offset: u64, bits: u32) -> u64 {
    let (window, shift) = bitfield_window(p, offset, bits);
    ((window >> shift) & (u128::MAX >> (128 - bits))) as u64
}

/// Returns the signed field of `bits` (1 to 64) at bit `offset`, of which the first bit is the
/// sign; what lies behind the end of `p` is zero.
pub fn getSignedBitfield(p: &[u8], offset: u64, bits: u32) -> i64 {
    let unused = 64 - bits;
    ((getUnsignedBitfield(p, offset, bits) << unused) as i64) >> unused
}

/// OVERFLOW of BITFIELD: what to do with a result that does not fit into its field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overflow {
    /// Only the low bits count.
    BFOVERFLOW_WRAP,
    /// The nearest value that fits.
    BFOVERFLOW_SAT,
    /// Nothing is written and the reply is null.
    BFOVERFLOW_FAIL,
}
use Overflow::*;

/// Tells whether `value + incr` leaves an unsigned field of `bits`, and if so, what to store
/// instead: `Some(None)` under FAIL.
pub fn checkUnsignedBitfieldOverflow(
    value: u64,
    incr: i64,
    bits: u32,
    owtype: Overflow,
) -> Option<Option<u64>> {
    let max = u64::MAX >> (64 - bits);
    let maxincr = max.wrapping_sub(value) as i64;
    let minincr = (value as i64).wrapping_neg();

    let limit = if value > max || (incr > 0 && incr > maxincr) {
        max
    } else if incr < 0 && incr < minincr {
        0
    } else {
        return None;
    };
    Some(match owtype {
        BFOVERFLOW_WRAP => Some(value.wrapping_add(incr as u64) & max),
        BFOVERFLOW_SAT => Some(limit),
        BFOVERFLOW_FAIL => None,
    })
}

/// Tells whether `value + incr` leaves a signed field of `bits`, and if so, what to store instead:
/// `Some(None)` under FAIL.
pub fn checkSignedBitfieldOverflow(
    value: i64,
    incr: i64,
    bits: u32,
    owtype: Overflow,
) -> Option<Option<i64>> {
    let max = i64::MAX >> (64 - bits);
    let min = -max - 1;

    // These may wrap around. Where that matters `value` is out of range, or has the sign that the
    // other one is for; but one far below the range of a SET is taken for one above it, as in the
    // C, and saturates there.
    let maxincr = max.wrapping_sub(value);
    let minincr = min.wrapping_sub(value);

    let limit = if value > max
        || (bits != 64 && incr > maxincr)
        || (value >= 0 && incr > 0 && incr > maxincr)
    {
        max
    } else if value < min
        || (bits != 64 && incr < minincr)
        || (value < 0 && incr < 0 && incr < minincr)
    {
        min
    } else {
        return None;
    };
    let unused = 64 - bits;
    Some(match owtype {
        BFOVERFLOW_WRAP => Some((value.wrapping_add(incr) << unused) >> unused),
        BFOVERFLOW_SAT => Some(limit),
        BFOVERFLOW_FAIL => None,
    })
}

// -----------------------------------------------------------------------------
// Bits related string commands: GETBIT, SETBIT, BITCOUNT, BITOP.
// -----------------------------------------------------------------------------

/// Returns the offset of a bit from an argument: not negative, and within a string of
/// `proto-max-bulk-len`. With `hash` it may be written `#n`, the n-th field of `bits`. On an error
/// the reply was sent.
#[inline(always)]
fn getBitOffsetFromArgument(
    server: &mut Server,
    c: ClientId,
    o: &[u8],
    hash: bool,
    bits: u32,
) -> Result<u64, ()> {
    let (digits, factor) = match o {
        [b'#', digits @ ..] if hash && bits > 0 => (digits, i64::from(bits)),
        _ => (o, 1),
    };
    // The product of a huge number wraps around, as it does in the C, and is then judged as what it
    // became.
    match string2ll(digits).map(|n| n.wrapping_mul(factor)) {
        Some(offset) if offset >= 0 && offset >> 3 < server.proto_max_bulk_len => Ok(offset as u64),
        _ => {
            addReplyError(server, c, b"bit offset is not an integer or out of range");
            Err(())
        }
    }
}

/// Returns the type of a field from an argument: `i` or `u` and the number of bits; whether it is
/// signed, and the bits. Up to 64 bits signed, up to 63 unsigned, because replies are signed. On an
/// error the reply was sent.
fn getBitfieldTypeFromArgument(
    server: &mut Server,
    c: ClientId,
    o: &[u8],
) -> Result<(bool, u32), ()> {
    let parsed = match o {
        [b'i', bits @ ..] => {
            string2ll(c_str(bits)).filter(|n| (1..=64).contains(n)).map(|n| (true, n as u32))
        }
        [b'u', bits @ ..] => {
            string2ll(c_str(bits)).filter(|n| (1..=63).contains(n)).map(|n| (false, n as u32))
        }
        _ => None,
    };
    parsed.ok_or_else(|| {
        addReplyError(
            server,
            c,
            b"Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        );
    })
}

/// Returns the string at `key`, made if it is not there, and made long enough with zeros for bit
/// `maxbit`. It is raw then. `None`: it is no string, and the reply was sent.
#[inline(always)]
fn lookupStringForBitCommand(
    server: &mut Server,
    c: ClientId,
    key: &[u8],
    maxbit: u64,
) -> Option<KeyRef> {
    let (db, byte) = (server[c].db, (maxbit >> 3) as usize);
    let Some(o) = lookupKeyWrite(server, db, key) else {
        return Some(dbAdd(server, db, key, Object::Raw(vec![0; byte + 1])));
    };
    if checkType(server, c, o, OBJ_STRING) {
        return None;
    }
    let dict = &mut server.db[db].dict;
    if dict.encoding(o) == OBJ_ENCODING_RAW && stringObjectLen(dict.get(o)) > byte {
        return Some(o);
    }
    Some(dict.string_mut(o, |s| s.grow_zero(byte + 1)).0)
}

/// Returns the bytes of a string, to look at; `digits` holds them if it is a number.
fn getObjectReadOnlyString<'a>(o: ValueRef<'a>, digits: &'a mut Option<Num>) -> &'a [u8] {
    match o {
        ValueRef::Str(s) => s,
        ValueRef::Int(n) => digits.insert(ll2string(n)).as_bytes(),
        ValueRef::Aggregate(_) => unreachable!("its type was checked"),
    }
}

/// Returns the bytes of a raw string, to change.
#[inline]
fn raw_string_mut(dict: &mut Keyspace, o: KeyRef) -> &mut [u8] {
    match dict.get_mut(o) {
        ValueMut::Str(s) => s,
        _ => unreachable!("it was made raw"),
    }
}

/// SETBIT key offset bitvalue
pub fn setbitCommand(server: &mut Server, c: ClientId, argv: &Args) {
    const err: &str = "bit is not an integer or out of range";
    let Ok(bitoffset) = getBitOffsetFromArgument(server, c, &argv[2], false, 0) else { return };
    let Ok(on) = getLongFromObjectOrReply(server, c, &argv[3], Some(err)) else { return };
    // Bits can only be set or cleared.
    if on & !1 != 0 {
        addReplyError(server, c, err.as_bytes());
        return;
    }

    let (db, key) = (server[c].db, argv.get(1));
    let Some(o) = lookupStringForBitCommand(server, c, key, bitoffset) else { return };
    let byte = &mut raw_string_mut(&mut server.db[db].dict, o)[(bitoffset >> 3) as usize];
    let bit = 7 - (bitoffset & 7);
    let bitval = *byte & (1 << bit) != 0;
    *byte = (*byte & !(1 << bit)) | ((on as u8) << bit);

    signalModifiedKey(server, Some(c), db, key);
    notifyKeyspaceEvent(server, NOTIFY_STRING, "setbit", key, db);
    server.dirty += 1;
    addReply(server, c, if bitval { shared::cone } else { shared::czero });
}

/// GETBIT key offset
pub fn getbitCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(bitoffset) = getBitOffsetFromArgument(server, c, &argv[2], false, 0) else { return };
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::czero) else { return };
    if checkType(server, c, o, OBJ_STRING) {
        return;
    }
    let db = server[c].db;
    let mut digits = None;
    let s = getObjectReadOnlyString(server.db[db].get(o), &mut digits);
    let bitval = s
        .get((bitoffset >> 3) as usize)
        .is_some_and(|byte| byte & (1 << (7 - (bitoffset & 7))) != 0);
    addReply(server, c, if bitval { shared::cone } else { shared::czero });
}

/// The operations of BITOP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bitop {
    BITOP_AND,
    BITOP_OR,
    BITOP_XOR,
    BITOP_NOT,
}
use Bitop::*;

/// Returns the result of an operation on strings, the shorter of which count as followed by zeros.
fn bitop(op: Bitop, src: &[&[u8]]) -> Vec<u8> {
    // A block of the result stays in the nearest cache while all the strings are applied to it.
    const BLOCK: usize = 8192;
    let maxlen = src.iter().map(|s| s.len()).max().unwrap_or(0);
    let mut res = Vec::with_capacity(maxlen);
    while res.len() < maxlen {
        let start = res.len();
        let end = maxlen.min(start + BLOCK);
        let part = |s: &'_ [u8]| start.min(s.len())..end.min(s.len());
        let (first, others) = src.split_first().expect("there is a source");
        res.extend_from_slice(&first[part(first)]);
        res.resize(end, 0);
        let block = &mut res[start..];
        for s in others {
            let s = &s[part(s)];
            let pairs = block.iter_mut().zip(s);
            match op {
                BITOP_AND => {
                    pairs.for_each(|(r, b)| *r &= b);
                    block[s.len()..].fill(0);
                }
                BITOP_OR => pairs.for_each(|(r, b)| *r |= b),
                BITOP_XOR => pairs.for_each(|(r, b)| *r ^= b),
                BITOP_NOT => unreachable!("it has one source"),
            }
        }
        if op == BITOP_NOT {
            block.iter_mut().for_each(|r| *r = !*r);
        }
    }
    res
}

/// BITOP op_name target_key src_key1 src_key2 src_key3 ... src_keyN
pub fn bitopCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let (db, opname, targetkey) = (server[c].db, argv.get(1), argv.get(2));
    let op = match () {
        () if eq_ignore_case(opname, b"and") => BITOP_AND,
        () if eq_ignore_case(opname, b"or") => BITOP_OR,
        () if eq_ignore_case(opname, b"xor") => BITOP_XOR,
        () if eq_ignore_case(opname, b"not") => BITOP_NOT,
        () => {
            addReplyErrorObject(server, c, shared::syntaxerr);
            return;
        }
    };
    if op == BITOP_NOT && argv.len() != 4 {
        addReplyError(server, c, b"BITOP NOT must be called with a single source key.");
        return;
    }

    // Look all keys up. One that is not there is an empty string, one that is no string an error.
    let mut objects = Vec::with_capacity(argv.len() - 3);
    for key in argv.iter().skip(3) {
        let o = lookupKeyRead(server, db, key);
        if let Some(o) = o
            && checkType(server, c, o, OBJ_STRING)
        {
            return;
        }
        objects.push((o, None));
    }
    let dict = &server.db[db];
    let src: Vec<&[u8]> = objects
        .iter_mut()
        .map(|(o, digits)| o.map_or(&[][..], |o| getObjectReadOnlyString(dict.get(o), digits)))
        .collect();
    let res = bitop(op, &src);

    // Store the computed value into the target key.
    let maxlen = res.len();
    if maxlen > 0 {
        setKey(server, Some(c), db, targetkey, Object::Raw(res));
        notifyKeyspaceEvent(server, NOTIFY_STRING, "set", targetkey, db);
        server.dirty += 1;
    } else if dbDelete(server, db, targetkey) {
        signalModifiedKey(server, Some(c), db, targetkey);
        notifyKeyspaceEvent(server, NOTIFY_GENERIC, "del", targetkey, db);
        server.dirty += 1;
    }
    addReplyLongLong(server, c, maxlen as i64);
}

/// Converts start and end to places within a string of `strlen` bytes, where negative ones count
/// from its end. The end may be before the start then, or -1.
fn clamp_range(mut start: i64, mut end: i64, strlen: i64) -> (i64, i64) {
    if start < 0 {
        start = (strlen + start).max(0);
    }
    if end < 0 {
        end = (strlen + end).max(0);
    }
    (start, end.min(strlen - 1))
}

/// BITCOUNT key [start end]
pub fn bitcountCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::czero) else { return };
    if checkType(server, c, o, OBJ_STRING) {
        return;
    }
    let db = server[c].db;
    let strlen = stringObjectLen(server.db[db].get(o)) as i64;

    let (start, end) = match argv.len() {
        4 => {
            let Ok(start) = getLongFromObjectOrReply(server, c, &argv[2], None) else { return };
            let Ok(end) = getLongFromObjectOrReply(server, c, &argv[3], None) else { return };
            if start < 0 && end < 0 && start > end {
                addReply(server, c, shared::czero);
                return;
            }
            clamp_range(start, end, strlen)
        }
        2 => (0, strlen - 1),
        _ => {
            addReplyErrorObject(server, c, shared::syntaxerr);
            return;
        }
    };

    if start > end {
        addReply(server, c, shared::czero);
        return;
    }
    let mut digits = None;
    let s = getObjectReadOnlyString(server.db[db].get(o), &mut digits);
    let bits = redisPopcount(&s[start as usize..=end as usize]);
    addReplyLongLong(server, c, bits);
}

/// BITPOS key bit [start [end]]
pub fn bitposCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(bit) = getLongFromObjectOrReply(server, c, &argv[2], None) else { return };
    if bit != 0 && bit != 1 {
        addReplyError(server, c, b"The bit argument must be 1 or 0.");
        return;
    }
    let bit = bit == 1;

    // A key that is not there is an endless row of clear bits.
    let db = server[c].db;
    let Some(o) = lookupKeyRead(server, db, &argv[1]) else {
        addReplyLongLong(server, c, if bit { -1 } else { 0 });
        return;
    };
    if checkType(server, c, o, OBJ_STRING) {
        return;
    }
    let strlen = stringObjectLen(server.db[db].get(o)) as i64;

    let mut end_given = false;
    let (start, end) = match argv.len() {
        3 => (0, strlen - 1),
        4 | 5 => {
            let Ok(start) = getLongFromObjectOrReply(server, c, &argv[3], None) else { return };
            let mut end = strlen - 1;
            if argv.len() == 5 {
                let Ok(given) = getLongFromObjectOrReply(server, c, &argv[4], None) else { return };
                (end, end_given) = (given, true);
            }
            clamp_range(start, end, strlen)
        }
        _ => {
            addReplyErrorObject(server, c, shared::syntaxerr);
            return;
        }
    };

    // An empty range contains neither a clear bit nor a set one.
    if start > end {
        addReplyLongLong(server, c, -1);
        return;
    }
    let mut digits = None;
    let s = getObjectReadOnlyString(server.db[db].get(o), &mut digits);
    let s = &s[start as usize..=end as usize];
    let pos = redisBitpos(s, bit);
    // With a given end, the clear bits behind it are not in the range.
    let beyond = end_given && !bit && pos == s.len() as i64 * 8;
    let pos = if pos == -1 || beyond { -1 } else { pos + start * 8 };
    addReplyLongLong(server, c, pos);
}

/// The operations of BITFIELD.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BitfieldOpcode {
    BITFIELDOP_GET,
    BITFIELDOP_SET,
    BITFIELDOP_INCRBY,
}
use BitfieldOpcode::*;

const BITFIELD_FLAG_NONE: i32 = 0;
const BITFIELD_FLAG_READONLY: i32 = 1 << 0;

/// One operation of a BITFIELD.
struct bitfieldOp {
    /// First bit of the field.
    offset: u64,
    /// The number to add or to set.
    i64: i64,
    opcode: BitfieldOpcode,
    owtype: Overflow,
    /// Width of the field in bits.
    bits: u32,
    /// True if the field is signed.
    sign: bool,
}

impl bitfieldOp {
    /// Does a SET or INCRBY on the string `p`. Returns the reply, or `None` if the result does not
    /// fit and nothing was written.
    fn write(&self, p: &mut [u8]) -> Option<i64> {
        let &bitfieldOp { offset, i64: arg, opcode, owtype, bits, sign } = self;
        if sign {
            let oldval = getSignedBitfield(p, offset, bits);
            let (value, incr) = if opcode == BITFIELDOP_INCRBY { (oldval, arg) } else { (arg, 0) };
            let newval = match checkSignedBitfieldOverflow(value, incr, bits, owtype) {
                None => value.wrapping_add(incr),
                Some(wrapped) => wrapped?,
            };
            setSignedBitfield(p, offset, bits, newval);
            Some(if opcode == BITFIELDOP_INCRBY { newval } else { oldval })
        } else {
            let oldval = getUnsignedBitfield(p, offset, bits);
            let (value, incr) =
                if opcode == BITFIELDOP_INCRBY { (oldval, arg) } else { (arg as u64, 0) };
            let newval = match checkUnsignedBitfieldOverflow(value, incr, bits, owtype) {
                None => value.wrapping_add(incr as u64),
                Some(wrapped) => wrapped?,
            };
            setUnsignedBitfield(p, offset, bits, newval);
            Some(if opcode == BITFIELDOP_INCRBY { newval } else { oldval } as i64)
        }
    }

    /// Does a GET on the string `p`, and returns the reply.
    fn read(&self, p: &[u8]) -> i64 {
        if self.sign {
            getSignedBitfield(p, self.offset, self.bits)
        } else {
            getUnsignedBitfield(p, self.offset, self.bits) as i64
        }
    }
}

/// Returns the operations a BITFIELD asks for. On an error the reply was sent.
fn parse_bitfield_ops(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
) -> Result<Vec<bitfieldOp>, ()> {
    let mut ops = Vec::new();
    let mut owtype = BFOVERFLOW_WRAP;
    let mut j = 2;
    while j < argv.len() {
        let remargs = argv.len() - j - 1;
        let is = |name: &[u8]| eq_ignore_case(&argv[j], name);
        let opcode = match () {
            () if is(b"get") && remargs >= 2 => BITFIELDOP_GET,
            () if is(b"set") && remargs >= 3 => BITFIELDOP_SET,
            () if is(b"incrby") && remargs >= 3 => BITFIELDOP_INCRBY,
            () if is(b"overflow") && remargs >= 1 => {
                let is = |name: &[u8]| eq_ignore_case(&argv[j + 1], name);
                owtype = match () {
                    () if is(b"wrap") => BFOVERFLOW_WRAP,
                    () if is(b"sat") => BFOVERFLOW_SAT,
                    () if is(b"fail") => BFOVERFLOW_FAIL,
                    () => {
                        addReplyError(server, c, b"Invalid OVERFLOW type specified");
                        return Err(());
                    }
                };
                j += 2;
                continue;
            }
            () => {
                addReplyErrorObject(server, c, shared::syntaxerr);
                return Err(());
            }
        };

        let (sign, bits) = getBitfieldTypeFromArgument(server, c, &argv[j + 1])?;
        let offset = getBitOffsetFromArgument(server, c, &argv[j + 2], true, bits)?;
        let mut i64 = 0;
        if opcode != BITFIELDOP_GET {
            i64 = getLongLongFromObjectOrReply(server, c, &argv[j + 3], None)?;
            j += 1;
        }
        ops.push(bitfieldOp { offset, i64, opcode, owtype, bits, sign });
        j += 3;
    }
    Ok(ops)
}

/// Implements BITFIELD, and with `BITFIELD_FLAG_READONLY` BITFIELD_RO, which has GET alone. All
/// arguments are checked before anything is done.
fn bitfieldGeneric(server: &mut Server, c: ClientId, argv: &Args, flags: i32) {
    let Ok(ops) = parse_bitfield_ops(server, c, argv) else { return };
    let (db, key) = (server[c].db, argv.get(1));
    let writes = || ops.iter().filter(|op| op.opcode != BITFIELDOP_GET);
    let highest_write_offset = writes().map(|op| op.offset + u64::from(op.bits) - 1).max();

    let o = match highest_write_offset {
        // To read it need not be there, but what is there has to be a string.
        None => {
            let o = lookupKeyRead(server, db, key);
            if let Some(o) = o
                && checkType(server, c, o, OBJ_STRING)
            {
                return;
            }
            o
        }
        Some(_) if flags & BITFIELD_FLAG_READONLY != 0 => {
            addReplyError(server, c, b"BITFIELD_RO only supports the GET subcommand");
            return;
        }
        // To write there has to be room up to the last bit that any operation reaches.
        Some(highest) => match lookupStringForBitCommand(server, c, key, highest) {
            Some(o) => Some(o),
            None => return,
        },
    };

    addReplyArrayLen(server, c, ops.len());
    for op in &ops {
        let reply = match (op.opcode, o) {
            (BITFIELDOP_GET, None) => Some(0),
            (BITFIELDOP_GET, Some(o)) => {
                let mut digits = None;
                Some(op.read(getObjectReadOnlyString(server.db[db].get(o), &mut digits)))
            }
            (_, o) => op.write(raw_string_mut(&mut server.db[db].dict, o.expect("it was made"))),
        };
        match reply {
            Some(n) => addReplyLongLong(server, c, n),
            None => addReplyNull(server, c),
        }
    }

    // An operation that failed counts too, as in the C.
    let changes = writes().count();
    if changes > 0 {
        signalModifiedKey(server, Some(c), db, key);
        notifyKeyspaceEvent(server, NOTIFY_STRING, "setbit", key, db);
        server.dirty += changes as i64;
    }
}

/// BITFIELD key [GET type offset | SET type offset value | INCRBY type offset increment | OVERFLOW
/// WRAP|SAT|FAIL] ...
pub fn bitfieldCommand(server: &mut Server, c: ClientId, argv: &Args) {
    bitfieldGeneric(server, c, argv, BITFIELD_FLAG_NONE);
}

/// BITFIELD_RO key [GET type offset] ...
pub fn bitfieldroCommand(server: &mut Server, c: ClientId, argv: &Args) {
    bitfieldGeneric(server, c, argv, BITFIELD_FLAG_READONLY);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    impl Rng {
        /// Up to `max` bytes: noise, or long runs of one value with a little noise.
        fn bitmap(&mut self, max: usize) -> Vec<u8> {
            let len = self.below(max + 1);
            let fill = [0, 0xff, 1][self.below(3)];
            let noisy = fill == 1;
            let mut v: Vec<u8> =
                (0..len).map(|_| if noisy { self.next() as u8 } else { fill }).collect();
            if !noisy && len > 0 {
                for _ in 0..self.below(3) {
                    let at = self.below(len);
                    v[at] ^= 1 << self.below(8);
                }
            }
            v
        }
    }

    fn bit(s: &[u8], i: usize) -> bool {
        s.get(i / 8).is_some_and(|b| b >> (7 - i % 8) & 1 == 1)
    }

    #[test]
    fn counts_and_positions_are_those_of_single_bits() {
        let mut r = Rng::seeded(0x5eed_0001);
        for step in 0..3000 {
            let s = r.bitmap(300);
            let from = r.below(s.len() + 1).min(9);
            let s = &s[from..];
            let bits = || 0..s.len() * 8;
            assert_eq!(
                redisPopcount(s),
                bits().filter(|i| bit(s, *i)).count() as i64,
                "step {step}"
            );
            let first = bits().find(|i| bit(s, *i)).map_or(-1, |i| i as i64);
            assert_eq!(redisBitpos(s, true), first, "step {step}");
            let first = bits().find(|i| !bit(s, *i)).unwrap_or(s.len() * 8);
            assert_eq!(redisBitpos(s, false), first as i64, "step {step}");
        }
        assert_eq!((redisBitpos(b"", false), redisBitpos(b"", true)), (0, -1));
    }

    #[test]
    fn fields_are_those_of_single_bits() {
        let mut r = Rng::seeded(0x5eed_0002);
        for step in 0..20000 {
            let mut s = vec![0; 24];
            s.iter_mut().for_each(|b| *b = r.next() as u8);
            let bits = 1 + r.below(64);
            let offset = r.below(24 * 8 - bits + 1);
            let expect = |s: &[u8], offset| {
                (0..bits).fold(0u64, |v, i| v << 1 | u64::from(bit(s, offset + i)))
            };
            assert_eq!(
                getUnsignedBitfield(&s, offset as u64, bits as u32),
                expect(&s, offset),
                "step {step}"
            );
            let value = r.next();
            let before = s.clone();
            setUnsignedBitfield(&mut s, offset as u64, bits as u32, value);
            for i in 0..24 * 8 {
                let within = (offset..offset + bits).contains(&i);
                let want = if within {
                    value >> (bits - 1 - (i - offset)) & 1 == 1
                } else {
                    bit(&before, i)
                };
                assert_eq!(bit(&s, i), want, "step {step} bit {i}");
            }
            let signed = getSignedBitfield(&s, offset as u64, bits as u32);
            let want =
                i128::from(expect(&s, offset)) - if bit(&s, offset) { 1i128 << bits } else { 0 };
            assert_eq!(i128::from(signed), want, "step {step}");
            // Beyond the end there are zeros.
            let offset = r.below(250);
            assert_eq!(
                getUnsignedBitfield(&s, offset as u64, bits as u32),
                expect(&s, offset),
                "step {step}"
            );
        }
        assert_eq!(getUnsignedBitfield(b"\xff", u64::MAX, 64), 0);
    }

    /// Against the arithmetic of numbers that never overflow.
    #[test]
    fn overflows_are_those_of_wide_numbers() {
        let mut r = Rng::seeded(0x5eed_0003);
        let edges = [
            0,
            1,
            -1,
            i64::MAX,
            i64::MIN,
            i64::MAX - 1,
            i64::MIN + 1,
            127,
            128,
            -128,
            -129,
            255,
            256,
        ];
        for step in 0..200_000 {
            let bits = 1 + r.below(64) as u32;
            let number = |r: &mut Rng| match r.below(3) {
                0 => edges[r.below(edges.len())],
                1 => r.next() as i64,
                _ => (r.next() as i64) >> r.below(64),
            };
            let incr = number(&mut r);
            let owtype = [BFOVERFLOW_WRAP, BFOVERFLOW_SAT, BFOVERFLOW_FAIL][r.below(3)];
            let expect = |sum: i128, min: i128, max: i128| {
                let wrapped = min + (sum - min).rem_euclid(max - min + 1);
                (sum < min || sum > max).then_some(match owtype {
                    BFOVERFLOW_WRAP => Some(wrapped),
                    BFOVERFLOW_SAT => Some(sum.clamp(min, max)),
                    BFOVERFLOW_FAIL => None,
                })
            };
            // INCRBY starts from a value that fits; SET checks any value, and adds nothing.
            let unused = 64 - bits;
            let (value, incr) = if r.below(2) == 0 {
                ((r.next() as i64) << unused >> unused, incr)
            } else {
                (incr, 0)
            };
            let got = checkSignedBitfieldOverflow(value, incr, bits, owtype);
            let max = (1i128 << (bits - 1)) - 1;
            let mut want = expect(value as i128 + incr as i128, -max - 1, max);
            // What the C takes for too large.
            if owtype == BFOVERFLOW_SAT && bits < 64 && max - value as i128 > i64::MAX as i128 {
                want = Some(Some(max));
            }
            assert_eq!(
                got.map(|v| v.map(i128::from)),
                want,
                "step {step}: i{bits} {value} {incr} {owtype:?}"
            );

            if bits < 64 {
                let value = if incr == 0 { value as u64 } else { value as u64 & ((1 << bits) - 1) };
                let got = checkUnsignedBitfieldOverflow(value, incr, bits, owtype);
                let want = expect(value as i128 + incr as i128, 0, (1 << bits) - 1);
                assert_eq!(
                    got.map(|v| v.map(i128::from)),
                    want,
                    "step {step}: u{bits} {value} {incr} {owtype:?}"
                );
            }
        }
    }

    #[test]
    fn operations_on_strings_are_those_of_single_bytes() {
        let mut r = Rng::seeded(0x5eed_0004);
        for step in 0..600 {
            let op = [BITOP_AND, BITOP_OR, BITOP_XOR, BITOP_NOT][r.below(4)];
            let n = if op == BITOP_NOT { 1 } else { 1 + r.below(20) };
            let max = [3, 200, 30000][r.below(3)];
            let strings: Vec<Vec<u8>> = (0..n).map(|_| r.bitmap(max)).collect();
            let src: Vec<&[u8]> = strings.iter().map(|s| &s[..]).collect();
            let maxlen = src.iter().map(|s| s.len()).max().unwrap();
            let want: Vec<u8> = (0..maxlen)
                .map(|i| {
                    let bytes = src.iter().map(|s| s.get(i).copied().unwrap_or(0));
                    match op {
                        BITOP_AND => bytes.reduce(|a, b| a & b).unwrap(),
                        BITOP_OR => bytes.reduce(|a, b| a | b).unwrap(),
                        BITOP_XOR => bytes.reduce(|a, b| a ^ b).unwrap(),
                        BITOP_NOT => !src[0][i],
                    }
                })
                .collect();
            assert!(bitop(op, &src) == want, "step {step}: {op:?} of {n}");
        }
    }

    #[test]
    fn ranges_count_from_either_end() {
        assert_eq!(clamp_range(0, -1, 10), (0, 9));
        assert_eq!(clamp_range(-100, 100, 10), (0, 9));
        assert_eq!(clamp_range(i64::MIN, i64::MIN, 10), (0, 0));
        assert_eq!(clamp_range(i64::MAX, i64::MAX, 10), (i64::MAX, 9));
        assert_eq!(clamp_range(0, -1, 0), (0, -1));
    }
}
