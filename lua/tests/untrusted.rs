//! Random bytes as sources, patterns, formats and packed values: no panic, on a stack of two megabytes.

#![allow(non_snake_case)]

mod support;

use support::*;

#[path = "support/untrusted.rs"]
mod untrusted;

use untrusted::{TARGETS, Target};

/// Changes an input here and there.
fn mutate(random: &mut Random, target: &Target, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut data = seeds[random.below(seeds.len())].clone();
    for _ in 0..random.below(8) {
        let at = random.below(data.len() + 1);
        let end = at + random.below((data.len() - at).min(16) + 1);
        match random.below(8) {
            0 if at < data.len() => data[at] ^= 1 << random.below(8),
            1 if at < data.len() => data[at] = random.next() as u8,
            2 => drop(data.drain(at..end)),
            3 => {
                let copy = data[at..end].to_vec();
                let to = random.below(data.len() + 1);
                data.splice(to..to, copy);
            }
            4 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                data.truncate(at);
                data.extend_from_slice(&other[from..]);
            }
            5 => data.insert(at, random.next() as u8),
            _ => {
                let word = random.pick(target.words);
                data.splice(at..at, word.bytes());
            }
        }
    }
    data
}

/// Gives every target as many inputs; what ends one is printed with its input by the hook for panics.
fn drive(name: &'static str) {
    let target = TARGETS.iter().find(|t| t.name == name).expect("a target");
    on_small_stack(move || {
        let mut random = Random::from_env();
        let seeds = target.seeds();
        seeds.iter().for_each(|seed| (target.run)(seed));
        let count = rounds(2000, 1_000_000);
        for i in 0..count {
            let data = mutate(&mut random, target, &seeds);
            let input = Input(name, i, &data);
            (target.run)(&data);
            drop(input);
        }
        println!("{name}: {count} inputs");
    });
}

/// Tells the input when a panic goes by.
struct Input<'a>(&'static str, usize, &'a [u8]);

impl Drop for Input<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}: input {}: {}", self.0, self.1, self.2.escape_ascii());
        }
    }
}

#[test]
fn any_source_ends() {
    drive("lua_source");
}

#[test]
fn any_pattern_ends() {
    drive("lua_pattern");
}

#[test]
fn any_format_ends() {
    drive("lua_format");
}

#[test]
fn any_json_ends_and_comes_back() {
    drive("lua_cjson");
}

#[test]
fn any_packed_value_ends_and_comes_back() {
    drive("lua_cmsgpack");
}

#[test]
fn any_format_of_struct_ends() {
    drive("lua_struct");
}
