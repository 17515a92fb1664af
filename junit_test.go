package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"mergescope/merge"
)

// junitSchema is what the XML schema of Ant's junitreport task (JUnit.xsd, in
// wide use as the definition of the format) allows below an element, in order,
// and the attributes it requires. Others are not allowed here.
var junitSchema = map[string]struct{ children, attributes []string }{
	"testsuites": {children: []string{"testsuite"}},
	"testsuite": {
		children:   []string{"properties", "testcase", "system-out", "system-err"},
		attributes: []string{"name", "package", "id", "timestamp", "hostname", "tests", "failures", "errors", "time"},
	},
	"properties": {children: []string{"property"}},
	"property":   {attributes: []string{"name", "value"}},
	"testcase":   {children: []string{"failure"}, attributes: []string{"name", "classname", "time"}},
	"failure":    {attributes: []string{"type", "message"}},
	"system-out": {},
	"system-err": {},
}

// checkJUnit holds a file against the schema and returns how often each element
// occurs.
func checkJUnit(t *testing.T, data []byte) map[string]int {
	t.Helper()
	type open struct {
		name string
		last int // position of the last child among those allowed
	}
	count := map[string]int{}
	var stack []open
	for dec := xml.NewDecoder(bytes.NewReader(data)); ; {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			name := e.Name.Local
			count[name]++
			if n := len(stack); n > 0 {
				parent := &stack[n-1]
				i := slices.Index(junitSchema[parent.name].children, name)
				if i < parent.last {
					t.Errorf("%s within %s is not allowed there", name, parent.name)
				}
				parent.last = i
			} else if name != "testsuites" {
				t.Errorf("the root is %s", name)
			}
			var attributes []string
			for _, a := range e.Attr {
				attributes = append(attributes, a.Name.Local)
			}
			if want := junitSchema[name].attributes; !slices.Equal(attributes, want) {
				t.Errorf("%s has attributes %v, want %v", name, attributes, want)
			}
			stack = append(stack, open{name: name})
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		}
	}
	if count["testsuite"] != count["properties"] || count["testsuite"] != count["system-out"] || count["testsuite"] != count["system-err"] {
		t.Errorf("a test suite wants properties, system-out and system-err: %v", count)
	}
	return count
}

func TestJUnit(t *testing.T) {
	r := testReport(
		testLayer("a", 0.05, merge.Alert{Level: merge.Warning, Code: merge.CodeErased, Message: "gone", Hint: "bf16"}),
		testLayer("b", 0.9, merge.Alert{Level: merge.Info, Code: merge.CodeNoisy}),
	)
	r.Alerts = append(r.Alerts, merge.Alert{Level: merge.Error, Code: merge.CodeShape, Layer: "c", Message: "does not fit"})
	data, err := junitXML(testDossier(r, "erased"))
	if err != nil {
		t.Fatal(err)
	}
	if count := checkJUnit(t, data); count["testcase"] != 4 || count["failure"] != 2 {
		t.Errorf("elements %v, want 4 test cases (the model, a, b, c) and 2 failures", count)
	}
	var got junitSuites
	if err := xml.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	s := got.Suites[0]
	if s.Tests != 4 || s.Failures != 2 || s.Errors != 0 || s.Timestamp != "2030-05-06T06:08:09" {
		t.Errorf("%d tests, %d failures, %d errors at %s", s.Tests, s.Failures, s.Errors, s.Timestamp)
	}
	for _, c := range s.Cases {
		switch {
		case c.Name == "a":
			if f := c.Failure; f == nil || f.Type != "erased" || f.Message != "gone" || !strings.Contains(f.Text, "hint: bf16") {
				t.Errorf("a fails with %+v", f)
			}
		case c.Name == "c":
			if f := c.Failure; f == nil || f.Type != "shape" {
				t.Errorf("c fails with %+v", f)
			}
		case c.Failure != nil:
			t.Errorf("%s fails with %+v", c.Name, c.Failure)
		}
	}
}

func TestJUnitEscapes(t *testing.T) {
	data, err := junitXML(hostileDossier())
	if err != nil {
		t.Fatal(err)
	}
	checkJUnit(t, data)
	var got junitSuites
	if err := xml.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if name := got.Suites[0].Cases[1].Name; name != clean(hostile) {
		t.Errorf("the name came back as %q", name)
	}
}
