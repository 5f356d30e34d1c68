#!/usr/bin/env bash
# Serves the chat model: writer and critic. Stays until it is ended. NOT TRIED ON A GPU. See servers.sh for what may be set.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=servers.sh
source "$(dirname "$0")/servers.sh"

start chat
stay
