# lolwut6.c, 4 functions. Here: src/lolwut.rs
renderCanvas
generateSkyscraper
generateSkyline
lolwut6Command
