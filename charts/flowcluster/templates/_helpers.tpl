{{- define "flowcluster.checks" -}}
{{- if and (index .Values "kuberay-operator" "enabled") (not (hasKey .Subcharts "kuberay-operator")) }}
{{- fail "kuberay-operator.enabled: this package was made without KubeRay's chart; install KubeRay by itself and leave the value false" }}
{{- end }}
{{- end }}

{{- define "flowcluster.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-{{ .Chart.Name }}{{ end }}
{{- end }}

{{- define "flowcluster.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "flowcluster.selector" . }}
{{- end }}

{{- define "flowcluster.selector" -}}
app.kubernetes.io/name: flowcluster-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "flowcluster.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ default (include "flowcluster.name" .) .Values.serviceAccount.name }}
{{- else }}{{ default "default" .Values.serviceAccount.name }}{{ end }}
{{- end }}
