#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| joltsms_relay::fuzzing::rate_headers(bytes));
