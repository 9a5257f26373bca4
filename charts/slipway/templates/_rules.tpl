{{/* All groups of rules: those that record, and the alerts that are enabled, with the values of each in their places. */}}
{{- define "slipway.rules" -}}
{{- $rules := .Values.monitoring.rules -}}
{{- $alerts := list -}}
{{- range $name, $rule := .Files.Get "monitoring/alerts.yaml" | fromYaml -}}
{{- $values := index $rules.alerts $name -}}
{{- if $values.enabled -}}
{{- $text := toJson $rule -}}
{{- range $key, $value := merge (dict "runbookUrlBase" ($rules.runbookUrlBase | trimSuffix "/")) $values -}}
{{- $text = $text | replace (printf "${%s}" $key) (kindIs "string" $value | ternary $value (toJson $value)) -}}
{{- end -}}
{{- $alerts = concat $alerts (fromJsonArray $text) -}}
{{- end -}}
{{- end -}}
{{- $groups := .Files.Get "monitoring/recording-rules.yaml" | fromYamlArray -}}
{{- if $alerts -}}
{{- $groups = append $groups (dict "name" "slipway.alerts" "interval" "30s" "rules" $alerts) -}}
{{- end -}}
{{- dict "groups" $groups | toYaml -}}
{{- end }}
