#!/bin/sh
# Runs after an installation or an upgrade. Nothing is enabled or started: the service needs a token first. An upgrade
# restarts a service that runs.
set -e
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  systemctl --no-block try-restart statusworker.service
fi
