//! Ours and a genuine redis-server get the same random commands and have to give the same answers.
//!
//! ```text
//! cargo test --release --test differential -- 127.0.0.1:7001 127.0.0.1:7002 --ops 200000 --seed 1 --resp 3
//! ```
//!
//! The first address is ours, the second the genuine one's; both are flushed. A 7.0 peer needs
//! `enable-debug-command yes`. `--differences N` goes on after a difference, with empty data sets,
//! until there were N. Without addresses, as plain `cargo test` runs it, our server and Debian's
//! are started and get a short stream on either protocol.
//!
//! The stream depends on the seed alone (tests/support/peer makes it), so that a difference can be
//! had again. session.rs sends it and compares the replies (compare.rs); every few thousand
//! commands state.rs compares the whole data sets: keys, types, encodings, digests and DUMP bytes,
//! and restores each one's dumps in the other. `--scripts N` has N of 100 commands be scripts
//! (scripts.rs), 5 if it is not given. What the peer's version does otherwise is listed in
//! tests/support/peer/known.rs. Then several clients track keys
//! (tracking.rs).

mod compare;
#[path = "../support/peer/mod.rs"]
mod peer;
mod scripts;
mod session;
mod state;
#[path = "../support/mod.rs"]
mod support;
mod tracking;

use std::process::ExitCode;
use std::time::Instant;

use peer::values::{Gen, is_harmful, is_unordered_sort};
use peer::wire::{Argv, words};
use session::{Outcome, Session, Trouble};
use support::TestServer;

/// Commands between two comparisons of the whole data sets.
const STATE_EVERY: u64 = 2000;
/// The short stream's length, for each protocol.
const SHORT: u64 = 20_000;

struct Settings {
    addresses: Vec<String>,
    ops: u64,
    seed: u64,
    resp: Option<u8>,
    differences: u32,
    /// How many of 100 commands are scripts.
    scripts: usize,
    /// A word that is no address: cargo's filter on names of tests.
    filter: Option<String>,
}

fn settings() -> Result<Settings, String> {
    let mut s = Settings {
        addresses: vec![],
        ops: SHORT,
        seed: 1,
        resp: None,
        differences: 1,
        scripts: 5,
        filter: None,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || -> Result<u64, String> {
            let value = args.next().unwrap_or_default();
            value.parse().map_err(|_| format!("{arg} wants a number, not {value:?}"))
        };
        match &arg[..] {
            "--ops" => s.ops = number()?,
            "--seed" => s.seed = number()?,
            "--resp" => s.resp = Some(number()? as u8),
            "--differences" => s.differences = number()? as u32,
            "--scripts" => s.scripts = number()? as usize,
            a if a.starts_with('-') => {}
            a if a.contains(':') => s.addresses.push(arg),
            _ => s.filter = Some(arg),
        }
    }
    match s.addresses.len() {
        0 | 2 => Ok(s),
        n => Err(format!("two addresses are wanted (ours, the peer's), not {n}")),
    }
}

fn main() -> ExitCode {
    let settings = match settings() {
        Ok(s) => s,
        Err(e) => {
            eprintln!("differential: {e}");
            return ExitCode::FAILURE;
        }
    };
    if settings.filter.as_ref().is_some_and(|f| !"differential".contains(&f[..])) {
        return ExitCode::SUCCESS;
    }
    let own = settings.addresses.is_empty().then(|| {
        (TestServer::start(&[]), TestServer::start_debian(&["--enable-debug-command", "yes"]))
    });
    let addresses = match &own {
        Some((ours, debian)) => [ours, debian].map(|s| format!("127.0.0.1:{}", s.port)).to_vec(),
        None => settings.addresses.clone(),
    };
    let protocols = settings.resp.map_or(vec![2, 3], |r| vec![r]);
    let good = protocols.into_iter().all(|resp| run(&settings, &addresses, resp))
        && run_tracking(&settings, &addresses);
    if !good && let Some((ours, debian)) = &own {
        eprintln!("our log:\n{}\nDebian's log:\n{}", ours.log(), debian.log());
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One run on one protocol; true if there was no difference.
fn run(settings: &Settings, addresses: &[String], resp: u8) -> bool {
    let mut session = match Session::open(&addresses[0], &addresses[1], resp) {
        Ok(s) => s,
        Err(e) => {
            eprintln!("differential: {e}");
            return false;
        }
    };
    println!(
        "differential: {} and {}, RESP{resp}, seed {}",
        session.ours.version, session.theirs.version, settings.seed
    );
    let (start, mut found) = (Instant::now(), 0);
    let mut g = Gen::new(settings.seed);
    if let Err(e) = session.start_over() {
        eprintln!("differential: {e}");
        return false;
    }
    let mut next_look = STATE_EVERY;
    while session.ops < settings.ops && found < settings.differences {
        let look = session.ops >= next_look;
        if look {
            next_look = session.ops + STATE_EVERY;
        }
        let outcome = if look {
            state::compare(&mut session)
        } else {
            step(&mut session, &mut g, settings.scripts)
        };
        match outcome {
            Ok(()) => {}
            Err(Trouble::Difference(report)) => {
                found += 1;
                println!("DIFFERENCE {found} (seed {}, RESP{resp})\n{report}", settings.seed);
                if let Err(e) = session.start_over() {
                    eprintln!("differential: {e}");
                    return false;
                }
            }
            Err(Trouble::Io(e)) => {
                println!("LOST (seed {}, RESP{resp}, op {}): {e}", settings.seed, session.ops);
                return false;
            }
        }
    }
    println!("{} commands in {:.1?}, {found} differences", session.ops, start.elapsed());
    found == 0
}

/// The clients that track keys; true if there was no difference.
fn run_tracking(settings: &Settings, addresses: &[String]) -> bool {
    let start = Instant::now();
    // A step looks at seven clients, so the short run has fewer of them.
    let ops = if settings.addresses.is_empty() { settings.ops / 5 } else { settings.ops };
    match tracking::run(&addresses[0], &addresses[1], settings.seed, ops) {
        Ok(None) => {
            println!("tracking: {ops} commands in {:.1?}, no difference", start.elapsed());
            true
        }
        Ok(Some(report)) => {
            println!("DIFFERENCE in tracking (seed {})\n{report}", settings.seed);
            false
        }
        Err(e) => {
            println!("LOST in tracking (seed {}): {e}", settings.seed);
            false
        }
    }
}

/// One command of the stream, or one of the small scenes.
fn step(s: &mut Session, g: &mut Gen, scripts: usize) -> Outcome {
    if g.rng.below(100) < scripts {
        return script(s, g);
    }
    match g.rng.below(4000) {
        0 => s.push(words("FLUSHALL")),
        1 => {
            // A hash out of a table would become a ziplist in any order.
            s.push(words("CONFIG SET hash-max-ziplist-entries 0"))?;
            s.check(&words("DEBUG RELOAD"))?;
            state::compare(s)
        }
        2..=9 => {
            s.push(words("RESET"))?;
            if s.resp == 3 { s.push(words("HELLO 3")) } else { Ok(()) }
        }
        10..=29 => block(s, g),
        30..=37 => subscribe(s, g),
        38..=49 => {
            let key = g.value("any");
            s.expire(&key)
        }
        50..=120 => transaction(s, g),
        121..=160 => restricted(s, g),
        _ => {
            let argv = command(s, g);
            match nature(&argv) {
                Nature::Plain => s.push(argv),
                Nature::Draw => s.draw(&argv),
                Nature::Scan => s.scan(&argv),
                Nature::Sort => s.sort(argv),
            }
        }
    }
}

/// The next command that may be sent.
fn command(s: &Session, g: &mut Gen) -> Argv {
    loop {
        let argv = g.command();
        if !is_harmful(&argv) && !s.known.avoids(&argv) {
            return argv;
        }
    }
}

/// A script, and at times the same once more by its name.
fn script(s: &mut Session, g: &mut Gen) -> Outcome {
    if s.known.same_script_errors() && g.rng.one_in(500) {
        let whole = g.rng.pick::<&str>(&["yes", "no"]);
        s.push(words(&format!("CONFIG SET lua-replicate-commands {whole}")))?;
    }
    if g.rng.one_in(1000) {
        s.push(words("SCRIPT FLUSH"))?;
    }
    let eval = scripts::eval(g, &s.known);
    if g.rng.one_in(20) {
        s.push(scripts::by_name(&eval))?;
    }
    let by_name = g.rng.one_in(10).then(|| scripts::by_name(&eval));
    s.push(eval)?;
    by_name.map_or(Ok(()), |argv| s.push(argv))
}

/// MULTI, a few commands, and its end.
fn transaction(s: &mut Session, g: &mut Gen) -> Outcome {
    if g.rng.one_in(3) {
        let watch = vec![b"WATCH".to_vec(), g.value("any")];
        s.push(watch)?;
        let argv = command(s, g);
        if matches!(nature(&argv), Nature::Plain) {
            s.push(argv)?;
        }
    }
    s.push(words("MULTI"))?;
    for _ in 0..g.rng.below(6) {
        let argv = command(s, g);
        if matches!(nature(&argv), Nature::Plain) && !s.known.avoids_in_transaction(&argv) {
            s.push(argv)?;
        }
    }
    s.push(words(if g.rng.one_in(8) { "DISCARD" } else { "EXEC" }))
}

/// A few commands of a user who may not run all of them, nor touch all keys.
fn restricted(s: &mut Session, g: &mut Gen) -> Outcome {
    let mut user = words("ACL SETUSER tester on nopass resetkeys allchannels +@all");
    for _ in 0..g.rng.below(4) {
        user.push(
            words(g.rng.pick::<&str>(&[
                "~s*", "~[l-z]*", "~?0", "~?[1-3]", "~[^ex]*", "~z1", "~none", "~h?", "~*\\*", "~x",
            ]))
            .remove(0),
        );
    }
    for _ in 0..g.rng.below(4) {
        let denied = g.rng.pick::<&str>(&[
            "-get", "-set", "-del", "-lpush", "-zadd", "-xadd", "-hset", "-sadd", "-ping",
            "-expire",
        ]);
        user.push(denied.as_bytes().to_vec());
    }
    s.push(user)?;
    s.push(words("AUTH tester x"))?;
    for _ in 0..g.rng.below(12) {
        let argv = command(s, g);
        // What SORT finds by BY and GET is denied by ours, and by 7.0 in other words.
        if matches!(nature(&argv), Nature::Plain) && !argv[0].eq_ignore_ascii_case(b"SORT") {
            s.push(argv)?;
        }
    }
    s.push(words("AUTH default x"))?;
    s.acl_log()
}

/// A blocked client, and what wakes it.
fn block(s: &mut Session, g: &mut Gen) -> Outcome {
    let (kind, wait) = *g.rng.pick(&[
        ("l", "BLPOP key 0"),
        ("l", "BRPOP key 0"),
        ("l", "BLMOVE key l4 LEFT RIGHT 0"),
        ("l", "BRPOPLPUSH key l4 0"),
        ("z", "BZPOPMIN key 0"),
        ("z", "BZPOPMAX key 0"),
        ("x", "XREAD BLOCK 0 STREAMS key $"),
        ("x", "XREADGROUP GROUP g1 alice BLOCK 0 STREAMS key >"),
    ]);
    let key = g.value(kind);
    let mut wait = words(wait);
    wait.iter_mut().filter(|w| *w == b"key").for_each(|w| *w = key.clone());
    let mut feed = match (kind, g.rng.below(8)) {
        (_, 0) => words("DEL key"),
        (_, 1) => words("SET key v"),
        ("l", _) => vec![b"RPUSH".to_vec(), vec![], g.value("v"), g.value("v")],
        ("z", _) => vec![
            b"ZADD".to_vec(),
            vec![],
            g.value("score"),
            g.value("m"),
            b"1".to_vec(),
            g.value("m"),
        ],
        _ => vec![b"XADD".to_vec(), vec![], g.value("newid"), g.value("m"), g.value("v")],
    };
    feed[1] = key;
    if s.known.avoids(&wait) || s.known.avoids(&feed) {
        return Ok(());
    }
    s.block(&wait, &feed, g.rng.pick::<&str>(&["TIMEOUT", "ERROR"]))
}

/// A subscriber on its own connection.
fn subscribe(s: &mut Session, g: &mut Gen) -> Outcome {
    let mut commands: Vec<Argv> = vec![];
    for _ in 0..g.rng.below(8) {
        commands.push(words(g.rng.pick::<&str>(&[
            "SUBSCRIBE a b",
            "PSUBSCRIBE a* [bc]",
            "UNSUBSCRIBE a",
            "PUNSUBSCRIBE a*",
            "PING",
            "PING x",
            "GET s0",
            "SUBSCRIBE",
            "PUBSUB NUMSUB a b c",
            "PUBSUB NUMPAT",
        ])));
        if s.resp == 3 && g.rng.one_in(2) {
            let publish = vec![b"PUBLISH".to_vec(), b"a".to_vec(), g.value("v")];
            if !s.known.avoids(&publish) {
                commands.push(publish);
            }
        }
    }
    commands.push(words("UNSUBSCRIBE a b"));
    commands.push(words("PUNSUBSCRIBE a* [bc]"));
    commands.push(words("ECHO the-end-of-it"));
    s.subscribe(&commands, b"the-end-of-it")
}

/// What a command needs.
enum Nature {
    Plain,
    /// It chooses at random.
    Draw,
    Scan,
    /// Its result depends on the order of the elements.
    Sort,
}

fn nature(argv: &Argv) -> Nature {
    let upper: Vec<Vec<u8>> = argv.iter().map(|a| a.to_ascii_uppercase()).collect();
    let has = |word: &[u8]| upper.iter().any(|a| a == word);
    match &upper[0][..] {
        b"SPOP" | b"SRANDMEMBER" | b"HRANDFIELD" | b"ZRANDMEMBER" | b"RANDOMKEY" => Nature::Draw,
        b"XADD" if has(b"*") => Nature::Draw,
        b"SCAN" | b"SSCAN" | b"HSCAN" | b"ZSCAN" => Nature::Scan,
        b"SORT" if is_unordered_sort(argv) => Nature::Sort,
        _ => Nature::Plain,
    }
}
