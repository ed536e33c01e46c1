//! Generates Rust from `proto/pubsub.proto` without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/pubsub.proto");
    let files = protox::compile(["proto/pubsub.proto"], ["proto"])?;
    // One payload goes to many subscribers, so it must not be copied.
    let payload = ".eventbus.v1.ProducerEvent.payload";
    tonic_prost_build::configure()
        .bytes(payload)
        .compile_fds(files)?;
    Ok(())
}
