# pqsort.c, 4 functions. Here: src/sort.rs
swapfunc
med3
_pqsort
pqsort
