//! `lolwut.c`, `lolwut5.c`, `lolwut6.c`: LOLWUT, a piece of computer art for each version.
//!
//! Read first: `lolwutCommand`, then `lwDrawSchotter` (version 5) and `generateSkyline` (version
//! 6).
//!
//! Differs: the C draws its random numbers from libc's `rand`, seeded once per process; here each
//! picture has a generator of its own, with a random seed.

use std::f64::consts::{FRAC_PI_2, FRAC_PI_4};

use crate::args::Args;
use crate::networking::addReplyVerbatim;
use crate::object::getLongFromObjectOrReply;
use crate::rand::{REDIS_LRAND48_MAX, Rand48};
use crate::server_h::*;
use crate::sys::random::random_u64;
use crate::util::eq_ignore_case;

/// Returns a generator for one picture.
fn seeded_rand() -> Rand48 {
    let mut rand = Rand48::default();
    rand.redisSrand48(random_u64() as i32);
    rand
}

/// Replies for a version without a picture: with the version alone.
fn lolwutUnstableCommand(server: &mut Server, c: ClientId) {
    addReplyVerbatim(server, c, &signed(Vec::new(), "Redis ver. "), "txt");
}

/// Returns the picture with the text below it, and the version at the end.
fn signed(mut rendered: Vec<u8>, text: &str) -> Vec<u8> {
    rendered.extend_from_slice(text.as_bytes());
    rendered.extend_from_slice(format!("{REDIS_VERSION}, fidelis {FIDELIS_VERSION}\n").as_bytes());
    rendered
}

/// LOLWUT [VERSION version] [arguments of that version ..]
pub fn lolwutCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let mut major = 6; // Ours.
    let mut args: Vec<&[u8]> = argv.iter().skip(1).collect();
    if args.len() >= 2 && eq_ignore_case(args[0], b"version") {
        match getLongFromObjectOrReply(server, c, args[1], None) {
            Ok(ver) => major = ver as u32,
            Err(()) => return,
        }
        args.drain(..2);
    }
    match major {
        5 => lolwut5Command(server, c, &args),
        6 => lolwut6Command(server, c, &args),
        _ => lolwutUnstableCommand(server, c),
    }
}

/// Returns the numbers that a version takes, each with its default and the largest it may be; the
/// least is
/// 1. `Err`: one of them is no number, and the client was told so.
fn sizes<const N: usize>(
    server: &mut Server,
    c: ClientId,
    args: &[&[u8]],
    defaults: [(i64, i64); N],
) -> Result<[i32; N], ()> {
    let mut sizes = [0; N];
    for (i, (default, max)) in defaults.into_iter().enumerate() {
        let size = match args.get(i) {
            Some(arg) => getLongFromObjectOrReply(server, c, arg, None)?,
            None => default,
        };
        sizes[i] = size.clamp(1, max) as i32;
    }
    Ok(sizes)
}

// ========================== LOLWUT Canvas ===============================

/// A picture: a color for each pixel, the upper left corner being 0, 0.
pub struct lwCanvas {
    pub width: i32,
    pub height: i32,
    pixels: Vec<u8>,
}

/// Returns a picture of one color.
pub fn lwCreateCanvas(width: i32, height: i32, bgcolor: u8) -> lwCanvas {
    let pixels = vec![bgcolor; width.max(0) as usize * height.max(0) as usize];
    lwCanvas { width, height, pixels }
}

impl lwCanvas {
    fn index(&self, x: i32, y: i32) -> Option<usize> {
        let within = (0..self.width).contains(&x) && (0..self.height).contains(&y);
        within.then(|| x as usize + y as usize * self.width as usize)
    }
}

/// Sets a pixel, if it is within the picture.
pub fn lwDrawPixel(canvas: &mut lwCanvas, x: i32, y: i32, color: u8) {
    if let Some(i) = canvas.index(x, y) {
        canvas.pixels[i] = color;
    }
}

/// Returns the color of a pixel, 0 outside of the picture.
pub fn lwGetPixel(canvas: &lwCanvas, x: i32, y: i32) -> u8 {
    canvas.index(x, y).map_or(0, |i| canvas.pixels[i])
}

/// Draws a line, by Bresenham's algorithm.
pub fn lwDrawLine(canvas: &mut lwCanvas, mut x1: i32, mut y1: i32, x2: i32, y2: i32, color: u8) {
    let dx = (x2 - x1).abs();
    let dy = (y2 - y1).abs();
    let sx = if x1 < x2 { 1 } else { -1 };
    let sy = if y1 < y2 { 1 } else { -1 };
    let mut err = dx - dy;
    loop {
        lwDrawPixel(canvas, x1, y1, color);
        if x1 == x2 && y1 == y2 {
            break;
        }
        let e2 = err * 2;
        if e2 > -dy {
            err -= dy;
            x1 += sx;
        }
        if e2 < dx {
            err += dx;
            y1 += sy;
        }
    }
}

/// Draws a square around a point, turned by `angle` radians.
///
/// The corners are on a circle, a quarter of it apart. In a square with a side of 1 that circle has
/// a radius of half the square root of 2. The C divides by the whole root: its squares are larger
/// by 2 than asked for, and so are ours.
#[allow(clippy::approx_constant)] // The C's number, to the digit.
pub fn lwDrawSquare(canvas: &mut lwCanvas, x: i32, y: i32, size: f32, angle: f32, color: u8) {
    let size = f64::from((f64::from(size) / 1.4142135623) as f32).round() as f32;

    // The steps round to single precision where the C's variables do.
    let mut p = [(0, 0); 4];
    let mut k = (FRAC_PI_4 + f64::from(angle)) as f32;
    for (px, py) in &mut p {
        *px = (f64::from(k).sin() * f64::from(size) + f64::from(x)).round() as i32;
        *py = (f64::from(k).cos() * f64::from(size) + f64::from(y)).round() as i32;
        k = (f64::from(k) + FRAC_PI_2) as f32;
    }
    for j in 0..4 {
        let ((x1, y1), (x2, y2)) = (p[j], p[(j + 1) % 4]);
        lwDrawLine(canvas, x1, y1, x2, y2, color);
    }
}

// ============================== lolwut5.c ===============================

/// Returns the braille character for eight pixels, in UTF-8. Their bits, from the least significant
/// one:
///
/// ```text
/// 0 3
/// 1 4
/// 2 5
/// 6 7
/// ```
fn lwTranslatePixelsGroup(byte: u8) -> [u8; 3] {
    let code = 0x2800 + u32::from(byte);
    [0xe0 | (code >> 12) as u8, 0x80 | (code >> 6 & 0x3f) as u8, 0x80 | (code & 0x3f) as u8]
}

/// Draws Schotter, by Georg Nees: squares in rows that lose their order on the way down. The size
/// of the picture follows from the columns of the terminal and the number of squares.
fn lwDrawSchotter(
    rand: &mut Rand48,
    console_cols: i32,
    squares_per_row: i32,
    squares_per_col: i32,
) -> lwCanvas {
    let canvas_width = console_cols * 2;
    let padding = if canvas_width > 4 { 2 } else { 0 };
    let square_side = (canvas_width - padding * 2) as f32 / squares_per_row as f32;
    let canvas_height = (square_side * squares_per_col as f32 + (padding * 2) as f32) as i32;
    let mut canvas = lwCreateCanvas(canvas_width, canvas_height, 0);

    for y in 0..squares_per_col {
        for x in 0..squares_per_row {
            let place =
                |i: i32| (i as f32 * square_side + square_side / 2.0 + padding as f32) as i32;
            let (mut sx, mut sy) = (place(x), place(y));
            // Turned and moved at random, the more so the lower the row.
            let mut angle = 0.0;
            if y > 1 {
                let mut r = [0.0f32; 3];
                for r in &mut r {
                    let part = rand.redisLrand48() as f32 / REDIS_LRAND48_MAX as f32;
                    *r = part / squares_per_col as f32 * y as f32;
                }
                for r in &mut r {
                    if rand.redisLrand48() % 2 != 0 {
                        *r = -*r;
                    }
                }
                angle = r[0];
                sx = (sx as f32 + r[1] * square_side / 3.0) as i32;
                sy = (sy as f32 + r[2] * square_side / 3.0) as i32;
            }
            lwDrawSquare(&mut canvas, sx, sy, square_side, angle, 1);
        }
    }
    canvas
}

/// Returns the picture as braille characters, of two by four pixels each.
fn render_braille(canvas: &lwCanvas) -> Vec<u8> {
    const BITS: [(i32, i32); 8] = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)];
    let mut text = Vec::new();
    for y in (0..canvas.height).step_by(4) {
        for x in (0..canvas.width).step_by(2) {
            let mut byte = 0;
            for (bit, (dx, dy)) in BITS.iter().enumerate() {
                if lwGetPixel(canvas, x + dx, y + dy) != 0 {
                    byte |= 1 << bit;
                }
            }
            text.extend_from_slice(&lwTranslatePixelsGroup(byte));
        }
        if y != canvas.height - 1 {
            text.push(b'\n');
        }
    }
    text
}

/// Draws the LOLWUT of Redis 5: [columns of the terminal] [squares per row] [squares per column].
fn lolwut5Command(server: &mut Server, c: ClientId, args: &[&[u8]]) {
    let Ok([cols, squares_per_row, squares_per_col]) =
        sizes(server, c, args, [(66, 1000), (8, 200), (12, 200)])
    else {
        return;
    };
    let canvas = lwDrawSchotter(&mut seeded_rand(), cols, squares_per_row, squares_per_col);
    let text = "\nGeorg Nees - schotter, plotter on paper, 1968. Redis ver. ";
    addReplyVerbatim(server, c, &signed(render_braille(&canvas), text), "txt");
}

// ============================== lolwut6.c ===============================

/// Returns the picture in the four grays of a terminal.
fn render_grays(canvas: &lwCanvas) -> Vec<u8> {
    let mut text = Vec::new();
    for y in 0..canvas.height {
        for x in 0..canvas.width {
            // Letter and background have the same color: terminals disagree about the former.
            let ce = match lwGetPixel(canvas, x, y) {
                1 => "0;90;100m",
                2 => "0;37;47m",
                3 => "0;97;107m",
                _ => "0;30;40m",
            };
            text.extend_from_slice(b"\x1b[");
            text.extend_from_slice(ce.as_bytes());
            text.extend_from_slice(b" \x1b[0m");
        }
        if y != canvas.height - 1 {
            text.push(b'\n');
        }
    }
    text
}

/// A building, standing on the lower edge.
struct skyscraper {
    xoff: i32,
    width: i32,
    height: i32,
    /// True if it has windows, in one of the two grays.
    windows: bool,
    color: u8,
}

fn generateSkyscraper(rand: &mut Rand48, canvas: &mut lwCanvas, si: &skyscraper) {
    let starty = canvas.height - 1;
    let endy = starty - si.height + 1;
    for y in (endy..=starty).rev() {
        for x in si.xoff..si.xoff + si.width {
            // The roof is narrower, by two pixels on each side.
            if y == endy && (x <= si.xoff + 1 || x >= si.xoff + si.width - 2) {
                continue;
            }
            let mut color = si.color;
            // Windows keep away from the edges.
            if si.windows
                && x > si.xoff + 1
                && x < si.xoff + si.width - 2
                && y > endy + 1
                && y < starty - 1
            {
                let relx = x - (si.xoff + 1);
                let rely = y - (endy + 1);
                // Two pixels wide and one high: a character is no square.
                if relx / 2 % 2 != 0 && rely % 2 != 0 {
                    loop {
                        color = 1 + (rand.redisLrand48() % 2) as u8;
                        if color != si.color {
                            break;
                        }
                    }
                    // Its two pixels have the same color.
                    if relx % 2 != 0 {
                        color = lwGetPixel(canvas, x - 1, y);
                    }
                }
            }
            lwDrawPixel(canvas, x, y, color);
        }
    }
}

/// Draws a skyline as in the games of the 8 bit years.
fn generateSkyline(rand: &mut Rand48, canvas: &mut lwCanvas) {
    let height = canvas.height;

    // The background, in two layers of which the lighter one is the farther one.
    for color in [2, 1] {
        let mut offset = -10;
        while offset < canvas.width {
            offset += rand.redisLrand48() % 8;
            let width = 10 + rand.redisLrand48() % 9;
            let more = rand.redisLrand48() % height / if color == 2 { 2 } else { 3 };
            let si = skyscraper {
                xoff: offset,
                width,
                height: height / 2 + more,
                windows: false,
                color,
            };
            generateSkyscraper(rand, canvas, &si);
            offset += if color == 2 { width / 2 } else { width + 1 };
        }
    }

    // The foreground, with windows.
    let mut offset = -10;
    while offset < canvas.width {
        offset += rand.redisLrand48() % 8;
        let mut width = 5 + rand.redisLrand48() % 14;
        if width % 4 != 0 {
            width += width % 3;
        }
        let more = rand.redisLrand48() % height / 2;
        let si =
            skyscraper { xoff: offset, width, height: height / 3 + more, windows: true, color: 0 };
        generateSkyscraper(rand, canvas, &si);
        offset += width + 5;
    }
}

/// Draws the LOLWUT of Redis 6: [columns] [rows].
fn lolwut6Command(server: &mut Server, c: ClientId, args: &[&[u8]]) {
    let Ok([cols, rows]) = sizes(server, c, args, [(80, 1000), (20, 1000)]) else { return };
    let mut canvas = lwCreateCanvas(cols, rows, 3);
    generateSkyline(&mut seeded_rand(), &mut canvas);
    let text = "\nDedicated to the 8 bit game developers of past and present.\n\
                Original 8 bit image from Plaguemon by hikikomori. Redis ver. ";
    addReplyVerbatim(server, c, &signed(render_grays(&canvas), text), "txt");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first two rows are in order, so a picture of no more than two is the C's.
    #[test]
    fn schotter_begins_as_in_the_c() {
        let draw = |cols, per_row, per_col| {
            String::from_utf8(render_braille(&lwDrawSchotter(
                &mut seeded_rand(),
                cols,
                per_row,
                per_col,
            )))
            .unwrap()
        };
        assert_eq!(draw(1, 1, 1), "⠋\n");
        assert_eq!(draw(6, 1, 2), "⠀⡤⠤⠤⠤⡄\n⠀⡇⠀⠀⠀⡇\n⠀⡧⠤⠤⠤⡇\n⠀⡇⠀⠀⠀⡇\n⠀⠧⠤⠤⠤⠇\n");
        assert_eq!(
            draw(20, 3, 2),
            "⠀⡤⠤⠤⠤⠤⠤⡤⠤⠤⠤⠤⠤⡤⠤⠤⠤⠤⠤⡄\n\
             ⠀⡇⠀⠀⠀⠀⠀⡇⠀⠀⠀⠀⠀⡇⠀⠀⠀⠀⠀⡇\n\
             ⠀⡇⠀⠀⠀⠀⠀⡇⠀⠀⠀⠀⠀⡇⠀⠀⠀⠀⠀⡇\n\
             ⠀⡧⠤⠤⠤⠤⠤⡧⠤⠤⠤⠤⠤⡧⠤⠤⠤⠤⠤⡇\n\
             ⠀⡇⠀⠀⠀⠀⠀⡇⠀⠀⠀⠀⠀⡇⠀⠀⠀⠀⠀⡇\n\
             ⠀⡇⠀⠀⠀⠀⠀⡇⠀⠀⠀⠀⠀⡇⠀⠀⠀⠀⠀⡇\n\
             ⠀⠧⠤⠤⠤⠤⠤⠧⠤⠤⠤⠤⠤⠧⠤⠤⠤⠤⠤⠇\n"
        );
    }

    #[test]
    fn schotter_takes_any_size() {
        for (cols, per_row, per_col) in [(1, 200, 200), (2, 7, 3), (66, 8, 12), (1000, 200, 5)] {
            let canvas = lwDrawSchotter(&mut seeded_rand(), cols, per_row, per_col);
            assert_eq!(canvas.width, cols * 2);
            let lines = canvas.height as usize / 4 + usize::from(canvas.height % 4 != 0);
            let text = String::from_utf8(render_braille(&canvas)).unwrap();
            assert_eq!(text.chars().filter(|&c| c != '\n').count(), lines * cols as usize);
        }
    }

    #[test]
    fn a_skyline_fills_its_canvas_with_four_grays() {
        for (cols, rows) in [(1, 1), (1, 1000), (80, 20), (1000, 3)] {
            let mut canvas = lwCreateCanvas(cols, rows, 3);
            generateSkyline(&mut seeded_rand(), &mut canvas);
            let text = String::from_utf8(render_grays(&canvas)).unwrap();
            let lines: Vec<_> = text.split('\n').collect();
            assert_eq!(lines.len(), rows as usize);
            assert!(lines.iter().all(|line| line.matches(" \x1b[0m").count() == cols as usize));
            assert!(canvas.pixels.iter().all(|&color| color < 4));
        }
    }

    #[test]
    fn drawing_outside_of_the_canvas_does_nothing() {
        let mut canvas = lwCreateCanvas(2, 2, 0);
        for (x, y) in [(-1, 0), (0, -1), (2, 0), (0, 2)] {
            lwDrawPixel(&mut canvas, x, y, 1);
            assert_eq!(lwGetPixel(&canvas, x, y), 0);
        }
        lwDrawLine(&mut canvas, -5, -5, 5, 5, 1);
        assert_eq!(canvas.pixels, [1, 0, 0, 1]);
    }
}
