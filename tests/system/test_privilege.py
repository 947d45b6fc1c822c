#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Least privilege: what the daemons may do, who may talk to them, and what they write."""

import json
import os
import stat
import subprocess
import traceback

from harness import (BUILD, Daemon, both, daemon_of, endpoint_request, equal, error_of, has_sanitizers, hex_id, ids, main, need,
                     network_request, request_address, request_pool, scratch, set_forwarding, test)

GROUP = 54321
NOBODY = 65534
NET_ADMIN, NET_RAW, SYS_ADMIN = 1 << 12, 1 << 13, 1 << 21


# ---- what a daemon may do ----

def status_of(d):
    with open("/proc/%d/status" % d.process.pid, encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def has_only(d, capabilities):
    status = status_of(d)
    for key in ("CapPrm", "CapEff", "CapBnd"):
        equal("%x" % int(status[key], 16), "%x" % capabilities, key)
    for key in ("CapInh", "CapAmb"):
        equal(int(status[key], 16), 0, key)
    equal(status["NoNewPrivs"], "1", "NoNewPrivs")


@test("myipamplugin has no capability, even when root started it")
def ipam_capabilities():
    has_only(daemon_of("ipam"), 0)


@test("mynetworkplugin has CAP_NET_ADMIN, CAP_NET_RAW for its firewall and probes, CAP_SYS_ADMIN for attach=direct, and no other")
def net_capabilities():
    for args, capabilities in (([], NET_ADMIN | NET_RAW), (["--firewall", "off"], NET_ADMIN | NET_RAW),
                               (["--firewall", "off", "--ipam-socket="], NET_ADMIN),
                               (["--firewall", "off", "--attach", "direct"], NET_ADMIN | NET_RAW | SYS_ADMIN)):
        d = Daemon("net", args=args)
        has_only(d, capabilities)
        d.stop()


@test("mynetworkplugin says at start that a capability it needs is missing")
def missing():
    d = daemon_of("net", shell="set -- setpriv --bounding-set -net_admin --inh-caps -net_admin \"$@\"")
    need("CAP_NET_ADMIN is missing" in d.log(), d.log())


@both("{} runs under a filter of system calls, unless it is switched off")
def filtered(kind):
    for args, seccomp in (([], "2"), (["--seccomp", "log"], "2"), (["--seccomp", "off"], "0")):
        d = daemon_of(kind, args=args)
        equal(status_of(d)["Seccomp"], seccomp, "Seccomp with %r" % args)
        d.stop()


SHIM = os.path.join(BUILD, "tests/support/forbidden.so")
# What an intruder gains without a filter and with all capabilities: were one of these refused for another reason than
# the filter, the test could not tell.
WITHOUT_FILTER = {"execve": "ENOENT", "clone": "allowed", "mmap-exec": "allowed", "mount": "ENOENT", "unshare": "allowed",
                  "prctl": "allowed", "process_vm_readv": "ESRCH", "setns": "EBADF", "kill": "allowed", "ptrace": "ESRCH"}
# Looking for leaks takes these: the filter of such a build has them.
OF_SANITIZERS = {"clone", "kill", "prctl", "process_vm_readv", "ptrace"}


def attempts(kind, args):
    """What became of each call that tests/support/forbidden.c makes in the daemon when the first client comes."""
    asan = os.environ.get("ASAN_OPTIONS", "")
    d = Daemon(kind, args=args,
               env={"LD_PRELOAD": SHIM, "ASAN_OPTIONS": (asan + ":" if asan else "") + "verify_asan_link_order=0"})
    equal(d.connect().call("Plugin.Activate")[0], 200)
    log = d.log()
    d.stop()
    return dict(line.split()[1:] for line in log.splitlines() if line.startswith("forbidden: "))


@both("an intruder in {} finds every system call refused that it has no need of")
def intruder(kind):
    free = attempts(kind, ["--seccomp", "off"])
    equal({name: free.get(name) for name in WITHOUT_FILTER}, WITHOUT_FILTER, "without the filter")
    held = attempts(kind, ["--firewall", "off", "--ipam-socket="] if kind == "net" else [])
    equal(set(held), set(free), "calls")
    if has_sanitizers(kind):
        held = {name: what for name, what in held.items() if name not in OF_SANITIZERS}
    equal({name: what for name, what in held.items() if what != "ENOSYS"}, {}, "what the filter lets through")
    # What a key or capability brings is that alone.
    if kind == "net":
        wider = attempts(kind, ["--attach", "direct"])
        for name in OF_SANITIZERS if has_sanitizers(kind) else ():
            wider.pop(name)
        equal({name for name, what in wider.items() if what != "ENOSYS"}, {"setns", "socket-inet", "socket-packet"},
              "what is let through for probing, iptables-legacy and attach=direct")


# ---- who may talk to it ----

def reachable(d):
    """Folders of tests are root's: let others get as far as the socket."""
    for path in (d.dir, os.path.dirname(d.dir)):
        os.chmod(path, 0o711)


def ask_as(d, uid, gid, groups=()):
    """Status and error of a call by somebody else; "refused" where the socket itself lets nobody in."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            try:
                status, answer = d.connect().call("Plugin.Activate", {})
                result = [status, error_of(answer)]
            except Exception as e:  # pylint: disable=broad-except
                result = ["refused" if "denied" in str(e) else traceback.format_exc(), ""]
            os.write(theirs, json.dumps(result).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as f:
        result = json.loads(f.read())
    os.waitpid(pid, 0)
    return result


def admits(d):
    """A daemon whose group is GROUP and whose socket's mode would let everybody in."""
    equal(ask_as(d, 0, 0), [200, ""], "root")
    equal(ask_as(d, NOBODY, GROUP), [200, ""], "first group")
    equal(ask_as(d, NOBODY, NOBODY, [7, GROUP]), [200, ""], "one of the further groups")
    for groups in ([], [GROUP + 1], [0]):
        status, text = ask_as(d, NOBODY, NOBODY, groups)
        equal(status, 403, "status for groups %r" % groups)
        need("user %d is not served" % NOBODY in text and "socket-group" in text, text)


@both("{} lets nobody but root connect")
def root_alone(kind):
    d = daemon_of(kind)
    reachable(d)
    equal(ask_as(d, NOBODY, NOBODY), ["refused", ""])
    os.chmod(d.sock, 0o666)
    equal(ask_as(d, 0, 0), [200, ""], "root")
    equal(ask_as(d, NOBODY, NOBODY)[0], 403, "status whatever the mode of the socket")
    equal(ask_as(d, NOBODY, 0)[0], 403, "status for root's group")


@both("{} with socket-group serves the group's members, and gives the socket to them")
def group(kind):
    d = daemon_of(kind, args=["--socket-group", str(GROUP)])
    reachable(d)
    s = os.stat(d.sock)
    equal((s.st_uid, s.st_gid, stat.S_IMODE(s.st_mode)), (0, GROUP, 0o660), "owner, group and mode")
    equal(ask_as(d, NOBODY, GROUP), [200, ""], "a member")
    equal(ask_as(d, NOBODY, NOBODY), ["refused", ""], "another")
    os.chmod(d.sock, 0o666)
    admits(d)


@both("{} leaves a socket that it was handed as it is, and checks who comes all the same")
def handed_over(kind):
    d = daemon_of(kind, args=["--socket-group", str(GROUP)], listen_fds=True)
    reachable(d)
    s = os.stat(d.sock)
    equal((s.st_uid, s.st_gid, stat.S_IMODE(s.st_mode)), (0, 0, 0o755), "owner, group and mode")  # the umask's
    os.chmod(d.sock, 0o666)
    admits(d)


@both("{} serves others while one that it does not serve keeps asking")
def others(kind):
    d = daemon_of(kind)
    reachable(d)
    os.chmod(d.sock, 0o666)
    for _ in range(50):
        equal(ask_as(d, NOBODY, NOBODY)[0], 403)
    equal(d.connect().call("Plugin.Activate", {})[0], 200)


@both("{} knows a group by name, and refuses to start with one that is not there")
def group_names(kind):
    d = daemon_of(kind, args=["--socket-group", "daemon"])
    equal(os.stat(d.sock).st_gid, int(subprocess.check_output(["getent", "group", "daemon"], text=True).split(":")[2]))
    _, text = daemon_of(kind, args=["--socket-group", "no-such-group"], start=False).refuses_to_start()
    need("socket-group" in text and "'no-such-group'" in text, text)


# ---- what it writes ----

# Everything but the folders named becomes read-only, for the daemon alone.
READ_ONLY = r"""
set -e
for dir in %s; do mount --bind "$dir" "$dir"; done
while read -r _ _ _ _ where _; do
	where=$(printf "%%b" "$where")
	case " %s " in *" $where "*) continue ;; esac
	mount -o remount,bind,ro "$where" 2>/dev/null || mount -o remount,ro,bind "$where" 2>/dev/null || true
done </proc/self/mountinfo
for dir in / /etc /run /tmp /var /var/tmp /var/lib /dev/shm; do
	if [ -d "$dir" ] && touch "$dir/written" 2>/dev/null; then echo "$dir is still writable" >&2; exit 1; fi
done
exec "$@"
"""


def confined(kind, **kw):
    state, run = scratch(), scratch()
    folders = " ".join([state, run] + (["/proc/sys/net"] if kind == "net" else []))
    script = READ_ONLY % (folders, folders)
    return daemon_of(kind, state=state, sock=os.path.join(run, "s.sock"),
                  env={"READ_ONLY_SCRIPT": script},
                  shell="set -- unshare --mount --propagation private bash -c \"$READ_ONLY_SCRIPT\" bash \"$@\"", **kw)


def work(d):
    """Something of everything; what can be asked for again after a restart."""
    if d.kind == "ipam":
        pool = request_pool(d, "10.5.0.0/24")["PoolID"]
        request_address(d, pool, "10.5.0.9")
        return lambda: need("in use" in error_of(d.call("RequestAddress", {"PoolID": pool, "Address": "10.5.0.9"})),
                            "the address is given twice")
    set_forwarding()
    net, endpoint = hex_id("net"), hex_id("endpoint")
    d.good("CreateNetwork", network_request(net, {"mode": "routed"}))
    d.good("CreateEndpoint", endpoint_request(net, endpoint))
    return lambda: d.good("Join", dict(ids(net, endpoint), SandboxKey="/nonexistent", Options={}))


@both("{} writes no file outside its state folder and its socket's")
def writes(kind):
    d = confined(kind)
    again = work(d)
    d.kill()
    d.start()
    d.connection = None
    again()
    if kind == "net":
        d.good("DeleteEndpoint", ids(hex_id("net"), hex_id("endpoint")))
        d.good("DeleteNetwork", {"NetworkID": hex_id("net")})
    d.stop()


main()
