//! The form of a command, and how an instance of it is made.
//!
//! A form is a line of words: `{name}` is a value of that kind (values.rs), `[a|b]` one of these or
//! nothing, `(a|b)` one of these, and a `*` behind a word repeats it. A number at the start is a
//! weight.

use super::values::Gen;
use super::wire::Argv;

enum Node {
    Word(&'static str),
    Value(&'static str),
    Choice { may_be_absent: bool, arms: Vec<Vec<Node>> },
    Many(Box<Node>),
}

/// One form.
pub struct Form {
    pub weight: usize,
    nodes: Vec<Node>,
}

impl Form {
    /// Reads a form; a table that cannot be read is a bug of the table.
    pub fn new(line: &'static str) -> Form {
        let (weight, rest) = match line.split_once(' ') {
            Some((n, rest)) if n.parse::<usize>().is_ok() => (n.parse().unwrap(), rest),
            _ => (1, line),
        };
        let mut left = rest;
        let nodes = sequence(&mut left);
        assert!(left.is_empty(), "{line:?}: {left:?} is left over");
        Form { weight, nodes }
    }

    pub fn instance(&self, g: &mut Gen) -> Argv {
        let mut argv = vec![];
        self.nodes.iter().for_each(|n| write(n, g, &mut argv));
        argv
    }
}

fn sequence(left: &mut &'static str) -> Vec<Node> {
    let mut nodes = vec![];
    loop {
        *left = left.trim_start();
        let Some(first) = left.chars().next() else { return nodes };
        let node = match first {
            ']' | ')' | '|' => return nodes,
            '[' | '(' => {
                *left = &left[1..];
                let mut arms = vec![sequence(left)];
                while let Some(rest) = left.strip_prefix('|') {
                    *left = rest;
                    arms.push(sequence(left));
                }
                *left = left.strip_prefix([']', ')']).expect("a closed bracket");
                Node::Choice { may_be_absent: first == '[', arms }
            }
            '{' => {
                let end = left.find('}').expect("a closed brace");
                let name = &left[1..end];
                *left = &left[end + 1..];
                Node::Value(name)
            }
            _ => {
                let end = left.find([' ', '[', ']', '(', ')', '|']).unwrap_or(left.len());
                let word = &left[..end];
                *left = &left[end..];
                Node::Word(word)
            }
        };
        match left.strip_prefix('*') {
            Some(rest) if !matches!(node, Node::Word(_)) => {
                *left = rest;
                nodes.push(Node::Many(Box::new(node)));
            }
            _ => nodes.push(node),
        }
    }
}

fn write(node: &Node, g: &mut Gen, argv: &mut Argv) {
    match node {
        Node::Word(w) => argv.push(w.as_bytes().to_vec()),
        Node::Value(name) => {
            let value = g.value(name);
            argv.push(value);
        }
        Node::Choice { may_be_absent, arms } => {
            if !may_be_absent || g.rng.one_in(3) {
                let arm = g.rng.below(arms.len());
                arms[arm].iter().for_each(|n| write(n, g, argv));
            }
        }
        Node::Many(node) => (0..g.many()).for_each(|_| write(node, g, argv)),
    }
}
