//! The RDB file, opcode by opcode.

use super::packed::Roles;
use super::{By, Explained, Explainer, damage, shown_text};
use crate::rdb::*;

const TYPE: By = By("rdbSaveType", "rdbLoadType");
const LEN: By = By("rdbSaveLen", "rdbLoadLenByRef");
const TIME: By = By("rdbSaveMillisecondTime", "rdbLoadMillisecondTime");
const AUX: By = By("rdbSaveAuxField", "rdb_load_aux");
const KEY: By = By("rdbSaveKeyValuePair", "rdb_load_rio_inner");
const STRING: By = By("rdbSaveRawString", "rdbGenericLoadStringObject");
const INTEGER: By = By("rdbEncodeInteger", "rdbLoadIntegerObject");
const LZF: By = By("rdbSaveLzfStringObject", "rdbLoadLzfStringObject");
const MODULE: By = By("", "rdbLoadCheckModuleValue");
const STREAM: By = By("rdb_save_stream", "rdb_load_stream");
const PEL: By = By("rdbSaveStreamPEL", "rdb_load_stream_cg");
const CONSUMER: By = By("rdbSaveStreamConsumers", "rdb_load_stream_cg");

/// What a string of an RDB holds.
#[derive(Clone, Copy)]
enum Holds {
    /// Text, with who writes and reads it.
    Text(By),
    Ziplist(Roles),
    Listpack(Roles),
    Intset,
    Zipmap,
    /// The id of a stream's entry: two numbers of eight bytes, big endian.
    StreamId,
}

impl Explainer<'_> {
    /// Explains an RDB, up to the checksum.
    pub(super) fn rdb(&mut self) -> Explained {
        self.crc = crate::crc64::Crc64::new(0);
        let magic: [u8; 9] = self.bytes()?;
        let version = match rdb_version_of(&magic) {
            Ok(version) => version,
            Err(reason) => return damage(String::from_utf8_lossy(&reason).into_owned()),
        };
        let who = if magic.starts_with(b"V") { "Valkey" } else { "Redis" };
        let meaning = format!("an RDB file of {who}, version {version} of the format");
        self.range("magic", meaning, By("rdbSaveRio", "rdb_version_of"))?;

        loop {
            let opcode = self.byte()?;
            if opcode == RDB_OPCODE_EOF {
                self.range("opcode", "EOF: all keys are there".to_string(), TYPE)?;
                break;
            }
            self.opcode(opcode, version)?;
            self.depth = 0;
        }
        if version < 5 {
            return Ok(());
        }
        let expected = self.crc.value();
        let cksum = u64::from_le_bytes(self.bytes()?);
        let meaning = match cksum {
            0 => "no checksum (rdbchecksum no)".to_string(),
            _ => format!("the CRC-64 of all before it: {cksum:016x}"),
        };
        self.range("checksum", meaning, By("rdbSaveRio", "rdb_load_rio_inner"))?;
        if cksum != 0 && cksum != expected {
            self.problem(&format!("the checksum of these bytes is {expected:016x}"))?;
        }
        Ok(())
    }

    /// Explains what follows an opcode, or the key that follows a type.
    fn opcode(&mut self, opcode: u8, version: i32) -> Explained {
        self.depth = 0;
        match opcode {
            RDB_OPCODE_AUX => {
                self.range("opcode", "AUX: a field about the file".to_string(), TYPE)?;
                self.depth = 1;
                self.string("name", Holds::Text(AUX))?;
                self.string("value", Holds::Text(AUX))?;
            }
            RDB_OPCODE_SELECTDB => {
                self.range("opcode", "SELECTDB: the db of the keys that follow".into(), TYPE)?;
                self.depth = 1;
                self.length("db")?;
            }
            RDB_OPCODE_RESIZEDB => {
                self.range("opcode", "RESIZEDB: how large the tables get".to_string(), TYPE)?;
                self.depth = 1;
                self.length("keys")?;
                self.length("keys that expire")?;
            }
            RDB_OPCODE_EXPIRETIME => {
                self.range("opcode", "EXPIRETIME: of the next key, in seconds".into(), TYPE)?;
                self.depth = 1;
                let time = i32::from_le_bytes(self.bytes()?);
                self.range("time", format!("unix time {time} s"), By("", "rdbLoadTime"))?;
            }
            RDB_OPCODE_EXPIRETIME_MS => {
                let meaning = "EXPIRETIME_MS: of the next key, in milliseconds".to_string();
                self.range("opcode", meaning, TYPE)?;
                self.depth = 1;
                self.time("unix time")?;
            }
            RDB_OPCODE_FREQ => {
                self.range("opcode", "FREQ: how often the next key was used".into(), TYPE)?;
                self.depth = 1;
                let freq = self.byte()?;
                self.range("frequency", format!("LFU counter {freq}"), KEY)?;
            }
            RDB_OPCODE_IDLE => {
                self.range("opcode", "IDLE: when the next key was used".to_string(), TYPE)?;
                self.depth = 1;
                self.length("seconds before the save")?;
            }
            RDB_OPCODE_MODULE_AUX => {
                self.range("opcode", "MODULE_AUX: data of a module".to_string(), TYPE)?;
                self.depth = 1;
                self.module_id()?;
                self.length("kind of the number that follows")?;
                self.length("when it is loaded: 1 before the keys, 2 behind them")?;
                self.module_value()?;
            }
            RDB_OPCODE_SLOT_INFO if version >= 12 => {
                self.range("opcode", "SLOT_INFO: a cluster's slot".to_string(), TYPE)?;
                self.depth = 1;
                self.length("slot")?;
                self.length("keys")?;
                self.length("keys that expire")?;
            }
            RDB_OPCODE_SLOT_IMPORT if RDB_VERSION_VALKEY.contains(&version) => {
                let meaning = "SLOT_IMPORT: slots on their way to this node".to_string();
                self.range("opcode", meaning, TYPE)?;
                self.depth = 1;
                self.string("job", Holds::Text(By("", "rdb_skip_slot_import")))?;
                for _ in 0..self.length("ranges of slots")? {
                    self.length("first slot")?;
                    self.length("last slot")?;
                }
            }
            RDB_OPCODE_FUNCTION2 if version >= 10 => {
                self.range("opcode", "FUNCTION2: a function library".to_string(), TYPE)?;
                self.depth = 1;
                self.string("code", Holds::Text(By("", "rdb_skip_function")))?;
            }
            RDB_OPCODE_FUNCTION_PRE_GA if version >= 10 => {
                let by = By("", "rdb_skip_function");
                let meaning = "FUNCTION: a function library of 7.0-rc1 or -rc2".to_string();
                self.range("opcode", meaning, TYPE)?;
                self.depth = 1;
                self.string("name", Holds::Text(by))?;
                self.string("engine", Holds::Text(by))?;
                if self.length("1 if there is a description")? != 0 {
                    self.string("description", Holds::Text(by))?;
                }
                self.string("code", Holds::Text(by))?;
            }
            RDB_OPCODE_UPDATE if version >= 81 => return damage(UPDATE_IN_RDB),
            type_ if rdbIsObjectType(type_, version) => {
                let name = rdb_type_name(type_, version).unwrap_or("unknown");
                let by = By("rdbSaveObjectType", "rdbLoadObject");
                self.range("type", format!("type {type_}: {name}"), by)?;
                self.depth = 1;
                self.string("key", Holds::Text(KEY))?;
                self.value(type_, version)?;
            }
            _ => return damage(format!("{opcode} is no opcode and no type")),
        }
        Ok(())
    }

    /// Explains the value of a key.
    fn value(&mut self, type_: u8, version: i32) -> Explained {
        let valkey = RDB_VERSION_VALKEY.contains(&version);
        let text = Holds::Text(STRING);
        match type_ {
            RDB_TYPE_STRING => self.string("value", text)?,
            RDB_TYPE_LIST => {
                for _ in 0..self.length("elements")? {
                    self.string("element", text)?;
                }
            }
            RDB_TYPE_SET => {
                for _ in 0..self.length("members")? {
                    self.string("member", text)?;
                }
            }
            RDB_TYPE_ZSET | RDB_TYPE_ZSET_2 => {
                for _ in 0..self.length("members")? {
                    self.string("member", text)?;
                    if type_ == RDB_TYPE_ZSET {
                        self.double_text()?;
                    } else {
                        let score = f64::from_le_bytes(self.bytes()?);
                        let by = By("rdbSaveBinaryDoubleValue", "rdbLoadBinaryDoubleValue");
                        self.range("score", format!("score {score}"), by)?;
                    }
                }
            }
            RDB_TYPE_HASH => {
                for _ in 0..self.length("fields")? {
                    self.string("field", text)?;
                    self.string("value", text)?;
                }
            }
            RDB_TYPE_MODULE => {
                return damage("the first form of a module's value can't be parsed without it");
            }
            RDB_TYPE_MODULE_2 => {
                self.module_id()?;
                self.module_value()?;
            }
            RDB_TYPE_HASH_ZIPMAP => self.string("fields", Holds::Zipmap)?,
            RDB_TYPE_LIST_ZIPLIST => self.string("elements", Holds::Ziplist(Roles::Element))?,
            RDB_TYPE_SET_INTSET => self.string("members", Holds::Intset)?,
            RDB_TYPE_ZSET_ZIPLIST => self.string("members", Holds::Ziplist(Roles::MemberScore))?,
            RDB_TYPE_HASH_ZIPLIST => self.string("fields", Holds::Ziplist(Roles::FieldValue))?,
            RDB_TYPE_LIST_QUICKLIST => {
                for _ in 0..self.length("nodes of the list")? {
                    self.string("node", Holds::Ziplist(Roles::Element))?;
                }
            }
            RDB_TYPE_LIST_QUICKLIST_2 => {
                for _ in 0..self.length("nodes of the list")? {
                    match self.length("node: 1 is an element by itself, 2 a listpack")? {
                        1 => self.string("element", text)?,
                        2 => self.string("node", Holds::Listpack(Roles::Element))?,
                        n => return damage(format!("no kind of node: {n}")),
                    }
                }
            }
            RDB_TYPE_HASH_LISTPACK => self.string("fields", Holds::Listpack(Roles::FieldValue))?,
            RDB_TYPE_ZSET_LISTPACK => {
                self.string("members", Holds::Listpack(Roles::MemberScore))?
            }
            RDB_TYPE_SET_LISTPACK => self.string("members", Holds::Listpack(Roles::Member))?,
            RDB_TYPE_STREAM_LISTPACKS
            | RDB_TYPE_STREAM_LISTPACKS_2
            | RDB_TYPE_STREAM_LISTPACKS_3 => self.stream(type_)?,
            RDB_TYPE_HASH_2 if valkey => {
                for _ in 0..self.length("fields")? {
                    self.string("field", text)?;
                    self.string("value", text)?;
                    self.time("it expires at (-1: never)")?;
                }
            }
            RDB_TYPE_PATH_HASH if valkey => return damage("a path hash is not known here"),
            RDB_TYPE_HASH_METADATA | RDB_TYPE_HASH_METADATA_PRE_GA => {
                if type_ == RDB_TYPE_HASH_METADATA {
                    self.time("the first field to expire, at")?;
                }
                for _ in 0..self.length("fields")? {
                    self.length("when it expires, from the first on, less one (0: never)")?;
                    self.string("field", text)?;
                    self.string("value", text)?;
                }
            }
            RDB_TYPE_HASH_LISTPACK_EX | RDB_TYPE_HASH_LISTPACK_EX_PRE_GA => {
                if type_ == RDB_TYPE_HASH_LISTPACK_EX {
                    self.time("the first field to expire, at")?;
                }
                self.string("fields", Holds::Listpack(Roles::FieldValueTtl))?;
            }
            _ => return damage(format!("type {type_} is not known")),
        }
        Ok(())
    }

    /// Explains a stream.
    fn stream(&mut self, type_: u8) -> Explained {
        for _ in 0..self.number("nodes of the stream", STREAM)? {
            self.string("master id", Holds::StreamId)?;
            self.string("entries", Holds::Listpack(Roles::Stream))?;
        }
        self.number("entries", STREAM)?;
        self.number("last id, milliseconds", STREAM)?;
        self.number("last id, sequence number", STREAM)?;
        if type_ != RDB_TYPE_STREAM_LISTPACKS {
            self.number("first id, milliseconds", STREAM)?;
            self.number("first id, sequence number", STREAM)?;
            self.number("greatest deleted id, milliseconds", STREAM)?;
            self.number("greatest deleted id, sequence number", STREAM)?;
            self.number("entries ever added", STREAM)?;
        }
        for _ in 0..self.number("consumer groups", STREAM)? {
            self.depth = 1;
            self.string("group", Holds::Text(STREAM))?;
            self.depth = 2;
            self.number("last delivered id, milliseconds", STREAM)?;
            self.number("last delivered id, sequence number", STREAM)?;
            if type_ != RDB_TYPE_STREAM_LISTPACKS {
                self.number("entries read", STREAM)?;
            }
            for _ in 0..self.number("pending entries of the group", PEL)? {
                self.stream_id()?;
                self.time("delivered at")?;
                self.number("deliveries", PEL)?;
            }
            for _ in 0..self.number("consumers", CONSUMER)? {
                self.depth = 2;
                self.string("consumer", Holds::Text(CONSUMER))?;
                self.depth = 3;
                self.time("seen at")?;
                if type_ == RDB_TYPE_STREAM_LISTPACKS_3 {
                    self.time("active at")?;
                }
                for _ in 0..self.number("pending entries of the consumer", PEL)? {
                    self.stream_id()?;
                }
            }
        }
        Ok(())
    }

    fn stream_id(&mut self) -> Explained {
        let [ms, seq] = [self.bytes()?, self.bytes()?].map(u64::from_be_bytes);
        self.range("id", format!("id {ms}-{seq}"), PEL)
    }

    /// Explains the id of a module's type.
    fn module_id(&mut self) -> Explained {
        let (id, _, form) = self.length_or_encoding()?;
        let name = moduleTypeNameByID(id);
        let name = String::from_utf8_lossy(&name).into_owned();
        let meaning = format!("module type {name}, version {} ({form})", id & 1023);
        self.range("module", meaning, By("", "moduleTypeNameByID"))
    }

    /// Explains the value of a module, which has an opcode in front of each part.
    fn module_value(&mut self) -> Explained {
        loop {
            let (opcode, _, form) = self.length_or_encoding()?;
            let what = match opcode {
                0 => "the end of the module's value",
                1 => "a signed number follows",
                2 => "a number follows",
                3 => "a float follows",
                4 => "a double follows",
                5 => "a string follows",
                _ => "an unknown opcode of a module",
            };
            self.range("module opcode", format!("{what} ({form})"), MODULE)?;
            match opcode {
                0 => return Ok(()),
                1 => {
                    let (n, _, form) = self.length_or_encoding()?;
                    self.range("number", format!("{} ({form})", n as i64), MODULE)?;
                }
                2 => {
                    let (n, _, form) = self.length_or_encoding()?;
                    self.range("number", format!("{n} ({form})"), MODULE)?;
                }
                3 => {
                    let n = f32::from_le_bytes(self.bytes()?);
                    let by = By("rdbSaveBinaryFloatValue", "rdbLoadBinaryFloatValue");
                    self.range("float", n.to_string(), by)?;
                }
                4 => {
                    let n = f64::from_le_bytes(self.bytes()?);
                    let by = By("rdbSaveBinaryDoubleValue", "rdbLoadBinaryDoubleValue");
                    self.range("double", n.to_string(), by)?;
                }
                5 => self.string("string", Holds::Text(MODULE))?,
                _ => {}
            }
        }
    }

    // -------------------------------------------------------------------------
    // Parts
    // -------------------------------------------------------------------------

    /// Reads a length, or the encoding of the string that stands in its place (`true`), and returns
    /// the name of its form.
    fn length_or_encoding(&mut self) -> Explained<(u64, bool, &'static str)> {
        let first = self.byte()?;
        let low = u64::from(first & 0x3f);
        Ok(match first >> 6 {
            RDB_6BITLEN => (low, false, "in 6 bits"),
            RDB_14BITLEN => (low << 8 | u64::from(self.byte()?), false, "in 14 bits"),
            RDB_ENCVAL => (low, true, "an encoding"),
            _ => match first {
                RDB_32BITLEN => (u32::from_be_bytes(self.bytes()?).into(), false, "in 32 bits"),
                RDB_64BITLEN => (u64::from_be_bytes(self.bytes()?), false, "in 64 bits"),
                _ => return damage(format!("no encoding of a length: {first:02x}")),
            },
        })
    }

    /// Explains a length, and returns it.
    fn length(&mut self, what: &str) -> Explained<u64> {
        let n = self.number(what, LEN)?;
        if n == RDB_LENERR {
            return damage("no structure has so many elements");
        }
        Ok(n)
    }

    /// Explains a number in the form of a length.
    fn number(&mut self, what: &str, by: By) -> Explained<u64> {
        let (n, encoded, form) = self.length_or_encoding()?;
        self.range("length", format!("{what}: {n} ({form})"), by)?;
        if encoded {
            self.problem("a number is expected here, not the encoding of a string")?;
        }
        Ok(n)
    }

    fn time(&mut self, what: &str) -> Explained {
        let ms = i64::from_le_bytes(self.bytes()?);
        self.range("time", format!("{what}: {ms} ms"), TIME)
    }

    /// Explains a score as versions before 8 have it: its text, or one byte for what is no number.
    fn double_text(&mut self) -> Explained {
        let by = By("rdbSaveDoubleValue", "rdbLoadDoubleValue");
        let meaning = match self.byte()? {
            255 => "score -inf".to_string(),
            254 => "score inf".to_string(),
            253 => "score nan".to_string(),
            len => {
                let first = self.text(len.into())?;
                format!("score {} as text, {len} bytes", shown_text(&first, len.into()))
            }
        };
        self.range("score", meaning, by)
    }

    /// Explains a string in any encoding, and what it holds.
    fn string(&mut self, what: &str, holds: Holds) -> Explained {
        let (len, encoded, form) = self.length_or_encoding()?;
        if !encoded {
            self.range("length", format!("{what}: {len} bytes ({form})"), LEN)?;
            if len > self.left() {
                let left = self.left();
                return damage(format!("a length of {len} bytes, and only {left} are left"));
            }
            return match holds {
                // Text is good whatever its bytes are.
                Holds::Text(by) if len > 0 => {
                    self.depth += 1;
                    self.held_text(what, len, by)?;
                    self.depth -= 1;
                    Ok(())
                }
                Holds::Text(_) => Ok(()),
                _ => self.part(len, |e| e.held(what, len, holds)),
            };
        }
        let number = match len {
            0 => i64::from(i8::from_le_bytes(self.bytes()?)),
            1 => i64::from(i16::from_le_bytes(self.bytes()?)),
            2 => i64::from(i32::from_le_bytes(self.bytes()?)),
            3 => {
                self.range("encoding", format!("{what}: compressed by LZF"), LZF)?;
                let compressed = self.length("compressed bytes")?;
                let len = self.length("bytes")?;
                self.depth += 1;
                let explained =
                    self.decompressed(compressed, len, LZF, |e| e.held(what, len, holds));
                self.depth -= 1;
                return explained;
            }
            _ => return damage(format!("no encoding of a string: {len}")),
        };
        let bits = 8 << len;
        self.range("integer", format!("{what} {number} (an integer of {bits} bits)"), INTEGER)?;
        match holds {
            Holds::Text(_) => Ok(()),
            _ => self.problem("a packed value is expected here, not a number"),
        }
    }

    fn held_text(&mut self, what: &str, len: u64, by: By) -> Explained {
        let first = self.text(len)?;
        self.range("text", format!("{what} {}", shown_text(&first, len)), by)
    }

    /// Explains the `len` bytes that a string holds.
    fn held(&mut self, what: &str, len: u64, holds: Holds) -> Explained {
        match holds {
            Holds::Text(by) => self.held_text(what, len, by),
            Holds::Ziplist(roles) => self.ziplist(len, roles),
            Holds::Listpack(roles) => self.listpack(len, roles),
            Holds::Intset => self.intset(len),
            Holds::Zipmap => self.zipmap(),
            Holds::StreamId => {
                let [ms, seq] = [self.bytes()?, self.bytes()?].map(u64::from_be_bytes);
                self.range("id", format!("{what} {ms}-{seq}"), STREAM)
            }
        }
    }
}
