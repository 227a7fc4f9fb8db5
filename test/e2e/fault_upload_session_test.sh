#!/bin/bash
# An upload begun on one of two proxies goes on there only: Location says where,
# the other one says that it knows no such upload, and so does the first once
# the session has not been used for its time to live.
. "$(dirname "$0")/fault_lib.sh"

readonly TTL=2 # seconds

# proxy_conf NAME: with its own address before Location, and a short time to live
proxy_conf()
{
	ARGS_OF[$1]=
	conf_print "$1" >"$WORK/conf/$1.yaml"
	sed -i "s|^registry: {|&advertise: \"http://localhost:${PORT_OF["$1 registry"]}\", |" \
		"$WORK/conf/$1.yaml"
	sed -i "s|^store: {|&upload_ttl: ${TTL}s, |" "$WORK/conf/$1.yaml"
}

# elsewhere URL: the same path at the second proxy
elsewhere() { echo "$(registry proxy2)/${1#http://*/}"; }

session_file() { echo "$WORK/data/proxy/uploads/${1##*/}"; }
is_expired() { [ ! -e "$(session_file "$1")" ]; }

cluster_start 2 1
role_define proxy2 proxy
role_stop proxy
for name in proxy proxy2; do
	proxy_conf $name
	role_run $name
done
wait_ready proxy proxy2
blob_make "$WORK/layer" $((3 * MIB)) 41
digest=$(digest_of "$WORK/layer")

# ---- Location is where the session is, and nobody else has it

upload_open test/session
expect_match "$UPLOAD" \
	"^http://localhost:${PORT_OF["proxy registry"]}/v2/test/session/" \
	"Location"
here=${UPLOAD/localhost/127.0.0.1}
there=$(elsewhere "$UPLOAD")
http PATCH "$there" -T "$WORK/layer" \
	-H 'Content-Type: application/octet-stream'
expect_error 404 BLOB_UPLOAD_UNKNOWN "a PATCH to the other proxy"
http PUT "$(with_digest "$there" "$digest")" -H 'Content-Length: 0'
expect_error 404 BLOB_UPLOAD_UNKNOWN "a PUT to the other proxy"
http GET "$there"
expect_error 404 BLOB_UPLOAD_UNKNOWN "a GET at the other proxy"
http PATCH "$here" -T "$WORK/layer" \
	-H 'Content-Type: application/octet-stream'
expect_status 202 "a PATCH where the session is"
expect_match "$(http_header location)" "^http://localhost:" "Location of a PATCH"
http PUT "$(with_digest "$here" "$digest")" -H 'Content-Length: 0'
expect_status 201 "the upload"
get_same agent1 test/session "$digest"

# ---- what is pushed through one is there for the other

http HEAD "$(registry proxy2)/v2/test/session/blobs/$digest"
expect_status 200 "the blob at the other proxy"
image=$(image_push test/session v1 "$WORK/layer")
http GET "$(registry proxy2)/v2/test/session/manifests/v1"
expect_eq "$(http_header docker-content-digest)" "$image" \
	"the tag at the other proxy"

# ---- a session that nobody uses expires, while the proxy runs

upload_open test/session
here=${UPLOAD/localhost/127.0.0.1}
http PATCH "$here" -T "$WORK/layer" \
	-H 'Content-Type: application/octet-stream'
expect_status 202 "a PATCH"
wait_for 20 is_expired "$here"
http PATCH "$here" -T "$WORK/layer" \
	-H 'Content-Type: application/octet-stream'
expect_error 404 BLOB_UPLOAD_UNKNOWN "a PATCH to an expired session"
wait_for 5 metric_eq proxy 'kraken_store_bytes{kind="upload"}' 0
