//! The answers of the admin listener, as a function of the request line.

use std::sync::Arc;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use serde_json::json;

use super::Readiness;
use crate::telemetry::Metrics;

/// What the admin listener can tell about.
pub struct State {
    /// Whether requests may come.
    pub readiness: Arc<Readiness>,
    /// The measurements.
    pub metrics: Arc<Metrics>,
}

const JSON: &str = "application/json";
/// The text format of Prometheus, version 0.0.4.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers a request. `HEAD` is answered like `GET`, without the body.
pub fn respond(method: &Method, path: &str, state: &State) -> Response<Vec<u8>> {
    let (status, content_type, body) = match path {
        "/metrics" | "/healthz" | "/readyz" if method != Method::GET && method != Method::HEAD => {
            (StatusCode::METHOD_NOT_ALLOWED, JSON, says("only GET and HEAD are allowed here"))
        }
        "/metrics" => (StatusCode::OK, EXPOSITION, state.metrics.render()),
        "/healthz" => (StatusCode::OK, JSON, says("alive")),
        "/readyz" => match state.readiness.check() {
            Ok(()) => (StatusCode::OK, JSON, says("ready")),
            Err(unready) => (StatusCode::SERVICE_UNAVAILABLE, JSON, says(unready.as_str())),
        },
        _ => (StatusCode::NOT_FOUND, JSON, says("there are /metrics, /healthz and /readyz here")),
    };
    let length = HeaderValue::from(body.len());
    let body = if method == Method::HEAD { Vec::new() } else { body.into_bytes() };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_LENGTH, length);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

fn says(status: &str) -> String {
    format!("{}\n", json!({ "status": status }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Mirror;

    fn state() -> (State, Arc<Mirror>) {
        let mirror = Arc::new(Mirror::new());
        let metrics = Arc::new(Metrics::new("1").unwrap());
        (State { readiness: Arc::new(Readiness::new(Arc::clone(&mirror))), metrics }, mirror)
    }

    fn get(path: &str, state: &State) -> (u16, String) {
        let response = respond(&Method::GET, path, state);
        (response.status().as_u16(), String::from_utf8(response.into_body()).unwrap())
    }

    #[test]
    fn metrics_are_shown_in_the_text_format() {
        let (state, _) = state();
        let response = respond(&Method::GET, "/metrics", &state);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
        let body = String::from_utf8(response.into_body()).unwrap();
        assert!(body.contains("portcullis_build_info{version=\"1\"} 1\n"), "{body}");
    }

    #[test]
    fn alive_at_once_and_ready_later() {
        let (state, mirror) = state();
        assert_eq!(get("/healthz", &state), (200, "{\"status\":\"alive\"}\n".to_owned()));
        let (status, body) = get("/readyz", &state);
        assert_eq!((status, body.lines().count()), (503, 1));
        state.readiness.set_configured();
        mirror.always_fresh();
        assert_eq!(get("/readyz", &state), (200, "{\"status\":\"ready\"}\n".to_owned()));
        state.readiness.set_draining();
        let (status, body) = get("/readyz", &state);
        assert!(status == 503 && body.contains("draining"), "{status} {body}");
        assert_eq!(get("/healthz", &state).0, 200);
    }

    #[test]
    fn head_is_get_without_the_body() {
        let (state, _) = state();
        for path in ["/metrics", "/healthz", "/readyz", "/"] {
            let (get, head) = (respond(&Method::GET, path, &state), respond(&Method::HEAD, path, &state));
            assert_eq!((get.status(), get.headers()), (head.status(), head.headers()), "{path}");
            assert_eq!(get.headers()[CONTENT_LENGTH], get.body().len().to_string(), "{path}");
            assert!(head.body().is_empty() && !get.body().is_empty(), "{path}");
        }
    }

    #[test]
    fn nothing_else_is_here_and_nothing_changes() {
        let (state, _) = state();
        for path in ["/", "", "/metrics/", "//metrics", "/Metrics", "/healthz/x", "/debug"] {
            assert_eq!(get(path, &state).0, 404, "{path}");
        }
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::TRACE] {
            let response = respond(&method, "/metrics", &state);
            assert_eq!(response.status(), 405, "{method}");
            assert_eq!(response.headers()[ALLOW], "GET, HEAD");
        }
    }
}
