# siphash.c, 3 functions. Here: src/ds/siphash.rs
siptlw
siphash
siphash_nocase
