package heat

import (
	"strings"
	"testing"

	"mergescope/themes"
)

func plain(t *testing.T, line string) string {
	var out strings.Builder
	for _, g := range decode(t, line) {
		out.WriteRune(g.r)
	}
	return out.String()
}

func TestLegend(t *testing.T) {
	l := Legend{Metric: "kept", Low: "0%", High: "100%", Scale: "lin", Map: "magma", Flip: true}
	p := painter("magma", themes.NoColor, true, false)
	for w, want := range map[int]string{
		72: "kept 0% ██▇▆▅▄▃▂▁▁ 100%  lin  magma   ✕ NaN  ∞ Inf  ◉ cursor            ",
		60: "kept 0% ██▇▆▅▄▃▂▁▁ 100%  lin  magma   ✕ NaN  ∞ Inf  ◉ cursor",
		46: "kept 0% ██▇▆▅▄▃▂▁▁ 100%  lin  magma   ✕ NaN   ",
		24: "kept 0% ██▇▆▅▄▃▂▁▁ 100% ",
		18: "kept 0% █▇▅▃▁ 100%",
		12: "0% █▆▃▁ 100%",
		8:  "█▇▆▅▄▃▂▁",
	} {
		if got := plain(t, p.Legend(l, w)); got != want {
			t.Errorf("width %d:\n got %q\nwant %q", w, got, want)
		}
	}
	l.Flip = false
	if got := plain(t, p.Legend(l, 24)); got != "kept 0% ▁▁▂▃▄▅▆▇██ 100% " {
		t.Errorf("not flipped: %q", got)
	}
}

func TestLegendHasItsWidth(t *testing.T) {
	for d := themes.NoColor; d <= themes.TrueColor; d++ {
		for w := range 130 {
			for _, l := range []Legend{{}, {Metric: "relative error", Low: "0.01%", High: "100%", Scale: "log, fitted", Map: "diverging"}} {
				if got := len(decode(t, painter("gray", d, false, w%2 == 0).Legend(l, w))); got != w {
					t.Fatalf("depth %d width %d: %d characters", d, w, got)
				}
			}
		}
	}
}
