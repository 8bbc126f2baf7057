//! Random bytes and identifiers (`util.c`).
//!
//! Differs: the C stretches one seed by HMAC-SHA256; here every byte is the kernel's. Both are used
//! where two servers must not draw the same: run ids, replication ids, hash seeds.
#![allow(unsafe_code)] // getrandom fills a buffer of ours.

/// Fills `buf` with random bytes.
pub fn getRandomBytes(buf: &mut [u8]) {
    let mut done = 0;
    while done < buf.len() {
        let rest = &mut buf[done..];
        // SAFETY: the kernel writes at most `len` bytes to the buffer.
        let n = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        // The call exists since Linux 3.17, and can only be interrupted.
        done += usize::try_from(n).unwrap_or(0);
    }
}

/// Fills `buf` with random digits of `0123456789abcdef`: 40 of them are a run id.
pub fn getRandomHexChars(buf: &mut [u8]) {
    getRandomBytes(buf);
    for b in buf {
        *b = b"0123456789abcdef"[usize::from(*b & 0x0f)];
    }
}

/// Returns a random number.
pub fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    getRandomBytes(&mut bytes);
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_hex_and_differ() {
        let mut ids = [[0u8; 40]; 64];
        for id in &mut ids {
            getRandomHexChars(id);
            assert!(id.iter().all(|b| b"0123456789abcdef".contains(b)));
        }
        for i in 1..ids.len() {
            assert!(!ids[..i].contains(&ids[i]));
        }
        assert_ne!(random_u64(), random_u64());
    }
}
