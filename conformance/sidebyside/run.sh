#!/bin/sh
# Runs the recorded cases against Mayfly, moto and LocalStack, one after another on this machine, with the same independent
# runner and none of its exclusions, and measures three Pass states over HTTP.
#
#   make side-by-side                       every peer
#   conformance/sidebyside/run.sh mayfly    one
#
# SHARED is the folder that holds asl-cases/ (cases and run_asl_cases.py). PEERS are installed into .tools from PyPI.
set -eu
cd "$(dirname "$0")/../.."
SHARED=${SHARED:-../shared}
MOTO=5.2.5
LOCALSTACK=4.12.0
# Executions that wait for at most 5 s, of the machine's own parts: what each peer can do without Docker.
RUNNER="python3 $SHARED/asl-cases/run_asl_cases.py"
CASES="--jobs 4 --max-seconds 5 --timeout 15 --create-roles --kind execution,test_state,validate,create_error,script"
OUT=.tools/side-by-side
mkdir -p "$OUT"
pid=
end() { # LocalStack may not end by itself
	[ -n "$pid" ] || return 0
	kill "$pid" 2>/dev/null || true
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.25
	done
	kill -9 "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
	pid=
}
trap end EXIT
trap 'exit 1' INT TERM

# ready URL: until it answers, for a minute.
ready() {
	for _ in $(seq 240); do
		curl -s -o /dev/null "$1" && return 0
		kill -0 "$pid" 2>/dev/null || { echo "the server ended; see $OUT" >&2; return 1; }
		sleep 0.25
	done
	echo "no answer from $1 within a minute" >&2
	return 1
}

# measure NAME ENDPOINT ACCOUNT PATH: serve_NAME starts a server that is ready when PATH answers. Each file of cases gets a
# server of its own: moto's parser keeps the state of a definition that it refused, and refuses good ones after it.
measure() {
	echo "== $1"
	rm -f "$OUT/$1"-*.json
	for cases in "$SHARED"/asl-cases/*.json; do
		"serve_$1"
		ready "$2$4"
		[ "$1" != moto ] || curl -s -o /dev/null -X POST "$2/moto-api/config" -d '{"stepfunctions": {"execute_state_machine": true}, "lambda": {"use_docker": false}}'
		$RUNNER "$2" "$cases" $CASES --account "$3" --services iam --json "$OUT/$1-$(basename "$cases")" >/dev/null
		end
	done
	"serve_$1"
	ready "$2$4"
	python3 conformance/sidebyside/totals.py "$OUT/$1"-*.json
	[ "$1" != moto ] || curl -s -o /dev/null -X POST "$2/moto-api/config" -d '{"stepfunctions": {"execute_state_machine": true}}'
	python3 conformance/sidebyside/latency.py "$2" "$3"
	end
}

serve_mayfly() {
	rm -rf "$OUT/mayfly"
	bin/mayfly serve --listen 127.0.0.1:5461 --data-dir "$OUT/mayfly" >"$OUT/mayfly.log" 2>&1 & pid=$!
}

mayfly() {
	make --no-print-directory build
	measure mayfly http://127.0.0.1:5461 000000000000 /_mayfly/health
}

serve_moto() {
	".tools/moto-$MOTO/bin/moto_server" -H 127.0.0.1 -p 5462 >"$OUT/moto.log" 2>&1 & pid=$!
}

moto() {
	venv=.tools/moto-$MOTO
	[ -e "$venv/done" ] || { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet "moto[server,all]==$MOTO" && touch "$venv/done"; }
	measure moto http://127.0.0.1:5462 123456789012 /moto-api/
}

serve_localstack() { # in host mode, without Docker
	FILESYSTEM_ROOT=$PWD/$OUT/localstack GATEWAY_LISTEN=127.0.0.1:5463 GATEWAY_SERVER=hypercorn DISABLE_EVENTS=1 SKIP_SSL_CERT_DOWNLOAD=1 DNS_ADDRESS=0 \
		SERVICES=stepfunctions,iam,sts,logs STRICT_SERVICE_LOADING=1 ".tools/localstack-$LOCALSTACK/bin/python" -m localstack.runtime.main >"$OUT/localstack.log" 2>&1 & pid=$!
}

localstack() { # needs Python 3.13; JSONata there needs Java, which it downloads
	venv=.tools/localstack-$LOCALSTACK
	python=${PYTHON313:-python3.13}
	[ -e "$venv/done" ] || {
		"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null || { echo "== localstack: needs Python 3.13 (PYTHON313=path)"; return 0; }
		"$python" -m venv "$venv" && "$venv/bin/pip" install --quiet "localstack-core[runtime]==$LOCALSTACK" 'cbor2<5.8' cryptography==44.0.3 pyopenssl==25.0.0 \
			service-identity==24.2.0 psutil==7.0.0 && touch "$venv/done"
	}
	measure localstack http://127.0.0.1:5463 000000000000 /_localstack/health
}

for peer in ${*:-mayfly moto localstack}; do
	"$peer"
done
