//! Random programs: they end, they print the same wherever they run, and most of them reach an error here and there.
//!
//! What they call beside the libraries comes from the driver: `tick` ends a program that runs long, `cut` shortens every
//! string that could double in a loop until the peer has no memory, `key` makes a key whose place in a table does not
//! depend on an address, `show` prints.

use super::Random;

pub struct Generator<'r> {
    random: &'r mut Random,
    out: String,
    /// The local variables in reach.
    scope: Vec<String>,
    names: usize,
    loops: usize,
    /// Whether `...` can be used, and whether a yield can be.
    vararg: bool,
    depth: usize,
}

/// A program.
pub fn program(random: &mut Random) -> String {
    let mut g = Generator {
        random,
        out: String::new(),
        scope: Vec::new(),
        names: 0,
        loops: 0,
        vararg: true,
        depth: 0,
    };
    for _ in 0..6 + g.below(9) {
        g.protected_statement();
    }
    g.out
}

impl Generator<'_> {
    fn below(&mut self, n: usize) -> usize {
        self.random.below(n)
    }

    fn put(&mut self, s: &str) {
        self.out.push_str(s);
    }

    fn fresh(&mut self) -> String {
        self.names += 1;
        format!("v{}", self.names)
    }

    fn var(&mut self) -> String {
        if self.scope.is_empty() || self.random.one_in(8) {
            return self.random.pick(&["g1", "g2", "g3", "g4"]).to_string();
        }
        let n = self.scope.len();
        // The latest ones most of the time.
        let i = if self.random.one_in(3) { self.below(n) } else { n - 1 - self.below(n.min(4)) };
        self.scope[i].clone()
    }

    fn number(&mut self) -> String {
        match self.below(12) {
            0 => "0".into(),
            1 => "-1".into(),
            2 => format!("{}", self.below(10)),
            3 => format!("{}.5", self.below(100)),
            4 => format!("{}e{}", 1 + self.below(99), self.below(40)),
            5 => format!("{:#x}", self.random.next() >> (self.below(63) + 1)),
            6 => "2^53".into(),
            7 => "1/3".into(),
            8 => "-0".into(),
            _ => format!("{}", self.below(6)),
        }
    }

    fn string(&mut self) -> String {
        self.random
            .pick(&[
                "''",
                "'a'",
                "'ab'",
                "\"x y\"",
                "'10'",
                "' 5 '",
                "'0x1F'",
                "'k1'",
                "'k2'",
                "'n'",
                "[[line\nline]]",
                "'a\\0b'",
                "'\\200\\10'",
                "'%d'",
                "'%s'",
                "'hello world'",
                "'1e2'",
                "'.'",
                "'abcabc'",
                "'__index'",
            ])
            .into()
    }

    fn key(&mut self) -> String {
        match self.below(7) {
            0 => format!("[{}]", self.below(5)),
            1 => format!("[key({})]", self.var()),
            2 => format!("[{}]", self.string()),
            3 => format!("[{}]", self.number()),
            _ => format!(".k{}", self.below(4)),
        }
    }

    /// The fields of a constructor.
    fn fields(&mut self, depth: usize) -> String {
        let mut s = String::from("{");
        for _ in 0..self.below(5) {
            match self.below(4) {
                0 => s.push_str(&format!("k{} = ", self.below(4))),
                1 => s.push_str(&format!("[{}] = ", self.number())),
                _ => {}
            }
            s.push_str(&self.expr(depth));
            s.push_str(if self.random.one_in(5) { "; " } else { ", " });
        }
        if self.vararg && self.random.one_in(6) {
            s.push_str("...");
        }
        s.push('}');
        s
    }

    fn args(&mut self, depth: usize) -> String {
        let n = self.below(4);
        let mut args: Vec<String> = (0..n).map(|_| self.expr(depth)).collect();
        if self.vararg && self.random.one_in(6) {
            args.push("...".into());
        }
        args.join(", ")
    }

    /// A function, written out.
    fn function(&mut self) -> String {
        let out = std::mem::take(&mut self.out);
        let scope = self.scope.len();
        let loops = std::mem::replace(&mut self.loops, 0);
        let vararg = self.vararg;
        let mut params: Vec<String> = (0..self.below(3)).map(|_| self.fresh()).collect();
        self.scope.extend(params.iter().cloned());
        self.vararg = self.random.one_in(4);
        if self.vararg {
            params.push("...".into());
        }
        self.depth += 1;
        self.put(&format!("function({}) tick()\n", params.join(", ")));
        self.block(0, 4);
        let result = if self.random.one_in(4) { self.args(1) } else { self.expr(2) };
        self.put(&format!("return {result}\nend"));
        self.depth -= 1;
        self.vararg = vararg;
        self.loops = loops;
        self.scope.truncate(scope);
        std::mem::replace(&mut self.out, out)
    }

    fn metatable(&mut self) -> String {
        let mut s = String::from("{");
        for _ in 0..1 + self.below(3) {
            let event = self.random.pick(&[
                "__index",
                "__index",
                "__newindex",
                "__call",
                "__add",
                "__sub",
                "__mul",
                "__div",
                "__mod",
                "__pow",
                "__unm",
                "__concat",
                "__len",
                "__eq",
                "__lt",
                "__le",
                "__tostring",
                "__metatable",
            ]);
            let value = match self.below(4) {
                0 => self.expr(1),
                1 => self.fields(1),
                _ => self.function(),
            };
            s.push_str(&format!("{event} = {value}, "));
        }
        s.push('}');
        s
    }

    fn call(&mut self, depth: usize) -> String {
        let d = depth.saturating_sub(1);
        let pattern = self.pattern();
        match self.below(30) {
            0 => format!("tonumber({})", self.args(d)),
            1 => format!("cut(show({}))", self.expr(d)),
            2 => format!("type({})", self.args(d)),
            3 => format!("select({}, {})", self.number(), self.args(d)),
            4 => format!("select('#', {})", self.args(d)),
            5 => format!("unpack({}, {}, {})", self.expr(d), self.below(4), self.below(6)),
            6 => format!("rawget({}, key({}))", self.expr(d), self.expr(d)),
            7 => format!("rawequal({}, {})", self.expr(d), self.expr(d)),
            8 => format!("setmetatable({}, {})", self.fields(d), self.metatable()),
            9 => format!("getmetatable({})", self.expr(d)),
            10 => format!("pcall({}, {})", self.function(), self.args(d)),
            11 => format!("cut(string.rep({}, {}))", self.expr(d), self.below(5)),
            12 => format!("string.sub({}, {}, {})", self.expr(d), self.number(), self.number()),
            13 => format!("cut(string.gsub({}, {pattern}, {}))", self.expr(d), self.expr(d)),
            14 => format!("string.find({}, {pattern}, {})", self.expr(d), self.below(4)),
            15 => format!("string.match({}, {pattern})", self.expr(d)),
            16 => format!("string.byte({}, {}, {})", self.expr(d), self.below(3), self.below(5)),
            17 => {
                let form = self.random.pick(&[
                    "%d", "%5d", "%-5d|", "%05.1f", "%g", "%x", "%q", "%s", "%10s|", "%.3s", "%c",
                    "%i%%", "%e", "%y",
                ]);
                format!("cut(string.format('{form}', {}))", self.args(d))
            }
            18 => format!("cut(table.concat({}, {}))", self.fields(d), self.string()),
            19 => format!("table.remove({}, {})", self.expr(d), self.number()),
            20 => format!("table.maxn({})", self.expr(d)),
            21 => format!("math.floor({})", self.expr(d)),
            22 => format!("math.max({})", self.args(d)),
            23 => format!("math.fmod({}, {})", self.expr(d), self.expr(d)),
            24 => format!("next({})", self.fields(d)),
            25 => format!("xpcall({}, {})", self.function(), self.function()),
            26 => format!("({})({})", self.function(), self.args(d)),
            27 => format!("loadstring({})", self.string()),
            _ => format!("{}({})", self.var(), self.args(d)),
        }
    }

    fn pattern(&mut self) -> String {
        self.random
            .pick(&[
                "'a'",
                "'.'",
                "'%w+'",
                "'(%w)(%w*)'",
                "'b*'",
                "'^a'",
                "'c$'",
                "'[a-c]+'",
                "'()'",
                "'.-b'",
                "'%s*'",
                "'[^a]'",
                "'%'",
                "'(a'",
                "'%b()'",
                "'%f[%w]%w'",
                "'(.)%1'",
                "''",
            ])
            .into()
    }

    fn expr(&mut self, depth: usize) -> String {
        if depth == 0 || self.random.one_in(5) {
            return match self.below(10) {
                0 => self.random.pick(&["nil", "true", "false"]).into(),
                1..=2 => self.number(),
                3 => self.string(),
                4 if self.vararg => "(...)".into(),
                _ => self.var(),
            };
        }
        let d = depth - 1;
        match self.below(16) {
            0..=3 => {
                let op = self.random.pick(&["+", "-", "*", "/", "%", "^"]);
                format!("({} {op} {})", self.expr(d), self.expr(d))
            }
            4 => {
                let op = self.random.pick(&["<", "<=", ">", ">=", "==", "~="]);
                format!("({} {op} {})", self.expr(d), self.expr(d))
            }
            5..=6 => {
                let op = self.random.pick(&["and", "or"]);
                format!("({} {op} {})", self.expr(d), self.expr(d))
            }
            7 => format!("cut({} .. {})", self.expr(d), self.expr(d)),
            8 => {
                let op = self.random.pick(&["-", "not ", "#"]);
                format!("({op}{})", self.expr(d))
            }
            9 => self.fields(d),
            10 => format!("{}{}", self.var(), self.key()),
            11 if self.depth < 3 => self.function(),
            12..=14 if self.depth < 4 => self.call(depth),
            _ => self.var(),
        }
    }

    fn block(&mut self, least: usize, most: usize) {
        let scope = self.scope.len();
        let n = least + self.below(most - least + 1);
        for _ in 0..n {
            self.statement();
        }
        self.scope.truncate(scope);
    }

    /// A block in a loop, which can be left.
    fn body(&mut self) {
        self.loops += 1;
        self.depth += 1;
        self.put(" tick()\n");
        self.block(1, 4);
        if self.random.one_in(4) {
            let e = self.expr(1);
            self.put(&format!("if {e} then break end\n"));
        }
        self.depth -= 1;
        self.loops -= 1;
    }

    /// A statement after whose error the program goes on.
    fn protected_statement(&mut self) {
        if self.random.one_in(3) {
            let v = self.fresh();
            let e = self.expr(3);
            self.put(&format!(
                "local _, {v} = pcall(function(...) return {e} end, ...)\nprint({v})\n"
            ));
            return self.scope.push(v);
        }
        let out = std::mem::take(&mut self.out);
        let scope = self.scope.len();
        self.statement();
        let statement = std::mem::replace(&mut self.out, out);
        // What declares variables stays outside.
        if statement.starts_with("local function") || statement.contains("= coroutine.") {
            self.put(&statement);
        } else {
            self.scope.truncate(scope);
            self.put(&format!("print(pcall(function(...)\n{statement}end, ...))\n"));
        }
    }

    fn statement(&mut self) {
        if self.depth > 4 {
            let e = self.expr(1);
            return self.put(&format!("print({e})\n"));
        }
        match self.below(24) {
            0..=3 => {
                let v = self.fresh();
                let e = self.expr(3);
                self.put(&format!("local {v} = {e}\n"));
                self.scope.push(v);
            }
            4 => {
                let (a, b) = (self.fresh(), self.fresh());
                let e = self.call(2);
                self.put(&format!("local {a}, {b} = {e}\n"));
                self.scope.extend([a, b]);
            }
            5..=6 => {
                let (v, e) = (self.var(), self.expr(3));
                self.put(&format!("{v} = {e}\n"));
            }
            7..=8 => {
                let (v, k, e) = (self.var(), self.key(), self.expr(2));
                self.put(&format!("{v}{k} = {e}\n"));
            }
            9 => {
                let (a, b, k) = (self.var(), self.var(), self.key());
                let e = self.args(2);
                self.put(&format!("{a}, {b}{k} = {e}{}\n", if e.is_empty() { "1" } else { "" }));
            }
            10 => {
                let e = self.expr(2);
                self.put(&format!("if {e} then\n"));
                self.depth += 1;
                self.block(1, 3);
                if self.random.one_in(3) {
                    let e = self.expr(2);
                    self.put(&format!("elseif {e} then\n"));
                    self.block(1, 2);
                }
                if self.random.one_in(2) {
                    self.put("else\n");
                    self.block(1, 2);
                }
                self.depth -= 1;
                self.put("end\n");
            }
            11 => {
                let v = self.fresh();
                let (a, b) = (self.below(4), self.below(6));
                let step = self.random.pick(&["", "", ", 2", ", -1", ", 0.5", ", x"]);
                self.put(&format!("for {v} = {a}, {b}{step} do"));
                self.scope.push(v);
                self.body();
                self.scope.pop();
                self.put("end\n");
            }
            12 => {
                let (k, v) = (self.fresh(), self.fresh());
                let iter = self.random.pick(&["pairs", "pairs", "ipairs"]);
                let e = if self.random.one_in(2) { self.fields(1) } else { self.var() };
                self.put(&format!("for {k}, {v} in {iter}({e}) do"));
                self.scope.extend([k, v]);
                self.body();
                self.scope.truncate(self.scope.len() - 2);
                self.put("end\n");
            }
            13 => {
                let e = self.expr(2);
                self.put(&format!("while {e} do"));
                self.body();
                self.put("end\n");
            }
            14 => {
                self.put("repeat");
                self.body();
                let e = self.expr(2);
                self.put(&format!("until {e}\n"));
            }
            15 => {
                let v = self.fresh();
                self.scope.push(v.clone());
                let f = self.function();
                let f = f.strip_prefix("function").unwrap_or(&f);
                self.put(&format!("local function {v}{f}\n"));
            }
            16 => {
                let v = self.fresh();
                let f = self.function();
                let body = f.replacen("tick()", "tick() coroutine.yield(1)", 1);
                let wrap = self.random.pick(&["coroutine.wrap", "coroutine.create"]);
                self.put(&format!("local {v} = {wrap}({body})\n"));
                let args = self.args(1);
                let call = if wrap == "coroutine.wrap" {
                    format!("{v}({args})")
                } else {
                    let sep = if args.is_empty() { "" } else { ", " };
                    format!("coroutine.resume({v}{sep}{args})")
                };
                for _ in 0..1 + self.below(3) {
                    self.put(&format!(
                        "print(pcall(function(...) return {call} end{}))\n",
                        if args.contains("...") { ", ..." } else { "" }
                    ));
                }
                self.scope.push(v);
            }
            17 => {
                self.put("print(pcall(function(...)\n");
                let vararg = std::mem::replace(&mut self.vararg, true);
                let loops = std::mem::replace(&mut self.loops, 0);
                self.depth += 1;
                self.block(1, 4);
                let e = self.expr(2);
                self.put(&format!(
                    "return {e}\nend, {}))\n",
                    self.scope.last().cloned().unwrap_or_else(|| "1".into())
                ));
                self.depth -= 1;
                self.loops = loops;
                self.vararg = vararg;
            }
            18 => {
                let (t, e) = (self.var(), self.expr(2));
                match self.below(3) {
                    0 => self.put(&format!("table.insert({t}, {e})\n")),
                    1 => {
                        let n = self.below(4);
                        self.put(&format!("table.insert({t}, {n}, {e})\n"));
                    }
                    _ => {
                        let f = if self.random.one_in(2) { self.function() } else { "nil".into() };
                        self.put(&format!("table.sort({t}, {f})\n"));
                    }
                }
            }
            19 => {
                let e = self.expr(2);
                let (f, level) = (if self.depth > 0 { "error" } else { "print" }, self.below(3));
                self.put(&format!("{f}({e}, {level})\n"));
            }
            20 => {
                let call = self.call(3);
                if call.starts_with('(') {
                    self.put(&format!("print{call}\n"));
                } else {
                    self.put(&format!("do local _ = {call} end\n"));
                }
            }
            21 => {
                let (t, m) = (self.var(), self.metatable());
                self.put(&format!("setmetatable({t}, {m})\n"));
            }
            22 => self.put("collectgarbage()\n"),
            _ => {
                let e = self.args(3);
                self.put(&format!("print({e})\n"));
            }
        }
    }
}
