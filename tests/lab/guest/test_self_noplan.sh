#!/bin/busybox sh
# SPDX-License-Identifier: MIT
# lab-kernel: 7
# A result without a plan: the judge must notice.
echo "ok 1 - no plan follows"
