{{/* What a person is told after an install or upgrade. */}}
{{- define "slipway-platform.notes" -}}
{{- $programs := list }}
{{- if .Values.kserve.controller }}{{ $programs = append $programs "KServe" }}{{ end }}
{{- if .Values.keda.enabled }}{{ $programs = append $programs "KEDA" }}{{ end -}}
{{ join " and " $programs | default "What Slipway stands on" }} of this release are in namespace {{ .Release.Namespace }}.

{{ if and .Values.kserve.controller (not (.Capabilities.APIVersions.Has "serving.kserve.io/v1alpha1/ClusterStorageContainer")) -}}
Next, run the same command once more, as `helm upgrade --install`: it makes the ClusterStorageContainer by which KServe
fetches models, whose type came only now.

Then install Slipway, which is told where they are:
{{- else -}}
Next, install Slipway, which is told where they are:
{{- end }}

  helm install slipway-crds CHARTS/slipway-crds --namespace slipway-system --create-namespace
  helm install slipway CHARTS/slipway --namespace slipway-system
{{- if .Values.kserve.controller }} --set platform.kserveNamespace={{ .Release.Namespace }}{{ end }}
{{- if .Values.keda.enabled }} --set platform.kedaNamespace={{ .Release.Namespace }}{{ end }}
{{- end }}
