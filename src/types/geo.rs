//! `geo.c`: geospatial commands, on sorted sets of places whose scores are geohashes.
//!
//! Read first: `georadiusGeneric`, then `membersOfAllNeighbors`. The numbers are in `geohash.rs`.
//! Differs: the points of a search borrow their members from the sorted set.

use std::cmp::Ordering;

use crate::addReplyErrorFormat;
use crate::args::{Args, Argv};
use crate::clients::Clients;
use crate::db::*;
use crate::ds::longdouble::LongDouble;
use crate::ds::skiplist::{zrangespec, zslValueLteMax};
use crate::ds::ziplist::ZiplistEntry;
use crate::keyspace::*;
use crate::networking::*;
use crate::notify::notifyKeyspaceEvent;
use crate::object::*;
use crate::server::{CommandSpec, command};
use crate::server_h::*;
use crate::sort::pqsort;
use crate::types::geohash::*;
use crate::types::t_zset::*;
use crate::util::{B, c_str, eq_ignore_case, ll2string};

const FIRST: (i32, i32, i32) = (1, 1, 1);

/// The geospatial commands.
#[rustfmt::skip]
pub const COMMANDS: &[CommandSpec] = &[
    command("geoadd", geoaddCommand, -5, "write use-memory @geo", FIRST),
    // They may store their results.
    command("georadius", georadiusCommand, -6, "write use-memory @geo", FIRST).getkeys(georadiusGetKeys),
    command("georadius_ro", georadiusroCommand, -6, "read-only @geo", FIRST),
    command("georadiusbymember", georadiusbymemberCommand, -5, "write use-memory @geo", FIRST).getkeys(georadiusGetKeys),
    command("georadiusbymember_ro", georadiusbymemberroCommand, -5, "read-only @geo", FIRST),
    command("geohash", geohashCommand, -2, "read-only @geo", FIRST),
    command("geopos", geoposCommand, -2, "read-only @geo", FIRST),
    command("geodist", geodistCommand, -4, "read-only @geo", FIRST),
    command("geosearch", geosearchCommand, -7, "read-only @geo", FIRST),
    command("geosearchstore", geosearchstoreCommand, -8, "write use-memory @geo", (1, 2, 1)),
];

/// A place that was found.
#[derive(Copy, Clone)]
struct geoPoint<'a> {
    longitude: f64,
    latitude: f64,
    /// The distance from the middle of the search, in metres.
    dist: f64,
    score: f64,
    member: ZiplistEntry<'a>,
}

/// The places that were found.
type geoArray<'a> = Vec<geoPoint<'a>>;

// ====================================================================
// Helpers
// ====================================================================

/// Returns a double as an integer of 64 bits, as the C's processor converts it, also where the
/// language leaves that open: any number may be a score.
fn double_to_bits(d: f64) -> u64 {
    const TWO_63: f64 = 9223372036854775808.0;
    let truncate = |d: f64| if (-TWO_63..TWO_63).contains(&d) { d as i64 as u64 } else { 1 << 63 };
    if d >= TWO_63 { truncate(d - TWO_63) ^ (1 << 63) } else { truncate(d) }
}

/// Returns the longitude and latitude that a score stands for.
fn decodeGeohash(bits: f64) -> Option<[f64; 2]> {
    geohashDecodeToLongLatWGS84(GeoHashBits { bits: double_to_bits(bits), step: GEO_STEP_MAX })
}

/// Parses longitude and latitude from the arguments `at` and `at + 1`. On an error the reply was
/// sent.
fn extractLongLatOrReply(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    at: usize,
) -> Result<[f64; 2], ()> {
    let longitude = getDoubleFromObjectOrReply(server, c, &argv[at], None)?;
    let latitude = getDoubleFromObjectOrReply(server, c, &argv[at + 1], None)?;
    if !(GEO_LONG_MIN..=GEO_LONG_MAX).contains(&longitude)
        || !(GEO_LAT_MIN..=GEO_LAT_MAX).contains(&latitude)
    {
        addReplyErrorFormat!(
            server,
            c,
            "-ERR invalid longitude,latitude pair {:.6},{:.6}\r\n",
            longitude,
            latitude
        );
        return Err(());
    }
    Ok([longitude, latitude])
}

/// Returns where a member is. `None`: it is not there.
fn longLatFromMember(zobj: ZsetRef, member: &[u8]) -> Option<[f64; 2]> {
    decodeGeohash(zsetScore(zobj, member)?)
}

/// Returns how many metres a unit has. On an error the reply was sent.
fn extractUnitOrReply(server: &mut Server, c: ClientId, unit: &[u8]) -> Result<f64, ()> {
    match c_str(unit) {
        b"m" => Ok(1.0),
        b"km" => Ok(1000.0),
        b"ft" => Ok(0.3048),
        b"mi" => Ok(1609.34),
        _ => {
            addReplyError(server, c, b"unsupported unit provided. please use m, km, ft, mi");
            Err(())
        }
    }
}

/// Returns a distance and its unit, in metres, from the arguments `at` and `at + 1`. On an error
/// the reply was sent.
fn extractDistanceOrReply(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    at: usize,
) -> Result<(Shape, f64), ()> {
    let radius = getDoubleFromObjectOrReply(server, c, &argv[at], Some("need numeric radius"))?;
    if radius < 0.0 {
        addReplyError(server, c, b"radius cannot be negative");
        return Err(());
    }
    let conversion = extractUnitOrReply(server, c, &argv[at + 1])?;
    Ok((Shape::Circular { radius }, conversion))
}

/// Parses width, height and their unit from three arguments, and returns them in metres. On an
/// error the reply was sent.
fn extractBoxOrReply(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    at: usize,
) -> Result<(Shape, f64), ()> {
    let width = getDoubleFromObjectOrReply(server, c, &argv[at], Some("need numeric width"))?;
    let height = getDoubleFromObjectOrReply(server, c, &argv[at + 1], Some("need numeric height"))?;
    if height < 0.0 || width < 0.0 {
        addReplyError(server, c, b"height or width cannot be negative");
        return Err(());
    }
    let conversion = extractUnitOrReply(server, c, &argv[at + 2])?;
    Ok((Shape::Rectangle { height, width }, conversion))
}

/// Queues a distance: four digits after the point are enough for any unit.
fn addReplyDoubleDistance(clients: &mut impl AsMut<Clients>, c: ClientId, d: f64) {
    let text = if d.is_nan() {
        // Two places opposite each other may be a little farther away than half around the world.
        if d.is_sign_negative() { "-nan".to_owned() } else { "nan".to_owned() }
    } else {
        format!("{d:.4}")
    };
    addReplyBulkCBuffer(clients, c, text.as_bytes());
}

/// Adds a member of a sorted set to the places found if it is within the shape.
fn geoAppendIfWithinShape<'a>(
    ga: &mut geoArray<'a>,
    shape: &GeoShape,
    score: f64,
    member: ZiplistEntry<'a>,
) {
    let Some([longitude, latitude]) = decodeGeohash(score) else { return };
    let [x, y] = shape.xy;
    let dist = match shape.shape {
        Shape::Circular { radius } => {
            geohashGetDistanceIfInRadiusWGS84(x, y, longitude, latitude, radius * shape.conversion)
        }
        Shape::Rectangle { height, width } => {
            let (width_m, height_m) = (width * shape.conversion, height * shape.conversion);
            geohashGetDistanceIfInRectangle(width_m, height_m, x, y, longitude, latitude)
        }
    };
    if let Some(dist) = dist {
        ga.push(geoPoint { longitude, latitude, dist, score, member });
    }
}

/// Tells whether there are as many places as are wanted; 0 is no limit.
fn enough(ga: &geoArray<'_>, limit: usize) -> bool {
    limit != 0 && ga.len() >= limit
}

/// Adds the members with a score from `min` to below `max` that are within the shape, until there
/// are `limit` in all.
fn geoGetPointsInRange<'a>(
    zobj: ZsetRef<'a>,
    min: f64,
    max: f64,
    shape: &GeoShape,
    ga: &mut geoArray<'a>,
    limit: usize,
) {
    let range = zrangespec { min, max, minex: false, maxex: true };
    for (member, score) in ZsetWalk::in_range(zobj, &range, false) {
        if !zslValueLteMax(score, &range) {
            break;
        }
        geoAppendIfWithinShape(ga, shape, score, member);
        if enough(ga, limit) {
            break;
        }
    }
}

/// Returns the smallest score of a box, and the first one after it.
///
/// Everything in the box has its bits as a prefix: with zeros behind it, that is the smallest
/// score. The next prefix with zeros behind it is no longer in the box.
fn scoresOfGeoHashBox(mut hash: GeoHashBits) -> (u64, u64) {
    let min = geohashAlign52Bits(hash);
    hash.bits = hash.bits.wrapping_add(1);
    (min, geohashAlign52Bits(hash))
}

/// Adds the members in a box that are within the shape.
fn membersOfGeoHashBox<'a>(
    zobj: ZsetRef<'a>,
    hash: GeoHashBits,
    ga: &mut geoArray<'a>,
    shape: &GeoShape,
    limit: usize,
) {
    let (min, max) = scoresOfGeoHashBox(hash);
    geoGetPointsInRange(zobj, min as f64, max as f64, shape, ga, limit);
}

/// Adds the members in a box and in the eight around it that are within the shape.
fn membersOfAllNeighbors<'a>(
    zobj: ZsetRef<'a>,
    n: &GeoHashRadius,
    shape: &GeoShape,
    ga: &mut geoArray<'a>,
    limit: usize,
) {
    let near = &n.neighbors;
    let neighbors = [
        n.hash,
        near.north,
        near.south,
        near.east,
        near.west,
        near.north_east,
        near.north_west,
        near.south_east,
        near.south_west,
    ];
    let mut last_processed = 0;
    for (i, &hash) in neighbors.iter().enumerate() {
        if HASHISZERO(hash) {
            continue;
        }
        // When the radius is huge, 5000 km or more, neighbours may be the same, and its members
        // must not be found twice.
        if last_processed != 0 && hash == neighbors[last_processed] {
            continue;
        }
        if enough(ga, limit) {
            break;
        }
        membersOfGeoHashBox(zobj, hash, ga, shape, limit);
        last_processed = i;
    }
}

fn sort_gp_asc(a: &geoPoint<'_>, b: &geoPoint<'_>) -> Ordering {
    if a.dist > b.dist {
        Ordering::Greater
    } else if a.dist == b.dist {
        Ordering::Equal
    } else {
        Ordering::Less
    }
}

fn sort_gp_desc(a: &geoPoint<'_>, b: &geoPoint<'_>) -> Ordering {
    sort_gp_asc(a, b).reverse()
}

/// Sorts as the C library's `qsort` does: equals stay in their order. Unlike the sorting of std it
/// takes any order, as that of distances that are NaN.
fn qsort<T: Copy>(v: &mut [T], cmp: fn(&T, &T) -> Ordering) {
    if v.len() <= 1 {
        return;
    }
    let (first, second) = v.split_at_mut(v.len() / 2);
    qsort(first, cmp);
    qsort(second, cmp);
    let merged = {
        let (mut a, mut b) = (first.iter().peekable(), second.iter().peekable());
        let next = || match (a.peek(), b.peek()) {
            (Some(x), Some(y)) if cmp(x, y).is_gt() => b.next().copied(),
            (Some(_), _) => a.next().copied(),
            (None, _) => b.next().copied(),
        };
        std::iter::from_fn(next).collect::<Vec<T>>()
    };
    v.copy_from_slice(&merged);
}

// ====================================================================
// Commands
// ====================================================================

/// GEOADD key [CH] [NX|XX] longitude latitude member [longitude latitude member ...]
pub fn geoaddCommand(server: &mut Server, c: ClientId, argv: &Args) {
    // Options come before the first longitude.
    let (mut xx, mut nx, mut longidx) = (false, false, 2);
    while longidx < argv.len() {
        let opt = argv.get(longidx);
        if eq_ignore_case(opt, b"nx") {
            nx = true;
        } else if eq_ignore_case(opt, b"xx") {
            xx = true;
        } else if !eq_ignore_case(opt, b"ch") {
            break;
        }
        longidx += 1;
    }
    if !(argv.len() - longidx).is_multiple_of(3) || (xx && nx) {
        addReplyErrorObject(server, c, shared::syntaxerr);
        return;
    }

    // It is a ZADD with the geohashes as scores.
    let mut scores = Vec::with_capacity((argv.len() - longidx) / 3);
    for at in (longidx..argv.len()).step_by(3) {
        let Ok([longitude, latitude]) = extractLongLatOrReply(server, c, argv, at) else { return };
        let hash = geohashEncodeWGS84(longitude, latitude, GEO_STEP_MAX).unwrap_or_default();
        scores.push(ll2string(geohashAlign52Bits(hash) as i64));
    }
    let mut zadd: Vec<&[u8]> = Vec::with_capacity(longidx + scores.len() * 2);
    zadd.push(b"zadd");
    zadd.extend(argv.iter().take(longidx).skip(1));
    for (i, score) in scores.iter().enumerate() {
        zadd.extend([&**score, argv.get(longidx + i * 3 + 2)]);
    }
    let zadd = Argv::new(&zadd);
    replaceClientCommandVector(server, c, zadd.clone());
    zaddCommand(server, c, &zadd.as_args());
}

/// The order of the results.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Sort {
    None,
    Asc,
    Desc,
}

/// Search around coordinates.
const RADIUS_COORDS: i32 = 1 << 0;
/// Search around a member.
const RADIUS_MEMBER: i32 = 1 << 1;
/// STORE and STOREDIST are no options.
const RADIUS_NOSTORE: i32 = 1 << 2;
/// GEOSEARCH, which has other options.
const GEOSEARCH: i32 = 1 << 3;
/// GEOSEARCHSTORE, where STOREDIST is a flag.
const GEOSEARCHSTORE: i32 = 1 << 4;

/// Implements GEORADIUS, GEORADIUSBYMEMBER, their read-only forms, GEOSEARCH and GEOSEARCHSTORE.
fn georadiusGeneric(server: &mut Server, c: ClientId, argv: &Args, srcKeyIndex: usize, flags: i32) {
    let db = server[c].db;
    let mut storekey = None;
    // The scores of what is stored are distances, not geohashes.
    let mut storedist = false;

    // Look up the requested zset.
    let zobj = lookupKeyRead(server, db, &argv[srcKeyIndex]);
    if let Some(o) = zobj
        && checkType(server, c, o, OBJ_ZSET)
    {
        return;
    }

    // Find long/lat to use for radius or box search based on inquiry type.
    let base_args;
    let mut shape = GeoShape {
        shape: Shape::Circular { radius: 0.0 },
        xy: [0.0; 2],
        conversion: 0.0,
        bounds: [0.0; 4],
    };
    if flags & RADIUS_COORDS != 0 {
        base_args = 6;
        let Ok(xy) = extractLongLatOrReply(server, c, argv, 2) else { return };
        shape.xy = xy;
        let Ok(distance) = extractDistanceOrReply(server, c, argv, base_args - 2) else { return };
        (shape.shape, shape.conversion) = distance;
    } else if flags & RADIUS_MEMBER != 0 {
        base_args = 5;
        // Without a key there is no member, but the options still say what to reply.
        if let Some(o) = zobj {
            let Some(xy) = longLatFromMember(server.db[db].dict.zset(o), &argv[2]) else {
                addReplyError(server, c, b"could not decode requested zset member");
                return;
            };
            shape.xy = xy;
            let Ok(distance) = extractDistanceOrReply(server, c, argv, base_args - 2) else {
                return;
            };
            (shape.shape, shape.conversion) = distance;
        }
    } else if flags & GEOSEARCHSTORE != 0 {
        base_args = 3;
        storekey = Some(argv.get(1));
    } else {
        base_args = 2;
    }

    // Discover and populate all optional parameters.
    let (mut withdist, mut withhash, mut withcoords) = (false, false, false);
    let (mut frommember, mut fromloc, mut byradius, mut bybox) = (false, false, false, false);
    let mut sort = Sort::None;
    // A search that ends as soon as there are enough results.
    let mut any = false;
    // The most results to return; 0 is no limit.
    let mut count = 0;
    let search = flags & GEOSEARCH != 0;
    let radius_store = !search && flags & RADIUS_NOSTORE == 0;
    let mut i = base_args;
    while i < argv.len() {
        let arg = argv.get(i);
        let is = |name: &[u8]| eq_ignore_case(arg, name);
        // How many arguments follow.
        let more = argv.len() - i - 1;
        if is(b"withdist") {
            withdist = true;
        } else if is(b"withhash") {
            withhash = true;
        } else if is(b"withcoord") {
            withcoords = true;
        } else if is(b"any") {
            any = true;
        } else if is(b"asc") {
            sort = Sort::Asc;
        } else if is(b"desc") {
            sort = Sort::Desc;
        } else if is(b"count") && more >= 1 {
            match getLongLongFromObjectOrReply(server, c, &argv[i + 1], None) {
                Err(()) => return,
                Ok(..=0) => {
                    addReplyError(server, c, b"COUNT must be > 0");
                    return;
                }
                Ok(n) => count = n as usize,
            }
            i += 1;
        } else if (is(b"store") || is(b"storedist")) && more >= 1 && radius_store {
            storekey = Some(argv.get(i + 1));
            storedist = is(b"storedist");
            i += 1;
        } else if is(b"storedist") && search && flags & GEOSEARCHSTORE != 0 {
            storedist = true;
        } else if is(b"frommember") && more >= 1 && search && !fromloc {
            // Without a key, go on: the other options may be wrong.
            if let Some(o) = zobj {
                let Some(xy) = longLatFromMember(server.db[db].dict.zset(o), &argv[i + 1]) else {
                    addReplyError(server, c, b"could not decode requested zset member");
                    return;
                };
                shape.xy = xy;
            }
            frommember = true;
            i += 1;
        } else if is(b"fromlonlat") && more >= 2 && search && !frommember {
            let Ok(xy) = extractLongLatOrReply(server, c, argv, i + 1) else { return };
            shape.xy = xy;
            fromloc = true;
            i += 2;
        } else if is(b"byradius") && more >= 2 && search && !bybox {
            let Ok(distance) = extractDistanceOrReply(server, c, argv, i + 1) else { return };
            (shape.shape, shape.conversion) = distance;
            byradius = true;
            i += 2;
        } else if is(b"bybox") && more >= 3 && search && !byradius {
            let Ok(sides) = extractBoxOrReply(server, c, argv, i + 1) else { return };
            (shape.shape, shape.conversion) = sides;
            bybox = true;
            i += 3;
        } else {
            addReplyErrorObject(server, c, shared::syntaxerr);
            return;
        }
        i += 1;
    }

    // Trap options not compatible with STORE and STOREDIST.
    if storekey.is_some() && (withdist || withhash || withcoords) {
        let err = b"STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORDS options";
        addReplyError(server, c, err);
        return;
    }
    if search && !(frommember || fromloc) {
        addReplyErrorFormat!(
            server,
            c,
            "exactly one of FROMMEMBER or FROMLONLAT can be specified for {}",
            B(c_str(&argv[0]))
        );
        return;
    }
    if search && !(byradius || bybox) {
        addReplyErrorFormat!(
            server,
            c,
            "exactly one of BYRADIUS and BYBOX can be specified for {}",
            B(c_str(&argv[0]))
        );
        return;
    }
    if any && count == 0 {
        addReplyError(server, c, b"the ANY argument requires COUNT argument");
        return;
    }

    // Return ASAP when src key does not exist.
    let Some(o) = zobj else {
        match storekey {
            Some(storekey) => {
                delete_store_key(server, c, storekey);
                addReply(server, c, shared::czero);
            }
            None => addReply(server, c, shared::emptyarray),
        }
        return;
    };

    // The first of unsorted results are of no use, unless any will do: COUNT means the nearest.
    if count != 0 && sort == Sort::None && !any {
        sort = Sort::Asc;
    }

    // Search the boxes for all matching points.
    let limits = ZsetLimits::of(server);
    let Server { clients, db: dbs, .. } = server;
    let zobj = dbs[db].dict.zset(o);
    let georadius = geohashCalculateAreasByShapeWGS84(&mut shape);
    let mut ga = geoArray::new();
    membersOfAllNeighbors(zobj, &georadius, &shape, &mut ga, if any { count } else { 0 });
    if ga.is_empty() && storekey.is_none() {
        addReply(clients, c, shared::emptyarray);
        return;
    }

    // Process requested sorting, as far as results are returned.
    let result_length = ga.len();
    let returned_items = if count == 0 { result_length } else { result_length.min(count) };
    let sort_gp_callback = if sort == Sort::Desc { sort_gp_desc } else { sort_gp_asc };
    if sort != Sort::None {
        if returned_items == result_length {
            qsort(&mut ga, sort_gp_callback);
        } else {
            pqsort(&mut ga, 0, returned_items - 1, &mut { sort_gp_callback });
        }
    }
    ga.truncate(returned_items);
    // Metres to the unit of the command.
    for gp in &mut ga {
        gp.dist /= shape.conversion;
    }

    let Some(storekey) = storekey else {
        // No target key, return results to user: members, or an array for each with what was asked
        // for.
        let option_length = usize::from(withdist) + usize::from(withhash) + usize::from(withcoords);
        addReplyArrayLen(clients, c, returned_items);
        for gp in &ga {
            if option_length > 0 {
                addReplyArrayLen(clients, c, option_length + 1);
            }
            add_reply_element(clients, c, gp.member);
            if withdist {
                addReplyDoubleDistance(clients, c, gp.dist);
            }
            if withhash {
                addReplyLongLong(clients, c, double_to_ll(gp.score));
            }
            if withcoords {
                add_reply_position(clients, c, [gp.longitude, gp.latitude]);
            }
        }
        return;
    };

    // Target key, create a sorted set with the results.
    let mut elements: Vec<(ZiplistEntry, f64)> =
        ga.iter().map(|gp| (gp.member, if storedist { gp.dist } else { gp.score })).collect();
    elements.sort_unstable_by(zset_order);
    let dstobj = (!elements.is_empty()).then(|| zset_from_sorted(&elements, &limits));
    match dstobj {
        Some(zobj) => {
            setKey(server, Some(c), db, storekey, zobj);
            let event = if search { "geosearchstore" } else { "georadiusstore" };
            notifyKeyspaceEvent(server, NOTIFY_ZSET, event, storekey, db);
            server.dirty += returned_items as i64;
        }
        None => delete_store_key(server, c, storekey),
    }
    addReplyLongLong(server, c, returned_items as i64);
}

/// Deletes the destination key, if it exists, since there is nothing to store.
fn delete_store_key(server: &mut Server, c: ClientId, storekey: &[u8]) {
    let db = server[c].db;
    if dbDelete(server, db, storekey) {
        signalModifiedKey(server, Some(c), db, storekey);
        notifyKeyspaceEvent(server, NOTIFY_GENERIC, "del", storekey, db);
        server.dirty += 1;
    }
}

/// Returns a double as a signed integer of 64 bits, as the C's processor converts it.
fn double_to_ll(d: f64) -> i64 {
    const TWO_63: f64 = 9223372036854775808.0;
    if (-TWO_63..TWO_63).contains(&d) { d as i64 } else { i64::MIN }
}

/// Queues longitude and latitude.
fn add_reply_position(clients: &mut impl AsMut<Clients>, c: ClientId, xy: [f64; 2]) {
    addReplyArrayLen(clients, c, 2);
    for coordinate in xy {
        addReplyHumanLongDouble(clients, c, &LongDouble::from_f64(coordinate));
    }
}

/// GEORADIUS key longitude latitude radius unit [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count
/// [ANY]] [ASC|DESC] [STORE key] [STOREDIST key]
pub fn georadiusCommand(server: &mut Server, c: ClientId, argv: &Args) {
    georadiusGeneric(server, c, argv, 1, RADIUS_COORDS);
}

/// GEORADIUSBYMEMBER key member radius unit, with the options of GEORADIUS
pub fn georadiusbymemberCommand(server: &mut Server, c: ClientId, argv: &Args) {
    georadiusGeneric(server, c, argv, 1, RADIUS_MEMBER);
}

/// GEORADIUS_RO: GEORADIUS that stores nothing
pub fn georadiusroCommand(server: &mut Server, c: ClientId, argv: &Args) {
    georadiusGeneric(server, c, argv, 1, RADIUS_COORDS | RADIUS_NOSTORE);
}

/// GEORADIUSBYMEMBER_RO: GEORADIUSBYMEMBER that stores nothing
pub fn georadiusbymemberroCommand(server: &mut Server, c: ClientId, argv: &Args) {
    georadiusGeneric(server, c, argv, 1, RADIUS_MEMBER | RADIUS_NOSTORE);
}

/// GEOSEARCH key FROMMEMBER member|FROMLONLAT longitude latitude BYRADIUS radius unit|BYBOX width
/// height unit [ASC|DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]
pub fn geosearchCommand(server: &mut Server, c: ClientId, argv: &Args) {
    georadiusGeneric(server, c, argv, 1, GEOSEARCH);
}

/// GEOSEARCHSTORE destination source FROMMEMBER member|FROMLONLAT longitude latitude BYRADIUS
/// radius unit|BYBOX width height unit [ASC|DESC] [COUNT count [ANY]] [STOREDIST]
pub fn geosearchstoreCommand(server: &mut Server, c: ClientId, argv: &Args) {
    georadiusGeneric(server, c, argv, 2, GEOSEARCH | GEOSEARCHSTORE);
}

/// Returns the sorted set that a command reads, which may be missing. `Err`: it is something else,
/// and the reply was that.
fn lookup_geo_or_reply(server: &mut Server, c: ClientId, key: &[u8]) -> Result<Option<KeyRef>, ()> {
    let db = server[c].db;
    let zobj = lookupKeyRead(server, db, key);
    match zobj {
        Some(o) if checkType(server, c, o, OBJ_ZSET) => Err(()),
        zobj => Ok(zobj),
    }
}

/// GEOHASH key member [member ...]: the geohashes in their common form of 11 characters.
pub fn geohashCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let geoalphabet = b"0123456789bcdefghjkmnpqrstuvwxyz";
    let db = server[c].db;
    let Ok(zobj) = lookup_geo_or_reply(server, c, &argv[1]) else { return };
    addReplyArrayLen(server, c, argv.len() - 2);
    for member in argv.iter().skip(2) {
        // Our latitudes end at 85 degrees, those of the common form at 90: decode, and encode
        // again.
        let hash = zobj
            .and_then(|o| longLatFromMember(server.db[db].dict.zset(o), member))
            .and_then(|xy| {
                let long_range = GeoHashRange { min: -180.0, max: 180.0 };
                let lat_range = GeoHashRange { min: -90.0, max: 90.0 };
                geohashEncode(long_range, lat_range, xy[0], xy[1], 26)
            });
        let Some(hash) = hash else {
            addReplyNull(server, c);
            continue;
        };
        // 52 bits are ten characters and two bits. The last character always was a zero.
        let mut buf = [geoalphabet[0]; 11];
        for (i, character) in buf[..10].iter_mut().enumerate() {
            *character = geoalphabet[(hash.bits >> (52 - (i + 1) * 5)) as usize & 0x1f];
        }
        addReplyBulkCBuffer(server, c, &buf);
    }
}

/// GEOPOS key member [member ...]: longitudes and latitudes.
pub fn geoposCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let db = server[c].db;
    let Ok(zobj) = lookup_geo_or_reply(server, c, &argv[1]) else { return };
    addReplyArrayLen(server, c, argv.len() - 2);
    for member in argv.iter().skip(2) {
        match zobj.and_then(|o| longLatFromMember(server.db[db].dict.zset(o), member)) {
            Some(xy) => add_reply_position(server, c, xy),
            None => addReplyNullArray(server, c),
        }
    }
}

/// GEODIST key member1 member2 [unit]
pub fn geodistCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let mut to_meter = 1.0;
    if argv.len() == 5 {
        match extractUnitOrReply(server, c, &argv[4]) {
            Ok(unit) => to_meter = unit,
            Err(()) => return,
        }
    } else if argv.len() > 5 {
        addReplyErrorObject(server, c, shared::syntaxerr);
        return;
    }
    let Some(o) = lookupKeyReadOrReply(server, c, &argv[1], shared::null) else { return };
    if checkType(server, c, o, OBJ_ZSET) {
        return;
    }
    let zobj = server.db[server[c].db].dict.zset(o);
    match (longLatFromMember(zobj, &argv[2]), longLatFromMember(zobj, &argv[3])) {
        (Some([x1, y1]), Some([x2, y2])) => {
            addReplyDoubleDistance(server, c, geohashGetDistance(x1, y1, x2, y2) / to_meter);
        }
        _ => addReplyNull(server, c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any score can be asked for its place, and the conversions are those of the C's processor.
    #[test]
    fn every_score_has_a_place() {
        for (score, bits) in [
            (0.0, 0),
            (-0.0, 0),
            (3479099956230698.0, 3479099956230698),
            (-1.5, u64::MAX),
            (9223372036854775808.0, 1 << 63),
            (18446744073709549568.0, 18446744073709549568),
            (18446744073709551616.0, 0),
            (f64::INFINITY, 0),
            (f64::NEG_INFINITY, 1 << 63),
        ] {
            assert_eq!(double_to_bits(score), bits, "{score}");
            let [x, y] = decodeGeohash(score).unwrap();
            assert!((-180.0..=180.0).contains(&x) && (-85.1..=85.1).contains(&y));
        }
        assert_eq!(double_to_ll(f64::INFINITY), i64::MIN);
        assert_eq!(double_to_ll(-1.5), -1);
    }

    #[test]
    fn equals_stay_in_order() {
        let mut v: Vec<(i32, usize)> = (0..100).map(|i| ((i as i32 * 7919) % 10, i)).collect();
        let mut sorted = v.clone();
        sorted.sort_by_key(|x| x.0);
        qsort(&mut v, |a, b| a.0.cmp(&b.0));
        assert_eq!(v, sorted);
        // An order that is none ends all the same.
        qsort(&mut v, |_, _| Ordering::Greater);
        assert_eq!(v.len(), 100);
    }

    #[test]
    fn a_box_ends_where_the_next_begins() {
        let (min, max) = scoresOfGeoHashBox(GeoHashBits { bits: 0b10_1010, step: 3 });
        assert_eq!((min, max), (0b10_1010 << 46, 0b10_1011 << 46));
    }
}
