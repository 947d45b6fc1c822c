/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <ctype.h>
#include <errno.h>
#include <link.h>
#include <malloc.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/access.h"
#include "common/cleanup.h"
#include "common/daemon.h"
#include "common/http.h"
#include "common/json.h"
#include "common/listener.h"
#include "common/log.h"
#include "common/privilege.h"

enum { EXIT_USAGE = 2, EXIT_FOUND = 3, MAX_LAST_ROUNDS = 16, MAX_KEY = 64, DESCRIPTORS = 4096 };

const char *const dp_log_level_names[] = { "error", "warning", "notice", "info", "debug", NULL };

/* What the command line asked for besides configuration keys. */
struct request {
	const char *config_path; /* NULL = the default path, which may be missing */
	bool check_only;
	bool check_state;
	bool done;    /* --help and the like have been served */
	const struct dp_command *command; /* NULL = be the daemon */
	int first_word;                   /* of the command's, in argv */
	json_t *root; /* the configuration file; the configuration borrows from it until the end */
};

/* ---- configuration ---- */

static struct dp_command_env command_env(const struct dp_daemon_spec *spec)
{
	static const struct dp_command none[] = { { .name = NULL } };

	return (struct dp_command_env){
		.program = spec->name,
		.config = spec->config,
		.managed_socket = spec->managed_socket,
		.commands = spec->commands ? spec->commands : none,
	};
}

static void print_help(const struct dp_daemon_spec *spec)
{
	struct dp_command_env env = command_env(spec);

	printf("Usage: %s [OPTION]...\n       %s [OPTION]... COMMAND [--json] [OPTION]...\n%s\n\n"
	       "  --config FILE    read configuration from FILE (JSON)\n"
	       "  --check-config   check the configuration and exit\n"
	       "  --check-state    check the state, with the daemon stopped, and exit\n"
	       "  --print-config   print the compiled-in defaults as a configuration file and exit\n"
	       "  --print-tables   print the option tables in Markdown and exit\n"
	       "  --version        print the version and exit\n"
	       "  --help           print this and exit\n\n"
	       "Configuration keys, also settable in the file and as %sKEY in the environment:\n",
	       spec->name, spec->name, spec->summary, spec->env_prefix);
	for (size_t i = 0; i < spec->config->n_fields; i++) {
		const struct dp_field *f = &spec->config->fields[i];

		printf("  --%s VALUE\n        %s%s%s%s\n", f->key, f->help,
		       f->def && *f->def ? " [" : "", f->def, f->def && *f->def ? "]" : "");
	}
	if (spec->commands) {
		printf("\nCommands, each with --help:\n");
		dp_command_print_help(&env, NULL, stdout);
	}
}

static int print_config(const struct dp_daemon_spec *spec)
{
	json_auto_t *obj = dp_schema_encode_defaults(spec->config);

	if (!obj || json_dumpf(obj, stdout, JSON_INDENT(4)) < 0)
		return -ENOMEM;
	putchar('\n');
	return 0;
}

static void print_tables(const struct dp_daemon_spec *spec)
{
	dp_schema_print_table(spec->config, stdout);
	for (size_t i = 0; spec->tables && spec->tables[i]; i++) {
		putchar('\n');
		dp_schema_print_table(spec->tables[i], stdout);
	}
}

/* The options that are not configuration keys. Return: 1 taken; 0 not one of them. */
static int special_option(const struct dp_daemon_spec *spec, const char *arg, struct request *rq)
{
	if (!strcmp(arg, "--help"))
		print_help(spec);
	else if (!strcmp(arg, "--version"))
		printf("%s %s\n", spec->name, PACKAGE_VERSION);
	else if (!strcmp(arg, "--print-config"))
		(void)print_config(spec);
	else if (!strcmp(arg, "--print-tables"))
		print_tables(spec);
	else if (!strcmp(arg, "--check-config")) {
		rq->check_only = true;
		return 1;
	} else if (!strcmp(arg, "--check-state")) {
		rq->check_state = true;
		return 1;
	} else
		return 0;
	rq->done = true;
	return 1;
}

/* The first word that is no option names a command, whose own words follow. */
static int take_command(const struct dp_daemon_spec *spec, int argc, char **argv, int i,
			struct request *rq, struct dp_error *err)
{
	struct dp_command_env env = command_env(spec);

	rq->command = dp_command_find(&env, argv[i], err);
	if (!rq->command)
		return err->code;
	rq->first_word = i + 1;
	for (int k = i + 1; k < argc; k++) {
		if (!strcmp(argv[k], "--help")) {
			dp_command_print_help(&env, rq->command, stdout);
			rq->done = true;
		}
	}
	return 0;
}

/* One pass over the command line: @dst NULL looks for the special options only. */
static int read_args(const struct dp_daemon_spec *spec, int argc, char **argv, struct request *rq,
		     void *dst, struct dp_error *err)
{
	for (int i = 1; i < argc && !rq->done; i++) {
		const char *arg = argv[i];
		const char *value = strchr(arg, '=');
		char key[MAX_KEY];
		int r;

		if (special_option(spec, arg, rq))
			continue;
		if (strncmp(arg, "--", 2))
			return take_command(spec, argc, argv, i, rq, err);
		(void)snprintf(key, sizeof key, "%.*s",
			       (int)(value ? value - arg - 2 : (ptrdiff_t)strlen(arg) - 2), arg + 2);
		if (strcmp(key, "config") && !dp_schema_find(spec->config, key))
			return dp_schema_set_text(spec->config, key, "", NULL, err); /* unknown */
		if (value)
			value++;
		else if (++i < argc)
			value = argv[i];
		else
			return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "--%s needs a value", key);
		if (!strcmp(key, "config"))
			rq->config_path = value;
		else if (dst && (r = dp_schema_set_text(spec->config, key, value, dst, err)) < 0)
			return dp_error_prefix(err, "command line");
	}
	return 0;
}

static int read_file(const struct dp_daemon_spec *spec, struct request *rq, void *dst,
		     struct dp_error *err)
{
	auto_free char *path = NULL;
	struct stat st;

	if (rq->config_path)
		path = strdup(rq->config_path);
	else if (asprintf(&path, "%s/%s.json", SYSCONFDIR, spec->name) < 0)
		path = NULL;
	if (!path)
		return dp_error_oom(err);
	if (!rq->config_path && stat(path, &st) < 0 && errno == ENOENT)
		return 0;
	if (dp_json_read(path, &rq->root, err) < 0)
		return err->code;
	if (dp_schema_decode(spec->config, rq->root, dst, err) < 0)
		return dp_error_prefix(err, "%s", path);
	return 0;
}

static int read_environment(const struct dp_daemon_spec *spec, void *dst, struct dp_error *err)
{
	size_t n = strlen(spec->env_prefix);

	for (char **e = environ; *e; e++) {
		const char *value = strchr(*e, '=');
		char key[MAX_KEY] = "";

		if (strncmp(*e, spec->env_prefix, n) || !value || !value[1])
			continue;
		for (size_t i = 0; *e + n + i < value && i + 1 < sizeof key; i++) {
			int c = (unsigned char)(*e)[n + i];

			key[i] = (char)(c == '_' ? '-' : tolower(c));
		}
		if (dp_schema_set_text(spec->config, key, value + 1, dst, err) < 0)
			return dp_error_prefix(err, "environment %.*s", (int)(value - *e), *e);
	}
	return 0;
}

static int read_config(const struct dp_daemon_spec *spec, int argc, char **argv, struct request *rq,
		       void *config, struct dp_error *err)
{
	const struct dp_common_config *common = config;
	struct sockaddr_storage sa;
	int r = read_args(spec, argc, argv, rq, NULL, err);

	if (r < 0 || rq->done)
		return r;
	dp_schema_defaults(spec->config, config);
	r = read_file(spec, rq, config, err);
	if (r == 0)
		r = read_environment(spec, config, err);
	if (r == 0)
		r = read_args(spec, argc, argv, rq, config, err);
	if (r == 0 && *common->metrics_address &&
	    dp_listener_parse_tcp(common->metrics_address, &sa, err) < 0)
		return dp_error_prefix(err, "metrics-address");
	if (r == 0 && spec->check)
		r = spec->check(config, err);
	return r;
}

/* ---- running ---- */

/* sd_notify(3): one datagram to $NOTIFY_SOCKET; nobody listening is no failure. */
static void notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	auto_close int fd = -EBADF;
	size_t len = path ? strlen(path) : 0;

	if (!len || len >= sizeof sa.sun_path)
		return;
	memcpy(sa.sun_path, path, len);
	if (path[0] == '@')
		sa.sun_path[0] = '\0'; /* abstract */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		(void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&sa,
			     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
}

struct daemon {
	const struct dp_daemon_spec *spec;
	struct dp_rpc_spec rpc_spec;
	struct dp_loop *loop;
	void *ctx;
	struct dp_turn *turn;
	struct dp_rpc *rpc;
	struct dp_listener listener;
	gid_t group; /* served besides root */
	struct dp_http *http;
	struct dp_listener scrape_listener; /* metrics-address */
	struct dp_http *scrape_http;
	int signal_fd;
};

static void on_signal(void *ctx, uint32_t events)
{
	struct daemon *d = ctx;
	struct signalfd_siginfo si;

	(void)events;
	if (read(d->signal_fd, &si, sizeof si) == (ssize_t)sizeof si)
		dp_loop_stop(d->loop);
}

/* The loop's hook: a turn over all that came in, then out with the answers. */
static bool on_iteration(void *ctx)
{
	struct daemon *d = ctx;
	bool more = dp_turn_run(d->turn);

	if (d->scrape_http)
		more = dp_http_flush(d->scrape_http) || more;
	return dp_http_flush(d->http) || more;
}

static int open_signals(struct daemon *d, struct dp_error *err)
{
	sigset_t set;

	(void)signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM); /* as PID 1 of a managed plugin it would be ignored unhandled */
	sigaddset(&set, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	d->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (d->signal_fd < 0)
		return dp_error_set(err, DP_ERR_INTERNAL, -errno, "signalfd: %s", strerror(errno));
	return dp_loop_add_fd(d->loop, d->signal_fd, EPOLLIN, on_signal, d, err);
}

/* Every connection is a descriptor, and the usual soft limit is less than http.h promises. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= DESCRIPTORS)
		return;
	limit.rlim_cur = limit.rlim_max < DESCRIPTORS ? limit.rlim_max : DESCRIPTORS;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* All that is bound while it can be: a port below 1024, a socket for a group. */
static int open_sockets(struct daemon *d, const struct dp_common_config *common, struct dp_error *err)
{
	int r = dp_access_parse_group(common->socket_group, &d->group, err);

	if (r < 0)
		return dp_error_prefix(err, "socket-group");
	r = dp_listener_open(common->socket, &d->listener, err);
	if (r == 0 && d->group != DP_NO_GROUP)
		r = dp_listener_share(&d->listener, d->group, err);
	if (r < 0 || !*common->metrics_address)
		return r;
	r = dp_listener_open_tcp(common->metrics_address, &d->scrape_listener, err);
	return r < 0 ? dp_error_prefix(err, "metrics-address") : 0;
}

/* What is never written is as its file says: code and constants. */
static int release_object(struct dl_phdr_info *object, size_t size, void *ctx)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	(void)size;
	(void)ctx;
	for (unsigned i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &object->dlpi_phdr[i];
		uintptr_t begin = (object->dlpi_addr + h->p_vaddr) & ~(page - 1);
		uintptr_t end = object->dlpi_addr + h->p_vaddr + h->p_memsz;

		if (h->p_type == PT_LOAD && !(h->p_flags & PF_W))
			(void)madvise((void *)begin, end - begin, MADV_DONTNEED);
	}
	return 0;
}

/* Libraries of libraries prepare themselves for what we never ask of them, TLS above all: most of the
 * memory that a daemon has seen when it is ready it does not need again. What it does need comes back
 * from the kernel's cache, page by page. */
static void release_start(void)
{
	(void)dl_iterate_phdr(release_object, NULL);
	(void)malloc_trim(0);
}

/* Before the state is opened: whatever needs more than what is kept fails at start, not a month
 * later. */
static int drop_privileges(const struct dp_daemon_spec *spec, const void *config,
			   struct dp_error *err)
{
	const struct dp_common_config *common = config;
	uint64_t keep = spec->capabilities ? spec->capabilities(config) : 0;
	enum dp_seccomp mode = DP_SECCOMP_ON;
	struct dp_privilege_lack lack;
	int r = dp_seccomp_parse(common->seccomp, &mode);

	if (r == 0)
		r = dp_privilege_drop(keep, mode, &lack, err);
	if (r < 0)
		return r;
	for (unsigned cap = 0; lack.capabilities >> cap; cap++) {
		if (lack.capabilities >> cap & 1)
			dp_log_warning("%s is missing: what needs it will fail",
				       dp_capability_name(cap));
	}
	if (lack.seccomp && mode != DP_SECCOMP_OFF)
		dp_log_warning("this kernel cannot filter system calls (seccomp)");
	return 0;
}

static int start(struct daemon *d, const void *config, struct dp_error *err)
{
	const struct dp_common_config *common = config;
	int r = dp_loop_new(&d->loop, err);

	raise_descriptor_limit();
	if (r == 0)
		r = open_signals(d, err);
	/* Listening comes first: the engine gives a managed plugin about 12 s until connect() works,
	 * and what arrives while we repair the host waits in the backlog. */
	if (r == 0)
		r = open_sockets(d, common, err);
	if (r == 0)
		r = drop_privileges(d->spec, config, err);
	if (r == 0)
		r = d->spec->start(config, d->loop, &d->ctx, err);
	if (r == 0)
		r = dp_turn_new(d->loop, &d->spec->turn_ops, d->ctx, &d->turn, err);
	if (r < 0)
		return r;
	d->rpc_spec = (struct dp_rpc_spec){
		.name = d->spec->name,
		.implements = d->spec->implements,
		.routes = d->spec->routes,
		.ctx = d->ctx,
		.deadline_ms = common->deadline * 1000,
		.metrics = d->spec->metrics,
	};
	r = dp_rpc_new(&d->rpc_spec, d->loop, d->turn, &d->rpc, err);
	if (r == 0)
		r = dp_http_new(d->loop, d->listener.fd, dp_rpc_on_request, d->rpc, &d->http, err);
	if (r == 0)
		dp_http_restrict(d->http, d->group);
	if (r == 0 && d->scrape_listener.fd >= 0)
		r = dp_http_new(d->loop, d->scrape_listener.fd, dp_rpc_on_scrape, d->rpc,
				&d->scrape_http, err);
	if (r == 0)
		dp_loop_set_hook(d->loop, on_iteration, d);
	return r;
}

/* Finishes what is under way, answers it, and leaves the data path alone. */
static void stop(struct daemon *d)
{
	if (d->http)
		dp_http_quiesce(d->http);
	/* Clients with open connections may go on asking for ever: some rounds are served. */
	for (int i = 0; d->http && i < MAX_LAST_ROUNDS && on_iteration(d); i++)
		;
	if (d->rpc)
		dp_rpc_stop(d->rpc); /* closing connections lets libmicrohttpd read once more */
	dp_http_free(d->scrape_http);
	dp_listener_close(&d->scrape_listener);
	dp_turn_free(d->turn);
	dp_http_free(d->http);
	dp_rpc_free(d->rpc);
	dp_listener_close(&d->listener);
	if (d->ctx)
		d->spec->stop(d->ctx);
	if (d->signal_fd >= 0)
		(void)close(d->signal_fd);
	dp_loop_free(d->loop);
}

/* Who waits for a daemon that cannot start is told why. */
static void turn_away(const struct dp_daemon_spec *spec, int fd, const char *reason)
{
	auto_free char *msg = NULL;
	auto_free char *body = NULL;
	auto_free char *response = NULL;

	if (fd < 0 || asprintf(&msg, "%s cannot start: %s", spec->name, reason) < 0)
		return;
	body = dp_rpc_refusal(msg);
	if (body && asprintf(&response,
			     "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
			     "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
			     strlen(body), body) > 0)
		dp_listener_turn_away(fd, response);
}

static int run(const struct dp_daemon_spec *spec, const void *config)
{
	struct daemon d = { .spec = spec,
			    .listener = DP_LISTENER_INIT,
			    .scrape_listener = DP_LISTENER_INIT,
			    .signal_fd = -EBADF };
	struct dp_error err = DP_ERROR_INIT;
	int r = start(&d, config, &err);

	if (r == 0) {
		release_start();
		notify("READY=1");
		dp_log_notice("%s %s is ready", spec->name, PACKAGE_VERSION);
		r = dp_loop_run(d.loop, &err);
		notify("STOPPING=1");
	} else {
		turn_away(spec, d.listener.fd >= 0 ? d.listener.fd : dp_listener_passed(), err.msg);
	}
	if (r < 0)
		dp_log_error("%s", err.msg);
	stop(&d);
	if (r == 0)
		dp_log_notice("%s has stopped", spec->name);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int command(const struct dp_daemon_spec *spec, int argc, char **argv, const struct request *rq,
		   void *config)
{
	const struct dp_common_config *common = config;
	struct dp_command_env env = command_env(spec);
	struct dp_error err = DP_ERROR_INIT;
	json_auto_t *args = NULL;
	bool json;
	int r;

	if (dp_command_parse(&env, rq->command, argc - rq->first_word, argv + rq->first_word, config,
			     &args, &json, &err) < 0) {
		fprintf(stderr, "%s: %s\n", spec->name, err.msg);
		return EXIT_USAGE;
	}
	r = dp_command_run(&env, rq->command, config, common->socket, args, json, &err);
	if (r >= 0)
		return r ? EXIT_FOUND : EXIT_SUCCESS;
	fprintf(stderr, "%s %s: %s\n", spec->name, rq->command->name, err.msg);
	return EXIT_FAILURE;
}

static int check_state(const struct dp_daemon_spec *spec, const void *config)
{
	struct dp_error err = DP_ERROR_INIT;
	int n = spec->check_state(config, stdout, &err);

	if (n < 0)
		fprintf(stderr, "%s: %s\n", spec->name, err.msg);
	else if (n == 0)
		puts("state is sound");
	return n ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int obey(const struct dp_daemon_spec *spec, int argc, char **argv, struct request *rq,
		void *config)
{
	const struct dp_common_config *common = config;
	struct dp_error err = DP_ERROR_INIT;
	enum dp_log_level level;

	if (read_config(spec, argc, argv, rq, config, &err) < 0) {
		fprintf(stderr, "%s: %s\n", spec->name, err.msg);
		turn_away(spec, dp_listener_passed(), err.msg);
		return EXIT_USAGE;
	}
	if (rq->done)
		return EXIT_SUCCESS;
	if (dp_log_level_parse(common->log_level, &level) == 0)
		dp_log_set_level(level);
	if (rq->check_only) {
		puts("configuration is valid");
		return EXIT_SUCCESS;
	}
	if (rq->check_state)
		return check_state(spec, config);
	return rq->command ? command(spec, argc, argv, rq, config) : run(spec, config);
}

int dp_daemon_main(const struct dp_daemon_spec *spec, int argc, char **argv, void *config)
{
	struct request rq = { .config_path = NULL };
	int status = obey(spec, argc, argv, &rq, config);

	json_decref(rq.root);
	return status;
}
