/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * layout_json.h - a layout as accel-config's own JSON: what `accel-config save-config` writes
 * and `accel-config load-config` reads.
 *
 * Owner: the caller.  Thread: a command's only one.
 */
#ifndef BROKER_LAYOUT_JSON_H
#define BROKER_LAYOUT_JSON_H

#include <jansson.h>

#include "layout.h"

/*
 * The devices of @plan, an array; a new reference, NULL: no memory.  @state: also whether each
 * device and WQ is enabled, which accel-config does not read; without it all are meant to be.
 */
json_t *layout_to_json(const struct idxd_host *plan, bool state);

/*
 * The reverse.  What a device is able to do is not in there: layout_check() judges that.
 * -EINVAL and one line in @err that says where and what was expected.
 */
int layout_from_json(const json_t *json, struct idxd_host *out, char *err, size_t errlen);

#endif /* BROKER_LAYOUT_JSON_H */
