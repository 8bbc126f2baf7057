//! Source text as HTML, line by line: colours by the grammars' own queries, and links at the names
//! that the pages know.

use std::fmt::Write;

use tree_sitter_highlight::{HighlightConfiguration, HighlightEvent, Highlighter};

use crate::Fail;
use crate::source::{Side, Source};

/// What is coloured, and the class it gets. Names that are not here stay as plain as the text.
const CLASSES: &[(&str, &str)] = &[
    ("comment", "m"),
    ("comment.documentation", "m"),
    ("keyword", "k"),
    ("string", "s"),
    ("escape", "s"),
    ("constant", "n"),
    ("constant.builtin", "n"),
    ("number", "n"),
    ("type", "t"),
    ("type.builtin", "t"),
    ("constructor", "t"),
    ("function", "f"),
    ("function.method", "f"),
    ("function.macro", "f"),
    ("function.special", "f"),
    ("attribute", "a"),
    ("label", "a"),
];

pub struct Colours {
    highlighter: Highlighter,
    c: HighlightConfiguration,
    rust: HighlightConfiguration,
}

/// A link at a piece of the text.
pub struct Link {
    pub start: usize,
    pub end: usize,
    pub href: String,
}

pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_escaped(&mut out, text);
    out
}

fn push_escaped(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\r' | '\x0c' => {}
            _ => out.push(c),
        }
    }
}

impl Colours {
    pub fn new() -> Result<Colours, Fail> {
        let names: Vec<&str> = CLASSES.iter().map(|(name, _)| *name).collect();
        let mut c = HighlightConfiguration::new(
            tree_sitter_c::LANGUAGE.into(),
            "c",
            tree_sitter_c::HIGHLIGHT_QUERY,
            "",
            "",
        )?;
        c.configure(&names);
        let mut rust = HighlightConfiguration::new(
            tree_sitter_rust::LANGUAGE.into(),
            "rust",
            tree_sitter_rust::HIGHLIGHTS_QUERY,
            tree_sitter_rust::INJECTIONS_QUERY,
            "",
        )?;
        rust.configure(&names);
        Ok(Colours { highlighter: Highlighter::new(), c, rust })
    }

    /// Every line of a file as HTML, without the element around it. The links are in order and
    /// within lines.
    pub fn lines(&mut self, source: &Source, links: &[Link]) -> Result<Vec<String>, Fail> {
        let (config, rust) = match source.side {
            Side::C => (&self.c, None),
            Side::Rust => (&self.rust, Some(&self.rust)),
        };
        let events =
            self.highlighter.highlight(config, source.text.as_bytes(), None, move |name| {
                rust.filter(|_| name == "rust")
            })?;
        let mut out = Lines { source, lines: vec![String::new()], links, next: 0 };
        let mut classes: Vec<&str> = Vec::new();
        for event in events {
            match event? {
                HighlightEvent::HighlightStart(h) => classes.push(CLASSES[h.0].1),
                HighlightEvent::HighlightEnd => {
                    classes.pop();
                }
                HighlightEvent::Source { start, end } => {
                    // The outer one decides: an escape or a mark within a comment stays one.
                    let class = match classes.first() {
                        Some(&"m") => Some("m"),
                        _ => classes.last().copied(),
                    };
                    out.push(start, end, class);
                }
            }
        }
        let mut lines = out.lines;
        lines.resize(source.lines.len(), String::new());
        Ok(lines)
    }
}

struct Lines<'a> {
    source: &'a Source,
    lines: Vec<String>,
    links: &'a [Link],
    next: usize,
}

impl Lines<'_> {
    /// Adds a piece of the text: cut at the ends of lines and around links.
    fn push(&mut self, start: usize, end: usize, class: Option<&str>) {
        let mut at = start;
        while at < end {
            while self.links.get(self.next).is_some_and(|link| link.start < at) {
                self.next += 1;
            }
            match self.links.get(self.next) {
                Some(link) if link.start < end => {
                    self.text(at, link.start, class);
                    let (to, href) = (link.end.min(end), link.href.clone());
                    let name = escape(&self.source.text[link.start..to]);
                    if let Some(line) = self.lines.last_mut() {
                        // Writing to a string does not fail.
                        let _ = write!(line, "<a class=f href=\"{href}\">{name}</a>");
                    }
                    self.next += 1;
                    at = to;
                }
                _ => {
                    self.text(at, end, class);
                    at = end;
                }
            }
        }
    }

    fn text(&mut self, start: usize, end: usize, class: Option<&str>) {
        let mut pieces = self.source.text[start..end].split('\n');
        let first = pieces.next().unwrap_or_default();
        self.piece(first, class);
        for piece in pieces {
            self.lines.push(String::new());
            self.piece(piece, class);
        }
    }

    fn piece(&mut self, piece: &str, class: Option<&str>) {
        let Some(line) = self.lines.last_mut() else { return };
        // The grammar of Rust takes every capital for that of a type.
        let capitals = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let constant = class == Some("t") && piece.len() > 1 && piece.chars().all(capitals);
        let class = if constant && self.source.side == Side::Rust { Some("n") } else { class };
        match class {
            Some(class) if !piece.trim().is_empty() => {
                let _ = write!(line, "<i class={class}>");
                push_escaped(line, piece);
                line.push_str("</i>");
            }
            _ => push_escaped(line, piece),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_whole_and_links_are_where_they_belong() {
        let text = "/* a < b\n * c */\nint f(void) { return g(1); }\n".to_string();
        let at = text.find("g(").unwrap();
        let source = Source::parse(Side::C, "a.c", text).unwrap();
        let links = [Link { start: at, end: at + 1, href: "x.html#c-g".to_string() }];
        let lines = Colours::new().unwrap().lines(&source, &links).unwrap();
        assert_eq!(lines[0], "<i class=m>/* a &lt; b</i>");
        assert_eq!(lines[1], "<i class=m> * c */</i>");
        assert!(
            lines[2].contains("<a class=f href=\"x.html#c-g\">g</a>(<i class=n>1</i>)"),
            "{}",
            lines[2]
        );
        assert_eq!(lines.len(), 3);
    }
}
