# The REST API with curl, for stories; sourced by those that need it, after lib.sh.
# shellcheck shell=bash

API=http://127.0.0.1:$API_PORT
V1=$API/api/v1

# api METHOD PATH [BODY] [CURL ARGUMENTS...]: leaves the status in $STATUS, the headers in the file headers, and prints the body. PATH
# is an URL, or one behind /api/v1.
api()
{
    local method=$1 url=$2 arguments=()
    shift 2
    [[ $url == http* ]] || url=$V1$url
    if [ $# -gt 0 ]; then
        [ -z "$1" ] || arguments=(-H 'Content-Type: application/json' --data-binary "$1")
        shift
    fi
    STATUS=$(curl -sS --max-time 60 -X "$method" -D headers -o answer -w '%{http_code}' "${arguments[@]}" "$@" "$url") ||
        fail "curl failed: $method $url"
    cat answer
}
# answers STATUS METHOD PATH [BODY] [CURL ARGUMENTS...]: it must have this status; the body is in the file answer.
answers()
{
    local want=$1
    shift
    api "$@" >/dev/null
    [ "$STATUS" = "$want" ] || fail "$1 $2 ${3-}: status $STATUS, expected $want: $(cat answer)"
    case $want in
    4* | 5*)
        grep -q '^Content-Type: application/problem+json' headers || fail "no problem: $(cat headers)"
        ;;
    esac
}
# problem STATUS CODE METHOD PATH …: it must be refused with this code.
problem()
{
    local status=$1 code=$2
    shift 2
    answers "$status" "$@"
    same "$(field code <answer)" "$code" "$1 $2 ${3-}"
    say "refused as it should: $(field detail <answer)"
}
got() { field "$1" <answer; }
header() { sed -n "s/^$1: //Ip" headers | tr -d '\r'; }

# client_make URL: a client made of the document of the node at URL, type-checked; leaves the program in $CLIENT. Needs npm and what
# it fetches, once for each lock file. Debian's and others' node serve.
client_make()
{
    local packages
    command -v npm >/dev/null && command -v node >/dev/null || skip "no npm to make a client with"
    packages=$BUILD/rest-client-$(sha256sum "$HERE/client/package-lock.json" | cut -c1-12)
    if [ ! -e "$packages/complete" ]; then
        mkdir -p "$packages"
        cp "$HERE"/client/package.json "$HERE"/client/package-lock.json "$packages"
        (cd "$packages" && timeout 300 npm ci --ignore-scripts --no-audit --no-fund --loglevel=error --fetch-retries=1) >npm.log 2>&1 ||
            skip "npm could not fetch its packages: $(tail -n 1 npm.log)"
        : >"$packages/complete"
    fi
    mkdir client
    ln -s "$packages/node_modules" client/node_modules
    cp "$HERE"/client/client.ts "$HERE"/client/tsconfig.json client
    cp "$packages/package.json" client
    curl -sS "$1/openapi.json" >client/openapi.json
    (cd client && node_modules/.bin/openapi-typescript openapi.json -o api.ts && node_modules/.bin/tsc -p .) || fail "no client can be made of the document"
    CLIENT=$TMP/client/client.js
}
