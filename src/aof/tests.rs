use super::*;
use crate::args::Argv;
use crate::server::populateCommandTable;

fn new_server() -> Server {
    let mut server = Server {
        db: (0..16).map(|id| RedisDb { id, ..Default::default() }).collect(),
        dbnum: 16,
        hz: 10,
        child_pid: -1,
        aof_selected_db: -1,
        aof_state: AOF_ON,
        aof_load_truncated: true,
        list_max_ziplist_size: -2,
        hash_max_ziplist_entries: 4,
        hash_max_ziplist_value: 64,
        zset_max_ziplist_entries: 4,
        zset_max_ziplist_value: 64,
        set_max_intset_entries: 512,
        stream_node_max_bytes: 4096,
        stream_node_max_entries: 100,
        maxmemory_policy: MAXMEMORY_NO_EVICTION,
        ..Default::default()
    };
    populateCommandTable(&mut server.commands);
    server
}

fn feed(server: &mut Server, db: i32, line: &str) {
    let argv = Argv::new(&line.split(' ').collect::<Vec<_>>());
    let cmd = lookupCommand(server, &argv[0]).unwrap();
    feedAppendOnlyFile(server, cmd, db, &argv.as_args());
}

/// Takes what was fed, as lines of words.
fn fed(server: &mut Server) -> Vec<String> {
    let bytes = take(&mut server.aof_buf);
    let mut l = Loading {
        fp: rioInitWithBuffer(bytes),
        valid_up_to: 0,
        valid_before_multi: 0,
        buf: Vec::new(),
        ranges: Vec::new(),
    };
    let mut lines = Vec::new();
    while let Ok(true) = aof_read_command(&mut l) {
        let argv = Args::new(&l.buf, &l.ranges, None);
        let words: Vec<_> = argv.iter().map(|w| String::from_utf8_lossy(w)).collect();
        lines.push(words.join(" "));
    }
    lines
}

#[test]
fn commands_are_fed_with_their_db() {
    let mut server = new_server();
    for (db, line) in [(0, "SET k v"), (0, "DEL k"), (11, "INCR n"), (0, "INCR n")] {
        feed(&mut server, db, line);
    }
    assert_eq!(
        fed(&mut server),
        ["SELECT 0", "SET k v", "DEL k", "SELECT 11", "INCR n", "SELECT 0", "INCR n"]
    );
    // As received, to the byte.
    feed(&mut server, 0, "DEL k");
    assert_eq!(server.aof_buf, b"*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n");
}

#[test]
fn a_time_to_live_becomes_a_point_in_time() {
    let mut server = new_server();
    server.aof_selected_db = 0;
    let before = mstime();
    for line in ["EXPIRE k 100", "PEXPIRE k 100000", "SET k v px 100000", "EXPIREAT k 7"] {
        feed(&mut server, 0, line);
    }
    feed(&mut server, 0, "SET k v KEEPTTL");
    feed(&mut server, 0, "PEXPIREAT k 7");
    let lines = fed(&mut server);
    for (line, command) in lines.iter().zip(["PEXPIREAT k ", "PEXPIREAT k ", "SET k v PXAT "]) {
        let at = line.strip_prefix(command);
        let at = at.unwrap_or_else(|| panic!("{line:?} should begin with {command}"));
        let at: i64 = at.parse().unwrap();
        assert!((before + 100_000..=mstime() + 100_000).contains(&at), "{line}");
    }
    assert_eq!(lines[3..], ["PEXPIREAT k 7000", "SET k v KEEPTTL", "PEXPIREAT k 7"]);
}

#[test]
fn before_the_first_rewrite_only_the_rewrite_buffer_is_fed() {
    let mut server = new_server();
    server.aof_state = AOF_WAIT_REWRITE;
    feed(&mut server, 0, "SET k v");
    assert_eq!((server.aof_buf.len(), aofRewriteBufferSize(&server)), (0, 0));
    server.child_type = CHILD_TYPE_AOF;
    feed(&mut server, 0, "SET k v");
    assert_eq!((server.aof_buf.len(), aofRewriteBufferSize(&server)), (0, 27));
    server.aof_state = AOF_ON;
    feed(&mut server, 1, "SET k v");
    assert_eq!((server.aof_buf.len(), aofRewriteBufferSize(&server)), (50, 77));
}

#[test]
fn the_rewrite_buffer_goes_on_in_the_next_block() {
    let mut server = new_server();
    let bytes: Vec<u8> = (0..25_000_000u32).map(|i| (i >> 7) as u8).collect();
    let mut rest = &bytes[..];
    for size in [1, AOF_RW_BUF_BLOCK_SIZE - 1, 5, 13_000_000].into_iter().cycle() {
        let (now, later) = rest.split_at(size.min(rest.len()));
        aofRewriteBufferAppend(&mut server, now);
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    assert_eq!(aofRewriteBufferSize(&server), bytes.len());
    assert_eq!(server.aof_rewrite_buf_blocks.len(), 3);
    let path = bformat!("/tmp/fidelis-aof-{}", getpid());
    let fd = open(&path, libc::O_CREAT | libc::O_TRUNC | libc::O_RDWR, 0o600).unwrap();
    unlink(&path).unwrap();
    // What was sent is not written again.
    server.aof_rewrite_buf_blocks[0].sent = 10;
    assert_eq!(aofRewriteBufferWrite(&server, fd).unwrap(), bytes.len() - 10);
    lseek(fd, 0, libc::SEEK_SET).unwrap();
    let mut written = Vec::new();
    while read_append(fd, &mut written, 1 << 20).unwrap() != 0 {}
    close(fd);
    assert!(written == bytes[10..]);
    aofRewriteBufferReset(&mut server);
    assert_eq!(aofRewriteBufferSize(&server), 0);
}

/// Executes commands in db 0 as a load does, with whatever a load needs besides the file.
fn load(server: &mut Server, file: &[u8]) -> Result<i64, LoadStop> {
    let mut l = Loading {
        fp: rioInitWithBuffer(file.to_vec()),
        valid_up_to: 0,
        valid_before_multi: 0,
        buf: Vec::new(),
        ranges: Vec::new(),
    };
    server.loading = true;
    let c = createAOFClient(server);
    let mut done = Ok(());
    while let Ok(more) = aof_read_command(&mut l).inspect_err(|_| done = Err(())) {
        if !more {
            break;
        }
        let argv = Args::new(&l.buf, &l.ranges, None);
        let cmd = lookupCommand(server, &argv[0]).unwrap();
        server[c].cmd = Some(cmd);
        (server.commands[cmd].proc_)(server, c, &argv);
        freeFakeClientArgv(server, c);
        l.valid_up_to = rioTell(&l.fp) as i64;
    }
    freeFakeClient(server, c);
    server.loading = false;
    match done {
        Ok(()) => Ok(l.valid_up_to),
        Err(()) if rio_at_eof(&l.fp) => Err(uxeof),
        Err(()) => Err(fmterr),
    }
}

fn rewritten(server: &mut Server) -> Vec<u8> {
    let mut aof = rioInitWithBuffer(Vec::new());
    rewriteAppendOnlyFileRio(server, &mut aof).unwrap();
    rio_into_buffer(aof)
}

fn multibulk(lines: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines {
        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        catAppendOnlyGenericCommand(&mut out, argv.into_iter());
    }
    out
}

/// What the parent has answered counts: from its `!` on the child reads nothing more, and what is
/// written after that is the parent's to append.
#[test]
fn after_the_answer_nothing_is_sent_to_the_child() {
    let mut server = new_server();
    server.child_type = CHILD_TYPE_AOF;
    aofCreatePipes(&mut server).unwrap();
    let pipes = server.aof_pipes.unwrap();
    let mut buf = [0; 100];

    feed(&mut server, 0, "SET k 1");
    aofChildWriteDiffData(&mut server, pipes.write_data_to_child, 0, 0);
    let sent = read(pipes.read_data_from_parent, &mut buf).unwrap();
    assert!(buf[..sent].ends_with(b"k\r\n$1\r\n1\r\n"));
    assert_eq!(aofRewriteBufferSize(&server), 0);

    write(pipes.write_ack_to_parent, b"!").unwrap();
    aofChildPipeReadable(&mut server, pipes.read_ack_from_child, 0, 0);
    assert_eq!(read(pipes.read_ack_from_parent, &mut buf).unwrap(), 1);
    assert_eq!(buf[0], b'!');
    feed(&mut server, 0, "SET k 2");
    aofChildWriteDiffData(&mut server, pipes.write_data_to_child, 0, 0);
    assert_eq!(aofRewriteBufferSize(&server), 27, "bytes that are left for the parent to append");
    assert!(read(pipes.read_data_from_parent, &mut buf).is_err(), "nothing in the pipe");
    aofClosePipes(&mut server);
}

#[test]
fn every_type_is_rewritten_as_commands_that_make_it() {
    let mut server = new_server();
    let lines = [
        "SET s text",
        "SET n 12",
        "PEXPIREAT n 99999999999999",
        "RPUSH l a 1 -5 b",
        "SADD si 3 1 2",
        "SADD sw a",
        "ZADD zl 1.5 a -inf b 17 3",
        "ZADD zs 1 a 2 b 3 c 4 d 5 e",
        "HSET hl f v 1 2",
        "HSET hh a 1 b 2 c 3 d 4 e 5",
        "XADD x 1-1 f 1",
        "XADD x 2-2 f 1 g text",
        "XADD x 3-3 f 1",
        "XDEL x 3-3",
        "XGROUP CREATE x g 1-1",
        "XGROUP CREATECONSUMER x g idle",
        "XCLAIM x g me 0 2-2 TIME 1000 RETRYCOUNT 3 FORCE JUSTID LASTID 2-2",
        "XADD xe 5-5 f 1",
        "XTRIM xe MAXLEN 0",
        "SELECT 9",
        "SET other db",
    ];
    load(&mut server, &multibulk(&lines)).ok().unwrap();
    let aof = rewritten(&mut server);
    server.aof_buf.clone_from(&aof);
    let mut commands = fed(&mut server);
    // Times to live follow their keys; apart from that keys have no order.
    let expire = commands.iter().position(|c| c.starts_with("PEXPIREAT")).unwrap();
    assert_eq!(commands[expire - 1..=expire], ["SET n 12", "PEXPIREAT n 99999999999999"]);
    let x = commands.iter().position(|c| c.starts_with("XADD x ")).unwrap();
    assert_eq!(
        commands[x..x + 6],
        [
            "XADD x 1-1 f 1",
            "XADD x 2-2 f 1 g text",
            "XSETID x 3-3",
            "XGROUP CREATE x g 2-2",
            "XGROUP CREATECONSUMER x g idle",
            "XCLAIM x g me 0 2-2 TIME 1000 RETRYCOUNT 3 JUSTID FORCE",
        ]
    );
    let xe = commands.iter().position(|c| c.starts_with("XADD xe ")).unwrap();
    assert_eq!(commands[xe..xe + 2], ["XADD xe MAXLEN 0 0-1 x y", "XSETID xe 5-5"]);
    assert_eq!(commands[commands.len() - 2..], ["SELECT 9", "SET other db"]);
    commands.sort();
    for line in [
        "RPUSH l a 1 -5 b",
        "SADD si 1 2 3",
        "ZADD zl -inf b 1.5 a 17 3",
        "ZADD zs 5 e 4 d 3 c 2 b 1 a",
        "HMSET hl f v 1 2",
    ] {
        assert!(commands.binary_search(&line.to_string()).is_ok(), "{line} in {commands:?}");
    }

    // Read back, it is written the same.
    let mut again = new_server();
    load(&mut again, &aof).ok().unwrap();
    let mut second = rewritten(&mut again);
    again.aof_buf = take(&mut second);
    let mut second = fed(&mut again);
    second.sort();
    let unordered = |lines: &[String]| -> Vec<String> {
        lines.iter().filter(|l| !l.starts_with("HMSET hh")).cloned().collect()
    };
    assert_eq!(unordered(&second), unordered(&commands));
}

#[test]
fn a_command_has_at_most_64_elements() {
    let mut server = new_server();
    let items: Vec<String> = (0..130).map(|i| i.to_string()).collect();
    let line = format!("RPUSH l {}", items.join(" "));
    load(&mut server, &multibulk(&[&line])).ok().unwrap();
    server.aof_buf = rewritten(&mut server);
    let counts: Vec<usize> =
        fed(&mut server).iter().skip(1).map(|c| c.split(' ').count() - 2).collect();
    assert_eq!(counts, [64, 64, 2]);
}

#[test]
fn the_end_is_told_from_damage() {
    let whole = multibulk(&["SET a 1"]);
    let cases: [(&[u8], Result<i64, LoadStop>); 7] = [
        (b"", Ok(whole.len() as i64)),
        (b"*", Err(uxeof)),
        (b"*2\r\n$3\r\nGET\r\n", Err(uxeof)),
        (b"*2\r\n$3\r\nGET\r\n$900\r\nx", Err(uxeof)),
        (b"x", Err(fmterr)),
        (b"*1\r\nGET\r\n", Err(fmterr)),
        (b"*1\r\n$-3\r\n", Err(fmterr)),
    ];
    for (tail, expected) in cases {
        let file = [&whole, tail].concat();
        let mut server = new_server();
        let mut l = Loading {
            fp: rioInitWithBuffer(file),
            valid_up_to: 0,
            valid_before_multi: 0,
            buf: Vec::new(),
            ranges: Vec::new(),
        };
        assert!(matches!(aof_read_command(&mut l), Ok(true)));
        let next = match aof_read_command(&mut l) {
            Ok(more) => {
                assert!(!more);
                Ok(rioTell(&l.fp) as i64)
            }
            Err(readerr) if rio_at_eof(&l.fp) => Err(uxeof),
            Err(stop) => Err(stop),
        };
        let same = match (&next, &expected) {
            (Ok(a), Ok(b)) => a == b,
            (Err(a), Err(b)) => std::mem::discriminant(a) == std::mem::discriminant(b),
            _ => false,
        };
        assert!(same, "{:?}", String::from_utf8_lossy(tail));
        drop(take(&mut server.aof_buf));
    }
}

#[test]
fn a_flush_writes_the_buffer_and_counts_it() {
    let path = bformat!("/tmp/fidelis-aof-flush-{}", getpid());
    let fd = open(&path, libc::O_CREAT | libc::O_TRUNC | libc::O_RDWR, 0o600).unwrap();
    unlink(&path).unwrap();
    let mut server = new_server();
    server.aof_fsync = AOF_FSYNC_ALWAYS;
    server.aof_fd = Some(fd);
    server.steady_time = 5;
    feed(&mut server, 0, "SET k v");
    flushAppendOnlyFile(&mut server, false);
    assert_eq!((server.aof_current_size, server.aof_fsync_offset), (50, 50));
    assert_eq!((server.aof_last_fsync, server.aof_buf.len()), (5, 0));
    assert_eq!(file_size(fd).unwrap(), 50);

    // With a child and no-appendfsync-on-rewrite, the disk is left alone.
    server.aof_no_fsync_on_rewrite = true;
    server.child_pid = 1;
    feed(&mut server, 0, "DEL k");
    flushAppendOnlyFile(&mut server, false);
    assert_eq!((server.aof_current_size, server.aof_fsync_offset), (70, 50));

    // A file that cannot be written keeps the buffer, and stops the writes until it can.
    close(fd);
    let full = open(b"/dev/full", libc::O_WRONLY, 0).unwrap();
    server.aof_fd = Some(full);
    server.aof_fsync = AOF_FSYNC_NO;
    server.steady_time = 100;
    feed(&mut server, 0, "DEL k");
    flushAppendOnlyFile(&mut server, false);
    assert_eq!((server.aof_last_write_status, server.aof_buf.len()), (CStatus::Err, 20));
    assert_eq!(server.aof_last_write_errno, libc::ENOSPC);
    close(full);
    server.aof_fd = Some(open(b"/dev/null", libc::O_WRONLY, 0).unwrap());
    flushAppendOnlyFile(&mut server, false);
    assert_eq!((server.aof_last_write_status, server.aof_buf.len()), (CStatus::Ok, 0));
    server.aof_fd.into_iter().for_each(close);
}
