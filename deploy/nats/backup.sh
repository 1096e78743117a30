#!/bin/sh
# Backs up the streams of statusworker, with the `nats` command:
#
#   backup.sh FOLDER [OPTION OF nats ...]        backup.sh /backups/2026-11-27 --context production
#
# An interaction moves from the stream of declared messages to that of polls, and from there to that of outcomes. It is stored in
# the next one before it leaves the one before. So snapshots in this order have it at least once. In any other order, as that of
# `nats account backup`, they lose what moves between two of them. `statusworker dlq replay` moves interactions the other way: do
# not run it meanwhile.
#
# The user needs the rights to publish $JS.API.STREAM.NAMES, $JS.API.STREAM.INFO.* and $JS.API.STREAM.SNAPSHOT.*.
set -eu

if [ $# -lt 1 ]; then
    echo "usage: $0 FOLDER [OPTION OF nats ...]" >&2
    exit 2
fi
folder=$1
shift
streams=$(nats "$@" stream ls --names)
# nats 0.5 has given the command another name.
if nats backup stream --help >/dev/null 2>&1; then
    backup="backup stream"
else
    backup="stream backup"
fi
mkdir "$folder" # a backup is never written over another

# Consumers of the first two are made anew by `statusworker provision`, and deliver everything that is stored. One of a snapshot
# could count as settled what the snapshot has.
for stream in INTERACTIONS_DECLARED INTERACTIONS_POLLS INTERACTIONS_OUTCOMES; do
    consumers=--no-consumers
    case $stream in
    INTERACTIONS_OUTCOMES) consumers=--consumers ;;
    INTERACTIONS_POLLS) echo "$streams" | grep -qx "$stream" || continue ;; # with delayed naks there is none
    esac
    # shellcheck disable=SC2086
    nats "$@" $backup "$stream" "$folder/$stream" "$consumers" --no-progress
done
echo "complete: $folder"
