//! What another tag of the C changed, function by function.

use std::collections::HashMap;
use std::path::Path;

use similar::{Algorithm, ChangeTag, TextDiff};

use crate::Fail;
use crate::model::{CFile, Model, c_source};
use crate::source::{Item, Kind, Source};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    Changed,
    /// Only comments or space differ.
    Comment,
    Added,
    Removed,
}

/// One function that is not the same in both tags, or (without a name) what stands between the
/// functions of a file.
pub struct Change {
    pub what: What,
    pub name: String,
    /// Its item in the C file of this tag.
    pub before: Option<usize>,
    /// Its item in the C file of the other tag.
    pub after: Option<usize>,
    pub lines: Vec<Line>,
    pub added: usize,
    pub removed: usize,
}

/// A line of a difference: which side it is of, and its number there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Line {
    Same(usize),
    Added(usize),
    Removed(usize),
    /// Lines that are the same and not shown.
    Cut,
}

pub struct FileChanges {
    /// Its place in `Model::c`.
    pub file: usize,
    pub other: Source,
    pub changes: Vec<Change>,
}

pub struct Comparison {
    pub version: Option<String>,
    pub files: Vec<FileChanges>,
    /// By C file and name, where the change is in `files`.
    pub by_name: HashMap<(usize, String), (usize, usize)>,
}

/// The number of unchanged lines that are shown around changed ones.
const CONTEXT: usize = 4;

impl Comparison {
    pub fn read(model: &Model, other: &Path) -> Result<Comparison, Fail> {
        let mut files = Vec::new();
        for (file, c) in model.c.iter().enumerate() {
            let path = other.join(&c.source.path);
            if !c.has_text || !path.exists() {
                continue;
            }
            let mut other = c_source(&path, &c.source.path, &c.listed)?;
            // What is a function on this side, macros included, is one on the other.
            let ours = functions(&c.source);
            other.split_macros(&|name| ours.contains_key(name));
            let changes = changes(c, &other);
            if !changes.is_empty() {
                files.push(FileChanges { file, other, changes });
            }
        }
        let mut by_name = HashMap::new();
        for (at, file) in files.iter().enumerate() {
            for (change_at, change) in file.changes.iter().enumerate() {
                by_name.insert((file.file, change.name.clone()), (at, change_at));
            }
        }
        Ok(Comparison { version: crate::model::version(other), files, by_name })
    }
}

fn functions(source: &Source) -> HashMap<&str, usize> {
    let mut by_name = HashMap::new();
    for (at, item) in source.items.iter().enumerate() {
        if item.kind == Kind::Function {
            by_name.entry(item.name.as_str()).or_insert(at);
        }
    }
    by_name
}

fn changes(c: &CFile, other: &Source) -> Vec<Change> {
    let (ours, theirs) = (functions(&c.source), functions(other));
    let mut found = Vec::new();
    let lines = |item: &Item| item.first..item.last + 1;
    // In the order of this tag, and what is new at the end in the order of the other.
    for (at, item) in c.source.items.iter().enumerate() {
        if ours.get(item.name.as_str()) != Some(&at) {
            continue;
        }
        let Some(after) = theirs.get(item.name.as_str()) else {
            let diff = item.first..item.last + 1;
            found.push(Change {
                what: What::Removed,
                name: item.name.clone(),
                before: Some(at),
                after: None,
                added: 0,
                removed: diff.len(),
                lines: diff.map(Line::Removed).collect(),
            });
            continue;
        };
        let new = &other.items[*after];
        let diff = diff(
            &c.source,
            &lines(item).collect::<Vec<_>>(),
            other,
            &lines(new).collect::<Vec<_>>(),
        );
        let (added, removed) = counts(&diff);
        if added + removed == 0 {
            continue;
        }
        let same = c.source.code(item.signature, item.last) == other.code(new.signature, new.last);
        found.push(Change {
            what: if same { What::Comment } else { What::Changed },
            name: item.name.clone(),
            before: Some(at),
            after: Some(*after),
            lines: diff,
            added,
            removed,
        });
    }
    for (at, item) in other.items.iter().enumerate() {
        if theirs.get(item.name.as_str()) == Some(&at) && !ours.contains_key(item.name.as_str()) {
            found.push(Change {
                what: What::Added,
                name: item.name.clone(),
                before: None,
                after: Some(at),
                added: item.last + 1 - item.first,
                removed: 0,
                lines: lines(item).map(Line::Added).collect(),
            });
        }
    }
    let outside = |source: &Source| -> Vec<usize> {
        let between = source.items.iter().filter(|i| i.kind == Kind::Between);
        between.flat_map(|i| i.first..i.last + 1).collect()
    };
    let diff = shorten(diff(&c.source, &outside(&c.source), other, &outside(other)));
    let (added, removed) = counts(&diff);
    if added + removed > 0 {
        let code = |source: &Source| -> Vec<String> {
            let between = source.items.iter().filter(|i| i.kind == Kind::Between);
            between.map(|i| source.code(i.first, i.last)).filter(|code| !code.is_empty()).collect()
        };
        let same = code(&c.source) == code(other);
        found.push(Change {
            what: if same { What::Comment } else { What::Changed },
            name: String::new(),
            before: None,
            after: None,
            lines: diff,
            added,
            removed,
        });
    }
    found
}

fn counts(lines: &[Line]) -> (usize, usize) {
    let added = lines.iter().filter(|l| matches!(l, Line::Added(_))).count();
    let removed = lines.iter().filter(|l| matches!(l, Line::Removed(_))).count();
    (added, removed)
}

fn diff(before: &Source, old: &[usize], after: &Source, new: &[usize]) -> Vec<Line> {
    let a: Vec<&str> = old.iter().map(|at| before.line(*at).trim_end()).collect();
    let b: Vec<&str> = new.iter().map(|at| after.line(*at).trim_end()).collect();
    let diff = TextDiff::configure().algorithm(Algorithm::Patience).diff_slices(&a, &b);
    let line = |tag, old_at: Option<usize>, new_at: Option<usize>| match (tag, old_at, new_at) {
        (ChangeTag::Delete, Some(at), _) => Some(Line::Removed(old[at])),
        (ChangeTag::Insert, _, Some(at)) => Some(Line::Added(new[at])),
        (ChangeTag::Equal, _, Some(at)) => Some(Line::Same(new[at])),
        _ => None,
    };
    diff.iter_all_changes().filter_map(|c| line(c.tag(), c.old_index(), c.new_index())).collect()
}

/// Leaves of lines that are the same those near to others.
fn shorten(lines: Vec<Line>) -> Vec<Line> {
    let is_same = |line: &Line| matches!(line, Line::Same(_));
    let near = |at: usize| {
        let from = at.saturating_sub(CONTEXT);
        let to = (at + CONTEXT + 1).min(lines.len());
        lines[from..to].iter().any(|line| !is_same(line))
    };
    let mut kept = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if near(at) {
            kept.push(*line);
        } else if kept.last() != Some(&Line::Cut) {
            kept.push(Line::Cut);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Side;

    fn file(text: &str) -> CFile {
        CFile {
            source: Source::parse(Side::C, "a.c", text.to_string()).unwrap(),
            has_text: true,
            listed: Vec::new(),
            head: None,
            here: Vec::new(),
            whole: Vec::new(),
            sections: Vec::new(),
        }
    }

    #[test]
    fn each_function_is_told_by_what_happened_to_it() {
        let before = file(
            "#define A 1\n\n/* Says one. */\nint one(void) {\n    return 1;\n}\n\nint two(void) {\n    return 2;\n}\n\nint gone(void) {\n}\n",
        );
        let after = file(
            "#define A 2\n\n/* Says 1. */\nint one(void) {\n    return 1;\n}\n\nint two(void) {\n    return 3;\n}\n\nint new(void) {\n}\n",
        );
        let found: Vec<_> = changes(&before, &after.source)
            .into_iter()
            .map(|c| (c.name, c.what, c.added, c.removed))
            .collect();
        let expected = [
            ("one", What::Comment, 1, 1),
            ("two", What::Changed, 1, 1),
            ("gone", What::Removed, 0, 2),
            ("new", What::Added, 2, 0),
            ("", What::Changed, 1, 1),
        ];
        let expected = expected.map(|(name, what, a, r)| (name.to_string(), what, a, r));
        assert_eq!(found, expected);
    }
}
