//! The content of a server, read through its commands: every key of every database with all that it
//! holds.
#![allow(dead_code)] // each test binary uses its own part of this

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{Conn, Reply};

/// A value as commands tell it, without its encoding.
#[derive(Debug, PartialEq)]
pub enum Value {
    String(Vec<u8>),
    List(Vec<Vec<u8>>),
    Set(BTreeSet<Vec<u8>>),
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
    /// In the order of the set, with the scores as the shortest text that tells the double: 6.2 has
    /// 17 digits of it, and servers from 7.2 on the shortest.
    SortedSet(Vec<(Vec<u8>, String)>),
    Stream(Stream),
}

#[derive(Debug, PartialEq)]
pub struct Stream {
    pub last_id: String,
    /// Fields and values in turn.
    pub entries: Vec<(String, Vec<Vec<u8>>)>,
    pub groups: BTreeMap<Vec<u8>, Group>,
}

#[derive(Debug, PartialEq)]
pub struct Group {
    pub last_delivered_id: String,
    pub pending: Vec<Pending>,
    /// The ids that are pending for each, as its own list has them.
    pub consumers: BTreeMap<Vec<u8>, Vec<String>>,
}

#[derive(Debug, PartialEq)]
pub struct Pending {
    pub id: String,
    pub consumer: Vec<u8>,
    /// When it was delivered last, a unix time in milliseconds.
    pub delivery_time: i64,
    pub delivery_count: i64,
}

/// One key.
#[derive(Debug)]
pub struct Key {
    pub value: Value,
    pub encoding: String,
    /// When it expires, a unix time in milliseconds: no command of 6.2 tells it, so these are its
    /// earliest and latest.
    pub expires_at: Option<(i64, i64)>,
}

impl Key {
    /// The same value, and a time of expiry that can be the same, or was so `lag` milliseconds
    /// earlier or later.
    pub fn same(&self, other: &Key, lag: i64) -> bool {
        let same_time = match (self.expires_at, other.expires_at) {
            (None, None) => true,
            (Some(a), Some(b)) => a.0 <= b.1.saturating_add(lag) && b.0 <= a.1.saturating_add(lag),
            _ => false,
        };
        same_time && self.value == other.value
    }

    /// Whether its encoding is one of those that 6.2 has for the type.
    pub fn has_encoding_of_6_2(&self) -> bool {
        let known: &[&str] = match self.value {
            Value::String(_) => &["int", "embstr", "raw"],
            Value::List(_) => &["quicklist"],
            Value::Set(_) => &["intset", "hashtable"],
            Value::Hash(_) => &["ziplist", "hashtable"],
            Value::SortedSet(_) => &["ziplist", "skiplist"],
            Value::Stream(_) => &["stream"],
        };
        known.contains(&&self.encoding[..])
    }
}

/// Keys by database and name.
pub type Content = BTreeMap<(usize, Vec<u8>), Key>;

/// Everything that a server holds.
#[track_caller]
pub fn content(c: &mut Conn) -> Content {
    let mut content = Content::new();
    for db in 0..16 {
        let Reply::Status(_) = c.cmd(&["SELECT", &db.to_string()]) else { panic!("SELECT {db}") };
        // KEYS leaves out what has expired.
        for name in items(&c.cmd(&["KEYS", "*"])) {
            let key = key(c, &name);
            content.insert((db, name), key);
        }
    }
    content
}

fn key(c: &mut Conn, name: &[u8]) -> Key {
    let mut ask = |words: &[&[u8]]| c.cmd(words);
    let value = match &ask(&[b"TYPE", name]).text()[..] {
        "string" => Value::String(ask(&[b"GET", name]).bytes().to_vec()),
        "list" => Value::List(items(&ask(&[b"LRANGE", name, b"0", b"-1"]))),
        "set" => Value::Set(items(&ask(&[b"SMEMBERS", name])).into_iter().collect()),
        "hash" => Value::Hash(pairs(&ask(&[b"HGETALL", name])).into_iter().collect()),
        "zset" => {
            let pairs = pairs(&ask(&[b"ZRANGE", name, b"0", b"-1", b"WITHSCORES"]));
            let text = |score: Vec<u8>| {
                let score = String::from_utf8(score).unwrap();
                let double: f64 = score.parse().unwrap_or_else(|_| panic!("a score: {score}"));
                format!("{double:e}")
            };
            Value::SortedSet(pairs.into_iter().map(|(m, s)| (m, text(s))).collect())
        }
        "stream" => {
            Value::Stream(stream(&ask(&[b"XINFO", b"STREAM", name, b"FULL", b"COUNT", b"0"])))
        }
        other => panic!("{:?} is of type {other}", name.escape_ascii().to_string()),
    };
    let encoding = ask(&[b"OBJECT", b"ENCODING", name]).text();
    let before = milliseconds(&ask(&[b"TIME"]));
    let ttl = ask(&[b"PTTL", name]).int();
    let after = milliseconds(&ask(&[b"TIME"]));
    let expires_at = (ttl >= 0).then_some((before.saturating_add(ttl), after.saturating_add(ttl)));
    Key { value, encoding, expires_at }
}

/// The strings of an array.
pub fn items(reply: &Reply) -> Vec<Vec<u8>> {
    reply.array().iter().map(|r| r.bytes().to_vec()).collect()
}

fn pairs(reply: &Reply) -> Vec<(Vec<u8>, Vec<u8>)> {
    items(reply).chunks(2).map(|p| (p[0].clone(), p[1].clone())).collect()
}

/// The reply of TIME in milliseconds.
fn milliseconds(reply: &Reply) -> i64 {
    let [seconds, us] = reply.array() else { panic!("TIME: {reply:?}") };
    seconds.text().parse::<i64>().unwrap() * 1000 + us.text().parse::<i64>().unwrap() / 1000
}

/// The reply of XINFO STREAM FULL, of 6.2 or later.
fn stream(info: &Reply) -> Stream {
    let id_and = |r: &Reply| (r.array()[0].text(), items(&r.array()[1]));
    let consumer = |c: &Reply| {
        let ids = field(c, "pending").array().iter().map(|p| p.array()[0].text());
        (field(c, "name").bytes().to_vec(), ids.collect())
    };
    let group = |g: &Reply| {
        let pending = field(g, "pending").array().iter().map(|p| {
            let [id, consumer, time, count] = p.array() else { panic!("a pending entry: {p:?}") };
            Pending {
                id: id.text(),
                consumer: consumer.bytes().to_vec(),
                delivery_time: time.int(),
                delivery_count: count.int(),
            }
        });
        let group = Group {
            last_delivered_id: field(g, "last-delivered-id").text(),
            pending: pending.collect(),
            consumers: field(g, "consumers").array().iter().map(consumer).collect(),
        };
        (field(g, "name").bytes().to_vec(), group)
    };
    Stream {
        last_id: field(info, "last-generated-id").text(),
        entries: field(info, "entries").array().iter().map(id_and).collect(),
        groups: field(info, "groups").array().iter().map(group).collect(),
    }
}

/// A field of a map as RESP2 has it.
fn field<'a>(map: &'a Reply, name: &str) -> &'a Reply {
    let pair = map.array().chunks(2).find(|pair| pair[0].text() == name);
    &pair.unwrap_or_else(|| panic!("no {name:?} in {map:?}"))[1]
}
