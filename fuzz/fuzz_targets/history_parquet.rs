//! libFuzzer's program for one target; see the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::run("history_parquet", data));
