#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: Apache-2.0
"""mynetworkplugin and the engine's firewall: rules in DOCKER-USER come with a network and go with it, all others stay."""

import shlex
import shutil

from harness import (Daemon, Skip, endpoint_request, equal, hex_id, main, make_parent, marked_links, need, network_request,
                     run, set_forwarding, test)

NET, NET2 = hex_id("net"), hex_id("net2")
BRIDGE = "mnb" + NET[:12]
FLAVOURS = ("iptables-legacy", "iptables-nft", "ip6tables-legacy", "ip6tables-nft")


class Engine:
    """The chains as Docker makes them, with a rule of the operator's in each."""

    def __init__(self, tool):
        self.tool = tool
        if not shutil.which(tool):
            raise Skip("%s is not installed" % tool)
        if "DOCKER-USER" not in run(tool, "-S", ok=False) and not self.start():
            raise Skip("%s does not work with this kernel" % tool)

    def start(self):
        if "ok" not in run("sh", "-c", "%s -N DOCKER-USER && echo ok" % self.tool, ok=False):
            return False
        for rule in ("FORWARD -j DOCKER-USER", "DOCKER-USER -s 192.0.2.1 -j DROP" if "6" not in self.tool
                     else "DOCKER-USER -s 2001:db8::1 -j DROP", "DOCKER-USER -j RETURN"):
            run(self.tool, "-A", *rule.split())
        run(self.tool, "-P", "FORWARD", "DROP")
        return True

    def rules(self):
        # Counters and warnings about the other flavour apart, this is all that the tool knows.
        return [line for line in run(self.tool, "-S").split("\n") if line.startswith("-")]

    def ours(self):
        return [line for line in self.rules() if "mynetworkplugin:" in line]

    def stop(self):
        for rule in (("-P", "FORWARD", "ACCEPT"), ("-F",), ("-X",)):
            run(self.tool, *rule, ok=False)


def for_each(sentence):
    def register(fn):
        for tool in FLAVOURS:
            def body(tool=tool):
                engine = Engine(tool)
                try:
                    fn(engine)
                finally:
                    engine.stop()
                    for name in marked_links():
                        run("ip", "link", "delete", name, ok=False)
            test(tool + ": " + sentence)(body)
        return fn
    return register


@for_each("a network's rules come with it, before the operator's, and go with it, and nothing else changes")
def come_and_go(engine):
    before = engine.rules()
    d = Daemon("net")
    d.good("CreateNetwork", network_request(NET, {"mode": "isolated"}))
    after = engine.rules()
    equal([r for r in after if "mynetworkplugin:" not in r], before, "rules of others")
    ours = engine.ours()
    equal(len(ours), 1)
    for part in ("-A DOCKER-USER", "-i " + BRIDGE, "-o " + BRIDGE, "-j ACCEPT", "mynetworkplugin:net:" + NET):
        need(part in ours[0], "%r is not in %s" % (part, ours[0]))
    chain = [r for r in after if r.startswith("-A DOCKER-USER")]
    equal(chain[0], ours[0], "first rule of the chain")
    d.good("DeleteNetwork", {"NetworkID": NET})
    equal(engine.rules(), before, "all rules")


@for_each("a routed network does not break the isolation of the engine's own networks")
def routed(engine):
    d = Daemon("net")
    d.good("CreateNetwork", network_request(NET, {"mode": "routed"}))
    ours = engine.ours()
    equal([r.split()[-1] for r in ours], ["RETURN", "RETURN", "ACCEPT", "ACCEPT"], "targets")
    need("-o docker0" in ours[0] and "-o br-+" in ours[1], "rules: %r" % ours)


@for_each("the same rules are not added twice: by a restart, an endpoint, or a second network on the segment")
def once(engine):
    make_parent("fwp0")
    try:
        d = Daemon("net")
        d.good("CreateNetwork", network_request(NET, {"parent": "fwp0"}))
        before = engine.rules()
        d.good("CreateNetwork", network_request(NET2, {"parent": "fwp0"}, v4=(("10.2.0.0/24", "10.2.0.1/24"),)))
        equal(engine.rules(), before, "after the second network")
        d.restart()
        equal(engine.rules(), before, "after the restart")
        d.good("GetCapabilities")
        d.good("CreateEndpoint", endpoint_request(NET, hex_id("ep")))
        equal(engine.rules(), before, "after an endpoint")
        d.good("DeleteNetwork", {"NetworkID": NET})
        equal(engine.rules(), before, "after the first network went")
    finally:
        run("ip", "link", "delete", "fwp0")


@for_each("a single rule that somebody took out comes back when host and records are compared")
def taken_out(engine):
    d = Daemon("net")
    d.good("CreateNetwork", network_request(NET, {"mode": "routed"}))
    before = engine.rules()
    for _ in range(2):
        run(engine.tool, "-D", *shlex.split(engine.ours()[0])[1:])
        equal(len(engine.rules()), len(before) - 1, "rules")
        equal(d.call("Operator.Reconcile", {})["Rebuilt"], 1, "networks rebuilt")
        equal(engine.rules(), before, "rules")
    d.stop()


@for_each("rules that an earlier run was told not to add, or an engine took along, are there after a restart")
def after_restart(engine):
    d = Daemon("net", args=["--firewall", "off"])
    for network, mode in ((NET, "isolated"), (NET2, "routed")):
        d.good("CreateNetwork", network_request(network, {"mode": mode}))
    d.args.remove("--firewall")
    d.args.remove("off")
    d.restart()
    equal(len(engine.ours()), 5, "rules")
    d.stop()


@for_each("an engine that starts after the plugin gets the rules with its first container")
def engine_late(engine):
    engine.stop()
    d = Daemon("net")
    d.good("CreateNetwork", network_request(NET, {"mode": "isolated"}))
    equal(engine.ours(), [], "rules without an engine")
    engine.start()
    d.good("GetCapabilities")
    d.good("CreateEndpoint", endpoint_request(NET, hex_id("ep")))
    equal(len(engine.ours()), 1, "rules once the engine is there")


@for_each("rules whose network is gone are removed at start, foreign comments are not")
def leftover(engine):
    run(engine.tool, "-I", "DOCKER-USER", "-i", "gone0", "-o", "gone0", "-m", "comment", "--comment",
        "mynetworkplugin:net:gone", "-j", "ACCEPT")
    run(engine.tool, "-I", "DOCKER-USER", "-i", "other0", "-m", "comment", "--comment", "not mynetworkplugin:x", "-j", "ACCEPT")
    Daemon("net")
    rules = "\n".join(engine.rules())
    need("gone0" not in rules and "other0" in rules, rules)


@for_each("firewall=off leaves everything alone")
def off(engine):
    before = engine.rules()
    d = Daemon("net", args=["--firewall", "off"])
    d.good("CreateNetwork", network_request(NET, {"mode": "isolated"}))
    equal(engine.rules(), before)


@for_each("with firewall=off the right to see rules is not needed: the host is compared, and nothing is left")
def off_unseen(_engine):
    d = Daemon("net", args=["--firewall", "off"],
               shell="set -- setpriv --bounding-set -net_raw --inh-caps -net_raw \"$@\"")
    d.good("CreateNetwork", network_request(NET, {"mode": "isolated"}))
    answer = d.good("Operator.Reconcile", {})
    equal((answer["Complete"], answer["Complaint"]), (True, ""), "compared")
    d.good("DeleteNetwork", {"NetworkID": NET})
    equal(marked_links(), {}, "links")


if __name__ == "__main__":
    main(set_forwarding)
