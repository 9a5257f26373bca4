{{/* The notes after an install or upgrade. */}}
{{- define "slipway-platform.notes" -}}
{{- $programs := list }}
{{- if .Values.kserve.controller }}{{ $programs = append $programs "KServe" }}{{ end }}
{{- if .Values.keda.enabled }}{{ $programs = append $programs "KEDA" }}{{ end -}}
{{ join " and " $programs | default "No programs" }} of this release are in namespace {{ .Release.Namespace }}.

{{ if and .Values.kserve.controller (not (.Capabilities.APIVersions.Has "serving.kserve.io/v1alpha1/ClusterStorageContainer")) -}}
Next, run the same command again, as `helm upgrade --install`: it creates the ClusterStorageContainer with which KServe
downloads models. Its type exists only now.

Then install Slipway, with their namespaces:
{{- else -}}
Next, install Slipway, with their namespaces:
{{- end }}

  helm install slipway-crds CHARTS/slipway-crds --namespace slipway-system --create-namespace
  helm install slipway CHARTS/slipway --namespace slipway-system
{{- if .Values.kserve.controller }} --set platform.kserveNamespace={{ .Release.Namespace }}{{ end }}
{{- if .Values.keda.enabled }} --set platform.kedaNamespace={{ .Release.Namespace }}{{ end }}
{{- end }}
