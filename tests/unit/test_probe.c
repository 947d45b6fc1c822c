/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/* The frames of address conflict detection, byte by byte as the RFCs draw them. */

#include "ipam/probe.h"
#include "netdriver/probe.h"
#include "tests/support/unit.h"

static const uint8_t our_mac[6] = { 2, 0, 0, 0, 0, 1 };
static const uint8_t its_mac[6] = { 2, 0, 0, 0, 0, 9 };

enum { ARP_SENDER_MAC = 22, ARP_SENDER_IP = 28, ARP_SIZE = 42, ND_SOURCE = 22, ND_TYPE = 54, ND_TARGET = 62,
       ND_SIZE = 78, HOP_LIMIT = 21 };

static void an_arp_probe_is_as_rfc_5227_has_it(void **state)
{
	static const uint8_t want[ARP_SIZE] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6, /* to all, ARP */
		0, 1, 8, 0, 6, 4, 0, 1,                                     /* a request */
		2, 0, 0, 0, 0, 1, 0, 0, 0, 0,                               /* from us, no address */
		0, 0, 0, 0, 0, 0, 10, 1, 0, 7,                              /* for the address */
	};
	uint8_t frame[NDRV_PROBE_FRAME_SIZE];
	struct dp_addr addr = addr_of("10.1.0.7");

	(void)state;
	assert_int_equal(ndrv_probe_compose(&addr, our_mac, frame), sizeof want);
	assert_memory_equal(frame, want, sizeof want);
}

static void a_solicitation_is_as_rfc_4862_has_it(void **state)
{
	static const uint8_t want[ND_SIZE] = {
		0x33, 0x33, 0xff, 0, 0x12, 0x34, 2, 0, 0, 0, 0, 1, 0x86, 0xdd,
		0x60, 0, 0, 0, 0, 24, 58, 255,                       /* ICMPv6, hop limit 255 */
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,      /* from :: */
		0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0x12, 0x34, /* solicited-node group */
		135, 0, 0x59, 0x3f, 0, 0, 0, 0,                      /* checksum as RFC 8200 8.1 */
		0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34,
	};
	uint8_t frame[NDRV_PROBE_FRAME_SIZE];
	struct dp_addr addr = addr_of("fd00::1234");

	(void)state;
	assert_int_equal(ndrv_probe_compose(&addr, our_mac, frame), sizeof want);
	assert_memory_equal(frame, want, sizeof want);
}

static void the_holder_of_an_address_is_recognised(void **state)
{
	uint8_t frame[NDRV_PROBE_FRAME_SIZE];
	struct dp_addr addr = addr_of("10.1.0.7");
	struct ndrv_claim claim;

	(void)state;
	assert_int_equal(ndrv_probe_compose(&addr, its_mac, frame), ARP_SIZE);
	assert_true(ndrv_probe_parse(frame, ARP_SIZE, &claim)); /* it asks for the address too */
	assert_true(claim.probe);
	assert_int_equal(dp_addr_cmp(&claim.addr, &addr), 0);
	memcpy(frame + ARP_SENDER_IP, (const uint8_t[]){ 10, 1, 0, 8 }, 4);
	assert_true(ndrv_probe_parse(frame, ARP_SIZE, &claim)); /* it has another, and says so */
	addr = addr_of("10.1.0.8");
	assert_false(claim.probe);
	assert_int_equal(dp_addr_cmp(&claim.addr, &addr), 0);
	assert_memory_equal(claim.mac, its_mac, 6);
}

static void an_advertisement_names_its_sender_by_option_or_frame(void **state)
{
	uint8_t frame[NDRV_PROBE_FRAME_SIZE];
	struct dp_addr addr = addr_of("fd00::7");
	struct ndrv_claim claim;

	(void)state;
	assert_int_equal(ndrv_probe_compose(&addr, our_mac, frame), ND_SIZE);
	frame[ND_TYPE] = 136;
	assert_true(ndrv_probe_parse(frame, ND_SIZE, &claim));
	assert_false(claim.probe);
	assert_int_equal(dp_addr_cmp(&claim.addr, &addr), 0);
	assert_memory_equal(claim.mac, our_mac, 6);
	frame[ND_SIZE] = 2; /* target link-layer address, one unit */
	frame[ND_SIZE + 1] = 1;
	memcpy(frame + ND_SIZE + 2, its_mac, 6);
	assert_true(ndrv_probe_parse(frame, ND_SIZE + 8, &claim));
	assert_memory_equal(claim.mac, its_mac, 6);
}

static void frames_that_claim_nothing_are_passed_over(void **state)
{
	uint8_t arp[NDRV_PROBE_FRAME_SIZE] = { 0 };
	uint8_t nd[NDRV_PROBE_FRAME_SIZE] = { 0 };
	struct dp_addr v4 = addr_of("10.1.0.7");
	struct dp_addr v6 = addr_of("fd00::7");
	struct ndrv_claim claim;

	(void)state;
	ndrv_probe_compose(&v4, its_mac, arp);
	ndrv_probe_compose(&v6, its_mac, nd);
	for (size_t n = 0; n < ARP_SIZE; n++)
		assert_false(ndrv_probe_parse(arp, n, &claim));
	for (size_t n = 0; n < ND_SIZE; n++)
		assert_false(ndrv_probe_parse(nd, n, &claim));
	nd[HOP_LIMIT] = 254; /* came through a router: forged */
	assert_false(ndrv_probe_parse(nd, ND_SIZE, &claim));
	nd[HOP_LIMIT] = 255;
	nd[ND_SOURCE] = 0xfe; /* a look-up by somebody with an address */
	assert_false(ndrv_probe_parse(nd, ND_SIZE, &claim));
	arp[14 + 4] = 8; /* length of a hardware address */
	assert_false(ndrv_probe_parse(arp, ARP_SIZE, &claim));
}

static void an_option_of_no_length_ends_the_search(void **state)
{
	uint8_t frame[NDRV_PROBE_FRAME_SIZE] = { 0 };
	struct dp_addr addr = addr_of("fd00::7");
	struct ndrv_claim claim;

	(void)state;
	ndrv_probe_compose(&addr, its_mac, frame);
	frame[ND_TYPE] = 136;
	assert_true(ndrv_probe_parse(frame, sizeof frame, &claim));
	assert_memory_equal(claim.mac, its_mac, 6);
}

static void a_probe_time_has_a_unit(void **state)
{
	static const struct {
		const char *text;
		uint32_t ms;
	} good[] = { { "0", 0 }, { "0ms", 0 }, { "1ms", 1 }, { "200ms", 200 }, { "1s", 1000 },
		     { "5s", 5000 }, { "5000ms", 5000 } };
	static const char *const bad[] = { "", "ms", "s", "200", "-1ms", "+1ms", "5001ms", "6s", "1m",
					   "1 s", "99999999999999999999ms", "4294967297s" };
	struct dp_error err = DP_ERROR_INIT;
	uint32_t ms = 77;

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(good); i++) {
		assert_ok(ipam_probe_parse(good[i].text, &ms, &err), &err);
		assert_int_equal(ms, good[i].ms);
	}
	for (size_t i = 0; i < DP_ARRAY_LEN(bad); i++) {
		ms = 77;
		assert_refused(ipam_probe_parse(bad[i], &ms, &err), -EINVAL, &err, bad[i]);
		assert_int_equal(ms, 77);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_arp_probe_is_as_rfc_5227_has_it),
		cmocka_unit_test(a_solicitation_is_as_rfc_4862_has_it),
		cmocka_unit_test(the_holder_of_an_address_is_recognised),
		cmocka_unit_test(an_advertisement_names_its_sender_by_option_or_frame),
		cmocka_unit_test(frames_that_claim_nothing_are_passed_over),
		cmocka_unit_test(an_option_of_no_length_ends_the_search),
		cmocka_unit_test(a_probe_time_has_a_unit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
