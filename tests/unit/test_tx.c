/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "netdriver/tx.h"

/* What the undo functions were told, in order. */
struct journal {
	int n;
	int ifindex[NDRV_TX_MAX];
	struct ndrv_tx_arg last;
};

static int note(void *ctx, const struct ndrv_tx_arg *arg, struct dp_error *err)
{
	struct journal *j = ctx;

	(void)err;
	j->ifindex[j->n++] = arg->ifindex;
	j->last = *arg;
	return 0;
}

static int note_and_fail(void *ctx, const struct ndrv_tx_arg *arg, struct dp_error *err)
{
	(void)note(ctx, arg, err);
	return dp_error_set(err, DP_ERR_INTERNAL, -EIO, "link %d stays", arg->ifindex);
}

static void add(struct ndrv_tx *tx, ndrv_tx_undo_fn *undo, int ifindex)
{
	ndrv_tx_on_abort(tx, "step", undo, &(struct ndrv_tx_arg){ .ifindex = ifindex });
}

/* Leaves its scope after three steps, committed or not; @err is the error it came for. */
static int three_steps(struct journal *j, bool commit, struct dp_error *err)
{
	DP_CLEANUP(ndrv_tx_rollback) struct ndrv_tx tx;

	ndrv_tx_init(&tx, j);
	add(&tx, note, 1);
	add(&tx, note_and_fail, 2);
	add(&tx, note, 3);
	if (!commit)
		return dp_error_set(err, DP_ERR_CONFLICT, -EEXIST, "the first error");
	ndrv_tx_commit(&tx);
	return 0;
}

/* Runs three_steps() with stdout in a file; returns what was logged. */
static char *log_of_rollback(struct journal *j, struct dp_error *err, char *text, size_t size)
{
	FILE *file = tmpfile();
	int saved = dup(STDOUT_FILENO);
	size_t n;

	assert_non_null(file);
	(void)fflush(stdout);
	(void)dup2(fileno(file), STDOUT_FILENO);
	(void)three_steps(j, false, err);
	(void)fflush(stdout);
	(void)dup2(saved, STDOUT_FILENO);
	(void)close(saved);
	rewind(file);
	n = fread(text, 1, size - 1, file);
	text[n] = '\0';
	(void)fclose(file);
	return text;
}

static void leaving_the_scope_undoes_the_last_step_first(void **state)
{
	struct dp_error err = DP_ERROR_INIT;
	struct journal j = { 0 };
	char text[512];

	(void)state;
	(void)log_of_rollback(&j, &err, text, sizeof text);
	assert_int_equal(j.n, 3);
	assert_int_equal(j.ifindex[0], 3);
	assert_int_equal(j.ifindex[1], 2);
	assert_int_equal(j.ifindex[2], 1);
}

static void an_undo_that_fails_is_logged_and_does_not_replace_the_error(void **state)
{
	struct dp_error err = DP_ERROR_INIT;
	struct journal j = { 0 };
	char text[512];

	(void)state;
	assert_non_null(strstr(log_of_rollback(&j, &err, text, sizeof text),
			       "undo of step left something behind: link 2 stays"));
	assert_int_equal(err.code, -EEXIST);
	assert_string_equal(err.msg, "the first error");
}

static void after_commit_nothing_is_undone(void **state)
{
	struct dp_error err = DP_ERROR_INIT;
	struct journal j = { 0 };

	(void)state;
	assert_int_equal(three_steps(&j, true, &err), 0);
	assert_int_equal(j.n, 0);
}

static void rolling_back_twice_undoes_once(void **state)
{
	struct journal j = { 0 };
	struct ndrv_tx tx;

	(void)state;
	ndrv_tx_init(&tx, &j);
	add(&tx, note, 1);
	ndrv_tx_rollback(&tx);
	ndrv_tx_rollback(&tx);
	assert_int_equal(j.n, 1);
}

static void the_argument_is_copied(void **state)
{
	struct ndrv_tx_arg arg = { .ifindex = 5, .value = -9, .text = "mynetworkplugin:veth:e1" };
	struct journal j = { 0 };
	struct ndrv_tx tx;

	(void)state;
	ndrv_tx_init(&tx, &j);
	ndrv_tx_on_abort(&tx, "step", note, &arg);
	memset(&arg, 0xff, sizeof arg);
	ndrv_tx_rollback(&tx);
	assert_int_equal(j.last.ifindex, 5);
	assert_int_equal(j.last.value, -9);
	assert_string_equal(j.last.text, "mynetworkplugin:veth:e1");
}

static void as_many_steps_as_promised_fit(void **state)
{
	struct journal j = { 0 };
	struct ndrv_tx tx;

	(void)state;
	ndrv_tx_init(&tx, &j);
	for (int i = 0; i < NDRV_TX_MAX; i++)
		add(&tx, note, i);
	ndrv_tx_rollback(&tx);
	assert_int_equal(j.n, NDRV_TX_MAX);
	assert_int_equal(j.ifindex[NDRV_TX_MAX - 1], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaving_the_scope_undoes_the_last_step_first),
		cmocka_unit_test(an_undo_that_fails_is_logged_and_does_not_replace_the_error),
		cmocka_unit_test(after_commit_nothing_is_undone),
		cmocka_unit_test(rolling_back_twice_undoes_once),
		cmocka_unit_test(the_argument_is_copied),
		cmocka_unit_test(as_many_steps_as_promised_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
