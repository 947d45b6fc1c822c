/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * A disk that fails on demand, for a whole daemon: preloaded (LD_PRELOAD), it stands before the
 * calls of libc that change files below FAULTDISK_DIR, counts them, and lets some fail. A test
 * program steers it through the file FAULTDISK_CONTROL, five 32-bit numbers that both map.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/compiler.h"

enum kind {
	NONE,
	EIO_ONCE,
	EIO_ON,     /* that call and all after it */
	ENOSPC_ON,  /* only what needs space: opening, writing, syncing */
	SHORT,      /* a write is cut in half, and all after it fail for want of space */
	SYNC_EIO_ON /* only syncs fail */
};

struct control {
	volatile uint32_t n_calls;  /* so far */
	volatile uint32_t fail_at;  /* number of the call, from 1; 0 = none */
	volatile uint32_t kind;     /* enum kind */
	volatile uint32_t n_failed; /* calls that did */
	volatile uint32_t reserved;
};

enum op { OP_OPEN, OP_WRITE, OP_SYNC, OP_TRUNCATE, OP_NAME };

enum { MAX_FDS = 1024 };

static struct control nothing;
static struct control *control = &nothing;
static const char *dir;
static bool watched[MAX_FDS];

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("FAULTDISK_CONTROL");
	void *p;
	int fd;

	dir = getenv("FAULTDISK_DIR");
	if (!path || !dir)
		return;
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	p = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	(void)syscall(SYS_close, fd);
	if (p != MAP_FAILED)
		control = p;
}

static bool is_ours(const char *path)
{
	return dir && !strncmp(path, dir, strlen(dir));
}

static bool is_watched(int fd)
{
	return fd >= 0 && fd < MAX_FDS && watched[fd];
}

/* Return: 0, or the errno with which this call fails. */
static int fault(enum op op)
{
	uint32_t n = ++control->n_calls;
	bool first = n == control->fail_at;
	bool after = control->fail_at && n > control->fail_at;
	int error = 0;

	switch ((enum kind)control->kind) {
	case NONE:
		break;
	case EIO_ONCE:
		error = first ? EIO : 0;
		break;
	case EIO_ON:
		error = first || after ? EIO : 0;
		break;
	case ENOSPC_ON:
		error = (first || after) && op != OP_TRUNCATE && op != OP_NAME ? ENOSPC : 0;
		break;
	case SHORT:
		error = after && (op == OP_WRITE || op == OP_OPEN) ? ENOSPC : 0;
		break;
	case SYNC_EIO_ON:
		error = (first || after) && op == OP_SYNC ? EIO : 0;
		break;
	}
	if (error)
		control->n_failed++;
	errno = error ? error : errno;
	return error;
}

static int open_it(int at, const char *path, int flags, mode_t mode)
{
	int fd;

	if (is_ours(path) && (flags & (O_WRONLY | O_RDWR | O_CREAT)) && fault(OP_OPEN))
		return -1;
	fd = (int)syscall(SYS_openat, at, path, flags, mode);
	if (fd >= 0 && fd < MAX_FDS)
		watched[fd] = is_ours(path);
	return fd;
}

static mode_t mode_of(int flags, va_list ap)
{
	return flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
}

#define DEFINE_OPEN(name)                                    \
	int name(const char *path, int flags, ...)           \
	{                                                    \
		va_list ap;                                  \
		mode_t mode;                                 \
                                                             \
		va_start(ap, flags);                         \
		mode = mode_of(flags, ap);                   \
		va_end(ap);                                  \
		return open_it(AT_FDCWD, path, flags, mode); \
	}
DEFINE_OPEN(open)
DEFINE_OPEN(open64)

int close(int fd)
{
	if (is_watched(fd))
		watched[fd] = false;
	return (int)syscall(SYS_close, fd);
}

static ssize_t write_it(long call, int fd, const void *buf, size_t n, off_t offset)
{
	if (is_watched(fd)) {
		if (fault(OP_WRITE))
			return -1;
		if (control->kind == SHORT && control->n_calls == control->fail_at) {
			control->n_failed++;
			n /= 2;
		}
	}
	return syscall(call, fd, buf, n, offset);
}

ssize_t write(int fd, const void *buf, size_t n)
{
	return write_it(SYS_write, fd, buf, n, 0);
}

ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t offset)
{
	return write_it(SYS_pwrite64, fd, buf, n, offset);
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t offset)
{
	return write_it(SYS_pwrite64, fd, buf, n, offset);
}

int fsync(int fd)
{
	return is_watched(fd) && fault(OP_SYNC) ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	return is_watched(fd) && fault(OP_SYNC) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int ftruncate64(int fd, off64_t size)
{
	return is_watched(fd) && fault(OP_TRUNCATE) ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int ftruncate(int fd, off_t size)
{
	return ftruncate64(fd, size);
}

int unlink(const char *path)
{
	return is_ours(path) && fault(OP_NAME) ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int rename(const char *from, const char *to)
{
	return is_ours(to) && fault(OP_NAME) ?
		       -1 :
		       (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}
