//! Ours: lines of a log.

/// Writes a line.
pub fn log_line(line: &str) {
    println!("{line}");
}
