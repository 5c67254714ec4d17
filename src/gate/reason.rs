//! Why something was refused: one closed list that challenge, body, metric and log share.

use http::StatusCode;

/// Declares [`Reason`] with, for each: its name on the wire, its status, its OAuth error code and a sentence for people.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $status:ident, $error:expr, $detail:literal;)+) => {
        /// Why something was refused.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Reason { $($(#[doc = $doc])+ $variant,)+ }

        impl Reason {
            /// All of them: what metrics are made of at start.
            pub const ALL: &[Reason] = &[$(Reason::$variant),+];

            /// Its name in bodies, metrics and logs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$variant => $name),+ }
            }

            /// The status it is answered with.
            pub const fn status(self) -> StatusCode {
                match self { $(Reason::$variant => StatusCode::$status),+ }
            }

            /// The error code of RFC 6749 section 5.2 or RFC 6750 section 3.1, where one applies.
            pub const fn error(self) -> Option<&'static str> {
                match self { $(Reason::$variant => $error),+ }
            }

            /// What happened, in a sentence that helps and gives nothing away.
            pub const fn detail(self) -> &'static str {
                match self { $(Reason::$variant => $detail),+ }
            }
        }
    };
}

reasons! {
    /// The head breaks HTTP's rules.
    HeadMalformed = "head_malformed", BAD_REQUEST, Some("invalid_request"), "The request head is not valid HTTP.";
    /// The head is larger than we take.
    HeadTooLarge = "head_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, Some("invalid_request"), "The request head is too large.";
    /// Two readers could see two paths.
    PathAmbiguous = "path_ambiguous", BAD_REQUEST, Some("invalid_request"), "The path can be read in more than one way.";
    /// Two readers could see two hosts.
    HostAmbiguous = "host_ambiguous", BAD_REQUEST, Some("invalid_request"), "The host is missing, malformed or named more than once.";
    /// More than one credential.
    CredentialsAmbiguous = "credentials_ambiguous", BAD_REQUEST, Some("invalid_request"), "The request carries more than one credential.";
    /// A refresh token in a body, or asked for in one, where that is not enabled.
    TransportDisabled = "transport_disabled", BAD_REQUEST, Some("invalid_request"), "The refresh token travels in a cookie here; carrying it in bodies is not enabled.";
    /// Pages keep the refresh token in a cookie, and the web views of native clients in the body. It was the other way round.
    TransportRefused = "transport_refused", FORBIDDEN, None, "Pages of this origin may not carry the refresh token this way: it is in the body for listed web views, and in a cookie for all others.";
    /// No route matches.
    RouteUnknown = "route_unknown", NOT_FOUND, None, "No route matches this host and path.";
    /// The route or endpoint exists, for other methods.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, None, "This method is not allowed here.";
    /// No token was sent.
    TokenMissing = "token_missing", UNAUTHORIZED, None, "A token is needed and none was sent.";
    /// What was sent has not the shape of a token.
    TokenMalformed = "token_malformed", UNAUTHORIZED, Some("invalid_token"), "The token is malformed.";
    /// The token does not verify.
    TokenInvalid = "token_invalid", UNAUTHORIZED, Some("invalid_token"), "The token is not one of ours, or not for this.";
    /// The token has expired.
    TokenExpired = "token_expired", UNAUTHORIZED, Some("invalid_token"), "The token has expired.";
    /// A refresh token came back that had long been rotated.
    TokenReused = "token_reused", UNAUTHORIZED, Some("invalid_token"), "The token was used before; the session has been ended.";
    /// The session has been logged out or revoked.
    SessionEnded = "session_ended", UNAUTHORIZED, Some("invalid_token"), "The session has ended.";
    /// There is no such session.
    SessionUnknown = "session_unknown", UNAUTHORIZED, Some("invalid_token"), "The session is not known.";
    /// The subject may no longer log in.
    SubjectRemoved = "subject_removed", UNAUTHORIZED, Some("invalid_token"), "The user may no longer log in.";
    /// A required role is missing.
    RoleMissing = "role_missing", FORBIDDEN, Some("insufficient_scope"), "A role that is required here is missing.";
    /// A required scope is missing.
    ScopeMissing = "scope_missing", FORBIDDEN, Some("insufficient_scope"), "A scope that is required here is missing.";
    /// The request came from another site.
    CrossSite = "cross_site", FORBIDDEN, None, "Requests from other sites are refused here.";
    /// Wrong user or password.
    CredentialsWrong = "credentials_wrong", BAD_REQUEST, Some("invalid_grant"), "The user name or the password is wrong.";
    /// Too many attempts to log in.
    TooManyAttempts = "too_many_attempts", TOO_MANY_REQUESTS, None, "Too many attempts to log in; try again later.";
    /// This address asks for more than it may.
    TooManyRequests = "too_many_requests", TOO_MANY_REQUESTS, None, "Too many requests from this address; try again shortly.";
    /// The body cannot be read.
    BodyMalformed = "body_malformed", BAD_REQUEST, Some("invalid_request"), "The body is not what this endpoint takes.";
    /// The body is too large.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, Some("invalid_request"), "The body is too large.";
    /// The body is of a type that the endpoint does not take.
    MediaTypeUnsupported = "media_type_unsupported", UNSUPPORTED_MEDIA_TYPE, Some("invalid_request"), "Send application/json or application/x-www-form-urlencoded.";
    /// The client sent its body too slowly.
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT, None, "The request took too long to arrive.";
    /// What this proxy knows of revocations is too old to tell.
    RevocationsStale = "revocations_stale", SERVICE_UNAVAILABLE, Some("temporarily_unavailable"), "It cannot be told right now whether the session is still alive.";
    /// The store cannot be asked.
    StoreUnavailable = "store_unavailable", SERVICE_UNAVAILABLE, Some("temporarily_unavailable"), "Sessions cannot be read or written right now.";
    /// Who may log in cannot be told.
    LoginUnavailable = "login_unavailable", SERVICE_UNAVAILABLE, Some("temporarily_unavailable"), "It cannot be told right now who may log in.";
    /// Too much work of this kind is under way.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, Some("temporarily_unavailable"), "Too many requests of this kind are under way; try again shortly.";
    /// The upstream cannot be reached, or breaks HTTP's rules.
    UpstreamFailed = "upstream_failed", BAD_GATEWAY, None, "The application behind this proxy did not answer properly.";
    /// The upstream has as many requests under way as it may.
    UpstreamBusy = "upstream_busy", SERVICE_UNAVAILABLE, None, "The application behind this proxy has as many requests under way as it may have; try again shortly.";
    /// No server of the upstream is up.
    UpstreamUnavailable = "upstream_unavailable", SERVICE_UNAVAILABLE, None, "The application behind this proxy is down.";
    /// The upstream did not answer in time.
    UpstreamTimeout = "upstream_timeout", GATEWAY_TIMEOUT, None, "The application behind this proxy did not answer in time.";
    /// A fault of ours.
    Internal = "internal", INTERNAL_SERVER_ERROR, None, "Something went wrong in the proxy.";
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn names_are_unique_and_fit_for_labels() {
        let mut names: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len());
    }
}
