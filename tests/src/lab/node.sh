# Process 1 of a node: makes the node's own view of the machine, then holds its namespaces open.
# Arguments: name, directory, what to replace (host, plain or network), how long to stay (owner, always).
# Writes its number outside the namespace once all is ready.
set -eu
name=$1 directory=$2 view=$3 life=$4
# The old /proc still counts from outside; the shell itself opens it.
read -r outside _ </proc/self/stat
hostname "$name"
case "$view" in
  host)
    for part in run var/lib/libvirt var/cache/libvirt var/log/libvirt etc/libvirt; do
      mount --bind "$directory/root/$part" "/$part"
    done
    ;;
esac
if [ "$view" != network ]; then
  mount --bind "$directory/root/etc/hosts" /etc/hosts
  # An empty one, else libvirtd waits for name servers that it cannot reach.
  if [ -e /etc/resolv.conf ]; then mount --bind "$directory/root/etc/resolv.conf" /etc/resolv.conf; fi
fi
mount -t proc proc /proc
# A fresh /sys shows this network's interfaces; the control groups stay the machine's.
mount --rbind /sys/fs/cgroup "$directory/cgroup"
mount -t sysfs sysfs /sys
mount --move "$directory/cgroup" /sys/fs/cgroup
ip link set lo up
echo "$outside"
exec >/dev/null
# Waiting for a child, not reading: only so does this shell reap what the daemons orphan, and
# libvirt takes an unreaped QEMU for a running one.
case "$life" in
  owner)
    exec 3<&0
    cat <&3 >/dev/null &
    ;;
  always) sleep infinity & ;;
esac
exec </dev/null
wait $!
