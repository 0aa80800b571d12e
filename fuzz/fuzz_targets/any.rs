//! Any of the targets: the one that `FUZZ_TARGET` names.

#![no_main]

#[path = "../../tests/fuzz/targets/mod.rs"]
mod targets;

use std::sync::LazyLock;

static TARGET: LazyLock<targets::Target> = LazyLock::new(|| {
    let wanted = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let found = targets::all().find(|(name, _)| *name == wanted);
    found.unwrap_or_else(|| panic!("set FUZZ_TARGET to a folder of tests/fuzz/corpus")).1
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| TARGET(input));
