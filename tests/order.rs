//! The port is read beside the C: the same file, the same function, the same order. `docs/names`
//! lists the functions of the C; see its README for what has to hold.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The functions of one C file.
struct CFile {
    /// `ae.c`.
    name: String,
    /// Its first line says that nothing of it is here, or another's code instead.
    ported: bool,
    functions: Vec<String>,
    /// Those that cannot stand in the C's order, each with a reason.
    excepted: HashSet<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn c_files() -> Vec<CFile> {
    let mut files: Vec<CFile> = Vec::new();
    for entry in fs::read_dir(root().join("docs/names")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "c") {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        let text = read(&path);
        let (head, body) = text.split_once('\n').unwrap();
        assert!(head.starts_with(&format!("# {name}, ")), "{name} has no head");
        let mut file = CFile {
            name,
            ported: head.contains("Here: "),
            functions: Vec::new(),
            excepted: HashSet::new(),
        };
        for line in body.lines() {
            match line.split_once(": ") {
                Some((function, _reason)) => {
                    file.functions.push(function.to_string());
                    file.excepted.insert(function.to_string());
                }
                None => file.functions.push(line.to_string()),
            }
        }
        files.push(file);
    }
    assert!(files.len() > 70, "docs/names is incomplete");
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

fn rust_files(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// The names of the functions and macros that a source file defines, in their order, with their
/// lines.
fn definitions(text: &str) -> Vec<(usize, &str)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let code = line.trim_start();
        if code.starts_with("//") {
            continue;
        }
        for word in ["fn ", "macro_rules! "] {
            let Some(pos) = code.find(word) else { continue };
            if code[..pos].ends_with(is_name) {
                continue;
            }
            let rest = &code[pos + word.len()..];
            let name = &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())];
            if !name.is_empty() {
                found.push((at + 1, name));
            }
        }
    }
    found
}

/// Every source file of the server without its unit tests: its path from the project's root, and
/// its text.
fn sources() -> Vec<(String, String)> {
    let mut paths = Vec::new();
    rust_files(&root().join("src"), &mut paths);
    paths.sort();
    let own = |path: &PathBuf| !path.ends_with("tests.rs");
    let sources = paths.iter().filter(|path| own(path)).map(|path| {
        let mut text = read(path);
        if let Some(end) = text.find("\n#[cfg(test)]\nmod tests") {
            text.truncate(end);
        }
        (path.strip_prefix(root()).unwrap().to_str().unwrap().to_string(), text)
    });
    sources.collect()
}

/// Which elements of `seq` are not part of its longest increasing subsequence.
fn out_of_order(seq: &[usize]) -> Vec<usize> {
    let mut best: Vec<(usize, Option<usize>)> = Vec::new();
    for (i, x) in seq.iter().enumerate() {
        let before = (0..i).filter(|&j| seq[j] < *x).max_by_key(|&j| best[j].0);
        best.push((before.map_or(1, |j| best[j].0 + 1), before));
    }
    let mut at = (0..seq.len()).max_by_key(|&i| best[i].0);
    let mut kept = HashSet::new();
    while let Some(i) = at {
        kept.insert(i);
        at = best[i].1;
    }
    (0..seq.len()).filter(|i| !kept.contains(i)).collect()
}

/// The rows of the table of absent functions: the C file, the names in the row, and whether the row
/// speaks of all that are not here.
fn absent_rows() -> Vec<(String, Vec<String>, bool)> {
    let text = read(&root().join("docs/differences.md"));
    let (_, section) = text
        .split_once("## Functions of the C that are not here")
        .expect("docs/differences.md has a table of absent functions");
    let section = section.split("\n## ").next().unwrap();
    let mut rows = Vec::new();
    for line in section.lines().filter(|l| l.starts_with("| ") && l.contains(".c |")) {
        let mut cells = line.trim_matches('|').split(" | ").map(str::trim);
        let (file, names, why) = (cells.next().unwrap(), cells.next().unwrap(), cells.next());
        assert!(why.is_some_and(|why| why.len() > 3), "a row without a reason: {line}");
        let names_in_ticks: Vec<String> =
            names.split('`').skip(1).step_by(2).map(str::to_string).collect();
        let all = names.starts_with("all ");
        assert!(all == names_in_ticks.is_empty(), "names, or all of them: {line}");
        rows.push((file.to_string(), names_in_ticks, all));
    }
    rows
}

#[test]
fn functions_stand_in_the_order_of_the_c() {
    let sources = sources();
    let mut wrong = Vec::new();
    for c in c_files() {
        let place: HashMap<&str, usize> =
            c.functions.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
        for (path, text) in &sources {
            let mut seen = HashSet::new();
            let here: Vec<(usize, &str)> = definitions(text)
                .into_iter()
                .filter(|(_, name)| {
                    place.contains_key(name) && !c.excepted.contains(*name) && seen.insert(*name)
                })
                .collect();
            let order: Vec<usize> = here.iter().map(|(_, name)| place[name]).collect();
            for i in out_of_order(&order) {
                let (line, name) = here[i];
                let before = place[name].checked_sub(1).map(|i| c.functions[i].as_str());
                wrong.push(format!(
                    "{path}:{line}: {name} stands behind {} in {}",
                    before.unwrap_or("nothing"),
                    c.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "out of order:\n{}", wrong.join("\n"));
}

#[test]
fn a_function_of_the_c_is_here_or_said_to_be_absent() {
    let sources = sources();
    let here: HashSet<&str> =
        sources.iter().flat_map(|(_, text)| definitions(text)).map(|(_, name)| name).collect();
    let stems: HashSet<&str> = sources
        .iter()
        .filter_map(|(path, _)| Path::new(path.as_str()).file_stem()?.to_str())
        .collect();
    let files = c_files();
    let mut wrong = Vec::new();
    let mut absent: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for c in &files {
        if !c.ported {
            if stems.contains(c.name.trim_end_matches(".c")) {
                wrong.push(format!("docs/names/{} says that it is not ported", c.name));
            }
            continue;
        }
        let names = c.functions.iter().map(String::as_str).filter(|name| !here.contains(name));
        absent.insert(&c.name, names.collect());
    }
    for (file, names, all) in absent_rows() {
        let Some(left) = absent.get_mut(file.as_str()) else {
            wrong.push(format!("a row for {file}, which is not a ported file"));
            continue;
        };
        if all && left.is_empty() {
            wrong.push(format!("{file}: nothing is absent any more"));
        }
        if all {
            left.clear();
        }
        for name in names {
            let before = left.len();
            match name.strip_suffix("...") {
                Some(prefix) => left.retain(|n| !n.starts_with(prefix)),
                None => left.retain(|n| *n != name),
            }
            if left.len() == before {
                wrong.push(format!("{file}: {name} is not absent, or has no such name"));
            }
        }
    }
    for (file, names) in absent {
        if !names.is_empty() {
            let names: Vec<&str> = names.into_iter().collect();
            wrong.push(format!("{file}: {} in no row of docs/differences.md", names.join(" ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// All names of the C: its functions, and the macros of the file `macros`.
fn names_of_the_c() -> HashSet<String> {
    let macros = read(&root().join("docs/names/macros"));
    let macros = macros.lines().filter(|line| !line.starts_with('#')).map(str::to_string);
    c_files().into_iter().flat_map(|c| c.functions).chain(macros).collect()
}

/// camelCase is the C's; what is ours is in snake_case. A test may have a name of the C within its
/// own: `aeMain_calls_around_the_sleep`.
#[test]
fn case_shows_where_a_function_comes_from() {
    let c = names_of_the_c();
    let mut paths = Vec::new();
    rust_files(&root().join("src"), &mut paths);
    paths.sort();
    let mut wrong = Vec::new();
    for path in paths {
        let text = read(&path);
        for (line, name) in definitions(&text) {
            let has_upper = |s: &str| s.contains(|c: char| c.is_ascii_uppercase());
            let of_the_c = |part: &str| !has_upper(part) || c.contains(part);
            if has_upper(name) && !c.contains(name) && !name.split('_').all(of_the_c) {
                let path = path.strip_prefix(root()).unwrap().display();
                wrong.push(format!("{path}:{line}: {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "camelCase, but not a name of the C:\n{}", wrong.join("\n"));
}
