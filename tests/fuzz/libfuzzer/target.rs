//! One target of `syncline-fuzz`, searched by libFuzzer: the one that `SYNCLINE_FUZZ_TARGET` names.
//!
//! Run `make fuzz MINUTES=5 TARGET=relay` in the root of the repository.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let name = std::env::var("SYNCLINE_FUZZ_TARGET").expect("SYNCLINE_FUZZ_TARGET names a target");
    syncline_fuzz::run(&name, bytes);
});
