//! Users: what each of them may do, what is said and logged where one may not, and the files that
//! keep them.

#[path = "support/ask.rs"]
mod ask;
#[path = "support/random.rs"]
mod random;
mod support;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use ask::{Ask, next};
use support::*;

const WRONGPASS: &str = "-WRONGPASS invalid username-password pair or user is disabled.";
const NO_KEY: &str =
    "-NOPERM this user has no permissions to access one of the keys used as arguments";
const NO_CHANNEL: &str =
    "-NOPERM this user has no permissions to access one of the channels used as arguments";
// SHA-256 of "one" and of "two".
const ONE: &str = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
const TWO: &str = "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3";

fn no_command(name: &str) -> String {
    format!("-NOPERM this user has no permissions to run the '{name}' command or its subcommand")
}

/// A connection of a user who needs no password.
#[track_caller]
fn login(server: &TestServer, user: &str) -> Conn {
    let mut c = server.conn();
    assert_eq!(c.ask(&format!("AUTH {user} x")), "OK");
    c
}

/// The latest entries of the log, each as `count reason context object username`.
#[track_caller]
fn acl_log(c: &mut Conn) -> Vec<String> {
    let entries = c.cmd(&["ACL", "LOG"]);
    let entry = |e: &Reply| {
        let field = |i: usize| e.array()[2 * i + 1].text();
        (0..5).map(field).collect::<Vec<_>>().join(" ")
    };
    entries.array().iter().map(entry).collect()
}

/// What a rule does, as ACL LIST shows it; and what is said of a wrong one, which changes nothing.
#[test]
fn rules() {
    let mut s = TestServer::start(&[]);
    for (rules, shown) in [
        ("", "off &* -@all"),
        ("on nopass ~* +@all", "on nopass ~* &* +@all"),
        ("off resetpass resetkeys nocommands", "off &* -@all"),
        ("ON >one >two #one_hash", "on #one_hash #two_hash &* -@all"),
        ("<one", "on #two_hash &* -@all"),
        ("!two_hash ~a ~b* ~a", "on ~a ~b* &* -@all"),
        ("resetchannels &c &d* &c +get", "on ~a ~b* resetchannels &c &d* -@all +get"),
        (
            "allkeys +config|get +CONFIG|Set +config|GET",
            "on ~* resetchannels &c &d* -@all +get +config|get +config|Set",
        ),
        ("+config", "on ~* resetchannels &c &d* -@all +get +config"),
        (
            "-config +@all -config +config|get",
            "on ~* resetchannels &c &d* +@all -config +config|get",
        ),
        ("allchannels -@all +@string -get", "on ~* &* -@all +@string -get"),
        ("+@all -@dangerous", "on ~* &* +@all -@dangerous"),
        ("skip-sanitize-payload", "on skip-sanitize-payload ~* &* +@all -@dangerous"),
        ("sanitize-payload", "on sanitize-payload ~* &* +@all -@dangerous"),
        ("reset", "off sanitize-payload &* -@all"),
    ] {
        let rules = rules.replace("one_hash", ONE).replace("two_hash", TWO);
        assert_eq!(s.ask(&format!("ACL SETUSER u {rules}")), "OK", "{rules}");
        let shown = shown.replace("one_hash", ONE).replace("two_hash", TWO);
        let list = s.cmd(&["ACL", "LIST"]).array()[1].text();
        assert_eq!(list, format!("user u {shown}"), "{rules}");
    }
    for (rule, why) in [
        ("nonsense", "Syntax error"),
        ("(+get ~k)", "Syntax error"),
        ("%R~k", "Syntax error"),
        ("+config|", "Syntax error"),
        ("~a b", "Syntax error"),
        ("+config|a b", "Syntax error"),
        ("+nosuch", "Unknown command or category name in ACL"),
        ("+", "Unknown command or category name in ACL"),
        ("-config|get", "Unknown command or category name in ACL"),
        ("+@nosuch", "Unknown command or category name in ACL"),
        ("<three", "The password you are trying to remove from the user does not exist"),
        (
            "#12",
            "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters",
        ),
        (
            "!12",
            "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters",
        ),
    ] {
        assert_eq!(
            s.cmd(&["ACL", "SETUSER", "u", "on", "+@all", rule]).text(),
            format!("-ERR Error in ACL SETUSER modifier '{rule}': {why}")
        );
    }
    for (all, rule, kind) in [("~*", "~a", "keys"), ("&*", "&a", "channels")] {
        let what = if kind == "keys" { "patterns" } else { "channels" };
        assert_eq!(
            s.cmd(&["ACL", "SETUSER", "u", all, rule]).text(),
            format!(
                "-ERR Error in ACL SETUSER modifier '{rule}': Adding a pattern after the * pattern (or the 'all{kind}' flag) is not valid and does not have any effect. Try 'reset{kind}' to start with an empty list of {what}"
            )
        );
    }
    assert_eq!(
        s.cmd(&["ACL", "SETUSER", "a b", "on"]).text(),
        "-ERR Usernames can't contain spaces or null characters"
    );
    assert_eq!(
        s.ask("ACL LIST"),
        "[user default on nopass ~* &* +@all user u off sanitize-payload &* -@all]"
    );
    assert_eq!(s.ask("ACL USERS"), "[default u]");
    assert_eq!(
        s.ask("ACL GETUSER default"),
        "[flags [on allkeys allchannels allcommands nopass] passwords [] commands +@all keys [*] channels [*]]"
    );
    assert_eq!(s.ask("ACL GETUSER nobody"), "(nil)");
    let mut c = s.conn();
    c.ask("HELLO 3");
    c.ask("ACL SETUSER u >one ~k* resetchannels +get +config|get");
    let shown = format!(
        "{{flags=[off sanitize-payload] passwords=[{ONE}] commands=-@all +get +config|get keys=[k*] channels=[]}}"
    );
    assert_eq!(c.ask("ACL GETUSER u"), shown);
    c.ask("CONFIG SET acl-pubsub-default resetchannels");
    c.ask("ACL SETUSER v");
    assert!(c.ask("ACL LIST").contains("user v off resetchannels -@all"));
}

/// What the other subcommands of ACL say.
#[test]
fn acl_command() {
    let mut s = TestServer::start(&[]);
    assert_eq!(s.ask("ACL WHOAMI"), "default");
    let categories = s.cmd(&["ACL", "CAT"]);
    // How many commands each has in the C, and with REPLICATION, which is ours.
    let counts = [
        ("keyspace", 33),
        ("read", 79),
        ("write", 96),
        ("set", 17),
        ("sortedset", 33),
        ("list", 21),
        ("hash", 16),
        ("string", 22),
        ("bitmap", 7),
        ("hyperloglog", 5),
        ("geo", 10),
        ("stream", 15),
        ("pubsub", 6),
        ("admin", 23),
        ("fast", 95),
        ("slow", 130),
        ("blocking", 8),
        ("dangerous", 33),
        ("connection", 7),
        ("transaction", 5),
        ("scripting", 3),
    ];
    for (category, (name, count)) in categories.array().iter().zip(counts) {
        assert_eq!(category.text(), name);
        assert_eq!(s.cmd(&["ACL", "CAT", name]).array().len(), count, "{name}");
    }
    assert_eq!((categories.array().len(), s.cmd(&["COMMAND"]).array().len()), (21, 225));
    assert_eq!(s.ask("ACL CAT transaction"), "[multi exec discard watch unwatch]");
    assert_eq!(s.ask("ACL CAT x"), "-ERR Unknown category 'x'");
    for (bits, digits) in [("", 64), ("1", 1), ("4", 1), ("5", 2), ("4096", 1024)] {
        let pass = s.ask(&format!("ACL GENPASS {bits}"));
        assert!(pass.len() == digits && pass.bytes().all(|b| b.is_ascii_hexdigit()), "{pass}");
    }
    for bits in ["0", "4097", "-1"] {
        assert_eq!(
            s.ask(&format!("ACL GENPASS {bits}")),
            "-ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096"
        );
    }
    assert_eq!(s.ask("ACL DELUSER a default"), "-ERR The 'default' user cannot be removed");
    assert_eq!(s.ask("ACL DELUSER a b"), "0");
    for line in ["ACL LOAD", "ACL SAVE"] {
        assert!(
            s.ask(line).starts_with("-ERR This Redis instance is not configured to use an ACL")
        );
    }
    assert_eq!(
        s.ask("ACL NOSUCH"),
        "-ERR Unknown subcommand or wrong number of arguments for 'NOSUCH'. Try ACL HELP."
    );
    assert!(
        s.ask("ACL HELP")
            .starts_with("[ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")
    );
}

/// Each way in which something is denied, what is said, and what is logged of it.
#[test]
fn what_is_denied() {
    let s = TestServer::start(&[]);
    let mut admin = s.conn();
    admin.ask("SET a:1 v");
    admin.ask("ACL SETUSER u on nopass ~a:* resetchannels &c* +get +set +mget +multi +exec +discard +eval +publish +subscribe +psubscribe +config|get");
    let mut u = login(&s, "u");
    for (line, said) in [
        ("GET a:1", "v".to_string()),
        ("GET b:1", NO_KEY.into()),
        ("MGET a:1 b:1", NO_KEY.into()),
        ("DEL a:1", no_command("del")),
        ("CONFIG GET port", format!("[port {}]", s.port)),
        ("CONFIG SET port 1", no_command("config")),
        ("PUBLISH c1 m", "0".into()),
        ("PUBLISH d m", NO_CHANNEL.into()),
        ("SUBSCRIBE c1 d", NO_CHANNEL.into()),
        // A pattern has to be one of the user's own.
        ("PSUBSCRIBE c1*", NO_CHANNEL.into()),
        ("AUTH nobody x", WRONGPASS.into()),
        ("HELLO 3 AUTH default-user x", WRONGPASS.into()),
        ("NOSUCH", "-ERR unknown command `NOSUCH`, with args beginning with: ".into()),
        ("GET", "-ERR wrong number of arguments for 'get' command".into()),
    ] {
        assert_eq!(u.ask(line), said, "{line}");
    }
    let script = |u: &mut Conn, body: &str| u.cmd(&["EVAL", body, "0"]).text();
    for (body, what) in [
        ("return redis.call('DEL', 'a:1')", "run this command or subcommand"),
        (
            "return redis.call('GET', 'b:1')",
            "access at least one of the keys mentioned in the command arguments",
        ),
        (
            "return redis.call('PUBLISH', 'd', 'm')",
            "publish to the channel mentioned in the command",
        ),
    ] {
        let said = script(&mut u, body);
        assert!(said.contains(&format!("The user executing the script can't {what}")), "{said}");
    }
    assert_eq!(script(&mut u, "return redis.call('GET', 'a:1')"), "v");
    // What cannot be queued ends the transaction.
    assert_eq!(u.ask("MULTI"), "OK");
    assert_eq!(u.ask("INCR a:1"), no_command("incr"));
    assert_eq!(u.ask("EXEC"), "-EXECABORT Transaction discarded because of previous errors.");
    // What was queued and is not allowed any more is not executed; the rest is.
    assert_eq!(
        [u.ask("MULTI"), u.ask("SET a:1 1"), u.ask("GET a:1"), u.ask("PUBLISH c2 m")],
        ["OK", "QUEUED", "QUEUED", "QUEUED"]
    );
    assert_eq!(admin.ask("ACL SETUSER u -set resetchannels"), "OK");
    let head = "-NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason:";
    assert_eq!(
        u.ask("EXEC"),
        format!(
            "[{head} no permission to execute the command or subcommand v {head} no permission to access one of the channels used as arguments]"
        )
    );
    assert_eq!([u.ask("MULTI"), u.ask("GET a:1")], ["OK", "QUEUED"]);
    assert_eq!(admin.ask("ACL SETUSER u resetkeys"), "OK");
    assert_eq!(u.ask("EXEC"), format!("[{head} no permission to touch the specified keys]"));

    assert_eq!(
        acl_log(&mut admin),
        [
            "1 key multi a:1 u",
            "1 channel multi c2 u",
            "1 command multi set u",
            "1 command multi incr u",
            "1 channel lua d u",
            "1 key lua b:1 u",
            "1 command lua del u",
            "1 auth toplevel HELLO default-user",
            "1 auth toplevel AUTH nobody",
            "1 channel toplevel c1* u",
        ]
    );
    assert_eq!(admin.cmd(&["ACL", "LOG", "100"]).array().len(), 14);
    // One like an entry that is among the first ten is counted there.
    assert_eq!(u.ask("INCR x"), no_command("incr"));
    assert_eq!(u.ask("INCR y"), no_command("incr"));
    let log = admin.cmd(&["ACL", "LOG", "1"]);
    let newest = log.array()[0].array();
    let names: Vec<String> = newest.iter().step_by(2).map(Reply::text).collect();
    assert_eq!(
        names,
        ["count", "reason", "context", "object", "username", "age-seconds", "client-info"]
    );
    assert_eq!(newest[1].int(), 2);
    let info = newest[13].text();
    assert!(info.contains(" cmd=incr user=u ") && !info.contains('\n'), "{info}");
    for (count, len) in [("0", 0), ("-5", 0), ("3", 3), ("1000", 15)] {
        assert_eq!(admin.cmd(&["ACL", "LOG", count]).array().len(), len);
    }
    assert_eq!(admin.ask("ACL LOG x"), "-ERR value is not an integer or out of range");
    assert_eq!(admin.ask("CONFIG SET acllog-max-len 2"), "OK");
    u.ask("TTL a:1");
    assert_eq!(acl_log(&mut admin), ["1 command toplevel ttl u", "2 command toplevel incr u"]);
    assert_eq!([admin.ask("ACL LOG RESET"), admin.ask("ACL LOG")], ["OK", "[]"]);
}

/// Logging in: what a connection is before, after, and after a failure.
#[test]
fn logging_in() {
    let s = TestServer::start(&[]);
    let mut admin = s.conn();
    for line in ["ACL SETUSER u on >one +@all ~*", "ACL SETUSER off off nopass +@all"] {
        assert_eq!(admin.ask(line), "OK");
    }
    let mut c = s.conn();
    for line in ["AUTH u two", "AUTH nobody one", "AUTH off one", "AUTH U one"] {
        assert_eq!(c.ask(line), WRONGPASS, "{line}");
    }
    assert_eq!(c.ask("ACL WHOAMI"), "default", "who it was");
    assert_eq!([c.ask("AUTH u one"), c.ask("ACL WHOAMI")], ["OK", "u"]);
    assert!(c.ask("HELLO 3 AUTH default any SETNAME me").contains("proto=3"));
    assert_eq!(c.ask("ACL WHOAMI"), "default");
    assert!(c.ask("AUTH x").starts_with("-ERR AUTH <password> called without any password"));
    assert_eq!(c.ask("AUTH a b c"), "-ERR syntax error");
    // RESET makes it the user it began as.
    assert_eq!(
        [c.ask("AUTH u one"), c.ask("RESET"), c.ask("ACL WHOAMI")],
        ["OK", "RESET", "default"]
    );

    // Who is disabled may go on, but not come back.
    let mut u = s.conn();
    assert_eq!([u.ask("AUTH u one"), admin.ask("ACL SETUSER u off")], ["OK", "OK"]);
    assert_eq!([u.ask("PING"), u.ask("AUTH u one")], ["PONG", WRONGPASS]);
    assert!(admin.ask("CLIENT LIST").contains(" user=u "));
    assert_eq!(admin.ask("CLIENT KILL USER nobody"), "-ERR No such user 'nobody'");
    assert_eq!(admin.ask("CLIENT KILL USER u"), "1");
    assert!(u.is_closed());

    // Without its password, or disabled, `default` is nobody's any more.
    assert_eq!(admin.ask("ACL SETUSER u on"), "OK");
    assert_eq!(admin.ask("ACL SETUSER default off"), "OK");
    let mut c = s.conn();
    assert_eq!(c.ask("PING"), "-NOAUTH Authentication required.");
    assert!(c.ask("HELLO 3").starts_with("-NOAUTH HELLO must be called with the client already"));
    assert_eq!([c.ask("AUTH u one"), c.ask("PING")], ["OK", "PONG"]);
    assert_eq!(c.ask("ACL SETUSER default on resetpass"), "OK");
    assert_eq!(s.conn().ask("PING"), "-NOAUTH Authentication required.");

    // `requirepass` is the password of `default`.
    assert_eq!(c.ask("CONFIG SET requirepass two"), "OK");
    assert!(c.ask("ACL LIST").contains(&format!("user default on #{TWO} ~* &* +@all")));
    assert_eq!(s.conn().ask("AUTH two"), "OK");
    assert_eq!(c.ask("ACL SETUSER default >one"), "OK");
    assert_eq!([s.conn().ask("AUTH one"), s.conn().ask("AUTH two")], ["OK", "OK"]);
    assert_eq!(c.cmd(&["CONFIG", "SET", "requirepass", ""]).text(), "OK");
    assert!(c.ask("ACL LIST").contains("user default on nopass ~* &* +@all"));
}

/// Passwords are seen by nobody.
#[test]
fn passwords_are_redacted() {
    let s = TestServer::start(&["--slowlog-log-slower-than", "0"]);
    let mut c = s.conn();
    c.ask("CONFIG SET slowlog-max-len 0");
    c.ask("CONFIG SET slowlog-max-len 100");
    for line in [
        "ACL SETUSER u on >secret +@all",
        "ACL SETUSER u nonsense",
        "ACL GETUSER u",
        "AUTH u secret",
        "AUTH u wrong",
        "HELLO 2 AUTH u secret SETNAME me",
        "MULTI",
        "AUTH u secret",
        "ACL SETUSER u >secret <wrong",
        "EXEC",
    ] {
        c.ask(line);
    }
    let seen = c.ask("SLOWLOG GET");
    for word in ["secret", "wrong", "nonsense"] {
        assert!(!seen.contains(word), "{seen}");
    }
    for line in [
        "[ACL SETUSER (redacted) (redacted) (redacted) (redacted)]",
        "[ACL SETUSER (redacted) (redacted)]",
        "[ACL GETUSER u]",
        "[AUTH (redacted) (redacted)]",
        "[HELLO 2 AUTH (redacted) (redacted) SETNAME me]",
    ] {
        assert!(seen.contains(line), "{line}: {seen}");
    }
}

/// A user who is removed is so at once: its connections are closed, the one that asked for it when
/// it has the reply.
#[test]
fn removed_users_lose_their_connections() {
    let s = TestServer::start(&[]);
    let mut admin = s.conn();
    for user in ["u", "v", "w"] {
        admin.ask(&format!("ACL SETUSER {user} on nopass ~* +@all"));
    }
    let [mut u, mut v, mut blocked, mut sub] = ["u", "v", "u", "u"].map(|user| login(&s, user));
    blocked.send(&["BLPOP", "nothing", "0"]);
    assert_eq!(sub.ask("SUBSCRIBE c"), "[subscribe c 1]");
    wait_for("it blocks", || s.info("blocked_clients") == "1");
    assert_eq!(admin.ask("ACL DELUSER u nobody"), "1");
    assert!(u.is_closed() && blocked.is_closed() && sub.is_closed());
    assert_eq!(v.ask("PING"), "PONG");

    // Its own, in a transaction. What comes behind that is not executed.
    let mut again = login(&s, "v");
    for line in ["MULTI", "SET k 1", "ACL DELUSER v", "SET l 1"] {
        v.ask(line);
    }
    v.raw(&[Conn::encode(&["EXEC"]), Conn::encode(&["SET", "m", "1"])].concat()).unwrap();
    let said = v.read_to_end();
    assert!(said.starts_with(b"*3\r\n+OK\r\n:1\r\n"), "{}", String::from_utf8_lossy(&said));
    assert!(again.is_closed());
    assert_eq!(admin.ask("EXISTS m"), "0");
    assert_eq!(admin.ask("ACL USERS"), "[default w]");
    // A new user who gets the place of an old one has nothing of it.
    let mut w = login(&s, "w");
    assert_eq!(admin.ask("ACL SETUSER x on nopass"), "OK");
    assert_eq!([w.ask("ACL WHOAMI"), login(&s, "x").ask("GET k")], ["w".into(), no_command("get")]);
}

/// A connection whose user goes by ACL LOAD is being closed already, for what it was sent, and one
/// by CLIENT KILL, all in one transaction.
#[test]
fn users_go_while_their_clients_are_closed() {
    let dir = Folder::new();
    let default = "user default on nopass ~* &* +@all\n";
    std::fs::write(dir.path("users.acl"), format!("{default}user u on nopass ~* &* +@all\n"))
        .unwrap();
    let args =
        ["--aclfile", "users.acl", "--client-output-buffer-limit", "pubsub", "100000", "0", "0"];
    let s = TestServer::start_in(dir, OURS, &args);
    let mut admin = s.conn();
    let [mut sub, mut killed, mut u] = [(); 3].map(|()| login(&s, "u"));
    assert_eq!(sub.ask("SUBSCRIBE c"), "[subscribe c 1]");
    let id = killed.ask("CLIENT ID");
    std::fs::write(s.dir.path("users.acl"), default).unwrap();
    let message = "x".repeat(300_000);
    admin.ask("MULTI");
    assert_eq!(admin.cmd(&["PUBLISH", "c", &message]).text(), "QUEUED");
    // The new user gets the place of the old one.
    for line in [&format!("CLIENT KILL ID {id}"), "ACL LOAD", "ACL SETUSER v on nopass +@all"] {
        assert_eq!(admin.ask(line), "QUEUED");
    }
    assert_eq!(admin.ask("EXEC"), "[1 1 OK OK]");
    assert!(sub.is_closed() && killed.is_closed() && u.is_closed());
    assert_eq!(login(&s, "v").ask("ACL WHOAMI"), "v");
    assert_eq!(admin.ask("ACL USERS"), "[default v]");
}

/// Who is subscribed to a channel that the user loses, loses the connection; others do not.
#[test]
fn subscribers_lose_what_is_taken_away() {
    let s = TestServer::start(&[]);
    let mut admin = s.conn();
    admin.ask("ACL SETUSER u on nopass resetchannels &a &b* &c +@all");
    let subscriber = |line: &str| {
        let mut c = login(&s, "u");
        assert!(c.ask(line).starts_with(&format!("[{}", line[..9].to_lowercase())), "{line}");
        c
    };
    let mut a = subscriber("SUBSCRIBE a");
    let mut b1 = subscriber("SUBSCRIBE b1");
    let mut b = subscriber("PSUBSCRIBE b*");
    let mut nothing = login(&s, "u");
    // More changes nothing for them.
    assert_eq!(admin.ask("ACL SETUSER u &d"), "OK");
    assert_eq!(admin.ask("PUBLISH a m") + &admin.ask("PUBLISH b1 m"), "12");
    assert_eq!([next(&mut a), next(&mut b1)], ["[message a m]", "[message b1 m]"]);
    assert_eq!(next(&mut b), "[pmessage b* b1 m]");
    // A channel may be left to them by another pattern, a pattern only by itself.
    assert_eq!(admin.ask("ACL SETUSER u resetchannels &a &?*"), "OK");
    assert!(b.is_closed());
    assert_eq!(admin.ask("ACL SETUSER u resetchannels &b1"), "OK");
    assert!(a.is_closed());
    assert_eq!([admin.ask("PUBLISH b1 m"), next(&mut b1)], ["1", "[message b1 m]"]);
    // All channels are more than any others.
    assert_eq!(admin.ask("ACL SETUSER u allchannels"), "OK");
    assert_eq!(admin.ask("ACL SETUSER u resetchannels"), "OK");
    assert!(b1.is_closed());
    assert_eq!(nothing.ask("PING"), "PONG");

    // Itself, which RESP3 allows: it gets the reply first.
    let mut own = login(&s, "u");
    own.ask("HELLO 3");
    assert_eq!(admin.ask("ACL SETUSER u &c"), "OK");
    assert_eq!(own.ask("SUBSCRIBE c"), ">[subscribe c 1]");
    assert_eq!(own.ask("ACL SETUSER u resetchannels"), "OK");
    assert!(own.is_closed());
    assert_eq!(admin.ask("PUBLISH c m"), "0");
}

/// Runs our server until it ends by itself, which it does with 1; what it said.
fn fails_to_start(dir: &Folder, args: &[&str]) -> String {
    let port = free_port().to_string();
    let args = [args, &["--port", &port]].concat();
    let out = Command::new(OURS).args(args).current_dir(&dir.0).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()
}

/// The ACL file: read at the start and by ACL LOAD, all of it or nothing; written by ACL SAVE.
#[test]
fn the_file_of_users() {
    let dir = Folder::new();
    let file = dir.path("users.acl");
    std::fs::write(
        &file,
        "\n  user default on nopass  ~* &* +@all \r\n\nuser u on nopass ~a* +get\t\nuser v off >one\nuser  on\n",
    )
    .unwrap();
    let s = TestServer::start_in(dir, OURS, &["--aclfile", "users.acl"]);
    let mut admin = s.conn();
    let at_start = format!(
        "[user  on &* -@all user default on nopass sanitize-payload ~* &* +@all user u on nopass ~a* &* -@all +get user v off #{ONE} &* -@all]"
    );
    assert_eq!(admin.ask("ACL LIST"), at_start);

    // ACL SAVE writes what ACL LIST shows.
    assert_eq!(admin.ask("ACL SETUSER w on >two +@all -@dangerous +config|get"), "OK");
    let list = admin.cmd(&["ACL", "LIST"]);
    assert_eq!(admin.ask("ACL SAVE"), "OK");
    let lines: Vec<String> = list.array().iter().map(|l| l.text() + "\n").collect();
    assert_eq!(std::fs::read_to_string(s.dir.path("users.acl")).unwrap(), lines.concat());

    // ACL LOAD closes the connections of all but `default`.
    let (mut u, mut default) = (login(&s, "u"), s.conn());
    assert_eq!([u.ask("GET a"), default.ask("PING")], ["(nil)", "PONG"]);
    std::fs::write(
        s.dir.path("users.acl"),
        "user u on nopass ~b* +get\nuser default on nopass ~* +@all -echo\n",
    )
    .unwrap();
    assert_eq!(admin.ask("ACL LOAD"), "OK");
    assert!(u.is_closed());
    assert_eq!(default.ask("ECHO x"), no_command("echo"), "it has its new rules at once");
    assert_eq!(login(&s, "u").ask("GET b"), "(nil)");
    assert_eq!(admin.ask("ACL USERS"), "[default u]");

    // Nothing is taken of a file that has errors, and all of them are named.
    let place = s.dir.path("users.acl");
    let list = admin.ask("ACL LIST");
    let end =
        "WARNING: ACL errors detected, no change to the previously active ACL rules was performed";
    for (file, errors) in [
        (
            "user x on\nuser\n",
            "users.acl:2 should start with user keyword followed by the username. ",
        ),
        (
            "# a comment\nUSER x\n",
            "users.acl:1 should start with user keyword followed by the username. users.acl:2 should start with user keyword followed by the username. ",
        ),
        ("user x on\nuser a\tb on\n", "'users.acl:2: username 'a b' contains invalid characters. "),
        (
            "user x +nosuch ~* ~a nonsense\nuser y\n",
            "users.acl:1: Unknown command or category name in ACL. users.acl:1: Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' to start with an empty list of patterns. users.acl:1: Syntax error. ",
        ),
        (
            "user x on (+@all ~k)\n",
            "users.acl:1: Syntax error (selectors, as in '(+get ~key)', need Redis 7.0). ",
        ),
        (
            "user x +@all -config|set\n",
            "users.acl:1: Unknown command or category name in ACL (a subcommand can only be added; to take it away from an allowed command needs Redis 7.0). ",
        ),
        // A NUL ends what is read of its line, with the end of the line.
        ("user x\0 on\n nonsense\n", "users.acl:1: Syntax error. "),
    ] {
        std::fs::write(&place, file).unwrap();
        let errors = errors.replace("'a b'", "'a\tb'");
        assert_eq!(admin.ask("ACL LOAD"), format!("-ERR {errors}{end}"), "{file}");
        assert_eq!(admin.ask("ACL LIST"), list);
    }
    std::fs::remove_file(&place).unwrap();
    assert_eq!(
        admin.ask("ACL LOAD"),
        "-ERR Error loading ACLs, opening file 'users.acl': No such file or directory"
    );
    std::fs::create_dir(&place).unwrap();
    assert_eq!(
        admin.ask("ACL LOAD"),
        "-ERR Error loading ACLs, reading file 'users.acl': Is a directory"
    );
    // It cannot be replaced either, and nothing is left of the attempt.
    assert!(admin.ask("ACL SAVE").starts_with("-ERR There was an error trying to save the ACLs."));
    s.wait_for_log("Renaming ACL file for ACL SAVE: Is a directory");
    std::fs::remove_dir(&place).unwrap();
    let left = |dir: &Folder| {
        let names = std::fs::read_dir(&dir.0).unwrap().map(|e| e.unwrap().file_name());
        names.filter(|n| n.to_string_lossy().contains("users")).count()
    };
    assert_eq!(left(&s.dir), 0);
    assert_eq!(admin.ask("ACL SAVE"), "OK");
    assert_eq!(left(&s.dir), 1);
    let mode = std::fs::metadata(&place).unwrap().permissions().mode();
    assert_eq!(mode & 0o133, 0, "nobody but its owner writes it");
    assert_eq!(admin.ask("ACL LIST"), list);
}

/// A start with users that are wrong, or in two places, is none.
#[test]
fn wrong_users_at_the_start() {
    let dir = Folder::new();
    std::fs::write(dir.path("users.acl"), "user u nonsense\n").unwrap();
    let said = fails_to_start(&dir, &["--aclfile", "users.acl"]);
    assert!(
        said.contains(
            "Aborting Redis startup because of ACL errors: users.acl:1: Syntax error. WARNING"
        ),
        "{said}"
    );
    let said = fails_to_start(&dir, &["--aclfile", "nosuch.acl"]);
    assert!(said.contains("Aborting Redis startup because of ACL errors: Error loading ACLs, opening file 'nosuch.acl': No such file"), "{said}");
    let said = fails_to_start(&dir, &["--aclfile", "users.acl", "--user", "u", "on"]);
    assert!(said.contains("Configuring Redis with users defined in redis.conf and at the same setting an ACL file path is invalid."), "{said}");
    for (line, why) in [
        (
            "user u on +nosuch",
            "Error loading ACL rule '+nosuch' for the user named 'u': Unknown command or category name in ACL",
        ),
        (
            "user u on +@all -config|set",
            "Error loading ACL rule '-config|set' for the user named 'u': Unknown command or category name in ACL (a subcommand can only be added",
        ),
        ("user \"u v\" on", "Spaces not allowed in ACL usernames"),
    ] {
        std::fs::write(dir.path("c"), format!("{line}\n")).unwrap();
        let said = fails_to_start(&dir, &["c"]);
        assert!(
            said.contains(why) && said.contains("Critical error while loading ACLs. Exiting."),
            "{said}"
        );
    }
}

/// Users of the config file, and CONFIG REWRITE of them.
#[test]
fn users_of_the_config_file() {
    let dir = Folder::new();
    let conf = format!(
        "acl-pubsub-default resetchannels\nuser gone on nopass\nuser u on >one ~k* &c -@all +get +config|get\nuser u on #{TWO} +@read\nuser v\n"
    );
    std::fs::write(dir.path("c"), conf).unwrap();
    let conf_path = dir.path("c").to_str().unwrap().to_string();
    let mut s = TestServer::start_in(dir, OURS, &["--include", &conf_path]);
    s.wait_for_log("The user 'v' is disabled (there is no 'on' modifier in the user description). Make sure this is not a configuration error.");
    let list = s.ask("ACL LIST");
    assert_eq!(
        list,
        format!(
            "[user default on nopass ~* &* +@all user gone on nopass resetchannels -@all user u on sanitize-payload #{TWO} resetchannels -@all +@read user v off resetchannels -@all]"
        )
    );
}

/// A rewrite has a line for each user there is, in the places of the old lines, and none for those
/// who are gone; with an ACL file it has none at all. It makes the same users again.
#[test]
fn rewritten_users() {
    // Starts a server with the file `c`, gives `f` a connection, and stops it.
    let with_server = |dir: &Folder, f: &mut dyn FnMut(&mut Conn)| {
        let port = free_port();
        let mut child = Command::new(OURS)
            .args(["c", "--port", &port.to_string(), "--logfile", "log"])
            .current_dir(&dir.0)
            .spawn()
            .unwrap();
        wait_for("it answers", || {
            Conn::try_open(port)
                .is_ok_and(|mut c| c.raw(b"PING\r\n").is_ok() && c.try_reply().is_ok())
        });
        f(&mut Conn::open(port));
        child.kill().unwrap();
        child.wait().unwrap();
    };
    let acl_list = |c: &mut Conn| -> Vec<String> {
        c.cmd(&["ACL", "LIST"]).array().iter().map(Reply::text).collect()
    };
    for aclfile in [false, true] {
        let dir = Folder::new();
        let users = if aclfile {
            "aclfile users.acl\n"
        } else {
            "user gone on nopass\nuser u on >one ~k*\n"
        };
        std::fs::write(dir.path("c"), format!("# users\n{users}save \"\"\n")).unwrap();
        std::fs::write(dir.path("users.acl"), "").unwrap();
        let mut list = vec![];
        with_server(&dir, &mut |c| {
            for line in [
                "ACL DELUSER gone",
                "ACL SETUSER a'b ~\"c +config|\"",
                "ACL SETUSER new on nopass resetchannels +config|get +@set",
                "CONFIG REWRITE",
                "ACL SAVE",
            ] {
                let said = c.ask(line);
                assert!(!said.starts_with('-') || line == "ACL SAVE", "{line}: {said}");
            }
            assert_eq!(c.cmd(&["ACL", "SETUSER", "", "on"]).text(), "OK");
            assert_eq!(c.cmd(&["ACL", "DELUSER", ""]).int(), 1);
            list = acl_list(c);
        });
        let conf = std::fs::read_to_string(dir.path("c")).unwrap();
        let lines: Vec<&str> = conf.lines().filter(|l| l.starts_with("user ")).collect();
        if aclfile {
            assert!(lines.is_empty(), "{conf}");
        } else {
            // Words with quotes are quoted, all others are as ACL LIST has them.
            let quoted = r#"user "a'b" off "~\"c" &* -@all "+config|\"""#;
            assert_eq!(
                (lines[0], &lines[1..]),
                (quoted, &list.iter().map(|l| &l[..]).collect::<Vec<_>>()[1..])
            );
            assert!(
                conf.starts_with(&format!("# users\n{}\n{}\nsave", lines[0], lines[1])),
                "{conf}"
            );
        }
        with_server(&dir, &mut |c| {
            let without = |list: &[String]| -> Vec<String> {
                list.iter().map(|l| l.replace(" sanitize-payload", "")).collect()
            };
            assert_eq!(without(&acl_list(c)), without(&list));
        });
    }
}

/// A replica logs in as a user who may do no more than it needs.
#[test]
fn a_replica_has_a_user_of_its_own() {
    let master = TestServer::start(&[]);
    let mut admin = master.conn();
    assert_eq!(admin.ask("ACL SETUSER replica on >secret +psync +replconf +ping"), "OK");
    admin.ask("SET k v");
    let replica = TestServer::start(&["--masteruser", "replica", "--masterauth", "secret"]);
    let replica = replica.replica_of(&master);
    assert_eq!(replica.cmd(&["GET", "k"]).text(), "v");
    let clients = admin.ask("CLIENT LIST TYPE replica");
    assert!(clients.contains(" flags=S ") && clients.contains(" user=replica "), "{clients}");
    // What the master sends is not looked at, whoever may do what here.
    assert_eq!(replica.cmd(&["ACL", "SETUSER", "default", "-set", "resetkeys", "~k"]).text(), "OK");
    admin.ask("SET l v");
    wait_for_offset(&master, &replica);
    assert_eq!(replica.cmd(&["DBSIZE"]).text(), "2");
    assert_eq!(replica.cmd(&["GET", "l"]).text(), NO_KEY);
}

/// What the append only file says was allowed once, and is loaded whoever may do what now.
#[test]
fn a_file_of_commands_is_loaded_by_nobody() {
    let dir = Folder::new();
    std::fs::write(dir.path("users.acl"), "").unwrap();
    let args = ["--aclfile", "users.acl", "--appendonly", "yes", "--aof-use-rdb-preamble", "no"];
    let mut s = TestServer::start_in(dir, OURS, &args);
    let mut c = s.conn();
    for line in ["MULTI", "SET a 1", "SET b 1", "EXEC", "SET c 1"] {
        c.ask(line);
    }
    assert_eq!(c.cmd(&["EVAL", "return redis.call('SET', 'd', 1)", "0"]).text(), "OK");
    assert_eq!(c.ask("ACL SETUSER admin on nopass +@all"), "OK");
    assert_eq!(c.ask("ACL SETUSER default -@all resetkeys +dbsize"), "OK");
    assert_eq!(login(&s, "admin").ask("ACL SAVE"), "OK");
    s.signal("TERM");
    s.wait_exit();
    s.start_again();
    assert_eq!([s.ask("DBSIZE"), s.ask("GET a")], ["4".into(), no_command("get")]);
}

/// Keys that a command writes are looked at wherever its arguments name them.
#[test]
fn keys_in_odd_places() {
    let s = TestServer::start(&[]);
    let mut admin = s.conn();
    for line in [
        "RPUSH ok:src 1 2",
        "GEOADD ok:geo 1 1 m",
        "XADD ok:x 1-1 f v",
        "XADD secret 1-1 f v",
        "XGROUP CREATE ok:x g 0",
        "XGROUP CREATE ok:x STREAMS 0",
        "ACL SETUSER u on nopass ~ok:* ~by ~get +@all",
    ] {
        assert!(!admin.ask(line).starts_with('-'), "{line}");
    }
    let before = admin.ask("DEBUG DIGEST");
    let mut u = login(&s, "u");
    for line in [
        "SORT ok:src STORE by STORE secret",
        "SORT ok:src STORE ok:dst STORE secret",
        "SORT ok:src BY get STORE secret",
        "SORT ok:src LIMIT 0 1 STORE secret",
        "SORT secret",
        "GEORADIUS ok:geo 1 1 1 m STORE ok:dst STOREDIST secret",
        "GEORADIUS ok:geo 1 1 1 m STOREDIST ok:dst STORE secret",
        "GEORADIUSBYMEMBER ok:geo m 1 m STORE secret",
        "GEOSEARCHSTORE secret ok:geo FROMMEMBER m BYRADIUS 1 m",
        "XREADGROUP GROUP g STREAMS STREAMS secret >",
        "XREADGROUP GROUP STREAMS STREAMS STREAMS ok:x secret > >",
        "XREADGROUP GROUP STREAMS NOACK COUNT 1 STREAMS secret >",
        "XREAD COUNT 1 STREAMS ok:x secret 0 0",
        "ZUNIONSTORE secret 1 ok:geo",
        "ZUNIONSTORE ok:dst 2 ok:geo secret",
        "ZINTER 2 ok:geo secret",
        "EVAL return(1) 1 secret",
        "EVAL return(1) 2 ok:1 secret",
        "BITOP NOT ok:dst secret",
        "BITOP NOT secret ok:src",
        "MIGRATE 127.0.0.1 1 secret 0 100",
        "MIGRATE 127.0.0.1 1 \"\" 0 100 KEYS ok:src secret",
        "STRALGO LCS KEYS ok:1 secret",
        "MEMORY USAGE secret",
        "OBJECT ENCODING secret",
        "XINFO STREAM secret",
        "XGROUP DESTROY secret g",
        "COPY ok:src secret",
        "LMOVE ok:src secret LEFT LEFT",
        "SMOVE ok:1 secret m",
        "MSET ok:1 v secret v",
        "BLPOP ok:1 secret 0",
        "WATCH secret",
        "PFMERGE secret ok:1",
    ] {
        let words: Vec<&str> = line.split(' ').map(|w| if w == "\"\"" { "" } else { w }).collect();
        assert_eq!(u.cmd(&words).text(), NO_KEY, "{line}");
    }
    assert_eq!(admin.ask("DEBUG DIGEST"), before, "nothing was changed");
    // What they are named beside of does not matter.
    for line in [
        "XREADGROUP GROUP STREAMS STREAMS STREAMS ok:x >",
        "XREADGROUP GROUP g secret NOACK COUNT 1 STREAMS ok:x >",
        "GEORADIUS ok:geo 1 1 1 m STORE secret STOREDIST ok:dst",
        "SORT ok:src STORE secret STORE ok:dst",
        "EVAL return(1) 1 ok:1 secret",
        "STRALGO LCS STRINGS secret secret",
        "ZADD ok:z 1 secret",
    ] {
        let said = u.ask(line);
        assert!(!said.starts_with('-'), "{line}: {said}");
    }
    assert_eq!(admin.ask("TYPE secret"), "stream");
}

/// SORT names keys by patterns; a user gets at those of its own alone.
#[test]
fn keys_that_sort_finds() {
    let s = TestServer::start(&[]);
    let mut admin = s.conn();
    for line in [
        "RPUSH ok:l 1 2 3",
        "MSET ok:1 c ok:2 b ok:3 a secret:1 x secret:2 y secret:3 z ok:w1 3 ok:w2 2 ok:w3 1",
        "HSET ok:h1 f x",
        "ACL SETUSER u on nopass ~ok:* ~secret:3 +sort +eval +multi +exec",
    ] {
        assert!(!admin.ask(line).starts_with('-'), "{line}");
    }
    let before = admin.ask("DEBUG DIGEST");
    let mut u = login(&s, "u");
    for line in [
        "SORT ok:l BY secret:*",
        "SORT ok:l BY secret:* ALPHA STORE ok:dst",
        "SORT ok:l GET secret:*",
        "SORT ok:l GET # GET ok:* GET secret:*->f",
        "SORT ok:l BY ok:w* LIMIT 1 2 GET secret:*",
        "SORT ok:l BY nosort GET secret:* STORE ok:dst",
    ] {
        assert_eq!(u.ask(line), NO_KEY, "{line}");
    }
    let in_script = u.cmd(&["EVAL", "return redis.pcall('SORT', 'ok:l', 'GET', 'secret:*')", "0"]);
    assert_eq!(in_script.text(), NO_KEY);
    assert_eq!(admin.ask("DEBUG DIGEST"), before);
    for (line, reply) in [
        ("SORT ok:l BY ok:w*", "[3 2 1]"),
        ("SORT ok:l BY ok:* ALPHA GET # GET ok:*", "[3 a 2 b 1 c]"),
        ("SORT ok:l BY secret", "[1 2 3]"),
        ("SORT ok:l GET secret", "[(nil) (nil) (nil)]"),
        // Of those that the result has, and no others.
        ("SORT ok:l BY ok:w* LIMIT 0 1 GET secret:*", "[z]"),
        ("SORT ok:l GET ok:h*->f STORE ok:dst", "3"),
    ] {
        assert_eq!(u.ask(line), reply, "{line}");
    }
    assert_eq!(
        acl_log(&mut admin),
        // What a script writes is a transaction.
        ["1 key multi secret:1 u", "5 key toplevel secret:1 u", "1 key toplevel secret:2 u"]
    );
}

/// The forms of all commands that have keys. `$` and a letter is a key of that type, `$?` one of
/// any; `%` is any word, which may be the name of a key or of an option; `[a|b]` is one of these or
/// nothing, `(a|b)` one of these; `#` nothing at all, `&` a script that exists, `@` a dump.
const WITH_KEYS: &str = "
    APPEND $s %
    BITCOUNT $s [0 -1]
    BITFIELD $s (GET u8 0|SET u8 0 1)
    BITFIELD_RO $s GET u8 0
    BITOP (AND|OR) $s $s $s
    BITOP NOT $s $s
    BITPOS $s 1 [0]
    BLMOVE $l $l LEFT RIGHT 0.01
    BLPOP $l [$l] 0.01
    BRPOP $l [$l] 0.01
    BRPOPLPUSH $l $l 0.01
    BZPOPMAX $z [$z] 0.01
    BZPOPMIN $z [$z] 0.01
    COPY $? $? [REPLACE|DB 1] [REPLACE]
    (DECR|INCR) $n
    (DECRBY|INCRBY|INCRBYFLOAT) $n 2
    (DEL|UNLINK|EXISTS|TOUCH|WATCH) $? [$?] [$?]
    DUMP $?
    EVAL return(1) 0 % %
    EVAL return(1) 1 $? [%] [%]
    EVAL return(1) 2 $? $? [%] [%]
    EVALSHA & 2 $? $? [%]
    (EXPIRE|PEXPIRE) $? 1000000
    (EXPIREAT|PEXPIREAT) $? 99999999999
    GEOADD $g 1 1 %
    GEODIST $g m m2
    GEOHASH $g %
    GEOPOS $g %
    GEORADIUS $g 1 1 100 km [COUNT 1] [WITHDIST]
    GEORADIUS $g 1 1 100 km [COUNT 1] [DESC] (STORE|STOREDIST) $z [ASC]
    GEORADIUS $g 1 1 100 km (STORE|STOREDIST) % (STORE|storedist) $z
    GEORADIUSBYMEMBER $g m 100 km [COUNT 1] [WITHDIST]
    GEORADIUSBYMEMBER $g m 100 km [COUNT 1] (STORE|STOREDIST) % [ASC] (STORE|STOREDIST) $z
    GEORADIUS_RO $g 1 1 100 km [COUNT 1]
    GEORADIUSBYMEMBER_RO $g m 100 km [COUNT 1]
    GEOSEARCH $g FROMMEMBER m BYRADIUS 100 km [COUNT 1]
    GEOSEARCHSTORE $z $g FROMMEMBER m BYRADIUS 100 km [COUNT 1] [STOREDIST]
    (GET|GETDEL|STRLEN) $s
    GETBIT $s 1
    GETEX $s [PERSIST|EX 1000000]
    (GETRANGE|SUBSTR) $s 0 -1
    GETSET $s %
    (HDEL|HEXISTS|HGET|HSTRLEN|HMGET) $h %
    (HGETALL|HKEYS|HLEN|HVALS) $h
    HINCRBY $h n 1
    HINCRBYFLOAT $h n 1
    (HMSET|HSET) $h % % [% %]
    HSETNX $h % %
    HRANDFIELD $h [1]
    HSCAN $h 0 [MATCH %] [COUNT 5]
    LINDEX $l 0
    LINSERT $l (BEFORE|AFTER) % %
    LLEN $l
    LMOVE $l $l (LEFT|RIGHT) (LEFT|RIGHT)
    (LPOP|RPOP) $l [1]
    LPOS $l % [RANK 1] [COUNT 0]
    (LPUSH|RPUSH|LPUSHX|RPUSHX) $l % [%]
    LRANGE $l 0 -1
    LREM $l 0 %
    LSET $l 0 %
    LTRIM $l 0 0
    MEMORY USAGE $? [SAMPLES 5]
    MGET $s [$s] [$?]
    MIGRATE 127.0.0.1 1 $? 0 10 [COPY] [REPLACE] [AUTH %|AUTH2 % %]
    MIGRATE 127.0.0.1 1 # 0 10 [COPY] [AUTH %|AUTH2 % %] (KEYS|keys) $? [$?]
    MOVE $? 1
    (MSET|MSETNX) $s % [$s %]
    OBJECT (ENCODING|REFCOUNT|IDLETIME) $?
    (PERSIST|PTTL|TTL|TYPE) $?
    PFADD $p % [%]
    PFCOUNT $p [$p]
    PFDEBUG ENCODING $p
    PFMERGE $p $p [$p]
    PSETEX $s 1000000 %
    SETEX $s 1000000 %
    (RENAME|RENAMENX) $? $?
    (RESTORE|RESTORE-ASKING) $? 0 @ REPLACE [IDLETIME 1]
    RPOPLPUSH $l $l
    SADD $e % [%]
    (SCARD|SMEMBERS) $e
    (SDIFF|SINTER|SUNION) $e [$e] [$e]
    (SDIFFSTORE|SINTERSTORE|SUNIONSTORE) $e $e [$e]
    SET $s % [EX 1000000|KEEPTTL] [GET]
    SETBIT $s 1 1
    SETNX $s %
    SETRANGE $s 1 %
    SISMEMBER $e %
    SMISMEMBER $e % [%]
    SMOVE $e $e %
    SORT ($l|$e) [LIMIT 0 1] [ALPHA] [BY nosort|BY STORE|GET store|GET GET] [DESC] [STORE $l]
    SORT $l BY nosort [BY nosort] STORE % GET # STORE % STORE $l [ASC]
    SPOP $e [1]
    SRANDMEMBER $e [1]
    SREM $e % [%]
    SSCAN $e 0 [MATCH %]
    STRALGO LCS [LEN|IDX [MINMATCHLEN 1]] KEYS $s $s [WITHMATCHLEN]
    STRALGO LCS STRINGS % % [IDX]
    XACK $x g 1-1
    XADD $x [MAXLEN 10] * % %
    XAUTOCLAIM $x (g|STREAMS) % 0 - [COUNT 1]
    XCLAIM $x (g|STREAMS) % 0 1-1 [JUSTID]
    XDEL $x 1-1
    XGROUP CREATE $x new 0 [MKSTREAM]
    XGROUP DESTROY $x (g|STREAMS)
    XGROUP SETID $x (g|STREAMS) $
    XGROUP (CREATECONSUMER|DELCONSUMER) $x (g|STREAMS) %
    XINFO (STREAM|GROUPS) $x
    XLEN $x
    XPENDING $x (g|STREAMS) [- + 10 [%]]
    (XRANGE|XREVRANGE) $x - + [COUNT 1]
    XREAD [COUNT 1] [BLOCK 1] STREAMS $x 0
    XREAD [COUNT 1] [BLOCK 1] STREAMS $x $x 0 $
    XREADGROUP GROUP (g|STREAMS) % [COUNT 1] [BLOCK 1] [NOACK] STREAMS $x (>|0)
    XREADGROUP GROUP (g|STREAMS) % [NOACK] [COUNT 1] STREAMS $x $x > 0
    XSETID $x 9-9
    XTRIM $x MAXLEN 0
    ZADD $z [NX|XX] [CH] 1 % [2 %]
    ZCARD $z
    (ZCOUNT|ZREMRANGEBYSCORE) $z -inf +inf
    (ZDIFF|ZINTER|ZUNION) 1 $z [WITHSCORES]
    (ZDIFF|ZINTER|ZUNION) 2 $z ($z|$e) [WITHSCORES]
    (ZINTER|ZUNION) 3 $z $z $e [WEIGHTS 1 2 3] [AGGREGATE MAX]
    ZDIFFSTORE $z 2 $z ($z|$e)
    (ZINTERSTORE|ZUNIONSTORE) $z 1 $z [WEIGHTS 1]
    (ZINTERSTORE|ZUNIONSTORE) $z 2 $z $e [WEIGHTS 1 2] [AGGREGATE MAX]
    ZINCRBY $z 1 %
    (ZLEXCOUNT|ZRANGEBYLEX|ZREMRANGEBYLEX) $z - +
    ZREVRANGEBYLEX $z + -
    (ZMSCORE|ZRANK|ZREVRANK|ZREM|ZSCORE) $z %
    (ZPOPMAX|ZPOPMIN) $z [1]
    ZRANDMEMBER $z [1]
    ZRANGE $z 0 -1 [REV] [WITHSCORES]
    ZRANGESTORE $z $z 0 -1 [REV]
    (ZRANGEBYSCORE|ZREVRANGEBYSCORE) $z 0 1 [LIMIT 0 1]
    ZREMRANGEBYRANK $z 0 0
    ZREVRANGE $z 0 -1
    ZSCAN $z 0 [MATCH %]
";

/// The commands without keys.
const WITHOUT_KEYS: &str = "acl asking auth bgrewriteaof bgsave client cluster command config dbsize debug discard echo exec failover flushall flushdb hello host: info keys lastsave latency lolwut module monitor multi pfselftest ping post psubscribe psync publish pubsub punsubscribe randomkey readonly readwrite replconf replicaof replication reset role save scan script select shutdown slaveof slowlog subscribe swapdb sync time unsubscribe unwatch wait";

/// The names of the keys of each type. Many are words that commands know.
const NAMES: [(char, &[&str]); 9] = [
    ('s', &["s1", "GET", "KEYS", "strings", "2"]),
    ('n', &["n1", "EX"]),
    ('l', &["l1", "STORE", "LIMIT", "by"]),
    ('e', &["e1", "ASC", "LEFT"]),
    ('h', &["h1", "MATCH", "1"]),
    ('z', &["z1", "WEIGHTS", "STOREDIST", "0"]),
    ('g', &["g1", "COUNT"]),
    ('p', &["p1", "AUTH2"]),
    ('x', &["x1", "STREAMS", "GROUP", "NOACK", "$"]),
];

/// One command: its arguments, and which names of keys are among them.
#[derive(Default)]
struct Instance {
    argv: Vec<Vec<u8>>,
    keys: Vec<&'static str>,
}

/// What the commands of a form are made with.
struct Maker {
    rng: random::Random,
    /// All names of keys.
    all: Vec<&'static str>,
    sha: Vec<u8>,
    payload: Vec<u8>,
}

impl Maker {
    /// Appends the words of a form to a command, up to what ends a group; or passes over them.
    fn write(&mut self, form: &mut &str, out: &mut Option<&mut Instance>) {
        loop {
            *form = form.trim_start();
            let Some(first) = form.chars().next().filter(|c| !"])|".contains(*c)) else { return };
            if "[(".contains(first) {
                // The arms are passed over first, to know where they are.
                let mut arms = vec![&form[1..]];
                let mut left = arms[0];
                loop {
                    self.write(&mut left, &mut None);
                    let separator = left.starts_with('|');
                    left = &left[1..];
                    if !separator {
                        break;
                    }
                    arms.push(left);
                }
                *form = left;
                let absent = first == '[' && self.rng.below(2) == 0;
                let mut arm = arms[self.rng.below(arms.len())];
                if !absent {
                    self.write(&mut arm, out);
                }
                continue;
            }
            // Parentheses behind something belong to the word.
            let is_script = form.starts_with("return(1)");
            let end = if is_script { Some(9) } else { form.find([' ', '[', ']', '(', ')', '|']) };
            let word = &form[..end.unwrap_or(form.len())];
            *form = &form[word.len()..];
            let Some(out) = out else { continue };
            let class = word.strip_prefix('$').and_then(|class| class.chars().next());
            out.argv.push(match (word, class) {
                (_, Some(class)) => {
                    let names = NAMES.iter().find(|(c, _)| *c == class);
                    let names = names.map_or(&self.all[..], |(_, names)| names);
                    let key = names[self.rng.below(names.len())];
                    out.keys.push(key);
                    key.into()
                }
                ("%", _) => self.all[self.rng.below(self.all.len())].into(),
                ("#", _) => vec![],
                ("&", _) => self.sha.clone(),
                ("@", _) => self.payload.clone(),
                _ => word.into(),
            });
        }
    }
}

/// The keys that the ACL checks are those that a command touches: for every command, with random
/// arguments, a user who may touch only the keys given can run it, and one who lacks any of them
/// cannot, and changes nothing.
#[test]
fn keys_checked_are_keys_touched() {
    let s = TestServer::start(&[]);
    let mut admin = s.conn();
    let forms: Vec<&str> = WITH_KEYS.lines().map(str::trim).filter(|l| !l.is_empty()).collect();

    // Every command of the table is here, and those without keys have none.
    let mut first_words: Vec<String> = forms
        .iter()
        .flat_map(|form| {
            let names = form
                .strip_prefix('(')
                .map_or(form.split(' ').next().unwrap(), |names| names.split(')').next().unwrap());
            names.split('|').map(str::to_ascii_lowercase).collect::<Vec<_>>()
        })
        .collect();
    first_words.sort();
    first_words.dedup();
    let (mut with_keys, mut without_keys) = (vec![], vec![]);
    for command in admin.cmd(&["COMMAND"]).array() {
        let command = command.array();
        let movable = command[2].array().iter().any(|flag| flag.text() == "movablekeys");
        let list =
            if movable || command[3].int() != 0 { &mut with_keys } else { &mut without_keys };
        list.push(command[0].text());
    }
    with_keys.sort();
    without_keys.sort();
    assert_eq!(with_keys, first_words);
    assert_eq!(without_keys, WITHOUT_KEYS.split(' ').collect::<Vec<_>>());

    let mut fill: Vec<Vec<String>> = vec![vec!["FLUSHALL".into()]];
    for (class, names) in NAMES {
        for name in names {
            let lines: &[&str] = match class {
                's' => &["SET ! text"],
                'n' => &["SET ! 10"],
                'l' => &["RPUSH ! 1 2 3"],
                'e' => &["SADD ! 1 2 3"],
                'h' => &["HSET ! n 1 s1 x"],
                'z' => &["ZADD ! 1 a 1 b"],
                'g' => &["GEOADD ! 1 1 m 1.1 1.1 m2"],
                'p' => &["PFADD ! a b"],
                _ => &["XADD ! 1-1 f v", "XGROUP CREATE ! g 0", "XGROUP CREATE ! STREAMS 0"],
            };
            let words = |line: &&str| line.split(' ').map(|w| w.replace('!', name)).collect();
            fill.extend(lines.iter().map(words));
        }
    }
    let count = fill.len();
    let fill: Vec<u8> = fill.iter().flat_map(|argv| Conn::encode(argv)).collect();
    let refill = |admin: &mut Conn| {
        admin.raw(&fill).unwrap();
        for _ in 0..count {
            let said = admin.reply();
            assert!(!said.is_error(), "{said:?}");
        }
    };
    refill(&mut admin);
    let full = admin.ask("DEBUG DIGEST");

    for user in ["only", "lacks"] {
        assert_eq!(admin.ask(&format!("ACL SETUSER {user} on nopass +@all")), "OK");
    }
    let (mut only, mut lacks) = (login(&s, "only"), login(&s, "lacks"));
    let mut maker = Maker {
        rng: random::Random::seeded(),
        all: NAMES.iter().flat_map(|(_, names)| names.iter().copied()).collect(),
        sha: admin.ask("SCRIPT LOAD return(1)").into(),
        payload: admin.cmd(&["DUMP", "s1"]).bytes().to_vec(),
    };
    let set_keys = |admin: &mut Conn, user: &str, keys: &[&str]| {
        let mut argv: Vec<String> = ["ACL", "SETUSER", user, "resetkeys"].map(String::from).into();
        argv.extend(keys.iter().map(|key| format!("~{key}")));
        assert_eq!(admin.cmd(&argv).text(), "OK");
    };
    for _ in 0..if random::long() { 300 } else { 6 } {
        for form in &forms {
            let mut made = Instance::default();
            maker.write(&mut &form[..], &mut Some(&mut made));
            let Instance { argv, mut keys } = made;
            keys.sort();
            keys.dedup();
            let shown: Vec<_> = argv.iter().map(|a| String::from_utf8_lossy(a)).collect();
            let shown = shown.join(" ");
            for key in &keys {
                let others: Vec<&str> =
                    maker.all.iter().copied().filter(|name| name != key).collect();
                set_keys(&mut admin, "lacks", &others);
                assert_eq!(lacks.cmd(&argv).text(), NO_KEY, "{shown}, without {key}");
                if maker.rng.below(4) == 0 {
                    assert_eq!(lacks.ask("MULTI"), "OK");
                    assert_eq!(lacks.cmd(&argv).text(), NO_KEY, "{shown}, without {key}");
                    assert!(lacks.ask("EXEC").starts_with("-EXECABORT"));
                }
                if maker.rng.below(4) == 0 {
                    let script = ["EVAL", "return redis.call(unpack(ARGV))", "0"];
                    let mut in_script: Vec<Vec<u8>> = script.map(Into::into).into();
                    in_script.extend(argv.iter().cloned());
                    let said = lacks.cmd(&in_script).text();
                    assert!(
                        said.contains("can't access at least one of the keys")
                            || said.contains("This Redis command is not allowed from scripts"),
                        "{shown}, without {key}: {said}"
                    );
                }
                assert_eq!(admin.ask("DEBUG DIGEST"), full, "{shown}, without {key}");
            }
            set_keys(&mut admin, "only", &keys);
            let said = only.cmd(&argv);
            assert!(
                !said.is_error()
                    || said.text().starts_with("-IOERR")
                    || said.text() == "-ERR source and destination objects are the same",
                "{shown}, with {keys:?}: {said:?}"
            );
            refill(&mut admin);
        }
    }
}
