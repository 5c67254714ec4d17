"""The servers, each with the configuration and the commands that start it. All are given one CPU and one worker."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from driver import machine

PEERS = Path(__file__).resolve().parent.parent / "peers"
START_MAX_S = 300


@dataclass
class Dress:
    """What Portcullis wears beside authentication. The default is full dress."""

    routes: int = 1000
    revoked: int = 1_000_000
    store: str = "embedded"
    access_log: bool = False
    grace: str = "30s"
    # Beside the listener that every server has: those of `listen` in proxy.yaml.
    listeners: list = field(default_factory=list)


@dataclass
class Running:
    """A server that takes connections."""

    address: str
    processes: list = field(default_factory=list)

    def pids(self):
        return [pid for process in self.processes for pid in family(process.pid)]

    def resident_kib(self):
        return sum(resident_kib(pid) for pid in self.pids())

    def stop(self):
        for process in reversed(self.processes):
            stop(process)


class Lab:
    """Starts servers, in front of one app. Everything it has started it stops."""

    def __init__(self, material):
        self.material = material
        self.server_cpus, self.other_cpus = machine.cpus()
        self.started = []
        self.app = address()
        self.spawn([material.tools, "app", self.app], self.other_cpus)
        wait_until_open(self.app)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.started):
            stop(process)

    def spawn(self, command, on, **options):
        log = open(self.material.folder / "servers.log", "ab")
        process = subprocess.Popen(machine.pinned(command, on), stdout=log, stderr=log, **options)
        self.started.append(process)
        return process

    def start(self, name, algorithm, dress=None, wrap=(), instance=""):
        """Starts a server by its name; `wrap` is what its command is wrapped in, `instance` tells two of one name apart. None if it is not
        there, or cannot verify this."""
        if not can(name, algorithm):
            return None
        kind, _, variant = name.partition("-")
        listen = address()
        folder = self.material.folder / "servers" / (name + instance)
        folder.mkdir(parents=True, exist_ok=True)
        commands = getattr(self, f"_{kind}")(listen, algorithm, variant, folder, dress or Dress())
        if commands is None:
            return None
        environment = {**os.environ, "GOMAXPROCS": "1"}
        running = Running(listen)
        for number, command in enumerate(commands):
            is_server = number == len(commands) - 1
            command = [*wrap, *command] if is_server else command
            running.processes.append(self.spawn(command, self.server_cpus, env=environment, cwd=folder))
        wait_until_open(listen, running.processes[-1])
        if kind == "portcullis":
            wait_until_ready(json.loads((folder / "proxy.yaml").read_text())["admin"]["listen"])
        return running

    def _bare(self, listen, _algorithm, variant, *_):
        binary = self.material.binary(f"bare-{variant}" if variant else "bare")
        return binary and [[binary, listen, self.app]]

    def _portcullis(self, listen, algorithm, variant, folder, dress):
        binary = self.material.binary(f"portcullis-{variant}" if variant else "portcullis")
        path = self.portcullis_yaml(listen, algorithm, folder, dress)
        return binary and [[binary, "run", "--config", path, "--log", "warn"]]

    def portcullis_yaml(self, listen, algorithm, folder, dress):
        """Writes a configuration in full dress; gives its path."""
        if dress.store == "embedded":
            data = folder / "sessions.redb"
            shutil.copyfile(self.material.revoked(dress.revoked), data)
            store = {"embedded": {"path": str(data)}}
        elif dress.store == "memory":
            store = {"memory": {}}
        else:
            store = {"redis": {"url": dress.store}}
        config = {
            "listen": [listen, *dress.listeners],
            "admin": {"listen": address(), "socket": "none"},
            "data_dir": str(folder),
            "users": str(self.material.users()),
            "login": {"attempts_per_address": 10000},
            "store": store,
            "access_token": {"lifetime": "1h"},
            "rotation": {"grace": dress.grace},
            "limits": {"connections": 10000, "requests_per_address": "none"},
            "upstreams": {"app": {"servers": [f"http://{self.app}"]}},
            "routes": [{"name": f"r{number}", "path_prefix": f"/r{number}", "upstream": "app"} for number in range(dress.routes - 1)]
            + [{"name": "rest", "upstream": "app"}],
        }
        if dress.access_log:
            config["log"] = {"access": {"file": str(folder / "access.log")}}
        if dress.store == "memory":
            config["keys"] = {"algorithm": algorithm}
        else:
            config["keys"] = {"file": str(self.material.keys(algorithm))}
        path = folder / "proxy.yaml"
        # JSON is YAML.
        path.write_text(json.dumps(config, indent=1))
        return path

    def _haproxy(self, listen, algorithm, variant, folder, _dress):
        if not shutil.which("haproxy", path=PATH):
            return None
        template = "haproxy_forward.cfg" if variant == "forward" else "haproxy.cfg"
        key = "" if variant == "forward" else self.material.haproxy_key(algorithm)
        path = self.fill(template, folder, listen=listen, algorithm=algorithm, haproxy_key=key)
        return [[shutil.which("haproxy", path=PATH), "-f", path]]

    def _nginx(self, listen, algorithm, variant, folder, _dress):
        if not shutil.which("nginx", path=PATH):
            return None
        verifier, commands = self.verifier(algorithm, variant)
        template = "nginx_forward.conf" if variant == "forward" else "nginx.conf"
        path = self.fill(template, folder, listen=listen, folder=folder, verifier=verifier)
        return [*commands, [shutil.which("nginx", path=PATH), "-p", folder, "-c", path]]

    def _caddy(self, listen, algorithm, variant, folder, _dress):
        if not shutil.which("caddy", path=PATH):
            return None
        verifier, commands = self.verifier(algorithm, variant)
        template = "caddy_forward.caddyfile" if variant == "forward" else "caddy.caddyfile"
        path = self.fill(template, folder, port=listen.split(":")[1], verifier=verifier)
        return [*commands, [shutil.which("caddy", path=PATH), "run", "--adapter", "caddyfile", "--config", path]]

    def _envoy(self, listen, algorithm, variant, folder, _dress):
        binary = self.material.envoy()
        if binary is None:
            return None
        jwks = None if variant == "forward" else self.material.jwks(algorithm)
        path = folder / "envoy.json"
        path.write_text(json.dumps(envoy(listen, self.app, jwks, cache=variant == "cache"), indent=1))
        return [[binary, "-c", path, "--concurrency", "1", "-l", "error", "--disable-hot-restart"]]

    def verifier(self, algorithm, variant):
        """It is a part of the server: its CPU time counts."""
        if variant == "forward":
            return "", []
        listen = address()
        return listen, [[self.material.tools, "verifier", listen, "--keys", self.material.keys(algorithm)]]

    def fill(self, template, into, **values):
        path = into / template
        path.write_text(Template((PEERS / template).read_text()).substitute(app=self.app, **values))
        return path


# Debian puts servers where only root looks.
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"


def can(name, algorithm):
    # Debian's HAProxy knows no EdDSA.
    return not (name == "haproxy" and algorithm == "EdDSA")


def envoy(listen, app, jwks, cache):
    """Envoy's configuration: everything off that it can do without."""
    filters = []
    if jwks:
        provider = {
            "issuer": "portcullis",
            "audiences": ["portcullis"],
            "forward": False,
            "local_jwks": {"inline_string": jwks},
            "claim_to_headers": [{"header_name": "x-user", "claim_name": "sub"}],
        }
        if cache:
            provider["jwt_cache_config"] = {"jwt_cache_size": 20_000, "jwt_max_token_size": 4096}
        rules = [{"match": {"prefix": "/"}, "requires": {"provider_name": "own"}}]
        filters.append(typed("envoy.filters.http.jwt_authn", "filters.http.jwt_authn.v3.JwtAuthentication", providers={"own": provider}, rules=rules))
    filters.append(typed("envoy.filters.http.router", "filters.http.router.v3.Router", suppress_envoy_headers=True))
    route = {"match": {"prefix": "/"}, "route": {"cluster": "app", "timeout": "0s"}}
    manager = typed(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="public",
        generate_request_id=False,
        codec_type="HTTP1",
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        http_filters=filters,
    )
    most = {"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096}
    cluster = {
        "name": "app",
        "type": "STATIC",
        "connect_timeout": "2s",
        "circuit_breakers": {"thresholds": [most]},
        "load_assignment": {"cluster_name": "app", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket_address(app)}}]}]},
    }
    listener = {"name": "public", "address": socket_address(listen), "filter_chains": [{"filters": [manager]}]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def typed(name, kind, **config):
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/envoy.extensions.{kind}", **config}}


def socket_address(text):
    host, port = text.split(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def wait_until_open(where, process=None):
    host, port = where.split(":")
    deadline = time.monotonic() + START_MAX_S
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            raise SystemExit(f"A server ended at its start: {' '.join(process.args)}; see servers.log.")
        try:
            socket.create_connection((host, int(port)), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"Nothing listens on {where}.")


def wait_until_ready(admin):
    """A store may take its time after it could be reached."""
    deadline = time.monotonic() + START_MAX_S
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://{admin}/readyz", timeout=5).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("Portcullis does not become ready; see servers.log.")


def stop(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def family(pid):
    """The process and its descendants."""
    pids = [pid]
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                pids += family(int(child))
    except FileNotFoundError:
        pass
    return pids


def resident_kib(pid):
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)
