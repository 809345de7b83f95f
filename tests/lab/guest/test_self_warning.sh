#!/bin/busybox sh
# SPDX-License-Identifier: MIT
# All is well, but the kernel complains: the judge must notice.
echo "WARNING: made up by the self-test" >/dev/kmsg
echo "ok 1 - said it"
echo "1..1"
