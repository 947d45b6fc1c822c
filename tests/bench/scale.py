#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: Apache-2.0
"""How the network daemon bears numbers: 4,094 networks and 10,000 endpoints on one host.

    tests/bench/scale.py      as root, from a build directory or with BUILD_DIR naming one

Networks are VLANs of one parent where the kernel knows 802.1Q, else without uplink. Real links, in a network namespace of
its own; takes some minutes and 1 GB of kernel memory. SCALE=0.1 is a tenth of all numbers. Times suffer from what
else the machine does; processor time of the daemon less so.
"""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
from harness import (Daemon, endpoint_request, error_of, go_json, hex_id, ids, main, make_parent, need,  # noqa: E402
                     network_request, run, say, set_forwarding, test)

SCALE = float(os.environ.get("SCALE") or 1)
NETWORKS, ENDPOINTS, TOGETHER, ALONE = int(4094 * SCALE), int(10000 * SCALE), 500, 20
CLIENTS = 32


def memory(d, what):
    with open("/proc/%d/status" % d.process.pid, encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(what + ":")) / 1024


def cpu_seconds(d):
    """On a processor, in the kernel's work for it too."""
    with open("/proc/%d/schedstat" % d.process.pid, encoding="ascii") as f:
        return int(f.read().split()[0]) / 1e9


def at_once(d, method, requests, clients):
    """All requests, `clients` of them under way at a time; the seconds it took."""
    connections = [d.connect() for _ in range(min(clients, len(requests)))]
    begin = time.monotonic()
    for first in range(0, len(requests), len(connections)):
        batch = list(zip(connections, requests[first:first + len(connections)]))
        for connection, request in batch:
            connection.send("NetworkDriver." + method, go_json(request))
        for connection, _ in batch:
            _, body = connection.receive()
            need(b'"Err"' not in body, "%s: %r" % (method, body))
    took = time.monotonic() - begin
    for connection in connections:
        connection.close()
    return took


def goal(text, value, limit):
    say("%-76s %10.2f  %s" % (text, value, "met" if value <= limit else "MISSED"))


def has_vlans():
    make_parent("par0")
    seen = run("sh", "-c", "ip link add link par0 name par0.4095x type vlan id 5 2>&1 && ip link delete par0.4095x", ok=False)
    return "rror" not in seen and "nknown" not in seen and "not supported" not in seen


@test("%d networks and %d endpoints" % (NETWORKS, ENDPOINTS))
def scale():
    d = Daemon("net", args=["--firewall", "off", "--log-level", "notice"])
    goal("memory when idle, MB (6)", memory(d, "VmRSS"), 6)
    vlans = has_vlans()
    say("networks are VLANs of one parent" if vlans else "this kernel has no 802.1Q: networks have no uplink")
    networks = [hex_id("n%d" % i) for i in range(NETWORKS)]
    subnets = [(i >> 8, i & 255) for i in range(NETWORKS)]
    took = at_once(d, "CreateNetwork", [network_request(
        networks[i], {"parent": "par0", "vlan": str(i + 1)} if vlans else {"mode": "isolated"},
        v4=(("10.%d.%d.0/24" % subnets[i], None),)) for i in range(NETWORKS)], CLIENTS)
    say("%.2f ms a network made; %.1f MB" % (took * 1e3 / NETWORKS, memory(d, "VmRSS")))

    def endpoint(i):
        n = i % NETWORKS
        address = "10.%d.%d.%d/24" % (subnets[n] + (2 + i // NETWORKS,))
        return endpoint_request(networks[n], hex_id("e%d" % i), address)

    step = ENDPOINTS // 5
    cost = []
    for first in range(0, ENDPOINTS, step):
        before = cpu_seconds(d)
        took = at_once(d, "CreateEndpoint", [endpoint(i) for i in range(first, first + step)], CLIENTS)
        cost.append((cpu_seconds(d) - before) * 1e6 / step)
        say("%.2f ms an endpoint made, %.0f us on a processor, with %d there; %.1f MB"
            % (took * 1e3 / step, cost[-1], first + step, memory(d, "VmRSS")))
    goal("processor time of the last endpoints over that of the first (1.5)", cost[-1] / cost[0], 1.5)
    d.stop()
    begin = time.monotonic()
    d.start()
    goal("start, nothing is missing, s (5)", time.monotonic() - begin, 5)
    begin = time.monotonic()
    answer = d.call("Operator.Reconcile", {})
    goal("reconcile, nothing is missing, s (5)", time.monotonic() - begin, 5)
    need(not error_of(answer) and not answer["Rebuilt"] and not answer["Dropped"], repr(answer))
    goal("memory at its highest, MB (32)", memory(d, "VmHWM"), 32)
    goal("memory afterwards, MB (32)", memory(d, "VmRSS"), 32)

    def gone(first, n):
        return [ids(networks[i % NETWORKS], hex_id("e%d" % i)) for i in range(first, first + n)]

    together = min(TOGETHER, ENDPOINTS // 2)
    alone = at_once(d, "DeleteEndpoint", gone(0, ALONE), 1) * 1e3 / ALONE
    each = at_once(d, "DeleteEndpoint", gone(ALONE, together), together) * 1e3 / together
    say("%.2f ms an endpoint deleted alone" % alone)
    goal("%d deleted together, ms each (1)" % together, each, 1)
    goal("one by one over that, inverted (1/15 = 0.067)", each / alone, 1 / 15)


if __name__ == "__main__":
    main(set_forwarding)
