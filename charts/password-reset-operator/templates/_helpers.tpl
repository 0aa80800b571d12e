{{/*
The name of everything that has a namespace of the operator's own to live in. It is the chart's, not the release's: one
namespace holds the ledgers of one operator, so a second release beside it is refused by Helm, and the ServiceAccount has
the name that the examples grant Secrets to.
*/}}
{{- define "operator.name" -}}
password-reset-operator
{{- end }}

{{/* The name of what operators in different namespaces would otherwise share. */}}
{{- define "operator.nameElsewhere" -}}
{{ include "operator.name" . }}-{{ .Release.Namespace }}
{{- end }}

{{- define "operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "operator.labels" -}}
{{ include "operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "operator.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* Who is given the rights. */}}
{{- define "operator.subjects" -}}
subjects:
- kind: ServiceAccount
  name: {{ include "operator.name" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}
