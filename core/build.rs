//! Compiles the event bus's wire format into the client that `salesforce::pubsub` speaks through.
//! The pure part of the crate has no wire and compiles nothing.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    #[cfg(feature = "runtime")]
    compile_event_bus()?;
    Ok(())
}

#[cfg(feature = "runtime")]
fn compile_event_bus() -> Result<(), Box<dyn Error>> {
    const PROTO: &str = "proto/eventbus.proto";
    println!("cargo::rerun-if-changed={PROTO}");
    let descriptors = protox::compile([PROTO], ["proto"])?;
    tonic_prost_build::configure()
        .build_server(false)
        .compile_fds(descriptors)?;
    Ok(())
}
