//! Reads a login from the body of a request: user name, password, and how the refresh token is to travel.
//!
//! User name and password must be there and not be empty (an empty password is an anonymous bind in LDAP). What must never
//! happen in here: a password in an error.

use http::header::USER_AGENT;
use secrecy::ExposeSecret;

use super::{Request, Transport, body};
use crate::gate::Reason;
use crate::login::Credentials;

/// The credentials in the request's body, and the transport that it asks for: the cookie, unless it says otherwise.
pub(super) fn read(request: &Request<'_>) -> Result<(Credentials, Transport), Reason> {
    let members = body::members(request, ["username", "password", "transport"])?;
    let [Some(username), Some(password), transport] = members else { return Err(Reason::BodyMalformed) };
    let transport = match transport.as_ref().map(ExposeSecret::expose_secret) {
        None => Transport::Cookie,
        // A word that is not known may be the body, misspelt: no cookie for somebody who has no place to keep it.
        Some(word) => Transport::named(word).ok_or(Reason::BodyMalformed)?,
    };
    let username = username.expose_secret().to_owned();
    let user_agent = request.headers.get(USER_AGENT).cloned();
    Ok((Credentials { username, password, address: request.address, user_agent }, transport))
}
