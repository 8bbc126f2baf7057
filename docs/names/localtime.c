# localtime.c, 2 functions. Here: src/sys/clock.rs
is_leap_year
nolocks_localtime
