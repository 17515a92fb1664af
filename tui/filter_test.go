package tui

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mergescope/loader"
	"mergescope/merge"
	"mergescope/quant"
)

// filterBook has layers whose facts all differ.
func filterBook() (*ledger, facts) {
	b := bookOf("model.layers.0.mlp.up_proj", "model.layers.0.self_attn.q_proj", "model.layers.11.self_attn.q_proj", "lm_head")
	for i, kept := range []float64{0.05, 0.5, 0.9} {
		b.reports[i] = metrics(10, kept, 1, 1, 10)
	}
	ant, bee := &loader.Adapter{Name: "ant"}, &loader.Adapter{Name: "bee"}
	b.layers[0].Steps = []merge.Step{{Adapter: ant, Factor: 1}}
	b.layers[1].Steps = []merge.Step{{Adapter: ant, Factor: 0.5}, {Adapter: bee, Factor: 2}}
	b.layers[2].Steps = []merge.Step{{Adapter: bee, Factor: 1}}
	b.layers[1].Output = merge.AsBF16
	b.layers[2].Method = merge.Method{Kind: merge.MethodDithered}
	for i, f := range []quant.Format{quant.NF4, quant.FP4, quant.Int8, quant.BF16} {
		b.layers[i].Weight.Format = f
		b.layers[i].Weight.Shape = []int64{10, int64(100 * (i + 1))}
	}
	b.states = make([]merge.LayerState, 4)
	b.states[2].State = merge.Active
	return b, facts{
		alerts: func() map[string][]merge.Alert {
			return map[string][]merge.Alert{"model.layers.0.mlp.up_proj": {{Code: merge.CodeErased, Level: merge.Warning}}}
		},
		marked: map[int]bool{3: true},
	}
}

func matching(b *ledger, q query) string {
	var got []string
	for i := range b.layers {
		if q.match(b, i) {
			got = append(got, fmt.Sprint(i))
		}
	}
	return strings.Join(got, " ")
}

func TestFilter(t *testing.T) {
	b, f := filterBook()
	for _, c := range []struct{ text, want string }{
		{"", "0 1 2 3"},
		{"qproj", "1 2"},
		{"QPROJ", "1 2"},

		// keys
		{"type:q_proj layer:0", "1"},
		{"type:q_proj,lm_head", "1 2 3"},
		{"type:*_proj", "0 1 2"},
		{"type:?p_proj", "0"},
		{"name:mlp", "0"},
		{"layer:5-20", "2"},
		{"layer:-0", "0 1"},
		{"layer:0,11", "0 1 2"},
		{"layer:1-", "2"},
		{"format:nf4", "0"},
		{"format:fp4,int8", "1 2"},
		{"output:bf16", "1"},
		{"output:same", "0 2 3"},
		{"method:dithered", "2"},
		{"adapter:ant", "0 1"},
		{"plan:none", "3"},
		{"plan:any", "0 1 2"},
		{"plan:several", "1"},
		{"plan:bee", "1 2"},
		{"alert:erased", "0"},
		{"alert:warning", "0"},
		{"alert:any", "0"},
		{"alert:none", "1 2 3"},
		{"is:marked", "3"},
		{"is:planned", "0 1 2"},
		{"is:computed", "0 1 2"},
		{"is:active", "2"},
		{"is:copied", "3"},

		// figures
		{"kept<0.1", "0"},
		{"kept<=50%", "0 1"},
		{"kept>0.1", "1 2"},
		{"kept>=0.9", "2"},
		{"kept=0.5", "1"},
		{"kept==50%", "1"},
		{"kept!=0.5", "0 2"},
		{"scale>1", ""},
		{"scale<1", "1"},
		{"size>=2k", "1 2 3"},
		{"size<0.002M", "0"},

		// and, or, not
		{"layer:0 and type:q_proj", "1"},
		{"layer:0 & type:q_proj", "1"},
		{"layer:11 or is:marked", "2 3"},
		{"layer:11 | is:marked", "2 3"},
		{"layer:0 kept<0.1 or is:marked", "0 3"},
		{"layer:0 (kept<0.1 or plan:several)", "0 1"},
		{"(layer:11 or layer:0) type:q_proj", "1 2"},
		{"not alert:erased", "1 2 3"},
		{"!alert:erased", "1 2 3"},
		{"! alert:erased", "1 2 3"},
		{"not not alert:erased", "0"},
		{"not (layer:0 or is:marked)", "2"},
		{"!(layer:0 | is:marked)", "2"},
		{"not layer:0 not is:marked", "2"},
		{"OR AND not", "0 1 2 3"},
		{`"or"`, ""},
		{`"self_attn"`, "1 2"},
		{`"selfattn"`, ""}, // quoted is not fuzzy

		// not finished: what is there already counts
		{"layer:", "0 1 2 3"},
		{"layer:-", "0 1 2 3"},
		{"layer:0,", "0 1"},
		{"kept<", "0 1 2 3"},
		{"kept<=", "0 1 2 3"},
		{"kept!", "0 1 2 3"},
		{"kept<-", "0 1 2 3"},
		{"layer:0 or", "0 1"},
		{"or layer:0", "0 1"},
		{"layer:0 and (", "0 1"},
		{"layer:0 (kept<0.1", "0"},
		{"layer:0) kept<0.1", "0"},
		{"not", "0 1 2 3"},
		{"not kept<", "0 1 2 3"},
		{"()", "0 1 2 3"},
		{"is:mar", "0 1 2 3"},

		// not understood
		{"nothing:at-all", ""},
		{"kept<much", "0 1 2 3"},
	} {
		if got := matching(b, parseQuery(c.text, f)); got != c.want {
			t.Errorf("%q matches %q, want %q", c.text, got, c.want)
		}
	}
}

// What cannot be understood is said, what is only unfinished is not.
func TestFilterHints(t *testing.T) {
	for text, want := range map[string]string{
		"nothing:at-all": `no key "nothing"; there are adapter, alert, format, is, layer, method, name, output, plan, type`,
		"kept<much":      "kept< wants a number, 5% or 10k",
		"layer:first":    "layer:first: want a number or a range such as 10-20",
		"is:purple":      "is:purple: want active, computed, copied, done, marked, merged, planned, queued, stopped",
		"kept<":          "",
		"kept<0.":        "",
		"layer:":         "",
		"layer:3-":       "",
		"is:ma":          "",
		"(a or":          "",
	} {
		if got := parseQuery(text, facts{}).hint; got != want {
			t.Errorf("%q: hint %q, want %q", text, got, want)
		}
	}
}

func TestFilterThatFollowsFigures(t *testing.T) {
	for text, want := range map[string]bool{
		"q_proj": false, "layer:0": false, "plan:none": false, "is:marked": false,
		"kept<0.1": true, "alert:erased": true, "is:computed": true, "layer:0 or not kept<0.1": true,
	} {
		if got := parseQuery(text, facts{}).live; got != want {
			t.Errorf("%q: live is %v, want %v", text, got, want)
		}
	}
}

func TestSplitQuery(t *testing.T) {
	got := splitQuery(`a!b !c (d|e)&f "g h" name:"i j" ""`)
	want := []queryWord{
		{"a!b", false},
		{"!", false},
		{"c", false},
		{"(", false},
		{"d", false},
		{"|", false},
		{"e", false},
		{")", false},
		{"&", false},
		{"f", false},
		{"g h", true},
		{"name:i j", false},
		{"", true},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(queryWord{})); diff != "" {
		t.Error(diff)
	}
}

// Whatever is typed, a filter answers for every layer, and turning it round
// turns every answer round unless nothing was asked.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{"kept<0.1 or (layer:1-2 !type:q)", `"a" and`, "((((", "))))", "!!!!x", "kept>=1e999", "layer:99999999999999999999"} {
		f.Add(s)
	}
	b, known := filterBook()
	f.Fuzz(func(t *testing.T, text string) {
		q, no := parseQuery(text, known), parseQuery("not ("+text+")", known)
		balanced := !strings.ContainsAny(text, `()"`)
		for i := range b.layers {
			yes := q.match(b, i)
			if balanced && q.active() && no.match(b, i) == yes {
				t.Errorf("%q and its opposite both say %v of layer %d", text, yes, i)
			}
		}
	})
}
