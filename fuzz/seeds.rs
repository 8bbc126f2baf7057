//! Writes what the fuzzer starts from into `corpus/TARGET`: values of every type, RDBs of one key,
//! requests.

use std::path::Path;

use fidelis::ds::listpack::{lpAppend, lpNew};
use fidelis::ds::ziplist::{ZIPLIST_TAIL, ziplistNew, ziplistPush};
use fidelis::types::t_stream::streamValidateListpackIntegrity;
use fidelis_fuzz::{InProcess, input, lua, request, traffic};

/// Writes one input of a target.
fn seed(target: &str, name: &str, bytes: &[u8]) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&dir).expect("the folder of the corpus");
    std::fs::write(dir.join(format!("seed-{name}")), bytes).expect("a file of the corpus");
}

/// What is done to a packed value: a few operations that are known to all targets.
const OPS: &[u8] = b"\x00\x00\x01a\x01\x00\x0212\x02\x01\x03xyz\x03\x00\x00\x07\x00\x04last";

/// A value, by its type in an RDB, for those who take such. It is a good one.
fn value(name: &str, limits: u8, type_: u8, bytes: &[u8]) {
    let name = format!("{name}-{limits}");
    let payload = [&[type_], bytes, &[12, 0]].concat();
    InProcess::with(limits, |it| {
        let restore = it.ask(&[b"RESTORE", &b"k"[..], b"0", &[&payload[..], &[0; 8]].concat()]);
        assert_eq!(restore, b"+OK\r\n", "{name}");
    });
    seed("restore", &name, &[&[limits], &payload[..]].concat());
    seed("rdb_object", &name, &[&[limits, type_], bytes].concat());
    let (head, tail) = (b"REDIS0012\xfe\x00", [&[0xff][..], &[0; 8]].concat());
    seed("rdb_file", &name, &[&[limits][..], head, &[type_, 1, b'k'], bytes, &tail].concat());
    seed("explain", &name, &[&head[..], &[type_, 1, b'k'], bytes, &tail].concat());
}

/// Bytes as a string in an RDB.
fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16 | 1 << 14).to_be_bytes(), bytes].concat()
}

/// What the server makes of the commands that make values.
fn saved_values(it: &mut InProcess, limits: u8) {
    it.server.list_max_ziplist_size = 5;
    it.server.stream_node_max_entries = 5;
    for line in traffic::making() {
        it.line(&line);
    }
    it.server.rdb_compression = limits < 128;
    let keys = it.line("KEYS *");
    let keys = String::from_utf8(keys).expect("their names are words");
    for key in keys.split("\r\n").skip(2).step_by(2).filter(|key| !key.is_empty()) {
        let reply = it.line(&format!("DUMP {key}"));
        let head = reply.iter().position(|&b| b == b'\n').expect("a header") + 1;
        // Without the version and the checksum.
        value(key, limits, reply[head], &reply[head + 1..reply.len() - 12]);
    }
}

/// Values of types that old servers wrote and newer ones write, and packed values by themselves.
fn other_values() {
    let words: [&[u8]; 6] = [b"a", b"1", b"field", b"70000", b"", b"2.5"];
    let (mut zl, mut lp) = (ziplistNew(), lpNew(0));
    for word in words {
        ziplistPush(&mut zl, word, ZIPLIST_TAIL);
        assert!(lpAppend(&mut lp, word));
    }
    let zipmap = b"\x02\x01f\x01\x00v\x00\x02\x0112?\xff";
    let intset = b"\x02\x00\x00\x00\x03\x00\x00\x00\xff\xff\x05\x00\x07\x00";
    // A message with the fields of the first, one with others, one that was deleted.
    let mut stream = lpNew(0);
    for word in "2 1 1 f 0 2 0 0 v 4 0 3 0 2 g 1 h 2 8 3 5 0 v 4".split(' ') {
        assert!(lpAppend(&mut stream, word.as_bytes()));
    }
    assert!(streamValidateListpackIntegrity(&stream, true));
    let id = [string(&[0; 16]), string(&stream)].concat();
    let stream_tail = b"\x02\x05\x00\x00\x00\x00\x00\x03\x00";

    let limits = 16;
    value("list", limits, 1, b"\x03\x01a\xc0\x07\x01b");
    value("zset", limits, 3, b"\x03\x01a\x032.5\x01b\xfe\x01c\xff");
    value("zipmap", limits, 9, &string(zipmap));
    value("list-ziplist", limits, 10, &string(&zl));
    value("hash-listpack", limits, 16, &string(&lp));
    value("quicklist2", limits, 18, &[&b"\x02\x02"[..], &string(&lp), b"\x01\x05plain"].concat());
    value("set-listpack", limits, 20, &string(&lp));
    value("stream2", limits, 19, &[&[1][..], &id, stream_tail].concat());
    seed("ziplist", "words", &input(&zl, OPS));
    seed("quicklist", "words", &[&[254, 1, 11, 0][..], &input(&zl, OPS)].concat());
    seed("listpack", "words", &input(&lp, OPS));
    seed("intset", "small", &input(intset, b"\x00\x00\x07\x01\x00\x05\x00\x03abcdefgh"));
    seed("zipmap", "small", zipmap);
    seed("stream", "three", &[&input(&stream, b"\x00")[..], OPS].concat());
    seed("rax", "words", b"\x00\x03foo\x00\x06foobar\x00\x06footer\x04\x03foo\x07\x04food\x00\x00");
    seed("lzf", "text", &[&b"\x00\x02"[..], &b"abcabcabcabcabcabcabcdef".repeat(9)].concat());
}

fn requests() {
    let send = |name: &str, words: &[&str]| {
        seed("request", name, &[&[16][..], &input(b"", &request(words))].concat());
    };
    for (i, line) in traffic::making().iter().enumerate() {
        send(&i.to_string(), &line.split(' ').collect::<Vec<_>>());
    }
    for key in ["text", "list", "set", "hash", "zset", "stream"] {
        let type_ = if key == "text" { "string" } else { key };
        for (i, words) in traffic::using(type_, key).iter().enumerate() {
            send(&format!("{key}-{i}"), &words.iter().map(|w| &w[..]).collect::<Vec<_>>());
        }
    }
    for (i, line) in
        ["PING", "*3\r\n$3\r\nSET", "SET k \"a\\x00\\n\" EX 10", "GET 'k'"].iter().enumerate()
    {
        seed("request", &format!("raw-{i}"), &[&[16, 3, 0][..], line.as_bytes(), b"\r\n"].concat());
    }
}

fn main() {
    for limits in [16, 16 + 128, 0, 1 + 32] {
        InProcess::with(16, |it| saved_values(it, limits));
    }
    other_values();
    requests();
    for (i, text) in [
        "a",
        "12",
        "-1",
        "9223372036854775807",
        "1.5e3",
        "0x1p-3",
        "inf",
        "\x05a*[b]xxb",
        "\"a\\x41\" 'b'",
    ]
    .iter()
    .enumerate()
    {
        seed("text", &i.to_string(), text.as_bytes());
    }
    let rules = [
        "on nopass ~* &* +@all",
        "off >pass <pass resetchannels &c* ~k:* ~[ab]? -@all +@read -get +config|get +config|set",
        "reset +@all -@dangerous allkeys resetkeys sanitize-payload skip-sanitize-payload",
        "#7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed allchannels nocommands",
    ];
    let string = |rule: &str| [&[rule.len() as u8], rule.as_bytes()].concat();
    for (i, line) in rules.iter().enumerate() {
        let strings: Vec<u8> = line.split(' ').flat_map(string).collect();
        seed("acl_rules", &i.to_string(), &strings);
        let file = format!("user default on nopass ~* &* +@all\n\nuser u {line}\nuser v off\n");
        seed("acl_file", &i.to_string(), file.as_bytes());
    }
    for target in &lua::TARGETS {
        for (i, bytes) in target.seeds().iter().enumerate() {
            seed(target.name, &i.to_string(), bytes);
        }
    }
    println!("corpus/ is filled");
}
