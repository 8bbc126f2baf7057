//! A value as RESTORE and files have it: whatever its bytes, it is refused, or can be saved, and
//! what was saved loads again.
#![no_main]

use fidelis::keyspace::{Keyspace, Value};
use fidelis::rdb::*;
use fidelis::rio::*;
use fidelis::server_h::*;
use fidelis_fuzz::Input;
use libfuzzer_sys::fuzz_target;

/// The value of a type of a version, checked in depth.
fn load(server: &mut Server, keys: &mut Keyspace, type_: u8, bytes: &[u8], rdbver: i32) -> bool {
    let mut rdb = rioInitWithBuffer(bytes.to_vec());
    let Ok(value) = rdbLoadObject(server, type_, &mut rdb, b"k", rdbver) else {
        return false;
    };
    let value: Value = value;
    keys.add(b"k", value);
    true
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let (limit, type_) = (usize::from(input.byte()), input.byte());
    let bytes = input.0;
    let server = &mut Server::default();
    server.db = vec![RedisDb::default()];
    server.hz = 10;
    server.rdb_compression = limit % 2 == 0;
    server.list_max_ziplist_size = -2;
    server.list_compress_depth = (limit % 3) as i32;
    server.hash_max_ziplist_entries = limit;
    server.hash_max_ziplist_value = 64;
    server.zset_max_ziplist_entries = limit;
    server.zset_max_ziplist_value = 64;
    server.set_max_intset_entries = limit;
    server.sanitize_dump_payload = SANITIZE_DUMP_YES;
    let mut keys = Keyspace::default();
    // Redis and Valkey have types of their own under the same numbers.
    let rdbver = if type_ < 128 { RDB_VERSION_LOAD } else { *RDB_VERSION_VALKEY.start() };
    if !load(server, &mut keys, type_ % 26, bytes, rdbver) {
        return;
    }
    let o = keys.find(b"k").expect("it was added just now");
    let mut saved = rioInitWithBuffer(Vec::new());
    rdbSaveObjectType(&mut saved, keys.get(o)).expect("writing to memory does not fail");
    rdbSaveObject(server, &mut saved, keys.get(o)).expect("writing to memory does not fail");
    let saved = rio_into_buffer(saved);
    let mut again = Keyspace::default();
    assert!(load(server, &mut again, saved[0], &saved[1..], RDB_VERSION));
});
