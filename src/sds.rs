//! `sds.c`: the string functions that still make sense on `Vec<u8>` and `&[u8]`.
//!
//! Read first: [`sdssplitargs`] and [`sdscatrepr`], the quoting of config files and of everything
//! that is shown quoted. Absent: what `Vec` does itself (creation, growth, concatenation).
//! `sdscatprintf` is the macro [`sdscatprintf!`](crate::sdscatprintf), `sdsfromlonglong` is
//! [`ll2string`](crate::util::ll2string), `sdscmp` is `Ord`.

use memchr::memmem;

use crate::util::{c_str, isprint, isspace};

/// Lengthens `s` to `len` bytes with zeros; does nothing if it is that long.
pub fn sdsgrowzero(s: &mut Vec<u8>, len: usize) {
    if len > s.len() {
        s.resize(len, 0);
    }
}

/// Returns `s` without the bytes of `cset` at both ends. NUL counts as one of them, as in the C.
pub fn sdstrim<'a>(s: &'a [u8], cset: &[u8]) -> &'a [u8] {
    let trimmed = |c: &u8| *c == 0 || cset.contains(c);
    let Some(start) = s.iter().position(|c| !trimmed(c)) else { return &[] };
    let end = s.iter().rposition(|c| !trimmed(c)).map_or(start, |last| last + 1);
    &s[start..end]
}

/// Returns the `len` bytes of `s` from `start` on, as far as there are.
pub fn sdssubstr(s: &[u8], start: usize, len: usize) -> &[u8] {
    match s.get(start..) {
        Some(rest) => &rest[..len.min(rest.len())],
        None => &[],
    }
}

/// Returns the bytes from `start` to `end`, both included, where -1 is the last byte, -2 the one
/// before it.
///
/// As in the C of this version, a start before the first byte gives nothing.
pub fn sdsrange(s: &[u8], start: i64, end: i64) -> &[u8] {
    let from_end = |i: i64| if i < 0 { i.saturating_add(s.len() as i64) } else { i };
    let (start, end) = (from_end(start), from_end(end));
    if start < 0 || start > end {
        return &[];
    }
    sdssubstr(s, start as usize, (end - start) as usize + 1)
}

/// Lowers the ASCII letters of `s`.
pub fn sdstolower(s: &mut [u8]) {
    s.make_ascii_lowercase();
}

/// Raises the ASCII letters of `s`.
pub fn sdstoupper(s: &mut [u8]) {
    s.make_ascii_uppercase();
}

/// Returns the parts of `s` between the occurrences of `sep`. Nothing for an empty `s` or an empty
/// `sep`; otherwise one part more than there are separators.
pub fn sdssplitlen<'a>(s: &'a [u8], sep: &[u8]) -> Vec<&'a [u8]> {
    if s.is_empty() || sep.is_empty() {
        return Vec::new();
    }
    let mut tokens = Vec::new();
    let mut start = 0;
    for at in memmem::find_iter(s, sep) {
        tokens.push(&s[start..at]);
        start = at + sep.len();
    }
    tokens.push(&s[start..]);
    tokens
}

/// Appends `p` in quotes, with escapes for what is not printable: `\n`, `\r`, `\t`, `\a`, `\b`,
/// `\\`, `\"`, `\x0f`.
pub fn sdscatrepr(s: &mut Vec<u8>, p: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    s.reserve(p.len() + 2);
    s.push(b'"');
    for &c in p {
        match c {
            b'\\' | b'"' => s.extend_from_slice(&[b'\\', c]),
            b'\n' => s.extend_from_slice(b"\\n"),
            b'\r' => s.extend_from_slice(b"\\r"),
            b'\t' => s.extend_from_slice(b"\\t"),
            0x07 => s.extend_from_slice(b"\\a"),
            0x08 => s.extend_from_slice(b"\\b"),
            c if isprint(c) => s.push(c),
            c => s.extend_from_slice(&[
                b'\\',
                b'x',
                DIGITS[(c >> 4) as usize],
                DIGITS[(c & 15) as usize],
            ]),
        }
    }
    s.push(b'"');
}

/// Tells whether `c` is a hexadecimal digit.
pub fn is_hex_digit(c: u8) -> bool {
    c.is_ascii_hexdigit()
}

/// Returns the value of a hexadecimal digit; 0 for anything else.
pub fn hex_digit_to_int(c: u8) -> u8 {
    (c as char).to_digit(16).unwrap_or(0) as u8
}

/// Splits a line into arguments, as a shell would: blanks separate, `"..."` knows the escapes of
/// [`sdscatrepr`] (and a backslash before any other byte stands for that byte), `'...'` knows `\'`
/// alone.
///
/// The line ends at a NUL. None if a quote is not closed, or is closed by something that no blank
/// follows.
pub fn sdssplitargs(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let line = c_str(line);
    // Beyond the end the C reads its NUL.
    let at = |i: usize| line.get(i).copied().unwrap_or(0);
    let closed = |i: usize| at(i) == 0 || isspace(at(i));

    let mut vector = Vec::new();
    let mut p = 0;
    loop {
        while isspace(at(p)) {
            p += 1;
        }
        if at(p) == 0 {
            return Some(vector);
        }
        let mut current = Vec::new();
        let (mut inq, mut insq, mut done) = (false, false, false);
        while !done {
            let c = at(p);
            if inq {
                if c == b'\\'
                    && at(p + 1) == b'x'
                    && is_hex_digit(at(p + 2))
                    && is_hex_digit(at(p + 3))
                {
                    current.push(hex_digit_to_int(at(p + 2)) * 16 + hex_digit_to_int(at(p + 3)));
                    p += 3;
                } else if c == b'\\' && at(p + 1) != 0 {
                    p += 1;
                    current.push(match at(p) {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'b' => 0x08,
                        b'a' => 0x07,
                        other => other,
                    });
                } else if c == b'"' {
                    if !closed(p + 1) {
                        return None;
                    }
                    done = true;
                } else if c == 0 {
                    return None;
                } else {
                    current.push(c);
                }
            } else if insq {
                if c == b'\\' && at(p + 1) == b'\'' {
                    p += 1;
                    current.push(b'\'');
                } else if c == b'\'' {
                    if !closed(p + 1) {
                        return None;
                    }
                    done = true;
                } else if c == 0 {
                    return None;
                } else {
                    current.push(c);
                }
            } else {
                match c {
                    b' ' | b'\n' | b'\r' | b'\t' | 0 => done = true,
                    b'"' => inq = true,
                    b'\'' => insq = true,
                    c => current.push(c),
                }
            }
            if at(p) != 0 {
                p += 1;
            }
        }
        vector.push(current);
    }
}

/// Replaces, in place, each byte that stands in `from` by the byte at the same place in `to`.
pub fn sdsmapchars(s: &mut [u8], from: &[u8], to: &[u8]) {
    crate::util::memmapchars(s, from, to);
}

/// Returns the parts with `sep` between them.
pub fn sdsjoin<T: AsRef<[u8]>>(argv: &[T], sep: &[u8]) -> Vec<u8> {
    let mut join = Vec::new();
    for (j, arg) in argv.iter().enumerate() {
        if j > 0 {
            join.extend_from_slice(sep);
        }
        join.extend_from_slice(arg.as_ref());
    }
    join
}

/// Expands `{variable}` in `template` by what `value_of` gives for it; `{{` is a brace. The
/// template ends at a NUL.
///
/// None if a brace is not closed, or a variable has no value.
pub fn sdstemplate(
    template: &[u8],
    mut value_of: impl FnMut(&[u8]) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let mut p = c_str(template);
    let mut res = Vec::new();
    while let Some(open) = memchr::memchr(b'{', p) {
        res.extend_from_slice(&p[..open]);
        let name = &p[open + 1..];
        if name.first() == Some(&b'{') {
            res.push(b'{');
            p = &name[1..];
            continue;
        }
        let close = memchr::memchr(b'}', name)?;
        res.extend_from_slice(c_str(&value_of(&name[..close])?));
        p = &name[close + 1..];
    }
    res.extend_from_slice(p);
    Some(res)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repr(p: &[u8]) -> Vec<u8> {
        let mut s = Vec::new();
        sdscatrepr(&mut s, p);
        s
    }

    fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
        sdssplitargs(line)
    }

    fn words(words: &[&[u8]]) -> Option<Vec<Vec<u8>>> {
        Some(words.iter().map(|w| w.to_vec()).collect())
    }

    #[test]
    fn trimming_and_ranges() {
        assert_eq!(sdstrim(b"xxciaoyyy", b"xy"), b"ciao");
        assert_eq!(sdstrim(b" x ", b" x"), b"");
        assert_eq!(sdstrim(b"", b" "), b"");
        assert_eq!(sdstrim(b"\0 a\0", b" "), b"a");
        let s = b"ciao";
        assert_eq!(sdsrange(s, 1, 1), b"i");
        assert_eq!(sdsrange(s, 1, -1), b"iao");
        assert_eq!(sdsrange(s, -2, -1), b"ao");
        assert_eq!(sdsrange(s, 2, 1), b"");
        assert_eq!(sdsrange(s, 1, 100), b"iao");
        assert_eq!(sdsrange(s, 100, 100), b"");
        assert_eq!(sdsrange(s, -5, 2), b"");
        assert_eq!(sdsrange(s, 0, -10), b"");
        assert_eq!(sdsrange(s, i64::MIN, i64::MAX), b"");
        assert_eq!(sdsrange(b"", 0, -1), b"");
        assert_eq!(sdssubstr(s, 2, 1), b"a");
        assert_eq!(sdssubstr(s, 4, usize::MAX), b"");
        let mut grown = s.to_vec();
        sdsgrowzero(&mut grown, 6);
        sdsgrowzero(&mut grown, 2);
        assert_eq!(grown, b"ciao\0\0");
    }

    #[test]
    fn splitting() {
        assert_eq!(sdssplitlen(b"foo_-_bar", b"_-_"), [b"foo", b"bar"]);
        assert_eq!(sdssplitlen(b",a,,b,", b","), [b"".as_slice(), b"a", b"", b"b", b""]);
        assert_eq!(sdssplitlen(b"aaa", b"aa"), [b"".as_slice(), b"a"]);
        assert_eq!(sdssplitlen(b"a", b"bc"), [b"a"]);
        assert!(sdssplitlen(b"", b",").is_empty() && sdssplitlen(b"a", b"").is_empty());
        assert_eq!(sdsjoin(&[b"a".as_slice(), b"", b"c"], b", "), b"a, , c");
    }

    #[test]
    fn quoting() {
        assert_eq!(repr(b"\x07\n\0foo\r\"\\\xff~\x7f"), br#""\a\n\x00foo\r\"\\\xff~\x7f""#);
        assert_eq!(repr(b"\t\x08"), br#""\t\b""#);
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(split(&repr(&all)), Some(vec![all]));
    }

    #[test]
    fn arguments() {
        assert_eq!(split(b""), words(&[]));
        assert_eq!(split(b" \t\x0b "), words(&[]));
        assert_eq!(split(b"foo  bar\r\n"), words(&[b"foo", b"bar"]));
        assert_eq!(split(br#"a "b c" 'd "e' """#), words(&[b"a", b"b c", b"d \"e", b""]));
        assert_eq!(split(br#""\x41\xfg\n\q\\" '\n\''"#), words(&[b"Axfg\nq\\", b"\\n'"]));
        assert_eq!(split(br#"foo"bar" x"#), words(&[b"foobar", b"x"]));
        assert_eq!(split(b"a\x0bb c"), words(&[b"a\x0bb", b"c"]));
        assert_eq!(split(b"a \0 b"), words(&[b"a"]));
        for bad in [r#""foo"bar"#, r#""foo"#, "'foo'bar", "'foo", r#""foo\"#, r#"x "\"#] {
            assert_eq!(split(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn templates() {
        let value_of = |name: &[u8]| match name {
            b"a" => Some(b"1".to_vec()),
            b"bc" => Some(b"".to_vec()),
            _ => None,
        };
        assert_eq!(sdstemplate(b"x{a}y{bc}{{a}z", value_of), Some(b"x1y{a}z".to_vec()));
        assert_eq!(sdstemplate(b"plain", value_of), Some(b"plain".to_vec()));
        assert_eq!(sdstemplate(b"x{a", value_of), None);
        assert_eq!(sdstemplate(b"x{", value_of), None);
        assert_eq!(sdstemplate(b"{d}", value_of), None);
    }
}
