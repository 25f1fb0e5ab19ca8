//! Alerts: each has a section of the runbook, and tests in which it fires and in which it does not.

use super::tree::Tree;
use super::{Untidy, untidy};

/// Where the rules lie.
const RULES: &str = "deploy/prometheus/rules/";

/// What an alert's link leads to.
const RUNBOOK: &str = "docs/operations.md";

/// Every alert is described where its link leads, and tested beside its rule.
pub(super) fn check(tree: &Tree) -> Vec<Untidy> {
    let headings: Vec<&str> = tree
        .get(RUNBOOK)
        .into_iter()
        .flat_map(|page| page.text.lines())
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    let mut found = Vec::new();
    for file in tree.files.iter().filter(|it| it.path.starts_with(RULES) && it.is("yml")) {
        let Some(base) = file.path.strip_suffix(".yml").filter(|it| !it.ends_with(".test")) else {
            continue;
        };
        let tests = tree.get(&format!("{base}.test.yml")).map_or("", |it| it.text.as_str());
        for (number, line) in file.lines() {
            let line = line.trim().trim_start_matches("- ");
            if let Some(name) = line.strip_prefix("alert: ") {
                if !headings.contains(&name) {
                    let advice = format!("{RUNBOOK} has no section `### {name}`: write it");
                    found.push(untidy(&file.path, number, advice));
                }
                let link = format!("runbook_url: {RUNBOOK}#{}", name.to_lowercase());
                if !file.lines().any(|(_, it)| it.trim() == link) {
                    let advice = format!("{name} does not say `{link}`");
                    found.push(untidy(&file.path, number, advice));
                }
                for what in ["fires", "keeps quiet"] {
                    if !tests.contains(&format!("- name: {name} {what}\n")) {
                        let advice =
                            format!("no test says `{name} {what}`: add it beside the rule");
                        found.push(untidy(&file.path, number, advice));
                    }
                }
            }
            if let Some(name) = line.strip_prefix("record: ")
                && !tests.contains(&format!("expr: {name}\n"))
            {
                let advice = format!("no test computes `{name}`: add it beside the rule");
                found.push(untidy(&file.path, number, advice));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::check_rule;
    use super::*;

    const RULE: &str = "groups:\n  - alert: Late\n    runbook_url: docs/operations.md#late\n";
    const TEST: &str = "- name: Late fires\n- name: Late keeps quiet\n";
    const PAGE: &str = "### Late\n";

    #[track_caller]
    fn untidy_with(rule: &str, test: &str, page: &str, faults: usize) {
        let rules = "deploy/prometheus/rules/a.yml";
        let tests = "deploy/prometheus/rules/a.test.yml";
        let files = [(rules, rule), (tests, test), (RUNBOOK, page)];
        check_rule(check, &files, &vec![(rules, 2); faults]);
    }

    #[test]
    fn an_alert_has_a_section_a_link_and_two_tests() {
        untidy_with(RULE, TEST, PAGE, 0);
        untidy_with(RULE, TEST, "### Later\n", 1);
        untidy_with(&RULE.replace("#late", "#later"), TEST, PAGE, 1);
        untidy_with(RULE, "- name: Late fires\n", PAGE, 1);
        untidy_with(RULE, "", PAGE, 2);
    }

    #[test]
    fn a_recorded_series_is_computed_by_a_test() {
        let rule = "groups:\n  - record: a:b\n";
        untidy_with(rule, "- expr: a:b\n", PAGE, 0);
        untidy_with(rule, "- expr: a:b:c\n", PAGE, 1);
    }
}
