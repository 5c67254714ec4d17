//! Sessions as lines for people.

use serde_json::Value;

/// Names of the columns.
pub(super) const HEAD: &str =
    "SESSION                 LOGIN                 ENDS                  ROTATED               GEN  USER";

/// A line of the table. The name comes last: it can have any length.
pub(super) fn row(session: &Value) -> String {
    format!(
        "{:22}  {:20}  {:20}  {:20}  {:>3}  {}",
        text(&session["session"]),
        time(&session["created_at"]),
        time(&session["ends_at"]),
        time(&session["rotated_at"]),
        text(&session["generation"]),
        text(&session["subject"]),
    )
}

/// All that is known of one session, a line each.
pub(super) fn sheet(session: &Value) -> String {
    let lines = [
        ("session", text(&session["session"])),
        ("user", text(&session["subject"])),
        ("state", text(&session["state"])),
        ("login", time(&session["created_at"])),
        ("ends", time(&session["ends_at"])),
        ("generation", text(&session["generation"])),
        ("rotated", time(&session["rotated_at"])),
        ("key", text(&session["key"])),
        ("ended", time(&session["ended_at"])),
        ("ended by", text(&session["ended_by"])),
    ];
    let lines = lines.iter().filter(|(_, value)| value != "-");
    lines.map(|(name, value)| format!("{name:12}{value}")).collect::<Vec<_>>().join("\n")
}

/// Names are whatever the users file says: what could move the cursor of a terminal is shown as an escape.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.chars().flat_map(shown).collect(),
        other => other.to_string(),
    }
}

fn shown(letter: char) -> Vec<char> {
    if letter.is_control() { letter.escape_default().collect() } else { vec![letter] }
}

/// Seconds since 1970 as RFC 3339 has them, in UTC.
fn time(seconds: &Value) -> String {
    let Some(seconds) = seconds.as_u64() else { return "-".to_owned() };
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Year, month and day of the Gregorian calendar. Years are counted from March, so that the day that is sometimes there
/// is the last one.
fn date(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + 719_468; // since 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months = (5 * day_of_year + 2) / 153; // since March
    let day = day_of_year - (153 * months + 2) / 5 + 1;
    let month = if months < 10 { months + 3 } else { months - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0_u64, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(time(&json!(seconds)), expected);
        }
        assert_eq!(time(&Value::Null), "-");
    }

    #[test]
    fn columns_stand_below_their_names() {
        let session = json!({ "session": "BwcHBwcHBwcHBwcHBwcHBw", "subject": "de\u{1b}[2Jmo", "created_at": 1_700_000_000,
                              "ends_at": 1_700_000_900, "generation": 7 });
        let row = row(&session);
        assert_eq!(row.find("2023"), HEAD.find("LOGIN"));
        assert_eq!(row.find("de\\u{1b}[2Jmo"), HEAD.find("USER"));
        assert_eq!(sheet(&session).lines().count(), 5, "{}", sheet(&session));
    }
}
