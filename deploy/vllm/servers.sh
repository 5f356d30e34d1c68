# shellcheck shell=bash
# What the start files beside this one share: how `vllm serve` is started for a role, waited for and put to sleep.
# To be sourced by bash. NOT TRIED ON A GPU: the flags were read by vLLM 0.32's own parser, the rest ran with a stand-in.
#
# A caller may set, before: VLLM (the command, by default vllm), START_SECONDS (how long a server may take until it is
# healthy), BATCH_INVARIANT (see below), and for each role, CHAT_ or VISION_: MODEL, REVISION, PORT, CARD, MEMORY (share
# of the card), SEATS (requests at a time), CONTEXT (tokens).
#
# BATCH_INVARIANT=1 has vLLM compute each request as if it were alone, so that its answer does not depend on who else
# asks at that moment: without it, `interlake regenerate` finds other tokens wherever batches differed. It costs speed,
# is beta in vLLM 0.32, and wants a card of compute capability 8.0 or more. 0 turns it off.

HOST=127.0.0.1
: "${VLLM:=vllm}" "${START_SECONDS:=900}" "${BATCH_INVARIANT:=1}"
: "${CHAT_MODEL:=Qwen/Qwen2.5-7B-Instruct}" "${CHAT_REVISION:=}" "${CHAT_PORT:=8000}" "${CHAT_CARD:=0}"
: "${CHAT_MEMORY:=0.85}" "${CHAT_SEATS:=64}" "${CHAT_CONTEXT:=8192}"
: "${VISION_MODEL:=Qwen/Qwen2.5-VL-7B-Instruct}" "${VISION_REVISION:=}" "${VISION_PORT:=8001}" "${VISION_CARD:=0}"
: "${VISION_MEMORY:=0.85}" "${VISION_SEATS:=32}" "${VISION_CONTEXT:=16384}"

SLEEPS=0        # 1: the server can give its card back; set before start
SHOW=0          # 1: the commands are shown, and nothing is run
declare -A PIDS=()  # the servers that run, by role

# The value of ROLE_NAME: of chat PORT, CHAT_PORT.
value() {
  local name="${1^^}_$2"
  printf '%s' "${!name}"
}

# Sets COMMAND to what starts the server of a role.
compose() {
  local role="$1" revision
  revision="$(value "$role" REVISION)"
  COMMAND=(
    env "CUDA_VISIBLE_DEVICES=$(value "$role" CARD)" "VLLM_BATCH_INVARIANT=$BATCH_INVARIANT" VLLM_NO_USAGE_STATS=1
  )
  # The pages /sleep and /wake_up are served in development mode alone, which is why nothing but this host may ask.
  if [ "$SLEEPS" = 1 ]; then COMMAND+=(VLLM_SERVER_DEV_MODE=1); fi
  COMMAND+=(
    "$VLLM" serve "$(value "$role" MODEL)" --host "$HOST" --port "$(value "$role" PORT)" --dtype bfloat16
    --max-model-len "$(value "$role" CONTEXT)" --max-num-seqs "$(value "$role" SEATS)"
    --gpu-memory-utilization "$(value "$role" MEMORY)" --generation-config vllm
    --structured-outputs-config '{"backend": "xgrammar", "disable_any_whitespace": true}'
  )
  if [ -n "$revision" ]; then COMMAND+=(--revision "$revision" --tokenizer-revision "$revision"); fi
  if [ "$role" = vision ]; then COMMAND+=(--limit-mm-per-prompt '{"image": 10, "video": 0}'); fi
  if [ "$SLEEPS" = 1 ]; then COMMAND+=(--enable-sleep-mode); fi
}

# Starts the server of a role and returns once it is healthy; ends all and fails when it ends or takes too long.
start() {
  local role="$1" since=$SECONDS
  compose "$role"
  if [ "$SHOW" = 1 ]; then
    printf '%q ' "${COMMAND[@]}"
    echo
    return
  fi
  command -v curl >/dev/null || { echo "curl is not installed, by which servers are waited for" >&2; exit 1; }
  if [ -z "$(value "$role" REVISION)" ]; then
    echo "$role: ${role^^}_REVISION is not set; set it to the commit in interlake.toml ('interlake models pin')" >&2
  fi
  "${COMMAND[@]}" &
  PIDS[$role]=$!
  until ask "$role" GET /health 5; do
    if ! kill -0 "${PIDS[$role]}" 2>/dev/null; then
      echo "$role: the server ended before it was healthy" >&2
      exit 1
    fi
    if [ $((SECONDS - since)) -ge "$START_SECONDS" ]; then
      echo "$role: not healthy after $START_SECONDS seconds" >&2
      exit 1
    fi
    sleep 1
  done
  echo "$role: ready at http://$HOST:$(value "$role" PORT)/v1"
}

# Has the server of a role give its card back; `interlake build` wakes it when its turn comes.
put_to_sleep() {
  if [ "$SHOW" = 1 ]; then
    echo "curl -X POST http://$HOST:$(value "$1" PORT)/sleep?level=1"
  elif ask "$1" POST '/sleep?level=1' 300; then
    echo "$1: asleep"
  else
    echo "$1: does not sleep" >&2
    exit 1
  fi
}

# Whether the server of a role answers a page with success, within so many seconds: ask ROLE METHOD PAGE SECONDS.
ask() {
  curl --silent --fail --output /dev/null --noproxy '*' --max-time "$4" --request "$2" \
    "http://$HOST:$(value "$1" PORT)$3"
}

# Ends the servers that run; called however the script ends.
end_all() {
  trap - EXIT
  if [ "${#PIDS[@]}" -gt 0 ]; then
    kill "${PIDS[@]}" 2>/dev/null || true
    wait "${PIDS[@]}" 2>/dev/null || true
  fi
}

all_run() {
  local pid
  for pid in "${PIDS[@]}"; do kill -0 "$pid" 2>/dev/null || return 1; done
}

# Waits for as long as all servers run; one that ends is an error.
stay() {
  if [ "$SHOW" = 1 ]; then return; fi
  # Not `wait -n`: it never hears of a server that ended just before it was called.
  while all_run; do sleep 1; done
  echo "a server ended; ending the others" >&2
  exit 1
}

for word in "$@"; do
  case "$word" in
    --show) SHOW=1 ;;
    *)
      echo "usage: $0 [--show]    (--show: the commands, and nothing is run)" >&2
      exit 2
      ;;
  esac
done
trap end_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
