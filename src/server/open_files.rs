//! The limit of open files: as high as this process may have it, and a warning if that is too low for what is configured.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Listeners, logs, the store, and connections that are not of clients.
const BESIDE: u64 = 256;

/// Raises the soft limit to the hard one. A connection of a client may need another one to an app, but not all of
/// them ask at the same time.
pub(super) fn raise_limit(connections: usize) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        warn!(%error, "the limit of open files cannot be raised");
    }
    let wanted = connections as u64 * 3 / 2 + BESIDE;
    if let Some(limit) = getrlimit(Resource::Nofile).current.filter(|limit| *limit < wanted) {
        warn!(
            "this process may have {limit} files open, and limits.connections is {connections}, which can take {wanted}: \
             raise the limit (LimitNOFILE= in a unit, `ulimit -n` in a shell), or lower limits.connections"
        );
    }
}
