#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: Apache-2.0
"""GET /metrics of both daemons, on the socket and on a TCP address, read as strictly as Prometheus does."""

import http.client
import re
import socket

from harness import Daemon, equal, main, need, request_address, request_pool, test

SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)')


def parse(text):
    """{(name, labels): value}; every rule of the text format that is broken fails the test."""
    need(text.endswith("\n"), "the last line ends")
    types, samples, family = {}, {}, None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            family = line.split(" ")[2]
            need(family not in types, "family %s comes twice" % family)
            continue
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            equal(name, family, "TYPE belongs to HELP")
            need(kind in ("counter", "gauge", "histogram"), "type " + kind)
            need(kind != "counter" or name.endswith("_total"), "counter %s without _total" % name)
            types[name] = kind
            continue
        match = SAMPLE.match(line)
        need(match, "not a sample: %r" % line)
        name, labels, rest = match.group(1), [], match.group(3) or ""
        while rest:
            label = LABEL.match(rest)
            need(label, "labels of %r" % line)
            labels.append((label.group(1), label.group(2)))
            rest = rest[label.end():]
        base = re.sub("_(bucket|sum|count)$", "", name) if types.get(family) == "histogram" else name
        equal(base, family, "family of sample %r" % line)
        key = (name, tuple(sorted(labels)))
        need(key not in samples, "sample twice: %r" % line)
        samples[key] = float(match.group(4))
    check_histograms(types, samples)
    return samples


def check_histograms(types, samples):
    for name in [n for n, kind in types.items() if kind == "histogram"]:
        series = {}
        for (sample, labels), value in samples.items():
            if sample == name + "_bucket":
                others = tuple(kv for kv in labels if kv[0] != "le")
                series.setdefault(others, []).append((float(dict(labels)["le"]), value))
        need(series, "histogram %s without buckets" % name)
        for others, buckets in series.items():
            values = [v for _, v in sorted(buckets)]
            equal(values, sorted(values), "buckets of %s add up" % name)
            equal(sorted(buckets)[-1], (float("inf"), samples[(name + "_count", others)]), "count of " + name)


def scrape(daemon):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(daemon.sock)
    return get(sock, "/metrics")


def get(sock, path):
    connection = http.client.HTTPConnection("d")
    connection.sock = sock
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.getheader("Content-Type"), text


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


for _kind, _prefix in (("ipam", "myipamplugin"), ("net", "mynetworkplugin")):
    def register(kind, prefix):
        @test("%s: /metrics is well formed and counts what was asked" % prefix)
        def _():
            d = Daemon(kind)
            method = {"ipam": "IpamDriver.GetCapabilities", "net": "NetworkDriver.GetCapabilities"}[kind]
            for _ in range(3):
                d.good(method, {})
            status, content_type, text = scrape(d)
            equal(status, 200)
            need("version=0.0.4" in content_type, content_type)
            samples = parse(text)
            equal(samples[(prefix + "_request_duration_seconds_count", (("method", method),))], 3)
            equal(samples[(prefix + "_turn_size_count", ())], 3)
            equal(samples[(prefix + "_turn_size_sum", ())], 3)
            need(samples[(prefix + "_process_resident_memory_bytes", ())] > 100000, "memory")

        @test("%s: metrics-address serves /metrics over TCP and nothing else" % prefix)
        def _():
            port = free_port()
            d = Daemon(kind, args=["--metrics-address", "127.0.0.1:%d" % port])
            for path, expected in (("/metrics", 200), ("/Plugin.Activate", 404), ("/", 404)):
                status, _, text = get(socket.create_connection(("127.0.0.1", port)), path)
                equal(status, expected, path)
                if status == 200:
                    parse(text)
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("POST", "/IpamDriver.GetCapabilities", b"{}")
            equal(connection.getresponse().status, 404, "the plugin's own methods")
            connection.close()
            d.restart()

        @test("%s: a metrics-address that is none is refused with its text" % prefix)
        def _():
            d = Daemon(kind, args=["--metrics-address", "localhost"], start=False)
            status, said = d.refuses_to_start()
            equal(status, 2)
            need("metrics-address: 'localhost' is not ADDRESS:PORT" in said, said)
    register(_kind, _prefix)


@test("refusals are counted by method and kind")
def refusals():
    d = Daemon("ipam")
    pool = request_pool(d, "10.5.0.0/24")["PoolID"]
    request_address(d, pool, "10.5.0.7")
    request_address(d, pool, "10.5.0.7", bad=("already in use",))
    samples = parse(scrape(d)[2])
    labels = (("kind", "conflict"), ("method", "IpamDriver.RequestAddress"))
    equal(samples[("myipamplugin_requests_refused_total", labels)], 1)


main()
