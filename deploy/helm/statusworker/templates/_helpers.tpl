{{- define "statusworker.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* The name of a release may contain dots, that of a service may not. */ -}}
{{- define "statusworker.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" -}}
{{- else if contains (include "statusworker.name" .) .Release.Name -}}
{{- .Release.Name | replace "." "-" | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "statusworker.name" .) | replace "." "-" | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* Labels that select the workers and not the provision job. They never change. */ -}}
{{- define "statusworker.selector" -}}
app.kubernetes.io/name: {{ include "statusworker.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: worker
{{- end -}}

{{- define "statusworker.provisionSelector" -}}
app.kubernetes.io/name: {{ include "statusworker.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: provision
{{- end -}}

{{- define "statusworker.consoleSelector" -}}
app.kubernetes.io/name: {{ include "statusworker.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: console
{{- end -}}

{{- define "statusworker.releaseLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" | quote }}
{{- end -}}

{{- define "statusworker.labels" -}}
{{ include "statusworker.selector" . }}
{{ include "statusworker.releaseLabels" . }}
{{- end -}}

{{- define "statusworker.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- /* With autoscaling, the number of workers to render: the live number if Kubernetes would reset a missing number to 1,
otherwise none. With server-side apply, Kubernetes resets it only while Helm alone owns the number. Once the autoscaler owns
it, rendering another number is a conflict. */ -}}
{{- define "statusworker.replicasThatStay" -}}
{{- $live := lookup "apps/v1" "Deployment" .Release.Namespace (include "statusworker.fullname" .) -}}
{{- $applied := false -}}
{{- $owned := false -}}
{{- $scaled := false -}}
{{- range dig "metadata" "managedFields" list $live -}}
{{- if and (eq (get . "operation") "Apply") (hasPrefix "helm" (get . "manager")) -}}
{{- $applied = true -}}
{{- $owned = or $owned (hasKey (dig "fieldsV1" "f:spec" dict .) "f:replicas") -}}
{{- end -}}
{{- $scaled = or $scaled (eq (get . "subresource") "scale") -}}
{{- end -}}
{{- if or (not $applied) (and $owned (not $scaled)) -}}
{{- with dig "spec" "replicas" 0 $live -}}{{- . -}}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "statusworker.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "statusworker.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- /* A duration in whole seconds. Templates can parse durations only to modify a date. */ -}}
{{- define "statusworker.seconds" -}}
{{- $epoch := toDate "2006-01-02T15:04:05Z07:00" "1970-01-01T00:00:00Z" -}}
{{- mustDateModify . $epoch | unixEpoch -}}
{{- end -}}

{{- /* The same in milliseconds, for comparisons. */ -}}
{{- define "statusworker.milliseconds" -}}
{{- $epoch := toDate "2006-01-02T15:04:05Z07:00" "1970-01-01T00:00:00Z" -}}
{{- (mustDateModify . $epoch).UnixMilli -}}
{{- end -}}

{{- /* The shutdown timeout plus ten seconds, for the last messages to the broker and for rounding. */ -}}
{{- define "statusworker.gracePeriod" -}}
{{- add (include "statusworker.seconds" .Values.work.shutdownTimeout) 10 -}}
{{- end -}}

{{- /* The connection to NATS. Arguments: root, and auth and inbox prefix of the worker or of the provision job. */ -}}
{{- define "statusworker.natsEnv" -}}
{{- $auth := .auth -}}
{{- $tls := .root.Values.nats.tls -}}
- name: NATS_URL
  value: {{ .root.Values.nats.url | quote }}
- name: STATUSWORKER_NAMESPACE
  value: {{ .root.Values.nats.namespace | quote }}
{{- $nats := .root.Values.nats -}}
{{- if $nats.context.existingSecret }}
- name: NATS_CONTEXT
  value: /etc/statusworker/nats-context/{{ $nats.context.key }}
{{- end }}
{{- /* The default would override that of a context. */}}
{{- if not (and $nats.context.existingSecret (eq .inboxPrefix "_INBOX")) }}
- name: NATS_INBOX_PREFIX
  value: {{ .inboxPrefix | quote }}
{{- end }}
{{- with $nats.jetstream.domain }}
- name: NATS_JS_DOMAIN
  value: {{ . | quote }}
{{- end }}
{{- with $nats.jetstream.apiPrefix }}
- name: NATS_JS_API_PREFIX
  value: {{ . | quote }}
{{- end }}
{{- if $nats.socksProxy.existingSecret }}
- name: NATS_SOCKS_PROXY
  valueFrom:
    secretKeyRef: {name: {{ $nats.socksProxy.existingSecret | quote }}, key: {{ $nats.socksProxy.key | quote }}}
{{- else if $nats.socksProxy.url }}
- name: NATS_SOCKS_PROXY
  value: {{ $nats.socksProxy.url | quote }}
{{- end }}
{{- if $tls.first }}
- name: NATS_TLSFIRST
  value: "true"
{{- end }}
{{- if eq $auth.method "creds" }}
- name: NATS_CREDS
  value: /etc/statusworker/nats/{{ $auth.keys.creds }}
{{- else if eq $auth.method "jwt" }}
- name: NATS_JWT
  value: /etc/statusworker/nats/{{ $auth.keys.jwt }}
- name: NATS_SEED
  value: /etc/statusworker/nats/{{ $auth.keys.seed }}
{{- else if eq $auth.method "nkey" }}
- name: NATS_NKEY
  value: /etc/statusworker/nats/{{ $auth.keys.nkey }}
{{- else if or (eq $auth.method "userPassword") (eq $auth.method "token") }}
- name: NATS_USER
  valueFrom:
    secretKeyRef: {name: {{ $auth.existingSecret | quote }}, key: {{ $auth.keys.user | quote }}}
{{- if eq $auth.method "userPassword" }}
- name: NATS_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ $auth.existingSecret | quote }}, key: {{ $auth.keys.password | quote }}}
{{- end }}
{{- end }}
{{- if $tls.existingSecret }}
- name: NATS_CA
  value: /etc/statusworker/nats-tls/{{ $tls.keys.ca }}
{{- if $tls.clientCertificate }}
- name: NATS_CERT
  value: /etc/statusworker/nats-tls/{{ $tls.keys.cert }}
- name: NATS_KEY
  value: /etc/statusworker/nats-tls/{{ $tls.keys.key }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* Settings that workers and the provision job share. */ -}}
{{- define "statusworker.sharedEnv" -}}
- name: ELEVATEAI_BASE_URL
  value: {{ .Values.vendor.baseUrl | quote }}
- name: STATUSWORKER_AUDIO_INTERVAL
  value: {{ .Values.timing.audioInterval | quote }}
- name: STATUSWORKER_CHAT_INTERVAL
  value: {{ .Values.timing.chatInterval | quote }}
- name: STATUSWORKER_TRANSCRIPT_INTERVAL
  value: {{ .Values.timing.transcriptInterval | quote }}
- name: STATUSWORKER_REQUEST_TIMEOUT
  value: {{ .Values.timing.requestTimeout | quote }}
- name: STATUSWORKER_LOG_LEVEL
  value: {{ .Values.log.level | quote }}
- name: STATUSWORKER_LOG_FORMAT
  value: {{ .Values.log.format | quote }}
{{- end -}}

{{- define "statusworker.natsMounts" -}}
{{- if has .auth.method (list "creds" "jwt" "nkey") }}
- {name: nats, mountPath: /etc/statusworker/nats, readOnly: true}
{{- end }}
{{- if .root.Values.nats.tls.existingSecret }}
- {name: nats-tls, mountPath: /etc/statusworker/nats-tls, readOnly: true}
{{- end }}
{{- if .root.Values.nats.context.existingSecret }}
- {name: nats-context, mountPath: /etc/statusworker/nats-context, readOnly: true}
{{- end }}
{{- end -}}

{{- define "statusworker.natsVolumes" -}}
{{- if has .auth.method (list "creds" "jwt" "nkey") }}
- name: nats
  secret: {secretName: {{ .auth.existingSecret | quote }}, defaultMode: 0440}
{{- end }}
{{- if .root.Values.nats.tls.existingSecret }}
- name: nats-tls
  secret: {secretName: {{ .root.Values.nats.tls.existingSecret | quote }}, defaultMode: 0440}
{{- end }}
{{- if .root.Values.nats.context.existingSecret }}
- name: nats-context
  secret: {secretName: {{ .root.Values.nats.context.existingSecret | quote }}, defaultMode: 0440}
{{- end }}
{{- end -}}

{{- define "statusworker.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- /* The ports of URLs (separated by commas), or one port that replaces them. */ -}}
{{- define "statusworker.ports" -}}
{{- $ports := list -}}
{{- if .instead -}}
{{- $ports = list .instead -}}
{{- else -}}
{{- range splitList "," .urls -}}
{{- $url := urlParse . -}}
{{- $default := get (dict "nats" 4222 "tls" 4222 "ws" 80 "wss" 443 "http" 80 "https" 443) $url.scheme -}}
{{- $ports = append $ports (regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default $default) -}}
{{- end -}}
{{- end -}}
{{- range uniq $ports }}
- {port: {{ int . }}, protocol: TCP}
{{- end -}}
{{- end -}}

{{- /* Egress of workers, console and the provision job: DNS, NATS, and networkPolicy.extraEgress. */ -}}
{{- define "statusworker.egressNats" -}}
- ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
- ports:
    {{- include "statusworker.ports" (dict "urls" .Values.nats.url "instead" (get .Values.networkPolicy "natsPort")) | nindent 4 }}
  {{- with .Values.networkPolicy.natsTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- with .Values.networkPolicy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* The auth of the provision job: its own, or that of the workers. */ -}}
{{- define "statusworker.provisionAuth" -}}
{{- if .Values.provision.nats.auth.method -}}
{{- toYaml .Values.provision.nats.auth -}}
{{- else -}}
{{- toYaml .Values.nats.auth -}}
{{- end -}}
{{- end -}}
