# lzf_d.c, 1 functions. Here: src/ds/lzf.rs
lzf_decompress
