use super::*;
use crate::multi::{touchWatchedKey, watchForKey};
use crate::pubsub::{pubsubPublishMessage, pubsubSubscribeChannel};
use crate::sys::clock::pass_time;
use crate::sys::socket;
use crate::testing::Rng;

/// A server with one client on a socket, and the other end of it.
pub(crate) struct Fixture {
    pub(crate) server: Server,
    pub(crate) c: ClientId,
    theirs: RawFd,
}

impl Fixture {
    pub(crate) fn new() -> Fixture {
        let mut server = Server::default();
        server.clients.next_client_id = 1;
        server.proto_max_bulk_len = 512 * 1024 * 1024;
        server.client_max_querybuf_len = 1024 * 1024 * 1024;
        server.db.push(RedisDb::default());
        server.users.insert(User { flags: USER_FLAG_NOPASS, ..User::default() });
        let (ours, theirs) = socket::socketpair().unwrap();
        let conn = connCreateAcceptedSocket(&mut server.net, ours);
        let c = createClient(&mut server, Some(conn));
        connAccept(&mut server, conn, |_, _| ()).unwrap();
        Fixture { server, c, theirs }
    }

    /// Requires a password, and takes what the client had.
    fn require_auth(&mut self) {
        self.server.users[DefaultUser].flags = 0;
        self.server[self.c].authenticated = false;
    }

    /// Adds bytes to the query buffer as a read would, and returns the commands that are executed.
    fn feed(&mut self, bytes: &[u8]) -> Vec<Command> {
        let mut seen = Vec::new();
        self.server[self.c].querybuf.extend_from_slice(bytes);
        process_input_with(&mut self.server, self.c, |server, c, argv| {
            seen.push((argv.iter().map(<[u8]>::to_vec).collect(), argv.raw().map(<[u8]>::to_vec)));
            resetClient(server, c);
            C_OK
        });
        seen
    }

    /// All that is queued for the client.
    fn output(&self) -> Vec<u8> {
        let client = &self.server[self.c];
        let mut all = client.buf.clone();
        for node in &client.reply {
            match node {
                ReplyNode::Block(block) => all.extend_from_slice(block),
                ReplyNode::Deferred(_) => all.extend_from_slice(b"<deferred>"),
            }
        }
        assert_eq!(client.reply_bytes, client.reply.iter().map(reply_block_size).sum::<usize>());
        all
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.output()).into_owned()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if self.server.clients.contains(self.c)
            && let Some(conn) = self.server[self.c].conn
        {
            connClose(&mut self.server.net, conn);
        }
        socket::close(self.theirs);
    }
}

/// Arguments, and the raw bytes if they are as we would send them.
type Command = (Vec<Vec<u8>>, Option<Vec<u8>>);

fn words(commands: &[Command]) -> Vec<String> {
    commands
        .iter()
        .map(|(argv, _)| String::from_utf8_lossy(&argv.join(&b' ')).into_owned())
        .collect()
}

fn multibulk(argv: &[&[u8]]) -> Vec<u8> {
    argv.iter().copied().collect::<Argv>().as_args().raw().unwrap().to_vec()
}

// ---- input

#[test]
fn commands_are_the_same_wherever_the_bytes_are_cut() {
    let big = vec![b'x'; 40_000];
    let mut stream = Vec::new();
    stream.extend_from_slice(&multibulk(&[b"SET", b"k", b"v"]));
    stream.extend_from_slice(b"PING\r\n\r\nset \"a b\" 'c'\n");
    stream.extend_from_slice(b"*0\r\n*-1\r\n");
    stream.extend_from_slice(&multibulk(&[b"GET", b""]));
    stream.extend_from_slice(b"*2\rX$3\r\nGET\r\n$1\r\nkXX");
    stream.extend_from_slice(&multibulk(&[b"GET", b"a\0b\r\n"]));
    let small = stream.len();
    stream.extend_from_slice(&multibulk(&[b"SET", &big, b"end"]));
    stream.extend_from_slice(&multibulk(&[b"GET", b"last"]));

    let whole = Fixture::new().feed(&stream);
    assert_eq!(
        words(&whole)[..6],
        ["SET k v", "PING", "set a b c", "GET ", "GET k", "GET a\0b\r\n"].map(String::from)
    );
    assert_eq!(whole.len(), 8);
    assert_eq!(whole[6].0[1], big);
    for cut in (0..small + 30).chain([small + 20_000, stream.len() - 25, stream.len() - 1]) {
        let mut f = Fixture::new();
        let mut got = f.feed(&stream[..cut]);
        got.extend(f.feed(&stream[cut..]));
        assert_eq!(got, whole, "cut at {cut}");
        assert_eq!((f.text().as_str(), f.server[f.c].querybuf.len()), ("", 0), "cut at {cut}");
    }

    // And in random pieces.
    let mut rng = Rng::new();
    for _ in 0..100 {
        let mut f = Fixture::new();
        let (mut got, mut at) = (Vec::new(), 0);
        while at < stream.len() {
            let max = if rng.below(2) == 0 { 5 } else { 9000 };
            let n = (1 + rng.below(max)).min(stream.len() - at);
            got.extend(f.feed(&stream[at..at + n]));
            at += n;
        }
        assert_eq!(got, whole);
    }
}

#[test]
fn raw_bytes_are_given_where_they_are_canonical() {
    for (bytes, canonical) in [
        (&b"*1\r\n$4\r\nPING\r\n"[..], true),
        (b"*1\rX$4\r\nPING\r\n", false),
        (b"*1\r\n$4\rXPING\r\n", false),
        (b"*1\r\n$4\r\nPINGXX", false),
    ] {
        for cut in 0..bytes.len() {
            let mut f = Fixture::new();
            let mut got = f.feed(&bytes[..cut]);
            got.extend(f.feed(&bytes[cut..]));
            assert_eq!(got.len(), 1);
            assert_eq!(got[0].0, [b"PING".to_vec()]);
            assert_eq!(got[0].1.as_deref(), canonical.then_some(bytes));
        }
    }
    // An inline command is made canonical.
    let got = Fixture::new().feed(b"ECHO hi\n");
    assert_eq!(got[0].1.as_deref(), Some(&b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n"[..]));
    // A number written in another way is none at all.
    for bytes in [&b"*01\r\n$4\r\nPING\r\n"[..], b"*1\r\n$+4\r\nPING\r\n"] {
        let mut f = Fixture::new();
        assert!(f.feed(bytes).is_empty());
        assert!(f.text().starts_with("-ERR Protocol error: invalid"));
    }
}

#[test]
fn every_protocol_error_is_told_and_closes() {
    let long = vec![b'1'; PROTO_INLINE_MAX_SIZE + 2];
    let with = |head: &[u8]| [head, &long].concat();
    for (bytes, error) in [
        (with(b""), "too big inline request"),
        (b"SET \"a\n".to_vec(), "unbalanced quotes in request"),
        (with(b"*"), "too big mbulk count string"),
        (b"*1048577\r\n".to_vec(), "invalid multibulk length"),
        (b"*x\r\n".to_vec(), "invalid multibulk length"),
        (b"*99999999999999999999\r\n".to_vec(), "invalid multibulk length"),
        (with(b"*1\r\n$"), "too big bulk count string"),
        (b"*1\r\n:3\r\n".to_vec(), "expected '$', got ':'"),
        (b"*1\r\n\r\n".to_vec(), "expected '$', got ' '"),
        (b"*1\r\n$-1\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$536870913\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$9223372036854775807\r\n".to_vec(), "invalid bulk length"),
    ] {
        // After a good command, and as two reads; what follows the error is not looked at.
        for cut in [0, 1] {
            let mut f = Fixture::new();
            assert_eq!(words(&f.feed(&multibulk(&[b"PING"]))), ["PING"]);
            let mut got = f.feed(&bytes[..cut]);
            got.extend(f.feed(&bytes[cut..]));
            got.extend(f.feed(b"PING\r\n"));
            assert!(got.is_empty(), "{error}");
            assert_eq!(f.text(), format!("-ERR Protocol error: {error}\r\n"));
            let closing = CLIENT_CLOSE_AFTER_REPLY | CLIENT_PROTOCOL_ERROR;
            assert_eq!(f.server[f.c].flags & closing, closing);
        }
    }
}

#[test]
fn who_did_not_authenticate_may_send_little() {
    for (bytes, error) in [
        (&b"*11\r\n"[..], "unauthenticated multibulk length"),
        (b"*1\r\n$16385\r\n", "unauthenticated bulk length"),
    ] {
        let mut f = Fixture::new();
        f.require_auth();
        assert!(f.feed(bytes).is_empty());
        assert_eq!(f.text(), format!("-ERR Protocol error: {error}\r\n"));
    }
    let mut f = Fixture::new();
    f.require_auth();
    let args: Vec<&[u8]> = vec![b"x"; 10];
    assert_eq!(f.feed(&multibulk(&args)).len(), 1);
}

#[test]
fn a_change_of_limits_in_a_batch_counts_for_the_commands_behind_it() {
    // The first command takes the authentication away: the second is too long for what is left.
    let eleven: Vec<&[u8]> = vec![b"x"; 11];
    let stream = [multibulk(&[b"RESET"]), multibulk(&eleven)].concat();
    let mut f = Fixture::new();
    f.server[f.c].authenticated = true;
    f.server[f.c].querybuf = stream.clone();
    let mut seen = 0;
    process_input_with(&mut f.server, f.c, |server, c, _| {
        server.users[DefaultUser].flags = 0;
        server[c].authenticated = false;
        seen += 1;
        resetClient(server, c);
        C_OK
    });
    assert_eq!(seen, 1);
    assert!(f.text().contains("unauthenticated multibulk length"));
    // And the other way round: the first command authenticates.
    let mut f = Fixture::new();
    f.require_auth();
    f.server[f.c].querybuf = stream;
    let mut seen = 0;
    process_input_with(&mut f.server, f.c, |server, c, _| {
        server[c].authenticated = true;
        seen += 1;
        resetClient(server, c);
        C_OK
    });
    assert_eq!((seen, f.text().as_str()), (2, ""));
}

#[test]
fn a_batch_stops_where_its_client_may_not_go_on_and_leaves_the_rest() {
    let stream: Vec<u8> =
        (0..40).flat_map(|i| multibulk(&[b"N", i.to_string().as_bytes()])).collect();
    for flag in
        [CLIENT_BLOCKED, CLIENT_PENDING_COMMAND, CLIENT_CLOSE_AFTER_REPLY, CLIENT_CLOSE_ASAP]
    {
        for stop in [0, 5, 15, 16, 39] {
            let mut f = Fixture::new();
            f.server[f.c].querybuf = stream.clone();
            let mut seen = Vec::new();
            process_input_with(&mut f.server, f.c, |server, c, argv| {
                seen.push(argv[1].to_vec());
                if seen.len() == stop + 1 {
                    server[c].flags |= flag;
                }
                resetClient(server, c);
                C_OK
            });
            assert_eq!(seen.len(), stop + 1);
            f.server[f.c].flags &= !flag;
            let rest = f.feed(b"");
            assert_eq!(seen.len() + rest.len(), 40);
            if let Some((argv, _)) = rest.first() {
                assert_eq!(argv[1], (stop + 1).to_string().as_bytes());
            }
        }
    }
    // A client that is gone.
    let mut f = Fixture::new();
    f.server[f.c].querybuf = stream;
    let mut seen = 0;
    process_input_with(&mut f.server, f.c, |server, c, _| {
        seen += 1;
        if seen == 3 {
            unlinkClient(server, c);
            server.clients.remove(c);
            return C_ERR;
        }
        C_OK
    });
    assert_eq!(seen, 3);
}

#[test]
fn a_huge_command_in_small_pieces_is_parsed_once() {
    // 300,000 arguments in pieces of 1 KB: looking at all of it again for every piece would take
    // minutes.
    let n = 300_000;
    let mut stream = format!("*{n}\r\n").into_bytes();
    for i in 0..n {
        stream.extend_from_slice(format!("$6\r\n{i:06}\r\n").as_bytes());
    }
    let mut f = Fixture::new();
    let mut got = Vec::new();
    for piece in stream.chunks(1024) {
        got.extend(f.feed(piece));
    }
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].0.len(), n);
    assert_eq!(got[0].0[n - 1], b"299999");
    assert_eq!(got[0].1.as_deref(), Some(&stream[..]));
}

#[test]
fn the_query_buffer_is_shown_as_the_command_in_it_runs() {
    let mut f = Fixture::new();
    f.server[f.c].querybuf = multibulk(&[b"CLIENT", b"LIST"]);
    let mut info = Vec::new();
    process_input_with(&mut f.server, f.c, |server, c, _| {
        info = catClientInfoString(server, c);
        resetClient(server, c);
        C_OK
    });
    let info = String::from_utf8(info).unwrap();
    assert!(info.starts_with("id=1 addr=/unixsocket:0 laddr=/unixsocket:0 fd="), "{info}");
    assert!(
        info.contains(" name= age=0 idle=0 flags=N db=0 sub=0 psub=0 multi=-1 qbuf=26 qbuf-free="),
        "{info}"
    );
    assert!(info.contains(" argv-mem=10 obl=0 oll=0 omem=0 tot-mem="), "{info}");
    assert!(info.ends_with(" events=r cmd=NULL user= redir=-1"), "{info}");
    assert_eq!(f.server[f.c].querybuf.capacity(), 0);
}

#[test]
fn a_read_fills_the_buffer_and_the_end_of_the_stream_frees_the_client() {
    let mut f = Fixture::new();
    let conn = f.server[f.c].conn.unwrap();
    socket::write(f.theirs, b"*2\r\n$3\r\nGET\r\n$40000\r\nabc").unwrap();
    readQueryFromClient(&mut f.server, conn);
    let client = &f.server[f.c];
    assert_eq!((client.multibulklen, client.bulklen, querybuf_len(client)), (1, 40_000, 3));
    assert_eq!(client.argv_len_sum, 3);
    // The next read makes room for the argument, and no more.
    socket::write(f.theirs, b"def").unwrap();
    readQueryFromClient(&mut f.server, conn);
    let client = &f.server[f.c];
    assert_eq!(client.querybuf.capacity(), client.input.qb_parsed + 40_002);
    // Nothing to read is nothing.
    readQueryFromClient(&mut f.server, conn);
    assert_eq!(f.server[f.c].flags & CLIENT_CLOSE_ASAP, 0);
    socket::shutdown_write(f.theirs).unwrap();
    readQueryFromClient(&mut f.server, conn);
    assert_ne!(f.server[f.c].flags & CLIENT_CLOSE_ASAP, 0);
    assert_eq!(freeClientsInAsyncFreeQueue(&mut f.server), 1);
    assert!(!f.server.clients.contains(f.c));
    assert_eq!(listLength(&f.server.clients.list), 0);
    assert!(!f.server.net.contains(conn));
}

#[test]
fn gathered_bulks() {
    let mut out = vec![];
    for len in [0, 9, 10, 99, 100] {
        append_reply_bulk(&mut out, &vec![b'x'; len]);
        let expected = format!("${len}\r\n{}\r\n", "x".repeat(len));
        assert_eq!(out, expected.as_bytes());
        out.clear();
    }
}

/// A client whose reads end in the middle of a command does not leave a buffer behind each time.
#[test]
fn commands_in_halves_are_read_into_one_buffer() {
    let mut f = Fixture::new();
    let conn = f.server[f.c].conn.unwrap();
    let get = multibulk(&[b"GET", b"key"]);
    let (first, second) = get.split_at(9);
    socket::write(f.theirs, first).unwrap();
    for i in 1..10 {
        readQueryFromClient(&mut f.server, conn);
        assert!(f.server.input_scratch.read_bufs.len() <= 1);
        assert_eq!(f.server[f.c].querybuf, first);
        assert_eq!(f.text().matches("unknown command").count(), i - 1);
        socket::write(f.theirs, &[second, first].concat()).unwrap();
    }
}

// ---- output

#[test]
fn deferred_lengths_in_all_places() {
    let big = vec![b'b'; 3 * PROTO_REPLY_CHUNK_BYTES];
    for before in [
        0,
        10,
        PROTO_REPLY_CHUNK_BYTES - 1,
        PROTO_REPLY_CHUNK_BYTES,
        PROTO_REPLY_CHUNK_BYTES + 100,
        40_000,
    ] {
        for between in [0, 10, PROTO_REPLY_CHUNK_BYTES - 2, big.len()] {
            for after in [0, 10, 20_000] {
                for inner_first in [true, false] {
                    let mut f = Fixture::new();
                    let c = f.c;
                    let clients = &mut f.server.clients;
                    let mut expected = Vec::new();
                    addReplyProto(clients, c, &big[..1]);
                    addReplyProto(clients, c, &vec![b'a'; before]);
                    expected.push(b'b');
                    expected.extend(vec![b'a'; before]);
                    let outer = addReplyDeferredLen(clients, c);
                    addReplyProto(clients, c, &big[..between]);
                    let inner = addReplyDeferredLen(clients, c);
                    addReplyProto(clients, c, &vec![b'c'; after]);
                    if inner_first {
                        setDeferredMapLen(clients, c, inner, 7);
                        setDeferredArrayLen(clients, c, outer, 1234567usize);
                    } else {
                        setDeferredArrayLen(clients, c, outer, 1234567usize);
                        setDeferredMapLen(clients, c, inner, 7);
                    }
                    addReplyLongLong(clients, c, -5);
                    expected.extend(b"*1234567\r\n");
                    expected.extend(&big[..between]);
                    expected.extend(b"*14\r\n");
                    expected.extend(vec![b'c'; after]);
                    expected.extend(b":-5\r\n");
                    assert!(f.output() == expected, "{before} {between} {after} {inner_first}");
                }
            }
        }
    }
}

#[test]
fn replies_in_both_protocols() {
    for (resp, expected) in [
        (
            2,
            "$-1\r\n*-1\r\n:1\r\n:0\r\n*4\r\n*2\r\n*0\r\n*0\r\n$3\r\ntxt\r\n$2\r\n99\r\n$2\r\n-7\r\n",
        ),
        (3, "_\r\n_\r\n#t\r\n#f\r\n%2\r\n~2\r\n%0\r\n~0\r\n=7\r\ntxt:txt\r\n(99\r\n$2\r\n-7\r\n"),
    ] {
        let mut f = Fixture::new();
        let c = f.c;
        f.server[c].resp = resp;
        let cl = &mut f.server.clients;
        addReplyNull(cl, c);
        addReplyNullArray(cl, c);
        addReplyBool(cl, c, true);
        addReplyBool(cl, c, false);
        addReplyMapLen(cl, c, 2);
        addReplySetLen(cl, c, 2);
        addReply(cl, c, shared::emptymap);
        addReply(cl, c, shared::emptyset);
        addReplyVerbatim(cl, c, b"txt", "txt");
        addReplyBigNum(cl, c, b"99");
        addReplyBulkLongLong(cl, c, -7);
        assert_eq!(f.text(), expected);
    }
}

#[test]
fn doubles_in_both_protocols() {
    for (d, text) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (3.0, "3"),
        (0.1, "0.10000000000000001"),
        (-1.5, "-1.5"),
        (1e17, "1e+17"),
        (1e-5, "1.0000000000000001e-05"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (f64::MAX, "1.7976931348623157e+308"),
    ] {
        for resp in [2, 3] {
            let mut f = Fixture::new();
            f.server[f.c].resp = resp;
            addReplyDouble(&mut f.server, f.c, d);
            let expected = if resp == 2 {
                format!("${}\r\n{text}\r\n", text.len())
            } else {
                format!(",{text}\r\n")
            };
            assert_eq!(f.text(), expected);
        }
    }
}

#[test]
fn no_text_breaks_out_of_its_line() {
    let mut f = Fixture::new();
    let c = f.c;
    addReplyError(&mut f.server, c, b"a\r\n+INJECT");
    addReplyErrorFormat!(&mut f.server, c, "-CODE '{}'\r\n", B(b"x\ny"));
    addReplyStatus(&mut f.server, c, b"ok\r\n:1");
    assert_eq!(f.text(), "-ERR a  +INJECT\r\n-CODE 'x y'\r\n+ok  :1\r\n");
    let errors: Vec<_> = f.server.errors.iter().map(|(k, &n)| (k.clone(), n)).collect();
    assert_eq!(errors, [(b"CODE".to_vec(), 1), (b"ERR".to_vec(), 1)]);
    assert_eq!(f.server.stat_total_error_replies, 2);
}

#[test]
fn who_gets_no_replies_gets_none() {
    let mut f = Fixture::new();
    let c = f.c;
    for flags in [
        CLIENT_REPLY_OFF,
        CLIENT_REPLY_SKIP,
        CLIENT_MASTER,
        CLIENT_CLOSE_ASAP,
        CLIENT_CLOSE_AFTER_REPLY,
    ] {
        f.server[c].flags = flags;
        addReplyLongLong(&mut f.server, c, 5);
        addReplyBulkCBuffer(&mut f.server, c, b"x");
        let len = addReplyDeferredLen(&mut f.server, c);
        if flags != CLIENT_CLOSE_AFTER_REPLY {
            setDeferredArrayLen(&mut f.server, c, len, 1);
            assert_eq!(f.text(), "");
        }
    }
    f.server[c].reply.clear();
    f.server[c].resp = 3;
    f.server[c].flags = CLIENT_REPLY_OFF | CLIENT_PUSHING;
    addReplyPushLen(&mut f.server, c, 2);
    assert_eq!(f.text(), ">2\r\n");
}

#[test]
fn what_is_queued_arrives_in_order_and_in_turns() {
    let mut f = Fixture::new();
    let (c, conn) = (f.c, f.server[f.c].conn.unwrap());
    let mut expected = Vec::new();
    for i in 0..30_000 {
        addReplyBulkLongLong(&mut f.server, c, i);
        let text = i.to_string();
        expected.extend_from_slice(format!("${}\r\n{text}\r\n", text.len()).as_bytes());
    }
    assert_eq!(f.output(), expected);
    assert_eq!(handleClientsWithPendingWrites(&mut f.server), 1);
    assert_eq!(f.server[c].flags & CLIENT_PENDING_WRITE, 0);
    // More than fits in one turn: a handler takes over.
    assert!(connHasWriteHandler(&f.server.net, conn));
    let mut got = Vec::new();
    let mut turns = 0;
    while got.len() < expected.len() {
        let mut buf = vec![0; 50_000];
        let n = socket::read(f.theirs, &mut buf).unwrap();
        got.extend_from_slice(&buf[..n]);
        sendReplyToClient(&mut f.server, conn);
        turns += 1;
        assert!(turns < 10_000);
    }
    assert!(got == expected);
    assert!(!clientHasPendingReplies(&f.server[c]) && f.server[c].reply_bytes == 0);
    assert!(!connHasWriteHandler(&f.server.net, conn));
    assert_eq!(f.server.stat_net_output_bytes, expected.len() as i64);
}

#[test]
fn output_limits() {
    // Hard: at once. Soft: after so many seconds in a row.
    let mut f = Fixture::new();
    let c = f.c;
    f.server.clients.client_obuf_limits[CLIENT_TYPE_NORMAL] = clientBufferLimitsConfig {
        hard_limit_bytes: 100_000,
        soft_limit_bytes: 30_000,
        soft_limit_seconds: 5,
    };
    let chunk = vec![b'x'; PROTO_REPLY_CHUNK_BYTES];
    let after = |f: &mut Fixture, seconds| {
        pass_time(seconds);
        addReplyProto(&mut f.server, c, &chunk);
        f.server[c].flags & CLIENT_CLOSE_ASAP != 0
    };
    assert!(!after(&mut f, 1) && !after(&mut f, 0) && !after(&mut f, 9) && !after(&mut f, 4));
    assert!(after(&mut f, 2));
    let mut f = Fixture::new();
    f.server.clients.client_obuf_limits[CLIENT_TYPE_NORMAL].hard_limit_bytes = 100_000;
    let queued = (0..20).take_while(|_| !after(&mut f, 1)).count();
    // The first one is in the buffer, and the others in blocks that count 20,504 bytes each.
    assert_eq!(queued, 5);
    assert!(f.server[f.c].obuf_limit_reached);
    assert_eq!(freeClientsInAsyncFreeQueue(&mut f.server), 1);

    // Who did not authenticate is closed as soon as something goes to the list.
    let mut f = Fixture::new();
    f.require_auth();
    f.feed(b"PING\n");
    for _ in 0..2000 {
        addReplyErrorObject(&mut f.server, c, shared::noautherr);
    }
    assert_ne!(f.server[c].flags & CLIENT_CLOSE_ASAP, 0);
    assert!(f.output().len() <= 2 * PROTO_REPLY_CHUNK_BYTES);
}

#[test]
fn buffers_are_copied_and_moved() {
    let mut f = Fixture::new();
    let (ours, theirs) = socket::socketpair().unwrap();
    let conn = connCreateAcceptedSocket(&mut f.server.net, ours);
    let dst = createClient(&mut f.server, Some(conn));
    addReplyProto(&mut f.server, f.c, &vec![b'1'; 50_000]);
    addReplyProto(&mut f.server, f.c, b"2");
    let expected = f.output();
    copyClientOutputBuffer(&mut f.server, dst, f.c);
    let src = std::mem::replace(&mut f.c, dst);
    assert!(f.output() == expected);
    AddReplyFromClient(&mut f.server, dst, src);
    assert!(f.output() == [&expected[..], &expected[..]].concat());
    assert!(!clientHasPendingReplies(&f.server[src]));
    f.c = src;
    connClose(&mut f.server.net, conn);
    socket::close(theirs);
}

// ---- the rest

/// CVE-2025-48367.
/// Who is told of a change, or of a message, is found by its id: no list may keep that of a client
/// that is gone.
#[test]
fn a_client_that_is_gone_is_told_nothing() {
    let mut f = Fixture::new();
    watchForKey(&mut f.server, f.c, b"key");
    pubsubSubscribeChannel(&mut f.server, f.c, b"channel");
    touchWatchedKey(&mut f.server, 0, b"key");
    assert_ne!(f.server[f.c].flags & CLIENT_DIRTY_CAS, 0);
    assert_eq!(pubsubPublishMessage(&mut f.server, b"channel", b"message"), 1);

    freeClient(&mut f.server, f.c);
    touchWatchedKey(&mut f.server, 0, b"key");
    assert_eq!(pubsubPublishMessage(&mut f.server, b"channel", b"message"), 0);
    assert!(f.server.db[0].watched_keys.is_empty() && f.server.pubsub_channels.is_empty());
}

#[test]
fn errors_of_accept_that_are_about_one_connection() {
    for errno in [libc::ECONNABORTED, libc::EPROTO, libc::ENETDOWN, libc::EHOSTUNREACH] {
        assert!(accept_failure_needs_retry(errno));
    }
    for errno in [libc::EAGAIN, libc::EMFILE, libc::ENFILE, libc::EBADF] {
        assert!(!accept_failure_needs_retry(errno));
    }
}

#[test]
fn names_of_clients() {
    let mut f = Fixture::new();
    let c = f.c;
    assert_eq!(clientSetNameOrReply(&mut f.server, c, b"me!~"), C_OK);
    for bad in [&b"a b"[..], b"a\n", b"\x7f", b"\xe9"] {
        assert_eq!(clientSetNameOrReply(&mut f.server, c, bad), C_ERR);
    }
    assert_eq!(f.server[c].name.as_deref(), Some(&b"me!~"[..]));
    assert_eq!(clientSetNameOrReply(&mut f.server, c, b""), C_OK);
    assert_eq!(f.server[c].name, None);
}

#[test]
fn reply_skip_lasts_for_one_command() {
    let mut f = Fixture::new();
    let c = f.c;
    f.server[c].flags |= CLIENT_REPLY_SKIP_NEXT;
    resetClient(&mut f.server, c);
    assert_eq!(f.server[c].flags & (CLIENT_REPLY_SKIP | CLIENT_REPLY_SKIP_NEXT), CLIENT_REPLY_SKIP);
    resetClient(&mut f.server, c);
    assert_eq!(f.server[c].flags & (CLIENT_REPLY_SKIP | CLIENT_REPLY_SKIP_NEXT), 0);
}

#[test]
fn arguments_are_rewritten_and_redacted_apart() {
    let mut f = Fixture::new();
    let c = f.c;
    let sent = Argv::new(&["HELLO", "3", "AUTH", "u", "secret"]);
    redactClientCommandArgument(&mut f.server, c, &sent.as_args(), 3);
    redactClientCommandArgument(&mut f.server, c, &sent.as_args(), 4);
    let original = f.server[c].original_argv.clone().unwrap();
    assert_eq!(original, Argv::new(&["HELLO", "3", "AUTH", "(redacted)", "(redacted)"]));
    rewriteClientCommandArgument(&mut f.server, c, &sent.as_args(), 1, b"2");
    rewriteClientCommandArgument(&mut f.server, c, &sent.as_args(), 5, b"more");
    assert_eq!(f.server[c].argv, Some(Argv::new(&["HELLO", "2", "AUTH", "u", "secret", "more"])));
    assert_eq!(f.server[c].argv_len_sum, 21);
}

/// A number is written as a bulk as its text would be, as long as there is room.
#[test]
fn numbers_as_bulks() {
    let mut edges = vec![0, i64::MIN, i64::MAX];
    for digits in 0..19 {
        let n = 10i64.pow(digits);
        edges.extend([n - 1, n, n + 1, n * 7].iter().flat_map(|n| [*n, -n]));
    }
    for n in edges {
        let text = n.to_string();
        let expected = format!("${}\r\n{text}\r\n", text.len());
        let mut out = vec![];
        assert!(append_number_bulk(&mut Spare::new(&mut out, 60), n));
        assert_eq!(B(&out), B(expected.as_bytes()));
        let mut out = vec![];
        assert!(!append_number_bulk(&mut Spare::new(&mut out, 8), n) && out.is_empty());
    }
}

/// Numbers of eight digits and fewer are as itoa writes them.
#[test]
fn eight_digits_at_once() {
    let mut numbers: Vec<u64> = (0..20_000).collect();
    numbers.extend((0..100_000_000).step_by(98_765));
    numbers.extend((0..9).flat_map(|n| [10u64.pow(n), 10u64.pow(n) - 1]));
    for n in numbers {
        let text = n.to_string();
        let expected = (n < 100_000_000).then_some(text.as_bytes());
        let digits = eight_digits(n);
        assert_eq!(digits.as_ref().map(|(digits, len)| &digits[..*len]), expected);
    }
    assert!(eight_digits(-1i64 as u64).is_none());
}
