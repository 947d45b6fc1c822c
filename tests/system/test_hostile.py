#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Clients that vanish, repeat themselves, send garbage, send slowly, or come by the thousand."""

import fcntl
import json
import os
import random
import signal
import socket
import struct
import termios
import time

from harness import (Daemon, endpoint_request, equal, error_of, go_json, has_sanitizers, hex_id, ids, main, marked_links, need,
                     network_request, release_address, request_address, request_pool, say, set_forwarding, test)

SEED = int(os.environ.get("HOSTILE_SEED") or random.SystemRandom().randrange(1 << 32))
SLACK = 24 << 10  # KiB of memory that allocator and caches may keep


class Paused:
    """The daemon stands still meanwhile: what is sent arrives together, in one turn."""

    def __init__(self, daemon):
        self.daemon = daemon

    def __enter__(self):
        self.daemon.process.send_signal(signal.SIGSTOP)
        with open("/proc/%d/stat" % self.daemon.process.pid, encoding="ascii") as f:
            while " T " not in f.read():
                f.seek(0)

    def __exit__(self, *_):
        self.daemon.process.send_signal(signal.SIGCONT)


def settle(daemon):
    """All that was sent before is over, and what follows from it: calls are answered in turns."""
    for _ in range(4):
        daemon.good({"ipam": "GetDefaultAddressSpaces", "net": "GetCapabilities"}[daemon.kind])


def vanish(daemon, method, request, dice, enough=5):
    """Call and be gone before the answer, at a random moment each time, until `enough` answers were lost. A request whose
    client goes before it was read never happens, and one whose answer was faster happens: so the caller gets True where
    something was undone, to put right what was not."""
    n_lost = 0
    for _ in range(3000):
        c = daemon.connect()
        before = daemon.log().count("undone")
        c.send(method, go_json(request))
        wait = time.perf_counter() + dice.uniform(0, 0.003)
        while time.perf_counter() < wait:
            pass  # shorter than any sleep
        c.close()
        settle(daemon)
        lost = daemon.log().count("undone") > before
        n_lost += lost
        yield lost
        if n_lost == enough:
            return
    raise AssertionError("no moment was right for %s" % method)


# ---- answers that nobody gets ----

@test("a network whose client is gone before the answer is taken back")
def lost_network():
    say("HOSTILE_SEED=%d" % SEED)
    d = Daemon("net", args=["--firewall", "off"])
    request = network_request(hex_id("lost"), {"mode": "isolated"})
    for lost in vanish(d, "NetworkDriver.CreateNetwork", request, random.Random(SEED)):
        if not lost:
            d.good("DeleteNetwork", {"NetworkID": hex_id("lost")})
        equal(marked_links(), {}, "links, lost: %r" % lost)
    d.good("CreateNetwork", request)
    d.good("DeleteNetwork", {"NetworkID": hex_id("lost")})
    d.stop()
    equal(d.rows("SELECT id FROM network"), [], "networks")


@test("an endpoint whose client is gone before the answer is taken back")
def lost_endpoint():
    d = Daemon("net", args=["--firewall", "off"])
    network, first, lost_id = hex_id("net"), hex_id("first"), hex_id("lost")
    d.good("CreateNetwork", network_request(network, {"mode": "isolated"}))
    d.good("CreateEndpoint", endpoint_request(network, first, "10.1.0.2/24"))
    for lost in vanish(d, "NetworkDriver.CreateEndpoint", endpoint_request(network, lost_id, "10.1.0.3/24"),
                       random.Random(SEED)):
        if not lost:
            d.good("DeleteEndpoint", ids(network, lost_id))
        equal(sorted(a for a in marked_links().values() if ":veth:" in a), ["mynetworkplugin:veth:" + first],
              "endpoints' links, lost: %r" % lost)
    d.stop()
    equal(d.rows("SELECT id FROM endpoint"), [(first,)], "endpoints")


@test("addresses and pools whose client is gone before the answer are free again")
def lost_addresses():
    d = Daemon("ipam", args=["--cooldown", "0"])
    dice = random.Random(SEED)
    pool = request_pool(d, "10.7.0.0/29")["PoolID"]
    request_address(d, pool, "10.7.0.4")
    for lost in vanish(d, "IpamDriver.RequestAddress", {"PoolID": pool, "Address": "10.7.0.5"}, dice):
        if not lost:
            release_address(d, pool, "10.7.0.5")
        request_address(d, pool, "10.7.0.5")
        release_address(d, pool, "10.7.0.5")
    for lost in vanish(d, "IpamDriver.RequestPool", {"AddressSpace": "local", "Pool": "10.8.0.0/24", "Options": {}}, dice):
        if not lost:
            d.good("ReleasePool", {"PoolID": "local/10.8.0.0/24"})
        request_pool(d, "10.8.0.0/24")
        d.good("ReleasePool", {"PoolID": "local/10.8.0.0/24"})
    d.restart()
    equal({request_address(d, pool) for _ in range(5)}, {"10.7.0.%d/29" % i for i in (1, 2, 3, 5, 6)}, "addresses")


@test("an endpoint that is deleted and joined at the same time leaves no link")
def deleted_and_joined():
    d = Daemon("net", args=["--firewall", "off"])
    network, endpoint = hex_id("n"), hex_id("e")
    d.good("CreateNetwork", network_request(network, {"mode": "isolated"}))
    clients = [d.connect() for _ in range(2)]
    for i in range(20):
        d.good("CreateEndpoint", endpoint_request(network, endpoint))
        calls = [("DeleteEndpoint", ids(network, endpoint)),
                 ("Join", dict(ids(network, endpoint), SandboxKey="/x", Options={}))]
        with Paused(d):
            for c, (method, request) in zip(clients, calls if i % 2 else reversed(calls)):
                c.send("NetworkDriver." + method, go_json(request))
        for c in clients:
            c.receive()
        equal([alias for alias in marked_links().values() if ":veth:" in alias], [], "links of round %d" % i)
    d.stop()


@test("what a second client is told about stays when the first one's answer is lost")
def lost_and_claimed():
    d = Daemon("net", args=["--firewall", "off"])
    for i in range(10):
        network = hex_id("claim%d" % i)
        request = network_request(network, {"mode": "isolated"})
        first, second = d.connect(), d.connect()
        settle(d)
        with Paused(d):
            for c in (first, second) if i % 2 else (second, first):
                c.send("NetworkDriver.CreateNetwork", go_json(request))
            first.close()
        told = not error_of(json.loads(second.receive()[1]))
        settle(d)
        need(not told or "mynetworkplugin:bridge:net:" + network in marked_links().values(),
             "network %d: its client was told that it is there" % i)
        d.good("CreateNetwork", request)
        d.good("CreateEndpoint", endpoint_request(network, hex_id(network)))
        d.good("DeleteNetwork", {"NetworkID": network})


# ---- repeated and misplaced requests ----

@test("an empty body is refused by every method of mynetworkplugin that has arguments, and nothing happens")
def empty_net():
    d = Daemon("net", args=["--firewall", "off"])
    c = d.connect()
    for method in ("CreateNetwork", "DeleteNetwork", "CreateEndpoint", "DeleteEndpoint", "Join", "Leave", "EndpointOperInfo",
                   "AllocateNetwork", "FreeNetwork", "ProgramExternalConnectivity", "RevokeExternalConnectivity",
                   "DiscoverNew", "DiscoverDelete", "GwAllocCheck"):
        status, answer = c.call("NetworkDriver." + method)
        equal(status, 400, "status of %s" % method)
        need("empty" in error_of(answer), "%s: %s" % (method, answer))
    equal(marked_links(), {}, "links")


@test("deletions in any order and number succeed, and a network takes its endpoints along")
def deletions():
    d = Daemon("net", args=["--firewall", "off"])
    network, endpoint = hex_id("n"), hex_id("e")
    d.good("CreateNetwork", network_request(network, {"mode": "isolated"}))
    for method in ("Leave", "DeleteEndpoint", "RevokeExternalConnectivity"):
        d.good(method, ids(network, endpoint))  # never made
    d.good("CreateEndpoint", endpoint_request(network, endpoint))
    d.good("Leave", ids(network, endpoint))     # without Join
    d.good("Leave", ids(network, endpoint))     # twice
    d.good("Join", dict(ids(network, endpoint), SandboxKey="/x", Options={}))
    d.good("RevokeExternalConnectivity", ids(network, endpoint))
    d.good("DeleteEndpoint", ids(network, endpoint))  # without Leave
    d.good("Leave", ids(network, endpoint))     # after it
    d.good("DeleteEndpoint", ids(network, endpoint))
    d.bad("Join", dict(ids(network, endpoint), SandboxKey="/x", Options={}), "unknown to the plugin")
    d.good("CreateEndpoint", endpoint_request(network, endpoint))
    d.good("Join", dict(ids(network, endpoint), SandboxKey="/x", Options={}))
    d.good("DeleteNetwork", {"NetworkID": network})  # with an endpoint in it
    equal(marked_links(), {}, "links")
    d.good("DeleteEndpoint", ids(network, endpoint))
    d.good("DeleteNetwork", {"NetworkID": network})
    d.stop()
    equal(d.rows("SELECT id FROM endpoint"), [], "endpoints")


@test("a release of another's address changes nothing, a release of a pool frees all in it")
def misplaced_releases():
    d = Daemon("ipam", args=["--cooldown", "0"])
    mine = request_pool(d, "10.7.0.0/24", "10.7.0.0/25")["PoolID"]
    other = request_pool(d, "10.7.0.0/24", "10.7.0.128/25")["PoolID"]
    request_address(d, mine, "10.7.0.7")
    release_address(d, other, "10.7.0.7")
    request_address(d, other, "10.7.0.7", bad=("in use",))
    release_address(d, mine, "192.0.2.1")
    release_address(d, "local/192.0.2.0/24", "192.0.2.1")
    d.good("ReleaseAddress", {"PoolID": mine, "Address": "no address"})
    d.good("ReleasePool", {"PoolID": mine})  # with an address in it
    d.good("ReleasePool", {"PoolID": mine})
    request_address(d, mine, bad=("",))
    equal(request_address(d, other, "10.7.0.7"), "10.7.0.7/24", "address of the pool that went")


# ---- garbage ----

def http(head, body=b""):
    return head.encode("latin-1") + b"\r\n\r\n" + body


def post(method, body, length=None):
    return http("POST /%s HTTP/1.1\r\nHost: \r\nContent-Length: %d" % (method, len(body) if length is None else length), body)


def one_status(daemon, data):
    """Status and body of the answer to raw bytes."""
    c = daemon.connect()
    c.sock.sendall(data)
    answer = c.receive()
    c.close()
    return answer


def throw(daemon, data):
    """Raw bytes, and nothing after them."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(daemon.sock)
    sock.settimeout(0.01)  # for an answer, if there is to be one
    try:
        sock.sendall(data)
        sock.recv(65536)
    except OSError:
        pass  # it has closed already, or waits for more
    sock.close()


METHODS = {"ipam": "IpamDriver.RequestPool", "net": "NetworkDriver.CreateNetwork"}
BODIES = {
    "no JSON": b"hello",
    "half of JSON": b'{"NetworkID":"x"',
    "an array": b"[]",
    "a number": b"7",
    "null": b"null",
    "two values": b"{}{}",
    "the same key twice": b'{"NetworkID":"a","NetworkID":"b","PoolID":"a","PoolID":"b"}',
    "a number where text belongs": b'{"NetworkID":7,"AddressSpace":7}',
    "text where an object belongs": b'{"NetworkID":"aa","AddressSpace":"local","Options":"x"}',
    "bytes that are no UTF-8": b'{"NetworkID":"\xff\xfe","AddressSpace":"\xff"}',
    "half of a surrogate pair": b'{"NetworkID":"\\ud800","AddressSpace":"\\ud800"}',
    "UTF-16": '{"NetworkID":"x"}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a NUL in text": b'{"NetworkID":"a\\u0000b","AddressSpace":"a\\u0000b"}',
    "NULs": b"\0" * 100,
    "nesting without end": b"[" * 100000,
    "nested objects": b'{"Options":' * 5000,
    "a number of many digits": b'{"NetworkID":' + b"9" * 5000 + b"}",
    "a number too large": b'{"NetworkID":1e999}',
    "a long text": b'{"AddressSpace":"' + b"x" * 5000 + b'","NetworkID":"' + b"x" * 5000 + b'"}',
    "blanks": b" " * 5000,
    "too many values": b"[" + b"[]," * 200000 + b"[]]",
}


def garbage(kind):
    d = Daemon(kind, args=["--firewall", "off"] if kind == "net" else [])
    for what, body in BODIES.items():
        for method in (METHODS[kind], METHODS[kind].replace("Request", "Release").replace("Create", "Delete")):
            status, got = one_status(d, post(method, body))
            # Deletions and releases of what is well-formed but unknown succeed.
            need(status in (400, 200), "%s: %d %r" % (what, status, got))
            error = error_of(json.loads(got))
            need(error or "Delete" in method or "Release" in method, "%s: accepted" % what)
    equal(one_status(d, post(METHODS[kind], b" " * ((1 << 20) + 1)))[0], 413, "a body of more than 1 MiB")
    equal(one_status(d, post("Nobody.Knows", b"{}"))[0], 404, "unknown method")
    equal(one_status(d, http("GET /%s HTTP/1.1\r\nHost: " % METHODS[kind]))[0], 405, "GET")
    settle(d)
    d.stop()


@test("garbage instead of a request gets a 400 with the reason from myipamplugin")
def garbage_ipam():
    garbage("ipam")


@test("garbage instead of a request gets a 400 with the reason from mynetworkplugin")
def garbage_net():
    garbage("net")
    equal(marked_links(), {}, "links")


@test("noise on the socket, in any size, ends no daemon")
def noise():
    say("HOSTILE_SEED=%d" % SEED)
    dice = random.Random(SEED)
    d = Daemon("ipam")
    good = post("IpamDriver.GetDefaultAddressSpaces", b"")
    for _ in range(300):
        data = bytearray(good * dice.randrange(1, 4))
        for _ in range(dice.randrange(1, 20)):
            dice.choice([
                lambda: data.__setitem__(dice.randrange(len(data)), dice.randrange(256)),
                lambda: data.insert(dice.randrange(len(data)), dice.choice(b"\r\n\0 :/%")),
                lambda: data.extend(dice.randbytes(dice.choice([1, 100, 20000]))),
                lambda: data.__delitem__(slice(dice.randrange(1, len(data)), None)) if len(data) > 40 else None])()
        throw(d, bytes(data))
    settle(d)
    d.stop()


# ---- many, large, slow ----

def until_read(c):
    """Wait until the daemon has read all that was sent."""
    end = time.monotonic() + 60
    while struct.unpack("i", fcntl.ioctl(c.sock, termios.TIOCOUTQ, b"\0\0\0\0"))[0]:
        need(time.monotonic() < end, "the daemon does not read")
        time.sleep(0.001)


def memory(daemon, key="VmRSS:"):
    with open("/proc/%d/status" % daemon.process.pid, encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(key))


def stays_below(daemon, limit):
    """The daemon never used more KiB than that. Sanitizers need more for themselves: only the plain build can tell."""
    most = memory(daemon, "VmHWM:")
    need(most < limit or has_sanitizers(daemon.kind), "%d KiB were used, and %d are the limit" % (most, limit))


@test("others are answered while 1,000 connections are silent, half-sent, or slow, and memory stays bounded")
def thousand():
    d = Daemon("ipam", args=["--cooldown", "0"])
    pool = request_pool(d, "10.7.0.0/16")["PoolID"]
    before = memory(d)
    beginnings = (b"", b"POST /Ipam", b"POST /IpamDriver.RequestAddress HTTP/1.1\r\nHost: \r\nX: ",
                  post("IpamDriver.RequestAddress", b'{"PoolID":', length=4000),
                  http("POST /IpamDriver.RequestPool HTTP/1.1\r\nHost: \r\nTransfer-Encoding: chunked", b"5\r\n{\"Ad"),
                  b"\r\n" * 20)
    silent = [d.connect() for _ in range(1000)]
    for i, c in enumerate(silent):
        c.sock.sendall(beginnings[i % len(beginnings)])
    for i in range(50):
        for c in silent[i::50]:  # slowly: a byte at a time
            c.sock.sendall(b"y")
        release_address(d, pool, request_address(d, pool))
    stays_below(d, before + SLACK + 1000 * 16)
    for c in silent:
        c.close()
    settle(d)
    d.stop()


@test("bodies that are large together are refused with 503 before memory grows out of bounds, and small ones are served")
def large_bodies():
    d = Daemon("ipam")
    before = memory(d)
    large = (1 << 20) - 100
    begun = [d.connect() for _ in range(64)]
    for c in begun:
        c.sock.setblocking(True)
        c.sock.sendall(post("IpamDriver.RequestPool", b" " * large, length=large + 2))
    request_pool(d, "10.9.0.0/24")  # others are served
    stays_below(d, before + SLACK + (16 << 10))
    seen = []
    for c in begun:
        c.sock.sendall(b"{}")
        seen.append(c.receive()[0])
    equal(set(seen), {400, 503}, "statuses")  # {} lacks what is required
    need(8 <= seen.count(400) <= 16, "%d were taken" % seen.count(400))
    equal(one_status(d, post("IpamDriver.RequestPool", b" " * large + b"{}"))[0], 400, "a large body afterwards")
    d.stop()


@test("many values in small bodies are refused with 503 before memory grows out of bounds")
def many_values():
    d = Daemon("ipam")
    before = memory(d)
    body = b'{"AddressSpace":"local","Pool":"10.9.0.0/24","Options":{"x":[' + b"[]," * 50000 + b"[]]}}"
    clients = [d.connect() for _ in range(40)]
    for c in clients:
        c.sock.sendall(post("IpamDriver.RequestPool", body[:-2], length=len(body)))
    for c in clients:
        until_read(c)
    with Paused(d):
        for c in clients:
            c.sock.sendall(body[-2:])
    seen = [c.receive()[0] for c in clients]
    need(503 in seen and set(seen) <= {200, 503}, "statuses: %r" % seen)
    stays_below(d, before + SLACK + (100 << 10))
    d.good("GetDefaultAddressSpaces")
    d.stop()


@test("a client that never reads its answers stands in nobody's way")
def never_reads():
    d = Daemon("ipam", args=["--cooldown", "0"])
    pool = request_pool(d, "10.7.0.0/16")["PoolID"]
    deaf = [d.connect() for _ in range(20)]
    call = post("IpamDriver.RequestAddress", go_json({"PoolID": pool, "Address": ""}))
    for c in deaf:
        c.sock.setblocking(False)
        try:
            for _ in range(100):
                c.sock.send(call * 100)
        except BlockingIOError:
            pass
    for _ in range(20):
        release_address(d, pool, request_address(d, pool))
    for c in deaf:
        c.close()
    settle(d)
    d.stop()


if __name__ == "__main__":
    main(set_forwarding)
