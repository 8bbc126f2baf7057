//! An ACL file, as ACL LOAD reads it: all of it or nothing is taken, and what ACL SAVE writes makes
//! the same users again.
#![no_main]

use std::os::unix::ffi::OsStrExt;

use fidelis_fuzz::InProcess;
use libfuzzer_sys::fuzz_target;

/// What ACL LIST says after an ACL SAVE and an ACL LOAD.
fn saved_and_loaded(it: &mut InProcess) -> Vec<u8> {
    assert_eq!(it.line("ACL SAVE"), b"+OK\r\n");
    assert_eq!(it.line("ACL LOAD"), b"+OK\r\n");
    it.line("ACL LIST")
}

/// The words of a reply to ACL LIST, without lengths of lines and without the flag
/// `sanitize-payload`.
fn rules_without_sanitize(list: &[u8]) -> Vec<u8> {
    let lines = list.split(|&b| b == b'\n').filter(|line| !line.starts_with(b"$"));
    let words = lines.flat_map(|line| line.split(|&b| b == b' '));
    let words: Vec<_> = words.filter(|&word| word != b"sanitize-payload").collect();
    words.join(&b' ')
}

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
            // The user `default`, if the file had none, gets a flag from the reset that precedes the
            // rules of a line, as in the C. Then nothing changes any more.
            let mut users = [loaded, saved_and_loaded(it), saved_and_loaded(it)];
            assert_eq!(users[1], users[2]);
            for list in &mut users {
                *list = rules_without_sanitize(list);
            }
            assert_eq!(users[0], users[1]);
        }
        let _ = std::fs::remove_file(&path);
        it.server.acl_filename.clear();
    });
});
