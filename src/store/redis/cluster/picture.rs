//! Who owns which slot, from what the nodes of a cluster say.
//!
//! Each failover gives the winner a higher config epoch than any node had before, and most of the primaries have to vote
//! for it. So among those who claim a slot the highest epoch is right; and when most primaries have answered, one of them
//! has voted in the latest failover.
//!
//! Pure. What must never happen in here: a minority says who owns a slot.

use std::ops::RangeInclusive;

use redis::{ErrorKind, RedisError, RedisResult};

use crate::store::redis::dialer::{Address, Named};

/// The cluster as one node sees it: what it answers to `CLUSTER NODES`.
pub(super) struct View {
    /// The id of the node itself.
    me: String,
    primaries: Vec<Primary>,
}

/// A primary with slots. Others own nothing and have no vote.
#[derive(Clone)]
struct Primary {
    id: String,
    address: Address,
    /// Its config epoch.
    epoch: u64,
    slots: Vec<RangeInclusive<u16>>,
}

impl View {
    /// From the answer of the node that was asked at `asked`. With TLS a node goes by the name that it announces, if it
    /// does: its certificate is for that.
    pub(super) fn read(text: &str, asked: &Address, tls: bool) -> Option<View> {
        let (mut me, mut primaries) = (None, Vec::new());
        for line in text.lines() {
            let mut fields = line.split(' ');
            let (id, address, flags) = (fields.next()?, fields.next()?, fields.next()?);
            let flag = |name: &str| flags.split(',').any(|flag| flag == name);
            if flag("myself") {
                me = Some(id.to_owned());
            }
            if !flag("master") {
                continue;
            }
            let epoch = fields.nth(3)?.parse().ok()?;
            // In brackets are slots that are on their way to or from another node; who owns them is said without.
            let slots: Vec<_> =
                fields.skip(1).filter(|slots| !slots.starts_with('[')).map(range).collect::<Option<_>>()?;
            if !slots.is_empty() {
                let address = self::address(address, asked, tls)?;
                primaries.push(Primary { id: id.to_owned(), address, epoch, slots });
            }
        }
        Some(View { me: me?, primaries })
    }

    /// Where the primaries are that it knows.
    pub(super) fn primaries(&self) -> impl Iterator<Item = &Address> {
        self.primaries.iter().map(|primary| &primary.address)
    }

    /// Which of two views is the newer one: the latest failover has the highest epoch.
    fn version(&self) -> (u64, usize) {
        let latest = self.primaries.iter().map(|primary| primary.epoch).max().unwrap_or_default();
        (latest, self.primaries.len())
    }
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

/// `10.0.0.7:6379@16379,name.example,shard-id=...`; a node that has never been met does not know its own IP.
fn address(text: &str, asked: &Address, tls: bool) -> Option<Address> {
    let mut parts = text.split(',');
    let (host, port) = parts.next()?.split('@').next()?.rsplit_once(':')?;
    let announced = parts.next().filter(|name| tls && !name.is_empty() && !name.contains('='));
    let host = match (announced, host) {
        (Some(name), _) => name,
        (None, "") => &asked.0,
        (None, host) => host,
    };
    Some((host.to_owned(), port.parse().ok()?))
}

/// What all nodes that have answered say together.
#[derive(Default)]
pub(super) struct Picture {
    views: Vec<View>,
}

impl Picture {
    pub(super) fn add(&mut self, view: View) {
        self.views.push(view);
    }

    /// The primaries of the newest view.
    pub(super) fn primaries(&self) -> impl Iterator<Item = &Address> {
        self.newest().into_iter().flat_map(View::primaries)
    }

    fn newest(&self) -> Option<&View> {
        self.views.iter().max_by_key(|view| view.version())
    }

    /// How many of the primaries have answered, and how many there are.
    pub(super) fn answered(&self) -> (usize, usize) {
        let primaries = self.newest().map(|view| view.primaries.as_slice()).unwrap_or_default();
        let has_answered = |primary: &&Primary| self.views.iter().any(|view| view.me == primary.id);
        (primaries.iter().filter(has_answered).count(), primaries.len())
    }

    /// Have most of the primaries answered?
    pub(super) fn is_of_most(&self) -> bool {
        let (some, all) = self.answered();
        some * 2 > all
    }

    /// Who owns the slot.
    pub(super) fn owner(&self, slot: u16) -> RedisResult<Named> {
        let claims = self.views.iter().flat_map(|view| &view.primaries);
        let claims: Vec<_> = claims.filter(|primary| primary.slots.iter().any(|range| range.contains(&slot))).collect();
        let Some(latest) = claims.iter().max_by_key(|primary| primary.epoch) else {
            return Err(RedisError::from((ErrorKind::Io, "no node of the cluster owns the slot", slot.to_string())));
        };
        match claims.iter().find(|other| other.epoch == latest.epoch && other.id != latest.id) {
            None => Ok(Named { address: latest.address.clone(), epoch: latest.epoch }),
            Some(other) => {
                let detail = format!("{slot}: {:?} or {:?}", latest.address, other.address);
                Err((ErrorKind::Io, "the nodes of the cluster do not agree who owns the slot", detail).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Address {
        ("asked".to_owned(), 7000)
    }

    /// What node `me` says. Each primary: its name (which is also its host), its epoch and its slots.
    fn view(me: &str, primaries: &[(&str, u64, &str)]) -> View {
        let line = |(id, epoch, slots): &(&str, u64, &str)| {
            let myself = if *id == me { "myself," } else { "" };
            format!("{id} {id}:6379@16379 {myself}master - 0 0 {epoch} connected {slots}\n")
        };
        let mut text: String = primaries.iter().map(line).collect();
        if !primaries.iter().any(|(id, ..)| *id == me) {
            text += &format!("{me} {me}:6379@16379 myself,slave a 0 0 1 connected\n");
        }
        View::read(&text, &asked(), false).unwrap()
    }

    fn picture<const N: usize>(views: [View; N]) -> Picture {
        Picture { views: views.into() }
    }

    fn owner(picture: &Picture, slot: u16) -> Option<String> {
        picture.owner(slot).ok().map(|named| named.address.0)
    }

    #[test]
    fn a_node_s_answer_is_read() {
        let text = "aaa 10.0.0.1:6379@16379,one.example,shard-id=x myself,master - 0 0 3 connected 0-99 101 [102->-bbb] [93-<-bbb]\n\
                    bbb 10.0.0.2:6380@16380,,tls-port=0 slave aaa 0 1692 3 connected\n\
                    ccc ::1:6381@16381 master,fail? - 1 1 7 disconnected 5000-16383\n\
                    ddd :0@0 master,noaddr - 1 1 2 disconnected\n";
        let view = View::read(text, &asked(), false).unwrap();
        assert_eq!(view.me, "aaa");
        let found: Vec<_> = view.primaries().map(|(host, port)| format!("{host} {port}")).collect();
        assert_eq!(found, ["10.0.0.1 6379", "::1 6381"]);
        let picture = picture([view]);
        let owned = [0, 99, 101, 5000, 16383].map(|slot| picture.owner(slot).unwrap().epoch);
        assert_eq!(owned, [3, 3, 3, 7, 7]);
        for free in [100, 102] {
            assert!(picture.owner(free).is_err(), "{free}");
        }

        let first = |text: &str, tls| {
            View::read(text, &asked(), tls).unwrap().primaries().next().map(|(host, _)| host.clone()).unwrap()
        };
        assert_eq!(first(text, true), "one.example");
        assert_eq!(first("a :7000@17000 myself,master - 0 0 1 connected 0-16383", false), "asked");
        for wrong in
            ["", "OK", "a b:1@2 myself,master - 0 0 x connected 1", "a b:1@2 myself,master - 0 0 1 connected y"]
        {
            assert!(View::read(wrong, &asked(), false).is_none(), "{wrong}");
        }
    }

    #[test]
    fn most_of_the_primaries_have_to_answer() {
        const THREE: [(&str, u64, &str); 3] = [("a", 1, "0-9"), ("b", 2, "10-19"), ("c", 3, "20-29")];
        assert!(!Picture::default().is_of_most());
        assert!(!picture([view("a", &THREE)]).is_of_most());
        assert!(!picture([view("a", &THREE), view("a", &THREE)]).is_of_most(), "twice the same node");
        assert!(
            !picture([view("a", &THREE), view("x", &THREE), view("y", &THREE)]).is_of_most(),
            "replicas do not vote"
        );
        let both = picture([view("a", &THREE), view("c", &THREE)]);
        assert!(both.is_of_most());
        assert_eq!(both.answered(), (2, 3));
        assert!(picture([view("a", &[("a", 0, "0-16383")])]).is_of_most());
    }

    #[test]
    fn the_latest_failover_counts_however_few_know_of_it() {
        let before = [("a", 1, "0-9"), ("b", 2, "10-19"), ("c", 3, "20-29")];
        let after = [("a2", 4, "0-9"), ("b", 2, "10-19"), ("c", 3, "20-29")];
        let one_knows = picture([view("a", &before), view("b", &before), view("c", &after)]);
        assert_eq!(owner(&one_knows, 5).as_deref(), Some("a2"));
        assert!(one_knows.is_of_most());
        // Those of the past have no vote any more: two of the three are not most of the new ones.
        assert!(!picture([view("a", &before), view("c", &after)]).is_of_most());
    }

    #[test]
    fn a_slot_of_two_owners_has_none() {
        let claims = picture([view("a", &[("a", 4, "0-9"), ("b", 4, "10-19")]), view("b", &[("b", 4, "0-19")])]);
        assert!(claims.owner(5).is_err());
        assert_eq!(owner(&claims, 15).as_deref(), Some("b"));
        // A slot that was moved belongs to the one with the higher epoch: it is given one for that.
        let moved = picture([view("a", &[("a", 4, "0-9")]), view("b", &[("b", 5, "5-19")])]);
        assert_eq!(owner(&moved, 5).as_deref(), Some("b"));
        assert_eq!(owner(&moved, 4).as_deref(), Some("a"));
    }
}
