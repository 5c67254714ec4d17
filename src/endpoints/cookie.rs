//! The refresh cookie: what it looks like, and how it is read.
//!
//! It is read strictly. Names are compared byte for byte (`__host-refresh` is another cookie, which any site below our
//! domain could set), values are taken as they are (no unquoting, no decoding), and two values are one too many.
//! The `cookie` crate writes ours; it does not read them, because it trims and skips what we want to refuse.

use std::time::Duration;

use cookie::Cookie;
use http::{HeaderMap, HeaderValue};

pub use cookie::SameSite;

use crate::gate::{self, Reason};

/// How the refresh cookie is set. It is always `HttpOnly`, has `Path=/` and no `Domain`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CookieShape {
    /// Its name: `__Host-refresh`, unless a development setting drops the prefix.
    pub name: Box<str>,
    /// Sent over https only. The prefix `__Host-` demands it.
    pub secure: bool,
    /// With which requests from other sites it is sent.
    pub same_site: SameSite,
}

impl CookieShape {
    /// The value of our cookie, from all `Cookie` lines (HTTP/2 clients send one for each crumb, RFC 9113 section 8.2.3).
    ///
    /// Refused: [`Reason::TokenMissing`] if there is none, [`Reason::CredentialsAmbiguous`] if there are two different
    /// ones, [`Reason::TokenMalformed`] if it is not text.
    pub(super) fn read<'a>(&self, headers: &'a HeaderMap) -> Result<&'a str, Reason> {
        gate::cookie(headers, &self.name)?.ok_or(Reason::TokenMissing)
    }

    /// Is it there at all, readable or not?
    pub(super) fn is_in(&self, headers: &HeaderMap) -> bool {
        self.read(headers) != Err(Reason::TokenMissing)
    }

    /// `Set-Cookie` for `token`, for as long as its session can still live.
    pub(super) fn set(&self, token: &str, max_age: Duration) -> HeaderValue {
        // A cookie is not deleted while its token is good, be it for less than a second.
        let max_age_s = if max_age.is_zero() { 0 } else { max_age.as_secs().max(1) };
        let max_age = cookie::time::Duration::seconds(max_age_s.try_into().unwrap_or(i64::MAX));
        let cookie = Cookie::build((&*self.name, token))
            .http_only(true)
            .secure(self.secure)
            .same_site(self.same_site)
            .path("/")
            .max_age(max_age);
        // Cannot fail: the name is checked with the configuration, and our tokens are base64url.
        let mut value = HeaderValue::try_from(cookie.to_string()).unwrap_or(HeaderValue::from_static(""));
        // Not shown by Debug, not indexed by HPACK.
        value.set_sensitive(true);
        value
    }

    /// `Set-Cookie` that makes the client forget the cookie: the same attributes, or it would be another cookie.
    pub(super) fn clear(&self) -> HeaderValue {
        self.set("", Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;

    use super::*;

    const SHAPE: fn() -> CookieShape =
        || CookieShape { name: "__Host-refresh".into(), secure: true, same_site: SameSite::Strict };

    fn read(lines: &[&[u8]]) -> Result<String, Reason> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        SHAPE().read(&headers).map(str::to_owned)
    }

    #[test]
    fn exactly_our_name_is_read_from_all_lines() {
        let large = [b"pad=", "x".repeat(20_000).as_bytes(), b"; __Host-refresh=T"].concat();
        let found: &[&[&[u8]]] = &[
            &[b"__Host-refresh=T"],
            &[b"a=1; __Host-refresh=T; b=2"],
            &[b"a=1;__Host-refresh=T;b=2"],
            &[b"a=1;\t __Host-refresh=T "],
            &[b"a=1", b"__Host-refresh=T", b"b=2"],
            &[b"a; =; ;;__Host-refresh=T;"],
            &[b"__host-refresh=X; __HOST-REFRESH=X; __Host-Refresh=X; __Host-refresh=T"],
            &[b"x__Host-refresh=X; __Host-refresh2=X; __Host-refresh =X; refresh=X; __Host-refresh=T"],
            &[b"a=__Host-refresh=X; __Host-refresh=T"],
            &[b"__Host-refresh=T", b"__Host-refresh=T"],
            &[b"latin=\xe9; __Host-refresh=T"],
            &[&large],
        ];
        for lines in found {
            assert_eq!(read(lines).as_deref(), Ok("T"), "{lines:?}");
        }
    }

    #[test]
    fn what_is_not_one_value_is_refused() {
        assert_eq!(read(&[]), Err(Reason::TokenMissing));
        for line in ["", "a=1", "__host-refresh=X", "__Host-refresh", "%5F_Host-refresh=X", "a=1, __Host-refresh=X"] {
            assert_eq!(read(&[line.as_bytes()]), Err(Reason::TokenMissing), "{line}");
        }
        for lines in [
            &[&b"__Host-refresh=T; __Host-refresh=U"[..]][..],
            &[b"__Host-refresh=T", b"__Host-refresh=U"],
            &[b"__Host-refresh=T; __Host-refresh="],
            &[b"__Host-refresh=T; __Host-refresh=T; __Host-refresh=\"T\""],
        ] {
            assert_eq!(read(lines), Err(Reason::CredentialsAmbiguous), "{lines:?}");
        }
        assert_eq!(read(&[b"__Host-refresh=\xff"]), Err(Reason::TokenMalformed));
    }

    #[test]
    fn a_value_is_taken_as_it_is() {
        assert_eq!(read(&[b"__Host-refresh=\"T\""]).as_deref(), Ok("\"T\""));
        assert_eq!(read(&[b"__Host-refresh=%54=a=b"]).as_deref(), Ok("%54=a=b"));
        assert_eq!(read(&[b"__Host-refresh="]).as_deref(), Ok(""));
        let large = "x".repeat(20_000);
        assert_eq!(read(&[format!("__Host-refresh={large}").as_bytes()]), Ok(large));
    }

    #[test]
    fn what_clears_it_is_the_same_cookie() {
        let set = SHAPE().set("T", Duration::from_secs(60));
        assert_eq!(set, "__Host-refresh=T; HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=60");
        assert_eq!(SHAPE().clear(), "__Host-refresh=; HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=0");
        assert!(!format!("{set:?}").contains('T'), "{set:?}");
        let plain = CookieShape { name: "refresh".into(), secure: false, same_site: SameSite::Lax };
        assert_eq!(plain.set("T", Duration::ZERO), "refresh=T; HttpOnly; SameSite=Lax; Path=/; Max-Age=0");
    }
}
