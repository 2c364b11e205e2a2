{{/*
The gateway's configuration file, as docs/configuration.md describes it: the settings of the chart, and
those of config.settings.
*/}}
{{- define "s3proxy.settings" -}}
{{- $config := .Values.config -}}
{{- $admin := printf "%s:%d" (ternary $config.address "127.0.0.1" .Values.admin.expose) (int .Values.admin.port) -}}
{{- $cache := dict "memory" .Values.cache.memory "blocks" (dict "share" (int .Values.cache.blocksShare)) -}}
{{- with .Values.cache.disk -}}
{{- if .enabled -}}
{{- $size := printf "%dMiB" (div (mul (int .volumeGiB) 1024 9) 10) -}}
{{- $_ := set $cache "disk" (dict "path" "/var/cache/s3proxy" "size" $size) -}}
{{- end -}}
{{- end -}}
{{- $own := dict
  "listen" (printf "%s:8080" $config.address)
  "path_prefix" $config.pathPrefix
  "cache_max_age" (int $config.cacheMaxAge)
  "log" (dict "format" $config.logProfile "level" $config.logLevel)
  "cors" (dict "origins" $config.corsOrigins)
  "server" (dict
    "lame_duck" (printf "%ds" (int .Values.drain.lameDuckSeconds))
    "grace_period" (printf "%ds" (int .Values.drain.gracePeriodSeconds)))
  "admin" (dict "listen" $admin)
  "cache" $cache
-}}
{{- if .Values.credentials.enabled -}}
{{- $_ := set $own "credentials_file" "/etc/s3proxy/credentials/aws-credentials.ini" -}}
{{- end -}}
{{- with $config.s3EndpointUrl -}}
{{- $_ := set $own "default_profile" (dict "endpoint" .) -}}
{{- end -}}
{{- $profiles := dict -}}
{{- range $config.profiles -}}
{{- if hasKey $profiles .name -}}
{{- fail (printf "config.profiles: %s is there twice" .name) -}}
{{- end -}}
{{- $profile := omit . "name" "url" -}}
{{- with .url -}}
{{- $_ := set $profile "endpoint" . -}}
{{- end -}}
{{- $_ := set $profiles .name $profile -}}
{{- end -}}
{{- with $profiles -}}
{{- $_ := set $own "profiles" . -}}
{{- end -}}
{{- include "s3proxy.refuseOverlap" (dict "own" $own "more" $config.settings "path" "config.settings") -}}
{{- $text := toYaml (mustMergeOverwrite $own (deepCopy $config.settings)) -}}
{{- if regexMatch "://[^\\s\"']*@" $text -}}
{{- fail "keys of a store are in a URL of config: put them into the Secret, a ConfigMap is no place for them" -}}
{{- end -}}
{{- $text -}}
{{- end }}

{{/* Fails if config.settings sets a key that the chart sets. */}}
{{- define "s3proxy.refuseOverlap" -}}
{{- range $key, $more := .more -}}
{{- $path := printf "%s.%s" $.path $key -}}
{{- if hasKey $.own $key -}}
{{- $own := get $.own $key -}}
{{- if and (kindIs "map" $own) (kindIs "map" $more) -}}
{{- include "s3proxy.refuseOverlap" (dict "own" $own "more" $more "path" $path) -}}
{{- else -}}
{{- fail (printf "%s: this is set by another value of the chart" $path) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}
