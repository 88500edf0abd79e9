#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| packhorse_ledger::fuzzing::receipts(data));
