//! What the machine costs anyhow: the same bytes over the same loopback, and nothing done with them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use anyhow::{Context as _, Result};

/// CPU-seconds that a thread needs to receive a million messages of `bytes`, one write each, from
/// a loopback socket.
pub(super) fn receive_a_million(bytes: usize) -> Result<f64> {
    const MESSAGES: usize = 1_000_000;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let sender = thread::spawn(move || -> std::io::Result<()> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let message = vec![b'x'; bytes];
        (0..MESSAGES).try_for_each(|_| socket.write_all(&message))
    });
    let (mut socket, _) = listener.accept()?;
    let mut buffer = vec![0_u8; 65_536];
    let before = thread_cpu_seconds()?;
    while socket.read(&mut buffer)? > 0 {}
    let used = thread_cpu_seconds()? - before;
    sender.join().ok().context("the sender panicked")??;
    Ok(used)
}

/// CPU time of this thread, in seconds.
fn thread_cpu_seconds() -> Result<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = text.split_whitespace().next().and_then(|it| it.parse::<f64>().ok());
    Ok(nanos.context("no CPU time in /proc/thread-self/schedstat")? / 1e9)
}
