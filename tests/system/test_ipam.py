#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: Apache-2.0
"""myipamplugin through its socket: what a user of `docker network create` and `docker run` relies on."""

import ipaddress
import time

from harness import (DEADLINE, GATEWAY, Daemon, equal, error_of, main, need, release_address, request_address, request_pool,
                     run, test)


def ipam(*args):
    return Daemon("ipam", args=["--cooldown", "0"] + list(args))


def take_all(d, pool_id, bad="no available addresses"):
    """Addresses until none is left, which must be said with `bad` and the pool's name."""
    taken = []
    while True:
        answer = d.call("RequestAddress", {"PoolID": pool_id, "Address": "", "Options": None})
        error = error_of(answer)
        if error:
            need(bad.lower() in error.lower() and pool_id in error, "text of exhaustion: " + error)
            return taken
        taken.append(answer["Address"])
        need(len(taken) <= 70000, "addresses without end")


# ---- addresses ----

@test("a subnet that is named is given as it is, and its first address is the gateway")
def explicit():
    d = ipam()
    pool = request_pool(d, "10.5.0.0/24")
    equal(pool["Pool"], "10.5.0.0/24")
    equal(request_address(d, pool["PoolID"], options=GATEWAY), "10.5.0.1/24")


@test("a container's address has the length of the subnet and lies in the range")
def range_():
    d = ipam()
    pool = request_pool(d, "10.5.0.0/24", "10.5.0.128/25")["PoolID"]
    for _ in range(5):
        address = ipaddress.ip_interface(request_address(d, pool))
        equal(address.network.prefixlen, 24)
        need(address.ip in ipaddress.ip_network("10.5.0.128/25"), "%s is outside of the range" % address)


@test("the default gateway is the first address of the range")
def range_gateway():
    d = ipam()
    pool = request_pool(d, "10.5.0.0/24", "10.5.0.64/26")["PoolID"]
    gateway = request_address(d, pool, options=GATEWAY)
    need(gateway in ("10.5.0.64/24", "10.5.0.65/24"), "gateway " + gateway)


@test("gateway, auxiliary address and --ip may lie outside of the range")
def outside_range():
    d = ipam()
    pool = request_pool(d, "10.5.0.0/24", "10.5.0.128/25")["PoolID"]
    equal(request_address(d, pool, "10.5.0.1", GATEWAY), "10.5.0.1/24")
    equal(request_address(d, pool, "10.5.0.2"), "10.5.0.2/24")
    equal(request_address(d, pool, "10.5.0.99"), "10.5.0.99/24")


@test("an auxiliary address inside the range is never handed to a container")
def auxiliary():
    d = ipam()
    pool = request_pool(d, "10.5.0.0/28")["PoolID"]
    request_address(d, pool, "10.5.0.1", GATEWAY)
    request_address(d, pool, "10.5.0.5")
    need("10.5.0.5/28" not in take_all(d, pool), "the auxiliary address was handed out")


@test("--ip of an address that is held is refused with the built-in driver's words and the pool's name")
def in_use():
    d = ipam()
    pool = request_pool(d, "10.5.0.0/24")["PoolID"]
    request_address(d, pool, "10.5.0.7")
    request_address(d, pool, "10.5.0.7", bad=("ddress already in use", "10.5.0.7", pool))


@test("--ip outside of the subnet is refused")
def outside():
    d = ipam()
    pool = request_pool(d, "10.5.0.0/24")["PoolID"]
    request_address(d, pool, "10.6.0.7", bad=("10.6.0.7", "10.5.0.0/24"))


@test("network and broadcast address are never handed out, and all others are, once")
def whole_subnet():
    d = ipam()
    pool = request_pool(d, "10.5.0.0/26")["PoolID"]
    taken = take_all(d, pool)
    equal(sorted(ipaddress.ip_interface(a).ip for a in taken), list(ipaddress.ip_network("10.5.0.0/26").hosts()))


@test("an address that was released is given again once the others are gone")
def released():
    d = ipam()
    pool = request_pool(d, "10.5.0.0/28")["PoolID"]
    taken = take_all(d, pool)
    release_address(d, pool, taken[3])
    equal(request_address(d, pool), taken[3])


@test("the next address is another one than the one just released")
def next_fit():
    d = ipam()
    pool = request_pool(d, "10.5.0.0/24")["PoolID"]
    first = request_address(d, pool)
    release_address(d, pool, first)
    need(request_address(d, pool) != first, "the address came again at once")


@test("with a cooldown, a released address rests until nothing else is left")
def cooldown():
    d = Daemon("ipam", args=["--cooldown", "86400"])
    pool = request_pool(d, "10.5.0.0/29")["PoolID"]
    released_first = request_address(d, pool)
    rest = [request_address(d, pool) for _ in range(3)]
    release_address(d, pool, released_first)
    release_address(d, pool, rest[0])
    others = [request_address(d, pool) for _ in range(2)]
    need(released_first not in others and rest[0] not in others, "a resting address was given: %r" % others)
    equal(request_address(d, pool), released_first, "the one that has rested longest")
    equal(request_address(d, pool), rest[0])


@test("with a cooldown, --ip takes a resting address")
def cooldown_explicit():
    d = Daemon("ipam", args=["--cooldown", "86400"])
    pool = request_pool(d, "10.5.0.0/24")["PoolID"]
    request_address(d, pool, "10.5.0.9")
    release_address(d, pool, "10.5.0.9")
    equal(request_address(d, pool, "10.5.0.9"), "10.5.0.9/24")


for _prefix, _n in (("10.5.0.0/31", 2), ("10.5.0.4/32", 1), ("fd00:5::/127", 2), ("fd00:5::4/128", 1)):
    def register(prefix, n):
        @test("a /%s of IPv%d has %d usable address%s"
              % (prefix.split("/")[1], 6 if ":" in prefix else 4, n, "" if n == 1 else "es"))
        def _():
            d = ipam()
            pool = request_pool(d, prefix, v6=":" in prefix)["PoolID"]
            equal(sorted(take_all(d, pool)), [str(a) + "/" + prefix.split("/")[1] for a in ipaddress.ip_network(prefix)])
    register(_prefix, _n)


@test("IPv6: a /64 gives addresses inside it and never its all-zeros one")
def v6():
    d = ipam()
    pool = request_pool(d, "fd00:5::/64", v6=True)["PoolID"]
    equal(request_address(d, pool, options=GATEWAY), "fd00:5::1/64")
    for _ in range(100):
        address = ipaddress.ip_interface(request_address(d, pool))
        need(address.ip in ipaddress.ip_network("fd00:5::/64") and int(address.ip) & 0xffff, "address %s" % address)


# ---- releases ----

@test("releases are idempotent, and unknown ones succeed")
def idempotent():
    d = ipam()
    pool = request_pool(d, "10.5.0.0/24")["PoolID"]
    address = request_address(d, pool)
    for _ in range(2):
        release_address(d, pool, address)
    release_address(d, pool, "10.5.0.77")
    release_address(d, pool, "192.0.2.1")
    release_address(d, "local/10.99.0.0/24", "10.99.0.1")
    release_address(d, "nonsense", "nonsense")
    for _ in range(2):
        d.good("ReleasePool", {"PoolID": pool})
    d.good("ReleasePool", {"PoolID": "nonsense"})


@test("releasing an address twice does not free it for two")
def release_twice():
    d = ipam()
    pool = request_pool(d, "10.5.0.0/28")["PoolID"]
    taken = take_all(d, pool)
    release_address(d, pool, taken[0])
    equal(request_address(d, pool), taken[0])
    release_address(d, pool, taken[1])
    release_address(d, pool, taken[1])
    equal(take_all(d, pool), [taken[1]])


@test("releasing a pool frees every address in it")
def release_pool():
    d = ipam()
    pool = request_pool(d, "10.5.0.0/29")["PoolID"]
    taken = take_all(d, pool)
    d.good("ReleasePool", {"PoolID": pool})
    pool = request_pool(d, "10.5.0.0/29")["PoolID"]
    equal(sorted(take_all(d, pool)), sorted(taken))


@test("a request for a pool that is unknown is refused")
def unknown_pool():
    request_address(ipam(), "local/10.99.0.0/24", bad=("10.99.0.0/24",))


# ---- subnets ----

@test("a subnet that overlaps another is refused with the built-in driver's words and the other pool's name")
def overlap():
    d = ipam()
    pool = request_pool(d, "10.5.0.0/16")["PoolID"]
    text = "Pool overlaps with other one on this address space"
    for prefix in ("10.5.0.0/16", "10.5.7.0/24", "10.0.0.0/8"):
        request_pool(d, prefix, bad=(text, prefix, pool))


@test("the same subnet is free in the other address space and for another tenant")
def spaces():
    d = ipam()
    ids = {request_pool(d, "10.5.0.0/16")["PoolID"], request_pool(d, "10.5.0.0/16", space="global")["PoolID"],
           request_pool(d, "10.5.0.0/16", options={"tenant": "blue"})["PoolID"]}
    equal(len(ids), 3, "different PoolIDs")


@test("an unknown address space is refused")
def unknown_space():
    request_pool(ipam(), "10.5.0.0/16", space="mars", bad=("mars",))


@test("an unknown --ipam-opt is refused with its name")
def unknown_option():
    request_pool(ipam(), "10.5.0.0/16", options={"tenent": "blue"}, bad=("tenent", "tenant"))


@test("two networks with different ranges share a subnet and never an address")
def shared():
    d = ipam()
    pools = [request_pool(d, "10.5.0.0/28", r)["PoolID"] for r in ("10.5.0.0/29", "10.5.0.8/29")]
    need(pools[0] != pools[1], "one PoolID for both")
    taken = [take_all(d, p) for p in pools]
    need(not set(taken[0]) & set(taken[1]), "an address was given twice")
    request_address(d, pools[1], taken[0][0].split("/")[0], bad=("in use",))


@test("two networks that share a subnet may name the same gateway, which is free after both are gone")
def shared_gateway():
    d = ipam()
    pools = [request_pool(d, "10.5.0.0/24", r)["PoolID"] for r in ("10.5.0.0/25", "10.5.0.128/25")]
    for p in pools:
        equal(request_address(d, p, "10.5.0.1", GATEWAY), "10.5.0.1/24")
    release_address(d, pools[0], "10.5.0.1")
    d.good("ReleasePool", {"PoolID": pools[0]})
    request_address(d, pools[1], "10.5.0.1", bad=("in use",))
    release_address(d, pools[1], "10.5.0.1")
    equal(request_address(d, pools[1], "10.5.0.1"), "10.5.0.1/24")


@test("the same subnet with the same range is refused")
def shared_same():
    d = ipam()
    request_pool(d, "10.5.0.0/24", "10.5.0.0/25")
    request_pool(d, "10.5.0.0/24", "10.5.0.0/25", bad=("overlaps",))


@test("a range outside of its subnet is refused")
def range_outside():
    request_pool(ipam(), "10.5.0.0/24", "10.6.0.0/25", bad=("10.6.0.0/25",))


@test("host bits of a subnet are cleared")
def host_bits():
    equal(request_pool(ipam(), "10.5.0.77/24")["Pool"], "10.5.0.0/24")


@test("without a subnet every call gives another free one, and none that overlaps a route of the host")
def free_subnets():
    for route in ("172.17.3.0/24", "172.20.0.0/14", "192.168.0.0/18"):
        run("ip", "route", "add", route, "dev", "lo")
    try:
        d = ipam()
        routes = [ipaddress.ip_network(r) for r in ("172.17.3.0/24", "172.20.0.0/14", "192.168.0.0/18")]
        seen = []
        while True:
            answer = d.call("RequestPool", {"AddressSpace": "local", "Pool": "", "SubPool": "", "Options": {}, "V6": False})
            if error_of(answer):
                need("default" in error_of(answer) or "subnet" in error_of(answer), error_of(answer))
                break
            pool = ipaddress.ip_network(answer["Pool"])
            need(not any(pool.overlaps(other) for other in seen), "%s was given twice" % pool)
            need(not any(pool.overlaps(r) for r in routes), "%s overlaps a route" % pool)
            seen.append(pool)
        # 172.18, .19, .24-.31 as /16, and the twelve /20 of 192.168.64.0 and above
        equal(len(seen), 10 + 12, "number of free default subnets")
    finally:
        for route in ("172.17.3.0/24", "172.20.0.0/14", "192.168.0.0/18"):
            run("ip", "route", "delete", route)


@test("global networks without a subnet get a /24 of 10.0.0.0/8")
def global_default():
    pool = ipaddress.ip_network(request_pool(ipam(), space="global")["Pool"])
    equal(pool.prefixlen, 24)
    need(pool.subnet_of(ipaddress.ip_network("10.0.0.0/8")), "pool %s" % pool)


@test("IPv6 without a subnet gets a /64 of one unique local /48, which a restart does not change")
def ula():
    d = ipam()
    first = ipaddress.ip_network(request_pool(d, v6=True)["Pool"])
    d.restart()
    second = ipaddress.ip_network(request_pool(d, v6=True)["Pool"])
    equal(first.prefixlen, 64)
    need(first.subnet_of(ipaddress.ip_network("fd00::/8")), "pool %s" % first)
    equal(first.supernet(new_prefix=48), second.supernet(new_prefix=48))
    need(first != second, "the same /64 twice")


@test("0.0.0.0/N asks for any free subnet of that size")
def any_of_size():
    d = ipam()
    first, second = (ipaddress.ip_network(request_pool(d, "0.0.0.0/26")["Pool"]) for _ in range(2))
    equal((first.prefixlen, second.prefixlen), (26, 26))
    need(not first.overlaps(second), "the same one twice")


@test("default-pools decides where free subnets come from, also from the environment")
def default_pools():
    d = Daemon("ipam", env={"MYIPAMPLUGIN_DEFAULT_POOLS": "base=10.200.0.0/23,size=24"})
    equal([request_pool(d)["Pool"], request_pool(d)["Pool"]], ["10.200.0.0/24", "10.200.1.0/24"])
    request_pool(d, bad=("subnet",))


# ---- generations: an engine that asks again ----

@test("after GetCapabilities a new Swarm leader may claim a pool, its gateway and its addresses again")
def replay():
    d = ipam()
    serial = {"com.docker.network.ipam.serial": "true"}
    d.good("GetCapabilities")
    pool = request_pool(d, "10.5.0.0/24", space="global", options=serial)["PoolID"]
    request_address(d, pool, "10.5.0.1", dict(GATEWAY, **serial))
    request_address(d, pool, "10.5.0.9", serial)
    d.good("GetCapabilities")
    equal(request_pool(d, "10.5.0.0/24", space="global", options=serial)["PoolID"], pool)
    equal(request_address(d, pool, "10.5.0.1", dict(GATEWAY, **serial)), "10.5.0.1/24")
    equal(request_address(d, pool, "10.5.0.9", serial), "10.5.0.9/24")


@test("what was claimed again is held as before: the next claim of the same generation is refused")
def replay_once():
    d = ipam()
    d.good("GetCapabilities")
    pool = request_pool(d, "10.5.0.0/24", space="global")["PoolID"]
    request_address(d, pool, "10.5.0.9")
    d.good("GetCapabilities")
    request_pool(d, "10.5.0.0/24", space="global")
    request_address(d, pool, "10.5.0.9")
    request_address(d, pool, "10.5.0.9", bad=("in use",))
    request_pool(d, "10.5.0.0/24", space="global", bad=("overlaps",))


@test("a second network of the same generation on the same subnet is refused")
def same_generation():
    d = ipam()
    d.good("GetCapabilities")
    request_pool(d, "10.5.0.0/24", space="global")
    request_pool(d, "10.5.0.0/24", space="global", bad=("overlaps",))


@test("a local network that a person made is not given away after GetCapabilities")
def no_replay():
    d = ipam()
    d.good("GetCapabilities")
    request_pool(d, "10.5.0.0/24", options={})
    d.good("GetCapabilities")
    request_pool(d, "10.5.0.0/24", options={}, bad=("overlaps",))


@test("a local pool that came without Swarm's mark may be claimed again only where swarm=true says that this is a Swarm")
def replay_null():
    for swarm, texts in (("false", ("overlaps",)), ("true", ())):
        d = ipam("--swarm", swarm)
        d.good("GetCapabilities")
        request_pool(d, "10.5.0.0/24", options="null")
        d.good("GetCapabilities")
        request_pool(d, "10.5.0.0/24", options="null", bad=texts)
        d.stop()


SERIAL = {"com.docker.network.ipam.serial": "true"}


@test("a pool that a leader gives back with a task's address in it has it still when it is asked for again")
def kept_pool():
    d = ipam()
    d.good("GetCapabilities")
    pool = request_pool(d, "10.5.0.0/24", space="global")["PoolID"]
    request_address(d, pool, "10.5.0.1", GATEWAY)
    task = request_address(d, pool)
    release_address(d, pool, "10.5.0.1")
    d.good("ReleasePool", {"PoolID": pool})
    d.good("ReleasePool", {"PoolID": pool})
    request_address(d, pool, bad=("released",))
    d.restart()
    equal(request_pool(d, "10.5.0.0/24", space="global")["PoolID"], pool)
    request_address(d, pool, "10.5.0.1", GATEWAY)
    need(task not in take_all(d, pool), "the task's address was given away")
    equal(request_address(d, pool, task.split("/")[0]), task)


@test("a pool given back with addresses in it makes way for another one, which leaves them alone")
def makes_way():
    d = ipam()
    d.good("GetCapabilities")
    pool = request_pool(d, "10.5.0.0/28", space="global")["PoolID"]
    task = request_address(d, pool).split("/")[0]
    request_pool(d, "10.5.0.0/27", space="global", bad=("overlaps",))
    d.good("ReleasePool", {"PoolID": pool})
    larger = request_pool(d, "10.5.0.0/27", space="global")["PoolID"]
    d.restart()
    need(task + "/27" not in take_all(d, larger), "the task's address was given away")


def held(d):
    """The addresses that somebody holds, from the records on disk."""
    return sorted(a for a, in d.rows("SELECT address FROM lease WHERE released_at IS NULL", running=True))


def wait_for(condition, what):
    end = time.monotonic() + DEADLINE
    while not condition():
        need(time.monotonic() < end, "in vain: " + what)
        time.sleep(0.05)


@test("what a new leader does not ask for again is free when the grace is over, pools and addresses")
def grace():
    d = ipam("--swarm-grace", "1")
    d.good("GetCapabilities")
    pool = request_pool(d, "10.5.0.0/24", space="global")["PoolID"]
    gone = request_pool(d, "10.6.0.0/24", space="global")["PoolID"]
    for p in pool, gone:
        request_address(d, p, options=GATEWAY)
        for _ in range(300 if p == gone else 200):
            if error_of(d.call("RequestAddress", {"PoolID": p, "Address": "", "Options": None})):
                break
    d.good("GetCapabilities")
    request_pool(d, "10.5.0.0/24", space="global")
    request_address(d, pool, "10.5.0.1", GATEWAY)
    request_address(d, pool, "10.5.0.9")
    wait_for(lambda: held(d) == ["10.5.0.1", "10.5.0.9"], "only what was asked for again is held")
    request_address(d, gone, bad=("cannot find",))
    request_pool(d, "10.6.0.0/16", space="global")


@test("a network made anew after GetCapabilities is not taken for a leader's repetition: others stay")
def no_repetition():
    d = ipam("--swarm-grace", "1")
    d.good("GetCapabilities")
    quiet = request_pool(d, "10.5.0.0/24", space="global")["PoolID"]
    request_address(d, quiet, "10.5.0.9")
    pool = request_pool(d, "10.6.0.0/24", space="global")["PoolID"]
    request_address(d, pool, options=GATEWAY)
    gone = request_pool(d, "10.7.0.0/24", space="global")["PoolID"]
    request_address(d, gone, "10.7.0.9")
    d.good("ReleasePool", {"PoolID": gone})
    d.good("GetCapabilities")
    request_pool(d, "10.6.0.0/24", space="global")
    request_address(d, pool, options=GATEWAY)
    wait_for(lambda: "10.7.0.9" not in held(d), "the sweep has been by")
    request_address(d, quiet, "10.5.0.9", bad=("in use",))


@test("what an engine held when it crashed is reclaimed when Swarm asks for the pool again")
def reclaimed():
    d = ipam()
    d.good("GetCapabilities")
    pool = request_pool(d, "10.5.0.0/24", options=SERIAL)["PoolID"]
    request_address(d, pool, "10.5.0.1", GATEWAY)
    for i in range(5, 9):
        request_address(d, pool, "10.5.0.%d" % i)
    d.restart()
    d.good("GetCapabilities")
    request_pool(d, "10.5.0.0/24", options=SERIAL)
    request_address(d, pool, "10.5.0.1", GATEWAY)
    request_address(d, pool, "10.5.0.6")
    wait_for(lambda: held(d) == ["10.5.0.1", "10.5.0.6"], "only what is used is held")


@test("without Swarm's mark a pool is given again where swarm=true, and nothing in it is touched")
def not_reclaimed():
    d = ipam("--swarm", "true")
    d.good("GetCapabilities")
    pools = [(request_pool(d, net, options=options)["PoolID"], net, options)
             for net, options in (("10.5.0.0/28", "null"), ("10.7.0.0/28", {"slice": "1/1"}))]
    addresses = [request_address(d, pool) for pool, _, _ in pools]
    marked = request_pool(d, "10.6.0.0/28", options=SERIAL)["PoolID"]
    request_address(d, marked)
    d.good("GetCapabilities")
    for _, net, options in pools:
        request_pool(d, net, options=options)
        request_pool(d, net, options=options, bad=("overlaps",))
    request_pool(d, "10.6.0.0/28", options=SERIAL)
    wait_for(lambda: held(d) == sorted(a.split("/")[0] for a in addresses), "the sweep has been by")
    for (pool, _, _), address in zip(pools, addresses):
        need(address not in take_all(d, pool), "%s was given away" % address)
    request_pool(d, "10.5.0.0/24", options=SERIAL, bad=("overlaps",))


# ---- slices, and IPv6 made of IPv4 ----

@test("slices of one subnet are disjoint, cover it, and leave gateway and --ip free to choose")
def slices():
    seen = []
    for n in range(1, 9):
        d = ipam()
        pool = request_pool(d, "10.5.0.0/24", options={"slice": "%d/8" % n})["PoolID"]
        request_address(d, pool, "10.5.0.1", GATEWAY)
        taken = take_all(d, pool)
        first = 32 * (n - 1)
        need(all(first <= int(a.split("/")[0].split(".")[3]) < first + 32 for a in taken), "slice %d: %r" % (n, taken))
        request_address(d, pool, "10.5.0.%d" % ((first + 40) % 256))
        seen += taken
        d.stop()
    equal(len(set(seen)), len(seen), "number of different addresses")
    equal(len(seen), 253, "all but gateway, network and broadcast address")


@test("a slice of the ip-range is cut from that; one that makes no sense is refused with its value")
def bad_slices():
    d = ipam()
    pool = request_pool(d, "10.5.0.0/24", "10.5.0.128/25", options={"slice": "2/2"})
    need(request_address(d, pool["PoolID"]).startswith("10.5.0.192/"), "first of the second half")
    for text in "0/8", "9/8", "2/6", "1/", "/8", "x", "1/8/1", "-1/8":
        request_pool(d, "10.6.0.0/24", options={"slice": text}, bad=("slice", text))
    request_pool(d, "10.6.0.0/24", options={"slice": "1/512"}, bad=("slice", "10.6.0.0/24"))
    request_pool(d, "10.6.0.0/24", options={"slice": "1/256"}, bad=("slice", "network or broadcast"))


DUAL = {"v6-from": "10.5.0.0/24"}


@test("with v6-from a node's IPv6 address is made of the IPv4 address that the leader chose")
def derived():
    d = ipam()
    v4 = request_pool(d, "10.5.0.0/24", options=dict(DUAL, **SERIAL))["PoolID"]
    v6 = request_pool(d, "fd00:5::/64", options=dict(DUAL, **SERIAL))["PoolID"]
    equal(request_address(d, v4, "10.5.0.1", GATEWAY), "10.5.0.1/24")
    equal(request_address(d, v6, "fd00:5::1", GATEWAY), "fd00:5::1/64")
    for n in 7, 3, 200:
        request_address(d, v4, "10.5.0.%d" % n)
        equal(ipaddress.ip_interface(request_address(d, v6)), ipaddress.ip_interface("fd00:5::a05:%x/64" % n))
    request_address(d, v6, bad=("v6-from", "10.5.0.0/24"))
    equal(request_address(d, v6, "fd00:5::99"), "fd00:5::99/64")
    release_address(d, v4, "10.5.0.7")
    release_address(d, v6, "fd00:5::a05:7")
    request_address(d, v4, "10.5.0.7")
    equal(ipaddress.ip_interface(request_address(d, v6)), ipaddress.ip_interface("fd00:5::a05:7/64"))


@test("with v6-from a leader gives an IPv4 address whichever pool it asks, and takes it back from either")
def leader_of_both():
    d = ipam()
    v4 = request_pool(d, "10.5.0.0/24", space="global", options=dict(DUAL))["PoolID"]
    v6 = request_pool(d, "fd00:5::/64", space="global", options=dict(DUAL))["PoolID"]
    request_address(d, v4, options=GATEWAY)
    equal(request_address(d, v6, options=GATEWAY), "fd00:5::1/64")
    first, second = request_address(d, v6), request_address(d, v4)
    equal([first, second], ["10.5.0.2/24", "10.5.0.3/24"])
    release_address(d, v6, first.split("/")[0])
    release_address(d, v6, second.split("/")[0])
    equal(held(d), ["10.5.0.1", "fd00:5::1"])
    d.good("GetCapabilities")
    for pool in "10.5.0.0/24", "fd00:5::/64":
        request_pool(d, pool, space="global", options=dict(DUAL))
    equal(request_address(d, v6, "10.5.0.2"), "10.5.0.2/24")


@test("v6-from that is no IPv4 subnet, or with an IPv6 subnet too small for it, is refused")
def bad_derived():
    d = ipam()
    for text in "fd00::/64", "10.5.0.0", "x":
        request_pool(d, "fd00:5::/64", options={"v6-from": text}, bad=("v6-from", text))
    request_pool(d, "fd00:5::/112", options=DUAL, bad=("v6-from", "/112"))


# ---- restarts ----

@test("a restart forgets nothing: pools, addresses and where the search goes on")
def restart():
    d = ipam()
    pool = request_pool(d, "10.5.0.0/28", "10.5.0.8/29")["PoolID"]
    gateway = request_address(d, pool, options=GATEWAY)
    held = [request_address(d, pool) for _ in range(3)]
    freed = held.pop(1)
    release_address(d, pool, freed)
    d.restart()
    for address in held + [gateway]:
        request_address(d, pool, address.split("/")[0], bad=("in use",))
    request_pool(d, "10.5.0.0/28", bad=("overlaps",))
    rest = take_all(d, pool)
    need(freed in rest and not set(rest) & set(held), "after the restart: %r, held %r" % (rest, held))
    equal(rest[-1], freed, "next fit goes on where it was")


@test("a restart keeps which addresses rest, and in which order")
def restart_cooldown():
    d = Daemon("ipam", args=["--cooldown", "86400"])
    pool = request_pool(d, "10.5.0.0/29")["PoolID"]
    taken = take_all(d, pool)
    release_address(d, pool, taken[2])
    d.restart()
    equal(request_address(d, pool), taken[2])


@test("requires-mac-address is what GetCapabilities says")
def mac():
    equal(ipam().good("GetCapabilities")["RequiresMACAddress"], False)
    equal(ipam("--requires-mac-address", "true").good("GetCapabilities")["RequiresMACAddress"], True)


@test("an engine is never asked to replay")
def never_replay():
    equal(ipam().good("GetCapabilities")["RequiresRequestReplay"], False)


# ---- malformed requests ----

@test("an empty body is refused by every method that has arguments, and changes nothing")
def empty_body():
    d = ipam()
    for method in ("RequestPool", "ReleasePool", "RequestAddress", "ReleaseAddress"):
        status, answer = d.connect().call("IpamDriver." + method)
        equal(status, 400)
        need(error_of(answer), "no reason")


@test("a wrong type is refused with the field's name")
def wrong_type():
    status, answer = ipam().connect().call("IpamDriver.RequestPool", {"AddressSpace": "local", "Pool": 7})
    equal(status, 400)
    need("Pool" in error_of(answer), error_of(answer))


@test("an unknown method is answered with 404 and a reason")
def unknown_method():
    status, answer = ipam().connect().call("IpamDriver.Frobnicate", {})
    equal(status, 404)
    need("Frobnicate" in error_of(answer), error_of(answer))


if __name__ == "__main__":
    main()
