//! See `postern_fuzz_targets::sdp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| postern_fuzz_targets::sdp::run(input));
