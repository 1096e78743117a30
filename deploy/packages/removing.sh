#!/bin/sh
# Runs before a removal, and before an upgrade. Its argument is remove (deb) or 0 (rpm) if the package is removed.
set -e
case $1 in
remove | 0)
  if [ -d /run/systemd/system ]; then systemctl disable --now --quiet statusworker.service; fi
  ;;
esac
