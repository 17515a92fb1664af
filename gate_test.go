package main

import (
	"testing"

	"mergescope/merge"
)

func TestStops(t *testing.T) {
	alert := func(l merge.Level, c merge.Code) merge.Alert { return merge.Alert{Level: l, Code: c} }
	for _, tc := range []struct {
		alert  merge.Alert
		failOn []string
		want   bool
	}{
		{alert(merge.Error, merge.CodeNonFinite), nil, true},
		{alert(merge.Warning, merge.CodeErased), nil, false},
		{alert(merge.Warning, merge.CodeErased), []string{"erased"}, true},
		{alert(merge.Warning, merge.CodeErased), []string{"weak"}, true}, // erased is weak and more
		{alert(merge.Warning, merge.CodeWeak), []string{"erased"}, false},
		{alert(merge.Warning, merge.CodeWeak), []string{"warning"}, true},
		{alert(merge.Info, merge.CodeNoisy), []string{"warning"}, false},
		{alert(merge.Info, merge.CodeNoisy), []string{"error", "info"}, true},
	} {
		if got := stops(tc.alert, tc.failOn); got != tc.want {
			t.Errorf("%v %s with --fail-on %v: %v, want %v", tc.alert.Level, tc.alert.Code, tc.failOn, got, tc.want)
		}
	}
}

// A list of alerts that stops naming layers does not hide those of the layers.
func TestAllAlerts(t *testing.T) {
	r := testReport(
		testLayer("a", 0.05, merge.Alert{Level: merge.Warning, Code: merge.CodeErased}),
		testLayer("b", 0.05, merge.Alert{Level: merge.Warning, Code: merge.CodeErased}),
	)
	if got := len(allAlerts(r)); got != 2 {
		t.Errorf("%d alerts, want 2", got)
	}
	r.Alerts = r.Alerts[:1]
	if got := allAlerts(r); len(got) != 2 || got[1].Layer != "b" {
		t.Errorf("alerts %v, want those of a and b", got)
	}
}
