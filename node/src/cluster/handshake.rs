//! How a connection becomes a link: TLS, and then each end says who it is.
//!
//! ```text
//! version 1 | length of the name 1 | name        the dialling end first, then the other
//! ```

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use super::tls::Tls;

/// From the connection to the link, at most.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// The longest name, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 255;

/// Changes when nodes could not understand each other otherwise.
const VERSION: u8 = 1;

/// Why a connection is no link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("it took too long")]
    Late,
    #[error("others came after it, and it was the one that took longest")]
    Busy,
    #[error("nobody listens there")]
    Nobody,
    #[error("it can't be reached")]
    Connect,
    #[error("it does not have the cluster's key")]
    Tls,
    #[error("it speaks another version of the links: upgrade the older node")]
    Version,
    #[error("it has another name than it should have")]
    Name,
    #[error("it was closed in between")]
    Closed,
}

impl Refused {
    /// As the metrics say it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Busy => "busy",
            Self::Nobody | Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Version => "version",
            Self::Name => "name",
            Self::Closed => "closed",
        }
    }
}

/// Who has connected, and the stream to it. Who dials has a name that sorts before ours.
pub(super) async fn accept(
    tls: &Tls,
    own: &str,
    stream: TcpStream,
) -> Result<(Arc<str>, TlsStream<TcpStream>), Refused> {
    stream.set_nodelay(true).map_err(|_| Refused::Closed)?;
    let mut stream = tls.acceptor.accept(stream).await.map_err(|_| Refused::Tls)?;
    let peer = hear(&mut stream).await?;
    if *peer >= *own {
        return Err(Refused::Name);
    }
    say(&mut stream, own).await?;
    Ok((peer, stream.into()))
}

/// The stream to `peer`, who must be the one that answers at `address`.
pub(super) async fn dial(
    tls: &Tls,
    own: &str,
    peer: &str,
    address: SocketAddr,
) -> Result<TlsStream<TcpStream>, Refused> {
    let stream = reach(address).await?;
    stream.set_nodelay(true).map_err(|_| Refused::Closed)?;
    let connected = tls.connector.connect(Tls::any_name(), stream).await;
    let mut stream = connected.map_err(|_| Refused::Tls)?;
    say(&mut stream, own).await?;
    if *hear(&mut stream).await? != *peer {
        return Err(Refused::Name);
    }
    Ok(stream.into())
}

/// Connects. Where a process has died, its machine says that nobody listens.
pub(super) async fn reach(address: SocketAddr) -> Result<TcpStream, Refused> {
    TcpStream::connect(address).await.map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused => Refused::Nobody,
        _ => Refused::Connect,
    })
}

async fn say(to: &mut (impl AsyncWrite + Unpin), name: &str) -> Result<(), Refused> {
    let length = u8::try_from(name.len()).map_err(|_| Refused::Name)?;
    let hello = [&[VERSION, length], name.as_bytes()].concat();
    to.write_all(&hello).await.map_err(|_| Refused::Closed)?;
    to.flush().await.map_err(|_| Refused::Closed)
}

async fn hear(from: &mut (impl AsyncRead + Unpin)) -> Result<Arc<str>, Refused> {
    let mut head = [0; 2];
    from.read_exact(&mut head).await.map_err(|_| Refused::Closed)?;
    let [version, length] = head;
    if version != VERSION {
        return Err(Refused::Version);
    }
    let mut name = vec![0; length.into()];
    from.read_exact(&mut name).await.map_err(|_| Refused::Closed)?;
    let name = String::from_utf8(name).map_err(|_| Refused::Name)?;
    Ok(name.into())
}
