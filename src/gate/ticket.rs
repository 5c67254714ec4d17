//! Tickets: for sockets and streams of events of browsers that hold bearer tokens. No script can add a header there, and an
//! access token must not stand in a URL (RFC 9700 section 4.3.2). A ticket may: it is good for one request, within seconds.

use super::Reason;

/// The parameter of the query that carries it.
const NAME: &[u8] = b"ticket";

/// The ticket in a request target; none if there is none. Refused: two of them, and what is no ticket.
pub fn ticket(target: &[u8]) -> Result<Option<&str>, Reason> {
    let Some(query) = target.iter().position(|&byte| byte == b'?').map(|at| &target[at + 1..]) else { return Ok(None) };
    let mut tickets = query.split(|&byte| byte == b'&').filter_map(|pair| match pair.split_at_checked(NAME.len()) {
        Some((NAME, [b'=', ticket @ ..])) => Some(ticket),
        _ => None,
    });
    let Some(ticket) = tickets.next() else { return Ok(None) };
    if tickets.next().is_some() {
        return Err(Reason::CredentialsAmbiguous);
    }
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'_';
    match std::str::from_utf8(ticket) {
        Ok(ticket) if !ticket.is_empty() && ticket.bytes().all(|byte| is_plain(&byte)) => Ok(Some(ticket)),
        _ => Err(Reason::TokenMalformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_ticket_is_found_and_never_two() {
        for (target, found) in [
            ("/a", Ok(None)),
            ("/ticket=x", Ok(None)),
            ("/a?", Ok(None)),
            ("/a?ticket", Ok(None)),
            ("/a?tickets=x&xticket=y&Ticket=z", Ok(None)),
            ("/a?ticket=A-b_9", Ok(Some("A-b_9"))),
            ("/a?b=1&ticket=x&c=2", Ok(Some("x"))),
            ("/a?ticket=x&ticket=x", Err(Reason::CredentialsAmbiguous)),
            ("/a?ticket=", Err(Reason::TokenMalformed)),
            ("/a?ticket=%41", Err(Reason::TokenMalformed)),
            ("/a?ticket=x;ticket=y", Err(Reason::TokenMalformed)),
            ("/a?ticket=x#y", Err(Reason::TokenMalformed)),
        ] {
            assert_eq!(ticket(target.as_bytes()), found, "{target}");
        }
    }
}
