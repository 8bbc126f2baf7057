//! `lanes`: draws the traces of one or several servers (`trace-file`) as lanes on one time line.
//!
//! ```text
//! lanes [-o OUT] [--title TEXT] [--from EVENT] [--wall] [--source TEMPLATE] [--follow] TRACE...
//! ```
//!
//! OUT is an SVG, or a page if its name ends with `.html`; without it the SVG goes to standard
//! output. With `--follow` it is drawn again whenever a trace has grown, until the program is
//! stopped; a page shows that by itself.
//!
//! The lines of servers on one machine have one clock. `--wall` goes by the wall clocks at the
//! starts instead, for servers on several machines.
//!
//! TEMPLATE makes the address that a mark leads to, of `{file}`, `{line}`, `{module}` (with `/`) and
//! `{fn}`. Without it that is the source as rustdoc shows it, if `cargo doc` was run here, or else
//! the file.

mod model;
mod svg;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, io, process, thread};

use model::Model;

struct Options {
    out: Option<PathBuf>,
    title: String,
    from: Option<String>,
    wall: bool,
    source: String,
    follow: bool,
    traces: Vec<PathBuf>,
}

const USAGE: &str = "Usage: lanes [-o OUT.svg|OUT.html] [--title TEXT] [--from EVENT] [--wall] [--source TEMPLATE] [--follow] TRACE...";

/// Returns the address of the source from a clone: rustdoc's, if it was made.
fn default_source() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = root.canonicalize().unwrap_or(root);
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let rustdoc = target.join("doc/src/fidelis");
    if rustdoc.is_dir() {
        return format!("file://{}/{{path}}.html#{{line}}", rustdoc.display());
    }
    format!("file://{}/{{file}}#L{{line}}", root.display())
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        out: None,
        title: "Traces".to_string(),
        from: None,
        wall: false,
        source: default_source(),
        follow: false,
        traces: Vec::new(),
    };
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value\n{USAGE}"));
        match arg.as_str() {
            "-o" | "--out" => options.out = Some(value()?.into()),
            "--title" => options.title = value()?,
            "--from" => options.from = Some(value()?),
            "--source" => options.source = value()?,
            "--wall" => options.wall = true,
            "--follow" => options.follow = true,
            _ if arg.starts_with('-') => return Err(USAGE.to_string()),
            _ => options.traces.push(arg.into()),
        }
    }
    if options.traces.is_empty() || (options.follow && options.out.is_none()) {
        return Err(USAGE.to_string());
    }
    Ok(options)
}

/// Reads the traces, and draws them.
fn draw(options: &Options) -> io::Result<String> {
    let mut model = Model::default();
    for path in &options.traces {
        let text = String::from_utf8_lossy(&fs::read(path)?).into_owned();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        model.add(&name, &text, options.wall);
    }
    if let Some(from) = &options.from {
        model.cut_before(from);
    }
    let stem = options.out.as_deref().and_then(Path::file_stem).unwrap_or_default();
    Ok(svg::draw(&model, &options.title, &options.source, &stem.to_string_lossy()))
}

/// Writes the drawing, in one go: who looks at it sees the old one or the new one.
fn write(out: &Path, drawing: &str, follow: bool) -> io::Result<()> {
    let page = out.extension().is_some_and(|e| e == "html");
    let refresh = if follow { "<meta http-equiv=\"refresh\" content=\"1\">" } else { "" };
    let text = match page {
        true => format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">{refresh}<title>lanes</title><style>:root{{color-scheme:light dark}}body{{margin:8px}}</style></head>\n<body>\n{drawing}</body></html>\n"
        ),
        false => drawing.to_string(),
    };
    let temporary = out.with_extension("tmp");
    fs::write(&temporary, text)?;
    fs::rename(&temporary, out)
}

fn run() -> Result<(), String> {
    let options = options()?;
    let mut sizes = Vec::new();
    loop {
        let size = |path: &PathBuf| fs::metadata(path).map_or(0, |metadata| metadata.len());
        let now: Vec<u64> = options.traces.iter().map(size).collect();
        if now != sizes {
            let drawing = draw(&options).map_err(|e| e.to_string())?;
            match &options.out {
                Some(out) => {
                    write(out, &drawing, options.follow)
                        .map_err(|e| format!("{}: {e}", out.display()))?;
                }
                // Who has seen enough closes the pipe.
                None => match io::stdout().write_all(drawing.as_bytes()) {
                    Err(e) if e.kind() != io::ErrorKind::BrokenPipe => return Err(e.to_string()),
                    _ => {}
                },
            }
            sizes = now;
        }
        if !options.follow {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(300));
    }
}

fn main() {
    if let Err(text) = run() {
        eprintln!("{text}");
        process::exit(1);
    }
}
