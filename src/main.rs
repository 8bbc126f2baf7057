//! The `redis-server` binary. Which mode it is for is decided by its name and its arguments, in `server::main`.

use std::os::unix::ffi::OsStringExt;

fn main() {
    let argv = std::env::args_os().map(OsStringExt::into_vec).collect();
    std::process::exit(fidelis::server::main(argv));
}
