# rand.c, 3 functions. Here: src/rand.rs
redisLrand48
redisSrand48
next
