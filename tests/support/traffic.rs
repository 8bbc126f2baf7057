//! Values of every type and encoding, and commands that use a value in every way. The fuzz targets
//! have them from here too.
#![allow(dead_code)] // each test binary uses its own part of this

/// Commands that make values of every type in every encoding. Hashes and sorted sets are expected
/// to be ziplists of up to 16 entries.
pub fn making() -> Vec<String> {
    let mut lines: Vec<String> = [
        "SET int 123456",
        "SET embstr short",
        "SETRANGE raw 70 abcdefghijklmnopqrstuvwxyz",
        "SETRANGE repeated 400 x",
        "PFADD hll a b c",
        "RPUSH list 1 two 3",
        "SADD intset16 1 2 3",
        "SADD intset32 1 -70000",
        "SADD intset64 5 10000000000",
        "SADD set a b 1",
        "HSET hash 1 one two 2 three 3",
        "CONFIG SET hash-max-ziplist-entries 0",
        "HSET table f v g w",
        "CONFIG SET hash-max-ziplist-entries 16",
        "ZADD zset 1 a 2 b 2.5 c -inf d",
        "CONFIG SET zset-max-ziplist-entries 0",
        "ZADD skiplist 1 a 2 b 2.5 c -inf d",
        "CONFIG SET zset-max-ziplist-entries 16",
        "GEOADD geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
        "XADD stream 1-1 f v g 1",
        "XADD stream 1-2 f v g 2",
        "XADD stream 2-1 other v",
        "XADD stream 3-1 f v g 3",
        "XDEL stream 1-2",
        "XGROUP CREATE stream group 0",
        "XGROUP CREATE stream empty 0",
        "XREADGROUP GROUP group alice COUNT 2 STREAMS stream >",
        "XREADGROUP GROUP group bob COUNT 1 STREAMS stream >",
    ]
    .map(str::to_string)
    .to_vec();
    for i in 0..20 {
        lines.push(format!("RPUSH biglist {i} element{i}"));
        lines.push(format!("SADD bigset {i} member{i}"));
        lines.push(format!("HSET bighash {i} value{i} field{i} {i}"));
        lines.push(format!("ZADD bigzset {i} {i} 0.{i} member{i}"));
        lines.push(format!("XADD bigstream {i}-1 field value{i} item 1"));
        lines.push(format!("PFADD bighll {i} hll{i}"));
    }
    for line in ["CONFIG SET hll-sparse-max-bytes 0", "PFADD dense a b c"] {
        lines.push(line.to_string());
    }
    lines
}

/// Commands that read and change a value of a type, `K` being its key. Whatever a file may hold,
/// they find it.
fn traffic(type_: &str) -> &'static str {
    match type_ {
        "string" => {
            "GET K; STRLEN K; GETRANGE K -10 -1; BITCOUNT K; BITPOS K 1; PFCOUNT K; PFADD K a b; \
             PFMERGE K2 K; BITFIELD K GET u8 3; INCR K; APPEND K x; SETRANGE K 3 abc; SETBIT K 9 1; \
             BITOP NOT K2 K; PFADD K c"
        }
        "list" => {
            "LLEN K; LRANGE K 0 -1; LRANGE K -3 -1; LINDEX K 2; LINDEX K -2; LPOS K b RANK -1 MAXLEN 0; \
             SORT K ALPHA; SORT K BY nosort LIMIT 1 2; LINSERT K BEFORE two new; LSET K 1 changed; \
             LSET K -1 17; LREM K 1 3; LREM K -1 a; LPUSH K x 1; RPUSH K y 2; RPOPLPUSH K K; \
             LMOVE K K LEFT RIGHT; LPOP K; RPOP K; LPOP K 2; LTRIM K 1 -2; LRANGE K 0 -1; LREM K 0 x"
        }
        "set" => {
            "SCARD K; SMEMBERS K; SISMEMBER K 1; SMISMEMBER K a 2 b; SRANDMEMBER K; SRANDMEMBER K 2; \
             SRANDMEMBER K -5; SRANDMEMBER K 100; SSCAN K 0; SUNIONSTORE K2 K; SINTER K K2; \
             SDIFFSTORE K2 K K2; SORT K ALPHA; SADD K 99 100000; SREM K 1 2; SADD K text; SMOVE K K2 text; \
             SPOP K; SPOP K 2; SMEMBERS K"
        }
        "hash" => {
            "HLEN K; HGETALL K; HKEYS K; HVALS K; HGET K f; HMGET K 1 two nothing; HEXISTS K three; \
             HSTRLEN K 1; HSCAN K 0; HRANDFIELD K; HRANDFIELD K 2 WITHVALUES; HRANDFIELD K -5; \
             HRANDFIELD K 100; HSET K new 5 1 other; HINCRBY K new 3; HINCRBYFLOAT K new 0.5; HSETNX K f v; \
             HDEL K two f; \
             HSET K long 0123456789012345678901234567890123456789012345678901234567890123456789; HGETALL K; \
             HDEL K 1"
        }
        "zset" => {
            "ZCARD K; ZRANGE K 0 -1 WITHSCORES; ZREVRANGE K 0 -1; ZRANGE K 1 2; ZRANGEBYSCORE K -inf +inf; \
             ZREVRANGEBYSCORE K 2 (1 LIMIT 0 2; ZRANGEBYLEX K - +; ZREVRANGEBYLEX K [c (a; ZCOUNT K 1 2; \
             ZLEXCOUNT K [a [c; ZSCORE K b; ZMSCORE K a b x; ZRANK K c; ZREVRANK K c; ZSCAN K 0; \
             ZRANDMEMBER K; ZRANDMEMBER K 2 WITHSCORES; ZRANDMEMBER K -5; ZRANDMEMBER K 100; \
             ZRANGESTORE K2 K 0 -1; ZUNIONSTORE K2 2 K K2; ZINTER 2 K K2; ZDIFF 2 K K2; SORT K ALPHA; \
             GEORADIUS K 15 37 200 km; GEOPOS K Palermo; ZADD K 1.5 new 3 b; ZINCRBY K 2 a; ZREM K c; \
             ZADD K 4 0123456789012345678901234567890123456789012345678901234567890123456789; \
             ZREMRANGEBYSCORE K 3 4; ZREMRANGEBYLEX K [b [bz; ZPOPMIN K; ZPOPMAX K 2; \
             ZREMRANGEBYRANK K 0 0; ZRANGE K 0 -1"
        }
        "stream" => {
            "XLEN K; XRANGE K - +; XREVRANGE K + -; XRANGE K 1-2 2 COUNT 1; XREVRANGE K 3 1-2; \
             XREAD COUNT 2 STREAMS K 0; XREAD STREAMS K $; XINFO STREAM K; XINFO STREAM K FULL; \
             XINFO GROUPS K; XINFO CONSUMERS K group; XPENDING K group; XPENDING K group - + 10; \
             XPENDING K group - + 10 alice; XADD K * f w g 4; XADD K * other w; \
             XREADGROUP GROUP group carol COUNT 2 STREAMS K >; XREADGROUP GROUP group alice STREAMS K 0; \
             XCLAIM K group bob 0 1-1 3-1; XCLAIM K group new 0 1-1 JUSTID FORCE; \
             XAUTOCLAIM K group dave 0 0; XACK K group 1-1 2-1; XDEL K 1-1 3-1; \
             XGROUP DELCONSUMER K group alice; XGROUP SETID K group $; XTRIM K MAXLEN ~ 3; XTRIM K MINID 2; \
             XTRIM K MAXLEN 1; XGROUP DESTROY K group; XSETID K 99999999999999-1; XRANGE K - +; \
             XINFO STREAM K FULL"
        }
        _ => "",
    }
}

/// What is asked of a value of any type.
const ANY: &str = "OBJECT ENCODING K; MEMORY USAGE K SAMPLES 0; DUMP K; COPY K K3 REPLACE; \
                   DEBUG DIGEST-VALUE K K3; OBJECT IDLETIME K";

/// The commands for a value of a type under a key; after them the key is gone.
pub fn using(type_: &str, key: &str) -> Vec<Vec<String>> {
    let lines = [ANY, traffic(type_), ANY, "DEL K K2 K3"].into_iter().flat_map(|l| l.split("; "));
    let word = |word: &str| match word {
        "K" => key.to_string(),
        "K2" => "second".to_string(),
        "K3" => "third".to_string(),
        word => word.to_string(),
    };
    lines.filter(|line| !line.is_empty()).map(|line| line.split(' ').map(word).collect()).collect()
}
