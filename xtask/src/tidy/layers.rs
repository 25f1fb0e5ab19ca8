//! Who may depend on whom.

use super::tree::{File, Tree};
use super::{Untidy, untidy};
use crate::shell;

/// Each crate's folder, and whom of the project it may know. Lower rows never name higher ones.
const LAYERS: [(&str, &[&str]); 7] = [
    ("core", &[]),
    ("proto", &["fts-core"]),
    ("adapters", &["fts-core", "fts-proto"]),
    ("actors", &["fts-core", "fts-proto"]),
    ("exchange", &["fts-core"]),
    ("node", &["fts-actors", "fts-adapters", "fts-core", "fts-exchange", "fts-proto"]),
    ("xtask", &[]),
];

/// What `core` must not depend on, directly or through others.
const IMPURE: [&str; 6] = ["tokio", "serde", "serde_json", "mio", "socket2", "chrono"];

/// What `actors` must not name: vendors are chosen in `node`.
const VENDORS: [&str; 5] = ["rusqlite", "fts_adapters", "rdkafka", "scylla", "elasticsearch"];

/// Every manifest names only crates of lower layers.
pub(super) fn manifests(tree: &Tree) -> Vec<Untidy> {
    let mut found = Vec::new();
    for file in tree.files.iter().filter(|it| it.path.ends_with("/Cargo.toml")) {
        let folder = file.path.trim_end_matches("/Cargo.toml");
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == folder) else {
            let advice = "a crate without a layer: give it a row in xtask/src/tidy/layers.rs";
            found.push(untidy(&file.path, 0, advice));
            continue;
        };
        let manifest: toml::Table = match file.text.parse() {
            Ok(manifest) => manifest,
            Err(error) => {
                found.push(untidy(&file.path, 0, format!("no TOML: {error}")));
                continue;
            }
        };
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let known = manifest.get(table).and_then(toml::Value::as_table);
            for name in known.into_iter().flat_map(toml::Table::keys) {
                if name.starts_with("fts-") && !allowed.contains(&name.as_str()) {
                    let advice = format!(
                        "`{folder}` must not know `{name}`: move what it needs down to a layer \
                         that both know, or pass it in"
                    );
                    found.push(untidy(&file.path, line_of(file, name), advice));
                }
            }
        }
    }
    found
}

/// `actors` names no vendor.
pub(super) fn vendors(tree: &Tree) -> Vec<Untidy> {
    let mut found = Vec::new();
    for file in tree.sources().filter(|it| it.path.starts_with("actors/src/")) {
        for (number, line) in file.lines() {
            for vendor in VENDORS.iter().filter(|vendor| line.contains(**vendor)) {
                let advice =
                    format!("`actors` must not name `{vendor}`: go through a port of core");
                found.push(untidy(&file.path, number, advice));
            }
        }
    }
    found
}

/// What `core` is built from has no runtime, no socket and no serialisation.
pub(super) fn core_is_pure() -> Vec<Untidy> {
    let arguments = ["tree", "--package", "fts-core", "--edges", "normal", "--prefix", "none"];
    let Some(text) = shell::ask(shell::cargo().args(arguments)) else {
        return vec![untidy("core/Cargo.toml", 0, "`cargo tree --package fts-core` failed")];
    };
    let mut names: Vec<&str> =
        text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    names.sort_unstable();
    names.dedup();
    let impure = names.into_iter().filter(|name| IMPURE.contains(name));
    let advice = |name| format!("`core` must not depend on `{name}`, directly or through others");
    impure.map(|name| untidy("core/Cargo.toml", 0, advice(name))).collect()
}

fn line_of(file: &File, name: &str) -> usize {
    file.lines().find(|(_, line)| line.starts_with(name)).map_or(0, |(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::super::check_rule;
    use super::*;

    #[test]
    fn a_lower_layer_does_not_know_a_higher_one() {
        let up = "[dependencies]\nfts-core.workspace = true\nfts-adapters.workspace = true\n";
        check_rule(manifests, &[("actors/Cargo.toml", up)], &[("actors/Cargo.toml", 3)]);
        check_rule(manifests, &[("node/Cargo.toml", up)], &[]);
        let test = "[dev-dependencies]\nfts-node.workspace = true\n";
        check_rule(manifests, &[("core/Cargo.toml", test)], &[("core/Cargo.toml", 2)]);
    }

    #[test]
    fn a_crate_needs_a_layer() {
        check_rule(manifests, &[("more/Cargo.toml", "")], &[("more/Cargo.toml", 0)]);
    }

    #[test]
    fn actors_name_no_vendor() {
        let text = "//! x\nuse rusqlite::Connection;\n";
        check_rule(vendors, &[("actors/src/a.rs", text)], &[("actors/src/a.rs", 2)]);
        check_rule(vendors, &[("adapters/src/a.rs", text)], &[]);
    }
}
