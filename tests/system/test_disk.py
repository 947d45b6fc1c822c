#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Every call that changes the disk fails in turn, in both daemons: each request is done or refused, and that holds.

A preloaded library (tests/support/faultdisk.c) fails the Nth call, once or from then on. For every N up to the number of
calls of a good run: the daemon starts or says why it does not; what it answers agrees with its state after the fault has
gone and after a kill and a restart. DISK_STRIDE tries every so many N only.
"""

import mmap
import os
import struct

from harness import (BUILD, Daemon, endpoint_request, equal, error_of, hex_id, ids, main, marked_links, need, network_request,
                     request_address, request_pool, say, scratch, set_forwarding, test)

KINDS = {"EIO once": 1, "EIO from then on": 2, "a full disk": 3, "a write cut short, then a full disk": 4,
         "syncs that fail from then on": 5}
STRIDE = int(os.environ.get("DISK_STRIDE") or 1)
SHIM = os.path.join(BUILD, "tests/support/faultdisk.so")


class Disk:
    """What the library reads: see struct control there."""

    def __init__(self):
        self.path = os.path.join(scratch(), "control")
        with open(self.path, "wb") as f:
            f.write(bytes(20))
        with open(self.path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 20)

    def set(self, fail_at=0, kind=0):
        self.map[0:20] = struct.pack("<5I", 0, fail_at, kind, 0, 0)

    def mend(self):
        self.map[4:12] = bytes(8)

    def calls(self):
        return struct.unpack("<I", self.map[0:4])[0]

    def failed(self):
        return struct.unpack("<I", self.map[12:16])[0]


def daemon_on(kind, disk, state, args):
    asan = os.environ.get("ASAN_OPTIONS", "")
    return Daemon(kind, state=state, args=args, start=False,
                  env={"LD_PRELOAD": SHIM, "FAULTDISK_CONTROL": disk.path, "FAULTDISK_DIR": state,
                       "ASAN_OPTIONS": (asan + ":" if asan else "") + "verify_asan_link_order=0"})


def start_or_say_why(d):
    """Whether it runs. If not, it said which file and why."""
    try:
        d.start()
        return True
    except AssertionError as e:
        need("ended at start" in str(e), str(e))
        need("state " in str(e) and d.state in str(e), "it does not say why it ended: %s" % e)
        d._ended()
        return False


class Addresses:
    """What myipamplugin is asked, and what it must have afterwards."""

    kind = "ipam"
    args = ["--cooldown", "0"]

    def prepare(self, d):
        pool = request_pool(d, "10.1.0.0/24")["PoolID"]
        for host in (10, 11):
            request_address(d, pool, "10.1.0.%d" % host)

    def begin(self):
        self.pools = {"local/10.1.0.0/24"}
        self.held = {"10.1.0.10", "10.1.0.11"}

    def _pool(self, d, prefix):
        answer = d.call("RequestPool", {"AddressSpace": "local", "Pool": prefix, "SubPool": "", "Options": {}, "V6": False})
        if not error_of(answer):
            self.pools.add(answer["PoolID"])

    def _address(self, d, pool, address=""):
        if pool not in self.pools:
            return
        answer = d.call("RequestAddress", {"PoolID": pool, "Address": address, "Options": {}})
        if not error_of(answer):
            got = answer["Address"].split("/")[0]
            need(got not in self.held, "%s was given twice" % got)
            self.held.add(got)

    def script(self, d):
        d.call("GetCapabilities", {})
        self._pool(d, "10.2.0.0/24")
        self._address(d, "local/10.1.0.0/24", "10.1.0.20")
        self._address(d, "local/10.1.0.0/24")
        self._address(d, "local/10.2.0.0/24", "10.2.0.5")
        if not error_of(d.call("ReleaseAddress", {"PoolID": "local/10.1.0.0/24", "Address": "10.1.0.10"})):
            self.held.discard("10.1.0.10")
        if not error_of(d.call("ReleasePool", {"PoolID": "local/10.2.0.0/24"})):
            self.pools.discard("local/10.2.0.0/24")
            self.held -= {a for a in self.held if a.startswith("10.2.")}

    def after(self, d):
        """The fault has gone: all works again."""
        self.held.add(request_address(d, "local/10.1.0.0/24", "10.1.0.30").split("/")[0])

    def compare(self, d):
        equal({row[0] for row in d.rows("SELECT name FROM pool")}, self.pools, "pools on disk")
        equal({row[0] for row in d.rows("SELECT address FROM lease WHERE released_at IS NULL")}, self.held, "leases on disk")


class Links:
    """The same of mynetworkplugin. A deletion that was refused may have taken the link down already: then it is completed
    later, as one that a crash has cut off. It is never half done."""

    kind = "net"
    args = ["--firewall", "off"]

    def prepare(self, d):
        d.good("CreateNetwork", network_request(hex_id("n0"), {"mode": "isolated"}))
        d.good("CreateEndpoint", endpoint_request(hex_id("n0"), hex_id("e0")))

    def begin(self):
        self.networks = {hex_id("n0")}
        self.endpoints = {hex_id("e0")}
        self.unsure = set()

    def _do(self, d, method, request, done):
        if not error_of(d.call(method, request)):
            done()
        elif method == "DeleteEndpoint":
            self.unsure.add(request["EndpointID"])
        elif method == "DeleteNetwork":
            self.unsure.add(request["NetworkID"])

    def script(self, d):
        n0, n1, e0, e1, e2 = (hex_id(x) for x in ("n0", "n1", "e0", "e1", "e2"))
        self._do(d, "CreateNetwork", network_request(n1, {"mode": "isolated"}, v4=(("10.2.0.0/24", "10.2.0.1/24"),)),
                 lambda: self.networks.add(n1))
        self._do(d, "CreateEndpoint", endpoint_request(n0, e1, "10.1.0.3/24"), lambda: self.endpoints.add(e1))
        if n1 in self.networks:
            self._do(d, "CreateEndpoint", endpoint_request(n1, e2, "10.2.0.2/24"), lambda: self.endpoints.add(e2))
        self._do(d, "DeleteEndpoint", ids(n0, e0), lambda: self.endpoints.discard(e0))
        if e2 in self.endpoints:
            self._do(d, "DeleteEndpoint", ids(n1, e2), lambda: self.endpoints.discard(e2))
        if n1 in self.networks:
            self._do(d, "DeleteNetwork", {"NetworkID": n1}, lambda: self.networks.discard(n1))

    def after(self, d):
        d.good("CreateEndpoint", endpoint_request(hex_id("n0"), hex_id("e9"), "10.1.0.9/24"))
        self.endpoints.add(hex_id("e9"))

    def compare(self, d):
        networks = {row[0] for row in d.rows("SELECT id FROM network")}
        endpoints = {row[0] for row in d.rows("SELECT id FROM endpoint")}
        equal(networks - self.unsure, self.networks - self.unsure, "networks on disk")
        equal(endpoints - self.unsure, self.endpoints - self.unsure, "endpoints on disk")
        marks = set(marked_links().values())
        equal({m for m in marks if ":bridge:" not in m},
              {"mynetworkplugin:%s:%s" % (kind, e) for e in endpoints for kind in ("veth", "peer")}, "links")
        equal({m.rsplit(":", 1)[1] for m in marks if ":bridge:" in m}, networks, "bridges")


def prepared(load):
    """A state directory as the load wants to find it. What an earlier case left in the kernel goes."""
    d = Daemon(load.kind, args=load.args)
    load.prepare(d)
    d.stop()
    load.begin()
    return d.state


def one_case(load, state, fail_at, kind, mend_first):
    """Return: whether the fault came."""
    disk = Disk()
    d = daemon_on(load.kind, disk, state, load.args)
    disk.set(fail_at, kind)
    if start_or_say_why(d):
        load.script(d)
        if mend_first:
            disk.mend()
            load.after(d)
        d.kill()
    failed = disk.failed() > 0
    disk.mend()
    d.start()
    d.stop()
    load.compare(d)
    return failed


def every_call(load, kind, mend_first):
    disk = Disk()
    d = daemon_on(load.kind, disk, prepared(load), load.args)
    disk.set()
    d.start()
    load.script(d)
    total = disk.calls()
    d.stop()
    load.compare(d)
    need(total > 20, "only %d calls seen" % total)
    hit = 0
    for fail_at in range(1, total + 1, STRIDE):
        try:
            hit += one_case(load, prepared(load), fail_at, kind, mend_first)
        except AssertionError as e:
            raise AssertionError("call %d of %d: %s" % (fail_at, total, e)) from e
    say("%d calls, %d faults" % (total, hit))
    need(hit > total / STRIDE / 4, "too few faults")


for sort in (Addresses, Links):
    for name, number in KINDS.items():
        def case(sort=sort, number=number):
            # Where the whole disk fails to the end, what an answer of failure means is known when it works again.
            every_call(sort(), number, mend_first=True)
        test("%s does or refuses each request and goes on, whichever call meets %s"
             % ({"ipam": "myipamplugin", "net": "mynetworkplugin"}[sort.kind], name))(case)


for sort in (Addresses, Links):
    def killed(sort=sort):
        every_call(sort(), KINDS["syncs that fail from then on"], mend_first=False)
    test("%s, killed while syncs fail, has nothing that it refused and all that it answered"
         % {"ipam": "myipamplugin", "net": "mynetworkplugin"}[sort.kind])(killed)


if __name__ == "__main__":
    main(set_forwarding)
