//! An ACL file, as ACL LOAD reads it: all of it or nothing is taken, and what ACL SAVE writes makes
//! the same users again.
#![no_main]

use std::os::unix::ffi::OsStrExt;

use fidelis_fuzz::InProcess;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    InProcess::with(0, |it| {
        let path = std::env::temp_dir().join(format!("fidelis-fuzz-{}.acl", std::process::id()));
        it.server.acl_filename = path.as_os_str().as_bytes().to_vec();
        // Whatever the file says of `default`, this client may go on.
        let c = it.c;
        it.server[c].user = None;
        it.server[c].authenticated = true;
        it.line("ACL SETUSER before on ~k* +get");
        let before = it.line("ACL LIST");
        std::fs::write(&path, data).expect("a file in the temporary folder");
        let reply = it.line("ACL LOAD");
        let loaded = it.line("ACL LIST");
        if reply != b"+OK\r\n" {
            assert!(reply.starts_with(b"-ERR ") && reply.ends_with(b" was performed\r\n"));
            assert_eq!(loaded, before);
        } else {
            assert_eq!(it.line("ACL SAVE"), b"+OK\r\n");
            assert_eq!(it.line("ACL LOAD"), b"+OK\r\n");
            assert_eq!(it.line("ACL LIST"), loaded);
        }
        let _ = std::fs::remove_file(&path);
        it.server.acl_filename.clear();
    });
});
