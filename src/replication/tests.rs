use super::*;
use crate::ae::{AE_DONT_WAIT, AE_FILE_EVENTS, aeProcessEvents};
use crate::connection::{Net, connAccept, connCreateAcceptedSocket};
use crate::testing::{Rng, closes};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A master with a backlog of `size` bytes at offset `offset`. Below the minimum, for short tests.
fn master(size: i64, offset: i64) -> Server {
    let mut server = Server {
        repl_backlog_size: size,
        master_repl_offset: offset,
        slaveseldb: -1,
        ..Server::default()
    };
    changeReplicationId(&mut server);
    clearReplicationId2(&mut server);
    createReplicationBacklog(&mut server);
    server
}

fn backlog_from(server: &Server, offset: i64) -> Vec<u8> {
    server.clients.repl.from(offset).collect::<Vec<_>>().concat()
}

#[test]
fn the_backlog_is_the_end_of_the_stream() {
    let mut rng = Rng::new();
    for _ in 0..200 {
        let size = 1 + rng.below(64);
        let start = rng.below(1000) as i64;
        let mut server = master(size as i64, start);
        let mut stream = Vec::new();
        for _ in 0..50 {
            let n = rng.below(2 * size + 2);
            let piece = rng.bytes(n);
            feedReplicationBacklog(&mut server, &piece);
            stream.extend_from_slice(&piece);

            let histlen = stream.len().min(size);
            assert_eq!(server.master_repl_offset, start + stream.len() as i64);
            assert_eq!(server.repl_backlog_histlen, histlen as i64);
            assert_eq!(
                server.repl_backlog_off,
                server.master_repl_offset - histlen as i64 + 1,
                "the number of the oldest byte"
            );
            for skip in 0..=histlen {
                let offset = server.repl_backlog_off + skip as i64;
                let expected = &stream[stream.len() - histlen + skip..];
                assert_eq!(backlog_from(&server, offset), expected, "from {offset}");
            }
        }
    }
}

#[test]
fn a_resized_backlog_is_empty_and_goes_on_at_the_same_offset() {
    let mut server = master(64 * 1024, 0);
    feedReplicationBacklog(&mut server, b"hello");
    resizeReplicationBacklog(&mut server, 64 * 1024);
    assert_eq!(server.repl_backlog_histlen, 5, "the same size changes nothing");

    resizeReplicationBacklog(&mut server, 1);
    assert_eq!(server.repl_backlog_size, CONFIG_REPL_BACKLOG_MIN_SIZE as i64);
    assert!(server.repl_backlog);
    assert_eq!((server.repl_backlog_histlen, server.repl_backlog_off), (0, 6));
    feedReplicationBacklog(&mut server, b"more");
    assert_eq!(backlog_from(&server, 6), b"more");

    freeReplicationBacklog(&mut server);
    resizeReplicationBacklog(&mut server, 1 << 20);
    assert!(!server.repl_backlog, "a size alone makes no backlog");
}

#[test]
fn an_offset_at_the_end_of_its_range_wraps() {
    let mut server = master(16, i64::MAX - 2);
    feedReplicationBacklog(&mut server, b"12345");
    assert_eq!(server.master_repl_offset, i64::MIN + 2);
}

/// Asks for a partial resync as a client would; whether it was granted. What the replica is sent
/// then is looked at.
fn continues(server: &mut Server, replid: &[u8], offset: i64) -> bool {
    let (c, mut theirs) = peer(server);
    let argv = Argv::new(&[b"PSYNC", replid, offset.to_string().as_bytes()]);
    let granted = masterTryPartialResynchronization(server, c, &argv.as_args(), offset).is_ok();
    assert_eq!(server.slaves.is_empty(), !granted, "a replica if and only if it goes on");
    if granted {
        let mut line = [0; 11];
        theirs.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"+CONTINUE\r\n");
        let missed = server.master_repl_offset + 1 - offset;
        assert_eq!(take_queued_reply(server, c).len() as i64, missed);
    }
    freeClient(server, c);
    granted
}

#[test]
fn a_psync_is_decided_by_id_and_offset() {
    // Bytes 101 to 150 are in the backlog, and the second id is good up to 120.
    let mut server = master(50, 100);
    server.replid = vec![b'a'; 40];
    server.replid2 = vec![b'b'; 40];
    server.second_replid_offset = 120;
    feedReplicationBacklog(&mut server, &[b'x'; 50]);

    let own: &[u8] = &[b'a'; 40];
    let own_in_capitals: &[u8] = &[b'A'; 40];
    let second: &[u8] = &[b'b'; 40];
    let table: &[(&[u8], i64, bool)] = &[
        (own, 100, false),
        (own, 101, true),
        (own_in_capitals, 101, true),
        (own, 150, true),
        (own, 151, true),
        (own, 152, false),
        (own, -1, false),
        (own, i64::MAX, false),
        (own, i64::MIN, false),
        (second, 100, false),
        (second, 101, true),
        (second, 120, true),
        (second, 121, false),
        (second, i64::MAX, false),
        (&[b'c'; 40], 120, false),
        (&[b'a'; 39], 120, false),
        (b"", 120, false),
        (b"?", -1, false),
    ];
    for &(replid, offset, expected) in table {
        assert_eq!(continues(&mut server, replid, offset), expected, "{:?} {offset}", B(replid));
    }

    server.repl_backlog = false;
    assert!(!continues(&mut server, own, 151), "there is no backlog");
}

#[test]
fn a_promoted_replica_keeps_its_old_id_up_to_the_next_byte() {
    let mut server = master(50, 50);
    let old = server.replid.clone();
    shiftReplicationId(&mut server);
    assert_eq!((&server.replid2, server.second_replid_offset), (&old, 51));
    assert_ne!(server.replid, old);
    assert_eq!(server.replid.len(), CONFIG_RUN_ID_SIZE);
    assert!(continues(&mut server, &old, 51));
    feedReplicationBacklog(&mut server, b"x");
    assert!(!continues(&mut server, &old, 52), "byte 51 is of the new history");

    clearReplicationId2(&mut server);
    assert_eq!(server.replid2, [b'0'; 40]);
    assert_eq!(server.second_replid_offset, -1);
}

#[test]
fn the_eof_mark_is_found_however_the_payload_is_cut() {
    // No byte twice, so that no shifted copy of it matches by chance.
    let mark: [u8; CONFIG_RUN_ID_SIZE] = std::array::from_fn(|i| b'0' + i as u8);
    // A payload that looks like the mark until the last byte, and again from the second one on.
    let mut payload = b"REDIS0009".to_vec();
    payload.extend_from_slice(&mark[..39]);
    payload.extend_from_slice(&mark[1..]);
    payload.extend_from_slice(&mark);

    for cut in 0..=payload.len() {
        let (head, tail) = payload.split_at(cut);
        let mut eof = EofMark::new(mark);
        assert!(!eof.feed(head) || tail.is_empty(), "too early, cut at {cut}");
        assert!(eof.feed(tail), "missed, cut at {cut}");
    }

    let mut eof = EofMark::new(mark);
    for (i, byte) in payload.iter().enumerate() {
        assert_eq!(eof.feed(&[*byte]), i == payload.len() - 1, "byte by byte, at {i}");
    }

    let mut rng = Rng::new();
    for _ in 0..200 {
        let mut eof = EofMark::new(mark);
        let mut rest = &payload[..];
        while !rest.is_empty() {
            let (piece, later) = rest.split_at((1 + rng.below(60)).min(rest.len()));
            rest = later;
            assert_eq!(eof.feed(piece), rest.is_empty());
        }
    }
}

#[test]
fn the_line_ahead_of_the_rdb() {
    let mark = [b'm'; CONFIG_RUN_ID_SIZE];
    let marked = [&b"$EOF:"[..], &mark].concat();
    assert!(matches!(parse_bulk_header(&marked), BulkHeader::Mark(m) if m == mark));
    let longer = [&marked[..], b"zzz"].concat();
    assert!(matches!(parse_bulk_header(&longer), BulkHeader::Mark(m) if m == mark));
    assert!(
        matches!(parse_bulk_header(&marked[..44]), BulkHeader::Length(0)),
        "a short mark is none"
    );
    assert!(matches!(parse_bulk_header(b""), BulkHeader::KeepAlive));
    assert!(matches!(parse_bulk_header(b"-ERR no"), BulkHeader::Error(b"ERR no")));
    assert!(matches!(parse_bulk_header(b"$175"), BulkHeader::Length(175)));
    assert!(matches!(parse_bulk_header(b"$-3"), BulkHeader::Length(-3)));
    assert!(matches!(parse_bulk_header(b"$99999999999999999999"), BulkHeader::Length(i64::MAX)));
    assert!(matches!(parse_bulk_header(b"$"), BulkHeader::Length(0)));
    assert!(matches!(parse_bulk_header(b"HTTP/1.1 400 Bad Request"), BulkHeader::Bad));
}

#[test]
fn answers_to_psync() {
    let id = [b'1'; CONFIG_RUN_ID_SIZE];
    let full = |offset: &str| [b"+FULLRESYNC ", &id[..], b" ", offset.as_bytes()].concat();
    assert_eq!(parse_fullresync_reply(&full("17")), Some((&id[..], 17)));
    assert_eq!(parse_fullresync_reply(&full("-1")), Some((&id[..], -1)));
    assert_eq!(parse_fullresync_reply(&full("junk")), Some((&id[..], 0)));
    assert_eq!(parse_fullresync_reply(&full("-2")), None);
    assert_eq!(parse_fullresync_reply(&full("9223372036854775807")), None);
    assert_eq!(parse_fullresync_reply(&full("99999999999999999999")), None);
    assert_eq!(parse_fullresync_reply(b"+FULLRESYNC"), None);
    assert_eq!(parse_fullresync_reply(b"+FULLRESYNC "), None);
    assert_eq!(parse_fullresync_reply(b"+FULLRESYNC abc 1"), None);
    assert_eq!(parse_fullresync_reply(&full("1")[..52]), None, "an id and no offset");

    let cont = [b"+CONTINUE ", &id[..]].concat();
    assert_eq!(parse_continue_reply(&cont), Some(&id[..]));
    assert_eq!(parse_continue_reply(&[&cont[..], b"\r"].concat()), Some(&id[..]));
    assert_eq!(parse_continue_reply(&cont[..49]), None, "an id that is too short");
    assert_eq!(parse_continue_reply(&[&cont[..], b"1"].concat()), None, "one that is too long");
    assert_eq!(parse_continue_reply(b"+CONTINUE"), None);
    assert_eq!(parse_continue_reply(b"+CONTINUE\r"), None);
    assert_eq!(parse_continue_reply(b"+CONTINUE "), None);

    // Any start of a good answer, and any bytes at all, are refused or taken, and nothing worse.
    let mut rng = Rng::new();
    for _ in 0..1000 {
        let mut line = full("1234");
        line.truncate(rng.below(line.len() + 1));
        for _ in 0..rng.below(4) {
            if !line.is_empty() {
                let at = rng.below(line.len());
                line[at] = rng.below(256) as u8;
            }
        }
        let _ =
            (parse_fullresync_reply(&line), parse_continue_reply(&line), parse_bulk_header(&line));
    }
}

#[test]
fn the_stream_says_which_db_it_is_in_and_keeps_the_bytes_of_a_command() {
    let mut server = master(1024, 0);
    let set = Argv::new(&["SET", "k", "v"]);
    replicationFeedSlaves(&mut server, 0, &set.as_args());
    replicationFeedSlaves(&mut server, 0, &set.as_args());
    replicationFeedSlaves(&mut server, 12, &set.as_args());
    let set = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";
    let expected = format!(
        "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n{set}{set}*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n{set}"
    );
    assert_eq!(backlog_from(&server, 1), expected.as_bytes());
    assert_eq!(server.slaveseldb, 12);

    // What was not received in the one canonical form is put into it.
    let buf = b"SET k v\r\n";
    let ranges = [(0, 3), (4, 1), (6, 1)].map(|(start, len)| crate::args::ArgRange { start, len });
    let from = server.master_repl_offset + 1;
    replicationFeedSlaves(&mut server, 12, &Args::new(buf, &ranges, None));
    assert_eq!(backlog_from(&server, from), set.as_bytes());

    // A replica has no stream of its own, and hands on that of its master.
    server.masterhost = Some(b"127.0.0.1".to_vec());
    let from = server.master_repl_offset + 1;
    replicationFeedSlaves(&mut server, 1, &Argv::new(&["DEL", "k"]).as_args());
    replicationFeedSlavesFromMasterStream(&mut server, b"\n*1\r\n$4\r\nPI");
    assert_eq!(backlog_from(&server, from), b"\n*1\r\n$4\r\nPI");
}

#[test]
fn the_prepared_selects_select() {
    for (id, select) in SELECT.iter().enumerate() {
        let expected = Argv::new(&["SELECT".to_string(), id.to_string()]);
        assert_eq!(Some(*select), expected.as_args().raw());
    }
}

#[test]
fn replicas_that_want_no_stream_get_none() {
    let mut replica = Client { replstate: SLAVE_STATE_WAIT_BGSAVE_START, ..Client::default() };
    assert!(!canFeedReplicaReplBuffer(&replica), "its RDB will hold it");
    for state in [SLAVE_STATE_WAIT_BGSAVE_END, SLAVE_STATE_SEND_BULK, SLAVE_STATE_ONLINE] {
        replica.replstate = state;
        assert!(canFeedReplicaReplBuffer(&replica));
    }
    replica.flags |= CLIENT_REPL_RDBONLY;
    assert!(!canFeedReplicaReplBuffer(&replica));
}

#[test]
fn a_good_replica_is_online_and_has_answered_lately() {
    let mut server = Server { steady_time: 100, ..Server::default() };
    for (replstate, repl_ack_time) in [
        (SLAVE_STATE_ONLINE, 100),
        (SLAVE_STATE_ONLINE, 90),
        (SLAVE_STATE_ONLINE, 89),
        (SLAVE_STATE_SEND_BULK, 100),
    ] {
        let slave = server.clients.insert(Client { replstate, repl_ack_time, ..Client::default() });
        listAddNodeTail(&mut server.slaves, slave);
    }
    refreshGoodSlavesCount(&mut server);
    assert_eq!(server.repl_good_slaves_count, 0, "not counted while nobody asks");
    server.repl_min_slaves_to_write = 1;
    server.repl_min_slaves_max_lag = 10;
    refreshGoodSlavesCount(&mut server);
    assert_eq!(server.repl_good_slaves_count, 2);
}

#[test]
fn the_handshake_is_between_ping_and_psync() {
    let mut server = Server::default();
    for (state, expected) in [
        (REPL_STATE_NONE, false),
        (REPL_STATE_CONNECT, false),
        (REPL_STATE_CONNECTING, false),
        (REPL_STATE_RECEIVE_PING_REPLY, true),
        (REPL_STATE_RECEIVE_PSYNC_REPLY, true),
        (REPL_STATE_TRANSFER, false),
        (REPL_STATE_CONNECTED, false),
    ] {
        server.repl_state = state;
        assert_eq!(slaveIsInHandshakeState(&server), expected, "{state:?}");
    }
}

#[test]
fn the_offset_of_a_replica_is_that_of_its_master_connected_or_not() {
    let mut server = Server::default();
    let master = server.clients.insert(Client { reploff: 77, ..Client::default() });
    server.cached_master = Some(master);
    assert_eq!(replicationGetSlaveOffset(&server), 0, "we are a master ourselves");
    server.masterhost = Some(b"h".to_vec());
    assert_eq!(replicationGetSlaveOffset(&server), 77);
    server[master].reploff = -1;
    server.master = server.cached_master.take();
    assert_eq!(replicationGetSlaveOffset(&server), 0);
}

/// Our master, played by the test: it listens, and speaks when we say so.
struct FakeMaster {
    listener: TcpListener,
    link: Option<TcpStream>,
}

impl FakeMaster {
    /// A replica that has begun to connect, and its master. `number` keeps the files of tests
    /// apart.
    fn of(number: i64) -> (Server, FakeMaster) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut server = Server {
            net: Net::init(4096),
            masterhost: Some(b"127.0.0.1".to_vec()),
            masterport: i32::from(listener.local_addr().unwrap().port()),
            port: 6390,
            repl_syncio_timeout: 5,
            repl_timeout: 60,
            repl_ping_slave_period: 10,
            unixtime: number,
            repl_transfer_lastio: steady_ms() / 1000,
            ..Server::default()
        };
        assert_eq!(connectWithMaster(&mut server), C_OK);
        let mut master = FakeMaster { listener, link: None };
        master.accept();
        (server, master)
    }

    fn accept(&mut self) {
        let (link, _) = self.listener.accept().unwrap();
        link.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        self.link = Some(link);
    }

    /// Sends some bytes. The replica may have hung up already.
    fn say(&mut self, bytes: &[u8]) {
        let _ = self.link.as_mut().unwrap().write_all(bytes);
    }

    fn expect(&mut self, bytes: &[u8]) {
        let mut buf = vec![0; bytes.len()];
        self.link.as_mut().unwrap().read_exact(&mut buf).unwrap();
        assert_eq!(B(&buf), B(bytes));
    }
}

/// Serves events until `done`.
fn until(server: &mut Server, done: impl Fn(&Server) -> bool) {
    for _ in 0..5000 {
        if done(server) {
            return;
        }
        if aeProcessEvents(server, AE_FILE_EVENTS | AE_DONT_WAIT) == 0 {
            usleep(1000);
        }
    }
    panic!("it did not happen; the state is {:?}", server.repl_state);
}

#[test]
fn a_replica_goes_through_the_handshake_to_the_transfer() {
    let _closes = closes();
    let (mut server, mut master) = FakeMaster::of(1_000_001);
    server.masteruser = Some(b"repl".to_vec());
    server.masterauth = Some(b"se cret".to_vec());
    server.slave_announce_ip = Some(b"10.0.0.1".to_vec());
    let server = &mut server;

    until(server, |s| s.repl_state == REPL_STATE_RECEIVE_PING_REPLY);
    master.expect(b"*1\r\n$4\r\nPING\r\n");
    master.say(b"-NOAUTH Authentication required.\r\n");
    until(server, |s| s.repl_state == REPL_STATE_RECEIVE_AUTH_REPLY);
    master.expect(
        b"*3\r\n$4\r\nAUTH\r\n$4\r\nrepl\r\n$7\r\nse cret\r\n\
            *3\r\n$8\r\nREPLCONF\r\n$14\r\nlistening-port\r\n$4\r\n6390\r\n\
            *3\r\n$8\r\nREPLCONF\r\n$10\r\nip-address\r\n$8\r\n10.0.0.1\r\n\
            *5\r\n$8\r\nREPLCONF\r\n$4\r\ncapa\r\n$3\r\neof\r\n$4\r\ncapa\r\n$6\r\npsync2\r\n",
    );
    // All answers at once, an unknown option among them: they are read one by one.
    master.say(b"+OK\r\n-ERR what\r\n+OK\r\n+OK\r\n");
    until(server, |s| s.repl_state == REPL_STATE_RECEIVE_PSYNC_REPLY);
    master.expect(b"*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n");

    let id = [b'7'; CONFIG_RUN_ID_SIZE];
    master.say(&[b"\n\n+FULLRESYNC ", &id[..], b" 1000\r\n"].concat());
    until(server, |s| s.repl_state == REPL_STATE_TRANSFER);
    assert_eq!((&server.master_replid[..], server.master_initial_offset), (&id[..], 1000));
    let tmpfile = server.repl_transfer_tmpfile.clone().unwrap();

    master.say(&[b"\n$EOF:", &id[..], b"\r\nREDIS"].concat());
    until(server, |s| s.repl_transfer_read == 5);
    master.say(&[&id[..39], b"8 0123456789"].concat());
    until(server, |s| s.repl_transfer_read == 5 + 51);
    assert!(std::fs::read(as_path(&tmpfile)).unwrap().starts_with(b"REDIS7777"));

    // The link breaks: the file goes, and the next attempt begins at once.
    master.link = None;
    until(server, |s| s.repl_state != REPL_STATE_TRANSFER);
    assert!(!as_path(&tmpfile).exists());
    master.accept();
    until(server, |s| s.repl_state == REPL_STATE_RECEIVE_PING_REPLY);
    master.say(b"HTTP/1.1 400 Bad Request\r\n");
    until(server, |s| s.repl_state == REPL_STATE_CONNECT);
    assert!(server.repl_transfer_s.is_none());
}

#[test]
fn a_replica_falls_back_to_sync() {
    let _closes = closes();
    let (mut server, mut master) = FakeMaster::of(1_000_002);
    let server = &mut server;
    master.say(b"+PONG\r\n+OK\r\n+OK\r\n");
    until(server, |s| s.repl_state == REPL_STATE_RECEIVE_PSYNC_REPLY);
    // There is nothing to continue.
    master.say(b"+CONTINUE\r\n");
    until(server, |s| s.repl_state == REPL_STATE_TRANSFER);
    master.expect(
        b"*1\r\n$4\r\nPING\r\n\
            *3\r\n$8\r\nREPLCONF\r\n$14\r\nlistening-port\r\n$4\r\n6390\r\n\
            *5\r\n$8\r\nREPLCONF\r\n$4\r\ncapa\r\n$3\r\neof\r\n$4\r\ncapa\r\n$6\r\npsync2\r\n\
            *3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n\
            SYNC\r\n",
    );
    assert_eq!(server.master_initial_offset, -1, "SYNC tells no offset");

    master.say(b"$-7\r\n");
    until(server, |s| s.repl_state != REPL_STATE_TRANSFER);
    cancelReplicationHandshake(server, false);
    assert_eq!(server.repl_state, REPL_STATE_CONNECT);
}

/// Whatever a master says, and wherever it hangs up, the replica tries again and lives.
#[test]
fn a_replica_survives_any_master() {
    let _closes = closes();
    let mut rng = Rng::new();
    let long = vec![b'+'; 5000];
    let id = [b'd'; CONFIG_RUN_ID_SIZE];
    let fullresync = [b"+FULLRESYNC ", &id[..], b" 12"].concat();
    let continues = [b"+CONTINUE ", &id[..]].concat();
    let mark = [b"$EOF:", &id[..]].concat();
    let lines: &[&[u8]] = &[
        b"+PONG",
        b"+OK",
        b"+",
        b"-",
        b"",
        b"\0\0",
        b"\xff\xfe+",
        b"-NOAUTH",
        b"-ERR",
        b"-LOADING",
        b"-NOMASTERLINK",
        b"+FULLRESYNC",
        b"+FULLRESYNC  ",
        b"+CONTINUE",
        b"+CONTINUE \r",
        b"$",
        b"$-1",
        b"$-99999999999999999999",
        b"$99999999999999999999",
        b"$EOF:",
        b"$0",
        b"$1000000",
        b"*1",
        &long,
        &fullresync,
        &continues,
        &mark,
    ];
    for round in 0..40 {
        let (mut server, mut master) = FakeMaster::of(2_000_000 + round);
        for step in 0..12 {
            // Mostly what it should say, or it would never come far.
            let line = match (step, rng.below(3)) {
                (0, 1..) => &b"+PONG"[..],
                (1..=2, 1..) => b"+OK",
                (3, 1..) => &fullresync[..],
                (_, _) => lines[rng.below(lines.len())],
            };
            let whole = rng.below(10) != 0;
            let cut = if whole { line.len() } else { rng.below(line.len() + 1) };
            master.say(&line[..cut]);
            if !whole {
                break;
            }
            master.say(b"\r\n");
            aeProcessEvents(&mut server, AE_FILE_EVENTS | AE_DONT_WAIT);
        }
        // Nobody listens any more, so that the next attempt fails, too.
        drop(master);
        until(&mut server, |s| s.repl_state == REPL_STATE_CONNECT);
        assert_eq!((server.repl_transfer_fd, &server.repl_transfer_tmpfile), (None, &None));
    }
}

/// A client of the server, and the other end of its connection.
fn peer(server: &mut Server) -> (ClientId, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let conn = connCreateAcceptedSocket(&mut server.net, ours.into_raw_fd());
    assert_eq!(connAccept(server, conn, |_, _| {}), C_OK);
    theirs.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    (createClient(server, Some(conn)), theirs)
}

/// Calls a command as the client would. Returns the reply it queued, and takes it away.
fn reply_to(server: &mut Server, c: ClientId, argv: &[&str]) -> Vec<u8> {
    let argv = Argv::new(argv);
    match &argv[0] {
        b"REPLCONF" => replconfCommand(server, c, &argv.as_args()),
        b"ROLE" => roleCommand(server, c, &argv.as_args()),
        b"REPLICAOF" => replicaofCommand(server, c, &argv.as_args()),
        _ => syncCommand(server, c, &argv.as_args()),
    }
    take_queued_reply(server, c)
}

/// Takes what is queued for a client out of its output buffer.
fn take_queued_reply(server: &mut Server, c: ClientId) -> Vec<u8> {
    let client = &mut server[c];
    let mut reply = std::mem::take(&mut client.buf);
    for node in std::mem::take(&mut client.reply) {
        if let ReplyNode::Block(block) = node {
            reply.extend_from_slice(&block);
        }
    }
    client.reply_bytes = 0;
    // Behind it comes what the stream has.
    if let Some(pos) = server[c].repl_pos {
        reply.extend(server.clients.repl.from(pos).flatten());
        server[c].repl_pos = Some(server.clients.repl.end());
    }
    reply
}

#[test]
fn a_replica_that_was_cut_off_gets_what_it_missed() {
    let mut server = master(1024, 0);
    server.net = Net::init(4096);
    server.db.push(RedisDb::default());
    let server = &mut server;
    let replid = String::from_utf8(server.replid.clone()).unwrap();
    feedReplicationBacklog(server, b"0123456789");

    let (c, mut link) = peer(server);
    assert_eq!(reply_to(server, c, &["REPLCONF", "capa", "psync2", "capa", "?"]), b"+OK\r\n");
    assert_eq!(reply_to(server, c, &["PSYNC", &replid, "4"]), b"3456789");
    let mut line = [0; 52];
    link.read_exact(&mut line).unwrap();
    assert_eq!(line[..], *format!("+CONTINUE {replid}\r\n").as_bytes());
    assert_eq!((server.stat_sync_partial_ok, server.stat_sync_full), (1, 0));
    assert_eq!(server[c].replstate, SLAVE_STATE_ONLINE);
    assert!(server.slaves.iter().eq([&c]));

    // It is a replica now, and gets the stream. SYNC it has no need of.
    assert_eq!(reply_to(server, c, &["PSYNC", "?", "-1"]), b"");
    replicationFeedSlavesFromMasterStream(server, b"abc");
    assert_eq!(take_queued_reply(server, c), b"abc");

    assert_eq!(reply_to(server, c, &["REPLCONF", "listening-port", "6390"]), b"+OK\r\n");
    assert_eq!(reply_to(server, c, &["REPLCONF", "ip-address", "::1"]), b"+OK\r\n");
    assert_eq!(reply_to(server, c, &["REPLCONF", "ACK", "13"]), b"", "not answered");
    assert_eq!(reply_to(server, c, &["REPLCONF", "ack", "12"]), b"");
    assert_eq!(server[c].repl_ack_off, 13, "never backwards");
    assert_eq!(replicationGetSlaveName(server, c), b"[::1]:6390");

    let (user, _link) = peer(server);
    assert_eq!(
        B(&reply_to(server, user, &["ROLE"])),
        B(b"*3\r\n$6\r\nmaster\r\n:13\r\n*1\r\n*3\r\n$3\r\n::1\r\n$4\r\n6390\r\n$2\r\n13\r\n")
    );
    assert_eq!(reply_to(server, user, &["REPLCONF", "ACK", "13"]), b"");
    assert_eq!(server[user].repl_ack_off, 0, "only a replica acknowledges");
}

#[test]
fn what_replconf_and_sync_refuse() {
    let mut server = master(1024, 0);
    server.net = Net::init(4096);
    server.db.push(RedisDb::default());
    let server = &mut server;
    let (c, _link) = peer(server);
    let long = "x".repeat(NET_HOST_STR_LEN);
    for (argv, reply) in [
        (&["REPLCONF", "capa"][..], "-ERR syntax error\r\n"),
        (
            &["REPLCONF", "ip-address", &long],
            "-ERR REPLCONF ip-address provided by replica instance is too long: 256 bytes\r\n",
        ),
        (&["REPLCONF", "listening-port", "x"], "-ERR value is not an integer or out of range\r\n"),
        (
            &["REPLCONF", "rdb-only", "2"],
            "-ERR value is out of range, value must between 0 and 1\r\n",
        ),
        (&["REPLCONF", "foo", "1"], "-ERR Unrecognized REPLCONF option: foo\r\n"),
        (&["PSYNC", "?", "x"], "-ERR value is not an integer or out of range\r\n"),
        (&["PSYNC", "?", "-1", "FAILOVER"], "-ERR PSYNC FAILOVER can't be sent to a master.\r\n"),
    ] {
        assert_eq!(B(&reply_to(server, c, argv)), B(reply.as_bytes()), "{argv:?}");
    }
    server[c].buf.extend_from_slice(b"+");
    assert_eq!(
        reply_to(server, c, &["SYNC"]),
        b"+-ERR SYNC and PSYNC are invalid with pending output\r\n"
    );
    server.masterhost = Some(b"127.0.0.1".to_vec());
    server.masterport = 1;
    assert_eq!(
        reply_to(server, c, &["PSYNC", "?", "-1"]),
        b"-NOMASTERLINK Can't SYNC while not connected with my master\r\n"
    );
    assert_eq!(
        reply_to(server, c, &["PSYNC", "abc", "1", "failover"]),
        b"-ERR PSYNC FAILOVER replid must match my replid.\r\n"
    );
    assert_eq!(
        reply_to(server, c, &["REPLICAOF", "127.0.0.1", "1"]),
        b"+OK Already connected to specified master\r\n"
    );
    assert_eq!(
        reply_to(server, c, &["ROLE"]),
        b"*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:1\r\n$4\r\nnone\r\n:-1\r\n"
    );
    assert_eq!(server.slaves.len(), 0);
}

/// A link breaks, and PSYNC goes on with the client that was put aside: same id, same offset,
/// nothing half-done.
#[test]
fn a_cached_master_is_continued_with_and_may_have_a_new_id() {
    let (mut server, mut fake) = FakeMaster::of(1_000_003);
    let server = &mut server;
    server.repl_backlog_size = 1024;
    server.db.push(RedisDb::default());
    server.replid = vec![b'1'; 40];
    server.master_repl_offset = 500;
    replicationCacheMasterUsingMyself(server);
    let cached = server.cached_master.unwrap();

    fake.say(b"+PONG\r\n+OK\r\n+OK\r\n");
    until(server, |s| s.repl_state == REPL_STATE_RECEIVE_PSYNC_REPLY);
    let new = [b'2'; CONFIG_RUN_ID_SIZE];
    fake.say(&[b"+CONTINUE ", &new[..], b"\r\n"].concat());
    until(server, |s| s.repl_state == REPL_STATE_CONNECTED);
    assert_eq!((server.master, server.cached_master), (Some(cached), None));
    assert_eq!((&server.replid[..], &server.replid2[..]), (&new[..], &[b'1'; 40][..]));
    assert_eq!(server.second_replid_offset, 501);
    assert_eq!(server[cached].reploff, 500);
    assert_eq!(server.repl_backlog_off, 501);

    // Cut again, in the middle of something.
    server[cached].querybuf.extend_from_slice(b"*2\r\n$3\r\nfo");
    server[cached].read_reploff += 10;
    server[cached].reply_bytes = 0;
    freeClient(server, cached);
    assert_eq!((server.master, server.cached_master), (None, Some(cached)));
    assert_eq!(server[cached].read_reploff, 500);
    assert!(server[cached].querybuf.is_empty() && server[cached].conn.is_none());
    assert_eq!(server.repl_state, REPL_STATE_CONNECTING, "it reconnects at once");

    replicationUnsetMaster(server);
    assert_eq!((server.repl_state, server.cached_master), (REPL_STATE_NONE, None));
    assert!(!server.clients.contains(cached));
    assert_eq!(server.replid2, new, "as a master it keeps the shared id");
}
