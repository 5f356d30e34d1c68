#!/usr/bin/env bash
# Chat on the first card, for itself; vision on the second, in turns with the painter, by the settings of two-cards.toml.
# NOT TRIED ON A GPU.
set -euo pipefail
: "${VISION_CARD:=1}"
# shellcheck source-path=SCRIPTDIR source=servers.sh
source "$(dirname "$0")/servers.sh"

start chat
SLEEPS=1
start vision
put_to_sleep vision
stay
