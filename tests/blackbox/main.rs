//! Portcullis seen from outside: the real binary, real clients, real stores, real backends.
//!
//! One crate, because linking is the dearest part. The invariants are those of the contract; each module says
//! which of them it tries to break. `harness` is the language that the stories are told in.

mod harness;

#[path = "../faults/faulty/mod.rs"]
#[allow(dead_code, reason = "the long bench uses the rest")]
mod faulty;

mod access_log;
mod attack;
mod certificates;
mod cors;
mod cross_site;
mod demo;
mod edge;
mod faults;
mod first_day;
mod framing;
mod handover;
mod history;
mod identity;
mod keys;
mod lifecycle;
mod limits;
mod live;
mod login;
mod login_page;
mod metrics;
mod native;
mod operations;
mod outage;
mod packaging;
mod pages;
mod paths;
mod process;
mod refresh;
mod reload;
mod secrets;
mod sessions;
mod single_page;
mod streams;
mod tickets;
mod tokens;
mod upstream_login;
mod upstreams;
