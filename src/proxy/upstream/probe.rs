//! Asks a server whether it works.
//!
//! Pingora's own `HttpHealthCheck` would carry two copies of the system's certificates for every server, and reads a body
//! without end; so the dozen lines are ours, over Pingora's connector and the very peer that requests use.

use std::net::SocketAddr;
use std::time::Duration;

use http::header::{HOST, USER_AGENT};
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::upstreams::peer::HttpPeer;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The largest body of an answer that is read.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Is there somebody who takes connections?
pub(super) async fn connect(address: SocketAddr, within: Duration) -> Result<(), String> {
    match timeout(within, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no connection within {within:?}")),
    }
}

/// Is there somebody who takes connections, and is it who it should be?
pub(super) async fn handshake(connector: &Connector, peer: &HttpPeer, within: Duration) -> Result<(), String> {
    let mut peer = peer.clone();
    // As below.
    peer.options.max_h2_streams = 1;
    match timeout(within, connector.get_http_session(&peer)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no connection within {within:?}")),
    }
}

/// Does it answer `GET path` with 2xx or 3xx?
pub(super) async fn get(
    connector: &Connector,
    peer: &HttpPeer,
    host: &str,
    path: &str,
    within: Duration,
) -> Result<(), String> {
    match timeout(within, exchange(connector, peer.clone(), host, path)).await {
        Ok(Ok(status)) if status.is_success() || status.is_redirection() => Ok(()),
        Ok(Ok(status)) => Err(format!("GET {path} was answered with {status}")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("GET {path} was not answered within {within:?}")),
    }
}

async fn exchange(
    connector: &Connector,
    mut peer: HttpPeer,
    host: &str,
    path: &str,
) -> pingora::Result<http::StatusCode> {
    // A new connection each time: an old one can work long after nobody new gets in.
    peer.options.max_h2_streams = 1;
    let mut request = RequestHeader::build("GET", path.as_bytes(), Some(2))?;
    request.insert_header(HOST, host)?;
    request.insert_header(USER_AGENT, "portcullis-health-check")?;
    let (mut session, _) = connector.get_http_session(&peer).await?;
    session.write_request_header(Box::new(request)).await?;
    session.finish_request_body().await?;
    session.read_response_header().await?;
    let status = session.response_header().map(|header| header.status).unwrap_or_default();
    let mut read = 0;
    while let Some(piece) = session.read_response_body().await? {
        read += piece.len();
        if read > BODY_BYTES_MAX {
            break;
        }
    }
    Ok(status)
}
