//! Runs the fuzz target that the environment variable `TARGET` names. `fuzz/run` is how to start it.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static RUN: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("TARGET").unwrap_or_default();
    portcullis::fuzz::target(&name).unwrap_or_else(|| panic!("TARGET={name}: there is no such fuzz target"))
});

fuzz_target!(|bytes: &[u8]| (*RUN)(bytes));
