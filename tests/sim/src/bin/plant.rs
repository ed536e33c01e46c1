//! Makes the tree in which planted bugs can be switched on, and searches for worlds that show them.

use std::path::PathBuf;

use clap::Parser;
use syncline_sim::planted::{self, Bug, Search};

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
    /// Plays worlds without a bug and with each, and prints the table of what they showed. What was played is kept: it
    /// goes on where it was.
    Search {
        /// The simulator of the tree.
        program: PathBuf,
        /// Keeps what was played.
        folder: PathBuf,
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many worlds.
        #[arg(long, default_value_t = 300)]
        worlds: u64,
        /// Plays nothing more: the table is that of what was played.
        #[arg(long)]
        table: bool,
        /// Becomes the page with the table, unless bugs are named.
        #[arg(long)]
        page: Option<PathBuf>,
        /// These bugs alone.
        names: Vec<String>,
    },
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Tree { root, tree } => {
            let written = planted::write_tree(&root, &tree)?;
            eprintln!("{written} files of {} have changed", tree.display());
        }
        Command::Search {
            program,
            folder,
            seed,
            worlds,
            table,
            page,
            names,
        } => {
            let search = Search {
                program,
                folder,
                worlds: seed..seed.saturating_add(worlds),
                bugs: chosen(&names)?,
                is_over: table,
            };
            let results = search.run()?;
            let text = planted::page(&search, &results);
            match page.filter(|_| names.is_empty()) {
                Some(page) => std::fs::write(page, text)?,
                None => println!("{text}"),
            }
            let unwell = &results.unwell;
            anyhow::ensure!(
                unwell.is_empty(),
                "worlds without a bug do not end well: {unwell:#?}"
            );
        }
    }
    Ok(())
}

/// Returns the bugs of these names; without a name, all bugs.
fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Bug>> {
    if names.is_empty() {
        return Ok(planted::bugs().iter().collect());
    }
    let named = names.iter().map(|name| planted::bug(name));
    named.collect()
}
