/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cli_doctor.h - what the files of `accelmux doctor` share.
 *
 * One thread.
 */
#ifndef BROKER_CLI_DOCTOR_H
#define BROKER_CLI_DOCTOR_H

#include "cli.h"
#include "doctor.h"

/* cli_doctor_host.c: look at this host.  Nothing of it is changed; what cannot be read is left
 * as not known. */
void doctor_host_read(const struct cli *cli, struct doctor_host *h);

#endif /* BROKER_CLI_DOCTOR_H */
