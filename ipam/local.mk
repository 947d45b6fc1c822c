noinst_LIBRARIES += ipam/libipam.a
ipam_libipam_a_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
ipam_libipam_a_SOURCES = \
	ipam/address.c \
	ipam/bitmap.c ipam/bitmap.h \
	ipam/block.c ipam/block.h \
	ipam/config.c \
	ipam/derive.c ipam/derive.h \
	ipam/driver.c ipam/driver.h ipam/driver_internal.h \
	ipam/generation.c ipam/generation.h \
	ipam/hostroutes.c ipam/hostroutes.h \
	ipam/join.c ipam/join.h \
	ipam/known.c ipam/known.h \
	ipam/ledger.c ipam/ledger.h \
	ipam/operator.c ipam/operator_internal.h \
	ipam/operator_change.c \
	ipam/operator_check.c \
	ipam/operator_list.c \
	ipam/operator_show.c ipam/operator_show.h \
	ipam/peer.c ipam/peer.h \
	ipam/pool.c ipam/pool.h \
	ipam/pool_id.c ipam/pool_id.h \
	ipam/probe.c ipam/probe.h \
	ipam/reclaim.c ipam/reclaim.h \
	ipam/settings.c \
	ipam/space.c ipam/space.h \
	ipam/state.c ipam/state.h \
	ipam/trend.c ipam/trend.h

sbin_PROGRAMS += ipam/myipamplugin
ipam_myipamplugin_SOURCES = ipam/main.c
ipam_myipamplugin_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
ipam_myipamplugin_LDADD = ipam/libipam.a $(COMMON_LIBS)
