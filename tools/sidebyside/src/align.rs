//! Which block of a C function stands beside which of the Rust one.
//!
//! Both are cut into statements, each with the comment above it. Statements that share words are
//! matched, in order: names of functions, fields and constants are the same on both sides, and so
//! are error replies and log lines. Each match that is sure begins a row.

use std::collections::HashMap;
use std::ops::Range;

use crate::source::{Side, Source};

/// Lines of both sides that stand beside each other.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    pub c: Range<usize>,
    pub rust: Range<usize>,
}

struct Statement {
    /// Where it begins, with the comment above it, and where its code does.
    line: usize,
    code: usize,
    /// Indexes into the table of words, sorted, each once.
    words: Vec<usize>,
}

/// The words of a language that say how control flows, under one name for both.
fn control(word: &str) -> Option<&str> {
    Some(match word {
        "if" | "else" | "while" | "for" | "return" | "break" | "continue" => word,
        "switch" | "match" => "switch",
        "do" | "loop" => "loop",
        _ => return None,
    })
}

/// Words that say nothing of what a statement does.
const COMMON: &[&str] = &[
    "let", "mut", "server", "const", "static", "int", "char", "void", "pub", "fn", "self", "c",
    "as", "ref", "some", "ok",
];

/// Words of a line, as both languages would write them: `redisServer` and `redis_server` are one.
fn words(line: &str) -> impl Iterator<Item = String> {
    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .map(|word| match control(word) {
            Some(word) => format!("={word}"),
            None => word.chars().filter(|c| *c != '_').collect::<String>().to_ascii_lowercase(),
        })
        .filter(|word| !word.is_empty() && !COMMON.contains(&word.as_str()))
}

fn statements(
    source: &Source,
    lines: Range<usize>,
    table: &mut HashMap<String, usize>,
) -> Vec<Statement> {
    let mut found: Vec<Statement> = Vec::new();
    for at in lines {
        if source.starts[at] || found.is_empty() {
            found.push(Statement { line: at, code: at, words: Vec::new() });
        }
        let Some(statement) = found.last_mut() else { continue };
        // What a comment says is said in other words on the other side.
        if source.comments[at] {
            if statement.words.is_empty() {
                statement.code = at + 1;
            }
            continue;
        }
        {
            for word in words(source.line(at)) {
                let next = table.len();
                statement.words.push(*table.entry(word).or_insert(next));
            }
        }
    }
    for statement in &mut found {
        statement.words.sort_unstable();
        statement.words.dedup();
    }
    found
}

/// What share two statements must have in common to be a pair.
const ALIKE: f32 = 0.34;
/// Below this the words that they have in common are too few or too frequent.
const SURE: f32 = 1.2;
/// Longer sides than this are not compared statement by statement.
const MOST: usize = 4_000_000;

/// Cuts the lines of two sides into rows. `heads` are the lines of the signatures, which always
/// stand beside each other.
pub fn rows(
    c: &Source,
    c_lines: Range<usize>,
    rust: &Source,
    rust_lines: Range<usize>,
    heads: Option<(usize, usize)>,
) -> Vec<Row> {
    debug_assert!(c.side == Side::C && rust.side == Side::Rust);
    let (c_from, rust_from) = heads.unwrap_or((c_lines.start, rust_lines.start));
    let mut table = HashMap::new();
    let ours = statements(rust, rust_from..rust_lines.end, &mut table);
    let theirs = statements(c, c_from..c_lines.end, &mut table);
    let mut cuts = vec![(c_lines.start, rust_lines.start)];
    if heads.is_some() && (c_from, rust_from) != cuts[0] {
        cuts.push((c_from, rust_from));
    }
    let mut cut = |at: (usize, usize)| {
        let last = cuts[cuts.len() - 1];
        if at.0 > last.0 && at.1 > last.1 && at.0 < c_lines.end && at.1 < rust_lines.end {
            cuts.push(at);
        }
    };
    for (c_at, rust_at) in pairs(&theirs, &ours, table.len()) {
        let (their, our) = (&theirs[c_at], &ours[rust_at]);
        // Comments beside each other, and the code below them, too, however long they are.
        if their.code > their.line && our.code > our.line {
            cut((their.line, our.line));
        }
        cut((their.code, our.code));
    }
    cuts.push((c_lines.end, rust_lines.end));
    let row = |pair: &[(usize, usize)]| Row { c: pair[0].0..pair[1].0, rust: pair[0].1..pair[1].1 };
    cuts.windows(2).map(row).collect()
}

/// The pairs of statements, in order on both sides, that have the most words in common.
fn pairs(theirs: &[Statement], ours: &[Statement], words: usize) -> Vec<(usize, usize)> {
    if theirs.len() * ours.len() > MOST {
        return Vec::new();
    }
    // A word counts the more, the fewer statements have it, and only if both sides have it.
    let mut seen = vec![(0f32, 0f32); words];
    for statement in theirs {
        statement.words.iter().for_each(|w| seen[*w].0 += 1.0);
    }
    for statement in ours {
        statement.words.iter().for_each(|w| seen[*w].1 += 1.0);
    }
    let all = (theirs.len() + ours.len()) as f32;
    let weight: Vec<f32> = seen
        .iter()
        .map(|(c, rust)| if *c > 0.0 && *rust > 0.0 { (1.0 + all / (c + rust)).ln() } else { 0.0 })
        .collect();
    let total = |s: &Statement| s.words.iter().map(|w| weight[*w]).sum::<f32>();
    let our_totals: Vec<f32> = ours.iter().map(total).collect();
    let width = ours.len() + 1;
    // best[i][j]: the value of the first i statements of theirs and j of ours.
    let mut best = vec![0f32; (theirs.len() + 1) * width];
    let mut value = vec![0f32; theirs.len() * ours.len()];
    for (i, their) in theirs.iter().enumerate() {
        let their_total = total(their);
        for (j, our) in ours.iter().enumerate() {
            let common = common(&their.words, &our.words, &weight);
            let alike = common / their_total.max(our_totals[j]).max(f32::MIN_POSITIVE);
            let worth = if alike >= ALIKE && common >= SURE { common * alike } else { 0.0 };
            value[i * ours.len() + j] = worth;
            let skipped = best[i * width + j + 1].max(best[(i + 1) * width + j]);
            best[(i + 1) * width + j + 1] = skipped.max(best[i * width + j] + worth);
        }
    }
    let (mut i, mut j) = (theirs.len(), ours.len());
    let mut found = Vec::new();
    while i > 0 && j > 0 {
        let here = best[i * width + j];
        let worth = value[(i - 1) * ours.len() + j - 1];
        if worth > 0.0 && here == best[(i - 1) * width + j - 1] + worth {
            found.push((i - 1, j - 1));
            (i, j) = (i - 1, j - 1);
        } else if here == best[(i - 1) * width + j] {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    found.reverse();
    // A condition and what it guards are one statement here and two there: the first of the two
    // stands beside the one.
    let within = |a: &Statement, b: &Statement| {
        !a.words.is_empty() && a.words.iter().all(|w| b.words.binary_search(w).is_ok())
    };
    let mut last = (0, 0);
    for (i, j) in &mut found {
        while *j > last.1 && within(&ours[*j - 1], &theirs[*i]) {
            *j -= 1;
        }
        while *i > last.0 && within(&theirs[*i - 1], &ours[*j]) {
            *i -= 1;
        }
        last = (*i + 1, *j + 1);
    }
    found
}

fn common(a: &[usize], b: &[usize], weight: &[f32]) -> f32 {
    let (mut i, mut j, mut sum) = (0, 0, 0.0);
    while i < a.len() && j < b.len() {
        match a[i].cmp(&b[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => {
                sum += weight[a[i]];
                i += 1;
                j += 1;
            }
        }
    }
    sum
}

/// Which elements of a sequence are part of its longest increasing subsequence.
pub fn in_order(sequence: &[usize]) -> Vec<bool> {
    let mut best: Vec<(usize, Option<usize>)> = Vec::new();
    for (i, x) in sequence.iter().enumerate() {
        let before = (0..i).filter(|&j| sequence[j] < *x).max_by_key(|&j| best[j].0);
        best.push((before.map_or(1, |j| best[j].0 + 1), before));
    }
    let mut kept = vec![false; sequence.len()];
    let mut at = (0..sequence.len()).max_by_key(|&i| best[i].0);
    while let Some(i) = at {
        kept[i] = true;
        at = best[i].1;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_with_the_same_words_stand_beside_each_other() {
        let c = "void f(link *l) {\n    if (l->flags & LINK_UP) {\n        log(\"link is up\");\n        return;\n    }\n\n    \
                 /* Try again. */\n    l->retries++;\n    connectLink(l);\n}\n";
        let rust = "fn f(l: &mut Link) {\n    // Ours alone.\n    prepare();\n    count();\n    if l.flags & LINK_UP != 0 {\n        \
                    log(\"link is up\");\n        return;\n    }\n    l.retries += 1;\n    connectLink(l);\n}\n";
        let c = Source::parse(Side::C, "f.c", c.to_string()).unwrap();
        let rust = Source::parse(Side::Rust, "src/f.rs", rust.to_string()).unwrap();
        let rows = rows(&c, 0..10, &rust, 0..11, Some((0, 0)));
        let beside = |c_line: usize, rust_line: usize| {
            rows.iter().any(|r| r.c.start == c_line && r.rust.start == rust_line)
        };
        assert!(beside(1, 4), "the condition: {rows:?}");
        assert!(beside(7, 8), "a statement below a comment that the other has not: {rows:?}");
        assert_eq!(rows.iter().map(|r| r.c.len()).sum::<usize>(), 10, "no line is lost");
        assert_eq!(rows.iter().map(|r| r.rust.len()).sum::<usize>(), 11);
    }

    #[test]
    fn what_stands_elsewhere_is_out_of_order() {
        assert_eq!(in_order(&[1, 2, 9, 3, 4]), [true, true, false, true, true]);
    }
}
