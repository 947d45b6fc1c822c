noinst_LIBRARIES += ipam/libipam.a
ipam_libipam_a_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
ipam_libipam_a_SOURCES = \
	ipam/bitmap.c ipam/bitmap.h \
	ipam/driver.c ipam/driver.h ipam/driver_internal.h \
	ipam/hostroutes.c ipam/hostroutes.h \
	ipam/peer.c ipam/peer.h \
	ipam/pool.c ipam/pool.h \
	ipam/pool_id.c ipam/pool_id.h \
	ipam/probe.c ipam/probe.h \
	ipam/reclaim.c ipam/reclaim.h \
	ipam/space.c ipam/space.h \
	ipam/state.c ipam/state.h

sbin_PROGRAMS += ipam/myipamplugin
ipam_myipamplugin_SOURCES = ipam/main.c
ipam_myipamplugin_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
ipam_myipamplugin_LDADD = ipam/libipam.a $(COMMON_LIBS)
