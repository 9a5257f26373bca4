{{/*
Overrides the template of this name in KServe's chart, which only supports certificates of cert-manager: a chart's own
templates take precedence over those of its dependencies. It does the same, and can also use certificates made by helm.

Needs a dict of baseFile, patchGlob, certName and context, which is the context of KServe's chart.
*/}}
{{- define "kserve-common.renderMultiResourceWithPatches" -}}
{{- $namespace := .context.Release.Namespace }}
{{- $injected := printf "cert-manager.io/inject-ca-from: %%s/%s" .certName }}
{{- $base := include "kserve-common.replaceNamespace" (list (.context.Files.Get .baseFile) $namespace) }}
{{- $base = $base | replace (printf $injected "kserve") (printf $injected $namespace) }}
{{- $objects := dict }}
{{- range regexSplit "(?m)^---$" $base -1 }}
{{- with fromYaml . }}
{{- $_ := set $objects (printf "%s/%s" .kind .metadata.name) . }}
{{- end }}
{{- end }}
{{- range $path, $_ := .context.Files.Glob .patchGlob }}
{{- range regexSplit "(?m)^---$" (tpl ($.context.Files.Get $path) $.context) -1 }}
{{- with fromYaml . }}
{{- if .kind }}
{{- $name := printf "%s/%s" .kind .metadata.name }}
{{- $_ := set $objects $name (include "kserve-common.deepMerge" (list (get $objects $name | default dict) .) | fromYaml) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if eq .context.Values.global.kserveCertificates "helm" }}
{{- include "slipway.certifyKServe" (dict "objects" $objects "namespace" $namespace) }}
{{- end }}
{{- range $_, $it := $objects }}
---
{{ toYaml $it }}
{{- end }}
{{- end }}

{{/* Changes the dict of objects. An existing certificate is kept: with a new one, no pod could start for a while. */}}
{{- define "slipway.certifyKServe" -}}
{{- $host := printf "kserve-webhook-server-service.%s.svc" .namespace }}
{{- $known := (lookup "v1" "Secret" .namespace "kserve-webhook-server-cert").data | default dict }}
{{- $files := pick $known "ca.crt" "tls.crt" "tls.key" }}
{{- if lt (len $files) 3 }}
{{- $ca := genCA "kserve-webhooks" 3650 }}
{{- $made := genSignedCert $host nil (list $host) 3650 $ca }}
{{- $files = dict "ca.crt" (b64enc $ca.Cert) "tls.crt" (b64enc $made.Cert) "tls.key" (b64enc $made.Key) }}
{{- end }}
{{- $metadata := dict "name" "kserve-webhook-server-cert" "namespace" .namespace }}
{{- $secret := dict "apiVersion" "v1" "kind" "Secret" "type" "kubernetes.io/tls" "metadata" $metadata "data" $files }}
{{- $_ := set .objects "Secret/kserve-webhook-server-cert" $secret }}
{{- range $name, $it := .objects }}
{{- if eq $it.kind "Certificate" }}
{{- $_ := unset $.objects $name }}
{{- else if has $it.kind (list "MutatingWebhookConfiguration" "ValidatingWebhookConfiguration") }}
{{- $_ := unset $it.metadata.annotations "cert-manager.io/inject-ca-from" }}
{{- range $it.webhooks }}
{{- $_ := set .clientConfig "caBundle" (index $files "ca.crt") }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
