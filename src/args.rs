//! The arguments of a command, borrowed from the query buffer or owned.
//!
//! The C makes an object of every argument. Here a command gets `&Args`: the bytes stay where the
//! parser found them, and `argv[1]` is a slice. The query buffer is out of its client for the time
//! of the command, so the arguments borrow nothing of the server. Where the C keeps arguments
//! longer than the command (MULTI, blocked clients, rewritten commands), they are copied into an
//! `Argv`.

use std::ops::Index;

use crate::ds::siphash::HashSeed;
use crate::keyspace::KeyGuess;
use crate::server_h::CommandId;

/// The position of an argument in the buffer that holds the command, in bytes.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct ArgRange {
    pub start: usize,
    pub len: usize,
}

/// The arguments of one command, its name first. Cheap to copy.
#[derive(Copy, Clone)]
pub struct Args<'a> {
    buf: &'a [u8],
    ranges: &'a [ArgRange],
    /// Where in `buf` the whole command lies, if that is exactly the bytes that it would be
    /// propagated as. Two equal positions: it is not.
    raw: (usize, usize),
    known: Option<&'a CommandPrefetch>,
}

/// What was found out of a command before its turn. Nothing that runs in between can make it
/// untrue: commands get their names at startup, all dbs hash with one seed, and a guess is one.
#[derive(Copy, Clone, Default)]
pub struct CommandPrefetch {
    /// The command that `argv[0]` names.
    pub cmd: Option<CommandId>,
    /// Which argument the first key is; 0 if nothing is known of it.
    pub key_arg: usize,
    /// The hash of the first key, and where its entry may be.
    pub key: KeyGuess,
    /// A member that the command names, if the key's value is a table.
    pub member: Option<MemberHash>,
}

/// The hash of an argument that is a member of a table.
#[derive(Copy, Clone)]
pub struct MemberHash {
    /// Which argument it is.
    pub arg: usize,
    /// The seed of the table.
    pub seed: HashSeed,
    pub hash: u64,
    /// In a sorted set: the element that is likely to be the member's.
    pub element: u32,
}

impl<'a> Args<'a> {
    /// Makes arguments that lie at `ranges` in `buf`. `raw` tells where the whole command as
    /// received lies, from one position to another, if that is exactly the bytes the command would
    /// be propagated as.
    #[inline]
    pub fn new(buf: &'a [u8], ranges: &'a [ArgRange], raw: Option<(usize, usize)>) -> Self {
        Args { buf, ranges, raw: raw.unwrap_or_default(), known: None }
    }

    /// Returns these arguments with what was found out before their command's turn.
    #[inline]
    pub fn with_prefetch(self, known: &'a CommandPrefetch) -> Self {
        Args { known: Some(known), ..self }
    }

    /// Returns the number of arguments, with the name (`argc`).
    #[inline]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Returns the length of the buffer that holds the command, and perhaps others.
    #[inline]
    pub fn buffer_len(&self) -> usize {
        self.buf.len()
    }

    /// Returns argument `i`, for as long as the buffer lives. Panics if there is none, as indexing
    /// does.
    #[inline]
    #[track_caller]
    pub fn get(&self, i: usize) -> &'a [u8] {
        let r = self.ranges[i];
        &self.buf[r.start..r.start + r.len]
    }

    /// Returns the arguments from one to before another.
    #[inline]
    pub fn range(&self, from: usize, to: usize) -> Args<'a> {
        Args::new(self.buf, &self.ranges[from..to], None)
    }

    /// Returns all the arguments in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &'a [u8]> + ExactSizeIterator + use<'a> {
        let buf = self.buf;
        self.ranges.iter().map(move |r| &buf[r.start..r.start + r.len])
    }

    /// Returns the command in the multibulk form of the protocol, if it arrived in just that form.
    #[inline]
    pub fn raw(&self) -> Option<&'a [u8]> {
        let (start, end) = self.raw;
        if start == end { None } else { Some(&self.buf[start..end]) }
    }

    /// Returns the command that `argv[0]` names, where it was looked up ahead.
    #[inline]
    pub fn cmd(&self) -> Option<CommandId> {
        self.known?.cmd
    }

    /// Returns the address of the first key, its length and its hash, where that was computed
    /// ahead.
    #[inline]
    pub fn hashed_key(&self) -> Option<(usize, usize, &'a KeyGuess)> {
        let known = self.known?;
        if known.key_arg == 0 {
            return None;
        }
        let r = self.ranges[known.key_arg];
        Some((self.buf.as_ptr().addr() + r.start, r.len, &known.key))
    }

    /// Returns the hash of argument `i` under a table's seed, where it was computed ahead.
    #[inline(always)]
    pub fn member_hash(&self, i: usize, seed: &HashSeed) -> Option<u64> {
        self.member(i, seed).map(|member| member.hash)
    }

    /// Returns what was found out ahead about argument `i`, a member of the table that has this
    /// seed.
    #[inline(always)]
    pub fn member(&self, i: usize, seed: &HashSeed) -> Option<&'a MemberHash> {
        self.known?.member.as_ref().filter(|member| member.arg == i && member.seed == *seed)
    }

    /// Returns an owned copy.
    pub fn to_argv(&self) -> Argv {
        match self.raw() {
            // The ranges point into `buf`; in the copy they point into the raw bytes.
            Some(raw) => {
                let base = self.raw.0;
                let ranges = self
                    .ranges
                    .iter()
                    .map(|r| ArgRange { start: r.start - base, len: r.len })
                    .collect();
                Argv { buf: raw.to_vec(), ranges }
            }
            None => self.iter().collect(),
        }
    }
}

impl Index<usize> for Args<'_> {
    type Output = [u8];
    #[inline]
    #[track_caller]
    fn index(&self, i: usize) -> &[u8] {
        self.get(i)
    }
}

/// Owned arguments, stored as the command would be propagated: one allocation for the bytes of the
/// multibulk form, one for the places of the arguments in it.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Argv {
    buf: Vec<u8>,
    ranges: Vec<ArgRange>,
}

impl Argv {
    /// Makes owned arguments out of `args`, the command's name first.
    pub fn new<T: AsRef<[u8]>>(args: &[T]) -> Argv {
        args.iter().map(|a| a.as_ref()).collect()
    }

    /// Makes it empty, to be filled again by `argc` times `push`. The memory stays.
    pub fn begin(&mut self, argc: usize) {
        self.buf.clear();
        self.ranges.clear();
        header(&mut self.buf, b'*', argc);
    }

    /// Adds the next of the arguments that `begin` spoke of.
    pub fn push(&mut self, arg: &[u8]) {
        // The header, the argument and the end of the line take no more.
        self.buf.reserve(arg.len() + 32);
        header(&mut self.buf, b'$', arg.len());
        self.ranges.push(ArgRange { start: self.buf.len(), len: arg.len() });
        self.buf.extend_from_slice(arg);
        self.buf.extend_from_slice(b"\r\n");
    }

    /// Makes it empty, to be filled again by `push_bare`. The memory stays.
    pub fn begin_bare(&mut self) {
        self.buf.clear();
        self.ranges.clear();
    }

    /// Adds an argument without the form of the protocol, for `bare_args`.
    #[inline]
    pub fn push_bare(&mut self, arg: &[u8]) {
        self.ranges.push(ArgRange { start: self.buf.len(), len: arg.len() });
        self.buf.extend_from_slice(arg);
    }

    /// Borrows the arguments that `push_bare` has added as those of a command. If it is propagated
    /// nevertheless, it is written down then.
    #[inline]
    pub fn bare_args(&self) -> Args<'_> {
        Args::new(&self.buf, &self.ranges, None)
    }

    /// Returns the number of arguments.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Borrows the arguments as those of a command.
    #[inline]
    pub fn as_args(&self) -> Args<'_> {
        Args::new(&self.buf, &self.ranges, Some((0, self.buf.len())))
    }

    /// Returns the memory that the arguments take, in bytes, without the structure itself.
    pub fn mem_usage(&self) -> usize {
        self.buf.capacity() + self.ranges.capacity() * size_of::<ArgRange>()
    }

    /// Returns a copy of the arguments with argument `i` replaced; with `i` one past the last,
    /// appended.
    pub fn with_arg(&self, i: usize, value: &[u8]) -> Argv {
        let args = self.as_args();
        let mut all: Vec<&[u8]> = args.iter().collect();
        if i < all.len() {
            all[i] = value;
        } else {
            all.push(value);
        }
        all.into_iter().collect()
    }
}

impl Index<usize> for Argv {
    type Output = [u8];
    #[track_caller]
    fn index(&self, i: usize) -> &[u8] {
        self.as_args().get(i)
    }
}

impl<'a> FromIterator<&'a [u8]> for Argv {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(args: I) -> Argv {
        let args: Vec<&[u8]> = args.into_iter().collect();
        let mut argv = Argv {
            buf: Vec::with_capacity(16 + args.iter().map(|a| a.len() + 16).sum::<usize>()),
            ranges: Vec::with_capacity(args.len()),
        };
        argv.begin(args.len());
        args.into_iter().for_each(|a| argv.push(a));
        argv
    }
}

/// Appends a protocol header: a type byte, a number and the end of the line.
fn header(buf: &mut Vec<u8>, prefix: u8, n: usize) {
    // Most numbers have one digit or two.
    if n < 10 {
        return buf.extend_from_slice(&[prefix, b'0' + n as u8, b'\r', b'\n']);
    }
    if n < 100 {
        let (tens, ones) = (b'0' + (n / 10) as u8, b'0' + (n % 10) as u8);
        return buf.extend_from_slice(&[prefix, tens, ones, b'\r', b'\n']);
    }
    buf.push(prefix);
    buf.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
    buf.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owned_arguments_are_the_multibulk_form() {
        let v = Argv::new(&["SET", "k", ""]);
        assert_eq!(v.as_args().raw().unwrap(), b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n");
        assert_eq!((&v[0], &v[2]), (&b"SET"[..], &b""[..]));
        assert_eq!(v.with_arg(1, b"key").as_args().get(1), b"key");
        assert_eq!(v.with_arg(3, b"NX").len(), 4);
    }

    #[test]
    fn a_copy_of_borrowed_arguments_stands_alone() {
        let buf = b"junk*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n".to_vec();
        let ranges = [ArgRange { start: 12, len: 4 }, ArgRange { start: 22, len: 2 }];
        let args = Args::new(&buf, &ranges, Some((4, buf.len())));
        let owned = args.to_argv();
        assert_eq!((&owned[0], &owned[1]), (&b"ECHO"[..], &b"hi"[..]));
        assert_eq!(owned, Args::new(&buf, &ranges, None).to_argv());
    }
}
