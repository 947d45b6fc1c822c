#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: Apache-2.0
"""The two daemons together: addresses that nobody uses come back, and one that is in use elsewhere is not given out."""

import json
import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time

from harness import (GATEWAY, Daemon, Skip, endpoint_request, equal, error_of, hex_id, ids, main, make_parent, need,
                     network_request, release_address, request_address, request_pool, run, scratch, set_forwarding,
                     test)

GRACE = 2  # seconds
PARENT = "mnptest0"
FAR = PARENT + "-far"


def pair(*args, reclaim=GRACE, deadline=1):
    """Both daemons, each told where the other is."""
    net = Daemon("net", args=["--firewall", "off"], start=False)
    ipam = Daemon("ipam", start=False, args=["--cooldown", "0", "--deadline", str(deadline), "--reclaim-after",
                                             str(reclaim), "--network-socket", net.sock] + list(args))
    net.args += ["--ipam-socket", ipam.sock]
    net.start()
    ipam.start()
    return ipam, net


def until(what, condition, seconds=30):
    """Wait for what a daemon does by itself."""
    end = time.monotonic() + seconds
    while not condition():
        need(time.monotonic() < end, "it did not happen: " + what)
        time.sleep(0.05)


def metrics(daemon):
    """What a monitoring system is told."""
    with contextlib.closing(daemon.connect()) as c:
        c.sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: d\r\n\r\n")
        return c.receive()[1].decode()


def reclaimed(ipam):
    return re.findall(r"address (\S+) of pool (\S+) reclaimed", ipam.log())


def rounds(ipam):
    return ipam.log().count("leases compared")


def next_rounds(ipam, n=3):
    """Until so many comparisons have begun and ended from now on."""
    begin = rounds(ipam)
    until("comparisons", lambda: rounds(ipam) >= begin + n)


def network(net, name="n", subnet="10.1.0.0/24", gateway="10.1.0.1/24", aux=None, generic=None):
    request = network_request(hex_id(name), generic or {"parent": PARENT}, v4=((subnet, gateway),))
    if aux:
        request["IPv4Data"][0]["AuxAddresses"] = aux
    net.good("CreateNetwork", request)
    return hex_id(name)


def pool_with_gateway(ipam, subnet="10.1.0.0/24", options=None):
    pool = request_pool(ipam, subnet, options=options)["PoolID"]
    request_address(ipam, pool, subnet.replace(".0/24", ".1"), GATEWAY)
    return pool


class Fake:
    """A network daemon, or another plugin of that name, that says `status` and `body` to everything. None: nothing."""

    def __init__(self, path, body, status=200):
        self.body, self.status, self.asked = body, status, 0
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen(16)
        self.kept = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.asked += 1
            connection.recv(65536)
            if self.body is None:
                self.kept.append(connection)
                continue
            with connection, contextlib.suppress(OSError):  # the daemon may have been killed
                connection.sendall(b"HTTP/1.1 %d x\r\nConnection: close\r\n\r\n%s" % (self.status, self.body))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def lonely(path, *args):
    """An IPAM daemon that looks for network daemons at `path`, wildcards allowed."""
    return Daemon("ipam", args=["--cooldown", "0", "--deadline", "1", "--reclaim-after", str(GRACE), "--network-socket",
                                path, "--log-level", "debug"] + list(args))


# ---- leaks ----

@test("an address that no endpoint has comes back after the grace time; those of endpoints, gateways and others stay")
def leak():
    ipam, net = pair("--log-level", "debug")
    pool = pool_with_gateway(ipam)
    aux = request_address(ipam, pool, "10.1.0.9")
    network(net, aux={"printer": "10.1.0.9/24"})
    used = request_address(ipam, pool)
    net.good("CreateEndpoint", endpoint_request(hex_id("n"), hex_id("e"), used))
    lost = request_address(ipam, pool)
    begin = time.monotonic()
    until("the leak is reclaimed", lambda: reclaimed(ipam))
    need(time.monotonic() - begin > GRACE * 0.9, "it was reclaimed too early")
    next_rounds(ipam)
    equal(reclaimed(ipam), [(lost.split("/")[0], pool)], "reclaimed")
    request_address(ipam, pool, "10.1.0.1", bad=["lready"])
    request_address(ipam, pool, aux.split("/")[0], bad=["lready"])
    request_address(ipam, pool, used.split("/")[0], bad=["lready"])
    equal(request_address(ipam, pool, lost.split("/")[0]), lost)


@test("the addresses of a subnet that the network daemon does not know are left alone")
def unknown_subnet():
    ipam, net = pair("--log-level", "debug")
    pool = pool_with_gateway(ipam)
    mine = request_address(ipam, pool)
    network(net, subnet="10.2.0.0/24", gateway="10.2.0.1/24")
    other = pool_with_gateway(ipam, "10.2.0.0/24")
    lost = request_address(ipam, other)
    until("the leak in the known subnet is reclaimed", lambda: reclaimed(ipam))
    next_rounds(ipam)
    equal(reclaimed(ipam), [(lost.split("/")[0], other)], "reclaimed")
    request_address(ipam, pool, mine.split("/")[0], bad=["lready"])


@test("with equal subnets of two tenants nothing is reclaimed until both have a network")
def tenants():
    ipam, net = pair("--log-level", "debug")
    a = pool_with_gateway(ipam, options={"tenant": "a"})
    b = pool_with_gateway(ipam, options={"tenant": "b"})
    lost = request_address(ipam, a)
    request_address(ipam, b, "10.1.0.77")
    network(net, "a")
    next_rounds(ipam, 2 * 10)
    equal(reclaimed(ipam), [], "reclaimed")
    make_parent("mnptest1")
    network(net, "b", generic={"parent": "mnptest1"})
    until("both leaks are reclaimed", lambda: len(reclaimed(ipam)) == 2)
    equal(sorted(reclaimed(ipam)), sorted([(lost.split("/")[0], a), ("10.1.0.77", b)]), "reclaimed")


@test("the global book is never touched")
def global_book():
    ipam, net = pair("--log-level", "debug")
    swarm = request_pool(ipam, "10.1.0.0/24", space="global")["PoolID"]
    request_address(ipam, swarm, "10.1.0.1", GATEWAY)
    task = request_address(ipam, swarm)
    pool = pool_with_gateway(ipam)
    network(net)
    lost = request_address(ipam, pool, "10.1.0.88")
    until("the leak in the local book is reclaimed", lambda: reclaimed(ipam))
    next_rounds(ipam)
    equal(reclaimed(ipam), [(lost.split("/")[0], pool)], "reclaimed")
    request_address(ipam, swarm, task.split("/")[0], bad=["lready"])


@test("while the network daemon is away nothing is reclaimed, and the time does not count")
def daemon_away():
    ipam, net = pair("--log-level", "debug")
    pool = pool_with_gateway(ipam)
    network(net)
    lost = request_address(ipam, pool)
    next_rounds(ipam, 2)
    net.kill()
    time.sleep(1.5 * GRACE)  # nothing is to be waited for: nothing may happen
    equal(reclaimed(ipam), [], "reclaimed")
    net.start()
    begin = rounds(ipam)
    until("it is compared again", lambda: rounds(ipam) > begin)
    equal(reclaimed(ipam), [], "reclaimed right after it came back")
    until("the leak is reclaimed", lambda: reclaimed(ipam))
    equal(reclaimed(ipam), [(lost.split("/")[0], pool)], "reclaimed")


@test("an address whose endpoint comes late is kept")
def late_endpoint():
    ipam, net = pair("--log-level", "debug")
    pool = pool_with_gateway(ipam)
    network(net)
    late = request_address(ipam, pool)
    next_rounds(ipam, 2)
    net.good("CreateEndpoint", endpoint_request(hex_id("n"), hex_id("e"), late))
    next_rounds(ipam, 2 * 10)
    equal(reclaimed(ipam), [], "reclaimed")


@test("a release that was lost while the IPAM daemon was away is made up for")
def lost_release():
    ipam, net = pair("--log-level", "debug")
    pool = pool_with_gateway(ipam)
    network(net)
    address = request_address(ipam, pool)
    net.good("CreateEndpoint", endpoint_request(hex_id("n"), hex_id("e"), address))
    ipam.stop()
    net.good("DeleteEndpoint", ids(hex_id("n"), hex_id("e")))
    ipam.start()
    until("the lease is reclaimed", lambda: reclaimed(ipam))
    equal(request_address(ipam, pool, address.split("/")[0]), address)


@test("the release of a former holder does not free the address under its new one")
def late_release():
    ipam, net = pair("--log-level", "debug")
    pool = pool_with_gateway(ipam)
    network(net)
    address = request_address(ipam, pool)
    until("the lease is reclaimed", lambda: reclaimed(ipam))
    equal(request_address(ipam, pool, address.split("/")[0]), address)
    net.good("CreateEndpoint", endpoint_request(hex_id("n"), hex_id("e"), address))
    release_address(ipam, pool, address)  # of the container that had it first
    request_address(ipam, pool, address.split("/")[0], bad=["lready"])
    net.good("DeleteEndpoint", ids(hex_id("n"), hex_id("e")))
    release_address(ipam, pool, address)  # the new holder's own
    equal(request_address(ipam, pool, address.split("/")[0]), address)


@test("endpoints that reconciling drops are compared at once")
def dropped():
    ipam, net = pair("--log-level", "debug", reclaim=600)
    pool = pool_with_gateway(ipam)
    network(net)
    address = request_address(ipam, pool)
    net.good("CreateEndpoint", endpoint_request(hex_id("n"), hex_id("e"), address))
    equal(rounds(ipam), 0, "comparisons; the next by itself is a minute away")
    link = net.good("EndpointOperInfo", ids(hex_id("n"), hex_id("e")))["Value"]["link"]
    net.stop()
    run("ip", "link", "del", link)
    net.start()
    until("the IPAM daemon compares", lambda: rounds(ipam))


KNOWS_ALL = b'{"Networks":[{"ID":"n","Bridge":"b","Aux":"","Subnets":[{"Pool":"10.1.0.0/24","Gateway":""}]}],' \
            b'"Endpoints":[%s],"Next":"%s"}'


@test("answers that are none give no verdict")
def senseless_answers():
    ipam = lonely(os.path.join(scratch(), "*.sock"))
    pool = pool_with_gateway(ipam)
    lost = request_address(ipam, pool)
    bad = [b"", b"{", b"[]", b"{}", b'{"Endpoints":7,"Next":""}', KNOWS_ALL % (b"7", b""), KNOWS_ALL % (b"{}", b""),
           KNOWS_ALL % (b"", b"x"),  # and again: pages without end
           KNOWS_ALL.replace(b"10.1.0.0/24", b"10.1/24") % (b"", b"")]
    folder = os.path.dirname(ipam.args[ipam.args.index("--network-socket") + 1])
    for i, body in enumerate(bad):
        with Fake(os.path.join(folder, "%d.sock" % i), body) as fake:
            until("it is asked", lambda: fake.asked)  # pylint: disable=cell-var-from-loop
        os.unlink(os.path.join(folder, "%d.sock" % i))
    equal((rounds(ipam), reclaimed(ipam)), (0, []), "comparisons, reclaimed")
    with Fake(os.path.join(folder, "good.sock"), KNOWS_ALL % (b"", b"")):
        until("it is reclaimed by an answer that is one", lambda: reclaimed(ipam))
    equal(reclaimed(ipam), [(lost.split("/")[0], pool)], "reclaimed")


@test("another plugin's socket of that name is passed over; a network daemon that is silent stops all verdicts")
def other_sockets():
    ipam, net = pair("--log-level", "debug")
    ipam.stop()
    folder = scratch()
    place = ipam.args.index("--network-socket") + 1
    ipam.args[place] += " " + os.path.join(folder, "*.sock")
    with Fake(os.path.join(folder, "other.sock"), b"404 page not found\n", 404):
        ipam.start()
        pool = pool_with_gateway(ipam)
        network(net)
        request_address(ipam, pool)
        until("the leak is reclaimed all the same", lambda: reclaimed(ipam))
    os.unlink(os.path.join(folder, "other.sock"))
    with Fake(os.path.join(folder, "silent.sock"), None) as fake:
        request_address(ipam, pool, "10.1.0.55")
        until("the silent one is asked", lambda: fake.asked)
        begin = rounds(ipam)
        time.sleep(1.5 * GRACE)  # nothing is to be waited for: nothing may happen
        need(rounds(ipam) <= begin + 1, "it compared without an answer")
    equal(len(reclaimed(ipam)), 1, "reclaimed")


def patient_pair():
    """For tests that are not about time running out."""
    return pair(reclaim=600, deadline=10)


# ---- a second network, or an engine that has crashed ----

SWARM_ID = "x99517ozgtpbq2jd5wbc8hv1k"


def unheard_pool(ipam, net, name, options=None):
    """A pool with its network, of which nothing was heard since the engine started."""
    pool = pool_with_gateway(ipam, options=options)
    request = network_request(name, {"mode": "isolated"})
    net.good("CreateNetwork", request)
    ipam.good("GetCapabilities", {})
    return pool


@test("in a Swarm's host a second network beside an idle one that the engine keeps on disk is refused")
def second_network():
    ipam, net = pair("--swarm", "true", reclaim=600, deadline=10)
    pool = unheard_pool(ipam, net, hex_id("n"))
    request_pool(ipam, "10.1.0.0/24", bad=["Pool overlaps"])
    ipam.restart()
    request_pool(ipam, "10.1.0.0/24", bad=["Pool overlaps"])
    need(ipam.good("RequestAddress", {"PoolID": pool, "Address": "10.1.0.9"}), "the first one works")


@test("in a Swarm's host a Swarm's network gets its pool again after a crash, whether the network daemon knows it or not")
def crashed_network():
    ipam, net = pair("--swarm", "true", reclaim=600, deadline=10)
    pool = unheard_pool(ipam, net, SWARM_ID)
    equal(request_pool(ipam, "10.1.0.0/24")["PoolID"], pool)
    request_pool(ipam, "10.1.0.0/24", bad=["Pool overlaps"])
    net.good("DeleteNetwork", {"NetworkID": SWARM_ID})
    ipam.good("GetCapabilities", {})
    equal(request_pool(ipam, "10.1.0.0/24")["PoolID"], pool, "the network daemon has forgotten")
    ipam.good("GetCapabilities", {})
    net.stop()
    equal(request_pool(ipam, "10.1.0.0/24")["PoolID"], pool, "there is no network daemon")


@test("in a Swarm's host tenants' networks on one subnet are told apart only if all of them are the engine's own")
def second_network_of_tenants():
    ipam, net = pair("--swarm", "true", reclaim=600, deadline=10)
    request_pool(ipam, "10.1.0.0/24", options={"tenant": "dmz"})
    own = network_request(hex_id("own"), {"mode": "isolated"})
    net.good("CreateNetwork", own)
    pool = unheard_pool(ipam, net, SWARM_ID, options={"tenant": "lan"})
    equal(request_pool(ipam, "10.1.0.0/24", options={"tenant": "lan"})["PoolID"], pool, "a repetition must not fail")
    net.good("DeleteNetwork", {"NetworkID": SWARM_ID})
    net.good("CreateNetwork", network_request(hex_id("lan"), {"mode": "isolated"}))
    ipam.restart()  # what it has learned of the networks is kept for some seconds
    ipam.good("GetCapabilities", {})
    for tenant in ("dmz", "lan"):
        request_pool(ipam, "10.1.0.0/24", options={"tenant": tenant}, bad=["Pool overlaps"])


# ---- leases and their holders ----

@test("a lease is shown with the MAC address, link and network that only the network daemon knows")
def joined():
    ipam, net = patient_pair()
    pool = pool_with_gateway(ipam)
    network(net)
    address = request_address(ipam, pool)
    spare = request_address(ipam, pool)
    mac = net.good("CreateEndpoint", endpoint_request(hex_id("n"), hex_id("e"), address))["Interface"]["MacAddress"]
    link = net.good("EndpointOperInfo", ids(hex_id("n"), hex_id("e")))["Value"]["link"]
    leases = {lease["Address"]: lease for lease in ipam.good("Operator.Leases", {})["Leases"]}
    lease = leases[address.split("/")[0]]
    equal([lease[key] for key in ("MAC", "Link", "Endpoint", "Network")], [mac, link, hex_id("e"), hex_id("n")], "joined")
    equal([leases[spare.split("/")[0]][key] for key in ("MAC", "Link", "Endpoint")], ["", "", ""], "nobody's")
    found = ipam.good("Operator.Leases", {"mac": mac})["Leases"]
    equal([lease["Address"] for lease in found], [address.split("/")[0]], "found by that MAC address")


@test("leases are shown while the network daemon is away")
def joined_alone():
    ipam, net = patient_pair()
    pool = pool_with_gateway(ipam)
    address = request_address(ipam, pool)
    net.kill()
    need(address.split("/")[0] in [lease["Address"] for lease in ipam.good("Operator.Leases", {})["Leases"]], "not there")


# ---- probes ----

class OtherHost:
    """A host on the segment behind the parent, in a network namespace of its own, that has `address`."""

    def __init__(self, address):
        self.process = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        until("it has its namespace", lambda: os.stat("/proc/%d/ns/net" % self.process.pid).st_ino
              != os.stat("/proc/self/ns/net").st_ino)
        run("ip", "link", "set", FAR, "netns", str(self.process.pid))
        self.run("ip", "link", "set", FAR, "up")
        self.add(address)

    def run(self, *command, ok=True):
        return run("nsenter", "-t", str(self.process.pid), "-n", *command, ok=ok)

    def add(self, address):
        self.run("ip", "addr", "add", address, "dev", FAR, *(["nodad"] if ":" in address else []))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.run("ip", "link", "set", FAR, "netns", str(os.getpid()))
        self.process.kill()
        self.process.wait()
        run("ip", "link", "set", FAR, "up")


@test("an address that another host has is set aside and the next one given")
def conflict():
    ipam, net = patient_pair()
    pool = pool_with_gateway(ipam, options={"probe": "200ms"})
    network(net)
    with OtherHost("10.1.0.2/24"):
        equal(request_address(ipam, pool), "10.1.0.3/24")
        request_address(ipam, pool, "10.1.0.2", bad=["10.1.0.2 is in use on the network"])
        equal(request_address(ipam, pool, "10.1.0.7"), "10.1.0.7/24")
    need(re.search(r"address 10\.1\.0\.2 of pool \S+ is in use by [0-9a-f:]{17}", ipam.log()), "the log names the holder")


def shown(ipam, command, *words):
    """What an operator's command prints, as JSON."""
    p = subprocess.run(ipam.command()[:1] + [command, *words, "--json", "--socket", ipam.sock], stdout=subprocess.PIPE,
                       text=True, timeout=60, check=True)
    return json.loads(p.stdout)


@test("operators see which addresses another host has, until they are given again; a container that comes back gets another one")
def conflicts_shown():
    ipam, net = patient_pair()
    pool = pool_with_gateway(ipam, options={"probe": "200ms", "strategy": "sticky"})
    network(net)
    name = {"com.docker.network.endpoint.name": "web"}
    with OtherHost("10.1.0.2/24") as host:
        host.add("10.1.0.77/24")
        equal(request_address(ipam, pool, options=name), "10.1.0.3/24")
        request_address(ipam, pool, "10.1.0.77", bad=["10.1.0.77 is in use on the network"])
        until("both are set aside", lambda: shown(ipam, "status")[0]["Conflicts"] == 2)
        ipam.restart()
        seen = shown(ipam, "status")[0]
        equal((seen["Conflicts"], seen["Resting"], seen["Held"]), (2, 2, 2), "also after a restart")
        equal({row["Address"]: row["State"] for row in shown(ipam, "leases")},
              {"10.1.0.1": "gateway", "10.1.0.2": "conflict", "10.1.0.3": "held", "10.1.0.77": "conflict"})
        equal(shown(ipam, "map", pool)["Cells"][:5], "-G!#.")
        release_address(ipam, pool, "10.1.0.3")
        equal(request_address(ipam, pool, options=name), "10.1.0.3/24", "what it had, not what it could not have")
    equal(request_address(ipam, pool, "10.1.0.2"), "10.1.0.2/24", "the other host has gone")
    equal(shown(ipam, "status")[0]["Conflicts"], 1)


@test("over IPv6 duplicate address detection does the same")
def conflict6():
    if not os.path.exists("/proc/sys/net/ipv6"):
        raise Skip("no IPv6 here")
    ipam, net = patient_pair()
    pool = request_pool(ipam, "fd00:1::/64", v6=True, options={"probe": "200ms"})["PoolID"]
    request_address(ipam, pool, "fd00:1::1", GATEWAY)
    net.good("CreateNetwork", network_request(hex_id("n"), {"parent": PARENT}, v6=(("fd00:1::/64", "fd00:1::1/64"),)))
    with OtherHost("fd00:1::2/64"):
        equal(request_address(ipam, pool), "fd00:1::3/64")


@test("when all that is free is in use by others, the request is refused in time")
def all_taken():
    ipam, net = patient_pair()
    pool = request_pool(ipam, "10.1.0.0/29", options={"probe": "20ms"})["PoolID"]
    request_address(ipam, pool, "10.1.0.1", GATEWAY)
    network(net, subnet="10.1.0.0/29", gateway="10.1.0.1/29")
    with OtherHost("10.1.0.2/29") as host:
        for i in range(3, 7):
            host.add("10.1.0.%d/29" % i)
        begin = time.monotonic()
        request_address(ipam, pool, bad=["in use on the network"])
        need(time.monotonic() - begin < 15, "it took too long")


@test("a request that is refused after a probe leaves no lease behind")
def no_lease_left():
    ipam, net = patient_pair()
    pool = pool_with_gateway(ipam, options={"probe": "50ms"})
    network(net)
    with OtherHost("10.1.0.2/24"):
        request_address(ipam, pool, "10.1.0.2", bad=["in use on the network"])
    until("the address is free again",
          lambda: not error_of(ipam.call("RequestAddress", {"PoolID": pool, "Address": "10.1.0.2", "Options": None})))


@test("while a hundred requests wait for their probes, another pool is served at once")
def undisturbed():
    ipam, net = patient_pair()
    pool = pool_with_gateway(ipam, options={"probe": "600ms"})
    network(net)
    other = request_pool(ipam, "10.9.0.0/16")["PoolID"]
    answers = []

    def ask():
        connection = ipam.connect()
        answers.append(connection.call("IpamDriver.RequestAddress", {"PoolID": pool, "Address": "", "Options": None})[1])
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(100)]
    for t in threads:
        t.start()
    begin = time.monotonic()
    served = 0
    while any(t.is_alive() for t in threads):
        request_address(ipam, other)
        served += 1
    for t in threads:
        t.join()
    equal(len({a["Address"] for a in answers}), 100, "different addresses that were probed")
    need(served, "nobody was served meanwhile")
    need(time.monotonic() - begin < 30, "the probes, 0.6 s each, waited for each other")


@test("without a network daemon, or before the network exists, addresses are given as if there were no probe")
def unprobed():
    ipam, net = patient_pair()
    pool = pool_with_gateway(ipam, options={"probe": "200ms"})
    equal(request_address(ipam, pool), "10.1.0.2/24")
    net.stop()
    equal(request_address(ipam, pool), "10.1.0.3/24")
    need("without a probe" in ipam.log(), "the log says so")


@test("a network daemon that does not answer a probe costs its time and no more")
def silent_probe():
    ipam = lonely(os.path.join(scratch(), "s"))
    ipam.args[ipam.args.index("--deadline") + 1] = "5"
    ipam.args[ipam.args.index("--reclaim-after") + 1] = "0"
    ipam.restart()
    pool = pool_with_gateway(ipam, options={"probe": "100ms"})
    with Fake(ipam.args[ipam.args.index("--network-socket") + 1], None):
        equal(request_address(ipam, pool), "10.1.0.2/24")


@test("a probe time that is none is refused")
def bad_probe():
    ipam, _ = patient_pair()
    for text in ("yes", "200", "-1ms", "6s", "ms"):
        request_pool(ipam, "10.1.0.0/24", options={"probe": text}, bad=["probe=" + text])


@test("probing outlives a restart of the IPAM daemon")
def probe_kept():
    ipam, net = patient_pair()
    pool = pool_with_gateway(ipam, options={"probe": "100ms"})
    network(net)
    ipam.restart()
    with OtherHost("10.1.0.2/24"):
        equal(request_address(ipam, pool), "10.1.0.3/24")


@test("a host that takes a container's address later is reported, once")
def theft():
    ipam, net = patient_pair()
    pool = pool_with_gateway(ipam, options={"probe": "100ms"})
    network(net)
    address = request_address(ipam, pool)
    net.good("CreateEndpoint", endpoint_request(hex_id("n"), hex_id("e"), address))
    net.good("Join", dict(ids(hex_id("n"), hex_id("e")), SandboxKey="/var/run/docker/netns/x"))
    report = r"address 10\.1\.0\.2 of endpoint \S+ is claimed by another host"
    with OtherHost(address) as host:
        for _ in range(3):  # each asks for a neighbour, as the holder of the address
            host.run(sys.executable, "-c", "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"
                     ".sendto(b'x', ('10.1.0.99', 9))")
        until("the theft is reported", lambda: re.search(report, net.log()))
    equal(len(re.findall(report, net.log())), 1, "reports")
    claims = re.search(r"^mynetworkplugin_thefts_total (\d+)$", metrics(net), re.M)
    need(claims and int(claims[1]) >= 1, "it is counted")


if __name__ == "__main__":
    def setup():
        set_forwarding()
        make_parent(PARENT)
    main(setup)
