/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * plugin_file.h - the file of a plug-in policy: where it is, and whether it may be run.
 *
 * Owner: nobody, it keeps nothing.  Thread: any.
 */
#ifndef BROKER_PLUGIN_FILE_H
#define BROKER_PLUGIN_FILE_H

#include <stddef.h>

#define PLUGIN_PATH_LEN 256

/* Where plug-ins are installed: PREFIX/lib/accelmux/policies of a program PREFIX/sbin/NAME. */
void plugin_file_dir(char *dir, size_t len);

/*
 * The whole path of a policy that is not built in: @name itself if it begins with '/', below
 * @beside (NULL: not allowed) if it holds another '/', else @dir/NAME.so, which must be there.
 * 0, or -errno and one line in @err that begins with what was expected.
 */
int plugin_file_find(const char *name, const char *dir, const char *beside, char *path,
		     size_t len, char *err, size_t errlen);

/* Open @path for reading if it is a regular file that belongs to root or to this user and can
 * be written by nobody else.  A descriptor, or -errno and one line in @err that names it. */
int plugin_file_open(const char *path, char *err, size_t errlen);

/* "night" of "/usr/lib/night.so" */
void plugin_file_stem(const char *path, char *stem, size_t len);

#endif /* BROKER_PLUGIN_FILE_H */
