#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: Apache-2.0
"""export and import: the whole state of either daemon as JSON, and back."""

import json
import os
import subprocess

from harness import Daemon, endpoint_request, equal, hex_id, main, marked_links, need, network_request, run, test

NET, EP = hex_id("net"), hex_id("endpoint")
FILE = {"ipam": "myipamplugin.db", "net": "mynetworkplugin.db"}


def filled(kind):
    """A daemon that has held something and is stopped."""
    d = Daemon(kind, args=["--firewall", "off"] if kind == "net" else [])
    if kind == "ipam":
        pool = d.good("RequestPool", {"AddressSpace": "local", "Pool": "10.1.0.0/24", "SubPool": "", "Options": {}, "V6": False})
        for _ in range(5):
            last = d.good("RequestAddress", {"PoolID": pool["PoolID"], "Address": "", "Options": {}})["Address"]
        d.good("ReleaseAddress", {"PoolID": pool["PoolID"], "Address": last.split("/")[0]})
    else:
        d.good("CreateNetwork", network_request(NET, {"mode": "isolated"}))
        d.good("CreateEndpoint", endpoint_request(NET, EP))
    d.stop()
    return d


def command(d, *words, state=None, stdin=None):
    d.command()  # makes its configuration
    return subprocess.run([d.program, "--config", d.dir + "/config.json", "--state-dir", state or d.state, "--socket", d.sock]
                          + list(words), input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)


def exported(d, state=None):
    p = command(d, "export", state=state)
    equal(p.returncode, 0, "status of export (%s)" % p.stderr)
    return p.stdout


def both(test_fn):
    def wrapper():
        try:
            for kind in ("ipam", "net"):
                test_fn(filled(kind))
        finally:
            for name in marked_links():
                run("ip", "link", "delete", name, ok=False)
    wrapper.__name__ = test_fn.__name__
    return wrapper


@test("an export is JSON with every row, and imported elsewhere it gives the same again")
@both
def round_trip(d):
    text = exported(d)
    state = json.loads(text)
    need(any(state["tables"].values()), "no rows")
    elsewhere = d.dir + "/elsewhere"
    p = command(d, "import", "-", state=elsewhere, stdin=text)
    equal(p.returncode, 0, "status of import (%s)" % p.stderr)
    equal(json.loads(exported(d, elsewhere)), state, "second export")
    equal(sorted(f for f in os.listdir(elsewhere) if not f.endswith(("-wal", "-shm"))), [FILE[d.kind]], "files")


@test("a daemon goes on with an imported state as it would have with its own")
@both
def goes_on(d):
    text = exported(d)
    os.rename(d.state, d.state + ".lost")
    equal(command(d, "import", "-", stdin=text).returncode, 0, "status of import")
    d.start()
    if d.kind == "ipam":
        d.bad("RequestAddress", {"PoolID": "local/10.1.0.0/24", "Address": "10.1.0.1", "Options": None}, "in use")
    else:
        need(d.good("EndpointOperInfo", {"NetworkID": NET, "EndpointID": EP})["Value"], "the endpoint is not known")
    d.stop()


@test("a state that is there is not overwritten, and with --replace kept beside")
@both
def replace(d):
    text = exported(d)
    p = command(d, "import", "-", stdin=text)
    need(p.returncode == 1 and "--replace" in p.stderr, p.stderr)
    equal(command(d, "import", "--replace", "-", stdin=text).returncode, 0, "status")
    need(FILE[d.kind] + ".bak" in os.listdir(d.state), "no .bak")
    equal(json.loads(exported(d)), json.loads(text), "state")


@test("what is no export, another's, or of a newer release is refused by its place and changes nothing")
@both
def refused(d):
    text = exported(d)
    state = json.loads(text)
    table = next(name for name, rows in sorted(state["tables"].items()) if rows)
    column = sorted(state["tables"][table][0])[0]

    def changed(change):
        copy = json.loads(text)
        change(copy)
        return json.dumps(copy)
    for what, content, part in (
            ("no JSON", text[:100], "line"),
            ("another's", changed(lambda s: s.update(format="other")), "no export of"),
            ("newer", changed(lambda s: s.update(version=999)), "newer release"),
            ("an unknown table", changed(lambda s: s["tables"].update(nonsense=[{}])), "nonsense"),
            ("a missing column", changed(lambda s: s["tables"][table][0].pop(column)), table + ", row 1"),
            ("a wrong type", changed(lambda s: s["tables"][table][0].update({column: [1]})), table + ", row 1")):
        p = command(d, "import", "--replace", "-", stdin=content)
        need(p.returncode == 1 and part in p.stderr, "%s: %d %s" % (what, p.returncode, p.stderr))
        equal(json.loads(exported(d)), state, "state after " + what)


@test("rows that contradict each other are refused")
@both
def contradiction(d):
    state = json.loads(exported(d))
    state["tables"]["pool" if d.kind == "ipam" else "network"] = []
    p = command(d, "import", "--replace", "-", stdin=json.dumps(state))
    need(p.returncode == 1 and "contradict" in p.stderr, p.stderr)


@test("while the daemon runs both are refused")
@both
def running(d):
    text = exported(d)
    d.start()
    for words in (("export",), ("import", "--replace", "-")):
        p = command(d, *words, stdin=text)
        equal(p.returncode, 1, "status of %s" % words[0])
    d.stop()
    equal(json.loads(exported(d)), json.loads(text), "state")


if __name__ == "__main__":
    main()
