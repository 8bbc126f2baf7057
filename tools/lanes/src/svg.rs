//! The drawing.
//!
//! It says all in text: a bar has its state written on it, a mark its event beside it, and both have
//! the line of the trace as their title, and lead to the function that wrote it. The looks of bars
//! differ in their borders, not only in colour.
//!
//! The time line is not linear, or there would be a second of nothing for each millisecond in which
//! everything happens: a gap is drawn by its logarithm, and as wide as the labels need it at least.

use std::fmt::Write;

use crate::model::{Arrow, Line, Look, Model, Server};

const LEFT: f64 = 132.0;
const LANE: f64 = 30.0;
const BAR: f64 = 26.0;
/// The width of a letter, and of a capital one.
const LETTER: f64 = 5.4;
const CAPITAL: f64 = 6.9;
const MARK_STEP: f64 = 15.0;

/// The colours are those of the page, and shades that can be seen on any.
const STYLE: &str = "
.lanes{font:10px 'Open Sans',system-ui,sans-serif}
.lanes text{fill:currentColor}
.lanes .band{fill:currentColor;fill-opacity:.05}
.lanes .soft{fill-opacity:.75}
.lanes .server{font-weight:bold;font-size:13px}
.lanes .title{font-weight:bold;font-size:15px}
.lanes .tick{stroke:currentColor;stroke-opacity:.18}
.lanes .arrow{stroke:currentColor;stroke-opacity:.7;fill:none;stroke-width:1.2;stroke-dasharray:5 3}
.lanes .head{fill:currentColor}
.lanes .bar rect{fill:#888888;stroke:#888888;fill-opacity:.2;stroke-width:1.2}
.lanes .waiting rect{fill:#d08a3a;stroke:#d08a3a;stroke-dasharray:4 2}
.lanes .talking rect{fill:#4a7fd0;stroke:#4a7fd0}
.lanes .data rect{fill:#9a5fc7;stroke:#9a5fc7;stroke-width:2.5}
.lanes .good rect{fill:#3f9e5f;stroke:#3f9e5f}
.lanes .child rect{fill:#c7543f;stroke:#c7543f;stroke-dasharray:1 2;stroke-width:2}
.lanes .mark circle,.lanes .mark path{fill:#4a7fd0}
.lanes a{text-decoration:none}
.lanes a:hover rect,.lanes a:focus rect{stroke:#d1242f;stroke-width:3;stroke-dasharray:none}
.lanes a:hover circle,.lanes a:focus circle,.lanes a:hover path,.lanes a:focus path{fill:#d1242f}
.lanes a:hover text,.lanes a:focus text{text-decoration:underline}
";

/// Returns a text as XML has it.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c < ' ' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Returns a label in two lines, broken near its middle.
fn two_lines(label: &str) -> (String, String) {
    let words = label.replace('_', " ");
    let middle = words.len() / 2;
    let breaks = words.match_indices(' ').map(|(at, _)| at);
    match breaks.min_by_key(|at| at.abs_diff(middle)) {
        Some(at) if words.len() > 9 => (words[..at].to_string(), words[at + 1..].to_string()),
        _ => (words, String::new()),
    }
}

fn width_of(label: &str) -> f64 {
    let (first, second) = two_lines(label);
    first.chars().count().max(second.chars().count()) as f64 * CAPITAL + 8.0
}

/// Returns the room below the lanes for the labels of marks, which are written at a slant.
fn room_for_marks(server: &Server) -> f64 {
    let longest = server.marks.iter().map(|(_, label)| label.chars().count()).max();
    longest.map_or(10.0, |longest| longest as f64 * LETTER * 0.67 + 34.0)
}

/// Returns where each line of the traces is: as far to the right as time and labels ask for.
fn places(model: &Model, servers: &[Server]) -> Vec<f64> {
    // A bar must be as wide as its label, and a mark stand clear of the one before it.
    // By the line that they end at: from which line on, and how much.
    let mut needs: Vec<Vec<(usize, f64)>> = vec![Vec::new(); model.lines.len()];
    for server in servers {
        for bar in server.lanes.iter().flat_map(|lane| &lane.bars) {
            if let Some(to) = bar.to {
                needs[to].push((bar.from, width_of(&bar.label)));
            }
        }
        for pair in server.marks.windows(2) {
            needs[pair[1].0].push((pair[0].0, MARK_STEP));
        }
    }
    let mut places: Vec<f64> = Vec::with_capacity(model.lines.len());
    for (i, line) in model.lines.iter().enumerate() {
        let mut x = LEFT + 16.0;
        if let Some(before) = i.checked_sub(1) {
            let gap = (line.t - model.lines[before].t).max(0) as f64;
            x = places[before] + 7.0 * (1.0 + gap / 100.0).log10();
        }
        for &(from, width) in &needs[i] {
            x = x.max(places[from] + width);
        }
        places.push(x);
    }
    places
}

fn class_of(look: Look) -> &'static str {
    match look {
        Look::Waiting => "waiting",
        Look::Talking => "talking",
        Look::Data => "data",
        Look::Good => "good",
        Look::Child => "child",
        Look::History => "history",
    }
}

/// Returns the address of the function that wrote a line.
fn address(line: &Line, template: &str) -> String {
    let (module, function) = line.function.rsplit_once("::").unwrap_or(("", &line.function));
    let (file, number) = line.at.rsplit_once(':').unwrap_or((&line.at, "1"));
    let path = file.strip_prefix("src/").unwrap_or(file);
    template
        .replace("{file}", file)
        .replace("{path}", path)
        .replace("{line}", number)
        .replace("{module}", &module.replace("::", "/"))
        .replace("{fn}", function)
}

/// Returns a time since the first one.
fn time_text(us: i64) -> String {
    match us {
        0..=999 => format!("{:.2} ms", us as f64 / 1e3),
        1_000..=9_999_999 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

/// Opens the link around a bar or a mark.
fn open_link(out: &mut String, line: &Line, start: i64, what: &str, template: &str, class: &str) {
    let when = time_text(line.t - start);
    let href = escape(&address(line, template));
    let label = escape(&format!("{what}, {when}, by {}", line.function));
    let _ = write!(out, "<a class=\"{class}\" href=\"{href}\" aria-label=\"{label}\">");
    let _ = write!(out, "<title>{when}: {}</title>", escape(&line.text));
}

/// Draws the traces.
///
/// `id` is what the ids in it begin with, so that several drawings can be in one page.
pub fn draw(model: &Model, title: &str, template: &str, id: &str) -> String {
    let servers = model.servers();
    let places = places(model, &servers);
    let id = &escape(id);
    let start = model.lines.first().map_or(0, |line| line.t);
    let end = model.lines.last().map_or(0, |line| line.t);

    // Where each server begins, and where its marks are.
    let mut y = 62.0;
    let mut tops = Vec::new();
    for server in &servers {
        tops.push(y);
        y += 24.0 + server.lanes.len() as f64 * LANE + room_for_marks(server);
    }
    let height = y + 22.0;

    // How far to the right the last labels reach.
    let last_labels = servers.iter().flat_map(|server| {
        let bars = server.lanes.iter().filter_map(|lane| lane.bars.last());
        let bars = bars.filter(|bar| bar.to.is_none());
        let bars = bars.map(|bar| places[bar.from] + width_of(&bar.label));
        let marks = server.marks.iter();
        bars.chain(marks.map(|(i, label)| places[*i] + label.len() as f64 * LETTER * 0.75 + 12.0))
    });
    let right = last_labels.chain(places.last().copied()).fold(LEFT + 220.0, f64::max) + 14.0;
    let width = right + 10.0;

    // The head: what the drawing is, in words too.
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg class=\"lanes\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" role=\"group\" aria-labelledby=\"{id}-title\" aria-describedby=\"{id}-desc\">"
    );
    let _ = writeln!(out, "<title id=\"{id}-title\">{}</title>", escape(title));
    let desc = describe(model, &servers, end - start);
    let _ = writeln!(out, "<desc id=\"{id}-desc\">{}</desc>", escape(&desc));
    let _ = writeln!(out, "<style>{STYLE}</style>");
    let _ = writeln!(
        out,
        "<defs><marker id=\"{id}-head\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path class=\"head\" d=\"M0 0 8 4 0 8z\"/></marker></defs>"
    );
    let _ = writeln!(out, "<text class=\"title\" x=\"10\" y=\"22\">{}</text>", escape(title));
    let _ = writeln!(
        out,
        "<text class=\"soft\" x=\"10\" y=\"40\">{} from left to right; gaps are drawn by their logarithm. Hover a bar or a mark for its line; click it for the function that wrote it.</text>",
        time_text(end - start)
    );

    // The time, where there is room for it.
    let mut free = 0.0;
    for (line, &x) in model.lines.iter().zip(&places) {
        if x >= free {
            let text = time_text(line.t - start);
            let _ = write!(
                out,
                "<line class=\"tick\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"60\" y2=\"{:.0}\"/>",
                height - 18.0
            );
            let _ =
                writeln!(out, "<text class=\"soft\" x=\"{:.1}\" y=\"57\">{text}</text>", x + 2.0);
            free = x + text.len() as f64 * LETTER + 30.0;
        }
    }

    // The servers: their lanes with bars, and their marks below.
    let mut mark_places = vec![None; model.lines.len()];
    for (server, &top) in servers.iter().zip(&tops) {
        let _ = writeln!(
            out,
            "<g role=\"group\" aria-label=\"{}\"><text class=\"server\" x=\"10\" y=\"{:.0}\">{}</text>",
            escape(&server.name),
            top + 17.0,
            escape(&server.name)
        );
        let mut y = top + 24.0;
        for lane in &server.lanes {
            let _ = writeln!(
                out,
                "<rect class=\"band\" x=\"{LEFT}\" y=\"{y:.0}\" width=\"{:.0}\" height=\"{BAR}\"/><text class=\"soft\" x=\"10\" y=\"{:.0}\">{}</text>",
                right - LEFT,
                y + 17.0,
                escape(&lane.name)
            );
            for bar in &lane.bars {
                let line = &model.lines[bar.from];
                let x = places[bar.from];
                let to = bar.to.map_or(right, |to| places[to]);
                let what = format!("{}: {}", lane.name, bar.label);
                let class = format!("bar {}", class_of(bar.look));
                open_link(&mut out, line, start, &what, template, &class);
                let _ = write!(
                    out,
                    "<rect x=\"{x:.1}\" y=\"{y:.0}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"3\"/>",
                    (to - x).max(2.0)
                );
                let (first, second) = two_lines(&bar.label);
                let x = x + 4.0;
                if second.is_empty() {
                    let y = y + 17.0;
                    let _ =
                        write!(out, "<text x=\"{x:.1}\" y=\"{y:.0}\">{}</text>", escape(&first));
                } else {
                    for (text, y) in [(first, y + 11.0), (second, y + 22.0)] {
                        let _ =
                            write!(out, "<text x=\"{x:.1}\" y=\"{y:.0}\">{}</text>", escape(&text));
                    }
                }
                out.push_str("</a>\n");
            }
            y += LANE;
        }
        let y = y + 10.0;
        for (i, label) in &server.marks {
            let line = &model.lines[*i];
            let x = places[*i];
            mark_places[*i] = Some((x, y));
            open_link(&mut out, line, start, label, template, "mark");
            let shape = match line.event.as_str() {
                "psync" | "decision" | "answer" => {
                    format!("<path d=\"M{x:.1} {:.1}l5 5-5 5-5-5z\"/>", y - 5.0)
                }
                _ => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>"),
            };
            let _ = writeln!(
                out,
                "{shape}<text transform=\"translate({:.1} {:.1}) rotate(42)\">{}</text></a>",
                x + 3.0,
                y + 13.0,
                escape(label)
            );
        }
        out.push_str("</g>\n");
    }

    // The arrows, above all else.
    for Arrow { from, to } in model.arrows() {
        if let (Some((x1, y1)), Some((x2, y2))) = (mark_places[from], mark_places[to]) {
            let end = if y2 > y1 { y2 - 7.0 } else { y2 + 7.0 };
            let _ = writeln!(
                out,
                "<path class=\"arrow\" marker-end=\"url(#{id}-head)\" d=\"M{x1:.1} {y1:.1}L{x2:.1} {end:.1}\"/>"
            );
        }
    }
    out.push_str("</svg>\n");
    // A blank line would end it within a page of Markdown.
    out.lines().filter(|line| !line.trim().is_empty()).map(|line| format!("{line}\n")).collect()
}

/// Says in words what the drawing shows.
fn describe(model: &Model, servers: &[Server], us: i64) -> String {
    let mut text = format!("{} in {}.", count(servers.len(), "server"), time_text(us));
    for server in servers {
        let _ = write!(text, " On {}: ", server.name);
        let lanes = server.lanes.iter().map(|lane| {
            let states: Vec<String> =
                lane.bars.iter().map(|bar| bar.label.replace('_', " ")).collect();
            format!("{}: {}", lane.name, states.join(", then "))
        });
        let marks: Vec<&str> = server.marks.iter().map(|(_, label)| label.as_str()).collect();
        let events = format!("events: {}", marks.join("; "));
        let all: Vec<String> = lanes.chain([events]).collect();
        let _ = write!(text, "{}.", all.join(". "));
    }
    if model.lines.is_empty() {
        text.push_str(" The traces are empty.");
    }
    text
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is opened is closed, all text is there and escaped, and no label is wider than its bar.
    #[test]
    fn drawing() {
        let mut model = Model::default();
        let line = |t: u32, rest: &str| {
            format!(
                "{{\"t\":{t},\"fn\":\"replication::doctor::f\",\"at\":\"src/replication/doctor.rs:7\",{rest}}}\n"
            )
        };
        let text = [
            line(1, "\"ev\":\"start\",\"port\":7000,\"repl_state\":\"REPL_STATE_CONNECT\""),
            line(2, "\"ev\":\"repl_state\",\"to\":\"REPL_STATE_RECEIVE_PING_REPLY\""),
            line(3, "\"ev\":\"repl_state\",\"to\":\"REPL_STATE_CONNECTED\""),
            line(2_000_000, "\"ev\":\"link_closed\",\"reason\":\"<&\\\">\""),
        ]
        .concat();
        model.add("x", &text, false);
        let svg = draw(&model, "A & B", "d/{module}/fn.{fn}.html#{path}-{line}", "x");
        assert!(svg.contains("closed: &lt;&amp;&quot;&gt;"));
        assert!(svg.contains("href=\"d/replication/doctor/fn.f.html#replication/doctor.rs-7\""));
        assert!(svg.contains(">RECEIVE PING<") || svg.contains(">RECEIVE<"));
        assert!(!svg.contains("\n\n"));
        for tag in ["svg", "g", "a", "text", "title", "desc", "style", "defs"] {
            let opened =
                svg.matches(&format!("<{tag} ")).count() + svg.matches(&format!("<{tag}>")).count();
            assert_eq!(opened, svg.matches(&format!("</{tag}>")).count(), "{tag}");
        }
        let servers = model.servers();
        let places = places(&model, &servers);
        let bar = &servers[0].lanes[0].bars[1];
        assert!(places[bar.to.unwrap()] - places[bar.from] >= width_of(&bar.label));
    }

    #[test]
    fn no_lines() {
        assert!(draw(&Model::default(), "t", "", "x").contains("The traces are empty."));
    }
}
