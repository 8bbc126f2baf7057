# gopher.c, 2 functions. Here: src/gopher.rs
addReplyGopherItem
processGopherRequest
