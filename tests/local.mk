# Tests. `make check` runs unit tests, house rules and the fuzz corpora: no root, no network. Programs
# that need root are built by it and run by tests/run (lanes netns and system) and tests/bench/run.

AM_CPPFLAGS += $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
# What a test program is linked with unless it says otherwise; unused parts drop out.
LDADD = netdriver/libnetdriver.a ipam/libipam.a $(COMMON_LIBS) $(LIBNL_LIBS) $(LIBNFTNL_LIBS) \
	$(LIBIPTC_LIBS) $(LIBMNL_LIBS) $(CMOCKA_LIBS)

unit_tests = \
	%D%/unit/test_alloc_decode \
	%D%/unit/test_alloc_ipam \
	%D%/unit/test_alloc_store \
	%D%/unit/test_bitmap \
	%D%/unit/test_block \
	%D%/unit/test_command \
	%D%/unit/test_error \
	%D%/unit/test_golden \
	%D%/unit/test_hostroutes \
	%D%/unit/test_ifname \
	%D%/unit/test_inaddr \
	%D%/unit/test_ipam_state \
	%D%/unit/test_listener \
	%D%/unit/test_log \
	%D%/unit/test_loop \
	%D%/unit/test_metrics \
	%D%/unit/test_network \
	%D%/unit/test_options \
	%D%/unit/test_parse \
	%D%/unit/test_plan \
	%D%/unit/test_pool \
	%D%/unit/test_probe \
	%D%/unit/test_privilege \
	%D%/unit/test_rpc \
	%D%/unit/test_schema \
	%D%/unit/test_space \
	%D%/unit/test_state \
	%D%/unit/test_store \
	%D%/unit/test_store_damage \
	%D%/unit/test_swarm \
	%D%/unit/test_table \
	%D%/unit/test_turn \
	%D%/unit/test_tx
WITH_FAKEHTTP = $(AM_LDFLAGS) -Wl,--wrap=dp_http_method -Wl,--wrap=dp_http_path \
	-Wl,--wrap=dp_http_body -Wl,--wrap=dp_http_respond -Wl,--wrap=dp_http_on_end
%C%_unit_test_alloc_decode_LDFLAGS = $(WITH_FAKEHTTP)
%C%_unit_test_alloc_ipam_LDFLAGS = $(WITH_FAKEHTTP) -Wl,--wrap=time
%C%_unit_test_swarm_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=time -Wl,--wrap=dp_call_reply \
	-Wl,--wrap=dp_call_reply_text -Wl,--wrap=dp_call_undo_with

netns_tests = \
	%D%/netns/test_faults \
	%D%/netns/test_firewall \
	%D%/netns/test_rtnl \
	%D%/netns/test_rtnl_vlan \
	%D%/netns/test_teardown
netns_support = %D%/support/netns.c %D%/support/netns.h
%C%_netns_test_faults_SOURCES = %D%/netns/test_faults.c $(netns_support)
%C%_netns_test_faults_CFLAGS = $(AM_CFLAGS) $(LIBNL_CFLAGS) $(LIBMNL_CFLAGS)
%C%_netns_test_faults_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=mnl_socket_sendto -Wl,--wrap=mnl_socket_recvfrom \
	-Wl,--wrap=nl_send_auto -Wl,--wrap=dp_http_method -Wl,--wrap=dp_http_path \
	-Wl,--wrap=dp_http_body -Wl,--wrap=dp_http_respond -Wl,--wrap=dp_http_on_end
%C%_netns_test_firewall_SOURCES = %D%/netns/test_firewall.c $(netns_support)
%C%_netns_test_rtnl_SOURCES = %D%/netns/test_rtnl.c $(netns_support)
%C%_netns_test_rtnl_vlan_SOURCES = %D%/netns/test_rtnl_vlan.c $(netns_support)
%C%_netns_test_teardown_SOURCES = %D%/netns/test_teardown.c $(netns_support)
%C%_netns_test_teardown_CFLAGS = $(AM_CFLAGS) $(LIBMNL_CFLAGS) $(LIBNL_CFLAGS)
%C%_netns_test_teardown_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=mnl_socket_sendto -Wl,--wrap=nl_send_auto

bench_tests = \
	%D%/bench/bench_bitmap \
	%D%/bench/fdatasync \
	%D%/bench/loadgen
%C%_bench_fdatasync_LDADD =
%C%_bench_loadgen_LDADD =

if UNIT_TESTS
check_PROGRAMS += $(unit_tests) $(netns_tests)
TESTS += $(unit_tests)
endif
check_PROGRAMS += $(bench_tests)

# For LD_PRELOAD, by tests/system/test_disk.py.
check_PROGRAMS += %D%/support/faultdisk.so
%C%_support_faultdisk_so_SOURCES = %D%/support/faultdisk.c
%C%_support_faultdisk_so_CFLAGS = -std=gnu11 $(WARN_CFLAGS) -fPIC
%C%_support_faultdisk_so_LDFLAGS = -shared
%C%_support_faultdisk_so_LDADD =
# Likewise, by tests/system/test_privilege.py.
check_PROGRAMS += %D%/support/forbidden.so
%C%_support_forbidden_so_SOURCES = %D%/support/forbidden.c
%C%_support_forbidden_so_CFLAGS = -std=gnu11 $(WARN_CFLAGS) -fPIC
%C%_support_forbidden_so_LDFLAGS = -shared
%C%_support_forbidden_so_LDADD =

# libFuzzer's main where it is enabled, else one that replays files.
fuzz_tests = \
	%D%/fuzz/fuzz_config \
	%D%/fuzz/fuzz_inaddr \
	%D%/fuzz/fuzz_netlink \
	%D%/fuzz/fuzz_request \
	%D%/fuzz/fuzz_state
check_PROGRAMS += $(fuzz_tests)
WITH_FUZZ_ENGINE = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
%C%_fuzz_fuzz_config_SOURCES = %D%/fuzz/fuzz_config.c
%C%_fuzz_fuzz_config_LDFLAGS = $(WITH_FUZZ_ENGINE)
%C%_fuzz_fuzz_inaddr_SOURCES = %D%/fuzz/fuzz_inaddr.c
%C%_fuzz_fuzz_inaddr_LDFLAGS = $(WITH_FUZZ_ENGINE)
%C%_fuzz_fuzz_netlink_SOURCES = %D%/fuzz/fuzz_netlink.c
%C%_fuzz_fuzz_netlink_CFLAGS = $(AM_CFLAGS) $(LIBNL_CFLAGS) $(LIBMNL_CFLAGS)
%C%_fuzz_fuzz_netlink_LDFLAGS = $(WITH_FUZZ_ENGINE) -Wl,--wrap=mnl_socket_sendto \
	-Wl,--wrap=mnl_socket_recvfrom
%C%_fuzz_fuzz_state_SOURCES = %D%/fuzz/fuzz_state.c
%C%_fuzz_fuzz_state_LDFLAGS = $(WITH_FUZZ_ENGINE)
%C%_fuzz_fuzz_request_SOURCES = %D%/fuzz/fuzz_request.c
%C%_fuzz_fuzz_request_LDFLAGS = $(WITH_FUZZ_ENGINE) -Wl,--wrap=dp_http_method \
	-Wl,--wrap=dp_http_path -Wl,--wrap=dp_http_body -Wl,--wrap=dp_http_respond \
	-Wl,--wrap=dp_http_on_end
if !FUZZING
%C%_fuzz_fuzz_config_SOURCES += %D%/fuzz/fuzz_main.c
%C%_fuzz_fuzz_inaddr_SOURCES += %D%/fuzz/fuzz_main.c
%C%_fuzz_fuzz_netlink_SOURCES += %D%/fuzz/fuzz_main.c
%C%_fuzz_fuzz_request_SOURCES += %D%/fuzz/fuzz_main.c
%C%_fuzz_fuzz_state_SOURCES += %D%/fuzz/fuzz_main.c
endif

# The daemons in short runs under valgrind: reads of what was never written are seen by nothing else.
# As root, in a build without sanitizers. Where there is no valgrind it says so and is content.
VALGRIND_COMMAND = valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite
.PHONY: check-valgrind
check-valgrind: all
	@if ! command -v valgrind >/dev/null; then echo "1..0 # SKIP valgrind is not installed"; exit 0; fi; \
	DAEMON_WRAPPER='$(VALGRIND_COMMAND)' BUILD_DIR='$(abs_top_builddir)' SRC_DIR='$(abs_top_srcdir)' \
		'$(abs_top_srcdir)/tests/system/test_hostile.py' 'deletions in|release of|garbage|empty body'

script_tests = \
	%D%/check-hardening.sh \
	%D%/fuzz/replay.sh \
	%D%/lint/dist.sh \
	%D%/lint/headers.sh \
	%D%/lint/readme-tables.sh \
	%D%/lint/scripts.sh \
	%D%/lint/sources.sh \
	%D%/lint/units.sh \
	%D%/unit/config.sh
TESTS += $(script_tests)

EXTRA_DIST += $(script_tests) \
	%D%/bench/instructions %D%/bench/instructions.baseline %D%/bench/plot \
	%D%/bench/run %D%/bench/scale.py %D%/bench/start-cost %D%/bench/start-cost.sh \
	%D%/data \
	%D%/fuzz/corpus \
	%D%/judge \
	%D%/lab \
	%D%/run \
	%D%/support/failalloc.h \
	%D%/support/fakehttp.h \
	%D%/support/random.h \
	%D%/support/tap.sh \
	%D%/support/nosync.h \
	%D%/support/tempdir.h \
	%D%/support/unit.h \
	%D%/system

# A folder is packed with all that lies in it.
dist-hook:
	find $(distdir)/tests -depth -name __pycache__ -exec rm -rf {} +

LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
TEST_EXTENSIONS = .sh
SH_LOG_DRIVER = $(LOG_DRIVER)
AM_TESTS_ENVIRONMENT = \
	CMOCKA_MESSAGE_OUTPUT=TAP; export CMOCKA_MESSAGE_OUTPUT; \
	top_srcdir='$(top_srcdir)' top_builddir='$(top_builddir)'; export top_srcdir top_builddir; \
	CC='$(CC)' HARD_LDFLAGS='$(HARD_LDFLAGS)'; export CC HARD_LDFLAGS; \
	HEADER_CFLAGS='$(JANSSON_CFLAGS) $(LIBNL_CFLAGS) $(LIBMNL_CFLAGS) $(LIBNFTNL_CFLAGS) $(LIBIPTC_CFLAGS)'; \
	export HEADER_CFLAGS; MAKE='$(MAKE)'; export MAKE;
