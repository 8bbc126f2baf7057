# ring.c, 6 functions. Here: src/ring.rs
ringCreate
ringFree
ringFeed
ringPlace
ringRead
ringResize
