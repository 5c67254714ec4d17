//! Durations and sizes: a whole number and a unit.

use std::time::Duration;

use super::asked::Question;
use super::item::Item;

const MS: u64 = 1;
const S: u64 = 1000;
const M: u64 = 60 * S;
const H: u64 = 60 * M;
const D: u64 = 24 * H;

/// Units of time in milliseconds, the greatest first.
const TIME_UNITS: [(&str, u64); 5] = [("d", D), ("h", H), ("m", M), ("s", S), ("ms", MS)];

/// Units of size in bytes.
const SIZE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("B", 1),
];

impl Item<'_> {
    /// A duration between two others.
    pub fn duration(self, least: Duration, most: Duration) -> Option<Duration> {
        let want = format!("a duration from {} to {}, such as `30s`", shortest(least), shortest(most));
        self.asks(|| Question::Duration(want.clone()));
        let duration = self.parse_as(&want, |text| {
            amount(text, &TIME_UNITS)
                .map(Duration::from_millis)
                .ok_or_else(|| format!("is no duration; write {want} (units: ms, s, m, h, d)"))
        })?;
        if (least..=most).contains(&duration) {
            return Some(duration);
        }
        self.error(format!("{} is out of bounds; write {want}", self.shown()));
        None
    }

    /// A number of bytes between two others.
    pub fn size(self, least: u64, most: u64) -> Option<u64> {
        let want = "a size such as `64KiB` or `10MiB`";
        self.asks(|| Question::Size(want.to_owned()));
        let size = self.parse_as(want, |text| {
            amount(text, &SIZE_UNITS)
                .ok_or_else(|| format!("is no size; write {want} (units: B, kB, KiB, MB, MiB, GB, GiB)"))
        })?;
        if (least..=most).contains(&size) {
            return Some(size);
        }
        self.error(format!("{} is out of bounds; write a size from {least}B to {most}B", self.shown()));
        None
    }
}

/// A number of bytes.
pub(super) fn bytes(text: &str) -> Option<u64> {
    amount(text, &SIZE_UNITS)
}

/// The units of time, as a regular expression has them.
pub(super) fn time_units() -> String {
    TIME_UNITS.map(|(unit, _)| unit).join("|")
}

/// The units of size, as a regular expression has them.
pub(super) fn size_units() -> String {
    SIZE_UNITS.map(|(unit, _)| unit).join("|")
}

fn amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// A duration in the greatest unit that leaves a whole number.
fn shortest(duration: Duration) -> String {
    let millis = duration.as_millis() as u64;
    let fitting = TIME_UNITS.iter().find(|(_, factor)| millis > 0 && millis.is_multiple_of(*factor));
    fitting.map_or("0s".to_owned(), |(unit, factor)| format!("{}{unit}", millis / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_a_number_and_a_unit() {
        for (text, millis) in [("500ms", 500), ("0s", 0), ("15m", 900_000), ("1h", 3_600_000), ("30d", 2_592_000_000)] {
            assert_eq!(amount(text, &TIME_UNITS), Some(millis), "{text}");
            assert!(millis == 0 || shortest(Duration::from_millis(millis)) == text);
        }
        for text in ["", "5", "s", "-5s", "5 s", "1.5s", "5S", "5min", "1h30m", "99999999999999999d"] {
            assert_eq!(amount(text, &TIME_UNITS), None, "{text}");
        }
        assert_eq!(amount("1MiB", &SIZE_UNITS), Some(1_048_576));
        assert_eq!(amount("1mb", &SIZE_UNITS), None);
    }
}
