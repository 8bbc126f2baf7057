//! What the `{name}`s of the forms stand for: keys from a small pool, so that commands meet, and
//! values with a liking for edges.

use super::commands::ALL;
use super::grammar::Form;
use super::rng::Rng;
use super::wire::Argv;

/// Classes of keys: strings, lists, sets, sets of integers, hashes, sorted sets, streams, geo,
/// short strings, anything.
///
/// Two more stand apart: `p` for HyperLogLogs, which other commands would damage, and `y` for
/// sorted sets of one score, as the commands by lexicographical range answer anything where the
/// scores differ.
const CLASSES: &[u8] = b"sleihzxgca";
const KEYS_PER_CLASS: i64 = 5;

const INTEGERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "12",
    "13",
    "127",
    "128",
    "-128",
    "-129",
    "255",
    "256",
    "32767",
    "32768",
    "-32768",
    "-32769",
    "8388607",
    "8388608",
    "-8388608",
    "-8388609",
    "2147483647",
    "2147483648",
    "-2147483648",
    "-2147483649",
    "4294967295",
    "4294967296",
    "9223372036854775806",
    "9223372036854775807",
    "-9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999",
    "-0",
    "+1",
    "01",
    " 1",
    "1 ",
    "1.0",
    "1e3",
    "0x10",
    "",
    "abc",
];

const FLOATS: &[&str] = &[
    "0",
    "1",
    "-1",
    "1.5",
    "-2.25",
    "0.1",
    "0.2",
    "3.0e2",
    "1e17",
    "1e-7",
    "123456789.123456789",
    "5.0e3",
    "3.14159265358979323846264338",
    "10000000000000000",
    "1e21",
    "-1e21",
    "-0",
    "-0.0",
    "inf",
    "-inf",
    "+inf",
    "infinity",
    "nan",
    "-nan",
    "1e400",
    "-1e400",
    "1e-400",
    "1.7976931348623157e308",
    "4.9e-324",
    "9007199254740993",
    "0x1p3",
    "1e",
    " 1",
    "1 ",
    "",
    "x",
    ".5",
    "5.",
    "1_0",
    "1e5000",
    "17179869184.00000001",
    "9223372036854775807",
];

const TEXTS: &[&[u8]] = &[
    b"",
    b" ",
    b"\0",
    b"\0\xff\r\n",
    b"\r\n",
    b"a b",
    b"foo",
    b"bar",
    b"%s%n",
    b"\xc3\xa9",
    b"-",
    b"+",
    b"*",
    b"#",
    b"nan",
    b"OK",
    b"hello world",
    b"a\0b",
    b"a\0c",
    b"0000000000",
];

/// Lengths around the limits of the encodings: embstr, the ziplist's and the listpack's headers,
/// the usual limits.
const LENGTHS: &[usize] = &[
    1, 4, 5, 16, 17, 20, 21, 31, 32, 43, 44, 45, 61, 62, 63, 64, 65, 66, 250, 253, 254, 255, 256,
    257,
];
const LONG_LENGTHS: &[usize] = &[1023, 4094, 4095, 4096, 8192, 9000, 16382, 16383, 16384, 17000];

const PLACES: &[(&str, &str)] = &[
    ("13.361389", "38.115556"),
    ("15.087269", "37.502669"),
    ("-122.4", "37.8"),
    ("2.35", "48.85"),
    ("0", "0"),
    ("180", "85"),
    ("-180", "-85"),
    ("179.9999", "0.5"),
    ("-179.9999", "-0.5"),
    ("2.36", "48.86"),
    ("13.5", "38.0"),
];

/// The generator's state: it never sees a reply.
pub struct Gen {
    pub rng: Rng,
    forms: Vec<(usize, Vec<Form>)>,
    /// The stream ids made so far lie below this.
    clock: i64,
    place: usize,
}

impl Gen {
    pub fn new(seed: u64) -> Gen {
        let forms = ALL.iter().map(|table| {
            let forms: Vec<Form> = table.iter().map(|line| Form::new(line)).collect();
            (forms.iter().map(|f| f.weight).sum(), forms)
        });
        Gen { rng: Rng::new(seed), forms: forms.collect(), clock: 1, place: 0 }
    }

    /// The next command: one of the forms, and now and then spoilt.
    pub fn command(&mut self) -> Argv {
        let forms = std::mem::take(&mut self.forms);
        let (sum, table) = &forms[self.rng.below(forms.len())];
        let mut at = self.rng.below(*sum);
        let form = table.iter().find(|f| match at.checked_sub(f.weight) {
            Some(rest) => {
                at = rest;
                false
            }
            None => true,
        });
        let mut argv = form.expect("the weights add up").instance(self);
        self.forms = forms;
        if self.rng.one_in(25) {
            self.spoil(&mut argv);
        }
        if self.rng.one_in(20) {
            let n = self.rng.below(argv.len());
            if !is_key(&argv[n]) {
                argv[n].make_ascii_lowercase();
            }
        }
        argv
    }

    /// Leaves an argument out, doubles one, adds one, or puts an odd one in.
    fn spoil(&mut self, argv: &mut Argv) {
        let n = self.rng.below(argv.len());
        let odd = match self.rng.below(4) {
            0 => self.value("int"),
            1 => self.value("v"),
            2 => self.value("float"),
            _ => self.value("any"),
        };
        match self.rng.below(4) {
            0 if argv.len() > 1 => drop(argv.remove(n.max(1))),
            1 => argv.insert(n + 1, argv[n].clone()),
            2 => argv.push(odd),
            _ => {
                let last = argv.len() - 1;
                argv[n.max(1).min(last)] = odd;
            }
        }
    }

    /// How often a repeated word comes.
    pub fn many(&mut self) -> usize {
        match self.rng.below(200) {
            0 => 100 + self.rng.below(500),
            1..=20 => 9 + self.rng.below(32),
            21..=80 => 4 + self.rng.below(5),
            _ => 1 + self.rng.below(3),
        }
    }

    /// A value of the kind `name`.
    pub fn value(&mut self, name: &str) -> Vec<u8> {
        match name {
            "s" | "l" | "i" | "h" | "z" | "x" | "g" | "c" => self.key(name.as_bytes()[0]),
            "e" => {
                let class = *self.rng.pick(b"eei");
                self.key(class)
            }
            "ze" => {
                let class = *self.rng.pick(b"zzzei");
                self.key(class)
            }
            "p" | "y" => self.key_of(name.as_bytes()[0]),
            "any" => self.any_key(),
            "v" => self.text(),
            "m" => self.member(),
            "number" => self.number(),
            "short" => self.one_of(&["a", "b", "ab", "abcab", "xyz", "foo1", ""]),
            "int" => match self.rng.below(3) {
                0 => self.one_of(INTEGERS),
                1 => self.number(),
                _ => self.rng.range(-100, 100).to_string().into(),
            },
            "small" => match self.rng.below(12) {
                0 => b"0".into(),
                1 => b"-1".into(),
                2 => b"100".into(),
                _ => self.rng.range(1, 10).to_string().into(),
            },
            "index" => match self.rng.below(20) {
                0 => self.one_of(INTEGERS),
                1 => self.rng.range(-300, 300).to_string().into(),
                _ => self.rng.range(-10, 10).to_string().into(),
            },
            "offset" => match self.rng.below(12) {
                0 => self.one_of(INTEGERS),
                1 => self.rng.range(0, 3000).to_string().into(),
                _ => self.rng.range(0, 70).to_string().into(),
            },
            "bit" => match self.rng.below(12) {
                0 => self.one_of(INTEGERS),
                1 => self.rng.range(0, 20_000).to_string().into(),
                _ => self.rng.range(0, 300).to_string().into(),
            },
            "bits" => match self.rng.below(10) {
                0 => self.one_of(&["u64", "i65", "u0", "i0", "x8", "u", "8", "i-1"]),
                n => format!("{}{}", if n < 5 { "u" } else { "i" }, self.rng.range(1, 63)).into(),
            },
            "bitoff" => match self.rng.below(10) {
                0 => self.one_of(INTEGERS),
                1..=4 => format!("#{}", self.rng.range(0, 20)).into(),
                _ => self.rng.range(0, 200).to_string().into(),
            },
            "float" => match self.rng.below(3) {
                0 => self.one_of(FLOATS),
                1 => self.rng.range(-100, 100).to_string().into(),
                _ => format!("{}", self.rng.range(-100_000, 100_000) as f64 / 128.0).into(),
            },
            "score" => match self.rng.below(10) {
                0 => self.one_of(FLOATS),
                1 | 2 => format!("{}", self.rng.range(-1000, 1000) as f64 / 10.0).into(),
                3 => format!("{}", self.rng.next() as f64 / 1e9).into(),
                _ => self.rng.range(-5, 20).to_string().into(),
            },
            "min" | "max" => match self.rng.below(8) {
                0 => self.rng.pick(&["-inf", "+inf", "(inf", "(-inf", "inf"]).to_string().into(),
                1 | 2 => [b"(".to_vec(), self.value("score")].concat(),
                3 if name == "min" => b"-inf".into(),
                3 => b"+inf".into(),
                _ => self.value("score"),
            },
            "lmin" | "lmax" => match self.rng.below(8) {
                0 => self.member(),
                1 | 2 if name == "lmin" => b"-".into(),
                1 | 2 => b"+".into(),
                3 => self.rng.pick(&["-", "+", "[", "("]).to_string().into(),
                n => [if n < 6 { b"[".to_vec() } else { b"(".to_vec() }, self.member()].concat(),
            },
            "lon" => {
                self.place = self.rng.below(PLACES.len());
                match self.rng.below(15) {
                    0 => self.value("float"),
                    1..=5 => format!("{}", self.rng.range(-1800, 1800) as f64 / 10.0).into(),
                    _ => PLACES[self.place].0.into(),
                }
            }
            "lat" => match self.rng.below(15) {
                0 => self.one_of(&["85.05112878", "85.06", "-85.05112879", "90", "x"]),
                1..=5 => format!("{}", self.rng.range(-850, 850) as f64 / 10.0).into(),
                _ => PLACES[self.place].1.into(),
            },
            "radius" => match self.rng.below(8) {
                0 => self.value("float"),
                1 => b"0".into(),
                2 => b"30000".into(),
                _ => self.rng.range(1, 3000).to_string().into(),
            },
            "glob" => self.one_of(&[
                "*", "?", "[a-m]*", "[^a]*", "m1*", "*1", "\\*", "[", "", "s?", "*[0-5]", "h**",
                "[]", "a\\",
            ]),
            "db" => self.one_of(&["0", "0", "0", "0", "1", "1", "9", "15", "16", "-1", "x"]),
            // Seconds or milliseconds from now: past, or too far for this run to see.
            "ttl" => match self.rng.below(12) {
                0 => self.one_of(INTEGERS),
                1 => b"0".into(),
                2 => b"-1".into(),
                3 => b"9223372036854775".into(),
                _ => self.rng.range(100_000_000, 900_000_000).to_string().into(),
            },
            "at" => match self.rng.below(12) {
                0 => self.one_of(INTEGERS),
                1 => b"1000".into(),
                2 => b"9223372036854775".into(),
                _ => self.rng.range(4_102_444_800_000, 5_102_444_800_000).to_string().into(),
            },
            "wait" => self.one_of(&["0.002", "0.002", "0.003", "-1", "abc", "1e400"]),
            // Not a time that could have passed by now on one server only.
            "idle" => self.one_of(&["0", "0", "0", "1000000000000", "-1", "x"]),
            "group" => self.one_of(&["g1", "g1", "g1", "g2", "none"]),
            "consumer" => self.one_of(&["alice", "bob", "carol", ""]),
            "newid" => match self.rng.below(30) {
                0 => self.one_of(&[
                    "0-0",
                    "0",
                    "18446744073709551615-18446744073709551615",
                    "-",
                    "1-",
                    "1-x",
                    "99999999999999999999-1",
                ]),
                1 => self.value("id"),
                2 => format!(
                    "{}-{}",
                    self.clock,
                    self.rng.pick(&["18446744073709551615", "9223372036854775808", "1"])
                )
                .into(),
                n => {
                    self.clock += self.rng.range(0, 2);
                    match n {
                        3..=8 => self.clock.to_string().into(),
                        9 => format!("{}-{}", self.clock, self.rng.range(1, 1 << 40)).into(),
                        _ => format!("{}-{}", self.clock, self.rng.range(0, 20)).into(),
                    }
                }
            },
            "id" => match self.rng.below(12) {
                0 => self
                    .rng
                    .pick(&[
                        "0-0",
                        "0",
                        "-",
                        "+",
                        "(1",
                        "18446744073709551615-18446744073709551615",
                        "x",
                        "",
                    ])
                    .to_string()
                    .into(),
                1..=4 => format!("{}-{}", self.rng.range(0, self.clock + 1), self.rng.range(0, 20))
                    .into(),
                _ => (self.clock - self.rng.range(0, 30)).max(0).to_string().into(),
            },
            "rangeid" => match self.rng.below(6) {
                0 | 1 => b"-".into(),
                2 | 3 => b"+".into(),
                4 => [b"(".to_vec(), self.value("id")].concat(),
                _ => self.value("id"),
            },
            _ => panic!("no such kind of value: {name}"),
        }
    }

    fn one_of(&mut self, words: &[&str]) -> Vec<u8> {
        self.rng.pick(words).as_bytes().to_vec()
    }

    fn key_of(&mut self, class: u8) -> Vec<u8> {
        vec![class, b'0' + self.rng.range(0, KEYS_PER_CLASS - 1) as u8]
    }

    /// Mostly a key of that class, else one that may hold another type.
    fn key(&mut self, class: u8) -> Vec<u8> {
        match self.rng.below(100) {
            0..=2 => self.key_of(b'a'),
            3..=5 => self.any_key(),
            6 => b"none".into(),
            _ => self.key_of(class),
        }
    }

    /// Any key but those that stand apart.
    fn any_key(&mut self) -> Vec<u8> {
        let class = *self.rng.pick(CLASSES);
        self.key_of(class)
    }

    fn number(&mut self) -> Vec<u8> {
        match self.rng.below(20) {
            0 => self.one_of(&INTEGERS[..29]),
            1 | 2 => self.rng.range(-40_000, 40_000).to_string().into(),
            3 => (self.rng.next() as i64).to_string().into(),
            _ => self.rng.range(-10, 40).to_string().into(),
        }
    }

    /// A member, field or element: from a small pool most of the time.
    fn member(&mut self) -> Vec<u8> {
        match self.rng.below(10) {
            0 => self.text(),
            1..=3 => self.number(),
            _ => format!("m{}", self.rng.below(30)).into(),
        }
    }

    fn text(&mut self) -> Vec<u8> {
        match self.rng.below(40) {
            0..=9 => format!("{}", self.rng.range(-20, 100)).into(),
            10..=13 => self.one_of(INTEGERS),
            14..=16 => self.one_of(FLOATS),
            17..=21 => self.rng.pick(TEXTS).to_vec(),
            22..=26 => {
                let n = *self.rng.pick(LENGTHS);
                self.bytes(n)
            }
            27..=28 => {
                let n = self.rng.below(20);
                self.bytes(n)
            }
            29 if self.rng.one_in(8) => {
                let n = *self.rng.pick(LONG_LENGTHS);
                self.bytes(n)
            }
            _ => format!("m{}", self.rng.below(30)).into(),
        }
    }

    /// `n` bytes: all alike, of a short period, or random.
    fn bytes(&mut self, n: usize) -> Vec<u8> {
        match self.rng.below(3) {
            0 => vec![b'x'; n],
            1 => b"abcdefg".iter().copied().cycle().take(n).collect(),
            _ => (0..n).map(|_| self.rng.next() as u8).collect(),
        }
    }
}

/// Whether this argument looks like one of our keys.
pub fn is_key(arg: &[u8]) -> bool {
    arg == b"none"
        || matches!(arg, [class, b'0'..=b'9'] if CLASSES.contains(class) || b"py".contains(class))
}

/// Whether a command must not be sent: it would not end, would fill the memory, or would depend on
/// the clock.
pub fn is_harmful(argv: &Argv) -> bool {
    let name = argv[0].to_ascii_uppercase();
    let int = |n: usize| argv.get(n).and_then(|a| number(a));
    let soon = |n: usize| int(n).is_some_and(|t| (1..100_000_000).contains(&t));
    // A cursor that stands for a place in a hash table.
    let is_midway = |n: usize| {
        argv.get(n).is_some_and(|a| {
            let digits = a.trim_ascii_start();
            a != b"0" && digits.first().is_some_and(|c| b"+-0123456789".contains(c))
        })
    };
    let has = |word: &str| argv.iter().any(|a| a.eq_ignore_ascii_case(word.as_bytes()));
    match &name[..] {
        b"BLPOP" | b"BRPOP" | b"BRPOPLPUSH" | b"BLMOVE" | b"BZPOPMIN" | b"BZPOPMAX" => argv
            .last()
            .and_then(|a| std::str::from_utf8(a).ok()?.trim().parse::<f64>().ok())
            .is_some_and(|t| (0.0..0.002).contains(&t) || (t > 0.01 && t < 1e300)),
        b"SETBIT" | b"SETRANGE" => int(2).is_some_and(is_far),
        b"BITFIELD" => argv.windows(2).any(|w| {
            w[0].first().is_some_and(|c| b"uiUI".contains(c))
                && number(w[1].strip_prefix(b"#").unwrap_or(&w[1])).is_some_and(is_far)
        }),
        b"EXPIRE" | b"PEXPIRE" | b"SETEX" | b"PSETEX" => soon(2),
        b"RESTORE" => soon(2),
        // A time that has passed leaves a key behind that is gone when somebody looks, or at some
        // other time.
        b"SET" | b"GETEX" => (2..argv.len()).any(|n| match &argv[n].to_ascii_uppercase()[..] {
            b"EX" | b"PX" => soon(n + 1),
            b"EXAT" => int(n + 1).is_some_and(|t| (1..2_000_000_000).contains(&t)),
            b"PXAT" => int(n + 1).is_some_and(|t| (1..2_000_000_000_000).contains(&t)),
            _ => false,
        }),
        // C: whether RDB has the name of a group or consumer as a number depends on the byte that
        // lies behind it.
        b"XGROUP" if int(3).is_some() || (!has("CREATE") && int(4).is_some()) => true,
        b"XREADGROUP" | b"XCLAIM" | b"XAUTOCLAIM" if int(2).is_some() || int(3).is_some() => true,
        b"XCLAIM" | b"XAUTOCLAIM" => soon(4) || (has("IDLE") && !has("100000")),
        b"XREAD" | b"XREADGROUP" => {
            let at = argv.iter().position(|a| a.eq_ignore_ascii_case(b"BLOCK"));
            at.is_some_and(|n| int(n + 1).is_some_and(|t| t != 1))
        }
        b"XPENDING" => soon(4),
        b"SCAN" => is_midway(1),
        b"SSCAN" | b"HSCAN" | b"ZSCAN" => is_midway(2),
        b"COMMAND" => argv.len() < 3,
        b"LPOS" => argv.iter().any(|a| a == b"-9223372036854775808"),
        b"PFADD" | b"PFMERGE" => argv.get(1).is_some_and(|k| is_key(k) && k[0] != b'p'),
        b"ZADD" if argv.get(1).is_some_and(|k| k.starts_with(b"y")) => {
            argv[2..].iter().step_by(2).any(|score| score != b"0")
        }
        b"ZLEXCOUNT" | b"ZRANGEBYLEX" | b"ZREVRANGEBYLEX" | b"ZREMRANGEBYLEX" => {
            argv.get(1).is_some_and(|k| is_key(k) && k[0] != b'y')
        }
        b"ZRANGE" | b"ZRANGESTORE" if has("BYLEX") => {
            let n = if name == b"ZRANGE" { 1 } else { 2 };
            argv.get(n).is_some_and(|k| is_key(k) && k[0] != b'y')
        }
        b"SRANDMEMBER" | b"HRANDFIELD" | b"ZRANDMEMBER" => {
            int(2).is_some_and(|n| n < -1000 && n != i64::MIN)
        }
        b"CONFIG" => has("RESETSTAT") || has("REWRITE"),
        b"HELLO" => has("2") || has("3"),
        b"CLIENT" | b"DEBUG" => argv.len() > 4,
        _ => false,
    }
}

/// Whether the result of a SORT depends on the order the elements had: equal weights leave it as it
/// was, and so do a pattern without a star, and texts that are the same up to a NUL, which is as
/// far as strcoll looks.
pub fn is_unordered_sort(argv: &Argv) -> bool {
    let upper: Vec<Vec<u8>> = argv.iter().map(|a| a.to_ascii_uppercase()).collect();
    let has = |word: &[u8]| upper.iter().any(|a| a == word);
    upper[0] == b"SORT"
        && (upper.windows(2).any(|w| w[0] == b"BY" && !w[1].contains(&b'*'))
            || has(b"ALPHA") && (has(b"BY") || !has(b"STORE")))
}

/// Whether an offset into a string is valid, but would make it a big one.
fn is_far(offset: i64) -> bool {
    (50_000..1 << 33).contains(&offset)
}

/// A decimal number, if it is one that any of the servers would take.
pub fn number(a: &[u8]) -> Option<i64> {
    std::str::from_utf8(a).ok()?.trim().parse().ok()
}
