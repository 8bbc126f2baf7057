//! `module.c`: there are no modules. MODULE says so.

use crate::args::Args;
use crate::networking::*;
use crate::server_h::*;
use crate::util::eq_ignore_case;

/// MODULE LIST | LOAD path [arg ...] | UNLOAD name | HELP
///
/// C: LOAD loads one, or answers that the log says why not.
pub fn moduleCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let is = |name: &str| eq_ignore_case(argv.get(1), name.as_bytes());
    if argv.len() == 2 && is("help") {
        let help = [
            "LIST",
            "    Return a list of loaded modules.",
            "LOAD <path> [<arg> ...]",
            "    Load a module library from <path>, passing to it any optional arguments.",
            "UNLOAD <name>",
            "    Unload a module.",
        ];
        addReplyHelp(server, c, argv, &help);
    } else if is("load") && argv.len() >= 3 {
        addReplyError(server, c, b"Modules are not supported by this server");
    } else if is("unload") && argv.len() == 3 {
        addReplyError(server, c, b"Error unloading module: no such module with that name");
    } else if is("list") && argv.len() == 2 {
        addReplyArrayLen(server, c, 0);
    } else {
        addReplySubcommandSyntaxError(server, c, argv);
    }
}
