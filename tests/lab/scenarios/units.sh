# SPDX-License-Identifier: Apache-2.0
# hosts: 1
# root: systemd
# engines: trixie
# The Debian package on a host that systemd boots: the units start before Docker and stop after it, hold the daemons to
# what is promised, bring them back, and leave nothing behind. The README's changes for more rights are tried as written.
# shellcheck shell=bash source=tests/lab/lib.sh disable=SC2016,SC2119,SC2154,SC2317

deb=(/plugins/mynetworkplugin_*.deb)
# Before systemd is up: what an image builder does.
if [ "${1:-}" = prepare ]; then
	rm -f /usr/sbin/policy-rc.d
	dpkg -i "${deb[0]}"
	exit
fi
. /lab/lib.sh

property() { systemctl show -P "$2" "$1"; }
pid_of() { property "$1.service" MainPID; }
both_active() { systemctl -q is-active {mynetworkplugin,myipamplugin}.{socket,service}; }
usec() { property "$1" "$2TimestampMonotonic"; }
engine_answers() { within 120 docker version; }
# log_says NAME REGEX: since the service's last start.
log_says() { journalctl -q -b _SYSTEMD_INVOCATION_ID="$(property "$1.service" InvocationID)" | grep -Eq -- "$2"; }
# comes_back NAME PID: the service runs again, as another process.
comes_back() { systemctl -q is-active "$1.service" && [ "$(pid_of "$1")" != "$2" ] && [ "$(pid_of "$1")" != 0 ]; }

# edit UNIT < LINES: what systemctl edit does with what is typed.
edit() {
	mkdir -p "/etc/systemd/system/$1.d"
	cat >"/etc/systemd/system/$1.d/override.conf"
	systemctl daemon-reload
}
unedit() {
	rm -r "/etc/systemd/system/$1.d"
	systemctl daemon-reload
}
# configure NAME [JSON]: the daemon's configuration; as the package brings it if none is given.
configure() {
	[ -e "/run/lab/$1.json" ] || cp "/etc/$1.json" /run/lab/
	if [ -n "${2:-}" ]; then echo "$2" >"/etc/$1.json"; else cp "/run/lab/$1.json" /etc/; fi
}
# readme_lines N: the Nth block of the README that is to be added with systemctl edit mynetworkplugin.
readme_lines() {
	awk -v n="$1" '/^```/ { on = 0 } on { print } /^# systemctl edit mynetworkplugin / { on = ++seen == n }' /project/README.md
}

# ---- boot ------------------------------------------------------------------------------------------------------------
is "systemd is PID 1" "$(cat /proc/1/comm)" systemd
check "the package is installed" dpkg -s mynetworkplugin || die "no package"
check "both sockets and both services are active after boot, with nobody's help" within 60 both_active ||
	die "$(systemctl status --no-pager {mynetworkplugin,myipamplugin}.{socket,service})"
check "so is Docker" engine_answers || die "$(journalctl -u docker --no-pager | tail -n 30)"
is "the four units are enabled" \
	"$(systemctl is-enabled {mynetworkplugin,myipamplugin}.{socket,service} | sort | uniq -c | xargs)" "4 enabled"
starts_first() {
	local name
	for name in mynetworkplugin myipamplugin; do
		[ "$(usec "$name.socket" ActiveEnter)" -lt "$(usec docker.service ExecMainStart)" ] &&
			[ "$(usec "$name.service" ActiveEnter)" -lt "$(usec docker.service ExecMainStart)" ] || return
	done
}
check "sockets and daemons were ready before Docker was started" starts_first
is "systemd has nothing to complain about in the units" \
	"$(journalctl -q -b -t systemd | grep -E 'my(network|ipam)plugin' | grep -Ei 'unknown|ignoring|failed|invalid')" ""
make_image

# ---- confined --------------------------------------------------------------------------------------------------------
# facts NAME: what the kernel says of the daemon's rights.
facts() {
	awk -F '[:\t]+' '/^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):/ { sub(/^0+/, "", $2); printf "%s=%s ", $1, $2 }' \
		"/proc/$(pid_of "$1")/status"
}
for name in mynetworkplugin myipamplugin; do
	is "the socket of $name belongs to root alone" "$(stat -c '%a %U:%G' /run/docker/plugins/$name.sock)" "600 root:root"
	is "the state folder of $name too" "$(stat -c '%a %U:%G' /var/lib/$name)" "700 root:root"
done
is "mynetworkplugin has CAP_NET_ADMIN and no other, and a filter of system calls" "$(facts mynetworkplugin)" \
	"CapInh= CapPrm=1000 CapEff=1000 CapBnd=1000 CapAmb= NoNewPrivs=1 Seccomp=2 "
is "myipamplugin has no capability, and a filter of system calls" "$(facts myipamplugin)" \
	"CapInh= CapPrm= CapEff= CapBnd= CapAmb= NoNewPrivs=1 Seccomp=2 "
exposure() { systemd-analyze --no-pager security "$1.service" | sed -n 's/.*Overall exposure level for .*: \([0-9.]*\) .*/\1/p'; }
for name in mynetworkplugin myipamplugin; do
	value=$(exposure $name)
	say "exposure of $name: $value"
	check "systemd-analyze security gives $name at most 1.5" awk -v v="$value" 'BEGIN { exit !(v > 0 && v <= 1.5) }'
	for dir in / /etc /usr /var /var/lib /home /root /run /run/docker/plugins /dev /sys /proc/sys/kernel /opt; do
		nsenter -t "$(pid_of $name)" -m sh -c "echo x 2>/dev/null >$dir/written" && echo "$dir"
	done >/run/lab/writable 2>/dev/null
	is "a root shell in the place of $name could write nowhere outside its state" "$(cat /run/lab/writable)" ""
	fails "and would not see the engine's socket" nsenter -t "$(pid_of $name)" -m test -e /run/docker.sock
done

# The lab's hosts have iptables-legacy, which needs more than the unit gives. That is said, and how to get it; the rest
# is tried without rules.
refuses "where iptables is iptables-legacy, a network is refused with what is missing" "CAP_NET_RAW" \
	create v100 --subnet 10.100.0.0/24 -o parent=eth0 -o vlan=100
configure mynetworkplugin '{ "firewall": "off" }'
check "without firewall rules it starts" systemctl restart mynetworkplugin.service
iptables -I DOCKER-USER -j ACCEPT # then the operator has a rule

# ---- at work ---------------------------------------------------------------------------------------------------------
touch /run/lab/marker
check "a network on VLAN 100 is created" create v100 --subnet 10.100.0.0/24 --gateway 10.100.0.1 -o parent=eth0 -o vlan=100 ||
	die "nothing works without a network: $(journalctl -q -u mynetworkplugin | tail -n 5)"
check "a routed network is created" create rt --subnet 10.8.0.0/24 --gateway 10.8.0.1
check "a container starts" run c1 v100 --ip 10.100.0.11 --restart always
check "another one" run c2 v100 --restart always
look c1
is "it has the address it was given" "$addr4 $default4" "10.100.0.11/24 10.100.0.1 eth0"
look c2
other=${addr4%/*}
check "the two reach each other" pings c1 "$other"
check "a container on the routed network starts" run c3 rt --ip 10.8.0.11
check "the host reaches it" ping -q -n -c 1 -w 8 10.8.0.11
check "and it is removed" docker rm -f c3
written() {
	find /old/mnt/upper /run -xdev -newer /run/lab/marker ! -type d \
		! -path '/run/lab/*' ! -path '/run/containerd/*' ! -path '/run/docker/[!p]*' ! -path '/run/systemd/*' \
		! -path '*/log/journal/*' ! -path '/run/udev/*' ! -path '/old/mnt/upper/var/lib/systemd/*'
}
is "in all of this no file was written but the daemons' state" \
	"$(written | grep -v '^/old/mnt/upper/var/lib/\(mynetworkplugin\|myipamplugin\)/')" ""
check "which was" test "$(written | grep -c '^/old/mnt/upper/var/lib/my')" -ge 2

# ---- killed, stopped, restarted --------------------------------------------------------------------------------------
for name in mynetworkplugin myipamplugin; do
	pid=$(pid_of $name)
	systemctl kill -s KILL $name.service
	check "with $name killed, containers reach each other" pings c1 "$other"
	check "$name comes back by itself" within 10 comes_back $name "$pid"
done
both_killed() {
	systemctl kill -s KILL mynetworkplugin.service myipamplugin.service
	create v101 --subnet 10.101.0.0/24 -o parent=eth0 -o vlan=101
}
check "a network is created although both were killed a moment before" both_killed
check "it is removed" docker network rm v101
systemctl stop mynetworkplugin.service myipamplugin.service
check "with both stopped, containers reach each other" pings c1 "$other"
check "a container starts: who asks the socket starts the daemon" run c3 v100
check "both run" both_active
check "and it is removed" docker rm -f c3
check "both are restarted" systemctl restart mynetworkplugin.service myipamplugin.service
check "containers reach each other" pings c1 "$other"
refuses "an address that is held is still held" "Address already in use" \
	docker run --rm --network v100 --ip 10.100.0.11 lab true

# ---- a wrong configuration -------------------------------------------------------------------------------------------
configure mynetworkplugin '{ "log-levl": "debug" }'
fails "with a key that does not exist, mynetworkplugin does not start" systemctl restart mynetworkplugin.service
is "it is not tried again and again" "$(property mynetworkplugin.service NRestarts) $(property mynetworkplugin.service ActiveState)" "0 failed"
check "its journal names the key" log_says mynetworkplugin "log-levl"
refuses "Docker is not kept waiting, but told why" "mynetworkplugin cannot start: .*log-levl" create never
check "containers reach each other all the same" pings c1 "$other"
configure mynetworkplugin '{ "firewall": "off" }'
check "when that is mended, starting it is enough, even after Docker has asked in vain" systemctl start mynetworkplugin.service
check "socket and service are active" both_active
check "a container starts" run c3 v100
check "and it is removed" docker rm -f c3

# ---- a state that cannot be read ---------------------------------------------------------------------------------------
systemctl stop mynetworkplugin.socket
check "stopping the socket stops the service" test "$(property mynetworkplugin.service ActiveState)" = inactive
cp -a /var/lib/mynetworkplugin /run/lab/state
for file in /var/lib/mynetworkplugin/*.db; do echo "this is no database" >"$file"; done
systemctl start mynetworkplugin.service
like "with a broken state it does not start, but is tried again" "$(property mynetworkplugin.service ActiveState)" "activating"
refuses "Docker is told why" "mynetworkplugin cannot start: .*mynetworkplugin.db" create never
check "Docker restarts all the same" systemctl restart docker.service
check "and answers" engine_answers
for file in /run/lab/state/*; do
	cp "$file" /var/lib/mynetworkplugin/.new && mv /var/lib/mynetworkplugin/.new "/var/lib/mynetworkplugin/${file##*/}"
done
check "when the state is there again, the service comes back by itself" within 20 both_active
check "containers start again" within 60 docker start c1 c2
rm -f /run/lab/pid.*
look c1
is "with their address" "$addr4" 10.100.0.11/24
look c2
other=${addr4%/*}
check "they reach each other" pings c1 "$other"

# ---- upgrade ---------------------------------------------------------------------------------------------------------
pid=$(pid_of mynetworkplugin)
check "the package is installed over itself" dpkg -i "${deb[0]}"
check "the daemon is another process" comes_back mynetworkplugin "$pid"
check "both are active" both_active
check "containers reach each other" pings c1 "$other"
is "the networks are known, nothing is wrong with them, and no other is half gone" \
	"$(mynetworkplugin status | awk 'NR > 1 { print $2, $NF }' | sort | xargs)" "l2 - routed -"
check "a container starts" run c3 v100
check "and it is removed" docker rm -f c3

# ---- shutdown and boot -----------------------------------------------------------------------------------------------
# What a shutdown does to these units, in one transaction; and then what a boot does.
printf '[Unit]\nRequires=sysinit.target\nAllowIsolate=yes\n' >/etc/systemd/system/down.target
systemctl daemon-reload
check "all services are stopped at once, as a shutdown does" systemctl isolate down.target
check "and nothing of it is left running" within 60 bash -c '! systemctl -q is-active docker.service {mynetworkplugin,myipamplugin}.{socket,service}'
stops_last() {
	local name
	for name in mynetworkplugin myipamplugin; do
		[ "$(usec "$name.service" ActiveExit)" -gt "$(usec docker.service InactiveEnter)" ] || return
	done
}
check "the daemons were told to stop when Docker had ended" stops_last
for name in mynetworkplugin myipamplugin; do
	is "$name ended well" "$(property $name.service Result) $(property $name.service ActiveState)" "success inactive"
done
check "all is started again" systemctl isolate multi-user.target
check "Docker answers" engine_answers
check "everything is active" both_active
check "sockets and daemons were ready before Docker was started" starts_first
check "the container comes back by itself" within 30 docker exec c1 true
rm -f /run/lab/pid.*
look c1
is "with its address" "$addr4" 10.100.0.11/24
look c2
other=${addr4%/*}
check "the two reach each other" pings c1 "$other"

# ---- more rights, as the README says ---------------------------------------------------------------------------------
configure mynetworkplugin
check "as the package brings it, the daemon starts" systemctl restart mynetworkplugin.service
check "it says what it lacks" log_says mynetworkplugin "CAP_NET_RAW is missing"
fails "and there are no rules in iptables-legacy" our_rules
like "the README has the lines for it" "$(readme_lines 2)" "CAP_NET_RAW"
readme_lines 2 | edit mynetworkplugin.service
check "with the README's lines for raw sockets it starts" systemctl restart mynetworkplugin.service
is "it has CAP_NET_RAW as well" "$(facts mynetworkplugin | grep -o 'CapEff=[0-9a-f]*')" "CapEff=3000"
check "its rules are in iptables-legacy" within 10 our_rules
check "a network that is probed is created" create v102 --subnet 10.102.0.0/24 --gateway 10.102.0.1 -o parent=eth0 -o vlan=102 \
	--ipam-opt probe=500ms
ip netns add stranger
ip link add stranger0 type veth peer name eth0 netns stranger
ip link set stranger0 master "$(bridge_of eth0.102)" up
ip -n stranger addr add 10.102.0.2/24 dev eth0
ip -n stranger link set eth0 up
check "a container starts where a stranger has the first address" run c3 v102
look c3
is "it gets the one behind" "$addr4" 10.102.0.3/24
check "and the journal tells who was in the way" log_says myipamplugin "10.102.0.2 .*in use"
docker rm -f c3 >/dev/null
ip netns del stranger
ip link del stranger0 2>/dev/null
check "the network is removed" docker network rm v102
unedit mynetworkplugin.service

configure myipamplugin '{ "socket-group": "docker", "metrics-address": "127.0.0.1:9464" }'
printf '[Socket]\nSocketGroup=docker\nSocketMode=0660\n' | edit myipamplugin.socket
printf '[Service]\nRestrictAddressFamilies=AF_INET AF_INET6\nIPAddressAllow=localhost\n' | edit myipamplugin.service
systemctl stop myipamplugin.service
check "with socket-group and metrics-address, as the documents say, myipamplugin starts" \
	systemctl restart myipamplugin.socket myipamplugin.service
is "its socket belongs to the group" "$(stat -c '%a %U:%G' /run/docker/plugins/myipamplugin.sock)" "660 root:docker"
as_member() { setpriv --reuid nobody --regid "$1" --clear-groups curl -sS -o /dev/null -w '%{http_code}' --unix-socket /run/docker/plugins/myipamplugin.sock http://d/metrics; }
is "a member of the group is served" "$(as_member docker)" 200
fails "another is not" as_member nogroup
is "its figures are served on the address" "$(curl -sS -o /dev/null -w '%{http_code}' http://127.0.0.1:9464/metrics)" 200
configure myipamplugin
unedit myipamplugin.socket
unedit myipamplugin.service
check "without, it starts again" systemctl restart myipamplugin.socket myipamplugin.service

configure mynetworkplugin '{ "attach": "direct", "firewall": "off" }'
like "the README has the lines for attach=direct" "$(readme_lines 1)" "CAP_SYS_ADMIN"
readme_lines 1 | edit mynetworkplugin.service
check "with attach=direct and the README's lines it starts" systemctl restart mynetworkplugin.service
is "it has CAP_SYS_ADMIN as well" "$(facts mynetworkplugin | grep -o 'CapEff=[0-9a-f]*')" "CapEff=203000"
check "a container starts" run c3 v100 --ip 10.100.0.77
name=eth0
[ "$(docker version -f '{{.Server.Version}}' | cut -d. -f1)" -lt 28 ] || name=lan0
look c3 $name
is "its link is made in it from engine 28 on" "$interfaces $addr4" "$name 10.100.0.77/24"
check "it reaches the others" pings c3 "$other"
check "and it is removed" docker rm -f c3
configure mynetworkplugin '{ "firewall": "off" }'
unedit mynetworkplugin.service
check "without, it starts again" systemctl restart mynetworkplugin.service

# ---- removed ---------------------------------------------------------------------------------------------------------
check "the package is removed" dpkg -r mynetworkplugin
is "no socket is left for Docker to wait at" "$(ls /run/docker/plugins 2>/dev/null)" ""
check "containers reach each other" pings c1 "$other"
check "the state is kept" test -s /var/lib/mynetworkplugin -a -s /var/lib/myipamplugin
check "it is installed again" dpkg -i "${deb[0]}"
check "and runs at once" within 10 both_active
check "what was there is known: a container starts" run c3 v100
check "all containers are removed" docker rm -f c1 c2 c3
check "all networks are removed" docker network rm v100 rt
no_links() { [ -z "$(our_links)" ]; }
check "no link of ours is left" within 10 no_links
check "the package is purged" dpkg -P mynetworkplugin
is "no file of it is left" "$(find / -xdev \( -path /share -o -path /old -o -path /lab -o -path /project -o -path /plugins \
	-o -path /proc -o -path /sys -o -path /run \) -prune -o \( -name '*mynetworkplugin*' -o -name '*myipamplugin*' \) -print;
	find /run -xdev -path /run/lab -prune -o -name '*my[ni]*plugin*' -print)" ""
is "systemd knows no unit of it" "$(systemctl list-units --all --no-legend 'my*plugin*')" ""
check "Docker goes on" docker run --rm --network none lab true
finish
