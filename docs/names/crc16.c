# crc16.c, 1 functions. Not ported yet.
crc16
