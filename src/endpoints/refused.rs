//! A refusal on its way out, so that a use case can leave with `?`.

use crate::gate::{Reason, Reply};
use crate::store::{ChangeError, StoreError};

/// Why a use case ends early, and what the client is told.
pub(super) struct Refused {
    pub reason: Reason,
    pub reply: Reply,
}

impl Refused {
    /// The grant (password or refresh token) is no good: 400 `invalid_grant`.
    pub fn grant(reason: Reason) -> Refused {
        Refused { reason, reply: Reply::invalid_grant(reason) }
    }

    /// Anything else: the status is the reason's own.
    pub fn request(reason: Reason) -> Refused {
        Refused { reason, reply: Reply::refusal(reason) }
    }
}

/// Whatever ails the store: 503, and the client comes back with what it has.
impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Refused {
        tracing::warn!(%error, "answered 503, because the session could not be read or written");
        Refused::request(Reason::StoreUnavailable)
    }
}

impl From<ChangeError> for Refused {
    fn from(error: ChangeError) -> Refused {
        match error {
            ChangeError::Store(error) => error.into(),
            ChangeError::Contended => Refused::request(Reason::Overloaded),
        }
    }
}
