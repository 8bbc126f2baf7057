# syncio.c, 3 functions. Here: src/connection.rs
syncWrite
syncRead
syncReadLine
