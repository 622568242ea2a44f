# What a plan may do without somebody's word. Used with conftest, on the output of `drover show --json PLANFILE`.
package main

import rego.v1

# At most so many guests restart in one apply.
max_reboots := 5

deny contains "unknown form of plan" if not startswith(input.format_version, "1.")

deny contains "not every host answered, or something is blocked" if not input.complete

deny contains message if {
	some change in input.resource_changes
	change.type == "server"
	change.impact.class in {"rebuild", "replace", "destroy"}
	message := sprintf("%s: %s (%s)", [change.address, change.impact.words, change.reason.words])
}

deny contains message if {
	reboots := [change.address |
		some change in input.resource_changes
		change.impact.class == "reboot"
	]
	count(reboots) > max_reboots
	message := sprintf("%d guests would restart, at most %d may", [count(reboots), max_reboots])
}

warn contains message if {
	some drift in input.resource_drift
	message := sprintf("%s was changed outside of Drover: %s", [drift.address, drift.what.drift])
}
