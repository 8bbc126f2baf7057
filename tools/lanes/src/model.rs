//! What the traces say: for each server its lanes, with bars for what lasts and marks for what
//! happens.

use serde_json::Value;

/// A line of a trace.
#[derive(Clone, Debug)]
pub struct Line {
    /// Microseconds.
    pub t: i64,
    pub event: String,
    /// The function, `replication::syncWithMaster`.
    pub function: String,
    /// `src/replication.rs:123`.
    pub at: String,
    /// The text of the line.
    pub text: String,
    /// Whether the line was before a cut, and says what was so then.
    carried: bool,
    fields: Value,
}

impl Line {
    pub fn str(&self, field: &str) -> Option<&str> {
        self.fields[field].as_str()
    }

    pub fn int(&self, field: &str) -> Option<i64> {
        self.fields[field].as_i64()
    }
}

/// How a bar looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    Waiting,
    Talking,
    Data,
    Good,
    Child,
    History,
}

/// Something that lasts.
#[derive(Clone, Debug)]
pub struct Bar {
    pub from: usize,
    /// `None`: to the end.
    pub to: Option<usize>,
    pub label: String,
    pub look: Look,
}

/// A row of a server.
#[derive(Clone, Debug)]
pub struct Lane {
    pub name: String,
    pub bars: Vec<Bar>,
}

/// A server.
#[derive(Clone, Debug, Default)]
pub struct Server {
    pub name: String,
    pub lanes: Vec<Lane>,
    /// The lines that are marks, by number, each with its label.
    pub marks: Vec<(usize, String)>,
}

/// An arrow from one mark to another: what is asked, and what is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrow {
    pub from: usize,
    pub to: usize,
}

/// All traces. The lines of all of them are in one sequence, by time; others refer to them by number.
#[derive(Default)]
pub struct Model {
    pub lines: Vec<Line>,
    /// Which trace a line is from.
    of: Vec<usize>,
    names: Vec<String>,
}

/// The latest time that is believed, in microseconds, so that sums and differences of two of them
/// are numbers, whatever a trace says.
const LATEST: i64 = 1 << 60;

fn parse(text: &str) -> Option<Line> {
    let fields: Value = serde_json::from_str(text).ok()?;
    let get = |name: &str| fields[name].as_str().map(str::to_string);
    Some(Line {
        t: fields["t"].as_i64().filter(is_a_time)?,
        event: get("ev")?,
        function: get("fn")?,
        at: get("at")?,
        text: text.to_string(),
        carried: false,
        fields,
    })
}

fn is_a_time(t: &i64) -> bool {
    (0..=LATEST).contains(t)
}

impl Model {
    /// Adds the text of a trace. A last line that is not whole yet is left out.
    pub fn add(&mut self, name: &str, text: &str, wall: bool) {
        let trace = self.names.len();
        let mut lines: Vec<Line> = text.lines().filter_map(parse).collect();
        let start = lines.iter().find(|line| line.event == "start");
        let port = start.and_then(|line| line.int("port"));
        let role = start.and_then(|line| line.str("role")).unwrap_or("server");
        self.names.push(
            port.map_or(name.to_string(), |port| format!("port {port}, started as a {role}")),
        );
        if wall {
            // Each start tells how the clocks are to each other from there on.
            let mut ahead = 0;
            for line in &mut lines {
                if let Some(wall) = line.int("wall").filter(is_a_time) {
                    ahead = wall - line.t;
                }
                line.t += ahead;
            }
        }
        let mut all: Vec<(Line, usize)> = std::mem::take(&mut self.lines)
            .into_iter()
            .zip(std::mem::take(&mut self.of))
            .chain(lines.into_iter().map(|line| (line, trace)))
            .collect();
        all.sort_by_key(|(line, _)| line.t);
        (self.lines, self.of) = all.into_iter().unzip();
    }

    /// Leaves out what was before the first line of an event, but for what the lines before it said
    /// about states: these become lines of that moment.
    pub fn cut_before(&mut self, event: &str) {
        let Some(at) = self.lines.iter().position(|line| line.event == event) else { return };
        let t = self.lines[at].t;
        let keep = |line: &Line| {
            matches!(
                line.event.as_str(),
                "start" | "ids" | "repl_state" | "replstate" | "replica_gone" | "failover"
            )
        };
        let mut kept: Vec<(Line, usize)> = Vec::new();
        for (i, (line, &of)) in self.lines.iter().zip(&self.of).enumerate() {
            if i >= at {
                kept.push((line.clone(), of));
            } else if keep(line) {
                // The newest of its kind stands for those before it.
                let same = |other: &(Line, usize)| {
                    let kind = |line: &Line| line.event.replace("start", "repl_state");
                    other.1 == of
                        && kind(&other.0) == kind(line)
                        && other.0.int("client") == line.int("client")
                };
                kept.retain(|other| !same(other));
                let mut line = line.clone();
                line.t = t;
                line.carried = true;
                kept.push((line, of));
            }
        }
        (self.lines, self.of) = kept.into_iter().unzip();
    }

    /// Returns the servers, with their lanes.
    pub fn servers(&self) -> Vec<Server> {
        (0..self.names.len()).map(|trace| self.server(trace)).collect()
    }

    fn server(&self, trace: usize) -> Server {
        let mut lanes = Lanes::default();
        let mut marks = Vec::new();
        let mut replid2 = None;
        let mut replid = None;
        for (i, line) in self.lines.iter().enumerate().filter(|&(i, _)| self.of[i] == trace) {
            let to = line.str("to").unwrap_or_default();
            match line.event.as_str() {
                "start" => {
                    lanes.end_all(i);
                    let state = line.str("repl_state").unwrap_or_default();
                    lanes.begin("link to the master", i, state, "REPL_STATE_NONE");
                    if !line.carried {
                        marks.push((i, "start".to_string()));
                    }
                }
                "repl_state" => lanes.begin("link to the master", i, to, "REPL_STATE_NONE"),
                "replstate" => {
                    lanes.begin(&replica_lane(line), i, to, "REPL_STATE_NONE");
                }
                "replica_gone" => {
                    lanes.end(&replica_lane(line), i);
                    if !line.carried {
                        marks.push((i, "replica gone".to_string()));
                    }
                }
                "failover" => lanes.begin("failover", i, to, "NO_FAILOVER"),
                "aof_state" => lanes.begin("append only file", i, to, "AOF_OFF"),
                "ids" => {
                    let id = line.str("replid").unwrap_or_default();
                    let second = line.str("replid2").unwrap_or_default();
                    if replid.as_deref() != Some(id) || replid2.as_deref() != Some(second) {
                        let label = match second {
                            "" => short_id(id),
                            second => format!("{}_after {}", short_id(id), short_id(second)),
                        };
                        lanes.begin("history", i, &label, "");
                        (replid, replid2) = (Some(id.to_string()), Some(second.to_string()));
                    }
                }
                "fork" => {
                    let kind = line.str("type").unwrap_or_default();
                    let child = line.int("child").unwrap_or_default();
                    lanes.begin("children", i, &format!("{kind} child_{child}"), "");
                }
                "child_end" => lanes.end("children", i),
                "end" | "shutdown" => {
                    lanes.end_all(i);
                    marks.push((i, line.event.clone()));
                }
                "offset" | "child_info_pipe" | "child_info" => {}
                _ => marks.push((i, label(line))),
            }
        }
        // Lanes without a bar say nothing.
        let lanes = lanes.0.into_iter().filter(|lane| !lane.bars.is_empty()).collect();
        Server { name: self.names[trace].clone(), lanes, marks }
    }

    /// Returns the arrows: from a question to the decision about it, and from there to the answer.
    pub fn arrows(&self) -> Vec<Arrow> {
        let mut arrows = Vec::new();
        for (i, question) in self.lines.iter().enumerate().filter(|(_, l)| l.event == "psync") {
            let key = |line: &Line| (line.str("replid").map(str::to_string), line.int("offset"));
            let after = |j: &usize| {
                let line = &self.lines[*j];
                line.event == "decision"
                    && self.of[*j] != self.of[i]
                    && key(line) == key(question)
                    && line.t - question.t < 60_000_000
            };
            let Some(decision) = (i + 1..self.lines.len()).find(after) else { continue };
            // One decision answers one question.
            if arrows.iter().any(|arrow: &Arrow| arrow.to == decision) {
                continue;
            }
            arrows.push(Arrow { from: i, to: decision });
            let answers = |j: &usize| self.of[*j] == self.of[i] && self.lines[*j].event == "answer";
            // The master notes its decision behind the answer, which may be faster.
            if let Some(answer) = (i + 1..self.lines.len()).find(answers) {
                arrows.push(Arrow { from: decision, to: answer });
            }
        }
        arrows
    }
}

/// The lanes of a server, in the order in which they begin.
#[derive(Default)]
struct Lanes(Vec<Lane>);

impl Lanes {
    fn lane(&mut self, name: &str) -> &mut Lane {
        let at = self.0.iter().position(|lane| lane.name == name).unwrap_or_else(|| {
            self.0.push(Lane { name: name.to_string(), bars: Vec::new() });
            self.0.len() - 1
        });
        &mut self.0[at]
    }

    fn end(&mut self, name: &str, i: usize) {
        if let Some(bar) = self.lane(name).bars.last_mut().filter(|bar| bar.to.is_none()) {
            bar.to = Some(i);
        }
    }

    fn end_all(&mut self, i: usize) {
        let names: Vec<String> = self.0.iter().map(|lane| lane.name.clone()).collect();
        names.iter().for_each(|name| self.end(name, i));
    }

    /// Ends the bar of a lane, and begins the one of `state`, unless that is `none`.
    fn begin(&mut self, name: &str, i: usize, state: &str, none: &str) {
        self.end(name, i);
        if state != none && !state.is_empty() {
            let bar = Bar { from: i, to: None, label: short_state(state), look: look(name, state) };
            self.lane(name).bars.push(bar);
        }
    }
}

fn replica_lane(line: &Line) -> String {
    format!("replica {}", line.int("client").unwrap_or_default())
}

fn short_id(id: &str) -> String {
    id.chars().take(8).collect()
}

fn short_state(state: &str) -> String {
    let prefixes = ["REPL_STATE_", "SLAVE_STATE_", "FAILOVER_", "AOF_"];
    let short = prefixes.iter().find_map(|prefix| state.strip_prefix(prefix));
    short.unwrap_or(state).to_string()
}

fn look(lane: &str, state: &str) -> Look {
    match (lane, state) {
        ("children", _) => Look::Child,
        ("history", _) => Look::History,
        (_, "REPL_STATE_CONNECTED" | "SLAVE_STATE_ONLINE" | "AOF_ON") => Look::Good,
        (_, "REPL_STATE_TRANSFER" | "SLAVE_STATE_SEND_BULK") => Look::Data,
        (_, "REPL_STATE_CONNECT" | "SLAVE_STATE_WAIT_BGSAVE_START" | "AOF_WAIT_REWRITE") => {
            Look::Waiting
        }
        (_, "SLAVE_STATE_WAIT_BGSAVE_END" | "FAILOVER_WAIT_FOR_SYNC") => Look::Waiting,
        _ => Look::Talking,
    }
}

/// Returns the label of a mark.
fn label(line: &Line) -> String {
    let field = |name: &str| line.str(name).unwrap_or_default();
    match line.event.as_str() {
        "psync" => {
            let offset = line.int("offset").unwrap_or_default();
            let id = short_id(field("replid"));
            let failover = line.fields["failover"].as_bool() == Some(true);
            format!("PSYNC {id} {offset}{}", if failover { " FAILOVER" } else { "" })
        }
        "decision" => format!("{}: {}", field("event"), field("reason")),
        "answer" => format!("answer: {}", field("event")),
        "role" => format!("becomes a {}", field("to")),
        "backlog" => format!("backlog {}", field("what")),
        "load" => format!("load {}", field("what")),
        "save" => format!("save {}", field("what")),
        "rewrite" => format!("rewrite {}", field("what")),
        "rdb_pipe" => format!("RDB pipe: {}", field("what")),
        "aof_pipe" => format!("AOF pipe: {}", field("what")),
        "cached_master" => format!("master {}", field("what")),
        "bgsave_for_sync" => format!("BGSAVE for {}", field("target")),
        "payload" => "payload begins".to_string(),
        "master_gone" => "link to the master lost".to_string(),
        "link_closed" => format!("closed: {}", field("reason")),
        "timeout" => format!("timeout of {}", field("what")),
        event => event.replace('_', " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASTER: &str = r#"{"t":1,"ev":"start","fn":"trace::open_trace","at":"src/trace.rs:1","wall":1000,"port":7000,"role":"master","repl_state":"REPL_STATE_NONE"}
{"t":30,"ev":"decision","fn":"replication::f","at":"src/replication.rs:2","replid":"?","offset":-1,"event":"full","reason":"none"}
{"t":40,"ev":"replstate","fn":"replication::f","at":"src/replication.rs:2","client":5,"to":"SLAVE_STATE_ONLINE"}
{"t":60,"ev":"replica_gone","fn":"trace::g","at":"src/trace.rs:2","client":5}
{"t":70,"ev":"torn"#;
    const REPLICA: &str = r#"{"t":2,"ev":"start","fn":"trace::open_trace","at":"src/trace.rs:1","wall":2002,"port":7001,"repl_state":"REPL_STATE_CONNECT"}
{"t":20,"ev":"psync","fn":"replication::f","at":"src/replication.rs:2","replid":"?","offset":-1}
{"t":25,"ev":"repl_state","fn":"replication::f","at":"src/replication.rs:2","to":"REPL_STATE_RECEIVE_PSYNC_REPLY"}
{"t":50,"ev":"answer","fn":"replication::f","at":"src/replication.rs:2","event":"full"}
"#;

    fn model(wall: bool) -> Model {
        let mut model = Model::default();
        model.add("a", MASTER, wall);
        model.add("b", REPLICA, wall);
        model
    }

    /// Two servers on one time line: bars, marks, and an arrow from the question to the decision, and
    /// from there to the answer. A torn line at the end is left out.
    #[test]
    fn two_servers() {
        let model = model(false);
        assert_eq!(model.lines.len(), 8);
        let servers = model.servers();
        assert_eq!(servers[0].name, "port 7000, started as a master");
        let lane = &servers[0].lanes[0];
        assert_eq!((lane.name.as_str(), lane.bars.len()), ("replica 5", 1));
        let event = |i: usize| model.lines[i].event.as_str();
        assert_eq!(event(lane.bars[0].to.unwrap()), "replica_gone");
        let bars = &servers[1].lanes[0].bars;
        assert_eq!(bars[0].label, "CONNECT");
        assert_eq!(bars[1].label, "RECEIVE_PSYNC_REPLY");
        let arrows = model.arrows();
        let ends: Vec<_> = arrows.iter().map(|a| (event(a.from), event(a.to))).collect();
        assert_eq!(ends, [("psync", "decision"), ("decision", "answer")]);
    }

    /// By their wall clocks the replica of this example started a second later.
    #[test]
    fn wall_clocks() {
        let model = model(true);
        assert_eq!(model.lines[0].t, 1000);
        assert_eq!(model.lines.last().unwrap().t, 2050);
    }

    /// Lines that no server has written are left out, or drawn for what they are.
    #[test]
    fn any_lines() {
        let mut model = Model::default();
        let numbers = ["-1", "0", "9223372036854775807", "-9223372036854775808", "1e300", "null"];
        let mut text = "[]\n1\n\"t\"\n{}\nnull\n\n".to_string();
        for t in numbers {
            for wall in numbers {
                for event in ["start", "psync", "decision", "answer", "replstate", "fork", "\u{1}"]
                {
                    text += &format!(
                        "{{\"t\":{t},\"ev\":{event:?},\"fn\":\"\",\"at\":\"\",\"wall\":{wall},\"client\":{t},\"to\":{wall},\"offset\":{wall}}}\n"
                    );
                }
            }
        }
        for wall in [false, true] {
            model.add("a", &text, wall);
            model.add("b", &text, wall);
            assert!(!model.servers().is_empty() && model.lines.iter().all(|line| line.t >= 0));
            model.arrows();
        }
        model.cut_before("psync");
        assert!(crate::svg::draw(&model, "", "", "").ends_with("</svg>\n"));
    }

    /// What was before the cut is there as states alone.
    #[test]
    fn cut() {
        let mut model = model(false);
        model.cut_before("replica_gone");
        let events: Vec<&str> = model.lines.iter().map(|line| line.event.as_str()).collect();
        assert_eq!(events, ["start", "repl_state", "replstate", "replica_gone"]);
        assert!(model.lines.iter().all(|line| line.t == 60));
    }
}
