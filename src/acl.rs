//! `acl.c`, as far as the user `default` and its passwords go: AUTH, the `user` line of config
//! files, and the categories of commands.
//!
//! Read first: `ACLCheckUserCredentials` and `authCommand`; `ACLSetUser` for the rules.
//!
//! Absent: all other users, and so the ACL command, the rules of who may run what on which keys and
//! channels, the ACL log and ACL files. The one user there is may do everything; it may need a
//! password, and have several. Until a client has given one, `processCommand` lets it run commands
//! flagged `no-auth` alone. A config file may say so much of it (`user default on ... ~* &* +@all`,
//! as CONFIG REWRITE writes it); that it should be allowed less is an error.

use sha2::{Digest, Sha256};

use crate::args::Args;
use crate::log::*;
use crate::networking::*;
use crate::server::CommandTable;
use crate::server_h::*;
use crate::util::{B, eq_ignore_case, hex};
use crate::{bformat, serverLog};

/// The categories of commands by name, in the order in which COMMAND INFO lists them.
const ACLCommandCategories: [(&str, u64); 21] = [
    ("keyspace", CMD_CATEGORY_KEYSPACE),
    ("read", CMD_CATEGORY_READ),
    ("write", CMD_CATEGORY_WRITE),
    ("set", CMD_CATEGORY_SET),
    ("sortedset", CMD_CATEGORY_SORTEDSET),
    ("list", CMD_CATEGORY_LIST),
    ("hash", CMD_CATEGORY_HASH),
    ("string", CMD_CATEGORY_STRING),
    ("bitmap", CMD_CATEGORY_BITMAP),
    ("hyperloglog", CMD_CATEGORY_HYPERLOGLOG),
    ("geo", CMD_CATEGORY_GEO),
    ("stream", CMD_CATEGORY_STREAM),
    ("pubsub", CMD_CATEGORY_PUBSUB),
    ("admin", CMD_CATEGORY_ADMIN),
    ("fast", CMD_CATEGORY_FAST),
    ("slow", CMD_CATEGORY_SLOW),
    ("blocking", CMD_CATEGORY_BLOCKING),
    ("dangerous", CMD_CATEGORY_DANGEROUS),
    ("connection", CMD_CATEGORY_CONNECTION),
    ("transaction", CMD_CATEGORY_TRANSACTION),
    ("scripting", CMD_CATEGORY_SCRIPTING),
];

/// The flags of a user by name, in the order in which they are described.
const ACLUserFlags: [(&str, u64); 5] = [
    ("on", USER_FLAG_ENABLED),
    ("off", USER_FLAG_DISABLED),
    ("nopass", USER_FLAG_NOPASS),
    ("skip-sanitize-payload", USER_FLAG_SANITIZE_PAYLOAD_SKIP),
    ("sanitize-payload", USER_FLAG_SANITIZE_PAYLOAD),
];

/// The length of a hashed password in hex.
const HASH_PASSWORD_LEN: usize = 64;

// =============================================================================
// Helper functions
// =============================================================================

/// Tells whether two strings are the same, in a time that depends on neither: all
/// bytes are compared, of buffers of a fixed size. Strings that don't fit into them are not the
/// same as anything.
fn time_independent_strcmp(a: &[u8], b: &[u8]) -> bool {
    let mut bufa = [0u8; CONFIG_AUTHPASS_MAX_LEN];
    let mut bufb = [0u8; CONFIG_AUTHPASS_MAX_LEN];
    if a.len() > bufa.len() || b.len() > bufb.len() {
        return false;
    }
    bufa[..a.len()].copy_from_slice(a);
    bufb[..b.len()].copy_from_slice(b);

    // `black_box` keeps the compiler from stopping at the first difference.
    let mut diff = a.len() ^ b.len();
    for (a, b) in bufa.iter().zip(&bufb) {
        diff = std::hint::black_box(diff | usize::from(a ^ b));
    }
    diff == 0
}

/// Returns the form in which a password is kept: its SHA-256 in 64 hex digits.
pub fn ACLHashPassword(cleartext: &[u8]) -> Vec<u8> {
    hex(&Sha256::digest(cleartext))
}

// =============================================================================
// Users
// =============================================================================

/// Tells whether this is a hashed password: 64 hex digits in lower case.
fn ACLCheckPasswordHash(hash: &[u8]) -> CResult {
    let is_hex = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
    if hash.len() == HASH_PASSWORD_LEN && hash.iter().all(is_hex) { C_OK } else { C_ERR }
}

/// Tells whether there is white space or a NUL in a name or a pattern, which no file could hold.
fn ACLStringHasSpaces(s: &[u8]) -> bool {
    s.iter().any(|b| b.is_ascii_whitespace() || *b == 0x0b || *b == 0)
}

/// Returns the flag of a category (`CMD_CATEGORY_*`), found by its name without `@`; 0 if there is
/// none of this name.
pub fn ACLGetCommandCategoryFlagByName(name: &[u8]) -> u64 {
    ACLCommandCategories
        .iter()
        .find(|(category, _)| eq_ignore_case(name, category.as_bytes()))
        .map_or(0, |&(_, flag)| flag)
}

/// Returns a user without any permission, but for the channels that `acl-pubsub-default` gives.
fn new_user(name: &[u8], acl_pubsub_default: i32) -> User {
    let flags = USER_FLAG_DISABLED | acl_pubsub_default as u64;
    User { name: name.to_vec(), flags, passwords: Vec::new() }
}

/// Adds a user without any permission, and returns its number; `None` if the name is taken.
fn ACLCreateUser(server: &mut Server, name: &[u8]) -> Option<UserId> {
    if ACLGetUserByName(server, name).is_some() {
        return None;
    }
    server.users.push(new_user(name, server.acl_pubsub_default));
    Some(server.users.len() - 1)
}

/// Returns a user as the rules that make it, in the form of config files.
///
/// C: tells which keys, channels and commands a user may use. Here every user may use all of them
/// (see `may_everything`).
pub fn ACLDescribeUser(u: &User) -> Vec<u8> {
    let mut res = Vec::new();
    for (name, flag) in ACLUserFlags {
        if u.flags & flag != 0 {
            res.extend_from_slice(name.as_bytes());
            res.push(b' ');
        }
    }
    for password in &u.passwords {
        res.push(b'#');
        res.extend_from_slice(password);
        res.push(b' ');
    }
    res.extend_from_slice(b"~* &* +@all");
    res
}

/// Applies a rule to a user: `on`, `~*`, `+@all`, `>password`, `#hash` and so on.
///
/// Errors are numbers of errno(3), for `ACLSetUserStringError`: ENOENT, there is no such command or
/// category; EEXIST, a pattern after `~*`; EISDIR, a channel after `&*`; ENODEV, a password to
/// remove that the user does not have; EBADMSG, no hash of a password; EINVAL, no rule.
///
/// C: keeps the patterns and the commands of each user. Here what matters is whether they are all
/// of them: any other rule about keys, channels or commands only takes that away.
fn ACLSetUser(
    u: &mut User,
    op: &[u8],
    commands: &CommandTable,
    acl_pubsub_default: i32,
) -> Result<(), i32> {
    let is = |rule: &str| op.eq_ignore_ascii_case(rule.as_bytes());
    let hash_of = |op: &[u8]| match op[0] {
        b'>' | b'<' => Ok(ACLHashPassword(&op[1..])),
        _ if ACLCheckPasswordHash(&op[1..]).is_ok() => Ok(op[1..].to_vec()),
        _ => Err(libc::EBADMSG),
    };
    let pattern = |taken: bool, error: i32| match taken {
        true => Err(error),
        false if ACLStringHasSpaces(&op[1..]) => Err(libc::EINVAL),
        false => Ok(()),
    };
    if op.is_empty() {
        // The empty rule changes nothing.
    } else if is("on") {
        u.flags |= USER_FLAG_ENABLED;
        u.flags &= !USER_FLAG_DISABLED;
    } else if is("off") {
        u.flags |= USER_FLAG_DISABLED;
        u.flags &= !USER_FLAG_ENABLED;
    } else if is("skip-sanitize-payload") {
        u.flags |= USER_FLAG_SANITIZE_PAYLOAD_SKIP;
        u.flags &= !USER_FLAG_SANITIZE_PAYLOAD;
    } else if is("sanitize-payload") {
        u.flags &= !USER_FLAG_SANITIZE_PAYLOAD_SKIP;
        u.flags |= USER_FLAG_SANITIZE_PAYLOAD;
    } else if is("allkeys") || is("~*") {
        u.flags |= USER_FLAG_ALLKEYS;
    } else if is("resetkeys") {
        u.flags &= !USER_FLAG_ALLKEYS;
    } else if is("allchannels") || is("&*") {
        u.flags |= USER_FLAG_ALLCHANNELS;
    } else if is("resetchannels") {
        u.flags &= !USER_FLAG_ALLCHANNELS;
    } else if is("allcommands") || is("+@all") {
        u.flags |= USER_FLAG_ALLCOMMANDS;
    } else if is("nocommands") || is("-@all") {
        u.flags &= !USER_FLAG_ALLCOMMANDS;
    } else if is("nopass") {
        u.flags |= USER_FLAG_NOPASS;
        u.passwords.clear();
    } else if is("resetpass") {
        u.flags &= !USER_FLAG_NOPASS;
        u.passwords.clear();
    } else if is("reset") {
        // All that a new user has: nothing, and the checks of what it restores.
        u.passwords.clear();
        u.flags = USER_FLAG_DISABLED | USER_FLAG_SANITIZE_PAYLOAD | acl_pubsub_default as u64;
    } else if matches!(op[0], b'>' | b'#') {
        let newpass = hash_of(op)?;
        if !u.passwords.contains(&newpass) {
            u.passwords.push(newpass);
        }
        u.flags &= !USER_FLAG_NOPASS;
    } else if matches!(op[0], b'<' | b'!') {
        let delpass = hash_of(op)?;
        let place = u.passwords.iter().position(|pass| *pass == delpass).ok_or(libc::ENODEV)?;
        u.passwords.remove(place);
    } else if op[0] == b'~' {
        pattern(u.flags & USER_FLAG_ALLKEYS != 0, libc::EEXIST)?;
    } else if op[0] == b'&' {
        pattern(u.flags & USER_FLAG_ALLCHANNELS != 0, libc::EISDIR)?;
    } else if let Some(category) = op.strip_prefix(b"+@").or_else(|| op.strip_prefix(b"-@")) {
        if ACLGetCommandCategoryFlagByName(category) == 0 {
            return Err(libc::ENOENT);
        }
        if op[0] == b'-' {
            u.flags &= !USER_FLAG_ALLCOMMANDS;
        }
    } else if let Some(name) = op.strip_prefix(b"+") {
        // A command, or one of its subcommands, which may be anything but nothing.
        let (name, sub) = match name.iter().position(|b| *b == b'|') {
            Some(bar) => (&name[..bar], Some(&name[bar + 1..])),
            None => (name, None),
        };
        commands.lookup_original_name(name).ok_or(libc::ENOENT)?;
        if sub.is_some_and(<[u8]>::is_empty) {
            return Err(libc::EINVAL);
        }
    } else if let Some(name) = op.strip_prefix(b"-") {
        commands.lookup_original_name(name).ok_or(libc::ENOENT)?;
        u.flags &= !USER_FLAG_ALLCOMMANDS;
    } else {
        return Err(libc::EINVAL);
    }
    Ok(())
}

/// Returns the text for an error of `ACLSetUser`.
fn ACLSetUserStringError(errno: i32) -> &'static str {
    match errno {
        libc::ENOENT => "Unknown command or category name in ACL",
        libc::EINVAL => "Syntax error",
        libc::EEXIST => {
            "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' to start with an empty list of patterns"
        }
        libc::EISDIR => {
            "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try 'resetchannels' to start with an empty list of channels"
        }
        libc::ENODEV => "The password you are trying to remove from the user does not exist",
        libc::EBADMSG => {
            "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
        }
        _ => "Wrong format",
    }
}

/// Applies a rule that is one of ours, and so right, to the user `default`.
fn set_default_user(server: &mut Server, rule: &[u8]) {
    let Server { users, commands, acl_pubsub_default, .. } = server;
    let result = ACLSetUser(&mut users[DefaultUser], rule, commands, *acl_pubsub_default);
    assert_eq!(result, Ok(()), "a rule of the server's own");
}

/// Makes the user `default`, who is there as long as the process: it may do everything and needs no
/// password.
fn ACLInitDefaultUser(server: &mut Server) {
    let u = ACLCreateUser(server, b"default");
    assert_eq!(u, Some(DefaultUser), "the first user is `default`");
    for rule in ["+@all", "~*", "&*", "on", "nopass"] {
        set_default_user(server, rule.as_bytes());
    }
}

/// Makes the users there are at the start. To be called once, before the first client.
pub fn ACLInit(server: &mut Server) {
    ACLInitDefaultUser(server);
}

/// Tells whether this user may log in with this password. `C_ERR`: there is no such user, it is
/// off, or the password is wrong; the client is not told which.
pub fn ACLCheckUserCredentials(server: &Server, username: &[u8], password: &[u8]) -> CResult {
    let Some(u) = ACLGetUserByName(server, username) else { return C_ERR };
    let u = &server.users[u];
    if u.flags & USER_FLAG_DISABLED != 0 {
        return C_ERR;
    }
    if u.flags & USER_FLAG_NOPASS != 0 {
        return C_OK;
    }
    let hashed = ACLHashPassword(password);
    if u.passwords.iter().any(|pass| time_independent_strcmp(&hashed, pass)) {
        return C_OK;
    }
    C_ERR
}

/// Logs a client in, if the password is right. `C_ERR` as `ACLCheckUserCredentials`; the client
/// stays who it was.
pub fn ACLAuthenticateUser(
    server: &mut Server,
    c: ClientId,
    username: &[u8],
    password: &[u8],
) -> CResult {
    ACLCheckUserCredentials(server, username, password)?;
    let user = ACLGetUserByName(server, username);
    let client = &mut server[c];
    client.authenticated = true;
    client.user = user;
    C_OK
}

/// Returns the user of this name.
pub fn ACLGetUserByName(server: &Server, name: &[u8]) -> Option<UserId> {
    server.users.iter().position(|u| u.name == name)
}

/// Tells whether a user may do all there is, once it is logged in. There are no others here:
/// nothing asks what a user may do.
fn may_everything(u: &User) -> bool {
    let all = USER_FLAG_ENABLED | USER_FLAG_ALLKEYS | USER_FLAG_ALLCHANNELS | USER_FLAG_ALLCOMMANDS;
    u.flags & all == all
}

/// The error for a user who may not do everything.
const NOT_EVERYTHING: &str = "access control lists are not supported by this server: 'default' has to be 'on' and to be given everything, as in 'on nopass ~* &* +@all' or 'on #<hash of the password> ~* &* +@all'";

/// Checks a line `user <name> <rule>...` of a config file, and keeps it for
/// `ACLLoadConfiguredUsers`. The error is the text below the line in the report.
///
/// C: takes any user. Here it has to be `default`, and the line has to give it everything.
pub fn ACLAppendUserForLoading(server: &mut Server, argv: &[Vec<u8>]) -> Result<(), Vec<u8>> {
    let declaration =
        |word: &[u8], why: &str| Err(bformat!("Error in user declaration '{}': {}", B(word), why));
    if argv[1] != b"default" {
        return declaration(&argv[1], "only the user 'default' is supported by this server");
    }
    let mut fakeuser = new_user(b"", server.acl_pubsub_default);
    for rule in &argv[2..] {
        // A command that is not known is an error later, as in the C, where a module may bring it.
        match ACLSetUser(&mut fakeuser, rule, &server.commands, server.acl_pubsub_default) {
            Ok(()) | Err(libc::ENOENT) => {}
            Err(errno) => return declaration(rule, ACLSetUserStringError(errno)),
        }
    }
    if !may_everything(&fakeuser) {
        return declaration(&argv[1], NOT_EVERYTHING);
    }
    server.UsersToLoad.push(argv[1..].to_vec());
    Ok(())
}

/// Makes the users of the config file. `C_ERR`: a rule is wrong; the log says which.
fn ACLLoadConfiguredUsers(server: &mut Server) -> CResult {
    for aclrules in std::mem::take(&mut server.UsersToLoad) {
        set_default_user(server, b"reset");
        for rule in &aclrules[1..] {
            let Server { users, commands, acl_pubsub_default, .. } = server;
            if let Err(errno) =
                ACLSetUser(&mut users[DefaultUser], rule, commands, *acl_pubsub_default)
            {
                serverLog!(
                    LL_WARNING,
                    "Error loading ACL rule '{}' for the user named '{}': {}",
                    B(rule),
                    B(&aclrules[0]),
                    ACLSetUserStringError(errno)
                );
                return C_ERR;
            }
        }
        // `acl-pubsub-default` may come after the line, and have the last word about the channels.
        if !may_everything(&server.users[DefaultUser]) {
            serverLog!(
                LL_WARNING,
                "Error loading the user named '{}': {}",
                B(&aclrules[0]),
                NOT_EVERYTHING
            );
            return C_ERR;
        }
    }
    C_OK
}

/// Makes the users of the configuration, before the first client comes. If one is wrong, the
/// process ends with 1.
pub fn ACLLoadUsersAtStartup(server: &mut Server) {
    if ACLLoadConfiguredUsers(server).is_err() {
        serverLog!(LL_WARNING, "Critical error while loading ACLs. Exiting.");
        std::process::exit(1);
    }
}

/// Queues the set of categories that a command is in.
pub fn addReplyCommandCategories(
    clients: &mut impl AsMut<Clients>,
    c: ClientId,
    cmd: &redisCommand,
) {
    let clients = clients.as_mut();
    let categories = || ACLCommandCategories.iter().filter(|(_, flag)| cmd.flags & flag != 0);
    addReplySetLen(clients, c, categories().count());
    for (name, _) in categories() {
        addReplyStatusFormat!(clients, c, "@{}", name);
    }
}

/// AUTH password; AUTH username password
///
/// Without a name it is the user `default` who logs in.
pub fn authCommand(server: &mut Server, c: ClientId, argv: &Args) {
    if argv.len() > 3 {
        addReplyErrorObject(server, c, shared::syntaxerr);
        return;
    }
    // Neither the slow log nor a monitor shall see it, right or wrong.
    redactClientCommandArgument(server, c, argv, 1);

    let (username, password): (&[u8], &[u8]) = if argv.len() == 2 {
        // An error, though nothing would be refused: someone believes that there is a password.
        if server.users[DefaultUser].flags & USER_FLAG_NOPASS != 0 {
            addReplyError(
                server,
                c,
                b"AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
            );
            return;
        }
        (b"default", &argv[1])
    } else {
        redactClientCommandArgument(server, c, argv, 2);
        (&argv[1], &argv[2])
    };

    if ACLAuthenticateUser(server, c, username, password).is_ok() {
        addReply(server, c, shared::ok);
    } else {
        addReplyError(server, c, b"-WRONGPASS invalid username-password pair or user is disabled.");
    }
}

/// Makes `password` the one password of the user `default` (`requirepass`); with `None` it needs
/// none. Clients that are logged in stay so.
pub fn ACLUpdateDefaultUserPassword(server: &mut Server, password: Option<&[u8]>) {
    set_default_user(server, b"resetpass");
    match password {
        Some(password) => set_default_user(server, &[b">", password].concat()),
        None => set_default_user(server, b"nopass"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::populateCommandTable;

    fn server() -> Server {
        let mut server =
            Server { acl_pubsub_default: USER_FLAG_ALLCHANNELS as i32, ..Server::default() };
        populateCommandTable(&mut server.commands);
        ACLInit(&mut server);
        server
    }

    #[test]
    fn passwords_are_kept_as_sha256() {
        // The first test vector of FIPS 180-2.
        assert_eq!(
            ACLHashPassword(b"abc"),
            b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            ACLHashPassword(b""),
            b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn comparing_takes_all_of_both_strings() {
        assert!(time_independent_strcmp(b"", b""));
        assert!(time_independent_strcmp(b"secret", b"secret"));
        assert!(!time_independent_strcmp(b"secret", b"secreT"));
        assert!(!time_independent_strcmp(b"secret", b"secret\0"), "the length counts");
        let long = [b'x'; CONFIG_AUTHPASS_MAX_LEN + 1];
        assert!(time_independent_strcmp(&long[1..], &long[1..]));
        assert!(!time_independent_strcmp(&long, &long), "too long to be a password");
    }

    #[test]
    fn the_default_user_takes_any_password_until_it_has_one() {
        let mut server = server();
        assert_eq!(
            server.users[DefaultUser].flags & (USER_FLAG_ENABLED | USER_FLAG_DISABLED),
            USER_FLAG_ENABLED
        );
        assert_eq!(ACLCheckUserCredentials(&server, b"default", b"whatever"), C_OK);
        assert_eq!(ACLCheckUserCredentials(&server, b"alice", b"whatever"), C_ERR);

        ACLUpdateDefaultUserPassword(&mut server, Some(b"one"));
        ACLUpdateDefaultUserPassword(&mut server, Some(b"two"));
        assert_eq!(
            ACLCheckUserCredentials(&server, b"default", b"one"),
            C_ERR,
            "the old one is gone"
        );
        assert_eq!(ACLCheckUserCredentials(&server, b"default", b"two"), C_OK);
        assert_eq!(
            ACLCheckUserCredentials(&server, b"DEFAULT", b"two"),
            C_ERR,
            "names have a case"
        );
        assert_eq!(ACLCheckUserCredentials(&server, b"default", b""), C_ERR);

        ACLUpdateDefaultUserPassword(&mut server, None);
        assert_eq!(ACLCheckUserCredentials(&server, b"default", b"three"), C_OK);
        assert!(server.users[DefaultUser].passwords.is_empty());
    }

    #[test]
    fn the_empty_password_is_a_password() {
        let mut server = server();
        ACLUpdateDefaultUserPassword(&mut server, Some(b""));
        assert_eq!(ACLCheckUserCredentials(&server, b"default", b"x"), C_ERR);
        assert_eq!(ACLCheckUserCredentials(&server, b"default", b""), C_OK);
    }

    /// The rules as 6.2 to 8 write them and people type them: with what they leave of the passwords
    /// and flags.
    #[test]
    fn a_user_line_that_gives_everything_is_taken() {
        let (one, two) = (ACLHashPassword(b"one"), ACLHashPassword(b"two"));
        let (one, two) = (str::from_utf8(&one).unwrap(), str::from_utf8(&two).unwrap());
        for (rules, want) in [
            ("on nopass ~* &* +@all", "on nopass sanitize-payload ~* &* +@all".to_string()),
            (
                "+@all &* ~* skip-sanitize-payload nopass ON",
                "on nopass skip-sanitize-payload ~* &* +@all".to_string(),
            ),
            (
                &format!(
                    "on sanitize-payload #{one} >two ~* resetchannels allchannels allcommands"
                ),
                format!("on sanitize-payload #{one} #{two} ~* &* +@all"),
            ),
            (
                &format!(
                    "reset off on >one >one ~a* allkeys -get -@all +@all +get +@read #{two} !{one}"
                ),
                format!("on sanitize-payload #{two} ~* &* +@all"),
            ),
        ] {
            let mut server = server();
            let argv: Vec<Vec<u8>> =
                format!("user default {rules}").split(' ').map(|w| w.into()).collect();
            assert_eq!(ACLAppendUserForLoading(&mut server, &argv), Ok(()), "{rules}");
            assert_eq!(ACLLoadConfiguredUsers(&mut server), C_OK);
            assert_eq!(ACLDescribeUser(&server.users[DefaultUser]), want.as_bytes(), "{rules}");
        }
    }

    #[test]
    fn any_other_user_line_says_why_not() {
        let mut server = server();
        server.acl_pubsub_default = 0;
        let bad_hash = format!("on #{} ~* &* +@all", "A".repeat(64));
        for (rules, word, why) in [
            ("alice on nopass ~* &* +@all", "alice", "only the user 'default'"),
            ("default", "default", "has to be 'on'"),
            ("default off nopass ~* &* +@all", "default", "has to be 'on'"),
            ("default on nopass ~* +@all", "default", "given everything"),
            ("default on nopass ~a* &* +@all", "default", "given everything"),
            ("default on nopass ~* &* +@all -debug", "default", "given everything"),
            ("default on nopass ~* &* +@all -@dangerous", "default", "given everything"),
            (
                "default on nopass ~* ~a &* +@all",
                "~a",
                "Adding a pattern after the * pattern (or the 'allkeys'",
            ),
            (
                "default on nopass ~* &* &a +@all",
                "&a",
                "Adding a pattern after the * pattern (or the 'allchannels'",
            ),
            ("default on <x ~* &* +@all", "<x", "The password you are trying to remove"),
            (
                &format!("default {bad_hash}"),
                &bad_hash[3..68],
                "The password hash must be exactly 64",
            ),
            ("default on nopass ~* &* +@all (+@all)", "(+@all)", "Syntax error"),
            ("default on nopass ~* &* +@all +config|", "+config|", "Syntax error"),
        ] {
            let argv: Vec<Vec<u8>> = format!("user {rules}").split(' ').map(|w| w.into()).collect();
            let error = ACLAppendUserForLoading(&mut server, &argv).unwrap_err();
            let error = String::from_utf8(error).unwrap();
            let head = format!("Error in user declaration '{word}': ");
            assert!(error.starts_with(&head) && error.contains(why), "{rules}: {error}");
        }
        assert!(server.UsersToLoad.is_empty());
    }

    #[test]
    fn logging_in_changes_the_client_only_with_the_right_password() {
        let mut server = server();
        let c = server.clients.insert(Client::default());
        ACLUpdateDefaultUserPassword(&mut server, Some(b"pw"));
        assert_eq!(ACLAuthenticateUser(&mut server, c, b"default", b"no"), C_ERR);
        assert!(!server[c].authenticated && server[c].user.is_none());
        assert_eq!(ACLAuthenticateUser(&mut server, c, b"default", b"pw"), C_OK);
        assert!(server[c].authenticated && server[c].user == Some(DefaultUser));
    }

    #[test]
    fn categories_have_names_and_flags_of_their_own() {
        assert_eq!(ACLGetCommandCategoryFlagByName(b"Connection"), CMD_CATEGORY_CONNECTION);
        assert_eq!(ACLGetCommandCategoryFlagByName(b"all"), 0);
        let all = ACLCommandCategories.iter().fold(0, |all, (_, flag)| {
            assert_eq!(all & flag, 0);
            all | flag
        });
        assert_eq!(all.count_ones() as usize, ACLCommandCategories.len());
    }
}
