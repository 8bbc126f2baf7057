# crc16.c, 1 functions. Not ported: only a cluster asks for the slot of a key.
crc16
