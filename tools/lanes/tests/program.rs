//! The program: a drawing after the fact, and one that is renewed as a trace grows.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const LANES: &str = env!("CARGO_BIN_EXE_lanes");

/// A folder of its own, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("lanes-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn line(t: u32, rest: &str) -> String {
    format!(
        "{{\"t\":{t},\"fn\":\"replication::syncWithMaster\",\"at\":\"src/replication.rs:7\",{rest}}}\n"
    )
}

#[test]
fn after_the_fact() {
    let folder = Folder::new("after");
    let trace = folder.0.join("trace");
    let start =
        "\"ev\":\"start\",\"port\":7000,\"role\":\"master\",\"repl_state\":\"REPL_STATE_NONE\"";
    fs::write(&trace, line(1, start) + &line(2, "\"ev\":\"role\",\"to\":\"replica\"")).unwrap();
    let output = Command::new(LANES)
        .args(["--title", "A title", "--source", "doc/{module}/fn.{fn}.html"])
        .arg(&trace)
        .output()
        .unwrap();
    let svg = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(svg.starts_with("<svg ") && svg.contains("A title"), "{svg}");
    assert!(svg.contains("becomes a replica"));
    assert!(svg.contains("href=\"doc/replication/fn.syncWithMaster.html\""));
    assert!(!Command::new(LANES).output().unwrap().status.success(), "there is nothing to draw");
}

/// A page that follows a trace, as it is in a browser: names for those who don't see it, the line on
/// hovering, the function on a click, and what is new without being asked.
#[test]
fn live_in_a_browser() {
    let folder = Folder::new("browser");
    let (trace, page) = (folder.0.join("trace"), folder.0.join("lanes.html"));
    let function = "replication.replicationUnsetMaster.html";
    fs::write(folder.0.join(function), "<h1>replicationUnsetMaster</h1>").unwrap();
    let start =
        "\"ev\":\"start\",\"port\":7000,\"role\":\"master\",\"repl_state\":\"REPL_STATE_NONE\"";
    fs::write(&trace, line(1, start) + &line(2, "\"ev\":\"role\",\"to\":\"replica\"")).unwrap();
    let mut lanes = Command::new(LANES)
        .args(["--follow", "--title", "A title", "--source", "{module}.{fn}.html", "-o"])
        .args([&page, &trace])
        .spawn()
        .unwrap();
    let since = Instant::now();
    while !page.exists() {
        assert!(since.elapsed() < Duration::from_secs(120), "no page");
        sleep(Duration::from_millis(20));
    }
    let run = Command::new("/usr/bin/python3")
        .args(["-B", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser.py")])
        .args([&page, &trace])
        .output()
        .expect("python3 runs: tests/run installs what the tests need");
    lanes.kill().unwrap();
    lanes.wait().unwrap();
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{}\n{errors}", String::from_utf8_lossy(&run.stdout));
}

#[test]
fn live() {
    let folder = Folder::new("live");
    let (trace, page) = (folder.0.join("trace"), folder.0.join("lanes.html"));
    fs::write(&trace, line(1, "\"ev\":\"start\",\"port\":7000")).unwrap();
    let mut lanes = Command::new(LANES)
        .args(["--follow", "-o"])
        .args([&page, &trace])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let shows = |text: &str| {
        let since = Instant::now();
        while !fs::read_to_string(&page).unwrap_or_default().contains(text) {
            assert!(since.elapsed() < Duration::from_secs(120), "{text} is not shown");
            sleep(Duration::from_millis(20));
        }
    };
    shows("http-equiv=\"refresh\"");
    shows(">start<");
    let mut file = fs::OpenOptions::new().append(true).open(&trace).unwrap();
    file.write_all(line(2, "\"ev\":\"role\",\"to\":\"replica\"").as_bytes()).unwrap();
    shows("becomes a replica");
    lanes.kill().unwrap();
    lanes.wait().unwrap();
}
