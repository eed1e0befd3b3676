# /docs and /redoc: what they load comes from the node, packed and named by tags; a browser that reaches nothing else shows every operation.
# shellcheck source=../rest.sh
. "$HERE/rest.sh"

node_start
answers 200 GET "$API/docs"
cp answer docs
answers 200 GET "$API/redoc"
if grep -q 'has no interactive documentation' docs; then
    same "$(header Content-Type)" 'text/html; charset=utf-8'
    answers 404 GET "$API/docs/swagger-ui-bundle.js"
    skip "built without npm: $(sed -n 's/.*documentation: //p' docs)"
fi

say "== everything that a page names is here, of its kind, with a policy and a tag"
for page in docs redoc; do
    answers 200 GET "$API/$page"
    header Content-Security-Policy | grep -q "default-src 'none'; script-src 'self';" || fail "no policy"
    ! grep -q '<script>\|://' answer || fail "$page has a script in it, or an address of somebody else"
    for file in $(sed -n 's/.*\(href\|src\)="\([^"]*\)".*/\2/p' answer | grep -v '^data:'); do
        answers 200 GET "$API/$file" '' --compressed
        case $file in
        *.js) same "$(header Content-Type)" 'text/javascript; charset=utf-8' ;;
        *.css) same "$(header Content-Type)" 'text/css; charset=utf-8' ;;
        *) continue ;;
        esac
        same "$(header X-Content-Type-Options) $(header Cache-Control)" 'nosniff no-cache'
        etag=$(header ETag)
        : >answer
        answers 304 GET "$API/$file" '' -H "If-None-Match: \"other\", $etag"
        [ ! -s answer ] || fail "304 with a body"
        answers 200 GET "$API/$file" '' -H 'If-None-Match: "other"' --compressed
    done
done
answers 200 GET "$API/docs/swagger-ui-bundle.js" '' -H 'Accept-Encoding: br, gzip;q=0.5'
same "$(header Content-Encoding)" gzip
problem 406 ENOTACCEPTABLE GET "$API/docs/swagger-ui-bundle.js" '' -H 'Accept-Encoding: gzip;q=0, identity'
problem 404 ENOTFOUND GET "$API/docs/nothing.js"
problem 404 ENOTFOUND GET "$API/docs/..%2f..%2fetc%2fpasswd"
problem 405 EMETHOD POST "$API/docs" '{}'

command -v chromium >/dev/null || skip "no chromium to look at the pages with; the files are as they should be"
say "== in a browser that reaches this node alone"
browse()
{
    timeout 300 chromium --headless=new --no-sandbox --disable-gpu --user-data-dir="$TMP/browser" --virtual-time-budget=30000 \
        --window-size=1300,2000 --host-resolver-rules='MAP * ~NOTFOUND, EXCLUDE 127.0.0.1' --enable-logging=stderr "$@" 2>browser.log || fail "the browser: $(tail -n 3 browser.log)"
    # Errors of scripts, and what the policy did not let pass.
    ! grep ':CONSOLE' browser.log || fail "the page complains"
}
answers 200 GET "$API/openapi.json"
/usr/bin/python3 -c '
import json
for path, operations in json.load(open("answer"))["paths"].items():
    for operation in operations.values():
        print(path, operation["summary"].split(",")[0].split("'"'"'")[0], sep="\t")' >operations
for page in docs redoc; do
    browse --dump-dom "$API/$page" >"$page.dom"
    shown=0
    while IFS=$'\t' read -r path summary; do
        grep -qF -- "$summary" "$page.dom" || fail "/$page does not show $path: $summary"
        shown=$((shown + 1))
    done <operations
    [ "$shown" -ge 40 ] || fail "the document has $shown operations"
done

say "== what its forms send is taken: from the page's own origin, with a token"
token=$(pstorage token create page --role operator)
answers 201 POST /volumes '{"name": "from-page", "size_gb": 1}' -H "Origin: $API" -H "Authorization: Bearer $token"
problem 403 EFORBIDDEN POST /pods/default/switchover '' -H "Origin: $API" -H "Authorization: Bearer $token"
