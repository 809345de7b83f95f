/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cli_setup.h - what the files of `accelmux setup` share.
 *
 * One thread.
 */
#ifndef BROKER_CLI_SETUP_H
#define BROKER_CLI_SETUP_H

#include "cli.h"
#include "layout_record.h"

#define SETUP_SAVED   "/etc/accelmux/dsa.conf" /* what the unit below loads at boot */
#define SETUP_UNIT    "accelmux-setup.service"
#define SETUP_OPTIONS "/etc/accelmux/setup.env" /* and with which options, if any */

/*
 * cli_setup_boot.c: let @plan be laid out at every boot, user WQs given to @group (NULL: the
 * default).  An exit code; what was done has been said, but for --json.
 */
int setup_save(const struct cli *cli, const struct idxd_host *plan, const char *group);
/* The reverse. */
int setup_forget(const struct cli *cli);

#endif /* BROKER_CLI_SETUP_H */
