//! libFuzzer's bytes for `couchwarden_fuzz::bulk`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| couchwarden_fuzz::bulk(data));
