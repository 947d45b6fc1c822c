#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Random sequences of calls, in every order, against small models of what each daemon has to answer.

MODEL_SEED is where the random numbers begin; it is printed, and a failure tells its sequence. MODEL_SEQUENCES is how many for
myipamplugin (default 3000), a tenth of it for mynetworkplugin, which makes real links.
"""

import ipaddress
import os
import random

from harness import (GATEWAY, Daemon, endpoint_request, equal, error_of, hex_id, ids, main, marked_links, need, network_request,
                     run, say, scratch, set_forwarding, test)

SEED = int(os.environ.get("MODEL_SEED") or random.SystemRandom().randrange(1 << 32))
SEQUENCES = int(os.environ.get("MODEL_SEQUENCES") or 3000)


def in_memory():
    """A state directory whose commits cost nothing."""
    path = scratch()
    run("mount", "-t", "tmpfs", "-o", "size=32m,mode=0700", "tmpfs", path)
    return os.path.join(path, "state")


def play(daemon, model, n_calls, dice):
    """Calls of the model's choice; what went wrong is told with all that went before."""
    done = []
    for _ in range(n_calls):
        method, request, judge = model.choose(dice)
        done.append("%s %s" % (method, request))
        try:
            if method == "restart":
                daemon.restart()
            elif method == "kill":
                daemon.kill()
                daemon.start()
            else:
                judge(daemon.call(method, request))
        except AssertionError as e:
            raise AssertionError("after\n  %s\n%s" % ("\n  ".join(done), e)) from None


def refused(answer):
    need(error_of(answer), "expected a refusal, seen %r" % answer)


def done(answer):
    equal(error_of(answer), "", "error")


# ---- myipamplugin ----

class Subnet:
    def __init__(self, prefix):
        self.net = ipaddress.ip_network(prefix)
        self.pools = []   # PoolIDs, the oldest first
        self.leases = {}  # address -> [pool, is gateway, pools that share it]

    def usable(self, address):
        v4 = self.net.version == 4
        return address in self.net and address != self.net[0] and not (v4 and address == self.net[-1])


class Ipam:
    POOLS = (("10.1.0.0/28", ""), ("10.1.0.0/28", "10.1.0.0/29"), ("10.1.0.0/28", "10.1.0.8/29"), ("10.1.0.0/24", ""),
             ("10.1.0.0/24", "10.1.0.0/30"), ("10.2.0.0/30", ""), ("fd00::/125", ""))

    def __init__(self):
        self.subnets = {}  # prefix -> Subnet

    @staticmethod
    def name(prefix, sub):
        return "local/" + prefix + ("/" + sub if sub else "")

    def choose(self, dice):
        prefix, sub = dice.choice(self.POOLS)
        pick = dice.random()
        if pick < 0.2:
            request = {"AddressSpace": "local", "Pool": prefix, "SubPool": sub, "Options": {}, "V6": False}
            return "RequestPool", request, lambda a: self.request_pool(prefix, sub, a)
        if pick < 0.27:
            return "ReleasePool", {"PoolID": self.name(prefix, sub)}, lambda a: self.release_pool(prefix, sub, a)
        if pick < 0.28:
            return dice.choice(["restart", "kill"]), None, None
        net = ipaddress.ip_network(prefix)
        address = net.network_address + dice.randrange(-1, min(net.num_addresses, 16) + 1)
        if pick < 0.45:
            request = {"PoolID": self.name(prefix, sub), "Address": str(address)}
            return "ReleaseAddress", request, lambda a: self.release(prefix, sub, address, a)
        gateway = dice.random() < 0.3
        if dice.random() < 0.5:
            address = None
        request = {"PoolID": self.name(prefix, sub), "Address": str(address or ""), "Options": GATEWAY if gateway else None}
        return "RequestAddress", request, lambda a: self.request(prefix, sub, address, gateway, a)

    def request_pool(self, prefix, sub, answer):
        net = ipaddress.ip_network(prefix)
        known = self.subnets.get(prefix)
        overlaps = [s for s in self.subnets.values() if s.net.version == net.version and s.net.overlaps(net)]
        if self.name(prefix, sub) in (known.pools if known else []) or overlaps != ([known] if known and sub else []):
            refused(answer)
            return
        done(answer)
        equal((answer["PoolID"], answer["Pool"]), (self.name(prefix, sub), prefix), "answer")
        self.subnets.setdefault(prefix, Subnet(prefix)).pools.append(answer["PoolID"])

    def find(self, prefix, sub):
        subnet = self.subnets.get(prefix)
        return subnet if subnet and self.name(prefix, sub) in subnet.pools else None

    @staticmethod
    def end(subnet, address):
        """The pool that holds the lease gives it up: the oldest that shares it has it then."""
        heirs = [p for p in subnet.pools if p in subnet.leases[address][2]]
        if heirs:
            subnet.leases[address][0] = heirs[0]
            subnet.leases[address][2].discard(heirs[0])
        else:
            del subnet.leases[address]

    def release_pool(self, prefix, sub, answer):
        done(answer)
        subnet, pool = self.find(prefix, sub), self.name(prefix, sub)
        if not subnet:
            return
        for address, lease in list(subnet.leases.items()):
            lease[2].discard(pool)
            if lease[0] == pool:
                self.end(subnet, address)
        subnet.pools.remove(pool)
        if not subnet.pools:
            del self.subnets[prefix]

    def release(self, prefix, sub, address, answer):
        done(answer)
        subnet, pool = self.find(prefix, sub), self.name(prefix, sub)
        lease = subnet and subnet.leases.get(address)
        if not lease:
            return
        if lease[0] == pool:
            self.end(subnet, address)
        else:
            lease[2].discard(pool)

    def request(self, prefix, sub, address, gateway, answer):
        subnet, pool = self.find(prefix, sub), self.name(prefix, sub)
        if not subnet:
            refused(answer)
        elif address is None:
            self.request_any(subnet, pool, sub, gateway, answer)
        elif not subnet.usable(address):
            refused(answer)
        elif address not in subnet.leases:
            self.given(subnet, answer, address)
            subnet.leases[address] = [pool, gateway, set()]
        elif gateway and subnet.leases[address][1]:
            self.given(subnet, answer, address)
            if subnet.leases[address][0] != pool:
                subnet.leases[address][2].add(pool)
        else:
            refused(answer)

    def request_any(self, subnet, pool, sub, gateway, answer):
        dynamic = ipaddress.ip_network(sub) if sub else subnet.net
        free = [a for a in dynamic if subnet.usable(a) and a not in subnet.leases]
        if not free:
            refused(answer)
            return
        done(answer)
        address = ipaddress.ip_address(answer["Address"].split("/")[0])
        need(address in free, "%s is not free, or not in %s" % (address, dynamic))
        need(not gateway or address == free[0], "gateway %s is not the first free address, %s" % (address, free[0]))
        self.given(subnet, answer, address)
        subnet.leases[address] = [pool, gateway, set()]

    @staticmethod
    def given(subnet, answer, address):
        done(answer)
        equal(answer["Address"], "%s/%d" % (address, subnet.net.prefixlen), "address")


@test("myipamplugin answers %d random sequences of calls as the model does" % SEQUENCES)
def ipam():
    say("MODEL_SEED=%d" % SEED)
    d = Daemon("ipam", state=in_memory(), args=["--cooldown", "0", "--log-level", "warning"])
    for number in range(SEQUENCES):
        dice = random.Random(SEED * 1000003 + number)
        model = Ipam()
        play(d, model, dice.randrange(5, 40), dice)
        for prefix, sub in Ipam.POOLS:
            model.release_pool(prefix, sub, d.call("ReleasePool", {"PoolID": Ipam.name(prefix, sub)}))
    d.stop()
    for table in ("pool", "subnet", "lease", "chunk", "sharer"):
        equal(d.rows("SELECT count(*) FROM " + table), [(0,)], "rows of " + table)


# ---- mynetworkplugin ----

class Net:
    def __init__(self):
        self.networks = {}   # id -> mtu option
        self.endpoints = {}  # id -> [network, address, has its link]

    def choose(self, dice):
        i = dice.randrange(2)
        network, endpoint = hex_id("model%d" % i), hex_id("modelep%d" % dice.randrange(4))
        both = ids(network, endpoint)
        # An endpoint that has left is not known after a restart, since its link is gone: so not while there is one.
        if dice.random() < 0.04 and all(e[2] for e in self.endpoints.values()):
            return dice.choice(["restart", "kill"]), None, None
        kind = dice.choice(["CreateNetwork", "DeleteNetwork"] + 3 * ["CreateEndpoint", "Join"] + 2 * ["Leave", "DeleteEndpoint"]
                           + ["EndpointOperInfo", "ProgramExternalConnectivity", "RevokeExternalConnectivity"])
        if kind == "CreateNetwork":
            mtu = dice.choice(["1400", "1400", "1300"])
            request = network_request(network, {"mode": "isolated", "com.docker.network.driver.mtu": mtu}, v4=(("10.%d.0.0/24" % i, "10.%d.0.1/24" % i),))
            return kind, request, lambda a: self.create_network(network, mtu, a)
        if kind == "DeleteNetwork":
            return kind, {"NetworkID": network}, lambda a: self.delete_network(network, a)
        if kind == "CreateEndpoint":
            address = "10.%d.0.%d/24" % (i, dice.randrange(2, 6))
            return (kind, endpoint_request(network, endpoint, address),
                    lambda a: self.create_endpoint(network, endpoint, address, a))
        if kind == "Join":
            return kind, dict(both, SandboxKey="/x", Options={}), lambda a: self.join(endpoint, a)
        if kind in ("Leave", "DeleteEndpoint"):
            return kind, both, lambda a: self.leave(kind, endpoint, a)
        return kind, both, done

    def create_network(self, network, mtu, answer):
        if self.networks.setdefault(network, mtu) == mtu:
            done(answer)
        else:
            refused(answer)

    def delete_network(self, network, answer):
        done(answer)
        self.networks.pop(network, None)
        self.endpoints = {e: v for e, v in self.endpoints.items() if v[0] != network}

    def create_endpoint(self, network, endpoint, address, answer):
        known = self.endpoints.get(endpoint)
        if network not in self.networks or known and known[:2] != [network, address]:
            refused(answer)
            return
        done(answer)
        if not known:  # an older one with the address is dead
            self.endpoints = {e: v for e, v in self.endpoints.items() if v[:2] != [network, address]}
            self.endpoints[endpoint] = [network, address, True]

    def join(self, endpoint, answer):
        if endpoint not in self.endpoints:
            refused(answer)
            return
        done(answer)
        self.endpoints[endpoint][2] = True
        need(answer["InterfaceName"]["SrcName"], "a link to move")

    def leave(self, kind, endpoint, answer):
        done(answer)
        if endpoint in self.endpoints and kind == "Leave":
            self.endpoints[endpoint][2] = False
        elif kind == "DeleteEndpoint":
            self.endpoints.pop(endpoint, None)

    def links(self):
        return ({"mynetworkplugin:bridge:net:" + n for n in self.networks}
                | {"mynetworkplugin:%s:%s" % (kind, e) for e, v in self.endpoints.items() if v[2] for kind in ("veth", "peer")})


@test("mynetworkplugin answers %d random sequences of calls as the model does, and the links are the model's"
      % (SEQUENCES // 10))
def net():
    d = Daemon("net", state=in_memory(), args=["--firewall", "off", "--log-level", "warning"])
    for number in range(SEQUENCES // 10):
        dice = random.Random(SEED * 1000003 + number)
        model = Net()
        play(d, model, dice.randrange(3, 25), dice)
        equal(set(marked_links().values()), model.links(), "links after sequence %d" % number)
        for i in range(2):
            d.good("DeleteNetwork", {"NetworkID": hex_id("model%d" % i)})
    equal(marked_links(), {}, "links at the end")
    d.stop()
    equal(d.rows("SELECT (SELECT count(*) FROM network) + (SELECT count(*) FROM endpoint)"), [(0,)], "rows")


if __name__ == "__main__":
    main(set_forwarding)
