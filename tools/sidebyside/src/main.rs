//! The command line of `sidebyside`.

use std::path::PathBuf;
use std::process::ExitCode;

use sidebyside::{Options, build};

const USAGE: &str = "\
sidebyside PATH/TO/redis-6.2.16/src [--out DIR] [--compare OTHER/src]
sidebyside --without-c [--out DIR]

Writes a folder of pages that show the C and its port beside each other. The C is read from PATH, which
may be of any 6.2 tag.

  --out DIR            where the pages go; target/sidebyside without it
  --compare OTHER/src  says, too, what another tag changed, and which functions here a backport would touch
  --without-c          only names, shares and links: pages that hold nothing of the C's text
  --project DIR        the project, if it is not the one that this program was built in";

fn options() -> Result<Option<Options>, String> {
    let project = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let mut c = None;
    let mut without_c = false;
    let mut options = Options { project, out: PathBuf::new(), c: None, compare: None };
    let mut args = std::env::args_os().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().map(PathBuf::from).ok_or("a value is missing");
        match arg.to_str() {
            Some("--out") => options.out = value()?,
            Some("--compare") => options.compare = Some(value()?),
            Some("--project") => options.project = value()?,
            Some("--without-c") => without_c = true,
            Some("--help" | "-h") => return Ok(None),
            Some(option) if option.starts_with('-') => return Err(format!("no option {option}")),
            _ if c.is_none() => c = Some(PathBuf::from(arg)),
            _ => return Err("one folder of the C, and no more".to_string()),
        }
    }
    if c.is_some() == without_c {
        return Err("either the folder of the C, or --without-c".to_string());
    }
    if without_c && options.compare.is_some() {
        return Err("--compare needs the C".to_string());
    }
    if options.out.as_os_str().is_empty() {
        options.out = options.project.join("target/sidebyside");
    }
    options.c = c;
    Ok(Some(options))
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(e) => {
            eprintln!("sidebyside: {e}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match build(&options) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("sidebyside: {e}");
            ExitCode::FAILURE
        }
    }
}
