# link.c, 4 functions. Here: src/link.rs
linkCreate
linkContinue
linkGreet
linkDebugPrint
