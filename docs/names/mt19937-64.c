# mt19937-64.c, 7 functions. Here: src/sys/random.rs
init_genrand64
init_by_array64
genrand64_int64
genrand64_int63
genrand64_real1
genrand64_real2
genrand64_real3
