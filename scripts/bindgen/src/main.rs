//! Turns a compiled planner into a package that a browser or Node can import.
//!
//! The same work as the `wasm-bindgen` command, done by its library, so that its version is the one
//! in the lock file and nothing has to be installed.
//!
//! Usage: `syncline-bindgen INPUT.wasm --target web|nodejs|bundler --out-dir DIR`

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<()> {
    let request = Request::parse(std::env::args().skip(1))?;
    request
        .bindgen()?
        .generate(&request.out_dir)
        .with_context(|| format!("cannot bind {}", request.input.display()))
}

/// The arguments of the command line.
#[derive(Debug)]
struct Request {
    input: PathBuf,
    target: Target,
    out_dir: PathBuf,
}

/// The kind of program that imports the package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Web,
    Nodejs,
    Bundler,
}

impl Request {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let (mut input, mut target, mut out_dir) = (None, None, None);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--target" => target = Some(Target::parse(&value(&word, &mut words)?)?),
                "--out-dir" => out_dir = Some(PathBuf::from(value(&word, &mut words)?)),
                _ if word.starts_with('-') => bail!("there is no option {word}"),
                _ => input = Some(PathBuf::from(word)),
            }
        }
        Ok(Self {
            input: input.context("which .wasm file?")?,
            target: target.context("--target is missing")?,
            out_dir: out_dir.context("--out-dir is missing")?,
        })
    }

    fn bindgen(&self) -> Result<Bindgen> {
        let mut bindgen = Bindgen::new();
        bindgen
            .input_path(&self.input)
            .typescript(true)
            .remove_name_section(true);
        match self.target {
            Target::Web => bindgen.web(true)?,
            Target::Nodejs => bindgen.nodejs(true)?,
            Target::Bundler => bindgen.bundler(true)?,
        };
        Ok(bindgen)
    }
}

impl Target {
    fn parse(word: &str) -> Result<Self> {
        match word {
            "web" => Ok(Self::Web),
            "nodejs" => Ok(Self::Nodejs),
            "bundler" => Ok(Self::Bundler),
            _ => bail!("there is no target {word}: it is web, nodejs or bundler"),
        }
    }
}

fn value(option: &str, words: &mut impl Iterator<Item = String>) -> Result<String> {
    words
        .next()
        .with_context(|| format!("{option} needs a value"))
}

#[cfg(test)]
mod tests {
    use super::{Request, Target};

    fn parse(line: &str) -> anyhow::Result<Request> {
        Request::parse(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn a_complete_line_is_understood_in_any_order() {
        let request = parse("--target nodejs planner.wasm --out-dir out").unwrap();
        assert_eq!(request.input.to_str(), Some("planner.wasm"));
        assert_eq!(request.target, Target::Nodejs);
        assert_eq!(request.out_dir.to_str(), Some("out"));
    }

    #[test]
    fn an_incomplete_or_unknown_line_is_refused() {
        for line in [
            "planner.wasm --target web",
            "--target dom",
            "planner.wasm --fast",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
