//! libFuzzer's bytes for `couchwarden_fuzz::query`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| couchwarden_fuzz::query(data));
