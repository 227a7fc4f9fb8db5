#!/bin/bash
# The origins have another metainfo of a blob than a download was begun with
# (here: made by other rules while they were away, as after a lost disk): the
# client that waits is not kept waiting, and the next one gets the blob.
. "$(dirname "$0")/fault_lib.sh"
need python3

# metainfo_replace FILE BLOB PIECE_BYTES: peerwire/metainfo.h
metainfo_replace()
{
	python3 - "$@" <<-'END'
	import hashlib, struct, sys
	path, blob, piece = sys.argv[1], sys.argv[2], int(sys.argv[3])
	data = open(blob, 'rb').read()
	hashes = b''.join(hashlib.sha256(data[i:i + piece]).digest()
	                  for i in range(0, len(data), piece))
	text = lambda s: (bytes([0xa0 + len(s)]) if len(s) < 32 else
	                  bytes([0xd9, len(s)])) + s.encode()
	out = b'\x85' + text('v') + b'\x01'
	out += text('digest') + text('sha256:' + hashlib.sha256(data).hexdigest())
	out += text('size') + b'\xce' + struct.pack('>I', len(data))
	out += text('piece') + b'\xce' + struct.pack('>I', piece)
	out += text('hashes') + b'\xc5' + struct.pack('>H', len(hashes)) + hashes
	open(path, 'wb').write(out)
	END
}

cluster_start 2 2
blob_make "$WORK/layer" $((9 * MIB)) 1
layer=$(blob_push "$WORK/layer" team/app)
blob_get agent1 team/app "$layer" "$WORK/got" # the tracker knows it now
expect_status 200 "pull before"
role_stop agent1
role_stop origin1
role_stop origin2
touch "$WORK/cut"
spawn "$WORK/log/curl" curl -s -o "$WORK/cut" \
	"$(registry agent2)/v2/team/app/blobs/$layer"
client=$SPAWNED
wait_for 30 test -e "$WORK/data/agent2/partial/${layer#sha256:}"
for origin in origin1 origin2; do
	metainfo_replace "$WORK/data/$origin/meta/${layer#sha256:}" \
		"$WORK/layer" $((1024 * 1024))
	role_run $origin
done
wait_ready origin1 origin2
wait_for 60 is_gone "$client"
expect_eq "$(size_of "$WORK/cut")" 0 "bytes of the download that cannot go on"
blob_get agent2 team/app "$layer" "$WORK/got"
expect_status 200 "pull after"
expect_same "$WORK/layer" "$WORK/got" "pull after"

# An origin that was away for a push gets the blob with the next one, although
# that comes in another way: all make the same metainfo of it.
blob_make "$WORK/small" 1000 2
role_stop origin2
small=$(blob_push "$WORK/small" team/app)
role_run origin2
wait_ready origin2
reaches_origin2()
{
	push_chunked "$WORK/small" team/app >/dev/null
	[ -e "$(stored origin2 "$small")" ]
}
wait_for 20 reaches_origin2 # once the proxy trusts it again
