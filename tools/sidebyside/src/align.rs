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
    /// In reading order: a part's number, and lines of it.
    pub rust: Vec<(usize, Range<usize>)>,
}

impl Row {
    /// Lines of its longer side.
    pub fn height(&self) -> usize {
        self.c.len().max(self.rust.iter().map(|(_, lines)| lines.len()).sum())
    }
}

/// Lines of the Rust side that are read in one go. A function that calls another one of ours for
/// what the C does in place has three parts: up to the call, the other function, and the rest.
#[derive(Clone)]
pub struct Part<'a> {
    pub source: &'a Source,
    pub lines: Range<usize>,
}

struct Statement {
    part: usize,
    /// Where it begins, with the comment above it, and where its code does.
    line: usize,
    code: usize,
    /// How many statements follow that stand within its block.
    within: usize,
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

/// The words of all statements, each once, and how much more one counts than a plain word.
#[derive(Default)]
struct Table {
    places: HashMap<String, usize>,
    factors: Vec<f32>,
}

impl Table {
    fn enter(&mut self, word: String, factor: f32) -> usize {
        let next = self.factors.len();
        let place = *self.places.entry(word).or_insert(next);
        if place == next {
            self.factors.push(factor);
        }
        place
    }
}

/// A name that is called counts as much as two words, and the text of a literal as three.
const CALL: f32 = 1.0;
const TEXT: f32 = 2.0;

fn statements(part: usize, of: &Part, from: usize, table: &mut Table) -> Vec<Statement> {
    let (source, lines) = (of.source, from..of.lines.end);
    let mut found: Vec<Statement> = Vec::new();
    for at in lines.clone() {
        if source.starts[at] || found.is_empty() {
            found.push(Statement { part, line: at, code: at, within: 0, words: Vec::new() });
        }
        let Some(statement) = found.last_mut() else { continue };
        // What a comment says is said in other words on the other side.
        if source.comments[at] {
            if statement.words.is_empty() {
                statement.code = at + 1;
            }
            continue;
        }
        for word in words(source.line(at)) {
            statement.words.push(table.enter(word, 1.0));
        }
    }
    let mut anchor = |at: usize, word: String, factor: f32| {
        let below = found.partition_point(|s| s.line <= at);
        if let (true, Some(statement)) = (lines.contains(&at), below.checked_sub(1)) {
            found[statement].words.push(table.enter(word, factor));
        }
    };
    for (at, text) in source.texts_in(&lines) {
        anchor(*at, format!("\"{text}"), TEXT);
    }
    for called in source.uses_in(&lines).iter().filter(|used| used.called) {
        let name = words(&source.text[called.start..called.end]).next();
        if let Some(name) = name {
            anchor(source.line_of(called.start), format!("{name}("), CALL);
        }
    }
    for at in 0..found.len() {
        found[at].words.sort_unstable();
        found[at].words.dedup();
        if let Some(last) = source.blocks.get(&found[at].code) {
            found[at].within = found[at + 1..].partition_point(|s| s.line <= *last);
        }
    }
    found
}

/// What share two statements must have in common to be a pair.
const ALIKE: f32 = 0.34;
/// Below this the words that they have in common are too few or too frequent.
const SURE: f32 = 1.2;
/// Longer sides than this are not compared statement by statement.
const MOST: usize = 4_000_000;
/// A guide comment is no further than this from the statement that decides where it stands.
const NEAR: usize = 3;

/// How much of a C function some parts have, and how many statements of each part.
pub struct Worth {
    pub value: f32,
    pub paired: Vec<usize>,
    pub statements: Vec<usize>,
}

/// The statements of both sides, and which are pairs: their places, and how much each is worth.
struct Aligned {
    theirs: Vec<Statement>,
    ours: Vec<Statement>,
    pairs: Vec<(usize, usize, f32)>,
}

fn aligned(c: &Part, c_from: usize, rust: &[Part], rust_from: usize) -> Aligned {
    debug_assert!(c.source.side == Side::C && rust.iter().all(|p| p.source.side == Side::Rust));
    let mut table = Table::default();
    let mut ours = Vec::new();
    for (at, part) in rust.iter().enumerate() {
        let from = if at == 0 { rust_from } else { part.lines.start };
        ours.extend(statements(at, part, from, &mut table));
    }
    let theirs = statements(0, c, c_from, &mut table);
    let mut pairs = pairs(&theirs, &ours, &table.factors);
    keep_blocks_together(&theirs, &ours, &mut pairs);
    Aligned { theirs, ours, pairs }
}

/// How well parts fit a C function. `heads` are the lines of the signatures.
pub fn worth(c: &Part, rust: &[Part], heads: (usize, usize)) -> Worth {
    let aligned = aligned(c, heads.0, rust, heads.1);
    let mut paired = vec![0; rust.len()];
    let mut statements = vec![0; rust.len()];
    aligned.ours.iter().for_each(|s| statements[s.part] += 1);
    aligned.pairs.iter().for_each(|p| paired[aligned.ours[p.1].part] += 1);
    Worth { value: aligned.pairs.iter().map(|p| p.2).sum(), paired, statements }
}

/// Cuts the lines of two sides into rows. `heads` are the lines of the signatures, which always
/// stand beside each other.
pub fn rows(c: &Part, rust: &[Part], heads: Option<(usize, usize)>) -> Vec<Row> {
    let start = (c.lines.start, (0, rust[0].lines.start));
    let end = (c.lines.end, (rust.len() - 1, rust[rust.len() - 1].lines.end));
    let (c_from, rust_from) = heads.unwrap_or((start.0, rust[0].lines.start));
    let Aligned { theirs, ours, pairs } = aligned(c, c_from, rust, rust_from);
    let mut cuts = vec![start];
    if heads.is_some() && (c_from, (0, rust_from)) != start {
        cuts.push((c_from, (0, rust_from)));
    }
    let mut cut = |c_at: usize, rust_at: (usize, usize)| {
        let last = cuts[cuts.len() - 1];
        let inside = rust_at.1 < rust[rust_at.0].lines.end && c_at < c.lines.end;
        if c_at > last.0 && rust_at > last.1 && inside {
            cuts.push((c_at, rust_at));
        }
    };
    let mut next = (0, 0);
    for (c_at, rust_at, _) in pairs {
        // The comment that leads to a pair stands beside the one that does so on the other side.
        let guide = |all: &[Statement], from: usize, at: usize| {
            (from.max(at.saturating_sub(NEAR))..=at).rev().find(|s| all[*s].code > all[*s].line)
        };
        if let (Some(their), Some(our)) =
            (guide(&theirs, next.0, c_at), guide(&ours, next.1, rust_at))
            && ours[our].part == ours[rust_at].part
        {
            cut(theirs[their].line, (ours[our].part, ours[our].line));
        }
        // The code stands beside the code, however long the comments are.
        cut(theirs[c_at].code, (ours[rust_at].part, ours[rust_at].code));
        next = (c_at + 1, rust_at + 1);
    }
    cuts.push(end);
    cuts.windows(2)
        .map(|pair| Row { c: pair[0].0..pair[1].0, rust: between(rust, pair[0].1, pair[1].1) })
        .collect()
}

/// The lines of parts from one place to another.
fn between(parts: &[Part], from: (usize, usize), to: (usize, usize)) -> Vec<(usize, Range<usize>)> {
    (from.0..=to.0)
        .map(|at| {
            let first = if at == from.0 { from.1 } else { parts[at].lines.start };
            let end = if at == to.0 { to.1 } else { parts[at].lines.end };
            (at, first..end)
        })
        .filter(|(_, lines)| !lines.is_empty())
        .collect()
}

/// Where two statements that hold blocks are a pair, what is in the one block has its partner in
/// the other one: of a pair of blocks and the pairs that contradict it, those go that weigh less.
fn keep_blocks_together(
    theirs: &[Statement],
    ours: &[Statement],
    pairs: &mut Vec<(usize, usize, f32)>,
) {
    let mut at = 0;
    while at < pairs.len() {
        let (c, rust, worth) = pairs[at];
        let (c_within, rust_within) = (theirs[c].within, ours[rust].within);
        if c_within > 0 && rust_within > 0 {
            let leaves = |p: &(usize, usize, f32)| {
                let c_inside = p.0 > c && p.0 <= c + c_within;
                let rust_inside = p.1 > rust && p.1 <= rust + rust_within;
                c_inside != rust_inside && ours[p.1].part == ours[rust].part
            };
            if pairs.iter().filter(|p| leaves(p)).map(|p| p.2).sum::<f32>() > worth {
                pairs.remove(at);
                continue;
            }
            pairs.retain(|p| !leaves(p));
        }
        at += 1;
    }
}

/// The pairs of statements, in order on both sides, that have the most words in common.
fn pairs(theirs: &[Statement], ours: &[Statement], factors: &[f32]) -> Vec<(usize, usize, f32)> {
    if theirs.len() * ours.len() > MOST {
        return Vec::new();
    }
    // A word counts the more, the fewer statements have it, and only if both sides have it.
    let mut seen = vec![(0f32, 0f32); factors.len()];
    for statement in theirs {
        statement.words.iter().for_each(|w| seen[*w].0 += 1.0);
    }
    for statement in ours {
        statement.words.iter().for_each(|w| seen[*w].1 += 1.0);
    }
    let all = (theirs.len() + ours.len()) as f32;
    let weight: Vec<f32> = seen
        .iter()
        .zip(factors)
        .map(|((c, rust), factor)| match *c > 0.0 && *rust > 0.0 {
            true => (1.0 + all / (c + rust)).ln() * factor,
            false => 0.0,
        })
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
            found.push((i - 1, j - 1, worth));
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
    for (i, j, _) in &mut found {
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
        let (c, rust) = (Part { source: &c, lines: 0..10 }, Part { source: &rust, lines: 0..11 });
        let rows = rows(&c, &[rust], Some((0, 0)));
        let beside = |c_line: usize, rust_line: usize| {
            rows.iter().any(|r| r.c.start == c_line && r.rust[0].1.start == rust_line)
        };
        assert!(beside(1, 4), "the condition: {rows:?}");
        assert!(beside(7, 8), "a statement below a comment that the other has not: {rows:?}");
        assert_eq!(rows.iter().map(|r| r.c.len()).sum::<usize>(), 10, "no line is lost");
        assert_eq!(rows.iter().map(|r| r.rust[0].1.len()).sum::<usize>(), 11);
    }

    #[test]
    fn what_stands_elsewhere_is_out_of_order() {
        assert_eq!(in_order(&[1, 2, 9, 3, 4]), [true, true, false, true, true]);
    }
}
