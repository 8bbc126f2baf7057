# endianconv.c, 6 functions. Not ported.
memrev16
memrev32
memrev64
intrev16
intrev32
intrev64
