//! The names of this program's functions, for the crash report and the watchdog. Ours.
//!
//! The C calls `backtrace_symbols_fd`, which knows the names that a program exports to its
//! libraries. A Rust program exports none; they are in the symbol table of its file, unless it was
//! stripped. [`prepare`] maps the file, and a handler reads it where it lies: nothing is allocated,
//! and pages that nobody needs are never loaded.
#![allow(unsafe_code)] // The file is mapped, and the kernel says where it runs.

use std::fs::File;
use std::io::{Cursor, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::OnceLock;

/// Where the names are.
struct Symbols {
    /// The path of the program, for the lines of the report.
    program: Vec<u8>,
    /// Entries of 24 bytes, in no order.
    symtab: &'static [u8],
    /// The names, each with a NUL behind it.
    strtab: &'static [u8],
    /// The difference between the addresses at run time and those in the file: a program is loaded
    /// anywhere.
    bias: usize,
}

static SYMBOLS: OnceLock<Option<Symbols>> = OnceLock::new();

/// Finds the symbol table, once. Not for signal handlers; where it fails, there are no names.
pub fn prepare() {
    SYMBOLS.get_or_init(find);
}

/// Returns the number of `N` bytes at `at`, in the byte order of this machine, which is that of its
/// programs.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let field: [u8; N] = bytes.get(at..at.checked_add(N)?)?.try_into().ok()?;
    let mut number = [0; 8];
    if cfg!(target_endian = "little") {
        number[..N].copy_from_slice(&field);
    } else {
        number[8 - N..].copy_from_slice(&field);
    }
    Some(u64::from_ne_bytes(number))
}

fn find() -> Option<Symbols> {
    const EXE: &str = "/proc/self/exe";
    const ELF64: &[u8] = b"\x7fELF\x02";
    const PT_PHDR: u64 = 6;
    const SHT_SYMTAB: u64 = 2;

    let file = map(&File::open(EXE).ok()?)?;
    if !file.starts_with(ELF64) {
        return None;
    }
    let word = |at| number::<8>(file, at).map(|n| n as usize);
    let half = |at| number::<2>(file, at).map(|n| n as usize);

    // The program headers lie in memory too, and the kernel says where: so far the addresses are
    // moved.
    let (phoff, phentsize, phnum) = (word(32)?, half(54)?, half(56)?);
    let vaddr = (0..phnum)
        .filter_map(|i| i.checked_mul(phentsize)?.checked_add(phoff))
        .find(|&header| number::<4>(file, header) == Some(PT_PHDR))
        .and_then(|header| word(header.checked_add(16)?))
        .unwrap_or(phoff);
    // SAFETY: no pointers.
    let phdr = unsafe { libc::getauxval(libc::AT_PHDR) } as usize;

    let (shoff, shentsize, shnum) = (word(40)?, half(58)?, half(60)?);
    let section = |i: usize| i.checked_mul(shentsize)?.checked_add(shoff);
    let contents = |header: usize| {
        let (offset, size) = (word(header.checked_add(24)?)?, word(header.checked_add(32)?)?);
        file.get(offset..offset.checked_add(size)?)
    };
    let symtab = (0..shnum).filter_map(section).find(|&header| {
        header.checked_add(4).and_then(|at| number::<4>(file, at)) == Some(SHT_SYMTAB)
    })?;
    let strtab = section(number::<4>(file, symtab.checked_add(40)?)? as usize)?;
    Some(Symbols {
        program: std::fs::read_link(EXE).ok()?.into_os_string().into_encoded_bytes(),
        symtab: contents(symtab)?,
        strtab: contents(strtab)?,
        bias: phdr.wrapping_sub(vaddr),
    })
}

/// Maps the whole of a file, for good.
fn map(file: &File) -> Option<&'static [u8]> {
    let len = usize::try_from(file.metadata().ok()?.len()).ok()?;
    // SAFETY: a new mapping, anywhere.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            len,
            libc::PROT_READ,
            libc::MAP_PRIVATE,
            file.as_raw_fd(),
            0,
        )
    };
    if len == 0 || at == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: `len` bytes are mapped there and stay so. The kernel lets nobody write to the file of
    // a program that runs.
    Some(unsafe { std::slice::from_raw_parts(at.cast(), len) })
}

impl Symbols {
    /// Returns the function that `address` lies in: its name as the compiler made it, and where it
    /// begins.
    fn function(&self, address: usize) -> Option<(&'static [u8], usize)> {
        const STT_FUNC: u8 = 2;
        let address = address.wrapping_sub(self.bias);
        self.symtab.chunks_exact(24).find_map(|symbol| {
            let value = number::<8>(symbol, 8)? as usize;
            let size = number::<8>(symbol, 16)? as usize;
            if symbol[4] & 0xf != STT_FUNC || address.wrapping_sub(value) >= size {
                return None;
            }
            let name = self.strtab.get(number::<4>(symbol, 0)? as usize..)?;
            let len = memchr::memchr(0, name)?;
            Some((&name[..len], value.wrapping_add(self.bias)))
        })
    }
}

/// Writes the line of the report for an instruction to `fd`, as `backtrace_symbols_fd` does:
/// program, function and place in it, address. `false`, and nothing written, if the function is
/// unknown, as those of libraries are. For signal handlers too.
///
/// Behind a call the instruction may be the first of another function: `is_return` says that the
/// one before it counts.
pub fn write_function(fd: RawFd, address: usize, is_return: bool) -> bool {
    let Some(Some(symbols)) = SYMBOLS.get() else { return false };
    let within = address.wrapping_sub(usize::from(is_return));
    let Some((name, start)) = symbols.function(within) else { return false };
    let mut line = Cursor::new([0u8; 1024]);
    // A long name is cut; the address has a write of its own.
    let _ = line.write_all(&symbols.program[..symbols.program.len().min(256)]);
    let _ = line.write_all(b"(");
    let _ = match std::str::from_utf8(name) {
        Ok(name) => write!(line, "{:#}", rustc_demangle::demangle(name)),
        Err(_) => line.write_all(name),
    };
    let len = line.position() as usize;
    let mut end = Cursor::new([0u8; 64]);
    let _ = writeln!(end, "+{:#x})[{address:#x}]", address.wrapping_sub(start));
    let end_len = end.position() as usize;
    for part in [&line.get_ref()[..len], &end.get_ref()[..end_len]] {
        // There is nobody to tell if it can't be written.
        let _ = crate::sys::socket::write(fd, part);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_has_its_name() {
        prepare();
        let symbols = SYMBOLS.get().unwrap().as_ref().expect("this program is not stripped");
        let address = prepare as *const () as usize;
        let (name, start) = symbols.function(address + 1).unwrap();
        let name = std::str::from_utf8(name).unwrap();
        assert_eq!(
            format!("{:#}", rustc_demangle::demangle(name)),
            "fidelis::sys::symbols::prepare"
        );
        assert_eq!(start, address);
        assert!(symbols.function(8).is_none());
    }
}
