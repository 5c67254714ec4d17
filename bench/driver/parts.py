"""The parts of the bench, each a function that gives rows: a label, and figures by name."""

import json
import statistics
import subprocess

from driver import machine
from driver.material import ALGORITHMS
from driver.measure import counter, instructions, load, saturated_and_at_rate
from driver.servers import Dress, address, wait_until_open

PLAIN = Dress(routes=1, revoked=0)
# Those that end in -pgo are there when bench/pgo has built them.
OWN = ["bare", "bare-allocator", "bare-pgo", "bare-allocator-pgo", "portcullis", "portcullis-pgo"]
SERVERS = [*OWN, "haproxy", "nginx", "envoy", "envoy-cache", "caddy"]
FORWARDING = [*OWN[:4], "haproxy-forward", "nginx-forward", "envoy-forward", "caddy-forward"]
# Enough that each is measured for the first time once, and few enough for the cache.
FIRST_SIGHTS = 20_000


def interleaved(options, cases, measure):
    """Measures all cases, then all of them again: what disturbs the machine for a while disturbs all alike. Rows of medians."""
    rounds = {label: [] for label in cases}
    for number in range(options.rounds):
        for label, case in cases.items():
            figures = measure(*case)
            if figures is not None:
                rounds[label].append(figures)
                told = ", ".join(f"{name} {value:.1f}" for name, value in figures.items() if value is not None)
                print(f"  round {number + 1}: {label}: {told}", flush=True)
    return [row(label, figures) for label, figures in rounds.items() if figures]


def row(label, rounds):
    medians = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    return {"label": label, **medians, "rounds": rounds}


def compared(lab, options, servers, tokens_max):
    def measure(name, algorithm):
        tokens = lab.material.tokens(algorithm)
        dress = Dress() if name.startswith("portcullis") else None
        return saturated_and_at_rate(lab, name, algorithm, tokens, tokens_max, options, dress)

    own = [server for server in servers if not options.servers or server in options.servers]
    # Bare Pingora does not look at the token: one algorithm will do.
    cases = {
        f"{server} {algorithm}": (server, algorithm)
        for algorithm in options.algorithms
        for server in own
        if not server.startswith("bare") or algorithm == options.algorithms[0]
    }
    return interleaved(options, cases, measure)


def hot(lab, options):
    """One token, again and again."""
    return compared(lab, options, SERVERS, 1)


def many(lab, options):
    """10,000 tokens, at random."""
    return compared(lab, options, SERVERS, 10_000)


def forwarding(lab, options):
    """No authentication at all."""
    def measure(name):
        tokens = lab.material.tokens("EdDSA")
        return saturated_and_at_rate(lab, name, "EdDSA", tokens, 10_000, options)

    return interleaved(options, {name: (name,) for name in FORWARDING}, measure)


def count(lab, options):
    """User instructions a request: bare Pingora, and Portcullis in full dress."""
    if counter() is None:
        print("  (neither perf nor valgrind can count here)")
        return []
    def measure(name, dress):
        return counted(instructions(lab, name, "EdDSA", lab.material.tokens("EdDSA", 1000), dress))

    cases = {
        "bare": ("bare", None),
        "bare, our allocator": ("bare-allocator", None),
        "portcullis, plain": ("portcullis", PLAIN),
        "portcullis, full dress": ("portcullis", Dress()),
        "portcullis, and an access log": ("portcullis", Dress(access_log=True)),
        "bare, by its profile": ("bare-pgo", None),
        "bare, our allocator, by its profile": ("bare-allocator-pgo", None),
        "portcullis, full dress, by its profile": ("portcullis-pgo", Dress()),
        "portcullis, and an access log, by its profile": ("portcullis-pgo", Dress(access_log=True)),
        "haproxy-forward": ("haproxy-forward", None),
    }
    return interleaved(options, cases, measure)


def counted(figures):
    return figures and {"instructions": figures["per_request"], "instructions_beside_per_second": figures["beside"]}


def first_sight(lab, options):
    """Tokens that have never been seen, then the same ones again, and forged ones: CPU time a request."""
    def measure(algorithm):
        tokens = lab.material.tokens(algorithm, FIRST_SIGHTS)
        server = lab.start(options.portcullis, algorithm, PLAIN)
        try:
            send = lambda file: load(lab, server, "--cold", "--warm-up", 0, "--requests", FIRST_SIGHTS, "--seconds", 60, tokens=file)
            # Connections to the app are made, and memory is touched, before it counts.
            load(lab, server, "--seconds", 1, tokens=lab.material.tokens(algorithm, 1000))
            first, again, forged = send(tokens), send(tokens), send(lab.material.forged(algorithm, FIRST_SIGHTS))
        finally:
            server.stop()
        if forged["requests"] != forged["not_200"]:
            raise SystemExit("a forged token was let in")
        return {
            "first_us": first["cpu_us_per_request"],
            "again_us": again["cpu_us_per_request"],
            "difference_us": first["cpu_us_per_request"] - again["cpu_us_per_request"],
            "forged_us": forged["cpu_us_per_request"],
        }

    return interleaved(options, {algorithm: (algorithm,) for algorithm in options.algorithms}, measure)


def grown(lab, options, dresses):
    def measure(dress):
        tokens = lab.material.tokens("EdDSA")
        figures = saturated_and_at_rate(lab, options.portcullis, "EdDSA", tokens, 10_000, options, dress)
        if options.count:
            figures |= counted(instructions(lab, options.portcullis, "EdDSA", lab.material.tokens("EdDSA", 1000), dress)) or {}
        return figures

    return interleaved(options, {label: (dress,) for label, dress in dresses.items()}, measure)


def revocations(lab, options):
    """How the cost grows with the number of revoked sessions."""
    counts = [count for count in [0, 10_000, 1_000_000, 10_000_000] if count <= options.revoked_max]
    rows = grown(lab, options, {f"{count} revoked": Dress(routes=1, revoked=count) for count in counts})
    for count, one in zip(counts[1:], rows[1:]):
        one["bytes_each"] = (one["idle_kib"] - rows[0]["idle_kib"]) * 1024 / count
    return rows


def routes(lab, options):
    """How the cost grows with the number of routes."""
    return grown(lab, options, {f"{count} routes": Dress(routes=count, revoked=0) for count in [1, 10, 100, 1000, 10_000]})


def sessions(lab, options):
    """How the cost grows with the number of live sessions: instructions a request, with as many tokens remembered (there is room for 50,000)."""
    if counter() is None:
        print("  (neither perf nor valgrind can count here)")
        return []
    def measure(live):
        tokens = lab.material.tokens("EdDSA", 1000)
        return counted(instructions(lab, options.portcullis, "EdDSA", tokens, Dress(routes=1, revoked=0), live=live))

    return interleaved(options, {f"{live} live sessions": (live,) for live in [0, 10_000, 40_000]}, measure)


def memory(lab, options):
    """Resident memory: idle, under load, and for each token that is remembered."""
    def measure():
        server = lab.start(options.portcullis, "EdDSA", PLAIN)
        try:
            send = lambda count: load(lab, server, "--warm-up", 0, "--cold", "--requests", 50_000, "--tokens-max", count, "--seconds", 60, tokens=lab.material.tokens("EdDSA", 50_000))
            idle, one, all_of_them = server.resident_kib(), send(1)["resident_kib"], send(50_000)["resident_kib"]
        finally:
            server.stop()
        return {"idle_kib": idle, "one_token_kib": one, "many_tokens_kib": all_of_them, "bytes_per_token": (all_of_them - one) * 1024 / 50_000}

    return interleaved(options, {"portcullis, 50,000 tokens": ()}, measure)


def stores(lab, options):
    """Refreshes (each rotates) and logouts a second, on each store."""
    def measure(store):
        with Redis(lab, store) as (url, redis):
            server = lab.start(options.portcullis, "EdDSA", Dress(routes=1, revoked=0, store=url, grace="0s"))
            try:
                command = [lab.material.tools, "sessions", server.address, "--seconds", options.seconds, "--pids", ",".join(map(str, server.pids()))]
                if redis:
                    command += ["--store-pids", redis.pid]
                figures = tool(lab, command)
            finally:
                server.stop()
        refresh, logout = figures["refresh"], figures["logout"]
        return {
            "refreshes_per_second": refresh["per_second"],
            "refresh_p50_us": refresh["p50_us"],
            "refresh_p99_us": refresh["p99_us"],
            "refresh_cpu_us": refresh["cpu_us"],
            "refresh_store_cpu_us": refresh["store_cpu_us"],
            "logouts_per_second": logout["per_second"],
            "logout_p50_us": logout["p50_us"],
            "logout_p99_us": logout["p99_us"],
            "logout_cpu_us": logout["cpu_us"],
            "logout_store_cpu_us": logout["store_cpu_us"],
        }

    return interleaved(options, {store: (store,) for store in ["memory", "embedded", "redis"]}, measure)


def rotations(lab, options):
    """Rotations a second that a store bears, asked by Portcullis' own code without HTTP. Redis has a CPU of its own."""
    def measure(store, clients):
        with Redis(lab, store, lab.server_cpus) as (url, redis):
            command = [lab.material.tools, "rotations", "--clients", clients, "--seconds", options.seconds]
            if redis:
                command += ["--redis", url, "--store-pids", redis.pid]
            elif store == "embedded":
                file = lab.material.folder / "rotations.redb"
                file.unlink(missing_ok=True)
                command += ["--embedded", file]
            told = tool(lab, command)
        figures = {
            "rotations_per_second": told["per_second"],
            "p50_us": told["p50_us"],
            "p99_us": told["p99_us"],
            "cpu_us_own": told["cpu_us"],
        }
        if redis:
            figures["cpu_us_store"] = told["store_cpu_us"]
        if told["syncs_per_second"]:
            figures["syncs_per_second"] = told["syncs_per_second"]
            figures["rotations_per_sync"] = told["per_second"] / told["syncs_per_second"]
        return figures

    many = {"memory": [64], "embedded": [1, 8, 64], "redis": [1, 64, 256]}
    cases = {f"{store}, {clients} at a time": (store, clients) for store in many for clients in many[store]}
    return interleaved(options, cases, measure)


def propagation(lab, options):
    """From a logout on one proxy to the refusal on another, by way of Redis."""
    def measure():
        with Redis(lab, "redis") as (url, _):
            dress = Dress(routes=1, revoked=0, store=url)
            here = lab.start(options.portcullis, "EdDSA", dress)
            there = lab.start(options.portcullis, "EdDSA", dress, instance="-there")
            try:
                figures = tool(lab, [lab.material.tools, "propagation", here.address, there.address])
            finally:
                here.stop()
                there.stop()
        told = {f"{since}_{name}": figures[since][name] for since in ["after_request", "after_answer"] for name in ["p50_us", "p99_us", "max_us"]}
        return told | {"before_answer_percent": figures["before_answer"] * 100}

    return interleaved(options, {"two proxies": ()}, measure)


def tool(lab, command):
    done = subprocess.run(machine.pinned(command, lab.other_cpus), check=True, stdout=subprocess.PIPE, text=True, timeout=300)
    return json.loads(done.stdout)


class Redis:
    """A Redis of its own, if the store is one; without a disk."""

    def __init__(self, lab, store, cpus=None):
        self.lab, self.store, self.process = lab, store, None
        self.cpus = cpus or lab.other_cpus

    def __enter__(self):
        if self.store != "redis":
            return self.store, None
        where = address()
        command = ["redis-server", "--port", where.split(":")[1], "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = self.lab.spawn(command, self.cpus, cwd=self.lab.material.folder)
        wait_until_open(where, self.process)
        return f"redis://{where}", self.process

    def __exit__(self, *_):
        if self.process:
            self.process.terminate()
            self.process.wait(10)


PARTS = {
    "hot": hot,
    "many": many,
    "forwarding": forwarding,
    "count": count,
    "first-sight": first_sight,
    "revocations": revocations,
    "routes": routes,
    "sessions": sessions,
    "memory": memory,
    "stores": stores,
    "rotations": rotations,
    "propagation": propagation,
}
