# setcpuaffinity.c, 3 functions. Here: src/sys/proc.rs
next_token
next_num
setcpuaffinity
