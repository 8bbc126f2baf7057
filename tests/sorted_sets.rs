//! Sorted sets and places as clients and replicas see them.

#[path = "support/ask.rs"]
mod ask;
#[path = "support/random.rs"]
mod random;
mod support;

use ask::*;
use random::*;
use support::*;

/// CVE-2023-25155 and CVE-2023-22458: counts whose absolute value, or its double, no reply can
/// announce.
#[test]
fn counts_out_of_range_are_refused() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    assert_eq!(c.ask("ZADD z 1 a 2 b 3 c"), "3");
    let range = "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
    assert_eq!(c.ask("ZRANDMEMBER z -9223372036854775808"), range);
    for count in ["-9223372036854770000", "9223372036854770000", "4611686018427387904"] {
        assert_eq!(
            c.ask(&format!("ZRANDMEMBER z {count} WITHSCORES")),
            "-ERR value is out of range"
        );
    }
    assert_eq!(c.ask("ZRANDMEMBER z 4611686018427387903 WITHSCORES"), "[c 3 b 2 a 1]");
    assert_eq!(c.cmd(&["ZRANDMEMBER", "z", "-100"]).array().len(), 100);
    // Integers at their limits are no trouble anywhere else.
    let (min, max) = (i64::MIN, i64::MAX);
    for line in [
        format!("ZRANGE z {min} {max}"),
        format!("ZREVRANGE z {min} {min}"),
        format!("ZRANGEBYSCORE z -inf +inf LIMIT {max} {max}"),
        format!("ZRANGEBYSCORE z -inf +inf LIMIT {min} {min}"),
        format!("ZPOPMIN z {min}"),
        format!("ZUNION {max} z"),
        format!("ZSCAN z 0 COUNT {max}"),
        format!("ZREMRANGEBYRANK z {max} {min}"),
        format!("GEOSEARCH z FROMLONLAT 0 0 BYRADIUS 1 m COUNT {max}"),
        format!("ZPOPMAX z {max}"),
    ] {
        c.ask(&line);
    }
    assert_eq!(c.ask("EXISTS z"), "0");
}

/// What is sent in RESP2 as one flat array is an array of pairs in RESP3, and a score is a double.
#[test]
fn pairs_in_resp3() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    assert_eq!(c.ask("ZADD z 1 a 2.5 b inf c"), "3");
    assert_eq!(c.ask("ZRANGE z 0 -1 WITHSCORES"), "[a 1 b 2.5 c inf]");
    c.ask("HELLO 3");
    assert_eq!(c.ask("ZRANGE z 0 -1 WITHSCORES"), "[[a 1] [b 2.5] [c inf]]");
    assert_eq!(c.ask("ZRANGEBYSCORE z 2 +inf WITHSCORES"), "[[b 2.5] [c inf]]");
    assert_eq!(c.ask("ZUNION 1 z WITHSCORES WEIGHTS 2"), "[[a 2] [b 5] [c inf]]");
    assert!(matches!(c.cmd(&["ZSCORE", "z", "b"]), Reply::Double(_)));
    assert_eq!(c.ask("ZPOPMIN z"), "[a 1]");
    assert_eq!(c.ask("ZPOPMIN z 1"), "[[b 2.5]]");
    assert_eq!(c.ask("BZPOPMAX x z 1"), "[z c inf]");
    assert_eq!(c.ask("ZMSCORE z a"), "[(nil)]");
}

/// A long range, whose length is not known beforehand, is as good as a short one.
#[test]
fn ranges_of_any_length() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    for n in 0..300 {
        c.cmd(&["ZADD", "z", &n.to_string(), &format!("m{n}")]);
    }
    for last in [0, 1, 30, 31, 32, 33, 34, 64, 299] {
        let reply = c.cmd(&["ZRANGEBYSCORE", "z", "-inf", &last.to_string()]);
        let expected: Vec<String> = (0..=last).map(|n| format!("m{n}")).collect();
        assert_eq!(flat(&reply), format!("[{}]", expected.join(" ")));
        assert_eq!(c.ask(&format!("ZCOUNT z -inf {last}")), (last + 1).to_string());
    }
    // An offset that is reached by rank, and one by steps.
    assert_eq!(c.ask("ZRANGEBYSCORE z (9 +inf LIMIT 200 2"), "[m210 m211]");
    assert_eq!(c.ask("ZREVRANGEBYSCORE z (250 -inf LIMIT 200 2"), "[m49 m48]");
    assert_eq!(c.ask("ZRANGEBYSCORE z (9 20 LIMIT 100 2"), "[]");
    assert_eq!(c.ask("ZRANGEBYSCORE z (9 20 LIMIT 3 2"), "[m13 m14]");
}

/// Who waits is served in turn, and the replicas see pops that do not wait.
#[test]
fn blocked_pops_are_propagated_as_pops() {
    let master = TestServer::start(&[]);
    let replica = TestServer::start(&[]).replica_of(&master);
    let mut monitor = replica.conn();
    assert_eq!(monitor.ask("MONITOR"), "OK");
    let (mut first, mut second) = (master.conn(), master.conn());
    first.send(&["BZPOPMIN", "none", "z", "0"]);
    wait_for("the first to wait", || master.info("blocked_clients") == "1");
    second.send(&["BZPOPMAX", "z", "0"]);
    wait_for("the second to wait", || master.info("blocked_clients") == "2");
    assert_eq!(master.conn().ask("ZADD z 1 a 2 b 3 c"), "3");
    assert_eq!(next(&mut first), "[z a 1]");
    assert_eq!(next(&mut second), "[z c 3]");
    assert_eq!(master.conn().ask("BZPOPMIN z 0"), "[z b 2]");
    assert_same_data(&master, &replica);

    let mut seen = Vec::new();
    while seen.len() < 4 {
        let line = next(&mut monitor);
        let command = line.split_once("] ").expect("a line of MONITOR").1.to_string();
        if command.to_ascii_lowercase().contains("\"z") {
            seen.push(command);
        }
    }
    assert_eq!(
        seen,
        [
            r#""ZADD" "z" "1" "a" "2" "b" "3" "c""#,
            r#""zpopmin" "z""#,
            r#""zpopmax" "z""#,
            r#""ZPOPMIN" "z""#
        ]
    );
}

/// A time that is up is a null array, and a wrong type wakes nobody.
#[test]
fn blocked_pops_time_out() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    c.send(&["BZPOPMIN", "z", "0.3"]);
    wait_for("the command", || server.info("cmdstat_bzpopmin").starts_with("calls=1,"));
    assert_eq!(server.conn().ask("RPUSH z a"), "1");
    assert_eq!(next(&mut c), "(nil)");
    assert_eq!(
        c.ask("BZPOPMIN z 0"),
        "-WRONGTYPE Operation against a key holding the wrong kind of value"
    );
    assert_eq!(c.ask("BZPOPMIN x -1"), "-ERR timeout is negative");
    assert_eq!(c.ask("MULTI"), "OK");
    assert_eq!(c.ask("BZPOPMIN x 0"), "QUEUED");
    assert_eq!(c.ask("EXEC"), "[(nil)]");
}

/// The example of the manual, and how it is propagated: as scores.
#[test]
fn places() {
    let master = TestServer::start(&[]);
    let replica = TestServer::start(&[]).replica_of(&master);
    let mut c = master.conn();
    assert_eq!(c.ask("GEOADD Sicily 13.361389 38.115556 Palermo 15.087269 37.502669 Catania"), "2");
    assert_eq!(c.ask("GEODIST Sicily Palermo Catania"), "166274.1516");
    assert_eq!(c.ask("GEODIST Sicily Palermo Catania mi"), "103.3182");
    assert_eq!(c.ask("GEODIST Sicily Palermo nowhere"), "(nil)");
    assert_eq!(c.ask("GEOHASH Sicily Palermo Catania x"), "[sqc8b49rny0 sqdtr74hyu0 (nil)]");
    assert_eq!(
        c.ask("GEOPOS Sicily Palermo x"),
        "[[13.36138933897018433 38.11555639549629859] (nil)]"
    );
    assert_eq!(
        c.ask("GEORADIUS Sicily 15 37 200 km WITHDIST WITHHASH ASC"),
        "[[Catania 56.4413 3479447370796909] [Palermo 190.4424 3479099956230698]]"
    );
    assert_eq!(
        c.ask("GEOSEARCH Sicily FROMMEMBER Palermo BYBOX 400 400 km DESC"),
        "[Catania Palermo]"
    );
    assert_eq!(c.ask("GEOSEARCHSTORE near Sicily FROMLONLAT 15 37 BYRADIUS 100 km STOREDIST"), "1");
    assert_eq!(c.ask("ZSCORE near Catania"), "56.441257870158204");
    assert_eq!(c.ask("GEORADIUSBYMEMBER Sicily Palermo 1 km STORE near"), "1");
    assert_eq!(
        c.ask("GEOADD Sicily 181 0 x"),
        "-ERR invalid longitude,latitude pair 181.000000,0.000000"
    );
    assert_eq!(
        c.ask("COMMAND GETKEYS GEORADIUS k 0 0 1 m STORE a STOREDIST b"),
        "[k b]",
        "the last one counts"
    );
    assert_same_data(&master, &replica);
    assert_eq!(replica.conn().ask("ZSCORE Sicily Palermo"), "3479099956230698");
}

/// Members of a set so large that its skip list has three levels.
const MANY: usize = 20_000;

/// Commands on a large set that arrive together, and are looked at before their turn, do what they
/// do one by one: also where one of them removes or moves what a later one is about.
#[test]
fn a_pipeline_is_as_good_as_single_commands() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let mut random = Random::seeded();
    let place = |n: usize| n * 7919 % (MANY + 11);
    for key in ["together", "single"] {
        let pairs = (0..MANY).flat_map(|n| [place(n).to_string(), format!("m{n}")]);
        let fill: Vec<String> = ["ZADD".into(), key.into()].into_iter().chain(pairs).collect();
        assert_eq!(c.cmd(&fill).int(), MANY as i64);
    }
    // A few members come again and again, whose places are side by side.
    let few: Vec<usize> = (0..MANY).filter(|&n| (100..110).contains(&place(n))).collect();
    for round in 0..100 {
        // In most pipelines no member comes, goes, or changes its place.
        let all_stay = round % 4 > 0;
        let commands: Vec<String> = (0..20)
            .map(|_| {
                let n = if random.below(2) == 0 {
                    few[random.below(few.len())]
                } else {
                    random.below(MANY * 6 / 5)
                };
                let (m, s) = (format!("m{n}"), random.below(MANY * 6 / 5));
                let kind = if all_stay { 9 + random.below(8) } else { random.below(19) };
                match kind {
                    0..=2 => format!("ZADD KEY {s} {m}"),
                    3 => {
                        format!("ZADD KEY {} CH {s}.5 {m}", random.pick(&["NX", "XX", "GT", "LT"]))
                    }
                    4 => format!("ZADD KEY {s} {m} 17 m3"),
                    5 => format!("ZINCRBY KEY {} {m}", random.pick(&["1", "-0.25", "-inf", "inf"])),
                    6..=8 => format!("ZREM KEY {m}"),
                    9 => format!("ZRANK KEY {m}"),
                    10 => format!("ZREVRANK KEY {m}"),
                    11 => format!("ZSCORE KEY {m}"),
                    12 => format!("ZRANGEBYSCORE KEY ({s} +inf WITHSCORES LIMIT 1 9"),
                    13 => format!("ZREVRANGEBYSCORE KEY {s} -inf LIMIT 0 5"),
                    // In its own place, or back to it.
                    14..=16 => format!("ZADD KEY {}.{} {m}", place(n), random.below(9)),
                    17 => random.pick(&["ZPOPMIN KEY", "ZPOPMAX KEY"]).into(),
                    _ => random
                        .pick(&["ZADD KEY x m1", "ZADD KEY nan m1", "ZADD KEY 1", "ZRANK KEY"])
                        .into(),
                }
            })
            .collect();
        let together: Vec<String> = commands.iter().map(|x| x.replace("KEY", "together")).collect();
        let lines: Vec<&str> = together.iter().map(String::as_str).collect();
        c.raw(&batch(&lines)).unwrap();
        let replies: Vec<String> = commands.iter().map(|_| next(&mut c)).collect();
        for (command, reply) in commands.iter().zip(replies) {
            let single = c.ask(&command.replace("KEY", "single"));
            assert_eq!(reply, single, "{command} among {commands:?}");
        }
    }
    let all = |key| format!("ZRANGE {key} 0 -1 WITHSCORES");
    assert_eq!(c.ask(&all("together")), c.ask(&all("single")));
}

/// A member whose score changes, but not its place, leaves those behind it where they were: also for
/// who asks for their ranks in the same pipeline.
#[test]
fn ranks_behind_a_score_that_changes_in_its_place() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let pairs = (0..MANY).flat_map(|n| [(10 * n).to_string(), format!("m{n}")]);
    let fill: Vec<String> = ["ZADD".into(), "z".into()].into_iter().chain(pairs).collect();
    assert_eq!(c.cmd(&fill).int(), MANY as i64);
    for n in (1..MANY - 10).step_by(200) {
        let change = format!("ZADD z {} m{n}", 10 * n + 1);
        let ask = [1, 2, 3].map(|behind| format!("ZRANK z m{}", n + behind));
        c.raw(&batch(&[&change, &ask[0], &ask[1], &ask[2]])).unwrap();
        assert_eq!(next(&mut c), "0");
        for behind in [1, 2, 3] {
            assert_eq!(next(&mut c), (n + behind).to_string(), "behind m{n}");
        }
    }
}
