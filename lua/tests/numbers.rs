//! Numbers and patterns beside PUC's Lua: one program makes them from a seed, and prints what becomes of them.

#![allow(non_snake_case)]

mod support;

use support::*;

/// A generator of numbers that is exact in doubles, and what both programs need.
const COMMON: &str = r##"
local x = SEED
local function rand(n) x = (x * 16807) % 2147483647 return x % n end
local format, tostring, tonumber, pcall = string.format, tostring, tonumber, pcall
local function pick(t) return t[rand(#t) + 1] end
"##;

/// Doubles of all sizes in all formats, and texts that are numbers or nearly so.
const NUMBERS: &str = r##"
local function double()
  local k = rand(8)
  if k == 0 then return rand(1000) - 500 end
  if k == 1 then return (rand(2000000) - 1000000) / 1000 end
  if k == 2 then return rand(100) + 0.5 end
  if k == 3 then return rand(1000) / 8 end
  if k == 4 then return pick{0, -0, 1/0, -1/0, 0/0, -(0/0), 5e-324, 2^-1022, 1.7976931348623157e308, 2^53, 2^63, -2^63, 2^64, 0.1, 1e15, 1e16, 999999.5, 9.9999995} end
  return math.ldexp(rand(2147483646) * 2^31 + rand(2147483646), rand(2100) - 1100) * (rand(2) == 0 and 1 or -1)
end
local forms = {"%d", "%i", "%u", "%x", "%X", "%o", "%c", "%e", "%E", "%f", "%g", "%G"}
local parts = {"0", "1", "9", "12", "00", ".", "e", "E", "+", "-", "x", "0x", "p", "f", "a", " ", "inf", "nan", "_", "1e5", "1.5", "e-3", "9007199254740993", "308", "-324"}
for i = 1, COUNT do
  local d = double()
  local flags = ""
  for _ = 1, rand(3) do flags = flags .. pick{"-", "+", " ", "#", "0"} end
  local form = "%" .. flags .. pick{"", "", "1", "5", "12", "30"} .. pick{"", "", ".", ".0", ".1", ".3", ".17", ".40"} .. pick(forms):sub(2)
  local s = ""
  for _ = 1, 1 + rand(4) do s = s .. pick(parts) end
  local text = format("%.17g", d)
  print(form, pcall(format, form, d), tostring(d), tonumber(text) == d or d ~= d, tonumber(s), tonumber(s, 2 + rand(35)))
end
"##;

/// Patterns and subjects of the same few letters.
const PATTERNS: &str = r##"
local atoms = {"a", "b", "c", ".", "%a", "%w", "%d", "%s", "%p", "%x", "%z", "%A", "%-", "%%", "[ab]", "[^a]", "[a-c]", "[%a_]", "[]]", "[^]]", "%b()", "%bab", "%f[%w]", "%f[^a]", "()", "%1", "%2"}
local quants = {"", "", "", "*", "+", "-", "?"}
local letters = {"a", "b", "c", "a", "b", "1", " ", "(", ")", "]", "-", "_", "%", "\0", "\200"}
local junk = {"%", "[", "(", ")", "^", "$", "%b", "%f", "[a", "[^", "%0", "[%"}
local repls = {"", "x", "%0", "%1", "<%1>", "%2", "%%", "%", "%a"}
for i = 1, COUNT do
  local p, s, open = rand(5) == 0 and "^" or "", "", 0
  for _ = 1, 1 + rand(5) do
    local k = rand(12)
    if k == 0 then p = p .. "(" open = open + 1
    elseif k == 1 and open > 0 then p = p .. ")" open = open - 1
    elseif k == 2 and rand(6) == 0 then p = p .. pick(junk)
    else p = p .. pick(atoms) .. pick(quants) end
  end
  p = p .. string.rep(")", open) .. (rand(6) == 0 and "$" or "")
  for _ = 1, rand(14) do s = s .. pick(letters) end
  print(format("%q %q", p, s), pcall(string.find, s, p, rand(4)))
  print(pcall(string.match, s, p))
  print(pcall(string.gsub, s, p, pick(repls), rand(3) == 0 and rand(3) or nil))
  if rand(4) == 0 then
    print(pcall(function() local o = {} for a, b in string.gmatch(s, p) do o[#o + 1] = tostring(a) .. tostring(b) if #o > 20 then break end end return table.concat(o, ",") end))
  end
end
"##;

fn compare(program: &str, count: usize, random: &mut Random) {
    let seed = 1 + random.below(2_000_000_000);
    let source = format!("local SEED, COUNT = {seed}, {count}\n{COMMON}{program}");
    let theirs = peer(&source, Vec::new());
    let (ours, error) =
        on_small_stack(move || run(&mut new_state(), source.as_bytes(), "=(command line)"));
    assert_eq!(error, None);
    let (mut ours, mut theirs) = (ours.split(|&c| c == b'\n'), theirs.split(|&c| c == b'\n'));
    loop {
        match (ours.next(), theirs.next()) {
            (None, None) => break,
            (ours, theirs) => {
                let show = |s: Option<&[u8]>| s.map(|s| s.escape_ascii().to_string());
                assert_eq!(show(ours), show(theirs));
            }
        }
    }
}

#[test]
fn numbers_are_written_and_read_as_in_puc() {
    let mut random = Random::from_env();
    for _ in 0..rounds(1, 50) {
        compare(NUMBERS, 20_000, &mut random);
    }
}

#[test]
fn patterns_match_as_in_puc() {
    let mut random = Random::from_env();
    for _ in 0..rounds(1, 50) {
        compare(PATTERNS, 20_000, &mut random);
    }
}
