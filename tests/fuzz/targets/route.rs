//! libFuzzer's bytes for `couchwarden_fuzz::route`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| couchwarden_fuzz::route(data));
