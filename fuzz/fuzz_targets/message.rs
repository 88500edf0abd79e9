#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| packhorse_edge::fuzzing::message(data));
