# crc64.c, 4 functions. Here: src/crc64.rs
crc_reflect
_crc64
crc64_init
crc64
