#!/bin/sh
# Restores a backup of backup.sh, with the `nats` command, after the streams were lost:
#
#   restore.sh FOLDER [OPTION OF nats ...]
#
# Stop the workers, and wait 30 s (the longest poll interval). Run this script, then `statusworker provision`, which
# creates the consumers. Then start the workers. See "Restore" in docs/deploy.md. The script fails on a stream that
# exists, and does not change it.
#
# STATUSWORKER_NAMESPACE must be that of the backup, interactions by default.
#
# The user must be allowed to publish $JS.API.STREAM.INFO.*, $JS.API.STREAM.RESTORE.*, and $JS.SNAPSHOT.RESTORE.> for
# the chunks.
set -eu

if [ $# -lt 1 ]; then
    echo "usage: $0 FOLDER [OPTION OF nats ...]" >&2
    exit 2
fi
folder=$1
shift
prefix=$(printf %s "${STATUSWORKER_NAMESPACE:-interactions}" | tr a-z A-Z)
if nats backup restore --help >/dev/null 2>&1; then
    restore="backup restore stream"
else
    restore="stream restore"
fi

# Outcomes first: they show which interactions have ended.
for stream in "${prefix}_OUTCOMES" "${prefix}_POLLS" "${prefix}_DECLARED"; do
    if [ "$stream" = "${prefix}_POLLS" ] && [ ! -e "$folder/$stream" ]; then
        continue
    fi
    # shellcheck disable=SC2086
    nats "$@" $restore "$folder/$stream" --no-progress
done
echo "restored: run \`statusworker provision\`, then start the workers"
