# What carries the two daemons to a host: systemd units, man pages, the managed plugins
# (`make plugin`) and the Debian package (`make deb`).

PACKAGING_MANS = packaging/man/mynetworkplugin.8 packaging/man/myipamplugin.8
PACKAGING_UNITS = \
	packaging/systemd/mynetworkplugin.service \
	packaging/systemd/mynetworkplugin.socket \
	packaging/systemd/myipamplugin.service \
	packaging/systemd/myipamplugin.socket
PACKAGING_GENERATED = $(PACKAGING_MANS) $(PACKAGING_UNITS)

EXTRA_DIST += \
	packaging/check.sh \
	packaging/debian/build \
	packaging/debian/control.in \
	packaging/debian/copyright \
	packaging/debian/postinst \
	packaging/debian/postrm \
	packaging/debian/prerm \
	packaging/man/myipamplugin.8.in \
	packaging/man/mynetworkplugin.8.in \
	packaging/plugin/build \
	packaging/plugin/direct \
	packaging/plugin/myipamplugin.json \
	packaging/plugin/mynetworkplugin.json \
	packaging/quickstart \
	packaging/quickstart-swarm \
	packaging/systemd/myipamplugin.service.in \
	packaging/systemd/myipamplugin.socket.in \
	packaging/systemd/mynetworkplugin.service.in \
	packaging/systemd/mynetworkplugin.conf \
	packaging/systemd/mynetworkplugin.socket.in
CLEANFILES += $(PACKAGING_GENERATED)
TESTS += packaging/check.sh

nodist_man8_MANS = $(PACKAGING_MANS)
if SYSTEMD_UNITS
nodist_systemdsystemunit_DATA = $(PACKAGING_UNITS)
tmpfilesdir = $(prefix)/lib/tmpfiles.d
dist_tmpfiles_DATA = packaging/systemd/mynetworkplugin.conf
endif

# make, not configure, fills in the paths: only here are ${prefix} and its kin fully known.
$(PACKAGING_GENERATED): Makefile
	$(AM_V_GEN)$(MKDIR_P) $(@D) && sed \
	  -e 's|@sbindir[@]|$(sbindir)|g' \
	  -e 's|@sysconfdir[@]|$(sysconfdir)|g' \
	  -e 's|@docdir[@]|$(docdir)|g' \
	  -e 's|@VERSION[@]|$(VERSION)|g' \
	  $(srcdir)/$@.in >$@.tmp && mv $@.tmp $@
packaging/man/mynetworkplugin.8: packaging/man/mynetworkplugin.8.in
packaging/man/myipamplugin.8: packaging/man/myipamplugin.8.in
packaging/systemd/mynetworkplugin.service: packaging/systemd/mynetworkplugin.service.in
packaging/systemd/mynetworkplugin.socket: packaging/systemd/mynetworkplugin.socket.in
packaging/systemd/myipamplugin.service: packaging/systemd/myipamplugin.service.in
packaging/systemd/myipamplugin.socket: packaging/systemd/myipamplugin.socket.in

# Managed plugins in packaging/out, for `docker plugin create`.
.PHONY: plugin deb
plugin: netdriver/mynetworkplugin$(EXEEXT) ipam/myipamplugin$(EXEEXT)
	$(AM_V_GEN)$(MKDIR_P) packaging/out
	$(AM_V_at)STRIP='$(STRIP)' $(srcdir)/packaging/plugin/build mynetworkplugin \
	  netdriver/mynetworkplugin$(EXEEXT) packaging/out/mynetworkplugin
	$(AM_V_at)STRIP='$(STRIP)' $(srcdir)/packaging/plugin/build myipamplugin \
	  ipam/myipamplugin$(EXEEXT) packaging/out/myipamplugin

# One Debian package with both daemons, built from the sources in a folder of its own.
deb:
	$(AM_V_GEN)$(srcdir)/packaging/debian/build packaging/out

clean-local:
	rm -rf packaging/out
