//! SQLite's errors as the caller's decision: try again, have somebody mend it, or never.

use fts_core::port::store::StoreError;
use fts_core::row::Table;
use rusqlite::{Error, ErrorCode};

/// An error that no single row is to blame for.
pub(super) fn unavailable(error: &Error) -> StoreError {
    let make = if takes_somebody(error) { StoreError::Refused } else { StoreError::Unavailable };
    make(describe(error))
}

/// Whether it stays so until somebody mends it: a permission is missing, or the file is none.
fn takes_somebody(error: &Error) -> bool {
    let Error::SqliteFailure(failure, _) = error else { return false };
    matches!(
        failure.code,
        ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
    )
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
        ErrorCode::OperationInterrupted => {
            ": it read for too long and was ended; ask for less, or for a shorter span of time"
        }
        ErrorCode::OutOfMemory => ": the process is out of memory",
        ErrorCode::FileLockingProtocolFailed => ": too many processes open it at once; try again",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    fn failure(code: i32) -> Error {
        Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[track_caller]
    fn check(code: i32, rejected: bool, advice: &str) {
        match of_row(Table::Trades, || "BTCUSDT trade 7".to_owned(), &failure(code)) {
            StoreError::Rejected { table, reason } => {
                assert!(rejected, "{code}: {reason}");
                assert_eq!(table, "trades");
                assert!(reason.starts_with("BTCUSDT trade 7: "), "{reason}");
            }
            StoreError::Unavailable(reason) | StoreError::Refused(reason) => {
                assert!(!rejected, "{code}: {reason}");
                assert!(reason.contains(advice), "{reason}");
            }
        }
    }

    #[test]
    fn only_what_a_row_is_to_blame_for_is_rejected() {
        for code in [ffi::SQLITE_CONSTRAINT, ffi::SQLITE_CONSTRAINT_DATATYPE] {
            check(code, true, "");
        }
        check(ffi::SQLITE_MISMATCH, true, "");
        check(ffi::SQLITE_TOOBIG, true, "");
        check(ffi::SQLITE_BUSY, false, "write lock");
        check(ffi::SQLITE_BUSY_SNAPSHOT, false, "write lock");
        check(ffi::SQLITE_LOCKED, false, "write lock");
        check(ffi::SQLITE_FULL, false, "free space");
        check(ffi::SQLITE_IOERR_FSYNC, false, "kernel's log");
        check(ffi::SQLITE_READONLY, false, "write permission");
        check(ffi::SQLITE_CANTOPEN, false, "folder exists");
        check(ffi::SQLITE_CORRUPT, false, "damaged");
        check(ffi::SQLITE_NOMEM, false, "memory");
        check(ffi::SQLITE_INTERRUPT, false, "shorter span");
    }

    #[test]
    fn what_takes_somebody_to_mend_is_refused() {
        let check = |code: i32, refused: bool| {
            let found = unavailable(&failure(code));
            assert_eq!(matches!(found, StoreError::Refused(_)), refused, "{code}: {found}");
        };
        for code in [
            ffi::SQLITE_READONLY,
            ffi::SQLITE_READONLY_DIRECTORY,
            ffi::SQLITE_PERM,
            ffi::SQLITE_CORRUPT,
            ffi::SQLITE_NOTADB,
        ] {
            check(code, true);
        }
        for code in [ffi::SQLITE_BUSY, ffi::SQLITE_FULL, ffi::SQLITE_IOERR, ffi::SQLITE_CANTOPEN] {
            check(code, false);
        }
    }

    #[test]
    fn a_value_that_cannot_be_bound_is_the_rows_fault() {
        let error = Error::ToSqlConversionFailure("too large".into());
        let outcome = of_row(Table::DeadLetters, || "x".to_owned(), &error);
        assert!(matches!(outcome, StoreError::Rejected { table: "dead_letters", .. }), "{outcome}");
    }
}
