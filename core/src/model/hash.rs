//! Canonical JSON and its hash: equal content, equal bytes, equal hash.
