# sha1.c, 4 functions. Instead of it: the crate sha1.
SHA1Transform
SHA1Init
SHA1Update
SHA1Final
