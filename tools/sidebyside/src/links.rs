//! Where names lead: every function has one place on one page, and a call leads there.

use std::collections::{HashMap, HashSet};

use crate::highlight::Link;
use crate::model::{Model, RustItem};
use crate::source::{How, Kind, Source};

/// A place on a page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    pub page: String,
    pub anchor: String,
}

impl Place {
    pub fn href(&self, from: &str) -> String {
        if self.page == from {
            format!("#{}", self.anchor)
        } else {
            format!("{}#{}", self.page, self.anchor)
        }
    }
}

pub struct Places {
    /// By C file and item.
    pub c: HashMap<(usize, usize), Place>,
    pub rust: HashMap<RustItem, Place>,
    c_by_name: HashMap<String, Vec<(usize, usize)>>,
    rust_by_name: HashMap<String, Vec<RustItem>>,
}

/// The page of a C file.
pub fn c_page(path: &str) -> String {
    format!("{path}.html")
}

/// The page of a Rust file that stands on no C file's page: `src/sys/clock.rs` is
/// `sys.clock.rs.html`.
pub fn rust_page(path: &str) -> String {
    format!("{}.html", path.trim_start_matches("src/").replace('/', "."))
}

/// Where the whole text of a Rust file stands.
pub fn page_of(model: &Model, rust: usize) -> String {
    match model.home[rust] {
        Some(c) => c_page(&model.c[c].source.path),
        None => rust_page(&model.rust[rust].path),
    }
}

/// Names of methods that std's types have, too: whose a call is cannot be seen without types.
const OF_STD: &[&str] = &[
    "is_empty",
    "to_vec",
    "as_slice",
    "as_ref",
    "as_mut",
    "as_bytes",
    "into_iter",
    "iter_mut",
    "get_mut",
    "push_back",
    "push_front",
    "pop_back",
    "pop_front",
    "or_insert",
    "extend_from_slice",
    "swap_remove",
    "split_off",
    "starts_with",
    "ends_with",
    "is_some",
    "is_none",
    "take_while",
    "to_string",
    "to_owned",
    "from_utf8",
    "remove_entry",
    "copy_from_slice",
    "is_err",
    "is_ok",
    "map_err",
    "read_exact",
    "write_all",
    "set_len",
    "as_ptr",
    "as_mut_ptr",
    "into_inner",
    "as_str",
    "is_alphabetic",
    "split_at",
    "last_mut",
    "first_mut",
    "retain_mut",
    "and_then",
    "entry_mut",
];

impl Places {
    pub fn of(model: &Model) -> Places {
        let mut taken: HashSet<(String, String)> = HashSet::new();
        let mut place = |page: String, anchor: String| {
            let mut free = anchor.clone();
            let mut count = 1;
            while !taken.insert((page.clone(), free.clone())) {
                count += 1;
                free = format!("{anchor}-{count}");
            }
            Place { page, anchor: free }
        };
        let mut places = Places {
            c: HashMap::new(),
            rust: HashMap::new(),
            c_by_name: HashMap::new(),
            rust_by_name: HashMap::new(),
        };
        for (file, c) in model.c.iter().enumerate() {
            for (at, item) in c.source.items.iter().enumerate() {
                if item.kind == Kind::Function {
                    let page = c_page(&c.source.path);
                    places.c.insert((file, at), place(page, format!("c-{}", item.name)));
                    places.c_by_name.entry(item.name.clone()).or_default().push((file, at));
                }
            }
        }
        for (file, rust) in model.rust.iter().enumerate() {
            for (at, item) in rust.items.iter().enumerate() {
                if item.kind != Kind::Function {
                    continue;
                }
                let page = match model.partner.get(&(file, at)) {
                    Some((c, _)) => c_page(&model.c[*c].source.path),
                    None => page_of(model, file),
                };
                let anchor = match &item.owner {
                    Some(owner) => format!("r-{owner}.{}", item.name),
                    None => format!("r-{}", item.name),
                };
                let anchor = anchor.replace(['\'', ' ', '&', '[', ']'], "");
                places.rust.insert((file, at), place(page, anchor));
                places.rust_by_name.entry(item.name.clone()).or_default().push((file, at));
            }
        }
        places
    }

    /// The function that a name in a C file means.
    pub fn c_function(&self, model: &Model, file: Option<usize>, name: &str) -> Option<&Place> {
        let found = self.c_by_name.get(name)?;
        let rank = |at: &&(usize, usize)| (Some(at.0) != file, model.c[at.0].head.is_some(), **at);
        self.c.get(found.iter().min_by_key(rank)?)
    }

    /// The Rust function of a name that needs no more to be known.
    pub fn rust_function(&self, model: &Model, name: &str) -> Option<&Place> {
        let found = self.rust_by_name.get(name)?;
        let rank = |at: &&RustItem| {
            (!model.partner.contains_key(at), model.rust[at.0].items[at.1].owner.is_some(), **at)
        };
        self.rust.get(found.iter().min_by_key(rank)?)
    }

    /// The Rust function that a name in a Rust file means.
    pub fn rust_item(&self, model: &Model, file: usize, name: &str, how: &How) -> Option<RustItem> {
        let found = self.rust_by_name.get(name)?;
        let item = |at: &RustItem| &model.rust[at.0].items[at.1];
        let stem = |at: &RustItem| {
            let path = &model.rust[at.0].path;
            let name = path.rsplit('/').next().unwrap_or_default();
            name.trim_end_matches(".rs").to_string()
        };
        let has_upper = name.contains(|c: char| c.is_ascii_uppercase());
        let free: Vec<&RustItem> = found.iter().filter(|at| item(at).owner.is_none()).collect();
        let plain = || {
            let here = free.iter().find(|at| at.0 == file);
            let partner = free.iter().find(|at| model.partner.contains_key(**at));
            let only = if free.len() == 1 { free.first() } else { None };
            here.or(only).or(partner.filter(|_| has_upper)).copied()
        };
        let at = match how {
            How::Plain => plain(),
            How::Path(path) if path == "Self" => {
                found.iter().find(|at| at.0 == file && item(at).owner.is_some())
            }
            How::Path(path) => {
                let path = path.split('<').next().unwrap_or_default();
                let owned = found.iter().find(|at| item(at).owner.as_deref() == Some(path));
                let in_file = free.iter().find(|at| stem(at) == path).copied();
                let near = matches!(path, "crate" | "super" | "self");
                owned.or(in_file).or_else(|| if near { plain() } else { None })
            }
            How::Method => {
                let owned: Vec<_> = found.iter().filter(|at| item(at).owner.is_some()).collect();
                let known = has_upper || (name.contains('_') && !OF_STD.contains(&name));
                if known && owned.len() == 1 { owned.first().copied() } else { None }
            }
        }?;
        Some(*at)
    }

    /// The links of a C file, as they are on a page.
    pub fn c_links(&self, model: &Model, file: usize, source: &Source, page: &str) -> Vec<Link> {
        links(source, |name, _| Some(self.c_function(model, Some(file), name)?.href(page)))
    }

    /// The links of a Rust file, as they are on a page.
    pub fn rust_links(&self, model: &Model, file: usize, page: &str) -> Vec<Link> {
        links(&model.rust[file], |name, how| {
            let item = self.rust_item(model, file, name, how)?;
            Some(self.rust.get(&item)?.href(page))
        })
    }
}

fn links(source: &Source, href: impl Fn(&str, &How) -> Option<String>) -> Vec<Link> {
    let mut links = Vec::new();
    for used in &source.uses {
        let name = &source.text[used.start..used.end];
        // A variable may have the name of a function; one in camelCase does not.
        if !used.called && !name.contains(|c: char| c.is_ascii_uppercase()) {
            continue;
        }
        if let Some(href) = href(name, &used.how) {
            links.push(Link { start: used.start, end: used.end, href });
        }
    }
    links
}
