{{/*
One DaemonSet of the probe. In: root, name, role (control or isolated), labels by which its pods are selected, and runtime, an entry
of probe.runtimes. It runs on every node, whatever taints it has: tenants' pods might, too.
*/}}
{{- define "steading.probe" }}
{{- $values := .root.Values }}
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- merge (dict) .labels (include "steading.labels" .root | fromYaml) | toYaml | nindent 4 }}
spec:
  selector:
    matchLabels:
      {{- toYaml .labels | nindent 6 }}
  updateStrategy:
    rollingUpdate: { maxUnavailable: 10% }
  template:
    metadata:
      labels:
        {{- merge (dict) .labels (dict "sidecar.istio.io/inject" "false") $values.podLabels | toYaml | nindent 8 }}
      {{- with $values.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      serviceAccountName: steading-probe
      automountServiceAccountToken: false
      # An isolated pod can ask nobody where the Services are.
      enableServiceLinks: true
      terminationGracePeriodSeconds: 5
      {{- if eq .role "isolated" }}
      # From time to time it ends process 1, so that the kubelet gives it a new network: only a new pod finds an enforcer that has died.
      shareProcessNamespace: true
      {{- end }}
      {{- with .runtime.runtimeClassName }}
      runtimeClassName: {{ . }}
      {{- end }}
      {{- with $values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with $values.image.pullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      {{- with .runtime.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      tolerations:
        - operator: Exists
      securityContext:
        runAsNonRoot: true
        runAsUser: 65532
        runAsGroup: 65532
        fsGroup: 65532
        seccompProfile: { type: RuntimeDefault }
      containers:
        - name: probe
          image: {{ include "steading.image" .root }}
          imagePullPolicy: {{ $values.image.pullPolicy }}
          command: [/probe, {{ .role }}]
          env:
            - name: STEADING_NODE
              valueFrom: { fieldRef: { fieldPath: spec.nodeName } }
            - name: STEADING_NODE_ADDRESS
              valueFrom: { fieldRef: { fieldPath: status.hostIP } }
            - name: STEADING_PROBE_OUTSIDE
              value: {{ join "," $values.probe.outside | quote }}
            {{- if eq .role "isolated" }}
            - name: STEADING_PROBE_PERIOD
              value: {{ $values.probe.period | quote }}
            - name: STEADING_PROBE_RENEWAL
              value: {{ $values.probe.renewal | quote }}
            {{- end }}
          {{- if eq .role "isolated" }}
          # What is not shown is not ready. The verdict is also what `kubectl describe` shows of a probe that fails.
          readinessProbe:
            exec: { command: [/probe, verdict] }
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 1
          volumeMounts:
            - { name: verdict, mountPath: /run/probe }
          {{- else }}
          readinessProbe:
            tcpSocket: { port: 8081 }
            periodSeconds: 10
          {{- end }}
          resources:
            {{- toYaml $values.probe.resources | nindent 12 }}
          securityContext:
            allowPrivilegeEscalation: false
            capabilities: { drop: [ALL] }
            privileged: false
            readOnlyRootFilesystem: true
      {{- if eq .role "isolated" }}
      volumes:
        # What the first second showed, for as long as this network of the pod lives: its program may be started again.
        - name: verdict
          emptyDir: { medium: Memory, sizeLimit: 1Mi }
      {{- end }}
{{- end }}
