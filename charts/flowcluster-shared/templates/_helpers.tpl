{{- define "flowcluster-shared.name" -}}
{{ .Values.name | default .Release.Name }}
{{- end }}

{{- define "flowcluster-shared.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/name: flowcluster-shared
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* The fields of a dictionary that have a value, as YAML. The API server refuses null. */}}
{{- define "flowcluster-shared.given" -}}
{{- $found := dict }}
{{- range $field, $value := . }}
{{- if and (eq $field "resources") (kindIs "map" $value) }}
{{- $value = include "flowcluster-shared.given" $value | fromYaml }}
{{- end }}
{{- if kindIs "map" $value }}
{{- if $value }}{{ $_ := set $found $field $value }}{{ end }}
{{- else if kindIs "slice" $value }}
{{- if $value }}{{ $_ := set $found $field $value }}{{ end }}
{{- else if not (kindIs "invalid" $value) }}
{{- $_ := set $found $field $value }}
{{- end }}
{{- end }}
{{- toYaml $found }}
{{- end }}

{{- /* spec of the SharedCluster: all values but those of the chart itself. */}}
{{- define "flowcluster-shared.spec" -}}
{{- $spec := omit .Values "global" "name" "labels" "annotations" "runtimeImage" "test" }}
{{- range $part := list "workers" "scheduler" }}
{{- with index $spec $part }}
{{- $_ := set $spec $part (include "flowcluster-shared.given" . | fromYaml) }}
{{- end }}
{{- end }}
{{- $groups := list }}
{{- range $spec.workerGroups }}
{{- $groups = append $groups (include "flowcluster-shared.given" . | fromYaml) }}
{{- end }}
{{- $_ := set $spec "workerGroups" $groups }}
{{- include "flowcluster-shared.given" $spec }}
{{- end }}
