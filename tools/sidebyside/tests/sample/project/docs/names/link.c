# link.c, 3 functions. Here: src/link.rs, src/log.rs
linkCreate
linkContinue
linkDebugPrint
