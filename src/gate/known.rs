//! The fields of a head that are asked for at each request, all found in one pass.
//!
//! To ask the map for a name costs as much as to look at five fields, also if there is none, and several rooms ask for the
//! same names. What must never happen in here: a field of one of these names is overlooked.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Known {
    /// `Accept`.
    Accept,
    /// `Authorization`.
    Authorization,
    /// `Content-Length`.
    ContentLength,
    /// `Cookie`.
    Cookie,
    /// `Host`.
    Host,
    /// `Origin`.
    Origin,
    /// `traceparent`.
    Traceparent,
    /// `Transfer-Encoding`.
    TransferEncoding,
    /// `Upgrade`.
    Upgrade,
    /// `X-Request-Id`: the last one, by which they are counted.
    XRequestId,
}

const COUNT: usize = Known::XRequestId as usize + 1;

impl Known {
    fn of(name: &HeaderName) -> Option<Known> {
        Some(match name.as_str() {
            "accept" => Known::Accept,
            "authorization" => Known::Authorization,
            "content-length" => Known::ContentLength,
            "cookie" => Known::Cookie,
            "host" => Known::Host,
            "origin" => Known::Origin,
            "traceparent" => Known::Traceparent,
            "transfer-encoding" => Known::TransferEncoding,
            "upgrade" => Known::Upgrade,
            "x-request-id" => Known::XRequestId,
            _ => return None,
        })
    }
}

/// The fields of these names in one head.
#[derive(Clone, Copy, Debug)]
pub struct KnownFields<'a> {
    first: [Option<&'a HeaderValue>; COUNT],
    repeated: u16,
}

/// Two fields of one name, where there may be one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Repeated;

impl<'a> KnownFields<'a> {
    /// Finds them.
    pub fn of(headers: &'a HeaderMap) -> KnownFields<'a> {
        let mut fields = KnownFields { first: [None; COUNT], repeated: 0 };
        for (name, value) in headers {
            if let Some(known) = Known::of(name) {
                let first = &mut fields.first[known as usize];
                match first {
                    None => *first = Some(value),
                    Some(_) => fields.repeated |= 1 << known as u16,
                }
            }
        }
        fields
    }

    /// The first field of that name.
    pub fn first(&self, known: Known) -> Option<&'a HeaderValue> {
        self.first[known as usize]
    }

    /// The only field of that name, if there is one.
    pub fn only(&self, known: Known) -> Result<Option<&'a HeaderValue>, Repeated> {
        if self.repeated & 1 << known as u16 == 0 { Ok(self.first(known)) } else { Err(Repeated) }
    }

    /// Which of the names are there.
    pub fn names(&self) -> KnownNames {
        let there = self.first.iter().enumerate().filter(|(_, first)| first.is_some());
        KnownNames(there.fold(0, |names, (known, _)| names | 1 << known))
    }
}

/// Which of these names a head has: what can be kept of it beyond the head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KnownNames(u16);

impl KnownNames {
    /// Of a head that nobody has looked at: there may be any.
    pub const ANY: KnownNames = KnownNames(u16::MAX);

    /// Can there be a field of that name? If so, look for it.
    pub fn may_have(self, known: Known) -> bool {
        self.0 & 1 << known as u16 != 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [(Known, &str); COUNT] = [
        (Known::Accept, "accept"),
        (Known::Authorization, "authorization"),
        (Known::ContentLength, "content-length"),
        (Known::Cookie, "cookie"),
        (Known::Host, "host"),
        (Known::Origin, "origin"),
        (Known::Traceparent, "traceparent"),
        (Known::TransferEncoding, "transfer-encoding"),
        (Known::Upgrade, "upgrade"),
        (Known::XRequestId, "x-request-id"),
    ];

    proptest! {
        #[test]
        fn what_is_found_is_what_the_map_has(
            names in prop::collection::vec(
                prop_oneof![
                    (0..COUNT).prop_map(|at| ALL[at].1.to_owned()),
                    (0..COUNT).prop_map(|at| format!("{}x", ALL[at].1)),
                    "[a-z-]{1,17}",
                ],
                0..20,
            ),
        ) {
            let mut headers = HeaderMap::new();
            for (number, name) in names.iter().enumerate() {
                headers.append(name.parse::<HeaderName>().expect("a name"), HeaderValue::from(number));
            }
            let fields = KnownFields::of(&headers);
            for (known, name) in ALL {
                let expected = headers.get(name);
                prop_assert_eq!(fields.first(known), expected);
                let is_repeated = headers.get_all(name).iter().count() > 1;
                prop_assert_eq!(fields.only(known), if is_repeated { Err(Repeated) } else { Ok(expected) });
                prop_assert_eq!(fields.names().may_have(known), expected.is_some());
                prop_assert!(KnownNames::ANY.may_have(known));
            }
        }
    }
}
