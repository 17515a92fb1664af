package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"mergescope/merge"
)

// Version and schema of the format (OASIS, SARIF 2.1.0 with errata 01).
const (
	sarifVersion = "2.1.0"
	sarifSchema  = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)

type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Invocations []sarifInvocation `json:"invocations"`
		ColumnKind  string            `json:"columnKind"`
		Results     []sarifResult     `json:"results"`
		Properties  map[string]any    `json:"properties"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID    string    `json:"id"`
		Short sarifText `json:"shortDescription"`
		Help  sarifText `json:"help"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifInvocation struct {
		Successful bool   `json:"executionSuccessful"`
		ExitCode   int    `json:"exitCode"`
		EndTime    string `json:"endTimeUtc"`
	}
	sarifResult struct {
		RuleID        string            `json:"ruleId"`
		RuleIndex     int               `json:"ruleIndex"`
		Level         string            `json:"level"`
		Message       sarifText         `json:"message"`
		Locations     []sarifLocation   `json:"locations"`
		Count         int               `json:"occurrenceCount,omitempty"`
		Fingerprints  map[string]string `json:"partialFingerprints"`
		BaselineState string            `json:"baselineState,omitempty"`
		Properties    map[string]any    `json:"properties,omitempty"`
	}
	sarifLocation struct {
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
	}
	// Code scanning wants a physical location, though a layer has no line.
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifLogical struct {
		Name      string `json:"name"`
		Qualified string `json:"fullyQualifiedName"`
		Kind      string `json:"kind"`
	}
)

// sarifLevels are the names of the levels of alerts.
var sarifLevels = map[merge.Level]string{merge.Info: "note", merge.Warning: "warning", merge.Error: "error"}

// sarifJSON writes every alert as a result. Against a baseline, results say
// whether they are new, and losses of kept are results too.
func sarifJSON(d *dossier) ([]byte, error) {
	rules, index := sarifRules()
	uri := artifactURI(d.subject)
	results := []sarifResult{}
	add := func(code, layer, level, message, identity string) *sarifResult {
		results = append(results, sarifResult{
			RuleID: code, RuleIndex: index[code], Level: level,
			Message:      sarifText{noLinks(clean(message))},
			Locations:    []sarifLocation{sarifPlace(uri, layer)},
			Fingerprints: map[string]string{"primaryLocationLineHash": fingerprint(code, layer, identity)},
		})
		return &results[len(results)-1]
	}
	var before map[alertKey]merge.Level
	if d.baseline != nil {
		before = d.baseline.alerts()
	}
	for _, al := range allAlerts(d.report) {
		res := add(string(al.Code), al.Layer, sarifLevels[al.Level], al.Message, keyOf(al).message)
		res.Count = max(al.Count, 1)
		res.Properties = placeProperties(al.Place)
		if d.baseline != nil {
			res.BaselineState = "new"
			if _, known := before[keyOf(al)]; known {
				res.BaselineState = "unchanged"
			}
		}
	}
	for _, f := range d.findings {
		if _, own := baselineHints[f.code]; own {
			add(f.code, f.layer, "error", f.message, "").BaselineState = "new"
		}
	}
	return encodeSARIF(d, rules, results)
}

func encodeSARIF(d *dossier, rules []sarifRule, results []sarifResult) ([]byte, error) {
	r := d.report
	log := sarifLog{Schema: sarifSchema, Version: sarifVersion, Runs: []sarifRun{{
		Tool:        sarifTool{sarifDriver{"mergescope", version(), rules}},
		Invocations: []sarifInvocation{{true, d.code(), d.at.UTC().Format("2006-01-02T15:04:05Z")}},
		ColumnKind:  "unicodeCodePoints",
		Results:     results,
		Properties: map[string]any{
			"model": r.Model.Name, "method": r.Method, "profile": r.Profile,
			"kept": r.Totals.Kept, "snr_db": r.Totals.SNR, "plan_digest": r.Plan,
		},
	}}}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	err := enc.Encode(log)
	return b.Bytes(), err
}

// sarifRules lists a rule for every code and where it stands.
func sarifRules() ([]sarifRule, map[string]int) {
	meanings := alertMeanings()
	rules := []sarifRule{}
	index := map[string]int{}
	add := func(code, short, help string) {
		if short == "" {
			short = code
		}
		index[code] = len(rules)
		rules = append(rules, sarifRule{code, sarifText{short}, sarifText{help}})
	}
	for _, c := range merge.Codes() {
		add(string(c), meanings[string(c)], merge.HintFor(c))
	}
	add(keptDropped, "less of the adapter is kept than in the baseline", baselineHints[keptDropped])
	add(layerGone, "a layer of the baseline is not merged any more", baselineHints[layerGone])
	return rules, index
}

// sarifPlace is the module path of a layer in the file that is judged.
func sarifPlace(uri, layer string) sarifLocation {
	l := sarifLocation{Physical: sarifPhysical{sarifArtifact{uri}}}
	if layer != "" {
		name := layer[strings.LastIndexByte(layer, '.')+1:]
		l.Logical = []sarifLogical{{name, layer, "module"}}
	}
	return l
}

// placeProperties says where in the files an alert points, nil if nowhere.
func placeProperties(p merge.Place) map[string]any {
	if p == merge.Nowhere() || p == (merge.Place{}) {
		return nil
	}
	return map[string]any{"place": p}
}

// fingerprint tells results of a rule apart from run to run; code scanning
// reads it under the name primaryLocationLineHash.
func fingerprint(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// artifactURI is a path below the working directory as a relative reference,
// which is what code scanning takes; other paths become file URIs. Names that
// are no files stay names.
func artifactURI(path string) string {
	if _, err := os.Stat(path); err != nil {
		return (&url.URL{Path: filepath.ToSlash(path)}).String()
	}
	abs, err := filepath.Abs(path)
	wd, wdErr := os.Getwd()
	if err != nil || wdErr != nil {
		return (&url.URL{Path: filepath.ToSlash(path)}).String()
	}
	if rel, err := filepath.Rel(wd, abs); err == nil && filepath.IsLocal(rel) {
		return (&url.URL{Path: filepath.ToSlash(rel)}).String()
	}
	abs = filepath.ToSlash(abs)
	if !strings.HasPrefix(abs, "/") {
		abs = "/" + abs // a drive letter
	}
	return (&url.URL{Scheme: "file", Path: abs}).String()
}

// noLinks keeps a name from a file from reading as one of SARIF's embedded
// links.
func noLinks(s string) string { return strings.ReplaceAll(s, "](", "] (") }
