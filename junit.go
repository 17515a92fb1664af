package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
)

// The JUnit shapes satisfy the XML schema of Ant's junitreport, the strictest
// in use: it wants elements and attributes in this order and all of them there.
type (
	junitSuites struct {
		XMLName xml.Name     `xml:"testsuites"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		Package    string          `xml:"package,attr"`
		ID         int             `xml:"id,attr"`
		Timestamp  string          `xml:"timestamp,attr"`
		Hostname   string          `xml:"hostname,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Time       string          `xml:"time,attr"` // seconds
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`
		Out        string          `xml:"system-out"`
		Err        string          `xml:"system-err"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		Time    string        `xml:"time,attr"` // layers share workers: only the suite's time is known
		Failure *junitFailure `xml:"failure"`
	}
	junitFailure struct {
		Type    string `xml:"type,attr"`
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// wholeModel is the test case of what belongs to no layer.
const wholeModel = "whole model"

// junitXML writes a test case for every layer and one for the whole model. A
// case fails if the command fails for it.
func junitXML(d *dossier) ([]byte, error) {
	r := d.report
	suite := junitSuite{
		Name: "mergescope report", Package: "mergescope", Hostname: "localhost",
		Timestamp: d.at.UTC().Format("2006-01-02T15:04:05"),
		Time:      fmt.Sprintf("%.3f", r.Seconds),
		Properties: []junitProperty{
			{"model", clean(r.Model.Name)},
			{"method", r.Method},
			{"profile", r.Profile},
			{"kept", number(r.Totals.Kept, 4)},
			{"snr_db", number(r.Totals.SNR, 2)},
			{"plan_digest", r.Plan},
			{"verdict", d.verdict()},
		},
		Out: d.plainText(),
	}
	for _, name := range d.caseNames() {
		c := junitCase{Name: name, Class: clean(r.Model.Name), Time: "0"}
		if c.Failure = d.junitFailure(name); c.Failure != nil {
			suite.Failures++
		}
		suite.Cases = append(suite.Cases, c)
	}
	suite.Tests = len(suite.Cases)
	b := bytes.NewBufferString(xml.Header)
	enc := xml.NewEncoder(b)
	enc.Indent("", "  ")
	if err := enc.Encode(junitSuites{Suites: []junitSuite{suite}}); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// caseNames lists the test cases: the model, its layers, and layers that only a
// finding names.
func (d *dossier) caseNames() []string {
	names := []string{wholeModel}
	seen := map[string]bool{wholeModel: true}
	for _, l := range d.report.Layers {
		names, seen[clean(l.Name)] = append(names, clean(l.Name)), true
	}
	for _, f := range d.findings {
		if name := clean(f.where()); !seen[name] {
			names, seen[name] = append(names, name), true
		}
	}
	return names
}

// junitFailure joins the findings of a test case, nil if it has none.
func (d *dossier) junitFailure(name string) *junitFailure {
	mine := slices.DeleteFunc(slices.Clone(d.findings), func(f finding) bool { return clean(f.where()) != name })
	if len(mine) == 0 {
		return nil
	}
	var b strings.Builder
	for _, f := range mine {
		fmt.Fprintf(&b, "%s: %s\n", f.code, clean(f.message))
		if f.hint != "" {
			fmt.Fprintf(&b, "hint: %s\n", clean(f.hint))
		}
	}
	return &junitFailure{Type: mine[0].code, Message: clean(mine[0].message), Text: b.String()}
}

// plainText is the report as the command prints it.
func (d *dossier) plainText() string {
	var b strings.Builder
	_ = printReport(&b, d.report) // a builder takes everything
	return b.String()
}
