//! `notify.c`: keyspace events, told through Pub/Sub.
//!
//! Differs: no modules to tell first.

use crate::pubsub::pubsubPublishMessage;
use crate::server_h::*;
use crate::util::ll2string;

/// The classes that stand for `NOTIFY_ALL` together, each with its letter, in the order they are
/// written.
const CLASSES: [(u8, i32); 10] = [
    (b'g', NOTIFY_GENERIC),
    (b'$', NOTIFY_STRING),
    (b'l', NOTIFY_LIST),
    (b's', NOTIFY_SET),
    (b'h', NOTIFY_HASH),
    (b'z', NOTIFY_ZSET),
    (b'x', NOTIFY_EXPIRED),
    (b'e', NOTIFY_EVICTED),
    (b't', NOTIFY_STREAM),
    (b'd', NOTIFY_MODULE),
];
/// The ones that do not belong to `NOTIFY_ALL`.
const OTHERS: [(u8, i32); 3] =
    [(b'K', NOTIFY_KEYSPACE), (b'E', NOTIFY_KEYEVENT), (b'm', NOTIFY_KEY_MISS)];

/// Returns the classes that a string of letters names (`notify-keyspace-events`), or `None` if one
/// of them is no class.
pub fn keyspaceEventsStringToFlags(classes: &[u8]) -> Option<i32> {
    classes.iter().try_fold(0, |flags, letter| {
        let flag = match letter {
            b'A' => NOTIFY_ALL,
            _ => CLASSES.iter().chain(&OTHERS).find(|(l, _)| l == letter)?.1,
        };
        Some(flags | flag)
    })
}

/// Returns the letters of a set of classes, as `keyspaceEventsStringToFlags` reads them.
pub fn keyspaceEventsFlagsToString(flags: i32) -> Vec<u8> {
    let letters = |classes: &[(u8, i32)]| -> Vec<u8> {
        classes.iter().filter(|(_, flag)| flags & flag != 0).map(|(letter, _)| *letter).collect()
    };
    let mut res = if flags & NOTIFY_ALL == NOTIFY_ALL { b"A".to_vec() } else { letters(&CLASSES) };
    res.extend(letters(&OTHERS));
    res
}

/// Tells those who listen that `event` (of class `type_`) happened to `key` of db `dbid`: on
/// `__keyspace@<db>__:<key>` the event is the message, on `__keyevent@<db>__:<event>` the key is.
/// Does nothing where the configuration does not ask for the class.
#[inline]
pub fn notifyKeyspaceEvent(server: &mut Server, type_: i32, event: &str, key: &[u8], dbid: usize) {
    if server.notify_keyspace_events & type_ != 0 {
        publish_keyspace_event(server, event, key, dbid);
    }
}

fn publish_keyspace_event(server: &mut Server, event: &str, key: &[u8], dbid: usize) {
    let channel =
        |prefix: &[u8], name: &[u8]| [prefix, &ll2string(dbid as i64), b"__:", name].concat();
    if server.notify_keyspace_events & NOTIFY_KEYSPACE != 0 {
        pubsubPublishMessage(server, &channel(b"__keyspace@", key), event.as_bytes());
    }
    if server.notify_keyspace_events & NOTIFY_KEYEVENT != 0 {
        pubsubPublishMessage(server, &channel(b"__keyevent@", event.as_bytes()), key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_classes() {
        assert_eq!(
            keyspaceEventsStringToFlags(b"KEA"),
            Some(NOTIFY_KEYSPACE | NOTIFY_KEYEVENT | NOTIFY_ALL)
        );
        assert_eq!(keyspaceEventsStringToFlags(b"Kq"), None);
        assert_eq!(
            keyspaceEventsFlagsToString(NOTIFY_KEYSPACE | NOTIFY_KEYEVENT | NOTIFY_ALL),
            b"AKE"
        );
        for letters in [&b"g$lshzxetd"[..5], b"xe", b"gKEm", b""] {
            assert_eq!(
                keyspaceEventsFlagsToString(keyspaceEventsStringToFlags(letters).unwrap()),
                letters
            );
        }
    }
}
