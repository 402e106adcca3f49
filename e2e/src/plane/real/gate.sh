# The gate of a node: no packet that opens a connection passes to or from a pod that the enforcer has not judged yet. Until kube-router
# has written its rules, a pod is as open as the other end lets it be. And its first rules may let everything pass: they are written for
# the pods of one moment from the policies' pods of a moment before. The next round, which begins at once if a pod came in between, is
# right. So a pod is judged when its rules were written twice (their chain has another name each time), or once and then not for four
# seconds. If kube-router ends, new pods stay shut off. Networks that hold a pod back until it can be judged need no gate.
# In: the range of the node's pods, and a file that is made once the gate is shut. Runs until it is killed.
set -u
pods=$1
ipset create judged hash:ip
ipset create judged-now hash:ip
fresh="-m conntrack --ctstate NEW -m set ! --match-set judged"
# What a pod sends passes here on its way to others and to the node itself; what it gets, once it is known that it is for the pod.
iptables -w -t mangle -A PREROUTING -s "$pods" $fresh src -j DROP
iptables -w -t mangle -A FORWARD -d "$pods" $fresh dst -j DROP
: >"$2"

# Each line of what is remembered: address, first chain, when it was first seen, whether it is judged.
seen=/run/gate
: >"$seen"
known=
while :; do
  read -r now _ </proc/uptime
  iptables -w -S KUBE-ROUTER-FORWARD 2>/dev/null |
    sed -n 's/.* -d \([0-9.]*\)\/32 .* \(KUBE-POD-FW-[A-Z0-9]*\)$/\1 \2/p' | sort -u |
    awk -v now="$now" '
      remembered { chain[$1] = $2; since[$1] = $3; judged[$1] = $4; next }
      !($1 in since) { print $1, $2, now, 0; next }
      { print $1, chain[$1], since[$1], (judged[$1] || chain[$1] != $2 || now - since[$1] >= 4) }
    ' remembered=1 "$seen" remembered=0 - >"$seen.new"
  mv "$seen.new" "$seen"
  judged=$(awk '$4 { print $1 }' "$seen" | sort -u)
  if [ "$judged" != "$known" ]; then
    { echo "flush judged-now"; for address in $judged; do echo "add judged-now $address"; done; echo "swap judged judged-now"; } | ipset restore
    known=$judged
  fi
  sleep 0.1
done
