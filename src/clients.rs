//! Ours: the ids of clients. A client is a place in a slab and the generation of its occupant.
//!
//! The C passes `client *` around and must take care that nobody keeps one after `freeClient`. Here
//! it is a `ClientId`: eight bytes, `Copy`, and checked at each use. A stale id panics with the
//! place that used it, where the C would read freed memory; who is not sure asks
//! `server.clients.contains(c)` first.
//!
//! `Clients` also holds what queueing a reply touches besides the client itself, so that a reply
//! can be queued while a value of the keyspace is borrowed: `addReplyBulk(&mut server.clients, c,
//! server.db[db].get(o))`.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::ops::{Index, IndexMut};

use crate::ds::adlist::List;
use crate::replication::stream::ReplStream;
use crate::server_h::{CLIENT_TYPE_OBUF_COUNT, Client, clientBufferLimitsConfig};

// ANCHOR: ClientId
/// The id of a client: the C's `client *`. In it are the client's place in the slab and the place's
/// generation, which is never 0; so an `Option` of an id is as small as an id.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClientId(NonZeroU64);
// ANCHOR_END: ClientId

impl ClientId {
    #[inline(always)]
    fn index(self) -> usize {
        self.0.get() as u32 as usize
    }

    /// Returns the id of the next client in the same place.
    fn next(self) -> ClientId {
        let generation = ((self.0.get() >> 32) as u32).wrapping_add(1).max(1);
        ClientId::from_u64(u64::from(generation) << 32 | self.index() as u64)
    }

    /// Returns the id as the word that the reactor and a connection carry.
    #[inline]
    pub fn to_u64(self) -> u64 {
        self.0.get()
    }

    /// Returns the id of a word that `to_u64` made. For 0 it is an id that no client has.
    #[inline]
    pub fn from_u64(word: u64) -> ClientId {
        ClientId(NonZeroU64::new(word).unwrap_or(NonZeroU64::MAX))
    }
}

/// A place of the slab: the client in it, and the id of that client, or else of the next one.
struct Slot {
    id: ClientId,
    client: Option<Box<Client>>,
}

/// All the clients, and what queueing a reply to one of them touches.
#[derive(Default)]
pub struct Clients {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// The clients with a connection, in order of arrival (the C's `server.clients`).
    pub list: List<ClientId>,
    /// The clients by the number that CLIENT ID shows (the C's `server.clients_index`).
    pub index: HashMap<u64, ClientId>,
    /// The number of the next client.
    pub next_client_id: u64,
    /// The end of the replication stream, from which replicas are sent what they lack.
    pub repl: ReplStream,
    /// Clients that have something to send and no write handler yet. May hold stale ids.
    pub clients_pending_write: Vec<ClientId>,
    /// Clients to free when nobody is in the middle of using them.
    pub clients_to_close: List<ClientId>,
    /// Output buffer limits by class.
    pub client_obuf_limits: [clientBufferLimitsConfig; CLIENT_TYPE_OBUF_COUNT],
}

impl Clients {
    /// Puts a client into the slab. The list and the index are the caller's business
    /// (`linkClient`).
    pub fn insert(&mut self, client: Client) -> ClientId {
        let index = self.free.pop().unwrap_or_else(|| {
            let index = self.slots.len() as u32;
            let id = ClientId::from_u64(1 << 32 | u64::from(index));
            self.slots.push(Slot { id, client: None });
            index
        });
        let slot = &mut self.slots[index as usize];
        slot.client = Some(Box::new(client));
        slot.id
    }

    /// Takes a client out of the slab; from here on every copy of `c` is stale.
    #[track_caller]
    pub fn remove(&mut self, c: ClientId) -> Box<Client> {
        let slot = &mut self.slots[c.index()];
        assert_eq!(slot.id, c, "this client was freed already");
        let client = slot.client.take().expect("this client was freed already");
        slot.id = c.next();
        self.free.push(c.index() as u32);
        client
    }

    /// Returns the client to change, and the queue of those that have something to send.
    #[inline(always)]
    #[track_caller]
    pub fn with_pending_write(&mut self, c: ClientId) -> (&mut Client, &mut Vec<ClientId>) {
        match self.slots.get_mut(c.index()) {
            Some(Slot { id, client: Some(client) }) if *id == c => {
                (client, &mut self.clients_pending_write)
            }
            _ => stale(),
        }
    }

    /// Tells whether the client still exists.
    #[inline]
    pub fn contains(&self, c: ClientId) -> bool {
        self.get(c).is_some()
    }

    /// Returns the client, `None` if it does not exist any more.
    #[inline]
    pub fn get(&self, c: ClientId) -> Option<&Client> {
        let slot = self.slots.get(c.index())?;
        if slot.id == c { slot.client.as_deref() } else { None }
    }

    /// Returns the client to change, `None` if it does not exist any more.
    #[inline]
    pub fn get_mut(&mut self, c: ClientId) -> Option<&mut Client> {
        let slot = self.slots.get_mut(c.index())?;
        if slot.id == c { slot.client.as_deref_mut() } else { None }
    }
}

impl Index<ClientId> for Clients {
    type Output = Client;
    #[inline]
    #[track_caller]
    fn index(&self, c: ClientId) -> &Client {
        match self.slots.get(c.index()) {
            Some(Slot { id, client: Some(client) }) if *id == c => client,
            _ => stale(),
        }
    }
}

impl IndexMut<ClientId> for Clients {
    #[inline]
    #[track_caller]
    fn index_mut(&mut self, c: ClientId) -> &mut Client {
        match self.slots.get_mut(c.index()) {
            Some(Slot { id, client: Some(client) }) if *id == c => client,
            _ => stale(),
        }
    }
}

impl AsMut<Clients> for Clients {
    #[inline]
    fn as_mut(&mut self) -> &mut Clients {
        self
    }
}

#[cold]
#[track_caller]
fn stale() -> ! {
    panic!("a client was used after it was freed")
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;
    use crate::args::Argv;

    #[test]
    fn a_place_is_used_again_and_the_old_id_stays_stale() {
        let mut clients = Clients::default();
        let a = clients.insert(Client { id: 1, ..Client::default() });
        assert_eq!(ClientId::from_u64(a.to_u64()), a);
        assert_eq!(clients.remove(a).id, 1);
        let b = clients.insert(Client { id: 2, ..Client::default() });
        assert_eq!((a.index(), clients[b].id), (b.index(), 2));
        assert!(!clients.contains(a) && clients.contains(b) && clients.get(a).is_none());
    }

    /// What every command looks at of a client is in the first six cache lines.
    #[test]
    fn layout() {
        let of_commands = offset_of!(Client, original_argv) + size_of::<Option<Argv>>();
        assert!(of_commands <= 6 * 64, "{of_commands} bytes");
        assert!(offset_of!(Client, id) >= of_commands);
    }
}
