noinst_LIBRARIES += common/libcommon.a
common_libcommon_a_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) $(MHD_CFLAGS) $(SQLITE_CFLAGS) \
	$(SECCOMP_CFLAGS)
common_libcommon_a_SOURCES = \
	common/access.c common/access.h \
	common/archive.c common/archive.h \
	common/cleanup.h \
	common/client.c common/client.h \
	common/command.c common/command.h \
	common/compiler.h \
	common/daemon.c common/daemon.h \
	common/error.c common/error.h \
	common/http.c common/http.h \
	common/inaddr.c common/inaddr.h \
	common/json.c common/json.h \
	common/listener.c common/listener.h \
	common/log.c common/log.h \
	common/loop.c common/loop.h \
	common/metrics.c common/metrics.h \
	common/parse.c common/parse.h \
	common/peer.c common/peer.h \
	common/privilege.c common/privilege.h \
	common/rpc.c common/rpc.h \
	common/schema.c common/schema.h \
	common/store.c common/store.h \
	common/store_file.c common/store_file.h \
	common/turn.c common/turn.h
COMMON_LIBS = common/libcommon.a $(JANSSON_LIBS) $(MHD_LIBS) $(SQLITE_LIBS) $(SECCOMP_LIBS)
