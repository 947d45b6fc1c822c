/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "netdriver/driver.h"
#include "netdriver/options.h"

int main(int argc, char **argv)
{
	static const struct dp_schema *const tables[] = { &ndrv_option_schema, NULL };
	static struct ndrv_config config;
	static const struct dp_route *const routes[] = { ndrv_routes, ndrv_operator_routes,
							 ndrv_peer_routes, NULL };
	const struct dp_daemon_spec spec = {
		.name = "mynetworkplugin",
		.env_prefix = "MYNETWORKPLUGIN_",
		.summary = "Docker network driver: containers on VLANs, over bridges and veth pairs.",
		.config = &ndrv_config_schema,
		.tables = tables,
		.implements = "NetworkDriver",
		.routes = routes,
		.commands = ndrv_commands,
		.managed_socket = "network.sock",
		.turn_ops = { .flush = ndrv_driver_flush, .reload = ndrv_driver_reload },
		.capabilities = ndrv_capabilities,
		.check = ndrv_config_check,
		.check_state = ndrv_driver_check_state,
		.start = ndrv_driver_start,
		.metrics = ndrv_driver_metrics,
		.stop = ndrv_driver_stop,
	};

	return dp_daemon_main(&spec, argc, argv, &config);
}
