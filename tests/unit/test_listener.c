/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/listener.h"
#include "tests/support/tempdir.h"
#include "tests/support/unit.h"

static char dir[TEMPDIR_SIZE];
static char path[TEMPDIR_SIZE + 32];

static int setup(void **state)
{
	(void)state;
	tempdir_make(dir);
	(void)snprintf(path, sizeof path, "%s/a.sock", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tempdir_remove(dir);
	return 0;
}

static struct sockaddr_un address_of(const char *p)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	assert_true(strlen(p) < sizeof sa.sun_path);
	memcpy(sa.sun_path, p, strlen(p) + 1);
	return sa;
}

/* A socket of @type bound to @p; listens if @backlog > 0. */
static int bound_socket(const char *p, int type, int backlog)
{
	struct sockaddr_un sa = address_of(p);
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&sa, sizeof sa), 0);
	if (backlog)
		assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static int try_connect(const char *p)
{
	struct sockaddr_un sa = address_of(p);
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return connect(fd, (const struct sockaddr *)&sa, sizeof sa) < 0 ? -errno : 0;
}

static void open_ok(struct dp_listener *l)
{
	struct dp_error err = DP_ERROR_INIT;

	*l = (struct dp_listener)DP_LISTENER_INIT;
	assert_ok(dp_listener_open(path, l, &err), &err);
}

static int open_fails(const char *p, struct dp_error *err)
{
	struct dp_listener l = DP_LISTENER_INIT;
	int r = dp_listener_open(p, &l, err);

	assert_true(r < 0);
	assert_int_equal(l.fd, -EBADF);
	assert_null(l.own_path);
	return r;
}

static void clients_can_connect(void **state)
{
	struct dp_listener l;

	(void)state;
	open_ok(&l);
	assert_int_equal(try_connect(path), 0);
	dp_listener_close(&l);
}

static void only_the_owner_may_use_the_socket(void **state)
{
	struct dp_listener l;
	struct stat st;

	(void)state;
	(void)umask(0);
	open_ok(&l);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(umask(022), 0); /* the mask of the process is as it was */
	dp_listener_close(&l);
}

static void the_socket_neither_blocks_nor_is_inherited(void **state)
{
	struct dp_listener l;

	(void)state;
	open_ok(&l);
	assert_true(fcntl(l.fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(l.fd, F_GETFD) & FD_CLOEXEC);
	dp_listener_close(&l);
}

static void a_missing_directory_is_made(void **state)
{
	struct dp_listener l;

	(void)state;
	(void)snprintf(path, sizeof path, "%s/plugins/a.sock", dir);
	open_ok(&l);
	assert_int_equal(try_connect(path), 0);
	dp_listener_close(&l);
}

static void closing_removes_the_path(void **state)
{
	struct dp_listener l;

	(void)state;
	open_ok(&l);
	dp_listener_close(&l);
	assert_int_equal(access(path, F_OK), -1);
	dp_listener_close(&l); /* twice is fine */
}

static void the_socket_of_a_dead_daemon_is_replaced(void **state)
{
	struct dp_listener l;

	(void)state;
	(void)close(bound_socket(path, SOCK_STREAM, 5)); /* leaves the file */
	assert_int_equal(try_connect(path), -ECONNREFUSED);
	open_ok(&l);
	assert_int_equal(try_connect(path), 0);
	dp_listener_close(&l);
}

static void the_socket_of_a_live_daemon_is_left_alone(void **state)
{
	struct dp_error err = DP_ERROR_INIT;
	int other;

	(void)state;
	other = bound_socket(path, SOCK_STREAM, 5);
	assert_refused(open_fails(path, &err), -EADDRINUSE, &err, path);
	assert_int_equal(err.kind, DP_ERR_CONFLICT);
	assert_int_equal(try_connect(path), 0);
	(void)close(other);
}

static void a_live_daemon_that_accepts_nothing_is_left_alone(void **state)
{
	struct sockaddr_un sa = address_of(path);
	struct dp_error err = DP_ERROR_INIT;
	int other = bound_socket(path, SOCK_STREAM, 1);
	int clients[64];
	unsigned n = 0;

	(void)state;
	do { /* until its backlog is full */
		clients[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		assert_true(n < DP_ARRAY_LEN(clients) - 1);
	} while (connect(clients[n++], (const struct sockaddr *)&sa, sizeof sa) == 0);
	assert_refused(open_fails(path, &err), -EADDRINUSE, &err, path);
	while (n)
		(void)close(clients[--n]);
	(void)close(other);
}

static void a_socket_of_another_type_is_left_alone(void **state)
{
	struct dp_error err = DP_ERROR_INIT;
	int other = bound_socket(path, SOCK_DGRAM, 0);

	(void)state;
	assert_refused(open_fails(path, &err), -EADDRINUSE, &err, path);
	assert_int_equal(access(path, F_OK), 0);
	(void)close(other);
}

static void a_file_that_is_no_socket_is_left_alone(void **state)
{
	struct dp_error err = DP_ERROR_INIT;
	FILE *f = fopen(path, "we");

	(void)state;
	assert_non_null(f);
	(void)fclose(f);
	assert_refused(open_fails(path, &err), -EINVAL, &err, "not a socket");
	assert_int_equal(access(path, F_OK), 0);
}

static void a_path_that_is_too_long_is_refused(void **state)
{
	char longer[109] = "/tmp/";
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	memset(longer + 5, 'x', 103); /* 108 bytes */
	assert_refused(open_fails(longer, &err), -ENAMETOOLONG, &err, "107");
}

static void a_path_that_cannot_be_bound_is_named(void **state)
{
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	(void)snprintf(path, sizeof path, "%s/no/such/dir/a.sock", dir);
	assert_refused(open_fails(path, &err), -ENOENT, &err, path);
}

/* ---- socket activation ---- */

/* Puts @fd where a service manager would, for this process; the original of 3 is kept. */
static int pass_fd(int fd, const char *pid, const char *fds)
{
	int saved = fcntl(3, F_DUPFD_CLOEXEC, 10);

	if (fd != 3) {
		assert_int_equal(dup2(fd, 3), 3);
		(void)close(fd);
	}
	(void)setenv("LISTEN_PID", pid, 1);
	(void)setenv("LISTEN_FDS", fds, 1);
	return saved;
}

static void unpass(int saved)
{
	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("LISTEN_FDS");
	if (saved >= 0) {
		(void)dup2(saved, 3);
		(void)close(saved);
	} else {
		(void)close(3);
	}
}

static const char *own_pid(void)
{
	static char text[16];

	(void)snprintf(text, sizeof text, "%d", (int)getpid());
	return text;
}

static void a_socket_handed_over_is_taken_and_its_path_left(void **state)
{
	struct dp_listener l = DP_LISTENER_INIT;
	struct dp_error err = DP_ERROR_INIT;
	int saved = pass_fd(bound_socket(path, SOCK_STREAM, 5), own_pid(), "1");

	(void)state;
	assert_ok(dp_listener_open("/nonexistent/not-looked-at.sock", &l, &err), &err);
	assert_int_equal(l.fd, 3);
	assert_null(l.own_path);
	assert_true(fcntl(3, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(3, F_GETFD) & FD_CLOEXEC);
	dp_listener_close(&l);
	assert_int_equal(access(path, F_OK), 0);
	unpass(saved);
}

static void a_socket_handed_to_another_process_is_ignored(void **state)
{
	char other[TEMPDIR_SIZE + 32];
	struct dp_listener l = DP_LISTENER_INIT;
	struct dp_error err = DP_ERROR_INIT;
	int saved;

	(void)state;
	(void)snprintf(other, sizeof other, "%s/other.sock", dir);
	saved = pass_fd(bound_socket(other, SOCK_STREAM, 5), "1", "1");
	assert_ok(dp_listener_open(path, &l, &err), &err);
	assert_int_not_equal(l.fd, 3);
	assert_string_equal(l.own_path, path);
	dp_listener_close(&l);
	unpass(saved);
}

static void several_sockets_handed_over_are_refused(void **state)
{
	struct dp_error err = DP_ERROR_INIT;
	int saved = pass_fd(bound_socket(path, SOCK_STREAM, 5), own_pid(), "2");

	(void)state;
	assert_refused(open_fails(path, &err), -EINVAL, &err, "LISTEN_FDS=2");
	unpass(saved);
}

static void a_descriptor_that_is_no_listening_socket_is_refused(void **state)
{
	struct dp_error err = DP_ERROR_INIT;
	int saved = pass_fd(bound_socket(path, SOCK_STREAM, 0), own_pid(), "1");

	(void)state;
	assert_refused(open_fails(path, &err), -EINVAL, &err, "one listening unix socket");
	unpass(saved);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(clients_can_connect),
		TEST(only_the_owner_may_use_the_socket),
		TEST(the_socket_neither_blocks_nor_is_inherited),
		TEST(a_missing_directory_is_made),
		TEST(closing_removes_the_path),
		TEST(the_socket_of_a_dead_daemon_is_replaced),
		TEST(the_socket_of_a_live_daemon_is_left_alone),
		TEST(a_live_daemon_that_accepts_nothing_is_left_alone),
		TEST(a_socket_of_another_type_is_left_alone),
		TEST(a_file_that_is_no_socket_is_left_alone),
		TEST(a_path_that_is_too_long_is_refused),
		TEST(a_path_that_cannot_be_bound_is_named),
		TEST(a_socket_handed_over_is_taken_and_its_path_left),
		TEST(a_socket_handed_to_another_process_is_ignored),
		TEST(several_sockets_handed_over_are_refused),
		TEST(a_descriptor_that_is_no_listening_socket_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
