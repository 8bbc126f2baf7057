//! `gopher.c`: keys that begin with a slash, served by the Gopher protocol (`gopher-enabled`).
//!
//! A Gopher client sends one line, a selector, and gets a text until the connection is closed. Such
//! a line is an inline request without arguments, or with one that begins with a slash.
#![forbid(unsafe_code)]

use crate::args::Args;
use crate::bformat;
use crate::db::lookupKeyRead;
use crate::keyspace::{OBJ_STRING, ValueRef};
use crate::networking::*;
use crate::server_h::*;
use crate::util::ll2string;

/// Queues an entry of a directory that refers to nothing: a line of text.
fn addReplyGopherItem(server: &mut Server, c: ClientId, type_: &str, descr: &str) {
    let item = bformat!("{}{}\t{}\t{}\t{}\r\n", type_, descr, "(NULL)", "(NULL)", 0);
    addReplyProto(server, c, &item);
}

/// Answers a request for the key that it names, or for the key `/`. The caller closes the
/// connection.
///
/// The line with a dot that ends a text in the protocol is not sent, as in the C: clients do without
/// it, and in a binary file it would be one byte too many.
pub fn processGopherRequest(server: &mut Server, c: ClientId, argv: &Args) {
    let keyname: &[u8] = if argv.len() == 0 { b"/" } else { argv.get(0) };
    let db = server[c].db;
    let error = match lookupKeyRead(server, db, keyname) {
        None => "Error: no content at the specified key",
        Some(o) if server.db[db].dict.type_of(o) != OBJ_STRING => {
            "Error: selected key type is invalid for Gopher output"
        }
        Some(o) => {
            match server.db[db].dict.get(o) {
                ValueRef::Int(n) => addReplyProto(&mut server.clients, c, &ll2string(n)),
                ValueRef::Str(s) => addReplyProto(&mut server.clients, c, s),
                _ => {}
            }
            return;
        }
    };
    addReplyGopherItem(server, c, "i", error);
    addReplyGopherItem(server, c, "i", "Redis Gopher server");
}
