//! The audit trail: one event at the target `audit` for each thing that an investigation would ask for.
//!
//! All events have the same fields: `event`, `subject` (verified) or `account` (one that exists, named by a client), `session`,
//! `address`, `transport` of the refresh token, `reason`. What must never happen in here: a token, a password, or text of a client's choice without a limit.

use std::net::IpAddr;

use crate::endpoints::{Audit, Transport};
use crate::gate::Reason;
use crate::session::SessionId;

/// The target of the events, to be named in filters.
pub(super) const AUDIT: &str = "audit";

/// How much of an account that a client names is kept: more than any real name, less than a flood.
const ACCOUNT_CHARS_MAX: usize = 128;

#[derive(Default)]
struct Fields<'a> {
    subject: Option<&'a str>,
    account: Option<&'a str>,
    session: Option<SessionId>,
    address: Option<IpAddr>,
    transport: Option<Transport>,
    reason: Option<Reason>,
}

/// Writes the event to the log.
pub(super) fn record(event: Audit<'_>) {
    let fields = fields(&event);
    tracing::info!(
        target: AUDIT,
        event = event.as_str(),
        subject = fields.subject,
        account = fields.account.map(shorten),
        session = fields.session.map(display),
        address = fields.address.map(display),
        transport = fields.transport.map(Transport::as_str),
        reason = fields.reason.map(Reason::as_str),
    );
}

fn fields<'a>(event: &Audit<'a>) -> Fields<'a> {
    match *event {
        Audit::LoginRefused { account, reason, address, transport } => Fields {
            account,
            address: Some(address),
            transport: Some(transport),
            reason: Some(reason),
            ..Fields::default()
        },
        Audit::LoggedOut { subject, session, address, transport } => {
            Fields { subject, session: Some(session), address: Some(address), transport, ..Fields::default() }
        }
        Audit::LoggedIn { subject, session, address, transport }
        | Audit::Refreshed { subject, session, address, transport }
        | Audit::RefreshedLate { subject, session, address, transport }
        | Audit::TokenReused { subject, session, address, transport }
        | Audit::LoggedOutAll { subject, session, address, transport } => Fields {
            subject: Some(subject),
            session: Some(session),
            address: Some(address),
            transport: Some(transport),
            ..Fields::default()
        },
        Audit::RefreshRefused { session, reason, address, transport } => Fields {
            session: Some(session),
            address: Some(address),
            transport: Some(transport),
            reason: Some(reason),
            ..Fields::default()
        },
        Audit::SubjectRemoved { subject, session, address, transport } => {
            Fields { subject: Some(subject), session: Some(session), address, transport, ..Fields::default() }
        }
        Audit::Revoked { subject, session } => {
            Fields { subject: Some(subject), session: Some(session), ..Fields::default() }
        }
    }
}

fn shorten(account: &str) -> &str {
    let end = account.char_indices().nth(ACCOUNT_CHARS_MAX).map_or(account.len(), |(end, _)| end);
    &account[..end]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::telemetry::log::tests::logged;

    fn audited(event: Audit<'_>) -> Value {
        let text = logged("error", true, || record(event));
        let mut line: Value = serde_json::from_str(&text).unwrap();
        line.as_object_mut().unwrap().retain(|name, _| !["timestamp", "level", "target"].contains(&name.as_str()));
        line
    }

    #[test]
    fn each_event_says_who_what_and_from_where() {
        let session = SessionId::from_bytes([7; 16]);
        let address = IpAddr::from([192, 0, 2, 1]);
        let expected = |event| json!({ "event": event, "subject": "demo", "session": session.to_string(), "address": "192.0.2.1", "transport": "body" });
        let (subject, transport) = ("demo", Transport::Body);
        for event in [
            Audit::LoggedIn { subject, session, address, transport },
            Audit::Refreshed { subject, session, address, transport },
            Audit::RefreshedLate { subject, session, address, transport },
            Audit::TokenReused { subject, session, address, transport },
            Audit::SubjectRemoved { subject, session, address: Some(address), transport: Some(transport) },
            Audit::LoggedOut { subject: Some(subject), session, address, transport: Some(transport) },
            Audit::LoggedOutAll { subject, session, address, transport },
        ] {
            assert_eq!(audited(event), expected(event.as_str()));
        }
        for event in [
            Audit::Revoked { subject, session },
            Audit::SubjectRemoved { subject, session, address: None, transport: None },
        ] {
            assert_eq!(
                audited(event),
                json!({ "event": event.as_str(), "subject": "demo", "session": session.to_string() })
            );
        }
        let reason = Reason::SessionEnded;
        assert_eq!(
            audited(Audit::RefreshRefused { session, reason, address, transport }),
            json!({ "event": "refresh_refused", "session": session.to_string(), "address": "192.0.2.1", "transport": "body", "reason": "session_ended" })
        );
        let nameless = audited(Audit::LoggedOut { subject: None, session, address, transport: None });
        assert_eq!((nameless.get("subject"), nameless.get("transport")), (None, None));
    }

    #[test]
    fn an_account_stays_in_one_line_and_has_an_end() {
        let account = format!("root\n{}", "x".repeat(100_000));
        let address = IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]);
        let (reason, transport) = (Reason::CredentialsWrong, Transport::Cookie);
        let line = audited(Audit::LoginRefused { account: Some(&account), reason, address, transport });
        assert_eq!(line["account"].as_str().unwrap(), &account[..ACCOUNT_CHARS_MAX]);
        assert_eq!((&line["event"], &line["reason"]), (&json!("login_refused"), &json!("credentials_wrong")));
        assert_eq!((&line["address"], line.get("subject")), (&json!("::1"), None));
        assert_eq!(line["transport"], "cookie");
    }
}
