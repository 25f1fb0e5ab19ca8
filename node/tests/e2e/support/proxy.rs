//! A TCP proxy in front of the exchange's REST that writes down what was asked.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A proxy; its threads end with the test process.
pub(crate) struct Proxy {
    /// `host:port` where it listens.
    pub(crate) address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// A proxy in front of `target`.
    pub(crate) fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (target, log) = (target.to_owned(), Arc::clone(&asked));
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, log) = (client.unwrap(), Arc::clone(&log));
                if let Ok(server) = TcpStream::connect(&target) {
                    let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                    thread::spawn(move || carry(client, server, Some(&log)));
                    thread::spawn(move || carry(back.0, back.1, None));
                }
            }
        });
        Self { address, asked }
    }

    /// The paths (with query) that were asked for since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// How many paths `take` would give.
    pub(crate) fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

/// Copies bytes until either end closes. Requests have no body, so each line that begins with
/// `GET ` is one.
fn carry(mut from: TcpStream, mut to: TcpStream, log: Option<&Mutex<Vec<String>>>) {
    let mut buffer = vec![0; 65_536];
    let mut line = Vec::new();
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        for &byte in log.map_or(&[][..], |_| &buffer[..count]) {
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            let text = String::from_utf8_lossy(&line);
            if let (Some(log), Some(rest)) = (log, text.strip_prefix("GET ")) {
                let path = rest.split(' ').next().unwrap_or(rest);
                log.lock().unwrap().push(path.to_owned());
            }
            line.clear();
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Write));
}
