#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Both daemons under many clients that want the same things at once, and on a full disk: what was answered holds, and nothing
else is left. Killing them is tested in test_kill.py.

The random numbers come from CRASH_SEED, which is printed.
"""

import json
import os
import random
import threading
import time

from harness import (Daemon, endpoint_request, equal, error_of, hex_id, ids, links, main, marked_links, need, network_request,
                     release_address, request_address, request_pool, run, say, scratch, set_forwarding, test)

SEED = int(os.environ.get("CRASH_SEED") or random.SystemRandom().randrange(1 << 32))


@test("links that are half made when mynetworkplugin dies are removed at the next start")
def half_made():
    d = Daemon("net", args=["--firewall", "off"])
    d.good("CreateNetwork", network_request(hex_id("n"), {"mode": "isolated"}))
    d.kill()
    # What a veth pair looks like between two steps: marked, in no bridge, and no record knows it.
    endpoint = hex_id("half")
    run("ip", "link", "add", "mnv" + endpoint[:12], "type", "veth", "peer", "name", "mnc" + endpoint[:12])
    run("ip", "link", "set", "mnv" + endpoint[:12], "alias", "mynetworkplugin:veth:" + endpoint)
    d.start()
    equal([n for n in links() if n.startswith(("mnv", "mnc"))], [], "links left")


# ---- everybody at the same things ----

def in_parallel(n_clients, loop):
    """loop(number) in so many threads; what went wrong in them."""
    wrong = []

    def client(number):
        try:
            loop(number)
        except Exception as e:  # reported by the test itself
            wrong.append("client %d: %s" % (number, e))
    threads = [threading.Thread(target=client, args=(i,)) for i in range(n_clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    equal(wrong, [], "what the clients complain of")


@test("mynetworkplugin stays in step when many make and delete the same networks and endpoints at once")
def chaos_net():
    say("CRASH_SEED=%d" % SEED)
    d = Daemon("net", args=["--firewall", "off"])
    networks = [hex_id("chaos%d" % i) for i in range(3)]
    endpoints = [hex_id("chaosep%d" % i) for i in range(6)]

    def loop(number):
        dice = random.Random(SEED + number)
        c = d.connect()
        for _ in range(60):
            i = dice.randrange(len(networks))
            network, endpoint = networks[i], dice.choice(endpoints)
            method, request = dice.choice([
                ("CreateNetwork", network_request(network, {"mode": dice.choice(["isolated", "isolated", "routed"])},
                                                  v4=(("10.%d.0.0/24" % i, "10.%d.0.1/24" % i),))),
                ("DeleteNetwork", {"NetworkID": network}),
                ("CreateEndpoint", endpoint_request(network, endpoint, "10.%d.0.%d/24" % (i, dice.randrange(2, 6)))),
                ("CreateEndpoint", endpoint_request(network, endpoint, "10.%d.0.%d/24" % (i, dice.randrange(2, 6)))),
                ("Join", dict(ids(network, endpoint), SandboxKey="/x", Options={})),
                ("Leave", ids(network, endpoint)),
                ("DeleteEndpoint", ids(network, endpoint)),
                ("EndpointOperInfo", ids(network, endpoint))])
            status, answer = c.call("NetworkDriver." + method, request)
            equal(status, 200, method)
            if method.startswith(("Delete", "Leave", "EndpointOperInfo")):
                equal(error_of(answer), "", method)

    in_parallel(8, loop)
    d.stop()
    # Links of endpoints that have left and were not joined again are gone, and so they may be.
    endpoints_kept = {row[0] for row in d.rows("SELECT id FROM endpoint")}
    marks = set(marked_links().values())
    equal({m for m in marks if ":bridge:" in m}, {"mynetworkplugin:bridge:" + r[0] for r in d.rows("SELECT key FROM segment")},
          "bridges")
    equal({m.split(":")[2] for m in marks if ":veth:" in m} - endpoints_kept, set(), "links without record")
    equal(d.rows("SELECT id FROM network WHERE state <> 'ready'"), [], "networks in between")
    equal(d.rows("SELECT id FROM endpoint WHERE network NOT IN (SELECT id FROM network)"), [], "orphaned endpoints")
    d.start()
    for network in networks:
        d.good("DeleteNetwork", {"NetworkID": network})
    equal(marked_links(), {}, "links at the end")


@test("myipamplugin stays in step when many take and give back the same pools and addresses at once")
def chaos_ipam():
    d = Daemon("ipam", args=["--cooldown", "0"])
    pools = [("10.1.0.0/28", ""), ("10.1.0.0/28", "10.1.0.0/29"), ("10.1.0.0/28", "10.1.0.8/29"), ("fd00::/125", "")]
    names = ["local/" + p + ("/" + s if s else "") for p, s in pools]

    def loop(number):
        dice = random.Random(SEED + number)
        c = d.connect()
        for _ in range(300):
            i = dice.randrange(len(pools))
            address = "10.1.0.%d" % dice.randrange(16) if i < 3 else "fd00::%d" % dice.randrange(8)
            options = {"RequestAddressType": "com.docker.network.gateway"} if dice.random() < 0.2 else None
            method, request = dice.choice([
                ("RequestPool", {"AddressSpace": "local", "Pool": pools[i][0], "SubPool": pools[i][1], "Options": {}}),
                ("ReleasePool", {"PoolID": names[i]}),
                ("GetCapabilities", None)] + 3 * [
                    ("RequestAddress", {"PoolID": names[i], "Address": "", "Options": options}),
                    ("RequestAddress", {"PoolID": names[i], "Address": address, "Options": options}),
                    ("ReleaseAddress", {"PoolID": names[i], "Address": address})])
            status, answer = c.call("IpamDriver." + method, request)
            equal(status, 200, method)
            if method.startswith("Release"):
                equal(error_of(answer), "", method)

    def free():
        """Every free address of the pools that there are, put back afterwards."""
        out = {}
        for name in names:
            taken = []
            while not error_of(answer := d.call("RequestAddress", {"PoolID": name, "Address": ""})):
                taken.append(answer["Address"])
            for address in taken:
                release_address(d, name, address)
            out[name] = sorted(taken)
        return out

    in_parallel(8, loop)
    before = free()
    d.restart()
    equal(free(), before, "free addresses after the restart")
    for name in names:
        d.good("ReleasePool", {"PoolID": name})
    d.stop()
    for table in ("pool", "subnet", "lease", "chunk", "sharer"):
        equal(d.rows("SELECT count(*) FROM " + table), [(0,)], "rows of " + table)


# ---- a full disk ----

class SmallDisk:
    """A file system of 1 MiB that something else fills."""

    def __init__(self):
        self.path = scratch()
        run("mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", self.path)
        self.state = os.path.join(self.path, "state")
        self.filler = os.path.join(self.path, "filler")
        self.grow(300 << 10)  # what is free again afterwards is at least this

    def grow(self, size):
        fd = os.open(self.filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            while size > 0:
                size -= os.write(fd, b"x" * 4096)
        except OSError:
            pass  # full, as wanted
        finally:
            os.close(fd)

    def fill(self):
        self.grow(1 << 30)

    def free(self):
        os.unlink(self.filler)


def until_full(disk, one, n=45):
    """one(i) -> error text, for i = 0, 1, ... The disk is filled at n // 3: (done, refused)."""
    done, refused = [], []
    for i in range(n):
        if i == n // 3:
            disk.fill()
        error = one(i)
        (refused if error else done).append(i)
        need(not error or "full" in error or "space" in error.lower(), "the reason does not name the disk: " + error)
    need(done and refused, "%d done, %d refused: the disk was never full" % (len(done), len(refused)))
    return done, refused


@test("on a full disk myipamplugin does each request or refuses it, and goes on when there is space")
def full_ipam():
    disk = SmallDisk()
    d = Daemon("ipam", state=disk.state, args=["--cooldown", "0"])
    pool = request_pool(d, "10.5.0.0/24")["PoolID"]

    def ask(i):
        return error_of(d.call("RequestAddress", {"PoolID": pool, "Address": "10.5.0.%d" % (i + 2)}))
    done, refused = until_full(disk, ask)
    d.good("GetDefaultAddressSpaces")
    disk.free()
    for i in done:
        need("in use" in ask(i), "10.5.0.%d was answered and is free" % (i + 2))
    for i in refused:
        equal(ask(i), "", "10.5.0.%d was refused and is taken" % (i + 2))
    d.restart()
    for i in done + refused:
        need("in use" in ask(i), "10.5.0.%d is free after the restart" % (i + 2))
    equal(request_pool(d, "10.6.0.0/24")["Pool"], "10.6.0.0/24")


@test("on a full disk the addresses that many ask for at once are each given or refused as on disk")
def full_ipam_parallel():
    disk = SmallDisk()
    d = Daemon("ipam", state=disk.state, args=["--cooldown", "0"])
    pool = request_pool(d, "10.5.0.0/22")["PoolID"]
    disk.fill()
    connections = [d.connect() for _ in range(32)]
    given = []
    n_refused = 0
    for _ in range(10):
        for c in connections:
            c.send("IpamDriver.RequestAddress", json.dumps({"PoolID": pool, "Address": ""}).encode())
        for c in connections:
            answer = json.loads(c.receive()[1])
            if error_of(answer):
                n_refused += 1
            else:
                given.append(answer["Address"])
    need(n_refused, "the disk was never full")
    equal(len(given), len(set(given)), "addresses given")
    disk.free()
    d.restart()
    for address in given:
        request_address(d, pool, address.split("/")[0], bad=("in use",))
    d.stop()
    equal(d.rows("SELECT count(*) FROM lease"), [(len(given),)], "leases on disk")


@test("on a full disk mynetworkplugin does each request or refuses it without a trace, and goes on when there is space")
def full_net():
    disk = SmallDisk()
    d = Daemon("net", state=disk.state, args=["--firewall", "off"])
    network = hex_id("full")
    d.good("CreateNetwork", network_request(network, {"mode": "isolated"}))

    def endpoint(i):
        return endpoint_request(network, hex_id("full%d" % i), "10.1.0.%d/24" % (i + 2))

    def ask(i):
        return error_of(d.call("CreateEndpoint", endpoint(i)))
    done, refused = until_full(disk, ask)
    error = error_of(d.call("CreateNetwork", network_request(hex_id("full2"), {"mode": "isolated"})))
    need("full" in error, "CreateNetwork on a full disk: " + error)
    d.good("EndpointOperInfo", ids(network, hex_id("x")))
    disk.free()
    expected = {"mynetworkplugin:%s:%s" % (kind, hex_id("full%d" % i)) for i in done for kind in ("veth", "peer")}
    expected.add("mynetworkplugin:bridge:net:" + network)
    end = time.monotonic() + 30  # the repair comes after seconds
    while set(marked_links().values()) != expected and time.monotonic() < end:
        time.sleep(0.1)
    equal(sorted(marked_links().values()), sorted(expected), "marked links")
    for i in refused:
        equal(ask(i), "", "endpoint %d after the disk was full" % i)
    d.restart()
    for i in done + refused:
        d.good("DeleteEndpoint", ids(network, hex_id("full%d" % i)))
    d.good("DeleteNetwork", {"NetworkID": network})
    equal(marked_links(), {})


if __name__ == "__main__":
    main(set_forwarding)
