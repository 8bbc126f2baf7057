# setproctitle.c, 6 functions. Here: src/sys/proc.rs
spt_min
spt_clearenv
spt_copyenv
spt_copyargs
spt_init
setproctitle
