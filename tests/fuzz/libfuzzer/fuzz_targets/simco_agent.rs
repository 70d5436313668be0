//! See `postern_fuzz_targets::simco::agent`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| postern_fuzz_targets::simco::agent::run(input));
