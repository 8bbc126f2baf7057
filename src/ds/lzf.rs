//! `lzf_c.c` and `lzf_d.c`: the compression of strings in RDB files and of quicklist nodes.
//!
//! A compressed string is a row of three things:
//!
//! ```text
//! 000LLLLL <L+1 bytes>          a literal run of 1 to 32 bytes
//! LLLooooo oooooooo             a copy of L+2 (3 to 8) bytes from o+1 back
//! 111ooooo LLLLLLLL oooooooo    a copy of L+9 bytes from o+1 back
//! ```
//!
//! The compressor takes the choices of the C as it is built for redis (VERY_FAST, a hash of 16
//! bits), so that its output is the same to the byte, and so are DUMP payloads.
//!
//! Differs: the C leaves its hash table uninitialized, so that in theory what lies on the stack can
//! decide what it finds. Here an entry of an earlier call is as good as none, which is what the C
//! sees on a clean stack. The table lives in an [`LzfState`], since clearing 256 KB for each string
//! would cost more than compressing it.

const HLOG: u32 = 16;
const HSIZE: usize = 1 << HLOG;
const MAX_LIT: usize = 1 << 5;
const MAX_OFF: usize = 1 << 13;
const MAX_REF: usize = (1 << 8) + (1 << 3);

/// The hash table of the compressor. To be kept and used again; 256 KB.
#[derive(Clone, Debug)]
pub struct LzfState {
    /// Where three bytes were seen last: `base` plus their position. What is not above `base` is of
    /// an earlier call, or position 0, which is never a match in the C either.
    htab: Box<[u32; HSIZE]>,
    base: u32,
}

impl Default for LzfState {
    fn default() -> Self {
        LzfState::new()
    }
}

impl LzfState {
    /// Returns an empty table.
    pub fn new() -> LzfState {
        // By way of a vector, which needs no copy on the stack.
        let htab = vec![0; HSIZE].into_boxed_slice();
        LzfState {
            htab: htab.try_into().unwrap_or_else(|_| unreachable!("HSIZE entries")),
            base: 0,
        }
    }
}

/// Returns the hash of the three bytes that `h` ends with.
fn idx(h: u32) -> usize {
    ((h >> (3 * 8 - HLOG)).wrapping_sub(h.wrapping_mul(5)) & (HSIZE as u32 - 1)) as usize
}

/// Returns the three bytes at `i`, the first one highest.
fn three(data: &[u8], i: usize) -> u32 {
    let b = &data[i..i + 3];
    u32::from(b[0]) << 16 | u32::from(b[1]) << 8 | u32::from(b[2])
}

/// Returns how many bytes from `ip` on equal those from `r` on, three being known to; at least 3,
/// at most `limit`.
fn match_len(data: &[u8], r: usize, ip: usize, limit: usize) -> usize {
    let a = &data[r..r + limit];
    let b = &data[ip..ip + limit];
    let mut len = 3;
    while let (Some(x), Some(y)) = (a[len..].first_chunk::<8>(), b[len..].first_chunk::<8>()) {
        let differ = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if differ != 0 {
            return len + differ.trailing_zeros() as usize / 8;
        }
        len += 8;
    }
    len + a[len..].iter().zip(&b[len..]).take_while(|(x, y)| x == y).count()
}

/// Compresses `in_data` into `out_data` and returns the compressed length; 0 if it does not fit
/// (callers give less room than the input takes, and so learn that compression does not pay), or if
/// either is empty.
///
/// Input of 4 GB and more is not compressed.
pub fn lzf_compress(state: &mut LzfState, in_data: &[u8], out_data: &mut [u8]) -> usize {
    let in_end = in_data.len();
    let out_end = out_data.len();
    let Ok(in_len) = u32::try_from(in_end) else { return 0 };
    if in_len == 0 || out_end == 0 {
        return 0;
    }
    if state.base.checked_add(in_len).is_none() {
        state.htab.fill(0);
        state.base = 0;
    }
    let base = state.base;
    state.base += in_len;
    let htab = &mut *state.htab;

    let mut ip = 0;
    // Position 0 is kept for the control byte of the first literal run.
    let mut op = 1;
    let mut lit = 0;

    while ip + 2 < in_end {
        let here = three(in_data, ip);
        let hslot = &mut htab[idx(here)];
        let entry = std::mem::replace(hslot, base + ip as u32);
        let found = if entry > base {
            let r = (entry - base) as usize;
            (ip - r - 1 < MAX_OFF && three(in_data, r) == here).then_some(r)
        } else {
            None
        };

        let Some(r) = found else {
            // One more literal.
            if op >= out_end {
                return 0;
            }
            out_data[op] = in_data[ip];
            lit += 1;
            op += 1;
            ip += 1;
            if lit == MAX_LIT {
                out_data[op - lit - 1] = (lit - 1) as u8;
                lit = 0;
                op += 1;
            }
            continue;
        };

        let off = ip - r - 1;
        let maxlen = (in_end - ip - 2).min(MAX_REF);
        // A quick test, and the exact one.
        if op + 3 + 1 >= out_end && op - usize::from(lit == 0) + 3 + 1 >= out_end {
            return 0;
        }

        // End the run; one of no length gives its control byte back.
        if lit == 0 {
            op -= 1;
        } else {
            out_data[op - lit - 1] = (lit - 1) as u8;
        }

        // The C compares the bytes 3 to 18 at one go if 16 or more may follow, and so can end up
        // beyond its own limit.
        let limit = if maxlen > 16 { maxlen.max(19) } else { maxlen.max(3) };
        let octets = match_len(in_data, r, ip, limit);
        let len = octets - 2;
        if len < 7 {
            out_data[op] = ((off >> 8) + (len << 5)) as u8;
            op += 1;
        } else {
            out_data[op] = ((off >> 8) + (7 << 5)) as u8;
            out_data[op + 1] = (len - 7) as u8;
            op += 2;
        }
        out_data[op] = off as u8;
        // The low byte of the offset, and room for the next control byte.
        op += 2;
        lit = 0;

        ip += octets;
        if ip + 2 >= in_end {
            break;
        }
        // Of the bytes that were copied only the last two are remembered as places to copy from.
        for at in [ip - 2, ip - 1] {
            htab[idx(three(in_data, at))] = base + at as u32;
        }
    }

    // At most two bytes are left, and perhaps a control byte to come.
    if op + 3 > out_end {
        return 0;
    }
    while ip < in_end {
        out_data[op] = in_data[ip];
        lit += 1;
        op += 1;
        ip += 1;
        if lit == MAX_LIT {
            out_data[op - lit - 1] = (lit - 1) as u8;
            lit = 0;
            op += 1;
        }
    }
    if lit == 0 {
        op - 1
    } else {
        out_data[op - lit - 1] = (lit - 1) as u8;
        op
    }
}

/// Decompresses `in_data` into `out_data` and returns the length; 0 if the input is damaged or
/// needs more room.
///
/// Beyond the returned length `out_data` may have been written to.
pub fn lzf_decompress(in_data: &[u8], out_data: &mut [u8]) -> usize {
    let out_end = out_data.len();
    let mut ip = 0;
    let mut op = 0;

    while let Some(&ctrl) = in_data.get(ip) {
        ip += 1;
        let ctrl = ctrl as usize;
        if ctrl < 1 << 5 {
            let len = ctrl + 1;
            let Some(literal) = in_data.get(ip..ip + len) else { return 0 };
            if op + len > out_end {
                return 0;
            }
            // Where there is room, copying 32 bytes is cheaper than copying `len` of them.
            match (in_data[ip..].first_chunk::<MAX_LIT>(), out_data[op..].first_chunk_mut()) {
                (Some(from), Some(to)) => *to = *from,
                _ => out_data[op..op + len].copy_from_slice(literal),
            }
            ip += len;
            op += len;
            continue;
        }

        let mut len = ctrl >> 5;
        if len == 7 {
            let Some(&more) = in_data.get(ip) else { return 0 };
            len += more as usize;
            ip += 1;
        }
        let Some(&low) = in_data.get(ip) else { return 0 };
        ip += 1;
        len += 2;
        let distance = ((ctrl & 0x1f) << 8 | low as usize) + 1;
        if op + len > out_end || distance > op {
            return 0;
        }
        let r = op - distance;
        if distance >= 16 && len <= 16 && op + 16 <= out_end {
            out_data.copy_within(r..r + 16, op);
        } else {
            // Source and target may overlap: what is there repeats, and doubles with each copy.
            let mut copied = 0;
            while copied < len {
                let n = (distance + copied).min(len - copied);
                out_data.copy_within(r..r + n, op + copied);
                copied += n;
            }
        }
        op += len;
    }
    op
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compress(state: &mut LzfState, data: &[u8]) -> Vec<u8> {
        let mut out = vec![0; data.len() * 34 / 32 + 8];
        let n = lzf_compress(state, data, &mut out);
        out.truncate(n);
        out
    }

    /// Outputs of the C.
    #[test]
    fn same_bytes_as_the_c() {
        let mut state = LzfState::new();
        for (data, packed) in [
            (b"a".to_vec(), "0061"),
            (b"ab".to_vec(), "016162"),
            (b"abc".to_vec(), "02616263"),
            (b"a".repeat(10), "0161618000016161"),
            (b"a".repeat(40), "016161e01b00016161"),
            (b"abc".repeat(9), "0361626361e00c02016263"),
            (
                [b"x".repeat(19), b"y".to_vec(), b"x".repeat(19)].concat(),
                "017878e008000079e00811017878",
            ),
            (
                b"hello hello hello world world world".to_vec(),
                "0668656c6c6f2068e0020504776f726c64e00105016c64",
            ),
            (b"0123456789".repeat(100), "0a3031323334353637383930e0ff09e1ff0de2ff11e2ba11013839"),
        ] {
            assert_eq!(crate::util::hex(&compress(&mut state, &data)), packed.as_bytes());
        }
    }

    fn random_data(rnd: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
        let len = [rnd(40), rnd(300), rnd(20_000), 60_000 + rnd(20_000)][rnd(4)];
        let alphabet = [2, 4, 30, 256][rnd(4)];
        let mut data = Vec::with_capacity(len);
        while data.len() < len {
            if !data.is_empty() && rnd(3) == 0 {
                let from = rnd(data.len());
                for i in from..from + rnd(400) {
                    data.push(data[i]);
                }
            } else {
                data.push(rnd(alphabet) as u8);
            }
        }
        data.truncate(len);
        data
    }

    fn lcg(seed: u64) -> impl FnMut(usize) -> usize {
        println!("seed {seed:#x}");
        let mut x = seed;
        move |n: usize| {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (x >> 33) as usize % n
        }
    }

    #[test]
    fn what_was_compressed_comes_back() {
        let mut rnd = lcg(0x5eed_0005);
        let mut state = LzfState::new();
        for _ in 0..300 {
            let data = random_data(&mut rnd);
            let packed = compress(&mut state, &data);
            // A used table and a fresh one give the same.
            assert_eq!(packed, compress(&mut LzfState::new(), &data));
            if data.is_empty() {
                assert!(packed.is_empty());
                continue;
            }
            let mut out = vec![0; data.len()];
            assert_eq!(lzf_decompress(&packed, &mut out), data.len());
            assert!(out == data);

            // One byte of room less, on either side, is an error and no panic.
            assert_eq!(lzf_decompress(&packed, &mut out[1..]), 0);
            let room = rnd(packed.len());
            let mut small = vec![0; room];
            assert_eq!(lzf_compress(&mut state, &data, &mut small), 0);
        }
    }

    #[test]
    fn table_survives_the_wrap_of_its_base() {
        let data = b"abcabcabcabcabcabcabcabc";
        let mut state = LzfState::new();
        let expected = compress(&mut state, data);
        state.base = u32::MAX - 10;
        assert_eq!(compress(&mut state, data), expected);
        assert_eq!(state.base, data.len() as u32);
    }

    #[test]
    fn damaged_input_is_refused() {
        let mut out = [0; 64];
        for bad in [
            &[0][..],                 // a run without its byte
            &[31, 1, 2],              // a run cut short
            &[0, b'a', 0x20],         // a copy without an offset
            &[0, b'a', 0xe0, 1],      // a long copy without an offset
            &[0, b'a', 0xe0],         // and without its length
            &[0x20, 0],               // from before the beginning
            &[0, b'a', 0x20, 1],      // likewise
            &[0, b'a', 0xe0, 255, 0], // too long for the room
        ] {
            assert_eq!(lzf_decompress(bad, &mut out), 0, "{bad:?}");
        }
        assert_eq!(lzf_decompress(&[0, b'a', 0xe0, 10, 0], &mut out), 20);
        assert_eq!(out[..20], [b'a'; 20]);

        let mut rnd = lcg(0x5eed_0006);
        for _ in 0..50_000 {
            let noise: Vec<u8> = (0..rnd(30)).map(|_| rnd(256) as u8).collect();
            assert!(lzf_decompress(&noise, &mut out) <= out.len());
        }
    }
}
