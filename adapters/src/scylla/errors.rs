//! What the driver and the servers say, as what the caller can do about it.

use fts_core::port::store::StoreError;
use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, ExecutionError,
    MetadataError, NewSessionError, PrepareError, RequestAttemptError,
};

/// The longest message that is passed on: a driver's may hold a whole statement.
const MESSAGE_CHARS: usize = 600;

/// A request failed. Nothing says that a row is at fault: what cannot be stored is found before it
/// is sent, as a server refuses a row in the same words as a table that is gone.
pub(super) fn of_request(error: &ExecutionError) -> StoreError {
    unavailable(match error {
        ExecutionError::LastAttemptError(attempt) => of_attempt(attempt),
        ExecutionError::ConnectionPoolError(pool) => of_pool(pool),
        ExecutionError::RequestTimeout(limit) => timed_out(*limit),
        ExecutionError::PrepareError(error) => of_prepare_error(error),
        ExecutionError::SchemaAgreementError(error) => format!(
            "the nodes do not agree on the schema ({error}): look at `nodetool describecluster`"
        ),
        other => other.to_string(),
    })
}

/// A statement could not be prepared.
pub(super) fn of_prepare(error: &PrepareError) -> StoreError {
    unavailable(of_prepare_error(error))
}

/// There is no session.
pub(super) fn of_session(error: &NewSessionError) -> StoreError {
    unavailable(match error {
        NewSessionError::FailedToResolveAnyHostname(names) => {
            format!("no contact point can be found by name ({}): check them", names.join(", "))
        }
        NewSessionError::MetadataError(MetadataError::ConnectionPoolError(pool)) => of_pool(pool),
        NewSessionError::MetadataError(MetadataError::FetchError(error)) => {
            format!("the cluster does not describe itself: {error}")
        }
        other => other.to_string(),
    })
}

/// Whatever else a driver may say.
pub(super) fn unavailable(message: impl ToString) -> StoreError {
    let message = message.to_string();
    let cut = message.char_indices().nth(MESSAGE_CHARS).map_or(message.len(), |(at, _)| at);
    StoreError::Unavailable(message.get(..cut).unwrap_or_default().to_owned())
}

fn of_prepare_error(error: &PrepareError) -> String {
    match error {
        PrepareError::ConnectionPoolError(pool) => of_pool(pool),
        PrepareError::AllAttemptsFailed { first_attempt } => of_attempt(first_attempt),
        other => other.to_string(),
    }
}

fn of_pool(error: &ConnectionPoolError) -> String {
    match error {
        ConnectionPoolError::Broken { last_connection_error } => of_connection(last_connection_error),
        other => format!("no node can be reached ({other}): is the cluster up?"),
    }
}

fn of_connection(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ConnectionSetupRequestError(setup) => match &setup.error {
            ConnectionSetupRequestErrorKind::DbError(DbError::AuthenticationError, said) => {
                format!("wrong user or password: correct the store's login (the server says: {said})")
            }
            ConnectionSetupRequestErrorKind::DbError(DbError::Unauthorized, said) => {
                format!("the user may not log in (the server says: {said})")
            }
            ConnectionSetupRequestErrorKind::MissingAuthentication => {
                "the cluster wants a user and a password: set the store's login".to_owned()
            }
            other => format!("no node accepts a connection: {other}"),
        },
        ConnectionError::IoError(error) => match tls_fault(error) {
            Some(fault) => fault,
            None => format!("no node can be reached ({error}): is the cluster up, and the address right?"),
        },
        ConnectionError::ConnectTimeout => {
            "no node answers in time: is the cluster up, and reachable from here?".to_owned()
        }
        other => format!("no node can be reached ({other}): is the cluster up?"),
    }
}

/// What went wrong in TLS, if that is what it was.
fn tls_fault(error: &std::io::Error) -> Option<String> {
    let inner = error.get_ref()?;
    let tls = inner.downcast_ref::<tokio_rustls::rustls::Error>()?;
    use tokio_rustls::rustls::Error;
    Some(match tls {
        Error::InvalidCertificate(fault) => format!(
            "the server's certificate is not trusted ({fault}): is `ca_file` its authority, and does \
             the certificate name the address?"
        ),
        Error::AlertReceived(alert) => format!(
            "the server breaks off TLS ({alert:?}): does it want a client certificate, or another one?"
        ),
        other => format!("TLS fails ({other}): does the server speak TLS on this port?"),
    })
}

fn of_attempt(error: &RequestAttemptError) -> String {
    match error {
        RequestAttemptError::DbError(kind, said) => of_server(kind, said),
        RequestAttemptError::BrokenConnectionError(error) => {
            format!("the connection broke ({error}): the server may be going down or restarting")
        }
        other => other.to_string(),
    }
}

fn of_server(kind: &DbError, said: &str) -> String {
    match kind {
        DbError::Unauthorized => format!("a permission is missing: grant it ({said})"),
        DbError::AuthenticationError => {
            format!("wrong user or password: correct the store's login (the server says: {said})")
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
        DbError::Invalid | DbError::SyntaxError | DbError::ConfigError => format!(
            "the server refuses the statement ({said}): has somebody changed or dropped the tables?"
        ),
        other => format!("{other}: {said}"),
    }
}

fn timed_out(limit: std::time::Duration) -> String {
    format!(
        "no answer within {} ms: the cluster hangs or is overloaded; is the machine out of memory or \
         its disk stuck?",
        limit.as_millis()
    )
}
