package main

import (
	"slices"

	"mergescope/merge"
)

// finding is a reason to end with exitAlerts.
type finding struct {
	layer   string // "" for the whole model
	code    string // of an alert, or one of those of a baseline
	message string
	hint    string
}

// checkFailOn reports a usage failure unless all words are codes or levels.
func checkFailOn(failOn []string) error {
	for _, word := range failOn {
		if _, level := failLevel(word); !level && merge.HintFor(merge.Code(word)) == "" {
			return usagef("the codes of alerts are in docs/metrics.md, for example erased or nonfinite; levels are info, warning and error",
				"--fail-on: %q is not known", word)
		}
	}
	return nil
}

// failLevel returns the level a word of --fail-on names, if it names one.
func failLevel(word string) (merge.Level, bool) {
	var l merge.Level
	err := l.UnmarshalText([]byte(word))
	return l, err == nil
}

// stops reports whether an alert is one to fail on: errors always, others when
// --fail-on names their code or level. An erased layer is a weak one and more.
func stops(al merge.Alert, failOn []string) bool {
	if al.Level == merge.Error {
		return true
	}
	return slices.ContainsFunc(failOn, func(word string) bool {
		if level, ok := failLevel(word); ok {
			return al.Level >= level
		}
		code := merge.Code(word)
		return al.Code == code || al.Code == merge.CodeErased && code == merge.CodeWeak
	})
}

// alertCode is the exit code that alerts ask for.
func alertCode(alerts []merge.Alert, failOn []string) int {
	if slices.ContainsFunc(alerts, func(al merge.Alert) bool { return stops(al, failOn) }) {
		return exitAlerts
	}
	return exitFine
}

// alertFindings turns the alerts to fail on into findings.
func alertFindings(alerts []merge.Alert, failOn []string) []finding {
	var found []finding
	for _, al := range alerts {
		if stops(al, failOn) {
			found = append(found, finding{al.Layer, string(al.Code), al.Message, al.Hint})
		}
	}
	return found
}

// alertKey is what makes two alerts the same from one report to the next.
type alertKey struct {
	code    merge.Code
	layer   string
	message string // "" if there is a layer: figures in it change
}

func keyOf(al merge.Alert) alertKey {
	if al.Layer != "" {
		return alertKey{al.Code, al.Layer, ""}
	}
	return alertKey{al.Code, "", al.Message}
}

// allAlerts lists the alerts of a report and of its layers, each once: the list
// of a report stops naming layers when there are thousands.
func allAlerts(r *merge.Report) []merge.Alert {
	all := slices.Clone(r.Alerts)
	seen := map[alertKey]bool{}
	for _, al := range all {
		seen[keyOf(al)] = true
	}
	for _, l := range r.Layers {
		for _, al := range l.Alerts {
			if !seen[keyOf(al)] {
				seen[keyOf(al)] = true
				all = append(all, al)
			}
		}
	}
	return all
}
