//! What has gone wrong on the way to an upstream, in our words.

use pingora::{Error, ErrorSource, ErrorType};

use crate::gate::Reason;

/// What the log is told. Pingora quotes a head that it cannot read, and that may hold cookies.
pub(super) fn told(error: &Error) -> String {
    match [error.etype(), error.root_etype()].contains(&&ErrorType::InvalidHTTPHeader) {
        true => format!("{} {}", error.esource().as_str(), ErrorType::InvalidHTTPHeader.as_str()),
        false => error.to_string(),
    }
}

/// Has the client paused for too long, in sending its body or in taking the answer?
pub(super) fn is_client_too_slow(error: &Error) -> bool {
    *error.esource() == ErrorSource::Downstream
        && matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout)
}

/// What a failure is called toward the client. None if there is no client any more.
pub(super) fn reason_of(error: &Error) -> Option<Reason> {
    let timed_out = matches!(
        error.etype(),
        ErrorType::ConnectTimedout
            | ErrorType::ReadTimedout
            | ErrorType::WriteTimedout
            | ErrorType::TLSHandshakeTimedout
    );
    match (error.esource(), error.etype()) {
        (ErrorSource::Upstream, _) if timed_out => Some(Reason::UpstreamTimeout),
        (ErrorSource::Upstream, _) => Some(Reason::UpstreamFailed),
        (ErrorSource::Downstream, ErrorType::ReadTimedout) => Some(Reason::RequestTimeout),
        (ErrorSource::Downstream, ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed) => None,
        (ErrorSource::Downstream, ErrorType::WriteTimedout) => None,
        (ErrorSource::Downstream, _) => Some(Reason::HeadMalformed),
        (ErrorSource::Internal | ErrorSource::Unset, _) => Some(Reason::Internal),
    }
}
