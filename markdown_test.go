package main

import (
	"fmt"
	"strings"
	"testing"

	"mergescope/merge"
)

func TestMarkdownEscapes(t *testing.T) {
	for in, want := range map[string]string{
		"layers.0.q_proj":      "layers.0.q_proj",
		"_x_ a_b _":            `\_x\_ a_b \_`,
		"a|b`c*d":              "a\\|b\\`c\\*d",
		"[x](y) <b> &amp; #~!": `\[x\](y) &lt;b\> &amp;amp; \#\~\!`,
		"see http://x.y":       `see http\://x.y`,
		"two\nlines":           "two?lines",
	} {
		if got := markdown(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func TestModelCard(t *testing.T) {
	var layers []*merge.LayerReport
	for i := range 12 {
		layers = append(layers, testLayer(fmt.Sprintf("layer%02d", i), 1-float64(i)/20,
			merge.Alert{Level: merge.Warning, Code: merge.CodeErased, Message: "gone", Hint: "bf16"}))
	}
	r := testReport(layers...)
	r.Totals.Kept, r.Plan = 0.725, "c0ffee"
	data, err := modelCard(testDossier(r, "erased"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for _, want := range []string{
		"| kept | 0.725 |", "| plan (SHA-256) | c0ffee |",
		"| check | failed with --fail-on erased: 12 findings |",
		"| layer11 | nf4 | same | 0.450 |", "| warning | erased | 12 | bf16 |",
		"- erased, layer00: gone\n", "- and 2 more\n",
		merge.Guidance()[0].Text,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	// The ten that keep least, the worst first: layer11 down to layer02.
	_, table, _ := strings.Cut(text, "### Layers that keep least")
	table, _, _ = strings.Cut(table, "###")
	if n := strings.Count(table, "| layer"); n != 11 || strings.Contains(table, "layer01") || strings.Index(table, "layer11") > strings.Index(table, "layer02") {
		t.Errorf("%d lines in the table of layers:\n%s", n, table)
	}
}

// Every row of a table has as many cells as its head, whatever the names.
func TestModelCardEscapes(t *testing.T) {
	data, err := modelCard(hostileDossier())
	if err != nil {
		t.Fatal(err)
	}
	cells := 0
	for line := range strings.Lines(string(data)) {
		if !strings.HasPrefix(line, "|") {
			cells = 0
			continue
		}
		n := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
		if cells == 0 {
			cells = n
		}
		if n != cells {
			t.Errorf("%d bars where the head has %d: %s", n, cells, line)
		}
	}
	for _, bad := range []string{"<script", "<img", "x](", "http:/", "\x1b", "\u202e"} {
		if strings.Contains(string(data), bad) {
			t.Errorf("%q is in\n%s", bad, data)
		}
	}
}
