#!/bin/sh
# Checks the chart with the real programs: helm, and kubeconform and kubectl where they are there. It says what it ran
# and what is missing. HELM, KUBECONFORM and KUBECTL name programs that are not in PATH.
#
#   charts/check.sh              lint, render, refuse wrong values
#   charts/check.sh KUBECONFIG   and install there, ask what the operator may do, and remove it again (CRDs stay, as with Helm)
set -eu

chart=$(cd "$(dirname "$0")" && pwd)/password-reset-operator
tools=${XDG_CACHE_HOME:-$HOME/.cache}/password-reset-operator/bin
PATH=$PATH:$tools
name=password-reset-operator
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

failed=0
pass() { echo "ok      $1"; }
fail() { echo "FAILED  $1" >&2; failed=$((failed + 1)); }
missing() { echo "skipped $1"; }
found() { command -v "$1" 2>/dev/null || true; }

helm=$(found "${HELM:-helm}")
kubeconform=$(found "${KUBECONFORM:-kubeconform}")
kubectl=$(found "${KUBECTL:-kubectl}")
if [ -z "$helm" ]; then
	missing "everything: there is no helm; GOBIN=$tools go install helm.sh/helm/v4/cmd/helm@latest"
	exit 0
fi

# render NAME VALUES…: writes $work/NAME.yaml as it would be installed in the namespace "ops"
render() {
	into=$work/$1.yaml
	shift
	"$helm" template release "$chart" --namespace ops --include-crds "$@" >"$into" 2>"$work/error" || {
		cat "$work/error" >&2
		return 1
	}
}
kinds() { sed -n 's/^kind: //p' "$work/$1.yaml" | sort | uniq -c | tr -s ' \n' ' '; }
expect() { # what, expected, actual
	if [ "$2" = "$3" ]; then pass "$1"; else fail "$1: expected '$2', got '$3'"; fi
}
refused() { # what, words of the refusal, values…
	what=$1 words=$2
	shift 2
	if "$helm" template release "$chart" "$@" >/dev/null 2>"$work/error"; then
		fail "$what was accepted"
	elif grep -q "$words" "$work/error"; then
		pass "$what is refused"
	else
		fail "$what is refused with other words: $(cat "$work/error")"
	fi
}

if "$helm" lint --strict --quiet "$chart"; then pass "helm lint"; else fail "helm lint"; fi

two='watchNamespaces={security,it-support}'
render all && render two --set "$two" && render two-cluster --set "$two" --set clusterProviders.enabled=true \
	&& render secrets --set 'clusterProviderSecrets={pingone-shared}' || fail "helm template"
three=' 3 CustomResourceDefinition 1 Deployment'
expect "all namespaces: one ClusterRole, one Role" \
	" 1 ClusterRole 1 ClusterRoleBinding$three 1 Role 1 RoleBinding 1 Service 1 ServiceAccount " "$(kinds all)"
expect "two namespaces: a Role each, no ClusterRole" \
	"$three 3 Role 3 RoleBinding 1 Service 1 ServiceAccount " "$(kinds two)"
expect "two namespaces and the cluster kind: a ClusterRole, and a Role for its events" \
	" 1 ClusterRole 1 ClusterRoleBinding$three 4 Role 4 RoleBinding 1 Service 1 ServiceAccount " "$(kinds two-cluster)"
render three --set replicas=3 && expect "several replicas: an election, and the right to the lease" "2 1" \
	"$(grep -c 'resources: \[leases\]' "$work/three.yaml") $(grep -A1 'LEADER_ELECT' "$work/three.yaml" | grep -c 'value: "true"')"
expect "one replica: no election, and no right to leases" "0 1" \
	"$(grep -c 'resources: \[leases\]' "$work/all.yaml") $(grep -A1 'LEADER_ELECT' "$work/all.yaml" | grep -c 'value: "false"')"
expect "no Secret by default" "0" "$(grep -c 'resources: \[secrets\]' "$work/all.yaml" || true)"
expect "Secrets by name" "1" "$(grep -c -- '- pingone-shared' "$work/secrets.yaml" || true)"
expect "namespaces reach the operator" "1" "$(grep -c 'value: "security,it-support"' "$work/two.yaml" || true)"

render large --set ledgerRetentionDays=4000000 && expect "a large number stays one" 1 "$(grep -c '"4000000"' "$work/large.yaml" || true)"
refused "a misspelt value" "watchNamespace" --set 'watchNamespace={a}'
refused "a namespace that cannot be one" "watchNamespaces" --set 'watchNamespaces={Security}'
refused "a namespace twice" "watchNamespaces" --set 'watchNamespaces={a,a}'
refused "a concurrency of nothing" "concurrency" --set concurrency=0
refused "an address that is none" "allowedAddresses" --set 'allowedAddresses={localhost}'
refused "a password in the values" "proxyURL" --set 'proxyURL=http://user:password@proxy.example'
render proxy --set proxyURLSecret.name=proxy && expect "the proxy's address can be in a Secret" 1 "$(grep -c 'key: proxyURL' "$work/proxy.yaml" || true)"
refused "an API server that is too old" "kubeVersion" --kube-version 1.30.0

if [ -n "$kubeconform" ]; then
	for rendered in all two-cluster secrets; do
		if "$kubeconform" -strict -skip CustomResourceDefinition "$work/$rendered.yaml"; then
			pass "kubeconform $rendered"
		else
			fail "kubeconform $rendered"
		fi
	done
else
	missing "schemas of objects: there is no kubeconform"
fi

if [ $# -eq 0 ]; then
	missing "installation: give a kubeconfig"
elif [ -z "$kubectl" ]; then
	missing "installation: there is no kubectl"
else
	export KUBECONFIG="$1"
	own=chart-check-$$ served=chart-check-$$-served
	for namespace in "$own" "$served"; do
		"$kubectl" create namespace "$namespace" >/dev/null
		# The pod must do with the strictest standard; a Deployment that would not is warned about.
		"$kubectl" label namespace "$namespace" pod-security.kubernetes.io/enforce=restricted \
			pod-security.kubernetes.io/warn=restricted >/dev/null
	done
	remove() {
		"$helm" uninstall --namespace "$own" release >/dev/null 2>&1 || true
		"$kubectl" delete namespace "$own" "$served" --wait=false >/dev/null
		rm -rf "$work"
	}
	trap remove EXIT
	can() { # yes or no, verb, resource, more…
		answer=$1
		shift
		said=$("$kubectl" auth can-i "$@" --as "system:serviceaccount:$own:$name" 2>/dev/null || true)
		expect "$answer: $*" "$answer" "$said"
	}
	if "$helm" install release "$chart" --namespace "$own" --set 'clusterProviderSecrets={shared}' >"$work/out" 2>&1; then
		pass "helm install"
	else
		fail "helm install: $(cat "$work/out")"
	fi
	expect "no warning of the pod security standard" 0 "$(grep -ci 'violate' "$work/out" || true)"
	can yes watch identityproviders.passwordreset.dev --all-namespaces
	can yes patch passwordresetpolicies.passwordreset.dev --subresource=status --all-namespaces
	can yes list clusteridentityproviders.passwordreset.dev
	can yes create events.events.k8s.io --all-namespaces
	can yes update configmaps --namespace "$own"
	can yes get secrets/shared --namespace "$own"
	can no patch passwordresetpolicies.passwordreset.dev --all-namespaces
	can no get secrets/other --namespace "$own"
	can no list secrets --namespace "$own"
	can no get secrets --all-namespaces
	can no get configmaps --namespace "$served"
	if "$helm" upgrade release "$chart" --namespace "$own" --set "watchNamespaces={$served}" >"$work/out" 2>&1; then
		pass "helm upgrade to one namespace"
	else
		fail "helm upgrade to one namespace: $(cat "$work/out")"
	fi
	can yes watch identityproviders.passwordreset.dev --namespace "$served"
	can yes create events.events.k8s.io --namespace "$served"
	can no watch identityproviders.passwordreset.dev --all-namespaces
	can no list clusteridentityproviders.passwordreset.dev
	can no get secrets/shared --namespace "$own"
	if "$helm" uninstall release --namespace "$own" >"$work/out" 2>&1; then
		pass "helm uninstall"
	else
		fail "helm uninstall: $(cat "$work/out")"
	fi
	can no watch identityproviders.passwordreset.dev --namespace "$served"
fi

if [ "$failed" -gt 0 ]; then
	echo "$failed checks failed" >&2
	exit 1
fi
