package main

import (
	_ "embed"
	"strings"
)

// metricsDoc explains metrics and alerts to people; its table of alerts is the
// only place that says when each is raised.
//
//go:embed docs/metrics.md
var metricsDoc string

// alertMeanings returns when each alert is raised, by code.
func alertMeanings() map[string]string {
	meanings := map[string]string{}
	_, table, _ := strings.Cut(metricsDoc, "\n## Alerts\n")
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 5 {
			continue
		}
		for _, code := range strings.Split(cells[1], ",") {
			meanings[strings.Trim(code, " `")] = strings.TrimSpace(cells[3])
		}
	}
	return meanings
}
