//! Who calls: browsers with one cookie jar and several tabs, and thieves with copies.

use portcullis::session::SessionId;

/// A refresh token. Two of them are the same text if and only if all of this is the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token {
    pub session: SessionId,
    pub generation: u32,
    /// Which of the two MAC keys it was made with.
    pub key: u8,
    pub ends_at: u64,
    /// Its MAC is ours.
    pub genuine: bool,
}

/// An access token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    pub session: SessionId,
    pub generation: u32,
    pub expires_at: u64,
}

/// Somebody who calls.
pub struct Client {
    pub thief: bool,
    pub tabs: usize,
    /// A browser keeps the cookie that arrived last; a careful client the newest one.
    pub keeps_newest: bool,
    pub jar: Option<Token>,
    pub access: Option<Access>,
    /// What a tab still has that nobody told that the session is over.
    pub left_over: Option<(Token, Access)>,
    /// The newest generation that it has received of the session in its jar.
    pub newest: u32,
}

/// What is asked of a proxy.
#[derive(Clone, Copy, Debug)]
pub enum Wish {
    Login,
    Refresh(Token),
    Logout(Token),
    Call(Access),
}

/// A request, from its sending to the end of the schedule.
pub struct Request {
    pub client: usize,
    pub wish: Wish,
    pub proxy: usize,
    pub sent_at: u64,
    /// What it presents was the newest that its client had.
    pub newest: bool,
    /// When it was first judged.
    pub judged_at: Option<u64>,
    /// When its client got the answer.
    pub received_at: Option<u64>,
}

/// What a proxy answers.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// 200 with tokens.
    Tokens(Token, Access),
    /// 200 of a protected upstream.
    Passed,
    /// 204.
    LoggedOut,
    /// 400 or 401.
    Refused,
    /// 503.
    Unknown,
}
