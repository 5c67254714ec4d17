//! Bounds on what strangers may do.

use std::time::Duration;

use super::{MINUTE, seconds};
use crate::config::checked::{Limits, Rate};
use crate::config::item::{Item, Table};
use crate::config::schema;

const WANT_RATE: &str = "a rate such as `500/s` or `60/m`, or `none`";
const WANT_BODY_RATE: &str = "a rate such as `240B/s`, or `none`";

pub(super) fn limits(top: &Table<'_>) -> Limits {
    let table = top.section("limits", schema::LIMITS);
    let duration = |key, most, default| {
        table.get(key).and_then(|item| item.duration(seconds(1), seconds(most))).unwrap_or(seconds(default))
    };
    let number = |key, least, most, default| {
        table.get(key).and_then(|item: Item<'_>| item.number(least, most)).unwrap_or(default)
    };
    let connections = number("connections", 1, 1_000_000, 10_000) as usize;
    Limits {
        connections,
        connections_per_address: or_none(table.get("connections_per_address"), 1000, |item| {
            item.number(1, 1_000_000).and_then(|number| number.try_into().ok())
        }),
        requests: or_none(table.get("requests"), connections, |item| {
            item.number(1, 10_000_000).map(|number| number as usize)
        }),
        requests_per_address: or_none(
            table.get("requests_per_address"),
            Rate { count: 1000, period: seconds(1) },
            |item| item.parse(WANT_RATE, rate),
        ),
        streams: number("streams", 1, 10_000, 100) as u32,
        tls_timeout: duration("tls_timeout", 60, 10),
        // The parser below stops at 1 MiB and 256 fields whatever is written here.
        header_size_bytes: table.get("header_size").and_then(|item| item.size(1 << 10, 1 << 20)).unwrap_or(32 << 10)
            as usize,
        header_count: number("header_count", 10, 256, 100) as usize,
        header_timeout: duration("header_timeout", 600, 10),
        body_size_bytes: table.get("body_size").and_then(|item| item.size(0, 1 << 50)),
        body_timeout: duration("body_timeout", 3600, 30),
        body_rate: or_none(table.get("body_rate"), 240, body_rate),
        keep_alive: duration("keep_alive", 3600, 60),
    }
}

/// `none`, or what `read` makes of it.
fn or_none<T>(item: Option<Item<'_>>, default: T, read: impl FnOnce(Item<'_>) -> Option<T>) -> Option<T> {
    match item {
        Some(item) if item.as_text() == Some("none") => None,
        Some(item) => Some(read(item).unwrap_or(default)),
        None => Some(default),
    }
}

fn rate(text: &str) -> Result<Rate, String> {
    let (count, unit) = text.split_once('/').unwrap_or((text, ""));
    let period: Option<Duration> =
        [("s", seconds(1)), ("m", MINUTE)].into_iter().find(|(name, _)| *name == unit).map(|(_, it)| it);
    match (count.parse(), period) {
        (Ok(count @ 1..=1_000_000), Some(period)) if !text.starts_with('+') => Ok(Rate { count, period }),
        _ => Err(format!("is no rate; write {WANT_RATE}, with at most 1000000")),
    }
}

fn body_rate(item: Item<'_>) -> Option<u64> {
    item.parse(WANT_BODY_RATE, |text| {
        let bytes = text.strip_suffix("/s").and_then(crate::config::scalars::bytes);
        bytes.filter(|bytes| (1..=1 << 30).contains(bytes)).ok_or(format!("is no rate; write {WANT_BODY_RATE}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_a_number_and_a_unit() {
        for (text, count, period) in [("500/s", 500, seconds(1)), ("60/m", 60, MINUTE), ("1/s", 1, seconds(1))] {
            assert_eq!(rate(text), Ok(Rate { count, period }), "{text}");
        }
        for text in ["", "500", "/s", "0/s", "-1/s", "+1/s", "1.5/s", "500/h", "500 /s", "500/s/s", "2000000/s"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
