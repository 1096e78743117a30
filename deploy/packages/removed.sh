#!/bin/sh
# Runs after a removal, an upgrade, or a purge (deb). A purge also deletes the configuration and the credentials.
set -e
if [ "$1" = purge ]; then rm -rf /etc/statusworker; fi
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
