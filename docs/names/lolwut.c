# lolwut.c, 8 functions. Here: src/lolwut.rs
lolwutUnstableCommand
lolwutCommand
lwCreateCanvas
lwFreeCanvas
lwDrawPixel
lwGetPixel
lwDrawLine
lwDrawSquare
