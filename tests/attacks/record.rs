//! What backends took requests for: one record for each request, told in a datagram when it has arrived.
//!
//! In a datagram and not only in the answer, because an attacker whose client is refused may still have reached the backend.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use tokio::net::UdpSocket;

/// Subject, roles, scopes and session, as one reader sees them; empty if it sees none.
pub type Identity = [String; 4];

/// One request, as it was read.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Record {
    pub backend: String,
    /// The number of the request, which it carries in a field of its own.
    pub case: String,
    pub method: String,
    pub target: String,
    /// By the name of the reader: which resource it takes the request for.
    pub paths: BTreeMap<String, String>,
    pub identity: BTreeMap<String, Identity>,
    #[serde(default)]
    pub cookie: String,
    #[serde(default)]
    pub authorization: String,
}

/// Where records arrive.
#[derive(Clone)]
pub struct Collector {
    pub address: SocketAddr,
    records: Arc<Mutex<Vec<Record>>>,
}

impl Collector {
    /// Listens on a port of its own.
    pub async fn start() -> Collector {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("a bound address");
        let collector = Collector { address, records: Arc::default() };
        let own = collector.clone();
        tokio::spawn(async move {
            let mut datagram = vec![0; 64 * 1024];
            while let Ok(length) = socket.recv(&mut datagram).await {
                own.push(parse(&datagram[..length]));
            }
        });
        collector
    }

    /// Takes a record that was made here.
    pub fn push(&self, record: Record) {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }

    /// Has a request with this number arrived at this backend?
    pub fn has(&self, backend: &str, case: &str) -> bool {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().rev().any(|record| record.backend == backend && record.case == case)
    }

    /// Everything so far, which is then forgotten.
    pub fn take(&self) -> Vec<Record> {
        std::mem::take(&mut *self.records.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// nginx writes a syslog header first.
fn parse(datagram: &[u8]) -> Record {
    let text = String::from_utf8_lossy(datagram);
    let json = text.find('{').map_or("", |at| &text[at..]);
    serde_json::from_str(json).unwrap_or_else(|error| panic!("a backend's record cannot be read ({error}): {text}"))
}
