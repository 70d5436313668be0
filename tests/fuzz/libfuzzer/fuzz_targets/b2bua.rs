//! See `postern_fuzz_targets::b2bua`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| postern_fuzz_targets::b2bua::run(input));
