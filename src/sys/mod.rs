//! Every call into the kernel or libc that needs `unsafe`, one idea a file.

pub mod alloc;
pub mod bytes;
pub mod clock;
pub mod defrag;
pub mod errno;
pub mod file;
pub mod fork;
pub mod huge;
pub mod locale;
pub mod mem;
pub mod pipe;
pub mod proc;
pub mod random;
pub mod signal;
pub mod socket;
pub mod symbols;
