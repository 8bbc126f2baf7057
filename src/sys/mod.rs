//! Every call into the kernel or libc that needs `unsafe`.
