//! How the environment wants text to be sorted (`LC_COLLATE`), for SORT with ALPHA. From `server.c`
//! and `sort.c`.
#![allow(unsafe_code)] // the C library's locale

/// Takes the collation from the environment (`LC_ALL`, `LC_COLLATE`, `LANG`). Call it at start,
/// before any thread.
pub fn locale_init() {
    // SAFETY: the name is a C string; called at start, when no other thread asks for the locale.
    unsafe { libc::setlocale(libc::LC_COLLATE, c"".as_ptr()) };
}

/// Appends a key to `out`, such that two keys compare as bytes like `strcoll` compares their texts.
/// A text ends at its first NUL. Before [`locale_init`], and in the locale "C", that is the text
/// itself.
pub fn strxfrm(text: &[u8], out: &mut Vec<u8>) {
    let end = text.iter().position(|&b| b == 0).unwrap_or(text.len());
    let mut text = text[..end].to_vec();
    text.push(0);
    let start = out.len();
    out.reserve(text.len());
    loop {
        let room = out.capacity() - start;
        // SAFETY: `text` ends with NUL; at most `room` bytes are written behind the `start` bytes
        // in use, and the result overlaps nothing.
        let len = unsafe {
            libc::strxfrm(out.as_mut_ptr().add(start).cast(), text.as_ptr().cast(), room)
        };
        if len < room {
            // SAFETY: the call has written `len` bytes and a NUL, which fits.
            unsafe { out.set_len(start + len) };
            return;
        }
        out.reserve(len + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_compare_as_texts_do() {
        let key = |text: &[u8]| {
            let mut out = b"x".to_vec();
            strxfrm(text, &mut out);
            assert_eq!(out.remove(0), b'x');
            out
        };
        let texts: [&[u8]; 6] = [b"", b"A", b"B", b"a", b"ab", &[b'z'; 3000]];
        assert!(texts.windows(2).all(|w| key(w[0]) < key(w[1])));
        assert_eq!(key(b"a\0b"), key(b"a"));
    }
}
