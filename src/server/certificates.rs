//! The certificates of all listeners: read, shown in a metric, and warned of before they run out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::error::StartError;
use crate::config::{Config, Listener};
use crate::proxy::{Certificate, CertificateError, Certificates, load_certificate};
use crate::telemetry::Metrics;
use crate::time::Timestamp;

/// So long before its end a certificate is warned of. Automatic renewal is usually done by then.
const WARN_BEFORE: Duration = Duration::from_secs(14 * DAY_S);
const WARN_EVERY: Duration = Duration::from_secs(DAY_S);
const DAY_S: u64 = 86_400;

/// Those of one configuration, listener by listener, in its order.
pub(super) struct Loaded {
    listeners: Vec<Vec<Certificate>>,
    /// The names of the files, and when what is in them runs out.
    files: Vec<(String, Timestamp)>,
}

impl Loaded {
    pub(super) fn read(config: &Config) -> Result<Loaded, CertificateError> {
        let mut files = Vec::new();
        let mut read = |listener: &Listener| {
            let certificates = listener.tls.iter().map(|tls| {
                let certificate = load_certificate(&tls.certificate, &tls.key)?;
                files.push((tls.certificate.display().to_string(), certificate.not_after));
                Ok(certificate)
            });
            certificates.collect()
        };
        let listeners = config.listen.iter().map(&mut read).collect::<Result<_, _>>()?;
        files.sort();
        files.dedup();
        Ok(Loaded { listeners, files })
    }

    /// One for each listener; none for plain http.
    pub(super) fn open(&self) -> Vec<Option<Arc<Certificates>>> {
        let open = |certificates: &Vec<Certificate>| {
            (!certificates.is_empty()).then(|| Arc::new(Certificates::new(certificates)))
        };
        self.listeners.iter().map(open).collect()
    }

    /// Shows these from now on. `open` are the listeners of the configuration that this one was made to fit.
    pub(super) fn show(&self, open: &[Option<Arc<Certificates>>]) {
        for (certificates, open) in self.listeners.iter().zip(open) {
            if let Some(open) = open {
                open.replace(certificates);
            }
        }
    }

    /// Says when they run out, and no more when those before them do.
    pub(super) fn measure(&self, metrics: &Metrics, before: Option<&Loaded>) -> Result<(), StartError> {
        for (file, not_after) in &self.files {
            metrics.certificate_loaded(file, *not_after)?;
        }
        let is_here = |file: &String| self.files.iter().any(|(own, _)| own == file);
        let before = before.map_or(&[][..], |before| &before.files);
        before.iter().filter(|(file, _)| !is_here(file)).for_each(|(file, _)| metrics.certificate_gone(file));
        Ok(())
    }
}

/// Warns of certificates that run out, of each once a day.
#[derive(Default)]
pub(super) struct Expiry {
    warned: HashMap<String, Timestamp>,
}

impl Expiry {
    /// What is to be said now: a file, and what about it.
    pub(super) fn warnings(&mut self, certificates: &Loaded, now: Timestamp) -> Vec<(String, String)> {
        self.about(&certificates.files, now)
    }

    fn about(&mut self, files: &[(String, Timestamp)], now: Timestamp) -> Vec<(String, String)> {
        let mut warnings = Vec::new();
        self.warned.retain(|_, at| now.since(*at) < WARN_EVERY);
        for (file, not_after) in files {
            if not_after.minus(WARN_BEFORE) > now || self.warned.contains_key(file) {
                continue;
            }
            self.warned.insert(file.clone(), now);
            let left_s = not_after.since(now).as_secs();
            let warning = match left_s / DAY_S {
                0 if left_s == 0 => "the certificate has expired: clients refuse it".to_owned(),
                0 => format!("the certificate expires in {} h", left_s / 3600),
                1 => "the certificate expires in 1 day".to_owned(),
                days => format!("the certificate expires in {days} days"),
            };
            warnings.push((file.clone(), warning));
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_certificate_is_warned_of_once_a_day() {
        let now = Timestamp::from_secs(1_700_000_000);
        let day = |days: u64| now.plus(Duration::from_secs(days * DAY_S));
        let files = |days: &[u64]| -> Vec<(String, Timestamp)> {
            days.iter().map(|days| (format!("{days}.pem"), day(*days))).collect()
        };
        let mut expiry = Expiry::default();
        let mut said = |days: &[u64], now: Timestamp| -> Vec<String> {
            expiry.about(&files(days), now).into_iter().map(|(file, what)| format!("{file}: {what}")).collect()
        };
        assert_eq!(said(&[15, 30], now), [""; 0]);
        assert_eq!(said(&[15, 13], now), ["13.pem: the certificate expires in 13 days"]);
        assert_eq!(said(&[15, 13], now.plus(Duration::from_secs(3600))), [""; 0]);
        let next = said(&[15, 13], day(1));
        assert_eq!(next, ["15.pem: the certificate expires in 14 days", "13.pem: the certificate expires in 12 days"]);
        // One that has been renewed is quiet, and another one is heard.
        let hour = day(13).minus(Duration::from_secs(7200));
        assert_eq!(said(&[60, 13], hour), ["13.pem: the certificate expires in 2 h"]);
        assert_eq!(said(&[60, 13], day(14)), ["13.pem: the certificate has expired: clients refuse it"]);
    }
}
