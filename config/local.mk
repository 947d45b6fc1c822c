# Examples that equal the compiled-in defaults (tests/unit/config.sh compares them).
dist_sysconf_DATA += config/mynetworkplugin.json config/myipamplugin.json
