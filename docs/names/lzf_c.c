# lzf_c.c, 1 functions. Here: src/ds/lzf.rs
lzf_compress
