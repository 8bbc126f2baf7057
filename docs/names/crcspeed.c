# crcspeed.c, 13 functions. Instead of it: the crate crc-fast.
crcspeed64little_init
crcspeed16little_init
rev8
crcspeed64big_init
crcspeed16big_init
crcspeed64little
crcspeed16little
crcspeed64big
crcspeed16big
crcspeed64native
crcspeed16native
crcspeed64native_init
crcspeed16native_init
