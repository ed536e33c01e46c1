//! Compiles the event bus's wire format into the client that `salesforce::pubsub` speaks through.

use std::error::Error;

const PROTO: &str = "proto/eventbus.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={PROTO}");
    let descriptors = protox::compile([PROTO], ["proto"])?;
    tonic_prost_build::configure()
        .build_server(false)
        .compile_fds(descriptors)?;
    Ok(())
}
