{{/* What a person is told after an install or upgrade: what to do next, and what is missing. Nothing is asked of the cluster. */}}
{{- define "slipway.notes" -}}
{{- $served := include "slipway.list" .Values.watchNamespaces | fromJsonArray -}}
Slipway {{ .Chart.AppVersion }} is in namespace {{ .Release.Namespace }}, and serves the LLMDeployments of
{{- if $served }} the namespaces {{ join ", " $served }} alone.
{{- else }} all namespaces.
{{- end }}

Next, see whether all of it works together; whatever doesn't is told with the remedy:

  helm test {{ .Release.Name }} --namespace {{ .Release.Namespace }} --logs

Then ask for a model. What can be said of one is told by

  kubectl explain llmdeployment.spec
{{- if not (.Capabilities.APIVersions.Has "slipway.dev/v1alpha1/LLMDeployment") }}

WARNING: The cluster doesn't have LLMDeployments (slipway.dev/v1alpha1). Install the chart slipway-crds.
{{- end }}
{{- if not (.Capabilities.APIVersions.Has "serving.kserve.io/v1beta1/InferenceService") }}

WARNING: The cluster doesn't have KServe (InferenceService of serving.kserve.io/v1beta1), so no model can run. Install
KServe 0.20 in Standard mode, as the chart slipway-platform does.
{{- end }}
{{- if not (.Capabilities.APIVersions.Has "keda.sh/v1alpha1/ScaledObject") }}

WARNING: The cluster doesn't have KEDA (ScaledObject of keda.sh/v1alpha1), so models don't scale, and don't wake from zero.
Install KEDA 2.21 or later, as the chart slipway-platform does. Earlier ones have the critical CVE-2026-77524.
{{- else }}

KEDA has to be 2.21 or later: earlier ones have the critical CVE-2026-77524. `helm test` says which one this is.
{{- end }}
{{- end }}
