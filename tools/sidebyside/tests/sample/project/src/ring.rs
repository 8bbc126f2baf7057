//! `ring.c`: a ring of bytes.
//!
//! It keeps the last bytes of a stream.

/// The least size.
const RING_MIN_SIZE: usize = 16;

/// The bytes, and how many of them are history.
pub struct Ring {
    buf: Vec<u8>,
    histlen: usize,
    idx: usize,
}

/// Makes a ring of a size, but of [`RING_MIN_SIZE`] at least.
pub fn ringCreate(size: usize) -> Ring {
    let size = size.max(RING_MIN_SIZE);
    Ring { buf: vec![0; size], histlen: 0, idx: 0 }
}

/// Appends bytes, over the oldest ones if there is no room.
pub fn ringFeed(r: &mut Ring, mut p: &[u8]) {
    let size = r.buf.len();
    // C: copies all of a write, though only the last bytes of it can stay. Here the others are
    // counted and left out.
    if p.len() > size {
        r.idx = (r.idx + p.len() - size) % size;
        p = last_bytes(p, size);
        r.histlen = size;
    }
    while !p.is_empty() {
        let thislen = (size - r.idx).min(p.len());
        r.buf[r.idx..r.idx + thislen].copy_from_slice(&p[..thislen]);

        // Go on at the start when the end is reached.
        r.idx += thislen;
        if r.idx == size {
            r.idx = 0;
        }

        p = &p[thislen..];
        r.histlen += thislen;
    }

    // There is no more history than the ring is large.
    if r.histlen > size {
        r.histlen = size;
    }
}

/// The end of a slice.
fn last_bytes(p: &[u8], count: usize) -> &[u8] {
    &p[p.len() - count..]
}

/// Where in the buffer the byte at an offset of the history is.
fn ringPlace(r: &Ring, offset: usize) -> usize {
    let start = r.idx + r.buf.len() - r.histlen;
    (start + offset) % r.buf.len()
}

/// The bytes of the history from an offset on, or nothing if it is outside.
pub fn ringRead(r: &Ring, offset: usize, len: usize) -> Option<Vec<u8>> {
    if offset > ringLength(r) {
        return None;
    }
    let len = len.min(ringLength(r) - offset);
    Some((0..len).map(|j| r.buf[ringPlace(r, offset + j)]).collect())
}

/// How many bytes of history there are.
pub fn ringLength(r: &Ring) -> usize {
    r.histlen
}

/// Gives the ring another size; its history is lost.
pub fn ringResize(r: &mut Ring, size: usize) {
    *r = ringCreate(size);
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing() {}
}
