#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: Apache-2.0
"""What mynetworkplugin tells people of its networks and endpoints, and of what is broken."""

import json
import subprocess

from harness import (Daemon, endpoint_request, equal, hex_id, main, make_parent, marked_links, need, network_request, run,
                     test)

NET, EP = hex_id("net"), hex_id("endpoint")


def command(d, *words):
    p = subprocess.run(d.command()[:1] + list(words) + ["--socket", d.sock], stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    equal(p.returncode, 0, "%s: %s" % (" ".join(words), p.stderr))
    return p.stdout


def as_json(d, *words):
    return json.loads(command(d, *words, "--json"))


def daemon():
    return Daemon("net", args=["--firewall", "off"])


@test("status shows each network with its bridge and how many containers it has")
def status():
    d = daemon()
    equal(as_json(d, "status"), [])
    d.good("CreateNetwork", network_request(NET, {"mode": "isolated"}))
    d.good("CreateEndpoint", endpoint_request(NET, EP))
    seen = as_json(d, "status")
    equal(len(seen), 1)
    equal({k: seen[0][k] for k in ("Network", "Mode", "Endpoints", "Attached", "Sharers", "Trouble")},
          {"Network": NET, "Mode": "isolated", "Endpoints": 1, "Attached": 0, "Sharers": 1, "Trouble": ""})
    need(seen[0]["Bridge"] in marked_links(), "the bridge exists")
    text = command(d, "status")
    need(NET[:12] in text and "isolated" in text, text)
    d.good("DeleteEndpoint", {"NetworkID": NET, "EndpointID": EP})
    d.good("DeleteNetwork", {"NetworkID": NET})


@test("status says which network is broken, and why")
def broken():
    make_parent("par0")
    d = daemon()
    d.good("CreateNetwork", network_request(NET, {"parent": "par0"}))
    d.stop()
    run("ip", "link", "delete", "par0")
    d.start()
    need("par0" in as_json(d, "status")[0]["Trouble"], as_json(d, "status"))
    need("par0" in command(d, "status"), "as text")
    make_parent("par0")
    command(d, "reconcile")
    equal(as_json(d, "status")[0]["Trouble"], "")
    d.good("DeleteNetwork", {"NetworkID": NET})
    run("ip", "link", "delete", "par0")


@test("endpoints shows each link with its addresses and network, or those of one network")
def endpoints():
    d = daemon()
    d.good("CreateNetwork", network_request(NET, {"mode": "isolated"}))
    ids = [hex_id("endpoint%d" % n) for n in range(3)]
    for n, endpoint in enumerate(ids):
        d.good("CreateEndpoint", endpoint_request(NET, endpoint, address="10.1.0.%d/24" % (n + 2)))
    seen = as_json(d, "endpoints")
    equal(sorted(e["Endpoint"] for e in seen), sorted(ids))
    links = marked_links()
    for e in seen:
        need(e["Link"] in links and e["Network"] == NET and e["Address"].startswith("10.1.0."), e)
    equal(as_json(d, "endpoints", "--network", "ffffffff"), [])
    equal(len(as_json(d, "endpoints", "--network", NET[:8])), 3)
    need(ids[0][:12] in command(d, "endpoints"), "as text")
    for endpoint in ids:
        d.good("DeleteEndpoint", {"NetworkID": NET, "EndpointID": endpoint})
    d.good("DeleteNetwork", {"NetworkID": NET})


main()
