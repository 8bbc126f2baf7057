//! The `redis-server` binary. Which mode it is for is decided by its name, in `server::main`; a
//! flag stands for a name.

use std::os::unix::ffi::OsStringExt;

fn main() {
    let mut argv: Vec<Vec<u8>> = std::env::args_os().map(OsStringExt::into_vec).collect();
    if argv.get(1).is_some_and(|flag| flag == b"--check-rdb") {
        argv[1] = b"redis-check-rdb".to_vec();
        argv.remove(0);
    }
    std::process::exit(fidelis::server::main(argv));
}
