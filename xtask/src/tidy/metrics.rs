//! Metrics are an interface: each has a unit and a meaning, and no page names one that is not there.

use super::tree::Tree;
use super::{Untidy, untidy};

/// Where every metric is defined.
const DEFINITIONS: &str = "core/src/metrics.rs";

/// What ends the name of a series that is part of a histogram.
const SERIES: [&str; 3] = ["_bucket", "_sum", "_count"];

/// Names that begin as a metric's and are none: the project's crates, as Rust spells them.
const CRATES: [&str; 6] =
    ["fts_actors", "fts_adapters", "fts_core", "fts_exchange", "fts_node", "fts_proto"];

/// The constant, name and line of each metric.
fn definitions(tree: &Tree) -> Vec<(&str, &str, usize)> {
    let lines = tree.get(DEFINITIONS).into_iter().flat_map(|file| file.lines());
    lines
        .filter_map(|(number, line)| {
            let (constant, rest) = line.strip_prefix("pub const ")?.split_once(": &str = \"")?;
            Some((constant, rest.split('"').next()?, number))
        })
        .collect()
}

/// Every constant stands in the table, once, with a unit and a meaning.
pub(super) fn defined(tree: &Tree) -> Vec<Untidy> {
    let Some(file) = tree.get(DEFINITIONS) else { return Vec::new() };
    let Some((_, table)) = file.text.split_once("pub const ALL") else {
        return vec![untidy(DEFINITIONS, 0, "no table `ALL` of all metrics")];
    };
    let table: String = table.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut found = Vec::new();
    for (constant, name, number) in definitions(tree) {
        let mut rows = ["counter(", "gauge(", "histogram("].iter().filter_map(|kind| {
            let (_, rest) = table
                .split_once(&format!("{kind}{constant},"))
                .or_else(|| table.split_once(&format!("{kind} {constant},")))?;
            Some((*kind, rest))
        });
        let Some((kind, row)) = rows.next() else {
            let advice = format!("`{constant}` is not in `ALL`: add it with its unit and help");
            found.push(untidy(DEFINITIONS, number, advice));
            continue;
        };
        if !row.trim_start().starts_with("Unit::") {
            found.push(untidy(DEFINITIONS, number, format!("`{constant}` has no unit in `ALL`")));
        }
        let help = row.split('"').nth(1).unwrap_or("");
        if help.len() < 8 {
            found.push(untidy(DEFINITIONS, number, format!("`{constant}` has no help in `ALL`")));
        }
        if (kind == "counter(") != name.ends_with("_total") {
            let advice = format!("`{name}`: counters, and they alone, end in `_total`");
            found.push(untidy(DEFINITIONS, number, advice));
        }
    }
    found
}

/// Every metric that a page, a document or a dashboard names is defined.
pub(super) fn named(tree: &Tree) -> Vec<Untidy> {
    let defined: Vec<&str> = definitions(tree).into_iter().map(|(_, name, _)| name).collect();
    let mut found = Vec::new();
    let kinds = ["md", "html", "js", "mjs", "json", "yml", "yaml"];
    let pages = tree.files.iter().filter(|file| kinds.iter().any(|kind| file.is(kind)));
    for file in pages.filter(|file| !file.is_foreign()) {
        for (number, line) in file.lines() {
            for name in names(line) {
                let base = SERIES.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
                let known = [name, base].iter().any(|it| defined.contains(it));
                if !known && !CRATES.contains(&name) {
                    let advice = format!("no metric is called `{name}`: see {DEFINITIONS}");
                    found.push(untidy(&file.path, number, advice));
                }
            }
        }
    }
    found
}

/// The words of a line that look like a metric's name.
fn names(line: &str) -> impl Iterator<Item = &str> {
    let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let begins = |word: &str| ["fts_", "process_"].iter().any(|it| word.starts_with(it));
    words.filter(move |word| begins(word) && !word.ends_with('_'))
}

#[cfg(test)]
mod tests {
    use super::super::check_rule;
    use super::*;

    const GOOD: &str = "//! x\npub const A: &str = \"fts_a_total\";\npub const ALL: &[Metric] = \
                        &[counter(A, Unit::Count, \"all that is a\")];\n";

    #[test]
    fn each_metric_has_a_unit_and_a_meaning() {
        check_rule(defined, &[(DEFINITIONS, GOOD)], &[]);
        for bad in [
            GOOD.replace("all that is a", ""),
            GOOD.replace("Unit::Count, ", ""),
            GOOD.replace("counter(A,", "counter(B,"),
            GOOD.replace("fts_a_total", "fts_a"),
        ] {
            check_rule(defined, &[(DEFINITIONS, &bad)], &[(DEFINITIONS, 2)]);
        }
    }

    #[test]
    fn no_page_names_a_metric_that_is_not_there() {
        let page = "fts_a_total fts_core::time\nrate(fts_b_total[1m])\nprocess_open_files\n";
        let found = [("docs/a.md", 2), ("docs/a.md", 3)];
        check_rule(named, &[(DEFINITIONS, GOOD), ("docs/a.md", page)], &found);
    }
}
