#!/bin/bash
# Runs as root in a container with systemd, from .ci/packages: installs, runs, upgrades and removes a package.
set -euo pipefail
packager=$1
cd /in
unit=statusworker.service
conf=/etc/statusworker

fail() { echo "install.sh: $*" >&2; exit 1; }
is() { [ "$2" = "$3" ] || fail "$1 is \"$2\", want \"$3\""; }
property() { systemctl show --value --property "$1" $unit; }
# until_is waits until a property of the unit has a value that matches a pattern.
until_is() {
  local have deadline=$((SECONDS + 30))
  # shellcheck disable=SC2053 # a pattern
  until have=$(property "$1") && [[ $have == $2 ]]; do
    ((SECONDS < deadline)) || fail "$1 is \"$have\", want \"$2\""
    sleep 0.1
  done
  echo "  $1=$have"
}
case $packager in
deb)
  install() { dpkg --install "$1.deb" >/dev/null; }
  remove() { dpkg --remove statusworker >/dev/null; }
  files() { dpkg --contents "$1.deb" | awk '{print $1, $2, $6}'; }
  verify() { dpkg --verify statusworker; }
  completions=/usr/share/zsh/vendor-completions
  ;;
rpm)
  # --nodeps: the system's own packages are not in rpm's database.
  install() { rpm --force-debian --upgrade --nodeps "$1.rpm"; }
  remove() { rpm --force-debian --erase --nodeps statusworker; }
  files() { rpm --query --package --list "$1.rpm"; }
  verify() { rpm --verify --nodeps statusworker; }
  completions=/usr/share/zsh/site-functions
  ;;
esac

echo "- the files of the package"
files 1 | sed 's/^/  /'
install 1
is "what differs from the package" "$(verify)" ""
is "the version" "$(statusworker version)" "statusworker v0.0.1"
is "ActiveState after the installation" "$(property ActiveState)" inactive
is "UnitFileState after the installation" "$(property UnitFileState)" disabled
systemd-analyze verify --man=no $unit
zcat /usr/share/man/man1/statusworker.1.gz | grep -q '^.SH COMMANDS' || fail "no manual page"
[ -s $completions/_statusworker ] && [ -s /usr/share/fish/vendor_completions.d/statusworker.fish ] || fail "no completion"
is "bash's completion" "$(bash -c '. /usr/share/bash-completion/completions/statusworker
  COMP_WORDS=(statusworker provi) COMP_CWORD=1; _statusworker; echo "${COMPREPLY[*]}"' 2>/dev/null)" provision
is "the version in the bill of materials" \
  "$(grep -A9 '"component": {' /usr/share/doc/statusworker/bom.cdx.json | sed -n 's/.*"version": "\(.*\)".*/\1/p' | head -n 1)" v0.0.1

echo "- a start without a token fails"
systemctl start $unit 2>/dev/null && fail "it started"
is "AssertResult" "$(property AssertResult)" no

echo "- a start with a bad setting fails, and is not repeated"
printf '\nconcurency: 3\n' >>$conf/config.yaml
echo c4nary-api-token >$conf/api-token
chmod 600 $conf/api-token
systemctl start $unit 2>/dev/null && fail "it started"
is "ExecMainStatus" "$(property ExecMainStatus)" 2
is "ActiveState" "$(property ActiveState)" failed
journalctl --quiet --unit $unit --output cat | grep 'concurency' | tail -n 1 | sed 's/^/  /' | grep . || fail "no reason is logged"

echo "- it waits for NATS, and is active when it works"
cp config.yaml $conf/config.yaml
cp seed $conf/nats/seed
chmod 600 $conf/nats/seed
nats() { systemd-run --quiet --collect --unit nats /in/nats-server --config /in/nats.conf; }
operator=(--config $conf/config.yaml --nats-nkey /in/seed)
nats
statusworker provision "${operator[@]}" --timeout 20s >/dev/null 2>&1
systemctl stop nats
systemd-run --quiet --collect --unit vendor statusworker simulator --token c4nary-api-token --after 2s --certificate /srv/vendor
timeout 10 sh -c 'until [ -s /srv/vendor/certificate.pem ]; do sleep 0.1; done'
chmod 755 /srv/vendor
systemctl enable --quiet $unit
systemctl start --no-block $unit
until_is StatusText 'waiting for NATS*'
is ActiveState "$(property ActiveState)" activating
nats
until_is ActiveState active
until_is StatusText working
[ "$(stat --format %u "/proc/$(property MainPID)")" -ge 61184 ] || fail "the process has no dynamic user"
grep -q '^CapEff:\s*0*$' "/proc/$(property MainPID)/status" || fail "the process has capabilities"
for file in /etc/statusworker/api-token /etc/statusworker/nats/seed; do
  is "the mode of $file" "$(stat --format '%U %a' $file)" "root 600"
done
systemctl status --no-pager --lines 3 $unit | sed 's/^/  /'

echo "- it processes an interaction"
id=$(cat /proc/sys/kernel/random/uuid)
statusworker declare "${operator[@]}" --type chat "$id" 2>/dev/null
timeout 30 statusworker show "${operator[@]}" --watch --output ndjson "$id" | tail -n 1 >/tmp/shown
grep -q '"processed"' /tmp/shown || fail "the interaction is: $(cat /tmp/shown)"
statusworker show "${operator[@]}" "$id" | sed 's/^/  /'

echo "- its watchdog sees it"
[ "$(property WatchdogTimestampMonotonic)" -gt 0 ] || fail "no watchdog"
systemd-analyze security --no-pager $unit | tail -n 1 | sed 's/^/  /'

echo "- an upgrade restarts it, and keeps the configuration"
before=$(property MainPID)
install 2
until_is MainPID "[!0]*"
timeout 30 bash -c "while [ \$(systemctl show --value --property MainPID $unit) = $before ]; do sleep 0.1; done"
until_is ActiveState active
is "the version" "$(statusworker version)" "statusworker v0.0.2"
cmp config.yaml $conf/config.yaml || fail "the configuration is replaced"
is "UnitFileState" "$(property UnitFileState)" enabled

echo "- SIGTERM ends it in order"
pid=$(property MainPID)
systemctl stop $unit
is "Result" "$(property Result)" success
is "ExecMainStatus" "$(property ExecMainStatus)" 0
journalctl --quiet --output cat _PID="$pid" | grep -o 'INFO  stopped.*' | cut -c 1-90 | sed 's/^/  /' | grep . || fail "it does not log its end"
if journalctl --quiet --unit $unit | grep -q c4nary; then fail "the journal has the token"; fi

echo "- a removal stops it, and keeps the configuration and the credentials"
systemctl start $unit
remove
is "ActiveState" "$(property ActiveState)" inactive
[ ! -e /usr/bin/statusworker ] && [ ! -e /usr/lib/systemd/system/$unit ] || fail "files are left"
[ ! -e /etc/systemd/system/multi-user.target.wants/$unit ] || fail "the unit is enabled"
[ -e $conf/api-token ] || fail "the token is gone"
cmp config.yaml $conf/config.yaml 2>/dev/null || cmp config.yaml $conf/config.yaml.rpmsave || fail "the configuration is gone"
if [ "$packager" = deb ]; then
  echo "- a purge deletes them"
  dpkg --purge statusworker >/dev/null
  [ ! -e $conf ] || fail "$conf is left"
fi
systemctl stop nats vendor
rm -rf $conf /var/tmp/jetstream /srv/vendor
journalctl --quiet --rotate --vacuum-time=1s >/dev/null 2>&1
