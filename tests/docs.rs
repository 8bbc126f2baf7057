//! The documentation speaks of the code as it is: each name in it exists, its tables and links are
//! whole, and its listings come from the source.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All files below a folder, but for what is built.
fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if name == "target" || name == ".git" || name == "book" {
            continue;
        }
        let path = entry.path();
        // A chapter that is a link to another file is looked at once, there.
        if fs::symlink_metadata(&path).unwrap().is_symlink() {
            continue;
        }
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

struct Project {
    /// Paths from the root.
    files: Vec<String>,
    /// Every word of the source, but for comments; the names of the C; and what the README of a
    /// shell may say.
    words: HashSet<String>,
    /// The words of string literals, which may have hyphens: directives, fields, file names.
    literals: HashSet<String>,
}

/// Words of the C or of tools that documentation may mention, though nothing here has them.
const ELSEWHERE: &[&str] = &[
    // The C's types and marks, and C itself.
    "robj",
    "client",
    "NULL",
    "goto",
    "void",
    "ifdef",
    "snprintf",
    "dictEntry",
    "listIter",
    "listNode",
    "redisDb",
    "redisServer",
    "zskiplist",
    "zskiplistNode",
    // Of Rust, and of no code.
    "SAFETY",
    // The kernel's.
    "epoll_ctl",
    "FIONREAD",
    "REDIS_TEST",
    // What was tried and is not used.
    "Rc",
    // Tools, and where they put things.
    "mdbook",
    "ctags",
    "artifacts",
    "TARGET",
];

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| !is_word(c)).filter(|w| !w.is_empty())
}

/// Words that may have hyphens within.
fn hyphenated(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| !is_word(c) && c != '-').map(|w| w.trim_matches('-')).filter(|w| !w.is_empty())
}

fn without_comment(line: &str) -> &str {
    let code = line.trim_start();
    if code.starts_with("//") {
        return "";
    }
    code.split(" // ").next().unwrap()
}

fn project() -> Project {
    let mut paths = Vec::new();
    files(root(), &mut paths);
    let mut project =
        Project { files: Vec::new(), words: HashSet::new(), literals: HashSet::new() };
    for path in &paths {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_string();
        let code = name.ends_with(".rs");
        let plain = name.starts_with("docs/names/") && !name.ends_with(".md")
            || name.ends_with(".toml")
            || name == "redis.conf"
            || name == ".ci/run"
            || name == "tests/run"
            || name == "docs/own-command.patch";
        // This file names what must not be there.
        if (code || plain) && name != "tests/docs.rs" {
            for line in read(path).lines() {
                let line = if code { without_comment(line) } else { line };
                project.words.extend(words(line).map(str::to_string));
                let quoted = line.split('"').skip(1).step_by(2);
                let quoted: Vec<&str> = if code { quoted.collect() } else { vec![line] };
                for text in quoted {
                    project.literals.extend(hyphenated(text).map(str::to_string));
                }
            }
        }
        project.words.extend(words(&name).map(str::to_string));
        project.files.push(name);
    }
    project.words.extend(ELSEWHERE.iter().map(|w| w.to_string()));
    project
}

impl Project {
    fn documents(&self) -> impl Iterator<Item = (&str, String)> {
        let is_document = |name: &&String| name.ends_with(".md");
        self.files.iter().filter(is_document).map(|name| (name.as_str(), read(&root().join(name))))
    }

    fn has_file(&self, name: &str) -> bool {
        let name = name.trim_start_matches("./").trim_end_matches('/');
        let c_file = format!("docs/names/{name}");
        let folder = format!("{name}/");
        self.files.iter().any(|f| {
            f == name
                || *f == c_file
                || f.starts_with(&folder)
                || f.strip_suffix(name).is_some_and(|rest| rest.ends_with('/'))
                || f.contains(&format!("/{folder}"))
        })
    }

    /// What is wrong with a piece of code within a text.
    fn unknown(&self, span: &str) -> Option<String> {
        // A file, or a folder.
        if !span.contains(' ') && [".rs", ".md", ".c"].iter().any(|end| span.ends_with(end)) {
            return (!self.has_file(span)).then(|| span.to_string());
        }
        for word in hyphenated(span) {
            if word.contains('-') {
                // A directive or a field, a tool, or several words.
                let known = self.literals.contains(word)
                    || words(word).all(|w| self.words.contains(w)) && !word.contains("repl-");
                if !known {
                    return Some(word.to_string());
                }
                continue;
            }
            // A byte may be written as two digits without a mark.
            let byte = word.len() == 2 && word.chars().all(|c| c.is_ascii_hexdigit());
            let number = byte || word.starts_with(|c: char| c.is_ascii_digit());
            let prefix = span.contains(&format!("{word}..."));
            let suffix = span.contains(&format!("...{word}"));
            let known = number
                || word.len() == 1
                || self.words.contains(word)
                || prefix && self.words.iter().any(|w| w.starts_with(word))
                || suffix && self.words.iter().any(|w| w.ends_with(word));
            if !known {
                return Some(word.to_string());
            }
        }
        None
    }
}

/// The lines of a document with their numbers, without blocks of code.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut in_block = false;
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block && !line.starts_with("    ") {
            lines.push((at + 1, line));
        }
    }
    lines
}

/// The pieces of code within the text of a paragraph, with the number of the line they begin in.
fn code_spans(text: &str) -> Vec<(usize, String)> {
    let mut spans = Vec::new();
    let mut open: Option<(usize, String)> = None;
    let mut last = 0;
    for (at, line) in prose(text) {
        // A paragraph ends at a blank line, and a piece of code with it.
        if line.is_empty() || at != last + 1 {
            open = None;
        }
        last = at;
        for (i, piece) in line.split('`').enumerate() {
            if i > 0 {
                match open.take() {
                    Some(span) => spans.push(span),
                    None => open = Some((at, String::new())),
                }
            }
            if let Some((_, span)) = &mut open {
                if !span.is_empty() {
                    span.push(' ');
                }
                span.push_str(piece);
            }
        }
    }
    spans
}

/// Where a heading is in a page, as mdBook and GitHub have it.
fn anchor_of(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c.to_ascii_lowercase()),
        _ => None,
    });
    kept.collect()
}

#[test]
fn every_name_in_the_documentation_exists() {
    let project = project();
    let mut wrong = Vec::new();
    let mut looked_at = 0;
    for (name, text) in project.documents() {
        for (line, span) in code_spans(&text) {
            looked_at += 1;
            if let Some(word) = project.unknown(&span) {
                wrong.push(format!("{name}:{line}: `{span}`: nothing here is called {word}"));
            }
        }
        // Files are named without marks in the tables of differences.md.
        for (line, text) in prose(&text) {
            for word in text.split(|c: char| !is_word(c) && !"/.-".contains(c)) {
                if word.ends_with(".rs") && word.len() > 3 && !project.has_file(word) {
                    wrong.push(format!("{name}:{line}: there is no file {word}"));
                }
            }
        }
    }
    assert!(looked_at > 500, "only {looked_at} names were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A row behind a blank line is no row any more, and is shown with its bars; one with too many
/// cells loses some.
#[test]
fn tables_are_whole() {
    let cells = |row: &str| row.trim().trim_matches('|').replace("\\|", "").split('|').count();
    let mut wrong = Vec::new();
    for (name, text) in project().documents() {
        let lines: Vec<&str> = text.lines().collect();
        let mut head = None;
        let mut in_block = false;
        for (i, line) in lines.iter().enumerate() {
            in_block ^= line.starts_with("```");
            if in_block || !line.starts_with('|') {
                head = None;
                continue;
            }
            match head {
                None => {
                    let below = lines.get(i + 1).unwrap_or(&"");
                    if !below.starts_with("|-") && !below.starts_with("| -") {
                        wrong
                            .push(format!("{name}:{}: a row without the head of its table", i + 1));
                    }
                    head = Some(cells(line));
                }
                Some(n) if n != cells(line) => {
                    wrong.push(format!("{name}:{}: {} cells, not {n}", i + 1, cells(line)));
                }
                Some(_) => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A difference from the C has a reason.
#[test]
fn differences_say_why() {
    let text = read(&root().join("docs/differences.md"));
    let mut rows = 0;
    for (i, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with("| ")) {
        let row = line.replace("\\|", "");
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let which = if cells.len() == 3 && cells[0].ends_with(".c") { 2 } else { 1 };
        assert!(!cells[which].is_empty(), "differences.md:{}: no reason: {}", i + 1, cells[0]);
        rows += 1;
    }
    assert!(rows > 250, "{rows}");
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    for (name, text) in project().documents() {
        let dir = root().join(name).parent().unwrap().to_path_buf();
        for (line, text) in prose(&text) {
            for (i, _) in text.match_indices("](") {
                let target = text[i + 2..].split(')').next().unwrap();
                if target.starts_with("http") {
                    continue;
                }
                let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
                let path = if file.is_empty() { root().join(name) } else { dir.join(file) };
                if !path.exists() {
                    wrong.push(format!("{name}:{line}: {target}: no such file"));
                } else if !anchor.is_empty() {
                    let page = read(&path);
                    let headings = page.lines().filter(|l| l.starts_with('#'));
                    let mut anchors = headings.map(|l| anchor_of(l.trim_start_matches('#')));
                    if !anchors.any(|a| a == anchor) {
                        wrong.push(format!("{name}:{line}: {target}: no such heading"));
                    }
                }
            }
        }
    }
    // The contents of the book are its chapters, all of them.
    let summary = read(&root().join("docs/src/SUMMARY.md"));
    for entry in fs::read_dir(root().join("docs/src")).unwrap() {
        let chapter = entry.unwrap().file_name().into_string().unwrap();
        if chapter.ends_with(".md") && chapter != "SUMMARY.md" && !summary.contains(&chapter) {
            wrong.push(format!("docs/src/{chapter} is not in SUMMARY.md"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every link and picture of the built site is there, with the place in the page that it names.
#[test]
#[ignore = "docs/build runs it, on the site that it has made"]
fn links_of_the_site_lead_somewhere() {
    let site = PathBuf::from(std::env::var_os("FIDELIS_SITE").expect("FIDELIS_SITE is a folder"));
    let mut pages = Vec::new();
    files(&site, &mut pages);
    // rustdoc checks its own.
    pages.retain(|page| page.extension().is_some_and(|e| e == "html"));
    pages.retain(|page| !page.starts_with(site.join("api")));
    let mut wrong = Vec::new();
    let mut looked_at = 0;
    for page in &pages {
        let text = read(page);
        let links = ["href=\"", "src=\""].into_iter().flat_map(|mark| text.split(mark).skip(1));
        for link in links.map(|rest| rest.split('"').next().unwrap_or("")) {
            if link.contains(':') || link.is_empty() {
                continue;
            }
            // The book alone is made without the documentation of the code.
            if link.starts_with("api/") && !site.join("api").exists() {
                continue;
            }
            // The book alone may be built, without the pages of the code, to which drawings lead.
            if link.starts_with("api/") && !site.join("api").exists() {
                continue;
            }
            looked_at += 1;
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let file = file.split('?').next().unwrap_or("");
            let mut target = match file {
                "" => page.clone(),
                file if file.starts_with('/') => site.join(&file[1..]),
                file => page.parent().unwrap().join(file),
            };
            if target.is_dir() {
                target = target.join("index.html");
            }
            let name = page.strip_prefix(&site).unwrap().display();
            if !target.exists() {
                wrong.push(format!("{name}: {link}: no such file"));
            } else if !place.is_empty() && !read(&target).contains(&format!("id=\"{place}\"")) {
                wrong.push(format!("{name}: {link}: no such place"));
            }
        }
    }
    assert!(looked_at > 500, "only {looked_at} links");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A listing in Rust is a part of the source between two marks, so it cannot differ from it.
#[test]
fn listings_come_from_the_source() {
    let mut wrong = Vec::new();
    let mut used = HashSet::new();
    let project = project();
    for (name, text) in project.documents().filter(|(name, _)| name.starts_with("docs/src/")) {
        let mut lines = text.lines().enumerate();
        while let Some((at, line)) = lines.next() {
            if !line.starts_with("```rust") {
                continue;
            }
            for (_, line) in lines.by_ref().take_while(|(_, line)| !line.starts_with("```")) {
                let include = line.strip_prefix("{{#include ").and_then(|l| l.strip_suffix("}}"));
                let Some((file, anchor)) = include.and_then(|l| l.rsplit_once(':')) else {
                    wrong.push(format!("{name}:{}: a listing that is not included", at + 1));
                    continue;
                };
                let path = root().join(name).parent().unwrap().join(file);
                let source = if path.exists() { read(&path) } else { String::new() };
                let has =
                    |mark: &str| source.lines().any(|l| l.trim() == format!("// {mark}: {anchor}"));
                if !has("ANCHOR") || !has("ANCHOR_END") {
                    wrong.push(format!("{name}:{}: {file} has no {anchor}", at + 1));
                }
                used.insert(anchor.to_string());
            }
        }
    }
    for name in project.files.iter().filter(|f| f.starts_with("src/")) {
        for line in read(&root().join(name)).lines() {
            if let Some(anchor) = line.trim().strip_prefix("// ANCHOR: ") {
                if !used.contains(anchor) {
                    wrong.push(format!("{name}: {anchor} is in no chapter"));
                }
            }
        }
    }
    assert!(used.len() >= 5, "only {} listings", used.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A lab is a patch that fits, a page in the book, and a test that its patch names; `docs/labs/run
/// --check` looks at what they do.
#[test]
fn labs_are_whole() {
    let project = project();
    let summary = read(&root().join("docs/src/SUMMARY.md"));
    let overview = read(&root().join("docs/src/labs.md"));
    let mut wrong = Vec::new();
    let patches = project.files.iter().filter_map(|f| {
        f.strip_prefix("docs/labs/").and_then(|f| f.strip_suffix(".patch")).map(str::to_string)
    });
    let mut found = 0;
    for name in patches {
        found += 1;
        let page = format!("labs/{name}.md");
        if !summary.contains(&page) || !overview.contains(&page) {
            wrong.push(format!("{page} is not in SUMMARY.md and labs.md"));
        }
        let patch = read(&root().join(format!("docs/labs/{name}.patch")));
        // As docs/labs/run applies it: one line of context has to be as it was.
        let fits = std::process::Command::new("git")
            .current_dir(root())
            .args(["apply", "-C1", "--check"])
            .arg(format!("docs/labs/{name}.patch"))
            .output()
            .expect("git runs");
        if !fits.status.success() {
            let said = String::from_utf8_lossy(&fits.stderr);
            wrong.push(format!("{name}.patch does not fit any more: {said}"));
        }
        let test = patch.lines().find_map(|l| l.strip_prefix("test: ")).unwrap_or_default();
        let function = test.rsplit([':', ' ']).next().unwrap_or_default();
        if !project.words.contains(function) {
            wrong.push(format!("{name}: there is no test {function}"));
        }
        let text = read(&root().join("docs/src").join(&page));
        for part in ["What to look at", "## Questions", "Hint 1", "Hint 2", "<summary>Solution"] {
            if !text.contains(part) {
                wrong.push(format!("{page} has no {part:?}"));
            }
        }
        if text.matches("<details>").count() != text.matches("</details>").count() {
            wrong.push(format!("{page}: what is folded is not closed"));
        }
    }
    assert!(found >= 10, "only {found} labs");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
