/* SPDX-License-Identifier: Apache-2.0 */

/* What the host uses already, read from files made here. */

#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include <arpa/inet.h>

#include "common/cleanup.h"
#include "ipam/hostroutes.h"
#include "tests/support/failalloc.h"

static const char *const dirs[] = { "/proc", "/proc/net",    "/etc",
				    "/run",  "/run/systemd", "/run/systemd/resolve" };
static const char *const files[] = { "/proc/net/route", "/proc/net/ipv6_route", "/etc/resolv.conf",
				     "/run/systemd/resolve/resolv.conf" };

static char root[] = "/tmp/test_hostroutes.XXXXXX";

static const char *path_of(const char *name)
{
	static char path[200];

	(void)snprintf(path, sizeof path, "%s%s", root, name);
	return path;
}

static int make_root(void **state)
{
	(void)state;
	memcpy(root + strlen(root) - 6, "XXXXXX", 6);
	if (!mkdtemp(root))
		return -1;
	for (size_t i = 0; i < DP_ARRAY_LEN(dirs); i++)
		if (mkdir(path_of(dirs[i]), 0700) < 0)
			return -1;
	return 0;
}

static int remove_root(void **state)
{
	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(files); i++)
		(void)remove(path_of(files[i]));
	for (size_t i = DP_ARRAY_LEN(dirs); i-- > 0;)
		(void)remove(path_of(dirs[i]));
	return remove(root);
}

static void write_file(const char *name, const char *text, size_t size)
{
	FILE *file = fopen(path_of(name), "we");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

static void write_text(const char *name, const char *text)
{
	write_file(name, text, strlen(text));
}

/* As the kernel prints an IPv4 address: the bytes as a number of this host's byte order. */
static unsigned as_kernel(const char *addr)
{
	struct in_addr in;

	assert_int_equal(inet_pton(AF_INET, addr, &in), 1);
	return in.s_addr;
}

static void assert_routes(const char *const *want, size_t n)
{
	DP_CLEANUP(ipam_hostroutes_done) struct ipam_hostroutes routes = IPAM_HOSTROUTES_INIT;
	struct dp_error err = DP_ERROR_INIT;

	if (ipam_hostroutes_read(root, &routes, &err) < 0)
		fail_msg("%s", err.msg);
	for (size_t i = 0; i < n && i < routes.n_prefixes; i++) {
		char text[DP_PREFIX_STRLEN];

		assert_string_equal(dp_prefix_format(&routes.prefixes[i], text), want[i]);
	}
	assert_int_equal(routes.n_prefixes, n);
}

static void ipv4_routes_are_read_without_default_and_loopback(void **state)
{
	static const struct {
		const char *dest, *mask;
		unsigned flags;
	} lines[] = {
		{ "0.0.0.0", "0.0.0.0", 0x3 },   /* default */
		{ "0.0.0.0", "128.0.0.0", 0x3 }, /* OpenVPN's halves of it */
		{ "128.0.0.0", "128.0.0.0", 0x3 },
		{ "192.168.7.0", "255.255.255.0", 0x1 },
		{ "10.0.0.0", "255.0.0.0", 0x3 }, /* by a gateway */
		{ "172.17.0.0", "255.255.0.0", 0x1 },
		{ "172.30.0.0", "255.255.0.0", 0x0 },   /* not up */
		{ "172.31.0.0", "255.255.0.255", 0x1 }, /* no prefix */
		{ "127.0.0.0", "255.0.0.0", 0x1 },
		{ "224.0.0.0", "240.0.0.0", 0x1 },
		{ "10.9.9.9", "255.255.255.255", 0x205 },
	};
	static const char *const want[] = { "192.168.7.0/24", "10.0.0.0/8", "172.17.0.0/16",
					    "10.9.9.9/32" };
	char text[4000];
	size_t n;

	(void)state;
	n = (size_t)snprintf(text, sizeof text, "%-127s\n",
			     "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU"
			     "\tWindow\tIRTT");
	for (size_t i = 0; i < DP_ARRAY_LEN(lines); i++)
		n += (size_t)snprintf(text + n, sizeof text - n,
				      "eth0\t%08X\t%08X\t%04X\t0\t0\t100\t%08X\t0\t0\t0%40s\n",
				      as_kernel(lines[i].dest), 0U, lines[i].flags,
				      as_kernel(lines[i].mask), "");
	write_text("/proc/net/route", text);
	assert_routes(want, DP_ARRAY_LEN(want));
}

static void ipv6_routes_are_read_without_default_link_local_and_multicast(void **state)
{
	static const char *const want[] = { "fd12:3456:789a::/48", "2001:db8:0:1::5/128" };

	(void)state;
	write_text(
		"/proc/net/ipv6_route",
		"fd123456789a00000000000000000000 30 00000000000000000000000000000000 00 "
		"00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n"
		"20010db8000000010000000000000005 80 00000000000000000000000000000000 00 "
		"00000000000000000000000000000000 00000000 00000002 00000000 80200001       lo\n"
		"fe800000000000000000000000000000 40 00000000000000000000000000000000 00 "
		"00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n"
		"febf0000000000000000000000000001 80 00000000000000000000000000000000 00 "
		"00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n"
		"00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
		"fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n"
		"20000000000000000000000000000000 03 00000000000000000000000000000000 00 "
		"fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n"
		"fd990000000000000000000000000000 10 00000000000000000000000000000000 00 "
		"00000000000000000000000000000000 00000100 00000001 00000000 00000000     eth0\n"
		"00000000000000000000000000000001 80 00000000000000000000000000000000 00 "
		"00000000000000000000000000000000 00000000 00000002 00000000 80200001       lo\n"
		"ff000000000000000000000000000000 08 00000000000000000000000000000000 00 "
		"00000000000000000000000000000000 00000100 00000002 00000000 00000001     eth0\n");
	assert_routes(want, DP_ARRAY_LEN(want));
}

static void nameservers_are_read_without_those_on_loopback(void **state)
{
	static const char *const want[] = { "172.20.0.53/32", "fd00::53/128", "10.11.12.13/32" };

	(void)state;
	write_text("/etc/resolv.conf", "# nameserver 1.1.1.1\n"
				       "search example.org\n"
				       "nameserver 127.0.0.53\n"
				       "nameserver\t172.20.0.53 \n"
				       "nameserver fd00::53%eth0\n"
				       "nameserver fe80::1%eth0\n"
				       "nameserver ::1\n"
				       "nameservers 9.9.9.9\n"
				       "nameserver\n"
				       "nameserver dns.example.org\n");
	write_text("/run/systemd/resolve/resolv.conf", "nameserver 10.11.12.13"); /* no newline */
	assert_routes(want, DP_ARRAY_LEN(want));
}

static void files_that_are_not_there_count_as_empty(void **state)
{
	(void)state;
	assert_routes(NULL, 0);
}

static void garbage_is_passed_over(void **state)
{
	static const char *const want[] = { "10.3.0.0/16" };
	char line[200];
	char *big = malloc(1 << 20);
	char binary[1024];

	(void)state;
	assert_non_null(big);
	for (size_t i = 0; i < sizeof binary; i++)
		binary[i] = (char)(i * 7);
	(void)snprintf(line, sizeof line, "\n \t \neth0\neth0\t%08X\nx %08X 0 0001 0 0 0 %08X\n",
		       as_kernel("10.1.0.0"), as_kernel("10.3.0.0"), as_kernel("255.255.0.0"));
	write_text("/proc/net/route", line);
	write_file("/proc/net/ipv6_route", binary, sizeof binary);
	memset(big, 'f', 1 << 20);
	write_file("/etc/resolv.conf", big, 1 << 20);
	free(big);
	write_text(
		"/run/systemd/resolve/resolv.conf",
		"nameserver 999.1.1.1\nnameserver 1.2.3\nnameserver 1.2.3.4.5\nnameserver ::g\n");
	assert_routes(want, DP_ARRAY_LEN(want));
}

static void hex_fields_of_the_wrong_length_are_passed_over(void **state)
{
	(void)state;
	write_text("/proc/net/route", "eth0 0000010A 0 1 0 0 0 0000FFFF\n"
				      "eth0 000010A 0 0001 0 0 0 0000FFFF\n"
				      "eth0 0000010A 0 0001 0 0 0 0000FFFFF\n"
				      "eth0 0000010G 0 0001 0 0 0 0000FFFF\n");
	write_text("/proc/net/ipv6_route",
		   "fd123456789a0000000000000000000 30 0 00 0 0 0 0 00000001 eth0\n"
		   "fd123456789a00000000000000000000 81 0 00 0 0 0 0 00000001 eth0\n"
		   "fd123456789a00000000000000000000 30 0 00 0 0 0 0 1 eth0\n"
		   "gd123456789a00000000000000000000 30 0 00 0 0 0 0 00000001 eth0\n");
	assert_routes(NULL, 0);
}

static void many_routes_are_all_kept(void **state)
{
	enum { N = 1000 };
	DP_CLEANUP(ipam_hostroutes_done) struct ipam_hostroutes routes = IPAM_HOSTROUTES_INIT;
	char *text = malloc(N * 100);
	size_t n = 0;

	(void)state;
	assert_non_null(text);
	for (unsigned i = 0; i < N; i++)
		n += (size_t)snprintf(text + n, N * 100 - n,
				      "eth0\t%08X\t0\t0001\t0\t0\t0\t%08X\t0\t0\t0\n",
				      htonl(0x0a000000 + (i << 8)), as_kernel("255.255.255.0"));
	write_text("/proc/net/route", text);
	free(text);
	assert_int_equal(ipam_hostroutes_read(root, &routes, NULL), 0);
	assert_int_equal(routes.n_prefixes, N);
	for (unsigned i = 0; i < N; i++)
		assert_true(routes.prefixes[i].len == 24 &&
			    routes.prefixes[i].addr.lo == 0x0a000000 + (i << 8));
}

static void a_file_that_cannot_be_read_is_named(void **state)
{
	struct ipam_hostroutes routes = IPAM_HOSTROUTES_INIT;
	struct dp_error err = DP_ERROR_INIT;
	char want[300];

	(void)state;
	assert_int_equal(mkdir(path_of("/proc/net/ipv6_route"), 0700), 0);
	assert_int_equal(ipam_hostroutes_read(root, &routes, &err), -EISDIR);
	(void)snprintf(want, sizeof want, "cannot read %s/proc/net/ipv6_route: Is a directory",
		       root);
	assert_int_equal(err.kind, DP_ERR_UNAVAILABLE);
	assert_string_equal(err.msg, want);
	assert_null(routes.prefixes);
}

static void running_out_of_memory_is_an_error_and_leaks_nothing(void **state)
{
	unsigned n_failures = 0;

	(void)state;
	write_text("/etc/resolv.conf",
		   "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n");
	for (unsigned nth = 1;; nth++) {
		DP_CLEANUP(ipam_hostroutes_done)
		struct ipam_hostroutes routes = IPAM_HOSTROUTES_INIT;
		bool failed;
		int r;

		fail_alloc_nth(nth);
		r = ipam_hostroutes_read(root, &routes, NULL);
		failed = fail_alloc_stop();
		/* Without memory for its buffer, the C library reads byte by byte. */
		if (!failed || r == 0) {
			assert_int_equal(r, 0);
			assert_int_equal(routes.n_prefixes, 3);
		}
		if (!failed)
			break;
		n_failures += r < 0;
		if (r < 0) {
			assert_int_equal(r, -ENOMEM);
			assert_null(routes.prefixes);
		}
	}
	assert_int_equal(n_failures, 8); /* four files, a line, and three times the list */
}

#define test_in_root(f) cmocka_unit_test_setup_teardown(f, make_root, remove_root)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_in_root(ipv4_routes_are_read_without_default_and_loopback),
		test_in_root(ipv6_routes_are_read_without_default_link_local_and_multicast),
		test_in_root(nameservers_are_read_without_those_on_loopback),
		test_in_root(files_that_are_not_there_count_as_empty),
		test_in_root(garbage_is_passed_over),
		test_in_root(hex_fields_of_the_wrong_length_are_passed_over),
		test_in_root(many_routes_are_all_kept),
		test_in_root(a_file_that_cannot_be_read_is_named),
		test_in_root(running_out_of_memory_is_an_error_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
