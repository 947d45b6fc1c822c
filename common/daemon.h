/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_COMMON_DAEMON_H
#define DP_COMMON_DAEMON_H

/*
 * What both daemons do the same way: command line, configuration, signals, readiness, and the wiring
 * of socket, HTTP, rpc, turn and loop. A daemon's main() describes itself and calls dp_daemon_main().
 *
 * Configuration, weakest first: compiled-in defaults, the JSON file, environment, command line.
 * Every key is spelled the same everywhere: `log-level` in the file, MYIPAMPLUGIN_LOG_LEVEL in the
 * environment (an empty value counts as not set, since `docker plugin set` cannot unset), and
 * `--log-level` on the command line. Unknown keys are errors in all three.
 *
 * A word on the command line that is no option is a command for operators (command.h).
 */

#include "common/command.h"
#include "common/privilege.h"
#include "common/rpc.h"
#include "common/schema.h"
#include "common/turn.h"

/* First member of a daemon's configuration struct. */
struct dp_common_config {
	const char *socket;       /* path to bind when no socket is handed over */
	const char *socket_group; /* name or number of those served besides root; "" = none */
	const char *state_dir;    /* directory of the database */
	const char *log_level;    /* name of an enum dp_log_level */
	uint32_t deadline;        /* seconds until a request that waits is given up */
	const char *metrics_address; /* ADDRESS:PORT that serves /metrics; "" = none */
	const char *seccomp;      /* name of an enum dp_seccomp */
};

/* The rows of those, DP_N_COMMON_FIELDS of them, for the schema of a configuration struct @st with
 * member `common`. */
#define DP_COMMON_FIELDS(st, name)                                                                \
	DP_STR(st, common.socket, "socket", .min = 1, .max = 107,                                 \
	       .def = "/run/docker/plugins/" name ".sock",                                        \
	       .help = "unix socket to listen on, unless the service manager hands one over"),    \
	DP_STR(st, common.socket_group, "socket-group", .def = "",                                \
	       .help = "group, name or number, whose members are served besides root"),           \
	DP_STR(st, common.state_dir, "state-dir", .min = 1, .def = "/var/lib/" name,              \
	       .help = "directory of the state database"),                                        \
	DP_STR(st, common.log_level, "log-level", .choices = dp_log_level_names, .def = "info",   \
	       .help = "least important message that is logged"),                                 \
	DP_U32(st, common.deadline, "deadline", .min = 1, .max = 60, .unit = "seconds",           \
	       .def = "10",                                                                       \
	       .help = "time after which a request that waits is answered with an error"),        \
	DP_STR(st, common.metrics_address, "metrics-address", .def = "",                          \
	       .help = "address and port, such as 127.0.0.1:9464, that serves GET /metrics for "  \
		       "Prometheus; empty: only the socket does"),                                \
	DP_STR(st, common.seccomp, "seccomp", .choices = dp_seccomp_names, .def = "on",           \
	       .help = "system calls that are never needed: `on` fails them, `log` has the "      \
		       "kernel log them, `off` leaves them alone")

enum { DP_N_COMMON_FIELDS = 7 };

extern const char *const dp_log_level_names[]; /* NULL-terminated */

struct dp_daemon_spec {
	const char *name;                      /* "myipamplugin" */
	const char *env_prefix;                /* "MYIPAMPLUGIN_" */
	const char *summary;                   /* one line for --help */
	const struct dp_schema *config;        /* table of the configuration */
	const struct dp_schema *const *tables; /* further tables for --print-tables; NULL-terminated */
	const char *implements;                /* "IpamDriver" */
	const struct dp_route *const *routes;  /* tables of methods, NULL-terminated */
	const struct dp_command *commands;     /* for operators; ends with a row without name */
	const char *managed_socket;            /* file name of the socket in a managed plugin */
	struct dp_turn_ops turn_ops;
	/* Semantic check of the decoded configuration; may be NULL. Must not change anything. */
	int (*check)(const void *config, struct dp_error *err);
	/* Set of DP_CAPABILITY() that this configuration needs; NULL = none. */
	uint64_t (*capabilities)(const void *config);
	/* Looks at the state, with the daemon stopped, and changes nothing; findings go to @out, a
	 * line each. Return: how many; negative errno with @err filled. */
	int (*check_state)(const void *config, FILE *out, struct dp_error *err);
	/* Opens state, repairs the host; @ret_ctx is handed to everything else. */
	int (*start)(const void *config, struct dp_loop *loop, void **ret_ctx, struct dp_error *err);
	void (*metrics)(void *ctx, const struct dp_metrics *m); /* its own numbers; may be NULL */
	void (*stop)(void *ctx); /* closes what start() opened; the data path stays as it is */
};

/**
 * dp_daemon_main() - be that daemon until SIGTERM or SIGINT, or do one command
 * @config: the daemon's configuration struct, filled here
 *
 * Return: exit status: 0; 1 it could not start or had to give up, or the command failed; 2 wrong
 *         usage or configuration.
 */
int dp_daemon_main(const struct dp_daemon_spec *spec, int argc, char **argv, void *config);

#endif
