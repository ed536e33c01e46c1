//! Claims about what the client returned.

use std::fmt::Debug;

use anyhow::{bail, ensure};
use force::error::ForceError;

/// Claims that two values are equal.
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

/// Claims that the org refused with this code. The client hands a refusal over as its status and
/// a text that begins with the code of the first error.
pub(crate) fn refused<T: Debug>(
    outcome: Result<T, ForceError>,
    code: &str,
    what: &str,
) -> anyhow::Result<()> {
    fails(outcome, &format!("[{code}] "), what)
}

/// Claims that a call fails with a text that has this in it.
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
