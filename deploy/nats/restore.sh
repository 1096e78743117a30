#!/bin/sh
# Restores a backup of backup.sh, with the `nats` command, after the streams were lost:
#
#   restore.sh FOLDER [OPTION OF nats ...]
#
# Stop the workers, and wait 30 s (the longest poll interval). Run this script, then `statusworker provision`, which
# creates the consumers. Then start the workers. See "Restore" in docs/deploy.md. The script fails on a stream that
# exists, and does not change it.
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
if nats backup restore --help >/dev/null 2>&1; then
    restore="backup restore stream"
else
    restore="stream restore"
fi

# Outcomes first: they show which interactions have ended.
for stream in INTERACTIONS_OUTCOMES INTERACTIONS_POLLS INTERACTIONS_DECLARED; do
    if [ "$stream" = INTERACTIONS_POLLS ] && [ ! -e "$folder/$stream" ]; then
        continue
    fi
    # shellcheck disable=SC2086
    nats "$@" $restore "$folder/$stream" --no-progress
done
echo "restored: run \`statusworker provision\`, then start the workers"
