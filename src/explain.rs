//! Ours: what each byte of a file means: `redis-check-rdb --explain FILE`, `redis-check-aof
//! --explain FILE`, and `--explain-psync FILE` for what one side has sent in a PSYNC.
//!
//! A file is cut into *ranges*, each of which is one thing: an opcode, a length, an entry of a
//! ziplist, a checksum. The ranges follow one another without a gap, and cover the file: a byte that
//! is not explained is in a range that says so. Each tells which function writes such bytes and
//! which one reads them. What a compressed string holds has ranges too; their offsets are those in
//! the decompressed bytes, and they belong to the range of the compressed ones.
//!
//! The parser here is not that of the loader: it builds nothing, so it needs the same few kilobytes
//! for any file, and a file that is damaged is explained as far as it is good. A packed value that
//! is damaged ends where its string ends, and the explanation goes on behind it. Where nobody can
//! know what follows, the rest is one range.
//!
//! Read first: [`Explainer`], then `rdb.rs` in this folder.

mod aof;
mod lzf;
mod packed;
mod psync;
mod rdb;

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};

use crate::bformat;
use crate::crc64::Crc64;
use crate::sds::sdscatrepr;
use crate::sys::errno::error_text;
use crate::sys::file::as_path;
use crate::trace::quote;
use crate::util::B;

use lzf::Lzf;

/// The number of bytes of a range that are shown in hexadecimal.
const SHOWN: usize = 8;
/// The number of bytes of a text that are shown.
const PREVIEW: usize = 48;

/// The reason why an explanation can't go on.
#[derive(Debug)]
pub enum Stop {
    /// The bytes make no sense here, or end.
    Damage(String),
    /// Nobody takes the output, or the file can't be read.
    Io(io::Error),
}

/// The result of explaining a part.
type Explained<T = ()> = Result<T, Stop>;

fn damage<T>(reason: impl Into<String>) -> Explained<T> {
    Err(Stop::Damage(reason.into()))
}

/// The function that writes a range, and the one that reads it.
#[derive(Clone, Copy)]
pub struct By(&'static str, &'static str);

/// Where we are in a sequence of bytes.
#[derive(Clone, Copy, Default)]
struct Span {
    /// The first byte that belongs to no range yet.
    start: u64,
    /// The next byte.
    at: u64,
    /// The bytes end here.
    end: u64,
}

/// The number of bytes that can be looked at before they are read.
const AHEAD: usize = 64;

/// The input, and what of it was taken from the kernel and not yet read.
struct Input<'a> {
    source: &'a mut dyn Read,
    buf: Vec<u8>,
    /// The bytes from here to the end of `buf` are not yet read.
    pos: usize,
}

impl<'a> Input<'a> {
    /// As much as this is taken from the kernel at once.
    const SIZE: usize = 1 << 16;

    fn new(source: &'a mut dyn Read) -> Self {
        Input { source, buf: Vec::new(), pos: 0 }
    }

    /// Returns the bytes that are next: at least `n`, if there are so many.
    fn next(&mut self, n: usize) -> io::Result<&[u8]> {
        if self.buf.len() - self.pos < n {
            self.buf.drain(..self.pos);
            self.pos = 0;
            while self.buf.len() < n {
                let room = (Self::SIZE - self.buf.len()) as u64;
                let before = self.buf.len();
                (&mut *self.source).take(room).read_to_end(&mut self.buf)?;
                if self.buf.len() == before {
                    break;
                }
            }
        }
        Ok(&self.buf[self.pos..])
    }

    /// Counts `n` of the next bytes as read.
    fn consume(&mut self, n: usize) {
        self.pos += n;
    }
}

/// The form of the output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Text,
    /// An object of JSON in each line.
    Json,
}

/// Reads a file and prints its ranges.
pub struct Explainer<'a> {
    input: Input<'a>,
    out: &'a mut dyn Write,
    form: Form,
    /// The place in the file. Its end is that of the file, or of a part of known length.
    file: Span,
    /// The decompressor, as long as the bytes that are read are those that a compressed string
    /// holds; and the place in these.
    lzf: Option<Box<Lzf>>,
    inner: Span,
    /// The offset of the compressed string.
    inside: u64,
    /// The first bytes of the current range.
    shown: Vec<u8>,
    depth: usize,
    /// The checksum of an RDB so far.
    crc: Crc64,
    problems: u64,
}

impl<'a> Explainer<'a> {
    /// Returns an explainer for `size` bytes of `input`.
    pub fn new(input: &'a mut dyn Read, size: u64, out: &'a mut dyn Write, form: Form) -> Self {
        Explainer {
            input: Input::new(input),
            out,
            form,
            file: Span { start: 0, at: 0, end: size },
            lzf: None,
            inner: Span::default(),
            inside: 0,
            shown: Vec::new(),
            depth: 0,
            crc: Crc64::new(0),
            problems: 0,
        }
    }

    fn span(&mut self) -> &mut Span {
        if self.lzf.is_some() { &mut self.inner } else { &mut self.file }
    }

    /// Returns the number of bytes that are left, of the file or of the part that is looked at.
    fn left(&self) -> u64 {
        let span = if self.lzf.is_some() { &self.inner } else { &self.file };
        span.end - span.at
    }

    // -------------------------------------------------------------------------
    // Reading
    // -------------------------------------------------------------------------

    /// Reads the next byte of the file itself.
    fn file_byte(&mut self) -> Explained<u8> {
        if self.file.at == self.file.end {
            return damage("the bytes end here");
        }
        let Some(&byte) = self.input.next(1).map_err(Stop::Io)?.first() else {
            return Err(Stop::Io(io::ErrorKind::UnexpectedEof.into()));
        };
        self.input.consume(1);
        self.crc.update(&[byte]);
        self.file.at += 1;
        Ok(byte)
    }

    /// Reads the next byte.
    fn byte(&mut self) -> Explained<u8> {
        let byte = match self.lzf.take() {
            None => self.file_byte()?,
            Some(mut lzf) => {
                let byte = if self.inner.at == self.inner.end {
                    damage("the decompressed bytes end here")
                } else {
                    lzf.next(|| self.file_byte())
                };
                self.lzf = Some(lzf);
                let byte = byte?;
                self.inner.at += 1;
                byte
            }
        };
        if self.shown.len() < SHOWN {
            self.shown.push(byte);
        }
        Ok(byte)
    }

    fn bytes<const N: usize>(&mut self) -> Explained<[u8; N]> {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            *byte = self.byte()?;
        }
        Ok(bytes)
    }

    /// Returns the next bytes without reading them: as many as there are, up to `AHEAD`.
    fn peek(&mut self) -> Explained<&[u8]> {
        let left = usize::try_from(self.file.end - self.file.at).unwrap_or(usize::MAX);
        let next = self.input.next(AHEAD).map_err(Stop::Io)?;
        Ok(&next[..next.len().min(left).min(AHEAD)])
    }

    /// Reads `len` bytes, and returns the first of them.
    fn text(&mut self, len: u64) -> Explained<Vec<u8>> {
        if len > self.left() {
            let left = self.left();
            return damage(format!("a length of {len} bytes, and only {left} are left"));
        }
        let mut first = Vec::new();
        let mut left = len;
        while left > 0 {
            // Only what is to be shown is looked at byte by byte.
            if first.len() < PREVIEW || self.lzf.is_some() {
                let byte = self.byte()?;
                if first.len() < PREVIEW {
                    first.push(byte);
                }
                left -= 1;
                continue;
            }
            let buf = self.input.next(1).map_err(Stop::Io)?;
            if buf.is_empty() {
                return Err(Stop::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            let n = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.crc.update(&buf[..n]);
            self.input.consume(n);
            self.file.at += n as u64;
            left -= n as u64;
        }
        Ok(first)
    }

    /// Explains a part of `len` bytes by `explain`. If it is damaged, or ends too early, that is
    /// said, and the rest of the part is a range of its own: what is behind it is not lost.
    fn part(&mut self, len: u64, explain: impl FnOnce(&mut Self) -> Explained) -> Explained {
        let end = self.span().at + len;
        let outer = std::mem::replace(&mut self.span().end, end);
        let depth = self.depth;
        self.depth += 1;
        let explained = explain(self);
        self.depth = depth + 1;
        match explained {
            Ok(()) if self.left() > 0 => {
                let left = self.left();
                self.problem(&format!("{left} bytes are behind its end"))?;
            }
            Ok(()) => {}
            Err(Stop::Damage(reason)) => self.problem(&reason)?,
            Err(stop) => return Err(stop),
        }
        let left = self.left();
        let skipped = self.text(left);
        if self.span().start < self.span().at || left > 0 {
            self.range("unknown", "not explained".to_string(), By("", ""))?;
        }
        skipped?;
        self.span().end = outer;
        self.depth = depth;
        Ok(())
    }

    /// Explains `len` bytes that the next `compressed` bytes of the file decompress to. The range of
    /// the compressed ones was not printed yet.
    fn decompressed(
        &mut self,
        compressed: u64,
        len: u64,
        by: By,
        explain: impl FnOnce(&mut Self) -> Explained,
    ) -> Explained {
        if compressed > self.left() {
            let left = self.left();
            return damage(format!("a length of {compressed} bytes, and only {left} are left"));
        }
        // The range is known before it is read, and what it holds is shown below it.
        self.inside = self.file.at;
        let shown = self.peek()?.iter().take(SHOWN.min(compressed as usize)).copied().collect();
        self.shown = shown;
        let range = Span { start: self.file.at, at: self.file.at + compressed, end: 0 };
        self.print("lzf", &format!("LZF: {compressed} bytes for {len}"), by, range, None)?;
        self.shown.clear();

        let end = std::mem::replace(&mut self.file.end, range.at);
        self.lzf = Some(Box::default());
        self.inner = Span { start: 0, at: 0, end: len };
        self.depth += 1;
        match explain(self) {
            Ok(()) if self.left() > 0 => {
                let left = self.left();
                self.problem(&format!("{left} bytes are behind its end"))?;
            }
            Ok(()) => {}
            Err(Stop::Damage(reason)) => self.problem(&reason)?,
            Err(stop) => return Err(stop),
        }
        if self.inner.start < self.inner.end {
            self.inner.at = self.inner.end;
            self.range("unknown", "not explained".to_string(), By("", ""))?;
        }
        self.depth -= 1;
        self.lzf = None;
        self.shown.clear();
        // What the decompressor has not taken.
        let rest = self.left();
        self.text(rest)?;
        self.shown.clear();
        self.file.end = end;
        self.file.start = self.file.at;
        if rest > 0 {
            self.problem(&format!("{rest} compressed bytes of it are left over"))?;
        }
        Ok(())
    }

    // -------------------------------------------------------------------------
    // Printing
    // -------------------------------------------------------------------------

    /// Prints the range of what was read since the last one.
    fn range(&mut self, what: &str, meaning: String, by: By) -> Explained {
        let span = *self.span();
        let inside = self.lzf.is_some().then_some(self.inside);
        self.print(what, &meaning, by, span, inside)?;
        self.span().start = span.at;
        self.shown.clear();
        Ok(())
    }

    fn print(
        &mut self,
        what: &str,
        meaning: &str,
        By(writer, reader): By,
        span: Span,
        inside: Option<u64>,
    ) -> Explained {
        let len = span.at - span.start;
        let mut line = Vec::with_capacity(160);
        match self.form {
            Form::Text => {
                let mut hex: Vec<String> =
                    self.shown.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
                if len > hex.len() as u64 && !hex.is_empty() {
                    hex.truncate(SHOWN - 1);
                    hex.push("..".to_string());
                }
                let place = match inside {
                    Some(_) => format!("+{}", span.start),
                    None => span.start.to_string(),
                };
                let text = format!("{:indent$}{meaning}", "", indent = 2 * self.depth);
                let _ = write!(line, "{place:>10} {len:>8}  {:<23}  {text}", hex.join(" "));
                if !reader.is_empty() {
                    let width = 60usize.saturating_sub(text.chars().count());
                    let writer = if writer.is_empty() { "-" } else { writer };
                    let _ = write!(line, "{:width$}  [{writer} -> {reader}]", "");
                }
            }
            Form::Json => {
                let hex: String = self.shown.iter().map(|byte| format!("{byte:02x}")).collect();
                let _ = write!(line, "{{\"offset\":{},\"length\":{len},", span.start);
                let _ = write!(line, "\"depth\":{},\"what\":\"{what}\",\"meaning\":", self.depth);
                quote(&mut line, meaning.as_bytes());
                let _ = write!(line, ",\"bytes\":\"{hex}\"");
                if !writer.is_empty() {
                    let _ = write!(line, ",\"write\":\"{writer}\"");
                }
                if !reader.is_empty() {
                    let _ = write!(line, ",\"read\":\"{reader}\"");
                }
                end_json(&mut line, inside);
            }
        }
        line.push(b'\n');
        self.out.write_all(&line).map_err(Stop::Io)
    }

    /// Says what is wrong at this place.
    fn problem(&mut self, reason: &str) -> Explained {
        self.problems += 1;
        let at = self.span().at;
        let inside = self.lzf.is_some().then_some(self.inside);
        let mut line = Vec::new();
        match self.form {
            Form::Text => {
                let place = if inside.is_some() { format!("+{at}") } else { at.to_string() };
                let indent = 2 * self.depth;
                let _ =
                    write!(line, "{place:>10} {:>8}  {:<23}  {:indent$}!! {reason}", "", "", "");
            }
            Form::Json => {
                let _ = write!(line, "{{\"problem\":");
                quote(&mut line, reason.as_bytes());
                let _ = write!(line, ",\"offset\":{at}");
                end_json(&mut line, inside);
            }
        }
        line.push(b'\n');
        self.out.write_all(&line).map_err(Stop::Io)
    }

    /// Ends an explanation: says what has stopped it, and prints the rest as one range. Returns the
    /// number of problems.
    fn finish(&mut self, explained: Explained) -> io::Result<u64> {
        let finished = (|| {
            self.depth = 0;
            match explained {
                Ok(()) if self.left() > 0 => self.problem("the end was expected here")?,
                Ok(()) => {}
                Err(Stop::Damage(reason)) => self.problem(&reason)?,
                Err(stop) => return Err(stop),
            }
            let left = self.left();
            self.text(left)?;
            if self.file.start < self.file.at {
                self.range("unknown", "not explained".to_string(), By("", ""))?;
            }
            Ok(())
        })();
        match finished {
            Ok(()) => self.out.flush().map(|()| self.problems),
            Err(Stop::Io(e)) => Err(e),
            Err(Stop::Damage(reason)) => Err(io::Error::other(reason)),
        }
    }
}

/// Ends an object of JSON; the place within a compressed string is its last field.
fn end_json(line: &mut Vec<u8>, inside: Option<u64>) {
    if let Some(inside) = inside {
        let _ = write!(line, ",\"inside\":{inside}");
    }
    line.push(b'}');
}

/// Returns a text in quotes, cut if it has more than `PREVIEW` bytes, of which `first` are given.
fn shown_text(first: &[u8], len: u64) -> String {
    let mut text = Vec::new();
    sdscatrepr(&mut text, first);
    let cut = if len > first.len() as u64 { "..." } else { "" };
    format!("{}{cut}", String::from_utf8_lossy(&text))
}

/// What is explained.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Rdb,
    Aof,
    /// What one side has sent, from the handshake on.
    Psync,
}

/// Explains `size` bytes of `input`. Returns the number of problems that were found.
pub fn explain(
    kind: Kind,
    input: &mut dyn Read,
    size: u64,
    out: &mut dyn Write,
    form: Form,
) -> io::Result<u64> {
    let mut e = Explainer::new(input, size, out, form);
    let explained = match kind {
        Kind::Rdb => e.rdb(),
        Kind::Aof => e.aof(),
        Kind::Psync => e.psync(),
    };
    e.finish(explained)
}

/// Runs `--explain FILE` or `--explain-psync FILE`, with `--json` before or behind it, if the
/// arguments behind the program's name are that. Returns the exit code: 0 if nothing is wrong with
/// the file. `None`: the arguments ask for something else.
pub fn explain_main(kind: Kind, argv: &[Vec<u8>]) -> Option<i32> {
    let args: Vec<&[u8]> = argv.iter().skip(1).map(Vec::as_slice).collect();
    let form = if args.contains(&&b"--json"[..]) { Form::Json } else { Form::Text };
    let args: Vec<&[u8]> = args.into_iter().filter(|&arg| arg != b"--json").collect();
    let (kind, name) = match args[..] {
        [b"--explain", name] => (kind, name),
        [b"--explain-psync", name] => (Kind::Psync, name),
        _ => return None,
    };
    let explained = File::open(as_path(name)).and_then(|mut file| {
        let size = file.metadata()?.len();
        let mut out = BufWriter::new(io::stdout().lock());
        explain(kind, &mut file, size, &mut out, form)
    });
    match explained {
        Ok(problems) => Some(i32::from(problems > 0)),
        // Who has seen enough closes the pipe.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Some(0),
        Err(e) => {
            let text = bformat!("Cannot explain {}: {}\n", B(name), error_text(&e));
            let _ = io::stderr().write_all(&text);
            Some(1)
        }
    }
}

#[cfg(test)]
mod tests;
