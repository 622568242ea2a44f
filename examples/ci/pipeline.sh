#!/bin/sh
# A pipeline in two steps around a review, for any CI system.
#
#   pipeline.sh plan  DIR PLANFILE    writes the plan, and its text and JSON beside it
#   pipeline.sh apply DIR PLANFILE    applies exactly that plan, or nothing
#
# The operator's certificate comes from DROVER_CA_FILE, DROVER_CERT_FILE and DROVER_KEY_FILE, values of
# variables from DROVER_VAR_<name>. PLANFILE is an absolute path, or relative to DIR; it holds the values
# of variables that are not sensitive and should be kept like the configuration itself.
set -eu

usage() {
  echo "usage: pipeline.sh plan|apply DIR PLANFILE" >&2
  exit 1
}
[ $# -eq 3 ] || usage
step=$1 dir=$2 plan=$3

case "$step" in
  plan)
    drover -C "$dir" validate
    status=0
    drover -C "$dir" --no-color plan --out "$plan" --detailed-exitcode || status=$?
    # 0: nothing to do. 2: there are changes. All else is an error: an unreachable host or blocked change too.
    case "$status" in
      0) echo "pipeline: nothing to do" ;;
      2) echo "pipeline: to be reviewed: drover -C $dir show $plan" ;;
      *) exit "$status" ;;
    esac
    ;;
  apply)
    status=0
    drover -C "$dir" --no-color apply "$plan" --lock-timeout 10m || status=$?
    # 3: somebody else applies. 4: the fleet has changed since the plan was made: plan and review again.
    # 5: applied in part: what is done is recorded; the next plan starts from there.
    exit "$status"
    ;;
  *) usage ;;
esac
