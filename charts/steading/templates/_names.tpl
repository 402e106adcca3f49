{{/* Labels by which the operator's pods are selected; they never change. */}}
{{- define "steading.selector" -}}
app.kubernetes.io/name: steading
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of everything in this chart. */}}
{{- define "steading.labels" -}}
{{ include "steading.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* The operator's image. A digest wins over a tag, because it cannot be moved. */}}
{{- define "steading.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/*
Where CloudNativePG runs and as whom, as YAML. An upgrade with `--reuse-values` from a version without these values has none, so their
defaults stand here too.
*/}}
{{- define "steading.cloudNativePG" -}}
{{- $defaults := dict "namespace" "cnpg-system" "operatorServiceAccount" "cnpg-manager" "pluginServiceAccount" "plugin-barman-cloud" }}
{{- merge (dict) (.Values.cloudNativePG | default dict) $defaults | toYaml }}
{{- end }}
