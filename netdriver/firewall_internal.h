/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_NETDRIVER_FIREWALL_INTERNAL_H
#define DP_NETDRIVER_FIREWALL_INTERNAL_H

/*
 * What the two backends of the firewall share. Included by the firewall*.c files alone.
 */

#include <stdint.h>

#include "netdriver/firewall.h"

#define FW_TABLE        "filter"
#define FW_CHAIN        "DOCKER-USER"
#define FW_MARK         "mynetworkplugin:"
#define FW_IFNAME_SIZE  16  /* bytes, NUL included */
#define FW_COMMENT_SIZE 256 /* bytes, NUL included: XT_MAX_COMMENT_LEN */
#define FW_TRIES        5   /* rounds against others who change the table at the same time */
#define FW_RULES_MAX    4   /* rules of one segment */

struct mnl_socket;

struct ndrv_fw {
	char *lock_path;        /* of iptables-legacy */
	struct mnl_socket *nft; /* opened at first use; NULL */
	uint32_t seq;           /* of the last message on @nft */
	bool no_nft;            /* this kernel has no nfnetlink */
};

/* A rule of ours, apart from its comment. */
struct fw_rule {
	char in[FW_IFNAME_SIZE];  /* "" = any; a final '+' stands for any continuation */
	char out[FW_IFNAME_SIZE]; /* likewise */
	bool accept;              /* ACCEPT, else RETURN */
};

/* What has to stand in a chain for one id, in this order. */
struct fw_set {
	const char *id;                     /* borrowed */
	char comment[FW_COMMENT_SIZE];      /* FW_MARK and @id */
	struct fw_rule rules[FW_RULES_MAX]; /* first @n_rules valid */
	size_t n_rules;                     /* 0 = nothing is to stand there */
};

/* Ids found so far; grows. */
struct fw_ids {
	struct ndrv_fw_id *ids; /* heap */
	size_t n;               /* valid entries */
	size_t max;             /* allocated entries */
};

/* fw_ids_add() - add the id of @comment if that is ours; the rules of one stand together, but may
 * stand in several chains. Return: 0; -ENOMEM. */
int fw_ids_add(struct fw_ids *ids, const char *comment);

/* fw_error() - @code of the kernel as a struct dp_error: "<what>: <why>". Return: @code. */
int fw_error(struct dp_error *err, int code, const char *what);

/*
 * A backend serves the chain DOCKER-USER of one address family (AF_INET, AF_INET6).
 *
 * sync: make the rules of @set->id exactly those of @set. *ret_found: the chain exists.
 * list: add the ids of all rules of ours to @ids.
 * Return: 0; a negative errno with @err filled.
 */
struct fw_backend {
	int (*sync)(struct ndrv_fw *fw, int family, const struct fw_set *set, bool *ret_found,
		    struct dp_error *err);
	int (*list)(struct ndrv_fw *fw, int family, struct fw_ids *ids, struct dp_error *err);
};

extern const struct fw_backend fw_legacy;
extern const struct fw_backend fw_nft;

/* fw_nft_close() - close what the backend has opened. */
void fw_nft_close(struct ndrv_fw *fw);

#endif
