//! Packed values: ziplists, listpacks, intsets and zipmaps. In an RDB each is one string.

use super::{By, Explained, Explainer, damage, shown_text};

/// What the entries of a packed value are, in turn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Roles {
    Element,
    Member,
    FieldValue,
    MemberScore,
    FieldValueTtl,
    Stream,
}

impl Roles {
    fn names(self) -> &'static [&'static str] {
        match self {
            Roles::Element => &["element"],
            Roles::Member => &["member"],
            Roles::FieldValue => &["field", "value"],
            Roles::MemberScore => &["member", "score"],
            Roles::FieldValueTtl => &["field", "value", "expires"],
            Roles::Stream => &["item"],
        }
    }
}

/// Where we are among the items of a stream's listpack. It begins with the numbers of entries and of
/// deleted ones, and the fields of the first entry; each entry follows with its flags, its id as a
/// difference, its own fields if they are others, its values, and the number of its items.
#[derive(Default)]
struct StreamItems {
    state: StreamItem,
    master_fields: u64,
    left: u64,
    same_fields: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum StreamItem {
    #[default]
    Count,
    Deleted,
    NumMasterFields,
    MasterField,
    MasterEnd,
    Flags,
    Ms,
    Seq,
    NumFields,
    Field,
    Value,
    LpCount,
}

impl StreamItems {
    /// Returns what the next item is, and goes on by its value, if that is a number.
    fn next(&mut self, number: Option<i64>) -> &'static str {
        use StreamItem::*;
        let n = number.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        let here = self.state;
        self.state = match here {
            Count => Deleted,
            Deleted => NumMasterFields,
            NumMasterFields => {
                (self.master_fields, self.left) = (n, n);
                if n == 0 { MasterEnd } else { MasterField }
            }
            MasterField => {
                self.left -= 1;
                if self.left == 0 { MasterEnd } else { MasterField }
            }
            MasterEnd | LpCount => Flags,
            Flags => {
                self.same_fields = n & 2 != 0;
                Ms
            }
            Ms => Seq,
            Seq if self.same_fields => {
                self.left = self.master_fields;
                if self.left == 0 { LpCount } else { Value }
            }
            Seq => NumFields,
            NumFields => {
                self.left = n;
                if n == 0 { LpCount } else { Field }
            }
            Field => Value,
            Value => {
                self.left -= 1;
                match (self.left, self.same_fields) {
                    (0, _) => LpCount,
                    (_, true) => Value,
                    (_, false) => Field,
                }
            }
        };
        match here {
            Count => "entries",
            Deleted => "deleted entries",
            NumMasterFields => "number of master fields",
            MasterField => "master field",
            MasterEnd => "end of the master entry",
            Flags if n & 1 != 0 => "entry, deleted, flags",
            Flags => "entry, flags",
            Ms => "milliseconds behind the master id",
            Seq => "sequence number behind the master id",
            NumFields => "number of fields",
            Field => "field",
            Value => "value",
            LpCount => "items of this entry",
        }
    }
}

const ZIPLIST_HEAD: By = By("ziplistNew", "ziplistValidateIntegrity");
const ZIPLIST_ENTRY: By = By("__ziplistInsert", "ziplistGet");
const LISTPACK_HEAD: By = By("lpNew", "lpValidateIntegrity");
const LISTPACK_ENTRY: By = By("lpInsert", "lpGet");
const INTSET: By = By("intsetAdd", "intsetValidateIntegrity");
const ZIPMAP: By = By("", "zipmapNext");

/// Returns how many bytes hold the length of an entry behind it, so that a listpack can be walked
/// backwards.
fn backlen_bytes(len: u64) -> Vec<u8> {
    let n = match len {
        0..=127 => 1,
        128..=16382 => 2,
        16383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => 5,
    };
    let seven = |i: u32| (len >> (7 * i)) as u8 & 127;
    (0..n).map(|i| seven(n - 1 - i) | if i == 0 { 0 } else { 128 }).collect()
}

impl Explainer<'_> {
    /// Explains a ziplist of `len` bytes.
    pub(super) fn ziplist(&mut self, len: u64, roles: Roles) -> Explained {
        let base = self.span().at;
        let zlbytes = u64::from(u32::from_le_bytes(self.bytes()?));
        self.range("zlbytes", format!("ziplist of {zlbytes} bytes"), ZIPLIST_HEAD)?;
        if zlbytes != len {
            self.problem(&format!("the ziplist has {len} bytes"))?;
        }
        let zltail = u64::from(u32::from_le_bytes(self.bytes()?));
        self.range("zltail", format!("the last entry is at {zltail}"), ZIPLIST_HEAD)?;
        let zllen = u16::from_le_bytes(self.bytes()?);
        let meaning = match zllen {
            u16::MAX => "65535 entries or more: they have to be counted".to_string(),
            n => format!("{n} entries"),
        };
        self.range("zllen", meaning, ZIPLIST_HEAD)?;

        let (mut count, mut prev_len, mut last) = (0u64, 0u64, 10);
        loop {
            let at = self.span().at - base;
            let (prevlen, in_bytes) = match self.byte()? {
                0xff => break,
                0xfe => (u64::from(u32::from_le_bytes(self.bytes()?)), 5),
                n => (u64::from(n), 1),
            };
            let (value, form) = self.ziplist_value()?;
            let name = roles.names()[(count % roles.names().len() as u64) as usize];
            let prev = format!("{prevlen} bytes before it, in {in_bytes}");
            self.range("entry", format!("{name} {value} ({form}; {prev})"), ZIPLIST_ENTRY)?;
            if prevlen != prev_len {
                self.problem(&format!("the entry before it has {prev_len} bytes"))?;
            }
            prev_len = self.span().at - base - at;
            last = at;
            count += 1;
        }
        self.range("zlend", "the end of the ziplist".to_string(), ZIPLIST_HEAD)?;
        if zllen != u16::MAX && u64::from(zllen) != count {
            self.problem(&format!("there are {count} entries"))?;
        }
        if zltail != last {
            self.problem(&format!("the last entry is at {last}"))?;
        }
        Ok(())
    }

    /// Reads the encoding of an entry, and its value. Returns the value as text, and the encoding.
    fn ziplist_value(&mut self) -> Explained<(String, String)> {
        let encoding = self.byte()?;
        let (len, bits) = match encoding {
            0..=0x3f => (u64::from(encoding), 6),
            0x40..=0x7f => (u64::from(encoding & 0x3f) << 8 | u64::from(self.byte()?), 14),
            0x80 => (u64::from(u32::from_be_bytes(self.bytes()?)), 32),
            _ => {
                let (number, form) = match encoding {
                    0xc0 => (i64::from(i16::from_le_bytes(self.bytes()?)), "int16"),
                    0xd0 => (i64::from(i32::from_le_bytes(self.bytes()?)), "int32"),
                    0xe0 => (i64::from_le_bytes(self.bytes()?), "int64"),
                    0xf0 => {
                        let [a, b, c] = self.bytes()?;
                        (i64::from(i32::from_le_bytes([0, a, b, c]) >> 8), "int24")
                    }
                    0xfe => (i64::from(i8::from_le_bytes(self.bytes()?)), "int8"),
                    0xf1..=0xfd => (i64::from(encoding & 0xf) - 1, "in the encoding"),
                    _ => return damage(format!("no encoding of an entry: {encoding:02x}")),
                };
                return Ok((number.to_string(), form.to_string()));
            }
        };
        let first = self.text(len)?;
        Ok((shown_text(&first, len), format!("{len} bytes, the length in {bits} bits")))
    }

    /// Explains a listpack of `len` bytes.
    pub(super) fn listpack(&mut self, len: u64, roles: Roles) -> Explained {
        let total = u64::from(u32::from_le_bytes(self.bytes()?));
        self.range("lpbytes", format!("listpack of {total} bytes"), LISTPACK_HEAD)?;
        if total != len {
            self.problem(&format!("the listpack has {len} bytes"))?;
        }
        let elements = u16::from_le_bytes(self.bytes()?);
        let meaning = match elements {
            u16::MAX => "65535 elements or more: they have to be counted".to_string(),
            n => format!("{n} elements"),
        };
        self.range("lplen", meaning, LISTPACK_HEAD)?;

        let mut count = 0u64;
        let mut items = StreamItems::default();
        loop {
            let at = self.span().at;
            let encoding = self.byte()?;
            if encoding == 0xff {
                break;
            }
            let (number, value, form) = self.listpack_value(encoding)?;
            let entry_len = self.span().at - at;
            let expected = backlen_bytes(entry_len);
            let mut backlen = Vec::new();
            for _ in 0..expected.len() {
                backlen.push(self.byte()?);
            }
            let name = match roles {
                Roles::Stream => items.next(number),
                _ => roles.names()[(count % roles.names().len() as u64) as usize],
            };
            self.range("entry", format!("{name} {value} ({form})"), LISTPACK_ENTRY)?;
            if backlen != expected {
                self.problem(&format!("the length behind it is not {entry_len}"))?;
            }
            count += 1;
        }
        self.range("lpend", "the end of the listpack".to_string(), LISTPACK_HEAD)?;
        if elements != u16::MAX && u64::from(elements) != count {
            self.problem(&format!("there are {count} elements"))?;
        }
        Ok(())
    }

    /// Reads the value of an element. Returns it as a number, if it is one, and as text, and its
    /// encoding.
    fn listpack_value(&mut self, encoding: u8) -> Explained<(Option<i64>, String, String)> {
        let low = u64::from(encoding);
        let (len, bits) = match encoding {
            0x80..=0xbf => (low & 0x3f, 6),
            0xe0..=0xef => ((low & 0xf) << 8 | u64::from(self.byte()?), 12),
            0xf0 => (u64::from(u32::from_le_bytes(self.bytes()?)), 32),
            _ => {
                let (number, form) = match encoding {
                    0..=0x7f => (low as i64, "7 bits"),
                    0xc0..=0xdf => {
                        let n = (low & 0x1f) << 8 | u64::from(self.byte()?);
                        (if n < 1 << 12 { n as i64 } else { n as i64 - (1 << 13) }, "13 bits")
                    }
                    0xf1 => (i64::from(i16::from_le_bytes(self.bytes()?)), "16 bits"),
                    0xf2 => {
                        let [a, b, c] = self.bytes()?;
                        (i64::from(i32::from_le_bytes([0, a, b, c]) >> 8), "24 bits")
                    }
                    0xf3 => (i64::from(i32::from_le_bytes(self.bytes()?)), "32 bits"),
                    0xf4 => (i64::from_le_bytes(self.bytes()?), "64 bits"),
                    _ => return damage(format!("no encoding of an element: {encoding:02x}")),
                };
                return Ok((Some(number), number.to_string(), form.to_string()));
            }
        };
        let first = self.text(len)?;
        let form = format!("{len} bytes, the length in {bits} bits");
        Ok((None, shown_text(&first, len), form))
    }

    /// Explains an intset of `len` bytes.
    pub(super) fn intset(&mut self, len: u64) -> Explained {
        let encoding = u32::from_le_bytes(self.bytes()?);
        let meaning = format!("intset of numbers of {encoding} bytes");
        self.range("encoding", meaning, INTSET)?;
        let count = u32::from_le_bytes(self.bytes()?);
        self.range("length", format!("{count} numbers"), INTSET)?;
        if !matches!(encoding, 2 | 4 | 8) {
            return damage("a number has 2, 4 or 8 bytes");
        }
        if u64::from(count) * u64::from(encoding) + 8 != len {
            self.problem(&format!("the intset has {len} bytes"))?;
        }
        let mut last = None;
        for _ in 0..count {
            let number = match encoding {
                2 => i64::from(i16::from_le_bytes(self.bytes()?)),
                4 => i64::from(i32::from_le_bytes(self.bytes()?)),
                _ => i64::from_le_bytes(self.bytes()?),
            };
            self.range("entry", format!("member {number}"), INTSET)?;
            if last.is_some_and(|last| last >= number) {
                self.problem("the members are not in order")?;
            }
            last = Some(number);
        }
        Ok(())
    }

    /// Explains a zipmap, which servers before 2.6 have written.
    pub(super) fn zipmap(&mut self) -> Explained {
        let zmlen = self.byte()?;
        let meaning = match zmlen {
            0xfe..=0xff => "zipmap of 254 fields or more".to_string(),
            n => format!("zipmap of {n} fields"),
        };
        self.range("zmlen", meaning, By("", "zipmapValidateIntegrity"))?;
        for name in ["field", "value"].iter().cycle() {
            let len = match self.byte()? {
                0xff if *name == "field" => break,
                0xfe => u64::from(u32::from_le_bytes(self.bytes()?)),
                0xff => return damage("a field without a value"),
                n => u64::from(n),
            };
            let free = if *name == "value" { self.byte()? } else { 0 };
            let first = self.text(len)?;
            self.text(u64::from(free))?;
            let spare = if free > 0 { format!(", {free} to spare") } else { String::new() };
            let text = shown_text(&first, len);
            self.range("entry", format!("{name} {text} ({len} bytes{spare})"), ZIPMAP)?;
        }
        let end = "the end of the zipmap".to_string();
        self.range("zmend", end, By("", "zipmapValidateIntegrity"))
    }
}
