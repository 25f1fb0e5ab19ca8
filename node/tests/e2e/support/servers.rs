//! Servers of a test's own, which it may kill: those of the adapters' tests.

#[path = "../../../../adapters/tests/scylla/server.rs"]
pub(crate) mod cassandra;
#[path = "../../../../adapters/tests/elasticsearch/server.rs"]
pub(crate) mod elasticsearch;

use std::thread::JoinHandle;
use std::time::Duration;

/// A server that can be killed, and started again on what it has written.
pub(crate) trait Mortal: Send + 'static {
    /// What people call it.
    const NAME: &'static str;

    /// Kills it, without a word.
    fn kill(&mut self);

    /// Starts it and waits until it serves.
    async fn run(&mut self);
}

impl Mortal for cassandra::Server {
    const NAME: &'static str = "Cassandra";

    fn kill(&mut self) {
        Self::kill(self);
    }

    async fn run(&mut self) {
        Self::run(self).await;
    }
}

impl Mortal for elasticsearch::Server {
    const NAME: &'static str = "Elasticsearch";

    fn kill(&mut self) {
        Self::kill(self);
    }

    async fn run(&mut self) {
        Self::run(self).await;
    }
}

/// Kills a server after each of these pauses, and starts it again; meanwhile the test goes on.
pub(crate) fn kill_repeatedly<S: Mortal>(mut server: S, pauses: Vec<Duration>) -> JoinHandle<S> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for (at, pause) in pauses.into_iter().enumerate() {
            std::thread::sleep(pause);
            println!("kill {} of {} after {pause:?}", at + 1, S::NAME);
            server.kill();
            runtime.block_on(server.run());
        }
        server
    })
}
