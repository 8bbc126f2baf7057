//! Our own functions within a function of the C: what the C does in place, another function of
//! ours may do, and a reader wants its lines where they are called.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;

use crate::align::{self, Part, Row};
use crate::links::Places;
use crate::model::{Beside, Model, RustItem};
use crate::source::{Item, Kind};

/// Lines of a function of ours, among those that are read in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines {
    pub of: RustItem,
    pub lines: Range<usize>,
}

/// What stands beside a C function, line by line.
pub struct Layout {
    pub parts: Vec<Lines>,
    pub rows: Vec<Row>,
}

/// The calls of our own functions, by caller: the line, and the function that is called.
pub struct Calls {
    by_caller: HashMap<RustItem, Vec<(usize, RustItem)>>,
    callers: HashMap<RustItem, HashSet<RustItem>>,
}

/// A function with more callers than this is a tool of many, and no part of one of them.
const CALLERS: usize = 3;
/// How much better a C function must be covered with another function's lines than without.
const GAIN: f32 = 12.0;
/// Of that function's statements so many have their place in the C, and so large a share.
const PAIRED: usize = 3;
const SHARE: f32 = 0.2;
/// Functions that are tried for each of the C.
const TRIES: usize = 40;

impl Calls {
    pub fn read(model: &Model, places: &Places) -> Calls {
        let mut calls = Calls { by_caller: HashMap::new(), callers: HashMap::new() };
        for (file, source) in model.rust.iter().enumerate() {
            for (at, item) in source.items.iter().enumerate() {
                if item.kind != Kind::Function {
                    continue;
                }
                let caller = (file, at);
                for used in source.uses_in(&(item.signature..item.last + 1)) {
                    let name = &source.text[used.start..used.end];
                    let called = places.rust_item(model, file, name, &used.how);
                    let Some(called) = called.filter(|c| used.called && *c != caller) else {
                        continue;
                    };
                    let line = source.line_of(used.start);
                    calls.by_caller.entry(caller).or_default().push((line, called));
                    calls.callers.entry(called).or_default().insert(caller);
                }
            }
        }
        calls
    }

    fn of(&self, caller: RustItem) -> &[(usize, RustItem)] {
        self.by_caller.get(&caller).map_or(&[], Vec::as_slice)
    }

    /// Whether a function is ours alone, and belongs to few others.
    fn is_helper(&self, model: &Model, of: RustItem) -> bool {
        !model.partner.contains_key(&of)
            && self.callers.get(&of).is_some_and(|callers| callers.len() <= CALLERS)
    }

    /// The lines that stand beside a C function: those of its partner, and within them those of the
    /// functions that do a part of its work.
    pub fn beside(&self, model: &Model, c: (usize, usize), rust: RustItem) -> Vec<Lines> {
        let item = &model.rust[rust.0].items[rust.1];
        let mut kept = vec![Lines { of: rust, lines: item.first..item.last + 1 }];
        let c_item = &model.c[c.0].source.items[c.1];
        let part = Part { source: &model.c[c.0].source, lines: c_item.first..c_item.last + 1 };
        let heads = (c_item.signature, item.signature);
        let value = |lines: &[Lines]| align::worth(&part, &of_sources(model, lines), heads);
        let mut calls: VecDeque<_> = self.of(rust).iter().map(|call| (rust, *call)).collect();
        let mut tried = HashSet::new();
        let mut best = None;
        while let Some((caller, (line, helper))) = calls.pop_front() {
            if tried.len() == TRIES {
                break;
            }
            if !self.is_helper(model, helper) || helper == rust || !tried.insert(helper) {
                continue;
            }
            let Some((with, at)) = inserted(model, &kept, caller, line, helper) else { continue };
            let before = *best.get_or_insert_with(|| value(&kept).value);
            let worth = value(&with);
            let share = worth.paired[at] as f32 / worth.statements[at] as f32;
            if worth.value > before + GAIN && worth.paired[at] >= PAIRED && share >= SHARE {
                best = Some(worth.value);
                kept = with;
                self.of(helper).iter().rev().for_each(|call| calls.push_front((helper, *call)));
            }
        }
        kept
    }
}

/// Decides what stands beside each C item that has a partner, by its file and place.
pub fn layouts(model: &Model, places: &Places) -> HashMap<(usize, usize), Layout> {
    let calls = Calls::read(model, places);
    let mut layouts = HashMap::new();
    for (file, c) in model.c.iter().enumerate().filter(|(_, c)| c.has_text) {
        for section in c.sections.iter().filter(|s| s.beside == Beside::Both) {
            let (Some(at), Some(rust)) = (section.c, section.rust) else { continue };
            let range = |item: &Item| item.first..item.last + 1;
            let (c_item, rust_item) = (&c.source.items[at], &model.rust[rust.0].items[rust.1]);
            let function = [c_item, rust_item].iter().any(|i| i.kind == Kind::Function);
            let parts = match function {
                true => calls.beside(model, (file, at), rust),
                false => vec![Lines { of: rust, lines: range(rust_item) }],
            };
            let heads = function.then_some((c_item.signature, rust_item.signature));
            let part = Part { source: &c.source, lines: range(c_item) };
            let rows = align::rows(&part, &of_sources(model, &parts), heads);
            layouts.insert((file, at), Layout { parts, rows });
        }
    }
    layouts
}

/// The same lines with their texts.
pub fn of_sources<'a>(model: &'a Model, lines: &[Lines]) -> Vec<Part<'a>> {
    let part = |l: &Lines| Part { source: &model.rust[l.of.0], lines: l.lines.clone() };
    lines.iter().map(part).collect()
}

/// Puts a function behind the statement that calls it: all lines, and the place of its own.
fn inserted(
    model: &Model,
    kept: &[Lines],
    caller: RustItem,
    line: usize,
    helper: RustItem,
) -> Option<(Vec<Lines>, usize)> {
    let at = kept.iter().position(|l| l.of == caller && l.lines.contains(&line))?;
    let source = &model.rust[caller.0];
    let Lines { of, lines } = kept[at].clone();
    let cut = (line + 1..lines.end).find(|next| source.starts[*next]).unwrap_or(lines.end);
    let item = &model.rust[helper.0].items[helper.1];
    let own = Lines { of: helper, lines: item.signature..item.last + 1 };
    let pieces = [Lines { of, lines: lines.start..cut }, own, Lines { of, lines: cut..lines.end }];
    let mut all = kept.to_vec();
    all.splice(at..=at, pieces.into_iter().filter(|l| !l.lines.is_empty()));
    Some((all, at + 1))
}
