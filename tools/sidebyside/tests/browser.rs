//! The pages in a browser: `tests/browser.py` drives Debian's Chromium through them.

use std::path::{Path, PathBuf};
use std::process::Command;

use sidebyside::{Options, build};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Writes pages, and reads them in the browser.
fn read_in_browser(options: &Options, page: &str, caller: &str, callee: &str) {
    let _ = std::fs::remove_dir_all(&options.out);
    build(options).unwrap();
    let run = Command::new("/usr/bin/python3")
        .arg("-B")
        .arg(here("tests/browser.py"))
        .arg(&options.out)
        .args([page, caller, callee])
        .output()
        .expect("python3 runs: tests/run installs what the tests need");
    let said = String::from_utf8_lossy(&run.stdout);
    println!("{said}");
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}\n{errors}");
}

#[test]
fn the_sample_reads_well_in_a_browser() {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser-sample");
    let options = Options {
        project: here("tests/sample/project"),
        out,
        c: Some(here("tests/sample/c")),
        compare: None,
    };
    read_in_browser(&options, "ring.c.html", "ringRead", "ringPlace");
}

/// The same with the C at hand: FIDELIS_C_SOURCE says where its `src` folder is.
#[test]
fn the_project_beside_the_c_reads_well_in_a_browser() {
    let Some(c) = std::env::var_os("FIDELIS_C_SOURCE") else {
        eprintln!("skipped: FIDELIS_C_SOURCE does not say where the C is");
        return;
    };
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser-c");
    let options = Options { project: here("../.."), out, c: Some(PathBuf::from(c)), compare: None };
    read_in_browser(
        &options,
        "replication.c.html",
        "syncCommand",
        "masterTryPartialResynchronization",
    );
}
