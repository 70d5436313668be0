//! See `postern_fuzz_targets::sip_message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| postern_fuzz_targets::sip_message::run(input));
