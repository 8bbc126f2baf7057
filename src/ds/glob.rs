//! `stringmatchlen` of `util.c`: glob-style patterns, as KEYS, SCAN, PSUBSCRIBE and ACL rules use
//! them.
//!
//! `*` is any run of bytes, `?` any byte, `[a-z]`, `[^a-z]` a set, `\` takes the next byte as it
//! is. Everything else stands for itself. The quirks of the C are kept: ranges compare bytes as
//! signed unless case is ignored, a set that is not closed ends with the pattern, and the empty
//! string matches the empty pattern alone (not even `*`).

/// The depth to which stars may nest; a pattern beyond that counts as abusive, and matches nothing.
const MAX_NESTING: usize = 1000;

/// Sets `skipLongerMatches` when what follows a star was found nowhere in the rest of the string:
/// stars before it need not try to take more, since then even less would be left.
fn stringmatchlen_impl(
    mut pattern: &[u8],
    mut string: &[u8],
    nocase: bool,
    skipLongerMatches: &mut bool,
    nesting: usize,
) -> bool {
    if nesting > MAX_NESTING {
        return false;
    }

    // Beyond its end the C reads the NUL of the pattern.
    let at = |pattern: &[u8], i: usize| pattern.get(i).copied().unwrap_or(0);
    let same = |a: u8, b: u8| if nocase { a.eq_ignore_ascii_case(&b) } else { a == b };

    // `tolower` of glibc makes a negative char positive, all but the one that is EOF.
    let fold = |c: i8| match c {
        _ if !nocase => i32::from(c),
        ..-1 => i32::from(c as u8),
        -1 => -1,
        _ => i32::from((c as u8).to_ascii_lowercase()),
    };

    while !pattern.is_empty() && !string.is_empty() {
        let c = string[0];
        match pattern[0] {
            b'*' => {
                while at(pattern, 1) == b'*' {
                    pattern = &pattern[1..];
                }
                if pattern.len() == 1 {
                    return true;
                }
                while !string.is_empty() {
                    if stringmatchlen_impl(
                        &pattern[1..],
                        string,
                        nocase,
                        skipLongerMatches,
                        nesting + 1,
                    ) {
                        return true;
                    }
                    if *skipLongerMatches {
                        return false;
                    }
                    string = &string[1..];
                }
                *skipLongerMatches = true;
                return false;
            }
            b'?' => {}
            b'[' => {
                pattern = &pattern[1..];
                let not = at(pattern, 0) == b'^';
                if not {
                    pattern = &pattern[1..];
                }
                let mut matched = false;
                loop {
                    if at(pattern, 0) == b'\\' && pattern.len() >= 2 {
                        pattern = &pattern[1..];
                        matched |= pattern[0] == c;
                    } else if at(pattern, 0) == b']' || pattern.is_empty() {
                        break;
                    } else if pattern.len() >= 3 && pattern[1] == b'-' {
                        // Ordered as signed chars, and before the case is folded.
                        let (a, b) = (pattern[0] as i8, pattern[2] as i8);
                        let (start, end) = (fold(a.min(b)), fold(a.max(b)));
                        pattern = &pattern[2..];
                        matched |= (start..=end).contains(&fold(c as i8));
                    } else {
                        matched |= same(pattern[0], c);
                    }
                    pattern = &pattern[1..];
                }
                if matched == not {
                    return false;
                }
            }
            first => {
                let mut first = first;
                if first == b'\\' && pattern.len() >= 2 {
                    pattern = &pattern[1..];
                    first = pattern[0];
                }
                if !same(first, c) {
                    return false;
                }
            }
        }
        string = &string[1..];
        // Nothing is left of a pattern that ended within a set.
        pattern = pattern.get(1..).unwrap_or_default();
        if string.is_empty() {
            while at(pattern, 0) == b'*' {
                pattern = &pattern[1..];
            }
            break;
        }
    }
    pattern.is_empty() && string.is_empty()
}

/// Tells whether `string` matches `pattern`; `nocase` ignores the case of ASCII letters.
///
/// The time is bounded by the product of the lengths and the number of stars, whatever the pattern.
pub fn stringmatchlen(pattern: &[u8], string: &[u8], nocase: bool) -> bool {
    stringmatchlen_impl(pattern, string, nocase, &mut false, 0)
}

/// Matches as [`stringmatchlen`] does, for strings that end at their first NUL.
pub fn stringmatch(pattern: &[u8], string: &[u8], nocase: bool) -> bool {
    let cut = |s| memchr::memchr(0, s).unwrap_or(s.len());
    stringmatchlen(&pattern[..cut(pattern)], &string[..cut(string)], nocase)
}

/// A pattern taken apart once, for strings that are many: it says of each what [`stringmatchlen`]
/// says with `nocase` false.
///
/// Between its stars a pattern has parts of a fixed length. A string matches if it begins with the
/// first part, ends with the last, and has the others in between, one behind the other; if they can
/// be found at all, then so where each is looked for as early as can be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Glob {
    /// The parts; with a single one there is no star.
    parts: Vec<Vec<OneByte>>,
    /// The pattern is empty.
    is_empty: bool,
}

/// What one byte of a string has to be.
#[derive(Clone, PartialEq, Eq, Debug)]
enum OneByte {
    Byte(u8),
    Any,
    /// One of a set: a bit for each byte.
    Set(Box<[u64; 4]>),
}

impl OneByte {
    #[inline]
    fn is(&self, c: u8) -> bool {
        match self {
            OneByte::Byte(byte) => *byte == c,
            OneByte::Any => true,
            OneByte::Set(set) => set[usize::from(c >> 6)] >> (c & 63) & 1 != 0,
        }
    }
}

impl Glob {
    /// Takes a pattern apart. `None`: it has more stars than are worth it; `stringmatchlen` gives up
    /// where they nest too deep.
    pub fn new(mut pattern: &[u8]) -> Option<Glob> {
        let mut glob = Glob { parts: vec![Vec::new()], is_empty: pattern.is_empty() };
        while let Some((&first, behind)) = pattern.split_first() {
            let part = glob.parts.last_mut()?;
            pattern = behind;
            match (first, behind) {
                (b'*', _) => glob.parts.push(Vec::new()),
                (b'?', _) => part.push(OneByte::Any),
                (b'[', _) => {
                    // The set ends where `stringmatchlen` finds its end, whatever the byte is.
                    let end = set_end(behind);
                    let whole = &[&b"["[..], &behind[..end]].concat()[..];
                    let mut set = [0; 4];
                    for c in 0..=u8::MAX {
                        let bit = u64::from(stringmatchlen(whole, &[c], false));
                        set[usize::from(c >> 6)] |= bit << (c & 63);
                    }
                    part.push(OneByte::Set(Box::new(set)));
                    pattern = &behind[end..];
                }
                (b'\\', [escaped, rest @ ..]) => {
                    part.push(OneByte::Byte(*escaped));
                    pattern = rest;
                }
                _ => part.push(OneByte::Byte(first)),
            }
        }
        (glob.parts.len() <= 100).then_some(glob)
    }

    /// Tells whether a string matches.
    pub fn matches(&self, string: &[u8]) -> bool {
        // Not even a star matches the empty string.
        if self.is_empty || string.is_empty() {
            return self.is_empty && string.is_empty();
        }
        let fits = |part: &[OneByte], at: &[u8]| part.iter().zip(at).all(|(one, &c)| one.is(c));
        let (first, others) = match &self.parts[..] {
            [only] => return only.len() == string.len() && fits(only, string),
            [first, others @ ..] => (first, others),
            [] => return false,
        };
        let Some((last, between)) = others.split_last() else { return false };
        if string.len() < first.len() + last.len()
            || !fits(last, &string[string.len() - last.len()..])
            || !fits(first, string)
        {
            return false;
        }
        let mut left = &string[first.len()..string.len() - last.len()];
        between.iter().all(|part| {
            while left.len() >= part.len() {
                if fits(part, left) {
                    left = &left[part.len()..];
                    return true;
                }
                left = &left[1..];
            }
            false
        })
    }
}

/// Returns where a set ends, of which `set` is what is behind its bracket: behind the bracket that
/// closes it, or at the end of the pattern.
fn set_end(set: &[u8]) -> usize {
    let mut i = usize::from(set.first() == Some(&b'^'));
    while i < set.len() {
        match &set[i..] {
            [b'\\', _, ..] => i += 2,
            [b']', ..] => return i + 1,
            [_, b'-', _, ..] => i += 3,
            _ => i += 1,
        }
    }
    set.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pattern that was taken apart says what `stringmatchlen` says.
    #[test]
    fn taken_apart() {
        let mut rng = crate::testing::Rng::new();
        let mut text = |chars: &[u8], max: u64| -> Vec<u8> {
            (0..rng.below(max)).map(|_| chars[rng.below(chars.len() as u64) as usize]).collect()
        };
        let mut matched = 0;
        for i in 0..300_000 {
            let chars = if i % 2 == 0 { &b"aab*?"[..] } else { &b"aab*?[]^-\\\0\xff"[..] };
            let (pattern, string) = (text(chars, 10), text(b"aaab-]\\\0\xff", 8));
            let fast = Glob::new(&pattern).unwrap().matches(&string);
            assert_eq!(fast, stringmatchlen(&pattern, &string, false), "{pattern:?} {string:?}");
            matched += u32::from(fast);
        }
        assert!(matched > 1000, "{matched}");
        assert_eq!(Glob::new(&[b'*'; 200]), None);
    }

    fn matches(pattern: &str, string: &str) -> bool {
        stringmatchlen(pattern.as_bytes(), string.as_bytes(), false)
    }

    #[test]
    fn patterns() {
        for (pattern, string) in [
            ("", ""),
            ("*", "a"),
            ("**", "abc"),
            ("a*", "a"),
            ("a**", "a"),
            ("*c", "abc"),
            ("a*c*e", "abcde"),
            ("a?c", "abc"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-c]llo", "hbllo"),
            ("h[c-a]llo", "hbllo"),
            ("\\*", "*"),
            ("a\\", "a\\"),
            ("[\\]]", "]"),
            ("[a-]", "_"),
            ("[abc", "b"),
            ("[^", "x"),
            ("[^]", "x"),
            ("*foo", "fofoo"),
        ] {
            assert!(matches(pattern, string), "{pattern:?} {string:?}");
        }
        for (pattern, string) in [
            ("*", ""),
            ("", "a"),
            ("a", ""),
            ("a*b", "acbd"),
            ("a?c", "ac"),
            ("h[^e]llo", "hello"),
            ("h[a-c]llo", "hdllo"),
            ("[", "\0"),
            ("[]", "]"),
            ("[abc", "d"),
            ("a*", "b"),
            ("\\?", "a"),
            ("A", "a"),
        ] {
            assert!(!matches(pattern, string), "{pattern:?} {string:?}");
        }
    }

    #[test]
    fn case_and_signs() {
        assert!(stringmatchlen(b"hE[A-C]?", b"HEbx", true));
        assert!(stringmatchlen(b"[x]", b"X", true));
        // An escape within a set is exact, even when case is ignored.
        assert!(!stringmatchlen(b"[\\x]", b"X", true));
        // 0x80 is below zero, and so below 'a'.
        assert!(stringmatchlen(b"[\x80-a]", b"A", false));
        // But not so when case is ignored.
        assert!(!stringmatchlen(b"[\x80-a]", b"A", true));
        assert!(!stringmatchlen(b"[a-\xff]", b"z", false));
        assert!(stringmatch(b"a\0b", b"a\0c", false));
    }

    /// Patterns that made older versions run for ages.
    #[test]
    fn abusive_patterns_end() {
        let string = vec![b'a'; 300];
        let pattern = [b"*a".repeat(150), b"b".to_vec()].concat();
        assert!(!stringmatchlen(&pattern, &string, false));
        let string = vec![b'a'; 100_000];
        assert!(!stringmatchlen(&[b"*?".repeat(50_000), b"x".to_vec()].concat(), &string, false));
        // Too many stars, though they would match.
        assert!(!stringmatchlen(&b"*a".repeat(1001), &b"a".repeat(1001), false));
        assert!(stringmatchlen(&b"*a".repeat(1000), &b"a".repeat(1000), false));
    }

    /// Against a plain recursive matcher, for patterns without sets.
    #[test]
    fn agrees_with_a_naive_matcher() {
        fn naive(p: &[u8], s: &[u8]) -> bool {
            match p.first() {
                None => s.is_empty(),
                Some(b'*') => (0..=s.len()).any(|i| naive(&p[1..], &s[i..])),
                Some(b'?') => !s.is_empty() && naive(&p[1..], &s[1..]),
                Some(c) => s.first() == Some(c) && naive(&p[1..], &s[1..]),
            }
        }
        let seed = 0x5eed_0003u64;
        println!("seed {seed:#x}");
        let mut x = seed;
        let mut rnd = move |n: usize| {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (x >> 33) as usize % n
        };
        let mut positive = 0;
        for _ in 0..100_000 {
            let p: Vec<u8> = (0..rnd(8)).map(|_| b"ab*?*"[rnd(5)]).collect();
            let s: Vec<u8> = (0..1 + rnd(8)).map(|_| b"ab"[rnd(2)]).collect();
            let expected = naive(&p, &s);
            positive += usize::from(expected);
            assert_eq!(stringmatchlen(&p, &s, false), expected, "{p:?} {s:?}");
        }
        assert!(positive > 10_000);
    }

    /// Any bytes at all: no panic.
    #[test]
    fn survives_noise() {
        let mut x = 0x5eed_0004u64;
        for _ in 0..200_000 {
            let mut bytes = [0u8; 16];
            for b in &mut bytes {
                x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                *b = b"[]^-\\*?ab\0\xff"[(x >> 33) as usize % 11];
            }
            let split = (x >> 60) as usize;
            stringmatchlen(&bytes[..split], &bytes[split..], x & 1 == 1);
        }
    }
}
