/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/* Log lines are caught in a pipe that stands in for stdout while a test writes. */

#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "tests/support/unit.h"

static char caught[8192];

/* Runs @write_it with stdout going to a pipe, and leaves what it wrote in `caught`. */
static void catch(void (*write_it)(void))
{
	int saved = dup(STDOUT_FILENO);
	int fds[2];
	ssize_t n;

	assert_int_equal(pipe(fds), 0);
	(void)fflush(stdout);
	assert_int_equal(dup2(fds[1], STDOUT_FILENO), STDOUT_FILENO);
	(void)close(fds[1]);
	write_it();
	assert_int_equal(dup2(saved, STDOUT_FILENO), STDOUT_FILENO);
	(void)close(saved);
	n = read(fds[0], caught, sizeof caught - 1); /* all writers are gone: EOF if nothing came */
	assert_true(n >= 0);
	caught[n] = '\0';
	(void)close(fds[0]);
}

static int setup(void **state)
{
	(void)state;
	(void)unsetenv("JOURNAL_STREAM");
	dp_log_set_level(DP_LOG_INFO);
	return 0;
}

static void write_one(void)
{
	dp_log_warning("disk at %d%%", 97);
}

static void a_line_begins_with_the_name_of_its_level(void **state)
{
	(void)state;
	catch(write_one);
	assert_string_equal(caught, "warning: disk at 97%\n");
}

static void under_systemd_a_line_begins_with_its_priority(void **state)
{
	(void)state;
	(void)setenv("JOURNAL_STREAM", "8:1234", 1);
	catch(write_one);
	assert_string_equal(caught, "<4>disk at 97%\n");
}

static void write_debug(void)
{
	dp_log_debug("hidden");
	dp_log_info("shown");
}

static void what_is_less_important_than_the_level_is_dropped(void **state)
{
	(void)state;
	catch(write_debug);
	assert_string_equal(caught, "info: shown\n");
}

static void a_level_can_be_lowered(void **state)
{
	(void)state;
	dp_log_set_level(DP_LOG_DEBUG);
	catch(write_debug);
	assert_string_equal(caught, "debug: hidden\ninfo: shown\n");
}

static void write_hostile(void)
{
	dp_log_error("network 'a\nerror: forged\x1b[2J\x7f'");
}

static void control_characters_cannot_forge_a_second_line(void **state)
{
	(void)state;
	catch(write_hostile);
	assert_string_equal(caught, "error: network 'a?error: forged?[2J?'\n");
}

static void write_long(void)
{
	dp_log_error("%05000d", 1);
}

static void a_long_line_is_cut_and_still_ends(void **state)
{
	(void)state;
	catch(write_long);
	assert_true(strlen(caught) <= 1024);
	assert_int_equal(caught[strlen(caught) - 1], '\n');
}

static void errno_survives_even_where_nothing_can_be_written(void **state)
{
	int saved = dup(STDOUT_FILENO);
	int after;

	(void)state;
	(void)fflush(stdout);
	(void)close(STDOUT_FILENO);
	errno = ENOSPC;
	dp_log_error("x");
	after = errno;
	assert_int_equal(dup2(saved, STDOUT_FILENO), STDOUT_FILENO);
	(void)close(saved);
	assert_int_equal(after, ENOSPC);
}

static void levels_are_read_by_name(void **state)
{
	static const struct {
		const char *name;
		enum dp_log_level level;
	} cases[] = { { "error", DP_LOG_ERROR },
		      { "warning", DP_LOG_WARNING },
		      { "notice", DP_LOG_NOTICE },
		      { "info", DP_LOG_INFO },
		      { "debug", DP_LOG_DEBUG } };

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(cases); i++) {
		enum dp_log_level level = (enum dp_log_level)0;

		assert_int_equal(dp_log_level_parse(cases[i].name, &level), 0);
		assert_int_equal(level, cases[i].level);
	}
}

static void other_names_are_no_levels(void **state)
{
	static const char *const names[] = { "", "Error", "warn", "debug ", "7" };
	enum dp_log_level level = DP_LOG_NOTICE;

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(names); i++)
		assert_int_equal(dp_log_level_parse(names[i], &level), -EINVAL);
	assert_int_equal(level, DP_LOG_NOTICE);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_line_begins_with_the_name_of_its_level, setup),
		cmocka_unit_test_setup(under_systemd_a_line_begins_with_its_priority, setup),
		cmocka_unit_test_setup(what_is_less_important_than_the_level_is_dropped, setup),
		cmocka_unit_test_setup(a_level_can_be_lowered, setup),
		cmocka_unit_test_setup(control_characters_cannot_forge_a_second_line, setup),
		cmocka_unit_test_setup(a_long_line_is_cut_and_still_ends, setup),
		cmocka_unit_test_setup(errno_survives_even_where_nothing_can_be_written, setup),
		cmocka_unit_test(levels_are_read_by_name),
		cmocka_unit_test(other_names_are_no_levels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
