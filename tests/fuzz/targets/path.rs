//! libFuzzer's bytes for `couchwarden_fuzz::path`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| couchwarden_fuzz::path(data));
