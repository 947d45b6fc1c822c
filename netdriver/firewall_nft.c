/* TEMPORARY STUB by the lead so that others can link: helper 'kern', overwrite this file. */
typedef int firewall_nft_stub;
