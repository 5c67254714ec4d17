//! Which other origins may call, and whether their calls can carry the cookie.
//!
//! A browser sends a `SameSite` cookie along only if page and proxy are of one *site*: same scheme, same registrable domain.
//! The list of registrable domains is long and changes; [`same_site`] goes without it and errs on the side of "same site",
//! so that a configuration that works is never refused.

use super::{DAY, listen, seconds};
use crate::config::checked::{Config, Cors, HostPattern, Origin, Preflight, SameSite};
use crate::config::item::Table;
use crate::config::{asked, names, schema, urls};
use http::{HeaderName, Method};

pub(super) fn cors(top: &Table<'_>) -> Option<Cors> {
    let table = top.get("cors")?.table(schema::CORS)?;
    let origins = table.need("allow_origins", "a list such as `[https://app.example.com]`");
    let preflight = preflight(&table);
    Some(Cors {
        allow_origins: origins?.list_of("a list such as `[https://app.example.com]`", listen::origin),
        preflight,
    })
}

/// What a preflight is answered, from a table with the keys of `cors`.
pub(super) fn preflight(table: &Table<'_>) -> Preflight {
    let methods = table.get("allow_methods").map(|item| {
        item.list_of("a list such as `[GET, POST]`", |item| {
            item.like(asked::METHOD).parse("a method such as `GET`", names::method)
        })
    });
    let headers = table.get("allow_headers").map(|item| {
        item.list_of("a list such as `[authorization, content-type]`", |item| {
            item.parse("a header field such as `content-type`", |text| match text {
                "*" => {
                    Err("covers no `authorization`, and nothing where credentials are allowed; write each field".into())
                }
                text => names::field(text),
            })
        })
    });
    Preflight {
        allow_methods: methods.unwrap_or(vec![
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ]),
        allow_headers: headers
            .unwrap_or(vec![HeaderName::from_static("authorization"), HeaderName::from_static("content-type")]),
        max_age: table.get("max_age").and_then(|item| item.duration(seconds(0), DAY)).unwrap_or(seconds(600)),
    }
}

/// Every origin that is allowed can send the cookie, as far as can be told. What clients call us comes from `endpoints.host`,
/// else `origins`, else the hosts of routes; if none of them says, it is a warning.
pub(super) fn check_same_site(top: &Table<'_>, config: &Config) {
    let has_none = config.cors.as_ref().is_none_or(|cors| cors.allow_origins.is_empty());
    if has_none || config.cookie.same_site == SameSite::None {
        return;
    }
    let Some(items) = top.section("cors", schema::CORS).get("allow_origins").and_then(|item| item.list("")) else {
        return;
    };
    let ours = our_hosts(config);
    for item in items {
        let Some(origin) = item.as_text().and_then(|text| urls::origin(text).ok()) else { continue };
        if ours.is_empty() {
            item.warn(
                "whether this origin is of the same site as the proxy cannot be told, and the cookie reaches only one that is; \
                 write what clients call the proxy in `origins`",
            );
        } else if !ours
            .iter()
            .any(|(https, host)| https.is_none_or(|https| https == origin.https) && same_site(host, &origin.host))
        {
            let (_, our) = &ours[0];
            item.error(format!(
                "this origin and the proxy ({our}) are of different sites, and browsers send no cookie between them while \
                 `cookie.same_site` is `{}`; write `cookie: {{ same_site: none }}`, or serve both below one domain and scheme",
                config.cookie.same_site.as_str().to_lowercase(),
            ));
        }
    }
}

/// What clients call us: the scheme if it is known, and the host.
fn our_hosts(config: &Config) -> Vec<(Option<bool>, String)> {
    let origins = || config.origins.iter().map(|Origin { https, host, .. }| (Some(*https), host.clone()));
    if let Some(host) = &config.endpoints.host {
        let https = origins().find(|(_, own)| own == host).and_then(|(https, _)| https);
        return vec![(https, host.clone())];
    }
    if !config.origins.is_empty() {
        return origins().collect();
    }
    let hosts = config.routes.iter().filter_map(|route| route.host.as_ref());
    hosts
        .map(|host| match host {
            HostPattern::Exact(host) => (None, host.clone()),
            HostPattern::Suffix(suffix) => (None, suffix.trim_start_matches('.').to_owned()),
        })
        .collect()
}

/// Whether two hosts can be of one site: they are equal, or names that share their last two labels (the last three below
/// something like `co.uk`: a short label before a country).
fn same_site(a: &str, b: &str) -> bool {
    let tail = |host: &str| {
        let labels: Vec<&str> = host.rsplit('.').collect();
        let numeric =
            labels.first().is_some_and(|last| last.ends_with(']') || last.bytes().all(|byte| byte.is_ascii_digit()));
        let needed = match labels.as_slice() {
            [country, short, ..] if country.len() == 2 && short.len() <= 3 => 3,
            _ => 2,
        };
        (!numeric && labels.len() >= needed).then(|| labels[..needed].join("."))
    };
    a == b || (tail(a).is_some() && tail(a) == tail(b))
}

#[cfg(test)]
mod tests {
    use super::same_site;

    #[test]
    fn hosts_below_one_domain_are_one_site() {
        for (a, b) in [
            ("app.example.com", "auth.example.com"),
            ("example.com", "auth.example.com"),
            ("a.example.co.uk", "b.example.co.uk"),
            ("localhost", "localhost"),
            ("10.0.0.1", "10.0.0.1"),
        ] {
            assert!(same_site(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("app.example.com", "example.org"),
            ("a.co.uk", "b.co.uk"),
            ("localhost", "127.0.0.1"),
            ("10.0.0.1", "11.0.0.1"),
            ("com", "org"),
        ] {
            assert!(!same_site(a, b), "{a} {b}");
        }
    }
}
