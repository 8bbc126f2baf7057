use super::*;
use crate::keyspace::*;
use crate::testing::Rng;
use std::collections::BTreeMap;

fn new_server() -> Server {
    Server {
        db: (0..4).map(|id| RedisDb { id, ..Default::default() }).collect(),
        dbnum: 4,
        hz: 10,
        rdb_checksum: true,
        rdb_compression: true,
        maxmemory_policy: MAXMEMORY_NO_EVICTION,
        replid: vec![b'a'; CONFIG_RUN_ID_SIZE],
        list_max_ziplist_size: -2,
        hash_max_ziplist_entries: 512,
        hash_max_ziplist_value: 64,
        zset_max_ziplist_entries: 128,
        zset_max_ziplist_value: 64,
        set_max_intset_entries: 512,
        sanitize_dump_payload: SANITIZE_DUMP_YES,
        ..Default::default()
    }
}

fn load(server: &mut Server, file: &[u8], flags: i32) -> io::Result<rdbSaveInfo> {
    let mut rsi = rdbSaveInfo::default();
    let mut rdb = rioInitWithBuffer(file.to_vec());
    rdbLoadRio(server, &mut rdb, flags, Some(&mut rsi)).map(|()| rsi)
}

fn save(server: &mut Server) -> Vec<u8> {
    let mut rdb = rioInitWithBuffer(Vec::new());
    rdbSaveRio(server, &mut rdb, RDBFLAGS_NONE, None).unwrap();
    rio_into_buffer(rdb)
}

/// A file of this version with these contents, with its end and checksum.
fn file(version: i32, body: &[&[u8]]) -> Vec<u8> {
    let mut file = if version < 80 {
        bformat!("REDIS{:04}", version)
    } else {
        bformat!("VALKEY{:03}", version)
    };
    file.extend(body.concat());
    file.push(RDB_OPCODE_EOF);
    if version >= 5 {
        let crc = crate::crc64::crc64(0, &file);
        file.extend(crc.to_le_bytes());
    }
    file
}

/// A string as it is, anything else by its digest.
fn text(v: ValueRef<'_>) -> Vec<u8> {
    crate::object::getDecodedObject(v).unwrap_or_else(|| {
        let mut digest = [0; 20];
        crate::debug::xorObjectDigest(&mut digest, v, None);
        digest.to_vec()
    })
}

type Model = BTreeMap<(usize, Vec<u8>), (Vec<u8>, Option<i64>)>;

fn contents(server: &Server) -> Model {
    let entries = |db: &RedisDb| {
        let id = db.id;
        db.dict
            .iter()
            .map(move |e| ((id, e.key().to_vec()), (text(e.value()), e.expire())))
            .collect::<Vec<_>>()
    };
    server.db.iter().flat_map(entries).collect()
}

fn get(server: &Server, db: usize, key: &[u8]) -> Option<Vec<u8>> {
    let o = server.db[db].dict.find(key)?;
    Some(text(server.db[db].get(o)))
}

#[test]
fn lengths() {
    for (len, bytes) in [
        (0, &b"\x00"[..]),
        (1, b"\x01"),
        (63, b"\x3f"),
        (64, b"\x40\x40"),
        (700, b"\x42\xbc"),
        (16383, b"\x7f\xff"),
        (16384, b"\x80\x00\x00\x40\x00"),
        (u64::from(u32::MAX), b"\x80\xff\xff\xff\xff"),
        (1 << 32, b"\x81\x00\x00\x00\x01\x00\x00\x00\x00"),
        (u64::MAX - 1, b"\x81\xff\xff\xff\xff\xff\xff\xff\xfe"),
    ] {
        let mut rdb = rioInitWithBuffer(Vec::new());
        rdbSaveLen(&mut rdb, len).unwrap();
        let written = rio_into_buffer(rdb);
        assert_eq!(written, bytes, "{len}");
        let mut rdb = rioInitWithBuffer(written);
        assert_eq!(rdbLoadLenByRef(&mut new_server(), &mut rdb), Some((len, false)));
    }
    let mut server = new_server();
    let mut read = |bytes: &[u8]| {
        let mut rdb = rioInitWithBuffer(bytes.to_vec());
        rdbLoadLenByRef(&mut server, &mut rdb)
    };
    assert_eq!(read(b"\xc3"), Some((3, true)));
    assert_eq!(read(b"\x82\0\0\0\0\0\0\0\0"), None);
    for short in [&b""[..], b"\x40", b"\x80\0\0\0", b"\x81\0\0\0\0\0\0\0"] {
        assert_eq!(read(short), None);
    }
    let mut rdb = rioInitWithBuffer(b"\x81\xff\xff\xff\xff\xff\xff\xff\xff".to_vec());
    assert_eq!(rdbLoadLen(&mut new_server(), &mut rdb), None);
}

#[test]
fn strings() {
    let mut server = new_server();
    let long = [b"0123456789".repeat(7), vec![0xff; 300]].concat();
    for (s, bytes) in [
        (&b""[..], &b"\x00"[..]),
        (b"a", b"\x01a"),
        (b"0", b"\xc0\x00"),
        (b"-128", b"\xc0\x80"),
        (b"127", b"\xc0\x7f"),
        (b"128", b"\xc1\x80\x00"),
        (b"-32768", b"\xc1\x00\x80"),
        (b"32768", b"\xc2\x00\x80\x00\x00"),
        (b"-2147483648", b"\xc2\x00\x00\x00\x80"),
        (b"2147483647", b"\xc2\xff\xff\xff\x7f"),
        (b"2147483648", b"\x0a2147483648"),
        (b"007", b"\x03007"),
        (b"-0", b"\x02-0"),
        (b"+1", b"\x02+1"),
        (b" 1", b"\x02 1"),
        (b"1\0", b"\x021\0"),
        (b"aaaaaaaaaaaaaaaaaaaa", b"\x14aaaaaaaaaaaaaaaaaaaa"),
        (b"aaaaaaaaaaaaaaaaaaaaa", b"\xc3\x06\x15\x01aa\xe0\x0a\x00"),
        (b"abcdefghijklmnopqrstuvwxyz", b"\x1aabcdefghijklmnopqrstuvwxyz"),
    ] {
        let mut rdb = rioInitWithBuffer(Vec::new());
        rdbSaveRawString(&server, &mut rdb, s).unwrap();
        let written = rio_into_buffer(rdb);
        assert_eq!(written, bytes, "{}", B(s));
        let mut rdb = rioInitWithBuffer(written);
        assert_eq!(rdbLoadStringObject(&mut server, &mut rdb).unwrap(), s);
        assert_eq!(rdbSavedObjectLen(&server, ValueRef::Str(s)), bytes.len());
    }
    for compression in [false, true] {
        server.rdb_compression = compression;
        let mut rdb = rioInitWithBuffer(Vec::new());
        rdbSaveRawString(&server, &mut rdb, &long).unwrap();
        let written = rio_into_buffer(rdb);
        assert_eq!(written.len() < long.len(), compression);
        let mut rdb = rioInitWithBuffer(written);
        assert_eq!(rdbLoadStringObject(&mut server, &mut rdb).unwrap(), long);
    }
    for n in [0, -1, 127, 128, -129, 32768, 1 << 31, i64::MIN, i64::MAX] {
        let mut rdb = rioInitWithBuffer(Vec::new());
        rdbSaveLongLongAsStringObject(&mut rdb, n).unwrap();
        let mut rdb = rioInitWithBuffer(rio_into_buffer(rdb));
        match rdbLoadEncodedStringObject(&mut server, &mut rdb) {
            Some(Value::Int(loaded)) => assert_eq!(loaded, n),
            _ => panic!("{n} comes back as a number"),
        }
    }
}

#[test]
fn damaged_strings() {
    let mut server = new_server();
    for bytes in [
        // Longer than what is there, up to lengths that nobody has memory for.
        &b"\x05abcd"[..],
        b"\x80\x7f\xff\xff\xffabcd",
        b"\x81\x00\x00\x00\xff\x00\x00\x00\x00abcd",
        b"\x81\x7f\xff\xff\xff\xff\xff\xff\xffabcd",
        b"\x81\xff\xff\xff\xff\xff\xff\xff\xffabcd",
        // Forms that there are not.
        b"\xc4\x00",
        b"\xff",
        // Compressed: no bytes, wrong length either way, a length beyond all reason, a bad
        // reference.
        b"\xc3\x06\x15\x01aa",
        b"\xc3\x06\x14\x01aa\xe0\x0a\x00",
        b"\xc3\x06\x16\x01aa\xe0\x0a\x00",
        b"\xc3\x06\x81\x7f\xff\xff\xff\xff\xff\xff\xff\x01aa\xe0\x0a\x00",
        b"\xc3\x81\x7f\xff\xff\xff\xff\xff\xff\xff\x15\x01aa\xe0\x0a\x00",
        b"\xc3\x03\x15\xe0\x09\x00",
    ] {
        let mut rdb = rioInitWithBuffer(bytes.to_vec());
        assert!(rdbGenericLoadStringObject(&mut server, &mut rdb).is_none(), "{bytes:x?}");
    }
}

#[test]
fn doubles() {
    let mut server = new_server();
    for (val, bytes) in [
        (0.0, &b"\x010"[..]),
        (-3.0, b"\x02-3"),
        (1e17, b"\x051e+17"),
        (0.1, b"\x130.10000000000000001"),
        (f64::INFINITY, b"\xfe"),
        (f64::NEG_INFINITY, b"\xff"),
    ] {
        let mut rdb = rioInitWithBuffer(Vec::new());
        rdbSaveDoubleValue(&mut rdb, val).unwrap();
        rdbSaveBinaryDoubleValue(&mut rdb, val).unwrap();
        rdbSaveBinaryFloatValue(&mut rdb, val as f32).unwrap();
        let written = rio_into_buffer(rdb);
        assert_eq!(written[..written.len() - 12], *bytes);
        let mut rdb = rioInitWithBuffer(written);
        assert_eq!(rdbLoadDoubleValue(&mut server, &mut rdb), Some(val));
        assert_eq!(rdbLoadBinaryDoubleValue(&mut server, &mut rdb), Some(val));
        assert_eq!(rdbLoadBinaryFloatValue(&mut server, &mut rdb), Some(val as f32));
        assert_eq!(rdbLoadBinaryDoubleValue(&mut server, &mut rdb), None);
    }
    let mut rdb = rioInitWithBuffer(b"\xfd\x03abc".to_vec());
    assert!(rdbLoadDoubleValue(&mut server, &mut rdb).unwrap().is_nan());
    assert_eq!(rdbLoadDoubleValue(&mut server, &mut rdb), None);
}

/// The bytes from the first db on, as the C writes them.
#[test]
fn a_file_is_what_the_c_writes() {
    let mut server = new_server();
    server.db[0].dict.add(b"k", &b"v"[..]);
    let o = server.db[1].dict.add(b"12", 1_000_000i64);
    server.db[1].dict.set_expire(o, 0x0102_0304_0506);
    server.db[3].dict.add(b"zero", &b""[..]);
    let saved = save(&mut server);

    assert!(saved.starts_with(b"REDIS0009\xfa\x09redis-ver\x066.2.16\xfa\x0aredis-bits\xc0\x40"));
    let at = saved.windows(2).position(|w| w == b"\xfe\x00").unwrap();
    assert!(saved[..at].ends_with(b"\xfa\x0caof-preamble\xc0\x00"));
    let expected = b"\xfe\x00\xfb\x01\x00\x00\x01k\x01v\
            \xfe\x01\xfb\x01\x01\xfc\x06\x05\x04\x03\x02\x01\x00\x00\x00\xc0\x0c\xc2\x40\x42\x0f\x00\
            \xfe\x03\xfb\x01\x00\x00\x04zero\x00\xff";
    let (body, crc) = saved.split_at(saved.len() - 8);
    assert_eq!(body[at..], expected[..]);
    assert_eq!(crc, crate::crc64::crc64(0, body).to_le_bytes());

    let mut back = new_server();
    back.masterhost = Some(b"the key of db 1 has expired long ago, but replicas keep it".to_vec());
    load(&mut back, &saved, RDBFLAGS_NONE).unwrap();
    assert_eq!(contents(&back), contents(&server));
    assert_eq!(back.db[1].dict.expires_len(), 1);

    server.rdb_checksum = false;
    assert!(save(&mut server).ends_with(b"\xff\0\0\0\0\0\0\0\0"));
}

#[test]
fn replication_state_travels() {
    let mut server = new_server();
    server.master_repl_offset = 1 << 40;
    let rsi = rdbSaveInfo { repl_stream_db: 3, ..Default::default() };
    let mut rdb = rioInitWithBuffer(Vec::new());
    rdbSaveRio(&mut server, &mut rdb, RDBFLAGS_NONE, Some(&rsi)).unwrap();
    let back = load(&mut new_server(), &rio_into_buffer(rdb), RDBFLAGS_NONE).unwrap();
    assert_eq!((back.repl_stream_db, back.repl_offset), (3, 1 << 40));
    assert!(back.repl_id_is_set && back.repl_id == server.replid);
    assert!(!load(&mut new_server(), &save(&mut server), 0).unwrap().repl_id_is_set);
}

#[test]
fn versions() {
    let body: [&[u8]; 2] = [b"\xfe\x01", b"\x00\x01k\x01v"];
    for version in 0..=14 {
        let mut server = new_server();
        let loaded = load(&mut server, &file(version, &body), RDBFLAGS_NONE);
        if (1..=12).contains(&version) {
            assert!(loaded.is_ok(), "{version}");
            assert_eq!(get(&server, 1, b"k").unwrap(), b"v");
        } else {
            assert_eq!(loaded.unwrap_err().raw_os_error(), Some(libc::EINVAL), "{version}");
        }
    }
    // Valkey has versions of its own, with its own name.
    for (magic, is_read) in [
        ("VALKEY080", true),
        ("VALKEY081", true),
        ("VALKEY079", false),
        ("VALKEY082", false),
        ("VALKEY011", false),
        ("VALKEYxyz", false),
        ("REDIS0080", false),
        ("REDIS0081", false),
    ] {
        let mut server = new_server();
        let file = [magic.as_bytes(), &body.concat(), b"\xff\0\0\0\0\0\0\0\0"].concat();
        assert_eq!(load(&mut server, &file, RDBFLAGS_NONE).is_ok(), is_read, "{magic}");
        assert_eq!(get(&server, 1, b"k").is_some(), is_read, "{magic}");
    }
    for magic in ["REDIS00xx", "RADIS0009", "VALKEY"] {
        assert!(load(&mut new_server(), &[magic.as_bytes(), b"\xff"].concat(), 0).is_err());
    }

    // What newer servers add is passed over, but not in files of before.
    let newer: [&[u8]; 6] = [
        b"\xf4\x01\x02\x00",
        b"\xf5\x21#!lua name=mylib\nredis.register()",
        b"\xf6\x03lib\x03LUA\x01\x04desc\x04code",
        b"\xf6\x03lib\x03LUA\x00\x04code",
        b"\xfa\x08aof-base\xc0\x00",
        b"\x00\x01k\x01v",
    ];
    let mut server = new_server();
    load(&mut server, &file(12, &newer), 0).unwrap();
    assert_eq!(get(&server, 0, b"k").unwrap(), b"v");
    for i in 0..4 {
        assert!(load(&mut new_server(), &file(9, &newer[i..]), 0).is_err());
    }
    let import = b"\xf3\x28aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd\x02\x00\x05\x07\x41\x00";
    let of_valkey = [&[&import[..]], &newer[..]].concat();
    let mut server = new_server();
    load(&mut server, &file(80, &of_valkey), 0).unwrap();
    assert_eq!(get(&server, 0, b"k").unwrap(), b"v");
    assert!(skim(&file(80, &of_valkey)).is_ok() && skim(&file(12, &newer)).is_ok());
    assert!(load(&mut new_server(), &file(12, &of_valkey), 0).is_err());
    assert!(skim(&file(12, &of_valkey)).is_err());

    // Types that we don't have end it, and those that are newer than the file.
    for type_ in (6..=8).chain(22..=23).chain(26..=60) {
        let value = [type_, 1, b'k', 1, b'v', 0, 0];
        assert!(load(&mut new_server(), &file(12, &[&value]), 0).is_err(), "{type_}");
        assert!(skim(&file(12, &[&value])).is_err(), "{type_}");
    }
    for type_ in (6..=8).chain(23..=60) {
        let value = [type_, 1, b'k', 1, b'v', 0, 0];
        assert!(load(&mut new_server(), &file(80, &[&value]), 0).is_err(), "{type_}");
        assert!(skim(&file(80, &[&value])).is_err(), "{type_}");
    }
}

/// What version 81 has and 80 has not: a type without a form of 6.2, and commands between the values.
/// Both are named, and found before anything is loaded. The rest of the version is that of 80.
#[test]
fn version_81() {
    let plain = b"\x00\x01k\x01v";
    let mut server = new_server();
    load(&mut server, &file(81, &[plain, b"\xf4\x01\x02\x00"]), 0).unwrap();
    assert_eq!(get(&server, 0, b"k").unwrap(), b"v");
    let update = b"\xf2*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nw\r\n";
    for (bytes, says) in [
        (&b"\x17\x04path\x01\x01v"[..], "key 'path' has a value of type 23 (path-hash), from RDB"),
        (update, "commands that were executed while it was made"),
    ] {
        let error = load(&mut new_server(), &file(81, &[plain, bytes]), 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTSUP), "{says}");
        let said = skim(&file(81, &[plain, bytes])).unwrap_err();
        assert!(said.contains(says), "{said}");
        // Before, they were nothing.
        let said = skim(&file(80, &[plain, bytes])).unwrap_err();
        assert!(!said.contains(says), "{said}");
    }
    let mut payload = rioInitWithBuffer(b"\x01\x01v".to_vec());
    let value = rdbLoadObject(&mut new_server(), RDB_TYPE_PATH_HASH, &mut payload, b"k", 81);
    assert_eq!(value.err(), Some(RdbLoadErr::NO_6_2_FORM));
}

/// What `rdb_is_loadable` says of a file of a newer version.
fn skim(file: &[u8]) -> Result<(), String> {
    let rdbver = rdb_version_of(file.first_chunk().unwrap()).unwrap();
    let mut rdb = rioInitWithBuffer(file.to_vec());
    rdb_skim(&mut new_server(), &mut rdb, rdbver)
        .map_err(|reason| String::from_utf8_lossy(&reason).into_owned())
}

/// A hash whose fields can have a time to live is loaded if none of them has one. Else the error
/// names it, and is found before anything is loaded.
#[test]
fn hashes_with_field_times() {
    let none = &(-1i64).to_le_bytes()[..];
    let some = &1_900_000_000_000i64.to_le_bytes()[..];
    for (version, type_, without, with) in [
        (
            80,
            RDB_TYPE_HASH_2,
            [b"\x02\x01f\x01v", none, b"\x00\xc0\x0c", none].concat(),
            [b"\x02\x01f\x01v", none, b"\x00\xc0\x0c", some].concat(),
        ),
        (
            12,
            RDB_TYPE_HASH_METADATA,
            b"\0\0\0\0\0\0\0\0\x02\x00\x01f\x01v\x00\x00\xc0\x0c".to_vec(),
            b"\0\0\0\0\0\0\0\0\x02\x00\x01f\x01v\x01\x00\xc0\x0c".to_vec(),
        ),
        (
            12,
            RDB_TYPE_HASH_LISTPACK_EX,
            [vec![0; 8], listpack(&["f", "v", "0", "", "12", "0"])].concat(),
            [vec![0; 8], listpack(&["f", "v", "0", "", "12", "190000"])].concat(),
        ),
    ] {
        let key = [b"\x00\x05first\x01v", &[type_, 4][..], b"hash"].concat();
        let rdb = file(version, &[&key, &without]);
        let mut server = new_server();
        load(&mut server, &rdb, RDBFLAGS_REPLICATION).unwrap();
        assert_eq!(server.repl_stream_version, version);
        let dict = &server.db[0].dict;
        let ValueRef::Aggregate(AggregateRef::Hash(hash)) = dict.get(dict.find(b"hash").unwrap())
        else {
            panic!("a hash")
        };
        assert_eq!(hashTypeLength(hash), 2);
        assert_eq!(skim(&rdb), Ok(()));

        let rdb = file(version, &[&key, &with]);
        let error = load(&mut new_server(), &rdb, 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTSUP), "{type_}");
        let said = skim(&rdb).unwrap_err();
        let expected = format!("key 'hash' has a value of type {type_} (");
        assert!(said.contains(&expected) && said.contains("before offset"), "{said}");
        // In a payload of DUMP.
        let mut payload = rioInitWithBuffer(with);
        let value = rdbLoadObject(&mut new_server(), type_, &mut payload, b"k", version);
        assert_eq!(value.err(), Some(RdbLoadErr::NO_6_2_FORM), "{type_}");
    }
}

/// The version of the stream is in the file of a replica of a newer master, and of nobody else.
#[test]
fn version_of_the_stream() {
    let saved = |masterhost: Option<Vec<u8>>, version| {
        let mut server = new_server();
        (server.masterhost, server.repl_stream_version) = (masterhost, version);
        let rsi = rdbSaveInfo { repl_stream_db: 3, ..Default::default() };
        let mut rdb = rioInitWithBuffer(Vec::new());
        rdbSaveRio(&mut server, &mut rdb, RDBFLAGS_NONE, Some(&rsi)).unwrap();
        rio_into_buffer(rdb)
    };
    let has_it = |file: &[u8]| memchr::memmem::find(file, b"repl-stream-version").is_some();
    let master = Some(b"host".to_vec());
    let file = saved(master.clone(), 80);
    for flags in [RDBFLAGS_NONE, RDBFLAGS_REPLICATION] {
        let mut server = new_server();
        load(&mut server, &file, flags).unwrap();
        assert_eq!(server.repl_stream_version, 80);
    }
    assert!(has_it(&file) && !has_it(&saved(master, 9)) && !has_it(&saved(None, 80)));
}

#[test]
fn opcodes() {
    let now = mstime();
    let with_time = |at: i64, key: &[u8]| {
        [b"\xfc", &at.to_le_bytes()[..], b"\x00", &[key.len() as u8], key, b"\x01v"].concat()
    };
    let body: [&[u8]; 9] = [
        b"\xfa\x03foo\x03bar\xfa\x04%foo\x03bar\xfa\x03lua\x08return 1",
        b"\xfb\x0a\x81\x7f\xff\xff\xff\xff\xff\xff\xff",
        &with_time(now - 10_000, b"old"),
        &with_time(now + 1_000_000, b"new"),
        // 1 second after 1970, and in 2033.
        b"\xfd\x01\x00\x00\x00\x00\x04old2\x01v",
        b"\xfd\x00\x94\x35\x77\x00\x04new2\x01v",
        b"\xf9\xc8\x00\x04freq\x01v",
        b"\xf8\x0a\x00\x04idle\x01v",
        b"\x00\x05plain\x01v",
    ];
    let whole = file;
    let file = whole(9, &body);
    for (replica, flags, keys) in [(false, 0, 5), (true, 0, 7), (false, RDBFLAGS_AOF_PREAMBLE, 7)] {
        let mut server = new_server();
        server.masterhost = replica.then(|| b"master".to_vec());
        server.lruclock = 1000;
        load(&mut server, &file, flags).unwrap();
        let dict = &server.db[0].dict;
        assert_eq!((dict.len(), dict.expires_len()), (keys, keys - 3));
        let find = |key: &[u8]| dict.find(key).unwrap();
        assert_eq!(dict.expire(find(b"new")), Some(now + 1_000_000));
        assert_eq!(dict.expire(find(b"new2")), Some(2_000_000_000_000));
        assert_eq!(dict.lru(find(b"idle")), 990);
        assert_eq!(dict.lru(find(b"freq")), 1000);
        assert_eq!(dict.lru(find(b"plain")), 1000);
    }
    let mut server = new_server();
    server.maxmemory_policy = MAXMEMORY_ALLKEYS_LFU;
    load(&mut server, &file, 0).unwrap();
    let dict = &server.db[0].dict;
    assert_eq!(dict.lru(dict.find(b"freq").unwrap()) & 255, 200);
    assert_eq!(dict.lru(dict.find(b"plain").unwrap()) & 255, 5);

    // And they are written, as far as the policy makes use of them.
    for (policy, bytes) in [
        (MAXMEMORY_ALLKEYS_LRU, &b"\xfb\x01\x00\xf8\x05\x00\x01k\x01v"[..]),
        (MAXMEMORY_VOLATILE_LFU, b"\xfb\x01\x00\xf9\x07\x00\x01k\x01v"),
        (MAXMEMORY_VOLATILE_TTL, b"\xfb\x01\x00\x00\x01k\x01v"),
    ] {
        let mut server = new_server();
        server.maxmemory_policy = policy;
        server.lruclock = 12;
        server.db[0].dict.add(b"k", &b"v"[..]);
        let o = server.db[0].dict.find(b"k").unwrap();
        server.db[0].dict.set_lru(o, 7);
        let saved = save(&mut server);
        assert!(saved.windows(bytes.len()).any(|w| w == bytes), "{policy:x}");
    }

    for (body, what) in [
        (&b"\xfe\x04"[..], "no such db"),
        (b"\xf7\x81\x00\x00\x00\x00\x00\x00\x04\x00\x02\x02\x00", "data of a module"),
        (b"\xf7\x01\x01\x02\x00", "no number after the module"),
        (b"\x07\x01k\x01\x00", "a module's value"),
    ] {
        assert!(load(&mut new_server(), &whole(9, &[body]), 0).is_err(), "{what}");
    }
    assert_eq!(&moduleTypeNameByID(0x0000_0000_0000_0400), b"AAAAAAAAB");
}

#[test]
fn the_same_key_twice() {
    let body: [&[u8]; 2] = [b"\x00\x01k\x01v", b"\x00\x01k\x01w"];
    assert!(load(&mut new_server(), &file(9, &body), 0).is_err());
    let mut server = new_server();
    load(&mut server, &file(9, &body), RDBFLAGS_ALLOW_DUP).unwrap();
    assert_eq!(get(&server, 0, b"k").unwrap(), b"w");
    assert!(load(&mut server, &file(9, &body[..1]), 0).is_err());
    load(&mut server, &file(9, &body[..1]), RDBFLAGS_ALLOW_DUP).unwrap();
    assert_eq!(contents(&server).len(), 1);
    assert_eq!(get(&server, 0, b"k").unwrap(), b"v");
}

/// A small file with something of everything.
fn sample() -> Vec<u8> {
    let body: [&[u8]; 10] = [
            b"\xfa\x09redis-ver\x066.2.16\xfa\x05ctime\xc2\x00\x00\x00\x60",
            b"\xfa\x08used-mem\xc2\x00\x00\x10\x00\xfa\x07repl-id\x01a",
            b"\xfe\x00\xfb\x04\x01",
            b"\x00\x05first\x05value",
            b"\xfc\x00\x00\x00\x00\x00\x10\x00\x00\x00\xc1\x00\x10\xc2\x00\x00\x01\x00",
            b"\x00\x04long\xc3\x06\x15\x01aa\xe0\x0a\x00",
            b"\xfe\x02\xf9\x10\x00\x40\x4c0123456789012345678901234567890123456789012345678901234567890123456789012345\x01v",
            b"\xf8\x40\x80\x00\x80\x00\x00\x00\x03abc\x00",
            b"\xfd\x00\x00\x00\x7f\x00\x02xy\xc0\x05",
            b"\xf5\x05#!lua",
        ];
    file(12, &body)
}

#[test]
fn every_prefix_is_an_error() {
    let file = sample();
    load(&mut new_server(), &file, 0).unwrap();
    for len in 0..file.len() {
        let mut server = new_server();
        assert!(load(&mut server, &file[..len], 0).is_err(), "{len} of {}", file.len());
    }
}

#[test]
fn every_flip_is_an_error_or_at_least_no_panic() {
    let file = sample();
    for at in 0..file.len() {
        for flip in [1, 2, 4, 8, 16, 32, 64, 128, 0x3f, 0xc0, 0xff] {
            let mut damaged = file.clone();
            damaged[at] ^= flip;
            let loaded = load(&mut new_server(), &damaged, 0);
            // The last digits of the version tell whether there is a checksum at all.
            if !(5..9).contains(&at) {
                assert!(loaded.is_err(), "byte {at} ^ {flip}");
            }
            let mut careless = new_server();
            careless.skip_checksum_validation = true;
            let _ = load(&mut careless, &damaged, RDBFLAGS_ALLOW_DUP);
        }
    }
}

/// A server with a value of each type and encoding.
fn everything() -> Server {
    let mut server = new_server();
    let dict = &mut server.db[0].dict;
    dict.add(b"string", &b"value"[..]);
    dict.add(b"number", 12i64);

    let mut ql = quicklistNew(3, 1);
    for i in 0..30 {
        let len = if i == 14 { 300 } else { i % 3 };
        quicklistPushTail(&mut ql, &[&ll2string(i)[..], &b"x".repeat(len as usize)].concat());
    }
    assert!(ql.nodes().any(quicklistNodeIsCompressed));
    dict.add(b"list", ql);

    let set = |members: [&[u8]; 3]| {
        let mut builder = SetBuilder::new(&new_server(), 3, 3);
        assert!(members.iter().all(|ele| builder.add(ele)));
        builder.finish().unwrap()
    };
    dict.add(b"intset", set([b"1", b"-5", b"70000"]));
    let mixed = set([b"1", b"two", b"3"]);
    assert!(matches!(mixed, Set::Strings(_)));
    dict.add(b"set", mixed);

    let sorted = [(f64::NEG_INFINITY, "a"), (1.5, "b"), (1.5, "c"), (3.0, "7")];
    let mut zs = zset::new();
    sorted.iter().for_each(|(score, ele)| _ = zs.insert(*score, ele.as_bytes()));
    let mut small = Zset::Skiplist(Box::new(zs));
    dict.add(b"zset", small.as_ref().dup());
    zsetConvert(&mut small, OBJ_ENCODING_ZIPLIST);
    dict.add(b"small zset", small);

    let mut zl = ziplistNew();
    for s in [&b"field"[..], b"value", b"n", b"-70", b"", b"0123456789012345678901234567890"] {
        ziplistPush(&mut zl, s, ZIPLIST_TAIL);
    }
    let mut large = Hash::Ziplist(zl.clone());
    hashTypeConvert(&mut large);
    dict.add(b"hash", large);
    dict.add(b"small hash", Hash::Ziplist(zl));

    let mut s = streamNew();
    let limits = NodeLimits { max_bytes: 4096, max_entries: 3 };
    for seq in 1..9 {
        let item = [&b"field"[..], b"value", b"number", b"5"];
        let id = streamID { ms: 10, seq };
        let numfields = if seq == 3 { 1 } else { 2 };
        assert!(streamAppendItem(&mut s, limits, numfields, |i| item[i], Some(&id), 0).is_ok());
    }
    streamDeleteItem(&mut s, &streamID { ms: 10, seq: 2 });
    streamCreateCG(&mut s, b"nobody", &streamID { ms: 1, seq: 0 }).unwrap();
    let cg = streamCreateCG(&mut s, b"group", &streamID { ms: 10, seq: 4 }).unwrap();
    for (name, seqs) in [(b"one", 1..3), (b"two", 3..4), (b"nil", 0..0)] {
        let consumer = cg.consumers.add(name, 1_700_000_000_000).unwrap();
        for seq in seqs {
            let id = streamEncodeID(&streamID { ms: 10, seq });
            let nack = streamNACK { delivery_time: 1, delivery_count: seq, consumer };
            raxInsert(&mut cg.pel, &id, nack);
            raxInsert(&mut cg.consumers[consumer].pel, &id, ());
        }
    }
    dict.add(b"stream", s);
    let o = dict.find(b"stream").unwrap();
    dict.set_expire(o, 1 << 42);
    server
}

#[test]
fn all_types_there_and_back() {
    let mut server = everything();
    for chunk in [false, true] {
        let saved = save(&mut server);
        let mut back = new_server();
        back.sanitize_dump_payload = if chunk { SANITIZE_DUMP_YES } else { SANITIZE_DUMP_NO };
        load(&mut back, &saved, RDBFLAGS_NONE).unwrap();
        assert_eq!(contents(&back), contents(&server));
        for e in server.db[0].dict.iter() {
            let o = back.db[0].dict.find(e.key()).unwrap();
            let dict = &back.db[0].dict;
            // A few members make a table no longer, if they are read one by one.
            let small = [&b"zset"[..], b"hash"].contains(&e.key());
            assert_eq!(dict.encoding(o) == e.encoding(), !small, "{}", B(e.key()));
        }
        // It sanitizes the nodes of the list and of the stream, and four values of one string.
        let nodes = server.db[0].dict.list(server.db[0].dict.find(b"list").unwrap()).len();
        let sanitized = if chunk { nodes as i64 + 3 + 3 } else { 0 };
        assert_eq!(back.stat_dump_payload_sanitizations, sanitized);
    }
}

/// Loads a value of a type as the key `k` of a file of version 12.
fn value(server: &mut Server, type_: u8, bytes: &[u8]) -> bool {
    let body = [&[type_, 1, b'k'], bytes].concat();
    load(server, &file(12, &[&body]), 0).is_ok()
}

/// Bytes as a string in a file.
fn string(bytes: &[u8]) -> Vec<u8> {
    let mut rdb = rioInitWithBuffer(Vec::new());
    rdbSaveLen(&mut rdb, bytes.len() as u64).unwrap();
    [rio_into_buffer(rdb), bytes.to_vec()].concat()
}

fn listpack(elements: &[&str]) -> Vec<u8> {
    let mut lp = lpNew(0);
    elements.iter().for_each(|ele| assert!(lpAppend(&mut lp, ele.as_bytes())));
    string(&lp.into_bytes())
}

fn ziplist(elements: &[&str]) -> Vec<u8> {
    let mut zl = ziplistNew();
    elements.iter().for_each(|ele| ziplistPush(&mut zl, ele.as_bytes(), ZIPLIST_TAIL));
    string(&zl.into_bytes())
}

/// What one value looks like that another, of type `type_`, has to become.
fn assert_becomes(type_: u8, bytes: &[u8], as_type: u8, as_bytes: &[u8], encoding: u8) {
    let (mut server, mut expected) = (new_server(), new_server());
    assert!(value(&mut expected, as_type, as_bytes));
    assert!(value(&mut server, type_, bytes), "type {type_}");
    assert_eq!(contents(&server), contents(&expected), "type {type_}");
    let dict = &server.db[0].dict;
    assert_eq!(dict.encoding(dict.find(b"k").unwrap()), encoding, "type {type_}");
}

#[test]
fn older_and_newer_types_become_ours() {
    let pairs = ["f", "v", "", "12"];
    let hash = ziplist(&pairs);
    let lp = listpack(&pairs);
    assert_becomes(RDB_TYPE_HASH_LISTPACK, &lp, RDB_TYPE_HASH_ZIPLIST, &hash, OBJ_ENCODING_ZIPLIST);
    let zipmap = string(b"\x02\x01f\x01\x00v\x00\x02\x0112?\xff");
    assert_becomes(
        RDB_TYPE_HASH_ZIPMAP,
        &zipmap,
        RDB_TYPE_HASH_ZIPLIST,
        &hash,
        OBJ_ENCODING_ZIPLIST,
    );
    let plain = b"\x02\x01f\x01v\x00\xc0\x0c";
    assert_becomes(RDB_TYPE_HASH, plain, RDB_TYPE_HASH_ZIPLIST, &hash, OBJ_ENCODING_ZIPLIST);
    let metadata = b"\0\0\0\0\0\0\0\0\x02\x00\x01f\x01v\x00\x00\xc0\x0c";
    assert_becomes(
        RDB_TYPE_HASH_METADATA,
        metadata,
        RDB_TYPE_HASH_ZIPLIST,
        &hash,
        OBJ_ENCODING_ZIPLIST,
    );
    let ex = [vec![0; 8], listpack(&["f", "v", "0", "", "12", "0"])].concat();
    assert_becomes(
        RDB_TYPE_HASH_LISTPACK_EX,
        &ex,
        RDB_TYPE_HASH_ZIPLIST,
        &hash,
        OBJ_ENCODING_ZIPLIST,
    );
    let long = "x".repeat(65);
    let lp = listpack(&["f", &long, "g", "1"]);
    assert_becomes(
        RDB_TYPE_HASH_LISTPACK,
        &lp,
        RDB_TYPE_HASH_ZIPLIST,
        &ziplist(&["f", &long, "g", "1"]),
        OBJ_ENCODING_HT,
    );

    let zset = ["a", "-inf", "7", "1", "b", "2.5"];
    assert_becomes(
        RDB_TYPE_ZSET_LISTPACK,
        &listpack(&zset),
        RDB_TYPE_ZSET_ZIPLIST,
        &ziplist(&zset),
        OBJ_ENCODING_ZIPLIST,
    );
    let long = ["a", "0.1", &long, "0.1"];
    assert_becomes(
        RDB_TYPE_ZSET_LISTPACK,
        &listpack(&long),
        RDB_TYPE_ZSET_ZIPLIST,
        &ziplist(&long),
        OBJ_ENCODING_SKIPLIST,
    );
    assert_becomes(
        RDB_TYPE_ZSET,
        b"\x02\x01b\x032.5\x01a\xff",
        RDB_TYPE_ZSET_ZIPLIST,
        &ziplist(&["a", "-inf", "b", "2.5"]),
        OBJ_ENCODING_ZIPLIST,
    );

    let set = b"\x03\x01a\xc0\x07\x01b";
    assert_becomes(
        RDB_TYPE_SET_LISTPACK,
        &listpack(&["a", "b", "7"]),
        RDB_TYPE_SET,
        set,
        OBJ_ENCODING_HT,
    );
    let set = b"\x02\xc0\x08\xc0\x07";
    assert_becomes(
        RDB_TYPE_SET_LISTPACK,
        &listpack(&["7", "8"]),
        RDB_TYPE_SET,
        set,
        OBJ_ENCODING_INTSET,
    );

    let list = b"\x04\x01a\xc0\x07\x01b\x05plain";
    let nodes =
        [&b"\x03\x02"[..], &listpack(&["a", "7"]), b"\x02", &listpack(&["b"]), b"\x01\x05plain"]
            .concat();
    assert_becomes(RDB_TYPE_LIST_QUICKLIST_2, &nodes, RDB_TYPE_LIST, list, OBJ_ENCODING_QUICKLIST);
    assert_becomes(
        RDB_TYPE_LIST_ZIPLIST,
        &ziplist(&["a", "7", "b", "plain"]),
        RDB_TYPE_LIST,
        list,
        OBJ_ENCODING_QUICKLIST,
    );

    // The limits of the configuration count.
    let mut server = new_server();
    (server.hash_max_ziplist_entries, server.zset_max_ziplist_entries) = (1, 1);
    server.set_max_intset_entries = 1;
    for (type_, bytes, encoding) in [
        (RDB_TYPE_HASH_ZIPLIST, hash, OBJ_ENCODING_HT),
        (RDB_TYPE_HASH_LISTPACK, listpack(&pairs), OBJ_ENCODING_HT),
        (RDB_TYPE_HASH_ZIPMAP, zipmap, OBJ_ENCODING_HT),
        (RDB_TYPE_ZSET_ZIPLIST, ziplist(&zset), OBJ_ENCODING_SKIPLIST),
        (RDB_TYPE_ZSET_LISTPACK, listpack(&zset), OBJ_ENCODING_SKIPLIST),
        (RDB_TYPE_SET_INTSET, string(b"\x02\0\0\0\x02\0\0\0\x01\0\x02\0"), OBJ_ENCODING_HT),
        (RDB_TYPE_SET_LISTPACK, listpack(&["7", "8"]), OBJ_ENCODING_HT),
    ] {
        server.db[0].dict.take();
        assert!(value(&mut server, type_, &bytes), "{type_}");
        let dict = &server.db[0].dict;
        assert_eq!(dict.encoding(dict.find(b"k").unwrap()), encoding, "{type_}");
    }
}

/// A stream with one entry and two consumers, who have a message pending each, as every version
/// writes it.
fn stream(type_: u8, length: u8, pel: [u8; 2]) -> Vec<u8> {
    let newer = type_ != RDB_TYPE_STREAM_LISTPACKS;
    let id = |seq: u8| [&[0; 15][..], &[seq]].concat();
    let entry = ["1", "0", "1", "f", "0", "2", "0", "0", "v", "4"];
    let mut v = [&[1][..], &string(&id(1)), &listpack(&entry)].concat();
    v.extend([length, 0, 1]);
    if newer {
        v.extend([0, 1, 0, 0, 1]);
    }
    v.extend(b"\x01\x01g\x00\x02");
    if newer {
        // How many were read is not known.
        v.extend([0x81, 255, 255, 255, 255, 255, 255, 255, 255]);
    }
    v.push(2);
    for seq in [1, 2] {
        v.extend([id(seq), vec![0; 8], vec![1]].concat());
    }
    v.push(2);
    for (name, seq) in [b'a', b'b'].into_iter().zip(pel) {
        v.extend([1, name]);
        v.extend([0; 8]);
        if type_ == RDB_TYPE_STREAM_LISTPACKS_3 {
            v.extend([0; 8]);
        }
        v.push(1);
        v.extend(id(seq));
    }
    v
}

#[test]
fn streams() {
    let ours = RDB_TYPE_STREAM_LISTPACKS;
    for type_ in [ours, RDB_TYPE_STREAM_LISTPACKS_2, RDB_TYPE_STREAM_LISTPACKS_3] {
        let bytes = stream(type_, 1, [1, 2]);
        assert_becomes(type_, &bytes, ours, &stream(ours, 1, [1, 2]), OBJ_ENCODING_STREAM);
        let mut server = new_server();
        assert!(value(&mut server, type_, &bytes));
        let s = server.db[0].dict.stream(server.db[0].dict.find(b"k").unwrap());
        let cg = streamLookupCG(s, b"g").unwrap();
        assert_eq!((cg.consumers.len(), raxSize(&cg.pel), s.length), (2, 2, 1));

        // One message with two consumers (CVE-2026-63639), one without, one that the group does not
        // know.
        for pel in [[1, 1], [2, 2], [1, 3]] {
            assert!(!value(&mut new_server(), type_, &stream(type_, 1, pel)), "{pel:?}");
        }
        // A consumer twice.
        let mut twice = bytes;
        let at = twice.iter().rposition(|&b| b == b'b').unwrap();
        twice[at] = b'a';
        assert!(!value(&mut new_server(), type_, &twice));
        // More entries than there are.
        assert!(!value(&mut new_server(), type_, &stream(type_, 2, [1, 2])));
    }
}

#[test]
fn values_that_cannot_be() {
    let nan = "nan";
    let bad: [(u8, Vec<u8>); 20] = [
        (RDB_TYPE_ZSET_ZIPLIST, ziplist(&["a", nan, "b", "2"])),
        (RDB_TYPE_ZSET_ZIPLIST, ziplist(&["a", "-nan(1)"])),
        (RDB_TYPE_ZSET_ZIPLIST, ziplist(&["a", "1", "b"])),
        (RDB_TYPE_ZSET_LISTPACK, listpack(&["a", nan, "b", "2"])),
        (RDB_TYPE_ZSET_LISTPACK, listpack(&["a", "1", "b"])),
        (RDB_TYPE_ZSET_LISTPACK, listpack(&["a", "2", "b", "1"])),
        (RDB_TYPE_ZSET_LISTPACK, listpack(&["a", "1", "a", "2"])),
        (RDB_TYPE_ZSET, b"\x01\x01a\xfd".to_vec()),
        (RDB_TYPE_ZSET_2, [&b"\x01\x01a"[..], &f64::NAN.to_le_bytes()].concat()),
        (RDB_TYPE_ZSET_2, [&b"\x02\x01a"[..], &[0; 8], b"\x01a", &[0; 8]].concat()),
        (RDB_TYPE_HASH_ZIPLIST, ziplist(&["a", "1", "b"])),
        (RDB_TYPE_HASH_LISTPACK, listpack(&["a", "1", "b"])),
        (RDB_TYPE_HASH_LISTPACK, listpack(&["a", "1", "a", "2"])),
        (RDB_TYPE_HASH, b"\x02\x01a\x01a\x01a\x01b".to_vec()),
        (RDB_TYPE_SET, b"\x02\x01a\x01a".to_vec()),
        (RDB_TYPE_SET, b"\x02\xc0\x01\xc0\x01".to_vec()),
        (RDB_TYPE_SET_LISTPACK, listpack(&["a", "a"])),
        (RDB_TYPE_SET_INTSET, string(b"\x02\0\0\0\x02\0\0\0\x02\0\x01\0")),
        // Redis 7.4 would know what to do with a field that expires.
        (RDB_TYPE_HASH_METADATA, b"\x01\0\0\0\0\0\0\0\x01\x01\x01f\x01v".to_vec()),
        (
            RDB_TYPE_HASH_LISTPACK_EX,
            [&[1, 0, 0, 0, 0, 0, 0, 0][..], &listpack(&["f", "v", "1"])].concat(),
        ),
    ];
    for (type_, bytes) in &bad {
        assert!(!value(&mut new_server(), *type_, bytes), "type {type_}, {bytes:x?}");
    }
    // What only sanitizing finds: a duplicate, a pair that is none, a score that is none, an entry
    // that cannot be read, more entries of a stream than there are.
    let mut unreadable = ziplist(&["a", "1"]);
    unreadable[12] = 0x3f;
    let ours = RDB_TYPE_STREAM_LISTPACKS;
    for (type_, bytes) in [
        (RDB_TYPE_HASH_ZIPLIST, ziplist(&["a", "1", "a", "2"])),
        (RDB_TYPE_ZSET_ZIPLIST, ziplist(&["a", "1", "a", "2"])),
        (RDB_TYPE_HASH, b"\x02\x01a\x01a\x01a\x01b".to_vec()),
        (RDB_TYPE_HASH_ZIPLIST, ziplist(&["a", "1", "b"])),
        (RDB_TYPE_ZSET_ZIPLIST, ziplist(&["a", "nan"])),
        (RDB_TYPE_HASH_ZIPLIST, unreadable.clone()),
        (RDB_TYPE_LIST_QUICKLIST, [&[1][..], &unreadable].concat()),
        (ours, stream(ours, 2, [1, 2])),
    ] {
        for (sanitize, ok) in [(SANITIZE_DUMP_NO, true), (SANITIZE_DUMP_YES, false)] {
            let mut server = new_server();
            server.sanitize_dump_payload = sanitize;
            assert_eq!(value(&mut server, type_, &bytes), ok, "type {type_}");
        }
    }
    // Keys without elements are skipped.
    for (type_, bytes) in [
        (RDB_TYPE_LIST, vec![0]),
        (RDB_TYPE_SET, vec![0]),
        (RDB_TYPE_ZSET, vec![0]),
        (RDB_TYPE_ZSET_2, vec![0]),
        (RDB_TYPE_HASH, vec![0]),
        (RDB_TYPE_LIST_QUICKLIST, vec![0]),
        (RDB_TYPE_LIST_QUICKLIST, [&[1][..], &ziplist(&[])].concat()),
        (RDB_TYPE_LIST_QUICKLIST_2, [&[1, 2][..], &listpack(&[])].concat()),
        (RDB_TYPE_LIST_ZIPLIST, ziplist(&[])),
        (RDB_TYPE_HASH_ZIPLIST, ziplist(&[])),
        (RDB_TYPE_ZSET_ZIPLIST, ziplist(&[])),
        (RDB_TYPE_HASH_LISTPACK, listpack(&[])),
        (RDB_TYPE_ZSET_LISTPACK, listpack(&[])),
        (RDB_TYPE_SET_LISTPACK, listpack(&[])),
    ] {
        let mut server = new_server();
        assert!(value(&mut server, type_, &bytes), "type {type_}");
        assert_eq!(server.db[0].dict.len(), 0, "type {type_}");
    }
}

/// Elements of tables are added some at a time, and a duplicate is seen when its turn comes.
#[test]
fn a_duplicate_among_many_is_found() {
    let one = 1f64.to_le_bytes();
    for (type_, behind) in
        [(RDB_TYPE_SET, &b""[..]), (RDB_TYPE_HASH, b"\x01v"), (RDB_TYPE_ZSET_2, &one)]
    {
        for n in [1, 15, 16, 17, 31, 32, 40] {
            let elements: Vec<_> = (0..n).map(|i| [&string(&[b'e', i]), behind].concat()).collect();
            let load = |elements: &[Vec<u8>]| {
                let mut server = new_server();
                (server.set_max_intset_entries, server.hash_max_ziplist_entries) = (0, 0);
                server.zset_max_ziplist_entries = 0;
                let bytes = [&[elements.len() as u8][..], &elements.concat()].concat();
                value(&mut server, type_, &bytes).then(|| contents(&server))
            };
            assert_eq!(load(&elements).unwrap().len(), 1, "type {type_}, {n} elements");
            for i in [0, n / 2, n - 1] {
                let twice = [&elements[..], &elements[i as usize..][..1]].concat();
                assert!(load(&twice).is_none(), "type {type_}, {i} after {n} elements");
            }
        }
    }
}

/// Whatever is loaded can be read, saved and copied.
fn exercise(server: &mut Server) {
    contents(server);
    save(server);
    for db in &server.db {
        for e in db.dict.iter() {
            if let ValueRef::Aggregate(a) = e.value() {
                a.dup();
                a.mem_usage(5);
            }
        }
    }
}

#[test]
fn damaged_values_never_panic() {
    // As it is, and with the types that newer servers have.
    let mut newer: Vec<Vec<u8>> = Vec::new();
    let pairs = ["field", "value", "7", "12"];
    for (i, (type_, bytes)) in [
        (RDB_TYPE_HASH_LISTPACK, listpack(&pairs)),
        (RDB_TYPE_ZSET_LISTPACK, listpack(&["a", "1", "b", "2.5"])),
        (RDB_TYPE_SET_LISTPACK, listpack(&pairs)),
        (RDB_TYPE_LIST_QUICKLIST_2, [&[2, 2][..], &listpack(&pairs), b"\x01\x05plain"].concat()),
        (RDB_TYPE_STREAM_LISTPACKS_3, stream(RDB_TYPE_STREAM_LISTPACKS_3, 1, [1, 2])),
        (RDB_TYPE_HASH_METADATA, b"\0\0\0\0\0\0\0\0\x02\x00\x01f\x01v\x00\x00\xc0\x0c".to_vec()),
        (RDB_TYPE_HASH_LISTPACK_EX, [vec![0; 8], listpack(&["f", "v", "0"])].concat()),
        (RDB_TYPE_HASH_ZIPMAP, string(b"\x02\x01f\x01\x00v\x00\x02\x0112?\xff")),
        (RDB_TYPE_ZSET_2, b"\x01\x01m\0\0\0\0\0\0\xf0\x3f".to_vec()),
        (RDB_TYPE_ZSET, b"\x01\x01m\x031.5".to_vec()),
        (RDB_TYPE_LIST, b"\x02\xc0\x07\x01b".to_vec()),
        (RDB_TYPE_HASH, b"\x01\x01f\xc3\x05\x14\x00a\xe0\x0a\x00".to_vec()),
    ]
    .into_iter()
    .enumerate()
    {
        newer.push([&[type_, 1, b'a' + i as u8], &bytes[..]].concat());
    }
    let parts = |values: &[Vec<u8>]| values.concat();
    let redis = file(12, &[&parts(&newer)]);
    // The types from 22 on are others.
    newer.retain(|value| value[0] < RDB_TYPE_HASH_2);
    let none = (-1i64).to_le_bytes();
    newer.push([&[RDB_TYPE_HASH_2, 1, b'y', 1, 1, b'f', 1, b'v'], &none[..]].concat());
    let valkey = file(80, &[&parts(&newer)]);
    let mut plain = everything();
    plain.rdb_compression = false;
    for whole in [&redis, &valkey] {
        load(&mut new_server(), whole, 0).unwrap();
        skim(whole).unwrap();
    }
    for whole in [redis, valkey, save(&mut plain)] {
        for at in 9..whole.len() {
            for flip in [1, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] ^= flip;
                let mut server = new_server();
                server.skip_checksum_validation = true;
                let loaded = load(&mut server, &damaged, RDBFLAGS_ALLOW_DUP).is_ok();
                if loaded {
                    exercise(&mut server);
                }
                // What can be loaded is not refused before.
                assert!(skim(&damaged).is_ok() || !loaded, "{at}");
            }
            assert!(load(&mut new_server(), &whole[..at], 0).is_err());
        }
    }
}

#[test]
fn a_checksum_of_zero_is_none() {
    let mut file = file(9, &[b"\x00\x01k\x01v"]);
    let at = file.len() - 8;
    file[at..].fill(0);
    load(&mut new_server(), &file, 0).unwrap();
    file[at] = 1;
    assert!(load(&mut new_server(), &file, 0).is_err());
    let mut server = new_server();
    server.rdb_checksum = false;
    load(&mut server, &file, 0).unwrap();
}

/// Random keys of all sizes through a file, which is read in chunks of all sizes.
#[test]
fn there_and_back() {
    let mut rng = Rng::new();
    let mut server = new_server();
    for i in 0..3000 {
        let bytes = |rng: &mut Rng, max: usize| -> Vec<u8> {
            let len = rng.below(max + 1);
            let letters = 1 + rng.below(255);
            (0..len).map(|_| rng.below(letters) as u8).collect()
        };
        let value_max = match i % 100 {
            0 if i % 1000 == 0 => 600_000,
            0..5 => 20_000,
            _ => 150,
        };
        let key_max = if i % 500 == 7 { 100_000 } else { 40 };
        let mut key = bytes(&mut rng, key_max);
        key.extend_from_slice(&ll2string(i));
        let db = rng.below(4);
        let dict = &mut server.db[db].dict;
        let o = if rng.below(3) == 0 {
            dict.add(&key, (rng.next() >> rng.below(64)) as i64)
        } else {
            let value = bytes(&mut rng, value_max);
            dict.add(&key, tryObjectEncoding(&value))
        };
        if rng.below(4) == 0 {
            dict.set_expire(o, mstime() + 100_000 + (rng.next() >> 24) as i64);
        }
    }
    let path = format!("/tmp/fidelis-rdb-{}", std::process::id()).into_bytes();
    let fd = open(&path, libc::O_CREAT | libc::O_TRUNC | libc::O_WRONLY, 0o600).unwrap();
    let mut rdb = rioInitWithFile(fd, 0);
    rdbSaveRio(&mut server, &mut rdb, RDBFLAGS_NONE, None).unwrap();
    rioFlush(&mut rdb).unwrap();
    close(fd);
    for chunk in [0, 1, 1000, 100_000] {
        let fd = open(&path, libc::O_RDONLY, 0).unwrap();
        let size = file_size(fd).unwrap() as u64;
        // Without its size the file is read all the same.
        let mut rdb = rioInitWithFile(fd, if chunk == 1000 { 0 } else { size });
        let mut back = new_server();
        // Chunks, without serving clients, who are not there.
        let loaded = {
            let mut batch = Batch::default();
            rdb.update_cksum = true;
            rdb.max_processing_chunk = chunk;
            rdb_load_rio_inner(&mut back, &mut rdb, RDBFLAGS_NONE, None, &mut batch)
        };
        assert!(loaded.is_ok(), "chunk {chunk}");
        assert!(contents(&back) == contents(&server), "chunk {chunk}");
        for (a, b) in server.db.iter().zip(&back.db) {
            assert_eq!(a.dict.expires_len(), b.dict.expires_len());
            for e in a.dict.iter() {
                let o = b.dict.find(e.key()).unwrap();
                assert_eq!(b.dict.encoding(o), e.encoding());
            }
        }
        close(fd);
    }
    unlink(&path).unwrap();
}

#[test]
fn what_to_tell_of_replication() {
    let mut server = new_server();
    assert!(rdbPopulateSaveInfo(&server).is_none());
    server.repl_backlog = true;
    server.slaveseldb = -1;
    assert_eq!(rdbPopulateSaveInfo(&server).unwrap().repl_stream_db, 0);
    server.slaveseldb = 2;
    assert_eq!(rdbPopulateSaveInfo(&server).unwrap().repl_stream_db, 2);
    server.masterhost = Some(b"master".to_vec());
    assert!(rdbPopulateSaveInfo(&server).is_none());
}

/// That a table was not allowed to grow, because the memory was full, does not hold for what is
/// loaded then.
#[test]
fn tables_grow_during_a_load() {
    let mut server = new_server();
    server.db[1].dict.set_expand_allowed(false);
    startLoading(&mut server, 0, RDBFLAGS_NONE);
    for i in 0..10_000 {
        server.db[1].dict.add(format!("key:{i}").as_bytes(), i);
    }
    stopLoading(&mut server, true);
    assert!(server.db[1].dict.dict().slots() >= 10_000);
}
