//! SQLite's errors as the caller's decision: try again, or never.

use fts_core::port::store::StoreError;
use fts_core::row::Table;
use rusqlite::{Error, ErrorCode};

/// An error that no single row is to blame for.
pub(super) fn unavailable(error: &Error) -> StoreError {
    StoreError::Unavailable(describe(error))
}

/// SQLite's words and what to do.
pub(super) fn describe(error: &Error) -> String {
    format!("sqlite: {error}{}", advice(error))
}

/// An error while the row of `table` that `key` names was written.
pub(super) fn of_row(table: Table, key: impl FnOnce() -> String, error: &Error) -> StoreError {
    if is_the_rows_fault(error) {
        StoreError::Rejected { table: table.name(), reason: format!("{}: {error}", key()) }
    } else {
        unavailable(error)
    }
}

fn is_the_rows_fault(error: &Error) -> bool {
    match error {
        Error::SqliteFailure(failure, _) => matches!(
            failure.code,
            ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig
        ),
        Error::ToSqlConversionFailure(_) => true,
        _ => false,
    }
}

/// What the operator can do about it, to be put behind SQLite's own words.
fn advice(error: &Error) -> &'static str {
    let Error::SqliteFailure(failure, _) = error else {
        return "";
    };
    match failure.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            ": another process holds the file's write lock; only readers may share it with a node"
        }
        ErrorCode::DiskFull => {
            ": free space on its disk, or keep less (retention); rows wait in the log meanwhile"
        }
        ErrorCode::SystemIoFailure => ": see the kernel's log for the disk",
        ErrorCode::ReadOnly => ": give this process write permission to the file and its folder",
        ErrorCode::CannotOpen => ": see that the folder exists and this process may write to it",
        ErrorCode::PermissionDenied => ": give this process permission to the file and its folder",
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
            ": the file is damaged; move it away, and the node makes it again from the log"
        }
        ErrorCode::OutOfMemory => ": the process is out of memory",
        ErrorCode::FileLockingProtocolFailed => ": too many processes open it at once; try again",
        _ => "",
    }
}
