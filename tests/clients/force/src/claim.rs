//! Assertions on what the client returned.

use std::fmt::Debug;

use anyhow::{bail, ensure};
use force::error::ForceError;

/// Asserts that two values are equal.
pub(crate) fn equal<T: PartialEq<U> + Debug, U: Debug>(
    actual: T,
    expected: U,
    what: &str,
) -> anyhow::Result<()> {
    ensure!(
        actual == expected,
        "{what}: expected {expected:?}, got {actual:?}"
    );
    Ok(())
}

/// Asserts that the org refused with this code. The client returns a refusal as its status and a
/// text that starts with the code of the first error.
pub(crate) fn refused<T: Debug>(
    outcome: Result<T, ForceError>,
    code: &str,
    what: &str,
) -> anyhow::Result<()> {
    fails(outcome, &format!("[{code}] "), what)
}

/// Asserts that a call fails with an error that contains this text.
pub(crate) fn fails<T: Debug>(
    outcome: Result<T, ForceError>,
    part: &str,
    what: &str,
) -> anyhow::Result<()> {
    match outcome {
        Err(error) if error.to_string().contains(part) => Ok(()),
        Err(error) => bail!("{what}: expected {part:?}, got {error}"),
        Ok(answer) => bail!("{what}: expected {part:?}, got {answer:?}"),
    }
}
