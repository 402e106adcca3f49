# Process 1 of a node, in namespaces of its own. In: the name of the node and its directory. Out: a file `up` there, once the node
# can be entered; then it waits and takes in orphans until it is killed, and the whole node with it.
set -eu
name=$1 directory=$2

# Nothing that is mounted from here on is seen outside, but the disks that are mounted there are seen here; within, the mounts of pods must
# be seen by containers.
mount --make-rslave /
mount --make-rshared /
mount -t proc proc /proc

# The kubelet sets these for the whole machine. It may, in copies that end with the node.
for entry in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
  [ -e "/proc/sys/$entry" ] || continue
  copy=$directory/$(echo "$entry" | tr / .)
  cat "/proc/sys/$entry" >"$copy"
  mount --bind "$copy" "/proc/sys/$entry"
done

mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/log
mkdir /run/node
mount --rbind "$directory" /run/node
echo "$name" >/proc/sys/kernel/hostname
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
: >"$directory/up"

# A shell that waits reaps whatever was orphaned.
while :; do
  sleep 3600 &
  wait $!
done
