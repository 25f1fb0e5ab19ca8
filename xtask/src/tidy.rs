//! `cargo xtask tidy`: the project's own rules, which no off-the-shelf lint knows.
//!
//! A rule is a function of the tree that answers what is untidy: where, and what to do about it.

mod layers;
mod links;
mod metrics;
mod runbooks;
mod supply;
mod text;
mod tree;

use anyhow::Result;

use self::tree::Tree;

/// What is wrong, where, and what to do.
#[derive(Debug, PartialEq, Eq)]
struct Untidy {
    path: String,
    /// From 1; 0 for the file as a whole.
    line: usize,
    advice: String,
}

/// Checks every rule; answers whether all hold.
pub(crate) fn run() -> Result<bool> {
    let tree = Tree::read(&crate::shell::root())?;
    let mut untidy = check(&tree);
    untidy.extend(layers::core_is_pure());
    untidy.extend(supply::check(&tree)?);
    untidy.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    for Untidy { path, line, advice } in &untidy {
        match line {
            0 => println!("{path}: {advice}"),
            _ => println!("{path}:{line}: {advice}"),
        }
    }
    let files = tree.files.len();
    match untidy.len() {
        0 => println!("tidy: {files} files, nothing to do"),
        count => println!("tidy: {files} files, {count} to do"),
    }
    Ok(untidy.is_empty())
}

/// The rules that need nothing but the tree.
fn check(tree: &Tree) -> Vec<Untidy> {
    let rules: [fn(&Tree) -> Vec<Untidy>; 9] = [
        layers::manifests,
        layers::vendors,
        links::check,
        metrics::defined,
        metrics::named,
        runbooks::check,
        text::sources,
        text::everywhere,
        text::whole_files,
    ];
    rules.iter().flat_map(|rule| rule(tree)).collect()
}

fn untidy(path: &str, line: usize, advice: impl Into<String>) -> Untidy {
    Untidy { path: path.to_owned(), line, advice: advice.into() }
}

/// Runs one rule over files given as (path, text), and compares the places that it finds.
#[cfg(test)]
#[track_caller]
fn check_rule(rule: fn(&Tree) -> Vec<Untidy>, files: &[(&str, &str)], places: &[(&str, usize)]) {
    let found = rule(&Tree::of(files));
    let at: Vec<_> = found.iter().map(|it| (it.path.as_str(), it.line)).collect();
    assert_eq!(at, places, "{found:#?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repository_is_tidy() {
        let tree = Tree::read(&crate::shell::root()).unwrap();
        assert_eq!(check(&tree), []);
    }
}
