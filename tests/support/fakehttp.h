/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_TESTS_SUPPORT_FAKEHTTP_H
#define DP_TESTS_SUPPORT_FAKEHTTP_H

/*
 * A request without a socket, for programs that call dp_rpc_on_request() themselves. Include it in
 * one file of a program that is linked with
 *   -Wl,--wrap=dp_http_method -Wl,--wrap=dp_http_path -Wl,--wrap=dp_http_body
 *   -Wl,--wrap=dp_http_respond -Wl,--wrap=dp_http_on_end
 * and defines __wrap_dp_http_respond(), to take the answers.
 */

#include "common/http.h"

struct dp_http_request {
	const char *path;
	const char *body;
	size_t size; /* bytes of @body */
	bool answered;
	bool refused;  /* for the program's own use, as is @err */
	char err[512];
	void (*end)(void *ctx, bool lost);
	void *end_ctx;
};

const char *__wrap_dp_http_method(const struct dp_http_request *req);
const char *__wrap_dp_http_path(const struct dp_http_request *req);
const char *__wrap_dp_http_body(const struct dp_http_request *req, size_t *ret_size);
void __wrap_dp_http_respond(struct dp_http_request *req, unsigned status, char *body);
void __wrap_dp_http_on_end(struct dp_http_request *req, void (*fn)(void *ctx, bool lost), void *ctx);

const char *__wrap_dp_http_method(const struct dp_http_request *req)
{
	(void)req;
	return "POST";
}

const char *__wrap_dp_http_path(const struct dp_http_request *req)
{
	return req->path;
}

const char *__wrap_dp_http_body(const struct dp_http_request *req, size_t *ret_size)
{
	*ret_size = req->size;
	return req->body;
}

void __wrap_dp_http_on_end(struct dp_http_request *req, void (*fn)(void *ctx, bool lost), void *ctx)
{
	req->end = fn;
	req->end_ctx = ctx;
}

#endif
