//! The book keeps its word: each experiment gives what the chapter shows, and each chapter has an
//! experiment, a drawing and exercises.
//!
//! An experiment is a block fenced as `console`. Three kinds of lines begin a command; what follows
//! up to the next one is what it prints.
//!
//! - `$ redis-cli -p 7001 ping`: for the shell, one and the same for a chapter. `redis-server`,
//!   `redis-check-rdb` and `redis-check-aof` are ours. Lines with `> ` before them continue it.
//! - `127.0.0.1:7001> PING`: for a connection to that port, one and the same for a chapter.
//!   Replies look as in redis-cli.
//!
//! `...` stands for what may differ: within a line for any characters, alone in a line for any
//! lines. Ports are 7001 to 7009 in the book and free ones here. A command that only looks is
//! asked until it shows what is expected, as a reader would do; one that changes something is
//! executed once.
//!
//! `FIDELIS_CHAPTER=reactor` executes one chapter, and prints what each command gave.
#![allow(clippy::disallowed_methods)] // a thread reads what the shell prints

mod support;

use fidelis::sds::{sdscatrepr, sdssplitargs};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use std::{env, fs, thread};
use support::{Conn, Folder, OURS, PATIENCE, Reply, free_port};

/// Chapters that are looked up rather than followed, and have neither experiment, drawing nor
/// exercises.
const REFERENCE: &[(&str, &str)] = &[
    ("README.md", "says what the book is"),
    ("differences.md", "a table"),
    ("newer-masters.md", "a table, with a test for each row"),
    ("lua.md", "the map of another crate"),
    ("glossary.md", "a table"),
    ("hints.md", "for the exercises of the others"),
];

/// Beginnings of commands that change nothing, so that they can be asked again.
const LOOKS: &[&str] = &[
    "cat",
    "grep",
    "tail",
    "head",
    "ls",
    "wc",
    "od",
    "sed",
    "info",
    "role",
    "get",
    "exists",
    "dbsize",
    "ttl",
    "keys",
    "lrange",
    "smembers",
    "object",
    "client list",
    "memory usage",
    "diff",
    "latency latest",
    "cmp",
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src")
}

fn read(name: &str) -> String {
    let path = source().join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The files of the chapters, in the order of the contents.
fn chapters() -> Vec<String> {
    let summary = read("SUMMARY.md");
    let links = summary.lines().filter_map(|l| l.split_once("](")?.1.split_once(')'));
    links.map(|(file, _)| file.to_string()).collect()
}

/// Chapters that tell something, with their text. Labs are exercises themselves, and
/// `docs/labs/run --check` sees that what they tell is so.
fn stories() -> Vec<(String, String)> {
    let told = |name: &String| {
        !name.starts_with("labs") && !REFERENCE.iter().any(|(reference, _)| name == reference)
    };
    chapters().into_iter().filter(told).map(|name| (name.clone(), read(&name))).collect()
}

/// A command of an experiment.
#[derive(Debug)]
struct Step {
    line: usize,
    /// Of the server, for a command at its prompt.
    port: Option<u16>,
    command: String,
    expected: Vec<String>,
}

/// `127.0.0.1:7001> PING`, also with the number of a db or a mark behind the port.
fn prompt(line: &str) -> Option<(u16, &str)> {
    let (before, command) = line.strip_prefix("127.0.0.1:")?.split_once("> ")?;
    let digits = before.find(|c: char| !c.is_ascii_digit()).unwrap_or(before.len());
    Some((before[..digits].parse().ok()?, command))
}

/// The commands in the blocks of a text with this fence.
fn steps(text: &str, fence: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    let mut continues = false;
    for (at, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            inside = line.strip_prefix("```") == Some(fence);
            continues = false;
            continue;
        }
        if !inside {
            continue;
        }
        let new = line.strip_prefix("$ ").map(|command| (None, command));
        let new = new.or_else(|| prompt(line).map(|(port, command)| (Some(port), command)));
        if let Some((port, command)) = new {
            let command = command.to_string();
            steps.push(Step { line: at + 1, port, command, expected: Vec::new() });
            continues = port.is_none();
        } else {
            let step = steps.last_mut().unwrap_or_else(|| panic!("line {}: no command", at + 1));
            match line.strip_prefix("> ").or((line == ">").then_some("")) {
                Some(more) if continues => {
                    step.command.push('\n');
                    step.command.push_str(more);
                }
                _ => {
                    continues = false;
                    step.expected.push(line.to_string());
                }
            }
        }
    }
    steps
}

/// Whether a line is what a line of the book says.
fn line_matches(expected: &str, line: &str) -> bool {
    let mut parts = expected.trim_end().split("...");
    let Some(mut rest) = line.trim_end().strip_prefix(parts.next().unwrap_or("")) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

fn matches(expected: &[String], lines: &[String]) -> bool {
    match expected.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first.trim() == "..." => {
            (0..=lines.len()).any(|skip| matches(rest, &lines[skip..]))
        }
        Some((first, rest)) => lines
            .split_first()
            .is_some_and(|(line, others)| line_matches(first, line) && matches(rest, others)),
    }
}

/// The shell and the connections of a chapter.
struct Session {
    bash: Child,
    stdin: ChildStdin,
    output: Receiver<String>,
    connections: HashMap<u16, Conn>,
    /// A port of the book, and the one that stands for it.
    ports: Vec<(u16, u16)>,
    _dir: Folder,
}

const MARK: &str = "--- end of this command ---";

impl Session {
    /// Begins a chapter, with the server that `server` is.
    fn new(server: &Path) -> Session {
        let dir = Folder::new();
        let bin = dir.path(".bin");
        fs::create_dir(&bin).unwrap();
        for name in ["redis-server", "redis-check-rdb", "redis-check-aof"] {
            std::os::unix::fs::symlink(server, bin.join(name)).unwrap();
        }
        let path = format!("{}:{}", bin.display(), env::var("PATH").unwrap_or_default());
        let mut bash = Command::new("bash")
            .arg("--norc")
            .current_dir(&dir.0)
            .env("PATH", path)
            .env("HOME", &dir.0)
            .env("LC_ALL", "C.UTF-8")
            .env("FIDELIS", env!("CARGO_MANIFEST_DIR"))
            .env("FAKETTY", "1") // redis-cli prints as on a terminal
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash");
        let mut stdin = bash.stdin.take().unwrap();
        writeln!(stdin, "exec 2>&1").unwrap();
        let stdout = BufReader::new(bash.stdout.take().unwrap());
        let (sender, output) = channel();
        thread::spawn(move || {
            for line in stdout.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_string();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let ports = (7001..=7009).map(|port| (port, free_port())).collect();
        Session { bash, stdin, output, connections: HashMap::new(), ports, _dir: dir }
    }

    /// Numbers of a text that are ports, replaced.
    fn with_ports(&self, text: &str, to_book: bool) -> String {
        let mut out = String::new();
        let mut rest = text;
        while !rest.is_empty() {
            let is_digit = |c: char| c.is_ascii_digit();
            let end = if rest.starts_with(is_digit) {
                rest.find(|c| !is_digit(c)).unwrap_or(rest.len())
            } else {
                rest.find(is_digit).unwrap_or(rest.len())
            };
            let (part, others) = rest.split_at(end);
            let port = self.ports.iter().find_map(|&(book, here)| {
                let (from, to) = if to_book { (here, book) } else { (book, here) };
                (part == from.to_string()).then_some(to)
            });
            match port {
                Some(port) => write!(out, "{port}").unwrap(),
                None => out.push_str(part),
            }
            rest = others;
        }
        out
    }

    /// Executes a step, and gives back the lines it printed.
    fn execute(&mut self, step: &Step) -> Result<Vec<String>, String> {
        let command = self.with_ports(&step.command, false);
        let lines = match step.port {
            Some(port) => self.ask(port, &command)?,
            None => self.shell(&command)?,
        };
        Ok(lines.iter().map(|line| self.with_ports(line, true)).collect())
    }

    fn shell(&mut self, command: &str) -> Result<Vec<String>, String> {
        writeln!(self.stdin, "{command}\necho '{MARK}'").map_err(|e| e.to_string())?;
        let mut lines = Vec::new();
        loop {
            let line = self.output.recv_timeout(PATIENCE).map_err(|e| format!("{e}: {lines:?}"))?;
            match line.strip_suffix(MARK) {
                // The shell tells of a server that ended otherwise than by itself, now or later.
                None if line.starts_with("bash: line ") && line.contains("redis-server ") => {}
                None => lines.push(line),
                Some(last) => {
                    // What was printed did not end with a line.
                    if !last.is_empty() {
                        lines.push(last.to_string());
                    }
                    break;
                }
            }
        }
        if command.ends_with('&')
            && command.starts_with("redis-server ")
            && let Some((_, rest)) = command.split_once(" --port ")
        {
            let port = rest.split(' ').next().unwrap_or("").parse().map_err(|e| format!("{e}"))?;
            self.wait_until_up(port)?;
        }
        Ok(lines)
    }

    fn wait_until_up(&mut self, port: u16) -> Result<(), String> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Ok(mut c) = Conn::try_open(port)
                && c.raw(b"PING\r\n").is_ok()
                && let Ok(reply) = c.try_reply()
                && !reply.text().starts_with("-LOADING")
            {
                return Ok(());
            }
            let said = self.shell("kill -0 $! || cat *.log")?;
            if !said.is_empty() {
                return Err(format!("the server has ended: {}", said.join("\n")));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Err("the server does not come up".to_string())
    }

    fn ask(&mut self, port: u16, command: &str) -> Result<Vec<String>, String> {
        let here = self.ports.iter().find(|p| p.0 == port).ok_or("no such port in the book")?.1;
        let args = sdssplitargs(command.as_bytes()).ok_or("unbalanced quotes")?;
        // Like redis-cli, connect again if the server has closed the connection.
        let mut kept = self.connections.remove(&here);
        let (conn, reply) = loop {
            let again = kept.is_some();
            let mut conn = match kept.take() {
                Some(conn) => conn,
                None => Conn::try_open(here).map_err(|e| e.to_string())?,
            };
            match conn.raw(&Conn::encode(&args)).and_then(|()| conn.try_reply()) {
                Ok(reply) => break (conn, reply),
                Err(e) if !again => return Err(e.to_string()),
                Err(_) => {}
            }
        };
        self.connections.insert(here, conn);
        let name = command.to_ascii_lowercase();
        let is_text = ["info", "client list", "client info", "debug htstats", "memory doctor"];
        let text = match &reply {
            Reply::Bulk(text) if is_text.iter().any(|c| name.starts_with(c)) => {
                String::from_utf8_lossy(text).into_owned()
            }
            reply => as_in_redis_cli(reply, ""),
        };
        Ok(text.trim_end().lines().map(|line| line.trim_end().to_string()).collect())
    }
}

impl Drop for Session {
    /// Ends what the chapter started: the processes below its shell, by their ids.
    fn drop(&mut self) {
        let mut pids = vec![self.bash.id()];
        let mut at = 0;
        while at < pids.len() {
            let pid = pids[at];
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            let children = children.unwrap_or_default();
            pids.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            at += 1;
        }
        for pid in &pids[1..] {
            let pid = pid.to_string();
            let _ = Command::new("kill").args(["-KILL", &pid]).stderr(Stdio::null()).status();
        }
        let _ = self.bash.kill();
        let _ = self.bash.wait();
    }
}

/// A reply as redis-cli prints it on a terminal.
fn as_in_redis_cli(reply: &Reply, indent: &str) -> String {
    match reply {
        Reply::Status(text) => format!("{}\n", String::from_utf8_lossy(text)),
        Reply::Error(text) => format!("(error) {}\n", String::from_utf8_lossy(text)),
        Reply::Int(n) => format!("(integer) {n}\n"),
        Reply::Nil => "(nil)\n".to_string(),
        Reply::Bulk(text) => {
            let mut quoted = Vec::new();
            sdscatrepr(&mut quoted, text);
            format!("{}\n", String::from_utf8_lossy(&quoted))
        }
        Reply::Array(items) if items.is_empty() => "(empty array)\n".to_string(),
        Reply::Array(items) => {
            let width = items.len().to_string().len();
            let inner = format!("{indent}{}", " ".repeat(width + 2));
            let mut out = String::new();
            for (i, item) in items.iter().enumerate() {
                let before = if i == 0 { "" } else { indent };
                let number = i + 1;
                write!(out, "{before}{number:>width$}) {}", as_in_redis_cli(item, &inner)).unwrap();
            }
            out
        }
        other => format!("{other:?}\n"),
    }
}

/// Whether a command changes nothing.
fn only_looks(step: &Step) -> bool {
    let command = step.command.to_ascii_lowercase();
    let command = match command.strip_prefix("redis-cli -p 700") {
        Some(rest) => rest.split_once(' ').map_or("", |(_, command)| command),
        None => &command,
    };
    let is = |look: &&&str| {
        command.strip_prefix(**look).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    LOOKS.iter().find(is).is_some() && !command.contains(" > ")
}

/// Executes the experiments of a chapter; what is wrong, if something is.
fn experiment(name: &str, steps: Vec<Step>, server: &Path, verbose: bool) -> Result<(), String> {
    let mut session = Session::new(server);
    for step in steps {
        let start = Instant::now();
        let at = format!("docs/src/{name}:{}: {}", step.line, step.command);
        loop {
            let lines = session.execute(&step).map_err(|e| format!("{at}: {e}"))?;
            if matches(&step.expected, &lines) {
                if verbose {
                    println!("{}\n{}", step.command, lines.join("\n"));
                }
                break;
            }
            if !only_looks(&step) || start.elapsed() > PATIENCE / if verbose { 60 } else { 2 } {
                let (is, not) = (lines.join("\n"), step.expected.join("\n"));
                return Err(format!("{at}\nprints\n{is}\nand not\n{not}"));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(())
}

#[test]
fn experiments_give_what_the_book_shows() {
    let only = env::var("FIDELIS_CHAPTER").ok();
    let mut wrong = Vec::new();
    for name in chapters() {
        if only.as_ref().is_some_and(|only| name.strip_suffix(".md") != Some(only)) {
            continue;
        }
        if let Err(what) =
            experiment(&name, steps(&read(&name), "console"), Path::new(OURS), only.is_some())
        {
            wrong.push(what);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn each_chapter_has_a_drawing_an_experiment_and_exercises() {
    let hints = read("hints.md");
    let mut wrong = Vec::new();
    for (name, text) in stories() {
        let mut lacks = |what: &str| wrong.push(format!("docs/src/{name} has no {what}"));
        if steps(&text, "console").iter().all(|step| step.expected.is_empty()) {
            lacks("experiment");
        }
        if !text.contains("{{#include img/") {
            lacks("drawing");
        }
        let exercises = text.split_once("\n## Exercises\n").map_or("", |(_, rest)| rest);
        let count =
            exercises.lines().filter(|l| l.starts_with(|c: char| c.is_ascii_digit())).count();
        if !(2..=4).contains(&count) {
            lacks("two to four exercises");
        }
        let title = text.lines().next().unwrap_or("").trim_start_matches("# ");
        if !hints.contains(&format!("\n## {title}\n")) {
            lacks("hints");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The patch that adds a command applies. With `FIDELIS_LONG` the server is built with it in a copy
/// of the project, which takes minutes, and does what the chapter shows.
#[test]
fn the_command_of_the_book_can_be_added() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let patch = root.join("docs/own-command.patch");
    let apply = |dir: &Path, more: &[&str]| {
        let git = Command::new("git").arg("apply").args(more).arg(&patch).current_dir(dir).status();
        assert!(git.expect("git").success(), "docs/own-command.patch does not apply");
    };
    apply(root, &["--check"]);
    if env::var_os("FIDELIS_LONG").is_none() {
        return;
    }

    let copy = Folder::new();
    for entry in fs::read_dir(root).unwrap() {
        let name = entry.unwrap().file_name();
        if name != "target" && name != ".git" {
            let cp = Command::new("cp").arg("-r").arg(root.join(&name)).arg(&copy.0).status();
            assert!(cp.unwrap().success());
        }
    }
    apply(&copy.0, &[]);
    let cargo = Command::new("cargo")
        .args(["build", "--locked", "--bin", "redis-server"])
        .current_dir(&copy.0)
        .env("CARGO_TARGET_DIR", copy.path("target"))
        .status();
    assert!(cargo.unwrap().success(), "the server with the new command does not build");
    let steps = steps(&read("own-command.md"), "console,patched");
    experiment("own-command.md", steps, &copy.path("target/debug/redis-server"), false).unwrap();
}

/// A drawing is part of the page: it takes its colours, says in words what it shows, and its ids
/// are its own among all drawings of the printed book.
#[test]
fn drawings_can_be_read_by_everybody() {
    let book: String = chapters().iter().map(|name| read(name)).collect();
    let mut wrong = Vec::new();
    for entry in fs::read_dir(source().join("img")).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let text = read(&format!("img/{file}"));
        let name = file.strip_suffix(".svg").expect("drawings are SVG");
        let mut is = |what: &str| wrong.push(format!("docs/src/img/{file} {what}"));
        // The parts of lanes are links.
        let role = if name.starts_with("lanes-") { "role=\"group\"" } else { "role=\"img\"" };
        for part in ["<title", "<desc", role, "viewBox=", "currentColor"] {
            if !text.contains(part) {
                is(&format!("has no {part}"));
            }
        }
        for id in text.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            if !id.starts_with(name) {
                is(&format!("has the id {id}, which does not begin with its name"));
            }
        }
        for colour in ["black", "white", "#000", "#fff"] {
            if text.contains(colour) {
                is(&format!("has {colour}, which is not to be seen on a page of that colour"));
            }
        }
        // A blank line would end the HTML within the Markdown.
        if text.contains("\n\n") {
            is("has a blank line");
        }
        if !book.contains(&format!("{{{{#include img/{file}}}}}")) {
            is("is in no chapter");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_varies_is_shown_as_dots() {
    let lines = |text: &str| text.lines().map(str::to_string).collect::<Vec<_>>();
    assert!(line_matches("a...c...", "abcd"));
    assert!(line_matches("pid ...", "pid 17"));
    assert!(!line_matches("pid ...!", "pid 17"));
    assert!(!line_matches("a", "ab"));
    assert!(matches(&lines("a\n...\nd"), &lines("a\nb\nc\nd")));
    assert!(!matches(&lines("a\n...\nd"), &lines("a\nb\nc")));
}
