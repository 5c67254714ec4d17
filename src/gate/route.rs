//! Which rule holds for a host, a path and a method.
//!
//! The most specific rule wins, and specificity is explicit: first the host (exact, then the longest wildcard, then
//! any), then the path (exact, then the longest prefix), then the method (named, then any). There is no falling back to a
//! less specific host or path when a more specific one matches without the method: that would let `POST /admin` in by
//! the rule for `/`.

use foldhash::HashMap;
use http::{HeaderName, Method};

/// Whether a route wants to know who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Auth {
    /// Everybody; what the client sends in `Authorization` is the app's own business.
    Public,
    /// Everybody; a token, when there is one, must be good, and the app learns whose it is.
    Optional,
    /// Only who has a good token.
    Required,
}

/// Where a route takes access tokens from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// From a header (RFC 6750 section 2.1).
    pub header: bool,
    /// From a cookie.
    pub cookie: bool,
    /// By a ticket in the query, which was got for one.
    pub ticket: bool,
}

/// Which hosts a route is for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum HostPattern {
    /// All of them.
    Any,
    /// This one.
    Exact(String),
    /// Those that end with a dot and this.
    Below(String),
}

/// Which paths a route is for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum PathPattern {
    /// This one, with or without a slash at its end: backends take both for the same.
    Exact(String),
    /// This one and those below it. A prefix ends at a segment: `/public` is not a prefix of `/publicx`. With a slash at
    /// its end it means only those below.
    Prefix(String),
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name in metrics and logs.
    pub name: String,
    /// Its hosts.
    pub host: HostPattern,
    /// Its paths.
    pub path: PathPattern,
    /// Its methods; empty for all.
    pub methods: Vec<Method>,
    /// Which upstream it leads to: an index that only the composition root can read.
    pub upstream: usize,
    /// Who may pass.
    pub auth: Auth,
    /// One of these roles is needed, if there are any.
    pub roles_any: Vec<String>,
    /// All of these roles are needed.
    pub roles_all: Vec<String>,
    /// All of these scopes are needed.
    pub scopes: Vec<String>,
    /// Where access tokens are taken from.
    pub credentials: Credentials,
    /// The header that carries our token: `Authorization`, or another one so that the app can have that for itself.
    pub token_header: HeaderName,
    /// The app gets `Authorization` as the client sent it.
    pub keep_authorization: bool,
    /// The path may hold encoded slashes.
    pub encoded_slashes: bool,
}

/// Two rules for the same host, path and method.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the routes {first:?} and {second:?} match the same requests (upper and lower case count as the same)")]
pub struct DuplicateRoute {
    /// The name of the first.
    pub first: String,
    /// The name of the second.
    pub second: String,
}

/// What the rules say about a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Match<'t> {
    /// This rule: an index into [`RouteTable::routes`].
    Route(usize),
    /// There are rules for this host and path, for other methods: their indices.
    OtherMethods(&'t [usize]),
    /// No rule.
    None,
}

/// All rules, compiled. Its cost does not grow with their number.
pub struct RouteTable {
    routes: Vec<Route>,
    patterns: Patterns,
    /// The same with all paths in lower case, as a backend that folds case reads them; none if they are so already.
    folded: Option<Patterns>,
}

/// The patterns of all rules, by host.
#[derive(Default)]
struct Patterns {
    exact_hosts: HashMap<Vec<u8>, Paths>,
    wildcard_hosts: HashMap<Vec<u8>, Paths>,
    any_host: Paths,
}

/// The rules of one host. A value lists the rules of one pattern, those that name methods first.
#[derive(Default)]
struct Paths {
    exact: RulesByPath,
    prefix: RulesByPath,
    below: RulesByPath,
}

/// Rules by a path that stands for their pattern.
#[derive(Default)]
struct RulesByPath {
    rules: HashMap<Vec<u8>, Vec<usize>>,
    /// How long the paths are, a bit for each length: most of what is looked for is as long as none, and need not be hashed.
    lengths: u64,
}

impl RouteTable {
    /// Compiles the rules. Two rules whose paths differ in nothing but case are duplicates: a backend that folds case could
    /// not be protected by them.
    pub fn new(routes: Vec<Route>) -> Result<RouteTable, DuplicateRoute> {
        let folded = Patterns::compile(&routes, str::to_ascii_lowercase)?;
        let has_upper_case = routes.iter().any(|route| route.path.text().bytes().any(|byte| byte.is_ascii_uppercase()));
        let (patterns, folded) = match has_upper_case {
            true => (Patterns::compile(&routes, str::to_owned)?, Some(folded)),
            false => (folded, None),
        };
        Ok(RouteTable { routes, patterns, folded })
    }

    /// The rules, in the order in which they were given.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Do the rules' paths have upper-case letters, so that a path in lower case can be read as theirs?
    pub fn has_upper_case(&self) -> bool {
        self.folded.is_some()
    }

    /// The rule for a request. `host` is in lower case, without a port; `path` is percent-decoded.
    pub fn find(&self, host: &[u8], path: &[u8], method: &Method) -> Match<'_> {
        self.choose(&self.patterns, host, path, method)
    }

    /// The rule for a request in the eyes of a backend that folds case; `path` is in lower case.
    pub fn find_folded(&self, host: &[u8], path: &[u8], method: &Method) -> Match<'_> {
        self.choose(self.folded.as_ref().unwrap_or(&self.patterns), host, path, method)
    }

    fn choose<'t>(&self, patterns: &'t Patterns, host: &[u8], path: &[u8], method: &Method) -> Match<'t> {
        let Some(rules) = patterns.paths_of(host).rules_for(path) else { return Match::None };
        let naming = |method: &Method| rules.iter().find(|&&index| self.routes[index].methods.contains(method));
        // Who answers GET answers HEAD, unless a rule names that.
        let by_get = || if method == Method::HEAD { naming(&Method::GET) } else { None };
        let for_all = || rules.iter().find(|&&index| self.routes[index].methods.is_empty());
        match naming(method).or_else(by_get).or_else(for_all) {
            Some(&index) => Match::Route(index),
            None => Match::OtherMethods(rules),
        }
    }
}

impl Patterns {
    fn compile(routes: &[Route], spell: impl Fn(&str) -> String) -> Result<Patterns, DuplicateRoute> {
        let mut patterns = Patterns::default();
        for (index, route) in routes.iter().enumerate() {
            let paths = match &route.host {
                HostPattern::Any => &mut patterns.any_host,
                HostPattern::Exact(name) => {
                    patterns.exact_hosts.entry(name.to_ascii_lowercase().into_bytes()).or_default()
                }
                HostPattern::Below(name) => {
                    patterns.wildcard_hosts.entry(name.to_ascii_lowercase().into_bytes()).or_default()
                }
            };
            let same_pattern = paths.rules_of(&route.path, &spell);
            let clash = same_pattern.iter().find(|&&other| overlaps(&routes[other].methods, &route.methods));
            if let Some(&other) = clash {
                return Err(DuplicateRoute { first: routes[other].name.clone(), second: route.name.clone() });
            }
            match route.methods.is_empty() {
                true => same_pattern.push(index),
                false => same_pattern.insert(0, index),
            }
        }
        Ok(patterns)
    }

    fn paths_of(&self, host: &[u8]) -> &Paths {
        if let Some(paths) = self.exact_hosts.get(host) {
            return paths;
        }
        if !self.wildcard_hosts.is_empty() {
            let mut rest = host;
            while let Some(dot) = rest.iter().position(|&byte| byte == b'.') {
                let suffix = &rest[dot + 1..];
                if let Some(paths) = self.wildcard_hosts.get(suffix) {
                    return paths;
                }
                rest = suffix;
            }
        }
        &self.any_host
    }
}

impl PathPattern {
    fn text(&self) -> &str {
        match self {
            PathPattern::Exact(path) | PathPattern::Prefix(path) => path,
        }
    }
}

fn overlaps(left: &[Method], right: &[Method]) -> bool {
    (left.is_empty() && right.is_empty()) || left.iter().any(|method| right.contains(method))
}

impl RulesByPath {
    fn rules_of(&mut self, path: Vec<u8>) -> &mut Vec<usize> {
        self.lengths |= RulesByPath::bit(path.len());
        self.rules.entry(path).or_default()
    }

    fn get(&self, path: &[u8]) -> Option<&Vec<usize>> {
        (self.lengths & RulesByPath::bit(path.len()) != 0).then(|| self.rules.get(path)).flatten()
    }

    /// All long paths share the last bit.
    fn bit(length: usize) -> u64 {
        1 << length.min(63)
    }
}

impl Paths {
    fn rules_of(&mut self, pattern: &PathPattern, spell: impl Fn(&str) -> String) -> &mut Vec<usize> {
        let key = |path: &str| spell(path.strip_suffix('/').unwrap_or(path)).into_bytes();
        match pattern {
            PathPattern::Exact(path) => self.exact.rules_of(key(path)),
            PathPattern::Prefix(path) if path.ends_with('/') => self.below.rules_of(key(path)),
            PathPattern::Prefix(path) => self.prefix.rules_of(key(path)),
        }
    }

    /// The rules of the most specific pattern that matches: one lookup a segment, from the longest prefix on.
    fn rules_for(&self, path: &[u8]) -> Option<&[usize]> {
        let whole = path.strip_suffix(b"/").unwrap_or(path);
        let exact = self.exact.get(whole);
        // A prefix is the whole path, or ends before a slash.
        let whole_prefix = || (!path.ends_with(b"/")).then(|| self.prefix.get(path)).flatten();
        let shorter = || {
            let slashes = (0..path.len()).rev().filter(|&place| path[place] == b'/');
            slashes
                .map(|place| &path[..place])
                .find_map(|start| self.below.get(start).or_else(|| self.prefix.get(start)))
        };
        exact.or_else(whole_prefix).or_else(shorter).map(Vec::as_slice)
    }
}
