//! The app's own session, kept for the user: the app sees its cookies, the browser never does.
//!
//! What must never happen in here: another app sees them; a client's cookie of the same name passes; the app sets one of
//! them at a browser.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};

use super::compiled::Compiled;
use super::forward::{cookie_pairs, names_one};
use super::respond::take_cookies;
use crate::endpoints::AppSessions;
use crate::gate::Grant;

/// Which cookies are kept, and which upstream they belong to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptCookies {
    /// The upstream's number.
    pub upstream: usize,
    /// Their names. At least one.
    pub names: Vec<String>,
}

impl KeptCookies {
    /// Presents the session to its app, in place of what the client sent by these names. Done twice, it changes nothing the
    /// second time.
    pub(super) fn present(
        &self,
        request: &mut RequestHeader,
        grant: &Grant,
        sessions: &AppSessions,
    ) -> pingora::Result<()> {
        if grant.upstream() != self.upstream {
            return Ok(());
        }
        let kept = grant.identity().and_then(|identity| sessions.of(identity));
        if kept.is_none() && !self.are_sent(&request.headers) {
            return Ok(());
        }
        let mut all = self.others(&request.headers);
        all.extend(kept.as_ref().map(HeaderValue::as_bytes));
        let field = HeaderValue::from_bytes(&all.join(&b"; "[..])).ok().map(|mut field| {
            field.set_sensitive(true);
            field
        });
        request.remove_header(&COOKIE);
        match field.filter(|field| !field.is_empty()) {
            Some(field) => request.insert_header(COOKIE, field),
            None => Ok(()),
        }
    }

    /// Takes these cookies out of what the app sets, and gives them.
    pub(super) fn withhold(&self, response: &mut ResponseHeader, grant: &Grant) -> pingora::Result<HeaderMap> {
        match grant.upstream() == self.upstream {
            true => take_cookies(response, &self.names),
            false => Ok(HeaderMap::new()),
        }
    }

    fn are_sent(&self, headers: &HeaderMap) -> bool {
        cookie_pairs(headers).any(|pair| names_one(pair, &self.names))
    }

    fn others<'h>(&self, headers: &'h HeaderMap) -> Vec<&'h [u8]> {
        cookie_pairs(headers).filter(|pair| !names_one(pair, &self.names)).collect()
    }
}

/// What the app has made of its own session: a newer cookie counts from now on, and an end ends ours, behind the answer.
pub(super) fn has_set(compiled: &Arc<Compiled>, grant: &Grant, set: &HeaderMap, client: IpAddr) {
    let Some(identity) = grant.identity().filter(|_| !set.is_empty()) else { return };
    if compiled.endpoints.app_sessions.has_set(identity, set) {
        let (compiled, identity) = (Arc::clone(compiled), Arc::clone(identity));
        tokio::spawn(async move { compiled.endpoints.app_session_is_over(&identity, client).await });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> KeptCookies {
        KeptCookies { upstream: 0, names: vec!["sid".to_owned(), "SESS".to_owned()] }
    }

    #[test]
    fn cookies_of_these_names_are_told_from_others() {
        for (fields, others) in [
            (&["sid=forged; a=1", "SID=forged; b=2"][..], "a=1|b=2"),
            (&[" sid =forged;;sess=x; sid2=1; xsid=2"], "sid2=1|xsid=2"),
            (&["sid", "a"], "a"),
            (&["a=sid=1"], "a=sid=1"),
            (&[], ""),
        ] {
            let mut headers = HeaderMap::new();
            fields.iter().for_each(|field| {
                headers.append(COOKIE, HeaderValue::from_static(field));
            });
            let passed = kept().others(&headers).join(&b"|"[..]);
            assert_eq!(String::from_utf8(passed).unwrap(), others, "{fields:?}");
        }
    }
}
