//! One target of `syncline-fuzz`, searched by libFuzzer: the one that `SYNCLINE_FUZZ_TARGET` names.
//!
//! Run `make fuzz MINUTES=5 TARGET=relay` in the root of the repository.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use syncline_fuzz::{Target, target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("SYNCLINE_FUZZ_TARGET").expect("SYNCLINE_FUZZ_TARGET names a target");
    target(&name).expect("it is a target")
});

fuzz_target!(|bytes: &[u8]| TARGET.check(bytes));
