#!/usr/bin/env bash
# Chat and vision on one card, in turns with the painter: each is loaded, and gives the card back before the next is.
# `interlake build` with the settings of one-card.toml wakes whose turn it is. NOT TRIED ON A GPU.
# The weights of both wait in the machine's memory meanwhile: some 32 GB for two models of 7 billion parameters.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=servers.sh
source "$(dirname "$0")/servers.sh"

SLEEPS=1
start chat
put_to_sleep chat
start vision
put_to_sleep vision
stay
