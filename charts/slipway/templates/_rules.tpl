{{/* All groups of rules: those that record, and the alerts that are enabled, with the values of each in their places. */}}
{{- define "slipway.rules" -}}
{{- $rules := .Values.monitoring.rules -}}
{{- $alerts := list -}}
{{- range $name, $rule := .Files.Get "monitoring/alerts.yaml" | fromYaml -}}
{{- $values := index $rules.alerts $name -}}
{{- $url := $.Values.runbooks.url | replace "{name}" $name -}}
{{- if $values.enabled -}}
{{- $text := toJson $rule -}}
{{- range $key, $value := $values -}}
{{- $text = $text | replace (printf "${%s}" $key) (kindIs "string" $value | ternary $value (toJson $value)) -}}
{{- end -}}
{{- range fromJsonArray $text -}}
{{- if $url -}}
{{- $_ := set .annotations "runbook_url" $url -}}
{{- end -}}
{{- $alerts = append $alerts . -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $groups := .Files.Get "monitoring/recording-rules.yaml" | fromYamlArray -}}
{{- if $alerts -}}
{{- $groups = append $groups (dict "name" "slipway.alerts" "interval" "30s" "rules" $alerts) -}}
{{- end -}}
{{- dict "groups" $groups | toYaml -}}
{{- end }}
