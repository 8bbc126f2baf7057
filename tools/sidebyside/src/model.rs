//! Which function stands beside which, on which page, and in which order.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::align::{self, Row, in_order};
use crate::names::{Names, read};
use crate::source::{Item, Kind, Side, Source};
use crate::{Fail, Options};

/// One C file, or what docs/names says of it.
pub struct CFile {
    pub source: Source,
    /// Whether `source` has the file's text, or only the names of its functions.
    pub has_text: bool,
    /// Of docs/names; a header has no such list.
    pub listed: Vec<String>,
    pub head: Option<String>,
    /// Its place in `Model::rust`, for each Rust file that has functions of it, the main one first.
    pub here: Vec<usize>,
    /// Those whose whole text stands on the page of this file.
    pub whole: Vec<usize>,
    /// What stands on the page, from its top to its end.
    pub sections: Vec<Section>,
}

/// An item of a Rust file: the file's place in `Model::rust`, the item's place in the file.
pub type RustItem = (usize, usize);

/// What a reader of a page meets: a function, or what stands between two.
pub struct Section {
    /// The item's place in the C file.
    pub c: Option<usize>,
    pub rust: Option<RustItem>,
    pub beside: Beside,
    /// Lines of both files instead of items: a header has too few functions to go by.
    pub rows: Vec<Row>,
}

impl Section {
    fn of(c: Option<usize>, rust: Option<RustItem>, beside: Beside) -> Section {
        Section { c, rust, beside, rows: Vec::new() }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Beside {
    /// The function of the C and ours, or what stands between functions on either side or both.
    Both,
    /// The Rust function of this section is shown elsewhere on the page: the C has two functions
    /// where we have one, or it stands in another order.
    Elsewhere,
    /// The row of docs/differences.md that says why it is not here.
    Row(usize),
    /// What the first line of a file of docs/names says of all of it.
    Head(String),
    /// The C has it, and no list of ours: test code, another platform's, or another tag's.
    Unlisted,
    /// Neither here nor explained.
    Missing,
    /// A function of another C file, which has a page of its own: its place in `Model::c`.
    OtherFile(usize),
    /// We have it, the C does not.
    Ours,
}

pub struct Model {
    pub names: Names,
    pub c: Vec<CFile>,
    pub rust: Vec<Source>,
    /// The version that `version.h` names.
    pub version: Option<String>,
    /// Where each Rust function is shown beside its C function, if it is.
    pub partner: HashMap<RustItem, (usize, usize)>,
    /// For each Rust file the C file on whose page its whole text stands.
    pub home: Vec<Option<usize>>,
}

/// Lines of a section of a header, which is drawn at once.
const SECTION: usize = 80;

impl CFile {
    /// A header that has a file of ours beside it, with few functions to go by.
    pub fn is_header_of_ours(&self) -> bool {
        self.listed.is_empty() && !self.whole.is_empty()
    }
}

/// How far a C file is here.
#[derive(Default, Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// Functions that docs/names lists.
    pub listed: usize,
    pub paired: usize,
    pub explained: usize,
    /// Listed, but the C file has no such function.
    pub not_found: Vec<String>,
    /// Listed, but neither paired nor explained.
    pub missing: Vec<String>,
    /// Of the paired ones, those that stand in the C's order.
    pub in_order: usize,
}

fn rust_paths(dir: &Path, paths: &mut Vec<PathBuf>) -> Result<(), Fail> {
    for entry in fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            rust_paths(&path, paths)?;
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            paths.push(path);
        }
    }
    Ok(())
}

/// The version in `version.h`: `#define REDIS_VERSION "6.2.16"`.
pub fn version(c: &Path) -> Option<String> {
    let text = read(&c.join("version.h")).ok()?;
    let line = text.lines().find(|line| line.contains("REDIS_VERSION "))?;
    Some(line.split('"').nth(1)?.to_string())
}

/// Reads a C file, and finds those of its listed functions that the grammar lost sight of among
/// macros.
pub fn c_source(path: &Path, file: &str, listed: &[String]) -> Result<Source, Fail> {
    let mut source = Source::parse(Side::C, file, read(path)?)?;
    source.find_lost(listed);
    Ok(source)
}

impl Model {
    pub fn read(options: &Options) -> Result<Model, Fail> {
        let names = Names::read(&options.project)?;
        let mut paths = Vec::new();
        rust_paths(&options.project.join("src"), &mut paths)?;
        paths.sort();
        let mut rust = Vec::new();
        for path in &paths {
            let name = path.strip_prefix(&options.project)?.to_string_lossy().into_owned();
            rust.push(Source::parse(Side::Rust, &name, read(path)?)?);
        }
        let place: HashMap<&str, usize> =
            rust.iter().enumerate().map(|(at, s)| (s.path.as_str(), at)).collect();
        let mut c = Vec::new();
        for file in &names.files {
            let path = options.c.as_ref().map(|c| c.join(&file.file)).filter(|p| p.exists());
            let source = match &path {
                Some(path) => c_source(path, &file.file, &file.functions)?,
                None => Source::of_names(&file.file, &file.functions),
            };
            c.push(CFile {
                source,
                has_text: path.is_some(),
                listed: file.functions.clone(),
                head: file.head.clone(),
                here: file.here.iter().filter_map(|p| place.get(p.as_str()).copied()).collect(),
                whole: Vec::new(),
                sections: Vec::new(),
            });
        }
        if let Some(folder) = &options.c {
            let mut headers: Vec<_> = names.macros.keys().filter(|k| k.ends_with(".h")).collect();
            headers.sort();
            for file in headers {
                let path = folder.join(file);
                if !path.exists() {
                    continue;
                }
                let ours = format!("src/{}.rs", file.replace('.', "_"));
                c.push(CFile {
                    source: c_source(&path, file, &[])?,
                    has_text: true,
                    listed: Vec::new(),
                    head: None,
                    here: place.get(ours.as_str()).copied().into_iter().collect(),
                    whole: Vec::new(),
                    sections: Vec::new(),
                });
            }
        }
        let version = options.c.as_ref().and_then(|c| version(c));
        let home = vec![None; rust.len()];
        let mut model = Model { names, c, rust, version, partner: HashMap::new(), home };
        model.find_homes();
        model.keep_macros_that_are_functions();
        let pairs = model.pair();
        model.lay_out(&pairs);
        Ok(model)
    }

    /// A Rust file stands whole on the page of the C file of its name, or of the only one of which
    /// it has functions.
    fn find_homes(&mut self) {
        let stem = |path: &str| -> String {
            let name = path.rsplit('/').next().unwrap_or_default();
            name.split('.').next().unwrap_or_default().replace('-', "_")
        };
        for (at, rust) in self.rust.iter().enumerate() {
            let with: Vec<usize> =
                (0..self.c.len()).filter(|c| self.c[*c].here.contains(&at)).collect();
            let named = with.iter().find(|c| {
                let c_path = &self.c[**c].source.path;
                stem(c_path) == stem(&rust.path)
                    || rust.path.ends_with(&format!("/{}.rs", c_path.replace('.', "_")))
            });
            let only = if with.len() == 1 { with.first() } else { None };
            if let Some(c) = named.or(only) {
                self.home[at] = Some(*c);
                self.c[*c].whole.push(at);
            }
        }
        for c in &mut self.c {
            let here = &c.here;
            let named = |at: &usize| stem(&self.rust[*at].path) == stem(&c.source.path);
            c.whole.sort_by_key(|at| (!named(at), here.iter().position(|h| h == at)));
        }
    }

    /// A macro of the C that is a function of ours stands beside it; any other is part of what
    /// stands between functions.
    fn keep_macros_that_are_functions(&mut self) {
        let ours: HashSet<String> = self.functions().map(|(_, item)| item.name.clone()).collect();
        for c in &mut self.c {
            if c.is_header_of_ours() {
                c.source.join();
                continue;
            }
            c.source.split_macros(&|name| ours.contains(name));
        }
    }

    fn functions(&self) -> impl Iterator<Item = (RustItem, &Item)> {
        self.rust.iter().enumerate().flat_map(|(file, source)| {
            let items = source.items.iter().enumerate();
            items.filter(|(_, i)| i.kind == Kind::Function).map(move |(at, i)| ((file, at), i))
        })
    }

    /// The Rust function of each C function that has one: by C file and item.
    fn pair(&self) -> HashMap<(usize, usize), RustItem> {
        let mut by_name: HashMap<&str, Vec<RustItem>> = HashMap::new();
        for (at, item) in self.functions() {
            by_name.entry(&item.name).or_default().push(at);
            for within in &item.within {
                by_name.entry(within).or_default().push(at);
            }
        }
        let mut pairs = HashMap::new();
        for (file, c) in self.c.iter().enumerate() {
            if c.head.is_some() {
                continue;
            }
            let stem = c.source.path.split('.').next().unwrap_or_default();
            let mut seen = HashSet::new();
            for (at, item) in c.source.items.iter().enumerate() {
                if item.kind != Kind::Function || !seen.insert(&item.name) {
                    continue;
                }
                let Some(candidates) = by_name.get(item.name.as_str()) else { continue };
                let rank = |(rust, ours): &&RustItem| {
                    let source = &self.rust[*rust];
                    let item_of_ours = &source.items[*ours];
                    (
                        c.here.iter().position(|h| h == rust).unwrap_or(c.here.len()),
                        !source.path.ends_with(&format!("/{stem}.rs")),
                        item_of_ours.name != item.name,
                        item_of_ours.owner.is_some(),
                    )
                };
                if let Some(best) = candidates.iter().min_by_key(rank) {
                    pairs.insert((file, at), *best);
                }
            }
        }
        pairs
    }

    fn lay_out(&mut self, pairs: &HashMap<(usize, usize), RustItem>) {
        // A function is shown beside its partner on the page of its own file, if it is there.
        let mut order: Vec<_> = pairs.iter().map(|(c, rust)| (*c, *rust)).collect();
        order.sort_by_key(|(c, rust)| (self.home[rust.0] != Some(c.0), *c));
        for (c, rust) in order {
            self.partner.entry(rust).or_insert(c);
        }
        for file in 0..self.c.len() {
            self.c[file].sections = match self.c[file].is_header_of_ours() {
                true => self.header(file),
                false => self.sections(file, pairs),
            };
        }
    }

    /// Lays out a header beside the file of ours that has what it declares.
    fn header(&self, file: usize) -> Vec<Section> {
        let (c, rust) = (&self.c[file].source, &self.rust[self.c[file].whole[0]]);
        let end = rust.shown_lines().last().map_or(0, |last| last + 1);
        let part = |source, end| align::Part { source, lines: 0..end };
        let rows = align::rows(&part(c, c.lines.len()), &[part(rust, end)], None);
        let mut sections: Vec<Section> = Vec::new();
        let mut height = usize::MAX;
        for row in rows {
            if height > SECTION {
                sections.push(Section::of(None, None, Beside::Both));
                height = 0;
            }
            height += row.height();
            if let Some(section) = sections.last_mut() {
                section.rows.push(row);
            }
        }
        sections
    }

    /// Lays out the page of a C file: its items in their order, and the items of each Rust file
    /// that belongs to it in theirs, with the pairs in one section.
    fn sections(&self, file: usize, pairs: &HashMap<(usize, usize), RustItem>) -> Vec<Section> {
        let c = &self.c[file];
        let mut shown: HashSet<RustItem> = HashSet::new();
        // Per Rust file, the pairs that are in order on both sides; the others are told of twice.
        let mut anchors: HashSet<usize> = HashSet::new();
        for rust in &c.whole {
            let here: Vec<(usize, usize)> = (0..c.source.items.len())
                .filter_map(|at| pairs.get(&(file, at)).map(|r| (at, *r)))
                .filter(|(_, r)| r.0 == *rust && self.partner.get(r).is_some_and(|p| p.0 == file))
                .filter(|(at, r)| self.partner.get(r) == Some(&(file, *at)))
                .map(|(at, r)| (at, r.1))
                .collect();
            let kept = in_order(&here.iter().map(|(_, r)| *r).collect::<Vec<_>>());
            anchors.extend(here.iter().zip(kept).filter(|(_, kept)| *kept).map(|(h, _)| h.0));
        }
        let mut next: HashMap<usize, usize> = c.whole.iter().map(|r| (*r, 0)).collect();
        let mut sections = Vec::new();
        let mut gap: Vec<usize> = Vec::new();
        for at in 0..c.source.items.len() {
            let Some(rust) = pairs.get(&(file, at)).filter(|_| anchors.contains(&at)) else {
                gap.push(at);
                continue;
            };
            let ours = self.take(&mut next, rust.0, rust.1);
            self.fill(file, std::mem::take(&mut gap), ours, pairs, &mut shown, &mut sections);
            next.insert(rust.0, rust.1 + 1);
            shown.insert(*rust);
            sections.push(Section::of(Some(at), Some(*rust), Beside::Both));
        }
        let mut rest = Vec::new();
        for rust in &c.whole {
            rest.extend(self.take(&mut next, *rust, self.rust[*rust].items.len()));
        }
        self.fill(file, gap, rest, pairs, &mut shown, &mut sections);
        sections
    }

    /// The items of a Rust file that come next, up to one.
    fn take(&self, next: &mut HashMap<usize, usize>, rust: usize, end: usize) -> Vec<RustItem> {
        let from = next.insert(rust, end).unwrap_or(end);
        (from..end).map(|at| (rust, at)).collect()
    }

    /// Lays out what stands between two pairs.
    fn fill(
        &self,
        file: usize,
        theirs: Vec<usize>,
        ours: Vec<RustItem>,
        pairs: &HashMap<(usize, usize), RustItem>,
        shown: &mut HashSet<RustItem>,
        sections: &mut Vec<Section>,
    ) {
        let c = &self.c[file];
        let kind = |r: &RustItem| self.rust[r.0].items[r.1].kind;
        let between =
            |s: &Section| s.c.is_none_or(|c_at| c.source.items[c_at].kind == Kind::Between);
        let mut left: Vec<Section> = Vec::new();
        for at in theirs {
            let item = &c.source.items[at];
            let rust = pairs.get(&(file, at)).copied();
            let beside = match (item.kind, rust) {
                (Kind::Between | Kind::Tests, _) => Beside::Both,
                (Kind::Function, Some(rust)) => {
                    // Another C function has shown it on this page, or its own place in the Rust
                    // file is still to come.
                    let repeated = self.partner.get(&rust) != Some(&(file, at));
                    if repeated && !shown.insert(rust) { Beside::Elsewhere } else { Beside::Both }
                }
                (Kind::Function, None) => self.why_not(file, &item.name),
            };
            left.push(Section::of(Some(at), rust, beside));
        }
        let mut right: Vec<Section> = Vec::new();
        for rust in ours {
            let beside = match (kind(&rust), self.partner.get(&rust)) {
                (Kind::Function, Some((other, _))) if *other != file => Beside::OtherFile(*other),
                (Kind::Function, Some(_)) => Beside::Elsewhere,
                (Kind::Function, None) => Beside::Ours,
                _ => Beside::Both,
            };
            right.push(Section::of(None, Some(rust), beside));
        }
        // What stands between functions on both sides goes beside each other: at the top of the
        // gap, and at its end, above the next pair.
        let is_between = |s: &Section| match (s.c, s.rust) {
            (None, Some(r)) => kind(&r) == Kind::Between,
            (Some(_), _) => between(s),
            _ => false,
        };
        let join = |l: &Section, r: &Section| Section::of(l.c, r.rust, Beside::Both);
        let mut top = None;
        let mut end = None;
        if left.first().is_some_and(is_between) && right.first().is_some_and(is_between) {
            top = Some(join(&left.remove(0), &right.remove(0)));
        }
        if left.last().is_some_and(is_between)
            && right.last().is_some_and(is_between)
            && let (Some(l), Some(r)) = (left.pop(), right.pop())
        {
            end = Some(join(&l, &r));
        }
        sections.extend(top);
        sections.append(&mut left);
        sections.append(&mut right);
        sections.extend(end);
    }

    /// Why a C function without a Rust one is not here.
    pub fn why_not(&self, file: usize, name: &str) -> Beside {
        let c = &self.c[file];
        if let Some(head) = &c.head {
            return Beside::Head(head.clone());
        }
        if let Some(row) = self.names.why_absent(&c.source.path, name)
            && let Some(at) = self.names.absent.iter().position(|r| r.id == row.id)
        {
            return Beside::Row(at);
        }
        if c.listed.iter().any(|l| l == name) { Beside::Missing } else { Beside::Unlisted }
    }

    /// Counts the listed functions of a C file by what the page shows beside them.
    pub fn count(&self, file: usize) -> Count {
        let c = &self.c[file];
        let mut count = Count { listed: c.listed.len(), ..Count::default() };
        let mut beside: HashMap<&str, &Section> = HashMap::new();
        for section in &c.sections {
            let Some(at) = section.c else { continue };
            let item = &c.source.items[at];
            if item.kind == Kind::Function {
                beside.entry(&item.name).or_insert(section);
                for within in &item.within {
                    beside.entry(within).or_insert(section);
                }
            }
        }
        let mut order: HashMap<usize, Vec<usize>> = HashMap::new();
        for name in &c.listed {
            let Some(section) = beside.get(name.as_str()) else {
                count.not_found.push(name.clone());
                continue;
            };
            match &section.beside {
                Beside::Both | Beside::Elsewhere => {
                    count.paired += 1;
                    if let Some(rust) = section.rust {
                        order.entry(rust.0).or_default().push(rust.1);
                    }
                }
                Beside::Row(_) | Beside::Head(_) => count.explained += 1,
                _ => count.missing.push(name.clone()),
            }
        }
        // Where a function is within another, both have one place.
        count.in_order = order
            .values()
            .map(|places| {
                let places: Vec<usize> =
                    places.iter().enumerate().map(|(at, p)| p * 10_000 + at).collect();
                in_order(&places).iter().filter(|kept| **kept).count()
            })
            .sum();
        count
    }
}
