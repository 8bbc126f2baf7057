//! `geohash.c` and `geohash_helper.c`: places as numbers, and distances.
//!
//! A geohash halves the world again and again, in turn by longitude and by latitude, and writes
//! down a bit for each half. Places that share a long prefix are near each other, so that a range
//! of a sorted set is a box of the world. (Not the other way round: neighbours may differ in the
//! first bit. That is why a search looks at a box and the eight around it.)
//!
//! Read first: [`geohashEncode`], [`geohashDecode`], [`geohashCalculateAreasByShapeWGS84`].
#![forbid(unsafe_code)]

use std::f64::consts::PI;

/// Steps of the geohashes that are kept as scores: 26 bits each for longitude and latitude.
pub const GEO_STEP_MAX: u8 = 26;

// Limits from EPSG:900913 / EPSG:3785 / OSGEO:41001: the poles are not on the map.
/// The southernmost latitude.
pub const GEO_LAT_MIN: f64 = -85.05112878;
/// The northernmost latitude.
pub const GEO_LAT_MAX: f64 = 85.05112878;
/// The westernmost longitude.
pub const GEO_LONG_MIN: f64 = -180.0;
/// The easternmost longitude.
pub const GEO_LONG_MAX: f64 = 180.0;

/// A geohash: the lowest `2 * step` of the bits, those of the longitude at the odd places.
#[derive(Copy, Clone, Default, PartialEq, Eq, Debug)]
pub struct GeoHashBits {
    pub bits: u64,
    pub step: u8,
}

/// Tells whether `r` is no geohash at all.
pub fn HASHISZERO(r: GeoHashBits) -> bool {
    r.bits == 0 && r.step == 0
}

/// A range of longitudes or latitudes, in degrees.
#[derive(Copy, Clone, Default, PartialEq, Debug)]
pub struct GeoHashRange {
    pub min: f64,
    pub max: f64,
}

/// The box that a geohash stands for.
#[derive(Copy, Clone, Default, PartialEq, Debug)]
pub struct GeoHashArea {
    pub hash: GeoHashBits,
    pub longitude: GeoHashRange,
    pub latitude: GeoHashRange,
}

/// The boxes around a box.
#[derive(Copy, Clone, Default, PartialEq, Eq, Debug)]
pub struct GeoHashNeighbors {
    pub north: GeoHashBits,
    pub east: GeoHashBits,
    pub west: GeoHashBits,
    pub south: GeoHashBits,
    pub north_east: GeoHashBits,
    pub south_east: GeoHashBits,
    pub north_west: GeoHashBits,
    pub south_west: GeoHashBits,
}

/// The boxes that a search looks at. A neighbour that it need not look at is zero.
#[derive(Copy, Clone, Default, PartialEq, Debug)]
pub struct GeoHashRadius {
    pub hash: GeoHashBits,
    pub area: GeoHashArea,
    pub neighbors: GeoHashNeighbors,
}

/// The shape that is searched around a place, in the unit of the command.
#[derive(Copy, Clone, PartialEq, Debug)]
pub enum Shape {
    /// CIRCULAR_TYPE
    Circular { radius: f64 },
    /// RECTANGLE_TYPE
    Rectangle { height: f64, width: f64 },
}

/// An area that is searched.
#[derive(Copy, Clone, PartialEq, Debug)]
pub struct GeoShape {
    pub shape: Shape,
    /// The middle: longitude and latitude.
    pub xy: [f64; 2],
    /// Metres in a unit.
    pub conversion: f64,
    /// Smallest longitude and latitude, largest longitude and latitude.
    pub bounds: [f64; 4],
}

/// Puts the bits of `xlo` at the even places and those of `ylo` at the odd ones.
/// From <https://graphics.stanford.edu/~seander/bithacks.html#InterleaveBMN>.
fn interleave64(xlo: u32, ylo: u32) -> u64 {
    fn spread(v: u32) -> u64 {
        let mut v = u64::from(v);
        v = (v | (v << 16)) & 0x0000_ffff_0000_ffff;
        v = (v | (v << 8)) & 0x00ff_00ff_00ff_00ff;
        v = (v | (v << 4)) & 0x0f0f_0f0f_0f0f_0f0f;
        v = (v | (v << 2)) & 0x3333_3333_3333_3333;
        (v | (v << 1)) & 0x5555_5555_5555_5555
    }
    spread(xlo) | (spread(ylo) << 1)
}

/// Reverses `interleave64`: returns the bits at the even places and those at the odd ones.
fn deinterleave64(interleaved: u64) -> (u32, u32) {
    fn gather(v: u64) -> u32 {
        let mut v = v & 0x5555_5555_5555_5555;
        v = (v | (v >> 1)) & 0x3333_3333_3333_3333;
        v = (v | (v >> 2)) & 0x0f0f_0f0f_0f0f_0f0f;
        v = (v | (v >> 4)) & 0x00ff_00ff_00ff_00ff;
        v = (v | (v >> 8)) & 0x0000_ffff_0000_ffff;
        (v | (v >> 16)) as u32
    }
    (gather(interleaved), gather(interleaved >> 1))
}

/// Returns the whole map: the ranges of longitudes and of latitudes.
pub fn geohashGetCoordRange() -> (GeoHashRange, GeoHashRange) {
    (
        GeoHashRange { min: GEO_LONG_MIN, max: GEO_LONG_MAX },
        GeoHashRange { min: GEO_LAT_MIN, max: GEO_LAT_MAX },
    )
}

/// Returns the geohash of a place, of `step` bits (1 to 32) each way, on a map of the given ranges.
/// `None`: it is not on the map.
pub fn geohashEncode(
    long_range: GeoHashRange,
    lat_range: GeoHashRange,
    longitude: f64,
    latitude: f64,
    step: u8,
) -> Option<GeoHashBits> {
    let on_map = |x: f64, min: f64, max: f64| !(x > max || x < min);
    if !(1..=32).contains(&step)
        || !on_map(longitude, GEO_LONG_MIN, GEO_LONG_MAX)
        || !on_map(latitude, GEO_LAT_MIN, GEO_LAT_MAX)
        || !on_map(latitude, lat_range.min, lat_range.max)
        || !on_map(longitude, long_range.min, long_range.max)
    {
        return None;
    }
    let lat_offset = (latitude - lat_range.min) / (lat_range.max - lat_range.min);
    let long_offset = (longitude - long_range.min) / (long_range.max - long_range.min);

    // Fixed point of `step` bits.
    let scale = (1u64 << step) as f64;
    Some(GeoHashBits {
        bits: interleave64((lat_offset * scale) as u32, (long_offset * scale) as u32),
        step,
    })
}

/// Returns the geohash of a place on the whole map. `None`: it is not on the map.
pub fn geohashEncodeWGS84(longitude: f64, latitude: f64, step: u8) -> Option<GeoHashBits> {
    let (long_range, lat_range) = geohashGetCoordRange();
    geohashEncode(long_range, lat_range, longitude, latitude, step)
}

/// Returns the box of a geohash on a map of the given ranges. `None`: there is no geohash.
pub fn geohashDecode(
    long_range: GeoHashRange,
    lat_range: GeoHashRange,
    hash: GeoHashBits,
) -> Option<GeoHashArea> {
    if HASHISZERO(hash) {
        return None;
    }
    let (ilato, ilono) = deinterleave64(hash.bits);
    let lat_scale = lat_range.max - lat_range.min;
    let long_scale = long_range.max - long_range.min;
    let steps = (1u64 << hash.step) as f64;
    let at =
        |i: u32, range: GeoHashRange, scale: f64| range.min + (f64::from(i) * 1.0 / steps) * scale;
    Some(GeoHashArea {
        hash,
        latitude: GeoHashRange {
            min: at(ilato, lat_range, lat_scale),
            max: at(ilato.wrapping_add(1), lat_range, lat_scale),
        },
        longitude: GeoHashRange {
            min: at(ilono, long_range, long_scale),
            max: at(ilono.wrapping_add(1), long_range, long_scale),
        },
    })
}

/// Returns the box of a geohash on the whole map. `None`: there is no geohash.
pub fn geohashDecodeWGS84(hash: GeoHashBits) -> Option<GeoHashArea> {
    let (long_range, lat_range) = geohashGetCoordRange();
    geohashDecode(long_range, lat_range, hash)
}

/// Returns the middle of a box: longitude and latitude.
pub fn geohashDecodeAreaToLongLat(area: &GeoHashArea) -> [f64; 2] {
    let middle =
        |range: GeoHashRange, min: f64, max: f64| ((range.min + range.max) / 2.0).min(max).max(min);
    [
        middle(area.longitude, GEO_LONG_MIN, GEO_LONG_MAX),
        middle(area.latitude, GEO_LAT_MIN, GEO_LAT_MAX),
    ]
}

/// Returns the middle of the box of a geohash: longitude and latitude.
pub fn geohashDecodeToLongLatWGS84(hash: GeoHashBits) -> Option<[f64; 2]> {
    geohashDecodeWGS84(hash).map(|area| geohashDecodeAreaToLongLat(&area))
}

const LONGITUDE_BITS: u64 = 0xaaaa_aaaa_aaaa_aaaa;
const LATITUDE_BITS: u64 = 0x5555_5555_5555_5555;

/// Goes one box to the east (1) or west (-1), around the world.
fn geohash_move_x(hash: &mut GeoHashBits, d: i8) {
    let shift = 64 - hash.step * 2;
    let y = hash.bits & LATITUDE_BITS;
    let x = step_bits(hash.bits & LONGITUDE_BITS, LATITUDE_BITS >> shift, d);
    hash.bits = (x & (LONGITUDE_BITS >> shift)) | y;
}

/// Goes one box to the north (1) or south (-1), around the world.
fn geohash_move_y(hash: &mut GeoHashBits, d: i8) {
    let shift = 64 - hash.step * 2;
    let x = hash.bits & LONGITUDE_BITS;
    let y = step_bits(hash.bits & LATITUDE_BITS, LONGITUDE_BITS >> shift, d);
    hash.bits = x | (y & (LATITUDE_BITS >> shift));
}

/// Adds one to a number whose bits are every other one: the others, `zz`, are set to pass the carry
/// on.
fn step_bits(v: u64, zz: u64, d: i8) -> u64 {
    match d {
        0 => v,
        1.. => v.wrapping_add(zz.wrapping_add(1)),
        _ => (v | zz).wrapping_sub(zz.wrapping_add(1)),
    }
}

/// Returns the boxes around a box.
pub fn geohashNeighbors(hash: GeoHashBits) -> GeoHashNeighbors {
    let moved = |x: i8, y: i8| {
        let mut neighbor = hash;
        if x != 0 {
            geohash_move_x(&mut neighbor, x);
        }
        if y != 0 {
            geohash_move_y(&mut neighbor, y);
        }
        neighbor
    };
    GeoHashNeighbors {
        north: moved(0, 1),
        east: moved(1, 0),
        west: moved(-1, 0),
        south: moved(0, -1),
        north_east: moved(1, 1),
        south_east: moved(1, -1),
        north_west: moved(-1, 1),
        south_west: moved(-1, -1),
    }
}

// -----------------------------------------------------------------------------
// geohash_helper.c
// -----------------------------------------------------------------------------

const D_R: f64 = PI / 180.0;
/// Earth's quadratic mean radius for WGS-84.
const EARTH_RADIUS_IN_METERS: f64 = 6372797.560856;
const MERCATOR_MAX: f64 = 20037726.37;

fn deg_rad(ang: f64) -> f64 {
    ang * D_R
}

fn rad_deg(ang: f64) -> f64 {
    ang / D_R
}

/// Returns how many steps the geohashes of the nine boxes may have that cover a radius around a
/// latitude.
pub fn geohashEstimateStepsByRadius(mut range_meters: f64, lat: f64) -> u8 {
    if range_meters == 0.0 {
        return GEO_STEP_MAX;
    }
    let mut step = 1;
    while range_meters < MERCATOR_MAX {
        range_meters *= 2.0;
        step += 1;
    }
    // So that the range is covered in most cases.
    step -= 2;

    // Boxes get narrow towards the poles. The distance between meridians would tell better; this
    // does.
    if !(-66.0..=66.0).contains(&lat) {
        step -= 1;
        if !(-80.0..=80.0).contains(&lat) {
            step -= 1;
        }
    }
    step.clamp(1, i32::from(GEO_STEP_MAX)) as u8
}

/// Returns the smallest longitude and latitude of a shape, and the largest.
///
/// A given width is more degrees the farther from the equator it is, so the edge that is nearer to
/// a pole decides.
pub fn geohashBoundingBox(shape: &GeoShape) -> [f64; 4] {
    let [longitude, latitude] = shape.xy;
    let (height, width) = match shape.shape {
        Shape::Circular { radius } => (shape.conversion * radius, shape.conversion * radius),
        Shape::Rectangle { height, width } => {
            (shape.conversion * (height / 2.0), shape.conversion * (width / 2.0))
        }
    };
    let lat_delta = rad_deg(height / EARTH_RADIUS_IN_METERS);
    let long_delta_top =
        rad_deg(width / EARTH_RADIUS_IN_METERS / deg_rad(latitude + lat_delta).cos());
    let long_delta_bottom =
        rad_deg(width / EARTH_RADIUS_IN_METERS / deg_rad(latitude - lat_delta).cos());
    let long_delta = if latitude < 0.0 { long_delta_bottom } else { long_delta_top };
    [longitude - long_delta, latitude - lat_delta, longitude + long_delta, latitude + lat_delta]
}

/// Returns the boxes, nine at most, that cover a shape, whose bounds are filled in. The middle of
/// the shape is on the map.
pub fn geohashCalculateAreasByShapeWGS84(shape: &mut GeoShape) -> GeoHashRadius {
    shape.bounds = geohashBoundingBox(shape);
    let [min_lon, min_lat, max_lon, max_lat] = shape.bounds;
    let [longitude, latitude] = shape.xy;

    // The farthest point: for a rectangle, its corner.
    let mut radius_meters = match shape.shape {
        Shape::Circular { radius } => radius,
        Shape::Rectangle { height, width } => {
            ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
        }
    };
    radius_meters *= shape.conversion;
    let mut steps = geohashEstimateStepsByRadius(radius_meters, latitude);

    let (long_range, lat_range) = geohashGetCoordRange();
    let boxes = |steps: u8| {
        let hash =
            geohashEncode(long_range, lat_range, longitude, latitude, steps).unwrap_or_default();
        let area = geohashDecode(long_range, lat_range, hash).unwrap_or_default();
        (hash, geohashNeighbors(hash), area)
    };
    let (mut hash, mut neighbors, mut area) = boxes(steps);

    // At the edge of its box, the middle may be too near to the far side of a neighbour: then
    // larger boxes are needed.
    let decode = |hash: GeoHashBits| geohashDecode(long_range, lat_range, hash).unwrap_or_default();
    let decrease_step = decode(neighbors.north).latitude.max < max_lat
        || decode(neighbors.south).latitude.min > min_lat
        || decode(neighbors.east).longitude.max < max_lon
        || decode(neighbors.west).longitude.min > min_lon;
    if steps > 1 && decrease_step {
        steps -= 1;
        (hash, neighbors, area) = boxes(steps);
    }

    // Exclude the boxes that are useless.
    let none = GeoHashBits::default();
    if steps >= 2 {
        if area.latitude.min < min_lat {
            (neighbors.south, neighbors.south_west, neighbors.south_east) = (none, none, none);
        }
        if area.latitude.max > max_lat {
            (neighbors.north, neighbors.north_east, neighbors.north_west) = (none, none, none);
        }
        if area.longitude.min < min_lon {
            (neighbors.west, neighbors.south_west, neighbors.north_west) = (none, none, none);
        }
        if area.longitude.max > max_lon {
            (neighbors.east, neighbors.south_east, neighbors.north_east) = (none, none, none);
        }
    }
    GeoHashRadius { hash, area, neighbors }
}

/// Returns a geohash as the number of 52 bits that is its score.
pub fn geohashAlign52Bits(hash: GeoHashBits) -> u64 {
    hash.bits << (52 - hash.step * 2)
}

/// Returns the distance of two places in metres, by the haversine formula.
pub fn geohashGetDistance(lon1d: f64, lat1d: f64, lon2d: f64, lat2d: f64) -> f64 {
    let (lat1r, lon1r) = (deg_rad(lat1d), deg_rad(lon1d));
    let (lat2r, lon2r) = (deg_rad(lat2d), deg_rad(lon2d));
    let u = ((lat2r - lat1r) / 2.0).sin();
    let v = ((lon2r - lon1r) / 2.0).sin();
    2.0 * EARTH_RADIUS_IN_METERS * (u * u + lat1r.cos() * lat2r.cos() * v * v).sqrt().asin()
}

/// Returns the distance of two places, `None` if it is more than `radius`. Metres.
pub fn geohashGetDistanceIfInRadiusWGS84(
    x1: f64,
    y1: f64,
    x2: f64,
    y2: f64,
    radius: f64,
) -> Option<f64> {
    let distance = geohashGetDistance(x1, y1, x2, y2);
    if distance > radius { None } else { Some(distance) }
}

/// Returns the distance of the place `x2`, `y2` from `x1`, `y1`, `None` if it is outside of the
/// rectangle around the latter: more than half its width to one side, or half its height. Metres.
pub fn geohashGetDistanceIfInRectangle(
    width_m: f64,
    height_m: f64,
    x1: f64,
    y1: f64,
    x2: f64,
    y2: f64,
) -> Option<f64> {
    let lon_distance = geohashGetDistance(x2, y2, x1, y2);
    let lat_distance = geohashGetDistance(x2, y2, x2, y1);
    if lon_distance > width_m / 2.0 || lat_distance > height_m / 2.0 {
        return None;
    }
    Some(geohashGetDistance(x1, y1, x2, y2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interleaving_goes_both_ways() {
        for (x, y) in [(0, 0), (1, 0), (0, 1), (u32::MAX, 0), (0x1234_5678, 0x9abc_def0)] {
            assert_eq!(deinterleave64(interleave64(x, y)), (x, y));
        }
        assert_eq!(interleave64(0b11, 0b01), 0b0111);
    }

    /// Two towns, as a C server has them.
    #[test]
    fn towns() {
        let score = |x, y| geohashEncodeWGS84(x, y, GEO_STEP_MAX).map(geohashAlign52Bits);
        assert_eq!(score(13.361389, 38.115556), Some(3479099956230698));
        assert_eq!(score(15.087269, 37.502669), Some(3479447370796909));
        assert_eq!(score(180.1, 0.0), None);
        assert_eq!(score(0.0, 85.1), None);
        let place =
            |bits| geohashDecodeToLongLatWGS84(GeoHashBits { bits, step: GEO_STEP_MAX }).unwrap();
        let (a, b) = (place(3479099956230698), place(3479447370796909));
        assert_eq!(
            format!("{:.17} {:.17}", a[0], a[1]),
            "13.36138933897018433 38.11555639549629859"
        );
        assert_eq!(format!("{:.4}", geohashGetDistance(a[0], a[1], b[0], b[1])), "166274.1516");
    }

    /// Every box is where its name says, also across the date line.
    #[test]
    fn neighbors_touch() {
        for (x, y) in [(13.3, 38.1), (-179.99, -60.0), (0.0, 0.0), (179.9, 84.0)] {
            for step in [2, 5, 26] {
                let hash = geohashEncodeWGS84(x, y, step).unwrap();
                let n = geohashNeighbors(hash);
                let area = |hash| geohashDecodeWGS84(hash).unwrap();
                let near = |a: f64, b: f64| {
                    ((a - b).abs() % 360.0).min(360.0 - (a - b).abs() % 360.0) < 1e-9
                };
                assert!(near(area(hash).longitude.max, area(n.east).longitude.min));
                assert!(near(area(hash).longitude.min, area(n.west).longitude.max));
                assert_eq!(area(n.north_east).longitude, area(n.east).longitude);
                assert_eq!(area(n.south_west).latitude, area(n.south).latitude);
                if area(hash).latitude.max < GEO_LAT_MAX - 1e-9 {
                    assert!(near(area(hash).latitude.max, area(n.north).latitude.min));
                }
            }
        }
    }

    /// Whatever is near enough lies in one of the boxes.
    #[test]
    fn boxes_cover_the_circle() {
        let mut seed = 7u64;
        let mut random = || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 11) as f64 / (1u64 << 53) as f64
        };
        for _ in 0..3000 {
            let xy = [random() * 340.0 - 170.0, random() * 140.0 - 70.0];
            let radius = 10f64.powf(random() * 5.0);
            let mut shape = GeoShape {
                shape: Shape::Circular { radius },
                xy,
                conversion: 1.0,
                bounds: [0.0; 4],
            };
            let r = geohashCalculateAreasByShapeWGS84(&mut shape);
            let [min_lon, min_lat, max_lon, max_lat] = shape.bounds;
            let x = min_lon + random() * (max_lon - min_lon);
            let y = min_lat + random() * (max_lat - min_lat);
            if geohashGetDistanceIfInRadiusWGS84(xy[0], xy[1], x, y, radius).is_none() {
                continue;
            }
            let n = r.neighbors;
            let all = [
                r.hash,
                n.north,
                n.south,
                n.east,
                n.west,
                n.north_east,
                n.north_west,
                n.south_east,
                n.south_west,
            ];
            let inside = |hash: GeoHashBits| {
                geohashDecodeWGS84(hash).is_some_and(|area| {
                    area.longitude.min <= x
                        && x <= area.longitude.max
                        && area.latitude.min <= y
                        && y <= area.latitude.max
                })
            };
            assert!(all.into_iter().any(inside), "{x} {y} around {xy:?}, {radius} m");
        }
    }

    /// Distances without end are no trouble.
    #[test]
    fn endless_radius() {
        for shape in [
            Shape::Circular { radius: f64::INFINITY },
            Shape::Rectangle { height: f64::MAX, width: f64::INFINITY },
        ] {
            let mut shape =
                GeoShape { shape, xy: [10.0, 20.0], conversion: 1000.0, bounds: [0.0; 4] };
            let r = geohashCalculateAreasByShapeWGS84(&mut shape);
            assert_eq!(r.hash.step, 1);
        }
    }
}
