{{/*
The notes after an install or upgrade: what to do next, and what is missing or not where the values say. Without a cluster,
as in `helm template` and Argo CD, checks that need one are left out.
*/}}
{{- define "slipway.notes" -}}
{{- $served := include "slipway.list" .Values.watchNamespaces | fromJsonArray -}}
Slipway {{ .Chart.AppVersion }} is in namespace {{ .Release.Namespace }}, and serves the LLMDeployments of
{{- if $served }} the namespaces {{ join ", " $served }} only.
{{- else }} all namespaces.
{{- end }}

Next, check that all parts work together; a part that doesn't is reported with the remedy:

  helm test {{ .Release.Name }} --namespace {{ .Release.Namespace }} --logs

Then create an LLMDeployment. Its fields are described by

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
Install KEDA 2.21 or later, as the chart slipway-platform does. Earlier versions have the critical CVE-2026-77524.
{{- else }}
{{- include "slipway.notesOfPlatform" . }}
{{- end }}
{{- include "slipway.notesOfNodePlugin" . }}
{{- if ne (toJson .Values.activator.names) (toJson (list "slipway-activator")) }}

In namespaces with the label slipway.dev/restricted, KEDA may only call the activators that slipway-crds lists:

  helm upgrade slipway-crds CHARTS/slipway-crds --namespace NAMESPACE --reset-then-reuse-values \
    --set 'policies.activators={{ printf "{%s}" (join "," .Values.activator.names) }},policies.slipwayNamespace={{ .Release.Namespace }}'
{{- end }}
{{- end }}

{{/* Its pods are refused where privileged ones aren't allowed. */}}
{{- define "slipway.notesOfNodePlugin" -}}
{{- if .Values.modelCache.node.enabled }}
{{- $namespace := .Values.modelCache.node.namespace | default .Release.Namespace }}
{{- $found := lookup "v1" "Namespace" "" $namespace }}
{{- $allowed := dig "metadata" "labels" "pod-security.kubernetes.io/enforce" "privileged" $found }}
{{- if ne $allowed "privileged" }}

WARNING: Namespace {{ $namespace }} allows {{ $allowed }} pods only, so the pods of the node plugin are refused. Set
modelCache.node.namespace to a namespace for it alone, or allow them:

  kubectl label --overwrite namespace {{ $namespace }} pod-security.kubernetes.io/enforce=privileged
{{- end }}
{{- end }}
{{- end }}

{{- define "slipway.notesOfPlatform" -}}
{{- $asked := not (empty (lookup "rbac.authorization.k8s.io/v1" "ClusterRole" "" "view")) }}{{/* every cluster has it */}}
{{- $version := "" }}
{{- if $asked }}
{{- $kserve := dict "root" . "value" "platform.kserveNamespace" "namespace" .Values.platform.kserveNamespace "deployment" "kserve-controller-manager" }}
{{- include "slipway.notWhereItIsSaid" (merge (dict "without" "no model starts") $kserve) }}
{{- $keda := dict "root" . "value" "platform.kedaNamespace" "namespace" .Values.platform.kedaNamespace "deployment" "keda-operator" }}
{{- include "slipway.notWhereItIsSaid" (merge (dict "without" "models don't scale, and don't wake from zero") $keda) }}
{{- $version = include "slipway.versionOf" $keda }}
{{- end }}
{{- if not $version }}

KEDA must be 2.21 or later: earlier versions have the critical CVE-2026-77524. `helm test` shows the installed version.
{{- else if semverCompare "<2.21.0-0" $version }}

WARNING: KEDA {{ $version }} has the critical CVE-2026-77524. Update it to 2.21 or later.
{{- end }}
{{- end }}

{{/* The Deployment as JSON, or null, for a dict of deployment and namespace. A user who installs the chart can list Deployments. */}}
{{- define "slipway.deployment" -}}
{{- $found := dict }}
{{- range (lookup "apps/v1" "Deployment" .namespace "").items }}
{{- if eq .metadata.name $.deployment }}{{ $found = . }}{{ end }}
{{- end }}
{{- toJson $found }}
{{- end }}

{{/* Needs a dict of root, value, namespace, deployment and without, which says what doesn't work without it. */}}
{{- define "slipway.notWhereItIsSaid" -}}
{{- if not (include "slipway.deployment" . | fromJson) }}
{{- $elsewhere := "" }}
{{- if not (include "slipway.list" .root.Values.watchNamespaces | fromJsonArray) }}
{{- range without (list "keda" "kserve" .root.Release.Namespace | uniq) .namespace }}
{{- if include "slipway.deployment" (dict "deployment" $.deployment "namespace" .) | fromJson }}{{ $elsewhere = . }}{{ end }}
{{- end }}
{{- end }}

WARNING: The namespace {{ .namespace }} of {{ .value }} has no Deployment {{ .deployment }}, so {{ .without }}.
{{- if $elsewhere }} There is one in namespace {{ $elsewhere }}:

  helm upgrade {{ .root.Release.Name }} CHARTS/slipway --namespace {{ .root.Release.Namespace }} --reset-then-reuse-values --set {{ .value }}={{ $elsewhere }}
{{- else }} Install it, or set {{ .value }} to its namespace.
{{- end }}
{{- end }}
{{- end }}

{{/* The version of a Deployment, from its image's tag, else from its label; empty if neither is a version. */}}
{{- define "slipway.versionOf" -}}
{{- $it := include "slipway.deployment" . | fromJson }}
{{- $version := "" }}
{{- if $it }}
{{- $candidates := list (($it.metadata.labels | default dict) | dig "app.kubernetes.io/version" "") }}
{{- range $it.spec.template.spec.containers }}
{{- $candidates = prepend $candidates (regexFind ":[^:/@]*(@|$)" .image | trimPrefix ":") }}
{{- end }}
{{- range $candidates }}
{{- if not $version }}{{ $version = regexFind "^v?[0-9]+[.][0-9]+([.][0-9]+)?" . | trimPrefix "v" }}{{ end }}
{{- end }}
{{- end }}
{{- $version }}
{{- end }}
