/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_IPAM_OPERATOR_SHOW_H
#define DP_IPAM_OPERATOR_SHOW_H

/* Answers of the operators' methods, as people read them: the show() of struct dp_command. They run
 * in the command's process and know nothing but the JSON. */

#include <jansson.h>
#include <stdio.h>

void ipam_show_status(const json_t *reply, unsigned page, FILE *out);
void ipam_show_leases(const json_t *reply, unsigned page, FILE *out);
void ipam_show_history(const json_t *reply, unsigned page, FILE *out);
void ipam_show_blocks(const json_t *reply, unsigned page, FILE *out);
void ipam_show_map(const json_t *reply, unsigned page, FILE *out);
void ipam_show_check(const json_t *reply, unsigned page, FILE *out);
void ipam_show_said(const json_t *reply, unsigned page, FILE *out); /* the text "Said" */

#endif
