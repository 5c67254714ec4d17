//! Access tokens in cookies: for pages, images, downloads and sockets, where a browser lets nobody set a header.
//!
//! Browsers send cookies by themselves, whoever made them send the request. So a cookie says who asks only together with
//! where the request comes from.
//!
//! What must never happen in here: a request that changes something passes by a cookie without a proof of its origin.

use http::header::{ACCEPT, COOKIE, HeaderName, UPGRADE};
use http::{HeaderMap, HeaderValue, Method};

use super::Reason;
use super::head::RequestHead;
use super::origin::{Origins, SEC_FETCH_SITE, Sender};

/// The cookies that routes with `credentials: [cookie]` read.
#[derive(Clone, Debug)]
pub struct CookieCredentials {
    /// The name of the one that holds an access token.
    pub access: Box<str>,
    /// The name of the one that holds the refresh token.
    pub refresh: Box<str>,
    /// Where a navigation goes that needs a login: a path of ours, or a URL of the app's own page. None: it gets its 401.
    pub login_page: Option<LoginPage>,
}

/// Where people log in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LoginPage {
    /// At this path of ours. It is told where to go back to.
    Own(String),
    /// At this URL, which is the operator's.
    Elsewhere(HeaderValue),
}

/// A login leads back to no longer target than this.
pub const RETURN_TO_BYTES_MAX: usize = 2048;

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// The value of the cookie `name`, from all `Cookie` lines (HTTP/2 clients send one for each crumb, RFC 9113 section 8.2.3).
/// None if there is none.
///
/// Names are compared byte for byte (`__host-refresh` is another cookie, which any site below our domain could set), values
/// are taken as they are (no unquoting, no decoding). Refused: [`Reason::CredentialsAmbiguous`] if there are two different
/// ones, [`Reason::TokenMalformed`] if it is not text.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Reason> {
    let lines = headers.get_all(COOKIE).into_iter();
    let mut values = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b';')).filter_map(|pair| {
        let pair = pair.trim_ascii_start();
        pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(<[u8]>::trim_ascii_end)
    });
    let Some(value) = values.next() else { return Ok(None) };
    if values.any(|other| other != value) {
        return Err(Reason::CredentialsAmbiguous);
    }
    std::str::from_utf8(value).map(Some).map_err(|_| Reason::TokenMalformed)
}

/// May this request, made where it was made, speak for whom its cookie names?
///
/// What changes something (an unsafe method, RFC 9110 section 9.2.1, or an upgrade) has to prove that it comes from a page of
/// ours. What only reads may come by a link from anywhere, as a whole page; parts of other sites' pages may not read.
pub(super) fn may_speak_by_cookie(origins: &Origins, head: &RequestHead<'_>) -> bool {
    let is_safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(head.method);
    if !is_safe || head.headers.contains_key(UPGRADE) {
        return is_from_our_page(origins, head);
    }
    let from_another_site = head.headers.get_all(SEC_FETCH_SITE).iter().any(|site| site == "cross-site");
    !from_another_site || is_whole_page(head.headers) || is_from_our_page(origins, head)
}

/// Silence proves nothing here: browsers send cookies without being asked.
fn is_from_our_page(origins: &Origins, head: &RequestHead<'_>) -> bool {
    origins.sender(head) == Sender::Page
}

fn is_whole_page(headers: &HeaderMap) -> bool {
    let says = |name: &HeaderName, wanted: &str| headers.get(name).is_some_and(|value| value == wanted);
    says(&SEC_FETCH_MODE, "navigate") && says(&SEC_FETCH_DEST, "document")
}

/// Does somebody look at the answer, rather than a script? Browsers say so; of older ones one can tell by what they accept.
pub fn is_navigation(headers: &HeaderMap) -> bool {
    match headers.get(SEC_FETCH_MODE) {
        Some(mode) => mode == "navigate",
        None => {
            let accept = headers.get(ACCEPT).map_or(&b""[..], HeaderValue::as_bytes);
            let accepts_pages = accept.split(|&byte| byte == b',').any(|item| {
                item.trim_ascii().split(|&byte| byte == b';').next().is_some_and(|media_type| {
                    let media_type = media_type.trim_ascii_end();
                    media_type.eq_ignore_ascii_case(b"text/html")
                        || media_type.eq_ignore_ascii_case(b"application/xhtml+xml")
                })
            });
            accepts_pages && !headers.contains_key("x-requested-with")
        }
    }
}

impl LoginPage {
    /// Where a navigation to `target` is sent.
    pub(super) fn location(&self, target: &[u8]) -> HeaderValue {
        match self {
            LoginPage::Elsewhere(url) => url.clone(),
            // Nobody is led back to what is longer, and a head has room for so much.
            LoginPage::Own(path) if target.len() > RETURN_TO_BYTES_MAX => {
                HeaderValue::try_from(path).unwrap_or(HeaderValue::from_static("/"))
            }
            LoginPage::Own(path) => {
                let target: String = form_urlencoded::byte_serialize(target).collect();
                // Cannot fail: the path is checked with the configuration, and the rest is encoded.
                HeaderValue::try_from(format!("{path}?return_to={target}")).unwrap_or(HeaderValue::from_static("/"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_to_lead_back_to_is_left_out() {
        let page = LoginPage::Own("/login".to_owned());
        let longest = [b"/", &*vec![b'x'; RETURN_TO_BYTES_MAX - 1]].concat();
        assert!(page.location(&longest).as_bytes().starts_with(b"/login?return_to=%2Fxxx"));
        assert_eq!(page.location(&[&*longest, b"x"].concat()), "/login");
    }
}
