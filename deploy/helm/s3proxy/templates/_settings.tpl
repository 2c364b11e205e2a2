{{/*
The gateway's configuration file, as docs/configuration.md describes it: the settings of the chart, merged
with config.settings.
*/}}
{{- define "s3proxy.settings" -}}
{{- $config := .Values.config -}}
{{- $admin := printf "%s:%d" (ternary $config.address "127.0.0.1" .Values.admin.expose) (int .Values.admin.port) -}}
{{- $cache := dict "memory" (include "s3proxy.cacheMemory" .) "blocks" (dict "share" (int .Values.cache.blocksShare)) -}}
{{- with .Values.cache.disk -}}
{{- if .enabled -}}
{{- $size := printf "%dMiB" (div (mul (int .volumeGiB) 1024 9) 10) -}}
{{- $_ := set $cache "disk" (dict "path" "/var/cache/s3proxy" "size" $size) -}}
{{- end -}}
{{- end -}}
{{- with .Values.cache.shared -}}
{{- if .url -}}
{{- $shared := dict "url" .url -}}
{{- range $setting, $entry := dict "password_file" .passwordKey "mac_key_file" .macKey "ca_file" .caKey -}}
{{- if and $.Values.cache.shared.secretName $entry -}}
{{- $_ := set $shared $setting (printf "/etc/s3proxy/shared/%s" $setting) -}}
{{- end -}}
{{- end -}}
{{- $_ := set $cache "shared" $shared -}}
{{- end -}}
{{- end -}}
{{- $header := ternary " proxy_protocol" "" $config.proxyProtocol -}}
{{- if and $config.proxyProtocol (or (not .Values.admin.expose) .Values.warm.place) -}}
{{- fail "config.proxyProtocol needs admin.expose for the probes, and no warm.place: neither sends a header of the PROXY protocol" -}}
{{- end -}}
{{- if and .Values.warm.place (dig "tls" "redirect_to_https" false $config.settings) -}}
{{- fail "warm.place asks the plain port, which redirects with tls.redirect_to_https: run s3proxy warm with an https URL" -}}
{{- end -}}
{{- $own := dict
  "listen" (printf "%s:8080%s%s" $config.address $header (ternary " http2" "" $config.http2))
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
{{- with .Values.tls -}}
{{- if .secretName -}}
{{- $files := dict "certificate_file" "/etc/s3proxy/tls/tls.crt" "key_file" "/etc/s3proxy/tls/tls.key" -}}
{{- if .admin -}}
{{- $_ := set $own.admin "tls" (deepCopy $files) -}}
{{- end -}}
{{- $_ := set $files "listen" (printf "%s:8443%s" $config.address $header) -}}
{{- if .clientCaKey -}}
{{- $_ := set $files "client_ca_file" "/etc/s3proxy/tls/clients.crt" -}}
{{- end -}}
{{- $_ := set $own "tls" $files -}}
{{- else if or .clientCaKey .admin -}}
{{- fail "tls.clientCaKey and tls.admin need tls.secretName" -}}
{{- end -}}
{{- end -}}
{{- if .Values.credentials.enabled -}}
{{- $_ := set $own "credentials_file" "/etc/s3proxy/credentials/aws-credentials.ini" -}}
{{- end -}}
{{- with $config.trustedProxies -}}
{{- $_ := set $own "trusted_proxies" . -}}
{{- end -}}
{{- with $config.s3EndpointUrl -}}
{{- $_ := set $own "default_profile" (dict "endpoint" .) -}}
{{- end -}}
{{- $profiles := dict -}}
{{- range $config.profiles -}}
{{- if hasKey $profiles .name -}}
{{- fail (printf "config.profiles: %s is defined twice" .name) -}}
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
{{- $withoutUsers := regexReplaceAll "(rediss?(?:-[a-z]+)?://)[A-Za-z0-9._-]+@" $text "${1}" -}}
{{- if regexMatch "://[^\\s\"']*@" $withoutUsers -}}
{{- fail "a URL in config contains credentials: put the access key into the Secret, not into the ConfigMap" -}}
{{- end -}}
{{- $text -}}
{{- end }}

{{/* Fails if config.settings repeats a setting that another value of the chart sets. */}}
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

{{/* A quantity of Kubernetes in whole MiB; empty if it is none, or no whole number of its unit. */}}
{{- define "s3proxy.mebibytes" -}}
{{- $text := toString . -}}
{{- if regexMatch "^[0-9]+(k|Ki|M|Mi|G|Gi|T|Ti)?$" $text -}}
{{- $units := dict "" 1 "k" 1000 "Ki" 1024 "M" 1000000 "Mi" 1048576 "G" 1000000000 "Gi" 1073741824 "T" 1000000000000 "Ti" 1099511627776 -}}
{{- $unit := get $units (regexReplaceAll "^[0-9]+" $text "") -}}
{{- div (mul (int64 (regexFind "^[0-9]+" $text)) (int64 $unit)) 1048576 -}}
{{- end -}}
{{- end }}

{{/*
The memory of the cache. `auto` is 40 % of the limit, but at most three quarters of the request, so that a
full cache does not take memory that the pod has not requested.
*/}}
{{- define "s3proxy.cacheMemory" -}}
{{- $memory := toString .Values.cache.memory -}}
{{- $request := include "s3proxy.mebibytes" ((.Values.resources).requests).memory -}}
{{- $limit := include "s3proxy.mebibytes" ((.Values.resources).limits).memory -}}
{{- if and (eq $memory "auto") $request $limit -}}
{{- $fits := max 16 (div (mul (int64 $request) 3) 4) -}}
{{- if lt $fits (div (mul (int64 $limit) 2) 5) -}}
{{- $memory = printf "%dMiB" $fits -}}
{{- end -}}
{{- end -}}
{{- $memory -}}
{{- end }}
