#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: Apache-2.0
"""What others do to the network daemon's links is noticed from the kernel's events, healed and logged."""

import contextlib
import json
import subprocess
import time

from harness import (BUILD, PROGRAMS, Daemon, clean, endpoint_request, equal, hex_id, links, main, make_parent,
                     marked_links, need, network_request, run, set_forwarding, test)

NET, EP, EP2 = hex_id("net"), hex_id("endpoint"), hex_id("endpoint2")
LIMIT = 20.0  # seconds; only a bound


def until(what, condition):
    """Events come when they come: wait for what must follow."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        with contextlib.suppress(KeyError, StopIteration, AssertionError):
            if condition():
                return
        time.sleep(0.02)
    raise AssertionError("never came: " + what)


def asked(d, *words):
    """The answer to a command for operators."""
    return json.loads(run(BUILD + "/" + PROGRAMS["net"], "--config", d.dir + "/config.json", *words, "--json", "--socket", d.sock))


def on_parent():
    make_parent("par0")
    d = Daemon("net", args=["--firewall", "off"])
    d.good("CreateNetwork", network_request(NET, {"parent": "par0"}))
    d.good("CreateEndpoint", endpoint_request(NET, EP))
    return d


def routed():
    d = Daemon("net", args=["--firewall", "off"])
    d.good("CreateNetwork", network_request(NET, {"mode": "routed"}))
    d.good("CreateEndpoint", endpoint_request(NET, EP))
    return d


def bridge():
    return next(name for name, alias in marked_links().items() if ":bridge:" in alias)


def port():
    return "mnv" + EP[:12]


def whole():
    now = links()
    name = bridge()
    return now["par0"].get("master") == name and now[port()]["master"] == name and all(
        "UP" in now[n]["flags"] for n in (name, "par0", port()))


@test("a bridge that someone deletes is made again, with its ports")
@clean
def bridge_deleted():
    d = on_parent()
    run("ip", "link", "delete", bridge())
    until("bridge with ports", whole)
    equal(d.log().count("its bridge was gone"), 1, "notices")


@test("a bridge that someone sets down is set up")
@clean
def bridge_down():
    on_parent()
    run("ip", "link", "set", bridge(), "down")
    until("bridge up", whole)


@test("a bridge that someone renames gets its name back")
@clean
def bridge_renamed():
    d = on_parent()
    name = bridge()
    run("ip", "link", "set", name, "down")
    until("bridge up", whole)
    subprocess.run(["sh", "-c", "ip link set %s down; ip link set %s name other" % (name, name)], check=False)
    until("old name", lambda: bridge() == name and whole())
    need("renamed other" in d.log() or "its bridge was" in d.log(), "the log says nothing")


@test("a parent that someone takes out of the bridge is put back")
@clean
def parent_freed():
    on_parent()
    run("ip", "link", "set", "par0", "nomaster")
    until("parent in the bridge", whole)


@test("a parent that someone sets down is set up")
@clean
def parent_down():
    on_parent()
    run("ip", "link", "set", "par0", "down")
    until("parent up", whole)


@test("a parent that disappears and comes back is used again")
@clean
def parent_back():
    d = on_parent()
    run("ip", "link", "delete", "par0")
    until("complaint", lambda: "par0: no such link" in d.log())
    make_parent("par0")
    until("parent in the bridge", whole)


@test("a parent that is renamed is told of once, and what stands on it is left alone")
@clean
def parent_renamed():
    d = on_parent()
    run("ip", "link", "set", "par0", "name", "par9")
    try:
        until("warning", lambda: "par0 was renamed par9" in d.log())
        equal(links()["par9"]["master"], bridge())
        run("ip", "link", "set", "par9", "mtu", "1400")  # another event
        d.good("GetCapabilities")
        equal(d.log().count("was renamed"), 1, "warnings")
    finally:
        run("ip", "link", "set", "par9", "name", "par0", ok=False)


@test("an endpoint's link that someone takes out of the bridge is put back")
@clean
def port_freed():
    on_parent()
    run("ip", "link", "set", port(), "nomaster")
    until("port in the bridge", whole)


@test("an endpoint whose link someone deletes is dropped")
@clean
def port_deleted():
    d = on_parent()
    run("ip", "link", "delete", port())
    until("endpoint dropped", lambda: "dropped: its link is gone" in d.log())
    equal(d.good("EndpointOperInfo", {"NetworkID": NET, "EndpointID": EP})["Value"], {})


@test("an endpoint that an engine left half made, or half deleted, is dropped; one in a container stays")
@clean
def abandoned():
    make_parent("par0")
    d = Daemon("net", args=["--firewall", "off", "--deadline", "1", "--abandon-after", "2"])
    d.good("CreateNetwork", network_request(NET, {"parent": "par0"}))
    kept, half_made, half_deleted = EP, EP2, hex_id("endpoint3")
    for i, endpoint in enumerate((kept, half_made, half_deleted)):
        d.good("CreateEndpoint", endpoint_request(NET, endpoint, address="10.1.0.%d/24" % (i + 2)))
    run("ip", "netns", "add", "dpsys1")
    try:
        run("ip", "link", "set", "mnc" + kept[:12], "netns", "dpsys1")
        d.good("Leave", {"NetworkID": NET, "EndpointID": half_deleted})
        until("two endpoints dropped", lambda: d.log().count("dropped: it is in no container") == 2)
        equal([e["Endpoint"] for e in asked(d, "endpoints")], [kept], "endpoints")
        equal([a.split(":")[2] for a in marked_links().values() if ":veth:" in a], [kept], "links")
    finally:
        run("ip", "netns", "delete", "dpsys1", ok=False)


@test("endpoints are not given up while a request for them may still wait: abandon-after is more than the deadline")
@clean
def abandoned_too_soon():
    d = Daemon("net", start=False)
    p = subprocess.run(d.command() + ["--deadline", "5", "--abandon-after", "5", "--check-config"], stderr=subprocess.PIPE,
                       text=True, check=False)
    need(p.returncode != 0 and "abandon-after: 5 is not more than the deadline, 5 seconds" in p.stderr, p.stderr)


@test("a gateway address that someone takes off a routed bridge is put back")
@clean
def address_deleted():
    routed()
    run("ip", "address", "delete", "10.1.0.1/24", "dev", bridge())
    until("address", lambda: "10.1.0.1/24" in run("ip", "address", "show", "dev", bridge()))


@test("a comparison rebuilds no routed network that is in order, and one without its gateway address alone")
@clean
def routed_in_order():
    d = routed()
    first = bridge()
    d.good("CreateNetwork", network_request(hex_id("other"), {"mode": "routed"}, v4=(("10.2.0.0/24", "10.2.0.1/24"),)))
    equal(d.call("Operator.Reconcile", {})["Rebuilt"], 0, "networks rebuilt")
    run("ip", "address", "delete", "10.1.0.1/24", "dev", first)
    d.call("Operator.Reconcile", {})  # unless the kernel's event was faster
    need("10.1.0.1/24" in run("ip", "address", "show", "dev", first), "the address is not back")
    equal(d.log().count("its gateway address was gone"), 1, "segments that were not in order")


@test("a comparison says that the host of a routed network does not forward any more")
@clean
def forwarding_off():
    d = routed()
    equal(d.call("Operator.Reconcile", {})["Complete"], True, "before")
    with open("/proc/sys/net/ipv4/ip_forward", "w", encoding="ascii") as f:
        f.write("0")
    answer = d.call("Operator.Reconcile", {})
    set_forwarding()
    need(not answer["Complete"] and "ip_forward" in answer["Complaint"], repr(answer))


@test("our own work is no reason to compare")
@clean
def own_work():
    make_parent("par0")
    d = Daemon("net", args=["--firewall", "off", "--log-level", "debug"])
    d.good("CreateNetwork", network_request(NET, {"parent": "par0"}))
    for i in range(20):
        endpoint = hex_id(i)
        d.good("CreateEndpoint", endpoint_request(NET, endpoint, address="10.1.0.%d/24" % (i + 2)))
        d.good("Leave", {"NetworkID": NET, "EndpointID": endpoint})
        d.good("DeleteEndpoint", {"NetworkID": NET, "EndpointID": endpoint})
    d.good("DeleteNetwork", {"NetworkID": NET})
    d.good("CreateNetwork", network_request(NET, {"parent": "par0"}))
    time.sleep(0.3)  # longer than an event waits: what would come has come
    equal(d.log().count("comparing host and records"), 1, "comparisons, the one at start included")


@test("what others do to links that are not ours is no reason to compare")
@clean
def foreign_work():
    make_parent("par0")
    d = Daemon("net", args=["--firewall", "off", "--log-level", "debug"])
    d.good("CreateNetwork", network_request(NET, {"parent": "par0"}))
    for _ in range(5):
        run("ip", "link", "add", "x0", "type", "veth", "peer", "name", "x1")
        run("ip", "link", "set", "x0", "up")
        run("ip", "link", "delete", "x0")
    time.sleep(0.3)
    equal(d.log().count("comparing host and records"), 1, "comparisons, the one at start included")


@test("one who undoes what we mend is not fought without end")
@clean
def no_fight():
    d = on_parent()
    end = time.monotonic() + 3
    while time.monotonic() < end:
        run("ip", "link", "set", bridge(), "down", ok=False)
        time.sleep(0.02)
    need(d.log().count("its bridge was down") < 8, "it was mended %d times" % d.log().count("its bridge was down"))
    until("bridge up", whole)


@test("the command reconcile mends at once and tells what it did")
@clean
def command():
    d = on_parent()
    d.stop()
    run("ip", "link", "delete", port())
    run("ip", "link", "add", "leftover", "type", "bridge")
    run("ip", "link", "set", "leftover", "alias", "mynetworkplugin:bridge:net:nobody")
    d.start()
    d.good("CreateEndpoint", endpoint_request(NET, EP2))
    run("ip", "link", "add", "leftover", "type", "bridge", ok=False)
    run("ip", "link", "set", "leftover", "alias", "mynetworkplugin:bridge:net:nobody")
    out = run(BUILD + "/" + PROGRAMS["net"], "--config", d.dir + "/config.json", "reconcile", "--socket", d.sock)
    need("1 leftover links removed" in out and "host and records agree" in out, out)
    need("leftover" not in links(), "the leftover is left")
    d.good("CreateNetwork", network_request(hex_id("net2"), {"mode": "routed"}, v4=(("10.2.0.0/24", "10.2.0.1/24"),)))
    equal(asked(d, "reconcile"), {"Rebuilt": 0, "Removed": 0, "Dropped": 0, "Complete": True, "Complaint": ""})


@test("the command says so where no daemon runs")
@clean
def command_alone():
    d = Daemon("net", start=False)
    d.command()
    p = subprocess.run([d.program, "--config", d.dir + "/config.json", "reconcile", "--socket", d.dir + "/none.sock"],
                       stderr=subprocess.PIPE, text=True, check=False)
    equal(p.returncode, 1, "status")
    need("mynetworkplugin does not run" in p.stderr, p.stderr)


if __name__ == "__main__":
    main(set_forwarding)
