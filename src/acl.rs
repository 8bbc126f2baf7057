//! `acl.c`, as far as the user `default` and its password go: AUTH, and the categories of commands.
//!
//! Read first: `ACLCheckUserCredentials` and `authCommand`.
//!
//! Absent: all other users, and so the ACL command, the rules of who may run what on which keys and channels, the ACL log and
//! ACL files. The one user there is may do everything; it may need a password. Until a client has given it, `processCommand`
//! lets it run commands flagged `no-auth` alone.

use sha2::{Digest, Sha256};

use crate::args::Args;
use crate::networking::*;
use crate::server_h::*;
use crate::util::{eq_ignore_case, hex};

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

// =============================================================================
// Helper functions
// =============================================================================

/// Whether two strings are the same, found out in a time that tells nothing about either: all bytes are compared, of
/// buffers of a fixed size. Strings that don't fit into them are not the same as anything.
fn time_independent_strcmp(a: &[u8], b: &[u8]) -> bool {
    let mut bufa = [0u8; CONFIG_AUTHPASS_MAX_LEN];
    let mut bufb = [0u8; CONFIG_AUTHPASS_MAX_LEN];
    if a.len() > bufa.len() || b.len() > bufb.len() {
        return false;
    }
    bufa[..a.len()].copy_from_slice(a);
    bufb[..b.len()].copy_from_slice(b);

    // The box keeps the compiler from stopping at the first difference.
    let mut diff = a.len() ^ b.len();
    for (a, b) in bufa.iter().zip(&bufb) {
        diff = std::hint::black_box(diff | usize::from(a ^ b));
    }
    diff == 0
}

/// The form in which a password is kept: its SHA-256 in 64 hex digits.
pub fn ACLHashPassword(cleartext: &[u8]) -> Vec<u8> {
    hex(&Sha256::digest(cleartext))
}

// =============================================================================
// Users
// =============================================================================

/// The flag of a category (`CMD_CATEGORY_*`), found by its name without `@`; 0 if there is none of this name.
pub fn ACLGetCommandCategoryFlagByName(name: &[u8]) -> u64 {
    ACLCommandCategories
        .iter()
        .find(|(category, _)| eq_ignore_case(name, category.as_bytes()))
        .map_or(0, |&(_, flag)| flag)
}

/// Adds a user who may nothing yet, and returns its number; `None` if the name is taken.
fn ACLCreateUser(server: &mut Server, name: &[u8]) -> Option<UserId> {
    if ACLGetUserByName(server, name).is_some() {
        return None;
    }
    let flags = USER_FLAG_DISABLED | USER_FLAG_ALLCHANNELS;
    server.users.push(User { name: name.to_vec(), flags, passwords: Vec::new() });
    Some(server.users.len() - 1)
}

/// A change of what a user may do.
///
/// C: rules are parsed from text. Here nobody can write them, and these are the ones the server itself applies.
enum AclRule<'a> {
    /// `on`: it may log in.
    On,
    /// `~*`: all keys.
    AllKeys,
    /// `&*`: all channels.
    AllChannels,
    /// `+@all`: all commands, and those to come.
    AllCommands,
    /// `nopass`: any password will do.
    NoPass,
    /// `resetpass`: none will do, until one is added.
    ResetPass,
    /// `>password`: this one will do too.
    Password(&'a [u8]),
}

/// Applies a rule to a user.
fn ACLSetUser(u: &mut User, rule: AclRule) {
    match rule {
        AclRule::On => {
            u.flags |= USER_FLAG_ENABLED;
            u.flags &= !USER_FLAG_DISABLED;
        }
        AclRule::AllKeys => u.flags |= USER_FLAG_ALLKEYS,
        AclRule::AllChannels => u.flags |= USER_FLAG_ALLCHANNELS,
        AclRule::AllCommands => u.flags |= USER_FLAG_ALLCOMMANDS,
        AclRule::NoPass => {
            u.flags |= USER_FLAG_NOPASS;
            u.passwords.clear();
        }
        AclRule::ResetPass => {
            u.flags &= !USER_FLAG_NOPASS;
            u.passwords.clear();
        }
        AclRule::Password(password) => {
            let newpass = ACLHashPassword(password);
            if !u.passwords.contains(&newpass) {
                u.passwords.push(newpass);
            }
            u.flags &= !USER_FLAG_NOPASS;
        }
    }
}

/// Makes the user `default`, who is there as long as the process: it may do everything and needs no password.
fn ACLInitDefaultUser(server: &mut Server) {
    let u = ACLCreateUser(server, b"default");
    assert_eq!(u, Some(DefaultUser), "the first user is `default`");
    let u = &mut server.users[DefaultUser];
    ACLSetUser(u, AclRule::AllCommands);
    ACLSetUser(u, AclRule::AllKeys);
    ACLSetUser(u, AclRule::AllChannels);
    ACLSetUser(u, AclRule::On);
    ACLSetUser(u, AclRule::NoPass);
}

/// Makes the users there are at the start. To be called once, before the first client.
pub fn ACLInit(server: &mut Server) {
    ACLInitDefaultUser(server);
}

/// Whether this user may log in with this password. `C_ERR`: there is no such user, it is off, or the password is wrong; the
/// client is not told which.
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

/// Logs a client in, if the password is right. `C_ERR` as `ACLCheckUserCredentials`; the client stays who it was.
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

/// The user of this name.
pub fn ACLGetUserByName(server: &Server, name: &[u8]) -> Option<UserId> {
    server.users.iter().position(|u| u.name == name)
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

/// Makes `password` the one password of the user `default` (`requirepass`); with `None` it needs none. Who is logged in stays so.
pub fn ACLUpdateDefaultUserPassword(server: &mut Server, password: Option<&[u8]>) {
    let u = &mut server.users[DefaultUser];
    ACLSetUser(u, AclRule::ResetPass);
    ACLSetUser(u, password.map_or(AclRule::NoPass, AclRule::Password));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Server {
        let mut server = Server::default();
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
