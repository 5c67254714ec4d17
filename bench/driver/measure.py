"""One measurement: a server is started, loaded, looked at and stopped."""

import json
import re
import shutil
import subprocess
import time
from functools import lru_cache

from driver import machine
from driver.servers import wait_until_open

# Once for callgrind to have seen all code, and for caches to be warm.
INSTRUCTIONS_WARM_UP = 2_000
INSTRUCTIONS_REQUESTS = 3_000
IDLE_S = 3
# Callgrind counts an instruction with a `rep` prefix once for each byte that it copies, and a processor once. So the C library is told
# to copy in vectors instead.
WITHOUT_REP = "GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=2000000000:glibc.cpu.x86_rep_stosb_threshold=2000000000"


def load(lab, server, *options, tokens=None, timeout=180):
    """Sends load, and gives what was measured."""
    command = [lab.material.tools, "load", server.address, *options]
    if tokens:
        command += ["--tokens", tokens]
    command += ["--pids", ",".join(map(str, server.pids()))]
    done = subprocess.run(machine.pinned(command, lab.other_cpus), check=True, stdout=subprocess.PIPE, text=True, timeout=timeout)
    return json.loads(done.stdout)


def saturated_and_at_rate(lab, name, algorithm, tokens, tokens_max, options, dress=None):
    """CPU time and requests a second as fast as it goes; latencies at a moderate rate. None if there is no such server."""
    server = lab.start(name, algorithm, dress)
    if server is None:
        return None
    try:
        idle_kib = server.resident_kib()
        common = ["--tokens-max", tokens_max, "--connections", options.connections]
        if dress and dress.routes > 1:
            common += ["--routes", dress.routes - 1]
        fast = load(lab, server, *common, "--seconds", options.seconds, tokens=tokens)
        steady = load(lab, server, *common, "--seconds", options.seconds, "--rate", options.rate, tokens=tokens)
    finally:
        server.stop()
    refused = fast["not_200"] + fast["broken"] + steady["not_200"] + steady["broken"]
    if refused:
        raise SystemExit(f"{name} with {algorithm}: {refused} requests were not answered with 200")
    return {
        "cpu_us": fast["cpu_us_per_request"],
        "cpu_us_at_rate": steady["cpu_us_per_request"],
        "requests_per_second": fast["requests_per_second"],
        "cpu_share": fast["cpu_share"],
        "p50_us": steady["latency"]["p50_us"],
        "p99_us": steady["latency"]["p99_us"],
        "p999_us": steady["latency"]["p999_us"],
        "idle_kib": idle_kib,
        "loaded_kib": fast["resident_kib"],
    }


@lru_cache
def counter():
    """`perf` where the machine can count, else `callgrind`, else None."""
    if shutil.which("perf"):
        tried = subprocess.run(["perf", "stat", "-e", "instructions:u", "true"], capture_output=True, text=True)
        if tried.returncode == 0 and "not supported" not in tried.stderr and "not counted" not in tried.stderr:
            return "perf"
    return "callgrind" if shutil.which("valgrind") else None


def instructions(lab, name, algorithm, tokens, dress=None, requests=INSTRUCTIONS_REQUESTS, keep=None, live=0):
    """User instructions a request. What the server does beside requests is measured first, and taken off. `keep`: where the profile
    of callgrind is kept. `live`: so many other sessions have been there before, and their tokens are remembered."""
    if counter() is None:
        return None
    by_perf = counter() == "perf"
    out = lab.material.folder / "callgrind"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    wrap = () if by_perf else ("env", WITHOUT_REP, "valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes", f"--callgrind-out-file={out}/out.%p")
    server = lab.start(name, algorithm, dress, wrap)
    if server is None:
        return None
    try:
        pid = server.processes[-1].pid
        options = ["--connections", 16]
        if dress and dress.routes > 1:
            options += ["--routes", dress.routes - 1]
        send = lambda count, of=tokens: load(lab, server, *options, "--warm-up", 0, "--cold", "--seconds", 120, "--requests", count, tokens=of, timeout=400)
        wait_until_open(server.address)
        if live:
            send(live, lab.material.tokens(algorithm, live))
        if by_perf:
            send(10 * INSTRUCTIONS_WARM_UP)
            count = lambda work: perf(pid, work)
            requests *= 10
        else:
            subprocess.run(["callgrind_control", "--instr=on", str(pid)], check=True, stdout=subprocess.DEVNULL)
            send(INSTRUCTIONS_WARM_UP)
            count = lambda work: callgrind(pid, out, work)
        idle, idle_s = count(lambda: time.sleep(IDLE_S))
        sent = {}
        busy, busy_s = count(lambda: sent.update(send(requests)))
        if sent["not_200"] or sent["broken"]:
            raise SystemExit(f"{name}: not all requests were answered with 200")
        # What is done on other threads is done whether or not there are requests: the one that serves them is the busiest.
        worker = max(busy, key=busy.get)
        if keep and not by_perf:
            shutil.copyfile(max(out.glob(f"out.*{worker}"), key=lambda path: path.stat().st_mtime), keep)
    finally:
        server.stop()
    own = busy[worker] - idle.get(worker, 0) / idle_s * busy_s
    return {"per_request": own / sent["requests"], "beside": sum(idle.values()) / idle_s, "counter": counter()}


def perf(pid, work):
    """Counts what a process does while `work` is done: instructions (by thread, or all in one), and in which time."""
    command = ["perf", "stat", "-x", ",", "-e", "instructions:u", "-p", str(pid)]
    counting = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    time.sleep(0.2)
    began = time.monotonic()
    work()
    elapsed = time.monotonic() - began
    counting.send_signal(2)
    _, text = counting.communicate(timeout=20)
    return {"": int(text.split(",")[0])}, elapsed


def callgrind(pid, out, work):
    """The same with a process that runs in valgrind."""
    control = lambda what: subprocess.run(["callgrind_control", what, str(pid)], check=True, stdout=subprocess.DEVNULL)
    control("--zero")
    before = set(out.iterdir())
    began = time.monotonic()
    work()
    elapsed = time.monotonic() - began
    control("--dump")
    counted = {}
    for path in set(out.iterdir()) - before:
        # One file a thread: out.PID.DUMP-THREAD.
        total = re.search(r"^(?:totals|summary): (\d+)", path.read_text(), re.M)
        thread = re.search(r"-\d+$", path.name)
        if total and thread:
            counted[thread[0]] = int(total[1])
    return counted, elapsed
