#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Every call that real engines made of a stub (tests/data/transcripts) is made of the real daemons.

Each answer is judged as the engine that made the call would judge it. What the recorded stub chose itself (pool ids,
pools, addresses, names of address spaces) is replaced by what our daemons chose. Where ours refuses by design what the
stub took, the refusal must name the cause, and the call is repeated without it, so that the rest goes on.
"""

import glob
import ipaddress
import json
import os
import re

from harness import (DATA, Daemon, Skip, error_of, equal, main, make_parent, need, run, say, set_forwarding, test)

HAS_VLAN = []

SPACES = {"": "", "LocalDefault": "local", "MYLOCAL": "local", "GlobalDefault": "global", "MYGLOBAL": "global"}
WITHOUT_ARGUMENTS = {"Activate", "GetCapabilities", "GetDefaultAddressSpaces"}
# The engine forgets the object whatever the answer: these must never fail.
NEVER_FAIL = {"ReleaseAddress", "ReleasePool", "DeleteNetwork", "DeleteEndpoint", "Leave", "FreeNetwork", "DiscoverNew",
              "DiscoverDelete", "EndpointOperInfo", "ProgramExternalConnectivity", "RevokeExternalConnectivity"}


class Replay:
    """The state of one recording's replay."""

    def __init__(self, name):
        engine = name.split("-")[1]
        host = "" if engine == "20.10" else "plugin.moby.localhost"
        scope = "global" if "swarm" in name else "local"
        swarm = "true" if "swarm" in name else "false"
        self.daemons = {"ipam": Daemon("ipam", args=["--cooldown", "0", "--swarm", swarm]),
                        "net": Daemon("net", args=["--scope", scope, "--parent", "e0", "--firewall", "off"])}
        self.connections = {kind: d.connect(host=host) for kind, d in self.daemons.items()}
        self.pools = {}       # recorded PoolID -> (our PoolID, our Pool)
        self.prefixes = {}    # recorded Pool -> our Pool
        self.addresses = {}   # recorded address, without length -> our CIDR address; also (PoolID, address)
        self.networks = {}    # live networks: id -> the CreateNetwork that was accepted
        self.endpoints = set()
        self.held = set()     # (our PoolID, our address) that were given and not released
        self.n = {"calls": 0, "refused by design": 0, "on a VLAN": 0}

    def send(self, method, request, body=None):
        kind = "ipam" if method.startswith("IpamDriver") else "net"
        from harness import go_json
        body = body if body is not None else b"" if request is None else go_json(request)
        status, answer = self.connections[kind].raw(method, body)
        return status, json.loads(answer)

    # ---- translation ----

    def cidr(self, recorded):
        """A recorded "address/len" as ours."""
        address, _, length = recorded.partition("/")
        if recorded and address in self.addresses:
            return self.addresses[address]
        return recorded if length else address

    def ipam_data(self, data):
        out = dict(data)
        out["AddressSpace"] = SPACES[data["AddressSpace"]]
        out["Pool"] = self.prefixes.get(data["Pool"], data["Pool"])
        if data.get("Gateway"):
            out["Gateway"] = self.cidr(data["Gateway"])
        if data.get("AuxAddresses"):
            out["AuxAddresses"] = {k: self.cidr(v) for k, v in data["AuxAddresses"].items()}
        return out

    def translate(self, request):
        if not request:
            return request
        out = dict(request)
        if "AddressSpace" in out:
            out["AddressSpace"] = SPACES[out["AddressSpace"]]
        if "PoolID" in out:
            key = (out["PoolID"], out.get("Address"))
            if key in self.addresses:
                out["Address"] = self.addresses[key].split("/")[0]
            out["PoolID"] = self.pools.get(out["PoolID"], (out["PoolID"],))[0]
        for family in ("IPv4Data", "IPv6Data"):
            if out.get(family):
                out[family] = [self.ipam_data(d) for d in out[family]]
        if out.get("Interface"):
            out["Interface"] = {k: self.cidr(v) if k != "MacAddress" else v for k, v in out["Interface"].items()}
        return out

    # ---- refusals that are meant ----

    def without_unknown(self, method, request, error):
        """`request` without what `error` names as refused by design; None if it is no such refusal."""
        if method == "IpamDriver.RequestPool" and "overlaps" in error and request["Pool"].startswith("10.60."):
            self.n["refused by design"] += 1  # the user's mistake, which the stub let pass: as if he tried another
            return dict(request, Pool=request["Pool"].replace("10.60.", "10.160.", 1),
                        SubPool=request["SubPool"].replace("10.60.", "10.160.", 1))
        options = dict(request.get("Options") or {})
        generic = options.get("com.docker.network.generic") if "CreateNetwork" in method else options
        for key in ("foo", "a", "alloc.marker"):
            if generic is not None and key in generic and "'%s'" % key in error:
                self.n["refused by design"] += 1
                generic = {k: v for k, v in generic.items() if k != key}
                return self.with_generic(method, request, generic)
        if "CreateNetwork" in method and options.get("com.docker.network.internal") and "mode=isolated" in error:
            self.n["refused by design"] += 1  # --internal with a parent: the mode must be said
            return self.with_generic(method, request, dict(generic, mode="l2"))
        if "CreateNetwork" in method and "vlan" in generic and not HAS_VLAN:
            self.n["on a VLAN"] += 1
            known = request["NetworkID"] in self.networks  # made without its VLAN before: "configured differently"
            need(known or "VLAN" in error, "the refusal does not say that VLANs are missing: " + error)
            generic = {k: v for k, v in generic.items() if k not in ("vlan", "parent", "mode")}
            return self.with_generic(method, request, generic)
        return None

    @staticmethod
    def with_generic(method, request, generic):
        out = dict(request)
        if "CreateNetwork" in method:
            out["Options"] = dict(request["Options"], **{"com.docker.network.generic": generic})
        else:
            out["Options"] = generic
        return out

    # ---- judgement ----

    def check(self, method, recorded, request, answer):
        name = method.split(".")[1]
        judge = getattr(self, "judge_" + re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(), None)
        if judge:
            judge(recorded, request, answer)

    def judge_activate(self, recorded, request, answer):
        need(answer.get("Implements") in (["NetworkDriver"], ["IpamDriver"]), "Implements: %r" % answer)

    def judge_get_capabilities(self, recorded, request, answer):
        if "Scope" in answer:
            need(answer["Scope"] in ("local", "global"), "Scope")
            need(answer.get("ConnectivityScope", "") in ("", "local", "global"), "ConnectivityScope")
            need(isinstance(answer.get("GwAllocChecker", False), bool), "GwAllocChecker is no bool")
        else:
            for key in ("RequiresMACAddress", "RequiresRequestReplay"):
                need(isinstance(answer.get(key), bool), "%s is no bool" % key)

    def judge_get_default_address_spaces(self, recorded, request, answer):
        local, everywhere = answer["LocalDefaultAddressSpace"], answer["GlobalDefaultAddressSpace"]
        need(local and everywhere and local != everywhere, "two different names expected: %r" % answer)

    def judge_request_pool(self, recorded, request, answer):
        need(isinstance(answer["PoolID"], str) and answer["PoolID"], "PoolID")
        pool = ipaddress.ip_network(answer["Pool"])  # raises where host bits are set
        equal(str(pool), answer["Pool"], "Pool in canonical form")
        need(all(isinstance(v, str) for v in answer.get("Data", {}).values()), "Data must map strings to strings")
        if request["Pool"]:  # a repeated request names another one
            equal(pool, ipaddress.ip_network(request["Pool"], strict=False), "the pool that was asked for")
        else:  # with one that is named V6 may be wrong: 20.10's Swarm says false of every pool
            equal(pool.version, 6 if request["V6"] else 4, "family of the pool")
        self.pools[recorded["reply"].get("PoolID")] = (answer["PoolID"], pool)
        self.prefixes[recorded["reply"].get("Pool")] = answer["Pool"]

    def judge_request_address(self, recorded, request, answer):
        address = ipaddress.ip_interface(answer["Address"])
        need("/" in answer["Address"], "address without length: " + answer["Address"])
        pool = self.pools[recorded["request"]["PoolID"]][1]
        need(address.ip in pool, "%s is not in pool %s" % (address, pool))
        equal(address.network.prefixlen, pool.prefixlen, "length of the address")
        if request["Address"]:
            equal(str(address.ip), request["Address"], "the address that was asked for")
        self.held.add((request["PoolID"], str(address.ip)))
        given = recorded["reply"].get("Address", recorded["request"]["Address"]).split("/")[0]
        if given:  # else the stub failed where ours has an address to give
            self.addresses[given] = self.addresses[(recorded["request"]["PoolID"], given)] = answer["Address"]

    def judge_release_address(self, recorded, request, answer):
        self.held.discard((request["PoolID"], request["Address"]))

    def judge_release_pool(self, recorded, request, answer):
        self.held = {(pool, address) for pool, address in self.held if pool != request["PoolID"]}

    def judge_create_network(self, recorded, request, answer):
        self.networks[request["NetworkID"]] = request

    def judge_allocate_network(self, recorded, request, answer):
        need(all(isinstance(v, str) for v in (answer.get("Options") or {}).values()), "Options must be strings")

    def judge_create_endpoint(self, recorded, request, answer):
        given = request["Interface"]
        reply = answer.get("Interface") or {}
        for key in ("Address", "AddressIPv6", "MacAddress"):
            need(not (given.get(key) and reply.get(key)), "%s was given and is answered" % key)
            need(isinstance(reply.get(key, ""), str), "%s is no string" % key)
        for key in ("Address", "AddressIPv6"):
            if reply.get(key):
                ipaddress.ip_interface(reply[key])
        if reply.get("MacAddress"):
            need(re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", reply["MacAddress"]), "MAC " + reply["MacAddress"])
            equal(int(reply["MacAddress"][:2], 16) & 1, 0, "group bit of the MAC")
        self.endpoints.add(request["EndpointID"])

    def judge_join(self, recorded, request, answer):
        interface = answer.get("InterfaceName") or {}
        need(interface.get("SrcName"), "no link named")
        need(os.path.exists("/sys/class/net/" + interface["SrcName"]) or interface["SrcName"] in run("ip", "link"),
             "link %s does not exist when Join answers" % interface["SrcName"])
        need(interface.get("DstPrefix"), "no name for the container")
        for key in ("Gateway", "GatewayIPv6"):
            if answer.get(key):
                ipaddress.ip_address(answer[key])
        for route in answer.get("StaticRoutes") or []:
            ipaddress.ip_network(route["Destination"])  # an empty one would make dockerd panic
            need(route["RouteType"] in (0, 1), "RouteType")
            if route["RouteType"] == 0:
                ipaddress.ip_address(route["NextHop"])
        need(isinstance(answer.get("DisableGatewayService", False), bool), "DisableGatewayService is no bool")
        network = self.networks.get(request["NetworkID"])
        if network and network["Options"].get("com.docker.network.internal"):
            need(not answer.get("Gateway") and not answer.get("GatewayIPv6"), "an internal network has no gateway")

    def judge_endpoint_oper_info(self, recorded, request, answer):
        need(isinstance(answer.get("Value"), dict), "Value is no object")

    def judge_delete_endpoint(self, recorded, request, answer):
        self.endpoints.discard(request["EndpointID"])

    def judge_delete_network(self, recorded, request, answer):
        self.networks.pop(request["NetworkID"], None)

    # ---- one call ----

    def expected_refusal(self, method, recorded, request, error):
        """May this call fail? The stub failed too, or the call is about what does not exist here."""
        name = method.split(".")[1]
        if error_text(recorded["reply"]):
            return True
        if name == "RequestAddress" and "in use" in error:  # the stub forgot what it had given, ours must not
            return (request["PoolID"], request["Address"]) in self.held
        if name in ("CreateEndpoint", "Join"):
            return request["NetworkID"] not in self.networks
        return False

    def one(self, recorded):
        method = recorded["method"]
        name = method.split(".")[1]
        if method == "Plugin.Activate":
            method = ("IpamDriver" if recorded["reply"]["Implements"] == ["IpamDriver"] else "NetworkDriver") + ".Activate"
            kind = "ipam" if method.startswith("Ipam") else "net"
            status, body = self.connections[kind].raw("Plugin.Activate", b"")
            equal(status, 200, "status")
            answer = json.loads(body)
            equal(answer, recorded["reply"], "answer to Plugin.Activate")
            self.n["calls"] += 1
            return
        self.n["calls"] += 1
        if recorded["request"] is None and name not in WITHOUT_ARGUMENTS:
            # A retry of the engine after a lost answer: its body is empty, and success would be a lie.
            status, answer = self.send(method, None)
            need(status != 200 or error_of(answer), "%s with an empty body was answered %r" % (method, answer))
            need(error_of(answer), "no reason given")
            return
        request = self.translate(recorded["request"])
        for _ in range(8):
            status, answer = self.send(method, request)
            equal(status, 200, "status (%r)" % answer)
            need(isinstance(answer, dict), "the answer is no object")
            error = error_of(answer)
            if not error:
                self.check(method, recorded, request, answer)
                return
            need(name not in NEVER_FAIL, "%s must never fail: %s" % (name, error))
            less = self.without_unknown(method, request, error)
            if less is None:
                need(self.expected_refusal(method, recorded, request, error), "refused: " + error)
                return
            request = less
        raise AssertionError("refused again and again: " + error)

    def end(self):
        for c in self.connections.values():
            c.close()
        for d in self.daemons.values():
            d.stop()
        for name in run("ip", "-br", "link").split():
            if name.startswith(("mnb", "mnv")):
                run("ip", "link", "delete", name.split("@")[0], ok=False)


def error_text(reply):
    return (reply or {}).get("Err") or (reply or {}).get("Error")


def replay(path):
    name = os.path.basename(path)
    r = Replay(name)
    typed = ""
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            recorded = json.loads(line)
            if not isinstance(recorded.get("reply", {}), dict):
                recorded["reply"] = {}  # the stub was told to answer nonsense, or not at all
            if "cmd" in recorded:
                typed = recorded["cmd"]
                continue
            try:
                r.one(recorded)
            except Exception as e:
                raise AssertionError("%s line %d%s: %s %s" % (name, number, " (%s)" % typed if typed else "",
                                                              recorded["method"], e)) from e
    r.end()
    say("%s: %s" % (name, ", ".join("%d %s" % (v, k) for k, v in r.n.items())))
    need(r.n["calls"] > 20, "only %d calls were replayed" % r.n["calls"])
    vlan_refusals.append((name, r.n["on a VLAN"]))


vlan_refusals = []
FILES = sorted(glob.glob(os.path.join(DATA, "transcripts", "*.jsonl")))


def register(path):
    name = os.path.basename(path)
    engine = name.split("-")[1]

    @test("Docker %s accepts every answer to its calls in %s" % (engine, name))
    def _():
        replay(path)


for _path in FILES:
    register(_path)


@test("recorded networks on VLANs are made on VLANs")
def vlans():
    refused = sum(n for _, n in vlan_refusals)
    if not HAS_VLAN:
        raise Skip("this kernel has no 802.1Q: %d networks were refused and replayed without VLAN" % refused)
    equal(refused, 0, "networks replayed without their VLAN")


def setup():
    need(FILES, "no recordings below %s" % DATA)
    set_forwarding()
    make_parent("dmy0")
    make_parent("e0")
    if "Error" not in run("ip", "link", "add", "link", "e0", "name", "probe", "type", "vlan", "id", "2", ok=False):
        HAS_VLAN.append(True)
        run("ip", "link", "delete", "probe")


if __name__ == "__main__":
    main(setup)
