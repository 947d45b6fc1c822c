/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/listener.h"
#include "common/parse.h"

enum { FIRST_PASSED_FD = 3, BACKLOG = 1024, PATIENCE_MS = 100, MAX_WAITS = 10 };

/* Is the descriptor a listening unix stream socket? */
static bool is_unix_listener(int fd)
{
	int accepting = 0;
	int domain = 0;
	socklen_t len = sizeof accepting;

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepting, &len) < 0 || !accepting)
		return false;
	len = sizeof domain;
	return !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) && domain == AF_UNIX;
}

static int take_passed(int *ret_fd, struct dp_error *err)
{
	const char *fds = getenv("LISTEN_FDS");
	const char *pid = getenv("LISTEN_PID");
	uint64_t v;

	*ret_fd = -EBADF;
	if (!fds || !pid || dp_parse_u64(pid, 1, INT32_MAX, &v) < 0 || (pid_t)v != getpid())
		return 0;
	if (strcmp(fds, "1") || !is_unix_listener(FIRST_PASSED_FD))
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "LISTEN_FDS=%s: expected one listening unix socket", fds);
	(void)fcntl(FIRST_PASSED_FD, F_SETFD, FD_CLOEXEC);
	(void)fcntl(FIRST_PASSED_FD, F_SETFL, O_NONBLOCK);
	*ret_fd = FIRST_PASSED_FD;
	return 0;
}

static int unix_socket(int *ret_fd, struct dp_error *err)
{
	*ret_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*ret_fd < 0)
		return dp_error_set(err, DP_ERR_INTERNAL, -errno, "socket: %s", strerror(errno));
	return 0;
}

/* A dead daemon's socket file refuses to connect. Whatever else connect(2) says - a full queue, no
 * permission, a datagram socket - somebody may be there. */
static int remove_stale(const struct sockaddr_un *sa, struct dp_error *err)
{
	auto_close int probe = -EBADF;
	struct stat st;
	int r;

	if (lstat(sa->sun_path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "socket %s: exists and is not a socket", sa->sun_path);
	r = unix_socket(&probe, err);
	if (r < 0)
		return r;
	if (!connect(probe, (const struct sockaddr *)sa, sizeof *sa) ||
	    (errno != ECONNREFUSED && errno != ENOENT))
		return dp_error_set(err, DP_ERR_CONFLICT, -EADDRINUSE,
				    "socket %s: another process serves it", sa->sun_path);
	if (unlink(sa->sun_path) < 0 && errno != ENOENT)
		return dp_error_set(err, DP_ERR_INTERNAL, -errno, "remove stale socket %s: %s",
				    sa->sun_path, strerror(errno));
	return 0;
}

static void make_parent_dir(const char *path)
{
	auto_free char *dir = strdup(path);
	char *slash = dir ? strrchr(dir, '/') : NULL;

	if (!slash || slash == dir)
		return;
	*slash = '\0';
	(void)mkdir(dir, 0755); /* if it cannot be made, bind says so with the path */
}

static int bind_path(const char *path, int *ret_fd, struct dp_error *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	auto_close int fd = -EBADF;
	mode_t mask;
	int r;

	if (strlen(path) >= sizeof sa.sun_path)
		return dp_error_set(err, DP_ERR_INVALID, -ENAMETOOLONG,
				    "socket %s: longer than %zu bytes", path, sizeof sa.sun_path - 1);
	memcpy(sa.sun_path, path, strlen(path) + 1);
	make_parent_dir(path);
	r = remove_stale(&sa, err);
	if (r < 0)
		return r;
	r = unix_socket(&fd, err);
	if (r < 0)
		return r;
	mask = umask(0177); /* the mode is right from the first moment */
	r = bind(fd, (const struct sockaddr *)&sa, sizeof sa) < 0 ? -errno : 0;
	(void)umask(mask);
	if (r < 0)
		return dp_error_set(err, DP_ERR_INTERNAL, r, "bind socket %s: %s", path,
				    strerror(-r));
	if (listen(fd, BACKLOG) < 0)
		return dp_error_set(err, DP_ERR_INTERNAL, -errno, "listen on %s: %s", path,
				    strerror(errno));
	*ret_fd = dp_take_fd(&fd);
	return 0;
}

int dp_listener_open(const char *path, struct dp_listener *ret_listener, struct dp_error *err)
{
	auto_free char *own_path = NULL;
	int fd;
	int r = take_passed(&fd, err);

	if (r < 0)
		return r;
	if (fd < 0) {
		own_path = strdup(path);
		if (!own_path)
			return dp_error_oom(err);
		r = bind_path(path, &fd, err);
		if (r < 0)
			return r;
	}
	ret_listener->fd = fd;
	ret_listener->own_path = DP_TAKE_PTR(own_path);
	return 0;
}

int dp_listener_parse_tcp(const char *address, struct sockaddr_storage *ret_sa, struct dp_error *err)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_sa;
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret_sa;
	const char *colon = strrchr(address, ':');
	bool bracketed = address[0] == '[' && colon && colon > address && colon[-1] == ']';
	char host[INET6_ADDRSTRLEN];
	uint64_t port = 0;
	int n = colon ? (int)(colon - address) - (bracketed ? 2 : 0) : 0;

	memset(ret_sa, 0, sizeof *ret_sa);
	if (n > 0 && n < (int)sizeof host && dp_parse_u64(colon + 1, 1, UINT16_MAX, &port) == 0) {
		(void)snprintf(host, sizeof host, "%.*s", n, address + bracketed);
		ret_sa->ss_family = bracketed ? AF_INET6 : AF_INET;
		if (inet_pton(ret_sa->ss_family, host,
			      bracketed ? (void *)&v6->sin6_addr : (void *)&v4->sin_addr) == 1) {
			/* at the same place in both */
			v4->sin_port = htons((uint16_t)port);
			return 0;
		}
	}
	return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
			    "'%s' is not ADDRESS:PORT, as 127.0.0.1:9464 or [::1]:9464", address);
}

int dp_listener_open_tcp(const char *address, struct dp_listener *ret_listener, struct dp_error *err)
{
	struct sockaddr_storage sa;
	auto_close int fd = -EBADF;
	int one = 1;
	int r = dp_listener_parse_tcp(address, &sa, err);

	if (r < 0)
		return r;
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
	    bind(fd, (const struct sockaddr *)&sa,
		 sa.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6)) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return dp_error_set(err, DP_ERR_INTERNAL, -errno, "listen on %s: %s", address,
				    strerror(errno));
	ret_listener->fd = dp_take_fd(&fd);
	return 0;
}

int dp_listener_share(const struct dp_listener *listener, gid_t group, struct dp_error *err)
{
	const char *path = listener->own_path;

	if (path && (chown(path, (uid_t)-1, group) < 0 || chmod(path, 0660) < 0))
		return dp_error_set(err, DP_ERR_INTERNAL, -errno, "give socket %s to group %u: %s",
				    path, (unsigned)group, strerror(errno));
	return 0;
}

int dp_listener_passed(void)
{
	struct dp_error err = DP_ERROR_INIT;
	int fd;

	return take_passed(&fd, &err) == 0 ? fd : -EBADF;
}

/* Reads what there is of a request: unread bytes would have the client see a broken connection. */
static bool read_some(int fd)
{
	char buf[4096];
	bool any = false;

	for (int i = 0; i < 256 && recv(fd, buf, sizeof buf, MSG_DONTWAIT) > 0; i++)
		any = true;
	return any;
}

void dp_listener_turn_away(int fd, const char *response)
{
	int n_waits = 0;

	for (int i = 0; i < 2 * BACKLOG; i++) {
		auto_close int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct pollfd pfd = { .fd = client, .events = POLLIN };

		if (client < 0)
			return;
		if (!read_some(client) && n_waits++ < MAX_WAITS && poll(&pfd, 1, PATIENCE_MS) > 0)
			(void)read_some(client);
		(void)send(client, response, strlen(response), MSG_NOSIGNAL);
	}
}

void dp_listener_close(struct dp_listener *listener)
{
	if (listener->fd >= 0)
		(void)close(dp_take_fd(&listener->fd));
	if (listener->own_path)
		(void)unlink(listener->own_path);
	free(listener->own_path);
	listener->own_path = NULL;
}
