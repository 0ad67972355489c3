#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The kernel's NBD client and ext4, in a guest: made, mounted, filled, checked,
# read back with nothing cached, trimmed (the server's memory falls), checked
# again.  The short sister of test-guest-fs.sh.

. "$(dirname "$0")/guest.sh"
requires "${NBDZRAMCTL:-nbdzramctl}" --help
requires_guest nbd-client mke2fs e2fsck
guest_programs="nbd-client mke2fs e2fsck"
guest_modules+=" nbd"
guest_files="$guest_here/fs-in-guest.sh"

start_tcp 1G
start_guest <<END
. /fs-in-guest.sh
attach $port
one_fs ext4
\$nbd -d /dev/nbd0 >/dev/null
END
watch_fs ext4
end_guest 300
stop_nbdkit
