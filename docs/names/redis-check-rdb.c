# redis-check-rdb.c, 8 functions. Here: src/redis_check_rdb.rs
rdbShowGenericInfo
rdbCheckError
rdbCheckInfo
rdbCheckSetError
rdbCheckHandleCrash
rdbCheckSetupSignals
redis_check_rdb
redis_check_rdb_main
