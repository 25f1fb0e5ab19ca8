//! Where the exchange is, and how to reach it: URLs, name lookup, TCP and TLS, with errors that
//! say what to do.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use tokio_tungstenite::tungstenite::http::Uri;

use super::ConfigError;

/// A connection, encrypted or not.
pub(super) type Socket = Box<dyn Io>;

/// What a connection can do.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Why the exchange could not be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DialError {
    /// A word for metrics.
    pub(super) class: &'static str,
    /// What happened, and what to do.
    pub(super) message: String,
}

/// A base URL, taken apart.
#[derive(Clone)]
pub(super) struct Target {
    /// The key of the configuration that it comes from.
    key: &'static str,
    tls: Option<TlsConnector>,
    host: String,
    port: u16,
    /// `host:port` for the `Host` header; the port is left out where the URL leaves it out.
    pub(super) authority: String,
    /// Without a slash at its end.
    pub(super) path: String,
}

impl fmt::Debug for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", self.authority, self.path)
    }
}

impl Target {
    /// Takes `url`, the value of the configuration's `key`, apart. `plain` and `tls` are the
    /// schemes that it may have.
    pub(super) fn parse(
        key: &'static str,
        url: &str,
        (plain, tls): (&str, &str),
    ) -> Result<Self, ConfigError> {
        let wrong = |what: &str| ConfigError(format!("{key} is `{url}`: {what}"));
        let form = format!("write it as {tls}://host or {tls}://host:port");
        // A user name may come with a password, which is never shown.
        if url.contains('@') {
            return Err(ConfigError(format!("{key} has a user name: {form}")));
        }
        let uri: Uri = url.trim().parse().map_err(|error| wrong(&format!("{error}; {form}")))?;
        let scheme = uri.scheme_str().unwrap_or_default();
        let encrypted = scheme == tls;
        if !encrypted && scheme != plain {
            return Err(wrong(&format!(
                "it must begin with {tls}:// ({plain}:// without encryption, for a simulated \
                 exchange)"
            )));
        }
        let authority = uri.authority().ok_or_else(|| wrong(&form))?;
        if uri.query().is_some() {
            return Err(wrong(&format!("it has a query; {form}")));
        }
        let path = uri.path().trim_end_matches('/');
        for end in ["/ws", "/stream", "/api", "/api/v3"] {
            if path.ends_with(end) {
                return Err(wrong(&format!("leave `{end}` away, it is added")));
            }
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong(&format!("it names no host; {form}")));
        }
        Ok(Self {
            key,
            tls: if encrypted { Some(connector()?) } else { None },
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(if encrypted { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            path: path.to_owned(),
        })
    }

    /// Connects, within `patience`.
    pub(super) async fn dial(&self, patience: Duration) -> Result<Socket, DialError> {
        let until = Instant::now() + patience;
        let addresses = self.resolve(patience).await?;
        let stream = self.reach(&addresses, until).await?;
        // Small messages, and pongs that must not wait.
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some(tls) => self.encrypt(tls, stream, until).await,
        }
    }

    async fn resolve(&self, patience: Duration) -> Result<Vec<SocketAddr>, DialError> {
        let failed = |what: String| DialError {
            class: "dns",
            message: format!(
                "cannot find `{}`: {what}; check the host in {} and this machine's DNS",
                self.host, self.key
            ),
        };
        let lookup = tokio::net::lookup_host((self.host.as_str(), self.port));
        let found = timeout(patience, lookup)
            .await
            .map_err(|_| failed("no answer in time".to_owned()))?
            .map_err(|error| failed(error.to_string()))?;
        let addresses: Vec<_> = found.collect();
        if addresses.is_empty() {
            Err(failed("it has no address".to_owned()))
        } else {
            Ok(addresses)
        }
    }

    /// The first of `addresses` that answers. Each gets its share of the time, so that one that
    /// swallows packets does not use it up.
    async fn reach(
        &self,
        addresses: &[SocketAddr],
        until: Instant,
    ) -> Result<TcpStream, DialError> {
        let mut last = String::new();
        for (number, address) in addresses.iter().enumerate() {
            let left = u32::try_from(addresses.len() - number).unwrap_or(u32::MAX);
            let share = until.saturating_duration_since(Instant::now()) / left.max(1);
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = format!("{address}: {error}"),
                Err(_) => last = format!("{address}: no answer in time"),
            }
        }
        Err(DialError {
            class: "connect",
            message: format!(
                "cannot connect to {}:{} ({last}); check {} and that a firewall lets this machine \
                 out",
                self.host, self.port, self.key
            ),
        })
    }

    async fn encrypt(
        &self,
        tls: &TlsConnector,
        stream: TcpStream,
        until: Instant,
    ) -> Result<Socket, DialError> {
        let failed = |what: String| DialError {
            class: "tls",
            message: format!(
                "no TLS with {}:{}: {what}; check that the port of {} speaks TLS, this machine's \
                 clock, and whether a proxy replaces certificates",
                self.host, self.port, self.key
            ),
        };
        let name = ServerName::try_from(self.host.clone()).map_err(|e| failed(e.to_string()))?;
        let left = until.saturating_duration_since(Instant::now());
        let socket = timeout(left, tls.connect(name, stream))
            .await
            .map_err(|_| failed("no answer in time".to_owned()))?
            .map_err(|error| failed(error.to_string()))?;
        Ok(Box::new(socket))
    }
}

/// What an HTTP status in place of an answer means; `None` where the status tells nothing more.
pub(super) fn status_advice(status: u16) -> Option<&'static str> {
    match status {
        301..=308 => Some("it sends elsewhere: set the URL to where it points"),
        403 => Some("its firewall refuses this address: wait, or ask from elsewhere"),
        404 => Some("nothing is there: check the host and port of the URL"),
        418 | 429 => Some("too many requests from this address"),
        451 => {
            Some("binance.com refuses this location: set binance.stream_url/rest_url to binance.us")
        }
        _ => None,
    }
}

/// Percent-encodes everything but unreserved characters and those of `keep`.
pub(super) fn encode(text: &str, keep: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || keep.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn connector() -> Result<TlsConnector, ConfigError> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ConfigError(format!("cannot set up TLS: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Result<(&str, u16, &str, bool), &str>) {
        match (Target::parse("binance.stream_url", url, ("ws", "wss")), expected) {
            (Ok(target), Ok((host, port, path, tls))) => {
                let found = (&*target.host, target.port, &*target.path, target.tls.is_some());
                assert_eq!(found, (host, port, path, tls), "{url}");
            }
            (Err(error), Err(part)) => {
                let text = error.to_string();
                assert!(text.contains(part), "{text}");
                assert!(text.contains("binance.stream_url"), "{text}");
                assert!(!text.contains("secret"), "{text}");
            }
            (found, _) => panic!("{url}: {found:?}"),
        }
    }

    #[test]
    fn urls_are_taken_apart_or_refused_with_advice() {
        let com = "stream.binance.com";
        check("wss://stream.binance.com:9443", Ok((com, 9443, "", true)));
        check("wss://stream.binance.com/", Ok((com, 443, "", true)));
        check("ws://127.0.0.1:9443", Ok(("127.0.0.1", 9443, "", false)));
        check("ws://[::1]/proxy/", Ok(("::1", 80, "/proxy", false)));
        check("https://stream.binance.com", Err("must begin with wss://"));
        check("stream.binance.com:9443", Err("wss://"));
        check("", Err("write it as wss://host"));
        check("wss://", Err("write it as wss://host"));
        check("wss://stream.binance.com/ws", Err("leave `/ws` away"));
        check("wss://stream.binance.com/stream/", Err("leave `/stream` away"));
        check("wss://me:secret@stream.binance.com", Err("user name"));
        check("wss://stream.binance.com?streams=a", Err("query"));
    }

    #[test]
    fn names_are_percent_encoded() {
        assert_eq!(encode("btcusdt@kline_1m", b"@"), "btcusdt@kline_1m");
        assert_eq!(encode("币@trade", b"@"), "%E5%B8%81@trade");
        assert_eq!(encode(r#"["A","B"]"#, b""), "%5B%22A%22%2C%22B%22%5D");
    }

    #[tokio::test]
    async fn an_exchange_that_is_not_there_is_told_with_its_address() {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let url = format!("ws://{address}");
        let target = Target::parse("binance.stream_url", &url, ("ws", "wss")).unwrap();
        let error = target.dial(Duration::from_secs(5)).await.err().unwrap();
        assert_eq!(error.class, "connect");
        assert!(error.message.contains(&address.to_string()), "{}", error.message);
    }

    #[tokio::test]
    async fn a_host_without_tls_is_told() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("wss://{}", listener.local_addr().unwrap());
        let target = Target::parse("binance.stream_url", &url, ("ws", "wss")).unwrap();
        let plain = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
            tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.unwrap();
        };
        let (result, ()) = tokio::join!(target.dial(Duration::from_secs(5)), plain);
        let error = result.err().unwrap();
        assert_eq!(error.class, "tls");
        assert!(error.message.contains("speaks TLS"), "{}", error.message);
    }
}
