//! What files must and must not say.

use super::tree::{File, Tree};
use super::{Untidy, untidy};

/// Lines a source file may have before its tests.
const LINES_MAX: usize = 500;

/// Lines a file of nothing but tests may have.
const TEST_LINES_MAX: usize = 1000;

/// Lines the README may have.
const README_LINES_MAX: usize = 150;

/// Where the tests of a file begin.
const TESTS: &str = "#[cfg(test)]\nmod tests {";

/// Marks of what is not done. Split, so that this file does not bear them.
const UNFINISHED: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
];

/// Queues without a bound.
const BOUNDLESS: [&str; 3] = ["unbounded", "mpsc::channel()", "mpsc::channel::<"];

/// Folders of somebody's own machine.
const MACHINES: [&str; 5] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/tm", "p/"),
    concat!("/Use", "rs/"),
];

/// Words with which a comment tells how the code came to be, instead of how it is.
const HISTORY: [&str; 10] = [
    "previously",
    "formerly",
    "no longer uses",
    "used to be ",
    "has been changed",
    "has been fixed",
    "has been replaced",
    "was renamed",
    "new implementation",
    "old implementation",
];

/// Rust: a first line, a size, bounded queues, nothing unfinished, no history.
pub(super) fn sources(tree: &Tree) -> Vec<Untidy> {
    tree.sources().flat_map(source).collect()
}

fn source(file: &File) -> Vec<Untidy> {
    let mut found = Vec::new();
    if !file.text.starts_with("//! ") {
        found.push(untidy(&file.path, 1, "begin with `//!` and one line that says what it is"));
    }
    let lines = file.text.split(TESTS).next().unwrap_or("").lines().count();
    let tests = file.path.contains("/tests/")
        || file.path.ends_with("/tests.rs")
        || file.path.ends_with("/conformance.rs");
    let most = if tests { TEST_LINES_MAX } else { LINES_MAX };
    if lines > most {
        let advice = format!("{lines} lines before its tests, at most {most}: split it");
        found.push(untidy(&file.path, 0, advice));
    }
    if file.path.ends_with("/mod.rs") {
        found.push(untidy(&file.path, 0, "name it `foo.rs` beside `foo/`"));
    }
    // These rules speak of what they forbid.
    let own = file.path.starts_with("xtask/src/tidy/");
    for (number, line) in file.lines() {
        let (code, comment) = split_comment(line);
        for word in BOUNDLESS.iter().filter(|word| !own && code.contains(**word)) {
            let advice = format!("`{word}`: every queue has a bound");
            found.push(untidy(&file.path, number, advice));
        }
        let comment = comment.to_lowercase();
        for word in HISTORY.iter().filter(|word| !own && comment.contains(**word)) {
            let advice = format!("`{word}`: say how it is; how it came to be is in git");
            found.push(untidy(&file.path, number, advice));
        }
    }
    found
}

/// Every text of the project: nothing unfinished, no path of one machine.
pub(super) fn everywhere(tree: &Tree) -> Vec<Untidy> {
    let mut found = Vec::new();
    for file in tree.files.iter().filter(|file| !file.is_foreign()) {
        for (number, line) in file.lines() {
            for word in UNFINISHED.iter().filter(|word| has_word(line, word)) {
                let advice = format!("`{word}`: do it, or make an issue of it");
                found.push(untidy(&file.path, number, advice));
            }
            for path in MACHINES.iter().filter(|path| line.contains(**path)) {
                let advice = format!("`{path}` is not on every machine: make it relative");
                found.push(untidy(&file.path, number, advice));
            }
        }
    }
    found
}

/// The README's length, and that every TOML file is one.
pub(super) fn whole_files(tree: &Tree) -> Vec<Untidy> {
    let mut found = Vec::new();
    if let Some(readme) = tree.get("README.md") {
        let lines = readme.lines().count();
        if lines > README_LINES_MAX {
            let advice = format!("{lines} lines, at most {README_LINES_MAX}: move some to docs/");
            found.push(untidy("README.md", 0, advice));
        }
    }
    for file in tree.files.iter().filter(|file| file.is("toml")) {
        if let Err(error) = file.text.parse::<toml::Table>() {
            let line = error.span().map_or(0, |span| {
                file.text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1
            });
            found.push(untidy(&file.path, line, format!("no TOML: {}", error.message())));
        }
    }
    found
}

/// A line's code and its comment. A `//` within a string counts as a comment: it is text for
/// people all the same.
fn split_comment(line: &str) -> (&str, &str) {
    line.find("//").map_or((line, ""), |at| line.split_at(at))
}

/// Whether `word` stands there, and not within a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        let (before, rest) = line.split_at(at);
        let after = rest.get(word.len()..).and_then(|it| it.chars().next());
        !letter(before.chars().next_back()) && (word.ends_with('(') || !letter(after))
    })
}

#[cfg(test)]
mod tests {
    use super::super::check_rule;
    use super::*;

    #[test]
    fn a_source_begins_with_what_it_is() {
        check_rule(sources, &[("a/b.rs", "//! It is b.\n")], &[]);
        check_rule(sources, &[("a/b.rs", "use std::fs;\n")], &[("a/b.rs", 1)]);
    }

    #[test]
    fn tests_do_not_count_as_size() {
        let long = format!("//! Long.\n{}", "\n".repeat(600));
        check_rule(sources, &[("b.rs", &long)], &[("b.rs", 0)]);
        let tested = format!("//! Short.\n{TESTS}{}", "\n".repeat(600));
        check_rule(sources, &[("b.rs", &tested)], &[]);
    }

    #[test]
    fn queues_have_bounds() {
        let text = "//! It.\nlet (a, b) = unbounded_channel();\n// unbounded is fine to speak of\n";
        check_rule(sources, &[("b.rs", text)], &[("b.rs", 2)]);
    }

    #[test]
    fn comments_do_not_tell_history() {
        let text = "//! It.\n// Formerly this was elsewhere.\nlet previously = 1;\n";
        check_rule(sources, &[("b.rs", text)], &[("b.rs", 2)]);
    }

    #[test]
    fn nothing_is_unfinished() {
        let mark = UNFINISHED[0];
        let text = format!("# a\n# {mark}: b\n# {mark}S\n");
        check_rule(everywhere, &[("b.toml", &text)], &[("b.toml", 2)]);
    }

    #[test]
    fn no_path_is_of_one_machine() {
        let text = format!("see {}me/notes\n", MACHINES[0]);
        check_rule(everywhere, &[("b.md", &text)], &[("b.md", 1)]);
    }

    #[test]
    fn toml_parses_and_the_readme_is_short() {
        check_rule(whole_files, &[("a.toml", "a = 1\nb = \n")], &[("a.toml", 2)]);
        check_rule(whole_files, &[("README.md", &"x\n".repeat(151))], &[("README.md", 0)]);
        check_rule(whole_files, &[("README.md", &"x\n".repeat(150))], &[]);
    }
}
