package main

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"strings"

	"mergescope/merge"
	"mergescope/themes"
)

// The parts of the page. Style and script stand apart so that the page can
// allow these two by their digests and nothing else.
var (
	//go:embed report.html.tmpl
	pageTemplate string
	//go:embed report.css
	pageStyle string
	//go:embed report.js
	pageScript string
)

// page is what the template shows. Its strings are clean.
type page struct {
	Policy  string // Content-Security-Policy
	Style   template.CSS
	Script  template.JS
	Title   string
	Facts   [][2]string
	Figures [][2]string // kept comes first
	Kept    string      // its class
	Mood    string      // class of the verdict
	Verdict string
	Summary []string

	Findings   []pageFinding
	More       []pageFinding // that the page folds away
	Run        *pageRun      // nil if the model was not run
	Histograms []histogram
	Inputs     bool // layers have what their inputs see
	Layers     []pageLayer
	Maps       []pageMap
	MapsLeft   int // layers whose map is left out
	Legend     picture
	Worst      []pageBlock
	Alerts     []pageAlert
	Advice     []string
	Plan       string
	Digests    [][2]string
}

type (
	pageFinding struct{ Where, Code, Message string }
	pageAlert   struct {
		Level, Code, Meaning, Where, Hint string
		First                             string
		Others                            []string
		More                              int // alerts beside the first
		Left                              int // of them not among the others
	}
)

// pageMessages is how many messages of a kind of alert the page has; the table
// of layers names the rest. pageFindings is how many findings stand open.
const (
	pageMessages = 50
	pageFindings = 5
)

// htmlPage writes one page that needs nothing else.
func htmlPage(d *dossier) ([]byte, error) {
	t, err := template.New("report").Parse(pageTemplate)
	if err != nil {
		return nil, err
	}
	p, err := newPage(d)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, p)
	return b.Bytes(), err
}

// mood is the class of the verdict.
func mood(d *dossier) string {
	switch {
	case len(d.findings) > 0:
		return "bad"
	case d.warnings() > 0:
		return "warn"
	}
	return "good"
}

func newPage(d *dossier) (*page, error) {
	style := themeVariables() + pageStyle
	p := &page{
		Policy: fmt.Sprintf("default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; style-src '%s'; script-src '%s'",
			sourceDigest(style), sourceDigest(pageScript)),
		Style:   template.CSS(style),
		Script:  template.JS(pageScript),
		Title:   "Merge report: " + clean(d.report.Model.Name),
		Facts:   cleanPairs(d.facts()),
		Figures: d.totals(),
		Kept:    keptClass(d.report.Totals.Kept),
		Mood:    mood(d),
		Verdict: clean(d.verdict()),
		Inputs:  d.report.Peft != nil,
		Layers:  pageLayers(d),
		Worst:   pageBlocks(d.report),
		Alerts:  pageAlerts(allAlerts(d.report)),
		Plan:    cleanLines(string(d.plan.Encode())),
		Summary: d.summary(),
		Run:     newPageRun(d.run),
	}
	for _, f := range d.findings {
		p.Findings = append(p.Findings, pageFinding{clean(f.where()), f.code, clean(f.message)})
	}
	if len(p.Findings) > pageFindings {
		p.Findings, p.More = p.Findings[:pageFindings], p.Findings[pageFindings:]
	}
	for _, a := range merge.Guidance() {
		p.Advice = append(p.Advice, a.Text)
	}
	p.Digests = append(p.Digests, [2]string{"plan", d.report.Plan})
	for _, f := range d.report.Inputs {
		p.Digests = append(p.Digests, [2]string{clean(f.Name), f.SHA256})
	}
	p.Histograms = pageHistograms(d)
	err := p.draw(d)
	return p, err
}

// sourceDigest is the digest of a style or script in a policy.
func sourceDigest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// themeVariables gives the page the colours of the interface.
func themeVariables() string {
	rules := func(dark bool) string {
		var b strings.Builder
		for r := range themes.NumRoles {
			if c := themes.Default(dark).Colors[r]; c != (themes.Color{}) {
				fmt.Fprintf(&b, "--%s:%s;", r, c)
			}
		}
		return ":root{" + b.String() + "}"
	}
	return rules(false) + "\n@media (prefers-color-scheme: dark){" + rules(true) + "}\n"
}

// pageAlerts lists alerts by level and code.
func pageAlerts(alerts []merge.Alert) []pageAlert {
	meanings := alertMeanings()
	var list []pageAlert
	for _, g := range groupAlerts(alerts) {
		first := g.alerts[0]
		a := pageAlert{
			Level: first.Level.String(), Code: string(first.Code),
			Meaning: strings.ReplaceAll(meanings[string(first.Code)], "`", ""), Hint: clean(first.Hint),
		}
		if first.Layer != "" {
			a.Where = plural(len(g.alerts), "layer")
		}
		for _, al := range g.alerts[:min(len(g.alerts), pageMessages)] {
			text := al.Message
			if al.Layer != "" {
				text = al.Layer + ": " + text
			}
			if at := al.Place.String(); al.Place.Tensor != "" && !strings.Contains(al.Message, at) {
				text += " (" + at + ")"
			}
			a.Others = append(a.Others, clean(text))
		}
		a.First, a.Others = a.Others[0], a.Others[1:]
		a.More = len(g.alerts) - 1
		a.Left = a.More - len(a.Others)
		list = append(list, a)
	}
	return list
}

func cleanPairs(pairs [][2]string) [][2]string {
	for i := range pairs {
		pairs[i][1] = clean(pairs[i][1])
	}
	return pairs
}

// cleanLines cleans text of several lines.
func cleanLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = clean(lines[i])
	}
	return strings.Join(lines, "\n")
}
