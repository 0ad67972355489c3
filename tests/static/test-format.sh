#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The C sources look as .clang-format says (clang-format 14: other versions
# do not agree in all details, so with them this is skipped).

exec "$SRCDIR/scripts/check-layers" --format
