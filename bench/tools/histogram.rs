//! Durations, counted in buckets that are at most 1.6 % wide (as in an HDR histogram), so that nothing grows while it is measured.

use std::time::Duration;

use serde_json::{Value, json};

/// Each power of two is cut into so many buckets.
const STEPS: usize = 64;

pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub fn new() -> Histogram {
        Histogram { counts: vec![0; STEPS * 64], total: 0 }
    }

    pub fn record(&mut self, duration: Duration) {
        self.counts[bucket(duration.as_nanos() as u64)] += 1;
        self.total += 1;
    }

    /// The lower end of the bucket that the quantile falls into, in microseconds.
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        let wanted = (self.total as f64 * quantile).ceil().max(1.0) as u64;
        let mut seen = 0;
        let reaches = |count: &u64| {
            seen += count;
            seen >= wanted
        };
        self.counts.iter().position(reaches).map_or(0.0, |place| lower_end(place) as f64 / 1000.0)
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    pub fn add(&mut self, other: &Histogram) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.total += other.total;
    }

    pub fn to_json(&self) -> Value {
        json!({
            "count": self.total,
            "p50_us": self.quantile_us(0.5),
            "p99_us": self.quantile_us(0.99),
            "p999_us": self.quantile_us(0.999),
            "max_us": self.quantile_us(1.0),
        })
    }
}

fn bucket(value: u64) -> usize {
    match value.checked_ilog2() {
        None | Some(..6) => value as usize,
        Some(power) => {
            let shift = power - 6;
            (shift as usize + 1) * STEPS + (value >> shift) as usize - STEPS
        }
    }
}

fn lower_end(bucket: usize) -> u64 {
    match bucket / STEPS {
        0 => bucket as u64,
        row => ((bucket % STEPS + STEPS) as u64) << (row - 1),
    }
}
