//! The dashboards of superset/, in the Superset of this stack: on the nodes' stores, by Trino.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::state::State;
use super::{quietly, superset_python};
use crate::shell;

/// Imports them where all is there that they need, and something of it was just started: a second import
/// would undo what somebody has changed in the browser.
pub(super) fn load(started: &[&str]) -> Result<()> {
    let state = State::load(&super::folder())?;
    let variables = || state.entries.iter().flat_map(|it| &it.variables);
    let told = |name: &str| variables().find(|it| it.0 == name).map(|it| it.1.as_str());
    let (Some(superset), Some(trino), Some(_)) =
        (told("FTS_TEST_SUPERSET"), told("FTS_TEST_TRINO"), told("FTS_TEST_NODES"))
    else {
        return Ok(());
    };
    if !["superset", "trino", "nodes"].iter().any(|it| started.contains(it)) {
        return Ok(());
    }
    println!("dashboards: importing");
    let scripts = shell::root().join("superset");
    let bundle = super::folder().join("run/superset/fts.zip");
    let mut export = Command::new(superset_python());
    export.arg(scripts.join("export.py")).args(["--trino", trino]);
    export.args(["--elasticsearch", "elasticsearch.default", "-o"]).arg(&bundle);
    quietly(&mut export)?;
    let mut import = Command::new(superset_python());
    import.arg(scripts.join("import.py")).arg(&bundle).args(["--url", superset]);
    import.env("SUPERSET_PASSWORD", told("FTS_TEST_SUPERSET_PASSWORD").unwrap_or_default());
    let advice =
        "everything runs, but Superset has no dashboards: docs/analytics.md imports them by hand";
    let addresses = shell::told(&mut import).context(advice)?;
    addresses.lines().for_each(|it| println!("dashboards: {it}"));
    Ok(())
}
