/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_COMMON_LISTENER_H
#define DP_COMMON_LISTENER_H

/*
 * The unix socket a daemon is reached at: taken over from the service manager, or bound here.
 */

#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/error.h"

struct dp_listener {
	int fd;          /* listening, non-blocking, close-on-exec; -EBADF = none */
	char *own_path;  /* path to unlink at close; NULL if the socket was handed to us */
};

#define DP_LISTENER_INIT { .fd = -EBADF }

/**
 * dp_listener_open() - the daemon's listening socket
 * @path:         where to bind if none was handed over (at most 107 bytes, unix(7))
 * @ret_listener: out: initialised with DP_LISTENER_INIT by the caller
 * @err:          out: reason on failure
 *
 * With LISTEN_PID naming this process and LISTEN_FDS=1, descriptor 3 is taken (sd_listen_fds(3))
 * and @path is not looked at. Else the parent directory is made if missing (0755), a stale socket
 * at @path is removed, and the socket is bound with mode 0600. A live one - something accepts
 * connections on it - is left alone.
 *
 * Return: 0; -EADDRINUSE another process serves @path; -ENAMETOOLONG; -EINVAL the descriptor
 *         handed over is no listening unix socket, or @path exists and is no socket;
 *         errno of socket(2), bind(2), listen(2).
 */
DP_NODISCARD int dp_listener_open(const char *path, struct dp_listener *ret_listener,
				  struct dp_error *err);

/**
 * dp_listener_open_tcp() - a listening TCP socket
 * @address: "127.0.0.1:9464", "[::1]:9464"; a literal address, no name
 *
 * Return: 0; -EINVAL (DP_ERR_INVALID) not of that form; errno of socket(2), bind(2), listen(2).
 */
DP_NODISCARD int dp_listener_open_tcp(const char *address, struct dp_listener *ret_listener,
				      struct dp_error *err);

/* dp_listener_parse_tcp() - is @address of that form? Return: 0; -EINVAL. */
DP_NODISCARD int dp_listener_parse_tcp(const char *address, struct sockaddr_storage *ret_sa,
				       struct dp_error *err);

/**
 * dp_listener_share() - let the members of @group connect, too: mode 0660
 *
 * A socket that was handed over belongs to who made it, and stays as it is.
 *
 * Return: 0; errno of chown(2), chmod(2).
 */
DP_NODISCARD int dp_listener_share(const struct dp_listener *listener, gid_t group,
				   struct dp_error *err);

/**
 * dp_listener_passed() - the socket that the service manager has handed to this process
 *
 * Return: its descriptor, non-blocking; -EBADF if there is none.
 */
int dp_listener_passed(void);

/**
 * dp_listener_turn_away() - answer everybody who waits at a socket, whatever they ask
 * @fd:       listening and non-blocking, else nothing happens
 * @response: a whole HTTP response that ends with the connection
 *
 * For a daemon that cannot start. A socket of the service manager outlives it, and the engine would
 * wait there for ever: it has no time limit for a service's answer. Takes a second at most.
 */
void dp_listener_turn_away(int fd, const char *response);

/* dp_listener_close() - closes, and removes the path if it was bound here. */
void dp_listener_close(struct dp_listener *listener);

#endif
