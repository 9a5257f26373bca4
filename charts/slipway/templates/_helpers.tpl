{{/* Labels of all objects of a program, for a dict of root and name. Users can't override the first, which selectors use. */}}
{{- define "slipway.labels" -}}
{{- $own := dict
  "app.kubernetes.io/name" .name
  "app.kubernetes.io/part-of" "slipway"
  "app.kubernetes.io/instance" .root.Release.Name
  "app.kubernetes.io/version" .root.Chart.AppVersion
  "app.kubernetes.io/managed-by" (.managedBy | default .root.Release.Service)
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_"))
}}
{{- merge $own (.labels | default dict) (.root.Values.commonLabels | default dict) | toYaml }}
{{- end }}

{{/*
Metadata of an object: a dict of root and name; for objects of a namespace with `namespaced: true`, or `namespace` if it
isn't the release's own. `labels` and `annotations` are further ones.
*/}}
{{- define "slipway.metadata" -}}
name: {{ .name | quote }}
{{- if or .namespaced .namespace }}
namespace: {{ .namespace | default .root.Release.Namespace | quote }}
{{- end }}
labels:
  {{- include "slipway.labels" . | nindent 2 }}
{{- with include "slipway.annotations" . | fromYaml }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Annotations, for a dict of root and annotations. Users can't override those that the chart needs, as with labels. */}}
{{- define "slipway.annotations" -}}
{{- merge (dict) (.annotations | default dict) (.root.Values.commonAnnotations | default dict) | toYaml }}
{{- end }}

{{/* A value's strings, as JSON: without null, and without the empty string that helm's --set makes of `{}`. */}}
{{- define "slipway.list" -}}
{{ . | default list | compact | toJson }}
{{- end }}

{{/* Rights of one of our ServiceAccounts in a namespace: a dict of root, name, namespace, account, and the rules' text. */}}
{{- define "slipway.roleFor" }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  {{- include "slipway.metadata" . | nindent 2 }}
rules:
  {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  {{- include "slipway.metadata" . | nindent 2 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: {{ .name | quote }}}
subjects: [{kind: ServiceAccount, name: {{ .account | quote }}, namespace: {{ .root.Release.Namespace | quote }}}]
{{- end }}

{{/* An image's full name, for a dict of root and image. */}}
{{- define "slipway.image" -}}
{{- $images := .root.Values.images -}}
{{- $registry := $images.mirror | default .image.registry | default $images.registry | default "" | trimSuffix "/" -}}
{{- $tag := .image.tag | default $images.tag | default .root.Chart.AppVersion -}}
{{- with $registry }}{{ . }}/{{ end }}{{ .image.repository }}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ $tag }}{{ end }}
{{- end }}

{{/* The common part of both programs' pods, for a dict of root, name and program, which has the program's values. */}}
{{- define "slipway.pod" -}}
serviceAccountName: {{ .name | quote }}
automountServiceAccountToken: true
enableServiceLinks: false
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .program.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .program.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .program.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
{{- if .program.topologySpreadConstraints }}
  {{- toYaml .program.topologySpreadConstraints | nindent 2 }}
{{- else }}
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    matchLabelKeys: [pod-template-hash] # while they are replaced, the new ones are counted alone
    labelSelector: {matchLabels: {app.kubernetes.io/name: {{ .name | quote }}}}
{{- end }}
affinity:
{{- if .program.affinity }}
  {{- toYaml .program.affinity | nindent 2 }}
{{- else }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector: {matchLabels: {app.kubernetes.io/name: {{ .name | quote }}}}
{{- end }}
securityContext:
  runAsNonRoot: true
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* The common part of their containers. */}}
{{- define "slipway.container" -}}
image: {{ include "slipway.image" (dict "root" .root "image" .root.Values.images.operator) | quote }}
imagePullPolicy: {{ .root.Values.images.pullPolicy }}
startupProbe: {httpGet: {path: /livez, port: management}, periodSeconds: 1, failureThreshold: 60}
readinessProbe: {httpGet: {path: /readyz, port: management}, periodSeconds: 2, timeoutSeconds: 2}
livenessProbe: {httpGet: {path: /livez, port: management}, periodSeconds: 10, timeoutSeconds: 5}
terminationMessagePolicy: FallbackToLogsOnError
resources:
  {{- toYaml .program.resources | nindent 2 }}
{{ include "slipway.containerSecurity" . }}
{{- end }}

{{/*
Variables of a container: a dict of own, which is the text of a list, and given, which wins. Each name is there once: the
API server's server-side apply refuses two.
*/}}
{{- define "slipway.env" -}}
{{- $given := list }}
{{- range .given }}{{ $given = append $given .name }}{{ end }}
{{- $env := list }}
{{- range fromYamlArray .own }}
{{- if not (has .name $given) }}{{ $env = append $env . }}{{ end }}
{{- end }}
{{- concat $env (.given | default list) | toYaml }}
{{- end }}

{{/* No user id is fixed: the image has one, and OpenShift assigns another. */}}
{{- define "slipway.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Labels and annotations of their pods. */}}
{{- define "slipway.podMetadata" -}}
labels:
  {{- include "slipway.labels" (merge (dict "labels" .program.podLabels) .) | nindent 2 }}
{{- with merge (dict) (.podAnnotations | default dict) (.program.podAnnotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Peers that may scrape metrics: Slipway's own namespace, and Prometheus'. */}}
{{- define "slipway.metricsSources" -}}
- podSelector: {}
{{- with include "slipway.list" .Values.monitoring.prometheusNamespaces | fromJsonArray }}
- namespaceSelector:
    matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: {{ toJson . }}}]
{{- end }}
{{- end }}

{{/* A ClusterServingRuntime without its name, for a dict of root and name. */}}
{{- define "slipway.runtime" -}}
{{- $runtime := index .root.Values.runtimes .name -}}
{{- $it := .root.Files.Get (printf "runtimes/slipway-%s.yaml" .name) | fromYaml -}}
{{- $_ := set (first $it.spec.containers) "image" (include "slipway.image" (dict "root" .root "image" $runtime.image)) -}}
{{- $_ := set (first $it.spec.containers) "imagePullPolicy" .root.Values.images.pullPolicy -}}
{{- with .root.Values.images.pullSecrets -}}
{{- $_ := set $it.spec "imagePullSecrets" . -}}
{{- end -}}
{{- $container := first $it.spec.containers -}}
{{- if and .root.Values.runbooks.url (eq "serve" (first ($container.args | default list) | default "")) -}}{{/* by slipway-runtime */}}
{{- $runbooks := dict "name" "SLIPWAY_RUNBOOKS" "value" .root.Values.runbooks.url -}}
{{- $_ := set $container "env" (append ($container.env | default list) $runbooks) -}}
{{- end -}}
{{- if not .root.Values.fixedUserIds -}}
{{- range $it.spec.containers -}}
{{- $_ := set . "securityContext" (omit (.securityContext | default dict) "runAsUser" "runAsGroup") -}}
{{- end -}}
{{- end -}}
{{- toYaml $it -}}
{{- end }}

{{/* The runtime's name: runtimes that differ have different names, since KServe replaces the pods of one that changes. */}}
{{- define "slipway.runtimeName" -}}
{{- $spec := (include "slipway.runtime" . | fromYaml).spec -}}
slipway-{{ .name }}-{{ .root.Chart.AppVersion }}-{{ toJson $spec | sha256sum | trunc 8 }}
{{- end }}

{{- define "slipway.runtimeMetadata" -}}
{{- $labels := dict
  "app.kubernetes.io/name" (printf "slipway-%s" .name)
  "app.kubernetes.io/component" "runtime"
  "app.kubernetes.io/part-of" "slipway"
  "app.kubernetes.io/version" .root.Chart.AppVersion
  "app.kubernetes.io/managed-by" "slipway"
  "slipway.dev/runtime" (printf "slipway-%s" .name)
}}
metadata:
  name: {{ include "slipway.runtimeName" . }}
  labels:
    {{- merge $labels (.root.Values.commonLabels | default dict) | toYaml | nindent 4 }}
  {{- with .root.Values.commonAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* All runtimes that are enabled: a file for each, which the operator reads. */}}
{{- define "slipway.runtimes" -}}
{{- $files := dict -}}
{{- range $name, $runtime := .Values.runtimes -}}
{{- if $runtime.enabled -}}
{{- $it := dict "root" $ "name" $name -}}
{{- $whole := mergeOverwrite (include "slipway.runtime" $it | fromYaml) (include "slipway.runtimeMetadata" $it | fromYaml) -}}
{{- $_ := set $files (printf "%s.json" $name) (toPrettyJson $whole) -}}
{{- end -}}
{{- end -}}
{{- toYaml $files -}}
{{- end }}
