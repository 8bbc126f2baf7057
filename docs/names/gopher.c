# gopher.c, 2 functions. Not ported yet.
addReplyGopherItem
processGopherRequest
