{{/* The name of all objects. */}}
{{- define "s3proxy.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains "s3proxy" .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-s3proxy" (.Release.Name | trunc 55 | trimSuffix "-") -}}
{{- end -}}
{{- end }}

{{/*
Labels by which Services, NetworkPolicies and the Deployment select the pods. A Deployment's selector
cannot be changed: these are the labels of the Phalanx application, and must stay as they are.
*/}}
{{- define "s3proxy.selectorLabels" -}}
app.kubernetes.io/name: "s3proxy"
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "s3proxy.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" | quote }}
{{ include "s3proxy.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
{{- end }}

{{- define "s3proxy.secretName" -}}
{{- .Values.credentials.secretName | default (include "s3proxy.fullname" .) -}}
{{- end }}

{{/* The host of the ingress, or nothing. */}}
{{- define "s3proxy.host" -}}
{{- .Values.ingress.host | default .Values.global.host | default "" -}}
{{- end }}

{{/* gafaelfawr, ingress or none. */}}
{{- define "s3proxy.ingressKind" -}}
{{- if ne .Values.ingress.kind "auto" -}}
{{- .Values.ingress.kind -}}
{{- else -}}
{{- ternary "gafaelfawr" "none" (not (empty .Values.global.host)) -}}
{{- end -}}
{{- end }}

{{/* Annotations of the ingress; annotations in the values override them. */}}
{{- define "s3proxy.ingressAnnotations" -}}
{{- $annotations := dict -}}
{{- if .Values.ingress.consistentHash -}}
{{- $_ := set $annotations "nginx.ingress.kubernetes.io/upstream-hash-by" "$request_uri" -}}
{{- end -}}
{{- with mergeOverwrite $annotations .Values.ingress.annotations -}}
{{- toYaml . -}}
{{- end -}}
{{- end }}

{{/* The rules of either ingress. */}}
{{- define "s3proxy.ingressRules" -}}
- host: {{ required "ingress.host (or global.host) must be set" (include "s3proxy.host" .) | quote }}
  http:
    paths:
      - path: {{ .Values.config.pathPrefix | default "/" | quote }}
        pathType: "Prefix"
        backend:
          service:
            name: {{ include "s3proxy.fullname" . | quote }}
            port:
              number: 8080
{{- end }}
