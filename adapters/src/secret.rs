//! Passwords and keys.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize, Serializer};

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// What is shown in place of it.
    const HIDDEN: &str = "(hidden)";

    /// Keeps `text` from being shown.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(Self::HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(Self::HIDDEN)
    }
}

/// Where a secret may stand: one of three places.
pub(crate) struct Source<'c> {
    pub(crate) given: Option<&'c Secret>,
    pub(crate) file: Option<&'c PathBuf>,
    pub(crate) variable: Option<&'c str>,
    /// What the configuration's keys for it begin with.
    pub(crate) key: &'static str,
}

impl Source<'_> {
    /// How many places are named.
    pub(crate) fn count(&self) -> usize {
        let named = [self.given.is_some(), self.file.is_some(), self.variable.is_some()];
        named.iter().filter(|it| **it).count()
    }

    /// What is wrong with it, and what to do.
    pub(crate) fn fault(&self) -> Option<String> {
        let key = self.key;
        (self.count() > 1).then(|| format!("name one of `{key}`, `{key}_file` and `{key}_env`"))
    }

    /// The secret, `None` where no place is named; or why it can't be had, and what to do.
    pub(crate) fn read(&self) -> Result<Option<String>, String> {
        let key = self.key;
        if let Some(given) = self.given {
            return Ok(Some(given.expose().to_owned()));
        }
        if let Some(path) = self.file {
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("cannot read `{key}_file` {}: {error}", path.display()))?;
            return Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()));
        }
        let Some(name) = self.variable else { return Ok(None) };
        std::env::var(name).map(Some).map_err(|_| {
            format!("the environment has no `{name}`: set it, or name `{key}_file` or `{key}_env`")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOWHERE: Source<'static> =
        Source { given: None, file: None, variable: None, key: "password" };

    #[test]
    fn a_secret_is_read_from_the_one_place_that_is_named() {
        let given = Secret::new("hunter2".to_owned());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "hunter3\r\n").unwrap();
        assert_eq!(NOWHERE.read(), Ok(None));
        let source = Source { given: Some(&given), ..NOWHERE };
        assert_eq!((source.read(), source.fault()), (Ok(Some("hunter2".to_owned())), None));
        let source = Source { file: Some(&file), ..NOWHERE };
        assert_eq!(source.read(), Ok(Some("hunter3".to_owned())));
        let source = Source { given: Some(&given), variable: Some("P"), ..NOWHERE };
        assert!(source.fault().is_some_and(|it| it.contains("`password_env`")));
    }

    #[test]
    fn a_place_where_there_is_none_is_named_with_what_to_do() {
        let missing = PathBuf::from("/nowhere/password");
        let error = Source { file: Some(&missing), ..NOWHERE }.read().unwrap_err();
        assert!(error.contains("`password_file` /nowhere/password"), "{error}");
        let error = Source { variable: Some("FTS_NO_SUCH"), ..NOWHERE }.read().unwrap_err();
        assert!(error.contains("`FTS_NO_SUCH`: set it"), "{error}");
    }
}
