/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "ipam/driver.h"

int main(int argc, char **argv)
{
	static const struct dp_schema *const tables[] = { &ipam_option_schema, NULL };
	static struct ipam_config config;
	static const struct dp_route *const routes[] = { ipam_routes, ipam_peer_routes,
							 ipam_operator_routes, NULL };
	const struct dp_daemon_spec spec = {
		.name = "myipamplugin",
		.env_prefix = "MYIPAMPLUGIN_",
		.summary = "Docker IPAM driver: addresses from bitmap pools kept durably on disk.",
		.config = &ipam_config_schema,
		.tables = tables,
		.implements = "IpamDriver",
		.routes = routes,
		.commands = ipam_commands,
		.managed_socket = "ipam.sock",
		.turn_ops = { .flush = ipam_driver_flush, .reload = ipam_driver_reload },
		.check = ipam_config_check,
		.check_state = ipam_driver_check_state,
		.start = ipam_driver_start,
		.metrics = ipam_driver_metrics,
		.stop = ipam_driver_stop,
	};

	return dp_daemon_main(&spec, argc, argv, &config);
}
