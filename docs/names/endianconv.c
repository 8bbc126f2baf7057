# endianconv.c, 6 functions. Not ported: the integers of Rust have methods for each order of bytes.
memrev16
memrev32
memrev64
intrev16
intrev32
intrev64
