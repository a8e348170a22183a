#!/bin/sh
# curl only: ask, lose the connection again and again, and have every byte once.
#
#   npm start                                                  in one terminal; in another:
#   sh examples/curl.sh "Tell me about the sea"
set -u
url=${HOLDFAST_URL:-http://127.0.0.1:8787}
key=${HOLDFAST_KEY:-$(cat .holdfast/api-key)}
prompt=${1:-Tell me about the sea}
id=${2:-curl-$$}
answer=$(mktemp)
head=$(mktemp)
trap 'rm -f "$answer" "$head"' EXIT

# The first request may be sent again: its key makes the second one join the answer of the first.
until curl -sN "$url/v1/chat/completions" -H "Authorization: Bearer $key" -H 'Content-Type: application/json' \
  -H "X-Conversation-Id: $id" -H "Idempotency-Key: $id" -D "$head" -o "$answer" \
  -d "{\"messages\":[{\"role\":\"user\",\"content\":\"$prompt\"}],\"max_tokens\":200,\"stream\":true}" ||
  grep -qi '^holdfast-session:' "$head"; do sleep 1; done
session=$(grep -i '^holdfast-session:' "$head" | tr -d '\r' | cut -d' ' -f2)

# A connection that ends is not an answer that ends: only its last event is. The gateway pings every 2 s.
until grep -q '^data: \[DONE\]' "$answer"; do
  from=$(wc -c < "$answer" | tr -d ' ')
  part=$(curl -sN -f "$url/v1/stream/$id?from=$from&session=$session" -H "Authorization: Bearer $key" -D "$head" \
    --speed-limit 1 --speed-time 12 -o "$answer.part"; echo $?)
  if [ -f "$answer.part" ]; then cat "$answer.part" >> "$answer"; rm "$answer.part"; fi
  [ "$part" -ne 22 ] || { echo "The gateway refuses: $(head -1 "$head")" >&2; exit 1; }
done
cat "$answer"
