//! What the project is built from: licences and sources, by the same `deny.toml` that cargo-deny
//! reads. cargo-deny says more, and takes minutes to build; this runs everywhere.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::tree::Tree;
use super::{Untidy, untidy};
use crate::shell;

const POLICY: &str = "deny.toml";
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Every dependency comes from crates.io and has a licence that the policy allows.
pub(super) fn check(tree: &Tree) -> Result<Vec<Untidy>> {
    let policy = tree.get(POLICY).context("no deny.toml")?;
    let policy: toml::Table = policy.text.parse().context("deny.toml is no TOML")?;
    let allowed = policy
        .get("licenses")
        .and_then(|it| it.get("allow"))
        .and_then(toml::Value::as_array)
        .context("deny.toml has no licenses.allow")?;
    let allowed: Vec<&str> = allowed.iter().filter_map(toml::Value::as_str).collect();
    let arguments = ["metadata", "--locked", "--format-version", "1"];
    let text = shell::ask(shell::cargo().args(arguments)).context("cargo metadata failed")?;
    let metadata: Value = serde_json::from_str(&text)?;
    let packages = metadata.get("packages").and_then(Value::as_array);
    let packages = packages.context("cargo metadata names no packages")?;
    Ok(packages.iter().flat_map(|package| judge(package, &allowed)).collect())
}

fn judge(package: &Value, allowed: &[&str]) -> Vec<Untidy> {
    let field = |key: &str| package.get(key).and_then(Value::as_str);
    let name = field("name").unwrap_or("?");
    let mut found = Vec::new();
    if let Some(source) = field("source").filter(|source| *source != REGISTRY) {
        let advice = format!("`{name}` comes from {source}: take it from crates.io");
        found.push(untidy("Cargo.lock", 0, advice));
    }
    let licence = field("license").unwrap_or("");
    if !allows(licence, allowed) {
        let advice = format!(
            "`{name}` is under `{licence}`, which {POLICY} does not allow: allow it there with a \
             reason, or do without"
        );
        found.push(untidy("Cargo.lock", 0, advice));
    }
    found
}

/// Whether an SPDX expression is met by the allowed licences. `AND` binds tighter than `OR`; the
/// old `A/B` means `A OR B`.
fn allows(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    any(&mut words, allowed) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    let mut met = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all(words, allowed);
    }
    met
}

fn all(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let met = any(words, allowed);
        return words.next_if_eq(&")").is_some() && met;
    }
    let Some(licence) = words.next() else { return false };
    match words.next_if_eq(&"WITH").and_then(|_| words.next()) {
        // An exception only permits more than the licence alone.
        Some(exception) => {
            allowed.contains(&licence) || allowed.contains(&&*format!("{licence} WITH {exception}"))
        }
        None => allowed.contains(&licence),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expression: &str, expected: bool) {
        let allowed = ["MIT", "Apache-2.0", "Unicode-3.0"];
        assert_eq!(allows(expression, &allowed), expected, "{expression}");
    }

    #[test]
    fn an_expression_is_met_by_what_is_allowed() {
        check("MIT", true);
        check("GPL-3.0", false);
        check("MIT OR GPL-3.0", true);
        check("GPL-3.0/MIT", true);
        check("MIT AND GPL-3.0", false);
        check("(MIT OR GPL-3.0) AND Unicode-3.0", true);
        check("MIT OR (GPL-3.0 AND MIT)", true);
        check("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true);
        check("", false);
        check("(MIT", false);
    }

    #[test]
    fn another_source_is_named() {
        let package = serde_json::json!({
            "name": "a", "source": "git+https://example.org/a", "license": "MIT",
        });
        assert_eq!(judge(&package, &["MIT"]).len(), 1);
    }
}
