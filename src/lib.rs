//! Portcullis: a reverse proxy that puts authentication in front of apps that stay as they are.
//!
//! This page is the map. Each room opens with what it is, why it exists and what must never happen in it;
//! `tests/rules/architecture.rs` holds the arrows below against the code.
//!
//! | room | what it is | may import |
//! |---|---|---|
//! | [`time`] | points in time, and the one place that reads the clock | |
//! | [`session`] | PURE: a session is one refresh-token family; rotate, end, merge; the revocation list | `time` |
//! | [`token`] | PURE: access and refresh tokens, the key set | `session time` |
//! | [`gate`] | PURE: the decision on a request | `token session time` |
//! | [`keys`] | the private JWK set file: made, read, rotated | `token time` |
//! | [`store`] | keeps sessions, publishes revocations, follows them | `session time` |
//! | [`login`] | who is this? | `time` |
//! | [`endpoints`] | `/login /refresh /logout /userinfo /jwks`: one use case a file | `gate token session store login time` |
//! | [`config`] | `proxy.yaml` to [`config::Config`] | |
//! | [`telemetry`] | metrics, log and audit trail; labels are closed enums | `gate endpoints session store time` |
//! | [`proxy`] | the Pingora side, the only room that names it | `gate endpoints telemetry token session store time` |
//! | [`admin`] | the operator's doors: metrics, health, readiness, sessions | `endpoints session store telemetry time` |
//! | [`server`] | composition root: `Config` to everything wired to run | all |
//! | [`cli`] | one subcommand a file | `server config keys login telemetry` |

pub mod admin;
pub mod cli;
pub mod config;
pub mod endpoints;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod gate;
pub mod keys;
pub mod login;
pub mod proxy;
pub mod server;
pub mod session;
pub mod store;
pub mod telemetry;
pub mod time;
pub mod token;
