package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mergescope/merge"
)

// sarifShape is a definition of the schema of SARIF 2.1.0: the properties it
// requires and those it has of which the program writes some. It allows no
// others.
type sarifShape struct {
	required, optional []string
	of                 map[string]string // definitions of objects and of items of arrays
	open               bool              // any property
}

var sarifShapes = map[string]sarifShape{
	"log":                      {required: []string{"version", "runs"}, optional: []string{"$schema"}, of: map[string]string{"runs": "run"}},
	"run":                      {required: []string{"tool"}, optional: []string{"invocations", "results", "columnKind", "properties"}, of: map[string]string{"tool": "tool", "invocations": "invocation", "results": "result", "properties": "propertyBag"}},
	"tool":                     {required: []string{"driver"}, of: map[string]string{"driver": "toolComponent"}},
	"toolComponent":            {required: []string{"name"}, optional: []string{"version", "rules"}, of: map[string]string{"rules": "reportingDescriptor"}},
	"reportingDescriptor":      {required: []string{"id"}, optional: []string{"shortDescription", "help"}, of: map[string]string{"shortDescription": "multiformatMessageString", "help": "multiformatMessageString"}},
	"multiformatMessageString": {required: []string{"text"}},
	"invocation":               {required: []string{"executionSuccessful"}, optional: []string{"exitCode", "endTimeUtc"}},
	"result": {
		required: []string{"message"},
		optional: []string{"ruleId", "ruleIndex", "level", "locations", "occurrenceCount", "partialFingerprints", "baselineState", "properties"},
		of:       map[string]string{"message": "message", "locations": "location", "partialFingerprints": "propertyBag", "properties": "propertyBag"},
	},
	"message":          {required: []string{"text"}},
	"location":         {optional: []string{"physicalLocation", "logicalLocations"}, of: map[string]string{"physicalLocation": "physicalLocation", "logicalLocations": "logicalLocation"}},
	"physicalLocation": {required: []string{"artifactLocation"}, of: map[string]string{"artifactLocation": "artifactLocation"}},
	"artifactLocation": {optional: []string{"uri"}},
	"logicalLocation":  {optional: []string{"name", "fullyQualifiedName", "kind"}},
	"propertyBag":      {open: true},
}

// checkSARIF holds a value against a definition.
func checkSARIF(t *testing.T, definition string, v any) {
	t.Helper()
	if list, ok := v.([]any); ok {
		for _, item := range list {
			checkSARIF(t, definition, item)
		}
		return
	}
	shape := sarifShapes[definition]
	if shape.open {
		return
	}
	wantFields(t, definition, v, shape.required, shape.optional...)
	for name, value := range v.(object) {
		if of, ok := shape.of[name]; ok {
			checkSARIF(t, of, value)
		}
	}
}

// decodeSARIF checks a file and returns its run and what the schema says only
// in words.
func decodeSARIF(t *testing.T, data []byte) sarifRun {
	t.Helper()
	var raw any
	var log sarifLog
	if err := json.Unmarshal(data, &raw); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &log); err != nil {
		t.Fatal(err)
	}
	checkSARIF(t, "log", raw)
	if log.Version != "2.1.0" || len(log.Runs) != 1 {
		t.Fatalf("version %s with %d runs", log.Version, len(log.Runs))
	}
	run := log.Runs[0]
	for i, rule := range run.Tool.Driver.Rules {
		if rule.Short.Text == "" || rule.Help.Text == "" || rule.Short.Text == rule.ID {
			t.Errorf("rules[%d] %s says %q and helps with %q", i, rule.ID, rule.Short.Text, rule.Help.Text)
		}
	}
	for i, res := range run.Results {
		if res.RuleIndex >= len(run.Tool.Driver.Rules) || run.Tool.Driver.Rules[res.RuleIndex].ID != res.RuleID {
			t.Errorf("results[%d]: rule %s is not at %d", i, res.RuleID, res.RuleIndex)
		}
		if !slices.Contains([]string{"none", "note", "warning", "error"}, res.Level) {
			t.Errorf("results[%d]: level %q", i, res.Level)
		}
		if res.Message.Text == "" || len(res.Locations) != 1 || res.Locations[0].Physical.Artifact.URI == "" {
			t.Errorf("results[%d]: message %q, locations %v", i, res.Message.Text, res.Locations)
		}
	}
	return run
}

func TestSARIF(t *testing.T) {
	r := testReport(
		testLayer("model.layers.0.q_proj", 0.05, merge.Alert{Level: merge.Warning, Code: merge.CodeErased, Message: "gone", Count: 2}),
		testLayer("model.layers.1.q_proj", 0.9, merge.Alert{Level: merge.Info, Code: merge.CodeNoisy, Message: "noise"}),
	)
	r.Alerts = append(r.Alerts, merge.Alert{Level: merge.Error, Code: merge.CodeShape, Message: "no fit", Place: merge.Place{File: "f", Tensor: "t", Row: -1, Col: -1}})
	data, err := sarifJSON(testDossier(r))
	if err != nil {
		t.Fatal(err)
	}
	run := decodeSARIF(t, data)
	want := []struct{ id, level, name, full string }{
		{"erased", "warning", "q_proj", "model.layers.0.q_proj"},
		{"noisy", "note", "q_proj", "model.layers.1.q_proj"},
		{"shape", "error", "", ""},
	}
	if len(run.Results) != len(want) {
		t.Fatalf("%d results, want %d", len(run.Results), len(want))
	}
	prints := map[string]bool{}
	for i, w := range want {
		res := run.Results[i]
		if res.RuleID != w.id || res.Level != w.level || res.BaselineState != "" {
			t.Errorf("results[%d] is %s, %s, %q", i, res.RuleID, res.Level, res.BaselineState)
		}
		if at := res.Locations[0].Logical; w.name == "" {
			if len(at) != 0 {
				t.Errorf("results[%d] is in %v", i, at)
			}
		} else if len(at) != 1 || at[0] != (sarifLogical{w.name, w.full, "module"}) {
			t.Errorf("results[%d] is in %v", i, at)
		}
		prints[res.Fingerprints["primaryLocationLineHash"]] = true
	}
	if len(prints) != 3 {
		t.Errorf("%d different fingerprints, want 3", len(prints))
	}
	if run.Results[0].Count != 2 || run.Results[1].Count != 1 {
		t.Errorf("occurrence counts %d and %d, want 2 and 1", run.Results[0].Count, run.Results[1].Count)
	}
	if i := run.Invocations[0]; !i.Successful || i.ExitCode != exitAlerts || i.EndTime != "2030-05-06T06:08:09Z" {
		t.Errorf("invocation %+v", i)
	}
}

func TestSARIFBaseline(t *testing.T) {
	erased := merge.Alert{Level: merge.Warning, Code: merge.CodeErased, Message: "gone"}
	before := testReport(testLayer("a", 0.05, erased), testLayer("b", 0.9))
	now := testReport(testLayer("a", 0.05, erased), testLayer("b", 0.09, erased))
	d := testDossier(now)
	d.baseline = &baseline{name: "base", report: before, tolerance: 0.01}
	d.findings = d.baseline.regressions(now, nil)
	data, err := sarifJSON(d)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, res := range decodeSARIF(t, data).Results {
		got = append(got, strings.Join([]string{res.RuleID, res.Locations[0].Logical[0].Qualified, res.Level, res.BaselineState}, " "))
	}
	want := []string{"erased a warning unchanged", "erased b warning new", "kept-drop b error new"}
	if !slices.Equal(got, want) {
		t.Errorf("results %q, want %q", got, want)
	}
}

func TestSARIFEscapes(t *testing.T) {
	data, err := sarifJSON(hostileDossier())
	if err != nil {
		t.Fatal(err)
	}
	run := decodeSARIF(t, data)
	res := run.Results[0]
	if strings.Contains(res.Message.Text, "](") || strings.ContainsRune(res.Message.Text, 0x1b) {
		t.Errorf("message %q", res.Message.Text)
	}
	if uri := res.Locations[0].Physical.Artifact.URI; strings.ContainsAny(uri, "<>\" \x00\x1b") {
		t.Errorf("URI %q", uri)
	}
}

func TestArtifactURI(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Mkdir("a b", 0o755); err != nil {
		t.Fatal(err)
	}
	inside, err := filepath.Abs("a b")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"a b":          "a%20b",
		inside:         "a%20b",
		"demo:nf4":     "./demo:nf4",
		"org/name@rev": "org/name@rev",
	} {
		if got := artifactURI(path); got != want {
			t.Errorf("%s becomes %s, want %s", path, got, want)
		}
	}
	if got := artifactURI(filepath.Dir(dir)); !strings.HasPrefix(got, "file:///") {
		t.Errorf("a path outside becomes %s", got)
	}
}
