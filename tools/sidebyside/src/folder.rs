//! The folder that the pages go to. A list of what was written lies in it, so that writing again
//! leaves nothing of an older page, and takes nothing that is somebody else's.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::Fail;

/// The names of the files that were written, one on each line.
pub const LIST: &str = ".sidebyside";

pub struct Folder {
    path: PathBuf,
    list: File,
}

impl Folder {
    /// Makes the folder, or takes out of it what was written before. A folder with files, but
    /// without a list, is not touched.
    pub fn open(path: &Path) -> Result<Folder, Fail> {
        let fail = |e: std::io::Error| format!("{}: {e}", path.display());
        fs::create_dir_all(path).map_err(fail)?;
        let list = path.join(LIST);
        match fs::read_to_string(&list) {
            Ok(names) => {
                for name in names.lines().filter(|name| is_plain(name)) {
                    match fs::remove_file(path.join(name)) {
                        Err(e) if e.kind() != ErrorKind::NotFound => return Err(fail(e).into()),
                        _ => {}
                    }
                }
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {
                if fs::read_dir(path).map_err(fail)?.next().is_some() {
                    let path = path.display();
                    return Err(format!(
                        "{path} has files that are not from here; name an empty folder with --out, or empty it"
                    )
                    .into());
                }
            }
            Err(e) => return Err(fail(e).into()),
        }
        File::create(&list).map_err(fail)?;
        let list = OpenOptions::new().append(true).open(&list).map_err(fail)?;
        Ok(Folder { path: path.to_path_buf(), list })
    }

    /// Writes a file, and enters it in the list. One of the same name that is somebody else's stays
    /// as it is, and ends the program.
    pub fn write(&self, name: &str, text: &str) -> Result<(), Fail> {
        let path = self.path.join(name);
        let fail = |e: std::io::Error| format!("{}: {e}", path.display());
        let new = OpenOptions::new().write(true).create_new(true).open(&path);
        let mut file = new.map_err(fail)?;
        writeln!(&self.list, "{name}").map_err(fail)?;
        file.write_all(text.as_bytes()).map_err(fail)?;
        Ok(())
    }
}

/// A name that leads to no other folder, whatever became of the list.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name != ".." && name != "." && !name.contains(['/', '\\'])
}
