//! `/.well-known/jwks.json`: the public keys, so that an upstream can verify access tokens for itself.

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use super::Endpoints;
use crate::gate::Reply;

/// RFC 7517 section 8.5.2.
const JWK_SET: HeaderValue = HeaderValue::from_static("application/jwk-set+json");

/// For so long a verifier may not have heard of a new key: it must be in the set that long before it signs.
const FIVE_MINUTES: HeaderValue = HeaderValue::from_static("public, max-age=300");

impl Endpoints {
    pub(super) fn jwks(&self) -> Reply {
        let body = self.keys.public_jwk_set().to_string();
        let headers = vec![(CONTENT_TYPE, JWK_SET), (CACHE_CONTROL, FIVE_MINUTES)];
        Reply { status: StatusCode::OK, headers, body: body.into(), reason: None }
    }
}
