//! The pages of a small project of the tests' own, of this project without the C, and of this
//! project with the C, if there is one.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use sidebyside::links::Places;
use sidebyside::model::Model;
use sidebyside::parts::layouts;
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
    assert_eq!((report.listed, report.paired, report.explained), (11, 8, 3));
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
    assert_eq!((report.listed, report.paired, report.explained), (11, 8, 3));
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

#[test]
fn writing_again_takes_out_what_was_written_and_nothing_else() {
    let (out, _) = sample("again", true, None);
    let stale = out.join("gone.c.html");
    fs::rename(out.join("ring.c.html"), &stale).unwrap();
    let list = out.join(".sidebyside");
    let listed = fs::read_to_string(&list).unwrap();
    fs::write(&list, listed.replace("ring.c.html", "gone.c.html") + "../again-other\n").unwrap();
    let other = out.with_file_name("again-other");
    fs::write(&other, "another folder's").unwrap();
    fs::write(out.join("notes.txt"), "mine").unwrap();
    let options = Options {
        project: here("tests/sample/project"),
        out: out.clone(),
        c: Some(here("tests/sample/c")),
        compare: None,
    };
    build(&options).unwrap();
    assert!(!stale.exists(), "a page of the last time");
    assert!(out.join("ring.c.html").exists());
    assert_eq!(read(&out, "notes.txt"), "mine");
    assert!(other.exists(), "a name that leads out of the folder");
    fs::remove_file(list).unwrap();
    let refused = build(&options).unwrap_err().to_string();
    assert!(refused.contains("not from here"), "{refused}");
    assert_eq!(read(&out, "notes.txt"), "mine");
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

/// The rows of a section: the first lines of both sides, without markup.
fn first_lines(section: &str) -> Vec<(String, String)> {
    let plain = |cell: &str| {
        let line =
            cell.split("<div class=\"l").skip(1).find(|line| !line.starts_with(" anchor"))?;
        let text = line.split_once('>')?.1.split("</div>").next()?;
        let text: String = text.split('<').map(|t| t.split_once('>').map_or(t, |p| p.1)).collect();
        Some(
            text.replace("&quot;", "\"")
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&amp;", "&"),
        )
    };
    let rows = section.split("<div class=\"r\">").skip(1);
    let cells = rows.filter_map(|row| row.split_once("<div class=\"p x\""));
    cells.filter_map(|(c, rust)| Some((plain(c)?, plain(rust)?))).collect()
}

fn assert_beside(page: &str, name: &str, pairs: &[(&str, &str)]) {
    let rows = first_lines(section(page, &format!("c-{name}")));
    for (c, rust) in pairs {
        let is = |(left, right): &(String, String)| {
            left.trim_start().starts_with(c) && right.trim_start().starts_with(rust)
        };
        assert!(rows.iter().any(is), "{name}: {c} is not beside {rust}: {rows:#?}");
    }
}

#[test]
fn a_function_of_ours_is_read_where_it_is_called() {
    let (out, _) = sample("parts", true, None);
    let link = read(&out, "link.c.html");
    assert_beside(
        &link,
        "linkGreet",
        &[
            ("void linkGreet", "pub fn linkGreet"),
            ("/* A link that", "// One that"),
            ("if (l->flags", "if l.flags"),
            ("linkWrite(l,\"HELLO", "linkWrite(l,"),
            ("linkWrite(l,\"BYE", "linkWrite(l,"),
        ],
    );
    let greet = section(&link, "c-linkGreet");
    assert!(greet.contains("called here: <a href=\"#r-say_hello\">say_hello</a>"), "{greet}");
    assert!(greet.contains("back in <a href=\"#r-linkGreet\">linkGreet</a>"));
    let own = section(&link, "r-say_hello");
    assert!(own.contains("ours, and a part of <a href=\"#c-linkGreet\">"), "{own}");
}

/// With the C at hand: what has to stand beside what, in functions that are built alike, in one of
/// which ours has its own functions, and in one with branches in another order.
#[test]
fn blocks_of_the_c_stand_beside_ours() {
    let Some(c) = std::env::var_os("FIDELIS_C_SOURCE") else {
        eprintln!("skipped: FIDELIS_C_SOURCE does not say where the C is");
        return;
    };
    let out = folder("blocks");
    let c = Some(PathBuf::from(c));
    let options = Options { project: here("../.."), out: out.clone(), c, compare: None };
    build(&options).unwrap();
    let replication = read(&out, "replication.c.html");
    assert_beside(
        &replication,
        "replicationSetupSlaveForFullResync",
        &[
            ("slave->psync_initial_offset", "server[slave].psync_initial_offset"),
            ("slave->replstate", "server[slave].replstate"),
            ("server.slaveseldb", "server.slaveseldb"),
            ("/* Don't send this reply", "// SYNC, the command"),
            ("if (!(slave->flags & CLIENT_PRE_PSYNC", "if server[slave].flags & CLIENT_PRE_PSYNC"),
            ("buflen = snprintf", "let buf = bformat!(\"+FULLRESYNC"),
            ("if (connWrite", "if !write_bypassing_obuf"),
            ("return C_OK", "C_OK"),
        ],
    );
    assert_beside(
        &replication,
        "masterTryPartialResynchronization",
        &[
            ("/* Is the replication ID", "// Does the replica follow"),
            ("/* If we reached this point", "// A partial resync it is"),
            ("c->flags |= CLIENT_SLAVE", "client.flags |= CLIENT_SLAVE"),
            (
                "psync_len = addReplyReplicationBacklog",
                "let psync_len = addReplyReplicationBacklog",
            ),
        ],
    );
    assert_beside(
        &replication,
        "syncWithMaster",
        &[
            ("if (server.repl_state == REPL_STATE_CONNECTING)", "REPL_STATE_CONNECTING =>"),
            ("if (server.repl_state == REPL_STATE_SEND_HANDSHAKE)", "REPL_STATE_SEND_HANDSHAKE =>"),
            ("if (server.repl_state == REPL_STATE_SEND_PSYNC)", "REPL_STATE_SEND_PSYNC =>"),
        ],
    );
    assert_beside(
        &read(&out, "rdb.c.html"),
        "rdbSaveRio",
        &[
            ("snprintf(magic", "rdbWriteRaw(rdb, &bformat!(\"REDIS"),
            ("for (j = 0; j < server.dbnum", "for j in 0..server.db.len()"),
            ("if (rdbSaveType(rdb,RDB_OPCODE_RESIZEDB)", "rdbSaveType(rdb, RDB_OPCODE_RESIZEDB)"),
            ("sendChildInfo(CHILD_INFO_TYPE_CURRENT_INFO", "sendChildInfo(server"),
            ("if (rdbSaveType(rdb,RDB_OPCODE_EOF)", "rdbSaveType(rdb, RDB_OPCODE_EOF)"),
            ("if (rioWrite(rdb,&cksum", "rioWrite(rdb, &cksum"),
        ],
    );
    assert_beside(
        &read(&out, "server.c.html"),
        "processCommand",
        &[
            ("} else if ((c->cmd->arity > 0", "if arity != argc"),
            (
                "rejectCommand(c, shared.roslaveerr)",
                "rejectCommand(server, c, argv, shared::roslaveerr)",
            ),
            (
                "rejectCommand(c, shared.loadingerr)",
                "rejectCommand(server, c, argv, shared::loadingerr)",
            ),
            ("/* Exec the command */", "// Execute it"),
            ("queueMultiCommand(c)", "queueMultiCommand(server"),
        ],
    );
}

/// With the C at hand: a text that one function of each side has once (a log line, an error) has
/// them beside each other. Where ours has its branches in another order it cannot be so.
#[test]
fn texts_that_both_sides_have_stand_beside_each_other() {
    let Some(c) = std::env::var_os("FIDELIS_C_SOURCE") else {
        eprintln!("skipped: FIDELIS_C_SOURCE does not say where the C is");
        return;
    };
    let c = Some(PathBuf::from(c));
    let options = Options { project: here("../.."), out: folder("texts"), c, compare: None };
    let model = Model::read(&options).unwrap();
    let (mut both, mut beside) = (0, 0);
    for ((file, at), layout) in layouts(&model, &Places::of(&model)) {
        let c = &model.c[file].source;
        let mut places: HashMap<&str, (Vec<usize>, Vec<usize>)> = HashMap::new();
        for (row_at, row) in layout.rows.iter().enumerate() {
            for (_, text) in c.texts_in(&row.c) {
                places.entry(text).or_default().0.push(row_at);
            }
            for (part, lines) in &row.rust {
                for (_, text) in model.rust[layout.parts[*part].of.0].texts_in(lines) {
                    places.entry(text).or_default().1.push(row_at);
                }
            }
        }
        let once = places
            .iter()
            .filter(|(text, (c, rust))| text.len() >= 12 && c.len() == 1 && rust.len() == 1);
        for (text, (left, right)) in once {
            both += 1;
            beside += usize::from(left == right);
            if left != right {
                println!("{}, {}: {text}", c.path, c.items[at].name);
            }
        }
    }
    println!("{beside} of {both} texts stand beside each other");
    assert!(both > 500, "only {both} texts");
    assert!(beside * 100 >= both * 95, "{beside} of {both}");
}
