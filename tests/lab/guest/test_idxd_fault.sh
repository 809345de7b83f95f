#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# The stock idxd driver on a device that errs: statuses reach the module, what is lost or hangs
# is quarantined until the WQ is quiet, and no content is ever wrong.
# lab-boot: setcpuid=movdir64b
# lab-device: dsa --version 2
. /t/lib_idxd.sh

idxd_up
result $? "idxd and accelmux are up: $(channels) channels"

fault error_every 3
moved 2 8 && [ "$(stat dma_errors)" -gt 0 ] && [ "$(stat declined_error)" -gt 0 ]
result $? "each 3rd descriptor fails: $(stat dma_errors) errors, $(model errors) by the model; $(stat declined_error) pages by CPU, $(cat /tmp/load)"
[ "$(stat dma_errors)" = "$(model errors)" ]
result $? "each error of the model is one of the module"
fault error_every 0

errors=$(stat dma_errors)
fault partial_every 3
moved 2 8 && [ "$(stat dma_errors)" -gt "$errors" ]
result $? "each 3rd is half done, then a page fault: $(($(stat dma_errors) - errors)) errors, $(cat /tmp/load)"
fault partial_every 0
[ "$(stat quarantined_total)" = 0 ]
result $? "none of that is quarantined"

fault delay_us 20000
moved 1 1
result $? "each answer takes 20 ms: $by_engine by engine, $(cat /tmp/load)"
fault delay_us 0

fault lose_irq_every 7
moved 2 8
result $? "each 7th interrupt is lost: $by_engine by engine, $(stat stuck_pages) pages were stuck, $(cat /tmp/load)"
fault lose_irq_every 0
idxd_show
echo "1..$n"
