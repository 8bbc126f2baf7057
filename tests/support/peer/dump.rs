//! DUMP payloads: two are the same if they differ in clock readings only, or in the order of a hash
//! table.

const RDB_TYPE_SET: u8 = 2;
const RDB_TYPE_HASH: u8 = 4;
const RDB_TYPE_STREAM_LISTPACKS: u8 = 15;

/// Whether two payloads say the same, as far as bytes can tell: of a hash table only the length is
/// compared.
pub fn same_dump(a: &[u8], b: &[u8]) -> bool {
    match (a.first(), b.first()) {
        (Some(&x), Some(&y)) if x == y && (x == RDB_TYPE_SET || x == RDB_TYPE_HASH) => {
            a.len() == b.len()
        }
        _ => comparable(a) == comparable(b),
    }
}

/// The payload without its checksum; in a stream the delivery times and the times consumers were
/// seen are set to zero where they lie within a day of now.
fn comparable(payload: &[u8]) -> Vec<u8> {
    let mut out = payload[..payload.len().saturating_sub(8)].to_vec();
    if out.first() == Some(&RDB_TYPE_STREAM_LISTPACKS) {
        // A stream that cannot be read is compared as it is.
        let mut at = 1;
        let _ = mask_stream(&mut out, &mut at);
    }
    out
}

fn mask_stream(d: &mut [u8], at: &mut usize) -> Option<()> {
    for _ in 0..length(d, at)? {
        string(d, at)?;
        string(d, at)?;
    }
    for _items_and_last_id in 0..3 {
        length(d, at)?;
    }
    for _ in 0..length(d, at)? {
        string(d, at)?;
        for _last_id in 0..2 {
            length(d, at)?;
        }
        for _ in 0..length(d, at)? {
            *at += 16;
            mask_time(d, at)?;
            length(d, at)?;
        }
        for _ in 0..length(d, at)? {
            string(d, at)?;
            mask_time(d, at)?;
            *at += 16 * length(d, at)? as usize;
        }
    }
    Some(())
}

/// A length as RDB writes it.
fn length(d: &[u8], at: &mut usize) -> Option<u64> {
    let first = *d.get(*at)?;
    let (n, size) = match first >> 6 {
        0 => (u64::from(first & 0x3f), 1),
        1 => (u64::from(first & 0x3f) << 8 | u64::from(*d.get(*at + 1)?), 2),
        2 if first == 0x80 => {
            (u64::from(u32::from_be_bytes(d.get(*at + 1..*at + 5)?.try_into().ok()?)), 5)
        }
        2 if first == 0x81 => (u64::from_be_bytes(d.get(*at + 1..*at + 9)?.try_into().ok()?), 9),
        _ => return None,
    };
    *at += size;
    Some(n)
}

/// Passes over a string: plain, an integer, or compressed.
fn string(d: &[u8], at: &mut usize) -> Option<()> {
    match *d.get(*at)? {
        first @ 0xc0..=0xc2 => *at += 1 + (1 << (first & 3)),
        0xc3 => {
            *at += 1;
            let compressed = length(d, at)?;
            length(d, at)?;
            *at += compressed as usize;
        }
        _ => *at += length(d, at)? as usize,
    }
    Some(())
}

fn mask_time(d: &mut [u8], at: &mut usize) -> Option<()> {
    let time = d.get_mut(*at..*at + 8)?;
    if is_about_now(i64::from_le_bytes(time.try_into().ok()?)) {
        time.fill(0);
    }
    *at += 8;
    Some(())
}

/// Whether this is a time in milliseconds within a day of now.
pub fn is_about_now(ms: i64) -> bool {
    let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |d| d.as_millis() as i64);
    ms.abs_diff(now) < 86_400_000
}
