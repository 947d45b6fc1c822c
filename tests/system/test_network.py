#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: Apache-2.0
"""mynetworkplugin through its socket, in a network namespace without VLANs: what it makes, keeps and leaves alone."""

import contextlib
import json

from harness import (Daemon, clean, endpoint_request, equal, error_of, hex_id, ids, links, main, make_parent,
                     marked_links, need, network_request, run, set_forwarding, test)

NET, NET2 = hex_id("net"), hex_id("net2")
EP, EP2 = hex_id("endpoint"), hex_id("endpoint2")
BRIDGE = "mnb" + NET[:12]


def net(*args, **kw):
    return Daemon("net", args=["--firewall", "off"] + list(args), **kw)


@contextlib.contextmanager
def parent(name="par0"):
    make_parent(name)
    try:
        yield name
    finally:
        run("ip", "link", "delete", name, ok=False)


@contextlib.contextmanager
def host_unchanged():
    """The host's links and addresses are the same afterwards."""
    def look():
        return [(link["ifname"], "UP" in link["flags"], link.get("master"), link["mtu"], link["address"], link.get("ifalias"),
                 [(a["local"], a["prefixlen"]) for a in link["addr_info"] if a["scope"] != "link"])
                for link in json.loads(run("ip", "-json", "address", "show")) if link]
    before = look()
    yield
    equal(look(), before, "links and addresses of the host")


def up_and_running(name):
    return "UP" in links()[name]["flags"]


# ---- networks ----

@test("mode isolated makes a bridge without uplink or address, marked as ours and up")
@clean
def isolated():
    d = net()
    d.good("CreateNetwork", network_request(NET, {"mode": "isolated"}))
    bridge = links()[BRIDGE]
    equal(bridge["ifalias"], "mynetworkplugin:bridge:net:" + NET)
    need(up_and_running(BRIDGE), "the bridge is down")
    equal(run("ip", "-4", "-brief", "address", "show", "dev", BRIDGE).split()[2:], [], "addresses of the bridge")
    d.good("DeleteNetwork", {"NetworkID": NET})
    need(BRIDGE not in links(), "the bridge is left")


@test("mode routed gives the bridge the gateway addresses, of both families")
@clean
def routed():
    d = net()
    d.good("CreateNetwork", network_request(NET, {"mode": "routed"}, v6=(("fd00:1::/64", "fd00:1::1/64"),)))
    seen = run("ip", "-brief", "address", "show", "dev", BRIDGE)
    need("10.1.0.1/24" in seen and "fd00:1::1/64" in seen, "addresses: " + seen)


@test("without options a network is routed, with --internal isolated")
@clean
def default_modes():
    d = net()
    d.good("CreateNetwork", network_request(NET))
    need("10.1.0.1/24" in run("ip", "address", "show", "dev", BRIDGE), "no gateway address")
    d.good("CreateNetwork", network_request(NET2, v4=(("10.2.0.0/24", "10.2.0.1/24"),), internal=True))
    need("10.2.0.1" not in run("ip", "address", "show", "dev", "mnb" + NET2[:12]), "an internal network has an address")


@test("mode l2 puts the parent into the bridge, and out again when the network goes")
@clean
def l2():
    with parent() as par:
        d = net()
        with host_unchanged():
            d.good("CreateNetwork", network_request(NET, {"parent": par}))
            bridge = next(n for n, a in marked_links().items() if ":bridge:" in a)
            equal(links()[par].get("master"), bridge)
            d.good("DeleteNetwork", {"NetworkID": NET})


@test("two networks on the same parent share a bridge, which goes with the last")
@clean
def l2_shared():
    with parent() as par:
        d = net()
        d.good("CreateNetwork", network_request(NET, {"parent": par}))
        before = set(links())
        d.good("CreateNetwork", network_request(NET2, {"parent": par}, v4=(("10.2.0.0/24", "10.2.0.1/24"),)))
        equal(set(links()), before, "links")
        d.good("DeleteNetwork", {"NetworkID": NET})
        equal(set(links()), before, "links after the first was deleted")
        d.good("DeleteNetwork", {"NetworkID": NET2})
        need("master" not in links()[par], "the parent is still a port")


@test("a parent that is a bridge of the host is joined directly, and left as it is")
@clean
def foreign_bridge():
    run("ip", "link", "add", "hostbr", "address", "02:00:00:00:00:01", "type", "bridge")
    run("ip", "link", "set", "hostbr", "up")
    try:
        d = net()
        with host_unchanged():
            d.good("CreateNetwork", network_request(NET, {"parent": "hostbr"}))
            d.good("CreateEndpoint", endpoint_request(NET, EP))
            equal(links()["mnv" + EP[:12]]["master"], "hostbr")
            d.good("DeleteEndpoint", ids(NET, EP))
            d.good("DeleteNetwork", {"NetworkID": NET})
    finally:
        run("ip", "link", "delete", "hostbr")


@test("a parent with addresses of the host is refused, and keeps them")
@clean
def parent_with_address():
    with parent() as par:
        run("ip", "address", "add", "192.0.2.5/24", "dev", par)
        with host_unchanged():
            net().bad("CreateNetwork", network_request(NET, {"parent": par}), par, "address")


REFUSED = [
    ("a parent that does not exist", {"parent": "nowhere0"}, ("nowhere0",)),
    ("VLAN 0", {"parent": "par0", "vlan": "0"}, ("vlan", "0")),
    ("VLAN 4095", {"parent": "par0", "vlan": "4095"}, ("vlan", "4095")),
    ("a VLAN that is no number", {"parent": "par0", "vlan": "ten"}, ("vlan", "ten")),
    ("a VLAN without a parent", {"vlan": "10"}, ("vlan", "parent")),
    ("a VLAN of a VLAN", {"parent": "par0.5", "vlan": "10"}, ("vlan", "par0.5")),
    ("an unknown option", {"partent": "par0"}, ("partent", "parent")),
    ("an unknown mode", {"mode": "nat"}, ("mode", "nat")),
    ("mode l2 without a parent", {"mode": "l2"}, ("parent",)),
    ("mode routed with a parent", {"mode": "routed", "parent": "par0"}, ("routed", "par0")),
    ("an MTU above the parent's", {"parent": "par0", "com.docker.network.driver.mtu": "9000"}, ("mtu", "9000")),
    ("a bridge name that is a link of the host", {"mode": "isolated", "com.docker.network.bridge.name": "par0"}, ("par0",)),
    ("a bridge name that is too long", {"com.docker.network.bridge.name": "abcdefghijklmnop"}, ("bridge.name",)),
    ("the loopback link as parent", {"parent": "lo"}, ("lo",)),
]

for _what, _options, _texts in REFUSED:
    def register(what, options, texts):
        @test("%s is refused with a reason, and the host is unchanged" % what)
        @clean
        def _():
            with parent():
                d = net()
                with host_unchanged():
                    d.bad("CreateNetwork", network_request(NET, options), *texts)
                d.good("CreateNetwork", network_request(NET, {"mode": "isolated"}))  # nothing is left of it
    register(_what, _options, _texts)


@test("the same CreateNetwork twice is one network, as Swarm needs")
@clean
def same_twice():
    d = net()
    for _ in range(2):
        d.good("CreateNetwork", network_request(NET, {"mode": "isolated"}))
    equal(len(marked_links()), 1)
    d.good("DeleteNetwork", {"NetworkID": NET})
    equal(marked_links(), {})


@test("CreateNetwork of a known id with other options is refused")
@clean
def same_id():
    d = net()
    d.good("CreateNetwork", network_request(NET, {"mode": "isolated"}))
    d.bad("CreateNetwork", network_request(NET, {"mode": "routed"}), NET[:12], "configured differently")


@test("two networks that claim one bridge name: the second is refused")
@clean
def bridge_name_twice():
    d = net()
    name = {"mode": "isolated", "com.docker.network.bridge.name": "mybr"}
    d.good("CreateNetwork", network_request(NET, name))
    need("mybr" in links(), "no bridge of that name")
    d.bad("CreateNetwork", network_request(NET2, name), "mybr")


@test("every delete succeeds for what is unknown")
@clean
def unknown():
    d = net()
    d.good("DeleteNetwork", {"NetworkID": NET})
    for method in ("DeleteEndpoint", "Leave", "RevokeExternalConnectivity"):
        d.good(method, ids(NET, EP))
    equal(d.good("EndpointOperInfo", ids(NET, EP)), {"Value": {}})


@test("CreateEndpoint and Join of what is unknown are refused with its id")
@clean
def unknown_create():
    d = net()
    d.bad("CreateEndpoint", endpoint_request(NET, EP), NET[:12])
    d.bad("Join", dict(ids(NET, EP), SandboxKey="/x", Options={}), EP[:12])


# ---- endpoints ----

def with_endpoint(generic=None, mac="", v6=(), **kw):
    d = net(**kw)
    d.good("CreateNetwork", network_request(NET, generic or {"mode": "routed"}, v6=v6))
    answer = d.good("CreateEndpoint", endpoint_request(NET, EP, mac=mac, address6="fd00:1::2/64" if v6 else ""))
    return d, answer


JOIN = dict(ids(NET, EP), SandboxKey="/var/run/docker/netns/0123456789ab", Options={})


@test("an endpoint is a veth pair, one end in the bridge and up, the other waiting with the answered MAC")
@clean
def endpoint():
    _, answer = with_endpoint()
    now = links()
    equal(now["mnv" + EP[:12]]["master"], BRIDGE)
    need(up_and_running("mnv" + EP[:12]), "the host's end is down")
    equal(now["mnc" + EP[:12]]["address"], answer["Interface"]["MacAddress"])
    equal(set(answer["Interface"]), {"MacAddress"}, "fields answered")


@test("a MAC that Docker chose is used and not answered")
@clean
def endpoint_mac():
    _, answer = with_endpoint(mac="02:42:ac:11:00:02")
    equal(links()["mnc" + EP[:12]]["address"], "02:42:ac:11:00:02")
    need(not (answer.get("Interface") or {}).get("MacAddress"), "answered: %r" % answer)


@test("the same address gets the same MAC again")
@clean
def stable_mac():
    d, answer = with_endpoint()
    d.good("DeleteEndpoint", ids(NET, EP))
    again = d.good("CreateEndpoint", endpoint_request(NET, EP2))
    equal(again["Interface"]["MacAddress"], answer["Interface"]["MacAddress"])


@test("Join of a routed network names link, prefix and both gateways, and wants no gwbridge")
@clean
def join():
    d, _ = with_endpoint(v6=(("fd00:1::/64", "fd00:1::1/64"),))
    answer = d.good("Join", JOIN)
    equal(answer["InterfaceName"], {"SrcName": "mnc" + EP[:12], "DstPrefix": "eth"})
    equal((answer["Gateway"], answer["GatewayIPv6"]), ("10.1.0.1", "fd00:1::1"))
    equal(answer["DisableGatewayService"], True)


@test("Join of an isolated network gives no gateway")
@clean
def join_isolated():
    d, _ = with_endpoint({"mode": "isolated"})
    answer = d.good("Join", JOIN)
    equal((answer.get("Gateway", ""), answer.get("GatewayIPv6", "")), ("", ""))


@test("Join of an l2 network gives the router's address, which the host does not take")
@clean
def join_l2():
    with parent() as par:
        d, _ = with_endpoint({"parent": par})
        equal(d.good("Join", JOIN)["Gateway"], "10.1.0.1")
        need("10.1.0.1" not in run("ip", "address"), "the host has the router's address")


@test("with gwbridge=true Docker may add its bridge, and no gateway is given")
@clean
def gwbridge():
    d, _ = with_endpoint({"mode": "isolated", "gwbridge": "true"})
    answer = d.good("Join", JOIN)
    equal((answer["Gateway"], answer["DisableGatewayService"]), ("", False))


@test("container_iface_prefix and driver.mtu reach the container's link")
@clean
def prefix_and_mtu():
    d, _ = with_endpoint({"mode": "isolated", "com.docker.network.container_iface_prefix": "lan",
                          "com.docker.network.driver.mtu": "1400"})
    equal(d.good("Join", JOIN)["InterfaceName"]["DstPrefix"], "lan")
    equal(links()["mnc" + EP[:12]]["mtu"], 1400)


@test("the MTU of an l2 network is the parent's")
@clean
def parent_mtu():
    with parent() as par:
        run("ip", "link", "set", par, "mtu", "1300")
        with_endpoint({"parent": par})
        equal(links()["mnc" + EP[:12]]["mtu"], 1300)


@test("frames pass between two containers, moved to namespaces as Docker does")
@clean
def ping():
    d, _ = with_endpoint({"mode": "isolated"})
    d.good("CreateEndpoint", endpoint_request(NET, EP2, "10.1.0.3/24"))
    for number, endpoint_id in ((2, EP), (3, EP2)):
        name = "dpsys%d" % number
        run("ip", "netns", "add", name)
        run("ip", "link", "set", "mnc" + endpoint_id[:12], "netns", name, "name", "eth0")
        run("ip", "-n", name, "address", "add", "10.1.0.%d/24" % number, "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")
    try:
        run("ip", "netns", "exec", "dpsys2", "ping", "-c", "1", "-W", "5", "10.1.0.3")
    finally:
        for number in (2, 3):
            run("ip", "netns", "delete", "dpsys%d" % number)


@test("the same CreateEndpoint twice is one endpoint; with another address it is refused")
@clean
def endpoint_twice():
    d, answer = with_endpoint()
    equal(d.good("CreateEndpoint", endpoint_request(NET, EP)), answer)
    d.bad("CreateEndpoint", endpoint_request(NET, EP, "10.1.0.9/24"), EP[:12], "exists")


@test("Leave and DeleteEndpoint succeed in any order and twice, and leave nothing")
@clean
def any_order():
    for order in (("Leave", "DeleteEndpoint"), ("DeleteEndpoint", "Leave"), ("Leave", "Leave", "DeleteEndpoint", "DeleteEndpoint"),
                  ("DeleteEndpoint", "DeleteEndpoint")):
        d, _ = with_endpoint()
        d.good("Join", JOIN)
        for method in order:
            d.good(method, ids(NET, EP))
        equal([n for n in links() if n.startswith(("mnv", "mnc"))], [], "links after " + " ".join(order))
        d.good("DeleteNetwork", {"NetworkID": NET})
        d.stop()
        equal(d.rows("SELECT count(*) FROM endpoint"), [(0,)])


@test("Join again after Leave finds a link again")
@clean
def rejoin():
    d, _ = with_endpoint()
    d.good("Join", JOIN)
    d.good("Leave", ids(NET, EP))
    need(d.good("Join", JOIN)["InterfaceName"]["SrcName"] in links(), "no link")


@test("a new endpoint with the address of an old one replaces it: the allocator gives none twice")
@clean
def replace():
    d, _ = with_endpoint()
    d.good("CreateEndpoint", endpoint_request(NET, EP2))
    now = links()
    need("mnv" + EP2[:12] in now and "mnv" + EP[:12] not in now, "links: %r" % sorted(now))


@test("DeleteNetwork takes the links of endpoints that Docker forgot with it")
@clean
def forgotten():
    d, _ = with_endpoint()
    d.good("DeleteNetwork", {"NetworkID": NET})
    equal(marked_links(), {})


@test("an endpoint option that is unknown is refused with its name")
@clean
def endpoint_option():
    d = net()
    d.good("CreateNetwork", network_request(NET, {"mode": "isolated"}))
    d.bad("CreateEndpoint", dict(endpoint_request(NET, EP), Options={"a": "b"}), "'a'")


# ---- restarts ----

@test("a restart changes nothing for containers that run")
@clean
def restart():
    d, _ = with_endpoint()
    joined = d.good("Join", JOIN)
    with host_unchanged():
        d.restart()
    equal(d.good("Join", JOIN), joined)
    d.good("DeleteEndpoint", ids(NET, EP))
    d.good("DeleteNetwork", {"NetworkID": NET})
    equal(marked_links(), {})


@test("a bridge that was deleted is made again at the next start, with its address")
@clean
def rebuild():
    d, _ = with_endpoint()
    d.stop()
    run("ip", "link", "delete", BRIDGE)
    d.start()
    need("10.1.0.1/24" in run("ip", "address", "show", "dev", BRIDGE), "no address")


@test("a host's end that has left its bridge is put back at the next start")
@clean
def reattach():
    d, _ = with_endpoint()
    d.stop()
    run("ip", "link", "set", "mnv" + EP[:12], "nomaster")
    d.start()
    equal(links()["mnv" + EP[:12]].get("master"), BRIDGE)


@test("after a reboot networks are there again, and endpoints that died with it are gone")
@clean
def reboot():
    d, _ = with_endpoint()
    d.stop()
    for name in marked_links():
        run("ip", "link", "delete", name, ok=False)
    d.start()
    need(BRIDGE in links(), "no bridge")
    d.bad("Join", JOIN, EP[:12])
    d.good("CreateEndpoint", endpoint_request(NET, EP2))


@test("links with our mark that no record knows are removed at start, foreign ones are not touched")
@clean
def leftovers():
    run("ip", "link", "add", "mnbffffffffffff", "type", "bridge")
    run("ip", "link", "set", "mnbffffffffffff", "alias", "mynetworkplugin:bridge:net:ffffffffffff")
    run("ip", "link", "add", "mnveeeeeeeeeeee", "type", "bridge")  # our kind of name, without our mark
    try:
        d = net()
        now = links()
        need("mnbffffffffffff" not in now, "the leftover is still there")
        need("mnveeeeeeeeeeee" in now, "a foreign link is gone")
        d.stop()
    finally:
        run("ip", "link", "delete", "mnveeeeeeeeeeee")


@test("a network whose parent is missing at start works once the parent is back")
@clean
def parent_late():
    with parent() as par:
        d = net()
        d.good("CreateNetwork", network_request(NET, {"parent": par}))
        d.stop()
        for name in marked_links():
            run("ip", "link", "delete", name)
    d.start()
    with parent() as par:
        d.good("CreateEndpoint", endpoint_request(NET, EP))
        bridge = links()["mnv" + EP[:12]]["master"]
        equal(links()[par].get("master"), bridge)


# ---- capabilities ----

@test("GetCapabilities says scope and connectivity scope as configured")
@clean
def capabilities():
    for args, scope, connectivity in (([], "local", "local"), (["--scope", "global"], "global", "global"),
                                      (["--scope", "global", "--connectivity-scope", "local"], "global", "local")):
        d = net(*args)
        equal(d.good("GetCapabilities"), {"Scope": scope, "ConnectivityScope": connectivity, "GwAllocChecker": True})
        d.stop()


@test("GwAllocCheck: an isolated network needs no gateway address, a routed one does")
@clean
def gw_alloc():
    d = net()
    for mode, skip in (("isolated", True), ("routed", False)):
        options = network_request(NET, {"mode": mode})["Options"]
        equal(d.good("GwAllocCheck", {"Options": options}), {"SkipIPv4": skip, "SkipIPv6": skip})


@test("AllocateNetwork hands the options on as they are, and refuses what no node could make")
@clean
def allocate():
    d = net("--scope", "global")
    request = {"NetworkID": NET, "Options": {"parent": "eth9", "vlan": "10"}, "IPv4Data": [], "IPv6Data": None}
    equal(d.good("AllocateNetwork", request)["Options"], {"parent": "eth9", "vlan": "10"})
    d.bad("AllocateNetwork", dict(request, Options={"vlan": "5000"}), "vlan")


@test("an empty body is refused by every method that has arguments")
@clean
def empty_body():
    d = net()
    for method in ("CreateNetwork", "DeleteNetwork", "CreateEndpoint", "DeleteEndpoint", "Join", "Leave", "AllocateNetwork"):
        status, answer = d.connect().call("NetworkDriver." + method)
        equal(status, 400, method)
        need(error_of(answer), "no reason")


@test("addresses of the pool that are not strings are refused")
@clean
def malformed():
    request = network_request(NET, {"mode": "routed"})
    request["IPv4Data"] = [{"AddressSpace": "local", "Pool": "10.1.0.0/33"}]
    net().bad("CreateNetwork", request, "10.1.0.0/33")


if __name__ == "__main__":
    main(set_forwarding)
