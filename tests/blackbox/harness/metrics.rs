//! The text format of Prometheus, as far as our tests read it.

/// All samples of one scrape.
pub struct Metrics {
    /// The text as it came.
    pub text: String,
}

impl Metrics {
    /// Takes over what `/metrics` answered.
    pub fn parse(text: &str) -> Metrics {
        Metrics { text: text.to_owned() }
    }

    /// The sum of all series of `name` whose labels contain each of `labels` (written `key="value"`); none if there is
    /// no such series.
    pub fn sum(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let mut values =
            self.samples(name).filter(|(set, _)| labels.iter().all(|label| set.contains(label))).peekable();
        values.peek()?;
        Some(values.map(|(_, value)| value).sum())
    }

    /// The label sets of all series of `name`, and their values.
    pub fn samples(&self, name: &str) -> impl Iterator<Item = (&str, f64)> {
        self.text.lines().filter(|line| !line.starts_with('#')).filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = match rest.strip_prefix('{') {
                Some(labelled) => labelled.rsplit_once("} ")?,
                None => ("", rest.strip_prefix(' ')?),
            };
            Some((labels, value.trim().parse().ok()?))
        })
    }
}
