# lolwut5.c, 4 functions. Here: src/lolwut.rs
lwTranslatePixelsGroup
lwDrawSchotter
renderCanvas
lolwut5Command
