{{/*
Checks that a schema can't express: values that contradict each other, and a cluster that isn't ready for this release. Each
message names the remedy. Only a real install or upgrade queries the cluster; `helm template` and Argo CD don't.
*/}}
{{- define "slipway.checks" -}}
{{- include "slipway.checkValues" . }}
{{- $view := lookup "rbac.authorization.k8s.io/v1" "ClusterRole" "" "view" }}
{{- if $view }}{{/* every cluster has this role, so a result means that helm can query the cluster */}}
{{- include "slipway.checkOnlyRelease" . }}
{{- include "slipway.checkKinds" . }}
{{- end }}
{{- end }}

{{- define "slipway.checkValues" -}}
{{- $autoscaling := .Values.activator.autoscaling }}
{{- if $autoscaling.enabled }}
{{- if lt (int $autoscaling.maxReplicas) (int .Values.activator.replicas) }}
{{- fail (printf "activator.autoscaling.maxReplicas is %d, less than activator.replicas, which is %d: raise maxReplicas or lower replicas." (int $autoscaling.maxReplicas) (int .Values.activator.replicas)) }}
{{- end }}
{{- if not (or $autoscaling.cpu $autoscaling.memory) }}
{{- fail "activator.autoscaling is enabled, but both cpu and memory are 0: set one of them to a percentage, or disable autoscaling." }}
{{- end }}
{{- end }}
{{- if and .Values.monitoring.podMonitor.enabled .Values.monitoring.serviceMonitor.enabled }}
{{- fail "monitoring.podMonitor and monitoring.serviceMonitor are both enabled, so each metric would be scraped twice: disable one." }}
{{- end }}
{{- $watched := include "slipway.list" .Values.watchNamespaces | fromJsonArray }}
{{- $inspected := include "slipway.list" .Values.planner.inspection.namespaces | fromJsonArray }}
{{- range $inspected }}
{{- if and (eq . "*") (gt (len $inspected) 1) }}
{{- fail "planner.inspection.namespaces has \"*\" and other names: \"*\" alone is all namespaces." }}
{{- end }}
{{- if and $watched (ne . "*") (not (has . $watched)) }}
{{- fail (printf "planner.inspection.namespaces has %s, which is not in watchNamespaces, so no model there is served: remove it, or add it to watchNamespaces." .) }}
{{- end }}
{{- end }}
{{- $taken := list "admin" "cluster-admin" "edit" "view" "slipway-accelerators-view" "slipway-admin" "slipway-edit" "slipway-operator" "slipway-selftest" "slipway-view" }}
{{- range .Values.activator.names }}
{{- if has . $taken }}
{{- fail (printf "activator.names has %s, which is the name of other objects of Slipway, and would replace them: choose another name." .) }}
{{- end }}
{{- end }}
{{- range $program := list "operator" "activator" }}
{{- $names := list }}
{{- range (index $.Values $program).env }}
{{- if has .name $names }}
{{- fail (printf "%s.env has %s twice: remove one of them." $program .name) }}
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{- end }}
{{- $profiles := list }}
{{- range $path, $_ := .Files.Glob "accelerators/*.yaml" }}
{{- range regexSplit "(?m)^---$" ($.Files.Get $path) -1 }}
{{- $profiles = append $profiles (fromYaml .).metadata.name }}
{{- end }}
{{- end }}
{{- range $name, $_ := .Values.accelerators.costPerHour }}
{{- if not (has $name $profiles) }}
{{- fail (printf "accelerators.costPerHour has %s, which is not an AcceleratorProfile of this chart: use one of %s." $name (join ", " (sortAlpha $profiles))) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The programs of two releases would act on the same models, and undo each other's changes. */}}
{{- define "slipway.checkOnlyRelease" -}}
{{- $there := lookup "rbac.authorization.k8s.io/v1" "ClusterRole" "" "slipway-operator" }}
{{- $annotations := ($there.metadata | default dict).annotations | default dict }}
{{- $name := get $annotations "meta.helm.sh/release-name" }}
{{- $namespace := get $annotations "meta.helm.sh/release-namespace" }}
{{- if and $name (ne (printf "%s/%s" $namespace $name) (printf "%s/%s" .Release.Namespace .Release.Name)) }}
{{- fail (printf "Slipway is already installed in this cluster, as release %s in namespace %s, and a cluster can have only one: upgrade that release, or remove it first with `helm uninstall %s --namespace %s`; models continue to serve meanwhile." $name $namespace $name $namespace) }}
{{- end }}
{{- end }}

{{/* helm looks up every kind before it creates anything, and would report each object of an unknown kind separately. */}}
{{- define "slipway.checkKinds" -}}
{{- if not (.Capabilities.APIVersions.Has "slipway.dev/v1alpha1/AcceleratorProfile") }}
{{- fail "The cluster doesn't have Slipway's own types (slipway.dev/v1alpha1): install the chart slipway-crds first, and then this one." }}
{{- end }}
{{- if and (or .Values.monitoring.podMonitor.enabled .Values.monitoring.serviceMonitor.enabled) (not (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1")) }}
{{- fail "The cluster doesn't have the Prometheus operator's types (monitoring.coreos.com/v1): install it first, or disable monitoring.podMonitor and monitoring.serviceMonitor." }}
{{- end }}
{{- end }}
