//! A small mutator, so that a replay needs no fuzzing engine.

use std::path::PathBuf;

use machine::Rng;

/// Inputs do not grow beyond this, bytes.
const LEN_MAX: usize = 8_192;

/// One of the inputs, changed in one to eight places.
#[must_use]
pub fn mutate(inputs: &[(PathBuf, Vec<u8>)], words: &[&[u8]], rng: &mut Rng) -> Vec<u8> {
    let mut input = pick(inputs, rng).map_or_else(Vec::new, |(_, input)| input.clone());
    for _ in 0..=rng.below(8) {
        change(&mut input, inputs, words, rng);
        input.truncate(LEN_MAX);
    }
    input
}

fn change(input: &mut Vec<u8>, inputs: &[(PathBuf, Vec<u8>)], words: &[&[u8]], rng: &mut Rng) {
    let (from, to) = range(input.len(), rng);
    let new: Vec<u8> = match rng.below(6) {
        0 => Vec::new(),
        1 => vec![rng.bits() as u8],
        2 => pick(words, rng).map_or_else(Vec::new, |word| word.to_vec()),
        3 => input[from..to].repeat(1 + rng.below(20) as usize),
        4 => pick(inputs, rng).map_or_else(Vec::new, |(_, other)| {
            let (from, to) = range(other.len(), rng);
            other[from..to].to_vec()
        }),
        _ => {
            let bit = 1 << rng.below(8);
            input[from..to].iter().map(|byte| byte ^ bit).collect()
        }
    };
    // Half of the changes insert, half replace.
    let end = if rng.percent(50) { from } else { to };
    input.splice(from..end, new);
}

/// Mostly a few bytes, sometimes many.
fn range(len: usize, rng: &mut Rng) -> (usize, usize) {
    let from = rng.below(len as u64 + 1) as usize;
    let longest = if rng.percent(80) { 8 } else { 400 };
    (from, (from + rng.below(longest) as usize).min(len))
}

fn pick<'a, T>(from: &'a [T], rng: &mut Rng) -> Option<&'a T> {
    from.get(rng.below(from.len() as u64) as usize)
}
