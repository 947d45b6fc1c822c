/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/store_file.h"

/* Header of a database, and of its log: offsets in bytes. */
enum {
	DB_HEADER = 100,
	DB_PAGE_SIZE = 16,
	DB_RESERVED = 20,
	LOG_VERSION = 4,
	LOG_PAGE_SIZE = 8,
	LOG_SALTS = 16,
	LOG_SUMS = 24,
	FRAME_COMMIT = 4, /* 0, or the size of the database: the frame ends a transaction */
	FRAME_SALTS = 8,
	FRAME_SUMS = 16,
	FRAME_HEADER = 24,
	LOG_MAGIC = 0x377f0682, /* sums of little-endian words; one more: of big-endian ones */
	LOG_FORMAT = 3007000,
	LOCKS = 0x40000000, /* where SQLite locks bytes of a database, however long it is */
	N_LOCKS = 512,
};

static const char db_magic[16] = "SQLite format 3";

static uint32_t read_be(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t read_le(const uint8_t *p)
{
	return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

struct sums {
	uint32_t a, b;
};

/* SQLite's own checksum: every changed word changes the outcome. @n is a multiple of 8. */
static struct sums add(struct sums s, const uint8_t *p, size_t n, uint32_t (*read)(const uint8_t *))
{
	for (const uint8_t *end = p + n; p < end; p += 8) {
		s.a += read(p) + s.b;
		s.b += read(p + 4) + s.a;
	}
	return s;
}

/* ---- files ---- */

enum { GATHER = 32 * 1024 }; /* bytes of the log that are written at once, at most */

struct file {
	sqlite3_file base;
	bool checked;        /* a database that has room for checksums */
	uint8_t *gathered;   /* of a log: what is still to be written; NULL: not a log */
	int n_gathered;      /* bytes */
	sqlite3_int64 at;    /* where they go */
	sqlite3_file real[]; /* of the system's VFS, as large as it wants */
};

static sqlite3_vfs *system_vfs;

static sqlite3_file *real(sqlite3_file *f)
{
	return ((struct file *)f)->real;
}

/* ---- pages ---- */

/* Begins with the page's number: a page in another's place, or of zeros, is noticed too. */
static void page_sum(const uint8_t *page, sqlite3_int64 offset, uint8_t ret_sum[8])
{
	struct sums s = { .a = (uint32_t)(offset / DP_STORE_PAGE_SIZE) + 1, .b = 1 };

	s = add(s, page, DP_STORE_PAGE_SIZE - DP_STORE_RESERVED, read_le);
	for (unsigned i = 0; i < 4; i++) {
		ret_sum[i] = (uint8_t)(s.a >> 8 * i);
		ret_sum[4 + i] = (uint8_t)(s.b >> 8 * i);
	}
}

/* The header says whether pages have checksums; it is written before the other pages. */
static void note_header(struct file *f, const uint8_t *data, int n, sqlite3_int64 offset)
{
	if (offset == 0 && n > DB_RESERVED)
		f->checked = data[DB_RESERVED] == DP_STORE_RESERVED;
}

static int file_read(sqlite3_file *base, void *data, int n, sqlite3_int64 offset)
{
	struct file *f = (struct file *)base;
	uint8_t sum[8];
	int code = f->real->pMethods->xRead(f->real, data, n, offset);

	if (code != SQLITE_OK && code != SQLITE_IOERR_SHORT_READ)
		return code;
	if (code == SQLITE_OK)
		note_header(f, data, n, offset);
	if (!f->checked || n != DP_STORE_PAGE_SIZE)
		return code;
	if (code == SQLITE_IOERR_SHORT_READ)
		return SQLITE_CORRUPT; /* the file has been cut */
	page_sum(data, offset, sum);
	return memcmp(sum, (uint8_t *)data + n - DP_STORE_RESERVED, sizeof sum) ? SQLITE_CORRUPT :
										  SQLITE_OK;
}

static int file_write(sqlite3_file *base, const void *data, int n, sqlite3_int64 offset)
{
	struct file *f = (struct file *)base;
	uint8_t page[DP_STORE_PAGE_SIZE];

	note_header(f, data, n, offset);
	if (!f->checked || n != DP_STORE_PAGE_SIZE)
		return f->real->pMethods->xWrite(f->real, data, n, offset);
	memcpy(page, data, sizeof page - DP_STORE_RESERVED);
	page_sum(page, offset, page + sizeof page - DP_STORE_RESERVED);
	return f->real->pMethods->xWrite(f->real, page, n, offset);
}

static int file_close(sqlite3_file *f)
{
	return real(f)->pMethods->xClose(real(f));
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	return real(f)->pMethods->xTruncate(real(f), size);
}

static int file_sync(sqlite3_file *f, int flags)
{
	return real(f)->pMethods->xSync(real(f), flags);
}

static int file_size(sqlite3_file *f, sqlite3_int64 *ret_size)
{
	return real(f)->pMethods->xFileSize(real(f), ret_size);
}

static int file_lock(sqlite3_file *f, int level)
{
	return real(f)->pMethods->xLock(real(f), level);
}

static int file_unlock(sqlite3_file *f, int level)
{
	return real(f)->pMethods->xUnlock(real(f), level);
}

static int file_check_lock(sqlite3_file *f, int *ret_reserved)
{
	return real(f)->pMethods->xCheckReservedLock(real(f), ret_reserved);
}

static int file_control(sqlite3_file *f, int op, void *arg)
{
	return real(f)->pMethods->xFileControl(real(f), op, arg);
}

static int file_sector_size(sqlite3_file *f)
{
	return real(f)->pMethods->xSectorSize(real(f));
}

static int file_characteristics(sqlite3_file *f)
{
	return real(f)->pMethods->xDeviceCharacteristics(real(f));
}

/* Version 1: without shared memory and memory mapping, which would go past the checks. */
static const sqlite3_io_methods methods = {
	.iVersion = 1,
	.xClose = file_close,
	.xRead = file_read,
	.xWrite = file_write,
	.xTruncate = file_truncate,
	.xSync = file_sync,
	.xFileSize = file_size,
	.xLock = file_lock,
	.xUnlock = file_unlock,
	.xCheckReservedLock = file_check_lock,
	.xFileControl = file_control,
	.xSectorSize = file_sector_size,
	.xDeviceCharacteristics = file_characteristics,
};

/* ---- the log ---- */

/*
 * SQLite writes each frame in two pieces, and each piece is a system call. They are gathered, and
 * written before anything else is done with the file: a sync above all. What cannot be written is
 * forgotten, as it would be had SQLite's own write failed.
 */
static int write_gathered(struct file *f)
{
	int n = f->n_gathered;

	f->n_gathered = 0;
	return n ? f->real->pMethods->xWrite(f->real, f->gathered, n, f->at) : SQLITE_OK;
}

static int log_write(sqlite3_file *base, const void *data, int n, sqlite3_int64 offset)
{
	struct file *f = (struct file *)base;
	int code = SQLITE_OK;

	if (f->n_gathered && (offset != f->at + f->n_gathered || n > GATHER - f->n_gathered))
		code = write_gathered(f);
	if (code != SQLITE_OK || n > GATHER)
		return code != SQLITE_OK ? code : f->real->pMethods->xWrite(f->real, data, n, offset);
	if (!f->n_gathered)
		f->at = offset;
	memcpy(f->gathered + f->n_gathered, data, (size_t)n);
	f->n_gathered += n;
	return SQLITE_OK;
}

static int log_read(sqlite3_file *base, void *data, int n, sqlite3_int64 offset)
{
	struct file *f = (struct file *)base;
	int code = write_gathered(f);

	return code == SQLITE_OK ? f->real->pMethods->xRead(f->real, data, n, offset) : code;
}

static int log_close(sqlite3_file *base)
{
	struct file *f = (struct file *)base;
	int code = write_gathered(f);
	int r = f->real->pMethods->xClose(f->real);

	sqlite3_free(f->gathered);
	return code == SQLITE_OK ? r : code;
}

static int log_truncate(sqlite3_file *base, sqlite3_int64 size)
{
	struct file *f = (struct file *)base;
	int code;

	if (f->at >= size)
		f->n_gathered = 0;
	code = write_gathered(f);
	return code == SQLITE_OK ? f->real->pMethods->xTruncate(f->real, size) : code;
}

static int log_sync(sqlite3_file *base, int flags)
{
	struct file *f = (struct file *)base;
	int code = write_gathered(f);

	return code == SQLITE_OK ? f->real->pMethods->xSync(f->real, flags) : code;
}

static int log_size(sqlite3_file *base, sqlite3_int64 *ret_size)
{
	struct file *f = (struct file *)base;
	int code = write_gathered(f);

	return code == SQLITE_OK ? f->real->pMethods->xFileSize(f->real, ret_size) : code;
}

static const sqlite3_io_methods log_methods = {
	.iVersion = 1,
	.xClose = log_close,
	.xRead = log_read,
	.xWrite = log_write,
	.xTruncate = log_truncate,
	.xSync = log_sync,
	.xFileSize = log_size,
	.xLock = file_lock,
	.xUnlock = file_unlock,
	.xCheckReservedLock = file_check_lock,
	.xFileControl = file_control,
	.xSectorSize = file_sector_size,
	.xDeviceCharacteristics = file_characteristics,
};

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags,
		    int *ret_flags)
{
	struct file *f = (struct file *)base;
	bool is_log = flags & SQLITE_OPEN_WAL;
	int code;

	(void)vfs;
	if (!is_log && !(flags & SQLITE_OPEN_MAIN_DB))
		return system_vfs->xOpen(system_vfs, name, base, flags, ret_flags);
	memset(f, 0, sizeof *f);
	if (is_log) {
		f->gathered = sqlite3_malloc(GATHER);
		if (!f->gathered)
			return SQLITE_NOMEM;
	}
	code = system_vfs->xOpen(system_vfs, name, f->real, flags, ret_flags);
	if (code == SQLITE_OK)
		f->base.pMethods = is_log ? &log_methods : &methods;
	else
		sqlite3_free(f->gathered);
	return code;
}

const char *dp_store_file_vfs(void)
{
	static sqlite3_vfs vfs;

	if (!vfs.zName) {
		system_vfs = sqlite3_vfs_find(NULL);
		if (!system_vfs)
			return NULL;
		vfs = *system_vfs; /* all but opening is done as the system does it */
		vfs.pNext = NULL;
		vfs.zName = "dp-checked";
		vfs.szOsFile = (int)sizeof(struct file) + system_vfs->szOsFile;
		vfs.xOpen = vfs_open;
		if (sqlite3_vfs_register(&vfs, 0) != SQLITE_OK) {
			vfs.zName = NULL;
			return NULL;
		}
	}
	return vfs.zName;
}

/* ---- looking before SQLite does ---- */

static int damaged(struct dp_error *err, const char *path, const char *what)
{
	return dp_error_set(err, DP_ERR_INTERNAL, -EUCLEAN,
			    "state %s: damaged (%s): move it away and restore a copy; nothing was "
			    "changed",
			    path, what);
}

static int unreadable(struct dp_error *err, const char *path)
{
	return dp_error_set(err, DP_ERR_INTERNAL, -errno, "state %s: read: %s", path,
			    strerror(errno));
}

/* Return: bytes read, less than @n at the end of the file; negative errno. */
static ssize_t read_at(int fd, void *data, size_t n, off_t offset)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = pread(fd, (char *)data + done, n - done, offset + (off_t)done);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		done += (size_t)r;
	}
	return (ssize_t)done;
}

static int check_header(int fd, const char *path, struct dp_error *err)
{
	uint8_t h[DB_HEADER];
	ssize_t n = read_at(fd, h, sizeof h, 0);

	if (n < 0)
		return unreadable(err, path);
	if (n < (ssize_t)sizeof h)
		return damaged(err, path, "cut short");
	if (memcmp(h, db_magic, sizeof db_magic))
		return dp_error_set(err, DP_ERR_INTERNAL, -EPROTO,
				    "state %s: not a database of this program: move it away", path);
	if (((uint32_t)h[DB_PAGE_SIZE] << 8 | h[DB_PAGE_SIZE + 1]) != DP_STORE_PAGE_SIZE)
		return damaged(err, path, "page size");
	if (h[DB_RESERVED] && h[DB_RESERVED] != DP_STORE_RESERVED)
		return damaged(err, path, "reserved space");
	return 0;
}

/* What another process is writing would look damaged. */
static int check_lock(int fd, const char *path, struct dp_error *err)
{
	struct flock lock = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LOCKS, .l_len = N_LOCKS
	};

	if (fcntl(fd, F_GETLK, &lock) < 0)
		return unreadable(err, path);
	if (lock.l_type == F_UNLCK)
		return 0;
	return dp_error_set(err, DP_ERR_INTERNAL, -EBUSY,
			    "state %s: another process (%d) has it open, is the daemon running "
			    "twice?",
			    path, (int)lock.l_pid);
}

/* A log being read. */
struct log {
	int fd;
	uint32_t (*word)(const uint8_t *); /* byte order of the sums */
	uint8_t salts[8]; /* of this turn of the log; frames of older ones follow */
	struct sums sums; /* that the next frame goes on from */
	uint8_t frame[DP_STORE_LOG_FRAME];
};

static struct sums stored_sums(const uint8_t *p)
{
	return (struct sums){ read_be(p), read_be(p + 4) };
}

static bool is_equal(struct sums x, struct sums y)
{
	return x.a == y.a && x.b == y.b;
}

/* Return: 1 there is frame number @i; 0 the log ends; negative errno. */
static int read_frame(struct log *log, int64_t i)
{
	ssize_t n = read_at(log->fd, log->frame, sizeof log->frame,
			    DP_STORE_LOG_HEADER + i * (off_t)DP_STORE_LOG_FRAME);

	return n < 0 ? (int)n : n == (ssize_t)sizeof log->frame;
}

static struct sums frame_sums(const struct log *log)
{
	return add(add(log->sums, log->frame, FRAME_SALTS, log->word), log->frame + FRAME_HEADER,
		   DP_STORE_PAGE_SIZE, log->word);
}

static bool has_salts(const struct log *log)
{
	return !memcmp(log->frame + FRAME_SALTS, log->salts, sizeof log->salts);
}

static bool follows(const struct log *log)
{
	return has_salts(log) && is_equal(frame_sums(log), stored_sums(log->frame + FRAME_SUMS));
}

/* Is the log nothing but the zeros with which the store stretches it before work? Return: 1 yes; 0 no;
 * negative errno. */
static int is_unwritten(struct log *log)
{
	static const uint8_t zeros[sizeof log->frame];
	off_t at = 0;
	ssize_t n;

	while ((n = read_at(log->fd, log->frame, sizeof log->frame, at)) > 0) {
		if (memcmp(log->frame, zeros, (size_t)n))
			return 0;
		at += n;
	}
	return n < 0 ? (int)n : 1;
}

/* Return: 1 there are frames to look at; 0 an empty log; negative errno. */
static int check_log_header(struct log *log, const char *path, struct dp_error *err)
{
	uint8_t h[DP_STORE_LOG_HEADER + 1];
	ssize_t n = read_at(log->fd, h, sizeof h, 0);
	int r;

	if (n < 0)
		return unreadable(err, path);
	if (n < (ssize_t)sizeof h)
		return 0; /* no frame yet */
	r = h[0] ? 0 : is_unwritten(log);
	if (r != 0)
		return r < 0 ? unreadable(err, path) : 0;
	log->word = read_be(h) == LOG_MAGIC ? read_le : read_be;
	log->sums = add((struct sums){ 0, 0 }, h, LOG_SUMS, log->word);
	memcpy(log->salts, h + LOG_SALTS, sizeof log->salts);
	if ((read_be(h) & ~1U) != LOG_MAGIC || read_be(h + LOG_VERSION) != LOG_FORMAT ||
	    read_be(h + LOG_PAGE_SIZE) != DP_STORE_PAGE_SIZE ||
	    !is_equal(log->sums, stored_sums(h + LOG_SUMS)))
		return damaged(err, path, "header of the log");
	return 1;
}

/*
 * From frame @i on SQLite will not read. After a crash that is the last transaction, half written
 * in any order. If transactions follow it that were begun after it was on the disk, it is damage:
 * a frame of this turn of the log behind the end of a transaction. A frame without the salts
 * belongs to this turn if the one after it goes on from its sums.
 */
static int check_tail(struct log *log, int64_t i, const char *path, struct dp_error *err)
{
	bool ended = false;
	int r = read_frame(log, i);

	while (r == 1) {
		bool mine = has_salts(log);
		bool ends = read_be(log->frame + FRAME_COMMIT) != 0;

		log->sums = stored_sums(log->frame + FRAME_SUMS);
		r = read_frame(log, ++i);
		mine = mine || (r == 1 && follows(log));
		if (mine && ended)
			return damaged(err, path, "in the middle of the log");
		ended = ended || (mine && ends);
	}
	return r < 0 ? unreadable(err, path) : 0;
}

static int check_log(const char *path, int64_t *ret_n_frames, struct dp_error *err)
{
	struct log log = { .fd = open(path, O_RDONLY | O_CLOEXEC) };
	auto_close int fd = log.fd;
	int64_t i = 0;
	int r;

	*ret_n_frames = 0;
	if (fd < 0)
		return errno == ENOENT ? 0 : unreadable(err, path);
	r = check_log_header(&log, path, err);
	if (r <= 0)
		return r;
	while ((r = read_frame(&log, i)) == 1 && follows(&log)) {
		log.sums = frame_sums(&log);
		i++;
		if (read_be(log.frame + FRAME_COMMIT))
			*ret_n_frames = i;
	}
	return r < 0 ? unreadable(err, path) : check_tail(&log, i, path, err);
}

int dp_store_file_check(const char *path, int64_t *ret_n_frames, struct dp_error *err)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	auto_free char *log = NULL;
	struct stat st;
	int r;

	if (fd < 0 && errno != ENOENT)
		return unreadable(err, path);
	if (asprintf(&log, "%s-wal", path) < 0) {
		log = NULL;
		return dp_error_oom(err);
	}
	*ret_n_frames = 0;
	if (fd < 0 && stat(log, &st) == 0 && st.st_size)
		return damaged(err, path, "it is missing, and its log is here");
	if (fd < 0)
		return 0;
	r = check_lock(fd, path, err);
	if (r == 0)
		r = check_header(fd, path, err);
	if (r == 0)
		r = check_log(log, ret_n_frames, err);
	return r < 0 ? r : 1;
}
