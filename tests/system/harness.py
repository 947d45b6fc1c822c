# SPDX-License-Identifier: Apache-2.0
"""What the system tests share: TAP, the real daemons on temporary sockets, a client that speaks as dockerd does.

A test program registers its tests with @test("a sentence") and ends with main(). It runs as root, in network and mount
namespaces of its own: nothing it makes can reach the machine. BUILD_DIR names the build to test (default: the present
directory), SRC_DIR the sources.
"""

import atexit
import functools
import json
import os
import re
import select
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
import traceback

SRC = os.environ.get("SRC_DIR") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("BUILD_DIR") or os.getcwd())
DATA = os.path.join(SRC, "tests", "data")
PROGRAMS = {"ipam": "ipam/myipamplugin", "net": "netdriver/mynetworkplugin"}
DEADLINE = 60.0  # seconds; only a bound: nothing waits that long unless it fails


# ---- TAP ----

_tests = []


class Skip(Exception):
    pass


def test(sentence):
    def register(fn):
        _tests.append((sentence, fn))
        return fn
    return register


KINDS = ("ipam", "net")


def both(sentence):
    """Register the test once for each daemon, whose kind it gets; {} in the sentence is its name."""
    def register(fn):
        for kind in KINDS:
            test(sentence.format(os.path.basename(PROGRAMS[kind])))(lambda kind=kind: fn(kind))
        return fn
    return register


def clean(test_fn):
    """Whatever links a test leaves, its daemon's and its parents, must not be there for the next."""
    @functools.wraps(test_fn)
    def wrapper():
        try:
            test_fn()
        finally:
            for name in list(marked_links()) + _parents:
                run("ip", "link", "delete", name, ok=False)
            _parents.clear()
    return wrapper


def say(text):
    """A TAP comment."""
    for line in str(text).rstrip("\n").split("\n"):
        print("# " + line, flush=True)


def skip_all(why):
    print("1..0 # SKIP " + why)
    sys.exit(0)


def main(setup=None):
    """Run what was registered. Arguments: regular expressions that must match in a test's sentence."""
    tests = [t for t in _tests if all(re.search(w, t[0]) for w in sys.argv[1:])]
    private_namespaces()
    if setup:
        setup()
    failed = 0
    print("1..%d" % len(tests), flush=True)
    for number, (sentence, fn) in enumerate(tests, 1):
        try:
            fn()
            for daemon in list(Daemon.alive):
                daemon.stop()  # a leak that a sanitizer finds fails the test
            verdict = "ok %d - %s" % (number, sentence)
        except Skip as why:
            verdict = "ok %d - %s # SKIP %s" % (number, sentence, why)
        except Exception:  # every failure of a test is reported and the next one runs
            failed += 1
            verdict = "not ok %d - %s" % (number, sentence)
            say(traceback.format_exc())
            for daemon in Daemon.alive:
                say("log of %s:" % daemon.kind)
                say(daemon.log()[-3000:])
        for daemon in list(Daemon.alive):
            daemon.kill()
        print(verdict, flush=True)
    sys.exit(1 if failed else 0)


def need(condition, what):
    """assert that says what was expected, and works under -O as well."""
    if not condition:
        raise AssertionError(what)


def equal(seen, expected, what=""):
    need(seen == expected, "%s: expected %r, seen %r" % (what or "value", expected, seen))


# ---- surroundings ----

def private_namespaces():
    """Start this program again in network and mount namespaces of its own."""
    if os.environ.get("SYSTEM_TEST_INSIDE") == "1":
        return
    if os.geteuid() != 0:
        skip_all("needs root")
    if subprocess.run(["unshare", "--net", "--mount", "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        skip_all("no network namespaces here")
    os.environ["SYSTEM_TEST_INSIDE"] = "1"
    script = "ip link set lo up; exec \"$@\""
    os.execvp("unshare", ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", script, "sh",
                          sys.executable, "-B"] + sys.argv)


_scratch = []


def scratch():
    """A new directory that goes when the program ends."""
    if not _scratch:
        _scratch.append(tempfile.mkdtemp(prefix="dp-system-"))
        atexit.register(shutil.rmtree, _scratch[0], True)
    return tempfile.mkdtemp(dir=_scratch[0])


def run(*command, ok=True):
    """Run a command; its output, stderr included."""
    p = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    need(not ok or p.returncode == 0, "%s: status %d: %s" % (" ".join(command), p.returncode, p.stdout))
    return p.stdout


def links():
    """All links of the namespace by name, as `ip -json -details` shows them."""
    out = run("ip", "-json", "-details", "link", "show")
    return {link["ifname"]: link for link in json.loads(out or "[]") if link}


def marked_links():
    """The links with our mark: {name: alias}."""
    return {name: link["ifalias"] for name, link in links().items()
            if link.get("ifalias", "").startswith("mynetworkplugin:")}


_parents = []


def make_parent(name):
    """A link that can carry networks: one end of a veth pair, since not every kernel has dummies."""
    _parents.append(name)
    run("ip", "link", "add", name, "type", "veth", "peer", "name", name + "-far")
    run("ip", "link", "set", name, "up")
    run("ip", "link", "set", name + "-far", "up")


def set_forwarding():
    for path in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        full = "/proc/sys/net/" + path
        if os.path.exists(full):
            with open(full, "w", encoding="ascii") as f:
                f.write("1")


# ---- HTTP as dockerd speaks it ----

class Gone(Exception):
    """The connection ended without an answer."""


def has_sanitizers(kind):
    """Is the daemon built with them?"""
    return "asan" in subprocess.run(["ldd", os.path.join(BUILD, PROGRAMS[kind])], capture_output=True, text=True,
                                    check=False).stdout


class Connection:
    """One keep-alive connection."""

    def __init__(self, path, host="", timeout=DEADLINE):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.host = host
        self.rest = b""
        try:
            self.sock.connect(path)  # without a timeout: it waits where the daemon's queue is full
        except OSError as e:
            self.sock.close()
            raise Gone(str(e)) from e
        self.sock.settimeout(timeout)

    def close(self):
        self.sock.close()

    def send(self, method, body):
        head = ("POST /%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: %d\r\n"
                "Accept: application/vnd.docker.plugins.v1.2+json\r\n\r\n" % (method, self.host, len(body)))
        try:
            self.sock.sendall(head.encode() + body)
        except OSError as e:
            raise Gone(str(e)) from e

    def _more(self):
        try:
            data = self.sock.recv(65536)
        except socket.timeout:
            raise AssertionError("no answer within the deadline") from None
        except OSError as e:
            raise Gone(str(e)) from e
        if not data:
            raise Gone("end of file")
        self.rest += data

    def receive(self):
        """Status and body of the next answer."""
        while b"\r\n\r\n" not in self.rest:
            self._more()
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        length = None
        for line in lines[1:]:
            key, _, value = line.partition(":")
            if key.lower() == "content-length":
                length = int(value)
        need(length is not None, "answer without Content-Length: %r" % head)
        while len(self.rest) < length:
            self._more()
        body, self.rest = self.rest[:length], self.rest[length:]
        return int(lines[0].split()[1]), body

    def raw(self, method, body):
        self.send(method, body)
        return self.receive()

    def call(self, method, request=None):
        """As dockerd's client: (status, decoded answer). `request` None is an empty body."""
        body = b"" if request is None else go_json(request)
        status, answer = self.raw(method, body)
        return status, json.loads(answer)


def go_json(value):
    """Bytes as Go's encoder makes them: keys sorted, no blanks, <, > and & escaped, a newline at the end."""
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    for c in "<>&":
        text = text.replace(c, "\\u%04x" % ord(c))
    return text.encode() + b"\n"


def error_of(answer):
    """The error text of an answer, "" for success. Both spellings must agree."""
    answer = answer or {}
    equal(answer.get("Err", ""), answer.get("Error", ""), "Err and Error in %r" % answer)
    return answer.get("Err", "")


# ---- daemons ----

class Daemon:
    """One of the two daemons: kind "ipam" or "net"."""

    alive = []

    def __init__(self, kind, state=None, sock=None, args=(), env=None, start=True, listen_fds=False, shell=""):
        self.kind = kind
        self.program = os.path.join(BUILD, PROGRAMS[kind])
        if not os.access(self.program, os.X_OK):
            raise Skip("%s is not built" % self.program)
        self.dir = scratch()
        self.state = state or os.path.join(self.dir, "state")
        self.sock = sock or os.path.join(self.dir, "s.sock")
        self.args = list(args)
        self.env = env or {}
        self.listen_fds = listen_fds
        self.shell = shell  # what to do before, in the daemon's own process
        self.process = None
        self.connection = None
        self.listener = None
        if start:
            self.start()

    def command(self):
        config = os.path.join(self.dir, "config.json")
        if not os.path.exists(config):
            with open(config, "w", encoding="ascii") as f:
                f.write("{}")  # not the machine's own
        command = [self.program, "--config", config, "--socket", self.sock, "--state-dir", self.state] + self.args
        # Such as valgrind, whose own system calls are not the daemons': make check-valgrind.
        wrapper = os.environ.get("DAEMON_WRAPPER", "").split()
        return wrapper + command + (["--seccomp", "off"] if wrapper else [])

    def start(self):
        """Start and wait until it says that it is ready."""
        notify = os.path.join(self.dir, "notify")
        if os.path.exists(notify):
            os.unlink(notify)
        env = {k: v for k, v in os.environ.items() if not k.startswith(("MYNETWORKPLUGIN_", "MYIPAMPLUGIN_"))}
        env.update(self.env, NOTIFY_SOCKET=notify)
        command = self.command()
        pass_fds = ()
        if self.shell:
            command = ["bash", "-c", self.shell + "; exec \"$@\"", "bash"] + command
        if self.listen_fds:
            if self.listener is None:
                self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self.listener.bind(self.sock)
                self.listener.listen(64)
            # As the service manager: descriptor 3, and LISTEN_PID the process's own number.
            fd = self.listener.fileno()
            command = ["bash", "-c", "exec 3<&%d; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\"" % fd, "bash"] + command
            pass_fds = (fd,)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(notify)
            with open(os.path.join(self.dir, "log"), "ab") as log:
                self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env,
                                                pass_fds=pass_fds)
            Daemon.alive.append(self)
            pidfd = os.pidfd_open(self.process.pid)
            try:
                seen, _, _ = select.select([ready, pidfd], [], [], DEADLINE)
                if ready not in seen:
                    need(not seen, "%s ended at start with status %s: %s"
                         % (self.kind, self.process.wait() if seen else None, self.log()[-2000:]))
                    raise AssertionError("%s did not become ready: %s" % (self.kind, self.log()[-2000:]))
                equal(ready.recv(100), b"READY=1", "first notification")
            finally:
                os.close(pidfd)
        return self

    def log(self):
        with open(os.path.join(self.dir, "log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def connect(self, **kw):
        return Connection(self.sock, **kw)

    def call(self, method, request=None):
        """One call on the daemon's own connection; the answer, whatever it says."""
        prefix = {"ipam": "IpamDriver.", "net": "NetworkDriver."}[self.kind]
        if self.connection is None:
            self.connection = self.connect()
        status, answer = self.connection.call(method if "." in method else prefix + method, request)
        equal(status, 200, "status of %s (%r)" % (method, answer))
        return answer

    def good(self, method, request=None):
        """A call that must succeed."""
        answer = self.call(method, request)
        equal(error_of(answer), "", "%s %r" % (method, request))
        return answer

    def bad(self, method, request, *texts):
        """A call that must be refused, with each of `texts` in the reason, which is returned."""
        error = error_of(self.call(method, request))
        need(error, "%s %r was not refused" % (method, request))
        for text in texts:
            need(text in error, "%r is not in the error of %s: %s" % (text, method, error))
        return error

    def _ended(self):
        if self.connection:
            self.connection.close()
            self.connection = None
        if self in Daemon.alive:
            Daemon.alive.remove(self)

    def kill(self):
        """kill -9, as a crash."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._ended()

    def die_at_start(self, seconds):
        """Start it and kill it so much later, ready or not."""
        env = dict(os.environ, **self.env)
        with subprocess.Popen(self.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env) as process:
            time.sleep(seconds)  # the moment is the caller's to choose
            process.kill()

    def stop(self):
        """SIGTERM; the seconds it took. A report of a sanitizer makes this fail."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("%s did not end on SIGTERM" % self.kind) from None
        took = time.monotonic() - begin
        self._ended()
        equal(status, 0, "status of %s after SIGTERM; its log: %s" % (self.kind, self.log()[-3000:]))
        return took

    def restart(self):
        self.stop()
        return self.start()

    def refuses_to_start(self):
        """Start it where it must not start: (exit status, what it printed)."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("MYNETWORKPLUGIN_", "MYIPAMPLUGIN_"))}
        env.update(self.env)
        try:
            p = subprocess.run(self.command(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env,
                               timeout=DEADLINE, check=False)
        except subprocess.TimeoutExpired:
            raise AssertionError("it started, or hangs") from None
        need(p.returncode > 0, "it ended with status %d: %s" % (p.returncode, p.stdout))
        return p.returncode, p.stdout

    def database(self):
        name = {"ipam": "myipamplugin.db", "net": "mynetworkplugin.db"}[self.kind]
        return os.path.join(self.state, name)

    def rows(self, sql, running=False):
        """What a query of a copy of the database gives; with `running`, of a moment while the daemon writes."""
        equal(self.process.poll() is None, running, "the daemon runs")
        while True:
            try:
                return self._rows_of_copy(sql)
            except sqlite3.DatabaseError:  # copied while it was being written
                if not running:
                    raise

    def _rows_of_copy(self, sql):
        copy = scratch()
        for suffix in ("", "-wal"):
            if os.path.exists(self.database() + suffix):
                shutil.copy(self.database() + suffix, os.path.join(copy, "copy.db" + suffix))
        db = sqlite3.connect(os.path.join(copy, "copy.db"))
        try:
            return db.execute(sql).fetchall()
        finally:
            db.close()


def write_checksums(path):
    """Give each page of a database that something else has written the checksum that our daemons look for."""
    with open(path, "r+b") as f:
        data = bytearray(f.read())
        for start in range(0, len(data), 4096):
            a, b = start // 4096 + 1, 1
            for x, y in struct.iter_unpack("<II", data[start:start + 4088]):
                a = (a + x + b) & 0xffffffff
                b = (b + y + a) & 0xffffffff
            struct.pack_into("<II", data, start + 4088, a, b)
        f.seek(0)
        f.write(data)


# ---- shorthands ----

def daemon_of(kind, args=(), **kw):
    """A daemon of either kind; the network daemon without firewall."""
    return Daemon(kind, args=list(args) + (["--firewall", "off"] if kind == "net" else []), **kw)


def request_pool(daemon, pool="", sub="", options=None, v6=False, space="local", bad=()):
    request = {"AddressSpace": space, "Pool": pool, "SubPool": sub, "V6": v6,
               "Options": {} if options is None else options}
    if options == "null":
        request["Options"] = None
    if bad:
        return daemon.bad("RequestPool", request, *bad)
    return daemon.good("RequestPool", request)


GATEWAY = {"RequestAddressType": "com.docker.network.gateway"}


def request_address(daemon, pool_id, address="", options=None, bad=()):
    request = {"PoolID": pool_id, "Address": address, "Options": options}
    if bad:
        return daemon.bad("RequestAddress", request, *bad)
    return daemon.good("RequestAddress", request)["Address"]


def release_address(daemon, pool_id, address):
    return daemon.good("ReleaseAddress", {"PoolID": pool_id, "Address": address.split("/")[0]})


def network_request(net_id, generic=None, v4=(("10.1.0.0/24", "10.1.0.1/24"),), v6=(), internal=None):
    def data(subnets):
        return [dict({"AddressSpace": "local", "Pool": p}, **({"Gateway": g} if g else {})) for p, g in subnets]
    options = {"com.docker.network.enable_ipv4": True, "com.docker.network.enable_ipv6": bool(v6),
               "com.docker.network.generic": generic or {}}
    if internal is not None:
        options["com.docker.network.internal"] = internal
    return {"NetworkID": net_id, "Options": options, "IPv4Data": data(v4), "IPv6Data": data(v6)}


def endpoint_request(net_id, endpoint_id, address="10.1.0.2/24", address6="", mac=""):
    return {"NetworkID": net_id, "EndpointID": endpoint_id, "Options": {},
            "Interface": {"Address": address, "AddressIPv6": address6, "MacAddress": mac}}


def ids(net_id, endpoint_id):
    return {"NetworkID": net_id, "EndpointID": endpoint_id}


def hex_id(seed):
    """64 hexadecimal digits, as Docker's ids."""
    import hashlib
    return hashlib.sha256(str(seed).encode()).hexdigest()
