#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: Apache-2.0
"""What operators do with myipamplugin's commands, on the running daemon, while an engine goes on asking."""

import ipaddress
import json
import subprocess
import time

from harness import (GATEWAY, Daemon, equal, go_json, main, need, release_address, request_address, request_pool, test,
                     write_checksums)

NAME = "com.docker.network.endpoint.name"
MAC = "com.docker.network.endpoint.macaddress"


def ipam(*args):
    return Daemon("ipam", args=["--cooldown", "0"] + list(args))


def command(d, *words, status=0, found=False):
    """Output of the command; with status 1, what it complained about; found: it has found something, and says so."""
    p = subprocess.run(d.command()[:1] + list(words) + ["--socket", d.sock], stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    equal(p.returncode, 3 if found else status, "%s: %s%s" % (" ".join(words), p.stdout, p.stderr))
    return p.stderr if status else p.stdout


def as_json(d, *words):
    return json.loads(command(d, *words, "--json"))


def bare(address):
    return address.split("/")[0]


def pick(d, pool, **options):
    return bare(request_address(d, pool, options={k: v for k, v in options.items()} or None))


def named(name):
    return {NAME: name}


# ---- exclude, reserve ----

@test("--ipam-opt exclude: none of those addresses is ever picked, and --ip does not get one")
def exclude_option():
    d = ipam()
    pool = request_pool(d, "10.0.0.0/27", options={"exclude": "10.0.0.1-10.0.0.20,10.0.0.24/30,10.0.0.30"})["PoolID"]
    taken = [pick(d, pool) for _ in range(5)]
    equal(sorted(taken), ["10.0.0.21", "10.0.0.22", "10.0.0.23", "10.0.0.28", "10.0.0.29"])
    request_address(d, pool, bad=("no available addresses", "excluded"))
    request_address(d, pool, "10.0.0.7", bad=("10.0.0.7 is excluded (10.0.0.1-10.0.0.20)",))
    equal(request_address(d, pool, "10.0.0.1", GATEWAY), "10.0.0.1/27", "a gateway may be excluded")


@test("--ipam-opt exclude: a range that is none, lies outside or comes twice is refused, and nothing is left")
def exclude_refused():
    d = ipam()
    for text, why in (("10.0.0.300", "neither an address nor a range"), ("10.0.0.9-10.0.0.5", "ends before it begins"),
                      ("10.0.1.1", "is not inside 10.0.0.0/24"), ("10.0.0.1-10.0.0.9,10.0.0.9", "overlaps")):
        request_pool(d, "10.0.0.0/24", options={"exclude": text}, bad=("exclude", why))
    equal(as_json(d, "status"), [])


@test("--ipam-opt exclude: networks that share a subnet may exclude the same")
def exclude_shared():
    d = ipam()
    for n in range(2):
        request_pool(d, "10.0.0.0/24", "10.0.0.%d/25" % (128 * n), options={"exclude": "10.0.0.1-10.0.0.9"})
    equal(len(as_json(d, "ranges")), 1)


@test("exclude and include work at once, last over a restart, and leave who holds an address alone")
def exclude_command():
    d = ipam()
    pool = request_pool(d, "10.0.0.0/28")["PoolID"]
    equal(pick(d, pool), "10.0.0.1")
    said = command(d, "exclude", "10.0.0.1-10.0.0.12")
    need("1 of it is in use" in said and "keeps it" in said, said)
    equal(pick(d, pool), "10.0.0.13")
    d.restart()
    equal(pick(d, pool), "10.0.0.14")
    request_address(d, pool, bad=("no available addresses",))
    need("as it stands" in command(d, "include", "10.0.0.2", status=1), "only what was excluded")
    command(d, "include", "10.0.0.1-10.0.0.12")
    equal(pick(d, pool), "10.0.0.2")
    d.restart()
    equal(as_json(d, "ranges"), [])


@test("a /8 of which all but one address is excluded is picked from as fast as any other")
def exclude_huge():
    d = ipam()
    pool = request_pool(d, "10.0.0.0/8", options={"exclude": "10.0.0.0-10.200.0.0,10.200.0.2-10.255.255.255"})["PoolID"]
    equal(pick(d, pool), "10.200.0.1")
    equal(as_json(d, "status")[0]["Free"], 0)


@test("reserve: not picked, but --ip gets it; one for a container is picked by that container alone")
def reserve():
    d = ipam()
    pool = request_pool(d, "10.0.0.0/28")["PoolID"]
    command(d, "reserve", "10.0.0.1-10.0.0.3")
    command(d, "reserve", "10.0.0.9", "--name", "db")
    command(d, "reserve", "10.0.0.10", "--mac", "02:42:0a:00:00:0A")
    equal(pick(d, pool), "10.0.0.4")
    equal(request_address(d, pool, "10.0.0.2"), "10.0.0.2/28")
    equal(pick(d, pool, **named("web")), "10.0.0.5")
    request_address(d, pool, "10.0.0.9", named("web"), bad=("10.0.0.9 is reserved for db",))
    equal(pick(d, pool, **named("db")), "10.0.0.9")
    equal(pick(d, pool, **{MAC: "02:42:0a:00:00:0a"}), "10.0.0.10")
    equal(pick(d, pool, **named("db")), "10.0.0.6", "its address is taken: any other")


@test("reserve: what makes no sense is refused with the reason")
def reserve_refused():
    d = ipam()
    request_pool(d, "10.0.0.0/24")
    request_pool(d, "10.0.0.0/24", options={"tenant": "dmz"})
    need("--pool local/10.0.0.0/24 or --pool local/10.0.0.0/24@dmz" in command(d, "reserve", "10.0.0.7", status=1), "which")
    for words, why in ((["10.0.9.9"], "no pool has the address 10.0.9.9"),
                       (["10.0.0.7-10.0.0.9", "--name", "x"], "only one address can be reserved"),
                       (["10.0.0.7", "--mac", "02:42"], "mac: '02:42' is not of the form")):
        said = command(d, "reserve", *words, "--pool", "local/10.0.0.0/24" if "9.9" not in words[0] else "10.0.9.0/24",
                       status=1)
        need(why in said or "no pool" in said and "9.9" in words[0], said)
    command(d, "reserve", "10.0.0.7", "--pool", "local/10.0.0.0/24@dmz")
    need("overlaps 10.0.0.7, which is reserved" in
         command(d, "exclude", "10.0.0.0/29", "--pool", "local/10.0.0.0/24@dmz", status=1), "twice")


# ---- extend, release, move ----

@test("extend widens the range of a pool, also after a restart, and never narrows it")
def extend():
    d = ipam()
    pool = request_pool(d, "10.0.0.0/24", "10.0.0.8/30")["PoolID"]
    taken = [pick(d, pool) for _ in range(4)]
    request_address(d, pool, bad=("no available addresses",))
    need("must contain the present one" in command(d, "extend", pool, "10.0.0.9-10.0.0.99", status=1), "narrowing")
    need("usable addresses" in command(d, "extend", pool, "10.0.0.0-10.0.0.99", status=1), "network address")
    command(d, "extend", pool, "10.0.0.7-10.0.0.12")
    taken.append(pick(d, pool))
    d.restart()
    taken.append(pick(d, pool))
    equal(sorted(ipaddress.ip_address(a) for a in taken), [ipaddress.ip_address("10.0.0.%d" % n) for n in range(7, 13)])
    request_address(d, pool, bad=("no available addresses",))


@test("a pool that was extended goes on behind its last pick after a restart")
def extended_cursor():
    d = ipam()
    pool = request_pool(d, "10.0.0.0/24", "10.0.0.8/30")["PoolID"]
    command(d, "extend", pool, "10.0.0.8-10.0.0.99")
    for n in range(8, 14):
        equal(pick(d, pool), "10.0.0.%d" % n)
    release_address(d, pool, "10.0.0.8")
    d.restart()
    equal(pick(d, pool), "10.0.0.14")


@test("release gives back an address that nobody will, and the engine may still release it")
def release():
    d = ipam()
    pool = request_pool(d, "10.0.0.0/30")["PoolID"]
    pick(d, pool), pick(d, pool)
    request_address(d, pool, bad=("no available addresses",))
    command(d, "release", "10.0.0.1")
    need("10.0.0.1 is not held" in command(d, "release", "10.0.0.1", status=1), "twice")
    release_address(d, pool, "10.0.0.1")
    equal(pick(d, pool), "10.0.0.1")


@test("move: the container gets the other address when it comes again")
def move():
    d = ipam()
    pool = request_pool(d, "10.0.0.0/24")["PoolID"]
    equal(pick(d, pool, **named("web")), "10.0.0.1")
    said = command(d, "move", "10.0.0.1", "10.0.0.77")
    need("web gets 10.0.0.77 when it is started again" in said, said)
    release_address(d, pool, "10.0.0.1")
    equal(pick(d, pool, **named("web")), "10.0.0.77")
    request_address(d, pool, "10.0.0.5")
    need("neither name nor MAC" in command(d, "move", "10.0.0.5", "10.0.0.6", status=1), "unknown holder")


# ---- strategies ----

@test("strategy=lowest takes the lowest free address, strategy=next the one behind the last")
def strategies():
    d = ipam()
    for strategy, expected in (("lowest", "10.0.0.1"), ("next", "10.0.0.4")):
        pool = request_pool(d, "10.0.0.0/24", options={"strategy": strategy})["PoolID"]
        for _ in range(3):
            pick(d, pool)
        release_address(d, pool, "10.0.0.1")
        equal(pick(d, pool), expected, strategy)
        d.good("ReleasePool", {"PoolID": pool})
    request_pool(d, "10.0.0.0/24", options={"strategy": "worst"}, bad=("strategy", "worst", "sticky"))


@test("strategy=random spreads addresses over the whole range")
def random():
    d = ipam()
    pool = request_pool(d, "10.0.0.0/16", options={"strategy": "random"})["PoolID"]
    taken = {pick(d, pool).split(".")[2] for _ in range(200)}
    need(len(taken) > 50, "only %d of 256 thirds of an address in 200 picks" % len(taken))


@test("strategy=sticky: a container that comes back gets its address, by name or by MAC, also after a restart")
def sticky():
    d = ipam()
    pool = request_pool(d, "10.0.0.0/24", options={"strategy": "sticky"})["PoolID"]
    addresses = {}
    for who in (named("web"), named("db"), {MAC: "02:42:0a:00:00:01"}):
        addresses[str(who)] = pick(d, pool, **who)
        release_address(d, pool, addresses[str(who)])
    d.restart()
    need(pick(d, pool, **named("other")) not in addresses.values(), "a kept address went to another")
    for who in (named("db"), {MAC: "02:42:0a:00:00:01"}, named("web")):
        equal(pick(d, pool, **who), addresses[str(who)])


@test("strategy=sticky: what is kept is given to others when nothing else is left, or after sticky-time")
def sticky_ends():
    d = ipam()
    pool = request_pool(d, "10.0.0.0/30", options={"strategy": "sticky"})["PoolID"]
    kept = pick(d, pool, **named("web"))
    release_address(d, pool, kept)
    equal({pick(d, pool), pick(d, pool)}, {"10.0.0.1", "10.0.0.2"})
    d = ipam("--sticky-time", "0")
    pool = request_pool(d, "10.0.0.0/24", options={"strategy": "sticky"})["PoolID"]
    kept = pick(d, pool, **named("web"))
    release_address(d, pool, kept)
    need(pick(d, pool, **named("web")) != kept, "it was kept without time")


# ---- seeing ----

@test("status counts what is used, rests, is kept and free, and draws it")
def status():
    d = Daemon("ipam", args=["--cooldown", "1000"])
    pool = request_pool(d, "10.0.0.0/24")["PoolID"]
    request_address(d, pool, "10.0.0.1", GATEWAY)
    for _ in range(3):
        last = pick(d, pool)
    release_address(d, pool, last)
    command(d, "exclude", "10.0.0.128/25")
    seen = as_json(d, "status")[0]
    equal({k: seen[k] for k in ("Pool", "Strategy", "Usable", "Used", "Held", "Resting", "Kept", "Free")},
          {"Pool": pool, "Strategy": "next", "Usable": 254, "Used": 4, "Held": 3, "Resting": 1, "Kept": 127, "Free": 123})
    text = command(d, "status")
    need(pool in text and "[" in text and "#" in text and "~" in text and "x" in text, text)


@test("leases shows who has what, and filters by pool, address, name and MAC")
def leases():
    d = Daemon("ipam", args=["--cooldown", "1000"])
    first = request_pool(d, "10.0.0.0/24")["PoolID"]
    other = request_pool(d, "10.1.0.0/24")["PoolID"]
    pick(d, first, **named("web"))
    pick(d, first, **{MAC: "02:42:0A:00:00:01"})
    pick(d, other)
    release_address(d, first, "10.0.0.1")

    def seen(*words):
        return [(row["Address"], row["State"]) for row in as_json(d, "leases", *words)]
    equal(seen(), [("10.0.0.1", "resting"), ("10.0.0.2", "held"), ("10.1.0.1", "held")])
    equal(seen("--pool", other), [("10.1.0.1", "held")])
    equal(seen("--pool", "10.1.0.0/24"), [("10.1.0.1", "held")])
    equal(seen("--name", "web"), [("10.0.0.1", "resting")])
    equal(seen("--mac", "02:42:0a:00:00:01"), [("10.0.0.2", "held")])
    equal(seen("--address", "10.1.0.1"), [("10.1.0.1", "held")])
    text = command(d, "leases")
    need("10.0.0.1" in text and "web" in text, text)


@test("leases and check go through ten thousand leases in pages, each lease once")
def many():
    d = ipam()
    fill(d)
    rows = as_json(d, "leases")
    equal(len({row["Address"] for row in rows}), 10000)
    equal(len(rows), 10000)
    equal(as_json(d, "check"), [])
    need("checked" in command(d, "check"), "what it says")


def fill(d):
    """Two pools of five thousand leases."""
    pools = [request_pool(d, "10.%d.0.0/19" % n)["PoolID"] for n in range(2)]
    for pool in pools:
        for _ in range(5000):
            request_address(d, pool)
    return pools


@test("between the pages of a long leases or check an engine is served, and the list stays whole")
def meanwhile():
    d = ipam()
    pool = fill(d)[0]
    for method, rows in (("Operator.Leases", "Leases"), ("Operator.Check", "Findings")):
        operator, after, pages, seen = d.connect(), {}, 0, []
        while True:
            # The engine asks when a page is under way, so it waits for that page at most, not for the list.
            operator.send(method, go_json(after))
            address = bare(request_address(d, pool))
            answer = json.loads(operator.receive()[1])
            release_address(d, pool, address)
            pages += 1
            seen += [row["Address"] for row in answer[rows]] if rows == "Leases" else answer[rows]
            if "Next" not in answer:
                break
            after = {"After": answer["Next"]}
        operator.close()
        need(pages >= 5, "%s came in %d pages: nothing has been proved" % (method, pages))
        if rows == "Findings":
            equal(seen, [])
        else:
            equal(len(set(seen)), len(seen), "each lease once")
            need(len(seen) >= 10000, "no lease that was there all the time is missing: %d" % len(seen))


@test("check finds a bit without a lease and a lease without its bit")
def check():
    import sqlite3
    d = ipam()
    pool = request_pool(d, "10.0.0.0/24")["PoolID"]
    for _ in range(3):
        pick(d, pool)
    d.stop()
    db = sqlite3.connect(d.database())
    # As many rows as bits, so that the start sees no difference.
    db.execute("UPDATE lease SET address = '10.0.0.9', lower = lower + 7 WHERE address = '10.0.0.2'")
    db.commit()
    db.close()
    write_checksums(d.database())
    d.start()
    findings = [row["Finding"] for row in json.loads(command(d, "check", "--json", found=True))]
    need(any("10.0.0.9 has a lease, but its bit is clear" in f for f in findings) and
         any("the bit of 10.0.0.2 is set, but it has no lease" in f for f in findings), findings)
    equal(command(d, "check", found=True).count("10.0.0."), 2, "as text")
    d.kill()  # what was broken on purpose need not end well


@test("history tells who had an address, now and before, and who had it at a time")
def history():
    d = ipam()
    pool = request_pool(d, "10.0.0.0/24")["PoolID"]
    request_address(d, pool, "10.0.0.7", named("web"))
    release_address(d, pool, "10.0.0.7")
    request_address(d, pool, "10.0.0.7", named("db"))
    request_address(d, pool, "10.0.0.8", named("other"))
    equal([(row["Name"], row["Until"] != "") for row in as_json(d, "history", "10.0.0.7")], [("db", False), ("web", True)])
    now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 60))
    equal([row["Name"] for row in as_json(d, "history", "10.0.0.7", "--at", now)], ["db"])
    equal(as_json(d, "history", "10.0.0.7", "--at", "2001-02-03 04:05"), [])
    need("is not a time" in command(d, "history", "10.0.0.7", "--at", "noon", status=1), "a wrong time")
    d.good("ReleasePool", {"PoolID": pool})
    d.restart()
    equal(sorted(row["Name"] for row in as_json(d, "history", "10.0.0.7")), ["db", "web"], "after the pool has gone")
    need("web" in command(d, "history", "10.0.0.7"), "as text")


@test("map draws a small pool address by address and a large one in shades")
def map_():
    d = Daemon("ipam", args=["--cooldown", "1000"])
    pool = request_pool(d, "10.0.0.0/28", options={"exclude": "10.0.0.8-10.0.0.9"})["PoolID"]
    request_address(d, pool, "10.0.0.1", GATEWAY)
    for _ in range(3):
        pick(d, pool)
    release_address(d, pool, "10.0.0.3")
    command(d, "reserve", "10.0.0.12")
    equal(as_json(d, "map", pool)["Cells"], "-G#~#...xx..r..-")
    need("10.0.0.0" in command(d, "map", pool), "rows are named")
    big = request_pool(d, "10.8.0.0/16")["PoolID"]
    for _ in range(70):
        pick(d, big)
    seen = as_json(d, "map", big)
    equal((len(seen["Cells"]), seen["PerCell"], seen["Cells"][:3]), (1024, 64, "91."))
    equal(as_json(d, "map", big, "--range", "10.8.0.64/29")["Cells"], "#######.")
    huge = request_pool(d, "fd00::/64", v6=True)["PoolID"]
    pick(d, huge)
    equal(as_json(d, "map", huge)["Cells"][:2], "1.")


main()
