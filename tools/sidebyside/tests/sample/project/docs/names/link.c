# link.c, 3 functions. Here: src/link.rs
linkCreate
linkContinue
linkDebugPrint
