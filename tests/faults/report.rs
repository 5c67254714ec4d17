//! The tables, as they stand in `docs/reliability.md`.

use std::process::ExitCode;
use std::time::Duration;

use crate::faulty::book::Kind;
use crate::faulty::watch::Outcome;

/// What is promised of a fault, beyond what always is.
#[derive(Clone, Copy, Debug)]
pub struct Promise {
    /// How old the news of logouts may be.
    pub max_staleness: Duration,
    /// No session may be lost.
    pub sessions_stay: bool,
    /// How soon after the end of the fault everything has to work.
    pub back_within: Duration,
}

impl Default for Promise {
    fn default() -> Promise {
        let [max_staleness, back_within] = [30, 2].map(Duration::from_secs);
        Promise { max_staleness, sessions_stay: true, back_within }
    }
}

/// What has been printed, and what was broken.
#[derive(Default)]
pub struct Report {
    broken: Vec<String>,
}

impl Report {
    /// The head of the table of faults.
    pub fn heading(&self) {
        println!(
            "\n| fault | protected calls | refreshes | logouts | logins | public calls | longest outage: protected, public \
             | slowest answer: public p99, protected, any | all well again after | sessions lost | logouts forgotten |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|---|");
    }

    /// A row of it.
    pub fn row(&mut self, name: &str, promise: Promise, outcome: &Outcome) {
        let seen = &outcome.seen;
        let of = |kind: Kind| seen.kinds.get(&kind).cloned().unwrap_or_default();
        let (public, protected) = (of(Kind::Public), of(Kind::Protected));
        let any = seen.kinds.values().map(|calls| calls.slowest()).max().unwrap_or_default();
        println!(
            "| {} | {} | {} | {} | {} | {} | {}, {} | {}, {}, {} | {} | {} | {} of {} |",
            name,
            protected,
            of(Kind::Refresh),
            of(Kind::Logout),
            of(Kind::Login),
            public,
            time(protected.outage),
            time(public.outage),
            time(public.percentile(99)),
            time(protected.slowest()),
            time(any),
            time(seen.back_after),
            lost(&seen.thrown_out),
            outcome.forgotten,
            outcome.tried,
        );
        let mut broken = outcome.broken_promises(promise.max_staleness);
        if promise.sessions_stay && !seen.thrown_out.is_empty() {
            broken.push(format!("sessions were lost: {}", lost(&seen.thrown_out)));
        }
        if seen.back_after > promise.back_within {
            broken.push(format!("all was well only {:?} after the end", seen.back_after));
        }
        self.broken(name, broken);
    }

    /// Promises that were broken.
    pub fn broken(&mut self, name: &str, broken: Vec<String>) {
        self.broken.extend(broken.into_iter().map(|what| format!("{name}: {what}")));
    }

    /// The last word.
    pub fn end(self) -> ExitCode {
        match self.broken.is_empty() {
            true => println!("\nEvery promise was kept."),
            false => println!("\nPromises that were broken:\n- {}", self.broken.join("\n- ")),
        }
        ExitCode::from(u8::from(!self.broken.is_empty()))
    }
}

/// A duration for people.
pub fn time(duration: Duration) -> String {
    match duration.as_secs_f64() {
        0.0 => "0".to_owned(),
        seconds if seconds < 0.0995 => format!("{:.1} ms", seconds * 1000.0),
        seconds if seconds < 0.9995 => format!("{:.0} ms", seconds * 1000.0),
        seconds => format!("{seconds:.1} s"),
    }
}

fn lost(thrown_out: &[String]) -> String {
    let mut kinds: Vec<&String> = thrown_out.iter().collect();
    kinds.sort();
    let counted = kinds.chunk_by(|one, other| one == other).map(|same| format!("{} ({})", same.len(), same[0]));
    let counted: Vec<String> = counted.collect();
    if counted.is_empty() { "none".to_owned() } else { counted.join(", ") }
}
