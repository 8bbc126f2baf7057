//! The append only file: an RDB, if it was rewritten, and commands.

use super::{By, Explained, Explainer, PREVIEW, damage, shown_text};

/// A line of a header has so many bytes at most.
const LINE_MAX: usize = 64;

/// How the arguments of a command are written and read.
pub const AOF: By = By("catAppendOnlyGenericCommand", "aof_read_command");

impl Explainer<'_> {
    /// Explains an append only file.
    pub(super) fn aof(&mut self) -> Explained {
        if self.peek()?.starts_with(b"REDIS") {
            self.rdb()?;
        }
        let mut in_transaction = false;
        while self.left() > 0 {
            self.depth = 0;
            if self.peek()?.starts_with(b"#") {
                let line = self.line(1 << 20)?;
                let text = shown_text(&line[..line.len().min(PREVIEW)], line.len() as u64);
                self.range("annotation", format!("annotation {text} (7.0)"), By("", ""))?;
                continue;
            }
            let name = self.command(AOF, "command")?.to_ascii_lowercase();
            match &name[..] {
                b"multi" => in_transaction = true,
                b"exec" => in_transaction = false,
                _ => {}
            }
        }
        if in_transaction {
            self.problem("the transaction has no EXEC")?;
        }
        Ok(())
    }

    /// Reads a line, up to its end, which is cut off.
    pub(super) fn line(&mut self, max: usize) -> Explained<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => break,
                byte => line.push(byte),
            }
            if line.len() > max {
                return damage(format!("a line of more than {max} bytes"));
            }
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(line)
    }

    /// Reads a line that is a number behind `prefix`.
    fn count(&mut self, prefix: u8) -> Explained<u64> {
        let line = self.line(LINE_MAX)?;
        let digits = line.strip_prefix(&[prefix]);
        let number = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        match number {
            Some(number) => Ok(number),
            None => damage(format!("'{}' and a number were expected", prefix as char)),
        }
    }

    /// Explains a command in its multibulk form, which is called `what`. Returns its name.
    pub(super) fn command(&mut self, by: By, what: &str) -> Explained<Vec<u8>> {
        let argc = self.count(b'*')?;
        self.range("argc", format!("{what}, {argc} arguments"), by)?;
        self.depth += 1;
        let mut name = Vec::new();
        for i in 0..argc {
            let len = self.count(b'$')?;
            self.range("length", format!("{len} bytes"), by)?;
            let first = self.text(len)?;
            let end: [u8; 2] = self.bytes()?;
            self.range("argument", shown_text(&first, len), by)?;
            if end != *b"\r\n" {
                return damage("CR and LF were expected behind the argument");
            }
            if i == 0 {
                name = first;
            }
        }
        self.depth -= 1;
        Ok(name)
    }
}
