/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * Load for a plugin daemon: N keep-alive clients on its unix socket, each with one request under
 * way at a time, as an engine's are.
 *
 *   loadgen SOCKET SCRIPT CLIENTS SECONDS|ROUNDSx [RATE [SUBNET]]
 *
 * SECONDS 0 means until SIGTERM or SIGINT, after which every client finishes what it has begun. RATE
 * limits the calls a second of all clients together (0: does not); latencies then mean nothing. With
 * ROUNDSx (500x) every client does the script that often, for counting instructions.
 *
 * SCRIPT is what every client does over and over:
 *
 *   spaces    IpamDriver.GetDefaultAddressSpaces: a call without work
 *   address   RequestAddress, ReleaseAddress, in SUBNET (10.0.0.0/8), which is requested first
 *   fill      RequestAddress, and nothing is given back, not even the pool
 *   pair      as address, in the pool that `fill` has left, which is given back at last
 *   info      NetworkDriver.EndpointOperInfo: a call without work
 *   attach    CreateEndpoint, Join, Leave, DeleteEndpoint, on an isolated network made first
 *   arrive    CreateEndpoint, Join on such a network, which at last takes the endpoints along
 *   pools     the whole life of a pool: requested, gateway, addresses, all given back
 *   networks  the whole life of a network: made, an endpoint in and out, deleted
 *
 * Prints a line a method, and one ("all") for all: NAME COUNT PER_SECOND P50_US P99_US. `attach` and
 * `arrive` have one more ("attach"): CreateEndpoint and Join together, what a starting container waits for.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CLIENTS = 1024, MAX_STEPS = 8, BUF = 4096, ADDRESS = 64 };
enum { PATIENCE_MS = 120000 }; /* others may hold the kernel's one lock of all links for long */
enum { MAX_SAMPLES = 1 << 22 }; /* of a method; of a longer run the last ones are kept */

#define ENGINE_HEADERS                                                            \
	"Host: plugin.moby.localhost\r\nUser-Agent: Go-http-client/1.1\r\n"      \
	"Accept: application/vnd.docker.plugins.v1.2+json\r\nContent-Length: %zu\r\n\r\n%s"

/* What stands for SUBNET is filled in. */
#define SUBNET "SUBNET"
#define REQUEST_POOL                                                              \
	"{\"AddressSpace\":\"local\",\"Pool\":\"" SUBNET "\",\"SubPool\":\"\"," \
	"\"Options\":null,\"V6\":false}\n"
#define RELEASE_POOL "{\"PoolID\":\"local/" SUBNET "\"}\n"

#define NETWORK "f0000000000000000000000000000000000000000000000000000000000bench"

/* Latencies of one method. */
struct series {
	const char *name;
	uint64_t *ns;
	size_t n;   /* all that were measured */
	size_t max; /* room */
};

struct client {
	int fd;
	unsigned number;
	unsigned step;      /* of the script */
	uint64_t round;     /* how often the script was begun */
	uint64_t sent_ns;   /* when the present request was sent */
	uint64_t round_ns;  /* when the script was begun */
	char address[ADDRESS];
	char in[BUF];       /* what has arrived of the answer */
	size_t n_in;
};

struct script {
	const char *name;
	const char *methods[MAX_STEPS];
	const char *setup_method; /* called once before; NULL = none */
	const char *setup_body;
	const char *teardown_method; /* called once after; NULL = none */
	const char *teardown_body;
	unsigned n_steps;
	unsigned keep;  /* the step whose answer holds the address for later ones */
	bool is_attach; /* the first two steps are what a starting container waits for */
	/* Writes the body of the client's present step. */
	void (*body)(const struct client *c, char *buf, size_t size);
};

static void die(const char *what)
{
	(void)fprintf(stderr, "loadgen: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* ---- scripts ---- */

static const char *subnet = "10.0.0.0/8";

static void no_body(const struct client *c, char *buf, size_t size)
{
	(void)c;
	(void)size;
	buf[0] = '\0';
}

static void address_body(const struct client *c, char *buf, size_t size)
{
	if (c->step == 0)
		(void)snprintf(buf, size, "{\"PoolID\":\"local/%s\",\"Address\":\"\",\"Options\":null}\n",
			       subnet);
	else
		(void)snprintf(buf, size, "{\"PoolID\":\"local/%s\",\"Address\":\"%s\"}\n", subnet,
			       c->address);
}

static void endpoint_body(const struct client *c, char *buf, size_t size)
{
	uint64_t id = c->number * UINT64_C(10000000) + c->round;
	unsigned host = c->number + 2;

	if (c->step == 0)
		(void)snprintf(buf, size,
			       "{\"NetworkID\":\"" NETWORK "\",\"EndpointID\":\"%012" PRIx64
			       "00000000000000000000000000000000000000000000000000ab\",\"Interface\":"
			       "{\"Address\":\"10.99.%u.%u/16\",\"AddressIPv6\":\"\",\"MacAddress\":\"\"},"
			       "\"Options\":{\"com.docker.network.endpoint.exposedports\":[],"
			       "\"com.docker.network.portmap\":[]}}\n",
			       id, host >> 8, host & 255);
	else
		(void)snprintf(buf, size,
			       "{\"NetworkID\":\"" NETWORK "\",\"EndpointID\":\"%012" PRIx64
			       "00000000000000000000000000000000000000000000000000ab\"%s}\n",
			       id, c->step == 1 ? ",\"SandboxKey\":\"/var/run/docker/netns/0123456789ab\","
						  "\"Options\":{}" : "");
}

/* Client by client a subnet of its own, whose hosts are 1 and so on. */
static void pools_body(const struct client *c, char *buf, size_t size)
{
	unsigned a = 64 + (c->number >> 8);
	unsigned b = c->number & 255;

	if (c->step == 0)
		(void)snprintf(buf, size,
			       "{\"AddressSpace\":\"local\",\"Pool\":\"100.%u.%u.0/24\",\"SubPool\":\"\","
			       "\"Options\":{},\"V6\":false}\n", a, b);
	else if (c->step == 7)
		(void)snprintf(buf, size, "{\"PoolID\":\"local/100.%u.%u.0/24\"}\n", a, b);
	else if (c->step == 1 || c->step == 2)
		(void)snprintf(buf, size,
			       "{\"PoolID\":\"local/100.%u.%u.0/24\",\"Address\":\"\",\"Options\":%s}\n",
			       a, b, c->step == 1 ? "{\"RequestAddressType\":\"com.docker.network.gateway\"}"
						  : "null");
	else if (c->step == 4)
		(void)snprintf(buf, size, "{\"PoolID\":\"local/100.%u.%u.0/24\",\"Address\":\"%s\"}\n",
			       a, b, c->address);
	else
		(void)snprintf(buf, size,
			       "{\"PoolID\":\"local/100.%u.%u.0/24\",\"Address\":\"100.%u.%u.%u\"}\n", a, b,
			       a, b, c->step == 6 ? 1 : 77);
}

static void networks_body(const struct client *c, char *buf, size_t size)
{
	/* Names of links come from the first twelve digits: not those of the script `attach`. */
	uint64_t id = UINT64_C(0xcd0000000000) + c->number * UINT64_C(10000000) + c->round;
	char ids[192];

	(void)snprintf(ids, sizeof ids,
		       "\"NetworkID\":\"%012" PRIx64 "00000000000000000000000000000000000000000000000000cd\","
		       "\"EndpointID\":\"%012" PRIx64 "00000000000000000000000000000000000000000000000000ce\"",
		       id, id);
	if (c->step == 0)
		(void)snprintf(buf, size,
			       "{%s,\"Options\":{\"com.docker.network.enable_ipv6\":false,"
			       "\"com.docker.network.generic\":{\"mode\":\"isolated\"}},\"IPv4Data\":[{"
			       "\"AddressSpace\":\"local\",\"Pool\":\"10.99.0.0/16\"}],\"IPv6Data\":[]}\n", ids);
	else if (c->step == 1)
		(void)snprintf(buf, size,
			       "{%s,\"Interface\":{\"Address\":\"10.99.0.2/16\",\"AddressIPv6\":\"\","
			       "\"MacAddress\":\"\"},\"Options\":{}}\n", ids);
	else
		(void)snprintf(buf, size, "{%s%s}\n", ids,
			       c->step == 2 ? ",\"SandboxKey\":\"/var/run/docker/netns/0123456789ab\","
					      "\"Options\":{}" : "");
}

#define MAKE_NETWORK                                                              \
	.setup_method = "NetworkDriver.CreateNetwork",                            \
	.setup_body = "{\"NetworkID\":\"" NETWORK "\",\"Options\":{\"com.docker.network.enable_ipv6\":false," \
		      "\"com.docker.network.generic\":{\"mode\":\"isolated\"}},\"IPv4Data\":[{\"AddressSpace\":" \
		      "\"local\",\"Pool\":\"10.99.0.0/16\"}],\"IPv6Data\":[]}\n",    \
	.teardown_method = "NetworkDriver.DeleteNetwork",                         \
	.teardown_body = "{\"NetworkID\":\"" NETWORK "\"}\n"

static const struct script scripts[] = {
	{ .name = "spaces", .methods = { "IpamDriver.GetDefaultAddressSpaces" }, .n_steps = 1,
	  .body = no_body },
	{ .name = "address", .methods = { "IpamDriver.RequestAddress", "IpamDriver.ReleaseAddress" },
	  .n_steps = 2, .body = address_body, .setup_method = "IpamDriver.RequestPool",
	  .setup_body = REQUEST_POOL, .teardown_method = "IpamDriver.ReleasePool",
	  .teardown_body = RELEASE_POOL },
	{ .name = "fill", .methods = { "IpamDriver.RequestAddress" }, .n_steps = 1,
	  .body = address_body, .setup_method = "IpamDriver.RequestPool",
	  .setup_body = REQUEST_POOL },
	{ .name = "pair", .methods = { "IpamDriver.RequestAddress", "IpamDriver.ReleaseAddress" },
	  .n_steps = 2, .body = address_body, .teardown_method = "IpamDriver.ReleasePool",
	  .teardown_body = RELEASE_POOL },
	{ .name = "info", .methods = { "NetworkDriver.EndpointOperInfo" }, .n_steps = 1,
	  .body = endpoint_body },
	{ .name = "attach",
	  .methods = { "NetworkDriver.CreateEndpoint", "NetworkDriver.Join", "NetworkDriver.Leave",
		       "NetworkDriver.DeleteEndpoint" },
	  .n_steps = 4, .is_attach = true, .body = endpoint_body, MAKE_NETWORK },
	{ .name = "arrive", .methods = { "NetworkDriver.CreateEndpoint", "NetworkDriver.Join" },
	  .n_steps = 2, .is_attach = true, .body = endpoint_body, MAKE_NETWORK },
	{ .name = "pools",
	  .methods = { "IpamDriver.RequestPool", "IpamDriver.RequestAddress", "IpamDriver.RequestAddress",
		       "IpamDriver.RequestAddress", "IpamDriver.ReleaseAddress",
		       "IpamDriver.ReleaseAddress", "IpamDriver.ReleaseAddress",
		       "IpamDriver.ReleasePool" },
	  .n_steps = 8, .keep = 2, .body = pools_body },
	{ .name = "networks",
	  .methods = { "NetworkDriver.CreateNetwork", "NetworkDriver.CreateEndpoint",
		       "NetworkDriver.Join", "NetworkDriver.EndpointOperInfo", "NetworkDriver.Leave",
		       "NetworkDriver.DeleteEndpoint", "NetworkDriver.DeleteNetwork" },
	  .n_steps = 7, .body = networks_body },
};

/* ---- HTTP ---- */

static int connect_to(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof sa.sun_path) {
		errno = ENAMETOOLONG;
		die(path);
	}
	memcpy(sa.sun_path, path, strlen(path) + 1);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&sa, sizeof sa) < 0)
		die(path);
	return fd;
}

static void send_request(int fd, const char *method, const char *body)
{
	char buf[BUF];
	int n = snprintf(buf, sizeof buf, "POST /%s HTTP/1.1\r\n" ENGINE_HEADERS, method, strlen(body),
			 body);

	if (n < 0 || (size_t)n >= sizeof buf || write(fd, buf, (size_t)n) != n)
		die("send"); /* a request always fits into the socket's buffer */
}

/* Where the body of a complete answer begins; NULL while some of it is missing. */
static char *answer_body(struct client *c)
{
	char *body = strstr(c->in, "\r\n\r\n");
	const char *length = strcasestr(c->in, "\r\nContent-Length:");

	if (!body || !length || length > body)
		return NULL;
	body += 4;
	return (size_t)(body - c->in) + strtoul(length + 17, NULL, 10) <= c->n_in ? body : NULL;
}

/* Takes what has arrived. Return: the body once the answer is complete, else NULL. */
static char *receive(struct client *c)
{
	ssize_t n = recv(c->fd, c->in + c->n_in, sizeof c->in - 1 - c->n_in, 0);
	char *body;

	if (n <= 0)
		die("receive");
	c->n_in += (size_t)n;
	c->in[c->n_in] = '\0';
	body = answer_body(c);
	if (!body)
		return NULL;
	if (strncmp(c->in, "HTTP/1.1 200", 12) || strstr(body, "\"Err\"")) {
		(void)fprintf(stderr, "loadgen: refused: %s\n", body);
		exit(EXIT_FAILURE);
	}
	c->n_in = 0;
	return body;
}

/* ---- the run ---- */

static uint64_t max_rounds = UINT64_MAX; /* of each client */

static volatile sig_atomic_t told_to_stop;

static void on_signal(int number)
{
	(void)number;
	told_to_stop = 1;
}

/* Waits until the next call is due. */
static void pace(double rate)
{
	static uint64_t due;
	struct timespec t;
	uint64_t now = now_ns();

	if (rate <= 0)
		return;
	due = (due < now - UINT64_C(1000000000) ? now : due) + (uint64_t)(1e9 / rate);
	if (due <= now)
		return;
	t = (struct timespec){ .tv_sec = (time_t)((due - now) / UINT64_C(1000000000)),
			       .tv_nsec = (long)((due - now) % UINT64_C(1000000000)) };
	(void)nanosleep(&t, NULL);
}

static void note(struct series *s, uint64_t ns)
{
	if (s->n == s->max && s->max < MAX_SAMPLES) {
		s->max = s->max ? 2 * s->max : 4096;
		s->ns = realloc(s->ns, s->max * sizeof *s->ns);
		if (!s->ns)
			die("memory");
	}
	s->ns[s->n++ % MAX_SAMPLES] = ns;
}

static void next_request(const struct script *script, struct client *c)
{
	char body[BUF / 2];

	script->body(c, body, sizeof body);
	c->sent_ns = now_ns();
	if (c->step == 0)
		c->round_ns = c->sent_ns;
	send_request(c->fd, script->methods[c->step], body);
}

static void keep_address(struct client *c, const char *body)
{
	const char *p = strstr(body, "\"Address\":\"");
	size_t n = p ? strcspn(p + 11, "/\"") : 0;

	if (!p || n >= sizeof c->address)
		return;
	memcpy(c->address, p + 11, n);
	c->address[n] = '\0';
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a;
	const uint64_t *y = b;

	return (*x > *y) - (*x < *y);
}

static void print(struct series *s, double seconds)
{
	size_t kept = s->n < MAX_SAMPLES ? s->n : MAX_SAMPLES;

	if (!s->n)
		return;
	qsort(s->ns, kept, sizeof *s->ns, compare);
	printf("%s %zu %.0f %.1f %.1f\n", s->name, s->n, (double)s->n / seconds,
	       (double)s->ns[kept / 2] / 1e3, (double)s->ns[kept * 99 / 100] / 1e3);
}

/* One call outside the measurement. */
static void call_once(const char *path, const char *method, const char *body)
{
	struct client c = { .fd = connect_to(path) };
	const char *gap = strstr(body, SUBNET);
	char buf[BUF / 2];

	(void)snprintf(buf, sizeof buf, "%.*s%s%s", gap ? (int)(gap - body) : 0, body,
		       gap ? subnet : "", gap ? gap + strlen(SUBNET) : body);
	send_request(c.fd, method, buf);
	while (!receive(&c))
		;
	(void)close(c.fd);
}

/* An answer is complete: measure it, and send what comes next unless time is up. */
static void step(const struct script *script, struct client *c, const char *body,
		 struct series series[static MAX_STEPS + 2], bool stop, unsigned *n_busy)
{
	uint64_t now = now_ns();

	note(&series[c->step], now - c->sent_ns);
	note(&series[MAX_STEPS], now - c->sent_ns);
	if (script->is_attach && c->step == 1)
		note(&series[MAX_STEPS + 1], now - c->round_ns);
	if (c->step == script->keep)
		keep_address(c, body);
	if (++c->step == script->n_steps) {
		c->step = 0;
		c->round++;
		if (stop || c->round == max_rounds) { /* only here, so that nothing is left behind */
			(*n_busy)--;
			return;
		}
	}
	next_request(script, c);
}

static void run(const char *path, const struct script *script, unsigned n_clients, double seconds,
		double rate)
{
	struct client *clients = calloc(n_clients, sizeof *clients);
	struct series series[MAX_STEPS + 2] = { [MAX_STEPS] = { .name = "all" },
						[MAX_STEPS + 1] = { .name = "attach" } };
	struct epoll_event events[64];
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	unsigned n_busy = n_clients;
	uint64_t begin;
	uint64_t end;

	if (!clients || epoll < 0)
		die("set up");
	for (unsigned i = 0; i < script->n_steps; i++)
		series[i].name = strchr(script->methods[i], '.') + 1;
	for (unsigned i = 0; i < n_clients; i++) {
		struct epoll_event e = { .events = EPOLLIN, .data.ptr = &clients[i] };

		clients[i].fd = connect_to(path);
		clients[i].number = i;
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, clients[i].fd, &e) < 0)
			die("epoll_ctl");
	}
	begin = now_ns();
	end = seconds > 0 ? begin + (uint64_t)(seconds * 1e9) : UINT64_MAX;
	for (unsigned i = 0; i < n_clients; i++)
		next_request(script, &clients[i]);
	while (n_busy) {
		int n = epoll_wait(epoll, events, 64, PATIENCE_MS);
		bool stop = told_to_stop || now_ns() >= end;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			die("no answer for two minutes");
		for (int i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;
			const char *body = receive(c);

			if (!body)
				continue;
			pace(rate);
			step(script, c, body, series, stop, &n_busy);
		}
	}
	seconds = (double)(now_ns() - begin) / 1e9;
	for (unsigned i = 0; i < MAX_STEPS + 2; i++) {
		print(&series[i], seconds);
		free(series[i].ns);
	}
	for (unsigned i = 0; i < n_clients; i++)
		(void)close(clients[i].fd);
	(void)close(epoll);
	free(clients);
}

int main(int argc, char **argv)
{
	const struct script *script = NULL;
	bool complete = argc >= 5 && argc <= 7;
	char *unit = NULL;
	unsigned long n_clients = complete ? strtoul(argv[3], NULL, 10) : 0;
	double seconds = complete ? strtod(argv[4], &unit) : -1;
	double rate = complete && argc > 5 ? strtod(argv[5], NULL) : 0;
	struct sigaction action = { .sa_handler = on_signal };

	for (size_t i = 0; complete && i < sizeof scripts / sizeof scripts[0]; i++) {
		if (!strcmp(scripts[i].name, argv[2]))
			script = &scripts[i];
	}
	if (!script || n_clients < 1 || n_clients > MAX_CLIENTS || seconds < 0) {
		(void)fprintf(stderr, "usage: loadgen SOCKET spaces|address|fill|pair|info|attach|arrive|pools|networks "
				      "CLIENTS SECONDS|ROUNDSx [RATE [SUBNET]]\n");
		return 2;
	}
	if (argc > 6)
		subnet = argv[6];
	if (!strcmp(unit, "x")) {
		max_rounds = (uint64_t)seconds;
		seconds = 0;
	}
	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGINT, &action, NULL);
	if (script->setup_method)
		call_once(argv[1], script->setup_method, script->setup_body);
	run(argv[1], script, (unsigned)n_clients, seconds, rate);
	if (script->teardown_method)
		call_once(argv[1], script->teardown_method, script->teardown_body);
	return 0;
}
