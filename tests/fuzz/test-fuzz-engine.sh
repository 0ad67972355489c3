#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Operations of the engine against a model under libFuzzer, for FUZZ_SECONDS (60).

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
fuzz_test engine
