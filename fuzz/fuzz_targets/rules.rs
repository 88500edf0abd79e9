#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| packhorse_policy::fuzzing::rules(data));
