//! What one side of a replication link has sent, from the handshake on: the replica's commands, or
//! the master's answers, the RDB, and the stream with its offsets.

use super::aof::AOF;
use super::{By, Explained, Explainer, Span, damage, shown_text};

const PAYLOAD_LEN: By = By("updateSlavesWaitingBgsave", "readSyncBulkPayload");
const MARK: By = By("rdbSaveRioWithEOFMark", "readSyncBulkPayload");
const KEEP_ALIVE: By = By("replicationCron", "readSyncBulkPayload");
const STREAM: By = By("replicationFeedSlaves", "processMultibulkBuffer");

impl Explainer<'_> {
    /// Explains what the first byte tells to be the replica's side, or the master's.
    pub(super) fn psync(&mut self) -> Explained {
        match self.peek()?.first() {
            Some(b'+' | b'-' | b'$' | b'\n') => self.master_side(),
            _ => self.replica_side(),
        }
    }

    fn replica_side(&mut self) -> Explained {
        while self.left() > 0 {
            self.depth = 0;
            if self.peek()?.first() == Some(&b'\n') {
                self.byte()?;
                let by = By("replicationSendNewlineToMaster", "processMultibulkBuffer");
                self.range("newline", "it loads, and is alive".to_string(), by)?;
                continue;
            }
            if self.peek()?.first() != Some(&b'*') {
                let line = self.line(1024)?;
                let by = By("syncWithMaster", "processInlineBuffer");
                self.range("inline", shown_text(&line, line.len() as u64), by)?;
                continue;
            }
            // What a command is shows only behind its name.
            let head = self.peek()?.to_ascii_lowercase();
            let has = |name: &[u8]| head.windows(name.len()).any(|w| w == name);
            let (by, what) = if has(b"\nack\r") {
                (By("replicationSendAck", "replconfCommand"), "acknowledgement")
            } else if has(b"\nreplconf\r") {
                (By("syncWithMaster", "replconfCommand"), "what the replica is, and can")
            } else if has(b"\npsync\r") {
                (By("slaveTryPartialResynchronization", "syncCommand"), "the question")
            } else if has(b"\nauth\r") {
                (By("syncWithMaster", "authCommand"), "the password")
            } else if has(b"\nping\r") {
                (By("syncWithMaster", "pingCommand"), "is the master there?")
            } else {
                (AOF, "command")
            };
            self.command(by, what)?;
        }
        Ok(())
    }

    fn master_side(&mut self) -> Explained {
        // The offset of the first byte of the stream, once it is known.
        let mut offset = None;
        let mut in_stream = false;
        while self.left() > 0 {
            self.depth = 0;
            match self.peek()?.first() {
                Some(b'\n') => {
                    self.byte()?;
                    let meaning = "the master is alive, and not ready yet".to_string();
                    self.range("newline", meaning, KEEP_ALIVE)?;
                }
                Some(b'$') if !in_stream => {
                    self.payload()?;
                    in_stream = true;
                }
                Some(b'+' | b'-') if !in_stream => in_stream = self.answer(&mut offset)?,
                Some(b'*') => {
                    in_stream = true;
                    let before = self.file.at;
                    let what = match offset {
                        Some(offset) => format!("stream, from byte {offset} on: command"),
                        None => "stream: command".to_string(),
                    };
                    self.command(STREAM, &what)?;
                    let len = (self.file.at - before) as i64;
                    offset = offset.map(|offset: i64| offset.saturating_add(len));
                }
                _ => {
                    let line = self.line(1024)?;
                    let text = shown_text(&line, line.len() as u64);
                    self.range("inline", text, STREAM)?;
                }
            }
        }
        Ok(())
    }

    /// Explains a line of the handshake. Returns whether the stream follows it.
    fn answer(&mut self, offset: &mut Option<i64>) -> Explained<bool> {
        let line = self.line(1024)?;
        let text = shown_text(&line, line.len() as u64);
        let words: Vec<&[u8]> = line.split(|&c| c == b' ').collect();
        let number = |word: &[u8]| std::str::from_utf8(word).ok()?.parse::<i64>().ok();
        let (meaning, by, follows) = match words[..] {
            [b"+FULLRESYNC", _, last] => {
                *offset = number(last).map(|last| last.saturating_add(1));
                (
                    "a full resync: our history, and the offset of the RDB that follows",
                    By("replicationSetupSlaveForFullResync", "slaveTryPartialResynchronization"),
                    false,
                )
            }
            [b"+CONTINUE", ..] => (
                "a partial resync: what was missed follows at once",
                By("masterTryPartialResynchronization", "slaveTryPartialResynchronization"),
                true,
            ),
            [b"+PONG"] => ("the master is there", By("pingCommand", "syncWithMaster"), false),
            [b"+OK"] => ("it was understood", By("replconfCommand", "syncWithMaster"), false),
            _ => ("an answer", By("syncCommand", "syncWithMaster"), false),
        };
        self.range("answer", format!("{text}: {meaning}"), by)?;
        Ok(follows)
    }

    /// Explains the RDB of a full resync, with what tells where it ends.
    fn payload(&mut self) -> Explained {
        let line = self.line(1024)?;
        if let Some(mark) = line.strip_prefix(b"$EOF:") {
            let meaning = "an RDB of unknown length, up to these 40 bytes".to_string();
            self.range("mark", meaning, MARK)?;
            self.rdb()?;
            self.depth = 0;
            let end: [u8; 40] = self.bytes()?;
            self.range("mark", "the mark: the end of the RDB".to_string(), MARK)?;
            if end != *mark {
                return damage("it is not the mark that was announced");
            }
            return Ok(());
        }
        let len = std::str::from_utf8(&line[1..]).ok().and_then(|n| n.parse::<u64>().ok());
        let Some(len) = len else { return damage("$ and a length were expected") };
        self.range("length", format!("an RDB of {len} bytes"), PAYLOAD_LEN)?;
        if len > self.left() {
            // As far as it was captured.
            self.rdb()?;
            return damage("the RDB ends before the length that was announced");
        }
        let Span { at, .. } = self.file;
        let end = std::mem::replace(&mut self.file.end, at + len);
        let explained = self.rdb();
        self.depth = 0;
        match explained {
            Ok(()) if self.left() > 0 => self.problem("the RDB ends before its length")?,
            Ok(()) => {}
            Err(super::Stop::Damage(reason)) => self.problem(&reason)?,
            Err(stop) => return Err(stop),
        }
        let left = self.left();
        self.text(left)?;
        if self.file.start < self.file.at {
            self.range("unknown", "not explained".to_string(), By("", ""))?;
        }
        self.file.end = end;
        Ok(())
    }
}
