//! Makes the tree in which planted bugs can be switched on, and lists them.

use std::path::PathBuf;

use clap::Parser;
use syncline_sim::planted;

/// Copies the workspace to a tree in which each bug of `planted.toml` can be switched on by name.
#[derive(Debug, Parser)]
#[command(name = "plant")]
enum Command {
    /// Writes the tree.
    Tree {
        /// The workspace.
        root: PathBuf,
        /// The folder of the tree.
        tree: PathBuf,
    },
    /// Prints each bug: its name, a tab, and what a user would see.
    List,
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Tree { root, tree } => {
            let written = planted::write_tree(&root, &tree)?;
            eprintln!("{written} files of {} have changed", tree.display());
        }
        Command::List => {
            for bug in planted::bugs() {
                println!("{}\t{}", bug.name, bug.why);
            }
        }
    }
    Ok(())
}
