//! The comparison of whole data sets: digests, encodings and DUMP bytes, and each one's dumps
//! restored in the other.

use std::io;

use crate::compare::sorted;
use crate::peer::dump::same_dump;
use crate::peer::wire::{Argv, Peer, Reply, words};
use crate::session::{Outcome, Session};

/// All of them: a number that went astray may name any.
const DATABASES: std::ops::Range<u32> = 0..16;
/// The key that dumps are restored to.
const SCRATCH: &[u8] = b"restored";

/// What is asked about each key.
const QUESTIONS: [&[&str]; 4] =
    [&["TYPE"], &["OBJECT", "ENCODING"], &["DEBUG", "DIGEST-VALUE"], &["DUMP"]];

/// Compares everything.
pub fn compare(s: &mut Session) -> Outcome {
    s.flush()?;
    for db in DATABASES {
        let select = words(&format!("SELECT {db}"));
        s.ours.admin.ask(&select)?;
        s.theirs.admin.ask(&select)?;
        let keys = keys_of(&mut s.ours.admin)?;
        let theirs = keys_of(&mut s.theirs.admin)?;
        if keys != theirs {
            let odd: Argv = keys
                .iter()
                .filter(|k| !theirs.contains(k))
                .chain(theirs.iter().filter(|k| !keys.contains(k)))
                .cloned()
                .collect();
            return Err(s.difference(
                &odd,
                &format!("(these keys of db {db} exist on one side)"),
                "",
            ));
        }
        let ours = facts(&mut s.ours.admin, &keys)?;
        let theirs = facts(&mut s.theirs.admin, &keys)?;
        let limits = limits(&mut s.ours.admin)?;
        for (n, key) in keys.iter().enumerate() {
            let (a, b) = (&ours[n], &theirs[n]);
            let dumps_fit = !s.known.same_dumps() || same_dump(a[3].bytes(), b[3].bytes());
            let wrong = if a[0] != b[0] {
                0
            } else if !s.known.same_encoding(a[1].bytes(), b[1].bytes()) {
                1
            } else if a[2] != b[2] {
                2
            } else if !dumps_fit {
                3
            } else {
                continue;
            };
            let mut argv = words(&QUESTIONS[wrong].join(" "));
            argv.push(key.clone());
            return Err(s.difference(
                &argv,
                &format!("{} in db {db}, {limits}", a[wrong]),
                &b[wrong].to_string(),
            ));
        }
        cross(s, &keys, &ours, &theirs)?;
    }
    s.check(&words("DEBUG DIGEST"))
}

/// All keys, sorted. SCAN deletes what has expired on the way: DEBUG DIGEST would still count it.
fn keys_of(peer: &mut Peer) -> io::Result<Vec<Vec<u8>>> {
    let reply = peer.ask(&words("SCAN 0 COUNT 1000000"))?;
    Ok(sorted(reply.items().get(1).map_or(vec![], Reply::leaves)))
}

/// The replies to all questions about all keys.
fn facts(peer: &mut Peer, keys: &[Vec<u8>]) -> io::Result<Vec<Vec<Reply>>> {
    let ask = |key: &Vec<u8>, question: &[&str]| -> Argv {
        question.iter().map(|w| w.as_bytes().to_vec()).chain([key.clone()]).collect()
    };
    let commands: Vec<Argv> =
        keys.iter().flat_map(|k| QUESTIONS.iter().map(move |q| ask(k, q))).collect();
    peer.send(&commands)?;
    keys.iter().map(|_| QUESTIONS.iter().map(|_| peer.reply()).collect()).collect()
}

/// RESTORE of our dumps in the peer and of its dumps in ours: the values must be the same again.
fn cross(s: &mut Session, keys: &[Vec<u8>], ours: &[Vec<Reply>], theirs: &[Vec<Reply>]) -> Outcome {
    let commands = |facts: &[Vec<Reply>]| -> Vec<Argv> {
        let restore = |f: &Vec<Reply>| -> Argv {
            let payload = f[3].bytes().to_vec();
            vec![b"RESTORE".to_vec(), SCRATCH.to_vec(), b"0".to_vec(), payload, b"REPLACE".to_vec()]
        };
        facts.iter().map(restore).collect()
    };
    let mut restored = [vec![], vec![]];
    for (n, (peer, dumps)) in
        [(&mut s.ours.admin, theirs), (&mut s.theirs.admin, ours)].into_iter().enumerate()
    {
        for restore in commands(dumps) {
            peer.send([&restore])?;
            let reply = peer.reply()?;
            let facts = facts(peer, &[SCRATCH.to_vec()])?.remove(0);
            restored[n].push((reply, facts));
        }
        peer.ask(&vec![b"DEL".to_vec(), SCRATCH.to_vec()])?;
    }
    for (n, key) in keys.iter().enumerate() {
        let ((a_said, a), (b_said, b)) = (&restored[0][n], &restored[1][n]);
        // What came out of a hash table has any order, and keeps it where RESTORE makes a ziplist
        // of it.
        let same_bytes = !s.known.same_dumps()
            || [&ours[n], a].iter().any(|f| f[1].bytes() == b"hashtable")
            || same_dump(a[3].bytes(), b[3].bytes());
        if a_said.bytes() != b"OK"
            || b_said.bytes() != b"OK"
            || a[2] != b[2]
            || !s.known.same_encoding(a[1].bytes(), b[1].bytes())
            || !same_bytes
        {
            let text = |said: &Reply, f: &[Reply]| format!("{said} {} {} {}", f[1], f[2], f[3]);
            let argv = vec![b"RESTORE of the other's dump".to_vec(), key.clone()];
            return Err(s.difference(&argv, &text(a_said, a), &text(b_said, b)));
        }
    }
    Ok(())
}

/// The settings that encodings depend on, for the report.
fn limits(peer: &mut Peer) -> io::Result<String> {
    let mut text = String::new();
    for pattern in ["*-max-ziplist-*", "set-max-*", "stream-node-*"] {
        let reply = peer.ask(&words(&format!("CONFIG GET {pattern}")))?;
        for pair in reply.leaves().chunks(2) {
            text += &format!("{} ", String::from_utf8_lossy(&pair.join(&b'=')));
        }
    }
    Ok(text)
}
