//! `--explain`: redis-check-rdb, redis-check-aof, and a captured PSYNC, as programs.

mod support;

use std::io::{Read, Seek, SeekFrom, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use support::*;

fn run(name: &str, args: &[&str]) -> Output {
    Command::new(OURS).arg0(name).args(args).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Asserts that the ranges of a file follow one another, and cover it.
#[track_caller]
fn covers(output: &Output, path: &Path) {
    let mut end = 0;
    for line in text(output).lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        if line["problem"].is_null() && line["inside"].is_null() {
            assert_eq!(line["offset"].as_u64(), Some(end), "{line}");
            end += line["length"].as_u64().unwrap();
        }
    }
    assert_eq!(end, std::fs::metadata(path).unwrap().len());
}

/// An RDB and an append only file of our own with every type and encoding, and what a master sends
/// in a full resync.
#[test]
fn files_of_our_own() {
    let server =
        TestServer::start(&["--list-max-ziplist-size", "-1", "--set-max-intset-entries", "4"]);
    let mut c = server.conn();
    let long = "compressed ".repeat(400);
    for command in [
        vec!["SET", "int", "12345"],
        vec!["SET", "expires", "x", "EX", "5000"],
        vec!["SET", "lzf", &long],
        vec!["RPUSH", "list", "a", "1", "-70000", &long, "9999999999999", &long, &long],
        vec!["SADD", "intset", "1", "70000", "-9999999999"],
        vec!["SADD", "set", "a", "b", "1"],
        vec!["ZADD", "small", "1.5", "a", "2", "b"],
        vec!["ZADD", "large", "1.5", &long],
        vec!["HSET", "small-hash", "f", "v", "n", "300"],
        vec!["HSET", "large-hash", "f", &long],
        vec!["XADD", "stream", "1-1", "f", "v"],
        vec!["XADD", "stream", "1-2", "g", "w", "h", "5"],
        vec!["XGROUP", "CREATE", "stream", "group", "0"],
        vec!["XREADGROUP", "GROUP", "group", "me", "COUNT", "1", "STREAMS", "stream", ">"],
        vec!["SAVE"],
    ] {
        assert!(!c.cmd(&command).is_error(), "{command:?}");
    }
    let rdb = server.dir.path("dump.rdb");
    let name = rdb.to_str().unwrap();
    let output = run("redis-check-rdb", &["--explain", "--json", name]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    covers(&output, &rdb);
    let output = run("redis-server", &["--check-rdb", "--explain", name]);
    assert_eq!(output.status.code(), Some(0));
    let out = text(&output);
    for expected in [
        "name \"repl-id\"",
        "value 12345 (an integer of 16 bits)",
        "EXPIRETIME_MS",
        "LZF: ",
        "element -70000 (int24",
        "member 70000",
        "score \"1.5\"",
        "value 300 (int16",
        "master id 1-1",
        "consumer \"me\"",
        "[rdbSaveStreamPEL -> rdb_load_stream_cg]",
        "the CRC-64 of all before it",
    ] {
        // A master without replicas has no id in its file.
        assert!(expected.contains("repl-id") || out.contains(expected), "{expected}\n{out}");
    }

    // The append only file: an RDB in front, and commands.
    assert_eq!(c.cmd(&["CONFIG", "SET", "appendonly", "yes"]).text(), "OK");
    wait_for("the rewrite", || server.info("aof_rewrite_in_progress") == "0");
    wait_for("the rewrite to begin", || server.log_count("Background AOF rewrite finished") == 1);
    c.cmd(&["SET", "behind", "it"]);
    let aof = server.dir.path("appendonly.aof");
    wait_for("the command to be written", || {
        std::fs::read(&aof).unwrap().windows(6).any(|w| w == b"behind")
    });
    let output = run("redis-check-aof", &["--json", "--explain", aof.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    covers(&output, &aof);
    assert!(text(&output).contains("\\\"behind\\\""));

    // A full resync, as it comes over the wire.
    let mut link = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    link.set_read_timeout(Some(PATIENCE)).unwrap();
    // PSYNC must not come before what is in front of it was answered.
    link.write_all(b"PING\r\n").unwrap();
    let mut bytes = vec![0; 7];
    link.read_exact(&mut bytes).unwrap();
    link.write_all(b"PSYNC ? -1\r\n").unwrap();
    let mut buf = [0; 4096];
    while !bytes.windows(6).any(|w| w == b"marked") {
        let n = incoming::read_some(&mut link, &mut buf).unwrap();
        assert!(n > 0);
        bytes.extend_from_slice(&buf[..n]);
        if bytes.windows(11).any(|w| w == b"+FULLRESYNC") {
            c.cmd(&["SET", "marked", "x"]);
        }
    }
    // What was caught may end in the middle of a command.
    let end = bytes.windows(6).position(|w| w == b"marked").unwrap();
    let captured = server.dir.path("captured");
    std::fs::write(&captured, &bytes[..end]).unwrap();
    let output = run("redis-check-rdb", &["--explain-psync", captured.to_str().unwrap()]);
    let out = text(&output);
    assert!(out.contains("a full resync: our history"), "{out}");
    assert!(out.contains("the CRC-64") && out.contains("stream, from byte 1 on"), "{out}");
    let output = run("redis-check-aof", &["--explain-psync", "--json", captured.to_str().unwrap()]);
    covers(&output, &captured);
}

/// A file that is damaged is an exit code of 1; one that does not exist too, and so is a use that the
/// C refuses.
#[test]
fn exit_codes() {
    let folder = Folder::new();
    let path = folder.path("bad.rdb");
    std::fs::write(&path, b"REDIS0009\x0d\x01k\x03abc\xff\0\0\0\0\0\0\0\0").unwrap();
    let output = run("redis-check-rdb", &["--explain", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("!! the bytes end here"), "{}", text(&output));
    let output = run("redis-check-rdb", &["--explain", "/nonexistent"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("Cannot explain /nonexistent: No"));
    assert_eq!(run("redis-check-rdb", &["--explain"]).status.code(), Some(1));
}

/// A large file needs no more memory than a small one: a string of 200 MB is explained by a process
/// that may have 150 MB of data.
#[test]
fn memory_is_bounded() {
    let folder = Folder::new();
    let path = folder.path("large.rdb");
    let mut file = std::fs::File::create(&path).unwrap();
    let len = 200u32 << 20;
    file.write_all(b"REDIS0009\x00\x01k\x80").unwrap();
    file.write_all(&len.to_be_bytes()).unwrap();
    // A hole takes no room on the disk.
    let end = file.metadata().unwrap().len() + u64::from(len);
    file.set_len(end).unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    file.write_all(b"\xff\0\0\0\0\0\0\0\0").unwrap();
    drop(file);
    let script = "ulimit -d 150000; exec -a redis-check-rdb \"$0\" --explain \"$1\"";
    let output = Command::new("bash").args(["-c", script, OURS]).arg(&path).output().unwrap();
    assert!(text(&output).contains("no checksum"), "{}", text(&output));
}
