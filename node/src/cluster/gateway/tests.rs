//! Two processes: `ractor`'s registries are one a process, so two nodes in one would find each other
//! without a link.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::super::links::{Links, LinksConfig};
use super::*;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Set in the process that plays the other node.
const CHILD: &str = "FTS_GATEWAY_TEST_CHILD";
const NAME: &str = "cluster::gateway::tests::questions_to_another_process_are_answered_over_links_that_come_and_go";

struct Backwards;

#[async_trait]
impl Messages for Backwards {
    async fn answer(&self, question: Bytes) -> Bytes {
        match &*question {
            b"silence" => std::future::pending().await,
            b"panic" => panic!("as asked"),
            b"long" => vec![0; MESSAGE_BYTES_MAX + 1].into(),
            text => text.iter().rev().copied().collect(),
        }
    }
}

async fn start(
    name: &str,
    peers: &watch::Sender<BTreeMap<Arc<str>, SocketAddr>>,
) -> (Links, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = LinksConfig {
        name: name.into(),
        secret: Secret::new("0123456789abcdef").unwrap(),
        listener,
        peers: peers.subscribe(),
        ended: tokio::sync::mpsc::channel(1).0,
        messages: Some(Arc::new(Backwards)),
    };
    (Links::start(config).await.unwrap(), address)
}

/// The other node, until its input ends.
async fn be_the_other() {
    let peers = watch::Sender::default();
    let (_links, address) = start("b", &peers).await;
    println_to_parent(address);
    let wait = || std::io::stdin().read_to_end(&mut Vec::new());
    tokio::task::spawn_blocking(wait).await.unwrap().unwrap();
    std::process::exit(0);
}

#[expect(clippy::print_stdout, reason = "a child process speaks by its output")]
fn println_to_parent(address: SocketAddr) {
    println!("\nlistening {address}");
}

struct Other(Child);

impl Other {
    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.0.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_to_another_process_are_answered_over_links_that_come_and_go() {
    if std::env::var(CHILD).is_ok() {
        be_the_other().await;
    }
    let mut other = Command::new(std::env::current_exe().unwrap());
    let other = other.args([NAME, "--exact", "--nocapture"]).env(CHILD, "1");
    let other = other.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut other = Other(other.spawn().unwrap());
    let mut lines = BufReader::new(other.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let address = lines.find_map(|line| line.strip_prefix("listening ")?.parse().ok()).unwrap();

    let peers = watch::Sender::new(BTreeMap::from([("b".into(), address)]));
    let (links, _) = start("a", &peers).await;
    let up = async |is_up: bool| {
        let mut up = links.peers_up();
        timeout(PATIENCE, up.wait_for(|up| up.contains("b") == is_up)).await.unwrap().unwrap();
    };
    let ask = async |question: &'static str, deadline| {
        links.ask("b", Bytes::from_static(question.as_bytes()), deadline).await
    };
    assert_eq!(links.ask("c", Bytes::new(), PATIENCE).await, Err(CallError::Down));
    up(true).await;
    assert_eq!(ask("gateway", PATIENCE).await.unwrap(), "yawetag");
    assert_eq!(ask("", PATIENCE).await.unwrap(), "");

    let many = (0..500).map(|number: u32| {
        let links = links.clone();
        tokio::spawn(async move {
            let question = Bytes::from(format!("{number:09}"));
            let answer = links.ask("b", question.clone(), PATIENCE).await.unwrap();
            assert!(question.iter().eq(answer.iter().rev()));
        })
    });
    for one in many.collect::<Vec<_>>() {
        one.await.unwrap();
    }

    // No answer is the asker's deadline, and nothing else suffers.
    let short = Duration::from_millis(50);
    for question in ["silence", "panic", "long"] {
        let answer = ask(question, short).await;
        assert!(
            matches!(answer, Err(CallError::Late(_) | CallError::Cut)),
            "{question}: {answer:?}"
        );
        assert_eq!(ask("gateway", PATIENCE).await.unwrap(), "yawetag");
    }
    let long = vec![0; MESSAGE_BYTES_MAX + 1].into();
    let long = links.ask("b", long, PATIENCE).await;
    assert_eq!(long, Err(CallError::Large(MESSAGE_BYTES_MAX + 1)));
    let longest = vec![0; MESSAGE_BYTES_MAX].into();
    assert_eq!(links.ask("b", longest, PATIENCE).await.unwrap().len(), MESSAGE_BYTES_MAX);

    for _ in 0..3 {
        links.cut("b");
        up(false).await;
        up(true).await;
        assert_eq!(ask("gateway", PATIENCE).await.unwrap(), "yawetag");
    }

    // It stands still, is dropped, and goes on as if nothing had been.
    other.signal("-STOP");
    let still = ask("gateway", PATIENCE).await;
    // `Down`: on a busy machine the link may have been lost before.
    assert!(matches!(still, Err(CallError::Cut | CallError::Down)), "{still:?}");
    up(false).await;
    other.signal("-CONT");
    up(true).await;
    assert_eq!(ask("gateway", PATIENCE).await.unwrap(), "yawetag");
    links.stop();
}
