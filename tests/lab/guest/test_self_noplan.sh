#!/bin/busybox sh
# SPDX-License-Identifier: MIT
# A result without a plan: the judge must notice.
echo "ok 1 - no plan follows"
