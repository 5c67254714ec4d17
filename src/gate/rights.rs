//! What a subject may do. Many tokens say the same of it, so it is kept once and shared by them.
//!
//! What must never happen in here: two sets of rights are taken for the same that are not; a role or scope reaches a header in
//! a form that an app could read as something else.

use std::hash::{BuildHasher, Hash, Hasher};

use http::HeaderValue;

use super::Reason;
use super::identity::header_value;
use crate::token::ClaimsRef;

/// The roles and scopes of a token, and the header values made of them.
#[derive(PartialEq, Eq, Debug)]
pub struct Rights {
    /// Claim `roles`.
    pub roles: Box<[Box<str>]>,
    /// Claim `scope` (RFC 8693 section 4.2), split at its spaces.
    pub scopes: Box<[Box<str>]>,
    /// The roles, joined by commas; none if there are no roles.
    pub roles_value: Option<HeaderValue>,
    /// The scopes, joined by spaces; none if there are no scopes.
    pub scopes_value: Option<HeaderValue>,
}

impl Rights {
    /// Those that the claims name. A role that cannot stand in a list unmistakably makes the token invalid: a comma in it
    /// (receivers split there), blanks at its ends (receivers trim them), or nothing.
    pub fn of(claims: &ClaimsRef<'_>) -> Result<Rights, Reason> {
        let is_list_item = |item: &str| !item.is_empty() && !item.contains(',') && item.trim() == item;
        if !claims.roles.iter().all(|role| is_list_item(role)) {
            return Err(Reason::TokenInvalid);
        }
        let roles: Box<[Box<str>]> = claims.roles.iter().map(|role| Box::from(&**role)).collect();
        let scopes: Box<[Box<str>]> = scopes(claims).map(Box::from).collect();
        let list = |items: &[Box<str>], separator: &str| match items.is_empty() {
            true => Ok(None),
            false => header_value(items.join(separator).into()).map(Some),
        };
        Ok(Rights { roles_value: list(&roles, ",")?, scopes_value: list(&scopes, " ")?, roles, scopes })
    }

    /// Are these exactly the rights that the claims name?
    pub fn are_of(&self, claims: &ClaimsRef<'_>) -> bool {
        self.roles.iter().map(|role| &**role).eq(claims.roles.iter().map(|role| &**role))
            && self.scopes.iter().map(|scope| &**scope).eq(scopes(claims))
    }

    /// A hash of the rights that the claims name. The same rights have the same one.
    pub fn hash_of(claims: &ClaimsRef<'_>, build: &impl BuildHasher) -> u64 {
        let mut hasher = build.build_hasher();
        claims.roles.len().hash(&mut hasher);
        claims.roles.iter().for_each(|role| role.hash(&mut hasher));
        scopes(claims).for_each(|scope| scope.hash(&mut hasher));
        hasher.finish()
    }
}

fn scopes<'a>(claims: &'a ClaimsRef<'_>) -> impl Iterator<Item = &'a str> {
    claims.scope.as_deref().unwrap_or_default().split(' ').filter(|scope| !scope.is_empty())
}
