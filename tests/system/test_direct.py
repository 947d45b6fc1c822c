#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: Apache-2.0
"""attach=direct: the container's link is made in its network namespace, or moved where that cannot be."""

import contextlib
import json
import select
import socket
import threading

from harness import (Daemon, clean, endpoint_request, equal, hex_id, ids, links, main, need, network_request, run,
                     set_forwarding, test)

NET, EP, EP2 = hex_id("net"), hex_id("endpoint"), hex_id("endpoint2")
BRIDGE = "mnb" + NET[:12]
DIRECT = {"mode": "routed", "attach": "direct"}


@contextlib.contextmanager
def container(name="direct-test"):
    """A network namespace as the engine mounts it: the path is what Join brings."""
    run("ip", "netns", "add", name)
    try:
        yield "/run/netns/" + name
    finally:
        run("ip", "netns", "delete", name, ok=False)


def inside(sandbox, *command, ok=True):
    return run("nsenter", "--net=" + sandbox, *command, ok=ok)


def links_inside(sandbox):
    shown = json.loads(inside(sandbox, "ip", "-json", "-details", "address", "show"))
    return {link["ifname"]: link for link in shown if link and link["ifname"] != "lo"}


def daemon(options=None, address6="", args=(), endpoint_options=None, **kw):
    d = Daemon("net", args=["--firewall", "off"] + list(args or ["--attach", "direct"]), **kw)
    v6 = (("fd00:1::/64", "fd00:1::1/64"),) if address6 else ()
    d.good("CreateNetwork", network_request(NET, options or DIRECT, v6=v6))
    request = endpoint_request(NET, EP, address6=address6)
    request["Options"] = endpoint_options or {}
    d.good("CreateEndpoint", request)
    return d


def join(sandbox, endpoint=EP):
    return dict(ids(NET, endpoint), SandboxKey=sandbox, Options={})


@test("a link made in the container has its address, MAC and name, is up, and the engine is given none to move")
@clean
def made_inside():
    with container() as sandbox:
        d = daemon()
        answer = d.good("Join", join(sandbox))
        equal(answer["InterfaceName"], None)
        equal(answer["Gateway"], "10.1.0.1")
        link = links_inside(sandbox)["lan0"]
        equal([(a["local"], a["prefixlen"]) for a in link["addr_info"]], [("10.1.0.2", 24)], "addresses")
        equal(link["ifalias"], "mynetworkplugin:peer:" + EP)
        need("UP" in link["flags"], "the container's link is down")
        equal(links()["mnv" + EP[:12]]["master"], BRIDGE)
        equal([n for n in links() if n.startswith("mnc")], [], "container ends left on the host")


@test("the container's link talks to the host at once")
@clean
def talks():
    with container() as sandbox:
        d = daemon()
        d.good("Join", join(sandbox))
        inside(sandbox, "ping", "-c", "1", "-W", "5", "10.1.0.1")


@test("IPv6 addresses are usable at once, and the link has a link-local one only then")
@clean
def ipv6():
    with container() as sandbox:
        inside(sandbox, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")  # as engines do
        d = daemon(address6="fd00:1::2/64")
        answer = d.good("Join", join(sandbox))
        equal(answer["GatewayIPv6"], "fd00:1::1")
        inside(sandbox, "ping", "-6", "-c", "1", "-W", "5", "fd00:1::1")
        need("fe80:" in inside(sandbox, "ip", "-6", "address", "show", "dev", "lan0"), "no link-local address")


@test("the address is announced with its MAC, for neighbours that knew it under another")
@clean
def announced():
    with container() as sandbox:
        d = daemon()
        sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
        sniffer.bind((BRIDGE, 0x0806))
        d.good("Join", join(sandbox))
        mac = links_inside(sandbox)["lan0"]["address"]
        while True:
            need(select.select([sniffer], [], [], 20)[0], "no gratuitous ARP was seen")
            frame = sniffer.recv(100)
            if frame[28:32] == frame[38:42] == socket.inet_aton("10.1.0.2"):
                break
        equal(frame[22:28].hex(":"), mac, "MAC in the announcement")


@test("names are numbered past those that are there")
@clean
def numbering():
    with container() as sandbox:
        inside(sandbox, "ip", "link", "add", "lan0", "type", "bridge")
        d = daemon()
        d.good("Join", join(sandbox))
        need("lan1" in links_inside(sandbox), "no link lan1")


@test("the network's own prefix is used")
@clean
def prefix():
    with container() as sandbox:
        d = daemon(dict(DIRECT, **{"com.docker.network.container_iface_prefix": "dmz"}))
        d.good("Join", join(sandbox))
        equal(set(links_inside(sandbox)), {"dmz0"})


@test("an endpoint's sysctls are set on its link")
@clean
def sysctls():
    with container() as sandbox:
        d = daemon(endpoint_options={"com.docker.network.endpoint.sysctls":
                                     "net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.conf.IFNAME.forwarding=0"})
        d.good("Join", join(sandbox))
        equal(inside(sandbox, "cat", "/proc/sys/net/ipv4/conf/lan0/log_martians").strip(), "1")


@test("a sysctl that cannot be set fails the Join with its name, and leaves no link")
@clean
def bad_sysctl():
    with container() as sandbox:
        d = daemon(endpoint_options={"com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.nonsense=1"})
        d.bad("Join", join(sandbox), "nonsense")
        equal(links_inside(sandbox), {})
        need("mnv" + EP[:12] not in links(), "the host's end is left")


@test("a sysctl outside net. is refused")
@clean
def foreign_sysctl():
    with container() as sandbox:
        d = daemon(endpoint_options={"com.docker.network.endpoint.sysctls": "kernel.hostname=x"})
        d.bad("Join", join(sandbox), "kernel.hostname=x")


@test("where the namespace is not there yet, the engine is given the link to move")
@clean
def no_sandbox():
    d = daemon()
    answer = d.good("Join", join("/run/docker/netns/none"))
    equal(answer["InterfaceName"], {"SrcName": "mnc" + EP[:12], "DstPrefix": "eth"})
    need("mnc" + EP[:12] in links(), "no link to move")


@test("without the privilege to enter, the engine is given the link to move, and the log says why once")
@clean
def no_privilege():
    with container() as sandbox:
        d = daemon(shell="set -- setpriv --bounding-set -sys_admin --inh-caps -sys_admin \"$@\"")
        answer = d.good("Join", join(sandbox))
        equal(answer["InterfaceName"], {"SrcName": "mnc" + EP[:12], "DstPrefix": "eth"})
        d.good("CreateEndpoint", endpoint_request(NET, EP2, address="10.1.0.3/24"))
        d.good("Join", join(sandbox, EP2))
        equal(d.log().count("attach=direct is not possible"), 1, "warnings")


@test("something else than a network namespace is not entered")
@clean
def no_namespace():
    d = daemon()
    answer = d.good("Join", join("/proc/self/ns/mnt"))
    need(answer["InterfaceName"], "no link to move was answered")


@test("without the configuration's attach=direct the daemon cannot enter a container, and links are moved with one warning")
@clean
def not_configured():
    with container() as sandbox:
        d = daemon(args=["--attach", "move"])
        equal(d.good("Join", join(sandbox))["InterfaceName"], {"SrcName": "mnc" + EP[:12], "DstPrefix": "eth"})
        d.good("CreateEndpoint", endpoint_request(NET, EP2, address="10.1.0.3/24"))
        d.good("Join", join(sandbox, EP2))
        equal(d.log().count("`attach` to be direct"), 1, "warnings")


@test("the configuration's attach is for networks that do not say, and theirs goes first")
@clean
def by_configuration():
    with container() as sandbox:
        d = daemon({"mode": "routed"}, args=["--attach", "direct"])
        equal(d.good("Join", join(sandbox))["InterfaceName"], None)
        d.stop()
    with container() as sandbox:
        d = daemon({"mode": "routed", "attach": "move"}, args=["--attach", "direct"])
        need(d.good("Join", join(sandbox))["InterfaceName"], "a link was made in the container")


@test("Leave and DeleteEndpoint take both ends away")
@clean
def leave():
    with container() as sandbox:
        d = daemon()
        d.good("Join", join(sandbox))
        d.good("Leave", ids(NET, EP))
        equal(links_inside(sandbox), {})
        d.good("DeleteEndpoint", ids(NET, EP))
        d.stop()
        equal(d.rows("SELECT id FROM endpoint"), [])


@test("a restart finds the link where it is and keeps the endpoint")
@clean
def restart():
    with container() as sandbox:
        d = daemon()
        d.good("Join", join(sandbox))
        d.restart()
        need("lan0" in links_inside(sandbox), "the container lost its link")
        equal(d.good("EndpointOperInfo", ids(NET, EP))["Value"]["bridge"], BRIDGE)
        d.good("Leave", ids(NET, EP))
        equal(links_inside(sandbox), {})


@test("a container that died with its namespace is forgotten at the next start")
@clean
def died():
    with container() as sandbox:
        d = daemon()
        d.good("Join", join(sandbox))
        d.stop()
    run("ip", "link", "delete", "mnv" + EP[:12], ok=False)  # what the kernel does when the namespace is freed
    d.start()
    d.stop()
    equal(d.rows("SELECT id FROM endpoint"), [])


@test("the daemon's own thread stays where it is: a hundred containers later it still serves the host")
@clean
def own_thread():
    names = ["direct-%d" % i for i in range(100)]
    with contextlib.ExitStack() as stack:
        sandboxes = [stack.enter_context(container(name)) for name in names]
        d = Daemon("net", args=["--firewall", "off", "--attach", "direct"])
        d.good("CreateNetwork", network_request(NET, DIRECT))
        errors = []

        def attach(i):
            client = d.connect()
            for method, body in (
                    ("CreateEndpoint", endpoint_request(NET, hex_id(i), address="10.1.0.%d/24" % (i + 2))),
                    ("Join", join(sandboxes[i], hex_id(i)))):
                status, answer = client.call("NetworkDriver." + method, body)
                if status != 200 or answer.get("Err"):
                    errors.append(answer)
            client.close()
        threads = [threading.Thread(target=attach, args=(i,)) for i in range(100)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        equal(errors, [])
        equal(sum("master" in link and link["master"] == BRIDGE for link in links().values()), 100, "ports of the bridge")


if __name__ == "__main__":
    main(set_forwarding)
