//! The pages of a small project of the tests' own, of this project without the C, and of this
//! project with the C, if there is one.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use sidebyside::{Options, Report, build};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A folder of this test, empty.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn sample(name: &str, c: bool, compare: Option<PathBuf>) -> (PathBuf, Report) {
    let out = folder(name);
    let report = build(&Options {
        project: here("tests/sample/project"),
        out: out.clone(),
        c: c.then(|| here("tests/sample/c")),
        compare,
    });
    (out, report.unwrap())
}

fn read(out: &Path, page: &str) -> String {
    fs::read_to_string(out.join(page)).unwrap_or_else(|e| panic!("{page}: {e}"))
}

/// The values of an attribute on a page, quoted or not.
fn values<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    let starts = page.match_indices(attribute).map(|(at, _)| &page[at + attribute.len()..]);
    let value = |rest: &'a str| match rest.strip_prefix('"') {
        Some(rest) => rest.split('"').next(),
        None => rest.split([' ', '>']).next(),
    };
    starts.filter_map(value).collect()
}

/// Each link of each page leads to something.
fn assert_links(out: &Path) {
    let mut pages = HashMap::new();
    for entry in fs::read_dir(out).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let text = fs::read_to_string(out.join(&name)).unwrap();
        pages.insert(name, text);
    }
    let html: Vec<_> = pages.iter().filter(|(name, _)| name.ends_with(".html")).collect();
    let ids: HashMap<&str, HashSet<&str>> = html
        .iter()
        .map(|(name, text)| (name.as_str(), values(text, " id=").into_iter().collect()))
        .collect();
    for (name, text) in &html {
        for href in values(text, "href=").iter().filter(|href| !href.starts_with("data:")) {
            let href = href.replace("&#x2f;", "/");
            let (page, anchor) = href.split_once('#').unwrap_or((&href, ""));
            let page = if page.is_empty() { name } else { page };
            assert!(pages.contains_key(page), "{name}: {href}: no such page");
            let known = anchor.is_empty() || ids[page].contains(anchor);
            assert!(known, "{name}: {href}: no such place");
        }
    }
}

/// The section of a page that has an anchor.
fn section<'a>(page: &'a str, anchor: &str) -> &'a str {
    let at = page.find(&format!("id=\"{anchor}\"")).unwrap_or_else(|| panic!("no {anchor}"));
    let start = page[..at].rfind("<section").unwrap();
    &page[start..start + page[start..].find("</section>").unwrap()]
}

#[test]
fn each_function_stands_beside_its_partner_or_the_reason() {
    let (out, report) = sample("pairs", true, None);
    assert_eq!((report.listed, report.paired, report.explained), (10, 7, 3));
    assert_eq!((report.missing.len(), report.not_found.len()), (0, 0));
    let ring = read(&out, "ring.c.html");
    let feed = section(&ring, "c-ringFeed");
    assert!(feed.contains("id=\"r-ringFeed\""), "both are in one section");
    assert!(feed.contains("memcpy") && feed.contains("copy_from_slice"), "with their text");
    assert!(feed.contains(" mark\""), "a place that does otherwise stands out");
    let free = section(&ring, "c-ringFree");
    assert!(free.contains("ownership does it") && free.contains("differences.html#absent-1"));
    assert!(section(&ring, "r-last_bytes").starts_with("<section class=\"ours"));
    let read_section = section(&ring, "c-ringRead");
    assert!(read_section.contains("href=\"#c-ringPlace\""), "a call of the C leads to the C");
    assert!(read_section.contains("href=\"#r-ringPlace\""), "one of ours leads to ours");
    assert!(!ring.contains("fn nothing"), "unit tests are left out");
    let link = read(&out, "link.c.html");
    assert!(section(&link, "c-linkContinue").contains("href=\"ring.c.html#r-ringRead\""));
    assert!(section(&link, "c-linkContinue").contains("href=\"log.rs.html#r-log_line\""));
    assert!(
        section(&read(&out, "poll.c.html"), "c-pollWait").contains("Not ported: nobody waits.")
    );
    assert_links(&out);
    let header = read(&out, "ring.h.html");
    assert!(section(&header, "c-ringLength").contains("fn"), "a macro beside our function");
}

#[test]
fn each_row_of_the_differences_leads_to_both_sides() {
    let (out, _) = sample("rows", true, None);
    let page = read(&out, "differences.html");
    let row = &page[page.find("id=\"absent-1\"").unwrap()..];
    let row = &row[..row.find("</tr>").unwrap()];
    for href in ["ring.c.html\"", "ring.c.html#c-ringFree"] {
        assert!(row.contains(href), "{href} in {row}");
    }
    assert!(row.contains("to-c") && row.contains("to-rust"), "{row}");
    assert!(page.contains("link.c.html#c-linkDebugPrint"), "`name...` leads to the first of them");
    assert!(page.contains("ring.c.html#r-ringFeed"), "a name that both have leads to both");
}

#[test]
fn without_the_c_there_are_names_and_ours() {
    let (out, report) = sample("without", false, None);
    assert_eq!((report.listed, report.paired, report.explained), (10, 7, 3));
    for entry in fs::read_dir(&out).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains("malloc") && !text.contains("memcpy"), "the C's text");
    }
    assert_links(&out);
    let ring = read(&out, "ring.c.html");
    assert!(section(&ring, "c-ringFeed").contains("copy_from_slice"));
    assert!(section(&ring, "c-ringFree").contains("ownership does it"));
}

#[test]
fn another_tag_says_what_a_backport_would_touch() {
    let other = folder("other-c");
    for entry in fs::read_dir(here("tests/sample/c")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let text = text
            .replace("0.0.1", "0.0.2")
            .replace("if (nread < 0) {", "if (nread <= 0) {")
            .replace("/* Prints a link, for debugging. */", "/* Prints a link. */");
        fs::write(other.join(path.file_name().unwrap()), text).unwrap();
    }
    let (out, report) = sample("compared", true, Some(other));
    assert_eq!(report.changed, Some(1), "a comment is no change");
    assert_links(&out);
    let list = read(&out, "compare.html");
    assert!(list.contains("compare-link.c.html#d-linkContinue"));
    assert!(list.contains("href=\"link.c.html#r-linkContinue\">link.rs:"), "{list}");
    assert!(list.contains("comments only"));
    let page = read(&out, "compare-link.c.html");
    let change = section(&page, "d-linkContinue");
    assert!(change.contains(" ins\"") && change.contains(" del\""));
    assert!(section(&read(&out, "link.c.html"), "c-linkContinue").contains("changed in 0.0.2"));
}

/// The project as it is: what docs/names and docs/differences.md say is whole.
#[test]
fn without_the_c_each_function_of_the_project_is_here_or_explained() {
    let out = folder("project");
    let report =
        build(&Options { project: here("../.."), out: out.clone(), c: None, compare: None })
            .unwrap();
    assert_links(&out);
    assert!(report.missing.is_empty(), "{:?}", report.missing);
    assert_eq!(report.listed, report.paired + report.explained);
}

/// The C at 6.2.16, whose `src` folder FIDELIS_C_SOURCE names: each function that docs/names lists
/// is found in it, and is shown beside ours or beside the reason why there is none.
#[test]
fn each_function_of_the_c_is_shown_paired_or_explained() {
    let Some(c) = std::env::var_os("FIDELIS_C_SOURCE") else {
        eprintln!("skipped: FIDELIS_C_SOURCE does not say where the C is");
        return;
    };
    let out = folder("c");
    let c = Some(PathBuf::from(c));
    let report =
        build(&Options { project: here("../.."), out: out.clone(), c, compare: None }).unwrap();
    assert_links(&out);
    assert_eq!(report.version.as_deref(), Some("6.2.16"), "another tag of the C");
    assert!(report.not_found.is_empty(), "not found in the C: {:?}", report.not_found);
    assert!(report.missing.is_empty(), "neither paired nor explained: {:?}", report.missing);
    assert_eq!(report.listed, report.paired + report.explained);
    println!("{report}");
}
