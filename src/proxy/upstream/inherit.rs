//! What an upstream takes over from the one of the same name in the configuration before it: addresses, and who works.
//!
//! What must never happen in here: a server gets a request because of what is known of another one.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Upstream;
use super::endpoint::Endpoint;

impl Upstream {
    /// The upstream to go on with: `before` itself if nothing has changed, with its connections and its turns.
    pub(super) fn inherit(mut self, before: Option<&Arc<Upstream>>) -> Arc<Upstream> {
        let Some(before) = before else { return Arc::new(self) };
        if self.peers.are_those_of(&before.peers) {
            return Arc::clone(before);
        }
        self.under_way = Arc::clone(&before.under_way);
        let known = before.endpoints.load();
        let kept: Vec<(usize, &Endpoint)> =
            known.iter().filter_map(|old| Some((self.number_of(before, old)?, &**old))).collect();
        let own = self.endpoints.load_full();
        let mut addresses: Vec<(usize, SocketAddr)> = own.iter().map(|new| (new.server, new.address)).collect();
        addresses.extend(kept.iter().map(|(server, old)| (*server, old.address)));
        addresses.sort_unstable();
        addresses.dedup();
        self.use_addresses(&addresses);
        for new in self.endpoints.load().iter() {
            let old = kept.iter().find(|(server, old)| (*server, old.address) == (new.server, new.address));
            if let Some((_, old)) = old {
                new.inherit(old);
                if self.spec.ejection.is_none() {
                    // Nobody judges it any more, and so nobody would take it back.
                    new.take_back(0);
                }
            }
        }
        Arc::new(self)
    }

    /// The number that the server of an endpoint of `before` has here, if it is here.
    fn number_of(&self, before: &Upstream, old: &Endpoint) -> Option<usize> {
        let spec = &before.servers.get(old.server)?.spec;
        self.servers.iter().position(|server| server.spec == *spec)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::endpoint::State;
    use super::super::{Balance, ServerSpec, UpstreamSpec};
    use super::*;

    fn upstream(connect_timeout_s: u64, hosts: &[&str]) -> Upstream {
        let server = |host: &&str| ServerSpec { host: (*host).to_owned(), port: 80, tls: false };
        let spec = UpstreamSpec {
            name: "app".to_owned(),
            servers: hosts.iter().map(server).collect(),
            balance: Balance::RoundRobin,
            health_check: None,
            ejection: None,
            retries: 1,
            requests_max: None,
            connect_timeout: Duration::from_secs(connect_timeout_s),
            read_timeout: None,
            write_timeout: Duration::from_secs(1),
            idle_timeout: Some(Duration::from_secs(1)),
            server_name: None,
            ca_file: None,
            client_certificate: None,
            http2: false,
        };
        Upstream::new(spec).unwrap()
    }

    fn states(upstream: &Upstream) -> Vec<(String, State)> {
        let endpoints = upstream.endpoints.load();
        endpoints.iter().map(|endpoint| (endpoint.address.ip().to_string(), endpoint.state())).collect()
    }

    #[test]
    fn what_has_not_changed_goes_on_as_it_is() {
        let before = upstream(1, &["192.0.2.1"]).inherit(None);
        assert!(Arc::ptr_eq(&upstream(1, &["192.0.2.1"]).inherit(Some(&before)), &before));
    }

    #[test]
    fn what_is_known_of_a_server_stays_known_and_is_held_against_no_other() {
        let before = upstream(1, &["192.0.2.1", "192.0.2.2", "app.internal"]).inherit(None);
        before.use_addresses(&[
            (0, ([192, 0, 2, 1], 80).into()),
            (1, ([192, 0, 2, 2], 80).into()),
            (2, ([192, 0, 2, 9], 80).into()),
        ]);
        for endpoint in before.endpoints.load().iter().skip(1) {
            endpoint.connect_failed();
        }
        // Another order, one gone, one new, and another timeout: the name has not been looked up again.
        let after = upstream(2, &["192.0.2.3", "app.internal", "192.0.2.2"]).inherit(Some(&before));
        let expected = [("192.0.2.3", State::Up), ("192.0.2.9", State::Suspect), ("192.0.2.2", State::Suspect)];
        assert_eq!(states(&after), expected.map(|(address, state)| (address.to_owned(), state)));
    }
}
