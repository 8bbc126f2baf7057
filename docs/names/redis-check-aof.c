# redis-check-aof.c, 7 functions. Here: src/redis_check_aof.rs
consumeNewline
readLong
readBytes
readString
readArgc
process
redis_check_aof_main
