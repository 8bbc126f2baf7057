use super::*;
use crate::testing::Rng;

fn table() -> CommandTable {
    let mut table = CommandTable::default();
    populateCommandTable(&mut table);
    table
}

#[test]
fn every_command_is_found_in_any_case_and_nothing_else() {
    let (table, mut rng) = (table(), Rng::new());
    assert!(table.len() > 80);
    assert_eq!(CommandTable::default().lookup(b"get"), None);
    for cmd in &table.commands {
        for _ in 0..20 {
            let mut name = cmd.name.as_bytes().to_vec();
            for b in &mut name {
                if rng.next() & 1 == 0 {
                    b.make_ascii_uppercase();
                }
            }
            assert_eq!(table.lookup(&name), Some(cmd.id), "{}", cmd.name);
            // One byte changed, one more, one less: whatever a slow search says.
            let i = rng.next() as usize % name.len();
            let mut other = name.clone();
            other[i] = rng.next() as u8;
            let (longer, shorter) = ([&name[..], b"x"].concat(), name[..name.len() - 1].to_vec());
            for name in [other, longer, shorter] {
                let slow =
                    table.commands.iter().find(|c| c.name.as_bytes().eq_ignore_ascii_case(&name));
                assert_eq!(table.lookup(&name), slow.map(|c| c.id), "{name:?}");
            }
        }
    }
    assert_eq!(table.lookup(b""), None);
}

#[test]
fn lower_case_of_a_word_is_that_of_its_bytes() {
    let mut rng = Rng::new();
    for _ in 0..10_000 {
        let word = rng.next();
        assert_eq!(
            lower_case(word).to_le_bytes(),
            *word.to_le_bytes().to_ascii_lowercase().as_slice()
        );
    }
}

#[test]
fn a_command_can_be_renamed_and_removed() {
    let mut table = table();
    let (count, get) = (table.len(), table.lookup(b"get").unwrap());
    assert_eq!(table.rename(b"GET", b""), Ok(()));
    assert_eq!((table.lookup(b"get"), table.lookup_original_name(b"get")), (None, Some(get)));
    assert_eq!(table.rename(b"get", b"got"), Err(b"No such command in rename-command".to_vec()));
    assert_eq!(table.len(), count - 1);

    let set = table.lookup(b"set").unwrap();
    assert_eq!(table.rename(b"set", b"Very_Long_Secret_Name"), Ok(()));
    assert_eq!(table.lookup(b"very_long_SECRET_name"), Some(set));
    assert_eq!(table.lookup(b"very_loud_SECRET_name"), None);
    assert_eq!(table.iter().last().map(|c| c.name), Some("set"));
    assert_eq!(table.rename(b"mset", b"MGET"), Err(b"Target command name already exists".to_vec()));
}

#[test]
fn flags_are_words() {
    let table = table();
    let all_flags = |name: &str| table[table.lookup(name.as_bytes()).unwrap()].flags;
    let flags = |name: &str| all_flags(name) & !CMD_WORKS_ON_DATA;
    for (name, works_on_data) in [
        ("get", true),
        ("set", true),
        ("blpop", true),
        ("flushall", true),
        ("ping", true),
        ("config", false),
        ("acl", false),
        ("client", false),
        ("monitor", false),
        ("replicaof", false),
        ("multi", false),
        ("exec", false),
        ("eval", false),
        ("debug", false),
        ("pfselftest", false),
    ] {
        assert_eq!(all_flags(name) & CMD_WORKS_ON_DATA != 0, works_on_data, "{name}");
    }
    assert_eq!(
        flags("get"),
        CMD_READONLY | CMD_CATEGORY_READ | CMD_FAST | CMD_CATEGORY_FAST | CMD_CATEGORY_STRING
    );
    assert_eq!(
        flags("set"),
        CMD_WRITE | CMD_CATEGORY_WRITE | CMD_DENYOOM | CMD_CATEGORY_STRING | CMD_CATEGORY_SLOW
    );
    assert_eq!(
        flags("save"),
        CMD_ADMIN | CMD_CATEGORY_ADMIN | CMD_CATEGORY_DANGEROUS | CMD_NOSCRIPT | CMD_CATEGORY_SLOW
    );
    let mut c = table[table.lookup(b"get").unwrap()].clone();
    assert_eq!(populateCommandTableParseFlags(&mut c, "fast nonsense"), C_ERR);
    assert_eq!(populateCommandTableParseFlags(&mut c, "@nonsense"), C_ERR);
}

#[test]
fn bytes_for_people() {
    let human = |n| String::from_utf8(bytesToHuman(n)).unwrap();
    assert_eq!(human(0), "0B");
    assert_eq!(human(1023), "1023B");
    assert_eq!(human(1024), "1.00K");
    assert_eq!(human(1024 * 1024 - 1), "1024.00K");
    assert_eq!(human(1536 * 1024), "1.50M");
    assert_eq!(human(5 << 30), "5.00G");
    assert_eq!(human(7 << 40), "7.00T");
    assert_eq!(human(7 << 50), "7.00P");
    assert_eq!(human(1 << 60), "1152921504606846976B");
}

#[test]
fn sections_of_info() {
    let mut server = Server { hz: 10, ..Server::default() };
    populateCommandTable(&mut server.commands);
    let heads = |server: &mut Server, section: &str| -> Vec<String> {
        let info = String::from_utf8(genRedisInfoString(server, section.as_bytes())).unwrap();
        assert!(info.is_empty() || info.ends_with("\r\n"));
        info.split("\r\n").filter_map(|line| line.strip_prefix("# ")).map(str::to_string).collect()
    };
    let default = heads(&mut server, "default");
    assert_eq!(
        default,
        [
            "Server",
            "Clients",
            "Memory",
            "Persistence",
            "Stats",
            "Replication",
            "CPU",
            "Modules",
            "Errorstats",
            "Cluster",
            "Keyspace"
        ]
    );
    let all = heads(&mut server, "ALL");
    assert_eq!(all.len(), default.len() + 1);
    assert!(all.contains(&"Commandstats".to_string()));
    assert_eq!(heads(&mut server, "everything"), all);
    assert_eq!(heads(&mut server, "CommandStats"), ["Commandstats"]);
    assert!(heads(&mut server, "nosuch").is_empty());

    // Sections are parted by an empty line; a single one has none.
    assert!(genRedisInfoString(&mut server, b"default").windows(6).any(|w| w == b"\r\n\r\n# "));
    server.errors.insert(b"ERR:x".to_vec(), 3);
    assert_eq!(
        genRedisInfoString(&mut server, b"errorstats"),
        b"# Errorstats\r\nerrorstat_ERR_x:count=3\r\n"
    );
    let get = server.commands.lookup(b"get").unwrap();
    server.commands[get].calls = 3;
    server.commands[get].microseconds = 10;
    assert_eq!(
            genRedisInfoString(&mut server, b"commandstats"),
            b"# Commandstats\r\ncmdstat_get:calls=3,usec=10,usec_per_call=3.33,rejected_calls=0,failed_calls=0\r\n"
        );
}

#[test]
fn titles_of_the_process() {
    let mut server = Server { port: 6379, ..Server::default() };
    let title = |server: &Server, template: &[u8]| {
        expandProcTitleTemplate(server, template, b"redis-server")
    };
    let default = CONFIG_DEFAULT_PROC_TITLE_TEMPLATE;
    assert_eq!(title(&server, default).unwrap(), b"redis-server *:6379");
    server.bindaddr = vec![b"127.0.0.1".to_vec()];
    assert_eq!(title(&server, default).unwrap(), b"redis-server 127.0.0.1:6379");
    server.port = 0;
    server.unixsocket = Some(b"/tmp/s".to_vec());
    assert_eq!(
        title(&server, b" {listen-addr} {port}{config-file} ").unwrap(),
        b"unixsocket:/tmp/s 0-"
    );
    assert!(!validateProcTitleTemplate(b"{nonsense}"));
    assert!(!validateProcTitleTemplate(b"{title"));
    assert!(!validateProcTitleTemplate(b" {title} {server-mode}"));
    assert!(validateProcTitleTemplate(b"{{}"));
}

/// A master with a backlog, so that what it propagates can be seen, and a client.
fn master() -> (Server, ClientId) {
    let mut server = Server {
        hz: 10,
        db: vec![RedisDb::default()],
        slaveseldb: -1,
        repl_backlog_size: 16 * 1024,
        child_pid: -1,
        ..Server::default()
    };
    populateCommandTable(&mut server.commands);
    ACLInit(&mut server);
    crate::replication::createReplicationBacklog(&mut server);
    let client = Client { resp: 2, user: Some(DefaultUser), ..Client::default() };
    let c = server.clients.insert(client);
    server.current_client = Some(c);
    (server, c)
}

/// Executes a command as if it had been received; `proc_` is what the command does, where it is not
/// the real one.
fn run(server: &mut Server, c: ClientId, argv: &[&str], proc_: Option<redisCommandProc>) {
    if let Some(proc_) = proc_ {
        let id = server.commands.lookup(argv[0].as_bytes()).unwrap();
        server.commands[id].proc_ = proc_;
    }
    // The tests change the server in between.
    server.quiet = Quiet::Unknown;
    if !processCommand(server, c, &Argv::new(argv).as_args()).unwrap() {
        resetClient(server, c);
    }
}

/// What was propagated since the last call, a command a line.
fn stream(server: &mut Server) -> String {
    let from = server.clients.repl.end() - take(&mut server.repl_backlog_histlen);
    let bytes = server.clients.repl.from(from).collect::<Vec<_>>().concat();
    let text = String::from_utf8(bytes).unwrap();
    let words = text.split("\r\n").filter(|w| !w.starts_with('$'));
    words
        .map(|w| if w.starts_with('*') { "\n" } else { w })
        .collect::<Vec<_>>()
        .join(" ")
        .trim()
        .replace(" \n ", "\n")
}

#[test]
fn what_a_command_propagates() {
    let (mut server, c) = master();
    let server = &mut server;
    let changes: redisCommandProc = |server, _, _| server.dirty += 1;

    run(server, c, &["set", "k", "v"], Some(changes));
    assert_eq!(stream(server), "SELECT 0\nset k v");
    run(server, c, &["setnx", "k", "v"], Some(|_, _, _| {}));
    assert_eq!(stream(server), "", "nothing changed");
    run(
        server,
        c,
        &["publish", "ch", "m"],
        Some(|server, c, _| forceCommandPropagation(server, c, PROPAGATE_REPL)),
    );
    assert_eq!(stream(server), "publish ch m", "forced");
    run(
        server,
        c,
        &["incr", "k"],
        Some(|server, c, _| {
            server.dirty += 1;
            preventCommandPropagation(server, c);
        }),
    );
    assert_eq!(stream(server), "", "prevented");
    assert_eq!(server[c].flags, 0, "the flags of a command end with it");
    run(
        server,
        c,
        &["getset", "k", "v"],
        Some(|server, c, _| {
            server.dirty += 1;
            rewriteClientCommandVector(server, c, &[b"SET", b"k", b"v"]);
        }),
    );
    assert_eq!(stream(server), "SET k v", "rewritten");
}

#[test]
fn what_else_a_command_propagates() {
    let (mut server, c) = master();
    let server = &mut server;
    fn two_more(server: &mut Server, _c: ClientId, _argv: &Args) {
        let del = server.commands.delCommand;
        alsoPropagate(server, del, 0, Argv::new(&["DEL", "a"]), PROPAGATE_REPL);
        alsoPropagate(server, del, 0, Argv::new(&["DEL", "b"]), PROPAGATE_REPL | PROPAGATE_AOF);
    }
    run(server, c, &["getdel", "k"], Some(two_more));
    assert_eq!(
        stream(server),
        "SELECT 0\nMULTI\nDEL a\nDEL b\nEXEC",
        "more than one is a transaction"
    );
    run(
        server,
        c,
        &["getex", "k"],
        Some(|server, _, _| {
            let del = server.commands.delCommand;
            alsoPropagate(server, del, 0, Argv::new(&["DEL", "a"]), PROPAGATE_REPL);
        }),
    );
    assert_eq!(stream(server), "DEL a", "one is not");
    assert!(server.also_propagate.is_empty());

    // A transaction is one, with its first write: reads and refused commands are not in it.
    run(server, c, &["set", "k", "v"], Some(|server, _, _| server.dirty += 1));
    stream(server);
    for argv in [&["multi"][..], &["echo", "x"], &["getdel", "k"], &["set", "k", "v"], &["exec"]] {
        run(server, c, argv, None);
    }
    assert_eq!(stream(server), "MULTI\nDEL a\nDEL b\nset k v\nexec");
    assert!(!server.propagate_in_transaction && !server.in_exec);
    assert_eq!((server.fixed_time_expire, server.in_nested_call), (0, 0));
}

#[test]
fn what_is_refused_and_counted() {
    let (mut server, c) = master();
    let server = &mut server;
    let stats = |server: &Server, name: &str| {
        let cmd = &server.commands[server.commands.lookup(name.as_bytes()).unwrap()];
        (cmd.calls, cmd.rejected_calls, cmd.failed_calls)
    };
    run(server, c, &["nosuch", "arg"], None);
    run(server, c, &["get"], None);
    assert_eq!(server.errors[&b"ERR"[..]], 2);
    assert_eq!(stats(server, "get"), (0, 1, 0));
    run(server, c, &["echo", "x"], Some(|server, c, _| addReplyError(server, c, b"failed")));
    assert_eq!(stats(server, "echo"), (1, 0, 1));

    // Inside of EXEC an error is the command's, and not EXEC's too.
    for argv in [&["multi"][..], &["echo", "x"], &["exec"]] {
        run(server, c, argv, None);
    }
    assert_eq!((stats(server, "echo"), stats(server, "exec")), ((2, 0, 2), (1, 0, 0)));

    // An error while queueing: EXEC will refuse.
    run(server, c, &["multi"], None);
    run(server, c, &["get"], None);
    assert_ne!(server[c].flags & CLIENT_DIRTY_EXEC, 0);
    run(server, c, &["exec"], None);
    assert_eq!((server[c].flags, server.errors[&b"EXECABORT"[..]]), (0, 1));

    // States in which commands are refused, by the error's code.
    let refused = |server: &mut Server, argv: &[&str], code: &str| {
        let before = server.errors.get(code.as_bytes()).copied().unwrap_or(0);
        run(server, c, argv, None);
        assert_eq!(server.errors.get(code.as_bytes()), Some(&(before + 1)), "{argv:?}");
    };
    server.loading = true;
    refused(server, &["get", "k"], "LOADING");
    server.loading = false;
    server.stop_writes_on_bgsave_err = true;
    server.saveparams = vec![saveparam { seconds: 1, changes: 1 }];
    server.lastbgsave_status = CStatus::Err;
    refused(server, &["del", "k"], "MISCONF");
    refused(server, &["ping"], "MISCONF");
    server.lastbgsave_status = CStatus::Ok;
    (server.repl_min_slaves_to_write, server.repl_min_slaves_max_lag) = (1, 10);
    refused(server, &["del", "k"], "NOREPLICAS");
    server.masterhost = Some(b"127.0.0.1".to_vec());
    server.repl_slave_ro = true;
    refused(server, &["del", "k"], "READONLY");
    refused(server, &["get", "k"], "MASTERDOWN");
    server.masterhost = None;
    server.users[DefaultUser].flags = 0;
    refused(server, &["echo", "k"], "NOAUTH");
}

/// A table that grows moves every key's slot, and each page of slots that is written is copied while
/// a child has it too: whatever the child is for.
#[test]
fn tables_stand_still_while_a_child_lives() {
    let add = |server: &mut Server, keys: std::ops::Range<u32>| {
        for n in keys {
            server.db[0].dict.add(&n.to_le_bytes(), 1);
        }
        server.db[0].dict.rehash_ms(1, || 0);
        server.db[0].dict.dict().slots()
    };
    for child in [CHILD_TYPE_RDB, CHILD_TYPE_AOF, CHILD_TYPE_LDB, CHILD_TYPE_MODULE] {
        let (mut server, _) = master();
        let full = add(&mut server, 0..96);
        assert_eq!(full, 96);
        (server.child_pid, server.child_type) = (1, child);
        updateDictResizePolicy(&mut server);
        assert_eq!(add(&mut server, 96..192), full, "slots, with a child of type {child}");
        (server.child_pid, server.child_type) = (-1, CHILD_TYPE_NONE);
        updateDictResizePolicy(&mut server);
        assert!(add(&mut server, 192..193) > full);
    }
}

#[test]
fn a_metric_is_the_mean_of_its_samples() {
    let mut server = Server::default();
    server.inst_metric[0].samples = [16; STATS_METRIC_SAMPLES];
    assert_eq!(getInstantaneousMetric(&server, STATS_METRIC_COMMAND), 16);
    server.inst_metric[0].last_sample_time = steady_ms() - 1000;
    trackInstantaneousMetric(&mut server, STATS_METRIC_COMMAND, 3216);
    let sample = server.inst_metric[0].samples[0];
    // A busy machine makes the second longer.
    assert!((1..=3216).contains(&sample), "{sample}");
    assert_eq!(server.inst_metric[0].idx, 1);
}

#[test]
fn periods_are_counted_in_turns_of_the_cron() {
    let mut server = Server { hz: 10, ..Server::default() };
    let turns = (0..30).filter(|&loops| {
        server.cronloops = loops;
        run_with_period(&server, 1000)
    });
    assert_eq!(turns.collect::<Vec<_>>(), [0, 10, 20]);
    assert!(run_with_period(&server, 100) && run_with_period(&server, 1));
}
