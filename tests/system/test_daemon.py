#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: Apache-2.0
"""What both daemons do the same way: starting, stopping, sockets, state files that are not theirs, HTTP."""

import hashlib
import json
import os
import resource
import select
import signal
import sqlite3
import stat
import subprocess
import time

from harness import (BUILD, PROGRAMS, Connection, Gone, both, daemon_of, equal, error_of, has_sanitizers, hex_id, main,
                     need, network_request, request_address, request_pool, scratch, set_forwarding, test,
                     write_checksums)


def fill(d):
    """Some state worth keeping; the call whose refusal shows that it was kept."""
    if d.kind == "ipam":
        pool = request_pool(d, "10.5.0.0/24")["PoolID"]
        for _ in range(100):
            request_address(d, pool)
    else:
        for i in range(20):
            d.good("CreateNetwork", network_request(hex_id(i), {"mode": "isolated"}))


# ---- starting and stopping ----

@both("{} is ready only when its socket can be connected to, by root alone")
def ready(kind):
    d = daemon_of(kind)
    equal(stat.S_IMODE(os.stat(d.sock).st_mode), 0o600, "mode of the socket")
    equal(stat.S_IMODE(os.stat(d.state).st_mode), 0o700, "mode of the state directory")
    equal(stat.S_IMODE(os.stat(d.database()).st_mode), 0o600, "mode of the database")
    d.connect().close()


@both("{} has at most 6 MB in memory while it idles, after work as well")
def idle_memory(kind):
    d = daemon_of(kind)
    if has_sanitizers(kind):
        return d.stop()  # which have the greater part of the memory then
    for work in (fill, lambda d: d.stop()):
        with open("/proc/%d/status" % d.process.pid, encoding="ascii") as f:
            kib = next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))
        need(kib <= 6 * 1024, "it is %d KiB" % kib)
        work(d)
    return None


@both("{} ends on SIGTERM with status 0 in less than a second, and takes its socket away")
def sigterm(kind):
    d = daemon_of(kind)
    fill(d)
    took = d.stop()
    limit = 10.0 if has_sanitizers(kind) else 1.0  # looking for leaks takes its time
    need(took < limit, "it took %.2f s" % took)
    need(not os.path.exists(d.sock), "the socket is left")


@both("{} answers on SIGTERM what has arrived, and what it answered is kept")
def sigterm_under_way(kind):
    d = daemon_of(kind)
    if kind == "ipam":
        pool = request_pool(d, "10.5.0.0/24")["PoolID"]
        method, requests = "IpamDriver.RequestAddress", [{"PoolID": pool, "Address": "10.5.0.%d" % (i + 2)} for i in range(16)]
    else:
        method = "NetworkDriver.CreateNetwork"
        requests = [network_request(hex_id(i), {"mode": "isolated"}) for i in range(16)]
    connections = [d.connect() for _ in requests]
    for c in connections:
        equal(c.raw("Plugin.Activate", b"")[0], 200)
    d.process.send_signal(signal.SIGSTOP)  # so that all of this is there when it wakes up
    for c, request in zip(connections, requests):
        c.send(method, json.dumps(request).encode())
    d.process.send_signal(signal.SIGTERM)
    d.process.send_signal(signal.SIGCONT)
    for c in connections:
        status, body = c.receive()
        equal((status, error_of(json.loads(body))), (200, ""))
    equal(d.process.wait(60), 0, "status")
    table = "lease" if kind == "ipam" else "network"
    equal(d.rows("SELECT count(*) FROM %s" % table), [(16,)])


@both("{} takes over the socket that a dead one left")
def stale_socket(kind):
    d = daemon_of(kind)
    d.kill()
    need(os.path.exists(d.sock), "a killed daemon cannot take its socket away")
    d.start()
    d.connect().close()


@both("{} does not take the socket of one that lives")
def live_socket(kind):
    d = daemon_of(kind)
    status, text = daemon_of(kind, sock=d.sock, start=False).refuses_to_start()
    equal(status, 1)
    need(d.sock in text and "another process" in text, text)
    d.connect().close()


@both("{} does not replace a file that is no socket")
def not_a_socket(kind):
    path = os.path.join(scratch(), "file")
    with open(path, "w", encoding="ascii") as f:
        f.write("precious")
    _, text = daemon_of(kind, sock=path, start=False).refuses_to_start()
    need(path in text, text)
    with open(path, encoding="ascii") as f:
        equal(f.read(), "precious")


@both("a second {} on the same state refuses to start and says why")
def second(kind):
    d = daemon_of(kind)
    status, text = daemon_of(kind, state=d.state, start=False).refuses_to_start()
    equal(status, 1)
    need(d.state in text and ("another process" in text or "locked" in text), text)
    fill(d)  # the first goes on


# ---- socket activation ----

@both("{} serves the socket that the service manager hands over, and leaves it where it is")
def activation(kind):
    d = daemon_of(kind, listen_fds=True)
    equal(d.connect().call("Plugin.Activate")[0], 200)
    d.stop()
    need(os.path.exists(d.sock), "the service manager's socket is gone")


@both("a call that came while {} was not running is answered when it is")
def backlog(kind):
    d = daemon_of(kind, listen_fds=True)
    d.stop()
    c = d.connect()
    c.send("Plugin.Activate", b"")
    d.start()
    equal(c.receive()[0], 200)


@both("{} refuses to start when two sockets are handed over")
def two_sockets(kind):
    d = daemon_of(kind, start=False)
    command = ["bash", "-c", "export LISTEN_FDS=2 LISTEN_PID=$$; exec \"$@\"", "bash"] + d.command()
    p = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    equal(p.returncode, 1)
    need("LISTEN_FDS" in p.stdout + p.stderr, p.stdout + p.stderr)


@both("{} tells who waits at the service manager's socket why it cannot start, whatever the reason")
def turned_away(kind):
    d = daemon_of(kind, listen_fds=True)
    d.stop()
    reasons = {"log-levl": ["--log-levl", "debug"],  # found before the socket is looked at, and after
               "no-such-group": ["--socket-group", "no-such-group"],
               "not a directory": ["--state-dir", os.path.join(d.sock, "state")]}
    args = d.args
    for reason, wrong in reasons.items():
        asked, silent = d.connect(), d.connect()
        asked.send("Plugin.Activate", b"x" * 100000)
        d.args = args + wrong
        try:
            d.start()
        except AssertionError as e:
            need("ended at start" in str(e), str(e))
        else:
            raise AssertionError("it started with %r" % wrong)
        for c in (asked, silent):
            status, answer = c.receive()
            equal(status, 503)
            text = error_of(json.loads(answer))
            need("cannot start" in text and reason in text.lower(), text)
    d.args = args
    d.start()
    equal(d.connect().call("Plugin.Activate")[0], 200)


# ---- state that is not ours to touch ----

def fingerprint(d):
    out = []
    for name in sorted(os.listdir(d.state)):
        with open(os.path.join(d.state, name), "rb") as f:
            out.append((name, hashlib.sha256(f.read()).hexdigest()))
    return out


def spoiled(kind, spoil, *texts):
    d = daemon_of(kind)
    fill(d)
    d.stop()
    spoil(d.database())
    before = fingerprint(d)
    status, text = d.refuses_to_start()
    equal(status, 1)
    for t in (d.database(),) + texts:
        need(t in text, "%r is not in: %s" % (t, text))
    equal(fingerprint(d), before, "state files")


@both("{} refuses a database of a newer release, and changes no byte of it")
def newer(kind):
    def spoil(path):
        db = sqlite3.connect(path)
        db.execute("PRAGMA user_version = 4711")
        db.execute("PRAGMA journal_mode = DELETE")
        db.close()
        write_checksums(path)
    spoiled(kind, spoil, "4711", "newer")


@both("{} refuses a database of another program, and changes no byte of it")
def foreign(kind):
    def spoil(path):
        os.unlink(path)
        db = sqlite3.connect(path)
        db.execute("CREATE TABLE precious(x)")
        db.commit()
        db.close()
    spoiled(kind, spoil, "move it away")


@both("{} refuses a file that is no database, and changes no byte of it")
def no_database(kind):
    def spoil(path):
        with open(path, "wb") as f:
            f.write(b"precious notes\n" * 1000)
    spoiled(kind, spoil, "move it away")


@both("{} refuses a damaged database, and changes no byte of it")
def damaged(kind):
    def spoil(path):
        size = os.path.getsize(path)
        need(size >= 5 * 4096, "the database is too small for this test: %d" % size)
        with open(path, "r+b") as f:
            for page in range(2, size // 4096):
                f.seek(page * 4096)
                f.write(b"\xff" * 512)
    spoiled(kind, spoil, "damaged")


@both("{} refuses a database that was cut off, and changes no byte of it")
def cut_off(kind):
    def spoil(path):
        os.truncate(path, os.path.getsize(path) // 2)
    spoiled(kind, spoil, "damaged")


def check_state(d):
    """Exit status and output of --check-state, which changes nothing."""
    before = fingerprint(d)
    p = subprocess.run([d.program, "--config", os.path.join(d.dir, "config.json"), "--state-dir", d.state,
                        "--check-state"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    equal(fingerprint(d), before, "state files")
    return p.returncode, p.stdout


@both("{} --check-state finds nothing wrong with a sound state, also after a kill, and says when the daemon has it")
def check_sound(kind):
    d = daemon_of(kind)
    fill(d)
    status, text = check_state(d)
    need(status == 1 and "another process" in text, text)
    d.kill()
    equal(check_state(d), (0, "state is sound\n"))


@both("{} --check-state names rows that contradict each other")
def check_rows(kind):
    changes = {"ipam": [("DELETE FROM subnet", "pools of a subnet that does not exist"),
                        ("UPDATE lease SET address = '192.0.2.1'", "its text and its key differ"),
                        ("DELETE FROM lease", "has 0 leases but"),
                        ("UPDATE pool SET name = 'nonsense'", "pool row")],
               "net": [("DELETE FROM network", "subnets of a network that does not exist"),
                       ("UPDATE network SET mode = 'x'", "makes no sense")]}
    for sql, finding in changes[kind]:
        d = daemon_of(kind)
        fill(d)
        d.stop()
        db = sqlite3.connect(d.database())
        db.execute(sql)
        db.commit()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        write_checksums(d.database())
        status, text = check_state(d)
        need(status == 1 and finding in text, "%s: %s" % (sql, text))


@both("{} --check-state names a damaged file")
def check_damage(kind):
    d = daemon_of(kind)
    fill(d)
    d.stop()
    with open(d.database(), "r+b") as f:
        f.seek(5000)
        f.write(b"x")
    status, text = check_state(d)
    need(status == 1 and d.database() in text, text)


@both("{} starts with what it had when it is stopped and started again")
def again(kind):
    d = daemon_of(kind)
    fill(d)
    for _ in range(2):
        d.restart()
    d.stop()
    table = "lease" if kind == "ipam" else "network"
    equal(d.rows("SELECT count(*) FROM %s" % table), [(100 if kind == "ipam" else 20,)])


# ---- command line and configuration ----

def ask(kind, *args, env=None):
    p = subprocess.run([os.path.join(BUILD, PROGRAMS[kind])] + list(args), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       text=True, timeout=60, check=False, env=dict(os.environ, **(env or {})))
    return p.returncode, p.stdout


def config_file(text):
    path = os.path.join(scratch(), "config.json")
    with open(path, "w", encoding="ascii") as f:
        f.write(text)
    return path


@both("{} names the nearest option for one that it does not know, and exits with 2")
def option(kind):
    status, text = ask(kind, "--stat-dir", "/x")
    equal(status, 2)
    need("stat-dir" in text and "state-dir" in text, text)


@both("{} names the nearest key for one that it does not know in the file or the environment")
def key(kind):
    status, text = ask(kind, "--check-config", "--config", config_file('{"log-levl": "info"}'))
    equal(status, 2)
    need("log-levl" in text and "log-level" in text, text)
    prefix = {"ipam": "MYIPAMPLUGIN_", "net": "MYNETWORKPLUGIN_"}[kind]
    status, text = ask(kind, "--check-config", "--config", config_file("{}"), env={prefix + "LOG_LEVL": "info"})
    equal(status, 2)
    need("log-level" in text, text)


@both("{} refuses a value of the wrong type or out of range with its key")
def value(kind):
    for text in ('{"deadline": "ten"}', '{"deadline": 0}', '{"deadline": 61}', '{"log-level": "loud"}', '{"deadline": 5'):
        status, out = ask(kind, "--check-config", "--config", config_file(text))
        equal(status, 2, text)
        need("deadline" in out or "log-level" in out or "line" in out, out)


@both("{}: the command line beats the environment, which beats the file")
def precedence(kind):
    prefix = {"ipam": "MYIPAMPLUGIN_", "net": "MYNETWORKPLUGIN_"}[kind]
    d = daemon_of(kind, start=False)
    with open(os.path.join(d.dir, "config.json"), "w", encoding="ascii") as f:
        json.dump({"socket": "/nonexistent/file.sock", "log-level": "debug"}, f)
    d.env = {prefix + "SOCKET": "/nonexistent/env.sock", prefix + "LOG_LEVEL": "error"}
    d.start()
    need(os.path.exists(d.sock), "the command line did not win")
    equal(d.log(), "", "the environment did not win over the file: log")


# ---- HTTP ----

@both("{} answers many calls on one connection, and keeps it open")
def keep_alive(kind):
    c = daemon_of(kind).connect()
    for _ in range(200):
        equal(c.raw("Plugin.Activate", b"")[0], 200)


@both("{} answers with and without a Host")
def host(kind):
    d = daemon_of(kind)
    for name in ("", "plugin.moby.localhost"):
        equal(d.connect(host=name).raw("Plugin.Activate", b"")[0], 200)


@both("{} reads a request that comes in pieces")
def pieces(kind):
    c = daemon_of(kind).connect()
    method = {"ipam": "IpamDriver.ReleasePool", "net": "NetworkDriver.Leave"}[kind]
    text = b"POST /%s HTTP/1.1\r\nHost: \r\nContent-Length: 16\r\n\r\n{\"PoolID\": \"x\" }" % method.encode()
    for i in range(0, len(text), 7):
        c.sock.sendall(text[i:i + 7])
        time.sleep(0.001)  # not a wait for anything: it makes the pieces arrive apart
    equal(c.receive()[0], 200)


@both("{} refuses other methods than POST, bodies above 1 MiB and what is no HTTP, and goes on")
def nonsense(kind):
    d = daemon_of(kind)
    c = d.connect()
    c.sock.sendall(b"GET /Plugin.Activate HTTP/1.1\r\nHost: \r\n\r\n")
    equal(c.receive()[0], 405)
    c = d.connect()
    try:
        c.send("Plugin.Activate", b"x" * (3 << 20))
        status = c.receive()[0]
    except Gone:
        status = 413  # closed while we were still sending
    equal(status, 413)
    c = d.connect()
    c.sock.sendall(b"\x16\x03\x01\x02\x00 this is not HTTP\r\n\r\n")
    try:
        need(c.receive()[0] >= 400, "nonsense was accepted")
    except Gone:
        pass
    equal(d.connect().raw("Plugin.Activate", b"")[0], 200)


@both("{} refuses what is no JSON, too deep, or has a key twice, with a reason")
def bad_json(kind):
    d = daemon_of(kind)
    method = {"ipam": "IpamDriver.RequestPool", "net": "NetworkDriver.CreateNetwork"}[kind]
    for body in (b"{", b"[]", b"7", b"null", b'{"a":1,"a":2}', b"\xff\xfe", b"[" * 100000, b'{"NetworkID":"\xff"}'):
        status, answer = d.connect().raw(method, body)
        need(status >= 400 or error_of(json.loads(answer)), "%r was accepted: %r" % (body[:20], answer))
        need(error_of(json.loads(answer)), "no reason for %r" % body[:20])
    equal(d.connect().raw("Plugin.Activate", b"")[0], 200)


@both("{} goes on when a client leaves without waiting for its answer")
def impatient(kind):
    d = daemon_of(kind)
    for i in range(20):
        c = d.connect()
        if kind == "ipam":
            c.send("IpamDriver.RequestPool", json.dumps({"AddressSpace": "local", "Pool": "10.%d.0.0/16" % i}).encode())
        else:
            c.send("NetworkDriver.CreateNetwork", json.dumps(network_request(hex_id(i), {"mode": "isolated"})).encode())
        c.close()
    equal(d.connect().raw("Plugin.Activate", b"")[0], 200)


@both("{} serves a thousand connections at once")
def thousand(kind):
    d = daemon_of(kind)
    connections = [Connection(d.sock) for _ in range(1000)]
    for c in connections:
        c.send("Plugin.Activate", b"")
    for c in connections:
        equal(c.receive()[0], 200)


def wait_answers(connections, wanted, seconds=60):
    """Of the connections with a request under way, `wanted` are answered; how many were, and the rest."""
    poll = select.poll()
    waiting = {c.sock.fileno(): c for c in connections}
    for fd in waiting:
        poll.register(fd, select.POLLIN)
    n = 0
    end = time.monotonic() + seconds
    while n < wanted and time.monotonic() < end:
        for fd, _ in poll.poll(1000):
            equal(waiting.pop(fd).receive()[0], 200)
            poll.unregister(fd)
            n += 1
    return n, list(waiting.values())


@both("{} lets clients wait when it is out of descriptors, and serves them when others have left")
def descriptors(kind):
    d = daemon_of(kind, shell="ulimit -n 64")
    connections = [Connection(d.sock) for _ in range(80)]
    for c in connections:
        c.send("Plugin.Activate", b"")
    n, waiting = wait_answers(connections, 40)
    need(n >= 40, "only %d were answered" % n)
    for c in connections:
        if c not in waiting:
            c.close()
    n = len(waiting)
    equal(wait_answers(waiting, n)[0], n, "answers for those who had to wait")


@both("{} serves 2048 connections, and the next when one has left")
def many(kind):
    d = daemon_of(kind, shell="ulimit -Sn 1024")
    connections = [Connection(d.sock) for _ in range(2100)]
    for c in connections:
        c.send("Plugin.Activate", b"")
    n, waiting = wait_answers(connections, 2048)
    equal((n, len(waiting)), (2048, 52), "answered and waiting")
    for c in connections:
        if c not in waiting:
            c.close()
    equal(wait_answers(waiting, 52)[0], 52, "answers for those who had to wait")


@both("{} answers two requests that were sent together, in order")
def pipelined(kind):
    c = daemon_of(kind).connect()
    prefix = {"ipam": "IpamDriver.", "net": "NetworkDriver."}[kind]
    c.send("Plugin.Activate", b"")
    c.send(prefix + "GetCapabilities", b"")
    need(b"Implements" in c.receive()[1], "the first answer")
    need(b"Implements" not in c.receive()[1], "the second answer")


def setup():
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    set_forwarding()


if __name__ == "__main__":
    main(setup)
