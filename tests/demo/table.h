/* SPDX-License-Identifier: MIT */
/*
 * table.h - the tour's one table and what its columns mean.
 *
 * Owner: none.  One thread.
 */
#ifndef DEMO_TABLE_H
#define DEMO_TABLE_H

#include "figures.h"

#define TABLE_POLICIES 4

struct results {
	struct figures alone[CLASSES]; /* each class with nobody else there */
	struct figures together[TABLE_POLICIES][CLASSES];
	unsigned int weight[CLASSES]; /* 0: no tenant */
	unsigned int time_scale;
};

extern const char *const table_policies[TABLE_POLICIES];
extern const char *const table_classes[CLASSES];

/* To standard output. */
void table_print(const struct results *r);

#endif /* DEMO_TABLE_H */
