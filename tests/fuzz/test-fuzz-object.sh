#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Damaged objects under libFuzzer, for FUZZ_SECONDS (60).

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
fuzz_test object
