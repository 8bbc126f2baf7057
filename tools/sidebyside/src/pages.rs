//! Writes the pages: what each of them shows, as values for the templates.

use std::collections::hash_map::Entry::Vacant;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;
use std::ops::Range;
use std::path::Path;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, context};
use serde::Serialize;

use crate::align;
use crate::compare::{Comparison, FileChanges, Line, What};
use crate::folder::Folder;
use crate::highlight::{Colours, escape};
use crate::links::{Place, Places, c_page, page_of, rust_page};
use crate::model::{Beside, CFile, Count, Model, RustItem, Section};
use crate::names::is_absent_row;
use crate::parts::{Layout, layouts};
use crate::source::{Item, Kind, Side, Source, Thing};
use crate::{Fail, Report};

/// What every page has.
#[derive(Serialize)]
struct Base<'a> {
    title: &'a str,
    version: Option<&'a str>,
    other: Option<&'a str>,
    compared: bool,
    with_c: bool,
}

#[derive(Serialize)]
struct PageView<'a> {
    #[serde(flatten)]
    base: Base<'a>,
    /// The left side is a difference between two tags.
    diff: bool,
    c_path: Option<&'a str>,
    rust_files: Vec<FileLink>,
    head: Option<String>,
    /// Said once at the top: how many functions are here, and so on.
    facts: Vec<String>,
    marks: usize,
    sections: Vec<SectionView>,
}

#[derive(Serialize, Clone)]
struct FileLink {
    path: String,
    page: String,
}

#[derive(Serialize, Default)]
struct SectionView {
    /// `pair`, `absent`, `ours`, `other` or `between`.
    kind: &'static str,
    function: bool,
    c: Option<End>,
    rust: Option<End>,
    rows: Vec<RowView>,
    /// The Rust file, where it is another than that of the section before.
    file: Option<FileLink>,
    /// In place of a side that has nothing: HTML.
    left: Option<String>,
    right: Option<String>,
    /// The page and the word of a change in another tag.
    change: Option<(String, &'static str)>,
    /// Lines of its longer side, for a guess at its height.
    height: usize,
}

/// One side of a section's head.
#[derive(Serialize)]
struct End {
    name: String,
    anchor: Option<String>,
    path: String,
    page: String,
    from: usize,
    to: usize,
}

#[derive(Serialize)]
struct RowView {
    c: String,
    c_before: usize,
    rust: String,
    rust_before: usize,
}

struct Writer<'a> {
    model: &'a Model,
    comparison: Option<&'a Comparison>,
    places: Places,
    colours: Colours,
    env: Environment<'a>,
    out: Folder,
    version: Option<String>,
    pages: usize,
    /// The entries of the search.
    index: Vec<Entry>,
    /// By C file and item.
    layouts: HashMap<(usize, usize), Layout>,
    /// The C function within whose text one of our own is shown, too.
    within: HashMap<RustItem, (usize, usize)>,
}

/// A name of the search: what it is, and where it is on either side.
#[derive(Serialize)]
struct Entry(String, &'static str, Option<Spot>, Option<Spot>);

/// The href and the place for people: `ae.c.html#c-aeMain` and `ae.c:400`.
#[derive(Serialize)]
struct Spot(String, String);

pub fn write(model: &Model, comparison: Option<&Comparison>, out: &Path) -> Result<Report, Fail> {
    let mut env = Environment::new();
    env.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    env.add_template("base.html", include_str!("../templates/base.html"))?;
    env.add_template("page.html", include_str!("../templates/page.html"))?;
    env.add_template("index.html", include_str!("../templates/index.html"))?;
    env.add_template("text.html", include_str!("../templates/text.html"))?;
    env.add_template("compare.html", include_str!("../templates/compare.html"))?;
    let mut writer = Writer {
        model,
        comparison,
        places: Places::of(model),
        colours: Colours::new()?,
        env,
        out: Folder::open(out)?,
        version: model.version.clone(),
        pages: 0,
        index: Vec::new(),
        layouts: HashMap::new(),
        within: HashMap::new(),
    };
    writer.layouts = layouts(model, &writer.places);
    for (c, layout) in &writer.layouts {
        for part in &layout.parts {
            if !model.partner.contains_key(&part.of) {
                // Of several C functions the first one is named.
                let of = writer.within.entry(part.of).or_insert(*c);
                *of = (*of).min(*c);
            }
        }
    }
    let mut report = Report { version: model.version.clone(), ..Report::default() };
    for file in 0..model.c.len() {
        let count = model.count(file);
        let path = &model.c[file].source.path;
        report.listed += count.listed;
        report.paired += count.paired;
        report.explained += count.explained;
        report.not_found.extend(count.not_found.iter().map(|n| format!("{path}: {n}")));
        report.missing.extend(count.missing.iter().map(|n| format!("{path}: {n}")));
    }
    writer.c_pages()?;
    writer.rust_pages()?;
    writer.differences()?;
    writer.comparisons()?;
    writer.start(&report)?;
    writer.assets()?;
    report.changed = comparison.map(|c| {
        let changes = c.files.iter().flat_map(|f| &f.changes);
        changes.filter(|c| !c.name.is_empty() && c.what != What::Comment).count()
    });
    report.pages = writer.pages;
    report.index = out.join("index.html");
    Ok(report)
}

fn short(path: &str) -> &str {
    path.strip_prefix("src/").unwrap_or(path)
}

/// Text with words in backticks as HTML.
fn ticks(text: &str) -> String {
    let mut out = String::new();
    for (at, part) in text.split('`').enumerate() {
        match at % 2 {
            0 => out.push_str(&escape(part)),
            _ => out.push_str(&format!("<code>{}</code>", escape(part))),
        }
    }
    out
}

/// Lines as HTML: one element each, with the class of its indentation.
fn block(
    source: &Source,
    html: &[String],
    lines: Range<usize>,
    ids: &HashMap<usize, String>,
) -> String {
    let mut out = String::new();
    let mut marked = false;
    for at in lines {
        // A mark goes on as long as its comment does.
        marked = source.is_mark(at) || (marked && source.comments[at]);
        let class = match marked {
            _ if source.is_anchor(at) => " anchor",
            true => " mark",
            false => "",
        };
        push_line(&mut out, source, html, at, class, ids.get(&at));
    }
    out
}

fn push_line(
    out: &mut String,
    source: &Source,
    html: &[String],
    at: usize,
    class: &str,
    id: Option<&String>,
) {
    let text = source.line(at);
    let blank = text.len() - text.trim_start_matches(' ').len();
    let id = id.map_or(String::new(), |id| format!(" id=\"{id}\""));
    // Writing to a string does not fail.
    let _ = match blank.min(MOST_INDENT) {
        0 => write!(out, "<div class=\"l{class}\"{id}>"),
        blank => write!(out, "<div class=\"l i{blank}{class}\"{id}>"),
    };
    out.push_str(&html[at]);
    out.push_str("</div>");
}

const MOST_INDENT: usize = 60;

impl<'a> Writer<'a> {
    fn base<'b>(&'b self, title: &'b str) -> Base<'b> {
        let other = self.comparison.and_then(|c| c.version.as_deref());
        Base {
            title,
            version: self.version.as_deref(),
            other,
            compared: self.comparison.is_some(),
            with_c: self.model.c.iter().any(|c| c.has_text),
        }
    }

    fn c_name(&self, file: usize) -> &'a str {
        &self.model.c[file].source.path
    }

    /// The pages of the C files, each with all of its own Rust files.
    fn c_pages(&mut self) -> Result<(), Fail> {
        let model = self.model;
        for (file, c) in model.c.iter().enumerate() {
            let page = c_page(&c.source.path);
            let links = self.places.c_links(model, file, &c.source, &page);
            let c_html = self.colours.lines(&c.source, &links)?;
            let mut rust_html: HashMap<usize, Vec<String>> = HashMap::new();
            let parts = |at: usize| self.layouts.get(&(file, at)).map(|l| &l.parts);
            let shown = c.sections.iter().filter_map(|s| parts(s.c?)).flatten();
            let beside = c.sections.iter().filter_map(|s| s.rust);
            let shown: Vec<usize> = shown.map(|p| p.of).chain(beside).map(|r| r.0).collect();
            for rust in shown.into_iter().chain(c.whole.iter().copied()) {
                if let Vacant(entry) = rust_html.entry(rust) {
                    let links = self.places.rust_links(model, rust, &page);
                    entry.insert(self.colours.lines(&model.rust[rust], &links)?);
                }
            }
            let c_ids = self.things(&c.source, "c", &page);
            let mut rust_ids = HashMap::new();
            for rust in &c.whole {
                let mut ids = self.things(&model.rust[*rust], "r", &page);
                if c.is_header_of_ours() {
                    self.functions_as_lines(*rust, &page, &mut ids);
                }
                rust_ids.insert(*rust, ids);
            }
            let mut sections = Vec::new();
            for section in &c.sections {
                let view =
                    self.section(file, section, &page, &c_html, &c_ids, &rust_html, &rust_ids);
                sections.push(view);
            }
            let mut rust_files: Vec<usize> = c.whole.clone();
            for at in &c.here {
                if !rust_files.contains(at) {
                    rust_files.push(*at);
                }
            }
            let rust_files: Vec<FileLink> =
                rust_files.iter().map(|at| self.file_link(*at)).collect();
            let count = model.count(file);
            let marks = c.whole.iter().map(|at| marks(&model.rust[*at])).sum();
            let beside = rust_files.first().map_or("nothing", |f| short(&f.path)).to_string();
            let title = format!("{} beside {beside}", c.source.path);
            let view = PageView {
                base: self.base(&title),
                diff: false,
                c_path: Some(&c.source.path),
                rust_files,
                head: c.head.as_deref().map(ticks),
                facts: facts(c, &count),
                marks,
                sections,
            };
            self.save(&page, "page.html", &view)?;
            self.pages += 1;
        }
        Ok(())
    }

    /// Writes a page.
    fn save(&self, name: &str, template: &str, view: &impl Serialize) -> Result<(), Fail> {
        let html = self.env.get_template(template)?.render(context! { view => Serde(view) })?;
        self.out.write(name, &html)
    }

    fn file_link(&self, rust: usize) -> FileLink {
        FileLink { path: self.model.rust[rust].path.clone(), page: page_of(self.model, rust) }
    }

    /// The pages of the Rust files that stand on no C file's page.
    fn rust_pages(&mut self) -> Result<(), Fail> {
        let model = self.model;
        for (at, rust) in model.rust.iter().enumerate() {
            if model.home[at].is_some() {
                continue;
            }
            let page = rust_page(&rust.path);
            let links = self.places.rust_links(model, at, &page);
            let html = HashMap::from([(at, self.colours.lines(rust, &links)?)]);
            let ids = HashMap::from([(at, self.things(rust, "r", &page))]);
            let mut sections = Vec::new();
            for (item_at, item) in rust.items.iter().enumerate() {
                let beside = match model.partner.get(&(at, item_at)) {
                    Some((c, _)) => Beside::OtherFile(*c),
                    None if item.kind == Kind::Function => Beside::Ours,
                    None => Beside::Both,
                };
                let section = Section { c: None, rust: Some((at, item_at)), beside, rows: vec![] };
                sections.push(self.section(
                    usize::MAX,
                    &section,
                    &page,
                    &[],
                    &HashMap::new(),
                    &html,
                    &ids,
                ));
            }
            let view = PageView {
                base: self.base(&rust.path),
                diff: false,
                c_path: None,
                rust_files: vec![FileLink { path: rust.path.clone(), page: page.clone() }],
                head: None,
                facts: vec![
                    "no C file of its name".to_string(),
                    format!("{} lines", rust.shown_lines().len()),
                    format!("{} % comments", rust.comment_share()),
                ],
                marks: marks(rust),
                sections,
            };
            self.save(&page, "page.html", &view)?;
            self.pages += 1;
        }
        Ok(())
    }

    /// Gives lines that define a type, a constant or a field an anchor, and enters their names.
    fn things(&mut self, source: &Source, side: &str, page: &str) -> HashMap<usize, String> {
        let fields = source.path.ends_with(".h") || source.path.ends_with("_h.rs");
        let taken: HashSet<&str> = source.items.iter().map(|i| i.name.as_str()).collect();
        let mut ids: HashMap<usize, String> = HashMap::new();
        let mut seen = HashSet::new();
        let shown: HashSet<usize> = source.shown_lines().into_iter().collect();
        for (thing, name, line) in &source.things {
            let what = match thing {
                Thing::Macro => "macro",
                Thing::Constant => "constant",
                Thing::Type => "type",
                Thing::Field if fields => "field",
                Thing::Field => continue,
            };
            if taken.contains(name.as_str()) || !shown.contains(line) || !seen.insert(name) {
                continue;
            }
            let stem = short(&source.path).replace('/', ".");
            let id = ids.entry(*line).or_insert_with(|| format!("{side}-{stem}-{name}"));
            let spot =
                Spot(format!("{page}#{id}"), format!("{}:{}", short(&source.path), line + 1));
            let (c, rust) = match source.side {
                Side::C => (Some(spot), None),
                Side::Rust => (None, Some(spot)),
            };
            self.index.push(Entry(name.clone(), what, c, rust));
        }
        ids
    }

    /// Gives the functions of a file anchors at their lines, where it is not shown by functions.
    fn functions_as_lines(&mut self, file: usize, page: &str, ids: &mut HashMap<usize, String>) {
        let items = &self.model.rust[file].items;
        for (at, item) in items.iter().enumerate().filter(|(_, i)| i.kind == Kind::Function) {
            let place = self.places.rust.get(&(file, at)).filter(|p| p.page == page);
            if let Some(anchor) = place.map(|p| p.anchor.clone()) {
                ids.insert(item.signature, anchor);
                self.enter(None, Some((file, at)));
            }
        }
    }

    fn c_end(&self, file: usize, at: usize) -> End {
        let c = &self.model.c[file];
        let item = &c.source.items[at];
        let (from, to) = if c.has_text { (item.signature + 1, item.last + 1) } else { (0, 0) };
        End {
            name: item.name.clone(),
            anchor: self.places.c.get(&(file, at)).map(|p| p.anchor.clone()),
            path: c.source.path.clone(),
            page: c_page(&c.source.path),
            from,
            to,
        }
    }

    fn rust_end(&self, rust: RustItem, page: &str) -> End {
        let source = &self.model.rust[rust.0];
        let item = &source.items[rust.1];
        let name = match &item.owner {
            Some(owner) => format!("{owner}::{}", item.name),
            None => item.name.clone(),
        };
        let place = self.places.rust.get(&rust);
        End {
            name,
            anchor: place.filter(|p| p.page == page).map(|p| p.anchor.clone()),
            path: short(&source.path).to_string(),
            page: page_of(self.model, rust.0),
            from: item.signature + 1,
            to: item.last + 1,
        }
    }

    fn enter(&mut self, c: Option<(usize, usize)>, rust: Option<RustItem>) {
        let c_spot = c.map(|(file, at)| {
            let end = self.c_end(file, at);
            let line = if end.from > 0 { format!(":{}", end.from) } else { String::new() };
            let href = format!("{}#{}", end.page, end.anchor.unwrap_or_default());
            Spot(href, format!("{}{line}", end.path))
        });
        let rust_spot = rust.and_then(|rust| {
            let place = self.places.rust.get(&rust)?;
            let source = &self.model.rust[rust.0];
            let line = source.items[rust.1].signature + 1;
            Some(Spot(place.href(""), format!("{}:{line}", short(&source.path))))
        });
        let name = match (c, rust) {
            (Some((file, at)), _) => self.model.c[file].source.items[at].name.clone(),
            (None, Some(rust)) => self.rust_end(rust, "").name,
            (None, None) => return,
        };
        self.index.push(Entry(name, "function", c_spot, rust_spot));
    }

    #[allow(clippy::too_many_arguments)]
    fn section(
        &mut self,
        file: usize,
        section: &Section,
        page: &str,
        c_html: &[String],
        c_ids: &HashMap<usize, String>,
        rust_html: &HashMap<usize, Vec<String>>,
        rust_ids: &HashMap<usize, HashMap<usize, String>>,
    ) -> SectionView {
        let model = self.model;
        let c_item: Option<(&CFile, &Item)> = section.c.map(|at| {
            let c = &model.c[file];
            (c, &c.source.items[at])
        });
        let rust_item: Option<&Item> = section.rust.map(|r| &model.rust[r.0].items[r.1]);
        if !section.rows.is_empty() {
            let rust = model.c[file].whole[0];
            return self.lines_of_both(
                file,
                rust,
                &section.rows,
                (c_html, c_ids),
                (&rust_html[&rust], &rust_ids[&rust]),
            );
        }

        // What stands where one side has no text: a link, or the reason.
        let mut view = SectionView::default();
        let is_function = |item: Option<&Item>| item.is_some_and(|i| i.kind == Kind::Function);
        view.function = is_function(c_item.map(|c| c.1)) || is_function(rust_item);
        let show_rust = section.beside != Beside::Elsewhere;
        match &section.beside {
            Beside::Both if view.function => view.kind = "pair",
            Beside::Both => view.kind = "between",
            Beside::Elsewhere => {
                view.kind = if c_item.is_some() { "pair" } else { "other" };
                let name = rust_item.map_or("", |i| i.name.as_str());
                let place = section.rust.and_then(|r| self.places.rust.get(&r));
                let href = place.map_or(String::new(), |p| p.href(page));
                let note =
                    format!("<a href=\"{}\"><code>{}</code></a>", escape(&href), escape(name));
                view.right = Some(if c_item.is_some() {
                    format!("Part of {note}, which is shown at another place of this page.")
                } else {
                    format!(
                        "{note} stands here in the Rust file, and is shown beside its C function."
                    )
                });
            }
            Beside::Row(at) => {
                view.kind = "absent";
                let row = &model.names.absent[*at];
                view.right = Some(format!(
                    "<b>Not here:</b> {}. <a href=\"differences.html#{}\">Row of differences.md</a>",
                    ticks(&row.why),
                    row.id
                ));
            }
            Beside::Head(head) => {
                view.kind = "absent";
                view.right = Some(format!(
                    "{} <a href=\"differences.html#parts-that-are-not-here\">Parts that are not here</a>",
                    ticks(head)
                ));
            }
            Beside::Unlisted => {
                view.kind = "absent";
                view.right = Some(
                    "In no list of the project: test code, or of another platform or tag."
                        .to_string(),
                );
            }
            Beside::Missing => {
                view.kind = "absent";
                view.right = Some("<b>Neither here nor explained.</b>".to_string());
            }
            Beside::OtherFile(other) => {
                view.kind = "other";
                let name = rust_item.map_or("", |i| i.name.as_str());
                let path = self.c_name(*other);
                let href = self
                    .places
                    .c_function(model, Some(*other), name)
                    .map_or_else(|| c_page(path), |p| p.href(page));
                view.left = Some(format!(
                    "<a href=\"{}\"><code>{}</code></a> of {}",
                    escape(&href),
                    escape(name),
                    escape(path)
                ));
            }
            Beside::Ours => {
                view.kind = "ours";
                let within = section.rust.and_then(|rust| self.within.get(&rust));
                view.left = Some(match within.map(|c| (c, self.places.c.get(c))) {
                    Some((c, Some(place))) => format!(
                        "ours, and a part of <a href=\"{}\"><code>{}</code></a>",
                        escape(&place.href(page)),
                        escape(&model.c[c.0].source.items[c.1].name)
                    ),
                    _ => "ours".to_string(),
                });
            }
        }

        // What is known of the functions: who calls them, and what has changed.
        if let Some((_, item)) = c_item
            && item.kind == Kind::Function
        {
            view.c = section.c.map(|at| self.c_end(file, at));
            view.change = self.change(file, &item.name);
        }
        if let (Some(rust), true) = (section.rust, show_rust)
            && rust_item.is_some_and(|i| i.kind == Kind::Function)
        {
            view.rust = Some(self.rust_end(rust, page));
        }
        if view.function {
            let canonical =
                |rust: &RustItem| self.places.rust.get(rust).is_some_and(|p| p.page == page);
            match (section.c, section.rust) {
                (Some(at), rust) => self.enter(Some((file, at)), rust),
                (None, Some(rust)) if canonical(&rust) && show_rust => self.enter(None, Some(rust)),
                _ => {}
            }
        }

        // The lines of both, side by side.
        let shown_c = c_item.filter(|(c, _)| c.has_text);
        let shown_rust = section.rust.filter(|_| show_rust);
        if c_item.is_some_and(|(c, _)| !c.has_text) {
            view.left = Some("the C's text is not part of these pages".to_string());
        }
        let tests = rust_item.is_some_and(|i| i.kind == Kind::Tests);
        if let (Some(item), true) = (rust_item, tests) {
            view.right = Some(format!("{} lines of unit tests", item.last + 1 - item.first));
            return view;
        }
        let no_ids = HashMap::new();
        let left = |lines: Range<usize>| match shown_c {
            Some((c, _)) => block(&c.source, c_html, lines, c_ids),
            None => String::new(),
        };
        let right = |lines: Range<usize>| match shown_rust {
            Some(r) => {
                let ids = rust_ids.get(&r.0).unwrap_or(&no_ids);
                block(&model.rust[r.0], &rust_html[&r.0], lines, ids)
            }
            None => String::new(),
        };
        let range = |item: &Item| item.first..item.last + 1;
        let layout = section.c.and_then(|at| self.layouts.get(&(file, at)));
        if let (Some(layout), Some(main), true) = (layout, section.rust, show_rust) {
            view.height = layout.rows.iter().map(align::Row::height).sum();
            let pieces = |row: &align::Row| {
                let piece = |(part, lines): &(usize, Range<usize>)| {
                    let of = layout.parts[*part].of;
                    let html = match of == main {
                        true => right(lines.clone()),
                        false => {
                            block(&model.rust[of.0], &rust_html[&of.0], lines.clone(), &no_ids)
                        }
                    };
                    let begins = lines.start == layout.parts[*part].lines.start;
                    let again = layout.parts[..*part].iter().any(|p| p.of == of);
                    let word = match (begins, again) {
                        (true, true) => Some("back in"),
                        (true, false) if of != main => Some("called here:"),
                        _ => None,
                    };
                    self.piece(of, &html, of != main, word, lines.start, page)
                };
                row.rust.iter().map(piece).collect::<String>()
            };
            let several = layout.parts.len() > 1;
            view.rows = layout
                .rows
                .iter()
                .map(|row| RowView {
                    c_before: row.c.start,
                    rust_before: row.rust.first().map_or(0, |(_, lines)| lines.start),
                    c: left(row.c.clone()),
                    rust: match row.rust.first() {
                        Some((_, lines)) if !several => right(lines.clone()),
                        _ => pieces(row),
                    },
                })
                .collect();
            return view;
        }
        let (c, rust) = match (shown_c, shown_rust.zip(rust_item)) {
            (Some((_, item)), None) => (range(item), 0..0),
            (None, Some((_, item))) => (0..0, range(item)),
            _ => return view,
        };
        view.height = c.len().max(rust.len());
        view.rows = vec![RowView {
            c_before: c.start,
            rust_before: rust.start,
            c: left(c),
            rust: right(rust),
        }];
        view
    }

    /// Lines of one of the functions that are read in one go. `own`: it is one that is called here;
    /// `word`: what is said of it above these lines.
    fn piece(
        &self,
        of: RustItem,
        html: &str,
        own: bool,
        word: Option<&str>,
        before: usize,
        page: &str,
    ) -> String {
        let mut out = format!("<div class=\"g{}\"", if own { " own" } else { "" });
        let _ = write!(out, " style=\"--n:{before}\">");
        if let Some(word) = word {
            let name = &self.model.rust[of.0].items[of.1].name;
            let href = self.places.rust.get(&of).map_or(String::new(), |p| p.href(page));
            let _ = write!(
                out,
                "<div class=\"called\">{word} <a href=\"{}\">{}</a></div>",
                escape(&href),
                escape(name)
            );
        }
        out.push_str(html);
        out.push_str("</div>");
        out
    }

    /// A part of a header and of the file beside it.
    fn lines_of_both(
        &self,
        file: usize,
        rust: usize,
        rows: &[align::Row],
        (c_html, c_ids): (&[String], &HashMap<usize, String>),
        (rust_html, rust_ids): (&[String], &HashMap<usize, String>),
    ) -> SectionView {
        let (c, rust) = (&self.model.c[file].source, &self.model.rust[rust]);
        SectionView {
            kind: "between",
            height: rows.iter().map(align::Row::height).sum(),
            rows: rows
                .iter()
                .map(|row| (row.c.clone(), row.rust.first().map_or(0..0, |r| r.1.clone())))
                .map(|(c_lines, rust_lines)| RowView {
                    c_before: c_lines.start,
                    rust_before: rust_lines.start,
                    c: block(c, c_html, c_lines, c_ids),
                    rust: block(rust, rust_html, rust_lines, rust_ids),
                })
                .collect(),
            ..SectionView::default()
        }
    }

    /// What the other tag did to a function, and where it is shown.
    fn change(&self, file: usize, name: &str) -> Option<(String, &'static str)> {
        let comparison = self.comparison?;
        let (at, change) = comparison.by_name.get(&(file, name.to_string()))?;
        let page = compare_page(self.c_name(comparison.files[*at].file));
        let word = word(comparison.files[*at].changes[*change].what);
        Some((format!("{page}#d-{name}"), word))
    }
}

fn word(what: What) -> &'static str {
    match what {
        What::Changed => "changed",
        What::Comment => "comments only",
        What::Added => "new",
        What::Removed => "gone",
    }
}

fn compare_page(path: &str) -> String {
    format!("compare-{path}.html")
}

/// How many places of a file do otherwise than the C.
fn marks(source: &Source) -> usize {
    source.shown_lines().into_iter().filter(|at| source.is_mark(*at)).count()
}

fn facts(c: &CFile, count: &Count) -> Vec<String> {
    let mut facts = Vec::new();
    if count.listed > 0 {
        facts.push(format!("{} of {} functions are here", count.paired, count.listed));
        if count.explained > 0 {
            let are = if count.explained == 1 { "is" } else { "are" };
            facts.push(format!("{} {are} absent, with the reason", count.explained));
        }
    }
    if c.has_text {
        facts.push(format!("{} lines of C", c.source.lines.len()));
    }
    facts
}

// ---------------------------------------------------------------------- other pages

#[derive(Serialize)]
struct StartView<'a> {
    #[serde(flatten)]
    base: Base<'a>,
    listed: usize,
    paired: usize,
    explained: usize,
    missing: &'a [String],
    share: String,
    files: Vec<FileRow>,
    headers: Vec<FileLink>,
    absent: Vec<AbsentFile>,
    absent_count: usize,
    alone: Vec<AloneRow>,
    changed: Option<usize>,
}

#[derive(Serialize)]
struct FileRow {
    path: String,
    page: String,
    rust: Vec<FileLink>,
    head: Option<String>,
    listed: usize,
    paired: usize,
    explained: usize,
    missing: usize,
    /// In percent of those that are here.
    order: usize,
    share: usize,
    c_lines: Option<usize>,
    rust_lines: usize,
    c_comments: Option<usize>,
    rust_comments: usize,
    marks: usize,
    changes: usize,
    change_page: String,
}

#[derive(Serialize)]
struct AbsentFile {
    path: String,
    page: String,
    reasons: Vec<AbsentReason>,
    count: usize,
}

#[derive(Serialize)]
struct AbsentReason {
    why: String,
    href: String,
    names: Vec<(String, String)>,
}

#[derive(Serialize)]
struct AloneRow {
    path: String,
    page: String,
    about: String,
    lines: usize,
}

#[derive(Serialize)]
struct TextView<'a> {
    #[serde(flatten)]
    base: Base<'a>,
    body: String,
}

#[derive(Serialize)]
struct CompareView<'a> {
    #[serde(flatten)]
    base: Base<'a>,
    files: Vec<CompareFile>,
    changed: usize,
    touched: usize,
}

#[derive(Serialize)]
struct CompareFile {
    path: String,
    page: String,
    changes: Vec<ChangeRow>,
}

#[derive(Serialize)]
struct ChangeRow {
    name: String,
    what: &'static str,
    added: usize,
    removed: usize,
    href: String,
    /// Where our function is, if a backport would touch one.
    rust: Option<(String, String)>,
    why: String,
}

/// The first sentence of a file's documentation, for a list of files.
fn about(source: &Source) -> String {
    let head = source.text.lines().take_while(|line| line.starts_with("//!"));
    let text: Vec<&str> = head.map(|line| line.trim_start_matches("//!").trim()).collect();
    let paragraph = text.split(|line| line.is_empty()).next().unwrap_or_default().join(" ");
    let end = paragraph.find(". ").map_or(paragraph.len(), |at| at + 1);
    ticks(&paragraph[..end])
}

impl Writer<'_> {
    fn start(&mut self, report: &Report) -> Result<(), Fail> {
        let model = self.model;
        let mut files = Vec::new();
        let mut absent = Vec::new();
        for (file, c) in model.c.iter().enumerate().filter(|(_, c)| !c.listed.is_empty()) {
            let count = model.count(file);
            let rust: Vec<&Source> = c.whole.iter().map(|at| &model.rust[*at]).collect();
            let rust_lines = rust.iter().map(|r| r.shown_lines().len()).sum::<usize>();
            let weighed: usize =
                rust.iter().map(|r| r.comment_share() * r.shown_lines().len()).sum::<usize>();
            let changes = self.comparison.and_then(|comparison| {
                let found = comparison.files.iter().find(|f| f.file == file)?;
                let code = found.changes.iter().filter(|c| c.what != What::Comment);
                Some(code.filter(|c| !c.name.is_empty()).count())
            });
            files.push(FileRow {
                path: c.source.path.clone(),
                page: c_page(&c.source.path),
                rust: c.here.iter().map(|at| self.file_link(*at)).collect(),
                head: c.head.as_deref().map(ticks),
                listed: count.listed,
                paired: count.paired,
                explained: count.explained,
                missing: count.missing.len(),
                order: (count.in_order * 100).checked_div(count.paired).unwrap_or(100),
                share: (count.paired * 100).checked_div(count.listed).unwrap_or(0),
                c_lines: c.has_text.then_some(c.source.lines.len()),
                rust_lines,
                c_comments: c.has_text.then(|| c.source.comment_share()),
                rust_comments: weighed.checked_div(rust_lines).unwrap_or(0),
                marks: rust.iter().map(|r| marks(r)).sum(),
                changes: changes.unwrap_or(0),
                change_page: compare_page(&c.source.path),
            });
            absent.extend(self.absent_of(file));
        }
        let headers = model
            .c
            .iter()
            .filter(|c| c.listed.is_empty())
            .map(|c| FileLink { path: c.source.path.clone(), page: c_page(&c.source.path) })
            .collect();
        let alone = (0..model.rust.len())
            .filter(|at| model.home[*at].is_none())
            .map(|at| AloneRow {
                path: short(&model.rust[at].path).to_string(),
                page: rust_page(&model.rust[at].path),
                about: about(&model.rust[at]),
                lines: model.rust[at].shown_lines().len(),
            })
            .collect();
        let absent_count = absent.iter().map(|a| a.count).sum();
        let share = (report.paired * 1000).checked_div(report.listed).unwrap_or(0);
        let changed = self.comparison.map(|c| {
            let changes = c.files.iter().flat_map(|f| &f.changes);
            changes.filter(|c| !c.name.is_empty() && c.what != What::Comment).count()
        });
        let view = StartView {
            base: self.base("The C and its port, side by side"),
            listed: report.listed,
            paired: report.paired,
            explained: report.explained,
            missing: &report.missing,
            share: format!("{}.{}", share / 10, share % 10),
            files,
            headers,
            absent,
            absent_count,
            alone,
            changed,
        };
        self.save("index.html", "index.html", &view)?;
        self.pages += 1;
        Ok(())
    }

    /// The functions of a file without a partner, by reason.
    fn absent_of(&self, file: usize) -> Option<AbsentFile> {
        let model = self.model;
        let c = &model.c[file];
        let mut listed: HashSet<&String> = c.listed.iter().collect();
        let mut reasons: BTreeMap<String, AbsentReason> = BTreeMap::new();
        let mut count = 0;
        let page = c_page(&c.source.path);
        for section in &c.sections {
            let Some(at) = section.c else { continue };
            let name = &c.source.items[at].name;
            let (key, why, href) = match &section.beside {
                Beside::Row(at) => {
                    let row = &model.names.absent[*at];
                    (format!("{at:04}"), ticks(&row.why), format!("differences.html#{}", row.id))
                }
                Beside::Head(head) => (
                    "head".to_string(),
                    ticks(head),
                    "differences.html#parts-that-are-not-here".to_string(),
                ),
                Beside::Missing => {
                    ("missing".to_string(), "neither here nor explained".to_string(), String::new())
                }
                _ => continue,
            };
            // A function that several platforms have is told of once.
            if !listed.remove(name) {
                continue;
            }
            count += 1;
            let href_of = self.places.c.get(&(file, at)).map_or(String::new(), |p| p.href(""));
            let reason =
                reasons.entry(key).or_insert(AbsentReason { why, href, names: Vec::new() });
            reason.names.push((name.clone(), href_of));
        }
        if count == 0 {
            return None;
        }
        let reasons = reasons.into_values().collect();
        Some(AbsentFile { path: c.source.path.clone(), page, reasons, count })
    }

    /// docs/differences.md with links from every name to both sides.
    fn differences(&mut self) -> Result<(), Fail> {
        use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};
        let model = self.model;
        // Rows of the table of absent functions have anchors; the parser does not tell rows apart
        // by content, so each is found again by its place.
        let text = &model.names.differences;
        let rows: HashMap<usize, &str> = text
            .match_indices("\n| ")
            .map(|(at, _)| at + 1)
            .filter(|at| is_absent_row(text[*at..].lines().next().unwrap_or_default()))
            .filter(|at| {
                let heading = format!("## {}", crate::names::ABSENT_HEADING);
                text[..*at].rfind("\n## ").is_some_and(|h| text[h + 1..].starts_with(&heading))
            })
            .zip(&model.names.absent)
            .map(|(at, row)| (at, row.id.as_str()))
            .collect();
        let mut events = Vec::new();
        let mut heading = false;
        let mut in_row: Option<String> = None;
        let options = Options::ENABLE_TABLES;
        for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
            match event {
                Event::Start(Tag::Heading { level, .. }) => {
                    heading = true;
                    let line = text[range.clone()].trim().trim_start_matches('#').trim();
                    events.push(Event::Html(format!("<{level} id=\"{}\">", slug(line)).into()));
                }
                Event::End(TagEnd::Heading(level)) => {
                    heading = false;
                    events.push(Event::Html(format!("</{level}>\n").into()));
                }
                Event::Start(Tag::TableRow) => {
                    let id = rows.get(&range.start);
                    let file = text[range.clone()].trim_matches('|').split('|').next();
                    in_row = id.and(file).map(|f| f.trim().to_string());
                    events.push(Event::Html(match id {
                        Some(id) => format!("<tr id=\"{id}\">").into(),
                        None => "<tr>".into(),
                    }));
                }
                Event::End(TagEnd::TableRow) => {
                    in_row = None;
                    events.push(Event::Html("</tr>\n".into()));
                }
                Event::Code(code) if !heading => {
                    let html = self.named(&code, in_row.as_deref());
                    events.push(Event::InlineHtml(html.into()));
                }
                Event::Text(words) if !heading => {
                    let html = self.with_files(&words, in_row.is_some());
                    events.push(Event::InlineHtml(CowStr::from(html)));
                }
                other => events.push(other),
            }
        }
        let mut body = String::new();
        html::push_html(&mut body, events.into_iter());
        let body = body.replace("<table>", "<div class=\"scroll\"><table>");
        let body = body.replace("</table>", "</table></div>");
        let view = TextView { base: self.base("Differences from the C"), body };
        self.save("differences.html", "text.html", &view)?;
        self.pages += 1;
        Ok(())
    }

    /// A name in backticks with its links: to the C, to ours, or to both.
    fn named(&self, code: &str, file: Option<&str>) -> String {
        let shown = format!("<code>{}</code>", escape(code));
        let model = self.model;
        let c_file = file.and_then(|f| model.c.iter().position(|c| c.source.path == f));
        let word = code.trim_end_matches("()");
        let first = match word.strip_suffix("...") {
            // The first of those that begin so.
            Some(prefix) => c_file.and_then(|f| {
                let names = model.c[f].listed.iter();
                names.filter(|n| n.starts_with(prefix)).min().map(String::as_str)
            }),
            None => Some(word),
        };
        let Some(name) = first else { return shown };
        let c = self.places.c_function(model, c_file, name);
        let rust = self.places.rust_function(model, name);
        let link = |p: &Place, class: &str, inner: &str| {
            format!("<a class=\"{class}\" href=\"{}\">{inner}</a>", escape(&p.href("")))
        };
        match (c, rust) {
            (Some(c), Some(rust)) => {
                format!("{}<sup>{}</sup>", link(c, "to-c", &shown), link(rust, "to-rust", "rs"))
            }
            (Some(c), None) => link(c, "to-c", &shown),
            (None, Some(rust)) => link(rust, "to-rust", &shown),
            (None, None) => shown,
        }
    }

    /// Text with links at the names of files; in a row about absent functions the C file's name has
    /// one to the Rust file beside it.
    fn with_files(&self, text: &str, absent: bool) -> String {
        let model = self.model;
        let is_path = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
        let mut out = String::new();
        let mut rest = text;
        while let Some(start) = rest.find(is_path) {
            out.push_str(&escape(&rest[..start]));
            let end = rest[start..].find(|c| !is_path(c)).map_or(rest.len(), |e| start + e);
            let word = &rest[start..end];
            rest = &rest[end..];
            let path = word.trim_end_matches('.');
            let rust = model.rust.iter().position(|r| {
                r.path == format!("src/{path}") || r.path == path || {
                    path.ends_with(".rs") && r.path.ends_with(&format!("/{path}"))
                }
            });
            let c = model.c.iter().position(|c| c.source.path == path);
            let tail = &word[path.len()..];
            match (c, rust) {
                (Some(c), _) => {
                    let file = &model.c[c];
                    let _ = write!(out, "<a class=\"to-c\" href=\"{}\">{path}</a>", c_page(path));
                    if let (true, Some(rust)) = (absent, file.here.first()) {
                        let page = page_of(model, *rust);
                        let name = short(&model.rust[*rust].path);
                        let _ =
                            write!(out, " <a class=\"to-rust beside\" href=\"{page}\">{name}</a>");
                    }
                }
                (None, Some(rust)) => {
                    let page = page_of(model, rust);
                    let _ = write!(out, "<a class=\"to-rust\" href=\"{page}\">{path}</a>");
                }
                (None, None) => out.push_str(&escape(path)),
            }
            out.push_str(tail);
        }
        out.push_str(&escape(rest));
        out
    }

    fn comparisons(&mut self) -> Result<(), Fail> {
        let Some(comparison) = self.comparison else { return Ok(()) };
        let mut files = Vec::new();
        let (mut changed, mut touched) = (0, 0);
        for file in &comparison.files {
            let row = self.compare_file(file)?;
            for change in row.changes.iter().filter(|c| !c.name.is_empty()) {
                if change.what != word(What::Comment) {
                    changed += 1;
                    touched += usize::from(change.rust.is_some());
                }
            }
            files.push(row);
        }
        let title =
            format!("What {} changed", comparison.version.as_deref().unwrap_or("the other tag"));
        let view = CompareView { base: self.base(&title), files, changed, touched };
        self.save("compare.html", "compare.html", &view)?;
        self.pages += 1;
        Ok(())
    }

    /// Writes the page of a file with its changes beside our functions.
    fn compare_file(&mut self, changes: &FileChanges) -> Result<CompareFile, Fail> {
        let model = self.model;
        let c = &model.c[changes.file];
        let page = compare_page(&c.source.path);
        let before = self
            .colours
            .lines(&c.source, &self.places.c_links(model, changes.file, &c.source, &page))?;
        let links = self.places.c_links(model, changes.file, &changes.other, &page);
        let after = self.colours.lines(&changes.other, &links)?;
        let mut rust_html: HashMap<usize, Vec<String>> = HashMap::new();
        let mut sections = Vec::new();
        let mut rows = Vec::new();
        for change in &changes.changes {
            let beside =
                c.sections.iter().find(|s| change.before.is_some() && s.c == change.before);
            let rust = beside.and_then(|s| s.rust);
            let mut left = String::new();
            for line in &change.lines {
                match line {
                    Line::Same(at) => push_line(&mut left, &changes.other, &after, *at, "", None),
                    Line::Added(at) => {
                        push_line(&mut left, &changes.other, &after, *at, " ins", None)
                    }
                    Line::Removed(at) => {
                        push_line(&mut left, &c.source, &before, *at, " del", None)
                    }
                    Line::Cut => left.push_str("<div class=\"l cut\">⋯</div>"),
                }
            }
            let mut right = String::new();
            if let Some(rust) = rust {
                if let Vacant(entry) = rust_html.entry(rust.0) {
                    let links = self.places.rust_links(model, rust.0, &page);
                    entry.insert(self.colours.lines(&model.rust[rust.0], &links)?);
                }
                let item = &model.rust[rust.0].items[rust.1];
                let lines = item.first..item.last + 1;
                right = block(&model.rust[rust.0], &rust_html[&rust.0], lines, &HashMap::new());
            }
            let why = match (change.what, beside.map(|s| &s.beside)) {
                (What::Added, _) => "new in the C: nothing here yet".to_string(),
                (_, Some(Beside::Row(at))) => {
                    format!("not here: {}", ticks(&model.names.absent[*at].why))
                }
                (_, Some(Beside::Head(head))) => ticks(head),
                (_, Some(Beside::Unlisted)) => "test code, or of another platform".to_string(),
                _ => String::new(),
            };
            let rust_first = rust.map_or(0, |r| model.rust[r.0].items[r.1].first);
            let name = if change.name.is_empty() { "outside of functions" } else { &change.name };
            sections.push(SectionView {
                kind: if rust.is_some() { "pair" } else { "absent" },
                function: true,
                c: Some(End {
                    name: name.to_string(),
                    anchor: Some(format!("d-{}", change.name)),
                    path: format!("{} +{} −{}", word(change.what), change.added, change.removed),
                    page: c_page(&c.source.path),
                    from: 0,
                    to: 0,
                }),
                rust: rust.map(|r| {
                    let mut end = self.rust_end(r, "");
                    if let Some(place) = self.places.rust.get(&r) {
                        end.page = place.href(&page);
                    }
                    end
                }),
                height: change.lines.len(),
                right: (right.is_empty() && !why.is_empty()).then(|| why.clone()),
                rows: vec![RowView { c: left, c_before: 0, rust: right, rust_before: rust_first }],
                ..SectionView::default()
            });
            let spot = rust.and_then(|r| {
                let end = self.rust_end(r, "");
                Some((self.places.rust.get(&r)?.href(""), format!("{}:{}", end.path, end.from)))
            });
            rows.push(ChangeRow {
                name: change.name.clone(),
                what: word(change.what),
                added: change.added,
                removed: change.removed,
                href: format!("{page}#d-{}", change.name),
                rust: spot,
                why,
            });
        }
        let other = self.comparison.and_then(|c| c.version.as_deref()).unwrap_or("the other tag");
        let title = format!("{}: what {other} changed", c.source.path);
        let view = PageView {
            base: self.base(&title),
            diff: true,
            c_path: Some(&c.source.path),
            rust_files: c.here.iter().map(|at| self.file_link(*at)).collect(),
            head: None,
            facts: vec![format!("what {other} changed, beside what a backport would touch")],
            marks: 0,
            sections,
        };
        self.save(&page, "page.html", &view)?;
        self.pages += 1;
        Ok(CompareFile { path: c.source.path.clone(), page, changes: rows })
    }

    fn assets(&mut self) -> Result<(), Fail> {
        let mut css = include_str!("../assets/style.css").to_string();
        for indent in 1..=MOST_INDENT {
            let _ = write!(css, ".i{indent}{{--i:{indent}ch}}");
        }
        self.out.write("style.css", &css)?;
        self.out.write("reader.js", include_str!("../assets/reader.js"))?;
        self.index.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        let index = serde_json::to_string(&self.index)?;
        self.out.write("names.js", &format!("window.NAMES={index};\n"))
    }
}

/// A heading as an anchor, as mdBook makes it.
fn slug(heading: &str) -> String {
    let words = heading.chars().filter_map(|c| match c {
        c if c.is_alphanumeric() || c == '_' || c == '-' => Some(c.to_ascii_lowercase()),
        c if c.is_whitespace() => Some('-'),
        _ => None,
    });
    words.collect()
}
