//! Keeps an upstream's knowledge of its servers: addresses of names, and who works. Runs beside the requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora::connectors::http::Connector;
use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::endpoint::{Endpoint, State};
use super::{News, Upstream, probe};

/// How often names are resolved.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(5);
/// How long one resolution may take, and so how long a start may wait.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);
/// How many addresses of one name are used.
const ADDRESSES_MAX: usize = 64;
/// How often an address that a request could not reach is tried again, where no health check is configured.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How long such a try may take.
const RETRY_TIMEOUT: Duration = Duration::from_secs(2);
/// How often it is told how many requests are under way.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

impl Upstream {
    /// Resolves the names of all servers, in a few seconds at most. Where that fails, the last answer stays.
    pub async fn resolve(self: &Arc<Self>) {
        let mut looking = JoinSet::new();
        for number in 0..self.servers.len() {
            let upstream = Arc::clone(self);
            looking.spawn(async move { upstream.addresses_of(number).await });
        }
        let mut addresses: Vec<_> = looking.join_all().await.into_iter().flatten().collect();
        addresses.sort_unstable();
        self.use_addresses(&addresses);
    }

    async fn addresses_of(&self, number: usize) -> Vec<(usize, SocketAddr)> {
        let server = &self.servers[number].spec;
        let addresses = match server.literal() {
            Some(address) => vec![SocketAddr::new(address, server.port)],
            None => self.look_up(number).await,
        };
        addresses.into_iter().map(|address| (number, address)).collect()
    }

    /// The addresses of a server by name, or those that are in use if the name does not resolve now.
    async fn look_up(&self, number: usize) -> Vec<SocketAddr> {
        let server = &self.servers[number];
        let answer = timeout(RESOLVE_TIMEOUT, lookup_host((server.spec.bare_host(), server.spec.port))).await;
        let failure = match answer {
            Ok(Ok(addresses)) => {
                let mut addresses: Vec<_> = addresses.collect();
                addresses.sort_unstable();
                addresses.dedup();
                addresses.truncate(ADDRESSES_MAX);
                if !addresses.is_empty() {
                    if server.set_resolved(true) {
                        tracing::info!(upstream = self.name(), server = %server.spec, "the server's name resolves");
                    }
                    return addresses;
                }
                "the name has no address".to_owned()
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {RESOLVE_TIMEOUT:?}"),
        };
        if server.set_resolved(false) {
            tracing::warn!(upstream = self.name(), server = %server.spec, failure, "the server's name does not resolve; its last addresses stay in use");
        }
        let known = self.endpoints.load();
        known.iter().filter(|endpoint| endpoint.server == number).map(|endpoint| endpoint.address).collect()
    }

    /// Uses these addresses from now on. What is known of an address stays known.
    pub(super) fn use_addresses(&self, addresses: &[(usize, SocketAddr)]) {
        let known = self.endpoints.load();
        let is = |endpoint: &Endpoint, wanted: &(usize, SocketAddr)| (endpoint.server, endpoint.address) == *wanted;
        if known.len() == addresses.len() && known.iter().zip(addresses).all(|(endpoint, wanted)| is(endpoint, wanted))
        {
            return;
        }
        let endpoints = addresses.iter().map(|wanted| {
            let old = known.iter().find(|endpoint| is(endpoint, wanted)).map(Arc::clone);
            old.unwrap_or_else(|| {
                let (server, address) = *wanted;
                self.endpoint(server, address)
            })
        });
        self.endpoints.store(Arc::new(endpoints.collect()));
    }

    /// Resolves, checks and judges until dropped, and tells `report` what is found. `connector` is there if [`Upstream::needs_connector`].
    pub(super) async fn watch(self: &Arc<Self>, connector: Option<Arc<Connector>>, report: impl Fn(News)) {
        let resolving = async {
            loop {
                self.resolve().await;
                self.tell(&report);
                sleep(RESOLVE_INTERVAL).await;
            }
        };
        let checking = async {
            loop {
                self.check(connector.as_ref()).await;
                self.tell(&report);
                sleep(self.spec.health_check.as_ref().map_or(RETRY_INTERVAL, |check| check.interval)).await;
            }
        };
        let judging = self.keep_judging(|server| report(News::Ejected { server }));
        let telling = async {
            loop {
                report(News::UnderWay(self.under_way()));
                sleep(TELL_INTERVAL).await;
            }
        };
        tokio::join!(resolving, checking, judging, telling);
    }

    fn endpoint(&self, number: usize, address: SocketAddr) -> Arc<Endpoint> {
        let server = &self.servers[number].spec;
        Arc::new(Endpoint::new(number, address, self.peers.peer(server, address)))
    }

    fn tell(&self, report: &impl Fn(News)) {
        let endpoints = self.endpoints.load_full();
        for server in 0..self.servers.len() {
            let mut of_server = endpoints.iter().filter(|endpoint| endpoint.server == server);
            report(News::Up { server, up: of_server.any(|endpoint| endpoint.is_able()) });
        }
    }

    /// Checks all addresses at once; without a health check, only those that a request could not reach.
    async fn check(self: &Arc<Self>, connector: Option<&Arc<Connector>>) {
        let mut checks = JoinSet::new();
        for endpoint in self.endpoints.load().iter() {
            if self.spec.health_check.is_some() || endpoint.state() != State::Up {
                let (upstream, endpoint, connector) = (Arc::clone(self), Arc::clone(endpoint), connector.cloned());
                checks.spawn(async move { upstream.check_one(connector.as_deref(), &endpoint).await });
            }
        }
        while checks.join_next().await.is_some() {}
    }

    async fn check_one(&self, connector: Option<&Connector>, endpoint: &Endpoint) {
        let server = &self.servers[endpoint.server];
        let timeout = self.spec.health_check.as_ref().map_or(RETRY_TIMEOUT, |check| check.timeout);
        let path = self.spec.health_check.as_ref().and_then(|check| check.path.as_deref());
        let result = match (path, connector) {
            (Some(path), Some(connector)) => {
                probe::get(connector, &endpoint.peer, &server.host_field, path, timeout).await
            }
            (None, Some(connector)) if server.spec.tls => probe::handshake(connector, &endpoint.peer, timeout).await,
            _ => probe::connect(endpoint.address, timeout).await,
        };
        match result {
            Ok(()) if endpoint.reached() => {
                tracing::info!(upstream = self.name(), server = %server.spec, address = %endpoint.address, "the server is up");
            }
            Err(failure) if self.spec.health_check.is_some() && endpoint.check_failed() => {
                tracing::warn!(upstream = self.name(), server = %server.spec, address = %endpoint.address, failure, "the server is down");
            }
            Ok(()) | Err(_) => {}
        }
    }
}
