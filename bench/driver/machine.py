"""The machine: which CPUs there are, and what a result must say of it to be compared with another one."""

import os
import platform
import subprocess
from pathlib import Path


def cpus():
    """The CPU of the server, and those of everything else."""
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        raise SystemExit("The bench needs two CPUs: one for the server, one for the load.")
    return available[:1], available[1:]


def pinned(command, on):
    return ["taskset", "--cpu-list", ",".join(map(str, on)), *map(str, command)]


def description(repository):
    """What the figures depend on, beside the code."""
    facts = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    return {
        "cpu": facts.get("model name", platform.machine()),
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "memory_kib": int(Path("/proc/meminfo").read_text().split()[1]),
        "load_average": os.getloadavg()[0],
        "congestion_control": Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip(),
        "commit": first_line(["git", "-C", str(repository), "describe", "--always", "--dirty", "--abbrev=12"]),
        "rustc": first_line(["rustc", "--version"]),
        "haproxy": first_line(["haproxy", "-v"]),
        "nginx": first_line(["nginx", "-v"]),
        "caddy": first_line(["caddy", "version"]),
    }


def first_line(command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20)
        return done.stdout.strip().splitlines()[0] if done.returncode == 0 else None
    except (OSError, IndexError, subprocess.TimeoutExpired):
        return None
