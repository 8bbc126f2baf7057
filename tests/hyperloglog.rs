//! HyperLogLog: the estimate, its two encodings, and what replicas get.

#[path = "support/ask.rs"]
mod ask;
mod support;

use ask::*;
use support::*;

/// Adds `element:from` to `element:to`.
fn add(c: &mut Conn, key: &str, from: u64, to: u64) {
    for start in (from..to).step_by(1000) {
        let elements = (start..to.min(start + 1000)).map(|n| format!("element:{n}"));
        let command = ["PFADD".to_string(), key.to_string()].into_iter().chain(elements);
        c.cmd(&command.collect::<Vec<_>>());
    }
}

/// The standard error of 2^14 registers is 0.81 %. The hash is fixed, so each of these estimates is
/// the same in every run.
#[test]
fn estimates_are_near() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    let mut before = 0;
    for n in [10u64, 100, 1000, 10_000, 100_000] {
        add(&mut c, "k", before, n);
        before = n;
        let estimate = c.cmd(&["PFCOUNT", "k"]).int() as f64;
        let error = (estimate - n as f64).abs() / n as f64;
        assert!(error < 3.0 * 0.0081, "{n}: {estimate}");
        // What is there already changes nothing.
        assert_eq!(c.ask(&format!("PFADD k element:0 element:{}", n - 1)), "0");
    }
}

/// A sparse one becomes dense at the limit, or when a register wants more than it can say, and
/// means the same.
#[test]
fn both_encodings_mean_the_same() {
    let server = TestServer::start(&["--hll-sparse-max-bytes", "1000"]);
    let mut c = server.conn();
    add(&mut c, "sparse", 0, 200);
    assert_eq!(c.ask("PFDEBUG ENCODING sparse"), "sparse");
    c.ask("COPY sparse dense");
    assert_eq!(c.ask("PFDEBUG TODENSE dense"), "1");
    assert_eq!(c.ask("PFDEBUG ENCODING dense"), "dense");
    assert_eq!(c.ask("PFDEBUG GETREG dense"), c.ask("PFDEBUG GETREG sparse"));
    assert_eq!(c.ask("PFCOUNT dense"), c.ask("PFCOUNT sparse"));
    add(&mut c, "sparse", 200, 2000);
    assert_eq!(c.ask("PFDEBUG ENCODING sparse"), "dense");
    assert_eq!(c.ask("STRLEN sparse"), (16 + 16384 * 6 / 8).to_string());
    add(&mut c, "dense", 200, 2000);
    assert_eq!(c.ask("PFDEBUG GETREG dense"), c.ask("PFDEBUG GETREG sparse"));
    // It is a string, and survives as one.
    let value = c.cmd(&["GET", "sparse"]);
    c.cmd(&[&b"SET"[..], b"again", value.bytes()]);
    assert_eq!(c.ask("PFCOUNT again"), c.ask("PFCOUNT sparse"));
}

/// A union counts what any of them has, once; it is not stored by PFCOUNT, and is by PFMERGE.
#[test]
fn unions() {
    let server = TestServer::start(&[]);
    let mut c = server.conn();
    add(&mut c, "a", 0, 600);
    add(&mut c, "b", 400, 1000);
    add(&mut c, "all", 0, 1000);
    let all = c.ask("PFCOUNT all");
    assert_eq!(c.ask("PFCOUNT a b nosuch"), all);
    assert_eq!(c.ask("EXISTS nosuch"), "0");
    assert_eq!(c.ask("PFMERGE merged a b nosuch"), "OK");
    assert_eq!(c.ask("PFCOUNT merged"), all);
    assert_eq!(c.ask("PFMERGE a b"), "OK", "the destination is one of them");
    assert_eq!(c.ask("PFCOUNT a"), all);
    assert_eq!(c.ask("PFMERGE empty"), "OK");
    assert_eq!(c.ask("PFCOUNT empty"), "0");
    c.ask("SET str x");
    for line in ["PFADD str a", "PFCOUNT str", "PFCOUNT a str", "PFMERGE x str", "PFMERGE str a"] {
        let error = "-WRONGTYPE Key is not a valid HyperLogLog string value.";
        assert_eq!(c.ask(line), error, "{line}");
    }
    assert_eq!(c.ask("EXISTS x"), "0");
}

/// PFCOUNT keeps its result in the value: it writes, and so replicas are told.
#[test]
fn replicas_have_the_same_bytes() {
    let master = TestServer::start(&[]);
    let replica = TestServer::start(&[]).replica_of(&master);
    let mut c = master.conn();
    for round in 0..5 {
        add(&mut c, "k", round * 1000, (round + 1) * 1000);
        add(&mut c, "other", round * 1500, (round + 1) * 1500);
        c.ask("PFCOUNT k");
        c.ask("PFMERGE sum k other");
        assert_same_data(&master, &replica);
        let count = c.ask("PFCOUNT sum");
        wait_for_offset(&master, &replica);
        assert_eq!(replica.conn().ask("PFCOUNT sum"), count);
        assert_same_data(&master, &replica);
    }
}
