#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Both daemons under mixed load for long: memory, descriptors and state on disk stay flat.

SOAK_SECONDS is how long (default 300; "for ever" is a large number). The load is that of tests/bench/loadgen - whole lives of
pools and networks, addresses and endpoints - and beside it clients that err: garbage, half requests, connections that
break off. What is measured is said every now and then; SIGTERM ends it early and judges what was seen.
"""

import os
import random
import select
import signal
import socket
import subprocess
import time

from harness import (BUILD, Daemon, Gone, Skip, endpoint_request, equal, hex_id, ids, main, marked_links, need,
                     network_request, say, set_forwarding, test)

SECONDS = float(os.environ.get("SOAK_SECONDS") or 300)
SEED = int(os.environ.get("SOAK_SEED") or random.SystemRandom().randrange(1 << 32))
WARM_UP = 0.3     # of the time: until then caches fill, and what is cut once a minute has been cut
MEASUREMENTS = 60
WAL_MOST = 8 << 20  # bytes; it is overwritten from the beginning once its pages are in the database

# (daemon, script of loadgen, clients, calls a second): little enough to leave a machine to others
LOADS = (("ipam", "address", 8, 400), ("ipam", "pools", 8, 200), ("net", "attach", 4, 60), ("net", "networks", 4, 40))


class Stopped(Exception):
    pass


def on_sigterm(*_):
    raise Stopped


# ---- clients that err ----

def send_and_drop(daemon, data):
    try:
        c = daemon.connect()
    except Gone:
        return
    try:
        c.sock.sendall(data)
        select.select([c.sock], [], [], 0.02)  # an answer, if there is one, is not read
    except OSError:
        pass
    c.close()


def head(method, length):
    return ("POST /%s HTTP/1.1\r\nHost: \r\nContent-Length: %d\r\n\r\n" % (method, length)).encode()


def err(daemon, dice):
    """One thing that a client should not do."""
    prefix = {"ipam": "IpamDriver.RequestAddress", "net": "NetworkDriver.CreateEndpoint"}[daemon.kind]
    body = os.urandom(dice.randrange(1, 3000))
    dice.choice([
        lambda: send_and_drop(daemon, body),
        lambda: send_and_drop(daemon, head(prefix, 100) + b"{"),
        lambda: send_and_drop(daemon, head(prefix, 0)),
        lambda: send_and_drop(daemon, head(prefix, len(body)) + body),
        lambda: send_and_drop(daemon, head(prefix, 20000) + b"[" * 20000),
        lambda: send_and_drop(daemon, head(prefix, 1 << 21) + b" " * 100000),
        lambda: send_and_drop(daemon, head("Nobody.Knows", 2) + b"{}"),
        lambda: send_and_drop(daemon, b"GET / HTTP/1.1\r\nHost: \r\nX: " + b"y" * 40000 + b"\r\n\r\n"),
        lambda: create_and_drop(daemon, dice)])()


def create_and_drop(daemon, dice):
    """A request that is fine, from a client that is gone before the answer."""
    import json
    name = hex_id(dice.random())
    if daemon.kind == "ipam":
        method, request = "IpamDriver.RequestPool", {"AddressSpace": "local", "Pool": "203.0.113.0/24", "SubPool": "",
                                                     "Options": {}, "V6": False}
    else:
        method, request = "NetworkDriver.CreateNetwork", network_request(name, {"mode": "isolated"})
    data = json.dumps(request).encode()
    send_and_drop(daemon, head(method, len(data)) + data)
    # Whatever became of it: the engine would not give it back, but this test does.
    if daemon.kind == "ipam":
        daemon.good("ReleasePool", {"PoolID": "local/203.0.113.0/24"})
    else:
        daemon.good("CreateNetwork", request)
        endpoint = hex_id(name)
        daemon.good("CreateEndpoint", endpoint_request(name, endpoint))
        daemon.good("Leave", ids(name, endpoint))
        daemon.good("Leave", ids(name, endpoint))
        daemon.good("DeleteNetwork", {"NetworkID": name})
        daemon.good("DeleteEndpoint", ids(name, endpoint))


# ---- measuring ----

def measure(daemon):
    """(resident memory in KiB, descriptors, bytes of the database, bytes of its write-ahead log)"""
    with open("/proc/%d/status" % daemon.process.pid, encoding="ascii") as f:
        rss = next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))
    return (rss, len(os.listdir("/proc/%d/fd" % daemon.process.pid)), os.path.getsize(daemon.database()),
            os.path.getsize(daemon.database() + "-wal"))


def where(daemon):
    """What the daemon waits for in the kernel."""
    with open("/proc/%d/stack" % daemon.process.pid, encoding="ascii") as f:
        return f.read() or "user space"


def judge(kind, seen):
    """Flat from the end of the warm-up on? `seen`: measurements in order."""
    rest = seen[int(len(seen) * WARM_UP):]
    need(len(rest) > 4, "too few measurements: %d" % len(seen))
    base = [max(column) for column in zip(*rest[:3])]
    most = [max(column) for column in zip(*rest)]
    last = rest[-1]
    for what, b, m, l in zip(("KiB resident", "descriptors", "bytes of database", "bytes of log"), base, most, last):
        say("%s: %s: %d after the warm-up, %d at most, %d at the end" % (kind, what, b, m, l))
    need(most[0] <= base[0] * 1.1 + 1024, "%s: resident memory grew from %d to %d KiB" % (kind, base[0], most[0]))
    need(most[1] <= base[1] + 8, "%s: descriptors grew from %d to %d" % (kind, base[1], most[1]))
    need(most[2] <= base[2] * 1.1 + (1 << 18), "%s: the database grew from %d to %d bytes" % (kind, base[2], most[2]))
    need(most[3] <= WAL_MOST, "%s: the log grew to %d bytes" % (kind, most[3]))


def start_load(daemons):
    loadgen = os.path.join(BUILD, "tests", "bench", "loadgen")
    if not os.access(loadgen, os.X_OK):
        raise Skip("%s is not built" % loadgen)
    return [subprocess.Popen([loadgen, daemons[kind].sock, script, str(clients), "0", str(rate)],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for kind, script, clients, rate in LOADS]


def stop_load(loads):
    for (kind, script, _, _), p in zip(LOADS, loads):
        p.send_signal(signal.SIGTERM)
        out = p.communicate()[0]
        equal(p.returncode, 0, "status of loadgen %s: %s" % (script, out))
        for line in out.splitlines():
            if line.startswith("all "):
                say("%s, %s: %s calls answered" % (kind, script, line.split()[1]))


def soak(daemons, loads):
    dice = random.Random(SEED)
    seen = {kind: [] for kind in daemons}
    begin = time.monotonic()
    while (now := time.monotonic() - begin) < SECONDS:
        if now >= len(seen["ipam"]) * SECONDS / MEASUREMENTS:
            for kind, daemon in daemons.items():
                # The connections dropped a moment ago must be gone for this to be the daemon's own.
                daemon.good({"ipam": "GetDefaultAddressSpaces", "net": "GetCapabilities"}[kind])
                seen[kind].append(measure(daemon))
            say("%5.0f s: %s" % (now, "; ".join("%s %d KiB, %d descriptors, %d + %d bytes" % ((k,) + v[-1])
                                                 for k, v in seen.items())))
        for daemon in daemons.values():
            err(daemon, dice)
        for p in loads:
            need(p.poll() is None, "loadgen ended: %s" % (p.communicate()[0] if p.poll() is not None else ""))
        time.sleep(0.1)  # the rate of what errs
    return seen


@test("%d seconds of mixed load leave memory, descriptors and state of both daemons as they were" % SECONDS)
def flat():
    say("SOAK_SEED=%d" % SEED)
    # What is kept for a while, or up to a number, is full before the warm-up ends.
    daemons = {"ipam": Daemon("ipam", args=["--log-level", "warning", "--cooldown", "2", "--history", "1000"]),
               "net": Daemon("net", args=["--firewall", "off", "--log-level", "warning"])}
    signal.signal(signal.SIGTERM, on_sigterm)
    for daemon in daemons.values():
        daemon.connection = daemon.connect(timeout=120)  # as patient as loadgen, and for the same reason
    loads = start_load(daemons)
    try:
        seen = soak(daemons, loads)
    except BaseException:
        for daemon in daemons.values():
            say("%s is in %s, with %s" % (daemon.kind, where(daemon), "%d KiB, %d descriptors, %d + %d bytes" % measure(daemon)))
        for p in loads:
            p.kill()
        raise
    stop_load(loads)
    for kind, measurements in seen.items():
        judge(kind, measurements)
    for daemon in daemons.values():
        daemon.restart()  # in order after all that?
        daemon.stop()
    equal(daemons["ipam"].rows("SELECT count(*) FROM pool"), [(0,)], "pools at the end")
    equal(daemons["ipam"].rows("SELECT count(*) FROM lease"), [(0,)], "leases at the end")
    equal(daemons["net"].rows("SELECT (SELECT count(*) FROM network) + (SELECT count(*) FROM endpoint)"), [(0,)],
          "networks and endpoints at the end")
    equal(marked_links(), {}, "links at the end")


if __name__ == "__main__":
    main(set_forwarding)
