#!/bin/sh
# Restores a backup of backup.sh, with the `nats` command, where the streams are lost:
#
#   restore.sh FOLDER [OPTION OF nats ...]
#
# Stop the workers before. Afterwards run `statusworker provision`, which makes the consumers, and start the workers: see "Restore"
# in docs/operations.md. A stream that is there is not touched: the command ends with an error.
#
# The user needs the rights to publish $JS.API.STREAM.INFO.* and $JS.API.STREAM.RESTORE.*, and what the server asks it for the
# chunks, $JS.SNAPSHOT.RESTORE.>.
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

# Outcomes first: they say what has ended.
for stream in INTERACTIONS_OUTCOMES INTERACTIONS_POLLS INTERACTIONS_DECLARED; do
    if [ "$stream" = INTERACTIONS_POLLS ] && [ ! -e "$folder/$stream" ]; then
        continue
    fi
    # shellcheck disable=SC2086
    nats "$@" $restore "$folder/$stream" --no-progress
done
echo "restored: run \`statusworker provision\`, then start the workers"
