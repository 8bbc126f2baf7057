//! A source file cut into what a reader sees: functions with the comments above them, and what
//! stands between.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use tree_sitter::{Node, Parser};

use crate::Fail;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    C,
    Rust,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Function,
    /// Whatever stands between two functions: declarations, tables, comments.
    Between,
    /// The unit tests of a Rust file, which have no part in the comparison.
    Tests,
}

/// Some lines of a file. Lines count from 0, and `last` is one of them.
#[derive(Clone, Debug)]
pub struct Item {
    pub kind: Kind,
    /// A function's; empty otherwise.
    pub name: String,
    /// The type whose method it is.
    pub owner: Option<String>,
    pub first: usize,
    /// Where the comment above it ends.
    pub signature: usize,
    pub last: usize,
    /// Functions that are defined within it.
    pub within: Vec<String>,
}

/// What else has a name that one looks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Thing {
    Macro,
    Constant,
    Type,
    Field,
}

pub struct Source {
    pub side: Side,
    /// `ae.c`, or `src/ae.rs`.
    pub path: String,
    pub text: String,
    /// Where each line begins.
    pub lines: Vec<usize>,
    pub items: Vec<Item>,
    /// For each line whether a statement, a declaration or a comment begins with it.
    pub starts: Vec<bool>,
    /// For each line whether it is nothing but a comment.
    pub comments: Vec<bool>,
    /// Where comments are in the text.
    pub comment_ranges: Vec<(usize, usize)>,
    /// Macros with arguments: name, first and last line.
    pub macros: Vec<(String, usize, usize)>,
    /// The names of other things, and their lines.
    pub things: Vec<(Thing, String, usize)>,
    /// Identifiers that may be a call or the name of a function.
    pub uses: Vec<Use>,
    /// The literals that say something, and their lines: letters and digits, without what stands
    /// for a value.
    pub texts: Vec<(usize, String)>,
    /// For the line of a condition, a loop or an arm the last line of what it guards.
    pub blocks: HashMap<usize, usize>,
}

/// A place where a function is called or mentioned.
pub struct Use {
    pub start: usize,
    pub end: usize,
    /// `Type::name` and `value.name` say how far the name alone can be trusted.
    pub how: How,
    /// Whether it is called here, and not only named.
    pub called: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum How {
    Plain,
    /// `path::name`: the last word of the path.
    Path(String),
    Method,
}

impl Source {
    pub fn parse(side: Side, path: &str, text: String) -> Result<Source, Fail> {
        let mut parser = Parser::new();
        parser.set_language(&match side {
            Side::C => tree_sitter_c::LANGUAGE.into(),
            Side::Rust => tree_sitter_rust::LANGUAGE.into(),
        })?;
        let tree = parser.parse(&text, None).ok_or("the parser was stopped")?;
        let mut lines = vec![0];
        lines.extend(text.match_indices('\n').map(|(at, _)| at + 1));
        if lines.len() > 1 && lines.last() == Some(&text.len()) {
            lines.pop();
        }
        let count = lines.len();
        let mut source = Source {
            side,
            path: path.to_string(),
            text,
            lines,
            items: Vec::new(),
            starts: vec![false; count],
            comments: vec![false; count],
            comment_ranges: Vec::new(),
            macros: Vec::new(),
            things: Vec::new(),
            uses: Vec::new(),
            texts: Vec::new(),
            blocks: HashMap::new(),
        };
        let mut found = Vec::new();
        source.walk(tree.root_node(), None, &mut found);
        source.uses.sort_by_key(|used| used.start);
        source.texts.sort();
        source.cut(found);
        Ok(source)
    }

    /// A C file of which only the names of the functions are known.
    pub fn of_names(path: &str, functions: &[String]) -> Source {
        let item = |name: &String| Item {
            kind: Kind::Function,
            name: name.clone(),
            owner: None,
            first: 0,
            signature: 0,
            last: 0,
            within: Vec::new(),
        };
        Source {
            side: Side::C,
            path: path.to_string(),
            text: String::new(),
            lines: vec![0],
            items: functions.iter().map(item).collect(),
            starts: vec![false],
            comments: vec![false],
            comment_ranges: Vec::new(),
            macros: Vec::new(),
            things: Vec::new(),
            uses: Vec::new(),
            texts: Vec::new(),
            blocks: HashMap::new(),
        }
    }

    /// Makes one item of the whole file, in which nothing is a function.
    pub fn join(&mut self) {
        self.items.clear();
        self.cut(Vec::new());
    }

    /// Finds functions that the grammar did not see, because macros around them are no C: a line
    /// that begins with a word, has the name before a bracket, and opens a body that a bracket in
    /// the first column closes.
    pub fn find_lost(&mut self, names: &[String]) {
        let known: HashSet<&str> = self
            .items
            .iter()
            .flat_map(|i| i.within.iter().chain([&i.name]))
            .map(String::as_str)
            .collect();
        let lost: Vec<String> =
            names.iter().filter(|name| !known.contains(name.as_str())).cloned().collect();
        if lost.is_empty() {
            return;
        }
        let mut found: Vec<Item> =
            self.items.iter().filter(|i| i.kind != Kind::Between).cloned().collect();
        for name in lost {
            let call = format!("{name}(");
            let place = (0..self.lines.len()).find(|at| {
                let line = self.line(*at);
                let before = line.find(&call).map(|pos| &line[..pos]);
                let opens = before.is_some_and(|b| {
                    b.starts_with(|c: char| c.is_ascii_alphabetic())
                        && b.ends_with([' ', '*'])
                        && !self.comments[*at]
                });
                let mut rest = (*at..self.lines.len()).map(|at| self.line(at));
                opens && rest.find(|l| l.ends_with([';', '{'])).is_some_and(|l| l.ends_with('{'))
            });
            let Some(first) = place else { continue };
            let Some(last) = (first..self.lines.len()).find(|at| self.line(*at) == "}") else {
                continue;
            };
            // What the grammar took for functions within it is not.
            found.retain(|i| i.last < first || i.first > last);
            found.push(Item {
                kind: Kind::Function,
                name,
                owner: None,
                first,
                signature: first,
                last,
                within: Vec::new(),
            });
        }
        self.cut(found);
    }

    /// Makes functions of those macros with arguments that `is_function` says are functions on the
    /// other side.
    pub fn split_macros(&mut self, is_function: &dyn Fn(&str) -> bool) {
        let mut found: Vec<Item> =
            self.items.iter().filter(|i| i.kind != Kind::Between).cloned().collect();
        let before = found.len();
        for (name, first, last) in &self.macros {
            let inside = |i: &Item| i.first <= *last && *first <= i.last;
            if is_function(name) && !found.iter().any(inside) {
                found.push(Item {
                    kind: Kind::Function,
                    name: name.clone(),
                    owner: None,
                    first: *first,
                    signature: *first,
                    last: *last,
                    within: Vec::new(),
                });
            }
        }
        if found.len() > before {
            self.cut(found);
        }
    }

    /// The code of some lines without comments, and with all space as one blank: two texts that are
    /// the same here differ in nothing that the compiler sees.
    pub fn code(&self, first: usize, last: usize) -> String {
        let end = self.lines.get(last + 1).copied().unwrap_or(self.text.len());
        let mut at = self.lines[first];
        let mut code = String::new();
        for (from, to) in self.comment_ranges.iter().copied() {
            if to <= at {
                continue;
            }
            if from >= end {
                break;
            }
            code.push_str(&self.text[at..from.max(at)]);
            code.push(' ');
            at = to.min(end);
        }
        code.push_str(&self.text[at..end.max(at)]);
        code.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// A line without its end.
    pub fn line(&self, at: usize) -> &str {
        let start = self.lines[at];
        let end = self.lines.get(at + 1).copied().unwrap_or(self.text.len());
        self.text[start..end].trim_end_matches(['\n', '\r'])
    }

    /// The line of a place in the text.
    pub fn line_of(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at) - 1
    }

    /// The literals of some lines.
    pub fn texts_in(&self, lines: &Range<usize>) -> &[(usize, String)] {
        let before = |line: usize| self.texts.partition_point(|text| text.0 < line);
        &self.texts[before(lines.start)..before(lines.end)]
    }

    /// The names of functions on some lines.
    pub fn uses_in(&self, lines: &Range<usize>) -> &[Use] {
        let place = |line: usize| self.lines.get(line).copied().unwrap_or(self.text.len());
        let before = |line: usize| self.uses.partition_point(|used| used.start < place(line));
        &self.uses[before(lines.start)..before(lines.end)]
    }

    fn is_blank(&self, at: usize) -> bool {
        self.line(at).trim().is_empty()
    }

    fn word(&self, node: Node) -> String {
        self.text[node.byte_range()].to_string()
    }

    /// Collects functions, statement starts, comments and uses below a node.
    fn walk(&mut self, node: Node, owner: Option<&str>, found: &mut Vec<Item>) {
        let mut inner_owner = owner.map(str::to_string);
        let row = node.start_position().row;
        // Tokens outside of the tree's named part say nothing here.
        match (self.side, node.kind()) {
            (_, "comment" | "line_comment" | "block_comment") => {
                self.comment(node);
                return;
            }
            (Side::C, "function_definition") => {
                if let Some(name) = c_function_name(node) {
                    self.function(self.word(name), None, node, found);
                }
            }
            (Side::Rust, "function_item" | "macro_definition") => {
                if let Some(name) = node.child_by_field_name("name") {
                    self.function(self.word(name), owner.map(str::to_string), node, found);
                }
            }
            (Side::Rust, "impl_item") => {
                inner_owner = node.child_by_field_name("type").map(|of| {
                    let of = self.word(of);
                    of.split('<').next().unwrap_or_default().to_string()
                });
            }
            (Side::Rust, "mod_item") if self.is_tests(node) => {
                let last = node.end_position().row;
                found.push(Item {
                    kind: Kind::Tests,
                    name: String::new(),
                    owner: None,
                    first: row.saturating_sub(1),
                    signature: row,
                    last,
                    within: Vec::new(),
                });
                return;
            }
            (Side::C, "concatenated_string" | "string_literal")
            | (Side::Rust, "string_literal" | "raw_string_literal") => {
                let text = plain(&self.text[node.byte_range()]);
                if text.len() >= LEAST_TEXT {
                    self.texts.push((row, text));
                }
                return;
            }
            (Side::C, "identifier" | "field_identifier")
            | (Side::Rust, "identifier" | "field_identifier") => {
                self.mention(node);
                return;
            }
            _ => {}
        }
        self.thing(node);
        let guarded = ["consequence", "body", "value"].iter().find_map(|field| match node.kind() {
            "function_definition" | "function_item" => None,
            "match_arm" => node.child_by_field_name("value"),
            kind if kind.ends_with("_statement") || kind.ends_with("_expression") => {
                node.child_by_field_name(field).filter(|_| *field != "value")
            }
            _ => None,
        });
        if let Some(last) = guarded.map(|block| block.end_position().row).filter(|l| *l > row) {
            self.blocks.entry(row).or_insert(last);
        }
        let body = matches!(
            node.kind(),
            "compound_statement"
                | "case_statement"
                | "translation_unit"
                | "field_declaration_list"
                | "enumerator_list"
                | "initializer_list"
                | "block"
                | "match_block"
                | "source_file"
                | "declaration_list"
                | "enum_variant_list"
        ) || node.kind().starts_with("preproc_");
        let mut cursor = node.walk();
        for child in node.children(&mut cursor) {
            if child.is_named() && (body || child.kind() == "else_clause") {
                let at = child.start_position();
                let before = &self.text[self.lines[at.row]..child.start_byte()];
                if before.trim_matches([' ', '\t', '}']).is_empty() {
                    self.starts[at.row] = true;
                }
            }
            self.walk(child, inner_owner.as_deref(), found);
        }
    }

    fn is_tests(&self, node: Node) -> bool {
        let row = node.start_position().row;
        row > 0
            && self.line(row - 1).trim() == "#[cfg(test)]"
            && node.child_by_field_name("name").is_some_and(|name| self.word(name) == "tests")
    }

    fn comment(&mut self, node: Node) {
        self.comment_ranges.push((node.start_byte(), node.end_byte()));
        let text = &self.text[node.byte_range()];
        let first = node.start_position().row;
        // The grammar of Rust counts the end of the line as part of a comment of documentation.
        let last = first + text.trim_end_matches('\n').matches('\n').count();
        let before = &self.text[self.lines[first]..node.start_byte()];
        let last_end = self.lines.get(last + 1).copied().unwrap_or(self.text.len());
        let node_end = node.end_byte().min(last_end);
        if before.trim().is_empty() && self.text[node_end..last_end].trim().is_empty() {
            self.comments[first..=last].fill(true);
        }
    }

    fn mention(&mut self, node: Node) {
        let Some(parent) = node.parent() else { return };
        let is = |field: &str| parent.child_by_field_name(field) == Some(node);
        let how = match (self.side, parent.kind()) {
            (Side::C, "field_expression") => return,
            (Side::C, _) if is("declarator") => return,
            (Side::C, _) if node.kind() == "field_identifier" => return,
            (Side::Rust, "field_expression") if is("field") => {
                // Only a method that is called, not a field.
                let called = parent.parent().filter(|up| {
                    up.kind() == "call_expression"
                        && up.child_by_field_name("function") == Some(parent)
                });
                if called.is_none() {
                    return;
                }
                How::Method
            }
            (Side::Rust, _) if node.kind() == "field_identifier" => return,
            (Side::Rust, "scoped_identifier") if is("name") => {
                match parent.child_by_field_name("path") {
                    Some(path) => {
                        let path = self.word(path);
                        How::Path(path.rsplit("::").next().unwrap_or_default().to_string())
                    }
                    None => How::Plain,
                }
            }
            (Side::Rust, "scoped_identifier" | "function_item" | "macro_definition") => return,
            (Side::Rust, "parameter" | "closure_parameters" | "tuple_pattern") => return,
            (Side::Rust, "token_tree") => {
                // The inside of a macro is not parsed: a call is a name with a bracket behind it.
                let after = self.text[node.end_byte()..].chars().next();
                let before = self.text[..node.start_byte()].chars().next_back();
                if after != Some('(') || matches!(before, Some('.' | ':')) {
                    return;
                }
                How::Plain
            }
            _ => How::Plain,
        };
        let called = match parent.kind() {
            "call_expression" => is("function"),
            "generic_function" | "macro_invocation" | "scoped_identifier" => true,
            "field_expression" | "token_tree" => true,
            _ => false,
        };
        self.uses.push(Use { start: node.start_byte(), end: node.end_byte(), how, called });
    }

    /// Notes the name of a type, a constant, a macro or a field.
    fn thing(&mut self, node: Node) {
        let (thing, field) = match (self.side, node.kind()) {
            (Side::C, "preproc_def") => (Thing::Constant, "name"),
            (Side::C, "preproc_function_def") => {
                if let Some(name) = node.child_by_field_name("name") {
                    let text = self.text[node.byte_range()].trim_end();
                    let first = node.start_position().row;
                    let last = first + text.matches('\n').count();
                    self.macros.push((self.word(name), first, last));
                }
                (Thing::Macro, "name")
            }
            (Side::C, "enumerator") => (Thing::Constant, "name"),
            (Side::C, "struct_specifier" | "enum_specifier" | "union_specifier")
                if node.child_by_field_name("body").is_some() =>
            {
                (Thing::Type, "name")
            }
            (Side::C, "type_definition") => (Thing::Type, "declarator"),
            (Side::Rust, "struct_item" | "enum_item" | "type_item" | "trait_item") => {
                (Thing::Type, "name")
            }
            (Side::Rust, "const_item" | "static_item" | "enum_variant") => {
                (Thing::Constant, "name")
            }
            (Side::Rust, "field_declaration") => (Thing::Field, "name"),
            (Side::C, "field_declaration") => {
                let mut cursor = node.walk();
                let names: Vec<_> =
                    node.children_by_field_name("declarator", &mut cursor).collect();
                for name in names {
                    if let Some(name) = innermost(name, "field_identifier") {
                        self.things.push((
                            Thing::Field,
                            self.word(name),
                            name.start_position().row,
                        ));
                    }
                }
                return;
            }
            _ => return,
        };
        let Some(name) = node.child_by_field_name(field) else { return };
        let name =
            if field == "declarator" { innermost(name, "type_identifier") } else { Some(name) };
        let Some(name) = name else { return };
        self.things.push((thing, self.word(name), name.start_position().row));
    }

    fn function(&self, name: String, owner: Option<String>, node: Node, found: &mut Vec<Item>) {
        let first = node.start_position().row;
        let mut last = node.end_position().row;
        if self.side == Side::C {
            // A macro that is no C can hide the end of a function from the grammar. The C closes
            // each in the first column.
            let end = (first..last).find(|at| self.line(*at).starts_with('}'));
            last = end.unwrap_or(last);
        }
        // A function within another belongs to it.
        if let Some(outer) = found.iter_mut().find(|item| item.first <= first && last <= item.last)
        {
            outer.within.push(name);
            return;
        }
        found.push(Item {
            kind: Kind::Function,
            name,
            owner,
            first,
            signature: first,
            last,
            within: Vec::new(),
        });
    }

    /// Turns the functions that were found into items that cover the file.
    fn cut(&mut self, mut found: Vec<Item>) {
        found.sort_by_key(|item| item.first);
        let mut next = 0;
        let mut items: Vec<Item> = Vec::new();
        for mut item in found {
            if item.first < next {
                // Two definitions of one line, or halves of a conditional: the first has it.
                match items.last_mut() {
                    Some(before) => before.within.push(item.name),
                    None => unreachable!("no item, but some of its lines"),
                }
                continue;
            }
            // A comment may have one blank line below it, unless it is a heading.
            let blank = item.first > next + 1 && self.is_blank(item.first - 1);
            if blank && self.side == Side::C && self.belongs_below(item.first - 2) {
                let mut above = item.first - 1;
                while above > next && self.belongs_below(above - 1) {
                    above -= 1;
                }
                let ruled =
                    |at: usize| ["---", "===", "***"].iter().any(|r| self.line(at).contains(r));
                if above > 0 && !(above..item.first).any(ruled) {
                    item.first = above;
                }
            }
            while item.first > next && self.belongs_below(item.first - 1) {
                item.first -= 1;
            }
            self.between(next, item.first, &mut items);
            next = item.last + 1;
            items.push(item);
        }
        self.between(next, self.lines.len(), &mut items);
        self.items = items;
        for at in 0..self.comments.len() {
            if self.comments[at] {
                self.starts[at] = at == 0 || !self.comments[at - 1];
            }
        }
        // A statement below its comment begins with it.
        for at in 1..self.comments.len() {
            if self.comments[at - 1] && self.starts[at] && !self.comments[at] {
                self.starts[at] = false;
            }
        }
    }

    /// Whether a line above a function is its comment or its attribute.
    fn belongs_below(&self, at: usize) -> bool {
        let line = self.line(at).trim_start();
        let attribute = self.side == Side::Rust && line.starts_with("#[");
        (self.comments[at] && !line.starts_with("//!")) || attribute
    }

    fn between(&self, mut first: usize, mut end: usize, items: &mut Vec<Item>) {
        while first < end && self.is_blank(first) {
            first += 1;
        }
        while first < end && self.is_blank(end - 1) {
            end -= 1;
        }
        // What closes an `impl` or a conditional belongs to what it closes.
        let closes = |at: usize| matches!(self.line(at).trim(), "}" | "#endif");
        while first < end && closes(first) && !items.is_empty() {
            if let Some(before) = items.last_mut() {
                before.last = first;
            }
            first += 1;
            while first < end && self.is_blank(first) {
                first += 1;
            }
        }
        if first < end {
            items.push(Item {
                kind: Kind::Between,
                name: String::new(),
                owner: None,
                first,
                signature: first,
                last: end - 1,
                within: Vec::new(),
            });
        }
    }

    /// How many of the lines with text are comments, in percent.
    pub fn comment_share(&self) -> usize {
        let shown = self.shown_lines();
        let filled = shown.iter().filter(|at| !self.is_blank(**at)).count();
        let comments = shown.iter().filter(|at| self.comments[**at]).count();
        (comments * 100).checked_div(filled).unwrap_or(0)
    }

    /// All lines but those of unit tests.
    pub fn shown_lines(&self) -> Vec<usize> {
        let tests: Vec<_> = self.items.iter().filter(|i| i.kind == Kind::Tests).collect();
        let is_test = |at: &usize| tests.iter().any(|i| i.first <= *at && *at <= i.last);
        (0..self.lines.len()).filter(|at| !is_test(at)).collect()
    }

    /// The comments by which the book finds what it shows, which say nothing to a reader.
    pub fn is_anchor(&self, at: usize) -> bool {
        self.side == Side::Rust && self.line(at).trim_start().starts_with("// ANCHOR")
    }

    /// The comments that say that something is done otherwise than in the C.
    pub fn is_mark(&self, at: usize) -> bool {
        self.side == Side::Rust && self.line(at).trim_start().starts_with("// C:")
    }
}

/// Shorter literals say too little to go by.
const LEAST_TEXT: usize = 4;

/// A literal as both languages have it: `"%s is up\r\n"` is `"{} is up\r\n"`.
fn plain(literal: &str) -> String {
    let mut out = String::new();
    let mut letters = literal.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => {
                letters.next();
            }
            '%' => {
                while letters.next_if(|c| matches!(c, '0'..='9' | '.' | '*' | '-' | 'l')).is_some()
                {
                }
                letters.next_if(|c| c.is_ascii_alphabetic() || *c == '%');
            }
            '{' => while letters.next().is_some_and(|c| c != '}') {},
            c if c.is_ascii_alphanumeric() => out.push(c.to_ascii_lowercase()),
            _ => {}
        }
    }
    out
}

/// The name of a C function: the innermost declarator.
fn c_function_name(node: Node) -> Option<Node> {
    let mut declarator = node.child_by_field_name("declarator")?;
    loop {
        match declarator.kind() {
            "identifier" => return Some(declarator),
            _ => declarator = declarator.child_by_field_name("declarator")?,
        }
    }
}

/// The first node of a kind below another, or itself.
fn innermost<'a>(node: Node<'a>, kind: &str) -> Option<Node<'a>> {
    if node.kind() == kind {
        return Some(node);
    }
    let mut cursor = node.walk();
    node.children(&mut cursor).find_map(|child| innermost(child, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn functions(source: &Source) -> Vec<(&str, usize, usize, usize)> {
        let functions = source.items.iter().filter(|i| i.kind == Kind::Function);
        functions.map(|i| (i.name.as_str(), i.first, i.signature, i.last)).collect()
    }

    #[test]
    fn a_c_function_has_the_comment_above_it() {
        let text = "#include <a.h>\n\n/* One.\n * Two. */\nstatic char *f(int a) {\n    g(a);\n}\n\nint g(int);\n";
        let source = Source::parse(Side::C, "a.c", text.to_string()).unwrap();
        assert_eq!(functions(&source), [("f", 2, 4, 6)]);
        let lines: Vec<_> = source.items.iter().map(|i| (i.first, i.last)).collect();
        assert_eq!(lines, [(0, 0), (2, 6), (8, 8)]);
        let uses: Vec<_> = source.uses.iter().map(|u| &source.text[u.start..u.end]).collect();
        assert_eq!(uses, ["g", "a"]);
    }

    #[test]
    fn a_literal_is_the_same_on_both_sides() {
        assert_eq!(plain("\"+FULLRESYNC %s %lld\\r\\n\""), "fullresync");
        assert_eq!(plain("\"+FULLRESYNC {} {}\\r\\n\""), "fullresync");
        assert_eq!(plain("\"not \" \n  \"accepted: %.2f%%\""), plain("\"not accepted: {:.2}%\""));
    }

    #[test]
    fn a_rust_method_knows_its_type_and_tests_are_set_apart() {
        let text = "//! Head.\n\nimpl<T> A<T> {\n    /// Does it.\n    #[inline]\n    fn f(&self) {\n        self.g();\n    }\n}\n\n\
                    #[cfg(test)]\nmod tests {\n    fn t() {}\n}\n";
        let source = Source::parse(Side::Rust, "src/a.rs", text.to_string()).unwrap();
        assert_eq!(functions(&source), [("f", 3, 5, 8)]);
        assert_eq!(source.items[1].owner.as_deref(), Some("A"));
        assert_eq!(source.items.last().map(|i| (i.kind, i.first)), Some((Kind::Tests, 10)));
        assert_eq!(source.comment_share(), 25);
    }
}
