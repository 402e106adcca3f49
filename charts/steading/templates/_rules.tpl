{{/*
What a member reads in a stack: every built-in kind of a namespace but Secrets and pods/log, and what a database is made of. A
list, no wildcard: a new kind or subresource (exec among them) must not come in by itself.
*/}}
{{- define "steading.stack-reader" -}}
# The stack namespace itself, with what Pod Security it has. A list of namespaces is not of one namespace, so it is not here.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
- apiGroups: [""]
  resources:
    - configmaps
    - endpoints
    - events
    - limitranges
    - persistentvolumeclaims
    - pods
    - replicationcontrollers
    - resourcequotas
    - serviceaccounts
    - services
  verbs: [get, list, watch]
- apiGroups: [apps]
  resources: [controllerrevisions, daemonsets, deployments, replicasets, statefulsets]
  verbs: [get, list, watch]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch]
- apiGroups: [barmancloud.cnpg.io]
  resources: [objectstores]
  verbs: [get, list, watch]
- apiGroups: [batch]
  resources: [cronjobs, jobs]
  verbs: [get, list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [get, list, watch]
- apiGroups: [networking.k8s.io]
  resources: [ingresses, networkpolicies]
  verbs: [get, list, watch]
- apiGroups: [steading.dev]
  resources: [agentsets]
  verbs: [get, list, watch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch]
- apiGroups: [postgresql.cnpg.io]
  resources: [backups, clusters, databaseroles, scheduledbackups]
  verbs: [get, list, watch]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [rolebindings, roles]
  verbs: [get, list, watch]
{{- end }}

{{/* The names of the fence's policies, which are also those of their bindings. */}}
{{- define "steading.policies" -}}
{{- range $document := splitList "\n---\n" (.Files.Get "files/fence.yaml") }}
- {{ (fromYaml $document).metadata.name }}
{{- end }}
{{- end }}
