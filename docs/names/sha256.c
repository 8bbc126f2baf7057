# sha256.c, 4 functions. Instead of it: the crate sha2.
sha256_transform
sha256_init
sha256_update
sha256_final
