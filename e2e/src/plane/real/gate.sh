# The gate of a node: no packet that opens a connection passes to or from a pod for which the enforcer has not written its rules yet.
# kube-router does so 0.1 to 2 s after a pod began to run, and until then such a pod is as open as the other end lets it be; and if it
# ends, new pods would be open for ever. Networks that hold a pod back until it can be judged need no gate.
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
known=
while :; do
  judged=$(iptables -w -S KUBE-ROUTER-FORWARD 2>/dev/null | sed -n 's/.* -d \([0-9.]*\)\/32 .*KUBE-POD-FW-.*/\1/p' | sort -u)
  if [ "$judged" != "$known" ]; then
    { echo "flush judged-now"; for address in $judged; do echo "add judged-now $address"; done; echo "swap judged judged-now"; } | ipset restore
    known=$judged
  fi
  sleep 0.1
done
