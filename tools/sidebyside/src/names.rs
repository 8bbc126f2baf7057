//! What the project says about the C: `docs/names`, and the table of absent functions in
//! `docs/differences.md`. Nothing here needs the C's text.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use crate::Fail;

/// One file of `docs/names`: the functions of one C file in their order.
pub struct CNames {
    /// `ae.c`.
    pub file: String,
    /// The Rust files that have them, the main one first: `src/ae.rs`.
    pub here: Vec<String>,
    /// What the first line says instead of naming Rust files: "Not ported: nobody waits."
    pub head: Option<String>,
    pub functions: Vec<String>,
}

/// A row of the table "Functions of the C that are not here".
pub struct AbsentRow {
    /// Its anchor on the page of the differences.
    pub id: String,
    pub file: String,
    /// A name ending in `...` stands for all that begin so; no name at all for all functions that
    /// are not here.
    pub names: Vec<String>,
    pub why: String,
}

impl AbsentRow {
    pub fn speaks_of(&self, file: &str, name: &str) -> bool {
        let is = |of: &String| match of.strip_suffix("...") {
            Some(prefix) => name.starts_with(prefix),
            None => of == name,
        };
        self.file == file && (self.names.is_empty() || self.names.iter().any(is))
    }
}

/// Where the table of absent functions begins in `docs/differences.md`.
pub const ABSENT_HEADING: &str = "Functions of the C that are not here";

pub struct Names {
    pub files: Vec<CNames>,
    pub absent: Vec<AbsentRow>,
    /// Macros with arguments, and functions that stand in headers, by the file that has them.
    pub macros: HashMap<String, Vec<String>>,
    /// `docs/differences.md` itself.
    pub differences: String,
}

/// Reads a file whose text is for people: bytes that are not UTF-8 are shown as such.
pub fn read(path: &Path) -> Result<String, Fail> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(e) => Err(format!("{}: {e}", path.display()).into()),
    }
}

impl Names {
    pub fn read(project: &Path) -> Result<Names, Fail> {
        let folder = project.join("docs/names");
        let mut paths: Vec<_> = fs::read_dir(&folder)
            .map_err(|e| format!("{}: {e}", folder.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|e| e == "c"))
            .collect();
        paths.sort();
        let files = paths.iter().map(|path| names_of(&read(path)?)).collect::<Result<_, _>>()?;
        let differences = read(&project.join("docs/differences.md"))?;
        let absent = absent_rows(&differences);
        let macros = match folder.join("macros") {
            path if path.exists() => macros_of(&read(&path)?),
            _ => HashMap::new(),
        };
        Ok(Names { files, absent, macros, differences })
    }

    /// The row that says why a function of the C is not here.
    pub fn why_absent(&self, file: &str, name: &str) -> Option<&AbsentRow> {
        // A row that names it says more than one about all of a file.
        let mut rows = self.absent.iter().filter(|row| row.speaks_of(file, name));
        let first = rows.next()?;
        if first.names.is_empty() { rows.next().or(Some(first)) } else { Some(first) }
    }
}

fn names_of(text: &str) -> Result<CNames, Fail> {
    let (head, body) = text.split_once('\n').ok_or("a file of docs/names is empty")?;
    let head = head.strip_prefix("# ").ok_or("a file of docs/names has no head")?;
    let (file, rest) = head.split_once(", ").ok_or("a file of docs/names has no head")?;
    let said = rest.split_once(". ").map_or("", |(_, said)| said).trim();
    let (here, head) = match said.strip_prefix("Here: ") {
        Some(here) => (here.split(", ").map(str::to_string).collect(), None),
        None => (Vec::new(), Some(said.to_string())),
    };
    // `name: reason` is a function that cannot stand in the C's order.
    let name = |line: &str| line.split(": ").next().unwrap_or_default().to_string();
    Ok(CNames { file: file.to_string(), here, head, functions: body.lines().map(name).collect() })
}

fn macros_of(text: &str) -> HashMap<String, Vec<String>> {
    let mut macros: HashMap<String, Vec<String>> = HashMap::new();
    let mut file = String::new();
    for line in text.lines() {
        match line.strip_prefix("# ") {
            Some(name) => file = name.to_string(),
            None => macros.entry(file.clone()).or_default().push(line.to_string()),
        }
    }
    macros
}

/// Whether a line of markdown is a row of the table of absent functions.
pub fn is_absent_row(line: &str) -> bool {
    line.starts_with("| ") && line.contains(".c |")
}

fn absent_rows(differences: &str) -> Vec<AbsentRow> {
    let section = differences
        .split("\n## ")
        .find(|section| section.starts_with(ABSENT_HEADING))
        .unwrap_or_default();
    let mut rows = Vec::new();
    for line in section.lines().filter(|line| is_absent_row(line)) {
        let mut cells = line.trim_matches('|').split(" | ").map(str::trim);
        let (Some(file), Some(names), Some(why)) = (cells.next(), cells.next(), cells.next())
        else {
            continue;
        };
        rows.push(AbsentRow {
            id: format!("absent-{}", rows.len() + 1),
            file: file.to_string(),
            names: names.split('`').skip(1).step_by(2).map(str::to_string).collect(),
            why: why.to_string(),
        });
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_names_a_function_comes_before_one_about_the_whole_file() {
        let absent = absent_rows(
            "# D\n\n## Functions of the C that are not here\n\n| file | functions | why |\n|---|---|---|\n\
             | a.c | all others | no need |\n| a.c | `one`, `two...` | because |\n\n## More\n| b.c | `x` | y |\n",
        );
        let names =
            Names { files: vec![], absent, macros: HashMap::new(), differences: String::new() };
        let why = |file, name| names.why_absent(file, name).map(|row| row.why.as_str());
        assert_eq!(why("a.c", "one"), Some("because"));
        assert_eq!(why("a.c", "twofold"), Some("because"));
        assert_eq!(why("a.c", "three"), Some("no need"));
        assert_eq!(why("b.c", "x"), None, "the table ends where its section does");
    }
}
