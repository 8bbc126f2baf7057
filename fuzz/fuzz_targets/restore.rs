//! A payload as DUMP gives it and MIGRATE sends it: RESTORE refuses it, or every command for its
//! type finds it good.
#![no_main]

use fidelis::aof::rewrite_one_key;
use fidelis::rio::{rio_into_buffer, rioInitWithBuffer};
use fidelis_fuzz::{InProcess, Input};
use libfuzzer_sys::fuzz_target;

/// DUMP of a key.
fn dump(it: &mut InProcess, key: &str) -> Vec<u8> {
    let bulk = it.line(&format!("DUMP {key}"));
    let at = bulk.iter().position(|&b| b == b'\n').expect("a header") + 1;
    bulk[at..bulk.len() - 2].to_vec()
}

/// The commands that an append only file has for a key, with which the key is made once more.
fn rewrite(it: &mut InProcess, key: &[u8]) -> Vec<u8> {
    let mut aof = rioInitWithBuffer(Vec::new());
    let entry = it.server.db[0].dict.iter().find(|e| e.key() == key).expect("it is there");
    rewrite_one_key(&mut aof, entry).expect("memory takes it");
    it.ask(&[b"DEL", key]);
    rio_into_buffer(aof)
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    InProcess::with(input.byte(), |it| {
        // The checksum is not looked at.
        let payload = [input.0, &[0; 8]].concat();
        let reply = it.ask(&[b"RESTORE", &b"key"[..], b"0", &payload]);
        if reply != b"+OK\r\n" {
            assert!(reply.starts_with(b"-ERR "), "{}", reply.escape_ascii());
            return;
        }

        // What is dumped of it is good too, and the same.
        let payload = dump(it, "key");
        assert_eq!(it.ask(&[b"RESTORE", &b"again"[..], b"0", &payload]), b"+OK\r\n");
        let digest = it.line("DEBUG DIGEST-VALUE key");
        assert_eq!(it.line("DEBUG DIGEST-VALUE again"), digest);

        // And what a rewrite of the append only file says of it makes it again. (A stream may have
        // ids in disorder: as in the C that is not looked at.)
        let is_stream = it.line("TYPE key") == b"+stream\r\n";
        let commands = rewrite(it, b"key");
        it.send(&commands).expect("these are good commands");
        if !is_stream {
            assert_eq!(it.line("DEBUG DIGEST-VALUE key"), digest, "{}", commands.escape_ascii());
        }
        it.use_up("key");
        it.use_up("again");
    });
});
