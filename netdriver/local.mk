noinst_LIBRARIES += netdriver/libnetdriver.a
netdriver_libnetdriver_a_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) $(LIBMNL_CFLAGS) $(LIBNL_CFLAGS) \
	$(LIBNFTNL_CFLAGS) $(LIBIPTC_CFLAGS)
netdriver_libnetdriver_a_SOURCES = \
	netdriver/driver.c netdriver/driver.h netdriver/driver_internal.h \
	netdriver/endpoint.c \
	netdriver/firewall.c netdriver/firewall.h netdriver/firewall_internal.h \
	netdriver/firewall_legacy.c \
	netdriver/firewall_nft.c \
	netdriver/host.c netdriver/host.h \
	netdriver/ifname.c netdriver/ifname.h \
	netdriver/network.c netdriver/network.h \
	netdriver/operator.c \
	netdriver/options.c netdriver/options.h \
	netdriver/peer.c \
	netdriver/plan.c netdriver/plan.h \
	netdriver/probe.c netdriver/probe.h \
	netdriver/reconcile.c \
	netdriver/rtnl.c netdriver/rtnl.h netdriver/rtnl_internal.h \
	netdriver/rtnl_addr.c \
	netdriver/rtnl_bridge.c \
	netdriver/rtnl_link.c \
	netdriver/rtnl_nlmsg.h \
	netdriver/rtnl_read.c \
	netdriver/rtnl_veth.c \
	netdriver/rtnl_vlan.c \
	netdriver/rtnl_watch.c \
	netdriver/sandbox.c netdriver/sandbox.h \
	netdriver/state.c netdriver/state.h \
	netdriver/table.c netdriver/table.h \
	netdriver/tx.c netdriver/tx.h
NETDRIVER_LIBS = netdriver/libnetdriver.a $(COMMON_LIBS) $(LIBNL_LIBS) $(LIBNFTNL_LIBS) \
	$(LIBIPTC_LIBS) $(LIBMNL_LIBS)

sbin_PROGRAMS += netdriver/mynetworkplugin
netdriver_mynetworkplugin_SOURCES = netdriver/main.c
netdriver_mynetworkplugin_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
netdriver_mynetworkplugin_LDADD = $(NETDRIVER_LIBS)
