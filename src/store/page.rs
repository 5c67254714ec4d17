//! All sessions of a store, a page at a time: for operators, never for a request.

use std::fmt;

use super::StoreError;
use crate::session::{Session, SessionId};

/// Some of the sessions. There may be few on a page, or none, and more on the next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// Sessions, living or not, in no order. A session can be on two pages.
    pub sessions: Vec<Session>,
    /// Where the next page begins; none: this is the last one.
    pub next: Option<Cursor>,
}

/// Where a page begins. Only the store that made it knows what it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cursor(Box<str>);

impl Cursor {
    /// From the text of one that [`Page::next`] held.
    pub fn from_text(text: &str) -> Cursor {
        Cursor(text.into())
    }

    pub(super) fn after(id: &SessionId) -> Cursor {
        Cursor(id.to_string().into())
    }

    /// The session after which the page begins.
    pub(super) fn session(&self) -> Result<SessionId, StoreError> {
        SessionId::parse(&self.0).map_err(|_| StoreError::CursorUnknown)
    }

    /// The numbers that it was made of.
    pub(super) fn numbers<const N: usize>(&self) -> Result<[u64; N], StoreError> {
        let numbers = self.0.split('.').map(str::parse).collect::<Result<Vec<u64>, _>>();
        numbers.ok().and_then(|numbers| numbers.try_into().ok()).ok_or(StoreError::CursorUnknown)
    }
}

impl<const N: usize> From<[u64; N]> for Cursor {
    fn from(numbers: [u64; N]) -> Cursor {
        Cursor(numbers.map(|number| number.to_string()).join(".").into())
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
