#!/bin/sh
# Backs up the streams of statusworker, with the `nats` command:
#
#   backup.sh FOLDER [OPTION OF nats ...]        backup.sh /backups/2026-11-27 --context production
#
# An interaction moves from the stream of declared messages to that of polls, and from there to that of outcomes. The
# next stream stores it before the previous one deletes it, so snapshots in this order contain it at least once. In any
# other order, such as that of `nats account backup`, both snapshots can miss an interaction that moves between them.
# `statusworker dlq replay` moves interactions the other way: do not run it during a backup.
#
# STATUSWORKER_NAMESPACE selects the namespace, interactions by default: back up each namespace of an account.
#
# The user must be allowed to publish $JS.API.STREAM.NAMES, $JS.API.STREAM.INFO.* and $JS.API.STREAM.SNAPSHOT.*.
set -eu

if [ $# -lt 1 ]; then
    echo "usage: $0 FOLDER [OPTION OF nats ...]" >&2
    exit 2
fi
folder=$1
shift
prefix=$(printf %s "${STATUSWORKER_NAMESPACE:-interactions}" | tr a-z A-Z)
streams=$(nats "$@" stream ls --names)
# nats 0.5 renamed the command.
if nats backup stream --help >/dev/null 2>&1; then
    backup="backup stream"
else
    backup="stream backup"
fi
mkdir "$folder" # fails if it exists: a backup never overwrites another

# `statusworker provision` recreates the consumers of the first two streams, which then deliver all stored messages. A
# consumer from a snapshot could treat messages of the snapshot as acknowledged.
for stream in "${prefix}_DECLARED" "${prefix}_POLLS" "${prefix}_OUTCOMES"; do
    consumers=--no-consumers
    case $stream in
    "${prefix}_OUTCOMES") consumers=--consumers ;;
    "${prefix}_POLLS") echo "$streams" | grep -qx "$stream" || continue ;; # does not exist with redelivery nak
    esac
    # shellcheck disable=SC2086
    nats "$@" $backup "$stream" "$folder/$stream" "$consumers" --no-progress
done
echo "complete: $folder"
