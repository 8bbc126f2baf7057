//! An RDB as a master sends it: whatever its bytes, the load ends. What was loaded can be used and
//! saved, and loads again.
#![no_main]

use fidelis::rdb::*;
use fidelis::rio::*;
use fidelis::server_h::*;
use fidelis_fuzz::{InProcess, Input};
use libfuzzer_sys::fuzz_target;

fn load(it: &mut InProcess, bytes: Vec<u8>) -> bool {
    let mut rdb = rioInitWithBuffer(bytes);
    let mut rsi = rdbSaveInfo::default();
    rdbLoadRio(&mut it.server, &mut rdb, RDBFLAGS_NONE, Some(&mut rsi)).is_ok()
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    InProcess::with(input.byte(), |it| {
        if load(it, input.0.to_vec()) {
            let digest = it.line("DEBUG DIGEST");
            let mut saved = rioInitWithBuffer(Vec::new());
            rdbSaveRio(&mut it.server, &mut saved, RDBFLAGS_NONE, None).expect("memory takes it");
            it.line("FLUSHALL SYNC");
            assert!(load(it, rio_into_buffer(saved)));
            assert_eq!(it.line("DEBUG DIGEST"), digest);
        }

        // What was there before a damaged place stays.
        let keys = |db: &RedisDb| -> Vec<Vec<u8>> {
            db.dict.iter().map(|entry| entry.key().to_vec()).collect()
        };
        for db in 0..it.server.db.len() {
            it.line(&format!("SELECT {db}"));
            for key in keys(&it.server.db[db]) {
                it.ask(&[b"RENAME", &key[..], b"key"]);
                it.use_up("key");
            }
        }
    });
});
