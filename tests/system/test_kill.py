#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random moments, under load of many clients: what was answered holds, a retry works, nothing else is left.

KILL_ROUNDS is how often each daemon is killed (default 200; 0: until a failure), KILL_CLIENTS how many call it meanwhile
(default 32), KILL_SEED where the random numbers begin; it is printed. The recovery time is from the start of the process to
its being ready.
"""

import itertools
import os
import random
import threading
import time

from harness import (Daemon, Gone, endpoint_request, equal, error_of, hex_id, ids, main, marked_links, need, network_request,
                     release_address, request_pool, say, set_forwarding, test)

SEED = int(os.environ.get("KILL_SEED") or random.SystemRandom().randrange(1 << 32))
ROUNDS = int(os.environ.get("KILL_ROUNDS") or 200)
CLIENTS = int(os.environ.get("KILL_CLIENTS") or 32)


def rounds():
    return itertools.count() if ROUNDS == 0 else range(ROUNDS)


class Client:
    """One client: what it was told, and what it was not told yet."""

    def __init__(self, number):
        self.number = number
        self.there = []      # answered and not given back
        self.pending = None  # (method, request, what becomes of it) whose answer never came
        self.n_answered = 0
        self.n_tried = 0     # endpoints

    def call(self, connection, method, request, then):
        """`then` is called with the answer, now or after the retry."""
        self.pending = (method, request, then)
        answer = connection.call(method, request)[1]
        need(not error_of(answer), "%s %r: %s" % (method, request, error_of(answer)))
        self.pending = None
        self.n_answered += 1
        then(answer)


class Recovery:
    def __init__(self):
        self.ms = []

    def start(self, daemon):
        begin = time.monotonic()
        daemon.start()
        self.ms.append((time.monotonic() - begin) * 1000)

    def say(self, clients):
        ms = sorted(self.ms)
        say("killed %d times, %d calls answered; recovery: p50 %.0f ms, max %.0f ms"
            % (len(ms), sum(c.n_answered for c in clients), ms[len(ms) // 2], ms[-1]))


def load_and_kill(daemon, clients, one, seconds, dice):
    """Every client does one(connection, client, dice) over and over until the daemon is killed."""
    wrong = []

    def run(client, seed):
        own = random.Random(seed)
        try:
            connection = daemon.connect()
            while True:
                one(connection, client, own)
        except Gone:
            pass
        except Exception as e:  # reported below
            wrong.append("client %d: %r" % (client.number, e))

    threads = [threading.Thread(target=run, args=(c, dice.randrange(1 << 32))) for c in clients]
    for t in threads:
        t.start()
    time.sleep(seconds)  # the random moment
    daemon.kill()
    for t in threads:
        t.join()
    equal(wrong, [], "what the clients complain of")


def ask_again(daemon, clients, retry):
    """Every client that got no answer does retry(connection, client), all at once."""
    wrong = []

    def run(client):
        try:
            retry(daemon.connect(), client)
        except Exception as e:  # reported below
            wrong.append("client %d: %r" % (client.number, e))

    threads = [threading.Thread(target=run, args=(c,)) for c in clients if c.pending]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    equal(wrong, [], "what the clients complain of when they ask again")


def start_again(daemon, recovery, dice):
    """Sometimes it is killed while it starts, too."""
    if dice.random() < 0.2:
        daemon.die_at_start(dice.uniform(0, 0.05))
    recovery.start(daemon)


# ---- myipamplugin ----

def ipam_step(pool, given):
    def one(connection, client, dice):
        if len(client.there) > 5 or (client.there and dice.random() < 0.45):
            address = client.there.pop(dice.randrange(len(client.there)))
            given.pop(address)
            client.call(connection, "IpamDriver.ReleaseAddress", {"PoolID": pool, "Address": address}, lambda _: None)
        else:
            def take(answer):
                address = answer["Address"].split("/")[0]
                need(given.setdefault(address, client) is client, "%s was given twice" % address)
                client.there.append(address)
            client.call(connection, "IpamDriver.RequestAddress", {"PoolID": pool, "Address": "", "Options": None}, take)
    return one


def on_disk(daemon):
    return {row[0] for row in daemon.rows("SELECT address FROM lease WHERE released_at IS NULL", running=True)}


@test("myipamplugin, killed %s times under %d clients, loses no address and gives none twice" % (ROUNDS or "many", CLIENTS))
def kill_ipam():
    say("KILL_SEED=%d" % SEED)
    dice = random.Random(SEED)
    d = Daemon("ipam", args=["--cooldown", "0", "--log-level", "warning"])
    pool = request_pool(d, "10.5.0.0/23")["PoolID"]
    clients = [Client(i) for i in range(CLIENTS)]
    given = {}  # address -> client
    recovery = Recovery()
    for number in rounds():
        load_and_kill(d, clients, ipam_step(pool, given), dice.uniform(0.01, 0.12), dice)
        start_again(d, recovery, dice)
        disk = on_disk(d)
        need(set(given) <= disk, "round %d: answered and lost: %r" % (number, set(given) - disk))
        unsure = {c.pending[1]["Address"] for c in clients if c.pending} - {""}
        n_asked = sum(1 for c in clients if c.pending and not c.pending[1]["Address"])
        need(len(disk - set(given) - unsure) <= n_asked, "round %d: held for nobody: %r" % (number, disk - set(given) - unsure))
        # Releases first: what one of them gave back before the kill must not be another's when it does so again.
        for method in ("IpamDriver.ReleaseAddress", "IpamDriver.RequestAddress"):
            ask_again(d, [c for c in clients if c.pending and c.pending[0] == method],
                      lambda connection, c: c.call(connection, *c.pending))
        for address in on_disk(d) - set(given):  # taken for answers that never came: as an operator would
            release_address(d, pool, address)
        equal(on_disk(d), set(given), "round %d: leases" % number)
        if number % 20 == 19:  # the bitmap says the same as the leases
            free = []
            while not error_of(answer := d.call("RequestAddress", {"PoolID": pool, "Address": ""})):
                free.append(answer["Address"].split("/")[0])
            equal(len(free), 510 - len(given), "round %d: free addresses" % number)
            equal(set(free) & set(given), set(), "round %d: given twice" % number)
            for address in free:
                release_address(d, pool, address)
    recovery.say(clients)
    need(sum(c.n_answered for c in clients) > len(recovery.ms) * 5, "too few calls were answered")


# ---- mynetworkplugin ----

def net_step():
    def one(connection, client, dice):
        network = hex_id("kill%d" % client.number)
        subnet = "10.%d.0" % (client.number + 1)
        n = len(client.there)

        def call(method, request, then):
            client.call(connection, "NetworkDriver." + method, request, then)

        if not n:
            call("CreateNetwork", network_request(network, {"mode": "isolated"}, v4=((subnet + ".0/24", subnet + ".1/24"),)),
                 lambda _: client.there.append(network))
        elif n > 3 or (n > 1 and dice.random() < 0.3):
            endpoint = client.there[-1]
            if dice.random() < 0.5:
                call("Leave", ids(network, endpoint), lambda _: None)
            call("DeleteEndpoint", ids(network, endpoint), lambda _: client.there.remove(endpoint))
        elif dice.random() < 0.1:
            call("DeleteNetwork", {"NetworkID": network}, lambda _: client.there.clear())
        else:
            client.n_tried += 1
            endpoint = hex_id("ep%d-%d-%d" % (SEED, client.number, client.n_tried))
            call("CreateEndpoint", endpoint_request(network, endpoint, "%s.%d/24" % (subnet, 2 + client.n_tried % 250)),
                 lambda _: client.there.append(endpoint))
    return one


def net_retry(connection, client):
    method, request, then = client.pending
    if method.endswith("Leave"):  # the engine goes on, whatever it says
        method = "NetworkDriver.DeleteEndpoint"
        client.call(connection, method, request, lambda _: client.there.remove(request["EndpointID"]))
    else:
        client.call(connection, method, request, then)


def compare(d, what, left=()):
    """Links are those of the records. `left`: endpoints whose links Leave may have taken. Returns ids of networks, endpoints."""
    endpoints = {r[0] for r in d.rows("SELECT id FROM endpoint WHERE state = 'ready'", running=True)}
    networks = {r[0] for r in d.rows("SELECT id FROM network WHERE state = 'ready'", running=True)}
    equal(d.rows("SELECT (SELECT count(*) FROM endpoint WHERE state <> 'ready')"
                 " + (SELECT count(*) FROM network WHERE state <> 'ready')", running=True), [(0,)], what + ": things in between")
    marks = set(marked_links().values())
    expected = {"mynetworkplugin:%s:%s" % (kind, e) for e in endpoints for kind in ("veth", "peer")}
    expected |= {"mynetworkplugin:bridge:net:" + n for n in networks}
    need(marks <= expected, what + ": links without record: %r" % (marks - expected))
    missing = {m for m in expected - marks if m.split(":")[2] not in left}
    need(not missing, what + ": records without links: %r" % missing)
    return networks, endpoints


@test("mynetworkplugin, killed %s times under %d clients, leaks no link and leaves no record alone" % (ROUNDS or "many", CLIENTS))
def kill_net():
    dice = random.Random(SEED + 1)
    d = Daemon("net", args=["--firewall", "off", "--log-level", "warning"])
    clients = [Client(i) for i in range(CLIENTS)]
    recovery = Recovery()
    for number in rounds():
        load_and_kill(d, clients, net_step(), dice.uniform(0.02, 0.2), dice)
        start_again(d, recovery, dice)
        what = "round %d" % number
        found = set().union(*compare(d, what))
        for c in clients:
            # A deletion of a network takes its endpoints along, a Leave whatever link it left.
            leaving = c.pending and (set(c.there) if "DeleteNetwork" in c.pending[0] else {c.pending[1].get("EndpointID")})
            need(set(c.there) - (leaving or set()) <= found or c.pending and "Leave" in c.pending[0],
                 "%s: answered and lost: %r" % (what, set(c.there) - found))
        ask_again(d, clients, net_retry)
        found = set().union(*compare(d, what + ", after the retries"))
        equal(found, {i for c in clients for i in c.there}, what + ": what there is")
    recovery.say(clients)
    need(sum(c.n_answered for c in clients) > len(recovery.ms) * 3, "too few calls were answered")
    for c in clients:
        c.pending = c.there and ("NetworkDriver.DeleteNetwork", {"NetworkID": c.there[0]}, lambda _: None)
    ask_again(d, clients, net_retry)
    equal(marked_links(), {}, "links at the end")


if __name__ == "__main__":
    main(set_forwarding)
