//! `lzio.h` and `lzio.c`: buffered input for the compiler.

use crate::lstate::{LuaResult, lua_State};

/// The next piece of a chunk, or `None` at its end. It may run Lua code.
pub type lua_Reader<'a, H> =
    &'a mut dyn FnMut(&mut lua_State<H>, &mut H) -> LuaResult<Option<Vec<u8>>>;

/// End of input, as `zgetc` says it.
pub const EOZ: i32 = -1;

/// An input stream.
pub struct ZIO<'a, H> {
    buf: Vec<u8>,
    p: usize,
    reader: Option<lua_Reader<'a, H>>,
}

impl<'a, H> ZIO<'a, H> {
    /// A stream over pieces that a reader hands out.
    pub fn from_reader(reader: lua_Reader<'a, H>) -> ZIO<'a, H> {
        ZIO { buf: Vec::new(), p: 0, reader: Some(reader) }
    }

    /// A stream over a buffer.
    pub fn from_bytes(buf: Vec<u8>) -> ZIO<'a, H> {
        ZIO { buf, p: 0, reader: None }
    }

    /// `zgetc`: the next byte, or [`EOZ`].
    #[inline]
    pub fn getc(&mut self, L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
        if let Some(&c) = self.buf.get(self.p) {
            self.p += 1;
            return Ok(c as i32);
        }
        self.fill(L, host)
    }

    /// `luaZ_fill`: asks the reader for more.
    fn fill(&mut self, L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
        let Some(reader) = &mut self.reader else { return Ok(EOZ) };
        match reader(L, host)? {
            Some(piece) if !piece.is_empty() => {
                self.buf = piece;
                self.p = 1;
                Ok(self.buf[0] as i32)
            }
            _ => Ok(EOZ),
        }
    }

    /// `luaZ_lookahead`: the next byte, which stays, or [`EOZ`].
    pub fn lookahead(&mut self, L: &mut lua_State<H>, host: &mut H) -> LuaResult<i32> {
        let c = self.getc(L, host)?;
        if c != EOZ {
            self.p -= 1;
        }
        Ok(c)
    }
}
