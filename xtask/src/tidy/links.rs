//! Links from one page of the repository to another.

use super::tree::Tree;
use super::{Untidy, untidy};

/// Every link in a Markdown file to a file leads to one.
pub(super) fn check(tree: &Tree) -> Vec<Untidy> {
    let mut found = Vec::new();
    for file in tree.files.iter().filter(|file| file.is("md") && !file.is_foreign()) {
        let mut fenced = false;
        for (number, line) in file.lines() {
            fenced ^= line.trim_start().starts_with("```");
            for target in targets(line).filter(|_| !fenced) {
                if !resolves(tree, &file.path, target) {
                    let advice = format!("`{target}` leads nowhere: mend the link");
                    found.push(untidy(&file.path, number, advice));
                }
            }
        }
    }
    found
}

/// The targets of `[text](target)` and of `src="target"`, but for other hosts.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let after = |mark: &'static str, end: char| {
        line.split(mark).skip(1).filter_map(move |rest| Some(rest.split_once(end)?.0))
    };
    let targets = after("](", ')').chain(after("src=\"", '"'));
    targets.filter_map(|it| it.split_whitespace().next()).filter(|it| !it.contains(':'))
}

fn resolves(tree: &Tree, from: &str, target: &str) -> bool {
    let (path, anchor) = target.split_once('#').map_or((target, None), |(p, a)| (p, Some(a)));
    let resolved = if path.is_empty() { from.to_owned() } else { join(from, path) };
    let folder = format!("{}/", resolved.trim_end_matches('/'));
    let is_folder = resolved.is_empty() || tree.paths.iter().any(|it| it.starts_with(&folder));
    if !tree.paths.contains(&resolved) {
        return is_folder;
    }
    // Anchors into sources (`#L12`) are the browser's business.
    let page = tree.get(&resolved).filter(|page| page.is("md"));
    page.zip(anchor).is_none_or(|(page, anchor)| {
        let headings = page.text.lines().filter(|line| line.starts_with('#'));
        headings.map(|line| slug(line.trim_start_matches('#').trim())).any(|it| it == anchor)
    })
}

/// `target` as seen from the file `from`, relative to the root.
fn join(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = if target.starts_with('/') {
        Vec::new()
    } else {
        from.rsplit_once('/').map_or_else(Vec::new, |(folder, _)| folder.split('/').collect())
    };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// A heading's anchor.
fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::super::check_rule;
    use super::*;

    #[track_caller]
    fn links(text: &str, lines: &[usize]) {
        let files = [("docs/a.md", text), ("docs/b.md", "# The end, at last\n"), ("LICENSE", "")];
        let places: Vec<_> = lines.iter().map(|line| ("docs/a.md", *line)).collect();
        check_rule(check, &files, &places);
    }

    #[test]
    fn a_link_leads_to_a_file_or_a_folder() {
        links("[b](b.md) [up](../LICENSE) [all](../docs) [root](/docs/b.md)\n", &[]);
        links("fine\n[c](c.md)\n![picture](c.png)\n<img src=\"d.png\">\n", &[2, 3, 4]);
        links("[elsewhere](https://example.org/c.md)\n", &[]);
        links("```\n[c](c.md)\n```\n", &[]);
    }

    #[test]
    fn an_anchor_is_a_heading() {
        links("[end](b.md#the-end-at-last)\n[start](b.md#the-start)\n", &[2]);
    }
}
