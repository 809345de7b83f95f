#!/bin/busybox sh
# SPDX-License-Identifier: MIT
# A test that hangs: the judge must notice.
sleep 100000
