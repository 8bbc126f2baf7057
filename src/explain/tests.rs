use super::*;
use std::path::Path;

/// A range: offset, length, and the offset of the compressed string that it is in.
type Range = (u64, u64, Option<u64>);

fn explained(kind: Kind, bytes: &[u8], form: Form) -> (String, u64) {
    let mut out = Vec::new();
    let problems = explain(kind, &mut &bytes[..], bytes.len() as u64, &mut out, form).unwrap();
    (String::from_utf8(out).expect("it is text"), problems)
}

/// Explains bytes, and asserts that the ranges follow one another and cover them, those inside of a
/// compressed string too. Returns the number of problems, and what the ranges mean.
fn check(kind: Kind, bytes: &[u8]) -> (u64, Vec<String>) {
    let (out, problems) = explained(kind, bytes, Form::Json);
    let (mut end, mut inner): (u64, Option<Range>) = (0, None);
    let mut meanings = Vec::new();
    for line in out.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect(line);
        let offset = line["offset"].as_u64().unwrap();
        let inside = line["inside"].as_u64();
        if let Some(problem) = line["problem"].as_str() {
            meanings.push(format!("problem: {problem}"));
            continue;
        }
        let length = line["length"].as_u64().unwrap();
        let shown = line["bytes"].as_str().unwrap();
        if inside.is_none() {
            assert_eq!(offset, end, "{line}");
            end += length;
            let first = &bytes[offset as usize..][..shown.len() / 2];
            let hex: String = first.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(shown, hex, "{line}");
        } else {
            // Those of a string begin with 0.
            let before = inner.filter(|&(_, _, other)| other == inside);
            assert_eq!(offset, before.map_or(0, |(offset, length, _)| offset + length), "{line}");
        }
        inner = inside.map(|inside| (offset, length, Some(inside)));
        meanings.push(line["meaning"].as_str().unwrap().to_string());
    }
    assert_eq!(end, bytes.len() as u64, "the ranges cover the file");
    assert_eq!(problems > 0, meanings.iter().any(|m| m.starts_with("problem: ")));
    (problems, meanings)
}

fn data() -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rdb");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "rdb") {
            let name = path.file_name().unwrap().to_str().unwrap().to_string();
            files.push((name, std::fs::read(path).unwrap()));
        }
    }
    assert!(files.len() > 10);
    files
}

/// A file of each type and encoding that the format has at some version, as small as can be.
fn all_types(version: &str) -> Vec<u8> {
    let mut file = version.as_bytes().to_vec();
    let add = |file: &mut Vec<u8>, type_: u8, value: &[u8]| {
        file.extend([type_, 1, b'k']);
        file.extend(value);
    };
    let string = |bytes: &[u8]| [&[bytes.len() as u8], bytes].concat();
    let ziplist = |entries: &[&[u8]]| {
        let (mut body, mut prev, mut tail) = (Vec::new(), 0, 10);
        for entry in entries {
            tail = 10 + body.len();
            body.push(prev);
            body.extend(*entry);
            prev = entry.len() as u8 + 1;
        }
        let head = [(11 + body.len() as u32).to_le_bytes(), (tail as u32).to_le_bytes()].concat();
        string(&[&head, &(entries.len() as u16).to_le_bytes()[..], &body, &[255]].concat())
    };
    let listpack = |entries: &[&[u8]]| {
        let body: Vec<u8> =
            entries.iter().flat_map(|e| [e, &[e.len() as u8][..]].concat()).collect();
        let len = (7 + body.len() as u32).to_le_bytes();
        string(&[&len, &(entries.len() as u16).to_le_bytes()[..], &body, &[255]].concat())
    };
    file.extend(b"\xfa\x03ctr\xc0\x05\xfe\x00\xfb\x05\x02\xfd\x01\0\0\0\xf9\x05");
    add(&mut file, 0, b"\xc1\x00\x01");
    file.extend(b"\xfc\x01\0\0\0\0\0\0\0\xf8\x41\x00");
    add(&mut file, 0, b"\xc2\x00\x01\0\0");
    add(&mut file, 0, b"\x80\0\0\0\x02hi");
    add(&mut file, 0, b"\xc3\x07\x0c\x02abc\xe0\x00\x02");
    add(&mut file, 1, b"\x02\x01a\x01b");
    add(&mut file, 2, b"\x01\x01a");
    add(&mut file, 3, b"\x02\x01a\x011\x01b\xfe");
    add(&mut file, 4, b"\x01\x01f\x01v");
    add(&mut file, 5, b"\x01\x01a\0\0\0\0\0\0\xf0\x3f");
    add(
        &mut file,
        7,
        b"\x81\0\0\0\0\0\0\x04\x01\x05\x03abc\x02\x07\x04\0\0\0\0\0\0\0\0\x03\0\0\0\0\0",
    );
    add(&mut file, 9, b"\x09\x01\x01f\x02\x01vvx\xff");
    let entries: [&[u8]; 9] = [
        b"\x01a",
        b"\x40\x01b",
        b"\x80\0\0\0\x01c",
        b"\xc0\x00\x01",
        b"\xd0\0\0\0\x01",
        b"\xe0\0\0\0\0\0\0\0\x01",
        b"\xf0\0\0\x81",
        b"\xfe\x80",
        b"\xf5",
    ];
    add(&mut file, 10, &ziplist(&entries));
    add(&mut file, 11, &string(b"\x02\0\0\0\x02\0\0\0\x01\x00\x05\x00"));
    add(&mut file, 12, &ziplist(&[b"\x01a", b"\xf2"]));
    add(&mut file, 13, &ziplist(&[b"\x01f", b"\x01v"]));
    add(&mut file, 14, &[&[1], &ziplist(&[b"\x01a"])[..]].concat());
    let id = [&[0; 7][..], &[5], &[0; 7], &[1]].concat();
    let items: [&[u8]; 18] = [
        &[2],
        &[0],
        &[1],
        b"\x81f",
        &[0],
        &[2],
        &[0],
        &[0],
        b"\x81v",
        &[4],
        &[0],
        &[1],
        &[0],
        &[1],
        b"\x81g",
        b"\x81w",
        &[6],
        &[5],
    ];
    let stream = |extra: bool, active: bool| {
        let mut s = vec![1];
        s.extend(string(&id));
        s.extend(listpack(&items[..17]));
        s.extend([2, 6, 0]);
        if extra {
            s.extend([5, 1, 0, 0, 2]);
        }
        s.extend(b"\x01\x01g\x05\x01");
        if extra {
            s.push(1);
        }
        s.push(1);
        s.extend(&id);
        s.extend([0; 8]);
        s.extend(b"\x01\x01\x01c");
        s.extend([0; 8]);
        if active {
            s.extend([0; 8]);
        }
        s.push(1);
        s.extend(&id);
        s
    };
    add(&mut file, 15, &stream(false, false));
    if version == "REDIS0012" {
        let elements: [&[u8]; 9] = [
            b"\x81a",
            b"\xe0\x01b",
            b"\xf0\x01\0\0\0c",
            b"\xc0\x05",
            b"\xdf\xff",
            b"\xf1\0\x01",
            b"\xf2\0\0\x81",
            b"\xf3\0\0\0\x01",
            b"\xf4\0\0\0\0\0\0\0\x01",
        ];
        file.extend(b"\xf4\x01\x02\x03\xf5\x0c#!lua name=a");
        file.extend(b"\xf6\x01a\x03lua\x01\x01d\x01c");
        add(&mut file, 16, &listpack(&[b"\x81f", b"\x81v"]));
        add(&mut file, 17, &listpack(&[b"\x81a", b"\x01"]));
        add(&mut file, 18, &[&[2, 1], &b"\x01a\x02"[..], &listpack(&elements)].concat());
        add(&mut file, 19, &stream(true, false));
        add(&mut file, 20, &listpack(&[b"\x81m"]));
        add(&mut file, 21, &stream(true, true));
        add(&mut file, 22, b"\x01\x00\x01f\x01v");
        add(&mut file, 24, b"\x05\0\0\0\0\0\0\0\x01\x01\x01f\x01v");
        let ex = listpack(&[b"\x81f", b"\x81v", b"\x00"]);
        add(&mut file, 25, &[&[5, 0, 0, 0, 0, 0, 0, 0], &ex[..]].concat());
    }
    if version == "VALKEY080" {
        file.extend(b"\xf3\x01j\x01\x00\x05");
        add(&mut file, 22, b"\x01\x01f\x01v\xff\xff\xff\xff\xff\xff\xff\xff");
    }
    file.push(0xff);
    let crc = crate::crc64::crc64(0, &file);
    file.extend(crc.to_le_bytes());
    file
}

/// The files of ten versions are covered, and nothing is wrong with them.
#[test]
fn files_of_ten_versions() {
    for (name, bytes) in data() {
        let (problems, meanings) = check(Kind::Rdb, &bytes);
        let wrong: Vec<_> = meanings.iter().filter(|m| m.starts_with("problem")).collect();
        assert_eq!(problems, 0, "{name}: {wrong:?}");
    }
}

/// A small file with all types is explained to its last byte.
#[test]
fn all_types_of_all_versions() {
    for version in ["REDIS0009", "REDIS0012", "VALKEY080"] {
        let (problems, meanings) = check(Kind::Rdb, &all_types(version));
        let text = meanings.join("\n");
        assert_eq!(problems, 0, "{text}");
        for expected in [
            "aux name \"ctr\"",
            "an integer of 32 bits",
            "LZF: 7 bytes for 12",
            "value \"abcabcabcabc\"",
            "score \"1\" as text",
            "score inf",
            "score 1\n",
            "field \"f\" (1 bytes)",
            "value \"vv\" (2 bytes, 1 to spare)",
            "element -8323072 (int24",
            "member 1\nmember 5",
            "master id 5-1",
            "entry, flags 2",
            "master field \"f\"",
            "milliseconds behind the master id 1",
            "items of this entry 6",
            "consumer \"c\"",
            "the CRC-64 of all before it",
        ] {
            assert!(text.contains(expected.trim_start_matches("aux ")), "{expected}\n{text}");
        }
    }
}

/// Whatever the end that is missing, or the byte that is damaged: no panic, and the ranges cover
/// what is there. A damaged file shows a problem, by its checksum at least.
#[test]
fn every_prefix_and_every_damaged_byte() {
    let bits: &[u8] = if std::env::var_os("FIDELIS_LONG").is_some() {
        &[0x01, 0x10, 0x80, 0xff]
    } else {
        &[0xff]
    };
    for version in ["REDIS0009", "REDIS0012", "VALKEY080"] {
        let file = all_types(version);
        for len in 0..file.len() {
            let (problems, _) = check(Kind::Rdb, &file[..len]);
            assert!(problems > 0, "{len} of {}", file.len());
        }
        for at in 0..file.len() {
            for &bit in bits {
                let mut damaged = file.clone();
                damaged[at] ^= bit;
                let (problems, _) = check(Kind::Rdb, &damaged);
                assert!(problems > 0, "byte {at}");
                if at % 16 == 0 {
                    explained(Kind::Rdb, &damaged, Form::Text);
                }
            }
        }
    }
}

/// A packed value that is damaged ends with its string, and the keys behind it are explained.
#[test]
fn damage_does_not_spread() {
    let mut file = b"REDIS0009\x0d\x01a".to_vec();
    file.extend(b"\x0f\x0f\0\0\0\x0a\0\0\0\x02\0\x00\xc9f\x02\xff\x00\x01b\x01c\xff");
    file.extend([0; 8]);
    let (problems, meanings) = check(Kind::Rdb, &file);
    assert_eq!(problems, 1);
    assert!(meanings.iter().any(|m| m == "problem: no encoding of an entry: c9"));
    assert!(meanings.iter().any(|m| m == "not explained"));
    assert!(meanings.iter().any(|m| m == "key \"b\""));
}

/// An append only file: an RDB in front, commands, an annotation; every prefix, every damaged byte.
#[test]
fn append_only_files() {
    let mut rdb = b"REDIS0009\xff".to_vec();
    rdb.extend(crate::crc64::crc64(0, &rdb).to_le_bytes());
    let commands = b"#TS:1\r\n*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\n\r\n\r\n*1\r\n$4\r\nEXEC\r\n";
    for file in [commands.to_vec(), [&rdb, &commands[..]].concat()] {
        let (problems, meanings) = check(Kind::Aof, &file);
        let text = meanings.join("\n");
        assert_eq!(problems, 0, "{text}");
        assert!(text.contains("\"SET\"") && text.contains("\"\\r\\n\"") && text.contains("(7.0)"));
        for len in 1..file.len() {
            check(Kind::Aof, &file[..len]);
            let mut damaged = file.clone();
            damaged[len] ^= 0x15;
            check(Kind::Aof, &damaged);
        }
    }
    assert_eq!(check(Kind::Aof, b"*1\r\n$5\r\nMULTI\r\n").0, 1);
}

/// Both sides of a PSYNC: the handshake, an RDB of known and of unknown length, the stream with its
/// offsets; every prefix, every damaged byte.
#[test]
fn transcripts() {
    let rdb = all_types("REDIS0009");
    let id = "8371445b5b4b3bf6c6ca4f3b1dd2a7a7c1d9b9b0";
    let stream = "*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n";
    let hello = format!("+PONG\r\n+OK\r\n+OK\r\n+FULLRESYNC {id} 100\r\n\n");
    let disk = [format!("{hello}${}\r\n", rdb.len()).as_bytes(), &rdb, stream.as_bytes()].concat();
    let diskless =
        [format!("{hello}$EOF:{id}\r\n").as_bytes(), &rdb, id.as_bytes(), stream.as_bytes()]
            .concat();
    let partial = format!("+PONG\r\n+OK\r\n+CONTINUE {id}\r\n{stream}").into_bytes();
    let replica = format!(
        "*1\r\n$4\r\nPING\r\n*3\r\n$8\r\nREPLCONF\r\n$14\r\nlistening-port\r\n$4\r\n6379\r\n*3\r\n$5\r\nPSYNC\r\n$40\r\n{id}\r\n$3\r\n101\r\n\n*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$3\r\n128\r\n"
    )
    .into_bytes();
    for file in [&disk, &diskless, &partial, &replica] {
        let (problems, meanings) = check(Kind::Psync, file);
        assert_eq!(problems, 0, "{meanings:#?}");
        for len in (0..file.len()).filter(|len| len % 7 == 0 || *len < 200) {
            check(Kind::Psync, &file[..len]);
            let mut damaged = file.to_vec();
            damaged[len] ^= 0x11;
            check(Kind::Psync, &damaged);
        }
    }
    let text = check(Kind::Psync, &disk).1.join("\n");
    assert!(text.contains("stream, from byte 101 on: command, 1 arguments"));
    assert!(text.contains("stream, from byte 115 on: command, 3 arguments"));
    let text = check(Kind::Psync, &replica).1.join("\n");
    assert!(text.contains("acknowledgement, 3 arguments") && text.contains("the question"));
    // What a command is can be seen wherever it lies in what is read from the file at once.
    let acks = b"*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$3\r\n128\r\n".repeat(4000);
    let (_, meanings) = check(Kind::Psync, &acks);
    let known = meanings.iter().filter(|m| m.starts_with("acknowledgement")).count();
    assert!(acks.len() > 2 * Input::SIZE && known == 4000, "{known}");
    // A file that ends before its length, and a wrong mark.
    let short = [format!("{hello}${}\r\n", rdb.len() + 5).as_bytes(), &rdb, b"xxxxx"].concat();
    assert_eq!(check(Kind::Psync, &short).0, 1);
    let mut wrong = diskless.clone();
    let at = wrong.len() - stream.len() - 1;
    wrong[at] ^= 1;
    assert_eq!(check(Kind::Psync, &wrong).0, 1);
}

/// A function that is said to write or read something exists.
#[test]
fn the_functions_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = String::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                all.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut count = 0;
    for file in ["rdb", "packed", "aof", "psync"] {
        let text = std::fs::read_to_string(root.join(format!("explain/{file}.rs"))).unwrap();
        for by in text.split("By(\"").skip(1) {
            let names = by.split(')').next().unwrap();
            for name in names.split('"').filter(|name| !matches!(*name, "" | ", ")) {
                let found = ["(", "<"].iter().any(|c| all.contains(&format!("fn {name}{c}")));
                assert!(found, "{name}");
                count += 1;
            }
        }
    }
    assert!(count > 60);
}
