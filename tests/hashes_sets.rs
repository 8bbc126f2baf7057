//! Hashes and sets as clients and replicas see them: the limits of random draws, and what is
//! propagated instead of a command whose result is a matter of chance.

mod support;

use support::*;

/// CVE-2023-25155 and its kind: counts whose absolute value, or its double, no reply can announce.
#[test]
fn counts_out_of_range_are_refused() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    c.cmd(&["SADD", "s", "a", "b"]);
    c.cmd(&["HSET", "h", "a", "1", "b", "2"]);
    let range = "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
    for cmd in [["SRANDMEMBER", "s"], ["HRANDFIELD", "h"]] {
        let args = [cmd[0], cmd[1], "-9223372036854775808"];
        assert_eq!(c.cmd(&args).text(), range);
    }
    for count in ["-4611686018427387904", "4611686018427387904", "9223372036854775807"] {
        let reply = c.cmd(&["HRANDFIELD", "h", count, "WITHVALUES"]);
        assert_eq!(reply.text(), "-ERR value is out of range", "{count}");
    }
    assert_eq!(c.cmd(&["HRANDFIELD", "h", "4611686018427387903", "WITHVALUES"]).array().len(), 4);
    assert_eq!(c.cmd(&["SRANDMEMBER", "s", "9223372036854775807"]).array().len(), 2);
    assert_eq!(c.cmd(&["SRANDMEMBER", "s", "-7"]).array().len(), 7);
    let positive = "-ERR value is out of range, must be positive";
    assert_eq!(c.cmd(&["SPOP", "s", "-1"]).text(), positive);
}

/// A set of a few strings is no table, but nobody can tell: not by its encoding, its RDB, nor by how
/// it grows.
#[test]
fn small_sets_are_shown_as_tables() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let encoding = |c: &mut Conn| c.cmd(&["OBJECT", "ENCODING", "s"]).text();
    c.cmd(&["SADD", "s", "1", "22", "-3"]);
    assert_eq!(encoding(&mut c), "intset");
    for n in 0..60 {
        assert_eq!(c.cmd(&["SADD", "s", &format!("word {n}"), "22"]).int(), 1);
        assert_eq!(encoding(&mut c), "hashtable", "{n}");
        assert_eq!(c.cmd(&["SISMEMBER", "s", "-3"]).int(), 1);
        assert_eq!(c.cmd(&["SMISMEMBER", "s", "word 0", "word"]).array().len(), 2);
        assert_eq!(c.cmd(&["SCARD", "s"]).int(), n + 4);
        let digest = c.cmd(&["DEBUG", "DIGEST-VALUE", "s"]);
        assert!(c.cmd(&["DEBUG", "HTSTATS-KEY", "s"]).text().contains("number of elements"));
        if n % 10 == 0 {
            c.cmd(&["DEBUG", "RELOAD"]);
        }
        c.cmd(&["COPY", "s", "copy", "REPLACE"]);
        assert_eq!(c.cmd(&["DEBUG", "DIGEST-VALUE", "copy"]), digest);
        assert_eq!(c.cmd(&["SINTERSTORE", "inter", "s", "copy"]).int(), n + 4);
        assert_eq!(c.cmd(&["DEBUG", "DIGEST-VALUE", "inter"]), digest);
        assert_eq!(c.cmd(&["ZUNIONSTORE", "z", "2", "s", "copy"]).int(), n + 4);
        assert_eq!(c.cmd(&["SORT", "s", "ALPHA"]).array().len(), n as usize + 4);
    }
    // A scan that began in the table goes on there; nothing makes it small again.
    while c.cmd(&["SCARD", "s"]).int() > 0 {
        assert_eq!(encoding(&mut c), "hashtable");
        let member = c.cmd(&["SRANDMEMBER", "s"]).text();
        assert_eq!(c.cmd(&["SREM", "s", &member]).int(), 1);
    }
}

/// As many draws as somebody typed end with the client: when its reply is over the limit, and at
/// once if it gets no replies.
#[test]
fn endless_draws_end() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let members: Vec<String> = (0..600).map(|n| format!("m{n}")).collect();
    for (n, suffix) in [(3, "small"), (600, "large")] {
        for (command, key) in [("SADD", "s"), ("HSET", "h"), ("ZADD", "z")] {
            let mut args = vec![command.to_owned(), format!("{key}{suffix}")];
            for (score, member) in members.iter().take(n).enumerate() {
                match command {
                    "SADD" => args.push(member.clone()),
                    "HSET" => args.extend([member.clone(), "v".into()]),
                    _ => args.extend([score.to_string(), member.clone()]),
                }
            }
            c.cmd(&args);
        }
    }
    c.cmd(&["SADD", "integers", "1", "2", "3"]);
    let mut draws = vec![vec!["SRANDMEMBER", "integers"]];
    draws.extend([["SRANDMEMBER", "ssmall"], ["SRANDMEMBER", "slarge"]].map(Vec::from));
    draws.extend([["HRANDFIELD", "hsmall"], ["HRANDFIELD", "hlarge"]].map(Vec::from));
    draws.extend([["ZRANDMEMBER", "zsmall"], ["ZRANDMEMBER", "zlarge"]].map(Vec::from));
    c.cmd(&["CONFIG", "SET", "client-output-buffer-limit", "normal 10000000 0 0"]);
    for draw in &draws {
        let mut other = server.conn();
        other.send(&[draw[0], draw[1], "-2147483649"]);
        let _ = other.read_to_end();
        assert_eq!(c.cmd(&["PING"]).text(), "PONG", "{draw:?}");
    }

    // Nothing is queued for these, so the limit is not reached.
    for draw in &draws {
        let most = [draw[0], draw[1], "-9223372036854775807"];
        let mut silent = server.conn();
        silent.send(&["CLIENT", "REPLY", "OFF"]);
        silent.send(&most);
        silent.send(&["CLIENT", "REPLY", "ON"]);
        assert_eq!(silent.reply().text(), "OK", "{draw:?}");
        // Its own end comes first.
        let mut killed = server.conn();
        let id = killed.cmd(&["CLIENT", "ID"]).text();
        let kill = ["CLIENT", "KILL", "ID", &id, "SKIPME", "no"];
        for queued in [&["MULTI"][..], &kill, &most, &["EXEC"]] {
            killed.send(queued);
        }
        let _ = killed.read_to_end();
        assert_eq!(c.cmd(&["PING"]).text(), "PONG", "{draw:?}");
    }
}

/// CVE-2023-28856: an increment that cannot be leaves no empty hash behind.
#[test]
fn hincrbyfloat_by_infinity_makes_no_key() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    for incr in ["+inf", "-inf", "inf"] {
        let reply = c.cmd(&["HINCRBYFLOAT", "h", "f", incr]);
        assert_eq!(reply.text(), "-ERR value is NaN or Infinity");
        assert_eq!(c.cmd(&["EXISTS", "h"]).int(), 0);
    }
    assert_eq!(c.cmd(&["HINCRBYFLOAT", "h", "f", "10.5"]).text(), "10.5");
    assert_eq!(c.cmd(&["HINCRBYFLOAT", "h", "f", "0.1"]).text(), "10.6");
}

/// A replica that drew members itself would have other ones: it is told which.
#[test]
fn random_members_are_the_same_on_a_replica() {
    let master = TestServer::start(&["--set-max-intset-entries", "100"]);
    let replica = TestServer::start(&[]).replica_of(&master);
    let mut c = master.conn();
    for (prefix, count) in [("", 90), ("", 1000), ("m", 1000)] {
        for key in ["one", "few", "many", "all"] {
            let members = (0..count).map(|n| format!("{prefix}{n}"));
            c.cmd(
                &[String::from("SADD"), key.into()].into_iter().chain(members).collect::<Vec<_>>(),
            );
        }
        for _ in 0..10 {
            c.cmd(&["SPOP", "one"]);
        }
        let few = (count / 5).to_string();
        assert_eq!(c.cmd(&["SPOP", "few", &few]).array().len(), count / 5);
        let many = (count - 3).to_string();
        assert_eq!(c.cmd(&["SPOP", "many", &many]).array().len(), count - 3);
        assert_eq!(c.cmd(&["SCARD", "many"]).int(), 3);
        assert_eq!(c.cmd(&["SPOP", "all", "100000"]).array().len(), count);
        assert_eq!(c.cmd(&["EXISTS", "all"]).int(), 0);
        c.cmd(&["HINCRBYFLOAT", "h", "f", "1.1"]);
        c.cmd(&["SMOVE", "few", "moved", "no such member"]);
        assert_same_data(&master, &replica);
        c.cmd(&["DEL", "one", "few", "many"]);
    }
}
