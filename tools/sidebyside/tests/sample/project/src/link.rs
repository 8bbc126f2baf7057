//! `link.c`: links that are fed from a ring.

use crate::log::log_line;
use crate::ring::{Ring, ringRead};

/// The link takes what it is sent.
const LINK_UP: u32 = 1;

/// What one reader has got so far.
pub struct Link {
    offset: usize,
    flags: u32,
}

/// Begins a link that has read nothing.
pub fn linkCreate() -> Link {
    Link { offset: 0, flags: LINK_UP }
}

/// Sends what is left of the history, or nothing if the link is not up or asks for bytes that are
/// gone.
pub fn linkContinue(l: &mut Link, backlog: &Ring) -> Option<Vec<u8>> {
    if l.flags & LINK_UP == 0 {
        return None;
    }
    let Some(read) = ringRead(backlog, l.offset, 64) else {
        // What it asks for was overwritten.
        l.flags &= !LINK_UP;
        log_line("a link is gone");
        return None;
    };
    l.offset += read.len();
    Some(read)
}

/// Greets the other side, whatever the link's state is.
pub fn linkGreet(l: &mut Link) {
    say_hello(l);
    linkWrite(l, "BYE for now");
}

/// Says who the reader is.
fn say_hello(l: &mut Link) {
    // One that is up has an offset, too.
    if l.flags & LINK_UP != 0 {
        linkWrite(l, "HELLO reader");
        linkWrite(l, "OFFSET follows");
        linkFlush(l);
    }
}
