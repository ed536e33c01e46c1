//! What must hold of every parser of foreign bytes, for any bytes.
//!
//! A target takes bytes, gives them to a parser through the surface that others use, and panics if a property does not
//! hold: an error names what is wrong and holds no value, what is parsed and written again is equal, nothing is lost
//! in silence, memory stays bounded. The committed corpus and mutations of it are replayed by this crate's tests; the
//! program `fuzz` and libFuzzer search for longer.

mod json;
mod mutate;
mod stand;
mod targets;

use std::path::{Path, PathBuf};

use peak_alloc::PeakAlloc;

pub use mutate::{Mutator, mutated};
pub use targets::TARGETS;

/// One parser with its properties.
#[derive(Debug)]
pub struct Target {
    /// Its name, and that of the folder of its corpus.
    pub name: &'static str,
    /// Panics if a property does not hold for these bytes.
    check: fn(&[u8]),
    /// How many mutations of its corpus the tests play: as many as take a second.
    pub mutations: u64,
}

/// Counts what is allocated.
#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Most bytes that a target may need for a small input: one allocation of Avro may have 16 MB.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Most bytes that it may need for each byte of its input.
const BYTES_PER_BYTE_MAX: usize = 4_000;

impl Target {
    /// Panics if a property does not hold for these bytes.
    pub fn check(&self, bytes: &[u8]) {
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        (self.check)(bytes);
        let used = MEMORY.peak_usage().saturating_sub(before);
        let most = BYTES_MAX + BYTES_PER_BYTE_MAX * bytes.len();
        assert!(used <= most, "{} bytes need {used} bytes", bytes.len());
    }

    /// Returns the committed inputs with their names, in the order of their names.
    pub fn corpus(&self) -> Vec<(String, Vec<u8>)> {
        let folder = corpus_folder().join(self.name);
        let entries = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{} cannot be read: {error}", folder.display()));
        let mut inputs: Vec<(String, Vec<u8>)> = entries
            .map(|entry| {
                let entry = entry.expect("the folder can be listed");
                let name = entry.file_name().to_string_lossy().into_owned();
                (name, std::fs::read(entry.path()).expect("it is a file"))
            })
            .collect();
        inputs.sort();
        inputs
    }

    /// Checks every committed input, then mutations of them: the same ones each time. Panics with the input that
    /// breaks a property.
    pub fn replay(&self) {
        let corpus = self.corpus();
        assert!(!corpus.is_empty(), "{} has no corpus", self.name);
        for (name, bytes) in &corpus {
            self.check_or_name(name, bytes);
        }
        for number in 0..self.mutations {
            let (name, bytes) = mutated(&corpus, number);
            self.check_or_name(&format!("mutation {number} of {name}"), &bytes);
        }
    }

    fn check_or_name(&self, name: &str, bytes: &[u8]) {
        let checked = std::panic::catch_unwind(|| self.check(bytes));
        if checked.is_err() {
            panic!(
                "{name} breaks a property of {}: {:?}",
                self.name,
                String::from_utf8_lossy(bytes)
            );
        }
    }
}

/// Returns the target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Returns where the committed inputs are, a folder for each target.
pub fn corpus_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}
