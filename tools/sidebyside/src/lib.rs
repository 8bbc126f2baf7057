//! Pages that show the C and its port side by side, function by function.
//!
//! In reading order: [`names`] is what the project says about the C; [`source`] cuts a file of
//! either language into functions; [`model`] decides what stands beside what; [`align`] does so
//! within a function, and [`parts`] says which other functions of ours are read with it; [`compare`] tells what another tag changed; [`links`] and [`highlight`] make
//! HTML of source text, [`pages`] the pages, and [`folder`] is where they go.

pub mod align;
pub mod compare;
pub mod folder;
pub mod highlight;
pub mod links;
pub mod model;
pub mod names;
pub mod pages;
pub mod parts;
pub mod source;

use std::fmt;
use std::path::PathBuf;

/// What ends the program: a message for whoever started it.
pub type Fail = Box<dyn std::error::Error>;

pub struct Options {
    /// The project's root: `docs/names`, `docs/differences.md` and `src`.
    pub project: PathBuf,
    pub out: PathBuf,
    /// The C's `src`; without it the pages have only the names of its functions.
    pub c: Option<PathBuf>,
    pub compare: Option<PathBuf>,
}

/// What was written.
#[derive(Debug, Default)]
pub struct Report {
    pub index: PathBuf,
    pub version: Option<String>,
    pub pages: usize,
    /// Functions that docs/names lists, and what the pages show beside them.
    pub listed: usize,
    pub paired: usize,
    pub explained: usize,
    /// `file: name`: listed, but the C has no such function.
    pub not_found: Vec<String>,
    /// `file: name`: neither paired nor explained.
    pub missing: Vec<String>,
    /// Functions that the other tag changed, if there is one.
    pub changed: Option<usize>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let version = self.version.as_deref().unwrap_or("the C");
        writeln!(
            f,
            "{} functions of {version}: {} here, {} explained, {} neither; {} not in this C",
            self.listed,
            self.paired,
            self.explained,
            self.missing.len(),
            self.not_found.len()
        )?;
        for (what, names) in [("neither", &self.missing), ("not in this C", &self.not_found)] {
            if !names.is_empty() {
                writeln!(f, "{what}: {}", names.join(", "))?;
            }
        }
        if let Some(changed) = self.changed {
            writeln!(f, "{changed} functions are changed, new or gone in the other tag")?;
        }
        write!(f, "{} pages: {}", self.pages, self.index.display())
    }
}

/// Reads both sides and writes the pages.
pub fn build(options: &Options) -> Result<Report, Fail> {
    let model = model::Model::read(options)?;
    let comparison = match &options.compare {
        Some(other) => Some(compare::Comparison::read(&model, other)?),
        None => None,
    };
    pages::write(&model, comparison.as_ref(), &options.out)
}
