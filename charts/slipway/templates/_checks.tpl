{{/*
What no schema can tell: values that don't fit each other, and a cluster that isn't ready for this release. Each is a
sentence with the remedy. Only a real install or upgrade asks the cluster; `helm template` and Argo CD do not.
*/}}
{{- define "slipway.checks" -}}
{{- include "slipway.checkValues" . }}
{{- $view := lookup "rbac.authorization.k8s.io/v1" "ClusterRole" "" "view" }}
{{- if $view }}{{/* every cluster has it, so there is one that answers */}}
{{- include "slipway.checkOnlyRelease" . }}
{{- include "slipway.checkKinds" . }}
{{- end }}
{{- end }}

{{- define "slipway.checkValues" -}}
{{- $autoscaling := .Values.activator.autoscaling }}
{{- if $autoscaling.enabled }}
{{- if lt (int $autoscaling.maxReplicas) (int .Values.activator.replicas) }}
{{- fail (printf "activator.autoscaling.maxReplicas is %d, and activator.replicas, from which it goes up, %d: raise the one or lower the other." (int $autoscaling.maxReplicas) (int .Values.activator.replicas)) }}
{{- end }}
{{- if not (or $autoscaling.cpu $autoscaling.memory) }}
{{- fail "activator.autoscaling is enabled, and neither its cpu nor its memory counts: set one of them to a percentage, or disable it." }}
{{- end }}
{{- end }}
{{- if and .Values.monitoring.podMonitor.enabled .Values.monitoring.serviceMonitor.enabled }}
{{- fail "monitoring.podMonitor and monitoring.serviceMonitor are both enabled, so that each metric would be there twice: disable one." }}
{{- end }}
{{- $taken := list "admin" "cluster-admin" "edit" "view" "slipway-accelerators-view" "slipway-admin" "slipway-edit" "slipway-operator" "slipway-selftest" "slipway-view" }}
{{- range .Values.activator.names }}
{{- if has . $taken }}
{{- fail (printf "activator.names has %s, and so is called what isn't an activator: its objects would replace that one's, so choose another name." .) }}
{{- end }}
{{- end }}
{{- range $program := list "operator" "activator" }}
{{- $names := list }}
{{- range (index $.Values $program).env }}
{{- if has .name $names }}
{{- fail (printf "%s.env names %s twice, and a container has a variable once: leave one of them out." $program .name) }}
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
{{- fail (printf "accelerators.costPerHour names %s, and no AcceleratorProfile of this chart is called so: there are %s." $name (join ", " (sortAlpha $profiles))) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Programs of two releases would act on the same models, and each would undo what the other does. */}}
{{- define "slipway.checkOnlyRelease" -}}
{{- $there := lookup "rbac.authorization.k8s.io/v1" "ClusterRole" "" "slipway-operator" }}
{{- $annotations := ($there.metadata | default dict).annotations | default dict }}
{{- $name := get $annotations "meta.helm.sh/release-name" }}
{{- $namespace := get $annotations "meta.helm.sh/release-namespace" }}
{{- if and $name (ne (printf "%s/%s" $namespace $name) (printf "%s/%s" .Release.Namespace .Release.Name)) }}
{{- fail (printf "Slipway is in this cluster already, as release %s in namespace %s, and a cluster has one: upgrade that, or end it first by `helm uninstall %s --namespace %s`; models go on serving meanwhile." $name $namespace $name $namespace) }}
{{- end }}
{{- end }}

{{/* helm asks for every kind before it makes anything, and says then of each object that it knows no such kind. */}}
{{- define "slipway.checkKinds" -}}
{{- if not (.Capabilities.APIVersions.Has "slipway.dev/v1alpha1/AcceleratorProfile") }}
{{- fail "The cluster doesn't have Slipway's own types (slipway.dev/v1alpha1): install the chart slipway-crds first, and then this one." }}
{{- end }}
{{- if and (or .Values.monitoring.podMonitor.enabled .Values.monitoring.serviceMonitor.enabled) (not (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1")) }}
{{- fail "The cluster doesn't have the Prometheus operator's types (monitoring.coreos.com/v1): install it first, or disable monitoring.podMonitor and monitoring.serviceMonitor." }}
{{- end }}
{{- end }}
