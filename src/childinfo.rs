//! `childinfo.c`: the pipe on which a forked child tells its parent its progress and how much
//! memory copy-on-write costs.
//!
//! Read first: `sendChildInfoGeneric` (the child), `receiveChildInfo` (the parent, from
//! `serverCron` and when the child ends). Differs: what the C keeps in static variables is in
//! `server.child_info`, of which parent and child each have their copy after the fork. The message
//! is a row of 64-bit numbers. There are no modules, so nobody reports a progress of its own.

use crate::anet::anetNonBlock;
use crate::log::{LL_NOTICE, LL_VERBOSE, LL_WARNING};
use crate::server_h::*;
use crate::sys::clock::getMonotonicUs;
use crate::sys::errno::error_text;
use crate::sys::fork::exitFromChild;
use crate::sys::pipe::pipe;
use crate::sys::proc::zmalloc_get_private_dirty;
use crate::sys::socket::{close, read, write};
use crate::{serverLog, trace};

/// Length of a message in bytes: four numbers.
const CHILD_INFO_LEN: usize = 4 * 8;

/// The state that each side keeps between messages.
#[derive(Default)]
pub struct ChildInfo {
    /// The child: when copy-on-write was last measured, how long that took (both in microseconds),
    /// and the result in bytes.
    cow_updated: u64,
    cow_update_cost: u64,
    cow: usize,
    /// The parent: the message being read; `child_info_nread` bytes of it are here.
    buffer: [u8; CHILD_INFO_LEN],
}

/// Opens the pipe, before the fork. Without a pipe the child works all the same, and reports
/// nothing.
pub fn openChildInfoPipe(server: &mut Server) {
    server.child_info_pipe = None;
    let Ok((reader, writer)) = pipe() else { return };
    server.child_info_pipe = Some((reader, writer));
    if anetNonBlock(reader).is_err() {
        closeChildInfoPipe(server);
    } else {
        server.child_info_nread = 0;
        trace!(server, "child_info_pipe", "what": "open");
    }
}

/// Closes both ends.
pub fn closeChildInfoPipe(server: &mut Server) {
    if let Some((reader, writer)) = server.child_info_pipe.take() {
        close(reader);
        close(writer);
        server.child_info_nread = 0;
        trace!(server, "child_info_pipe", "what": "closed");
    }
}

/// Tells the parent that `keys` keys are done, and what copy-on-write costs. `pname` names the
/// child in the log.
///
/// Called in the child. If the parent cannot be told, it is gone, and the child ends.
pub fn sendChildInfoGeneric(
    server: &mut Server,
    info_type: childInfoType,
    keys: usize,
    pname: &str,
) {
    let Some((_, writer)) = server.child_info_pipe else { return };

    // ANCHOR: cow_update_cost
    // Measuring walks through all the memory maps of the process, which takes long. While work is
    // going on it may take one part in CHILD_COW_DUTY_CYCLE of the time: a measurement that took t
    // is not repeated for 100 t. A final report always measures.
    let now = getMonotonicUs();
    let info = &mut server.child_info;
    if info_type != CHILD_INFO_TYPE_CURRENT_INFO
        || info.cow_updated == 0
        || now - info.cow_updated > info.cow_update_cost * CHILD_COW_DUTY_CYCLE as u64
    {
        info.cow = zmalloc_get_private_dirty(-1);
        info.cow_updated = getMonotonicUs();
        info.cow_update_cost = info.cow_updated - now;
        // ANCHOR_END: cow_update_cost
        if info.cow != 0 {
            let level =
                if info_type == CHILD_INFO_TYPE_CURRENT_INFO { LL_VERBOSE } else { LL_NOTICE };
            serverLog!(
                level,
                "{}: {} MB of memory used by copy-on-write",
                pname,
                info.cow / (1024 * 1024)
            );
        }
    }

    let (cow, cow_updated) = (info.cow, info.cow_updated);
    trace!(server, "child_reports", "type": pname, "keys": keys, "cow": cow);
    let message = [info_type as u64, keys as u64, cow as u64, cow_updated];
    let mut bytes = [0; CHILD_INFO_LEN];
    for (place, number) in bytes.chunks_exact_mut(8).zip(message) {
        place.copy_from_slice(&number.to_ne_bytes());
    }
    let failure = match write(writer, &bytes) {
        Ok(CHILD_INFO_LEN) => return,
        Ok(_) => "short write".to_string(),
        Err(e) => error_text(&e),
    };
    serverLog!(LL_WARNING, "Child failed reporting info to parent, exiting. {}", failure);
    exitFromChild(1);
}

/// Takes a message into the statistics.
pub fn updateChildInfo(
    server: &mut Server,
    information_type: u64,
    cow: usize,
    cow_updated: u64,
    keys: usize,
) {
    if information_type == CHILD_INFO_TYPE_CURRENT_INFO as u64 {
        server.stat_current_cow_bytes = cow;
        server.stat_current_cow_updated = cow_updated;
        server.stat_current_save_keys_processed = keys;
    } else if information_type == CHILD_INFO_TYPE_AOF_COW_SIZE as u64 {
        server.stat_aof_cow_bytes = cow;
    } else if information_type == CHILD_INFO_TYPE_RDB_COW_SIZE as u64 {
        server.stat_rdb_cow_bytes = cow;
    }
}

/// Reads the next message, if a whole one has arrived, and returns its numbers. Part of one stays
/// in the buffer for the next call.
pub fn readChildInfo(server: &mut Server) -> Option<[u64; 4]> {
    let (reader, _) = server.child_info_pipe?;
    if server.child_info_nread == CHILD_INFO_LEN {
        server.child_info_nread = 0;
    }
    if let Ok(n) = read(reader, &mut server.child_info.buffer[server.child_info_nread..]) {
        server.child_info_nread += n;
    }
    if server.child_info_nread < CHILD_INFO_LEN {
        return None;
    }
    let mut numbers = [0; 4];
    for (number, bytes) in numbers.iter_mut().zip(server.child_info.buffer.as_chunks::<8>().0) {
        *number = u64::from_ne_bytes(*bytes);
    }
    Some(numbers)
}

/// Takes in all that the child has said so far. Called once more after its end, for the final
/// message.
pub fn receiveChildInfo(server: &mut Server) {
    while let Some([information_type, keys, cow, cow_updated]) = readChildInfo(server) {
        updateChildInfo(server, information_type, cow as usize, cow_updated, keys as usize);
        trace!(server, "child_info", "child": server.child_pid, "keys": keys, "cow": cow);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_whole_or_waits() {
        let mut server = Server::default();
        openChildInfoPipe(&mut server);
        sendChildInfoGeneric(&mut server, CHILD_INFO_TYPE_CURRENT_INFO, 41, "RDB");
        sendChildInfoGeneric(&mut server, CHILD_INFO_TYPE_CURRENT_INFO, 42, "RDB");
        receiveChildInfo(&mut server);
        assert_eq!(server.stat_current_save_keys_processed, 42);

        // Half a message is no message.
        let (_, writer) = server.child_info_pipe.unwrap();
        let mut bytes = [0; CHILD_INFO_LEN];
        bytes[8] = 43;
        write(writer, &bytes[..9]).unwrap();
        receiveChildInfo(&mut server);
        assert_eq!(server.stat_current_save_keys_processed, 42);
        write(writer, &bytes[9..]).unwrap();
        receiveChildInfo(&mut server);
        assert_eq!(server.stat_current_save_keys_processed, 43);
        closeChildInfoPipe(&mut server);
        assert!(readChildInfo(&mut server).is_none());
    }
}
