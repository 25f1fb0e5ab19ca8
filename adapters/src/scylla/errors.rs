//! What the driver and the servers say, as what the caller can do about it.

use fts_core::port::store::StoreError;
use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, ExecutionError,
    MetadataError, NewSessionError, PrepareError, RequestAttemptError,
};

/// The longest message that is passed on: a driver's may hold a whole statement.
const MESSAGE_CHARS: usize = 600;

/// A request that failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// What the caller is told.
    pub(super) error: StoreError,
    /// Whether the server knows the statement's tables no more.
    pub(super) tables_changed: bool,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self { error, tables_changed: false }
    }
}

/// A request failed. Nothing says that a row is at fault: what cannot be stored is found before it
/// is sent, as a server refuses a row in the same words as a table that is gone.
pub(super) fn of_request(error: &ExecutionError) -> Failure {
    let attempt = match error {
        ExecutionError::LastAttemptError(attempt)
        | ExecutionError::PrepareError(PrepareError::AllAttemptsFailed {
            first_attempt: attempt,
        }) => attempt,
        other => return of_driver(other).into(),
    };
    let kind = match attempt {
        RequestAttemptError::DbError(kind, _) => Some(kind),
        _ => None,
    };
    let tables_changed =
        matches!(kind, Some(DbError::Invalid | DbError::SyntaxError | DbError::ConfigError));
    Failure { error: of_attempt(attempt), tables_changed }
}

fn of_driver(error: &ExecutionError) -> StoreError {
    match error {
        ExecutionError::ConnectionPoolError(pool) => of_pool(pool),
        ExecutionError::RequestTimeout(limit) => unavailable(timed_out(*limit)),
        ExecutionError::PrepareError(error) => of_prepare(error),
        ExecutionError::SchemaAgreementError(error) => unavailable(format!(
            "the nodes do not agree on the schema ({error}): look at `nodetool describecluster`"
        )),
        ExecutionError::EmptyPlan => refused(
            "no node may be asked: does the cluster have the data centre that `datacenter` names?",
        ),
        other => unavailable(other),
    }
}

/// A statement could not be prepared.
pub(super) fn of_prepare(error: &PrepareError) -> StoreError {
    match error {
        PrepareError::ConnectionPoolError(pool) => of_pool(pool),
        PrepareError::AllAttemptsFailed { first_attempt } => of_attempt(first_attempt),
        other => unavailable(other),
    }
}

/// There is no session.
pub(super) fn of_session(error: &NewSessionError) -> StoreError {
    match error {
        NewSessionError::FailedToResolveAnyHostname(names) => unavailable(format!(
            "no node can be found by name ({}): check `nodes`",
            names.join(", ")
        )),
        NewSessionError::MetadataError(MetadataError::ConnectionPoolError(pool)) => of_pool(pool),
        NewSessionError::MetadataError(MetadataError::FetchError(error)) => {
            unavailable(format!("the cluster does not describe itself: {error}"))
        }
        other => unavailable(other),
    }
}

/// Trying again helps, once whatever it is has passed.
pub(super) fn unavailable(message: impl ToString) -> StoreError {
    StoreError::Unavailable(shortened(message))
}

/// Somebody has to do something.
pub(super) fn refused(message: impl ToString) -> StoreError {
    StoreError::Refused(shortened(message))
}

fn shortened(message: impl ToString) -> String {
    let message = message.to_string();
    let cut = message.char_indices().nth(MESSAGE_CHARS).map_or(message.len(), |(at, _)| at);
    message.get(..cut).unwrap_or_default().to_owned()
}

fn of_pool(error: &ConnectionPoolError) -> StoreError {
    match error {
        ConnectionPoolError::Broken { last_connection_error } => {
            of_connection(last_connection_error)
        }
        other => unavailable(format!("no node can be reached ({other}): is the cluster up?")),
    }
}

fn of_connection(error: &ConnectionError) -> StoreError {
    match error {
        ConnectionError::ConnectionSetupRequestError(setup) => match &setup.error {
            ConnectionSetupRequestErrorKind::DbError(DbError::AuthenticationError, said) => {
                refused(wrong_login(said))
            }
            ConnectionSetupRequestErrorKind::DbError(DbError::Unauthorized, said) => {
                refused(format!("the user may not log in (the server says: {said})"))
            }
            ConnectionSetupRequestErrorKind::MissingAuthentication => {
                refused("the cluster wants a user and a password: set `username` and a password")
            }
            other => unavailable(format!(
                "no node accepts a connection ({other}): is it still starting, is this its CQL port, \
                 and is `tls` as it wants it?"
            )),
        },
        ConnectionError::IoError(error) => match tls_fault(error) {
            Some(fault) => refused(fault),
            None => unavailable(format!(
                "no node can be reached ({error}): is the cluster up, and the address right?"
            )),
        },
        ConnectionError::ConnectTimeout => {
            unavailable("no node answers in time: is the cluster up, and reachable from here?")
        }
        other => unavailable(format!("no node can be reached ({other}): is the cluster up?")),
    }
}

fn wrong_login(said: &str) -> String {
    format!("wrong user or password: correct the store's login (the server says: {said})")
}

/// What went wrong in TLS, if that is what it was.
fn tls_fault(error: &std::io::Error) -> Option<String> {
    use tokio_rustls::rustls::Error;
    let tls = error.get_ref()?.downcast_ref::<Error>()?;
    Some(match tls {
        Error::InvalidCertificate(fault) => format!(
            "the server's certificate is not trusted ({fault}): is `ca_file` its authority, and \
             does the certificate name the address?"
        ),
        Error::AlertReceived(alert) => format!(
            "the server breaks off TLS ({alert:?}): does it want a client certificate, or another \
             one?"
        ),
        other => format!("TLS fails ({other}): does the server speak TLS on this port?"),
    })
}

fn of_attempt(error: &RequestAttemptError) -> StoreError {
    match error {
        RequestAttemptError::DbError(kind, said) => of_server(kind, said),
        RequestAttemptError::BrokenConnectionError(error) => unavailable(format!(
            "the connection broke ({error}): the server may be going down or restarting"
        )),
        other => unavailable(other),
    }
}

fn of_server(kind: &DbError, said: &str) -> StoreError {
    unavailable(match kind {
        DbError::Unauthorized => {
            return refused(format!("a permission is missing: grant it ({said})"));
        }
        DbError::AuthenticationError => return refused(wrong_login(said)),
        // ScyllaDB only, and by default.
        DbError::Invalid if said.contains("days into the future") => {
            return refused(format!(
                "rows of the future are refused ({said}): is a clock wrong? A simulated market \
                 needs `restrict_future_timestamp: false` in scylla.yaml"
            ));
        }
        DbError::Invalid | DbError::SyntaxError | DbError::ConfigError => {
            return refused(format!(
                "the server refuses the statement ({said}): has somebody changed or dropped the \
                 tables?"
            ));
        }
        DbError::Unavailable { required, alive, .. } => format!(
            "{alive} of the {required} replicas that must answer are up: start the others, or lower \
             the consistency"
        ),
        DbError::WriteTimeout { received, required, .. }
        | DbError::ReadTimeout { received, required, .. } => format!(
            "{received} of {required} replicas answered in time: the cluster is overloaded or its \
             disks are slow"
        ),
        DbError::WriteFailure { received, required, .. }
        | DbError::ReadFailure { received, required, .. } => format!(
            "{received} of {required} replicas did it and others failed: look at the servers' logs; a \
             disk may be full or read-only ({said})"
        ),
        DbError::Overloaded => format!("the servers are overloaded ({said})"),
        DbError::IsBootstrapping => "the server is still starting".to_owned(),
        other => format!("{other}: {said}"),
    })
}

fn timed_out(limit: std::time::Duration) -> String {
    format!(
        "no answer within {} ms: the cluster hangs or is overloaded; is the machine out of memory or \
         its disk stuck?",
        limit.as_millis()
    )
}
