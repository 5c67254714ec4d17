//! Writing an answer of ours, so that the connection lives on.

use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, DATE, SET_COOKIE, TRANSFER_ENCODING, VARY, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::protocols::http::date::get_cached_date;
use pingora::proxy::Session;

use crate::gate::{CORS_HEADERS, CorsAnswer, Origins, Reply};

/// How long we go on reading a body that nobody wants, so that the client can read our answer first.
const DRAIN: Duration = Duration::from_secs(2);

/// Writes `reply`. The connection can be used again, unless the request was read only in part and does not end soon.
pub(super) async fn write(session: &mut Session, reply: &Reply, cors: Option<&CorsAnswer>) -> pingora::Result<()> {
    let mut head = ResponseHeader::build(reply.status, Some(reply.headers.len() + 8))?;
    for (name, value) in reply.headers.iter().cloned().chain(cors.into_iter().flat_map(CorsAnswer::fields)) {
        head.append_header(title_case(&name), value)?;
    }
    head.insert_header(DATE, get_cached_date())?;
    if reply.status != StatusCode::NO_CONTENT {
        head.insert_header(CONTENT_LENGTH, reply.body.len())?;
    }
    session.set_total_drain_timeout(Some(DRAIN));
    end_connection_if_leaving(session);
    let without_body = reply.body.is_empty() || session.req_header().method == Method::HEAD;
    session.write_response_header(Box::new(head), without_body).await?;
    if !without_body {
        session.write_response_body(Some(reply.body.clone()), true).await?;
    }
    Ok(())
}

/// Says `Connection: close` while we are leaving: the client would send its next request in vain.
pub(super) fn end_connection_if_leaving(session: &mut Session) {
    if session.is_process_shutting_down() {
        session.set_keepalive(None);
    }
}

/// The name as people write it, for HTTP/1; HTTP/2 has lower case only.
fn title_case(name: &HeaderName) -> String {
    if *name == WWW_AUTHENTICATE {
        return "WWW-Authenticate".to_owned();
    }
    let mut name = name.as_str().to_owned();
    let starts: Vec<usize> = [0].into_iter().chain(name.match_indices('-').map(|(dash, _)| dash + 1)).collect();
    for start in starts {
        if let Some(letter) = name.get_mut(start..=start) {
            letter.make_ascii_uppercase();
        }
    }
    name
}

/// Makes an upstream's answer fit to pass: it sets no cookie of ours, says nothing about CORS once that is ours to say, and
/// announces no body where there can be none (RFC 9110 section 8.6).
pub(super) fn clean(
    response: &mut ResponseHeader,
    own_cookies: &[Box<str>],
    origins: &Origins,
    cors: Option<&CorsAnswer>,
) -> pingora::Result<()> {
    take_cookies(response, own_cookies)?;
    if response.status == StatusCode::NO_CONTENT || response.status.is_informational() {
        response.remove_header(&CONTENT_LENGTH);
        response.remove_header(&TRANSFER_ENCODING);
    }
    if origins.decides_cors() || cors.is_some() {
        for name in CORS_HEADERS {
            response.remove_header(&name);
        }
    }
    if let Some(cors) = cors {
        for (name, value) in cors.fields().filter(|(name, _)| *name != VARY) {
            response.insert_header(name, value)?;
        }
    }
    if origins.vary_answers() {
        // Also on an answer that nobody else may read: a cache must not give it to somebody who may.
        response.append_header(VARY, "Origin")?;
    }
    Ok(())
}

/// What caches that serve several people know by itself of a request with `Authorization` (RFC 9111 section 3.5), they have to
/// be told of one with a cookie: the answer is for whoever asked, unless the app says that it is for everybody.
pub(super) fn keep_private(response: &mut ResponseHeader) -> pingora::Result<()> {
    const SAID: [&[u8]; 5] = [b"private", b"no-store", b"public", b"s-maxage", b"must-revalidate"];
    let fields = response.headers.get_all(CACHE_CONTROL).into_iter();
    let mut directives = fields.flat_map(|field| field.as_bytes().split(|&byte| byte == b','));
    let is_said = directives.any(|directive| {
        let name = directive.split(|&byte| byte == b'=').next().unwrap_or_default().trim_ascii();
        SAID.iter().any(|said| name.eq_ignore_ascii_case(said))
    });
    if !is_said {
        response.append_header(CACHE_CONTROL, "private")?;
    }
    Ok(())
}

/// Sets cookies of ours with an upstream's answer. Nobody may keep that answer: it holds tokens.
pub(super) fn add_cookies(response: &mut ResponseHeader, cookies: Vec<HeaderValue>) -> pingora::Result<()> {
    if !cookies.is_empty() {
        let others: Vec<HeaderName> = response.headers.keys().filter(|name| overrides_caching(name)).cloned().collect();
        for name in others {
            response.remove_header(&name);
        }
        response.insert_header(CACHE_CONTROL, "no-store")?;
    }
    for cookie in cookies {
        response.append_header(SET_COOKIE, cookie)?;
    }
    Ok(())
}

/// Fields that caches between us and browsers heed rather than `Cache-Control` (RFC 9213, and what was there before it).
fn overrides_caching(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.ends_with("-cache-control") || ["surrogate-control", "x-accel-expires"].contains(&name)
}

/// Takes what sets one of these cookies out of an answer, and gives it.
pub(super) fn take_cookies(response: &mut ResponseHeader, names: &[impl AsRef<str>]) -> pingora::Result<HeaderMap> {
    let is_named = |field: &HeaderValue| names.iter().any(|name| names_cookie(field, name.as_ref()));
    let mut taken = HeaderMap::new();
    if !response.headers.get_all(SET_COOKIE).iter().any(is_named) {
        return Ok(taken);
    }
    let all: Vec<HeaderValue> = response.headers.get_all(SET_COOKIE).iter().cloned().collect();
    response.remove_header(&SET_COOKIE);
    for field in all {
        if is_named(&field) {
            taken.append(SET_COOKIE, field);
        } else {
            response.append_header(SET_COOKIE, field)?;
        }
    }
    Ok(taken)
}

/// Does this `Set-Cookie` set our cookie, in any case and with any blanks around its name? A cookie without a name counts
/// by its value: `=a=b` comes back as `a=b`.
fn names_cookie(field: &HeaderValue, cookie_name: &str) -> bool {
    let field = field.as_bytes();
    let start = field.iter().position(|byte| !byte.is_ascii_whitespace() && *byte != b'=').unwrap_or(field.len());
    let name = field[start..].split(|&byte| byte == b'=' || byte == b';').next().unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case(cookie_name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_cannot_set_our_cookie() {
        for (field, ours) in [
            ("__Host-refresh=x; Path=/", true),
            ("__host-REFRESH = x", true),
            ("__Host-refresh", true),
            ("=__Host-refresh=x; Path=/", true),
            (" = __host-refresh =x", true),
            ("=", false),
            ("", false),
            ("session=__Host-refresh=x", false),
            ("x__Host-refresh=x", false),
        ] {
            let field = HeaderValue::from_static(field);
            assert_eq!(names_cookie(&field, "__Host-refresh"), ours, "{field:?}");
        }
    }

    #[test]
    fn an_answer_to_one_person_is_private_unless_the_app_says_otherwise() {
        for (said, kept) in [
            (&[][..], &["private"][..]),
            (&["max-age=60"], &["max-age=60", "private"]),
            (&["no-cache"], &["no-cache", "private"]),
            (&["max-age=60, Public"], &["max-age=60, Public"]),
            (&["max-age=60", "s-maxage = 9"], &["max-age=60", "s-maxage = 9"]),
            (&["private"], &["private"]),
            (&["no-store"], &["no-store"]),
        ] {
            let mut response = ResponseHeader::build(200, None).unwrap();
            for field in said {
                response.append_header(CACHE_CONTROL, *field).unwrap();
            }
            keep_private(&mut response).unwrap();
            let left: Vec<_> = response.headers.get_all(CACHE_CONTROL).iter().collect();
            assert_eq!(left, kept, "{said:?}");
        }
    }

    #[test]
    fn no_cache_keeps_an_answer_with_our_cookies() {
        let mut response = ResponseHeader::build(200, None).unwrap();
        for name in
            ["Cache-Control", "CDN-Cache-Control", "Vendor-CDN-Cache-Control", "Surrogate-Control", "X-Accel-Expires"]
        {
            response.append_header(name, "max-age=60").unwrap();
        }
        add_cookies(&mut response, Vec::new()).unwrap();
        assert_eq!(response.headers.len(), 5, "without cookies it is the app's business");
        add_cookies(&mut response, vec![HeaderValue::from_static("__Host-access=a")]).unwrap();
        let left: Vec<_> = response.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(left, [("cache-control", &b"no-store"[..]), ("set-cookie", b"__Host-access=a")]);
    }

    #[test]
    fn the_apps_own_cookies_pass() {
        let mut response = ResponseHeader::build(200, None).unwrap();
        for field in ["a=1", "__Host-refresh=stolen", "b=2"] {
            response.append_header(SET_COOKIE, field).unwrap();
        }
        clean(&mut response, &["__Host-refresh".into()], &Origins::default(), None).unwrap();
        let left: Vec<_> = response.headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(left, ["a=1", "b=2"]);
    }
}
