//! Mistakes of a configuration, each with its line and its fix.

use std::fmt;

use serde::Serialize;

/// All mistakes of one configuration, by line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigError {
    /// The mistakes; at least one.
    pub mistakes: Vec<Mistake>,
}

/// One mistake. Never quotes the value of a key that should be the address of a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Mistake {
    /// Line of the file, counted from 1.
    pub line: usize,
    /// The key, `tenant.acme.object.Account.fields.Name.owner`.
    pub path: String,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            path,
            problem,
            fix,
        } = self;
        write!(f, "line {line}: {path}: {problem}; {fix}")
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, mistake) in self.mistakes.iter().enumerate() {
            if place > 0 {
                writeln!(f)?;
            }
            mistake.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
