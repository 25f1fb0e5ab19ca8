//! Checkpoints: small named files, replaced as a whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use bytes::Bytes;
use fts_core::port::log::LogError;

/// Keeps `bytes` under `name`: written beside, made durable, then renamed over.
pub(super) fn save(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), LogError> {
    let folder = dir.join("checkpoints");
    let path = folder.join(name);
    let beside = folder.join(format!("{name}.tmp"));
    let write = || -> io::Result<()> {
        let mut file = File::create(&beside)?;
        file.write_all(&crc32fast::hash(bytes).to_le_bytes())?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, &path)?;
        File::open(&folder)?.sync_all()
    };
    write().map_err(|error| {
        LogError::Unavailable(format!("cannot save the checkpoint {}: {error}", path.display()))
    })
}

/// What was last saved under `name`. Damage costs a replay of the log, and is told.
pub(super) fn load(dir: &Path, name: &str) -> Result<Option<Bytes>, LogError> {
    let path = dir.join("checkpoints").join(name);
    let bytes = match fs::read(&path) {
        Ok(bytes) => Bytes::from(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let what = format!("cannot read the checkpoint {}: {error}", path.display());
            return Err(LogError::Unavailable(what));
        }
    };
    let crc = bytes.first_chunk::<4>().map(|crc| u32::from_le_bytes(*crc));
    let body = bytes.slice(bytes.len().min(4)..);
    if crc != Some(crc32fast::hash(&body)) {
        tracing::warn!(path = %path.display(), "a checkpoint is damaged: going back to the log");
        return Ok(None);
    }
    Ok(Some(body))
}
